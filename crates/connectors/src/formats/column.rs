//! Columns that decoders append to, one value at a time and without an allocation per value.
//!
//! Invariant: between two rows all columns of a decoder have the same length. A row that turns out to be incomplete
//! or malformed is undone with [`Column::truncate`].

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array,
    Int16Array, Int32Array, Int64Array, ListArray, MapArray, NullArray, StringArray, StructArray,
    Time32MillisecondArray, TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::DataType as ArrowType;
use arrow::error::ArrowError;

use crate::schema::{DataType, Field, TypeKind};
use crate::text::number::{self, Decimal};
use crate::text::time;

/// The rows that are NULL, in ascending order: nothing to do for a value that is not.
#[derive(Default)]
pub(crate) struct Nulls(Vec<u32>);

impl Nulls {
    fn truncate(&mut self, rows: usize) {
        while self.0.last().is_some_and(|row| *row as usize >= rows) {
            self.0.pop();
        }
    }

    fn finish(&mut self, rows: usize) -> Option<NullBuffer> {
        if self.0.is_empty() {
            return None;
        }
        let mut valid = vec![true; rows];
        for row in self.0.drain(..) {
            valid[row as usize] = false;
        }
        Some(NullBuffer::new(BooleanBuffer::from(valid)))
    }
}

/// Values of fixed width.
pub(crate) struct Fixed<T> {
    pub(crate) values: Vec<T>,
    nulls: Nulls,
}

impl<T: Default> Fixed<T> {
    fn new() -> Self {
        Self { values: Vec::new(), nulls: Nulls::default() }
    }

    fn push_null(&mut self) {
        self.nulls.0.push(self.values.len() as u32);
        self.values.push(T::default());
    }

    fn truncate(&mut self, rows: usize) {
        self.values.truncate(rows);
        self.nulls.truncate(rows);
    }

    fn take(&mut self) -> (Vec<T>, Option<NullBuffer>) {
        let nulls = self.nulls.finish(self.values.len());
        let capacity = self.values.len();
        (std::mem::replace(&mut self.values, Vec::with_capacity(capacity)), nulls)
    }
}

/// Strings or byte strings, one after the other.
pub(crate) struct Bytes {
    pub(crate) values: Vec<u8>,
    offsets: Vec<i32>,
    nulls: Nulls,
}

impl Bytes {
    fn new() -> Self {
        Self { values: Vec::new(), offsets: vec![0], nulls: Nulls::default() }
    }

    fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    #[inline]
    pub(crate) fn push(&mut self, value: &[u8]) {
        self.values.extend_from_slice(value);
        self.close();
    }

    /// Ends a value whose bytes were appended to `values`.
    #[inline]
    pub(crate) fn close(&mut self) {
        // A batch is bounded far below 2 GiB: 8192 rows of at most the reader's record limit, checked there.
        self.offsets.push(self.values.len() as i32);
    }

    pub(crate) fn value(&self, row: usize) -> &[u8] {
        &self.values[self.offsets[row] as usize..self.offsets[row + 1] as usize]
    }

    fn push_null(&mut self) {
        self.nulls.0.push(self.rows() as u32);
        self.close();
    }

    fn truncate(&mut self, rows: usize) {
        self.offsets.truncate(rows + 1);
        self.values.truncate(self.offsets[rows] as usize);
        self.nulls.truncate(rows);
    }

    fn take(&mut self) -> (OffsetBuffer<i32>, Buffer, Option<NullBuffer>) {
        let nulls = self.nulls.finish(self.rows());
        let capacity = (self.offsets.len(), self.values.len());
        let mut offsets = std::mem::replace(&mut self.offsets, Vec::with_capacity(capacity.0));
        self.offsets.push(0);
        offsets.shrink_to_fit();
        let values = std::mem::replace(&mut self.values, Vec::with_capacity(capacity.1));
        (OffsetBuffer::new(ScalarBuffer::from(offsets)), Buffer::from_vec(values), nulls)
    }
}

