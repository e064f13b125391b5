//! The client protocol's records (`zookeeper.jute`, modules `data` and `proto`, ZooKeeper 3.9): what a client asks, as borrowed from its
//! frame, and what it is answered.

use std::borrow::Cow;

use crate::acl::{Acls, read_acls};
use crate::jute::{JuteError, Reader, Result, Write, length_as_int};

/// Request types, as in `ZooDefs.OpCode`.
#[allow(missing_docs)]
pub mod op {
    pub const NOTIFICATION: i32 = 0;
    pub const CREATE: i32 = 1;
    pub const DELETE: i32 = 2;
    pub const EXISTS: i32 = 3;
    pub const GET_DATA: i32 = 4;
    pub const SET_DATA: i32 = 5;
    pub const GET_ACL: i32 = 6;
    pub const SET_ACL: i32 = 7;
    pub const GET_CHILDREN: i32 = 8;
    pub const SYNC: i32 = 9;
    pub const PING: i32 = 11;
    pub const GET_CHILDREN2: i32 = 12;
    pub const CHECK: i32 = 13;
    pub const MULTI: i32 = 14;
    pub const CREATE2: i32 = 15;
    pub const RECONFIG: i32 = 16;
    pub const CHECK_WATCHES: i32 = 17;
    pub const REMOVE_WATCHES: i32 = 18;
    pub const CREATE_CONTAINER: i32 = 19;
    pub const DELETE_CONTAINER: i32 = 20;
    pub const CREATE_TTL: i32 = 21;
    pub const MULTI_READ: i32 = 22;
    pub const AUTH: i32 = 100;
    pub const SET_WATCHES: i32 = 101;
    pub const SASL: i32 = 102;
    pub const GET_EPHEMERALS: i32 = 103;
    pub const GET_ALL_CHILDREN_NUMBER: i32 = 104;
    pub const SET_WATCHES2: i32 = 105;
    pub const ADD_WATCH: i32 = 106;
    pub const WHO_AM_I: i32 = 107;
    pub const CREATE_SESSION: i32 = -10;
    pub const CLOSE_SESSION: i32 = -11;
    pub const ERROR: i32 = -1;

    /// The request type's name in ZooKeeper's documentation.
    pub fn name(op: i32) -> &'static str {
        match op {
            NOTIFICATION => "notification",
            CREATE => "create",
            DELETE => "delete",
            EXISTS => "exists",
            GET_DATA => "getData",
            SET_DATA => "setData",
            GET_ACL => "getACL",
            SET_ACL => "setACL",
            GET_CHILDREN => "getChildren",
            SYNC => "sync",
            PING => "ping",
            GET_CHILDREN2 => "getChildren2",
            CHECK => "check",
            MULTI => "multi",
            CREATE2 => "create2",
            RECONFIG => "reconfig",
            CHECK_WATCHES => "checkWatches",
            REMOVE_WATCHES => "removeWatches",
            CREATE_CONTAINER => "createContainer",
            DELETE_CONTAINER => "deleteContainer",
            CREATE_TTL => "createTTL",
            MULTI_READ => "multiRead",
            AUTH => "auth",
            SET_WATCHES => "setWatches",
            SASL => "sasl",
            GET_EPHEMERALS => "getEphemerals",
            GET_ALL_CHILDREN_NUMBER => "getAllChildrenNumber",
            SET_WATCHES2 => "setWatches2",
            ADD_WATCH => "addWatch",
            WHO_AM_I => "whoAmI",
            CREATE_SESSION => "createSession",
            CLOSE_SESSION => "closeSession",
            ERROR => "error",
            _ => "unknown",
        }
    }
}

/// Request ids (`xid`) that do not count requests.
pub mod xid {
    /// A watch's notification.
    pub const NOTIFICATION: i32 = -1;
    /// A ping and its answer.
    pub const PING: i32 = -2;
    /// An `auth` packet of most clients.
    pub const AUTH: i32 = -4;
    /// A `setWatches` of most clients.
    pub const SET_WATCHES: i32 = -8;
}

