//! Java's patterns for dates and times: `DateTimeFormatter` for timestamps, `SimpleDateFormat` for texts and seconds.
//!
//! Invariant: a compiled pattern has only letters that can be written; English names, weeks that start on Sunday.

use std::fmt::Write as _;
use std::iter::Peekable;
use std::str::Chars;

use chrono::Datelike;
use chrono_tz::Tz;

use crate::expr::temporal::{DAY_MS, civil, days_in_month, days_of, instant_ms, offset_ms};

/// Which of Java's two classes a pattern is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// `java.time.format.DateTimeFormatter`.
    Formatter,
    /// `java.text.SimpleDateFormat`.
    Simple,
}

#[derive(Debug, Clone)]
enum Item {
    Text(String),
    Field(char, usize),
    Optional(Vec<Item>),
}

/// A compiled pattern.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    items: Vec<Item>,
    style: Style,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// A local date and time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) days: i64,
    pub(crate) nanos: i64,
    /// Of the zone, for the patterns that write it.
    pub(crate) offset_seconds: i64,
}

impl Moment {
    pub(crate) fn of_millis(ms: i64) -> Self {
        Self { days: ms.div_euclid(DAY_MS), nanos: ms.rem_euclid(DAY_MS) * 1_000_000, offset_seconds: 0 }
    }
}

fn weekday(days: i64) -> i64 {
    (days + 4).rem_euclid(7)
}

impl Pattern {
    /// # Errors
    /// Names what in the pattern Java does not know either.
    pub(crate) fn new(pattern: &str, style: Style) -> Result<Self, String> {
        let mut chars = pattern.chars().peekable();
        let items = Self::items(&mut chars, style, 0)?;
        if chars.next().is_some() {
            return Err(format!("the pattern '{pattern}' closes a bracket that it does not open"));
        }
        Ok(Self { items, style })
    }

    fn items(chars: &mut Peekable<Chars<'_>>, style: Style, depth: usize) -> Result<Vec<Item>, String> {
        let mut items = Vec::new();
        let mut text = String::new();
        while let Some(&c) = chars.peek() {
            let bracket = style == Style::Formatter && matches!(c, '[' | ']');
            if bracket && c == ']' {
                break;
            }
            if (c.is_ascii_alphabetic() || bracket) && !text.is_empty() {
                items.push(Item::Text(std::mem::take(&mut text)));
            }
            chars.next();
            match c {
                '[' if bracket => {
                    if depth == 16 {
                        return Err("more than 16 brackets within each other".into());
                    }
                    items.push(Item::Optional(Self::items(chars, style, depth + 1)?));
                    chars.next();
                }
                '\'' if chars.next_if_eq(&'\'').is_some() => text.push('\''),
                '\'' => loop {
                    match chars.next() {
                        Some('\'') if chars.next_if_eq(&'\'').is_some() => text.push('\''),
                        Some('\'') => break,
                        Some(c) => text.push(c),
                        None => return Err("the pattern has a quote that does not end".into()),
                    }
                },
                '{' | '}' | '#' if style == Style::Formatter => {
                    return Err(format!("the pattern has the reserved character {c}"));
                }
                letter if letter.is_ascii_alphabetic() => {
                    let mut count = 1;
                    while chars.next_if_eq(&letter).is_some() {
                        count += 1;
                    }
                    check(letter, count, style)?;
                    items.push(Item::Field(letter, count));
                }
                other => text.push(other),
            }
        }
        if !text.is_empty() {
            items.push(Item::Text(text));
        }
        Ok(items)
    }

    /// A letter that no value without a time zone can be written by.
    pub(crate) fn needs_zone(&self) -> Option<char> {
        fn of(items: &[Item]) -> Option<char> {
            items.iter().find_map(|item| match item {
                Item::Field(letter @ ('V' | 'z' | 'O' | 'X' | 'x' | 'Z' | 'v'), _) => Some(*letter),
                Item::Optional(items) => of(items),
                _ => None,
            })
        }
        if self.style == Style::Formatter { of(&self.items) } else { None }
    }

