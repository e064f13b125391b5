//! The operations, each with its answer as a value: a refusal of the server is [`Error::Refused`].

use std::borrow::Cow;

use super::{Answer, Client, Error, Identity, Part, Reply, Result};
use crate::acl::{Acl, Acls};
use crate::jute::Write;
use crate::proto::{Code, CreateRequest, Request, SetWatches, Stat, WatcherType, op};

/// What kind of znode to create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Create {
    /// Stays until it is deleted.
    Persistent,
    /// As `Persistent`, with a number behind its name.
    PersistentSequential,
    /// Is deleted with the session.
    Ephemeral,
    /// As `Ephemeral`, with a number behind its name.
    EphemeralSequential,
    /// Is deleted after its last child.
    Container,
    /// Is deleted when it has no children and has not changed for this long, in ms.
    Ttl(i64),
    /// As `Ttl`, with a number behind its name.
    TtlSequential(i64),
}

/// Modes of `addWatch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum AddWatchMode {
    Persistent = 0,
    PersistentRecursive = 1,
}

/// A create; `with_stat` asks by `create2`. (Containers and TTL nodes are always answered with the stat.)
pub fn create_request<'a>(
    path: &'a str,
    data: Option<&'a [u8]>,
    acl: Acls,
    create: Create,
    with_stat: bool,
) -> Request<'a> {
    let (flags, ttl_ms) = match create {
        Create::Persistent => (0, -1),
        Create::Ephemeral => (1, -1),
        Create::PersistentSequential => (2, -1),
        Create::EphemeralSequential => (3, -1),
        Create::Container => (4, -1),
        Create::Ttl(ttl_ms) => (5, ttl_ms),
        Create::TtlSequential(ttl_ms) => (6, ttl_ms),
    };
    let op = match create {
        Create::Container => op::CREATE_CONTAINER,
        Create::Ttl(_) | Create::TtlSequential(_) => op::CREATE_TTL,
        _ if with_stat => op::CREATE2,
        _ => op::CREATE,
    };
    Request::Create(CreateRequest { op, path: path.into(), data, acl, flags, ttl_ms })
}

impl Reply {
    /// The answer, or the refusal as an error that names `path`.
    pub fn done(self, path: &str) -> Result<Answer> {
        match self.err {
            0 => Ok(self.answer),
            err => Err(Error::Refused { op: self.op, path: path.to_owned(), err }),
        }
    }
}

/// Takes the content that is `wanted` out of an answer.
macro_rules! content {
    ($client:ident, $request:expr, $path:expr, $pattern:pat => $value:expr, $wanted:literal) => {{
        let request = $request;
        match $client.request(&request)?.done($path)? {
            $pattern => Ok($value),
            _ => Err(Error::Unexpected { op: request.op(), wanted: $wanted }),
        }
    }};
}

impl Client {
    /// Creates a znode; returns its path.
    pub fn create(&mut self, path: &str, data: Option<&[u8]>, acl: Acls, create: Create) -> Result<String> {
        let request = create_request(path, data, acl, create, false);
        content!(self, request, path, Answer::Path(path) | Answer::Created(path, _) => path, "path")
    }

    /// Creates a znode; returns its path and stat.
    pub fn create2(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl: Acls,
        create: Create,
    ) -> Result<(String, Stat)> {
        let request = create_request(path, data, acl, create, true);
        content!(self, request, path, Answer::Created(path, stat) => (path, stat), "path and stat")
    }

    /// Deletes a znode; version -1 is any.
    pub fn delete(&mut self, path: &str, version: i32) -> Result<()> {
        let request = Request::Delete { path: path.into(), version };
        self.request(&request)?.done(path)?;
        Ok(())
    }

    /// The stat of a znode, or `None` if there is none. `watch`: for its creation, deletion and change of data.
    pub fn exists(&mut self, path: &str, watch: bool) -> Result<Option<Stat>> {
        let request = Request::Exists { path: path.into(), watch };
        match self.request(&request)?.done(path) {
            Ok(Answer::Stat(stat)) => Ok(Some(stat)),
            Err(error) if error.code() == Some(Code::NoNode) => Ok(None),
            Err(error) => Err(error),
            Ok(_) => Err(Error::Unexpected { op: op::EXISTS, wanted: "stat" }),
        }
    }

    /// A znode's data and stat.
    pub fn get_data(&mut self, path: &str, watch: bool) -> Result<(Option<Vec<u8>>, Stat)> {
        let request = Request::GetData { path: path.into(), watch };
        content!(self, request, path, Answer::Data(data, stat) => (data, stat), "data")
    }

    /// Sets a znode's data; version -1 is any.
    pub fn set_data(&mut self, path: &str, data: Option<&[u8]>, version: i32) -> Result<Stat> {
        let request = Request::SetData { path: path.into(), data, version };
        content!(self, request, path, Answer::Stat(stat) => stat, "stat")
    }

    /// A znode's permissions and stat.
    pub fn get_acl(&mut self, path: &str) -> Result<(Vec<Acl>, Stat)> {
        let request = Request::GetAcl { path: path.into() };
        content!(self, request, path, Answer::Acl(acl, stat) => (acl, stat), "permissions")
    }

