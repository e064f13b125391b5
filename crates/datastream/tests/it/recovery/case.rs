//! Runs one job three times over: each run fails and restarts as its seed says, and the next one goes on from its last
//! checkpoint at another parallelism.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use streamkeeper_dataflow::job::{JobHandle, JobStatus};
use streamkeeper_datastream::{DataStream, FromSource, StreamExecutionEnvironment};

use super::ledger::{Ledger, LedgerSink, Row};
use super::numbers::{KEYS, Number, Numbers};
use super::plan::{Failure, How, Place, Plan, Random};

const RUNS: u32 = 3;
const FAILURES_PER_RUN: u64 = 2;
const SEEDS: std::ops::Range<u64> = 0..2;
/// A job that takes so long hangs.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The source's stream before anything was made of it.
pub(super) type Source = DataStream<Number, FromSource<Number>>;

#[derive(Clone, Copy)]
enum Job {
    /// Behind the map that fails.
    Behind(fn(DataStream<Number>) -> DataStream<Row>),
    /// In the source's task; there is no map before it.
    AtSource(fn(Source) -> DataStream<Row>),
}

/// A job, and what must come out of it.
pub(super) struct Case {
    job: Job,
    expected: fn(&[Number]) -> Vec<Row>,
    ordered: bool,
    emits_at_end: bool,
    neighbour: bool,
    rescaled: bool,
}

impl Case {
    /// `expected` gives all rows for all numbers, in order per key. The numbers come by key, those of a key in order.
    pub(super) fn new(
        job: fn(DataStream<Number>) -> DataStream<Row>,
        expected: fn(&[Number]) -> Vec<Row>,
    ) -> Self {
        let job = Job::Behind(job);
        Self { job, expected, ordered: true, emits_at_end: false, neighbour: false, rescaled: true }
    }

    /// As [`Case::new`], for what is chained to the source.
    pub(super) fn at_source(job: fn(Source) -> DataStream<Row>, expected: fn(&[Number]) -> Vec<Row>) -> Self {
        let job = Job::AtSource(job);
        Self { job, expected, ordered: true, emits_at_end: false, neighbour: false, rescaled: true }
    }

    /// Another job beside this one that never fails: a region of its own, which goes on when this one restarts.
    pub(super) fn with_a_neighbour(self) -> Self {
        Self { neighbour: true, ..self }
    }

    /// The rows of a key may come in any order.
    pub(super) fn in_any_order(self) -> Self {
        Self { ordered: false, ..self }
    }

    /// The job emits when its input has ended: it cannot be made to fail behind the operator before.
    pub(super) fn emits_at_end(self) -> Self {
        Self { emits_at_end: true, ..self }
    }

    /// All runs have one parallelism.
    pub(super) fn at_one_parallelism(self) -> Self {
        Self { rescaled: false, ..self }
    }

