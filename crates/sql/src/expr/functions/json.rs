//! Functions on JSON texts: paths into them, and values written as JSON.
//!
//! Invariant: a number keeps the digits it was written with.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use streamkeeper_connectors::schema::{DataType, TypeKind};

use super::hash::to_base64;
use super::json_text::{Json, Path, write_text};
use super::signature::Nulls::{Always, Never, OfArguments};
use super::signature::{Function, boolean, function, string};
use super::string::texts;
use crate::expr::EvalError;
use crate::expr::cast_text::value_text;
use crate::expr::eval::Args;

/// The arguments after the text and the path say what happens on EMPTY and on ERROR; see the binder's `json`.
pub(crate) const TABLE: &[Function] = &[
    function("IS JSON", "SS", boolean, Never, is_json),
    function("JSON", "S", string, OfArguments, checked),
    function("JSON_ARRAY", "SS[A*", string, Never, array),
    function("JSON_EXISTS", "SSS", boolean, Always, exists),
    function("JSON_OBJECT", "SS[A*", string, Never, object),
    function("JSON_QUERY", "SSSSS", string, Always, query),
    function("JSON_STRING", "A", string, OfArguments, json_string),
    function("JSON_VALUE", "SSSSSS", string, Always, value),
];

/// `IS JSON`, of a kind: `VALUE`, `SCALAR`, `ARRAY` or `OBJECT`; FALSE of NULL.
fn is_json(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let (text, kind) = (a.str(0), a.str(1));
    let one = |i| {
        let parsed = text.get(i).and_then(Json::parse);
        Some(match (parsed, kind.get(i)) {
            (None, _) => false,
            (Some(Json::Array(_)), kind) => !matches!(kind, Some("SCALAR" | "OBJECT")),
            (Some(Json::Object(_)), kind) => !matches!(kind, Some("SCALAR" | "ARRAY")),
            (Some(_), kind) => !matches!(kind, Some("ARRAY" | "OBJECT")),
        })
    };
    Ok(Arc::new((0..a.rows).map(one).collect::<BooleanArray>()))
}

fn checked(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let (text, mut failed) = (a.str(0), None);
    let result = texts(a, |i, out| {
        let text = text.get(i)?;
        match Json::parse(text) {
            Some(json) => json.write(out),
            None => failed = Some(EvalError(format!("'{text}' is not JSON"))),
        }
        Some(())
    });
    failed.map_or(result, Err)
}

/// What a path leads to in a text.
enum Found {
    /// A value that is not JSON's null.
    Value(Json),
    /// Nothing, or null.
    Empty,
    /// The text is no JSON, or the path, which is strict, leads nowhere.
    Wrong(String),
}

/// The paths of one call on one batch, of which the last is kept parsed.
#[derive(Default)]
struct Paths {
    last: Option<(String, Path)>,
}

impl Paths {
    fn find(&mut self, text: &str, path: &str) -> Result<(Found, bool), EvalError> {
        if self.last.as_ref().is_none_or(|(known, _)| known != path) {
            let parsed = Path::parse(path).ok_or_else(|| {
                EvalError(format!("'{path}' is no JSON path; write one as 'lax $.field[0]' or 'strict $'"))
            })?;
            self.last = Some((path.to_owned(), parsed));
        }
        let (_, path) = self.last.as_ref().expect("it was just set");
        let Some(json) = Json::parse(text) else {
            return Ok((Found::Wrong(format!("'{text}' is not JSON")), path.lax));
        };
        let found = match path.find(&json) {
            Some(Json::Null) => Found::Empty,
            Some(value) => Found::Value(value),
            None if path.lax => Found::Empty,
            None => Found::Wrong(format!("the path leads nowhere in '{text}'")),
        };
        Ok((found, path.lax))
    }
}

