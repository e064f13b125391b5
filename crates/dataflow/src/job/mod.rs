//! Runs a job: its configuration, its handle, and its start.
//!
//! One thread, the job's [`master`], decides, and does what a user asks by a [`trigger`]; the tasks are in [executors](crate::executor), of which a job in one process has
//! one ([`local`]), and which a cluster reaches by [`workers`]. Invariant: nothing of a job starts when its graph is invalid
//! or the checkpoint it is to go on from does not fit it.

mod alignment;
mod launch;
mod local;
mod master;
pub mod trigger;
pub mod workers;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

pub use self::launch::{job_config, launch};
pub use self::local::start;
#[doc(hidden)]
pub use self::master::stepped;
use self::master::{Master, MasterEvent, Surroundings, on_thread};
use self::trigger::{Reply, Trigger};
use self::workers::{Adoption, Workers};
use crate::channel::lock;
use crate::checkpoint::coordinator::CoordinatorConfig;
use crate::checkpoint::location::{Found, find};
use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::savepoint;
use crate::checkpoint::storage::{CheckpointStorage, CheckpointStore};
use crate::element::CheckpointId;
use crate::error::Error;
use crate::executor::GraphMetrics;
use crate::executor::order::{Report, WorkerId};
use crate::graph::JobGraph;
use crate::live_config::ConfigSnapshot;
use crate::metrics::{JobMetrics, TaskMetrics};
use crate::restart::RestartStrategy;
use crate::time::{Clock, SystemClock};

/// How a job is run.
#[derive(Debug, Clone)]
pub struct JobConfig {
    /// The job's name.
    pub name: String,
    /// Identifies the run and its restores: 32 hex digits, fresh or that of the restored checkpoint.
    pub lineage: String,
    /// When to take checkpoints.
    pub checkpointing: CoordinatorConfig,
    /// How many complete checkpoints are kept.
    pub num_retained: usize,
    /// What to do when a task fails.
    pub restart: RestartStrategy,
    /// Bound of a channel between two subtasks, bytes.
    pub channel_capacity_bytes: usize,
    /// How long a small batch may wait for others before it is sent.
    pub buffer_timeout: Duration,
    /// The configuration to begin with; after a restore a change of what the checkpoint holds.
    pub config: Arc<ConfigSnapshot>,
    /// Drop the state of operators that this job does not have, instead of refusing to restore.
    pub allow_non_restored_state: bool,
}

/// Where a job stands. Names are Flink's job states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobStatus {
    /// Tasks are being started.
    Created,
    /// All tasks run.
    Running,
    /// A region waits for its restart.
    Restarting,
    /// All input is processed and all output committed.
    Finished,
    /// Stopped by the user.
    Canceled,
    /// Stopped by an error.
    Failed,
    /// Left to another master: its tasks run on.
    Suspended,
}

/// What can be seen of a running job from outside.
#[derive(Debug, Clone)]
pub struct VertexProgress {
    /// Name of the task.
    pub name: String,
    /// It reads from the outside.
    pub is_source: bool,
    /// It writes to the outside.
    pub is_sink: bool,
    /// Metrics of its subtasks.
    pub subtasks: Vec<Arc<TaskMetrics>>,
    /// How many of them have finished.
    pub finished: usize,
}

struct Observed {
    status: JobStatus,
    vertices: Vec<VertexProgress>,
}

/// A running job.
pub struct JobHandle {
    master: Option<JoinHandle<Result<JobStatus, Error>>>,
    events: mpsc::Sender<MasterEvent>,
    observed: Arc<Mutex<Observed>>,
    metrics: Arc<JobMetrics>,
    kept: Vec<Box<dyn Send + Sync>>,
}

impl JobHandle {
    /// Keeps what works for the job from outside: it is dropped when the job has been waited for, or the handle is dropped.
    pub fn keep(&mut self, guard: Box<dyn Send + Sync>) {
        self.kept.push(guard);
    }

    /// Where the job stands.
    pub fn status(&self) -> JobStatus {
        lock(&self.observed).status
    }

    /// What its tasks have done.
    pub fn vertices(&self) -> Vec<VertexProgress> {
        lock(&self.observed).vertices.clone()
    }

    /// Checkpoints and restarts.
    pub fn metrics(&self) -> &JobMetrics {
        &self.metrics
    }