    /// Runs with all seeds, or with those that `RECOVERY_SEEDS` names (`7` or `0..100`).
    pub(super) fn run(&self) {
        let mut seeds = SEEDS;
        if let Ok(text) = std::env::var("RECOVERY_SEEDS") {
            let number = |text: &str| text.parse::<u64>().expect("RECOVERY_SEEDS is `7` or `0..100`");
            seeds = match text.split_once("..") {
                Some((from, to)) => number(from)..number(to),
                None => number(&text)..number(&text) + 1,
            };
        }
        for seed in seeds {
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.run_seed(seed)));
            if let Err(panic) = outcome {
                eprintln!("seed {seed}: set RECOVERY_SEEDS={seed} to run it again");
                std::panic::resume_unwind(panic);
            }
        }
    }

    fn run_seed(&self, seed: u64) {
        let mut random = Random(seed);
        let parallelism = 1 + random.below(8) as usize;
        let directory = tempfile::tempdir().expect("a directory");
        let plan = Arc::new(Plan::default());
        let ledgers = [Ledger::default(), Ledger::default()];
        for run in 0..RUNS {
            let failures: Vec<Failure> =
                (0..FAILURES_PER_RUN).map(|_| self.failure(&mut random, true)).collect();
            plan.begin(failures);
            let env = StreamExecutionEnvironment::new();
            env.set_parallelism(if self.rescaled { 1 + random.below(8) as usize } else { parallelism });
            let job = self.start(&env, &mut random, run, &plan, &ledgers, directory.path());
            let last = run + 1 == RUNS;
            let ended = drive(job, &plan, |job| match (last, random.below(3)) {
                (true, way) => {
                    if way < 2 {
                        plan.add(self.failure(&mut random, false));
                    }
                    plan.finish();
                }
                (false, 0) => plan.add(Failure { how: How::Fatal, ..self.failure(&mut random, true) }),
                (false, _) => job.cancel(),
            });
            match ended {
                Ok(JobStatus::Finished) => assert!(last, "run {run} ended too early"),
                Ok(status) => {
                    assert!(!last && status == JobStatus::Canceled, "run {run} ended as {status:?}")
                }
                Err(error) => assert!(!last && error.contains("the end, planned"), "run {run}: {error}"),
            }
            assert!(plan.happened() >= FAILURES_PER_RUN, "run {run}: not all failures happened");
        }
        verify(&self.numbers(&plan), self.expected, &ledgers[0], self.ordered);
        if self.neighbour {
            verify(&self.numbers(&plan), neighbours_rows, &ledgers[1], true);
        }
    }

    fn numbers(&self, plan: &Plan) -> Vec<Number> {
        (0..KEYS).flat_map(|key| (0..plan.rounds()).map(move |round| (key, round))).collect()
    }

    fn failure(&self, random: &mut Random, after_checkpoint: bool) -> Failure {
        let before = match self.job {
            Job::AtSource(_) => false,
            Job::Behind(_) => self.emits_at_end || random.chance(),
        };
        let place = if before { Place::Before } else { Place::After };
        let how = if random.chance() { How::Error } else { How::Panic };
        Failure { place, records: 1 + random.below(400), after_checkpoint, how }
    }

    fn start(
        &self,
        env: &StreamExecutionEnvironment,
        random: &mut Random,
        run: u32,
        plan: &Arc<Plan>,
        ledgers: &[Ledger; 2],
        directory: &Path,
    ) -> JobHandle {
        env.enable_checkpointing(Duration::from_millis(1 + random.below(3))).expect("an interval");
        let set = |key: &str, value: &str| env.set(key, value).expect("valid");
        set("execution.checkpointing.dir", directory.to_str().expect("a path in UTF-8"));
        set("restart-strategy.type", "fixed-delay");
        set("restart-strategy.fixed-delay.attempts", "100");
        set("restart-strategy.fixed-delay.delay", if random.chance() { "0 ms" } else { "1 ms" });
        set("execution.buffer-timeout.interval", if random.chance() { "0 ms" } else { "100 ms" });
        if run > 0 {
            env.restore_from(directory);
        }
        let (before, after) = (plan.clone(), plan.clone());
        let source = env.from_source(Numbers::new(plan.clone()));
        let rows = match self.job {
            Job::AtSource(job) => job(source),
            Job::Behind(job) => job(source
                .partition_custom(|(key, _), parallelism| *key as usize % parallelism)
                .try_map(move |number| before.pass(Place::Before).map(|()| number))
                .shared()),
        };
        rows.partition_custom(|(key, _), parallelism| *key as usize % parallelism)
            .try_map(move |row| after.pass(Place::After).map(|()| row))
            .sink_to(LedgerSink { ledger: ledgers[0].clone(), run });
        if self.neighbour {
            env.from_source(Numbers::new(plan.clone()))
                .key_by(|(key, _)| *key)
                .reduce(|(key, a), (_, b)| (key, a + b))
                .sink_to(LedgerSink { ledger: ledgers[1].clone(), run });
        }
        env.execute_async("recovery").expect("starts")
    }
}

fn neighbours_rows(numbers: &[Number]) -> Vec<Row> {
    numbers.iter().map(|(key, n)| (*key, n * (n + 1) / 2)).collect()
}

/// Compares what was committed with what is expected of these numbers.
fn verify(numbers: &[Number], expected: fn(&[Number]) -> Vec<Row>, ledger: &Ledger, ordered: bool) {
    let mut rows: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for (key, value) in expected(numbers) {
        rows.entry(key).or_default().push(value);
    }
    let mut committed = ledger.by_key();
    assert_eq!(committed.keys().collect::<Vec<_>>(), rows.keys().collect::<Vec<_>>(), "the keys");
    for (key, expected) in &mut rows {
        let committed = committed.get_mut(key).expect("compared above");
        if !ordered {
            expected.sort_unstable();
            committed.sort_unstable();
        }
        let same = expected.iter().zip(committed.iter()).take_while(|(a, b)| a == b).count();
        let near = |values: &[u64]| values[same..values.len().min(same + 5)].to_vec();
        assert!(
            same == expected.len() && same == committed.len(),
            "key {key}: {} rows where {} are expected; from row {same} on {:?} and not {:?}",
            committed.len(),
            expected.len(),
            near(committed),
            near(expected),
        );
    }
}

/// Waits for the job's end; calls `end` when all planned failures are through.
fn drive(job: JobHandle, plan: &Plan, end: impl FnOnce(&JobHandle)) -> Result<JobStatus, String> {
    let (started, mut end) = (Instant::now(), Some(end));
    let seconds = std::env::var("RECOVERY_TIMEOUT_S").ok().and_then(|text| text.parse().ok());
    let timeout = seconds.map_or(TIMEOUT, Duration::from_secs);
    while !job.is_done() {
        if plan.is_through(job.metrics().number_of_completed_checkpoints.get())
            && let Some(end) = end.take()
        {
            end(&job);
        }
        if started.elapsed() > timeout {
            job.cancel();
            panic!("the job hangs: {plan:?}");
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    job.wait().map_err(|error| error.to_string())
}
