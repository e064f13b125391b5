//! Windowed streams: what can be done with the windows of a stream.

use std::time::Duration;

use super::fold::{Aggregated, Evict, Eviction, Folded, Listed, NoEvictor, Processed, Reduced};
use super::time_window::millis;
use super::{
    Apply, ApplyOne, Evictor, PassThrough, ProcessWindowFunction, Trigger, WindowAssigner, WindowFold,
    Windows,
};
use crate::Data;
use crate::aggregate::AggregateFunction;
use crate::collector::Collector;
use crate::key::KeySelector;
use crate::keyed::{Keyed, KeyedStream};
use crate::side::OutputTag;
use crate::stream::DataStream;

/// The windows of a keyed stream. `T` are the records, `S` gives their keys, `A` their windows, `G` is the trigger, `E` says
/// whether something is evicted.
///
/// Each function ends the description, and gives the stream of results. Where it has `_with` in its name, its second function is a closure
/// that is told key and window; where it has `process`, it is a [`ProcessWindowFunction`].
pub struct WindowedStream<T: Data, S: KeySelector<T>, A, G, E = NoEvictor> {
    pub(crate) stream: KeyedStream<T, S>,
    pub(crate) assigner: A,
    pub(crate) trigger: G,
    pub(crate) evictor: E,
    pub(crate) lateness: Duration,
    pub(crate) late: Option<OutputTag<T>>,
}

/// What comes of windows: those of [`WindowedStream`], with the fold `F`.
type Results<T, S, A, G, E, F> = DataStream<
    <F as WindowFold<<S as KeySelector<T>>::Key, <A as WindowAssigner<T>>::Window, T>>::Out,
    Keyed<
        T,
        Windows<
            T,
            S,
            A,
            G,
            <E as Eviction<T, <A as WindowAssigner<T>>::Window>>::Fold<<S as KeySelector<T>>::Key, F>,
        >,
    >,
>;

type ReduceThen<F, V> = Folded<Reduced<F>, Processed<V>>;
type AggregateThen<X, V> = Folded<Aggregated<X>, Processed<V>>;
type ReduceWith<F, V, O> = ReduceThen<F, ApplyOne<V, O>>;
type AggregateWith<X, V, O> = AggregateThen<X, ApplyOne<V, O>>;
type ListThen<V> = Folded<Listed, Processed<V>>;