    /// Appends the moment to `out`.
    pub(crate) fn write(&self, moment: Moment, out: &mut String) {
        self.write_items(&self.items, moment, civil(moment.days), out);
    }

    fn write_items(&self, items: &[Item], moment: Moment, date: (i64, u32, u32), out: &mut String) {
        for item in items {
            match item {
                Item::Text(text) => out.push_str(text),
                Item::Optional(items) => self.write_items(items, moment, date, out),
                Item::Field(letter, count) => self.field((*letter, *count), moment, date, out),
            }
        }
    }

    fn field(
        &self,
        (letter, count): (char, usize),
        at: Moment,
        (year, month, day): (i64, u32, u32),
        out: &mut String,
    ) {
        let seconds = at.nanos / 1_000_000_000;
        let (hour, minute) = (seconds / 3600, seconds / 60 % 60);
        let number = |out: &mut String, value: i64, width: usize| {
            if value < 0 {
                out.push('-');
            }
            let value = value.unsigned_abs();
            if value < 10 && width <= 2 {
                out.push_str(if width == 2 { "0" } else { "" });
                out.push(char::from(b'0' + value as u8));
            } else {
                let _ = write!(out, "{value:0width$}");
            }
        };
        let name = |out: &mut String, full: &str| match count {
            4 => out.push_str(full),
            5 if self.style == Style::Formatter => out.push_str(&full[..1]),
            _ if count > 4 => out.push_str(full),
            _ => out.push_str(&full[..3]),
        };
        let simple = self.style == Style::Simple;
        let year_text = |out: &mut String, year: i64| {
            if count == 2 { number(out, year.rem_euclid(100), 2) } else { number(out, year, count) }
        };
        match letter {
            'G' => out.push_str(match (simple, count, year > 0) {
                (false, 4, true) => "Anno Domini",
                (false, 4, false) => "Before Christ",
                (false, 5, true) => "A",
                (false, 5, false) => "B",
                (_, _, true) => "AD",
                (_, _, false) => "BC",
            }),
            'u' if simple => number(out, (weekday(at.days) + 6) % 7 + 1, count),
            'y' if year < 1 => year_text(out, 1 - year),
            'u' | 'y' => year_text(out, year),
            'Y' => year_text(out, week(at.days).0),
            'M' | 'L' if count > 2 => name(out, MONTHS[month as usize - 1]),
            'M' | 'L' => number(out, i64::from(month), count),
            'd' => number(out, i64::from(day), count),
            'D' => number(out, at.days - days_of(year, 1, 1) + 1, count),
            'E' => name(out, DAYS[weekday(at.days) as usize]),
            'e' | 'c' if count > 2 => name(out, DAYS[weekday(at.days) as usize]),
            'e' | 'c' => number(out, weekday(at.days) + 1, count),
            'w' => number(out, week(at.days).1, count),
            'W' => {
                let start = weekday(days_of(year, month, 1));
                number(out, (i64::from(day) - 1 + start) / 7 + 1, count);
            }
            'F' if simple => number(out, i64::from(day - 1) / 7 + 1, count),
            'F' => number(out, i64::from(day - 1) % 7 + 1, count),
            'Q' | 'q' => {
                let quarter = i64::from(month + 2) / 3;
                match count {
                    3 => out.push_str(&format!("Q{quarter}")),
                    4 => {
                        let end = ["st", "nd", "rd", "th"][quarter as usize - 1];
                        out.push_str(&format!("{quarter}{end} quarter"));
                    }
                    _ => number(out, quarter, count.min(2)),
                }
            }
            'a' => out.push_str(if hour < 12 { "AM" } else { "PM" }),
            'B' => out.push_str(match (hour, at.nanos % 3_600_000_000_000) {
                (0, 0) => "midnight",
                (12, 0) => "noon",
                (6..12, _) => "in the morning",
                (12..18, _) => "in the afternoon",
                (18..21, _) => "in the evening",
                _ => "at night",
            }),
            'H' => number(out, hour, count),
            'k' => number(out, (hour + 23) % 24 + 1, count),
            'K' => number(out, hour % 12, count),
            'h' => number(out, (hour + 11) % 12 + 1, count),
            'm' => number(out, minute, count),
            's' => number(out, seconds % 60, count),
            'S' if simple => number(out, at.nanos / 1_000_000 % 1000, count),
            'S' => out.push_str(&format!("{:09}", at.nanos % 1_000_000_000)[..count.min(9)]),
            'n' => number(out, at.nanos % 1_000_000_000, count),
            'N' => number(out, at.nanos, count),
            'A' => number(out, at.nanos / 1_000_000, count),
            'X' if at.offset_seconds == 0 => out.push('Z'),
            _ => {
                let (sign, offset) =
                    (if at.offset_seconds < 0 { '-' } else { '+' }, at.offset_seconds.unsigned_abs());
                let (h, m) = (offset / 3600, offset / 60 % 60);
                out.push_str(&match (letter, count) {
                    ('X', 1) => format!("{sign}{h:02}"),
                    ('X', 3) => format!("{sign}{h:02}:{m:02}"),
                    ('z', _) if offset == 0 => "UTC".to_owned(),
                    ('z', _) => format!("GMT{sign}{h:02}:{m:02}"),
                    _ => format!("{sign}{h:02}{m:02}"),
                });
            }
        }
    }

