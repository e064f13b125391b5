//! What Prometheus and probes are told: by the leader of all, by a standby of itself.

use super::client::get;
use super::leader::{Served, submit, wait_for_tasks};
use crate::jobs::numbers::ALL;
use crate::jobs::{TestCluster, wait_for};

/// The value of the one sample whose line begins so.
fn sample(text: &str, begin: &str) -> Option<f64> {
    let mut lines = text.lines().filter(|line| line.starts_with(begin));
    let value = lines.next()?.rsplit_once(' ')?.1.parse().ok()?;
    assert_eq!(lines.next(), None, "{begin}");
    Some(value)
}

#[test]
fn the_leader_tells_of_all_and_a_standby_of_itself() {
    let cluster = TestCluster::start();
    let first = Served::start(&cluster, "first");
    first.wait_to_lead();
    let second = Served::start(&cluster, "second");
    let _worker = cluster.task_manager("a", 2);
    cluster.numbers.allow(ALL / 3);
    let job = submit(first.address(), None, "my numbers", 2).json()["jobid"].as_str().unwrap().to_owned();
    wait_for_tasks(first.address(), &job);
    let scraped = || get(first.address(), "/metrics");
    let of_job = |name: &str| format!("flink_jobmanager_job_{name}{{job_id=\"{job}\"");
    wait_for("a checkpoint is counted", || {
        sample(&scraped().text, &of_job("numberOfCompletedCheckpoints")) > Some(0.0)
    });
    let answer = scraped();
    assert!(answer.head.contains("text/plain; version=0.0.4"), "{}", answer.head);
    let text = answer.text;
    for (name, value) in [
        ("flink_jobmanager_numRegisteredTaskManagers{", 1.0),
        ("flink_jobmanager_taskSlotsTotal{", 2.0),
        ("flink_jobmanager_taskSlotsAvailable{", 0.0),
        ("flink_jobmanager_numRunningJobs{", 1.0),
        ("streamkeeper_jobmanager_leads ", 1.0),
        ("streamkeeper_zookeeper_connected ", 1.0),
        (of_job("numRestarts").as_str(), 0.0),
    ] {
        assert_eq!(sample(&text, name), Some(value), "{name}\n{text}");
    }
    assert!(text.contains("job_name=\"my_numbers\"}"), "{text}");
    let tasks = text.lines().filter(|line| line.starts_with("flink_taskmanager_job_task_numRecordsIn{"));
    assert!(tasks.count() >= 2, "{text}");

    wait_for("the standby is ready", || get(second.address(), "/readyz").status == 200);
    let standby = get(second.address(), "/metrics").text;
    assert_eq!(sample(&standby, "streamkeeper_jobmanager_leads "), Some(0.0));
    assert_eq!(sample(&standby, "flink_jobmanager_numRunningJobs"), None, "{standby}");

    // The leader ends; whoever lives says so, and is ready again when it leads.
    first.manager.stop();
    assert_eq!(get(first.rest.address(), "/healthz").status, 503);
    assert_eq!(get(second.address(), "/healthz").status, 200);
    second.wait_to_lead();
    let ready = get(second.address(), "/readyz");
    assert_eq!((ready.status, &ready.json()["leads"]), (200, &true.into()));
}
