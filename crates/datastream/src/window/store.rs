//! The windows of each key, with what they hold, what their trigger remembers, and their timers.
//!
//! Invariants: a key has a slot as long as it has windows or timers; timers name their key by its slot, so that setting one copies no
//! key. All of it is written by key group.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use streamkeeper_dataflow::OperatorResult;
use streamkeeper_dataflow::state::{RestoredState, SnapshotFn};
use streamkeeper_dataflow::time::Timestamp;

use super::Window;
use super::operator::{CONTENTS, decode, encode};
use super::trigger::{KnownTimer, OwnTimers, WindowTimers};
use crate::Data;
use crate::key::Key;
use crate::state::fingerprint;

/// A window that exists.
#[derive(Clone)]
pub(crate) struct Live<W, C, S> {
    pub(crate) window: W,
    pub(crate) contents: Option<C>,
    pub(crate) trigger: Option<S>,
    pub(crate) timer: KnownTimer,
}

impl<W, C, S> Live<W, C, S> {
    pub(crate) fn new(window: W) -> Self {
        Self { window, contents: None, trigger: None, timer: None }
    }
}

/// A key and its windows.
#[derive(Clone)]
pub(crate) struct KeyWindows<K, W, C, S> {
    pub(crate) key: K,
    pub(crate) windows: Vec<Live<W, C, S>>,
    /// How many timers it has.
    pub(crate) timers: u32,
}

/// All keys of a subtask.
pub(crate) struct Store<K, W, C, S> {
    index: HashTable<u32>,
    hasher: RandomState,
    pub(crate) slots: Vec<Option<KeyWindows<K, W, C, S>>>,
    free: Vec<u32>,
    pub(crate) timers: WindowTimers<W>,
}

/// What a checkpoint holds of a key: its windows, then its timers of event time and of processing time.
type Saved<K, W, C, S> = (K, Vec<(W, Option<C>, Option<S>)>, Vec<(Timestamp, W)>, Vec<(Timestamp, W)>);

/// How many keys are in one frame of a checkpoint.
const FRAME_KEYS: usize = 4096;

impl<K: Key + Sync, W: Window, C: Data, S: Data> Store<K, W, C, S> {
    pub(crate) fn restore(restored: &RestoredState) -> OperatorResult<Self> {
        let mut store = Self {
            index: HashTable::new(),
            hasher: RandomState::default(),
            slots: Vec::new(),
            free: Vec::new(),
            timers: WindowTimers::default(),
        };
        for (_, bytes) in restored.keyed(CONTENTS, &Self::shape())? {
            let saved: Vec<Saved<K, W, C, S>> = decode(bytes)?;
            for (key, windows, event, processing) in saved {
                let slot = store.slot(&key);
                let Some(of_key) = &mut store.slots[slot as usize] else { continue };
                for (window, contents, trigger) in windows {
                    of_key.windows.push(Live { window, contents, trigger, timer: None });
                }
                for (event_time, timers) in [(true, event), (false, processing)] {
                    for (time, window) in timers {
                        OwnTimers {
                            all: &mut store.timers,
                            slot,
                            window: &window,
                            of_key: &mut of_key.timers,
                            known: &mut None,
                        }
                        .register(event_time, time);
                    }
                }
            }
        }
        Ok(store)
    }

    fn shape() -> String {
        format!(
            "windows {} by {}: {} triggered by {}",
            fingerprint::<W>(),
            fingerprint::<K>(),
            fingerprint::<C>(),
            fingerprint::<S>()
        )
    }

    /// The slot of a key, made if it has none.
    #[inline]
    pub(crate) fn slot<Q>(&mut self, key: &Q) -> u32
    where
        K: Borrow<Q>,
        Q: ?Sized + Eq + Hash + ToOwned<Owned = K>,
    {
        let (slots, hasher) = (&self.slots, &self.hasher);
        let of = |slot: &u32| slots[*slot as usize].as_ref();
        let hash = hasher.hash_one(key);
        let found = self.index.entry(
            hash,
            |slot| of(slot).is_some_and(|of_key| of_key.key.borrow() == key),
            |slot| of(slot).map_or(0, |of_key| hasher.hash_one(of_key.key.borrow())),
        );
        match found {
            hashbrown::hash_table::Entry::Occupied(slot) => *slot.get(),
            hashbrown::hash_table::Entry::Vacant(place) => {
                let of_key = Some(KeyWindows { key: key.to_owned(), windows: Vec::new(), timers: 0 });
                let slot = self.free.pop().unwrap_or(slots.len() as u32);
                place.insert(slot);
                match self.slots.get_mut(slot as usize) {
                    Some(free) => *free = of_key,
                    None => self.slots.push(of_key),
                }
                slot
            }
        }
    }

    /// Forgets the key of a slot if it has neither windows nor timers.
    #[inline]
    pub(crate) fn release(&mut self, slot: u32) {
        let place = &mut self.slots[slot as usize];
        if let Some(of_key) = place.take_if(|of_key| of_key.windows.is_empty() && of_key.timers == 0) {
            let hash = self.hasher.hash_one(&of_key.key);
            if let Ok(entry) = self.index.find_entry(hash, |other| *other == slot) {
                entry.remove();
            }
            self.free.push(slot);
        }
    }

