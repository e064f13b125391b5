//! What can go wrong while a job runs.

use crate::element::CheckpointId;

/// What an operator, a source or a sink says of its own failure.
pub type OperatorResult<T> = Result<T, OperatorError>;

/// The failure of one operator. The runtime adds job, operator, subtask and attempt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, serde::Serialize, serde::Deserialize)]
#[error("{message}")]
pub struct OperatorError {
    message: String,
    recoverable: bool,
}

impl OperatorError {
    /// A failure that a restart may cure (a lost connection, a file that was not there yet).
    pub fn recoverable(message: impl std::fmt::Display) -> Self {
        Self { message: message.to_string(), recoverable: true }
    }

    /// A failure that would come again at the same place (a malformed row, a division by zero): no restart.
    pub fn fatal(message: impl std::fmt::Display) -> Self {
        Self { message: message.to_string(), recoverable: false }
    }

    /// Whether the restart strategy is asked at all.
    pub fn is_recoverable(&self) -> bool {
        self.recoverable
    }
}

impl From<arrow::error::ArrowError> for OperatorError {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::fatal(error)
    }
}

/// Why a job, or a step of it, failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A task failed.
    #[error("{operator} (subtask {subtask}, attempt {attempt}): {source}")]
    Task {
        /// The task's name, its chained operators joined by ` -> `.
        operator: String,
        /// Index of the subtask, from 0.
        subtask: usize,
        /// How often the subtask had been started before, from 0.
        attempt: u32,
        /// What the operator said.
        source: OperatorError,
    },
    /// State could not be written.
    #[error("checkpoint {checkpoint} could not be written to {location}: {reason}")]
    CheckpointWrite {
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// Directory or object.
        location: String,
        /// What the store said.
        reason: String,
    },
    /// State could not be read back, or does not belong to this job.
    #[error("checkpoint {location} cannot be restored: {reason}")]
    CheckpointRead {
        /// Directory or object.
        location: String,
        /// What was found, and what to do.
        reason: String,
    },
    /// The graph or the configuration asks for something impossible.
    #[error("{0}")]
    InvalidJob(String),
}
