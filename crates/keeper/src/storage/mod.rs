//! The storage: ZooKeeper's own files, read and written, so that a data directory of Apache ZooKeeper opens here and back.
//!
//! The invariant: what [`TxnLog::commit`] has acknowledged is in what [`recover()`] returns, whatever happens in between, or `recover`
//! says which file is damaged, and where. Nothing is taken from a file in silence that was not whole.
//!
//! - [`disk`]: the seam to the operating system; [`sim`]: a disk for tests, from which the power can be taken
//! - [`log`]: writing the transaction log; [`log_reader`]: reading it, with `log_tail` judging how it ends
//! - [`snapshot`]: writing snapshots; [`snapshot_reader`]: reading them; `compress`: their compressed forms
//! - [`dirs`]: the directories, for one server at a time; `names`: the names of the files in them
//! - [`recover`](mod@recover): from files to a tree; [`purge`](mod@purge): removing what no longer helps with that

mod compress;
pub mod dirs;
pub mod disk;
mod error;
pub mod log;
pub mod log_reader;
mod log_tail;
mod names;
pub mod purge;
pub mod recover;
pub mod sim;
pub mod snapshot;
pub mod snapshot_reader;

pub use dirs::DataDirs;
pub use disk::{Disk, DiskFile, RealDisk};
pub use error::{Result, StorageError};
pub use log::{LogOptions, TxnLog};
pub use log_reader::LogReader;
pub use purge::purge;
pub use recover::{RecoverOptions, Recovered, recover};
pub use snapshot::Compression;
