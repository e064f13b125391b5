//! Runs a job in this process: starts its tasks, takes its checkpoints, restarts what fails, and ends it.
//!
//! One thread, the job's master, owns all of that and talks to tasks through their mailboxes; it is a thin shell around
//! the pure [`CheckpointCoordinator`] and [`Restarts`].

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::channel::lock;
use crate::checkpoint::coordinator::{CheckpointCoordinator, CoordinatorConfig, Effect, Event, Subtask};
use crate::checkpoint::manifest::{Manifest, VERSION};
use crate::checkpoint::storage::{CheckpointStorage, CheckpointStore, Pointer, Restored, WriteRequest};
use crate::element::{Barrier, BarrierKind, CheckpointId};
use crate::error::{Error, OperatorError};
use crate::exchange::EdgeSetup;
use crate::graph::{JobGraph, VertexId};
use crate::mailbox::{Mail, Mailbox};
use crate::metrics::{JobMetrics, TaskMetrics};
use crate::restart::{RestartStrategy, Restarts};
use crate::sink::COMMITTABLES;
use crate::source::SplitEnumerator;
use crate::state::{SnapshotFn, StateSegment};
use crate::task::{JobEvent, SPLITS, TaskId, TaskSetup, decode_split};
use crate::time::{Clock, SystemClock, Timestamp};

const ENUMERATOR: (&str, &str) = ("$enumerator", "enumerator v1");

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
    events: mpsc::Sender<JobEvent>,
    observed: Arc<Mutex<Observed>>,
    metrics: Arc<JobMetrics>,
}

