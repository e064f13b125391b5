//! Jobs on clusters whose JobManagers and TaskManagers are all in this process, at the embedded keeper.

mod chaos;
pub(crate) mod numbers;
mod rescale;
mod rpc_tls;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use streamkeeper_cluster::jobmanager::view::JobView;
use streamkeeper_cluster::network::TlsSettings;
use streamkeeper_cluster::{
    Error, Heartbeat, JobId, JobManager, JobManagerHandle, JobManagerOptions, TaskManager, TaskManagerOptions,
};
use streamkeeper_coordination::jobs::{JobState, Submitted};
use streamkeeper_coordination::layout::Layout;
use streamkeeper_keeper::server::{Keeper, ServerOptions, StorageOptions};
use streamkeeper_zookeeper::{Options, block_on};

use self::numbers::{ALL, Numbers, PATIENCE, spec};
use crate::support::exchange;

const JOB: JobId = JobId([7; 16]);

/// A ZooKeeper, and what the processes of a cluster share.
pub(crate) struct TestCluster {
    keeper: Option<Keeper>,
    address: SocketAddr,
    pub(crate) directory: tempfile::TempDir,
    pub(crate) numbers: Numbers,
    stabilization: Duration,
    grace: Duration,
}

fn keeper(address: Option<SocketAddr>, directory: &Path) -> Keeper {
    let mut options = ServerOptions::default();
    options.client_addresses = address.map_or(options.client_addresses, |address| vec![address]);
    options.core.tick_ms = 200;
    options.core.min_session_timeout_ms = 400;
    options.storage = Some(StorageOptions::new(directory));
    Keeper::start(options).unwrap()
}

impl TestCluster {
    pub(crate) fn start() -> Self {
        // What happened is shown with RUST_LOG set and --nocapture.
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
        let directory = tempfile::tempdir().unwrap();
        let keeper = keeper(None, &directory.path().join("zookeeper"));
        let address = keeper.client_address().unwrap();
        let (stabilization, grace) = (Duration::from_secs(60), Duration::from_secs(60));
        Self { keeper: Some(keeper), address, directory, numbers: Numbers::default(), stabilization, grace }
    }

    fn options(&self) -> Options {
        Options {
            session_timeout: Duration::from_secs(10),
            connection_timeout: Duration::from_millis(800),
            max_backoff: Duration::from_millis(200),
            ..Options::new(self.address.to_string())
        }
    }

    pub(crate) fn job_manager_options(&self, name: &str) -> JobManagerOptions {
        let checkpoints = self.directory.path().join("checkpoints");
        let mut options = JobManagerOptions::new(name, Layout::default(), self.options(), checkpoints);
        options.heartbeat = HEARTBEAT;
        options.stabilization = self.stabilization;
        options
    }

    fn job_manager(&self, name: &str) -> JobManager {
        JobManager::start(self.job_manager_options(name), Arc::new(self.numbers.clone())).unwrap()
    }

    pub(crate) fn task_manager(&self, name: &str, slots: usize) -> TaskManager {
        self.task_manager_with(name, slots, None)
    }

    /// One whose RPC is within TLS, if so.
    fn task_manager_with(&self, name: &str, slots: usize, tls: Option<TlsSettings>) -> TaskManager {
        let mut options = TaskManagerOptions::new(name, Layout::default(), self.options());
        let exchange = exchange();
        let address = exchange.address().to_owned();
        options.slots = slots;
        options.tls = tls;
        options.data_plane_grace = self.grace;
        options.heartbeat = HEARTBEAT;
        options.network = Some((Arc::new(exchange), address));
        TaskManager::start(options, Arc::new(self.numbers.clone())).unwrap()
    }
}

const HEARTBEAT: Heartbeat =
    Heartbeat { interval: Duration::from_millis(100), timeout: Duration::from_secs(10) };

pub(crate) fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn job(handle: &JobManagerHandle) -> Option<JobView> {
    handle.job(JOB).unwrap()
}

fn wait_for_state(handle: &JobManagerHandle, state: JobState) -> JobView {
    wait_for(&format!("the job is {state}"), || job(handle).is_some_and(|job| job.state == state));
    job(handle).unwrap()
}

/// Waits until all tasks run, as the leader sees it.
fn wait_for_tasks(handle: &JobManagerHandle) -> JobView {
    let runs = |job: &JobView| {
        let subtasks: Vec<_> = job.vertices.iter().flat_map(|vertex| &vertex.subtasks).collect();
        job.state == JobState::Running
            && !subtasks.is_empty()
            && subtasks.iter().all(|subtask| subtask.state == "RUNNING")
    };
    wait_for("all tasks run", || job(handle).is_some_and(|job| runs(&job)));
    job(handle).unwrap()
}

