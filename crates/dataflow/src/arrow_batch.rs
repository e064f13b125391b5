//! Arrow's `RecordBatch` as a [`Batch`].

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::ipc::{reader::StreamReader, writer::StreamWriter};

use crate::arrow_codec;
use crate::batch::{Batch, Rows};
use crate::error::OperatorError;

impl Rows for RecordBatch {
    fn num_rows(&self) -> usize {
        RecordBatch::num_rows(self)
    }

    fn num_bytes(&self) -> usize {
        // `get_array_memory_size` counts a shared buffer in full for each slice of it; a slice's own share is what
        // a channel holds back.
        self.columns().iter().map(|c| c.to_data().get_slice_memory_size().unwrap_or(0)).sum()
    }
}

impl Batch for RecordBatch {
    type Codec = arrow_codec::ArrowCodec;

    fn slice(&self, offset: usize, length: usize) -> Self {
        RecordBatch::slice(self, offset, length)
    }

    fn concat(batches: Vec<Self>) -> Result<Self, OperatorError> {
        if let [only] = batches.as_slice() {
            return Ok(only.clone());
        }
        let first = batches.first().ok_or_else(|| OperatorError::fatal("concat of no batches"))?;
        Ok(concat_batches(&first.schema(), &batches)?)
    }

    fn partition(self, targets: &[u32], parts: usize) -> Vec<Option<Self>> {
        debug_assert_eq!(targets.len(), RecordBatch::num_rows(&self));
        let mut counts = vec![0usize; parts];
        for target in targets {
            counts[*target as usize] += 1;
        }
        if let Some(all) = counts.iter().position(|count| *count == targets.len() && *count > 0) {
            let mut out: Vec<Option<Self>> = (0..parts).map(|_| None).collect();
            out[all] = Some(self);
            return out;
        }
        let mut rows: Vec<Vec<u32>> = counts.iter().map(|count| Vec::with_capacity(*count)).collect();
        for (row, target) in (0u32..).zip(targets) {
            rows[*target as usize].push(row);
        }
        rows.into_iter()
            .map(|rows| {
                (!rows.is_empty()).then(|| {
                    take_record_batch(&self, &UInt32Array::from(rows))
                        .expect("row numbers come from this batch")
                })
            })
            .collect()
    }

    fn encode(&self, into: &mut Vec<u8>) -> Result<(), OperatorError> {
        let mut writer = StreamWriter::try_new(into, &self.schema())?;
        writer.write(self)?;
        Ok(writer.finish()?)
    }

    fn decode(bytes: &[u8]) -> Result<Self, OperatorError> {
        let mut batches = StreamReader::try_new(bytes, None)?;
        match (batches.next().transpose()?, batches.next().transpose()?) {
            (Some(batch), None) => Ok(batch),
            _ => Err(OperatorError::fatal("an encoded batch must hold exactly one record batch")),
        }
    }
}
