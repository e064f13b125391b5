//! The catalog as the binder sees it: types of computed columns, watermarks and options resolved.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use sqlparser::ast::{Ident, ObjectName, Spanned};
use sqlparser::tokenizer::Span;
use streamkeeper_connectors::schema::{DataType, Field, TypeKind};
use streamkeeper_connectors::table::{metadata_keys, metadata_type};

use crate::binder::scope::Scope;
use crate::binder::{Binder, Named, Names};
use crate::catalog::{Catalog, CatalogObject, CatalogTable, ColumnSource, DEFAULT_CATALOG, ObjectPath};
use crate::error::SqlError;
use crate::expr::{EvalContext, ScalarExpr};
use crate::plan::table::{Metadata, Table, TableColumn, Watermark};
use crate::plan::{Column, column};
use crate::session::streams::RegisteredStream;

/// Finds what the binder asks for.
pub(super) struct CatalogNames<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) ctx: &'a EvalContext,
    pub(super) streams: &'a [RegisteredStream],
    /// Takes what is found.
    pub(super) lookups: &'a RefCell<Vec<ObjectPath>>,
}

impl Names for CatalogNames<'_> {
    fn find(
        &self,
        database: Option<&str>,
        name: &[String],
        hints: &BTreeMap<String, String>,
        span: Span,
    ) -> Result<Named, SqlError> {
        let mut parts: Vec<Ident> = name.iter().map(|part| Ident::with_span(span, part)).collect();
        if let (Some(database), 1) = (database, parts.len()) {
            parts.insert(0, Ident::with_span(span, database));
        }
        let (path, object) = self.catalog.resolve(&ObjectName::from(parts))?;
        self.lookups.borrow_mut().push(path.clone());
        let names = [path.catalog.clone(), path.database.clone(), path.object.clone()];
        match object {
            CatalogObject::Table(table) => {
                if !table.partition_keys.is_empty() {
                    return Err(SqlError::unsupported(format!("PARTITIONED BY (of table `{path}`)"), span));
                }
                let mut resolved = resolve(&path, table, hints, self.ctx)?;
                if let Some(stream) = table.stream.and_then(|number| self.streams.get(number)) {
                    resolved.stream = Some(stream.input);
                    // What comes of these rows depends on where they come from.
                    resolved.options.insert("stream".to_owned(), stream.uid.clone());
                }
                Ok(Named::Table(Arc::new(resolved)))
            }
            CatalogObject::View(view) => Ok(Named::View {
                path: names,
                query: view.query.clone(),
                columns: view.columns.clone(),
                database: view.database.clone(),
            }),
        }
    }
}

/// No tables: for expressions of a CREATE TABLE.
struct NoNames;

impl Names for NoNames {
    fn find(
        &self,
        _: Option<&str>,
        name: &[String],
        _: &BTreeMap<String, String>,
        span: Span,
    ) -> Result<Named, SqlError> {
        Err(SqlError::validation(format!("Table '{}' not found", name.join(".")), span))
    }
}

/// Binds the computed columns of a new table, for their types, and its watermark, for its errors.
pub(super) fn set_computed_types(table: &mut CatalogTable, ctx: &EvalContext) -> Result<(), SqlError> {
    let columns = columns(table, ctx)?;
    for column in &columns {
        table.set_type(&column.field.name, column.field.data_type.clone());
    }
    watermark(table, &columns, ctx).map(|_| ())
}

fn resolve(
    path: &ObjectPath,
    table: &CatalogTable,
    hints: &BTreeMap<String, String>,
    ctx: &EvalContext,
) -> Result<Table, SqlError> {
    debug_assert_eq!(path.catalog, DEFAULT_CATALOG);
    let columns = columns(table, ctx)?;
    let metadata = metadata(table)?;
    let watermark = watermark(table, &columns, ctx)?;
    let position = |name: &String| columns.iter().position(|c| c.field.name == *name);
    let primary_key = table.primary_key.iter().flat_map(|k| &k.columns).filter_map(position).collect();
    let mut options: BTreeMap<String, String> = table.options.iter().cloned().collect();
    options.extend(hints.iter().map(|(k, v)| (k.clone(), v.clone())));
    Ok(Table {
        path: [path.catalog.clone(), path.database.clone(), path.object.clone()],
        physical: columns.iter().filter(|c| c.is_physical).map(|c| c.field.clone()).collect(),
        columns,
        metadata,
        watermark,
        primary_key,
        options,
        stream: None,
    })
}

