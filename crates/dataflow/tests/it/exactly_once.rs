//! A source of known numbers, a shuffle, an operator that fails, another shuffle and a sink that commits: whatever
//! fails, each number is in the committed output exactly once, and running sums per key never go back.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use streamkeeper_dataflow::batch::Records;
use streamkeeper_dataflow::checkpoint::coordinator::CoordinatorConfig;
use streamkeeper_dataflow::checkpoint::{location::locate, storage::CheckpointStorage};
use streamkeeper_dataflow::element::CheckpointId;
use streamkeeper_dataflow::graph::{Exchange, Input, JobGraph, OperatorNode};
use streamkeeper_dataflow::job::{JobConfig, JobStatus, new_lineage, start};
use streamkeeper_dataflow::key_group::{KeySelector, hash_i64, key_group};
use streamkeeper_dataflow::operator::{Operator, OperatorContext, Output};
use streamkeeper_dataflow::restart::RestartStrategy;
use streamkeeper_dataflow::sink::{Committable, Committer, Sink, SinkWriter, node};
use streamkeeper_dataflow::source::{Assignment, Poll, Source, SourceReader, Split, SplitEnumerator};
use streamkeeper_dataflow::state::{RestoredState, SnapshotFn};
use streamkeeper_dataflow::time::Timestamp;
use streamkeeper_dataflow::{Error, OperatorError, OperatorResult};

pub(crate) type Pairs = Records<(i64, i64)>;

pub(crate) const SPLITS: u64 = 7;
pub(crate) const PER_SPLIT: u64 = 3_000;
const BATCH: u64 = 50;
const KEYS: i64 = 11;

/// Numbers `0 .. SPLITS * PER_SPLIT`, a range per split.
pub(crate) struct Numbers {
    pub(crate) pause: Duration,
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

#[derive(Default)]
struct RangeReader {
    /// Id, next and end.
    splits: Vec<(String, u64, u64)>,
    pause: Duration,
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
        Ok(Box::new(RangeReader { splits: Vec::new(), pause: self.pause }))
    }
}

impl SourceReader<Pairs> for RangeReader {
    fn add_split(&mut self, split: Split) -> OperatorResult<()> {
        let number = |at: usize| u64::from_le_bytes(split.payload[at..at + 8].try_into().expect("8 bytes"));
        self.splits.push((split.id.clone(), number(0), number(8)));
        Ok(())
    }