    /// Reads a whole text as `DateTimeFormatter` does: a day that the month does not have becomes its last, and what the
    /// pattern does not name is that of 1970-01-01 00:00:00. The milliseconds of the local time.
    pub(crate) fn read(&self, text: &str) -> Option<i64> {
        let mut found = Found::default();
        let rest = self.read_items(&self.items, text, &mut found)?;
        if !rest.is_empty() {
            return None;
        }
        let (day, month) = (found.day.unwrap_or(1), found.month.unwrap_or(1));
        let year = found.year.unwrap_or(1970);
        let days = match found.day_of_year {
            Some(day) if (1..=366).contains(&day) => days_of(year, 1, 1) + day - 1,
            Some(_) => return None,
            None => {
                if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
                    return None;
                }
                let day = day.min(i64::from(days_in_month(year, month as u32)));
                days_of(year, month as u32, day as u32)
            }
        };
        let hour = found.hour()?;
        if !(0..24).contains(&hour) || !(0..60).contains(&found.minute) || !(0..60).contains(&found.second) {
            return None;
        }
        days.checked_mul(DAY_MS)?.checked_add(found.clock(hour))
    }

    /// Reads the start of a text as a lenient `SimpleDateFormat` does: the 30th of February is the 1st of March. The
    /// instant in milliseconds.
    pub(crate) fn read_instant(&self, text: &str, zone: Tz) -> Option<i64> {
        let mut found = Found::default();
        self.read_items(&self.items, text, &mut found)?;
        let month = found.month.unwrap_or(1) - 1;
        let year = found.year.unwrap_or(1970) + month.div_euclid(12);
        let first = days_of(year, month.rem_euclid(12) as u32 + 1, 1);
        let days = match found.day_of_year {
            Some(day) => days_of(year, 1, 1) + day - 1,
            None => first + found.day.unwrap_or(1) - 1,
        };
        let hour = found.hour()?;
        let local = days.checked_mul(DAY_MS)?.checked_add(found.clock(hour))?;
        Some(match found.offset_seconds {
            Some(offset) => local.saturating_sub(offset * 1000),
            None => later_instant_ms(local, zone),
        })
    }

    fn read_items<'t>(&self, items: &[Item], text: &'t str, found: &mut Found) -> Option<&'t str> {
        let mut rest = text;
        for (i, item) in items.iter().enumerate() {
            rest = match item {
                Item::Text(text) => rest.strip_prefix(text.as_str())?,
                Item::Optional(items) => {
                    let mut inner = found.clone();
                    match self.read_items(items, rest, &mut inner) {
                        Some(after) => {
                            *found = inner;
                            after
                        }
                        None => rest,
                    }
                }
                Item::Field(letter, count) => {
                    // A number that another one follows leaves it the digits that its letters count.
                    let later = items[i + 1..].iter().map_while(|item| match item {
                        Item::Field(letter, count) if is_number(*letter, *count) => Some(*count),
                        _ => None,
                    });
                    let follows: Vec<usize> = later.collect();
                    let follows = follows.iter().sum::<usize>();
                    let adjacent = i > 0
                        && matches!(&items[i - 1], Item::Field(l, c) if is_number(*l, *c))
                        && is_number(*letter, *count);
                    self.read_field((*letter, *count), follows, adjacent, rest, found)?
                }
            };
        }
        Some(rest)
    }

    fn read_field<'t>(
        &self,
        (letter, count): (char, usize),
        follows: usize,
        adjacent: bool,
        text: &'t str,
        found: &mut Found,
    ) -> Option<&'t str> {
        if letter == 'a' {
            found.pm = Some(text.get(..2)?.eq_ignore_ascii_case("PM"));
            return text
                .get(..2)
                .filter(|t| t.eq_ignore_ascii_case("AM") || t.eq_ignore_ascii_case("PM"))
                .map(|_| &text[2..]);
        }
        if matches!(letter, 'X' | 'Z' | 'x') {
            let (offset, rest) = read_offset(text)?;
            found.offset_seconds = Some(offset);
            return Some(rest);
        }
        if !is_number(letter, count) {
            let names: &[&str] = if matches!(letter, 'M' | 'L') { &MONTHS } else { &DAYS };
            let simple = self.style == Style::Simple;
            let found_name = names.iter().enumerate().find_map(|(i, name)| {
                let full = (simple || count >= 4).then_some(*name);
                let short = (simple || count <= 3).then(|| &name[..3]);
                let hit = |n: &str| text.get(..n.len()).is_some_and(|t| t.eq_ignore_ascii_case(n));
                full.filter(|n| hit(n)).or_else(|| short.filter(|n| hit(n))).map(|n| (i, n.len()))
            });
            let (index, length) = found_name?;
            if matches!(letter, 'M' | 'L') {
                found.month = Some(index as i64 + 1);
            }
            return Some(&text[length..]);
        }
        let text = if self.style == Style::Simple { text.trim_start_matches(' ') } else { text };
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) if !adjacent && (self.style == Style::Simple || matches!(letter, 'y' | 'u')) => {
                (true, digits)
            }
            _ => (false, text),
        };
        let run = digits.bytes().take_while(u8::is_ascii_digit).count();
        let width = match () {
            () if letter == 'S' && self.style == Style::Formatter => run.min(9),
            () if follows > 0 && !adjacent => run.checked_sub(follows)?.clamp(1, 9),
            () if adjacent => count.min(run).min(9),
            () => run.min(9),
        };
        let short = adjacent && width < count && self.style == Style::Formatter;
        if width == 0 || short {
            return (letter == 'S' && self.style == Style::Formatter).then_some(text);
        }
        let mut value: i64 = digits[..width].parse().ok()?;
        if negative {
            value = -value;
        }
        match letter {
            'y' | 'u' if count == 2 && width == 2 => {
                found.year = Some(if self.style == Style::Simple { near_year(value) } else { 2000 + value });
            }
            'y' | 'u' => found.year = Some(value),
            'M' | 'L' => found.month = Some(value),
            'd' => found.day = Some(value),
            'D' => found.day_of_year = Some(value),
            'H' => found.hour = Some(value),
            'k' => found.hour = Some(value % 24),
            'h' | 'K' => found.half_day_hour = Some(value % 12),
            'm' => found.minute = value,
            's' => found.second = value,
            'S' if self.style == Style::Simple => found.millis = value,
            'S' => found.millis = format!("{:0<9}", &digits[..width])[..3].parse().ok()?,
            'n' => found.millis = value / 1_000_000,
            _ => {}
        }
        Some(&digits[width..])
    }
}

