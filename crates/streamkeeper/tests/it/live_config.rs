//! Live configuration under fire: a threshold changes every 100 ms while the process is killed at random moments. Each
//! committed row names the revision that it was computed under, has what that revision says, and revisions never go back from
//! one checkpoint to the next; no row is lost or doubled.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use streamkeeper_coordination::config::Scope;
use streamkeeper_coordination::config::edit::{Edit, SchemaEdit};
use streamkeeper_coordination::config::store::ConfigStore;
use streamkeeper_coordination::layout::Layout;
use streamkeeper_keeper::server::{Keeper, ServerOptions};
use streamkeeper_zookeeper::{Options, ZooKeeper, block_on};

use crate::support::command;

/// Files of the source, each a split of its own.
const FILES: u64 = 4;

/// Rows per second of one subtask of the source.
const RATE: u64 = 2_500;

/// Revision and threshold of every write.
type Written = Arc<Mutex<BTreeMap<u64, i64>>>;

fn rules() -> Scope {
    Scope::Shared("rules".into())
}

fn store(quorum: &str) -> ConfigStore {
    let zookeeper = block_on(ZooKeeper::connect(Options::new(quorum))).expect("the keeper runs");
    ConfigStore::new(zookeeper, Layout::default())
}

/// Writes `threshold`, and notes its revision.
fn write(store: &ConfigStore, threshold: i64, written: &Written) {
    let edit = Edit {
        author: "test".into(),
        time: String::new(),
        comment: String::new(),
        data: json!({"limits": {"threshold": threshold}}),
        schema: SchemaEdit::Keep,
        expected: None,
    };
    let plan = block_on(store.write(&rules(), edit, &BTreeSet::new())).expect("written");
    written.lock().expect("no panic while held").insert(plan.document.revision, threshold);
}

/// `copied` is decided in the source's chain, `joined` behind a shuffle.
fn job(directory: &Path, quorum: &str) -> String {
    let config = "CAST(CONFIG('rules', 'limits.threshold') AS BIGINT)";
    format!(
        "SET 'execution.checkpointing.interval' = '150ms';
         SET 'execution.checkpointing.dir' = 'file://{0}/checkpoints';
         SET 'high-availability.zookeeper.quorum' = '{quorum}';
         CREATE TABLE numbers (n BIGINT)
           WITH ('connector' = 'filesystem', 'path' = 'file://{0}/numbers', 'format' = 'csv',
                 'source.max-rows-per-second' = '{RATE}');
         CREATE TABLE copied (n BIGINT, revision BIGINT, threshold BIGINT, above BOOLEAN)
           WITH ('connector' = 'filesystem', 'path' = 'file://{0}/out/copied', 'format' = 'csv');
         CREATE TABLE joined (n BIGINT, revision BIGINT, threshold BIGINT, above BOOLEAN)
           WITH ('connector' = 'filesystem', 'path' = 'file://{0}/out/joined', 'format' = 'csv');
         EXECUTE STATEMENT SET BEGIN
           INSERT INTO copied SELECT n, CONFIG_REVISION('rules'), {config}, MOD(n, 1000) > {config} FROM numbers;
           INSERT INTO joined SELECT n, CONFIG_REVISION('rules'), {config}, MOD(n, 1000) > {config}
             FROM (SELECT n, MOD(n, 5) AS k FROM numbers)
             JOIN (VALUES (0, 'a'), (1, 'b'), (2, 'c'), (3, 'd'), (4, 'e')) AS names(key, name) ON k = key;
         END;",
        directory.display(),
    )
}

fn start(sql: &str, directory: &Path, parallelism: &str) -> Child {
    let checkpoints = directory.join("checkpoints");
    let path = checkpoints.display().to_string();
    let lineages = std::fs::read_dir(&checkpoints).into_iter().flatten().flatten();
    let mut arguments = vec!["--quiet", "--parallelism", parallelism];
    if lineages.map(|lineage| lineage.path()).any(|lineage| lineage.join("_latest").exists()) {
        arguments.extend(["--from-checkpoint", &path]);
    } else {
        // Nothing was committed: a fresh start may leave its own lineage beside the dead one.
        let _ = std::fs::remove_dir_all(&checkpoints);
    }
    let mut child = command(&arguments).spawn().expect("the binary starts");
    std::io::Write::write_all(&mut child.stdin.take().expect("piped"), sql.as_bytes()).expect("it reads");
    child
}

/// Rows of a table by checkpoint.
fn committed(directory: &Path) -> BTreeMap<u64, Vec<Vec<String>>> {
    let mut rows: BTreeMap<u64, Vec<Vec<String>>> = BTreeMap::new();
    for path in std::fs::read_dir(directory).expect("output").map(|entry| entry.expect("readable").path()) {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if !name.starts_with("part-") {
            continue;
        }
        let checkpoint =
            name.rsplit('-').nth(1).and_then(|n| n.parse().ok()).expect("part-…-<checkpoint>-<i>");
        let text = std::fs::read_to_string(&path).expect("text");
        let lines = text.lines().map(|line| line.split(',').map(str::to_owned).collect());
        rows.entry(checkpoint).or_default().extend(lines);
    }
    rows
}

