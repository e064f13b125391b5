//! Functions of a keyed stream and the broadcast stream that rules it.
//!
//! For a record of the main stream and for timers it is a [`KeyedProcessFunction`] that reads broadcast state ([`Ruled`]); a
//! record of the broadcast stream has no key, and is handled beside it.

use std::marker::PhantomData;
use std::sync::Arc;

use streamkeeper_dataflow::OperatorResult;
use streamkeeper_dataflow::batch::Either;
use streamkeeper_dataflow::element::CheckpointId;
use streamkeeper_dataflow::live_config::ConfigSnapshot;
use streamkeeper_dataflow::operator::OperatorContext;
use streamkeeper_dataflow::state::SnapshotFn;
use streamkeeper_dataflow::time::Timestamp;

use super::state::BroadcastDescriptor;
use crate::Data;
use crate::chain::{Logic, Push, Stage};
use crate::collector::Collector;
use crate::error::{Result, operator_error};
use crate::key::{Key, KeySelector};
use crate::process::{
    KeyedContext, KeyedProcess, KeyedProcessFunction, KeyedProcessLogic, OpenContext, ProcessContext,
    TimeDomain,
};
use crate::state::StateBackend;

/// A function of a record and what it keeps for the record's key, ruled by broadcast state.
///
/// ```
/// use streamkeeper_datastream::state::ValueState;
/// use streamkeeper_datastream::{
///     BroadcastState, Collector, KeyedBroadcastContext, KeyedBroadcastProcessFunction, KeyedContext,
///     MapStateDescriptor, OpenContext, Result, StreamExecutionEnvironment,
/// };
///
/// /// Counts per key; emits the key when its count reaches a limit that can be changed.
/// #[derive(Clone)]
/// struct Limit;
///
/// impl KeyedBroadcastProcessFunction<u32, u32, u64> for Limit {
///     type Out = u32;
///     type State = ValueState<u64>;
///     type Broadcast = BroadcastState<(), u64>;
///
///     fn open(&mut self, context: &mut OpenContext<'_, u32>) -> Result<Self::State> {
///         context.value_state("count")
///     }
///
///     fn process_element(
///         &mut self,
///         _: u32,
///         count: &mut Self::State,
///         limit: &Self::Broadcast,
///         context: &mut KeyedContext<'_, u32>,
///         out: &mut Collector<u32>,
///     ) -> Result {
///         let mut count = count.get_or_insert_with(|| 0);
///         *count += 1;
///         if *count == limit.get(&()).copied().unwrap_or(3) {
///             out.collect(*context.current_key());
///         }
///         Ok(())
///     }
///
///     fn process_broadcast_element(
///         &mut self,
///         value: u64,
///         limit: &mut Self::Broadcast,
///         context: &mut KeyedBroadcastContext<'_, u32, Self::State>,
///         _: &mut Collector<u32>,
///     ) -> Result {
///         limit.put((), value);
///         context.apply_to_keyed_state(|_, count| {
///             count.clear();
///             Ok(())
///         })
///     }
/// }
///
/// let env = StreamExecutionEnvironment::new();
/// let limits = env.from_collection([]).broadcast_state(MapStateDescriptor::new("limit"));
/// let events = env.from_collection([7, 8, 7, 7, 8]).key_by(|event| *event);
/// let reached = events.connect(limits).process(Limit).collect();
/// env.execute("limits")?;
/// assert_eq!(reached.take(), [7]);
/// # Ok::<(), streamkeeper_datastream::Error>(())
/// ```
pub trait KeyedBroadcastProcessFunction<K, I, R>: Clone + Send + Sync + 'static {
    /// What it emits.
    type Out: Data;
    /// The keyed states it works with.
    type State: 'static;
    /// The broadcast state: that of the descriptor given to [`crate::DataStream::broadcast_state`].
    type Broadcast: Clone + Send + Sync + 'static;

    /// Declares the keyed states. Called once in each subtask, before the first record.
    ///
    /// # Errors
    /// Those of the declarations, or any, to fail the task.
    fn open(&mut self, context: &mut OpenContext<'_, K>) -> Result<Self::State>;

    /// Handles a record of the main stream. States give the values of its key.
    ///
    /// # Errors
    /// Any, to fail the task.
    fn process_element(
        &mut self,
        value: I,
        state: &mut Self::State,
        broadcast: &Self::Broadcast,
        context: &mut KeyedContext<'_, K>,
        out: &mut Collector<Self::Out>,
    ) -> Result;

    /// Handles a record of the broadcast stream, in every subtask. What it does to the broadcast state must depend on nothing
    /// but the record and that state.
    ///
    /// # Errors
    /// Any, to fail the task.
    fn process_broadcast_element(
        &mut self,
        value: R,
        broadcast: &mut Self::Broadcast,
        context: &mut KeyedBroadcastContext<'_, K, Self::State>,
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
        broadcast: &Self::Broadcast,
        context: &mut KeyedContext<'_, K>,
        out: &mut Collector<Self::Out>,
    ) -> Result {
        let _ = (time_ms, domain, state, broadcast, context, out);
        Ok(())
    }
}

