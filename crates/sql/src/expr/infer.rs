//! What a call's arguments are coerced to, and the type of its result.
//!
//! Invariant: in a built call, both sides of `=` have the same type, and decimal arithmetic has two DECIMAL sides.

use arrow::array::{Array, AsArray, StringArray};
use streamkeeper_connectors::schema::{DataType, MAX_LENGTH, TypeKind};

use super::functions::{find, math, temporal};
use super::types::{
    common_type, decimal_result, exact_digits, is_approximate, is_integer, is_numeric, is_string,
};
use super::{ScalarExpr, cast::can_cast, literal_null};

/// Why a call cannot be built; the caller knows the place in the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FunctionError {
    /// No such function.
    #[error("No match found for function signature {0}")]
    Unknown(String),
    /// Too few or too many arguments.
    #[error(
        "Invalid number of arguments to function '{function}'. Was expecting {expected} arguments, got {got}"
    )]
    Arguments {
        /// Which function.
        function: String,
        /// How many it takes.
        expected: String,
        /// How many there were.
        got: usize,
    },
    /// Arguments of types it does not take.
    #[error("Cannot apply '{function}' to arguments of type '{function}({types})'")]
    Types {
        /// Which function.
        function: String,
        /// The types, separated by commas.
        types: String,
    },
    /// Flink has no such cast.
    #[error("Cast function cannot convert value of type {from} to type {to}")]
    Cast {
        /// The value's type.
        from: String,
        /// The wanted type.
        to: String,
    },
}

pub(super) fn wrong_types(function: &str, args: &[ScalarExpr]) -> FunctionError {
    let types: Vec<_> = args.iter().map(|a| format!("<{}>", a.data_type().kind)).collect();
    FunctionError::Types { function: function.into(), types: types.join(", ") }
}

/// `CAST(input AS data_type)`, or TRY_CAST; the result is nullable when the input is, or always for TRY_CAST.
///
/// # Errors
/// When there is no such cast.
pub fn cast(input: ScalarExpr, data_type: DataType, try_cast: bool) -> Result<ScalarExpr, FunctionError> {
    let from = input.data_type();
    if !can_cast(&from.kind, &data_type.kind) {
        return Err(FunctionError::Cast { from: from.kind.to_string(), to: data_type.kind.to_string() });
    }
    let data_type = DataType { nullable: try_cast || from.nullable, kind: data_type.kind };
    if from.kind == TypeKind::Null {
        return Ok(literal_null(data_type));
    }
    Ok(ScalarExpr::Cast { input: Box::new(input), data_type, try_cast })
}

pub(super) fn coerce(input: ScalarExpr, kind: &TypeKind) -> Result<ScalarExpr, FunctionError> {
    let same = input.data_type().kind == *kind
        || (is_string(kind) && is_string(&input.data_type().kind))
        || input.data_type().to_arrow() == DataType::from(kind.clone()).to_arrow();
    if same { Ok(input) } else { cast(input, kind.clone().into(), false) }
}

/// Names of the functions that [`call`] knows, operators left out.
pub const FUNCTIONS: &[&str] =
    &["CHARACTER_LENGTH", "CHAR_LENGTH", "COALESCE", "IF", "IFNULL", "LOWER", "MOD", "NULLIF", "UPPER"];

/// Names of all functions that [`call`] knows, in order.
pub fn function_names() -> Vec<&'static str> {
    let mut names: Vec<_> = FUNCTIONS.to_vec();
    names.extend(["CEILING", "TIMESTAMPADD", "TYPEOF"]);
    names.extend(math::FUNCTIONS.iter().chain(temporal::FUNCTIONS).map(|(name, _)| *name));
    names.extend(temporal::FIELDS.iter().map(|(name, _)| *name));
    names.extend(super::functions::more_names());
    names.sort_unstable();
    names.dedup();
    names
}

