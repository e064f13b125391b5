//! What users have asked for and need not wait for, until they look what has become of it: pure, and bounded.
//!
//! Invariant: what has been begun is kept until it has ended, and then while it is one of the latest [`MAX_OPERATIONS`]. A leader knows
//! those that it was asked for itself.

use std::collections::VecDeque;

use streamkeeper_dataflow::element::CheckpointId;
use streamkeeper_dataflow::job::trigger::Trigger;

use crate::job_id::JobId;

/// So many are kept.
pub(super) const MAX_OPERATIONS: usize = 256;

/// What was asked for, and of which job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// A checkpoint, a savepoint, or the end with one.
    Trigger(JobId, Trigger),
    /// The removal of a savepoint.
    Disposal,
}

/// Something that goes on in the background.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// 32 hexadecimal digits.
    pub id: String,
    /// What was asked for.
    pub asked: Asked,
    /// What has become of it: the number of the checkpoint (0 where there is none), or why it failed; `None`: nothing yet.
    pub outcome: Option<Result<CheckpointId, String>>,
}

/// All of them, oldest first.
#[derive(Debug, Default)]
pub(super) struct Operations(VecDeque<Operation>);

impl Operations {
    /// Begins one; `false`: there is one of this id, or there are too many that have not ended.
    pub(super) fn begin(&mut self, id: &str, asked: Asked) -> bool {
        if self.get(id).is_some() {
            return false;
        }
        if self.0.len() >= MAX_OPERATIONS {
            let Some(oldest) = self.0.iter().position(|operation| operation.outcome.is_some()) else {
                return false;
            };
            self.0.remove(oldest);
        }
        self.0.push_back(Operation { id: id.to_owned(), asked, outcome: None });
        true
    }

    /// One has ended.
    pub(super) fn end(&mut self, id: &str, outcome: Result<CheckpointId, String>) {
        if let Some(operation) = self.0.iter_mut().find(|operation| operation.id == id) {
            operation.outcome.get_or_insert(outcome);
        }
    }

    pub(super) fn get(&self, id: &str) -> Option<&Operation> {
        self.0.iter().find(|operation| operation.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_that_has_ended_goes_when_there_are_too_many() {
        let mut operations = Operations::default();
        assert!((0..MAX_OPERATIONS).all(|id| operations.begin(&id.to_string(), Asked::Disposal)));
        assert!(!operations.begin("one more", Asked::Disposal), "all go on");
        assert!(!operations.begin("7", Asked::Disposal), "it is there");
        operations.end("7", Ok(3));
        operations.end("7", Err("later".into()));
        assert_eq!(operations.get("7").and_then(|operation| operation.outcome.clone()), Some(Ok(3)));
        assert!(operations.begin("one more", Asked::Disposal));
        assert_eq!((operations.get("7"), operations.get("one more").is_some()), (None, true));
    }
}
