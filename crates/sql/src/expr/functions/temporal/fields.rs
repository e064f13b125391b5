//! The parts of a date or time: taken out, rounded to, and counted between two of them.
//!
//! Invariant: instants are taken apart in the session's time zone.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int32Array, Int64Array};
use arrow::compute::{binary, cast as arrow_cast};
use arrow::datatypes::{DataType as ArrowType, Int64Type};
use streamkeeper_connectors::schema::TypeKind;

use crate::expr::EvalError;
use crate::expr::eval::Args;
use crate::expr::temporal::{DAY_MS, add_months, civil, days_of, from_millis, millis, offset_ms};

/// A part of a date or time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Millennium,
    Century,
    Decade,
    Year,
    IsoYear,
    Quarter,
    Month,
    Week,
    Day,
    DayOfWeek,
    IsoDayOfWeek,
    DayOfYear,
    Hour,
    Minute,
    Second,
    Millisecond,
    Microsecond,
    Nanosecond,
    Epoch,
}

impl Field {
    pub(super) fn of(unit: &str) -> Option<Self> {
        Some(match unit {
            "MILLENNIUM" => Self::Millennium,
            "CENTURY" => Self::Century,
            "DECADE" => Self::Decade,
            "YEAR" => Self::Year,
            "ISOYEAR" => Self::IsoYear,
            "QUARTER" => Self::Quarter,
            "MONTH" => Self::Month,
            "WEEK" => Self::Week,
            "DAY" => Self::Day,
            "DOW" | "DAYOFWEEK" => Self::DayOfWeek,
            "ISODOW" => Self::IsoDayOfWeek,
            "DOY" | "DAYOFYEAR" => Self::DayOfYear,
            "HOUR" => Self::Hour,
            "MINUTE" => Self::Minute,
            "SECOND" => Self::Second,
            "MILLISECOND" => Self::Millisecond,
            "MICROSECOND" => Self::Microsecond,
            "NANOSECOND" => Self::Nanosecond,
            "EPOCH" => Self::Epoch,
            _ => return None,
        })
    }

    /// Milliseconds of a unit that has a fixed length.
    pub(super) fn unit_ms(self) -> Option<i64> {
        Some(match self {
            Self::Week => 7 * DAY_MS,
            Self::Day => DAY_MS,
            Self::Hour => 3_600_000,
            Self::Minute => 60_000,
            Self::Second => 1000,
            Self::Millisecond => 1,
            _ => return None,
        })
    }

    pub(super) fn is_of_floor(self) -> bool {
        self.unit_ms().is_some() || self.is_of_calendar()
    }

    fn is_of_calendar(self) -> bool {
        matches!(
            self,
            Self::Millennium | Self::Century | Self::Decade | Self::Year | Self::Quarter | Self::Month
        )
    }

    pub(super) fn is_of_difference(self) -> bool {
        matches!(self, Self::Year | Self::Quarter | Self::Month)
            || self.unit_ms().is_some_and(|ms| ms >= 1000)
    }

    pub(super) fn is_of_interval(self) -> bool {
        matches!(self, Self::Year | Self::Quarter | Self::Month)
            || self.unit_ms().is_some_and(|ms| ms != 7 * DAY_MS)
    }

    /// Of local milliseconds. Before 1970 Flink rounds up to the next day, and the clock's fields are negative.
    fn get(self, ms: i64) -> i64 {
        let days = ms / DAY_MS;
        let year = || civil(days).0;
        let of_day = ms % DAY_MS;
        let iso_day = || (days + 3).rem_euclid(7) + 1;
        let iso_year = || civil(days - iso_day() + 4).0;
        match self {
            Self::Millennium => (year() + 999).div_euclid(1000),
            Self::Century => (year() + 99).div_euclid(100),
            Self::Decade => year().div_euclid(10),
            Self::Year => year(),
            Self::IsoYear => iso_year(),
            Self::Quarter => (i64::from(civil(days).1) + 2) / 3,
            Self::Month => i64::from(civil(days).1),
            Self::Week => (days - iso_day() + 4 - days_of(iso_year(), 1, 1)) / 7 + 1,
            Self::Day => i64::from(civil(days).2),
            Self::DayOfWeek => (days + 4).rem_euclid(7) + 1,
            Self::IsoDayOfWeek => iso_day(),
            Self::DayOfYear => days - days_of(year(), 1, 1) + 1,
            Self::Hour => of_day / 3_600_000,
            Self::Minute => of_day % 3_600_000 / 60_000,
            Self::Second => of_day % 60_000 / 1000,
            Self::Millisecond => of_day % 1000,
            Self::Microsecond => of_day % 1000 * 1000,
            Self::Nanosecond => of_day % 1000 * 1_000_000,
            Self::Epoch => ms / 1000,
        }
    }

    /// The start of the unit that a day is in, or, for CEIL, of the next one when the day is not a start.
    fn calendar_floor(self, days: i64, ceil: bool) -> i64 {
        let (year, month, _) = civil(days);
        let years = |length: i64, first: i64| (year - first).div_euclid(length) * length + first;
        let (start, months) = match self {
            Self::Millennium => (days_of(years(1000, 1), 1, 1), 12_000),
            Self::Century => (days_of(years(100, 1), 1, 1), 1200),
            Self::Decade => (days_of(years(10, 0), 1, 1), 120),
            Self::Year => (days_of(year, 1, 1), 12),
            Self::Quarter => (days_of(year, (month - 1) / 3 * 3 + 1, 1), 3),
            Self::Week => (days - (days + 4).rem_euclid(7), 0),
            _ => (days_of(year, month, 1), 1),
        };
        match self {
            _ if !ceil => start,
            // To Flink's CEIL only the year's first quarter has a start.
            Self::Quarter if month > 3 => add_months(start, months),
            _ if start == days => start,
            Self::Week => start + 7,
            _ => add_months(start, months),
        }
    }
}

