//! Functions on dates and times.
//!
//! Invariant: instants are taken apart in the session's time zone; units come as literals in upper case.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Date32Array, Int32Array, Int64Array, StringArray};
use arrow::compute::{binary, cast as arrow_cast};
use arrow::datatypes::{DataType as ArrowType, Int64Type};
use chrono_tz::Tz;
use streamkeeper_connectors::schema::{DataType, MAX_LENGTH, TypeKind, time_unit};

use super::Kernel;
use super::date_format::{Moment, Pattern, Style};
use crate::expr::cast_text::parse_date;
use crate::expr::eval::{Args, Col};
use crate::expr::infer::{arity, built, coerce, wrong_types};
use crate::expr::temporal::{
    DAY_MS, add_months, civil, days_in_month, days_of, from_millis, instant_ms, millis, offset_ms,
};
use crate::expr::types::{is_integer, is_numeric, is_string};
use crate::expr::{
    EvalError, FunctionError, ScalarExpr, call, cast, literal_int, literal_interval_day_time,
    literal_interval_year_month, literal_string,
};

/// The functions by name; CEIL and FLOOR TO a unit are under CEIL and FLOOR.
pub(crate) const FUNCTIONS: &[(&str, Kernel)] = &[
    ("CONVERT_TZ", convert_tz),
    ("CURRENT_DATE", |a| now(a, true)),
    ("CURRENT_ROW_TIMESTAMP", |a| now(a, false)),
    ("CURRENT_TIME", |a| now(a, true)),
    ("CURRENT_TIMESTAMP", |a| now(a, false)),
    ("DATE_FORMAT", date_format),
    ("EXTRACT", extract),
    ("FROM_UNIXTIME", from_unixtime),
    ("LOCALTIME", |a| now(a, true)),
    ("LOCALTIMESTAMP", |a| now(a, true)),
    ("NOW", |a| now(a, false)),
    ("PROCTIME", |a| now(a, false)),
    ("TIMESTAMPDIFF", timestamp_diff),
    ("TO_DATE", to_date),
    ("TO_TIMESTAMP", to_timestamp),
    ("TO_TIMESTAMP_LTZ", to_timestamp_ltz),
    ("UNIX_TIMESTAMP", unix_timestamp),
];

/// The functions of one field of a date or time, and the field.
pub(crate) const FIELDS: &[(&str, &str)] = &[
    ("YEAR", "YEAR"),
    ("QUARTER", "QUARTER"),
    ("MONTH", "MONTH"),
    ("WEEK", "WEEK"),
    ("DAYOFYEAR", "DOY"),
    ("DAYOFMONTH", "DAY"),
    ("DAYOFWEEK", "DOW"),
    ("HOUR", "HOUR"),
    ("MINUTE", "MINUTE"),
    ("SECOND", "SECOND"),
];

fn is_interval(kind: &TypeKind) -> bool {
    matches!(kind, TypeKind::IntervalDayTime | TypeKind::IntervalYearMonth)
}

fn is_stamp(kind: &TypeKind) -> bool {
    matches!(kind, TypeKind::Date | TypeKind::Timestamp(_) | TypeKind::TimestampLtz(_))
}

fn is_moment(kind: &TypeKind) -> bool {
    is_stamp(kind) || matches!(kind, TypeKind::Time(_) | TypeKind::Null)
}

fn unit_of(arg: &ScalarExpr) -> Option<String> {
    match arg {
        ScalarExpr::Literal { value, .. } => {
            let text = value.as_string_opt::<i32>().filter(|v| v.len() == 1 && v.is_valid(0))?.value(0);
            let unit = text.to_ascii_uppercase();
            Some(unit.strip_prefix("SQL_TSI_").map_or_else(|| unit.clone(), str::to_owned))
        }
        _ => None,
    }
}

