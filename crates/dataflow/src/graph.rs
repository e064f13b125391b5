//! The job graph: tasks (chains of operators) and the exchanges between them.
//!
//! The graph holds factories, not instances, so any subset of its subtasks can be made at any time, on any process.
//! Types are erased here and nowhere else: within a vertex everything is typed, and [`Port`] carries the type of a
//! vertex's output, so that only inputs of that type can be connected to it.

use std::any::Any;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::batch::{Batch, Either, Rows};
use crate::channel::Receiver;
use crate::element::Element;
use crate::error::{Error, OperatorError, OperatorResult};
pub use crate::exchange::Exchange;
use crate::exchange::{EdgeEnds, EdgeSetup, connect};
use crate::key_group::MAX_MAX_PARALLELISM;
use crate::operator::OperatorFactory;
use crate::output::{SidePort, side_port};
use crate::side_output::SideOutputs;
use crate::sink::Committer;
use crate::source::{Source, SplitEnumerator, WatermarkAlignment, WatermarkStrategy};
use crate::task::{self, TaskBody, TaskSetup};

/// Index of a vertex in its graph.
pub type VertexId = usize;

/// The output of a vertex, or one of its side outputs, to connect inputs to.
pub struct Port<O> {
    vertex: VertexId,
    /// Index into [`Vertex::ports`].
    port: usize,
    output: PhantomData<fn() -> O>,
}

impl<O> Port<O> {
    /// The vertex that emits here.
    pub fn vertex(&self) -> VertexId {
        self.vertex
    }
}

impl<O> Clone for Port<O> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<O> Copy for Port<O> {}

impl<O> std::fmt::Debug for Port<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "output {} of vertex {}", self.port, self.vertex)
    }
}

/// One input of a vertex. Several inputs may share an index: their rows mix (`UNION ALL`).
pub struct Input<I> {
    /// Where the rows come from.
    pub from: Port<I>,
    /// How they are dealt out.
    pub exchange: Exchange<I>,
    /// Which input of the operator they are.
    pub index: usize,
}

/// Turns a consumer's erased end of an edge into receivers of what its operator takes.
type TakeReceivers<I> =
    Arc<dyn Fn(Box<dyn Any + Send>) -> OperatorResult<Vec<Box<dyn Receiver<I>>>> + Send + Sync>;

/// An input whose edge may carry another type than its operator takes.
pub(crate) struct AnyInput<I> {
    from: (VertexId, usize),
    exchange: &'static str,
    pub(crate) index: usize,
    make: MakeEdge,
    pub(crate) take: TakeReceivers<I>,
}

impl<X: Batch> Input<X> {
    /// An input of an operator that takes `I`, into which `convert` puts this input's batches.
    fn of<I: 'static>(self, convert: fn(X) -> I) -> AnyInput<I> {
        let exchange = self.exchange.clone();
        AnyInput {
            from: (self.from.vertex, self.from.port),
            exchange: self.exchange.name(),
            index: self.index,
            make: Arc::new(move |setup| connect(&exchange, &setup)),
            take: Arc::new(move |end| {
                let channels = end.downcast::<Vec<Box<dyn Receiver<X>>>>().map_err(|_| {
                    OperatorError::fatal("an edge carries another type than its consumer takes")
                })?;
                let converted = channels.into_iter().map(|channel| Box::new(Converted(channel, convert)));
                Ok(converted.map(|channel| channel as Box<dyn Receiver<I>>).collect())
            }),
        }
    }
}

struct Converted<X, I>(Box<dyn Receiver<X>>, fn(X) -> I);

impl<X, I> Receiver<I> for Converted<X, I> {
    fn receive(&mut self) -> OperatorResult<Option<Element<I>>> {
        Ok(self.0.receive()?.map(|element| match element {
            Element::Batch(batch) => Element::Batch((self.1)(batch)),
            Element::Control(control) => Element::Control(control),
        }))
    }
}

/// An operator of a chain.
pub struct OperatorNode<I, O> {
    /// Stable id within the job: state is found by it.
    pub uid: String,
    /// Ids of the operators that are fused into this one, whose state it keeps beside its own.
    pub parts: Vec<String>,
    /// Human-readable name.
    pub name: String,
    /// Makes the operator of one subtask.
    pub factory: OperatorFactory<I, O>,
    /// The committer of a sink.
    pub committer: Option<Arc<dyn Committer>>,
}

