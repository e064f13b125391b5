//! Functions on numbers, and GREATEST, LEAST, RAND and UUID.
//!
//! Invariant: what Flink computes in DOUBLE gets DOUBLE arguments; ABS, SIGN, CEIL, FLOOR, ROUND and TRUNCATE keep the
//! kind of number they get.

use std::cell::Cell;
use std::cmp::Ordering;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Decimal128Array, Float64Array, Int32Array, StringArray, make_comparator,
};
use arrow::compute::{SortOptions, interleave};
use arrow::datatypes::{
    DataType as ArrowType, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type,
};
use streamkeeper_connectors::schema::{DataType, MAX_LENGTH, TypeKind};

use super::Kernel;
use crate::expr::cast_text::{double_text, float_text, parse_decimal};
use crate::expr::decimal::{fits, rescale};
use crate::expr::eval::Args;
use crate::expr::infer::{arity, built, coerce, wrong_types};
use crate::expr::types::{common_type, exact_digits, is_integer, is_numeric};
use crate::expr::{EvalError, FunctionError, ScalarExpr, literal_int};

/// The functions by name.
pub(crate) const FUNCTIONS: &[(&str, Kernel)] = &[
    ("ABS", abs),
    ("ACOS", |a| double(a, f64::acos)),
    ("ASIN", |a| double(a, f64::asin)),
    ("ATAN", |a| double(a, f64::atan)),
    ("ATAN2", |a| doubles(a, f64::atan2)),
    ("BIN", bin),
    ("CEIL", |a| {
        if a.len() == 2 {
            super::temporal::floor(a, true)
        } else {
            whole(a, f64::ceil, |v, unit| -(-v).div_euclid(unit))
        }
    }),
    ("COS", |a| double(a, f64::cos)),
    ("COSH", |a| double(a, f64::cosh)),
    ("COT", |a| double(a, |x| 1.0 / x.tan())),
    ("DEGREES", |a| double(a, |x| x * (180.0 / std::f64::consts::PI))),
    ("E", |a| constant(a, std::f64::consts::E)),
    ("EXP", |a| double(a, f64::exp)),
    ("FLOOR", |a| {
        if a.len() == 2 { super::temporal::floor(a, false) } else { whole(a, f64::floor, i128::div_euclid) }
    }),
    ("GREATEST", |a| extreme(a, Ordering::Greater)),
    ("LEAST", |a| extreme(a, Ordering::Less)),
    ("LN", |a| double(a, f64::ln)),
    ("LOG", log),
    ("LOG10", |a| double(a, f64::log10)),
    ("LOG2", |a| double(a, |x| x.ln() / std::f64::consts::LN_2)),
    ("PI", |a| constant(a, std::f64::consts::PI)),
    ("POWER", |a| doubles(a, f64::powf)),
    ("RADIANS", |a| double(a, |x| x * (std::f64::consts::PI / 180.0))),
    ("RAND", rand),
    ("RAND_INTEGER", rand_integer),
    ("ROUND", |a| shorten(a, true)),
    ("SIGN", sign),
    ("SIN", |a| double(a, f64::sin)),
    ("SINH", |a| double(a, f64::sinh)),
    ("SQRT", |a| double(a, f64::sqrt)),
    ("TAN", |a| double(a, f64::tan)),
    ("TANH", |a| double(a, f64::tanh)),
    ("TRUNCATE", |a| shorten(a, false)),
    ("UUID", uuid),
];

