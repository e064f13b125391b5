//! Follows a set of documents as they change.
//!
//! Invariant: what [`Watcher`] shows after [`Watcher::start`] and each [`Watcher::changed`] was in ZooKeeper at one moment: a
//! session is told of a change before it can read it, so a round of reads during which nothing was told is such a moment. No
//! change is missed: after each connection everything is read again.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use streamkeeper_zookeeper::{Error as ZkError, Watch, WatchEvent, WatchMode};

use super::Scope;
use super::document::Document;
use super::follow::{Followed, Verdict};
use super::store::ConfigStore;
use crate::error::{Error, Result};

/// Documents that one watcher follows at most.
pub const MAX_DOCUMENTS: usize = 256;

/// So many rounds of reads with changes between them; then what was read is shown, since the changes do not end.
const MAX_ROUNDS: usize = 20;

/// Pause before a read is tried again.
const RETRY: Duration = Duration::from_millis(200);

/// The documents of some scopes, as they are now.
pub struct Watcher {
    store: ConfigStore,
    watch: Watch,
    followed: BTreeMap<Scope, Followed>,
    /// The scope of each document's path.
    paths: BTreeMap<String, Scope>,
    dirty: BTreeSet<Scope>,
    /// A connection is new: what others wrote before must be seen.
    stale: bool,
}

impl Watcher {
    /// Reads all documents, and follows them from there.
    ///
    /// # Errors
    /// [`Error::ZooKeeper`] when they cannot be read now, [`Error::InvalidDocument`] when there are more than
    /// [`MAX_DOCUMENTS`].
    pub async fn start(store: ConfigStore, scopes: BTreeSet<Scope>) -> Result<Self> {
        if scopes.len() > MAX_DOCUMENTS {
            let reason = format!("a job reads at most {MAX_DOCUMENTS} documents, not {}", scopes.len());
            return Err(Error::InvalidDocument { scope: "configuration".into(), reason });
        }
        let root = format!("{}/config", store.layout().base());
        let watch = store.zookeeper().watch(&root, WatchMode::Recursive)?;
        let paths = scopes.iter().map(|scope| (store.layout().config(scope), scope.clone())).collect();
        let mut watcher =
            Self { store, watch, followed: BTreeMap::new(), paths, dirty: BTreeSet::new(), stale: false };
        let first = watcher.watch.next().await;
        watcher.take(first)?;
        watcher.store.sync().await?;
        for scope in scopes {
            let found = watcher.store.find(&scope).await?;
            watcher.followed.insert(scope, Followed::new(found.newest));
        }
        watcher.read().await?;
        Ok(watcher)
    }

    /// The documents in force.
    pub fn in_force(&self) -> impl Iterator<Item = (&Scope, &Document)> {
        self.followed.iter().filter_map(|(scope, followed)| Some((scope, followed.in_force()?)))
    }

    /// What is wrong with znodes whose content is ignored.
    pub fn problems(&self) -> impl Iterator<Item = (&Scope, &str)> {
        self.followed.iter().filter_map(|(scope, followed)| Some((scope, followed.problem()?)))
    }

    /// Waits until a document is in another revision, or has another problem; gives the verdicts on those.
    ///
    /// # Errors
    /// When the documents cannot be followed any more: the handle was closed, or access is denied.
    pub async fn changed(&mut self) -> Result<Vec<(Scope, Verdict)>> {
        loop {
            if self.dirty.is_empty() {
                let event = self.watch.next().await;
                self.take(event)?;
            }
            match self.read().await {
                Ok(verdicts) if verdicts.is_empty() => {}
                Ok(verdicts) => return Ok(verdicts),
                Err(Error::ZooKeeper(error)) if error.is_transient() => {
                    tracing::debug!("configuration documents cannot be read: {error}");
                    tokio::time::sleep(RETRY).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads what has changed until nothing more has.
    async fn read(&mut self) -> Result<Vec<(Scope, Verdict)>> {
        let mut texts: BTreeMap<Scope, Option<Vec<u8>>> = BTreeMap::new();
        for _ in 0..MAX_ROUNDS {
            if self.stale {
                self.store.sync().await?;
                self.stale = false;
            }
            for scope in self.dirty.clone() {
                let current = self.store.current(&scope).await?;
                texts.insert(scope, current.map(|(text, _)| text));
            }
            self.dirty.clear();
            while let Some(event) = now(self.watch.next()) {
                self.take(event)?;
            }
            if self.dirty.is_empty() {
                break;
            }
        }
        let mut verdicts = Vec::new();
        for (scope, text) in texts {
            let Some(followed) = self.followed.get_mut(&scope) else { continue };
            let before = followed.problem().map(str::to_owned);
            let verdict = followed.observe(text.as_deref());
            if verdict == Verdict::Changed || followed.problem() != before.as_deref() {
                verdicts.push((scope, verdict));
            }
        }
        Ok(verdicts)
    }

    fn take(&mut self, event: Option<std::result::Result<WatchEvent, ZkError>>) -> Result<()> {
        match event {
            None => Err(ZkError::Closed.into()),
            Some(Err(error)) => Err(error.into()),
            Some(Ok(WatchEvent::Watching)) => {
                self.stale = true;
                self.dirty.extend(self.paths.values().cloned());
                Ok(())
            }
            Some(Ok(WatchEvent::Changed { path, .. })) => {
                self.dirty.extend(self.paths.get(&path).cloned());
                Ok(())
            }
        }
    }
}

/// What `future` has ready.
fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}
