//! CAST and TRY_CAST on arrays: between numbers Java's conversions, from text a parse that can fail.
//!
//! Invariant: a DECIMAL that does not fit is NULL, text that does not parse is an error (NULL under TRY_CAST).

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int8Array, Int16Array, Int32Array, Int64Array, StringArray, Time32MillisecondArray, new_null_array,
};
use arrow::array::{ListArray, StructArray};
use arrow::array::{TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{cast as arrow_cast, is_null, nullif};
use arrow::datatypes::{DataType as ArrowType, Decimal128Type, Float64Type, Int64Type};
use chrono::{NaiveDate, NaiveDateTime, TimeZone};
use streamkeeper_connectors::schema::{DataType, MAX_LENGTH, TypeKind, time_unit};

use super::cast_text::{double_text, parse_date, parse_decimal, parse_time, parse_timestamp, value_text};
use super::decimal::{fits, pow10, rescale};
use super::temporal::{DAY_MS, millis, offset_ms, timestamp_at};
use super::{EvalContext, EvalError, types};

/// Whether Flink has such a cast and it is built here.
pub(crate) fn can_cast(from: &TypeKind, to: &TypeKind) -> bool {
    use TypeKind::{Boolean, Char, Date, Null, Time, Timestamp, TimestampLtz, Varchar};
    let stamp = |k: &TypeKind| matches!(k, Date | Timestamp(_) | TimestampLtz(_));
    let number = |k: &TypeKind| types::is_numeric(k) || *k == Boolean;
    let nested = match (from, to) {
        (TypeKind::Array(from), TypeKind::Array(to)) => can_cast_element(from, to),
        (TypeKind::Row(from), TypeKind::Row(to)) => {
            let mut pairs = from.iter().zip(to);
            from.len() == to.len() && pairs.all(|(a, b)| can_cast_element(&a.data_type, &b.data_type))
        }
        _ => false,
    };
    from == to
        || nested
        || *from == Null
        || types::is_string(to)
        || (number(from) && number(to))
        || (types::is_string(from) && (number(to) || stamp(to) || *to == TypeKind::Varbinary(MAX_LENGTH)))
        || (stamp(from) && stamp(to))
        || (matches!(to, Time(_))
            && matches!(from, Char(_) | Varchar(_) | Time(_) | Timestamp(_) | TimestampLtz(_)))
        || (matches!(from, Time(_)) && matches!(to, Timestamp(_) | TimestampLtz(_)))
}

/// A NULL has no place in elements that are NOT NULL.
fn can_cast_element(from: &DataType, to: &DataType) -> bool {
    (to.nullable || !from.nullable) && can_cast(&from.kind, &to.kind)
}

/// Casts every value of `array`.
pub(crate) fn cast_array(
    array: &ArrayRef,
    from: &DataType,
    to: &DataType,
    try_cast: bool,
    ctx: &EvalContext,
) -> Result<ArrayRef, EvalError> {
    if from.kind == to.kind {
        return Ok(Arc::clone(array));
    }
    if from.kind == TypeKind::Null {
        return Ok(new_null_array(&to.to_arrow(), array.len()));
    }
    if types::is_string(&to.kind) {
        return Ok(to_string(array, from, to, ctx));
    }
    match (&from.kind, &to.kind) {
        (TypeKind::Array(from), TypeKind::Array(element)) => {
            let list = array.as_list::<i32>();
            let (first, last) = (list.value_offsets()[0] as usize, list.value_offsets()[list.len()] as usize);
            let values = list.values().slice(first, last - first);
            let values = cast_array(&values, from, element, try_cast, ctx)?;
            let offsets = OffsetBuffer::from_lengths(list.offsets().lengths());
            let ArrowType::List(field) = to.to_arrow() else {
                return Err(EvalError(format!("{to} is not an array")));
            };
            return Ok(Arc::new(ListArray::try_new(field, offsets, values, list.nulls().cloned())?));
        }
        (TypeKind::Row(from), TypeKind::Row(fields)) => {
            let row = array.as_struct();
            let is_null = is_null(row)?;
            let columns = row.columns().iter().zip(from.iter().zip(fields));
            // What a NULL row holds is not looked at.
            let columns = columns.map(|(column, (from, to))| {
                cast_array(&nullif(column, &is_null)?, &from.data_type, &to.data_type, try_cast, ctx)
            });
            let columns = columns.collect::<Result<Vec<_>, _>>()?;
            let ArrowType::Struct(fields) = to.to_arrow() else {
                return Err(EvalError(format!("{to} is not a row")));
            };
            return Ok(Arc::new(StructArray::try_new(fields, columns, row.nulls().cloned())?));
        }
        _ => {}
    }
    if to.kind == TypeKind::Varbinary(MAX_LENGTH) {
        return Ok(arrow_cast(array, &to.to_arrow())?);
    }
    if types::is_string(&from.kind) {
        return from_string(array.as_string(), to, try_cast, ctx);
    }
    if let TypeKind::Time(precision) = to.kind {
        let (ms, _) = millis(array)?;
        let ltz = matches!(from.kind, TypeKind::TimestampLtz(_));
        let local = |v: i64| if ltz { v.wrapping_add(offset_ms(v, ctx.time_zone)) } else { v };
        return Ok(times(ms.iter().map(|v| v.map(|v| local(v).rem_euclid(DAY_MS) as i32)), precision));
    }
    if let TypeKind::Timestamp(_) | TypeKind::TimestampLtz(_) | TypeKind::Date = to.kind {
        return stamps(array, from, to, ctx);
    }
    numbers(array, from, to)
}

fn to_string(array: &ArrayRef, from: &DataType, to: &DataType, ctx: &EvalContext) -> ArrayRef {
    let (length, pad) = match to.kind {
        TypeKind::Char(n) => (n, true),
        TypeKind::Varchar(n) => (n, false),
        _ => (MAX_LENGTH, false),
    };
    if let (TypeKind::Char(n) | TypeKind::Varchar(n), false) = (&from.kind, pad)
        && length >= *n
    {
        return Arc::clone(array);
    }
    let one = |row| {
        let mut text = value_text(array, from, row, ctx.time_zone);
        if length != MAX_LENGTH {
            if let Some((cut, _)) = text.char_indices().nth(length as usize) {
                text.truncate(cut);
            }
            if pad {
                let missing = (length as usize).saturating_sub(text.chars().count());
                text.extend(std::iter::repeat_n(' ', missing));
            }
        }
        text
    };
    Arc::new((0..array.len()).map(|row| array.is_valid(row).then(|| one(row))).collect::<StringArray>())
}

fn parse_all<T, A: Array + FromIterator<Option<T>> + 'static>(
    texts: &StringArray,
    to: &DataType,
    try_cast: bool,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<ArrayRef, EvalError> {
    let one = |text: Option<&str>| match text {
        None => Ok(None),
        Some(text) => match parse(text) {
            None if !try_cast => {
                Err(EvalError(format!("CAST: '{text}' is not a {}; use TRY_CAST for NULL", to.kind)))
            }
            value => Ok(value),
        },
    };
    Ok(Arc::new(texts.iter().map(one).collect::<Result<A, _>>()?))
}

fn parse_integer(text: &str) -> Option<i64> {
    let text = text.trim();
    let whole = match text.split_once('.') {
        Some((whole, fraction)) if fraction.bytes().all(|b| b.is_ascii_digit()) => whole,
        Some(_) => return None,
        None => text,
    };
    whole.parse().ok()
}

fn from_string(
    texts: &StringArray,
    to: &DataType,
    try_cast: bool,
    ctx: &EvalContext,
) -> Result<ArrayRef, EvalError> {
    let float = |text: &str| {
        let text = text.trim();
        let letters = text.trim_start_matches(['+', '-']);
        if letters.starts_with(|c: char| c.is_alphabetic()) && letters != "Infinity" && letters != "NaN" {
            return None;
        }
        text.parse::<f64>().ok()
    };
    match &to.kind {
        TypeKind::Boolean => parse_all::<_, BooleanArray>(texts, to, try_cast, |text| {
            match text.trim().to_ascii_lowercase().as_str() {
                "t" | "true" | "y" | "yes" | "1" => Some(true),
                "f" | "false" | "n" | "no" | "0" => Some(false),
                _ => None,
            }
        }),
        TypeKind::TinyInt => {
            parse_all::<_, Int8Array>(texts, to, try_cast, |t| i8::try_from(parse_integer(t)?).ok())
        }
        TypeKind::SmallInt => {
            parse_all::<_, Int16Array>(texts, to, try_cast, |t| i16::try_from(parse_integer(t)?).ok())
        }
        TypeKind::Int => {
            parse_all::<_, Int32Array>(texts, to, try_cast, |t| i32::try_from(parse_integer(t)?).ok())
        }
        TypeKind::BigInt => parse_all::<_, Int64Array>(texts, to, try_cast, parse_integer),
        TypeKind::Float => parse_all::<_, Float32Array>(texts, to, try_cast, |t| float(t).map(|v| v as f32)),
        TypeKind::Double => parse_all::<_, Float64Array>(texts, to, try_cast, float),
        TypeKind::Decimal { precision, scale } => {
            let parse = |t: &str| parse_decimal(t, u32::from(*scale));
            let values = parse_all::<_, Decimal128Array>(texts, to, try_cast, parse)?;
            decimals(values.as_primitive::<Decimal128Type>().iter(), *precision, *scale)
        }
        TypeKind::Time(precision) => {
            let parse = |t: &str| {
                let (hour, minute, second, nanos) = parse_time(t)?;
                Some((((hour * 60 + minute) * 60 + second) * 1000 + nanos / 1_000_000) as i32)
            };
            let parsed = parse_all::<_, Int32Array>(texts, to, try_cast, parse)?;
            let parsed = parsed.as_primitive::<arrow::datatypes::Int32Type>();
            Ok(times(parsed.iter(), *precision))
        }
        TypeKind::Date => parse_all::<_, Date32Array>(texts, to, try_cast, |t| parse_date(t).map(days)),
        kind => {
            let ltz = matches!(kind, TypeKind::TimestampLtz(_));
            let parse = |t: &str| {
                let stamp = parse_timestamp(t)?;
                if ltz { to_instant(stamp, ctx) } else { Some(stamp) }
            };
            let parsed = texts.iter().map(|t| match t {
                None => Ok(None),
                Some(t) => match parse(t) {
                    None if !try_cast => {
                        Err(EvalError(format!("CAST: '{t}' is not a {}; use TRY_CAST for NULL", to.kind)))
                    }
                    value => Ok(value),
                },
            });
            Ok(make_stamps(parsed.collect::<Result<Vec<_>, _>>()?.into_iter(), kind))
        }
    }
}

/// Milliseconds of the day, cut to the precision.
fn times(values: impl Iterator<Item = Option<i32>>, precision: u8) -> ArrayRef {
    let unit = 10i32.pow(3 - u32::from(precision.min(3)));
    Arc::new(values.map(|v| v.map(|v| v / unit * unit)).collect::<Time32MillisecondArray>())
}

fn days(date: NaiveDate) -> i32 {
    (date - NaiveDate::default()).num_days() as i32
}

/// The instant of a local time; of a time skipped by a zone's gap, the one after it.
fn to_instant(local: NaiveDateTime, ctx: &EvalContext) -> Option<NaiveDateTime> {
    let zone = ctx.time_zone;
    let found = zone.from_local_datetime(&local).earliest().or_else(|| {
        let hour = chrono::TimeDelta::hours(1);
        zone.from_local_datetime(&(local - hour)).earliest().map(|t| t + hour)
    });
    found.map(|t| t.naive_utc())
}

fn make_stamps(values: impl Iterator<Item = Option<NaiveDateTime>>, kind: &TypeKind) -> ArrayRef {
    let (precision, zone) = match kind {
        TypeKind::TimestampLtz(p) => (*p, Some("UTC")),
        TypeKind::Timestamp(p) => (*p, None),
        _ => (3, None),
    };
    let keep = |value: i64, digits: u8| {
        let unit = 10i64.pow(u32::from(digits.saturating_sub(precision)));
        value.div_euclid(unit) * unit
    };
    match time_unit(precision) {
        arrow::datatypes::TimeUnit::Microsecond => {
            let values = values.map(|v| v.map(|t| keep(t.and_utc().timestamp_micros(), 6)));
            Arc::new(values.collect::<TimestampMicrosecondArray>().with_timezone_opt(zone))
        }
        arrow::datatypes::TimeUnit::Nanosecond => {
            let values =
                values.map(|v| v.and_then(|t| t.and_utc().timestamp_nanos_opt()).map(|t| keep(t, 9)));
            Arc::new(values.collect::<TimestampNanosecondArray>().with_timezone_opt(zone))
        }
        _ => {
            let values = values.map(|v| v.map(|t| keep(t.and_utc().timestamp_millis(), 3)));
            Arc::new(values.collect::<TimestampMillisecondArray>().with_timezone_opt(zone))
        }
    }
}

fn stamps(
    array: &ArrayRef,
    from: &DataType,
    to: &DataType,
    ctx: &EvalContext,
) -> Result<ArrayRef, EvalError> {
    let read = |row: usize| {
        if array.is_null(row) {
            return None;
        }
        match from.kind {
            TypeKind::Time(_) => {
                let ms = array.as_primitive::<arrow::datatypes::Time32MillisecondType>().value(row);
                chrono::DateTime::from_timestamp_millis(i64::from(ms)).map(|t| t.naive_utc())
            }
            TypeKind::Date => {
                let days = array.as_primitive::<arrow::datatypes::Date32Type>().value(row);
                chrono::DateTime::from_timestamp(i64::from(days) * 86_400, 0).map(|t| t.naive_utc())
            }
            _ => timestamp_at(array, row),
        }
    };
    let from_ltz = matches!(from.kind, TypeKind::TimestampLtz(_));
    let to_ltz = matches!(to.kind, TypeKind::TimestampLtz(_));
    let convert = |t: NaiveDateTime| match (from_ltz, to_ltz) {
        (true, false) => Some(ctx.time_zone.from_utc_datetime(&t).naive_local()),
        (false, true) => to_instant(t, ctx),
        _ => Some(t),
    };
    let values = (0..array.len()).map(|row| read(row).and_then(convert));
    if to.kind == TypeKind::Date {
        return Ok(Arc::new(values.map(|v| v.map(|t| days(t.date()))).collect::<Date32Array>()));
    }
    Ok(make_stamps(values, &to.kind))
}

fn decimals(
    values: impl Iterator<Item = Option<i128>>,
    precision: u8,
    scale: u8,
) -> Result<ArrayRef, EvalError> {
    let values: Decimal128Array = values.map(|v| v.filter(|v| fits(*v, precision))).collect();
    Ok(Arc::new(values.with_precision_and_scale(precision, scale as i8)?))
}

fn numbers(array: &ArrayRef, from: &DataType, to: &DataType) -> Result<ArrayRef, EvalError> {
    if let TypeKind::Decimal { precision, scale } = to.kind {
        let scale_to = u32::from(scale);
        return match from.kind {
            TypeKind::Decimal { scale: s, .. } => {
                let values = array.as_primitive::<Decimal128Type>().iter();
                decimals(values.map(|v| rescale(v?, u32::from(s), scale_to)), precision, scale)
            }
            TypeKind::Float | TypeKind::Double => {
                let wide = arrow_cast(array, &ArrowType::Float64)?;
                let values = wide.as_primitive::<Float64Type>().iter();
                decimals(values.map(|v| parse_decimal(&double_text(v?), scale_to)), precision, scale)
            }
            _ => {
                let wide = arrow_cast(array, &ArrowType::Int64)?;
                let values = wide.as_primitive::<Int64Type>().iter();
                decimals(values.map(|v| i128::from(v?).checked_mul(pow10(scale_to))), precision, scale)
            }
        };
    }
    if types::is_approximate(&from.kind) && types::is_integer(&to.kind) {
        let wide = arrow_cast(array, &ArrowType::Float64)?;
        let values = wide.as_primitive::<Float64Type>().iter();
        return Ok(if to.kind == TypeKind::BigInt {
            Arc::new(values.map(|v| v.map(|v| v as i64)).collect::<Int64Array>())
        } else {
            narrow(values.map(|v| v.map(|v| i64::from(v as i32))), &to.kind)
        });
    }
    match (&from.kind, &to.kind) {
        (TypeKind::Decimal { scale, .. }, TypeKind::Float | TypeKind::Double) => {
            let divisor = pow10(u32::from(*scale)) as f64;
            let values = array.as_primitive::<Decimal128Type>().iter().map(|v| v.map(|v| v as f64 / divisor));
            Ok(arrow_cast(&values.collect::<Float64Array>(), &to.to_arrow())?)
        }
        (TypeKind::Decimal { scale, .. }, kind) if types::is_integer(kind) => {
            let divisor = pow10(u32::from(*scale));
            let values = array.as_primitive::<Decimal128Type>().iter();
            Ok(narrow(values.map(|v| v.map(|v| (v / divisor) as i64)), kind))
        }
        (_, kind) if types::is_integer(kind) => {
            let wide = arrow_cast(array, &ArrowType::Int64)?;
            Ok(narrow(wide.as_primitive::<Int64Type>().iter(), kind))
        }
        _ => Ok(arrow_cast(array, &to.to_arrow())?),
    }
}

/// Java's narrowing: the low bits.
fn narrow(values: impl Iterator<Item = Option<i64>>, kind: &TypeKind) -> ArrayRef {
    match kind {
        TypeKind::TinyInt => Arc::new(values.map(|v| v.map(|v| v as i8)).collect::<Int8Array>()),
        TypeKind::SmallInt => Arc::new(values.map(|v| v.map(|v| v as i16)).collect::<Int16Array>()),
        TypeKind::Int => Arc::new(values.map(|v| v.map(|v| v as i32)).collect::<Int32Array>()),
        _ => Arc::new(values.collect::<Int64Array>()),
    }
}
