//! The in-memory catalog: `default_catalog` with its databases, tables and views, and the session's temporary ones.
//!
//! - `mod`: databases, names, creating and dropping;
//! - `table`: a table and what makes it valid;
//! - `like`: `CREATE TABLE … LIKE`;
//! - `alter`: `ALTER TABLE` and `ALTER VIEW`;
//! - `show`: `SHOW CREATE …` and `DESCRIBE`, as Flink prints them;
//! - `permanent`: what a catalog outside of the session keeps;
//! - `temporary`: what programs register, not statements.
//!
//! Invariant: every table in the catalog is valid as far as its declared types tell. The types of computed columns come
//! from the binder: it takes [`Catalog::resolve_table`], sets them ([`CatalogTable::set_type`]), asks
//! [`CatalogTable::check_watermark`] and adds the table with [`Catalog::add_table`].
mod alter;
mod like;
mod permanent;
mod show;
mod table;
mod temporary;

use std::collections::BTreeMap;
use std::fmt;

use sqlparser::ast::{Ident, ObjectName, Query, Spanned as _};
use sqlparser::tokenizer::Span;
use streamkeeper_connectors::schema::Field;

pub use show::DescribeRow;
pub use table::{CatalogTable, Column, ColumnSource, UniqueKey};

use crate::error::SqlError;
use crate::parser::{CreateTable, CreateView, Drop, DropKind, to_sql};

/// The one catalog.
pub const DEFAULT_CATALOG: &str = "default_catalog";
/// The database a session begins in.
pub const DEFAULT_DATABASE: &str = "default_database";

type Result<T> = std::result::Result<T, SqlError>;

/// The full name of a table or view.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectPath {
    /// Its catalog.
    pub catalog: String,
    /// Its database.
    pub database: String,
    /// Its own name.
    pub object: String,
}

/// Dotted, without quotes.
impl fmt::Display for ObjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.catalog, self.database, self.object)
    }
}

impl ObjectPath {
    /// Quoted, as Flink prints it in statements.
    pub fn quoted(&self) -> String {
        format!("{}.{}.{}", show::name(&self.catalog), show::name(&self.database), show::name(&self.object))
    }
}

/// A view.
#[derive(Debug, Clone, PartialEq)]
pub struct CatalogView {
    /// Its query, as text that parses to `query`.
    pub text: String,
    /// Its query.
    pub query: Box<Query>,
    /// The names given to its columns; empty: those of the query.
    pub columns: Vec<String>,
    /// `COMMENT`.
    pub comment: Option<String>,
    /// The database in which its unqualified names are looked up.
    pub database: String,
    /// The resolved columns, once the binder has set them.
    pub schema: Option<Vec<Field>>,
}

/// What a name can stand for.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "a catalog has few objects")]
pub enum CatalogObject {
    /// A table.
    Table(CatalogTable),
    /// A view.
    View(CatalogView),
}

impl CatalogObject {
    /// `table` or `view`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Table(_) => "table",
            Self::View(_) => "view",
        }
    }

    fn is(&self, kind: DropKind) -> bool {
        matches!((self, kind), (Self::Table(_), DropKind::Table) | (Self::View(_), DropKind::View))
    }
}

/// A database.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Database {
    /// `COMMENT`.
    pub comment: Option<String>,
    /// `WITH`.
    pub options: Vec<(String, String)>,
    objects: BTreeMap<String, CatalogObject>,
}

/// The catalog as one session sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Catalog {
    databases: BTreeMap<String, Database>,
    temporary: BTreeMap<ObjectPath, CatalogObject>,
    current_database: String,
}

impl Default for Catalog {
    fn default() -> Self {
        Self::new()
    }
}

impl Catalog {
    /// An empty `default_catalog` with an empty `default_database`.
    pub fn new() -> Self {
        let databases = BTreeMap::from([(DEFAULT_DATABASE.to_string(), Database::default())]);
        Self { databases, temporary: BTreeMap::new(), current_database: DEFAULT_DATABASE.to_string() }
    }

