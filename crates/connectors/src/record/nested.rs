//! Fields made of others: `Option`, ARRAY, MAP and ROW.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanBufferBuilder, ListArray, MapArray, RecordBatch, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType as ArrowType, Field as ArrowField, Fields};

use super::{DataType, FieldValue, NotNull, Record, Result, TypeKind, typed};
use crate::error::ConnectorError;

/// The columns of a batch or of a ROW, by their names.
#[derive(Debug)]
pub struct Cells<'a> {
    fields: &'a Fields,
    columns: &'a [ArrayRef],
    nulls: Option<NullBuffer>,
}

impl<'a> Cells<'a> {
    /// Those of a batch.
    pub fn of_batch(batch: &'a RecordBatch) -> Self {
        Self { fields: batch.schema_ref().fields(), columns: batch.columns(), nulls: None }
    }

    /// Those of a ROW, within a `parent`.
    pub fn of_row(row: &'a StructArray, parent: Option<&NullBuffer>) -> Self {
        let nulls = NullBuffer::union(row.nulls(), parent);
        Self { fields: row.fields(), columns: row.columns(), nulls }
    }

    /// The column of this name; of several, the first.
    ///
    /// # Errors
    /// When there is none.
    pub fn column(&self, name: &str) -> Result<&'a ArrayRef> {
        let at = self.fields.iter().position(|field| field.name() == name);
        at.map(|at| &self.columns[at]).ok_or_else(|| ConnectorError::NoSuchColumn {
            column: name.to_owned(),
            available: self.fields.iter().map(|f| f.name().as_str()).collect::<Vec<_>>().join(", "),
        })
    }

    /// The rows that are NULL as a whole.
    pub fn nulls(&self) -> Option<&NullBuffer> {
        self.nulls.as_ref()
    }
}

impl<T: NotNull> FieldValue for Option<T> {
    type Reader = (Option<NullBuffer>, T::Reader);

    fn data_type() -> DataType {
        T::data_type().with_nullable(true)
    }

    fn write<'a, I>(values: I, data_type: &DataType) -> Result<ArrayRef>
    where
        Self: 'a,
        I: Iterator<Item = Option<&'a Self>> + Clone,
    {
        T::write(values.map(|value| value.and_then(Option::as_ref)), data_type)
    }

    fn reader(column: &ArrayRef, parent: Option<&NullBuffer>) -> Result<Self::Reader> {
        let nulls = column.logical_nulls().filter(|nulls| nulls.null_count() > 0);
        let hidden = NullBuffer::union(nulls.as_ref(), parent);
        let reader = T::reader(column, hidden.as_ref()).map_err(ConnectorError::or_null)?;
        Ok((nulls, reader))
    }

    fn read((nulls, reader): &Self::Reader, row: usize) -> Self {
        if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) { None } else { Some(T::read(reader, row)) }
    }
}

fn validity(values: impl Iterator<Item = bool>) -> Option<NullBuffer> {
    let mut builder = BooleanBufferBuilder::new(values.size_hint().0);
    for valid in values {
        builder.append(valid);
    }
    Some(NullBuffer::new(builder.finish())).filter(|nulls| nulls.null_count() > 0)
}

/// Where each list begins, which Arrow counts with 31 bits.
fn offsets(lengths: impl Iterator<Item = usize>, data_type: &DataType) -> Result<OffsetBuffer<i32>> {
    let mut ends = vec![0i32];
    let mut end = 0usize;
    for length in lengths {
        end += length;
        ends.push(i32::try_from(end).map_err(|_| ConnectorError::OutOfRange {
            column: String::new(),
            value: format!("a batch of {end} elements"),
            data_type: data_type.to_string(),
        })?);
    }
    Ok(OffsetBuffer::new(ScalarBuffer::from(ends)))
}

fn arrow(e: arrow::error::ArrowError) -> ConnectorError {
    ConnectorError::invalid(e.to_string())
}

pub(super) fn write_row<'a, R: Record + 'a>(
    values: impl Iterator<Item = Option<&'a R>> + Clone,
    data_type: &DataType,
) -> Result<ArrayRef> {
    let (TypeKind::Row(fields), ArrowType::Struct(arrow_fields)) = (&data_type.kind, data_type.to_arrow())
    else {
        return Err(ConnectorError::invalid(format!("a record cannot be written as {data_type}")));
    };
    let columns = R::write(values.clone(), fields)?;
    let nulls = validity(values.map(|value| value.is_some()));
    Ok(Arc::new(StructArray::try_new(arrow_fields, columns, nulls).map_err(arrow)?))
}

