//! What can go wrong between this process and ZooKeeper; above all, whether an operation may have happened.

use zookeeper_client as zk;

/// Why an operation failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The connect string is not one.
    #[error("{quorum:?} is no ZooKeeper connect string: {reason}; write host:port,host:port/chroot")]
    Quorum {
        /// What was given.
        quorum: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No server took the session in time.
    #[error("no server of {quorum} gave a session within {} ms; see that one is up and reachable", .waited.as_millis())]
    NoServer {
        /// The connect string.
        quorum: String,
        /// How long was waited.
        waited: std::time::Duration,
    },
    /// There is no such znode, or, where one is created, its parent is missing.
    #[error("{path}: no such znode")]
    NoNode {
        /// Its path.
        path: String,
    },
    /// There is one already.
    #[error("{path}: the znode exists")]
    NodeExists {
        /// Its path.
        path: String,
    },
    /// Somebody else has written the znode since.
    #[error("{path}: the znode has another version than expected")]
    BadVersion {
        /// Its path.
        path: String,
    },
    /// A znode that has children cannot be deleted.
    #[error("{path}: the znode has children")]
    NotEmpty {
        /// Its path.
        path: String,
    },
    /// The znode's ACL does not permit it.
    #[error("{path}: not permitted by the znode's ACL; give credentials that are")]
    NoAuth {
        /// Its path.
        path: String,
    },
    /// There was no connection, so nothing was sent.
    #[error("{operation}: not connected to {quorum} within {} ms; nothing was sent", .waited.as_millis())]
    Suspended {
        /// What was to be done.
        operation: String,
        /// The connect string.
        quorum: String,
        /// How long was waited.
        waited: std::time::Duration,
    },
    /// It was sent, and no answer came: it may have happened or not. To know, `sync`, read, and compare.
    #[error("{operation}: the connection was lost, the outcome is unknown ({reason})")]
    ConnectionLost {
        /// What was being done.
        operation: String,
        /// What the connection died of.
        reason: String,
    },
    /// The server has ended the session; its ephemeral znodes are gone.
    #[error("the session has expired")]
    SessionExpired,
    /// The server does not take the credentials.
    #[error("authentication failed; check the user's name and password")]
    AuthFailed,
    /// The handle was closed.
    #[error("the ZooKeeper handle is closed")]
    Closed,
    /// The request is longer than a server takes. Nothing was sent.
    #[error(
        "{operation}: a request of {bytes} bytes is over the limit of {limit} (jute.maxbuffer); write less at once"
    )]
    TooLarge {
        /// What was to be done.
        operation: String,
        /// How long the request would have been.
        bytes: usize,
        /// The limit, [`crate::Options::max_request_bytes`].
        limit: usize,
    },
    /// More znodes below a recursive watch than one-shot watches are set for.
    #[error(
        "{path}: more than {limit} znodes, too many to watch on a server before ZooKeeper 3.6; watch a smaller subtree"
    )]
    TooManyWatches {
        /// The root of the subtree.
        path: String,
        /// The limit.
        limit: usize,
    },
    /// The server does not know the operation (it is older than 3.6).
    #[error("{operation}: the server does not know this operation")]
    Unimplemented {
        /// What was to be done.
        operation: String,
    },
    /// The server refused it, and nothing happened.
    #[error("{operation}: {reason}")]
    Refused {
        /// What was to be done.
        operation: String,
        /// What the server said.
        reason: String,
    },
    /// One operation of a `multi` failed, so none of them happened.
    #[error("operation {index} of a multi: {source}")]
    Multi {
        /// Its index, from 0.
        index: usize,
        /// Why it failed.
        source: Box<Error>,
    },
    /// The thread for I/O cannot be started.
    #[error("the thread for ZooKeeper's I/O cannot be started: {reason}")]
    Runtime {
        /// What the system said.
        reason: String,
    },
}

impl Error {
    /// What `error` means for `operation` on `path`.
    ///
    /// `SessionExpired` is not taken at its word here: the client says so by itself, too, when it has had no connection for 7/5 of
    /// the timeout. For the operation it means that no answer came.
    pub(crate) fn of(operation: &str, path: &str, error: zk::Error) -> Self {
        let path = path.to_owned();
        let operation = format!("{operation} {path}");
        match error {
            zk::Error::NoNode => Self::NoNode { path },
            zk::Error::NodeExists => Self::NodeExists { path },
            zk::Error::BadVersion => Self::BadVersion { path },
            zk::Error::NotEmpty => Self::NotEmpty { path },
            zk::Error::NoAuth => Self::NoAuth { path },
            zk::Error::AuthFailed => Self::AuthFailed,
            zk::Error::Unimplemented => Self::Unimplemented { operation },
            zk::Error::NoChildrenForEphemerals
            | zk::Error::InvalidAcl
            | zk::Error::NotReadOnly
            | zk::Error::NoWatcher
            | zk::Error::QuotaExceeded
            | zk::Error::Throttled
            | zk::Error::MarshallingError
            | zk::Error::ReconfigDisabled
            | zk::Error::BadArguments(_) => Self::Refused { operation, reason: error.to_string() },
            other => Self::ConnectionLost { operation, reason: other.to_string() },
        }
    }

    /// Whether the operation may have happened although it failed.
    pub fn is_outcome_unknown(&self) -> bool {
        matches!(self, Self::ConnectionLost { .. })
    }

    /// Whether to try again once there is a connection (or a session) again.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::ConnectionLost { .. }
            | Self::Suspended { .. }
            | Self::NoServer { .. }
            | Self::SessionExpired => true,
            Self::Refused { reason, .. } => *reason == zk::Error::Throttled.to_string(),
            _ => false,
        }
    }
}
