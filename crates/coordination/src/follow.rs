//! Follows a subtree of znodes, and shows what it holds.
//!
//! Invariant: what a [`Followed`] shows was in ZooKeeper at one moment, unless changes come faster than they can be read: a session
//! is told of a change before it can read it, so a round of reads during which nothing was told is such a moment. The last state is
//! always shown: after each connection, and after a queue that overflowed, everything is read again.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use streamkeeper_zookeeper::{
    Error as ZkError, Spawned, Stat, Watch, WatchEvent, WatchMode, ZooKeeper, spawn,
};
use tokio::sync::watch;

use crate::error::{Error, Result};

/// Znodes of one subtree; more are not followed.
const MAX_ZNODES: usize = 100_000;

/// So many rounds of reads with changes between them; then what was read is shown, since the changes do not end.
const MAX_ROUNDS: usize = 20;

/// Znodes that are asked for at once.
const BATCH: usize = 256;

/// Pause before a read is tried again.
const RETRY: Duration = Duration::from_millis(100);

/// What is made of a subtree, a znode at a time.
pub(crate) trait Fold: Clone + Send + Sync + 'static {
    /// Takes what the znode at `path`, below the root and without a leading `/`, holds; `None` when it is gone.
    fn observe(&mut self, path: &str, found: Option<(&[u8], &Stat)>);
}

/// What a subtree holds, as it changes. It is followed in the background until this is dropped; clones share that.
#[derive(Debug)]
pub struct Followed<T> {
    shown: watch::Receiver<Arc<T>>,
    task: Arc<Task>,
}

#[derive(Debug)]
struct Task {
    what: String,
    ended: Arc<OnceLock<String>>,
    _spawned: Spawned,
}

impl<T> Clone for Followed<T> {
    fn clone(&self) -> Self {
        Self { shown: self.shown.clone(), task: self.task.clone() }
    }
}

impl<T> Followed<T> {
    /// What it holds now, as far as is known. It counts as seen.
    pub fn now(&mut self) -> Arc<T> {
        self.shown.borrow_and_update().clone()
    }

    /// What it holds now, as far as is known, without counting as seen.
    pub fn peek(&self) -> Arc<T> {
        self.shown.borrow().clone()
    }

    /// Waits until it holds something that was not seen yet, and gives that. Nothing is lost if the future is dropped.
    ///
    /// # Errors
    /// [`Error::WatchEnded`] when it cannot be followed any more: the handle was closed, or access is denied.
    pub async fn changed(&mut self) -> Result<Arc<T>> {
        match self.shown.changed().await {
            Ok(()) => Ok(self.now()),
            Err(_) => Err(Error::WatchEnded {
                what: self.task.what.clone(),
                reason: self.task.ended.get().cloned().unwrap_or_else(|| "its task is gone".into()),
            }),
        }
    }

    /// Waits until what it holds is as `wanted`, and gives that.
    ///
    /// # Errors
    /// As [`Self::changed`].
    pub async fn wait_for(&mut self, mut wanted: impl FnMut(&T) -> bool) -> Result<Arc<T>> {
        let mut shown = self.now();
        while !wanted(&shown) {
            shown = self.changed().await?;
        }
        Ok(shown)
    }
}

/// Follows the znode `root`, or all below it, and waits until it was read once.
pub(crate) async fn follow<T: Fold>(
    zookeeper: &ZooKeeper,
    root: String,
    mode: WatchMode,
    empty: T,
) -> Result<Followed<T>> {
    let watch = zookeeper.watch(&root, mode)?;
    let (sender, mut shown) = watch::channel(Arc::new(empty.clone()));
    let ended = Arc::new(OnceLock::new());
    let follower = Follower {
        zookeeper: zookeeper.clone(),
        root: root.clone(),
        mode,
        watch,
        fold: empty,
        known: BTreeSet::new(),
        dirty: BTreeSet::new(),
        all: false,
    };
    let why = ended.clone();
    let spawned = spawn(async move {
        if let Err(error) = follower.run(&sender).await {
            tracing::error!("{error}");
            // Set once, here.
            let _ = why.set(error.to_string());
        }
    })?;
    let followed = |shown| Followed { shown, task: Arc::new(Task { what: root, ended, _spawned: spawned }) };
    // An error is told by `changed`, which is called at once.
    if shown.changed().await.is_err() {
        let mut followed = followed(shown);
        return followed.changed().await.map(|_| followed);
    }
    Ok(followed(shown))
}

