//! A value whose type is known only at run time.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType as ArrowType, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, TimeUnit,
};
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike, Utc};
use serde::{Deserialize, Serialize};

use super::{FieldValue, Result, Row};
use crate::error::ConnectorError;
use crate::text::number::{write_decimal_java, write_f32, write_f64, write_i64};
use crate::text::time::{write_date, write_java_time};

/// A value of any of Flink's types. A MULTISET is a map to its counts, an interval a number of months or milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the variants are called as Flink's types are")]
pub enum Value {
    Null,
    Boolean(bool),
    TinyInt(i8),
    SmallInt(i16),
    Int(i32),
    BigInt(i64),
    Float(f32),
    Double(f64),
    Decimal { unscaled: i128, precision: u8, scale: u8 },
    String(String),
    Bytes(Vec<u8>),
    Date(NaiveDate),
    Time(NaiveTime),
    Timestamp(NaiveDateTime),
    TimestampLtz(DateTime<Utc>),
    Array(Vec<Value>),
    Map(Vec<(Value, Value)>),
    Row(Row),
}

impl Value {
    /// Its type in Flink, as far as a value tells.
    pub fn type_name(&self) -> String {
        let name = match self {
            Self::Null => "NULL",
            Self::Boolean(_) => "BOOLEAN",
            Self::TinyInt(_) => "TINYINT",
            Self::SmallInt(_) => "SMALLINT",
            Self::Int(_) => "INT",
            Self::BigInt(_) => "BIGINT",
            Self::Float(_) => "FLOAT",
            Self::Double(_) => "DOUBLE",
            Self::Decimal { precision, scale, .. } => return format!("DECIMAL({precision}, {scale})"),
            Self::String(_) => "STRING",
            Self::Bytes(_) => "BYTES",
            Self::Date(_) => "DATE",
            Self::Time(_) => "TIME",
            Self::Timestamp(_) => "TIMESTAMP",
            Self::TimestampLtz(_) => "TIMESTAMP_LTZ",
            Self::Array(_) => "ARRAY",
            Self::Map(_) => "MAP",
            Self::Row(_) => "ROW",
        };
        name.to_owned()
    }
}

/// The Flink type that an Arrow type holds.
pub(super) fn type_name(arrow: &ArrowType) -> String {
    let name = match arrow {
        ArrowType::Null => "NULL",
        ArrowType::Boolean => "BOOLEAN",
        ArrowType::Int8 => "TINYINT",
        ArrowType::Int16 => "SMALLINT",
        ArrowType::Int32 => "INT",
        ArrowType::Int64 => "BIGINT",
        ArrowType::Float32 => "FLOAT",
        ArrowType::Float64 => "DOUBLE",
        ArrowType::Decimal128(precision, scale) => return format!("DECIMAL({precision}, {scale})"),
        ArrowType::Utf8 => "STRING",
        ArrowType::Binary => "BYTES",
        ArrowType::Date32 => "DATE",
        ArrowType::Time32(_) => "TIME(3)",
        ArrowType::Timestamp(unit, zone) => {
            let precision = match unit {
                TimeUnit::Second => 0,
                TimeUnit::Millisecond => 3,
                TimeUnit::Microsecond => 6,
                TimeUnit::Nanosecond => 9,
            };
            let zone = if zone.is_some() { "_LTZ" } else { "" };
            return format!("TIMESTAMP{zone}({precision})");
        }
        ArrowType::List(item) => return format!("ARRAY<{}>", type_name(item.data_type())),
        ArrowType::Map(entries, _) => match entries.data_type() {
            ArrowType::Struct(fields) if fields.len() == 2 => {
                let [key, value] = [0, 1].map(|i| type_name(fields[i].data_type()));
                return format!("MAP<{key}, {value}>");
            }
            _ => "MAP",
        },
        ArrowType::Struct(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|f| format!("`{}` {}", f.name(), type_name(f.data_type()))).collect();
            return format!("ROW<{}>", fields.join(", "));
        }
        other => return other.to_string(),
    };
    name.to_owned()
}

/// The rows of columns: each column's type is looked at once.
pub(super) fn read_rows(columns: &[ArrayRef], names: &[String], rows: usize) -> Result<Vec<Vec<Value>>> {
    let mut all: Vec<Vec<Value>> = (0..rows).map(|_| Vec::with_capacity(columns.len())).collect();
    for (column, name) in columns.iter().zip(names) {
        read_column(column, |row, value| all[row].push(value)).map_err(|e| e.within(name))?;
    }
    Ok(all)
}

fn values(column: &ArrayRef) -> Result<Vec<Value>> {
    let mut all = Vec::with_capacity(column.len());
    read_column(column, |_, value| all.push(value))?;
    Ok(all)
}

