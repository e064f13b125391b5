//! The job of a simulation: numbers, a range of them in each split, into a sink that commits.
//!
//! Invariants that the [`Ledger`] checks: what is committed is in a checkpoint that was completed, and no number is committed twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use streamkeeper_coordination::jobs::JobSpec;
use streamkeeper_dataflow::batch::Records;
use streamkeeper_dataflow::config::Config;
use streamkeeper_dataflow::graph::{Exchange, Input, JobGraph};
use streamkeeper_dataflow::operator::OperatorContext;
use streamkeeper_dataflow::sink::{Committable, Committer, Sink, SinkWriter, node};
use streamkeeper_dataflow::source::{Assignment, Source, SourceReader, Split, SplitEnumerator};
use streamkeeper_dataflow::{OperatorError, OperatorResult};

use super::super::lock;
use crate::planner::{Planned, Planner};

const SPLITS: u64 = 24;
const PER_SPLIT: u64 = 8;

/// How many numbers there are.
pub(super) const ALL: u64 = SPLITS * PER_SPLIT;

/// Uids of the vertices, which are 0 and 1.
pub(super) const SOURCE: &str = "numbers";
pub(super) const SINK: &str = "sink";

type Numbers = Records<u64>;

/// A part of a split that is still to be read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Range {
    pub(super) next: u64,
    pub(super) end: u64,
}

impl Range {
    pub(super) fn of(split: &Split) -> Self {
        serde_json::from_slice(&split.payload).expect("a range")
    }

    pub(super) fn split(&self, id: &str) -> Split {
        let payload = serde_json::to_vec(self).expect("JSON");
        Split { id: id.into(), payload, watermark: i64::MIN }
    }
}

/// What a sink's subtask has written between two barriers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Transaction {
    pub(super) id: String,
    pub(super) subtask: usize,
    pub(super) attempt: u32,
    pub(super) numbers: Vec<u64>,
}

/// What is committed, and may be.
#[derive(Default)]
pub(super) struct Ledger {
    /// Transactions in completed checkpoints.
    pub(super) durable: BTreeMap<String, Transaction>,
    /// Committed ones.
    pub(super) done: BTreeSet<String>,
    /// Committed numbers.
    pub(super) numbers: BTreeSet<u64>,
    pub(super) tells: bool,
}

impl Ledger {
    pub(super) fn tell(&self, what: impl FnOnce() -> String) {
        if self.tells {
            println!("      {}", what());
        }
    }
}

/// The job, and the ledger that all its processes share.
#[derive(Clone)]
pub(super) struct TheJob {
    pub(super) ledger: Arc<Mutex<Ledger>>,
    pub(super) parallelism: usize,
}

impl TheJob {
    pub(super) fn graph(&self) -> JobGraph {
        let mut graph = JobGraph::new(8);
        let from = graph.add_source(SOURCE, SOURCE, self.parallelism, Arc::new(self.clone()), None, vec![]);
        let sink = node(SINK, SINK, Arc::new(self.clone()) as Arc<dyn Sink<Numbers>>);
        let input = Input { from, exchange: Exchange::Rebalance, index: 0 };
        graph.add_operator(self.parallelism, vec![input], sink, vec![]);
        graph
    }

    /// Some keys of the job.
    pub(super) fn spec() -> JobSpec {
        let keys = [
            ("execution.checkpointing.interval", "40 ms"),
            ("execution.checkpointing.timeout", "3 s"),
            ("execution.checkpointing.tolerable-failed-checkpoints", "1000000"),
            ("execution.checkpointing.num-retained", "2"),
            ("restart-strategy.type", "fixed-delay"),
            ("restart-strategy.fixed-delay.attempts", "1000000"),
            ("restart-strategy.fixed-delay.delay", "10 ms"),
        ];
        let configuration = keys.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        JobSpec { name: "numbers".into(), configuration, ..JobSpec::default() }
    }
}

impl Planner for TheJob {
    fn plan(&self, spec: &JobSpec) -> Result<Planned, String> {
        let mut config = Config::default();
        for (key, value) in &spec.configuration {
            config.set(key, value)?;
        }
        let mut settings = config.job();
        settings.buffer_timeout = Duration::ZERO;
        Ok(Planned { name: spec.name.clone(), graph: self.graph(), settings, config: Arc::default() })
    }
}

struct Ranges(Vec<Split>);

impl SplitEnumerator for Ranges {
    fn next_split(&mut self, _subtask: usize) -> Assignment {
        self.0.pop().map_or(Assignment::NoMoreSplits, Assignment::Split)
    }

    fn add_splits_back(&mut self, splits: Vec<Split>) {
        self.0.extend(splits);
    }

    fn snapshot(&self) -> OperatorResult<Vec<u8>> {
        serde_json::to_vec(&self.0).map_err(OperatorError::fatal)
    }
}

/// Tasks are modelled: there are no readers and writers.
fn modelled<T>() -> OperatorResult<T> {
    Err(OperatorError::fatal("a simulation has no tasks"))
}

impl Source<Numbers> for TheJob {
    fn enumerator(&self, _: usize, restored: Option<&[u8]>) -> OperatorResult<Box<dyn SplitEnumerator>> {
        if let Some(bytes) = restored {
            return Ok(Box::new(Ranges(serde_json::from_slice(bytes).map_err(OperatorError::fatal)?)));
        }
        let range = |n: u64| Range { next: n * PER_SPLIT, end: (n + 1) * PER_SPLIT };
        let splits = (0..SPLITS).map(|n| range(n).split(&format!("split-{n}"))).collect();
        Ok(Box::new(Ranges(splits)))
    }

    fn reader(&self, _: &OperatorContext) -> OperatorResult<Box<dyn SourceReader<Numbers>>> {
        modelled()
    }
}

impl Sink<Numbers> for TheJob {
    fn writer(&self, _: &OperatorContext) -> OperatorResult<Box<dyn SinkWriter<Numbers>>> {
        modelled()
    }

    fn committer(&self) -> Option<Arc<dyn Committer>> {
        Some(Arc::new(self.clone()))
    }
}

impl Committer for TheJob {
    fn commit(&self, committables: &[Committable]) -> OperatorResult<()> {
        let mut ledger = lock(&self.ledger);
        for committable in committables {
            let transaction: Transaction =
                serde_json::from_slice(committable).map_err(OperatorError::fatal)?;
            let durable = ledger.durable.get(&transaction.id);
            assert_eq!(durable, Some(&transaction), "it is committed, but in no completed checkpoint");
            if ledger.done.insert(transaction.id.clone()) {
                ledger.tell(|| format!("committed {}: {:?}", transaction.id, transaction.numbers));
                for number in transaction.numbers {
                    assert!(ledger.numbers.insert(number), "{number} is committed twice");
                }
            }
        }
        Ok(())
    }

    fn recover(&self, _: &str, _: Option<u32>, committables: &[Committable]) -> OperatorResult<()> {
        self.commit(committables)
    }
}
