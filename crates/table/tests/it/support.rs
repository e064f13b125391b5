//! Jobs from constants to a vector.

use std::marker::PhantomData;
use std::sync::{Arc, Mutex};

use streamkeeper_connectors::record::StreamRow;
use streamkeeper_dataflow::OperatorResult;
use streamkeeper_dataflow::batch::{Batch, Records};
use streamkeeper_dataflow::config::Config;
use streamkeeper_dataflow::element::CheckpointId;
use streamkeeper_dataflow::graph::{Exchange, Input, JobGraph};
use streamkeeper_dataflow::job::{JobStatus, launch};
use streamkeeper_dataflow::operator::OperatorContext;
use streamkeeper_dataflow::sink::{self, Committable, Sink, SinkWriter};
use streamkeeper_dataflow::source::{
    Assignment, Poll, Source, SourceReader, Split, SplitEnumerator, WatermarkGenerator, WatermarkStrategy,
};
use streamkeeper_dataflow::time::{MIN_WATERMARK, Timestamp};
use streamkeeper_datastream::StreamInputs;
use streamkeeper_sql::error::SqlError;
use streamkeeper_sql::parser::{Statement, parse_script};
use streamkeeper_sql::session::{BoundQuery, Session};
use streamkeeper_table::bridge::{Output, register};

/// A session and the graph that it plans into.
pub(crate) struct Job {
    pub(crate) session: Session,
    pub(crate) graph: JobGraph,
}

impl Job {
    pub(crate) fn new(parallelism: usize) -> Self {
        let mut config = streamkeeper_sql::config::new();
        config.set("parallelism.default", &parallelism.to_string()).unwrap();
        let graph = JobGraph::new(config.max_parallelism());
        Self { session: Session::new(config), graph }
    }

    /// A stream of one subtask: `batch` records a batch, whose event times are their watermarks.
    pub(crate) fn source<T>(&mut self, uid: &str, records: Vec<(T, Timestamp)>, batch: usize) -> Output<T>
    where
        Records<T>: Batch,
        T: Clone + Send + Sync + 'static,
    {
        let batches = records.chunks(batch).map(|part| part.iter().cloned().unzip()).collect();
        let source = Arc::new(Constants { batches: Arc::new(batches) });
        let port = self.graph.add_source(
            uid,
            uid,
            1,
            source,
            Some(Arc::new(Ascending(PhantomData::<fn(T)>))),
            vec![],
        );
        Output { port, uid: uid.to_owned() }
    }

    pub(crate) fn register<T: StreamRow + 'static>(
        &mut self,
        name: &str,
        stream: &Output<T>,
        rowtime: Option<&str>,
    ) -> Result<(), SqlError>
    where
        Records<T>: Batch,
    {
        let parallelism = self.graph.vertices[stream.port.vertex()].parallelism;
        let inputs = vec![Input { from: stream.port, exchange: Exchange::Forward, index: 0 }];
        let inputs = StreamInputs { inputs, parallelism, uid: stream.uid.clone() };
        register(&mut self.session, &mut self.graph, name, inputs, rowtime)
    }

    pub(crate) fn query(&self, sql: &str) -> Result<BoundQuery, SqlError> {
        let script = parse_script(sql).unwrap();
        let [statement] = script.as_slice() else { panic!("one statement") };
        let Statement::Query(query) = &statement.node else { panic!("a query") };
        self.session.query(query)
    }

    /// Runs the job; what came out of `stream`.
    pub(crate) fn collect<T>(mut self, stream: &Output<T>) -> Vec<(T, Timestamp)>
    where
        Records<T>: Batch,
        T: Clone + Send + Sync + 'static,
    {
        let collected = Arc::new(Mutex::new(Vec::new()));
        let parallelism = self.graph.vertices[stream.port.vertex()].parallelism;
        let node = sink::node("collect", "collect", Arc::new(Collect(collected.clone())));
        let input = Input { from: stream.port, exchange: Exchange::Forward, index: 0 };
        self.graph.add_operator(parallelism, vec![input], node, vec![]);
        let job = launch(self.graph, "test", &Config::default().job(), None, Arc::default()).unwrap();
        assert_eq!(job.wait().unwrap(), JobStatus::Finished);
        let records = collected.lock().unwrap();
        records.clone()
    }
}

