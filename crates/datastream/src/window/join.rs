//! Joins of windows: the records of two streams that have the same key and are in the same window.
//!
//! Both streams are tagged, united and keyed, and go through the window operator as one.

use std::marker::PhantomData;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use streamkeeper_dataflow::time::Timestamp;

use super::fold::{Eviction, NoEvictor};
use super::{Evict, Evictor, Trigger, WindowAssigner, WindowContext, WindowFold, WindowedStream, Windows};
use crate::Data;
use crate::chain::Pipeline;
use crate::collector::Collector;
use crate::error::Result;
use crate::key::{Key, KeySelector};
use crate::keyed::Keyed;
use crate::side::OutputTag;
use crate::stream::DataStream;

/// A record of one of two streams: what assigners, triggers and evictors of a join see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tagged<A, B> {
    /// Of the stream on which the join was called.
    First(A),
    /// Of the other.
    Second(B),
}

/// The keys of both streams.
#[derive(Clone)]
pub struct UnionKey<F, G> {
    first: F,
    second: G,
}

impl<A, B, K, F, G> KeySelector<Tagged<A, B>> for UnionKey<F, G>
where
    K: Key,
    F: Fn(&A) -> K + Clone + Send + Sync + 'static,
    G: Fn(&B) -> K + Clone + Send + Sync + 'static,
{
    type Key = K;
    type Borrowed = K;

    #[inline]
    fn with<R>(&self, value: &Tagged<A, B>, with: impl FnOnce(&K) -> R) -> R {
        match value {
            Tagged::First(value) => with(&(self.first)(value)),
            Tagged::Second(value) => with(&(self.second)(value)),
        }
    }
}

/// Which function ends the description.
#[derive(Debug, Clone, Copy)]
pub struct Join;

/// Which function ends the description.
#[derive(Debug, Clone, Copy)]
pub struct CoGroup;

/// Two streams that are to be joined by key and window; `H` says how.
pub struct TwoStreams<A: Data, B: Data, H> {
    first: DataStream<A>,
    second: DataStream<B>,
    how: PhantomData<H>,
}

/// Two streams that are to be joined.
pub type JoinedStreams<A, B> = TwoStreams<A, B, Join>;

/// Two streams that are to be grouped.
pub type CoGroupedStreams<A, B> = TwoStreams<A, B, CoGroup>;

/// Two streams, and the key of the first.
pub struct Where<A: Data, B: Data, F, H> {
    streams: TwoStreams<A, B, H>,
    key: F,
}

/// Two streams, and the keys of both.
pub struct EqualTo<A: Data, B: Data, F, G, H> {
    streams: TwoStreams<A, B, H>,
    keys: UnionKey<F, G>,
}

impl<T: Data, P: Pipeline<Out = T>> DataStream<T, P> {
    /// Joins with another stream: each pair of records that have the same key and are in the same window.
    ///
    /// ```
    /// # use streamkeeper_datastream::{StreamExecutionEnvironment, window::{CountTrigger, GlobalWindows}};
    /// let env = StreamExecutionEnvironment::new();
    /// let prices = env.from_collection([("apple", 3), ("pear", 2)].map(|(name, n)| (name.to_owned(), n)));
    /// let colours = env.from_collection([("apple", "red")].map(|(name, colour)| (name.to_owned(), colour.to_owned())));
    /// let joined = prices
    ///     .join(colours)
    ///     .where_(|(name, _)| name.clone())
    ///     .equal_to(|(name, _)| name.clone())
    ///     .window(GlobalWindows)
    ///     .trigger(CountTrigger::of(2))
    ///     .apply(|(name, price), (_, colour)| (name.clone(), *price, colour.clone()))
    ///     .collect();
    /// env.execute("join")?;
    /// assert_eq!(joined.take(), [("apple".to_owned(), 3, "red".to_owned())]);
    /// # Ok::<(), streamkeeper_datastream::Error>(())
    /// ```
    pub fn join<B: Data, Q: Pipeline<Out = B>>(self, other: DataStream<B, Q>) -> JoinedStreams<T, B> {
        TwoStreams { first: self.shared(), second: other.shared(), how: PhantomData }
    }

    /// Groups with another stream: all records of both that have the same key and are in the same window, also where one has none.
    ///
    /// ```
    /// # use streamkeeper_datastream::{StreamExecutionEnvironment, window::{CountTrigger, GlobalWindows}};
    /// let env = StreamExecutionEnvironment::new();
    /// let orders = env.from_collection([(1, 10), (1, 20)]);
    /// let payments = env.from_collection([(1, 30)]);
    /// let balances = orders
    ///     .co_group(payments)
    ///     .where_(|(customer, _)| *customer)
    ///     .equal_to(|(customer, _)| *customer)
    ///     .window(GlobalWindows)
    ///     .trigger(CountTrigger::of(3))
    ///     .apply(|orders, payments, out| {
    ///         let sum = |amounts: &[(i64, i64)]| amounts.iter().map(|(_, amount)| amount).sum::<i64>();
    ///         out.collect(sum(payments) - sum(orders));
    ///     })
    ///     .collect();
    /// env.execute("co-group")?;
    /// assert_eq!(balances.take(), [0]);
    /// # Ok::<(), streamkeeper_datastream::Error>(())
    /// ```
    pub fn co_group<B: Data, Q: Pipeline<Out = B>>(self, other: DataStream<B, Q>) -> CoGroupedStreams<T, B> {
        TwoStreams { first: self.shared(), second: other.shared(), how: PhantomData }
    }
}