/// Error codes, as in `KeeperException.Code`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[allow(missing_docs)]
#[repr(i32)]
pub enum Code {
    #[error("ok")]
    Ok = 0,
    #[error("system error")]
    SystemError = -1,
    #[error("runtime inconsistency")]
    RuntimeInconsistency = -2,
    #[error("data inconsistency")]
    DataInconsistency = -3,
    #[error("connection lost")]
    ConnectionLoss = -4,
    #[error("marshalling error")]
    MarshallingError = -5,
    #[error("unimplemented")]
    Unimplemented = -6,
    #[error("operation timeout")]
    OperationTimeout = -7,
    #[error("bad arguments")]
    BadArguments = -8,
    #[error("unknown session")]
    UnknownSession = -12,
    #[error("no quorum of the new configuration is connected")]
    NewConfigNoQuorum = -13,
    #[error("another reconfiguration is in progress")]
    ReconfigInProgress = -14,
    #[error("API error")]
    ApiError = -100,
    #[error("no such znode")]
    NoNode = -101,
    #[error("not authorised")]
    NoAuth = -102,
    #[error("version does not match")]
    BadVersion = -103,
    #[error("ephemeral znodes have no children")]
    NoChildrenForEphemerals = -108,
    #[error("znode exists")]
    NodeExists = -110,
    #[error("znode has children")]
    NotEmpty = -111,
    #[error("session expired")]
    SessionExpired = -112,
    #[error("invalid callback")]
    InvalidCallback = -113,
    #[error("invalid access control list")]
    InvalidAcl = -114,
    #[error("authentication failed")]
    AuthFailed = -115,
    #[error("session moved to another server")]
    SessionMoved = -118,
    #[error("this server is read-only")]
    NotReadOnly = -119,
    #[error("ephemeral znode on a local session")]
    EphemeralOnLocalSession = -120,
    #[error("no such watch")]
    NoWatcher = -121,
    #[error("request timeout")]
    RequestTimeout = -122,
    #[error("reconfiguration is disabled")]
    ReconfigDisabled = -123,
    #[error("the server requires SASL authentication")]
    SessionClosedRequireSaslAuth = -124,
    #[error("quota exceeded")]
    QuotaExceeded = -125,
    #[error("throttled")]
    ThrottledOp = -127,
}

/// All codes.
const CODES: [Code; 31] = [
    Code::Ok,
    Code::SystemError,
    Code::RuntimeInconsistency,
    Code::DataInconsistency,
    Code::ConnectionLoss,
    Code::MarshallingError,
    Code::Unimplemented,
    Code::OperationTimeout,
    Code::BadArguments,
    Code::UnknownSession,
    Code::NewConfigNoQuorum,
    Code::ReconfigInProgress,
    Code::ApiError,
    Code::NoNode,
    Code::NoAuth,
    Code::BadVersion,
    Code::NoChildrenForEphemerals,
    Code::NodeExists,
    Code::NotEmpty,
    Code::SessionExpired,
    Code::InvalidCallback,
    Code::InvalidAcl,
    Code::AuthFailed,
    Code::SessionMoved,
    Code::NotReadOnly,
    Code::EphemeralOnLocalSession,
    Code::NoWatcher,
    Code::RequestTimeout,
    Code::ReconfigDisabled,
    Code::SessionClosedRequireSaslAuth,
    Code::QuotaExceeded,
];

impl Code {
    /// The code of this number.
    pub fn from_int(value: i32) -> Option<Code> {
        CODES.into_iter().chain([Code::ThrottledOp]).find(|code| *code as i32 == value)
    }
}

/// A znode's metadata as clients see it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Stat {
    /// Transaction that created the znode.
    pub czxid: i64,
    /// Transaction that last set its data.
    pub mzxid: i64,
    /// Creation time, ms since 1970.
    pub ctime: i64,
    /// Time of the last `setData`, ms since 1970.
    pub mtime: i64,
    /// Number of `setData`.
    pub version: i32,
    /// Number of changes of the children.
    pub cversion: i32,
    /// Number of `setACL`.
    pub aversion: i32,
    /// The owning session of an ephemeral, else 0.
    pub ephemeral_owner: i64,
    pub data_length: i32,
    pub num_children: i32,
    /// Transaction that last changed the children.
    pub pzxid: i64,
}

