//! Data streams: what a job is written with.

use std::any::Any;
use std::cell::RefCell;
use std::fmt::Display;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use streamkeeper_dataflow::batch::Records;
use streamkeeper_dataflow::exchange::Partitioner;
use streamkeeper_dataflow::graph::{Exchange, OperatorNode};
use streamkeeper_dataflow::sink::{Sink, node};

use crate::Data;
use crate::begin::{FromPorts, FromSource, Upstream};
use crate::chain::{Begin, OperatorMeta, Pipeline, Stage, Then};
use crate::collector::Collector;
use crate::env::Topology;
use crate::error::Result;
use crate::key::{KeyFn, KeyHash, KeyRef, KeySelector};
use crate::keyed::KeyedStream;
use crate::partition::{Global, PartitionFn, Shuffle};
use crate::process::{Process, ProcessFunction};
use crate::side::OutputTag;
use crate::sink::{Collected, Discard, Print};
use crate::stages::{Filter, FlatMap, FlatMapWith, Inspect, Map, TryMap};
use crate::watermark::{TimestampAssigner, WatermarkGenerator, WatermarkStrategy};

/// A stream of records of type `T`.
///
/// `P` is the task that produces it as far as it is known: each operator adds to it, so that a chain of operators is compiled
/// as one. It is not written down by hand: a function takes `DataStream<T, impl Pipeline<Out = T>>`. A stream whose task is complete, after
/// [`DataStream::shared`], is just `DataStream<T>`; it can be cloned, and read by several operators.
pub struct DataStream<T: Data, P: Pipeline<Out = T> = FromPorts<T>> {
    pub(crate) topology: Rc<Topology>,
    pub(crate) pipeline: P,
}

impl<T: Data> Clone for DataStream<T> {
    fn clone(&self) -> Self {
        Self { topology: self.topology.clone(), pipeline: self.pipeline.clone() }
    }
}

impl<T: Data, P: Pipeline<Out = T>> DataStream<T, P> {
    pub(crate) fn new(topology: Rc<Topology>, pipeline: P) -> Self {
        Self { topology, pipeline }
    }

    /// Appends an operator.
    pub(crate) fn then<S: Stage<T>>(self, kind: &'static str, stage: S) -> DataStream<S::Out, Then<P, S>> {
        let meta = OperatorMeta::new(kind);
        DataStream::new(self.topology, Then { pipeline: self.pipeline, stage, meta })
    }

    /// Completes the task, if there is one: a stream that was only dealt out anew has none, and whatever follows deals its
    /// records out instead.
    pub(crate) fn close(mut self) -> (Rc<Topology>, FromPorts<T>) {
        let pipeline: Box<dyn Any> = Box::new(self.pipeline.clone());
        if let Ok(ports) = pipeline.downcast::<FromPorts<T>>() {
            return (self.topology, *ports);
        }
        let parallelism = self.pipeline.begin().parallelism();
        let uid = self.resolve();
        let port = P::Begin::add(&mut self.topology.graph.borrow_mut(), self.pipeline, Vec::new());
        let upstreams = vec![Upstream { port, exchange: Exchange::Forward, parallelism, uid }];
        (self.topology, FromPorts { upstreams, parallelism })
    }

    /// Completes the task: what follows is another one, of `parallelism` subtasks.
    pub(crate) fn new_task(self, parallelism: usize) -> DataStream<T> {
        let (topology, ports) = self.close();
        DataStream::new(topology, FromPorts { parallelism, ..ports })
    }

    /// Gives all operators of the task their uids; returns the last.
    pub(crate) fn resolve(&mut self) -> String {
        let parents = self.pipeline.begin().parents();
        let pipeline = &mut self.pipeline;
        self.topology.resolve(parents, |visit| pipeline.visit(visit))
    }

    /// Transforms each record.
    ///
    /// ```
    /// # use streamkeeper_datastream::StreamExecutionEnvironment;
    /// let env = StreamExecutionEnvironment::new();
    /// let doubled = env.from_collection([1, 2, 3]).map(|n| n * 2).collect();
    /// env.execute("map")?;
    /// assert_eq!(doubled.take(), [2, 4, 6]);
    /// # Ok::<(), streamkeeper_datastream::Error>(())
    /// ```
    pub fn map<O, F>(self, function: F) -> DataStream<O, Then<P, Map<F, O>>>
    where
        O: Data,
        F: FnMut(T) -> O + Clone + Send + Sync + 'static,
    {
        self.then("Map", Map::new(function))
    }

