//! Every statement of the documentation's grammar parses, and its text parses to the same statement again.

use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::path::Path;

use sqlparser::ast::{Expr, visit_expressions_mut};
use streamkeeper_sql::parser::{parse_expression, parse_script, parse_statement};

const STATEMENTS: &str = include_str!("../cases/statements/statements.sql");

/// `(title, statement)` of each block.
fn blocks() -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    for block in STATEMENTS.split("\n\n").skip(1) {
        let (title, text) = block.trim().split_once('\n').expect("a block is a title and a statement");
        blocks.push((title.trim_start_matches("-- ").to_string(), text.to_string()));
    }
    blocks
}

#[test]
fn every_statement_parses_and_its_text_is_stable() {
    let mut failures = String::new();
    let mut snapshot = String::new();
    let blocks = blocks();
    assert!(blocks.len() >= 127, "only {} statements found", blocks.len());
    for (title, text) in blocks {
        let statement = match parse_statement(&text) {
            Ok(statement) => statement,
            Err(error) => {
                let _ = writeln!(failures, "-- {title}\n{}\n", error.render(&text, None));
                continue;
            }
        };
        let printed = statement.node.to_string();
        match parse_statement(&printed) {
            Ok(again) if again.node.to_string() != printed => {
                let _ = writeln!(failures, "-- {title}: the text changes\n{printed}\n{}\n", again.node);
            }
            Ok(again) if again.node != statement.node => {
                let _ = writeln!(failures, "-- {title}: the tree changes\n{printed}\n");
            }
            Ok(_) => {}
            Err(error) => {
                let _ = writeln!(
                    failures,
                    "-- {title}: the text does not parse\n{}\n",
                    error.render(&printed, None)
                );
            }
        }
        let _ = writeln!(snapshot, "-- {title}\n{printed};\n");
    }
    assert!(failures.is_empty(), "\n{failures}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/statements/printed.sql");
    expect_test::expect_file![path].assert_eq(&snapshot);
}

#[test]
fn the_whole_file_is_one_script_with_places() {
    // The statement set that the file leaves open would take in what follows it.
    let text = STATEMENTS.replace("BEGIN STATEMENT SET;", "");
    let script = parse_script(&text).unwrap();
    assert_eq!(script.len(), blocks().len() - 1);
    for statement in &script {
        let line = text.lines().nth(statement.line as usize - 1).unwrap();
        let slice = &text[statement.span.clone()];
        assert_eq!(parse_statement(slice).unwrap().node, statement.node);
        let first: String = line.chars().skip(statement.column as usize - 1).take(3).collect();
        assert!(slice.starts_with(&first), "{first} / {slice}");
    }
}

/// The expression without brackets.
fn bare(text: &str) -> Expr {
    let mut expr = parse_expression(text).unwrap_or_else(|e| panic!("{}", e.render(text, None)));
    let _ = visit_expressions_mut(&mut expr, |expr| {
        while let Expr::Nested(inner) = expr {
            *expr = (**inner).clone();
        }
        ControlFlow::<()>::Continue(())
    });
    expr
}

#[test]
fn operators_bind_as_in_flink() {
    for (text, meaning) in [
        ("a + b * c - d", "(a + (b * c)) - d"),
        ("a + b || c", "a + (b || c)"),
        ("a * b || c", "(a * b) || c"),
        ("-a * b", "(-a) * b"),
        ("- a + b", "(- a) + b"),
        ("a = b IN (c)", "a = (b IN (c))"),
        ("a = b BETWEEN 1 AND 2", "a = (b BETWEEN 1 AND 2)"),
        ("a BETWEEN 1 AND 2 = b", "(a BETWEEN 1 AND 2) = b"),
        ("a BETWEEN b - 1 AND b + 1 AND c", "(a BETWEEN (b - 1) AND (b + 1)) AND c"),
        ("a LIKE 'x' = b", "(a LIKE 'x') = b"),
        ("a LIKE b || 'x' AND c", "(a LIKE (b || 'x')) AND c"),
        ("NOT a = b", "NOT (a = b)"),
        ("NOT a IS NULL", "NOT (a IS NULL)"),
        ("NOT a AND b", "(NOT a) AND b"),
        ("a = b IS TRUE", "(a = b) IS TRUE"),
        ("a OR b AND c", "a OR (b AND c)"),
        ("a IS DISTINCT FROM b AND c", "(a IS DISTINCT FROM b) AND c"),
        ("a - INTERVAL '1' DAY - INTERVAL '2' HOUR", "(a - (INTERVAL '1' DAY)) - (INTERVAL '2' HOUR)"),
        ("a < b + INTERVAL '1' DAY AND c", "(a < (b + (INTERVAL '1' DAY))) AND c"),
        ("a NOT IN (1) AND NOT b LIKE 'x'", "(a NOT IN (1)) AND (NOT (b LIKE 'x'))"),
    ] {
        assert_eq!(bare(text), bare(meaning), "{text}");
    }
}
