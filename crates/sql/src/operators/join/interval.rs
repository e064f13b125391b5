//! Interval join: rows of equal key whose event times are within an interval of each other.
//!
//! Invariants: a row is held exactly as long as a row that is not late may still match it, that is until
//! `time + reach <= watermark`, where `reach` is how far the other side's partners may lie behind it. The forwarded
//! watermark stays behind by the larger reach, so that no output is late by either side's time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::Int32Type;
use streamkeeper_connectors::schema::{Field, to_arrow_schema};
use streamkeeper_dataflow::OperatorResult;
use streamkeeper_dataflow::element::CheckpointId;
use streamkeeper_dataflow::operator::{Operator, OperatorContext, Output};
use streamkeeper_dataflow::state::{RestoredState, SnapshotFn};
use streamkeeper_dataflow::time::{MAX_WATERMARK, MIN_WATERMARK, Timestamp};

use super::output::{Joined, OUTPUT_ROWS, any_null, key_types, no_keys, take_rows};
use super::row_store::{CapturedChunk, NO_ROW, RowStore};
use super::state::{Snapshot, fingerprint, millis, read_rows, read_watermark, write_rows, write_watermark};
use crate::operators::keys::{GroupTable, NO_GROUP, key_columns};
use crate::operators::spec::{IntervalJoinSpec, JoinKind};

const EVENT_TIME: &str = "the event time of an interval join";

/// Joins two insert-only inputs within an interval of event time.
pub struct IntervalJoin {
    joined: Joined,
    keys: GroupTable,
    /// Left and right.
    sides: [Side; 2],
    watermark: Timestamp,
    snapshot: Snapshot,
}

struct Side {
    name: &'static str,
    columns: Vec<Field>,
    key_columns: Vec<usize>,
    time_column: usize,
    /// A row is of use while `watermark < time + reach`.
    reach: i64,
    /// Rows without a match are emitted with NULLs.
    outer: bool,
    rows: RowStore,
    /// Times and slots of a key's rows, ascending.
    by_key: Vec<VecDeque<(i64, u32)>>,
    /// Key and whether it was matched, by slot.
    state: Vec<(u32, bool)>,
    by_time: BinaryHeap<Reverse<(i64, u32)>>,
}

impl IntervalJoin {
    /// A join within an interval.
    pub fn new(spec: IntervalJoinSpec) -> Self {
        let join = &spec.join;
        let side = |name, columns: &[Field], keys: &[usize], time_column, reach, outer| Side {
            name,
            columns: columns.to_vec(),
            key_columns: keys.to_vec(),
            time_column,
            reach,
            outer,
            rows: RowStore::new(&to_arrow_schema(columns)),
            by_key: Vec::new(),
            state: Vec::new(),
            by_time: BinaryHeap::new(),
        };
        let left_outer = matches!(join.kind, JoinKind::Left | JoinKind::Full);
        let right_outer = matches!(join.kind, JoinKind::Right | JoinKind::Full);
        let left_reach = spec.lower_ms.saturating_neg();
        let left = side("left", &join.left, &join.left_keys, spec.left_time, left_reach, left_outer);
        let right = side("right", &join.right, &join.right_keys, spec.right_time, spec.upper_ms, right_outer);
        Self {
            joined: Joined::new(join, false),
            keys: no_keys(),
            sides: [left, right],
            watermark: MIN_WATERMARK,
            snapshot: Snapshot { max_parallelism: 1, key_groups: 0..1 },
        }
    }

    /// The key of each row of a batch without NULL keys.
    fn keys_of(&mut self, input: usize, batch: &RecordBatch) -> OperatorResult<Vec<u32>> {
        let columns = key_columns(batch, &self.sides[input].key_columns)?;
        let mut keys = Vec::new();
        self.keys.intern(&columns, batch.num_rows(), &mut keys)?;
        for side in &mut self.sides {
            side.by_key.resize_with(self.keys.capacity(), VecDeque::new);
        }
        Ok(keys)
    }