/// Attempt and TaskManager of each subtask of each vertex.
fn placement(job: &JobView) -> Vec<Vec<(u32, String)>> {
    let subtasks = |vertex: &streamkeeper_cluster::jobmanager::view::VertexView| {
        vertex.subtasks.iter().map(|subtask| (subtask.attempt, subtask.worker.clone())).collect()
    };
    job.vertices.iter().map(subtasks).collect()
}

/// Waits until a checkpoint completes that had not when this was called.
fn wait_for_checkpoint(handle: &JobManagerHandle) {
    let latest = || job(handle).and_then(|job| job.checkpoints.last().copied()).unwrap_or(0);
    let before = latest();
    wait_for("a checkpoint", || latest() > before);
}

pub(crate) fn leads(handle: &JobManagerHandle) -> bool {
    handle.view().unwrap().is_leader
}

/// Lets the rest be read, and sees that all comes out right.
fn finish(cluster: &TestCluster, handle: &JobManagerHandle) -> JobView {
    cluster.numbers.allow(100 * ALL);
    let job = wait_for_state(handle, JobState::Finished);
    cluster.numbers.check();
    job
}

#[test]
fn a_job_runs_on_two_task_managers_and_finishes() {
    let cluster = TestCluster::start();
    let manager = cluster.job_manager("jm");
    let workers = [cluster.task_manager("a", 2), cluster.task_manager("b", 2)];
    let handle = manager.handle();
    cluster.numbers.allow(ALL / 3);
    wait_for("a leader", || leads(&handle));
    assert_eq!(handle.submit(JOB, spec("numbers", 4)).unwrap(), Submitted::New);
    let running = wait_for_tasks(&handle);
    wait_for_checkpoint(&handle);
    for vertex in placement(&running) {
        for worker in &workers {
            assert_eq!(vertex.iter().filter(|(attempt, w)| *attempt == 0 && w == worker.id()).count(), 2);
        }
    }
    let view = handle.view().unwrap();
    assert_eq!(view.task_managers.iter().map(|t| (t.slots, t.free_slots)).collect::<Vec<_>>(), [(2, 0); 2]);
    assert_eq!(handle.submit(JOB, spec("numbers", 4)).unwrap(), Submitted::AlreadyThere);
    let ended = finish(&cluster, &handle);
    assert_eq!((ended.restarts, ended.error, ended.name.as_str()), (0, None, "numbers"));
    let again = handle.submit(JOB, spec("numbers", 4)).unwrap_err().to_string();
    assert!(again.contains("has ended: FINISHED"), "{again}");
    wait_for("free slots", || handle.view().unwrap().task_managers.iter().all(|t| t.free_slots == 2));
}

#[test]
fn what_cannot_be_planned_is_refused_and_a_job_waits_for_slots() {
    let cluster = TestCluster::start();
    let manager = cluster.job_manager("jm");
    let handle = manager.handle();
    wait_for("a leader", || leads(&handle));
    let refused = handle.submit(JOB, spec("wrong", 1)).unwrap_err();
    assert!(matches!(&refused, Error::InvalidJob { reason, .. } if reason.contains("no such table")));
    handle.submit(JOB, spec("numbers", 3)).unwrap();
    let _first = cluster.task_manager("a", 2);
    wait_for("a TaskManager", || handle.view().unwrap().task_managers.iter().any(|t| t.connected));
    assert_eq!(job(&handle).unwrap().state, JobState::Created);
    let _second = cluster.task_manager("b", 1);
    wait_for_tasks(&handle);
    finish(&cluster, &handle);
}

#[test]
fn a_job_that_is_canceled_stops_and_frees_its_slots() {
    let cluster = TestCluster::start();
    let manager = cluster.job_manager("jm");
    let _worker = cluster.task_manager("a", 2);
    let handle = manager.handle();
    cluster.numbers.allow(ALL / 3);
    wait_for("a leader", || leads(&handle));
    handle.submit(JOB, spec("numbers", 2)).unwrap();
    wait_for_tasks(&handle);
    handle.cancel(JOB).unwrap();
    wait_for_state(&handle, JobState::Canceled);
    wait_for("free slots", || handle.view().unwrap().task_managers.iter().all(|t| t.free_slots == 2));
    assert!(handle.cancel(JOB).unwrap_err().to_string().contains("has ended"));
}