    /// Transforms each record, or fails.
    pub fn try_map<O, F>(self, function: F) -> DataStream<O, Then<P, TryMap<F, O>>>
    where
        O: Data,
        F: FnMut(T) -> Result<O> + Clone + Send + Sync + 'static,
    {
        self.then("Map", TryMap::new(function))
    }

    /// Keeps the records for which the function holds.
    pub fn filter<F>(self, function: F) -> DataStream<T, Then<P, Filter<F, T>>>
    where
        F: FnMut(&T) -> bool + Clone + Send + Sync + 'static,
    {
        self.then("Filter", Filter::new(function))
    }

    /// Makes any number of records of each.
    ///
    /// ```
    /// # use streamkeeper_datastream::StreamExecutionEnvironment;
    /// let env = StreamExecutionEnvironment::new();
    /// let numbers = env.from_collection([1u32, 3]).flat_map(|n| 0..n).collect();
    /// env.execute("flat map")?;
    /// assert_eq!(numbers.take(), [0, 0, 1, 2]);
    /// # Ok::<(), streamkeeper_datastream::Error>(())
    /// ```
    pub fn flat_map<O, V, F>(self, function: F) -> DataStream<O, Then<P, FlatMap<F, V>>>
    where
        O: Data,
        V: IntoIterator<Item = O> + 'static,
        F: FnMut(T) -> V + Clone + Send + Sync + 'static,
    {
        self.then("Flat Map", FlatMap::new(function))
    }

    /// As [`DataStream::flat_map`], for a function that emits what borrows from its record.
    ///
    /// ```
    /// # use streamkeeper_datastream::StreamExecutionEnvironment;
    /// let env = StreamExecutionEnvironment::new();
    /// let words = env
    ///     .from_collection(["to be".to_owned()])
    ///     .flat_map_with(|line, out| line.split(' ').for_each(|word| out.collect(word.to_owned())))
    ///     .collect();
    /// env.execute("words")?;
    /// assert_eq!(words.take(), ["to", "be"]);
    /// # Ok::<(), streamkeeper_datastream::Error>(())
    /// ```
    pub fn flat_map_with<O, F>(self, function: F) -> DataStream<O, Then<P, FlatMapWith<F, O>>>
    where
        O: Data,
        F: FnMut(T, &mut Collector<O>) + Clone + Send + Sync + 'static,
    {
        self.then("Flat Map", FlatMapWith::new(function))
    }

    /// Looks at each record.
    pub fn inspect<F>(self, function: F) -> DataStream<T, Then<P, Inspect<F, T>>>
    where
        F: FnMut(&T) + Clone + Send + Sync + 'static,
    {
        self.then("Inspect", Inspect::new(function))
    }

    /// Applies a function that can ask for times and emit to side outputs.
    pub fn process<F: ProcessFunction<T>>(self, function: F) -> DataStream<F::Out, Then<P, Process<F>>> {
        self.then("Process", Process(function))
    }

    /// Gives each record its event time, and the stream its watermarks.
    ///
    /// Directly behind a source it is part of the source: each of its splits has a watermark of its own, and the reader has the
    /// smallest. Behind an operator it is one more operator; watermarks from before are ignored then.
    ///
    /// ```
    /// # use streamkeeper_datastream::{StreamExecutionEnvironment, WatermarkStrategy};
    /// let env = StreamExecutionEnvironment::new();
    /// let strategy = WatermarkStrategy::for_monotonous_timestamps().with_timestamp_assigner(|second: &i64, _| second * 1_000);
    /// let seconds = env.from_collection([1, 2, 3]).assign_timestamps_and_watermarks(strategy).collect();
    /// env.execute("seconds")?;
    /// assert_eq!(seconds.take(), [1, 2, 3]);
    /// # Ok::<(), streamkeeper_datastream::Error>(())
    /// ```
    pub fn assign_timestamps_and_watermarks<G, A>(
        self,
        strategy: WatermarkStrategy<T, G, A>,
    ) -> DataStream<T, P::Watermarked<G, A>>
    where
        G: WatermarkGenerator<T>,
        A: TimestampAssigner<T>,
    {
        if let Err(reason) = strategy.check(P::IS_SOURCE) {
            self.topology.refuse(reason);
        }
        DataStream::new(self.topology, self.pipeline.watermarked(strategy))
    }

    /// Completes the task that produces the stream. Its records can then be read by any number of operators.
    ///
    /// ```
    /// # use streamkeeper_datastream::StreamExecutionEnvironment;
    /// let env = StreamExecutionEnvironment::new();
    /// let numbers = env.from_collection([1, 2, 3, 4]).map(|n| n * 10).shared();
    /// let small = numbers.clone().filter(|n| *n < 25).collect();
    /// let all = numbers.collect();
    /// env.execute("shared")?;
    /// assert_eq!((small.take(), all.take()), (vec![10, 20], vec![10, 20, 30, 40]));
    /// # Ok::<(), streamkeeper_datastream::Error>(())
    /// ```
    pub fn shared(self) -> DataStream<T> {
        let (topology, ports) = self.close();
        DataStream::new(topology, ports)
    }

