//! Functions on strings. Invariant: positions and lengths count code points, and the first is 1.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int32Array, ListBuilder, StringBuilder};
use arrow::datatypes::DataType as ArrowType;
use arrow::datatypes::Int32Type;
use streamkeeper_connectors::schema::{MAX_LENGTH, TypeKind};

use super::signature::Nulls::{Always, Never, OfArguments, OfFirst};
use super::signature::{Function, boolean, first, function, int, string, strings, varying};
use crate::expr::eval::Args;
use crate::expr::{EvalError, ScalarExpr};

/// The longest string that REPEAT, LPAD and RPAD make, in bytes.
const LONGEST: usize = 16 << 20;

pub(crate) const TABLE: &[Function] = &[
    function("ASCII", "S", int, OfArguments, |a| {
        let byte = |s: &str| s.as_bytes().first().map_or(0, |b| i32::from(b.cast_signed()));
        Ok(ints(a, |s| byte(s)))
    }),
    function("BTRIM", "S[S", string, OfArguments, |a| trim_with(a, true, true)),
    function("CHR", "L", string, Always, chr),
    function("CONCAT", "S*", string, OfArguments, concat),
    function("CONCAT_WS", "SS*", string, OfArguments, concat_ws),
    function("ENDSWITH", "EE", boolean, OfArguments, |a| affix(a, |s, x| s.ends_with(x))),
    function("INITCAP", "S", first, OfArguments, initcap),
    function("INSTR", "SS[II", int, OfArguments, instr),
    function("IS_ALPHA", "S", boolean, Never, |a| test(a, |s| s.chars().all(char::is_alphabetic))),
    function("IS_DECIMAL", "A", boolean, Never, is_decimal),
    function("IS_DIGIT", "S", boolean, Never, |a| test(a, |s| s.chars().all(char::is_numeric))),
    function("LEFT", "SI", varying, Always, |a| {
        let (text, count) = (a.str(0), a.prim::<Int32Type>(1));
        texts(a, |i, out| {
            out.push_str(prefix(text.get(i)?, count.get(i)?));
            Some(())
        })
    }),
    function("LOCATE", "SS[I", int, OfArguments, locate),
    function("LPAD", "SIS", string, OfArguments, |a| pad(a, true)),
    function("LTRIM", "S[S", varying, OfArguments, |a| trim_with(a, true, false)),
    function("OVERLAY", "SSI[I", overlay_type, OfArguments, overlay),
    function("POSITION", "SS", int, OfArguments, locate),
    function("REPEAT", "SI", string, OfArguments, repeat),
    function("REPLACE", "SSS", string, OfArguments, |a| {
        let (text, from, to) = (a.str(0), a.str(1), a.str(2));
        texts(a, |i, out| {
            replace(text.get(i)?, from.get(i)?, to.get(i)?, out);
            Some(())
        })
    }),
    function("REVERSE", "S", string, Always, |a| {
        let text = a.str(0);
        texts(a, |i, out| {
            out.extend(text.get(i)?.chars().rev());
            Some(())
        })
    }),
    function("RIGHT", "SI", varying, Always, |a| {
        let (text, count) = (a.str(0), a.prim::<Int32Type>(1));
        texts(a, |i, out| {
            let (text, count) = (text.get(i)?, usize::try_from(count.get(i)?).unwrap_or(0));
            let skipped = text.chars().count().saturating_sub(count);
            out.push_str(&text[byte_at(text, skipped)..]);
            Some(())
        })
    }),
    function("RPAD", "SIS", string, OfArguments, |a| pad(a, false)),
    function("RTRIM", "S[S", varying, OfArguments, |a| trim_with(a, false, true)),
    function("SPLIT", "SS", strings, OfArguments, split),
    function("SPLIT_INDEX", "SAI", string, Always, split_index),
    function("STARTSWITH", "EE", boolean, OfArguments, |a| affix(a, |s, x| s.starts_with(x))),
    function("SUBSTR", "SI[I", varying, Always, substring),
    function("SUBSTRING", "SI[I", varying, Always, substring),
    function("TRANSLATE", "SSS", string, OfFirst, translate),
    function("TRIM", "SSS", |args| varying(&args[2..]), OfArguments, trim),
];

