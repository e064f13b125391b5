//! The TaskManagers, as a job's master sees them.
//!
//! Invariant: an assignment is in ZooKeeper before any task is started by it.

use std::collections::BTreeMap;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};

use streamkeeper_coordination::jobs::{JobStatus, JobUpdate};
use streamkeeper_dataflow::checkpoint::storage::{CheckpointStore, Pointer};
use streamkeeper_dataflow::element::CheckpointId;
use streamkeeper_dataflow::executor::order::{Deployment, Order, Worker, WorkerId};
use streamkeeper_dataflow::graph::{JobGraph, VertexId};
use streamkeeper_dataflow::job::workers::{Deposed, Workers};
use streamkeeper_dataflow::task::TaskId;

use super::gate::Gate;
use super::job::Told;
use super::links::Links;
use super::office::Office;
use super::persist::Failure;
use super::roster::Roster;
use super::shell::Event;
use super::{documents, lock};
use crate::job_id::JobId;
use crate::planner::CheckpointPlace;
use crate::rpc::message::{Command, OpenJob};
use crate::time::now_ms;

/// What a job's master works with.
pub(super) struct JobWorkers {
    pub(super) job: JobId,
    pub(super) leadership: Arc<dyn Office>,
    pub(super) links: Arc<Links>,
    pub(super) roster: Arc<Mutex<Roster>>,
    pub(super) gate: Arc<Gate>,
    pub(super) graph: Arc<JobGraph>,
    pub(super) open: OpenJob,
    pub(super) place: CheckpointPlace,
    pub(super) restored: Option<CheckpointId>,
    /// When it is not what the spec says; 0: it is.
    pub(super) parallelism: u32,
    /// As it is in ZooKeeper.
    pub(super) status: Arc<Mutex<JobStatus>>,
    pub(super) events: Sender<Event>,
}

impl JobWorkers {
    /// What can be seen of an order.
    fn told(&self, worker: &WorkerId, order: &Order) -> Option<Told> {
        match order {
            Order::Deploy(deployment) => Some(Told::Deploy {
                worker: worker.clone(),
                tasks: self.existing(deployment, worker),
                restore: deployment.restore,
                attempts: deployment.vertices.clone(),
            }),
            Order::Trigger(barrier) => {
                Some(Told::Trigger(barrier.checkpoint, barrier.kind, barrier.savepoint.clone()))
            }
            Order::Completed(checkpoint) | Order::Kept(checkpoint) => Some(Told::Completed(*checkpoint)),
            Order::Aborted(checkpoint) => Some(Told::Aborted(*checkpoint)),
            Order::Cancel(_) | Order::Assign(..) | Order::LimitWatermark(..) | Order::Exit => None,
        }
    }

    /// The tasks of a deployment that are a TaskManager's.
    fn existing(&self, deployment: &Deployment, worker: &WorkerId) -> Vec<TaskId> {
        let slots = deployment.slots.iter().enumerate().filter(|(_, slot)| slot.id == *worker);
        let slots: Vec<usize> = slots.map(|(slot, _)| slot).collect();
        let of = |(vertex, attempt): (&VertexId, &u32)| {
            let parallelism = self.graph.vertices.get(*vertex).map_or(0, |v| v.parallelism);
            let slots = slots.iter().copied().filter(move |subtask| *subtask < parallelism);
            let (vertex, attempt) = (*vertex, *attempt);
            slots.map(move |subtask| TaskId { vertex, subtask, attempt }).collect::<Vec<_>>()
        };
        deployment.vertices.iter().flat_map(of).collect()
    }

    /// Writes what has changed. An error that will not pass ends the job.
    fn write(&self, update: JobUpdate) -> Result<bool, Deposed> {
        let status = update.status.clone();
        match self.leadership.update(update) {
            Ok(()) => {
                if let Some(status) = status {
                    *lock(&self.status) = status;
                }
                Ok(true)
            }
            Err(Failure::Deposed) => Err(Deposed),
            Err(Failure::Refused(error)) => {
                // The shell goes after its masters.
                let _ = self.events.send(Event::Broken(self.leadership.epoch(), self.job, error.to_string()));
                Ok(false)
            }
        }
    }
}

impl Workers for JobWorkers {
    fn place(
        &mut self,
        _slots: usize,
        current: &[Option<Worker>],
        attempts: &BTreeMap<VertexId, u32>,
    ) -> Result<Option<Vec<Worker>>, Deposed> {
        if self.gate.is_closed() {
            return Err(Deposed);
        }
        let ids: Vec<_> =
            current.iter().map(|worker| worker.as_ref().map(|worker| worker.id.clone())).collect();
        let placed = lock(&self.roster).place(self.job, &ids);
        let now = u64::try_from(now_ms()).unwrap_or(0);
        let before = lock(&self.status).clone();
        let update = JobUpdate::new(self.job.to_string());
        let Some(slots) = placed else {
            if let Some(status) = documents::starved(&before, now) {
                self.write(update.status(status))?;
            }
            return Ok(None);
        };
        let assignment = documents::assignment(
            &self.graph,
            &slots,
            attempts,
            &self.place,
            self.restored,
            self.parallelism,
        );
        let update = update.assignment(assignment).status(documents::placed(&before, now));
        Ok(self.write(update)?.then_some(slots))
    }

    fn send(&mut self, worker: &WorkerId, order: Order) {
        self.gate.pass(|| {
            if matches!(order, Order::Deploy(_)) {
                self.links.send(worker, Command::Open(Box::new(self.open.clone())));
            }
            if let Some(told) = self.told(worker, &order) {
                // Only to be seen from outside.
                let _ = self.events.send(Event::Told(self.leadership.epoch(), self.job, told));
            }
            self.links.send(worker, Command::Order(self.job, order));
        });
    }
}

/// A job's checkpoint pointer in ZooKeeper: one transaction for each checkpoint.
pub(super) struct PointerInZooKeeper {
    pub(super) job: JobId,
    pub(super) leadership: Arc<dyn Office>,
    pub(super) gate: Arc<Gate>,
    pub(super) place: CheckpointPlace,
}

impl CheckpointStore for PointerInZooKeeper {
    fn load(&self) -> Result<Option<Pointer>, String> {
        let found = self.leadership.read(&self.job.to_string()).map_err(|failure| format!("{failure:?}"))?;
        let retained = found.checkpoint.map(|pointer| pointer.value.retained).unwrap_or_default();
        Ok((!retained.is_empty()).then_some(Pointer { v: 1, retained }))
    }

    /// Returns when it is known to be replaced, or known not to be. When somebody else leads, nobody here has to know.
    fn publish(&self, pointer: &Pointer) -> Result<(), String> {
        let new = streamkeeper_coordination::jobs::CheckpointPointer {
            lineage: self.place.lineage.clone(),
            directory: self.place.directory.display().to_string(),
            retained: pointer.retained.clone(),
        };
        let job = self.job.to_string();
        match self.leadership.complete_checkpoint(&job, &new) {
            Ok(()) => Ok(()),
            Err(Failure::Deposed) => {
                self.gate.wait();
                Err("another JobManager leads".into())
            }
            Err(Failure::Refused(error)) => Err(error.to_string()),
        }
    }
}
