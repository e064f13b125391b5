//! CSV into columns, in one pass over the bytes.
//!
//! Numbers and timestamps of the usual form are parsed while their end is looked for; strings and skipped columns end
//! where `memchr` finds the next special byte. Whatever else there is (quotes, escapes, null literals, blanks around
//! numbers) takes the slow path of that one field.

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use memchr::memchr3;
use streamkeeper_dataflow::{OperatorError, OperatorResult};

use super::CsvOptions;
use super::fast::Fast;
use crate::formats::column::Column;
use crate::formats::{Decoder, RecordError, projected_schema, shorten};
use crate::schema::Field;
use crate::text::base64;
use crate::text::number::trim;
use crate::text::time::{TimestampFormat, parse_lenient_date};

/// Decodes records of a fixed list of columns.
pub(crate) struct CsvDecoder {
    options: CsvOptions,
    names: Vec<String>,
    /// One per field of a record; `None` is skipped.
    columns: Vec<Option<Column>>,
    projection: Vec<usize>,
    schema: SchemaRef,
    rows: usize,
    skipped: u64,
    /// The value of the field at hand, without quotes and escapes.
    scratch: Vec<u8>,
    fast: Fast,
    /// The last record decoded ended with `\n`.
    at_line_start: bool,
}

/// How far a field or a record reaches.
enum Scan {
    /// Up to the delimiter or line end at this position (or the end of the input).
    Field(usize),
    /// It goes on after the bytes at hand.
    Incomplete,
}

/// Where scanning stopped, and why.
type Malformed = (usize, String);

enum Record {
    Row(usize),
    Comment(usize),
    Incomplete,
}

impl CsvDecoder {
    /// A decoder of records with `columns`, of which those in `projection` are kept, in its order.
    pub(crate) fn new(options: CsvOptions, columns: &[Field], projection: &[usize]) -> Self {
        Self {
            names: columns.iter().map(|c| c.name.clone()).collect(),
            columns: columns
                .iter()
                .enumerate()
                .map(|(i, c)| projection.contains(&i).then(|| Column::new(&c.data_type)))
                .collect(),
            projection: projection.to_vec(),
            schema: projected_schema(columns, projection),
            fast: Fast::new(&options),
            options,
            rows: 0,
            skipped: 0,
            scratch: Vec::new(),
            at_line_start: true,
        }
    }

    /// Undoes what was appended of the record at hand.
    fn undo_record(&mut self) {
        for column in self.columns.iter_mut().flatten() {
            column.truncate(self.rows);
        }
    }

    fn record(&mut self, bytes: &[u8], start: usize, eof: bool) -> Result<Record, RecordError> {
        if self.options.allow_comments {
            let text = bytes[start..].iter().position(|b| *b != b' ').map(|at| start + at);
            match text.map(|at| bytes[at]) {
                None if !eof => return Ok(Record::Incomplete),
                Some(b'#') => return Ok(self.comment(bytes, start, eof)),
                _ => {}
            }
        }
        let delimiter = self.options.delimiter;
        let count = self.columns.len();
        let mut at = start;
        for index in 0..count {
            let column = self.columns[index].as_mut();
            let fast = self.fast.field(column, bytes, at, self.options.null_literal.as_deref());
            let end = match fast {
                Some(end) => end,
                None => match self.field(bytes, start, at, index, eof)? {
                    Scan::Field(end) => end,
                    Scan::Incomplete => return Ok(Record::Incomplete),
                },
            };
            let last = index + 1 == count;
            if end < bytes.len() && bytes[end] == delimiter {
                if last {
                    return self.extra_fields(bytes, start, end, eof);
                }
                at = end + 1;
                continue;
            }
            let Some(next) = self.line_end(bytes, end, eof) else { return Ok(Record::Incomplete) };
            if !last {
                self.missing_fields(start, end, index + 1)?;
            }
            return Ok(Record::Row(next));
        }
        Ok(Record::Row(at))
    }

