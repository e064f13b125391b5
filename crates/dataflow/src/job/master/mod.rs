//! The job's master: one thread that has the job's tasks started, takes its checkpoints, restarts what fails, and ends it. It
//! talks to the processes that run tasks through [`Workers`], and is a thin shell around the pure [`CheckpointCoordinator`]
//! and [`Restarts`].
//!
//! Invariant: what a task says counts only while it is of the current attempt and its region is not restarting; a region
//! starts only after all its earlier tasks have ended, or were on a worker that is lost, and while no checkpoint is being
//! written.

mod adopt;
mod checkpoints;
mod deploy;
mod end;
mod requests;
pub mod stepped;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use self::checkpoints::Written;
use self::requests::Asked;
use super::alignment::{AlignmentGroups, Limits};
use super::trigger::{Reply, Trigger};
use super::workers::{Deposed, Workers};
use super::{Begin, JobConfig, JobStatus, MasterSetup, Observed};
use crate::channel::lock;
use crate::checkpoint::coordinator::{CheckpointCoordinator, Event, Subtask};
use crate::checkpoint::manifest::StateEntry;
use crate::checkpoint::storage::{CheckpointStorage, CheckpointStore};
use crate::element::{Barrier, CheckpointId};
use crate::error::{Error, OperatorError};
use crate::executor::order::{Order, Report, Worker, WorkerId};
use crate::graph::{JobGraph, VertexId};
use crate::live_config::ConfigSnapshot;
use crate::metrics::JobMetrics;
use crate::restart::Restarts;
use crate::source::SplitEnumerator;
use crate::state::SnapshotFn;
use crate::task::TaskId;
use crate::time::{Clock, Timestamp};

const ENUMERATOR: (&str, &str) = ("$enumerator", "enumerator v1");

/// What a master is told.
pub(super) enum MasterEvent {
    Report(WorkerId, Report),
    /// A worker and all its tasks are gone.
    WorkerLost(WorkerId),
    /// There may be slots now.
    ResourcesChanged,
    /// The checkpoint's thread is done.
    Written(CheckpointId, Result<Written, Error>),
    /// The configuration has changed.
    Reconfigure(Arc<ConfigSnapshot>),
    /// The user wants a checkpoint, or a savepoint.
    Trigger(Trigger, Reply),
    /// The user wants the job to stop.
    Cancel,
    /// Somebody else leads.
    Abandon,
}

/// A task that was started.
struct Task {
    attempt: u32,
    worker: WorkerId,
    finished: bool,
    /// Its thread has ended, or its worker is lost.
    exited: bool,
}

/// A region between failure and restart, or before its first start.
struct Restarting {
    due: Timestamp,
    /// There were not enough slots; something has to change first.
    starved: bool,
}

/// A checkpoint from its trigger until it is written or given up.
struct Flight {
    barrier: Barrier,
    started: Timestamp,
    /// Of the enumerators.
    snapshots: Vec<(String, SnapshotFn)>,
    /// Of the tasks.
    states: Vec<StateEntry>,
    finished: Vec<String>,
}

pub(super) struct Master {
    graph: Arc<JobGraph>,
    config: JobConfig,
    storage: Arc<CheckpointStorage>,
    pointer: Arc<dyn CheckpointStore>,
    workers: Box<dyn Workers>,
    /// What a restart starts from; its state is read back only then.
    latest: Option<CheckpointId>,
    retained: Vec<CheckpointId>,
    regions: Vec<VertexId>,
    /// Who runs which slot; `None`: nobody yet, or the worker is lost.
    slots: Vec<Option<Worker>>,
    tasks: HashMap<Subtask, Task>,
    attempts: BTreeMap<VertexId, u32>,
    enumerators: BTreeMap<VertexId, Box<dyn SplitEnumerator>>,
    alignment: AlignmentGroups,
    restarting: BTreeMap<VertexId, Restarting>,
    /// When it was last looked whether regions can start.
    looked: Timestamp,
    restarts: Restarts,
    coordinator: CheckpointCoordinator,
    flight: Option<Flight>,
    asked: Asked,
    /// A checkpoint being written on its thread.
    writing: Option<Writing>,
    spawn: Spawn,
    events: mpsc::Sender<MasterEvent>,
    observed: Arc<Mutex<Observed>>,
    metrics: Arc<JobMetrics>,
    on_status: Box<dyn FnMut(JobStatus) + Send>,
    clock: Arc<dyn Clock>,
}

