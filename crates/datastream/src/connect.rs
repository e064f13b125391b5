//! Two streams of different types, read by one operator: Flink's `connect`.
//!
//! Invariant: the order of each input is kept; between the two there is none.

use std::rc::Rc;

use streamkeeper_dataflow::OperatorResult;
use streamkeeper_dataflow::batch::Either;
use streamkeeper_dataflow::graph::Exchange;
use streamkeeper_dataflow::time::Timestamp;

use crate::Data;
use crate::begin::{FromPorts, FromTwo};
use crate::chain::{Logic, Pipeline, Push, Stage, Then};
use crate::co_process::{Co, CoProcessFunction, KeyedCoProcessFunction};
use crate::env::Topology;
use crate::key::{BothKeys, KeyFn, KeySelector};
use crate::keyed::KeyedStream;
use crate::process::{KeyedProcess, Process};
use crate::stream::DataStream;

/// What `Left`, a stream or a keyed stream, can be connected with.
#[diagnostic::on_unimplemented(
    message = "`{Left}` cannot be connected with `{Self}`",
    label = "not connectable",
    note = "a stream is connected with a stream or with broadcast state; a keyed stream with broadcast state or with a keyed stream whose key has the same type"
)]
pub trait Connect<Left> {
    /// Both together.
    type Connected;

    /// Both together, `left` first.
    fn after(self, left: Left) -> Self::Connected;
}

impl<A: Data, B: Data, Q: Pipeline<Out = B>> Connect<DataStream<A>> for DataStream<B, Q> {
    type Connected = ConnectedStreams<A, B>;

    fn after(self, left: DataStream<A>) -> ConnectedStreams<A, B> {
        let (_, second) = self.close();
        ConnectedStreams { topology: left.topology, first: left.pipeline, second }
    }
}

impl<A, B, S1, S2> Connect<KeyedStream<A, S1>> for KeyedStream<B, S2>
where
    A: Data,
    B: Data,
    S1: KeySelector<A>,
    S2: KeySelector<B, Key = S1::Key>,
{
    type Connected = KeyedConnectedStreams<A, B, S1, S2>;

    fn after(self, left: KeyedStream<A, S1>) -> Self::Connected {
        let keys = BothKeys(left.selector, self.selector);
        KeyedConnectedStreams { topology: left.topology, from: left.from.and(self.from), keys }
    }
}

impl<A: Data, P: Pipeline<Out = A>> DataStream<A, P> {
    /// Brings the stream together with another of any type, for an operator that reads both; or with broadcast state
    /// ([`DataStream::broadcast_state`]), for one whose rules change while it runs.
    ///
    /// ```
    /// # use streamkeeper_datastream::StreamExecutionEnvironment;
    /// let env = StreamExecutionEnvironment::new();
    /// let numbers = env.from_collection([1, 2]);
    /// let words = env.from_collection(["a"].map(String::from));
    /// let all = numbers.connect(words).map(|n| n.to_string(), |word| word).collect();
    /// env.execute("connect")?;
    /// let mut all = all.take();
    /// all.sort();
    /// assert_eq!(all, ["1", "2", "a"]);
    /// # Ok::<(), streamkeeper_datastream::Error>(())
    /// ```
    pub fn connect<C: Connect<DataStream<A>>>(self, other: C) -> C::Connected {
        other.after(self.shared())
    }
}

impl<A: Data, S: KeySelector<A>> KeyedStream<A, S> {
    /// Brings the stream together with another that has the same keys, for an operator whose state both inputs share; or
    /// with broadcast state ([`DataStream::broadcast_state`]).
    ///
    /// See [`KeyedCoProcessFunction`] for an example.
    pub fn connect<C: Connect<Self>>(self, other: C) -> C::Connected {
        other.after(self)
    }
}

/// Two streams for one operator.
pub struct ConnectedStreams<A: Data, B: Data> {
    topology: Rc<Topology>,
    first: FromPorts<A>,
    second: FromPorts<B>,
}

/// An operator with two inputs, at the beginning of its task.
pub type Two<A, B, G> = Then<FromTwo<A, B>, G>;

