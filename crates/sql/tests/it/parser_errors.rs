//! What people see when they mistype: the place, the line, a caret, and what to do.

use expect_test::{Expect, expect};
use streamkeeper_sql::parser::parse_script;

fn check(text: &str, expected: &Expect) {
    let error = parse_script(text).expect_err(text);
    expected.assert_eq(&error.render(text, Some("job.sql")));
}

#[test]
fn typos_are_pointed_at() {
    check(
        "SELEC 1",
        &expect![[r#"
        job.sql:1:1: expected a statement (SELECT, INSERT, CREATE, …), found SELEC
           |
         1 | SELEC 1
           | ^^^^^"#]],
    );
    check(
        "SELECT a,\n       FROM t",
        &expect![[r#"
            job.sql:2:8: expected an expression, found FROM
               |
             2 |        FROM t
               |        ^^^^"#]],
    );
    check(
        "SELECT a FRM t WHERE",
        &expect![[r#"
        job.sql:1:14: expected the end of the statement, found t
           |
         1 | SELECT a FRM t WHERE
           |              ^"#]],
    );
    check(
        "SELECT (a + 1 FROM t",
        &expect![[r#"
        job.sql:1:15: expected ), found FROM
           |
         1 | SELECT (a + 1 FROM t
           |               ^^^^"#]],
    );
    check(
        "SELECT a FROM t GROUP a",
        &expect![[r#"
        job.sql:1:17: expected the end of the statement, found GROUP
           |
         1 | SELECT a FROM t GROUP a
           |                 ^^^^^"#]],
    );
    check(
        "CREATE TABLE t (a BIGIN)",
        &expect![[r#"
        job.sql:1:19: unknown data type BIGIN; user-defined types are not supported yet
           |
         1 | CREATE TABLE t (a BIGIN)
           |                   ^^^^^"#]],
    );
    check(
        "CREATE TABLE t (a DECIMAL(40, 2))",
        &expect![[r#"
        job.sql:1:27: the precision 40 of DECIMAL is not between 1 and 38
           |
         1 | CREATE TABLE t (a DECIMAL(40, 2))
           |                           ^^"#]],
    );
    check(
        "CREATE TABLE t (\n\ta DECIMAL(10, 12)\n)",
        &expect![[r#"
        job.sql:2:16: the scale 12 of DECIMAL is greater than its precision 10; it is the number of digits after the point
           |
         2 |     a DECIMAL(10, 12)
           |                   ^^"#]],
    );
    check(
        "CREATE TABLE t (a TIMESTAMP(12))",
        &expect![[r#"
        job.sql:1:29: the precision 12 of TIMESTAMP is not between 0 and 9
           |
         1 | CREATE TABLE t (a TIMESTAMP(12))
           |                             ^^"#]],
    );
    check(
        "CREATE TABLE t (a TIMESTAMP(3) WITH TIME ZONE)",
        &expect![[r#"
        job.sql:1:32: Flink has no TIMESTAMP WITH TIME ZONE; use TIMESTAMP_LTZ for an instant
           |
         1 | CREATE TABLE t (a TIMESTAMP(3) WITH TIME ZONE)
           |                                ^^^^"#]],
    );
    check(
        "CREATE TABLE t (a INT) WITH (connector = 'print')",
        &expect![[r#"
            job.sql:1:30: expected a key in quotes, as in 'key' = 'value', found connector
               |
             1 | CREATE TABLE t (a INT) WITH (connector = 'print')
               |                              ^^^^^^^^^"#]],
    );
    check(
        "CREATE TABLE t (a INT, PRIMARY KEY a NOT ENFORCED)",
        &expect![[r#"
        job.sql:1:36: expected `(`, found a
           |
         1 | CREATE TABLE t (a INT, PRIMARY KEY a NOT ENFORCED)
           |                                    ^"#]],
    );
    check(
        "CREATE TABLE t (a INT, WATERMARK FOR a)",
        &expect![[r#"
        job.sql:1:39: expected AS, found )
           |
         1 | CREATE TABLE t (a INT, WATERMARK FOR a)
           |                                       ^"#]],
    );
    check(
        "SELECT 'abc",
        &expect![[r#"
        job.sql:1:8: this string has no closing quote (')
           |
         1 | SELECT 'abc
           |        ^"#]],
    );
    check(
        "SELECT `abc FROM t",
        &expect![[r#"
        job.sql:1:8: this name has no closing backquote (`)
           |
         1 | SELECT `abc FROM t
           |        ^"#]],
    );
    check(
        "SELECT 1 /* never closed",
        &expect![[r#"
        job.sql:1:25: this comment has no closing */
           |
         1 | SELECT 1 /* never closed
           |                         ^"#]],
    );
    check(
        "SELECT \"a\" FROM t",
        &expect![[r#"
        job.sql:1:8: Flink SQL has no "a"; text stands in 'single quotes' and names in `backquotes`
           |
         1 | SELECT "a" FROM t
           |        ^^^"#]],
    );
    check(
        "SELECT a::INT FROM t",
        &expect![[r#"
        job.sql:1:9: Flink SQL has no ::; use CAST(… AS …)
           |
         1 | SELECT a::INT FROM t
           |         ^^"#]],
    );
    check(
        "SELECT CAST(a AS DATETIME) FROM t",
        &expect![[r#"
        job.sql:1:18: unknown data type DATETIME; use TIMESTAMP(3)
           |
         1 | SELECT CAST(a AS DATETIME) FROM t
           |                  ^^^^^^^^"#]],
    );
    check(
        "SELECT CAST(a INT) FROM t",
        &expect![[r#"
        job.sql:1:15: expected AS, found INT
           |
         1 | SELECT CAST(a INT) FROM t
           |               ^^^"#]],
    );
    check(
        "INSERT sink SELECT 1",
        &expect![[r#"
        job.sql:1:8: expected INTO or OVERWRITE, found sink
           |
         1 | INSERT sink SELECT 1
           |        ^^^^"#]],
    );
    check(
        "EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT 1; SELECT 2; END;",
        &expect![[r#"
        job.sql:1:53: expected INSERT or END in the statement set, found SELECT
           |
         1 | EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT 1; SELECT 2; END;
           |                                                     ^^^^^^"#]],
    );
    check(
        "EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT 1;",
        &expect![[r#"
        job.sql:1:52: expected INSERT or END in the statement set, found the end of the statement
           |
         1 | EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT 1;
           |                                                    ^"#]],
    );
    check(
        "SET parallelism = 4",
        &expect![[r#"
            job.sql:1:5: expected a key in quotes, as in 'key' = 'value', found parallelism
               |
             1 | SET parallelism = 4
               |     ^^^^^^^^^^^"#]],
    );
    check(
        "SELECT 1;\nSELECT '日本' FROM t WHER a",
        &expect![[r#"
        job.sql:2:25: expected the end of the statement, found a
           |
         2 | SELECT '日本' FROM t WHER a
           |                           ^"#]],
    );
    check(
        "SELECT * FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1')",
        &expect![[r#"
        job.sql:1:65: INTERVAL requires a unit after the literal value
           |
         1 | SELECT * FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1')
           |                                                                 ^"#]],
    );
    check(
        "SELECT a FROM a.b.c.d.e;\nDROP TABLE a.b.c.d",
        &expect![[r#"
        job.sql:2:12: the name a.b.c.d has more than three parts: catalog.database.object
           |
         2 | DROP TABLE a.b.c.d
           |            ^"#]],
    );
    check(
        "SELECT a FROM (\n  SELECT b, FROM (SELECT 1) WHERE c\n) AS x",
        &expect![[r#"
            job.sql:2:13: expected an expression, found FROM
               |
             2 |   SELECT b, FROM (SELECT 1) WHERE c
               |             ^^^^"#]],
    );
    check(
        "SELECT a FROM (SELECT b FROM (SELECT c FROM d WHER e)) AS x",
        &expect![[r#"
        job.sql:1:52: expected `)`, found e
           |
         1 | SELECT a FROM (SELECT b FROM (SELECT c FROM d WHER e)) AS x
           |                                                    ^"#]],
    );
    check(
        "SELECT a FROM t WHERE a IN (SELECT b FROM u WHERE)",
        &expect![[r#"
        job.sql:1:50: expected an expression, found )
           |
         1 | SELECT a FROM t WHERE a IN (SELECT b FROM u WHERE)
           |                                                  ^"#]],
    );
    check(
        "SELECT 1 SELECT 2",
        &expect![[r#"
        job.sql:1:10: expected the end of the statement, found SELECT
           |
         1 | SELECT 1 SELECT 2
           |          ^^^^^^"#]],
    );
}

#[test]
fn clauses_of_other_databases_are_refused() {
    for text in [
        "SELECT TOP 5 a FROM t",
        "SELECT a FROM t LIMIT 5, 10",
        "SELECT a FROM t LIMIT 5 BY a",
        "SELECT DISTINCT ON (a) a FROM t",
        "SELECT a FROM t FOR UPDATE",
        "SELECT a INTO u FROM t",
        "SELECT a FROM t GROUP BY ALL",
        "SELECT a FROM t GROUP BY a WITH ROLLUP",
        "SELECT a FROM t ORDER BY a FETCH FIRST 5 ROWS WITH TIES",
        "SELECT * FROM t LEFT SEMI JOIN u ON t.a = u.a",
        "SELECT * FROM t CROSS APPLY u",
        "SELECT * FROM t PIVOT (SUM(a) FOR b IN ('x'))",
        "SELECT * FROM t TABLESAMPLE BERNOULLI (10)",
        "SELECT * FROM (SELECT a FROM t QUALIFY a = 1 LIMIT 5, 10)",
        "SELECT a ILIKE 'x' FROM t",
        "SELECT a | b FROM t",
        "SELECT a AT TIME ZONE 'UTC' FROM t",
        "SELECT f(1)(2) FROM t",
        "SELECT (SELECT b COLLATE x FROM u) FROM t",
        "SELECT a FROM t WHERE b IN UNNEST(c)",
        "INSERT INTO t SELECT a -> 1 FROM u",
        "CREATE VIEW v AS SELECT a FROM t CLUSTER BY a",
        "CREATE TABLE t (a INT, b AS a ILIKE 'x')",
    ] {
        let error = parse_script(text).expect_err(text);
        let is_named =
            error.message.starts_with("Flink SQL has no ") || error.message.starts_with("expected ");
        assert!(is_named, "{text}: {error}");
        assert!(error.location.is_some(), "{text}");
    }
}
