//! ZooKeeper as a source and a sink.
//!
//! The source follows a znode, its children or a subtree as a changelog: first what there is, then each change. It watches first and
//! reads then, and reads again after each reconnect, so that the last state always arrives; changes in quick succession may become
//! one. The sink keeps znodes as a table has its rows, and writes each checkpoint's changes once.
//!
//! - `znode`: a znode's content and stat; what to follow
//! - `mirror`: from what was read to what has changed; pure
//! - `follow`: watches and reads, on the thread for ZooKeeper's I/O
//! - `following`: what a task is handed of that
//! - `source`: the source, for typed records and, by `rows`, for tables; the latter also to look up rows in
//! - `sink`, `commit`: a checkpoint's changes, and writing them once
//! - `options`: how a table names all this

mod commit;
mod follow;
mod following;
mod mirror;
mod options;
mod rows;
mod sink;
mod source;
mod znode;

pub(crate) use options::{METADATA_KEYS, table_lookup, table_sink, table_source};
pub(crate) use rows::metadata_type;
pub use source::ZooKeeperSource;
pub use znode::ZNode;