impl JobHandle {
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
        let _ = self.events.send(JobEvent::Cancel);
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

/// Starts a job, from `restore` if given. The storage must be that of `config.lineage`.
///
/// # Errors
/// When the graph is invalid or the checkpoint does not fit it; nothing was started then.
pub fn start(
    graph: JobGraph,
    config: JobConfig,
    storage: CheckpointStorage,
    restore: Option<Restored>,
) -> Result<JobHandle, Error> {
    graph.validate()?;
    if let Some(restored) = &restore {
        check_restorable(&graph, &restored.manifest, &config)?;
    }
    let (events, inbox) = mpsc::channel();
    let vertices = graph
        .vertices
        .iter()
        .map(|vertex| VertexProgress {
            name: vertex.name.clone(),
            is_source: vertex.is_source(),
            is_sink: vertex.outputs.is_empty(),
            subtasks: (0..vertex.parallelism).map(|_| Arc::new(TaskMetrics::default())).collect(),
            finished: 0,
        })
        .collect();
    let observed = Arc::new(Mutex::new(Observed { status: JobStatus::Created, vertices }));
    let metrics = Arc::new(JobMetrics::default());
    let master =
        Master::new(graph, config, storage, restore, events.clone(), observed.clone(), metrics.clone());
    let master = std::thread::Builder::new()
        .name("job-master".into())
        .spawn(move || master.run(&inbox))
        .map_err(|e| Error::InvalidJob(format!("cannot start the job's master thread: {e}")))?;
    Ok(JobHandle { master: Some(master), events, observed, metrics })
}

fn check_restorable(graph: &JobGraph, manifest: &Manifest, config: &JobConfig) -> Result<(), Error> {
    let fail = |reason: String| {
        let location = format!("{}/chk-{}", manifest.lineage, manifest.checkpoint);
        Err(Error::CheckpointRead { location, reason })
    };
    if manifest.lineage != config.lineage {
        return fail(format!("it belongs to the run {}, not to {}", manifest.lineage, config.lineage));
    }
    if manifest.max_parallelism != graph.max_parallelism {
        return fail(format!(
            "it has {} key groups, the job {}; set pipeline.max-parallelism to {0}",
            manifest.max_parallelism, graph.max_parallelism
        ));
    }
    let known: BTreeSet<&String> = graph.vertices.iter().flat_map(|v| &v.operators).collect();
    let orphan = manifest.states.iter().find(|state| !known.contains(&state.uid));
    match orphan {
        Some(state) => fail(format!(
            "it holds state `{}` of operator {}, which this job does not have: the query was changed",
            state.name, state.uid
        )),
        None => Ok(()),
    }
}

struct Task {
    mailbox: Arc<Mailbox>,
    attempt: u32,
    thread: Option<JoinHandle<()>>,
    finished: bool,
}

/// The latest checkpoint.
enum Latest {
    /// Restored by the user, not yet deployed.
    Loaded(Arc<Restored>),
    /// In the storage.
    Stored(CheckpointId),
}

/// A region between failure and restart.
struct Restarting {
    due: Timestamp,
}

struct Flight {
    barrier: Barrier,
    started: Timestamp,
    snapshots: Vec<(String, SnapshotFn)>,
    finished: Vec<String>,
}

struct Master {
    graph: Arc<JobGraph>,
    config: JobConfig,
    storage: Arc<CheckpointStorage>,
    /// What a restart starts from; its state is read back only then.
    latest: Option<Latest>,
    retained: Vec<CheckpointId>,
    regions: Vec<VertexId>,
    tasks: HashMap<Subtask, Task>,
    attempts: HashMap<VertexId, u32>,
    enumerators: BTreeMap<VertexId, Box<dyn SplitEnumerator>>,
    restarting: BTreeMap<VertexId, Restarting>,
    restarts: Restarts,
    coordinator: CheckpointCoordinator,
    flight: Option<Flight>,
    /// A checkpoint being written on its thread.
    writing: Option<JoinHandle<()>>,
    events: mpsc::Sender<JobEvent>,
    observed: Arc<Mutex<Observed>>,
    metrics: Arc<JobMetrics>,
    clock: Arc<dyn Clock>,
}

/// Why the master stops.
enum Stop {
    Finished,
    Canceled,
    Failed(Error),
}

impl Master {
    fn new(
        graph: JobGraph,
        config: JobConfig,
        storage: CheckpointStorage,
        restore: Option<Restored>,
        events: mpsc::Sender<JobEvent>,
        observed: Arc<Mutex<Observed>>,
        metrics: Arc<JobMetrics>,
    ) -> Self {
        let clock = Arc::new(SystemClock);
        let subtasks = graph.vertices.iter().enumerate();
        let subtasks =
            subtasks.flat_map(|(v, vertex)| (0..vertex.parallelism).map(move |s| (v, s))).collect();
        let first = restore.as_ref().map_or(1, |restored| restored.manifest.checkpoint + 1);
        Self {
            regions: graph.regions(),
            coordinator: CheckpointCoordinator::new(
                config.checkpointing.clone(),
                subtasks,
                first,
                clock.now_ms(),
            ),
            restarts: Restarts::new(config.restart.clone()),
            retained: restore.as_ref().map(|r| r.manifest.checkpoint).into_iter().collect(),
            graph: Arc::new(graph),
            config,
            storage: Arc::new(storage),
            latest: restore.map(|restored| Latest::Loaded(Arc::new(restored))),
            tasks: HashMap::new(),
            attempts: HashMap::new(),
            enumerators: BTreeMap::new(),
            restarting: BTreeMap::new(),
            flight: None,
            writing: None,
            events,
            observed,
            metrics,
            clock,
        }
    }

    fn run(mut self, inbox: &mpsc::Receiver<JobEvent>) -> Result<JobStatus, Error> {
        let all: Vec<VertexId> = (0..self.graph.vertices.len()).collect();
        let stop = match self.deploy(&all) {
            Err(error) => Stop::Failed(error),
            Ok(()) => {
                self.set_status(JobStatus::Running);
                self.serve(inbox)
            }
        };
        if matches!(stop, Stop::Finished) {
            self.tasks.values().for_each(|task| task.mailbox.send(Mail::Exit));
        } else {
            self.tasks.values().for_each(|task| task.mailbox.cancel());
        }
        let commit_failure = self.join_all(inbox);
        if let Some(writing) = self.writing.take() {
            // The writer reports through the inbox, which nobody reads any more.
            let _ = writing.join();
        }
        let (status, result) = match (stop, commit_failure) {
            (Stop::Failed(error), _) => (JobStatus::Failed, Err(error)),
            (Stop::Finished, Some(error)) => (JobStatus::Failed, Err(error)),
            (Stop::Finished, None) => (JobStatus::Finished, Ok(JobStatus::Finished)),
            (Stop::Canceled, _) => (JobStatus::Canceled, Ok(JobStatus::Canceled)),
        };
        self.set_status(status);
        result
    }