impl Stat {
    /// Bytes of an encoded stat.
    pub const ENCODED_BYTES: usize = 68;

    /// Reads a stat.
    pub fn read(reader: &mut Reader) -> Result<Stat> {
        Ok(Stat {
            czxid: reader.long()?,
            mzxid: reader.long()?,
            ctime: reader.long()?,
            mtime: reader.long()?,
            version: reader.int()?,
            cversion: reader.int()?,
            aversion: reader.int()?,
            ephemeral_owner: reader.long()?,
            data_length: reader.int()?,
            num_children: reader.int()?,
            pzxid: reader.long()?,
        })
    }

    /// Writes a stat.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.long(self.czxid);
        out.long(self.mzxid);
        out.long(self.ctime);
        out.long(self.mtime);
        out.int(self.version);
        out.int(self.cversion);
        out.int(self.aversion);
        out.long(self.ephemeral_owner);
        out.int(self.data_length);
        out.int(self.num_children);
        out.long(self.pzxid);
    }
}

/// A znode's metadata as transactions set it and snapshots hold it. Packed, as it is most of what a znode takes in memory.
#[repr(C, packed(4))]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct StatPersisted {
    /// Transaction that created the znode.
    pub czxid: i64,
    /// Transaction that last set its data.
    pub mzxid: i64,
    /// Creation time, ms since 1970.
    pub ctime: i64,
    /// Time of the last `setData`, ms since 1970.
    pub mtime: i64,
    /// Number of `setData`.
    pub version: i32,
    /// Number of children ever created. (Clients see the number of changes: twice this, less the children there are.)
    pub cversion: i32,
    /// Number of `setACL`.
    pub aversion: i32,
    /// The owning session of an ephemeral; the encoding of a TTL or a container; else 0.
    pub ephemeral_owner: i64,
    /// Transaction that last changed the children.
    pub pzxid: i64,
}

impl StatPersisted {
    /// Bytes of an encoded stat.
    pub const ENCODED_BYTES: usize = 60;

    /// Reads a stat.
    pub fn read(reader: &mut Reader) -> Result<Self> {
        Ok(StatPersisted {
            czxid: reader.long()?,
            mzxid: reader.long()?,
            ctime: reader.long()?,
            mtime: reader.long()?,
            version: reader.int()?,
            cversion: reader.int()?,
            aversion: reader.int()?,
            ephemeral_owner: reader.long()?,
            pzxid: reader.long()?,
        })
    }

    /// Writes a stat.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.long(self.czxid);
        out.long(self.mzxid);
        out.long(self.ctime);
        out.long(self.mtime);
        out.int(self.version);
        out.int(self.cversion);
        out.int(self.aversion);
        out.long(self.ephemeral_owner);
        out.long(self.pzxid);
    }
}

/// The first packet of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectRequest<'a> {
    /// 0.
    pub protocol_version: i32,
    /// The newest transaction that the client knows of.
    pub last_zxid_seen: i64,
    /// The session timeout asked for, in ms.
    pub timeout_ms: i32,
    /// The session to go on with, or 0 for a new one.
    pub session_id: i64,
    /// The session's password.
    pub passwd: &'a [u8],
    /// Whether a read-only server will do. Absent in packets of clients before 3.4.
    pub read_only: Option<bool>,
}

impl<'a> ConnectRequest<'a> {
    /// Reads the packet.
    pub fn read(reader: &mut Reader<'a>) -> Result<Self> {
        Ok(ConnectRequest {
            protocol_version: reader.int()?,
            last_zxid_seen: reader.long()?,
            timeout_ms: reader.int()?,
            session_id: reader.long()?,
            passwd: reader.buffer()?.unwrap_or_default(),
            read_only: if reader.is_empty() { None } else { Some(reader.boolean()?) },
        })
    }

    /// Writes the packet.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.int(self.protocol_version);
        out.long(self.last_zxid_seen);
        out.int(self.timeout_ms);
        out.long(self.session_id);
        out.buffer(Some(self.passwd));
        if let Some(read_only) = self.read_only {
            out.boolean(read_only);
        }
    }
}