#[test]
fn the_tasks_of_a_task_manager_that_is_gone_go_on_elsewhere() {
    let cluster = TestCluster::start();
    let manager = cluster.job_manager("jm");
    let mut workers = vec![cluster.task_manager("a", 2), cluster.task_manager("b", 2)];
    let handle = manager.handle();
    cluster.numbers.allow(ALL / 3);
    wait_for("a leader", || leads(&handle));
    handle.submit(JOB, spec("numbers", 4)).unwrap();
    wait_for_tasks(&handle);
    wait_for_checkpoint(&handle);
    let gone = workers.remove(0);
    let id = gone.id().to_owned();
    drop(gone);
    let spare = cluster.task_manager("c", 2);
    cluster.numbers.allow(ALL);
    wait_for("all tasks are elsewhere", || {
        let placed = placement(&job(&handle).unwrap());
        let elsewhere = |vertex: &Vec<(u32, String)>| {
            vertex.iter().all(|(attempt, worker)| *attempt > 0 && *worker != id)
                && vertex.iter().filter(|(_, worker)| worker == spare.id()).count() == 2
        };
        placed.iter().all(elsewhere)
    });
    let ended = finish(&cluster, &handle);
    assert!(ended.restarts > 0);
}

/// Runs a job, takes the leader away, and sees that another JobManager takes the job over as it is.
fn take_over(take_away: impl FnOnce(JobManager) -> Option<JobManager>) {
    let cluster = TestCluster::start();
    let first = cluster.job_manager("first");
    let _workers = [cluster.task_manager("a", 2), cluster.task_manager("b", 2)];
    wait_for("a leader", || leads(&first.handle()));
    let second = cluster.job_manager("second");
    let handle = second.handle();
    cluster.numbers.allow(ALL / 3);
    first.handle().submit(JOB, spec("numbers", 4)).unwrap();
    let before = placement(&wait_for_tasks(&first.handle()));
    wait_for_checkpoint(&first.handle());
    wait_for("the standby knows of the job", || job(&handle).is_some());
    let kept = take_away(first);
    wait_for("the other leads", || leads(&handle));
    assert_eq!(placement(&wait_for_tasks(&handle)), before, "nothing was started again");
    wait_for_checkpoint(&handle);
    let committed = cluster.numbers.committed();
    let read = cluster.numbers.read.load(Ordering::SeqCst);
    cluster.numbers.allow(ALL / 3);
    wait_for("it reads on", || cluster.numbers.read.load(Ordering::SeqCst) > read);
    wait_for("it commits", || cluster.numbers.committed() > committed);
    let ended = finish(&cluster, &handle);
    assert_eq!(ended.restarts, 0);
    if let Some(first) = kept {
        assert!(!leads(&first.handle()));
    }
}

#[test]
fn a_leader_that_leaves_is_replaced_and_no_task_restarts() {
    take_over(|leader| {
        leader.stop();
        None
    });
}

#[test]
fn a_leader_that_is_dead_is_deposed_before_its_session_ends_and_no_task_restarts() {
    take_over(|leader| {
        // The session goes on.
        let session = leader.zookeeper().clone();
        drop(leader);
        std::mem::forget(session);
        None
    });
}

#[test]
fn a_leader_that_has_lost_its_session_steps_down_and_no_task_restarts() {
    take_over(|leader| {
        block_on(leader.zookeeper().expire_session()).unwrap();
        Some(leader)
    });
}

#[test]
fn a_zookeeper_that_is_away_for_a_while_restarts_nothing() {
    let mut cluster = TestCluster::start();
    let manager = cluster.job_manager("jm");
    let _workers = [cluster.task_manager("a", 2), cluster.task_manager("b", 2)];
    let handle = manager.handle();
    cluster.numbers.allow(ALL / 3);
    wait_for("a leader", || leads(&handle));
    handle.submit(JOB, spec("numbers", 4)).unwrap();
    let before = placement(&wait_for_tasks(&handle));
    wait_for_checkpoint(&handle);
    drop(cluster.keeper.take());
    let read = cluster.numbers.read.load(Ordering::SeqCst);
    cluster.numbers.allow(ALL / 6);
    wait_for("it reads on", || cluster.numbers.read.load(Ordering::SeqCst) > read);
    let directory = cluster.directory.path().join("zookeeper");
    cluster.keeper = Some(keeper(Some(cluster.address), &directory));
    wait_for_checkpoint(&handle);
    assert_eq!(placement(&wait_for_tasks(&handle)), before, "nothing was started again");
    let ended = finish(&cluster, &handle);
    assert_eq!(ended.restarts, 0);
}

#[test]
fn connections_that_break_restart_nothing() {
    let cluster = TestCluster::start();
    let manager = cluster.job_manager("jm");
    let _workers = [cluster.task_manager("a", 2), cluster.task_manager("b", 2)];
    let handle = manager.handle();
    cluster.numbers.allow(ALL / 3);
    wait_for("a leader", || leads(&handle));
    handle.submit(JOB, spec("numbers", 4)).unwrap();
    let before = placement(&wait_for_tasks(&handle));
    for _ in 0..5 {
        wait_for_checkpoint(&handle);
        manager.break_connections();
        cluster.numbers.allow(ALL / 24);
    }
    wait_for_checkpoint(&handle);
    assert_eq!(placement(&wait_for_tasks(&handle)), before, "nothing was started again");
    assert_eq!(finish(&cluster, &handle).restarts, 0);
}