/// Builds the call of a function or operator, under its SQL name in upper case: coerces the arguments and infers the
/// result's type.
///
/// # Errors
/// When there is no such function, or not for these arguments.
pub fn call(name: &str, args: Vec<ScalarExpr>) -> Result<ScalarExpr, FunctionError> {
    let count = |n: usize| {
        let got = args.len();
        if got == n {
            Ok(())
        } else {
            Err(FunctionError::Arguments { function: name.into(), expected: n.to_string(), got })
        }
    };
    let nullable = args.iter().any(|a| a.data_type().nullable);
    let boolean = DataType::from(TypeKind::Boolean);
    match name {
        "-" if args.len() == 1 => {
            let data_type = args[0].data_type().clone();
            let interval = matches!(data_type.kind, TypeKind::IntervalDayTime | TypeKind::IntervalYearMonth);
            if !interval && !is_numeric(&data_type.kind) {
                return Err(wrong_types(name, &args));
            }
            Ok(built("-", args, data_type))
        }
        "+" if args.len() == 1 => args.into_iter().next().ok_or_else(|| FunctionError::Unknown("+".into())),
        "+" | "-" | "*" | "/" | "%" | "MOD" => {
            count(2)?;
            arithmetic(if name == "MOD" { "%" } else { name }, args, nullable)
        }
        "=" | "<>" | "<" | "<=" | ">" | ">=" | "IS DISTINCT FROM" | "IS NOT DISTINCT FROM" => {
            count(2)?;
            let nullable = nullable && !name.starts_with("IS");
            Ok(built(operator(name), comparable(name, args)?, boolean.with_nullable(nullable)))
        }
        "AND" | "OR" => {
            if args.len() < 2 {
                count(2)?;
            }
            let args = booleans(name, args)?;
            let both = |a: ScalarExpr, b: ScalarExpr| {
                let nullable = a.data_type().nullable || b.data_type().nullable;
                built(operator(name), vec![a, b], DataType::from(TypeKind::Boolean).with_nullable(nullable))
            };
            args.into_iter().reduce(both).ok_or_else(|| FunctionError::Unknown(name.into()))
        }
        "NOT" => {
            count(1)?;
            Ok(built("NOT", booleans(name, args)?, boolean.with_nullable(nullable)))
        }
        "IS NULL" | "IS NOT NULL" => {
            count(1)?;
            Ok(built(operator(name), args, boolean.not_null()))
        }
        "IS UNKNOWN" => call("IS NULL", booleans(name, args)?),
        "IS NOT UNKNOWN" => call("IS NOT NULL", booleans(name, args)?),
        "IS TRUE" | "IS NOT TRUE" | "IS FALSE" | "IS NOT FALSE" => {
            count(1)?;
            Ok(built(operator(name), booleans(name, args)?, boolean.not_null()))
        }
        "BETWEEN" | "NOT BETWEEN" => {
            count(3)?;
            let [x, low, high]: [ScalarExpr; 3] = args.try_into().expect("counted");
            let inside = call("AND", vec![call(">=", vec![x.clone(), low])?, call("<=", vec![x, high])?])?;
            if name == "BETWEEN" { Ok(inside) } else { call("NOT", vec![inside]) }
        }
        "IN" | "NOT IN" => {
            let Some((x, list)) = args.split_first().filter(|(_, list)| !list.is_empty()) else {
                return Err(FunctionError::Arguments {
                    function: name.into(),
                    expected: "2 or more".into(),
                    got: args.len(),
                });
            };
            let tests =
                list.iter().map(|v| call("=", vec![x.clone(), v.clone()])).collect::<Result<Vec<_>, _>>()?;
            let any = if tests.len() == 1 { tests[0].clone() } else { call("OR", tests)? };
            if name == "IN" { Ok(any) } else { call("NOT", vec![any]) }
        }
        "LIKE" | "NOT LIKE" => {
            if args.len() != 3 {
                count(2)?;
            }
            let like = built("LIKE", strings(name, args)?, boolean.with_nullable(nullable));
            if name == "LIKE" { Ok(like) } else { call("NOT", vec![like]) }
        }
        "||" => {
            count(2)?;
            let args = strings(name, args)?;
            let kind = match (&args[0].data_type().kind, &args[1].data_type().kind) {
                (TypeKind::Char(m), TypeKind::Char(n)) => TypeKind::Char(m.saturating_add(*n)),
                (TypeKind::Char(m) | TypeKind::Varchar(m), TypeKind::Char(n) | TypeKind::Varchar(n)) => {
                    TypeKind::Varchar(m.saturating_add(*n).min(MAX_LENGTH))
                }
                _ => TypeKind::Varchar(MAX_LENGTH),
            };
            Ok(built("||", args, DataType { kind, nullable }))
        }
        "UPPER" | "LOWER" => {
            count(1)?;
            let args = strings(name, args)?;
            let data_type = args[0].data_type().clone();
            Ok(built(operator(name), args, data_type))
        }
        "CHAR_LENGTH" | "CHARACTER_LENGTH" => {
            count(1)?;
            Ok(built("CHAR_LENGTH", strings(name, args)?, DataType { kind: TypeKind::Int, nullable }))
        }
        "CASE" => case(args),
        "IF" => {
            count(3)?;
            let mut case = case(args)?;
            // Unlike CASE's, the condition's NULL counts.
            if let ScalarExpr::Call { data_type, .. } = &mut case {
                data_type.nullable = nullable;
            }
            Ok(case)
        }
        "NULLIF" => {
            count(2)?;
            let equal = call("=", args.clone())?;
            let null = literal_null(args[0].data_type().clone());
            case(vec![equal, null, args.into_iter().next().expect("counted")])
        }
        "COALESCE" | "IFNULL" => coalesce(name, args),
        // Numbers.
        "CEILING" => call("CEIL", args),
        "CEIL" if args.len() == 2 => temporal::floor_call("CEIL", args),
        "FLOOR" if args.len() == 2 => temporal::floor_call("FLOOR", args),
        number if let Some((name, _)) = find(math::FUNCTIONS, number) => math::infer(name, args),
        // Dates and times.
        "TIMESTAMPADD" => temporal::timestamp_add(args),
        stamp if let Some((name, _)) = find(temporal::FUNCTIONS, stamp) => temporal::infer(name, args),
        part if let Some((name, field)) = temporal::FIELDS.iter().find(|(name, _)| *name == part) => {
            temporal::field(name, field, args)
        }
        "TYPEOF" => type_of(&args),
        other => {
            if let Some(function) = super::functions::lookup(other) {
                return function.call(args);
            }
            if let Some(call) = super::functions::collection::call(other, args.clone()) {
                return call;
            }
            let types: Vec<_> = args.iter().map(|a| format!("<{}>", a.data_type().kind)).collect();
            Err(FunctionError::Unknown(format!("{other}({})", types.join(", "))))
        }
    }
}

