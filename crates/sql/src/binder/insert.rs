//! INSERT: the columns of a query against those of the sink.
//!
//! Invariant: what leaves here has exactly the sink's physical columns, in its order and of its types.

use std::sync::Arc;

use sqlparser::ast::{Ident, Spanned};
use sqlparser::tokenizer::Span;
use streamkeeper_connectors::schema::{DataType, TypeKind};

use super::from::{name_parts, option_hints};
use super::scope::suggestion;
use super::{Binder, Named, implicit_cast};
use crate::error::SqlError;
use crate::expr::{ScalarExpr, literal_null};
use crate::parser::Insert;
use crate::physical::SinkPlan;
use crate::plan::{Column, Plan, Table, column};

impl Binder<'_> {
    /// Binds an INSERT.
    pub(crate) fn insert(&mut self, insert: &Insert) -> Result<SinkPlan, SqlError> {
        let span = insert.table.span();
        if insert.overwrite {
            return Err(SqlError::unsupported("INSERT OVERWRITE", span));
        }
        if !insert.partition.is_empty() {
            return Err(SqlError::unsupported("INSERT INTO … PARTITION", span));
        }
        let hints = option_hints(&insert.hints)?;
        let table = match self.find(&name_parts(&insert.table)?, &hints, span)? {
            Named::Table(table) => table,
            Named::View { path, .. } => {
                return Err(SqlError::validation(
                    format!("'{}' is a view; INSERT needs a table", path.join(".")),
                    span,
                ));
            }
        };
        if let Some(written) = table.metadata.iter().find(|metadata| !metadata.is_virtual) {
            let name = &written.field.name;
            let what = format!("Writing the METADATA column '{name}' (declare it METADATA VIRTUAL)");
            return Err(SqlError::unsupported(what, span));
        }
        if table.stream.is_some() {
            return Err(SqlError::validation(
                format!("'{}' is a registered stream; INSERT needs a table with a connector", table.name()),
                span,
            ));
        }
        let plan = self.query(&insert.source)?;
        let targets = targets(&table, &insert.columns)?;
        let not_null = targets
            .iter()
            .zip(&plan.schema)
            .any(|(target, column)| column.data_type.nullable && !table.physical[*target].data_type.nullable);
        let plan = to_sink(plan, &table, &targets, span)?;
        Ok(SinkPlan { table, plan, not_null, span })
    }
}

/// The physical column that each column of the query goes to.
fn targets(table: &Arc<Table>, columns: &[Ident]) -> Result<Vec<usize>, SqlError> {
    if columns.is_empty() {
        return Ok((0..table.physical.len()).collect());
    }
    let mut targets = Vec::new();
    for name in columns {
        let Some(at) = table.physical.iter().position(|f| f.name == name.value) else {
            let hint = suggestion(&name.value, table.physical.iter().map(|f| f.name.as_str()))
                .map_or(String::new(), |s| format!("; did you mean '{s}'?"));
            return Err(SqlError::validation(
                format!("Unknown target column '{}' of table '{}'{hint}", name.value, table.name()),
                name.span,
            ));
        };
        if targets.contains(&at) {
            return Err(SqlError::validation(
                format!("Target column '{}' is assigned more than once", name.value),
                name.span,
            ));
        }
        targets.push(at);
    }
    Ok(targets)
}

fn to_sink(plan: Plan, table: &Table, targets: &[usize], span: Span) -> Result<Plan, SqlError> {
    let mismatch = |cause: String| {
        let query = plan.schema.iter().map(|c| (c.name.as_str(), &c.data_type));
        let sink = targets.iter().map(|t| (table.physical[*t].name.as_str(), &table.physical[*t].data_type));
        SqlError::validation(
            format!(
                "Column types of query result and sink for '{}' do not match.\nCause: {cause}\n\nQuery schema: \
                 [{}]\nSink schema:  [{}]",
                table.name(),
                show(query),
                show(sink)
            ),
            span,
        )
    };
    if plan.schema.len() != targets.len() {
        return Err(mismatch("Different number of columns.".to_owned()));
    }
    let mut projection: Vec<ScalarExpr> = Vec::new();
    for (i, field) in table.physical.iter().enumerate() {
        let Some(position) = targets.iter().position(|t| *t == i) else {
            if !field.data_type.nullable {
                return Err(SqlError::validation(
                    format!("Column '{}' has no default value and does not allow NULLs", field.name),
                    span,
                ));
            }
            projection.push(literal_null(field.data_type.clone()));
            continue;
        };
        let value = column(&plan.schema, position);
        if !is_implicit(&value.data_type().kind, &field.data_type.kind) {
            return Err(mismatch(format!(
                "Incompatible types for sink column '{}' at position {position}.",
                field.name
            )));
        }
        projection.push(implicit_cast(value, &field.data_type, span)?);
    }
    let names: Vec<String> = table.physical.iter().map(|f| f.name.clone()).collect();
    let mut plan = plan.calc(None, projection, names);
    for (column, field) in plan.schema.iter_mut().zip(&table.physical) {
        *column =
            Column { rowtime: column.rowtime, ..Column::new(field.name.clone(), field.data_type.clone()) };
    }
    Ok(plan)
}

pub(super) fn show<'a>(columns: impl Iterator<Item = (&'a str, &'a DataType)>) -> String {
    columns.map(|(name, data_type)| format!("{name}: {data_type}")).collect::<Vec<_>>().join(", ")
}

/// Whether Flink casts a column of a query to that of a sink without being told to.
pub(super) fn is_implicit(from: &TypeKind, to: &TypeKind) -> bool {
    use TypeKind as T;
    let rank = |kind: &TypeKind| match kind {
        T::TinyInt => Some(1),
        T::SmallInt => Some(2),
        T::Int => Some(3),
        T::BigInt => Some(4),
        _ => None,
    };
    let decimal = |kind: &TypeKind| matches!(kind, T::Decimal { .. });
    let numeric =
        |kind: &TypeKind| rank(kind).is_some() || decimal(kind) || matches!(kind, T::Float | T::Double);
    match (from, to) {
        (T::Null, _) => true,
        (T::Char(_) | T::Varchar(_), T::Varchar(_)) | (T::Char(_), T::Char(_)) => true,
        (T::Binary(_) | T::Varbinary(_), T::Varbinary(_)) | (T::Binary(_), T::Binary(_)) => true,
        (_, T::Decimal { .. } | T::Double) => numeric(from),
        (_, T::Float) => rank(from).is_some() || decimal(from) || *from == T::Float,
        (T::Timestamp(_), T::Date | T::Time(_)) => true,
        (T::Time(_), T::Time(_)) => true,
        (T::Timestamp(_) | T::TimestampLtz(_), T::Timestamp(_) | T::TimestampLtz(_)) => true,
        (T::Array(a), T::Array(b)) | (T::Multiset(a), T::Multiset(b)) => is_implicit(&a.kind, &b.kind),
        (T::Map(ka, va), T::Map(kb, vb)) => {
            is_implicit(&ka.kind, &kb.kind) && is_implicit(&va.kind, &vb.kind)
        }
        (T::Row(a), T::Row(b)) => {
            a.len() == b.len()
                && a.iter().zip(b).all(|(a, b)| is_implicit(&a.data_type.kind, &b.data_type.kind))
        }
        _ => match (rank(from), rank(to)) {
            (Some(from), Some(to)) => from <= to,
            _ => from == to,
        },
    }
}