/// Coerces the arguments of one of [`FUNCTIONS`] and infers its type.
pub(crate) fn infer(name: &'static str, args: Vec<ScalarExpr>) -> Result<ScalarExpr, FunctionError> {
    let nullable = args.iter().any(|a| a.data_type().nullable);
    let of = |kind: TypeKind| DataType { kind, nullable };
    let number = |a: &ScalarExpr| is_numeric(&a.data_type().kind) || a.data_type().kind == TypeKind::Null;
    if !matches!(name, "GREATEST" | "LEAST") && !args.iter().all(number) {
        return Err(wrong_types(name, &args));
    }
    match name {
        "PI" | "E" => {
            arity(name, &args, 0, 0)?;
            Ok(built(name, args, of(TypeKind::Double)))
        }
        "UUID" => {
            arity(name, &args, 0, 0)?;
            Ok(built(name, args, of(TypeKind::Char(36))))
        }
        "RAND" => {
            arity(name, &args, 0, 1)?;
            Ok(built(name, all(args, &TypeKind::Int)?, of(TypeKind::Double)))
        }
        "RAND_INTEGER" => {
            arity(name, &args, 1, 2)?;
            Ok(built(name, all(args, &TypeKind::Int)?, of(TypeKind::Int)))
        }
        "BIN" => {
            arity(name, &args, 1, 1)?;
            let kind = &args[0].data_type().kind;
            if !is_integer(kind) && *kind != TypeKind::Null {
                return Err(wrong_types(name, &args));
            }
            Ok(built(name, all(args, &TypeKind::BigInt)?, of(TypeKind::Varchar(MAX_LENGTH))))
        }
        "GREATEST" | "LEAST" => {
            arity(name, &args, 1, usize::MAX)?;
            let types: Vec<_> = args.iter().map(|a| a.data_type().clone()).collect();
            let comparable =
                |k: &TypeKind| !matches!(k, TypeKind::Array(_) | TypeKind::Map(..) | TypeKind::Row(_));
            match common_type(&types).filter(|t| comparable(&t.kind)) {
                Some(common) => Ok(built(name, all(args, &common.kind)?, common)),
                None => Err(wrong_types(name, &args)),
            }
        }
        "ABS" | "SIGN" => {
            arity(name, &args, 1, 1)?;
            let data_type = args[0].data_type().clone();
            Ok(built(name, args, data_type))
        }
        "CEIL" | "FLOOR" => {
            arity(name, &args, 1, 1)?;
            let data_type = match args[0].data_type().kind.clone() {
                TypeKind::Decimal { precision, .. } => of(TypeKind::Decimal { precision, scale: 0 }),
                kind => of(kind),
            };
            Ok(built(name, args, data_type))
        }
        "ROUND" | "TRUNCATE" => {
            arity(name, &args, 1, 2)?;
            let mut args = args.into_iter();
            let value = args.next().expect("counted");
            let digits = coerce(args.next().unwrap_or_else(|| literal_int(0)), &TypeKind::Int)?;
            let kind = rounded_kind(&value.data_type().kind, literal_digits(&digits));
            Ok(built(name, vec![value, digits], of(kind)))
        }
        "LOG" => {
            arity(name, &args, 1, 2)?;
            Ok(built(name, all(args, &TypeKind::Double)?, of(TypeKind::Double)))
        }
        _ => {
            let count = if matches!(name, "POWER" | "ATAN2") { 2 } else { 1 };
            arity(name, &args, count, count)?;
            Ok(built(name, all(args, &TypeKind::Double)?, of(TypeKind::Double)))
        }
    }
}

fn all(args: Vec<ScalarExpr>, kind: &TypeKind) -> Result<Vec<ScalarExpr>, FunctionError> {
    args.into_iter().map(|a| coerce(a, kind)).collect()
}

/// The value of an INT literal.
pub(crate) fn literal_digits(digits: &ScalarExpr) -> Option<i32> {
    use arrow::array::AsArray;
    match digits {
        ScalarExpr::Literal { value, .. } => value
            .as_primitive_opt::<Int32Type>()
            .filter(|v| v.len() == 1 && v.is_valid(0))
            .map(|v| v.value(0)),
        ScalarExpr::Call { function: "-", args, .. } if args.len() == 1 => {
            literal_digits(&args[0]).and_then(i32::checked_neg)
        }
        _ => None,
    }
}

/// The type of a number cut to `digits` after the point, when that is known.
fn rounded_kind(kind: &TypeKind, digits: Option<i32>) -> TypeKind {
    let (TypeKind::Decimal { precision, scale }, Some(digits)) = (kind, digits) else { return kind.clone() };
    if digits >= i32::from(*scale) {
        return kind.clone();
    }
    let scale_to = digits.max(0) as u8;
    TypeKind::Decimal { precision: (1 + precision - scale + scale_to).min(38), scale: scale_to }
}

fn double(a: &Args<'_>, f: impl Fn(f64) -> f64) -> Result<ArrayRef, EvalError> {
    Ok(Arc::new(a.prim::<Float64Type>(0).array.unary::<_, Float64Type>(f)))
}

fn doubles(a: &Args<'_>, f: impl Fn(f64, f64) -> f64) -> Result<ArrayRef, EvalError> {
    let (x, y) = (a.prim::<Float64Type>(0), a.prim::<Float64Type>(1));
    let one = |i| Some(f(x.get(i)?, y.get(i)?));
    Ok(Arc::new((0..a.rows).map(one).collect::<Float64Array>()))
}

fn constant(a: &Args<'_>, value: f64) -> Result<ArrayRef, EvalError> {
    Ok(Arc::new(Float64Array::from(vec![value; a.rows])))
}

