//! Windowed streams: what can be done with the windows of a stream.

use std::time::Duration;

use super::fold::{Aggregated, Evict, Eviction, Folded, Listed, NoEvictor, Processed, Reduced};
use super::time_window::millis;
use super::{
    Apply, ApplyOne, CountEvictor, CountTrigger, Evictor, GlobalWindows, PassThrough, ProcessWindowFunction,
    PurgingTrigger, Trigger, WindowAssigner, WindowFold, Windows,
};
use crate::Data;
use crate::aggregate::AggregateFunction;
use crate::chain::Pipeline;
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

impl<T: Data, S: KeySelector<T>> KeyedStream<T, S>
where
    S::Key: Sync,
{
    /// Cuts the records of each key into windows.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use streamkeeper_datastream::{StreamExecutionEnvironment, WatermarkStrategy, window::TumblingEventTimeWindows};
    /// let env = StreamExecutionEnvironment::new();
    /// let landings = [("EWR", 10), ("JFK", 40), ("EWR", 50), ("EWR", 70)].map(|(to, minute)| (to.to_owned(), minute));
    /// let per_hour = env.from_collection(landings)
    ///     .assign_timestamps_and_watermarks(
    ///         WatermarkStrategy::for_monotonous_timestamps().with_timestamp_assigner(|(_, minute): &(String, i64), _| minute * 60_000),
    ///     )
    ///     .map(|(to, _)| (to, 1))
    ///     .key_by_ref(|(to, _)| to.as_str())
    ///     .window(TumblingEventTimeWindows::of(Duration::from_secs(3600)))
    ///     .reduce_with(|(to, a), (_, b)| (to, a + b), |to, window, (_, count), out| {
    ///         out.collect(format!("{count} to {to} from minute {}", window.start / 60_000));
    ///     })
    ///     .collect();
    /// env.execute("landings")?;
    /// let mut per_hour = per_hour.take();
    /// per_hour.sort();
    /// assert_eq!(per_hour, ["1 to EWR from minute 60", "1 to JFK from minute 0", "2 to EWR from minute 0"]);
    /// # Ok::<(), streamkeeper_datastream::Error>(())
    /// ```
    pub fn window<A: WindowAssigner<T>>(self, assigner: A) -> WindowedStream<T, S, A, A::DefaultTrigger> {
        let trigger = assigner.default_trigger();
        WindowedStream {
            stream: self,
            assigner,
            trigger,
            evictor: NoEvictor,
            lateness: Duration::ZERO,
            late: None,
        }
    }

    /// Windows of `size` records each. What is left at the end is not emitted.
    ///
    /// ```
    /// # use streamkeeper_datastream::StreamExecutionEnvironment;
    /// let env = StreamExecutionEnvironment::new();
    /// let sums = env.from_collection(1..=7).key_by(|n| n % 2).count_window(2).reduce(|a, b| a + b).collect();
    /// env.execute("pairs")?;
    /// assert_eq!(sums.take(), [4, 6, 12]);
    /// # Ok::<(), streamkeeper_datastream::Error>(())
    /// ```
    pub fn count_window(
        self,
        size: u64,
    ) -> WindowedStream<T, S, GlobalWindows, PurgingTrigger<CountTrigger>> {
        self.window(GlobalWindows).trigger(PurgingTrigger::of(CountTrigger::of(size)))
    }

    /// Windows of the last `size` records, one every `slide` records.
    ///
    /// ```
    /// # use streamkeeper_datastream::StreamExecutionEnvironment;
    /// let env = StreamExecutionEnvironment::new();
    /// let sums = env.from_collection(1..=6).key_by(|_| 0).count_window_sliding(3, 2).reduce(|a, b| a + b).collect();
    /// env.execute("the last three")?;
    /// assert_eq!(sums.take(), [1 + 2, 2 + 3 + 4, 4 + 5 + 6]);
    /// # Ok::<(), streamkeeper_datastream::Error>(())
    /// ```
    pub fn count_window_sliding(
        self,
        size: usize,
        slide: u64,
    ) -> WindowedStream<T, S, GlobalWindows, CountTrigger, Evict<CountEvictor>> {
        self.window(GlobalWindows).evictor(CountEvictor::of(size)).trigger(CountTrigger::of(slide))
    }
}

/// The one key of all records.
#[derive(Debug, Clone, Copy)]
pub struct AllKeys;

impl<T> KeySelector<T> for AllKeys {
    type Key = ();
    type Borrowed = ();

    #[inline]
    fn with<R>(&self, _: &T, with: impl FnOnce(&()) -> R) -> R {
        with(&())
    }
}

impl<T: Data, P: Pipeline<Out = T>> DataStream<T, P> {
    /// Cuts all records into windows, whatever their key: in one subtask. A window's function gets the key `()`.
    ///
    /// ```
    /// # use streamkeeper_datastream::{StreamExecutionEnvironment, window::{GlobalWindows, CountTrigger}};
    /// let env = StreamExecutionEnvironment::new();
    /// let sums = env.from_collection(1..=4)
    ///     .window_all(GlobalWindows)
    ///     .trigger(CountTrigger::of(2))
    ///     .apply(|_, _, numbers, out| out.collect(numbers.to_vec()))
    ///     .collect();
    /// env.execute("all")?;
    /// assert_eq!(sums.take(), [vec![1, 2], vec![1, 2, 3, 4]]);
    /// # Ok::<(), streamkeeper_datastream::Error>(())
    /// ```
    pub fn window_all<A: WindowAssigner<T>>(
        self,
        assigner: A,
    ) -> WindowedStream<T, AllKeys, A, A::DefaultTrigger> {
        let mut stream = self.key_by_selector(AllKeys);
        stream.from.parallelism = 1;
        stream.window(assigner)
    }
}

impl<T, S, A, G, E> WindowedStream<T, S, A, G, E>
where
    T: Data,
    S: KeySelector<T>,
    S::Key: Sync,
    A: WindowAssigner<T>,
{
    /// Emits windows when `trigger` says so, instead of the assigner's default.
    pub fn trigger<H: Trigger<T, A::Window>>(self, trigger: H) -> WindowedStream<T, S, A, H, E> {
        let Self { stream, assigner, evictor, lateness, late, .. } = self;
        WindowedStream { stream, assigner, trigger, evictor, lateness, late }
    }

    /// Drops records of a window when it is emitted. All records of a window are kept then, even for a reduce.
    pub fn evictor<X: Evictor<T, A::Window>>(self, evictor: X) -> WindowedStream<T, S, A, G, Evict<X>> {
        let Self { stream, assigner, trigger, lateness, late, .. } = self;
        WindowedStream { stream, assigner, trigger, evictor: Evict(evictor), lateness, late }
    }

    /// How long after its end a window of event time still takes records. By default it is emitted again with each of them. Zero unless set.
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