/// The elements of a list's rows, and for each row where they begin among them.
#[derive(Debug)]
pub struct Elements<R> {
    offsets: Vec<i32>,
    reader: R,
}

impl<R> Elements<R> {
    fn range(&self, row: usize) -> std::ops::Range<usize> {
        // Offsets never go back: Arrow checks it.
        self.offsets[row] as usize..self.offsets[row + 1] as usize
    }
}

/// A column may be a slice: only its own elements are looked at.
fn own_range(offsets: &OffsetBuffer<i32>) -> (usize, usize, Vec<i32>) {
    let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
    (first as usize, (last - first) as usize, offsets.iter().map(|offset| offset - first).collect())
}

/// Elements of rows that are NULL in `parent` or in the list itself, as a mask of the elements. There are none as a rule.
fn hidden_elements(offsets: &[i32], nulls: Option<&NullBuffer>) -> Option<NullBuffer> {
    let nulls = nulls.filter(|nulls| nulls.null_count() > 0)?;
    validity(offsets.windows(2).enumerate().flat_map(|(row, ends)| {
        let valid = nulls.is_valid(row);
        (ends[0]..ends[1]).map(move |_| valid)
    }))
}

impl<T: FieldValue> FieldValue for Vec<T> {
    type Reader = Elements<T::Reader>;

    fn data_type() -> DataType {
        DataType::from(TypeKind::Array(Box::new(T::data_type()))).not_null()
    }

    fn write<'a, I>(values: I, data_type: &DataType) -> Result<ArrayRef>
    where
        Self: 'a,
        I: Iterator<Item = Option<&'a Self>> + Clone,
    {
        let TypeKind::Array(item) = &data_type.kind else {
            return Err(ConnectorError::invalid(format!("a list cannot be written as {data_type}")));
        };
        let offsets = offsets(values.clone().map(|v| v.map_or(0, Vec::len)), data_type)?;
        let items = values.clone().flatten().flat_map(|list: &'a Vec<T>| list.iter().map(Some));
        let items = T::write(items, item).map_err(|e| e.within("[]"))?;
        let nulls = validity(values.map(|value| value.is_some()));
        let field = Arc::new(item.to_arrow_field("item"));
        Ok(Arc::new(ListArray::try_new(field, offsets, items, nulls).map_err(arrow)?))
    }

    fn reader(column: &ArrayRef, parent: Option<&NullBuffer>) -> Result<Self::Reader> {
        let list: ListArray = typed(column, parent, &Self::data_type())?;
        let (first, length, offsets) = own_range(list.offsets());
        let items = list.values().slice(first, length);
        let hidden = hidden_elements(&offsets, NullBuffer::union(list.nulls(), parent).as_ref());
        let reader = T::reader(&items, hidden.as_ref()).map_err(|e| e.within("[]"))?;
        Ok(Elements { offsets, reader })
    }

    fn read(reader: &Self::Reader, row: usize) -> Self {
        reader.range(row).map(|at| T::read(&reader.reader, at)).collect()
    }
}

impl<T: FieldValue> NotNull for Vec<T> {}

fn map_type<K: FieldValue, V: FieldValue>() -> DataType {
    DataType::from(TypeKind::Map(Box::new(K::data_type()), Box::new(V::data_type()))).not_null()
}

fn write_map<'a, M: 'a, K: FieldValue + 'a, V: FieldValue + 'a>(
    maps: impl Iterator<Item = Option<&'a M>> + Clone,
    length: impl Fn(&M) -> usize,
    keys: impl Iterator<Item = Option<&'a K>> + Clone,
    values: impl Iterator<Item = Option<&'a V>> + Clone,
    data_type: &DataType,
) -> Result<ArrayRef> {
    let (TypeKind::Map(key, value), ArrowType::Map(entries, _)) = (&data_type.kind, data_type.to_arrow())
    else {
        return Err(ConnectorError::invalid(format!("a map cannot be written as {data_type}")));
    };
    let offsets = offsets(maps.clone().map(|map| map.map_or(0, &length)), data_type)?;
    let keys = K::write(keys, key).map_err(|e| e.within("[key]"))?;
    let values = V::write(values, value).map_err(|e| e.within("[value]"))?;
    let rows = StructArray::try_new(entry_fields(&entries), vec![keys, values], None).map_err(arrow)?;
    let nulls = validity(maps.map(|map| map.is_some()));
    Ok(Arc::new(MapArray::try_new(entries, offsets, rows, nulls, false).map_err(arrow)?))
}

fn entry_fields(entries: &ArrowField) -> Fields {
    match entries.data_type() {
        ArrowType::Struct(fields) => fields.clone(),
        _ => Fields::empty(),
    }
}

type MapReader<K, V> = Elements<(<K as FieldValue>::Reader, <V as FieldValue>::Reader)>;

fn map_reader<K: FieldValue, V: FieldValue>(
    column: &ArrayRef,
    parent: Option<&NullBuffer>,
) -> Result<MapReader<K, V>> {
    let map: MapArray = typed(column, parent, &map_type::<K, V>())?;
    let (first, length, offsets) = own_range(map.offsets());
    let hidden = hidden_elements(&offsets, NullBuffer::union(map.nulls(), parent).as_ref());
    let keys = K::reader(&map.keys().slice(first, length), hidden.as_ref()).map_err(|e| e.within("[key]"))?;
    let values =
        V::reader(&map.values().slice(first, length), hidden.as_ref()).map_err(|e| e.within("[value]"))?;
    Ok(Elements { offsets, reader: (keys, values) })
}

fn read_entries<K: FieldValue, V: FieldValue, M: FromIterator<(K, V)>>(
    reader: &MapReader<K, V>,
    row: usize,
) -> M {
    let (keys, values) = &reader.reader;
    reader.range(row).map(|at| (K::read(keys, at), V::read(values, at))).collect()
}

impl<K: NotNull + Ord, V: FieldValue> FieldValue for BTreeMap<K, V> {
    type Reader = MapReader<K, V>;

