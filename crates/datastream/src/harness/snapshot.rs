//! What a harness's operators keep.

use std::sync::Arc;

use streamkeeper_dataflow::element::CheckpointId;
use streamkeeper_dataflow::live_config::ConfigSnapshot;
use streamkeeper_dataflow::state::StateSegment;

/// The state of operators at one time, of one subtask or of several.
#[derive(Debug, Clone, Default)]
pub struct HarnessSnapshot {
    pub(super) checkpoint: CheckpointId,
    /// In force behind it.
    pub(super) config: Arc<ConfigSnapshot>,
    pub(super) segments: Vec<StateSegment>,
}

impl HarnessSnapshot {
    /// The state of all subtasks of an operator as one.
    pub fn merge(snapshots: impl IntoIterator<Item = Self>) -> Self {
        let mut merged = Self::default();
        for snapshot in snapshots {
            merged.checkpoint = merged.checkpoint.max(snapshot.checkpoint);
            if let Some(newer) = merged.config.advance(&snapshot.config) {
                merged.config = Arc::new(newer);
            }
            merged.segments.extend(snapshot.segments);
        }
        merged
    }

    /// Nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.segments.iter().all(|segment| segment.frames.is_empty())
    }

    /// Number of bytes that a checkpoint would hold of it.
    pub fn num_bytes(&self) -> usize {
        self.segments.iter().flat_map(|segment| &segment.frames).map(|(_, bytes)| bytes.len()).sum()
    }

    pub(super) fn of(&self, uid: &str) -> Vec<StateSegment> {
        self.segments.iter().filter(|segment| segment.uid == uid).cloned().collect()
    }
}
