//! Arrow's record batches between processes: messages of Arrow's IPC stream, the schema once per channel.
//!
//! A frame holds whole encapsulated messages: a schema where it is new, dictionaries where they changed, and one record batch,
//! last. Nothing is copied on either side but what has to be (offsets of a sliced batch; columns that are not aligned).
//! Invariant: no length in a frame is believed before it was compared with the bytes that are there.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::ipc::convert::try_fb_to_schema;
use arrow::ipc::reader::{RecordBatchDecoder, read_dictionary};
use arrow::ipc::writer::StreamEncoder;
use arrow::ipc::{Message, MessageHeader, root_as_message};

use crate::batch::BatchCodec;
use crate::error::OperatorError;

/// What precedes a message's metadata: a marker, and the metadata's length.
const PREFIX: usize = 8;
const CONTINUATION: [u8; 4] = [0xff; 4];

/// No array of a frame is longer: not all types need bytes for their rows.
const MAX_ROWS: i64 = 1 << 28;

/// One channel's record batches, at either end.
#[derive(Default)]
pub struct ArrowCodec {
    encoder: Option<(SchemaRef, StreamEncoder)>,
    schema: Option<SchemaRef>,
    dictionaries: HashMap<i64, ArrayRef>,
}

impl BatchCodec<RecordBatch> for ArrowCodec {
    fn encode(&mut self, batch: RecordBatch, frame: &mut Vec<Buffer>) -> Result<(), OperatorError> {
        let schema = batch.schema_ref();
        let encoder = match &mut self.encoder {
            Some((known, encoder)) if Arc::ptr_eq(known, schema) || known == schema => encoder,
            other => &mut other.insert((schema.clone(), StreamEncoder::try_new(schema)?)).1,
        };
        frame.extend(encoder.encode(&batch)?);
        Ok(())
    }

    fn decode(&mut self, frame: Buffer) -> Result<RecordBatch, OperatorError> {
        // Of a damaged column, Arrow's reader asserts some of what it needs. Nothing is decoded after an error.
        catch_unwind(AssertUnwindSafe(|| self.read(frame)))
            .unwrap_or_else(|_| Err(damaged("a column that cannot be")))
    }
}

impl ArrowCodec {
    fn read(&mut self, mut frame: Buffer) -> Result<RecordBatch, OperatorError> {
        loop {
            let (metadata, after) = split(&frame)?;
            let message = root_as_message(&metadata).map_err(damaged)?;
            let length = usize::try_from(message.bodyLength()).map_err(damaged)?;
            if length > after.len() {
                return Err(damaged("it ends within a message"));
            }
            let body = after.slice_with_length(0, length);
            if let Some(batch) = self.take(message, &body)? {
                return Ok(batch);
            }
            frame = after.slice(length);
        }
    }

    fn take(&mut self, message: Message<'_>, body: &Buffer) -> Result<Option<RecordBatch>, OperatorError> {
        let version = message.version();
        if let Some(schema) = message.header_as_schema() {
            self.schema = Some(Arc::new(try_fb_to_schema(schema)?));
            self.dictionaries.clear();
            return Ok(None);
        }
        let schema = self.schema.as_ref().ok_or_else(|| damaged("it comes before the schema"))?;
        if let Some(dictionary) = message.header_as_dictionary_batch() {
            let values = dictionary.data().ok_or_else(|| damaged("a dictionary without values"))?;
            check(values, body)?;
            read_dictionary(body, dictionary, schema, &mut self.dictionaries, &version)?;
            return Ok(None);
        }
        let Some(batch) = message.header_as_record_batch() else {
            let kind: MessageHeader = message.header_type();
            return Err(damaged(format_args!("a message of kind {kind:?} is none of a stream")));
        };
        check(batch, body)?;
        let decoder = RecordBatchDecoder::try_new(body, batch, schema.clone(), &self.dictionaries, &version)?;
        Ok(Some(decoder.read_record_batch()?))
    }
}

/// Metadata of the first message, and what follows it.
fn split(frame: &Buffer) -> Result<(Buffer, Buffer), OperatorError> {
    let (Some((marker, after)), Some(prefix)) =
        (frame.split_first_chunk::<4>(), frame.first_chunk::<PREFIX>())
    else {
        return Err(damaged("it has no record batch"));
    };
    let [_, _, _, _, length @ ..] = *prefix;
    let length = u32::from_le_bytes(length) as usize;
    if *marker != CONTINUATION || length > after.len() - 4 {
        return Err(damaged("it does not begin with a message"));
    }
    Ok((frame.slice_with_length(PREFIX, length), frame.slice(PREFIX + length)))
}

/// Whether all that Arrow's reader takes for granted is so.
fn check(batch: arrow::ipc::RecordBatch<'_>, body: &Buffer) -> Result<(), OperatorError> {
    if batch.compression().is_some() {
        return Err(damaged("it is compressed"));
    }
    let rows = |rows: i64| (0..=MAX_ROWS).contains(&rows);
    let nodes = batch.nodes().into_iter().flatten();
    if !rows(batch.length()) || nodes.into_iter().any(|n| !rows(n.length()) || !rows(n.null_count())) {
        return Err(damaged("a number of rows that cannot be"));
    }
    for buffer in batch.buffers().into_iter().flatten() {
        let end = buffer.offset().checked_add(buffer.length());
        let end = end.filter(|_| buffer.offset() >= 0 && buffer.length() >= 0);
        if end.and_then(|end| usize::try_from(end).ok()).is_none_or(|end| end > body.len()) {
            return Err(damaged("a column that is longer than the frame"));
        }
    }
    Ok(())
}