/// What a keyed function may ask and do while it handles a record of the broadcast stream.
pub struct KeyedBroadcastContext<'a, K, State> {
    backend: &'a mut StateBackend<K>,
    state: &'a mut State,
    process: ProcessContext<'a>,
}

impl<K: Key + Sync, State> KeyedBroadcastContext<'_, K, State> {
    /// Calls `apply` for each key of this subtask that has state; `State` gives the values of that key, and can change them.
    ///
    /// # Errors
    /// The first of `apply`, which is not called for further keys then.
    pub fn apply_to_keyed_state(&mut self, mut apply: impl FnMut(&K, &mut State) -> Result) -> Result {
        for (key_group, key) in self.backend.keys() {
            self.backend.set_current_key(key_group, &key)?;
            apply(&key, self.state)?;
            self.backend.release();
        }
        Ok(())
    }
}

impl<'a, K, State> std::ops::Deref for KeyedBroadcastContext<'a, K, State> {
    type Target = ProcessContext<'a>;

    fn deref(&self) -> &Self::Target {
        &self.process
    }
}

impl<K, State> std::ops::DerefMut for KeyedBroadcastContext<'_, K, State> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.process
    }
}

/// The function with its broadcast state, which is there once it is opened.
#[derive(Clone)]
pub(crate) struct Ruled<F, B, R> {
    function: F,
    broadcast: Option<B>,
    rules: PhantomData<fn() -> R>,
}

impl<K, I, R, F> KeyedProcessFunction<K, I> for Ruled<F, F::Broadcast, R>
where
    R: Data,
    F: KeyedBroadcastProcessFunction<K, I, R>,
{
    type Out = F::Out;
    type State = F::State;

    fn open(&mut self, context: &mut OpenContext<'_, K>) -> Result<F::State> {
        self.function.open(context)
    }

    #[inline]
    fn process_element(
        &mut self,
        value: I,
        state: &mut F::State,
        context: &mut KeyedContext<'_, K>,
        out: &mut Collector<F::Out>,
    ) -> Result {
        match &self.broadcast {
            Some(broadcast) => self.function.process_element(value, state, broadcast, context, out),
            None => Ok(()),
        }
    }

    fn on_timer(
        &mut self,
        time_ms: Timestamp,
        domain: TimeDomain,
        state: &mut F::State,
        context: &mut KeyedContext<'_, K>,
        out: &mut Collector<F::Out>,
    ) -> Result {
        match &self.broadcast {
            Some(broadcast) => self.function.on_timer(time_ms, domain, state, broadcast, context, out),
            None => Ok(()),
        }
    }
}

/// The stage of a [`KeyedBroadcastProcessFunction`].
#[derive(Clone)]
pub struct KeyedBroadcast<F, S, D> {
    pub(crate) function: F,
    pub(crate) selector: S,
    pub(crate) descriptor: D,
}

