//! What persistent watches do, done with one-shot watches, for servers before ZooKeeper 3.6: each znode has one watch for its data and
//! one for its children, and each that fires is set again before its event is passed on. So whoever reads at the event sees all that
//! happened before.

use std::collections::HashMap;
use std::sync::Weak;

use tokio::task::JoinSet;
use zookeeper_client as zk;
use zookeeper_client::EventType;

use crate::error::Error;
use crate::session::Inner;
use crate::watch::{Ended, Events, WatchEvent, WatchMode};

/// Znodes below one recursive watch.
const MAX_ZNODES: usize = 50_000;

/// Which watches of a znode are set.
#[derive(Default, Clone, Copy)]
struct Armed {
    data: bool,
    children: bool,
}

struct OneShots<'a> {
    inner: &'a Weak<Inner>,
    root: String,
    mode: WatchMode,
    armed: HashMap<String, Armed>,
    pending: JoinSet<(bool, String, zk::WatchedEvent)>,
}

/// Follows `root` until the session or the connection fails.
pub(crate) async fn follow(inner: &Weak<Inner>, root: &str, mode: WatchMode, events: &Events<'_>) -> Ended {
    let mut watches =
        OneShots { inner, root: root.to_owned(), mode, armed: HashMap::new(), pending: JoinSet::new() };
    match watches.run(events).await {
        Ok(()) => Ended::Gone,
        Err(ended) => ended,
    }
}

impl OneShots<'_> {
    async fn run(&mut self, events: &Events<'_>) -> Result<(), Ended> {
        self.arm(vec![self.root.clone()]).await?;
        events.send_all(WatchEvent::Watching).await?;
        loop {
            let fired = tokio::select! {
                fired = self.pending.join_next() => fired,
                () = events.closed() => return Ok(()),
            };
            let Some(Ok((children, path, event))) = fired else { return Err(Ended::Again) };
            if event.event_type == EventType::Session {
                return Err(Ended::Again);
            }
            if let Some(armed) = self.armed.get_mut(&path) {
                if children { armed.children = false } else { armed.data = false }
            }
            let created = self.arm(vec![path.clone()]).await?;
            // A deletion fires both watches of a znode; once is enough.
            let twice = children && event.event_type == EventType::NodeDeleted;
            // Below a recursive watch, children show by their own creation.
            let shown = self.mode == WatchMode::Node || event.event_type != EventType::NodeChildrenChanged;
            if shown && !twice {
                events.send_all(WatchEvent::Changed { path: path.clone(), event: event.event_type }).await?;
            }
            for new in created.into_iter().filter(|new| *new != path) {
                events.send_all(WatchEvent::Changed { path: new, event: EventType::NodeCreated }).await?;
            }
        }
    }

    /// Sets what is missing on these znodes, and on those below them. Gives those that were not known.
    async fn arm(&mut self, mut paths: Vec<String>) -> Result<Vec<String>, Ended> {
        let mut created = Vec::new();
        while let Some(path) = paths.pop() {
            let known = self.armed.contains_key(&path);
            let armed = self.armed.get(&path).copied().unwrap_or_default();
            if !armed.data && !self.arm_data(&path).await? {
                continue;
            }
            if !armed.children {
                let children = self.arm_children(&path).await?;
                if self.mode == WatchMode::Recursive {
                    let prefix = if path == "/" { "" } else { path.as_str() };
                    let new = children.iter().map(|child| format!("{prefix}/{child}"));
                    paths.extend(new.filter(|child| !self.armed.contains_key(child)));
                }
            }
            if !known {
                created.push(path);
            }
            if self.armed.len() > MAX_ZNODES {
                let error = Error::TooManyWatches { path: self.root.clone(), limit: MAX_ZNODES };
                return Err(Ended::Failed(error));
            }
        }
        Ok(created)
    }

    /// Not kept: whoever holds the client keeps the session.
    fn client(&self) -> Result<zk::Client, Ended> {
        self.inner.upgrade().and_then(|inner| inner.peek_client()).ok_or(Ended::Again)
    }

    /// Whether the znode exists. Only the root is watched while it does not.
    async fn arm_data(&mut self, path: &str) -> Result<bool, Ended> {
        let client = self.client()?;
        let watched = client.check_and_watch_stat(path).await;
        let (stat, watcher) = watched.map_err(|error| ended(path, error))?;
        if stat.is_none() && path != self.root {
            self.armed.remove(path);
            return Ok(false);
        }
        let owned = path.to_owned();
        self.pending.spawn(async move { (false, owned, watcher.changed().await) });
        self.armed.entry(path.to_owned()).or_default().data = true;
        Ok(stat.is_some())
    }

    async fn arm_children(&mut self, path: &str) -> Result<Vec<String>, Ended> {
        let client = self.client()?;
        match client.list_and_watch_children(path).await {
            Ok((children, watcher)) => {
                let owned = path.to_owned();
                self.pending.spawn(async move { (true, owned, watcher.changed().await) });
                self.armed.entry(path.to_owned()).or_default().children = true;
                Ok(children)
            }
            // Its other watch fires.
            Err(zk::Error::NoNode) => Ok(Vec::new()),
            Err(error) => Err(ended(path, error)),
        }
    }
}

