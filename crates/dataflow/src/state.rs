//! What an operator hands to a checkpoint, and what it gets back.
//!
//! A snapshot is captured at the barrier on the task's thread, cheaply, and serialised later on another thread by
//! the [`SnapshotFn`] that the operator returns: the closure owns what it captured. Keyed state is written by key
//! group, so that it can be given to other subtasks when the parallelism changes; list state is one item after the
//! other and is dealt out evenly.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::error::{OperatorError, OperatorResult};

/// Serialises a captured snapshot. Runs off the task's thread.
pub type SnapshotFn = Box<dyn FnOnce(&mut StateWriter) -> OperatorResult<()> + Send>;

/// How the pieces of a state are dealt out on restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StateKind {
    /// By key group.
    Keyed,
    /// Items, dealt out evenly.
    List,
    /// Items that every subtask gets, all of them (Flink's union list state, and its broadcast state).
    Union,
}

/// A key group and bytes that belong to it.
pub type Frame = (u16, Vec<u8>);

/// One named state of one subtask, serialised.
#[derive(Debug, Clone)]
pub struct StateSegment {
    /// The operator's uid.
    pub uid: String,
    /// The state's name, unique within the operator.
    pub name: String,
    /// Keyed or list.
    pub kind: StateKind,
    /// Describes the types inside (schema, aggregate functions); restoring under another one is refused.
    pub fingerprint: String,
    /// `(key group, bytes)` in the order written; the key group of list items is 0.
    pub frames: Vec<Frame>,
}

/// Where a [`SnapshotFn`] writes to.
#[derive(Debug, Default)]
pub struct StateWriter {
    uid: String,
    segments: Vec<StateSegment>,
}

impl StateWriter {
    /// A writer for the operator `uid`.
    pub fn new(uid: impl Into<String>) -> Self {
        Self { uid: uid.into(), segments: Vec::new() }
    }

    /// Adds a frame of keyed state. A state may write any number of frames per key group; they come back in order.
    pub fn keyed(&mut self, name: &str, fingerprint: &str, key_group: u16, bytes: Vec<u8>) {
        self.segment(name, fingerprint, StateKind::Keyed).frames.push((key_group, bytes));
    }

    /// Adds an item of list state.
    pub fn list(&mut self, name: &str, fingerprint: &str, item: Vec<u8>) {
        self.segment(name, fingerprint, StateKind::List).frames.push((0, item));
    }

    /// Adds an item of union state. A state that is the same in all subtasks is written by one of them.
    pub fn union(&mut self, name: &str, fingerprint: &str, item: Vec<u8>) {
        self.segment(name, fingerprint, StateKind::Union).frames.push((0, item));
    }

    fn segment(&mut self, name: &str, fingerprint: &str, kind: StateKind) -> &mut StateSegment {
        let found = self.segments.iter().position(|s| s.name == name && s.kind == kind);
        let index = found.unwrap_or_else(|| {
            self.segments.push(StateSegment {
                uid: self.uid.clone(),
                name: name.to_owned(),
                kind,
                fingerprint: fingerprint.to_owned(),
                frames: Vec::new(),
            });
            self.segments.len() - 1
        });
        &mut self.segments[index]
    }

    /// All that was written.
    pub fn into_segments(self) -> Vec<StateSegment> {
        self.segments
    }
}

/// The state of one operator that one subtask gets back: its key groups, its share of the lists.
#[derive(Debug, Default, Clone)]
pub struct RestoredState {
    states: BTreeMap<(String, StateKind), (String, Vec<Frame>)>,
}

impl RestoredState {
    /// The share of `subtask` (of `parallelism`) in `segments`, which are those of one operator.
    ///
    /// # Errors
    /// When two subtasks wrote a state under different fingerprints.
    pub fn share(
        segments: &[StateSegment],
        subtask: usize,
        parallelism: usize,
        key_groups: Range<u16>,
    ) -> OperatorResult<Self> {
        let mut restored = Self::default();
        let mut dealt: BTreeMap<&str, usize> = BTreeMap::new();
        for segment in segments {
            let (fingerprint, frames) = restored
                .states
                .entry((segment.name.clone(), segment.kind))
                .or_insert_with(|| (segment.fingerprint.clone(), Vec::new()));
            if *fingerprint != segment.fingerprint {
                return Err(OperatorError::fatal(format!(
                    "state `{}` of operator {} was written as `{fingerprint}` and as `{}`",
                    segment.name, segment.uid, segment.fingerprint
                )));
            }
            for (key_group, bytes) in &segment.frames {
                let mine = match segment.kind {
                    StateKind::Keyed => key_groups.contains(key_group),
                    StateKind::Union => true,
                    StateKind::List => {
                        let next = dealt.entry(&segment.name).or_default();
                        *next += 1;
                        (*next - 1) % parallelism == subtask
                    }
                };
                if mine {
                    frames.push((*key_group, bytes.clone()));
                }
            }
        }
        Ok(restored)
    }

    /// True when the checkpoint holds nothing for this operator, or there is none.
    pub fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    /// Frames of a keyed state, each with its key group, in the order written per key group.
    ///
    /// # Errors
    /// When the state was written under another fingerprint.
    pub fn keyed(&self, name: &str, fingerprint: &str) -> OperatorResult<&[Frame]> {
        self.get(name, StateKind::Keyed, fingerprint)
    }

    /// This subtask's items of a list state.
    ///
    /// # Errors
    /// When the state was written under another fingerprint.
    pub fn list(&self, name: &str, fingerprint: &str) -> OperatorResult<impl Iterator<Item = &[u8]>> {
        Ok(self.get(name, StateKind::List, fingerprint)?.iter().map(|(_, item)| item.as_slice()))
    }

    /// All items of a union state, of all subtasks.
    ///
    /// # Errors
    /// When the state was written under another fingerprint.
    pub fn union(&self, name: &str, fingerprint: &str) -> OperatorResult<impl Iterator<Item = &[u8]>> {
        Ok(self.get(name, StateKind::Union, fingerprint)?.iter().map(|(_, item)| item.as_slice()))
    }

    fn get(&self, name: &str, kind: StateKind, fingerprint: &str) -> OperatorResult<&[Frame]> {
        match self.states.get(&(name.to_owned(), kind)) {
            None => Ok(&[]),
            Some((written, frames)) if written == fingerprint => Ok(frames),
            Some((written, _)) => Err(OperatorError::fatal(format!(
                "state `{name}` was written as `{written}`, but this job reads `{fingerprint}`; restore with the job \
                 that wrote it, or start without the checkpoint"
            ))),
        }
    }
}
