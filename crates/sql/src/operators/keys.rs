//! Keys of rows: the canonical hash that decides the key group, and [`GroupTable`], which numbers distinct keys.
//!
//! Invariant: two rows get the same id exactly when their keys are equal, NULL being equal to NULL; an id stays with
//! its key until [`GroupTable::remove`].

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Int64Array, PrimitiveArray, RecordBatch, StringArray,
    new_null_array,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType as ArrowType, Date32Type, Decimal128Type, Float32Type, Float64Type,
    Int8Type, Int16Type, Int32Type, Int64Type, Time32MillisecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType,
};
use arrow::row::{RowConverter, SortField};
use foldhash::fast::RandomState;
use hashbrown::hash_map::Entry;
use hashbrown::{HashMap, HashTable};
use std::hash::BuildHasher;
use streamkeeper_dataflow::key_group::{self, KeySelector};
use streamkeeper_dataflow::{OperatorError, OperatorResult};

/// The key of a row that holds none: the answer of [`GroupTable::lookup`] for an unknown key.
pub const NO_GROUP: u32 = u32::MAX;

/// Hashes rows by some of their columns, as `dataflow::key_group` lays down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashKeys {
    /// Indices of the key columns.
    pub columns: Vec<usize>,
}

impl HashKeys {
    /// Hashes by `columns`, in this order.
    pub fn new(columns: impl Into<Vec<usize>>) -> Self {
        Self { columns: columns.into() }
    }
}

impl KeySelector<RecordBatch> for HashKeys {
    fn hash(&self, batch: &RecordBatch, hashes: &mut Vec<u64>) -> OperatorResult<()> {
        hash_columns(&key_columns(batch, &self.columns)?, batch.num_rows(), hashes)
    }
}

/// The columns of `batch` at `indices`.
///
/// # Errors
/// When the batch has fewer columns.
pub fn key_columns(batch: &RecordBatch, indices: &[usize]) -> OperatorResult<Vec<ArrayRef>> {
    let column = |index: &usize| {
        batch.columns().get(*index).cloned().ok_or_else(|| {
            OperatorError::fatal(format!(
                "key column {index} is not in a batch of {} columns",
                batch.num_columns()
            ))
        })
    };
    indices.iter().map(column).collect()
}

/// Replaces `hashes` by the canonical hash of each row of `columns`.
///
/// # Errors
/// When a column is of a nested type, which cannot be a key.
pub fn hash_columns(columns: &[ArrayRef], rows: usize, hashes: &mut Vec<u64>) -> OperatorResult<()> {
    hashes.clear();
    hashes.resize(rows, 0);
    for column in columns {
        hash_column(column, hashes)?;
    }
    Ok(())
}

fn hash_column(column: &ArrayRef, hashes: &mut [u64]) -> OperatorResult<()> {
    if let Some(values) = widen(column) {
        fold_with(column, hashes, |row| key_group::hash_i64(values[row]));
        return Ok(());
    }
    match column.data_type() {
        ArrowType::Utf8 => {
            let values = column.as_string::<i32>();
            fold_with(column, hashes, |row| key_group::hash_bytes(values.value(row).as_bytes()));
        }
        ArrowType::Binary => {
            let values = column.as_binary::<i32>();
            fold_with(column, hashes, |row| key_group::hash_bytes(values.value(row)));
        }
        ArrowType::Decimal128(..) => {
            let values = column.as_primitive::<Decimal128Type>().values();
            fold_with(column, hashes, |row| key_group::hash_i128(values[row]));
        }
        ArrowType::Float32 => {
            let values = column.as_primitive::<Float32Type>().values();
            fold_with(column, hashes, |row| key_group::hash_f64(f64::from(values[row])));
        }
        ArrowType::Float64 => {
            let values = column.as_primitive::<Float64Type>().values();
            fold_with(column, hashes, |row| key_group::hash_f64(values[row]));
        }
        ArrowType::Null => hashes.iter_mut().for_each(|hash| *hash = key_group::fold(*hash, 0)),
        other => {
            return Err(OperatorError::fatal(format!(
                "a column of Arrow type {other} cannot be a key; group or join by its fields instead"
            )));
        }
    }
    Ok(())
}

