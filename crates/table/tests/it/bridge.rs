//! What SQL makes of a typed stream, and what a typed stream gets from SQL.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDateTime, Utc};
use serde::{Deserialize, Serialize};
use streamkeeper_connectors::record::{Changelog, Decimal, Row, RowKind};
use streamkeeper_dataflow::graph::JobGraph;
use streamkeeper_derive::Record;
use streamkeeper_table::bridge::add_query;

use crate::support::Job;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Record)]
struct Bid {
    auction: i64,
    price: Decimal<10, 2>,
    bidder: Option<String>,
    #[record(rowtime)]
    at: DateTime<Utc>,
}

fn at(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).unwrap()
}

fn bid(auction: i64, price: &str, ms: i64) -> (Bid, i64) {
    (Bid { auction, price: price.parse().unwrap(), bidder: None, at: at(ms) }, ms)
}

fn bids() -> Vec<(Bid, i64)> {
    vec![bid(1, "1.50", 100), bid(2, "2", 900), bid(1, "3.25", 1_000), bid(2, "9", 1_500), bid(1, "1", 2_700)]
}

#[derive(Debug, Clone, PartialEq, PartialOrd, Serialize, Deserialize, Record)]
struct Sales {
    total: Decimal<38, 2>,
    auction: i64,
    window_end: NaiveDateTime,
}

const WINDOWS: &str = "SELECT auction, window_end, SUM(price) AS total \
                       FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(at), INTERVAL '1' SECOND)) \
                       GROUP BY auction, window_start, window_end";

#[test]
fn windows_of_a_typed_stream_come_back_as_records() {
    for parallelism in [1, 3] {
        let mut job = Job::new(parallelism);
        let stream = job.source("bids", bids(), 2);
        job.register("bids", &stream, None).unwrap();
        let query = job.query(WINDOWS).unwrap();
        let sales = add_query::<Sales>(&job.session, &mut job.graph, &query).unwrap();
        let mut rows: Vec<Sales> = job.collect(&sales).into_iter().map(|(row, _)| row).collect();
        rows.sort_by_key(|row| (row.window_end, row.auction));
        let row = |total: &str, auction, end| Sales {
            total: total.parse().unwrap(),
            auction,
            window_end: at(end).naive_utc(),
        };
        let expected = [
            row("1.50", 1, 1_000),
            row("2", 2, 1_000),
            row("3.25", 1, 2_000),
            row("9", 2, 2_000),
            row("1", 1, 3_000),
        ];
        assert_eq!(rows, expected, "parallelism {parallelism}");
    }
}

#[test]
fn watermarks_pass_through_so_that_late_rows_are_late() {
    let mut job = Job::new(1);
    let mut late = bids();
    late.push(bid(1, "100", 999));
    let stream = job.source("bids", late, 1);
    job.register("bids", &stream, None).unwrap();
    let query = job.query(WINDOWS).unwrap();
    let sales = add_query::<Sales>(&job.session, &mut job.graph, &query).unwrap();
    let rows = job.collect(&sales);
    assert_eq!(rows.len(), 5);
    assert!(rows.iter().all(|(row, _)| row.total < "100".parse().unwrap()), "{rows:?}");
}

#[test]
fn the_time_attribute_is_the_event_time_on_either_side() {
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Record)]
    struct Click {
        page: String,
    }
    let clicks =
        ["a", "b", "a"].iter().zip([5, 10, 20]).map(|(page, time)| (Click { page: (*page).into() }, time));
    let mut job = Job::new(1);
    let stream = job.source("clicks", clicks.collect(), 2);
    job.register("clicks", &stream, Some("ts")).unwrap();
    let query = job.query("SELECT page, ts FROM clicks WHERE page = 'a'").unwrap();
    let rows = add_query::<Row>(&job.session, &mut job.graph, &query).unwrap();
    let rows: Vec<_> = job.collect(&rows).into_iter().map(|(row, time)| (row.to_string(), time)).collect();
    assert_eq!(
        rows,
        [("[a, 1970-01-01T00:00:00.005Z]".to_owned(), 5), ("[a, 1970-01-01T00:00:00.020Z]".to_owned(), 20)]
    );
}

#[test]
fn rows_without_a_time_attribute_have_no_event_time() {
    let mut job = Job::new(1);
    let stream = job.source("bids", bids(), 2);
    job.register("bids", &stream, None).unwrap();
    let query = job.query("SELECT auction FROM bids WHERE auction = 2").unwrap();
    let rows = add_query::<Row>(&job.session, &mut job.graph, &query).unwrap();
    let times: Vec<_> = job.collect(&rows).into_iter().map(|(_, time)| time).collect();
    assert_eq!(times, [i64::MIN, i64::MIN]);
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Record)]
struct Count {
    auction: i64,
    n: i64,
}

fn changes(auction: i64, kinds: &[(RowKind, i64)]) -> Vec<Changelog<Count>> {
    kinds.iter().map(|(kind, n)| Changelog::new(*kind, Count { auction, n: *n })).collect()
}

