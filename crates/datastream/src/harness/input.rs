//! From a piece of a job to its operators in a harness, and what goes into them: records of one type, or of two.

use std::rc::Rc;
use std::sync::Arc;

use streamkeeper_dataflow::OperatorResult;
use streamkeeper_dataflow::batch::{Either, Records};
use streamkeeper_dataflow::graph::{Exchange, OperatorNode};
use streamkeeper_dataflow::key_group::DEFAULT_MAX_PARALLELISM;
use streamkeeper_dataflow::operator::{Operator, OperatorFactory};
use streamkeeper_dataflow::time::Timestamp;

use super::{HarnessSnapshot, OperatorHarness};
use crate::Data;
use crate::begin::{FromPorts, FromTwo, Upstream, fuse};
use crate::chain::{Begin, Emit, Feed, Fused, Pipeline};
use crate::env::Topology;
use crate::error::Error;
use crate::source::CollectionSource;
use crate::stream::DataStream;

/// The hash of the key of a batch of one record; `None` when it may go to any subtask.
pub(super) type Route<B> = Arc<dyn Fn(&B) -> OperatorResult<Option<u64>>>;

/// What a harness is made of.
pub(super) struct Harnessed<B, O> {
    pub(super) uid: String,
    pub(super) factory: OperatorFactory<B, Records<O>>,
    pub(super) inputs: usize,
    pub(super) route: Route<B>,
}

/// A stream that stands for an input of the harness.
fn input<T: Data + Sync>(topology: &Rc<Topology>, name: &str) -> DataStream<T> {
    let port = topology.graph.borrow_mut().add_source::<Records<T>>(
        name,
        name,
        1,
        Arc::new(CollectionSource::new(Vec::new())),
        None,
        Vec::new(),
    );
    let upstream = Upstream { port, exchange: Exchange::Forward, parallelism: 1, uid: name.to_owned() };
    DataStream::new(topology.clone(), FromPorts { upstreams: vec![upstream], parallelism: 1 })
}

/// The operators of the stream's task; their inputs must be those of the harness.
fn operators<B, P>(
    mut stream: DataStream<P::Out, P>,
    inputs: &[&str],
) -> Result<OperatorNode<B, Records<P::Out>>, Error>
where
    B: Feed,
    P: Pipeline,
    P::Begin: Begin<Batch = B>,
    Fused<P::Running<Emit<P::Out>>>: Operator<B, Records<P::Out>>,
{
    if let Some(reason) = stream.topology.take_refusal() {
        return Err(Error::InvalidJob(reason));
    }
    if stream.pipeline.begin().parents() != inputs {
        return Err(Error::InvalidJob(
            "a harness takes the operators of one task, from its inputs on: a stream that was dealt out anew behind an \
             operator (key_by, rebalance, shared, …) begins another task, which needs a harness of its own"
                .into(),
        ));
    }
    stream.resolve();
    let node = fuse(stream.pipeline);
    node.ok_or_else(|| Error::InvalidJob("there is no operator to be harnessed".into()))
}

/// The keys of a stream's records, as the exchange before it finds them.
fn route<T: Data>(upstreams: &[Upstream<T>]) -> impl Fn(&Records<T>) -> OperatorResult<Option<u64>> + use<T> {
    let exchange = upstreams.first().map(|upstream| upstream.exchange.clone());
    move |batch| {
        let Some(Exchange::Hash(keys)) = &exchange else { return Ok(None) };
        let mut hashes = Vec::new();
        keys.hash(batch, &mut hashes)?;
        Ok(hashes.first().copied())
    }
}

fn one<T>(value: T, timestamp: Timestamp) -> Records<T> {
    Records { values: vec![value], timestamps: vec![timestamp] }
}