/// One text a row, written to a buffer that is reused; NULL where `one` gives `None`.
pub(crate) fn texts(
    a: &Args<'_>,
    mut one: impl FnMut(usize, &mut String) -> Option<()>,
) -> Result<ArrayRef, EvalError> {
    let mut result = StringBuilder::with_capacity(a.rows, a.rows * 8);
    let mut text = String::new();
    for row in 0..a.rows {
        text.clear();
        match one(row, &mut text) {
            Some(()) => result.append_value(&text),
            None => result.append_null(),
        }
    }
    Ok(Arc::new(result.finish()))
}

fn ints(a: &Args<'_>, one: impl Fn(&str) -> i32) -> ArrayRef {
    let text = a.str(0);
    Arc::new((0..a.rows).map(|i| text.get(i).map(&one)).collect::<Int32Array>())
}

/// FALSE of NULL and of an empty string.
fn test(a: &Args<'_>, one: impl Fn(&str) -> bool) -> Result<ArrayRef, EvalError> {
    let text = a.str(0);
    let holds = |i| Some(text.get(i).is_some_and(|s| !s.is_empty() && one(s)));
    Ok(Arc::new((0..a.rows).map(holds).collect::<BooleanArray>()))
}

fn is_decimal(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    if *a.values[0].array().data_type() == ArrowType::Utf8 {
        let digit = |s: &str| s.bytes().any(|b| b.is_ascii_digit());
        return test(a, |s| digit(s) && s.trim().parse::<f64>().is_ok());
    }
    let (value, number) = (a.any(0), crate::expr::types::is_numeric(&a.types[0].kind));
    Ok(Arc::new((0..a.rows).map(|i| Some(number && value.index(i).is_some())).collect::<BooleanArray>()))
}

/// The byte at which the code point number `index`, from 0, starts; the end when there are fewer.
fn byte_at(text: &str, index: usize) -> usize {
    if text.is_ascii() {
        return index.min(text.len());
    }
    text.char_indices().nth(index).map_or(text.len(), |(at, _)| at)
}

fn prefix(text: &str, count: i32) -> &str {
    &text[..byte_at(text, usize::try_from(count).unwrap_or(0))]
}

fn chr(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let code = a.prim::<arrow::datatypes::Int64Type>(0);
    texts(a, |i, out| {
        let code = code.get(i)?;
        if code >= 0 {
            out.push(char::from((code & 0xFF) as u8));
        }
        Some(())
    })
}

fn concat(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let parts: Vec<_> = (0..a.len()).map(|i| a.str(i)).collect();
    texts(a, |i, out| {
        for part in &parts {
            out.push_str(part.get(i)?);
        }
        Some(())
    })
}

fn concat_ws(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let parts: Vec<_> = (0..a.len()).map(|i| a.str(i)).collect();
    texts(a, |i, out| {
        let separator = parts[0].get(i)?;
        for (n, part) in parts[1..].iter().filter_map(|part| part.get(i)).enumerate() {
            if n > 0 {
                out.push_str(separator);
            }
            out.push_str(part);
        }
        Some(())
    })
}

fn affix(a: &Args<'_>, holds: impl Fn(&[u8], &[u8]) -> bool) -> Result<ArrayRef, EvalError> {
    let bytes = |i: usize| {
        let array = a.values[i].array();
        if *array.data_type() == ArrowType::Binary {
            Ok(Arc::clone(array))
        } else {
            arrow::compute::cast(array, &ArrowType::Binary)
        }
    };
    let (text, part) = (bytes(0)?, bytes(1)?);
    let (text, part) = (text.as_binary::<i32>(), part.as_binary::<i32>());
    let (text_at, part_at) = (a.any(0), a.any(1));
    let one = |i| Some(holds(text.value(text_at.index(i)?), part.value(part_at.index(i)?)));
    Ok(Arc::new((0..a.rows).map(one).collect::<BooleanArray>()))
}

