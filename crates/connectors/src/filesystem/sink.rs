//! Rows into files, exactly once.
//!
//! A writer fills a hidden file. At a barrier (or when it is large enough) the file is made durable and closed; the
//! committable names it and the name that it will have. Committing renames it. Hence what can be seen in the
//! directory is whole, and was computed up to a durable checkpoint. Names hold lineage, operator, subtask, checkpoint
//! and a sequence number, so that no two attempts share one.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};
use streamkeeper_dataflow::element::CheckpointId;
use streamkeeper_dataflow::operator::OperatorContext;
use streamkeeper_dataflow::sink::{Committable, Committer, Sink, SinkWriter};
use streamkeeper_dataflow::time::{Clock, Timestamp};
use streamkeeper_dataflow::{OperatorError, OperatorResult};

use crate::formats::{Encoder, Format};
use crate::schema::Field;

/// Encoded bytes are handed to the file in portions of at least this size.
const BUFFER_BYTES: usize = 256 << 10;

/// A directory that rows are written to.
pub(crate) struct FileSink {
    pub(crate) directory: PathBuf,
    pub(crate) format: Format,
    pub(crate) columns: Vec<Field>,
    /// A file is closed when it is at least this long.
    pub(crate) roll_bytes: u64,
    /// A file is closed when it is this old.
    pub(crate) roll_interval_ms: i64,
    /// Of the sink within its job.
    pub(crate) uid: String,
}

/// A closed file that is not visible yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct PendingFile {
    pending: PathBuf,
    visible: PathBuf,
}

struct FileWriter {
    directory: PathBuf,
    encoder: Box<dyn Encoder>,
    roll_bytes: u64,
    roll_interval_ms: i64,
    clock: Arc<dyn Clock>,
    /// `<lineage>-<uid hash>-<subtask>`.
    name: String,
    /// Tells files of this writer from those of one that was thought dead.
    incarnation: String,
    sequence: u64,
    buffer: Vec<u8>,
    current: Option<CurrentFile>,
    closed: Vec<PathBuf>,
}

struct CurrentFile {
    path: PathBuf,
    file: File,
    written: u64,
    opened_ms: Timestamp,
}

/// The first 16 characters of the lineage: enough to tell runs apart in a name.
fn short(lineage: &str) -> &str {
    lineage.get(..16).unwrap_or(lineage)
}

/// Eight hex digits that stand for an operator's uid (FNV-1a).
fn uid_hash(uid: &str) -> String {
    let hash = uid
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{:08x}", (hash >> 32) ^ (hash & 0xffff_ffff))
}

fn failed(action: &str, path: &Path, error: &std::io::Error) -> OperatorError {
    let message = format!("cannot {action} {}: {error}", path.display());
    // Nobody mends these while the job restarts; the last checkpoint and all that it committed stay.
    match error.kind() {
        ErrorKind::PermissionDenied
        | ErrorKind::NotADirectory
        | ErrorKind::StorageFull
        | ErrorKind::QuotaExceeded
        | ErrorKind::ReadOnlyFilesystem => OperatorError::fatal(message),
        _ => OperatorError::recoverable(message),
    }
}

fn sync_directory(directory: &Path) -> OperatorResult<()> {
    File::open(directory).and_then(|d| d.sync_all()).map_err(|e| failed("sync directory", directory, &e))
}

impl Sink<RecordBatch> for FileSink {
    fn writer(&self, context: &OperatorContext) -> OperatorResult<Box<dyn SinkWriter<RecordBatch>>> {
        static INCARNATION: AtomicU64 = AtomicU64::new(0);
        std::fs::create_dir_all(&self.directory)
            .map_err(|e| failed("create directory", &self.directory, &e))?;
        let count = INCARNATION.fetch_add(1, Ordering::Relaxed);
        let incarnation = format!(
            "a{}-{:x}-{:x}-{count:x}",
            context.attempt,
            std::process::id(),
            context.clock.now_ms().unsigned_abs()
        );
        Ok(Box::new(FileWriter {
            directory: self.directory.clone(),
            encoder: self.format.encoder(&self.columns),
            roll_bytes: self.roll_bytes,
            roll_interval_ms: self.roll_interval_ms,
            clock: context.clock.clone(),
            name: format!("{}-{}-{}", short(&context.lineage), uid_hash(&self.uid), context.subtask),
            incarnation,
            sequence: 0,
            buffer: Vec::with_capacity(BUFFER_BYTES * 2),
            current: None,
            closed: Vec::new(),
        }))
    }

    fn committer(&self) -> Option<Arc<dyn Committer>> {
        Some(Arc::new(FileCommitter { directory: self.directory.clone(), uid_hash: uid_hash(&self.uid) }))
    }
}

