//! Window Top-N: the first rows per window and partition, emitted when the window closes.
//!
//! Invariant: of each [open window](super::open_windows) at least the first `rank_end` rows of every partition are held, in their order of
//! arrival among rows that compare equal; the rest is thrown away whenever the window has doubled.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{SortOptions, concat_batches, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};
use streamkeeper_connectors::schema::to_arrow_schema;
use streamkeeper_dataflow::element::CheckpointId;
use streamkeeper_dataflow::metrics::TaskMetrics;
use streamkeeper_dataflow::operator::{Operator, OperatorContext, Output};
use streamkeeper_dataflow::state::SnapshotFn;
use streamkeeper_dataflow::time::Timestamp;
use streamkeeper_dataflow::{OperatorError, OperatorResult};

use super::join::{Snapshot, fingerprint, read_rows, read_watermark, write_rows, write_watermark};
use super::keys::{GroupTable, key_columns};
use super::open_windows::OpenWindows;
use super::spec::WindowRankSpec;

const STATE: &str = "window-rank";
const OUTPUT_ROWS: usize = 8192;

/// Keeps the first rows per window and partition.
pub struct WindowRank {
    spec: WindowRankSpec,
    schema: SchemaRef,
    time_zone: Option<String>,
    last_of_equals: bool,
    windows: OpenWindows<Window>,
    snapshot: Snapshot,
    metrics: Arc<TaskMetrics>,
}

/// The rows of one open window.
#[derive(Default)]
struct Window {
    batches: Vec<RecordBatch>,
    rows: usize,
    /// Rows that were left when it was last thinned out.
    kept: usize,
}

