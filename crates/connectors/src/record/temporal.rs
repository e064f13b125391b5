//! Fields that are dates and times, as chrono has them.
//!
//! Invariant: a value is cut to its column's precision towards the past, as Flink cuts it; it is never rounded.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Date32Array, PrimitiveArray, Time32MillisecondArray};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::{
    ArrowTimestampType, DataType as ArrowType, Date32Type, Time32MillisecondType, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
};
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike, Utc};
use streamkeeper_dataflow::time::Timestamp;

use super::scalar::write_numbers;
use super::{DataType, FieldValue, NotNull, Result, TypeKind, mismatch, not_null, seen, typed};
use crate::error::ConnectorError;
use crate::schema::time_unit;

/// Days from 0001-01-01, day 1, to 1970-01-01.
pub(super) const EPOCH_DAYS_FROM_CE: i32 = 719_163;
const MILLIS_PER_DAY: i32 = 86_400_000;

/// A time that records can be ordered by.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the event time of a record",
    note = "`#[record(rowtime)]` wants a chrono::NaiveDateTime (TIMESTAMP) or a chrono::DateTime<Utc> (TIMESTAMP_LTZ)"
)]
pub trait EventTime: NotNull {
    /// Milliseconds since the epoch; for a time without a zone, as if it were of UTC.
    fn millis(&self) -> Timestamp;
}

/// `data_type`, but with this precision: for fields that are timestamps.
#[doc(hidden)]
pub fn with_precision<T: EventTimeOrOption>(precision: u8) -> DataType {
    let data_type = T::data_type();
    let kind = match data_type.kind {
        TypeKind::Timestamp(_) => TypeKind::Timestamp(precision),
        TypeKind::TimestampLtz(_) => TypeKind::TimestampLtz(precision),
        other => other,
    };
    DataType { kind, ..data_type }
}

/// A timestamp, or an `Option` of one: what has a precision.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no precision",
    note = "`#[record(precision = …)]` is for chrono::NaiveDateTime, chrono::DateTime<Utc> and an Option of them"
)]
pub trait EventTimeOrOption: FieldValue {}

impl<T: EventTime> EventTimeOrOption for T {}
impl<T: EventTime> EventTimeOrOption for Option<T> {}

fn out_of_range(value: impl ToString, data_type: &DataType) -> ConnectorError {
    ConnectorError::OutOfRange {
        column: String::new(),
        value: value.to_string(),
        data_type: data_type.to_string(),
    }
}

fn to_date(days: i32) -> Option<NaiveDate> {
    NaiveDate::from_num_days_from_ce_opt(days.checked_add(EPOCH_DAYS_FROM_CE)?)
}

impl FieldValue for NaiveDate {
    type Reader = Date32Array;

    fn data_type() -> DataType {
        DataType::from(TypeKind::Date).not_null()
    }

    fn write<'a, I>(values: I, _: &DataType) -> Result<ArrayRef>
    where
        I: Iterator<Item = Option<&'a Self>> + Clone,
    {
        let days = values.map(|date| date.map(|date| date.num_days_from_ce() - EPOCH_DAYS_FROM_CE));
        Ok(Arc::new(write_numbers::<Date32Type>(days).finish()))
    }

    fn reader(column: &ArrayRef, parent: Option<&NullBuffer>) -> Result<Self::Reader> {
        let array: Date32Array = typed(column, parent, &Self::data_type())?;
        match (0..array.len()).find(|row| seen(parent, *row) && to_date(array.value(*row)).is_none()) {
            None => Ok(array),
            Some(row) => Err(out_of_range(format!("day {}", array.value(row)), &Self::data_type())),
        }
    }

    fn read(reader: &Self::Reader, row: usize) -> Self {
        to_date(reader.value(row)).unwrap_or_default()
    }
}

impl NotNull for NaiveDate {}

