//! One job of a leader: from its documents to its master.
//!
//! A job is *read* from ZooKeeper, then waits for what its TaskManagers have of it, then *starts*: it gets a master, which adopts what
//! runs already. What TaskManagers report meanwhile is kept for the master. Invariant: a job has one master at a time, and the next
//! one starts after the last has written its last word.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use streamkeeper_coordination::jobs::{Job, JobSpec, JobState, JobStatus as StatusDocument};
use streamkeeper_dataflow::checkpoint::coordinator::Subtask;
use streamkeeper_dataflow::config::JobSettings;
use streamkeeper_dataflow::element::{BarrierKind, CheckpointId};
use streamkeeper_dataflow::executor::order::{Inventory, Report, TaskState, WorkerId};
use streamkeeper_dataflow::graph::VertexId;
use streamkeeper_dataflow::job::{JobHandle, JobStatus};
use streamkeeper_dataflow::task::TaskId;

use super::documents::Details;
use super::gate::Gate;
use super::history::{CheckpointHistory, Failure, Failures};
use super::lock;
use super::observed::Observed;
use super::rescale::Scale;
use super::view::VertexShape;
use crate::rpc::TaskProgress;
use crate::time::now_ms;

/// How long a job waits for TaskManagers that are registered, and may have tasks of it.
pub(super) const GATHER_MS: u64 = 2000;

/// What a master is still to be told; more, and it takes over anew.
const MAX_KEPT: usize = 65_536;

/// What happens before there is a master.
pub(super) enum Kept {
    Report(WorkerId, Report),
    Lost(WorkerId),
}

/// What has been read of a job.
pub(super) struct ReadJob {
    pub(super) spec: JobSpec,
    pub(super) job: Job,
    pub(super) details: Option<Details>,
}

pub(super) enum Phase {
    /// Its documents are being read.
    Reading,
    /// It waits for inventories until then.
    Gathering(Box<ReadJob>, u64),
    /// It is planned, and its master starts.
    Starting,
    /// It has a master.
    Running(JobHandle),
    /// Its result is being written.
    Ending,
}

#[cfg(test)]
impl Phase {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Reading => "reading",
            Self::Gathering(..) => "gathering",
            Self::Starting => "starting",
            Self::Running(_) => "running",
            Self::Ending => "ending",
        }
    }
}

/// What a leader has told its TaskManagers, to be seen from outside.
pub(super) enum Told {
    /// To start these tasks, from a checkpoint, with these attempts.
    Deploy {
        worker: WorkerId,
        tasks: Vec<TaskId>,
        restore: Option<CheckpointId>,
        attempts: BTreeMap<VertexId, u32>,
    },
    /// To take a checkpoint, of this kind, and where when it is a savepoint.
    Trigger(CheckpointId, BarrierKind, Option<String>),
    /// That it has completed.
    Completed(CheckpointId),
    /// That it has not.
    Aborted(CheckpointId),
}

pub(super) struct RunningJob {
    /// Tells masters of a job apart.
    pub(super) run: u64,
    pub(super) phase: Phase,
    pub(super) gate: Arc<Gate>,
    pub(super) name: String,
    pub(super) vertices: Vec<Arc<VertexShape>>,
    pub(super) max_parallelism: u16,
    pub(super) settings: Option<JobSettings>,
    pub(super) checkpoints: Arc<CheckpointHistory>,
    pub(super) failures: Arc<Failures>,
    /// When this leader came to have it, in milliseconds since 1970.
    pub(super) created_ms: i64,
    pub(super) inventories: BTreeMap<WorkerId, Inventory>,
    pub(super) kept: Vec<Kept>,
    pub(super) tasks: BTreeMap<Subtask, Observed>,
    pub(super) status: Arc<Mutex<StatusDocument>>,
    /// What its master says.
    pub(super) state: JobStatus,
    /// A reason to fail that does not come from its master.
    pub(super) broken: Option<String>,
    pub(super) cancelled: bool,
    /// Version of its checkpoint pointer, as it was seen last.
    pub(super) pointer: Option<i32>,
    /// Its slots are to be spread anew, at its next checkpoint.
    pub(super) moving: bool,
    pub(super) scale: Scale,
}

impl RunningJob {
    pub(super) fn new(run: u64) -> Self {
        Self {
            run,
            phase: Phase::Reading,
            gate: Arc::default(),
            name: String::new(),
            vertices: Vec::new(),
            max_parallelism: 0,
            settings: None,
            checkpoints: Arc::default(),
            failures: Arc::default(),
            created_ms: now_ms(),
            inventories: BTreeMap::new(),
            kept: Vec::new(),
            tasks: BTreeMap::new(),
            status: Arc::default(),
            state: JobStatus::Created,
            broken: None,
            cancelled: false,
            pointer: None,
            moving: false,
            scale: Scale::default(),
        }
    }

