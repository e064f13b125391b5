//! Plans of temporal and lookup joins, as EXPLAIN shows them, and what is refused of them.

use streamkeeper_sql::config;
use streamkeeper_sql::parser::parse_script;
use streamkeeper_sql::session::{Session, StatementResult};

const DDL: &str = "
CREATE TABLE orders (
  id BIGINT, currency STRING, amount BIGINT, ts TIMESTAMP_LTZ(3), p AS PROCTIME(),
  WATERMARK FOR ts AS ts - INTERVAL '4' SECOND
) WITH ('connector' = 'filesystem', 'path' = 'orders', 'format' = 'csv');
CREATE TABLE local_orders (
  currency STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts
) WITH ('connector' = 'filesystem', 'path' = 'orders', 'format' = 'csv');
CREATE TABLE rates (
  currency STRING, rate BIGINT, active BOOLEAN, mtime TIMESTAMP_LTZ(3) METADATA VIRTUAL,
  PRIMARY KEY (currency) NOT ENFORCED, WATERMARK FOR mtime AS mtime
) WITH ('connector' = 'zookeeper', 'zookeeper.quorum' = 'zk:2181', 'path' = '/rates', 'mode' = 'children', 'format' = 'json');
CREATE TABLE node (
  v STRING, `path` STRING METADATA VIRTUAL
) WITH ('connector' = 'zookeeper', 'zookeeper.quorum' = 'zk:2181', 'path' = '/node', 'format' = 'raw');
CREATE TABLE history (
  currency STRING, rate BIGINT, since TIMESTAMP_LTZ(3), WATERMARK FOR since AS since
) WITH ('connector' = 'filesystem', 'path' = 'history', 'format' = 'csv');
CREATE TABLE pairs (
  a STRING, b INT, since TIMESTAMP_LTZ(3), PRIMARY KEY (a, b) NOT ENFORCED, WATERMARK FOR since AS since
) WITH ('connector' = 'filesystem', 'path' = 'pairs', 'format' = 'csv');
CREATE TABLE timeless (
  currency STRING, PRIMARY KEY (currency) NOT ENFORCED
) WITH ('connector' = 'filesystem', 'path' = 'pairs', 'format' = 'csv');
CREATE TABLE generated (
  k STRING, ms BIGINT, p AS PROCTIME(), ts AS TO_TIMESTAMP_LTZ(ms, 3), WATERMARK FOR ts AS ts
) WITH ('connector' = 'datagen', 'number-of-rows' = '1');
CREATE TABLE printed (a STRING, b BIGINT, c TIMESTAMP_LTZ(3)) WITH ('connector' = 'print');
CREATE VIEW doubled AS SELECT currency, rate * 2 AS twice, rate FROM rates WHERE active;
CREATE VIEW last_rates AS SELECT currency, rate, since FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY currency ORDER BY since DESC) AS rn FROM history WHERE rate > 0
) WHERE rn = 1;
";

fn session() -> Session {
    let mut session = Session::new(config::new());
    for statement in parse_script(DDL).expect("valid DDL") {
        session.execute(&statement.node).unwrap_or_else(|e| panic!("{}", e.render(DDL, None)));
    }
    session
}

/// What EXPLAIN says under a heading, or the error in its place.
fn explained(query: &str, heading: &str) -> String {
    let mut session = session();
    let text = format!("EXPLAIN {query}");
    let parsed = parse_script(&text).unwrap_or_else(|e| panic!("{}", e.render(&text, None)));
    match session.execute(&parsed[0].node) {
        Ok(StatementResult::Text(text)) => {
            let (_, rest) = text.split_once(heading).expect("the heading");
            rest.split_once("\n\n").map_or(rest, |(plan, _)| plan).trim().to_owned()
        }
        Ok(other) => panic!("{other:?}"),
        Err(error) => error.render(&text, None),
    }
}

