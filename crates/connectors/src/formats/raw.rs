//! `raw`: a line is the one column's value. NULL is an empty line.

use arrow::array::{Array, AsArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType as ArrowType, SchemaRef};
use streamkeeper_dataflow::{OperatorError, OperatorResult};

use super::column::Column;
use super::{Decoder, Encoder, RecordError, projected_schema};
use crate::error::ConnectorError;
use crate::options::Options;
use crate::schema::{Field, TypeKind};

/// Flink's `raw.*` options.
#[derive(Debug, Clone, Default)]
pub(crate) struct RawOptions;

impl RawOptions {
    pub(crate) fn from_options(options: &Options<'_>) -> Result<Self, ConnectorError> {
        if let Some(charset) = options.get("raw.charset").filter(|c| !c.eq_ignore_ascii_case("utf-8")) {
            return Err(options.invalid("raw.charset", charset, "UTF-8, the only charset supported"));
        }
        // Of no effect on the types that are supported.
        options.get("raw.endianness");
        Ok(Self)
    }
}

/// Refuses all but one column of text or bytes.
pub(crate) fn check(columns: &[Field]) -> Result<(), ConnectorError> {
    let [column] = columns else {
        return Err(ConnectorError::invalid(format!(
            "The 'raw' format only supports single physical column. However the defined schema contains multiple \
             physical columns: {}",
            columns.iter().map(|c| format!("`{}`", c.name)).collect::<Vec<_>>().join(", ")
        )));
    };
    match column.data_type.kind {
        TypeKind::Char(_) | TypeKind::Varchar(_) | TypeKind::Binary(_) | TypeKind::Varbinary(_) => Ok(()),
        _ => Err(ConnectorError::invalid(format!(
            "column `{}`: the 'raw' format supports STRING and BYTES here, not {}",
            column.name, column.data_type
        ))),
    }
}

pub(crate) struct RawDecoder {
    column: Option<Column>,
    copies: usize,
    schema: SchemaRef,
    rows: usize,
}

impl RawDecoder {
    pub(crate) fn new(_options: RawOptions, columns: &[Field], projection: &[usize]) -> Self {
        let column = (!projection.is_empty()).then(|| Column::new(&columns[0].data_type));
        Self { column, copies: projection.len(), schema: projected_schema(columns, projection), rows: 0 }
    }
}

impl Decoder for RawDecoder {
    fn decode(
        &mut self,
        bytes: &[u8],
        eof: bool,
        stop_at: usize,
        max_rows: usize,
    ) -> Result<usize, RecordError> {
        let mut at = 0;
        while self.rows < max_rows && at < bytes.len() && at < stop_at {
            let end = match memchr::memchr(b'\n', &bytes[at..]) {
                Some(n) => at + n,
                None if eof => bytes.len(),
                None => break,
            };
            if let Some(Column::Text(c) | Column::Binary(c)) = &mut self.column {
                let line = &bytes[at..end];
                c.push(line.strip_suffix(b"\r").unwrap_or(line));
            }
            self.rows += 1;
            at = (end + 1).min(bytes.len());
        }
        Ok(at)
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn num_bytes(&self) -> usize {
        self.column.as_ref().map_or(0, Column::num_bytes)
    }

    fn finish(&mut self) -> OperatorResult<RecordBatch> {
        let array = self.column.as_mut().map(Column::finish).transpose()?;
        let options = RecordBatchOptions::new().with_row_count(Some(std::mem::take(&mut self.rows)));
        let columns = array.into_iter().flat_map(|array| std::iter::repeat_n(array, self.copies)).collect();
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?)
    }

    fn take_skipped(&mut self) -> u64 {
        0
    }
}

pub(crate) struct RawEncoder;

impl RawEncoder {
    pub(crate) fn new(_options: RawOptions) -> Self {
        Self
    }
}

impl Encoder for RawEncoder {
    fn encode(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> OperatorResult<()> {
        let array = batch.column(0);
        for row in 0..batch.num_rows() {
            if array.is_valid(row) {
                match array.data_type() {
                    ArrowType::Utf8 => out.extend_from_slice(array.as_string::<i32>().value(row).as_bytes()),
                    ArrowType::Binary => out.extend_from_slice(array.as_binary::<i32>().value(row)),
                    other => {
                        return Err(OperatorError::fatal(format!(
                            "raw: a column of type {other} has no form"
                        )));
                    }
                }
            }
            out.push(b'\n');
        }
        Ok(())
    }
}