    /// Waits for all task threads. A failure that shows only now (a commit of the final checkpoint) is returned.
    fn join_all(&mut self, inbox: &mpsc::Receiver<JobEvent>) -> Option<Error> {
        for task in self.tasks.values_mut() {
            if let Some(thread) = task.thread.take() {
                // A task reports its own panic as a failure.
                let _ = thread.join();
            }
        }
        inbox.try_iter().find_map(|event| match event {
            JobEvent::Exited { task, failure: Some(failure) } => Some(self.task_error(task, failure)),
            _ => None,
        })
    }

    fn serve(&mut self, inbox: &mpsc::Receiver<JobEvent>) -> Stop {
        loop {
            let now = self.clock.now_ms();
            let due =
                self.coordinator.next_tick().into_iter().chain(self.restarting.values().map(|r| r.due)).min();
            let event = match due {
                None => inbox.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected),
                Some(due) => inbox.recv_timeout(Duration::from_millis(due.saturating_sub(now).max(0) as u64)),
            };
            let stop = match event {
                Ok(event) => self.on_event(event),
                Err(_) => self.coordinate(Event::Tick),
            };
            if let Some(stop) = stop.or_else(|| self.restart_due_regions()) {
                return stop;
            }
        }
    }

    fn on_event(&mut self, event: JobEvent) -> Option<Stop> {
        match event {
            JobEvent::RequestSplit(task) if self.is_current(task) => {
                let assignment = self.enumerators.get_mut(&task.vertex)?.next_split(task.subtask);
                self.tasks[&(task.vertex, task.subtask)].mailbox.send(Mail::Assign(assignment));
                None
            }
            JobEvent::Snapshot { task, checkpoint, state } if self.is_current(task) => {
                if let Some(flight) = self.flight.as_mut().filter(|f| f.barrier.checkpoint == checkpoint) {
                    flight.snapshots.extend(state);
                }
                self.coordinate(Event::Acknowledged(checkpoint, (task.vertex, task.subtask)))
            }
            JobEvent::Finished(task) if self.is_current(task) => {
                if let Some(task) = self.tasks.get_mut(&(task.vertex, task.subtask)) {
                    task.finished = true;
                }
                lock(&self.observed).vertices[task.vertex].finished += 1;
                if self.restarting.is_empty() && self.tasks.values().all(|task| task.finished) {
                    return self.coordinate(Event::AllFinished);
                }
                None
            }
            JobEvent::Exited { task, failure } if self.is_current(task) => {
                let failure = failure?;
                self.on_failure(task, failure)
            }
            JobEvent::CheckpointWritten { checkpoint, result } => self.on_written(checkpoint, result),
            JobEvent::Cancel => Some(Stop::Canceled),
            // Of an attempt that was replaced.
            JobEvent::RequestSplit(_)
            | JobEvent::Snapshot { .. }
            | JobEvent::Finished(_)
            | JobEvent::Exited { .. } => None,
        }
    }

    fn is_current(&self, task: TaskId) -> bool {
        !self.restarting.contains_key(&self.regions[task.vertex])
            && self.tasks.get(&(task.vertex, task.subtask)).is_some_and(|t| t.attempt == task.attempt)
    }

    fn task_error(&self, task: TaskId, source: OperatorError) -> Error {
        let operator = self.graph.vertices[task.vertex].name.clone();
        Error::Task { operator, subtask: task.subtask, attempt: task.attempt, source }
    }

    fn on_failure(&mut self, task: TaskId, failure: OperatorError) -> Option<Stop> {
        let delay =
            if failure.is_recoverable() { self.restarts.on_failure(self.clock.now_ms()) } else { None };
        let error = self.task_error(task, failure);
        let Some(delay_ms) = delay else { return Some(Stop::Failed(error)) };
        tracing::warn!("{error}; its region restarts in {delay_ms} ms");
        self.metrics.num_restarts.add(1);
        let region = self.regions[task.vertex];
        self.restarting.insert(region, Restarting { due: self.clock.now_ms() + delay_ms });
        for ((vertex, _), task) in &self.tasks {
            if self.regions[*vertex] == region {
                task.mailbox.cancel();
            }
        }
        self.set_status(JobStatus::Restarting);
        self.coordinate(Event::Suspended)
    }

