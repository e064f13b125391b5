//! Reading a snapshot, as a stream: a length that lies costs no more memory than the file has bytes.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use adler2::Adler32;

use super::disk::Disk;
use super::error::{Context, Result, StorageError};
use super::names;
use super::snapshot::{MAGIC, VERSION};
use crate::acl::{Acl, Acls, Id};
use crate::jute;
use crate::proto::StatPersisted;
use crate::tree::{LoadError, Loader, Tree};

/// The digest in a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotDigest {
    /// As of which transaction: in ZooKeeper's fuzzy snapshots the newest that may be in it.
    pub zxid: i64,
    /// Version of the digest's definition.
    pub version: i32,
    /// Its value.
    pub digest: i64,
}

/// What is in a snapshot.
#[derive(Debug)]
pub struct Snapshot {
    /// The znodes. [`Tree::last_zxid`] is the number in the file's name: later transactions must be replayed.
    pub tree: Tree,
    /// Sessions and their timeouts in ms.
    pub sessions: BTreeMap<i64, i32>,
    /// The digest; none in files of ZooKeeper before 3.6, or with digests turned off.
    pub digest: Option<SnapshotDigest>,
    /// The newest transaction that may be in it; none in files of ZooKeeper before 3.9.
    pub last_zxid: Option<i64>,
}

/// No digest and zxid are longer, with their seals.
const MAX_TRAILER_BYTES: usize = 4096;
/// A zxid and its seal.
const ZXID_TRAILER_BYTES: usize = 8 + SEAL_BYTES;
const SEAL_BYTES: usize = 8 + 4 + 1;

/// Reads a snapshot; its name tells the transaction and the compression. `extended_types`: see [`Tree::new`].
pub fn read(disk: &dyn Disk, path: &Path, extended_types: bool) -> Result<Snapshot> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some((zxid, compression)) = names::snapshot_zxid(name) else {
        return Err(StorageError::Misplaced(path.into()));
    };
    let file = disk.read(path, 0).context("open the snapshot", path)?;
    read_from(compression.reader(file), path, zxid, extended_types)
}

/// Reads a snapshot as of `zxid` from a stream of its uncompressed contents; `path` is for the errors only.
pub fn read_from(stream: impl Read, path: &Path, zxid: i64, extended_types: bool) -> Result<Snapshot> {
    let mut input = Input { stream, sum: Adler32::new(), at: 0 };
    parse(&mut input, zxid, extended_types).map_err(|broken| {
        let path: PathBuf = path.into();
        match broken {
            Broken::Contents(what) => StorageError::DamagedSnapshot { path, offset: input.at, what },
            Broken::Io(source) => match source.kind() {
                // Decompressors say so of contents.
                io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => {
                    StorageError::DamagedSnapshot { path, offset: input.at, what: source.to_string() }
                }
                _ => StorageError::Io { action: "read the snapshot", path, source },
            },
        }
    })
}

enum Broken {
    Contents(String),
    Io(io::Error),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Broken::Io(error)
    }
}

impl From<LoadError> for Broken {
    fn from(error: LoadError) -> Self {
        Broken::Contents(error.to_string())
    }
}

fn broken<T>(what: impl Into<String>) -> std::result::Result<T, Broken> {
    Err(Broken::Contents(what.into()))
}

type Parsed<T> = std::result::Result<T, Broken>;

fn parse(input: &mut Input<impl Read>, zxid: i64, extended_types: bool) -> Parsed<Snapshot> {
    if input.array()? != *MAGIC {
        return broken("it does not begin with ZKSN");
    }
    match input.int()? {
        VERSION => {}
        version => return broken(format!("it has an unknown version, {version}")),
    }
    input.long()?;
    let mut sessions = BTreeMap::new();
    for _ in 0..input.count("sessions")? {
        sessions.insert(input.long()?, input.int()?);
    }
    let mut loader = Loader::new(extended_types);
    for _ in 0..input.count("lists of permissions")? {
        let number = input.long()?;
        loader.acl(number, input.acls()?);
    }
    let mut undefined = 0;
    let (mut path, mut data) = (Vec::new(), Vec::new());
    loop {
        input.buffer(&mut path)?;
        if path == b"/" {
            break;
        }
        let path = String::from_utf8_lossy(&path);
        let data = input.buffer(&mut data)?.then_some(&*data);
        let acl = input.long()?;
        let stat: [u8; StatPersisted::ENCODED_BYTES] = input.array()?;
        let stat =
            StatPersisted::read(&mut jute::Reader::new(&stat)).or_else(|error| broken(error.to_string()))?;
        match loader.node(&path, data, acl, stat) {
            // Made while ZooKeeper wrote the snapshot, with a list that came after the lists. The transaction that made it is in the
            // log, and sets the list again; until then, and if it is not, nobody gets anything.
            Err(LoadError::NoAcl(..)) => {
                undefined += 1;
                loader.acl(acl, Acls::from([Acl { perms: 0, id: Id::new("world", "anyone") }]));
                loader.node(&path, data, acl, stat)?;
            }
            loaded => loaded?,
        }
    }
    if undefined > 0 {
        tracing::warn!(undefined, "the snapshot has znodes whose permissions only the log can tell");
    }
    input.seal()?;
    let (digest, last_zxid) = trailer(input)?;
    Ok(Snapshot { tree: loader.finish(zxid)?, sessions, digest, last_zxid })
}

