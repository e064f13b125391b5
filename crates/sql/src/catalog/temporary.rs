//! Tables and views that a program registers: temporary, in the current database, under a name that is taken as it is.

use sqlparser::ast::{Ident, ObjectName, Query};
use streamkeeper_connectors::schema::Field;

use super::{Catalog, CatalogObject, CatalogTable, CatalogView, DEFAULT_CATALOG, ObjectPath, Result};
use crate::parser::to_sql;

impl Catalog {
    /// Adds a temporary table to the current database.
    ///
    /// # Errors
    /// When its name is taken, or the table is not valid.
    pub fn add_temporary_table(&mut self, name: &str, table: CatalogTable) -> Result<()> {
        table.check()?;
        let name = ObjectName::from(vec![Ident::new(name)]);
        self.add(&name, true, false, CatalogObject::Table(table)).map(drop)
    }

    /// Removes a temporary table or view of the current database; false when there is none.
    pub fn drop_temporary(&mut self, name: &str) -> bool {
        let (catalog, database) = (DEFAULT_CATALOG.to_owned(), self.current_database.clone());
        self.temporary.remove(&ObjectPath { catalog, database, object: name.to_owned() }).is_some()
    }

    /// Adds a temporary view to the current database.
    ///
    /// # Errors
    /// When its name is taken.
    pub fn add_temporary_view(&mut self, name: &str, query: Box<Query>, schema: Vec<Field>) -> Result<()> {
        let name = ObjectName::from(vec![Ident::new(name)]);
        let view = CatalogView {
            text: to_sql(&*query),
            query,
            columns: Vec::new(),
            comment: None,
            database: self.current_database.clone(),
            schema: Some(schema),
        };
        self.add(&name, true, false, CatalogObject::View(view)).map(drop)
    }
}
