use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::Schema;
use std::sync::Arc;
use streamkeeper_connectors::schema::{DataType, TypeKind};

use super::*;

fn of(kind: TypeKind, text: &str) -> ScalarExpr {
    cast(literal_string(text), kind.into(), false).unwrap()
}

pub(in crate::expr) fn run(expr: &ScalarExpr) -> String {
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let batch = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).unwrap();
    let ctx = EvalContext::new(chrono_tz::Europe::Berlin);
    match compile(expr, &ctx).unwrap().eval(&batch).and_then(|v| v.into_array(1)) {
        Ok(value) => {
            let value: ArrayRef = value;
            assert_eq!(*value.data_type(), expr.data_type().to_arrow(), "{expr}");
            format!(
                "{} => {}",
                expr.data_type(),
                cast_text::value_text(&value, expr.data_type(), 0, ctx.time_zone)
            )
        }
        Err(error) => format!("error: {error}"),
    }
}

fn dec(precision: u8, scale: u8) -> TypeKind {
    TypeKind::Decimal { precision, scale }
}

/// The expected answers are Flink 2.3.0's.
#[test]
fn arithmetic_as_in_flink() {
    let int = literal_int;
    let op = |name: &str, a, b| run(&call(name, vec![a, b]).unwrap());
    assert_eq!(op("+", int(i32::MAX), int(1)), "INT NOT NULL => -2147483648");
    assert_eq!(op("/", int(-7), int(2)), "INT NOT NULL => -3");
    assert!(op("/", int(7), int(0)).starts_with("error: /: 7 / 0"));
    assert_eq!(op("MOD", literal_bigint(1007), int(123)), "INT NOT NULL => 23");
    assert_eq!(op("*", of(dec(4, 3), "0.908"), literal_bigint(100)), "DECIMAL(24, 3) NOT NULL => 90.800");
    assert_eq!(op("/", of(dec(2, 1), "7.0"), int(2)), "DECIMAL(13, 12) NOT NULL => 3.500000000000");
    assert_eq!(op("%", of(dec(2, 1), "7.5"), int(2)), "DECIMAL(2, 1) NOT NULL => 1.5");
    let wide = "99999999999999999999999999999999999999";
    assert_eq!(op("+", of(dec(38, 0), wide), int(1)), "DECIMAL(38, 0) NOT NULL => NULL");
    assert_eq!(op("<", of(TypeKind::Double, "NaN"), int(1)), "BOOLEAN NOT NULL => FALSE");
}

#[test]
fn casts_as_in_flink() {
    let stamp = of(TypeKind::Timestamp(3), "2024-02-28 10:11:12.345678");
    assert_eq!(run(&stamp), "TIMESTAMP(3) NOT NULL => 2024-02-28 10:11:12.345");
    let text = cast(of(TypeKind::Double, "1e7"), DataType::string(), false).unwrap();
    assert_eq!(run(&text), "STRING NOT NULL => 1.0E7");
    assert_eq!(run(&of(TypeKind::Char(5), "abc")), "CHAR(5) NOT NULL => abc  ");
    assert!(run(&of(TypeKind::Int, "abc")).starts_with("error: CAST: 'abc' is not a INT"));
    let try_cast = cast(literal_string("abc"), TypeKind::Int.into(), true).unwrap();
    assert_eq!(run(&try_cast), "INT => NULL");
}

#[test]
fn a_branch_that_is_not_taken_cannot_fail() {
    let bad = call("/", vec![literal_int(1), literal_int(0)]).unwrap();
    let case = call("CASE", vec![literal_boolean(true), literal_int(5), bad.clone()]).unwrap();
    assert_eq!(run(&case), "INT NOT NULL => 5");
    let test = call("=", vec![bad, literal_int(1)]).unwrap();
    let and = call("AND", vec![literal_boolean(false), test]).unwrap();
    assert_eq!(run(&and), "BOOLEAN NOT NULL => FALSE");
}

#[test]
fn timestamps_move_by_intervals() {
    let add = |name, kind, text, by| run(&call(name, vec![of(kind, text), by]).unwrap());
    let month = literal_interval_year_month(1);
    let at = "2024-01-31 10:00:00.123";
    assert_eq!(add("+", TypeKind::Date, "2024-01-31", month.clone()), "DATE NOT NULL => 2024-02-29");
    let minus = add("-", TypeKind::Timestamp(0), "2024-03-31 10:00:00", month);
    assert_eq!(minus, "TIMESTAMP(0) NOT NULL => 2024-02-29 10:00:00");
    let plus = add("+", TypeKind::Timestamp(3), at, literal_interval_day_time(93_784_500));
    assert_eq!(plus, "TIMESTAMP(3) NOT NULL => 2024-02-01 12:03:04.623");
}
