//! From a request to a transaction, as ZooKeeper's `PrepRequestProcessor`.
//!
//! A request is judged against the tree as it will be once all transactions before it are applied: the tree, overlaid with
//! the changes that are outstanding. Every write request takes a zxid and becomes a transaction, one that fails an error transaction.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::access::Access;
use crate::acl::{Acls, Id, perms};
use crate::digest;
use crate::owner::{self, Owner};
use crate::path;
use crate::proto::{Code, CreateMode, CreateRequest, Request, StatPersisted, op};
use crate::tree::Tree;
use crate::txn::{CreateKind, CreateTxn, Txn, TxnDigest, TxnHeader};

/// A longer transaction is refused (`BadArguments`): the log takes none of twice the length. A request may become a longer transaction, as
/// `auth` in its lists of permissions stands for all that the client has proved to be.
const MAX_TXN_BYTES: usize = 128 << 20;
/// A session's end names its ephemerals if that takes no more than this: Apache ZooKeeper reads no much longer transaction.
const MAX_NAMED_BYTES: usize = 1_000_000;

/// A znode as it will be.
#[derive(Debug, Clone)]
struct Pending {
    zxid: i64,
    /// `None`: it will be gone.
    node: Option<PendingNode>,
}

#[derive(Debug, Clone)]
struct PendingNode {
    stat: StatPersisted,
    children: u32,
    acls: Acls,
    data_bytes: i64,
    content_crc: u32,
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Requester<'a> {
    /// The session.
    pub session_id: i64,
    /// Whom the connection has proved to be.
    pub ids: &'a [Id],
}

/// Settings that decide what is a valid request.
#[derive(Debug, Clone, Default)]
pub struct PrepOptions {
    /// Whether hard quotas refuse (`enforceQuota`).
    pub enforce_quota: bool,
    /// Whether `reconfig` is enabled; a standalone server answers that it cannot.
    pub reconfig_enabled: bool,
    /// Whether transactions carry the tree's digest (`digest.enabled`).
    pub digest: bool,
    /// Whether `closeSession` names the ephemerals that go (`closeSessionTxn.enabled`).
    pub close_session_paths: bool,
}

/// The outstanding changes and the last zxid. See the module's page.
#[derive(Debug)]
pub(super) struct Prep {
    changes: HashMap<Arc<str>, Pending>,
    queue: VecDeque<(i64, Arc<str>)>,
    /// What the changes of a multi replaced, to take them back.
    journal: Option<Vec<(Arc<str>, Option<Pending>)>>,
    last_zxid: i64,
    digest: i64,
    options: PrepOptions,
    /// How many changes were outstanding so far, and how many of them are not any more.
    pub(super) counts: (u64, u64),
}

impl Prep {
    /// Nothing outstanding over this tree.
    pub(super) fn new(tree: &Tree, options: PrepOptions) -> Self {
        Prep {
            changes: HashMap::new(),
            queue: VecDeque::new(),
            journal: None,
            last_zxid: tree.last_zxid(),
            digest: tree.digest(),
            options,
            counts: (0, 0),
        }
    }

    /// The zxid given out last.
    pub(super) fn last_zxid(&self) -> i64 {
        self.last_zxid
    }

    /// The next zxid is above `zxid`.
    pub(super) fn skip_to(&mut self, zxid: i64) {
        self.last_zxid = self.last_zxid.max(zxid);
    }

    /// The next transaction's header.
    pub(super) fn next_header(&mut self, client_id: i64, cxid: i32, time_ms: i64) -> TxnHeader {
        self.last_zxid += 1;
        TxnHeader { client_id, cxid, zxid: self.last_zxid, time_ms }
    }

    /// The digest of the tree once all that is outstanding is applied.
    pub(super) fn digest(&self) -> Option<TxnDigest> {
        self.options.digest.then_some(TxnDigest { version: digest::VERSION, tree_digest: self.digest })
    }

    /// All transactions up to `zxid` have been applied to the tree.
    pub(super) fn applied(&mut self, zxid: i64) {
        while self.queue.front().is_some_and(|(of, _)| *of <= zxid) {
            self.counts.1 += 1;
            if let Some((of, path)) = self.queue.pop_front()
                && self.changes.get(&path).is_some_and(|pending| pending.zxid == of)
            {
                self.changes.remove(&path);
            }
        }
    }

