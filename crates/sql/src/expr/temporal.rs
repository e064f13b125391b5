//! Reading and making timestamps of any unit.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType as ArrowType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType,
};
use chrono::{DateTime, NaiveDateTime};

/// The timestamp of a row, in UTC for instants; `None` outside of what a calendar holds.
pub(crate) fn timestamp_at(array: &ArrayRef, row: usize) -> Option<NaiveDateTime> {
    let ArrowType::Timestamp(unit, _) = array.data_type() else { return None };
    match unit {
        TimeUnit::Second => None,
        TimeUnit::Millisecond => {
            DateTime::from_timestamp_millis(array.as_primitive::<TimestampMillisecondType>().value(row))
        }
        TimeUnit::Microsecond => {
            DateTime::from_timestamp_micros(array.as_primitive::<TimestampMicrosecondType>().value(row))
        }
        TimeUnit::Nanosecond => {
            Some(DateTime::from_timestamp_nanos(array.as_primitive::<TimestampNanosecondType>().value(row)))
        }
    }
    .map(|t| t.naive_utc())
}
