//! Where a task's records come from: other tasks ([`FromPorts`]), two kinds of them ([`FromTwo`]), or the outside
//! ([`FromSource`]).

use std::any::Any;
use std::sync::Arc;

use streamkeeper_dataflow::batch::{Either, Records, Rows};
use streamkeeper_dataflow::graph::{Exchange, Input, JobGraph, OperatorNode, Port, SourceNode};
use streamkeeper_dataflow::operator::OperatorFactory;

use crate::Data;
use crate::chain::{Begin, Emit, Fused, OperatorMeta, Pipeline, Push, Rest, Then};
use crate::stream::DataStream;
use crate::watermark::{
    AssignTimestampsAndWatermarks, TimestampAssigner, WatermarkGenerator, WatermarkStrategy,
};

/// The output of a task, and how its rows are dealt out to the next.
#[derive(Clone)]
pub(crate) struct Upstream<T> {
    pub(crate) port: Port<Records<T>>,
    pub(crate) exchange: Exchange<Records<T>>,
    /// Number of subtasks of the task that emits there.
    pub(crate) parallelism: usize,
    /// Uid of the last operator of that task.
    pub(crate) uid: String,
}

impl<T: Data> Upstream<T> {
    fn input(&self, parallelism: usize, index: usize) -> Input<Records<T>> {
        let exchange = match &self.exchange {
            // A task can only forward to one of the same parallelism; Flink deals out evenly otherwise.
            Exchange::Forward if self.parallelism != parallelism => Exchange::Rebalance,
            exchange => exchange.clone(),
        };
        Input { from: self.port, exchange, index }
    }
}

/// Records of other tasks; of several when streams were united.
#[derive(Clone)]
pub struct FromPorts<T> {
    pub(crate) upstreams: Vec<Upstream<T>>,
    pub(crate) parallelism: usize,
}

impl<T: Data> FromPorts<T> {
    /// The same records, dealt out to `parallelism` subtasks.
    pub(crate) fn dealt(self, exchange: &Exchange<Records<T>>, parallelism: usize) -> Self {
        let upstreams = self.upstreams.into_iter();
        let upstreams = upstreams.map(|upstream| Upstream { exchange: exchange.clone(), ..upstream });
        Self { upstreams: upstreams.collect(), parallelism }
    }

    /// Both, for an operator with two inputs that has as many subtasks as this one.
    pub(crate) fn and<B>(self, second: FromPorts<B>) -> FromTwo<T, B> {
        FromTwo { first: self.upstreams, second: second.upstreams, parallelism: self.parallelism }
    }

    /// The inputs of an operator that takes the records.
    pub(crate) fn inputs(&self) -> Vec<Input<Records<T>>> {
        self.upstreams.iter().map(|upstream| upstream.input(self.parallelism, 0)).collect()
    }
}

/// Records of a source.
#[derive(Clone)]
pub struct FromSource<T> {
    pub(crate) node: Arc<SourceNode<Records<T>>>,
    pub(crate) parallelism: usize,
}

fn copy<T>(node: &SourceNode<Records<T>>) -> SourceNode<Records<T>> {
    SourceNode {
        name: node.name.clone(),
        uid: node.uid.clone(),
        source: node.source.clone(),
        watermarks: node.watermarks.clone(),
    }
}

/// Records of two types, for an operator with two inputs.
#[derive(Clone)]
pub struct FromTwo<A, B> {
    pub(crate) first: Vec<Upstream<A>>,
    pub(crate) second: Vec<Upstream<B>>,
    pub(crate) parallelism: usize,
}

/// A task's operators as one node of the graph; `None` when there are none.
pub(crate) fn fuse<B, P>(mut pipeline: P) -> Option<OperatorNode<B, Records<P::Out>>>
where
    B: Rows,
    P: Pipeline,
    P::Begin: Begin<Batch = B>,
    Fused<P::Running<Emit<P::Out>>>: streamkeeper_dataflow::operator::Operator<B, Records<P::Out>>,
{
    let mut operators: Vec<OperatorMeta> = Vec::new();
    pipeline.visit(&mut |operator| operators.push(operator.clone()));
    let uids: Vec<String> = operators.iter().map(|o| o.uid.clone().unwrap_or_default()).collect();
    let (uid, parts) = uids.split_first()?;
    let names: Vec<&str> = operators.iter().map(|o| o.name.as_str()).collect();
    let name = names.join(" -> ");
    let (uid, parts) = (uid.clone(), parts.to_vec());
    let factory: OperatorFactory<B, Records<P::Out>> =
        Arc::new(move || Box::new(Fused::new(pipeline.start(Emit::default()))));
    Some(OperatorNode { parts, ..OperatorNode::new(uid, name, factory) })
}

/// Where no operator is in between, what goes in is what comes out: the same type under two names.
fn same<A: 'static, B: 'static>(value: A) -> B {
    let value: Box<dyn Any> = Box::new(value);
    match value.downcast::<B>() {
        Ok(value) => *value,
        Err(_) => unreachable!("a pipeline without operators emits what it takes"),
    }
}

impl<T: Data> Begin for FromPorts<T> {
    type Batch = Records<T>;

    fn parallelism(&self) -> usize {
        self.parallelism
    }

    fn parents(&self) -> Vec<String> {
        self.upstreams.iter().map(|upstream| upstream.uid.clone()).collect()
    }

