//! Window join: rows of equal window and key, joined when the window closes.
//!
//! Invariant: a window's rows are held while it is [open](crate::operators::open_windows), then joined once and let go; rows
//! that come for it later are dropped and counted.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use streamkeeper_connectors::schema::{Field, to_arrow_schema};
use streamkeeper_dataflow::element::CheckpointId;
use streamkeeper_dataflow::metrics::TaskMetrics;
use streamkeeper_dataflow::operator::{Operator, OperatorContext, Output};
use streamkeeper_dataflow::state::SnapshotFn;
use streamkeeper_dataflow::time::Timestamp;
use streamkeeper_dataflow::{OperatorError, OperatorResult};

use super::output::{Joined, OUTPUT_ROWS, any_null, key_types, take_rows};
use super::row_store::NO_ROW;
use super::state::{Snapshot, fingerprint, read_rows, read_watermark, write_rows, write_watermark};
use crate::operators::keys::{GroupTable, NO_GROUP, key_columns};
use crate::operators::open_windows::OpenWindows;
use crate::operators::spec::{JoinKind, WindowJoinSpec};

/// Batches of one side that a window holds before they are merged.
const UNMERGED_BATCHES: usize = 64;

/// Joins two inputs whose rows carry their windows.
pub struct WindowJoin {
    kind: JoinKind,
    joined: Joined,
    sides: [Side; 2],
    time_zone: Option<String>,
    windows: OpenWindows<[Buffer; 2]>,
    snapshot: Snapshot,
    metrics: Arc<TaskMetrics>,
}

struct Side {
    name: &'static str,
    columns: Vec<Field>,
    schema: SchemaRef,
    keys: Vec<usize>,
    /// `(window_start, window_end)`.
    window: (usize, usize),
}

#[derive(Default)]
struct Buffer {
    batches: Vec<RecordBatch>,
    rows: usize,
}

/// One side of a window that fires.
struct Rows {
    columns: Vec<ArrayRef>,
    /// Key of each row; [`NO_GROUP`] when it is NULL.
    keys: Vec<u32>,
    matched: Vec<bool>,
}

impl WindowJoin {
    /// A join per window.
    pub fn new(spec: WindowJoinSpec) -> Self {
        let join = &spec.join;
        let side = |name, columns: &[Field], keys: &[usize], window| Side {
            name,
            columns: columns.to_vec(),
            schema: to_arrow_schema(columns),
            keys: keys.to_vec(),
            window,
        };
        Self {
            kind: join.kind,
            joined: Joined::new(join, false),
            sides: [
                side("left", &join.left, &join.left_keys, spec.left_window),
                side("right", &join.right, &join.right_keys, spec.right_window),
            ],
            time_zone: None,
            windows: OpenWindows::default(),
            snapshot: Snapshot { max_parallelism: 1, key_groups: 0..1 },
            metrics: Arc::default(),
        }
    }

    /// The IANA time zone of the window columns when they were made from a TIMESTAMP_LTZ column.
    #[must_use]
    pub fn with_time_zone(mut self, time_zone: Option<String>) -> Self {
        self.time_zone = time_zone;
        self
    }

    /// Adds rows to their windows; the answer is how many came too late.
    fn add(&mut self, input: usize, batch: RecordBatch) -> OperatorResult<u64> {
        let side = &self.sides[input];
        self.windows.add(side.window.1, batch, |window, batch| {
            let buffer = &mut window[input];
            buffer.rows += batch.num_rows();
            buffer.batches.push(batch);
            if buffer.batches.len() > UNMERGED_BATCHES + buffer.rows / OUTPUT_ROWS {
                buffer.batches = vec![concat_batches(&side.schema, &buffer.batches)?];
            }
            Ok(())
        })
    }

    fn fire(&self, window: &[Buffer; 2], out: &mut dyn Output<RecordBatch>) -> OperatorResult<()> {
        let [left_rows, right_rows] = [window[0].rows, window[1].rows];
        let useless = match self.kind {
            JoinKind::Inner | JoinKind::Semi => left_rows == 0 || right_rows == 0,
            JoinKind::Left | JoinKind::Anti => left_rows == 0,
            JoinKind::Right => right_rows == 0,
            JoinKind::Full => false,
        };
        if useless {
            return Ok(());
        }
        let types = key_types(&self.sides[0].columns, &self.sides[0].keys);
        let mut table = GroupTable::new(&types)?;
        let mut left = self.rows(0, &window[0], &mut table)?;
        let mut right = self.rows(1, &window[1], &mut table)?;
        self.join(&mut left, &mut right, table.capacity(), out)?;
        match self.kind {
            JoinKind::Inner => Ok(()),
            JoinKind::Semi => self.emit_left(&left, true, out),
            JoinKind::Anti => self.emit_left(&left, false, out),
            JoinKind::Left => self.pad(&left, &right, 0, out),
            JoinKind::Right => self.pad(&left, &right, 1, out),
            JoinKind::Full => {
                self.pad(&left, &right, 0, out)?;
                self.pad(&left, &right, 1, out)
            }
        }
    }

