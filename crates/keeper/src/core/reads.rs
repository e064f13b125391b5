//! Answering what does not change the tree, as ZooKeeper's `FinalRequestProcessor`.

use super::Core;
use crate::acl::{Acl, Acls, Id, perms, write_acls};
use crate::jute::{Write, length_as_int};
use crate::proto::{Code, EventType, MultiHeader, Request, SetWatches, WatcherType, op};
use crate::tree::NodeRef;
use crate::watch::{self, ConnectionId};

impl Core {
    /// Appends the answer's body to `body`, or says why there is none.
    pub(super) fn read(
        &mut self,
        id: ConnectionId,
        request: &Request,
        body: &mut Vec<u8>,
    ) -> Result<(), Code> {
        match request {
            Request::Ping => {}
            Request::Exists { path, watch } => {
                if path.contains('\0') {
                    return Err(Code::BadArguments);
                }
                let node = self.tree.get(path);
                if let Some(node) = node {
                    self.allow(id, node, perms::READ)?;
                }
                let stat = node.map(NodeRef::stat);
                if stat.is_some() {
                    self.counters.figures.read(path, 0);
                }
                if *watch {
                    self.watch(id, path, watch::DATA)?;
                }
                stat.ok_or(Code::NoNode)?.write(body);
            }
            Request::GetData { path, watch } => self.get_data(id, path, *watch, body)?,
            Request::GetChildren { path, watch, with_stat } => {
                self.get_children(id, path, *watch, *with_stat, body)?
            }
            Request::GetAcl { path } => {
                let node = self.tree.get(path).ok_or(Code::NoNode)?;
                self.allow(id, node, perms::READ | perms::ADMIN)?;
                match self.allow(id, node, perms::ADMIN) {
                    Ok(()) => write_acls(node.acls(), body),
                    Err(_) => write_acls(&without_digests(node.acls()), body),
                }
                node.stat().write(body);
            }
            Request::GetAllChildrenNumber { path } => {
                let node = self.tree.get(path).ok_or(Code::NoNode)?;
                self.allow(id, node, perms::READ)?;
                body.int(length_as_int(self.tree.descendants(node)));
            }
            Request::GetEphemerals { prefix } => {
                let prefix = prefix.as_deref().unwrap_or_default();
                let all = matches!(prefix.trim(), "" | "/");
                let mut paths = self.tree.ephemerals_of(self.session_of(id));
                paths.retain(|path| all || path.starts_with(prefix));
                if paths.iter().map(|path| path.len() + 4).sum::<usize>() > self.options.limits.answer_bytes {
                    return Err(Code::BadArguments);
                }
                write_strings(paths.into_iter(), body);
            }
            Request::MultiRead(parts) => {
                for part in parts {
                    let start = body.len();
                    MultiHeader { op: part.op(), done: false, err: 0 }.write(body);
                    let answered = match part {
                        // Its watch flags count for nothing, as in ZooKeeper.
                        Request::GetData { path, .. } => self.get_data(id, path, false, body),
                        Request::GetChildren { path, .. } => self.get_children(id, path, false, false, body),
                        _ => Err(Code::MarshallingError),
                    };
                    if let Err(code) = answered {
                        body.truncate(start);
                        MultiHeader { op: op::ERROR, done: false, err: code as i32 }.write(body);
                        body.int(code as i32);
                    }
                    self.check_answer(body)?;
                }
                MultiHeader::END.write(body);
            }
            Request::Sync { path } => body.string(path),
            // Some of them set is nothing that a client understands.
            Request::SetWatches(watches) if self.set_watches(id, watches).is_err() => self.close(id),
            Request::SetWatches(_) => {}
            Request::AddWatch { path, mode } => {
                let bits = match mode {
                    0 => watch::PERSISTENT,
                    1 => watch::RECURSIVE,
                    _ => return Err(Code::MarshallingError),
                };
                self.watch(id, path, bits)?;
                body.int(0);
            }
            Request::CheckWatches { path, kind } => {
                let kind = WatcherType::from_int(*kind).ok_or(Code::MarshallingError)?;
                return self.watches.contains(path, id, kind).then_some(()).ok_or(Code::NoWatcher);
            }
            Request::RemoveWatches { path, kind } => {
                let kind = WatcherType::from_int(*kind).ok_or(Code::MarshallingError)?;
                return self.watches.remove(path, id, kind).then_some(()).ok_or(Code::NoWatcher);
            }
            Request::WhoAmI => {
                let ids = self.ids_of(id);
                body.int(length_as_int(ids.len()));
                for known in ids {
                    body.string(&known.scheme);
                    body.string(crate::access::user_of(known));
                }
            }
            // Writes go another way.
            _ => return Err(Code::MarshallingError),
        }
        Ok(())
    }