impl<A: Data, B: Data> ConnectedStreams<A, B> {
    fn then<G>(self, kind: &'static str, stage: G) -> DataStream<G::Out, Two<A, B, G>>
    where
        G: Stage<Either<A, B>>,
    {
        let same = self.first.parallelism == self.second.parallelism;
        let parallelism = if same { self.first.parallelism } else { self.topology.parallelism.get() };
        let from = FromTwo { parallelism, ..self.first.and(self.second) };
        DataStream::new(self.topology, from).then(kind, stage)
    }

    /// Transforms each record, those of the first stream by `first`, those of the second by `second`.
    ///
    /// See [`DataStream::connect`] for an example.
    pub fn map<O, F1, F2>(self, first: F1, second: F2) -> DataStream<O, Two<A, B, CoMap<F1, F2>>>
    where
        O: Data,
        F1: FnMut(A) -> O + Clone + Send + Sync + 'static,
        F2: FnMut(B) -> O + Clone + Send + Sync + 'static,
    {
        self.then("Co-Map", CoMap(first, second))
    }

    /// Makes any number of records of each.
    ///
    /// ```
    /// # use streamkeeper_datastream::StreamExecutionEnvironment;
    /// let env = StreamExecutionEnvironment::new();
    /// let lines = env.from_collection(["to be"].map(String::from));
    /// let counts = env.from_collection([2usize]);
    /// let words = lines
    ///     .connect(counts)
    ///     .flat_map(
    ///         |line| line.split(' ').map(String::from).collect::<Vec<_>>(),
    ///         |count| std::iter::repeat_n("?".to_owned(), count),
    ///     )
    ///     .collect();
    /// env.execute("flat map")?;
    /// let mut words = words.take();
    /// words.sort();
    /// assert_eq!(words, ["?", "?", "be", "to"]);
    /// # Ok::<(), streamkeeper_datastream::Error>(())
    /// ```
    pub fn flat_map<O, V1, V2, F1, F2>(
        self,
        first: F1,
        second: F2,
    ) -> DataStream<O, Two<A, B, CoFlatMap<F1, F2>>>
    where
        O: Data,
        V1: IntoIterator<Item = O> + 'static,
        V2: IntoIterator<Item = O> + 'static,
        F1: FnMut(A) -> V1 + Clone + Send + Sync + 'static,
        F2: FnMut(B) -> V2 + Clone + Send + Sync + 'static,
    {
        self.then("Co-Flat Map", CoFlatMap(first, second))
    }

    /// Applies a function that can ask for times and emit to side outputs.
    ///
    /// See [`CoProcessFunction`] for an example.
    #[expect(clippy::type_complexity, reason = "it is not written down by hand")]
    pub fn process<F: CoProcessFunction<A, B>>(
        self,
        function: F,
    ) -> DataStream<F::Out, Two<A, B, Process<Co<F>>>> {
        self.then("Co-Process", Process(Co(function)))
    }

    /// Brings together the records with the same key, of both streams: they go to the same subtask, and share state.
    pub fn key_by<K, F1, F2>(self, first: F1, second: F2) -> KeyedConnectedStreams<A, B, KeyFn<F1>, KeyFn<F2>>
    where
        F1: Fn(&A) -> K + Clone + Send + Sync + 'static,
        F2: Fn(&B) -> K + Clone + Send + Sync + 'static,
        KeyFn<F1>: KeySelector<A, Key = K>,
        KeyFn<F2>: KeySelector<B, Key = K>,
    {
        let parallelism = self.topology.parallelism.get();
        let keys = BothKeys(KeyFn(first), KeyFn(second));
        let first = self.first.dealt(&Exchange::Hash(crate::key::exchange(&keys.0)), parallelism);
        let second = self.second.dealt(&Exchange::Hash(crate::key::exchange(&keys.1)), parallelism);
        KeyedConnectedStreams { topology: self.topology, from: first.and(second), keys }
    }
}

/// Two streams with the same keys for one operator.
pub struct KeyedConnectedStreams<A: Data, B: Data, S1, S2> {
    pub(crate) topology: Rc<Topology>,
    pub(crate) from: FromTwo<A, B>,
    pub(crate) keys: BothKeys<S1, S2>,
}

/// A keyed operator with two inputs, at the beginning of its task.
pub type KeyedTwo<A, B, F, S1, S2> = Two<A, B, KeyedProcess<Co<F>, BothKeys<S1, S2>>>;

impl<A, B, S1, S2> KeyedConnectedStreams<A, B, S1, S2>
where
    A: Data,
    B: Data,
    S1: KeySelector<A>,
    S1::Key: Sync,
    S2: KeySelector<B, Key = S1::Key>,
{
    /// Applies a function with state and timers that both inputs share.
    ///
    /// See [`KeyedCoProcessFunction`] for an example.
    pub fn process<F>(self, function: F) -> DataStream<F::Out, KeyedTwo<A, B, F, S1, S2>>
    where
        F: KeyedCoProcessFunction<S1::Key, A, B>,
    {
        self.operator("Co-Keyed-Process", function)
    }

    pub(crate) fn operator<F>(
        self,
        kind: &'static str,
        function: F,
    ) -> DataStream<F::Out, KeyedTwo<A, B, F, S1, S2>>
    where
        F: KeyedCoProcessFunction<S1::Key, A, B>,
    {
        let stage = KeyedProcess { function: Co(function), selector: self.keys };
        DataStream::new(self.topology, self.from).then(kind, stage)
    }
}

/// One record for each.
#[derive(Clone)]
pub struct CoMap<F1, F2>(F1, F2);

impl<A: 'static, B: 'static, O, F1, F2> Stage<Either<A, B>> for CoMap<F1, F2>
where
    O: Data,
    F1: FnMut(A) -> O + Clone + Send + Sync + 'static,
    F2: FnMut(B) -> O + Clone + Send + Sync + 'static,
{
    type Out = O;
    type Logic = Self;

    fn logic(&self) -> Self {
        self.clone()
    }
}

impl<A, B, O, F1: FnMut(A) -> O, F2: FnMut(B) -> O> Logic<Either<A, B>> for CoMap<F1, F2> {
    type Out = O;

