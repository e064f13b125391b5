//! Documents in ZooKeeper.
//!
//! Invariant: a document and its place in the history are written by one transaction, at the version that was looked at; so a
//! write that was told to succeed is the next revision, and no write is lost. A write whose answer was lost is looked up.

use std::collections::BTreeSet;

use streamkeeper_zookeeper::{CreateMode, Error as ZkError, Multi, ZooKeeper};

use super::Scope;
use super::document::Document;
use super::edit::{Edit, Found, Plan, plan};
use crate::error::{Error, Result};
use crate::layout::Layout;

/// How often a write is planned anew because somebody else came first.
const ATTEMPTS: usize = 50;

/// The documents of one cluster.
#[derive(Clone)]
pub struct ConfigStore {
    zookeeper: ZooKeeper,
    layout: Layout,
}

impl ConfigStore {
    /// The documents below `layout`.
    pub fn new(zookeeper: ZooKeeper, layout: Layout) -> Self {
        Self { zookeeper, layout }
    }

    /// The session.
    pub fn zookeeper(&self) -> &ZooKeeper {
        &self.zookeeper
    }

    /// Where the documents are.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Waits until all that was written before the call can be read.
    ///
    /// # Errors
    /// [`Error::ZooKeeper`].
    pub async fn sync(&self) -> Result<()> {
        Ok(self.zookeeper.sync(self.layout.base()).await?)
    }

    /// What there is of a document. The history is read first: the document is then never older than it.
    ///
    /// # Errors
    /// [`Error::ZooKeeper`].
    pub async fn find(&self, scope: &Scope) -> Result<Found> {
        let revisions = self.revisions(scope).await?;
        let mut newest = None;
        for revision in revisions.iter().rev() {
            newest = self.archived(scope, *revision).await?;
            if newest.is_some() {
                break;
            }
        }
        Ok(Found { current: self.current(scope).await?, revisions, newest })
    }

    /// Text and version of the document's znode.
    ///
    /// # Errors
    /// [`Error::ZooKeeper`].
    pub async fn current(&self, scope: &Scope) -> Result<Option<(Vec<u8>, i32)>> {
        let found = absent_is_none(self.zookeeper.get(&self.layout.config(scope)).await)?;
        Ok(found.map(|(text, stat)| (text, stat.version)))
    }

    /// The revisions in the history, in order.
    ///
    /// # Errors
    /// [`Error::ZooKeeper`].
    pub async fn revisions(&self, scope: &Scope) -> Result<Vec<u64>> {
        let children = self.children(&self.layout.config_history(scope)).await?;
        let number = |name: &String| (name.len() == 10).then(|| name.parse().ok()).flatten();
        let mut revisions: Vec<u64> = children.iter().filter_map(number).collect();
        revisions.sort_unstable();
        Ok(revisions)
    }

    /// A revision of the history; none if it is not there, or was spoilt.
    async fn archived(&self, scope: &Scope, revision: u64) -> Result<Option<Document>> {
        let path = self.layout.config_revision(scope, revision);
        let Some((text, _)) = absent_is_none(self.zookeeper.get(&path).await)? else { return Ok(None) };
        match Document::decode(&text) {
            Ok(document) if document.revision == revision => Ok(Some(document)),
            Ok(document) => {
                tracing::warn!("{path} is ignored: it holds revision {}", document.revision);
                Ok(None)
            }
            Err(reason) => {
                tracing::warn!("{path} is ignored: {reason}");
                Ok(None)
            }
        }
    }

    /// A revision: of the history, or the one in force if it has not entered the history yet.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::ZooKeeper`].
    pub async fn revision(&self, scope: &Scope, revision: u64) -> Result<Document> {
        if let Some(document) = self.archived(scope, revision).await? {
            return Ok(document);
        }
        let found = self.find(scope).await?;
        let in_force = found.followed().in_force().cloned();
        in_force.filter(|document| document.revision == revision).ok_or_else(|| {
            let kept = match (found.revisions.first(), found.revisions.last()) {
                (Some(first), Some(last)) => format!("the history has revisions {first} to {last}"),
                _ => "there is no history".into(),
            };
            Error::NotFound(format!("{scope} has no revision {revision}; {kept}"))
        })
    }

