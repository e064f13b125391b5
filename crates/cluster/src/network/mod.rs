//! The exchange between TaskManagers: one TCP connection per pair of processes, on which their channels take turns.
//!
//! A task's frames go into the **outbox** (`outbox`, pure) of the **link** (`link`) to the other process. The link's writer
//! (`connection`) takes from it what **credit** (`credit`, pure) allows and writes it as **frames** (`frame`), straight from the
//! batches' buffers. The other process's reader puts each frame into its receiver's queue, from where the task takes it and
//! gives its bytes back as credit. Before the first frame both say who they are (`handshake`), within TLS if so set (`tls`).
//!
//! Connections are made when a channel first needs one ([`NetworkEnvironment`]). Of two processes the one with the smaller address
//! connects, and the other waits: so there is one connection, whoever is first. A channel is bound when both its ends are there:
//! its receiver opens it and gives it credit. A frame for a receiver that has left is dropped and counted.
//!
//! A connection that is lost fails the tasks that receive or send on it, with an error that a restart may cure, and no others. The
//! channels of a later generation make a new one.

mod connection;
mod credit;
mod environment;
mod frame;
mod handshake;
mod link;
mod outbox;
#[cfg(test)]
mod simulation;
pub(crate) mod tls;

use std::sync::atomic::{AtomicU64, Ordering};

pub use self::environment::{NetworkEnvironment, NetworkSettings};
pub use self::tls::TlsSettings;

/// What a process has exchanged with others since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NetworkStats {
    /// Connections to other processes that there are now.
    pub connections: usize,
    /// Frames whose receiver had left.
    pub frames_dropped: u64,
    /// Bytes of frames that were read.
    pub bytes_in: u64,
    /// Bytes of frames that were written.
    pub bytes_out: u64,
}

#[derive(Default)]
struct Counters {
    frames_dropped: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

impl Counters {
    fn stats(&self, connections: usize) -> NetworkStats {
        NetworkStats {
            connections,
            frames_dropped: self.frames_dropped.load(Ordering::Relaxed),
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
        }
    }
}