    #[inline]
    fn element<N: Push<O>>(
        &mut self,
        value: Either<A, B>,
        timestamp: Timestamp,
        next: &mut N,
    ) -> OperatorResult<()> {
        let value = match value {
            Either::First(value) => (self.0)(value),
            Either::Second(value) => (self.1)(value),
        };
        next.push(value, timestamp)
    }
}

/// Any number of records for each.
#[derive(Clone)]
pub struct CoFlatMap<F1, F2>(F1, F2);

impl<A: 'static, B: 'static, O, V1, V2, F1, F2> Stage<Either<A, B>> for CoFlatMap<F1, F2>
where
    O: Data,
    V1: IntoIterator<Item = O> + 'static,
    V2: IntoIterator<Item = O> + 'static,
    F1: FnMut(A) -> V1 + Clone + Send + Sync + 'static,
    F2: FnMut(B) -> V2 + Clone + Send + Sync + 'static,
{
    type Out = O;
    type Logic = Self;

    fn logic(&self) -> Self {
        self.clone()
    }
}

impl<A, B, O, V1, V2, F1, F2> Logic<Either<A, B>> for CoFlatMap<F1, F2>
where
    V1: IntoIterator<Item = O>,
    V2: IntoIterator<Item = O>,
    F1: FnMut(A) -> V1,
    F2: FnMut(B) -> V2,
{
    type Out = O;

    #[inline]
    fn element<N: Push<O>>(
        &mut self,
        value: Either<A, B>,
        timestamp: Timestamp,
        next: &mut N,
    ) -> OperatorResult<()> {
        match value {
            Either::First(value) => (self.0)(value).into_iter().try_for_each(|v| next.push(v, timestamp)),
            Either::Second(value) => (self.1)(value).into_iter().try_for_each(|v| next.push(v, timestamp)),
        }
    }
}