    fn restart_due_regions(&mut self) -> Option<Stop> {
        let now = self.clock.now_ms();
        let due: Vec<VertexId> =
            self.restarting.iter().filter(|(_, r)| r.due <= now).map(|(v, _)| *v).collect();
        if due.is_empty() || self.writing.is_some() {
            // What is being written may become the checkpoint to restart from.
            return None;
        }
        for region in due {
            let vertices: Vec<VertexId> =
                (0..self.regions.len()).filter(|v| self.regions[*v] == region).collect();
            for ((vertex, _), task) in &mut self.tasks {
                if self.regions[*vertex] == region
                    && let Some(thread) = task.thread.take()
                {
                    // It was cancelled, and reports its own panic.
                    let _ = thread.join();
                }
            }
            self.restarting.remove(&region);
            if let Err(error) = self.deploy(&vertices) {
                return Some(Stop::Failed(error));
            }
        }
        if self.restarting.is_empty() {
            self.set_status(JobStatus::Running);
            return self.coordinate(Event::Resumed);
        }
        None
    }

    /// Starts all subtasks of `vertices`, which are whole regions, from the latest checkpoint.
    fn deploy(&mut self, vertices: &[VertexId]) -> Result<(), Error> {
        let graph = self.graph.clone();
        let latest = match &self.latest {
            None => None,
            Some(Latest::Loaded(restored)) => Some(restored.clone()),
            Some(Latest::Stored(checkpoint)) => Some(Arc::new(self.storage.read(*checkpoint)?)),
        };
        if let Some(restored) = &latest {
            self.latest = Some(Latest::Stored(restored.manifest.checkpoint));
        }
        let segments = latest.as_ref().map(|l| l.segments.clone()).unwrap_or_default();
        let finished = |uid: &String| latest.as_ref().is_some_and(|l| l.manifest.finished.contains(uid));
        for &v in vertices {
            self.prepare(v, &segments)?;
        }
        let mailboxes: HashMap<Subtask, Arc<Mailbox>> = vertices
            .iter()
            .flat_map(|&v| {
                (0..graph.vertices[v].parallelism).map(move |s| ((v, s), Arc::new(Mailbox::default())))
            })
            .collect();
        let signals = |v: VertexId| -> Vec<_> {
            (0..graph.vertices[v].parallelism).map(|s| mailboxes[&(v, s)].signal().clone()).collect()
        };
        let mut outputs: HashMap<Subtask, Vec<Box<dyn Any + Send>>> = HashMap::new();
        let mut inputs: HashMap<Subtask, BTreeMap<usize, Box<dyn Any + Send>>> = HashMap::new();
        for &v in vertices {
            for edge in &graph.vertices[v].outputs {
                let (senders, receivers) = (edge.make)(EdgeSetup {
                    producers: &signals(v),
                    consumers: &signals(edge.to),
                    max_parallelism: graph.max_parallelism,
                    capacity_bytes: self.config.channel_capacity_bytes,
                    buffer_timeout: self.config.buffer_timeout,
                });
                for (s, sender) in senders.into_iter().enumerate() {
                    outputs.entry((v, s)).or_default().push(sender);
                }
                for (s, receiver) in receivers.into_iter().enumerate() {
                    inputs.entry((edge.to, s)).or_default().insert(edge.gate, receiver);
                }
            }
        }
        for &v in vertices {
            let vertex = &graph.vertices[v];
            let attempt = *self.attempts.entry(v).and_modify(|a| *a += 1).or_insert(0);
            lock(&self.observed).vertices[v].finished = 0;
            for s in 0..vertex.parallelism {
                let id = TaskId { vertex: v, subtask: s, attempt };
                let metrics = lock(&self.observed).vertices[v].subtasks[s].clone();
                let mailbox = mailboxes[&(v, s)].clone();
                let setup = TaskSetup {
                    id,
                    parallelism: vertex.parallelism,
                    max_parallelism: graph.max_parallelism,
                    lineage: self.config.lineage.clone(),
                    clock: self.clock.clone(),
                    metrics,
                    mailbox: mailbox.clone(),
                    events: self.events.clone(),
                    outputs: outputs.remove(&(v, s)).unwrap_or_default(),
                    inputs: inputs.remove(&(v, s)).map(|m| m.into_values().collect()).unwrap_or_default(),
                    restored: segments.clone(),
                    restored_finished: finished(&vertex.uid),
                };
                let thread = self.spawn(setup)?;
                self.tasks.insert((v, s), Task { mailbox, attempt, thread: Some(thread), finished: false });
            }
        }
        Ok(())
    }