fn fold_with(column: &ArrayRef, hashes: &mut [u64], hash: impl Fn(usize) -> u64) {
    match column.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => {
            for (row, so_far) in hashes.iter_mut().enumerate() {
                *so_far = key_group::fold(*so_far, hash(row));
            }
        }
        Some(nulls) => {
            for (row, so_far) in hashes.iter_mut().enumerate() {
                *so_far = key_group::fold(*so_far, if nulls.is_null(row) { 0 } else { hash(row) });
            }
        }
    }
}

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

fn is_integer_like(data_type: &ArrowType) -> bool {
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

/// Numbers distinct keys densely from 0, and gives the keys back.
#[derive(Debug)]
pub struct GroupTable {
    types: Vec<ArrowType>,
    store: Store,
    /// Ids whose keys were removed; they are given out again first.
    free: Vec<u32>,
    /// One past the highest id that was ever given out.
    end: u32,
}

/// A key of two columns, of which either may be NULL.
type OptionalPair = (Option<i64>, Option<i64>);

#[derive(Debug)]
enum Store {
    /// No key columns: one group.
    Unit { present: bool },
    /// One integer-like column.
    One { map: HashMap<i64, u32, RandomState>, values: Vec<i64>, null: Option<u32> },
    /// Two integer-like columns; rows with a NULL stand apart, to keep the common key small.
    Two {
        map: HashMap<(i64, i64), u32, RandomState>,
        nulls: HashMap<OptionalPair, u32, RandomState>,
        values: Vec<OptionalPair>,
    },
    /// One text or binary column.
    Bytes { bytes: ByteKeys, null: Option<u32> },
    /// Anything else, by its row encoding.
    Rows { converter: RowConverter, bytes: ByteKeys },
}

impl GroupTable {
    /// An empty table for keys of these column types.
    ///
    /// # Errors
    /// When a type cannot be compared.
    pub fn new(types: &[ArrowType]) -> OperatorResult<Self> {
        let store = match types {
            [] => Store::Unit { present: false },
            [one] if is_integer_like(one) => {
                Store::One { map: HashMap::default(), values: Vec::new(), null: None }
            }
            [one, two] if is_integer_like(one) && is_integer_like(two) => {
                Store::Two { map: HashMap::default(), nulls: HashMap::default(), values: Vec::new() }
            }
            [ArrowType::Utf8 | ArrowType::Binary] => Store::Bytes { bytes: ByteKeys::default(), null: None },
            many => {
                let fields = many.iter().map(|t| SortField::new(t.clone())).collect();
                Store::Rows { converter: RowConverter::new(fields)?, bytes: ByteKeys::default() }
            }
        };
        Ok(Self { types: types.to_vec(), store, free: Vec::new(), end: 0 })
    }

    /// One past the highest id given out so far: the length that per-group vectors need.
    pub fn capacity(&self) -> usize {
        self.end as usize
    }

    /// Number of keys held.
    pub fn len(&self) -> usize {
        self.end as usize - self.free.len()
    }

    /// True when no key is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ids of all keys held, ascending.
    pub fn ids(&self) -> Vec<u32> {
        if self.free.is_empty() {
            return (0..self.end).collect();
        }
        let mut held = vec![true; self.end as usize];
        for id in &self.free {
            held[*id as usize] = false;
        }
        (0..self.end).filter(|id| held[*id as usize]).collect()
    }

    /// Replaces `ids` by the id of each of `rows` rows, numbering keys that are new.
    ///
    /// # Errors
    /// When the columns are not of the table's types, or there are 2^32 keys.
    pub fn intern(&mut self, keys: &[ArrayRef], rows: usize, ids: &mut Vec<u32>) -> OperatorResult<()> {
        self.check(keys)?;
        if self.end as usize + rows >= NO_GROUP as usize {
            return Err(OperatorError::fatal(
                "more than 4 billion keys in one subtask; raise the parallelism",
            ));
        }
        ids.clear();
        ids.reserve(rows);
        let mut next = NextId { free: &mut self.free, end: &mut self.end };
        match &mut self.store {
            Store::Unit { present } => {
                if rows > 0 && !*present {
                    *present = true;
                    next.take();
                }
                ids.resize(rows, 0);
            }
            Store::One { map, values, null } => {
                let column = widen(&keys[0]).expect("the type was checked");
                let mut of = |value: i64| match map.entry(value) {
                    Entry::Occupied(found) => *found.get(),
                    Entry::Vacant(vacant) => {
                        let id = next.take();
                        put(values, id, value, 0);
                        *vacant.insert(id)
                    }
                };
                match keys[0].nulls().filter(|nulls| nulls.null_count() > 0) {
                    None => ids.extend(column.iter().map(|value| of(*value))),
                    Some(nulls) => {
                        for (row, value) in column.iter().enumerate() {
                            if nulls.is_valid(row) {
                                ids.push(of(*value));
                            } else {
                                // Filled in below: the closure holds the numbering.
                                ids.push(NO_GROUP);
                            }
                        }
                        let id = *null.get_or_insert_with(|| {
                            let id = next.take();
                            put(values, id, 0, 0);
                            id
                        });
                        ids.iter_mut().filter(|found| **found == NO_GROUP).for_each(|found| *found = id);
                    }
                }
            }
            Store::Two { map, nulls, values } => {
                let left = widen(&keys[0]).expect("the type was checked");
                let right = widen(&keys[1]).expect("the type was checked");
                let any_null = keys[0].null_count() + keys[1].null_count() > 0;
                for row in 0..rows {
                    let key = (left[row], right[row]);
                    if any_null && (keys[0].is_null(row) || keys[1].is_null(row)) {
                        let key = optional(keys, &left, &right, row);
                        ids.push(*nulls.entry(key).or_insert_with(|| {
                            let id = next.take();
                            put(values, id, key, (None, None));
                            id
                        }));
                    } else {
                        ids.push(*map.entry(key).or_insert_with(|| {
                            let id = next.take();
                            put(values, id, (Some(key.0), Some(key.1)), (None, None));
                            id
                        }));
                    }
                }
            }
            Store::Bytes { bytes, null } => {
                for_each_bytes(&keys[0], |value| {
                    ids.push(match value {
                        Some(value) => bytes.intern(value, &mut next),
                        None => *null.get_or_insert_with(|| {
                            let id = next.take();
                            bytes.set(id, b"");
                            id
                        }),
                    });
                });
            }
            Store::Rows { converter, bytes } => {
                let encoded = converter.convert_columns(keys)?;
                ids.extend(encoded.iter().map(|row| bytes.intern(row.data(), &mut next)));
            }
        }
        Ok(())
    }

    /// Replaces `ids` by the id of each of `rows` rows, [`NO_GROUP`] where the key is not held.
    ///
    /// # Errors
    /// When the columns are not of the table's types.
    pub fn lookup(&self, keys: &[ArrayRef], rows: usize, ids: &mut Vec<u32>) -> OperatorResult<()> {
        self.check(keys)?;
        ids.clear();
        ids.reserve(rows);
        match &self.store {
            Store::Unit { present } => ids.resize(rows, if *present { 0 } else { NO_GROUP }),
            Store::One { map, null, .. } => {
                let column = widen(&keys[0]).expect("the type was checked");
                for row in 0..rows {
                    let found = if keys[0].is_valid(row) { map.get(&column[row]).copied() } else { *null };
                    ids.push(found.unwrap_or(NO_GROUP));
                }
            }
            Store::Two { map, nulls, .. } => {
                let left = widen(&keys[0]).expect("the type was checked");
                let right = widen(&keys[1]).expect("the type was checked");
                for row in 0..rows {
                    let found = if keys[0].is_valid(row) && keys[1].is_valid(row) {
                        map.get(&(left[row], right[row]))
                    } else {
                        nulls.get(&optional(keys, &left, &right, row))
                    };
                    ids.push(found.copied().unwrap_or(NO_GROUP));
                }
            }
            Store::Bytes { bytes, null } => for_each_bytes(&keys[0], |value| {
                let found = match value {
                    Some(value) => bytes.find(value),
                    None => *null,
                };
                ids.push(found.unwrap_or(NO_GROUP));
            }),
            Store::Rows { converter, bytes } => {
                let encoded = converter.convert_columns(keys)?;
                ids.extend(encoded.iter().map(|row| bytes.find(row.data()).unwrap_or(NO_GROUP)));
            }
        }
        Ok(())
    }

    /// Forgets a key; its id may be given to another. `id` must be held.
    pub fn remove(&mut self, id: u32) {
        let at = id as usize;
        match &mut self.store {
            Store::Unit { present } => {
                *present = false;
            }
            Store::One { map, values, null } => {
                if *null == Some(id) {
                    *null = None;
                } else {
                    map.remove(&values[at]);
                }
            }
            Store::Two { map, nulls, values } => match values[at] {
                (Some(left), Some(right)) => {
                    map.remove(&(left, right));
                }
                key => {
                    nulls.remove(&key);
                }
            },
            Store::Bytes { bytes, null } => {
                if *null == Some(id) {
                    *null = None;
                } else {
                    bytes.remove(id);
                }
            }
            Store::Rows { bytes, .. } => bytes.remove(id),
        }
        self.free.push(id);
    }

    /// The key columns of the groups `ids`, one row each.
    ///
    /// # Errors
    /// When a stored key cannot be decoded.
    pub fn key_columns(&self, ids: &[u32]) -> OperatorResult<Vec<ArrayRef>> {
        Ok(match &self.store {
            Store::Unit { .. } => Vec::new(),
            Store::One { values, null, .. } => {
                let nulls = null
                    .filter(|null| ids.contains(null))
                    .map(|null| NullBuffer::from_iter(ids.iter().map(|id| *id != null)));
                let values = ids.iter().map(|id| values[*id as usize]).collect();
                vec![narrow(values, nulls, &self.types[0])]
            }
            Store::Two { values, .. } => {
                let column = |pick: fn(&OptionalPair) -> Option<i64>, data_type| {
                    let picked = || ids.iter().map(|id| pick(&values[*id as usize]));
                    let nulls = NullBuffer::from_iter(picked().map(|v| v.is_some()));
                    let nulls = (nulls.null_count() > 0).then_some(nulls);
                    narrow(picked().map(Option::unwrap_or_default).collect(), nulls, data_type)
                };
                vec![column(|v| v.0, &self.types[0]), column(|v| v.1, &self.types[1])]
            }
            Store::Bytes { bytes, null } => {
                let values = ids.iter().map(|id| (Some(*id) != *null).then(|| bytes.get(*id)));
                if self.types[0] == ArrowType::Binary {
                    vec![Arc::new(values.collect::<BinaryArray>())]
                } else {
                    let text = |bytes| {
                        std::str::from_utf8(bytes)
                            .map_err(|_| OperatorError::fatal("a key of type STRING is not valid UTF-8"))
                    };
                    let values =
                        values.map(|v| v.map(text).transpose()).collect::<OperatorResult<Vec<_>>>()?;
                    vec![Arc::new(StringArray::from(values))]
                }
            }
            Store::Rows { converter, .. } if ids.is_empty() => {
                drop(converter.parser());
                self.types.iter().map(|t| new_null_array(t, 0)).collect()
            }
            Store::Rows { converter, bytes } => {
                let parser = converter.parser();
                converter.convert_rows(ids.iter().map(|id| parser.parse(bytes.get(*id))))?
            }
        })
    }

    fn check(&self, keys: &[ArrayRef]) -> OperatorResult<()> {
        let same = keys.len() == self.types.len()
            && keys.iter().zip(&self.types).all(|(key, expected)| key.data_type() == expected);
        if same {
            return Ok(());
        }
        let found = keys.iter().map(|key| key.data_type().to_string()).collect::<Vec<_>>();
        Err(OperatorError::fatal(format!("keys of types {found:?} came where {:?} were planned", self.types)))
    }
}

fn optional(keys: &[ArrayRef], left: &[i64], right: &[i64], row: usize) -> OptionalPair {
    (keys[0].is_valid(row).then(|| left[row]), keys[1].is_valid(row).then(|| right[row]))
}

fn for_each_bytes(column: &ArrayRef, mut each: impl FnMut(Option<&[u8]>)) {
    if column.data_type() == &ArrowType::Binary {
        column.as_binary::<i32>().iter().for_each(each);
    } else {
        column.as_string::<i32>().iter().for_each(|value| each(value.map(str::as_bytes)));
    }
}

fn put<T: Clone>(values: &mut Vec<T>, id: u32, value: T, filler: T) {
    let at = id as usize;
    if at < values.len() {
        values[at] = value;
    } else {
        values.resize(at, filler);
        values.push(value);
    }
}

struct NextId<'a> {
    free: &'a mut Vec<u32>,
    end: &'a mut u32,
}

