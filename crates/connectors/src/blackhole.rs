//! `blackhole`: takes all rows and forgets them.

use arrow::array::RecordBatch;
use streamkeeper_dataflow::OperatorResult;
use streamkeeper_dataflow::element::CheckpointId;
use streamkeeper_dataflow::operator::OperatorContext;
use streamkeeper_dataflow::sink::{Committable, Sink, SinkWriter};

pub(crate) struct Blackhole;

impl Sink<RecordBatch> for Blackhole {
    fn writer(&self, _context: &OperatorContext) -> OperatorResult<Box<dyn SinkWriter<RecordBatch>>> {
        Ok(Box::new(Self))
    }
}

impl SinkWriter<RecordBatch> for Blackhole {
    fn write(&mut self, _batch: RecordBatch) -> OperatorResult<()> {
        Ok(())
    }

    fn prepare_commit(&mut self, _checkpoint: CheckpointId) -> OperatorResult<Vec<Committable>> {
        Ok(Vec::new())
    }
}