    /// What comes before the tasks of a vertex: its enumerator, and its sinks' commits.
    fn prepare(&mut self, v: VertexId, segments: &[StateSegment]) -> Result<(), Error> {
        let graph = self.graph.clone();
        let vertex = &graph.vertices[v];
        let attempt = self.attempts.get(&v).map_or(0, |a| a + 1);
        let fail = |source: OperatorError| Error::Task {
            operator: vertex.name.clone(),
            subtask: 0,
            attempt,
            source,
        };
        let items = |uid: &str, name: &str| -> Vec<Vec<u8>> {
            let of_name = segments.iter().filter(|s| s.uid == uid && s.name == name);
            of_name.flat_map(|s| s.frames.iter().map(|(_, bytes)| bytes.clone())).collect()
        };
        if let Some(make) = &vertex.enumerator {
            let restored = items(&vertex.uid, ENUMERATOR.0);
            let mut enumerator =
                make(vertex.parallelism, restored.first().map(Vec::as_slice)).map_err(fail)?;
            let splits = items(&vertex.uid, SPLITS.0)
                .iter()
                .map(|bytes| decode_split(bytes))
                .collect::<Result<_, _>>();
            enumerator.add_splits_back(splits.map_err(fail)?);
            self.enumerators.insert(v, enumerator);
        }
        if self.latest.is_some() || attempt > 0 {
            for (uid, committer) in &vertex.committers {
                committer.recover(&self.config.lineage, &items(uid, COMMITTABLES.0)).map_err(fail)?;
            }
        }
        Ok(())
    }