fn to_time(millis: i32) -> Option<NaiveTime> {
    let millis = u32::try_from(millis).ok()?;
    NaiveTime::from_num_seconds_from_midnight_opt(millis / 1000, millis % 1000 * 1_000_000)
}

impl FieldValue for NaiveTime {
    type Reader = Time32MillisecondArray;

    fn data_type() -> DataType {
        DataType::from(TypeKind::Time(3)).not_null()
    }

    fn write<'a, I>(values: I, _: &DataType) -> Result<ArrayRef>
    where
        I: Iterator<Item = Option<&'a Self>> + Clone,
    {
        // A leap second is the last millisecond of its day: there is no later one.
        let millis = |time: &NaiveTime| {
            let millis = time.num_seconds_from_midnight() * 1000 + time.nanosecond() / 1_000_000;
            i32::try_from(millis).map_or(MILLIS_PER_DAY - 1, |millis| millis.min(MILLIS_PER_DAY - 1))
        };
        Ok(Arc::new(write_numbers::<Time32MillisecondType>(values.map(|time| time.map(millis))).finish()))
    }

    fn reader(column: &ArrayRef, parent: Option<&NullBuffer>) -> Result<Self::Reader> {
        let array: Time32MillisecondArray = typed(column, parent, &Self::data_type())?;
        match (0..array.len()).find(|row| seen(parent, *row) && to_time(array.value(*row)).is_none()) {
            None => Ok(array),
            Some(row) => Err(out_of_range(format!("{} ms", array.value(row)), &Self::data_type())),
        }
    }

    fn read(reader: &Self::Reader, row: usize) -> Self {
        to_time(reader.value(row)).unwrap_or_default()
    }
}

impl NotNull for NaiveTime {}

/// A checked column of timestamps.
#[derive(Debug)]
pub struct Timestamps {
    values: ScalarBuffer<i64>,
    unit: TimeUnit,
}

impl Timestamps {
    fn new(column: &ArrayRef, parent: Option<&NullBuffer>, expected: &DataType, zoned: bool) -> Result<Self> {
        let (unit, values) = match column.data_type() {
            ArrowType::Timestamp(unit, zone) if zone.is_some() == zoned => (*unit, raw(column, *unit)),
            _ => return Err(mismatch(expected, column)),
        };
        let Some(values) = values else { return Err(mismatch(expected, column)) };
        not_null(column, parent, expected)?;
        let all = Self { values, unit };
        // A NULL has no value to check, and neither has what a parent hides.
        let is_wrong = |row: &usize| seen(parent, *row) && all.get(*row).is_none();
        match (0..column.len()).find(is_wrong) {
            None => Ok(all),
            Some(row) => Err(out_of_range(format!("{} {unit:?}s", all.values[row]), expected)),
        }
    }

    fn get(&self, row: usize) -> Option<DateTime<Utc>> {
        let value = self.values[row];
        match self.unit {
            TimeUnit::Second => DateTime::from_timestamp(value, 0),
            TimeUnit::Millisecond => DateTime::from_timestamp_millis(value),
            TimeUnit::Microsecond => DateTime::from_timestamp_micros(value),
            TimeUnit::Nanosecond => Some(DateTime::from_timestamp_nanos(value)),
        }
    }
}

fn raw(column: &ArrayRef, unit: TimeUnit) -> Option<ScalarBuffer<i64>> {
    match unit {
        TimeUnit::Second => None,
        TimeUnit::Millisecond => Some(column.as_primitive::<TimestampMillisecondType>().values().clone()),
        TimeUnit::Microsecond => Some(column.as_primitive::<TimestampMicrosecondType>().values().clone()),
        TimeUnit::Nanosecond => Some(column.as_primitive::<TimestampNanosecondType>().values().clone()),
    }
}

