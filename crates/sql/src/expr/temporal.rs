//! Dates and timestamps of any unit: the calendar, reading values as milliseconds, and moving them by intervals.
//!
//! Invariant: nothing here fails; what leaves the range of a type wraps as Java's numbers do.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::compute::cast as arrow_cast;
use arrow::datatypes::{
    DataType as ArrowType, Date32Type, Int64Type, Time32MillisecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType,
};
use chrono::{DateTime, NaiveDateTime, Offset, TimeZone};
use chrono_tz::Tz;
use streamkeeper_connectors::schema::TypeKind;

use super::eval::Args;
use super::{ColumnarValue, EvalError};

/// Milliseconds of a day.
pub(crate) const DAY_MS: i64 = 86_400_000;

/// Year, month and day of a number of days since 1970-01-01, in the proleptic Gregorian calendar.
pub(crate) fn civil(days: i64) -> (i64, u32, u32) {
    // Years that start in March, in eras of 400 years.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month as u32, day as u32)
}

/// Days since 1970-01-01.
pub(crate) fn days_of(year: i64, month: u32, day: u32) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let month = i64::from(if month > 2 { month - 3 } else { month + 9 });
    let of_year = (153 * month + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

pub(crate) fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        2 if year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// A date moved by months; a day that the month does not have becomes the month's last.
pub(crate) fn add_months(days: i64, months: i64) -> i64 {
    let (year, month, day) = civil(days);
    let total = year * 12 + i64::from(month) - 1 + months;
    let (year, month) = (total.div_euclid(12), total.rem_euclid(12) as u32 + 1);
    days_of(year, month, day.min(days_in_month(year, month)))
}

/// The zone's offset at an instant, in milliseconds.
pub(crate) fn offset_ms(instant: i64, zone: Tz) -> i64 {
    let Some(utc) = DateTime::from_timestamp_millis(instant) else { return 0 };
    i64::from(zone.offset_from_utc_datetime(&utc.naive_utc()).fix().local_minus_utc()) * 1000
}

/// The instant of a local time; of one that a gap skips, the one as long after the gap.
pub(crate) fn instant_ms(local: i64, zone: Tz) -> i64 {
    let before = offset_ms(local.saturating_sub(DAY_MS), zone);
    let with_before = local.saturating_sub(before);
    if offset_ms(with_before, zone) == before {
        return with_before;
    }
    let after = offset_ms(local.saturating_add(DAY_MS), zone);
    let with_after = local.saturating_sub(after);
    if offset_ms(with_after, zone) == after { with_after } else { with_before }
}

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

/// The milliseconds of a date, time, timestamp (UTC for instants) or interval, and the nanoseconds below them.
pub(crate) fn millis(array: &ArrayRef) -> Result<(Int64Array, Option<Int64Array>), EvalError> {
    let plain = match array.data_type() {
        ArrowType::Date32 => array.as_primitive::<Date32Type>().unary(|d| i64::from(d) * DAY_MS),
        ArrowType::Time32(_) => array.as_primitive::<Time32MillisecondType>().unary(i64::from),
        ArrowType::Timestamp(TimeUnit::Microsecond, _) => {
            let micros = array.as_primitive::<TimestampMicrosecondType>();
            let below = micros.unary(|v| v.rem_euclid(1000) * 1000);
            return Ok((micros.unary(|v| v.div_euclid(1000)), Some(below)));
        }
        ArrowType::Timestamp(TimeUnit::Nanosecond, _) => {
            let nanos = array.as_primitive::<TimestampNanosecondType>();
            let below = nanos.unary(|v| v.rem_euclid(1_000_000));
            return Ok((nanos.unary(|v| v.div_euclid(1_000_000)), Some(below)));
        }
        ArrowType::Timestamp(..) => array.as_primitive::<TimestampMillisecondType>().reinterpret_cast(),
        ArrowType::Int64 => array.as_primitive::<Int64Type>().clone(),
        other => return Err(EvalError(format!("{other} is neither a date nor a time"))),
    };
    Ok((plain, None))
}

/// Units of an Arrow type in a day; `None` for what is no date or time.
fn per_day(data_type: &ArrowType) -> i64 {
    match data_type {
        ArrowType::Date32 => 1,
        ArrowType::Timestamp(TimeUnit::Microsecond, _) => DAY_MS * 1000,
        ArrowType::Timestamp(TimeUnit::Nanosecond, _) => DAY_MS * 1_000_000,
        _ => DAY_MS,
    }
}

/// Milliseconds as an array of a date, time or timestamp type.
pub(crate) fn from_millis(values: &Int64Array, to: &ArrowType) -> Result<ArrayRef, EvalError> {
    let units = match to {
        ArrowType::Date32 => values.unary(|v| v.div_euclid(DAY_MS)),
        _ => values.unary(|v| v.wrapping_mul(per_day(to) / DAY_MS)),
    };
    from_units(units, to)
}

fn from_units(units: Int64Array, to: &ArrowType) -> Result<ArrayRef, EvalError> {
    Ok(match to {
        ArrowType::Date32 => Arc::new(units.unary::<_, Date32Type>(|v| v as i32)),
        ArrowType::Time32(_) => Arc::new(units.unary::<_, Time32MillisecondType>(|v| v as i32)),
        _ => arrow_cast(&units, to)?,
    })
}

fn wide(value: &ColumnarValue) -> Result<ColumnarValue, EvalError> {
    let one = |array: &ArrayRef| {
        let narrow = matches!(array.data_type(), ArrowType::Date32 | ArrowType::Time32(_));
        let array = if narrow { arrow_cast(array, &ArrowType::Int32)? } else { Arc::clone(array) };
        Ok::<_, EvalError>(arrow_cast(&array, &ArrowType::Int64)?)
    };
    Ok(match value {
        ColumnarValue::Array(array) => ColumnarValue::Array(one(array)?),
        ColumnarValue::Scalar(array) => ColumnarValue::Scalar(one(array)?),
    })
}

/// A date, time or timestamp moved by an interval. Months move an instant on the calendar of UTC; a time of day goes
/// round the clock, and months do not move it.
pub(crate) fn add_interval(a: &Args<'_>, sign: i64) -> Result<ArrayRef, EvalError> {
    let stamp = a.values[0].array();
    let per_day = per_day(stamp.data_type());
    let time = matches!(stamp.data_type(), ArrowType::Time32(_));
    let values = [wide(&a.values[0])?, wide(&a.values[1])?];
    let units = Args { values: &values, ..*a };
    let months = a.types[1].kind == TypeKind::IntervalYearMonth;
    let (x, y) = (units.prim::<Int64Type>(0), units.prim::<Int64Type>(1));
    let by_months = |value: i64, by: i64| {
        let moved = add_months(value.div_euclid(per_day), by);
        moved.wrapping_mul(per_day).wrapping_add(value.rem_euclid(per_day))
    };
    let unit = (per_day / DAY_MS).max(1);
    let one = |row| {
        let (value, by) = (x.get(row)?, y.get(row)?.wrapping_mul(sign));
        Some(match (time, months) {
            (true, true) => value,
            (true, false) => (value + by % DAY_MS).rem_euclid(DAY_MS),
            (false, true) => by_months(value, by),
            (false, false) if per_day == 1 => value.wrapping_add(by / DAY_MS),
            (false, false) => value.wrapping_add(by.wrapping_mul(unit)),
        })
    };
    from_units((0..a.rows).map(one).collect(), stamp.data_type())
}