/// `JSON_VALUE(text, path, on empty, its default, on error, its default)`.
fn value(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let [text, path, on_empty, empty, on_error, error] = [0, 1, 2, 3, 4, 5].map(|i| a.str(i));
    let (mut paths, mut failed) = (Paths::default(), None);
    let result = texts(a, |i, out| {
        let (found, lax) = match paths.find(text.get(i)?, path.get(i)?) {
            Ok(found) => found,
            Err(error) => {
                failed = Some(error);
                return None;
            }
        };
        let (behaviour, default, why) = match found {
            Found::Value(Json::Array(_) | Json::Object(_)) if lax => {
                (on_empty.get(i), empty.get(i), "no scalar".to_owned())
            }
            Found::Value(Json::Array(_) | Json::Object(_)) => {
                (on_error.get(i), error.get(i), "no scalar".into())
            }
            Found::Value(Json::Text(found)) => {
                out.push_str(&found);
                return Some(());
            }
            Found::Value(scalar) => {
                scalar.write(out);
                return Some(());
            }
            Found::Empty if !lax => return None,
            Found::Empty => (on_empty.get(i), empty.get(i), "an empty result".into()),
            Found::Wrong(why) => (on_error.get(i), error.get(i), why),
        };
        match behaviour {
            Some("DEFAULT") => out.push_str(default?),
            Some("ERROR") => failed = Some(EvalError(why)),
            _ => return None,
        }
        Some(())
    });
    failed.map_or(result, Err)
}

/// `JSON_EXISTS(text, path, on error)`.
fn exists(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let (text, path, on_error, mut paths) = (a.str(0), a.str(1), a.str(2), Paths::default());
    let rows = (0..a.rows).map(|i| {
        let (Some(text), Some(path)) = (text.get(i), path.get(i)) else { return Ok(None) };
        Ok(match (paths.find(text, path)?.0, on_error.get(i)) {
            (Found::Value(_), _) => Some(true),
            (Found::Empty, _) => Some(false),
            (Found::Wrong(why), Some("ERROR")) => return Err(EvalError(why)),
            (Found::Wrong(_), Some("UNKNOWN")) => None,
            (Found::Wrong(_), behaviour) => Some(behaviour == Some("TRUE")),
        })
    });
    Ok(Arc::new(rows.collect::<Result<BooleanArray, EvalError>>()?))
}

/// `JSON_QUERY(text, path, wrapper, on empty, on error)`.
fn query(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let [text, path, wrapper, on_empty, on_error] = [0, 1, 2, 3, 4].map(|i| a.str(i));
    let (mut paths, mut failed) = (Paths::default(), None);
    let result = texts(a, |i, out| {
        let (found, lax) = match paths.find(text.get(i)?, path.get(i)?) {
            Ok(found) => found,
            Err(error) => {
                failed = Some(error);
                return None;
            }
        };
        let (behaviour, why) = match found {
            Found::Value(value) => {
                let nested = matches!(value, Json::Array(_) | Json::Object(_));
                let value = match wrapper.get(i) {
                    Some("UNCONDITIONAL") => Json::Array(vec![value]),
                    Some("CONDITIONAL") if !nested => Json::Array(vec![value]),
                    _ => value,
                };
                if matches!(value, Json::Array(_) | Json::Object(_)) {
                    value.write(out);
                    return Some(());
                }
                (if lax { on_empty.get(i) } else { on_error.get(i) }, "a scalar".to_owned())
            }
            Found::Empty if !lax => return None,
            Found::Empty => (on_empty.get(i), "an empty result".into()),
            Found::Wrong(why) => (on_error.get(i), why),
        };
        match behaviour {
            Some("EMPTY ARRAY") => out.push_str("[]"),
            Some("EMPTY OBJECT") => out.push_str("{}"),
            Some("ERROR") => failed = Some(EvalError(why)),
            _ => return None,
        }
        Some(())
    });
    failed.map_or(result, Err)
}