    fn add<P: Pipeline<Begin = Self>>(
        graph: &mut JobGraph,
        pipeline: P,
        rest: Rest<P::Out>,
    ) -> Port<Records<P::Out>> {
        let begin = pipeline.begin().clone();
        let inputs = begin.inputs();
        if let Some(head) = fuse(pipeline) {
            return graph.add_operator(begin.parallelism, inputs, head, rest);
        }
        let rest: Rest<T> = same(rest);
        let mut rest = rest.into_iter();
        let Some(head) = rest.next() else { unreachable!("a task has operators") };
        same(graph.add_operator(begin.parallelism, inputs, head, rest.collect()))
    }
}

impl<T: Data> Pipeline for FromPorts<T> {
    type Begin = Self;
    type Out = T;
    type Running<N: Push<T>> = N;
    type Cut = FromPorts<T>;
    type Watermarked<G: WatermarkGenerator<T>, A: TimestampAssigner<T>> =
        Then<Self, AssignTimestampsAndWatermarks<T, G, A>>;

    fn begin(&self) -> &Self {
        self
    }

    fn start<N: Push<T>>(&self, next: N) -> N {
        next
    }

    fn watermarked<G, A>(self, strategy: WatermarkStrategy<T, G, A>) -> Self::Watermarked<G, A>
    where
        G: WatermarkGenerator<T>,
        A: TimestampAssigner<T>,
    {
        Then::watermarks(self, strategy)
    }

    fn visit(&mut self, _: &mut dyn FnMut(&mut OperatorMeta)) {}

    fn cut(stream: DataStream<T, Self>, parallelism: usize) -> DataStream<T, FromPorts<T>> {
        stream.new_task(parallelism)
    }
}

impl<T: Data> Begin for FromSource<T> {
    type Batch = Records<T>;

    fn parallelism(&self) -> usize {
        self.parallelism
    }

    fn parents(&self) -> Vec<String> {
        vec![self.node.uid.clone()]
    }

    fn add<P: Pipeline<Begin = Self>>(
        graph: &mut JobGraph,
        pipeline: P,
        rest: Rest<P::Out>,
    ) -> Port<Records<P::Out>> {
        let begin = pipeline.begin().clone();
        let source = copy(&begin.node);
        match fuse(pipeline) {
            Some(head) => graph.add_source_with(source, begin.parallelism, head, rest),
            None => {
                let rest: Rest<T> = same(rest);
                let SourceNode { name, uid, source, watermarks } = source;
                same(graph.add_source(name, uid, begin.parallelism, source, watermarks, rest))
            }
        }
    }
}

impl<T: Data> Pipeline for FromSource<T> {
    type Begin = Self;
    type Out = T;
    type Running<N: Push<T>> = N;
    type Cut = FromPorts<T>;
    type Watermarked<G: WatermarkGenerator<T>, A: TimestampAssigner<T>> = Self;
    const IS_SOURCE: bool = true;

    fn begin(&self) -> &Self {
        self
    }

    fn start<N: Push<T>>(&self, next: N) -> N {
        next
    }

    fn watermarked<G, A>(mut self, strategy: WatermarkStrategy<T, G, A>) -> Self
    where
        G: WatermarkGenerator<T>,
        A: TimestampAssigner<T>,
    {
        self.node = Arc::new(SourceNode { watermarks: Some(Arc::new(strategy)), ..copy(&self.node) });
        self
    }

    fn visit(&mut self, _: &mut dyn FnMut(&mut OperatorMeta)) {}

    fn cut(stream: DataStream<T, Self>, parallelism: usize) -> DataStream<T, FromPorts<T>> {
        stream.new_task(parallelism)
    }
}

impl<A: Data, B: Data> Begin for FromTwo<A, B> {
    type Batch = Either<Records<A>, Records<B>>;

    fn parallelism(&self) -> usize {
        self.parallelism
    }

    fn parents(&self) -> Vec<String> {
        let first = self.first.iter().map(|upstream| upstream.uid.clone());
        first.chain(self.second.iter().map(|upstream| upstream.uid.clone())).collect()
    }

    fn add<P: Pipeline<Begin = Self>>(
        graph: &mut JobGraph,
        pipeline: P,
        rest: Rest<P::Out>,
    ) -> Port<Records<P::Out>> {
        let begin = pipeline.begin().clone();
        let Some(head) = fuse(pipeline) else { unreachable!("two inputs are always those of an operator") };
        let first = begin.first.iter().map(|upstream| upstream.input(begin.parallelism, 0)).collect();
        let second = begin.second.iter().map(|upstream| upstream.input(begin.parallelism, 1)).collect();
        graph.add_two_input_operator(begin.parallelism, first, second, head, rest)
    }
}

impl<A: Data, B: Data> Pipeline for FromTwo<A, B> {
    type Begin = Self;
    type Out = Either<A, B>;
    type Running<N: Push<Either<A, B>>> = N;
    type Cut = Self;
    type Watermarked<G: WatermarkGenerator<Self::Out>, W: TimestampAssigner<Self::Out>> =
        Then<Self, AssignTimestampsAndWatermarks<Self::Out, G, W>>;

    fn begin(&self) -> &Self {
        self
    }

    fn start<N: Push<Either<A, B>>>(&self, next: N) -> N {
        next
    }

    fn watermarked<G, W>(self, strategy: WatermarkStrategy<Self::Out, G, W>) -> Self::Watermarked<G, W>
    where
        G: WatermarkGenerator<Self::Out>,
        W: TimestampAssigner<Self::Out>,
    {
        Then::watermarks(self, strategy)
    }

    fn visit(&mut self, _: &mut dyn FnMut(&mut OperatorMeta)) {}

    fn cut(stream: DataStream<Either<A, B>, Self>, parallelism: usize) -> DataStream<Either<A, B>, Self> {
        DataStream::new(stream.topology, Self { parallelism, ..stream.pipeline })
    }
}