/// Coerces the arguments of one of [`FUNCTIONS`] and infers its type.
pub(crate) fn infer(name: &'static str, args: Vec<ScalarExpr>) -> Result<ScalarExpr, FunctionError> {
    let nullable = args.iter().any(|a| a.data_type().nullable);
    let of = |kind: TypeKind| DataType { kind, nullable };
    let kind =
        |i: usize| args.get(i).map(|a: &ScalarExpr| a.data_type().kind.clone()).unwrap_or(TypeKind::Null);
    let string = TypeKind::Varchar(MAX_LENGTH);
    let text_or_null = |k: &TypeKind| is_string(k) || *k == TypeKind::Null;
    let niladic = |kind: TypeKind, args: Vec<ScalarExpr>| {
        arity(name, &args, 0, 0)?;
        Ok(built(name, args, DataType::from(kind).not_null()))
    };
    match name {
        "CURRENT_DATE" => niladic(TypeKind::Date, args),
        "CURRENT_TIME" | "LOCALTIME" => niladic(TypeKind::Time(0), args),
        "LOCALTIMESTAMP" => niladic(TypeKind::Timestamp(3), args),
        "CURRENT_TIMESTAMP" | "NOW" | "PROCTIME" | "CURRENT_ROW_TIMESTAMP" => {
            niladic(TypeKind::TimestampLtz(3), args)
        }
        "EXTRACT" => {
            arity(name, &args, 2, 2)?;
            let fits = match unit_of(&args[0]).as_deref().and_then(Field::of) {
                Some(field) if is_interval(&kind(1)) => field.is_of_interval(),
                Some(_) => is_moment(&kind(1)),
                None => false,
            };
            if !fits {
                return Err(wrong_types(name, &args));
            }
            Ok(built(name, args, of(TypeKind::BigInt)))
        }
        "TIMESTAMPDIFF" => timestamp_diff_call(args, nullable),
        "DATE_FORMAT" => {
            arity(name, &args, 2, 2)?;
            let value = matches!(kind(0), TypeKind::Timestamp(_) | TypeKind::TimestampLtz(_))
                || text_or_null(&kind(0));
            if !value || !text_or_null(&kind(1)) {
                return Err(wrong_types(name, &args));
            }
            let mut args = strings_of_null(args)?;
            args[1] = coerce(args[1].clone(), &string)?;
            Ok(built(name, args, DataType::string()))
        }
        "TO_DATE" | "TO_TIMESTAMP" => {
            arity(name, &args, 1, 2)?;
            let result = if name == "TO_DATE" { TypeKind::Date } else { TypeKind::Timestamp(3) };
            Ok(built(name, texts(name, args)?, result.into()))
        }
        "CONVERT_TZ" => {
            arity(name, &args, 3, 3)?;
            Ok(built(name, texts(name, args)?, DataType::string()))
        }
        "UNIX_TIMESTAMP" => {
            arity(name, &args, 0, 2)?;
            Ok(built(name, texts(name, args)?, of(TypeKind::BigInt)))
        }
        "FROM_UNIXTIME" => {
            arity(name, &args, 1, 2)?;
            if !(is_integer(&kind(0)) || kind(0) == TypeKind::Null) || !text_or_null(&kind(1)) {
                return Err(wrong_types(name, &args));
            }
            let mut args = args;
            args[0] = coerce(args[0].clone(), &TypeKind::BigInt)?;
            if let Some(format) = args.get(1).cloned() {
                args[1] = coerce(format, &string)?;
            }
            Ok(built(name, args, DataType::string()))
        }
        "TO_TIMESTAMP_LTZ" => {
            arity(name, &args, 1, 3)?;
            if text_or_null(&kind(0)) && kind(0) != TypeKind::Null {
                return Ok(built(name, texts(name, args)?, TypeKind::TimestampLtz(3).into()));
            }
            let number = is_numeric(&kind(0)) || kind(0) == TypeKind::Null;
            let digits = args.len() == 1 || is_integer(&kind(1)) || kind(1) == TypeKind::Null;
            if !number || !digits || args.len() == 3 {
                return Err(wrong_types(name, &args));
            }
            let mut args = args.into_iter();
            let value = coerce(args.next().expect("counted"), &TypeKind::BigInt)?;
            let digits = coerce(args.next().unwrap_or_else(|| literal_int(3)), &TypeKind::Int)?;
            let precision = match super::math::literal_digits(&digits) {
                Some(p) if !(0..=9).contains(&p) => return Err(wrong_types(name, &[value, digits])),
                Some(p) => p.max(3) as u8,
                None => 3,
            };
            Ok(built(name, vec![value, digits], TypeKind::TimestampLtz(precision).into()))
        }
        _ => Err(wrong_types(name, &args)),
    }
}

fn strings_of_null(args: Vec<ScalarExpr>) -> Result<Vec<ScalarExpr>, FunctionError> {
    let string = TypeKind::Varchar(MAX_LENGTH);
    let one = |a: ScalarExpr| if a.data_type().kind == TypeKind::Null { coerce(a, &string) } else { Ok(a) };
    args.into_iter().map(one).collect()
}

fn texts(name: &str, args: Vec<ScalarExpr>) -> Result<Vec<ScalarExpr>, FunctionError> {
    if !args.iter().all(|a| is_string(&a.data_type().kind) || a.data_type().kind == TypeKind::Null) {
        return Err(wrong_types(name, &args));
    }
    strings_of_null(args)
}

/// `YEAR(x)` is `EXTRACT(YEAR FROM x)`.
pub(crate) fn field(name: &str, field: &str, args: Vec<ScalarExpr>) -> Result<ScalarExpr, FunctionError> {
    arity(name, &args, 1, 1)?;
    let mut args = args;
    args.insert(0, literal_string(field));
    infer("EXTRACT", args)
}

/// `CEIL(x TO unit)` and `FLOOR(x TO unit)`.
pub(crate) fn floor_call(name: &'static str, args: Vec<ScalarExpr>) -> Result<ScalarExpr, FunctionError> {
    arity(name, &args, 2, 2)?;
    let unit = unit_of(&args[1]).as_deref().and_then(Field::of);
    if !unit.is_some_and(Field::is_of_floor) || !is_moment(&args[0].data_type().kind) {
        return Err(wrong_types(name, &args));
    }
    let data_type = args[0].data_type().clone();
    Ok(built(name, args, data_type))
}