fn read_column(column: &ArrayRef, push: impl FnMut(usize, Value)) -> Result<()> {
    use Value as V;
    match column.data_type() {
        ArrowType::Null => each(column, push, |_| Ok(V::Null)),
        ArrowType::Boolean => typed(column, V::Boolean, push),
        ArrowType::Int8 => numbers::<Int8Type>(column, V::TinyInt, push),
        ArrowType::Int16 => numbers::<Int16Type>(column, V::SmallInt, push),
        ArrowType::Int32 => numbers::<Int32Type>(column, V::Int, push),
        ArrowType::Int64 => numbers::<Int64Type>(column, V::BigInt, push),
        ArrowType::Float32 => numbers::<Float32Type>(column, V::Float, push),
        ArrowType::Float64 => numbers::<Float64Type>(column, V::Double, push),
        ArrowType::Decimal128(precision, scale) => {
            let (precision, scale) = (*precision, scale.unsigned_abs());
            numbers::<Decimal128Type>(column, |unscaled| V::Decimal { unscaled, precision, scale }, push)
        }
        ArrowType::Utf8 => typed(column, V::String, push),
        ArrowType::Binary => typed(column, V::Bytes, push),
        ArrowType::Date32 => typed(column, V::Date, push),
        ArrowType::Time32(TimeUnit::Millisecond) => typed(column, V::Time, push),
        ArrowType::Timestamp(_, None) => typed(column, V::Timestamp, push),
        ArrowType::Timestamp(_, Some(_)) => typed(column, V::TimestampLtz, push),
        ArrowType::List(_) => {
            let list = column.as_list::<i32>();
            each(column, push, |row| Ok(V::Array(values(&list.value(row))?)))
        }
        ArrowType::Map(..) => {
            let map = column.as_map();
            each(column, push, |row| {
                let entries = map.value(row);
                let (keys, items) = (values(entries.column(0))?, values(entries.column(1))?);
                Ok(V::Map(keys.into_iter().zip(items).collect()))
            })
        }
        ArrowType::Struct(fields) => {
            let names: Arc<[String]> = fields.iter().map(|f| f.name().clone()).collect();
            let mut rows = read_rows(column.as_struct().columns(), &names, column.len())?;
            each(column, push, |row| Ok(V::Row(Row::of(names.clone(), std::mem::take(&mut rows[row])))))
        }
        other => Err(ConnectorError::invalid(format!("no Flink type is held by Arrow's {other}"))),
    }
}

/// A value per row of a column that a [`FieldValue`] reads.
fn typed<T: FieldValue>(
    column: &ArrayRef,
    make: impl Fn(T) -> Value,
    push: impl FnMut(usize, Value),
) -> Result<()> {
    // Rows that are NULL are never read.
    let reader = T::reader(column, column.nulls())?;
    each(column, push, |row| Ok(make(T::read(&reader, row))))
}

fn numbers<A: ArrowPrimitiveType>(
    column: &ArrayRef,
    make: impl Fn(A::Native) -> Value,
    push: impl FnMut(usize, Value),
) -> Result<()> {
    let array = column.as_primitive::<A>();
    each(column, push, |row| Ok(make(array.value(row))))
}

fn each(
    column: &ArrayRef,
    mut push: impl FnMut(usize, Value),
    mut value: impl FnMut(usize) -> Result<Value>,
) -> Result<()> {
    for row in 0..column.len() {
        push(row, if column.is_null(row) { Value::Null } else { value(row)? });
    }
    Ok(())
}

/// Appends `[1, a, null]`.
pub(super) fn write_text_row(values: &[Value], out: &mut Vec<u8>) {
    out.push(b'[');
    separated(values, out, write_text);
    out.push(b']');
}

fn separated<T>(items: &[T], out: &mut Vec<u8>, write: impl Fn(&T, &mut Vec<u8>)) {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.extend_from_slice(b", ");
        }
        write(item, out);
    }
}

/// Appends a value as the print connector does.
fn write_text(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Boolean(v) => out.extend_from_slice(if *v { b"true" } else { b"false" }),
        Value::TinyInt(v) => write_i64(i64::from(*v), out),
        Value::SmallInt(v) => write_i64(i64::from(*v), out),
        Value::Int(v) => write_i64(i64::from(*v), out),
        Value::BigInt(v) => write_i64(*v, out),
        Value::Float(v) => write_f32(*v, out),
        Value::Double(v) => write_f64(*v, out),
        Value::Decimal { unscaled, scale, .. } => write_decimal_java(*unscaled, i32::from(*scale), out),
        Value::String(v) => out.extend_from_slice(v.as_bytes()),
        Value::Bytes(v) => {
            out.push(b'[');
            separated(v, out, |byte, out| write_i64(i64::from(*byte as i8), out));
            out.push(b']');
        }
        Value::Date(v) => write_days(*v, out),
        Value::Time(v) => write_java_time(nanos_of_day(*v), false, out),
        Value::Timestamp(v) => write_timestamp(*v, false, out),
        Value::TimestampLtz(v) => {
            write_timestamp(v.naive_utc(), true, out);
            out.push(b'Z');
        }
        Value::Array(items) => {
            out.push(b'[');
            separated(items, out, write_text);
            out.push(b']');
        }
        Value::Map(entries) => {
            out.push(b'{');
            separated(entries, out, |(key, value), out| {
                write_text(key, out);
                out.push(b'=');
                write_text(value, out);
            });
            out.push(b'}');
        }
        Value::Row(row) => {
            out.extend_from_slice(b"+I");
            write_text_row(row.values(), out);
        }
    }
}

fn write_days(date: NaiveDate, out: &mut Vec<u8>) {
    write_date(i64::from(date.num_days_from_ce() - super::temporal::EPOCH_DAYS_FROM_CE), out);
}

fn nanos_of_day(time: NaiveTime) -> i64 {
    i64::from(time.num_seconds_from_midnight()) * 1_000_000_000 + i64::from(time.nanosecond())
}

fn write_timestamp(time: NaiveDateTime, always_seconds: bool, out: &mut Vec<u8>) {
    write_days(time.date(), out);
    out.push(b'T');
    write_java_time(nanos_of_day(time.time()), always_seconds, out);
}