#[test]
fn a_job_spreads_over_a_new_task_manager_at_a_checkpoint() {
    let mut cluster = TestCluster::start();
    cluster.stabilization = Duration::from_millis(50);
    let manager = cluster.job_manager("jm");
    let _first = cluster.task_manager("a", 4);
    let handle = manager.handle();
    cluster.numbers.allow(ALL / 3);
    wait_for("a leader", || leads(&handle));
    handle.submit(JOB, spec("numbers", 4)).unwrap();
    wait_for_tasks(&handle);
    wait_for_checkpoint(&handle);
    let second = cluster.task_manager("b", 4);
    wait_for("two slots have moved", || {
        let moved = |vertex: &Vec<(u32, String)>| {
            vertex.iter().all(|(attempt, _)| *attempt == 1)
                && vertex.iter().filter(|(_, worker)| worker == second.id()).count() == 2
        };
        placement(&wait_for_tasks(&handle)).iter().all(moved)
    });
    assert_eq!(finish(&cluster, &handle).restarts, 1);
}

#[test]
fn sources_pause_without_leader_and_zookeeper_and_then_go_on() {
    let mut cluster = TestCluster::start();
    cluster.grace = Duration::from_millis(300);
    let manager = cluster.job_manager("jm");
    let _workers = [cluster.task_manager("a", 2), cluster.task_manager("b", 2)];
    let handle = manager.handle();
    wait_for("a leader", || leads(&handle));
    handle.submit(JOB, spec("numbers", 4)).unwrap();
    let before = placement(&wait_for_tasks(&handle));
    drop(cluster.keeper.take());
    drop((manager, handle));
    let read = || cluster.numbers.read.load(Ordering::SeqCst);
    wait_for("the sources pause", || {
        let before = read();
        cluster.numbers.allow(50);
        std::thread::sleep(Duration::from_millis(100));
        read() == before
    });
    let directory = cluster.directory.path().join("zookeeper");
    let paused_at = read();
    cluster.keeper = Some(keeper(Some(cluster.address), &directory));
    let manager = cluster.job_manager("next");
    let handle = manager.handle();
    wait_for("a leader", || leads(&handle));
    assert_eq!(placement(&wait_for_tasks(&handle)), before, "nothing was started again");
    wait_for("the sources go on", || read() > paused_at);
    finish(&cluster, &handle);
}

/// Transactions so far, by the server's zxid.
fn transactions(cluster: &TestCluster) -> i64 {
    cluster.keeper.as_ref().unwrap().core().ask(|core| core.last_proposed_zxid()).unwrap()
}

#[test]
fn zookeeper_is_written_to_as_little_as_was_promised() {
    let cluster = TestCluster::start();
    let first = cluster.job_manager("first");
    let _workers = [cluster.task_manager("a", 2), cluster.task_manager("b", 2)];
    let handle = first.handle();
    cluster.numbers.allow(ALL / 3);
    wait_for("a leader and TaskManagers", || {
        let view = handle.view().unwrap();
        view.is_leader && view.task_managers.iter().filter(|t| t.connected).count() == 2
    });
    let second = cluster.job_manager("second");
    let latches = Layout::default().latches();
    wait_for("a standby", || block_on(first.zookeeper().children(&latches)).unwrap().0.len() == 2);

    let idle = transactions(&cluster);
    std::thread::sleep(5 * HEARTBEAT.interval);
    assert_eq!(transactions(&cluster) - idle, 0, "nothing happens");

    let mut unhurried = spec("numbers", 4);
    unhurried.configuration.insert("execution.checkpointing.interval".into(), "1 h".into());
    handle.submit(JOB, unhurried).unwrap();
    wait_for_tasks(&handle);
    assert_eq!(
        transactions(&cluster) - idle,
        2,
        "from submission to running: the submission, the assignment"
    );

    let before = transactions(&cluster);
    // Closes the session, too.
    first.stop();
    wait_for("the other leads", || leads(&second.handle()));
    wait_for_tasks(&second.handle());
    finish(&cluster, &second.handle());
    // The session's end and the office; a checkpoint of the new leader, the last one, and the result. An office that is taken twice,
    // since the leader is gone in two ways, fails the second time, and that has a number, too.
    let cost = transactions(&cluster) - before;
    assert!((5..=6).contains(&cost), "{cost} from one leader to the next, and to the end");
}