impl<I, O> OperatorNode<I, O> {
    /// An operator that is not a sink.
    pub fn new(uid: impl Into<String>, name: impl Into<String>, factory: OperatorFactory<I, O>) -> Self {
        Self { uid: uid.into(), parts: Vec::new(), name: name.into(), factory, committer: None }
    }
}

impl<I, O> Clone for OperatorNode<I, O> {
    fn clone(&self) -> Self {
        Self {
            uid: self.uid.clone(),
            parts: self.parts.clone(),
            name: self.name.clone(),
            factory: self.factory.clone(),
            committer: self.committer.clone(),
        }
    }
}

/// A source at the beginning of a vertex.
pub struct SourceNode<S> {
    /// Human-readable name.
    pub name: String,
    /// Stable id within the job.
    pub uid: String,
    /// What is read.
    pub source: Arc<dyn Source<S>>,
    /// How watermarks are found; `None`: there are none before the end.
    pub watermarks: Option<Arc<dyn WatermarkStrategy<S>>>,
}

/// An edge, with its types erased.
#[derive(Debug, Clone)]
pub struct Edge {
    /// The producing vertex.
    pub from: VertexId,
    /// The consuming vertex.
    pub to: VertexId,
    /// [`Exchange::name`].
    pub exchange: &'static str,
}

/// Makes the body of one subtask.
pub(crate) type BodyFactory = Arc<dyn Fn(TaskSetup) -> OperatorResult<Box<dyn TaskBody>> + Send + Sync>;

