//! Windows: the finite pieces that a stream is cut into.

use std::fmt::Debug;
use std::hash::Hash;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use streamkeeper_dataflow::time::Timestamp;

use crate::Data;

/// A piece of a stream. Windows of one key are told apart by equality.
pub trait Window: Data + Sync + Eq + Ord + Hash + Debug {
    /// The largest time, in milliseconds, that still belongs to the window: what is emitted for it carries this time.
    fn max_timestamp(&self) -> Timestamp;
}

/// The times from `start` to `end`, in milliseconds; `end` is not in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TimeWindow {
    /// The first time.
    pub start: Timestamp,
    /// The time after the last.
    pub end: Timestamp,
}

impl TimeWindow {
    /// The window from `start` to before `end`.
    pub fn new(start: Timestamp, end: Timestamp) -> Self {
        Self { start, end }
    }

    /// Whether the two overlap or touch: sessions that do are one.
    ///
    /// ```
    /// use streamkeeper_datastream::window::TimeWindow;
    ///
    /// assert!(TimeWindow::new(0, 10).intersects(&TimeWindow::new(10, 20)));
    /// assert!(!TimeWindow::new(0, 10).intersects(&TimeWindow::new(11, 20)));
    /// ```
    pub fn intersects(&self, other: &Self) -> bool {
        self.start <= other.end && self.end >= other.start
    }

    /// The smallest window that holds both.
    pub fn cover(&self, other: &Self) -> Self {
        Self { start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// The start of the window that `timestamp` is in, when windows of `size` follow each other and one begins at `offset`.
    ///
    /// ```
    /// use streamkeeper_datastream::window::TimeWindow;
    ///
    /// assert_eq!(TimeWindow::start_with_offset(17, 0, 10), 10);
    /// assert_eq!(TimeWindow::start_with_offset(17, 8, 10), 8);
    /// assert_eq!(TimeWindow::start_with_offset(-1, 0, 10), -10);
    /// ```
    pub fn start_with_offset(timestamp: Timestamp, offset: i64, size: i64) -> Timestamp {
        timestamp - timestamp.saturating_sub(offset).rem_euclid(size)
    }
}

impl Window for TimeWindow {
    #[inline]
    fn max_timestamp(&self) -> Timestamp {
        self.end - 1
    }
}

/// The one window of [`GlobalWindows`](super::GlobalWindows), that never ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GlobalWindow;

impl Window for GlobalWindow {
    fn max_timestamp(&self) -> Timestamp {
        Timestamp::MAX
    }
}

/// Whole milliseconds of a duration; what is longer than a timestamp can say is as long as it can say.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
