//! `kill -9` in the middle of a run, then `--from-checkpoint`: the committed rows are those of an undisturbed run.

use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::support::{assert_rows, command, root, rows, succeed};

/// Rows per second of the paced replay: 27,004 flights take about 3 s.
const RATE: u32 = 9_000;

fn job(directory: &Path, rate: Option<u32>) -> String {
    let out = directory.join("out");
    let pace = rate.map(|rate| format!(", 'source.max-rows-per-second' = '{rate}'")).unwrap_or_default();
    format!(
        "SET 'execution.checkpointing.interval' = '100ms';
         SET 'execution.checkpointing.dir' = 'file://{}';
         CREATE TABLE flights (
           sched_dep TIMESTAMP(3), actual_dep TIMESTAMP(3), carrier STRING, flight INT, tailnum STRING,
           origin STRING, dest STRING, dep_delay_min INT, arr_delay_min INT, air_time_min INT, distance_mi INT,
           WATERMARK FOR sched_dep AS sched_dep - INTERVAL '1' DAY
         ) WITH ('connector' = 'filesystem', 'path' = '{}/examples/flights/data/flights', 'format' = 'csv',
                 'csv.null-literal' = ''{pace});
         CREATE TABLE hourly (origin STRING, window_start TIMESTAMP(3), flights BIGINT, worst INT)
           WITH ('connector' = 'filesystem', 'path' = 'file://{}/hourly', 'format' = 'csv');
         CREATE TABLE copy (tailnum STRING, sched_dep TIMESTAMP(3), delay INT)
           WITH ('connector' = 'filesystem', 'path' = 'file://{}/copy', 'format' = 'csv');
         EXECUTE STATEMENT SET BEGIN
           INSERT INTO hourly SELECT origin, window_start, COUNT(*), MAX(dep_delay_min)
             FROM TABLE(TUMBLE(TABLE flights, DESCRIPTOR(sched_dep), INTERVAL '1' HOUR))
             GROUP BY origin, window_start, window_end;
           INSERT INTO copy SELECT tailnum, sched_dep, dep_delay_min FROM flights;
         END;",
        directory.join("checkpoints").display(),
        root().display(),
        out.display(),
        out.display(),
    )
}

fn start(sql: &str, directory: &Path, parallelism: &str, fault: Option<&str>) -> Child {
    let checkpoints = directory.join("checkpoints");
    let mut arguments = vec!["--quiet", "--parallelism", parallelism];
    let path = checkpoints.display().to_string();
    if has_checkpoint(&checkpoints) {
        arguments.extend(["--from-checkpoint", &path]);
    } else {
        // Nothing was committed: a fresh start may leave its own lineage beside the dead one.
        let _ = std::fs::remove_dir_all(&checkpoints);
    }
    let mut command: Command = command(&arguments);
    if let Some(fault) = fault {
        command.env("STREAMKEEPER_FAULT", fault);
    }
    let mut child = command.spawn().expect("the binary starts");
    std::io::Write::write_all(&mut child.stdin.take().expect("piped"), sql.as_bytes())
        .expect("it reads its input");
    child
}

fn has_checkpoint(checkpoints: &Path) -> bool {
    let Ok(lineages) = std::fs::read_dir(checkpoints) else { return false };
    lineages.flatten().any(|lineage| lineage.path().join("_latest").exists())
}

fn undisturbed() -> [Vec<String>; 2] {
    let directory = tempfile::tempdir().expect("temp dir");
    succeed(&job(directory.path(), None), &["--quiet"]);
    ["hourly", "copy"].map(|table| rows(&directory.path().join("out").join(table)))
}

fn check(directory: &Path, expected: &[Vec<String>; 2], what: &str) {
    for (table, expected) in ["hourly", "copy"].into_iter().zip(expected) {
        assert_rows(&format!("{what}, {table}"), &rows(&directory.join("out").join(table)), expected);
    }
}

/// Runs to the end, restarting from the latest checkpoint.
fn finish(sql: &str, directory: &Path) {
    let output = start(sql, directory, "2", None).wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn killed_at_random_moments() {
    let expected = undisturbed();
    assert_eq!(expected[1].len(), 27_004);
    let directory = tempfile::tempdir().expect("temp dir");
    let sql = job(directory.path(), Some(RATE));
    let mut seed = 0x2545_F491_4F6C_DD1D_u64;
    let mut kills = 0;
    for round in 0.. {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let mut child = start(&sql, directory.path(), ["1", "2", "3"][round % 3], None);
        let until = Instant::now() + Duration::from_millis(300 + seed % 500);
        while Instant::now() < until && child.try_wait().expect("a child").is_none() {
            std::thread::sleep(Duration::from_millis(5));
        }
        if child.try_wait().expect("a child").is_some() || kills == 6 {
            let _ = child.kill();
            let _ = child.wait();
            break;
        }
        child.kill().expect("still running");
        child.wait().expect("killed");
        kills += 1;
    }
    assert!(kills >= 3, "only {kills} kills hit a running job");
    finish(&sql, directory.path());
    check(directory.path(), &expected, "after kills");
}

/// Fault points exist in debug builds, which is what `cargo test` runs.
#[cfg(debug_assertions)]
#[test]
fn killed_in_every_phase_of_a_checkpoint() {
    let expected = undisturbed();
    let points =
        ["aligning", "state-written", "manifest-written", "pointer-written", "before-commit", "after-commit"];
    for point in points {
        for nth in [1, 3] {
            let directory = tempfile::tempdir().expect("temp dir");
            let sql = job(directory.path(), Some(RATE * 2));
            let output = start(&sql, directory.path(), "2", Some(&format!("{point}:{nth}")))
                .wait_with_output()
                .expect("it ends");
            assert!(!output.status.success(), "the process should have died at {point}");
            finish(&sql, directory.path());
            check(directory.path(), &expected, &format!("died at {point}, {nth}"));
        }
    }
}