/// `TIMESTAMPADD(unit, n, x)` is `x + n * INTERVAL '1' unit`.
pub(crate) fn timestamp_add(args: Vec<ScalarExpr>) -> Result<ScalarExpr, FunctionError> {
    let name = "TIMESTAMPADD";
    arity(name, &args, 3, 3)?;
    let interval = match unit_of(&args[0]).as_deref() {
        Some("YEAR") => literal_interval_year_month(12),
        Some("QUARTER") => literal_interval_year_month(3),
        Some("MONTH") => literal_interval_year_month(1),
        Some(unit) => match Field::of(unit).and_then(Field::unit_ms) {
            Some(ms) => literal_interval_day_time(ms),
            None => return Err(wrong_types(name, &args)),
        },
        None => return Err(wrong_types(name, &args)),
    };
    let [_, count, value]: [ScalarExpr; 3] = args.try_into().expect("counted");
    let short = matches!(unit_ms_of(&interval), Some(ms) if ms < DAY_MS);
    let value = if short && value.data_type().kind == TypeKind::Date {
        cast(value, TypeKind::Timestamp(6).into(), false)?
    } else {
        value
    };
    call("+", vec![value, call("*", vec![interval, count])?])
}

fn unit_ms_of(interval: &ScalarExpr) -> Option<i64> {
    match interval {
        ScalarExpr::Literal { value, .. } => value.as_primitive_opt::<Int64Type>().map(|v| v.value(0)),
        _ => None,
    }
}

fn timestamp_diff_call(args: Vec<ScalarExpr>, nullable: bool) -> Result<ScalarExpr, FunctionError> {
    let name = "TIMESTAMPDIFF";
    arity(name, &args, 3, 3)?;
    let known = unit_of(&args[0]).as_deref().and_then(Field::of).is_some_and(Field::is_of_difference);
    let of = |test: fn(&TypeKind) -> bool| {
        args[1..].iter().map(|a| &a.data_type().kind).all(|k| test(k) || *k == TypeKind::Null)
    };
    // An instant has a difference to an instant only, and so has a time of day.
    let same = of(|k| matches!(k, TypeKind::Time(_)))
        || of(|k| matches!(k, TypeKind::TimestampLtz(_)))
        || of(|k| matches!(k, TypeKind::Date | TypeKind::Timestamp(_)));
    if !known || !same {
        return Err(wrong_types(name, &args));
    }
    let one = |a: ScalarExpr| match a.data_type().kind {
        TypeKind::Null => coerce(a, &TypeKind::Timestamp(3)),
        _ => Ok(a),
    };
    let coerced = args.into_iter().map(one).collect::<Result<_, _>>()?;
    Ok(built("TIMESTAMPDIFF", coerced, DataType { kind: TypeKind::Int, nullable }))
}

/// A part of a date or time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Millennium,
    Century,
    Decade,
    Year,
    IsoYear,
    Quarter,
    Month,
    Week,
    Day,
    DayOfWeek,
    IsoDayOfWeek,
    DayOfYear,
    Hour,
    Minute,
    Second,
    Millisecond,
    Microsecond,
    Nanosecond,
    Epoch,
}

impl Field {
    fn of(unit: &str) -> Option<Self> {
        Some(match unit {
            "MILLENNIUM" => Self::Millennium,
            "CENTURY" => Self::Century,
            "DECADE" => Self::Decade,
            "YEAR" => Self::Year,
            "ISOYEAR" => Self::IsoYear,
            "QUARTER" => Self::Quarter,
            "MONTH" => Self::Month,
            "WEEK" => Self::Week,
            "DAY" => Self::Day,
            "DOW" | "DAYOFWEEK" => Self::DayOfWeek,
            "ISODOW" => Self::IsoDayOfWeek,
            "DOY" | "DAYOFYEAR" => Self::DayOfYear,
            "HOUR" => Self::Hour,
            "MINUTE" => Self::Minute,
            "SECOND" => Self::Second,
            "MILLISECOND" => Self::Millisecond,
            "MICROSECOND" => Self::Microsecond,
            "NANOSECOND" => Self::Nanosecond,
            "EPOCH" => Self::Epoch,
            _ => return None,
        })
    }

    /// Milliseconds of a unit that has a fixed length.
    fn unit_ms(self) -> Option<i64> {
        Some(match self {
            Self::Week => 7 * DAY_MS,
            Self::Day => DAY_MS,
            Self::Hour => 3_600_000,
            Self::Minute => 60_000,
            Self::Second => 1000,
            Self::Millisecond => 1,
            _ => return None,
        })
    }

    fn is_of_floor(self) -> bool {
        self.unit_ms().is_some() || self.is_of_calendar()
    }

    fn is_of_calendar(self) -> bool {
        matches!(
            self,
            Self::Millennium | Self::Century | Self::Decade | Self::Year | Self::Quarter | Self::Month
        )
    }

    fn is_of_difference(self) -> bool {
        matches!(self, Self::Year | Self::Quarter | Self::Month)
            || self.unit_ms().is_some_and(|ms| ms >= 1000)
    }

    fn is_of_interval(self) -> bool {
        matches!(self, Self::Year | Self::Quarter | Self::Month)
            || self.unit_ms().is_some_and(|ms| ms != 7 * DAY_MS)
    }