    /// Splits off the rows with a NULL key, which match nothing.
    fn without_null_keys(
        &self,
        input: usize,
        batch: RecordBatch,
        out: &mut dyn Output<RecordBatch>,
    ) -> OperatorResult<RecordBatch> {
        let columns = key_columns(&batch, &self.sides[input].key_columns)?;
        let Some(nulls) = any_null(&columns, batch.num_rows()) else { return Ok(batch) };
        let with = |null| {
            let rows = (0u32..).zip(&nulls).filter(|(_, n)| **n == null);
            UInt32Array::from_iter_values(rows.map(|(row, _)| row))
        };
        if self.sides[input].outer {
            let unmatched = take_record_batch(&batch, &with(true))?;
            self.pad(input, unmatched.columns().to_vec(), unmatched.num_rows(), out)?;
        }
        Ok(take_record_batch(&batch, &with(false))?)
    }

    /// Joins pairs of a row of `batch` (from `input`) and a held row of the other side.
    fn join(
        &mut self,
        input: usize,
        batch: &RecordBatch,
        pairs: &mut (Vec<u32>, Vec<u32>),
        matched: &mut [bool],
        out: &mut dyn Output<RecordBatch>,
    ) -> OperatorResult<()> {
        let (rows, slots) = pairs;
        if rows.is_empty() {
            return Ok(());
        }
        if self.joined.has_condition() {
            let (left, right) = self.both(input, batch, rows, slots)?;
            let accepted = self.joined.accepted(left, right, rows.len())?;
            let mut keep = accepted.iter().map(|a| a == Some(true));
            rows.retain(|_| keep.next() == Some(true));
            let mut keep = accepted.iter().map(|a| a == Some(true));
            slots.retain(|_| keep.next() == Some(true));
        }
        if !rows.is_empty() {
            let (left, right) = self.both(input, batch, rows, slots)?;
            out.emit(self.joined.batch(left, right, rows.len(), None)?)?;
            let other = &mut self.sides[1 - input];
            for (row, slot) in rows.iter().zip(slots.iter()) {
                matched[*row as usize] = true;
                other.state[*slot as usize].1 = true;
            }
        }
        rows.clear();
        slots.clear();
        Ok(())
    }

    /// Columns of the left and of the right.
    fn both(
        &self,
        input: usize,
        batch: &RecordBatch,
        rows: &[u32],
        slots: &[u32],
    ) -> OperatorResult<(Vec<ArrayRef>, Vec<ArrayRef>)> {
        let own = take_rows(batch.columns(), rows)?;
        let others = self.sides[1 - input].rows.gather(slots)?;
        Ok(if input == 0 { (own, others) } else { (others, own) })
    }

    /// Emits rows of one side with NULLs for the other.
    fn pad(
        &self,
        input: usize,
        own: Vec<ArrayRef>,
        rows: usize,
        out: &mut dyn Output<RecordBatch>,
    ) -> OperatorResult<()> {
        let nulls = self.sides[1 - input].rows.gather(&vec![NO_ROW; rows])?;
        let (left, right) = if input == 0 { (own, nulls) } else { (nulls, own) };
        out.emit(self.joined.batch(left, right, rows, None)?)
    }

