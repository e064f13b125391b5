//! Hostile statements: an error in time, never an overflow of the stack. Tests run on threads of 2 MiB.

use std::time::{Duration, Instant};

use streamkeeper_sql::parser::parse_script;

fn refused(what: &str, text: &str) {
    let start = Instant::now();
    let error = parse_script(text).err().unwrap_or_else(|| panic!("{what} is accepted"));
    let _ = error.render(text, None);
    assert!(start.elapsed() < Duration::from_secs(5), "{what} took {:?}", start.elapsed());
}

/// Parses, prints, parses again, compares and drops.
fn accepted(what: &str, text: &str) {
    let first = parse_script(text).unwrap_or_else(|e| panic!("{what}: {e}"));
    let second = parse_script(&first[0].node.to_string()).unwrap_or_else(|e| panic!("{what}, printed: {e}"));
    assert!(first[0].node == second[0].node, "{what} changes");
}

fn nest(open: &str, inner: &str, close: &str, levels: usize) -> String {
    format!("{}{inner}{}", open.repeat(levels), close.repeat(levels))
}

#[test]
fn deep_nesting_is_an_error() {
    for levels in [100, 10_000] {
        for (open, inner, close) in [
            ("(", "1", ")"),
            ("(", "", ""),
            ("(SELECT ", "1", ")"),
            ("NOT ", "a", ""),
            ("- ", "a", ""),
            ("CAST(", "a", " AS INT)"),
            ("CASE WHEN ", "a", " THEN 1 END"),
            ("CASE (", "a", ""),
            ("f(", "a", ")"),
            ("JSON_VALUE(", "a", ", '$')"),
            ("ARRAY[", "a", "]"),
            ("MAP['k', ", "a", "]"),
            ("INTERVAL ", "'1' DAY", ""),
            ("EXISTS (SELECT ", "1", ")"),
            ("a IN (SELECT ", "1", ")"),
            ("EXTRACT(DAY FROM ", "a", ")"),
            ("TRIM(", "a", ")"),
            ("SUBSTRING(", "a", " FROM 1)"),
            ("POSITION(", "a", " IN b)"),
            ("FLOOR(", "a", " TO DAY)"),
            ("CAST(CASE (", "a", ""),
            ("{", "a", "}"),
            ("IF(a, ROW(", "a", "), b)"),
        ] {
            refused(&format!("{levels} x {open}"), &format!("SELECT {}", nest(open, inner, close, levels)));
        }
        for (open, inner, close) in [
            ("(", "t", ")"),
            ("(SELECT * FROM ", "t", ")"),
            ("TABLE(f(TABLE ", "t", "))"),
            ("(t JOIN ", "u", " ON TRUE)"),
        ] {
            refused(
                &format!("{levels} x FROM {open}"),
                &format!("SELECT * FROM {}", nest(open, inner, close, levels)),
            );
        }
    }
}

#[test]
fn long_chains_are_an_error() {
    for link in [
        " + 1",
        " OR a",
        " AND a",
        " || a",
        " IS NULL",
        "[1]",
        " = a",
        " BETWEEN 1 AND 2",
        " IN (1)",
        " UNION ALL SELECT 1",
        " LIKE 'x'",
        "(1)",
    ] {
        refused(link, &format!("SELECT a{}", link.repeat(20_000)));
    }
}

#[test]
fn deep_types_are_an_error() {
    for levels in [40, 10_000] {
        for (open, inner, close) in
            [("ARRAY<", "INT", ">"), ("ROW<a ", "INT", ">"), ("MAP<INT, ", "INT", ">"), ("", "INT", " ARRAY")]
        {
            let data_type = nest(open, inner, close, levels);
            refused(open, &format!("CREATE TABLE t (a {data_type})"));
            refused(open, &format!("SELECT CAST(a AS {data_type})"));
        }
    }
}

#[test]
fn what_people_write_is_accepted() {
    accepted("400 ORs", &format!("SELECT a{} FROM t", " OR a = 1 AND b = 2".repeat(400)));
    accepted("400 additions", &format!("SELECT a{} FROM t", " + 1".repeat(400)));
    accepted("20 brackets", &format!("SELECT {}", nest("(", "1", ")", 20)));
    accepted("15 CASEs", &format!("SELECT {}", nest("CASE WHEN a THEN 1 ELSE ", "1", " END", 15)));
    accepted("15 subqueries", &format!("SELECT * FROM {}", nest("(SELECT * FROM ", "t", ")", 15)));
    accepted("30 calls", &format!("SELECT {}", nest("f(", "a", ")", 30)));
    accepted("100 UNIONs", &format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(100)));
    accepted("20,000 values", &format!("SELECT a IN (1{})", ", -1".repeat(20_000)));
    accepted("5,000 rows", &format!("INSERT INTO t VALUES (1, -1){}", ", (1, 2 + 3)".repeat(5_000)));
    let columns: Vec<String> = (0..2000).map(|i| format!("c{i} AS a + {i} * 2")).collect();
    accepted("2,000 columns", &format!("CREATE TABLE t (a INT, {})", columns.join(", ")));
    accepted("20 arrays", &format!("CREATE TABLE t (a {})", nest("ARRAY<", "INT", ">", 20)));
}
