//! What the source has told of the znodes, and what a new reading adds to it: pure.
//!
//! Invariant: the mirror holds exactly what was emitted, so a checkpoint of it finds later what changed meanwhile, deletions included.

use std::collections::BTreeMap;

use crate::zookeeper::znode::ZNode;

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reading {
    /// All that is followed: what is not in it does not exist.
    Everything(Vec<ZNode>),
    /// One path; `None`: there is nothing.
    One(String, Option<ZNode>),
}

/// One change; a znode that was deleted and created again is two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    /// What was told of it before; `None`: it is new.
    pub(crate) before: Option<ZNode>,
    /// What it is now; `None`: it is gone.
    pub(crate) after: Option<ZNode>,
}

/// How much may be followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) max_znodes: usize,
    pub(crate) max_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_znodes: 100_000, max_bytes: 256 << 20 }
    }
}

/// The znodes as they were told.
#[derive(Debug, Default)]
pub(crate) struct Mirror {
    znodes: BTreeMap<String, ZNode>,
    bytes: usize,
}

impl Mirror {
    pub(crate) fn new(znodes: Vec<ZNode>) -> Self {
        let mut mirror = Self::default();
        for znode in znodes {
            mirror.apply(&Change { before: None, after: Some(znode) });
        }
        mirror
    }

    /// What a checkpoint holds.
    pub(crate) fn znodes(&self) -> Vec<&ZNode> {
        self.znodes.values().collect()
    }

    /// What has changed by this reading, in the order in which it was written: so times of modification come in order, too, and a
    /// watermark that follows them is right. To be applied as it is emitted.
    pub(crate) fn step(&self, reading: Reading) -> Vec<Change> {
        let mut changes = Vec::new();
        match reading {
            Reading::One(path, after) => compare(self.znodes.get(&path), after, &mut changes),
            Reading::Everything(now) => {
                let mut now: BTreeMap<String, ZNode> = now.into_iter().map(|z| (z.path.clone(), z)).collect();
                for (path, before) in &self.znodes {
                    compare(Some(before), now.remove(path), &mut changes);
                }
                now.into_values().for_each(|after| compare(None, Some(after), &mut changes));
                // Stable: what was created again is deleted first.
                changes
                    .sort_by_key(|change| change.after.as_ref().or(change.before.as_ref()).map(|z| z.mzxid));
            }
        }
        changes
    }

    /// Takes in a change that is being emitted.
    pub(crate) fn apply(&mut self, change: &Change) {
        if let Some(before) = &change.before
            && let Some(held) = self.znodes.remove(&before.path)
        {
            self.bytes -= held.num_bytes();
        }
        if let Some(after) = &change.after {
            self.bytes += after.num_bytes();
            self.znodes.insert(after.path.clone(), after.clone());
        }
    }

    /// What is too much, if anything is.
    pub(crate) fn excess(&self, limits: &Limits) -> Option<String> {
        if self.znodes.len() > limits.max_znodes {
            return Some(format!("more than {} znodes (option 'scan.max-znodes')", limits.max_znodes));
        }
        (self.bytes > limits.max_bytes)
            .then(|| format!("more than {} bytes of znodes (option 'scan.max-bytes')", limits.max_bytes))
    }
}

