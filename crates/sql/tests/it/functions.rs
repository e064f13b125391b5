//! Functions, operators and casts against Flink's own answers: `tests/cases/functions/*.case`, a line per expression:
//! `expression => TYPE => text`, or `=> error: …`.
//!
//! What still differs from Flink is listed in `differences.txt`, with our answer: the list may only hold what differs, and
//! all of it. `UPDATE_EXPECT=1` renews it.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::Schema;
use sqlparser::ast::Ident;
use streamkeeper_connectors::schema::DataType;
use streamkeeper_sql::error::SqlError;
use streamkeeper_sql::expr::bind::{Scope, bind_expr};
use streamkeeper_sql::expr::{ColumnarValue, EvalContext, ScalarExpr, cast, compile};
use streamkeeper_sql::parser::parse_expression;

struct NoColumns;

impl Scope for NoColumns {
    fn resolve(&self, parts: &[Ident]) -> Result<(ScalarExpr, usize), SqlError> {
        Err(SqlError::validation(
            format!("Column '{}' not found in any table", parts[0].value),
            parts[0].span,
        ))
    }
}

/// `TYPE => text`, or `error: …`; in the text backslashes and ends of lines are escaped.
fn answer(expression: &str, ctx: &EvalContext) -> String {
    let evaluate = || -> Result<String, String> {
        let ast = parse_expression(expression).map_err(|e| e.to_string())?;
        let bound = bind_expr(&ast, &NoColumns, ctx).map_err(|e| e.to_string())?;
        let data_type = bound.data_type().clone();
        let text = cast(bound, DataType::string(), false).map_err(|e| e.to_string())?;
        let compiled = compile(&text, ctx).map_err(|e| e.to_string())?;
        let row = RecordBatchOptions::new().with_row_count(Some(1));
        let batch = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &row)
            .expect("one empty row");
        let (ColumnarValue::Array(value) | ColumnarValue::Scalar(value)) =
            compiled.eval(&batch).map_err(|e| e.to_string())?;
        assert_eq!(value.len(), 1, "{expression}");
        let text = if value.is_null(0) { "NULL" } else { value.as_string::<i32>().value(0) };
        let text = text.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r");
        Ok(format!("{data_type} => {text}"))
    };
    evaluate().unwrap_or_else(|error| format!("error: {error}"))
}

/// Errors are compared by their being errors: the words are ours. NULL of a NOT NULL decimal that overflows prints as
/// nothing in Flink.
fn agrees(ours: &str, flink: &str) -> bool {
    ours == flink
        || (ours.starts_with("error:") && flink.starts_with("error:"))
        || (flink.ends_with("=> ") && ours.ends_with("=> NULL"))
}

#[test]
fn functions_answer_as_flink() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/functions");
    let mut files: Vec<_> =
        std::fs::read_dir(&directory).expect("cases").map(|e| e.expect("readable").path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "case"));
    files.sort();
    let ctx = EvalContext::new(chrono_tz::Tz::Europe__Berlin);
    let (mut cases, mut differences) = (0, String::new());
    for path in &files {
        let text = std::fs::read_to_string(path).expect("text");
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
            let (expression, flink) = line.split_once(" => ").expect("expression => answer");
            let ours = answer(expression, &ctx);
            cases += 1;
            if !agrees(&ours, flink) {
                let _ = writeln!(differences, "{expression} => {flink}\n    ours: {ours}");
            }
        }
    }
    assert!(cases > 300, "only {cases} cases were found");
    expect_test::expect_file![directory.join("differences.txt")].assert_eq(&differences);
}