    /// Passes something on to the master, now or as soon as there is one. `false`: it waited for too long.
    pub(super) fn tell(&mut self, what: Kept) -> bool {
        match &self.phase {
            Phase::Running(master) => deliver(master, what),
            Phase::Ending => {}
            Phase::Reading | Phase::Gathering(..) | Phase::Starting => {
                self.kept.push(what);
                return self.kept.len() < MAX_KEPT;
            }
        }
        true
    }

    /// The master is there.
    pub(super) fn started(&mut self, master: JobHandle) {
        for what in std::mem::take(&mut self.kept) {
            deliver(&master, what);
        }
        // Slots may have come after it had looked for them, and before it could be told.
        master.resources_changed();
        self.phase = Phase::Running(master);
    }

    /// The master, if there is one, is told that it is no master any more, and says nothing from then on.
    pub(super) fn abandon(&mut self) -> Option<JobHandle> {
        let master = match std::mem::replace(&mut self.phase, Phase::Reading) {
            Phase::Running(master) => {
                master.abandon();
                Some(master)
            }
            _ => None,
        };
        self.gate.close();
        master
    }

    /// What a TaskManager has of it.
    pub(super) fn take_inventory(&mut self, worker: &WorkerId, inventory: Inventory) {
        // It contains what was said before it.
        self.kept.retain(|what| match what {
            Kept::Report(from, _) | Kept::Lost(from) => from != worker,
        });
        for task in &inventory.tasks {
            self.observe(worker, task.task, state_name(&task.state));
        }
        self.inventories.insert(worker.clone(), inventory);
    }

    /// Keeps what a report says of tasks and checkpoints.
    pub(super) fn observe_report(&mut self, worker: &WorkerId, report: &Report) {
        match report {
            Report::Running(task) => self.observe(worker, *task, "RUNNING"),
            Report::Finished(task) => self.observe(worker, *task, "FINISHED"),
            Report::Exited(task, Some(error)) => {
                self.observe(worker, *task, "FAILED");
                let name = self.vertices.get(task.vertex).map(|vertex| vertex.name.clone());
                Arc::make_mut(&mut self.failures).add(Failure {
                    at_ms: now_ms(),
                    message: error.to_string(),
                    task: Some((name.unwrap_or_default(), task.subtask, task.attempt)),
                    worker: worker.clone(),
                });
            }
            Report::Exited(task, None) => {
                let known = self.tasks.get(&(task.vertex, task.subtask));
                let finished = known.is_some_and(|k| k.attempt == task.attempt && k.state() == "FINISHED");
                self.observe(worker, *task, if finished { "FINISHED" } else { "CANCELED" });
            }
            Report::Snapshot { checkpoint, tasks, states } => {
                let mut subtasks: BTreeMap<VertexId, Vec<Subtask>> = BTreeMap::new();
                for task in tasks {
                    subtasks.entry(task.vertex).or_default().push((task.vertex, task.subtask));
                }
                for (vertex, subtasks) in subtasks {
                    let uids = self.vertices.get(vertex).map_or(&[][..], |shape| &shape.operators);
                    let bytes =
                        states.iter().filter(|state| uids.contains(&state.uid)).map(|state| state.length);
                    Arc::make_mut(&mut self.checkpoints).acknowledged(
                        *checkpoint,
                        &subtasks,
                        bytes.sum(),
                        now_ms(),
                    );
                }
            }
            Report::SnapshotFailed { checkpoint, reason } => {
                Arc::make_mut(&mut self.checkpoints).aborted(
                    *checkpoint,
                    &format!("TaskManager {worker}: {reason}"),
                    now_ms(),
                );
            }
            Report::RequestSplit(_) | Report::Progress(..) => {}
        }
    }

    /// Keeps a task's metrics.
    pub(super) fn observe_progress(&mut self, worker: &WorkerId, progress: TaskProgress) {
        let TaskProgress { task, metrics } = progress;
        let known =
            self.tasks.get(&(task.vertex, task.subtask)).filter(|known| known.attempt == task.attempt);
        let state = known.map(Observed::state).filter(|state| *state != "DEPLOYING").unwrap_or("RUNNING");
        self.observe(worker, task, state);
        if let Some(known) = self.tasks.get_mut(&(task.vertex, task.subtask))
            && known.attempt == task.attempt
        {
            known.samples.add(metrics, now_ms());
        }
    }

