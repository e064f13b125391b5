//! Scripts from text to rows in files, through the runtime.

use std::sync::Arc;

use std::path::Path;
use std::time::Duration;

use streamkeeper_dataflow::checkpoint::coordinator::CoordinatorConfig;
use streamkeeper_dataflow::checkpoint::storage::CheckpointStorage;
use streamkeeper_dataflow::job::{JobConfig, JobStatus, new_lineage, start};
use streamkeeper_dataflow::restart::RestartStrategy;
use streamkeeper_sql::config;
use streamkeeper_sql::parser::parse_script;
use streamkeeper_sql::session::{PlannedJob, Session, StatementResult};

/// Runs a job to its end.
fn run_job(job: PlannedJob) {
    let lineage = new_lineage();
    let storage = CheckpointStorage::in_memory(&lineage).expect("storage");
    let config = JobConfig {
        name: job.name,
        lineage,
        config: Arc::default(),
        allow_non_restored_state: false,
        checkpointing: CoordinatorConfig {
            interval_ms: None,
            timeout_ms: 60_000,
            min_pause_ms: 0,
            tolerable_failures: 0,
        },
        num_retained: 1,
        restart: RestartStrategy::None,
        channel_capacity_bytes: 1 << 20,
        buffer_timeout: Duration::from_millis(10),
    };
    let handle = start(job.graph, config, storage, None).expect("the job starts");
    assert_eq!(handle.wait().expect("the job runs"), JobStatus::Finished);
}

/// Runs a script.
fn run(text: &str, parallelism: usize) {
    let mut config = config::new();
    config.set("parallelism.default", &parallelism.to_string()).expect("a number");
    let mut session = Session::new(config);
    for statement in parse_script(text).unwrap_or_else(|e| panic!("{}", e.render(text, None))) {
        match session.execute(&statement.node) {
            Ok(StatementResult::Job(job)) => run_job(*job),
            Ok(_) => {}
            Err(error) => panic!("{}", error.render(text, None)),
        }
    }
}

/// All lines of all files of a directory, sorted.
fn lines(directory: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        let hidden = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
        if path.is_file() && !hidden {
            lines.extend(std::fs::read_to_string(path).expect("text").lines().map(str::to_owned));
        }
    }
    lines.sort();
    lines
}

/// One query over a small file of bids, at both parallelisms.
fn bids(schema: &str, query: &str) -> String {
    let mut results = Vec::new();
    for parallelism in [1, 3] {
        let directory = tempfile::tempdir().expect("a directory");
        let input = directory.path().join("bid.csv");
        let rows = "1,10,5,2024-01-01 00:00:01\n1,11,7,2024-01-01 00:00:02\n2,10,3,2024-01-01 00:00:09\n\
                    2,12,9,2024-01-01 00:00:11\n1,12,1,2024-01-01 00:00:21\n,13,4,2024-01-01 00:00:22\n";
        std::fs::write(&input, rows).expect("written");
        let output = directory.path().join("out");
        let script = format!(
            "CREATE TABLE bid (auction BIGINT, bidder BIGINT, price BIGINT, ts TIMESTAMP(3), twice AS \
             price + price, WATERMARK FOR ts AS ts - INTERVAL '30' SECOND) WITH ('connector' = \
             'filesystem', 'path' = '{}', 'format' = 'csv', 'csv.null-literal' = '');\nCREATE TABLE sink ({schema}) \
             WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'csv');\nINSERT INTO sink {query};",
            input.display(),
            output.display()
        );
        run(&script, parallelism);
        results.push(lines(&output).join("\n"));
    }
    assert_eq!(results[0], results[1], "the parallelism changes the rows");
    results.swap_remove(0)
}

