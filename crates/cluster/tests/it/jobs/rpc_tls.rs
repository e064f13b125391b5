//! TLS between JobManagers and TaskManagers.

use super::*;
use crate::tls::{authority, files};

fn job_manager(cluster: &TestCluster, name: &str, tls: Option<TlsSettings>) -> JobManager {
    let options = JobManagerOptions { tls, ..cluster.job_manager_options(name) };
    JobManager::start(options, Arc::new(cluster.numbers.clone())).unwrap()
}

#[test]
fn a_job_runs_within_tls_and_is_adopted_within_it() {
    let cluster = TestCluster::start();
    let directory = tempfile::tempdir().unwrap();
    let ours = authority();
    let tls = |name: &str| Some(files(directory.path(), name, &ours, &ours, "127.0.0.1"));
    let first = job_manager(&cluster, "first", tls("first"));
    wait_for("a leader", || leads(&first.handle()));
    let second = job_manager(&cluster, "second", tls("second"));
    let _workers = ["a", "b"].map(|name| cluster.task_manager_with(name, 2, tls(name)));
    cluster.numbers.allow(ALL / 3);
    first.handle().submit(JOB, spec("numbers", 4)).unwrap();
    let before = placement(&wait_for_tasks(&first.handle()));
    wait_for_checkpoint(&first.handle());
    first.stop();
    let handle = second.handle();
    wait_for("another leader", || leads(&handle));
    assert_eq!(placement(&wait_for_tasks(&handle)), before, "nothing was started anew");
    assert_eq!(finish(&cluster, &handle).restarts, 0);
}

#[test]
fn who_has_no_certificate_of_the_same_authority_does_not_get_through() {
    let cluster = TestCluster::start();
    let directory = tempfile::tempdir().unwrap();
    let (ours, theirs) = (authority(), authority());
    let tls = |name: &str, issuer, trusted| Some(files(directory.path(), name, issuer, trusted, "127.0.0.1"));
    let manager = job_manager(&cluster, "jm", tls("jm", &ours, &ours));
    let handle = manager.handle();
    wait_for("a leader", || leads(&handle));
    let _strangers = [
        cluster.task_manager_with("plain", 1, None),
        cluster.task_manager_with("stranger", 1, tls("stranger", &theirs, &ours)),
        cluster.task_manager_with("distrusting", 1, tls("distrusting", &ours, &theirs)),
    ];
    wait_for("they are seen in ZooKeeper", || handle.view().unwrap().task_managers.len() == 3);
    let friend = cluster.task_manager_with("friend", 1, tls("friend", &ours, &ours));
    let connected = || {
        let view = handle.view().unwrap();
        view.task_managers.iter().filter(|t| t.connected).map(|t| t.id.clone()).collect::<Vec<_>>()
    };
    wait_for("a TaskManager", || !connected().is_empty());
    cluster.numbers.allow(ALL);
    handle.submit(JOB, spec("numbers", 1)).unwrap();
    finish(&cluster, &handle);
    assert_eq!(connected(), [friend.id()]);
}
