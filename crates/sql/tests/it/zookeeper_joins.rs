//! Tables in ZooKeeper that rows are looked up in, and whose versions rows meet, through the runtime.

use std::net::TcpListener;
use std::path::Path;

use streamkeeper_dataflow::job::JobStatus;
use streamkeeper_keeper::server::{Keeper, ServerOptions};
use streamkeeper_zookeeper::block_on;

use crate::zookeeper::{World, cancel};

const RATES: &str = "currency STRING, rate BIGINT, tier STRING, mtime TIMESTAMP_LTZ(3) METADATA VIRTUAL, WATERMARK FOR mtime \
                     AS mtime, PRIMARY KEY (currency) NOT ENFORCED";
const JOINED: &str = "id STRING, rate BIGINT, PRIMARY KEY (id) NOT ENFORCED";

impl World {
    /// When a znode was last written.
    fn mtime(&self, path: &str) -> i64 {
        block_on(self.zookeeper.get(path)).expect("a znode").1.mtime
    }

    /// Writes until the clock is past `ms`; the answer is the znode's time.
    fn put_after(&self, path: &str, data: &str, ms: i64) -> i64 {
        loop {
            self.put(path, data);
            let mtime = self.mtime(path);
            if mtime > ms {
                return mtime;
            }
        }
    }
}

/// `orders (id, currency, ts)` from a file, with a processing time.
fn orders(directory: &Path, rows: &[(&str, &str, i64)]) -> String {
    let path = directory.join("orders.csv");
    let text: String = rows.iter().map(|(id, currency, ms)| format!("{id},{currency},{ms}\n")).collect();
    std::fs::write(&path, text).expect("written");
    format!(
        "CREATE TABLE orders (id STRING, currency STRING, ms BIGINT, ts AS TO_TIMESTAMP_LTZ(ms, 3), p AS PROCTIME(), WATERMARK \
         FOR ts AS ts) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'csv');\n",
        path.display()
    )
}