    fn data_type() -> DataType {
        map_type::<K, V>()
    }

    fn write<'a, I>(values: I, data_type: &DataType) -> Result<ArrayRef>
    where
        Self: 'a,
        I: Iterator<Item = Option<&'a Self>> + Clone,
    {
        let entries = values.clone().flatten();
        let keys = entries.clone().flat_map(|map: &'a Self| map.keys().map(Some));
        let items = entries.flat_map(|map: &'a Self| map.values().map(Some));
        write_map(values, BTreeMap::len, keys, items, data_type)
    }

    fn reader(column: &ArrayRef, parent: Option<&NullBuffer>) -> Result<Self::Reader> {
        map_reader::<K, V>(column, parent)
    }

    fn read(reader: &Self::Reader, row: usize) -> Self {
        read_entries::<K, V, Self>(reader, row)
    }
}

impl<K: NotNull + Ord, V: FieldValue> NotNull for BTreeMap<K, V> {}

impl<K: NotNull + Eq + Hash, V: FieldValue, S: BuildHasher + Default> FieldValue for HashMap<K, V, S> {
    type Reader = MapReader<K, V>;

    fn data_type() -> DataType {
        map_type::<K, V>()
    }

    fn write<'a, I>(values: I, data_type: &DataType) -> Result<ArrayRef>
    where
        Self: 'a,
        I: Iterator<Item = Option<&'a Self>> + Clone,
    {
        let entries = values.clone().flatten();
        let keys = entries.clone().flat_map(|map: &'a Self| map.keys().map(Some));
        let items = entries.flat_map(|map: &'a Self| map.values().map(Some));
        write_map(values, HashMap::len, keys, items, data_type)
    }

    fn reader(column: &ArrayRef, parent: Option<&NullBuffer>) -> Result<Self::Reader> {
        map_reader::<K, V>(column, parent)
    }

    fn read(reader: &Self::Reader, row: usize) -> Self {
        read_entries::<K, V, Self>(reader, row)
    }
}

impl<K: NotNull + Eq + Hash, V: FieldValue, S: BuildHasher + Default> NotNull for HashMap<K, V, S> {}