/// Words are runs of ASCII letters and digits.
fn initcap(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let text = a.str(0);
    texts(a, |i, out| {
        let mut inside = false;
        for c in text.get(i)?.chars() {
            out.push(if inside { c.to_ascii_lowercase() } else { c.to_ascii_uppercase() });
            inside = c.is_ascii_alphanumeric();
        }
        Some(())
    })
}

/// The position of `part` in `text[from..]`, where `from` is a byte, or 0.
fn position(text: &str, part: &str, from: usize) -> i32 {
    match text[from..].find(part) {
        Some(at) => text[..from + at].chars().count() as i32 + 1,
        None => 0,
    }
}

/// `LOCATE(part, text, from)`.
fn locate(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let (part, text) = (a.str(0), a.str(1));
    let from = (a.len() > 2).then(|| a.prim::<Int32Type>(2));
    let one = |i| {
        let (part, text) = (part.get(i)?, text.get(i)?);
        let from = match &from {
            Some(from) => usize::try_from(from.get(i)?).unwrap_or(0).saturating_sub(1),
            None => 0,
        };
        Some(position(text, part, byte_at(text, from)))
    };
    Ok(Arc::new((0..a.rows).map(one).collect::<Int32Array>()))
}

/// `INSTR(text, part, start, which)`: a negative start counts, and searches, from the end.
fn instr(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let (text, part) = (a.str(0), a.str(1));
    let optional = |i: usize| (a.len() > i).then(|| a.prim::<Int32Type>(i));
    let (start, which) = (optional(2), optional(3));
    let one = |i| {
        let number = |col: &Option<_>, default| match col {
            Some(col) => crate::expr::eval::Col::<'_, Int32Array>::get(col, i),
            None => Some(default),
        };
        let (Some(text), Some(part), Some(start), Some(which)) =
            (text.get(i), part.get(i), number(&start, 1), number(&which, 1))
        else {
            return Ok(None);
        };
        if which < 1 {
            return Err(EvalError(format!("the appearance to find must be 1 or more, but was {which}")));
        }
        Ok(Some(appearance(text, part, start, which)))
    };
    Ok(Arc::new((0..a.rows).map(one).collect::<Result<Int32Array, EvalError>>()?))
}

fn appearance(text: &str, part: &str, start: i32, which: i32) -> i32 {
    if start == 0 {
        return 0;
    }
    if part.is_empty() {
        return 1;
    }
    let length = text.chars().count();
    let mut starts = text.char_indices().enumerate().map(|(n, (at, _))| (n, at));
    let hit = |&(_, at): &(usize, usize)| text[at..].starts_with(part);
    let distance = start.unsigned_abs() as usize;
    let skipped = (which - 1) as usize;
    let found = if start > 0 {
        starts.skip(distance - 1).filter(hit).nth(skipped)
    } else {
        let last = length.checked_sub(distance);
        let mut back: Vec<_> = starts.by_ref().filter(|(n, _)| last.is_some_and(|last| *n <= last)).collect();
        back.reverse();
        back.into_iter().filter(hit).nth(skipped)
    };
    found.map_or(0, |(n, _)| n as i32 + 1)
}

