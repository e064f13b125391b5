//! Keys of rows: the canonical hash that decides the key group, and [`GroupTable`], which numbers distinct keys.
//!
//! Invariant: the hash of a row is what `dataflow::key_group` lays down for its key columns, in their order, whatever
//! their Arrow types.

mod byte_keys;
mod columns;
mod group_table;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType as ArrowType, Decimal128Type, Float32Type, Float64Type};
use streamkeeper_dataflow::key_group::{self, KeySelector};
use streamkeeper_dataflow::{OperatorError, OperatorResult};

pub(crate) use self::columns::{narrow, widen};
pub use self::group_table::{GroupTable, NO_GROUP};

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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, Int32Array, Int64Array, StringArray};

    use super::*;

    /// Columns of one to two key columns, whose first three rows are distinct keys and whose last two repeat two of them.
    pub(super) fn tables() -> Vec<Vec<ArrayRef>> {
        let ints: ArrayRef = Arc::new(Int32Array::from(vec![Some(7), None, Some(-1), Some(7), None]));
        let longs: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), Some(2), None, Some(1), Some(2)]));
        let text: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some(""), Some("a"), None]));
        let floats: ArrayRef =
            Arc::new(Float64Array::from(vec![Some(0.5), None, Some(1.0), Some(0.5), None]));
        vec![vec![ints.clone()], vec![ints, longs], vec![text.clone()], vec![text, floats]]
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