    /// The current database.
    pub fn current_database(&self) -> &str {
        &self.current_database
    }

    /// The names of all databases, sorted.
    pub fn databases(&self) -> Vec<&str> {
        self.databases.keys().map(String::as_str).collect()
    }

    /// `USE CATALOG`.
    ///
    /// # Errors
    /// For any but the default catalog.
    pub fn use_catalog(&self, name: &Ident) -> Result<()> {
        check_catalog(&name.value, name.span)
    }

    /// `USE [catalog.]database`.
    ///
    /// # Errors
    /// When there is no such database.
    pub fn use_database(&mut self, name: &ObjectName) -> Result<()> {
        self.current_database = self.existing_database(name)?;
        Ok(())
    }

    /// `CREATE DATABASE`.
    ///
    /// # Errors
    /// When it exists and `if_not_exists` is false.
    pub fn create_database(
        &mut self,
        name: &ObjectName,
        if_not_exists: bool,
        database: Database,
    ) -> Result<()> {
        let key = database_name(name)?;
        if self.databases.contains_key(&key) {
            return if if_not_exists {
                Ok(())
            } else {
                Err(SqlError::catalog(format!("database `{key}` already exists in `{DEFAULT_CATALOG}`"))
                    .at(name.span()))
            };
        }
        self.databases.insert(key, database);
        Ok(())
    }

    /// `ALTER DATABASE … SET`.
    ///
    /// # Errors
    /// When there is no such database.
    pub fn alter_database(&mut self, name: &ObjectName, options: &[(String, String)]) -> Result<()> {
        let key = self.existing_database(name)?;
        if let Some(database) = self.databases.get_mut(&key) {
            table::set_options(&mut database.options, options);
        }
        Ok(())
    }

    /// The database's full name must exist; gives its own name.
    ///
    /// # Errors
    /// When there is no such database or catalog.
    pub fn existing_database(&self, name: &ObjectName) -> Result<String> {
        let key = database_name(name)?;
        self.check_database(&key, name.span())?;
        Ok(key)
    }

    fn check_database(&self, database: &str, span: Span) -> Result<()> {
        if self.databases.contains_key(database) {
            return Ok(());
        }
        let message = format!("database `{database}` does not exist in `{DEFAULT_CATALOG}`");
        Err(SqlError::catalog(message).at(span))
    }

    /// The full path of a name of one to three parts.
    ///
    /// # Errors
    /// When the name has more parts, or another catalog.
    pub fn path(&self, name: &ObjectName) -> Result<ObjectPath> {
        let parts = parts(name)?;
        let (catalog, database, object) = match &parts[..] {
            [object] => (DEFAULT_CATALOG, self.current_database.as_str(), object),
            [database, object] => (DEFAULT_CATALOG, database.as_str(), object),
            [catalog, database, object] => (catalog.as_str(), database.as_str(), object),
            _ => {
                let message =
                    format!("the name {name} must be object, database.object or catalog.database.object");
                return Err(SqlError::validation(message, name.span()));
            }
        };
        check_catalog(catalog, name.span())?;
        Ok(ObjectPath {
            catalog: catalog.to_string(),
            database: database.to_string(),
            object: object.to_string(),
        })
    }

    /// The table or view of that path; temporary ones hide permanent ones.
    pub fn object(&self, path: &ObjectPath) -> Option<&CatalogObject> {
        self.temporary.get(path).or_else(|| self.databases.get(&path.database)?.objects.get(&path.object))
    }

    /// The same, to be changed.
    pub fn object_mut(&mut self, path: &ObjectPath) -> Option<&mut CatalogObject> {
        match self.temporary.get_mut(path) {
            Some(object) => Some(object),
            None => self.databases.get_mut(&path.database)?.objects.get_mut(&path.object),
        }
    }

    /// True for a temporary table or view.
    pub fn is_temporary(&self, path: &ObjectPath) -> bool {
        self.temporary.contains_key(path)
    }

