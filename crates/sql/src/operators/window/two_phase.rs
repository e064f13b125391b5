//! Window aggregation in two phases: before the exchange each subtask aggregates what it has by key and slice, behind
//! it the partial results are merged. Fewer rows travel, and a hot key is spread over all subtasks.
//!
//! Invariant: the local side holds nothing across a barrier or a watermark, so it has no state.

use arrow::array::RecordBatch;
use streamkeeper_dataflow::element::CheckpointId;
use streamkeeper_dataflow::operator::{Operator, OperatorContext, Output};
use streamkeeper_dataflow::state::SnapshotFn;
use streamkeeper_dataflow::time::Timestamp;
use streamkeeper_dataflow::{OperatorError, OperatorResult};

use super::sliced::Sliced;
use crate::operators::spec::WindowAggregateSpec;

/// Rows that the local side takes in before it hands its partial results on.
const MOST_ROWS: usize = 1 << 18;

/// Aggregates by key and slice before the exchange. Its output is made for [`GlobalWindowAggregate`] alone, and is
/// partitioned by the columns [`LocalWindowAggregate::output_keys`].
pub struct LocalWindowAggregate {
    spec: WindowAggregateSpec,
    slices: Option<Sliced>,
    rows: usize,
}

impl LocalWindowAggregate {
    /// The local side of `spec`, whose windows are not SESSION.
    pub fn new(spec: WindowAggregateSpec) -> Self {
        Self { spec, slices: None, rows: 0 }
    }

    /// Indices of the key columns in the output.
    pub fn output_keys(spec: &WindowAggregateSpec) -> Vec<usize> {
        (3..3 + spec.keys.len()).collect()
    }
}

fn not_open() -> OperatorError {
    OperatorError::fatal("the operator was not opened")
}

impl Operator<RecordBatch, RecordBatch> for LocalWindowAggregate {
    fn open(&mut self, _context: &OperatorContext) -> OperatorResult<()> {
        self.slices = Some(Sliced::new(&self.spec)?);
        Ok(())
    }

    fn on_batch(
        &mut self,
        _input: usize,
        batch: RecordBatch,
        out: &mut dyn Output<RecordBatch>,
    ) -> OperatorResult<()> {
        self.rows += batch.num_rows();
        // Which rows are late is for the global side to say.
        self.slices.as_mut().ok_or_else(not_open)?.on_batch(&batch, None)?;
        if self.rows >= MOST_ROWS { self.flush(out) } else { Ok(()) }
    }

    fn on_watermark(
        &mut self,
        watermark: Timestamp,
        out: &mut dyn Output<RecordBatch>,
    ) -> OperatorResult<Timestamp> {
        if self.slices.as_ref().is_some_and(|slices| slices.due(watermark)) {
            self.flush(out)?;
        }
        Ok(watermark)
    }

    fn flush(&mut self, out: &mut dyn Output<RecordBatch>) -> OperatorResult<()> {
        self.rows = 0;
        self.slices.as_mut().ok_or_else(not_open)?.take_partials(|rows| out.emit(rows))
    }

    fn finish(&mut self, out: &mut dyn Output<RecordBatch>) -> OperatorResult<()> {
        self.flush(out)
    }
}

/// Merges the partial results of [`LocalWindowAggregate`] and emits windows as `WindowAggregate` does. It checkpoints
/// the same state.
pub struct GlobalWindowAggregate {
    spec: WindowAggregateSpec,
    running: Option<(OperatorContext, Sliced)>,
}

impl GlobalWindowAggregate {
    /// The global side of `spec`: the spec of the whole aggregation.
    pub fn new(spec: WindowAggregateSpec) -> Self {
        Self { spec, running: None }
    }
}

impl Operator<RecordBatch, RecordBatch> for GlobalWindowAggregate {
    fn open(&mut self, context: &OperatorContext) -> OperatorResult<()> {
        let mut sliced = Sliced::new(&self.spec)?;
        sliced.open(context)?;
        self.running = Some((context.without_state(), sliced));
        Ok(())
    }

    fn on_batch(
        &mut self,
        _input: usize,
        batch: RecordBatch,
        _out: &mut dyn Output<RecordBatch>,
    ) -> OperatorResult<()> {
        let (context, sliced) = self.running.as_mut().ok_or_else(not_open)?;
        sliced.merge_partials(&batch, Some(context))
    }

    fn on_watermark(
        &mut self,
        watermark: Timestamp,
        out: &mut dyn Output<RecordBatch>,
    ) -> OperatorResult<Timestamp> {
        self.running.as_mut().ok_or_else(not_open)?.1.on_watermark(watermark, out)?;
        Ok(watermark)
    }

    fn snapshot(&mut self, _checkpoint: CheckpointId) -> OperatorResult<Option<SnapshotFn>> {
        let (context, sliced) = self.running.as_ref().ok_or_else(not_open)?;
        Ok(Some(sliced.snapshot(context)?))
    }
}