impl NextId<'_> {
    fn take(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            *self.end += 1;
            *self.end - 1
        })
    }
}

/// Byte strings by id, in one buffer. A removed one leaves a hole; the buffer is rewritten when holes fill half of it.
#[derive(Debug, Default)]
struct ByteKeys {
    table: HashTable<(u64, u32)>,
    hasher: RandomState,
    ranges: Vec<(usize, usize)>,
    buffer: Vec<u8>,
    holes: usize,
}

impl ByteKeys {
    fn get(&self, id: u32) -> &[u8] {
        let (start, end) = self.ranges[id as usize];
        &self.buffer[start..end]
    }

    fn find(&self, key: &[u8]) -> Option<u32> {
        let hash = self.hasher.hash_one(key);
        self.table.find(hash, |(h, id)| *h == hash && self.get(*id) == key).map(|(_, id)| *id)
    }

    fn intern(&mut self, key: &[u8], next: &mut NextId<'_>) -> u32 {
        let hash = self.hasher.hash_one(key);
        let (ranges, buffer) = (&self.ranges, &self.buffer);
        let same = |(h, id): &(u64, u32)| {
            let (start, end) = ranges[*id as usize];
            *h == hash && &buffer[start..end] == key
        };
        if let Some((_, id)) = self.table.find(hash, same) {
            return *id;
        }
        let id = next.take();
        self.table.insert_unique(hash, (hash, id), |(h, _)| *h);
        self.set(id, key);
        id
    }

