//! A job whose output is known: numbers, counted by key, into a sink that commits. It reads as far as the test lets it.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use streamkeeper_cluster::{Planned, Planner};
use streamkeeper_coordination::jobs::JobSpec;
use streamkeeper_dataflow::batch::Records;
use streamkeeper_dataflow::config::Config;
use streamkeeper_dataflow::element::CheckpointId;
use streamkeeper_dataflow::graph::{Exchange, Input, JobGraph, OperatorNode};
use streamkeeper_dataflow::key_group::{KeySelector, hash_i64, key_group};
use streamkeeper_dataflow::operator::{Operator, OperatorContext, Output};
use streamkeeper_dataflow::sink::{Committable, Committer, Sink, SinkWriter, node};
use streamkeeper_dataflow::source::{Assignment, Poll, Source, SourceReader, Split, SplitEnumerator};
use streamkeeper_dataflow::state::SnapshotFn;
use streamkeeper_dataflow::time::Timestamp;
use streamkeeper_dataflow::{OperatorError, OperatorResult};

type Pairs = Records<(i64, i64)>;
type Rows = Vec<(i64, i64)>;

const SPLITS: u64 = 9;
const PER_SPLIT: u64 = 2_000;
const BATCH: u64 = 50;
const KEYS: i64 = 11;

/// How many numbers there are.
pub(crate) const ALL: u64 = SPLITS * PER_SPLIT;

/// What a test shares with the jobs of all its processes.
#[derive(Clone, Default)]
pub(crate) struct Numbers {
    /// How many numbers may still be read.
    pub(crate) allowed: Arc<AtomicU64>,
    /// How many have been.
    pub(crate) read: Arc<AtomicU64>,
    committed: Arc<Mutex<BTreeMap<String, Rows>>>,
}

impl Numbers {
    /// Lets so many more be read.
    pub(crate) fn allow(&self, more: u64) {
        self.allowed.fetch_add(more, Ordering::SeqCst);
    }

    /// Asserts that each number was committed exactly once, and counted right.
    pub(crate) fn check(&self) {
        let committed = self.committed.lock().unwrap();
        let mut rows: Rows = committed.values().flatten().copied().collect();
        rows.sort_unstable();
        let numbers: Vec<i64> = rows.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, (0..ALL as i64).collect::<Vec<_>>(), "each number exactly once");
        let mut counts: HashMap<i64, Vec<i64>> = HashMap::new();
        for (number, count) in rows {
            counts.entry(number % KEYS).or_default().push(count);
        }
        for (key, mut counts) in counts {
            counts.sort_unstable();
            assert_eq!(counts, (1..=counts.len() as i64).collect::<Vec<_>>(), "counts of key {key}");
        }
    }

    /// How many rows are committed.
    pub(crate) fn committed(&self) -> usize {
        self.committed.lock().unwrap().values().map(Vec::len).sum()
    }

    fn graph(&self, parallelism: usize) -> JobGraph {
        let mut graph = JobGraph::new(128);
        let numbers =
            graph.add_source("numbers", "numbers", parallelism, Arc::new(self.clone()), None, vec![]);
        let count = OperatorNode::new(
            "count",
            "count",
            Arc::new(|| Box::new(CountPerKey::default()) as Box<dyn Operator<_, _>>),
        );
        let input = Input { from: numbers, exchange: Exchange::Hash(Arc::new(ByKey)), index: 0 };
        let counted = graph.add_operator(parallelism, vec![input], count, vec![]);
        let sink = node("sink", "sink", Arc::new(self.clone()) as Arc<dyn Sink<Pairs>>);
        let input = Input { from: counted, exchange: Exchange::Rebalance, index: 0 };
        graph.add_operator(parallelism, vec![input], sink, vec![]);
        graph
    }
}