/// The answers are those of Flink 2.3.0 at parallelism 1.
#[test]
fn temporal_joins_of_files() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("written");
        format!(
            "WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'csv', 'csv.null-literal' = '')",
            path.display()
        )
    };
    let orders = file("orders.csv", "a,EUR,7,1\nb,EUR,19,1\nc,EUR,20,3\nd,YEN,20,1\ne,EUR,25,1\nf,,25,1\n");
    let history = file("history.csv", "EUR,10,1\nEUR,5,9\nEUR,20,2\nEUR,20,3\nYEN,1,7\n");
    let columns =
        "currency STRING, ms BIGINT, rate BIGINT, ts AS TO_TIMESTAMP_LTZ(ms, 3), WATERMARK FOR ts AS ts";
    let tables = format!(
        "CREATE TABLE orders (id STRING, {columns}) {orders};
         CREATE TABLE history ({columns} - INTERVAL '1' SECOND) {history};
         CREATE TABLE versions ({columns} - INTERVAL '1' SECOND, PRIMARY KEY (currency) NOT ENFORCED) {history};
         CREATE VIEW latest AS SELECT currency, rate, ts FROM (
           SELECT *, ROW_NUMBER() OVER (PARTITION BY currency ORDER BY ts DESC) AS rn FROM history) WHERE rn = 1;"
    );
    for (name, query, expected) in [
        (
            "latest",
            "LEFT JOIN latest FOR SYSTEM_TIME AS OF o.ts AS r ON o.currency = r.currency",
            "a, b,1 c,3 d,7 e,3 f,",
        ),
        (
            "versions",
            "LEFT JOIN versions FOR SYSTEM_TIME AS OF o.ts AS r ON o.currency = r.currency",
            "a,9 b,1 c,3 d,7 e,3 f,",
        ),
        (
            "values",
            "LEFT JOIN versions FOR SYSTEM_TIME AS OF o.ts AS r ON o.currency = r.currency AND o.rate = r.rate",
            "a, b,1 c,3 d, e,1 f,",
        ),
        (
            "condition",
            "LEFT JOIN versions FOR SYSTEM_TIME AS OF o.ts AS r ON o.currency = r.currency AND r.rate > 2",
            "a,9 b, c,3 d,7 e,3 f,",
        ),
        (
            "inner",
            "JOIN versions FOR SYSTEM_TIME AS OF o.ts AS r ON o.currency = r.currency WHERE o.rate = r.rate",
            "b,1 c,3",
        ),
    ] {
        for parallelism in [1, 3] {
            let output = directory.path().join(format!("{name}{parallelism}"));
            let script = format!(
                "{tables} CREATE TABLE sink (id STRING, rate BIGINT) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = \
                 'csv'); INSERT INTO sink SELECT o.id, r.rate FROM orders AS o {query};",
                output.display()
            );
            run(&script, parallelism);
            assert_eq!(lines(&output).join(" "), expected, "{name}, parallelism {parallelism}");
        }
    }
}

#[test]
fn windows_of_what_a_temporal_join_gives() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("written");
        format!("WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'csv')", path.display())
    };
    let orders =
        file("orders.csv", "EUR,7000,1\nEUR,19000,1\nEUR,20000,3\nYEN,20000,1\nEUR,25000,1\nXXX,25000,1\n");
    let versions = file("versions.csv", "EUR,10000,1\nEUR,5000,9\nEUR,20000,3\nYEN,1000,7\n");
    let columns =
        "currency STRING, ms BIGINT, rate BIGINT, ts AS TO_TIMESTAMP_LTZ(ms, 3), WATERMARK FOR ts AS ts";
    for parallelism in [1, 3] {
        let output = directory.path().join(format!("out{parallelism}"));
        let script = format!(
            "CREATE TABLE orders ({columns}) {orders};
             CREATE TABLE versions ({columns} - INTERVAL '30' SECOND, PRIMARY KEY (currency) NOT ENFORCED) {versions};
             CREATE TABLE sink (v BIGINT, n BIGINT) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'csv');
             CREATE VIEW priced AS SELECT o.ts, o.rate * v.rate AS price FROM orders AS o JOIN versions FOR SYSTEM_TIME AS OF o.ts \
             AS v ON o.currency = v.currency;
             INSERT INTO sink SELECT SUM(price), COUNT(*) FROM TABLE(TUMBLE(TABLE priced, DESCRIPTOR(ts), INTERVAL '10' SECOND)) \
             GROUP BY window_start, window_end;",
            output.display()
        );
        run(&script, parallelism);
        assert_eq!(lines(&output).join(" "), "1,1 19,3 9,1");
    }
}

#[test]
fn processing_time_is_the_time_at_which_a_row_is_projected() {
    let directory = tempfile::tempdir().expect("a directory");
    let input = directory.path().join("in.csv");
    std::fs::write(&input, "1\n2\n").expect("written");
    let output = directory.path().join("out");
    let since = chrono::Utc::now().timestamp_millis();
    let script = format!(
        "CREATE TABLE t (id BIGINT, p AS PROCTIME()) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'csv');
         CREATE VIEW v AS SELECT *, PROCTIME() AS q FROM t WHERE p >= TO_TIMESTAMP_LTZ({since}, 3);
         CREATE TABLE sink (id BIGINT, p TIMESTAMP_LTZ(3) NOT NULL, is_later BOOLEAN, n BIGINT) WITH ('connector' = \
         'filesystem', 'path' = '{}', 'format' = 'csv');
         INSERT INTO sink SELECT v.id, q, v.p >= TO_TIMESTAMP_LTZ({since}, 3), w.id FROM v JOIN t AS w ON v.id = w.id;",
        input.display(),
        output.display()
    );
    run(&script, 1);
    let rows = lines(&output);
    let [first, second] = rows.as_slice() else { panic!("{rows:?}") };
    assert!(first.starts_with("1,") && first.ends_with(",true,1"), "{first}");
    assert!(second.starts_with("2,") && second.ends_with(",true,2"), "{second}");
}