fn ended(path: &str, error: zk::Error) -> Ended {
    match Error::of("watch", path, error) {
        error if error.is_transient() => Ended::Again,
        error => Ended::Failed(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use streamkeeper_keeper::server::{Keeper, ServerOptions};
    use tokio::sync::mpsc;
    use zookeeper_client::CreateMode;

    use super::*;
    use crate::options::Options;
    use crate::runtime::{block_on, spawn};
    use crate::session::ZooKeeper;

    fn changed(path: &str, event: EventType) -> WatchEvent {
        WatchEvent::Changed { path: path.to_owned(), event }
    }

    #[test]
    fn one_shot_watches_tell_what_persistent_ones_do() {
        let keeper = Keeper::start(ServerOptions::default()).unwrap();
        let quorum = keeper.client_address().unwrap().to_string();
        let zookeeper = block_on(ZooKeeper::connect(Options::new(quorum))).unwrap();
        let follow = |mode| {
            let (sender, receiver) = mpsc::channel(16);
            let inner = Arc::downgrade(&zookeeper.inner);
            let task = spawn(async move {
                follow(&inner, "/a", mode, &Events(&sender)).await;
            });
            (receiver, task.unwrap())
        };
        let (mut node, _node) = follow(WatchMode::Node);
        let (mut tree, _tree) = follow(WatchMode::Recursive);
        block_on(async {
            let watching = Some(Ok(WatchEvent::Watching));
            assert_eq!((node.recv().await, tree.recv().await), (watching.clone(), watching));
            for (path, at_node) in [
                ("/a", Some(EventType::NodeCreated)),
                ("/a/b", Some(EventType::NodeChildrenChanged)),
                ("/a/b/c", None),
            ] {
                zookeeper.create(path, "", CreateMode::Persistent).await.unwrap();
                assert_eq!(tree.recv().await, Some(Ok(changed(path, EventType::NodeCreated))));
                if let Some(event) = at_node {
                    assert_eq!(node.recv().await, Some(Ok(changed("/a", event))));
                }
            }
            for path in ["/a/b/c", "/a"] {
                // Twice: a watch that fired is set again.
                for _ in 0..2 {
                    zookeeper.set(path, "x", None).await.unwrap();
                    assert_eq!(tree.recv().await, Some(Ok(changed(path, EventType::NodeDataChanged))));
                }
            }
            zookeeper.delete("/a/b/c", None).await.unwrap();
            assert_eq!(tree.recv().await, Some(Ok(changed("/a/b/c", EventType::NodeDeleted))));
            zookeeper.delete("/a/b", None).await.unwrap();
            assert_eq!(tree.recv().await, Some(Ok(changed("/a/b", EventType::NodeDeleted))));
            zookeeper.delete("/a", None).await.unwrap();
            assert_eq!(tree.recv().await, Some(Ok(changed("/a", EventType::NodeDeleted))));
            // The root is watched also while it does not exist.
            zookeeper.create("/a", "", CreateMode::Persistent).await.unwrap();
            assert_eq!(tree.recv().await, Some(Ok(changed("/a", EventType::NodeCreated))));
        });
    }
}