/// What is behind the first seal: nothing, a digest, a zxid, or both, each with its seal.
fn trailer(input: &mut Input<impl Read>) -> Parsed<(Option<SnapshotDigest>, Option<i64>)> {
    let mut rest = Vec::new();
    (&mut input.stream).take(MAX_TRAILER_BYTES as u64 + 1).read_to_end(&mut rest)?;
    if rest.len() > MAX_TRAILER_BYTES {
        return broken("too much is behind its end");
    }
    let mut input = Input { stream: &*rest, sum: input.sum, at: input.at };
    let mut digest = None;
    if !rest.is_empty() && rest.len() != ZXID_TRAILER_BYTES {
        let (zxid, version) = (input.long()?, input.int()?);
        let value = match version {
            // ZooKeeper 3.6 alphas: in hexadecimal.
            ..2 => {
                let mut hex = Vec::new();
                input.buffer(&mut hex)?;
                i64::from_str_radix(&String::from_utf8_lossy(&hex), 16).unwrap_or_default()
            }
            _ => input.long()?,
        };
        input.seal()?;
        digest = Some(SnapshotDigest { zxid, version, digest: value });
    }
    let mut last_zxid = None;
    if !input.stream.is_empty() {
        last_zxid = Some(input.long()?);
        input.seal()?;
    }
    match input.stream.is_empty() {
        true => Ok((digest, last_zxid)),
        false => broken("something is behind its end"),
    }
}

/// A stream that is summed up as it is read.
struct Input<R> {
    stream: R,
    sum: Adler32,
    at: u64,
}

impl<R: Read> Input<R> {
    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut array = [0; N];
        self.stream.read_exact(&mut array).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => ends_early(),
            _ => error,
        })?;
        self.sum.write_slice(&array);
        self.at += N as u64;
        Ok(array)
    }

    fn int(&mut self) -> io::Result<i32> {
        self.array().map(i32::from_be_bytes)
    }

    fn long(&mut self) -> io::Result<i64> {
        self.array().map(i64::from_be_bytes)
    }

    fn count(&mut self, of: &str) -> Parsed<u32> {
        let count = self.int()?;
        u32::try_from(count).or_else(|_| broken(format!("it has {count} {of}")))
    }

    /// Reads a buffer into `out`; false if it is null.
    fn buffer(&mut self, out: &mut Vec<u8>) -> Parsed<bool> {
        out.clear();
        let length = match self.int()? {
            -1 => return Ok(false),
            length => {
                u64::try_from(length).or_else(|_| broken(format!("a field has the length {length}")))?
            }
        };
        if (&mut self.stream).take(length).read_to_end(out)? < length as usize {
            return Err(ends_early().into());
        }
        self.sum.write_slice(out);
        self.at += length;
        Ok(true)
    }

    fn text(&mut self) -> Parsed<Box<str>> {
        let mut bytes = Vec::new();
        self.buffer(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into())
    }

    fn acls(&mut self) -> Parsed<Acls> {
        let count = self.count("permissions in a list")?;
        let mut acls = Vec::new();
        for _ in 0..count {
            acls.push(Acl { perms: self.int()?, id: Id { scheme: self.text()?, id: self.text()? } });
        }
        Ok(acls.into())
    }

    fn seal(&mut self) -> Parsed<()> {
        let sum = i64::from(self.sum.checksum());
        let sealed = self.long()?;
        let mut end = Vec::new();
        self.buffer(&mut end)?;
        if sealed != sum || end != b"/" {
            return broken(format!("its contents have the checksum {sum:x}, and are sealed with {sealed:x}"));
        }
        Ok(())
    }
}

fn ends_early() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "it ends before its end mark")
}
