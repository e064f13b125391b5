//! A task in the making.
//!
//! Invariant: a pipeline is but a description; it can be started any number of times, in any subtask.

use std::marker::PhantomData;

use streamkeeper_dataflow::batch::Records;
use streamkeeper_dataflow::graph::{JobGraph, OperatorNode, Port};

use super::{Feed, Linked, OperatorMeta, Push, Stage};
use crate::Data;
use crate::begin::FromPorts;
use crate::stream::DataStream;
use crate::watermark::{
    AssignTimestampsAndWatermarks, TimestampAssigner, WatermarkGenerator, WatermarkStrategy,
};

/// Operators of the runtime behind a chain: a sink.
pub type Rest<O> = Vec<OperatorNode<Records<O>, Records<O>>>;

/// Where the records of a task come from.
pub trait Begin: Clone + Send + Sync + 'static {
    /// What the task takes at once.
    type Batch: Feed;

    /// Number of subtasks.
    fn parallelism(&self) -> usize;

    /// Uids of what comes before: generated uids depend on them.
    fn parents(&self) -> Vec<String>;

    /// Adds the task of `pipeline`, followed by `rest`, to the graph.
    fn add<P: Pipeline<Begin = Self>>(
        graph: &mut JobGraph,
        pipeline: P,
        rest: Rest<P::Out>,
    ) -> Port<Records<P::Out>>;
}

/// A record of a task's input.
pub(crate) type Item<B> = <<B as Begin>::Batch as Feed>::Item;

/// A task in the making: where its records come from, and its operators so far.
pub trait Pipeline: Clone + Send + Sync + 'static {
    /// Where its records come from.
    type Begin: Begin;
    /// What its last operator emits.
    type Out: Data;
    /// The chain, started, with `N` behind it.
    type Running<N: Push<Self::Out>>: Push<Item<Self::Begin>, Last = N::Last>;
    /// What an operator at a parallelism of its own begins with, when it follows this one.
    type Cut: Pipeline<Out = Self::Out>;
    /// The task with event times and watermarks by a strategy: the source's own where it is but a source, one more stage
    /// elsewhere.
    type Watermarked<G: WatermarkGenerator<Self::Out>, A: TimestampAssigner<Self::Out>>: Pipeline<
        Out = Self::Out,
    >;
    /// It is but a source.
    const IS_SOURCE: bool = false;

    /// Where its records come from.
    fn begin(&self) -> &Self::Begin;

    /// Starts the chain in one subtask.
    fn start<N: Push<Self::Out>>(&self, next: N) -> Self::Running<N>;

    /// Adds event times and watermarks.
    fn watermarked<G, A>(self, strategy: WatermarkStrategy<Self::Out, G, A>) -> Self::Watermarked<G, A>
    where
        G: WatermarkGenerator<Self::Out>,
        A: TimestampAssigner<Self::Out>;

    /// Calls `visit` with each operator's name and id, in order.
    fn visit(&mut self, visit: &mut dyn FnMut(&mut OperatorMeta));

    /// Completes the task if it has operators: what is appended runs in `parallelism` subtasks.
    fn cut(stream: DataStream<Self::Out, Self>, parallelism: usize) -> DataStream<Self::Out, Self::Cut>;
}

/// A pipeline, and one more stage.
#[derive(Clone)]
pub struct Then<P, S> {
    pub(crate) pipeline: P,
    pub(crate) stage: S,
    pub(crate) meta: OperatorMeta,
}

impl<P, T: Data, G, A> Then<P, AssignTimestampsAndWatermarks<T, G, A>> {
    /// A pipeline, and an operator that gives event times and watermarks.
    pub(crate) fn watermarks(pipeline: P, strategy: WatermarkStrategy<T, G, A>) -> Self {
        let meta = OperatorMeta::new("Timestamps/Watermarks");
        Self { pipeline, stage: AssignTimestampsAndWatermarks(strategy), meta }
    }
}

impl<P: Pipeline, S: Stage<P::Out>> Pipeline for Then<P, S> {
    type Begin = P::Begin;
    type Out = S::Out;
    type Running<N: Push<S::Out>> = P::Running<Linked<S::Logic, N, P::Out>>;
    type Cut = FromPorts<S::Out>;
    type Watermarked<G: WatermarkGenerator<S::Out>, A: TimestampAssigner<S::Out>> =
        Then<Self, AssignTimestampsAndWatermarks<S::Out, G, A>>;

    fn begin(&self) -> &P::Begin {
        self.pipeline.begin()
    }

    fn start<N: Push<S::Out>>(&self, next: N) -> Self::Running<N> {
        let logic = self.stage.logic();
        self.pipeline.start(Linked { meta: self.meta.clone(), logic, next, input: PhantomData })
    }

    fn watermarked<G, A>(self, strategy: WatermarkStrategy<S::Out, G, A>) -> Self::Watermarked<G, A>
    where
        G: WatermarkGenerator<S::Out>,
        A: TimestampAssigner<S::Out>,
    {
        Then::watermarks(self, strategy)
    }

    fn visit(&mut self, visit: &mut dyn FnMut(&mut OperatorMeta)) {
        self.pipeline.visit(visit);
        visit(&mut self.meta);
    }

    fn cut(stream: DataStream<S::Out, Self>, parallelism: usize) -> DataStream<S::Out, FromPorts<S::Out>> {
        stream.new_task(parallelism)
    }
}
