//! Transactions (`zookeeper.jute`, module `txn`): what a write request becomes, what is logged, and what is applied.
//!
//! A transaction is idempotent: it holds results (a sequential znode's full path, a new version), never questions, so that applying
//! it to a tree that has it already changes nothing.

use crate::acl::{Acls, read_acls, write_acls};
use crate::jute::{JuteError, Reader, Result, Write, length_as_int};
use crate::proto::op;

/// Who wrote a transaction, which one it is, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TxnHeader {
    /// The session that asked for it.
    pub client_id: i64,
    /// The client's number of the request.
    pub cxid: i32,
    /// The transaction's number: epoch in the upper 32 bits, a counter in the lower.
    pub zxid: i64,
    /// Time of the request, ms since 1970.
    pub time_ms: i64,
}

/// Forms of a create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreateKind {
    /// Persistent or ephemeral, by `create`.
    Plain,
    /// Persistent or ephemeral, by `create2`, which answers with the stat.
    Plain2,
    /// A container: removed by the server once its last child is gone.
    Container,
    /// Removed by the server when unchanged for this long and without children, in ms.
    Ttl(i64),
}

/// A create's result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateTxn {
    /// Which form.
    pub kind: CreateKind,
    /// The znode, with its sequence number.
    pub path: Box<str>,
    /// Its data.
    pub data: Option<Box<[u8]>>,
    /// Its permissions.
    pub acl: Acls,
    /// Whether the session owns it.
    pub ephemeral: bool,
    /// The parent's new child version; -1 in logs of ZooKeeper before 3.4.
    pub parent_cversion: i32,
}

/// A transaction's body.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Txn {
    Create(CreateTxn),
    /// `container`: by the server, for a container or a TTL node.
    Delete {
        path: Box<str>,
        container: bool,
    },
    SetData {
        path: Box<str>,
        data: Option<Box<[u8]>>,
        version: i32,
    },
    /// The new configuration of an ensemble, as data of `/zookeeper/config`.
    Reconfig {
        path: Box<str>,
        data: Option<Box<[u8]>>,
        version: i32,
    },
    SetAcl {
        path: Box<str>,
        acl: Acls,
        version: i32,
    },
    Check {
        path: Box<str>,
        version: i32,
    },
    CreateSession {
        timeout_ms: i32,
    },
    /// The ephemerals that go with the session; `None` in logs that do not name them.
    CloseSession {
        paths: Option<Vec<Box<str>>>,
    },
    /// The request failed with this [`Code`](crate::proto::Code).
    Error(i32),
    /// All or nothing: if one is an `Error`, none is applied.
    Multi(Vec<Txn>),
}

impl Txn {
    /// The type in the transaction's header.
    pub fn op(&self) -> i32 {
        match self {
            Txn::Create(create) => match create.kind {
                CreateKind::Plain => op::CREATE,
                CreateKind::Plain2 => op::CREATE2,
                CreateKind::Container => op::CREATE_CONTAINER,
                CreateKind::Ttl(_) => op::CREATE_TTL,
            },
            Txn::Delete { container: false, .. } => op::DELETE,
            Txn::Delete { container: true, .. } => op::DELETE_CONTAINER,
            Txn::SetData { .. } => op::SET_DATA,
            Txn::Reconfig { .. } => op::RECONFIG,
            Txn::SetAcl { .. } => op::SET_ACL,
            Txn::Check { .. } => op::CHECK,
            Txn::CreateSession { .. } => op::CREATE_SESSION,
            Txn::CloseSession { .. } => op::CLOSE_SESSION,
            Txn::Error(_) => op::ERROR,
            Txn::Multi(_) => op::MULTI,
        }
    }

    /// About how long the body is: what a client decides about it is in this.
    pub fn approximate_bytes(&self) -> usize {
        let acl_bytes =
            |acl: &Acls| acl.iter().map(|acl| acl.id.scheme.len() + acl.id.id.len() + 12).sum::<usize>();
        32 + match self {
            Txn::Create(CreateTxn { path, data, acl, .. }) => {
                path.len() + data.as_ref().map_or(0, |data| data.len()) + acl_bytes(acl)
            }
            Txn::SetData { path, data, .. } | Txn::Reconfig { path, data, .. } => {
                path.len() + data.as_ref().map_or(0, |data| data.len())
            }
            Txn::SetAcl { path, acl, .. } => path.len() + acl_bytes(acl),
            Txn::Delete { path, .. } | Txn::Check { path, .. } => path.len(),
            Txn::CloseSession { paths } => paths.iter().flatten().map(|path| path.len() + 4).sum(),
            Txn::Multi(parts) => parts.iter().map(Txn::approximate_bytes).sum(),
            Txn::CreateSession { .. } | Txn::Error(_) => 0,
        }
    }

