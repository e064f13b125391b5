//! Sinks: a writer per subtask, and for exactly-once output a committer.
//!
//! Invariant: a committable is committed only when the checkpoint that holds it is durable, and committing it again
//! changes nothing. Restore of checkpoint n commits all committables up to n and aborts the rest.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::batch::Batch;
use crate::element::CheckpointId;
use crate::error::{OperatorError, OperatorResult};
use crate::fault;
use crate::graph::OperatorNode;
use crate::metrics::TaskMetrics;
use crate::operator::{Operator, OperatorContext, OperatorFactory, Output};
use crate::state::SnapshotFn;
use crate::time::{Clock, SystemClock, Timestamp};

/// An output that is complete but not yet visible, in the sink's own encoding. It names its target.
pub type Committable = Vec<u8>;

/// Writes batches on the thread of its subtask.
pub trait SinkWriter<B> {
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

    /// Called before the tasks of attempt `attempt` start: commits `committables`, those of the restored checkpoint, and
    /// removes what else earlier attempts of the same `lineage` left unfinished. Attempts are counted anew when a job is
    /// started from a checkpoint: then `attempt` is `None`, and all that is unfinished is of earlier ones. A master that was
    /// replaced without knowing may call this late, while a later attempt runs.
    ///
    /// # Errors
    /// When one could not be committed or removed.
    fn recover(
        &self,
        lineage: &str,
        attempt: Option<u32>,
        committables: &[Committable],
    ) -> OperatorResult<()>;
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

/// Name and fingerprint of the list state that holds a sink's committables.
pub(crate) const COMMITTABLES: (&str, &str) = ("$committables", "committable v1");

/// The end of a chain: an operator that writes what it gets to `sink`, and commits when a checkpoint completes.
pub fn node<B: Batch>(
    uid: impl Into<String>,
    name: impl Into<String>,
    sink: Arc<dyn Sink<B>>,
) -> OperatorNode<B, B> {
    let committer = sink.committer();
    let factory: OperatorFactory<B, B> = Arc::new(move || {
        Box::new(SinkOperator { sink: sink.clone(), writer: None, pending: BTreeMap::new(), metrics: None })
    });
    OperatorNode { committer, ..OperatorNode::new(uid, name, factory) }
}

struct SinkOperator<B> {
    sink: Arc<dyn Sink<B>>,
    writer: Option<Box<dyn SinkWriter<B>>>,
    /// Committables by the checkpoint that holds them; those of an aborted one are in the next as well.
    pending: BTreeMap<CheckpointId, Vec<Committable>>,
    metrics: Option<Arc<TaskMetrics>>,
}

impl<B: Batch> SinkOperator<B> {
    fn writer(&mut self) -> OperatorResult<&mut Box<dyn SinkWriter<B>>> {
        self.writer.as_mut().ok_or_else(|| OperatorError::fatal("the sink was used before it was opened"))
    }
}

impl<B: Batch> Operator<B, B> for SinkOperator<B> {
    /// The restored committables were committed before any task started, by [`Committer::recover`].
    fn open(&mut self, context: &OperatorContext) -> OperatorResult<()> {
        self.writer = Some(self.sink.writer(context)?);
        self.metrics = Some(context.metrics.clone());
        Ok(())
    }

    fn on_batch(&mut self, _input: usize, batch: B, _out: &mut dyn Output<B>) -> OperatorResult<()> {
        if let Some(metrics) = &self.metrics {
            if metrics.first_row_at.get() == 0 {
                metrics.first_row_at.set(SystemClock.now_ms());
            }
            metrics.num_records_out.add(batch.num_rows() as u64);
            metrics.num_bytes_out.add(batch.num_bytes() as u64);
        }
        self.writer()?.write(batch)
    }

    fn next_processing_time(&self) -> Option<Timestamp> {
        self.writer.as_ref().and_then(|writer| writer.next_processing_time())
    }

    fn on_processing_time(&mut self, now_ms: Timestamp, _out: &mut dyn Output<B>) -> OperatorResult<()> {
        self.writer()?.on_processing_time(now_ms)
    }

    fn snapshot(&mut self, checkpoint: CheckpointId) -> OperatorResult<Option<SnapshotFn>> {
        let committables = self.writer()?.prepare_commit(checkpoint)?;
        if !committables.is_empty() {
            self.pending.insert(checkpoint, committables);
        }
        let all: Vec<Committable> = self.pending.values().flatten().cloned().collect();
        Ok(Some(Box::new(move |writer| {
            all.into_iter().for_each(|committable| writer.list(COMMITTABLES.0, COMMITTABLES.1, committable));
            Ok(())
        })))
    }

    fn on_checkpoint_complete(&mut self, checkpoint: CheckpointId) -> OperatorResult<()> {
        let later = self.pending.split_off(&(checkpoint + 1));
        let due: Vec<Committable> =
            std::mem::replace(&mut self.pending, later).into_values().flatten().collect();
        match self.sink.committer() {
            Some(committer) if !due.is_empty() => {
                fault::point("before-commit");
                committer.commit(&due)?;
                fault::point("after-commit");
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
