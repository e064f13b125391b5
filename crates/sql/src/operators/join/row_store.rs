//! Rows of one side of a join, kept as the batches that brought them.
//!
//! Invariant: a slot names one live row until it is removed, wherever the row's batch moves: small batches are merged
//! and batches with mostly dead rows are rewritten, each row at most a constant number of times.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int32Array, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::{interleave, interleave_record_batch, take, take_record_batch};
use arrow::datatypes::{DataType as ArrowType, Field as ArrowField, Schema, SchemaRef};
use streamkeeper_dataflow::{OperatorError, OperatorResult};

/// Stands for a row of NULLs.
pub(crate) const NO_ROW: u32 = u32::MAX;

/// Batches with fewer rows are merged.
const SMALL_ROWS: usize = 4096;
/// How many small batches are merged at once.
const SMALL_BATCHES: usize = 64;
/// Rows of a rewritten batch.
const MERGED_ROWS: usize = 1 << 16;
/// Name of the number that a checkpoint keeps with each row.
const EXTRA: &str = "$associations";

#[derive(Debug)]
struct Chunk {
    batch: RecordBatch,
    /// Slot of each row; [`NO_ROW`] when it is dead.
    slots: Vec<u32>,
    live: usize,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct RowStore {
    /// One NULL per column.
    nulls: Vec<ArrayRef>,
    chunks: Vec<Option<Chunk>>,
    free_chunks: Vec<u32>,
    small: Vec<u32>,
    /// Chunk and row of each slot.
    places: Vec<(u32, u32)>,
    free_slots: Vec<u32>,
    rows: usize,
    live: usize,
}

/// What a checkpoint keeps of a chunk.
pub(crate) struct CapturedChunk {
    batch: RecordBatch,
    /// The live rows; `None`: all.
    rows: Option<Vec<u32>>,
    extra: Option<Vec<i32>>,
}

impl RowStore {
    /// An empty store for rows of `schema`.
    pub(crate) fn new(schema: &Schema) -> Self {
        let nulls = schema.fields().iter().map(|f| new_null_array(f.data_type(), 1)).collect();
        Self {
            nulls,
            chunks: Vec::new(),
            free_chunks: Vec::new(),
            small: Vec::new(),
            places: Vec::new(),
            free_slots: Vec::new(),
            rows: 0,
            live: 0,
        }
    }

    /// One past the highest slot given out.
    pub(crate) fn capacity(&self) -> usize {
        self.places.len()
    }

    /// Number of live rows.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.live
    }

    /// Keeps all rows of `batch`; the answer is their slots.
    pub(crate) fn add(&mut self, batch: RecordBatch) -> OperatorResult<Vec<u32>> {
        self.tidy()?;
        let rows = batch.num_rows();
        if self.places.len() + rows >= NO_ROW as usize {
            return Err(OperatorError::fatal(
                "a join holds more than 4 billion rows in one subtask; raise the parallelism",
            ));
        }
        let mut slots = Vec::with_capacity(rows);
        for _ in 0..rows {
            slots.push(self.free_slots.pop().unwrap_or_else(|| {
                self.places.push((0, 0));
                (self.places.len() - 1) as u32
            }));
        }
        self.live += rows;
        self.put(Chunk { batch, slots: slots.clone(), live: rows });
        Ok(slots)
    }

    /// Forgets a live row.
    pub(crate) fn remove(&mut self, slot: u32) {
        let (chunk_id, row) = self.places[slot as usize];
        let chunk = self.chunks[chunk_id as usize].as_mut().expect("a live row's chunk is kept");
        debug_assert_eq!(chunk.slots[row as usize], slot);
        chunk.slots[row as usize] = NO_ROW;
        chunk.live -= 1;
        self.live -= 1;
        self.free_slots.push(slot);
        if chunk.live == 0 {
            self.rows -= chunk.slots.len();
            self.chunks[chunk_id as usize] = None;
            self.free_chunks.push(chunk_id);
        }
    }

    /// The rows in these slots, column by column; [`NO_ROW`] gives NULLs.
    pub(crate) fn gather(&self, slots: &[u32]) -> OperatorResult<Vec<ArrayRef>> {
        let mut source_of = vec![u32::MAX; self.chunks.len()];
        let mut sources: Vec<&RecordBatch> = Vec::new();
        // Source 0 holds the NULLs.
        let mut places = Vec::with_capacity(slots.len());
        let mut any_null = false;
        for slot in slots {
            if *slot == NO_ROW {
                any_null = true;
                places.push((0, 0));
                continue;
            }
            let (chunk_id, row) = self.places[*slot as usize];
            let source = &mut source_of[chunk_id as usize];
            if *source == u32::MAX {
                *source = sources.len() as u32;
                let chunk = self.chunks[chunk_id as usize].as_ref().expect("a live row's chunk is kept");
                sources.push(&chunk.batch);
            }
            places.push((*source as usize + 1, row as usize));
        }
        if let ([only], false) = (sources.as_slice(), any_null) {
            let rows = UInt32Array::from_iter_values(places.iter().map(|(_, row)| *row as u32));
            return only.columns().iter().map(|c| Ok(take(c.as_ref(), &rows, None)?)).collect();
        }
        let column = |(index, null): (usize, &ArrayRef)| {
            let mut arrays: Vec<&dyn Array> = vec![null.as_ref()];
            arrays.extend(sources.iter().map(|batch| batch.column(index).as_ref()));
            Ok(interleave(&arrays, &places)?)
        };
        self.nulls.iter().enumerate().map(column).collect()
    }