    /// Of local milliseconds. Before 1970 Flink rounds up to the next day, and the clock's fields are negative.
    fn get(self, ms: i64) -> i64 {
        let days = ms / DAY_MS;
        let year = || civil(days).0;
        let of_day = ms % DAY_MS;
        let iso_day = || (days + 3).rem_euclid(7) + 1;
        let iso_year = || civil(days - iso_day() + 4).0;
        match self {
            Self::Millennium => (year() + 999).div_euclid(1000),
            Self::Century => (year() + 99).div_euclid(100),
            Self::Decade => year().div_euclid(10),
            Self::Year => year(),
            Self::IsoYear => iso_year(),
            Self::Quarter => (i64::from(civil(days).1) + 2) / 3,
            Self::Month => i64::from(civil(days).1),
            Self::Week => (days - iso_day() + 4 - days_of(iso_year(), 1, 1)) / 7 + 1,
            Self::Day => i64::from(civil(days).2),
            Self::DayOfWeek => (days + 4).rem_euclid(7) + 1,
            Self::IsoDayOfWeek => iso_day(),
            Self::DayOfYear => days - days_of(year(), 1, 1) + 1,
            Self::Hour => of_day / 3_600_000,
            Self::Minute => of_day % 3_600_000 / 60_000,
            Self::Second => of_day % 60_000 / 1000,
            Self::Millisecond => of_day % 1000,
            Self::Microsecond => of_day % 1000 * 1000,
            Self::Nanosecond => of_day % 1000 * 1_000_000,
            Self::Epoch => ms / 1000,
        }
    }

    /// The start of the unit that a day is in, or, for CEIL, of the next one when the day is not a start.
    fn calendar_floor(self, days: i64, ceil: bool) -> i64 {
        let (year, month, _) = civil(days);
        let years = |length: i64, first: i64| (year - first).div_euclid(length) * length + first;
        let (start, months) = match self {
            Self::Millennium => (days_of(years(1000, 1), 1, 1), 12_000),
            Self::Century => (days_of(years(100, 1), 1, 1), 1200),
            Self::Decade => (days_of(years(10, 0), 1, 1), 120),
            Self::Year => (days_of(year, 1, 1), 12),
            Self::Quarter => (days_of(year, (month - 1) / 3 * 3 + 1, 1), 3),
            Self::Week => (days - (days + 4).rem_euclid(7), 0),
            _ => (days_of(year, month, 1), 1),
        };
        match self {
            _ if !ceil => start,
            // To Flink's CEIL only the year's first quarter has a start.
            Self::Quarter if month > 3 => add_months(start, months),
            _ if start == days => start,
            Self::Week => start + 7,
            _ => add_months(start, months),
        }
    }
}

/// The unit that a call has as a literal argument.
fn field_at(a: &Args<'_>, at: usize) -> Result<Field, EvalError> {
    let unit = a.str(at).get(0).unwrap_or_default().to_ascii_uppercase();
    let unit = unit.strip_prefix("SQL_TSI_").unwrap_or(&unit);
    Field::of(unit).ok_or_else(|| EvalError(format!("{unit} is no unit of time")))
}

/// An argument in local milliseconds, and the nanoseconds below them.
fn local(a: &Args<'_>, at: usize) -> Result<(Int64Array, Option<Int64Array>), EvalError> {
    let (ms, below) = millis(a.values[at].array())?;
    if matches!(a.types[at].kind, TypeKind::TimestampLtz(_)) {
        let zone = a.ctx.time_zone;
        return Ok((ms.unary(|v| v.wrapping_add(offset_ms(v, zone))), below));
    }
    Ok((ms, below))
}

fn extract(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let field = field_at(a, 0)?;
    let input = a.values[1].array();
    if a.types[1].kind == TypeKind::IntervalYearMonth {
        let months = arrow_cast(input, &ArrowType::Int64)?;
        let months = months.as_primitive::<Int64Type>();
        return Ok(Arc::new(months.unary::<_, Int64Type>(|m| match field {
            Field::Year => m / 12,
            Field::Quarter => m % 12 / 3 + 1,
            _ => m % 12,
        })));
    }
    let (ms, below) = local(a, 1)?;
    if a.types[1].kind == TypeKind::IntervalDayTime && field == Field::Day {
        return Ok(Arc::new(ms.unary::<_, Int64Type>(|v| v / DAY_MS)));
    }
    Ok(match (field, below) {
        (Field::Microsecond, Some(below)) => {
            Arc::new(binary::<_, _, _, Int64Type>(&ms, &below, |v, n| field.get(v) + n / 1000)?)
        }
        (Field::Nanosecond, Some(below)) => {
            Arc::new(binary::<_, _, _, Int64Type>(&ms, &below, |v, n| field.get(v) + n)?)
        }
        _ => Arc::new(ms.unary::<_, Int64Type>(|v| field.get(v))),
    })
}

