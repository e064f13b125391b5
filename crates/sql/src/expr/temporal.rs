//! Timestamps of any unit: reading one, and moving them by intervals.

use arrow::array::Int64Array;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast as arrow_cast;
use arrow::datatypes::{
    DataType as ArrowType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType,
};
use chrono::{DateTime, Months, NaiveDateTime};
use std::sync::Arc;

use super::EvalError;
use super::eval::Args;

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

/// A date or timestamp moved by an interval; a day that the month does not have becomes the month's last.
pub(crate) fn add_interval(a: &Args<'_>, sign: i64) -> Result<ArrayRef, EvalError> {
    let stamp = a.values[0].array();
    let per_day = match stamp.data_type() {
        ArrowType::Date32 => 1,
        ArrowType::Timestamp(TimeUnit::Microsecond, _) => 86_400_000_000,
        ArrowType::Timestamp(TimeUnit::Nanosecond, _) => 86_400_000_000_000,
        _ => 86_400_000i64,
    };
    let days = if per_day == 1 { arrow_cast(stamp, &ArrowType::Int32)? } else { Arc::clone(stamp) };
    let left = Args {
        values: &[
            match &a.values[0] {
                super::ColumnarValue::Array(_) => {
                    super::ColumnarValue::Array(arrow_cast(&days, &ArrowType::Int64)?)
                }
                _ => super::ColumnarValue::Scalar(arrow_cast(&days, &ArrowType::Int64)?),
            },
            match &a.values[1] {
                super::ColumnarValue::Array(v) => {
                    super::ColumnarValue::Array(arrow_cast(v, &ArrowType::Int64)?)
                }
                super::ColumnarValue::Scalar(v) => {
                    super::ColumnarValue::Scalar(arrow_cast(v, &ArrowType::Int64)?)
                }
            },
        ],
        ..*a
    };
    let months = a.values[1].array().data_type() == &ArrowType::Int32;
    let (x, y) = (left.prim::<arrow::datatypes::Int64Type>(0), left.prim::<arrow::datatypes::Int64Type>(1));
    let one = |row| {
        let (Some(value), Some(by)) = (x.get(row), y.get(row)) else { return Ok(None) };
        let by = by.saturating_mul(sign);
        let moved = if months {
            let date = DateTime::from_timestamp(value.div_euclid(per_day).saturating_mul(86_400), 0);
            let by_months = Months::new(u32::try_from(by.unsigned_abs()).unwrap_or(u32::MAX));
            let date = date.and_then(|d| {
                if by < 0 { d.checked_sub_months(by_months) } else { d.checked_add_months(by_months) }
            });
            date.map(|d| d.timestamp().div_euclid(86_400) * per_day + value.rem_euclid(per_day))
        } else if per_day == 1 {
            value.checked_add(by / 86_400_000)
        } else {
            by.checked_mul(per_day / 86_400_000).and_then(|by| value.checked_add(by))
        };
        moved
            .map(Some)
            .ok_or_else(|| EvalError(format!("{value} moved by the interval {by} is out of range")))
    };
    let result = (0..a.rows).map(one).collect::<Result<Int64Array, _>>()?;
    if per_day == 1 {
        return Ok(arrow_cast(&arrow_cast(&result, &ArrowType::Int32)?, &ArrowType::Date32)?);
    }
    Ok(arrow_cast(&result, stamp.data_type())?)
}