    /// Keeps what TaskManagers have been told.
    pub(super) fn observe_told(&mut self, told: Told) {
        let now = now_ms();
        match told {
            Told::Deploy { worker, tasks, restore, attempts } => {
                tasks.into_iter().for_each(|task| self.observe(&worker, task, "DEPLOYING"));
                if let Some(checkpoint) = restore {
                    Arc::make_mut(&mut self.checkpoints).restored(checkpoint, &attempts, now);
                }
            }
            Told::Trigger(checkpoint, kind, savepoint) => {
                Arc::make_mut(&mut self.checkpoints).triggered(checkpoint, kind, savepoint, now);
            }
            Told::Completed(checkpoint) => Arc::make_mut(&mut self.checkpoints).completed(checkpoint, now),
            Told::Aborted(checkpoint) => {
                Arc::make_mut(&mut self.checkpoints).aborted(
                    checkpoint,
                    "It was given up: a task failed, or it took too long.",
                    now,
                );
            }
        }
    }

    /// Keeps that a TaskManager is gone.
    pub(super) fn observe_loss(&mut self, worker: &WorkerId) {
        let now = now_ms();
        let mut any = false;
        for task in self.tasks.values_mut().filter(|task| task.worker == *worker && !task.is_over()) {
            task.enter("FAILED", now);
            any = true;
        }
        if any {
            let message = format!("TaskManager {worker} is lost");
            Arc::make_mut(&mut self.failures).add(Failure {
                at_ms: now,
                message,
                task: None,
                worker: worker.clone(),
            });
        }
    }

    /// Its tasks have ended with it, whether or not they could say so.
    pub(super) fn observe_end(&mut self) {
        let state = if self.state == JobStatus::Finished { "FINISHED" } else { "CANCELED" };
        for task in self.tasks.values_mut().filter(|task| !task.is_over()) {
            task.enter(state, now_ms());
        }
    }

    fn observe(&mut self, worker: &WorkerId, task: TaskId, state: &'static str) {
        let now = now_ms();
        let created = self.created_ms;
        let new = |created| Observed::new(worker.clone(), task.attempt, created);
        let known = self.tasks.entry((task.vertex, task.subtask)).or_insert_with(|| new(created));
        if known.attempt < task.attempt {
            *known = new(now);
        }
        if known.attempt == task.attempt {
            known.worker.clone_from(worker);
            known.enter(state, now);
        }
    }

    /// Takes the version of its checkpoint pointer; whether this is the moment to spread its slots anew: a checkpoint has just
    /// completed, so that little is done twice.
    pub(super) fn is_to_move(&mut self, pointer: Option<i32>) -> bool {
        let advanced = pointer.is_some() && std::mem::replace(&mut self.pointer, pointer) != pointer;
        advanced && self.moving && matches!(self.phase, Phase::Running(_))
    }

    /// The TaskManagers whose inventories it waits for.
    pub(super) fn wants(&self) -> BTreeSet<WorkerId> {
        match &self.phase {
            Phase::Gathering(read, _) => {
                read.details.iter().flat_map(|details| details.slots.iter().cloned()).collect()
            }
            _ => BTreeSet::new(),
        }
    }

    /// The job's state, as Flink would name it. It has ended only when its result is written: whoever leads next might have to end it
    /// again until then.
    pub(super) fn job_state(&self) -> JobState {
        match (&self.phase, self.state) {
            (Phase::Ending, JobStatus::Failed) => JobState::Failing,
            (Phase::Ending, JobStatus::Canceled) => JobState::Cancelling,
            (Phase::Ending, JobStatus::Finished) => JobState::Running,
            (_, _) if self.cancelled => JobState::Cancelling,
            (Phase::Running(_), JobStatus::Running) => JobState::Running,
            (Phase::Running(_), JobStatus::Restarting) => JobState::Restarting,
            _ => lock(&self.status).state,
        }
    }
}

fn deliver(master: &JobHandle, what: Kept) {
    match what {
        Kept::Report(worker, report) => master.report(&worker, report),
        Kept::Lost(worker) => master.worker_lost(&worker),
    }
}

fn state_name(state: &TaskState) -> &'static str {
    match state {
        TaskState::Running => "RUNNING",
        TaskState::Finished => "FINISHED",
        TaskState::Exited(Some(_)) => "FAILED",
        TaskState::Exited(None) => "CANCELED",
    }
}