fn compare(before: Option<&ZNode>, after: Option<ZNode>, changes: &mut Vec<Change>) {
    match (before, after) {
        (None, None) => {}
        (Some(before), Some(after)) if before.czxid == after.czxid => {
            // A reading that is older than what was told changes nothing.
            if after.mzxid > before.mzxid {
                changes.push(Change { before: Some(before.clone()), after: Some(after) });
            }
        }
        (before, after) => {
            if let (Some(before), Some(after)) = (before, &after)
                && after.czxid < before.czxid
            {
                return;
            }
            changes.extend(before.map(|before| Change { before: Some(before.clone()), after: None }));
            changes.extend(after.map(|after| Change { before: None, after: Some(after) }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn znode(path: &str, data: &str, czxid: i64, mzxid: i64) -> ZNode {
        let (ctime_ms, mtime_ms, version) = (czxid, mzxid, (mzxid - czxid) as i32);
        let data = Some(data.as_bytes().to_vec());
        ZNode { path: path.into(), data, version, czxid, mzxid, ctime_ms, mtime_ms, ephemeral_owner: 0 }
    }

    /// Applies a reading; the changes as `+path=data`, `-path`, `path=data`.
    fn told(mirror: &mut Mirror, reading: Reading) -> Vec<String> {
        let changes = mirror.step(reading);
        changes.iter().for_each(|change| mirror.apply(change));
        let describe = |change: Change| match (change.before, change.after) {
            (None, Some(after)) => format!("+{}={}", after.path, after.text()),
            (Some(_), Some(after)) => format!("{}={}", after.path, after.text()),
            (Some(before), None) => format!("-{}={}", before.path, before.text()),
            (None, None) => "nothing".to_owned(),
        };
        changes.into_iter().map(describe).collect()
    }

    #[test]
    fn only_differences_are_told() {
        let mut mirror = Mirror::default();
        let first = vec![znode("/a", "1", 1, 1), znode("/b", "2", 2, 2)];
        assert_eq!(told(&mut mirror, Reading::Everything(first.clone())), ["+/a=1", "+/b=2"]);
        assert_eq!(told(&mut mirror, Reading::Everything(first)), [""; 0]);
        let second = vec![znode("/b", "3", 2, 4), znode("/c", "4", 5, 5)];
        assert_eq!(told(&mut mirror, Reading::Everything(second)), ["-/a=1", "/b=3", "+/c=4"]);
        assert_eq!(told(&mut mirror, Reading::One("/c".into(), None)), ["-/c=4"]);
        assert_eq!(told(&mut mirror, Reading::One("/c".into(), None)), [""; 0]);
    }

    #[test]
    fn a_znode_that_was_created_again_is_deleted_first() {
        let mut mirror = Mirror::new(vec![znode("/a", "1", 1, 3)]);
        let again = Reading::One("/a".into(), Some(znode("/a", "2", 7, 7)));
        assert_eq!(told(&mut mirror, again), ["-/a=1", "+/a=2"]);
    }

    #[test]
    fn changes_come_in_the_order_in_which_they_were_written() {
        let mut mirror = Mirror::default();
        let first = vec![znode("/a", "1", 1, 9), znode("/b", "2", 2, 2), znode("/c", "3", 3, 5)];
        assert_eq!(told(&mut mirror, Reading::Everything(first)), ["+/b=2", "+/c=3", "+/a=1"]);
        let second = vec![znode("/a", "4", 12, 12), znode("/b", "5", 2, 11), znode("/c", "6", 3, 10)];
        assert_eq!(told(&mut mirror, Reading::Everything(second)), ["-/a=1", "/c=6", "/b=5", "+/a=4"]);
    }

    #[test]
    fn a_server_that_is_behind_takes_nothing_back() {
        let mut mirror = Mirror::new(vec![znode("/a", "new", 5, 9)]);
        assert_eq!(told(&mut mirror, Reading::One("/a".into(), Some(znode("/a", "old", 5, 6)))), [""; 0]);
        assert_eq!(told(&mut mirror, Reading::One("/a".into(), Some(znode("/a", "older", 2, 3)))), [""; 0]);
    }

    #[test]
    fn a_checkpoint_finds_what_changed_and_was_deleted_meanwhile() {
        let mut before = Mirror::default();
        told(&mut before, Reading::Everything(vec![znode("/a", "1", 1, 1), znode("/b", "2", 2, 2)]));
        let mut restored = Mirror::new(before.znodes().into_iter().cloned().collect());
        let now = vec![znode("/a", "3", 1, 4)];
        assert_eq!(told(&mut restored, Reading::Everything(now)), ["-/b=2", "/a=3"]);
    }

    #[test]
    fn limits_name_their_option() {
        let limits = Limits { max_znodes: 1, max_bytes: 1 << 20 };
        let mut mirror = Mirror::new(vec![znode("/a", "1", 1, 1)]);
        assert_eq!(mirror.excess(&limits), None);
        told(&mut mirror, Reading::One("/b".into(), Some(znode("/b", "", 2, 2))));
        assert!(mirror.excess(&limits).unwrap().contains("scan.max-znodes"));
        let limits = Limits { max_znodes: 9, max_bytes: 20 };
        assert!(mirror.excess(&limits).unwrap().contains("scan.max-bytes"));
        told(&mut mirror, Reading::Everything(Vec::new()));
        assert_eq!(mirror.bytes, 0);
    }
}