    fn rows(&self, input: usize, buffer: &Buffer, table: &mut GroupTable) -> OperatorResult<Rows> {
        let side = &self.sides[input];
        let rows = concat_batches(&side.schema, &buffer.batches)?;
        if rows.num_rows() >= NO_ROW as usize {
            return Err(OperatorError::fatal("a window join holds more than 4 billion rows in one window"));
        }
        let columns = key_columns(&rows, &side.keys)?;
        let mut keys = Vec::new();
        table.intern(&columns, rows.num_rows(), &mut keys)?;
        if let Some(nulls) = any_null(&columns, rows.num_rows()) {
            for (key, _) in keys.iter_mut().zip(nulls).filter(|(_, null)| *null) {
                *key = NO_GROUP;
            }
        }
        Ok(Rows { columns: rows.columns().to_vec(), matched: vec![false; keys.len()], keys })
    }

    /// Finds all matches, and emits them where the kind of join wants them.
    fn join(
        &self,
        left: &mut Rows,
        right: &mut Rows,
        keys: usize,
        out: &mut dyn Output<RecordBatch>,
    ) -> OperatorResult<()> {
        // Right rows sorted by key: those of key k are `by_key[starts[k]..starts[k + 1]]`.
        let mut starts = vec![0u32; keys + 1];
        for key in right.keys.iter().filter(|key| **key != NO_GROUP) {
            starts[*key as usize + 1] += 1;
        }
        for key in 0..keys {
            starts[key + 1] += starts[key];
        }
        let mut next = starts.clone();
        let mut by_key = vec![0u32; starts[keys] as usize];
        for (row, key) in (0u32..).zip(&right.keys).filter(|(_, key)| **key != NO_GROUP) {
            by_key[next[*key as usize] as usize] = row;
            next[*key as usize] += 1;
        }
        let exists = matches!(self.kind, JoinKind::Semi | JoinKind::Anti) && !self.joined.has_condition();
        let (mut left_rows, mut right_rows) = (Vec::new(), Vec::new());
        for row in 0..left.keys.len() {
            let key = left.keys[row];
            if key == NO_GROUP {
                continue;
            }
            let mut partners = &by_key[starts[key as usize] as usize..starts[key as usize + 1] as usize];
            if exists {
                left.matched[row] = !partners.is_empty();
                continue;
            }
            while !partners.is_empty() {
                let (now, later) = partners.split_at(partners.len().min(OUTPUT_ROWS - left_rows.len()));
                left_rows.extend(std::iter::repeat_n(row as u32, now.len()));
                right_rows.extend_from_slice(now);
                partners = later;
                if left_rows.len() == OUTPUT_ROWS {
                    self.emit_pairs(left, right, &mut left_rows, &mut right_rows, out)?;
                }
            }
        }
        self.emit_pairs(left, right, &mut left_rows, &mut right_rows, out)
    }

    fn emit_pairs(
        &self,
        left: &mut Rows,
        right: &mut Rows,
        left_rows: &mut Vec<u32>,
        right_rows: &mut Vec<u32>,
        out: &mut dyn Output<RecordBatch>,
    ) -> OperatorResult<()> {
        if self.joined.has_condition() && !left_rows.is_empty() {
            let columns = (take_rows(&left.columns, left_rows)?, take_rows(&right.columns, right_rows)?);
            let accepted = self.joined.accepted(columns.0, columns.1, left_rows.len())?;
            let mut keep = accepted.iter().map(|a| a == Some(true));
            left_rows.retain(|_| keep.next() == Some(true));
            let mut keep = accepted.iter().map(|a| a == Some(true));
            right_rows.retain(|_| keep.next() == Some(true));
        }
        for (l, r) in left_rows.iter().zip(right_rows.iter()) {
            left.matched[*l as usize] = true;
            right.matched[*r as usize] = true;
        }
        if !left_rows.is_empty() && !matches!(self.kind, JoinKind::Semi | JoinKind::Anti) {
            let columns = (take_rows(&left.columns, left_rows)?, take_rows(&right.columns, right_rows)?);
            out.emit(self.joined.batch(columns.0, columns.1, left_rows.len(), None)?)?;
        }
        left_rows.clear();
        right_rows.clear();
        Ok(())
    }

