//! The znodes themselves: a slab of pages, an index by path, and children as lists that run through the znodes.
//!
//! Pages are shared with frozen trees and copied when first written to after a freeze. A znode costs its path, its data and about 130
//! bytes; a parent of a million children has no table of its own.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::proto::StatPersisted;

/// Znodes a page. A first write after a freeze copies this many. With its counts a page just fits a size class of the allocator.
const PAGE_NODES: usize = 34;
const _: () = assert!(size_of::<Page>() + 2 * size_of::<usize>() <= 4096);

/// A place in the slab.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct NodeId(u32);

impl NodeId {
    /// No znode.
    pub(super) const NONE: NodeId = NodeId(u32::MAX);

    fn some(self) -> Option<NodeId> {
        (self != NodeId::NONE).then_some(self)
    }
}

/// A znode. The lists of siblings are doubly linked; `next` also links free places.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) path: Box<str>,
    pub(super) data: Option<Box<[u8]>>,
    pub(super) stat: StatPersisted,
    pub(super) acl: u32,
    pub(super) content_crc: u32,
    pub(super) children: u32,
    pub(super) parent: NodeId,
    first_child: NodeId,
    next: NodeId,
    previous: NodeId,
}

impl Default for Node {
    fn default() -> Self {
        Node {
            path: Box::default(),
            data: None,
            stat: StatPersisted::default(),
            acl: 0,
            content_crc: 0,
            children: 0,
            parent: NodeId::NONE,
            first_child: NodeId::NONE,
            next: NodeId::NONE,
            previous: NodeId::NONE,
        }
    }
}

/// Consecutive places of the slab.
pub(super) type Page = [Node; PAGE_NODES];

/// The slab. Cloning it shares all pages.
#[derive(Debug, Clone, Default)]
pub(super) struct Slab {
    pages: Vec<Arc<Page>>,
}

impl std::ops::Index<NodeId> for Slab {
    type Output = Node;

    fn index(&self, id: NodeId) -> &Node {
        &self.pages[id.0 as usize / PAGE_NODES][id.0 as usize % PAGE_NODES]
    }
}

impl Slab {
    fn get_mut(&mut self, id: NodeId) -> &mut Node {
        &mut Arc::make_mut(&mut self.pages[id.0 as usize / PAGE_NODES])[id.0 as usize % PAGE_NODES]
    }

    /// The znode and all below it, parents before their children.
    pub(super) fn subtree(&self, root: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        let mut upcoming = Some(root);
        std::iter::from_fn(move || {
            let id = upcoming?;
            upcoming = self[id].first_child.some().or_else(|| self.after_subtree(id, root));
            Some(id)
        })
    }

    /// The znode that follows on the whole subtree of `id`, within that of `root`.
    fn after_subtree(&self, mut id: NodeId, root: NodeId) -> Option<NodeId> {
        while id != root {
            match self[id].next.some() {
                Some(next) => return Some(next),
                None => id = self[id].parent,
            }
        }
        None
    }
}

/// All znodes.
#[derive(Debug)]
pub(super) struct Nodes {
    slab: Slab,
    index: HashTable<NodeId>,
    hasher: RandomState,
    /// Places that have never been used begin here.
    end: u32,
    free: NodeId,
}

impl Default for Nodes {
    fn default() -> Self {
        Nodes {
            slab: Slab::default(),
            index: HashTable::new(),
            hasher: RandomState::default(),
            end: 0,
            free: NodeId::NONE,
        }
    }
}

impl std::ops::Index<NodeId> for Nodes {
    type Output = Node;

    fn index(&self, id: NodeId) -> &Node {
        &self.slab[id]
    }
}

impl Nodes {
    /// The root is inserted first and never removed.
    pub(super) const ROOT: NodeId = NodeId(0);

    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    pub(super) fn slab(&self) -> &Slab {
        &self.slab
    }

    pub(super) fn find(&self, path: &str) -> Option<NodeId> {
        let path = if path.is_empty() { "/" } else { path };
        self.index.find(self.hasher.hash_one(path), |id| &*self.slab[*id].path == path).copied()
    }

    pub(super) fn get_mut(&mut self, id: NodeId) -> &mut Node {
        self.slab.get_mut(id)
    }

    /// Adds a znode below its parent, which must be there unless this is the root. The path must be new.
    pub(super) fn insert(
        &mut self,
        path: &str,
        data: Option<Box<[u8]>>,
        acl: u32,
        stat: StatPersisted,
        content_crc: u32,
    ) -> NodeId {
        let path: Box<str> = if path.is_empty() { "/".into() } else { path.into() };
        let parent = match path.rsplit_once('/') {
            Some((parent, name)) if !name.is_empty() => {
                self.find(parent).expect("the caller has seen the parent")
            }
            _ => NodeId::NONE,
        };
        let id = self.allocate();
        let mut next = NodeId::NONE;
        if parent != NodeId::NONE {
            let parent = self.slab.get_mut(parent);
            parent.children += 1;
            next = std::mem::replace(&mut parent.first_child, id);
        }
        if next != NodeId::NONE {
            self.slab.get_mut(next).previous = id;
        }
        let hash = self.hasher.hash_one(&*path);
        *self.slab.get_mut(id) = Node { path, data, stat, acl, content_crc, parent, next, ..Node::default() };
        let (slab, hasher) = (&self.slab, &self.hasher);
        self.index.insert_unique(hash, id, |id| hasher.hash_one(&*slab[*id].path));
        id
    }

    /// Takes out a znode that has no children.
    pub(super) fn remove(&mut self, id: NodeId) -> Node {
        let place = self.slab.get_mut(id);
        debug_assert_eq!(place.children, 0, "{} has children", place.path);
        let node = std::mem::take(place);
        place.next = self.free;
        self.free = id;
        let hash = self.hasher.hash_one(&*node.path);
        if let Ok(entry) = self.index.find_entry(hash, |other| *other == id) {
            entry.remove();
        }
        if node.next != NodeId::NONE {
            self.slab.get_mut(node.next).previous = node.previous;
        }
        if node.previous != NodeId::NONE {
            self.slab.get_mut(node.previous).next = node.next;
        }
        if node.parent != NodeId::NONE {
            let parent = self.slab.get_mut(node.parent);
            parent.children -= 1;
            if parent.first_child == id {
                parent.first_child = node.next;
            }
        }
        node
    }

    /// The children of a znode.
    pub(super) fn children(&self, id: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        std::iter::successors(self.slab[id].first_child.some(), |id| self.slab[*id].next.some())
    }

    /// The znode and all below it, parents before their children.
    pub(super) fn subtree(&self, root: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        self.slab.subtree(root)
    }

    fn allocate(&mut self) -> NodeId {
        if let Some(id) = self.free.some() {
            self.free = self.slab[id].next;
            return id;
        }
        let id = NodeId(self.end);
        assert!(id != NodeId::NONE, "a tree holds at most {} znodes", u32::MAX);
        self.end += 1;
        if id.0 as usize / PAGE_NODES == self.slab.pages.len() {
            self.slab.pages.push(Arc::new(std::array::from_fn(|_| Node::default())));
        }
        id
    }
}
