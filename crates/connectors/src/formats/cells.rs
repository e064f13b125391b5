//! The values of an array, found out once per batch which type they have: what encoders read from.

use arrow::array::{
    Array, AsArray, BinaryArray, BooleanArray, ListArray, MapArray, PrimitiveArray, StringArray, StructArray,
};
use arrow::datatypes::{
    DataType as ArrowType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, Time32MillisecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType,
};
use streamkeeper_dataflow::{OperatorError, OperatorResult};

/// An array of a known type.
pub(crate) enum Cells<'a> {
    Boolean(&'a BooleanArray),
    TinyInt(&'a PrimitiveArray<Int8Type>),
    SmallInt(&'a PrimitiveArray<Int16Type>),
    Int(&'a PrimitiveArray<Int32Type>),
    BigInt(&'a PrimitiveArray<Int64Type>),
    Float(&'a PrimitiveArray<Float32Type>),
    Double(&'a PrimitiveArray<Float64Type>),
    Decimal(&'a PrimitiveArray<Decimal128Type>, i32),
    Text(&'a StringArray),
    Binary(&'a BinaryArray),
    Date(&'a PrimitiveArray<Date32Type>),
    Time(&'a PrimitiveArray<Time32MillisecondType>),
    /// Values, ticks per second, whether it is an instant.
    Timestamp(&'a [i64], i64, bool),
    List(&'a ListArray, Box<Cells<'a>>),
    Map(&'a MapArray, Box<Cells<'a>>, Box<Cells<'a>>),
    Row(&'a StructArray, Vec<Column<'a>>),
    Null,
}

/// An array with its NULLs.
pub(crate) struct Column<'a> {
    pub(crate) array: &'a dyn Array,
    pub(crate) cells: Cells<'a>,
}

impl<'a> Column<'a> {
    pub(crate) fn new(array: &'a dyn Array) -> OperatorResult<Self> {
        Ok(Self { array, cells: cells(array)? })
    }

    #[inline]
    pub(crate) fn is_null(&self, row: usize) -> bool {
        matches!(self.cells, Cells::Null) || self.array.is_null(row)
    }
}

fn cells(array: &dyn Array) -> OperatorResult<Cells<'_>> {
    Ok(match array.data_type() {
        ArrowType::Boolean => Cells::Boolean(array.as_boolean()),
        ArrowType::Int8 => Cells::TinyInt(array.as_primitive()),
        ArrowType::Int16 => Cells::SmallInt(array.as_primitive()),
        ArrowType::Int32 => Cells::Int(array.as_primitive()),
        ArrowType::Int64 => Cells::BigInt(array.as_primitive()),
        ArrowType::Float32 => Cells::Float(array.as_primitive()),
        ArrowType::Float64 => Cells::Double(array.as_primitive()),
        ArrowType::Decimal128(_, scale) => Cells::Decimal(array.as_primitive(), i32::from(*scale)),
        ArrowType::Utf8 => Cells::Text(array.as_string()),
        ArrowType::Binary => Cells::Binary(array.as_binary()),
        ArrowType::Date32 => Cells::Date(array.as_primitive()),
        ArrowType::Time32(TimeUnit::Millisecond) => Cells::Time(array.as_primitive()),
        ArrowType::Timestamp(unit, zone) => {
            let (values, per_second) = match unit {
                TimeUnit::Millisecond => (array.as_primitive::<TimestampMillisecondType>().values(), 1_000),
                TimeUnit::Microsecond => {
                    (array.as_primitive::<TimestampMicrosecondType>().values(), 1_000_000)
                }
                TimeUnit::Nanosecond => {
                    (array.as_primitive::<TimestampNanosecondType>().values(), 1_000_000_000)
                }
                TimeUnit::Second => return Err(no_form(array.data_type())),
            };
            Cells::Timestamp(values, per_second, zone.is_some())
        }
        ArrowType::List(_) => {
            let list = array.as_list::<i32>();
            Cells::List(list, Box::new(cells(list.values())?))
        }
        ArrowType::Map(..) => {
            let map = array.as_map();
            Cells::Map(map, Box::new(cells(map.keys())?), Box::new(cells(map.values())?))
        }
        ArrowType::Struct(_) => {
            let row = array.as_struct();
            let fields = row.columns().iter().map(|c| Column::new(c.as_ref())).collect::<Result<_, _>>()?;
            Cells::Row(row, fields)
        }
        ArrowType::Null => Cells::Null,
        other => return Err(no_form(other)),
    })
}

fn no_form(data_type: &ArrowType) -> OperatorError {
    OperatorError::fatal(format!("a column of Arrow type {data_type} has no text form"))
}
