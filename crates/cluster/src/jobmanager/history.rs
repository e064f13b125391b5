//! What has become of a job's checkpoints, and what has failed: pure, and bounded.
//!
//! All of it is since this JobManager leads. Invariant: of checkpoints, the latest [`MAX_CHECKPOINTS`] are kept, as many as Flink
//! keeps, of failures the latest [`MAX_FAILURES`]; the counts are of all.

use std::collections::{BTreeMap, VecDeque};

use streamkeeper_dataflow::checkpoint::coordinator::Subtask;
use streamkeeper_dataflow::element::{BarrierKind, CheckpointId};

/// Checkpoints that are kept: Flink's `web.checkpoints.history`.
pub const MAX_CHECKPOINTS: usize = 10;

/// Failures that are kept: Flink's `web.exception-history-size`.
pub const MAX_FAILURES: usize = 16;

/// A job's latest checkpoints. Times are milliseconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckpointHistory {
    /// How many have completed.
    pub completed: u64,
    /// How many have failed.
    pub failed: u64,
    /// How many times tasks have begun from one.
    pub restored: u64,
    /// From which they began last.
    pub last_restored: Option<Restored>,
    /// The latest, oldest first.
    pub checkpoints: VecDeque<CheckpointView>,
}

/// A checkpoint that tasks began from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Its id.
    pub id: CheckpointId,
    /// When that was.
    pub at_ms: i64,
    /// The attempts that began from it.
    attempts: BTreeMap<usize, u32>,
}

/// A checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointView {
    /// Its id.
    pub id: CheckpointId,
    /// Why it was taken.
    pub kind: BarrierKind,
    /// The directory of a savepoint.
    pub savepoint: Option<String>,
    /// When it was triggered.
    pub triggered_ms: i64,
    /// What has become of it.
    pub outcome: Outcome,
    /// What tasks have handed in, by subtask.
    pub acknowledged: BTreeMap<Subtask, Acknowledged>,
}

/// What has become of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing yet.
    InProgress,
    /// It is durable since then.
    Completed(i64),
    /// It was given up then, and why.
    Failed(i64, String),
}

/// What a task has handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acknowledged {
    /// When.
    pub at_ms: i64,
    /// Bytes of its state. What several subtasks of a vertex hand in together is divided evenly.
    pub bytes: u64,
}

impl CheckpointView {
    /// Bytes of all that was handed in.
    pub fn bytes(&self) -> u64 {
        self.acknowledged.values().map(|task| task.bytes).sum()
    }

    /// When the last task handed something in; before that, when it was triggered.
    pub fn latest_ack_ms(&self) -> i64 {
        self.acknowledged.values().map(|task| task.at_ms).max().unwrap_or(self.triggered_ms)
    }

    /// From the trigger to the end, or to the latest acknowledgement.
    pub fn duration_ms(&self) -> i64 {
        let end = match &self.outcome {
            Outcome::InProgress => self.latest_ack_ms(),
            Outcome::Completed(at) | Outcome::Failed(at, _) => *at,
        };
        (end - self.triggered_ms).max(0)
    }
}

impl CheckpointHistory {
    /// The latest that has completed and is no savepoint.
    pub fn latest_completed(&self) -> Option<&CheckpointView> {
        self.completed_where(|checkpoint| checkpoint.savepoint.is_none())
    }

    /// The latest savepoint that has completed.
    pub fn latest_savepoint(&self) -> Option<&CheckpointView> {
        self.completed_where(|checkpoint| checkpoint.savepoint.is_some())
    }

    fn completed_where(&self, is: impl Fn(&CheckpointView) -> bool) -> Option<&CheckpointView> {
        self.checkpoints.iter().rev().find(|c| matches!(c.outcome, Outcome::Completed(_)) && is(c))
    }

    /// One of them.
    pub fn checkpoint(&self, id: CheckpointId) -> Option<&CheckpointView> {
        self.checkpoints.iter().find(|checkpoint| checkpoint.id == id)
    }

    fn open(&mut self, id: CheckpointId) -> Option<&mut CheckpointView> {
        self.checkpoints.iter_mut().find(|c| c.id == id && c.outcome == Outcome::InProgress)
    }

    /// Barriers are sent; more than one TaskManager gets them.
    pub(super) fn triggered(
        &mut self,
        id: CheckpointId,
        kind: BarrierKind,
        savepoint: Option<String>,
        now: i64,
    ) {
        if self.checkpoints.back().is_some_and(|latest| latest.id >= id) {
            return;
        }
        self.checkpoints.push_back(CheckpointView {
            id,
            kind,
            savepoint,
            triggered_ms: now,
            outcome: Outcome::InProgress,
            acknowledged: BTreeMap::new(),
        });
        if self.checkpoints.len() > MAX_CHECKPOINTS {
            self.checkpoints.pop_front();
        }
    }

