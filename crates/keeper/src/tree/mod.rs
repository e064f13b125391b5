//! The znode tree: what all transactions up to one came to.
//!
//! [`Tree::apply`] is the only way to change it, and is idempotent, so that a log may be replayed over a fuzzy snapshot of Apache
//! ZooKeeper. [`Tree::freeze`] hands out the whole tree as of now for the price of a pointer per 34 znodes.

mod acl_cache;
mod apply;
mod frozen;
mod nodes;
mod quota;

pub use apply::{Applied, Change};
pub use frozen::{Frozen, LoadError, Loader};
pub use quota::StatsTrack;

use std::collections::HashMap;
use std::collections::HashSet;

use crate::acl::{Acls, OPEN_ACL_UNSAFE, READ_ACL_UNSAFE};
use crate::digest;
use crate::owner::Owner;
use crate::proto::{Stat, StatPersisted};
use acl_cache::AclCache;
use nodes::{Node, NodeId, Nodes};

/// A znode, for reading.
#[derive(Debug, Clone, Copy)]
pub struct NodeRef<'a> {
    tree: &'a Tree,
    id: NodeId,
}

/// The tree of znodes. See the module's page.
#[derive(Debug)]
pub struct Tree {
    nodes: Nodes,
    acls: AclCache,
    ephemerals: HashMap<i64, HashSet<NodeId>>,
    containers: HashSet<NodeId>,
    ttls: HashSet<NodeId>,
    quotas: HashSet<Box<str>>,
    digest: i64,
    data_bytes: u64,
    last_zxid: i64,
    extended_types: bool,
}

impl Tree {
    /// A tree with the znodes that every ZooKeeper has: `/`, `/zookeeper`, `/zookeeper/quota`, `/zookeeper/config`.
    ///
    /// `extended_types`: whether TTL nodes are told from ephemerals.
    pub fn new(extended_types: bool) -> Self {
        let mut tree = Tree::empty(extended_types);
        for path in ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"] {
            let acl = if path == "/zookeeper/config" { &*READ_ACL_UNSAFE } else { &*OPEN_ACL_UNSAFE };
            let acl = tree.acls.add(acl);
            let stat = match path {
                // As Apache creates it: the access control list is set once, with version -1.
                "/zookeeper/config" => StatPersisted { aversion: -1, ..Default::default() },
                _ => StatPersisted::default(),
            };
            tree.insert(path, Some(Box::default()), acl, stat);
        }
        tree
    }

    /// A tree without any znode, for a snapshot to be read into.
    fn empty(extended_types: bool) -> Self {
        Tree {
            nodes: Nodes::default(),
            acls: AclCache::default(),
            ephemerals: HashMap::new(),
            containers: HashSet::new(),
            ttls: HashSet::new(),
            quotas: HashSet::new(),
            digest: 0,
            data_bytes: 0,
            last_zxid: 0,
            extended_types,
        }
    }

    /// The znode at `path`; the root is `/` or the empty string.
    pub fn get(&self, path: &str) -> Option<NodeRef<'_>> {
        self.nodes.find(path).map(|id| NodeRef { tree: self, id })
    }

    /// Number of znodes.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is no znode at all, which is so only while a snapshot is read.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The newest transaction that has been applied.
    pub fn last_zxid(&self) -> i64 {
        self.last_zxid
    }

    /// Declares that all transactions up to `zxid` are in the tree.
    pub fn set_last_zxid(&mut self, zxid: i64) {
        self.last_zxid = zxid;
    }

    /// The digest over all znodes, see [`crate::digest`].
    pub fn digest(&self) -> i64 {
        self.digest
    }

    /// Bytes of all paths and data: ZooKeeper's `approximate_data_size`.
    pub fn data_bytes(&self) -> u64 {
        self.data_bytes
    }

    /// Whether TTL nodes are told from ephemerals.
    pub fn extended_types(&self) -> bool {
        self.extended_types
    }

    /// The ephemerals of a session, sorted.
    pub fn ephemerals_of(&self, session_id: i64) -> Vec<&str> {
        let ids = self.ephemerals.get(&session_id).into_iter().flatten();
        let mut paths: Vec<&str> = ids.map(|id| &*self.nodes[*id].path).collect();
        paths.sort_unstable();
        paths
    }

    /// The sessions that own ephemerals.
    pub fn sessions_with_ephemerals(&self) -> impl Iterator<Item = i64> + '_ {
        self.ephemerals.keys().copied()
    }

    /// Number of ephemerals.
    pub fn ephemerals_count(&self) -> usize {
        self.ephemerals.values().map(HashSet::len).sum()
    }

    /// Containers whose children are gone, or that have had none for longer than `never_used_ms` (0: for ever), and TTL nodes without
    /// children that are older than their time, sorted.
    pub fn removable(&self, now_ms: i64, never_used_ms: i64) -> Vec<&str> {
        let elapsed = |node: &Node| now_ms.saturating_sub(node.stat.mtime);
        let childless = |id: &&NodeId| self.nodes[**id].children == 0;
        let containers = self
            .containers
            .iter()
            .filter(childless)
            .map(|id| &self.nodes[*id])
            .filter(|node| node.stat.cversion > 0 || never_used_ms != 0 && elapsed(node) > never_used_ms);
        let ttls = self.ttls.iter().filter(childless).map(|id| &self.nodes[*id]).filter(|node| {
            matches!(Owner::of(node.stat.ephemeral_owner, true), Owner::Ttl(ttl_ms) if ttl_ms != 0 && elapsed(node) > ttl_ms)
        });
        let mut paths: Vec<&str> = containers.chain(ttls).map(|node| &*node.path).collect();
        paths.sort_unstable();
        paths
    }

    /// Number of znodes below `path`, in its whole subtree. Costs a visit of each.
    pub fn descendants(&self, node: NodeRef) -> usize {
        if self.nodes[node.id].parent == NodeId::NONE {
            return self.len() - 1;
        }
        self.nodes.subtree(node.id).count() - 1
    }

    /// All znodes as of now, for a snapshot. Later changes copy what they touch.
    pub fn freeze(&self) -> Frozen {
        Frozen::new(self)
    }

    /// Adds a znode whose parent is there (or the root), and files it under its owner.
    fn insert(&mut self, path: &str, data: Option<Box<[u8]>>, acl: u32, stat: StatPersisted) -> NodeId {
        let content_crc = digest::content_crc(path, data.as_deref());
        self.digest = self.digest.wrapping_add(digest::node_digest(path, content_crc, &stat));
        self.data_bytes += path.len() as u64 + data.as_ref().map_or(0, |data| data.len() as u64);
        let id = self.nodes.insert(path, data, acl, stat, content_crc);
        match Owner::of(stat.ephemeral_owner, self.extended_types) {
            Owner::None => {}
            Owner::Container => drop(self.containers.insert(id)),
            Owner::Ttl(_) => drop(self.ttls.insert(id)),
            Owner::Session(session) => drop(self.ephemerals.entry(session).or_default().insert(id)),
        }
        id
    }

    /// Takes a znode out, and out of its owner's list.
    fn remove(&mut self, id: NodeId) -> Node {
        let node = self.nodes.remove(id);
        self.digest = self.digest.wrapping_sub(digest::node_digest(&node.path, node.content_crc, &node.stat));
        self.data_bytes -= node.path.len() as u64 + node.data.as_ref().map_or(0, |data| data.len() as u64);
        match Owner::of(node.stat.ephemeral_owner, self.extended_types) {
            Owner::None => {}
            Owner::Container => drop(self.containers.remove(&id)),
            Owner::Ttl(_) => drop(self.ttls.remove(&id)),
            Owner::Session(session) => {
                if let Some(ids) = self.ephemerals.get_mut(&session) {
                    ids.remove(&id);
                    if ids.is_empty() {
                        self.ephemerals.remove(&session);
                    }
                }
            }
        }
        node
    }

    /// Changes a znode's stat, and the digest with it.
    fn update_stat(&mut self, id: NodeId, change: impl FnOnce(&mut StatPersisted)) {
        let node = self.nodes.get_mut(id);
        let before = digest::node_digest(&node.path, node.content_crc, &node.stat);
        change(&mut node.stat);
        let after = digest::node_digest(&node.path, node.content_crc, &node.stat);
        self.digest = self.digest.wrapping_sub(before).wrapping_add(after);
    }

    /// Replaces a znode's data, and the digest with it.
    fn update_data(&mut self, id: NodeId, data: Option<Box<[u8]>>) {
        let node = self.nodes.get_mut(id);
        let before = digest::node_digest(&node.path, node.content_crc, &node.stat);
        self.data_bytes -= node.data.as_ref().map_or(0, |data| data.len() as u64);
        self.data_bytes += data.as_ref().map_or(0, |data| data.len() as u64);
        node.content_crc = digest::content_crc(&node.path, data.as_deref());
        node.data = data;
        let after = digest::node_digest(&node.path, node.content_crc, &node.stat);
        self.digest = self.digest.wrapping_sub(before).wrapping_add(after);
    }
}

