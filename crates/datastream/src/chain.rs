//! Chains: the operators of one task, composed at compile time into one call tree.
//!
//! A [`Stage`] describes an operator; its [`Logic`] is the operator at work in one subtask. A [`Pipeline`] is where a task's
//! records come from ([`Begin`]) and the stages behind it; it can be started in any subtask. Started, stage n holds stage n+1, and a record is pushed through all
//! of them by direct calls, which the compiler inlines. Only whole batches cross the task's boundary.

use std::marker::PhantomData;

use streamkeeper_dataflow::OperatorResult;
use streamkeeper_dataflow::batch::{Batch, Either, Records, Rows};
use streamkeeper_dataflow::element::CheckpointId;
use streamkeeper_dataflow::graph::{JobGraph, OperatorNode, Port};
use streamkeeper_dataflow::operator::{Operator, OperatorContext, Output};
use streamkeeper_dataflow::state::SnapshotFn;
use streamkeeper_dataflow::time::Timestamp;

use crate::Data;
use crate::begin::FromPorts;
use crate::stream::DataStream;
use crate::watermark::{
    AssignTimestampsAndWatermarks, TimestampAssigner, WatermarkGenerator, WatermarkStrategy,
};

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
/// The methods are those of [`Operator`], a record at a time.
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

/// Stage `logic`, and what follows it.
pub struct Linked<L, N, I> {
    meta: OperatorMeta,
    logic: L,
    next: N,
    input: PhantomData<fn(I)>,
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

/// A batch whose records a chain takes one by one.
pub trait Feed: Rows {
    /// A record.
    type Item: 'static;

    /// Pushes all records.
    ///
    /// # Errors
    /// Those of the operators.
    fn feed<P: Push<Self::Item>>(self, chain: &mut P) -> OperatorResult<()>;
}

impl<T: 'static> Feed for Records<T> {
    type Item = T;

    #[inline]
    fn feed<P: Push<T>>(self, chain: &mut P) -> OperatorResult<()> {
        let mut records = self.values.into_iter().zip(self.timestamps);
        records.try_for_each(|(value, timestamp)| chain.push(value, timestamp))
    }
}

impl<A: 'static, B: 'static> Feed for Either<Records<A>, Records<B>> {
    type Item = Either<A, B>;

    #[inline]
    fn feed<P: Push<Either<A, B>>>(self, chain: &mut P) -> OperatorResult<()> {
        match self {
            Self::First(batch) => {
                let mut records = batch.values.into_iter().zip(batch.timestamps);
                records.try_for_each(|(value, timestamp)| chain.push(Either::First(value), timestamp))
            }
            Self::Second(batch) => {
                let mut records = batch.values.into_iter().zip(batch.timestamps);
                records.try_for_each(|(value, timestamp)| chain.push(Either::Second(value), timestamp))
            }
        }
    }
}

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

    fn on_checkpoint_complete(&mut self, checkpoint: CheckpointId) -> OperatorResult<()> {
        self.0.checkpoint_complete(checkpoint)
    }

    fn finish(&mut self, out: &mut dyn Output<Records<R::Last>>) -> OperatorResult<()> {
        self.0.finish()?;
        self.emit(out)
    }
}

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
