//! Process functions: records, timers, state and side outputs, one record at a time.

use std::sync::Arc;

use streamkeeper_dataflow::OperatorResult;
use streamkeeper_dataflow::element::CheckpointId;
use streamkeeper_dataflow::operator::OperatorContext;
use streamkeeper_dataflow::state::SnapshotFn;
use streamkeeper_dataflow::time::{Clock, MIN_WATERMARK, Timestamp};
use streamkeeper_dataflow::timers::Timers;

use crate::Data;
use crate::aggregate::AggregateFunction;
use crate::chain::{Logic, Push, Stage};
use crate::collector::Collector;
use crate::error::{Result, operator_error};
use crate::key::{CurrentKey, Key};
use crate::side::{OutputTag, Sides};
use crate::state::{
    AggregatingState, ListState, MapState, ReducingState, StateBackend, StateDescriptor, ValueState,
};

/// Which subtask a function runs in.
#[derive(Debug, Clone)]
pub struct TaskInfo {
    /// The operator's name.
    pub name: String,
    /// Index of this subtask, from 0.
    pub subtask: usize,
    /// Number of subtasks.
    pub parallelism: usize,
    /// How often this subtask was started before.
    pub attempt: u32,
}

impl TaskInfo {
    pub(crate) fn new(context: &OperatorContext) -> Self {
        Self {
            name: context.name.clone(),
            subtask: context.subtask,
            parallelism: context.parallelism,
            attempt: context.attempt,
        }
    }
}

/// What a function may ask while it handles a record.
pub struct ProcessContext<'a> {
    pub(crate) timestamp: Timestamp,
    pub(crate) watermark: Timestamp,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) sides: &'a mut Sides,
}

impl ProcessContext<'_> {
    /// The record's event time, in milliseconds; `None` when it has none.
    pub fn timestamp(&self) -> Option<Timestamp> {
        Some(self.timestamp).filter(|timestamp| *timestamp != Timestamp::MIN)
    }

    /// The operator's watermark.
    pub fn current_watermark(&self) -> Timestamp {
        self.watermark
    }

    /// Processing time now, in milliseconds.
    pub fn current_processing_time(&self) -> Timestamp {
        self.clock.now_ms()
    }

    /// Emits a record to a side output, with the event time of the record or timer at hand.
    pub fn output<X: Data>(&mut self, tag: &OutputTag<X>, value: X) {
        self.sides.output(tag, value, self.timestamp);
    }
}

/// A function of one record, without keyed state.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a `ProcessFunction` of records of type `{I}`",
    label = "cannot process `{I}`",
    note = "a function with timers or state for each key is a `KeyedProcessFunction`: the stream needs `key_by` before `process`"
)]
pub trait ProcessFunction<I>: Clone + Send + Sync + 'static {
    /// What it emits.
    type Out: Data;

    /// Called once in each subtask, before the first record.
    ///
    /// # Errors
    /// Any, to fail the task.
    fn open(&mut self, info: &TaskInfo) -> Result {
        let _ = info;
        Ok(())
    }

    /// Handles a record.
    ///
    /// # Errors
    /// Any, to fail the task.
    fn process_element(
        &mut self,
        value: I,
        context: &mut ProcessContext<'_>,
        out: &mut Collector<Self::Out>,
    ) -> Result;
}

/// The stage of a [`ProcessFunction`].
#[derive(Clone)]
pub struct Process<F>(pub(crate) F);

/// A [`ProcessFunction`] at work.
pub struct ProcessLogic<F, O> {
    function: F,
    runtime: Runtime,
    out: Collector<O>,
}

/// What surrounds a function in its subtask.
pub(crate) struct Runtime {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) watermark: Timestamp,
    pub(crate) sides: Sides,
}

impl Default for Runtime {
    fn default() -> Self {
        Self {
            clock: Arc::new(streamkeeper_dataflow::time::SystemClock),
            watermark: MIN_WATERMARK,
            sides: Sides::default(),
        }
    }
}

impl Runtime {
    pub(crate) fn new(context: &OperatorContext) -> Self {
        Self {
            clock: context.clock.clone(),
            watermark: MIN_WATERMARK,
            sides: Sides::new(context.side_outputs.clone()),
        }
    }

    pub(crate) fn context(&mut self, timestamp: Timestamp) -> ProcessContext<'_> {
        ProcessContext {
            timestamp,
            watermark: self.watermark,
            clock: self.clock.as_ref(),
            sides: &mut self.sides,
        }
    }
}