impl<'a> NodeRef<'a> {
    fn node(self) -> &'a Node {
        &self.tree.nodes[self.id]
    }

    /// The znode's path.
    pub fn path(self) -> &'a str {
        &self.node().path
    }

    /// The znode's data.
    pub fn data(self) -> Option<&'a [u8]> {
        self.node().data.as_deref()
    }

    /// Its permissions.
    pub fn acls(self) -> &'a Acls {
        self.tree.acls.get(self.node().acl)
    }

    /// Number of its children.
    pub fn children_count(self) -> u32 {
        self.node().children
    }

    /// CRC of path and data, see [`crate::digest`].
    pub fn content_crc(self) -> u32 {
        self.node().content_crc
    }

    /// The names of its children, in no particular order.
    pub fn children(self) -> impl Iterator<Item = &'a str> {
        let nodes = &self.tree.nodes;
        nodes.children(self.id).map(move |id| {
            let path = &nodes[id].path;
            path.rsplit_once('/').map_or(&**path, |(_, name)| name)
        })
    }

    /// What transactions set.
    pub fn stat_persisted(self) -> &'a StatPersisted {
        &self.node().stat
    }

    /// What clients see.
    pub fn stat(self) -> Stat {
        let node = self.node();
        let StatPersisted { czxid, mzxid, ctime, mtime, version, cversion, aversion, ephemeral_owner, pzxid } =
            node.stat;
        let num_children = node.children as i32;
        // Clients see sessions only, not the encodings of containers and TTL nodes.
        let ephemeral_owner = match Owner::of(ephemeral_owner, self.tree.extended_types) {
            Owner::Session(session_id) => session_id,
            Owner::None | Owner::Container | Owner::Ttl(_) => 0,
        };
        Stat {
            czxid,
            mzxid,
            ctime,
            mtime,
            version,
            cversion: cversion.wrapping_mul(2).wrapping_sub(num_children),
            aversion,
            ephemeral_owner,
            data_length: node.data.as_ref().map_or(0, |data| data.len() as i32),
            num_children,
            pzxid,
        }
    }
}

#[cfg(test)]
mod tests;