    /// The newest `limit` revisions, the newest first.
    ///
    /// # Errors
    /// [`Error::ZooKeeper`].
    pub async fn history(&self, scope: &Scope, limit: usize) -> Result<Vec<Document>> {
        let found = self.find(scope).await?;
        let in_force = found.followed().in_force().cloned();
        let mut documents: Vec<Document> =
            in_force.filter(|document| !found.revisions.contains(&document.revision)).into_iter().collect();
        for revision in found.revisions.iter().rev() {
            if documents.len() >= limit {
                break;
            }
            documents.extend(self.archived(scope, *revision).await?);
        }
        Ok(documents)
    }

    /// All documents, in order.
    ///
    /// # Errors
    /// [`Error::ZooKeeper`].
    pub async fn list(&self) -> Result<Vec<Scope>> {
        let cluster = self.current(&Scope::Cluster).await?;
        let mut scopes: Vec<Scope> = cluster.map(|_| Scope::Cluster).into_iter().collect();
        for kind in ["job", "shared"] {
            let names = self.children(&self.layout.config_kind(kind)).await?;
            scopes.extend(names.iter().filter_map(|name| Scope::parse(&format!("{kind}/{name}")).ok()));
        }
        scopes.sort();
        Ok(scopes)
    }

    async fn children(&self, path: &str) -> Result<Vec<String>> {
        let found = absent_is_none(self.zookeeper.children(path).await)?;
        Ok(found.map(|(names, _)| names).unwrap_or_default())
    }

    /// Writes the revision that `edit` asks for. Revisions in `kept` stay in the history.
    ///
    /// # Errors
    /// Those of [`plan`]; [`Error::Contended`]; [`Error::ZooKeeper`].
    pub async fn write(&self, scope: &Scope, edit: Edit, kept: &BTreeSet<u64>) -> Result<Plan> {
        for _ in 0..ATTEMPTS {
            self.sync().await?;
            let found = self.find(scope).await?;
            let planned = plan(scope, &found, edit.clone(), kept)?;
            if found.current.is_none() || found.revisions.is_empty() {
                let document = self.layout.config(scope);
                let parent = document.rsplit_once('/').map_or("/", |(parent, _)| parent);
                self.zookeeper.create_all(parent).await?;
                self.zookeeper.create_all(&self.layout.config_history(scope)).await?;
            }
            match self.zookeeper.multi(self.transaction(scope, &planned)).await {
                Ok(_) => return Ok(planned),
                Err(ZkError::Multi { source, .. }) if is_race(&source) => {}
                Err(error) if error.is_outcome_unknown() => {
                    self.sync().await?;
                    let path = self.layout.config_revision(scope, planned.document.revision);
                    let written = absent_is_none(self.zookeeper.get(&path).await)?;
                    if written.is_some_and(|(text, _)| text == planned.text) {
                        return Ok(planned);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Contended { scope: scope.to_string(), attempts: ATTEMPTS })
    }

    fn transaction(&self, scope: &Scope, planned: &Plan) -> Multi {
        let path = self.layout.config(scope);
        let mut multi = match planned.version {
            None => Multi::new().create(&path, planned.text.clone(), CreateMode::Persistent),
            Some(version) => Multi::new().set(&path, planned.text.clone(), Some(version)),
        };
        for (revision, text) in &planned.archive {
            let path = self.layout.config_revision(scope, *revision);
            multi = multi.create(&path, text.clone(), CreateMode::Persistent);
        }
        for revision in &planned.delete {
            multi = multi.delete(&self.layout.config_revision(scope, *revision), None);
        }
        multi
    }
}

/// Whether somebody else came first, so that a new look is needed.
fn is_race(error: &ZkError) -> bool {
    matches!(error, ZkError::BadVersion { .. } | ZkError::NodeExists { .. } | ZkError::NoNode { .. })
}

fn absent_is_none<T>(result: std::result::Result<T, ZkError>) -> Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(ZkError::NoNode { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
