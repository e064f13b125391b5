//! An operator and the chain behind it.
//!
//! Invariant: an operator has dealt with what it is told, and pushed what comes of it, before those behind it are told.

use std::marker::PhantomData;
use std::sync::Arc;

use streamkeeper_dataflow::OperatorResult;
use streamkeeper_dataflow::batch::Records;
use streamkeeper_dataflow::element::CheckpointId;
use streamkeeper_dataflow::live_config::ConfigSnapshot;
use streamkeeper_dataflow::operator::OperatorContext;
use streamkeeper_dataflow::state::SnapshotFn;
use streamkeeper_dataflow::time::Timestamp;

use super::{Logic, OperatorMeta, Push, Running};

/// Stage `logic`, and what follows it.
pub struct Linked<L, N, I> {
    pub(super) meta: OperatorMeta,
    pub(super) logic: L,
    pub(super) next: N,
    pub(super) input: PhantomData<fn(I)>,
}

impl<I: 'static, L: Logic<I> + 'static, N: Push<L::Out>> Running for Linked<L, N, I> {
    type Last = N::Last;

    fn open(&mut self, context: &OperatorContext) -> OperatorResult<()> {
        let uid = self.meta.uid.as_deref().unwrap_or_default();
        self.logic.open(&context.part(uid, &self.meta.name)?)?;
        self.next.open(context)
    }

    fn watermark(&mut self, watermark: Timestamp) -> OperatorResult<Timestamp> {
        let forward = self.logic.watermark(watermark, &mut self.next)?;
        self.next.watermark(forward)
    }

    fn next_processing_time(&self) -> Option<Timestamp> {
        self.logic.next_processing_time().into_iter().chain(self.next.next_processing_time()).min()
    }

    fn processing_time(&mut self, now_ms: Timestamp) -> OperatorResult<()> {
        if self.logic.next_processing_time().is_some_and(|due| due <= now_ms) {
            self.logic.processing_time(now_ms, &mut self.next)?;
        }
        self.next.processing_time(now_ms)
    }

    fn end_step(&mut self) -> OperatorResult<()> {
        self.logic.end_step(&mut self.next)?;
        self.next.end_step()
    }

    fn take_watermark(&mut self) -> OperatorResult<Option<Timestamp>> {
        let later = self.next.take_watermark()?;
        match self.logic.take_watermark() {
            Some(watermark) => self.next.watermark(watermark).map(Some),
            None => Ok(later),
        }
    }

    fn on_idle(&mut self, idle: bool) -> Option<bool> {
        self.next.on_idle(self.logic.on_idle(idle)?)
    }

    fn take_idle(&mut self) -> Option<bool> {
        let later = self.next.take_idle();
        self.logic.take_idle().and_then(|idle| self.next.on_idle(idle)).or(later)
    }

    fn wants_input(&self) -> bool {
        self.logic.wants_input() && self.next.wants_input()
    }

    fn is_drained(&self) -> bool {
        self.logic.is_drained() && self.next.is_drained()
    }

    fn snapshot(
        &mut self,
        checkpoint: CheckpointId,
        into: &mut Vec<(String, SnapshotFn)>,
    ) -> OperatorResult<()> {
        if let Some(snapshot) = self.logic.snapshot(checkpoint)? {
            into.push((self.meta.uid.clone().unwrap_or_default(), snapshot));
        }
        self.next.snapshot(checkpoint, into)
    }

    fn config(&mut self, config: &Arc<ConfigSnapshot>) -> OperatorResult<()> {
        self.logic.config(config)?;
        self.next.config(config)
    }

    fn checkpoint_complete(&mut self, checkpoint: CheckpointId) -> OperatorResult<()> {
        self.logic.checkpoint_complete(checkpoint)?;
        self.next.checkpoint_complete(checkpoint)
    }

    fn finish(&mut self) -> OperatorResult<()> {
        self.logic.finish(&mut self.next)?;
        self.next.finish()
    }

    fn take(&mut self) -> Records<N::Last> {
        self.next.take()
    }
}

impl<I: 'static, L: Logic<I> + 'static, N: Push<L::Out>> Push<I> for Linked<L, N, I> {
    #[inline]
    fn push(&mut self, value: I, timestamp: Timestamp) -> OperatorResult<()> {
        self.logic.element(value, timestamp, &mut self.next)
    }
}
