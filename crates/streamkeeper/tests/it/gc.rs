//! `streamkeeper gc` beside a running job, an ended one and an unknown run.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::standalone::Standalone;

const LIVE: &str = "
    SET 'execution.checkpointing.interval' = '50 ms';
    CREATE TEMPORARY TABLE g (a INT) WITH ('connector' = 'datagen', 'rows-per-second' = '100');
    CREATE TEMPORARY TABLE b (a INT) WITH ('connector' = 'blackhole'); INSERT INTO b SELECT a FROM g";

const BOUNDED: &str = "
    CREATE TEMPORARY TABLE g (a INT) WITH ('connector' = 'datagen', 'number-of-rows' = '10');
    CREATE TEMPORARY TABLE b (a INT) WITH ('connector' = 'blackhole'); INSERT INTO b SELECT a FROM g";

const UNKNOWN: &str = "00112233445566778899aabbccddeeff";

fn write(directory: &Path, checkpoint: u64, name: &str) {
    let path = directory.join(format!("chk-{checkpoint}"));
    std::fs::create_dir_all(&path).expect("created");
    std::fs::write(path.join(name), "0123456789").expect("written");
}

/// Makes a directory and all that is in it look as if nobody had touched it for so long.
fn make_old(path: &Path, age: Duration) {
    let then = SystemTime::now() - age;
    for entry in std::fs::read_dir(path).expect("readable") {
        let file = std::fs::File::open(entry.expect("readable").path()).expect("readable");
        file.set_modified(then).expect("ours");
    }
    std::fs::File::open(path).expect("readable").set_modified(then).expect("ours");
}

/// Verdicts by the end of the lineage and the checkpoint.
fn gc(cluster: &Standalone, arguments: &[&str]) -> BTreeMap<(String, u64), String> {
    let quorum = format!("high-availability.zookeeper.quorum={}", cluster.zookeeper);
    let output = cluster.command(&[&["gc", "--json", "--set", &quorum], arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let shown: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let findings = shown["findings"].as_array().expect("findings").iter();
    findings
        .map(|finding| {
            let text = |key: &str| finding[key].as_str().expect("text").to_owned();
            ((text("lineage"), finding["checkpoint"].as_u64().expect("a number")), text("verdict"))
        })
        .collect()
}

#[test]
fn orphans_go_and_what_is_needed_in_flight_or_unknown_stays() {
    let directory = tempfile::tempdir().expect("a directory");
    let cluster = Standalone::start(directory.path());
    let submitted = |output: String| {
        output.split("JobID ").nth(1).and_then(|rest| rest.split(':').next()).expect("an id").to_owned()
    };
    let ended = submitted(cluster.succeed(BOUNDED));
    let live = submitted(cluster.succeed_with(LIVE, &["--detached"]));
    let checkpoints = directory.path().join("data/checkpoints");
    let of = |lineage: &str| checkpoints.join(lineage);
    let complete = |at_least: u64| {
        let output = cluster.client(&["info", &live, "--json"]);
        let shown: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let retained = shown["checkpoints"]["retained"].as_array().cloned().unwrap_or_default();
        retained.iter().filter_map(Value::as_u64).max().is_some_and(|latest| latest >= at_least)
    };
    cluster.until(|| complete(3));
    // What a killed process leaves: of a checkpoint in the past, of one far ahead, and of one that may be in flight.
    write(&of(&live), 1, "state-dead#1");
    write(&of(&live), 2_000_000, "state-dead");
    write(&of(&live), 3_000_000, "state-slow");
    make_old(&of(&live).join("chk-2000000"), Duration::from_secs(3_700));
    write(&of(&ended), 900, "_metadata");
    write(&of(UNKNOWN), 4, "_metadata");
    std::fs::write(checkpoints.join("notes"), "mine").expect("written");

    let found = gc(&cluster, &[]);
    let verdict =
        |lineage: &str, checkpoint| found.get(&(lineage.to_owned(), checkpoint)).map(String::as_str);
    for (lineage, checkpoint, expected) in [
        (live.as_str(), 1, Some("orphan")),
        (&live, 2_000_000, Some("orphan")),
        (&live, 3_000_000, None),
        (&ended, 900, Some("orphan")),
        (UNKNOWN, 4, Some("unknown")),
    ] {
        assert_eq!(verdict(lineage, checkpoint), expected, "{lineage} {checkpoint}: {found:?}");
    }
    assert!(of(&live).join("chk-1/state-dead#1").exists(), "only looked at");

    gc(&cluster, &["--yes"]);
    assert!(!of(&live).join("chk-1/state-dead#1").exists() && !of(&live).join("chk-2000000").exists());
    assert!(!of(&ended).join("chk-900").exists());
    assert!(of(&live).join("chk-3000000/state-slow").exists(), "it may be in flight");
    assert!(of(UNKNOWN).join("chk-4/_metadata").exists() && checkpoints.join("notes").exists());
    gc(&cluster, &["--yes", "--lineage", UNKNOWN]);
    assert!(!of(UNKNOWN).exists());

    // The job goes on from what is left.
    drop(cluster);
    let cluster = Standalone::start(directory.path());
    cluster
        .until(|| cluster.jobs().iter().any(|job| job["jid"] == live.as_str() && job["state"] == "RUNNING"));
    let latest = || {
        let output = cluster.client(&["info", &live, "--json"]);
        let shown: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        shown["checkpoints"]["completed"].as_u64().unwrap_or_default()
    };
    cluster.until(|| latest() > 0);
}