/// Checks the number of arguments.
pub(super) fn arity(name: &str, args: &[ScalarExpr], least: usize, most: usize) -> Result<(), FunctionError> {
    let got = args.len();
    if (least..=most).contains(&got) {
        return Ok(());
    }
    let expected = match most {
        usize::MAX => format!("{least} or more"),
        _ if least == most => least.to_string(),
        _ => format!("{least} to {most}"),
    };
    Err(FunctionError::Arguments { function: name.into(), expected, got })
}

pub(super) fn built(function: &'static str, args: Vec<ScalarExpr>, data_type: DataType) -> ScalarExpr {
    ScalarExpr::Call { function, args, data_type }
}

fn operator(name: &str) -> &'static str {
    const NAMES: &[&str] = &[
        "+",
        "-",
        "*",
        "/",
        "%",
        "=",
        "<>",
        "<",
        "<=",
        ">",
        ">=",
        "IS DISTINCT FROM",
        "IS NOT DISTINCT FROM",
        "AND",
        "OR",
        "IS NULL",
        "IS NOT NULL",
        "IS TRUE",
        "IS NOT TRUE",
        "IS FALSE",
        "IS NOT FALSE",
        "UPPER",
        "LOWER",
    ];
    NAMES.iter().find(|n| **n == name).expect("every caller's name is in the table")
}