impl<A: Data, B: Data, H> TwoStreams<A, B, H> {
    /// The key of the first stream's records.
    pub fn where_<K: Key, F>(self, key: F) -> Where<A, B, F, H>
    where
        F: Fn(&A) -> K + Clone + Send + Sync + 'static,
    {
        Where { streams: self, key }
    }
}

impl<A: Data, B: Data, F, H> Where<A, B, F, H> {
    /// The key of the second stream's records.
    pub fn equal_to<K: Key, G>(self, key: G) -> EqualTo<A, B, F, G, H>
    where
        F: Fn(&A) -> K,
        G: Fn(&B) -> K + Clone + Send + Sync + 'static,
    {
        EqualTo { streams: self.streams, keys: UnionKey { first: self.key, second: key } }
    }
}

impl<A: Data, B: Data, K, F, G, H> EqualTo<A, B, F, G, H>
where
    K: Key + Sync,
    F: Fn(&A) -> K + Clone + Send + Sync + 'static,
    G: Fn(&B) -> K + Clone + Send + Sync + 'static,
{
    /// Cuts both streams into windows.
    pub fn window<W>(
        self,
        assigner: W,
    ) -> WithWindow<A, B, UnionKey<F, G>, W, W::DefaultTrigger, NoEvictor, H>
    where
        W: WindowAssigner<Tagged<A, B>>,
    {
        let TwoStreams { first, second, .. } = self.streams;
        let both = first.map(Tagged::First).union(second.map(Tagged::Second));
        let windowed = both.key_by_selector(self.keys).window(assigner);
        WithWindow { windowed, how: PhantomData }
    }
}

/// The windows of two streams. See [`WindowedStream`] for the settings.
pub struct WithWindow<A: Data, B: Data, S: KeySelector<Tagged<A, B>>, W, G, E, H> {
    windowed: WindowedStream<Tagged<A, B>, S, W, G, E>,
    how: PhantomData<H>,
}

impl<A, B, S, W, G, E, H> WithWindow<A, B, S, W, G, E, H>
where
    A: Data,
    B: Data,
    S: KeySelector<Tagged<A, B>>,
    S::Key: Sync,
    W: WindowAssigner<Tagged<A, B>>,
{
    /// As [`WindowedStream::trigger`].
    pub fn trigger<X>(self, trigger: X) -> WithWindow<A, B, S, W, X, E, H>
    where
        X: Trigger<Tagged<A, B>, W::Window>,
    {
        WithWindow { windowed: self.windowed.trigger(trigger), how: PhantomData }
    }

    /// As [`WindowedStream::evictor`].
    pub fn evictor<X>(self, evictor: X) -> WithWindow<A, B, S, W, G, Evict<X>, H>
    where
        X: Evictor<Tagged<A, B>, W::Window>,
    {
        WithWindow { windowed: self.windowed.evictor(evictor), how: PhantomData }
    }

    /// As [`WindowedStream::allowed_lateness`].
    pub fn allowed_lateness(self, lateness: Duration) -> Self {
        Self { windowed: self.windowed.allowed_lateness(lateness), ..self }
    }

    /// As [`WindowedStream::side_output_late_data`].
    pub fn side_output_late_data(self, tag: &OutputTag<Tagged<A, B>>) -> Self {
        Self { windowed: self.windowed.side_output_late_data(tag), ..self }
    }
}

/// What comes of the windows of two streams, with the function `F`.
type TwoResults<A, B, S, W, G, E, F, O> = DataStream<
    O,
    Keyed<
        Tagged<A, B>,
        Windows<
            Tagged<A, B>,
            S,
            W,
            G,
            <E as Eviction<Tagged<A, B>, <W as WindowAssigner<Tagged<A, B>>>::Window>>::Fold<
                <S as KeySelector<Tagged<A, B>>>::Key,
                Both<F, O>,
            >,
        >,
    >,
>;

