//! Savepoints: a job ends with one and goes on from it, elsewhere and at another parallelism, each number committed exactly once;
//! a savepoint of a job that runs on changes nothing for it.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use streamkeeper_dataflow::Error;
use streamkeeper_dataflow::checkpoint::savepoint::{dispose, import, is_savepoint, read, read_state};
use streamkeeper_dataflow::checkpoint::storage::CheckpointStorage;
use streamkeeper_dataflow::element::CheckpointId;
use streamkeeper_dataflow::graph::{Exchange, Input, JobGraph};
use streamkeeper_dataflow::job::trigger::{Reply, Trigger};
use streamkeeper_dataflow::job::{JobHandle, JobStatus, new_lineage, start};
use streamkeeper_dataflow::restart::RestartStrategy;
use streamkeeper_dataflow::sink::node;

use crate::exactly_once::{CollectSink, Committed, FAST_RESTART, Setup, check, config, graph, wait};

fn setup(parallelism: (usize, usize, usize)) -> Setup {
    let (pause, restart) = (Duration::from_micros(300), RestartStrategy::None);
    Setup { parallelism, fuse: u64::MAX, panics: false, pause, restart }
}

/// Starts a job in memory that takes no checkpoints of itself.
fn begin(setup: &Setup, committed: &Committed) -> JobHandle {
    let lineage = new_lineage();
    let mut config = config(&lineage, setup.restart.clone());
    config.checkpointing.interval_ms = None;
    let storage = CheckpointStorage::in_memory(&lineage).expect("memory");
    start(graph(setup, committed), config, storage, None).expect("valid")
}

/// Lets a job begin with a savepoint.
fn go_on(graph: JobGraph, savepoint: &Path, claim: bool, allow: bool) -> Result<JobHandle, Error> {
    let lineage = new_lineage();
    let storage = CheckpointStorage::in_memory(&lineage)?;
    let checkpoint = import(&storage, &lineage, savepoint, claim)?;
    let restored = storage.read(checkpoint)?;
    let mut config = config(&lineage, RestartStrategy::None);
    (config.allow_non_restored_state, config.num_retained) = (allow, 1);
    start(graph, config, storage, Some(restored))
}

fn ask(job: &JobHandle, trigger: Trigger) -> Result<CheckpointId, String> {
    let (tell, told) = mpsc::channel();
    job.trigger(trigger, Reply::new(move |answer| drop(tell.send(answer))));
    told.recv().expect("each request is answered")
}

fn rows(committed: &Committed) -> usize {
    committed.0.lock().expect("no panic while held").values().map(Vec::len).sum()
}

