//! Plans of queries, as EXPLAIN shows them, and the refusals.

use streamkeeper_sql::config::Config;
use streamkeeper_sql::error::SqlError;
use streamkeeper_sql::parser::parse_script;
use streamkeeper_sql::session::{Session, StatementResult};

const DDL: &str = "
CREATE TABLE bid (
  auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, `dateTime` TIMESTAMP(3), extra STRING,
  WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '4' SECOND
) WITH ('connector' = 'filesystem', 'path' = 'bid', 'format' = 'csv');
CREATE TABLE auction (
  id BIGINT, `dateTime` TIMESTAMP(3), seller BIGINT, category BIGINT,
  WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '4' SECOND
) WITH ('connector' = 'filesystem', 'path' = 'auction', 'format' = 'csv');
CREATE TABLE person (
  id BIGINT, name STRING, state STRING, `dateTime` TIMESTAMP(3),
  WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '4' SECOND
) WITH ('connector' = 'filesystem', 'path' = 'person', 'format' = 'csv');
CREATE TABLE words (line STRING) WITH ('connector' = 'filesystem', 'path' = 'words', 'format' = 'raw');
CREATE TABLE files (auction BIGINT, num BIGINT) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'csv');
";

fn session() -> Session {
    let mut session = Session::new(Config::default());
    for statement in parse_script(DDL).expect("valid DDL") {
        session.execute(&statement.node).expect("valid DDL");
    }
    session
}

fn run(text: &str) -> Result<StatementResult, SqlError> {
    let mut session = session();
    let mut last = StatementResult::Ok(String::new());
    for statement in parse_script(text)? {
        last = session.execute(&statement.node)?;
    }
    Ok(last)
}

/// The optimized plan.
fn plan(query: &str) -> String {
    match run(&format!("EXPLAIN {query}")) {
        Ok(StatementResult::Text(text)) => {
            let (_, rest) = text.split_once("== Optimized Physical Plan ==\n").expect("the heading");
            rest.split_once("\n\n== Optimized").expect("the next heading").0.to_owned()
        }
        Ok(other) => panic!("{other:?}"),
        Err(error) => error.render(&format!("EXPLAIN {query}"), None),
    }
}

fn check(query: &str, expected: expect_test::Expect) {
    expected.assert_eq(&plan(query));
}

#[test]
fn window_aggregation_takes_over_its_window_function() {
    check(
        "SELECT auction, count(*) AS num, window_start FROM TABLE(HOP(TABLE bid, DESCRIPTOR(`dateTime`), \
         INTERVAL '2' SECOND, INTERVAL '10' SECOND)) WHERE price > 10 GROUP BY auction, window_start, window_end",
        expect_test::expect![""],
    );
}
