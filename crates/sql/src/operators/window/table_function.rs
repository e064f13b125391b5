//! The window table functions: each row with its windows. SESSION holds rows back until their session closes.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{
    concat_batches, filter_record_batch, interleave_record_batch, is_not_null, take_record_batch,
};
use arrow::datatypes::{DataType as ArrowType, Field as ArrowField, Int64Type, Schema, SchemaRef};
use streamkeeper_connectors::schema::to_arrow_schema;
use streamkeeper_dataflow::element::CheckpointId;
use streamkeeper_dataflow::operator::{Operator, OperatorContext, Output};
use streamkeeper_dataflow::state::SnapshotFn;
use streamkeeper_dataflow::time::Timestamp;
use streamkeeper_dataflow::{OperatorError, OperatorResult};

use super::assign::{LocalClock, Slices};
use super::pane::{OUTPUT_ROWS, property_column};
use super::session::{SessionSet, resolve};
use crate::operators::keyed_rows::{read_rows, read_watermark, write_rows, write_watermark};
use crate::operators::keys::{GroupTable, key_columns};
use crate::operators::spec::{WindowInput, WindowKind, WindowProperty, WindowTableFunctionSpec};

const STATE: &str = "session-rows";

/// Appends `window_start`, `window_end` and `window_time` to each row, once per window it is in.
pub struct WindowTableFunction {
    spec: WindowTableFunctionSpec,
    output: SchemaRef,
    running: Option<Running>,
}

struct Running {
    column: usize,
    clock: LocalClock,
    windows: Windows,
}

enum Windows {
    Aligned(Slices),
    Session(Box<SessionRows>),
}

/// Rows of sessions that are still open.
struct SessionRows {
    context: OperatorContext,
    gap_ms: i64,
    table: GroupTable,
    open: SessionSet,
    /// Rows, and for each slot where its rows are: `(batch, row)`.
    buffer: Vec<RecordBatch>,
    slots: Vec<Vec<(usize, usize)>>,
    held: usize,
    watermark: Timestamp,
    state: SchemaRef,
    fingerprint: String,
}

impl WindowTableFunction {
    /// The operator of `spec`.
    pub fn new(spec: WindowTableFunctionSpec) -> Self {
        let output = to_arrow_schema(&spec.output);
        Self { spec, output, running: None }
    }

    fn emit(
        &self,
        rows: &RecordBatch,
        starts: &[i64],
        ends: &[i64],
        clock: LocalClock,
        out: &mut dyn Output<RecordBatch>,
    ) -> OperatorResult<()> {
        let mut columns = rows.columns().to_vec();
        for property in [WindowProperty::Start, WindowProperty::End, WindowProperty::Time] {
            let field = &self.spec.output[columns.len()];
            columns.push(property_column(property, starts, ends, clock, field));
        }
        let all = RecordBatch::try_new(self.output.clone(), columns)?;
        for start in (0..all.num_rows()).step_by(OUTPUT_ROWS) {
            out.emit(all.slice(start, OUTPUT_ROWS.min(all.num_rows() - start)))?;
        }
        Ok(())
    }
}

fn not_open() -> OperatorError {
    OperatorError::fatal("the operator was not opened")
}

impl Operator<RecordBatch, RecordBatch> for WindowTableFunction {
    fn open(&mut self, context: &OperatorContext) -> OperatorResult<()> {
        let WindowInput::TimeColumn { column, time_zone, kind } = &self.spec.window else {
            return Err(OperatorError::fatal("a window table function needs a time column"));
        };
        let windows = match kind {
            WindowKind::Session { gap_ms } => {
                Windows::Session(Box::new(SessionRows::new(&self.spec, *gap_ms, context)?))
            }
            aligned => Windows::Aligned(Slices::new(*aligned)?),
        };
        let clock = LocalClock::new(time_zone.as_deref())?;
        self.running = Some(Running { column: *column, clock, windows });
        Ok(())
    }