fn write_timestamps(
    values: impl Iterator<Item = Option<DateTime<Utc>>>,
    data_type: &DataType,
) -> Result<ArrayRef> {
    let zoned = matches!(data_type.kind, TypeKind::TimestampLtz(_));
    let (TypeKind::Timestamp(precision) | TypeKind::TimestampLtz(precision)) = data_type.kind else {
        return Err(ConnectorError::invalid(format!("a timestamp cannot be written as {data_type}")));
    };
    // What the precision does not tell: 10 of the unit's steps for TIMESTAMP(2), and so on.
    let (unit, digits) = match time_unit(precision) {
        TimeUnit::Millisecond => (TimeUnit::Millisecond, 3),
        TimeUnit::Microsecond => (TimeUnit::Microsecond, 6),
        other => (other, 9),
    };
    let step = 10i64.pow(u32::from(digits - precision.min(digits)));
    match unit {
        TimeUnit::Millisecond => write_as::<TimestampMillisecondType>(
            values.map(|v| Ok(v.map(|v| v.timestamp_millis()))),
            step,
            zoned,
        ),
        TimeUnit::Microsecond => write_as::<TimestampMicrosecondType>(
            values.map(|v| Ok(v.map(|v| v.timestamp_micros()))),
            step,
            zoned,
        ),
        _ => {
            let nanos = values.map(|value| {
                let Some(value) = value else { return Ok(None) };
                value.timestamp_nanos_opt().map(Some).ok_or_else(|| out_of_range(value, data_type))
            });
            write_as::<TimestampNanosecondType>(nanos, step, zoned)
        }
    }
}

fn write_as<A: ArrowTimestampType>(
    values: impl Iterator<Item = Result<Option<i64>>>,
    step: i64,
    zoned: bool,
) -> Result<ArrayRef> {
    let mut builder = PrimitiveArray::<A>::builder(values.size_hint().0);
    for value in values {
        builder.append_option(value?.map(|value| value.div_euclid(step) * step));
    }
    let array = builder.finish();
    Ok(if zoned { Arc::new(array.with_timezone("UTC")) } else { Arc::new(array) })
}

impl FieldValue for NaiveDateTime {
    type Reader = Timestamps;

    fn data_type() -> DataType {
        DataType::from(TypeKind::Timestamp(9)).not_null()
    }

    fn write<'a, I>(values: I, data_type: &DataType) -> Result<ArrayRef>
    where
        I: Iterator<Item = Option<&'a Self>> + Clone,
    {
        write_timestamps(values.map(|v| v.map(NaiveDateTime::and_utc)), data_type)
    }

    fn reader(column: &ArrayRef, parent: Option<&NullBuffer>) -> Result<Self::Reader> {
        Timestamps::new(column, parent, &Self::data_type(), false)
    }

    fn read(reader: &Self::Reader, row: usize) -> Self {
        reader.get(row).unwrap_or_default().naive_utc()
    }
}

impl NotNull for NaiveDateTime {}

impl EventTime for NaiveDateTime {
    fn millis(&self) -> Timestamp {
        self.and_utc().timestamp_millis()
    }
}

impl FieldValue for DateTime<Utc> {
    type Reader = Timestamps;

    fn data_type() -> DataType {
        DataType::from(TypeKind::TimestampLtz(9)).not_null()
    }

    fn write<'a, I>(values: I, data_type: &DataType) -> Result<ArrayRef>
    where
        I: Iterator<Item = Option<&'a Self>> + Clone,
    {
        write_timestamps(values.map(Option::<&Self>::copied), data_type)
    }

    fn reader(column: &ArrayRef, parent: Option<&NullBuffer>) -> Result<Self::Reader> {
        Timestamps::new(column, parent, &Self::data_type(), true)
    }

    fn read(reader: &Self::Reader, row: usize) -> Self {
        reader.get(row).unwrap_or_default()
    }
}

impl NotNull for DateTime<Utc> {}

impl EventTime for DateTime<Utc> {
    fn millis(&self) -> Timestamp {
        self.timestamp_millis()
    }
}
