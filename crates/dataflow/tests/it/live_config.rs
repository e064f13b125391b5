//! A configuration that changes under a running job: each row is computed under one revision, in the source's chain and behind
//! a shuffle alike; committed revisions never go back, whatever fails; a restore begins with what the checkpoint holds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use streamkeeper_dataflow::batch::Records;
use streamkeeper_dataflow::checkpoint::{location::locate, storage::CheckpointStorage};
use streamkeeper_dataflow::graph::{Exchange, Input, JobGraph, OperatorNode};
use streamkeeper_dataflow::job::{JobHandle, JobStatus, new_lineage, start};
use streamkeeper_dataflow::live_config::{ConfigDocument, ConfigSnapshot};
use streamkeeper_dataflow::operator::{Operator, OperatorContext, Output};
use streamkeeper_dataflow::restart::RestartStrategy;
use streamkeeper_dataflow::sink::{Sink, node};
use streamkeeper_dataflow::{OperatorError, OperatorResult};

use crate::exactly_once::{
    ByKey, CollectSink, Committed, FAST_RESTART, Numbers, PER_SPLIT, Pairs, SPLITS, config, wait,
};

fn revision(revision: u64) -> Arc<ConfigSnapshot> {
    let document = ConfigDocument { revision, data: serde_json::json!({"threshold": revision * 10}) };
    Arc::new(ConfigSnapshot::from_iter([("rules".to_owned(), document)]))
}

/// Whether to fail now; asked at each batch behind the shuffle.
type Fuse = Arc<dyn Fn() -> bool + Send + Sync>;

fn never() -> Fuse {
    Arc::new(|| false)
}

/// Puts the revision in force beside the number; behind the shuffle, it must be that of the source's chain. It holds a batch
/// back, at most until a barrier.
struct Stamp {
    is_first: bool,
    held: Option<Pairs>,
    revision: i64,
    fails: Fuse,
}

impl Operator<Pairs, Pairs> for Stamp {
    fn open(&mut self, _context: &OperatorContext) -> OperatorResult<()> {
        Ok(())
    }

    fn on_config(&mut self, config: &Arc<ConfigSnapshot>) -> OperatorResult<()> {
        self.revision = config.revision("rules").unwrap_or(0) as i64;
        Ok(())
    }

    fn on_batch(&mut self, _input: usize, batch: Pairs, out: &mut dyn Output<Pairs>) -> OperatorResult<()> {
        if (self.fails)() {
            return Err(OperatorError::recoverable("the fuse is blown"));
        }
        match self.held.replace(batch) {
            Some(batch) => self.stamp(batch, out),
            None => Ok(()),
        }
    }

    fn flush(&mut self, out: &mut dyn Output<Pairs>) -> OperatorResult<()> {
        match self.held.take() {
            Some(batch) => self.stamp(batch, out),
            None => Ok(()),
        }
    }

    fn finish(&mut self, out: &mut dyn Output<Pairs>) -> OperatorResult<()> {
        self.flush(out)
    }
}

impl Stamp {
    fn stamp(&mut self, batch: Pairs, out: &mut dyn Output<Pairs>) -> OperatorResult<()> {
        let stamp = |(a, b): &(i64, i64)| {
            if self.is_first {
                return Ok((*b, self.revision));
            }
            match *b == self.revision {
                true => Ok((*a, *b)),
                false => Err(OperatorError::fatal(format!("row {a}: revision {b}, then {}", self.revision))),
            }
        };
        let values = batch.values.iter().map(stamp).collect::<OperatorResult<_>>()?;
        out.emit(Records::new(values, batch.timestamps))
    }
}

fn graph(parallelism: (usize, usize), pause: Duration, fuse: &Fuse, committed: &Committed) -> JobGraph {
    let mut graph = JobGraph::new(128);
    let stamp = |name: &str, is_first: bool| {
        let fuse = if is_first { never() } else { fuse.clone() };
        let make = move || {
            Box::new(Stamp { is_first, held: None, revision: -1, fails: fuse.clone() })
                as Box<dyn Operator<Pairs, Pairs>>
        };
        OperatorNode::new(name, name, Arc::new(make))
    };
    let source = Arc::new(Numbers { pause });
    let numbers =
        graph.add_source("numbers", "numbers", parallelism.0, source, None, vec![stamp("first", true)]);
    let input = Input { from: numbers, exchange: Exchange::Hash(Arc::new(ByKey)), index: 0 };
    let second = graph.add_operator(parallelism.1, vec![input], stamp("second", false), vec![]);
    let sink = node("sink", "sink", Arc::new(CollectSink(committed.clone())) as Arc<dyn Sink<Pairs>>);
    graph.add_operator(
        1,
        vec![Input { from: second, exchange: Exchange::Rebalance, index: 0 }],
        sink,
        vec![],
    );
    graph
}

