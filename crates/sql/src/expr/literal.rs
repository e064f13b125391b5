//! Making constants. Invariant: a literal's array has length 1 and exactly the Arrow type of its `DataType`.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int32Array, Int64Array, StringArray, new_null_array};
use streamkeeper_connectors::schema::{DataType, TypeKind};

use super::ScalarExpr;

/// A constant of the given type; `value` has length 1.
pub fn literal(value: ArrayRef, data_type: DataType) -> ScalarExpr {
    ScalarExpr::Literal { value, data_type }
}

fn not_null(value: ArrayRef, kind: TypeKind) -> ScalarExpr {
    literal(value, DataType::from(kind).not_null())
}

/// An INT.
pub fn literal_int(value: i32) -> ScalarExpr {
    not_null(Arc::new(Int32Array::from(vec![value])), TypeKind::Int)
}

/// A BIGINT.
pub fn literal_bigint(value: i64) -> ScalarExpr {
    not_null(Arc::new(Int64Array::from(vec![value])), TypeKind::BigInt)
}

/// A BOOLEAN.
pub fn literal_boolean(value: bool) -> ScalarExpr {
    not_null(Arc::new(BooleanArray::from(vec![value])), TypeKind::Boolean)
}

/// A CHAR of the text's own length, in code points.
pub fn literal_string(value: &str) -> ScalarExpr {
    let length = u32::try_from(value.chars().count()).unwrap_or(u32::MAX);
    not_null(Arc::new(StringArray::from(vec![value])), TypeKind::Char(length))
}

/// An INTERVAL DAY TO SECOND of so many milliseconds.
pub fn literal_interval_day_time(milliseconds: i64) -> ScalarExpr {
    not_null(Arc::new(Int64Array::from(vec![milliseconds])), TypeKind::IntervalDayTime)
}

/// An INTERVAL YEAR TO MONTH of so many months.
pub fn literal_interval_year_month(months: i32) -> ScalarExpr {
    not_null(Arc::new(Int32Array::from(vec![months])), TypeKind::IntervalYearMonth)
}

/// NULL of the given type.
pub fn literal_null(data_type: DataType) -> ScalarExpr {
    let data_type = data_type.with_nullable(true);
    literal(new_null_array(&data_type.to_arrow(), 1), data_type)
}