    fn poll(&mut self, _now_ms: Timestamp) -> OperatorResult<Poll<Pairs>> {
        let Some((id, next, end)) = self.splits.last_mut() else { return Ok(Poll::NeedSplit) };
        if next == end {
            return Ok(Poll::SplitEnd(self.splits.pop().expect("just seen").0));
        }
        std::thread::sleep(self.pause);
        let until = (*next + BATCH).min(*end);
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

pub(crate) struct ByKey;
impl KeySelector<Pairs> for ByKey {
    fn hash(&self, batch: &Pairs, hashes: &mut Vec<u64>) -> Result<(), OperatorError> {
        hashes.clear();
        hashes.extend(batch.values.iter().map(|(key, _)| hash_i64(*key)));
        Ok(())
    }
}

/// Counts per key and emits `(number, count)`; fails when the shared fuse reaches zero.
struct CountPerKey {
    counts: HashMap<i64, i64>,
    max_parallelism: u16,
    fuse: Arc<AtomicU64>,
    panics: bool,
}

impl Operator<Pairs, Pairs> for CountPerKey {
    fn open(&mut self, context: &OperatorContext) -> OperatorResult<()> {
        self.max_parallelism = context.max_parallelism;
        for (key_group, bytes) in context.restored.keyed("counts", "i64 to i64")? {
            assert!(context.key_groups.contains(key_group));
            let (key, count): (i64, i64) = serde_json::from_slice(bytes).map_err(OperatorError::fatal)?;
            assert!(self.counts.insert(key, count).is_none(), "key {key} was restored twice");
        }
        Ok(())
    }

    fn on_batch(&mut self, _input: usize, batch: Pairs, out: &mut dyn Output<Pairs>) -> OperatorResult<()> {
        let rows = batch.values.len() as u64;
        if (1..=rows).contains(&self.fuse.fetch_sub(rows, Ordering::SeqCst)) {
            assert!(!self.panics, "the fuse is blown");
            return Err(OperatorError::recoverable("the fuse is blown"));
        }
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

pub(crate) type Rows = Vec<(i64, i64)>;

/// Committed transactions by their id; a transaction committed twice is the same commit.
#[derive(Default, Clone)]
pub(crate) struct Committed(pub(crate) Arc<Mutex<BTreeMap<String, Rows>>>);

impl Committer for Committed {
    fn commit(&self, committables: &[Committable]) -> OperatorResult<()> {
        for committable in committables {
            let (id, rows): (String, Rows) =
                serde_json::from_slice(committable).map_err(OperatorError::fatal)?;
            self.0.lock().expect("no panic while held").insert(id, rows);
        }
        Ok(())
    }

    fn recover(&self, _lineage: &str, _: Option<u32>, committables: &[Committable]) -> OperatorResult<()> {
        self.commit(committables)
    }
}

pub(crate) struct CollectSink(pub(crate) Committed);
struct CollectWriter {
    subtask: usize,
    attempt: u32,
    rows: Rows,
}

impl Sink<Pairs> for CollectSink {
    fn writer(&self, context: &OperatorContext) -> OperatorResult<Box<dyn SinkWriter<Pairs>>> {
        Ok(Box::new(CollectWriter { subtask: context.subtask, attempt: context.attempt, rows: Vec::new() }))
    }

    fn committer(&self) -> Option<Arc<dyn Committer>> {
        Some(Arc::new(self.0.clone()))
    }
}

impl SinkWriter<Pairs> for CollectWriter {
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

pub(crate) struct Setup {
    pub(crate) parallelism: (usize, usize, usize),
    /// Blows after so many of the source's batches, however their rows arrive.
    pub(crate) fuse: u64,
    pub(crate) panics: bool,
    pub(crate) pause: Duration,
    pub(crate) restart: RestartStrategy,
}

pub(crate) fn graph(setup: &Setup, committed: &Committed) -> JobGraph {
    let (sources, counters, sinks) = setup.parallelism;
    let (fuse, panics) = (Arc::new(AtomicU64::new(setup.fuse.saturating_mul(BATCH))), setup.panics);
    let mut graph = JobGraph::new(128);
    let source = Arc::new(Numbers { pause: setup.pause });
    let numbers = graph.add_source("numbers", "numbers", sources, source, None, vec![]);
    let count = OperatorNode::new(
        "count",
        "count",
        Arc::new(move || {
            let counts = HashMap::new();
            Box::new(CountPerKey { counts, max_parallelism: 0, fuse: fuse.clone(), panics })
                as Box<dyn Operator<_, _>>
        }),
    );
    let input = Input { from: numbers, exchange: Exchange::Hash(Arc::new(ByKey)), index: 0 };
    let counted = graph.add_operator(counters, vec![input], count, vec![]);
    let sink = node("sink", "sink", Arc::new(CollectSink(committed.clone())) as Arc<dyn Sink<Pairs>>);
    let input = Input { from: counted, exchange: Exchange::Rebalance, index: 0 };
    graph.add_operator(sinks, vec![input], sink, vec![]);
    graph
}

pub(crate) fn config(lineage: &str, restart: RestartStrategy) -> JobConfig {
    JobConfig {
        name: "numbers".into(),
        lineage: lineage.into(),
        config: Arc::default(),
        allow_non_restored_state: false,
        checkpointing: CoordinatorConfig {
            interval_ms: Some(5),
            timeout_ms: 60_000,
            min_pause_ms: 0,
            tolerable_failures: 0,
        },
        num_retained: 2,
        restart,
        channel_capacity_bytes: 4096,
        buffer_timeout: Duration::from_millis(1),
    }
}

pub(crate) fn check(committed: &Committed) {
    let committed = committed.0.lock().expect("no panic while held");
    let mut rows: Rows = committed.values().flatten().copied().collect();
    rows.sort_unstable();
    let numbers: Vec<i64> = rows.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (0..(SPLITS * PER_SPLIT) as i64).collect::<Vec<_>>(), "each number exactly once");
    let mut counts: HashMap<i64, Vec<i64>> = HashMap::new();
    for (number, count) in rows {
        counts.entry(number % KEYS).or_default().push(count);
    }
    for (key, mut counts) in counts {
        counts.sort_unstable();
        assert_eq!(counts, (1..=counts.len() as i64).collect::<Vec<_>>(), "counts of key {key}");
    }
}

pub(crate) const FAST_RESTART: RestartStrategy = RestartStrategy::FixedDelay { attempts: 3, delay_ms: 1 };

#[test]
fn a_bounded_job_finishes_with_all_rows_at_any_parallelism() {
    for parallelism in [(1, 1, 1), (2, 3, 1), (3, 2, 2), (1, 4, 3)] {
        let committed = Committed::default();
        let setup = Setup {
            parallelism,
            fuse: u64::MAX,
            panics: false,
            pause: Duration::ZERO,
            restart: RestartStrategy::None,
        };
        let lineage = new_lineage();
        let storage = CheckpointStorage::in_memory(&lineage).expect("memory");
        let job =
            start(graph(&setup, &committed), config(&lineage, setup.restart), storage, None).expect("valid");
        assert_eq!(job.wait().expect("no failure"), JobStatus::Finished);
        check(&committed);
    }
}

#[test]
fn a_failed_region_restarts_from_the_latest_checkpoint() {
    for (fuse, panics) in [(1, false), (10, true), (30, false), (60, true)] {
        let committed = Committed::default();
        let pause = Duration::from_micros(200);
        let setup = Setup { parallelism: (2, 3, 2), fuse, panics, pause, restart: FAST_RESTART };
        let lineage = new_lineage();
        let storage = CheckpointStorage::in_memory(&lineage).expect("memory");
        let job =
            start(graph(&setup, &committed), config(&lineage, setup.restart), storage, None).expect("valid");
        let (status, restarts) = wait(job);
        assert_eq!((status.expect("restarted"), restarts), (JobStatus::Finished, 1), "fuse {fuse}");
        check(&committed);
    }
}

pub(crate) fn wait(job: streamkeeper_dataflow::job::JobHandle) -> (Result<JobStatus, Error>, u64) {
    while !job.is_done() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let restarts = job.metrics().num_restarts.get();
    (job.wait(), restarts)
}

fn run_in(directory: &Path, setup: Setup, committed: &Committed, resume: bool) -> Result<JobStatus, Error> {
    let (lineage, restore) = if resume {
        let location = locate(directory)?;
        let storage = CheckpointStorage::directory(directory, &location.lineage)?;
        (location.lineage, Some(storage.read(location.checkpoint)?))
    } else {
        (new_lineage(), None)
    };
    let storage = CheckpointStorage::directory(directory, &lineage)?;
    start(graph(&setup, committed), config(&lineage, setup.restart), storage, restore)?.wait()
}

#[test]
fn a_job_resumes_in_another_process_at_another_parallelism() {
    let directory = tempfile::tempdir().expect("temp dir");
    let committed = Committed::default();
    let pause = Duration::from_micros(200);
    let failing =
        |parallelism, fuse| Setup { parallelism, fuse, panics: false, pause, restart: RestartStrategy::None };
    // So slow that it has completed a checkpoint before.
    let slow = Setup { pause: Duration::from_millis(3), ..failing((2, 2, 2), 60) };
    let error = run_in(directory.path(), slow, &committed, false).expect_err("the fuse");
    assert!(error.to_string().contains("count (subtask"), "{error}");
    run_in(directory.path(), failing((1, 3, 1), 15), &committed, true).expect_err("the fuse again");
    let status = run_in(directory.path(), failing((3, 1, 2), u64::MAX), &committed, true);
    assert_eq!(status.expect("no failure"), JobStatus::Finished);
    check(&committed);
    let again = run_in(directory.path(), failing((1, 1, 1), u64::MAX), &committed, true);
    assert_eq!(again.expect("nothing to do"), JobStatus::Finished);
    check(&committed);
}

#[test]
fn a_damaged_checkpoint_is_refused() {
    let directory = tempfile::tempdir().expect("temp dir");
    let setup = || Setup {
        parallelism: (1, 1, 1),
        fuse: u64::MAX,
        panics: false,
        pause: Duration::ZERO,
        restart: RestartStrategy::None,
    };
    run_in(directory.path(), setup(), &Committed::default(), false).expect("no failure");
    let location = locate(directory.path()).expect("a checkpoint");
    let chk = directory.path().join(&location.lineage).join(format!("chk-{}", location.checkpoint));
    for file in ["state-0", "state-master", "_metadata"] {
        let good = std::fs::read(chk.join(file)).expect("readable");
        for bad in [&good[..good.len() / 2], &[]] {
            std::fs::write(chk.join(file), bad).expect("writable");
            let error = run_in(directory.path(), setup(), &Committed::default(), true).expect_err("damaged");
            assert!(error.to_string().contains("truncated"), "{error}");
        }
        let mut flipped = good.clone();
        flipped[good.len() / 2] ^= 1;
        std::fs::write(chk.join(file), flipped).expect("writable");
        let error = run_in(directory.path(), setup(), &Committed::default(), true).expect_err("damaged");
        assert!(error.to_string().contains("checksum"), "{error}");
        std::fs::write(chk.join(file), good).expect("writable");
    }
}

#[test]
fn nothing_is_committed_while_the_pointer_cannot_be_written() {
    let directory = tempfile::tempdir().expect("temp dir");
    let committed = Committed::default();
    let setup = Setup {
        parallelism: (1, 2, 2),
        fuse: u64::MAX,
        panics: false,
        pause: Duration::from_micros(200),
        restart: RestartStrategy::None,
    };
    let lineage = new_lineage();
    // A directory with something in it can be replaced by no file.
    std::fs::create_dir_all(directory.path().join(&lineage).join("_latest/in-the-way")).expect("writable");
    let storage = CheckpointStorage::directory(directory.path(), &lineage).expect("writable");
    let mut config = config(&lineage, RestartStrategy::None);
    config.checkpointing.tolerable_failures = 10;
    let error = start(graph(&setup, &committed), config, storage, None).expect("valid").wait();
    let error = error.expect_err("no checkpoint completes").to_string();
    assert!(error.contains("_latest"), "{error}");
    assert!(committed.0.lock().expect("no panic while held").is_empty(), "rows of no checkpoint");
}

#[test]
fn list_state_is_dealt_out_evenly_and_completely() {
    use streamkeeper_dataflow::state::StateWriter;
    let mut segments = Vec::new();
    for subtask in 0..3u8 {
        let mut writer = StateWriter::new("op");
        (0..4).for_each(|i| writer.list("items", "f", vec![subtask * 4 + i]));
        segments.extend(writer.into_segments());
    }
    let mut all = Vec::new();
    for subtask in 0..5 {
        let share = RestoredState::share(&segments, subtask, 5, 0..0).expect("one fingerprint");
        let items: Vec<u8> = share.list("items", "f").expect("the same fingerprint").map(|i| i[0]).collect();
        assert!((2..=3).contains(&items.len()));
        assert!(share.list("items", "g").is_err());
        all.extend(items);
    }
    all.sort_unstable();
    assert_eq!(all, (0..12).collect::<Vec<u8>>());
}