struct Ascending<T>(PhantomData<fn(T)>);

impl<T> WatermarkStrategy<Records<T>> for Ascending<T> {
    fn generator(&self, _: Timestamp) -> Box<dyn WatermarkGenerator<Records<T>>> {
        Box::new(AscendingGenerator)
    }
}

struct AscendingGenerator;

impl<T> WatermarkGenerator<Records<T>> for AscendingGenerator {
    fn on_batch(&mut self, batch: &mut Records<T>) -> OperatorResult<Option<Timestamp>> {
        Ok(batch.timestamps.iter().max().map(|time| time - 1))
    }
}

type Batches<T> = Arc<Vec<(Vec<T>, Vec<Timestamp>)>>;

struct Constants<T> {
    batches: Batches<T>,
}

struct Once(bool);

impl SplitEnumerator for Once {
    fn next_split(&mut self, _: usize) -> Assignment {
        if std::mem::replace(&mut self.0, true) {
            return Assignment::NoMoreSplits;
        }
        Assignment::Split(Split { id: "all".into(), payload: vec![], watermark: MIN_WATERMARK })
    }

    fn add_splits_back(&mut self, _: Vec<Split>) {
        self.0 = false;
    }

    fn snapshot(&self) -> OperatorResult<Vec<u8>> {
        Ok(vec![])
    }
}

struct Reader<T> {
    batches: Batches<T>,
    next: Option<usize>,
}

impl<T> Source<Records<T>> for Constants<T>
where
    Records<T>: Batch,
    T: Clone + Send + Sync + 'static,
{
    fn enumerator(&self, _: usize, _: Option<&[u8]>) -> OperatorResult<Box<dyn SplitEnumerator>> {
        Ok(Box::new(Once(false)))
    }

    fn reader(&self, _: &OperatorContext) -> OperatorResult<Box<dyn SourceReader<Records<T>>>> {
        Ok(Box::new(Reader { batches: self.batches.clone(), next: None }))
    }
}

impl<T: Clone> SourceReader<Records<T>> for Reader<T> {
    fn add_split(&mut self, _: Split) -> OperatorResult<()> {
        self.next = Some(0);
        Ok(())
    }

    fn poll(&mut self, _: Timestamp) -> OperatorResult<Poll<Records<T>>> {
        let Some(next) = &mut self.next else { return Ok(Poll::NeedSplit) };
        let Some((values, timestamps)) = self.batches.get(*next) else {
            self.next = None;
            return Ok(Poll::SplitEnd("all".into()));
        };
        *next += 1;
        Ok(Poll::Batch { split: "all".into(), batch: Records::new(values.clone(), timestamps.clone()) })
    }

    fn snapshot(&mut self) -> OperatorResult<Vec<Split>> {
        Ok(vec![])
    }
}

struct Collect<T>(Arc<Mutex<Vec<(T, Timestamp)>>>);

impl<T: Send + 'static> Sink<Records<T>> for Collect<T> {
    fn writer(&self, _: &OperatorContext) -> OperatorResult<Box<dyn SinkWriter<Records<T>>>> {
        Ok(Box::new(Collect(self.0.clone())))
    }
}

impl<T> SinkWriter<Records<T>> for Collect<T> {
    fn write(&mut self, batch: Records<T>) -> OperatorResult<()> {
        self.0.lock().unwrap().extend(batch.values.into_iter().zip(batch.timestamps));
        Ok(())
    }

    fn prepare_commit(&mut self, _: CheckpointId) -> OperatorResult<Vec<Committable>> {
        Ok(vec![])
    }
}
