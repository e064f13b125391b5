//! Watches: which connection wants to know of which znode.
//!
//! A connection's watches on a path are one set of bits, so that one change tells it at most once. One-shot watches are cleared when they
//! fire. ZooKeeper's two tables (data and child watches) are here two bits; what `mntr` and `wchs` count is the data side, as there.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::proto::{EventType, WatcherType};

/// A connection, as the server numbers them.
pub type ConnectionId = u64;

/// One-shot: data changed, created or deleted (`getData`, `exists`).
pub const DATA: u8 = 1;
/// One-shot: children changed, or the znode deleted (`getChildren`).
pub const CHILD: u8 = 1 << 1;
/// All of these, until removed.
pub const PERSISTENT: u8 = 1 << 2;
/// Creation, change and deletion here and in the whole subtree, until removed.
pub const RECURSIVE: u8 = 1 << 3;

/// What counts as a data watch in reports.
const IN_DATA_TABLE: u8 = DATA | PERSISTENT | RECURSIVE;

/// All watches of a server.
#[derive(Debug, Default)]
pub struct Watches {
    by_path: HashMap<Arc<str>, HashMap<ConnectionId, u8>>,
    by_connection: HashMap<ConnectionId, Watched>,
    recursive: usize,
}

/// What a connection watches.
#[derive(Debug, Default)]
struct Watched {
    paths: HashSet<Arc<str>>,
    /// What they cost, see [`cost_bytes`].
    bytes: usize,
}

/// What a watch of this path costs, in both tables.
fn cost_bytes(path: &str) -> usize {
    path.len() + 128
}

/// Totals, as `wchs` prints them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchesSummary {
    /// Connections with a watch.
    pub connections: usize,
    /// Paths with a watch.
    pub paths: usize,
    /// Pairs of both.
    pub watches: usize,
}

impl Watches {
    /// Adds watches of the kinds `bits`.
    pub fn add(&mut self, path: &str, connection: ConnectionId, bits: u8) {
        self.add_within(path, connection, bits, usize::MAX);
    }

    /// Adds watches of the kinds `bits`, unless all that the connection watches would then cost more than `limit_bytes`. Whether it did.
    pub fn add_within(&mut self, path: &str, connection: ConnectionId, bits: u8, limit_bytes: usize) -> bool {
        let have = self.by_connection.get(&connection);
        if have.is_some_and(|have| have.bytes.saturating_add(cost_bytes(path)) > limit_bytes)
            && !have.is_some_and(|have| have.paths.contains(path))
        {
            return false;
        }
        let path = match self.by_path.get_key_value(path) {
            Some((path, _)) => path.clone(),
            None => path.into(),
        };
        let before = self.by_path.entry(path.clone()).or_default().entry(connection).or_default();
        if bits & RECURSIVE != 0 && *before & RECURSIVE == 0 {
            self.recursive += 1;
        }
        *before |= bits;
        let watched = self.by_connection.entry(connection).or_default();
        let bytes = cost_bytes(&path);
        if watched.paths.insert(path) {
            watched.bytes += bytes;
        }
        true
    }

    /// Whether the connection has a watch of this kind on this path.
    pub fn contains(&self, path: &str, connection: ConnectionId, kind: WatcherType) -> bool {
        let bits = self.by_path.get(path).and_then(|watchers| watchers.get(&connection));
        bits.is_some_and(|bits| bits & bits_of(kind) != 0)
    }

    /// Removes the connection's watches of this kind on this path; whether there were any.
    pub fn remove(&mut self, path: &str, connection: ConnectionId, kind: WatcherType) -> bool {
        self.clear(path, connection, bits_of(kind))
    }

    /// Removes all watches of a connection.
    pub fn remove_connection(&mut self, connection: ConnectionId) {
        for path in self.by_connection.remove(&connection).unwrap_or_default().paths {
            if let Some(watchers) = self.by_path.get_mut(&path) {
                if watchers.remove(&connection).is_some_and(|bits| bits & RECURSIVE != 0) {
                    self.recursive -= 1;
                }
                if watchers.is_empty() {
                    self.by_path.remove(&path);
                }
            }
        }
    }

    /// The connections that a change concerns; each once. Its one-shot watches are gone then.
    pub fn trigger(&mut self, event: EventType, path: &str) -> Vec<ConnectionId> {
        let mut told = Vec::new();
        let (one_shot, wanted) = match event {
            EventType::NodeCreated | EventType::NodeDataChanged => (DATA, IN_DATA_TABLE),
            EventType::NodeDeleted => (DATA | CHILD, IN_DATA_TABLE | CHILD),
            EventType::NodeChildrenChanged => (CHILD, CHILD | PERSISTENT),
        };
        if let Some(watchers) = self.by_path.get_mut(path) {
            let by_connection = &mut self.by_connection;
            watchers.retain(|connection, bits| {
                if *bits & wanted == 0 {
                    return true;
                }
                told.push(*connection);
                *bits &= !one_shot;
                if *bits == 0 {
                    forget(by_connection, *connection, path);
                }
                *bits != 0
            });
            if watchers.is_empty() {
                self.by_path.remove(path);
            }
        }
        if self.recursive > 0 && event != EventType::NodeChildrenChanged {
            let at_path = told.len();
            for parent in parents(path) {
                for (connection, bits) in self.by_path.get(parent).into_iter().flatten() {
                    if bits & RECURSIVE != 0 {
                        told.push(*connection);
                    }
                }
            }
            if told.len() > at_path {
                told.sort_unstable();
                told.dedup();
            }
        }
        told
    }