/// NULL when the length is negative, and when there is nothing to pad with.
fn pad(a: &Args<'_>, left: bool) -> Result<ArrayRef, EvalError> {
    let (text, length, with) = (a.str(0), a.prim::<Int32Type>(1), a.str(2));
    let mut too_long = None;
    let result = texts(a, |i, out| {
        let (text, length, with) = (text.get(i)?, usize::try_from(length.get(i)?).ok()?, with.get(i)?);
        if with.is_empty() {
            return None;
        }
        if length > LONGEST {
            too_long = Some(length);
            return None;
        }
        let missing = length.saturating_sub(text.chars().count());
        if left {
            out.extend(with.chars().cycle().take(missing));
        }
        out.push_str(&text[..byte_at(text, length)]);
        if !left {
            out.extend(with.chars().cycle().take(missing));
        }
        Some(())
    });
    bounded(too_long, result)
}

fn bounded(too_long: Option<usize>, result: Result<ArrayRef, EvalError>) -> Result<ArrayRef, EvalError> {
    match too_long {
        Some(length) => Err(EvalError(format!("a string of {length} is longer than the {LONGEST} allowed"))),
        None => result,
    }
}

fn repeat(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let (text, count) = (a.str(0), a.prim::<Int32Type>(1));
    let mut too_long = None;
    let result = texts(a, |i, out| {
        let (text, count) = (text.get(i)?, usize::try_from(count.get(i)?).unwrap_or(0));
        let length = text.len().saturating_mul(count);
        if length > LONGEST {
            too_long = Some(length);
            return None;
        }
        (0..if text.is_empty() { 0 } else { count }).for_each(|_| out.push_str(text));
        Some(())
    });
    bounded(too_long, result)
}

fn replace(text: &str, from: &str, to: &str, out: &mut String) {
    let mut done = 0;
    for (at, found) in text.match_indices(from) {
        out.push_str(&text[done..at]);
        out.push_str(to);
        done = at + found.len();
    }
    out.push_str(&text[done..]);
}

fn overlay_type(args: &[ScalarExpr]) -> TypeKind {
    let length = |arg: &ScalarExpr| match arg.data_type().kind {
        TypeKind::Char(n) | TypeKind::Varchar(n) => n,
        _ => MAX_LENGTH,
    };
    TypeKind::Varchar(length(&args[0]).saturating_add(length(&args[1])).min(MAX_LENGTH))
}

/// The text itself when the start is outside of it; what is replaced reaches to the end when its length is not positive.
fn overlay(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let (text, with, start) = (a.str(0), a.str(1), a.prim::<Int32Type>(2));
    let length = (a.len() > 3).then(|| a.prim::<Int32Type>(3));
    texts(a, |i, out| {
        let (text, with, start) = (text.get(i)?, with.get(i)?, start.get(i)?);
        let length = match &length {
            Some(length) => length.get(i)?,
            None => with.chars().count() as i32,
        };
        let count = text.chars().count();
        let Some(kept) = usize::try_from(start).ok().filter(|s| (1..=count).contains(s)).map(|s| s - 1)
        else {
            out.push_str(text);
            return Some(());
        };
        out.push_str(&text[..byte_at(text, kept)]);
        out.push_str(with);
        if length > 0 {
            out.push_str(&text[byte_at(text, kept + length as usize)..]);
        }
        Some(())
    })
}

/// An empty delimiter cuts between all characters.
fn split(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let (text, delimiter) = (a.str(0), a.str(1));
    let mut lists = ListBuilder::new(StringBuilder::new());
    for row in 0..a.rows {
        let (Some(text), Some(delimiter)) = (text.get(row), delimiter.get(row)) else {
            lists.append_null();
            continue;
        };
        if !delimiter.is_empty() {
            text.split(delimiter).for_each(|part| lists.values().append_value(part));
        } else if text.is_empty() {
            lists.values().append_value("");
        } else {
            let mut bytes = [0; 4];
            text.chars().for_each(|c| lists.values().append_value(c.encode_utf8(&mut bytes)));
        }
        lists.append(true);
    }
    Ok(Arc::new(lists.finish()))
}

