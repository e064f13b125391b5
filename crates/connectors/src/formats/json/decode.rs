//! JSON lines into columns, in one pass: no tree is built, and fields that nobody asked for are only skipped.

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use streamkeeper_dataflow::{OperatorError, OperatorResult};

use super::JsonOptions;
use crate::formats::column::Column;
use crate::formats::{Decoder, RecordError, projected_schema, shorten};
use crate::schema::Field;
use crate::text::base64;
use crate::text::number::{parse_f64, trim, write_f64};

/// Deeper values are taken for malformed ones.
const MAX_DEPTH: usize = 128;

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

struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
    options: &'a JsonOptions,
    /// The value of a string with escapes.
    scratch: &'a mut Vec<u8>,
    /// Fields that were set to NULL because they were malformed.
    skipped: &'a mut u64,
}

/// A string without its quotes: a part of the line, or in the scratch buffer.
enum Text {
    Plain(usize, usize),
    Unescaped,
}

impl Parser<'_> {
    /// The next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        while let Some(byte) = self.bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    fn expect(&mut self, byte: u8) -> Result<(), String> {
        match self.peek() {
            Some(found) if found == byte => {
                self.at += 1;
                Ok(())
            }
            found => Err(self.unexpected(found, &format!("'{}'", char::from(byte)))),
        }
    }

    fn unexpected(&self, found: Option<u8>, expected: &str) -> String {
        match found {
            Some(byte) => format!(
                "character {}: expected {expected}, not '{}'",
                self.at + 1,
                char::from(byte).escape_default()
            ),
            None => format!("expected {expected}, but the line ends"),
        }
    }

    /// After a value: true when another follows, false at the closing `end`.
    fn more(&mut self, end: u8) -> Result<bool, String> {
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(found) if found == end => {
                self.at += 1;
                Ok(false)
            }
            found => Err(self.unexpected(found, &format!("',' or '{}'", char::from(end)))),
        }
    }

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

    fn text<'b>(&'b self, text: &'b Text) -> &'b [u8] {
        match text {
            Text::Plain(from, to) => &self.bytes[*from..*to],
            Text::Unescaped => self.scratch,
        }
    }

    fn literal(&mut self, word: &[u8]) -> Result<Text, String> {
        let start = self.at;
        if self.bytes[start..].starts_with(word) {
            self.at += word.len();
            return Ok(Text::Plain(start, self.at));
        }
        Err(self.unexpected(self.bytes.get(start).copied(), "a value"))
    }

    fn number(&mut self) -> Result<Text, String> {
        let start = self.at;
        let end = self.bytes[start..]
            .iter()
            .position(|b| !matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
            .map_or(self.bytes.len(), |n| start + n);
        let text = &self.bytes[start..end];
        let digits = text.strip_prefix(b"-").unwrap_or(text);
        let leading_zero = digits.len() > 1 && digits[0] == b'0' && digits[1].is_ascii_digit();
        let ends_well =
            digits.first().is_some_and(u8::is_ascii_digit) && digits.last().is_some_and(u8::is_ascii_digit);
        if leading_zero || !ends_well || parse_f64(text).is_none() {
            return Err(format!("{} is not a number of JSON", shorten(text)));
        }
        self.at = end;
        Ok(Text::Plain(start, end))
    }

    fn string(&mut self) -> Result<Text, String> {
        self.expect(b'"')?;
        let start = self.at;
        let rest = &self.bytes[start..];
        let Some(special) = memchr::memchr2(b'"', b'\\', rest) else {
            return Err("a string is not closed".into());
        };
        if let Some(control) = rest[..special].iter().position(|b| *b < b' ') {
            return Err(format!("character {}: a control character must be escaped", start + control + 1));
        }
        if rest[special] == b'"' {
            self.at = start + special + 1;
            return Ok(Text::Plain(start, start + special));
        }
        self.scratch.clear();
        self.scratch.extend_from_slice(&rest[..special]);
        self.at = start + special;
        loop {
            let Some(byte) = self.bytes.get(self.at).copied() else {
                return Err("a string is not closed".into());
            };
            self.at += 1;
            match byte {
                b'"' => return Ok(Text::Unescaped),
                b'\\' => self.escape()?,
                0..b' ' => return Err(format!("character {}: a control character must be escaped", self.at)),
                other => self.scratch.push(other),
            }
        }
    }

    fn escape(&mut self) -> Result<(), String> {
        let byte = self.bytes.get(self.at).copied();
        self.at += 1;
        let plain = match byte {
            Some(byte @ (b'"' | b'\\' | b'/')) => byte,
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => {
                let high = self.hex4()?;
                let code = if (0xD800..0xDC00).contains(&high) && self.bytes[self.at..].starts_with(b"\\u") {
                    self.at += 2;
                    let low = self.hex4()?;
                    0x10000 + ((high - 0xD800) << 10) + low.wrapping_sub(0xDC00)
                } else {
                    high
                };
                let c = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                self.scratch.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return Err(format!("character {}: an unknown escape in a string", self.at)),
        };
        self.scratch.push(plain);
        Ok(())
    }

    fn hex4(&mut self) -> Result<u32, String> {
        let digits = self.bytes.get(self.at..self.at + 4).and_then(|d| std::str::from_utf8(d).ok());
        let code = digits.filter(|d| !d.starts_with('+')).and_then(|d| u32::from_str_radix(d, 16).ok());
        self.at += 4;
        code.ok_or_else(|| "an escape \\u needs four hexadecimal digits".into())
    }

    /// Goes past a value.
    fn skip(&mut self, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(format!("values are nested deeper than {MAX_DEPTH}"));
        }
        match self.peek() {
            Some(b'"') => self.string().map(drop),
            Some(b't') => self.literal(b"true").map(drop),
            Some(b'f') => self.literal(b"false").map(drop),
            Some(b'n') => self.literal(b"null").map(drop),
            Some(b'-' | b'0'..=b'9') => self.number().map(drop),
            Some(open @ (b'{' | b'[')) => {
                let close = if open == b'{' { b'}' } else { b']' };
                self.at += 1;
                if self.peek() == Some(close) {
                    self.at += 1;
                    return Ok(());
                }
                loop {
                    if open == b'{' {
                        self.string()?;
                        self.expect(b':')?;
                    }
                    self.skip(depth + 1)?;
                    if !self.more(close)? {
                        return Ok(());
                    }
                }
            }
            found => Err(self.unexpected(found, "a value")),
        }
    }

    /// Appends a value as text without white space, numbers with a point as Java prints them.
    fn compact(&mut self, out: &mut Vec<u8>, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(format!("values are nested deeper than {MAX_DEPTH}"));
        }
        match self.peek() {
            Some(open @ (b'{' | b'[')) => {
                let close = if open == b'{' { b'}' } else { b']' };
                self.at += 1;
                out.push(open);
                let mut more = self.peek() != Some(close);
                if !more {
                    self.at += 1;
                }
                while more {
                    if open == b'{' {
                        let key = self.string()?;
                        super::encode::write_string(self.text(&key), out);
                        self.expect(b':')?;
                        out.push(b':');
                    }
                    self.compact(out, depth + 1)?;
                    more = self.more(close)?;
                    if more {
                        out.push(b',');
                    }
                }
                out.push(close);
            }
            Some(b'"') => {
                let text = self.string()?;
                super::encode::write_string(self.text(&text), out);
            }
            Some(b'-' | b'0'..=b'9') => {
                let number = self.number()?;
                let number = self.text(&number);
                match parse_f64(number).filter(|_| number.iter().any(|b| b"eE.".contains(b))) {
                    Some(value) => write_f64(value, out),
                    None => out.extend_from_slice(number),
                }
            }
            _ => {
                let start = self.at;
                self.skip(depth)?;
                out.extend_from_slice(&self.bytes[start..self.at]);
            }
        }
        Ok(())
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
