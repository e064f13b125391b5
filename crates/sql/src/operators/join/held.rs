//! One side of a regular join: its rows by key, found again by content when they are retracted.
//!
//! Invariants: the rows of a key form a list in their order of arrival; equal rows form a stack whose top the index
//! names. Rows are told apart by 128 bits of hash of all their columns, which no input can aim at, since the seeds are
//! drawn per process.

use std::hash::BuildHasher;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int32Type;
use arrow::row::{RowConverter, SortField};
use foldhash::quality::RandomState;
use hashbrown::HashTable;
use streamkeeper_connectors::schema::{Field, to_arrow_schema};
use streamkeeper_dataflow::{OperatorError, OperatorResult};

use super::row_store::{NO_ROW, RowStore};
use super::state::fingerprint;

/// Rows of one side of a join.
pub(crate) struct Held {
    pub(crate) name: &'static str,
    pub(crate) columns: Vec<Field>,
    pub(crate) keys: Vec<usize>,
    /// Rows without partners are emitted with NULLs.
    pub(crate) outer: bool,
    /// The input has a row-kind column.
    pub(crate) changelog: bool,
    pub(crate) rows: RowStore,
    /// First and last row, by key.
    ends: Vec<(u32, u32)>,
    /// Previous and next row of the same key, by slot.
    links: Vec<(u32, u32)>,
    /// How many partners a row has, by slot; empty when nobody asks.
    associations: Vec<i32>,
    counts: bool,
    index: Option<ContentIndex>,
}

/// Finds rows by content.
struct ContentIndex {
    converter: RowConverter,
    seeds: [RandomState; 2],
    tops: HashTable<u32>,
    /// By slot.
    hashes: Vec<u128>,
    /// The row below in the stack of equal rows, by slot.
    below: Vec<u32>,
}

impl Held {
    /// An empty side. `counts`: the number of partners of each row is kept.
    pub(crate) fn new(
        name: &'static str,
        columns: &[Field],
        keys: &[usize],
        outer: bool,
        changelog: bool,
        counts: bool,
    ) -> Self {
        Self {
            name,
            columns: columns.to_vec(),
            keys: keys.to_vec(),
            outer,
            changelog,
            rows: RowStore::new(&to_arrow_schema(columns)),
            ends: Vec::new(),
            links: Vec::new(),
            associations: Vec::new(),
            counts,
            index: None,
        }
    }

    /// Prepares for retractions if there will be any.
    pub(crate) fn open(&mut self) -> OperatorResult<()> {
        if self.changelog {
            let fields = self.columns.iter().map(|c| SortField::new(c.data_type.to_arrow())).collect();
            let converter = RowConverter::new(fields).map_err(|e| {
                OperatorError::fatal(format!("rows of the {} input cannot be compared: {e}", self.name))
            })?;
            self.index = Some(ContentIndex {
                converter,
                seeds: [RandomState::default(), RandomState::default()],
                tops: HashTable::new(),
                hashes: Vec::new(),
                below: Vec::new(),
            });
        }
        Ok(())
    }

    pub(crate) fn fingerprint(&self) -> String {
        fingerprint(&self.columns, &self.keys)
    }

    /// One hash per row of `batch`, where rows can be retracted.
    pub(crate) fn content(&self, batch: &RecordBatch) -> OperatorResult<Vec<u128>> {
        let Some(index) = &self.index else { return Ok(Vec::new()) };
        let rows = index.converter.convert_columns(batch.columns())?;
        let hash = |bytes: &[u8]| {
            let [high, low] = index.seeds.each_ref().map(|seed| u128::from(seed.hash_one(bytes)));
            high << 64 | low
        };
        Ok(rows.iter().map(|row| hash(row.data())).collect())
    }

    /// Makes room for keys below `capacity`.
    pub(crate) fn reserve_keys(&mut self, capacity: usize) {
        self.ends.resize(capacity.max(self.ends.len()), (NO_ROW, NO_ROW));
    }

    pub(crate) fn has_rows(&self, key: u32) -> bool {
        self.ends[key as usize].0 != NO_ROW
    }