/// The answer to the first packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectResponse<'a> {
    /// 0.
    pub protocol_version: i32,
    /// The session timeout granted, in ms; 0 when the session is no more.
    pub timeout_ms: i32,
    /// The session; 0 when it is no more.
    pub session_id: i64,
    /// The session's password.
    pub passwd: &'a [u8],
    /// Whether this server is read-only. Left out for clients that did not send the field.
    pub read_only: Option<bool>,
}

impl<'a> ConnectResponse<'a> {
    /// Reads the answer.
    pub fn read(reader: &mut Reader<'a>) -> Result<Self> {
        Ok(ConnectResponse {
            protocol_version: reader.int()?,
            timeout_ms: reader.int()?,
            session_id: reader.long()?,
            passwd: reader.buffer()?.unwrap_or_default(),
            read_only: if reader.is_empty() { None } else { Some(reader.boolean()?) },
        })
    }

    /// Writes the answer.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.int(self.protocol_version);
        out.int(self.timeout_ms);
        out.long(self.session_id);
        out.buffer(Some(self.passwd));
        if let Some(read_only) = self.read_only {
            out.boolean(read_only);
        }
    }
}

/// What precedes each request after the first packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestHeader {
    /// The client's number of the request.
    pub xid: i32,
    /// One of [`op`].
    pub op: i32,
}

impl RequestHeader {
    /// Reads a header.
    pub fn read(reader: &mut Reader) -> Result<Self> {
        Ok(RequestHeader { xid: reader.int()?, op: reader.int()? })
    }
}

/// What precedes each answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyHeader {
    /// The request's number.
    pub xid: i32,
    /// The newest transaction that the server has applied.
    pub zxid: i64,
    /// A [`Code`].
    pub err: i32,
}

impl ReplyHeader {
    /// Reads a header.
    pub fn read(reader: &mut Reader) -> Result<Self> {
        Ok(ReplyHeader { xid: reader.int()?, zxid: reader.long()?, err: reader.int()? })
    }

    /// Writes a header.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.int(self.xid);
        out.long(self.zxid);
        out.int(self.err);
    }
}

/// What precedes each part of a multi and of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MultiHeader {
    /// One of [`op`].
    pub op: i32,
    /// Whether this is the end.
    pub done: bool,
    /// A [`Code`]; -1 in requests.
    pub err: i32,
}

impl MultiHeader {
    /// The end of a multi.
    pub const END: MultiHeader = MultiHeader { op: -1, done: true, err: -1 };

    /// Reads a header.
    pub fn read(reader: &mut Reader) -> Result<Self> {
        Ok(MultiHeader { op: reader.int()?, done: reader.boolean()?, err: reader.int()? })
    }

    /// Writes a header.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.int(self.op);
        out.boolean(self.done);
        out.int(self.err);
    }
}

/// What happened to a watched znode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
#[repr(i32)]
pub enum EventType {
    NodeCreated = 1,
    NodeDeleted = 2,
    NodeDataChanged = 3,
    NodeChildrenChanged = 4,
}

/// The `state` of a notification of a znode's change: `SyncConnected`.
pub const STATE_SYNC_CONNECTED: i32 = 3;

/// Kinds of watches that `checkWatches` and `removeWatches` name, as in `Watcher.WatcherType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum WatcherType {
    Children = 1,
    Data = 2,
    Any = 3,
    Persistent = 4,
    PersistentRecursive = 5,
}

impl WatcherType {
    /// The kind of this number.
    pub fn from_int(value: i32) -> Option<Self> {
        use WatcherType::*;
        [Children, Data, Any, Persistent, PersistentRecursive].into_iter().find(|kind| *kind as i32 == value)
    }
}

/// What a `create` asks for besides the path, as in `CreateMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct CreateMode {
    pub ephemeral: bool,
    pub sequential: bool,
    pub container: bool,
    pub ttl: bool,
}

impl CreateMode {
    /// The mode of a request's flags; `None` for flags that ZooKeeper does not know.
    pub fn from_flags(flags: i32) -> Option<Self> {
        let (ephemeral, sequential, container, ttl) = match flags {
            0 => (false, false, false, false),
            1 => (true, false, false, false),
            2 => (false, true, false, false),
            3 => (true, true, false, false),
            4 => (false, false, true, false),
            5 => (false, false, false, true),
            6 => (false, true, false, true),
            _ => return None,
        };
        Some(CreateMode { ephemeral, sequential, container, ttl })
    }
}

