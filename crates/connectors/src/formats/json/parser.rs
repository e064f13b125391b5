//! The tokens of a JSON line: where strings, numbers and whole values end, and what strings mean.

use super::JsonOptions;
use crate::formats::shorten;
use crate::text::number::{parse_f64, write_f64};

/// Deeper values are taken for malformed ones.
pub(super) const MAX_DEPTH: usize = 128;

/// Goes through a line once.
pub(super) struct Parser<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
    pub(super) options: &'a JsonOptions,
    /// The value of a string with escapes.
    pub(super) scratch: &'a mut Vec<u8>,
    /// Fields that were set to NULL because they were malformed.
    pub(super) skipped: &'a mut u64,
}

/// A string without its quotes: a part of the line, or in the scratch buffer.
pub(super) enum Text {
    Plain(usize, usize),
    Unescaped,
}

impl Parser<'_> {
    /// The next byte that is not white space.
    pub(super) fn peek(&mut self) -> Option<u8> {
        while let Some(byte) = self.bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    pub(super) fn expect(&mut self, byte: u8) -> Result<(), String> {
        match self.peek() {
            Some(found) if found == byte => {
                self.at += 1;
                Ok(())
            }
            found => Err(self.unexpected(found, &format!("'{}'", char::from(byte)))),
        }
    }

    pub(super) fn unexpected(&self, found: Option<u8>, expected: &str) -> String {
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
    pub(super) fn more(&mut self, end: u8) -> Result<bool, String> {
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

    pub(super) fn text<'b>(&'b self, text: &'b Text) -> &'b [u8] {
        match text {
            Text::Plain(from, to) => &self.bytes[*from..*to],
            Text::Unescaped => self.scratch,
        }
    }

    pub(super) fn literal(&mut self, word: &[u8]) -> Result<Text, String> {
        let start = self.at;
        if self.bytes[start..].starts_with(word) {
            self.at += word.len();
            return Ok(Text::Plain(start, self.at));
        }
        Err(self.unexpected(self.bytes.get(start).copied(), "a value"))
    }

    pub(super) fn number(&mut self) -> Result<Text, String> {
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

    pub(super) fn string(&mut self) -> Result<Text, String> {
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

    pub(super) fn escape(&mut self) -> Result<(), String> {
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
                let mut code = high;
                if (0xD800..0xDC00).contains(&high) && self.bytes[self.at..].starts_with(b"\\u") {
                    let before = self.at;
                    self.at += 2;
                    let low = self.hex4()?;
                    if (0xDC00..0xE000).contains(&low) {
                        code = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
                    } else {
                        // A half that stands alone: what follows it is read on its own.
                        self.at = before;
                    }
                }
                let c = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                self.scratch.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return Err(format!("character {}: an unknown escape in a string", self.at)),
        };
        self.scratch.push(plain);
        Ok(())
    }

    pub(super) fn hex4(&mut self) -> Result<u32, String> {
        let digits = self.bytes.get(self.at..self.at + 4).and_then(|d| std::str::from_utf8(d).ok());
        let code = digits.filter(|d| !d.starts_with('+')).and_then(|d| u32::from_str_radix(d, 16).ok());
        self.at += 4;
        code.ok_or_else(|| "an escape \\u needs four hexadecimal digits".into())
    }

    /// Goes past a value.
    pub(super) fn skip(&mut self, depth: usize) -> Result<(), String> {
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
    pub(super) fn compact(&mut self, out: &mut Vec<u8>, depth: usize) -> Result<(), String> {
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
