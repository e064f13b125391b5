//! Channels to other processes: what `cluster` provides, and how elements become frames.
//!
//! A [`Network`] moves frames, which are bytes to it, from one process to another in order. Here are the typed ends:
//! `remote` turns elements into frames and back on the task's own thread, `control` writes down what carries no rows; [`harness`] is for tests.
//!
//! Invariant: a channel is named by its job, generation, edge and subtasks. Two generations of a job never share one.

mod control;
pub mod harness;
pub(crate) mod remote;

use std::fmt;
use std::sync::Arc;

use arrow::buffer::Buffer;

use crate::channel::Signal;
use crate::error::OperatorResult;

/// An edge of one generation of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EdgeId {
    /// The job.
    pub job: [u8; 16],
    /// Grows whenever the edge's tasks are started anew.
    pub generation: u64,
    /// Number of the edge in the job's graph.
    pub index: u32,
}

/// A channel between two subtasks of one generation of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChannelId {
    /// The job.
    pub job: [u8; 16],
    /// Grows whenever the channel's tasks are started anew.
    pub generation: u64,
    /// Number of the edge in the job's graph.
    pub edge: u32,
    /// The subtask that sends.
    pub producer: u32,
    /// The subtask that receives.
    pub consumer: u32,
}

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { job, generation, edge, producer, consumer } = self;
        write!(f, "edge {edge} from subtask {producer} to {consumer} of job ")?;
        job.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        write!(f, ", generation {generation}")
    }
}

/// Byte-level channels to other processes. Addresses are those at which a process's network listens (`host:port`).
pub trait Network: Send + Sync {
    /// The sending end of a channel to the process at `to`. `producer` is notified when there is room again, and when the
    /// connection is lost.
    fn sender(
        &self,
        channel: ChannelId,
        to: &str,
        capacity_bytes: usize,
        producer: Arc<Signal>,
    ) -> Box<dyn FrameSender>;

    /// The receiving end of a channel from the process at `from`. `consumer` is notified when there is something to receive,
    /// and when the connection is lost.
    fn receiver(
        &self,
        channel: ChannelId,
        from: &str,
        capacity_bytes: usize,
        consumer: Arc<Signal>,
    ) -> Box<dyn FrameReceiver>;
}

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// A batch, which takes credit.
    Data,
    /// A watermark, barrier, idleness or end, which takes none.
    Control,
}

/// The producer's end of a channel to another process. What was sent before it is dropped is still delivered, if the
/// consumer wants it.
pub trait FrameSender: Send {
    /// Hands over a frame in parts. Never blocks.
    ///
    /// # Errors
    /// When the connection is lost (recoverable, names the peer), or the frame is larger than any may be (fatal).
    fn send(&mut self, kind: FrameKind, parts: Vec<Buffer>) -> OperatorResult<()>;

    /// Whether the producer may take another step: so when less than the capacity is on its way or waits to be consumed,
    /// and when sending would fail.
    fn has_room(&self) -> bool;
}

/// The consumer's end of a channel from another process. Dropping it tells the producer that nothing more is wanted.
pub trait FrameReceiver: Send {
    /// The next frame, if there is one. Taking it gives its bytes back to the producer as credit.
    ///
    /// # Errors
    /// When the connection is lost before the producer has left (recoverable, names the peer).
    fn receive(&mut self) -> OperatorResult<Option<(FrameKind, Buffer)>>;
}
