//! The watermark of a source's reader, of those of its splits.
//!
//! Invariants: the reader's watermark is the smallest of the splits that are not idle, begun or not, and never goes back; the
//! reader is idle when all its splits are. A pure state machine: it is told what time it is.

use std::time::{Duration, Instant};

use crate::time::{MAX_WATERMARK, MIN_WATERMARK, Timestamp};

struct SplitTime {
    id: String,
    watermark: Timestamp,
    /// When it last had a record, or was added.
    active_at: Instant,
    idle: bool,
}

/// The splits that have not ended.
pub(super) struct SplitWatermarks {
    splits: Vec<SplitTime>,
    timeout: Option<Duration>,
    watermark: Timestamp,
    /// When the reader last had a record, or a split.
    active_at: Instant,
    idle: bool,
}

impl SplitWatermarks {
    /// No splits. A split is idle after `timeout` without a record; `None`: never.
    pub(super) fn new(timeout: Option<Duration>, now: Instant) -> Self {
        Self { splits: Vec::new(), timeout, watermark: MIN_WATERMARK, active_at: now, idle: false }
    }

    pub(super) fn add(&mut self, id: &str, watermark: Timestamp, now: Instant) {
        self.active_at = now;
        self.splits.push(SplitTime { id: id.to_owned(), watermark, active_at: now, idle: false });
    }

    pub(super) fn end(&mut self, id: &str, now: Instant) {
        self.active_at = now;
        self.splits.retain(|split| split.id != id);
    }

    /// The split has records.
    pub(super) fn records(&mut self, id: &str, now: Instant) {
        self.active_at = now;
        if let Some(split) = self.splits.iter_mut().find(|split| split.id == id) {
            split.active_at = now;
            split.idle = false;
        }
    }

    /// The watermark of what was read of the split.
    pub(super) fn seen(&mut self, id: &str, watermark: Timestamp) {
        if let Some(split) = self.splits.iter_mut().find(|split| split.id == id) {
            split.watermark = split.watermark.max(watermark);
        }
    }

    /// The task could not read for so long: no split is to blame for it.
    pub(super) fn paused(&mut self, duration: Duration) {
        self.active_at += duration;
        self.splits.iter_mut().for_each(|split| split.active_at += duration);
    }

    /// Finds out which splits are idle. Returns whether the reader is, if that has changed.
    pub(super) fn check_idle(&mut self, now: Instant) -> Option<bool> {
        let timeout = self.timeout?;
        for split in &mut self.splits {
            split.idle |= split.active_at + timeout <= now;
        }
        let idle = match self.splits.is_empty() {
            true => self.active_at + timeout <= now,
            false => self.splits.iter().all(|split| split.idle),
        };
        (idle != self.idle).then(|| {
            self.idle = idle;
            idle
        })
    }

    /// When [`SplitWatermarks::check_idle`] will find something if nothing comes.
    pub(super) fn idle_at(&self) -> Option<Instant> {
        let timeout = self.timeout?;
        if self.splits.is_empty() {
            return (!self.idle).then(|| self.active_at + timeout);
        }
        self.splits.iter().filter(|split| !split.idle).map(|split| split.active_at + timeout).min()
    }

    /// Whether a split can be idle at all.
    pub(super) fn has_timeout(&self) -> bool {
        self.timeout.is_some()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.idle
    }

    /// The reader's watermark.
    pub(super) fn watermark(&self) -> Timestamp {
        self.watermark
    }

    /// The reader's watermark, if it has advanced.
    pub(super) fn advance(&mut self) -> Option<Timestamp> {
        let active = self.splits.iter().filter(|split| !split.idle);
        let minimum = active.map(|split| split.watermark).min()?;
        (minimum > self.watermark).then(|| {
            self.watermark = minimum;
            minimum
        })
    }

    /// There is no more input: the watermark to send for that, once.
    pub(super) fn finish(&mut self) -> Option<Timestamp> {
        (std::mem::replace(&mut self.watermark, MAX_WATERMARK) < MAX_WATERMARK).then_some(MAX_WATERMARK)
    }

    /// The watermark of a split: what a checkpoint keeps of it.
    pub(super) fn of(&self, id: &str) -> Option<Timestamp> {
        self.splits.iter().find(|split| split.id == id).map(|split| split.watermark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watermark_is_the_smallest_of_the_splits_and_never_goes_back() {
        let now = Instant::now();
        let mut splits = SplitWatermarks::new(None, now);
        splits.add("a", MIN_WATERMARK, now);
        splits.add("b", MIN_WATERMARK, now);
        splits.seen("a", 10);
        assert_eq!(splits.advance(), None, "b has not begun");
        splits.seen("b", 7);
        splits.seen("b", 3);
        assert_eq!((splits.advance(), splits.of("b")), (Some(7), Some(7)));
        splits.end("b", now);
        assert_eq!(splits.advance(), Some(10));
        splits.add("c", 5, now);
        assert_eq!(splits.advance(), None);
        assert_eq!((splits.finish(), splits.finish()), (Some(MAX_WATERMARK), None));
    }

    #[test]
    fn a_split_without_records_is_idle_by_itself_and_time_of_the_tasks_own_does_not_count() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut splits = SplitWatermarks::new(Some(Duration::from_secs(5)), start);
        splits.add("a", MIN_WATERMARK, start);
        splits.add("b", MIN_WATERMARK, start);
        splits.records("a", at(3));
        splits.seen("a", 100);
        assert_eq!(splits.idle_at(), Some(at(5)));
        assert_eq!((splits.check_idle(at(4)), splits.advance()), (None, None));
        assert_eq!((splits.check_idle(at(5)), splits.advance()), (None, Some(100)), "b holds nothing back");
        splits.paused(Duration::from_secs(10));
        assert_eq!((splits.idle_at(), splits.check_idle(at(17))), (Some(at(18)), None));
        assert_eq!((splits.check_idle(at(18)), splits.is_idle(), splits.idle_at()), (Some(true), true, None));
        splits.records("b", at(20));
        splits.seen("b", 50);
        assert_eq!((splits.check_idle(at(20)), splits.advance()), (Some(false), None));
        splits.seen("b", 150);
        assert_eq!(splits.advance(), Some(150));
        splits.end("a", at(21));
        splits.end("b", at(21));
        assert_eq!((splits.check_idle(at(25)), splits.check_idle(at(26))), (None, Some(true)));
    }
}
