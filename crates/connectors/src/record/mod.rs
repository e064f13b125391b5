//! Structs as rows: what `#[derive(Record)]` makes of a struct, and rows whose columns are known only at run time.
//!
//! Invariant: what [`Record::to_batch`] wrote, [`Record::from_batch`] reads back, but for what a column's type cannot hold
//! (see the table). The types and the nulls of a batch are checked once for each column, and no value is boxed.
//!
//! - [`Record`]: a struct whose fields are columns; [`FieldValue`]: what a field can be
//! - `scalar`, `temporal`, `nested`, [`Decimal`]: the types of fields
//! - [`Row`] and [`Value`]: a row without a struct
//! - [`RowKind`] and [`Changelog`]: rows that come, change and go
//! - [`TableRow`] and [`StreamRow`]: what all kinds of rows have in common, for who reads a query or makes a table
//!
//! | Rust | Flink |
//! |---|---|
//! | `bool` | BOOLEAN |
//! | `i8`, `i16`, `i32`, `i64` | TINYINT, SMALLINT, INT, BIGINT |
//! | `f32`, `f64` | FLOAT, DOUBLE |
//! | `String` | STRING |
//! | `Vec<u8>` | BYTES |
//! | [`Decimal<P, S>`](Decimal) | DECIMAL(P, S) |
//! | `chrono::NaiveDate` | DATE |
//! | `chrono::NaiveTime` | TIME(3): what is finer than a millisecond is cut |
//! | `chrono::NaiveDateTime` | TIMESTAMP(9), or of the precision that `#[record(precision = …)]` gives; the rest is cut |
//! | `chrono::DateTime<Utc>` | TIMESTAMP_LTZ, of the same precisions |
//! | `Vec<T>` | ARRAY |
//! | `BTreeMap<K, V>`, `HashMap<K, V>` | MAP |
//! | a [`Record`] | ROW |
//! | `Option<T>` | the same, and NULL; all others are NOT NULL |

mod changelog;
mod decimal;
mod nested;
mod row;
mod scalar;
mod table_row;
mod temporal;
mod value;

use arrow::array::{Array, ArrayRef, RecordBatch, StructArray};
use arrow::buffer::NullBuffer;
use streamkeeper_dataflow::time::Timestamp;

pub use self::changelog::{Changelog, RowKind};
pub use self::decimal::Decimal;
pub use self::nested::Cells;
pub use self::row::{FromValue, Row};
pub use self::table_row::{StreamRow, TableRow};
pub use self::temporal::EventTime;
pub use self::value::Value;
pub use crate::error::ConnectorError;
use crate::schema::to_arrow_schema;
pub use crate::schema::{DataType, Field, TypeKind};

type Result<T> = std::result::Result<T, ConnectorError>;

/// What a field of a [`Record`] can be: how it becomes a column, and is read from one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a field of a record",
    label = "no column type holds this",
    note = "supported: bool, i8, i16, i32, i64, f32, f64, String, Vec<u8>, Decimal<P, S>, chrono's NaiveDate, NaiveTime, \
            NaiveDateTime and DateTime<Utc>, Vec<T>, BTreeMap<K, V>, HashMap<K, V>, Option<T>, and structs that derive \
            Record"
)]
pub trait FieldValue: Sized {
    /// A checked column.
    type Reader;

    /// The type of its column, with its nullability.
    fn data_type() -> DataType;

    /// A column of `values`, of the type `data_type`: the one of [`Self::data_type`], or one of another precision. `None` is NULL.
    ///
    /// # Errors
    /// When a value is beyond what the type holds, or all together are more than a batch holds.
    fn write<'a, I>(values: I, data_type: &DataType) -> Result<ArrayRef>
    where
        Self: 'a,
        I: Iterator<Item = Option<&'a Self>> + Clone;

    /// Checks a column. Rows that are NULL in `parent` (a row, list or option around it) are never read.
    ///
    /// # Errors
    /// When it is of another type, has a NULL where none may be, or a value that the Rust type does not hold.
    fn reader(column: &ArrayRef, parent: Option<&NullBuffer>) -> Result<Self::Reader>;

    /// The value of a row.
    fn read(reader: &Self::Reader, row: usize) -> Self;
}

/// A [`FieldValue`] that is never NULL: all but `Option`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can be NULL, which is not possible here",
    note = "a field that is a key, the key of a map and what is in an Option must be NOT NULL"
)]
pub trait NotNull: FieldValue {}

/// A struct whose fields are the columns of a table.
///
/// Derive it, with `use streamkeeper::prelude::*`; what the attributes mean is written there.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither a record nor a field of one",
    note = "write `#[derive(Record)]` above a struct to make it one; its fields can be bool, i8, i16, i32, i64, f32, f64, \
            String, Vec<u8>, Decimal<P, S>, chrono's NaiveDate, NaiveTime, NaiveDateTime and DateTime<Utc>, Vec<T>, \
            BTreeMap<K, V>, HashMap<K, V>, Option<T>, and other records"
)]
pub trait Record: Sized {
    /// The checked columns of a batch.
    type Reader;

    /// The field that is the event time, as an index into [`Self::fields`].
    const ROWTIME: Option<usize> = None;

    /// The fields of the primary key, as indices into [`Self::fields`]; empty: none.
    const KEY: &'static [usize] = &[];

