//! Writing the transaction log.
//!
//! A file begins with a header (`ZKLG`, version 2, database id) and holds one entry per transaction: Adler-32 of its bytes as a
//! 64-bit integer, their length, the bytes, `B`. Zeros up to the file's preallocated length follow.
//!
//! What [`TxnLog::commit`] has returned `Ok` for survives a power loss; what it has returned an error for is never taken for good by
//! anything written later: the file is cut behind its last good entry first, and the next entry begins a file of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use adler2::Adler32;

use super::disk::{Disk, DiskFile};
use super::error::{Context, Result, StorageError};
use super::names;
use crate::jute::Write;

/// First bytes of a log.
pub(super) const MAGIC: &[u8; 4] = b"ZKLG";
/// Version of the format.
pub(super) const VERSION: i32 = 2;
/// Length of the file's header.
pub(super) const HEADER_BYTES: u64 = 16;
/// Bytes of an entry in front of the transaction: checksum and length.
pub(super) const ENTRY_HEAD_BYTES: usize = 12;
/// Last byte of an entry.
pub(super) const ENTRY_END: u8 = b'B';
/// A transaction is not longer; `jute.maxbuffer` keeps them far below.
pub(super) const MAX_TXN_BYTES: usize = 256 << 20;
/// When what is left of the preallocated length gets less, more is preallocated. ZooKeeper's number.
const PREALLOCATE_AHEAD_BYTES: u64 = 4096;

/// How the log is written.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// `preAllocSize`, in bytes; 0 preallocates nothing.
    pub preallocate_bytes: u64,
    /// `txnLogSizeLimitInKb`, in bytes: a file that has grown beyond is not continued.
    pub size_limit_bytes: Option<u64>,
    /// `forceSync`: whether a commit waits until the disk has it.
    pub force_sync: bool,
}

impl Default for LogOptions {
    fn default() -> Self {
        LogOptions { preallocate_bytes: 64 << 20, size_limit_bytes: None, force_sync: true }
    }
}

/// The transaction log, open for writing.
pub struct TxnLog {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    options: LogOptions,
    file: Option<OpenFile>,
    /// A file that could not be cut after a failed commit; nothing may be written before it is.
    doubtful: Option<Doubtful>,
    /// Entries that are not committed.
    buffer: Vec<u8>,
    /// The first of them.
    buffer_zxid: i64,
    /// The newest transaction in log and buffer.
    last_zxid: i64,
    /// The newest in the log.
    committed_zxid: i64,
    last_sync: Duration,
    written_bytes: u64,
}

struct OpenFile {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    /// Where the next entry begins.
    end: u64,
    /// The file's length, with what is preallocated.
    length: u64,
}

struct Doubtful {
    path: PathBuf,
    /// Where its last good entry ends; none if it has none.
    good_end: Option<u64>,
}

impl std::fmt::Debug for TxnLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TxnLog")
            .field("dir", &self.dir)
            .field("file", &self.file.as_ref().map(|open| &open.path))
            .field("last_zxid", &self.last_zxid)
            .finish_non_exhaustive()
    }
}

impl TxnLog {
    /// A log in `dir`, whose newest transaction is `last_zxid`. The first commit begins a new file.
    pub fn new(disk: Arc<dyn Disk>, dir: &Path, last_zxid: i64, options: LogOptions) -> Self {
        TxnLog {
            disk,
            dir: dir.into(),
            options,
            file: None,
            doubtful: None,
            buffer: Vec::new(),
            buffer_zxid: 0,
            last_zxid,
            committed_zxid: last_zxid,
            last_sync: Duration::ZERO,
            written_bytes: 0,
        }
    }

    /// Adds a transaction (a [`LoggedTxn`](crate::txn::LoggedTxn), encoded) to what the next commit writes.
    pub fn append(&mut self, zxid: i64, txn: &[u8]) -> Result<()> {
        let bad = |what| Err(StorageError::BadTxn { zxid, what });
        if zxid <= self.last_zxid {
            return bad(format!("0x{:x} was logged before", self.last_zxid));
        }
        if txn.is_empty() || txn.len() > MAX_TXN_BYTES {
            return bad(format!("it has {} bytes, and must have between 1 and {MAX_TXN_BYTES}", txn.len()));
        }
        if self.buffer.is_empty() {
            self.buffer_zxid = zxid;
        }
        let mut sum = Adler32::new();
        sum.write_slice(txn);
        self.buffer.long(sum.checksum().into());
        self.buffer.buffer(Some(txn));
        self.buffer.push(ENTRY_END);
        self.last_zxid = zxid;
        Ok(())
    }