impl<I: 'static, F: ProcessFunction<I>> Stage<I> for Process<F> {
    type Out = F::Out;
    type Logic = ProcessLogic<F, F::Out>;

    fn logic(&self) -> Self::Logic {
        ProcessLogic { function: self.0.clone(), runtime: Runtime::default(), out: Collector::default() }
    }
}

impl<I, F: ProcessFunction<I>> Logic<I> for ProcessLogic<F, F::Out> {
    type Out = F::Out;

    fn open(&mut self, context: &OperatorContext) -> OperatorResult<()> {
        self.runtime = Runtime::new(context);
        self.function.open(&TaskInfo::new(context)).map_err(operator_error)
    }

    #[inline]
    fn element<N: Push<F::Out>>(
        &mut self,
        value: I,
        timestamp: Timestamp,
        next: &mut N,
    ) -> OperatorResult<()> {
        self.out.at(timestamp);
        self.function
            .process_element(value, &mut self.runtime.context(timestamp), &mut self.out)
            .map_err(operator_error)?;
        self.out.drain(next)
    }

    fn watermark<N: Push<F::Out>>(&mut self, watermark: Timestamp, _: &mut N) -> OperatorResult<Timestamp> {
        self.runtime.watermark = watermark;
        Ok(watermark)
    }

    fn end_step<N: Push<F::Out>>(&mut self, _: &mut N) -> OperatorResult<()> {
        self.runtime.sides.flush();
        Ok(())
    }
}

/// Where a keyed function declares its states, once per subtask.
pub struct OpenContext<'a, K> {
    pub(crate) backend: &'a mut StateBackend<K>,
    pub(crate) info: &'a TaskInfo,
}

impl<K: Key + Sync> OpenContext<'_, K> {
    /// Which subtask this is.
    pub fn task_info(&self) -> &TaskInfo {
        self.info
    }

    /// One value per key. A state is given by its name, or by a [`StateDescriptor`] that says how long its values live.
    ///
    /// # Errors
    /// When the name is taken, or the checkpoint has the state under another type. So for all states.
    pub fn value_state<V: Data>(&mut self, state: impl Into<StateDescriptor>) -> Result<ValueState<V>> {
        Ok(ValueState::register(self.backend, state)?)
    }

    /// A list per key.
    ///
    /// # Errors
    /// As for [`OpenContext::value_state`].
    pub fn list_state<V: Data>(&mut self, state: impl Into<StateDescriptor>) -> Result<ListState<V>> {
        Ok(ListState::register(self.backend, state)?)
    }

    /// A map per key.
    ///
    /// # Errors
    /// As for [`OpenContext::value_state`].
    pub fn map_state<UK: Data + Eq + std::hash::Hash, UV: Data>(
        &mut self,
        state: impl Into<StateDescriptor>,
    ) -> Result<MapState<UK, UV>> {
        Ok(MapState::register(self.backend, state)?)
    }

    /// One value per key, into which each added value is reduced.
    ///
    /// # Errors
    /// As for [`OpenContext::value_state`].
    pub fn reducing_state<V: Data, F: Fn(V, V) -> V>(
        &mut self,
        state: impl Into<StateDescriptor>,
        reduce: F,
    ) -> Result<ReducingState<V, F>> {
        Ok(ReducingState::register(self.backend, state, reduce)?)
    }

    /// One accumulator per key.
    ///
    /// # Errors
    /// As for [`OpenContext::value_state`].
    pub fn aggregating_state<A: AggregateFunction>(
        &mut self,
        state: impl Into<StateDescriptor>,
        function: A,
    ) -> Result<AggregatingState<A>> {
        Ok(AggregatingState::register(self.backend, state, function)?)
    }
}

/// Which clock a timer is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeDomain {
    /// The watermark has passed the timer.
    EventTime,
    /// The wall clock has.
    ProcessingTime,
}

/// The timers of both clocks of one operator.
pub(crate) struct BothTimers<K> {
    pub(crate) event: Timers<K>,
    pub(crate) processing: Timers<K>,
}

impl<K> Default for BothTimers<K> {
    fn default() -> Self {
        Self { event: Timers::default(), processing: Timers::default() }
    }
}

const EVENT_TIMERS: &str = "$event-timers";
const PROCESSING_TIMERS: &str = "$processing-timers";

