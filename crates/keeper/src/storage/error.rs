//! What can go wrong with files: each sentence says which file, where, what, and what to do.

use std::io;
use std::path::PathBuf;

/// An error of the storage.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A transaction log that is not merely torn at its end.
    #[error(
        "the transaction log {} is damaged at offset {offset}: {what}; restore this file from a backup. If there is none \
         and it is acceptable to lose every transaction from that offset on: copy the directory, move all later logs away, \
         and cut this one to its first {offset} bytes, or move it away too to have no more than the newest snapshot holds",
        .path.display()
    )]
    DamagedLog {
        /// The file.
        path: PathBuf,
        /// Where the first bad entry begins.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// A snapshot that cannot be read whole.
    #[error(
        "the snapshot {} is damaged at offset {offset} of its contents: {what}; restore it from a copy, or move it \
         away to start from an older one",
        .path.display()
    )]
    DamagedSnapshot {
        /// The file.
        path: PathBuf,
        /// Where it was noticed, in the uncompressed contents.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// The newest snapshot is damaged, and an older one with the logs since does not lead as far.
    #[error(
        "{damaged}; the older snapshot {} does not replace it, since the transaction logs {what}",
        .older.display()
    )]
    NoWayAround {
        /// What is wrong with the newest.
        damaged: Box<StorageError>,
        /// The newest that can be read.
        older: PathBuf,
        /// What is missing.
        what: String,
    },
    /// There are logs, but no snapshot that they follow.
    #[error(
        "{} holds transaction logs, but there is no snapshot in {}: restore the snapshots, or set \
         snapshot.trust.empty=true once if this directory comes from ZooKeeper 3.4 and never had one",
        .logs.display(), .snapshots.display()
    )]
    NoSnapshot {
        /// Directory of the logs.
        logs: PathBuf,
        /// Directory of the snapshots.
        snapshots: PathBuf,
    },
    /// Nothing is there, and nothing may be made.
    #[error(
        "{} is empty and zookeeper.db.autocreate is false: restore the data, or create the file `initialize` in it to \
         begin with an empty database",
        .0.display()
    )]
    Empty(PathBuf),
    /// Directories may not be made.
    #[error("{} does not exist and zookeeper.datadir.autocreate is false: create it", .0.display())]
    MissingDirectory(PathBuf),
    /// A file lies in the other kind's directory.
    #[error("{} does not belong there: check whether dataDir and dataLogDir were swapped", .0.display())]
    Misplaced(PathBuf),
    /// Another server has the directory open.
    #[error("{} is in use by another server: stop that one, or use another directory", .0.display())]
    InUse(PathBuf),
    /// A transaction cannot be logged as it is.
    #[error("transaction 0x{zxid:x} cannot be logged: {what}")]
    BadTxn {
        /// Its number.
        zxid: i64,
        /// Why not.
        what: String,
    },
}

/// Result of a storage operation.
pub type Result<T> = std::result::Result<T, StorageError>;

impl StorageError {
    /// Whether room on the disk would help.
    pub fn is_disk_full(&self) -> bool {
        match self {
            StorageError::Io { source, .. } => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            _ => false,
        }
    }
}

/// Says what was being done to which file when the operating system refused.
pub(super) trait Context<T> {
    fn context(self, action: &'static str, path: &std::path::Path) -> Result<T>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, action: &'static str, path: &std::path::Path) -> Result<T> {
        self.map_err(|source| StorageError::Io { action, path: path.into(), source })
    }
}