/// What Flink means by forms that are rewritten before they are evaluated: all ends, orders and negations of them.
#[test]
fn overlaps_and_symmetric_bounds() {
    let ctx = EvalContext::new(chrono_tz::Tz::UTC);
    let cases = [
        ("(DATE '2024-02-01', DATE '2024-01-01') OVERLAPS (DATE '2024-03-01', DATE '2024-01-15')", "TRUE"),
        ("(DATE '2024-01-01', DATE '2024-02-01') OVERLAPS (DATE '2024-02-02', DATE '2024-03-01')", "FALSE"),
        ("(DATE '2024-02-02', DATE '2024-03-01') OVERLAPS (DATE '2024-01-01', DATE '2024-02-01')", "FALSE"),
        ("(DATE '2024-01-01', INTERVAL '31' DAY) OVERLAPS (DATE '2024-02-01', DATE '2024-03-01')", "TRUE"),
        ("(DATE '2024-01-01', INTERVAL '30' DAY) OVERLAPS (DATE '2024-02-01', DATE '2024-03-01')", "FALSE"),
        ("2 NOT BETWEEN SYMMETRIC 3 AND 1", "FALSE"),
        ("4 BETWEEN SYMMETRIC 3 AND 1 OR FALSE", "FALSE"),
        ("1 BETWEEN SYMMETRIC 3 AND 1 AND FALSE", "FALSE"),
        ("2 BETWEEN ASYMMETRIC 3 AND 1", "FALSE"),
        ("2 NOT BETWEEN ASYMMETRIC 1 AND 3", "FALSE"),
    ];
    for (expression, expected) in cases {
        assert_eq!(answer(expression, &ctx), format!("BOOLEAN NOT NULL => {expected}"), "{expression}");
        let text = parse_expression(expression).expect("valid").to_string();
        assert_eq!(answer(&text, &ctx), format!("BOOLEAN NOT NULL => {expected}"), "{text}");
    }
    let trim = parse_expression("TRIM(LEADING FROM '  a ')").expect("valid").to_string();
    assert_eq!(trim, "TRIM(LEADING ' ' FROM '  a ')");
    assert!(parse_expression("2 BETWEEN SYMMETRIC 3").is_err());
    assert!(answer("DATE '2024-01-01' OVERLAPS DATE '2024-01-01'", &ctx).starts_with("error:"));
}

/// Elements behind NULLs and outside of a slice are not looked at: a text there may be no number.
#[test]
fn casts_of_arrays_and_rows_look_at_what_is_there() {
    use arrow::array::{ArrayRef, ListBuilder, StringBuilder};
    let ctx = EvalContext::new(chrono_tz::Tz::UTC);
    let mut lists = ListBuilder::new(StringBuilder::new());
    for list in
        [Some(vec![Some("x")]), Some(vec![Some("1"), None]), None, Some(vec![]), Some(vec![Some("3")])]
    {
        lists.append_option(list);
    }
    let texts: ArrayRef = Arc::new(lists.finish());
    let array = |kind: &str| {
        bind_expr(
            &parse_expression(&format!("CAST(NULL AS ARRAY<{kind}>)")).expect("valid"),
            &NoColumns,
            &ctx,
        )
        .expect("a type")
        .data_type()
        .clone()
    };
    let column = ScalarExpr::Column { index: 0, name: "c".into(), data_type: array("STRING") };
    let expr = compile(&cast(column, array("INT"), false).expect("castable"), &ctx).expect("compiled");
    let of = |rows: ArrayRef| {
        let batch = RecordBatch::try_from_iter([("c", rows)]).expect("one column");
        expr.eval(&batch).map(|value| value.into_array(batch.num_rows()).expect("an array"))
    };
    let numbers = of(texts.slice(1, 4)).expect("all that is seen are numbers");
    let numbers = numbers.as_list::<i32>();
    let lists: Vec<_> = numbers
        .iter()
        .map(|l| l.map(|l| l.as_primitive::<arrow::datatypes::Int32Type>().iter().collect::<Vec<_>>()))
        .collect();
    assert_eq!(lists, [Some(vec![Some(1), None]), None, Some(vec![]), Some(vec![Some(3)])]);
    assert!(of(texts).is_err());
}