    /// Looks a name up.
    ///
    /// # Errors
    /// When there is no such table or view.
    pub fn resolve(&self, name: &ObjectName) -> Result<(ObjectPath, &CatalogObject)> {
        let path = self.path(name)?;
        match self.object(&path) {
            Some(object) => Ok((path, object)),
            None => Err(self.not_found(&path, name.span())),
        }
    }

    fn not_found(&self, path: &ObjectPath, span: Span) -> SqlError {
        let wanted = path.object.to_lowercase();
        let similar = self.names(&path.database).into_iter().find(|(name, _)| name.to_lowercase() == wanted);
        let hint = match similar {
            Some((name, _)) => format!("; names are case-sensitive: did you mean `{name}`?"),
            None => String::new(),
        };
        SqlError::catalog(format!("table or view `{path}` does not exist{hint}")).at(span)
    }

    /// The names of the tables and views of a database, sorted, temporary ones included; true for views.
    pub fn names(&self, database: &str) -> Vec<(String, bool)> {
        let mut names: BTreeMap<String, bool> = BTreeMap::new();
        let is_view = |object: &CatalogObject| matches!(object, CatalogObject::View(_));
        if let Some(database) = self.databases.get(database) {
            names.extend(database.objects.iter().map(|(name, object)| (name.clone(), is_view(object))));
        }
        for (path, object) in self.temporary.iter().filter(|(path, _)| path.database == database) {
            names.insert(path.object.clone(), is_view(object));
        }
        names.into_iter().collect()
    }

    /// The table that a `CREATE TABLE` declares, with LIKE applied; the types of computed columns are missing.
    ///
    /// # Errors
    /// When the declaration is not valid.
    pub fn resolve_table(&self, create: &CreateTable) -> Result<CatalogTable> {
        let table = match &create.like {
            None => CatalogTable::new(create)?,
            Some(like) => {
                let CatalogObject::Table(base) = self.resolve(&like.table)?.1 else {
                    let message = format!("LIKE needs a table; `{}` is a view", like.table);
                    return Err(SqlError::validation(message, like.table.span()));
                };
                like::merge(base, create, &like.options)?
            }
        };
        table.check()?;
        Ok(table)
    }

    /// Adds a table; false if it was there already and `if_not_exists` says that this is fine.
    ///
    /// # Errors
    /// When its name is taken or its database does not exist.
    pub fn add_table(&mut self, create: &CreateTable, table: CatalogTable) -> Result<bool> {
        self.add(&create.name, create.temporary, create.if_not_exists, CatalogObject::Table(table))
    }

    /// `CREATE TABLE` in one step, for tables whose computed columns nobody needs.
    ///
    /// # Errors
    /// As [`Self::resolve_table`] and [`Self::add_table`].
    pub fn create_table(&mut self, create: &CreateTable) -> Result<bool> {
        let table = self.resolve_table(create)?;
        self.add_table(create, table)
    }

    /// `CREATE VIEW`; `schema` is the binder's, if it has one.
    ///
    /// # Errors
    /// When its name is taken or its database does not exist.
    pub fn create_view(&mut self, create: &CreateView, schema: Option<Vec<Field>>) -> Result<bool> {
        let view = CatalogView {
            text: to_sql(&*create.query),
            query: create.query.clone(),
            columns: create.columns.iter().map(|c| c.value.clone()).collect(),
            comment: create.comment.clone(),
            database: self.current_database.clone(),
            schema,
        };
        self.add(&create.name, create.temporary, create.if_not_exists, CatalogObject::View(view))
    }