/// What writes a checkpoint, beside the master.
pub(super) type Chore = Box<dyn FnOnce() + Send>;

/// Has a chore done on a thread of its own; in a simulation it is done when that says so.
pub(super) type Spawn = Box<dyn FnMut(Chore) -> std::io::Result<Writing> + Send>;

/// A chore under way; none of a thread's in a simulation.
pub(super) struct Writing(Option<JoinHandle<()>>);

impl Writing {
    fn join(self) {
        if let Some(thread) = self.0 {
            // It has reported, or does so to an inbox that nobody reads any more.
            let _ = thread.join();
        }
    }
}

pub(super) fn on_thread(chore: Chore) -> std::io::Result<Writing> {
    std::thread::Builder::new().name("checkpoint".into()).spawn(chore).map(|thread| Writing(Some(thread)))
}

/// What a master has around it, real or not.
pub(super) struct Surroundings {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) spawn: Spawn,
}

/// Why the master stops.
enum Stop {
    Finished,
    Canceled,
    Failed(Error),
    Abandoned,
}

impl From<Deposed> for Stop {
    fn from(_: Deposed) -> Self {
        Self::Abandoned
    }
}

impl Master {
    pub(super) fn new(
        setup: MasterSetup,
        begin: &Begin,
        config: Arc<ConfigSnapshot>,
        events: mpsc::Sender<MasterEvent>,
        observed: Arc<Mutex<Observed>>,
        metrics: Arc<JobMetrics>,
        surroundings: Surroundings,
    ) -> Self {
        let MasterSetup { graph, config: job, storage, pointer, workers, on_status, .. } = setup;
        let Surroundings { clock, spawn } = surroundings;
        let subtasks = graph.vertices.iter().enumerate();
        let subtasks =
            subtasks.flat_map(|(v, vertex)| (0..vertex.parallelism).map(move |s| (v, s))).collect();
        let latest = begin.checkpoint();
        let first = begin.highest_checkpoint() + 1;
        let now = clock.now_ms();
        let regions = graph.regions();
        let start = Restarting { due: now, starved: false };
        let slots = graph.vertices.iter().map(|vertex| vertex.parallelism).max().unwrap_or(0);
        Self {
            coordinator: CheckpointCoordinator::new(job.checkpointing.clone(), subtasks, first, now, config),
            restarts: Restarts::new(job.restart.clone()),
            retained: latest.into_iter().collect(),
            looked: Timestamp::MIN,
            restarting: regions.iter().map(|region| (*region, Restarting { ..start })).collect(),
            slots: vec![None; slots],
            regions,
            graph,
            config: job,
            storage,
            pointer,
            workers,
            latest,
            tasks: HashMap::new(),
            attempts: BTreeMap::new(),
            enumerators: BTreeMap::new(),
            alignment: AlignmentGroups::default(),
            flight: None,
            asked: Asked::default(),
            writing: None,
            spawn,
            events,
            observed,
            metrics,
            on_status,
            clock,
        }
    }

    pub(super) fn run(
        mut self,
        begin: Begin,
        inbox: &mpsc::Receiver<MasterEvent>,
    ) -> Result<JobStatus, Error> {
        let stop = self.begin(begin).unwrap_or_else(|| self.serve(inbox));
        self.end(stop, inbox)
    }

