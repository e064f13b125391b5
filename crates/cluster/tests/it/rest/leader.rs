//! What a leader answers, and what a standby has it answer.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};
use streamkeeper_cluster::{JobManager, RestListener, RestOptions, RestServer};

use super::client::{Answer, get, json as get_json, send, send_with};
use crate::jobs::numbers::ALL;
use crate::jobs::{TestCluster, leads, wait_for};

/// A JobManager with its REST API.
pub(super) struct Served {
    pub(super) manager: JobManager,
    pub(super) rest: RestServer,
}

impl Served {
    pub(super) fn start(cluster: &TestCluster, name: &str) -> Self {
        Self::with(cluster, name, RestOptions::default())
    }

    pub(super) fn with(cluster: &TestCluster, name: &str, rest: RestOptions) -> Self {
        let listener = RestListener::bind("127.0.0.1:0").unwrap();
        let mut options = cluster.job_manager_options(name);
        options.rest_address = listener.address().to_string();
        let manager = JobManager::start(options, Arc::new(cluster.numbers.clone())).unwrap();
        let rest = listener.serve(manager.handle(), rest).unwrap();
        Self { manager, rest }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.rest.address()
    }

    pub(super) fn wait_to_lead(&self) {
        wait_for("a leader", || leads(&self.manager.handle()));
    }
}

pub(super) fn submit(address: SocketAddr, id: Option<&str>, name: &str, parallelism: u32) -> Answer {
    let configuration = json!({ "execution.checkpointing.interval": "100ms" });
    let spec = json!({ "name": name, "kind": "program", "parallelism": parallelism, "configuration": configuration });
    let body = match id {
        Some(id) => json!({ "id": id, "spec": spec }),
        None => json!({ "spec": spec }),
    };
    send(address, "POST", "/v1/streamkeeper/jobs", body.to_string().as_bytes())
}

/// Waits until all tasks of a job run.
pub(super) fn wait_for_tasks(address: SocketAddr, job: &str) -> Value {
    let path = format!("/jobs/{job}");
    wait_for("all tasks run", || {
        let details = get_json(address, &path);
        let tasks =
            details["vertices"].as_array().unwrap().iter().map(|v| v["parallelism"].as_u64().unwrap());
        let tasks: u64 = tasks.sum();
        tasks > 0 && details["status-counts"]["RUNNING"] == json!(tasks)
    });
    get_json(address, &path)
}

#[test]
fn a_job_is_submitted_seen_and_canceled() {
    let cluster = TestCluster::start();
    let served = Served::start(&cluster, "jm");
    let at = served.address();
    served.wait_to_lead();
    let worker = cluster.task_manager("a", 2);
    cluster.numbers.allow(ALL / 3);
    let submitted = submit(at, None, "numbers", 2);
    assert_eq!((submitted.status, &submitted.json()["already"]), (201, &json!(false)), "{submitted:?}");
    let job = submitted.json()["jobid"].as_str().unwrap().to_owned();
    let again = submit(at, Some(&job), "numbers", 2);
    assert_eq!((again.status, again.json()), (201, json!({ "jobid": job, "already": true })));
    let other = submit(at, Some(&job), "numbers", 1);
    assert_eq!((other.status, other.error().contains("another spec")), (409, true), "{other:?}");

    let details = wait_for_tasks(at, &job);
    let tasks = details["status-counts"]["RUNNING"].as_u64().unwrap();
    assert_eq!(details["state"], "RUNNING");
    assert_eq!(get_json(at, &format!("/v1/jobs/{job}/status")), json!({ "status": "RUNNING" }));
    assert_eq!(get_json(at, "/jobs"), json!({ "jobs": [{ "id": job, "status": "RUNNING" }] }));
    let overview = get_json(at, "/overview");
    let slots =
        ["taskmanagers", "slots-total", "slots-available", "jobs-running"].map(|key| overview[key].as_u64());
    assert_eq!(slots, [Some(1), Some(2), Some(0), Some(1)]);
    let jobs = get_json(at, "/jobs/overview");
    assert_eq!(jobs["jobs"][0]["tasks"]["running"], json!(tasks));
    let task_managers = get_json(at, "/taskmanagers");
    assert_eq!(task_managers["taskmanagers"][0]["assignedTasks"], json!(tasks));
    let details = get_json(at, &format!("/taskmanagers/{}", worker.id()));
    assert_eq!(details["allocatedSlots"][0]["jobId"], json!(job));
    let ours = get_json(at, &format!("/v1/streamkeeper/jobs/{job}"));
    assert_eq!(ours["vertices"][0]["subtasks"][1]["taskmanager"], json!(worker.id()));

    let canceled = send(at, "PATCH", &format!("/jobs/{job}?mode=cancel"), b"");
    assert_eq!((canceled.status, canceled.json()), (202, json!({})));
    wait_for("the end", || get_json(at, &format!("/jobs/{job}/status"))["status"] == "CANCELED");
    let ended = submit(at, Some(&job), "numbers", 2);
    assert_eq!((ended.status, ended.error().contains("CANCELED")), (409, true), "{ended:?}");
}

