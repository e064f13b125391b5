//! Plans of queries, as EXPLAIN shows them, and the refusals.

use streamkeeper_sql::config;
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
    let mut session = Session::new(config::new());
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
        expect_test::expect![[r#"
            WindowAggregate(groupBy=[auction], window=[HOP(time_col=[dateTime], size=[10 s], slide=[2 s])], select=[auction, COUNT(*) AS EXPR$0, start('w$) AS window_start])
            +- Calc(select=[auction, dateTime], where=[(price > 10:BIGINT)])
               +- TableSourceScan(table=[[default_catalog, default_database, bid, watermark=[(dateTime - +0 00:00:04.000:INTERVAL SECOND(3))]]], fields=[auction, price, dateTime])"#]],
    );
}

#[test]
fn hop_aggregates_that_are_equal_are_one() {
    check(
        Q5,
        expect_test::expect![[r#"
            Calc(select=[auction, num, starttime, endtime])
            +- WindowJoin(leftWindow=[HOP(win_start=[starttime], win_end=[endtime], size=[10 s], slide=[2 s])], rightWindow=[HOP(win_start=[starttime], win_end=[endtime], size=[10 s], slide=[2 s])], joinType=[InnerJoin], where=[AND((starttime = starttime), (endtime = endtime), (num >= maxn))], select=[auction, num, starttime, endtime, maxn, starttime, endtime])
               :- WindowAggregate(groupBy=[auction], window=[HOP(time_col=[dateTime], size=[10 s], slide=[2 s])], select=[auction, COUNT(*) AS EXPR$0, start('w$) AS window_start, end('w$) AS window_end])
               :  +- TableSourceScan(table=[[default_catalog, default_database, bid, watermark=[(dateTime - +0 00:00:04.000:INTERVAL SECOND(3))]]], fields=[auction, dateTime])
               +- WindowAggregate(window=[HOP(win_start=[starttime], win_end=[endtime], size=[10 s], slide=[2 s])], select=[MAX(num) AS EXPR$0, start('w$) AS window_start, end('w$) AS window_end])
                  +- Calc(select=[window_start AS starttime, window_end AS endtime, EXPR$0 AS num])
                     +- WindowAggregate(groupBy=[auction], window=[HOP(time_col=[dateTime], size=[10 s], slide=[2 s])], select=[auction, COUNT(*) AS EXPR$0, start('w$) AS window_start, end('w$) AS window_end])
                        +- TableSourceScan(table=[[default_catalog, default_database, bid, watermark=[(dateTime - +0 00:00:04.000:INTERVAL SECOND(3))]]], fields=[auction, dateTime])"#]],
    );
}

const Q5: &str = "SELECT AuctionBids.auction, AuctionBids.num, AuctionBids.starttime, AuctionBids.endtime
FROM (
  SELECT auction, count(*) AS num, window_start AS starttime, window_end AS endtime
  FROM TABLE(HOP(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
  GROUP BY auction, window_start, window_end
) AS AuctionBids
JOIN (
  SELECT max(CountBids.num) AS maxn, CountBids.starttime, CountBids.endtime
  FROM (
    SELECT count(*) AS num, window_start AS starttime, window_end AS endtime
    FROM TABLE(HOP(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
    GROUP BY auction, window_start, window_end
  ) AS CountBids
  GROUP BY CountBids.starttime, CountBids.endtime
) AS MaxBids
ON AuctionBids.starttime = MaxBids.starttime AND AuctionBids.endtime = MaxBids.endtime
   AND AuctionBids.num >= MaxBids.maxn";

#[test]
fn window_join() {
    check(
        "SELECT B.auction, B.price FROM (SELECT * FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '10' \
         SECOND))) B JOIN (SELECT MAX(price) AS maxprice, window_start, window_end FROM TABLE(TUMBLE(TABLE bid, \
         DESCRIPTOR(`dateTime`), INTERVAL '10' SECOND)) GROUP BY window_start, window_end) B1 ON B.window_start = \
         B1.window_start AND B.window_end = B1.window_end AND B.price = B1.maxprice",
        expect_test::expect![[r#"
            Calc(select=[auction, price])
            +- WindowJoin(leftWindow=[TUMBLE(win_start=[window_start], win_end=[window_end], size=[10 s])], rightWindow=[TUMBLE(win_start=[window_start], win_end=[window_end], size=[10 s])], joinType=[InnerJoin], where=[AND((window_start = window_start), (window_end = window_end), (price = maxprice))], select=[auction, price, window_start, window_end, maxprice, window_start, window_end])
               :- Calc(select=[auction, price, window_start, window_end])
               :  +- WindowTableFunction(window=[TUMBLE(time_col=[dateTime], size=[10 s])])
               :     +- TableSourceScan(table=[[default_catalog, default_database, bid, watermark=[(dateTime - +0 00:00:04.000:INTERVAL SECOND(3))]]], fields=[auction, price, dateTime])
               +- WindowAggregate(window=[TUMBLE(time_col=[dateTime], size=[10 s])], select=[MAX(price) AS EXPR$0, start('w$) AS window_start, end('w$) AS window_end])
                  +- Calc(select=[dateTime, price])
                     +- TableSourceScan(table=[[default_catalog, default_database, bid, watermark=[(dateTime - +0 00:00:04.000:INTERVAL SECOND(3))]]], fields=[price, dateTime])"#]],
    );
}

#[test]
fn regular_join_with_filters_below() {
    check(
        "SELECT P.name, P.state, A.id FROM auction AS A INNER JOIN person AS P ON A.seller = P.id WHERE A.category = \
         10 AND (P.state = 'or' OR P.state = 'id' OR P.state = 'ca')",
        expect_test::expect![[r#"
            Calc(select=[name, state, id])
            +- Join(joinType=[InnerJoin], where=[(seller = id)], select=[id, seller, id, name, state])
               :- Calc(select=[id, seller], where=[(category = 10:BIGINT)])
               :  +- TableSourceScan(table=[[default_catalog, default_database, auction, watermark=[(dateTime - +0 00:00:04.000:INTERVAL SECOND(3))]]], fields=[id, seller, category])
               +- Calc(select=[id, name, state], where=[(((state = 'or') OR (state = 'id')) OR (state = 'ca'))])
                  +- TableSourceScan(table=[[default_catalog, default_database, person, watermark=[(dateTime - +0 00:00:04.000:INTERVAL SECOND(3))]]], fields=[id, name, state])"#]],
    );
}

#[test]
fn interval_join_with_bounds_from_where() {
    check(
        "SELECT a.id, p.name FROM auction a, person p WHERE a.seller = p.id AND a.`dateTime` BETWEEN p.`dateTime` - \
         INTERVAL '4' HOUR AND p.`dateTime` + INTERVAL '1' MINUTE - INTERVAL '1' SECOND",
        expect_test::expect![[r#"
            Calc(select=[id, name])
            +- IntervalJoin(joinType=[InnerJoin], windowBounds=[isRowTime=true, leftLowerBound=-14400000, leftUpperBound=59000, leftTimeIndex=1, rightTimeIndex=2], where=[AND((seller = id), (dateTime >= (dateTime - +0 04:00:00.000:INTERVAL SECOND(3))), (dateTime <= ((dateTime + +0 00:01:00.000:INTERVAL SECOND(3)) - +0 00:00:01.000:INTERVAL SECOND(3))))], select=[id, dateTime, seller, id, name, dateTime])
               :- TableSourceScan(table=[[default_catalog, default_database, auction, watermark=[(dateTime - +0 00:00:04.000:INTERVAL SECOND(3))]]], fields=[id, dateTime, seller])
               +- TableSourceScan(table=[[default_catalog, default_database, person, watermark=[(dateTime - +0 00:00:04.000:INTERVAL SECOND(3))]]], fields=[id, name, dateTime])"#]],
    );
}

#[test]
fn window_rank_through_projections() {
    check(
        "SELECT auction, window_start, rn FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY ws, we, bidder ORDER BY num \
         DESC) AS rn FROM (SELECT bidder, auction, COUNT(*) AS num, window_start AS ws, window_end AS we, window_start \
         FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '1' DAY)) GROUP BY bidder, auction, \
         window_start, window_end)) WHERE rn <= 3 AND 2 <= rn",
        expect_test::expect![[r#"
            Calc(select=[auction, window_start, rn])
            +- WindowRank(window=[TUMBLE(win_start=[ws], win_end=[we], size=[1 d])], rankType=[ROW_NUMBER], rankRange=[rankStart=2, rankEnd=3], partitionBy=[bidder], orderBy=[num DESC], select=[bidder, auction, num, ws, we, window_start, rn])
               +- Calc(select=[bidder, auction, EXPR$0 AS num, window_start AS ws, window_end AS we, window_start])
                  +- WindowAggregate(groupBy=[bidder, auction], window=[TUMBLE(time_col=[dateTime], size=[1 d])], select=[bidder, auction, COUNT(*) AS EXPR$0, start('w$) AS window_start, end('w$) AS window_end])
                     +- Calc(select=[bidder, auction, dateTime])
                        +- TableSourceScan(table=[[default_catalog, default_database, bid, watermark=[(dateTime - +0 00:00:04.000:INTERVAL SECOND(3))]]], fields=[auction, bidder, dateTime])"#]],
    );
}

#[test]
fn unbounded_group_by_and_unnest() {
    check(
        "SELECT word, COUNT(*) FROM words CROSS JOIN UNNEST(SPLIT(line, ' ')) AS T(word) GROUP BY word",
        expect_test::expect![[r#"
            GroupAggregate(groupBy=[word], select=[word, COUNT(*) AS EXPR$0])
            +- Calc(select=[word])
               +- Correlate(invocation=[UNNEST(SPLIT(line, ' '))], select=[line, word], joinType=[INNER])
                  +- TableSourceScan(table=[[default_catalog, default_database, words]], fields=[line])"#]],
    );
}

#[test]
fn grouping_and_having_are_found_by_meaning() {
    check(
        "SELECT b.auction + 1, SUM(price) / COUNT(price) AS x FROM bid b GROUP BY auction HAVING SUM(b.price) > 10 AND \
         bid.auction > 1",
        expect_test::expect![[r#"
            1:119: Table 'bid' not found
               |
             1 | EXPLAIN SELECT b.auction + 1, SUM(price) / COUNT(price) AS x FROM bid b GROUP BY auction HAVING SUM(b.price) > 10 AND bid.auction > 1
               |                                                                                                                       ^^^^^^^^^^^"#]],
    );
    check(
        "SELECT auction + 1, SUM(price) AS x FROM bid GROUP BY auction HAVING SUM(bid.price) > 10 AND bid.auction > 1",
        expect_test::expect![[r#"
            Calc(select=[(auction + 1:BIGINT) AS EXPR$0, EXPR$0 AS x], where=[(EXPR$0 > 10:BIGINT)])
            +- GroupAggregate(groupBy=[auction], select=[auction, SUM(price) AS EXPR$0])
               +- Calc(select=[auction, price], where=[(auction > 1:BIGINT)])
                  +- TableSourceScan(table=[[default_catalog, default_database, bid, watermark=[(dateTime - +0 00:00:04.000:INTERVAL SECOND(3))]]], fields=[auction, price])"#]],
    );
}

#[test]
fn refusals_name_the_construct_and_its_place() {
    let mut text = String::new();
    for query in [
        "SELECT nope FROM bid",
        "SELECT auctoin FROM bid",
        "SELECT x.auction FROM bid",
        "SELECT id FROM auction JOIN person ON auction.seller = person.id",
        "SELECT auction, COUNT(*) FROM bid",
        "SELECT auction FROM bid ORDER BY auction",
        "SELECT auction FROM bid LIMIT 3",
        "SELECT SUM(price) OVER (PARTITION BY auction ORDER BY `dateTime`) FROM bid",
        "SELECT * FROM bid WHERE auction IN (SELECT id FROM auction)",
        "SELECT auction FROM bid EXCEPT SELECT id FROM auction",
        "SELECT auction FROM bid GROUP BY CUBE (auction)",
        "SELECT TUMBLE_START(`dateTime`, INTERVAL '1' SECOND) FROM bid GROUP BY TUMBLE(`dateTime`, INTERVAL '1' SECOND)",
        "SELECT * FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(price), INTERVAL '1' SECOND))",
        "SELECT * FROM TABLE(HOP(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '3' SECOND, INTERVAL '10' SECOND))",
        "SELECT * FROM bid JOIN auction FOR SYSTEM_TIME AS OF bid.`dateTime` ON bid.auction = auction.id",
        "INSERT INTO files SELECT auction FROM bid",
        "INSERT INTO files SELECT auction, url FROM bid",
        "INSERT INTO files (nun) SELECT auction FROM bid",
    ] {
        text.push_str(&plan(query));
        text.push_str("\n\n");
    }
    for query in [
        "INSERT INTO files SELECT auction, COUNT(*) FROM bid GROUP BY auction",
        "SELECT * FROM auction JOIN person ON auction.seller = person.id",
        "SELECT *, ROW_NUMBER() OVER (PARTITION BY auction ORDER BY `dateTime`) AS rn FROM bid",
    ] {
        match run(query) {
            Ok(result) => text.push_str(&format!("{result:?}")),
            Err(error) => text.push_str(&error.render(query, None)),
        }
        text.push_str("\n\n");
    }
    expect_test::expect![[r#"
        1:16: Column 'nope' not found in any table
           |
         1 | EXPLAIN SELECT nope FROM bid
           |                ^^^^

        1:16: Column 'auctoin' not found in any table; did you mean 'auction'?
           |
         1 | EXPLAIN SELECT auctoin FROM bid
           |                ^^^^^^^

        1:16: Table 'x' not found
           |
         1 | EXPLAIN SELECT x.auction FROM bid
           |                ^^^^^^^^^

        1:16: Column 'id' is ambiguous; qualify it with a table's name
           |
         1 | EXPLAIN SELECT id FROM auction JOIN person ON auction.seller = person.id
           |                ^^

        1:16: Expression 'auction' is not being grouped
           |
         1 | EXPLAIN SELECT auction, COUNT(*) FROM bid
           |                ^^^^^^^

        1:42: ORDER BY on an unbounded stream is not supported yet
           |
         1 | EXPLAIN SELECT auction FROM bid ORDER BY auction
           |                                          ^^^^^^^

        1:39: LIMIT or OFFSET on a stream is not supported yet
           |
         1 | EXPLAIN SELECT auction FROM bid LIMIT 3
           |                                       ^

        1:16: The OVER aggregate SUM(…) OVER (…) is not supported yet
           |
         1 | EXPLAIN SELECT SUM(price) OVER (PARTITION BY auction ORDER BY `dateTime`) FROM bid
           |                ^^^

        1:33: IN with a subquery is not supported yet
           |
         1 | EXPLAIN SELECT * FROM bid WHERE auction IN (SELECT id FROM auction)
           |                                 ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^

        1:9: EXCEPT is not supported yet
           |
         1 | EXPLAIN SELECT auction FROM bid EXCEPT SELECT id FROM auction
           |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^

        1:48: CUBE is not supported yet
           |
         1 | EXPLAIN SELECT auction FROM bid GROUP BY CUBE (auction)
           |                                                ^^^^^^^

        1:80: The legacy group window GROUP BY TUMBLE(…) (use the TUMBLE table function) is not supported yet
           |
         1 | EXPLAIN SELECT TUMBLE_START(`dateTime`, INTERVAL '1' SECOND) FROM bid GROUP BY TUMBLE(`dateTime`, INTERVAL '1' SECOND)
           |                                                                                ^^^^^^

        1:58: The window function TUMBLE requires the timecol is a time attribute type, but is BIGINT; declare WATERMARK FOR `price` on its table
           |
         1 | EXPLAIN SELECT * FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(price), INTERVAL '1' SECOND))
           |                                                          ^^^^^

        1:29: HOP table function based aggregate requires size must be an integral multiple of slide, but got size 10000 ms and slide 3000 ms
           |
         1 | EXPLAIN SELECT * FROM TABLE(HOP(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '3' SECOND, INTERVAL '10' SECOND))
           |                             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^

        1:32: Temporal Table Join requires primary key in versioned table, but no primary key can be found; declare PRIMARY KEY (…) NOT ENFORCED on it, or keep the last row of each key by ROW_NUMBER() OVER (PARTITION BY key ORDER BY rowtime DESC) = 1
           |
         1 | EXPLAIN SELECT * FROM bid JOIN auction FOR SYSTEM_TIME AS OF bid.`dateTime` ON bid.auction = auction.id
           |                                ^^^^^^^

        1:21: Column types of query result and sink for 'default_catalog.default_database.files' do not match.
        Cause: Different number of columns.

        Query schema: [auction: BIGINT]
        Sink schema:  [auction: BIGINT, num: BIGINT]
           |
         1 | EXPLAIN INSERT INTO files SELECT auction FROM bid
           |                     ^^^^^

        1:21: Column types of query result and sink for 'default_catalog.default_database.files' do not match.
        Cause: Incompatible types for sink column 'num' at position 1.

        Query schema: [auction: BIGINT, url: STRING]
        Sink schema:  [auction: BIGINT, num: BIGINT]
           |
         1 | EXPLAIN INSERT INTO files SELECT auction, url FROM bid
           |                     ^^^^^

        1:28: Unknown target column 'nun' of table 'default_catalog.default_database.files'; did you mean 'num'?
           |
         1 | EXPLAIN INSERT INTO files (nun) SELECT auction FROM bid
           |                            ^^^

        1:13: Table sink 'default_catalog.default_database.files' doesn't support consuming update changes which is produced by node GroupAggregate(groupBy=[auction], select=[auction, COUNT(*) AS EXPR$0])
           |
         1 | INSERT INTO files SELECT auction, COUNT(*) FROM bid GROUP BY auction
           |             ^^^^^

        1:1: Rowtime attributes must not be in the input rows of a regular join. As a workaround you can cast the time attributes of input tables to TIMESTAMP before.
           |
         1 | SELECT * FROM auction JOIN person ON auction.seller = person.id
           | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^

        1:1: ROW_NUMBER() OVER (…) without both bounds of a window in PARTITION BY and an upper bound on its result (WHERE rn <= n) is not supported yet
           |
         1 | SELECT *, ROW_NUMBER() OVER (PARTITION BY auction ORDER BY `dateTime`) AS rn FROM bid
           | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^

    "#]].assert_eq(&text);
}

#[test]
fn the_execution_plan_shows_how_rows_are_distributed() {
    let execution = |query: &str| match run(&format!("EXPLAIN {query}")) {
        Ok(StatementResult::Text(text)) => {
            text.split_once("== Optimized Execution Plan ==\n").expect("the heading").1.to_owned()
        }
        other => panic!("{other:?}"),
    };
    expect_test::expect![[r#"
        GroupAggregate(groupBy=[name], select=[name, COUNT(*) AS EXPR$0])
        +- Exchange(distribution=[hash[name]])
           +- Calc(select=[name])
              +- Join(joinType=[InnerJoin], where=[(bidder = id)], select=[bidder, id, name])
                 :- Exchange(distribution=[hash[bidder]])
                 :  +- TableSourceScan(table=[[default_catalog, default_database, bid, watermark=[(dateTime - +0 00:00:04.000:INTERVAL SECOND(3))]]], fields=[bidder])
                 +- Exchange(distribution=[hash[id]])
                    +- TableSourceScan(table=[[default_catalog, default_database, person, watermark=[(dateTime - +0 00:00:04.000:INTERVAL SECOND(3))]]], fields=[id, name])"#]].assert_eq(&execution(
        "SELECT p.name, COUNT(*) FROM (SELECT bidder FROM bid) AS b JOIN (SELECT id, name FROM person) AS p \
         ON b.bidder = p.id GROUP BY p.name",
    ));
    expect_test::expect![[r#"
        GroupAggregate(select=[COUNT(*) AS EXPR$0])
        +- Exchange(distribution=[single])
           +- Calc(select=[])
              +- TableSourceScan(table=[[default_catalog, default_database, words]], fields=[line])"#]]
    .assert_eq(&execution("SELECT COUNT(*) FROM words"));
}

/// Uids of a job's operators, a line per task.
fn uids(statement: &str) -> String {
    const TABLES: &str = "
        CREATE TABLE generated (
          k BIGINT, price DECIMAL(10, 2), rate DOUBLE, name STRING, ts TIMESTAMP(3),
          WATERMARK FOR ts AS ts - INTERVAL '4' SECOND
        ) WITH ('connector' = 'datagen', 'number-of-rows' = '1');
        CREATE TABLE names (id BIGINT, name STRING) WITH ('connector' = 'datagen', 'number-of-rows' = '1');
        CREATE TABLE counts (k BIGINT, num BIGINT) WITH ('connector' = 'print');
        CREATE TABLE texts (a BIGINT, b STRING, c BIGINT) WITH ('connector' = 'print');";
    match run(&format!("{TABLES}{statement}")) {
        Ok(StatementResult::Job(job)) => {
            let of_task =
                |v: &streamkeeper_dataflow::graph::Vertex| format!("{}: {}\n", v.name, v.operators.join(" "));
            job.graph.vertices.iter().map(of_task).collect()
        }
        other => panic!("{other:?}"),
    }
}

/// A checkpoint is restored by these: another uid for the same statement makes every checkpoint of it useless.
#[test]
fn known_uids() {
    expect_test::expect![[r#"
        generated[Source] -> Calc -> WindowAggregate -> counts[Sink]: 15127921a44d45de667dfa84b6f92f16 00e9d8e56497339aea9437946df87c5a c465e207024d634f9245c21d2cf8a22e e40e69ad3b469a8be4618ac8dbc1fd3f
    "#]].assert_eq(&uids(
        "INSERT INTO counts SELECT k, COUNT(*) FROM TABLE(TUMBLE(TABLE generated, DESCRIPTOR(ts), INTERVAL '10' \
         SECOND)) WHERE price > 1.5 AND rate < 0.1 AND name LIKE 'a%' GROUP BY k, window_start, window_end",
    ));
    expect_test::expect![[r#"
        generated[Source] -> Calc: 5f9a2643e251b9b919bc3b0ad4041fd3 c91c26b61f39b4e12dc7f5a6a70c69a7
        names[Source]: 258b982bfe4701dcdd5cf4d22eb2f91b
        Join -> Calc -> GroupAggregate -> texts[Sink]: d0ae5f5305cbbfea6bacf692abc7c4b8 7c5079fc38f192b1700ea8bb1321fd85 e3e86b72fbff9d4be2e0b1f1a43862f1 f5de644a9925b3397aa387425c1bdff2
    "#]].assert_eq(&uids(
        "INSERT INTO texts SELECT g.k, n.name, COUNT(DISTINCT g.price) FROM (SELECT k, price FROM generated) AS g \
         LEFT JOIN names AS n ON g.k = n.id GROUP BY g.k, n.name",
    ));
}

#[test]
fn a_uid_depends_on_what_is_done_and_not_on_aliases() {
    let renamed = |name: &str| {
        uids(&format!("INSERT INTO counts SELECT {name} + 1, 1 FROM (SELECT k AS {name} FROM generated)"))
    };
    assert_eq!(renamed("a"), renamed("b"));
    let limit =
        |limit: &str| uids(&format!("INSERT INTO counts SELECT k, 1 FROM generated WHERE k > {limit}"));
    assert_ne!(limit("1"), limit("2"));
    let text =
        |text: &str| uids(&format!("INSERT INTO counts SELECT k, 1 FROM generated WHERE name IN ({text})"));
    assert_ne!(text("'a, b', 'c'"), text("'a', 'b, c'"));
}
