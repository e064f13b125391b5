//! Bad input, as a user would give it: a clear error, the right exit code, nothing lost, no panic.

use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::support::{fail, rows, succeed};

fn copy_job(input: &Path, out: &Path, columns: &str, options: &str) -> String {
    format!(
        "SET 'execution.checkpointing.interval' = '50ms';
         CREATE TABLE t ({columns}) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'csv'{options});
         CREATE TABLE s ({columns}) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'csv');
         INSERT INTO s SELECT * FROM t;",
        input.display(),
        out.display()
    )
}

#[test]
fn a_missing_file_is_named() {
    let directory = tempfile::tempdir().expect("temp dir");
    let job = copy_job(&directory.path().join("nowhere.csv"), &directory.path().join("out"), "a INT", "");
    assert!(fail(&job, &["--quiet"], 2).contains("nowhere.csv"));
}

#[test]
fn a_malformed_row_in_a_gz_stops_the_job_with_its_place_or_is_skipped_when_asked() {
    let directory = tempfile::tempdir().expect("temp dir");
    let input = directory.path().join("in.csv.gz");
    let mut gz = GzEncoder::new(std::fs::File::create(&input).expect("writable"), Compression::fast());
    for i in 0..20_000 {
        if i == 12_344 {
            writeln!(gz, "12344,not-a-number").expect("writable");
        } else {
            writeln!(gz, "{i},{}", i * 2).expect("writable");
        }
    }
    gz.finish().expect("writable");
    let out = directory.path().join("out");
    let stderr = fail(&copy_job(&input, &out, "a INT, b INT", ""), &["--quiet"], 1);
    for expected in ["in.csv.gz", "12345", "not-a-number", "`b`"] {
        assert!(stderr.contains(expected), "{expected} in {stderr}");
    }
    let out = directory.path().join("out2");
    succeed(&copy_job(&input, &out, "a INT, b INT", ", 'csv.ignore-parse-errors' = 'true'"), &["--quiet"]);
    let rows = rows(&out);
    assert!((19_999..=20_000).contains(&rows.len()), "{}", rows.len());
    assert!(!rows.iter().any(|row| row.contains("not-a-number")));
}

#[test]
fn wrong_statements_never_start_a_job() {
    let table = "CREATE TABLE t (a INT, b STRING) WITH ('connector' = 'datagen', 'number-of-rows' = '10');\n";
    for (sql, expected) in [
        ("CREATE TABLE x (a INTEGERR) WITH ('connector' = 'blackhole');", "INTEGERR"),
        ("SELECT c FROM t;", "c"),
        ("SELECT a FROM nowhere;", "nowhere"),
        (
            "SELECT * FROM t MATCH_RECOGNIZE (PARTITION BY a ORDER BY b MEASURES A.a AS x PATTERN (A) DEFINE A AS A.a > 1) AS m;",
            "MATCH_RECOGNIZE",
        ),
        ("SELECT SUM(a) OVER (ORDER BY b) FROM t;", "OVER"),
        (
            "CREATE TABLE x (a INT, d STRING) PARTITIONED BY (d) WITH ('connector' = 'blackhole');
             INSERT INTO x SELECT a, b FROM t;",
            "PARTITIONED BY",
        ),
        (
            "SET 'table.local-time-zone' = 'Europe/Berlin';
             CREATE TABLE x (ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'datagen');
             SELECT MAX(c) FROM (
               SELECT COUNT(*) AS c, window_start, window_end
               FROM TABLE(TUMBLE(TABLE x, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY window_start, window_end)
             GROUP BY window_start, window_end;",
            "TIMESTAMP_LTZ",
        ),
        ("SELEC 1;", "SELEC"),
        ("CREATE TABLE x (a INT) WITH ('connector' = 'nothing'); INSERT INTO x SELECT a FROM t;", "nothing"),
        ("SET 'execution.checkpointing.interval' = 'soon';", "soon"),
    ] {
        let stderr = fail(&format!("{table}{sql}"), &["--quiet"], 2);
        assert!(stderr.contains(expected), "{sql}: {stderr}");
    }
}

#[test]
fn a_truncated_checkpoint_is_refused_and_the_output_stays() {
    let directory = tempfile::tempdir().expect("temp dir");
    let input = directory.path().join("in.csv");
    let text: String = (0..1000).map(|i| format!("{i}\n")).collect();
    std::fs::write(&input, text).expect("writable");
    let (out, checkpoints) = (directory.path().join("out"), directory.path().join("checkpoints"));
    let job = copy_job(&input, &out, "a INT", "");
    let set = format!("execution.checkpointing.dir={}", checkpoints.display());
    succeed(&job, &["--quiet", "--set", &set]);
    assert_eq!(rows(&out).len(), 1000);
    let path = checkpoints.display().to_string();
    succeed(&job, &["--quiet", "--set", &set, "--from-checkpoint", &path]);
    assert_eq!(rows(&out).len(), 1000, "a finished job has nothing left to do");
    let lineage =
        std::fs::read_dir(&checkpoints).expect("a directory").next().expect("one run").expect("readable");
    let chk = std::fs::read_dir(lineage.path()).expect("a directory").flatten().map(|e| e.path());
    let chk = chk.filter(|p| p.is_dir()).max().expect("a checkpoint");
    let file = chk.join("_metadata");
    let bytes = std::fs::read(&file).expect("readable");
    std::fs::write(&file, &bytes[..bytes.len() / 2]).expect("writable");
    let stderr = fail(&job, &["--quiet", "--set", &set, "--from-checkpoint", &path], 1);
    assert!(stderr.contains("truncated") && stderr.contains("_metadata"), "{stderr}");
    assert_eq!(rows(&out).len(), 1000);
}