/// The columns of the connector's metadata, in the order of the DDL.
fn metadata(table: &CatalogTable) -> Result<Vec<Metadata>, SqlError> {
    let connector = table.option("connector").unwrap_or_default();
    let mut found = Vec::new();
    for column in &table.columns {
        let ColumnSource::Metadata { key, is_virtual } = &column.source else { continue };
        let key = key.clone().unwrap_or_else(|| column.name.clone());
        let Some(keys) = metadata_keys(connector) else {
            let what = format!("The METADATA column '{}'", column.name);
            return Err(SqlError::unsupported(what, Span::empty()));
        };
        let wrong = |what: String| {
            let message = format!("Invalid metadata key '{key}' in column '{}': {what}", column.name);
            SqlError::validation(message, Span::empty())
        };
        let given = metadata_type(connector, &key)
            .ok_or_else(|| wrong(format!("connector '{connector}' has {keys}")))?;
        let declared = type_of(column.data_type.as_ref());
        if declared.kind != given.kind {
            return Err(wrong(format!("its type is {}, not {}", given.kind, declared.kind)));
        }
        found.push(Metadata {
            field: Field::new(column.name.clone(), declared),
            key,
            is_virtual: *is_virtual,
        });
    }
    Ok(found)
}

/// The columns; computed ones are bound over the physical ones and the metadata.
fn columns(table: &CatalogTable, ctx: &EvalContext) -> Result<Vec<TableColumn>, SqlError> {
    let mut scanned: Vec<Column> = table
        .columns
        .iter()
        .filter(|c| c.source == ColumnSource::Physical)
        .map(|c| Column::new(c.name.clone(), type_of(c.data_type.as_ref())))
        .collect();
    let (mut next, mut next_metadata) = (0, scanned.len());
    scanned.extend(metadata(table)?.into_iter().map(|m| Column::new(m.field.name, m.field.data_type)));
    let scope = Scope::of(scanned.clone(), Vec::new());
    let mut columns = Vec::new();
    for c in &table.columns {
        let (value, is_physical) = match &c.source {
            ColumnSource::Physical => {
                next += 1;
                (column(&scanned, next - 1), true)
            }
            ColumnSource::Computed(expr) => (Binder::new(&NoNames, ctx).scalar(expr, &scope)?, false),
            ColumnSource::Metadata { .. } => {
                next_metadata += 1;
                (column(&scanned, next_metadata - 1), false)
            }
        };
        let data_type = match &c.source {
            ColumnSource::Physical => type_of(c.data_type.as_ref()),
            _ => value.data_type().clone(),
        };
        columns.push(TableColumn { field: Field::new(c.name.clone(), data_type), value, is_physical });
    }
    Ok(columns)
}

fn type_of(data_type: Option<&DataType>) -> DataType {
    data_type.cloned().unwrap_or_else(|| TypeKind::Null.into())
}

fn watermark(
    table: &CatalogTable,
    columns: &[TableColumn],
    ctx: &EvalContext,
) -> Result<Option<Watermark>, SqlError> {
    let Some(watermark) = &table.watermark else { return Ok(None) };
    let [name] = watermark.column.as_slice() else {
        let span = watermark.column.first().map_or(Span::empty(), |p| p.span);
        return Err(SqlError::unsupported("WATERMARK FOR a field of a row", span));
    };
    let Some(at) = columns.iter().position(|c| c.field.name == name.value) else {
        return Err(SqlError::validation(
            format!("The rowtime attribute field '{}' is not defined in the table schema", name.value),
            name.span,
        ));
    };
    if table.stream.is_some() {
        // The stream's own watermarks speak of the column.
        return Ok(Some(Watermark { column: at, expression: columns[at].value.clone() }));
    }
    let schema: Vec<Column> =
        columns.iter().map(|c| Column::new(c.field.name.clone(), c.field.data_type.clone())).collect();
    let values: Vec<ScalarExpr> = columns.iter().map(|c| c.value.clone()).collect();
    let bound = Binder::new(&NoNames, ctx).scalar(&watermark.expr, &Scope::of(schema, Vec::new()))?;
    if !matches!(bound.data_type().kind, TypeKind::Timestamp(_) | TypeKind::TimestampLtz(_)) {
        return Err(SqlError::validation(
            format!("The watermark of '{}' must be a timestamp, but it is {}", name.value, bound.data_type()),
            watermark.expr.span(),
        ));
    }
    let kind = &columns[at].field.data_type.kind;
    if !matches!(kind, TypeKind::Timestamp(0..=3) | TypeKind::TimestampLtz(0..=3)) {
        return Err(SqlError::validation(
            format!(
                "Invalid data type of time field for watermark definition. The field must be of type TIMESTAMP(p) or \
                 TIMESTAMP_LTZ(p), the supported precision 'p' is from 0 to 3, but the time field type is {kind}"
            ),
            name.span,
        ));
    }
    Ok(Some(Watermark { column: at, expression: bound.inline_columns(&values) }))
}
