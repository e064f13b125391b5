//! A znode that counts as the root: put in front of the paths of requests, taken off the paths of answers.

use std::borrow::Cow;

use crate::proto::{CreateRequest, Request, SetWatches};

/// The prefix; empty for none.
#[derive(Debug, Clone)]
pub(super) struct Chroot(String);

impl Chroot {
    pub(super) fn new(prefix: &str) -> Self {
        Chroot(prefix.to_owned())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The path as the server knows it.
    fn path<'a>(&self, path: &str) -> Cow<'a, str> {
        // The configuration has one place, wherever the root is.
        Cow::Owned(match path {
            "/" => self.0.clone(),
            "/zookeeper/config" => path.to_owned(),
            _ => format!("{}{path}", self.0),
        })
    }

    fn paths<'a>(&self, paths: &[Cow<str>]) -> Vec<Cow<'a, str>> {
        paths.iter().map(|path| self.path(path)).collect()
    }

    /// The path as the client knows it.
    pub(super) fn leave(&self, path: &mut String) {
        if let Some(rest) = path.strip_prefix(self.0.as_str()) {
            *path = if rest.is_empty() { "/".to_owned() } else { rest.to_owned() };
        }
    }

    /// The request with its paths as the server knows them.
    pub(super) fn enter<'a>(&self, request: &Request<'a>) -> Request<'a> {
        let mut request = request.clone();
        match &mut request {
            Request::Create(CreateRequest { path, .. })
            | Request::Delete { path, .. }
            | Request::DeleteContainer { path }
            | Request::SetData { path, .. }
            | Request::SetAcl { path, .. }
            | Request::Check { path, .. }
            | Request::Exists { path, .. }
            | Request::GetData { path, .. }
            | Request::GetAcl { path }
            | Request::GetChildren { path, .. }
            | Request::GetAllChildrenNumber { path }
            | Request::Sync { path }
            | Request::AddWatch { path, .. }
            | Request::CheckWatches { path, .. }
            | Request::RemoveWatches { path, .. } => *path = self.path(path),
            Request::GetEphemerals { prefix } => {
                *prefix = Some(self.path(prefix.as_deref().unwrap_or("/")));
            }
            Request::Multi(parts) | Request::MultiRead(parts) => {
                for part in parts {
                    *part = self.enter(part);
                }
            }
            Request::SetWatches(watches) => {
                *watches = SetWatches {
                    relative_zxid: watches.relative_zxid,
                    data: self.paths(&watches.data),
                    exist: self.paths(&watches.exist),
                    child: self.paths(&watches.child),
                    persistent: self.paths(&watches.persistent),
                    persistent_recursive: self.paths(&watches.persistent_recursive),
                };
            }
            Request::Reconfig
            | Request::CloseSession
            | Request::Ping
            | Request::WhoAmI
            | Request::Auth { .. }
            | Request::Sasl { .. } => {}
        }
        request
    }
}
