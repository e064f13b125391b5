//! Arithmetic, comparison and logic on whole arrays.
//!
//! Invariant: integers wrap as Java's do, integer and decimal division by zero is an error, a DECIMAL overflow is NULL.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, Datum, Decimal128Array, PrimitiveArray,
    Scalar,
};
use arrow::compute::kernels::{cmp, comparison, numeric};
use arrow::datatypes::{
    ArrowNativeTypeOp, DataType as ArrowType, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type,
};
use streamkeeper_connectors::schema::TypeKind;

use super::decimal::{divide, fits, multiply, rescale};
use super::eval::{Args, Col};
use super::functions::Kernel;
use super::{ColumnarValue, EvalError};

/// `+ - * / %`, and unary `-`.
pub(crate) fn arithmetic_kernel(name: &str) -> Option<Kernel> {
    Some(match name {
        "+" => |a| arithmetic(a, '+'),
        "-" => |a| arithmetic(a, '-'),
        "*" => |a| arithmetic(a, '*'),
        "/" => |a| arithmetic(a, '/'),
        "%" => |a| arithmetic(a, '%'),
        _ => return None,
    })
}

fn arithmetic(a: &Args<'_>, op: char) -> Result<ArrayRef, EvalError> {
    if a.len() == 1 {
        return negate(a);
    }
    if matches!(
        a.types[0].kind,
        TypeKind::Date | TypeKind::Time(_) | TypeKind::Timestamp(_) | TypeKind::TimestampLtz(_)
    ) {
        return super::temporal::add_interval(a, if op == '-' { -1 } else { 1 });
    }
    if let TypeKind::Decimal { precision, scale } = a.data_type.kind {
        return decimal(a, op, precision, scale);
    }
    match a.values[0].array().data_type() {
        ArrowType::Int8 => primitive::<Int8Type>(a, op, true),
        ArrowType::Int16 => primitive::<Int16Type>(a, op, true),
        ArrowType::Int32 => primitive::<Int32Type>(a, op, true),
        ArrowType::Int64 => primitive::<Int64Type>(a, op, true),
        ArrowType::Float32 => primitive::<Float32Type>(a, op, false),
        ArrowType::Float64 => primitive::<Float64Type>(a, op, false),
        other => Err(EvalError(format!("no arithmetic on {other}"))),
    }
}

fn negate(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    Ok(numeric::neg_wrapping(a.values[0].array())?)
}

fn datum(value: &ColumnarValue) -> Box<dyn Datum> {
    match value {
        ColumnarValue::Array(array) => Box::new(Arc::clone(array)),
        ColumnarValue::Scalar(array) => Box::new(Scalar::new(Arc::clone(array))),
    }
}

fn primitive<T: ArrowPrimitiveType>(a: &Args<'_>, op: char, integer: bool) -> Result<ArrayRef, EvalError> {
    let (l, r) = (datum(&a.values[0]), datum(&a.values[1]));
    match op {
        '+' => return Ok(numeric::add_wrapping(l.as_ref(), r.as_ref())?),
        '-' => return Ok(numeric::sub_wrapping(l.as_ref(), r.as_ref())?),
        '*' => return Ok(numeric::mul_wrapping(l.as_ref(), r.as_ref())?),
        _ => {}
    }
    let zero = T::Native::ZERO;
    let run = |x: T::Native, y: T::Native| if op == '/' { x.div_wrapping(y) } else { x.mod_wrapping(y) };
    let (left, right) = (a.prim::<T>(0), a.prim::<T>(1));
    if let ColumnarValue::Scalar(_) = a.values[1] {
        let Some(y) = right.get(0) else {
            return Ok(arrow::array::new_null_array(&T::DATA_TYPE, a.rows));
        };
        if !(integer && y == zero) {
            return Ok(Arc::new(left.array.unary::<_, T>(|x| run(x, y))));
        }
    }
    let one = |i| {
        let (Some(x), Some(y)) = (left.get(i), right.get(i)) else { return Ok(None) };
        if integer && y == zero {
            return Err(EvalError(format!("{x:?} {op} {y:?}: division by zero")));
        }
        Ok(Some(run(x, y)))
    };
    Ok(Arc::new((0..a.rows).map(one).collect::<Result<PrimitiveArray<T>, EvalError>>()?))
}