impl<K: Key> BothTimers<K> {
    pub(crate) fn restore(context: &OperatorContext) -> OperatorResult<Self> {
        Ok(Self {
            event: Timers::read(EVENT_TIMERS, &context.restored)?,
            processing: Timers::read(PROCESSING_TIMERS, &context.restored)?,
        })
    }

    pub(crate) fn snapshot(&self) -> SnapshotFn {
        let (event, processing) = (self.event.clone(), self.processing.clone());
        Box::new(move |writer| {
            event.write(EVENT_TIMERS, writer)?;
            processing.write(PROCESSING_TIMERS, writer)
        })
    }
}

/// What a keyed function may ask and do while it handles a record or a timer.
pub struct KeyedContext<'a, K> {
    pub(crate) key: &'a K,
    pub(crate) key_group: u16,
    pub(crate) timers: &'a mut BothTimers<K>,
    pub(crate) process: ProcessContext<'a>,
}

impl<'a, K: Key> KeyedContext<'a, K> {
    /// The key of the record or timer at hand.
    pub fn current_key(&self) -> &K {
        self.key
    }

    /// Calls `on_timer` for this key when the watermark has passed `time_ms`. A timer that is set twice fires once.
    pub fn register_event_time_timer(&mut self, time_ms: Timestamp) {
        self.timers.event.register(time_ms, self.key_group, self.key.clone());
    }

    /// Calls `on_timer` for this key when the clock has reached `time_ms`.
    pub fn register_processing_time_timer(&mut self, time_ms: Timestamp) {
        self.timers.processing.register(time_ms, self.key_group, self.key.clone());
    }

    /// Forgets a timer of this key.
    pub fn delete_event_time_timer(&mut self, time_ms: Timestamp) {
        self.timers.event.delete(time_ms, self.key_group, self.key);
    }

    /// Forgets a timer of this key.
    pub fn delete_processing_time_timer(&mut self, time_ms: Timestamp) {
        self.timers.processing.delete(time_ms, self.key_group, self.key);
    }
}

impl<'a, K> std::ops::Deref for KeyedContext<'a, K> {
    type Target = ProcessContext<'a>;

    fn deref(&self) -> &Self::Target {
        &self.process
    }
}

impl<K> std::ops::DerefMut for KeyedContext<'_, K> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.process
    }
}

/// A function of one record and what it keeps for the record's key. `State` holds the states that `open` declared.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a `KeyedProcessFunction` of records of type `{I}` with keys of type `{K}`",
    label = "cannot process `{I}` by `{K}`"
)]
pub trait KeyedProcessFunction<K, I>: Clone + Send + Sync + 'static {
    /// What it emits.
    type Out: Data;
    /// The states it works with.
    type State: 'static;

    /// Declares the states. Called once in each subtask, before the first record.
    ///
    /// # Errors
    /// Those of the declarations, or any, to fail the task.
    fn open(&mut self, context: &mut OpenContext<'_, K>) -> Result<Self::State>;

    /// Handles a record. States give the values of its key.
    ///
    /// # Errors
    /// Any, to fail the task.
    fn process_element(
        &mut self,
        value: I,
        state: &mut Self::State,
        context: &mut KeyedContext<'_, K>,
        out: &mut Collector<Self::Out>,
    ) -> Result;

    /// A timer is due. States give the values of its key.
    ///
    /// # Errors
    /// Any, to fail the task.
    fn on_timer(
        &mut self,
        time_ms: Timestamp,
        domain: TimeDomain,
        state: &mut Self::State,
        context: &mut KeyedContext<'_, K>,
        out: &mut Collector<Self::Out>,
    ) -> Result {
        let _ = (time_ms, domain, state, context, out);
        Ok(())
    }
}

/// The stage of a [`KeyedProcessFunction`].
#[derive(Clone)]
pub struct KeyedProcess<F, S> {
    pub(crate) function: F,
    pub(crate) selector: S,
}

/// A [`KeyedProcessFunction`] at work.
pub struct KeyedProcessLogic<I, F: KeyedProcessFunction<S::Key, I>, S: CurrentKey<I>> {
    pub(crate) function: F,
    selector: S,
    pub(crate) running: Option<RunningKeyed<S::Key, F::State>>,
    pub(crate) runtime: Runtime,
    pub(crate) out: Collector<F::Out>,
}

pub(crate) struct RunningKeyed<K, State> {
    pub(crate) backend: StateBackend<K>,
    timers: BothTimers<K>,
    pub(crate) state: State,
}

