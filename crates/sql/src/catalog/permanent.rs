//! What a catalog outside of the session keeps: the permanent tables and views, and the databases.

use super::{Catalog, CatalogObject, DEFAULT_CATALOG, Database, ObjectPath, show};

impl ObjectPath {
    /// The name of a database in backquotes.
    pub(crate) fn quoted_database(database: &str) -> String {
        show::name(database)
    }
}

impl CatalogObject {
    /// The text of `SHOW CREATE TABLE` or `SHOW CREATE VIEW`.
    pub fn show_create(&self, path: &ObjectPath, temporary: bool) -> String {
        match self {
            Self::Table(table) => table.show_create(path, temporary),
            Self::View(view) => view.show_create(path, temporary),
        }
    }
}

impl Catalog {
    /// The databases, without what is in them.
    pub fn bare_databases(&self) -> impl Iterator<Item = (&str, Database)> {
        self.databases.iter().map(|(name, database)| {
            let (comment, options) = (database.comment.clone(), database.options.clone());
            (name.as_str(), Database { comment, options, ..Database::default() })
        })
    }

    /// Makes a database, or gives it another comment and other options; what is in it stays.
    pub fn put_database(&mut self, name: &str, database: Database) {
        let known = self.databases.entry(name.to_owned()).or_default();
        known.comment = database.comment;
        known.options = database.options;
    }

    /// The permanent tables and views.
    pub fn permanent(&self) -> impl Iterator<Item = (ObjectPath, &CatalogObject)> {
        self.databases.iter().flat_map(|(database, content)| {
            content.objects.iter().map(|(object, found)| {
                let (catalog, database) = (DEFAULT_CATALOG.to_owned(), database.clone());
                (ObjectPath { catalog, database, object: object.clone() }, found)
            })
        })
    }

    /// Does something with another current database.
    pub(crate) fn set_current_database(&mut self, database: &str) -> String {
        std::mem::replace(&mut self.current_database, database.to_owned())
    }
}
