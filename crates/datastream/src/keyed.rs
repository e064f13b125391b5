//! Keyed streams: records with the same key meet in one subtask, and share state.

use std::marker::PhantomData;
use std::rc::Rc;

use streamkeeper_dataflow::OperatorResult;
use streamkeeper_dataflow::element::CheckpointId;
use streamkeeper_dataflow::key_group::key_group;
use streamkeeper_dataflow::keyed_state::KeyedState;
use streamkeeper_dataflow::operator::OperatorContext;
use streamkeeper_dataflow::state::SnapshotFn;
use streamkeeper_dataflow::time::Timestamp;

use crate::Data;
use crate::aggregate::AggregateFunction;
use crate::begin::FromPorts;
use crate::chain::{Logic, Push, Stage, Then};
use crate::env::Topology;
use crate::key::{Key, KeyHash, KeySelector};
use crate::process::{KeyedProcess, KeyedProcessFunction};
use crate::state::fingerprint;
use crate::stream::DataStream;

/// A stream whose records have keys.
pub struct KeyedStream<T: Data, S: KeySelector<T>> {
    pub(crate) topology: Rc<Topology>,
    pub(crate) from: FromPorts<T>,
    pub(crate) selector: S,
}

impl<T: Data, S: KeySelector<T>> Clone for KeyedStream<T, S> {
    fn clone(&self) -> Self {
        Self { topology: self.topology.clone(), from: self.from.clone(), selector: self.selector.clone() }
    }
}

/// Name of the state of a rolling fold.
const VALUE: &str = "value";

/// A keyed operator at the beginning of its task.
pub type Keyed<T, G> = Then<FromPorts<T>, G>;

impl<T: Data, S: KeySelector<T>> KeyedStream<T, S>
where
    S::Key: Sync,
{
    /// The first operator of the task that takes the keyed records.
    pub(crate) fn then<G: Stage<T>>(self, kind: &'static str, stage: G) -> DataStream<G::Out, Keyed<T, G>> {
        DataStream::new(self.topology, self.from).then(kind, stage)
    }

    /// Combines each record with what came before it for its key, and emits the result: Flink's rolling reduce.
    ///
    /// ```
    /// # use streamkeeper_datastream::StreamExecutionEnvironment;
    /// let env = StreamExecutionEnvironment::new();
    /// let sums = env.from_collection([("a", 1), ("b", 5), ("a", 2)].map(|(k, v)| (k.to_owned(), v)))
    ///     .key_by_ref(|(key, _)| key.as_str())
    ///     .reduce(|(key, a), (_, b)| (key, a + b))
    ///     .collect();
    /// env.execute("sums")?;
    /// assert_eq!(sums.take(), [("a".to_owned(), 1), ("b".to_owned(), 5), ("a".to_owned(), 3)]);
    /// # Ok::<(), streamkeeper_datastream::Error>(())
    /// ```
    pub fn reduce<F>(self, function: F) -> DataStream<T, Keyed<T, Rolling<Reduce<F>, S>>>
    where
        F: FnMut(T, T) -> T + Clone + Send + Sync + 'static,
    {
        let selector = self.selector.clone();
        self.then("Keyed Reduce", Rolling { fold: Reduce(function), selector })
    }

    /// Adds each record to its key's accumulator, and emits key and result.
    #[expect(clippy::type_complexity, reason = "it is not written down by hand")]
    pub fn aggregate<A>(self, function: A) -> DataStream<(S::Key, A::Out), Keyed<T, Rolling<Aggregate<A>, S>>>
    where
        A: AggregateFunction<In = T>,
    {
        let selector = self.selector.clone();
        self.then("Keyed Aggregation", Rolling { fold: Aggregate(function), selector })
    }

    /// Applies a function with state and timers.
    pub fn process<F>(self, function: F) -> DataStream<F::Out, Keyed<T, KeyedProcess<F, S>>>
    where
        F: KeyedProcessFunction<S::Key, T>,
    {
        let selector = self.selector.clone();
        self.then("KeyedProcess", KeyedProcess { function, selector })
    }
}

