//! Rules on types alone: the least restrictive type of several, and the types of decimal arithmetic.
//!
//! Invariant: a derived DECIMAL never has more than 38 digits; when it would, the scale shrinks, but not under 6.

use streamkeeper_connectors::schema::{DataType, Field, TypeKind};

/// Most digits of a DECIMAL.
pub(crate) const MAX_PRECISION: u8 = 38;

/// Cuts a wanted precision and scale to what a DECIMAL can hold, keeping at least six digits after the point.
pub(crate) fn adjust_decimal(precision: u32, scale: u32) -> TypeKind {
    if precision <= u32::from(MAX_PRECISION) {
        return TypeKind::Decimal { precision: precision.max(1) as u8, scale: scale as u8 };
    }
    let integral = precision - scale;
    let scale = u32::from(MAX_PRECISION).saturating_sub(integral).max(scale.min(6));
    TypeKind::Decimal { precision: MAX_PRECISION, scale: scale as u8 }
}

/// Precision and scale of an exact number.
pub(crate) fn exact_digits(kind: &TypeKind) -> Option<(u32, u32)> {
    Some(match kind {
        TypeKind::TinyInt => (3, 0),
        TypeKind::SmallInt => (5, 0),
        TypeKind::Int => (10, 0),
        TypeKind::BigInt => (19, 0),
        TypeKind::Decimal { precision, scale } => (u32::from(*precision), u32::from(*scale)),
        _ => return None,
    })
}

/// The type of `left operator right` for exact numbers of which at least one is a DECIMAL.
pub(crate) fn decimal_result(operator: &str, left: (u32, u32), right: (u32, u32)) -> TypeKind {
    let ((p1, s1), (p2, s2)) = (left, right);
    match operator {
        "*" => adjust_decimal(p1 + p2 + 1, s1 + s2),
        "/" => {
            let scale = (s1 + p2 + 1).max(6);
            adjust_decimal(p1 - s1 + s2 + scale, scale)
        }
        "%" => {
            let scale = s1.max(s2);
            adjust_decimal((p1 - s1).min(p2 - s2) + scale, scale)
        }
        _ => {
            let scale = s1.max(s2);
            adjust_decimal((p1 - s1).max(p2 - s2) + scale + 1, scale)
        }
    }
}

/// Whether values of the type are numbers.
pub(crate) fn is_numeric(kind: &TypeKind) -> bool {
    is_approximate(kind) || exact_digits(kind).is_some()
}

/// FLOAT and DOUBLE.
pub(crate) fn is_approximate(kind: &TypeKind) -> bool {
    matches!(kind, TypeKind::Float | TypeKind::Double)
}

/// TINYINT to BIGINT.
pub(crate) fn is_integer(kind: &TypeKind) -> bool {
    matches!(kind, TypeKind::TinyInt | TypeKind::SmallInt | TypeKind::Int | TypeKind::BigInt)
}

/// CHAR and VARCHAR.
pub(crate) fn is_string(kind: &TypeKind) -> bool {
    matches!(kind, TypeKind::Char(_) | TypeKind::Varchar(_))
}

/// BINARY and VARBINARY.
pub(crate) fn is_binary(kind: &TypeKind) -> bool {
    matches!(kind, TypeKind::Binary(_) | TypeKind::Varbinary(_))
}

/// The least restrictive type that holds every value of `types` (of CASE, UNION, IN, COALESCE), or `None` when there
/// is none. Nullable when one of them is.
pub fn common_type(types: &[DataType]) -> Option<DataType> {
    let nullable = types.iter().any(|t| t.nullable || t.kind == TypeKind::Null);
    let mut kinds = types.iter().map(|t| &t.kind).filter(|k| **k != TypeKind::Null);
    let Some(first) = kinds.next() else {
        return types.first().map(|_| DataType::from(TypeKind::Null));
    };
    let mut result = first.clone();
    for kind in kinds {
        result = common_kind(&result, kind)?;
    }
    Some(DataType { kind: result, nullable })
}

fn common_kind(a: &TypeKind, b: &TypeKind) -> Option<TypeKind> {
    use TypeKind::{
        Array, Binary, Char, Date, Double, Float, Map, Multiset, Row, Time, Timestamp, TimestampLtz,
        Varbinary, Varchar,
    };
    if a == b {
        return Some(a.clone());
    }
    Some(match (a, b) {
        (Char(m), Char(n)) if m == n => Char(*m),
        (Char(m) | Varchar(m), Char(n) | Varchar(n)) => Varchar(*m.max(n)),
        (Binary(m) | Varbinary(m), Binary(n) | Varbinary(n)) => Varbinary(*m.max(n)),
        (x, y) if is_numeric(x) && is_numeric(y) => match (exact_digits(x), exact_digits(y)) {
            (Some(_), Some(_)) if is_integer(x) && is_integer(y) => {
                if exact_digits(x) > exact_digits(y) {
                    x.clone()
                } else {
                    y.clone()
                }
            }
            (Some((p1, s1)), Some((p2, s2))) => {
                let scale = s1.max(s2);
                adjust_decimal((p1 - s1).max(p2 - s2) + scale, scale)
            }
            (Some(_), None) if *y == Float && !matches!(x, TypeKind::Decimal { .. }) => Float,
            (None, Some(_)) if *x == Float && !matches!(y, TypeKind::Decimal { .. }) => Float,
            _ => Double,
        },
        (Time(m), Time(n)) => Time(*m.max(n)),
        (Timestamp(m), Timestamp(n)) => Timestamp(*m.max(n)),
        (TimestampLtz(m), TimestampLtz(n)) => TimestampLtz(*m.max(n)),
        (Timestamp(m), TimestampLtz(n)) | (TimestampLtz(m), Timestamp(n)) => TimestampLtz(*m.max(n)),
        (Date, Timestamp(n)) | (Timestamp(n), Date) => Timestamp(*n),
        (Date, TimestampLtz(n)) | (TimestampLtz(n), Date) => TimestampLtz(*n),
        (Array(x), Array(y)) => Array(Box::new(common_type(&[(**x).clone(), (**y).clone()])?)),
        (Multiset(x), Multiset(y)) => Multiset(Box::new(common_type(&[(**x).clone(), (**y).clone()])?)),
        (Map(k1, v1), Map(k2, v2)) => Map(
            Box::new(common_type(&[(**k1).clone(), (**k2).clone()])?),
            Box::new(common_type(&[(**v1).clone(), (**v2).clone()])?),
        ),
        (Row(xs), Row(ys)) if xs.len() == ys.len() => Row(xs
            .iter()
            .zip(ys)
            .map(|(x, y)| {
                let data_type = common_type(&[x.data_type.clone(), y.data_type.clone()])?;
                Some(Field::new(x.name.clone(), data_type))
            })
            .collect::<Option<_>>()?),
        _ => return None,
    })
}