/// `wrong` cannot be planned; everything else is the job, with the parallelism of its spec.
impl Planner for Numbers {
    fn plan(&self, spec: &JobSpec) -> Result<Planned, String> {
        if spec.name == "wrong" {
            return Err("there is no such table".into());
        }
        let mut config = Config::default();
        for (key, value) in &spec.configuration {
            config.set(key, value)?;
        }
        let graph = self.graph(spec.parallelism as usize);
        Ok(Planned { name: spec.name.clone(), graph, settings: config.job(), config: Arc::default() })
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

impl Source<Pairs> for Numbers {
    fn enumerator(
        &self,
        _parallelism: usize,
        restored: Option<&[u8]>,
    ) -> OperatorResult<Box<dyn SplitEnumerator>> {
        if let Some(bytes) = restored {
            return Ok(Box::new(Ranges(serde_json::from_slice(bytes).map_err(OperatorError::fatal)?)));
        }
        let split = |n: u64| Split {
            id: format!("split-{n}"),
            payload: [(n * PER_SPLIT).to_le_bytes(), ((n + 1) * PER_SPLIT).to_le_bytes()].concat(),
            watermark: Timestamp::MIN,
        };
        Ok(Box::new(Ranges((0..SPLITS).map(split).collect())))
    }

    fn reader(&self, _context: &OperatorContext) -> OperatorResult<Box<dyn SourceReader<Pairs>>> {
        Ok(Box::new(Reader { splits: Vec::new(), numbers: self.clone() }))
    }
}

struct Reader {
    /// Id, next and end.
    splits: Vec<(String, u64, u64)>,
    numbers: Numbers,
}

impl SourceReader<Pairs> for Reader {
    fn add_split(&mut self, split: Split) -> OperatorResult<()> {
        let number = |at: usize| u64::from_le_bytes(split.payload[at..at + 8].try_into().unwrap());
        self.splits.push((split.id.clone(), number(0), number(8)));
        Ok(())
    }

    fn poll(&mut self, now_ms: Timestamp) -> OperatorResult<Poll<Pairs>> {
        let Some((id, next, end)) = self.splits.last_mut() else { return Ok(Poll::NeedSplit) };
        if next == end {
            return Ok(Poll::SplitEnd(self.splits.pop().unwrap().0));
        }
        let until = (*next + BATCH).min(*end);
        let take = |allowed: u64| allowed.checked_sub(until - *next);
        if self.numbers.allowed.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_err() {
            return Ok(Poll::WaitUntil(now_ms + 5));
        }
        self.numbers.read.fetch_add(until - *next, Ordering::SeqCst);
        let numbers = *next as i64..until as i64;
        *next = until;
        let batch = Records::new(numbers.clone().map(|n| (n % KEYS, n)).collect(), numbers.collect());
        Ok(Poll::Batch { split: id.clone(), batch })
    }

    fn snapshot(&mut self) -> OperatorResult<Vec<Split>> {
        let split = |(id, next, end): &(String, u64, u64)| Split {
            id: id.clone(),
            payload: [next.to_le_bytes(), end.to_le_bytes()].concat(),
            watermark: Timestamp::MIN,
        };
        Ok(self.splits.iter().map(split).collect())
    }
}

struct ByKey;

impl KeySelector<Pairs> for ByKey {
    fn hash(&self, batch: &Pairs, hashes: &mut Vec<u64>) -> Result<(), OperatorError> {
        hashes.clear();
        hashes.extend(batch.values.iter().map(|(key, _)| hash_i64(*key)));
        Ok(())
    }
}

/// Counts per key and emits `(number, count)`.
#[derive(Default)]
struct CountPerKey {
    counts: HashMap<i64, i64>,
    max_parallelism: u16,
}

impl Operator<Pairs, Pairs> for CountPerKey {
    fn open(&mut self, context: &OperatorContext) -> OperatorResult<()> {
        self.max_parallelism = context.max_parallelism;
        for (_, bytes) in context.restored.keyed("counts", "i64 to i64")? {
            let (key, count): (i64, i64) = serde_json::from_slice(bytes).map_err(OperatorError::fatal)?;
            assert!(self.counts.insert(key, count).is_none(), "key {key} was restored twice");
        }
        Ok(())
    }

    fn on_batch(&mut self, _input: usize, batch: Pairs, out: &mut dyn Output<Pairs>) -> OperatorResult<()> {
        let counted = batch.values.iter().map(|(key, number)| {
            let count = self.counts.entry(*key).or_default();
            *count += 1;
            (*number, *count)
        });
        let values = counted.collect();
        out.emit(Records::new(values, batch.timestamps))
    }

    fn snapshot(&mut self, _checkpoint: CheckpointId) -> OperatorResult<Option<SnapshotFn>> {
        let (counts, max) = (self.counts.clone(), self.max_parallelism);
        Ok(Some(Box::new(move |writer| {
            for (key, count) in counts {
                let bytes = serde_json::to_vec(&(key, count)).map_err(OperatorError::fatal)?;
                writer.keyed("counts", "i64 to i64", key_group(hash_i64(key), max), bytes);
            }
            Ok(())
        })))
    }
}

/// A transaction that is committed twice is the same commit.
impl Committer for Numbers {
    fn commit(&self, committables: &[Committable]) -> OperatorResult<()> {
        for committable in committables {
            let (id, rows): (String, Rows) =
                serde_json::from_slice(committable).map_err(OperatorError::fatal)?;
            self.committed.lock().unwrap().insert(id, rows);
        }
        Ok(())
    }

    fn recover(
        &self,
        _lineage: &str,
        _attempt: Option<u32>,
        committables: &[Committable],
    ) -> OperatorResult<()> {
        self.commit(committables)
    }
}

impl Sink<Pairs> for Numbers {
    fn writer(&self, context: &OperatorContext) -> OperatorResult<Box<dyn SinkWriter<Pairs>>> {
        Ok(Box::new(Writer { subtask: context.subtask, attempt: context.attempt, rows: Vec::new() }))
    }

    fn committer(&self) -> Option<Arc<dyn Committer>> {
        Some(Arc::new(self.clone()))
    }
}

struct Writer {
    subtask: usize,
    attempt: u32,
    rows: Rows,
}

impl SinkWriter<Pairs> for Writer {
    fn write(&mut self, batch: Pairs) -> OperatorResult<()> {
        self.rows.extend(batch.values);
        Ok(())
    }

    fn prepare_commit(&mut self, checkpoint: CheckpointId) -> OperatorResult<Vec<Committable>> {
        if self.rows.is_empty() {
            return Ok(Vec::new());
        }
        let id = format!("{checkpoint}-{}-{}", self.subtask, self.attempt);
        Ok(vec![serde_json::to_vec(&(id, std::mem::take(&mut self.rows))).map_err(OperatorError::fatal)?])
    }
}

/// A spec of the job.
pub(crate) fn spec(name: &str, parallelism: u32) -> JobSpec {
    let configuration = [
        ("execution.checkpointing.interval", "20 ms"),
        ("restart-strategy.type", "fixed-delay"),
        ("restart-strategy.fixed-delay.attempts", "1000000"),
        ("restart-strategy.fixed-delay.delay", "10 ms"),
    ];
    JobSpec {
        name: name.into(),
        parallelism,
        configuration: configuration.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        ..JobSpec::default()
    }
}

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);
