//! Reading the transaction log.
//!
//! Either every committed transaction comes out, in order, or an error that names file and offset. What may be dropped is a tail that
//! was never committed: an entry that is not whole, with nothing valid behind it, at the end of the last file. At the end of an earlier
//! file it may be dropped only if the next file begins with the very transaction that the tail would have held: a server died
//! within a write, was started again, and gave out the same number anew.

use std::collections::VecDeque;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use adler2::Adler32;

use super::disk::Disk;
use super::error::{Context, Result, StorageError};
use super::log::{self, ENTRY_END, ENTRY_HEAD_BYTES, HEADER_BYTES, MAGIC, MAX_TXN_BYTES, VERSION};
use super::log_tail::{self, Tail};
use super::names;
use crate::jute::Reader;
use crate::txn::LoggedTxn;

/// The transactions in a directory's logs, in order.
pub struct LogReader {
    disk: Arc<dyn Disk>,
    files: VecDeque<(i64, PathBuf)>,
    file: Option<LogFile>,
    /// Transactions up to this one are not handed out.
    after: i64,
    /// The newest that was read.
    last_zxid: i64,
    torn: Vec<TornTail>,
    /// The last file that has entries.
    last_file: Option<PathBuf>,
    /// How many of them the next transaction must show to be no loss.
    unproven: usize,
    gaps: usize,
}

/// The end of a log that was never committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// The file.
    pub path: PathBuf,
    /// Where its last good entry ends; none if there is none.
    pub good_end: Option<u64>,
    /// Where the tail begins.
    pub offset: u64,
    /// What is wrong with it.
    pub what: String,
}

struct LogFile {
    path: PathBuf,
    reader: BufReader<Box<dyn Read + Send>>,
    length: u64,
    /// Where the next entry begins.
    at: u64,
    entries: u64,
}

enum Step {
    /// A whole entry is in the buffer.
    Entry(Vec<u8>),
    /// Zeros or nothing.
    End,
    /// Not an entry.
    Broken(String),
}

/// Whether `next` is the number that a server gives out after `last`: the following one, or the first of a later epoch.
pub(super) fn follows(last: i64, next: i64) -> bool {
    next == last.wrapping_add(1) || next >> 32 > last >> 32 && next & 0xffff_ffff == 1
}

impl std::fmt::Debug for LogReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogReader")
            .field("file", &self.file.as_ref().map(|file| &file.path))
            .field("last_zxid", &self.last_zxid)
            .finish_non_exhaustive()
    }
}

impl LogReader {
    /// Opens the logs in `dir`, to read what came after `zxid`.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, zxid: i64) -> Result<Self> {
        let files = names::logs_after(names::logs(&*disk, dir)?, zxid).into();
        Ok(LogReader {
            disk,
            files,
            file: None,
            after: zxid,
            last_zxid: i64::MIN,
            torn: Vec::new(),
            last_file: None,
            unproven: 0,
            gaps: 0,
        })
    }

    /// The next transaction; none at the end.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<LoggedTxn>> {
        loop {
            let Some(file) = &mut self.file else {
                let Some((_, path)) = self.files.pop_front() else { return Ok(None) };
                self.open_file(path)?;
                continue;
            };
            match file.step().context("read the transaction log", &file.path)? {
                Step::Entry(bytes) => {
                    if let Some(txn) = self.entry(&bytes)? {
                        return Ok(Some(txn));
                    }
                }
                Step::End => self.end(None)?,
                Step::Broken(what) => self.end(Some(what))?,
            }
        }
    }

    /// The tails that were dropped; complete once [`LogReader::next`] has returned none.
    pub fn torn(&self) -> &[TornTail] {
        &self.torn
    }

    /// How often a number was left out. The server that wrote the log had failed to write some, or files are missing.
    pub fn gaps(&self) -> usize {
        self.gaps
    }

    /// Cuts the dropped tails off, and makes durable what was read: a server that was killed between write and sync has left entries
    /// that only the system's memory holds, and that nobody may see before a power loss cannot take them back. Must come before
    /// anything is written to the directory.
    pub fn repair(&self) -> Result<()> {
        for TornTail { path, good_end, offset, what } in &self.torn {
            tracing::warn!(
                path = %path.display(), offset, what,
                "the transaction log ends in an entry that was never committed; it is cut off"
            );
            log::cut(&*self.disk, path.parent().unwrap_or(Path::new(".")), path, *good_end)?;
        }
        match &self.last_file {
            Some(path) => make_durable(&*self.disk, path),
            None => Ok(()),
        }
    }

    fn open_file(&mut self, path: PathBuf) -> Result<()> {
        let length = self.disk.len(&path).context("find the length of", &path)?;
        let stream = self.disk.read(&path, 0).context("open the transaction log", &path)?;
        let mut reader = BufReader::with_capacity(128 << 10, stream);
        let mut header = [0; HEADER_BYTES as usize];
        let got = read_up_to(&mut reader, &mut header).context("read the transaction log", &path)?;
        // A file's length may have become durable before its first bytes, or before some of them.
        if got < header.len() || is_begun(&header) {
            self.file = Some(LogFile { path, reader, length, at: 0, entries: 0 });
            return self.end(Some("it has no header".into()));
        }
        let damaged = |offset, what| Err(StorageError::DamagedLog { path: path.clone(), offset, what });
        if !header.starts_with(MAGIC) {
            return damaged(0, "it does not begin with ZKLG".into());
        }
        if header[4..8] != VERSION.to_be_bytes() {
            return damaged(4, format!("it has an unknown version, {:02x?}", &header[4..8]));
        }
        self.file = Some(LogFile { path, reader, length, at: HEADER_BYTES, entries: 0 });
        Ok(())
    }

    /// Takes the bytes of an entry; none if it is not wanted.
    fn entry(&mut self, bytes: &[u8]) -> Result<Option<LoggedTxn>> {
        let Some(file) = &mut self.file else { return Ok(None) };
        let at = file.at;
        let damaged = |what| StorageError::DamagedLog { path: file.path.clone(), offset: at, what };
        let txn =
            LoggedTxn::read(bytes).map_err(|error| damaged(format!("no transaction is in it: {error}")))?;
        let zxid = txn.header.zxid;
        let first = self.last_zxid == i64::MIN;
        if zxid < self.last_zxid {
            let last = self.last_zxid;
            return Err(damaged(format!("transaction 0x{zxid:x} comes after 0x{last:x}")));
        }
        // A snapshot that came from a leader may hold more than the logs before it.
        let last = self.last_zxid.max(self.after);
        let continues = zxid <= last || follows(last, zxid);
        if self.unproven > 0 {
            if let (false, Some(torn)) = (continues, self.torn.last()) {
                return Err(StorageError::DamagedLog {
                    path: torn.path.clone(),
                    offset: torn.offset,
                    what: format!("{}, and later files go on with transaction 0x{zxid:x}", torn.what),
                });
            }
            self.unproven = 0;
        }
        if !continues {
            self.gaps += 1;
            tracing::warn!(path = %file.path.display(), offset = at, "transaction 0x{zxid:x} comes after 0x{last:x}");
        }
        // A follower of ZooKeeper may log a transaction twice.
        let wanted = zxid > self.after && (first || zxid > self.last_zxid);
        self.last_zxid = zxid;
        file.at += (ENTRY_HEAD_BYTES + bytes.len() + 1) as u64;
        file.entries += 1;
        Ok(wanted.then_some(txn))
    }

    /// Closes the file whose next entry is zeros, or broken; finds out whether that is its end.
    fn end(&mut self, broken: Option<String>) -> Result<()> {
        let Some(file) = self.file.take() else { return Ok(()) };
        let LogFile { path, length, at, entries, .. } = file;
        if entries > 0 {
            self.last_file = Some(path.clone());
        }
        let tail = log_tail::inspect(&*self.disk, &path, at, length, self.last_zxid)
            .context("read the transaction log", &path)?;
        let what = match (tail, broken) {
            // Also when the file's end cuts the zeros short.
            (Tail::Zeros, _) if at > 0 => return Ok(()),
            (Tail::Zeros, broken) => broken.unwrap_or_default(),
            (Tail::Torn, broken) => broken.unwrap_or_else(|| "there is something behind a gap".into()),
            (Tail::Middle(found), broken) => {
                let broken = broken.unwrap_or_else(|| "the entry is missing".into());
                let what = format!("{broken}, and {found}");
                return Err(StorageError::DamagedLog { path, offset: at, what });
            }
        };
        self.torn.push(TornTail { path, good_end: (entries > 0).then_some(at), offset: at, what });
        self.unproven += 1;
        Ok(())
    }
}

