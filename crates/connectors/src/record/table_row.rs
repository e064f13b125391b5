//! What a stream of a query's rows can consist of.

use std::sync::Arc;

use arrow::array::RecordBatch;

use super::changelog::row_kinds;
use super::{Changelog, Record, Result, Row};
use crate::schema::Field;

/// A row of a query's result: a [`Record`], whose fields the query must have, or a [`Row`], which takes what comes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be made of a table's row",
    note = "write `#[derive(Record)]` above the struct, or use `Row`"
)]
pub trait TableRow: Sized {
    /// The columns that the query must have; `None`: any.
    fn required() -> Option<Vec<Field>>;

    /// The rows of a batch. `names` are those of its columns, without the row kind.
    ///
    /// # Errors
    /// As [`Record::from_batch`].
    fn decode(batch: &RecordBatch, names: &Arc<[String]>) -> Result<Vec<Self>>;
}

impl<R: Record> TableRow for R {
    fn required() -> Option<Vec<Field>> {
        Some(R::fields())
    }

    fn decode(batch: &RecordBatch, _: &Arc<[String]>) -> Result<Vec<Self>> {
        R::from_batch(batch)
    }
}

impl TableRow for Row {
    fn required() -> Option<Vec<Field>> {
        None
    }

    fn decode(batch: &RecordBatch, names: &Arc<[String]>) -> Result<Vec<Self>> {
        Row::from_batch(batch, names)
    }
}

impl<T: TableRow> Changelog<T> {
    /// The changes of a batch. Without a row-kind column all rows are new.
    ///
    /// # Errors
    /// As [`TableRow::decode`], and when there is no such row kind.
    pub fn decode(batch: &RecordBatch, names: &Arc<[String]>) -> Result<Vec<Self>> {
        let kinds = row_kinds(batch)?;
        let values = T::decode(batch, names)?;
        Ok(kinds.into_iter().zip(values).map(|(kind, value)| Self { kind, value }).collect())
    }
}
