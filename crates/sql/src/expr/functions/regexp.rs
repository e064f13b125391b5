//! Functions on regular expressions, and LIKE and SIMILAR TO.
//!
//! Invariant: a malformed pattern matches nothing and extracts NULL; it never fails a job.

use std::sync::Arc;

use arrow::array::MapFieldNames;
use arrow::array::{ArrayRef, AsArray, BooleanArray, Int32Array, ListBuilder, MapBuilder, StringBuilder};
use arrow::datatypes::Int32Type;
use regex::Regex;
use streamkeeper_connectors::schema::{DataType, MAX_LENGTH, TypeKind};

use super::pattern::{Patterns, similar};
use super::signature::Nulls::{Always, OfArguments};
use super::signature::{Function, boolean, function, int, string, strings};
use super::string::texts;
use crate::expr::eval::{Args, Col};
use crate::expr::{ColumnarValue, EvalError, ScalarExpr, operators};

pub(crate) const TABLE: &[Function] = &[
    function("REGEXP", "SS", boolean, OfArguments, |a| {
        booleans(a, |regex, text| {
            regex.is_some_and(|regex| !regex.as_str().is_empty() && regex.is_match(text))
        })
    }),
    function("REGEXP_COUNT", "SS", int, Always, |a| {
        ints(a, |regex, text| regex.find_iter(text).count() as i32)
    }),
    function("REGEXP_EXTRACT", "SS[I", string, Always, extract),
    function("REGEXP_EXTRACT_ALL", "SS[I", strings, Always, extract_all),
    function("REGEXP_INSTR", "SS", int, Always, |a| {
        ints(a, |regex, text| {
            regex.find(text).map_or(0, |found| text[..found.start()].chars().count() as i32 + 1)
        })
    }),
    function("REGEXP_REPLACE", "SSS", string, OfArguments, replace),
    function("REGEXP_SUBSTR", "SS", string, Always, extract),
    function("SIMILAR TO", "SS[S", boolean, OfArguments, similar_to),
    function("STR_TO_MAP", "S[SS", str_to_map_type, Always, str_to_map),
];

fn booleans(a: &Args<'_>, one: impl Fn(Option<&Regex>, &str) -> bool) -> Result<ArrayRef, EvalError> {
    let (text, pattern, mut patterns) = (a.str(0), a.str(1), Patterns::default());
    let rows = (0..a.rows).map(|i| match (text.get(i), pattern.get(i)) {
        (Some(text), Some(pattern)) => Ok(Some(one(patterns.get(pattern)?, text))),
        _ => Ok(None),
    });
    Ok(Arc::new(rows.collect::<Result<BooleanArray, EvalError>>()?))
}

fn ints(a: &Args<'_>, one: impl Fn(&Regex, &str) -> i32) -> Result<ArrayRef, EvalError> {
    let (text, pattern, mut patterns) = (a.str(0), a.str(1), Patterns::default());
    let rows = (0..a.rows).map(|i| match (text.get(i), pattern.get(i)) {
        (Some(text), Some(pattern)) => Ok(patterns.get(pattern)?.map(|regex| one(regex, text))),
        _ => Ok(None),
    });
    Ok(Arc::new(rows.collect::<Result<Int32Array, EvalError>>()?))
}

/// `default` when the argument is left out, `None` for NULL.
fn group(group: &Option<Col<'_, Int32Array>>, row: usize, default: usize) -> Option<usize> {
    match group {
        Some(group) => usize::try_from(group.get(row)?).ok(),
        None => Some(default),
    }
}

fn extract(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let (text, pattern, mut patterns) = (a.str(0), a.str(1), Patterns::default());
    let index = (a.len() > 2).then(|| a.prim::<Int32Type>(2));
    let mut result = StringBuilder::with_capacity(a.rows, a.rows * 8);
    for row in 0..a.rows {
        let (Some(text), Some(pattern), Some(index)) =
            (text.get(row), pattern.get(row), group(&index, row, 0))
        else {
            result.append_null();
            continue;
        };
        let found = match (patterns.get(pattern)?, index) {
            (Some(regex), 0) => regex.find(text),
            (Some(regex), index) => regex.captures(text).and_then(|found| found.get(index)),
            (None, _) => None,
        };
        result.append_option(found.map(|found| found.as_str()));
    }
    Ok(Arc::new(result.finish()))
}

