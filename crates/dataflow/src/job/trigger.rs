//! What a user asks of a running job: a checkpoint, a savepoint, or its end with one.

use std::path::PathBuf;

use crate::element::{BarrierKind, CheckpointId};

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trigger {
    /// A checkpoint, now.
    Checkpoint,
    /// A savepoint in this directory, which is to be new. Nothing is committed for it: what it holds back is committed by the job's next
    /// checkpoint, and by a job that is started from it.
    Savepoint(PathBuf),
    /// The job's end with a savepoint in this directory: sources read nothing more, what was written is committed, and the job has finished.
    Stop {
        /// The savepoint's directory, which is to be new.
        savepoint: PathBuf,
        /// Let event time come to its end first, so that operators emit all that they hold back. A job that goes on from such a savepoint
        /// takes what comes later for late.
        drain: bool,
    },
}

impl Trigger {
    pub(super) fn kind(&self) -> BarrierKind {
        match self {
            Self::Checkpoint => BarrierKind::Checkpoint,
            Self::Savepoint(_) => BarrierKind::Savepoint,
            Self::Stop { drain, .. } => BarrierKind::Stop { drain: *drain },
        }
    }

    /// The savepoint's directory.
    pub fn savepoint(&self) -> Option<&PathBuf> {
        match self {
            Self::Checkpoint => None,
            Self::Savepoint(directory) | Self::Stop { savepoint: directory, .. } => Some(directory),
        }
    }
}

/// Told once what has become of it: the number of the checkpoint, complete (of one with which the job ends, once it has ended), or why
/// there is none. When it is dropped it says that the job has ended.
pub struct Reply(Option<Tell>);

type Tell = Box<dyn FnOnce(Result<CheckpointId, String>) + Send>;

impl Reply {
    /// One that does this.
    pub fn new(tell: impl FnOnce(Result<CheckpointId, String>) + Send + 'static) -> Self {
        Self(Some(Box::new(tell)))
    }

    pub(super) fn tell(mut self, answer: Result<CheckpointId, String>) {
        if let Some(tell) = self.0.take() {
            tell(answer);
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(tell) = self.0.take() {
            tell(Err(
                "the job has ended, or its master was replaced meanwhile: see how the job stands".into()
            ));
        }
    }
}