    /// Turns a write request into a transaction.
    pub(super) fn prepare(
        &mut self,
        tree: &Tree,
        access: &Access,
        who: Requester,
        header: &TxnHeader,
        request: &Request,
    ) -> Result<Txn, Code> {
        match request {
            Request::Multi(parts) => self.multi(tree, access, who, header, parts),
            request => self.one(tree, access, who, header, request),
        }
    }

    fn multi(
        &mut self,
        tree: &Tree,
        access: &Access,
        who: Requester,
        header: &TxnHeader,
        parts: &[Request],
    ) -> Result<Txn, Code> {
        let (queued, digest) = (self.queue.len(), self.digest);
        self.journal = Some(Vec::new());
        let mut failed = false;
        let mut bytes = 0;
        let txns = parts
            .iter()
            .map(|part| {
                if failed || bytes > MAX_TXN_BYTES {
                    return Txn::Error(Code::RuntimeInconsistency as i32);
                }
                let txn = self.one(tree, access, who, header, part).unwrap_or_else(|code| {
                    failed = true;
                    Txn::Error(code as i32)
                });
                bytes += txn.approximate_bytes();
                txn
            })
            .collect();
        let journal = self.journal.take().unwrap_or_default();
        if failed || bytes > MAX_TXN_BYTES {
            self.queue.truncate(queued);
            self.digest = digest;
            for (path, before) in journal.into_iter().rev() {
                match before {
                    Some(before) => drop(self.changes.insert(path, before)),
                    None => drop(self.changes.remove(&path)),
                }
            }
        }
        if bytes > MAX_TXN_BYTES { Err(Code::BadArguments) } else { Ok(Txn::Multi(txns)) }
    }

    fn one(
        &mut self,
        tree: &Tree,
        access: &Access,
        who: Requester,
        header: &TxnHeader,
        request: &Request,
    ) -> Result<Txn, Code> {
        match request {
            Request::Create(create) => self.create(tree, access, who, header, create),
            Request::Delete { path, version } => {
                let parent_path = parent_of_deletable(path)?;
                let parent = self.find(tree, parent_path)?;
                access.check(&parent.acls, perms::DELETE, who.ids)?;
                let node = self.find(tree, path)?;
                next_version(node.stat.version, *version)?;
                if node.children > 0 {
                    return Err(Code::NotEmpty);
                }
                self.delete(tree, header.zxid, parent_path, path)?;
                Ok(Txn::Delete { path: (**path).into(), container: false })
            }
            Request::DeleteContainer { path } => {
                let parent_path = parent_of_deletable(path)?;
                // Apache lets any client do this; here it takes the right to delete.
                access.check(&self.find(tree, parent_path)?.acls, perms::DELETE, who.ids)?;
                let node = self.find(tree, path)?;
                if node.children > 0 {
                    return Err(Code::NotEmpty);
                }
                let owner = Owner::of(node.stat.ephemeral_owner, tree.extended_types());
                if matches!(owner, Owner::Session(_)) {
                    return Err(Code::BadVersion);
                }
                self.delete(tree, header.zxid, parent_path, path)?;
                Ok(Txn::Delete { path: (**path).into(), container: true })
            }
            Request::SetData { path, data, version } => {
                let mut node = self.find_valid(tree, path)?;
                access.check(&node.acls, perms::WRITE, who.ids)?;
                let bytes = data.map_or(0, |data| data.len() as i64);
                if self.options.enforce_quota {
                    tree.check_quota(path, bytes - node.data_bytes, 0)?;
                }
                let version = next_version(node.stat.version, *version)?;
                let before = node_digest(path, &node);
                node.stat.version = version;
                node.stat.mtime = header.time_ms;
                node.stat.mzxid = header.zxid;
                node.data_bytes = bytes;
                node.content_crc = digest::content_crc(path, *data);
                self.record(header.zxid, path, before, Some(node));
                Ok(Txn::SetData { path: (**path).into(), data: data.map(Box::from), version })
            }
            Request::SetAcl { path, acl, version } => {
                if !path::is_valid(path) {
                    return Err(Code::BadArguments);
                }
                let acls = access.fixup(acl, who.ids)?;
                let mut node = self.find(tree, path)?;
                access.check(&node.acls, perms::ADMIN, who.ids)?;
                let version = next_version(node.stat.aversion, *version)?;
                let before = node_digest(path, &node);
                node.stat.aversion = version;
                node.acls = acls.clone();
                self.record(header.zxid, path, before, Some(node));
                Ok(Txn::SetAcl { path: (**path).into(), acl: acls, version })
            }
            Request::Check { path, version } => {
                let node = self.find_valid(tree, path)?;
                access.check(&node.acls, perms::READ, who.ids)?;
                let version = next_version(node.stat.version, *version)?;
                Ok(Txn::Check { path: (**path).into(), version })
            }
            Request::Reconfig if !self.options.reconfig_enabled => Err(Code::ReconfigDisabled),
            Request::Reconfig => Err(Code::Unimplemented),
            // Not a write, or a multi within a multi, which the decoder refuses.
            _ => Err(Code::MarshallingError),
        }
    }

