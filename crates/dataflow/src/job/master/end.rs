//! The end of a job, and of its master.
//!
//! Invariant: a job has finished when all its tasks have left, and all that its last checkpoint holds is committed. A master
//! that somebody else replaces orders nothing more.

use std::collections::BTreeMap;
use std::sync::mpsc;

use super::deploy::items;
use super::{Master, MasterEvent, Stop};
use crate::error::Error;
use crate::executor::order::{Order, Report};
use crate::job::JobStatus;
use crate::sink::COMMITTABLES;

impl Master {
    pub(super) fn end(mut self, stop: Stop, inbox: &mpsc::Receiver<MasterEvent>) -> Result<JobStatus, Error> {
        let result = match stop {
            Stop::Abandoned => Ok(JobStatus::Suspended),
            Stop::Finished => {
                self.broadcast(&Order::Exit);
                match self.wait_for_exits(inbox) {
                    Exits::Failed(error) => Err(error),
                    Exits::Abandoned => Ok(JobStatus::Suspended),
                    // What a region that failed meanwhile had to commit, nobody else does.
                    Exits::All { lost } if lost || !self.restarting.is_empty() => {
                        self.commit_last().map(|()| JobStatus::Finished)
                    }
                    Exits::All { .. } => Ok(JobStatus::Finished),
                }
            }
            Stop::Canceled => {
                self.stop_tasks(inbox).map_or(Ok(JobStatus::Suspended), |()| Ok(JobStatus::Canceled))
            }
            Stop::Failed(error) => self.stop_tasks(inbox).map_or(Ok(JobStatus::Suspended), |()| Err(error)),
        };
        if let Some(writing) = self.writing.take() {
            writing.join();
        }
        self.answer_all(&result);
        self.set_status(result.as_ref().map_or(JobStatus::Failed, |status| *status));
        result
    }

    /// Cancels all tasks. `None`: somebody else leads meanwhile.
    fn stop_tasks(&mut self, inbox: &mpsc::Receiver<MasterEvent>) -> Option<()> {
        let attempts: BTreeMap<_, _> = self.attempts.clone();
        self.broadcast(&Order::Cancel(attempts));
        match self.wait_for_exits(inbox) {
            Exits::Abandoned => None,
            Exits::All { .. } | Exits::Failed(_) => Some(()),
        }
    }

    /// Waits until no task runs any more.
    fn wait_for_exits(&mut self, inbox: &mpsc::Receiver<MasterEvent>) -> Exits {
        let (mut failure, mut lost) = (None, false);
        while self.tasks.values().any(|task| !task.exited) {
            match inbox.recv() {
                Ok(MasterEvent::Report(_, Report::Exited(id, reason))) => {
                    let task = self.tasks.get_mut(&(id.vertex, id.subtask));
                    if let Some(task) = task.filter(|task| task.attempt == id.attempt) {
                        task.exited = true;
                        failure = failure.or(reason.map(|reason| self.task_error(id, reason)));
                    }
                }
                Ok(MasterEvent::WorkerLost(worker)) => {
                    for task in self.tasks.values_mut().filter(|task| task.worker == worker) {
                        lost |= !std::mem::replace(&mut task.exited, true);
                    }
                }
                Ok(MasterEvent::Abandon) | Err(_) => return Exits::Abandoned,
                Ok(_) => {}
            }
        }
        match failure {
            Some(error) => Exits::Failed(error),
            None => Exits::All { lost },
        }
    }

    /// Commits what the last checkpoint holds, for tasks that may not have come to it.
    pub(super) fn commit_last(&mut self) -> Result<(), Error> {
        let Some(checkpoint) = self.latest else { return Ok(()) };
        let last = self.storage.read_where(checkpoint, |entry| entry.name == COMMITTABLES.0)?;
        for vertex in &self.graph.vertices {
            for (uid, committer) in &vertex.committers {
                let committables = items(&last.segments, uid, COMMITTABLES.0);
                committer.recover(&self.config.lineage, Some(0), &committables).map_err(|source| {
                    Error::Task { operator: vertex.name.clone(), subtask: 0, attempt: 0, source }
                })?;
            }
        }
        Ok(())
    }
}

/// How the tasks have left.
enum Exits {
    /// All of them; some perhaps with their worker.
    All { lost: bool },
    /// One with an error.
    Failed(Error),
    /// Nobody knows: somebody else leads.
    Abandoned,
}