pub(super) fn strings(name: &str, args: Vec<ScalarExpr>) -> Result<Vec<ScalarExpr>, FunctionError> {
    if !args.iter().all(|a| is_string(&a.data_type().kind) || a.data_type().kind == TypeKind::Null) {
        return Err(wrong_types(name, &args));
    }
    args.into_iter().map(|a| coerce(a, &TypeKind::Varchar(MAX_LENGTH))).collect()
}

pub(super) fn booleans(name: &str, args: Vec<ScalarExpr>) -> Result<Vec<ScalarExpr>, FunctionError> {
    if !args.iter().all(|a| matches!(a.data_type().kind, TypeKind::Boolean | TypeKind::Null)) {
        return Err(wrong_types(name, &args));
    }
    args.into_iter().map(|a| coerce(a, &TypeKind::Boolean)).collect()
}

pub(super) fn comparable(name: &str, args: Vec<ScalarExpr>) -> Result<Vec<ScalarExpr>, FunctionError> {
    let (a, b) = (&args[0].data_type().kind, &args[1].data_type().kind);
    let date_and_time =
        (*a == TypeKind::Date) != (*b == TypeKind::Date) && *a != TypeKind::Null && *b != TypeKind::Null;
    let types: Vec<_> = args.iter().map(|a| a.data_type().clone()).collect();
    match common_type(&types) {
        Some(common) if !date_and_time => args.into_iter().map(|a| coerce(a, &common.kind)).collect(),
        _ => Err(wrong_types(name, &args)),
    }
}

fn arithmetic(name: &str, args: Vec<ScalarExpr>, nullable: bool) -> Result<ScalarExpr, FunctionError> {
    let (a, b) = (args[0].data_type().kind.clone(), args[1].data_type().kind.clone());
    let intervals = matches!(a, TypeKind::IntervalDayTime | TypeKind::IntervalYearMonth);
    if intervals && a == b && matches!(name, "+" | "-") {
        return Ok(built(operator(name), args, DataType { kind: a, nullable }));
    }
    let interval = |k: &TypeKind| matches!(k, TypeKind::IntervalDayTime | TypeKind::IntervalYearMonth);
    let stamp = |k: &TypeKind| {
        matches!(k, TypeKind::Date | TypeKind::Time(_) | TypeKind::Timestamp(_) | TypeKind::TimestampLtz(_))
    };
    if stamp(&a) && interval(&b) && matches!(name, "+" | "-") {
        return Ok(built(operator(name), args, DataType { kind: a, nullable }));
    }
    if interval(&a) && stamp(&b) && name == "+" {
        return Ok(built("+", args.into_iter().rev().collect(), DataType { kind: b, nullable }));
    }
    if name == "*" && interval(&b) && (is_integer(&a) || a == TypeKind::Null) {
        return arithmetic(name, args.into_iter().rev().collect(), nullable);
    }
    if name == "*" && interval(&a) && (is_integer(&b) || b == TypeKind::Null) {
        let count = if a == TypeKind::IntervalDayTime { TypeKind::BigInt } else { TypeKind::Int };
        let mut args = args;
        args[1] = coerce(args[1].clone(), &count)?;
        return Ok(built("*", args, DataType { kind: a, nullable }));
    }
    let a = if a == TypeKind::Null { b.clone() } else { a };
    let b = if b == TypeKind::Null { a.clone() } else { b };
    if !is_numeric(&a) || !is_numeric(&b) {
        return Err(wrong_types(name, &args));
    }
    let mut args = args.into_iter();
    let (left, right) = (args.next().expect("counted"), args.next().expect("counted"));
    if let (Some(l), Some(r), false) = (exact_digits(&a), exact_digits(&b), is_integer(&a) && is_integer(&b))
    {
        let decimal = |(p, s): (u32, u32)| TypeKind::Decimal { precision: p as u8, scale: s as u8 };
        let sides = vec![coerce(left, &decimal(l))?, coerce(right, &decimal(r))?];
        return Ok(built(operator(name), sides, DataType { kind: decimal_result(name, l, r), nullable }));
    }
    let both = [DataType::from(a.clone()), DataType::from(b.clone())];
    let common = common_type(&both).expect("two numbers have a common type").kind;
    let result = built(
        operator(name),
        vec![coerce(left, &common)?, coerce(right, &common)?],
        DataType { kind: common.clone(), nullable },
    );
    // Flink types MOD of integers by its divisor.
    if name == "%" && !is_approximate(&common) && common != b {
        cast(result, b.into(), false)
    } else {
        Ok(result)
    }
}

