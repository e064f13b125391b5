//! Tables that are updated and deleted from: what is computed of them follows, through the runtime and into ZooKeeper again.

use std::sync::Arc;
use std::time::Duration;

use streamkeeper_dataflow::checkpoint::coordinator::CoordinatorConfig;
use streamkeeper_dataflow::checkpoint::storage::CheckpointStorage;
use streamkeeper_dataflow::job::{JobConfig, JobHandle, JobStatus, new_lineage, start};
use streamkeeper_dataflow::restart::RestartStrategy;
use streamkeeper_keeper::server::{Keeper, ServerOptions};
use streamkeeper_sql::config;
use streamkeeper_sql::parser::parse_script;
use streamkeeper_sql::session::{Session, StatementResult};
use streamkeeper_zookeeper::{CreateMode, Options, WatchMode, ZooKeeper, block_on};

pub(crate) struct World {
    _keeper: Keeper,
    pub(crate) zookeeper: ZooKeeper,
    pub(crate) quorum: String,
}

impl World {
    pub(crate) fn new() -> Self {
        let keeper = Keeper::start(ServerOptions::default()).expect("a server");
        let quorum = keeper.client_address().expect("an address").to_string();
        let zookeeper = block_on(ZooKeeper::connect(Options::new(quorum.clone()))).expect("a session");
        Self { _keeper: keeper, zookeeper, quorum }
    }

    /// Creates or replaces.
    pub(crate) fn put(&self, path: &str, data: &str) {
        block_on(async {
            if self.zookeeper.exists(path).await.expect("an answer").is_some() {
                self.zookeeper.set(path, data, None).await.expect("it is set");
            } else {
                self.zookeeper.create_all(path.rsplit_once('/').expect("a path").0).await.expect("a parent");
                self.zookeeper.create(path, data, CreateMode::Persistent).await.expect("it is created");
            }
        });
    }

    pub(crate) fn delete(&self, path: &str) {
        block_on(self.zookeeper.delete(path, None)).expect("it is deleted");
    }

    /// Waits until there is this at `path`, or nothing.
    pub(crate) fn wait(&self, path: &str, expected: Option<&str>) {
        let mut watch = self.zookeeper.watch(path, WatchMode::Node).expect("a watch");
        block_on(async {
            loop {
                watch.next().await.expect("events go on").expect("no error");
                let read = self.zookeeper.get_many(vec![path.to_owned()]).await.expect("an answer").remove(0);
                if read.map(|(data, _)| String::from_utf8(data).expect("text")).as_deref() == expected {
                    return;
                }
            }
        });
    }

    pub(crate) fn table(&self, name: &str, columns: &str, more: &str) -> String {
        format!(
            "CREATE TABLE {name} ({columns}) WITH ('connector' = 'zookeeper', 'zookeeper.quorum' = '{}', 'path' = '/{name}', \
             'mode' = 'children', 'format' = 'json'{more});\n",
            self.quorum
        )
    }

    /// Starts the one job of a script.
    pub(crate) fn start(&self, text: &str, parallelism: usize) -> JobHandle {
        let mut config = config::new();
        config.set("parallelism.default", &parallelism.to_string()).expect("a number");
        let mut session = Session::new(config);
        let mut job = None;
        for statement in parse_script(text).unwrap_or_else(|e| panic!("{}", e.render(text, None))) {
            match session.execute(&statement.node) {
                Ok(StatementResult::Job(planned)) => job = Some(planned),
                Ok(_) => {}
                Err(error) => panic!("{}", error.render(text, None)),
            }
        }
        let job = job.expect("there is a job");
        let lineage = new_lineage();
        let storage = CheckpointStorage::in_memory(&lineage).expect("storage");
        let config = JobConfig {
            name: job.name,
            lineage,
            config: Arc::default(),
            allow_non_restored_state: false,
            checkpointing: CoordinatorConfig {
                interval_ms: Some(20),
                timeout_ms: 60_000,
                min_pause_ms: 0,
                tolerable_failures: 0,
            },
            num_retained: 1,
            restart: RestartStrategy::None,
            channel_capacity_bytes: 1 << 20,
            buffer_timeout: Duration::from_millis(5),
        };
        start(job.graph, config, storage, None).expect("the job starts")
    }
}

pub(crate) fn cancel(job: JobHandle) {
    job.cancel();
    assert_eq!(job.wait().expect("the job ran"), JobStatus::Canceled);
}

const PARTS: &str = "name STRING, region STRING, n BIGINT, PRIMARY KEY (name) NOT ENFORCED";

