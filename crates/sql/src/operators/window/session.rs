//! Session windows: [`SessionSet`] keeps which sessions are open, [`Sessions`] aggregates them.
//!
//! Invariant: open sessions of a key neither overlap nor touch; a row that does either with several makes them one.

use std::collections::BTreeSet;

use arrow::array::{AsArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::Int64Type;
use streamkeeper_dataflow::operator::{OperatorContext, Output};
use streamkeeper_dataflow::state::SnapshotFn;
use streamkeeper_dataflow::time::{MIN_WATERMARK, Timestamp};
use streamkeeper_dataflow::{OperatorError, OperatorResult};

use super::assign::LocalClock;
use super::pane::{OUTPUT_ROWS, PaneKind};
use crate::operators::aggregate::Aggregates;
use crate::operators::keyed_rows::{read_rows, read_watermark, write_rows, write_watermark};
use crate::operators::keys::{GroupTable, key_columns};
use crate::operators::spec::WindowAggregateSpec;

const STATE: &str = "session-aggs";

/// An open session `[start, end)` and where what belongs to it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) slot: u32,
}

/// The open sessions of all keys.
#[derive(Debug, Default)]
pub(super) struct SessionSet {
    by_key: Vec<Vec<Session>>,
    /// `(end, key, start)` of every open session.
    ends: BTreeSet<(i64, u32, i64)>,
    free: Vec<u32>,
    slots: u32,
}

impl SessionSet {
    /// One past the highest slot.
    pub(super) fn slots(&self) -> usize {
        self.slots as usize
    }

    /// Puts `[start, end)` into the sessions of a key, and gives its slot; `None` when it is late and joins no open
    /// session. Slots that became part of another are pushed to `merged` as `(from, into)`; they are free only after
    /// [`SessionSet::release`].
    pub(super) fn assign(
        &mut self,
        key: u32,
        start: i64,
        end: i64,
        late: bool,
        merged: &mut Vec<(u32, u32)>,
    ) -> Option<u32> {
        if key as usize >= self.by_key.len() {
            self.by_key.resize_with(key as usize + 1, Vec::new);
        }
        let sessions = &mut self.by_key[key as usize];
        let mut all = Session { start, end, slot: u32::MAX };
        let mut grown = false;
        if let [only] = sessions.as_mut_slice()
            && only.start <= start
            && end <= only.end
        {
            return Some(only.slot);
        }
        sessions.retain(|session| {
            let touches = session.start <= end && start <= session.end;
            if touches {
                self.ends.remove(&(session.end, key, session.start));
                all.start = all.start.min(session.start);
                all.end = all.end.max(session.end);
                if grown {
                    merged.push((session.slot, all.slot));
                } else {
                    all.slot = session.slot;
                    grown = true;
                }
            }
            !touches
        });
        if !grown {
            if late {
                return None;
            }
            all.slot = self.free.pop().unwrap_or_else(|| {
                self.slots += 1;
                self.slots - 1
            });
        }
        sessions.push(all);
        self.ends.insert((all.end, key, all.start));
        Some(all.slot)
    }

    /// Gives a slot out again.
    pub(super) fn release(&mut self, slot: u32) {
        self.free.push(slot);
    }

    /// Takes the session that ends first, if it is due; also whether its key has no other.
    pub(super) fn pop_due(&mut self, due: impl Fn(i64) -> bool) -> Option<(u32, Session, bool)> {
        let (end, key, start) = *self.ends.first().filter(|first| due(first.0))?;
        self.ends.pop_first();
        let sessions = &mut self.by_key[key as usize];
        let at = sessions.iter().position(|s| s.start == start && s.end == end)?;
        let session = sessions.swap_remove(at);
        Some((key, session, sessions.is_empty()))
    }

    /// All open sessions with their keys, by end.
    pub(super) fn open(&self) -> Vec<(u32, Session)> {
        let find = |(end, key, start): &(i64, u32, i64)| {
            let found = self.by_key[*key as usize].iter().find(|s| s.start == *start && s.end == *end)?;
            Some((*key, *found))
        };
        self.ends.iter().filter_map(find).collect()
    }
}

/// Follows merges to where a slot went.
pub(super) fn resolve(slots: &mut [u32], merged: &[(u32, u32)]) {
    if merged.is_empty() {
        return;
    }
    let mut into =
        merged.iter().copied().collect::<hashbrown::HashMap<u32, u32, foldhash::fast::RandomState>>();
    for (from, to) in merged.iter().rev() {
        let last = into.get(to).copied().unwrap_or(*to);
        into.insert(*from, last);
    }
    for slot in slots {
        if let Some(last) = into.get(slot) {
            *slot = *last;
        }
    }
}

/// Window aggregation by SESSION.
pub(super) struct Sessions {
    kind: PaneKind,
    gap_ms: i64,
    clock: LocalClock,
    time_name: String,
    table: GroupTable,
    open: SessionSet,
    aggregates: Aggregates,
    watermark: Timestamp,
}

impl Sessions {
    pub(super) fn new(
        spec: &WindowAggregateSpec,
        column: usize,
        time_zone: Option<&str>,
        gap_ms: i64,
    ) -> OperatorResult<Self> {
        if gap_ms <= 0 {
            return Err(OperatorError::fatal("the gap of a session window must be positive"));
        }
        let kind = PaneKind::new(spec, &[column])?;
        Ok(Self {
            gap_ms,
            clock: LocalClock::new(time_zone)?,
            time_name: spec.input[column].name.clone(),
            table: kind.table()?,
            open: SessionSet::default(),
            aggregates: kind.aggregates()?,
            watermark: MIN_WATERMARK,
            kind,
        })
    }

