//! Interval literals: `INTERVAL '1 00:00:05' DAY TO SECOND`, `INTERVAL '59.999' SECOND`, `INTERVAL '1-2' YEAR TO MONTH`.

use sqlparser::ast::{DateTimeField, Expr as Ast, Interval, UnaryOperator, Value};
use sqlparser::tokenizer::Span;

use crate::error::SqlError;
use crate::expr::{ScalarExpr, literal_interval_day_time, literal_interval_year_month};

pub(super) fn bind(interval: &Interval, span: Span) -> Result<ScalarExpr, SqlError> {
    let (text, negated) = match &*interval.value {
        Ast::Value(value) => (&value.value, false),
        Ast::UnaryOp { op: UnaryOperator::Minus, expr } => match &**expr {
            Ast::Value(value) => (&value.value, true),
            _ => return Err(SqlError::unsupported("an interval that is not a literal", span)),
        },
        _ => return Err(SqlError::unsupported("an interval that is not a literal", span)),
    };
    let (Value::SingleQuotedString(text) | Value::Number(text, _)) = text else {
        return Err(SqlError::validation("an interval is written INTERVAL '10' SECOND", span));
    };
    let Some(first) = interval.leading_field.as_ref().and_then(unit) else {
        return Err(SqlError::validation(
            "an interval needs a unit: YEAR, MONTH, DAY, HOUR, MINUTE or SECOND",
            span,
        ));
    };
    let last = match &interval.last_field {
        None => first,
        Some(field) => {
            unit(field).ok_or_else(|| SqlError::validation("the interval's last unit is unknown", span))?
        }
    };
    let invalid = || {
        let form = "for example '1 00:00:05' DAY TO SECOND, '10' MINUTE, '1-2' YEAR TO MONTH";
        SqlError::validation(format!("Illegal interval literal '{text}'; {form}"), span)
    };
    let (sign, digits) = match text.trim().strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.trim().trim_start_matches('+')),
    };
    let sign = if negated { -sign } else { sign };
    if first.is_month() != last.is_month() {
        return Err(invalid());
    }
    if first.is_month() {
        let months = months(digits, first, last).ok_or_else(invalid)?;
        return Ok(literal_interval_year_month(i32::try_from(sign * months).map_err(|_| invalid())?));
    }
    let ms = milliseconds(digits, first, last).ok_or_else(invalid)?;
    Ok(literal_interval_day_time(sign * ms))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Unit {
    Year,
    Quarter,
    Month,
    Week,
    Day,
    Hour,
    Minute,
    Second,
}

impl Unit {
    fn is_month(self) -> bool {
        self <= Self::Month
    }

    fn milliseconds(self) -> i64 {
        match self {
            Self::Year | Self::Quarter | Self::Month => 0,
            Self::Week => 604_800_000,
            Self::Day => 86_400_000,
            Self::Hour => 3_600_000,
            Self::Minute => 60_000,
            Self::Second => 1_000,
        }
    }
}

fn unit(field: &DateTimeField) -> Option<Unit> {
    Some(match field {
        DateTimeField::Year | DateTimeField::Years => Unit::Year,
        DateTimeField::Quarter => Unit::Quarter,
        DateTimeField::Month | DateTimeField::Months => Unit::Month,
        DateTimeField::Week(None) | DateTimeField::Weeks => Unit::Week,
        DateTimeField::Day | DateTimeField::Days => Unit::Day,
        DateTimeField::Hour | DateTimeField::Hours => Unit::Hour,
        DateTimeField::Minute | DateTimeField::Minutes => Unit::Minute,
        DateTimeField::Second | DateTimeField::Seconds => Unit::Second,
        _ => return None,
    })
}

fn months(text: &str, first: Unit, last: Unit) -> Option<i64> {
    match (first, last) {
        (Unit::Year, Unit::Year) => number(text)?.checked_mul(12),
        (Unit::Quarter, Unit::Quarter) => number(text)?.checked_mul(3),
        (Unit::Month, Unit::Month) => number(text),
        (Unit::Year, Unit::Month) => {
            let (years, months) = text.split_once('-')?;
            let months = number(months).filter(|m| *m < 12)?;
            number(years)?.checked_mul(12)?.checked_add(months)
        }
        _ => None,
    }
}

fn milliseconds(text: &str, first: Unit, last: Unit) -> Option<i64> {
    if first > last {
        return None;
    }
    let units: Vec<Unit> = [Unit::Week, Unit::Day, Unit::Hour, Unit::Minute, Unit::Second]
        .into_iter()
        .filter(|u| (first..=last).contains(u))
        .collect();
    let parts: Vec<&str> = text.split([' ', ':']).collect();
    if parts.len() != units.len() {
        return None;
    }
    let mut total = 0i64;
    for (unit, part) in units.into_iter().zip(parts) {
        let value = if unit == Unit::Second {
            seconds(part)?
        } else {
            number(part)?.checked_mul(unit.milliseconds())?
        };
        total = total.checked_add(value)?;
    }
    Some(total)
}

/// Seconds with a fraction, cut to milliseconds.
fn seconds(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|b| b.is_ascii_digit()) || fraction.len() > 9 {
        return None;
    }
    let ms: String = fraction.chars().chain("000".chars()).take(3).collect();
    number(whole)?.checked_mul(1000)?.checked_add(number(&ms)?)
}

fn number(text: &str) -> Option<i64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn day_time_intervals() {
        let ms = |text, first, last| milliseconds(text, first, last);
        assert_eq!(ms("1 00:00:05", Unit::Day, Unit::Second), Some(86_405_000));
        assert_eq!(ms("59.999", Unit::Second, Unit::Second), Some(59_999));
        assert_eq!(ms("1:02", Unit::Hour, Unit::Minute), Some(3_720_000));
        assert_eq!(ms("1 2", Unit::Day, Unit::Hour), Some(93_600_000));
        assert_eq!(ms("", Unit::Day, Unit::Day), None);
        assert_eq!(ms("1:2:3", Unit::Hour, Unit::Minute), None);
        assert_eq!(ms("99999999999999999999", Unit::Day, Unit::Day), None);
        assert_eq!(
            (months("1-2", Unit::Year, Unit::Month), months("1-12", Unit::Year, Unit::Month)),
            (Some(14), None)
        );
    }
}
