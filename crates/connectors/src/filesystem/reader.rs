//! Reads splits of files, one after the other, in bounded memory.
//!
//! Invariant: the position of a split is that of the first record that `poll` has not returned.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use flate2::read::MultiGzDecoder;
use streamkeeper_dataflow::metrics::TaskMetrics;
use streamkeeper_dataflow::operator::OperatorContext;
use streamkeeper_dataflow::source::{Poll, SourceReader, Split};
use streamkeeper_dataflow::time::Timestamp;
use streamkeeper_dataflow::{OperatorError, OperatorResult};

use super::source::{Compression, FileRange, FileSource, decode_split, encode_split};
use crate::formats::{BATCH_ROWS, Decoder, Format, RecordError};
use crate::pace::Pace;
use crate::schema::Field;

/// What is read from a file at a time.
const CHUNK_BYTES: usize = 512 << 10;
/// A longer record is taken for a malformed one.
const MAX_RECORD_BYTES: usize = 16 << 20;
/// A batch is handed on when its strings are this long, however few rows it has.
const MAX_BATCH_BYTES: usize = 8 << 20;

pub(crate) struct FileReader {
    format: Format,
    columns: Vec<Field>,
    projection: Vec<usize>,
    metrics: Arc<TaskMetrics>,
    pace: Option<Pace>,
    /// Not opened yet.
    waiting: VecDeque<(String, FileRange)>,
    current: Option<OpenSplit>,
    /// Kept from split to split.
    buffer: Vec<u8>,
}

struct OpenSplit {
    id: String,
    range: FileRange,
    input: Input,
    decoder: Box<dyn Decoder>,
    /// In the file, of `buffer[start]`.
    position: u64,
    start: usize,
    filled: usize,
    eof: bool,
    finished: bool,
}

enum Input {
    Plain(File),
    Gzip(Box<MultiGzDecoder<BufReader<File>>>),
}

impl Input {
    /// The (uncompressed) bytes of a file from `position` on.
    fn open(path: &Path, position: u64) -> OperatorResult<Self> {
        let failed = |e: std::io::Error| match e.kind() {
            std::io::ErrorKind::UnexpectedEof => OperatorError::fatal(format!(
                "{} is shorter than the {position} bytes that had been read of it when the checkpoint was taken",
                path.display()
            )),
            _ => OperatorError::recoverable(format!("cannot read {}: {e}", path.display())),
        };
        let mut file = File::open(path).map_err(failed)?;
        match Compression::of(path)? {
            Compression::None => {
                let length = file.metadata().map_err(failed)?.len();
                if length < position {
                    return Err(failed(std::io::ErrorKind::UnexpectedEof.into()));
                }
                file.seek(SeekFrom::Start(position)).map_err(failed)?;
                Ok(Self::Plain(file))
            }
            Compression::Gzip => {
                let mut decoder = MultiGzDecoder::new(BufReader::with_capacity(64 << 10, file));
                let skipped = std::io::copy(&mut (&mut decoder).take(position), &mut std::io::sink())
                    .map_err(failed)?;
                if skipped < position {
                    return Err(failed(std::io::ErrorKind::UnexpectedEof.into()));
                }
                Ok(Self::Gzip(Box::new(decoder)))
            }
        }
    }

    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(file) => file.read(into),
            Self::Gzip(decoder) => decoder.read(into),
        }
    }
}

impl FileReader {
    pub(crate) fn new(source: &FileSource, context: &OperatorContext) -> Self {
        Self {
            format: source.format.clone(),
            columns: source.columns.clone(),
            projection: source.projection.clone(),
            metrics: context.metrics.clone(),
            pace: source.max_rows_per_second.map(|rate| Pace::new(rate / context.parallelism.max(1) as f64)),
            waiting: VecDeque::new(),
            current: None,
            buffer: Vec::new(),
        }
    }

