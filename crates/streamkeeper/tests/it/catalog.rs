//! Tables and views that a cluster keeps, as its users see them: by `run`, and by a ZooKeeper shell.

use serde_json::json;
use streamkeeper_coordination::Cluster;

use streamkeeper_coordination::layout::{JobPart, Layout};
use streamkeeper_zookeeper::{Options, ZooKeeper, block_on};

use crate::standalone::Standalone;
use crate::support::rows;

const TABLES: &str = "
    CREATE TABLE numbers (id BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '4', 'fields.id.kind' = 'sequence',
      'fields.id.start' = '1', 'fields.id.end' = '4');
    CREATE VIEW doubled AS SELECT id * 2 AS n FROM numbers;
    CREATE TABLE sink (n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'csv');
    CREATE TEMPORARY TABLE mine (n BIGINT) WITH ('connector' = 'blackhole')";

#[test]
fn tables_outlive_the_script_that_makes_them_and_the_cluster() {
    let directory = tempfile::tempdir().expect("a directory");
    let cluster = Standalone::start(directory.path());
    cluster.succeed(TABLES);
    drop(cluster);
    let cluster = Standalone::start(directory.path());
    let shown = cluster.succeed("SHOW TABLES");
    assert!(["doubled", "numbers", "sink"].iter().all(|table| shown.contains(table)), "{shown}");
    assert!(!shown.contains("mine"), "{shown}");
    let exists = cluster.fail("CREATE TABLE sink (n INT) WITH ('connector' = 'print')");
    assert!(exists.contains("already exists"), "{exists}");
    cluster.succeed("CREATE TABLE IF NOT EXISTS sink (n INT) WITH ('connector' = 'print')");
    let wrong = cluster.fail("DROP TABLE sink; INSERT INTO nowhere SELECT n FROM doubled");
    assert!(wrong.contains("nowhere"), "{wrong}");
    cluster.succeed("INSERT INTO sink SELECT n FROM doubled; DROP TABLE sink; DROP VIEW doubled");
    assert_eq!(rows(&directory.path().join("out")), ["2", "4", "6", "8"]);
    let shown = cluster.succeed("SHOW TABLES");
    assert!(shown.contains("numbers") && !shown.contains("doubled") && !shown.contains("sink"), "{shown}");
}

#[test]
fn a_statement_set_of_many_statements_is_one_job() {
    let directory = tempfile::tempdir().expect("a directory");
    let cluster = Standalone::start(directory.path());
    let set = "BEGIN STATEMENT SET; INSERT INTO mine SELECT n FROM doubled; INSERT INTO sink SELECT n + 1 FROM doubled; END;";
    cluster.succeed(&format!("{TABLES}; {set} INSERT INTO mine SELECT n FROM doubled"));
    assert_eq!(rows(&directory.path().join("out")), ["3", "5", "7", "9"]);
    assert_eq!(cluster.jobs().len(), 2);
}

#[test]
fn what_a_zookeeper_shell_writes_is_taken_if_it_is_valid() {
    let directory = tempfile::tempdir().expect("a directory");
    let cluster = Standalone::start(directory.path());
    cluster.succeed(TABLES);
    let zookeeper = shell(&cluster);
    let path = zookeeper.layout().catalog_object("default_database", "numbers");
    let write = |statement: &str| {
        let text = json!({ "v": 1, "kind": "table", "statement": statement }).to_string();
        block_on(zookeeper.zookeeper().set(&path, text, None)).expect("written");
    };
    write("CREATE TABLE numbers (id BIGINT, more INT) WITH ('connector' = 'datagen')");
    cluster.until(|| cluster.succeed("SHOW CREATE TABLE numbers").contains("`more` INT"));
    write("CREATE TABLE another (id BIGINT) WITH ('connector' = 'datagen')");
    cluster.until(|| cluster.run("SHOW TABLES").1.contains("not of default_database.numbers"));
    assert!(cluster.succeed("SHOW CREATE TABLE numbers").contains("`more` INT"), "the last good one");
    // It is repaired by whoever changes it next.
    cluster.succeed("ALTER TABLE numbers DROP more");
    assert!(!cluster.run("SHOW TABLES").1.contains("ignored"));
}

#[test]
fn a_job_ends_when_a_zookeeper_shell_says_that_it_is_not_wanted() {
    let directory = tempfile::tempdir().expect("a directory");
    let cluster = Standalone::start(directory.path());
    let endless = "CREATE TEMPORARY TABLE g (a INT) WITH ('connector' = 'datagen', 'rows-per-second' = '1');
        CREATE TEMPORARY TABLE b (a INT) WITH ('connector' = 'blackhole'); INSERT INTO b SELECT a FROM g";
    cluster.succeed_with(endless, &["--detached"]);
    let job = cluster.jobs().pop().expect("a job");
    let id = job["jid"].as_str().expect("an id").to_owned();
    let zookeeper = shell(&cluster);
    let path = zookeeper.layout().job_document(&id, JobPart::Desired);
    let set = |text: &str| block_on(zookeeper.zookeeper().set(&path, text, None)).expect("written");
    set("not wanted");
    let state = || cluster.jobs()[0]["state"].as_str().map(str::to_owned).unwrap_or_default();
    cluster.until(|| state() == "RUNNING");
    set(r#"{"v":1,"state":"canceled"}"#);
    cluster.until(|| state() == "CANCELED");
}

fn shell(cluster: &Standalone) -> Cluster {
    let zookeeper = block_on(ZooKeeper::connect(Options::new(&cluster.zookeeper))).expect("the keeper runs");
    Cluster::at(zookeeper, Layout::default())
}