    fn begin(&mut self, begin: Begin) -> Option<Stop> {
        // What has not begun yet is not checkpointed.
        let newer = self.config.config.clone();
        let stop = self.coordinate(Event::Suspended);
        let stop = stop.or_else(|| self.coordinate(Event::Reconfigured(newer)));
        let stop = stop.or_else(|| match begin {
            Begin::Adopt { adoption, .. } => self.adopt(adoption),
            Begin::Fresh | Begin::Restore(_) => None,
        });
        stop.or_else(|| self.start_due_regions())
    }

    fn serve(&mut self, inbox: &mpsc::Receiver<MasterEvent>) -> Stop {
        loop {
            let now = self.clock.now_ms();
            let event = match self.next_tick() {
                None => inbox.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected),
                Some(due) => inbox.recv_timeout(Duration::from_millis(due.saturating_sub(now).max(0) as u64)),
            };
            if let Some(stop) = self.turn(event.ok()) {
                return stop;
            }
        }
    }

    /// When something is due.
    fn next_tick(&self) -> Option<Timestamp> {
        // Those that were due already wait for something else than time.
        let later = |r: &&Restarting| !r.starved && r.due > self.looked;
        let starts = self.restarting.values().filter(later).map(|r| r.due);
        self.coordinator.next_tick().into_iter().chain(starts).min()
    }

    /// Takes an event, or that time has passed.
    fn turn(&mut self, event: Option<MasterEvent>) -> Option<Stop> {
        let stop = match event {
            Some(event) => self.on_event(event),
            None => self.coordinate(Event::Tick),
        };
        stop.or_else(|| self.start_due_regions())
    }

    fn on_event(&mut self, event: MasterEvent) -> Option<Stop> {
        match event {
            MasterEvent::Report(worker, report) => self.on_report(&worker, report),
            MasterEvent::WorkerLost(worker) => self.on_worker_lost(&worker),
            MasterEvent::ResourcesChanged => {
                self.restarting.values_mut().for_each(|r| r.starved = false);
                None
            }
            MasterEvent::Written(checkpoint, result) => self.on_written(checkpoint, result),
            MasterEvent::Reconfigure(config) => self.coordinate(Event::Reconfigured(config)),
            MasterEvent::Trigger(trigger, reply) => self.on_trigger(trigger, reply),
            MasterEvent::Cancel => Some(Stop::Canceled),
            MasterEvent::Abandon => Some(Stop::Abandoned),
        }
    }

    fn on_report(&mut self, worker: &WorkerId, report: Report) -> Option<Stop> {
        match report {
            Report::RequestSplit(task) if self.is_current(task) => {
                self.give_split(task);
                None
            }
            Report::Progress(task, watermark) if self.is_current(task) => {
                let limits = self.alignment.report((task.vertex, task.subtask), watermark);
                self.limit(limits);
                None
            }
            Report::Finished(task) if self.is_current(task) => self.on_finished(task),
            Report::Exited(task, failure) => {
                let subtask = (task.vertex, task.subtask);
                let current = self.is_current(task);
                let known = self.tasks.get_mut(&subtask).filter(|known| known.attempt == task.attempt)?;
                known.exited = true;
                // A current task that ends as ordered was told so by a master before this one, who had it adopted just then.
                let ordered = || OperatorError::recoverable("an earlier leader has told it to stop");
                if current { self.on_failure(task, failure.unwrap_or_else(ordered)) } else { None }
            }
            Report::Snapshot { checkpoint, tasks, states } => self.on_snapshot(checkpoint, &tasks, states),
            Report::SnapshotFailed { checkpoint, reason } => {
                let reason = format!("worker {worker}: {reason}");
                self.coordinate(Event::WriteFailed(checkpoint, reason))
            }
            // Of an attempt that was replaced.
            Report::RequestSplit(_) | Report::Progress(..) | Report::Finished(_) => None,
            // For those who look on.
            Report::Running(_) => None,
        }
    }

    fn give_split(&mut self, task: TaskId) {
        if let Some(enumerator) = self.enumerators.get_mut(&task.vertex) {
            let assignment = enumerator.next_split(task.subtask);
            self.send((task.vertex, task.subtask), Order::Assign(task, assignment));
        }
    }

    fn on_finished(&mut self, task: TaskId) -> Option<Stop> {
        let known = self.tasks.get_mut(&(task.vertex, task.subtask))?;
        if std::mem::replace(&mut known.finished, true) {
            return None;
        }
        lock(&self.observed).vertices[task.vertex].finished += 1;
        let limits = self.alignment.report((task.vertex, task.subtask), None);
        self.limit(limits);
        self.check_all_finished()
    }

    fn check_all_finished(&mut self) -> Option<Stop> {
        let subtasks: usize = self.graph.vertices.iter().map(|vertex| vertex.parallelism).sum();
        let finished = self.tasks.values().filter(|task| task.finished).count();
        if self.restarting.is_empty() && finished == subtasks {
            return self.coordinate(Event::AllFinished);
        }
        None
    }

    /// Tells sources how far they may go.
    fn limit(&mut self, limits: Limits) {
        for (subtask, limit) in limits {
            if let Some(task) = self.tasks.get(&subtask) {
                let id = TaskId { vertex: subtask.0, subtask: subtask.1, attempt: task.attempt };
                self.send(subtask, Order::LimitWatermark(id, limit));
            }
        }
    }

    /// Sends an order to the worker of a task.
    fn send(&mut self, subtask: Subtask, order: Order) {
        if let Some(task) = self.tasks.get(&subtask).filter(|task| !task.exited) {
            self.workers.send(&task.worker, order);
        }
    }

    /// Sends an order to all workers that have tasks, or had them: what is complete they must know before they hear that
    /// something later was given up.
    fn broadcast(&mut self, order: &Order) {
        let mut workers: Vec<&WorkerId> = self.tasks.values().map(|task| &task.worker).collect();
        workers.sort();
        workers.dedup();
        for worker in workers {
            self.workers.send(worker, order.clone());
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
        tracing::warn!(job = self.config.name, "{error}; its region restarts in {delay_ms} ms");
        self.metrics.num_restarts.add(1);
        let region = self.regions[task.vertex];
        let due = self.clock.now_ms() + delay_ms;
        self.restarting.insert(region, Restarting { due, starved: false });
        let vertices = self.vertices_of(region);
        let attempts = vertices.iter().map(|v| (*v, self.attempts.get(v).copied().unwrap_or(0))).collect();
        self.broadcast(&Order::Cancel(attempts));
        self.set_status(JobStatus::Restarting);
        self.coordinate(Event::Suspended)
    }

    fn vertices_of(&self, region: VertexId) -> Vec<VertexId> {
        (0..self.regions.len()).filter(|v| self.regions[*v] == region).collect()
    }

    fn on_worker_lost(&mut self, worker: &WorkerId) -> Option<Stop> {
        for slot in &mut self.slots {
            if slot.as_ref().is_some_and(|slot| slot.id == *worker) {
                *slot = None;
            }
        }
        let mut lost: Vec<TaskId> = Vec::new();
        for ((vertex, subtask), task) in &mut self.tasks {
            if task.worker == *worker && !std::mem::replace(&mut task.exited, true) {
                lost.push(TaskId { vertex: *vertex, subtask: *subtask, attempt: task.attempt });
            }
        }
        lost.sort();
        for task in lost {
            // One failure a region: the first makes the others' region restart.
            if self.is_current(task) {
                let failure = OperatorError::recoverable(format!("TaskManager {worker} is lost"));
                if let Some(stop) = self.on_failure(task, failure) {
                    return Some(stop);
                }
            }
        }
        None
    }

    fn set_status(&mut self, status: JobStatus) {
        let before = std::mem::replace(&mut lock(&self.observed).status, status);
        if before != status {
            (self.on_status)(status);
        }
    }
}
