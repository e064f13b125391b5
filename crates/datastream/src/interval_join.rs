//! Interval join: pairs of records with the same key whose event times are close.
//!
//! Invariant: a record is kept until the watermark says that no partner can come, and no longer.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use streamkeeper_dataflow::time::{MIN_WATERMARK, Timestamp};
use streamkeeper_dataflow::{OperatorError, OperatorResult};

use crate::Data;
use crate::co_process::KeyedCoProcessFunction;
use crate::collector::Collector;
use crate::connect::{Connect, KeyedConnectedStreams, KeyedTwo};
use crate::error::Result;
use crate::key::{Key, KeySelector};
use crate::keyed::KeyedStream;
use crate::process::{Config, KeyedContext, LiveConfig, OpenContext, TaskInfo, TimeDomain};
use crate::side::{OutputTag, Sides};
use crate::state::ValueState;
use crate::stream::DataStream;

impl<L: Data, S1: KeySelector<L>> KeyedStream<L, S1> {
    /// Pairs each record with those of `other` that have its key and an event time close to its own. See [`IntervalJoin`].
    pub fn interval_join<R, S2>(self, other: KeyedStream<R, S2>) -> IntervalJoin<L, R, S1, S2>
    where
        R: Data,
        S2: KeySelector<R, Key = S1::Key>,
    {
        IntervalJoin(other.after(self))
    }
}

/// Two keyed streams that are about to be joined.
pub struct IntervalJoin<L: Data, R: Data, S1, S2>(KeyedConnectedStreams<L, R, S1, S2>);

impl<L: Data, R: Data, S1, S2> IntervalJoin<L, R, S1, S2> {
    /// Left and right belong together when `left + lower_ms <= right <= left + upper_ms`, in event time. Both bounds may be
    /// negative.
    ///
    /// ```
    /// # use streamkeeper_datastream::{
    /// #     Collector, ProcessContext, ProcessFunction, Result, StreamExecutionEnvironment,
    /// # };
    /// /// Takes a record's event time from the record.
    /// #[derive(Clone)]
    /// struct Times;
    ///
    /// impl ProcessFunction<i64> for Times {
    ///     type Out = i64;
    ///
    ///     fn process_element(&mut self, n: i64, _: &mut ProcessContext<'_>, out: &mut Collector<i64>) -> Result {
    ///         out.collect_with_timestamp(n, n);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let env = StreamExecutionEnvironment::new();
    /// let clicks = env.from_collection([100, 200]).process(Times).key_by(|_| 0);
    /// let orders = env.from_collection([105, 150, 200]).process(Times).key_by(|_| 0);
    /// let pairs = clicks.interval_join(orders).between(0, 10).apply(|click, order| (*click, *order)).collect();
    /// env.execute("clicks and orders")?;
    /// let mut pairs = pairs.take();
    /// pairs.sort();
    /// assert_eq!(pairs, [(100, 105), (200, 200)]);
    /// # Ok::<(), streamkeeper_datastream::Error>(())
    /// ```
    pub fn between(self, lower_ms: i64, upper_ms: i64) -> IntervalJoined<L, R, S1, S2> {
        let late = (None, None);
        IntervalJoined { streams: self.0, lower_ms, upper_ms, late }
    }
}

/// Two keyed streams, and which of their records belong together.
///
/// What comes behind the watermark is late: it is dropped, or goes to a side output of the operator, which
/// [`DataStream::side_output`] gives.
pub struct IntervalJoined<L: Data, R: Data, S1, S2> {
    streams: KeyedConnectedStreams<L, R, S1, S2>,
    lower_ms: i64,
    upper_ms: i64,
    late: (Option<OutputTag<L>>, Option<OutputTag<R>>),
}

impl<L: Data, R: Data, S1, S2> IntervalJoined<L, R, S1, S2> {
    /// A right record at the lower bound does not belong to the left one.
    pub fn lower_bound_exclusive(mut self) -> Self {
        self.lower_ms = self.lower_ms.saturating_add(1);
        self
    }