    fn on_batch(
        &mut self,
        _input: usize,
        batch: RecordBatch,
        out: &mut dyn Output<RecordBatch>,
    ) -> OperatorResult<()> {
        let running = self.running.as_mut().ok_or_else(not_open)?;
        let time = batch.column(running.column);
        // Flink leaves rows without a time out of every window.
        let batch =
            if time.null_count() > 0 { filter_record_batch(&batch, &is_not_null(time)?)? } else { batch };
        let name = &self.spec.input[running.column].name;
        let times = running.clock.local_times(batch.column(running.column), name)?;
        let clock = running.clock;
        let slices = match &mut running.windows {
            Windows::Session(session) => return session.add(&batch, &times, clock, &self.spec.keys),
            Windows::Aligned(slices) => *slices,
        };
        if slices.step_ms == slices.size_ms {
            let starts = times.iter().map(|time| slices.slice_start(*time)).collect::<Vec<_>>();
            let ends = starts.iter().map(|start| slices.first_end(*start)).collect::<Vec<_>>();
            return self.emit(&batch, &starts, &ends, clock, out);
        }
        let (mut rows, mut starts, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        for (row, time) in (0u32..).zip(&times) {
            let slice = slices.slice_start(*time);
            let (first, last) = (slices.first_end(slice), slices.last_end(slice));
            let count = (last - first) / slices.step_ms;
            for i in 0..=count {
                // Flink's order: the latest sliding window first, the shortest cumulating one first.
                let end =
                    if slices.cumulate { first + i * slices.step_ms } else { last - i * slices.step_ms };
                rows.push(row);
                starts.push(slices.window_start(end));
                ends.push(end);
            }
        }
        self.emit(&take_record_batch(&batch, &UInt32Array::from(rows))?, &starts, &ends, clock, out)
    }

    fn on_watermark(
        &mut self,
        watermark: Timestamp,
        out: &mut dyn Output<RecordBatch>,
    ) -> OperatorResult<Timestamp> {
        let running = self.running.as_mut().ok_or_else(not_open)?;
        let clock = running.clock;
        if let Windows::Session(session) = &mut running.windows {
            let closed = session.close(watermark, clock)?;
            if let Some((rows, starts, ends)) = closed {
                self.emit(&rows, &starts, &ends, clock, out)?;
            }
        }
        Ok(watermark)
    }

    fn snapshot(&mut self, _checkpoint: CheckpointId) -> OperatorResult<Option<SnapshotFn>> {
        match &mut self.running.as_mut().ok_or_else(not_open)?.windows {
            Windows::Aligned(_) => Ok(None),
            Windows::Session(session) => Ok(Some(session.snapshot(&self.spec.keys)?)),
        }
    }
}

type Closed = (RecordBatch, Vec<i64>, Vec<i64>);

impl SessionRows {
    fn new(spec: &WindowTableFunctionSpec, gap_ms: i64, context: &OperatorContext) -> OperatorResult<Self> {
        if gap_ms <= 0 {
            return Err(OperatorError::fatal("the gap of a session window must be positive"));
        }
        let types = spec.keys.iter().map(|key| spec.input[*key].data_type.to_arrow()).collect::<Vec<_>>();
        let mut fields = to_arrow_schema(&spec.input).fields().to_vec();
        let keys = spec.keys.len();
        for name in ["$start", "$end"] {
            fields.push(Arc::new(ArrowField::new(name, ArrowType::Int64, true)));
        }
        let mut session = Self {
            context: context.without_state(),
            gap_ms,
            table: GroupTable::new(&types)?,
            open: SessionSet::default(),
            buffer: Vec::new(),
            slots: Vec::new(),
            held: 0,
            watermark: read_watermark(&context.restored)?,
            fingerprint: format!("session {gap_ms} ms, {keys} keys, {fields:?}"),
            state: Arc::new(Schema::new(fields)),
        };
        for rows in read_rows(&context.restored, STATE, &session.fingerprint, &session.state)? {
            let columns = rows.num_columns();
            let input = rows.project(&(0..columns - 2).collect::<Vec<_>>())?;
            let starts = rows.column(columns - 2).as_primitive::<Int64Type>().values().to_vec();
            let ends = rows.column(columns - 1).as_primitive::<Int64Type>().values().to_vec();
            session.put(&input, &starts, &ends, |_| false, &spec.keys)?;
        }
        Ok(session)
    }

    fn add(
        &mut self,
        batch: &RecordBatch,
        times: &[i64],
        clock: LocalClock,
        keys: &[usize],
    ) -> OperatorResult<()> {
        let ends = times.iter().map(|time| time.saturating_add(self.gap_ms)).collect::<Vec<_>>();
        let watermark = self.watermark;
        self.put(batch, times, &ends, |end| clock.fires_at(end) <= watermark, keys)
    }

