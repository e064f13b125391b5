//! An operator: single-threaded, push-based, and whole batches at a time.
//!
//! An instance is made, used and dropped on the thread of its subtask. The runtime calls `open` once, then the other
//! methods in the order of its input. A method that fails, or panics, fails the task. Operators never block, sleep or wait
//! for another task.

use std::ops::Range;
use std::sync::Arc;

use crate::channel::Signal;
use crate::element::CheckpointId;
use crate::error::OperatorResult;
use crate::key_group::{DEFAULT_MAX_PARALLELISM, range_of};
use crate::live_config::ConfigSnapshot;
use crate::metrics::TaskMetrics;
use crate::side_output::SideOutputs;
use crate::state::{RestoredState, SnapshotFn, StateSegment};
use crate::time::{Clock, ManualClock, Timestamp};

/// Where an operator emits to: the next operator of its chain, or the task's channels.
pub trait Output<O> {
    /// Emits a batch. Empty batches are dropped.
    ///
    /// # Errors
    /// When an operator further down the chain fails.
    fn emit(&mut self, batch: O) -> OperatorResult<()>;
}

/// Collects what an operator emits: for tests.
impl<O> Output<O> for Vec<O> {
    fn emit(&mut self, batch: O) -> OperatorResult<()> {
        self.push(batch);
        Ok(())
    }
}

/// What an operator is told when it is opened.
#[derive(Clone)]
pub struct OperatorContext {
    /// Stable id of the operator within the job; state is found by it.
    pub uid: String,
    /// Human-readable name.
    pub name: String,
    /// Index of this subtask, `0 .. parallelism`.
    pub subtask: usize,
    /// Number of subtasks.
    pub parallelism: usize,
    /// Number of key groups of the job.
    pub max_parallelism: u16,
    /// The key groups that this subtask owns.
    pub key_groups: Range<u16>,
    /// How often this subtask was started before, from 0.
    pub attempt: u32,
    /// Identifies the run and all its restores: fresh when a job starts without a checkpoint, kept in the checkpoint.
    pub lineage: String,
    /// The configuration in force at the start; later ones come by [`Operator::on_config`].
    pub config: Arc<ConfigSnapshot>,
    /// Processing time.
    pub clock: Arc<dyn Clock>,
    /// The subtask's metrics.
    pub metrics: Arc<TaskMetrics>,
    /// Wakes the subtask's thread: for what arrives from other threads. The task then polls its source, and asks each
    /// operator for [`Operator::next_processing_time`] again.
    pub waker: Arc<Signal>,
    /// This subtask's share of the operator's state; empty on a fresh start.
    pub restored: RestoredState,
    /// All state of the restored checkpoint, for [`OperatorContext::part`].
    pub segments: Arc<Vec<StateSegment>>,
    /// Where to emit what does not go to the operator's output.
    pub side_outputs: SideOutputs,
}

impl OperatorContext {
    /// What an operator is told outside a job, by a harness: subtask `subtask` of `parallelism`, 128 key groups, a clock
    /// that stands still at 0, no state.
    pub fn detached(uid: &str, subtask: usize, parallelism: usize) -> Self {
        Self {
            uid: uid.to_owned(),
            name: uid.to_owned(),
            subtask,
            parallelism,
            max_parallelism: DEFAULT_MAX_PARALLELISM,
            key_groups: range_of(subtask, parallelism, DEFAULT_MAX_PARALLELISM),
            attempt: 0,
            lineage: "0".repeat(32),
            config: Arc::default(),
            clock: Arc::new(ManualClock::new(0)),
            metrics: Arc::new(TaskMetrics::default()),
            waker: Arc::new(Signal::default()),
            restored: RestoredState::default(),
            segments: Arc::default(),
            side_outputs: SideOutputs::default(),
        }
    }

    /// The same without the restored state: for an operator that keeps what it was told.
    pub fn without_state(&self) -> Self {
        Self { restored: RestoredState::default(), segments: Arc::default(), ..self.clone() }
    }

    /// What one of several operators that are fused into this one is told: the same but for its id, name and state.
    ///
    /// # Errors
    /// When its state is inconsistent.
    pub fn part(&self, uid: &str, name: &str) -> OperatorResult<Self> {
        let segments: Vec<StateSegment> = self.segments.iter().filter(|s| s.uid == uid).cloned().collect();
        let restored =
            RestoredState::share(&segments, self.subtask, self.parallelism, self.key_groups.clone())?;
        Ok(Self { uid: uid.to_owned(), name: name.to_owned(), restored, ..self.clone() })
    }
}

/// Transforms batches of `I` into batches of `O`.
///
/// An operator with several inputs tells them apart by the input's index.
pub trait Operator<I, O> {
    /// Prepares for input, from `context.restored` if that is not empty.
    ///
    /// # Errors
    /// When the state cannot be restored, or a resource cannot be had.
    fn open(&mut self, context: &OperatorContext) -> OperatorResult<()>;

