//! Tables and views, as the statements that make them.
//!
//! Invariant: a document is changed at the version that its writer has seen, or not at all.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use streamkeeper_zookeeper::{CreateMode, Error as ZkError, Multi, Stat, WatchMode};

use crate::cluster::Cluster;
use crate::document::{Versioned, decode, encode, read};
use crate::error::{Error, Result};
use crate::follow::{Fold, Followed, follow};
use crate::layout::checked;

/// Objects of one database.
pub const MAX_OBJECTS: usize = 10_000;

/// How often a write is tried anew because somebody else came first.
const ATTEMPTS: usize = 20;

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ObjectKind {
    /// A table.
    Table,
    /// A view.
    View,
}

/// `catalog/<database>/<object>`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CatalogObject {
    /// What it is.
    pub kind: ObjectKind,
    /// The CREATE TABLE or CREATE VIEW statement.
    pub statement: String,
    /// What else is to be known of it.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub details: Value,
}

/// The catalog of a cluster.
#[derive(Clone)]
pub struct CatalogStore {
    cluster: Cluster,
}

impl CatalogStore {
    /// The catalog of `cluster`.
    pub fn new(cluster: Cluster) -> Self {
        Self { cluster }
    }

    /// One object.
    ///
    /// # Errors
    /// [`Error::UnreadableDocument`], [`Error::ZooKeeper`].
    pub async fn get(&self, database: &str, object: &str) -> Result<Option<Versioned<CatalogObject>>> {
        let path = self.path(database, object)?;
        match self.cluster.zookeeper().get(&path).await {
            Ok((text, stat)) => Ok(Some(Versioned { value: read(&path, &text)?, version: stat.version })),
            Err(ZkError::NoNode { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes an object, in one transaction with its database if that is missing.
    ///
    /// # Errors
    /// [`Error::ObjectExists`], [`Error::InvalidName`], [`Error::InvalidDocument`], [`Error::TooMany`], [`Error::ZooKeeper`].
    pub async fn create(&self, database: &str, object: &str, content: &CatalogObject) -> Result<()> {
        let path = self.path(database, object)?;
        let text = encode(&path, content)?;
        let parent = self.cluster.layout().database(database);
        let mut unsure = false;
        for _ in 0..ATTEMPTS {
            match self.get(database, object).await? {
                Some(known) if unsure && known.version == 0 && known.value == *content => return Ok(()),
                Some(_) => {
                    let (database, object) = (database.to_owned(), object.to_owned());
                    return Err(Error::ObjectExists { database, object });
                }
                None => {}
            }
            let mut multi = Multi::new();
            match self.cluster.zookeeper().exists(&parent).await? {
                None => multi = multi.create(&parent, "", CreateMode::Persistent),
                Some(stat) if usize::try_from(stat.num_children).unwrap_or(0) >= MAX_OBJECTS => {
                    return Err(Error::TooMany { what: "objects in the database", limit: MAX_OBJECTS });
                }
                Some(_) => {}
            }
            let multi = multi.create(&path, text.clone(), CreateMode::Persistent);
            match self.cluster.zookeeper().multi(multi).await {
                Ok(_) => return Ok(()),
                Err(error) if error.is_outcome_unknown() => unsure = true,
                Err(ZkError::Multi { source, .. })
                    if matches!(*source, ZkError::NodeExists { .. } | ZkError::NoNode { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            self.cluster.sync().await?;
        }
        Err(Error::Contended { scope: path, attempts: ATTEMPTS })
    }

    /// Replaces an object that has this version; gives the new one.
    ///
    /// # Errors
    /// [`Error::Changed`] when it has another or is gone; [`Error::InvalidDocument`], [`Error::ZooKeeper`].
    pub async fn replace(
        &self,
        database: &str,
        object: &str,
        content: &CatalogObject,
        version: i32,
    ) -> Result<i32> {
        let path = self.path(database, object)?;
        let text = encode(&path, content)?;
        match self.cluster.zookeeper().set(&path, text, Some(version)).await {
            Ok(stat) => Ok(stat.version),
            Err(ZkError::BadVersion { .. } | ZkError::NoNode { .. }) => Err(Error::Changed { path }),
            Err(error) if error.is_outcome_unknown() => {
                self.cluster.sync().await?;
                let found = self.get(database, object).await?;
                // What was not done is left to the caller, who sees it so.
                match found.filter(|found| found.version == version + 1 && found.value == *content) {
                    Some(found) => Ok(found.version),
                    None => Err(error.into()),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Drops an object that has this version. One that is gone already is dropped.
    ///
    /// # Errors
    /// [`Error::Changed`], [`Error::ZooKeeper`].
    pub async fn drop_object(&self, database: &str, object: &str, version: i32) -> Result<()> {
        let path = self.path(database, object)?;
        match self.cluster.zookeeper().delete(&path, Some(version)).await {
            Ok(()) | Err(ZkError::NoNode { .. }) => Ok(()),
            Err(ZkError::BadVersion { .. }) => Err(Error::Changed { path }),
            Err(error) if error.is_outcome_unknown() => {
                self.cluster.sync().await?;
                match self.get(database, object).await? {
                    None => Ok(()),
                    Some(_) => Err(error.into()),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Follows the whole catalog; its first state is a listing.
    ///
    /// # Errors
    /// [`Error::ZooKeeper`], [`Error::WatchEnded`].
    pub async fn watch(&self) -> Result<Followed<Catalog>> {
        let root = self.cluster.layout().catalog();
        follow(self.cluster.zookeeper(), root, WatchMode::Recursive, Catalog::default()).await
    }

    fn path(&self, database: &str, object: &str) -> Result<String> {
        checked("database", database)?;
        checked("table or view", object)?;
        Ok(self.cluster.layout().catalog_object(database, object))
    }
}

/// All tables and views. Of one that cannot be read, the last good content stays.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Catalog {
    objects: BTreeMap<(String, String), Arc<Versioned<CatalogObject>>>,
    problems: BTreeMap<String, String>,
}

impl Catalog {
    /// All objects, with database and name.
    pub fn objects(&self) -> impl Iterator<Item = (&str, &str, &Arc<Versioned<CatalogObject>>)> {
        self.objects.iter().map(|((database, name), object)| (database.as_str(), name.as_str(), object))
    }

    /// One of them.
    pub fn get(&self, database: &str, object: &str) -> Option<&Arc<Versioned<CatalogObject>>> {
        self.objects.get(&(database.to_owned(), object.to_owned()))
    }

    /// What is wrong with objects, `database/name`, whose content is ignored.
    pub fn problems(&self) -> impl Iterator<Item = (&str, &str)> {
        self.problems.iter().map(|(object, problem)| (object.as_str(), problem.as_str()))
    }
}

impl Fold for Catalog {
    fn observe(&mut self, path: &str, found: Option<(&[u8], &Stat)>) {
        let Some((database, object)) = path.split_once('/') else { return };
        let key = (database.to_owned(), object.to_owned());
        self.problems.remove(path);
        match found.map(|(text, stat)| (decode(text), stat.version)) {
            None => {
                self.objects.remove(&key);
            }
            Some((Ok(value), version)) => {
                self.objects.insert(key, Arc::new(Versioned { value, version }));
            }
            Some((Err(reason), _)) => {
                tracing::warn!("catalog/{path} is ignored, what it held before stays in force: {reason}");
                self.problems.insert(path.to_owned(), reason);
            }
        }
    }
}