    /// Writes the body.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Txn::Create(create) => {
                out.string(&create.path);
                out.buffer(create.data.as_deref());
                write_acls(&create.acl, out);
                if matches!(create.kind, CreateKind::Plain | CreateKind::Plain2) {
                    out.boolean(create.ephemeral);
                }
                out.int(create.parent_cversion);
                if let CreateKind::Ttl(ttl_ms) = create.kind {
                    out.long(ttl_ms);
                }
            }
            Txn::Delete { path, .. } => out.string(path),
            Txn::SetData { path, data, version } | Txn::Reconfig { path, data, version } => {
                out.string(path);
                out.buffer(data.as_deref());
                out.int(*version);
            }
            Txn::SetAcl { path, acl, version } => {
                out.string(path);
                write_acls(acl, out);
                out.int(*version);
            }
            Txn::Check { path, version } => {
                out.string(path);
                out.int(*version);
            }
            Txn::CreateSession { timeout_ms } => out.int(*timeout_ms),
            Txn::CloseSession { paths } => {
                if let Some(paths) = paths {
                    out.int(length_as_int(paths.len()));
                    for path in paths {
                        out.string(path);
                    }
                }
            }
            Txn::Error(code) => out.int(*code),
            Txn::Multi(parts) => {
                out.int(length_as_int(parts.len()));
                for part in parts {
                    out.int(part.op());
                    let start = out.len();
                    out.int(0);
                    part.write(out);
                    let length = length_as_int(out.len() - start - 4);
                    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
                }
            }
        }
    }

    /// Reads a body of type `op`.
    pub fn read(op: i32, reader: &mut Reader) -> Result<Txn> {
        let kind = match op {
            op::CREATE => Some(CreateKind::Plain),
            op::CREATE2 => Some(CreateKind::Plain2),
            op::CREATE_CONTAINER => Some(CreateKind::Container),
            op::CREATE_TTL => Some(CreateKind::Ttl(0)),
            _ => None,
        };
        if let Some(kind) = kind {
            return read_create(kind, reader).map(Txn::Create);
        }
        Ok(match op {
            op::DELETE | op::DELETE_CONTAINER => {
                Txn::Delete { path: reader.string()?.into(), container: op == op::DELETE_CONTAINER }
            }
            op::SET_DATA => Txn::SetData {
                path: reader.string()?.into(),
                data: reader.buffer()?.map(Box::from),
                version: reader.int()?,
            },
            op::RECONFIG => Txn::Reconfig {
                path: reader.string()?.into(),
                data: reader.buffer()?.map(Box::from),
                version: reader.int()?,
            },
            op::SET_ACL => {
                Txn::SetAcl { path: reader.string()?.into(), acl: read_acls(reader)?, version: reader.int()? }
            }
            op::CHECK => Txn::Check { path: reader.string()?.into(), version: reader.int()? },
            op::CREATE_SESSION => Txn::CreateSession { timeout_ms: reader.int()? },
            op::CLOSE_SESSION if reader.is_empty() => Txn::CloseSession { paths: None },
            op::CLOSE_SESSION => {
                Txn::CloseSession { paths: Some(reader.strings()?.into_iter().map(Box::from).collect()) }
            }
            op::ERROR => Txn::Error(reader.int()?),
            op::MULTI => {
                let count = reader.vector()?.unwrap_or(0);
                let mut parts = Vec::new();
                for _ in 0..count {
                    let op = reader.int()?;
                    if op == op::MULTI {
                        return Err(JuteError::Value {
                            what: "type in a multi",
                            value: op.into(),
                            at: reader.position(),
                        });
                    }
                    let body = reader.buffer()?.unwrap_or_default();
                    parts.push(Txn::read(op, &mut Reader::new(body))?);
                }
                Txn::Multi(parts)
            }
            _ => {
                return Err(JuteError::Value {
                    what: "transaction type",
                    value: op.into(),
                    at: reader.position(),
                });
            }
        })
    }
}

