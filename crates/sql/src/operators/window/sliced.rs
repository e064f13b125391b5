//! Aggregation by slices: a row is aggregated once, and slices are merged when a window fires.
//!
//! Invariant: a slice is kept until its last window has fired, and no window fires twice: the ends of fired windows
//! are those whose time the watermark has reached.

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use hashbrown::HashMap;
use streamkeeper_dataflow::batch::Batch;
use streamkeeper_dataflow::operator::{OperatorContext, Output};
use streamkeeper_dataflow::state::SnapshotFn;
use streamkeeper_dataflow::time::{MIN_WATERMARK, Timestamp};
use streamkeeper_dataflow::{OperatorError, OperatorResult};

use super::assign::{LocalClock, Slices};
use super::pane::{OUTPUT_ROWS, Pane, PaneKind};
use crate::operators::keyed_rows::{read_rows, read_watermark, write_rows, write_watermark};
use crate::operators::keys::widen;
use crate::operators::spec::{WindowAggregateSpec, WindowInput};

const STATE: &str = "window-aggs";
const SLICE: i64 = 0;
const RUNNING: i64 = 1;
const WINDOW: i64 = 2;

/// How the rows tell their windows.
enum Assigner {
    Time { slices: Slices, clock: LocalClock, name: String },
    Attached,
}

/// Window aggregation by TUMBLE, HOP, CUMULATE or windows that the rows carry.
pub(super) struct Sliced {
    kind: PaneKind,
    assigner: Assigner,
    /// Slices by start. Attached windows: by `(end, start)`.
    panes: BTreeMap<(i64, i64), Pane>,
    /// CUMULATE: by window start, the end that fired last and all groups up to it.
    running: BTreeMap<i64, (i64, Pane)>,
    watermark: Timestamp,
    ids: Vec<u32>,
}

impl Sliced {
    pub(super) fn new(spec: &WindowAggregateSpec) -> OperatorResult<Self> {
        let (assigner, time) = match &spec.window {
            WindowInput::TimeColumn { column, time_zone, kind } => {
                let clock = LocalClock::new(time_zone.as_deref())?;
                let name = spec.input[*column].name.clone();
                (Assigner::Time { slices: Slices::new(*kind)?, clock, name }, vec![*column])
            }
            WindowInput::Attached { start, end } => (Assigner::Attached, vec![*start, *end]),
        };
        Ok(Self {
            kind: PaneKind::new(spec, &time)?,
            assigner,
            panes: BTreeMap::new(),
            running: BTreeMap::new(),
            watermark: MIN_WATERMARK,
            ids: Vec::new(),
        })
    }

    pub(super) fn open(&mut self, context: &OperatorContext) -> OperatorResult<()> {
        self.watermark = read_watermark(&context.restored)?;
        for rows in read_rows(&context.restored, STATE, &self.kind.fingerprint, &self.kind.state)? {
            self.merge_partials(&rows, None)?;
        }
        Ok(())
    }

    /// Whether a window with rows fires at this watermark.
    pub(super) fn due(&self, watermark: Timestamp) -> bool {
        let first = self.panes.first_key_value().map(|((first, _), _)| *first);
        first.is_some_and(|first| match &self.assigner {
            Assigner::Time { slices, .. } => self.fires_at(slices.first_end(first)) <= watermark,
            Assigner::Attached => self.fires_at(first) <= watermark,
        })
    }

    /// Hands out all slices as rows of state, and forgets them.
    pub(super) fn take_partials(
        &mut self,
        mut emit: impl FnMut(RecordBatch) -> OperatorResult<()>,
    ) -> OperatorResult<()> {
        let kind = self.pane_kind();
        for ((a, b), pane) in std::mem::take(&mut self.panes) {
            let rows = pane.state(&self.kind, [kind, a, b])?;
            for start in (0..rows.num_rows()).step_by(OUTPUT_ROWS) {
                emit(rows.slice(start, OUTPUT_ROWS.min(rows.num_rows() - start)))?;
            }
        }
        Ok(())
    }

    /// The kind of `panes` in the state.
    fn pane_kind(&self) -> i64 {
        if matches!(self.assigner, Assigner::Attached) { WINDOW } else { SLICE }
    }