/// The year that ends in two digits, from 80 years before now on, as `SimpleDateFormat` takes it.
fn near_year(two_digits: i64) -> i64 {
    let first = i64::from(chrono::Utc::now().year()) - 80;
    first + (two_digits - first).rem_euclid(100)
}

/// The instant of a local time; the second one, when the clocks showed it twice.
fn later_instant_ms(local: i64, zone: Tz) -> i64 {
    let after = offset_ms(local.saturating_add(DAY_MS), zone);
    let instant = local.saturating_sub(after);
    if offset_ms(instant, zone) == after { instant } else { instant_ms(local, zone) }
}

#[derive(Debug, Clone, Default)]
struct Found {
    year: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    hour: Option<i64>,
    half_day_hour: Option<i64>,
    pm: Option<bool>,
    minute: i64,
    second: i64,
    millis: i64,
    offset_seconds: Option<i64>,
}

impl Found {
    fn hour(&self) -> Option<i64> {
        match (self.hour, self.half_day_hour) {
            (Some(hour), _) => Some(hour),
            (None, Some(hour)) => Some(hour + if self.pm == Some(true) { 12 } else { 0 }),
            (None, None) => Some(0),
        }
    }

    fn clock(&self, hour: i64) -> i64 {
        ((hour * 60 + self.minute) * 60 + self.second) * 1000 + self.millis
    }
}