/// The separator may be the number of a character; an empty one is any run of blanks. An empty text has no parts.
fn split_index(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let index = a.prim::<Int32Type>(2);
    let text = a.str(0);
    let codes = match a.values[1].array().data_type() {
        ArrowType::Utf8 => None,
        _ => Some(arrow::compute::cast(a.values[1].array(), &ArrowType::Int32)?),
    };
    let separators = codes.is_none().then(|| a.str(1));
    let place = a.any(1);
    texts(a, |i, out| {
        let (text, index) = (text.get(i)?, usize::try_from(index.get(i)?).ok()?);
        let part = match (&separators, &codes) {
            _ if text.is_empty() => None,
            (Some(separators), _) => match separators.get(i)? {
                "" => text.split_whitespace().nth(index),
                separator => text.split(separator).nth(index),
            },
            (None, Some(codes)) => {
                let code = codes.as_primitive::<Int32Type>().value(place.index(i)?);
                text.split(char::from_u32(u32::try_from(code).ok()?)?).nth(index)
            }
            (None, None) => None,
        };
        out.push_str(part?);
        Some(())
    })
}

/// A negative start counts from the end; the result is NULL when the length is negative.
fn substring(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let (text, start) = (a.str(0), a.prim::<Int32Type>(1));
    let length = (a.len() > 2).then(|| a.prim::<Int32Type>(2));
    texts(a, |i, out| {
        let (text, start) = (text.get(i)?, start.get(i)?);
        let length = match &length {
            Some(length) => usize::try_from(length.get(i)?).ok()?,
            None => usize::MAX,
        };
        let skipped = match start {
            0 => 0,
            1.. => start as usize - 1,
            _ => match text.chars().count().checked_sub(start.unsigned_abs() as usize) {
                Some(skipped) => skipped,
                None => return Some(()),
            },
        };
        let rest = &text[byte_at(text, skipped)..];
        out.push_str(&rest[..byte_at(rest, length)]);
        Some(())
    })
}

/// A character of the second argument becomes the one at its place in the third, or nothing when there is none.
fn translate(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let (text, from, to) = (a.str(0), a.str(1), a.str(2));
    texts(a, |i, out| {
        let (text, from, to) = (text.get(i)?, from.get(i).unwrap_or(""), to.get(i).unwrap_or(""));
        for c in text.chars() {
            match from.chars().position(|f| f == c) {
                Some(place) => out.extend(to.chars().nth(place)),
                None => out.push(c),
            }
        }
        Some(())
    })
}

fn strip<'a>(text: &'a str, set: &str, start: bool, end: bool) -> &'a str {
    let text = if start { text.trim_start_matches(|c| set.contains(c)) } else { text };
    if end { text.trim_end_matches(|c| set.contains(c)) } else { text }
}

/// `TRIM(side, characters, text)`.
fn trim(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let (side, set, text) = (a.str(0), a.str(1), a.str(2));
    texts(a, |i, out| {
        let side = side.get(i)?;
        out.push_str(strip(text.get(i)?, set.get(i)?, side != "TRAILING", side != "LEADING"));
        Some(())
    })
}

fn trim_with(a: &Args<'_>, start: bool, end: bool) -> Result<ArrayRef, EvalError> {
    let text = a.str(0);
    let set = (a.len() > 1).then(|| a.str(1));
    texts(a, |i, out| {
        let set = match &set {
            Some(set) => set.get(i)?,
            None => " ",
        };
        out.push_str(strip(text.get(i)?, set, start, end));
        Some(())
    })
}

#[cfg(test)]
mod tests {
    use crate::expr::tests::run;
    use crate::expr::{call, literal_string};

    #[test]
    fn split_keeps_empty_parts() {
        let split = |text, by| run(&call("SPLIT", vec![literal_string(text), literal_string(by)]).unwrap());
        assert_eq!(split("a,,b", ","), "ARRAY<STRING> NOT NULL => [a, , b]");
        assert_eq!(split("äb", ""), "ARRAY<STRING> NOT NULL => [ä, b]");
    }
}
