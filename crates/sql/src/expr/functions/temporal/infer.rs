//! The types of functions on dates and times.
//!
//! Invariant: a call that is accepted has arguments of exactly the types that its kernel reads.

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use streamkeeper_connectors::schema::{DataType, MAX_LENGTH, TypeKind};

use super::fields::Field;
use crate::expr::functions::math::literal_digits;
use crate::expr::infer::{arity, built, coerce, wrong_types};
use crate::expr::temporal::DAY_MS;
use crate::expr::types::{is_integer, is_numeric, is_string};
use crate::expr::{
    FunctionError, ScalarExpr, call, cast, literal_int, literal_interval_day_time,
    literal_interval_year_month, literal_string,
};

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
            let precision = match literal_digits(&digits) {
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