impl<A, B, S, W, G, E> WithWindow<A, B, S, W, G, E, Join>
where
    A: Data,
    B: Data,
    S: KeySelector<Tagged<A, B>>,
    S::Key: Sync,
    W: WindowAssigner<Tagged<A, B>>,
    G: Trigger<Tagged<A, B>, W::Window>,
    E: Eviction<Tagged<A, B>, W::Window>,
{
    /// Makes a record of each pair of records of a key in a window. A record without a partner gives nothing.
    pub fn apply<O, F>(self, function: F) -> TwoResults<A, B, S, W, G, E, Pairs<F>, O>
    where
        O: Data,
        F: FnMut(&A, &B) -> O + Clone + Send + Sync + 'static,
    {
        self.windowed.fold("Window Join", Both { function: Pairs(function), out: PhantomData })
    }

    /// As [`WithWindow::apply`], for a function that makes any number of records of a pair: Flink's `FlatJoinFunction`.
    pub fn apply_with<O, F>(self, function: F) -> TwoResults<A, B, S, W, G, E, PairsWith<F>, O>
    where
        O: Data,
        F: FnMut(&A, &B, &mut Collector<O>) + Clone + Send + Sync + 'static,
    {
        self.windowed.fold("Window Join", Both { function: PairsWith(function), out: PhantomData })
    }
}

impl<A, B, S, W, G, E> WithWindow<A, B, S, W, G, E, CoGroup>
where
    A: Data,
    B: Data,
    S: KeySelector<Tagged<A, B>>,
    S::Key: Sync,
    W: WindowAssigner<Tagged<A, B>>,
    G: Trigger<Tagged<A, B>, W::Window>,
    E: Eviction<Tagged<A, B>, W::Window>,
{
    /// Gives the records of a key in a window to a closure: those of the first stream, and those of the second.
    pub fn apply<O, F>(self, function: F) -> TwoResults<A, B, S, W, G, E, Groups<F>, O>
    where
        O: Data,
        F: FnMut(&[A], &[B], &mut Collector<O>) + Clone + Send + Sync + 'static,
    {
        self.windowed.fold("Window CoGroup", Both { function: Groups(function), out: PhantomData })
    }
}

/// Makes results of the records of both streams.
pub trait BothFn<A, B, O>: Clone + Send + Sync + 'static {
    /// Called for a key in a window.
    fn call(&mut self, first: &[A], second: &[B], out: &mut Collector<O>);
}

/// A function of each pair.
#[derive(Debug, Clone, Copy)]
pub struct Pairs<F>(F);

impl<A, B, O, F: FnMut(&A, &B) -> O + Clone + Send + Sync + 'static> BothFn<A, B, O> for Pairs<F> {
    fn call(&mut self, first: &[A], second: &[B], out: &mut Collector<O>) {
        for a in first {
            second.iter().for_each(|b| out.collect((self.0)(a, b)));
        }
    }
}

/// A function of each pair that emits what it wants.
#[derive(Debug, Clone, Copy)]
pub struct PairsWith<F>(F);

impl<A, B, O, F> BothFn<A, B, O> for PairsWith<F>
where
    F: FnMut(&A, &B, &mut Collector<O>) + Clone + Send + Sync + 'static,
{
    fn call(&mut self, first: &[A], second: &[B], out: &mut Collector<O>) {
        for a in first {
            second.iter().for_each(|b| (self.0)(a, b, out));
        }
    }
}

/// A function of all records.
#[derive(Debug, Clone, Copy)]
pub struct Groups<F>(F);

impl<A, B, O, F> BothFn<A, B, O> for Groups<F>
where
    F: FnMut(&[A], &[B], &mut Collector<O>) + Clone + Send + Sync + 'static,
{
    fn call(&mut self, first: &[A], second: &[B], out: &mut Collector<O>) {
        (self.0)(first, second, out);
    }
}

/// The records of both streams in a window, each in the order in which they came.
pub struct Both<F, O> {
    function: F,
    out: PhantomData<fn() -> O>,
}

impl<F: Clone, O> Clone for Both<F, O> {
    fn clone(&self) -> Self {
        Self { function: self.function.clone(), out: PhantomData }
    }
}

impl<K, W, A, B, O, F> WindowFold<K, W, Tagged<A, B>> for Both<F, O>
where
    A: Data,
    B: Data,
    O: Data,
    F: BothFn<A, B, O>,
{
    type Contents = (Vec<A>, Vec<B>);
    type Out = O;

    #[inline]
    fn add(&mut self, contents: &mut Option<Self::Contents>, value: Tagged<A, B>, _: Timestamp) {
        let (first, second) = contents.get_or_insert_default();
        match value {
            Tagged::First(value) => first.push(value),
            Tagged::Second(value) => second.push(value),
        }
    }

    fn merge(&mut self, mut a: Self::Contents, b: Self::Contents) -> Self::Contents {
        a.0.extend(b.0);
        a.1.extend(b.1);
        a
    }

    fn fire(
        &mut self,
        _: &K,
        _: &mut WindowContext<'_, W>,
        contents: &mut Option<Self::Contents>,
        keep: bool,
        out: &mut Collector<O>,
    ) -> Result {
        let (first, second) = contents.as_ref().map_or((&[][..], &[][..]), |(a, b)| (a, b));
        self.function.call(first, second, out);
        contents.take_if(|_| !keep);
        Ok(())
    }
}