/// A repeated value: where each row's items end.
pub(crate) struct Repeated {
    offsets: Vec<i32>,
    nulls: Nulls,
}

impl Repeated {
    fn new() -> Self {
        Self { offsets: vec![0], nulls: Nulls::default() }
    }

    fn truncate(&mut self, rows: usize) -> usize {
        self.offsets.truncate(rows + 1);
        self.nulls.truncate(rows);
        self.offsets[rows] as usize
    }

    fn take(&mut self) -> (OffsetBuffer<i32>, Option<NullBuffer>) {
        let nulls = self.nulls.finish(self.offsets.len() - 1);
        let offsets = std::mem::replace(&mut self.offsets, vec![0]);
        (OffsetBuffer::new(ScalarBuffer::from(offsets)), nulls)
    }
}

/// The column of one type.
pub(crate) enum Column {
    Boolean(Fixed<bool>),
    TinyInt(Fixed<i8>),
    SmallInt(Fixed<i16>),
    Int(Fixed<i32>),
    BigInt(Fixed<i64>),
    Float(Fixed<f32>),
    Double(Fixed<f64>),
    Decimal { values: Fixed<i128>, precision: u8, scale: u8 },
    Text(Bytes),
    Binary(Bytes),
    Date(Fixed<i32>),
    Time(Fixed<i32>),
    Timestamp { values: Fixed<i64>, per_second: i64, zoned: bool },
    List { rows: Repeated, item: Box<Column>, arrow: ArrowType },
    Map { rows: Repeated, key: Box<Column>, value: Box<Column>, arrow: ArrowType },
    Row { len: usize, nulls: Nulls, names: Vec<String>, fields: Vec<Column>, arrow: ArrowType },
    Null(usize),
}

/// Ticks per second of the unit that holds a timestamp of this precision.
pub(crate) fn ticks_per_second(precision: u8) -> i64 {
    match precision {
        0..=3 => 1_000,
        4..=6 => 1_000_000,
        _ => 1_000_000_000,
    }
}

impl Column {
    /// An empty column of a type.
    pub(crate) fn new(data_type: &DataType) -> Self {
        let arrow = data_type.to_arrow();
        match &data_type.kind {
            TypeKind::Char(_) | TypeKind::Varchar(_) => Self::Text(Bytes::new()),
            TypeKind::Binary(_) | TypeKind::Varbinary(_) => Self::Binary(Bytes::new()),
            TypeKind::Boolean => Self::Boolean(Fixed::new()),
            TypeKind::TinyInt => Self::TinyInt(Fixed::new()),
            TypeKind::SmallInt => Self::SmallInt(Fixed::new()),
            TypeKind::Int | TypeKind::IntervalYearMonth => Self::Int(Fixed::new()),
            TypeKind::BigInt | TypeKind::IntervalDayTime => Self::BigInt(Fixed::new()),
            TypeKind::Float => Self::Float(Fixed::new()),
            TypeKind::Double => Self::Double(Fixed::new()),
            TypeKind::Decimal { precision, scale } => {
                Self::Decimal { values: Fixed::new(), precision: *precision, scale: *scale }
            }
            TypeKind::Date => Self::Date(Fixed::new()),
            TypeKind::Time(_) => Self::Time(Fixed::new()),
            TypeKind::Timestamp(p) | TypeKind::TimestampLtz(p) => Self::Timestamp {
                values: Fixed::new(),
                per_second: ticks_per_second(*p),
                zoned: matches!(data_type.kind, TypeKind::TimestampLtz(_)),
            },
            TypeKind::Array(item) => {
                Self::List { rows: Repeated::new(), item: Box::new(Self::new(item)), arrow }
            }
            TypeKind::Map(key, value) => Self::Map {
                rows: Repeated::new(),
                key: Box::new(Self::new(key)),
                value: Box::new(Self::new(value)),
                arrow,
            },
            TypeKind::Multiset(item) => Self::Map {
                rows: Repeated::new(),
                key: Box::new(Self::new(item)),
                value: Box::new(Self::Int(Fixed::new())),
                arrow,
            },
            TypeKind::Row(fields) => Self::Row {
                len: 0,
                nulls: Nulls::default(),
                names: fields.iter().map(|f| f.name.clone()).collect(),
                fields: fields.iter().map(|f: &Field| Self::new(&f.data_type)).collect(),
                arrow,
            },
            TypeKind::Null => Self::Null(0),
        }
    }