    fn set(&mut self, id: u32, key: &[u8]) {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(key);
        put(&mut self.ranges, id, (start, self.buffer.len()), (0, 0));
    }

    fn remove(&mut self, id: u32) {
        let hash = self.hasher.hash_one(self.get(id));
        if let Ok(found) = self.table.find_entry(hash, |(_, held)| *held == id) {
            found.remove();
        }
        let (start, end) = std::mem::take(&mut self.ranges[id as usize]);
        self.holes += end - start;
        if self.holes > (1 << 20) && self.holes > self.buffer.len() / 2 {
            let mut buffer = Vec::with_capacity(self.buffer.len() - self.holes);
            for range in &mut self.ranges {
                let start = buffer.len();
                buffer.extend_from_slice(&self.buffer[range.0..range.1]);
                *range = (start, buffer.len());
            }
            self.buffer = buffer;
            self.holes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Float64Array, Int32Array};

    fn tables() -> Vec<Vec<ArrayRef>> {
        let ints: ArrayRef = Arc::new(Int32Array::from(vec![Some(7), None, Some(-1), Some(7), None]));
        let longs: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), Some(2), None, Some(1), Some(2)]));
        let text: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some(""), Some("a"), None]));
        let floats: ArrayRef =
            Arc::new(Float64Array::from(vec![Some(0.5), None, Some(1.0), Some(0.5), None]));
        vec![vec![ints.clone()], vec![ints, longs], vec![text.clone()], vec![text, floats]]
    }

    #[test]
    fn equal_keys_share_an_id_and_come_back_as_they_were() {
        for keys in tables() {
            let types = keys.iter().map(|k| k.data_type().clone()).collect::<Vec<_>>();
            let mut table = GroupTable::new(&types).unwrap();
            let mut ids = Vec::new();
            table.intern(&keys, 5, &mut ids).unwrap();
            assert_eq!((ids[0], ids[1], table.len()), (ids[3], ids[4], 3), "{types:?}");
            let first = keys.iter().map(|k| k.slice(0, 3)).collect::<Vec<_>>();
            assert_eq!(table.key_columns(&ids[..3]).unwrap(), first);
            let mut found = Vec::new();
            table.lookup(&keys, 5, &mut found).unwrap();
            assert_eq!(found, ids);
            for row in 0..3 {
                table.remove(ids[row]);
                table.lookup(&keys, 5, &mut found).unwrap();
                assert_eq!(found[row], NO_GROUP);
                let before = table.capacity();
                table.intern(&keys, 5, &mut ids).unwrap();
                assert_eq!((table.len(), table.capacity()), (3, before));
                assert_eq!(table.key_columns(&ids[..3]).unwrap(), first);
            }
        }
    }

    #[test]
    fn hashes_follow_the_table_of_key_group() {
        let keys = tables();
        let mut hashes = Vec::new();
        hash_columns(&keys[0], 5, &mut hashes).unwrap();
        assert_eq!(hashes[..3], [key_group::hash_i64(7), 0, key_group::hash_i64(-1)]);
        hash_columns(&keys[3], 5, &mut hashes).unwrap();
        let expected = key_group::fold(key_group::hash_bytes(b"a"), key_group::hash_f64(0.5));
        assert_eq!(hashes[0], expected);
        let nested: ArrayRef = Arc::new(arrow::array::ListArray::new_null(
            Arc::new(arrow::datatypes::Field::new("item", ArrowType::Int32, true)),
            1,
        ));
        assert!(hash_columns(&[nested], 1, &mut hashes).unwrap_err().to_string().contains("cannot be a key"));
    }
}