/// Makes the channels of one edge.
pub(crate) type MakeEdge = Arc<dyn Fn(EdgeSetup<'_>) -> Result<EdgeEnds, Error> + Send + Sync>;

/// An outgoing edge: its consumer, which of the consumer's inputs it is, and its channels.
#[derive(Clone)]
pub(crate) struct OutEdge {
    /// Number of the edge in the graph: the same in every process that makes the graph.
    pub(crate) index: u32,
    pub(crate) to: VertexId,
    pub(crate) gate: usize,
    pub(crate) make: MakeEdge,
}

/// Registers a side output of one subtask and takes its edges.
pub(crate) type MakeSidePort =
    Arc<dyn Fn(&SideOutputs, Vec<Box<dyn Any + Send>>) -> OperatorResult<Box<dyn SidePort>> + Send + Sync>;

/// One output of a vertex; the first is the main one, all others are side outputs.
#[derive(Clone, Default)]
pub(crate) struct VertexPort {
    /// `None` for the main output.
    pub(crate) side: Option<MakeSidePort>,
    /// Known only once consumers are connected.
    pub(crate) edges: Vec<OutEdge>,
}

/// Makes a source's enumerator.
pub(crate) type EnumeratorFactory =
    Arc<dyn Fn(usize, Option<&[u8]>) -> OperatorResult<Box<dyn SplitEnumerator>> + Send + Sync>;

/// A task of the graph: a chain of operators at one parallelism.
#[derive(Clone)]
pub struct Vertex {
    /// Uid of the first operator.
    pub uid: String,
    /// Names of its operators, joined by ` -> `.
    pub name: String,
    /// Number of subtasks.
    pub parallelism: usize,
    /// Uids of all its operators, in order.
    pub operators: Vec<String>,
    pub(crate) body: BodyFactory,
    pub(crate) enumerator: Option<EnumeratorFactory>,
    /// Of a source that keeps pace with others.
    pub(crate) alignment: Option<WatermarkAlignment>,
    pub(crate) committers: Vec<(String, Arc<dyn Committer>)>,
    pub(crate) ports: Vec<VertexPort>,
    pub(crate) inputs: Vec<Edge>,
}

impl Vertex {
    fn new(uid: String, name: String, parallelism: usize) -> Self {
        Self {
            operators: vec![uid.clone()],
            uid,
            name,
            parallelism,
            body: Arc::new(|_| Err(OperatorError::fatal("a vertex has no body"))),
            enumerator: None,
            alignment: None,
            committers: Vec::new(),
            ports: vec![VertexPort::default()],
            inputs: Vec::new(),
        }
    }

    /// Chains an operator to it.
    fn append<I, O>(&mut self, node: &OperatorNode<I, O>) {
        self.name.push_str(" -> ");
        self.name.push_str(&node.name);
        self.operators.push(node.uid.clone());
        self.operators.extend(node.parts.iter().cloned());
        self.committers.extend(node.committer.clone().map(|committer| (node.uid.clone(), committer)));
    }

    /// Whether it reads from the outside.
    pub fn is_source(&self) -> bool {
        self.enumerator.is_some()
    }

    /// Whether nothing reads what it emits.
    pub fn is_sink(&self) -> bool {
        self.ports.iter().all(|port| port.edges.is_empty())
    }

    /// Its incoming edges.
    pub fn inputs(&self) -> &[Edge] {
        &self.inputs
    }
}

/// The graph of a job. Clones share its factories.
#[derive(Clone)]
pub struct JobGraph {
    /// All vertices; an edge's producer comes before its consumer.
    pub vertices: Vec<Vertex>,
    /// Number of key groups.
    pub max_parallelism: u16,
}

impl JobGraph {
    /// An empty graph whose keyed state has `max_parallelism` key groups.
    pub fn new(max_parallelism: u16) -> Self {
        Self { vertices: Vec::new(), max_parallelism }
    }

    /// Adds a source and the operators chained to it.
    pub fn add_source<B: Batch>(
        &mut self,
        name: impl Into<String>,
        uid: impl Into<String>,
        parallelism: usize,
        source: Arc<dyn Source<B>>,
        watermarks: Option<Arc<dyn WatermarkStrategy<B>>>,
        rest: Vec<OperatorNode<B, B>>,
    ) -> Port<B> {
        let source = SourceNode { name: name.into(), uid: uid.into(), source, watermarks };
        self.push_source(source, parallelism, None, rest)
    }

    /// Adds a source, the operator `head` that takes its batches, and the operators chained to that.
    pub fn add_source_with<S: Batch, B: Batch>(
        &mut self,
        source: SourceNode<S>,
        parallelism: usize,
        head: OperatorNode<S, B>,
        rest: Vec<OperatorNode<B, B>>,
    ) -> Port<B> {
        self.push_source(source, parallelism, Some(head), rest)
    }

    fn push_source<S: Batch, B: Batch>(
        &mut self,
        source: SourceNode<S>,
        parallelism: usize,
        head: Option<OperatorNode<S, B>>,
        rest: Vec<OperatorNode<B, B>>,
    ) -> Port<B> {
        let enumerator_source = source.source.clone();
        let enumerator: EnumeratorFactory =
            Arc::new(move |parallelism, restored| enumerator_source.enumerator(parallelism, restored));
        let mut vertex = Vertex::new(source.uid.clone(), source.name.clone(), parallelism);
        vertex.enumerator = Some(enumerator);
        vertex.alignment = source.watermarks.as_ref().and_then(|strategy| strategy.alignment());
        head.iter().for_each(|head| vertex.append(head));
        rest.iter().for_each(|node| vertex.append(node));
        vertex.body = Arc::new(move |setup| task::source_body(&source, head.as_ref(), &rest, setup));
        self.push(vertex)
    }

    /// Adds an operator with its inputs, and the operators chained to it. A sink is an operator whose output nobody
    /// is connected to ([`crate::sink::node`]).
    pub fn add_operator<I: Batch, O: Batch>(
        &mut self,
        parallelism: usize,
        inputs: Vec<Input<I>>,
        head: OperatorNode<I, O>,
        rest: Vec<OperatorNode<O, O>>,
    ) -> Port<O> {
        let inputs = inputs.into_iter().map(|input| input.of(|batch| batch)).collect();
        self.push_operator(parallelism, inputs, head, rest)
    }

    /// Adds an operator with inputs of two types, and the operators chained to it.
    pub fn add_two_input_operator<A: Batch, B: Batch, O: Batch>(
        &mut self,
        parallelism: usize,
        first: Vec<Input<A>>,
        second: Vec<Input<B>>,
        head: OperatorNode<Either<A, B>, O>,
        rest: Vec<OperatorNode<O, O>>,
    ) -> Port<O> {
        let first = first.into_iter().map(|input| input.of(Either::First));
        let second = second.into_iter().map(|input| input.of(Either::Second));
        self.push_operator(parallelism, first.chain(second).collect(), head, rest)
    }

    /// The side output `tag` of the vertex that emits at `of`, as batches `X`.
    pub fn side_output<O, X: Batch>(&mut self, of: Port<O>, tag: impl Into<String>) -> Port<X> {
        let tag = tag.into();
        let make: MakeSidePort = Arc::new(move |outputs, edges| side_port::<X>(&tag, outputs, edges));
        let ports = &mut self.vertices[of.vertex].ports;
        ports.push(VertexPort { side: Some(make), edges: Vec::new() });
        Port { vertex: of.vertex, port: ports.len() - 1, output: PhantomData }
    }

    fn push_operator<I: Rows, O: Batch>(
        &mut self,
        parallelism: usize,
        inputs: Vec<AnyInput<I>>,
        head: OperatorNode<I, O>,
        rest: Vec<OperatorNode<O, O>>,
    ) -> Port<O> {
        let to = self.vertices.len();
        let mut vertex = Vertex::new(head.uid.clone(), head.name.clone(), parallelism);
        vertex.operators.extend(head.parts.iter().cloned());
        vertex.committers.extend(head.committer.clone().map(|committer| (head.uid.clone(), committer)));
        rest.iter().for_each(|node| vertex.append(node));
        let edges: usize = self.vertices.iter().map(|vertex| vertex.inputs.len()).sum();
        for (gate, input) in inputs.iter().enumerate() {
            let (from, port) = input.from;
            vertex.inputs.push(Edge { from, to, exchange: input.exchange });
            let edge = OutEdge { index: (edges + gate) as u32, to, gate, make: input.make.clone() };
            self.vertices[from].ports[port].edges.push(edge);
        }
        vertex.body = Arc::new(move |setup| task::operator_body(&head, &rest, &inputs, setup));
        self.push(vertex)
    }

    fn push<O>(&mut self, vertex: Vertex) -> Port<O> {
        self.vertices.push(vertex);
        Port { vertex: self.vertices.len() - 1, port: 0, output: PhantomData }
    }

    /// Checks what the types cannot: parallelisms, unique uids.
    ///
    /// # Errors
    /// Names the vertex that is wrong.
    pub fn validate(&self) -> Result<(), Error> {
        let invalid = |message: String| Err(Error::InvalidJob(message));
        if self.max_parallelism == 0 || self.max_parallelism > MAX_MAX_PARALLELISM {
            return invalid(format!(
                "max parallelism {} is not in 1..={MAX_MAX_PARALLELISM}",
                self.max_parallelism
            ));
        }
        let mut uids = std::collections::HashSet::new();
        for vertex in &self.vertices {
            if vertex.parallelism == 0 || vertex.parallelism > usize::from(self.max_parallelism) {
                return invalid(format!(
                    "parallelism {} of `{}` is not in 1..={} (the max parallelism)",
                    vertex.parallelism, vertex.name, self.max_parallelism
                ));
            }
            for uid in &vertex.operators {
                if !uids.insert(uid) {
                    return invalid(format!(
                        "two operators have the uid `{uid}`; one of them is in `{}`",
                        vertex.name
                    ));
                }
            }
            for edge in &vertex.inputs {
                let from = &self.vertices[edge.from];
                if edge.exchange == "FORWARD" && from.parallelism != vertex.parallelism {
                    return invalid(format!(
                        "`{}` ({} subtasks) cannot forward to `{}` ({} subtasks)",
                        from.name, from.parallelism, vertex.name, vertex.parallelism
                    ));
                }
            }
        }
        Ok(())
    }

    /// Tells whether two processes have planned the same job: same tasks, same operators, same edges.
    pub fn fingerprint(&self) -> u64 {
        let mut text = format!("v1 {}", self.max_parallelism);
        for vertex in &self.vertices {
            let inputs: Vec<_> = vertex.inputs.iter().map(|edge| (edge.from, edge.exchange)).collect();
            text.push_str(&format!("\n{:?} {} {inputs:?}", vertex.operators, vertex.parallelism));
        }
        xxhash_rust::xxh3::xxh3_64(text.as_bytes())
    }

    /// The pipelined regions: sets of vertices connected by edges. A failure restarts one region; `regions()[v]` is
    /// the region of vertex v, the smallest vertex in it.
    pub fn regions(&self) -> Vec<VertexId> {
        let mut region: Vec<VertexId> = (0..self.vertices.len()).collect();
        for edge in self.vertices.iter().flat_map(|v| &v.inputs) {
            let (a, b) = (region[edge.from], region[edge.to]);
            let (low, high) = (a.min(b), a.max(b));
            for r in &mut region {
                if *r == high {
                    *r = low;
                }
            }
        }
        region
    }
}