/// A [`KeyedBroadcastProcessFunction`] at work.
pub struct KeyedBroadcastLogic<I, R, F, S, D>
where
    R: Data,
    F: KeyedBroadcastProcessFunction<S::Key, I, R>,
    S: KeySelector<I>,
    S::Key: Sync,
{
    main: KeyedProcessLogic<I, Ruled<F, F::Broadcast, R>, S>,
    descriptor: D,
    subtask: usize,
}

impl<I: 'static, R, F, S, D> Stage<Either<I, R>> for KeyedBroadcast<F, S, D>
where
    R: Data,
    D: BroadcastDescriptor,
    S: KeySelector<I>,
    S::Key: Sync,
    F: KeyedBroadcastProcessFunction<S::Key, I, R, Broadcast = D::State>,
{
    type Out = F::Out;
    type Logic = KeyedBroadcastLogic<I, R, F, S, D>;

    fn logic(&self) -> Self::Logic {
        let function = Ruled { function: self.function.clone(), broadcast: None, rules: PhantomData };
        let main = KeyedProcess { function, selector: self.selector.clone() };
        KeyedBroadcastLogic { main: main.logic(), descriptor: self.descriptor.clone(), subtask: 0 }
    }
}

impl<I, R, F, S, D> Logic<Either<I, R>> for KeyedBroadcastLogic<I, R, F, S, D>
where
    R: Data,
    D: BroadcastDescriptor,
    S: KeySelector<I>,
    S::Key: Sync,
    F: KeyedBroadcastProcessFunction<S::Key, I, R, Broadcast = D::State>,
{
    type Out = F::Out;

    fn open(&mut self, context: &OperatorContext) -> OperatorResult<()> {
        self.subtask = context.subtask;
        self.main.function.broadcast = Some(self.descriptor.restore(&context.restored)?);
        self.main.open(context)
    }

    #[inline]
    fn element<N: Push<F::Out>>(
        &mut self,
        value: Either<I, R>,
        timestamp: Timestamp,
        next: &mut N,
    ) -> OperatorResult<()> {
        let value = match value {
            Either::First(value) => return self.main.element(value, timestamp, next),
            Either::Second(value) => value,
        };
        let KeyedProcessLogic { function, running, runtime, out, .. } = &mut self.main;
        let (Some(running), Some(broadcast)) = (running, &mut function.broadcast) else { return Ok(()) };
        out.at(timestamp);
        let mut context = KeyedBroadcastContext {
            backend: &mut running.backend,
            state: &mut running.state,
            process: runtime.context(timestamp),
        };
        function
            .function
            .process_broadcast_element(value, broadcast, &mut context, out)
            .map_err(operator_error)?;
        out.drain(next)
    }

    fn watermark<N: Push<F::Out>>(
        &mut self,
        watermark: Timestamp,
        next: &mut N,
    ) -> OperatorResult<Timestamp> {
        self.main.watermark(watermark, next)
    }

    fn next_processing_time(&self) -> Option<Timestamp> {
        self.main.next_processing_time()
    }

    fn processing_time<N: Push<F::Out>>(&mut self, now_ms: Timestamp, next: &mut N) -> OperatorResult<()> {
        self.main.processing_time(now_ms, next)
    }

    fn end_step<N: Push<F::Out>>(&mut self, next: &mut N) -> OperatorResult<()> {
        self.main.end_step(next)
    }

    fn config(&mut self, config: &Arc<ConfigSnapshot>) -> OperatorResult<()> {
        self.main.config(config)
    }

    fn snapshot(&mut self, checkpoint: CheckpointId) -> OperatorResult<Option<SnapshotFn>> {
        let Some(keyed) = self.main.snapshot(checkpoint)? else { return Ok(None) };
        let mine = self.main.function.broadcast.as_ref().filter(|_| self.subtask == 0);
        let broadcast = mine.map(|broadcast| self.descriptor.snapshot(broadcast.clone()));
        Ok(Some(Box::new(move |writer| {
            keyed(writer)?;
            broadcast.map_or(Ok(()), |write| write(writer))
        })))
    }
}