    /// Whether [`JobHandle::wait`] would return at once.
    pub fn is_done(&self) -> bool {
        self.master.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Stops the job without a checkpoint.
    pub fn cancel(&self) {
        // A job that has ended needs no cancelling.
        let _ = self.events.send(MasterEvent::Cancel);
    }

    /// Asks for a checkpoint, a savepoint, or the job's end with one. The answer comes on another thread, later.
    pub fn trigger(&self, trigger: Trigger, reply: Reply) {
        self.tell(MasterEvent::Trigger(trigger, reply));
    }

    fn tell(&self, event: MasterEvent) {
        // A job that has ended needs to know nothing.
        let _ = self.events.send(event);
    }

    /// A worker tells something.
    pub fn report(&self, worker: &WorkerId, report: Report) {
        self.tell(MasterEvent::Report(worker.clone(), report));
    }

    /// A worker is gone, and all the tasks that it had.
    pub fn worker_lost(&self, worker: &WorkerId) {
        self.tell(MasterEvent::WorkerLost(worker.clone()));
    }

    /// There may be enough slots now.
    pub fn resources_changed(&self) {
        self.tell(MasterEvent::ResourcesChanged);
    }

    /// Ends the master and nothing else: another one adopts the job's tasks.
    pub fn abandon(&self) {
        self.tell(MasterEvent::Abandon);
    }

    /// Puts a newer configuration into force at the next barrier, for which a checkpoint is taken soon. Documents whose
    /// revision is not higher than that in force are left as they are.
    ///
    /// # Errors
    /// When it is too large for a checkpoint; it is ignored then.
    pub fn reconfigure(&self, config: Arc<ConfigSnapshot>) -> Result<(), Error> {
        self.reconfigurer().reconfigure(config)
    }

    /// What changes the job's configuration from another thread.
    pub fn reconfigurer(&self) -> Reconfigurer {
        Reconfigurer(self.events.clone())
    }

    /// Waits for the end of the job: `Finished` or `Canceled`.
    ///
    /// # Errors
    /// What made it fail.
    pub fn wait(mut self) -> Result<JobStatus, Error> {
        let Some(master) = self.master.take() else { return Ok(JobStatus::Finished) };
        master.join().unwrap_or_else(|_| Err(Error::InvalidJob("the job's master thread panicked".into())))
    }
}

/// Changes the configuration of a job: see [`JobHandle::reconfigure`].
#[derive(Clone)]
pub struct Reconfigurer(mpsc::Sender<MasterEvent>);

impl Reconfigurer {
    /// As [`JobHandle::reconfigure`].
    ///
    /// # Errors
    /// As [`JobHandle::reconfigure`].
    pub fn reconfigure(&self, config: Arc<ConfigSnapshot>) -> Result<(), Error> {
        config.check_size().map_err(Error::InvalidJob)?;
        // A job that has ended needs no configuration.
        let _ = self.0.send(MasterEvent::Reconfigure(config));
        Ok(())
    }
}

/// A fresh lineage: 32 hex digits.
pub fn new_lineage() -> String {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let part = || {
        let mut hasher = RandomState::new().build_hasher();
        hasher.write_i64(SystemClock.now_ms());
        hasher.write_u32(std::process::id());
        hasher.finish()
    };
    format!("{:016x}{:016x}", part(), part())
}

/// How a master begins.
#[derive(Debug, Clone)]
pub enum Begin {
    /// From nothing.
    Fresh,
    /// From a checkpoint.
    Restore(CheckpointId),
    /// With the tasks of a master that is gone, and from its latest checkpoint.
    Adopt {
        /// The latest complete checkpoint.
        checkpoint: Option<CheckpointId>,
        /// The tasks.
        adoption: Adoption,
    },
}

impl Begin {
    fn checkpoint(&self) -> Option<CheckpointId> {
        match self {
            Self::Fresh => None,
            Self::Restore(checkpoint) => Some(*checkpoint),
            Self::Adopt { checkpoint, .. } => *checkpoint,
        }
    }

