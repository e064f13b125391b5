//! From the tasks' snapshots to one object of state per process and checkpoint.
//!
//! Invariant: a checkpoint is written at most once, when all tasks have handed in; what is given up is forgotten, and its
//! object removed, once it is not being written any more.

use std::collections::{BTreeMap, BTreeSet};
use std::thread::JoinHandle;

use super::order::Report;
use super::{Event, Runner};
use crate::checkpoint::manifest::StateEntry;
use crate::checkpoint::savepoint;
use crate::element::CheckpointId;
use crate::state::SnapshotFn;
use crate::task::TaskId;

#[derive(Default)]
struct Pending {
    tasks: BTreeSet<TaskId>,
    snapshots: Vec<(String, SnapshotFn)>,
    /// While its state is written.
    writer: Option<JoinHandle<()>>,
    /// Its state is in the storage, or on its way there.
    begun: bool,
    aborted: bool,
    /// Where it is written; `None`: with the job's checkpoints.
    savepoint: Option<String>,
}

/// The checkpoints that have not completed.
#[derive(Default)]
pub(super) struct Snapshots {
    pending: BTreeMap<CheckpointId, Pending>,
    /// No snapshot of this or an earlier one is taken any more.
    closed: CheckpointId,
}

impl Snapshots {
    pub(super) fn add(
        &mut self,
        checkpoint: CheckpointId,
        task: TaskId,
        state: Vec<(String, SnapshotFn)>,
        savepoint: Option<String>,
    ) {
        if checkpoint > self.closed {
            let pending = self.pending.entry(checkpoint).or_default();
            pending.tasks.insert(task);
            pending.snapshots.extend(state);
            pending.savepoint = savepoint;
        }
    }

    pub(super) fn has(&self, checkpoint: CheckpointId, task: TaskId) -> bool {
        self.pending.get(&checkpoint).is_some_and(|pending| pending.tasks.contains(&task))
    }

    /// It has completed; so nobody waits for it or an earlier one.
    pub(super) fn forget(&mut self, checkpoint: CheckpointId) {
        self.closed = self.closed.max(checkpoint);
        self.pending.retain(|id, _| *id > checkpoint);
    }

    /// Gives up all up to `checkpoint`. Returns those whose objects can be removed now. Of a savepoint, the master may have told the
    /// user before it went: what the master knows of, only the master removes.
    pub(super) fn abort(&mut self, checkpoint: CheckpointId) -> Vec<CheckpointId> {
        self.closed = self.closed.max(checkpoint);
        let mut written = Vec::new();
        self.pending.retain(|id, pending| {
            if *id > checkpoint {
                return true;
            }
            pending.aborted = true;
            pending.snapshots.clear();
            if pending.begun && pending.writer.is_none() && pending.savepoint.is_none() {
                written.push(*id);
            }
            pending.writer.is_some()
        });
        written
    }

    /// Takes no more snapshots up to `checkpoint`; what all tasks have handed in already stays.
    pub(super) fn interrupt(&mut self, checkpoint: CheckpointId) {
        self.closed = self.closed.max(checkpoint);
        self.pending.retain(|id, pending| *id > checkpoint || pending.begun);
    }

    pub(super) fn join(&mut self) {
        for pending in self.pending.values_mut() {
            if let Some(writer) = pending.writer.take() {
                // It reports what it could not do.
                let _ = writer.join();
            }
        }
    }
}

impl Runner {
    /// Writes what the tasks have handed in, on a thread of its own.
    pub(super) fn write(&mut self, checkpoint: CheckpointId) {
        let Some(pending) = self.snapshots.pending.get_mut(&checkpoint).filter(|p| !p.begun) else { return };
        pending.begun = true;
        let snapshots = std::mem::take(&mut pending.snapshots);
        let (storage, events) = (self.setup.storage.clone(), self.events.clone());
        let (worker, savepoint) = (self.setup.worker.id.clone(), pending.savepoint.clone());
        let write = move || {
            let written = match savepoint {
                None => storage.write_state(checkpoint, &worker, snapshots),
                Some(savepoint) => {
                    savepoint::storage(&savepoint).and_then(|s| s.write_state(checkpoint, &worker, snapshots))
                }
            };
            // An executor that is gone does not need to know.
            let _ = events.send(Event::Written(checkpoint, written.map_err(|e| e.to_string())));
        };
        match std::thread::Builder::new().name("checkpoint".into()).spawn(write) {
            Ok(writer) => pending.writer = Some(writer),
            Err(e) => self.on_written(checkpoint, Err(format!("cannot start a thread: {e}"))),
        }
    }

    pub(super) fn on_written(&mut self, checkpoint: CheckpointId, result: Result<Vec<StateEntry>, String>) {
        let Some(pending) = self.snapshots.pending.get_mut(&checkpoint) else { return };
        if let Some(writer) = pending.writer.take() {
            // It has just reported.
            let _ = writer.join();
        }
        if pending.aborted {
            let savepoint = self.snapshots.pending.remove(&checkpoint).and_then(|pending| pending.savepoint);
            let worker = &self.setup.worker.id;
            match savepoint {
                None => self.setup.storage.delete_state(checkpoint, worker),
                // The master does not know of it yet, so the savepoint is not complete.
                Some(savepoint) => savepoint::abandon_state(&savepoint, worker),
            }
            return;
        }
        let tasks = pending.tasks.iter().copied().collect();
        self.report(match result {
            Ok(states) => Report::Snapshot { checkpoint, tasks, states },
            Err(reason) => Report::SnapshotFailed { checkpoint, reason },
        });
    }
}
