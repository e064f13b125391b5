//! Values as Flink writes and reads them: what CAST to and from STRING does.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    Time32MillisecondType,
};
use chrono::{Datelike, NaiveDate, NaiveDateTime, TimeZone, Timelike};
use streamkeeper_connectors::schema::{DataType, TypeKind};

use super::temporal::{civil, timestamp_at};

/// `Double.toString` of Java.
pub(crate) fn double_text(value: f64) -> String {
    java_float(value, || format!("{value:e}"), || format!("{value:?}"))
}

/// `Float.toString` of Java.
pub(crate) fn float_text(value: f32) -> String {
    java_float(f64::from(value), || format!("{value:e}"), || format!("{value:?}"))
}

fn java_float(value: f64, scientific: impl Fn() -> String, plain: impl Fn() -> String) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity".into() } else { "-Infinity".into() };
    }
    if value == 0.0 || (1e-3..1e7).contains(&value.abs()) {
        let text = plain();
        return if text.contains('.') { text } else { format!("{text}.0") };
    }
    let text = scientific();
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    if digits.contains('.') { format!("{digits}E{exponent}") } else { format!("{digits}.0E{exponent}") }
}

/// A DECIMAL with all digits of its scale.
pub(crate) fn decimal_text(value: i128, scale: u32) -> String {
    let digits = value.unsigned_abs().to_string();
    let sign = if value < 0 { "-" } else { "" };
    if scale == 0 {
        return format!("{sign}{digits}");
    }
    let digits = format!("{digits:0>width$}", width = scale as usize + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale as usize);
    format!("{sign}{whole}.{fraction}")
}

/// Four digits, of which each is computed as Flink does: a year over 9999 loses its first, one before 0 has other signs.
fn year_text(year: i64) -> String {
    [1000, 100, 10, 1].map(|unit| char::from((i64::from(b'0') + year / unit % 10) as u8)).iter().collect()
}

/// A timestamp with exactly `precision` digits after the point.
pub(crate) fn timestamp_text(value: NaiveDateTime, precision: u8) -> String {
    let mut text = year_text(i64::from(value.year()));
    text.push_str(&value.format("-%m-%d %H:%M:%S").to_string());
    if precision > 0 {
        let nanos = format!("{:09}", value.nanosecond() % 1_000_000_000);
        text.push('.');
        text.push_str(&nanos[..usize::from(precision.min(9))]);
    }
    text
}

/// An INTERVAL DAY TO SECOND, `+1 02:03:04.500`.
pub(crate) fn day_time_text(milliseconds: i64) -> String {
    let ms = milliseconds.unsigned_abs();
    let (s, sign) = (ms / 1000, if milliseconds < 0 { '-' } else { '+' });
    let (d, h, m) = (s / 86_400, s / 3600 % 24, s / 60 % 60);
    format!("{sign}{d} {h:02}:{m:02}:{:02}.{:03}", s % 60, ms % 1000)
}

/// An INTERVAL YEAR TO MONTH, `+1-02`.
pub(crate) fn year_month_text(months: i32) -> String {
    let m = months.unsigned_abs();
    format!("{}{}-{:02}", if months < 0 { '-' } else { '+' }, m / 12, m % 12)
}

/// A literal for a plan: instants in UTC.
pub(crate) fn display_literal(value: &ArrayRef, data_type: &DataType) -> String {
    value_text(value, data_type, 0, chrono_tz::UTC)
}

/// One value as text; `NULL` when it is null.
pub(crate) fn value_text(array: &ArrayRef, data_type: &DataType, row: usize, zone: chrono_tz::Tz) -> String {
    if array.is_null(row) {
        return "NULL".into();
    }
    match &data_type.kind {
        TypeKind::Char(_) | TypeKind::Varchar(_) => array.as_string::<i32>().value(row).into(),
        TypeKind::Boolean => (if array.as_boolean().value(row) { "TRUE" } else { "FALSE" }).into(),
        TypeKind::TinyInt => array.as_primitive::<Int8Type>().value(row).to_string(),
        TypeKind::SmallInt => array.as_primitive::<Int16Type>().value(row).to_string(),
        TypeKind::Int => array.as_primitive::<Int32Type>().value(row).to_string(),
        TypeKind::BigInt => array.as_primitive::<Int64Type>().value(row).to_string(),
        TypeKind::Float => float_text(array.as_primitive::<Float32Type>().value(row)),
        TypeKind::Double => double_text(array.as_primitive::<Float64Type>().value(row)),
        TypeKind::Decimal { scale, .. } => {
            decimal_text(array.as_primitive::<Decimal128Type>().value(row), u32::from(*scale))
        }
        TypeKind::Binary(_) | TypeKind::Varbinary(_) => {
            String::from_utf8_lossy(array.as_binary::<i32>().value(row)).into_owned()
        }
        TypeKind::Date => date_text(array.as_primitive::<Date32Type>().value(row)),
        TypeKind::Time(p) => time_text(array.as_primitive::<Time32MillisecondType>().value(row), *p),
        TypeKind::Timestamp(p) => timestamp_at(array, row).map_or("NULL".into(), |t| timestamp_text(t, *p)),
        TypeKind::TimestampLtz(p) => timestamp_at(array, row)
            .map_or("NULL".into(), |t| timestamp_text(zone.from_utc_datetime(&t).naive_local(), *p)),
        TypeKind::IntervalYearMonth => year_month_text(array.as_primitive::<Int32Type>().value(row)),
        TypeKind::IntervalDayTime => day_time_text(array.as_primitive::<Int64Type>().value(row)),
        TypeKind::Array(item) => {
            let items = array.as_list::<i32>().value(row);
            let texts: Vec<_> = (0..items.len()).map(|i| value_text(&items, item, i, zone)).collect();
            format!("[{}]", texts.join(", "))
        }
        TypeKind::Map(key, value) => map_text(array, row, key, value, zone),
        TypeKind::Multiset(item) => map_text(array, row, item, &TypeKind::Int.into(), zone),
        TypeKind::Row(fields) => {
            let columns = array.as_struct();
            let texts: Vec<_> = fields
                .iter()
                .enumerate()
                .map(|(i, f)| value_text(columns.column(i), &f.data_type, row, zone))
                .collect();
            format!("({})", texts.join(", "))
        }
        TypeKind::Null => "NULL".into(),
    }
}