    /// The columns: names and types.
    fn fields() -> Vec<Field>;

    /// A column for each of `fields`. `None` is a row that is NULL as a whole, inside of another.
    ///
    /// # Errors
    /// As [`FieldValue::write`]; names the column.
    fn write<'a, I>(records: I, fields: &[Field]) -> Result<Vec<ArrayRef>>
    where
        Self: 'a,
        I: Iterator<Item = Option<&'a Self>> + Clone;

    /// Checks the columns, which are found by their names.
    ///
    /// # Errors
    /// As [`FieldValue::reader`], and when a column is missing; names the column.
    fn reader(cells: &Cells<'_>) -> Result<Self::Reader>;

    /// The record of a row.
    fn read(reader: &Self::Reader, row: usize) -> Self;

    /// The value of the field that is the event time, in milliseconds since the epoch.
    fn event_time(&self) -> Option<Timestamp> {
        None
    }

    /// The records as a batch.
    ///
    /// # Errors
    /// When a value is beyond what its column's type holds; names the column.
    fn to_batch(records: &[Self]) -> Result<RecordBatch> {
        let fields = Self::fields();
        let columns = Self::write(records.iter().map(Some), &fields)?;
        RecordBatch::try_new(to_arrow_schema(&fields), columns)
            .map_err(|e| ConnectorError::invalid(e.to_string()))
    }

    /// The records of a batch. Columns that no field is named after are left alone.
    ///
    /// # Errors
    /// When a column is missing or of another type, or has a NULL where the field is no `Option`; names the column.
    fn from_batch(batch: &RecordBatch) -> Result<Vec<Self>> {
        let rows = batch.num_rows();
        let reader = Self::reader(&Cells::of_batch(batch))?;
        Ok((0..rows).map(|row| Self::read(&reader, row)).collect())
    }
}

/// What the derived code writes and checks columns by.
#[doc(hidden)]
pub mod derive {
    pub use arrow::array::ArrayRef;

    pub use super::temporal::{EventTime, with_precision};
    use super::{Cells, ConnectorError, Field, FieldValue, NotNull, Result, Timestamp};

    /// A column of a record's field.
    pub fn write<'a, T: FieldValue + 'a>(
        values: impl Iterator<Item = Option<&'a T>> + Clone,
        field: &Field,
    ) -> Result<ArrayRef> {
        T::write(values, &field.data_type).map_err(|e| e.within(&field.name))
    }

    /// The checked column of this name.
    pub fn reader<T: FieldValue>(cells: &Cells<'_>, name: &str) -> Result<T::Reader> {
        T::reader(cells.column(name)?, cells.nulls()).map_err(|e| e.within(name))
    }

    /// The event time that a field holds.
    pub fn event_time<T: EventTime>(value: &T) -> Timestamp {
        value.millis()
    }

    /// Compiles only for a type that can be (part of) a key.
    pub const fn assert_key<T: NotNull>() {}

    /// What derived code returns.
    pub type Columns<T> = std::result::Result<T, ConnectorError>;
}

/// Only rows that are not NULL in `parent` are ever read.
fn seen(parent: Option<&NullBuffer>, row: usize) -> bool {
    parent.is_none_or(|nulls| nulls.is_valid(row))
}

/// The column as an array of type `A`, without NULL where it is read.
fn typed<A: Array + Clone + 'static>(
    column: &ArrayRef,
    parent: Option<&NullBuffer>,
    expected: &DataType,
) -> Result<A> {
    let wrong = || mismatch(expected, column);
    let array = column.as_any().downcast_ref::<A>().ok_or_else(wrong)?;
    not_null(column, parent, expected)?;
    Ok(array.clone())
}

fn not_null(column: &ArrayRef, parent: Option<&NullBuffer>, expected: &DataType) -> Result<()> {
    let Some(nulls) = column.logical_nulls().filter(|nulls| nulls.null_count() > 0) else { return Ok(()) };
    match (0..column.len()).find(|row| nulls.is_null(*row) && seen(parent, *row)) {
        None => Ok(()),
        Some(row) => {
            Err(ConnectorError::NullValue { column: String::new(), expected: expected.to_string(), row })
        }
    }
}

fn mismatch(expected: &DataType, found: &ArrayRef) -> ConnectorError {
    ConnectorError::TypeMismatch {
        column: String::new(),
        expected: expected.to_string(),
        found: value::type_name(found.data_type()),
    }
}

/// A whole row as a value: ROW.
impl<R: Record> FieldValue for R {
    type Reader = R::Reader;

    fn data_type() -> DataType {
        DataType::from(TypeKind::Row(R::fields())).not_null()
    }

    fn write<'a, I>(values: I, data_type: &DataType) -> Result<ArrayRef>
    where
        Self: 'a,
        I: Iterator<Item = Option<&'a Self>> + Clone,
    {
        nested::write_row(values, data_type)
    }

    fn reader(column: &ArrayRef, parent: Option<&NullBuffer>) -> Result<Self::Reader> {
        let expected = Self::data_type();
        let array: StructArray = typed(column, parent, &expected)?;
        R::reader(&Cells::of_row(&array, parent))
    }

    fn read(reader: &Self::Reader, row: usize) -> Self {
        R::read(reader, row)
    }
}

impl<R: Record> NotNull for R {}