    /// Writes all that was appended, and waits until the disk has it. After an error, what was appended is gone, also from the disk,
    /// and the log can go on (see [`StorageError::is_disk_full`]).
    pub fn commit(&mut self) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let written = self.settle_doubts().and_then(|()| self.write_buffer());
        self.buffer.clear();
        // A burst of large transactions should not be kept in memory for ever.
        self.buffer.shrink_to(1 << 20);
        if let Err(error) = written {
            self.last_zxid = self.committed_zxid;
            if let Err(again) = self.settle_doubts() {
                tracing::error!(%again, "a failed write to the transaction log could not be taken back yet");
            }
            return Err(error);
        }
        self.committed_zxid = self.last_zxid;
        let limit = self.options.size_limit_bytes.unwrap_or(u64::MAX);
        if self.file.as_ref().is_some_and(|open| open.end > limit) {
            self.roll()?;
        }
        Ok(())
    }

    /// Commits what is appended; what follows goes to a new file.
    pub fn roll(&mut self) -> Result<()> {
        self.commit()?;
        if let Some(mut open) = self.file.take() {
            // Only zeros are behind the end: whether the disk learns of the cut does not matter.
            if let Err(error) = open.file.set_len(open.end) {
                tracing::warn!(path = %open.path.display(), %error, "cannot give back what was preallocated");
            }
        }
        Ok(())
    }

    /// The newest transaction that is committed.
    pub fn committed_zxid(&self) -> i64 {
        self.committed_zxid
    }

    /// Whether something is appended that is not committed.
    pub fn is_dirty(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Bytes that are appended and not committed.
    pub fn buffered_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Length of the current file, without what is preallocated.
    pub fn file_bytes(&self) -> u64 {
        self.file.as_ref().map_or(0, |open| open.end)
    }

    /// Bytes written since the log was opened.
    pub fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// How long the disk took for the last commit.
    pub fn last_sync(&self) -> Duration {
        self.last_sync
    }

    /// Bytes that can still be written to the disk.
    pub fn free_space(&self) -> Result<u64> {
        self.disk.free_space(&self.dir).context("ask for the free space of", &self.dir)
    }

    fn write_buffer(&mut self) -> Result<()> {
        let mut open = match self.file.take() {
            Some(open) => open,
            None => self.create()?,
        };
        let new = open.end == HEADER_BYTES;
        let result = self.write_to(&mut open);
        match result {
            Ok(()) => {
                self.file = Some(open);
                Ok(())
            }
            Err(error) => {
                let good_end = (!new).then_some(open.end);
                self.doubtful = Some(Doubtful { path: open.path, good_end });
                Err(error)
            }
        }
    }

    /// Creates a file with its header. Its name is not durable yet.
    fn create(&mut self) -> Result<OpenFile> {
        let path = self.dir.join(names::log_name(self.buffer_zxid));
        let mut header = Vec::with_capacity(HEADER_BYTES as usize);
        header.extend_from_slice(MAGIC);
        header.int(VERSION);
        header.long(0);
        let mut file = self.disk.create(&path).context("create the transaction log", &path)?;
        if let Err(error) =
            file.write_at(0, &header).context("write the header of the transaction log", &path)
        {
            self.doubtful = Some(Doubtful { path, good_end: None });
            return Err(error);
        }
        Ok(OpenFile { file, path, end: HEADER_BYTES, length: HEADER_BYTES })
    }

    fn write_to(&mut self, open: &mut OpenFile) -> Result<()> {
        let path = &open.path;
        let end = open.end + self.buffer.len() as u64;
        let length = padded_length(end, open.length, self.options.preallocate_bytes);
        if length > open.length {
            open.file.set_len(length).context("extend the transaction log", path)?;
            open.length = length;
        }
        open.file.write_at(open.end, &self.buffer).context("write to the transaction log", path)?;
        if self.options.force_sync {
            let begin = Instant::now();
            open.file.sync_data().context("sync the transaction log", path)?;
            if open.end == HEADER_BYTES {
                self.disk.sync_dir(&self.dir).context("sync the directory", &self.dir)?;
            }
            self.last_sync = begin.elapsed();
        }
        self.written_bytes += self.buffer.len() as u64;
        open.end = end;
        open.length = open.length.max(end);
        Ok(())
    }

    /// Takes back what a failed commit may have left.
    fn settle_doubts(&mut self) -> Result<()> {
        if let Some(doubtful) = &self.doubtful {
            cut(&*self.disk, &self.dir, &doubtful.path, doubtful.good_end)?;
            self.doubtful = None;
        }
        Ok(())
    }
}

/// Cuts a log behind its last good entry, durably; removes it if it has none.
pub(super) fn cut(disk: &dyn Disk, dir: &Path, path: &Path, good_end: Option<u64>) -> Result<()> {
    match good_end {
        Some(end) => {
            let mut file = disk.modify(path).context("open the transaction log", path)?;
            file.set_len(end).context("cut the transaction log", path)?;
            file.sync_data().context("sync the transaction log", path)
        }
        None => {
            disk.remove(path).context("remove the transaction log", path)?;
            disk.sync_dir(dir).context("sync the directory", dir)
        }
    }
}

/// The length that a file of `length` should have so that it holds entries up to `end`.
fn padded_length(end: u64, length: u64, preallocate: u64) -> u64 {
    if preallocate == 0 || end + PREALLOCATE_AHEAD_BYTES < length {
        return length;
    }
    (end + PREALLOCATE_AHEAD_BYTES + 1).next_multiple_of(preallocate)
}
