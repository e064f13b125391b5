//! One operator: what it is called, what it is made from, and what it does.
//!
//! Invariant: a [`Logic`] is made, used and dropped in one subtask; a [`Stage`] holds nothing of any.

use std::sync::Arc;

use streamkeeper_dataflow::OperatorResult;
use streamkeeper_dataflow::element::CheckpointId;
use streamkeeper_dataflow::live_config::ConfigSnapshot;
use streamkeeper_dataflow::operator::OperatorContext;
use streamkeeper_dataflow::state::SnapshotFn;
use streamkeeper_dataflow::time::Timestamp;

use super::Push;
use crate::Data;

/// Name and id of an operator.
#[derive(Debug, Clone)]
pub struct OperatorMeta {
    /// Shown to people: Flink's name of the operator, or the user's.
    pub name: String,
    /// What kind of operator it is; a generated uid depends on it.
    pub kind: &'static str,
    /// The user's uid, or a generated one when the chain has been closed.
    pub uid: Option<String>,
}

impl OperatorMeta {
    /// An operator without a name and uid of its own.
    pub fn new(kind: &'static str) -> Self {
        Self { name: kind.to_owned(), kind, uid: None }
    }
}

/// An operator at work: takes records of `I`, pushes records of `Out` to what follows.
///
/// The methods are those of [`Operator`](streamkeeper_dataflow::operator::Operator), a record at a time.
#[expect(missing_docs, reason = "described at `Operator`")]
#[expect(clippy::missing_errors_doc, reason = "described at `Operator`")]
pub trait Logic<I> {
    /// What it emits.
    type Out;

    fn open(&mut self, context: &OperatorContext) -> OperatorResult<()> {
        let _ = context;
        Ok(())
    }

    fn element<N: Push<Self::Out>>(
        &mut self,
        value: I,
        timestamp: Timestamp,
        next: &mut N,
    ) -> OperatorResult<()>;

    /// Returns the watermark to forward.
    fn watermark<N: Push<Self::Out>>(
        &mut self,
        watermark: Timestamp,
        next: &mut N,
    ) -> OperatorResult<Timestamp> {
        let _ = next;
        Ok(watermark)
    }

    fn next_processing_time(&self) -> Option<Timestamp> {
        None
    }

    fn processing_time<N: Push<Self::Out>>(&mut self, now_ms: Timestamp, next: &mut N) -> OperatorResult<()> {
        let _ = (now_ms, next);
        Ok(())
    }

    /// A batch, a watermark or a timer has been dealt with: what was gathered on the way can be passed on.
    fn end_step<N: Push<Self::Out>>(&mut self, next: &mut N) -> OperatorResult<()> {
        let _ = next;
        Ok(())
    }

    fn take_watermark(&mut self) -> Option<Timestamp> {
        None
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

    fn snapshot(&mut self, checkpoint: CheckpointId) -> OperatorResult<Option<SnapshotFn>> {
        let _ = checkpoint;
        Ok(None)
    }

    fn config(&mut self, config: &Arc<ConfigSnapshot>) -> OperatorResult<()> {
        let _ = config;
        Ok(())
    }

    fn checkpoint_complete(&mut self, checkpoint: CheckpointId) -> OperatorResult<()> {
        let _ = checkpoint;
        Ok(())
    }

    fn finish<N: Push<Self::Out>>(&mut self, next: &mut N) -> OperatorResult<()> {
        let _ = next;
        Ok(())
    }
}

/// The description of an operator: what every subtask's [`Logic`] is made from.
pub trait Stage<I>: Clone + Send + Sync + 'static {
    /// What the operator emits.
    type Out: Data;
    /// The operator at work.
    type Logic: Logic<I, Out = Self::Out>;

    /// An operator for one subtask.
    fn logic(&self) -> Self::Logic;
}
