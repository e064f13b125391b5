//! Applying transactions, each idempotent: what is there already is left as the transaction would have left it.

use super::Tree;
use super::quota;
use crate::acl::Acls;
use crate::owner::{self, Owner};
use crate::proto::{Code, EventType, Stat, StatPersisted, op};
use crate::txn::{CreateKind, CreateTxn, Txn, TxnHeader};

/// What a transaction did to a znode, for those who watch it.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// What happened.
    pub event: EventType,
    /// The znode.
    pub path: &'a str,
    /// The znode's permissions: who may not read it is not told.
    pub acls: &'a Acls,
    /// Length of the data that was written to it.
    pub data_bytes: usize,
}

/// What came of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The transaction's type, which decides the form of the answer.
    pub op: i32,
    /// A [`Code`].
    pub err: i32,
    /// The znode that it was about.
    pub path: Option<Box<str>>,
    /// The znode's stat behind it.
    pub stat: Option<Stat>,
    /// The parts of a multi.
    pub parts: Vec<Applied>,
}

impl Applied {
    fn new(op: i32, result: Result<(Option<Box<str>>, Option<Stat>), Code>) -> Self {
        let (err, (path, stat)) = match result {
            Ok(found) => (0, found),
            Err(code) => (code as i32, (None, None)),
        };
        Applied { op, err, path, stat, parts: Vec::new() }
    }
}

impl Tree {
    /// Applies a transaction, and tells each change of a znode, in order.
    pub fn apply(&mut self, header: &TxnHeader, txn: Txn, mut changes: impl FnMut(Change)) -> Applied {
        let applied = match txn {
            Txn::Multi(parts) => self.apply_multi(header, parts, &mut changes),
            txn => self.apply_one(header, txn, &mut changes),
        };
        self.last_zxid = self.last_zxid.max(header.zxid);
        applied
    }

    fn apply_multi(
        &mut self,
        header: &TxnHeader,
        parts: Vec<Txn>,
        changes: &mut impl FnMut(Change),
    ) -> Applied {
        let failed_at = parts.iter().position(|part| matches!(part, Txn::Error(_)));
        let mut applied = Applied::new(op::MULTI, Ok((None, None)));
        for (at, part) in parts.into_iter().enumerate() {
            let part = match failed_at {
                Some(failed_at) if at < failed_at => Txn::Error(Code::Ok as i32),
                Some(failed_at) if at > failed_at => Txn::Error(Code::RuntimeInconsistency as i32),
                _ => part,
            };
            let part = self.apply_one(header, part, changes);
            if applied.err == 0 {
                applied.err = part.err;
            }
            applied.parts.push(part);
        }
        applied
    }

    fn apply_one(&mut self, header: &TxnHeader, txn: Txn, changes: &mut impl FnMut(Change)) -> Applied {
        let op = txn.op();
        let result = match txn {
            Txn::Create(create) => self.create(header, create, changes),
            Txn::Delete { path, .. } => self.delete(header.zxid, &path, changes).map(|()| (Some(path), None)),
            Txn::SetData { path, data, version } | Txn::Reconfig { path, data, version } => {
                self.set_data(header, &path, data, version, changes).map(|stat| (Some(path), Some(stat)))
            }
            Txn::SetAcl { path, acl, version } => {
                self.set_acl(&path, &acl, version).map(|stat| (Some(path), Some(stat)))
            }
            Txn::Check { path, .. } => Ok((Some(path), None)),
            Txn::CreateSession { .. } => Ok((None, None)),
            Txn::CloseSession { paths } => {
                self.close_session(header, paths.unwrap_or_default(), changes);
                Ok((None, None))
            }
            Txn::Error(err) => return Applied { err, ..Applied::new(op, Ok((None, None))) },
            // The decoder refuses a multi within a multi.
            Txn::Multi(_) => Err(Code::MarshallingError),
        };
        Applied::new(op, result)
    }

