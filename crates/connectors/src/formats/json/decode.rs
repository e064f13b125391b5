//! JSON lines into columns, in one pass: no tree is built, and fields that nobody asked for are only skipped.

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use streamkeeper_dataflow::{OperatorError, OperatorResult};

use super::JsonOptions;
use super::parser::{MAX_DEPTH, Parser, Text};
use crate::formats::column::Column;
use crate::formats::{Decoder, RecordError, projected_schema, shorten};
use crate::schema::Field;
use crate::text::base64;
use crate::text::number::{parse_f64, trim};

/// Decodes lines of one JSON object each.
pub(crate) struct JsonDecoder {
    options: JsonOptions,
    names: Vec<String>,
    columns: Vec<Column>,
    /// For each column of the output, which of `columns` it is.
    projection: Vec<usize>,
    schema: SchemaRef,
    rows: usize,
    skipped: u64,
    scratch: Vec<u8>,
}

impl JsonDecoder {
    /// A decoder of the columns in `projection`, in its order.
    pub(crate) fn new(options: JsonOptions, columns: &[Field], projection: &[usize]) -> Self {
        let mut kept = projection.to_vec();
        kept.sort_unstable();
        kept.dedup();
        Self {
            options,
            names: kept.iter().map(|i| columns[*i].name.clone()).collect(),
            columns: kept.iter().map(|i| Column::new(&columns[*i].data_type)).collect(),
            projection: projection.iter().filter_map(|i| kept.binary_search(i).ok()).collect(),
            schema: projected_schema(columns, projection),
            rows: 0,
            skipped: 0,
            scratch: Vec::new(),
        }
    }

    /// Appends the row of a line; false when it holds none.
    fn line(&mut self, line: &[u8]) -> Result<bool, String> {
        let mut parser = Parser {
            bytes: line,
            at: 0,
            options: &self.options,
            scratch: &mut self.scratch,
            skipped: &mut self.skipped,
        };
        match parser.peek() {
            None => return Ok(false),
            Some(b'{') => {}
            Some(_) => return Err("a JSON object was expected".into()),
        }
        parser.object(&mut self.columns, &self.names, self.rows, 0)?;
        Ok(true)
    }
}

