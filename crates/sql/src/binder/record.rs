//! A query whose rows become records: its columns against the record's fields.
//!
//! Invariant: what leaves here has exactly the record's columns, in its order and of its types, and no NULL where the
//! record takes none but for values that a cast does not hold.

use sqlparser::tokenizer::Span;
use streamkeeper_connectors::schema::{DataType, Field, TypeKind};

use super::implicit_cast;
use super::insert::{is_implicit, show};
use super::scope::suggestion;
use crate::error::SqlError;
use crate::plan::{Column, Plan, column};

/// The plan with the columns of `record`, which are found by name.
///
/// # Errors
/// When a column is missing, is too many, or is of a type that the field does not take; names them all.
pub(crate) fn to_record(plan: Plan, record: &[Field], span: Span) -> Result<Plan, SqlError> {
    let mismatch = |cause: String| {
        let query = plan.schema.iter().map(|c| (c.name.as_str(), &c.data_type));
        let fields = record.iter().map(|f| (f.name.as_str(), &f.data_type));
        SqlError::validation(
            format!(
                "The columns of the query and the fields of the record do not match.\nCause: {cause}\n\nQuery schema:  \
                 [{}]\nRecord schema: [{}]",
                show(query),
                show(fields)
            ),
            span,
        )
    };
    if let Some(extra) = plan.schema.iter().find(|c| record.iter().all(|f| f.name != c.name)) {
        return Err(mismatch(format!("No field is called '{}'; add one, or do not select it.", extra.name)));
    }
    let mut projection = Vec::new();
    for field in record {
        let mut found = (0..plan.schema.len()).filter(|i| plan.schema[*i].name == field.name);
        let Some(at) = found.next() else {
            let hint = suggestion(&field.name, plan.schema.iter().map(|c| c.name.as_str()))
                .map_or(String::new(), |s| format!(" Did you mean '{s}'?"));
            return Err(mismatch(format!("No column is called '{}'.{hint}", field.name)));
        };
        if found.next().is_some() {
            return Err(mismatch(format!("Two columns are called '{}'; rename one with AS.", field.name)));
        }
        let value = column(&plan.schema, at);
        let (from, to) = (value.data_type(), &field.data_type);
        if !is_implicit(&from.kind, &to.kind) {
            return Err(mismatch(format!(
                "Column '{}' is {from}, which a field of {to} does not take.",
                field.name
            )));
        }
        if !takes_nulls_of(from, to) {
            return Err(mismatch(format!(
                "Column '{}' is {from} and can be NULL where a field of {to} cannot; make it an Option, or use COALESCE.",
                field.name
            )));
        }
        projection.push(implicit_cast(value, to, span)?);
    }
    let names: Vec<String> = record.iter().map(|f| f.name.clone()).collect();
    let mut plan = plan.calc(None, projection, names);
    for (column, field) in plan.schema.iter_mut().zip(record) {
        *column =
            Column { rowtime: column.rowtime, ..Column::new(field.name.clone(), field.data_type.clone()) };
    }
    Ok(plan)
}

/// Whether there is a NULL in `to` wherever one can be in `from`.
fn takes_nulls_of(from: &DataType, to: &DataType) -> bool {
    use TypeKind as T;
    (to.nullable || !from.nullable)
        && match (&from.kind, &to.kind) {
            (T::Array(from), T::Array(to)) | (T::Multiset(from), T::Multiset(to)) => takes_nulls_of(from, to),
            (T::Map(from_key, from), T::Map(to_key, to)) => {
                takes_nulls_of(from_key, to_key) && takes_nulls_of(from, to)
            }
            (T::Row(from), T::Row(to)) => {
                from.iter().zip(to).all(|(from, to)| takes_nulls_of(&from.data_type, &to.data_type))
            }
            _ => true,
        }
}