    /// Number of values.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Boolean(c) => c.values.len(),
            Self::TinyInt(c) => c.values.len(),
            Self::SmallInt(c) => c.values.len(),
            Self::Int(c) | Self::Date(c) | Self::Time(c) => c.values.len(),
            Self::BigInt(c) | Self::Timestamp { values: c, .. } => c.values.len(),
            Self::Float(c) => c.values.len(),
            Self::Double(c) => c.values.len(),
            Self::Decimal { values: c, .. } => c.values.len(),
            Self::Text(c) | Self::Binary(c) => c.rows(),
            Self::List { rows, .. } | Self::Map { rows, .. } => rows.offsets.len() - 1,
            Self::Row { len, .. } | Self::Null(len) => *len,
        }
    }

    /// Bytes that its values take, roughly.
    pub(crate) fn num_bytes(&self) -> usize {
        match self {
            Self::Text(c) | Self::Binary(c) => c.values.len(),
            Self::List { item, .. } => item.num_bytes(),
            Self::Map { key, value, .. } => key.num_bytes() + value.num_bytes(),
            Self::Row { fields, .. } => fields.iter().map(Self::num_bytes).sum(),
            other => other.len() * 8,
        }
    }

    /// Appends NULL.
    pub(crate) fn push_null(&mut self) {
        match self {
            Self::Boolean(c) => c.push_null(),
            Self::TinyInt(c) => c.push_null(),
            Self::SmallInt(c) => c.push_null(),
            Self::Int(c) | Self::Date(c) | Self::Time(c) => c.push_null(),
            Self::BigInt(c) | Self::Timestamp { values: c, .. } => c.push_null(),
            Self::Float(c) => c.push_null(),
            Self::Double(c) => c.push_null(),
            Self::Decimal { values: c, .. } => c.push_null(),
            Self::Text(c) | Self::Binary(c) => c.push_null(),
            Self::List { rows, .. } | Self::Map { rows, .. } => {
                rows.nulls.0.push((rows.offsets.len() - 1) as u32);
                let end = *rows.offsets.last().expect("offsets begin with 0");
                rows.offsets.push(end);
            }
            Self::Row { len, nulls, fields, .. } => {
                nulls.0.push(*len as u32);
                fields.iter_mut().for_each(Self::push_null);
                *len += 1;
            }
            Self::Null(len) => *len += 1,
        }
    }

    /// Ends the row of a list or map: its items are those appended since the last row; or of a nested row.
    pub(crate) fn close_row(&mut self) {
        match self {
            Self::List { rows, item, .. } => rows.offsets.push(item.len() as i32),
            Self::Map { rows, key, .. } => rows.offsets.push(key.len() as i32),
            Self::Row { len, .. } => *len += 1,
            _ => {}
        }
    }

    /// Undoes all but the first `rows` values.
    pub(crate) fn truncate(&mut self, rows: usize) {
        match self {
            Self::Boolean(c) => c.truncate(rows),
            Self::TinyInt(c) => c.truncate(rows),
            Self::SmallInt(c) => c.truncate(rows),
            Self::Int(c) | Self::Date(c) | Self::Time(c) => c.truncate(rows),
            Self::BigInt(c) | Self::Timestamp { values: c, .. } => c.truncate(rows),
            Self::Float(c) => c.truncate(rows),
            Self::Double(c) => c.truncate(rows),
            Self::Decimal { values: c, .. } => c.truncate(rows),
            Self::Text(c) | Self::Binary(c) => {
                if c.rows() > rows {
                    c.truncate(rows);
                }
                let end = *c.offsets.last().expect("offsets begin with 0") as usize;
                c.values.truncate(end);
            }
            Self::List { rows: repeated, item, .. } => {
                let rows = rows.min(repeated.offsets.len() - 1);
                item.truncate(repeated.truncate(rows));
            }
            Self::Map { rows: repeated, key, value, .. } => {
                let rows = rows.min(repeated.offsets.len() - 1);
                let items = repeated.truncate(rows);
                key.truncate(items);
                value.truncate(items);
            }
            Self::Row { len, nulls, fields, .. } => {
                *len = rows.min(*len);
                nulls.truncate(*len);
                fields.iter_mut().for_each(|f| f.truncate(*len));
            }
            Self::Null(len) => *len = rows.min(*len),
        }
    }

    /// Appends an integer; false when it is out of the type's range, or the type holds none.
    pub(crate) fn push_integer(&mut self, value: i64) -> bool {
        match self {
            Self::TinyInt(c) => i8::try_from(value).map(|v| c.values.push(v)).is_ok(),
            Self::SmallInt(c) => i16::try_from(value).map(|v| c.values.push(v)).is_ok(),
            Self::Int(c) => i32::try_from(value).map(|v| c.values.push(v)).is_ok(),
            Self::BigInt(c) => {
                c.values.push(value);
                true
            }
            _ => false,
        }
    }

    /// Appends the number that `text` stands for; false when it is none, or out of range.
    pub(crate) fn push_number(&mut self, text: &[u8]) -> bool {
        match self {
            Self::Float(c) => number::parse_f32(text).map(|v| c.values.push(v)).is_some(),
            Self::Double(c) => number::parse_f64(text).map(|v| c.values.push(v)).is_some(),
            Self::Decimal { values, precision, scale } => {
                match number::parse_decimal(text, *precision, *scale) {
                    Some(Decimal::Value(value)) => values.values.push(value),
                    Some(Decimal::Overflow) => values.push_null(),
                    None => return false,
                }
                true
            }
            _ => number::parse_i64(text).is_some_and(|value| self.push_integer(value)),
        }
    }

    /// Appends a date, a time or a timestamp; false when `text` is none.
    pub(crate) fn push_time(&mut self, text: &[u8], format: time::TimestampFormat) -> bool {
        match self {
            Self::Date(c) => time::parse_date(text).map(|days| c.values.push(days as i32)).is_some(),
            Self::Time(c) => {
                time::parse_iso_time(text).map(|nanos| c.values.push((nanos / 1_000_000) as i32)).is_some()
            }
            Self::Timestamp { values, per_second, zoned } => time::parse_timestamp(text, format, *zoned)
                .and_then(|(days, nanos)| time::to_epoch(days, nanos, *per_second))
                .map(|value| values.values.push(value))
                .is_some(),
            _ => false,
        }
    }

    /// The values so far as an array; the column is empty afterwards.
    ///
    /// Strings are checked to be UTF-8 here, once for all of them.
    pub(crate) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        macro_rules! primitive {
            ($column:expr, $array:ty) => {{
                let (values, nulls) = $column.take();
                Arc::new(<$array>::new(ScalarBuffer::from(values), nulls)) as ArrayRef
            }};
        }
        Ok(match self {
            Self::Boolean(c) => {
                let (values, nulls) = c.take();
                Arc::new(BooleanArray::new(BooleanBuffer::from(values), nulls))
            }
            Self::TinyInt(c) => primitive!(c, Int8Array),
            Self::SmallInt(c) => primitive!(c, Int16Array),
            Self::Int(c) => primitive!(c, Int32Array),
            Self::BigInt(c) => primitive!(c, Int64Array),
            Self::Float(c) => primitive!(c, Float32Array),
            Self::Double(c) => primitive!(c, Float64Array),
            Self::Date(c) => primitive!(c, Date32Array),
            Self::Time(c) => primitive!(c, Time32MillisecondArray),
            Self::Decimal { values, precision, scale } => {
                let (values, nulls) = values.take();
                let array = Decimal128Array::new(ScalarBuffer::from(values), nulls);
                Arc::new(array.with_precision_and_scale(*precision, *scale as i8)?)
            }
            Self::Timestamp { values, per_second, zoned } => {
                let (values, nulls) = values.take();
                let values = ScalarBuffer::from(values);
                let zone = zoned.then(|| Arc::<str>::from("UTC"));
                match per_second {
                    1_000 => Arc::new(TimestampMillisecondArray::new(values, nulls).with_timezone_opt(zone)),
                    1_000_000 => {
                        Arc::new(TimestampMicrosecondArray::new(values, nulls).with_timezone_opt(zone))
                    }
                    _ => Arc::new(TimestampNanosecondArray::new(values, nulls).with_timezone_opt(zone)),
                }
            }
            Self::Text(c) => {
                let (offsets, values, nulls) = c.take();
                Arc::new(StringArray::try_new(offsets, values, nulls)?)
            }
            Self::Binary(c) => {
                let (offsets, values, nulls) = c.take();
                Arc::new(BinaryArray::try_new(offsets, values, nulls)?)
            }
            Self::List { rows, item, arrow } => {
                let (offsets, nulls) = rows.take();
                let ArrowType::List(field) = arrow else { return Err(shape(arrow)) };
                Arc::new(ListArray::try_new(field.clone(), offsets, item.finish()?, nulls)?)
            }
            Self::Map { rows, key, value, arrow } => {
                let (offsets, nulls) = rows.take();
                let ArrowType::Map(entries, sorted) = arrow else { return Err(shape(arrow)) };
                let ArrowType::Struct(fields) = entries.data_type() else { return Err(shape(arrow)) };
                let pairs = StructArray::try_new(fields.clone(), vec![key.finish()?, value.finish()?], None)?;
                Arc::new(MapArray::try_new(entries.clone(), offsets, pairs, nulls, *sorted)?)
            }
            Self::Row { len, nulls, fields, arrow, .. } => {
                let ArrowType::Struct(types) = arrow else { return Err(shape(arrow)) };
                let arrays = fields.iter_mut().map(Self::finish).collect::<Result<Vec<_>, _>>()?;
                let nulls = nulls.finish(*len);
                let rows = std::mem::take(len);
                Arc::new(StructArray::try_new_with_length(types.clone(), arrays, nulls, rows)?)
            }
            Self::Null(len) => Arc::new(NullArray::new(std::mem::take(len))),
        })
    }
}

fn shape(arrow: &ArrowType) -> ArrowError {
    ArrowError::SchemaError(format!("a nested column was declared as {arrow}"))
}

#[cfg(test)]
mod tests {
    use arrow::array::Array;

    use super::*;

    #[test]
    fn a_truncated_column_is_as_if_nothing_had_been_appended() {
        let row = TypeKind::Row(vec![Field::new("a", TypeKind::Int.into())]);
        let mut column = Column::new(&TypeKind::Array(Box::new(row.into())).into());
        column.push_null();
        let Column::List { item, .. } = &mut column else { unreachable!("an ARRAY is a list") };
        let Column::Row { fields, .. } = item.as_mut() else { unreachable!("a ROW is a row") };
        fields[0].push_integer(1);
        item.close_row();
        item.push_null();
        column.close_row();
        column.truncate(1);
        column.close_row();
        let array = column.finish().unwrap();
        assert_eq!((array.len(), array.null_count()), (2, 1));
        assert_eq!(column.len(), 0);
    }
}
