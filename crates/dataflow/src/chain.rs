//! Chained operators: one calls the next directly, in one thread, without a channel between them.

use std::sync::Arc;

use crate::batch::Batch;
use crate::element::CheckpointId;
use crate::error::OperatorResult;
use crate::graph::OperatorNode;
use crate::live_config::ConfigSnapshot;
use crate::operator::{Operator, OperatorContext, Output};
use crate::state::SnapshotFn;
use crate::time::Timestamp;

/// An operator of the chain, with the id under which its state is kept.
pub(crate) struct Link<I, O> {
    pub(crate) uid: String,
    pub(crate) operator: Box<dyn Operator<I, O>>,
}

impl<I, O> Link<I, O> {
    /// Makes and opens the operator; `context` is the task's, and becomes the operator's own.
    pub(crate) fn open(node: &OperatorNode<I, O>, context: &OperatorContext) -> OperatorResult<Self> {
        let mut operator = (node.factory)();
        operator.open(context)?;
        operator.on_config(&context.config)?;
        Ok(Self { uid: node.uid.clone(), operator })
    }
}

/// Passes what an operator emits to the rest of its chain.
pub(crate) struct Tail<'a, O> {
    pub(crate) rest: &'a mut [Link<O, O>],
    pub(crate) out: &'a mut dyn Output<O>,
}

impl<O: Batch> Output<O> for Tail<'_, O> {
    fn emit(&mut self, batch: O) -> OperatorResult<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        match self.rest.split_first_mut() {
            None => self.out.emit(batch),
            Some((first, rest)) => first.operator.on_batch(0, batch, &mut Tail { rest, out: self.out }),
        }
    }
}

/// The part of a chain in which the type does not change.
pub(crate) struct Chain<O>(pub(crate) Vec<Link<O, O>>);

impl<O: Batch> Chain<O> {
    /// Calls `step` on each operator in order, with the output that leads to the operators behind it.
    fn each(
        &mut self,
        out: &mut dyn Output<O>,
        mut step: impl FnMut(&mut dyn Operator<O, O>, &mut Tail<'_, O>) -> OperatorResult<()>,
    ) -> OperatorResult<()> {
        for i in 0..self.0.len() {
            let (head, rest) = self.0.split_at_mut(i + 1);
            step(head[i].operator.as_mut(), &mut Tail { rest, out })?;
        }
        Ok(())
    }

    pub(crate) fn tail<'a>(&'a mut self, out: &'a mut dyn Output<O>) -> Tail<'a, O> {
        Tail { rest: &mut self.0, out }
    }

    /// Returns the watermark to forward.
    pub(crate) fn on_watermark(
        &mut self,
        watermark: Timestamp,
        out: &mut dyn Output<O>,
    ) -> OperatorResult<Timestamp> {
        let mut forward = watermark;
        self.each(out, |operator, tail| {
            forward = operator.on_watermark(forward, tail)?;
            Ok(())
        })?;
        Ok(forward)
    }

    pub(crate) fn next_processing_time(&self) -> Option<Timestamp> {
        self.0.iter().filter_map(|link| link.operator.next_processing_time()).min()
    }

    pub(crate) fn on_processing_time(
        &mut self,
        now_ms: Timestamp,
        out: &mut dyn Output<O>,
    ) -> OperatorResult<()> {
        self.each(out, |operator, tail| {
            if operator.next_processing_time().is_some_and(|due| due <= now_ms) {
                operator.on_processing_time(now_ms, tail)?;
            }
            Ok(())
        })
    }

    pub(crate) fn flush(&mut self, out: &mut dyn Output<O>) -> OperatorResult<()> {
        self.each(out, |operator, tail| operator.flush(tail))
    }

    pub(crate) fn finish(&mut self, out: &mut dyn Output<O>) -> OperatorResult<()> {
        self.each(out, |operator, tail| operator.finish(tail))
    }

    pub(crate) fn snapshot(
        &mut self,
        checkpoint: CheckpointId,
        into: &mut Vec<(String, SnapshotFn)>,
    ) -> OperatorResult<()> {
        self.0.iter_mut().try_for_each(|link| link.operator.snapshot_parts(&link.uid, checkpoint, into))
    }

    pub(crate) fn on_config(&mut self, config: &Arc<ConfigSnapshot>) -> OperatorResult<()> {
        self.0.iter_mut().try_for_each(|link| link.operator.on_config(config))
    }

    pub(crate) fn on_checkpoint_complete(&mut self, checkpoint: CheckpointId) -> OperatorResult<()> {
        self.0.iter_mut().try_for_each(|link| link.operator.on_checkpoint_complete(checkpoint))
    }
}
