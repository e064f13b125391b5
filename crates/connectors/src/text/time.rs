//! Dates, times and timestamps from and to text.
//!
//! As Java's formatters in their default (smart) mode: a 30th of February is the month's last day, and `24:00:00` is
//! the midnight that follows.

/// Days since 1970-01-01 of a proleptic Gregorian date.
pub(crate) fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted = (i64::from(month) + 9) % 12;
    let day_of_year = (153 * shifted + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Year, month and day of a number of days since 1970-01-01.
pub(crate) fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * shifted + 2) / 5 + 1) as u32;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 } as u32;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn digits2(text: &[u8], at: usize) -> Option<u32> {
    let (tens, ones) = (text[at].wrapping_sub(b'0'), text[at + 1].wrapping_sub(b'0'));
    (tens <= 9 && ones <= 9).then(|| u32::from(tens) * 10 + u32::from(ones))
}

/// Days of `yyyy-MM-dd`.
pub(crate) fn parse_date(text: &[u8]) -> Option<i64> {
    let text: &[u8; 10] = text.try_into().ok()?;
    if text[4] != b'-' || text[7] != b'-' {
        return None;
    }
    let year = digits2(text, 0)? * 100 + digits2(text, 2)?;
    let (month, day) = (digits2(text, 5)?, digits2(text, 8)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let last = match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    };
    Some(days_from_civil(i64::from(year), month, day.min(last)))
}

/// Days of `yyyy-M-d` as `java.sql.Date.valueOf` reads it: a 30th of February runs over into March.
pub(crate) fn parse_lenient_date(text: &[u8]) -> Option<i64> {
    let mut parts = text.split(|b| *b == b'-');
    let mut part = |lengths: std::ops::RangeInclusive<usize>| {
        let digits = parts.next().filter(|p| lengths.contains(&p.len()))?;
        digits.iter().try_fold(0u32, |n, b| b.is_ascii_digit().then(|| n * 10 + u32::from(b - b'0')))
    };
    let (year, month, day) = (part(4..=4)?, part(1..=2)?, part(1..=2)?);
    let valid = parts.next().is_none() && (1..=12).contains(&month) && (1..=31).contains(&day);
    valid.then(|| days_from_civil(i64::from(year), month, day))
}

/// Nanoseconds of the day of `HH:mm` or `HH:mm:ss[.fraction]` as Java's `LocalTime.parse` reads it.
pub(crate) fn parse_iso_time(text: &[u8]) -> Option<i64> {
    let nanos = match text {
        [h1, h2, b':', m1, m2] => parse_time(&[*h1, *h2, b':', *m1, *m2, b':', b'0', b'0'])?,
        _ => parse_time(text)?,
    };
    Some(nanos).filter(|nanos| *nanos < 86_400_000_000_000)
}

/// Nanoseconds of the day of `HH:mm:ss`, with up to nine digits of fraction.
pub(crate) fn parse_time(text: &[u8]) -> Option<i64> {
    if text.len() < 8 || text[2] != b':' || text[5] != b':' {
        return None;
    }
    let (hour, minute, second) = (digits2(text, 0)?, digits2(text, 3)?, digits2(text, 6)?);
    let nanos = match &text[8..] {
        [] => 0,
        [b'.', fraction @ ..] if fraction.len() <= 9 => {
            let mut nanos = 0i64;
            for i in 0..9 {
                let digit = fraction.get(i).map_or(0, |b| b.wrapping_sub(b'0'));
                if digit > 9 {
                    return None;
                }
                nanos = nanos * 10 + i64::from(digit);
            }
            nanos
        }
        _ => return None,
    };
    let midnight = hour == 24 && minute == 0 && second == 0 && nanos == 0;
    if (hour > 23 && !midnight) || minute > 59 || second > 59 {
        return None;
    }
    Some(i64::from(hour * 3600 + minute * 60 + second) * 1_000_000_000 + nanos)
}

/// How text formats write timestamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimestampFormat {
    /// `2015-07-15 00:00:10.5`, with a final `Z` for TIMESTAMP_LTZ.
    Sql,
    /// `2015-07-15T00:00:10.5`, with a final `Z` for TIMESTAMP_LTZ.
    Iso8601,
}

impl TimestampFormat {
    fn separator(self) -> u8 {
        match self {
            Self::Sql => b' ',
            Self::Iso8601 => b'T',
        }
    }
}

/// Days, and nanoseconds of the day (the midnight at its end included).
pub(crate) fn parse_timestamp(text: &[u8], format: TimestampFormat, zoned: bool) -> Option<(i64, i64)> {
    let text = if zoned { text.strip_suffix(b"Z")? } else { text };
    if text.len() < 16 || text[10] != format.separator() {
        return None;
    }
    let time = match (format, &text[11..]) {
        // The ISO form may go without seconds.
        (TimestampFormat::Iso8601, short @ [_, _, _, _, _]) => parse_iso_time(short)?,
        (_, time) => parse_time(time)?,
    };
    Some((parse_date(&text[..10])?, time))
}

