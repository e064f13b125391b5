//! Flink's own answers: each query at parallelism 1 and 2, row for row.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use crate::support::{assert_rows, data, lines, root, rows, succeed};

fn script(suite: &str, query: &str, input: &Path, sink: &str) -> String {
    let queries = data(&format!("{suite}/queries"));
    let read = |name: &str| lines(&queries.join(format!("{name}.sql"))).join("\n");
    let text = format!("{}\n{}", read("ddl"), read(query));
    let placeholders = [
        ("${IN}", input.display().to_string()),
        ("${FMT}", "csv".into()),
        ("${SINK}", sink.into()),
        ("${MODE}", "streaming".into()),
        ("${CKPT}", "200ms".into()),
        ("${P}", "1".into()),
        ("${NAME}", query.into()),
    ];
    placeholders.iter().fold(text, |text, (from, to)| text.replace(from, to))
}

fn with_parallelism(sql: &str, parallelism: usize) -> String {
    sql.replace("'parallelism.default' = '1'", &format!("'parallelism.default' = '{parallelism}'"))
}

fn check_files(suite: &str, query: &str, input: &Path) {
    let answer = |extension: &str| data(&format!("{suite}/answers/{query}.{extension}"));
    for parallelism in [1, 2] {
        let out = tempfile::tempdir().expect("temp dir");
        let sink = format!(
            "'connector' = 'filesystem', 'path' = 'file://{}', 'format' = 'csv'",
            out.path().display()
        );
        succeed(&with_parallelism(&script(suite, query, input, &sink), parallelism), &["--quiet"]);
        let (name, rows) = (format!("{suite} {query} at {parallelism}"), rows(out.path()));
        if answer("xxh3").exists() {
            // Too large to keep: number of rows and XXH3-128 of the sorted rows.
            let digest = xxhash_rust::xxh3::xxh3_128(rows.join("\n").as_bytes());
            assert_eq!(format!("{} {digest:032x}", rows.len()), lines(&answer("xxh3"))[0], "{name}");
        } else {
            let gz = answer("csv.gz");
            assert_rows(&name, &rows, &lines(&if gz.exists() { gz } else { answer("csv") }));
        }
    }
}

fn nexmark(query: &str) {
    check_files("nexmark", query, &data("nexmark"));
}

fn flights(query: &str) {
    check_files("flights", query, &root().join("examples/flights/data"));
}

#[test]
fn nexmark_q0() {
    nexmark("q0");
}

#[test]
fn nexmark_q1() {
    nexmark("q1");
}

#[test]
fn nexmark_q2() {
    nexmark("q2");
}

#[test]
fn nexmark_q5() {
    nexmark("q5");
}

#[test]
fn nexmark_q7_as_window_join() {
    nexmark("q7w");
}

#[test]
fn nexmark_q8() {
    nexmark("q8");
}

#[test]
fn nexmark_q12() {
    nexmark("q12");
}

#[test]
fn nexmark_cumulate() {
    nexmark("cumul");
}

#[test]
fn flights_hourly() {
    flights("f1");
}

#[test]
fn flights_top_carriers() {
    flights("f2");
}

#[test]
fn flights_alerts_with_weather() {
    flights("f3");
}

/// Changes per key, in order, without the print sink's subtask.
fn changes(printed: &str) -> HashMap<String, Vec<String>> {
    let mut by_key: HashMap<String, Vec<String>> = HashMap::new();
    for line in printed.lines() {
        let change = line.split_once("> ").map_or(line, |(_, change)| change);
        let (_, fields) = change.split_once('[').expect("a change");
        let key = fields.split([',', ']']).next().expect("a key");
        by_key.entry(key.to_owned()).or_default().push(change.to_owned());
    }
    by_key
}

/// What is left when all changes are applied, as CSV.
fn final_state(printed: &str) -> Vec<String> {
    let mut rows: BTreeMap<String, i64> = BTreeMap::new();
    for change in changes(printed).into_values().flatten() {
        let (kind, fields) = change.split_once('[').expect("a change");
        let row = fields.trim_end_matches(']').replace(", ", ",");
        *rows.entry(row).or_default() += if kind.starts_with('+') { 1 } else { -1 };
    }
    let left = rows.into_iter().filter(|(_, count)| *count != 0);
    left.flat_map(|(row, count)| std::iter::repeat_n(row, usize::try_from(count).expect("never negative")))
        .collect()
}

fn check_changelog(query: &str, exact: bool) {
    let answers = data("nexmark/answers");
    let expected = lines(&answers.join(format!("{query}.csv.gz")));
    for parallelism in [1, 2] {
        let sql = with_parallelism(
            &script("nexmark", query, &data("nexmark"), "'connector' = 'print'"),
            parallelism,
        );
        let printed = succeed(&sql, &["--quiet"]);
        let unquoted: Vec<String> = expected.iter().map(|row| row.replace('"', "")).collect();
        let mut unquoted = unquoted;
        unquoted.sort_unstable();
        assert_rows(&format!("{query} at {parallelism}"), &final_state(&printed), &unquoted);
        if exact {
            let flink = lines(&answers.join(format!("{query}.changelog.gz"))).join("\n");
            let (ours, flink) = (changes(&printed), changes(&flink));
            assert_eq!(ours.len(), flink.len(), "{query}: number of keys");
            for (key, changes) in flink {
                assert_eq!(ours.get(&key), Some(&changes), "{query}: changes of {key}");
            }
        }
    }
}

#[test]
fn nexmark_q3_changelog() {
    check_changelog("q3", false);
}

#[test]
fn nexmark_count_per_bidder_changelog() {
    check_changelog("agg", true);
}

#[test]
fn nexmark_word_count_changelog() {
    check_changelog("wordcount", false);
}