    /// A right record at the upper bound does not belong to the left one.
    pub fn upper_bound_exclusive(mut self) -> Self {
        self.upper_ms = self.upper_ms.saturating_sub(1);
        self
    }

    /// Emits late records of the left stream to a side output.
    pub fn side_output_left_late_data(mut self, tag: &OutputTag<L>) -> Self {
        self.late.0 = Some(tag.clone());
        self
    }

    /// Emits late records of the right stream to a side output.
    pub fn side_output_right_late_data(mut self, tag: &OutputTag<R>) -> Self {
        self.late.1 = Some(tag.clone());
        self
    }
}

impl<L, R, S1, S2> IntervalJoined<L, R, S1, S2>
where
    L: Data,
    R: Data,
    S1: KeySelector<L>,
    S1::Key: Sync,
    S2: KeySelector<R, Key = S1::Key>,
{
    /// Makes a record of each pair. Its event time is the later one of the pair.
    #[expect(clippy::type_complexity, reason = "it is not written down by hand")]
    pub fn apply<O, F>(self, function: F) -> DataStream<O, KeyedTwo<L, R, Join<Apply<F>, L, R>, S1, S2>>
    where
        O: Data,
        F: FnMut(&L, &R) -> O + Clone + Send + Sync + 'static,
    {
        self.process(Apply(function))
    }

    /// Applies a function to each pair. The event time of what it emits is the later one of the pair.
    #[expect(clippy::type_complexity, reason = "it is not written down by hand")]
    pub fn process<F>(self, function: F) -> DataStream<F::Out, KeyedTwo<L, R, Join<F, L, R>, S1, S2>>
    where
        F: ProcessJoinFunction<L, R>,
    {
        let Self { streams, lower_ms, upper_ms, late } = self;
        if lower_ms > upper_ms {
            streams.topology.refuse(format!(
                "an interval join needs a lower bound <= its upper bound, but {lower_ms} ms > {upper_ms} ms (exclusive bounds \
                 count as one millisecond further in)"
            ));
        }
        streams.operator("Interval Join", Join { function, lower_ms, upper_ms, late })
    }
}

/// A function of a pair.
///
/// ```
/// use streamkeeper_datastream::{
///     Collector, JoinContext, ProcessContext, ProcessFunction, ProcessJoinFunction, Result,
///     StreamExecutionEnvironment,
/// };
///
/// /// Takes a record's event time from the record.
/// #[derive(Clone)]
/// struct Times;
///
/// impl ProcessFunction<i64> for Times {
///     type Out = i64;
///
///     fn process_element(&mut self, n: i64, _: &mut ProcessContext<'_>, out: &mut Collector<i64>) -> Result {
///         out.collect_with_timestamp(n, n);
///         Ok(())
///     }
/// }
///
/// /// How long after a click its orders came.
/// #[derive(Clone)]
/// struct Delays;
///
/// impl ProcessJoinFunction<i64, i64> for Delays {
///     type Out = i64;
///
///     fn process_element(
///         &mut self,
///         _click: &i64,
///         _order: &i64,
///         context: &mut JoinContext<'_>,
///         out: &mut Collector<i64>,
///     ) -> Result {
///         out.collect(context.right_timestamp() - context.left_timestamp());
///         Ok(())
///     }
/// }
///
/// let env = StreamExecutionEnvironment::new();
/// let clicks = env.from_collection([100, 200]).process(Times).key_by(|_| 0);
/// let orders = env.from_collection([107, 150, 203]).process(Times).key_by(|_| 0);
/// let delays = clicks.interval_join(orders).between(0, 10).process(Delays).collect();
/// env.execute("delays of orders")?;
/// let mut delays = delays.take();
/// delays.sort();
/// assert_eq!(delays, [3, 7]);
/// # Ok::<(), streamkeeper_datastream::Error>(())
/// ```
pub trait ProcessJoinFunction<L, R>: Clone + Send + Sync + 'static {
    /// What it emits.
    type Out: Data;

    /// Called once in each subtask, before the first pair.
    ///
    /// # Errors
    /// Any, to fail the task.
    fn open(&mut self, info: &TaskInfo) -> Result {
        let _ = info;
        Ok(())
    }

    /// Handles a pair.
    ///
    /// # Errors
    /// Any, to fail the task.
    fn process_element(
        &mut self,
        left: &L,
        right: &R,
        context: &mut JoinContext<'_>,
        out: &mut Collector<Self::Out>,
    ) -> Result;
}