    /// Slots of a key's rows, in their order of arrival.
    pub(crate) fn of_key(&self, key: u32) -> impl Iterator<Item = u32> + '_ {
        let first = self.ends[key as usize].0;
        std::iter::successors((first != NO_ROW).then_some(first), |slot| {
            let next = self.links[*slot as usize].1;
            (next != NO_ROW).then_some(next)
        })
    }

    /// Keeps the rows of `batch`, which are found only once they are linked.
    pub(crate) fn add(&mut self, batch: RecordBatch) -> OperatorResult<Vec<u32>> {
        let slots = self.rows.add(batch)?;
        let capacity = self.rows.capacity();
        self.links.resize(capacity, (NO_ROW, NO_ROW));
        if self.counts {
            self.associations.resize(capacity, 0);
        }
        if let Some(index) = &mut self.index {
            index.hashes.resize(capacity, 0);
            index.below.resize(capacity, NO_ROW);
        }
        Ok(slots)
    }

    /// Makes a row known under its key.
    pub(crate) fn link(&mut self, slot: u32, key: u32, content: Option<u128>, associations: i32) {
        let (first, last) = &mut self.ends[key as usize];
        self.links[slot as usize] = (*last, NO_ROW);
        if *first == NO_ROW {
            *first = slot;
        } else {
            self.links[*last as usize].1 = slot;
        }
        *last = slot;
        if self.counts {
            self.associations[slot as usize] = associations;
        }
        if let (Some(index), Some(content)) = (&mut self.index, content) {
            index.insert(slot, content);
        }
    }

    /// Forgets a row of this key and content; false when there is none.
    pub(crate) fn retract(&mut self, key: u32, content: u128) -> bool {
        let Some(slot) = self.index.as_mut().and_then(|index| index.pop(content)) else { return false };
        let (previous, next) = self.links[slot as usize];
        match previous {
            NO_ROW => self.ends[key as usize].0 = next,
            _ => self.links[previous as usize].1 = next,
        }
        match next {
            NO_ROW => self.ends[key as usize].1 = previous,
            _ => self.links[next as usize].0 = previous,
        }
        self.rows.remove(slot);
        true
    }

    pub(crate) fn associations(&self, slot: u32) -> i32 {
        self.associations[slot as usize]
    }

    pub(crate) fn add_association(&mut self, slot: u32, change: i32) {
        self.associations[slot as usize] += change;
    }

    /// Whether the numbers of partners are kept.
    pub(crate) fn counts(&self) -> bool {
        self.counts
    }

    /// Rows of a checkpoint and their numbers of partners.
    pub(crate) fn split_stored(&self, stored: &RecordBatch) -> OperatorResult<(RecordBatch, Vec<i32>)> {
        if !self.counts {
            return Ok((stored.clone(), vec![0; stored.num_rows()]));
        }
        let last = stored.num_columns() - 1;
        let associations = stored.column(last).as_primitive_opt::<Int32Type>().ok_or_else(|| {
            OperatorError::fatal(format!("the rows of the {} input in the checkpoint are damaged", self.name))
        })?;
        Ok((stored.project(&(0..last).collect::<Vec<_>>())?, associations.values().to_vec()))
    }
}

impl ContentIndex {
    fn insert(&mut self, slot: u32, content: u128) {
        self.hashes[slot as usize] = content;
        self.below[slot as usize] = NO_ROW;
        let hashes = &self.hashes;
        let found = self.tops.find_mut(content as u64, |top| hashes[*top as usize] == content);
        match found {
            Some(top) => {
                self.below[slot as usize] = *top;
                *top = slot;
            }
            None => {
                self.tops.insert_unique(content as u64, slot, |top| hashes[*top as usize] as u64);
            }
        }
    }

    fn pop(&mut self, content: u128) -> Option<u32> {
        let hashes = &self.hashes;
        let mut found = self.tops.find_entry(content as u64, |top| hashes[*top as usize] == content).ok()?;
        let slot = *found.get();
        match self.below[slot as usize] {
            NO_ROW => {
                found.remove();
            }
            below => *found.get_mut() = below,
        }
        Some(slot)
    }
}