impl LogFile {
    fn step(&mut self) -> io::Result<Step> {
        let mut head = [0; ENTRY_HEAD_BYTES];
        let got = read_up_to(&mut self.reader, &mut head)?;
        if head == [0; ENTRY_HEAD_BYTES] {
            return Ok(Step::End);
        }
        if got < head.len() {
            return Ok(Step::Broken("the file ends within an entry".into()));
        }
        let mut fields = Reader::new(&head);
        let (Ok(sum), Ok(length)) = (fields.long(), fields.int()) else {
            return Ok(Step::Broken("the file ends within an entry".into()));
        };
        let left = self.length.saturating_sub(self.at + ENTRY_HEAD_BYTES as u64);
        let length = match usize::try_from(length) {
            Ok(length) if length > 0 && length <= MAX_TXN_BYTES => length,
            _ => return Ok(Step::Broken(format!("an entry cannot have the length {length}"))),
        };
        if length as u64 >= left {
            return Ok(Step::Broken(format!("an entry of {length} bytes does not fit into the file")));
        }
        let mut bytes = vec![0; length + 1];
        if read_up_to(&mut self.reader, &mut bytes)? < bytes.len() {
            return Ok(Step::Broken("the file ends within an entry".into()));
        }
        if bytes.pop() != Some(ENTRY_END) {
            return Ok(Step::Broken("the entry's end is not marked".into()));
        }
        if checksum(&bytes) != sum {
            return Ok(Step::Broken("the entry's checksum is wrong".into()));
        }
        Ok(Step::Entry(bytes))
    }
}

/// Whether a part of the header is there, and zeros behind it.
fn is_begun(header: &[u8; HEADER_BYTES as usize]) -> bool {
    let whole = [MAGIC.as_slice(), &VERSION.to_be_bytes()].concat();
    let written = header.iter().zip(&whole).take_while(|(found, wanted)| found == wanted).count();
    written < whole.len() && header[written..].iter().all(|byte| *byte == 0)
}

/// Makes a file durable that another process may have written, and its name.
pub(super) fn make_durable(disk: &dyn Disk, path: &Path) -> Result<()> {
    let mut file = disk.modify(path).context("open for a sync", path)?;
    file.sync_data().context("sync", path)?;
    let dir = path.parent().unwrap_or(Path::new("."));
    disk.sync_dir(dir).context("sync the directory", dir)
}

/// The checksum of a transaction's bytes.
pub(super) fn checksum(bytes: &[u8]) -> i64 {
    let mut sum = Adler32::new();
    sum.write_slice(bytes);
    sum.checksum().into()
}

/// Fills `buffer` as far as the stream goes.
pub(super) fn read_up_to(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match reader.read(&mut buffer[got..]) {
            Ok(0) => break,
            Ok(more) => got += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}