/// What a [`ProcessJoinFunction`] may ask while it handles a pair.
pub struct JoinContext<'a> {
    left: Timestamp,
    right: Timestamp,
    sides: &'a mut Sides,
    config: &'a mut LiveConfig,
}

impl JoinContext<'_> {
    /// Event time of the left record, in milliseconds.
    pub fn left_timestamp(&self) -> Timestamp {
        self.left
    }

    /// Event time of the right record, in milliseconds.
    pub fn right_timestamp(&self) -> Timestamp {
        self.right
    }

    /// Event time of the pair: the later one.
    pub fn timestamp(&self) -> Timestamp {
        self.left.max(self.right)
    }

    /// As [`ProcessContext::config`](crate::ProcessContext::config).
    ///
    /// # Errors
    /// As for [`ProcessContext::config`](crate::ProcessContext::config).
    pub fn config<T: DeserializeOwned + 'static>(
        &mut self,
        document: &str,
    ) -> OperatorResult<Option<Config<T>>> {
        self.config.get(document)
    }

    /// Emits a record to a side output, with the event time of the pair.
    pub fn output<X: Data>(&mut self, tag: &OutputTag<X>, value: X) {
        let timestamp = self.timestamp();
        self.sides.output(tag, value, timestamp);
    }
}

/// The function that makes one record of a pair.
#[derive(Clone)]
pub struct Apply<F>(F);

impl<L, R, O, F> ProcessJoinFunction<L, R> for Apply<F>
where
    O: Data,
    F: FnMut(&L, &R) -> O + Clone + Send + Sync + 'static,
{
    type Out = O;

    #[inline]
    fn process_element(
        &mut self,
        left: &L,
        right: &R,
        _: &mut JoinContext<'_>,
        out: &mut Collector<O>,
    ) -> Result {
        out.collect((self.0)(left, right));
        Ok(())
    }
}

/// An interval join, as a function of both streams.
#[derive(Clone)]
pub struct Join<F, L: Data, R: Data> {
    function: F,
    lower_ms: i64,
    upper_ms: i64,
    late: (Option<OutputTag<L>>, Option<OutputTag<R>>),
}

/// The records of one side that can still find a partner, by event time.
type Buffer<T> = BTreeMap<Timestamp, Vec<T>>;

/// The event time of a record, unless it is late; late ones go to the side output.
fn in_time<K: Key, T: Data>(
    value: T,
    context: &mut KeyedContext<'_, K>,
    late: Option<&OutputTag<T>>,
) -> Result<Option<(T, Timestamp)>> {
    let Some(timestamp) = context.timestamp() else {
        return Err(Box::new(OperatorError::fatal(
            "a record has no event time; an interval join needs one: assign timestamps before it",
        )));
    };
    let watermark = context.current_watermark();
    if watermark == MIN_WATERMARK || timestamp >= watermark {
        return Ok(Some((value, timestamp)));
    }
    if let Some(tag) = late {
        context.output(tag, value);
    }
    Ok(None)
}

