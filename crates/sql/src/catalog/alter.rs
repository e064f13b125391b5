//! `ALTER TABLE` and `ALTER VIEW`: options, names, columns, keys and watermarks.

use sqlparser::ast::{Ident, ObjectName, Spanned as _};

use super::table::{CatalogTable, Column, set_options};
use super::{Catalog, CatalogObject, Result};
use crate::error::SqlError;
use crate::parser::{AlterTable, AlterView, ColumnPosition, TableElements, to_sql};

impl Catalog {
    /// `ALTER TABLE`. New computed columns have no type until the binder sets it.
    ///
    /// # Errors
    /// When the table does not exist, or the change makes it invalid; it is then as before.
    pub fn alter_table(&mut self, name: &ObjectName, if_exists: bool, operation: &AlterTable) -> Result<()> {
        let path = self.path(name)?;
        let is_table = matches!(self.object(&path), Some(CatalogObject::Table(_)));
        if !is_table || self.is_temporary(&path) {
            if if_exists {
                return Ok(());
            }
            let message = format!(
                "table `{path}` does not exist or is temporary; ALTER TABLE changes permanent tables"
            );
            return Err(SqlError::catalog(message).at(name.span()));
        }
        if let AlterTable::RenameTo(new) = operation {
            return self.rename(name, new);
        }
        let Some(CatalogObject::Table(table)) = self.object_mut(&path) else { return Ok(()) };
        let mut changed = table.clone();
        change(&mut changed, operation, name)?;
        changed.check()?;
        *table = changed;
        Ok(())
    }

    /// `ALTER VIEW`.
    ///
    /// # Errors
    /// When the view does not exist or the new name is taken.
    pub fn alter_view(&mut self, name: &ObjectName, operation: &AlterView) -> Result<()> {
        let path = self.path(name)?;
        let database = self.current_database().to_string();
        let is_temporary = self.is_temporary(&path);
        let Some(CatalogObject::View(view)) = self.object_mut(&path) else {
            return Err(SqlError::catalog(format!("view `{path}` does not exist")).at(name.span()));
        };
        match operation {
            AlterView::As(query) => {
                view.text = to_sql(&**query);
                view.query.clone_from(query);
                view.database = database;
                view.schema = None;
                Ok(())
            }
            AlterView::RenameTo(_) if is_temporary => {
                Err(SqlError::catalog(format!("`{path}` is temporary; drop and create it instead"))
                    .at(name.span()))
            }
            AlterView::RenameTo(new) => self.rename(name, new),
        }
    }

    /// Gives a permanent object another name in the same database.
    fn rename(&mut self, name: &ObjectName, new: &ObjectName) -> Result<()> {
        let path = self.path(name)?;
        let mut new_path = self.path(new)?;
        if new.0.len() == 1 {
            new_path.database.clone_from(&path.database);
        }
        if new_path.database != path.database {
            let message = format!("`{path}` cannot move to another database");
            return Err(SqlError::catalog(message).at(new.span()));
        }
        let Some(database) = self.databases.get_mut(&path.database) else { return Ok(()) };
        if database.objects.contains_key(&new_path.object) {
            return Err(SqlError::catalog(format!("`{new_path}` already exists")).at(new.span()));
        }
        if let Some(object) = database.objects.remove(&path.object) {
            database.objects.insert(new_path.object, object);
        }
        Ok(())
    }
}

fn change(table: &mut CatalogTable, operation: &AlterTable, name: &ObjectName) -> Result<()> {
    let span = name.span();
    match operation {
        AlterTable::Set(options) => set_options(&mut table.options, options),
        AlterTable::Reset(keys) => {
            if keys.iter().any(|key| key == "connector") {
                return Err(SqlError::validation("ALTER TABLE RESET cannot take away 'connector'", span));
            }
            table.options.retain(|(key, _)| !keys.contains(key));
        }
        AlterTable::RenameColumn { from, to } => rename_column(table, from, to)?,
        AlterTable::Add(elements) => add(table, elements)?,
        AlterTable::Modify(elements) => modify(table, elements)?,
        AlterTable::DropColumns(columns) => {
            for column in columns {
                drop_column(table, column)?;
            }
        }
        AlterTable::DropPrimaryKey => {
            if table.primary_key.take().is_none() {
                return Err(SqlError::validation(format!("table {name} has no primary key"), span));
            }
        }
        AlterTable::DropConstraint(constraint) => {
            if table.primary_key.as_ref().is_none_or(|key| key.name != constraint.value) {
                let message = format!("table {name} has no constraint `{}`", constraint.value);
                return Err(SqlError::validation(message, constraint.span));
            }
            table.primary_key = None;
        }
        AlterTable::DropWatermark => {
            if table.watermark.take().is_none() {
                return Err(SqlError::validation(format!("table {name} has no watermark"), span));
            }
        }
        AlterTable::DropDistribution => {
            if table.distribution.take().is_none() {
                return Err(SqlError::validation(format!("table {name} has no distribution"), span));
            }
        }
        AlterTable::AddPartition { .. } | AlterTable::DropPartition { .. } => {
            return Err(SqlError::unsupported("ALTER TABLE … PARTITION", span));
        }
        AlterTable::RenameTo(_) => {}
    }
    Ok(())
}

