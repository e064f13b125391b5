//! The heap backend: state per key, held by key group.
//!
//! Invariant: a key is in the map of its own key group, so a snapshot by key group is a walk over the maps, and a rescale
//! moves whole maps.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};
use std::ops::Range;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{OperatorError, OperatorResult};
use crate::state::{RestoredState, SnapshotFn};

/// Values by key, for the key groups that one subtask owns.
#[derive(Debug, Clone)]
pub struct KeyedState<K, V> {
    first_group: u16,
    groups: Vec<HashTable<(K, V)>>,
    hasher: RandomState,
}

impl<K, V> KeyedState<K, V>
where
    K: Eq + Hash + Clone + Send + Serialize + DeserializeOwned + 'static,
    V: Clone + Send + Serialize + DeserializeOwned + 'static,
{
    /// Empty state for these key groups.
    pub fn new(key_groups: Range<u16>) -> Self {
        let groups = key_groups.clone().map(|_| HashTable::new()).collect();
        Self { first_group: key_groups.start, groups, hasher: RandomState::default() }
    }

    /// State for these key groups, with what the checkpoint has of the state `name`.
    ///
    /// # Errors
    /// When it was written under another fingerprint, or is damaged.
    pub fn restore(
        key_groups: Range<u16>,
        name: &str,
        fingerprint: &str,
        restored: &RestoredState,
    ) -> OperatorResult<Self> {
        let mut state = Self::new(key_groups);
        for (key_group, bytes) in restored.keyed(name, fingerprint)? {
            let entries: Vec<(K, V)> = postcard::from_bytes(bytes).map_err(|e| {
                OperatorError::fatal(format!("state `{name}` in the checkpoint is damaged: {e}"))
            })?;
            for (key, value) in entries {
                state.entry(*key_group, &key, || value)?;
            }
        }
        Ok(state)
    }

    /// The key as it is kept, and its value; `make` gives the value of a key that has none.
    ///
    /// # Errors
    /// When this subtask does not own the key group: the row was sent to the wrong subtask.
    #[inline]
    pub fn entry<Q>(
        &mut self,
        key_group: u16,
        key: &Q,
        make: impl FnOnce() -> V,
    ) -> OperatorResult<(&K, &mut V)>
    where
        K: Borrow<Q>,
        Q: ?Sized + Eq + Hash + ToOwned<Owned = K>,
    {
        let index = key_group.checked_sub(self.first_group).map(usize::from);
        let Some(group) = index.and_then(|i| self.groups.get_mut(i)) else {
            return Err(OperatorError::fatal(format!(
                "key group {key_group} is not owned by this subtask; the exchange is wrong"
            )));
        };
        let hasher = &self.hasher;
        let found = group.entry(
            hasher.hash_one(key),
            |(kept, _)| kept.borrow() == key,
            |(kept, _)| hasher.hash_one(kept.borrow()),
        );
        let (key, value) = found.or_insert_with(|| (key.to_owned(), make())).into_mut();
        Ok((key, value))
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.groups.iter().map(HashTable::len).sum()
    }

    /// No key has a value.
    pub fn is_empty(&self) -> bool {
        self.groups.iter().all(HashTable::is_empty)
    }

    /// Captures the state; the returned function writes it as the keyed state `name`, one frame per key group.
    pub fn snapshot(&self, name: &'static str, fingerprint: String) -> SnapshotFn {
        let captured = self.clone();
        Box::new(move |writer| {
            for (key_group, table) in (captured.first_group..).zip(captured.groups) {
                if !table.is_empty() {
                    let entries: Vec<(K, V)> = table.into_iter().collect();
                    let bytes = postcard::to_allocvec(&entries)
                        .map_err(|e| OperatorError::fatal(format!("cannot encode state `{name}`: {e}")))?;
                    writer.keyed(name, &fingerprint, key_group, bytes);
                }
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
        let mut state = KeyedState::<i64, i64>::new(range_of(0, 1, 128));
        let group = |key| key_group(hash_i64(key), 128);
        for key in 0..1000 {
            state.entry(group(key), &key, || key * 2).expect("owned");
        }
        let write = state.snapshot("counts", "i64".into());
        *state.entry(group(5), &5, || 0).expect("owned").1 = -1;
        let mut writer = StateWriter::new("op");
        write(&mut writer).expect("plain values");
        let segments = writer.into_segments();
        let mut seen = 0;
        for subtask in 0..3 {
            let range = range_of(subtask, 3, 128);
            let restored =
                RestoredState::share(&segments, subtask, 3, range.clone()).expect("one fingerprint");
            let mut part =
                KeyedState::<i64, i64>::restore(range.clone(), "counts", "i64", &restored).expect("good");
            seen += part.len();
            for key in (0..1000).filter(|key| range.contains(&group(*key))) {
                let (kept, value) = part.entry(group(key), &key, || -1).expect("owned");
                assert_eq!((*kept, *value), (key, key * 2));
            }
            assert!(part.entry(range.end, &0, || 0).is_err());
            assert!(KeyedState::<i64, i64>::restore(range, "counts", "other", &restored).is_err());
        }
        assert_eq!(seen, 1000);
    }
}