/// A create, in any of its four forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateRequest<'a> {
    /// One of `CREATE`, `CREATE2`, `CREATE_CONTAINER`, `CREATE_TTL`.
    pub op: i32,
    /// The znode, or the prefix of a sequential one.
    pub path: Cow<'a, str>,
    /// Its data.
    pub data: Option<&'a [u8]>,
    /// Its permissions.
    pub acl: Acls,
    /// See [`CreateMode`].
    pub flags: i32,
    /// Time to live in ms; -1 but for `CREATE_TTL`.
    pub ttl_ms: i64,
}

/// A request's body.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Request<'a> {
    Create(CreateRequest<'a>),
    Delete {
        path: Cow<'a, str>,
        version: i32,
    },
    DeleteContainer {
        path: Cow<'a, str>,
    },
    SetData {
        path: Cow<'a, str>,
        data: Option<&'a [u8]>,
        version: i32,
    },
    SetAcl {
        path: Cow<'a, str>,
        acl: Acls,
        version: i32,
    },
    Check {
        path: Cow<'a, str>,
        version: i32,
    },
    Multi(Vec<Request<'a>>),
    Reconfig,
    CloseSession,
    Exists {
        path: Cow<'a, str>,
        watch: bool,
    },
    GetData {
        path: Cow<'a, str>,
        watch: bool,
    },
    GetAcl {
        path: Cow<'a, str>,
    },
    /// `with_stat`: `getChildren2`.
    GetChildren {
        path: Cow<'a, str>,
        watch: bool,
        with_stat: bool,
    },
    GetAllChildrenNumber {
        path: Cow<'a, str>,
    },
    GetEphemerals {
        prefix: Option<Cow<'a, str>>,
    },
    MultiRead(Vec<Request<'a>>),
    Sync {
        path: Cow<'a, str>,
    },
    Ping,
    SetWatches(SetWatches<'a>),
    AddWatch {
        path: Cow<'a, str>,
        mode: i32,
    },
    CheckWatches {
        path: Cow<'a, str>,
        kind: i32,
    },
    RemoveWatches {
        path: Cow<'a, str>,
        kind: i32,
    },
    WhoAmI,
    Auth {
        scheme: Cow<'a, str>,
        auth: &'a [u8],
    },
    Sasl {
        token: &'a [u8],
    },
}

/// The watches that a client had when it lost its connection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct SetWatches<'a> {
    /// The newest transaction that the client knows of: later changes are told at once.
    pub relative_zxid: i64,
    pub data: Vec<Cow<'a, str>>,
    pub exist: Vec<Cow<'a, str>>,
    pub child: Vec<Cow<'a, str>>,
    pub persistent: Vec<Cow<'a, str>>,
    pub persistent_recursive: Vec<Cow<'a, str>>,
}

impl<'a> Request<'a> {
    /// Reads the body of a request of type `op`; `None` for a type that ZooKeeper does not know.
    pub fn read(op: i32, reader: &mut Reader<'a>) -> Result<Option<Self>> {
        Ok(Some(match op {
            op::CREATE | op::CREATE2 | op::CREATE_CONTAINER | op::CREATE_TTL => {
                Request::Create(CreateRequest {
                    op,
                    path: reader.string()?,
                    data: reader.buffer()?,
                    acl: read_acls(reader)?,
                    flags: reader.int()?,
                    ttl_ms: if op == op::CREATE_TTL { reader.long()? } else { -1 },
                })
            }
            op::DELETE => Request::Delete { path: reader.string()?, version: reader.int()? },
            op::DELETE_CONTAINER => Request::DeleteContainer { path: reader.string()? },
            op::SET_DATA => {
                Request::SetData { path: reader.string()?, data: reader.buffer()?, version: reader.int()? }
            }
            op::SET_ACL => {
                Request::SetAcl { path: reader.string()?, acl: read_acls(reader)?, version: reader.int()? }
            }
            op::CHECK => Request::Check { path: reader.string()?, version: reader.int()? },
            op::MULTI => Request::Multi(read_multi(reader, |op| {
                matches!(
                    op,
                    op::CREATE
                        | op::CREATE2
                        | op::CREATE_CONTAINER
                        | op::CREATE_TTL
                        | op::DELETE
                        | op::SET_DATA
                        | op::CHECK
                )
            })?),
            op::MULTI_READ => {
                Request::MultiRead(read_multi(reader, |op| matches!(op, op::GET_DATA | op::GET_CHILDREN))?)
            }
            op::RECONFIG => {
                for _ in 0..3 {
                    reader.string_or_null()?;
                }
                reader.long()?;
                Request::Reconfig
            }
            op::CLOSE_SESSION => Request::CloseSession,
            op::EXISTS => Request::Exists { path: reader.string()?, watch: reader.boolean()? },
            op::GET_DATA => Request::GetData { path: reader.string()?, watch: reader.boolean()? },
            op::GET_ACL => Request::GetAcl { path: reader.string()? },
            op::GET_CHILDREN | op::GET_CHILDREN2 => Request::GetChildren {
                path: reader.string()?,
                watch: reader.boolean()?,
                with_stat: op == op::GET_CHILDREN2,
            },
            op::GET_ALL_CHILDREN_NUMBER => Request::GetAllChildrenNumber { path: reader.string()? },
            op::GET_EPHEMERALS => Request::GetEphemerals { prefix: reader.string_or_null()? },
            op::SYNC => Request::Sync { path: reader.string()? },
            op::PING => Request::Ping,
            op::SET_WATCHES | op::SET_WATCHES2 => {
                let relative_zxid = reader.long()?;
                let (data, exist, child) = (reader.strings()?, reader.strings()?, reader.strings()?);
                let (persistent, persistent_recursive) = match op {
                    op::SET_WATCHES => (Vec::new(), Vec::new()),
                    _ => (reader.strings()?, reader.strings()?),
                };
                Request::SetWatches(SetWatches {
                    relative_zxid,
                    data,
                    exist,
                    child,
                    persistent,
                    persistent_recursive,
                })
            }
            op::ADD_WATCH => Request::AddWatch { path: reader.string()?, mode: reader.int()? },
            op::CHECK_WATCHES => Request::CheckWatches { path: reader.string()?, kind: reader.int()? },
            op::REMOVE_WATCHES => Request::RemoveWatches { path: reader.string()?, kind: reader.int()? },
            op::WHO_AM_I => Request::WhoAmI,
            op::AUTH => {
                reader.int()?;
                Request::Auth { scheme: reader.string()?, auth: reader.buffer()?.unwrap_or_default() }
            }
            op::SASL => Request::Sasl { token: reader.buffer()?.unwrap_or_default() },
            _ => return Ok(None),
        }))
    }

    /// Appends the body to a frame.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Request::Create(create) => {
                out.string(&create.path);
                out.buffer(create.data);
                crate::acl::write_acls(&create.acl, out);
                out.int(create.flags);
                if create.op == op::CREATE_TTL {
                    out.long(create.ttl_ms);
                }
            }
            Request::Delete { path, version } | Request::Check { path, version } => {
                out.string(path);
                out.int(*version);
            }
            Request::DeleteContainer { path }
            | Request::GetAcl { path }
            | Request::GetAllChildrenNumber { path }
            | Request::Sync { path } => out.string(path),
            Request::SetData { path, data, version } => {
                out.string(path);
                out.buffer(*data);
                out.int(*version);
            }
            Request::SetAcl { path, acl, version } => {
                out.string(path);
                crate::acl::write_acls(acl, out);
                out.int(*version);
            }
            Request::Multi(parts) | Request::MultiRead(parts) => {
                for part in parts {
                    MultiHeader { op: part.op(), done: false, err: -1 }.write(out);
                    part.write(out);
                }
                MultiHeader::END.write(out);
            }
            Request::Reconfig => {
                for _ in 0..3 {
                    out.buffer(None);
                }
                out.long(-1);
            }
            Request::CloseSession | Request::Ping | Request::WhoAmI => {}
            Request::Exists { path, watch }
            | Request::GetData { path, watch }
            | Request::GetChildren { path, watch, .. } => {
                out.string(path);
                out.boolean(*watch);
            }
            Request::GetEphemerals { prefix } => out.buffer(prefix.as_deref().map(str::as_bytes)),
            Request::SetWatches(watches) => {
                out.long(watches.relative_zxid);
                for paths in [
                    &watches.data,
                    &watches.exist,
                    &watches.child,
                    &watches.persistent,
                    &watches.persistent_recursive,
                ] {
                    out.int(length_as_int(paths.len()));
                    for path in paths {
                        out.string(path);
                    }
                }
            }
            Request::AddWatch { path, mode: kind }
            | Request::CheckWatches { path, kind }
            | Request::RemoveWatches { path, kind } => {
                out.string(path);
                out.int(*kind);
            }
            Request::Auth { scheme, auth } => {
                out.int(0);
                out.string(scheme);
                out.buffer(Some(auth));
            }
            Request::Sasl { token } => out.buffer(Some(token)),
        }
    }

    /// The request's type. Watches are always set by `setWatches2`.
    pub fn op(&self) -> i32 {
        match self {
            Request::Create(create) => create.op,
            Request::Delete { .. } => op::DELETE,
            Request::DeleteContainer { .. } => op::DELETE_CONTAINER,
            Request::SetData { .. } => op::SET_DATA,
            Request::SetAcl { .. } => op::SET_ACL,
            Request::Check { .. } => op::CHECK,
            Request::Multi(_) => op::MULTI,
            Request::Reconfig => op::RECONFIG,
            Request::CloseSession => op::CLOSE_SESSION,
            Request::Exists { .. } => op::EXISTS,
            Request::GetData { .. } => op::GET_DATA,
            Request::GetAcl { .. } => op::GET_ACL,
            Request::GetChildren { with_stat: false, .. } => op::GET_CHILDREN,
            Request::GetChildren { with_stat: true, .. } => op::GET_CHILDREN2,
            Request::GetAllChildrenNumber { .. } => op::GET_ALL_CHILDREN_NUMBER,
            Request::GetEphemerals { .. } => op::GET_EPHEMERALS,
            Request::MultiRead(_) => op::MULTI_READ,
            Request::Sync { .. } => op::SYNC,
            Request::Ping => op::PING,
            Request::SetWatches(_) => op::SET_WATCHES2,
            Request::AddWatch { .. } => op::ADD_WATCH,
            Request::CheckWatches { .. } => op::CHECK_WATCHES,
            Request::RemoveWatches { .. } => op::REMOVE_WATCHES,
            Request::WhoAmI => op::WHO_AM_I,
            Request::Auth { .. } => op::AUTH,
            Request::Sasl { .. } => op::SASL,
        }
    }
}

