//! Dates and times as texts, and as numbers of seconds.
//!
//! Invariant: a pattern is compiled once while it stays the same from row to row.

use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Int64Array, StringArray};
use arrow::compute::cast as arrow_cast;
use arrow::datatypes::Int64Type;
use chrono_tz::Tz;
use streamkeeper_connectors::schema::{TypeKind, time_unit};

use super::fields::local;
use crate::expr::EvalError;
use crate::expr::cast_text::parse_date;
use crate::expr::eval::{Args, Col};
use crate::expr::functions::date_format::{Moment, Pattern, Style};
use crate::expr::temporal::{DAY_MS, days_in_month, days_of, from_millis, instant_ms, offset_ms};
use crate::expr::types::is_string;

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

pub(super) fn date_format(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
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

pub(super) fn from_unixtime(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
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

pub(super) fn unix_timestamp(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
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

pub(super) fn to_date(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
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

pub(super) fn to_timestamp(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let mut read = read_texts(a);
    let values =
        (0..a.rows).map(|row| Ok(read(row)?.flatten())).collect::<Result<Int64Array, EvalError>>()?;
    from_millis(&values, &a.data_type.to_arrow())
}

/// The first and last millisecond of the years 0 to 9999.
const YEARS: std::ops::RangeInclusive<i64> = -62_167_219_200_000..=253_402_300_799_999;

pub(super) fn to_timestamp_ltz(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
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

pub(super) fn convert_tz(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
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
