//! Functions with state and timers for each key.
//!
//! Invariant: while the function is called, its states are those of the key of the record or timer at hand.

use std::sync::Arc;

use streamkeeper_dataflow::OperatorResult;
use streamkeeper_dataflow::element::CheckpointId;
use streamkeeper_dataflow::live_config::ConfigSnapshot;
use streamkeeper_dataflow::operator::OperatorContext;
use streamkeeper_dataflow::state::SnapshotFn;
use streamkeeper_dataflow::time::Timestamp;

use super::timers::{BothTimers, TimeDomain};
use super::{KeyedContext, OpenContext, Runtime, TaskInfo};
use crate::Data;
use crate::chain::{Logic, Push, Stage};
use crate::collector::Collector;
use crate::error::{Result, operator_error};
use crate::key::CurrentKey;
use crate::state::StateBackend;

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

    fn config(&mut self, config: &Arc<ConfigSnapshot>) -> OperatorResult<()> {
        self.runtime.config.set(config);
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
