//! The right of a temporal join: the versions of each key.
//!
//! Invariants: of one key and one time there is one version, the last to arrive; the newest version that is not newer than the
//! watermark stays, with all that are newer, and the older ones go when the key's time comes.

use arrow::array::{AsArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::Int32Type;
use streamkeeper_connectors::schema::{Field, to_arrow_schema};
use streamkeeper_dataflow::{OperatorError, OperatorResult};

use super::row_store::{CapturedChunk, NO_ROW, RowStore};
use super::state::fingerprint;
use crate::operators::keys::NO_GROUP;

/// When a version began, and its row.
type Version = (i64, u32);

/// Versions by key.
pub(crate) struct Versions {
    columns: Vec<Field>,
    keys: Vec<usize>,
    /// Rows that are older than the newest of their key are left out.
    last_rows: bool,
    pub(crate) rows: RowStore,
    /// Ascending, by key.
    by_key: Vec<Vec<Version>>,
    /// The version says that there is nothing, by slot.
    deleted: Vec<bool>,
}

impl Versions {
    pub(crate) fn new(columns: &[Field], keys: &[usize], last_rows: bool) -> Self {
        Self {
            columns: columns.to_vec(),
            keys: keys.to_vec(),
            last_rows,
            rows: RowStore::new(&to_arrow_schema(columns)),
            by_key: Vec::new(),
            deleted: Vec::new(),
        }
    }

    /// Makes room for keys below `capacity`.
    pub(crate) fn reserve_keys(&mut self, capacity: usize) {
        self.by_key.resize_with(capacity.max(self.by_key.len()), Vec::new);
    }

    /// Takes in versions: for each row its key ([`NO_GROUP`]: none), its time, and whether it says that there is nothing any more.
    pub(crate) fn add(
        &mut self,
        rows: RecordBatch,
        keys: &[u32],
        times: &[i64],
        deleted: &[bool],
    ) -> OperatorResult<()> {
        let known = (0..keys.len()).filter(|row| keys[*row] != NO_GROUP).collect::<Vec<_>>();
        let rows = if known.len() == keys.len() {
            rows
        } else {
            take_record_batch(&rows, &UInt32Array::from_iter_values(known.iter().map(|row| *row as u32)))?
        };
        let slots = self.rows.add(rows)?;
        self.deleted.resize(self.rows.capacity(), false);
        for (row, slot) in known.into_iter().zip(slots) {
            self.deleted[slot as usize] = deleted[row];
            if let Some(replaced) = self.insert(keys[row], times[row], slot) {
                self.rows.remove(replaced);
            }
        }
        Ok(())
    }

    /// Makes a version known; the answer is the row that is of no use by that.
    fn insert(&mut self, key: u32, time: i64, slot: u32) -> Option<u32> {
        let versions = &mut self.by_key[key as usize];
        let at = versions.partition_point(|(other, _)| *other < time);
        match versions.get_mut(at) {
            Some((other, held)) if *other == time => Some(std::mem::replace(held, slot)),
            Some(_) if self.last_rows => Some(slot),
            _ => {
                versions.insert(at, (time, slot));
                None
            }
        }
    }

    /// The row that was valid at `time`, or [`NO_ROW`].
    pub(crate) fn at(&self, key: u32, time: i64) -> u32 {
        let versions = &self.by_key[key as usize];
        match versions.partition_point(|(began, _)| *began <= time).checked_sub(1) {
            Some(newest) if !self.deleted[versions[newest].1 as usize] => versions[newest].1,
            _ => NO_ROW,
        }
    }

    /// Takes out the versions of a key that nobody can ask for whose time is `watermark` or later; the answer are their rows,
    /// which the caller removes.
    pub(crate) fn expire(&mut self, key: u32, watermark: i64) -> impl Iterator<Item = u32> + '_ {
        let versions = &mut self.by_key[key as usize];
        let old = versions.partition_point(|(began, _)| *began <= watermark).saturating_sub(1);
        versions.drain(..old).map(|(_, slot)| slot)
    }

    pub(crate) fn is_empty(&self, key: u32) -> bool {
        self.by_key[key as usize].is_empty()
    }

    pub(crate) fn fingerprint(&self) -> String {
        fingerprint(&self.columns, &self.keys)
    }

    /// All versions, each with whether it says that there is nothing.
    pub(crate) fn capture(&self) -> Vec<CapturedChunk> {
        self.rows.capture(Some(&|slot| i32::from(self.deleted[slot as usize])))
    }

    /// Rows of a checkpoint, and what goes with each.
    pub(crate) fn split_stored(stored: &RecordBatch) -> OperatorResult<(RecordBatch, Vec<bool>)> {
        let (rows, extra) = split_extra(stored)?;
        Ok((rows, extra.iter().map(|deleted| *deleted != 0).collect()))
    }
}

/// Rows of a checkpoint, and the number that was stored with each.
pub(crate) fn split_extra(stored: &RecordBatch) -> OperatorResult<(RecordBatch, Vec<i32>)> {
    let last = stored.num_columns().saturating_sub(1);
    let extra = stored.columns().last().and_then(|column| column.as_primitive_opt::<Int32Type>());
    let extra = extra
        .ok_or_else(|| OperatorError::fatal("the rows of a temporal join in the checkpoint are damaged"))?;
    Ok((stored.project(&(0..last).collect::<Vec<_>>())?, extra.values().to_vec()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array};
    use streamkeeper_connectors::schema::TypeKind;

    use super::*;

    fn versions(last_rows: bool, times: &[i64]) -> Versions {
        let mut versions = Versions::new(&[Field::new("t", TypeKind::BigInt.into())], &[], last_rows);
        versions.reserve_keys(1);
        let column: ArrayRef = Arc::new(Int64Array::from(times.to_vec()));
        let rows = RecordBatch::try_from_iter([("t", column)]).unwrap();
        versions.add(rows, &vec![0; times.len()], times, &vec![false; times.len()]).unwrap();
        versions
    }

    fn times(versions: &Versions) -> Vec<i64> {
        versions.by_key[0].iter().map(|(time, _)| *time).collect()
    }

    #[test]
    fn the_newest_version_that_is_not_newer_than_the_watermark_stays() {
        let mut versions = versions(false, &[20, 10, 30, 20]);
        assert_eq!((times(&versions), versions.rows.len()), (vec![10, 20, 30], 3));
        for (watermark, left) in
            [(9, vec![10, 20, 30]), (19, vec![10, 20, 30]), (20, vec![20, 30]), (99, vec![30])]
        {
            let expired: Vec<u32> = versions.expire(0, watermark).collect();
            expired.into_iter().for_each(|slot| versions.rows.remove(slot));
            assert_eq!(versions.rows.len(), left.len());
            assert_eq!(times(&versions), left, "at {watermark}");
        }
        assert_eq!(versions.at(0, 29), NO_ROW);
        assert_ne!(versions.at(0, 30), NO_ROW);
    }

    #[test]
    fn of_last_rows_an_older_one_is_not_kept() {
        let versions = versions(true, &[20, 10, 20, 30, 25]);
        assert_eq!((times(&versions), versions.rows.len()), (vec![20, 30], 2));
    }
}
