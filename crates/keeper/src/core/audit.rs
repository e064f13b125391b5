//! The audit log (`audit.enable`): who changed what, one line each under the target `audit`, with the operations and fields of ZooKeeper's
//! audit log.

use super::Connection;
use crate::access::user_of;
use crate::acl::{Acl, perms};
use crate::proto::{Code, CreateMode, Request, op};
use crate::tree::Applied;
use crate::txn::Txn;

/// What a line is about, taken down when it is asked for: also a write that is refused is told with its znode.
#[derive(Debug)]
pub(super) enum Audited {
    /// A write.
    One(Entry),
    /// The parts of a multi; `None`: a part that changes nothing.
    Multi(Vec<Option<Entry>>),
}

/// One operation.
#[derive(Debug)]
pub(super) struct Entry {
    operation: &'static str,
    znode: Option<Box<str>>,
    znode_type: Option<&'static str>,
    acl: Option<String>,
}

impl Entry {
    fn new(operation: &'static str, znode: &str) -> Entry {
        Entry { operation, znode: Some(znode.into()), znode_type: None, acl: None }
    }

    fn of(request: &Request) -> Option<Entry> {
        Some(match request {
            Request::Create(create) => {
                let znode_type = CreateMode::from_flags(create.flags).map(mode_name);
                Entry { znode_type, ..Entry::new("create", &create.path) }
            }
            Request::Delete { path, .. } | Request::DeleteContainer { path } => Entry::new("delete", path),
            Request::SetData { path, .. } => Entry::new("setData", path),
            Request::SetAcl { path, acl, .. } => {
                Entry { acl: Some(acls_text(acl)), ..Entry::new("setAcl", path) }
            }
            Request::Reconfig => Entry { operation: "reconfig", znode: None, znode_type: None, acl: None },
            _ => return None,
        })
    }

    /// An ephemeral that goes with its session.
    pub(super) fn of_ephemeral(path: &str) -> Entry {
        Entry::new("ephemeralZNodeDeletionOnSessionCloseOrExpire", path)
    }

    /// Writes the line. `znode`: as it came to be, where that is not as it was asked for.
    pub(super) fn write(
        &self,
        session_id: i64,
        connection: Option<&Connection>,
        znode: Option<&str>,
        err: i32,
    ) {
        let users: Vec<&str> = connection
            .map(|connection| connection.ids.iter().filter(|id| &*id.scheme != "ip").map(user_of).collect())
            .unwrap_or_default();
        let ip = connection.map(|connection| connection.peer.to_string()).unwrap_or_default();
        tracing::info!(
            target: "audit",
            session = format_args!("0x{session_id:x}"),
            user = %users.join(","),
            ip = %ip,
            operation = self.operation,
            znode = znode.or(self.znode.as_deref()),
            znode_type = self.znode_type,
            acl = self.acl.as_deref(),
            result = if err == 0 { "success" } else { "failure" },
            err,
        );
    }
}

impl Audited {
    /// A request of a client's; `None` for what is not audited.
    pub(super) fn of(request: &Request) -> Option<Audited> {
        match request {
            Request::Multi(parts) => Some(Audited::Multi(parts.iter().map(Entry::of).collect())),
            request => Entry::of(request).map(Audited::One),
        }
    }

    /// What the server does by itself.
    pub(super) fn of_server(txn: &Txn) -> Option<Audited> {
        match txn {
            Txn::Delete { path, .. } => Some(Audited::One(Entry::new("delete", path))),
            _ => None,
        }
    }

    /// Writes the lines: of a multi one for each change, or one that it failed.
    pub(super) fn write(&self, session_id: i64, connection: Option<&Connection>, applied: &Applied) {
        match self {
            Audited::One(entry) => {
                entry.write(session_id, connection, applied.path.as_deref(), applied.err);
            }
            Audited::Multi(entries) => match failure_of(applied) {
                Some(err) => {
                    let entry =
                        Entry { operation: "multiOperation", znode: None, znode_type: None, acl: None };
                    entry.write(session_id, connection, None, err);
                }
                None => {
                    for (entry, part) in entries.iter().zip(&applied.parts) {
                        if let Some(entry) = entry {
                            entry.write(session_id, connection, part.path.as_deref(), 0);
                        }
                    }
                }
            },
        }
    }
}

/// Why a multi failed: the error of the part that did, rather than that of the others, which are not done because of it.
fn failure_of(applied: &Applied) -> Option<i32> {
    if applied.op != op::MULTI {
        return Some(applied.err).filter(|err| *err != 0);
    }
    let failures = || applied.parts.iter().map(|part| part.err).filter(|err| *err != 0);
    failures().find(|err| *err != Code::RuntimeInconsistency as i32).or_else(|| failures().next())
}

/// A mode's name as ZooKeeper's audit log has it.
fn mode_name(mode: CreateMode) -> &'static str {
    match (mode.ephemeral, mode.sequential, mode.container, mode.ttl) {
        (true, false, ..) => "ephemeral",
        (true, true, ..) => "ephemeral_sequential",
        (_, _, true, _) => "container",
        (_, false, _, true) => "persistent_with_ttl",
        (_, true, _, true) => "persistent_sequential_with_ttl",
        (_, false, ..) => "persistent",
        (_, true, ..) => "persistent_sequential",
    }
}

/// A list as ZooKeeper's audit log has it, but with commas between its entries.
fn acls_text(acls: &[Acl]) -> String {
    let letters = [
        (perms::CREATE, 'c'),
        (perms::DELETE, 'd'),
        (perms::READ, 'r'),
        (perms::WRITE, 'w'),
        (perms::ADMIN, 'a'),
    ];
    let text = |acl: &Acl| {
        let given: String =
            letters.iter().filter(|(bit, _)| acl.perms & bit != 0).map(|(_, letter)| letter).collect();
        format!("{}:{}:{given}", acl.id.scheme, user_of(&acl.id))
    };
    acls.iter().map(text).collect::<Vec<_>>().join(",")
}

/// Writes a line about the server itself: that it started, or stops.
pub(crate) fn server(operation: &'static str, result: &'static str) {
    // Who runs it, as the system says; it need not.
    let user = std::env::var("USER").unwrap_or_default();
    tracing::info!(target: "audit", user = %user, operation, result);
}
