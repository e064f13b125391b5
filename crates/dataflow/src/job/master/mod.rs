//! The job's master: one thread that starts the job's tasks, takes its checkpoints, restarts what fails, and ends it. It
//! talks to tasks through their mailboxes, and is a thin shell around the pure [`CheckpointCoordinator`] and [`Restarts`].
//!
//! Invariant: what a task says counts only while it is of the current attempt and its region is not restarting; a region
//! restarts only after all its threads have ended and no checkpoint is being written.

mod checkpoints;
mod deploy;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use super::alignment::{AlignmentGroups, Limits};
use super::{JobConfig, JobStatus, Observed};
use crate::channel::lock;
use crate::checkpoint::coordinator::{CheckpointCoordinator, Event, Subtask};
use crate::checkpoint::storage::{CheckpointStorage, Restored};
use crate::element::{Barrier, CheckpointId};
use crate::error::{Error, OperatorError};
use crate::graph::{JobGraph, VertexId};
use crate::mailbox::{Mail, Mailbox};
use crate::metrics::JobMetrics;
use crate::restart::Restarts;
use crate::source::SplitEnumerator;
use crate::state::SnapshotFn;
use crate::task::{JobEvent, TaskId};
use crate::time::{Clock, SystemClock, Timestamp};

const ENUMERATOR: (&str, &str) = ("$enumerator", "enumerator v1");

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

/// A checkpoint from its trigger until it is written or given up.
struct Flight {
    barrier: Barrier,
    started: Timestamp,
    snapshots: Vec<(String, SnapshotFn)>,
    finished: Vec<String>,
}

pub(super) struct Master {
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
    alignment: AlignmentGroups,
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
    pub(super) fn new(
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
                restore
                    .as_ref()
                    .map_or_else(|| config.config.clone(), |r| Arc::new(r.manifest.config.clone())),
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
            alignment: AlignmentGroups::default(),
            restarting: BTreeMap::new(),
            flight: None,
            writing: None,
            events,
            observed,
            metrics,
            clock,
        }
    }

    pub(super) fn run(mut self, inbox: &mpsc::Receiver<JobEvent>) -> Result<JobStatus, Error> {
        let all: Vec<VertexId> = (0..self.graph.vertices.len()).collect();
        let stop = match self.deploy(&all) {
            Err(error) => Stop::Failed(error),
            Ok(()) => {
                self.set_status(JobStatus::Running);
                let newer = self.config.config.clone();
                self.coordinate(Event::Reconfigured(newer)).unwrap_or_else(|| self.serve(inbox))
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
            JobEvent::Progress { task, watermark } if self.is_current(task) => {
                let limits = self.alignment.report((task.vertex, task.subtask), watermark);
                self.limit(limits);
                None
            }
            JobEvent::Finished(task) if self.is_current(task) => {
                if let Some(task) = self.tasks.get_mut(&(task.vertex, task.subtask)) {
                    task.finished = true;
                }
                lock(&self.observed).vertices[task.vertex].finished += 1;
                let limits = self.alignment.report((task.vertex, task.subtask), None);
                self.limit(limits);
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
            JobEvent::Reconfigure(config) => self.coordinate(Event::Reconfigured(config)),
            JobEvent::Cancel => Some(Stop::Canceled),
            // Of an attempt that was replaced.
            JobEvent::RequestSplit(_)
            | JobEvent::Snapshot { .. }
            | JobEvent::Progress { .. }
            | JobEvent::Finished(_)
            | JobEvent::Exited { .. } => None,
        }
    }

    /// Tells sources how far they may go.
    fn limit(&self, limits: Limits) {
        for (subtask, limit) in limits {
            if let Some(task) = self.tasks.get(&subtask) {
                task.mailbox.send(Mail::LimitWatermark(limit));
            }
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

    fn set_status(&self, status: JobStatus) {
        lock(&self.observed).status = status;
    }
}