    /// Tasks of a vertex have handed in so many bytes.
    pub(super) fn acknowledged(&mut self, id: CheckpointId, tasks: &[Subtask], bytes: u64, now: i64) {
        let Some(checkpoint) = self.open(id) else { return };
        let share = bytes / (tasks.len() as u64).max(1);
        for task in tasks {
            checkpoint.acknowledged.insert(*task, Acknowledged { at_ms: now, bytes: share });
        }
    }

    /// It is durable.
    pub(super) fn completed(&mut self, id: CheckpointId, now: i64) {
        if let Some(checkpoint) = self.open(id) {
            checkpoint.outcome = Outcome::Completed(now);
            self.completed += 1;
        }
    }

    /// It is given up, with all before it.
    pub(super) fn aborted(&mut self, id: CheckpointId, reason: &str, now: i64) {
        let given_up = |c: &&mut CheckpointView| c.id <= id && c.outcome == Outcome::InProgress;
        for checkpoint in self.checkpoints.iter_mut().filter(given_up) {
            checkpoint.outcome = Outcome::Failed(now, reason.to_owned());
            self.failed += 1;
        }
    }

    /// Tasks begin from a checkpoint; more than one TaskManager is told to.
    pub(super) fn restored(&mut self, id: CheckpointId, attempts: &BTreeMap<usize, u32>, now: i64) {
        if self.last_restored.as_ref().is_some_and(|last| last.id == id && last.attempts == *attempts) {
            return;
        }
        self.restored += 1;
        self.last_restored = Some(Restored { id, at_ms: now, attempts: attempts.clone() });
    }
}

/// Something that has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// What is said of it.
    pub message: String,
    /// Name of the task, and which attempt of which subtask; `None`: it was no task's.
    pub task: Option<(String, usize, u32)>,
    /// The TaskManager, if it was on one.
    pub worker: String,
}

/// The latest failures of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Failures {
    /// Oldest first.
    pub entries: VecDeque<Failure>,
    /// Whether there were more.
    pub truncated: bool,
}

impl Failures {
    pub(super) fn add(&mut self, failure: Failure) {
        self.entries.push_back(failure);
        if self.entries.len() > MAX_FAILURES {
            self.entries.pop_front();
            self.truncated = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_checkpoint_is_told_once_and_few_are_kept() {
        let mut history = CheckpointHistory::default();
        for id in 1..=20 {
            let now = id as i64 * 100;
            history.triggered(id, BarrierKind::Checkpoint, None, now);
            history.triggered(id, BarrierKind::Checkpoint, None, now + 1);
            history.acknowledged(id, &[(0, 0), (0, 1)], 7, now + 5);
            if id % 2 == 0 {
                history.completed(id, now + 9);
                history.completed(id, now + 10);
                history.acknowledged(id, &[(1, 0)], 7, now + 11);
            } else {
                history.aborted(id, "late", now + 9);
                history.aborted(id, "late", now + 9);
            }
        }
        assert_eq!((history.completed, history.failed, history.checkpoints.len()), (10, 10, MAX_CHECKPOINTS));
        let latest = history.latest_completed().expect("one");
        assert_eq!(
            (latest.id, latest.bytes(), latest.duration_ms(), latest.latest_ack_ms()),
            (20, 6, 9, 2005)
        );
        assert!(history.checkpoint(10).is_none() && history.checkpoint(11).is_some());
    }

    #[test]
    fn one_that_is_never_heard_of_again_ends_with_a_later_one() {
        let mut history = CheckpointHistory::default();
        history.triggered(1, BarrierKind::Checkpoint, None, 10);
        history.triggered(2, BarrierKind::Checkpoint, None, 20);
        history.aborted(2, "a task failed", 25);
        let failed = Outcome::Failed(25, "a task failed".into());
        assert!(history.checkpoints.iter().all(|checkpoint| checkpoint.outcome == failed));
        assert_eq!(history.failed, 2);
    }

    #[test]
    fn a_restore_on_several_task_managers_is_one() {
        let mut history = CheckpointHistory::default();
        let attempts = |attempt| BTreeMap::from([(0, attempt)]);
        history.restored(3, &attempts(1), 10);
        history.restored(3, &attempts(1), 11);
        history.restored(3, &attempts(2), 20);
        assert_eq!(history.restored, 2);
    }

    #[test]
    fn failures_are_bounded() {
        let mut failures = Failures::default();
        for at_ms in 0..MAX_FAILURES as i64 + 1 {
            assert!(!failures.truncated);
            failures.add(Failure { at_ms, message: String::new(), task: None, worker: String::new() });
        }
        assert_eq!((failures.entries.len(), failures.entries[0].at_ms, failures.truncated), (16, 1, true));
    }
}
