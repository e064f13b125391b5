//! Integers, decimals and floating point numbers as Java reads and writes them.

use std::io::Write;

/// The text without what Java's `String.trim` removes.
pub(crate) fn trim(mut text: &[u8]) -> &[u8] {
    while let [b'\0'..=b' ', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b'\0'..=b' '] = text {
        text = rest;
    }
    text
}

/// A 64-bit integer: an optional sign and digits.
pub(crate) fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() {
        return None;
    }
    // Negative numbers reach further than positive ones.
    let mut value: i64 = 0;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_sub(i64::from(digit))?;
    }
    if negative { Some(value) } else { value.checked_neg() }
}

/// A double: what Rust reads, but `NaN` and `Infinity` only in Java's spelling, and a `d` or `f` may follow.
pub(crate) fn parse_f64(text: &[u8]) -> Option<f64> {
    let unsigned = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
    let negative = text.first() == Some(&b'-');
    match unsigned {
        b"NaN" => return Some(f64::NAN),
        b"Infinity" => return Some(if negative { f64::NEG_INFINITY } else { f64::INFINITY }),
        [b'0'..=b'9' | b'.', ..] => {}
        _ => return None,
    }
    let number = match text {
        [rest @ .., b'd' | b'D' | b'f' | b'F'] => rest,
        _ => text,
    };
    std::str::from_utf8(number).ok()?.parse().ok()
}

/// A float: see [`parse_f64`]. Rounded once, from the text.
pub(crate) fn parse_f32(text: &[u8]) -> Option<f32> {
    let double = parse_f64(text)?;
    if !double.is_finite() || double == 0.0 {
        return Some(double as f32);
    }
    let number = match text {
        [rest @ .., b'd' | b'D' | b'f' | b'F'] => rest,
        _ => text,
    };
    std::str::from_utf8(number).ok()?.parse().ok()
}

/// A number that has the form of a decimal, at the given precision and scale.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decimal {
    /// The unscaled value, rounded half up.
    Value(i128),
    /// It has more digits before the point than the type: NULL in Flink.
    Overflow,
}

/// A decimal with optional exponent, as Java's `BigDecimal` reads it.
pub(crate) fn parse_decimal(text: &[u8], precision: u8, scale: u8) -> Option<Decimal> {
    let (negative, rest) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let (mantissa, exponent) = match rest.iter().position(|b| matches!(b, b'e' | b'E')) {
        Some(at) => (&rest[..at], parse_i64(&rest[at + 1..]).filter(|e| e.unsigned_abs() <= 1 << 31)?),
        None => (rest, 0),
    };
    let point = mantissa.iter().position(|b| *b == b'.').unwrap_or(mantissa.len());
    let fraction = mantissa.get(point + 1..).unwrap_or_default();
    if mantissa.len() <= usize::from(point < mantissa.len()) {
        return None;
    }
    if !mantissa[..point].iter().chain(fraction).all(u8::is_ascii_digit) {
        return None;
    }
    // How many of the digits count: those down to the scale, then one that decides the rounding.
    let kept = point as i64 + exponent + i64::from(scale);
    let digits = mantissa[..point].iter().chain(fraction).map(|b| i128::from(b - b'0'));
    let count = (point + fraction.len()) as i64;
    let limit = 10i128.pow(u32::from(precision));
    let mut value: i128 = 0;
    for (i, digit) in (0i64..).zip(digits) {
        if i < kept {
            value = value * 10 + digit;
            if value >= limit {
                return Some(Decimal::Overflow);
            }
        } else {
            if i == kept && digit >= 5 {
                value += 1;
            }
            break;
        }
    }
    if value != 0 {
        for _ in count..kept {
            value *= 10;
            if value >= limit {
                return Some(Decimal::Overflow);
            }
        }
    }
    if value >= limit {
        return Some(Decimal::Overflow);
    }
    Some(Decimal::Value(if negative { -value } else { value }))
}

/// Appends an integer.
pub(crate) fn write_i64(value: i64, out: &mut Vec<u8>) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends a double as Java's `Double.toString`.
pub(crate) fn write_f64(value: f64, out: &mut Vec<u8>) {
    if value.is_finite() && value != 0.0 {
        let magnitude = value.abs();
        if (1e-3..1e7).contains(&magnitude) {
            let start = out.len();
            let _ = write!(out, "{value}");
            if !out[start..].contains(&b'.') {
                out.extend_from_slice(b".0");
            }
        } else {
            let start = out.len();
            let _ = write!(out, "{value:E}");
            one_fraction_digit(out, start);
        }
    } else {
        out.extend_from_slice(special(value));
    }
}

/// Appends a float as Java's `Float.toString`.
pub(crate) fn write_f32(value: f32, out: &mut Vec<u8>) {
    if value.is_finite() && value != 0.0 {
        let magnitude = value.abs();
        if (1e-3..1e7).contains(&magnitude) {
            let start = out.len();
            let _ = write!(out, "{value}");
            if !out[start..].contains(&b'.') {
                out.extend_from_slice(b".0");
            }
        } else {
            let start = out.len();
            let _ = write!(out, "{value:E}");
            one_fraction_digit(out, start);
        }
    } else {
        out.extend_from_slice(special(f64::from(value)));
    }
}