    /// Lets go of rows that can find no partner any more.
    fn expire(&mut self, input: usize, out: &mut dyn Output<RecordBatch>) -> OperatorResult<()> {
        let mut expired = Vec::new();
        loop {
            let side = &mut self.sides[input];
            expired.clear();
            while expired.len() < OUTPUT_ROWS {
                match side.by_time.peek() {
                    Some(Reverse((time, slot))) if time.saturating_add(side.reach) <= self.watermark => {
                        expired.push(*slot);
                        side.by_time.pop();
                    }
                    _ => break,
                }
            }
            if expired.is_empty() {
                return Ok(());
            }
            if side.outer {
                let unmatched = expired.iter().copied().filter(|slot| !side.state[*slot as usize].1);
                let unmatched = unmatched.collect::<Vec<_>>();
                if !unmatched.is_empty() {
                    let own = side.rows.gather(&unmatched)?;
                    self.pad(input, own, unmatched.len(), out)?;
                }
            }
            for slot in &expired {
                let [one, two] = &mut self.sides;
                let (side, other) = if input == 0 { (one, two) } else { (two, one) };
                let key = side.state[*slot as usize].0;
                let rows = &mut side.by_key[key as usize];
                while rows.front().is_some_and(|(time, _)| time.saturating_add(side.reach) <= self.watermark)
                {
                    rows.pop_front();
                    if rows.is_empty() && other.by_key[key as usize].is_empty() {
                        self.keys.remove(key);
                    }
                }
                side.rows.remove(*slot);
            }
        }
    }

    /// Holds the rows that may still find a partner; emits those of an outer side that never will.
    fn hold(
        &mut self,
        input: usize,
        batch: RecordBatch,
        keys: &[u32],
        times: &[i64],
        matched: &[bool],
        out: &mut dyn Output<RecordBatch>,
    ) -> OperatorResult<()> {
        let side = &mut self.sides[input];
        let is_held = |time: i64| time.saturating_add(side.reach) > self.watermark;
        if times.iter().all(|time| is_held(*time)) {
            return side.hold(batch, keys, times, matched);
        }
        let (mut held, mut unmatched, mut unused) = (Vec::new(), Vec::new(), Vec::new());
        for row in 0..times.len() {
            if is_held(times[row]) {
                held.push(row as u32);
            } else {
                unused.push(keys[row]);
                if side.outer && !matched[row] {
                    unmatched.push(row as u32);
                }
            }
        }
        if !held.is_empty() {
            let pick = |row: &u32| *row as usize;
            let keys = held.iter().map(|row| keys[pick(row)]).collect::<Vec<_>>();
            let times = held.iter().map(|row| times[pick(row)]).collect::<Vec<_>>();
            let matched = held.iter().map(|row| matched[pick(row)]).collect::<Vec<_>>();
            let rows = take_record_batch(&batch, &UInt32Array::from(held))?;
            side.hold(rows, &keys, &times, &matched)?;
        }
        unused.sort_unstable();
        unused.dedup();
        for key in unused {
            if self.sides.iter().all(|side| side.by_key[key as usize].is_empty()) {
                self.keys.remove(key);
            }
        }
        if unmatched.is_empty() {
            return Ok(());
        }
        self.pad(input, take_rows(batch.columns(), &unmatched)?, unmatched.len(), out)
    }

    fn restore(&mut self, input: usize, restored: &RestoredState) -> OperatorResult<()> {
        let name = self.sides[input].name;
        let fingerprint = self.sides[input].fingerprint();
        for batch in read_rows(restored, name, &fingerprint)? {
            let last = batch.num_columns() - 1;
            let matched = batch.column(last).as_primitive::<Int32Type>();
            let matched = matched.values().iter().map(|m| *m > 0).collect::<Vec<_>>();
            let rows = batch.project(&(0..last).collect::<Vec<_>>())?;
            let times = millis(rows.column(self.sides[input].time_column), EVENT_TIME)?;
            let keys = self.keys_of(input, &rows)?;
            self.sides[input].hold(rows, &keys, &times, &matched)?;
        }
        Ok(())
    }
}

impl Side {
    fn fingerprint(&self) -> String {
        fingerprint(&self.columns, &self.key_columns)
    }

    /// Holds all rows of `batch`.
    fn hold(
        &mut self,
        batch: RecordBatch,
        keys: &[u32],
        times: &[i64],
        matched: &[bool],
    ) -> OperatorResult<()> {
        let slots = self.rows.add(batch)?;
        self.state.resize(self.rows.capacity(), (NO_GROUP, false));
        for (((slot, key), time), matched) in slots.iter().zip(keys).zip(times).zip(matched) {
            self.state[*slot as usize] = (*key, *matched);
            self.by_time.push(Reverse((*time, *slot)));
            let rows = &mut self.by_key[*key as usize];
            if rows.back().is_none_or(|(last, _)| last <= time) {
                rows.push_back((*time, *slot));
            } else {
                rows.insert(rows.partition_point(|(other, _)| other <= time), (*time, *slot));
            }
        }
        Ok(())
    }
}