    fn create(
        &mut self,
        tree: &Tree,
        access: &Access,
        who: Requester,
        header: &TxnHeader,
        create: &CreateRequest,
    ) -> Result<Txn, Code> {
        let mode = CreateMode::from_flags(create.flags).ok_or(Code::BadArguments)?;
        if mode.ttl && !tree.extended_types() {
            return Err(Code::Unimplemented);
        }
        let ttl_owner = Owner::encode_ttl(create.ttl_ms);
        if mode.ttl != ttl_owner.is_some() && (mode.ttl || create.ttl_ms >= 0) {
            return Err(Code::BadArguments);
        }
        let asked = &*create.path;
        let (parent_path, _) =
            path::split(asked).filter(|_| !asked.contains('\0')).ok_or(Code::BadArguments)?;
        let acl = access.fixup(&create.acl, who.ids)?;
        let mut parent = self.find(tree, parent_path)?;
        access.check(&parent.acls, perms::CREATE, who.ids)?;
        let path = match mode.sequential {
            true => format!("{asked}{:010}", parent.stat.cversion).into(),
            false => create.path.clone(),
        };
        if !path::is_valid(&path) {
            return Err(Code::BadArguments);
        }
        if self.find(tree, &path).is_ok() {
            return Err(Code::NodeExists);
        }
        if matches!(Owner::of(parent.stat.ephemeral_owner, tree.extended_types()), Owner::Session(_)) {
            return Err(Code::NoChildrenForEphemerals);
        }
        let data_bytes = create.data.map_or(0, |data| data.len() as i64);
        if self.options.enforce_quota {
            tree.check_quota(&path, data_bytes, 1)?;
        }
        let (kind, ephemeral_owner) = match create.op {
            op::CREATE_CONTAINER => (CreateKind::Container, owner::CONTAINER),
            op::CREATE_TTL => (CreateKind::Ttl(create.ttl_ms), ttl_owner.ok_or(Code::BadArguments)?),
            op::CREATE2 => (CreateKind::Plain2, if mode.ephemeral { who.session_id } else { 0 }),
            _ => (CreateKind::Plain, if mode.ephemeral { who.session_id } else { 0 }),
        };
        let before = node_digest(parent_path, &parent);
        let parent_cversion = parent.stat.cversion.wrapping_add(1);
        parent.stat.cversion = parent_cversion;
        parent.stat.pzxid = header.zxid;
        parent.children += 1;
        self.record(header.zxid, parent_path, before, Some(parent));
        let stat = StatPersisted {
            czxid: header.zxid,
            mzxid: header.zxid,
            pzxid: header.zxid,
            ctime: header.time_ms,
            mtime: header.time_ms,
            ephemeral_owner,
            ..Default::default()
        };
        let content_crc = digest::content_crc(&path, create.data);
        let node = PendingNode { stat, children: 0, acls: acl.clone(), data_bytes, content_crc };
        self.record(header.zxid, &path, 0, Some(node));
        Ok(Txn::Create(CreateTxn {
            kind,
            path: path.into(),
            data: create.data.map(Box::from),
            acl,
            ephemeral: mode.ephemeral,
            parent_cversion,
        }))
    }