    /// Takes a batch from the given input.
    ///
    /// # Errors
    /// When the batch cannot be processed.
    fn on_batch(&mut self, input: usize, batch: I, out: &mut dyn Output<O>) -> OperatorResult<()>;

    /// Event time has advanced to `watermark` on all inputs together. What is due is emitted *before* the watermark
    /// that this method returns: the one to forward, `<= watermark` where the operator holds results back.
    ///
    /// # Errors
    /// When a result cannot be computed.
    fn on_watermark(&mut self, watermark: Timestamp, out: &mut dyn Output<O>) -> OperatorResult<Timestamp> {
        let _ = out;
        Ok(watermark)
    }

    /// False while it has as much in flight as it may: the task reads no input until a timer or its waker has made
    /// room. Asked of a task's first operator only.
    fn wants_input(&self) -> bool {
        true
    }

    /// False while something that came in is still in flight: the end of the input waits for it. Asked of a task's first
    /// operator only.
    fn is_drained(&self) -> bool {
        true
    }

    /// A watermark that the operator makes or held back and now lets go, after what is due before it was emitted. Asked after
    /// each batch and each processing time.
    /// Asked of a task's first operator only.
    ///
    /// # Errors
    /// When a result that is due before it cannot be computed.
    fn take_watermark(&mut self, out: &mut dyn Output<O>) -> OperatorResult<Option<Timestamp>> {
        let _ = out;
        Ok(None)
    }

    /// All inputs hold back nobody's watermark (`idle`), or one takes part again. Returns what to tell the operators that
    /// follow; `None`: nothing has changed for them. Told to a task's first operator only.
    fn on_idle(&mut self, idle: bool) -> Option<bool> {
        Some(idle)
    }

    /// What to tell the operators that follow of an idleness that the operator has found out itself. Asked when
    /// [`Operator::take_watermark`] is, before it.
    fn take_idle(&mut self) -> Option<bool> {
        None
    }

    /// The earliest processing time at which `on_processing_time` wants to be called.
    fn next_processing_time(&self) -> Option<Timestamp> {
        None
    }

    /// Processing time has reached what `next_processing_time` asked for.
    ///
    /// # Errors
    /// When a result cannot be computed.
    fn on_processing_time(&mut self, now_ms: Timestamp, out: &mut dyn Output<O>) -> OperatorResult<()> {
        let _ = (now_ms, out);
        Ok(())
    }

    /// Called at each barrier before `snapshot`, for operators that buffer output across batches.
    ///
    /// # Errors
    /// When a result cannot be computed.
    fn flush(&mut self, out: &mut dyn Output<O>) -> OperatorResult<()> {
        let _ = out;
        Ok(())
    }

    /// Captures the state for a checkpoint, cheaply; `None` when the operator has none.
    ///
    /// # Errors
    /// When the state cannot be captured.
    fn snapshot(&mut self, checkpoint: CheckpointId) -> OperatorResult<Option<SnapshotFn>> {
        let _ = checkpoint;
        Ok(None)
    }

    /// Captures the state of all operators that are fused into this one, whose own id is `uid`.
    ///
    /// # Errors
    /// As for [`Operator::snapshot`].
    fn snapshot_parts(
        &mut self,
        uid: &str,
        checkpoint: CheckpointId,
        into: &mut Vec<(String, SnapshotFn)>,
    ) -> OperatorResult<()> {
        into.extend(self.snapshot(checkpoint)?.map(|snapshot| (uid.to_owned(), snapshot)));
        Ok(())
    }

    /// The rows from here on are computed under `config`: called after `open`, and after `snapshot` at each barrier that
    /// brings another configuration.
    ///
    /// # Errors
    /// When the operator cannot work under it.
    fn on_config(&mut self, config: &Arc<ConfigSnapshot>) -> OperatorResult<()> {
        let _ = config;
        Ok(())
    }

    /// The checkpoint, and with it all before it, is durable.
    ///
    /// # Errors
    /// When what was promised for it cannot be done.
    fn on_checkpoint_complete(&mut self, checkpoint: CheckpointId) -> OperatorResult<()> {
        let _ = checkpoint;
        Ok(())
    }

    /// All inputs have ended, after their last watermark.
    ///
    /// # Errors
    /// When a result cannot be computed.
    fn finish(&mut self, out: &mut dyn Output<O>) -> OperatorResult<()> {
        let _ = out;
        Ok(())
    }
}

/// Makes the operator of one subtask.
pub type OperatorFactory<I, O> = Arc<dyn Fn() -> Box<dyn Operator<I, O>> + Send + Sync>;