impl Operator<RecordBatch, RecordBatch> for IntervalJoin {
    fn open(&mut self, context: &OperatorContext) -> OperatorResult<()> {
        self.snapshot = Snapshot::new(context);
        self.keys = GroupTable::new(&key_types(&self.sides[0].columns, &self.sides[0].key_columns))?;
        self.restore(0, &context.restored)?;
        self.restore(1, &context.restored)?;
        self.watermark = read_watermark(&context.restored)?;
        Ok(())
    }

    fn on_batch(
        &mut self,
        input: usize,
        batch: RecordBatch,
        out: &mut dyn Output<RecordBatch>,
    ) -> OperatorResult<()> {
        let times = millis(batch.column(self.sides[input].time_column), EVENT_TIME)?;
        let rows_before = batch.num_rows();
        let batch = self.without_null_keys(input, batch, out)?;
        let times = if batch.num_rows() == rows_before {
            times
        } else {
            millis(batch.column(self.sides[input].time_column), EVENT_TIME)?
        };
        let keys = self.keys_of(input, &batch)?;
        let mut matched = vec![false; batch.num_rows()];
        let (reach, other_reach) = (self.sides[input].reach, self.sides[1 - input].reach);
        let mut pairs = (Vec::new(), Vec::new());
        for (row, (key, time)) in keys.iter().zip(&times).enumerate() {
            let (first, last) = (time.saturating_sub(other_reach), time.saturating_add(reach));
            let mut next = {
                let others = &self.sides[1 - input].by_key[*key as usize];
                others.partition_point(|(other, _)| *other < first)
            };
            // The index is kept across `join`, which changes no membership.
            while let Some((other, slot)) = self.sides[1 - input].by_key[*key as usize].get(next) {
                if *other > last {
                    break;
                }
                pairs.0.push(row as u32);
                pairs.1.push(*slot);
                next += 1;
                if pairs.0.len() == OUTPUT_ROWS {
                    self.join(input, &batch, &mut pairs, &mut matched, out)?;
                }
            }
        }
        self.join(input, &batch, &mut pairs, &mut matched, out)?;
        self.hold(input, batch, &keys, &times, &matched, out)
    }

    fn on_watermark(
        &mut self,
        watermark: Timestamp,
        out: &mut dyn Output<RecordBatch>,
    ) -> OperatorResult<Timestamp> {
        self.watermark = self.watermark.max(watermark);
        self.expire(0, out)?;
        self.expire(1, out)?;
        if watermark == MAX_WATERMARK {
            return Ok(watermark);
        }
        Ok(watermark.saturating_sub(self.sides[0].reach.max(self.sides[1].reach).max(0)))
    }

    fn snapshot(&mut self, _checkpoint: CheckpointId) -> OperatorResult<Option<SnapshotFn>> {
        let (snapshot, watermark) = (self.snapshot.clone(), self.watermark);
        let captured = self.sides.each_ref().map(|side| {
            let matched = |slot: u32| i32::from(side.state[slot as usize].1);
            (side.name, side.fingerprint(), side.key_columns.clone(), side.rows.capture(Some(&matched)))
        });
        Ok(Some(Box::new(move |writer| {
            for (name, fingerprint, keys, chunks) in captured {
                let batches =
                    chunks.into_iter().map(CapturedChunk::into_batch).collect::<Result<Vec<_>, _>>()?;
                write_rows(writer, name, &fingerprint, &keys, &snapshot, &batches)?;
            }
            write_watermark(writer, &snapshot, watermark);
            Ok(())
        })))
    }
}