impl<I: 'static, S, F> Stage<I> for KeyedProcess<F, S>
where
    S: CurrentKey<I>,
    S::Key: Sync,
    F: KeyedProcessFunction<S::Key, I>,
{
    type Out = F::Out;
    type Logic = KeyedProcessLogic<I, F, S>;

    fn logic(&self) -> Self::Logic {
        KeyedProcessLogic {
            function: self.function.clone(),
            selector: self.selector.clone(),
            running: None,
            runtime: Runtime::default(),
            out: Collector::default(),
        }
    }
}

impl<I, F: KeyedProcessFunction<S::Key, I>, S: CurrentKey<I>> KeyedProcessLogic<I, F, S>
where
    S::Key: Sync,
{
    fn on_timer<N: Push<F::Out>>(
        &mut self,
        (time_ms, key_group, key): (Timestamp, u16, S::Key),
        domain: TimeDomain,
        next: &mut N,
    ) -> OperatorResult<()> {
        let Some(RunningKeyed { backend, timers, state }) = &mut self.running else { return Ok(()) };
        let kept = backend.set_current_key(key_group, &key)?;
        let timestamp = if domain == TimeDomain::EventTime { time_ms } else { Timestamp::MIN };
        self.out.at(timestamp);
        let process = self.runtime.context(timestamp);
        let mut context = KeyedContext { key: kept, key_group, timers, process };
        self.function
            .on_timer(time_ms, domain, state, &mut context, &mut self.out)
            .map_err(operator_error)?;
        backend.release();
        self.out.drain(next)
    }
}

impl<I, F: KeyedProcessFunction<S::Key, I>, S: CurrentKey<I>> Logic<I> for KeyedProcessLogic<I, F, S>
where
    S::Key: Sync,
{
    type Out = F::Out;

    fn open(&mut self, context: &OperatorContext) -> OperatorResult<()> {
        self.runtime = Runtime::new(context);
        let mut backend = StateBackend::new(context);
        let info = TaskInfo::new(context);
        let mut open = OpenContext { backend: &mut backend, info: &info };
        let state = self.function.open(&mut open).map_err(operator_error)?;
        backend.opened();
        let timers = BothTimers::restore(context)?;
        self.running = Some(RunningKeyed { backend, timers, state });
        Ok(())
    }

    #[inline]
    fn element<N: Push<F::Out>>(
        &mut self,
        value: I,
        timestamp: Timestamp,
        next: &mut N,
    ) -> OperatorResult<()> {
        let Some(RunningKeyed { backend, timers, state }) = &mut self.running else { return Ok(()) };
        self.out.at(timestamp);
        let (key, key_group) = self.selector.enter(&value, backend)?;
        let process = self.runtime.context(timestamp);
        let mut context = KeyedContext { key, key_group, timers, process };
        self.function.process_element(value, state, &mut context, &mut self.out).map_err(operator_error)?;
        backend.release();
        self.out.drain(next)
    }

    fn watermark<N: Push<F::Out>>(
        &mut self,
        watermark: Timestamp,
        next: &mut N,
    ) -> OperatorResult<Timestamp> {
        self.runtime.watermark = watermark;
        while let Some(due) = self.running.as_mut().and_then(|r| r.timers.event.pop_due(watermark)) {
            self.on_timer(due, TimeDomain::EventTime, next)?;
        }
        Ok(watermark)
    }

    fn next_processing_time(&self) -> Option<Timestamp> {
        self.running.as_ref()?.timers.processing.next()
    }

    fn processing_time<N: Push<F::Out>>(&mut self, now_ms: Timestamp, next: &mut N) -> OperatorResult<()> {
        while let Some(due) = self.running.as_mut().and_then(|r| r.timers.processing.pop_due(now_ms)) {
            self.on_timer(due, TimeDomain::ProcessingTime, next)?;
        }
        Ok(())
    }

    fn end_step<N: Push<F::Out>>(&mut self, _: &mut N) -> OperatorResult<()> {
        self.runtime.sides.flush();
        Ok(())
    }

    fn snapshot(&mut self, _: CheckpointId) -> OperatorResult<Option<SnapshotFn>> {
        let Some(running) = &self.running else { return Ok(None) };
        let (states, timers) = (running.backend.snapshot(), running.timers.snapshot());
        Ok(Some(Box::new(move |writer| {
            states(writer)?;
            timers(writer)
        })))
    }
}
