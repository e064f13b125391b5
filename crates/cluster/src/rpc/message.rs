//! What processes of a cluster say to each other. A connection begins with [`Hello`] and [`Welcome`]; the formats behind them are
//! those of [`PROTOCOL`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use streamkeeper_dataflow::executor::order::{Inventory, Order, Report, Worker, WorkerId};
use streamkeeper_dataflow::task::TaskId;

use crate::job_id::JobId;
use crate::process::ProcessStatus;

/// The version of the messages. Both sides must have the same one.
pub(crate) const PROTOCOL: u32 = 2;

/// The first frame, from who connects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// [`PROTOCOL`].
    pub(crate) protocol: u32,
    /// The cluster's place in ZooKeeper.
    pub(crate) cluster: String,
    /// Who it is.
    pub(crate) role: Role,
}

/// Who connects to a JobManager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Role {
    /// A TaskManager, which [registers](FromTaskManager::Register) next.
    TaskManager {
        /// Its id.
        id: WorkerId,
        /// The highest epoch that it has heard of.
        epoch: u64,
    },
    /// A JobManager that wants to know when this one dies.
    Standby {
        /// Its id.
        id: String,
    },
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Welcome {
    /// This JobManager leads.
    Accepted {
        /// Since which epoch.
        epoch: u64,
    },
    /// It does not want this connection.
    Refused(String),
}

/// From the leader to a TaskManager.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct FromLeader {
    /// The sender's epoch. A TaskManager that knows of a higher one takes no notice.
    pub(crate) epoch: u64,
    /// What is to be done.
    pub(crate) command: Command,
}

/// What a TaskManager is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Command {
    /// The leader is there.
    Heartbeat,
    /// Plan this job, and be ready to run its tasks. Nothing changes when the job is there already.
    Open(Box<OpenJob>),
    /// For the job's tasks.
    Order(JobId, Order),
    /// Stop all tasks of the job, and forget it.
    Close(JobId),
    /// Say again what there is of the job.
    ///
    /// The answer has the same number: an answer to an earlier request may be older than orders that were sent since.
    TakeInventory(JobId, u64),
}

/// What a TaskManager needs to know of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OpenJob {
    /// Which.
    pub(crate) job: JobId,
    /// Its spec as it is in ZooKeeper.
    pub(crate) spec: String,
    /// Where its checkpoints are.
    pub(crate) checkpoint_directory: PathBuf,
    /// Below that.
    pub(crate) lineage: String,
    /// Of the leader's plan: that of the TaskManager must be the same.
    pub(crate) fingerprint: u64,
}

/// From a TaskManager to the leader.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromTaskManager {
    /// The TaskManager is there.
    Heartbeat,
    /// The first message.
    Register(Registration),
    /// From the job's tasks.
    Report(JobId, Report),
    /// What there is of the job. Reports before it are contained in it; `None`: the job is not open.
    ///
    /// The number is that of the request, 0 in a registration.
    Inventory(JobId, u64, Option<Inventory>),
    /// What its process takes of its machine: sent in the interval of heartbeats.
    Process(ProcessStatus),
    /// How the tasks do: sent in the interval of heartbeats.
    Tasks(BTreeMap<JobId, Vec<TaskProgress>>),
}

/// A TaskManager, and what runs there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Registration {
    /// Its id and the end of its exchange.
    pub(crate) worker: Worker,
    /// `taskmanager.numberOfTaskSlots`.
    pub(crate) slots: usize,
    /// Its jobs; the inventory of each follows.
    pub(crate) jobs: BTreeSet<JobId>,
}

/// How a task does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskProgress {
    /// Which.
    pub task: TaskId,
    /// Its metrics: as `TaskMetrics::snapshot` lists them.
    pub metrics: Vec<i64>,
}