impl<T, S, A, G, E> WindowedStream<T, S, A, G, E>
where
    T: Data,
    S: KeySelector<T>,
    S::Key: Sync,
    A: WindowAssigner<T>,
{
    /// Emits windows when `trigger` says so, instead of the assigner's default.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use streamkeeper_datastream::{OperatorHarness, window::{ContinuousEventTimeTrigger, TumblingEventTimeWindows}};
    /// // The sum of each hour so far, every 20 minutes.
    /// let mut sums = OperatorHarness::new(|numbers| {
    ///     numbers.key_by(|_: &i32| 0)
    ///         .window(TumblingEventTimeWindows::of(Duration::from_secs(3600)))
    ///         .trigger(ContinuousEventTimeTrigger::of(Duration::from_secs(1200)))
    ///         .reduce(|a, b| a + b)
    /// })?;
    /// let minute = 60_000;
    /// sums.push(1, 5 * minute)?;
    /// sums.watermark(20 * minute)?;
    /// sums.push(2, 30 * minute)?;
    /// sums.watermark(40 * minute)?;
    /// let sums: Vec<i32> = sums.take_records().into_iter().map(|(sum, _)| sum).collect();
    /// assert_eq!(sums, [1, 3]);
    /// # Ok::<(), streamkeeper_datastream::Error>(())
    /// ```
    pub fn trigger<H: Trigger<T, A::Window>>(self, trigger: H) -> WindowedStream<T, S, A, H, E> {
        let Self { stream, assigner, evictor, lateness, late, .. } = self;
        WindowedStream { stream, assigner, trigger, evictor, lateness, late }
    }

    /// Drops records of a window when it is emitted. All records of a window are kept then, even for a reduce.
    ///
    /// ```
    /// # use streamkeeper_datastream::{StreamExecutionEnvironment, window::{CountEvictor, CountTrigger, GlobalWindows}};
    /// let env = StreamExecutionEnvironment::new();
    /// // With every second number, the sum of the last three.
    /// let sums = env.from_collection(1..=6)
    ///     .key_by(|_| 0)
    ///     .window(GlobalWindows)
    ///     .trigger(CountTrigger::of(2))
    ///     .evictor(CountEvictor::of(3))
    ///     .reduce(|a, b| a + b)
    ///     .collect();
    /// env.execute("sums")?;
    /// assert_eq!(sums.take(), [1 + 2, 2 + 3 + 4, 4 + 5 + 6]);
    /// # Ok::<(), streamkeeper_datastream::Error>(())
    /// ```
    pub fn evictor<X: Evictor<T, A::Window>>(self, evictor: X) -> WindowedStream<T, S, A, G, Evict<X>> {
        let Self { stream, assigner, trigger, lateness, late, .. } = self;
        WindowedStream { stream, assigner, trigger, evictor: Evict(evictor), lateness, late }
    }

    /// How long after its end a window of event time still takes records. By default it is emitted again with each of them. Zero unless set.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use streamkeeper_datastream::{OperatorHarness, window::TumblingEventTimeWindows};
    /// let mut sums = OperatorHarness::new(|numbers| {
    ///     numbers.key_by(|_: &i32| 0)
    ///         .window(TumblingEventTimeWindows::of(Duration::from_millis(10)))
    ///         .allowed_lateness(Duration::from_millis(5))
    ///         .reduce(|a, b| a + b)
    /// })?;
    /// sums.push(1, 3)?;
    /// sums.watermark(9)?;
    /// sums.push(2, 4)?;
    /// sums.watermark(14)?;
    /// sums.push(4, 5)?;
    /// // At the window's end, and with the late record; the last one is too late.
    /// assert_eq!(sums.take_records(), [(1, 9), (3, 9)]);
    /// # Ok::<(), streamkeeper_datastream::Error>(())
    /// ```
    pub fn allowed_lateness(self, lateness: Duration) -> Self {
        Self { lateness, ..self }
    }

    /// Sends the records that come too late for all their windows to a side output, instead of dropping them.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use streamkeeper_datastream::{OutputTag, StreamExecutionEnvironment, window::GlobalWindows};
    /// # let env = StreamExecutionEnvironment::new();
    /// # let windowed = env.from_collection([1]).key_by(|_| 0).window(GlobalWindows);
    /// let late = OutputTag::new("late");
    /// let results = windowed
    ///     .allowed_lateness(Duration::from_secs(60))
    ///     .side_output_late_data(&late)
    ///     .reduce(|a, b| a + b)
    ///     .shared();
    /// let too_late = results.side_output(&late);
    /// ```
    pub fn side_output_late_data(self, tag: &OutputTag<T>) -> Self {
        Self { late: Some(tag.clone()), ..self }
    }
}