/// `1E10` becomes `1.0E10`.
fn one_fraction_digit(out: &mut Vec<u8>, start: usize) {
    let text = &out[start..];
    if !text.contains(&b'.')
        && let Some(at) = text.iter().position(|b| *b == b'E')
    {
        let exponent = out.split_off(start + at);
        out.extend_from_slice(b".0");
        out.extend_from_slice(&exponent);
    }
}

fn special(value: f64) -> &'static [u8] {
    if value.is_nan() {
        b"NaN"
    } else if value == 0.0 {
        if value.is_sign_negative() { b"-0.0" } else { b"0.0" }
    } else if value < 0.0 {
        b"-Infinity"
    } else {
        b"Infinity"
    }
}

/// Appends a decimal with all digits of its scale and no exponent.
pub(crate) fn write_decimal_plain(unscaled: i128, scale: i32, out: &mut Vec<u8>) {
    let digits = unscaled.unsigned_abs().to_string();
    if unscaled < 0 {
        out.push(b'-');
    }
    if scale <= 0 {
        out.extend_from_slice(digits.as_bytes());
        if unscaled != 0 {
            out.resize(out.len() + scale.unsigned_abs() as usize, b'0');
        }
        return;
    }
    let scale = scale as usize;
    if digits.len() > scale {
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        let _ = write!(out, "{whole}.{fraction}");
    } else {
        let _ = write!(out, "0.{digits:0>scale$}");
    }
}

/// Appends a decimal as Java's `BigDecimal.toString`: with an exponent when the scale is negative or the number is
/// smaller than 10⁻⁶.
pub(crate) fn write_decimal_java(unscaled: i128, scale: i32, out: &mut Vec<u8>) {
    let digits = unscaled.unsigned_abs().to_string();
    let adjusted = digits.len() as i64 - 1 - i64::from(scale);
    if scale >= 0 && adjusted >= -6 {
        return write_decimal_plain(unscaled, scale, out);
    }
    if unscaled < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits.as_bytes()[..1]);
    if digits.len() > 1 {
        out.push(b'.');
        out.extend_from_slice(&digits.as_bytes()[1..]);
    }
    if adjusted != 0 {
        let _ = write!(out, "E{adjusted:+}");
    }
}

/// The same number with all trailing zeros of the unscaled value moved into the scale; zero has scale 0.
pub(crate) fn strip_trailing_zeros(mut unscaled: i128, mut scale: i32) -> (i128, i32) {
    if unscaled == 0 {
        return (0, 0);
    }
    while unscaled % 10 == 0 {
        unscaled /= 10;
        scale -= 1;
    }
    (unscaled, scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn integers_at_their_limits() {
        assert_eq!(parse_i64(b"9223372036854775807"), Some(i64::MAX));
        assert_eq!(parse_i64(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(parse_i64(b"9223372036854775808"), None);
        assert_eq!(parse_i64(b"+7"), Some(7));
        for bad in ["", "-", "1.0", "1e3", "0x1", " 1"] {
            assert_eq!(parse_i64(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(text(|o| write_i64(i64::MIN, o)), i64::MIN.to_string());
        assert_eq!(text(|o| write_i64(0, o)), "0");
    }

    #[test]
    fn doubles_read_and_look_like_javas() {
        for (value, expected) in [
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (0.001, "0.001"),
            (0.0001, "1.0E-4"),
            (1e7, "1.0E7"),
            (9_999_999.0, "9999999.0"),
            (12_345_678.9, "1.23456789E7"),
            (37.333_333_333_333_336, "37.333333333333336"),
            (f64::NEG_INFINITY, "-Infinity"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(text(|o| write_f64(value, o)), expected);
        }
        assert_eq!(text(|o| write_f32(0.1, o)), "0.1");
        assert_eq!(parse_f64(b"1.5d"), Some(1.5));
        assert_eq!(parse_f64(b"-Infinity"), Some(f64::NEG_INFINITY));
        for bad in ["inf", "nan", "", "-", "1,5", "infinity"] {
            assert_eq!(parse_f64(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn decimals_round_half_up_and_overflow() {
        let parse = |text: &str| parse_decimal(text.as_bytes(), 5, 2);
        assert_eq!(parse("1.005"), Some(Decimal::Value(101)));
        assert_eq!(parse("-1.004"), Some(Decimal::Value(-100)));
        assert_eq!(parse("12e1"), Some(Decimal::Value(12000)));
        assert_eq!(parse(".5"), Some(Decimal::Value(50)));
        assert_eq!(parse("5."), Some(Decimal::Value(500)));
        assert_eq!(parse("999.999"), Some(Decimal::Overflow));
        assert_eq!(parse("1000"), Some(Decimal::Overflow));
        assert_eq!(parse("1e-30"), Some(Decimal::Value(0)));
        assert_eq!(parse("0e99"), Some(Decimal::Value(0)));
        assert_eq!(parse("1e999999999"), Some(Decimal::Overflow));
        for bad in ["", ".", "1e-9223372036854775808", "1.2.3", "1e", "a", "--1"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn decimals_look_like_javas() {
        assert_eq!(text(|o| write_decimal_plain(-5, 3, o)), "-0.005");
        assert_eq!(text(|o| write_decimal_java(5, 8, o)), "5E-8");
        assert_eq!(text(|o| write_decimal_java(1, -2, o)), "1E+2");
        assert_eq!(text(|o| write_decimal_java(208_840, 3, o)), "208.840");
        assert_eq!(strip_trailing_zeros(100_000, 3), (1, -2));
        assert_eq!(strip_trailing_zeros(208_840, 3), (20884, 2));
    }
}
