//! How the processes of a cluster talk: frames of postcard over TCP, one connection from each TaskManager, and from each standby,
//! to the leading JobManager.
//!
//! Orders and reports are plain enums, all ends are of one build, and there is one stream of messages in each direction: an RPC
//! framework would add a build step and a second form of every message, and nothing that is needed. So this module is small.
//!
//! - [`frame`]: lengths and bytes; [`message`]: what is said
//! - [`stream`]: the connection's bytes, within TLS if that is on
//! - [`server`]: the port and the handshake; [`connection`]: what follows it, with heartbeats and bounds
//!
//! Whoever must know at once that a process has died keeps a connection to it: the system closes it. Whether a silent host is dead,
//! nobody can know: `heartbeat.timeout` decides.

pub(crate) mod connection;
pub(crate) mod frame;
pub(crate) mod message;
pub(crate) mod server;
pub(crate) mod stream;

pub use connection::Heartbeat;
pub use message::TaskProgress;

/// The message of a whole frame, for simulations.
#[cfg(test)]
pub(crate) fn read_frame<T: serde::de::DeserializeOwned>(mut frame: &[u8]) -> T {
    frame::read(&mut frame, &mut Vec::new()).expect("a frame")
}