    /// The earliest timer of a clock that is due at `now`, with its slot. It is not set any more.
    pub(crate) fn pop_due(&mut self, event_time: bool, now: Timestamp) -> Option<(Timestamp, u32, W)> {
        let timers = if event_time { &mut self.timers.event } else { &mut self.timers.processing };
        if timers.first()?.0 > now {
            return None;
        }
        let timer = timers.pop_first()?;
        if let Some(of_key) = &mut self.slots[timer.1 as usize] {
            of_key.timers -= 1;
        }
        Some(timer)
    }

    /// Captures everything.
    pub(crate) fn snapshot(&self, max_parallelism: u16) -> SnapshotFn {
        let slots = self.slots.clone();
        let (event, processing) = (self.timers.event.clone(), self.timers.processing.clone());
        Box::new(move |writer| {
            let mut saved: Vec<Option<Saved<K, W, C, S>>> = Vec::with_capacity(slots.len());
            saved.extend(slots.into_iter().map(|of_key| {
                let KeyWindows { key, windows, .. } = of_key?;
                let windows = windows.into_iter().map(|live| (live.window, live.contents, live.trigger));
                Some((key, windows.collect(), Vec::new(), Vec::new()))
            }));
            for (time, slot, window) in event {
                if let Some((_, _, timers, _)) = &mut saved[slot as usize] {
                    timers.push((time, window));
                }
            }
            for (time, slot, window) in processing {
                if let Some((_, _, _, timers)) = &mut saved[slot as usize] {
                    timers.push((time, window));
                }
            }
            let mut groups: Vec<Vec<Saved<K, W, C, S>>> = Vec::new();
            groups.resize_with(usize::from(max_parallelism), Vec::new);
            for of_key in saved.into_iter().flatten() {
                let group = streamkeeper_dataflow::key_group::key_group(of_key.0.key_hash(), max_parallelism);
                groups[usize::from(group)].push(of_key);
            }
            for (group, keys) in (0..).zip(groups) {
                for keys in keys.chunks(FRAME_KEYS) {
                    writer.keyed(CONTENTS, &Self::shape(), group, encode(&keys)?);
                }
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::TimeWindow;
    use streamkeeper_dataflow::state::StateWriter;

    type Sums = Store<String, TimeWindow, i64, u64>;

    fn set_timer(store: &mut Sums, slot: u32, window: TimeWindow, event_time: bool, time: Timestamp) {
        let of_key = store.slots[slot as usize].as_mut().expect("in use");
        OwnTimers {
            all: &mut store.timers,
            slot,
            window: &window,
            of_key: &mut of_key.timers,
            known: &mut None,
        }
        .register(event_time, time);
    }

    #[test]
    fn a_slot_is_free_when_its_key_has_neither_windows_nor_timers() {
        let mut store = Sums::restore(&RestoredState::default()).expect("nothing to read");
        let a = store.slot("a");
        set_timer(&mut store, a, TimeWindow::new(0, 10), true, 9);
        set_timer(&mut store, a, TimeWindow::new(0, 10), true, 9);
        store.release(a);
        assert_eq!((store.slot("a"), store.slot("b")), (a, a + 1));
        assert_eq!(store.pop_due(true, 8), None);
        assert_eq!(store.pop_due(true, 9), Some((9, a, TimeWindow::new(0, 10))));
        assert_eq!(store.pop_due(true, 9), None);
        store.release(a);
        assert_eq!(store.slot("c"), a);
    }

    #[test]
    fn a_snapshot_moves_keys_with_windows_and_timers() {
        let mut store = Sums::restore(&RestoredState::default()).expect("nothing to read");
        for n in 0..100i64 {
            let slot = store.slot(format!("{n}").as_str());
            let window = TimeWindow::new(n, n + 10);
            let live = Live { window, contents: Some(n), trigger: Some(7), timer: None };
            store.slots[slot as usize].as_mut().expect("in use").windows.push(live);
            set_timer(&mut store, slot, window, n % 2 == 0, n);
        }
        let mut writer = StateWriter::new("op");
        store.snapshot(128)(&mut writer).expect("plain values");
        let segments = writer.into_segments();
        let mut seen = Vec::new();
        for (subtask, groups) in [0..50, 50..128].into_iter().enumerate() {
            let restored = RestoredState::share(&segments, subtask, 2, groups).expect("one fingerprint");
            let mut part = Sums::restore(&restored).expect("the same types");
            for event_time in [true, false] {
                while let Some((time, slot, window)) = part.pop_due(event_time, 1000) {
                    let of_key = part.slots[slot as usize].as_ref().expect("in use");
                    assert_eq!(of_key.key, format!("{time}"));
                    assert_eq!((of_key.windows[0].window, window.start), (window, time));
                    assert_eq!(
                        (of_key.windows[0].contents, of_key.windows[0].trigger),
                        (Some(time), Some(7))
                    );
                    assert_eq!((of_key.timers, event_time), (0, time % 2 == 0));
                    seen.push(time);
                }
            }
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..100).collect::<Vec<_>>());
    }
}