    /// Totals of the data side.
    pub fn summary(&self) -> WatchesSummary {
        let mut connections = HashSet::new();
        let (mut paths, mut watches) = (0, 0);
        for (_, watchers) in self.data_watchers() {
            paths += 1;
            watches += watchers.len();
            connections.extend(watchers);
        }
        WatchesSummary { connections: connections.len(), paths, watches }
    }

    /// Paths with watches of the data side, and their connections; sorted.
    pub fn data_watchers(&self) -> Vec<(&str, Vec<ConnectionId>)> {
        let mut all: Vec<_> = self
            .by_path
            .iter()
            .filter_map(|(path, watchers)| {
                let mut connections: Vec<_> = watchers
                    .iter()
                    .filter(|(_, bits)| *bits & IN_DATA_TABLE != 0)
                    .map(|(id, _)| *id)
                    .collect();
                connections.sort_unstable();
                (!connections.is_empty()).then_some((&**path, connections))
            })
            .collect();
        all.sort_unstable();
        all
    }

    /// Number of watches, of both sides.
    pub fn len(&self) -> usize {
        self.by_path
            .values()
            .flat_map(|watchers| watchers.values())
            .map(|bits| {
                usize::from(bits & IN_DATA_TABLE != 0) + usize::from(bits & (CHILD | PERSISTENT) != 0)
            })
            .sum()
    }

    /// Whether nobody watches anything.
    pub fn is_empty(&self) -> bool {
        self.by_path.is_empty()
    }

    fn clear(&mut self, path: &str, connection: ConnectionId, bits: u8) -> bool {
        let Some(watchers) = self.by_path.get_mut(path) else { return false };
        let Some(have) = watchers.get_mut(&connection) else { return false };
        let cleared = *have & bits;
        *have &= !bits;
        if cleared & RECURSIVE != 0 {
            self.recursive -= 1;
        }
        if *have == 0 {
            watchers.remove(&connection);
            if watchers.is_empty() {
                self.by_path.remove(path);
            }
            forget(&mut self.by_connection, connection, path);
        }
        cleared != 0
    }
}

fn forget(by_connection: &mut HashMap<ConnectionId, Watched>, connection: ConnectionId, path: &str) {
    if let Some(watched) = by_connection.get_mut(&connection) {
        if watched.paths.remove(path) {
            watched.bytes -= cost_bytes(path);
        }
        if watched.paths.is_empty() {
            by_connection.remove(&connection);
        }
    }
}

fn bits_of(kind: WatcherType) -> u8 {
    match kind {
        WatcherType::Children => CHILD,
        WatcherType::Data => DATA,
        WatcherType::Any => DATA | CHILD | PERSISTENT | RECURSIVE,
        WatcherType::Persistent => PERSISTENT,
        WatcherType::PersistentRecursive => RECURSIVE,
    }
}

/// The proper ancestors of a path, innermost first, up to `/`.
fn parents(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| match path.rsplit_once('/') {
        Some((_, "")) | None => None,
        Some(("", _)) => Some("/"),
        Some((parent, _)) => Some(parent),
    })
    .skip(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_shot_watches_fire_once_and_persistent_ones_stay() {
        let mut watches = Watches::default();
        watches.add("/a", 1, DATA | CHILD);
        watches.add("/a", 2, PERSISTENT);
        let mut told = watches.trigger(EventType::NodeDataChanged, "/a");
        told.sort_unstable();
        assert_eq!(told, [1, 2]);
        assert_eq!(watches.trigger(EventType::NodeDataChanged, "/a"), [2]);
        assert!(watches.contains("/a", 1, WatcherType::Children));
        let mut told = watches.trigger(EventType::NodeDeleted, "/a");
        told.sort_unstable();
        assert_eq!(told, [1, 2]);
        assert_eq!(watches.trigger(EventType::NodeChildrenChanged, "/a"), [2]);
        assert!(!watches.contains("/a", 1, WatcherType::Any));
    }

    #[test]
    fn recursive_watches_see_the_subtree_but_no_children_events() {
        let mut watches = Watches::default();
        watches.add("/", 1, RECURSIVE);
        watches.add("/a", 1, RECURSIVE | DATA);
        assert_eq!(watches.trigger(EventType::NodeCreated, "/a/b/c"), [1]);
        assert_eq!(watches.trigger(EventType::NodeChildrenChanged, "/a"), [0; 0]);
        assert_eq!(watches.trigger(EventType::NodeCreated, "/ab"), [1]);
        assert!(watches.remove("/", 1, WatcherType::PersistentRecursive));
        assert!(!watches.remove("/", 1, WatcherType::PersistentRecursive));
        assert_eq!(watches.trigger(EventType::NodeCreated, "/ab"), [0; 0]);
        watches.remove_connection(1);
        assert!(watches.is_empty() && watches.recursive == 0 && watches.by_connection.is_empty());
    }

    #[test]
    fn parents_end_at_the_root() {
        assert_eq!(parents("/a/b").collect::<Vec<_>>(), ["/a", "/"]);
        assert_eq!(parents("/a").collect::<Vec<_>>(), ["/"]);
        assert_eq!(parents("/").count(), 0);
    }
}
