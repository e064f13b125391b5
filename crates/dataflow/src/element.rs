//! What travels on a channel, in order.

use std::sync::Arc;

use crate::live_config::ConfigSnapshot;
use crate::time::Timestamp;

/// Number of a checkpoint of a job, from 1, never reused within the job's lineage.
pub type CheckpointId = u64;

/// Why a barrier was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum BarrierKind {
    /// A periodic checkpoint.
    Checkpoint,
    /// A checkpoint that brings a new configuration.
    Reconfigure,
    /// The last checkpoint of a job whose input has ended.
    Final,
    /// A checkpoint that belongs to the user. The job does not restart from it, so nothing is committed for it.
    Savepoint,
    /// A savepoint with which the job ends: sources read nothing after it, and what it holds is committed.
    Stop {
        /// Event time has come to its end before: operators have emitted all that they held back.
        drain: bool,
    },
}

impl BarrierKind {
    /// Whether a job whose latest checkpoint is of this kind has ended.
    pub fn ends_job(self) -> bool {
        matches!(self, Self::Final | Self::Stop { .. })
    }
}

/// Separates what belongs to a checkpoint from what comes after it (Chandy and Lamport 1985; Carbone et al. 2015).
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Barrier {
    /// The checkpoint it belongs to.
    pub checkpoint: CheckpointId,
    /// Why it was sent.
    pub kind: BarrierKind,
    /// What the rows behind it are computed under.
    #[serde(with = "crate::live_config::as_text")]
    pub config: Arc<ConfigSnapshot>,
    /// The directory that its state goes to; `None`: with the job's checkpoints.
    pub savepoint: Option<String>,
}

/// One message on a channel.
#[derive(Debug, Clone)]
pub enum Element<B> {
    /// Records.
    Batch(B),
    /// What goes to every channel, whatever its records are.
    Control(Control),
}

/// A message that carries no records.
#[derive(Debug, Clone)]
pub enum Control {
    /// No record with an event time at or below this one is to come.
    Watermark(Timestamp),
    /// A checkpoint's cut.
    Barrier(Barrier),
    /// The channel holds back no watermark until `Active`.
    Idle,
    /// The channel takes part in the watermark again.
    Active,
    /// No batch or watermark follows. Barriers may.
    End,
}
