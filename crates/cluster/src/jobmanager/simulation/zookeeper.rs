//! What ZooKeeper holds in a simulation, and the office of a leader who writes there.
//!
//! Invariants that are checked at each write: its epoch is the last one (as the check that each real one begins with makes it), the
//! checkpoint pointer only grows, the tasks of a completed checkpoint are all subtasks of one attempt, that of the assignment, and
//! attempts never go back.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use streamkeeper_coordination::Versioned;
use streamkeeper_coordination::election::LeaderDocument;
use streamkeeper_coordination::jobs::{CheckpointPointer, Job, JobResult, JobUpdate, JobsView};
use streamkeeper_coordination::membership::{TaskManagerDocument, TaskManagers};
use streamkeeper_dataflow::checkpoint::storage::CheckpointStorage;
use streamkeeper_dataflow::job::stepped::committables;

use super::super::documents::Details;
use super::super::lock;
use super::super::office::Office;
use super::super::persist::Failure;
use super::job::{TheJob, Transaction};
use crate::job_id::JobId;

/// Where a write of a leader that was deposed waits until its process hears of it, which ends the chore.
pub(super) struct Blocked;

pub(super) struct ZooKeeper {
    pub(super) id: JobId,
    pub(super) leader: LeaderDocument,
    /// Of the leader's document.
    pub(super) version: i32,
    pub(super) job: Job,
    pub(super) members: BTreeMap<String, TaskManagerDocument>,
    pub(super) writes: usize,
}

impl ZooKeeper {
    pub(super) fn new(id: JobId) -> Self {
        let job = Job { spec: Some(Versioned { value: TheJob::spec(), version: 0 }), ..Job::default() };
        Self { id, leader: LeaderDocument::default(), version: 0, job, members: BTreeMap::new(), writes: 0 }
    }

    pub(super) fn jobs(&self) -> Arc<JobsView> {
        Arc::new([(self.id.to_string(), Arc::new(self.job.clone()))].into_iter().collect())
    }

    pub(super) fn task_managers(&self) -> Arc<TaskManagers> {
        Arc::new(self.members.values().cloned().collect())
    }

    /// The latest completed checkpoint.
    pub(super) fn pointer(&self) -> u64 {
        self.job.checkpoint.as_ref().and_then(|pointer| pointer.value.latest()).unwrap_or(0)
    }

    fn details(&self) -> Option<Details> {
        Details::of(&self.job.assignment.as_ref()?.value).expect("readable")
    }
}

fn put<T>(place: &mut Option<Versioned<T>>, value: T) {
    let version = place.as_ref().map_or(0, |old| old.version + 1);
    *place = Some(Versioned { value, version });
}

/// The office of an epoch.
pub(super) struct SimulatedOffice {
    pub(super) zookeeper: Arc<Mutex<ZooKeeper>>,
    pub(super) storage: Arc<CheckpointStorage>,
    pub(super) job: TheJob,
    pub(super) epoch: u64,
    pub(super) version: i32,
    pub(super) revoked: AtomicBool,
}

impl SimulatedOffice {
    fn write<T>(&self, write: impl FnOnce(&mut ZooKeeper) -> T) -> Result<T, Failure> {
        let mut zookeeper = lock(&self.zookeeper);
        if self.is_revoked() || zookeeper.version != self.version {
            return Err(Failure::Deposed);
        }
        assert_eq!(zookeeper.leader.epoch, self.epoch, "two leaders write");
        zookeeper.writes += 1;
        Ok(write(&mut zookeeper))
    }

    /// Takes what a checkpoint holds for durable.
    fn take_checkpoint(&self, checkpoint: u64, details: Option<&Details>) {
        let assigned = details.and_then(|details| details.attempts.get(&1)).copied();
        let mut ledger = lock(&self.job.ledger);
        let mut subtasks: BTreeMap<usize, u32> = BTreeMap::new();
        for bytes in committables(&self.storage, checkpoint).expect("a completed checkpoint can be read") {
            let transaction: Transaction = serde_json::from_slice(&bytes).expect("a transaction");
            let attempt = *subtasks.entry(transaction.subtask).or_insert(transaction.attempt);
            assert_eq!(attempt, transaction.attempt, "two generations of a task in checkpoint {checkpoint}");
            assert_eq!(
                Some(attempt),
                assigned,
                "checkpoint {checkpoint} is of another attempt than is assigned"
            );
            ledger.tell(|| format!("checkpoint {checkpoint} of epoch {} holds {transaction:?}", self.epoch));
            ledger.durable.insert(transaction.id.clone(), transaction);
        }
        let expected: Vec<usize> = (0..self.job.parallelism).collect();
        assert_eq!(
            subtasks.into_keys().collect::<Vec<_>>(),
            expected,
            "checkpoint {checkpoint} is not whole"
        );
    }
}

impl Office for SimulatedOffice {
    fn epoch(&self) -> u64 {
        self.epoch
    }

    fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::Relaxed)
    }

    fn read(&self, _: &str) -> Result<Job, Failure> {
        if self.is_revoked() { Err(Failure::Deposed) } else { Ok(lock(&self.zookeeper).job.clone()) }
    }

    fn update(&self, update: JobUpdate) -> Result<(), Failure> {
        self.write(|zookeeper| {
            if let Some(assignment) = update.assignment {
                let new = Details::of(&assignment).expect("readable").expect("placed");
                for (vertex, attempt) in zookeeper.details().map(|old| old.attempts).unwrap_or_default() {
                    assert!(new.attempts.get(&vertex) >= Some(&attempt), "an attempt is used again");
                }
                put(&mut zookeeper.job.assignment, assignment);
            }
            if let Some(status) = update.status {
                put(&mut zookeeper.job.status, status);
            }
        })
    }

    fn complete_checkpoint(&self, _: &str, pointer: &CheckpointPointer) -> Result<(), Failure> {
        let written = self.write(|zookeeper| {
            let latest = pointer.latest().expect("it names one");
            assert!(
                latest > zookeeper.pointer(),
                "the pointer goes from {} to {latest}",
                zookeeper.pointer()
            );
            self.take_checkpoint(latest, zookeeper.details().as_ref());
            put(&mut zookeeper.job.checkpoint, pointer.clone());
        });
        if written.is_err() {
            std::panic::resume_unwind(Box::new(Blocked));
        }
        written
    }

    fn end(&self, _: &str, result: &JobResult) -> Result<(), Failure> {
        panic!("the job has ended: {result:?}");
    }
}