#[test]
fn an_aggregation_takes_back_what_is_gone() {
    for parallelism in [1, 3] {
        let world = World::new();
        world.put("/parts/a", r#"{"region": "x", "n": 1}"#);
        world.put("/parts/b", r#"{"region": "x", "n": 2}"#);
        let sums = "region STRING, total BIGINT, parts BIGINT, PRIMARY KEY (region) NOT ENFORCED";
        let script = world.table("parts", PARTS, "")
            + &world.table("sums", sums, "")
            + "INSERT INTO sums SELECT region, SUM(n), COUNT(*) FROM parts GROUP BY region;";
        let job = world.start(&script, parallelism);
        world.wait("/sums/x", Some(r#"{"total":3,"parts":2}"#));
        world.put("/parts/b", r#"{"region": "y", "n": 5}"#);
        world.wait("/sums/x", Some(r#"{"total":1,"parts":1}"#));
        world.wait("/sums/y", Some(r#"{"total":5,"parts":1}"#));
        world.delete("/parts/a");
        world.wait("/sums/x", None);
        world.put("/parts/c", r#"{"region": "x", "n": 7}"#);
        world.wait("/sums/x", Some(r#"{"total":7,"parts":1}"#));
        cancel(job);
    }
}

#[test]
fn a_join_follows_both_sides() {
    for parallelism in [1, 2] {
        let world = World::new();
        world.put("/parts/a", r#"{"region": "x", "n": 1}"#);
        world.put("/regions/x", r#"{"title": "old"}"#);
        let titled = "name STRING, title STRING, PRIMARY KEY (name) NOT ENFORCED";
        let script = world.table("parts", PARTS, "")
            + &world.table("regions", titled, "")
            + &world.table("titled", titled, "")
            + "INSERT INTO titled SELECT p.name, r.title FROM parts AS p JOIN regions AS r ON p.region = r.name;";
        let job = world.start(&script, parallelism);
        world.wait("/titled/a", Some(r#"{"title":"old"}"#));
        world.put("/regions/x", r#"{"title": "new"}"#);
        world.wait("/titled/a", Some(r#"{"title":"new"}"#));
        world.put("/parts/b", r#"{"region": "x", "n": 2}"#);
        world.wait("/titled/b", Some(r#"{"title":"new"}"#));
        world.delete("/regions/x");
        world.wait("/titled/a", None);
        world.wait("/titled/b", None);
        cancel(job);
    }
}

#[test]
fn metadata_columns_are_read_where_the_connector_has_them() {
    let world = World::new();
    world.put("/parts/a", r#"{"n": 1}"#);
    let parts = "name STRING, v INT METADATA FROM 'version' VIRTUAL, n BIGINT, `path` STRING METADATA VIRTUAL, \
                 twice AS v * 2, PRIMARY KEY (name) NOT ENFORCED";
    let seen = "name STRING, v INT, twice INT, p STRING, PRIMARY KEY (name) NOT ENFORCED";
    let script = world.table("parts", parts, "")
        + &world.table("seen", seen, "")
        + "INSERT INTO seen SELECT name, v, twice, `path` FROM parts WHERE v < 2;";
    let job = world.start(&script, 1);
    world.wait("/seen/a", Some(r#"{"v":0,"twice":0,"p":"/parts/a"}"#));
    world.put("/parts/a", r#"{"n": 2}"#);
    world.wait("/seen/a", Some(r#"{"v":1,"twice":2,"p":"/parts/a"}"#));
    // The filter hides the new row of the update.
    world.put("/parts/a", r#"{"n": 3}"#);
    world.wait("/seen/a", None);
    cancel(job);
}

/// The error of the last statement of a script.
fn error(text: &str) -> String {
    let mut session = Session::new(config::new());
    for statement in parse_script(text).unwrap_or_else(|e| panic!("{}", e.render(text, None))) {
        if let Err(error) = session.execute(&statement.node) {
            return error.to_string();
        }
    }
    panic!("there is no error")
}

#[test]
fn metadata_that_is_not_there_is_refused_by_name() {
    let options =
        "WITH ('connector' = 'zookeeper', 'zookeeper.quorum' = 'a', 'path' = '/a', 'format' = 'raw')";
    let table = |column: &str| format!("CREATE TABLE t (v STRING, {column}) {options};");
    let unknown = error(&table("x BIGINT METADATA FROM 'offset' VIRTUAL"));
    assert!(
        unknown.contains("Invalid metadata key 'offset'") && unknown.contains("ephemeral-owner"),
        "{unknown}"
    );
    let mistyped = error(&table("version BIGINT METADATA VIRTUAL"));
    assert!(mistyped.contains("its type is INT, not BIGINT"), "{mistyped}");
    let written = error(&(table("version INT METADATA") + "INSERT INTO t VALUES ('x');"));
    assert!(written.contains("METADATA column 'version'"), "{written}");
    let elsewhere = error("CREATE TABLE t (x BIGINT, ts BIGINT METADATA) WITH ('connector' = 'datagen');");
    assert!(elsewhere.contains("The METADATA column 'ts'"), "{elsewhere}");
    let window = error(
        &("CREATE TABLE t (v STRING, ts TIMESTAMP_LTZ(3) METADATA FROM 'mtime' VIRTUAL, WATERMARK FOR ts AS ts) ".to_owned()
            + options
            + "; SELECT COUNT(*) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, \
               window_end;"),
    );
    assert!(window.contains("update and delete changes"), "{window}");
}
