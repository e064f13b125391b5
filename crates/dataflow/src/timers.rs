//! Timers of both clocks as keyed state.
//!
//! Invariants: a timer is a (time, key group, key) and is there at most once however often it is set; due timers come in
//! order of time; they are snapshotted by key group and so move with their key when the parallelism changes.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{OperatorError, OperatorResult};
use crate::state::{RestoredState, StateWriter};
use crate::time::Timestamp;

/// The timers of one clock of one operator.
#[derive(Debug, Clone)]
pub struct Timers<K> {
    due: BTreeMap<Timestamp, BTreeSet<(u16, K)>>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self { due: BTreeMap::new() }
    }
}

impl<K: Ord + Clone + Serialize + DeserializeOwned> Timers<K> {
    /// Sets a timer.
    pub fn register(&mut self, time: Timestamp, key_group: u16, key: K) {
        self.due.entry(time).or_default().insert((key_group, key));
    }

    /// Removes a timer, if it is set.
    pub fn delete(&mut self, time: Timestamp, key_group: u16, key: &K) {
        if let Some(timers) = self.due.get_mut(&time) {
            timers.remove(&(key_group, key.clone()));
            if timers.is_empty() {
                self.due.remove(&time);
            }
        }
    }

    /// The earliest time at which a timer is due.
    pub fn next(&self) -> Option<Timestamp> {
        self.due.first_key_value().map(|(time, _)| *time)
    }

    /// Takes the earliest timer that is due at `now`.
    pub fn pop_due(&mut self, now: Timestamp) -> Option<(Timestamp, u16, K)> {
        let mut first = self.due.first_entry().filter(|entry| *entry.key() <= now)?;
        let time = *first.key();
        let (key_group, key) = first.get_mut().pop_first()?;
        if first.get().is_empty() {
            first.remove();
        }
        Some((time, key_group, key))
    }

    /// Writes all timers as the keyed state `name`.
    ///
    /// # Errors
    /// When a key cannot be encoded.
    pub fn write(&self, name: &str, writer: &mut StateWriter) -> OperatorResult<()> {
        for (time, timers) in &self.due {
            for (key_group, key) in timers {
                let bytes = postcard::to_allocvec(&(time, key))
                    .map_err(|e| OperatorError::fatal(format!("cannot encode a timer of `{name}`: {e}")))?;
                writer.keyed(name, TIMER, *key_group, bytes);
            }
        }
        Ok(())
    }

    /// Reads what [`Timers::write`] wrote.
    ///
    /// # Errors
    /// When the state is of another type or damaged.
    pub fn read(name: &str, restored: &RestoredState) -> OperatorResult<Self> {
        let mut timers = Self::default();
        for (key_group, bytes) in restored.keyed(name, TIMER)? {
            let (time, key) = postcard::from_bytes(bytes).map_err(|e| {
                OperatorError::fatal(format!("a timer of `{name}` in the checkpoint is damaged: {e}"))
            })?;
            timers.register(time, *key_group, key);
        }
        Ok(timers)
    }
}

const TIMER: &str = "timer v1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_fire_once_in_order_and_survive_a_rescale() {
        let mut timers = Timers::<u32>::default();
        for (time, group, key) in [(20, 1, 7), (10, 2, 8), (10, 2, 8), (10, 1, 9), (30, 0, 1)] {
            timers.register(time, group, key);
        }
        timers.delete(30, 0, &1);
        let mut writer = StateWriter::new("op");
        timers.write("timers", &mut writer).expect("plain keys");
        let segments = writer.into_segments();
        let share = |subtask, groups| {
            let restored = RestoredState::share(&segments, subtask, 2, groups).expect("one fingerprint");
            let mut timers = Timers::<u32>::read("timers", &restored).expect("the same type");
            std::iter::from_fn(|| timers.pop_due(25)).collect::<Vec<_>>()
        };
        assert_eq!(share(0, 0..2), [(10, 1, 9), (20, 1, 7)]);
        assert_eq!(share(1, 2..4), [(10, 2, 8)]);
        assert_eq!((timers.next(), timers.pop_due(9)), (Some(10), None));
    }
}