fn map_text(array: &ArrayRef, row: usize, key: &DataType, value: &DataType, zone: chrono_tz::Tz) -> String {
    let entries = array.as_map().value(row);
    let text = |i| {
        let (k, v) = (entries.column(0), entries.column(1));
        format!("{}={}", value_text(k, key, i, zone), value_text(v, value, i, zone))
    };
    let texts: Vec<_> = (0..entries.len()).map(text).collect();
    format!("{{{}}}", texts.join(", "))
}

/// `2024-02-03`.
pub(crate) fn date_text(days: i32) -> String {
    let (year, month, day) = civil(i64::from(days));
    format!("{}-{month:02}-{day:02}", year_text(year))
}

/// `10:11:12`, with `precision` digits after the point.
pub(crate) fn time_text(ms: i32, precision: u8) -> String {
    let s = ms / 1000;
    let mut text = format!("{:02}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
    if precision > 0 {
        text.push('.');
        text.push_str(&format!("{:03}", ms % 1000)[..usize::from(precision.min(3))]);
    }
    text
}

/// A date, of `yyyy-M-d` with anything after a blank or T.
pub(crate) fn parse_date(text: &str) -> Option<NaiveDate> {
    let date = text.trim().split([' ', 'T']).next()?;
    let mut parts = date.split('-');
    let (year, month, day) = (parts.next()?, parts.next().unwrap_or("1"), parts.next().unwrap_or("1"));
    if parts.next().is_some() || !date.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    NaiveDate::from_ymd_opt(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?)
}

/// Milliseconds of the day, of `H[:m[:s[.fraction]]]`.
pub(crate) fn parse_time(text: &str) -> Option<(u32, u32, u32, u32)> {
    let (clock, fraction) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let mut parts = clock.split(':');
    let hour = parts.next()?.parse().ok()?;
    let minute = parts.next().map_or(Some(0), |p| p.parse().ok())?;
    let second = parts.next().map_or(Some(0), |p| p.parse().ok())?;
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 59 || fraction.len() > 9 {
        return None;
    }
    let nanos = if fraction.is_empty() { 0 } else { format!("{fraction:0<9}").parse().ok()? };
    Some((hour, minute, second, nanos))
}

/// A timestamp of `yyyy-MM-dd[ HH:mm:ss[.fraction]]`.
pub(crate) fn parse_timestamp(text: &str) -> Option<NaiveDateTime> {
    let text = text.trim();
    let Some((date, time)) = text.split_once(' ') else {
        if text.contains('T') {
            return None;
        }
        return parse_date(text)?.and_hms_opt(0, 0, 0);
    };
    let (hour, minute, second, nanos) = parse_time(time)?;
    parse_date(date)?.and_hms_nano_opt(hour, minute, second, nanos)
}

/// An exact decimal of a text such as `-12.5e3`: unscaled value at `scale`, rounded half up.
pub(crate) fn parse_decimal(text: &str, scale: u32) -> Option<i128> {
    let text = text.trim();
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], text[at + 1..].parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (negative, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let digits = format!("{whole}{fraction}");
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // The point sits `keep` digits from the left of `digits` once scaled.
    let keep = i64::try_from(whole.len()).ok()? + i64::from(exponent) + i64::from(scale);
    if keep < 0 {
        return Some(0);
    }
    let keep = usize::try_from(keep).ok()?;
    let significant = digits.trim_start_matches('0').len();
    if significant > 0 && keep > digits.len() + 40 {
        return None;
    }
    let mut value: i128 = 0;
    for i in 0..keep {
        let digit = digits.as_bytes().get(i).map_or(0, |b| i128::from(b - b'0'));
        if value == 0 && digit == 0 {
            continue;
        }
        value = value.checked_mul(10)?.checked_add(digit)?;
    }
    if digits.as_bytes().get(keep).is_some_and(|b| *b >= b'5') {
        value += 1;
    }
    Some(if negative { -value } else { value })
}
