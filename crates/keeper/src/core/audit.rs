//! The audit log (`audit.enable`): who changed what, one line each under the target `audit`, with the fields of ZooKeeper's audit log.

use super::Connection;
use crate::access::user_of;
use crate::tree::Applied;
use crate::txn::{CreateKind, Txn};

/// What a transaction is about, taken down before it is applied.
#[derive(Debug)]
pub(super) struct Entry {
    operation: &'static str,
    znode: Option<Box<str>>,
    znode_type: Option<&'static str>,
}

impl Entry {
    /// The entry of a transaction; `None` for what is not audited, such as the beginning of a session.
    pub(super) fn of(txn: &Txn) -> Option<Entry> {
        let entry =
            |operation, znode: &str| Some(Entry { operation, znode: Some(znode.into()), znode_type: None });
        match txn {
            Txn::Create(create) => {
                let znode_type = match create.kind {
                    CreateKind::Container => "container",
                    CreateKind::Ttl(_) => "ttl",
                    CreateKind::Plain | CreateKind::Plain2 if create.ephemeral => "ephemeral",
                    CreateKind::Plain | CreateKind::Plain2 => "persistent",
                };
                Some(Entry {
                    operation: "create",
                    znode: Some(create.path.clone()),
                    znode_type: Some(znode_type),
                })
            }
            Txn::Delete { path, .. } => entry("delete", path),
            Txn::SetData { path, .. } => entry("setData", path),
            Txn::SetAcl { path, .. } => entry("setAcl", path),
            Txn::Reconfig { path, .. } => entry("reconfig", path),
            Txn::Multi(_) => Some(Entry { operation: "multiOperation", znode: None, znode_type: None }),
            // What failed before it was a transaction: which znode it was about is known to the client only.
            Txn::Error(_) => Some(Entry { operation: "write", znode: None, znode_type: None }),
            Txn::CloseSession { paths: Some(paths) } if !paths.is_empty() => Some(Entry {
                operation: "ephemeralZNodeDeletionOnSessionClose",
                znode: Some(paths.join(",").into()),
                znode_type: Some("ephemeral"),
            }),
            Txn::Check { .. } | Txn::CreateSession { .. } | Txn::CloseSession { .. } => None,
        }
    }

    /// Writes the line.
    pub(super) fn write(self, session_id: i64, connection: Option<&Connection>, applied: &Applied) {
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
            znode = self.znode.as_deref(),
            znode_type = self.znode_type,
            result = if applied.err == 0 { "success" } else { "failure" },
            err = applied.err,
        );
    }
}