    /// A session's end: its ephemerals go, those on the way included.
    pub(super) fn close_session(&mut self, tree: &Tree, header: &TxnHeader, session_id: i64) -> Txn {
        let mut paths: Vec<Arc<str>> = tree.ephemerals_of(session_id).into_iter().map(Arc::from).collect();
        let owned = |pending: &Pending| {
            pending.node.as_ref().is_some_and(|node| node.stat.ephemeral_owner == session_id)
        };
        paths.retain(|path| self.changes.get(path).is_none_or(owned));
        paths.extend(self.changes.iter().filter(|(_, pending)| owned(pending)).map(|(path, _)| path.clone()));
        paths.sort_unstable();
        paths.dedup();
        for path in &paths {
            if let Some((parent_path, _)) = path::split(path) {
                // Both were seen above; an ephemeral has no children.
                let _ = self.delete(tree, header.zxid, parent_path, path);
            }
        }
        let bytes: usize = paths.iter().map(|path| path.len() + 4).sum();
        let named = self.options.close_session_paths && bytes <= MAX_NAMED_BYTES;
        Txn::CloseSession { paths: named.then(|| paths.iter().map(|path| Box::from(&**path)).collect()) }
    }

    /// Records that `path` goes.
    fn delete(&mut self, tree: &Tree, zxid: i64, parent_path: &str, path: &str) -> Result<(), Code> {
        let mut parent = self.find(tree, parent_path)?;
        let node = self.find(tree, path)?;
        let before = node_digest(parent_path, &parent);
        parent.children -= 1;
        parent.stat.pzxid = zxid;
        self.record(zxid, parent_path, before, Some(parent));
        self.record(zxid, path, node_digest(path, &node), None);
        Ok(())
    }

    /// The znode as it will be.
    fn find(&self, tree: &Tree, path: &str) -> Result<PendingNode, Code> {
        let path = if path.is_empty() { "/" } else { path };
        if let Some(pending) = self.changes.get(path) {
            return pending.node.clone().ok_or(Code::NoNode);
        }
        let node = tree.get(path).ok_or(Code::NoNode)?;
        Ok(PendingNode {
            stat: *node.stat_persisted(),
            children: node.children_count(),
            acls: node.acls().clone(),
            data_bytes: node.data().map_or(0, |data| data.len() as i64),
            content_crc: node.content_crc(),
        })
    }

    fn find_valid(&self, tree: &Tree, path: &str) -> Result<PendingNode, Code> {
        match path::is_valid(path) {
            true => self.find(tree, path),
            false => Err(Code::BadArguments),
        }
    }

    fn record(&mut self, zxid: i64, path: &str, digest_before: i64, node: Option<PendingNode>) {
        let path: Arc<str> = if path.is_empty() { "/".into() } else { path.into() };
        let digest_after = node.as_ref().map_or(0, |node| node_digest(&path, node));
        self.digest = self.digest.wrapping_sub(digest_before).wrapping_add(digest_after);
        let before = self.changes.insert(path.clone(), Pending { zxid, node });
        if let Some(journal) = &mut self.journal {
            journal.push((path.clone(), before));
        }
        self.queue.push_back((zxid, path));
        self.counts.0 += 1;
    }
}

fn node_digest(path: &str, node: &PendingNode) -> i64 {
    digest::node_digest(path, node.content_crc, &node.stat)
}

/// The parent of a znode that a client may delete.
fn parent_of_deletable(path: &str) -> Result<&str, Code> {
    match path::split(path) {
        Some((parent, _)) if !path.contains('\0') && !is_special(path) => Ok(parent),
        _ => Err(Code::BadArguments),
    }
}

fn is_special(path: &str) -> bool {
    matches!(path, "/" | "/zookeeper" | "/zookeeper/quota" | "/zookeeper/config")
}

/// The version behind one that must be `expected` (-1: any). It is never -1, which no client could then expect (ZOOKEEPER-4743).
fn next_version(current: i32, expected: i32) -> Result<i32, Code> {
    if expected != -1 && expected != current {
        return Err(Code::BadVersion);
    }
    match current.wrapping_add(1) {
        -1 => Ok(0),
        next => Ok(next),
    }
}