fn damaged(what: impl std::fmt::Display) -> OperatorError {
    OperatorError::fatal(format!("a damaged frame of a record batch: {what}"))
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        Array, BooleanArray, Decimal128Array, DictionaryArray, Int64Array, ListArray, StringArray,
        StructArray,
    };
    use arrow::datatypes::{DataType, Field, Int32Type, Schema};

    use super::*;

    /// Columns of many kinds, with nulls.
    fn batch(rows: i64) -> RecordBatch {
        let text = |row: i64| (row % 7 != 0).then(|| format!("row {row}"));
        let names: StringArray = (0..rows).map(text).collect();
        let lists = (0..rows).map(|row| (row % 5 != 0).then(|| (0..row % 4).map(Some).collect::<Vec<_>>()));
        let prices =
            Decimal128Array::from_iter((0..rows).map(|row| (row % 3 != 0).then_some(i128::from(row))));
        let city: DictionaryArray<Int32Type> =
            (0..rows).map(|row| if row % 2 == 0 { "Ghent" } else { "Graz" }).collect();
        let field = Arc::new(Field::new("id", DataType::Int64, true));
        let ids: Arc<dyn Array> = Arc::new((0..rows).map(Some).collect::<Int64Array>());
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("name", Arc::new(names)),
            ("list", Arc::new(ListArray::from_iter_primitive::<arrow::datatypes::Int64Type, _, _>(lists))),
            ("price", Arc::new(prices)),
            ("city", Arc::new(city)),
            ("flag", Arc::new((0..rows).map(|row| Some(row % 2 == 0)).collect::<BooleanArray>())),
            ("row", Arc::new(StructArray::from(vec![(field, ids)]))),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true)))
            .expect("a batch")
    }

    fn encode(codec: &mut ArrowCodec, batch: &RecordBatch) -> Vec<u8> {
        let mut parts = Vec::new();
        codec.encode(batch.clone(), &mut parts).expect("encoded");
        parts.iter().flat_map(|part| part.iter().copied()).collect()
    }

    fn aligned(bytes: &[u8]) -> Buffer {
        Buffer::from_slice_ref(bytes)
    }

    #[test]
    fn batches_come_back_with_the_schema_sent_once() {
        let (mut encoder, mut decoder) = (ArrowCodec::default(), ArrowCodec::default());
        let all = batch(1000);
        let other = RecordBatch::try_from_iter([("n", all.column(2).clone())]).expect("a batch");
        let empty = RecordBatch::try_new_with_options(
            Arc::new(Schema::empty()),
            vec![],
            &arrow::array::RecordBatchOptions::new().with_row_count(Some(7)),
        );
        let batches = [
            all.clone(),
            all.clone(),
            all.slice(3, 500),
            batch(0),
            other,
            empty.expect("rows of nothing"),
            all,
        ];
        let mut lengths = Vec::new();
        for batch in &batches {
            let frame = encode(&mut encoder, batch);
            lengths.push(frame.len());
            assert_eq!(&decoder.decode(aligned(&frame)).expect("decoded"), batch);
        }
        assert!(lengths[1] + 500 < lengths[0], "{lengths:?}");
    }

    #[test]
    fn a_decoded_batch_lies_in_its_frame_and_is_copied_only_when_not_aligned() {
        let mut encoder = ArrowCodec::default();
        let batch = batch(100);
        let bytes = encode(&mut encoder, &batch);
        let frame = aligned(&bytes);
        let decoded = ArrowCodec::default().decode(frame.clone()).expect("decoded");
        let lies_in_frame = |column: &ArrayRef| {
            let data = column.to_data();
            data.buffers().iter().all(|b| frame.as_ptr_range().contains(&b.as_ptr()))
        };
        assert!([0, 1, 2, 4].iter().all(|c| lies_in_frame(decoded.column(*c))));
        let odd = aligned(&[&[0], &bytes[..]].concat()).slice(1);
        assert_eq!(ArrowCodec::default().decode(odd).expect("decoded"), batch);
    }

    #[test]
    fn a_damaged_frame_is_an_error_or_a_valid_batch_but_no_panic() {
        let batch = batch(20);
        let frame = encode(&mut ArrowCodec::default(), &batch);
        for length in 0..frame.len() - 64 {
            assert!(ArrowCodec::default().decode(aligned(&frame[..length])).is_err(), "cut at {length}");
        }
        for (at, _) in frame.iter().enumerate() {
            for value in [0, 1, 0x7f, 0x80, 0xff, frame[at] ^ 0x10] {
                let mut damaged = frame.clone();
                damaged[at] = value;
                if let Ok(decoded) = ArrowCodec::default().decode(aligned(&damaged)) {
                    // Whoever walks over it finds nothing that is not there.
                    for column in decoded.columns() {
                        column.to_data().validate_full().expect("valid");
                    }
                }
            }
        }
        let mut late = ArrowCodec::default();
        encode(&mut late, &batch);
        let second = encode(&mut late, &batch);
        assert!(ArrowCodec::default().decode(aligned(&second)).is_err(), "its schema was in the first frame");
    }
}
