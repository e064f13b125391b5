//! A chain as one operator of the runtime.
//!
//! Invariant: what has left the chain is emitted before the call that caused it returns.

use std::sync::Arc;

use streamkeeper_dataflow::OperatorResult;
use streamkeeper_dataflow::batch::{Batch, Records};
use streamkeeper_dataflow::element::CheckpointId;
use streamkeeper_dataflow::live_config::ConfigSnapshot;
use streamkeeper_dataflow::operator::{Operator, OperatorContext, Output};
use streamkeeper_dataflow::state::SnapshotFn;
use streamkeeper_dataflow::time::Timestamp;

use super::{Feed, Push, Running};

/// A started chain as an operator of the runtime.
pub struct Fused<R>(R);

impl<R: Running> Fused<R>
where
    Records<R::Last>: Batch,
{
    /// Wraps a chain.
    pub fn new(chain: R) -> Self {
        Self(chain)
    }

    fn emit(&mut self, out: &mut dyn Output<Records<R::Last>>) -> OperatorResult<()> {
        self.0.end_step()?;
        let batch = self.0.take();
        if batch.values.is_empty() { Ok(()) } else { out.emit(batch) }
    }
}

impl<B: Feed, R: Push<B::Item>> Operator<B, Records<R::Last>> for Fused<R>
where
    Records<R::Last>: Batch,
{
    fn open(&mut self, context: &OperatorContext) -> OperatorResult<()> {
        self.0.open(context)
    }

    fn on_batch(&mut self, _: usize, batch: B, out: &mut dyn Output<Records<R::Last>>) -> OperatorResult<()> {
        batch.feed(&mut self.0)?;
        self.emit(out)
    }

    fn on_watermark(
        &mut self,
        watermark: Timestamp,
        out: &mut dyn Output<Records<R::Last>>,
    ) -> OperatorResult<Timestamp> {
        let forward = self.0.watermark(watermark)?;
        self.emit(out)?;
        Ok(forward)
    }

    fn wants_input(&self) -> bool {
        self.0.wants_input()
    }

    fn is_drained(&self) -> bool {
        self.0.is_drained()
    }

    fn take_watermark(
        &mut self,
        out: &mut dyn Output<Records<R::Last>>,
    ) -> OperatorResult<Option<Timestamp>> {
        let watermark = self.0.take_watermark()?;
        if watermark.is_some() {
            self.emit(out)?;
        }
        Ok(watermark)
    }

    fn on_idle(&mut self, idle: bool) -> Option<bool> {
        self.0.on_idle(idle)
    }

    fn take_idle(&mut self) -> Option<bool> {
        self.0.take_idle()
    }

    fn next_processing_time(&self) -> Option<Timestamp> {
        self.0.next_processing_time()
    }

    fn on_processing_time(
        &mut self,
        now_ms: Timestamp,
        out: &mut dyn Output<Records<R::Last>>,
    ) -> OperatorResult<()> {
        self.0.processing_time(now_ms)?;
        self.emit(out)
    }

    fn snapshot_parts(
        &mut self,
        _: &str,
        checkpoint: CheckpointId,
        into: &mut Vec<(String, SnapshotFn)>,
    ) -> OperatorResult<()> {
        self.0.snapshot(checkpoint, into)
    }

    fn on_config(&mut self, config: &Arc<ConfigSnapshot>) -> OperatorResult<()> {
        self.0.config(config)
    }

    fn on_checkpoint_complete(&mut self, checkpoint: CheckpointId) -> OperatorResult<()> {
        self.0.checkpoint_complete(checkpoint)
    }

    fn finish(&mut self, out: &mut dyn Output<Records<R::Last>>) -> OperatorResult<()> {
        self.0.finish()?;
        self.emit(out)
    }
}
