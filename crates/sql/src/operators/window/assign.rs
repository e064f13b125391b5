//! Slices and windows of a time.
//!
//! Invariant: a window is a whole number of slices, and a time before 1970 lies in its window as any other does.
//! Times are milliseconds of the local clock; [`LocalClock`] goes from and to the event time.

use arrow::array::{Array, ArrayRef};
use chrono::{DateTime, NaiveDateTime, Offset, TimeZone};
use chrono_tz::Tz;
use streamkeeper_dataflow::time::Timestamp;
use streamkeeper_dataflow::{OperatorError, OperatorResult};

use crate::operators::keys::widen;
use crate::operators::spec::WindowKind;

/// TUMBLE, HOP or CUMULATE as slices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slices {
    /// Length of a slice, and distance between the ends of windows.
    pub(crate) step_ms: i64,
    /// Length of a window; of the longest for CUMULATE.
    pub(crate) size_ms: i64,
    pub(crate) offset_ms: i64,
    /// Windows share their starts.
    pub(crate) cumulate: bool,
}

impl Slices {
    /// The slices of a kind that is not SESSION.
    pub(crate) fn new(kind: WindowKind) -> OperatorResult<Self> {
        let (step_ms, size_ms, offset_ms, cumulate) = match kind {
            WindowKind::Tumble { size_ms, offset_ms } => (size_ms, size_ms, offset_ms, false),
            WindowKind::Hop { slide_ms, size_ms, offset_ms } => (slide_ms, size_ms, offset_ms, false),
            WindowKind::Cumulate { step_ms, max_size_ms, offset_ms } => {
                (step_ms, max_size_ms, offset_ms, true)
            }
            WindowKind::Session { .. } => {
                return Err(OperatorError::fatal("session windows have no slices"));
            }
        };
        if step_ms <= 0 || size_ms <= 0 || size_ms % step_ms != 0 {
            return Err(OperatorError::fatal(format!(
                "a window of {size_ms} ms must be a positive multiple of its slide or step of {step_ms} ms"
            )));
        }
        Ok(Self { step_ms, size_ms, offset_ms, cumulate })
    }

    fn floor(&self, time: i64, unit: i64) -> i64 {
        time.saturating_sub(time.wrapping_sub(self.offset_ms).rem_euclid(unit))
    }

    /// Start of the slice that holds `time`.
    pub(crate) fn slice_start(&self, time: i64) -> i64 {
        self.floor(time, self.step_ms)
    }

    /// End of the first window that holds the slice.
    pub(crate) fn first_end(&self, slice_start: i64) -> i64 {
        slice_start.saturating_add(self.step_ms)
    }

    /// End of the last window that holds the slice.
    pub(crate) fn last_end(&self, slice_start: i64) -> i64 {
        let start = if self.cumulate { self.floor(slice_start, self.size_ms) } else { slice_start };
        start.saturating_add(self.size_ms)
    }

    /// Start of the window that ends at `end`.
    pub(crate) fn window_start(&self, end: i64) -> i64 {
        if self.cumulate { self.floor(end - 1, self.size_ms) } else { end.saturating_sub(self.size_ms) }
    }
}

/// Goes between event time and the clock that windows are computed on.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LocalClock {
    zone: Option<Tz>,
}

impl LocalClock {
    /// The clock of an IANA zone; of none, event time itself.
    pub(crate) fn new(zone: Option<&str>) -> OperatorResult<Self> {
        let zone = zone.filter(|zone| !matches!(*zone, "UTC" | "Z" | "GMT" | "Etc/UTC"));
        let parse = |zone: &str| {
            zone.parse().map_err(|_| {
                OperatorError::fatal(format!(
                    "`{zone}` is no time zone; set table.local-time-zone to an IANA name"
                ))
            })
        };
        Ok(Self { zone: zone.map(parse).transpose()? })
    }