/// Reads the parts of a multi, each of a type that `allowed` takes.
fn read_multi<'a>(reader: &mut Reader<'a>, allowed: impl Fn(i32) -> bool) -> Result<Vec<Request<'a>>> {
    let mut parts = Vec::new();
    loop {
        let header = MultiHeader::read(reader)?;
        if header.done {
            return Ok(parts);
        }
        let refused = JuteError::Value {
            what: "request type in a multi",
            value: header.op.into(),
            at: reader.position(),
        };
        if !allowed(header.op) {
            return Err(refused);
        }
        let mut part = Request::read(header.op, reader)?.ok_or(refused.clone())?;
        if let Request::Create(create) = &mut part {
            create.op = create_op_in_multi(create).ok_or(refused)?;
        }
        parts.push(part);
    }
}

/// Within a multi the flags decide which form of create it is, as in ZooKeeper's `Op.create`; `None` for flags that it cannot take.
fn create_op_in_multi(create: &CreateRequest) -> Option<i32> {
    match (create.op, CreateMode::from_flags(create.flags)) {
        (op::CREATE_TTL, Some(mode)) if mode.ttl => Some(op::CREATE_TTL),
        (op::CREATE_TTL, Some(mode)) if mode.container => Some(op::CREATE_CONTAINER),
        (op::CREATE_TTL, _) => Some(op::CREATE),
        (_, None) => None,
        (_, Some(mode)) if mode.ttl => None,
        (_, Some(mode)) if mode.container => Some(op::CREATE_CONTAINER),
        (op, Some(_)) => Some(op),
    }
}