/// Calls `pair` for each record of `buffer` whose event time is in the range.
fn partners<T: Data>(
    buffer: &ValueState<Buffer<T>>,
    (from, to): (Timestamp, Timestamp),
    mut pair: impl FnMut(&T, Timestamp) -> Result,
) -> Result {
    let Some(buffer) = buffer.get() else { return Ok(()) };
    for (timestamp, values) in buffer.range(from..=to) {
        values.iter().try_for_each(|value| pair(value, *timestamp))?;
    }
    Ok(())
}

/// Forgets the records that no watermark after `watermark` lets find a partner.
fn clean<T: Data>(buffer: &ValueState<Buffer<T>>, watermark: Timestamp, kept_for_ms: i64) {
    let empty = buffer.get_mut().is_some_and(|mut buffer| {
        while let Some(first) = buffer.first_entry() {
            if first.key().saturating_add(kept_for_ms) > watermark {
                break;
            }
            first.remove();
        }
        buffer.is_empty()
    });
    if empty {
        buffer.clear();
    }
}

impl<F, L: Data, R: Data> Join<F, L, R> {
    /// How long a left and a right record can find a partner, in milliseconds of event time after their own.
    fn kept_for_ms(&self) -> (i64, i64) {
        (self.upper_ms.max(0), self.lower_ms.saturating_neg().max(0))
    }
}

impl<K, F, L, R> KeyedCoProcessFunction<K, L, R> for Join<F, L, R>
where
    K: Key + Sync,
    L: Data,
    R: Data,
    F: ProcessJoinFunction<L, R>,
{
    type Out = F::Out;
    type State = (ValueState<Buffer<L>>, ValueState<Buffer<R>>);

    fn open(&mut self, context: &mut OpenContext<'_, K>) -> Result<Self::State> {
        self.function.open(context.task_info())?;
        Ok((context.value_state("left")?, context.value_state("right")?))
    }

    fn process_element1(
        &mut self,
        left: L,
        (lefts, rights): &mut Self::State,
        context: &mut KeyedContext<'_, K>,
        out: &mut Collector<F::Out>,
    ) -> Result {
        let Some((left, at)) = in_time(left, context, self.late.0.as_ref())? else { return Ok(()) };
        let range = (at.saturating_add(self.lower_ms), at.saturating_add(self.upper_ms));
        partners(rights, range, |right, right_at| {
            let mut pair = JoinContext {
                left: at,
                right: right_at,
                sides: context.process.sides,
                config: context.process.config,
            };
            out.at(pair.timestamp());
            self.function.process_element(&left, right, &mut pair, out)
        })?;
        lefts.get_or_insert_with(Buffer::new).entry(at).or_default().push(left);
        context.register_event_time_timer(at.saturating_add(self.kept_for_ms().0));
        Ok(())
    }

    fn process_element2(
        &mut self,
        right: R,
        (lefts, rights): &mut Self::State,
        context: &mut KeyedContext<'_, K>,
        out: &mut Collector<F::Out>,
    ) -> Result {
        let Some((right, at)) = in_time(right, context, self.late.1.as_ref())? else { return Ok(()) };
        let range = (at.saturating_sub(self.upper_ms), at.saturating_sub(self.lower_ms));
        partners(lefts, range, |left, left_at| {
            let mut pair = JoinContext {
                left: left_at,
                right: at,
                sides: context.process.sides,
                config: context.process.config,
            };
            out.at(pair.timestamp());
            self.function.process_element(left, &right, &mut pair, out)
        })?;
        rights.get_or_insert_with(Buffer::new).entry(at).or_default().push(right);
        context.register_event_time_timer(at.saturating_add(self.kept_for_ms().1));
        Ok(())
    }

    fn on_timer(
        &mut self,
        time_ms: Timestamp,
        _: TimeDomain,
        (lefts, rights): &mut Self::State,
        _: &mut KeyedContext<'_, K>,
        _: &mut Collector<F::Out>,
    ) -> Result {
        let (left_ms, right_ms) = self.kept_for_ms();
        clean(lefts, time_ms, left_ms);
        clean(rights, time_ms, right_ms);
        Ok(())
    }
}
