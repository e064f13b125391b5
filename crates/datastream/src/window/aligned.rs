//! The operator of aligned windows of event time with the default trigger: no timers, one hash per record.
//!
//! Invariants: a window fires when the watermark reaches its last millisecond, then with each record until the watermark has passed
//! the allowed lateness as well; then its pane is dropped.

use std::borrow::Borrow;
use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use streamkeeper_dataflow::OperatorResult;
use streamkeeper_dataflow::operator::OperatorContext;
use streamkeeper_dataflow::state::SnapshotFn;
use streamkeeper_dataflow::time::Timestamp;

use super::assigner::event_time;
use super::operator::{Around, CONTENTS, decode, encode};
use super::panes::{Pane, Panes};
use super::{Aligned, AlignedAs, TimeWindow, Window, WindowFold};
use crate::Data;
use crate::chain::Push;
use crate::error::operator_error;
use crate::key::{Key, KeySelector};
use crate::state::fingerprint;

/// The start of a window, and what it holds by key.
type SavedPane<K, C> = (Timestamp, Vec<(K, C)>);

/// See the module.
pub(crate) struct AlignedWindows<K, W, C> {
    aligned: Aligned,
    window: fn(TimeWindow) -> W,
    lateness: i64,
    panes: Panes<K, C>,
    hasher: RandomState,
    /// The start of the last window of the last record: the next record is probably in the same.
    last_start: Timestamp,
    /// Where the record's key is, in each of its windows.
    positions: Vec<u32>,
}

impl<K: Key + Sync, W: Window, C: Data> AlignedWindows<K, W, C> {
    pub(crate) fn restore(
        (aligned, window): AlignedAs<W>,
        lateness: i64,
        context: &OperatorContext,
    ) -> OperatorResult<Self> {
        let mut windows = Self {
            aligned,
            window,
            lateness,
            panes: Panes::default(),
            hasher: RandomState::default(),
            last_start: Timestamp::MIN,
            positions: Vec::new(),
        };
        for (_, bytes) in context.restored.keyed(CONTENTS, &windows.shape())? {
            let panes: Vec<SavedPane<K, C>> = decode(bytes)?;
            for (start, entries) in panes {
                let at = windows.panes.locate(start, 1, aligned.slide);
                let (pane, hasher) = (&mut windows.panes.panes[at], &windows.hasher);
                for (key, contents) in entries {
                    let at = pane.position(hasher, hasher.hash_one(&key), &key);
                    pane.entries[at as usize].1 = Some(contents);
                }
            }
        }
        Ok(windows)
    }

    fn shape(&self) -> String {
        let Aligned { size, slide, offset } = self.aligned;
        format!(
            "windows of {size} ms every {slide} ms at {offset} ms by {}: {}",
            fingerprint::<K>(),
            fingerprint::<C>()
        )
    }

    /// The last time that belongs to a window.
    #[inline]
    fn max_timestamp(&self, start: Timestamp) -> Timestamp {
        start.saturating_add(self.aligned.size - 1)
    }

    /// Whether nothing can come to a window any more.
    #[inline]
    fn is_late(&self, start: Timestamp, watermark: Timestamp) -> bool {
        self.max_timestamp(start).saturating_add(self.lateness) <= watermark
    }

    fn time_window(&self, start: Timestamp) -> W {
        (self.window)(TimeWindow::new(start, start.saturating_add(self.aligned.size)))
    }

    #[inline]
    pub(crate) fn element<T, S, F, N>(
        &mut self,
        value: T,
        timestamp: Timestamp,
        selector: &S,
        fold: &mut F,
        around: &mut Around<T, F::Out>,
        next: &mut N,
    ) -> OperatorResult<()>
    where
        T: Data,
        S: KeySelector<T, Key = K>,
        K: Borrow<S::Borrowed>,
        F: WindowFold<K, W, T, Contents = C>,
        N: Push<F::Out>,
    {
        let Aligned { size, slide, .. } = self.aligned;
        // The windows of the record that are not late: `count` of them, one every `slide` up to the one at `last`.
        if timestamp < self.last_start || timestamp.saturating_sub(slide) >= self.last_start {
            self.last_start = self.aligned.last_start(event_time(timestamp).map_err(operator_error)?);
        }
        let last = self.last_start;
        let watermark = around.runtime.watermark;
        let (mut first, mut count) = (last, 0);
        while first > timestamp.saturating_sub(size) && !self.is_late(first, watermark) {
            count += 1;
            first = first.saturating_sub(slide);
        }
        if count == 0 {
            // A record between windows, which is possible when they are shorter than their slide, belongs to none.
            return around.skipped(value, timestamp, true, self.lateness);
        }
        let first = first + slide;
        let at = self.panes.locate(first, count, slide);
        let (hasher, positions) = (&self.hasher, &mut self.positions);
        positions.clear();
        selector.with(&value, |key| {
            let hash = hasher.hash_one(key);
            positions.extend(
                self.panes
                    .panes
                    .range_mut(at..at + count)
                    .map(|pane| pane.position::<S::Borrowed>(hasher, hash, key)),
            );
        });
        let mut value = Some(value);
        for n in 0..count {
            let value = if n + 1 == count { value.take() } else { value.clone() };
            let Some(value) = value else { break };
            let pane = &mut self.panes.panes[at + n];
            let (start, position) = (pane.start, self.positions[n] as usize);
            fold.add(&mut pane.entries[position].1, value, timestamp);
            if self.max_timestamp(start) <= watermark {
                let window = self.time_window(start);
                let (key, contents) = &mut self.panes.panes[at + n].entries[position];
                around.fire(fold, key, &window, contents, true)?;
                around.out.drain(next)?;
            }
        }
        Ok(())
    }

