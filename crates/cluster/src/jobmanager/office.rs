//! What a leader reads and writes in ZooKeeper. A simulation has another one in its place.
//!
//! Invariant: a write that returns `Ok` was done while its epoch was the last one; with [`Failure::Deposed`] nobody here has to know.

use streamkeeper_coordination::election::Leadership;
use streamkeeper_coordination::jobs::{CheckpointPointer, Job, JobResult, JobStore, JobUpdate};

use super::persist::{Failure, persist};

/// The office of one epoch. All calls block until their outcome is known, or this leads no more.
pub(super) trait Office: Send + Sync {
    /// The epoch.
    fn epoch(&self) -> u64;

    /// Whether it is known to be over.
    fn is_revoked(&self) -> bool;

    /// The documents of a job as they are now.
    fn read(&self, job: &str) -> Result<Job, Failure>;

    /// Replaces documents of a job.
    fn update(&self, update: JobUpdate) -> Result<(), Failure>;

    /// Replaces a job's checkpoint pointer.
    fn complete_checkpoint(&self, job: &str, pointer: &CheckpointPointer) -> Result<(), Failure>;

    /// Puts a job's result in place of all else.
    fn end(&self, job: &str, result: &JobResult) -> Result<(), Failure>;
}

impl Office for Leadership {
    fn epoch(&self) -> u64 {
        self.epoch()
    }

    fn is_revoked(&self) -> bool {
        self.is_revoked()
    }

    fn read(&self, job: &str) -> Result<Job, Failure> {
        let store = JobStore::new(self.cluster().clone());
        persist(self, || async {
            self.cluster().sync().await?;
            store.get(job).await
        })
    }

    fn update(&self, update: JobUpdate) -> Result<(), Failure> {
        let updates = [update];
        persist(self, || self.update_jobs(&updates))
    }

    fn complete_checkpoint(&self, job: &str, pointer: &CheckpointPointer) -> Result<(), Failure> {
        persist(self, || self.complete_checkpoint(job, pointer)).map(|_| ())
    }

    fn end(&self, job: &str, result: &JobResult) -> Result<(), Failure> {
        persist(self, || self.end_job(job, result))
    }
}