    /// The highest number that a checkpoint had; 0: there was none.
    fn highest_checkpoint(&self) -> CheckpointId {
        let adopted = match self {
            Self::Adopt { adoption, .. } => adoption.highest_checkpoint(),
            Self::Fresh | Self::Restore(_) => 0,
        };
        self.checkpoint().unwrap_or(0).max(adopted)
    }
}

/// What a master works with.
pub struct MasterSetup {
    /// The job's graph.
    pub graph: Arc<JobGraph>,
    /// How the job is run.
    pub config: JobConfig,
    /// Where checkpoints are; it must be that of `config.lineage`.
    pub storage: Arc<CheckpointStorage>,
    /// Where it is said which checkpoints are complete.
    pub pointer: Arc<dyn CheckpointStore>,
    /// How it begins.
    pub begin: Begin,
    /// The processes that run its tasks.
    pub workers: Box<dyn Workers>,
    /// Told of each change of the status, on the master's thread.
    pub on_status: Box<dyn FnMut(JobStatus) + Send>,
    /// Where its tasks count, as far as this process knows.
    pub metrics: GraphMetrics,
}

/// Starts the master of a job whose tasks run where `setup.workers` says.
///
/// # Errors
/// When the graph is invalid or the checkpoint does not fit it; nothing was started then.
pub fn start_master(setup: MasterSetup) -> Result<JobHandle, Error> {
    let (events, inbox) = mpsc::channel();
    start_on_thread(setup, events, inbox)
}

/// As [`start_master`], with an inbox to which somebody else sends as well.
fn start_on_thread(
    setup: MasterSetup,
    events: mpsc::Sender<MasterEvent>,
    inbox: mpsc::Receiver<MasterEvent>,
) -> Result<JobHandle, Error> {
    let begin = setup.begin.clone();
    let surroundings = Surroundings { clock: Arc::new(SystemClock), spawn: Box::new(on_thread) };
    let (master, mut handle) = start_with(setup, events, surroundings)?;
    let thread = std::thread::Builder::new()
        .name("job-master".into())
        .spawn(move || master.run(begin, &inbox))
        .map_err(|e| Error::InvalidJob(format!("cannot start the job's master thread: {e}")))?;
    handle.master = Some(thread);
    Ok(handle)
}

/// A master that has not begun, and its handle.
fn start_with(
    setup: MasterSetup,
    events: mpsc::Sender<MasterEvent>,
    surroundings: Surroundings,
) -> Result<(Master, JobHandle), Error> {
    setup.graph.validate()?;
    setup.config.config.check_size().map_err(Error::InvalidJob)?;
    let mut config = setup.config.config.clone();
    if let Some(checkpoint) = setup.begin.checkpoint() {
        let manifest = setup.storage.read_where(checkpoint, |_| false)?.manifest;
        check_restorable(&setup.graph, &manifest, &setup.config)?;
        config = manifest.config.into();
    }
    let vertices = setup.graph.vertices.iter().zip(&setup.metrics);
    let vertices = vertices
        .map(|(vertex, subtasks)| VertexProgress {
            name: vertex.name.clone(),
            is_source: vertex.is_source(),
            is_sink: vertex.is_sink(),
            subtasks: subtasks.clone(),
            finished: 0,
        })
        .collect();
    let observed = Arc::new(Mutex::new(Observed { status: JobStatus::Created, vertices }));
    let metrics = Arc::new(JobMetrics::default());
    let begin = setup.begin.clone();
    let (told, seen) = (events.clone(), observed.clone());
    let master = Master::new(setup, &begin, config, told, seen, metrics.clone(), surroundings);
    Ok((master, JobHandle { master: None, events, observed, metrics, kept: Vec::new() }))
}

fn check_restorable(graph: &JobGraph, manifest: &Manifest, config: &JobConfig) -> Result<(), Error> {
    let location = format!("{}/chk-{}", manifest.lineage, manifest.checkpoint);
    if manifest.lineage != config.lineage {
        let reason = format!("it belongs to the run {}, not to {}", manifest.lineage, config.lineage);
        return Err(Error::CheckpointRead { location, reason });
    }
    check_fits(graph, manifest, location, config.allow_non_restored_state)
}

/// Whether a job can begin with the checkpoint or savepoint that `path` names; state that no operator takes is fine when `allow`ed.
///
/// # Errors
/// When there is none, or why it does not fit.
pub fn check_restorable_from(graph: &JobGraph, path: &Path, allow: bool) -> Result<(), Error> {
    let manifest = match find(path)? {
        Found::Savepoint(path) => savepoint::read(&path)?,
        Found::Checkpoint(at) => {
            CheckpointStorage::directory(&at.directory, &at.lineage)?.manifest(at.checkpoint)?
        }
    };
    check_fits(graph, &manifest, path.display().to_string(), allow)
}

fn check_fits(graph: &JobGraph, manifest: &Manifest, location: String, allow: bool) -> Result<(), Error> {
    let fail = |reason: String| Err(Error::CheckpointRead { location, reason });
    if manifest.max_parallelism != graph.max_parallelism {
        return fail(format!(
            "it has {} key groups, the job {}; set pipeline.max-parallelism to {0}",
            manifest.max_parallelism, graph.max_parallelism
        ));
    }
    let known: BTreeSet<&String> = graph.vertices.iter().flat_map(|v| &v.operators).collect();
    let mut orphans: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for state in manifest.states.iter().filter(|state| !known.contains(&state.uid)) {
        orphans.entry(&state.uid).or_default().insert(&state.name);
    }
    if orphans.is_empty() {
        return Ok(());
    }
    let orphans: Vec<String> = orphans
        .iter()
        .map(|(uid, names)| {
            let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            let task = manifest.names.get(*uid).map(|task| format!(" in `{task}`")).unwrap_or_default();
            format!("{uid}{task} ({})", names.join(", "))
        })
        .collect();
    let orphans = orphans.join("; ");
    if allow {
        tracing::warn!("state of operators that the job does not have is dropped: {orphans}");
        return Ok(());
    }
    fail(format!(
        "it holds state of operators that this job does not have: {orphans}; the query was changed. To go on without that state, use \
         --allow-non-restored-state (execution.state-recovery.ignore-unclaimed-state)"
    ))
}
