//! The job graph: tasks (chains of operators) and the exchanges between them.
//!
//! The graph holds factories, not instances, so any subset of its subtasks can be made at any time, on any process.
//! Types are erased here and nowhere else: within a vertex everything is typed, and [`Port`] carries the type of a
//! vertex's output, so that only inputs of that type can be connected to it.

use std::marker::PhantomData;
use std::sync::Arc;

use crate::batch::Batch;
use crate::error::{Error, OperatorResult};
use crate::exchange::{EdgeFactory, edge_factory};
use crate::key_group::{KeySelector, MAX_MAX_PARALLELISM};
use crate::operator::OperatorFactory;
use crate::sink::Committer;
use crate::source::{Source, SplitEnumerator, WatermarkStrategy};
use crate::task::{self, TaskBody, TaskSetup};

/// Index of a vertex in its graph.
pub type VertexId = usize;

/// How the rows of a producer's subtasks are dealt out to the consumer's.
pub enum Exchange<B> {
    /// Subtask i to subtask i; both have the same parallelism.
    Forward,
    /// Batch by batch to the consumers in turn.
    Rebalance,
    /// Everything to everyone.
    Broadcast,
    /// Row by row to the owner of the key's key group.
    Hash(Arc<dyn KeySelector<B>>),
}

impl<B> Clone for Exchange<B> {
    fn clone(&self) -> Self {
        match self {
            Self::Forward => Self::Forward,
            Self::Rebalance => Self::Rebalance,
            Self::Broadcast => Self::Broadcast,
            Self::Hash(keys) => Self::Hash(keys.clone()),
        }
    }
}

impl<B> Exchange<B> {
    /// Its name in Flink's job graph.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Forward => "FORWARD",
            Self::Rebalance => "REBALANCE",
            Self::Broadcast => "BROADCAST",
            Self::Hash(_) => "HASH",
        }
    }
}

/// The output of a vertex, to connect inputs to.
pub struct Port<O> {
    vertex: VertexId,
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

/// One input of a vertex. Several inputs may share an index: their rows mix (`UNION ALL`).
pub struct Input<I> {
    /// Where the rows come from.
    pub from: Port<I>,
    /// How they are dealt out.
    pub exchange: Exchange<I>,
    /// Which input of the operator they are.
    pub index: usize,
}

/// An operator of a chain.
pub struct OperatorNode<I, O> {
    /// Stable id within the job: state is found by it.
    pub uid: String,
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
        Self { uid: uid.into(), name: name.into(), factory, committer: None }
    }
}

impl<I, O> Clone for OperatorNode<I, O> {
    fn clone(&self) -> Self {
        Self {
            uid: self.uid.clone(),
            name: self.name.clone(),
            factory: self.factory.clone(),
            committer: self.committer.clone(),
        }
    }
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

/// Makes a source's enumerator.
pub(crate) type EnumeratorFactory =
    Arc<dyn Fn(usize, Option<&[u8]>) -> OperatorResult<Box<dyn SplitEnumerator>> + Send + Sync>;

/// A task of the graph: a chain of operators at one parallelism.
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
    pub(crate) committers: Vec<(String, Arc<dyn Committer>)>,
    /// Makes the channels of each outgoing edge, which is only known once consumers are connected.
    pub(crate) outputs: Vec<EdgeFactory>,
    pub(crate) inputs: Vec<Edge>,
}

impl Vertex {
    /// Whether it reads from the outside.
    pub fn is_source(&self) -> bool {
        self.enumerator.is_some()
    }

    /// Its incoming edges.
    pub fn inputs(&self) -> &[Edge] {
        &self.inputs
    }
}

/// The graph of a job.
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
        let (name, uid) = (name.into(), uid.into());
        let enumerator_source = source.clone();
        let enumerator: EnumeratorFactory =
            Arc::new(move |parallelism, restored| enumerator_source.enumerator(parallelism, restored));
        let chain = rest.clone();
        let (body_uid, body_name) = (uid.clone(), name.clone());
        let body: BodyFactory = Arc::new(move |setup| {
            task::source_body(&body_uid, &body_name, source.as_ref(), watermarks.clone(), &chain, setup)
        });
        self.push(uid, name, parallelism, body, Some(enumerator), &rest, Vec::new(), Vec::new())
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
        let vertex = self.vertices.len();
        let mut edges = Vec::new();
        for (gate, input) in inputs.iter().enumerate() {
            let from = input.from.vertex;
            edges.push(Edge { from, to: vertex, exchange: input.exchange.name() });
            let edge = edge_factory(vertex, gate, input.exchange.clone());
            self.vertices[from].outputs.push(edge);
        }
        let indices: Vec<usize> = inputs.iter().map(|input| input.index).collect();
        let (uid, name, head_committer) = (head.uid.clone(), head.name.clone(), head.committer.clone());
        let chain = rest.clone();
        let body: BodyFactory = Arc::new(move |setup| task::operator_body(&head, &chain, &indices, setup));
        let committers = head_committer.map(|committer| (uid.clone(), committer)).into_iter().collect();
        self.push(uid, name, parallelism, body, None, &rest, committers, edges)
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of a vertex, from two callers")]
    fn push<B>(
        &mut self,
        uid: String,
        head_name: String,
        parallelism: usize,
        body: BodyFactory,
        enumerator: Option<EnumeratorFactory>,
        rest: &[OperatorNode<B, B>],
        mut committers: Vec<(String, Arc<dyn Committer>)>,
        inputs: Vec<Edge>,
    ) -> Port<B> {
        let mut name = head_name;
        let mut operators = vec![uid.clone()];
        for node in rest {
            name.push_str(" -> ");
            name.push_str(&node.name);
            operators.push(node.uid.clone());
            committers.extend(node.committer.clone().map(|committer| (node.uid.clone(), committer)));
        }
        let vertex = self.vertices.len();
        self.vertices.push(Vertex {
            uid,
            name,
            parallelism,
            operators,
            body,
            enumerator,
            committers,
            outputs: Vec::new(),
            inputs,
        });
        Port { vertex, output: PhantomData }
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