impl FileWriter {
    /// Hands the buffer to the file, opening one when there is none.
    fn flush(&mut self) -> OperatorResult<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let current = match &mut self.current {
            Some(current) => current,
            none => {
                let name = format!(".part-{}-{}-{}.inprogress", self.name, self.incarnation, self.sequence);
                let path = self.directory.join(name);
                self.sequence += 1;
                let file = File::create_new(&path).map_err(|e| failed("create", &path, &e))?;
                none.insert(CurrentFile { path, file, written: 0, opened_ms: self.clock.now_ms() })
            }
        };
        current.file.write_all(&self.buffer).map_err(|e| failed("write to", &current.path, &e))?;
        current.written += self.buffer.len() as u64;
        self.buffer.clear();
        if current.written >= self.roll_bytes {
            self.close()?;
        }
        Ok(())
    }

    /// Makes the current file durable.
    fn close(&mut self) -> OperatorResult<()> {
        if let Some(current) = self.current.take() {
            current.file.sync_all().map_err(|e| failed("sync", &current.path, &e))?;
            self.closed.push(current.path);
        }
        Ok(())
    }
}

impl SinkWriter<RecordBatch> for FileWriter {
    fn write(&mut self, batch: RecordBatch) -> OperatorResult<()> {
        self.encoder.encode(&batch, &mut self.buffer)?;
        if self.buffer.len() >= BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    fn prepare_commit(&mut self, checkpoint: CheckpointId) -> OperatorResult<Vec<Committable>> {
        self.flush()?;
        self.close()?;
        if self.closed.is_empty() {
            return Ok(Vec::new());
        }
        // The files' directory entries must last as long as the checkpoint that names them.
        sync_directory(&self.directory)?;
        let files = std::mem::take(&mut self.closed);
        (0u64..)
            .zip(files)
            .map(|(i, pending)| {
                let visible = self.directory.join(format!("part-{}-{checkpoint}-{i}", self.name));
                serde_json::to_vec(&PendingFile { pending, visible })
                    .map_err(|e| OperatorError::fatal(format!("cannot store the name of a file: {e}")))
            })
            .collect()
    }

    fn next_processing_time(&self) -> Option<Timestamp> {
        self.current.as_ref().map(|current| current.opened_ms.saturating_add(self.roll_interval_ms))
    }

    fn on_processing_time(&mut self, now_ms: Timestamp) -> OperatorResult<()> {
        if self.next_processing_time().is_some_and(|due| due <= now_ms) {
            self.flush()?;
            self.close()?;
        }
        Ok(())
    }
}

struct FileCommitter {
    directory: PathBuf,
    uid_hash: String,
}

impl Committer for FileCommitter {
    fn commit(&self, committables: &[Committable]) -> OperatorResult<()> {
        let files = committables.iter().map(|bytes| decode(bytes)).collect::<OperatorResult<Vec<_>>>()?;
        for file in &files {
            commit_file(file)?;
        }
        let mut directories: Vec<&Path> = files.iter().filter_map(|file| file.visible.parent()).collect();
        directories.dedup();
        directories.into_iter().try_for_each(sync_directory)
    }

    fn recover(
        &self,
        lineage: &str,
        attempt: Option<u32>,
        committables: &[Committable],
    ) -> OperatorResult<()> {
        self.commit(committables)?;
        let prefix = format!(".part-{}-{}-", short(lineage), self.uid_hash);
        let entries = match std::fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(failed("list directory", &self.directory, &e)),
        };
        for entry in entries {
            let entry = entry.map_err(|e| failed("list directory", &self.directory, &e))?;
            let name = entry.file_name();
            let left = name.to_str().and_then(|name| name.strip_prefix(&prefix)).is_some_and(|rest| {
                attempt.is_none_or(|attempt| attempt_of(rest).is_none_or(|earlier| earlier < attempt))
            });
            if left {
                let path = entry.path();
                match std::fs::remove_file(&path) {
                    Err(e) if e.kind() != ErrorKind::NotFound => return Err(failed("remove", &path, &e)),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

/// The attempt in `<subtask>-a<attempt>-…`.
fn attempt_of(rest: &str) -> Option<u32> {
    rest.split('-').nth(1)?.strip_prefix('a')?.parse().ok()
}

fn decode(bytes: &[u8]) -> OperatorResult<PendingFile> {
    serde_json::from_slice(bytes).map_err(|e| {
        OperatorError::fatal(format!("the checkpoint names a file to commit that cannot be read: {e}"))
    })
}

/// Renames a pending file; done already when only the visible one is there.
fn commit_file(file: &PendingFile) -> OperatorResult<()> {
    let PendingFile { pending, visible } = file;
    if pending.exists() {
        // Whoever commits the same checkpoint renames between two looks.
        if visible.exists() && pending.exists() {
            return Err(OperatorError::fatal(format!(
                "cannot commit {}: {} is there already, with other rows; move one of them away",
                pending.display(),
                visible.display()
            )));
        }
        return match std::fs::rename(pending, visible) {
            Ok(()) => Ok(()),
            // Another committer of the same checkpoint was faster.
            Err(e) if e.kind() == ErrorKind::NotFound && visible.exists() => Ok(()),
            Err(e) => Err(failed("rename to its final name", pending, &e)),
        };
    }
    if visible.exists() {
        return Ok(());
    }
    Err(OperatorError::fatal(format!(
        "neither {} nor {} is there: rows of a completed checkpoint are gone (was the directory changed by hand?)",
        pending.display(),
        visible.display()
    )))
}
