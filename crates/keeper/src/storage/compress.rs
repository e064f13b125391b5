//! The compressed forms of a snapshot, told by the suffix of its name: gzip, and the stream format of snappy-java's
//! `SnappyOutputStream`, which is not Snappy's framing format: a header of 16 bytes (magic, version 1, compatible version 1), then
//! blocks, each with its compressed length in front.

use std::io::{self, BufReader, BufWriter, Read, Write};

use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

/// How a snapshot is compressed: `snapshot.compression.method`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// `gz`.
    Gzip,
    /// `snappy`.
    Snappy,
}

const SNAPPY_MAGIC: &[u8; 8] = b"\x82SNAPPY\0";
const SNAPPY_VERSIONS: [u8; 8] = [0, 0, 0, 1, 0, 0, 0, 1];
const SNAPPY_BLOCK_BYTES: usize = 32 << 10;
/// snappy-java allows blocks of 512 MiB; nobody asks for more than some MiB.
const MAX_SNAPPY_BLOCK_BYTES: usize = 64 << 20;
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
const BUFFER_BYTES: usize = 128 << 10;

impl Compression {
    /// The end of the name of a snapshot that is compressed so.
    pub fn suffix(self) -> &'static str {
        match self {
            Compression::None => "",
            Compression::Gzip => ".gz",
            Compression::Snappy => ".snappy",
        }
    }

    /// The value of `snapshot.compression.method`; none if there is no such method.
    pub fn of_method(method: &str) -> Option<Self> {
        match method.to_ascii_lowercase().as_str() {
            "" | "checked" => Some(Compression::None),
            "gz" => Some(Compression::Gzip),
            "snappy" => Some(Compression::Snappy),
            _ => None,
        }
    }

    /// What every file begins with that is compressed so.
    pub(super) fn magic(self) -> &'static [u8] {
        match self {
            Compression::None => b"ZKSN",
            Compression::Gzip => GZIP_MAGIC,
            Compression::Snappy => SNAPPY_MAGIC,
        }
    }

    /// A stream of what is compressed in `file`.
    pub(super) fn reader<'a>(self, file: Box<dyn Read + Send + 'a>) -> Box<dyn Read + Send + 'a> {
        let file = BufReader::with_capacity(BUFFER_BYTES, file);
        match self {
            Compression::None => Box::new(file),
            Compression::Gzip => Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(file))),
            Compression::Snappy => {
                Box::new(SnappyReader { file, begun: false, packed: Vec::new(), plain: Vec::new(), at: 0 })
            }
        }
    }
}

/// Compresses what is written.
pub(super) enum Compressor<W: Write> {
    None(BufWriter<W>),
    Gzip(BufWriter<GzEncoder<W>>),
    Snappy(Box<SnappyWriter<W>>),
}

impl<W: Write> Compressor<W> {
    pub(super) fn new(compression: Compression, file: W) -> Self {
        match compression {
            Compression::None => Compressor::None(BufWriter::with_capacity(BUFFER_BYTES, file)),
            Compression::Gzip => Compressor::Gzip(BufWriter::with_capacity(
                BUFFER_BYTES,
                GzEncoder::new(file, flate2::Compression::default()),
            )),
            Compression::Snappy => Compressor::Snappy(Box::new(SnappyWriter {
                file: BufWriter::with_capacity(BUFFER_BYTES, file),
                begun: false,
                plain: Vec::with_capacity(SNAPPY_BLOCK_BYTES),
                packed: vec![0; snap::raw::max_compress_len(SNAPPY_BLOCK_BYTES)],
                encoder: snap::raw::Encoder::new(),
            })),
        }
    }