    /// The local times of an event-time column.
    pub(crate) fn local_times(&self, column: &ArrayRef, name: &str) -> OperatorResult<Vec<i64>> {
        if column.null_count() > 0 {
            return Err(OperatorError::fatal(format!(
                "the event-time column `{name}` is NULL in a row; filter such rows out, or give them a time"
            )));
        }
        let times = widen(column).ok_or_else(|| {
            OperatorError::fatal(format!("`{name}` of Arrow type {} is no event time", column.data_type()))
        })?;
        let Some(zone) = self.zone else { return Ok(times.into_owned()) };
        // Offsets change on whole quarters of an hour.
        const QUARTER: i64 = 15 * 60 * 1000;
        let mut known = (i64::MIN, 0);
        let shift = |time: &i64| {
            let quarter = time.div_euclid(QUARTER);
            if known.0 != quarter {
                known = (quarter, offset_at(zone, *time));
            }
            time + known.1
        };
        Ok(times.iter().map(shift).collect())
    }

    /// The watermark at which all rows up to the local time `end - 1` have come.
    pub(crate) fn fires_at(&self, end: i64) -> Timestamp {
        self.to_instant(end - 1, true)
    }

    /// The event time at a local time. Of a local time that there is twice, the later or the earlier instant; of one
    /// that there never is, the instant at which the clock is put forward over it.
    pub(crate) fn to_instant(self, local: i64, later: bool) -> Timestamp {
        let Some((zone, naive)) = self.zone.zip(naive(local)) else { return local };
        match zone.offset_from_local_datetime(&naive) {
            chrono::LocalResult::Single(offset) => local - millis(&offset),
            chrono::LocalResult::Ambiguous(earliest, latest) => {
                let (first, second) = (local - millis(&earliest), local - millis(&latest));
                if later { first.max(second) } else { first.min(second) }
            }
            chrono::LocalResult::None => {
                const MINUTE: i64 = 60_000;
                let before = offset_at(zone, local - offset_at(zone, local) - 6 * 60 * MINUTE);
                let mut instant = (local - before).div_euclid(MINUTE) * MINUTE;
                while instant - MINUTE + offset_at(zone, instant - MINUTE) > local {
                    instant -= MINUTE;
                }
                instant
            }
        }
    }
}

fn naive(millis: i64) -> Option<NaiveDateTime> {
    DateTime::from_timestamp_millis(millis).map(|time| time.naive_utc())
}

fn millis(offset: &impl Offset) -> i64 {
    i64::from(offset.fix().local_minus_utc()) * 1000
}

fn offset_at(zone: Tz, instant: i64) -> i64 {
    naive(instant).map_or(0, |time| millis(&zone.offset_from_utc_datetime(&time)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_lie_in_their_window() {
        let hop = Slices::new(WindowKind::Hop { slide_ms: 2000, size_ms: 10_000, offset_ms: 0 }).unwrap();
        assert_eq!((hop.slice_start(-1), hop.first_end(-2000), hop.last_end(-2000)), (-2000, 0, 8000));
        assert_eq!(hop.window_start(0), -10_000);
        let cumulate =
            Slices::new(WindowKind::Cumulate { step_ms: 5, max_size_ms: 20, offset_ms: 0 }).unwrap();
        assert_eq!((cumulate.slice_start(-3), cumulate.last_end(-5), cumulate.window_start(0)), (-5, 0, -20));
        assert_eq!((cumulate.window_start(5), cumulate.last_end(5)), (0, 20));
        let shifted = Slices::new(WindowKind::Tumble { size_ms: 10, offset_ms: 3 }).unwrap();
        assert_eq!((shifted.slice_start(2), shifted.slice_start(3), shifted.slice_start(13)), (-7, 3, 13));
        assert!(Slices::new(WindowKind::Hop { slide_ms: 3, size_ms: 10, offset_ms: 0 }).is_err());
    }

    #[test]
    fn windows_of_a_zone_follow_its_clock() {
        let clock = LocalClock::new(Some("America/Los_Angeles")).unwrap();
        // 2021-03-14 02:00 was skipped to 03:00 at 10:00 UTC; 2021-11-07 01:00..02:00 came twice.
        let gap = 1_615_716_000_000;
        assert_eq!(clock.to_instant(gap - 8 * 3_600_000 + 1_800_000, true), gap);
        let twice = 1_636_250_400_000 - 3_600_000; // 2021-11-07 01:00 local as if UTC
        assert_eq!(clock.to_instant(twice, true) - clock.to_instant(twice, false), 3_600_000);
        assert!(LocalClock::new(Some("Mars/Olympus")).is_err());
    }
}