impl WindowRank {
    /// A Top-N per window.
    pub fn new(spec: WindowRankSpec) -> Self {
        Self {
            schema: to_arrow_schema(&spec.output),
            spec,
            time_zone: None,
            last_of_equals: false,
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

    /// Of rows that compare equal the last to arrive comes first: what a window deduplication that keeps the last row
    /// means.
    #[must_use]
    pub fn with_last_of_equals(mut self, last_of_equals: bool) -> Self {
        self.last_of_equals = last_of_equals;
        self
    }

    /// Adds rows to their windows. Rows of closed windows are dropped; the answer is their number.
    fn add(&mut self, batch: RecordBatch) -> OperatorResult<u64> {
        let (spec, last_of_equals) = (&self.spec, self.last_of_equals);
        self.windows.add(spec.window_end, batch, |window, batch| {
            window.rows += batch.num_rows();
            window.batches.push(batch);
            if window.rows > 2 * window.kept + OUTPUT_ROWS {
                let (rows, order, _) = rank(spec, last_of_equals, &window.batches)?;
                window.rows = order.len();
                window.kept = order.len();
                window.batches = vec![take_record_batch(&rows, &arrival_order(order, last_of_equals))?];
            }
            Ok(())
        })
    }

    fn fire(&self, window: &Window, out: &mut dyn Output<RecordBatch>) -> OperatorResult<()> {
        let (rows, order, ranks) = rank(&self.spec, self.last_of_equals, &window.batches)?;
        let (mut kept, mut kept_ranks) = (Vec::new(), Vec::new());
        for (row, rank) in order.into_iter().zip(ranks) {
            if rank as u64 >= self.spec.rank_start {
                kept.push(row);
                kept_ranks.push(rank);
            }
        }
        for (rows_of_chunk, ranks_of_chunk) in kept.chunks(OUTPUT_ROWS).zip(kept_ranks.chunks(OUTPUT_ROWS)) {
            let chunk = take_record_batch(&rows, &UInt32Array::from(rows_of_chunk.to_vec()))?;
            let mut columns = chunk.columns().to_vec();
            if self.spec.output_rank {
                columns.push(Arc::new(Int64Array::from(ranks_of_chunk.to_vec())));
            }
            out.emit(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)?;
        }
        Ok(())
    }

    /// The columns by which the input is distributed: a Top-N without a partition is spread by window.
    fn state_keys(spec: &WindowRankSpec) -> Vec<usize> {
        if spec.partition.is_empty() {
            return vec![spec.window_start, spec.window_end];
        }
        spec.partition.clone()
    }

    fn fingerprint(spec: &WindowRankSpec) -> String {
        fingerprint(&spec.input, &Self::state_keys(spec))
    }
}

/// Rows that are kept go back in an order that preserves the arrival of equal ones.
fn arrival_order(mut order: Vec<u32>, last_of_equals: bool) -> UInt32Array {
    if last_of_equals {
        order.sort_unstable();
    }
    UInt32Array::from(order)
}

/// All rows as one batch, the first `rank_end` of each partition in order, and their ranks.
fn rank(
    spec: &WindowRankSpec,
    last_of_equals: bool,
    batches: &[RecordBatch],
) -> OperatorResult<(RecordBatch, Vec<u32>, Vec<i64>)> {
    let schema = batches.first().ok_or_else(|| OperatorError::fatal("a window without rows"))?.schema();
    let rows = concat_batches(&schema, batches)?;
    let count = u32::try_from(rows.num_rows())
        .map_err(|_| OperatorError::fatal("a window holds more than 4 billion rows to rank"))?;
    let partition = key_columns(&rows, &spec.partition)?;
    let types = partition.iter().map(|c| c.data_type().clone()).collect::<Vec<_>>();
    let mut partitions = Vec::new();
    GroupTable::new(&types)?.intern(&partition, rows.num_rows(), &mut partitions)?;

    let mut order = (0..count).collect::<Vec<_>>();
    let sort_columns =
        spec.order.iter().map(|key| rows.column(key.column)).cloned().collect::<Vec<ArrayRef>>();
    if sort_columns.is_empty() {
        order.sort_by_key(|row| partitions[*row as usize]);
    } else {
        let fields = spec.order.iter().zip(&sort_columns).map(|(key, column)| {
            let options = SortOptions { descending: key.descending, nulls_first: key.nulls_first };
            SortField::new_with_options(column.data_type().clone(), options)
        });
        let encoded = RowConverter::new(fields.collect())?.convert_columns(&sort_columns)?;
        order.sort_unstable_by(|a, b| {
            let arrival = if last_of_equals { b.cmp(a) } else { a.cmp(b) };
            partitions[*a as usize]
                .cmp(&partitions[*b as usize])
                .then_with(|| encoded.row(*a as usize).cmp(&encoded.row(*b as usize)))
                .then(arrival)
        });
    }
    let mut ranks = Vec::new();
    let mut previous = None;
    let mut next = 0i64;
    order.retain(|row| {
        let partition = partitions[*row as usize];
        next = if previous == Some(partition) { next + 1 } else { 1 };
        previous = Some(partition);
        let keep = next as u64 <= spec.rank_end;
        if keep {
            ranks.push(next);
        }
        keep
    });
    Ok((rows, order, ranks))
}

impl Operator<RecordBatch, RecordBatch> for WindowRank {
    fn open(&mut self, context: &OperatorContext) -> OperatorResult<()> {
        self.windows = OpenWindows::new(self.time_zone.as_deref())?;
        self.snapshot = Snapshot::new(context);
        self.metrics = Arc::clone(&context.metrics);
        for batch in read_rows(&context.restored, STATE, &Self::fingerprint(&self.spec))? {
            self.add(batch)?;
        }
        self.windows.advance(read_watermark(&context.restored)?);
        Ok(())
    }

    fn on_batch(
        &mut self,
        _input: usize,
        batch: RecordBatch,
        _out: &mut dyn Output<RecordBatch>,
    ) -> OperatorResult<()> {
        let late = self.add(batch)?;
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
        let batches = self.windows.iter().flat_map(|w| w.batches.iter().cloned()).collect::<Vec<_>>();
        let (snapshot, watermark) = (self.snapshot.clone(), self.windows.watermark());
        let (keys, fingerprint) = (Self::state_keys(&self.spec), Self::fingerprint(&self.spec));
        Ok(Some(Box::new(move |writer| {
            write_rows(writer, STATE, &fingerprint, &keys, &snapshot, &batches)?;
            write_watermark(writer, &snapshot, watermark);
            Ok(())
        })))
    }
}
