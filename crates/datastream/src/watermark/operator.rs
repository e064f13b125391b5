//! Event times and watermarks in the middle of a job.
//!
//! Invariant: the watermarks and the idleness of what comes in are ignored, but for the last watermark, which ends the input.
//! Only what the generator finds goes on.

use std::sync::Arc;
use std::time::Duration;

use streamkeeper_dataflow::element::CheckpointId;
use streamkeeper_dataflow::metrics::TaskMetrics;
use streamkeeper_dataflow::operator::OperatorContext;
use streamkeeper_dataflow::state::{RestoredState, SnapshotFn};
use streamkeeper_dataflow::time::{Clock, MAX_WATERMARK, MIN_WATERMARK, SystemClock, Timestamp};
use streamkeeper_dataflow::{OperatorError, OperatorResult};

use super::{TimestampAssigner, WatermarkGenerator, WatermarkOutput, WatermarkStrategy};
use crate::Data;
use crate::chain::{Logic, Push, Stage};

/// The stage of a [`WatermarkStrategy`].
pub struct AssignTimestampsAndWatermarks<T, G, A>(pub(crate) WatermarkStrategy<T, G, A>);

impl<T, G: Clone, A: Clone> Clone for AssignTimestampsAndWatermarks<T, G, A> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T, G, A> Stage<T> for AssignTimestampsAndWatermarks<T, G, A>
where
    T: Data,
    G: WatermarkGenerator<T>,
    A: TimestampAssigner<T>,
{
    type Out = T;
    type Logic = AssignLogic<G, A>;

    fn logic(&self) -> Self::Logic {
        AssignLogic {
            generator: self.0.generator.clone(),
            assigner: self.0.assigner.clone(),
            output: WatermarkOutput::default(),
            emitted: MIN_WATERMARK,
            active: false,
            subtask: (0, 1),
            idleness: self.0.idleness.map(Idleness::new),
        }
    }
}

/// A [`WatermarkStrategy`] at work.
pub struct AssignLogic<G, A> {
    generator: G,
    assigner: A,
    output: WatermarkOutput,
    emitted: Timestamp,
    /// There were records in the current step.
    active: bool,
    /// Which of how many.
    subtask: (usize, usize),
    idleness: Option<Idleness>,
}

/// Name and fingerprint of the watermarks: (subtask, parallelism, watermark) of each subtask.
const WATERMARK: (&str, &str) = ("$watermark", "watermark v1");

/// The watermark to go on from: this subtask's own, or the smallest of all when the parallelism was changed.
fn restored_watermark(
    restored: &RestoredState,
    subtask: (usize, usize),
) -> OperatorResult<Option<Timestamp>> {
    let mut smallest = None;
    for item in restored.union(WATERMARK.0, WATERMARK.1)? {
        let (written_by, watermark): ((usize, usize), Timestamp) = postcard::from_bytes(item)
            .map_err(|e| OperatorError::fatal(format!("a watermark in the checkpoint is damaged: {e}")))?;
        if written_by == subtask {
            return Ok(Some(watermark));
        }
        smallest = Some(smallest.map_or(watermark, |so_far: Timestamp| so_far.min(watermark)));
    }
    Ok(smallest)
}

impl<T, G, A> Logic<T> for AssignLogic<G, A>
where
    G: WatermarkGenerator<T>,
    A: TimestampAssigner<T>,
{
    type Out = T;

    fn open(&mut self, context: &OperatorContext) -> OperatorResult<()> {
        self.subtask = (context.subtask, context.parallelism);
        if let Some(watermark) = restored_watermark(&context.restored, self.subtask)?
            && watermark > MIN_WATERMARK
        {
            self.generator.restore(watermark);
            self.output.emit_watermark(watermark);
        }
        if let Some(idleness) = &mut self.idleness {
            idleness.open(context);
        }
        Ok(())
    }

    #[inline]
    fn element<N: Push<T>>(&mut self, value: T, timestamp: Timestamp, next: &mut N) -> OperatorResult<()> {
        let timestamp = self.assigner.extract_timestamp(&value, timestamp);
        self.generator.on_event(&value, timestamp, &mut self.output);
        self.active = true;
        next.push(value, timestamp)
    }

    fn watermark<N: Push<T>>(&mut self, watermark: Timestamp, _: &mut N) -> OperatorResult<Timestamp> {
        if watermark == MAX_WATERMARK {
            self.emitted = MAX_WATERMARK;
        }
        Ok(self.emitted)
    }

    fn end_step<N: Push<T>>(&mut self, _: &mut N) -> OperatorResult<()> {
        if std::mem::take(&mut self.active) {
            self.generator.on_periodic_emit(&mut self.output);
            if let Some(idleness) = &mut self.idleness {
                idleness.active();
            }
        }
        Ok(())
    }

    fn take_watermark(&mut self) -> Option<Timestamp> {
        let watermark = self.output.watermark();
        (watermark > self.emitted).then(|| {
            self.emitted = watermark;
            watermark
        })
    }

    fn on_idle(&mut self, _: bool) -> Option<bool> {
        None
    }

    fn take_idle(&mut self) -> Option<bool> {
        self.idleness.as_mut()?.change.take()
    }

    fn next_processing_time(&self) -> Option<Timestamp> {
        self.idleness.as_ref()?.due()
    }

    fn processing_time<N: Push<T>>(&mut self, now_ms: Timestamp, _: &mut N) -> OperatorResult<()> {
        if let Some(idleness) = &mut self.idleness {
            idleness.check(now_ms);
        }
        Ok(())
    }

    fn snapshot(&mut self, _: CheckpointId) -> OperatorResult<Option<SnapshotFn>> {
        let item = (self.subtask, self.output.watermark());
        Ok(Some(Box::new(move |writer| {
            let item = postcard::to_allocvec(&item)
                .map_err(|e| OperatorError::fatal(format!("cannot encode a watermark: {e}")))?;
            writer.union(WATERMARK.0, WATERMARK.1, item);
            Ok(())
        })))
    }
}

/// Whether an operator has had records lately. The time in which its task was held up by the next does not count.
struct Idleness {
    timeout_ms: i64,
    clock: Arc<dyn Clock>,
    metrics: Arc<TaskMetrics>,
    active_at: Timestamp,
    /// How long the task had been held up by then.
    held_up_ns: u64,
    idle: bool,
    /// Not yet told.
    change: Option<bool>,
}

impl Idleness {
    fn new(timeout: Duration) -> Self {
        Self {
            timeout_ms: i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX).max(1),
            clock: Arc::new(SystemClock),
            metrics: Arc::default(),
            active_at: 0,
            held_up_ns: 0,
            idle: false,
            change: None,
        }
    }

    fn open(&mut self, context: &OperatorContext) {
        self.clock = context.clock.clone();
        self.metrics = context.metrics.clone();
        self.active();
    }

    fn active(&mut self) {
        self.active_at = self.clock.now_ms();
        self.held_up_ns = self.metrics.back_pressured_ns.get();
        if std::mem::take(&mut self.idle) {
            self.change = Some(false);
        }
    }

    /// When the operator is idle if nothing comes.
    fn due(&self) -> Option<Timestamp> {
        let held_up_ms = (self.metrics.back_pressured_ns.get() - self.held_up_ns) / 1_000_000;
        let due = self.active_at.saturating_add(self.timeout_ms).saturating_add_unsigned(held_up_ms);
        (!self.idle).then_some(due)
    }

    fn check(&mut self, now_ms: Timestamp) {
        if self.due().is_some_and(|due| due <= now_ms) {
            self.idle = true;
            self.change = Some(true);
        }
    }
}
