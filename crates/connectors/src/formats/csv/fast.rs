//! Fields of the usual form, parsed while their end is looked for.
//!
//! Invariant: what is appended here is what the slow path would append; in any doubt nothing is, and it decides.

use memchr::memchr3;

use super::CsvOptions;
use crate::formats::column::Column;
use crate::text::time::parse_date;

/// What the fast path may do under the options of a table.
pub(super) struct Fast {
    delimiter: u8,
    /// A field that begins with it is quoted.
    quote: Option<u8>,
    /// Numbers and times look like nothing else: not like a null literal, and no special character is one of theirs.
    numbers: bool,
    /// No escape character can change what a text is.
    texts: bool,
    dates: DateCache,
}

/// The last date seen: rows close to each other mostly share it.
struct DateCache {
    text: [u8; 10],
    days: i64,
}

fn is_of_numbers(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b':' | b' ')
}

impl Fast {
    pub(super) fn new(options: &CsvOptions) -> Self {
        let null = options.null_literal.as_ref().and_then(|text| text.first().copied());
        let special = [Some(options.delimiter), options.quote, options.escape, null];
        Self {
            delimiter: options.delimiter,
            quote: options.quote,
            numbers: !special.into_iter().flatten().any(is_of_numbers),
            texts: options.escape.is_none(),
            dates: DateCache { text: *b"1970-01-01", days: 0 },
        }
    }

    /// Parses the field at `at` into its column (`None` is skipped), and returns where it ends; `None`: nothing was
    /// appended, take the slow path.
    #[inline(always)]
    pub(super) fn field(
        &mut self,
        column: Option<&mut Column>,
        bytes: &[u8],
        at: usize,
        null_literal: Option<&[u8]>,
    ) -> Option<usize> {
        let delimiter = self.delimiter;
        match column {
            None => self.text(bytes, at),
            Some(Column::Text(c)) => {
                let end = self.text(bytes, at)?;
                let value = &bytes[at..end];
                if null_literal == Some(value) {
                    return None;
                }
                c.push(value);
                Some(end)
            }
            Some(Column::BigInt(c)) if self.numbers => {
                let (value, end) = fast_integer(bytes, at, delimiter)?;
                c.values.push(value);
                Some(end)
            }
            Some(Column::Int(c)) if self.numbers => {
                let (value, end) = fast_integer(bytes, at, delimiter)?;
                c.values.push(i32::try_from(value).ok()?);
                Some(end)
            }
            Some(Column::Timestamp { values, per_second, zoned: false }) if self.numbers => {
                let (value, end) = fast_timestamp(&mut self.dates, bytes, at, delimiter, *per_second)?;
                values.values.push(value);
                Some(end)
            }
            _ => None,
        }
    }

    /// Where a text without quotes ends.
    #[inline(always)]
    fn text(&self, bytes: &[u8], at: usize) -> Option<usize> {
        let rest = bytes.get(at..)?;
        if !self.texts || self.quote == rest.first().copied() {
            return None;
        }
        memchr3(self.delimiter, b'\n', b'\r', rest).map(|end| at + end)
    }
}

#[inline(always)]
fn ends_field(byte: u8, delimiter: u8) -> bool {
    byte == delimiter || byte == b'\n' || byte == b'\r'
}

#[inline(always)]
fn fast_integer(bytes: &[u8], at: usize, delimiter: u8) -> Option<(i64, usize)> {
    let field = bytes.get(at..)?;
    let negative = *field.first()? == b'-';
    let digits = &field[usize::from(negative)..];
    let mut value = 0i64;
    // Eighteen digits cannot overflow.
    for (i, byte) in digits.iter().take(19).enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            if i == 0 || !ends_field(*byte, delimiter) {
                return None;
            }
            let value = if negative { -value } else { value };
            return Some((value, at + usize::from(negative) + i));
        }
        if i == 18 {
            return None;
        }
        value = value * 10 + i64::from(digit);
    }
    None
}

/// `yyyy-MM-dd HH:mm:ss`, with up to nine digits of fraction.
#[inline(always)]
fn fast_timestamp(
    dates: &mut DateCache,
    bytes: &[u8],
    at: usize,
    delimiter: u8,
    per_second: i64,
) -> Option<(i64, usize)> {
    let field: &[u8; 20] = bytes.get(at..at + 20)?.try_into().ok()?;
    if field[..10] != dates.text {
        let days = parse_date(&field[..10])?;
        dates.text.copy_from_slice(&field[..10]);
        dates.days = days;
    }
    if field[10] != b' ' || field[13] != b':' || field[16] != b':' {
        return None;
    }
    let digits =
        [field[11], field[12], field[14], field[15], field[17], field[18]].map(|b| b.wrapping_sub(b'0'));
    if digits.iter().any(|d| *d > 9) {
        return None;
    }
    let [hour, minute, second] = [0, 2, 4].map(|i| i64::from(digits[i]) * 10 + i64::from(digits[i + 1]));
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = dates.days * 86_400 + hour * 3600 + minute * 60 + second;
    if ends_field(field[19], delimiter) {
        return Some((seconds.checked_mul(per_second)?, at + 19));
    }
    if field[19] != b'.' {
        return None;
    }
    let mut unit = per_second;
    let mut fraction = 0;
    for (i, byte) in bytes[at + 20..].iter().take(10).enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            if !ends_field(*byte, delimiter) {
                return None;
            }
            return Some((seconds.checked_mul(per_second)?.checked_add(fraction)?, at + 20 + i));
        }
        unit /= 10;
        fraction += i64::from(digit) * unit;
    }
    None
}