/// `FLOOR(x TO unit)`, `CEIL(x TO unit)`.
pub(crate) fn floor(a: &Args<'_>, ceil: bool) -> Result<ArrayRef, EvalError> {
    let field = field_at(a, 1)?;
    let kind = &a.types[0].kind;
    let (ms, _) = millis(a.values[0].array())?;
    let zone = matches!(kind, TypeKind::TimestampLtz(_)).then_some(a.ctx.time_zone);
    let date = *kind == TypeKind::Date;
    let one = |local: i64| match field.unit_ms() {
        Some(unit) if unit <= DAY_MS => {
            // A whole DATE is not the start of its day to Flink's CEIL.
            let up = match (ceil, date) {
                (false, _) => 0,
                (true, true) if unit == DAY_MS => unit,
                (true, _) => unit - 1,
            };
            local.wrapping_add(up).div_euclid(unit).wrapping_mul(unit)
        }
        _ => field.calendar_floor(local.div_euclid(DAY_MS), ceil).wrapping_mul(DAY_MS),
    };
    let floored = match zone {
        None => ms.unary::<_, Int64Type>(one),
        Some(zone) => ms.unary(|v| {
            let offset = offset_ms(v, zone);
            one(v.wrapping_add(offset)).wrapping_sub(offset)
        }),
    };
    from_millis(&floored, a.values[0].array().data_type())
}

/// Whole months from `b` to `a`.
fn months_between(a: i64, b: i64) -> i64 {
    fn of_days(a: i64, b: i64) -> i64 {
        if a < b {
            return -of_days(b, a);
        }
        let ((y1, m1, _), (y2, m2, _)) = (civil(a), civil(b));
        let months = (y1 - y2) * 12 + i64::from(m1) - i64::from(m2);
        if add_months(b, months) > a { months - 1 } else { months }
    }
    let (day_a, day_b) = (a.div_euclid(DAY_MS), b.div_euclid(DAY_MS));
    let months = of_days(day_a, day_b);
    let late = a.rem_euclid(DAY_MS) < b.rem_euclid(DAY_MS);
    if late && add_months(day_b, months) == day_a { months - 1 } else { months }
}

fn timestamp_diff(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let field = field_at(a, 0)?;
    let (from, to) = (millis(a.values[1].array())?.0, millis(a.values[2].array())?.0);
    let (from, to) = (a.col(1, &from), a.col(2, &to));
    let unit = field.unit_ms();
    let per = match field {
        Field::Year => 12,
        Field::Quarter => 3,
        _ => 1,
    };
    let one = |i| {
        let (from, to) = (from.get(i)?, to.get(i)?);
        Some(match unit {
            Some(unit) => to.wrapping_sub(from) / unit,
            None => months_between(to, from) / per,
        } as i32)
    };
    Ok(Arc::new((0..a.rows).map(one).collect::<Int32Array>()))
}

/// The current instant, or, `local`, what the clocks of the session's zone show; once per batch.
fn now(a: &Args<'_>, local: bool) -> Result<ArrayRef, EvalError> {
    let instant = a.ctx.now_ms();
    let value = if local { instant + offset_ms(instant, a.ctx.time_zone) } else { instant };
    let value = match a.data_type.kind {
        TypeKind::Time(_) => value.rem_euclid(DAY_MS) / 1000 * 1000,
        _ => value,
    };
    from_millis(&Int64Array::from(vec![value; a.rows]), &a.data_type.to_arrow())
}

/// The patterns of a column, compiled once while they stay the same.
struct Patterns<'a> {
    texts: Option<Col<'a, StringArray>>,
    style: Style,
    known: Option<(&'a str, Option<Pattern>)>,
}

impl<'a> Patterns<'a> {
    fn new(a: &Args<'a>, at: usize, style: Style, default: &'a str) -> Result<Self, EvalError> {
        let texts = (at < a.len()).then(|| a.str(at));
        let mut patterns = Self { texts, style, known: None };
        if patterns.texts.is_none() {
            patterns.compile(default)?;
        }
        Ok(patterns)
    }

    fn compile(&mut self, text: &'a str) -> Result<&Pattern, EvalError> {
        if self.known.as_ref().is_none_or(|(known, _)| *known != text) {
            let pattern = Pattern::new(text, self.style).map_err(EvalError)?;
            if let Some(letter) = pattern.needs_zone() {
                return Err(EvalError(format!(
                    "the pattern letter {letter} needs a time zone, which the value does not have"
                )));
            }
            self.known = Some((text, Some(pattern)));
        }
        match &self.known {
            Some((_, Some(pattern))) => Ok(pattern),
            _ => Err(EvalError(format!("'{text}' is no pattern"))),
        }
    }

    /// `None` of NULL.
    fn get(&mut self, row: usize) -> Result<Option<&Pattern>, EvalError> {
        match &self.texts {
            None => Ok(self.known.as_ref().and_then(|(_, pattern)| pattern.as_ref())),
            Some(texts) => match texts.get(row) {
                None => Ok(None),
                Some(text) => self.compile(text).map(Some),
            },
        }
    }
}

const SECONDS: &str = "yyyy-MM-dd HH:mm:ss";

fn collect_strings(
    rows: usize,
    mut one: impl FnMut(usize, &mut String) -> Result<Option<()>, EvalError>,
) -> Result<ArrayRef, EvalError> {
    let mut out = arrow::array::StringBuilder::with_capacity(rows, rows * 16);
    let mut text = String::new();
    for row in 0..rows {
        text.clear();
        match one(row, &mut text)? {
            Some(()) => out.append_value(&text),
            None => out.append_null(),
        }
    }
    Ok(Arc::new(out.finish()))
}

