//! Savepoints by REST: taken, looked at, disposed of; a job ends with one, and another goes on from it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::client::{Answer, get, json as get_json, send};
use super::leader::{Served, submit, wait_for_tasks};
use crate::jobs::numbers::ALL;
use crate::jobs::{TestCluster, wait_for};

fn post(at: SocketAddr, path: &str, body: &Value) -> Answer {
    send(at, "POST", path, body.to_string().as_bytes())
}

/// Asks for something, and waits for what becomes of it.
fn operation(at: SocketAddr, path: &str, looked_at: &str, body: &Value) -> Value {
    let begun = post(at, path, body);
    assert!(begun.status == 202 || path == looked_at && begun.status == 200, "{begun:?}");
    let id = begun.json()["request-id"].as_str().unwrap().to_owned();
    let path = format!("{looked_at}/{id}");
    wait_for("its end", || get_json(at, &path)["status"]["id"] == "COMPLETED");
    get_json(at, &path)["operation"].clone()
}

fn location(operation: &Value) -> PathBuf {
    let location = operation["location"].as_str().unwrap_or_else(|| panic!("{operation}"));
    PathBuf::from(location.strip_prefix("file:").unwrap())
}

fn go_on(at: SocketAddr, id: Option<&str>, savepoint: &Path, claim: &str, parallelism: u32) -> Answer {
    let configuration = json!({
        "execution.checkpointing.interval": "100ms",
        "execution.state-recovery.path": savepoint,
        "execution.state-recovery.claim-mode": claim,
    });
    let spec = json!({ "name": "numbers", "kind": "program", "parallelism": parallelism, "configuration": configuration });
    post(
        at,
        "/v1/streamkeeper/jobs",
        &match id {
            Some(id) => json!({ "id": id, "spec": spec }),
            None => json!({ "spec": spec }),
        },
    )
}

#[test]
fn a_job_ends_with_a_savepoint_and_goes_on_from_it_at_another_parallelism() {
    let cluster = TestCluster::start();
    let served = Served::start(&cluster, "jm");
    let at = served.address();
    served.wait_to_lead();
    let _workers = [cluster.task_manager("a", 2), cluster.task_manager("b", 2)];
    let savepoints = cluster.directory.path().join("savepoints");
    // Little enough that no subtask runs out of splits.
    cluster.numbers.allow(ALL / 10);
    let mut job = submit(at, None, "numbers", 2).json()["jobid"].as_str().unwrap().to_owned();
    for (claim, parallelism) in [("NO_CLAIM", 3), ("CLAIM", 1), ("CLAIM", 4)] {
        wait_for_tasks(at, &job);
        let of_job = |what: &str| format!("/jobs/{job}/{what}");
        let body = json!({ "target-directory": format!("file://{}", savepoints.display()) });
        let kept = location(&operation(at, &of_job("savepoints"), &of_job("savepoints"), &body));
        assert!(kept.join("_metadata").is_file() && kept.parent() == Some(&savepoints));
        let short = format!("savepoint-{}-", &job[..6]);
        assert!(kept.file_name().unwrap().to_string_lossy().starts_with(&short));
        let checkpoint = operation(at, &of_job("checkpoints"), &of_job("checkpoints"), &json!({}));
        assert!(checkpoint["checkpointId"].as_u64().unwrap() > 0);
        let shown = get_json(at, &of_job("checkpoints"));
        assert_eq!(shown["latest"]["savepoint"]["external_path"], json!(format!("file:{}", kept.display())));
        assert_eq!(
            operation(at, "/savepoint-disposal", "/savepoint-disposal", &json!({ "savepoint-path": kept })),
            json!({})
        );
        assert!(!kept.exists());
        let again =
            operation(at, "/savepoint-disposal", "/savepoint-disposal", &json!({ "savepoint-path": kept }));
        assert!(again["failure-cause"]["stack-trace"].as_str().unwrap().contains("no savepoint"), "{again}");

        let body = json!({ "targetDirectory": savepoints, "drain": false });
        let last = location(&operation(at, &of_job("stop"), &of_job("savepoints"), &body));
        wait_for("the end", || get_json(at, &format!("/jobs/{job}/status"))["status"] == "FINISHED");
        let moved = cluster.directory.path().join("moved");
        let _ = std::fs::remove_dir_all(&moved);
        std::fs::rename(&last, &moved).unwrap();
        let submitted = go_on(at, None, &moved, claim, parallelism);
        assert_eq!(submitted.status, 201, "{submitted:?}");
        job = submitted.json()["jobid"].as_str().unwrap().to_owned();
        wait_for_tasks(at, &job);
        cluster.numbers.allow(ALL / 20);
        let checkpoints =
            || get_json(at, &format!("/jobs/{job}/checkpoints"))["counts"]["completed"].as_u64();
        wait_for("checkpoints", || checkpoints().is_some_and(|count| count > 1));
        assert_eq!(moved.exists(), claim == "NO_CLAIM", "a savepoint that is not needed any more");
        let again = go_on(at, Some(&job), &moved, claim, parallelism);
        assert_eq!((again.status, again.json()["already"].clone()), (201, json!(true)), "{again:?}");
    }
    cluster.numbers.allow(100 * ALL);
    wait_for("the end", || get_json(at, &format!("/jobs/{job}/status"))["status"] == "FINISHED");
    cluster.numbers.check();
}