fn case(args: Vec<ScalarExpr>) -> Result<ScalarExpr, FunctionError> {
    if args.len() < 3 || args.len().is_multiple_of(2) {
        let got = args.len();
        return Err(FunctionError::Arguments { function: "CASE".into(), expected: "3 or more".into(), got });
    }
    let last = args.len() - 1;
    let is_value = |i: usize| i == last || i % 2 == 1;
    let types: Vec<_> =
        args.iter().enumerate().filter(|(i, _)| is_value(*i)).map(|(_, a)| a.data_type().clone()).collect();
    let Some(data_type) = common_type(&types) else { return Err(wrong_types("CASE", &args)) };
    let args = args.into_iter().enumerate().map(|(i, arg)| {
        if is_value(i) { coerce(arg, &data_type.kind) } else { Ok(booleans("CASE", vec![arg])?.remove(0)) }
    });
    Ok(built("CASE", args.collect::<Result<_, _>>()?, data_type))
}

/// `TYPEOF(x)`: the text of a type is known before any row is read.
fn type_of(args: &[ScalarExpr]) -> Result<ScalarExpr, FunctionError> {
    arity("TYPEOF", args, 1, 2)?;
    let full = match args.get(1) {
        None => false,
        Some(ScalarExpr::Literal { value, .. }) => {
            value.as_boolean_opt().is_some_and(|v| v.is_valid(0) && v.value(0))
        }
        Some(_) => return Err(wrong_types("TYPEOF", args)),
    };
    let text = args[0].data_type().to_string();
    let text = if full {
        text.replace("STRING", "VARCHAR(2147483647)").replace("BYTES", "VARBINARY(2147483647)")
    } else {
        text
    };
    Ok(super::literal(std::sync::Arc::new(StringArray::from(vec![text])), DataType::string()))
}

fn coalesce(name: &str, mut args: Vec<ScalarExpr>) -> Result<ScalarExpr, FunctionError> {
    let types: Vec<_> = args.iter().map(|a| a.data_type().clone()).collect();
    let Some(common) = common_type(&types) else { return Err(wrong_types(name, &args)) };
    let nullable = types.iter().all(|t| t.nullable);
    let last = args.pop().ok_or_else(|| FunctionError::Unknown(name.into()))?;
    let mut parts = Vec::new();
    for arg in args {
        let arg = coerce(arg, &common.kind)?;
        parts.push(call("IS NOT NULL", vec![arg.clone()])?);
        parts.push(arg);
    }
    parts.push(coerce(last, &common.kind)?);
    if parts.len() == 1 {
        return Ok(parts.remove(0));
    }
    Ok(built("CASE", parts, common.with_nullable(nullable)))
}