    fn put(
        &mut self,
        batch: &RecordBatch,
        starts: &[i64],
        ends: &[i64],
        late: impl Fn(i64) -> bool,
        keys: &[usize],
    ) -> OperatorResult<()> {
        let mut ids = Vec::new();
        self.table.intern(&key_columns(batch, keys)?, batch.num_rows(), &mut ids)?;
        let (mut merged, mut slots, mut rows) = (Vec::new(), Vec::new(), Vec::new());
        for row in 0..ids.len() {
            match self.open.assign(ids[row], starts[row], ends[row], late(ends[row]), &mut merged) {
                Some(slot) => {
                    slots.push(slot);
                    rows.push(row);
                }
                None => self.context.metrics.num_late_records_dropped.add(1),
            }
        }
        resolve(&mut slots, &merged);
        self.slots.resize_with(self.open.slots(), Vec::new);
        for (from, into) in &merged {
            let moved = std::mem::take(&mut self.slots[*from as usize]);
            self.slots[*into as usize].extend(moved);
        }
        let number = self.buffer.len();
        self.held += rows.len();
        for (slot, row) in slots.into_iter().zip(rows) {
            self.slots[slot as usize].push((number, row));
        }
        merged.iter().for_each(|(from, _)| self.open.release(*from));
        self.buffer.push(batch.clone());
        Ok(())
    }

    fn close(&mut self, watermark: Timestamp, clock: LocalClock) -> OperatorResult<Option<Closed>> {
        self.watermark = self.watermark.max(watermark);
        let (mut rows, mut starts, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        while let Some((key, session, last)) = self.open.pop_due(|end| clock.fires_at(end) <= watermark) {
            let of_session = std::mem::take(&mut self.slots[session.slot as usize]);
            starts.extend(std::iter::repeat_n(session.start, of_session.len()));
            ends.extend(std::iter::repeat_n(session.end, of_session.len()));
            rows.extend(of_session);
            self.open.release(session.slot);
            if last {
                self.table.remove(key);
            }
        }
        if rows.is_empty() {
            return Ok(None);
        }
        let batches = self.buffer.iter().collect::<Vec<_>>();
        let closed = interleave_record_batch(&batches, &rows)?;
        self.held -= rows.len();
        if self.held * 2 < self.buffer.iter().map(RecordBatch::num_rows).sum() {
            self.compact()?;
        }
        Ok(Some((closed, starts, ends)))
    }

    /// Drops the rows that no open session holds.
    fn compact(&mut self) -> OperatorResult<()> {
        let left = self.slots.iter().flatten().copied().collect::<Vec<_>>();
        if left.is_empty() {
            self.buffer.clear();
            return Ok(());
        }
        let batches = self.buffer.iter().collect::<Vec<_>>();
        self.buffer = vec![interleave_record_batch(&batches, &left)?];
        for (place, row) in self.slots.iter_mut().flatten().zip(0..) {
            *place = (0, row);
        }
        Ok(())
    }

    fn snapshot(&self, keys: &[usize]) -> OperatorResult<SnapshotFn> {
        let (mut rows, mut starts, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        for (_, session) in self.open.open() {
            for place in &self.slots[session.slot as usize] {
                rows.push(*place);
                starts.push(session.start);
                ends.push(session.end);
            }
        }
        let (buffer, state, fingerprint) =
            (self.buffer.clone(), self.state.clone(), self.fingerprint.clone());
        let (keys, watermark) = (keys.to_vec(), self.watermark);
        let (max_parallelism, key_groups) = (self.context.max_parallelism, self.context.key_groups.clone());
        Ok(Box::new(move |writer| {
            if !rows.is_empty() {
                let input = interleave_record_batch(&buffer.iter().collect::<Vec<_>>(), &rows)?;
                let mut columns = input.columns().to_vec();
                for numbers in [starts, ends] {
                    columns.push(Arc::new(Int64Array::from(numbers)) as ArrayRef);
                }
                let rows = concat_batches(&state, [&RecordBatch::try_new(state.clone(), columns)?])?;
                write_rows(writer, STATE, &fingerprint, rows, &keys, max_parallelism)?;
            }
            write_watermark(writer, key_groups, watermark);
            Ok(())
        }))
    }
}