/// Units of `1 / per_second` since the epoch; `None` when they do not fit 64 bits.
pub(crate) fn to_epoch(days: i64, nanos_of_day: i64, per_second: i64) -> Option<i64> {
    let fraction = nanos_of_day / (1_000_000_000 / per_second);
    days.checked_mul(86_400 * per_second)?.checked_add(fraction)
}

/// Appends `yyyy-MM-dd`; years beyond four digits carry a sign.
pub(crate) fn write_date(days: i64, out: &mut Vec<u8>) {
    use std::io::Write;
    let (year, month, day) = civil_from_days(days);
    let _ = match year {
        0..=9999 => write!(out, "{year:04}"),
        10_000.. => write!(out, "+{year}"),
        _ => write!(out, "-{:04}", -year),
    };
    for part in [month, day] {
        out.extend_from_slice(&[b'-', b'0' + (part / 10) as u8, b'0' + (part % 10) as u8]);
    }
}

/// Appends `HH:mm:ss` and as much fraction as is not zero.
pub(crate) fn write_time(nanos_of_day: i64, out: &mut Vec<u8>) {
    let seconds = (nanos_of_day / 1_000_000_000) as u32;
    for (i, part) in [seconds / 3600, seconds / 60 % 60, seconds % 60].into_iter().enumerate() {
        if i > 0 {
            out.push(b':');
        }
        out.extend_from_slice(&[b'0' + (part / 10) as u8, b'0' + (part % 10) as u8]);
    }
    let mut fraction = nanos_of_day % 1_000_000_000;
    if fraction != 0 {
        out.push(b'.');
        let mut unit = 100_000_000;
        while fraction != 0 {
            out.push(b'0' + (fraction / unit) as u8);
            fraction %= unit;
            unit /= 10;
        }
    }
}

/// Days and nanoseconds of the day of a timestamp in units of `1 / per_second`.
pub(crate) fn from_epoch(value: i64, per_second: i64) -> (i64, i64) {
    let per_day = 86_400 * per_second;
    (value.div_euclid(per_day), value.rem_euclid(per_day) * (1_000_000_000 / per_second))
}

/// Appends a timestamp in units of `1 / per_second` since the epoch.
pub(crate) fn write_timestamp(
    value: i64,
    per_second: i64,
    format: TimestampFormat,
    zoned: bool,
    out: &mut Vec<u8>,
) {
    let (days, nanos) = from_epoch(value, per_second);
    write_date(days, out);
    out.push(format.separator());
    write_time(nanos, out);
    if zoned {
        out.push(b'Z');
    }
}

/// Appends the time as Java's `LocalTime.toString`: no seconds when they are zero, fraction in groups of three.
pub(crate) fn write_java_time(nanos_of_day: i64, always_seconds: bool, out: &mut Vec<u8>) {
    let start = out.len();
    write_time(nanos_of_day, out);
    if nanos_of_day % 60_000_000_000 == 0 && !always_seconds {
        out.truncate(start + 5);
    }
    let written = out.len() - start;
    if written > 9 {
        let fraction = written - 9;
        out.resize(out.len() + fraction.next_multiple_of(3) - fraction, b'0');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_round_trip_over_centuries() {
        for days in (-1_000_000..1_000_000).step_by(97) {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
        }
        assert_eq!(days_from_civil(1970, 1, 1), 0);
        assert_eq!(days_from_civil(2000, 3, 1), 11_017);
    }

    #[test]
    fn timestamps_read_as_javas_smart_formatter_does() {
        let parse = |text: &str| {
            let (days, nanos) = parse_timestamp(text.as_bytes(), TimestampFormat::Sql, false)?;
            to_epoch(days, nanos, 1000)
        };
        assert_eq!(parse("1970-01-01 00:00:00"), Some(0));
        assert_eq!(parse("1970-01-01 00:00:00.5"), Some(500));
        assert_eq!(parse("1969-12-31 23:59:59.999999999"), Some(-1));
        assert_eq!(parse("1970-01-01 24:00:00"), Some(86_400_000));
        assert_eq!(parse("2013-02-30 00:00:00"), parse("2013-02-28 00:00:00"));
        for bad in [
            "1970-01-01T00:00:00",
            "1970-01-01 00:00",
            "1970-13-01 00:00:00",
            "1970-01-32 00:00:00",
            "1970-01-01 24:00:01",
            "1970-01-01 00:00:00.1234567890",
            "1970-1-1 00:00:00",
            "",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn timestamps_are_written_with_the_fraction_they_need() {
        let write = |value, format| {
            let mut out = Vec::new();
            write_timestamp(value, 1000, format, false, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(write(1_436_918_410_000, TimestampFormat::Sql), "2015-07-15 00:00:10");
        assert_eq!(write(1_436_918_410_580, TimestampFormat::Sql), "2015-07-15 00:00:10.58");
        assert_eq!(write(-1, TimestampFormat::Iso8601), "1969-12-31T23:59:59.999");
        let java = |nanos| {
            let mut out = Vec::new();
            write_java_time(nanos, false, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(java(0), "00:00");
        assert_eq!(java(10_000_000_000), "00:00:10");
        assert_eq!(java(10_500_000_000), "00:00:10.500");
        assert_eq!(java(500_000), "00:00:00.000500");
    }
}
