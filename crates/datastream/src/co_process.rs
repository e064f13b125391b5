//! Functions with two inputs.
//!
//! To the runtime such a function is one of a single input whose records are [`Either`]: [`Co`] is the bridge.

use streamkeeper_dataflow::batch::Either;
use streamkeeper_dataflow::time::Timestamp;

use crate::Data;
use crate::collector::Collector;
use crate::error::Result;
use crate::process::{
    KeyedContext, KeyedProcessFunction, OpenContext, ProcessContext, ProcessFunction, TaskInfo, TimeDomain,
};

/// A function of the records of two streams, without keyed state.
///
/// ```
/// use streamkeeper_datastream::{
///     CoProcessFunction, Collector, ProcessContext, Result, StreamExecutionEnvironment,
/// };
///
/// #[derive(Clone)]
/// struct Lengths;
///
/// impl CoProcessFunction<u64, String> for Lengths {
///     type Out = u64;
///
///     fn process_element1(&mut self, n: u64, _: &mut ProcessContext<'_>, out: &mut Collector<u64>) -> Result {
///         out.collect(n);
///         Ok(())
///     }
///
///     fn process_element2(&mut self, s: String, _: &mut ProcessContext<'_>, out: &mut Collector<u64>) -> Result {
///         out.collect(s.len() as u64);
///         Ok(())
///     }
/// }
///
/// let env = StreamExecutionEnvironment::new();
/// let numbers = env.from_collection([1u64]);
/// let words = env.from_collection(["four".to_owned()]);
/// let lengths = numbers.connect(words).process(Lengths).collect();
/// env.execute("lengths")?;
/// let mut lengths = lengths.take();
/// lengths.sort();
/// assert_eq!(lengths, [1, 4]);
/// # Ok::<(), streamkeeper_datastream::Error>(())
/// ```
pub trait CoProcessFunction<A, B>: Clone + Send + Sync + 'static {
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

    /// Handles a record of the first stream.
    ///
    /// # Errors
    /// Any, to fail the task.
    fn process_element1(
        &mut self,
        value: A,
        context: &mut ProcessContext<'_>,
        out: &mut Collector<Self::Out>,
    ) -> Result;

    /// Handles a record of the second stream.
    ///
    /// # Errors
    /// Any, to fail the task.
    fn process_element2(
        &mut self,
        value: B,
        context: &mut ProcessContext<'_>,
        out: &mut Collector<Self::Out>,
    ) -> Result;
}

/// A function of the records of two streams with the same keys, and what it keeps for each key. `State` holds the states that
/// `open` declared; states and timers are shared by both inputs.
///
/// ```
/// use streamkeeper_datastream::state::ValueState;
/// use streamkeeper_datastream::{
///     Collector, KeyedCoProcessFunction, KeyedContext, OpenContext, Result, StreamExecutionEnvironment,
/// };
///
/// type Payment = (u32, String);
///
/// /// Emits an order when it is paid, whichever of both comes first.
/// #[derive(Clone)]
/// struct Paid;
///
/// impl KeyedCoProcessFunction<u32, u32, Payment> for Paid {
///     type Out = Payment;
///     type State = (ValueState<u32>, ValueState<Payment>);
///
///     fn open(&mut self, context: &mut OpenContext<'_, u32>) -> Result<Self::State> {
///         Ok((context.value_state("order")?, context.value_state("payment")?))
///     }
///
///     fn process_element1(
///         &mut self,
///         order: u32,
///         (orders, payments): &mut Self::State,
///         _: &mut KeyedContext<'_, u32>,
///         out: &mut Collector<Payment>,
///     ) -> Result {
///         match payments.take() {
///             Some(payment) => out.collect(payment),
///             None => orders.update(order),
///         }
///         Ok(())
///     }
///
///     fn process_element2(
///         &mut self,
///         payment: Payment,
///         (orders, payments): &mut Self::State,
///         _: &mut KeyedContext<'_, u32>,
///         out: &mut Collector<Payment>,
///     ) -> Result {
///         match orders.take() {
///             Some(_) => out.collect(payment),
///             None => payments.update(payment),
///         }
///         Ok(())
///     }
/// }
///
/// let env = StreamExecutionEnvironment::new();
/// let orders = env.from_collection([1, 2]).key_by(|order| *order);
/// let payments = env.from_collection([(2, "card".to_owned())]).key_by(|(order, _)| *order);
/// let paid = orders.connect(payments).process(Paid).collect();
/// env.execute("paid")?;
/// assert_eq!(paid.take(), [(2, "card".to_owned())]);
/// # Ok::<(), streamkeeper_datastream::Error>(())
/// ```
pub trait KeyedCoProcessFunction<K, A, B>: Clone + Send + Sync + 'static {
    /// What it emits.
    type Out: Data;
    /// The states it works with.
    type State: 'static;

    /// Declares the states. Called once in each subtask, before the first record.
    ///
    /// # Errors
    /// Those of the declarations, or any, to fail the task.
    fn open(&mut self, context: &mut OpenContext<'_, K>) -> Result<Self::State>;

    /// Handles a record of the first stream. States give the values of its key.
    ///
    /// # Errors
    /// Any, to fail the task.
    fn process_element1(
        &mut self,
        value: A,
        state: &mut Self::State,
        context: &mut KeyedContext<'_, K>,
        out: &mut Collector<Self::Out>,
    ) -> Result;

    /// Handles a record of the second stream. States give the values of its key.
    ///
    /// # Errors
    /// Any, to fail the task.
    fn process_element2(
        &mut self,
        value: B,
        state: &mut Self::State,
        context: &mut KeyedContext<'_, K>,
        out: &mut Collector<Self::Out>,
    ) -> Result;

    /// A timer is due, set for either input. States give the values of its key.
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

/// A function of two inputs as one of a single input.
#[derive(Clone)]
pub struct Co<F>(pub(crate) F);

impl<A, B, F: CoProcessFunction<A, B>> ProcessFunction<Either<A, B>> for Co<F> {
    type Out = F::Out;

    fn open(&mut self, info: &TaskInfo) -> Result {
        self.0.open(info)
    }

    #[inline]
    fn process_element(
        &mut self,
        value: Either<A, B>,
        context: &mut ProcessContext<'_>,
        out: &mut Collector<F::Out>,
    ) -> Result {
        match value {
            Either::First(value) => self.0.process_element1(value, context, out),
            Either::Second(value) => self.0.process_element2(value, context, out),
        }
    }
}

impl<K, A, B, F: KeyedCoProcessFunction<K, A, B>> KeyedProcessFunction<K, Either<A, B>> for Co<F> {
    type Out = F::Out;
    type State = F::State;

    fn open(&mut self, context: &mut OpenContext<'_, K>) -> Result<F::State> {
        self.0.open(context)
    }

    #[inline]
    fn process_element(
        &mut self,
        value: Either<A, B>,
        state: &mut F::State,
        context: &mut KeyedContext<'_, K>,
        out: &mut Collector<F::Out>,
    ) -> Result {
        match value {
            Either::First(value) => self.0.process_element1(value, state, context, out),
            Either::Second(value) => self.0.process_element2(value, state, context, out),
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
        self.0.on_timer(time_ms, domain, state, context, out)
    }
}
