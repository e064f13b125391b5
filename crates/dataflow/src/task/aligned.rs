//! A source's part in watermark alignment: it tells how far it is, and waits when it is too far.
//!
//! Invariant: it tells of each change, but not more often than once per interval. It is told what time it is.

use std::time::{Duration, Instant};

use crate::source::WatermarkAlignment;
use crate::time::{MIN_WATERMARK, Timestamp};

/// The watermark of a reader; `None` when it is idle.
pub(super) type Progress = Option<Timestamp>;

pub(super) struct Aligned {
    interval: Duration,
    /// The watermark beyond which the reader waits.
    limit: Timestamp,
    told: Progress,
    next: Instant,
}

impl Aligned {
    /// A reader that has just started, as its group knows already.
    pub(super) fn new(alignment: &WatermarkAlignment, now: Instant) -> Self {
        Self {
            interval: alignment.update_interval,
            limit: MIN_WATERMARK,
            told: Some(MIN_WATERMARK),
            next: now,
        }
    }

    pub(super) fn set_limit(&mut self, limit: Timestamp) {
        self.limit = limit;
    }

    pub(super) fn is_ahead(&self, watermark: Timestamp) -> bool {
        watermark > self.limit
    }

    /// What to tell now.
    pub(super) fn report(&mut self, progress: Progress, now: Instant) -> Option<Progress> {
        if progress == self.told || now < self.next {
            return None;
        }
        self.told = progress;
        self.next = now + self.interval;
        Some(progress)
    }

    /// When there will be something to tell if nothing comes.
    pub(super) fn report_at(&self, progress: Progress) -> Option<Instant> {
        (progress != self.told).then_some(self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_told_once_and_not_too_often() {
        let start = Instant::now();
        let alignment = WatermarkAlignment {
            group: "g".into(),
            max_drift: Duration::from_secs(9),
            update_interval: Duration::from_secs(1),
        };
        let mut aligned = Aligned::new(&alignment, start);
        assert_eq!(aligned.report(Some(MIN_WATERMARK), start), None);
        assert_eq!(aligned.report(Some(5), start), Some(Some(5)));
        let later = start + Duration::from_millis(999);
        assert_eq!((aligned.report(Some(5), later), aligned.report_at(Some(5))), (None, None));
        assert_eq!(aligned.report(None, later), None);
        assert_eq!(aligned.report_at(None), Some(start + Duration::from_secs(1)));
        assert_eq!(aligned.report(None, start + Duration::from_secs(1)), Some(None));
        assert!(aligned.is_ahead(5));
        aligned.set_limit(5);
        assert!(!aligned.is_ahead(5) && aligned.is_ahead(6));
    }
}