    fn spawn(&self, setup: TaskSetup) -> Result<JoinHandle<()>, Error> {
        let (graph, events, task) = (self.graph.clone(), self.events.clone(), setup.id);
        let name = graph.vertices[task.vertex].name.clone();
        // Linux shows the first 15 bytes.
        let thread_name = format!("{}/{}", name.replace('\0', " "), task.subtask);
        let run = move || {
            let body = &graph.vertices[task.vertex].body;
            let outcome =
                std::panic::catch_unwind(AssertUnwindSafe(|| body(setup).and_then(|mut body| body.run())));
            let failure = match outcome {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error),
                Err(panic) => {
                    Some(OperatorError::recoverable(format!("panicked: {}", panic_message(&*panic))))
                }
            };
            // A master that is gone has cancelled this task.
            let _ = events.send(JobEvent::Exited { task, failure });
        };
        std::thread::Builder::new()
            .name(thread_name)
            .spawn(run)
            .map_err(|e| Error::InvalidJob(format!("cannot start a thread for `{name}`: {e}")))
    }

    fn coordinate(&mut self, event: Event) -> Option<Stop> {
        let now = self.clock.now_ms();
        for effect in self.coordinator.step(event, now) {
            match effect {
                Effect::Trigger(barrier) => self.trigger(barrier, now),
                Effect::Write(_) => self.write(),
                Effect::Aborted(checkpoint, reason) => {
                    tracing::warn!(checkpoint, "checkpoint aborted: {reason}");
                    self.metrics.number_of_failed_checkpoints.add(1);
                    self.flight = None;
                }
                Effect::Completed(barrier) => {
                    for task in self.tasks.values() {
                        task.mailbox.send(Mail::CheckpointComplete(barrier.checkpoint));
                    }
                    if barrier.kind == BarrierKind::Final {
                        return Some(Stop::Finished);
                    }
                }
                Effect::FailJob(reason) => return Some(Stop::Failed(Error::InvalidJob(reason))),
            }
        }
        None
    }

    fn trigger(&mut self, barrier: Barrier, now: Timestamp) {
        let mut snapshots: Vec<(String, SnapshotFn)> = Vec::new();
        for (v, enumerator) in &self.enumerators {
            let captured = enumerator.snapshot();
            let write: SnapshotFn = Box::new(move |writer| {
                writer.list(ENUMERATOR.0, ENUMERATOR.1, captured?);
                Ok(())
            });
            snapshots.push((self.graph.vertices[*v].uid.clone(), write));
        }
        self.flight = Some(Flight { barrier, started: now, snapshots, finished: self.finished_vertices() });
        for v in self.enumerators.keys() {
            for s in 0..self.graph.vertices[*v].parallelism {
                self.tasks[&(*v, s)].mailbox.send(Mail::Trigger(barrier));
            }
        }
    }

    /// Uids of the vertices whose subtasks have all finished: their barrier can only come after their end.
    fn finished_vertices(&self) -> Vec<String> {
        let vertices = self.graph.vertices.iter().enumerate();
        vertices
            .filter(|(v, vertex)| {
                (0..vertex.parallelism).all(|s| self.tasks.get(&(*v, s)).is_some_and(|t| t.finished))
            })
            .map(|(_, vertex)| vertex.uid.clone())
            .collect()
    }

    fn write(&mut self) {
        let Some(flight) = self.flight.as_mut() else { return };
        let checkpoint = flight.barrier.checkpoint;
        let manifest = Manifest {
            v: VERSION,
            lineage: self.config.lineage.clone(),
            job: self.config.name.clone(),
            checkpoint,
            kind: flight.barrier.kind,
            timestamp_ms: flight.started,
            max_parallelism: self.graph.max_parallelism,
            operators: self.graph.vertices.iter().flat_map(|v| v.operators.clone()).collect(),
            finished: std::mem::take(&mut flight.finished),
            states: Vec::new(),
        };
        let request = WriteRequest { manifest, snapshots: std::mem::take(&mut flight.snapshots) };
        let mut retained = self.retained.clone();
        retained.push(checkpoint);
        let expired = retained.len().saturating_sub(self.config.num_retained.max(1));
        let deleted: Vec<CheckpointId> = retained.drain(..expired).collect();
        let (storage, events) = (self.storage.clone(), self.events.clone());
        let write = move || {
            let written = storage.write(request).and_then(|bytes| {
                let pointer = Pointer { v: VERSION, retained: retained.clone() };
                storage.publish(&pointer).map_err(|reason| Error::CheckpointWrite {
                    checkpoint,
                    location: "pointer".into(),
                    reason,
                })?;
                deleted.into_iter().for_each(|old| storage.delete(old));
                Ok((bytes, retained))
            });
            // A master that is gone does not need to know.
            let _ = events.send(JobEvent::CheckpointWritten { checkpoint, result: written });
        };
        match std::thread::Builder::new().name("checkpoint".into()).spawn(write) {
            Ok(thread) => self.writing = Some(thread),
            Err(e) => {
                let reason = format!("cannot start a thread: {e}");
                let error = Error::CheckpointWrite { checkpoint, location: String::new(), reason };
                // The inbox is this master's own, so it is open.
                let _ = self.events.send(JobEvent::CheckpointWritten { checkpoint, result: Err(error) });
            }
        }
    }

    fn on_written(
        &mut self,
        checkpoint: CheckpointId,
        result: Result<(u64, Vec<CheckpointId>), Error>,
    ) -> Option<Stop> {
        if let Some(thread) = self.writing.take() {
            // It has just reported.
            let _ = thread.join();
        }
        let flight = self.flight.take();
        let event = match result {
            Err(error) => Event::WriteFailed(checkpoint, error.to_string()),
            Ok((bytes, retained)) => {
                self.latest = Some(Latest::Stored(checkpoint));
                self.retained = retained;
                let started = flight.map_or(0, |f| f.started);
                self.metrics.last_checkpoint_duration.set(self.clock.now_ms() - started);
                self.metrics.last_checkpoint_size.set(bytes as i64);
                self.metrics.last_checkpoint_id.set(checkpoint as i64);
                self.metrics.number_of_completed_checkpoints.add(1);
                Event::Written(checkpoint)
            }
        };
        self.coordinate(event)
    }

    fn set_status(&self, status: JobStatus) {
        lock(&self.observed).status = status;
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}
