//! Some of a stream's columns; they are shared, not copied.

use arrow::array::RecordBatch;
use streamkeeper_dataflow::OperatorResult;
use streamkeeper_dataflow::operator::{Operator, OperatorContext, Output};

/// Passes the columns at these positions on.
#[derive(Debug, Clone)]
pub(crate) struct Project {
    pub(crate) columns: Vec<usize>,
}

impl Operator<RecordBatch, RecordBatch> for Project {
    fn open(&mut self, _: &OperatorContext) -> OperatorResult<()> {
        Ok(())
    }

    fn on_batch(
        &mut self,
        _: usize,
        batch: RecordBatch,
        out: &mut dyn Output<RecordBatch>,
    ) -> OperatorResult<()> {
        out.emit(batch.project(&self.columns)?)
    }
}