#[test]
fn rows_of_a_file_are_looked_up_in_a_table_that_is_read_first() {
    for parallelism in [1, 3] {
        let world = World::new();
        let directory = tempfile::tempdir().expect("a directory");
        world.put("/rates/EUR", r#"{"rate": 120, "tier": "a"}"#);
        world.put("/rates/YEN", r#"{"rate": 1, "tier": "b"}"#);
        world.put("/rates/USD", r#"{"rate": 100, "tier": "a"}"#);
        let script = orders(directory.path(), &[("1", "EUR", 0), ("2", "XXX", 0), ("3", "YEN", 0)])
            + &world.table("rates", RATES, "")
            + &world.table("joined", JOINED, "")
            + &world.table("by_tier", JOINED, "")
            + "BEGIN STATEMENT SET;
               INSERT INTO joined SELECT id, rate FROM orders AS o LEFT JOIN rates FOR SYSTEM_TIME AS OF o.p AS r ON o.currency = \
               r.currency;
               INSERT INTO by_tier SELECT CONCAT(id, r.currency), rate FROM orders AS o JOIN rates FOR SYSTEM_TIME AS OF o.p AS r \
               ON r.tier = 'a' AND r.rate > CAST(o.id AS BIGINT) * 50 AND o.id = '2';
               END;";
        let job = world.start(&script, parallelism);
        // All of it is bounded: a lookup does not keep a job.
        job.wait().expect("the job runs");
        let read = |path: &str| {
            let read =
                block_on(world.zookeeper.get_many(vec![path.to_owned()])).expect("an answer").remove(0);
            read.map(|(data, _)| String::from_utf8(data).expect("text"))
        };
        assert_eq!(read("/joined/1").as_deref(), Some(r#"{"rate":120}"#));
        assert_eq!(read("/joined/2").as_deref(), Some(r#"{"rate":null}"#));
        assert_eq!(read("/joined/3").as_deref(), Some(r#"{"rate":1}"#));
        assert_eq!(read("/by_tier/2EUR").as_deref(), Some(r#"{"rate":120}"#));
        assert_eq!(read("/by_tier/2USD"), None, "its rate is not above 100");
    }
}

#[test]
fn a_tree_is_looked_up_in_by_the_path_of_its_znodes() {
    let world = World::new();
    let directory = tempfile::tempdir().expect("a directory");
    world.put("/tree/eu/EUR", "120");
    let script = orders(directory.path(), &[("1", "EUR", 0), ("2", "YEN", 0)])
        + &format!(
            "CREATE TABLE tree (v STRING, `path` STRING METADATA VIRTUAL, cents AS CAST(v AS BIGINT) * 100) WITH ('connector' = \
             'zookeeper', 'zookeeper.quorum' = '{}', 'path' = '/tree', 'mode' = 'tree', 'format' = 'raw');",
            world.quorum
        )
        + &world.table("joined", JOINED, "")
        + "CREATE VIEW filled AS SELECT * FROM tree WHERE v <> '';
           INSERT INTO joined SELECT o.id, t.cents FROM orders AS o LEFT JOIN filled FOR SYSTEM_TIME AS OF o.p AS t ON \
           CONCAT('/tree/eu/', o.currency) = t.`path`;";
    assert_eq!(world.start(&script, 2).wait().expect("the job runs"), JobStatus::Finished);
    world.wait("/joined/1", Some(r#"{"rate":12000}"#));
    world.wait("/joined/2", Some(r#"{"rate":null}"#));
}

#[test]
fn rows_wait_for_a_server_that_is_not_there_yet() {
    let world = World::new();
    let directory = tempfile::tempdir().expect("a directory");
    let address = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
    let script = orders(directory.path(), &[("1", "EUR", 0)])
        + &world.table("rates", RATES, "").replace(&world.quorum, &address.to_string())
        + &world.table("joined", JOINED, "")
        + "INSERT INTO joined SELECT id, rate FROM orders AS o LEFT JOIN rates FOR SYSTEM_TIME AS OF o.p AS r ON o.currency = \
           r.currency;";
    cancel(world.start(&script, 1));
    let job = world.start(&script, 1);
    let options = ServerOptions { client_addresses: vec![address], ..ServerOptions::default() };
    let _keeper = Keeper::start(options).expect("a server");
    assert_eq!(job.wait().expect("the job runs"), JobStatus::Finished);
    world.wait("/joined/1", Some(r#"{"rate":null}"#));
}

#[test]
fn later_rows_meet_later_values() {
    let world = World::new();
    world.put("/app/node", "first");
    let script = format!(
        "CREATE TABLE ticks (n BIGINT, p AS PROCTIME()) WITH ('connector' = 'datagen', 'rows-per-second' = '50', 'fields.n.kind' = \
         'sequence', 'fields.n.start' = '1', 'fields.n.end' = '1000000');
         CREATE TABLE node (v STRING, `path` STRING METADATA VIRTUAL) WITH ('connector' = 'zookeeper', 'zookeeper.quorum' = '{}', \
         'path' = '/app/node', 'format' = 'raw');",
        world.quorum
    ) + &world.table("seen", "name STRING, v STRING, PRIMARY KEY (name) NOT ENFORCED", "")
        + "INSERT INTO seen SELECT 'x', n.v FROM ticks AS t LEFT JOIN node FOR SYSTEM_TIME AS OF t.p AS n ON n.`path` = '/app/node';";
    let job = world.start(&script, 1);
    world.wait("/seen/x", Some(r#"{"v":"first"}"#));
    world.put("/app/node", "second");
    world.wait("/seen/x", Some(r#"{"v":"second"}"#));
    world.delete("/app/node");
    world.wait("/seen/x", Some(r#"{"v":null}"#));
    world.put("/app/node", "third");
    world.wait("/seen/x", Some(r#"{"v":"third"}"#));
    cancel(job);
}

#[test]
fn rows_meet_the_version_that_was_the_newest_at_their_time() {
    for parallelism in [1, 3] {
        let world = World::new();
        let directory = tempfile::tempdir().expect("a directory");
        let first = world.put_after("/rates/EUR", r#"{"rate": 1}"#, 0);
        let script = orders(
            directory.path(),
            &[
                ("before", "EUR", first - 1),
                ("at", "EUR", first),
                ("other", "YEN", first),
                ("after", "EUR", first + 1),
            ],
        ) + &world.table("rates", RATES, "")
            + &world.table("joined", JOINED, "")
            + "INSERT INTO joined SELECT id, rate FROM orders AS o LEFT JOIN rates FOR SYSTEM_TIME AS OF o.ts AS r ON o.currency \
               = r.currency;";
        let job = world.start(&script, parallelism);
        world.wait("/joined/before", Some(r#"{"rate":null}"#));
        world.wait("/joined/at", Some(r#"{"rate":1}"#));
        world.wait("/joined/other", Some(r#"{"rate":null}"#));
        assert!(block_on(world.zookeeper.exists("/joined/after")).expect("an answer").is_none());
        // Another key lets time go on; then a new version of this one, which comes too late for the row.
        world.put_after("/rates/USD", r#"{"rate": 5}"#, first + 1);
        world.put_after("/rates/EUR", r#"{"rate": 2}"#, first + 1);
        world.wait("/joined/after", Some(r#"{"rate":1}"#));
        cancel(job);
    }
}

#[test]
fn the_last_rows_of_a_file_are_versions() {
    let directory = tempfile::tempdir().expect("a directory");
    let world = World::new();
    let history = directory.path().join("history.csv");
    // The row of 5 comes behind that of 10 and is none of the last rows; that of 20 takes the place of another.
    std::fs::write(&history, "EUR,10,1\nEUR,5,9\nEUR,20,2\nEUR,20,3\n").expect("written");
    let script = orders(directory.path(), &[("a", "EUR", 7), ("b", "EUR", 19), ("c", "EUR", 20), ("d", "YEN", 20)])
        + &format!(
            "CREATE TABLE history (currency STRING, ms BIGINT, rate BIGINT, ts AS TO_TIMESTAMP_LTZ(ms, 3), WATERMARK FOR ts AS ts \
             - INTERVAL '1' SECOND) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'csv');
             CREATE VIEW rates AS SELECT currency, rate, ts FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY currency ORDER BY ts \
             DESC) AS rn FROM history) WHERE rn = 1;",
            history.display()
        )
        + &world.table("joined", JOINED, "")
        + "INSERT INTO joined SELECT id, rate FROM orders AS o LEFT JOIN rates FOR SYSTEM_TIME AS OF o.ts AS r ON o.currency = \
           r.currency;";
    world.start(&script, 2).wait().expect("the job runs");
    for (id, rate) in [("a", "null"), ("b", "1"), ("c", "3"), ("d", "null")] {
        world.wait(&format!("/joined/{id}"), Some(&format!(r#"{{"rate":{rate}}}"#)));
    }
}