fn moment_of_instant(ms: i64, zone: Tz) -> Moment {
    let offset = offset_ms(ms, zone);
    Moment { offset_seconds: offset / 1000, ..Moment::of_millis(ms.saturating_add(offset)) }
}

fn date_format(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    if is_string(&a.types[0].kind) {
        let input = Pattern::new(SECONDS, Style::Simple).map_err(EvalError)?;
        let mut patterns = Patterns::new(a, 1, Style::Simple, SECONDS)?;
        let values = a.str(0);
        return collect_strings(a.rows, |row, out| {
            let Some(ms) = values.get(row).and_then(|text| input.read_instant(text, chrono_tz::UTC)) else {
                return Ok(None);
            };
            Ok(patterns.get(row)?.map(|pattern| pattern.write(Moment::of_millis(ms), out)))
        });
    }
    let (ms, below) = local(a, 0)?;
    let (ms, below) = (a.col(0, &ms), below.as_ref().map(|b| a.col(0, b)));
    let mut patterns = Patterns::new(a, 1, Style::Formatter, SECONDS)?;
    collect_strings(a.rows, |row, out| {
        let Some(value) = ms.get(row) else { return Ok(None) };
        let mut moment = Moment::of_millis(value);
        moment.nanos += below.as_ref().and_then(|b| b.get(row)).unwrap_or(0);
        Ok(patterns.get(row)?.map(|pattern| pattern.write(moment, out)))
    })
}

fn from_unixtime(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let seconds = a.prim::<Int64Type>(0);
    let mut patterns = Patterns::new(a, 1, Style::Simple, SECONDS)?;
    collect_strings(a.rows, |row, out| {
        let Some(value) = seconds.get(row) else { return Ok(None) };
        let moment = moment_of_instant(value.saturating_mul(1000), a.ctx.time_zone);
        Ok(patterns.get(row)?.map(|pattern| pattern.write(moment, out)))
    })
}

/// What Flink answers for a text that it cannot read.
const UNREADABLE: i64 = i64::MIN;

fn unix_timestamp(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    if a.len() == 0 {
        return Ok(Arc::new(Int64Array::from(vec![a.ctx.now_ms().div_euclid(1000); a.rows])));
    }
    let texts = a.str(0);
    let mut patterns = Patterns::new(a, 1, Style::Simple, SECONDS)?;
    let one = |row| {
        let Some(text) = texts.get(row) else { return Ok(None) };
        let Some(pattern) = patterns.get(row)? else { return Ok(None) };
        Ok(Some(pattern.read_instant(text, a.ctx.time_zone).map_or(UNREADABLE, |ms| ms / 1000)))
    };
    Ok(Arc::new((0..a.rows).map(one).collect::<Result<Int64Array, EvalError>>()?))
}

fn to_date(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let texts = a.str(0);
    if a.len() == 1 {
        let one = |row| {
            let date = parse_date(texts.get(row)?)?;
            Some((date - chrono::NaiveDate::default()).num_days() as i32)
        };
        return Ok(Arc::new((0..a.rows).map(one).collect::<Date32Array>()));
    }
    let mut patterns = Patterns::new(a, 1, Style::Simple, SECONDS)?;
    let one = |row| {
        let Some(text) = texts.get(row) else { return Ok(None) };
        let Some(pattern) = patterns.get(row)? else { return Ok(None) };
        let ms = pattern.read_instant(text, chrono_tz::UTC).unwrap_or(UNREADABLE);
        Ok(Some((ms / DAY_MS) as i32))
    };
    Ok(Arc::new((0..a.rows).map(one).collect::<Result<Date32Array, EvalError>>()?))
}

/// Milliseconds of `yyyy-MM-dd[ HH:mm:ss[.fraction]]`, whose day may be up to the 31st in every month.
fn read_timestamp(text: &str) -> Option<i64> {
    fn number<'t>(text: &'t str, end: &str) -> Option<(i64, &'t str)> {
        let (digits, rest) = if end.is_empty() {
            let run = text.bytes().take_while(u8::is_ascii_digit).count();
            text.split_at(run)
        } else {
            text.split_once(end)?
        };
        let plain = !digits.is_empty() && digits.len() <= 9 && digits.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| digits.parse().ok()).flatten().map(|value| (value, rest))
    }
    let (year, after) = number(text, "-")?;
    let (month, rest) = number(after, "-")?;
    let (day, rest) = number(rest, "")?;
    let four_digits = text.len() - after.len() == 5;
    if !four_digits || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let day = (day as u32).min(days_in_month(year, month as u32));
    let days = days_of(year, month as u32, day);
    if rest.is_empty() {
        return Some(days * DAY_MS);
    }
    let (hour, rest) = number(rest.strip_prefix(' ')?, ":")?;
    let (minute, rest) = number(rest, ":")?;
    let (second, rest) = number(rest, "")?;
    let ms = match rest.strip_prefix('.') {
        Some(digits) if digits.len() <= 9 && digits.bytes().all(|b| b.is_ascii_digit()) => {
            format!("{digits:0<3}")[..3].parse().ok()?
        }
        None if rest.is_empty() => 0,
        _ => return None,
    };
    let midnight = hour == 24 && minute == 0 && second == 0 && ms == 0;
    if !midnight && (hour > 23 || minute > 59 || second > 59) {
        return None;
    }
    Some(days * DAY_MS + ((hour * 60 + minute) * 60 + second) * 1000 + ms)
}

