//! All that leaves a subtask: its output, and its side outputs.

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use crate::batch::Batch;
use crate::element::Control;
use crate::error::{OperatorError, OperatorResult};
use crate::exchange::EdgeOutput;
use crate::metrics::TaskMetrics;
use crate::operator::Output;
use crate::side_output::{SideOutput, SideOutputs};

/// The edges of one port of a subtask.
struct Edges<B>(Vec<EdgeOutput<B>>);

impl<B: Batch> Edges<B> {
    fn new(edges: Vec<Box<dyn Any + Send>>) -> OperatorResult<Self> {
        let edges = edges.into_iter().map(|edge| edge.downcast::<EdgeOutput<B>>().map(|edge| *edge));
        edges
            .collect::<Result<_, _>>()
            .map(Self)
            .map_err(|_| OperatorError::fatal("an edge carries another type than its producer emits"))
    }

    fn emit(&mut self, batch: B, metrics: &TaskMetrics) -> OperatorResult<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let Some((last, others)) = self.0.split_last_mut() else { return Ok(()) };
        metrics.num_records_out.add(batch.num_rows() as u64);
        metrics.num_bytes_out.add(batch.num_bytes() as u64);
        for edge in others {
            edge.emit(batch.clone())?;
        }
        last.emit(batch)
    }
}

/// A side output's edges, types erased.
pub(crate) trait SidePort {
    /// Puts what was emitted on the channels.
    fn drain(&mut self, metrics: &TaskMetrics) -> OperatorResult<()>;
    fn flush(&mut self) -> OperatorResult<()>;
    fn flush_deadline(&self) -> Option<Instant>;
    fn has_room(&self) -> bool;
    fn broadcast(&mut self, control: &Control) -> OperatorResult<()>;
}

struct TypedSidePort<B> {
    emitted: SideOutput<B>,
    edges: Edges<B>,
}

/// Registers the side output `tag` with `outputs`, and takes its edges.
pub(crate) fn side_port<B: Batch>(
    tag: &str,
    outputs: &SideOutputs,
    edges: Vec<Box<dyn Any + Send>>,
) -> OperatorResult<Box<dyn SidePort>> {
    Ok(Box::new(TypedSidePort::<B> { emitted: outputs.add(tag), edges: Edges::new(edges)? }))
}

impl<B: Batch> SidePort for TypedSidePort<B> {
    fn drain(&mut self, metrics: &TaskMetrics) -> OperatorResult<()> {
        self.emitted.take().into_iter().try_for_each(|batch| self.edges.emit(batch, metrics))
    }

    fn flush(&mut self) -> OperatorResult<()> {
        self.edges.0.iter_mut().try_for_each(EdgeOutput::flush)
    }

    fn flush_deadline(&self) -> Option<Instant> {
        self.edges.0.iter().filter_map(EdgeOutput::flush_deadline).min()
    }

    fn has_room(&self) -> bool {
        self.edges.0.iter().all(EdgeOutput::has_room)
    }

    fn broadcast(&mut self, control: &Control) -> OperatorResult<()> {
        self.edges.0.iter_mut().try_for_each(|edge| edge.broadcast(control))
    }
}

/// All outgoing edges of one subtask.
pub(crate) struct TaskOutput<B> {
    edges: Edges<B>,
    sides: Vec<Box<dyn SidePort>>,
    metrics: Arc<TaskMetrics>,
}

impl<B: Batch> TaskOutput<B> {
    /// Takes the edges of the main output, which are for `B`, and the side outputs.
    pub(crate) fn new(
        edges: Vec<Box<dyn Any + Send>>,
        sides: Vec<Box<dyn SidePort>>,
        metrics: Arc<TaskMetrics>,
    ) -> OperatorResult<Self> {
        Ok(Self { edges: Edges::new(edges)?, sides, metrics })
    }

    pub(crate) fn has_room(&self) -> bool {
        self.edges.0.iter().all(EdgeOutput::has_room) && self.sides.iter().all(|side| side.has_room())
    }

    /// When rows that wait to be coalesced must be sent at the latest.
    pub(crate) fn flush_deadline(&self) -> Option<Instant> {
        let sides = self.sides.iter().filter_map(|side| side.flush_deadline());
        self.edges.0.iter().filter_map(EdgeOutput::flush_deadline).chain(sides).min()
    }

    pub(crate) fn flush(&mut self) -> OperatorResult<()> {
        self.edges.0.iter_mut().try_for_each(EdgeOutput::flush)?;
        self.sides.iter_mut().try_for_each(|side| side.flush())
    }

    /// Puts what a step emitted to side outputs on their channels.
    pub(crate) fn drain_sides(&mut self) -> OperatorResult<()> {
        self.sides.iter_mut().try_for_each(|side| side.drain(&self.metrics))
    }

    /// Sends a watermark, barrier, idleness or end to every channel, after all rows.
    pub(crate) fn broadcast(&mut self, control: &Control) -> OperatorResult<()> {
        self.drain_sides()?;
        self.edges.0.iter_mut().try_for_each(|edge| edge.broadcast(control))?;
        self.sides.iter_mut().try_for_each(|side| side.broadcast(control))
    }
}

impl<B: Batch> Output<B> for TaskOutput<B> {
    fn emit(&mut self, batch: B) -> OperatorResult<()> {
        self.edges.emit(batch, &self.metrics)
    }
}