    fn get_data(
        &mut self,
        id: ConnectionId,
        path: &str,
        watch: bool,
        body: &mut Vec<u8>,
    ) -> Result<(), Code> {
        let node = self.tree.get(path).ok_or(Code::NoNode)?;
        self.allow(id, node, perms::READ)?;
        self.counters.figures.read(path, node.data().map_or(0, <[u8]>::len));
        body.buffer(node.data());
        node.stat().write(body);
        if watch {
            self.watch(id, path, watch::DATA)?;
        }
        Ok(())
    }

    fn get_children(
        &mut self,
        id: ConnectionId,
        path: &str,
        watch: bool,
        with_stat: bool,
        body: &mut Vec<u8>,
    ) -> Result<(), Code> {
        let node = self.tree.get(path).ok_or(Code::NoNode)?;
        self.allow(id, node, perms::READ)?;
        body.int(length_as_int(node.children_count() as usize));
        let mut bytes = 0;
        for name in node.children() {
            bytes += name.len();
            body.string(name);
            self.check_answer(body)?;
        }
        self.counters.figures.read(path, bytes);
        if with_stat {
            node.stat().write(body);
        }
        if watch {
            self.watch(id, path, watch::CHILD)?;
        }
        Ok(())
    }

    /// Sets a reconnected client's watches again, and tells at once what it has missed.
    fn set_watches(&mut self, id: ConnectionId, watches: &SetWatches) -> Result<(), Code> {
        let since = watches.relative_zxid;
        for path in &watches.data {
            match self.tree.get(path).map(|node| node.stat_persisted().mzxid) {
                None => self.notify(id, EventType::NodeDeleted, path, -1),
                Some(mzxid) if mzxid > since => self.notify(id, EventType::NodeDataChanged, path, -1),
                Some(_) => self.watch(id, path, watch::DATA)?,
            }
        }
        for path in &watches.exist {
            match self.tree.get(path) {
                Some(_) => self.notify(id, EventType::NodeCreated, path, -1),
                None => self.watch(id, path, watch::DATA)?,
            }
        }
        for path in &watches.child {
            match self.tree.get(path).map(|node| node.stat_persisted().pzxid) {
                None => self.notify(id, EventType::NodeDeleted, path, -1),
                Some(pzxid) if pzxid > since => self.notify(id, EventType::NodeChildrenChanged, path, -1),
                Some(_) => self.watch(id, path, watch::CHILD)?,
            }
        }
        for path in &watches.persistent {
            self.watch(id, path, watch::PERSISTENT)?;
        }
        for path in &watches.persistent_recursive {
            self.watch(id, path, watch::RECURSIVE)?;
        }
        Ok(())
    }

    fn allow(&self, id: ConnectionId, node: NodeRef, perm: i32) -> Result<(), Code> {
        self.access.check(node.acls(), perm, self.ids_of(id))
    }
}

/// What those may see of a list who may not change it: no password hashes.
fn without_digests(acls: &Acls) -> Vec<Acl> {
    let masked = |acl: &Acl| {
        let id = match acl.id.id.split_once(':') {
            Some((user, _)) if &*acl.id.scheme == "digest" => Id::new("digest", &format!("{user}:x")),
            _ => acl.id.clone(),
        };
        Acl { perms: acl.perms, id }
    };
    acls.iter().map(masked).collect()
}

fn write_strings<'a>(strings: impl ExactSizeIterator<Item = &'a str>, out: &mut Vec<u8>) {
    out.int(length_as_int(strings.len()));
    for string in strings {
        out.string(string);
    }
}