#[test]
fn projection_filter_and_computed_columns() {
    let rows =
        bids("a BIGINT, p BIGINT, d BIGINT", "SELECT auction, price * 3, twice FROM bid WHERE price >= 5");
    assert_eq!(rows, "1,15,10\n1,21,14\n2,27,18");
}

#[test]
fn tumbling_windows() {
    let rows = bids(
        "a BIGINT, n BIGINT, s TIMESTAMP(3)",
        "SELECT auction, COUNT(*), window_start FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '10' SECOND)) \
         WHERE auction IS NOT NULL GROUP BY auction, window_start, window_end",
    );
    let expected = "1,1,\"2024-01-01 00:00:20\"\n1,2,\"2024-01-01 00:00:00\"\n2,1,\"2024-01-01 00:00:00\"\n2,1,\"2024-01-01 \
                    00:00:10\"";
    assert_eq!(rows, expected);
}

#[test]
fn windows_without_keys_meet_in_one_place() {
    let rows = bids(
        "m BIGINT, e TIMESTAMP(3)",
        "SELECT MAX(n), window_end FROM (SELECT bidder, COUNT(*) AS n, window_start, window_end FROM TABLE(TUMBLE(TABLE \
         bid, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY bidder, window_start, window_end) GROUP BY window_start, \
         window_end",
    );
    assert_eq!(rows, "2,\"2024-01-01 00:01:00\"");
}

#[test]
fn window_rank_and_join_of_equal_windows() {
    let rows = bids(
        "a BIGINT, p BIGINT, rn BIGINT",
        "SELECT auction, price, rn FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end, auction \
         ORDER BY price DESC) AS rn FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '1' MINUTE))) WHERE rn <= 1",
    );
    assert_eq!(rows, ",4,1\n1,7,1\n2,9,1");
    let rows = bids(
        "a BIGINT, p BIGINT",
        "SELECT b.auction, b.price FROM (SELECT * FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '10' SECOND))) b \
         JOIN (SELECT MAX(price) AS top, window_start, window_end FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL \
         '10' SECOND)) GROUP BY window_start, window_end) m ON b.window_start = m.window_start AND b.window_end = \
         m.window_end AND b.price = m.top",
    );
    assert_eq!(rows, ",4\n1,7\n2,9");
}

#[test]
fn interval_join_and_union() {
    let rows = bids(
        "a BIGINT, b BIGINT",
        "SELECT l.price, r.price FROM bid l LEFT JOIN bid r ON l.auction = r.auction AND r.ts BETWEEN l.ts + INTERVAL \
         '1' SECOND AND l.ts + INTERVAL '2' SECOND UNION ALL SELECT 100, 200",
    );
    assert_eq!(rows, "1,\n100,200\n3,9\n4,\n5,7\n7,\n9,");
}

#[test]
fn values_and_columns_by_name() {
    assert_eq!(bids("a BIGINT, b STRING, c INT", "(b, a) VALUES ('x', 1), ('y', 2)"), "1,x,\n2,y,");
}

#[test]
fn select_distinct_and_regular_joins_of_inserts() {
    assert_eq!(bids("a BIGINT", "SELECT DISTINCT bidder FROM bid"), "10\n11\n12\n13");
    let rows = bids(
        "a BIGINT, b BIGINT",
        "SELECT l.bidder, r.price FROM bid l JOIN bid r ON l.auction = r.auction AND l.price < r.price",
    );
    assert_eq!(rows, "10,7\n10,9\n12,5\n12,7");
}

/// Flink's answers to the queries over the departures of January 2013.
#[test]
fn flights_are_as_flink_sees_them() {
    let cases = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/flights"));
    let input = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/flights/data");
    let ddl = std::fs::read_to_string(cases.join("ddl.sql")).expect("the DDL");
    for query in ["f1", "f2", "f3"] {
        let answer = std::fs::read_to_string(cases.join(format!("{query}.csv"))).expect("the answer");
        let mut expected: Vec<&str> = answer.lines().collect();
        expected.sort_unstable();
        for parallelism in [1, 2] {
            let output = tempfile::tempdir().expect("a directory");
            let sink = format!(
                "'connector' = 'filesystem', 'path' = '{}', 'format' = 'csv'",
                output.path().display()
            );
            let text = std::fs::read_to_string(cases.join(format!("{query}.sql"))).expect("the query");
            let script = format!("{ddl}\n{text}").replace("${IN}", input).replace("${SINK}", &sink);
            run(&script, parallelism);
            let rows = lines(output.path());
            assert_eq!(rows.len(), expected.len(), "{query} at parallelism {parallelism}");
            let wrong = rows.iter().zip(&expected).find(|(a, b)| a.as_str() != **b);
            assert_eq!(wrong, None, "{query} at parallelism {parallelism}");
        }
    }
}
