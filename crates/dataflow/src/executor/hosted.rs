//! A task that runs here, and what a master that takes over has to know of it.
//!
//! Invariant: `splits` are those that the task got after the barrier of the last completed checkpoint: the enumerator of that
//! checkpoint still has them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;

use super::order::{TaskInventory, TaskState};
use crate::element::{Barrier, CheckpointId};
use crate::mailbox::{Mail, Mailbox};
use crate::source::Assignment;
use crate::task::TaskId;
use crate::time::Timestamp;

pub(super) struct Hosted {
    pub(super) id: TaskId,
    pub(super) state: TaskState,
    pub(super) wants_split: bool,
    pub(super) progress: Option<Option<Timestamp>>,
    mailbox: Arc<Mailbox>,
    thread: Option<JoinHandle<()>>,
    /// Ids of splits by the checkpoint whose barrier came before them: the latest triggered one.
    splits: BTreeMap<CheckpointId, Vec<String>>,
    triggered: CheckpointId,
}

impl Hosted {
    pub(super) fn new(id: TaskId, mailbox: Arc<Mailbox>, restored: CheckpointId) -> Self {
        Self {
            id,
            state: TaskState::Running,
            wants_split: false,
            progress: None,
            mailbox,
            thread: None,
            splits: BTreeMap::new(),
            triggered: restored,
        }
    }

    pub(super) fn runs_on(&mut self, thread: JoinHandle<()>) {
        self.thread = Some(thread);
    }

    pub(super) fn send(&self, mail: Mail) {
        self.mailbox.send(mail);
    }

    pub(super) fn cancel(&self) {
        self.mailbox.cancel();
    }

    pub(super) fn trigger(&mut self, barrier: &Barrier) {
        self.triggered = self.triggered.max(barrier.checkpoint);
        self.send(Mail::Trigger(barrier.clone()));
    }

    pub(super) fn assign(&mut self, assignment: Assignment) {
        self.wants_split = false;
        if let Assignment::Split(split) = &assignment {
            self.splits.entry(self.triggered).or_default().push(split.id.clone());
        }
        self.send(Mail::Assign(assignment));
    }

    pub(super) fn completed(&mut self, checkpoint: CheckpointId, took_part: bool) {
        self.splits = self.splits.split_off(&checkpoint);
        if took_part {
            self.send(Mail::CheckpointComplete(checkpoint));
        }
    }

    /// Waits for its thread, which has ended or was cancelled.
    pub(super) fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A task reports its own panic as a failure.
            let _ = thread.join();
        }
    }

    pub(super) fn inventory(&self) -> TaskInventory {
        TaskInventory {
            task: self.id,
            state: self.state.clone(),
            wants_split: self.wants_split,
            splits: self.splits.values().flatten().cloned().collect(),
            progress: self.progress,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::element::BarrierKind;
    use crate::source::Split;

    #[test]
    fn splits_are_remembered_until_a_checkpoint_that_holds_them_completes() {
        let id = TaskId { vertex: 0, subtask: 0, attempt: 0 };
        let mut task = Hosted::new(id, Arc::default(), 0);
        let split = |id: &str| Assignment::Split(Split { id: id.into(), payload: Vec::new(), watermark: 0 });
        let barrier = |checkpoint| Barrier {
            checkpoint,
            kind: BarrierKind::Checkpoint,
            config: Arc::default(),
            savepoint: None,
        };
        task.assign(split("a"));
        task.trigger(&barrier(1));
        task.assign(split("b"));
        task.trigger(&barrier(2));
        task.assign(split("c"));
        assert_eq!(task.inventory().splits, ["a", "b", "c"]);
        task.completed(1, true);
        assert_eq!(task.inventory().splits, ["b", "c"]);
        task.trigger(&barrier(3));
        task.completed(3, true);
        assert_eq!(task.inventory().splits, [""; 0]);
    }
}