    /// Captures all live rows, each with a number if asked.
    pub(crate) fn capture(&self, extra: Option<&dyn Fn(u32) -> i32>) -> Vec<CapturedChunk> {
        let chunk = |chunk: &Chunk| {
            let live = || chunk.slots.iter().filter(|slot| **slot != NO_ROW);
            let rows = (chunk.live < chunk.slots.len()).then(|| {
                let rows = (0u32..).zip(&chunk.slots).filter(|(_, slot)| **slot != NO_ROW);
                rows.map(|(row, _)| row).collect()
            });
            let extra = extra.map(|extra| live().map(|slot| extra(*slot)).collect());
            CapturedChunk { batch: chunk.batch.clone(), rows, extra }
        };
        self.chunks.iter().flatten().map(chunk).collect()
    }

    fn put(&mut self, chunk: Chunk) {
        let id = self.free_chunks.pop().unwrap_or_else(|| {
            self.chunks.push(None);
            (self.chunks.len() - 1) as u32
        });
        for (row, slot) in (0u32..).zip(&chunk.slots) {
            self.places[*slot as usize] = (id, row);
        }
        self.rows += chunk.slots.len();
        if chunk.slots.len() < SMALL_ROWS {
            self.small.push(id);
        }
        self.chunks[id as usize] = Some(chunk);
    }

    fn tidy(&mut self) -> OperatorResult<()> {
        if self.rows > 2 * self.live + MERGED_ROWS {
            let sparse = |chunk: &Chunk| chunk.live * 2 <= chunk.slots.len();
            let ids = (0u32..).zip(&self.chunks).filter(|(_, c)| c.as_ref().is_some_and(sparse));
            let ids = ids.map(|(id, _)| id).collect::<Vec<_>>();
            self.rewrite(&ids)?;
        }
        if self.small.len() >= SMALL_BATCHES {
            let mut ids = std::mem::take(&mut self.small);
            ids.sort_unstable();
            ids.dedup();
            let small = |chunk: &Chunk| chunk.slots.len() < SMALL_ROWS;
            ids.retain(|id| self.chunks[*id as usize].as_ref().is_some_and(small));
            self.rewrite(&ids)?;
        }
        Ok(())
    }

    fn rewrite(&mut self, ids: &[u32]) -> OperatorResult<()> {
        let mut old = Vec::with_capacity(ids.len());
        for id in ids {
            if let Some(chunk) = self.chunks[*id as usize].take() {
                self.rows -= chunk.slots.len();
                self.free_chunks.push(*id);
                old.push(chunk);
            }
        }
        let mut live = Vec::new();
        for (source, chunk) in old.iter().enumerate() {
            let rows = chunk.slots.iter().enumerate().filter(|(_, slot)| **slot != NO_ROW);
            live.extend(rows.map(|(row, slot)| ((source, row), *slot)));
        }
        let sources = old.iter().map(|chunk| &chunk.batch).collect::<Vec<_>>();
        for part in live.chunks(MERGED_ROWS) {
            let (places, slots): (Vec<_>, Vec<_>) = part.iter().copied().unzip();
            let batch = interleave_record_batch(&sources, &places)?;
            self.put(Chunk { batch, live: slots.len(), slots });
        }
        Ok(())
    }

    /// The schema of the rows in a checkpoint.
    fn stored_schema(schema: &Schema) -> SchemaRef {
        let mut fields = schema.fields().to_vec();
        fields.push(Arc::new(ArrowField::new(EXTRA, ArrowType::Int32, true)));
        Arc::new(Schema::new(fields))
    }
}

impl CapturedChunk {
    /// The rows as one batch, their numbers as its last column if they were asked for.
    pub(crate) fn into_batch(self) -> OperatorResult<RecordBatch> {
        let batch = match self.rows {
            None => self.batch,
            Some(rows) => take_record_batch(&self.batch, &UInt32Array::from(rows))?,
        };
        let Some(extra) = self.extra else { return Ok(batch) };
        let mut columns = batch.columns().to_vec();
        columns.push(Arc::new(Int32Array::from(extra)));
        Ok(RecordBatch::try_new(RowStore::stored_schema(&batch.schema()), columns)?)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::Int64Type;

    use super::*;

    #[test]
    fn rows_keep_their_slots_while_batches_are_merged_and_rewritten() {
        let schema = Arc::new(Schema::new(vec![ArrowField::new("v", ArrowType::Int64, true)]));
        let mut store = RowStore::new(&schema);
        let mut live: Vec<(u32, i64)> = Vec::new();
        let mut next = 0i64;
        for round in 0..400 {
            let rows = if round % 40 == 0 { 20_000 } else { 1 + round % 7 };
            let values = Int64Array::from_iter_values(next..next + rows);
            let batch = RecordBatch::try_new(schema.clone(), vec![Arc::new(values)]).unwrap();
            live.extend(store.add(batch).unwrap().into_iter().zip(next..));
            next += rows;
            if round % 3 == 0 {
                let mut kept = Vec::new();
                for (index, (slot, value)) in live.into_iter().enumerate() {
                    if index % 4 == 0 { kept.push((slot, value)) } else { store.remove(slot) }
                }
                live = kept;
            }
        }
        assert_eq!(store.len(), live.len());
        assert!(store.rows <= 2 * store.live + 2 * MERGED_ROWS);
        assert!(store.chunks.iter().flatten().count() < 2 * SMALL_BATCHES);
        let slots = live.iter().map(|(slot, _)| *slot).chain([NO_ROW]).collect::<Vec<_>>();
        let column = store.gather(&slots).unwrap().remove(0);
        let column = column.as_primitive::<Int64Type>();
        for (row, (_, value)) in live.iter().enumerate() {
            assert_eq!(column.value(row), *value);
        }
        assert!(column.is_null(live.len()));
    }
}