    pub(super) fn open(&mut self, context: &OperatorContext) -> OperatorResult<()> {
        self.watermark = read_watermark(&context.restored)?;
        let mut ids = Vec::new();
        for rows in read_rows(&context.restored, STATE, &self.kind.fingerprint, &self.kind.state)? {
            self.table.intern(&key_columns(&rows, &self.kind.state_keys())?, rows.num_rows(), &mut ids)?;
            let starts = rows.column(1).as_primitive::<Int64Type>().values();
            let ends = rows.column(2).as_primitive::<Int64Type>().values();
            let mut slots = Vec::with_capacity(ids.len());
            for ((key, start), end) in ids.iter().zip(starts).zip(ends) {
                let slot = self.open.assign(*key, *start, *end, false, &mut Vec::new());
                slots.push(slot.ok_or_else(|| OperatorError::fatal("a restored session was late"))?);
            }
            let state = &rows.columns()[self.kind.state_columns()];
            self.aggregates.merge(self.open.slots(), &slots, state)?;
        }
        Ok(())
    }

    pub(super) fn snapshot(&self, context: &OperatorContext) -> OperatorResult<SnapshotFn> {
        let open = self.open.open();
        let keys = open.iter().map(|(key, _)| *key).collect::<Vec<_>>();
        let slots = open.iter().map(|(_, session)| session.slot).collect::<Vec<_>>();
        let column = |pick: fn(&Session) -> i64| {
            let values = open.iter().map(|(_, session)| pick(session));
            std::sync::Arc::new(arrow::array::Int64Array::from_iter_values(values)) as arrow::array::ArrayRef
        };
        let mut columns = vec![column(|_| 0), column(|s| s.start), column(|s| s.end)];
        columns.extend(self.table.key_columns(&keys)?);
        columns.extend(self.aggregates.state(&slots)?);
        let rows = RecordBatch::try_new(self.kind.state.clone(), columns)?;
        let (fingerprint, keys) = (self.kind.fingerprint.clone(), self.kind.state_keys());
        let (max_parallelism, key_groups) = (context.max_parallelism, context.key_groups.clone());
        let watermark = self.watermark;
        Ok(Box::new(move |writer| {
            write_rows(writer, STATE, &fingerprint, rows, &keys, max_parallelism)?;
            write_watermark(writer, key_groups, watermark);
            Ok(())
        }))
    }

    pub(super) fn on_batch(&mut self, batch: &RecordBatch, context: &OperatorContext) -> OperatorResult<()> {
        let mut batch = batch.project(&self.kind.needed)?;
        let times = self.clock.local_times(batch.column(0), &self.time_name)?;
        let mut ids = Vec::new();
        self.table.intern(&key_columns(&batch, &self.kind.keys)?, batch.num_rows(), &mut ids)?;
        let (mut merged, mut slots, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        for (row, (key, start)) in ids.iter().zip(&times).enumerate() {
            let end = start.saturating_add(self.gap_ms);
            let late = self.clock.fires_at(end) <= self.watermark;
            if let Some(slot) = self.open.assign(*key, *start, end, late, &mut merged) {
                slots.push(slot);
                kept.push(row as u32);
            }
        }
        let late = times.len() - kept.len();
        if late > 0 {
            context.metrics.num_late_records_dropped.add(late as u64);
            batch = take_record_batch(&batch, &UInt32Array::from(kept))?;
            ids.sort_unstable();
            ids.dedup();
            for key in ids {
                if self.open.by_key[key as usize].is_empty() {
                    self.table.remove(key);
                }
            }
        }
        let capacity = self.open.slots();
        self.aggregates.grow(capacity);
        for (from, into) in &merged {
            let state = self.aggregates.state(&[*from])?;
            self.aggregates.merge(capacity, &[*into], &state)?;
            self.aggregates.reset(*from);
        }
        resolve(&mut slots, &merged);
        self.aggregates.update(capacity, &slots, &batch)?;
        merged.iter().for_each(|(from, _)| self.open.release(*from));
        Ok(())
    }

    pub(super) fn on_watermark(
        &mut self,
        watermark: Timestamp,
        out: &mut dyn Output<RecordBatch>,
    ) -> OperatorResult<()> {
        self.watermark = self.watermark.max(watermark);
        loop {
            let (mut keys, mut slots, mut starts, mut ends, mut gone) =
                (vec![], vec![], vec![], vec![], vec![]);
            while keys.len() < OUTPUT_ROWS
                && let Some((key, session, last)) =
                    self.open.pop_due(|end| self.clock.fires_at(end) <= watermark)
            {
                keys.push(key);
                slots.push(session.slot);
                starts.push(session.start);
                ends.push(session.end);
                if last {
                    gone.push(key);
                }
            }
            if keys.is_empty() {
                return Ok(());
            }
            let columns = self.table.key_columns(&keys)?;
            let results = self.aggregates.evaluate(&slots)?;
            out.emit(self.kind.rows(columns, results, &starts, &ends, self.clock)?)?;
            for slot in slots {
                self.aggregates.reset(slot);
                self.open.release(slot);
            }
            gone.into_iter().for_each(|key| self.table.remove(key));
        }
    }
}