    /// Sets a znode's permissions; version -1 is any version of them.
    pub fn set_acl(&mut self, path: &str, acl: Acls, version: i32) -> Result<Stat> {
        let request = Request::SetAcl { path: path.into(), acl, version };
        content!(self, request, path, Answer::Stat(stat) => stat, "stat")
    }

    /// The names of a znode's children, in the server's order.
    pub fn get_children(&mut self, path: &str, watch: bool) -> Result<Vec<String>> {
        let request = Request::GetChildren { path: path.into(), watch, with_stat: false };
        content!(self, request, path, Answer::Children(children) => children, "children")
    }

    /// The names of a znode's children, in the server's order, and its stat.
    pub fn get_children2(&mut self, path: &str, watch: bool) -> Result<(Vec<String>, Stat)> {
        let request = Request::GetChildren { path: path.into(), watch, with_stat: true };
        content!(self, request, path, Answer::ChildrenAndStat(children, stat) => (children, stat), "children")
    }

    /// How many znodes are below a znode.
    pub fn get_all_children_number(&mut self, path: &str) -> Result<i32> {
        let request = Request::GetAllChildrenNumber { path: path.into() };
        content!(self, request, path, Answer::Number(number) => number, "number")
    }

    /// The session's ephemerals whose path begins with `prefix`.
    pub fn get_ephemerals(&mut self, prefix: &str) -> Result<Vec<String>> {
        let request = Request::GetEphemerals { prefix: Some(prefix.into()) };
        content!(self, request, prefix, Answer::Paths(paths) => paths, "paths")
    }

    /// Waits until the server knows of all that was written before.
    pub fn sync(&mut self, path: &str) -> Result<String> {
        let request = Request::Sync { path: path.into() };
        content!(self, request, path, Answer::Path(path) => path, "path")
    }

    /// All of `parts` or none of them. What each part came to is in the answer, also of those that failed: see [`Part::answer`].
    pub fn multi(&mut self, parts: Vec<Request<'_>>) -> Result<Vec<Part>> {
        content!(self, Request::Multi(parts), "", Answer::Parts(parts) => parts, "parts")
    }

    /// Several reads (`getData`, `getChildren`) in one.
    pub fn multi_read(&mut self, parts: Vec<Request<'_>>) -> Result<Vec<Part>> {
        content!(self, Request::MultiRead(parts), "", Answer::Parts(parts) => parts, "parts")
    }

    /// Sets watches again on a new connection.
    pub fn set_watches(&mut self, watches: SetWatches<'_>) -> Result<()> {
        self.request(&Request::SetWatches(watches))?.done("")?;
        Ok(())
    }

    /// Sets a watch that stays.
    pub fn add_watch(&mut self, path: &str, mode: AddWatchMode) -> Result<()> {
        self.request(&Request::AddWatch { path: path.into(), mode: mode as i32 })?.done(path)?;
        Ok(())
    }

    /// Whether there is such a watch: refused with [`Code::NoWatcher`] if not.
    pub fn check_watches(&mut self, path: &str, kind: WatcherType) -> Result<()> {
        self.request(&Request::CheckWatches { path: path.into(), kind: kind as i32 })?.done(path)?;
        Ok(())
    }

    /// Removes watches: refused with [`Code::NoWatcher`] if there are none.
    pub fn remove_watches(&mut self, path: &str, kind: WatcherType) -> Result<()> {
        self.request(&Request::RemoveWatches { path: path.into(), kind: kind as i32 })?.done(path)?;
        Ok(())
    }

    /// Adds an identity to the connection. A server that refuses it closes the connection.
    pub fn auth(&mut self, scheme: &str, auth: &[u8]) -> Result<()> {
        self.request(&Request::Auth { scheme: scheme.into(), auth })?.done("")?;
        Ok(())
    }

    /// The connection's identities.
    pub fn who_am_i(&mut self) -> Result<Vec<Identity>> {
        content!(self, Request::WhoAmI, "", Answer::Identities(identities) => identities, "identities")
    }

    /// Asks for another configuration of the ensemble; returns the configuration's data and stat. Version -1 is any.
    pub fn reconfig(
        &mut self,
        joining: Option<&str>,
        leaving: Option<&str>,
        members: Option<&str>,
        version: i64,
    ) -> Result<(Option<Vec<u8>>, Stat)> {
        let mut body = Vec::new();
        for servers in [joining, leaving, members] {
            body.buffer(servers.map(str::as_bytes));
        }
        body.long(version);
        match self.request_raw(op::RECONFIG, &body)?.done("")? {
            Answer::Data(data, stat) => Ok((data, stat)),
            _ => Err(Error::Unexpected { op: op::RECONFIG, wanted: "data" }),
        }
    }

    /// Pings, and waits for the answer.
    pub fn ping(&mut self) -> Result<()> {
        self.request(&Request::Ping)?.done("")?;
        Ok(())
    }

    /// Creates a persistent znode, and all above it that are missing, open to all.
    pub fn create_all(&mut self, path: &str) -> Result<()> {
        let ends = path.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0).chain([path.len()]);
        for end in ends {
            let acl = crate::acl::OPEN_ACL_UNSAFE.clone();
            match self.create(&path[..end], Some(b""), acl, Create::Persistent) {
                Err(error) if error.code() != Some(Code::NodeExists) => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// A check of a znode's version, for a multi.
pub fn check_request(path: &str, version: i32) -> Request<'_> {
    Request::Check { path: Cow::Borrowed(path), version }
}
