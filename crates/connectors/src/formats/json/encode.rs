//! Rows as JSON lines.

use std::io::Write;

use arrow::array::{Array, RecordBatch};
use streamkeeper_dataflow::{OperatorError, OperatorResult};

use super::{JsonOptions, MapNullKey};
use crate::formats::Encoder;
use crate::formats::cells::{Cells, Column};
use crate::schema::Field;
use crate::text::base64;
use crate::text::number::{
    strip_trailing_zeros, write_decimal_java, write_decimal_plain, write_f32, write_f64, write_i64,
};
use crate::text::time::{write_date, write_time, write_timestamp};

/// Encodes rows of a fixed list of columns.
pub(crate) struct JsonEncoder {
    options: JsonOptions,
    /// `"name":` of each column.
    keys: Vec<Vec<u8>>,
}

fn key(name: &str) -> Vec<u8> {
    let mut key = Vec::new();
    write_string(name.as_bytes(), &mut key);
    key.push(b':');
    key
}

impl JsonEncoder {
    /// An encoder of rows with `columns`.
    pub(crate) fn new(options: JsonOptions, columns: &[Field]) -> Self {
        Self { options, keys: columns.iter().map(|c| key(&c.name)).collect() }
    }
}

impl Encoder for JsonEncoder {
    fn encode(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> OperatorResult<()> {
        let columns = batch
            .columns()
            .iter()
            .take(self.keys.len())
            .map(|array| Column::new(array.as_ref()))
            .collect::<OperatorResult<Vec<_>>>()?;
        for row in 0..batch.num_rows() {
            write_object(&self.options, columns.iter().zip(&self.keys), row, out)?;
            out.push(b'\n');
        }
        Ok(())
    }
}

fn write_object<'a>(
    options: &JsonOptions,
    fields: impl Iterator<Item = (&'a Column<'a>, &'a Vec<u8>)>,
    row: usize,
    out: &mut Vec<u8>,
) -> OperatorResult<()> {
    out.push(b'{');
    let mut first = true;
    for (column, key) in fields {
        let null = column.is_null(row);
        if null && options.ignore_null_fields {
            continue;
        }
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        out.extend_from_slice(key);
        if null {
            out.extend_from_slice(b"null");
        } else {
            write_value(options, &column.cells, row, out)?;
        }
    }
    out.push(b'}');
    Ok(())
}

fn quoted(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    write(out);
    out.push(b'"');
}

/// Appends the text of a number; those that JSON has no number for are strings.
fn write_number(out: &mut Vec<u8>, finite: bool, write: impl FnOnce(&mut Vec<u8>)) {
    if finite { write(out) } else { quoted(out, write) }
}

fn write_value(
    options: &JsonOptions,
    cells: &Cells<'_>,
    row: usize,
    out: &mut Vec<u8>,
) -> OperatorResult<()> {
    match cells {
        Cells::Boolean(c) => out.extend_from_slice(if c.value(row) { b"true" } else { b"false" }),
        Cells::TinyInt(c) => write_i64(i64::from(c.value(row)), out),
        Cells::SmallInt(c) => write_i64(i64::from(c.value(row)), out),
        Cells::Int(c) => write_i64(i64::from(c.value(row)), out),
        Cells::BigInt(c) => write_i64(c.value(row), out),
        Cells::Float(c) => write_number(out, c.value(row).is_finite(), |out| write_f32(c.value(row), out)),
        Cells::Double(c) => write_number(out, c.value(row).is_finite(), |out| write_f64(c.value(row), out)),
        Cells::Decimal(c, scale) => {
            if options.plain_decimals {
                write_decimal_plain(c.value(row), *scale, out);
            } else {
                let (unscaled, scale) = strip_trailing_zeros(c.value(row), *scale);
                write_decimal_java(unscaled, scale, out);
            }
        }
        Cells::Text(c) => write_string(c.value(row).as_bytes(), out),
        Cells::Binary(c) => quoted(out, |out| base64::encode(c.value(row), out)),
        Cells::Date(c) => quoted(out, |out| write_date(i64::from(c.value(row)), out)),
        Cells::Time(c) => quoted(out, |out| write_time(i64::from(c.value(row)) * 1_000_000, out)),
        Cells::Timestamp(values, per_second, zoned) => quoted(out, |out| {
            write_timestamp(values[row], *per_second, options.timestamps, *zoned, out);
        }),
        Cells::List(list, items) => {
            let offsets = list.value_offsets();
            out.push(b'[');
            for (i, at) in (offsets[row] as usize..offsets[row + 1] as usize).enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_nullable(options, list.values().as_ref(), items, at, out)?;
            }
            out.push(b']');
        }
        Cells::Map(map, keys, values) => {
            let offsets = map.value_offsets();
            let Cells::Text(texts) = keys.as_ref() else {
                return Err(OperatorError::fatal("json: the keys of a map must be strings"));
            };
            out.push(b'{');
            let mut first = true;
            for at in offsets[row] as usize..offsets[row + 1] as usize {
                let key = match (map.keys().is_null(at), &options.map_null_key) {
                    (false, _) => texts.value(at),
                    (true, MapNullKey::Drop) => continue,
                    (true, MapNullKey::Literal(literal)) => literal,
                    (true, MapNullKey::Fail) => {
                        return Err(OperatorError::fatal(
                            "JSON format doesn't support to serialize map data with null keys. You can drop null key \
                             entries or encode null in literals by specifying json.map-null-key.mode option.",
                        ));
                    }
                };
                if !std::mem::take(&mut first) {
                    out.push(b',');
                }
                write_string(key.as_bytes(), out);
                out.push(b':');
                write_nullable(options, map.values().as_ref(), values, at, out)?;
            }
            out.push(b'}');
        }
        Cells::Row(array, fields) => {
            let keys: Vec<Vec<u8>> = array.fields().iter().map(|f| key(f.name())).collect();
            write_object(options, fields.iter().zip(&keys), row, out)?;
        }
        Cells::Null => out.extend_from_slice(b"null"),
    }
    Ok(())
}

fn write_nullable(
    options: &JsonOptions,
    array: &dyn Array,
    cells: &Cells<'_>,
    row: usize,
    out: &mut Vec<u8>,
) -> OperatorResult<()> {
    if matches!(cells, Cells::Null) || array.is_null(row) {
        out.extend_from_slice(b"null");
        return Ok(());
    }
    write_value(options, cells, row, out)
}

/// Appends a string in quotes; only quotes, backslashes and control characters are escaped.
pub(super) fn write_string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            8 => out.extend_from_slice(b"\\b"),
            12 => out.extend_from_slice(b"\\f"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..b' ' => {
                let _ = write!(out, "\\u{byte:04X}");
            }
            other => out.push(*other),
        }
    }
    out.push(b'"');
}
