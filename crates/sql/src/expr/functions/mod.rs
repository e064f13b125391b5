//! Which function is evaluated by what. Invariant: a kernel gets arguments of exactly the types that
//! [`call`](super::call) coerced them to.

pub(crate) mod collection;
mod date_format;
mod hash;
mod json;
mod json_text;
mod lists;
mod maps;
pub(crate) mod math;
mod pattern;
mod regexp;
pub(crate) mod signature;
mod string;
pub(crate) mod temporal;

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, StringArray};

use super::EvalError;
use super::eval::Args;
use super::operators;

/// Evaluates one call on one batch.
pub(crate) type Kernel = fn(&Args<'_>) -> Result<ArrayRef, EvalError>;

/// Of a family's table, the entry of a name.
pub(crate) fn find(table: &[(&'static str, Kernel)], name: &str) -> Option<(&'static str, Kernel)> {
    table.iter().find(|(known, _)| *known == name).copied()
}

/// The evaluation of a function, and whether it is called for every row even of constant arguments.
pub(crate) fn kernel(name: &str) -> Option<(Kernel, bool)> {
    let kernel: Kernel = match name {
        "+" | "-" | "*" | "/" | "%" => return operators::arithmetic_kernel(name).map(|k| (k, false)),
        "=" | "<>" | "<" | "<=" | ">" | ">=" | "IS DISTINCT FROM" | "IS NOT DISTINCT FROM" => {
            return operators::comparison_kernel(name).map(|k| (k, false));
        }
        "NOT" => operators::not,
        "IS NULL" => operators::is_null,
        "IS NOT NULL" => operators::is_not_null,
        "IS TRUE" => |a| operators::is_bool(a, true, true),
        "IS NOT TRUE" => |a| operators::is_bool(a, true, false),
        "IS FALSE" => |a| operators::is_bool(a, false, true),
        "IS NOT FALSE" => |a| operators::is_bool(a, false, false),
        "LIKE" => regexp::like,
        "UPPER" => |a| text(a, |s| s.to_uppercase()),
        "LOWER" => |a| text(a, |s| s.to_lowercase()),
        "CHAR_LENGTH" => |a| {
            let s = a.str(0);
            Ok(Arc::new(
                (0..a.rows).map(|i| s.get(i).map(|s| s.chars().count() as i32)).collect::<Int32Array>(),
            ))
        },
        "||" => |a| {
            let (x, y) = (a.str(0), a.str(1));
            let one = |i| Some(format!("{}{}", x.get(i)?, y.get(i)?));
            Ok(Arc::new((0..a.rows).map(one).collect::<StringArray>()))
        },
        number if let Some((_, kernel)) = find(math::FUNCTIONS, number) => {
            return Some((kernel, !is_deterministic_function(name)));
        }
        stamp if let Some((_, kernel)) = find(temporal::FUNCTIONS, stamp) => kernel,
        other => match lookup(other) {
            Some(function) => function.kernel,
            None => collection::kernel(other)?,
        },
    };
    Some((kernel, false))
}

const TABLES: [&[signature::Function]; 5] =
    [string::TABLE, regexp::TABLE, hash::TABLE, json::TABLE, super::live::TABLE];

/// The function of that name that is a row of a family's table.
pub(crate) fn lookup(name: &str) -> Option<&'static signature::Function> {
    TABLES.into_iter().flatten().find(|f| f.name == name)
}

/// The names in the tables of functions on texts and collections.
pub(crate) fn more_names() -> impl Iterator<Item = &'static str> {
    TABLES.into_iter().flatten().map(|f| f.name).filter(|name| !name.contains(' ')).chain(collection::names())
}

fn text(args: &Args<'_>, change: impl Fn(&str) -> String) -> Result<ArrayRef, EvalError> {
    let s = args.str(0);
    Ok(Arc::new((0..args.rows).map(|i| s.get(i).map(&change)).collect::<StringArray>()))
}

/// Whether a function gives the same result for the same arguments.
pub(crate) fn is_deterministic_function(name: &str) -> bool {
    !matches!(
        name,
        "RAND"
            | "RAND_INTEGER"
            | "UUID"
            | "NOW"
            | "CURRENT_TIMESTAMP"
            | "CURRENT_ROW_TIMESTAMP"
            | "CURRENT_DATE"
            | "CURRENT_TIME"
            | "LOCALTIME"
            | "LOCALTIMESTAMP"
            | "PROCTIME"
            | "CONFIG"
            | "CONFIG_REVISION"
    )
}
