//! What a stream consists of that becomes a table, or that a query's rows become.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int8Array, RecordBatch};
use arrow::datatypes::{DataType as ArrowType, Field as ArrowField, Schema as ArrowSchema};

use super::changelog::row_kinds;
use super::{Changelog, Record, Result, Row};
use crate::error::ConnectorError;
use crate::schema::{Field, to_arrow_schema};
use crate::table::ROW_KIND_COLUMN;

/// What a query's rows become: a [`Record`], whose fields the query must have; a [`Row`], which takes what comes; or a
/// [`Changelog`] of one of them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be made of a table's row",
    note = "write `#[derive(Record)]` above the struct, or use `Row`, or a `Changelog` of either"
)]
pub trait TableRow: Sized {
    /// It says what happened to the row, so a query may update rows that it gave before.
    const CHANGELOG: bool;

    /// The columns that the query must have; `None`: any.
    fn required() -> Option<Vec<Field>>;

    /// The rows of a batch. `names` are those of its columns, without the row kind.
    ///
    /// # Errors
    /// As [`Record::from_batch`].
    fn decode(batch: &RecordBatch, names: &Arc<[String]>) -> Result<Vec<Self>>;
}

impl<R: Record> TableRow for R {
    const CHANGELOG: bool = false;

    fn required() -> Option<Vec<Field>> {
        Some(R::fields())
    }

    fn decode(batch: &RecordBatch, _: &Arc<[String]>) -> Result<Vec<Self>> {
        R::from_batch(batch)
    }
}

impl TableRow for Row {
    const CHANGELOG: bool = false;

    fn required() -> Option<Vec<Field>> {
        None
    }

    fn decode(batch: &RecordBatch, names: &Arc<[String]>) -> Result<Vec<Self>> {
        Row::from_batch(batch, names)
    }
}

/// Without a row-kind column all rows are new.
impl<T: TableRow> TableRow for Changelog<T> {
    const CHANGELOG: bool = true;

    fn required() -> Option<Vec<Field>> {
        T::required()
    }

    fn decode(batch: &RecordBatch, names: &Arc<[String]>) -> Result<Vec<Self>> {
        let kinds = row_kinds(batch)?;
        let values = T::decode(batch, names)?;
        Ok(kinds.into_iter().zip(values).map(|(kind, value)| Self { kind, value }).collect())
    }
}

/// What a stream consists of that becomes a table: a [`Record`], or a [`Changelog`] of records.
#[diagnostic::on_unimplemented(
    message = "a stream of `{Self}` is not a table",
    note = "write `#[derive(Record)]` above the struct; a table that changes is a stream of `Changelog<…>`"
)]
pub trait StreamRow: Sized {
    /// The record: its fields are the table's columns.
    type Record: Record;

    /// There is a row kind behind the columns.
    const CHANGELOG: bool;

    /// The columns, and the row kind.
    ///
    /// # Errors
    /// As [`Record::to_batch`].
    fn encode(values: &[Self]) -> Result<RecordBatch>;
}

impl<R: Record> StreamRow for R {
    type Record = R;

    const CHANGELOG: bool = false;

    fn encode(values: &[Self]) -> Result<RecordBatch> {
        R::to_batch(values)
    }
}

impl<R: Record> StreamRow for Changelog<R> {
    type Record = R;

    const CHANGELOG: bool = true;

    fn encode(changes: &[Self]) -> Result<RecordBatch> {
        let fields = R::fields();
        let mut columns = R::write(changes.iter().map(|change| Some(&change.value)), &fields)?;
        let kinds: Int8Array = changes.iter().map(|change| change.kind.code()).collect();
        columns.push(Arc::new(kinds) as ArrayRef);
        let mut schema: Vec<_> = to_arrow_schema(&fields).fields().iter().cloned().collect();
        schema.push(Arc::new(ArrowField::new(ROW_KIND_COLUMN, ArrowType::Int8, false)));
        RecordBatch::try_new(Arc::new(ArrowSchema::new(schema)), columns)
            .map_err(|e| ConnectorError::invalid(e.to_string()))
    }
}