fn extract_all(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let (text, pattern, mut patterns) = (a.str(0), a.str(1), Patterns::default());
    let index = (a.len() > 2).then(|| a.prim::<Int32Type>(2));
    let mut lists = ListBuilder::new(StringBuilder::new());
    for row in 0..a.rows {
        let (Some(text), Some(pattern), Some(index)) =
            (text.get(row), pattern.get(row), group(&index, row, 1))
        else {
            lists.append_null();
            continue;
        };
        let Some(regex) = patterns.get(pattern)?.filter(|regex| index < regex.captures_len()) else {
            lists.append_null();
            continue;
        };
        for found in regex.captures_iter(text) {
            lists.values().append_option(found.get(index).map(|found| found.as_str()));
        }
        lists.append(true);
    }
    Ok(Arc::new(lists.finish()))
}

/// The replacement is taken as it is: `$1` is no group.
fn replace(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let (text, pattern, with, mut patterns) = (a.str(0), a.str(1), a.str(2), Patterns::default());
    let mut failed = None;
    let result = texts(a, |i, out| {
        let (text, with) = (text.get(i)?, with.get(i)?);
        let regex = match patterns.get(pattern.get(i)?) {
            Ok(regex) => regex?,
            Err(error) => {
                failed = Some(error);
                return None;
            }
        };
        out.push_str(&regex.replace_all(text, regex::NoExpand(with)));
        Some(())
    });
    failed.map_or(result, Err)
}

/// The escape character of LIKE and SIMILAR TO.
fn escape(a: &Args<'_>) -> Result<Option<char>, EvalError> {
    if a.len() < 3 {
        return Ok(None);
    }
    let text = a.str(2).get(0).unwrap_or("");
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(c), None) => Ok(Some(c)),
        _ => Err(EvalError(format!("the escape has to be one character, but is '{text}'"))),
    }
}

fn similar_to(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let (text, pattern, mut patterns) = (a.str(0), a.str(1), Patterns::default());
    let escape = escape(a)?;
    let mut last: Option<(&str, String)> = None;
    let mut result = arrow::array::BooleanBuilder::with_capacity(a.rows);
    for row in 0..a.rows {
        let (Some(text), Some(pattern)) = (text.get(row), pattern.get(row)) else {
            result.append_null();
            continue;
        };
        if last.as_ref().is_none_or(|(of, _)| *of != pattern) {
            last = Some((pattern, similar(pattern, escape)?));
        }
        let regex = last.as_ref().map_or("", |(_, regex)| regex);
        let Some(regex) = patterns.get(regex)? else {
            return Err(EvalError(format!("the pattern '{pattern}' is malformed")));
        };
        result.append_value(regex.is_match(text));
    }
    Ok(Arc::new(result.finish()))
}

enum Part {
    One(char),
    AnyOne,
    AnyMany,
}

/// `LIKE`, for which a backslash is a character like any other.
pub(crate) fn like(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let (text, pattern) = (a.str(0), a.str(1));
    let plain = a.len() == 2 && !pattern.array.value_data().contains(&b'\\');
    if plain {
        return operators::like(a);
    }
    let escape = escape(a)?;
    let mut last: Option<(&str, Vec<Part>)> = None;
    let mut result = arrow::array::BooleanBuilder::with_capacity(a.rows);
    let mut chars = Vec::new();
    for row in 0..a.rows {
        let (Some(text), Some(pattern)) = (text.get(row), pattern.get(row)) else {
            result.append_null();
            continue;
        };
        if last.as_ref().is_none_or(|(of, _)| *of != pattern) {
            last = Some((pattern, parts(pattern, escape)?));
        }
        chars.clear();
        chars.extend(text.chars());
        result.append_value(last.as_ref().is_some_and(|(_, parts)| is_like(&chars, parts)));
    }
    Ok(Arc::new(result.finish()))
}

