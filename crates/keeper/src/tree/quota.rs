//! Quotas: znodes below `/zookeeper/quota` hold a subtree's limits and what it has.
//!
//! `/zookeeper/quota/<path>/zookeeper_limits` sets limits, `…/zookeeper_stats` counts. Counting changes the statistics' data without a
//! transaction, and thus neither its stat nor the tree's digest, as in ZooKeeper.

use std::collections::BTreeMap;
use std::fmt;

use super::Tree;
use crate::proto::Code;

/// Name of the znode with the limits.
pub(super) const LIMIT_NODE: &str = "zookeeper_limits";
/// Name of the znode with the counts.
const STAT_NODE: &str = "zookeeper_stats";
const QUOTA_ROOT: &str = "/zookeeper/quota";
/// Nobody's limits or counts are longer. They are read at each write below, so that a longer text would make these slow.
const MAX_TRACK_BYTES: usize = 1024;

/// The subtree that a znode below `/zookeeper/quota` is about.
pub(super) fn limited_path(quota_node: &str) -> Option<&str> {
    quota_node.strip_prefix(QUOTA_ROOT)
}

/// Limits or counts of a subtree, in ZooKeeper's text: `count=1,bytes=2=;byteHardLimit=3;countHardLimit=4`; -1 is no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatsTrack(BTreeMap<String, i64>);

impl StatsTrack {
    /// Reads the text; what is not `key=number` is passed over.
    pub fn parse(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(&text[..text.len().min(MAX_TRACK_BYTES)]);
        let pairs = text.split([',', ';']).filter_map(|pair| {
            let mut parts = pair.split('=');
            let (key, value) = (parts.next()?, parts.next()?);
            let value = if value.is_empty() { -1 } else { value.trim().parse().ok()? };
            (!key.is_empty()).then(|| (key.to_owned(), value))
        });
        StatsTrack(pairs.collect())
    }

    /// A value, or -1.
    pub fn get(&self, key: &str) -> i64 {
        self.0.get(key).copied().unwrap_or(-1)
    }

    /// Sets a value.
    pub fn set(&mut self, key: &str, value: i64) {
        self.0.insert(key.to_owned(), value);
    }
}

impl fmt::Display for StatsTrack {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "count={},bytes={}", self.get("count"), self.get("bytes"))?;
        let more: Vec<_> =
            self.0.iter().filter(|(key, _)| !matches!(key.as_str(), "count" | "bytes")).collect();
        if !more.is_empty() {
            // The additional `=` makes clients before 3.7 pass over what follows.
            f.write_str("=")?;
        }
        more.iter().try_for_each(|(key, value)| write!(f, ";{key}={value}"))
    }
}

impl Tree {
    /// The innermost subtree around `path` that has limits.
    pub fn quota_around<'a>(&self, path: &'a str) -> Option<&'a str> {
        if self.quotas.is_empty() {
            return None;
        }
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        let mut prefixes: Vec<&str> = ends.filter(|end| *end > 0).map(|end| &path[..end]).collect();
        prefixes.reverse();
        prefixes.into_iter().find(|prefix| *prefix != "/zookeeper" && self.quotas.contains(*prefix))
    }

    /// Whether a change of `bytes` and `count` below `path` would pass a hard limit, when limits are enforced.
    pub fn check_quota(&self, path: &str, bytes: i64, count: i64) -> Result<(), Code> {
        let Some(limited) = self.quota_around(path) else { return Ok(()) };
        let (Some(limits), Some(counted)) = (self.track(limited, LIMIT_NODE), self.track(limited, STAT_NODE))
        else {
            return Ok(());
        };
        let passes = |more: i64, key: &str, hard: &str| {
            more != 0 && limits.get(hard) > -1 && counted.get(key).saturating_add(more) > limits.get(hard)
        };
        match passes(count, "count", "countHardLimit") || passes(bytes, "bytes", "byteHardLimit") {
            true => Err(Code::QuotaExceeded),
            false => Ok(()),
        }
    }

    /// The subtrees with limits: path, limits, counts.
    pub fn quotas(&self) -> impl Iterator<Item = (&str, StatsTrack, StatsTrack)> {
        self.quotas.iter().filter_map(|path| {
            Some((&**path, self.track(path, LIMIT_NODE)?, self.track(path, STAT_NODE).unwrap_or_default()))
        })
    }

    fn track(&self, limited: &str, node: &str) -> Option<StatsTrack> {
        self.get(&format!("{QUOTA_ROOT}{limited}/{node}"))
            .map(|node| StatsTrack::parse(node.data().unwrap_or_default()))
    }

    /// Takes note of a new znode below `/zookeeper/quota`.
    pub(super) fn quota_node_created(&mut self, parent_path: &str, name: &str) {
        let Some(limited) = limited_path(parent_path) else { return };
        match name {
            LIMIT_NODE => drop(self.quotas.insert(limited.into())),
            STAT_NODE => self.recount(limited),
            _ => {}
        }
    }

    /// Adds to the counts of the subtree around `path`.
    pub(super) fn count_for_quota(&mut self, path: &str, bytes: i64, count: i64) {
        let Some(limited) = self.quota_around(path) else { return };
        let stat_path = format!("{QUOTA_ROOT}{limited}/{STAT_NODE}");
        let Some(mut track) = self.track(limited, STAT_NODE) else { return };
        track.set("count", track.get("count").saturating_add(count));
        track.set("bytes", track.get("bytes").saturating_add(bytes));
        self.write_track(&stat_path, &track);
    }

    /// Counts a subtree anew.
    fn recount(&mut self, limited: &str) {
        let (mut count, mut bytes) = (0, 0);
        if let Some(root) = self.nodes.find(limited) {
            for id in self.nodes.subtree(root) {
                count += 1;
                bytes += self.nodes[id].data.as_ref().map_or(0, |data| data.len() as i64);
            }
        }
        let mut track = StatsTrack::default();
        track.set("count", count);
        track.set("bytes", bytes);
        self.write_track(&format!("{QUOTA_ROOT}{limited}/{STAT_NODE}"), &track);
    }

    fn write_track(&mut self, path: &str, track: &StatsTrack) {
        if let Some(id) = self.nodes.find(path) {
            self.update_data(id, Some(track.to_string().into_bytes().into()));
        }
    }

    /// Finds the limits in a tree that was loaded, and counts anew.
    pub(super) fn load_quotas(&mut self) {
        let Some(root) = self.get(QUOTA_ROOT) else { return };
        let limited: Vec<Box<str>> = root
            .subtree()
            .filter_map(|node| node.path().strip_suffix(LIMIT_NODE)?.strip_suffix('/'))
            .filter_map(limited_path)
            .map(Box::from)
            .collect();
        for path in limited {
            self.recount(&path);
            self.quotas.insert(path);
        }
    }
}
