//! Configuration documents: what jobs read while they run, and may change under them.
//!
//! A [`Document`] is the text of one znode: a revision of somebody's data, with who wrote it, when and why. It is named
//! by its [`Scope`]. Writers plan their transaction with [`edit`], which validates by the document's own [`schema`] and
//! keeps a bounded history; readers judge what they find with [`follow`], so that an invalid edit by somebody else does
//! no harm. [`secret`]s are references or ciphertext; [`diff`] tells two revisions apart. Those are pure; [`store`] reads and
//! writes documents in ZooKeeper, and [`watch`] follows them.

pub mod diff;
pub mod document;
pub mod edit;
pub mod follow;
pub mod schema;
mod scope;
pub mod secret;
pub mod store;
pub mod watch;

pub use document::Document;
pub use scope::Scope;