/// How one record changes its key's value.
pub trait Fold<K, T>: Clone + Send + Sync + 'static {
    /// What is kept per key.
    type Value: Data;
    /// What is emitted after each record.
    type Out: Data;

    /// The value of a key without records.
    fn empty(&self) -> Self::Value;

    /// Adds `record` to the value, and returns what is emitted.
    fn fold(&mut self, key: &K, value: &mut Self::Value, record: T) -> Self::Out;
}

/// The fold of a reduce function.
#[derive(Clone)]
pub struct Reduce<F>(F);

impl<K, T: Data, F> Fold<K, T> for Reduce<F>
where
    F: FnMut(T, T) -> T + Clone + Send + Sync + 'static,
{
    /// It is taken out only while it is reduced.
    type Value = Option<T>;
    type Out = T;

    fn empty(&self) -> Option<T> {
        None
    }

    #[inline]
    fn fold(&mut self, _: &K, value: &mut Option<T>, record: T) -> T {
        let reduced = match value.take() {
            Some(so_far) => (self.0)(so_far, record),
            None => record,
        };
        value.insert(reduced).clone()
    }
}

/// The fold of an [`AggregateFunction`].
#[derive(Clone)]
pub struct Aggregate<A>(A);

impl<K: Key, T: Data, A: AggregateFunction<In = T>> Fold<K, T> for Aggregate<A> {
    type Value = A::Accumulator;
    type Out = (K, A::Out);

    fn empty(&self) -> A::Accumulator {
        self.0.create_accumulator()
    }

    #[inline]
    fn fold(&mut self, key: &K, accumulator: &mut A::Accumulator, record: T) -> (K, A::Out) {
        self.0.add(record, accumulator);
        (key.clone(), self.0.result(accumulator))
    }
}

/// The stage of a rolling fold.
#[derive(Clone)]
pub struct Rolling<G, S> {
    fold: G,
    selector: S,
}

/// A rolling fold at work. It needs no slots: its one value is kept with the key.
pub struct RollingLogic<T, G: Fold<S::Key, T>, S: KeySelector<T>> {
    fold: G,
    selector: S,
    values: KeyedState<S::Key, G::Value>,
    max_parallelism: u16,
    records: PhantomData<fn(T)>,
}

impl<T: Data, S: KeySelector<T>, G: Fold<S::Key, T>> Stage<T> for Rolling<G, S>
where
    S::Key: Sync,
{
    type Out = G::Out;
    type Logic = RollingLogic<T, G, S>;

    fn logic(&self) -> Self::Logic {
        RollingLogic {
            fold: self.fold.clone(),
            selector: self.selector.clone(),
            values: KeyedState::default(),
            max_parallelism: 1,
            records: PhantomData,
        }
    }
}

impl<T: Data, S: KeySelector<T>, G: Fold<S::Key, T>> RollingLogic<T, G, S> {
    /// What the checkpoint says of the types.
    fn shape() -> String {
        format!("fold by {}: {}", fingerprint::<S::Key>(), fingerprint::<G::Value>())
    }
}

impl<T: Data, S: KeySelector<T>, G: Fold<S::Key, T>> Logic<T> for RollingLogic<T, G, S>
where
    S::Key: Sync,
{
    type Out = G::Out;

    fn open(&mut self, context: &OperatorContext) -> OperatorResult<()> {
        self.max_parallelism = context.max_parallelism;
        self.values = KeyedState::restore(VALUE, &Self::shape(), &context.restored)?;
        Ok(())
    }

    #[inline]
    fn element<N: Push<G::Out>>(
        &mut self,
        record: T,
        timestamp: Timestamp,
        next: &mut N,
    ) -> OperatorResult<()> {
        let Self { fold, selector, values, .. } = self;
        let (key, value) = selector.with(&record, |key| values.entry(key, || fold.empty()));
        let out = fold.fold(key, value, record);
        next.push(out, timestamp)
    }

    fn snapshot(&mut self, _: CheckpointId) -> OperatorResult<Option<SnapshotFn>> {
        let max = self.max_parallelism;
        let key_group = move |key: &S::Key| key_group(key.key_hash(), max);
        Ok(Some(self.values.snapshot(VALUE, Self::shape(), key_group)))
    }
}