fn log(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    if a.len() == 1 { double(a, f64::ln) } else { doubles(a, |base, x| x.ln() / base.ln()) }
}

fn bin(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let x = a.prim::<Int64Type>(0);
    Ok(Arc::new((0..a.rows).map(|i| Some(format!("{:b}", x.get(i)?))).collect::<StringArray>()))
}

fn no_number(a: &Args<'_>) -> EvalError {
    EvalError(format!("{} is not a number", a.types[0].kind))
}

fn decimals(a: &Args<'_>, values: impl Iterator<Item = Option<i128>>) -> Result<ArrayRef, EvalError> {
    let TypeKind::Decimal { precision, scale } = a.data_type.kind else { return Err(no_number(a)) };
    let values: Decimal128Array = values.map(|v| v.filter(|v| fits(*v, precision))).collect();
    Ok(Arc::new(values.with_precision_and_scale(precision, scale as i8)?))
}

fn scale_of(data_type: &DataType) -> u32 {
    exact_digits(&data_type.kind).map_or(0, |(_, scale)| scale)
}

fn abs(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    Ok(match a.values[0].array().data_type() {
        ArrowType::Int8 => Arc::new(a.prim::<Int8Type>(0).array.unary::<_, Int8Type>(i8::wrapping_abs)),
        ArrowType::Int16 => Arc::new(a.prim::<Int16Type>(0).array.unary::<_, Int16Type>(i16::wrapping_abs)),
        ArrowType::Int32 => Arc::new(a.prim::<Int32Type>(0).array.unary::<_, Int32Type>(i32::wrapping_abs)),
        ArrowType::Int64 => Arc::new(a.prim::<Int64Type>(0).array.unary::<_, Int64Type>(i64::wrapping_abs)),
        ArrowType::Float32 => Arc::new(a.prim::<Float32Type>(0).array.unary::<_, Float32Type>(f32::abs)),
        ArrowType::Float64 => Arc::new(a.prim::<Float64Type>(0).array.unary::<_, Float64Type>(f64::abs)),
        ArrowType::Decimal128(..) => {
            return decimals(a, a.prim::<Decimal128Type>(0).array.iter().map(|v| v.map(i128::abs)));
        }
        _ => return Err(no_number(a)),
    })
}

fn sign(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let signum = |x: f64| {
        if x > 0.0 {
            1.0
        } else if x < 0.0 {
            -1.0
        } else {
            x
        }
    };
    Ok(match a.values[0].array().data_type() {
        ArrowType::Int8 => Arc::new(a.prim::<Int8Type>(0).array.unary::<_, Int8Type>(i8::signum)),
        ArrowType::Int16 => Arc::new(a.prim::<Int16Type>(0).array.unary::<_, Int16Type>(i16::signum)),
        ArrowType::Int32 => Arc::new(a.prim::<Int32Type>(0).array.unary::<_, Int32Type>(i32::signum)),
        ArrowType::Int64 => Arc::new(a.prim::<Int64Type>(0).array.unary::<_, Int64Type>(i64::signum)),
        ArrowType::Float32 => {
            let one = |x: f32| signum(f64::from(x)) as f32;
            Arc::new(a.prim::<Float32Type>(0).array.unary::<_, Float32Type>(one))
        }
        ArrowType::Float64 => Arc::new(a.prim::<Float64Type>(0).array.unary::<_, Float64Type>(signum)),
        ArrowType::Decimal128(..) => {
            let unit = rescale(1, 0, scale_of(&a.types[0])).unwrap_or(1);
            return decimals(
                a,
                a.prim::<Decimal128Type>(0).array.iter().map(|v| v.map(|v| v.signum() * unit)),
            );
        }
        _ => return Err(no_number(a)),
    })
}

fn whole(a: &Args<'_>, float: fn(f64) -> f64, exact: fn(i128, i128) -> i128) -> Result<ArrayRef, EvalError> {
    Ok(match a.values[0].array().data_type() {
        ArrowType::Float32 => {
            let one = |x: f32| float(f64::from(x)) as f32;
            Arc::new(a.prim::<Float32Type>(0).array.unary::<_, Float32Type>(one))
        }
        ArrowType::Float64 => Arc::new(a.prim::<Float64Type>(0).array.unary::<_, Float64Type>(float)),
        ArrowType::Decimal128(..) => {
            let unit = rescale(1, 0, scale_of(&a.types[0])).unwrap_or(i128::MAX);
            return decimals(a, a.prim::<Decimal128Type>(0).array.iter().map(|v| v.map(|v| exact(v, unit))));
        }
        _ => Arc::clone(a.values[0].array()),
    })
}