    /// Adds rows of state. With `context`, those of slices whose windows have all fired are dropped and counted.
    pub(super) fn merge_partials(
        &mut self,
        rows: &RecordBatch,
        context: Option<&OperatorContext>,
    ) -> OperatorResult<()> {
        let numbers = [0, 1, 2].map(|i| rows.column(i).as_primitive::<Int64Type>().values().clone());
        let name = |row: usize| [numbers[0][row], numbers[1][row], numbers[2][row]];
        let mut start = 0;
        while start < rows.num_rows() {
            let [kind, a, b] = name(start);
            let mut end = start + 1;
            while end < rows.num_rows() && name(end) == [kind, a, b] {
                end += 1;
            }
            let part = rows.slice(start, end - start);
            start = end;
            if let Some(context) = context.filter(|_| self.fires_at(self.last_end((a, b))) <= self.watermark)
            {
                context.metrics.num_late_records_dropped.add(part.num_rows() as u64);
                continue;
            }
            let keys = part.columns()[3..self.kind.state_columns().start].to_vec();
            let state = part.columns()[self.kind.state_columns()].to_vec();
            let pane = match kind {
                RUNNING => {
                    let empty = self.kind.pane()?;
                    &mut self.running.entry(a).or_insert_with(|| (b, empty)).1
                }
                SLICE | WINDOW => pane_of(&mut self.panes, &self.kind, (a, b))?,
                other => {
                    return Err(OperatorError::fatal(format!("a pane of unknown kind {other} in the state")));
                }
            };
            pane.merge_rows(&keys, &state, part.num_rows())?;
        }
        Ok(())
    }

    pub(super) fn snapshot(&self, context: &OperatorContext) -> OperatorResult<SnapshotFn> {
        let of_panes = self.pane_kind();
        let mut rows = Vec::with_capacity(self.panes.len() + self.running.len());
        for ((a, b), pane) in &self.panes {
            rows.push(pane.state(&self.kind, [of_panes, *a, *b])?);
        }
        for (start, (end, pane)) in &self.running {
            rows.push(pane.state(&self.kind, [RUNNING, *start, *end])?);
        }
        let (schema, fingerprint, keys) =
            (self.kind.state.clone(), self.kind.fingerprint.clone(), self.kind.state_keys());
        let (max_parallelism, key_groups) = (context.max_parallelism, context.key_groups.clone());
        let watermark = self.watermark;
        Ok(Box::new(move |writer| {
            let rows = arrow::compute::concat_batches(&schema, &rows)?;
            write_rows(writer, STATE, &fingerprint, rows, &keys, max_parallelism)?;
            write_watermark(writer, key_groups, watermark);
            Ok(())
        }))
    }