struct Follower<T> {
    zookeeper: ZooKeeper,
    root: String,
    mode: WatchMode,
    watch: Watch,
    fold: T,
    /// The znodes that the fold was told to be there.
    known: BTreeSet<String>,
    /// Those that are to be read.
    dirty: BTreeSet<String>,
    /// Whether all is to be read, what others wrote before the connection included.
    all: bool,
}

impl<T: Fold> Follower<T> {
    async fn run(mut self, shown: &watch::Sender<Arc<T>>) -> Result<()> {
        loop {
            if self.dirty.is_empty() && !self.all {
                let event = self.watch.next().await;
                self.take(event)?;
            }
            match self.read().await {
                Ok(()) => {
                    shown.send_replace(Arc::new(self.fold.clone()));
                }
                Err(Error::ZooKeeper(error)) if error.is_transient() => {
                    tracing::debug!("{} cannot be read: {error}", self.root);
                    tokio::time::sleep(RETRY).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads what has changed until nothing more has.
    async fn read(&mut self) -> Result<()> {
        for _ in 0..MAX_ROUNDS {
            let paths = if self.all {
                self.zookeeper.sync(&self.root).await?;
                let mut paths = self.walk().await?;
                paths.extend(self.known.iter().cloned());
                paths.extend(self.dirty.iter().cloned());
                paths
            } else {
                self.dirty.clone()
            };
            self.load(paths).await?;
            self.all = false;
            self.dirty.clear();
            while let Some(event) = self.watch.try_next() {
                self.take(Some(event))?;
            }
            if self.dirty.is_empty() && !self.all {
                break;
            }
        }
        Ok(())
    }

    /// The root and all znodes below it.
    async fn walk(&self) -> Result<BTreeSet<String>> {
        let mut found = BTreeSet::from([self.root.clone()]);
        let mut level = match self.mode {
            WatchMode::Node => Vec::new(),
            WatchMode::Recursive => vec![self.root.clone()],
        };
        while !level.is_empty() {
            let mut below = Vec::new();
            for parents in level.chunks(BATCH) {
                let children = self.zookeeper.children_many(parents.to_vec()).await?;
                for (parent, names) in parents.iter().zip(children) {
                    below.extend(names.into_iter().flatten().map(|name| format!("{parent}/{name}")));
                }
            }
            found.extend(below.iter().cloned());
            self.check(found.len())?;
            level = below;
        }
        Ok(found)
    }

    async fn load(&mut self, paths: BTreeSet<String>) -> Result<()> {
        let paths: Vec<String> = paths.into_iter().collect();
        for batch in paths.chunks(BATCH) {
            let found = self.zookeeper.get_many(batch.to_vec()).await?;
            for (path, found) in batch.iter().zip(found) {
                if found.is_some() {
                    self.known.insert(path.clone());
                } else {
                    self.known.remove(path);
                }
                let below = path.strip_prefix(self.root.as_str()).unwrap_or(path).trim_start_matches('/');
                self.fold.observe(below, found.as_ref().map(|(text, stat)| (text.as_slice(), stat)));
            }
        }
        self.check(self.known.len())
    }

    fn check(&self, znodes: usize) -> Result<()> {
        if znodes > MAX_ZNODES {
            return Err(Error::TooMany { what: "znodes to follow", limit: MAX_ZNODES });
        }
        Ok(())
    }

    fn take(&mut self, event: Option<std::result::Result<WatchEvent, ZkError>>) -> Result<()> {
        match event {
            None => return Err(ZkError::Closed.into()),
            Some(Err(error)) => return Err(error.into()),
            Some(Ok(WatchEvent::Watching)) => self.all = true,
            Some(Ok(WatchEvent::Changed { path, .. })) => {
                self.dirty.insert(path);
            }
        }
        Ok(())
    }
}
