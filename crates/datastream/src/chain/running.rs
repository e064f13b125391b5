//! A started chain as those before it see it.
//!
//! Invariant: what is told to a chain is told to all its operators, first to last.

use std::sync::Arc;

use streamkeeper_dataflow::OperatorResult;
use streamkeeper_dataflow::batch::Records;
use streamkeeper_dataflow::element::CheckpointId;
use streamkeeper_dataflow::live_config::ConfigSnapshot;
use streamkeeper_dataflow::operator::OperatorContext;
use streamkeeper_dataflow::state::SnapshotFn;
use streamkeeper_dataflow::time::Timestamp;

/// A started chain, whatever it takes. `Last` is what leaves it.
#[expect(missing_docs, reason = "described at `Operator`")]
#[expect(clippy::missing_errors_doc, reason = "described at `Operator`")]
pub trait Running: 'static {
    /// What the last stage emits.
    type Last;

    fn open(&mut self, context: &OperatorContext) -> OperatorResult<()>;
    fn watermark(&mut self, watermark: Timestamp) -> OperatorResult<Timestamp>;
    fn next_processing_time(&self) -> Option<Timestamp>;
    fn processing_time(&mut self, now_ms: Timestamp) -> OperatorResult<()>;
    fn end_step(&mut self) -> OperatorResult<()>;
    /// A watermark that a stage lets go, after the stages behind it have seen it.
    fn take_watermark(&mut self) -> OperatorResult<Option<Timestamp>>;
    fn on_idle(&mut self, idle: bool) -> Option<bool>;
    fn take_idle(&mut self) -> Option<bool>;
    fn wants_input(&self) -> bool;
    fn is_drained(&self) -> bool;
    fn snapshot(
        &mut self,
        checkpoint: CheckpointId,
        into: &mut Vec<(String, SnapshotFn)>,
    ) -> OperatorResult<()>;
    fn config(&mut self, config: &Arc<ConfigSnapshot>) -> OperatorResult<()>;
    fn checkpoint_complete(&mut self, checkpoint: CheckpointId) -> OperatorResult<()>;
    fn finish(&mut self) -> OperatorResult<()>;
    /// Takes what has left the chain.
    fn take(&mut self) -> Records<Self::Last>;
}

/// A started chain that takes records of `I`.
pub trait Push<I>: Running {
    /// Takes one record with its event time.
    ///
    /// # Errors
    /// Those of the operators.
    fn push(&mut self, value: I, timestamp: Timestamp) -> OperatorResult<()>;
}