impl Parser<'_> {
    /// Appends a row: `columns` by `names`, to be row `row` of each.
    fn object(
        &mut self,
        columns: &mut [Column],
        names: &[String],
        row: usize,
        depth: usize,
    ) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(format!("values are nested deeper than {MAX_DEPTH}"));
        }
        self.expect(b'{')?;
        // Fields mostly come in the order of the columns.
        let (mut next, mut found_columns) = (0, 0);
        let mut more = self.peek() != Some(b'}');
        if !more {
            self.at += 1;
        }
        while more {
            let key = self.string()?;
            let key = self.text(&key);
            let found = match names.get(next) {
                Some(name) if name.as_bytes() == key => Some(next),
                _ => names.iter().position(|name| name.as_bytes() == key),
            };
            self.expect(b':')?;
            match found {
                None => self.skip(depth + 1)?,
                Some(index) => {
                    found_columns += usize::from(columns[index].len() == row);
                    columns[index].truncate(row);
                    self.field(&mut columns[index], &names[index], row, depth + 1)?;
                    next = index + 1;
                    // As in Flink, what follows the last field that was asked for is not even looked at.
                    if depth == 0 && found_columns == columns.len() {
                        return Ok(());
                    }
                }
            }
            more = self.more(b'}')?;
        }
        for (column, name) in columns.iter_mut().zip(names) {
            if column.len() == row {
                if self.options.fail_on_missing_field {
                    return Err(format!("could not find field with name '{name}'"));
                }
                column.push_null();
            }
        }
        Ok(())
    }

    /// Appends a field's value; NULL when it is malformed and that is to be ignored.
    fn field(&mut self, column: &mut Column, name: &str, row: usize, depth: usize) -> Result<(), String> {
        let start = self.at;
        let Err(error) = self.value(column, depth) else { return Ok(()) };
        if !self.options.ignore_parse_errors {
            return Err(format!("column `{name}`: {error}"));
        }
        self.at = start;
        self.skip(depth)?;
        *self.skipped += 1;
        column.truncate(row);
        column.push_null();
        Ok(())
    }

    fn value(&mut self, column: &mut Column, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(format!("values are nested deeper than {MAX_DEPTH}"));
        }
        let first = self.peek();
        if first == Some(b'n') {
            self.literal(b"null")?;
            column.push_null();
            return Ok(());
        }
        match column {
            Column::List { item, .. } => {
                self.expect(b'[')?;
                let mut more = self.peek() != Some(b']');
                if !more {
                    self.at += 1;
                }
                while more {
                    let row = item.len();
                    self.field(item, "element", row, depth + 1)?;
                    more = self.more(b']')?;
                }
                column.close_row();
                Ok(())
            }
            Column::Map { key, value, .. } => {
                let first_row = key.len();
                self.expect(b'{')?;
                let mut more = self.peek() != Some(b'}');
                if !more {
                    self.at += 1;
                }
                while more {
                    let row = key.len();
                    let text = self.string()?;
                    if let Column::Text(c) = key.as_mut() {
                        c.push(self.text(&text));
                    }
                    self.expect(b':')?;
                    self.field(value, "value", row, depth + 1)?;
                    more = self.more(b'}')?;
                }
                if has_duplicates(key, first_row) {
                    return Err("a map has two entries of the same key".into());
                }
                column.close_row();
                Ok(())
            }
            Column::Row { names, fields, len, .. } => {
                self.object(fields, names, *len, depth + 1)?;
                column.close_row();
                Ok(())
            }
            Column::Text(c) if matches!(first, Some(b'{' | b'[')) => {
                self.compact(&mut c.values, depth)?;
                c.close();
                Ok(())
            }
            _ => self.scalar(column, first),
        }
    }

    fn scalar(&mut self, column: &mut Column, first: Option<u8>) -> Result<(), String> {
        let start = self.at;
        let (text, is_number) = match first {
            Some(b'"') => (self.string()?, false),
            Some(b't') => (self.literal(b"true")?, false),
            Some(b'f') => (self.literal(b"false")?, false),
            Some(b'-' | b'0'..=b'9') => (self.number()?, true),
            Some(b'{' | b'[') => return Err("a scalar value was expected, not an object or array".into()),
            found => return Err(self.unexpected(found, "a value")),
        };
        let text: &[u8] = match &text {
            Text::Plain(from, to) => &self.bytes[*from..*to],
            Text::Unescaped => self.scratch,
        };
        let quoted = first == Some(b'"');
        let ok = match column {
            Column::Text(c) => {
                c.push(text);
                true
            }
            Column::Boolean(c) => {
                c.values.push(trim(text).eq_ignore_ascii_case(b"true"));
                true
            }
            Column::Binary(c) => {
                let ok = quoted && base64::decode(text, &mut c.values);
                if ok {
                    c.close();
                }
                ok
            }
            Column::Date(_) | Column::Time(_) | Column::Timestamp { .. } => {
                column.push_time(text, self.options.timestamps)
            }
            // As Java's parser does, an integer is what stands before the point of a number.
            Column::Int(_) | Column::BigInt(_) if is_number && text.iter().any(|b| b"eE.".contains(b)) => {
                parse_f64(text)
                    .filter(|value| value.abs() < 9.2e18)
                    .is_some_and(|value| column.push_integer(value as i64))
            }
            Column::Decimal { .. } => column.push_number(text),
            _ => column.push_number(trim(text)),
        };
        if ok { Ok(()) } else { Err(format!("{} is not of its type", shorten(&self.bytes[start..self.at]))) }
    }
}

/// Whether two of the entries from `first_row` on have the same key.
fn has_duplicates(key: &Column, first_row: usize) -> bool {
    let Column::Text(keys) = key else { return false };
    let mut seen: Vec<&[u8]> = (first_row..key.len()).map(|row| keys.value(row)).collect();
    seen.sort_unstable();
    seen.windows(2).any(|pair| pair[0] == pair[1])
}

impl Decoder for JsonDecoder {
    fn decode(
        &mut self,
        bytes: &[u8],
        eof: bool,
        stop_at: usize,
        max_rows: usize,
    ) -> Result<usize, RecordError> {
        let mut at = 0;
        while self.rows < max_rows && at < bytes.len() && at < stop_at {
            let line_end = memchr::memchr(b'\n', &bytes[at..]).map(|n| at + n);
            let end = match line_end {
                Some(end) => end,
                None if eof => bytes.len(),
                None => break,
            };
            match self.line(&bytes[at..end]) {
                Ok(true) => self.rows += 1,
                Ok(false) => {}
                Err(reason) => {
                    for column in &mut self.columns {
                        column.truncate(self.rows);
                    }
                    if !self.options.ignore_parse_errors {
                        return Err(RecordError { offset: at, end, reason });
                    }
                    self.skipped += 1;
                }
            }
            at = (end + 1).min(bytes.len());
        }
        Ok(at)
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn num_bytes(&self) -> usize {
        self.columns.iter().map(Column::num_bytes).sum()
    }

    fn finish(&mut self) -> OperatorResult<RecordBatch> {
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.columns.len());
        for (column, name) in self.columns.iter_mut().zip(&self.names) {
            let array = column.finish();
            arrays.push(array.map_err(|e| OperatorError::fatal(format!("column `{name}`: {e}")))?);
        }
        let projected = self.projection.iter().map(|i| arrays[*i].clone()).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(std::mem::take(&mut self.rows)));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), projected, &options)?)
    }

    fn take_skipped(&mut self) -> u64 {
        std::mem::take(&mut self.skipped)
    }
}