    /// Fires what ended after the watermark `before`, up to the current one, and drops what is over.
    pub(crate) fn watermark<T, F, N>(
        &mut self,
        before: Timestamp,
        fold: &mut F,
        around: &mut Around<T, F::Out>,
        next: &mut N,
    ) -> OperatorResult<()>
    where
        T: Data,
        F: WindowFold<K, W, T, Contents = C>,
        N: Push<F::Out>,
    {
        let watermark = around.runtime.watermark;
        let mut at = 0;
        while let Some(start) = self.panes.panes.get(at).map(|pane| pane.start) {
            let end = self.max_timestamp(start);
            if end > watermark {
                break;
            }
            let over = self.is_late(start, watermark);
            if end > before {
                let window = self.time_window(start);
                for (key, contents) in &mut self.panes.panes[at].entries {
                    around.fire(fold, key, &window, contents, !over)?;
                    around.out.drain(next)?;
                }
            }
            if over {
                self.panes.drop_first();
            } else {
                at += 1;
            }
        }
        Ok(())
    }

    /// Captures all panes.
    pub(crate) fn snapshot(&self, max_parallelism: u16) -> SnapshotFn {
        let shape = self.shape();
        let panes: Vec<SavedPane<K, Option<C>>> = self.panes.panes.iter().map(capture).collect();
        Box::new(move |writer| {
            let mut groups: Vec<Vec<SavedPane<K, C>>> = Vec::new();
            groups.resize_with(usize::from(max_parallelism), Vec::new);
            for (start, entries) in panes {
                for (key, contents) in entries {
                    let Some(contents) = contents else { continue };
                    let group = streamkeeper_dataflow::key_group::key_group(key.key_hash(), max_parallelism);
                    let panes = &mut groups[usize::from(group)];
                    if panes.last().is_none_or(|(last, _)| *last != start) {
                        panes.push((start, Vec::new()));
                    }
                    if let Some((_, entries)) = panes.last_mut() {
                        entries.push((key, contents));
                    }
                }
            }
            for (group, panes) in (0..).zip(groups).filter(|(_, panes)| !panes.is_empty()) {
                writer.keyed(CONTENTS, &shape, group, encode(&panes)?);
            }
            Ok(())
        })
    }
}

fn capture<K: Clone, C: Clone>(pane: &Pane<K, C>) -> SavedPane<K, Option<C>> {
    (pane.start, pane.entries.clone())
}

#[cfg(test)]
mod tests {
    use streamkeeper_dataflow::state::{RestoredState, StateWriter};

    use super::*;

    type Sums = AlignedWindows<String, TimeWindow, i64>;

    #[test]
    fn panes_come_back_but_not_for_other_windows() {
        let context = OperatorContext::detached("op", 0, 1);
        let aligned = |size| (Aligned { size, slide: 10, offset: 0 }, (|window| window) as fn(_) -> _);
        let mut windows = Sums::restore(aligned(10), 0, &context).expect("nothing to read");
        for (start, key, sum) in [(10, "a", 1), (-10, "b", 2), (10, "b", 3)] {
            let at = windows.panes.locate(start, 1, 10);
            let pane = &mut windows.panes.panes[at];
            let position = pane.position(&windows.hasher, windows.hasher.hash_one(key), key);
            pane.entries[position as usize].1 = Some(sum);
        }
        let mut writer = StateWriter::new("op");
        windows.snapshot(128)(&mut writer).expect("plain values");
        let restored = RestoredState::share(&writer.into_segments(), 0, 1, 0..128).expect("one fingerprint");
        let context = OperatorContext { restored, ..context };
        let restored = Sums::restore(aligned(10), 0, &context).expect("the same windows");
        let contents = |windows: &Sums| {
            let panes = windows
                .panes
                .panes
                .iter()
                .flat_map(|pane| pane.entries.iter().map(|(key, sum)| (pane.start, key.clone(), *sum)));
            let mut contents: Vec<_> = panes.collect();
            contents.sort();
            contents
        };
        assert_eq!(contents(&restored).len(), 3);
        assert_eq!(contents(&restored), contents(&windows));
        let error = Sums::restore(aligned(20), 0, &context).err().map(|error| error.to_string());
        assert!(error.is_some_and(|error| error.contains("windows of 20 ms every 10 ms at 0 ms")));
    }
}