    /// The comment that starts at `start` reaches to the end of its line.
    fn comment(&mut self, bytes: &[u8], start: usize, eof: bool) -> Record {
        match memchr::memchr2(b'\n', b'\r', &bytes[start..]) {
            Some(at) => self.line_end(bytes, start + at, eof).map_or(Record::Incomplete, Record::Comment),
            None if eof => Record::Comment(bytes.len()),
            None => Record::Incomplete,
        }
    }

    /// The position after the line end at `end`, which may be the end of the input.
    fn line_end(&mut self, bytes: &[u8], end: usize, eof: bool) -> Option<usize> {
        self.at_line_start = true;
        match bytes.get(end) {
            Some(b'\n') => Some(end + 1),
            Some(_) => match bytes.get(end + 1) {
                Some(b'\n') => Some(end + 2),
                None if !eof => None,
                _ => {
                    self.at_line_start = false;
                    Some(end + 1)
                }
            },
            None => eof.then_some(end),
        }
    }

    /// The record ended with `found` fields, too few.
    fn missing_fields(&mut self, start: usize, end: usize, found: usize) -> Result<(), RecordError> {
        let expected = self.columns.len();
        if !self.options.ignore_parse_errors {
            return Err(RecordError {
                offset: start,
                end,
                reason: format!("row length mismatch: {expected} fields expected but was {found}"),
            });
        }
        self.skipped += 1;
        self.columns[found..].iter_mut().flatten().for_each(Column::push_null);
        Ok(())
    }

    /// A delimiter stands after the last column: only an empty rest is allowed.
    fn extra_fields(
        &mut self,
        bytes: &[u8],
        start: usize,
        delimiter: usize,
        eof: bool,
    ) -> Result<Record, RecordError> {
        let end = match scan_field(&self.options, bytes, delimiter + 1, eof, &mut self.scratch) {
            Ok((Scan::Field(end), _)) => end,
            Ok((Scan::Incomplete, _)) => return Ok(Record::Incomplete),
            Err((end, reason)) => return Err(RecordError { offset: start, end, reason }),
        };
        if end == delimiter + 1 && bytes.get(end) != Some(&self.options.delimiter) {
            return Ok(self.line_end(bytes, end, eof).map_or(Record::Incomplete, Record::Row));
        }
        let reason = format!("too many fields: expected at most {}", self.columns.len());
        Err(RecordError { offset: start, end, reason })
    }

    /// Any field: finds its end and appends its value.
    fn field(
        &mut self,
        bytes: &[u8],
        start: usize,
        at: usize,
        index: usize,
        eof: bool,
    ) -> Result<Scan, RecordError> {
        let Self { options, columns, scratch, .. } = self;
        let error = |end, reason| RecordError { offset: start, end, reason };
        let (scan, unescaped) = scan_field(options, bytes, at, eof, scratch)
            .map_err(|(end, reason)| error(end, format!("column `{}`: {reason}", self.names[index])))?;
        let Scan::Field(end) = scan else { return Ok(Scan::Incomplete) };
        let Some(column) = &mut columns[index] else { return Ok(scan) };
        let value = if unescaped { scratch.as_slice() } else { &bytes[at..end] };
        if options.null_literal.as_deref() == Some(value) {
            column.push_null();
        } else if !push_value(column, value, options) {
            if !options.ignore_parse_errors {
                let text = shorten(value);
                let kind = type_name(column);
                return Err(error(end, format!("column `{}`: '{text}' is not {kind}", self.names[index])));
            }
            self.skipped += 1;
            column.truncate(self.rows);
            column.push_null();
        }
        Ok(scan)
    }
}

