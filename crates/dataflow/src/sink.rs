//! Sinks: a writer per subtask, and for exactly-once output a committer.
//!
//! Invariant: a committable is committed only when the checkpoint that holds it is durable, and committing it again
//! changes nothing. Restore of checkpoint n commits all committables up to n and aborts the rest.

use std::sync::Arc;

use crate::element::CheckpointId;
use crate::error::OperatorResult;
use crate::operator::OperatorContext;
use crate::time::Timestamp;

/// An output that is complete but not yet visible, in the sink's own encoding. It names its target.
pub type Committable = Vec<u8>;

/// Writes batches on the thread of its subtask.
pub trait SinkWriter<B>: Send {
    /// Writes a batch.
    ///
    /// # Errors
    /// When it cannot be written (a full disk, say), or a row has no text form; nothing of it becomes visible.
    fn write(&mut self, batch: B) -> OperatorResult<()>;

    /// Makes all that was written durable, but not visible, and returns what has to be committed for it. For a sink
    /// that cannot commit: flushes, and returns nothing.
    ///
    /// # Errors
    /// When it cannot be made durable.
    fn prepare_commit(&mut self, checkpoint: CheckpointId) -> OperatorResult<Vec<Committable>>;

    /// The earliest processing time at which `on_processing_time` wants to be called, to roll or to flush.
    fn next_processing_time(&self) -> Option<Timestamp> {
        None
    }

    /// Processing time has come.
    ///
    /// # Errors
    /// As for `write`.
    fn on_processing_time(&mut self, now_ms: Timestamp) -> OperatorResult<()> {
        let _ = now_ms;
        Ok(())
    }
}

/// Makes committables visible.
pub trait Committer: Send + Sync {
    /// Commits, each at most once however often it is asked.
    ///
    /// # Errors
    /// When one could not be committed; it will be asked again.
    fn commit(&self, committables: &[Committable]) -> OperatorResult<()>;

    /// Called once before the tasks of a restored job start: commits `committables`, those of the restored
    /// checkpoint, and removes what else earlier attempts of the same `lineage` left unfinished.
    ///
    /// # Errors
    /// When one could not be committed or removed.
    fn recover(&self, lineage: &str, committables: &[Committable]) -> OperatorResult<()>;
}

/// A sink of batches.
pub trait Sink<B>: Send + Sync {
    /// The writer of one subtask.
    ///
    /// # Errors
    /// When the target cannot be written to.
    fn writer(&self, context: &OperatorContext) -> OperatorResult<Box<dyn SinkWriter<B>>>;

    /// The committer; `None` for a sink that shows rows as it writes them.
    fn committer(&self) -> Option<Arc<dyn Committer>> {
        None
    }
}
