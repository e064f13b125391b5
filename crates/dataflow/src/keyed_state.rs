//! The heap backend: one value per key.
//!
//! Invariant: a checkpoint has the state by key group, so that a rescale moves whole key groups. In memory there is one table;
//! groups are told apart when a snapshot is written, off the task's thread, rather than for each record.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hash};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{OperatorError, OperatorResult};
use crate::state::{RestoredState, SnapshotFn};

/// Values by key, for the key groups that one subtask owns.
#[derive(Debug, Clone)]
pub struct KeyedState<K, V> {
    entries: HashTable<(K, V)>,
    hasher: RandomState,
}

impl<K, V> Default for KeyedState<K, V> {
    fn default() -> Self {
        Self { entries: HashTable::new(), hasher: RandomState::default() }
    }
}

impl<K, V> KeyedState<K, V>
where
    K: Eq + Hash + Clone + Send + Serialize + DeserializeOwned + 'static,
    V: Clone + Send + Serialize + DeserializeOwned + 'static,
{
    /// What the checkpoint has of the state `name`.
    ///
    /// # Errors
    /// When it was written under another fingerprint, or is damaged.
    pub fn restore(name: &str, fingerprint: &str, restored: &RestoredState) -> OperatorResult<Self> {
        let mut state = Self::default();
        for (_, bytes) in restored.keyed(name, fingerprint)? {
            let entries: Vec<(K, V)> = postcard::from_bytes(bytes).map_err(|e| {
                OperatorError::fatal(format!("state `{name}` in the checkpoint is damaged: {e}"))
            })?;
            for (key, value) in entries {
                state.entry(&key, || value);
            }
        }
        Ok(state)
    }

    /// The key as it is kept, and its value; `make` gives the value of a key that has none.
    #[inline]
    pub fn entry<Q>(&mut self, key: &Q, make: impl FnOnce() -> V) -> (&K, &mut V)
    where
        K: Borrow<Q>,
        Q: ?Sized + Eq + Hash + ToOwned<Owned = K>,
    {
        let hasher = &self.hasher;
        let found = self.entries.entry(
            hasher.hash_one(key),
            |(kept, _)| kept.borrow() == key,
            |(kept, _)| hasher.hash_one(kept.borrow()),
        );
        let (key, value) = found.or_insert_with(|| (key.to_owned(), make())).into_mut();
        (key, value)
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// No key has a value.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Captures the state; the returned function writes it as the keyed state `name`, one frame per key group, which
    /// `key_group` tells of a key.
    pub fn snapshot(
        &self,
        name: &'static str,
        fingerprint: String,
        key_group: impl Fn(&K) -> u16 + Send + 'static,
    ) -> SnapshotFn {
        let captured = self.entries.clone();
        Box::new(move |writer| {
            let mut groups: BTreeMap<u16, Vec<&(K, V)>> = BTreeMap::new();
            for entry in &captured {
                groups.entry(key_group(&entry.0)).or_default().push(entry);
            }
            for (key_group, entries) in groups {
                let bytes = postcard::to_allocvec(&entries)
                    .map_err(|e| OperatorError::fatal(format!("cannot encode state `{name}`: {e}")))?;
                writer.keyed(name, &fingerprint, key_group, bytes);
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key_group::{hash_i64, key_group, range_of};
    use crate::state::StateWriter;

    #[test]
    fn whole_key_groups_move_when_the_parallelism_changes() {
        let mut state = KeyedState::<i64, i64>::default();
        let group = |key: &i64| key_group(hash_i64(*key), 128);
        for key in 0..1000 {
            state.entry(&key, || key * 2);
        }
        let write = state.snapshot("counts", "i64".into(), group);
        *state.entry(&5, || 0).1 = -1;
        let mut writer = StateWriter::new("op");
        write(&mut writer).expect("plain values");
        let segments = writer.into_segments();
        let mut seen = 0;
        for subtask in 0..3 {
            let range = range_of(subtask, 3, 128);
            let restored =
                RestoredState::share(&segments, subtask, 3, range.clone()).expect("one fingerprint");
            let mut part = KeyedState::<i64, i64>::restore("counts", "i64", &restored).expect("good");
            seen += part.len();
            for key in (0..1000).filter(|key| range.contains(&group(key))) {
                let (kept, value) = part.entry(&key, || -1);
                assert_eq!((*kept, *value), (key, key * 2));
            }
            assert!(KeyedState::<i64, i64>::restore("counts", "other", &restored).is_err());
        }
        assert_eq!(seen, 1000);
    }
}