/// Finds the end of the field at `at`. True: its value is in `scratch`, without quotes and escapes.
fn scan_field(
    options: &CsvOptions,
    bytes: &[u8],
    at: usize,
    eof: bool,
    scratch: &mut Vec<u8>,
) -> Result<(Scan, bool), Malformed> {
    let incomplete = |eof: bool| if eof { Scan::Field(bytes.len()) } else { Scan::Incomplete };
    if at >= bytes.len() {
        return Ok((incomplete(eof), false));
    }
    if options.quote == Some(bytes[at]) {
        return quoted_field(options, bytes, at, eof, scratch).map(|scan| (scan, true));
    }
    let Some(escape) = options.escape else {
        let end = memchr3(options.delimiter, b'\n', b'\r', &bytes[at..]);
        return Ok((end.map_or_else(|| incomplete(eof), |end| Scan::Field(at + end)), false));
    };
    scratch.clear();
    let mut i = at;
    while i < bytes.len() {
        match bytes[i] {
            byte if byte == escape => {
                let Some(next) = bytes.get(i + 1) else { break };
                scratch.push(unescape(*next));
                i += 2;
            }
            byte if byte == options.delimiter || byte == b'\n' || byte == b'\r' => {
                return Ok((Scan::Field(i), true));
            }
            byte => {
                scratch.push(byte);
                i += 1;
            }
        }
    }
    if eof && i < bytes.len() {
        return Err((bytes.len(), "an escape character ends the file".into()));
    }
    Ok((incomplete(eof), true))
}

/// What a character after the escape character stands for.
fn unescape(byte: u8) -> u8 {
    match byte {
        b'0' => b'\0',
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        other => other,
    }
}

fn quoted_field(
    options: &CsvOptions,
    bytes: &[u8],
    at: usize,
    eof: bool,
    scratch: &mut Vec<u8>,
) -> Result<Scan, Malformed> {
    let quote = bytes[at];
    let escape = options.escape.unwrap_or(quote);
    scratch.clear();
    let mut i = at + 1;
    loop {
        let Some(found) = memchr::memchr2(quote, escape, &bytes[i..]) else {
            return if eof {
                Err((bytes.len(), "a quoted value is never closed".into()))
            } else {
                Ok(Scan::Incomplete)
            };
        };
        scratch.extend_from_slice(&bytes[i..i + found]);
        i += found;
        let next = bytes.get(i + 1).copied();
        if next.is_none() && !eof {
            return Ok(Scan::Incomplete);
        }
        if bytes[i] == quote && next == Some(quote) {
            scratch.push(quote);
            i += 2;
        } else if bytes[i] == quote {
            break;
        } else {
            let Some(next) = next else {
                return Err((bytes.len(), "an escape character ends the file".into()));
            };
            scratch.push(unescape(next));
            i += 2;
        }
    }
    // Blanks may stand between the closing quote and the delimiter.
    let mut end = i + 1;
    while end < bytes.len() && bytes[end] == b' ' && options.delimiter != b' ' {
        end += 1;
    }
    match bytes.get(end) {
        None if eof => Ok(Scan::Field(end)),
        None => Ok(Scan::Incomplete),
        Some(b'\n' | b'\r') => Ok(Scan::Field(end)),
        Some(byte) if *byte == options.delimiter => Ok(Scan::Field(end)),
        Some(byte) => {
            let (expected, found) = (char::from(options.delimiter), char::from(*byte));
            Err((end, format!("expected the delimiter '{expected}' after the closing quote, not '{found}'")))
        }
    }
}

/// Appends a field's value; false when it is not one of the column's type.
fn push_value(column: &mut Column, value: &[u8], options: &CsvOptions) -> bool {
    match column {
        Column::Text(c) => {
            c.push(value);
            true
        }
        Column::Binary(c) => {
            let ok = base64::decode(value, &mut c.values);
            if ok {
                c.close();
            }
            ok
        }
        Column::Boolean(c) => {
            c.values.push(trim(value).eq_ignore_ascii_case(b"true"));
            true
        }
        Column::Date(c) => parse_lenient_date(value).map(|days| c.values.push(days as i32)).is_some(),
        Column::Time(_) => column.push_time(value, TimestampFormat::Sql),
        Column::Timestamp { .. } => column.push_time(trim(value), TimestampFormat::Sql),
        Column::List { item, .. } => {
            if !value.is_empty() {
                let mut rest = value;
                loop {
                    let at = memchr::memmem::find(rest, &options.array_delimiter);
                    let element = &rest[..at.unwrap_or(rest.len())];
                    if options.null_literal.as_deref() == Some(element) {
                        item.push_null();
                    } else if !push_value(item, element, options) {
                        return false;
                    }
                    let Some(at) = at else { break };
                    rest = &rest[at + options.array_delimiter.len()..];
                }
            }
            column.close_row();
            true
        }
        // Alone among the numbers, a decimal allows no blanks around it.
        Column::Decimal { .. } => column.push_number(value),
        _ => column.push_number(trim(value)),
    }
}