fn is_number(letter: char, count: usize) -> bool {
    match letter {
        'M' | 'L' | 'e' | 'c' | 'Q' | 'q' => count <= 2,
        _ => !matches!(letter, 'G' | 'E' | 'a' | 'B' | 'V' | 'z' | 'O' | 'X' | 'x' | 'Z'),
    }
}

fn read_offset(text: &str) -> Option<(i64, &str)> {
    if let Some(rest) = text.strip_prefix('Z') {
        return Some((0, rest));
    }
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let two = |at: usize| text.get(at..at + 2)?.parse::<u32>().ok().map(i64::from);
    let hours = two(1)?;
    let after = if text.get(3..4) == Some(":") { 4 } else { 3 };
    let (minutes, end) = two(after).map_or((0, 3), |m| (m, after + 2));
    Some((sign * (hours * 3600 + minutes * 60), &text[end..]))
}

/// The year and number of the week, of weeks that start on Sunday; the first is that of January 1st.
fn week(days: i64) -> (i64, i64) {
    let year = civil(days).0;
    let sunday = days - weekday(days);
    let next = days_of(year + 1, 1, 1);
    if next - sunday < 7 {
        return (year + 1, 1);
    }
    let first = days_of(year, 1, 1);
    (year, (days - first + weekday(first)) / 7 + 1)
}

fn check(letter: char, count: usize, style: Style) -> Result<(), String> {
    let simple = style == Style::Simple;
    let most = match letter {
        'G' | 'E' | 'M' | 'L' | 'Q' | 'q' if !simple => 5,
        'e' | 'c' if !simple => 5,
        'y' | 'u' | 'Y' if !simple => 19,
        'd' | 'h' | 'H' | 'k' | 'K' | 'm' | 's' | 'w' if !simple => 2,
        'D' if !simple => 3,
        'W' | 'F' | 'a' | 'B' if !simple => 1,
        'S' if !simple => 9,
        'n' | 'N' | 'A' if !simple => 19,
        'V' | 'z' | 'O' | 'X' | 'x' | 'Z' | 'v' if !simple => 5,
        'G' | 'y' | 'Y' | 'M' | 'L' | 'w' | 'W' | 'D' | 'd' | 'F' | 'E' | 'u' | 'a' | 'H' | 'k' | 'K'
        | 'h' | 'm' | 's' | 'S' | 'z' | 'Z' | 'X'
            if simple =>
        {
            64
        }
        _ => return Err(format!("Unknown pattern letter: {letter}")),
    };
    if count > most { Err(format!("Too many pattern letters: {letter}")) } else { Ok(()) }
}
