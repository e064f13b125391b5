//! The end of a chain.
//!
//! Invariant: records leave in the order in which they were pushed, each with its event time.

use std::sync::Arc;

use streamkeeper_dataflow::OperatorResult;
use streamkeeper_dataflow::batch::Records;
use streamkeeper_dataflow::element::CheckpointId;
use streamkeeper_dataflow::live_config::ConfigSnapshot;
use streamkeeper_dataflow::operator::OperatorContext;
use streamkeeper_dataflow::state::SnapshotFn;
use streamkeeper_dataflow::time::Timestamp;

use super::{Push, Running};

/// The end of a chain: gathers what leaves it.
pub struct Emit<O> {
    batch: Records<O>,
    /// The last batch's size: the next one will have about as many.
    expected: usize,
}

impl<O> Default for Emit<O> {
    fn default() -> Self {
        Self { batch: Records { values: Vec::new(), timestamps: Vec::new() }, expected: 0 }
    }
}

impl<O: 'static> Running for Emit<O> {
    type Last = O;

    fn open(&mut self, _: &OperatorContext) -> OperatorResult<()> {
        Ok(())
    }

    fn watermark(&mut self, watermark: Timestamp) -> OperatorResult<Timestamp> {
        Ok(watermark)
    }

    fn next_processing_time(&self) -> Option<Timestamp> {
        None
    }

    fn processing_time(&mut self, _: Timestamp) -> OperatorResult<()> {
        Ok(())
    }

    fn end_step(&mut self) -> OperatorResult<()> {
        Ok(())
    }

    fn take_watermark(&mut self) -> OperatorResult<Option<Timestamp>> {
        Ok(None)
    }

    fn on_idle(&mut self, idle: bool) -> Option<bool> {
        Some(idle)
    }

    fn take_idle(&mut self) -> Option<bool> {
        None
    }

    fn wants_input(&self) -> bool {
        true
    }

    fn is_drained(&self) -> bool {
        true
    }

    fn snapshot(&mut self, _: CheckpointId, _: &mut Vec<(String, SnapshotFn)>) -> OperatorResult<()> {
        Ok(())
    }

    fn config(&mut self, _: &Arc<ConfigSnapshot>) -> OperatorResult<()> {
        Ok(())
    }

    fn checkpoint_complete(&mut self, _: CheckpointId) -> OperatorResult<()> {
        Ok(())
    }

    fn finish(&mut self) -> OperatorResult<()> {
        Ok(())
    }

    fn take(&mut self) -> Records<O> {
        self.expected = self.batch.values.len();
        std::mem::replace(&mut self.batch, Records { values: Vec::new(), timestamps: Vec::new() })
    }
}

impl<O: 'static> Push<O> for Emit<O> {
    #[inline]
    fn push(&mut self, value: O, timestamp: Timestamp) -> OperatorResult<()> {
        if self.batch.values.capacity() == 0 {
            self.batch.values.reserve(self.expected);
            self.batch.timestamps.reserve(self.expected);
        }
        self.batch.values.push(value);
        self.batch.timestamps.push(timestamp);
        Ok(())
    }
}