/// Checks the rows of one table; gives the revisions in it.
fn check(rows: &BTreeMap<u64, Vec<Vec<String>>>, written: &BTreeMap<u64, i64>) -> BTreeSet<u64> {
    let mut seen = BTreeSet::new();
    let mut last = 0;
    for (checkpoint, rows) in rows {
        let mut of_checkpoint = BTreeSet::new();
        for row in rows {
            let number = |i: usize| row[i].parse::<i64>().unwrap_or_else(|_| panic!("column {i} of {row:?}"));
            let (revision, threshold) = (number(1).unsigned_abs(), number(2));
            assert_eq!(written.get(&revision), Some(&threshold), "checkpoint {checkpoint}: {row:?}");
            assert_eq!(
                row[3],
                (number(0) % 1000 > threshold).to_string(),
                "checkpoint {checkpoint}: {row:?}"
            );
            of_checkpoint.insert(revision);
        }
        let first = *of_checkpoint.first().expect("a file has rows");
        assert!(first >= last, "checkpoint {checkpoint}: revision {first} after {last}");
        // A configuration changes at a barrier, and none is aborted here: so it is one per checkpoint.
        assert_eq!(of_checkpoint.len(), 1, "checkpoint {checkpoint}: {of_checkpoint:?}");
        last = first;
        seen.extend(of_checkpoint);
    }
    seen
}

fn under_fire(rows_per_file: u64, kills: usize, mut seed: u64) {
    let keeper = Keeper::start(ServerOptions::default()).expect("a keeper in memory");
    let quorum = keeper.client_address().expect("it listens").to_string();
    let directory = tempfile::tempdir().expect("temp dir");
    std::fs::create_dir(directory.path().join("numbers")).expect("created");
    for file in 0..FILES {
        let numbers = file * rows_per_file..(file + 1) * rows_per_file;
        let text: String = numbers.map(|n| format!("{n}\n")).collect();
        std::fs::write(directory.path().join(format!("numbers/{file}.csv")), text).expect("written");
    }
    let written = Written::default();
    write(&store(&quorum), 0, &written);
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (quorum, written, stop) = (quorum.clone(), written.clone(), stop.clone());
        std::thread::spawn(move || {
            let store = store(&quorum);
            let mut n = 1_i64;
            while !stop.load(Ordering::Relaxed) {
                write(&store, n * 37 % 1000, &written);
                n += 1;
                std::thread::sleep(Duration::from_millis(100));
            }
        })
    };
    let sql = job(directory.path(), &quorum);
    let mut hit = 0;
    for round in 0.. {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let mut child = start(&sql, directory.path(), ["2", "1", "3"][round % 3]);
        let until = Instant::now() + Duration::from_millis(500 + seed % 900);
        while hit < kills && Instant::now() < until && child.try_wait().expect("a child").is_none() {
            std::thread::sleep(Duration::from_millis(5));
        }
        if hit < kills && child.try_wait().expect("a child").is_none() {
            child.kill().expect("still running");
            child.wait().expect("killed");
            hit += 1;
            continue;
        }
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        break;
    }
    stop.store(true, Ordering::Relaxed);
    writer.join().expect("no write failed");
    let written = written.lock().expect("no panic while held").clone();
    let total = FILES * rows_per_file;
    let mut seen = BTreeSet::new();
    for table in ["copied", "joined"] {
        let rows = committed(&directory.path().join("out").join(table));
        seen = check(&rows, &written);
        let mut numbers: Vec<u64> =
            rows.values().flatten().map(|row| row[0].parse().expect("a number")).collect();
        numbers.sort_unstable();
        assert!(numbers == (0..total).collect::<Vec<u64>>(), "{table}: {} rows of {total}", numbers.len());
    }
    // What the history still has is what was written.
    for document in block_on(store(&quorum).history(&rules(), 1000)).expect("the history") {
        assert_eq!(
            written[&document.revision],
            document.data["limits"]["threshold"].as_i64().expect("a number")
        );
    }
    println!("{hit} kills, {} revisions written, {} of them in committed rows", written.len(), seen.len());
    assert_eq!(hit, kills, "the job must run long enough to be killed");
    assert!(seen.len() > 2 * kills, "only {} revisions came into force", seen.len());
}

#[test]
fn a_threshold_changes_while_the_process_is_killed() {
    under_fire(3_000, 3, 0x2545_F491_4F6C_DD1D);
}

/// `cargo test -p streamkeeper --test it live_config -- --ignored --nocapture`
#[test]
#[ignore = "takes minutes"]
fn a_threshold_changes_while_the_process_is_killed_for_long() {
    let seed = std::env::var("STREAMKEEPER_SEED").ok().and_then(|seed| seed.parse().ok());
    under_fire(40_000, 40, seed.unwrap_or(0x9E37_79B9_7F4A_7C15));
}
