//! Streamkeeper's way to ZooKeeper: sessions that outlive connections, and watches that say when to read again.
//!
//! A [`ZooKeeper`] is a handle to one session at a quorum. It holds on to the session until the *server* says that it is gone:
//! a connection that is lost is [`State::Suspended`], and only the server's word makes it [`State::Lost`]. Then, unless the
//! options say otherwise, a new session begins, with a [`Status::generation`] one higher.
//!
//! ```no_run
//! use streamkeeper_zookeeper::{CreateMode, Options, ZooKeeper, block_on};
//!
//! # fn main() -> Result<(), streamkeeper_zookeeper::Error> {
//! let zookeeper = block_on(ZooKeeper::connect(Options::new("127.0.0.1:2181")))?;
//! block_on(zookeeper.create("/greeting", "hello", CreateMode::Persistent))?;
//! let (data, stat) = block_on(zookeeper.get("/greeting"))?;
//! # Ok(())
//! # }
//! ```
//!
//! All I/O happens on one thread per process ([`block_on`] tells more); the futures can be awaited on any runtime.
//!
//! An operation that fails with [`Error::ConnectionLost`] may have happened or not: whoever must know calls
//! [`ZooKeeper::sync`], reads, and compares. [`Error::Suspended`] says that nothing was sent.
//!
//! - `options`: where to connect, and how long to wait for what
//! - `status`: what a handle knows of its session; what follows from what it learns
//! - `session`: the handle, and the task that keeps its session
//! - `operations`, `multi`: what can be asked of ZooKeeper, with the size of a request bounded
//! - `watch`, `one_shot`: persistent watches, and what stands in for them on servers before 3.6
//! - `runtime`: the thread for I/O

mod error;
mod multi;
mod one_shot;
mod operations;
mod options;
mod runtime;
mod session;
mod status;
mod watch;

pub use error::Error;
pub use multi::{Multi, Outcome};
pub use options::{Access, Options};
pub use runtime::{Spawned, block_on, spawn};
pub use session::ZooKeeper;
pub use status::{State, Status};
pub use watch::{Watch, WatchEvent, WatchMode};
pub use zookeeper_client::{Acl, CreateMode, EventType, Stat};
