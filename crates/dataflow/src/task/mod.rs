//! A task: the loop in which one subtask takes mail, input and time, one step after the other, on a thread of its own.
//! [`operator`] reads from channels, [`source`] from the outside.
//!
//! Invariant: there is one place to wait (`Shared::wait`), and a step is taken only when every output has room.

mod aligned;
mod operator;
mod shared;
mod source;
mod splits;

use std::any::Any;
use std::sync::Arc;

pub(crate) use self::operator::operator_body;
pub(crate) use self::source::{decode_split, encode_split, source_body};
use crate::element::CheckpointId;
use crate::error::{OperatorError, OperatorResult};
use crate::graph::{MakeSidePort, VertexId};
use crate::key_group::range_of;
use crate::live_config::ConfigSnapshot;
use crate::mailbox::Mailbox;
use crate::metrics::TaskMetrics;
use crate::operator::OperatorContext;
use crate::side_output::SideOutputs;
use crate::state::{RestoredState, SnapshotFn, StateSegment};
use crate::time::{Clock, Timestamp};

/// Name and fingerprint of the list state that holds a source's splits.
pub(crate) const SPLITS: (&str, &str) = ("$splits", "split v1");

/// Which subtask, of which attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct TaskId {
    /// The vertex.
    pub vertex: VertexId,
    /// Index within the vertex.
    pub subtask: usize,
    /// How often it had been started before.
    pub attempt: u32,
}

/// What tasks tell the executor that hosts them.
pub(crate) enum TaskEvent {
    /// Its operators are open.
    Running(TaskId),
    /// A source's reader wants another split.
    RequestSplit(TaskId),
    /// The barrier has passed; here is what to write.
    Snapshot {
        task: TaskId,
        checkpoint: CheckpointId,
        /// The directory of a savepoint.
        savepoint: Option<String>,
        state: Vec<(String, SnapshotFn)>,
    },
    /// How far a source that keeps pace with others is; `None`: it is idle.
    Progress { task: TaskId, watermark: Option<Timestamp> },
    /// Input has ended and all results are emitted.
    Finished(TaskId),
    /// The thread has ended.
    Exited { task: TaskId, failure: Option<OperatorError> },
}

/// Takes what tasks tell.
pub(crate) type TaskEvents = Arc<dyn Fn(TaskEvent) + Send + Sync>;

/// What a body is made from.
pub(crate) struct TaskSetup {
    pub(crate) id: TaskId,
    pub(crate) parallelism: usize,
    pub(crate) max_parallelism: u16,
    pub(crate) lineage: String,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Arc<TaskMetrics>,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) events: TaskEvents,
    /// The edges of each port.
    pub(crate) outputs: Vec<Vec<Box<dyn Any + Send>>>,
    /// Makes the side output of each port; `None` for the main one.
    pub(crate) ports: Vec<Option<MakeSidePort>>,
    pub(crate) inputs: Vec<Box<dyn Any + Send>>,
    /// The configuration in force.
    pub(crate) config: Arc<ConfigSnapshot>,
    /// State of the restored checkpoint; empty on a fresh start.
    pub(crate) restored: Arc<Vec<StateSegment>>,
    /// The restored checkpoint was taken after this task had finished.
    pub(crate) restored_finished: bool,
}

impl TaskSetup {
    /// What the operator `uid` is told when it is opened.
    fn context(&self, uid: &str, name: &str, side_outputs: &SideOutputs) -> OperatorResult<OperatorContext> {
        OperatorContext {
            uid: String::new(),
            name: String::new(),
            subtask: self.id.subtask,
            parallelism: self.parallelism,
            max_parallelism: self.max_parallelism,
            key_groups: range_of(self.id.subtask, self.parallelism, self.max_parallelism),
            attempt: self.id.attempt,
            lineage: self.lineage.clone(),
            config: self.config.clone(),
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
            waker: self.mailbox.signal().clone(),
            restored: RestoredState::default(),
            segments: self.restored.clone(),
            side_outputs: side_outputs.clone(),
        }
        .part(uid, name)
    }
}

/// The loop of one subtask, its types erased.
pub(crate) trait TaskBody {
    /// Runs until told to exit, or cancelled.
    fn run(&mut self) -> OperatorResult<()>;
}
