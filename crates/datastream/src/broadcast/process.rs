//! Functions of a stream and the broadcast stream that rules it.

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
use crate::process::{ProcessContext, Runtime, TaskInfo};

/// A function of a record, ruled by broadcast state, without keyed state.
///
/// ```
/// use streamkeeper_datastream::{
///     BroadcastProcessFunction, BroadcastState, Collector, MapStateDescriptor, ProcessContext, Result,
///     StreamExecutionEnvironment,
/// };
///
/// /// Keeps the words that are allowed.
/// #[derive(Clone)]
/// struct Allowed;
///
/// impl BroadcastProcessFunction<String, String> for Allowed {
///     type Out = String;
///     type Broadcast = BroadcastState<String, ()>;
///
///     fn process_element(
///         &mut self,
///         word: String,
///         allowed: &Self::Broadcast,
///         _: &mut ProcessContext<'_>,
///         out: &mut Collector<String>,
///     ) -> Result {
///         if allowed.contains(&word) {
///             out.collect(word);
///         }
///         Ok(())
///     }
///
///     fn process_broadcast_element(
///         &mut self,
///         word: String,
///         allowed: &mut Self::Broadcast,
///         _: &mut ProcessContext<'_>,
///         _: &mut Collector<String>,
///     ) -> Result {
///         allowed.put(word, ());
///         Ok(())
///     }
/// }
///
/// let env = StreamExecutionEnvironment::new();
/// let rules = env.from_collection(["be"].map(String::from)).broadcast_state(MapStateDescriptor::new("allowed"));
/// let words = env.from_collection(["to", "be"].map(String::from));
/// let allowed = words.connect(rules).process(Allowed).collect();
/// env.execute("allowed")?;
/// // A word that comes before the rule for it is not kept: there is no order between the streams.
/// assert!(allowed.take().iter().all(|word| word == "be"));
/// # Ok::<(), streamkeeper_datastream::Error>(())
/// ```
pub trait BroadcastProcessFunction<I, R>: Clone + Send + Sync + 'static {
    /// What it emits.
    type Out: Data;
    /// The broadcast state: that of the descriptor given to [`crate::DataStream::broadcast_state`].
    type Broadcast: Clone + Send + Sync + 'static;

    /// Called once in each subtask, before the first record.
    ///
    /// # Errors
    /// Any, to fail the task.
    fn open(&mut self, info: &TaskInfo) -> Result {
        let _ = info;
        Ok(())
    }

    /// Handles a record of the main stream.
    ///
    /// # Errors
    /// Any, to fail the task.
    fn process_element(
        &mut self,
        value: I,
        broadcast: &Self::Broadcast,
        context: &mut ProcessContext<'_>,
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
        context: &mut ProcessContext<'_>,
        out: &mut Collector<Self::Out>,
    ) -> Result;
}

/// The stage of a [`BroadcastProcessFunction`].
#[derive(Clone)]
pub struct Broadcast<F, D> {
    pub(crate) function: F,
    pub(crate) descriptor: D,
}

/// A [`BroadcastProcessFunction`] at work.
pub struct BroadcastLogic<F, D: BroadcastDescriptor, O> {
    function: F,
    descriptor: D,
    broadcast: Option<D::State>,
    subtask: usize,
    runtime: Runtime,
    out: Collector<O>,
}

impl<I: 'static, R: 'static, F, D> Stage<Either<I, R>> for Broadcast<F, D>
where
    D: BroadcastDescriptor,
    F: BroadcastProcessFunction<I, R, Broadcast = D::State>,
{
    type Out = F::Out;
    type Logic = BroadcastLogic<F, D, F::Out>;

    fn logic(&self) -> Self::Logic {
        BroadcastLogic {
            function: self.function.clone(),
            descriptor: self.descriptor.clone(),
            broadcast: None,
            subtask: 0,
            runtime: Runtime::default(),
            out: Collector::default(),
        }
    }
}

impl<I, R, F, D> Logic<Either<I, R>> for BroadcastLogic<F, D, F::Out>
where
    D: BroadcastDescriptor,
    F: BroadcastProcessFunction<I, R, Broadcast = D::State>,
{
    type Out = F::Out;

    fn open(&mut self, context: &OperatorContext) -> OperatorResult<()> {
        self.subtask = context.subtask;
        self.runtime = Runtime::new(context);
        self.broadcast = Some(self.descriptor.restore(&context.restored)?);
        self.function.open(&TaskInfo::new(context)).map_err(operator_error)
    }

    #[inline]
    fn element<N: Push<F::Out>>(
        &mut self,
        value: Either<I, R>,
        timestamp: Timestamp,
        next: &mut N,
    ) -> OperatorResult<()> {
        let Some(broadcast) = &mut self.broadcast else { return Ok(()) };
        self.out.at(timestamp);
        let mut context = self.runtime.context(timestamp);
        match value {
            Either::First(value) => {
                self.function.process_element(value, broadcast, &mut context, &mut self.out)
            }
            Either::Second(value) => {
                self.function.process_broadcast_element(value, broadcast, &mut context, &mut self.out)
            }
        }
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
        let mine = self.broadcast.as_ref().filter(|_| self.subtask == 0);
        Ok(mine.map(|broadcast| self.descriptor.snapshot(broadcast.clone())))
    }
}