fn add(table: &mut CatalogTable, elements: &TableElements) -> Result<()> {
    for (def, position) in &elements.columns {
        table.push(def)?;
        place(table, position.as_ref())?;
    }
    if let Some(watermark) = &elements.watermark
        && table.watermark.replace(watermark.clone()).is_some()
    {
        let span = watermark.column.first().map_or(sqlparser::tokenizer::Span::empty(), |c| c.span);
        return Err(SqlError::validation("the table already has a watermark; use MODIFY", span));
    }
    if let Some(key) = &elements.primary_key {
        if table.primary_key.is_some() {
            let span = key.columns.first().map_or(sqlparser::tokenizer::Span::empty(), |c| c.span);
            return Err(SqlError::validation("the table already has a primary key; use MODIFY", span));
        }
        table.set_primary_key(key)?;
    }
    if let Some(distribution) = &elements.distribution {
        table.distribution = Some(distribution.clone());
    }
    Ok(())
}

fn modify(table: &mut CatalogTable, elements: &TableElements) -> Result<()> {
    for (def, position) in &elements.columns {
        let Some(at) = table.columns.iter().position(|c| c.name == def.name.value) else {
            return Err(unknown(&def.name));
        };
        table.columns[at] = Column::new(def);
        if position.is_some() {
            let column = table.columns.remove(at);
            table.columns.push(column);
            place(table, position.as_ref())?;
        }
    }
    if let Some(watermark) = &elements.watermark {
        table.watermark = Some(watermark.clone());
    }
    if let Some(key) = &elements.primary_key {
        table.set_primary_key(key)?;
    }
    if let Some(distribution) = &elements.distribution {
        table.distribution = Some(distribution.clone());
    }
    Ok(())
}

/// Moves the last column to its place.
fn place(table: &mut CatalogTable, position: Option<&ColumnPosition>) -> Result<()> {
    let at = match position {
        None => return Ok(()),
        Some(ColumnPosition::First) => 0,
        Some(ColumnPosition::After(other)) => {
            let at = table.columns.iter().position(|c| c.name == other.value);
            at.ok_or_else(|| unknown(other))? + 1
        }
    };
    if let Some(column) = table.columns.pop() {
        table.columns.insert(at.min(table.columns.len()), column);
    }
    Ok(())
}

fn unknown(column: &Ident) -> SqlError {
    SqlError::validation(format!("column `{}` does not exist in the table", column.value), column.span)
}

fn drop_column(table: &mut CatalogTable, column: &Ident) -> Result<()> {
    let Some(at) = table.columns.iter().position(|c| c.name == column.value) else {
        return Err(unknown(column));
    };
    check_unused(table, column)?;
    table.columns.remove(at);
    Ok(())
}

fn rename_column(table: &mut CatalogTable, from: &Ident, to: &Ident) -> Result<()> {
    if table.column(&to.value).is_some() {
        return Err(SqlError::validation(format!("column `{}` already exists", to.value), to.span));
    }
    let Some(at) = table.columns.iter().position(|c| c.name == from.value) else { return Err(unknown(from)) };
    check_unused(table, from)?;
    table.columns[at].name.clone_from(&to.value);
    Ok(())
}

/// Refuses a change to a column that keys, the watermark or computed columns use.
fn check_unused(table: &CatalogTable, column: &Ident) -> Result<()> {
    use super::ColumnSource::Computed;
    let name = column.value.as_str();
    let user = if table.primary_key.as_ref().is_some_and(|key| key.columns.iter().any(|c| c == name)) {
        "the primary key"
    } else if table
        .watermark
        .as_ref()
        .is_some_and(|w| w.column.first().is_some_and(|c| c.value == name) || mentions(&w.expr, name))
    {
        "the watermark"
    } else if table.partition_keys.iter().any(|key| key.value == name) {
        "the partition keys"
    } else if table.distribution.iter().flat_map(|d| &d.columns).any(|key| key.value == name) {
        "the distribution"
    } else if table.columns.iter().any(|c| matches!(&c.source, Computed(expr) if mentions(expr, name))) {
        "a computed column"
    } else {
        return Ok(());
    };
    Err(SqlError::validation(format!("column `{name}` is used by {user}"), column.span))
}

fn mentions(expr: &sqlparser::ast::Expr, column: &str) -> bool {
    use std::ops::ControlFlow;
    sqlparser::ast::visit_expressions(expr, |expr| {
        let first = match expr {
            sqlparser::ast::Expr::Identifier(ident) => Some(ident),
            sqlparser::ast::Expr::CompoundIdentifier(parts) => parts.first(),
            _ => None,
        };
        if first.is_some_and(|ident| ident.value == column) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })
    .is_break()
}