    /// Adds rows. With `context`, those whose windows have all fired are dropped and counted.
    pub(super) fn on_batch(
        &mut self,
        batch: &RecordBatch,
        context: Option<&OperatorContext>,
    ) -> OperatorResult<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let batch = batch.project(&self.kind.needed)?;
        let names = match &self.assigner {
            Assigner::Time { slices, clock, name } => {
                let mut times = clock.local_times(batch.column(0), name)?;
                let (mut least, mut most) = (times[0], times[0]);
                for time in &times {
                    least = least.min(*time);
                    most = most.max(*time);
                }
                let first = slices.slice_start(least);
                if most < slices.first_end(first) {
                    return self.add((first, 0), batch, context);
                }
                times.iter_mut().for_each(|time| *time = slices.slice_start(*time));
                times.into_iter().map(|start| (start, 0)).collect::<Vec<_>>()
            }
            Assigner::Attached => {
                let column = |array: &ArrayRef| {
                    let values =
                        if array.null_count() > 0 { None } else { widen(array).map(|v| v.into_owned()) };
                    values
                        .ok_or_else(|| OperatorError::fatal("a window column must hold a time in every row"))
                };
                let (starts, ends) = (column(batch.column(0))?, column(batch.column(1))?);
                ends.into_iter().zip(starts).collect()
            }
        };
        let mut found: HashMap<(i64, i64), u32, foldhash::fast::RandomState> = HashMap::default();
        let mut order = Vec::new();
        let mut targets = Vec::with_capacity(names.len());
        for name in names {
            if let (Some(target), Some(last)) = (targets.last().copied(), order.last())
                && *last == name
                && target as usize + 1 == order.len()
            {
                targets.push(target);
                continue;
            }
            targets.push(*found.entry(name).or_insert_with(|| {
                order.push(name);
                order.len() as u32 - 1
            }));
        }
        for (name, part) in order.iter().zip(batch.partition(&targets, order.len())) {
            if let Some(part) = part {
                self.add(*name, part, context)?;
            }
        }
        Ok(())
    }

    fn add(
        &mut self,
        name: (i64, i64),
        rows: RecordBatch,
        context: Option<&OperatorContext>,
    ) -> OperatorResult<()> {
        if let Some(context) = context.filter(|_| self.fires_at(self.last_end(name)) <= self.watermark) {
            context.metrics.num_late_records_dropped.add(rows.num_rows() as u64);
            return Ok(());
        }
        pane_of(&mut self.panes, &self.kind, name)?.add(&self.kind, &rows, &mut self.ids)
    }

    /// End of the last window that needs the pane.
    fn last_end(&self, name: (i64, i64)) -> i64 {
        match &self.assigner {
            Assigner::Time { slices, .. } => slices.last_end(name.0),
            Assigner::Attached => name.0,
        }
    }

    fn fires_at(&self, end: i64) -> Timestamp {
        match &self.assigner {
            Assigner::Time { clock, .. } => clock.fires_at(end),
            Assigner::Attached => end - 1,
        }
    }

    pub(super) fn on_watermark(
        &mut self,
        watermark: Timestamp,
        out: &mut dyn Output<RecordBatch>,
    ) -> OperatorResult<()> {
        if watermark <= self.watermark {
            return Ok(());
        }
        match &self.assigner {
            Assigner::Attached => self.fire_attached(watermark, out)?,
            Assigner::Time { slices, clock, .. } => {
                let (slices, clock) = (*slices, *clock);
                if slices.cumulate {
                    self.fire_cumulate(slices, clock, watermark, out)?;
                } else {
                    self.fire_hop(slices, clock, watermark, out)?;
                }
            }
        }
        self.watermark = watermark;
        Ok(())
    }

    fn fire_attached(
        &mut self,
        watermark: Timestamp,
        out: &mut dyn Output<RecordBatch>,
    ) -> OperatorResult<()> {
        while let Some(entry) = self.panes.first_entry() {
            let (end, start) = *entry.key();
            if end - 1 > watermark {
                break;
            }
            entry.remove().results(&self.kind, (start, end), LocalClock::default(), |rows| out.emit(rows))?;
        }
        Ok(())
    }

    /// TUMBLE is HOP with windows of one slice.
    fn fire_hop(
        &mut self,
        slices: Slices,
        clock: LocalClock,
        watermark: Timestamp,
        out: &mut dyn Output<RecordBatch>,
    ) -> OperatorResult<()> {
        let mut fired = i64::MIN;
        while let Some(((first, _), _)) = self.panes.first_key_value() {
            let first = *first;
            let mut end = slices.first_end(first).max(fired.saturating_add(slices.step_ms));
            while clock.fires_at(end) <= self.watermark {
                end += slices.step_ms;
            }
            if clock.fires_at(end) > watermark {
                break;
            }
            fired = end;
            let start = slices.window_start(end);
            if slices.last_end(first) > end {
                let mut merged = self.kind.pane()?;
                for (_, pane) in self.panes.range((start, 0)..(end, 0)) {
                    merged.merge(pane)?;
                }
                merged.results(&self.kind, (start, end), clock, |rows| out.emit(rows))?;
                continue;
            }
            // The first slice is in no later window: the others go into it.
            let Some((_, mut merged)) = self.panes.pop_first() else { break };
            for (_, pane) in self.panes.range((start, 0)..(end, 0)) {
                merged.merge(pane)?;
            }
            merged.results(&self.kind, (start, end), clock, |rows| out.emit(rows))?;
        }
        Ok(())
    }

    fn fire_cumulate(
        &mut self,
        slices: Slices,
        clock: LocalClock,
        watermark: Timestamp,
        out: &mut dyn Output<RecordBatch>,
    ) -> OperatorResult<()> {
        loop {
            let of_slices = self.panes.first_key_value().map(|((first, _), _)| {
                let mut end = slices.first_end(*first);
                while clock.fires_at(end) <= self.watermark {
                    end += slices.step_ms;
                }
                (slices.window_start(end), end)
            });
            let of_running =
                self.running.first_key_value().map(|(start, (end, _))| (*start, end + slices.step_ms));
            let Some((start, end)) = [of_slices, of_running].into_iter().flatten().min() else { break };
            if clock.fires_at(end) > watermark {
                break;
            }
            let mut pane = match self.running.remove(&start) {
                Some((_, pane)) => pane,
                None => self.kind.pane()?,
            };
            while let Some(entry) = self.panes.first_entry().filter(|entry| entry.key().0 < end) {
                pane.merge(&entry.remove())?;
            }
            pane.results(&self.kind, (start, end), clock, |rows| out.emit(rows))?;
            if end < start + slices.size_ms {
                self.running.insert(start, (end, pane));
            }
        }
        Ok(())
    }
}

fn pane_of<'a>(
    panes: &'a mut BTreeMap<(i64, i64), Pane>,
    kind: &PaneKind,
    name: (i64, i64),
) -> OperatorResult<&'a mut Pane> {
    Ok(match panes.entry(name) {
        std::collections::btree_map::Entry::Occupied(found) => found.into_mut(),
        std::collections::btree_map::Entry::Vacant(vacant) => vacant.insert(kind.pane()?),
    })
}
