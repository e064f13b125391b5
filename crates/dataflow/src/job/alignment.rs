//! Watermark alignment: no source of a group runs ahead of the slowest by more than it may.
//!
//! Invariant: each member's limit is the smallest watermark of the group's members, but for the idle ones, plus its own
//! drift. A member counts from its start, before it has seen anything. A pure state machine.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::checkpoint::coordinator::Subtask;
use crate::source::WatermarkAlignment;
use crate::time::{MAX_WATERMARK, MIN_WATERMARK, Timestamp};

struct Member {
    group: String,
    max_drift_ms: i64,
    /// [`MAX_WATERMARK`] when it is idle.
    watermark: Timestamp,
}

/// All groups of a job.
#[derive(Default)]
pub(super) struct AlignmentGroups {
    members: BTreeMap<Subtask, Member>,
}

/// Who may go how far.
pub(super) type Limits = Vec<(Subtask, Timestamp)>;

impl AlignmentGroups {
    /// A source starts, or starts again. Returns the limits of its group.
    pub(super) fn join(&mut self, subtask: Subtask, alignment: &WatermarkAlignment) -> Limits {
        let member = Member {
            group: alignment.group.clone(),
            max_drift_ms: millis(alignment.max_drift),
            watermark: MIN_WATERMARK,
        };
        self.members.insert(subtask, member);
        self.limits(&alignment.group)
    }

    /// How far a member is; `None`: it is idle. Returns the limits that have changed.
    pub(super) fn report(&mut self, subtask: Subtask, watermark: Option<Timestamp>) -> Limits {
        let Some(group) = self.members.get(&subtask).map(|member| member.group.clone()) else {
            return Vec::new();
        };
        let before = self.slowest(&group);
        if let Some(member) = self.members.get_mut(&subtask) {
            member.watermark = watermark.unwrap_or(MAX_WATERMARK);
        }
        if self.slowest(&group) == before { Vec::new() } else { self.limits(&group) }
    }

    fn slowest(&self, group: &str) -> Timestamp {
        let members = self.members.values().filter(|member| member.group == group);
        members.map(|member| member.watermark).min().unwrap_or(MAX_WATERMARK)
    }

    fn limits(&self, group: &str) -> Limits {
        let slowest = self.slowest(group);
        let members = self.members.iter().filter(|(_, member)| member.group == group);
        members.map(|(subtask, member)| (*subtask, slowest.saturating_add(member.max_drift_ms))).collect()
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alignment(group: &str, max_drift_ms: u64) -> WatermarkAlignment {
        WatermarkAlignment {
            group: group.into(),
            max_drift: Duration::from_millis(max_drift_ms),
            update_interval: Duration::from_secs(1),
        }
    }

    #[test]
    fn the_slowest_member_that_is_not_idle_limits_the_others() {
        let (a, b, c) = ((0, 0), (0, 1), (5, 0));
        let mut groups = AlignmentGroups::default();
        groups.join(a, &alignment("g", 10));
        groups.join(b, &alignment("g", 10));
        assert_eq!(groups.join(c, &alignment("other", 7)), [(c, MIN_WATERMARK + 7)]);
        assert_eq!(groups.report(a, Some(100)), [], "b has not begun");
        assert_eq!(groups.report(b, Some(50)), [(a, 60), (b, 60)]);
        assert_eq!(groups.report(a, Some(120)), []);
        assert_eq!(groups.report(b, None), [(a, 130), (b, 130)]);
        assert_eq!(groups.report(a, None), [(a, MAX_WATERMARK), (b, MAX_WATERMARK)]);
        assert_eq!(groups.report((9, 9), Some(1)), [], "no member");
    }

    #[test]
    fn a_member_that_starts_again_is_the_slowest_and_each_has_its_own_drift() {
        let (a, b) = ((0, 0), (1, 0));
        let mut groups = AlignmentGroups::default();
        groups.join(a, &alignment("g", 10));
        groups.join(b, &alignment("g", 1_000));
        groups.report(a, Some(100));
        assert_eq!(groups.report(b, Some(90)), [(a, 100), (b, 1_090)]);
        assert_eq!(
            groups.join(a, &alignment("g", 10)),
            [(a, MIN_WATERMARK + 10), (b, MIN_WATERMARK + 1_000)]
        );
        assert_eq!(groups.report(a, Some(80)), [(a, 90), (b, 1_080)]);
    }
}
