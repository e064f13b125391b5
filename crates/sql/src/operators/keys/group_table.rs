//! [`GroupTable`]: numbers distinct keys.
//!
//! Invariant: two rows get the same id exactly when their keys are equal, NULL being equal to NULL; an id stays with
//! its key until [`GroupTable::remove`].

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, StringArray, new_null_array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType as ArrowType;
use arrow::row::{RowConverter, SortField};
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use streamkeeper_dataflow::{OperatorError, OperatorResult};

use super::byte_keys::{ByteKeys, NextId, put};
use super::columns::{is_integer_like, narrow, widen};

/// The key of a row that holds none: the answer of [`GroupTable::lookup`] for an unknown key.
pub const NO_GROUP: u32 = u32::MAX;

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

#[cfg(test)]
mod tests {
    use super::super::tests::tables;
    use super::*;

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
}
