//! `print`: rows on standard output or standard error, in Flink's form `+I[1, a, null]`.
//!
//! A batch is written with one call under the stream's lock, so that lines of different subtasks never mix.

use std::io::Write;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int8Type;
use streamkeeper_dataflow::element::CheckpointId;
use streamkeeper_dataflow::operator::OperatorContext;
use streamkeeper_dataflow::sink::{Committable, Sink, SinkWriter};
use streamkeeper_dataflow::{OperatorError, OperatorResult};

use crate::formats::cells::{Cells, Column};
use crate::table::ROW_KIND_COLUMN;
use crate::text::number::{write_decimal_java, write_f32, write_f64, write_i64};
use crate::text::time::{from_epoch, write_date, write_java_time};

/// A table's rows on the terminal.
pub(crate) struct PrintSink {
    pub(crate) identifier: String,
    pub(crate) standard_error: bool,
    /// Columns without the row kind.
    pub(crate) columns: usize,
}

struct PrintWriter {
    prefix: Vec<u8>,
    standard_error: bool,
    columns: usize,
    buffer: Vec<u8>,
}

impl Sink<RecordBatch> for PrintSink {
    fn writer(&self, context: &OperatorContext) -> OperatorResult<Box<dyn SinkWriter<RecordBatch>>> {
        Ok(Box::new(PrintWriter {
            prefix: prefix(&self.identifier, context.subtask, context.parallelism),
            standard_error: self.standard_error,
            columns: self.columns,
            buffer: Vec::new(),
        }))
    }
}

/// `identifier:subtask> `, of which the subtask (from 1) is left out when there is only one.
fn prefix(identifier: &str, subtask: usize, parallelism: usize) -> Vec<u8> {
    let mut prefix = identifier.to_owned();
    if parallelism > 1 {
        if !prefix.is_empty() {
            prefix.push(':');
        }
        prefix += &(subtask + 1).to_string();
    }
    if !prefix.is_empty() {
        prefix += "> ";
    }
    prefix.into_bytes()
}

impl SinkWriter<RecordBatch> for PrintWriter {
    fn write(&mut self, batch: RecordBatch) -> OperatorResult<()> {
        self.buffer.clear();
        print_batch(&batch, self.columns, &self.prefix, &mut self.buffer)?;
        let written = if self.standard_error {
            std::io::stderr().lock().write_all(&self.buffer)
        } else {
            let mut out = std::io::stdout().lock();
            out.write_all(&self.buffer).and_then(|()| out.flush())
        };
        let stream = if self.standard_error { "standard error" } else { "standard output" };
        written.map_err(|e| OperatorError::fatal(format!("cannot print to {stream}: {e}")))
    }

    fn prepare_commit(&mut self, _checkpoint: CheckpointId) -> OperatorResult<Vec<Committable>> {
        Ok(Vec::new())
    }
}

/// Appends a line per row.
pub(crate) fn print_batch(
    batch: &RecordBatch,
    columns: usize,
    prefix: &[u8],
    out: &mut Vec<u8>,
) -> OperatorResult<()> {
    let schema = batch.schema();
    let kinds = match batch.num_columns() {
        n if n > columns && schema.field(n - 1).name() == ROW_KIND_COLUMN => {
            batch.column(n - 1).as_primitive_opt::<Int8Type>()
        }
        _ => None,
    };
    let cells = batch
        .columns()
        .iter()
        .take(columns)
        .map(|array| Column::new(array.as_ref()))
        .collect::<OperatorResult<Vec<_>>>()?;
    for row in 0..batch.num_rows() {
        out.extend_from_slice(prefix);
        let kind: &[u8; 2] = match kinds.map_or(0, |kinds| kinds.value(row)) {
            0 => b"+I",
            1 => b"-U",
            2 => b"+U",
            3 => b"-D",
            other => return Err(OperatorError::fatal(format!("there is no row kind {other}"))),
        };
        out.extend_from_slice(kind);
        write_row(&cells, row, out);
        out.push(b'\n');
    }
    Ok(())
}

