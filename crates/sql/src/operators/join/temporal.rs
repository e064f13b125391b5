//! Temporal join by event time: each row of the left with the version of the right that was the newest at its time.
//!
//! Invariants: a left row waits until the watermark has reached its time, and goes out once, in its order of arrival among
//! those of its key. A key has a timer at the smallest time that it was told since the last one came, which is also when
//! versions go that are too old: as in Flink, a left row that is late is joined with what is there then.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use arrow::array::{AsArray, RecordBatch, UInt32Array};
use arrow::compute::{interleave_record_batch, take_record_batch};
use arrow::datatypes::Int8Type;
use streamkeeper_dataflow::OperatorResult;
use streamkeeper_dataflow::element::CheckpointId;
use streamkeeper_dataflow::operator::{Operator, OperatorContext, Output};
use streamkeeper_dataflow::state::SnapshotFn;
use streamkeeper_dataflow::time::Timestamp;

use super::output::{Candidates, Joined, OUTPUT_ROWS, any_null, key_types, no_keys};
use super::row_store::{CapturedChunk, RowStore};
use super::state::{Snapshot, fingerprint, millis, read_rows, write_rows};
use super::versions::{Versions, split_extra};
use crate::operators::calc::{changelog_schema, missing_row_kind};
use crate::operators::keys::{GroupTable, NO_GROUP, key_columns};
use crate::operators::spec::{JoinKind, TemporalJoinSpec};

const LEFT: &str = "left";
const VERSIONS: &str = "versions";
const LEFT_TIME: &str = "the event time of the left of a temporal join";
const RIGHT_TIME: &str = "the event time of the right of a temporal join";
/// The row kinds that say that an old row is gone, and that a row is.
const UPDATE_BEFORE: i8 = 1;
const DELETE: i8 = 3;

/// Joins rows with versions.
pub struct TemporalJoin {
    spec: TemporalJoinSpec,
    joined: Joined,
    keys: GroupTable,
    versions: Versions,
    /// The rows that wait, with their row kinds if there are any.
    left: RowStore,
    /// Time and slot of the rows of a key that wait, ascending.
    waiting: Vec<VecDeque<(i64, u32)>>,
    /// Numbers the rows that wait in their order of arrival, by slot.
    arrivals: Vec<u64>,
    next_arrival: u64,
    /// When a key is looked at next.
    timers: Vec<Option<i64>>,
    /// All timers, and some that were moved since.
    by_time: BinaryHeap<Reverse<(i64, u32)>>,
    snapshot: Snapshot,
}

/// What goes out and what goes by that.
#[derive(Default)]
struct Due {
    pairs: Candidates,
    expired: Vec<u32>,
}

impl TemporalJoin {
    /// A join with versions.
    pub fn new(spec: TemporalJoinSpec) -> Self {
        let join = &spec.join;
        Self {
            joined: Joined::new(join, spec.left_changelog),
            keys: no_keys(),
            versions: Versions::new(&join.right, &join.right_keys, spec.last_rows),
            left: RowStore::new(&changelog_schema(&join.left, spec.left_changelog)),
            waiting: Vec::new(),
            arrivals: Vec::new(),
            next_arrival: 0,
            timers: Vec::new(),
            by_time: BinaryHeap::new(),
            snapshot: Snapshot { max_parallelism: 1, key_groups: 0..1 },
            spec,
        }
    }

    /// The key of each row; [`NO_GROUP`] for a NULL on the right, which is the key of nothing.
    fn keys_of(&mut self, rows: &RecordBatch, is_left: bool) -> OperatorResult<Vec<u32>> {
        let join = &self.spec.join;
        let columns = key_columns(rows, if is_left { &join.left_keys } else { &join.right_keys })?;
        let mut keys = Vec::new();
        self.keys.intern(&columns, rows.num_rows(), &mut keys)?;
        if let (false, Some(nulls)) = (is_left, any_null(&columns, rows.num_rows())) {
            for (key, null) in keys.iter_mut().zip(nulls) {
                *key = if null { NO_GROUP } else { *key };
            }
        }
        let capacity = self.keys.capacity();
        self.versions.reserve_keys(capacity);
        self.waiting.resize_with(capacity, VecDeque::new);
        self.timers.resize(capacity, None);
        Ok(keys)
    }

