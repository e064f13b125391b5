//! Fields of one value each: numbers, BOOLEAN, STRING and BYTES.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, BinaryArray, BinaryBuilder, BooleanArray, BooleanBuilder, PrimitiveArray,
    PrimitiveBuilder, StringArray, StringBuilder,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type};

use super::{DataType, FieldValue, NotNull, Result, TypeKind, typed};
use crate::error::ConnectorError;
use crate::schema::MAX_LENGTH;

/// A column of numbers.
pub(super) fn write_numbers<A: ArrowPrimitiveType>(
    values: impl Iterator<Item = Option<A::Native>>,
) -> PrimitiveBuilder<A> {
    let mut builder = PrimitiveBuilder::<A>::with_capacity(values.size_hint().0);
    for value in values {
        builder.append_option(value);
    }
    builder
}

macro_rules! number {
    ($type:ty, $kind:ident, $arrow:ty) => {
        impl FieldValue for $type {
            type Reader = PrimitiveArray<$arrow>;

            fn data_type() -> DataType {
                DataType::from(TypeKind::$kind).not_null()
            }

            fn write<'a, I>(values: I, _: &DataType) -> Result<ArrayRef>
            where
                I: Iterator<Item = Option<&'a Self>> + Clone,
            {
                Ok(Arc::new(write_numbers::<$arrow>(values.map(Option::<&$type>::copied)).finish()))
            }

            fn reader(column: &ArrayRef, parent: Option<&NullBuffer>) -> Result<Self::Reader> {
                typed(column, parent, &Self::data_type())
            }

            fn read(reader: &Self::Reader, row: usize) -> Self {
                reader.value(row)
            }
        }

        impl NotNull for $type {}
    };
}

number!(i8, TinyInt, Int8Type);
number!(i16, SmallInt, Int16Type);
number!(i32, Int, Int32Type);
number!(i64, BigInt, Int64Type);
number!(f32, Float, Float32Type);
number!(f64, Double, Float64Type);

impl FieldValue for bool {
    type Reader = BooleanArray;

    fn data_type() -> DataType {
        DataType::from(TypeKind::Boolean).not_null()
    }

    fn write<'a, I>(values: I, _: &DataType) -> Result<ArrayRef>
    where
        I: Iterator<Item = Option<&'a Self>> + Clone,
    {
        let mut builder = BooleanBuilder::with_capacity(values.size_hint().0);
        for value in values {
            builder.append_option(value.copied());
        }
        Ok(Arc::new(builder.finish()))
    }

    fn reader(column: &ArrayRef, parent: Option<&NullBuffer>) -> Result<Self::Reader> {
        typed(column, parent, &Self::data_type())
    }

    fn read(reader: &Self::Reader, row: usize) -> Self {
        reader.value(row)
    }
}

impl NotNull for bool {}

/// The bytes of all values together, which Arrow counts with 31 bits.
fn total_bytes(lengths: impl Iterator<Item = usize>, data_type: &DataType) -> Result<usize> {
    let total: usize = lengths.sum();
    if i32::try_from(total).is_ok() {
        return Ok(total);
    }
    Err(ConnectorError::OutOfRange {
        column: String::new(),
        value: format!("a batch of {total} bytes"),
        data_type: data_type.to_string(),
    })
}

impl FieldValue for String {
    type Reader = StringArray;

    fn data_type() -> DataType {
        DataType::string().not_null()
    }

    fn write<'a, I>(values: I, data_type: &DataType) -> Result<ArrayRef>
    where
        I: Iterator<Item = Option<&'a Self>> + Clone,
    {
        let bytes = total_bytes(values.clone().flatten().map(String::len), data_type)?;
        let mut builder = StringBuilder::with_capacity(values.size_hint().0, bytes);
        for value in values {
            builder.append_option(value);
        }
        Ok(Arc::new(builder.finish()))
    }

    fn reader(column: &ArrayRef, parent: Option<&NullBuffer>) -> Result<Self::Reader> {
        typed(column, parent, &Self::data_type())
    }

    fn read(reader: &Self::Reader, row: usize) -> Self {
        reader.value(row).to_owned()
    }
}

impl NotNull for String {}

impl FieldValue for Vec<u8> {
    type Reader = BinaryArray;

    fn data_type() -> DataType {
        DataType::from(TypeKind::Varbinary(MAX_LENGTH)).not_null()
    }

    fn write<'a, I>(values: I, data_type: &DataType) -> Result<ArrayRef>
    where
        I: Iterator<Item = Option<&'a Self>> + Clone,
    {
        let bytes = total_bytes(values.clone().flatten().map(Vec::len), data_type)?;
        let mut builder = BinaryBuilder::with_capacity(values.size_hint().0, bytes);
        for value in values {
            builder.append_option(value);
        }
        Ok(Arc::new(builder.finish()))
    }

    fn reader(column: &ArrayRef, parent: Option<&NullBuffer>) -> Result<Self::Reader> {
        typed(column, parent, &Self::data_type())
    }

    fn read(reader: &Self::Reader, row: usize) -> Self {
        reader.value(row).to_owned()
    }
}

impl NotNull for Vec<u8> {}
