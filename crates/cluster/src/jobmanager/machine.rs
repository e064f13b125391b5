//! What a leader has of its machine: threads, and where checkpoints are. A simulation has another one in its place.

use std::sync::Arc;

use streamkeeper_dataflow::Error;
use streamkeeper_dataflow::checkpoint::storage::CheckpointStorage;
use streamkeeper_dataflow::job::{JobHandle, MasterSetup, start_master};

use super::start::Clerk;
use crate::error::Result;
use crate::planner::CheckpointPlace;

/// The machine of a leader.
pub(super) trait Machine: Send + Sync {
    /// What does a leader's chores, in order.
    fn clerk(&self) -> Result<Clerk>;

    /// The checkpoints of a job.
    fn storage(&self, place: &CheckpointPlace) -> std::result::Result<Arc<CheckpointStorage>, Error>;

    /// Starts a job's master.
    fn start_master(&self, setup: MasterSetup) -> std::result::Result<JobHandle, Error>;
}

/// Threads and directories.
pub(super) struct Threads;

impl Machine for Threads {
    fn clerk(&self) -> Result<Clerk> {
        Clerk::start()
    }

    fn storage(&self, place: &CheckpointPlace) -> std::result::Result<Arc<CheckpointStorage>, Error> {
        CheckpointStorage::directory(&place.directory, &place.lineage).map(Arc::new)
    }

    fn start_master(&self, setup: MasterSetup) -> std::result::Result<JobHandle, Error> {
        start_master(setup)
    }
}