impl<I: Data + Sync, O: Data> OperatorHarness<Records<I>, O> {
    /// A harness for the operators that `job` puts behind a stream, as subtask 0 of 1, at processing time 0.
    ///
    /// # Errors
    /// When they are not those of one task, or cannot be opened.
    pub fn new<P>(job: impl FnOnce(DataStream<I>) -> DataStream<O, P>) -> Result<Self, Error>
    where
        P: Pipeline<Begin = FromPorts<I>, Out = O>,
    {
        let topology = Rc::new(Topology::new(DEFAULT_MAX_PARALLELISM, 1));
        let stream = job(input(&topology, "input"));
        let route = Arc::new(route(&stream.pipeline.begin().upstreams));
        let OperatorNode { uid, factory, .. } = operators(stream, &["input"])?;
        Self::open(Harnessed { uid, factory, inputs: 1, route }, &HarnessSnapshot::default(), 0, 1, 0)
    }

    /// Gives a record to the operators.
    ///
    /// # Errors
    /// Those of the operators.
    pub fn push(&mut self, value: I, timestamp: Timestamp) -> Result<(), Error> {
        self.batch(0, one(value, timestamp))
    }

    /// Gives records with their event times to the operators, as one batch.
    ///
    /// # Errors
    /// Those of the operators.
    pub fn push_all(&mut self, records: impl IntoIterator<Item = (I, Timestamp)>) -> Result<(), Error> {
        let (values, timestamps) = records.into_iter().unzip();
        self.batch(0, Records { values, timestamps })
    }

    /// Whether a record with this key would be sent to this subtask.
    ///
    /// # Errors
    /// When its key cannot be found.
    pub fn takes(&self, value: &I) -> Result<bool, Error> {
        self.routes(&one(value.clone(), 0))
    }
}

impl<A: Data + Sync, B: Data + Sync, O: Data> OperatorHarness<Either<Records<A>, Records<B>>, O> {
    /// A harness for the operators that `job` puts behind two streams, as subtask 0 of 1, at processing time 0.
    ///
    /// # Errors
    /// When they are not those of one task, or cannot be opened.
    pub fn two_inputs<P>(
        job: impl FnOnce(DataStream<A>, DataStream<B>) -> DataStream<O, P>,
    ) -> Result<Self, Error>
    where
        P: Pipeline<Begin = FromTwo<A, B>, Out = O>,
    {
        let topology = Rc::new(Topology::new(DEFAULT_MAX_PARALLELISM, 1));
        let stream = job(input(&topology, "first"), input(&topology, "second"));
        let begin = stream.pipeline.begin();
        let (first, second) = (route(&begin.first), route(&begin.second));
        let route: Route<_> = Arc::new(move |batch: &Either<_, _>| match batch {
            Either::First(batch) => first(batch),
            Either::Second(batch) => second(batch),
        });
        let OperatorNode { uid, factory, .. } = operators(stream, &["first", "second"])?;
        Self::open(Harnessed { uid, factory, inputs: 2, route }, &HarnessSnapshot::default(), 0, 1, 0)
    }

    /// Gives a record to the first input.
    ///
    /// # Errors
    /// Those of the operators.
    pub fn push_first(&mut self, value: A, timestamp: Timestamp) -> Result<(), Error> {
        self.batch(0, Either::First(one(value, timestamp)))
    }

    /// Gives a record to the second input.
    ///
    /// # Errors
    /// Those of the operators.
    pub fn push_second(&mut self, value: B, timestamp: Timestamp) -> Result<(), Error> {
        self.batch(1, Either::Second(one(value, timestamp)))
    }

    /// Advances event time on the first input. The smaller of both counts.
    ///
    /// # Errors
    /// Those of the operators.
    pub fn watermark_first(&mut self, watermark: Timestamp) -> Result<(), Error> {
        self.input_watermark(0, watermark)
    }

    /// Advances event time on the second input.
    ///
    /// # Errors
    /// Those of the operators.
    pub fn watermark_second(&mut self, watermark: Timestamp) -> Result<(), Error> {
        self.input_watermark(1, watermark)
    }

    /// Whether a record of the first input would be sent to this subtask.
    ///
    /// # Errors
    /// When its key cannot be found.
    pub fn takes_first(&self, value: &A) -> Result<bool, Error> {
        self.routes(&Either::First(one(value.clone(), 0)))
    }

    /// Whether a record of the second input would be sent to this subtask.
    ///
    /// # Errors
    /// When its key cannot be found.
    pub fn takes_second(&self, value: &B) -> Result<bool, Error> {
        self.routes(&Either::Second(one(value.clone(), 0)))
    }
}