    /// Opens a split and finds its first record.
    fn open(&mut self, id: String, range: FileRange) -> OperatorResult<OpenSplit> {
        if self.buffer.is_empty() {
            self.buffer = vec![0; CHUNK_BYTES];
        }
        let begin = range.position.unwrap_or_else(|| range.start.saturating_sub(1));
        let mut split = OpenSplit {
            id,
            input: Input::open(&range.path, begin)?,
            decoder: self.format.decoder(&self.columns, &self.projection),
            position: begin,
            start: 0,
            filled: 0,
            eof: false,
            finished: false,
            range,
        };
        if split.range.position.is_none() && split.range.start > 0 {
            loop {
                split.fill(&mut self.buffer)?;
                let bytes = &self.buffer[split.start..split.filled];
                let line_end = memchr::memchr(b'\n', bytes);
                split.advance(line_end.map_or(bytes.len(), |at| at + 1));
                if line_end.is_some() || split.eof {
                    break;
                }
            }
        }
        split.range.position = Some(split.position);
        Ok(split)
    }
}

impl OpenSplit {
    fn advance(&mut self, bytes: usize) {
        self.start += bytes;
        self.position += bytes as u64;
    }

    /// Reads on, making room first; a record that fills the buffer makes it grow.
    fn fill(&mut self, buffer: &mut Vec<u8>) -> OperatorResult<()> {
        buffer.copy_within(self.start..self.filled, 0);
        self.filled -= self.start;
        self.start = 0;
        if self.filled == buffer.len() {
            if buffer.len() >= MAX_RECORD_BYTES {
                return Err(OperatorError::fatal(format!(
                    "{}: a record is longer than {} MiB (is a quote missing?)",
                    self.place(self.position),
                    MAX_RECORD_BYTES >> 20
                )));
            }
            buffer.resize(buffer.len() * 2, 0);
        }
        loop {
            match self.input.read(&mut buffer[self.filled..]) {
                Ok(read) => {
                    self.filled += read;
                    self.eof = read == 0;
                    return Ok(());
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => {
                    let at = self.position + (self.filled - self.start) as u64;
                    return Err(OperatorError::fatal(format!(
                        "cannot read {} at byte {at}: {e}",
                        self.range.path.display()
                    )));
                }
            }
        }
    }

    /// Decodes up to `max_rows` rows; fewer only at the end of the split, or when they are long.
    fn collect(&mut self, buffer: &mut Vec<u8>, max_rows: usize) -> OperatorResult<()> {
        let end = self.range.end.unwrap_or(u64::MAX);
        loop {
            let stop_at = usize::try_from(end.saturating_sub(self.position)).unwrap_or(usize::MAX);
            let bytes = &buffer[self.start..self.filled];
            let used = self
                .decoder
                .decode(bytes, self.eof, stop_at, max_rows)
                .map_err(|e| self.malformed(&e, bytes))?;
            self.advance(used);
            if self.decoder.rows() >= max_rows || self.decoder.num_bytes() >= MAX_BATCH_BYTES {
                return Ok(());
            }
            let at_end = self.position >= end && self.decoder.at_line_start();
            if at_end || (self.eof && self.start == self.filled) {
                self.finished = true;
                return Ok(());
            }
            self.fill(buffer)?;
        }
    }

    /// `file, line n` of a position.
    fn place(&self, position: u64) -> String {
        let path = self.range.path.display();
        match line_number(&self.range.path, position) {
            Some(line) => format!("{path}, line {line}"),
            None => format!("{path}, byte {position}"),
        }
    }

    fn malformed(&self, error: &RecordError, bytes: &[u8]) -> OperatorError {
        let record = &bytes[error.offset.min(bytes.len())..];
        let record = &record[..memchr::memchr2(b'\n', b'\r', record).unwrap_or(record.len())];
        OperatorError::fatal(format!(
            "{}: {} in the record: {}",
            self.place(self.position + error.offset as u64),
            error.reason,
            crate::formats::shorten(record)
        ))
    }

    /// A batch could not be built: looks for the first line that is not UTF-8 among those read for it.
    fn not_utf8(&self, from: u64, error: OperatorError) -> OperatorError {
        let find = || {
            let mut bytes = Vec::new();
            let mut input = Input::open(&self.range.path, from).ok()?;
            let mut chunk = vec![0; CHUNK_BYTES];
            while (bytes.len() as u64) < self.position - from {
                match input.read(&mut chunk).ok()? {
                    0 => break,
                    n => bytes.extend_from_slice(&chunk[..n]),
                }
            }
            bytes.truncate((self.position - from) as usize);
            std::str::from_utf8(&bytes).err().map(|e| from + e.valid_up_to() as u64)
        };
        match find() {
            Some(at) => OperatorError::fatal(format!(
                "{}: the text is not valid UTF-8 (byte {at} of the file): {error}",
                self.place(at)
            )),
            None => error,
        }
    }
}

/// The line, from 1, that holds the byte at `position`. Reads the file from its start: for error messages only.
fn line_number(path: &Path, position: u64) -> Option<u64> {
    let mut input = Input::open(path, 0).ok()?;
    let mut buffer = vec![0; 64 << 10];
    let (mut seen, mut line) = (0u64, 1u64);
    while seen < position {
        let read = input.read(&mut buffer).ok().filter(|n| *n > 0)?;
        let counted = read.min(usize::try_from(position - seen).unwrap_or(usize::MAX));
        line += memchr::memchr_iter(b'\n', &buffer[..counted]).count() as u64;
        seen += counted as u64;
    }
    Some(line)
}

impl SourceReader<RecordBatch> for FileReader {
    fn add_split(&mut self, split: Split) -> OperatorResult<()> {
        let range = decode_split(&split)?;
        // A missing or shorter file is told now, not when its turn comes.
        let meta = std::fs::metadata(&range.path)
            .map_err(|e| OperatorError::fatal(format!("cannot read {}: {e}", range.path.display())))?;
        let plain = Compression::of(&range.path)? == Compression::None;
        if plain && range.position.is_some_and(|position| position > meta.len()) {
            return Err(OperatorError::fatal(format!(
                "{} has {} bytes, but {} had been read of it when the checkpoint was taken: it was replaced or cut; \
                 start without the checkpoint to read it anew",
                range.path.display(),
                meta.len(),
                range.position.unwrap_or_default()
            )));
        }
        self.waiting.push_back((split.id, range));
        Ok(())
    }

