//! A job that runs at another parallelism from now on.
//!
//! What is wanted stands in the job's `desired`, what is in force in its assignment. When they differ and there are slots, the leader has
//! a checkpoint taken while the job runs on, and takes the job over anew at the other parallelism: the same job, attempts and checkpoints
//! go on. Invariant: the new parallelism is written down with the slots, before any task starts at it; until then a new leader goes on at
//! the old one, and begins anew to change it.

use streamkeeper_coordination::jobs::{Desired, DesiredState};
use streamkeeper_dataflow::element::CheckpointId;
use streamkeeper_dataflow::job::JobStatus;
use streamkeeper_dataflow::job::trigger::{Reply, Trigger};

use super::job::{Phase, RunningJob};
use super::lock;
use super::shell::Event;
use super::term::Term;
use crate::job_id::JobId;
use crate::time::monotonic_ms;

/// After a checkpoint that failed it is tried again so much later.
const RETRY_MS: u64 = 1_000;

/// The key of what is wanted of a job.
pub(super) const PARALLELISM: &str = "parallelism";

/// What a job's parallelism is, and what it is to be; 0: nobody said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Scale {
    /// In force.
    pub(super) now: u32,
    /// Wanted by a user.
    pub(super) wanted: u32,
    /// The job does not run at this one: it was tried.
    pub(super) refused: u32,
    pub(super) step: Step,
}

/// How far it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Step {
    #[default]
    Idle,
    /// A checkpoint is being taken for it.
    Checkpoint,
    /// It is complete: the next master plans this parallelism.
    Planned(u32),
    /// Not before this time, after one that has failed.
    Waiting(u64),
}

impl Scale {
    /// What to change it to, if anything is to be done now.
    fn due(&self, now_ms: u64) -> Option<u32> {
        let is_due = match self.step {
            Step::Idle => true,
            Step::Waiting(until) => until <= now_ms,
            Step::Checkpoint | Step::Planned(_) => false,
        };
        let other = self.wanted != 0 && self.wanted != self.now && self.wanted != self.refused;
        (is_due && self.now != 0 && other).then_some(self.wanted)
    }

    /// A job runs at this parallelism.
    pub(super) fn started(&mut self, at: u32) {
        if let Step::Planned(tried) = self.step {
            self.refused = if tried == at { 0 } else { tried };
        }
        (self.now, self.step) = (at, Step::Idle);
    }
}

/// What is wanted of a job; 0: nothing.
pub(super) fn wanted(desired: &Desired) -> u32 {
    let parallelism = desired.details.get(PARALLELISM).and_then(serde_json::Value::as_u64);
    parallelism.and_then(|wanted| u32::try_from(wanted).ok()).unwrap_or(0)
}

/// With this parallelism wanted.
pub(super) fn desired(parallelism: u32) -> Desired {
    Desired { state: DesiredState::Running, details: serde_json::json!({ PARALLELISM: parallelism }) }
}

impl Term {
    /// Takes what is wanted of a job.
    pub(super) fn want(&mut self, id: JobId, desired: &Desired) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let wanted = wanted(desired);
        if job.scale.wanted != wanted {
            (job.scale.wanted, job.scale.refused) = (wanted, 0);
        }
    }

    /// Begins to change the parallelism of jobs that can be changed now.
    pub(super) fn rescale(&mut self) {
        let now = monotonic_ms();
        for (id, job) in &mut self.jobs {
            let Some(wanted) = job.scale.due(now) else { continue };
            let Phase::Running(master) = &job.phase else { continue };
            let has_room = lock(&self.shared.roster).has_room(*id, wanted as usize);
            if job.state != JobStatus::Running || job.cancelled || !has_room {
                continue;
            }
            tracing::info!("job {id} ({}) goes from parallelism {} to {wanted}", job.name, job.scale.now);
            job.scale.step = Step::Checkpoint;
            let (events, epoch, run, id) = (self.shared.events.clone(), self.epoch, job.run, *id);
            let reply =
                Reply::new(move |outcome| drop(events.send(Event::Rescale(epoch, id, run, wanted, outcome))));
            master.trigger(Trigger::Checkpoint, reply);
        }
    }

    /// The checkpoint is there, or not.
    pub(super) fn on_rescale(
        &mut self,
        id: JobId,
        run: u64,
        wanted: u32,
        outcome: Result<CheckpointId, String>,
    ) {
        let is_meant = |job: &&mut RunningJob| job.run == run && job.scale.step == Step::Checkpoint;
        let Some(job) = self.jobs.get_mut(&id).filter(is_meant) else { return };
        match outcome {
            Ok(_) => {
                job.scale.step = Step::Planned(wanted);
                self.take_over_anew(id, None);
            }
            Err(reason) => {
                tracing::warn!("the parallelism of job {id} ({}) stays for now: {reason}", job.name);
                job.scale.step = Step::Waiting(monotonic_ms() + RETRY_MS);
            }
        }
    }

    /// When to try again.
    pub(super) fn next_rescale(&self) -> Option<u64> {
        let waiting = self.jobs.values().filter_map(|job| match job.scale.step {
            Step::Waiting(until) => Some(until),
            _ => None,
        });
        waiting.filter(|until| *until > monotonic_ms()).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parallelism_is_tried_once_and_after_a_failure_later() {
        let mut scale = Scale { now: 2, wanted: 4, ..Scale::default() };
        assert_eq!(scale.due(0), Some(4));
        scale.step = Step::Checkpoint;
        assert_eq!(scale.due(0), None);
        scale.step = Step::Waiting(10);
        assert_eq!((scale.due(9), scale.due(10)), (None, Some(4)));
        scale.step = Step::Planned(4);
        scale.started(2);
        assert_eq!((scale.due(99), scale.refused), (None, 4), "it could not be planned");
        scale.step = Step::Planned(3);
        scale.started(3);
        assert_eq!((scale.now, scale.refused, scale.due(99)), (3, 0, Some(4)));
    }

    #[test]
    fn what_is_wanted_is_read_as_it_was_written() {
        assert_eq!((wanted(&desired(7)), wanted(&Desired::default())), (7, 0));
    }
}
