//! Tables and views between a cluster's catalog and a session: what the session begins with, and what its statements have changed.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};
use streamkeeper_coordination::catalog::{CatalogObject, Change, DatabaseContent, ObjectKind, ObjectName};
use streamkeeper_sql::catalog::{DEFAULT_DATABASE, Database};
use streamkeeper_sql::session::{Definition, Session};

use super::client::Client;
use crate::Failure;

const PATH: &str = "/v1/streamkeeper/catalog";

/// The key of an object's details that says where the unqualified names of a view are looked up, if not in its own database.
const VIEW_DATABASE: &str = "database";

/// What a session makes of an object.
pub(super) fn definition(database: &str, object: &CatalogObject) -> Definition {
    let view_database = object.details.get(VIEW_DATABASE).and_then(Value::as_str);
    Definition {
        is_view: object.kind == ObjectKind::View,
        statement: object.statement.clone(),
        database: view_database.unwrap_or(database).to_owned(),
    }
}

/// What a session makes of a database.
pub(super) fn database(content: &DatabaseContent) -> Database {
    let mut database = Database::default();
    database.comment.clone_from(&content.comment);
    database.options = content.options.clone().into_iter().collect();
    database
}

fn object(database: &str, definition: &Definition) -> CatalogObject {
    let elsewhere = definition.is_view && definition.database != database;
    CatalogObject {
        kind: if definition.is_view { ObjectKind::View } else { ObjectKind::Table },
        statement: definition.statement.clone(),
        details: if elsewhere { json!({ VIEW_DATABASE: definition.database }) } else { Value::Null },
    }
}

#[derive(Deserialize)]
struct Answer {
    databases: Vec<DatabaseEntry>,
    objects: Vec<ObjectEntry>,
    problems: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct DatabaseEntry {
    database: String,
    content: DatabaseContent,
    version: i32,
}

#[derive(Deserialize)]
struct ObjectEntry {
    database: String,
    object: String,
    content: CatalogObject,
    version: i32,
}

/// What a session began with.
pub(super) struct Loaded {
    database_versions: BTreeMap<String, i32>,
    object_versions: BTreeMap<ObjectName, i32>,
    databases: BTreeMap<String, Database>,
    definitions: BTreeMap<ObjectName, Definition>,
}

/// Puts the cluster's tables and views into a session.
pub(super) fn load(client: &Client, session: &mut Session) -> Result<Loaded, Failure> {
    let answer: Answer = serde_json::from_value(client.get(PATH)?)
        .map_err(|e| Failure::job(format!("the JobManager's catalog cannot be read: {e}")))?;
    for (object, reason) in &answer.problems {
        tracing::warn!("catalog/{object} in ZooKeeper is ignored: {reason}");
    }
    let mut versions = (BTreeMap::new(), BTreeMap::new());
    for entry in answer.databases {
        session.define_database(&entry.database, database(&entry.content));
        versions.0.insert(entry.database, entry.version);
    }
    let mut definitions = BTreeMap::new();
    for entry in answer.objects {
        let definition = definition(&entry.database, &entry.content);
        let name = (entry.database, entry.object);
        versions.1.insert(name.clone(), entry.version);
        definitions.insert(name, definition);
    }
    let by_name = definitions.iter().map(|(name, definition)| (name.clone(), definition));
    for ((database, object), error) in session.define(by_name, |_| false) {
        tracing::warn!("catalog/{database}/{object} cannot be used by this build: {}", error.message);
    }
    Ok(Loaded {
        database_versions: versions.0,
        object_versions: versions.1,
        databases: session.databases(),
        definitions: session.definitions(),
    })
}

impl Loaded {
    /// Writes what the session has changed since, in one transaction.
    pub(super) fn store(&self, client: &Client, session: &Session) -> Result<(), Failure> {
        let changes = self.changes(&session.databases(), &session.definitions());
        if changes.is_empty() {
            return Ok(());
        }
        client.post(PATH, &json!({ "changes": changes })).map(drop)
    }

    /// What is to be made, then what is to be dropped; a database before and after what is in it.
    fn changes(
        &self,
        databases: &BTreeMap<String, Database>,
        definitions: &BTreeMap<ObjectName, Definition>,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        for (name, content) in databases {
            let version = self.database_versions.get(name).copied();
            // The default database needs no znode of its own.
            let known = self.databases.get(name);
            if known != Some(content) {
                let content = DatabaseContent {
                    comment: content.comment.clone(),
                    options: content.options.iter().cloned().collect(),
                };
                changes.push(Change::Database { database: name.clone(), content: Some(content), version });
            }
        }
        for (name, definition) in definitions {
            if self.definitions.get(name) != Some(definition) {
                changes.push(Change::Object {
                    database: name.0.clone(),
                    object: name.1.clone(),
                    content: Some(object(&name.0, definition)),
                    version: self.object_versions.get(name).copied(),
                });
            }
        }
        for name in self.definitions.keys().filter(|name| !definitions.contains_key(*name)) {
            changes.push(Change::Object {
                database: name.0.clone(),
                object: name.1.clone(),
                content: None,
                version: self.object_versions.get(name).copied(),
            });
        }
        for name in self.databases.keys().filter(|name| !databases.contains_key(*name)) {
            let version = self.database_versions.get(name).copied();
            if version.is_some() || name != DEFAULT_DATABASE {
                changes.push(Change::Database { database: name.clone(), content: None, version });
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(statement: &str) -> Definition {
        Definition { is_view: false, statement: statement.into(), database: "db".into() }
    }

    #[test]
    fn only_what_has_changed_is_written_at_the_version_that_was_read() {
        let name = |name: &str| ("db".to_owned(), name.to_owned());
        let database = |name: &str| (name.to_owned(), Database::default());
        let loaded = Loaded {
            database_versions: BTreeMap::from([("db".into(), 0), ("old".into(), 4)]),
            object_versions: BTreeMap::from([(name("same"), 1), (name("altered"), 2), (name("gone"), 3)]),
            databases: BTreeMap::from([database("db"), database("old")]),
            definitions: BTreeMap::from([
                (name("same"), definition("s")),
                (name("altered"), definition("before")),
                (name("gone"), definition("g")),
            ]),
        };
        assert!(loaded.changes(&loaded.databases, &loaded.definitions).is_empty());
        let now = BTreeMap::from([
            (name("same"), definition("s")),
            (name("altered"), definition("after")),
            (name("new"), definition("n")),
        ]);
        let changes = loaded.changes(&BTreeMap::from([database("db"), database("fresh")]), &now);
        let told: Vec<String> = changes
            .iter()
            .map(|change| match change {
                Change::Database { database, content, version } => {
                    format!("{database} {} {version:?}", content.is_some())
                }
                Change::Object { object, content, version, .. } => {
                    format!("{object} {} {version:?}", content.is_some())
                }
            })
            .collect();
        let expected = [
            "fresh true None",
            "altered true Some(2)",
            "new true None",
            "gone false Some(3)",
            "old false Some(4)",
        ];
        assert_eq!(told, expected);
    }
}