    /// Lets the key be looked at when the watermark has reached `time`, if that is not to be sooner.
    fn register(&mut self, key: u32, time: i64) {
        let timer = &mut self.timers[key as usize];
        if timer.is_none_or(|registered| registered > time) {
            *timer = Some(time);
            self.by_time.push(Reverse((time, key)));
        }
    }

    fn hold(&mut self, rows: RecordBatch) -> OperatorResult<()> {
        let times = millis(rows.column(self.spec.left_time), LEFT_TIME)?;
        let keys = self.keys_of(&rows, true)?;
        let slots = self.left.add(rows)?;
        self.arrivals.resize(self.left.capacity(), 0);
        for ((slot, key), time) in slots.into_iter().zip(keys).zip(times) {
            self.arrivals[slot as usize] = self.next_arrival;
            self.next_arrival += 1;
            let waiting = &mut self.waiting[key as usize];
            let at = waiting.partition_point(|(other, _)| *other <= time);
            waiting.insert(at, (time, slot));
            self.register(key, time);
        }
        Ok(())
    }

    fn take_versions(&mut self, rows: RecordBatch, deleted: &[bool]) -> OperatorResult<()> {
        let times = millis(rows.column(self.spec.right_time), RIGHT_TIME)?;
        let keys = self.keys_of(&rows, false)?;
        self.versions.add(rows, &keys, &times, deleted)?;
        for (key, time) in keys.into_iter().zip(times) {
            if key != NO_GROUP {
                self.register(key, time);
            }
        }
        Ok(())
    }

    /// The rows of a changelog that say what is now, and whether that is nothing.
    fn without_old_rows(&self, batch: RecordBatch) -> OperatorResult<(RecordBatch, Vec<bool>)> {
        if !self.spec.right_changelog {
            let rows = batch.num_rows();
            return Ok((batch, vec![false; rows]));
        }
        let last = batch.num_columns().saturating_sub(1);
        let kinds = batch.columns().get(last).and_then(|c| c.as_primitive_opt::<Int8Type>());
        let kinds = kinds.ok_or_else(|| missing_row_kind("a temporal join"))?.values().clone();
        let rows = batch.project(&(0..last).collect::<Vec<_>>())?;
        let kept = (0u32..).zip(kinds.iter()).filter(|(_, kind)| **kind != UPDATE_BEFORE);
        let kept = kept.map(|(row, _)| row).collect::<Vec<_>>();
        let deleted = kept.iter().map(|row| kinds[*row as usize] == DELETE).collect();
        Ok((take_record_batch(&rows, &UInt32Array::from(kept))?, deleted))
    }

    /// Looks at a key whose timer has come.
    fn fire(&mut self, key: u32, watermark: Timestamp, due: &mut Due) {
        let waiting = &mut self.waiting[key as usize];
        let count = waiting.partition_point(|(time, _)| *time <= watermark);
        let mut rows = waiting.drain(..count).collect::<Vec<_>>();
        rows.sort_unstable_by_key(|(_, slot)| self.arrivals[*slot as usize]);
        rows.into_iter().for_each(|(time, slot)| due.pairs.push(slot, self.versions.at(key, time)));
        let next = waiting.front().map(|(time, _)| *time);
        due.expired.extend(self.versions.expire(key, watermark));
        self.timers[key as usize] = next;
        if let Some(next) = next {
            self.by_time.push(Reverse((next, key)));
        }
        if next.is_none() && self.versions.is_empty(key) {
            self.keys.remove(key);
        }
    }

    /// Emits what is due, and lets go of it.
    fn emit(&mut self, due: &mut Due, out: &mut dyn Output<RecordBatch>) -> OperatorResult<()> {
        let Due { pairs, expired } = std::mem::take(due);
        let gone = pairs.left.clone();
        let width = self.spec.join.left.len();
        let columns = |slots: &[u32]| {
            let mut columns = self.left.gather(slots)?;
            columns.truncate(width);
            Ok(columns)
        };
        let outer = self.spec.join.kind == JoinKind::Left;
        let pairs = pairs.settle(&self.joined, outer, &columns, &|slots| self.versions.rows.gather(slots))?;
        if pairs.len() > 0 {
            let mut left = self.left.gather(&pairs.left)?;
            let kinds = if self.spec.left_changelog { left.pop() } else { None };
            let kinds = kinds.as_ref().and_then(|kinds| kinds.as_primitive_opt::<Int8Type>());
            let right = self.versions.rows.gather(&pairs.right)?;
            let kinds = kinds.map(|kinds| kinds.values().as_ref());
            out.emit(self.joined.batch(left, right, pairs.len(), kinds)?)?;
        }
        gone.into_iter().for_each(|slot| self.left.remove(slot));
        expired.into_iter().for_each(|slot| self.versions.rows.remove(slot));
        Ok(())
    }

