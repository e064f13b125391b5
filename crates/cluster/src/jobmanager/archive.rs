//! Jobs that have ended in this leadership, as they were seen last: what ZooKeeper keeps of them is their result alone.
//!
//! Invariant: the latest [`MAX_ARCHIVED`] are kept.

use std::collections::VecDeque;

use super::job::RunningJob;
use crate::job_id::JobId;

/// Jobs that are kept.
const MAX_ARCHIVED: usize = 100;

/// Jobs that have ended.
#[derive(Default)]
pub(super) struct Archive(VecDeque<(JobId, RunningJob)>);

impl Archive {
    pub(super) fn keep(&mut self, id: JobId, mut job: RunningJob) {
        job.inventories.clear();
        job.kept.clear();
        self.0.push_back((id, job));
        if self.0.len() > MAX_ARCHIVED {
            self.0.pop_front();
        }
    }

    pub(super) fn get(&self, id: JobId) -> Option<&RunningJob> {
        self.0.iter().find(|(of, _)| *of == id).map(|(_, job)| job)
    }
}