#[test]
fn an_updating_query_is_a_stream_of_changes() {
    use RowKind::{Insert, UpdateAfter, UpdateBefore};
    let mut job = Job::new(2);
    let stream = job.source("bids", bids(), 1);
    job.register("bids", &stream, None).unwrap();
    let query = job.query("SELECT auction, COUNT(*) AS n FROM bids GROUP BY auction").unwrap();
    assert!(query.is_changelog());
    let counts = add_query::<Changelog<Count>>(&job.session, &mut job.graph, &query).unwrap();
    let all: Vec<Changelog<Count>> = job.collect(&counts).into_iter().map(|(change, _)| change).collect();
    let of = |auction| all.iter().filter(|c| c.value.auction == auction).cloned().collect::<Vec<_>>();
    let expected = [(Insert, 1), (UpdateBefore, 1), (UpdateAfter, 2), (UpdateBefore, 2), (UpdateAfter, 3)];
    assert_eq!(of(1), changes(1, &expected));
    assert_eq!(of(2), changes(2, &expected[..3]));
}

#[test]
fn a_registered_changelog_is_taken_back_as_it_says() {
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Record)]
    struct Account {
        #[record(key)]
        id: i64,
        city: String,
        balance: i64,
    }
    let account = |id, city: &str, balance| Account { id, city: city.into(), balance };
    let log = [
        Changelog::insert(account(1, "Bern", 10)),
        Changelog::insert(account(2, "Bern", 5)),
        Changelog::update_before(account(1, "Bern", 10)),
        Changelog::update_after(account(1, "Genf", 30)),
        Changelog::delete(account(2, "Bern", 5)),
        Changelog::insert(account(3, "Genf", 1)),
    ];
    for parallelism in [1, 2] {
        let mut job = Job::new(parallelism);
        let stream = job.source("log", log.iter().cloned().zip(0..).collect(), 2);
        job.register("accounts", &stream, None).unwrap();
        // Two of three columns: the row kind stays behind them.
        let query = job.query("SELECT city, SUM(balance) AS total FROM accounts GROUP BY city").unwrap();
        let totals = add_query::<Changelog<Row>>(&job.session, &mut job.graph, &query).unwrap();
        let mut table: BTreeMap<String, i64> = BTreeMap::new();
        for (change, _) in job.collect(&totals) {
            let (city, total) = (change.value.get("city").unwrap(), change.value.get("total").unwrap());
            match change.kind {
                RowKind::Insert | RowKind::UpdateAfter => drop(table.insert(city, total)),
                RowKind::UpdateBefore => assert_eq!(table.get(&city), Some(&total)),
                RowKind::Delete => assert_eq!(table.remove(&city), Some(total)),
            }
        }
        assert_eq!(table, BTreeMap::from([("Genf".to_owned(), 31)]), "parallelism {parallelism}");
    }
}

#[test]
fn one_stream_serves_many_queries_and_its_records_as_well() {
    let mut job = Job::new(2);
    let stream = job.source("bids", bids(), 2);
    job.register("bids", &stream, None).unwrap();
    let query = job.query("SELECT * FROM bids").unwrap();
    let all = add_query::<Bid>(&job.session, &mut job.graph, &query).unwrap();
    let again = add_query::<Bid>(&job.session, &mut job.graph, &query).unwrap();
    assert_ne!(all.uid, again.uid);
    job.register("again", &again, None).unwrap();
    let query = job.query("SELECT again.auction, COUNT(*) AS n FROM again GROUP BY auction").unwrap();
    add_query::<Changelog<Count>>(&job.session, &mut job.graph, &query).unwrap();
    add_query::<Changelog<Count>>(&job.session, &mut job.graph, &query).unwrap();
    assert_eq!(job.collect(&all), bids());
}

#[test]
fn a_query_can_be_a_view_of_another() {
    let mut job = Job::new(1);
    let stream = job.source("bids", bids(), 2);
    job.register("bids", &stream, None).unwrap();
    let dear = job.query("SELECT auction, price FROM bids WHERE price > 2").unwrap();
    job.session.create_temporary_view("dear", &dear).unwrap();
    let query = job.query("SELECT auction FROM dear WHERE auction = 1").unwrap();
    let rows = add_query::<Row>(&job.session, &mut job.graph, &query).unwrap();
    assert_eq!(job.collect(&rows).len(), 1);
}

fn refused(sql: &str) -> String {
    let mut job = Job::new(1);
    let stream = job.source("bids", bids(), 2);
    job.register("bids", &stream, None).unwrap();
    let query = job.query(sql).unwrap();
    let tasks = job.graph.vertices.len();
    let error = add_query::<Count>(&job.session, &mut job.graph, &query).unwrap_err();
    assert_eq!(job.graph.vertices.len(), tasks, "nothing was added");
    error.to_string()
}