    /// Writes the end, and hands back what it was written to.
    pub(super) fn finish(self) -> io::Result<W> {
        match self {
            Compressor::None(file) => file.into_inner().map_err(io::IntoInnerError::into_error),
            Compressor::Gzip(file) => file.into_inner().map_err(io::IntoInnerError::into_error)?.finish(),
            Compressor::Snappy(mut snappy) => {
                snappy.block()?;
                snappy.file.into_inner().map_err(io::IntoInnerError::into_error)
            }
        }
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Compressor::None(file) => file.write(bytes),
            Compressor::Gzip(file) => file.write(bytes),
            Compressor::Snappy(snappy) => snappy.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) struct SnappyWriter<W: Write> {
    file: BufWriter<W>,
    begun: bool,
    plain: Vec<u8>,
    packed: Vec<u8>,
    encoder: snap::raw::Encoder,
}

impl<W: Write> SnappyWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(SNAPPY_BLOCK_BYTES - self.plain.len());
        self.plain.extend_from_slice(&bytes[..taken]);
        if self.plain.len() == SNAPPY_BLOCK_BYTES {
            self.block()?;
        }
        Ok(taken)
    }

    fn block(&mut self) -> io::Result<()> {
        if !self.begun {
            self.begun = true;
            self.file.write_all(SNAPPY_MAGIC)?;
            self.file.write_all(&SNAPPY_VERSIONS)?;
        }
        if !self.plain.is_empty() {
            let length = self.encoder.compress(&self.plain, &mut self.packed)?;
            // A block is far below 4 GiB.
            self.file.write_all(&(length as u32).to_be_bytes())?;
            self.file.write_all(&self.packed[..length])?;
            self.plain.clear();
        }
        Ok(())
    }
}

struct SnappyReader<R: Read> {
    file: R,
    begun: bool,
    packed: Vec<u8>,
    plain: Vec<u8>,
    at: usize,
}

fn broken(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

impl<R: Read> SnappyReader<R> {
    fn versions(&mut self) -> io::Result<()> {
        let mut versions = [0; 8];
        self.file.read_exact(&mut versions)?;
        match versions[4..] {
            // The version that a reader must at least have.
            [0, 0, 0, 0 | 1] => Ok(()),
            _ => Err(broken("it is compressed by a later version of Snappy's stream format")),
        }
    }

    /// Reads the next block; false at the end.
    fn block(&mut self) -> io::Result<bool> {
        self.plain.clear();
        self.at = 0;
        if !self.begun {
            let mut magic = [0; 8];
            self.file.read_exact(&mut magic)?;
            if magic != *SNAPPY_MAGIC {
                return Err(broken("it does not begin as Snappy's streams do"));
            }
            self.versions()?;
            self.begun = true;
        }
        let mut length = [0; 4];
        match super::log_reader::read_up_to(&mut self.file, &mut length)? {
            0 => return Ok(false),
            4 => {}
            _ => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
        if length == SNAPPY_MAGIC[..4] {
            // Streams may be put one behind the other.
            self.file.read_exact(&mut [0; 4])?;
            self.versions()?;
            return Ok(true);
        }
        let length = u32::from_be_bytes(length) as usize;
        if length > MAX_SNAPPY_BLOCK_BYTES {
            return Err(broken(format!("a compressed block cannot have {length} bytes")));
        }
        self.packed.clear();
        if (&mut self.file).take(length as u64).read_to_end(&mut self.packed)? < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let plain = snap::raw::decompress_len(&self.packed).map_err(|error| broken(error.to_string()))?;
        if plain > MAX_SNAPPY_BLOCK_BYTES {
            return Err(broken(format!("a block cannot have {plain} bytes")));
        }
        self.plain.resize(plain, 0);
        snap::raw::Decoder::new()
            .decompress(&self.packed, &mut self.plain)
            .map_err(|error| broken(error.to_string()))?;
        Ok(true)
    }
}

impl<R: Read> Read for SnappyReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at == self.plain.len() {
            if out.is_empty() || !self.block()? {
                return Ok(0);
            }
        }
        let length = out.len().min(self.plain.len() - self.at);
        out[..length].copy_from_slice(&self.plain[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_compressed_comes_back() {
        for compression in [Compression::None, Compression::Gzip, Compression::Snappy] {
            for length in [0, 1, SNAPPY_BLOCK_BYTES, 100_000] {
                let plain: Vec<u8> = (0..length).map(|i| (i * i / 7) as u8).collect();
                let mut compressor = Compressor::new(compression, Vec::new());
                compressor.write_all(&plain).unwrap();
                let packed = compressor.finish().unwrap();
                let mut back = Vec::new();
                compression.reader(Box::new(&*packed)).read_to_end(&mut back).unwrap();
                assert_eq!(back, plain, "{compression:?} {length}");
                if length > 0 && compression != Compression::None {
                    assert!(packed.starts_with(compression.magic()));
                    let cut = &packed[..packed.len() - 1];
                    assert!(compression.reader(Box::new(cut)).read_to_end(&mut back).is_err());
                }
            }
        }
    }
}