    fn poll(&mut self, now_ms: Timestamp) -> OperatorResult<Poll<RecordBatch>> {
        if self.current.is_none() {
            let Some((id, range)) = self.waiting.pop_front() else { return Ok(Poll::NeedSplit) };
            self.current = Some(self.open(id, range)?);
        }
        let Some(split) = &mut self.current else { return Ok(Poll::NeedSplit) };
        if split.finished {
            let id = std::mem::take(&mut split.id);
            self.current = None;
            return Ok(Poll::SplitEnd(id));
        }
        let max_rows = match &mut self.pace {
            None => BATCH_ROWS,
            Some(pace) => match pace.rows(now_ms) {
                Ok(rows) => rows.min(BATCH_ROWS),
                Err(wait_until) => return Ok(Poll::WaitUntil(wait_until)),
            },
        };
        let from = split.position;
        let collected = split.collect(&mut self.buffer, max_rows);
        self.metrics.num_records_in_errors.add(split.decoder.take_skipped());
        collected?;
        if split.decoder.rows() == 0 {
            let id = std::mem::take(&mut split.id);
            self.current = None;
            return Ok(Poll::SplitEnd(id));
        }
        let batch = split.decoder.finish().map_err(|e| split.not_utf8(from, e))?;
        split.range.position = Some(split.position);
        if let Some(pace) = &mut self.pace {
            pace.took(batch.num_rows(), now_ms);
        }
        Ok(Poll::Batch { split: split.id.clone(), batch })
    }

    fn snapshot(&mut self) -> OperatorResult<Vec<Split>> {
        let current = self.current.iter().map(|split| (&split.id, &split.range));
        let waiting = self.waiting.iter().map(|(id, range)| (id, range));
        current
            .chain(waiting)
            .map(|(id, range)| Ok(Split { id: id.clone(), ..encode_split(range)? }))
            .collect()
    }
}