    fn create(
        &mut self,
        header: &TxnHeader,
        create: CreateTxn,
        changes: &mut impl FnMut(Change),
    ) -> Result<(Option<Box<str>>, Option<Stat>), Code> {
        let CreateTxn { kind, path, data, acl, ephemeral, parent_cversion } = create;
        let (parent_path, name) = path.rsplit_once('/').ok_or(Code::BadArguments)?;
        let parent = self.nodes.find(parent_path).ok_or(Code::NoNode)?;
        let parent_cversion = match parent_cversion {
            -1 => self.nodes[parent].stat.cversion.wrapping_add(1),
            version => version,
        };
        // Replaying over a fuzzy snapshot must not take the parent back.
        let advance = |stat: &mut StatPersisted| {
            if parent_cversion > stat.cversion {
                stat.cversion = parent_cversion;
                stat.pzxid = header.zxid;
            }
        };
        if let Some(existing) = self.nodes.find(&path) {
            let acl = self.acls.add(&acl);
            let before = std::mem::replace(&mut self.nodes.get_mut(existing).acl, acl);
            self.acls.remove(before);
            self.update_stat(parent, advance);
            return Err(Code::NodeExists);
        }
        let ephemeral_owner = match kind {
            CreateKind::Container => owner::CONTAINER,
            CreateKind::Ttl(ttl_ms) => Owner::encode_ttl(ttl_ms).ok_or(Code::BadArguments)?,
            CreateKind::Plain | CreateKind::Plain2 if ephemeral => header.client_id,
            CreateKind::Plain | CreateKind::Plain2 => 0,
        };
        let stat = StatPersisted {
            czxid: header.zxid,
            mzxid: header.zxid,
            ctime: header.time_ms,
            mtime: header.time_ms,
            pzxid: header.zxid,
            ephemeral_owner,
            ..Default::default()
        };
        self.update_stat(parent, advance);
        let bytes = data.as_ref().map_or(0, |data| data.len() as i64);
        let number = self.acls.add(&acl);
        let id = self.insert(&path, data, number, stat);
        self.quota_node_created(parent_path, name);
        self.count_for_quota(&path, bytes, 1);
        let data_bytes = bytes as usize;
        changes(Change { event: EventType::NodeCreated, path: &path, acls: &acl, data_bytes });
        changes(Change {
            event: EventType::NodeChildrenChanged,
            path: &self.nodes[parent].path,
            acls: self.acls.get(self.nodes[parent].acl),
            data_bytes: 0,
        });
        let stat = super::NodeRef { tree: self, id }.stat();
        Ok((Some(path), Some(stat)))
    }

    fn delete(&mut self, zxid: i64, path: &str, changes: &mut impl FnMut(Change)) -> Result<(), Code> {
        let (parent_path, name) = path.rsplit_once('/').ok_or(Code::BadArguments)?;
        let parent = self.nodes.find(parent_path).ok_or(Code::NoNode)?;
        self.update_stat(parent, |stat| stat.pzxid = stat.pzxid.max(zxid));
        let id = self.nodes.find(path).ok_or(Code::NoNode)?;
        if self.nodes[id].children > 0 {
            return Err(Code::NotEmpty);
        }
        let node = self.remove(id);
        let acls = self.acls.get(node.acl).clone();
        self.acls.remove(node.acl);
        if name == quota::LIMIT_NODE
            && let Some(limited) = quota::limited_path(parent_path)
        {
            self.quotas.remove(limited);
        }
        self.count_for_quota(path, -node.data.as_ref().map_or(0, |data| data.len() as i64), -1);
        changes(Change { event: EventType::NodeDeleted, path, acls: &acls, data_bytes: 0 });
        changes(Change {
            event: EventType::NodeChildrenChanged,
            path: &self.nodes[parent].path,
            acls: self.acls.get(self.nodes[parent].acl),
            data_bytes: 0,
        });
        Ok(())
    }

    fn set_data(
        &mut self,
        header: &TxnHeader,
        path: &str,
        data: Option<Box<[u8]>>,
        version: i32,
        changes: &mut impl FnMut(Change),
    ) -> Result<Stat, Code> {
        let id = self.nodes.find(path).ok_or(Code::NoNode)?;
        let length = |data: &Option<Box<[u8]>>| data.as_ref().map_or(0, |data| data.len() as i64);
        let data_bytes = length(&data);
        let more = data_bytes - length(&self.nodes[id].data);
        self.update_data(id, data);
        self.update_stat(id, |stat| {
            stat.mtime = header.time_ms;
            stat.mzxid = header.zxid;
            stat.version = version;
        });
        self.count_for_quota(path, more, 0);
        let node = super::NodeRef { tree: self, id };
        changes(Change {
            event: EventType::NodeDataChanged,
            path: node.path(),
            acls: node.acls(),
            data_bytes: data_bytes as usize,
        });
        Ok(node.stat())
    }

    fn set_acl(&mut self, path: &str, acl: &Acls, version: i32) -> Result<Stat, Code> {
        let id = self.nodes.find(path).ok_or(Code::NoNode)?;
        let number = self.acls.add(acl);
        let before = std::mem::replace(&mut self.nodes.get_mut(id).acl, number);
        self.acls.remove(before);
        self.update_stat(id, |stat| stat.aversion = version);
        Ok(super::NodeRef { tree: self, id }.stat())
    }

    /// Removes the znodes that the transaction names, then what the session owns besides (in logs that name none).
    fn close_session(&mut self, header: &TxnHeader, named: Vec<Box<str>>, changes: &mut impl FnMut(Change)) {
        for path in named {
            // A replay over a fuzzy snapshot may find it gone.
            let _ = self.delete(header.zxid, &path, changes);
        }
        let rest: Vec<Box<str>> = self.ephemerals_of(header.client_id).into_iter().map(Box::from).collect();
        for path in rest {
            let _ = self.delete(header.zxid, &path, changes);
        }
    }
}