/// Waits until rows have come to the sink.
fn wait_for_rows(job: &JobHandle) {
    let arrived =
        || job.vertices().last().map_or(0, |sink| sink.subtasks.iter().map(|m| m.num_records_in.get()).sum());
    while arrived() == 0_u64 {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn stop(savepoint: PathBuf, drain: bool) -> Trigger {
    Trigger::Stop { savepoint, drain }
}

#[test]
fn a_job_ends_with_a_savepoint_and_another_goes_on_elsewhere_at_another_parallelism() {
    for drain in [false, true] {
        let directory = tempfile::tempdir().expect("temp dir");
        let committed = Committed::default();
        let job = begin(&setup((2, 3, 2)), &committed);
        wait_for_rows(&job);
        let savepoint = directory.path().join("savepoint-1");
        let checkpoint = ask(&job, stop(savepoint.clone(), drain)).expect("complete");
        let before = rows(&committed);
        assert!(checkpoint == 1 && before > 0, "what was written is committed before the answer");
        assert_eq!(job.wait().expect("no failure"), JobStatus::Finished);
        assert_eq!(rows(&committed), before, "nothing comes after it");
        let moved = directory.path().join("moved");
        std::fs::rename(&savepoint, &moved).expect("a directory of its own");
        assert!(read(&moved).expect("complete").states.iter().all(|state| state.name != "$committables"));
        let job = go_on(graph(&setup((1, 2, 3)), &committed), &moved, false, false).expect("it fits");
        assert_eq!(job.wait().expect("no failure"), JobStatus::Finished);
        check(&committed);
        assert!(is_savepoint(&moved), "it is not the job's");
    }
}

#[test]
fn a_savepoint_commits_nothing_and_whoever_begins_with_it_does() {
    let directory = tempfile::tempdir().expect("temp dir");
    let committed = Committed::default();
    let job = begin(&setup((2, 2, 2)), &committed);
    wait_for_rows(&job);
    let savepoint = directory.path().join("s");
    ask(&job, Trigger::Savepoint(savepoint.clone())).expect("complete");
    assert_eq!(rows(&committed), 0);
    job.cancel();
    assert_eq!(job.wait().expect("no failure"), JobStatus::Canceled);
    let job = go_on(graph(&setup((3, 1, 1)), &committed), &savepoint, true, false).expect("it fits");
    assert_eq!(job.wait().expect("no failure"), JobStatus::Finished);
    check(&committed);
    assert!(!savepoint.exists(), "it was the job's, which did not need it any more");
}

#[test]
fn a_job_that_fails_after_a_savepoint_repeats_nothing() {
    let directory = tempfile::tempdir().expect("temp dir");
    for fuse in [20, 45, 80] {
        let committed = Committed::default();
        let mut setup = setup((2, 3, 2));
        (setup.fuse, setup.restart) = (fuse, FAST_RESTART);
        let lineage = new_lineage();
        let storage = CheckpointStorage::in_memory(&lineage).expect("memory");
        let config = config(&lineage, FAST_RESTART);
        let job = start(graph(&setup, &committed), config, storage, None).expect("valid");
        let mut taken = 0;
        for n in 0.. {
            match ask(&job, Trigger::Savepoint(directory.path().join(format!("{fuse}-{n}")))) {
                Ok(_) => taken += 1,
                Err(reason) if reason.contains("has ended") || reason.contains("its end") => break,
                Err(_) => {}
            }
        }
        let (status, restarts) = wait(job);
        assert_eq!((status.expect("restarted"), restarts), (JobStatus::Finished, 1));
        check(&committed);
        assert!(taken > 0, "a savepoint completes before or after the failure");
    }
    for entry in std::fs::read_dir(directory.path()).expect("readable") {
        let path = entry.expect("readable").path();
        assert!(!is_savepoint(&path) || read_state(&path).is_ok(), "{}", path.display());
    }
}

#[test]
fn state_of_operators_that_are_gone_is_refused_unless_that_is_allowed() {
    let directory = tempfile::tempdir().expect("temp dir");
    let job = begin(&setup((1, 2, 1)), &Committed::default());
    wait_for_rows(&job);
    let savepoint = directory.path().join("s");
    ask(&job, stop(savepoint.clone(), false)).expect("complete");
    let committed = Committed::default();
    let changed = || {
        let whole = graph(&setup((1, 1, 1)), &committed);
        let mut graph = JobGraph::new(whole.max_parallelism);
        let source = std::sync::Arc::new(crate::exactly_once::Numbers { pause: Duration::ZERO });
        let from = graph.add_source("numbers", "numbers", 1, source, None, vec![]);
        let sink = node("sink", "sink", std::sync::Arc::new(CollectSink(committed.clone())) as _);
        graph.add_operator(1, vec![Input { from, exchange: Exchange::Rebalance, index: 0 }], sink, vec![]);
        graph
    };
    let error = go_on(changed(), &savepoint, false, false).err().expect("refused").to_string();
    assert!(
        error.contains("count in `count` (`counts`)") && error.contains("--allow-non-restored-state"),
        "{error}"
    );
    let job = go_on(changed(), &savepoint, false, true).expect("allowed");
    assert_eq!(job.wait().expect("no failure"), JobStatus::Finished);
    assert!(rows(&committed) > 0);
}

#[test]
fn only_savepoints_are_disposed_of_and_only_what_is_theirs() {
    let directory = tempfile::tempdir().expect("temp dir");
    let savepoint = directory.path().join("s");
    let error = dispose(&savepoint).expect_err("there is none").to_string();
    assert!(error.contains("no savepoint"), "{error}");
    let job = begin(&setup((1, 1, 1)), &Committed::default());
    ask(&job, Trigger::Savepoint(savepoint.clone())).expect("complete");
    std::fs::write(savepoint.join("notes.txt"), "mine").expect("writable");
    dispose(&savepoint).expect("a savepoint");
    let left: Vec<_> = std::fs::read_dir(&savepoint).expect("it stays").collect();
    assert_eq!(left.len(), 1);
    let checkpoint = directory.path().join("chk-7");
    ask(&job, Trigger::Savepoint(checkpoint.clone())).expect("complete");
    let error = dispose(&checkpoint).expect_err("named as one of a job").to_string();
    assert!(error.contains("a checkpoint") && checkpoint.join("_metadata").is_file(), "{error}");
    job.cancel();
    assert_eq!(ask(&job, Trigger::Checkpoint).map_err(|e| e.contains("has ended")), Err(true));
}