/// Reads the texts of argument 0 by the patterns of argument 1.
fn read_texts(a: &Args<'_>) -> impl FnMut(usize) -> Result<Option<Option<i64>>, EvalError> {
    let texts = a.str(0);
    let formats = (a.len() > 1).then(|| a.str(1));
    let mut known: Option<(String, Option<Pattern>)> = None;
    move |row| {
        let Some(text) = texts.get(row) else { return Ok(None) };
        let Some(formats) = &formats else { return Ok(Some(read_timestamp(text))) };
        let Some(format) = formats.get(row) else { return Ok(None) };
        if format == SECONDS {
            return Ok(Some(read_timestamp(text)));
        }
        if known.as_ref().is_none_or(|(text, _)| text != format) {
            known = Some((format.to_owned(), Pattern::new(format, Style::Formatter).ok()));
        }
        let pattern = known.as_ref().and_then(|(_, pattern)| pattern.as_ref());
        Ok(Some(pattern.and_then(|pattern| pattern.read(text))))
    }
}

fn to_timestamp(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let mut read = read_texts(a);
    let values =
        (0..a.rows).map(|row| Ok(read(row)?.flatten())).collect::<Result<Int64Array, EvalError>>()?;
    from_millis(&values, &a.data_type.to_arrow())
}

/// The first and last millisecond of the years 0 to 9999.
const YEARS: std::ops::RangeInclusive<i64> = -62_167_219_200_000..=253_402_300_799_999;

fn to_timestamp_ltz(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    if is_string(&a.types[0].kind) {
        let mut read = read_texts(a);
        let zones = (a.len() > 2).then(|| a.str(2));
        let one = |row| {
            let Some(local) = read(row)? else { return Ok(None) };
            let Some(local) = local else {
                if a.len() > 1 {
                    return Ok(None);
                }
                let text = a.str(0).get(row).unwrap_or_default();
                return Err(EvalError(format!("'{text}' is not a timestamp of the expected format")));
            };
            let zone = match &zones {
                None => chrono_tz::UTC,
                Some(zones) => match zones.get(row) {
                    None => return Ok(None),
                    Some(name) => name.parse().map_err(|_| {
                        EvalError(format!("'{name}' is no time zone; use a name such as Europe/Berlin"))
                    })?,
                },
            };
            Ok(Some(instant_ms(local, zone)))
        };
        let values = (0..a.rows).map(one).collect::<Result<Int64Array, EvalError>>()?;
        return from_millis(&values, &a.data_type.to_arrow());
    }
    let TypeKind::TimestampLtz(precision) = a.data_type.kind else {
        return Err(EvalError("the result is a TIMESTAMP_LTZ".into()));
    };
    let stored: u32 = match time_unit(precision) {
        arrow::datatypes::TimeUnit::Microsecond => 6,
        arrow::datatypes::TimeUnit::Nanosecond => 9,
        _ => 3,
    };
    let (values, digits) = (a.prim::<Int64Type>(0), a.prim::<arrow::datatypes::Int32Type>(1));
    let one = |row| {
        let (value, digits) = (values.get(row)?, u32::try_from(digits.get(row)?).ok().filter(|d| *d <= 9)?);
        let ms = i128::from(value) * 1000 / 10i128.pow(digits);
        let in_years = i64::try_from(ms).is_ok_and(|ms| YEARS.contains(&ms));
        let scaled = i128::from(value) * 10i128.pow(stored) / 10i128.pow(digits);
        in_years.then(|| i64::try_from(scaled).ok()).flatten()
    };
    Ok(arrow_cast(&(0..a.rows).map(one).collect::<Int64Array>(), &a.data_type.to_arrow())?)
}

/// A zone by name or offset (`GMT+02:00`); of an unknown name UTC, as `java.util.TimeZone`.
fn offset_or_zone(name: &str) -> Result<i64, Tz> {
    if let Ok(zone) = name.parse::<Tz>() {
        return Err(zone);
    }
    let offset = name.strip_prefix("GMT").or_else(|| name.strip_prefix("UTC")).and_then(|text| {
        let sign = match text.chars().next()? {
            '+' => 1,
            '-' => -1,
            _ => return None,
        };
        let (hours, minutes) = text[1..].split_once(':').unwrap_or((&text[1..], "0"));
        let (hours, minutes) = (hours.parse::<i64>().ok()?, minutes.parse::<i64>().ok()?);
        ((0..24).contains(&hours) && (0..60).contains(&minutes))
            .then(|| sign * (hours * 60 + minutes) * 60_000)
    });
    Ok(offset.unwrap_or(0))
}

