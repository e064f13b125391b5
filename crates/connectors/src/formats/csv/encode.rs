//! Rows as CSV, quoted exactly where Jackson's generator quotes.
//!
//! Jackson quotes a string that is longer than 24 characters without looking at it, and otherwise when it holds any
//! character up to the greatest of delimiter, quote and line end (blanks and `+`, for the usual ones). Numbers,
//! booleans and the null literal are never quoted.

use arrow::array::{Array, RecordBatch};
use streamkeeper_dataflow::OperatorResult;

use super::CsvOptions;
use crate::formats::Encoder;
use crate::formats::cells::{Cells, Column};
use crate::schema::Field;
use crate::text::base64;
use crate::text::number::{
    strip_trailing_zeros, write_decimal_java, write_decimal_plain, write_f32, write_f64, write_i64,
};
use crate::text::time::{TimestampFormat, write_date, write_time, write_timestamp};

/// Longer strings, in UTF-16 units, are quoted unseen.
const MAX_QUOTE_CHECK: usize = 24;

/// Encodes rows of a fixed list of columns.
pub(crate) struct CsvEncoder {
    options: CsvOptions,
    columns: usize,
    /// Bytes below this one ask for quotes.
    min_safe: u8,
    scratch: Vec<u8>,
}

impl CsvEncoder {
    /// An encoder of rows with `columns`.
    pub(crate) fn new(options: CsvOptions, columns: &[Field]) -> Self {
        let min_safe = options.delimiter.max(options.quote.unwrap_or(0)).max(b'\n') + 1;
        Self { options, columns: columns.len(), min_safe, scratch: Vec::new() }
    }

    fn write(&mut self, column: &Column<'_>, row: usize, out: &mut Vec<u8>) {
        if column.is_null(row) {
            out.extend_from_slice(self.options.null_literal.as_deref().unwrap_or_default());
            return;
        }
        match &column.cells {
            Cells::Text(c) => self.write_text(c.value(row).as_bytes(), out),
            // The common cases of what is never quoted.
            Cells::BigInt(c) => write_i64(c.value(row), out),
            Cells::Int(c) => write_i64(i64::from(c.value(row)), out),
            Cells::Double(c) => write_f64(c.value(row), out),
            Cells::Timestamp(values, per_second, zoned) => match self.options.quote {
                Some(quote) if self.min_safe > b' ' => {
                    out.push(quote);
                    write_timestamp(values[row], *per_second, TimestampFormat::Sql, *zoned, out);
                    out.push(quote);
                }
                _ => write_timestamp(values[row], *per_second, TimestampFormat::Sql, *zoned, out),
            },
            cells => {
                let mut text = std::mem::take(&mut self.scratch);
                text.clear();
                let quotable = write_value(cells, row, &self.options, &mut text);
                if quotable {
                    self.write_text(&text, out);
                } else {
                    out.extend_from_slice(&text);
                }
                self.scratch = text;
            }
        }
    }

    fn write_text(&self, text: &[u8], out: &mut Vec<u8>) {
        let Some(quote) = self.options.quote.filter(|_| self.needs_quotes(text)) else {
            out.extend_from_slice(text);
            return;
        };
        out.push(quote);
        let mut rest = text;
        let escape = self.options.escape;
        while let Some(at) = memchr::memchr2(quote, escape.unwrap_or(quote), rest) {
            out.extend_from_slice(&rest[..at]);
            // A quote is doubled, and so is an escape character.
            out.extend_from_slice(&[rest[at], rest[at]]);
            rest = &rest[at + 1..];
        }
        out.extend_from_slice(rest);
        out.push(quote);
    }

    fn needs_quotes(&self, text: &[u8]) -> bool {
        if text.len() > MAX_QUOTE_CHECK && utf16_len(text) > MAX_QUOTE_CHECK {
            return true;
        }
        text.iter().any(|byte| *byte < self.min_safe || Some(*byte) == self.options.escape)
    }
}

fn utf16_len(text: &[u8]) -> usize {
    text.iter().map(|byte| usize::from((byte & 0xC0) != 0x80) + usize::from(*byte >= 0xF0)).sum()
}

/// Appends the text of a value that is not NULL; true when it may have to be quoted.
fn write_value(cells: &Cells<'_>, row: usize, options: &CsvOptions, out: &mut Vec<u8>) -> bool {
    match cells {
        Cells::Boolean(c) => out.extend_from_slice(if c.value(row) { b"true" } else { b"false" }),
        Cells::TinyInt(c) => write_i64(i64::from(c.value(row)), out),
        Cells::SmallInt(c) => write_i64(i64::from(c.value(row)), out),
        Cells::Int(c) => write_i64(i64::from(c.value(row)), out),
        Cells::BigInt(c) => write_i64(c.value(row), out),
        Cells::Float(c) => write_f32(c.value(row), out),
        Cells::Double(c) => write_f64(c.value(row), out),
        Cells::Decimal(c, scale) => {
            let (unscaled, scale) = strip_trailing_zeros(c.value(row), *scale);
            if options.scientific {
                write_decimal_java(unscaled, scale, out);
            } else {
                write_decimal_plain(unscaled, scale, out);
            }
        }
        Cells::Text(c) => {
            out.extend_from_slice(c.value(row).as_bytes());
            return true;
        }
        Cells::Binary(c) => {
            base64::encode(c.value(row), out);
            return true;
        }
        Cells::Date(c) => {
            write_date(i64::from(c.value(row)), out);
            return true;
        }
        Cells::Time(c) => {
            write_time(i64::from(c.value(row)) * 1_000_000, out);
            return true;
        }
        Cells::Timestamp(values, per_second, zoned) => {
            write_timestamp(values[row], *per_second, TimestampFormat::Sql, *zoned, out);
            return true;
        }
        Cells::List(list, items) => {
            let offsets = list.value_offsets();
            let range = offsets[row] as usize..offsets[row + 1] as usize;
            for (i, at) in range.enumerate() {
                if i > 0 {
                    out.extend_from_slice(&options.array_delimiter);
                }
                if list.values().is_null(at) {
                    out.extend_from_slice(options.null_literal.as_deref().unwrap_or_default());
                } else {
                    write_value(items, at, options, out);
                }
            }
            return true;
        }
        // Refused when the job was planned.
        Cells::Map(..) | Cells::Row(..) | Cells::Null => {}
    }
    false
}

impl Encoder for CsvEncoder {
    fn encode(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> OperatorResult<()> {
        let columns = batch.columns()[..self.columns]
            .iter()
            .map(|array| Column::new(array.as_ref()))
            .collect::<OperatorResult<Vec<_>>>()?;
        for row in 0..batch.num_rows() {
            for (i, column) in columns.iter().enumerate() {
                if i > 0 {
                    out.push(self.options.delimiter);
                }
                self.write(column, row, out);
            }
            out.push(b'\n');
        }
        Ok(())
    }
}
