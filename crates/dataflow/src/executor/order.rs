//! What a job's master and the processes that run its tasks tell each other. Everything here can be sent over a network.
//!
//! Invariant: orders and reports of one process arrive in the order in which they were sent, or the connection is lost and
//! an [`Inventory`] says where things stand. A task is addressed with its attempt, so that what is meant for an earlier one
//! reaches nobody.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::checkpoint::coordinator::Subtask;
use crate::checkpoint::manifest::StateEntry;
use crate::element::{Barrier, CheckpointId};
use crate::error::OperatorError;
use crate::graph::VertexId;
use crate::live_config::ConfigSnapshot;
use crate::source::Assignment;
use crate::task::TaskId;
use crate::time::Timestamp;

/// Names a process that runs tasks, and its incarnation.
pub type WorkerId = String;

/// A worker, and where other workers reach it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// Its id.
    pub id: WorkerId,
    /// `host:port` of its end of the exchange; empty in a job of one process.
    pub exchange_address: String,
}

/// The tasks that a worker is to start, all of whole regions, and with whom they exchange batches.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Deployment {
    /// The regions' vertices, each with its attempt.
    pub vertices: BTreeMap<VertexId, u32>,
    /// Who runs which subtask: subtask `s` of every vertex runs at `slots[s]`. As long as the highest parallelism.
    pub slots: Vec<Worker>,
    /// The checkpoint to restore.
    pub restore: Option<CheckpointId>,
    /// What rows are computed under.
    #[serde(with = "crate::live_config::as_text")]
    pub config: Arc<ConfigSnapshot>,
    /// Splits that had been begun, by the subtask that goes on with them.
    pub splits: Vec<(Subtask, Assignment)>,
    /// How far sources that keep pace with others may go.
    pub limits: Vec<(Subtask, Timestamp)>,
}

/// From the master to a worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Order {
    /// Start tasks.
    Deploy(Deployment),
    /// Stop the tasks of these vertices, if they are of these attempts or earlier ones. Each is reported as `Exited`.
    Cancel(BTreeMap<VertexId, u32>),
    /// Send this barrier from all sources that run here.
    Trigger(Barrier),
    /// An answer to a source.
    Assign(TaskId, Assignment),
    /// How far a source that keeps pace with others may go.
    LimitWatermark(TaskId, Timestamp),
    /// The checkpoint is durable: commit.
    Completed(CheckpointId),
    /// The savepoint of this number is complete: it stays. Nothing is committed for it.
    Kept(CheckpointId),
    /// This checkpoint, and all before it that have not completed, never will.
    Aborted(CheckpointId),
    /// The job is done: tasks leave.
    Exit,
}

/// From a worker to the master.
#[derive(Debug, Serialize, Deserialize)]
pub enum Report {
    /// Its operators are open, with their state, and it takes input.
    Running(TaskId),
    /// A source's reader wants another split.
    RequestSplit(TaskId),
    /// How far a source that keeps pace with others is; `None`: it is idle.
    Progress(TaskId, Option<Timestamp>),
    /// Input has ended and all results are emitted.
    Finished(TaskId),
    /// The thread has ended, of itself or as ordered.
    Exited(TaskId, Option<OperatorError>),
    /// All tasks here have passed the barrier, and their state is written.
    Snapshot {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// The tasks.
        tasks: Vec<TaskId>,
        /// Where their state is.
        states: Vec<StateEntry>,
    },
    /// The state of tasks here could not be written.
    SnapshotFailed {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// Why.
        reason: String,
    },
}

/// What a worker has of a job, for a master that takes it over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// [`crate::graph::JobGraph::fingerprint`] of the plan that runs here.
    pub fingerprint: u64,
    /// Tasks that have been started and whose end no master knows of.
    pub tasks: Vec<TaskInventory>,
    /// The highest checkpoint that was heard of here.
    pub highest_checkpoint: CheckpointId,
    /// The highest that is known here to be complete; 0: none.
    pub completed_checkpoint: CheckpointId,
}

/// One task of an [`Inventory`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskInventory {
    /// Which.
    pub task: TaskId,
    /// Where it stands.
    pub state: TaskState,
    /// Its source wants a split, and has had no answer.
    pub wants_split: bool,
    /// Ids of the splits that it got after the barrier of `completed_checkpoint`.
    pub splits: Vec<String>,
    /// The latest [`Report::Progress`].
    pub progress: Option<Option<Timestamp>>,
}

/// Where a task stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskState {
    /// It runs.
    Running,
    /// It has emitted everything, and waits for the last checkpoint.
    Finished,
    /// Its thread has ended: with this message, or as ordered.
    Exited(Option<OperatorError>),
}