fn parts(pattern: &str, escape: Option<char>) -> Result<Vec<Part>, EvalError> {
    let mut chars = pattern.chars();
    let mut parts = Vec::new();
    while let Some(c) = chars.next() {
        parts.push(match c {
            c if Some(c) == escape => match chars.next() {
                Some(next) if matches!(next, '_' | '%') || Some(next) == escape => Part::One(next),
                _ => {
                    return Err(EvalError(format!(
                        "in the pattern '{pattern}' the escape character has to be followed by %, _ or itself"
                    )));
                }
            },
            '%' => Part::AnyMany,
            '_' => Part::AnyOne,
            c => Part::One(c),
        });
    }
    Ok(parts)
}

fn is_like(text: &[char], parts: &[Part]) -> bool {
    let (mut t, mut p) = (0, 0);
    // Where to go on when the match fails: after the last `%`, one character further.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match parts.get(p) {
            Some(Part::AnyMany) => {
                retry = Some((p + 1, t));
                p += 1;
                continue;
            }
            Some(Part::AnyOne) => (t, p) = (t + 1, p + 1),
            Some(Part::One(c)) if *c == text[t] => (t, p) = (t + 1, p + 1),
            _ => match retry {
                Some((after, from)) => {
                    retry = Some((after, from + 1));
                    (t, p) = (from + 1, after);
                }
                None => return false,
            },
        }
    }
    parts[p..].iter().all(|part| matches!(part, Part::AnyMany))
}

fn str_to_map_type(_: &[ScalarExpr]) -> TypeKind {
    let text = Box::new(DataType::from(TypeKind::Varchar(MAX_LENGTH)));
    TypeKind::Map(text.clone(), text)
}

/// `STR_TO_MAP(text, entry delimiter, key delimiter)`: both are regular expressions; the last of equal keys stays.
fn str_to_map(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let text = a.str(0);
    let (mut entries, mut keys) = (Patterns::default(), Patterns::default());
    let delimiter = |i: usize, row: usize| match &a.values.get(i) {
        Some(ColumnarValue::Array(array)) => Some(array.as_string::<i32>())
            .filter(|s| arrow::array::Array::is_valid(s, row))
            .map(|s| s.value(row)),
        Some(ColumnarValue::Scalar(array)) => {
            Some(array.as_string::<i32>()).filter(|s| arrow::array::Array::is_valid(s, 0)).map(|s| s.value(0))
        }
        None => Some(if i == 1 { "," } else { "=" }),
    };
    let names = MapFieldNames { entry: "entries".into(), key: "key".into(), value: "value".into() };
    let mut maps = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
    for row in 0..a.rows {
        let (Some(text), Some(by), Some(key_by)) = (text.get(row), delimiter(1, row), delimiter(2, row))
        else {
            maps.append(false)?;
            continue;
        };
        let (Some(by), Some(key_by)) = (entries.get(by)?, keys.get(key_by)?) else {
            return Err(EvalError(format!("a delimiter of '{by}' and '{key_by}' is no regular expression")));
        };
        let mut found: Vec<(&str, Option<&str>)> = Vec::new();
        if !text.is_empty() {
            let mut all: Vec<_> = by.split(text).collect();
            while all.last().is_some_and(|part| part.is_empty()) {
                all.pop();
            }
            for part in all {
                let mut sides = key_by.splitn(part, 2);
                let (key, value) = (sides.next().unwrap_or(""), sides.next());
                match found.iter_mut().find(|(known, _)| *known == key) {
                    Some(known) => known.1 = value,
                    None => found.push((key, value)),
                }
            }
        }
        in_hash_order(&mut found);
        for (key, value) in found {
            maps.keys().append_value(key);
            maps.values().append_option(value);
        }
        maps.append(true)?;
    }
    Ok(Arc::new(maps.finish()))
}

/// The order in which a `java.util.HashMap` of these keys is read, which is that of Flink's result.
fn in_hash_order(entries: &mut [(&str, Option<&str>)]) {
    let mut buckets = 16_u32;
    while entries.len() as u64 * 4 > u64::from(buckets) * 3 {
        buckets *= 2;
    }
    entries.sort_by_key(|(key, _)| {
        let hash = key.encode_utf16().fold(0_u32, |h, unit| h.wrapping_mul(31).wrapping_add(u32::from(unit)));
        (hash ^ (hash >> 16)) & (buckets - 1)
    });
}
