//! Functions on dates and times: their [types](infer), the [parts](fields) of a moment, its [text](text), and the time now.
//!
//! Invariant: instants are taken apart in the session's time zone; units come as literals in upper case.

mod fields;
mod infer;
mod text;

use arrow::array::{ArrayRef, Int64Array};
use streamkeeper_connectors::schema::TypeKind;

use self::fields::{extract, timestamp_diff};
use self::text::{
    convert_tz, date_format, from_unixtime, to_date, to_timestamp, to_timestamp_ltz, unix_timestamp,
};
use super::Kernel;
use crate::expr::EvalError;
use crate::expr::eval::Args;
use crate::expr::temporal::{DAY_MS, from_millis, offset_ms};

pub(crate) use self::fields::floor;
pub(crate) use self::infer::{field, floor_call, infer, timestamp_add};

/// The functions by name; CEIL and FLOOR TO a unit are under CEIL and FLOOR.
pub(crate) const FUNCTIONS: &[(&str, Kernel)] = &[
    ("CONVERT_TZ", convert_tz),
    ("CURRENT_DATE", |a| now(a, true)),
    ("CURRENT_ROW_TIMESTAMP", |a| now(a, false)),
    ("CURRENT_TIME", |a| now(a, true)),
    ("CURRENT_TIMESTAMP", |a| now(a, false)),
    ("DATE_FORMAT", date_format),
    ("EXTRACT", extract),
    ("FROM_UNIXTIME", from_unixtime),
    ("LOCALTIME", |a| now(a, true)),
    ("LOCALTIMESTAMP", |a| now(a, true)),
    ("NOW", |a| now(a, false)),
    ("PROCTIME", |a| now(a, false)),
    ("TIMESTAMPDIFF", timestamp_diff),
    ("TO_DATE", to_date),
    ("TO_TIMESTAMP", to_timestamp),
    ("TO_TIMESTAMP_LTZ", to_timestamp_ltz),
    ("UNIX_TIMESTAMP", unix_timestamp),
];

/// The functions of one field of a date or time, and the field.
pub(crate) const FIELDS: &[(&str, &str)] = &[
    ("YEAR", "YEAR"),
    ("QUARTER", "QUARTER"),
    ("MONTH", "MONTH"),
    ("WEEK", "WEEK"),
    ("DAYOFYEAR", "DOY"),
    ("DAYOFMONTH", "DAY"),
    ("DAYOFWEEK", "DOW"),
    ("HOUR", "HOUR"),
    ("MINUTE", "MINUTE"),
    ("SECOND", "SECOND"),
];

/// The current instant, or, `local`, what the clocks of the session's zone show; once per batch.
fn now(a: &Args<'_>, local: bool) -> Result<ArrayRef, EvalError> {
    let instant = a.ctx.now_ms();
    let value = if local { instant + offset_ms(instant, a.ctx.time_zone) } else { instant };
    let value = match a.data_type.kind {
        TypeKind::Time(_) => value.rem_euclid(DAY_MS) / 1000 * 1000,
        _ => value,
    };
    from_millis(&Int64Array::from(vec![value; a.rows]), &a.data_type.to_arrow())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        Array, AsArray, Date32Array, Int32Array, RecordBatch, StringArray, TimestampMillisecondArray,
    };
    use arrow::datatypes::{Int64Type, Schema};

    use super::*;
    use crate::expr::functions::date_format::{Moment, Pattern, Style};
    use crate::expr::{EvalContext, ExprRef, ScalarExpr, call, compile, literal_int, literal_string};

    fn column(index: usize, kind: TypeKind) -> ScalarExpr {
        ScalarExpr::Column { index, name: format!("c{index}"), data_type: kind.into() }
    }

    fn on(expr: &ExprRef, columns: Vec<ArrayRef>) -> ArrayRef {
        let fields: Vec<_> =
            columns.iter().map(|c| arrow::datatypes::Field::new("c", c.data_type().clone(), true)).collect();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
        expr.eval(&batch).unwrap().into_array(batch.num_rows()).unwrap()
    }

    fn berlin(expr: &ScalarExpr) -> ExprRef {
        compile(expr, &EvalContext::new(chrono_tz::Europe::Berlin)).unwrap()
    }

    #[test]
    fn columns_with_nulls_and_patterns_per_row() {
        let format =
            call("DATE_FORMAT", vec![column(0, TypeKind::TimestampLtz(3)), column(1, TypeKind::Varchar(20))]);
        let stamps = TimestampMillisecondArray::from(vec![Some(0), None, Some(1_720_000_000_000), Some(0)]);
        let patterns = StringArray::from(vec![Some("yyyy-MM-dd HH:mm"), Some("HH"), Some("HH:mm"), None]);
        let texts =
            on(&berlin(&format.unwrap()), vec![Arc::new(stamps.with_timezone("UTC")), Arc::new(patterns)]);
        let expected = StringArray::from(vec![Some("1970-01-01 01:00"), None, Some("11:46"), None]);
        assert_eq!(*texts.as_string::<i32>(), expected);
    }

    #[test]
    fn extract_of_a_date_column() {
        let week = call("WEEK", vec![column(0, TypeKind::Date)]).unwrap();
        let dates = Date32Array::from(vec![Some(0), None, Some(20_087)]);
        let weeks = on(&berlin(&week), vec![Arc::new(dates)]);
        assert_eq!(*weeks.as_primitive::<Int64Type>(), Int64Array::from(vec![Some(1), None, Some(1)]));
    }

    #[test]
    fn a_seeded_sequence_goes_on_in_the_next_batch() {
        let rand = berlin(&call("RAND_INTEGER", vec![literal_int(7), literal_int(1000)]).unwrap());
        let rows = |n| Arc::new(Int32Array::from(vec![0; n])) as ArrayRef;
        let (first, second) = (on(&rand, vec![rows(2)]), on(&rand, vec![rows(1)]));
        let again = berlin(&call("RAND_INTEGER", vec![literal_int(7), literal_int(1000)]).unwrap());
        let all = on(&again, vec![rows(3)]);
        assert_eq!(arrow::compute::concat(&[&first, &second]).unwrap().as_ref(), all.as_ref());
        assert_eq!(all.as_primitive::<arrow::datatypes::Int32Type>().value(0), 236);
    }

    #[test]
    fn the_time_now_is_no_constant() {
        let now = call("UNIX_TIMESTAMP", vec![]).unwrap();
        assert!(!now.is_constant());
        let then = call("UNIX_TIMESTAMP", vec![literal_string("2024-01-01 00:00:00")]).unwrap();
        assert!(then.is_constant());
        for name in ["NOW", "CURRENT_DATE", "CURRENT_TIME", "LOCALTIME", "LOCALTIMESTAMP", "PROCTIME"] {
            assert!(!call(name, vec![]).unwrap().is_constant(), "{name}");
        }
    }

    #[test]
    fn no_text_can_make_a_pattern_panic() {
        for pattern in ["", "'", "[", "]", "yyyyMMdd", "MMM", "EEEE", "a", "SSS", "yyyy[-MM]", "é"] {
            for style in [Style::Formatter, Style::Simple] {
                let Ok(pattern) = Pattern::new(pattern, style) else { continue };
                for text in
                    ["", "é", "Jé", "20é", "99999999999999999999", "999999999", "-", "A", "Jan", "2024-"]
                {
                    let _ = pattern.read(text);
                    let _ = pattern.read_instant(text, chrono_tz::UTC);
                }
                pattern.write(Moment::of_millis(-1), &mut String::new());
            }
        }
    }
}
