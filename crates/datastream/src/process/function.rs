//! Functions without keyed state.
//!
//! Invariant: `initialize_state` and `open` come once, before the first record; `snapshot_state` comes between records.

use std::sync::Arc;

use streamkeeper_dataflow::OperatorResult;
use streamkeeper_dataflow::element::CheckpointId;
use streamkeeper_dataflow::live_config::ConfigSnapshot;
use streamkeeper_dataflow::operator::OperatorContext;
use streamkeeper_dataflow::state::SnapshotFn;
use streamkeeper_dataflow::time::Timestamp;

use super::{ProcessContext, Runtime, TaskInfo};
use crate::Data;
use crate::chain::{Logic, Push, Stage};
use crate::collector::Collector;
use crate::error::{Result, operator_error};
use crate::state::{OperatorStateReader, OperatorStateWriter};

/// A function of one record, without keyed state.
///
/// What it keeps in its own fields is lost in a failure, unless it writes it to each checkpoint: Flink's `CheckpointedFunction`.
///
/// ```
/// use streamkeeper_datastream::state::{OperatorStateReader, OperatorStateWriter};
/// use streamkeeper_datastream::{Collector, OperatorHarness, ProcessContext, ProcessFunction, Result};
///
/// /// Emits records in pairs.
/// #[derive(Clone, Default)]
/// struct Pairs(Vec<u32>);
///
/// impl ProcessFunction<u32> for Pairs {
///     type Out = (u32, u32);
///
///     fn initialize_state(&mut self, state: &OperatorStateReader<'_>) -> Result {
///         self.0 = state.list_state("waiting")?;
///         Ok(())
///     }
///     fn snapshot_state(&mut self, state: &mut OperatorStateWriter) -> Result {
///         state.list_state("waiting", self.0.iter().copied())
///     }
///     fn process_element(&mut self, n: u32, _: &mut ProcessContext<'_>, out: &mut Collector<(u32, u32)>) -> Result {
///         match self.0.pop() {
///             Some(first) => out.collect((first, n)),
///             None => self.0.push(n),
///         }
///         Ok(())
///     }
/// }
///
/// let mut harness = OperatorHarness::new(|numbers| numbers.process(Pairs::default()))?;
/// harness.push(1, 0)?;
/// let snapshot = harness.snapshot()?;
/// let mut restored = harness.restore(&snapshot, 0, 1)?;
/// restored.push(2, 5)?;
/// assert_eq!(restored.take_records(), [((1, 2), 5)]);
/// # Ok::<(), streamkeeper_datastream::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a `ProcessFunction` of records of type `{I}`",
    label = "cannot process `{I}`",
    note = "a function with timers or state for each key is a `KeyedProcessFunction`: the stream needs `key_by` before `process`"
)]
pub trait ProcessFunction<I>: Clone + Send + Sync + 'static {
    /// What it emits.
    type Out: Data;

    /// Takes what a checkpoint has for the function. Called once in each subtask, before `open`.
    ///
    /// # Errors
    /// Those of the reader, or any, to fail the task.
    fn initialize_state(&mut self, state: &OperatorStateReader<'_>) -> Result {
        let _ = state;
        Ok(())
    }

    /// Writes what a checkpoint is to keep of the function.
    ///
    /// # Errors
    /// Those of the writer, or any, to fail the task.
    fn snapshot_state(&mut self, state: &mut OperatorStateWriter) -> Result {
        let _ = state;
        Ok(())
    }

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
        let state = OperatorStateReader::new(&context.restored);
        self.function.initialize_state(&state).map_err(operator_error)?;
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

    fn config(&mut self, config: &Arc<ConfigSnapshot>) -> OperatorResult<()> {
        self.runtime.config.set(config);
        Ok(())
    }

    fn snapshot(&mut self, _: CheckpointId) -> OperatorResult<Option<SnapshotFn>> {
        let mut state = OperatorStateWriter::default();
        self.function.snapshot_state(&mut state).map_err(operator_error)?;
        Ok(state.into_snapshot())
    }
}