/// Each number once, and no revision before an earlier one; gives the revisions in the order of checkpoints.
fn check(committed: &Committed) -> Vec<u64> {
    let committed = committed.0.lock().expect("no panic while held");
    let mut by_checkpoint: BTreeMap<u64, BTreeSet<i64>> = BTreeMap::new();
    let mut numbers = Vec::new();
    for (id, rows) in committed.iter() {
        let checkpoint = id.split('-').next().and_then(|n| n.parse().ok()).expect("<checkpoint>-…");
        by_checkpoint.entry(checkpoint).or_default().extend(rows.iter().map(|(_, revision)| *revision));
        numbers.extend(rows.iter().map(|(number, _)| *number));
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (0..(SPLITS * PER_SPLIT) as i64).collect::<Vec<_>>(), "each number exactly once");
    let revisions: Vec<u64> = by_checkpoint.values().flatten().map(|revision| *revision as u64).collect();
    assert!(revisions.is_sorted(), "{by_checkpoint:?}");
    revisions
}

/// Changes the configuration until the job ends.
fn under_changes(job: JobHandle, from: u64) -> (Result<JobStatus, streamkeeper_dataflow::Error>, u64) {
    let (job_config, stop) = (job.reconfigurer(), Arc::new(AtomicBool::new(false)));
    let stopped = stop.clone();
    let changes = std::thread::spawn(move || {
        for n in from.. {
            if stopped.load(Ordering::Relaxed) {
                return;
            }
            // Now and then an older one comes late.
            job_config.reconfigure(revision(if n % 5 == 0 { n / 2 } else { n })).expect("small");
            std::thread::sleep(Duration::from_millis(2));
        }
    });
    let outcome = wait(job);
    stop.store(true, Ordering::Relaxed);
    changes.join().expect("no panic");
    outcome
}

#[test]
fn rows_are_computed_under_one_revision_whatever_fails() {
    for (parallelism, fuse) in [((1, 1), u64::MAX), ((2, 3), 60), ((3, 2), 200)] {
        let committed = Committed::default();
        let lineage = new_lineage();
        let storage = CheckpointStorage::in_memory(&lineage).expect("memory");
        let config =
            streamkeeper_dataflow::job::JobConfig { config: revision(1), ..config(&lineage, FAST_RESTART) };
        let left = AtomicU64::new(fuse);
        let blows: Fuse = Arc::new(move || left.fetch_sub(1, Ordering::SeqCst) == 1);
        let graph = graph(parallelism, Duration::from_micros(300), &blows, &committed);
        let (status, restarts) = under_changes(start(graph, config, storage, None).expect("valid"), 2);
        assert_eq!(status.expect("restarted"), JobStatus::Finished);
        assert_eq!(restarts, u64::from(fuse < u64::MAX));
        let revisions: BTreeSet<u64> = check(&committed).into_iter().collect();
        assert!(revisions.len() > 3, "changes came into force: {revisions:?}");
    }
}

#[test]
fn a_change_needs_no_checkpoint_interval() {
    let committed = Committed::default();
    let lineage = new_lineage();
    let storage = CheckpointStorage::in_memory(&lineage).expect("memory");
    let mut config = config(&lineage, RestartStrategy::None);
    config.checkpointing.interval_ms = None;
    let graph = graph((1, 2), Duration::from_millis(1), &never(), &committed);
    let job = start(graph, config, storage, None).expect("valid");
    job.reconfigure(revision(7)).expect("small");
    assert_eq!(wait(job).0.expect("no failure"), JobStatus::Finished);
    assert!(check(&committed).contains(&7));
}

fn run_in(
    directory: &Path,
    resume: bool,
    config_at_start: Arc<ConfigSnapshot>,
    fuse: &Fuse,
    committed: &Committed,
) -> Result<JobStatus, streamkeeper_dataflow::Error> {
    let (lineage, restore) = if resume {
        let location = locate(directory)?;
        let storage = CheckpointStorage::directory(directory, &location.lineage)?;
        (location.lineage, Some(storage.read(location.checkpoint)?))
    } else {
        (new_lineage(), None)
    };
    if let Some(restored) = &restore {
        assert_eq!(restored.manifest.config.revision("rules"), Some(5), "the checkpoint names its revision");
    }
    let storage = CheckpointStorage::directory(directory, &lineage)?;
    let mut config = config(&lineage, RestartStrategy::None);
    config.config = config_at_start;
    start(graph((2, 2), Duration::from_micros(300), fuse, committed), config, storage, restore)?.wait()
}

#[test]
fn a_restore_begins_with_what_the_checkpoint_holds() {
    for (at_restore, last) in [(3, 5), (9, 9)] {
        let directory = tempfile::tempdir().expect("temp dir");
        let committed = Committed::default();
        let seen = committed.clone();
        let once_committed: Fuse = Arc::new(move || !seen.0.lock().expect("no panic while held").is_empty());
        run_in(directory.path(), false, revision(5), &once_committed, &committed).expect_err("the fuse");
        let resumed = run_in(directory.path(), true, revision(at_restore), &never(), &committed);
        assert_eq!(resumed.expect("no failure"), JobStatus::Finished);
        let revisions = check(&committed);
        assert_eq!(revisions.last(), Some(&last));
        assert!(revisions.iter().all(|revision| *revision == 5 || *revision == last), "{revisions:?}");
    }
}