    /// The records, dealt out by `exchange` to as many subtasks as operators have by default.
    fn exchange(self, exchange: Exchange<Records<T>>) -> DataStream<T> {
        let parallelism = self.topology.parallelism.get();
        let (topology, ports) = self.close();
        DataStream::new(topology, ports.dealt(&exchange, parallelism))
    }

    /// Deals records out evenly to the subtasks that follow, in batches.
    pub fn rebalance(self) -> DataStream<T> {
        self.exchange(Exchange::Rebalance)
    }

    /// As [`DataStream::rebalance`], each subtask to few others.
    pub fn rescale(self) -> DataStream<T> {
        self.exchange(Exchange::Rescale)
    }

    /// Sends each record to all subtasks that follow.
    pub fn broadcast(self) -> DataStream<T> {
        self.exchange(Exchange::Broadcast)
    }

    /// Sends each record to a subtask by chance.
    pub fn shuffle(self) -> DataStream<T> {
        self.exchange(Exchange::Custom(Arc::new(Shuffle::default())))
    }

    /// Sends all records to the first subtask.
    pub fn global(self) -> DataStream<T> {
        self.exchange(Exchange::Custom(Arc::new(Global)))
    }

    /// Sends each record to the subtask that `partition` names, given the record and the number of subtasks.
    pub fn partition_custom<F>(self, partition: F) -> DataStream<T>
    where
        F: Fn(&T, usize) -> usize + Send + Sync + 'static,
    {
        let partitioner: Arc<dyn Partitioner<Records<T>>> = Arc::new(PartitionFn(partition));
        self.exchange(Exchange::Custom(partitioner))
    }

    /// Brings together the records with the same key: they go to the same subtask, and share state.
    pub fn key_by<K, F>(self, key: F) -> KeyedStream<T, KeyFn<F>>
    where
        F: Fn(&T) -> K + Clone + Send + Sync + 'static,
        KeyFn<F>: KeySelector<T, Key = K>,
    {
        self.key_by_selector(KeyFn(key))
    }

    /// As [`DataStream::key_by`], for a key that is a part of the record: nothing is copied to look it up.
    pub fn key_by_ref<Q, F>(self, key: F) -> KeyedStream<T, KeyRef<F, Q>>
    where
        Q: ?Sized + KeyHash + 'static,
        F: Fn(&T) -> &Q + Clone + Send + Sync + 'static,
        KeyRef<F, Q>: KeySelector<T>,
    {
        self.key_by_selector(KeyRef(key, PhantomData))
    }

    pub(crate) fn key_by_selector<S: KeySelector<T>>(self, selector: S) -> KeyedStream<T, S> {
        let parallelism = self.topology.parallelism.get();
        let (topology, ports) = self.close();
        let exchange = Exchange::Hash(crate::key::exchange(&selector));
        KeyedStream { topology, from: ports.dealt(&exchange, parallelism), selector }
    }

    /// The records of both streams, in any order.
    pub fn union<Q: Pipeline<Out = T>>(self, other: DataStream<T, Q>) -> DataStream<T> {
        let (topology, mut ports) = self.close();
        let (_, other) = other.close();
        if ports.parallelism != other.parallelism {
            ports.parallelism = topology.parallelism.get();
        }
        ports.upstreams.extend(other.upstreams);
        DataStream::new(topology, ports)
    }

    /// Writes to a sink.
    pub fn sink_to(self, sink: impl Sink<Records<T>> + 'static) -> DataStreamSink {
        self.add_sink("Sink", Arc::new(sink))
    }

    /// Writes each record to standard output, after `n> ` (the subtask, from 1) when there are several.
    pub fn print(self) -> DataStreamSink
    where
        T: Display,
    {
        self.add_sink("Print to Std. Out", Arc::new(Print))
    }

    /// Drops everything: for measurements.
    pub fn discard(self) -> DataStreamSink {
        self.add_sink("Discard", Arc::new(Discard))
    }

    /// Gathers the records in this process. A job of a cluster, whose tasks run in others, cannot do that.
    pub fn collect(self) -> Collected<T> {
        self.topology.needs_this_process("collect()");
        let collected = Collected::default();
        self.add_sink("Collect", Arc::new(collected.clone()));
        collected
    }