/// Writes one value as JSON.
fn write(
    a: &Args<'_>,
    array: &ArrayRef,
    data_type: &DataType,
    row: usize,
    out: &mut String,
) -> Result<(), EvalError> {
    if array.is_null(row) {
        out.push_str("null");
        return Ok(());
    }
    let zone = a.ctx.time_zone;
    match &data_type.kind {
        TypeKind::Char(_) | TypeKind::Varchar(_) => write_text(array.as_string::<i32>().value(row), out),
        TypeKind::Boolean => out.push_str(if array.as_boolean().value(row) { "true" } else { "false" }),
        TypeKind::Binary(_) | TypeKind::Varbinary(_) => {
            out.push('"');
            to_base64(array.as_binary::<i32>().value(row), out);
            out.push('"');
        }
        TypeKind::Timestamp(_) | TypeKind::TimestampLtz(_) => {
            let local = matches!(data_type.kind, TypeKind::TimestampLtz(_));
            let text = value_text(array, data_type, row, chrono_tz::UTC).replacen(' ', "T", 1);
            write_text(&format!("{text}{}", if local { "Z" } else { "" }), out);
        }
        TypeKind::Array(item) => {
            let items = array.as_list::<i32>().value(row);
            out.push('[');
            for i in 0..items.len() {
                if i > 0 {
                    out.push(',');
                }
                write(a, &items, item, i, out)?;
            }
            out.push(']');
        }
        TypeKind::Map(key, value) => {
            let entries = array.as_map().value(row);
            out.push('{');
            for i in 0..entries.len() {
                if i > 0 {
                    out.push(',');
                }
                write_text(&value_text(entries.column(0), key, i, zone), out);
                out.push(':');
                write(a, entries.column(1), value, i, out)?;
            }
            out.push('}');
        }
        TypeKind::Row(fields) => {
            out.push('{');
            for (i, field) in fields.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_text(&field.name, out);
                out.push(':');
                write(a, array.as_struct().column(i), &field.data_type, row, out)?;
            }
            out.push('}');
        }
        kind if crate::expr::types::is_numeric(kind) => {
            out.push_str(&value_text(array, data_type, row, zone))
        }
        kind => return Err(EvalError(format!("{kind} cannot be converted into JSON"))),
    }
    Ok(())
}

fn write_argument(a: &Args<'_>, i: usize, row: usize, raw: bool, out: &mut String) -> Result<(), EvalError> {
    match a.any(i).index(row) {
        None => out.push_str("null"),
        Some(at) if raw => out.push_str(a.values[i].array().as_string::<i32>().value(at)),
        Some(at) => write(a, a.values[i].array(), &a.types[i], at, out)?,
    }
    Ok(())
}

fn json_string(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let (argument, mut failed) = (a.any(0), None);
    let result = texts(a, |i, out| {
        argument.index(i)?;
        if let Err(error) = write_argument(a, 0, i, false, out) {
            failed = Some(error);
        }
        Some(())
    });
    failed.map_or(result, Err)
}

/// `(ABSENT or NULL, per value R when it is JSON already, else V, values …)`, of `width` arguments an entry.
fn construct(a: &Args<'_>, brackets: [char; 2], width: usize) -> Result<ArrayRef, EvalError> {
    let (on_null, raw, mut failed) = (a.str(0), a.str(1), None);
    let result = texts(a, |row, out| {
        let (absent, raw) = (on_null.get(row)? == "ABSENT", raw.get(row)?.as_bytes());
        // Of equal keys the last counts, at the place of the first.
        let mut entries: Vec<(&str, usize)> = Vec::new();
        for (n, at) in (2..a.len()).step_by(width).enumerate() {
            let key = if width == 2 { a.str(at).get(row).unwrap_or("") } else { "" };
            match entries.iter_mut().find(|(known, _)| width == 2 && *known == key) {
                Some(known) => known.1 = n,
                None => entries.push((key, n)),
            }
        }
        out.push(brackets[0]);
        let mut first = true;
        for (key, n) in entries {
            let at = 2 + n * width + width - 1;
            if absent && a.any(at).index(row).is_none() {
                continue;
            }
            if !first {
                out.push(',');
            }
            first = false;
            if width == 2 {
                write_text(key, out);
                out.push(':');
            }
            if let Err(error) = write_argument(a, at, row, raw.get(n) == Some(&b'R'), out) {
                failed = Some(error);
            }
        }
        out.push(brackets[1]);
        Some(())
    });
    failed.map_or(result, Err)
}

fn object(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    construct(a, ['{', '}'], 2)
}

fn array(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    construct(a, ['[', ']'], 1)
}
