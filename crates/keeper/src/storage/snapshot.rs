//! Writing a snapshot: header (`ZKSN`, version 2, database id -1), sessions, lists of permissions, znodes with parents first, a `/` as
//! end mark, a seal; the tree's digest, a seal; the last transaction, a seal. A seal is the Adler-32 of all that is in front of it, and
//! `/` once more. ZooKeeper before 3.9 ends with the digest, before 3.6 with the first seal; each reads the files of the later ones.
//!
//! A snapshot gets its name when all of it is on the disk, so one that is cut short has never been a snapshot.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use adler2::Adler32;

pub use super::compress::Compression;
use super::compress::Compressor;
use super::disk::{Disk, DiskFile};
use super::error::{Context, Result, StorageError};
use super::names;
pub use super::snapshot_reader::{Snapshot, SnapshotDigest, read, read_from};
use crate::acl::write_acls;
use crate::digest;
use crate::jute::Write;
use crate::proto::StatPersisted;
use crate::tree::Frozen;

/// First bytes of a snapshot.
pub(super) const MAGIC: &[u8; 4] = b"ZKSN";
/// Version of the format.
pub(super) const VERSION: i32 = 2;

/// Writes a snapshot into `dir` and hands back its path. `sessions`: ids and timeouts in ms.
///
/// When this returns, the snapshot is on the disk; when it fails, there is none.
pub fn write(
    disk: &dyn Disk,
    dir: &Path,
    frozen: &Frozen,
    sessions: &[(i64, i32)],
    compression: Compression,
) -> Result<PathBuf> {
    let zxid = frozen.zxid();
    let path = dir.join(names::snapshot_name(zxid, compression));
    let temporary = dir.join(format!("{}{zxid:x}", names::TEMPORARY_PREFIX));
    let written = write_file(disk, &temporary, frozen, sessions, compression);
    if let Err(source) = written {
        // What is left of it goes with the next start at the latest.
        let _ = disk.remove(&temporary);
        return Err(StorageError::Io { action: "write the snapshot", path: temporary, source });
    }
    disk.rename(&temporary, &path).context("give the snapshot its name", &path)?;
    disk.sync_dir(dir).context("sync the directory", dir)?;
    Ok(path)
}

/// Writes a snapshot to a stream, as for `snapshot` of the admin server.
pub fn write_to(
    out: impl io::Write,
    frozen: &Frozen,
    sessions: &[(i64, i32)],
    compression: Compression,
) -> io::Result<()> {
    write_compressed(out, frozen, sessions, compression).map(drop)
}

fn write_file(
    disk: &dyn Disk,
    path: &Path,
    frozen: &Frozen,
    sessions: &[(i64, i32)],
    compression: Compression,
) -> io::Result<()> {
    let file = Sequential { file: disk.create(path)?, at: 0 };
    write_compressed(file, frozen, sessions, compression)?.file.sync_data()
}

/// Appends to a file.
struct Sequential {
    file: Box<dyn DiskFile>,
    at: u64,
}

impl io::Write for Sequential {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_at(self.at, bytes)?;
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_compressed<W: io::Write>(
    out: W,
    frozen: &Frozen,
    sessions: &[(i64, i32)],
    compression: Compression,
) -> io::Result<W> {
    let mut out = Sealed { out: Compressor::new(compression, out), sum: Adler32::new(), buffer: Vec::new() };
    out.buffer.extend_from_slice(MAGIC);
    out.buffer.int(VERSION);
    out.buffer.long(-1);
    out.buffer.int(count(sessions.len())?);
    for (id, timeout_ms) in sessions {
        out.buffer.long(*id);
        out.buffer.int(*timeout_ms);
    }
    out.buffer.int(count(frozen.acls().count())?);
    for (number, acls) in frozen.acls() {
        out.buffer.long(number);
        write_acls(acls, &mut out.buffer);
    }
    out.flush()?;
    for (path, data, acl, stat) in frozen.nodes() {
        write_node(&mut out.buffer, path, data, acl, stat);
        if out.buffer.len() > 64 << 10 {
            out.flush()?;
        }
    }
    out.buffer.string("/");
    out.seal()?;
    // ZooKeeper takes a digest as of transaction 0 for none.
    out.buffer.long(frozen.zxid());
    out.buffer.int(digest::VERSION);
    out.buffer.long(if frozen.zxid() > 0 { frozen.digest() } else { 0 });
    out.seal()?;
    out.buffer.long(frozen.zxid());
    out.seal()?;
    out.out.finish()
}

fn write_node(out: &mut Vec<u8>, path: &str, data: Option<&[u8]>, acl: i64, stat: &StatPersisted) {
    out.string(path);
    out.buffer(data);
    out.long(acl);
    stat.write(out);
}

fn count(length: usize) -> io::Result<i32> {
    i32::try_from(length).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "more than 2^31 records"))
}

/// Sums up what is written.
struct Sealed<W: io::Write> {
    out: Compressor<W>,
    sum: Adler32,
    buffer: Vec<u8>,
}

impl<W: io::Write> Sealed<W> {
    fn flush(&mut self) -> io::Result<()> {
        self.sum.write_slice(&self.buffer);
        self.out.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    fn seal(&mut self) -> io::Result<()> {
        self.flush()?;
        self.buffer.long(self.sum.checksum().into());
        self.buffer.string("/");
        self.flush()
    }
}