fn type_name(column: &Column) -> &'static str {
    match column {
        Column::Boolean(_) => "a BOOLEAN",
        Column::TinyInt(_) => "a TINYINT",
        Column::SmallInt(_) => "a SMALLINT",
        Column::Int(_) => "an INT",
        Column::BigInt(_) => "a BIGINT",
        Column::Float(_) => "a FLOAT",
        Column::Double(_) => "a DOUBLE",
        Column::Decimal { .. } => "a DECIMAL",
        Column::Date(_) => "a DATE (yyyy-MM-dd)",
        Column::Time(_) => "a TIME (HH:mm:ss)",
        Column::Timestamp { zoned: false, .. } => "a TIMESTAMP (yyyy-MM-dd HH:mm:ss[.fraction])",
        Column::Timestamp { .. } => "a TIMESTAMP_LTZ (yyyy-MM-dd HH:mm:ss[.fraction]Z)",
        Column::Binary(_) => "base64",
        Column::List { .. } => "an ARRAY of the declared type",
        _ => "of the declared type",
    }
}

impl Decoder for CsvDecoder {
    fn decode(
        &mut self,
        bytes: &[u8],
        eof: bool,
        stop_at: usize,
        max_rows: usize,
    ) -> Result<usize, RecordError> {
        let mut at = 0;
        while self.rows < max_rows && at < bytes.len() {
            if at >= stop_at && self.at_line_start {
                break;
            }
            let was_at_line_start = self.at_line_start;
            match self.record(bytes, at, eof) {
                Ok(Record::Row(next)) => {
                    self.rows += 1;
                    at = next;
                }
                Ok(Record::Comment(next)) => at = next,
                Ok(Record::Incomplete) => {
                    self.undo_record();
                    self.at_line_start = was_at_line_start;
                    break;
                }
                Err(error) => {
                    self.undo_record();
                    if !self.options.ignore_parse_errors {
                        return Err(error);
                    }
                    let rest = &bytes[error.end.min(bytes.len())..];
                    match memchr::memchr2(b'\n', b'\r', rest) {
                        Some(found) => {
                            let Some(next) = self.line_end(bytes, error.end + found, eof) else { break };
                            at = next;
                        }
                        None if eof => at = bytes.len(),
                        None => {
                            self.at_line_start = was_at_line_start;
                            break;
                        }
                    }
                    self.skipped += 1;
                }
            }
        }
        Ok(at)
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn num_bytes(&self) -> usize {
        self.columns.iter().flatten().map(Column::num_bytes).sum()
    }

    fn finish(&mut self) -> OperatorResult<RecordBatch> {
        let mut arrays: Vec<Option<ArrayRef>> = Vec::with_capacity(self.columns.len());
        for (column, name) in self.columns.iter_mut().zip(&self.names) {
            let array = column.as_mut().map(Column::finish).transpose();
            arrays.push(array.map_err(|e| OperatorError::fatal(format!("column `{name}`: {e}")))?);
        }
        let projected = self.projection.iter().filter_map(|i| arrays[*i].clone()).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(std::mem::take(&mut self.rows)));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), projected, &options)?)
    }

    fn at_line_start(&self) -> bool {
        self.at_line_start
    }

    fn take_skipped(&mut self) -> u64 {
        std::mem::take(&mut self.skipped)
    }
}
