//! A tree as of one moment, which another thread writes to a snapshot while the tree goes on, and a tree made from a snapshot.

use std::collections::HashMap;

use super::acl_cache::{self, AclCache};
use super::nodes::{Nodes, Slab};
use super::{NodeRef, Tree};
use crate::acl::{Acls, OPEN_ACL_UNSAFE};
use crate::proto::StatPersisted;

/// All znodes as of one transaction.
#[derive(Debug, Clone)]
pub struct Frozen {
    slab: Slab,
    acls: AclCache,
    digest: i64,
    zxid: i64,
    len: usize,
}

impl Frozen {
    pub(super) fn new(tree: &Tree) -> Self {
        Frozen {
            slab: tree.nodes.slab().clone(),
            acls: tree.acls.clone(),
            digest: tree.digest,
            zxid: tree.last_zxid,
            len: tree.len(),
        }
    }

    /// The newest transaction in it.
    pub fn zxid(&self) -> i64 {
        self.zxid
    }

    /// Its digest.
    pub fn digest(&self) -> i64 {
        self.digest
    }

    /// Number of znodes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The lists of permissions and their numbers.
    pub fn acls(&self) -> impl Iterator<Item = (i64, &Acls)> {
        self.acls.iter()
    }

    /// All znodes, parents before children: path (empty for the root), data, number of the list of permissions, stat.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, Option<&[u8]>, i64, &StatPersisted)> {
        self.slab.subtree(Nodes::ROOT).map(|id| {
            let node = &self.slab[id];
            let path = if &*node.path == "/" { "" } else { &*node.path };
            (path, node.data.as_deref(), acl_cache::in_snapshot(node.acl), &node.stat)
        })
    }
}

/// Why a snapshot's contents are no tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// A znode comes before its parent, or without.
    #[error("znode {0:?} has no parent")]
    NoParent(String),
    /// A znode comes twice.
    #[error("znode {0:?} is there twice")]
    Twice(String),
    /// A znode's number of its list of permissions is not defined.
    #[error("znode {0:?} has an undefined access control list {1}")]
    NoAcl(String, i64),
    /// There is no root.
    #[error("there is no root znode")]
    NoRoot,
}

/// Makes a tree from what a snapshot holds.
#[derive(Debug)]
pub struct Loader {
    tree: Tree,
    acls: HashMap<i64, Acls>,
}

impl Loader {
    /// Begins with nothing.
    pub fn new(extended_types: bool) -> Self {
        let acls = HashMap::from([(-1, OPEN_ACL_UNSAFE.clone())]);
        Loader { tree: Tree::empty(extended_types), acls }
    }

    /// Defines a list of permissions.
    pub fn acl(&mut self, number: i64, acls: Acls) {
        self.acls.insert(number, acls);
    }

    /// Adds a znode; the root comes first, with the empty path.
    pub fn node(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl: i64,
        stat: StatPersisted,
    ) -> Result<(), LoadError> {
        let acls = self.acls.get(&acl).ok_or_else(|| LoadError::NoAcl(path.into(), acl))?;
        if self.tree.get(path).is_some() {
            return Err(LoadError::Twice(path.into()));
        }
        match path.rsplit_once('/') {
            Some((parent, name)) if !name.is_empty() && self.tree.get(parent).is_some() => {}
            None if path.is_empty() => {}
            _ => return Err(LoadError::NoParent(path.into())),
        }
        let acl = self.tree.acls.add(acls);
        self.tree.insert(if path.is_empty() { "/" } else { path }, data.map(Box::from), acl, stat);
        Ok(())
    }

    /// The tree, as of transaction `zxid`. Quotas are counted anew, as ZooKeeper does.
    pub fn finish(mut self, zxid: i64) -> Result<Tree, LoadError> {
        if self.tree.is_empty() {
            return Err(LoadError::NoRoot);
        }
        self.tree.last_zxid = zxid;
        self.tree.load_quotas();
        Ok(self.tree)
    }
}

impl<'a> NodeRef<'a> {
    /// The znode and all below it, parents first.
    pub fn subtree(self) -> impl Iterator<Item = NodeRef<'a>> {
        let tree = self.tree;
        tree.nodes.subtree(self.id).map(move |id| NodeRef { tree, id })
    }
}
