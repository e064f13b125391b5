//! Keyed state as rows: written by key group, many rows a frame, and read back.

use std::ops::Range;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use streamkeeper_dataflow::batch::Batch;
use streamkeeper_dataflow::key_group::key_group;
use streamkeeper_dataflow::state::{RestoredState, StateWriter};
use streamkeeper_dataflow::time::{MIN_WATERMARK, Timestamp};
use streamkeeper_dataflow::{OperatorError, OperatorResult};

use super::keys::{hash_columns, key_columns};

const FRAME_ROWS: usize = 1 << 16;
const WATERMARK: &str = "watermark";
const WATERMARK_TYPE: &str = "i64";

/// Writes each row of `rows` to the key group of its columns `keys`.
pub(crate) fn write_rows(
    writer: &mut StateWriter,
    name: &str,
    fingerprint: &str,
    rows: RecordBatch,
    keys: &[usize],
    max_parallelism: u16,
) -> OperatorResult<()> {
    if rows.num_rows() == 0 {
        return Ok(());
    }
    let mut hashes = Vec::new();
    hash_columns(&key_columns(&rows, keys)?, rows.num_rows(), &mut hashes)?;
    let groups = hashes.iter().map(|hash| u32::from(key_group(*hash, max_parallelism))).collect::<Vec<_>>();
    for (group, part) in (0u16..).zip(rows.partition(&groups, usize::from(max_parallelism))) {
        let Some(part) = part else { continue };
        for start in (0..part.num_rows()).step_by(FRAME_ROWS) {
            let mut bytes = Vec::new();
            part.slice(start, FRAME_ROWS.min(part.num_rows() - start)).encode(&mut bytes)?;
            writer.keyed(name, fingerprint, group, bytes);
        }
    }
    Ok(())
}

/// Reads what [`write_rows`] wrote, a batch per frame.
pub(crate) fn read_rows(
    restored: &RestoredState,
    name: &str,
    fingerprint: &str,
    schema: &SchemaRef,
) -> OperatorResult<Vec<RecordBatch>> {
    let mut batches = Vec::new();
    for (group, bytes) in restored.keyed(name, fingerprint)? {
        let rows = RecordBatch::decode(bytes)?;
        if rows.schema().fields() != schema.fields() {
            return Err(OperatorError::fatal(format!(
                "state `{name}` of key group {group} has the columns {:?}, expected {:?}",
                rows.schema().fields(),
                schema.fields()
            )));
        }
        batches.push(rows);
    }
    Ok(batches)
}

/// Writes the watermark to every key group the subtask owns, so that whoever gets one of them knows it.
pub(crate) fn write_watermark(writer: &mut StateWriter, key_groups: Range<u16>, watermark: Timestamp) {
    for group in key_groups {
        writer.keyed(WATERMARK, WATERMARK_TYPE, group, watermark.to_le_bytes().to_vec());
    }
}

/// The smallest watermark that was written for the subtask's key groups.
pub(crate) fn read_watermark(restored: &RestoredState) -> OperatorResult<Timestamp> {
    let mut smallest = None;
    for (_, bytes) in restored.keyed(WATERMARK, WATERMARK_TYPE)? {
        let bytes = bytes.as_slice().try_into();
        let bytes =
            bytes.map_err(|_| OperatorError::fatal("a watermark in the checkpoint has not 8 bytes"))?;
        let watermark = Timestamp::from_le_bytes(bytes);
        smallest = Some(smallest.map_or(watermark, |s: Timestamp| s.min(watermark)));
    }
    Ok(smallest.unwrap_or(MIN_WATERMARK))
}