/// An unscaled number of scale `scale` with `digits` after the point, of the same scale.
fn cut(value: i128, scale: u32, digits: i32, half_up: bool) -> Option<i128> {
    if i64::from(digits) >= i64::from(scale) {
        return Some(value);
    }
    let drop = u32::try_from(i64::from(scale) - i64::from(digits)).ok()?;
    let Some(unit) = 10i128.checked_pow(drop) else { return Some(0) };
    let cut = if half_up { rescale(value, drop, 0)? } else { value / unit };
    cut.checked_mul(unit)
}

fn float_cut(value: f64, text: impl Fn() -> String, digits: i32, half_up: bool) -> f64 {
    if !value.is_finite() || value == 0.0 {
        return value;
    }
    if (0..=18).contains(&digits) {
        let unit = 10f64.powi(digits);
        let scaled = value * unit;
        let rest = scaled.abs().fract();
        let far = |from: f64| (rest - from).abs() > 1e-4;
        // The quotient of two exactly held numbers is the nearest double to the decimal; only near a tie the digits of
        // the text decide.
        if scaled.abs() < 1e11 && if half_up { far(0.5) } else { far(0.0) && far(1.0) } {
            return (if half_up { scaled.round() } else { scaled.trunc() }) / unit + 0.0;
        }
    }
    let keep = digits.clamp(0, 18).unsigned_abs();
    let text = text();
    let guard = (keep + 18).min(36);
    let decimal = parse_decimal(&text, guard).and_then(|v| cut(v, guard, digits, half_up));
    decimal.map_or(value, |v| crate::expr::cast_text::decimal_text(v, guard).parse().unwrap_or(value) + 0.0)
}

fn shorten(a: &Args<'_>, half_up: bool) -> Result<ArrayRef, EvalError> {
    let digits = a.prim::<Int32Type>(1);
    macro_rules! integers {
        ($type:ty, $native:ty) => {{
            let x = a.prim::<$type>(0);
            let one = |i| {
                let (x, digits) = (x.get(i)?, digits.get(i)?);
                let same = digits >= 0;
                Some(if same { x } else { cut(i128::from(x), 0, digits, half_up)? as $native })
            };
            Arc::new((0..a.rows).map(one).collect::<arrow::array::PrimitiveArray<$type>>())
        }};
    }
    Ok(match a.values[0].array().data_type() {
        ArrowType::Int8 => integers!(Int8Type, i8),
        ArrowType::Int16 => integers!(Int16Type, i16),
        ArrowType::Int32 => integers!(Int32Type, i32),
        ArrowType::Int64 => integers!(Int64Type, i64),
        ArrowType::Float32 => {
            let x = a.prim::<Float32Type>(0);
            let one = |i| {
                let x = x.get(i)?;
                // The text of a FLOAT has fewer digits than that of the same DOUBLE: 2.345 is not 2.3450000286.
                let wide = float_text(x).parse().unwrap_or(f64::from(x));
                Some(float_cut(wide, || float_text(x), digits.get(i)?, half_up) as f32)
            };
            Arc::new((0..a.rows).map(one).collect::<arrow::array::Float32Array>())
        }
        ArrowType::Float64 => {
            let x = a.prim::<Float64Type>(0);
            let one = |i| {
                let x = x.get(i)?;
                Some(float_cut(x, || double_text(x), digits.get(i)?, half_up))
            };
            Arc::new((0..a.rows).map(one).collect::<Float64Array>())
        }
        ArrowType::Decimal128(..) => {
            let (from, to) = (scale_of(&a.types[0]), scale_of(a.data_type));
            let x = a.prim::<Decimal128Type>(0);
            let one = |i| rescale(cut(x.get(i)?, from, digits.get(i)?, half_up)?, from, to);
            return decimals(a, (0..a.rows).map(one));
        }
        _ => return Err(no_number(a)),
    })
}

/// NULL when an argument is NULL.
fn extreme(a: &Args<'_>, wanted: Ordering) -> Result<ArrayRef, EvalError> {
    let columns: Vec<_> = (0..a.len()).map(|i| a.any(i)).collect();
    let null = arrow::array::new_null_array(&a.data_type.to_arrow(), 1);
    let mut parts: Vec<&dyn Array> = columns.iter().map(|c| c.array.as_ref() as &dyn Array).collect();
    let mut compare = Vec::new();
    for (i, left) in parts.iter().enumerate() {
        for right in &parts[..i] {
            compare.push(make_comparator(*left, *right, SortOptions::default())?);
        }
    }
    parts.push(null.as_ref());
    let pick = |row: usize| {
        let mut best: Option<(usize, usize)> = None;
        for (i, column) in columns.iter().enumerate() {
            let Some(at) = column.index(row) else { return (columns.len(), 0) };
            match best {
                Some((j, old)) if compare[i * (i - 1) / 2 + j](at, old) != wanted => {}
                _ => best = Some((i, at)),
            }
        }
        best.unwrap_or((columns.len(), 0))
    };
    let picked: Vec<_> = (0..a.rows).map(pick).collect();
    Ok(interleave(&parts, &picked)?)
}

