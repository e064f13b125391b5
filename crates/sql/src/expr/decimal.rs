//! Arithmetic on unscaled decimals. Invariant: what does not fit the result's precision is `None` (SQL NULL).

use arrow::datatypes::i256;

pub(crate) fn pow10(n: u32) -> i128 {
    10i128.checked_pow(n).unwrap_or(i128::MAX)
}

/// Whether `value` has at most `precision` digits.
#[inline]
pub(crate) fn fits(value: i128, precision: u8) -> bool {
    value.unsigned_abs() < pow10(u32::from(precision)).unsigned_abs()
}

/// From scale `from` to scale `to`, rounded half up.
pub(crate) fn rescale(value: i128, from: u32, to: u32) -> Option<i128> {
    if to >= from {
        return value.checked_mul(10i128.checked_pow(to - from)?);
    }
    let Some(divisor) = 10i128.checked_pow(from - to) else { return Some(0) };
    let (quotient, rest) = (value / divisor, value % divisor);
    Some(if rest.unsigned_abs() * 2 >= divisor.unsigned_abs() { quotient + value.signum() } else { quotient })
}

fn narrow(value: i256, divisor_digits: u32) -> Option<i128> {
    let mut divisor = i256::ONE;
    for _ in 0..divisor_digits {
        divisor = divisor.checked_mul(i256::from_i128(10))?;
    }
    divide_half_up(value, divisor)
}

fn divide_half_up(value: i256, divisor: i256) -> Option<i128> {
    let quotient = value.checked_div(divisor)?;
    let rest = value.checked_rem(divisor)?;
    let doubled = rest.wrapping_abs().checked_mul(i256::from_i128(2))?;
    let negative = value.is_negative() != divisor.is_negative();
    let step = if doubled < divisor.wrapping_abs() {
        i256::ZERO
    } else if negative {
        i256::MINUS_ONE
    } else {
        i256::ONE
    };
    quotient.checked_add(step)?.to_i128()
}

/// `a * b`, whose natural scale is `natural`, at `scale`.
#[inline]
pub(crate) fn multiply(a: i128, b: i128, natural: u32, scale: u32) -> Option<i128> {
    match a.checked_mul(b) {
        Some(product) if natural == scale => Some(product),
        Some(product) => rescale(product, natural, scale),
        None => {
            let product = i256::from_i128(a).checked_mul(i256::from_i128(b))?;
            narrow(product, natural.saturating_sub(scale))
        }
    }
}

/// `a / b` at `scale`; `b` is not zero.
pub(crate) fn divide(a: (i128, u32), b: (i128, u32), scale: u32) -> Option<i128> {
    // a / 10^s1 / (b / 10^s2) * 10^scale
    let up = i64::from(scale) + i64::from(b.1) - i64::from(a.1);
    let (mut value, mut divisor) = (i256::from_i128(a.0), i256::from_i128(b.0));
    for _ in 0..up.unsigned_abs() {
        if up > 0 {
            value = value.checked_mul(i256::from_i128(10))?;
        } else {
            divisor = divisor.checked_mul(i256::from_i128(10))?;
        }
    }
    divide_half_up(value, divisor)
}