#[test]
fn a_standby_has_the_leader_answer_and_says_when_there_is_none() {
    let cluster = TestCluster::start();
    let first = Served::start(&cluster, "first");
    first.wait_to_lead();
    let second = Served::start(&cluster, "second");
    let leader = |served: &Served| get_json(served.address(), "/v1/streamkeeper/leader");
    wait_for("the standby knows the leader", || leader(&second)["leader"]["epoch"] == json!(1));
    let (own, other) = (leader(&first), leader(&second));
    assert_eq!((&own["leads"], &other["leads"]), (&json!(true), &json!(false)));
    assert_eq!(other["leader"]["rest_address"], json!(first.address().to_string()));

    let submitted = submit(second.address(), None, "numbers", 1);
    assert_eq!(submitted.status, 201, "{submitted:?}");
    let path = format!("/jobs/{}", submitted.json()["jobid"].as_str().unwrap());
    assert_eq!(get_json(second.address(), &path)["name"], "numbers");
    let unknown = get(second.address(), "/jobs/00000000000000000000000000000000");
    assert_eq!(
        (unknown.status, unknown.error().as_str()),
        (404, "Job 00000000000000000000000000000000 not found")
    );

    let hopped =
        send_with(second.address(), "GET", "/overview", "X-Streamkeeper-Forwarded-By: third\r\n", b"");
    assert_eq!(
        (hopped.status, hopped.error().contains("leader election")),
        (503, true),
        "one hop: {hopped:?}"
    );

    // Its REST API ends before anybody else leads.
    let Served { manager, rest } = first;
    drop(rest);
    let nobody = get(second.address(), "/overview");
    assert_eq!((nobody.status, nobody.error().contains("leader")), (503, true), "{nobody:?}");
    manager.stop();
    second.wait_to_lead();
    assert_eq!(get_json(second.address(), &path)["name"], "numbers");
}

#[test]
fn what_has_failed_is_shown_and_what_was_restored() {
    let cluster = TestCluster::start();
    let served = Served::start(&cluster, "jm");
    let at = served.address();
    served.wait_to_lead();
    let lost = cluster.task_manager("a", 2);
    cluster.numbers.allow(ALL / 3);
    let job = submit(at, None, "numbers", 2).json()["jobid"].as_str().unwrap().to_owned();
    wait_for_tasks(at, &job);
    let checkpoints = || get_json(at, &format!("/jobs/{job}/checkpoints"));
    wait_for("a checkpoint", || checkpoints()["counts"]["completed"].as_u64() > Some(0));
    assert_eq!(get_json(at, &format!("/jobs/{job}/exceptions"))["exceptionHistory"]["entries"], json!([]));
    let id = lost.id().to_owned();
    drop(lost);
    let failures = || get_json(at, &format!("/jobs/{job}/exceptions"))["exceptionHistory"]["entries"].clone();
    wait_for("a failure", || failures()[0].is_object());
    let failure = failures()[0].clone();
    assert_eq!(
        (&failure["exceptionName"], &failure["taskManagerId"]),
        (&json!("TaskManagerLost"), &json!(id))
    );
    assert_eq!(
        get_json(at, &format!("/jobs/{job}/exceptions?maxExceptions=0"))["exceptionHistory"]["truncated"],
        true
    );
    let _other = cluster.task_manager("b", 2);
    wait_for("it is restored", || checkpoints()["latest"]["restored"]["id"].as_u64() > Some(0));
    let running = wait_for_tasks(at, &job);
    let vertex = running["vertices"][0]["id"].as_str().unwrap();
    let subtask = get_json(at, &format!("/jobs/{job}/vertices/{vertex}/subtasks/1"));
    assert_eq!((&subtask["status"], subtask["attempt"].as_u64() > Some(0)), (&json!("RUNNING"), true));
    assert_eq!(get(at, &format!("/jobs/{job}/vertices/{vertex}/subtasks/1/attempts/0")).status, 404);
    assert_eq!(get(at, &format!("/jobs/{job}/vertices/{vertex}/subtasks/2")).status, 404);
}
