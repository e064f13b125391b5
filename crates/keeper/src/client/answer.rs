//! What a server answers, by the type of the request.

use crate::acl::{Acl, read_acls};
use crate::jute::{Reader, Result};
use crate::proto::{EventType, MultiHeader, Stat, op};

/// The answer to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The request's number.
    pub xid: i32,
    /// The request's type, one of [`op`].
    pub op: i32,
    /// The newest transaction that the server had applied.
    pub zxid: i64,
    /// A [`Code`](crate::proto::Code): 0 if it was done.
    pub err: i32,
    /// The body; [`Answer::None`] if there is none.
    pub answer: Answer,
    /// The body's bytes.
    pub body: Vec<u8>,
}

/// An answer's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Nothing.
    None,
    /// `create`, `sync`.
    Path(String),
    /// `create2`, `createContainer`, `createTTL`.
    Created(String, Stat),
    /// `exists`, `setData`, `setACL`.
    Stat(Stat),
    /// `getData`, `reconfig`.
    Data(Option<Vec<u8>>, Stat),
    /// `getACL`.
    Acl(Vec<Acl>, Stat),
    /// `getChildren`.
    Children(Vec<String>),
    /// `getChildren2`.
    ChildrenAndStat(Vec<String>, Stat),
    /// `getEphemerals`.
    Paths(Vec<String>),
    /// `getAllChildrenNumber`.
    Number(i32),
    /// `addWatch`: an error code.
    Error(i32),
    /// `multi`, `multiRead`.
    Parts(Vec<Part>),
    /// `whoAmI`.
    Identities(Vec<Identity>),
    /// `sasl`.
    Token(Vec<u8>),
    /// Of a request whose type is unknown.
    Unknown(Vec<u8>),
}

/// The answer to a part of a multi.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The part's type, or [`op::ERROR`].
    pub op: i32,
    /// The code in its header.
    pub err: i32,
    /// What was answered: [`Answer::Error`] for [`op::ERROR`].
    pub answer: Answer,
}

/// Whom the server takes a connection for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// How it authenticated.
    pub scheme: String,
    /// Its name.
    pub user: String,
}

impl Answer {
    /// Reads the body of the answer to a request of type `op`.
    pub fn read(op: i32, reader: &mut Reader) -> Result<Answer> {
        if reader.is_empty() {
            return Ok(Answer::None);
        }
        Ok(match op {
            op::CREATE | op::SYNC => Answer::Path(reader.string()?.into()),
            op::CREATE2 | op::CREATE_CONTAINER | op::CREATE_TTL => {
                Answer::Created(reader.string()?.into(), Stat::read(reader)?)
            }
            op::EXISTS | op::SET_DATA | op::SET_ACL => Answer::Stat(Stat::read(reader)?),
            op::GET_DATA | op::RECONFIG => {
                Answer::Data(reader.buffer()?.map(<[u8]>::to_vec), Stat::read(reader)?)
            }
            op::GET_ACL => Answer::Acl(read_acls(reader)?.to_vec(), Stat::read(reader)?),
            op::GET_CHILDREN => Answer::Children(strings(reader)?),
            op::GET_CHILDREN2 => Answer::ChildrenAndStat(strings(reader)?, Stat::read(reader)?),
            op::GET_EPHEMERALS => Answer::Paths(strings(reader)?),
            op::GET_ALL_CHILDREN_NUMBER => Answer::Number(reader.int()?),
            op::ADD_WATCH | op::ERROR => Answer::Error(reader.int()?),
            op::MULTI | op::MULTI_READ => Answer::Parts(read_parts(reader)?),
            op::WHO_AM_I => {
                let count = reader.vector()?.unwrap_or(0);
                let identity =
                    |_| Ok(Identity { scheme: reader.string()?.into(), user: reader.string()?.into() });
                Answer::Identities((0..count).map(identity).collect::<Result<_>>()?)
            }
            op::SASL => Answer::Token(reader.buffer()?.unwrap_or_default().to_vec()),
            _ => Answer::Unknown(reader.rest().to_vec()),
        })
    }

    /// Visits each path of a znode.
    pub(super) fn for_each_path(&mut self, visit: &mut impl FnMut(&mut String)) {
        match self {
            Answer::Path(path) | Answer::Created(path, _) => visit(path),
            Answer::Paths(paths) => paths.iter_mut().for_each(visit),
            Answer::Parts(parts) => {
                for part in parts {
                    part.answer.for_each_path(visit);
                }
            }
            _ => {}
        }
    }
}

fn strings(reader: &mut Reader) -> Result<Vec<String>> {
    Ok(reader.strings()?.into_iter().map(String::from).collect())
}

fn read_parts(reader: &mut Reader) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    loop {
        let header = MultiHeader::read(reader)?;
        if header.done {
            return Ok(parts);
        }
        let answer = match header.op {
            op::DELETE | op::CHECK => Answer::None,
            op => Answer::read(op, reader)?,
        };
        parts.push(Part { op: header.op, err: header.err, answer });
    }
}

/// A change of a watched znode, or of the session's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// The change, or -1; an [`EventType`].
    pub kind: i32,
    /// The session's state, as in `Watcher.Event.KeeperState`.
    pub state: i32,
    /// The znode.
    pub path: String,
    /// The transaction that changed it; -1 from servers before 3.9.
    pub zxid: i64,
}

impl Notification {
    /// Reads a notification's body.
    pub fn read(zxid: i64, reader: &mut Reader) -> Result<Self> {
        Ok(Notification { kind: reader.int()?, state: reader.int()?, path: reader.string()?.into(), zxid })
    }

    /// What happened to the znode.
    pub fn event_type(&self) -> Option<EventType> {
        use EventType::*;
        [NodeCreated, NodeDeleted, NodeDataChanged, NodeChildrenChanged]
            .into_iter()
            .find(|event_type| *event_type as i32 == self.kind)
    }
}