fn convert_tz(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let pattern = Pattern::new(SECONDS, Style::Simple).map_err(EvalError)?;
    let (texts, from, to) = (a.str(0), a.str(1), a.str(2));
    collect_strings(a.rows, |row, out| {
        let (Some(text), Some(from), Some(to)) = (texts.get(row), from.get(row), to.get(row)) else {
            return Ok(None);
        };
        let Some(local) = pattern.read_instant(text, chrono_tz::UTC) else { return Ok(None) };
        let instant = match offset_or_zone(from) {
            Ok(offset) => local - offset,
            Err(zone) => instant_ms(local, zone),
        };
        let shown = match offset_or_zone(to) {
            Ok(offset) => instant + offset,
            Err(zone) => instant + offset_ms(instant, zone),
        };
        pattern.write(Moment::of_millis(shown), out);
        Ok(Some(()))
    })
}

#[cfg(test)]
mod tests {
    use arrow::array::{RecordBatch, TimestampMillisecondArray};
    use arrow::datatypes::Schema;

    use super::*;
    use crate::expr::{EvalContext, ExprRef, compile};

    fn column(index: usize, kind: TypeKind) -> ScalarExpr {
        ScalarExpr::Column { index, name: format!("c{index}"), data_type: kind.into() }
    }

    fn on(expr: &ExprRef, columns: Vec<ArrayRef>) -> ArrayRef {
        let fields: Vec<_> =
            columns.iter().map(|c| arrow::datatypes::Field::new("c", c.data_type().clone(), true)).collect();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
        expr.eval(&batch).unwrap().into_array(batch.num_rows()).unwrap()
    }

    fn berlin(expr: &ScalarExpr) -> ExprRef {
        compile(expr, &EvalContext::new(chrono_tz::Europe::Berlin)).unwrap()
    }

    #[test]
    fn columns_with_nulls_and_patterns_per_row() {
        let format =
            call("DATE_FORMAT", vec![column(0, TypeKind::TimestampLtz(3)), column(1, TypeKind::Varchar(20))]);
        let stamps = TimestampMillisecondArray::from(vec![Some(0), None, Some(1_720_000_000_000), Some(0)]);
        let patterns = StringArray::from(vec![Some("yyyy-MM-dd HH:mm"), Some("HH"), Some("HH:mm"), None]);
        let texts =
            on(&berlin(&format.unwrap()), vec![Arc::new(stamps.with_timezone("UTC")), Arc::new(patterns)]);
        let expected = StringArray::from(vec![Some("1970-01-01 01:00"), None, Some("11:46"), None]);
        assert_eq!(*texts.as_string::<i32>(), expected);
    }

    #[test]
    fn extract_of_a_date_column() {
        let week = call("WEEK", vec![column(0, TypeKind::Date)]).unwrap();
        let dates = Date32Array::from(vec![Some(0), None, Some(20_087)]);
        let weeks = on(&berlin(&week), vec![Arc::new(dates)]);
        assert_eq!(*weeks.as_primitive::<Int64Type>(), Int64Array::from(vec![Some(1), None, Some(1)]));
    }

    #[test]
    fn a_seeded_sequence_goes_on_in_the_next_batch() {
        let rand = berlin(&call("RAND_INTEGER", vec![literal_int(7), literal_int(1000)]).unwrap());
        let rows = |n| Arc::new(Int32Array::from(vec![0; n])) as ArrayRef;
        let (first, second) = (on(&rand, vec![rows(2)]), on(&rand, vec![rows(1)]));
        let again = berlin(&call("RAND_INTEGER", vec![literal_int(7), literal_int(1000)]).unwrap());
        let all = on(&again, vec![rows(3)]);
        assert_eq!(arrow::compute::concat(&[&first, &second]).unwrap().as_ref(), all.as_ref());
        assert_eq!(all.as_primitive::<arrow::datatypes::Int32Type>().value(0), 236);
    }

    #[test]
    fn the_time_now_is_no_constant() {
        let now = call("UNIX_TIMESTAMP", vec![]).unwrap();
        assert!(!now.is_constant());
        let then = call("UNIX_TIMESTAMP", vec![literal_string("2024-01-01 00:00:00")]).unwrap();
        assert!(then.is_constant());
        for name in ["NOW", "CURRENT_DATE", "CURRENT_TIME", "LOCALTIME", "LOCALTIMESTAMP", "PROCTIME"] {
            assert!(!call(name, vec![]).unwrap().is_constant(), "{name}");
        }
    }

    #[test]
    fn no_text_can_make_a_pattern_panic() {
        for pattern in ["", "'", "[", "]", "yyyyMMdd", "MMM", "EEEE", "a", "SSS", "yyyy[-MM]", "é"] {
            for style in [Style::Formatter, Style::Simple] {
                let Ok(pattern) = Pattern::new(pattern, style) else { continue };
                for text in
                    ["", "é", "Jé", "20é", "99999999999999999999", "999999999", "-", "A", "Jan", "2024-"]
                {
                    let _ = pattern.read(text);
                    let _ = pattern.read_instant(text, chrono_tz::UTC);
                }
                pattern.write(Moment::of_millis(-1), &mut String::new());
            }
        }
    }
}