fn check(query: &str, expected: expect_test::Expect) {
    expected.assert_eq(&explained(query, "== Optimized Execution Plan =="));
}

#[test]
fn a_versioned_table() {
    check(
        "SELECT id, amount * rate, p FROM orders AS o LEFT JOIN rates FOR SYSTEM_TIME AS OF o.ts AS r ON o.currency = \
         r.currency AND r.active WHERE amount > 3",
        expect_test::expect![[r#"
            Calc(select=[id, (amount * rate) AS EXPR$1, PROCTIME() AS p])
            +- TemporalJoin(joinType=[LeftOuterJoin], where=[AND((currency = currency), __TEMPORAL_JOIN_CONDITION(ts, mtime, __TEMPORAL_JOIN_CONDITION_PRIMARY_KEY(currency), __TEMPORAL_JOIN_LEFT_KEY(currency), __TEMPORAL_JOIN_RIGHT_KEY(currency)), active)], select=[id, currency, amount, ts, currency, rate, active, mtime])
               :- Exchange(distribution=[hash[currency]])
               :  +- Calc(select=[id, currency, amount, ts], where=[(amount > 3:BIGINT)])
               :     +- TableSourceScan(table=[[default_catalog, default_database, orders, watermark=[(ts - +0 00:00:04.000:INTERVAL SECOND(3))]]], fields=[id, currency, amount, ts])
               +- Exchange(distribution=[hash[currency]])
                  +- TableSourceScan(table=[[default_catalog, default_database, rates, watermark=[mtime]]], fields=[currency, rate, active, mtime])"#]],
    );
}

#[test]
fn a_view_of_the_last_rows_is_versioned() {
    check(
        "SELECT id, rate, since FROM orders JOIN last_rates FOR SYSTEM_TIME AS OF orders.ts ON orders.currency = \
         last_rates.currency WHERE rate < 10 AND id > 1",
        expect_test::expect![[r#"
            Calc(select=[id, rate, since], where=[(rate < 10:BIGINT)])
            +- TemporalJoin(joinType=[InnerJoin], where=[AND((currency = currency), __TEMPORAL_JOIN_CONDITION(ts, since, __TEMPORAL_JOIN_CONDITION_PRIMARY_KEY(currency), __TEMPORAL_JOIN_LEFT_KEY(currency), __TEMPORAL_JOIN_RIGHT_KEY(currency)))], select=[id, currency, ts, currency, rate, since])
               :- Exchange(distribution=[hash[currency]])
               :  +- Calc(select=[id, currency, ts], where=[(id > 1:BIGINT)])
               :     +- TableSourceScan(table=[[default_catalog, default_database, orders, watermark=[(ts - +0 00:00:04.000:INTERVAL SECOND(3))]]], fields=[id, currency, ts])
               +- Exchange(distribution=[hash[currency]])
                  +- Deduplicate(keep=[LastRow], key=[currency], order=[ROWTIME since])
                     +- Calc(select=[currency, rate, since], where=[(rate > 0:BIGINT)])
                        +- TableSourceScan(table=[[default_catalog, default_database, history, watermark=[since]]], fields=[currency, rate, since])"#]],
    );
}

#[test]
fn a_key_of_several_columns_in_any_order_and_a_computed_one() {
    check(
        "SELECT id FROM orders AS o JOIN pairs FOR SYSTEM_TIME AS OF o.ts AS r ON r.b = CAST(o.amount AS INT) AND \
         UPPER(o.currency) = r.a",
        expect_test::expect![[r#"
            Calc(select=[id])
            +- TemporalJoin(joinType=[InnerJoin], where=[AND((b = $f5), ($f6 = a), __TEMPORAL_JOIN_CONDITION(ts, since, __TEMPORAL_JOIN_CONDITION_PRIMARY_KEY(a, b), __TEMPORAL_JOIN_LEFT_KEY($f5, $f6), __TEMPORAL_JOIN_RIGHT_KEY(b, a)))], select=[id, ts, $f5, $f6, a, b, since])
               :- Exchange(distribution=[hash[$f5, $f6]])
               :  +- Calc(select=[id, ts, CAST(amount AS INT) AS $f5, UPPER(currency) AS $f6])
               :     +- TableSourceScan(table=[[default_catalog, default_database, orders, watermark=[(ts - +0 00:00:04.000:INTERVAL SECOND(3))]]], fields=[id, currency, amount, ts])
               +- Exchange(distribution=[hash[b, a]])
                  +- TableSourceScan(table=[[default_catalog, default_database, pairs, watermark=[since]]], fields=[a, b, since])"#]],
    );
}

#[test]
fn lookups_by_key_and_by_other_columns() {
    check(
        "SELECT o.id, r.rate, n.v FROM orders AS o JOIN rates FOR SYSTEM_TIME AS OF o.p AS r ON o.currency = r.currency AND \
         r.rate > o.amount AND r.active LEFT JOIN node FOR SYSTEM_TIME AS OF o.p AS n ON n.`path` = '/node'",
        expect_test::expect![[r#"
            LookupJoin(table=[default_catalog.default_database.node], joinType=[LeftOuterJoin], lookup=[], where=[(path = '/node')], select=[id, rate, v])
            +- Calc(select=[id, rate])
               +- LookupJoin(table=[default_catalog.default_database.rates], joinType=[InnerJoin], lookup=[currency=currency], where=[active], joinCondition=[(rate > amount)], select=[id, currency, amount, currency, rate])
                  +- TableSourceScan(table=[[default_catalog, default_database, orders, watermark=[(ts - +0 00:00:04.000:INTERVAL SECOND(3))]]], fields=[id, currency, amount])"#]],
    );
    check(
        "SELECT o.id, o.p, r.twice FROM (SELECT id, currency, PROCTIME() AS p FROM orders WHERE amount > 1) AS o LEFT JOIN \
         doubled FOR SYSTEM_TIME AS OF o.p AS r ON CONCAT('x', o.currency) = r.currency WHERE o.id > 3 AND r.twice < 8",
        expect_test::expect![[r#"
            Calc(select=[id, PROCTIME() AS p, twice], where=[(twice < 8:BIGINT)])
            +- LookupJoin(table=[default_catalog.default_database.rates], joinType=[LeftOuterJoin], lookup=[currency=$f3], where=[active], select=[id, $f3, currency, twice])
               +- Calc(select=[id, CONCAT('x', currency) AS $f3], where=[((amount > 1:BIGINT) AND (id > 3:BIGINT))])
                  +- TableSourceScan(table=[[default_catalog, default_database, orders, watermark=[(ts - +0 00:00:04.000:INTERVAL SECOND(3))]]], fields=[id, currency, amount])"#]],
    );
}

#[test]
fn refusals_name_what_is_missing_and_its_place() {
    let mut text = String::new();
    for query in [
        "SELECT * FROM orders AS o JOIN history FOR SYSTEM_TIME AS OF o.ts AS r ON o.currency = r.currency",
        "SELECT * FROM orders AS o JOIN timeless FOR SYSTEM_TIME AS OF o.ts AS r ON o.currency = r.currency",
        "SELECT * FROM local_orders AS o JOIN rates FOR SYSTEM_TIME AS OF o.ts AS r ON o.currency = r.currency",
        "SELECT * FROM orders AS o JOIN pairs FOR SYSTEM_TIME AS OF o.ts AS r ON o.currency = r.a",
        "SELECT * FROM orders AS o JOIN rates FOR SYSTEM_TIME AS OF o.ts AS r ON TRUE",
        "SELECT * FROM orders AS o RIGHT JOIN rates FOR SYSTEM_TIME AS OF o.ts AS r ON o.currency = r.currency",
        "SELECT * FROM orders AS o JOIN rates FOR SYSTEM_TIME AS OF PROCTIME() AS r ON o.currency = r.currency",
        "SELECT * FROM orders AS o JOIN rates FOR SYSTEM_TIME AS OF o.ts - INTERVAL '1' SECOND AS r ON o.currency = r.currency",
        "SELECT * FROM orders AS o JOIN rates FOR SYSTEM_TIME AS OF o.amount AS r ON o.currency = r.currency",
        "SELECT * FROM rates FOR SYSTEM_TIME AS OF TIMESTAMP '2024-01-01 00:00:00'",
        "SELECT * FROM orders AS o JOIN (SELECT * FROM rates WHERE active) FOR SYSTEM_TIME AS OF o.ts AS r ON TRUE",
        "WITH r AS (SELECT * FROM rates WHERE active) SELECT * FROM orders AS o JOIN r FOR SYSTEM_TIME AS OF o.ts ON \
         o.currency = r.currency",
        "SELECT * FROM orders AS o JOIN timeless FOR SYSTEM_TIME AS OF o.p AS r ON o.currency = r.currency",
        "SELECT * FROM orders AS o JOIN last_rates FOR SYSTEM_TIME AS OF o.p AS r ON o.currency = r.currency",
        "SELECT * FROM orders AS o JOIN rates FOR SYSTEM_TIME AS OF o.p AS r ON o.amount < r.rate",
        "SELECT COUNT(*) FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(p), INTERVAL '1' SECOND)) GROUP BY window_start, window_end",
        "SELECT * FROM orders AS a JOIN orders AS b ON a.id = b.id AND a.p BETWEEN b.p - INTERVAL '1' SECOND AND b.p",
    ] {
        let text_of = match parse_script(&format!("EXPLAIN {query}")) {
            Ok(_) => explained(query, "== Optimized Execution Plan =="),
            Err(error) => error.render(&format!("EXPLAIN {query}"), None),
        };
        text.push_str(&text_of);
        text.push_str("\n\n");
    }
    for query in [
        "SELECT * FROM last_rates",
        "SELECT * FROM (SELECT currency, COUNT(*) AS n, PROCTIME() AS p FROM history GROUP BY currency) AS o JOIN rates FOR \
         SYSTEM_TIME AS OF o.p AS r ON o.currency = r.currency",
    ] {
        match session().execute(&parse_script(query).expect("SQL")[0].node) {
            Ok(other) => panic!("{other:?}"),
            Err(error) => text.push_str(&error.render(query, None)),
        }
        text.push_str("\n\n");
    }
    expect_test::expect![[r#"
        1:40: Temporal Table Join requires primary key in versioned table, but no primary key can be found; declare PRIMARY KEY (…) NOT ENFORCED on it, or keep the last row of each key by ROW_NUMBER() OVER (PARTITION BY key ORDER BY rowtime DESC) = 1
           |
         1 | EXPLAIN SELECT * FROM orders AS o JOIN history FOR SYSTEM_TIME AS OF o.ts AS r ON o.currency = r.currency
           |                                        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^

        1:40: Event-Time Temporal Table Join requires both primary key and row time attribute in versioned table, but no row time attribute can be found; declare WATERMARK FOR the column that tells when a version began
           |
         1 | EXPLAIN SELECT * FROM orders AS o JOIN timeless FOR SYSTEM_TIME AS OF o.ts AS r ON o.currency = r.currency
           |                                        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^

        1:46: Event-Time Temporal Table Join requires same rowtime type in left table and versioned table, but the rowtime types are TIMESTAMP(3) and TIMESTAMP_LTZ(3)
           |
         1 | EXPLAIN SELECT * FROM local_orders AS o JOIN rates FOR SYSTEM_TIME AS OF o.ts AS r ON o.currency = r.currency
           |                                              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^

        1:81: Temporal table's primary key [a, b] must be included in the equivalence condition of temporal join, but current temporal join condition is [(currency = a)]; 'b' is missing
           |
         1 | EXPLAIN SELECT * FROM orders AS o JOIN pairs FOR SYSTEM_TIME AS OF o.ts AS r ON o.currency = r.a
           |                                                                                 ^^^^^^^^^^^^^^^^

        1:81: Currently the join key in Temporal Table Join can not be empty
           |
         1 | EXPLAIN SELECT * FROM orders AS o JOIN rates FOR SYSTEM_TIME AS OF o.ts AS r ON TRUE
           |                                                                                 ^^^^

        1:46: Temporal table join currently only support INNER JOIN and LEFT JOIN, but was RIGHT JOIN
           |
         1 | EXPLAIN SELECT * FROM orders AS o RIGHT JOIN rates FOR SYSTEM_TIME AS OF o.ts AS r ON o.currency = r.currency
           |                                              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^

        1:68: Temporal table join currently only supports 'FOR SYSTEM_TIME AS OF' left table's time attribute field, not an expression such as PROCTIME()
           |
         1 | EXPLAIN SELECT * FROM orders AS o JOIN rates FOR SYSTEM_TIME AS OF PROCTIME() AS r ON o.currency = r.currency
           |                                                                    ^^^^^^^^

        1:68: Temporal table join currently only supports 'FOR SYSTEM_TIME AS OF' left table's time attribute field, not an expression such as o.ts - INTERVAL '1' SECOND
           |
         1 | EXPLAIN SELECT * FROM orders AS o JOIN rates FOR SYSTEM_TIME AS OF o.ts - INTERVAL '1' SECOND AS r ON o.currency = r.currency
           |                                                                    ^^^^^^^^^^^^^^^^^^^

        1:68: Temporal table join currently only supports 'FOR SYSTEM_TIME AS OF' left table's time attribute field; o.amount is none: declare WATERMARK FOR it, or a column AS PROCTIME()
           |
         1 | EXPLAIN SELECT * FROM orders AS o JOIN rates FOR SYSTEM_TIME AS OF o.amount AS r ON o.currency = r.currency
           |                                                                    ^^^^^^^^

        1:23: Temporal table can only be used in temporal join and only supports 'FOR SYSTEM_TIME AS OF' left table's time attribute field: SELECT … FROM a JOIN b FOR SYSTEM_TIME AS OF a.time ON …
           |
         1 | EXPLAIN SELECT * FROM rates FOR SYSTEM_TIME AS OF TIMESTAMP '2024-01-01 00:00:00'
           |                       ^^^^^

        1:79: expected one of UPDATE or SHARE, found SYSTEM_TIME
           |
         1 | EXPLAIN SELECT * FROM orders AS o JOIN (SELECT * FROM rates WHERE active) FOR SYSTEM_TIME AS OF o.ts AS r ON TRUE
           |                                                                               ^^^^^^^^^^^

        1:85: Filter is not allowed for right changelog input of event time temporal join, it will corrupt the versioning of data. Please consider removing the filter before joining; a condition in ON or WHERE is one after it
           |
         1 | EXPLAIN WITH r AS (SELECT * FROM rates WHERE active) SELECT * FROM orders AS o JOIN r FOR SYSTEM_TIME AS OF o.ts ON o.currency = r.currency
           |                                                                                     ^

        1:40: A lookup join with connector 'filesystem' (table 'default_catalog.default_database.timeless'; tables of 'zookeeper' can be looked up in) is not supported yet
           |
         1 | EXPLAIN SELECT * FROM orders AS o JOIN timeless FOR SYSTEM_TIME AS OF o.p AS r ON o.currency = r.currency
           |                                        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^

        1:40: A processing-time temporal join with anything but a table, its columns and a selection of its rows is not supported yet
           |
         1 | EXPLAIN SELECT * FROM orders AS o JOIN last_rates FOR SYSTEM_TIME AS OF o.p AS r ON o.currency = r.currency
           |                                        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^

        1:80: Temporal table join requires an equality condition on fields of table [default_catalog.default_database.rates]
           |
         1 | EXPLAIN SELECT * FROM orders AS o JOIN rates FOR SYSTEM_TIME AS OF o.p AS r ON o.amount < r.rate
           |                                                                                ^^^^^^^^^^^^^^^^^

        1:68: A window over processing time (TUMBLE with DESCRIPTOR(p)) is not supported yet
           |
         1 | EXPLAIN SELECT COUNT(*) FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(p), INTERVAL '1' SECOND)) GROUP BY window_start, window_end
           |                                                                    ^

        1:55: A join within an interval of processing time is not supported yet
           |
         1 | EXPLAIN SELECT * FROM orders AS a JOIN orders AS b ON a.id = b.id AND a.p BETWEEN b.p - INTERVAL '1' SECOND AND b.p
           |                                                       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^

        1:1: Deduplication, ROW_NUMBER() OVER (PARTITION BY … ORDER BY rowtime DESC) = 1, but as the right side of a temporal join (FOR SYSTEM_TIME AS OF left.rowtime) is not supported yet
           |
         1 | SELECT * FROM last_rates
           | ^^^^^^^^^^^^^^^^^^^^^^^^

        1:1: LookupJoin(table=[default_catalog.default_database.rates], joinType=[InnerJoin], lookup=[currency=currency], select=[currency, n, currency, rate, active, mtime]) doesn't support consuming update changes which is produced by node GroupAggregate(groupBy=[currency], select=[currency, COUNT(*) AS EXPR$0])
           |
         1 | SELECT * FROM (SELECT currency, COUNT(*) AS n, PROCTIME() AS p FROM history GROUP BY currency) AS o JOIN rates FOR SYSTEM_TIME AS OF o.p AS r ON o.currency = r.currency
           | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^

    "#]].assert_eq(&text);
}

/// A checkpoint is restored by these: another uid for the same statement makes every checkpoint of it useless.
#[test]
fn known_uids() {
    let uids = |query: &str| {
        let text = format!("INSERT INTO printed {query}");
        match session().execute(&parse_script(&text).expect("SQL")[0].node) {
            Ok(StatementResult::Job(job)) => {
                let of_task = |v: &streamkeeper_dataflow::graph::Vertex| {
                    format!("{}: {}\n", v.name, v.operators.join(" "))
                };
                job.graph.vertices.iter().map(of_task).collect::<String>()
            }
            Ok(other) => panic!("{other:?}"),
            Err(error) => panic!("{}", error.render(&text, None)),
        }
    };
    expect_test::expect![[r#"
        generated[Source] -> Calc: f5299a8cb48d37db3d62b1efcea904b9 cf476abce0609d1b6ef65f8882d9bb07
        rates[Source]: 6aa2fc40eb9535b4a6115c18ce79d92e
        TemporalJoin -> Calc -> printed[Sink]: 8e5e3ebdd6238b0547e17c7e4dab0971 38050ced68a6867480a06138f4467e76 c30b0815252c9b43d022aa8c25c0c025
    "#]].assert_eq(&uids(
        "SELECT o.k, r.rate, o.p FROM generated AS o LEFT JOIN rates FOR SYSTEM_TIME AS OF o.ts AS r ON o.k = r.currency AND \
         r.active",
    ));
    expect_test::expect![[r#"
        generated[Source] -> Calc: f5299a8cb48d37db3d62b1efcea904b9 712272cd52f10f31fd10b7662b4d8eef
        LookupJoin -> Calc -> printed[Sink]: f648501a9b21f02713ef08abcf2be6eb 46b33d33dd9bc018beee58a203b0d8b7 0245d7ed9704b7690ba6e56e609a357f
    "#]].assert_eq(&uids(
        "SELECT o.k, r.rate, CAST(NULL AS TIMESTAMP_LTZ(3)) FROM generated AS o JOIN rates FOR SYSTEM_TIME AS OF o.p AS r ON o.k \
         = r.currency AND r.active",
    ));
}