fn decimal(a: &Args<'_>, op: char, precision: u8, scale: u8) -> Result<ArrayRef, EvalError> {
    let scale_of = |i: usize| match a.types[i].kind {
        TypeKind::Decimal { scale, .. } => u32::from(scale),
        _ => 0,
    };
    let (s1, s2, s) = (scale_of(0), scale_of(1), u32::from(scale));
    let (left, right) = (a.prim::<Decimal128Type>(0), a.prim::<Decimal128Type>(1));
    let common = s1.max(s2);
    let one = |x: i128, y: i128| -> Result<Option<i128>, EvalError> {
        if y == 0 && matches!(op, '/' | '%') {
            return Err(EvalError(format!(
                "{} {op} 0: division by zero",
                super::cast_text::decimal_text(x, s1)
            )));
        }
        let aligned = |f: fn(i128, i128) -> Option<i128>| {
            rescale(f(rescale(x, s1, common)?, rescale(y, s2, common)?)?, common, s)
        };
        Ok(match op {
            '*' => multiply(x, y, s1 + s2, s),
            '/' => divide((x, s1), (y, s2), s),
            '+' => aligned(i128::checked_add),
            '-' => aligned(i128::checked_sub),
            _ => aligned(i128::checked_rem),
        }
        .filter(|v| fits(*v, precision)))
    };
    let rows = (0..a.rows).map(|i| match (left.get(i), right.get(i)) {
        (Some(x), Some(y)) => one(x, y),
        _ => Ok(None),
    });
    let values = rows.collect::<Result<Decimal128Array, _>>()?;
    Ok(Arc::new(values.with_precision_and_scale(precision, scale as i8)?))
}

/// `= <> < <= > >=` and the two DISTINCT forms.
pub(crate) fn comparison_kernel(name: &str) -> Option<Kernel> {
    Some(match name {
        "=" => |a| compare(a, cmp::eq, Ordering::is_eq, false),
        "<>" => |a| compare(a, cmp::neq, Ordering::is_ne, true),
        "<" => |a| compare(a, cmp::lt, Ordering::is_lt, false),
        "<=" => |a| compare(a, cmp::lt_eq, Ordering::is_le, false),
        ">" => |a| compare(a, cmp::gt, Ordering::is_gt, false),
        ">=" => |a| compare(a, cmp::gt_eq, Ordering::is_ge, false),
        "IS DISTINCT FROM" => |a| distinct(a, cmp::distinct),
        "IS NOT DISTINCT FROM" => |a| distinct(a, cmp::not_distinct),
        _ => return None,
    })
}

type CompareKernel = fn(&dyn Datum, &dyn Datum) -> Result<BooleanArray, arrow::error::ArrowError>;

fn distinct(a: &Args<'_>, kernel: CompareKernel) -> Result<ArrayRef, EvalError> {
    Ok(Arc::new(kernel(datum(&a.values[0]).as_ref(), datum(&a.values[1]).as_ref())?))
}

/// Arrow orders floats totally; Java's comparisons treat NaN and -0.0 as IEEE 754 does.
fn compare(
    a: &Args<'_>,
    kernel: CompareKernel,
    holds: fn(Ordering) -> bool,
    of_nan: bool,
) -> Result<ArrayRef, EvalError> {
    match a.values[0].array().data_type() {
        ArrowType::Float32 => Ok(floats(a, &a.prim::<Float32Type>(0), &a.prim(1), holds, of_nan)),
        ArrowType::Float64 => Ok(floats(a, &a.prim::<Float64Type>(0), &a.prim(1), holds, of_nan)),
        _ => distinct(a, kernel),
    }
}

fn floats<T: ArrowPrimitiveType>(
    a: &Args<'_>,
    left: &Col<'_, PrimitiveArray<T>>,
    right: &Col<'_, PrimitiveArray<T>>,
    holds: fn(Ordering) -> bool,
    of_nan: bool,
) -> ArrayRef
where
    T::Native: PartialOrd,
{
    let one = |i| Some(left.get(i)?.partial_cmp(&right.get(i)?).map_or(of_nan, holds));
    Arc::new((0..a.rows).map(one).collect::<BooleanArray>())
}

/// `NOT`.
pub(crate) fn not(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    Ok(Arc::new(arrow::compute::not(a.bool(0).array)?))
}

/// `IS NULL`.
pub(crate) fn is_null(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    Ok(Arc::new(arrow::compute::is_null(a.values[0].array())?))
}

/// `IS NOT NULL`.
pub(crate) fn is_not_null(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    Ok(Arc::new(arrow::compute::is_not_null(a.values[0].array())?))
}

/// `IS [NOT] TRUE`, `IS [NOT] FALSE`: never NULL.
pub(crate) fn is_bool(a: &Args<'_>, value: bool, positive: bool) -> Result<ArrayRef, EvalError> {
    let input = a.values[0].array().as_boolean();
    let one = |v: Option<bool>| Some((v == Some(value)) == positive);
    Ok(Arc::new(input.iter().map(one).collect::<BooleanArray>()))
}

/// `LIKE` without ESCAPE.
pub(crate) fn like(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    Ok(Arc::new(comparison::like(datum(&a.values[0]).as_ref(), datum(&a.values[1]).as_ref())?))
}
