//! Every statement of the parser's cases through a session: its plan, its answer, or the refusal.

use std::fmt::Write as _;

use streamkeeper_sql::config;
use streamkeeper_sql::parser::parse_script;
use streamkeeper_sql::session::{Session, StatementResult};

/// Tables under the names that the statements use.
const DDL: &str = "
CREATE TABLE t (a BIGINT, b STRING, c INT, x BIGINT, s STRING, p DOUBLE, price BIGINT, ts TIMESTAMP(3),
  arr ARRAY<STRING>, m MAP<STRING, INT>, r ROW<f ROW<g INT>>, symbol STRING,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND) WITH ('connector' = 'datagen', 'number-of-rows' = '1');
CREATE TABLE bid (auction BIGINT, bidder BIGINT, price BIGINT, x BIGINT, `dateTime` TIMESTAMP(3), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts) WITH ('connector' = 'datagen', 'number-of-rows' = '1');
CREATE TABLE u (a BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '1');
CREATE TABLE v (a BIGINT, x BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '1');
CREATE TABLE c (k BIGINT, x BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '1');
CREATE TABLE o (id BIGINT, k BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'datagen');
CREATE TABLE s (id BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'datagen');
CREATE TABLE src (a BIGINT, b STRING) WITH ('connector' = 'datagen');
CREATE TABLE sink (a BIGINT, b STRING) WITH ('connector' = 'print');
";

#[test]
fn every_statement_has_a_plan_or_a_refusal() {
    let cases = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/statements/statements.sql");
    let text = std::fs::read_to_string(cases).expect("the parser's cases");
    let mut out = String::new();
    for block in text.split("\n\n") {
        let parsed = parse_script(block).unwrap_or_else(|e| panic!("{}", e.render(block, None)));
        let [statement] = parsed.as_slice() else { continue };
        let mut session = Session::new(config::new());
        let source = &block[statement.span.clone()];
        // A statement that declares `t` or `v` itself finds no other.
        let declares = source.starts_with("CREATE TABLE t (");
        for ddl in parse_script(DDL).expect("valid DDL").iter().filter(|_| !declares) {
            session.execute(&ddl.node).expect("valid DDL");
        }
        if source.starts_with("CREATE VIEW v") {
            let drop = parse_script("DROP TABLE v").expect("valid DDL");
            session.execute(&drop[0].node).expect("there is a v");
        }
        let _ = writeln!(out, "-- {}", source.replace('\n', "\n-- "));
        match session.execute(&statement.node) {
            Ok(StatementResult::Job(job)) => {
                let explain = format!("EXPLAIN {source}");
                let explained = parse_script(&explain)
                    .ok()
                    .and_then(|s| session.execute(&s.first()?.node).ok())
                    .map_or(String::new(), |plan| match plan {
                        StatementResult::Text(text) => optimized(&text),
                        other => format!("{other:?}"),
                    });
                let _ = writeln!(out, "{explained}{:?}", job);
            }
            Ok(StatementResult::Text(text)) => {
                let _ = writeln!(out, "{text}");
            }
            Ok(other) => {
                let _ = writeln!(out, "{other:?}");
            }
            Err(error) => {
                let _ = writeln!(out, "{:?}: {error}", error.kind);
            }
        }
        out.push('\n');
    }
    let snapshot = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/statements/plans.txt");
    expect_test::expect_file![snapshot].assert_eq(&out);
}

fn optimized(text: &str) -> String {
    let after = text.split("== Optimized Physical Plan ==\n").nth(1).unwrap_or_default();
    format!("{}\n", after.split("\n\n==").next().unwrap_or_default())
}