/// The generator of `java.util.Random`, which Flink's seeded functions draw from.
struct JavaRandom(u64);

impl JavaRandom {
    const MASK: u64 = (1 << 48) - 1;

    fn new(seed: i64) -> Self {
        Self((seed as u64 ^ 0x5_DEEC_E66D) & Self::MASK)
    }

    fn next(&mut self, bits: u32) -> i32 {
        self.0 = self.0.wrapping_mul(0x5_DEEC_E66D).wrapping_add(0xB) & Self::MASK;
        (self.0 >> (48 - bits)) as u32 as i32
    }

    fn double(&mut self) -> f64 {
        let high = i64::from(self.next(26)) << 27;
        (high + i64::from(self.next(27))) as f64 / (1u64 << 53) as f64
    }

    /// `bound` is positive.
    fn below(&mut self, bound: i32) -> i32 {
        if bound & (bound - 1) == 0 {
            return ((i64::from(bound) * i64::from(self.next(31))) >> 31) as i32;
        }
        loop {
            let bits = self.next(31);
            let value = bits % bound;
            if bits.wrapping_sub(value).wrapping_add(bound - 1) >= 0 {
                return value;
            }
        }
    }
}

/// A number that nobody can predict.
fn entropy() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(std::hash::RandomState::new().build_hasher().finish());
    }
    STATE.with(|state| {
        let next = state.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        state.set(next);
        let mixed = (next ^ (next >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    })
}

/// Draws one number per row; a seeded sequence goes on from batch to batch.
fn draw<T>(
    a: &Args<'_>,
    seed: Option<usize>,
    mut next: impl FnMut(&mut JavaRandom, usize) -> Result<Option<T>, EvalError>,
) -> Result<Vec<Option<T>>, EvalError> {
    use std::sync::atomic::Ordering::Relaxed;
    let kept = a.memory.load(Relaxed);
    let mut random = match (seed, kept) {
        (None, _) => JavaRandom::new(entropy() as i64),
        (Some(_), kept) if kept != 0 => JavaRandom(kept & JavaRandom::MASK),
        (Some(at), _) => match (0..a.rows).find_map(|row| a.prim::<Int32Type>(at).get(row)) {
            Some(seed) => JavaRandom::new(i64::from(seed)),
            None => return Ok((0..a.rows).map(|_| None).collect()),
        },
    };
    let drawn = (0..a.rows).map(|row| match seed {
        Some(at) if a.prim::<Int32Type>(at).get(row).is_none() => Ok(None),
        _ => next(&mut random, row),
    });
    let drawn = drawn.collect::<Result<Vec<_>, _>>()?;
    if seed.is_some() {
        a.memory.store(random.0 | 1 << 48, Relaxed);
    }
    Ok(drawn)
}

fn rand(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let seed = (a.len() == 1).then_some(0);
    Ok(Arc::new(Float64Array::from(draw(a, seed, |random, _| Ok(Some(random.double())))?)))
}

fn rand_integer(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let seed = (a.len() == 2).then_some(0);
    let bound = a.prim::<Int32Type>(a.len() - 1);
    let one = |random: &mut JavaRandom, row| match bound.get(row) {
        None => Ok(None),
        Some(bound) if bound <= 0 => {
            Err(EvalError(format!("the bound {bound} must be positive; give one of at least 1")))
        }
        Some(bound) => Ok(Some(random.below(bound))),
    };
    Ok(Arc::new(Int32Array::from(draw(a, seed, one)?)))
}

fn uuid(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let one = |_| {
        let (high, low) = (entropy(), entropy());
        let (high, low) = (high & !0xF000 | 0x4000, low & !(3 << 62) | 1 << 63);
        format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            high >> 32,
            high >> 16 & 0xFFFF,
            high & 0xFFFF,
            low >> 48,
            low & 0xFFFF_FFFF_FFFF
        )
    };
    Ok(Arc::new((0..a.rows).map(|row| Some(one(row))).collect::<StringArray>()))
}