#[test]
fn what_makes_no_sense_is_refused() {
    let cluster = TestCluster::start();
    let served = Served::start(&cluster, "jm");
    let at = served.address();
    served.wait_to_lead();
    let _worker = cluster.task_manager("a", 2);
    let job = submit(at, None, "numbers", 1).json()["jobid"].as_str().unwrap().to_owned();
    wait_for_tasks(at, &job);
    let unknown = "0123456789abcdef0123456789abcdef";
    let savepoints = format!("/jobs/{job}/savepoints");
    let refused = |path: &str, body: Value| {
        let answer = post(at, path, &body);
        (answer.status, answer.error())
    };
    let (status, error) = refused(&savepoints, json!({}));
    assert_eq!((status, error.contains("savepoint-dir] is not set")), (400, true), "{error}");
    let (status, error) = refused(&savepoints, json!({ "target-directory": "relative" }));
    assert_eq!((status, error.contains("absolute")), (400, true), "{error}");
    let (status, error) = refused(&savepoints, json!({ "target-directory": "s3://bucket/x" }));
    assert_eq!((status, error.contains("local")), (400, true), "{error}");
    assert_eq!(refused(&savepoints, json!({ "target-directory": 3 })).0, 400);
    assert_eq!(refused(&savepoints, json!({ "target-directory": "/x", "triggerId": "y" })).0, 400);
    assert_eq!(refused(&format!("/jobs/{unknown}/stop"), json!({ "targetDirectory": "/x" })).0, 404);
    assert_eq!(refused("/savepoint-disposal", json!({})).0, 400);
    for path in [format!("{savepoints}/{unknown}"), format!("/jobs/{job}/checkpoints/{unknown}")] {
        assert_eq!(get(at, &path).status, 404);
    }
    assert_eq!(get(at, &format!("/savepoint-disposal/{unknown}")).status, 404);

    // Where nothing can be written there is no savepoint, and the job goes on.
    let file = cluster.directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let failed = operation(at, &savepoints, &savepoints, &json!({ "target-directory": file }));
    assert!(failed["failure-cause"]["stack-trace"].as_str().unwrap().contains("file"), "{failed}");
    assert_eq!(get_json(at, &format!("/jobs/{job}/status"))["status"], "RUNNING");

    let nowhere = go_on(at, None, Path::new("/nowhere/at/all"), "NO_CLAIM", 1);
    assert_eq!((nowhere.status, nowhere.error().contains("no such directory")), (400, true), "{nowhere:?}");
}
