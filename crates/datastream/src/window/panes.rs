//! Aligned windows of event time as panes: one map of keys per window, emitted and dropped whole.
//!
//! Invariants: panes are in order of their starts; within a pane, keys are in the order in which they came, so that the same
//! input gives the same output.

use std::borrow::Borrow;
use std::collections::VecDeque;
use std::hash::{BuildHasher, Hash};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use streamkeeper_dataflow::time::Timestamp;

/// What one window holds, by key.
#[derive(Clone)]
pub(crate) struct Pane<K, C> {
    /// When the window starts.
    pub(crate) start: Timestamp,
    /// Keys and contents; `None` while the contents are being changed, or were taken.
    pub(crate) entries: Vec<(K, Option<C>)>,
    /// Positions in `entries`, by hash.
    index: HashTable<u32>,
}

impl<K: Hash + Eq, C> Pane<K, C> {
    /// The position of a key's entry, made if there is none.
    #[inline]
    pub(crate) fn position<Q>(&mut self, hasher: &RandomState, hash: u64, key: &Q) -> u32
    where
        K: Borrow<Q>,
        Q: ?Sized + Eq + Hash + ToOwned<Owned = K>,
    {
        let entries = &self.entries;
        let found = self.index.entry(
            hash,
            |at| entries[*at as usize].0.borrow() == key,
            |at| hasher.hash_one(entries[*at as usize].0.borrow()),
        );
        match found {
            hashbrown::hash_table::Entry::Occupied(at) => *at.get(),
            hashbrown::hash_table::Entry::Vacant(free) => {
                let at = entries.len() as u32;
                free.insert(at);
                self.entries.push((key.to_owned(), None));
                at
            }
        }
    }
}

/// The panes of all windows that have not ended.
pub(crate) struct Panes<K, C> {
    pub(crate) panes: VecDeque<Pane<K, C>>,
    /// Where the last record's first window was: the next one's is probably there, too.
    hint: usize,
    /// How many keys the last pane that was dropped had: the next one will have about as many.
    expected: usize,
}

impl<K, C> Default for Panes<K, C> {
    fn default() -> Self {
        Self { panes: VecDeque::new(), hint: 0, expected: 0 }
    }
}

impl<K, C> Panes<K, C> {
    /// The index of the first of `count` panes that start at `first` and then every `slide`. They are made if they are not there.
    #[inline]
    pub(crate) fn locate(&mut self, first: Timestamp, count: usize, slide: i64) -> usize {
        let starts_at = |at: usize| self.panes.get(at).map(|pane| pane.start);
        let last = first + (count as i64 - 1) * slide;
        if starts_at(self.hint) == Some(first) && starts_at(self.hint + count - 1) == Some(last) {
            return self.hint;
        }
        self.make(first, count, slide)
    }

    #[cold]
    fn make(&mut self, first: Timestamp, count: usize, slide: i64) -> usize {
        self.hint = self.panes.partition_point(|pane| pane.start < first);
        for n in 0..count {
            let (at, start) = (self.hint + n, first + n as i64 * slide);
            if self.panes.get(at).is_none_or(|pane| pane.start != start) {
                let entries = Vec::with_capacity(self.expected);
                self.panes
                    .insert(at, Pane { start, entries, index: HashTable::with_capacity(self.expected) });
            }
        }
        self.hint
    }

    /// Drops the first pane.
    pub(crate) fn drop_first(&mut self) {
        if let Some(pane) = self.panes.pop_front() {
            self.expected = pane.entries.len();
            self.hint = self.hint.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(panes: &Panes<u64, u64>) -> Vec<i64> {
        panes.panes.iter().map(|pane| pane.start).collect()
    }

    #[test]
    fn panes_are_found_or_made_in_order() {
        let mut panes = Panes::<u64, u64>::default();
        assert_eq!(panes.locate(10, 2, 10), 0);
        assert_eq!(panes.locate(40, 1, 10), 2);
        assert_eq!(starts(&panes), [10, 20, 40]);
        assert_eq!(panes.locate(20, 3, 10), 1);
        assert_eq!(starts(&panes), [10, 20, 30, 40]);
        assert_eq!(panes.locate(-10, 1, 10), 0);
        panes.drop_first();
        assert_eq!(starts(&panes), [10, 20, 30, 40]);
        assert_eq!(panes.locate(20, 2, 10), 1);
        assert_eq!(starts(&panes), [10, 20, 30, 40]);
    }

    #[test]
    fn a_pane_has_each_key_once_in_order() {
        let hasher = RandomState::default();
        let mut panes = Panes::<String, u64>::default();
        panes.locate(0, 1, 10);
        let pane = &mut panes.panes[0];
        for n in 0..1000 {
            let key = format!("{}", n % 100);
            let at = pane.position(&hasher, hasher.hash_one(key.as_str()), key.as_str());
            assert_eq!(at, n % 100);
            *pane.entries[at as usize].1.get_or_insert_default() += 1;
        }
        assert_eq!(pane.entries.len(), 100);
        assert!(pane.entries.iter().all(|(_, count)| *count == Some(10)));
    }
}