impl<T, S, A, G, E> WindowedStream<T, S, A, G, E>
where
    T: Data,
    S: KeySelector<T>,
    S::Key: Sync,
    A: WindowAssigner<T>,
    G: Trigger<T, A::Window>,
    E: Eviction<T, A::Window>,
{
    /// The operator that gathers by `fold`.
    pub(crate) fn fold<F>(self, kind: &'static str, fold: F) -> Results<T, S, A, G, E, F>
    where
        F: WindowFold<S::Key, A::Window, T>,
    {
        let stage = Windows {
            selector: self.stream.selector.clone(),
            assigner: self.assigner,
            trigger: self.trigger,
            fold: self.evictor.fold(fold),
            lateness: millis(self.lateness),
            late: self.late,
        };
        self.stream.then(kind, stage)
    }

    /// Combines the records of each window to one: only that one is kept.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use streamkeeper_datastream::{OperatorHarness, window::SlidingEventTimeWindows};
    /// let mut greatest = OperatorHarness::new(|numbers| {
    ///     numbers.key_by(|_: &i32| 0)
    ///         .window(SlidingEventTimeWindows::of(Duration::from_millis(10), Duration::from_millis(5)))
    ///         .reduce(i32::max)
    /// })?;
    /// greatest.push_all([(3, 1), (9, 6), (4, 12)])?;
    /// greatest.finish()?;
    /// // The windows from -5, 0, 5 and 10.
    /// assert_eq!(greatest.take_records(), [(3, 4), (9, 9), (9, 14), (4, 19)]);
    /// # Ok::<(), streamkeeper_datastream::Error>(())
    /// ```
    pub fn reduce<F>(self, function: F) -> Results<T, S, A, G, E, Folded<Reduced<F>, PassThrough>>
    where
        F: FnMut(T, T) -> T + Clone + Send + Sync + 'static,
    {
        self.fold("Window", Folded { gather: Reduced(function), function: PassThrough })
    }

    /// As [`WindowedStream::reduce`], with a closure that is told key and window.
    ///
    /// ```
    /// # use streamkeeper_datastream::StreamExecutionEnvironment;
    /// let env = StreamExecutionEnvironment::new();
    /// let sums = env.from_collection(1..=4)
    ///     .key_by(|n| n % 2)
    ///     .count_window(2)
    ///     .reduce_with(|a, b| a + b, |key, _window, sum, out| out.collect((*key, *sum)))
    ///     .collect();
    /// env.execute("sums")?;
    /// assert_eq!(sums.take(), [(1, 4), (0, 6)]);
    /// # Ok::<(), streamkeeper_datastream::Error>(())
    /// ```
    pub fn reduce_with<F, V, O>(self, function: F, window: V) -> Results<T, S, A, G, E, ReduceWith<F, V, O>>
    where
        O: Data,
        F: FnMut(T, T) -> T + Clone + Send + Sync + 'static,
        V: FnMut(&S::Key, &A::Window, &T, &mut Collector<O>) + Clone + Send + Sync + 'static,
    {
        self.reduce_process(function, ApplyOne::new(window))
    }

    /// As [`WindowedStream::reduce`], with a function that is given the one record of each window.
    pub fn reduce_process<F, V>(self, function: F, window: V) -> Results<T, S, A, G, E, ReduceThen<F, V>>
    where
        F: FnMut(T, T) -> T + Clone + Send + Sync + 'static,
        V: ProcessWindowFunction<S::Key, A::Window, T>,
    {
        self.fold("Window", Folded { gather: Reduced(function), function: Processed(window) })
    }

    /// Adds the records of each window to an accumulator: only that is kept. Emits the result, without the key, as Flink does.
    pub fn aggregate<X>(self, function: X) -> Results<T, S, A, G, E, Folded<Aggregated<X>, PassThrough>>
    where
        X: AggregateFunction<In = T>,
    {
        self.fold("Window", Folded { gather: Aggregated(function), function: PassThrough })
    }

    /// As [`WindowedStream::aggregate`], with a closure that is told key and window.
    ///
    /// ```
    /// # use streamkeeper_datastream::{AggregateFunction, StreamExecutionEnvironment};
    /// #[derive(Clone)]
    /// struct Count;
    ///
    /// impl AggregateFunction for Count {
    ///     type In = String;
    ///     type Accumulator = u64;
    ///     type Out = u64;
    ///
    ///     fn create_accumulator(&self) -> u64 {
    ///         0
    ///     }
    ///     fn add(&self, _: String, count: &mut u64) {
    ///         *count += 1;
    ///     }
    ///     fn result(&self, count: &u64) -> u64 {
    ///         *count
    ///     }
    ///     fn merge(&self, a: u64, b: u64) -> u64 {
    ///         a + b
    ///     }
    /// }
    ///
    /// let env = StreamExecutionEnvironment::new();
    /// let counts = env.from_collection(["a", "b", "a"].map(String::from))
    ///     .key_by(|word| word.clone())
    ///     .count_window(2)
    ///     .aggregate_with(Count, |word, _window, count, out| out.collect((word.clone(), *count)))
    ///     .collect();
    /// env.execute("counts")?;
    /// assert_eq!(counts.take(), [("a".to_owned(), 2)]);
    /// # Ok::<(), streamkeeper_datastream::Error>(())
    /// ```
    pub fn aggregate_with<X, V, O>(
        self,
        function: X,
        window: V,
    ) -> Results<T, S, A, G, E, AggregateWith<X, V, O>>
    where
        O: Data,
        X: AggregateFunction<In = T>,
        V: FnMut(&S::Key, &A::Window, &X::Out, &mut Collector<O>) + Clone + Send + Sync + 'static,
    {
        self.aggregate_process(function, ApplyOne::new(window))
    }

    /// As [`WindowedStream::aggregate`], with a function that is given the one result of each window.
    pub fn aggregate_process<X, V>(
        self,
        function: X,
        window: V,
    ) -> Results<T, S, A, G, E, AggregateThen<X, V>>
    where
        X: AggregateFunction<In = T>,
        V: ProcessWindowFunction<S::Key, A::Window, X::Out>,
    {
        self.fold("Window", Folded { gather: Aggregated(function), function: Processed(window) })
    }

    /// Keeps all records of each window, and gives them to the function.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use streamkeeper_datastream::{Collector, OperatorHarness, Result};
    /// # use streamkeeper_datastream::window::{EventTimeSessionWindows, ProcessWindowFunction, TimeWindow, WindowContext};
    /// /// How long each visit took, and how many pages were seen.
    /// #[derive(Clone)]
    /// struct Visit;
    ///
    /// impl ProcessWindowFunction<String, TimeWindow, (String, String)> for Visit {
    ///     type Out = (String, i64, usize);
    ///
    ///     fn process(
    ///         &mut self, user: &String, context: &mut WindowContext<'_, TimeWindow>, pages: &[(String, String)], out: &mut Collector<Self::Out>,
    ///     ) -> Result {
    ///         let TimeWindow { start, end } = *context.window();
    ///         out.collect((user.clone(), end - start, pages.len()));
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let mut visits = OperatorHarness::new(|pages| {
    ///     pages.key_by(|(user, _): &(String, String)| user.clone())
    ///         .window(EventTimeSessionWindows::with_gap(Duration::from_secs(60)))
    ///         .process(Visit)
    /// })?;
    /// for (second, page) in [(0, "/"), (20, "/shop"), (100, "/")] {
    ///     visits.push(("ann".to_owned(), page.to_owned()), second * 1_000)?;
    /// }
    /// visits.finish()?;
    /// let visits = visits.take_records();
    /// assert_eq!(visits, [(("ann".to_owned(), 80_000, 2), 79_999), (("ann".to_owned(), 60_000, 1), 159_999)]);
    /// # Ok::<(), streamkeeper_datastream::Error>(())
    /// ```
    pub fn process<V>(self, function: V) -> Results<T, S, A, G, E, ListThen<V>>
    where
        V: ProcessWindowFunction<S::Key, A::Window, T>,
    {
        self.fold("Window", Folded { gather: Listed, function: Processed(function) })
    }

    /// Keeps all records of each window, and gives them to a closure, with key and window.
    ///
    /// ```
    /// # use streamkeeper_datastream::StreamExecutionEnvironment;
    /// let env = StreamExecutionEnvironment::new();
    /// let pairs = env.from_collection(1..=4)
    ///     .key_by(|n| n % 2)
    ///     .count_window(2)
    ///     .apply(|_key, _window, numbers, out| out.collect((numbers[0], numbers[1])))
    ///     .collect();
    /// env.execute("pairs")?;
    /// assert_eq!(pairs.take(), [(1, 3), (2, 4)]);
    /// # Ok::<(), streamkeeper_datastream::Error>(())
    /// ```
    pub fn apply<V, O>(self, function: V) -> Results<T, S, A, G, E, ListThen<Apply<V, O>>>
    where
        O: Data,
        V: FnMut(&S::Key, &A::Window, &[T], &mut Collector<O>) + Clone + Send + Sync + 'static,
    {
        self.process(Apply::new(function))
    }
}