    /// Emits the left rows that were matched, or those that were not.
    fn emit_left(&self, left: &Rows, matched: bool, out: &mut dyn Output<RecordBatch>) -> OperatorResult<()> {
        for rows in left.which(matched).chunks(OUTPUT_ROWS) {
            let columns = take_rows(&left.columns, rows)?;
            out.emit(self.joined.batch(columns, Vec::new(), rows.len(), None)?)?;
        }
        Ok(())
    }

    /// Emits unmatched rows of one side with NULLs for the other.
    fn pad(
        &self,
        left: &Rows,
        right: &Rows,
        input: usize,
        out: &mut dyn Output<RecordBatch>,
    ) -> OperatorResult<()> {
        let own = if input == 0 { left } else { right };
        for rows in own.which(false).chunks(OUTPUT_ROWS) {
            let nulls = vec![NO_ROW; rows.len()];
            let (of_left, of_right) = if input == 0 { (rows, &nulls[..]) } else { (&nulls[..], rows) };
            let columns = (take_rows(&left.columns, of_left)?, take_rows(&right.columns, of_right)?);
            out.emit(self.joined.batch(columns.0, columns.1, rows.len(), None)?)?;
        }
        Ok(())
    }
}

impl Rows {
    fn which(&self, matched: bool) -> Vec<u32> {
        let rows = (0u32..).zip(&self.matched).filter(|(_, m)| **m == matched);
        rows.map(|(row, _)| row).collect()
    }
}

impl Side {
    /// The columns by which the input is distributed: a join without keys is spread by window.
    fn state_keys(&self) -> Vec<usize> {
        if self.keys.is_empty() { vec![self.window.0, self.window.1] } else { self.keys.clone() }
    }

    fn fingerprint(&self) -> String {
        fingerprint(&self.columns, &self.state_keys())
    }
}

impl Operator<RecordBatch, RecordBatch> for WindowJoin {
    fn open(&mut self, context: &OperatorContext) -> OperatorResult<()> {
        self.windows = OpenWindows::new(self.time_zone.as_deref())?;
        self.snapshot = Snapshot::new(context);
        self.metrics = Arc::clone(&context.metrics);
        for input in 0..2 {
            let fingerprint = self.sides[input].fingerprint();
            for batch in read_rows(&context.restored, self.sides[input].name, &fingerprint)? {
                self.add(input, batch)?;
            }
        }
        self.windows.advance(read_watermark(&context.restored)?);
        Ok(())
    }

    fn on_batch(
        &mut self,
        input: usize,
        batch: RecordBatch,
        _out: &mut dyn Output<RecordBatch>,
    ) -> OperatorResult<()> {
        let late = self.add(input, batch)?;
        if late > 0 {
            self.metrics.num_late_records_dropped.add(late);
        }
        Ok(())
    }

    fn on_watermark(
        &mut self,
        watermark: Timestamp,
        out: &mut dyn Output<RecordBatch>,
    ) -> OperatorResult<Timestamp> {
        self.windows.advance(watermark);
        while let Some(window) = self.windows.next_closed() {
            self.fire(&window, out)?;
        }
        Ok(watermark)
    }

    fn snapshot(&mut self, _checkpoint: CheckpointId) -> OperatorResult<Option<SnapshotFn>> {
        let (snapshot, watermark) = (self.snapshot.clone(), self.windows.watermark());
        let captured = [0, 1].map(|input: usize| {
            let side = &self.sides[input];
            let batches = self.windows.iter().flat_map(|w| w[input].batches.iter().cloned());
            (side.name, side.fingerprint(), side.state_keys(), batches.collect::<Vec<_>>())
        });
        Ok(Some(Box::new(move |writer| {
            for (name, fingerprint, keys, batches) in captured {
                write_rows(writer, name, &fingerprint, &keys, &snapshot, &batches)?;
            }
            write_watermark(writer, &snapshot, watermark);
            Ok(())
        })))
    }
}
