//! Watches and reads what is followed, on the thread for ZooKeeper's I/O, and hands the readings to the task.
//!
//! Invariant: whatever was read before its watch was set, or before a reconnect, is read again. So the last state is always handed
//! over, and the queue may be short: while it is full, events gather, and become one reading.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use streamkeeper_dataflow::channel::Signal;
use streamkeeper_zookeeper::{Error, EventType, Watch, WatchEvent, WatchMode, ZooKeeper};
use tokio::sync::mpsc::Sender;

use crate::zookeeper::mirror::{Limits, Reading};
use crate::zookeeper::znode::{Mode, ZNode, join};

/// Znodes that are asked for at once.
const READ_AT_ONCE: usize = 256;

/// With more changed znodes than this, everything is read.
const MAX_DIRTY: usize = 10_000;

/// Between two attempts when a server answers, but not as it should.
const RETRY: Duration = Duration::from_millis(200);

/// What is handed to the task; an error ends it.
pub(crate) type Handed = Result<Reading, Error>;

/// Follows a place until the task does not listen any more, or an error that does not pass.
pub(crate) struct Follower {
    pub(crate) zookeeper: ZooKeeper,
    pub(crate) root: String,
    pub(crate) mode: Mode,
    pub(crate) limits: Limits,
    pub(crate) readings: Sender<Handed>,
    pub(crate) waker: Arc<Signal>,
}

/// What is to be read.
#[derive(Debug, Default)]
struct Dirty {
    everything: bool,
    paths: BTreeSet<String>,
}

impl Dirty {
    fn take_in(&mut self, event: WatchEvent, mode: Mode, root: &str) {
        match event {
            WatchEvent::Watching => self.everything = true,
            // Which children a znode has is no part of it; they show by themselves.
            WatchEvent::Changed { event: EventType::NodeChildrenChanged, .. } => {}
            WatchEvent::Changed { path, .. } if mode.holds(root, &path) => {
                self.paths.insert(path);
            }
            WatchEvent::Changed { .. } => {}
        }
        if self.everything || self.paths.len() > MAX_DIRTY {
            self.everything = true;
            self.paths.clear();
        }
    }
}

impl Follower {
    pub(crate) async fn run(self) {
        let mode = if self.mode == Mode::Node { WatchMode::Node } else { WatchMode::Recursive };
        let watched = match self.zookeeper.watch(&self.root, mode) {
            Ok(watch) => self.follow(watch).await,
            Err(error) => Err(error),
        };
        if let Err(error) = watched {
            let _ = self.readings.send(Err(error)).await;
        }
        self.waker.notify();
    }

    async fn follow(&self, mut watch: Watch) -> Result<(), Error> {
        let mut dirty = Dirty::default();
        loop {
            if !dirty.everything && dirty.paths.is_empty() {
                let Some(event) = watch.next().await else { return Err(Error::Closed) };
                dirty.take_in(event?, self.mode, &self.root);
            }
            while let Some(event) = watch.try_next() {
                dirty.take_in(event?, self.mode, &self.root);
            }
            match self.read(&dirty).await {
                Ok(readings) => {
                    dirty = Dirty::default();
                    for reading in readings {
                        if self.readings.send(Ok(reading)).await.is_err() {
                            return Ok(());
                        }
                        self.waker.notify();
                    }
                }
                Err(error) if error.is_transient() => tokio::time::sleep(RETRY).await,
                Err(error) => return Err(error),
            }
        }
    }

    async fn read(&self, dirty: &Dirty) -> Result<Vec<Reading>, Error> {
        if dirty.everything {
            // The server that we are at now may be behind the one before.
            self.zookeeper.sync(&self.root).await?;
            let paths = self.list().await?;
            let znodes = self.znodes(paths).await?;
            return Ok(vec![Reading::Everything(
                znodes.into_iter().filter_map(|(_, znode)| znode).collect(),
            )]);
        }
        let mut znodes = self.znodes(dirty.paths.iter().cloned().collect()).await?;
        // As they were written; when something was deleted is not known.
        znodes.sort_by_key(|(_, znode)| znode.as_ref().map(|znode| znode.mzxid));
        Ok(znodes.into_iter().map(|(path, znode)| Reading::One(path, znode)).collect())
    }

    /// All paths that are followed now.
    async fn list(&self) -> Result<Vec<String>, Error> {
        if self.mode == Mode::Node {
            return Ok(vec![self.root.clone()]);
        }
        let mut found = Vec::new();
        let mut level = vec![self.root.clone()];
        while !level.is_empty() && found.len() <= self.limits.max_znodes {
            let mut next = Vec::new();
            for parents in level.chunks(READ_AT_ONCE) {
                let children = self.zookeeper.children_many(parents.to_vec()).await?;
                for (parent, children) in parents.iter().zip(children) {
                    next.extend(children.into_iter().flatten().map(|child| join(parent, &child)));
                }
            }
            found.extend(next.iter().cloned());
            level = if self.mode == Mode::Tree { next } else { Vec::new() };
        }
        Ok(found)
    }

    async fn znodes(&self, paths: Vec<String>) -> Result<Vec<(String, Option<ZNode>)>, Error> {
        let mut znodes = Vec::with_capacity(paths.len());
        let mut bytes = 0;
        for paths in paths.chunks(READ_AT_ONCE) {
            let read = self.zookeeper.get_many(paths.to_vec()).await?;
            for (path, read) in paths.iter().zip(read) {
                let znode = read.map(|(data, stat)| ZNode::new(path.clone(), data, &stat));
                bytes += znode.as_ref().map_or(0, ZNode::num_bytes);
                znodes.push((path.clone(), znode));
            }
            // More than is allowed is enough: the task fails by it.
            if bytes > self.limits.max_bytes {
                break;
            }
        }
        Ok(znodes)
    }
}