    fn add(
        &mut self,
        name: &ObjectName,
        temporary: bool,
        if_not_exists: bool,
        object: CatalogObject,
    ) -> Result<bool> {
        let path = self.path(name)?;
        if !temporary {
            self.check_database(&path.database, name.span())?;
        }
        let existing = if temporary {
            self.temporary.get(&path)
        } else {
            self.databases.get(&path.database).and_then(|d| d.objects.get(&path.object))
        };
        if let Some(existing) = existing {
            if if_not_exists {
                return Ok(false);
            }
            let message = format!(
                "the {} `{path}` already exists; drop it first, or use IF NOT EXISTS",
                existing.kind()
            );
            return Err(SqlError::catalog(message).at(name.span()));
        }
        if temporary {
            self.temporary.insert(path, object);
        } else if let Some(database) = self.databases.get_mut(&path.database) {
            database.objects.insert(path.object, object);
        }
        Ok(true)
    }

    /// `DROP TABLE | VIEW | DATABASE`.
    ///
    /// # Errors
    /// When it does not exist (and IF EXISTS is missing), is of another kind, or is in use.
    pub fn drop(&mut self, drop: &Drop) -> Result<()> {
        match drop.kind {
            DropKind::Database => self.drop_database(drop),
            DropKind::Table | DropKind::View => self.drop_object(drop),
            kind => Err(SqlError::unsupported(format!("DROP {kind:?}").to_uppercase(), drop.name.span())),
        }
    }

    fn drop_database(&mut self, drop: &Drop) -> Result<()> {
        let key = database_name(&drop.name)?;
        let span = drop.name.span();
        let Some(database) = self.databases.get(&key) else {
            return if drop.if_exists { Ok(()) } else { self.check_database(&key, span) };
        };
        if key == self.current_database {
            let message = format!("database `{key}` is the current one; USE another before you drop it");
            return Err(SqlError::catalog(message).at(span));
        }
        if !database.objects.is_empty() && !drop.cascade {
            let message = format!("database `{key}` is not empty; drop its tables first, or use CASCADE");
            return Err(SqlError::catalog(message).at(span));
        }
        self.databases.remove(&key);
        Ok(())
    }

    fn drop_object(&mut self, drop: &Drop) -> Result<()> {
        let path = self.path(&drop.name)?;
        let span = drop.name.span();
        let kind = if drop.kind == DropKind::Table { "table" } else { "view" };
        let hidden = self.temporary.get(&path).is_some_and(|object| object.is(drop.kind));
        if drop.temporary {
            if hidden {
                self.temporary.remove(&path);
                return Ok(());
            }
        } else if hidden {
            let message =
                format!("`{path}` is a temporary {kind}; use DROP TEMPORARY {}", kind.to_uppercase());
            return Err(SqlError::catalog(message).at(span));
        } else if let Some(database) = self.databases.get_mut(&path.database)
            && database.objects.get(&path.object).is_some_and(|object| object.is(drop.kind))
        {
            database.objects.remove(&path.object);
            return Ok(());
        }
        if drop.if_exists {
            return Ok(());
        }
        let temporary = if drop.temporary { "temporary " } else { "" };
        Err(SqlError::catalog(format!("{temporary}{kind} `{path}` does not exist")).at(span))
    }
}

fn check_catalog(catalog: &str, span: Span) -> Result<()> {
    if catalog == DEFAULT_CATALOG {
        return Ok(());
    }
    let message = format!("catalog `{catalog}` does not exist; there is only `{DEFAULT_CATALOG}`");
    Err(SqlError::catalog(message).at(span))
}

fn database_name(name: &ObjectName) -> Result<String> {
    let mut parts = parts(name)?;
    if parts.len() == 2 {
        check_catalog(&parts.remove(0), name.span())?;
    }
    match parts.pop() {
        Some(database) if parts.is_empty() => Ok(database),
        _ => {
            let message = format!("the name {name} must be database or catalog.database");
            Err(SqlError::validation(message, name.span()))
        }
    }
}

fn parts(name: &ObjectName) -> Result<Vec<String>> {
    let part = |part: &sqlparser::ast::ObjectNamePart| part.as_ident().map(|ident| ident.value.clone());
    let parts: Option<Vec<String>> = name.0.iter().map(part).collect();
    parts.ok_or_else(|| SqlError::validation(format!("{name} is not a name"), name.span()))
}