fn read_create(kind: CreateKind, reader: &mut Reader) -> Result<CreateTxn> {
    let path = reader.string()?.into();
    let data = reader.buffer()?.map(Box::from);
    let acl = read_acls(reader)?;
    let plain = matches!(kind, CreateKind::Plain | CreateKind::Plain2);
    let ephemeral = plain && reader.boolean()?;
    // ZooKeeper 3.3 wrote no child version (`CreateTxnV0`).
    let parent_cversion = if plain && reader.rest().len() < 4 { -1 } else { reader.int()? };
    let kind = if let CreateKind::Ttl(_) = kind { CreateKind::Ttl(reader.long()?) } else { kind };
    Ok(CreateTxn { kind, path, data, acl, ephemeral, parent_cversion })
}

/// The digest of the tree after a transaction, as ZooKeeper logs it behind the transaction's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TxnDigest {
    /// Version of the digest's definition: 2.
    pub version: i32,
    /// Sum over all znodes, see [`crate::digest`].
    pub tree_digest: i64,
}

/// A transaction as logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedTxn {
    /// Who, which, when.
    pub header: TxnHeader,
    /// What.
    pub txn: Txn,
    /// The tree's digest after it; absent in logs of ZooKeeper before 3.6.
    pub digest: Option<TxnDigest>,
}

impl LoggedTxn {
    /// Writes header, body and digest.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.long(self.header.client_id);
        out.int(self.header.cxid);
        out.long(self.header.zxid);
        out.long(self.header.time_ms);
        out.int(self.txn.op());
        self.txn.write(out);
        if let Some(digest) = self.digest {
            out.int(digest.version);
            out.long(digest.tree_digest);
        }
    }

    /// Reads header, body and, if there is one, digest.
    ///
    /// A `closeSession` without paths cannot be told from one with paths by its type. Without paths, nothing follows or a digest: 12
    /// bytes that begin with its version, where two paths would take more.
    pub fn read(bytes: &[u8]) -> Result<LoggedTxn> {
        let mut reader = Reader::new(bytes);
        let header = TxnHeader {
            client_id: reader.long()?,
            cxid: reader.int()?,
            zxid: reader.long()?,
            time_ms: reader.long()?,
        };
        let op = reader.int()?;
        let without_paths =
            |rest: &[u8]| rest.is_empty() || rest.len() == 12 && rest.starts_with(&2i32.to_be_bytes());
        let txn = if op == op::CLOSE_SESSION && without_paths(reader.rest()) {
            Txn::CloseSession { paths: None }
        } else {
            Txn::read(op, &mut reader)?
        };
        let digest = match reader.is_empty() {
            true => None,
            false => Some(TxnDigest { version: reader.int()?, tree_digest: reader.long()? }),
        };
        Ok(LoggedTxn { header, txn, digest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acl::OPEN_ACL_UNSAFE;

    #[test]
    fn transactions_come_back_as_written() {
        let create = |kind, ephemeral| {
            Txn::Create(CreateTxn {
                kind,
                path: "/a".into(),
                data: Some(Box::from(&b"x"[..])),
                acl: OPEN_ACL_UNSAFE.clone(),
                ephemeral,
                parent_cversion: 3,
            })
        };
        let bodies = [
            create(CreateKind::Plain, true),
            create(CreateKind::Plain2, false),
            create(CreateKind::Container, false),
            create(CreateKind::Ttl(1000), false),
            Txn::Delete { path: "/a".into(), container: true },
            Txn::SetData { path: "/a".into(), data: None, version: 4 },
            Txn::SetAcl { path: "/a".into(), acl: OPEN_ACL_UNSAFE.clone(), version: 1 },
            Txn::CreateSession { timeout_ms: 4000 },
            Txn::CloseSession { paths: None },
            Txn::CloseSession { paths: Some(vec!["/e".into(), "/f".into()]) },
            Txn::CloseSession { paths: Some(vec![]) },
            Txn::Error(-101),
            Txn::Multi(vec![
                Txn::Check { path: "/a".into(), version: 2 },
                create(CreateKind::Plain, false),
                Txn::Error(-2),
            ]),
        ];
        let header = TxnHeader { client_id: 1, cxid: 2, zxid: 3, time_ms: 4 };
        for digest in [None, Some(TxnDigest { version: 2, tree_digest: 99 })] {
            for txn in &bodies {
                let logged = LoggedTxn { header, txn: txn.clone(), digest };
                let mut bytes = Vec::new();
                logged.write(&mut bytes);
                assert_eq!(LoggedTxn::read(&bytes).unwrap(), logged);
            }
        }
    }
}
