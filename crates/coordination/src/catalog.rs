//! Tables and views, as the statements that make them.
//!
//! Invariant: a document is changed at the version that its writer has seen, or not at all.

use std::collections::{BTreeMap, BTreeSet};
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

/// Changes in one transaction.
pub const MAX_CHANGES: usize = 1_000;

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

/// `catalog/<database>`. A database that was made along with its first object has an empty znode, which says as much as this one's
/// default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DatabaseContent {
    /// `COMMENT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// `WITH`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

/// A change of the catalog. Without a version something new is made, without content something is dropped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "what")]
pub enum Change {
    /// Of a database.
    Database {
        /// Its name.
        database: String,
        /// What it is to be; `None`: dropped.
        content: Option<DatabaseContent>,
        /// The version that the writer has seen.
        version: Option<i32>,
    },
    /// Of a table or view.
    Object {
        /// Its database.
        database: String,
        /// Its name.
        object: String,
        /// What it is to be; `None`: dropped.
        content: Option<CatalogObject>,
        /// The version that the writer has seen.
        version: Option<i32>,
    },
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

    /// Makes all of these changes in one transaction, or none. The order matters where one is of a database: it is made before what is
    /// in it, and dropped after that.
    ///
    /// # Errors
    /// [`Error::ObjectExists`] and [`Error::Changed`] when somebody else came first; [`Error::InvalidName`],
    /// [`Error::InvalidDocument`], [`Error::TooMany`], [`Error::ZooKeeper`].
    pub async fn apply(&self, changes: &[Change]) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        if changes.len() > MAX_CHANGES {
            return Err(Error::TooMany { what: "changes of the catalog at once", limit: MAX_CHANGES });
        }
        let multi = self.transaction(changes).await?;
        match self.cluster.zookeeper().multi(multi).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_outcome_unknown() => {
                self.cluster.sync().await?;
                match self.is_done(changes).await? {
                    true => Ok(()),
                    false => Err(error.into()),
                }
            }
            Err(ZkError::Multi { source, .. }) => Err(match *source {
                ZkError::NodeExists { path } => self.exists(path),
                ZkError::BadVersion { path } | ZkError::NoNode { path } | ZkError::NotEmpty { path } => {
                    Error::Changed { path }
                }
                other => other.into(),
            }),
            Err(error) => Err(error.into()),
        }
    }

    async fn transaction(&self, changes: &[Change]) -> Result<Multi> {
        let mut multi = Multi::new();
        let mut made = BTreeSet::new();
        for change in changes {
            let (path, text, version) = match change {
                Change::Database { database, content, version } => {
                    checked("database", database)?;
                    made.insert(database.as_str());
                    let path = self.cluster.layout().database(database);
                    let text = content.as_ref().map(|content| encode(&path, content)).transpose()?;
                    (path, text, *version)
                }
                Change::Object { database, object, content, version } => {
                    let path = self.path(database, object)?;
                    if content.is_some() && version.is_none() && made.insert(database) {
                        let parent = self.cluster.layout().database(database);
                        multi = match self.cluster.zookeeper().exists(&parent).await? {
                            None => multi.create(&parent, "", CreateMode::Persistent),
                            Some(stat) if usize::try_from(stat.num_children).unwrap_or(0) >= MAX_OBJECTS => {
                                return Err(Error::TooMany {
                                    what: "objects in the database",
                                    limit: MAX_OBJECTS,
                                });
                            }
                            Some(_) => multi,
                        };
                    }
                    let text = content.as_ref().map(|content| encode(&path, content)).transpose()?;
                    (path, text, *version)
                }
            };
            multi = match (text, version) {
                (Some(text), None) => multi.create(&path, text, CreateMode::Persistent),
                (Some(text), version) => multi.set(&path, text, version),
                (None, version) => multi.delete(&path, version),
            };
        }
        Ok(multi)
    }

    /// Whether all of it is as the changes say.
    async fn is_done(&self, changes: &[Change]) -> Result<bool> {
        for change in changes {
            let done = match change {
                Change::Object { database, object, content, .. } => {
                    self.get(database, object).await?.map(|found| found.value) == *content
                }
                Change::Database { database, content, .. } => {
                    let path = self.cluster.layout().database(database);
                    self.cluster.zookeeper().exists(&path).await?.is_some() == content.is_some()
                }
            };
            if !done {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn exists(&self, path: String) -> Error {
        let root = format!("{}/", self.cluster.layout().catalog());
        match path.strip_prefix(&root).and_then(|below| below.split_once('/')) {
            Some((database, object)) => {
                Error::ObjectExists { database: database.to_owned(), object: object.to_owned() }
            }
            None => Error::Changed { path },
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

/// All databases, tables and views. Of one that cannot be read, the last good content stays, with the version of the other.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Catalog {
    databases: BTreeMap<String, Versioned<DatabaseContent>>,
    objects: BTreeMap<ObjectName, Arc<Versioned<CatalogObject>>>,
    problems: BTreeMap<String, String>,
}

/// Database and name of a table or view.
pub type ObjectName = (String, String);

impl Catalog {
    /// All databases.
    pub fn databases(&self) -> impl Iterator<Item = (&str, &Versioned<DatabaseContent>)> {
        self.databases.iter().map(|(name, database)| (name.as_str(), database))
    }

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

    /// What it is after changes, whatever their versions.
    pub fn with(&self, changes: &[Change]) -> Self {
        let mut catalog = self.clone();
        for change in changes {
            match change.clone() {
                Change::Database { database, content: Some(value), .. } => {
                    catalog.databases.insert(database, Versioned { value, version: 0 });
                }
                Change::Database { database, content: None, .. } => {
                    catalog.databases.remove(&database);
                }
                Change::Object { database, object, content: Some(value), .. } => {
                    catalog.objects.insert((database, object), Arc::new(Versioned { value, version: 0 }));
                }
                Change::Object { database, object, content: None, .. } => {
                    catalog.objects.remove(&(database, object));
                }
            }
        }
        catalog
    }

    /// Whether it shows these changes.
    pub fn shows(&self, changes: &[Change]) -> bool {
        changes.iter().all(|change| match change {
            Change::Database { database, content, .. } => {
                self.databases.get(database).map(|known| &known.value) == content.as_ref()
            }
            Change::Object { database, object, content, .. } => {
                self.get(database, object).map(|known| &known.value) == content.as_ref()
            }
        })
    }

    /// This catalog without the content that `wrong` finds fault with: what `before` held stays in force, with the new version, and
    /// what held nothing is left out.
    pub fn without(&self, wrong: BTreeMap<ObjectName, String>, before: &Self) -> Self {
        let mut catalog = self.clone();
        for (name, reason) in wrong {
            let path = format!("{}/{}", name.0, name.1);
            match (before.objects.get(&name), self.objects.get(&name)) {
                (Some(good), Some(bad)) => {
                    let kept = Versioned { value: good.value.clone(), version: bad.version };
                    catalog.objects.insert(name, Arc::new(kept));
                }
                _ => {
                    catalog.objects.remove(&name);
                }
            }
            if before.problems.get(&path) != Some(&reason) {
                tracing::warn!("catalog/{path} is ignored, what it held before stays in force: {reason}");
            }
            catalog.problems.insert(path, reason);
        }
        catalog
    }
}

impl Fold for Catalog {
    fn observe(&mut self, path: &str, found: Option<(&[u8], &Stat)>) {
        self.problems.remove(path);
        let problem = match path.split_once('/') {
            None if path.is_empty() => None,
            None => self.observe_database(path, found),
            Some((database, object)) => self.observe_object((database.to_owned(), object.to_owned()), found),
        };
        if let Some(reason) = problem {
            tracing::warn!("catalog/{path} is ignored, what it held before stays in force: {reason}");
            self.problems.insert(path.to_owned(), reason);
        }
    }
}

impl Catalog {
    fn observe_database(&mut self, name: &str, found: Option<(&[u8], &Stat)>) -> Option<String> {
        let Some((text, stat)) = found else {
            self.databases.remove(name);
            return None;
        };
        let known = self
            .databases
            .entry(name.to_owned())
            .or_insert_with(|| Versioned { value: DatabaseContent::default(), version: stat.version });
        known.version = stat.version;
        match if text.is_empty() { Ok(DatabaseContent::default()) } else { decode(text) } {
            Ok(value) => known.value = value,
            Err(reason) => return Some(reason),
        }
        None
    }

    fn observe_object(&mut self, name: ObjectName, found: Option<(&[u8], &Stat)>) -> Option<String> {
        let Some((text, stat)) = found else {
            self.objects.remove(&name);
            return None;
        };
        let version = stat.version;
        match decode(text) {
            Ok(value) => {
                self.objects.insert(name, Arc::new(Versioned { value, version }));
                None
            }
            Err(reason) => {
                // Whoever repairs or drops it does that at the version that is there.
                if let Some(known) = self.objects.get_mut(&name) {
                    *known = Arc::new(Versioned { value: known.value.clone(), version });
                }
                Some(reason)
            }
        }
    }
}