    fn add_sink(mut self, kind: &'static str, sink: Arc<dyn Sink<Records<T>>>) -> DataStreamSink {
        let settings =
            Rc::new(RefCell::new(SinkSettings { meta: OperatorMeta::new(kind), parallelism: None }));
        let of_sink = settings.clone();
        let before = self.resolve();
        let topology = self.topology.clone();
        topology.add_sink(move |topology| {
            let SinkSettings { meta, parallelism } = of_sink.borrow().clone();
            let uid =
                meta.uid.unwrap_or_else(|| topology.generate_uid(meta.kind, std::slice::from_ref(&before)));
            let sink: OperatorNode<Records<T>, Records<T>> = node(uid, meta.name, sink);
            let own = self.pipeline.begin().parallelism();
            match parallelism {
                Some(parallelism) if parallelism != own => {
                    let (topology, ports) = self.close();
                    let begin = FromPorts { parallelism, ..ports };
                    FromPorts::add(&mut topology.graph.borrow_mut(), begin, vec![sink]);
                }
                _ => {
                    P::Begin::add(&mut topology.graph.borrow_mut(), self.pipeline, vec![sink]);
                }
            }
        });
        DataStreamSink { settings }
    }
}

impl<T: Data> DataStream<T> {
    /// The records that the operator before [`DataStream::shared`] emitted to a side output.
    pub fn side_output<X: Data>(&self, tag: &OutputTag<X>) -> DataStream<X> {
        let upstreams = self.pipeline.upstreams.iter().map(|upstream| Upstream {
            port: self.topology.graph.borrow_mut().side_output(upstream.port, tag.id()),
            exchange: Exchange::Forward,
            parallelism: upstream.parallelism,
            uid: format!("{}:{}", upstream.uid, tag.id()),
        });
        let upstreams: Vec<_> = upstreams.collect();
        let parallelism = self.pipeline.parallelism;
        DataStream::new(self.topology.clone(), FromPorts { upstreams, parallelism })
    }
}

impl<T: Data> DataStream<T, FromSource<T>> {
    /// The source's name.
    pub fn name(mut self, name: &str) -> Self {
        if let Some(node) = Arc::get_mut(&mut self.pipeline.node) {
            node.name = name.to_owned();
        }
        self
    }

    /// The source's uid: its splits are found by it in a checkpoint.
    pub fn uid(mut self, uid: &str) -> Self {
        if let Some(node) = Arc::get_mut(&mut self.pipeline.node) {
            node.uid = uid.to_owned();
        }
        self
    }

    /// The number of readers.
    pub fn set_parallelism(mut self, parallelism: usize) -> Self {
        self.pipeline.parallelism = parallelism.max(1);
        self
    }
}

impl<P: Pipeline, S: Stage<P::Out>> DataStream<S::Out, Then<P, S>> {
    /// The operator's name.
    pub fn name(mut self, name: &str) -> Self {
        self.pipeline.meta.name = name.to_owned();
        self
    }

    /// The operator's uid: its state is found by it in a checkpoint, whatever else of the job is changed.
    pub fn uid(mut self, uid: &str) -> Self {
        self.pipeline.meta.uid = Some(uid.to_owned());
        self
    }
}

impl<P: Pipeline, S: Stage<P::Out>> DataStream<S::Out, Then<P, S>> {
    /// The number of the operator's subtasks. The operators before it keep theirs: they are another task then.
    pub fn set_parallelism(self, parallelism: usize) -> DataStream<S::Out, Then<P::Cut, S>> {
        let Then { pipeline, stage, meta } = self.pipeline;
        let before = P::cut(DataStream::new(self.topology, pipeline), parallelism.max(1));
        DataStream::new(before.topology, Then { pipeline: before.pipeline, stage, meta })
    }
}

#[derive(Clone)]
struct SinkSettings {
    meta: OperatorMeta,
    parallelism: Option<usize>,
}

/// A sink at the end of a stream.
pub struct DataStreamSink {
    settings: Rc<RefCell<SinkSettings>>,
}

impl DataStreamSink {
    /// The sink's name.
    pub fn name(self, name: &str) -> Self {
        self.settings.borrow_mut().meta.name = name.to_owned();
        self
    }

    /// The sink's uid: what it has to commit is found by it in a checkpoint.
    pub fn uid(self, uid: &str) -> Self {
        self.settings.borrow_mut().meta.uid = Some(uid.to_owned());
        self
    }

    /// The number of its subtasks; that of the operator before it unless set.
    pub fn set_parallelism(self, parallelism: usize) -> Self {
        self.settings.borrow_mut().parallelism = Some(parallelism.max(1));
        self
    }
}