/// The unit that a call has as a literal argument.
fn field_at(a: &Args<'_>, at: usize) -> Result<Field, EvalError> {
    let unit = a.str(at).get(0).unwrap_or_default().to_ascii_uppercase();
    let unit = unit.strip_prefix("SQL_TSI_").unwrap_or(&unit);
    Field::of(unit).ok_or_else(|| EvalError(format!("{unit} is no unit of time")))
}

/// An argument in local milliseconds, and the nanoseconds below them.
pub(super) fn local(a: &Args<'_>, at: usize) -> Result<(Int64Array, Option<Int64Array>), EvalError> {
    let (ms, below) = millis(a.values[at].array())?;
    if matches!(a.types[at].kind, TypeKind::TimestampLtz(_)) {
        let zone = a.ctx.time_zone;
        return Ok((ms.unary(|v| v.wrapping_add(offset_ms(v, zone))), below));
    }
    Ok((ms, below))
}

pub(super) fn extract(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let field = field_at(a, 0)?;
    let input = a.values[1].array();
    if a.types[1].kind == TypeKind::IntervalYearMonth {
        let months = arrow_cast(input, &ArrowType::Int64)?;
        let months = months.as_primitive::<Int64Type>();
        return Ok(Arc::new(months.unary::<_, Int64Type>(|m| match field {
            Field::Year => m / 12,
            Field::Quarter => m % 12 / 3 + 1,
            _ => m % 12,
        })));
    }
    let (ms, below) = local(a, 1)?;
    if a.types[1].kind == TypeKind::IntervalDayTime && field == Field::Day {
        return Ok(Arc::new(ms.unary::<_, Int64Type>(|v| v / DAY_MS)));
    }
    Ok(match (field, below) {
        (Field::Microsecond, Some(below)) => {
            Arc::new(binary::<_, _, _, Int64Type>(&ms, &below, |v, n| field.get(v) + n / 1000)?)
        }
        (Field::Nanosecond, Some(below)) => {
            Arc::new(binary::<_, _, _, Int64Type>(&ms, &below, |v, n| field.get(v) + n)?)
        }
        _ => Arc::new(ms.unary::<_, Int64Type>(|v| field.get(v))),
    })
}

/// `FLOOR(x TO unit)`, `CEIL(x TO unit)`.
pub(crate) fn floor(a: &Args<'_>, ceil: bool) -> Result<ArrayRef, EvalError> {
    let field = field_at(a, 1)?;
    let kind = &a.types[0].kind;
    let (ms, _) = millis(a.values[0].array())?;
    let zone = matches!(kind, TypeKind::TimestampLtz(_)).then_some(a.ctx.time_zone);
    let date = *kind == TypeKind::Date;
    let one = |local: i64| match field.unit_ms() {
        Some(unit) if unit <= DAY_MS => {
            // A whole DATE is not the start of its day to Flink's CEIL.
            let up = match (ceil, date) {
                (false, _) => 0,
                (true, true) if unit == DAY_MS => unit,
                (true, _) => unit - 1,
            };
            local.wrapping_add(up).div_euclid(unit).wrapping_mul(unit)
        }
        _ => field.calendar_floor(local.div_euclid(DAY_MS), ceil).wrapping_mul(DAY_MS),
    };
    let floored = match zone {
        None => ms.unary::<_, Int64Type>(one),
        Some(zone) => ms.unary(|v| {
            let offset = offset_ms(v, zone);
            one(v.wrapping_add(offset)).wrapping_sub(offset)
        }),
    };
    from_millis(&floored, a.values[0].array().data_type())
}

/// Whole months from `b` to `a`.
fn months_between(a: i64, b: i64) -> i64 {
    fn of_days(a: i64, b: i64) -> i64 {
        if a < b {
            return -of_days(b, a);
        }
        let ((y1, m1, _), (y2, m2, _)) = (civil(a), civil(b));
        let months = (y1 - y2) * 12 + i64::from(m1) - i64::from(m2);
        if add_months(b, months) > a { months - 1 } else { months }
    }
    let (day_a, day_b) = (a.div_euclid(DAY_MS), b.div_euclid(DAY_MS));
    let months = of_days(day_a, day_b);
    let late = a.rem_euclid(DAY_MS) < b.rem_euclid(DAY_MS);
    if late && add_months(day_b, months) == day_a { months - 1 } else { months }
}

pub(super) fn timestamp_diff(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let field = field_at(a, 0)?;
    let (from, to) = (millis(a.values[1].array())?.0, millis(a.values[2].array())?.0);
    let (from, to) = (a.col(1, &from), a.col(2, &to));
    let unit = field.unit_ms();
    let per = match field {
        Field::Year => 12,
        Field::Quarter => 3,
        _ => 1,
    };
    let one = |i| {
        let (from, to) = (from.get(i)?, to.get(i)?);
        Some(match unit {
            Some(unit) => to.wrapping_sub(from) / unit,
            None => months_between(to, from) / per,
        } as i32)
    };
    Ok(Arc::new((0..a.rows).map(one).collect::<Int32Array>()))
}
