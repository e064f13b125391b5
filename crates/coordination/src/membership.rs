//! Which TaskManagers are there: each has an ephemeral document, made anew when its session was lost.
//!
//! Invariant: as long as a [`Registration`] is held and ZooKeeper can be reached, the document is there and of the process's own
//! session. An id is of one process, and never used again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use streamkeeper_zookeeper::{CreateMode, Error as ZkError, Spawned, Stat, WatchMode, spawn};
use tokio::sync::watch;

use crate::cluster::Cluster;
use crate::document::{Versioned, decode, encode};
use crate::error::{Error, Result};
use crate::follow::{Fold, Followed, follow};
use crate::layout::checked;

/// Pause before a registration is tried again.
const RETRY: Duration = Duration::from_millis(100);

/// The same after an error that may stay.
const LONG_RETRY: Duration = Duration::from_secs(2);

/// `taskmanagers/<id>`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TaskManagerDocument {
    /// A name with the incarnation in it: a process that is started again has another.
    pub id: String,
    /// `host:port` for the leader.
    pub rpc_address: String,
    /// `host:port` for the data of other TaskManagers.
    pub data_address: String,
    /// How many slots it has.
    pub slots: u32,
    /// When the process began, in milliseconds since 1970.
    #[serde(default)]
    pub started_ms: u64,
    /// What else is to be known of it.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub details: Value,
}

/// A TaskManager's registration, which is kept up in the background until this is dropped. The document goes with the session, or by
/// [`Registration::leave`].
#[derive(Debug)]
pub struct Registration {
    cluster: Cluster,
    path: String,
    registered: watch::Receiver<bool>,
    task: Spawned,
}

impl Registration {
    /// Waits until the document is there: at first, and again after it was lost.
    ///
    /// # Errors
    /// [`Error::WatchEnded`] when the handle was closed.
    pub async fn registered(&mut self) -> Result<()> {
        let ended = |_| Error::WatchEnded {
            what: "the registration".into(),
            reason: "the ZooKeeper handle is closed".into(),
        };
        self.registered.wait_for(|registered| *registered).await.map(drop).map_err(ended)
    }