fn write_row(columns: &[Column<'_>], row: usize, out: &mut Vec<u8>) {
    out.push(b'[');
    for (i, column) in columns.iter().enumerate() {
        if i > 0 {
            out.extend_from_slice(b", ");
        }
        if column.is_null(row) {
            out.extend_from_slice(b"null");
        } else {
            write_value(&column.cells, row, out);
        }
    }
    out.push(b']');
}

/// Appends a value as `Row.toString` of Flink prints it.
fn write_value(cells: &Cells<'_>, row: usize, out: &mut Vec<u8>) {
    match cells {
        Cells::Boolean(c) => out.extend_from_slice(if c.value(row) { b"true" } else { b"false" }),
        Cells::TinyInt(c) => write_i64(i64::from(c.value(row)), out),
        Cells::SmallInt(c) => write_i64(i64::from(c.value(row)), out),
        Cells::Int(c) => write_i64(i64::from(c.value(row)), out),
        Cells::BigInt(c) => write_i64(c.value(row), out),
        Cells::Float(c) => write_f32(c.value(row), out),
        Cells::Double(c) => write_f64(c.value(row), out),
        Cells::Decimal(c, scale) => write_decimal_java(c.value(row), *scale, out),
        Cells::Text(c) => out.extend_from_slice(c.value(row).as_bytes()),
        Cells::Binary(c) => {
            out.push(b'[');
            for (i, byte) in c.value(row).iter().enumerate() {
                if i > 0 {
                    out.extend_from_slice(b", ");
                }
                write_i64(i64::from(*byte as i8), out);
            }
            out.push(b']');
        }
        Cells::Date(c) => write_date(i64::from(c.value(row)), out),
        Cells::Time(c) => write_java_time(i64::from(c.value(row)) * 1_000_000, false, out),
        Cells::Timestamp(values, per_second, zoned) => {
            let (days, nanos) = from_epoch(values[row], *per_second);
            write_date(days, out);
            out.push(b'T');
            // An `Instant` always shows its seconds, a `LocalDateTime` only when there are some.
            write_java_time(nanos, *zoned, out);
            if *zoned {
                out.push(b'Z');
            }
        }
        Cells::List(list, items) => {
            let offsets = list.value_offsets();
            out.push(b'[');
            for (i, at) in (offsets[row] as usize..offsets[row + 1] as usize).enumerate() {
                if i > 0 {
                    out.extend_from_slice(b", ");
                }
                write_nullable(list.values().as_ref(), items, at, out);
            }
            out.push(b']');
        }
        Cells::Map(map, keys, values) => {
            let offsets = map.value_offsets();
            out.push(b'{');
            for (i, at) in (offsets[row] as usize..offsets[row + 1] as usize).enumerate() {
                if i > 0 {
                    out.extend_from_slice(b", ");
                }
                write_nullable(map.keys().as_ref(), keys, at, out);
                out.push(b'=');
                write_nullable(map.values().as_ref(), values, at, out);
            }
            out.push(b'}');
        }
        Cells::Row(_, fields) => {
            out.extend_from_slice(b"+I");
            write_row(fields, row, out);
        }
        Cells::Null => out.extend_from_slice(b"null"),
    }
}

fn write_nullable(array: &dyn Array, cells: &Cells<'_>, row: usize, out: &mut Vec<u8>) {
    if matches!(cells, Cells::Null) || array.is_null(row) {
        out.extend_from_slice(b"null");
    } else {
        write_value(cells, row, out);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int8Array, Int64Array, StringArray, TimestampMillisecondArray};

    use super::*;

    #[test]
    fn rows_print_with_their_kind_and_javas_timestamps() {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("a", Arc::new(Int64Array::from(vec![Some(1), None]))),
            ("b", Arc::new(StringArray::from(vec![Some("x y"), Some("")]))),
            ("t", Arc::new(TimestampMillisecondArray::from(vec![1_436_918_400_587, 1_436_918_400_000]))),
            (ROW_KIND_COLUMN, Arc::new(Int8Array::from(vec![2, 3]))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut out = Vec::new();
        print_batch(&batch, 3, b"", &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "+U[1, x y, 2015-07-15T00:00:00.587]\n-D[null, , 2015-07-15T00:00]\n"
        );
    }

    #[test]
    fn the_prefix_names_the_subtask_only_when_there_are_several() {
        assert_eq!(prefix("", 0, 1), b"");
        assert_eq!(prefix("", 0, 2), b"1> ");
        assert_eq!(prefix("out", 0, 1), b"out> ");
        assert_eq!(prefix("out", 1, 2), b"out:2> ");
    }
}
