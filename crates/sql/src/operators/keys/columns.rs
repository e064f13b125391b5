//! Integer-like columns as `i64`, which is what most keys are.
//!
//! Invariant: what [`widen`] takes, [`is_integer_like`] names and [`narrow`] gives back.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType as ArrowType, Date32Type, Int8Type, Int16Type, Int32Type, Int64Type,
    Time32MillisecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType,
};

/// The values of an integer-like column (booleans, dates, times, timestamps too) as `i64`; `None` for other types.
pub(crate) fn widen(column: &ArrayRef) -> Option<Cow<'_, [i64]>> {
    fn of<T: ArrowPrimitiveType>(column: &ArrayRef) -> Cow<'_, [i64]>
    where
        i64: From<T::Native>,
    {
        Cow::Owned(column.as_primitive::<T>().values().iter().map(|v| i64::from(*v)).collect())
    }
    Some(match column.data_type() {
        ArrowType::Int64 => Cow::Borrowed(column.as_primitive::<Int64Type>().values()),
        ArrowType::Timestamp(TimeUnit::Millisecond, _) => {
            Cow::Borrowed(column.as_primitive::<TimestampMillisecondType>().values())
        }
        ArrowType::Timestamp(TimeUnit::Microsecond, _) => {
            Cow::Borrowed(column.as_primitive::<TimestampMicrosecondType>().values())
        }
        ArrowType::Timestamp(TimeUnit::Nanosecond, _) => {
            Cow::Borrowed(column.as_primitive::<TimestampNanosecondType>().values())
        }
        ArrowType::Int8 => of::<Int8Type>(column),
        ArrowType::Int16 => of::<Int16Type>(column),
        ArrowType::Int32 => of::<Int32Type>(column),
        ArrowType::Date32 => of::<Date32Type>(column),
        ArrowType::Time32(TimeUnit::Millisecond) => of::<Time32MillisecondType>(column),
        ArrowType::Boolean => Cow::Owned(column.as_boolean().values().iter().map(i64::from).collect()),
        _ => return None,
    })
}

pub(super) fn is_integer_like(data_type: &ArrowType) -> bool {
    matches!(
        data_type,
        ArrowType::Boolean
            | ArrowType::Int8
            | ArrowType::Int16
            | ArrowType::Int32
            | ArrowType::Int64
            | ArrowType::Date32
            | ArrowType::Time32(TimeUnit::Millisecond)
            | ArrowType::Timestamp(TimeUnit::Millisecond | TimeUnit::Microsecond | TimeUnit::Nanosecond, _)
    )
}

/// The inverse of [`widen`]: `values` as an array of `data_type`.
pub(crate) fn narrow(values: Vec<i64>, nulls: Option<NullBuffer>, data_type: &ArrowType) -> ArrayRef {
    fn of<T: ArrowPrimitiveType>(values: Vec<i64>, nulls: Option<NullBuffer>) -> ArrayRef
    where
        T::Native: TryFrom<i64> + Default,
    {
        let values =
            values.into_iter().map(|v| T::Native::try_from(v).unwrap_or_default()).collect::<Vec<_>>();
        Arc::new(PrimitiveArray::<T>::new(values.into(), nulls))
    }
    match data_type {
        ArrowType::Timestamp(unit, zone) => match unit {
            TimeUnit::Microsecond => Arc::new(
                PrimitiveArray::<TimestampMicrosecondType>::new(values.into(), nulls)
                    .with_timezone_opt(zone.clone()),
            ),
            TimeUnit::Nanosecond => Arc::new(
                PrimitiveArray::<TimestampNanosecondType>::new(values.into(), nulls)
                    .with_timezone_opt(zone.clone()),
            ),
            _ => Arc::new(
                PrimitiveArray::<TimestampMillisecondType>::new(values.into(), nulls)
                    .with_timezone_opt(zone.clone()),
            ),
        },
        ArrowType::Int8 => of::<Int8Type>(values, nulls),
        ArrowType::Int16 => of::<Int16Type>(values, nulls),
        ArrowType::Int32 => of::<Int32Type>(values, nulls),
        ArrowType::Date32 => of::<Date32Type>(values, nulls),
        ArrowType::Time32(_) => of::<Time32MillisecondType>(values, nulls),
        ArrowType::Boolean => {
            let bits = values.iter().map(|v| *v != 0).collect();
            Arc::new(arrow::array::BooleanArray::new(bits, nulls))
        }
        _ => Arc::new(Int64Array::new(values.into(), nulls)),
    }
}