#[test]
fn a_query_of_other_columns_than_the_records_is_refused_before_the_job_starts() {
    let schemas = |query: &str| {
        format!("\n\nQuery schema:  [{query}]\nRecord schema: [auction: BIGINT NOT NULL, n: BIGINT NOT NULL]")
    };
    let refused = |sql: &str, cause: &str, query: &str| {
        let expected = format!(
            "The columns of the query and the fields of the record do not match.\nCause: {cause}{}",
            schemas(query)
        );
        assert_eq!(refused(sql), expected);
    };
    refused(
        "SELECT auction, bidder AS n FROM bids",
        "Column 'n' is STRING, which a field of BIGINT NOT NULL does not take.",
        "auction: BIGINT NOT NULL, n: STRING",
    );
    refused(
        "SELECT auction, CAST(bidder AS BIGINT) AS n FROM bids",
        "Column 'n' is BIGINT and can be NULL where a field of BIGINT NOT NULL cannot; make it an Option, or use COALESCE.",
        "auction: BIGINT NOT NULL, n: BIGINT",
    );
    refused(
        "SELECT auction, auction AS m FROM bids",
        "No field is called 'm'; add one, or do not select it.",
        "auction: BIGINT NOT NULL, m: BIGINT NOT NULL",
    );
    refused("SELECT auction FROM bids", "No column is called 'n'.", "auction: BIGINT NOT NULL");
    refused(
        "SELECT auction, auction AS n, auction AS n FROM bids",
        "Two columns are called 'n'; rename one with AS.",
        "auction: BIGINT NOT NULL, n: BIGINT NOT NULL, n: BIGINT NOT NULL",
    );
}

#[test]
fn an_updating_query_is_no_stream_of_rows() {
    let message = refused("SELECT auction, COUNT(*) AS n FROM bids GROUP BY auction");
    assert!(
        message.starts_with(
            "A stream of rows doesn't support consuming update changes which is produced by node \
             GroupAggregate(groupBy=[auction]"
        ),
        "{message}"
    );
}

#[test]
fn narrower_numbers_fit_wider_fields() {
    let mut job = Job::new(1);
    let stream = job.source("bids", bids(), 2);
    job.register("bids", &stream, None).unwrap();
    let query = job.query("SELECT CAST(1 AS INT) AS n, auction FROM bids WHERE auction = 2").unwrap();
    let counts = add_query::<Count>(&job.session, &mut job.graph, &query).unwrap();
    let counts: Vec<Count> = job.collect(&counts).into_iter().map(|(count, _)| count).collect();
    assert_eq!(counts, [Count { auction: 2, n: 1 }, Count { auction: 2, n: 1 }]);
}

#[test]
fn two_event_times_are_refused() {
    let message = refused(
        "SELECT a.auction, a.auction AS n, a.at, b.at AS bt FROM bids a JOIN bids b ON a.auction = b.auction AND a.at BETWEEN b.at - INTERVAL '1' SECOND AND b.at",
    );
    assert!(message.contains("No field is called 'at'"), "{message}");
    let mut job = Job::new(1);
    let stream = job.source("bids", bids(), 2);
    job.register("bids", &stream, None).unwrap();
    let query = job.query("SELECT at, at AS again FROM bids").unwrap();
    let error = add_query::<Row>(&job.session, &mut job.graph, &query).unwrap_err().to_string();
    assert!(error.starts_with("The query has two rowtime attributes, 'at' and 'again'"), "{error}");
}

#[test]
fn a_stream_of_another_graph_is_refused() {
    let mut job = Job::new(1);
    let stream = job.source("bids", bids(), 2);
    job.register("bids", &stream, None).unwrap();
    let query = job.query("SELECT auction FROM bids").unwrap();
    job.graph = JobGraph::new(128);
    for others in ["other", "more"] {
        let error = add_query::<Row>(&job.session, &mut job.graph, &query).unwrap_err().to_string();
        assert!(error.contains("belongs to another job, which was started already"), "{error}");
        let other = job.source(others, bids(), 2);
        job.register(others, &other, None).unwrap();
    }
}

#[test]
fn wrong_registrations_are_refused() {
    let mut job = Job::new(1);
    let stream = job.source("bids", bids(), 2);
    let error = |job: &mut Job, name, rowtime| job.register(name, &stream, rowtime).unwrap_err().to_string();
    let message = error(&mut job, "bids", Some("ts"));
    assert!(message.contains("says that its field `at` is the event time"), "{message}");
    job.register("bids", &stream, None).unwrap();
    let message = error(&mut job, "bids", None);
    assert!(
        message.contains("the table `default_catalog.default_database.bids` already exists"),
        "{message}"
    );
    let rows = job.source("counts", vec![(Count { auction: 1, n: 1 }, 0)], 1);
    let message = job.register("counts", &rows, Some("n")).unwrap_err().to_string();
    assert!(message.contains("has a field `n` already"), "{message}");
}
