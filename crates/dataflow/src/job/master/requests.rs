//! What users have asked for, until they are answered.
//!
//! Invariant: who asks for the job's end is answered when it has ended, and all of the savepoint is committed.

use std::collections::BTreeMap;

use super::{Master, Stop};
use crate::checkpoint::coordinator::Event;
use crate::checkpoint::requests::{Request, RequestId};
use crate::element::CheckpointId;
use crate::error::Error;
use crate::job::JobStatus;
use crate::job::trigger::{Reply, Trigger};

/// Those who wait for an answer.
#[derive(Default)]
pub(super) struct Asked {
    last: RequestId,
    waiting: BTreeMap<RequestId, (Trigger, Reply)>,
    /// The savepoint with which the job ends is complete.
    ends: Option<(CheckpointId, Reply)>,
}

impl Master {
    pub(super) fn on_trigger(&mut self, trigger: Trigger, reply: Reply) -> Option<Stop> {
        self.asked.last += 1;
        let id = self.asked.last;
        let savepoint = trigger.savepoint().map(|path| path.display().to_string());
        let request = Request { id, kind: trigger.kind(), savepoint };
        self.asked.waiting.insert(id, (trigger, reply));
        self.coordinate(Event::Requested(request))
    }

    pub(super) fn answer(&mut self, request: RequestId, answer: Result<CheckpointId, String>) {
        match (self.asked.waiting.remove(&request), answer) {
            (Some((Trigger::Stop { .. }, reply)), Ok(checkpoint)) => {
                self.asked.ends = Some((checkpoint, reply));
            }
            (Some((_, reply)), answer) => reply.tell(answer),
            (None, _) => {}
        }
    }

    /// The job has ended, or its master has; whoever still waits is told by dropping the reply.
    pub(super) fn answer_all(&mut self, result: &Result<JobStatus, Error>) {
        if let Some((checkpoint, reply)) = self.asked.ends.take() {
            match result {
                Ok(JobStatus::Finished) => reply.tell(Ok(checkpoint)),
                Err(error) => reply.tell(Err(error.to_string())),
                Ok(_) => drop(reply),
            }
        }
    }
}