    fn left_fingerprint(&self) -> String {
        let kinds = if self.spec.left_changelog { " with row kinds" } else { "" };
        fingerprint(&self.spec.join.left, &self.spec.join.left_keys) + kinds
    }

    /// Rows that waited come back in their order of arrival.
    fn restore_left(&mut self, stored: &[RecordBatch]) -> OperatorResult<()> {
        let stored = stored.iter().map(split_extra).collect::<OperatorResult<Vec<_>>>()?;
        let mut order = Vec::new();
        for (index, (_, arrivals)) in stored.iter().enumerate() {
            order.extend(arrivals.iter().enumerate().map(|(row, arrival)| (*arrival, (index, row))));
        }
        // Stable, for the sake of nothing but that a restore should give the same twice.
        order.sort_by_key(|(arrival, _)| *arrival);
        let batches = stored.iter().map(|(rows, _)| rows).collect::<Vec<_>>();
        for part in order.chunks(OUTPUT_ROWS) {
            let places = part.iter().map(|(_, place)| *place).collect::<Vec<_>>();
            self.hold(interleave_record_batch(&batches, &places)?)?;
        }
        Ok(())
    }
}

impl Operator<RecordBatch, RecordBatch> for TemporalJoin {
    fn open(&mut self, context: &OperatorContext) -> OperatorResult<()> {
        self.snapshot = Snapshot::new(context);
        let join = &self.spec.join;
        self.keys = GroupTable::new(&key_types(&join.left, &join.left_keys))?;
        for stored in read_rows(&context.restored, VERSIONS, &self.versions.fingerprint())? {
            let (rows, deleted) = Versions::split_stored(&stored)?;
            self.take_versions(rows, &deleted)?;
        }
        let left = read_rows(&context.restored, LEFT, &self.left_fingerprint())?;
        self.restore_left(&left)
    }

    fn on_batch(
        &mut self,
        input: usize,
        batch: RecordBatch,
        _out: &mut dyn Output<RecordBatch>,
    ) -> OperatorResult<()> {
        if input == 0 {
            return self.hold(batch);
        }
        let (rows, deleted) = self.without_old_rows(batch)?;
        self.take_versions(rows, &deleted)
    }

    fn on_watermark(
        &mut self,
        watermark: Timestamp,
        out: &mut dyn Output<RecordBatch>,
    ) -> OperatorResult<Timestamp> {
        let mut due = Due::default();
        while let Some(Reverse((time, key))) = self.by_time.peek().copied() {
            if time > watermark {
                break;
            }
            self.by_time.pop();
            if self.timers[key as usize] != Some(time) {
                continue;
            }
            self.fire(key, watermark, &mut due);
            if due.pairs.len() >= OUTPUT_ROWS {
                self.emit(&mut due, out)?;
            }
        }
        self.emit(&mut due, out)?;
        Ok(watermark)
    }

    fn snapshot(&mut self, _checkpoint: CheckpointId) -> OperatorResult<Option<SnapshotFn>> {
        let snapshot = self.snapshot.clone();
        let join = &self.spec.join;
        let oldest = self.waiting.iter().flatten().map(|(_, slot)| self.arrivals[*slot as usize]).min();
        let arrival = |slot: u32| {
            let since = self.arrivals[slot as usize] - oldest.unwrap_or(0);
            i32::try_from(since).unwrap_or(i32::MAX)
        };
        let captured = [
            (LEFT, self.left_fingerprint(), join.left_keys.clone(), self.left.capture(Some(&arrival))),
            (VERSIONS, self.versions.fingerprint(), join.right_keys.clone(), self.versions.capture()),
        ];
        Ok(Some(Box::new(move |writer| {
            for (name, fingerprint, keys, chunks) in captured {
                let batches =
                    chunks.into_iter().map(CapturedChunk::into_batch).collect::<Result<Vec<_>, _>>()?;
                write_rows(writer, name, &fingerprint, &keys, &snapshot, &batches)?;
            }
            Ok(())
        })))
    }
}