    /// Deletes the document, so that everybody knows at once.
    ///
    /// # Errors
    /// [`Error::ZooKeeper`]; it goes with the session then.
    pub async fn leave(mut self) -> Result<()> {
        drop(self.task);
        // Until the task is gone: it would register again.
        while self.registered.changed().await.is_ok() {}
        match self.cluster.zookeeper().delete(&self.path, None).await {
            Ok(()) | Err(ZkError::NoNode { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// What to do for a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The document is there.
    Nothing,
    /// It has to be made.
    Create,
    /// It is of an earlier session of this process: it has to go first.
    Replace,
    /// It is of another process, which must not be disturbed.
    Refuse,
}

/// What follows from the document that is there: its text and the session that owns it.
fn step(found: Option<(&[u8], i64)>, own: (&[u8], i64)) -> Step {
    match found {
        None => Step::Create,
        Some((_, owner)) if owner == own.1 => Step::Nothing,
        Some((text, _)) if text == own.0 => Step::Replace,
        Some(_) => Step::Refuse,
    }
}

impl Cluster {
    /// Registers a TaskManager, and keeps it registered. Returns at once.
    ///
    /// # Errors
    /// [`Error::InvalidName`], [`Error::InvalidDocument`], [`Error::ZooKeeper`].
    pub fn register_task_manager(&self, document: &TaskManagerDocument) -> Result<Registration> {
        checked("TaskManager", &document.id)?;
        let path = self.layout().task_manager(&document.id);
        let text = encode(&path, document)?;
        let mut watch = self.zookeeper().watch(&path, WatchMode::Node)?;
        let (sender, registered) = watch::channel(false);
        let (cluster, kept) = (self.clone(), path.clone());
        let task = spawn(async move {
            let path = kept;
            while let Some(Ok(_)) = watch.next().await {
                while let Err(error) = register(&cluster, &path, &text, &sender).await {
                    match error {
                        Error::ZooKeeper(ZkError::Closed) => return,
                        Error::ZooKeeper(error) if error.is_transient() => {
                            tracing::debug!("{path}: {error}");
                            tokio::time::sleep(RETRY).await;
                        }
                        error @ Error::InvalidName { .. } => {
                            tracing::error!("the TaskManager is not registered: {error}");
                            break;
                        }
                        error => {
                            tracing::error!("the TaskManager is not registered: {error}");
                            tokio::time::sleep(LONG_RETRY).await;
                        }
                    }
                }
            }
        })?;
        Ok(Registration { cluster: self.clone(), path, registered, task })
    }

    /// Follows which TaskManagers are there.
    ///
    /// # Errors
    /// [`Error::ZooKeeper`], [`Error::WatchEnded`].
    pub async fn watch_task_managers(&self) -> Result<Followed<TaskManagers>> {
        follow(self.zookeeper(), self.layout().task_managers(), WatchMode::Recursive, TaskManagers::default())
            .await
    }
}

/// Sees to it that the document is there.
async fn register(cluster: &Cluster, path: &str, text: &[u8], told: &watch::Sender<bool>) -> Result<()> {
    let zookeeper = cluster.zookeeper();
    loop {
        zookeeper.sync(path).await?;
        let found = match zookeeper.get(path).await {
            Ok(found) => Some(found),
            Err(ZkError::NoNode { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let found = found.as_ref().map(|(text, stat)| (text.as_slice(), stat.ephemeral_owner));
        let next = step(found, (text, zookeeper.status().session_id));
        told.send_if_modified(|told| std::mem::replace(told, next == Step::Nothing) != *told);
        let done = match next {
            Step::Nothing => return Ok(()),
            Step::Create => zookeeper.create(path, text, CreateMode::Ephemeral).await.map(drop),
            Step::Replace => zookeeper.delete(path, None).await,
            Step::Refuse => {
                let reason = "another process is registered under it".to_owned();
                return Err(Error::InvalidName { what: "TaskManager".into(), name: path.into(), reason });
            }
        };
        match done {
            Ok(()) | Err(ZkError::NodeExists { .. }) => {}
            Err(ZkError::NoNode { .. }) => cluster.prepare().await?,
            Err(error) => return Err(error.into()),
        }
    }
}

/// The TaskManagers that are there, by id.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TaskManagers {
    members: BTreeMap<String, Arc<Versioned<TaskManagerDocument>>>,
}

impl TaskManagers {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &TaskManagerDocument)> {
        self.members.iter().map(|(id, member)| (id.as_str(), &member.value))
    }

    /// One of them.
    pub fn get(&self, id: &str) -> Option<&TaskManagerDocument> {
        self.members.get(id).map(|member| &member.value)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

impl FromIterator<TaskManagerDocument> for TaskManagers {
    fn from_iter<T: IntoIterator<Item = TaskManagerDocument>>(documents: T) -> Self {
        let member =
            |value: TaskManagerDocument| (value.id.clone(), Arc::new(Versioned { value, version: 0 }));
        Self { members: documents.into_iter().map(member).collect() }
    }
}

impl Fold for TaskManagers {
    fn observe(&mut self, path: &str, found: Option<(&[u8], &Stat)>) {
        if path.is_empty() || path.contains('/') {
            return;
        }
        let Some((text, stat)) = found else {
            self.members.remove(path);
            return;
        };
        match decode::<TaskManagerDocument>(text) {
            Ok(value) if value.id == path => {
                let member = Versioned { value, version: stat.version };
                self.members.insert(path.to_owned(), Arc::new(member));
            }
            Ok(value) => tracing::warn!("taskmanagers/{path} is ignored: it says it is {}", value.id),
            Err(reason) => tracing::warn!("taskmanagers/{path} is ignored: {reason}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_of_an_earlier_session_is_replaced_and_one_of_another_process_is_not() {
        let own: (&[u8], i64) = (b"own", 7);
        assert_eq!(step(None, own), Step::Create);
        assert_eq!(step(Some((b"edited", 7)), own), Step::Nothing);
        assert_eq!(step(Some((b"own", 6)), own), Step::Replace);
        assert_eq!(step(Some((b"other", 6)), own), Step::Refuse);
    }
}
