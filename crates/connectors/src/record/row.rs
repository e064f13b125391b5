//! A row whose columns are known only at run time.
//!
//! Invariant: rows of one batch share their columns' names.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::value::{self, Value};
use super::{Decimal, FieldValue, Result};
use crate::error::ConnectorError;

/// A row of a query. It costs an allocation; where speed matters, derive [`Record`](super::Record) for a struct.
///
/// ```
/// use streamkeeper_connectors::record::{Row, Value};
///
/// let row = Row::new(["word", "n"], [Value::String("to".into()), Value::BigInt(2)]);
/// assert_eq!(row.get::<i64>("n").unwrap(), 2);
/// assert_eq!(row.get::<Option<String>>(0).unwrap().as_deref(), Some("to"));
/// assert_eq!(row.to_string(), "[to, 2]");
/// let e = row.get::<i64>("word").unwrap_err();
/// assert_eq!(e.to_string(), "column `word`: BIGINT NOT NULL is wanted, but it is STRING");
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    #[serde(serialize_with = "write_names", deserialize_with = "read_names")]
    names: Arc<[String]>,
    values: Vec<Value>,
}

/// How a column of a row is named: by its name or its position.
pub trait ColumnRef: fmt::Display {
    /// Its position in `names`.
    fn find(&self, names: &[String]) -> Option<usize>;
}

impl ColumnRef for &str {
    fn find(&self, names: &[String]) -> Option<usize> {
        names.iter().position(|name| name == self)
    }
}

impl ColumnRef for usize {
    fn find(&self, names: &[String]) -> Option<usize> {
        (*self < names.len()).then_some(*self)
    }
}

impl Row {
    /// A row of these columns.
    ///
    /// # Panics
    /// When there are more names than values, or fewer.
    pub fn new<N: Into<String>>(
        names: impl IntoIterator<Item = N>,
        values: impl IntoIterator<Item = Value>,
    ) -> Self {
        let names: Arc<[String]> = names.into_iter().map(Into::into).collect();
        let values: Vec<Value> = values.into_iter().collect();
        assert_eq!(names.len(), values.len(), "a value per column");
        Self { names, values }
    }

    pub(super) fn of(names: Arc<[String]>, values: Vec<Value>) -> Self {
        Self { names, values }
    }

    /// The rows of a batch; its first columns are called `names`, and those behind them are left out.
    ///
    /// # Errors
    /// When a column is of an Arrow type that no Flink type has, or holds a time that chrono does not know.
    pub fn from_batch(batch: &RecordBatch, names: &Arc<[String]>) -> Result<Vec<Self>> {
        if batch.num_columns() < names.len() {
            return Err(ConnectorError::invalid(format!(
                "rows of {} columns are wanted, but the batch has {}",
                names.len(),
                batch.num_columns()
            )));
        }
        let rows = value::read_rows(&batch.columns()[..names.len()], names, batch.num_rows())?;
        Ok(rows.into_iter().map(|values| Self::of(names.clone(), values)).collect())
    }

    /// The names of the columns.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The values, in the order of the columns.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// The value of a column, given by name or position.
    ///
    /// # Errors
    /// When there is no such column, or it is of another type; `Option<T>` takes NULL as well.
    pub fn get<T: FromValue>(&self, column: impl ColumnRef) -> Result<T> {
        let at = column.find(&self.names).ok_or_else(|| ConnectorError::NoSuchColumn {
            column: column.to_string(),
            available: self.names.join(", "),
        })?;
        let value = &self.values[at];
        T::from_value(value).ok_or_else(|| ConnectorError::TypeMismatch {
            column: self.names[at].clone(),
            expected: T::type_name(),
            found: value.type_name(),
        })
    }
}

/// `[1, a, null]`.
impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::new();
        value::write_text_row(&self.values, &mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

fn write_names<S: Serializer>(names: &Arc<[String]>, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    names.as_ref().serialize(serializer)
}

/// Rows that are read one after the other share their names again.
fn read_names<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Arc<[String]>, D::Error> {
    thread_local! {
        static LAST: RefCell<Arc<[String]>> = RefCell::new(Arc::from([]));
    }
    let names = Vec::<String>::deserialize(deserializer)?;
    Ok(LAST.with_borrow_mut(|last| {
        if **last != *names {
            *last = Arc::from(names);
        }
        last.clone()
    }))
}

/// What a [`Value`] can be taken as.
#[diagnostic::on_unimplemented(message = "`{Self}` cannot be read from a row")]
pub trait FromValue: Sized {
    /// The value, when it is of this type.
    fn from_value(value: &Value) -> Option<Self>;

    /// The type's name in Flink.
    fn type_name() -> String;
}

macro_rules! from_value {
    ($($type:ty: $variant:ident),*) => {$(
        impl FromValue for $type {
            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    Value::$variant(value) => Some(value.clone()),
                    _ => None,
                }
            }

            fn type_name() -> String {
                <$type as FieldValue>::data_type().to_string()
            }
        }
    )*};
}

from_value!(
    bool: Boolean,
    i8: TinyInt,
    i16: SmallInt,
    i32: Int,
    i64: BigInt,
    f32: Float,
    f64: Double,
    String: String,
    Vec<u8>: Bytes,
    NaiveDate: Date,
    NaiveTime: Time,
    NaiveDateTime: Timestamp,
    DateTime<Utc>: TimestampLtz
);

impl<const P: u8, const S: u8> FromValue for Decimal<P, S> {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Decimal { unscaled, scale, .. } if *scale == S => Self::new(*unscaled),
            _ => None,
        }
    }

    fn type_name() -> String {
        Self::data_type().to_string()
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            value => T::from_value(value).map(Some),
        }
    }

    fn type_name() -> String {
        T::type_name().trim_end_matches(" NOT NULL").to_owned()
    }
}

impl<T: FromValue> FromValue for Vec<T> {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Array(items) => items.iter().map(T::from_value).collect(),
            _ => None,
        }
    }

    fn type_name() -> String {
        format!("ARRAY<{}> NOT NULL", T::type_name())
    }
}

impl<K: FromValue + Ord, V: FromValue> FromValue for BTreeMap<K, V> {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Map(entries) => {
                entries.iter().map(|(key, value)| K::from_value(key).zip(V::from_value(value))).collect()
            }
            _ => None,
        }
    }

    fn type_name() -> String {
        format!("MAP<{}, {}> NOT NULL", K::type_name(), V::type_name())
    }
}

impl FromValue for Row {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Row(row) => Some(row.clone()),
            _ => None,
        }
    }

    fn type_name() -> String {
        "ROW NOT NULL".to_owned()
    }
}

impl FromValue for Value {
    fn from_value(value: &Value) -> Option<Self> {
        Some(value.clone())
    }

    fn type_name() -> String {
        "any type".to_owned()
    }
}
