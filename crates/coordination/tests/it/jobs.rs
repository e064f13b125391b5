//! Jobs from submission to result.

use std::collections::BTreeMap;

use serde_json::json;
use streamkeeper_coordination::Error;
use streamkeeper_coordination::jobs::{
    Assignment, DesiredState, JobResult, JobSpec, JobState, JobStatus, JobStore, JobUpdate, RegionAssignment,
    Submitted,
};
use streamkeeper_coordination::layout::JobPart;
use streamkeeper_zookeeper::{State, block_on};

use crate::{cluster, granted, server, stand};

fn spec(name: &str) -> JobSpec {
    JobSpec { name: name.into(), statements: vec!["SELECT 1".into()], ..JobSpec::default() }
}

fn result(state: JobState, ended_ms: u64) -> JobResult {
    JobResult { state, name: "etl".into(), ended_ms, ..JobResult::default() }
}

#[test]
fn a_job_is_submitted_once() {
    let keeper = server(None, None);
    let jobs = JobStore::new(block_on(cluster(keeper.client_address().unwrap())));
    block_on(async {
        let first = JobSpec { submitted_ms: 1, ..spec("etl") };
        assert_eq!(jobs.submit("j1", &first).await.unwrap(), Submitted::New);
        let again = JobSpec { submitted_ms: 2, ..spec("etl") };
        assert_eq!(jobs.submit("j1", &again).await.unwrap(), Submitted::AlreadyThere);
        let other = jobs.submit("j1", &spec("other")).await.unwrap_err();
        assert!(matches!(&other, Error::JobExists { job } if job == "j1"), "{other}");
        assert_eq!(jobs.get("j1").await.unwrap().spec.unwrap().value, first);
        let name = jobs.submit("a/b", &spec("etl")).await.unwrap_err();
        assert!(matches!(name, Error::InvalidName { .. }), "{name}");
        let large = JobSpec { statements: vec!["x".repeat(300_000)], ..spec("large") };
        let refused = jobs.submit("j2", &large).await.unwrap_err().to_string();
        assert!(refused.contains("jobs/j2/spec") && refused.contains("the limit is 262144"), "{refused}");
        assert!(matches!(jobs.get("j2").await.unwrap_err(), Error::NoJob { .. }));
        assert!(matches!(jobs.cancel("j2").await.unwrap_err(), Error::NoJob { .. }));
    });
}

#[test]
fn a_submission_whose_answer_is_lost_is_one_job() {
    let keeper = server(None, None);
    let proxy = crate::proxy::Proxy::new(keeper.client_address().unwrap());
    let jobs = JobStore::new(block_on(cluster(proxy.address)));
    block_on(async {
        for n in 0..20 {
            let id = format!("j{n}");
            proxy.swallow_next_answer();
            // A connection that is lost before anything was sent is an error.
            while let Err(error) = jobs.submit(&id, &spec("etl")).await {
                assert!(matches!(error, Error::ZooKeeper(_) | Error::Unresolved { .. }), "{error}");
            }
            assert_eq!(jobs.submit(&id, &spec("etl")).await.unwrap(), Submitted::AlreadyThere);
        }
        assert_eq!(jobs.list().await.unwrap().live().count(), 20);
    });
}

#[test]
fn everybody_sees_a_job_run_and_end() {
    let keeper = server(None, None);
    let address = keeper.client_address().unwrap();
    block_on(async {
        let (_leading, mut election) = stand(address, "jm-a").await;
        let leader = granted(&mut election).await;
        let client = cluster(address).await;
        let jobs = JobStore::new(client.clone());
        let mut view = client.watch_jobs().await.unwrap();
        assert_eq!(view.now().jobs().count(), 0);
        for id in ["j1", "j2"] {
            jobs.submit(id, &spec(id)).await.unwrap();
        }
        let region = RegionAssignment {
            generation: 1,
            subtasks: BTreeMap::from([("source".to_owned(), vec!["tm-1".to_owned(), "tm-2".to_owned()])]),
            ..RegionAssignment::default()
        };
        let assignment = Assignment { regions: vec![region], ..Assignment::default() };
        let running = JobStatus { state: JobState::Running, ..JobStatus::default() };
        let update = |id: &str| JobUpdate::new(id).assignment(assignment.clone()).status(running.clone());
        leader.update_jobs(&[update("j2"), update("j1")]).await.unwrap();
        let state = |view: &streamkeeper_coordination::jobs::JobsView, id: &str| {
            view.job(id).and_then(|job| job.status.as_ref()).map(|status| status.value.state)
        };
        let now = view
            .wait_for(|view| ["j1", "j2"].iter().all(|id| state(view, id) == Some(JobState::Running)))
            .await
            .unwrap();
        assert_eq!(now.job("j1").unwrap().assignment.as_ref().unwrap().value, assignment);
        let wished = now.job("j1").unwrap().desired.clone();
        jobs.cancel("j1").await.unwrap();
        jobs.cancel("j1").await.unwrap();
        let unseen = JobUpdate { desired: wished, ..update("j1") };
        let refused = leader.update_jobs(&[unseen]).await.unwrap_err();
        assert!(matches!(refused, Error::Changed { .. }), "{refused}");
        view.wait_for(|view| {
            let desired = view.job("j1").and_then(|job| job.desired.as_ref());
            desired.is_some_and(|desired| desired.value.state == DesiredState::Canceled)
        })
        .await
        .unwrap();
        let early = leader.end_job("j1", &result(JobState::Running, 1)).await.unwrap_err();
        assert!(matches!(early, Error::InvalidDocument { .. }), "{early}");
        let end = result(JobState::Canceled, 5);
        leader.end_job("j1", &end).await.unwrap();
        leader.end_job("j1", &end).await.unwrap();
        let now = view
            .wait_for(|view| view.job("j1").is_some_and(|job| job.result.is_some() && job.spec.is_none()))
            .await
            .unwrap();
        assert_eq!(now.live().map(|(id, _)| id).collect::<Vec<_>>(), ["j2"]);
        let (children, _) = client.zookeeper().children(&client.layout().job("j1")).await.unwrap();
        assert_eq!(children, ["result"], "nothing else is kept");
        // It is never run again.
        let refused = jobs.submit("j1", &spec("j1")).await.unwrap_err();
        assert!(matches!(&refused, Error::JobEnded { result, .. } if **result == end), "{refused}");
        assert!(matches!(jobs.cancel("j1").await.unwrap_err(), Error::JobEnded { .. }));
        let other = leader.end_job("j1", &result(JobState::Failed, 6)).await.unwrap_err();
        assert!(matches!(other, Error::JobEnded { .. }), "{other}");
        let late = leader.update_jobs(&[update("j1")]).await.unwrap_err();
        assert!(matches!(late, Error::NoJob { .. }), "{late}");
    });
}

#[test]
fn the_oldest_results_make_room() {
    let keeper = server(None, None);
    let address = keeper.client_address().unwrap();
    block_on(async {
        let (cluster, mut election) = stand(address, "jm-a").await;
        let leader = granted(&mut election).await;
        let jobs = JobStore::new(cluster.clone());
        let view = cluster.watch_jobs().await.unwrap();
        for n in [3, 1, 2, 5, 4_u64] {
            let id = format!("j{n}");
            jobs.submit(&id, &spec(&id)).await.unwrap();
            leader.end_job_keeping(&id, &result(JobState::Finished, n), 3).await.unwrap();
        }
        let kept = view.clone().wait_for(|view| view.jobs().count() == 3).await.unwrap();
        assert_eq!(kept.jobs().map(|(id, _)| id).collect::<Vec<_>>(), ["j3", "j4", "j5"]);
        // The next leader reads them. One that a foreign hand has put something below stays, and does no harm.
        let foreign = format!("{}/note", cluster.layout().job("j3"));
        let zookeeper = cluster.zookeeper();
        zookeeper.create(&foreign, "", streamkeeper_zookeeper::CreateMode::Persistent).await.unwrap();
        let (_other, mut next) = stand(address, "jm-b").await;
        next.depose("jm-a");
        let next = granted(&mut next).await;
        jobs.submit("j6", &spec("j6")).await.unwrap();
        next.end_job_keeping("j6", &result(JobState::Failed, 6), 3).await.unwrap();
        zookeeper.delete(&foreign, None).await.unwrap();
        jobs.submit("j7", &spec("j7")).await.unwrap();
        next.end_job_keeping("j7", &result(JobState::Failed, 7), 3).await.unwrap();
        let kept = view.clone().wait_for(|view| view.jobs().count() == 3).await.unwrap();
        assert_eq!(kept.jobs().map(|(id, _)| id).collect::<Vec<_>>(), ["j5", "j6", "j7"]);
    });
}

/// A plain shell writes nonsense: it is shown as a problem, what was there stays in force, and the leader's next write repairs it.
#[test]
fn a_foreign_edit_is_ignored_shown_and_replaced() {
    let keeper = server(None, None);
    let address = keeper.client_address().unwrap();
    block_on(async {
        let (cluster, mut election) = stand(address, "jm-a").await;
        let leader = granted(&mut election).await;
        JobStore::new(cluster.clone()).submit("j1", &spec("etl")).await.unwrap();
        let running = JobStatus { state: JobState::Running, ..JobStatus::default() };
        let update = JobUpdate::new("j1").status(running.clone());
        leader.update_jobs(std::slice::from_ref(&update)).await.unwrap();
        let mut view = cluster.watch_jobs().await.unwrap();
        let path = cluster.layout().job_document("j1", JobPart::Status);
        cluster.zookeeper().set(&path, "broken", None).await.unwrap();
        let now = view.wait_for(|view| !view.job("j1").unwrap().problems.is_empty()).await.unwrap();
        assert_eq!(now.job("j1").unwrap().status.as_ref().unwrap().value, running);
        leader.update_jobs(&[update]).await.unwrap();
        let now = view.wait_for(|view| view.job("j1").unwrap().problems.is_empty()).await.unwrap();
        assert_eq!(now.job("j1").unwrap().status.as_ref().unwrap().version, 3);
    });
}

/// More than one request holds: several transactions, and all is written.
#[test]
fn many_large_assignments_are_written() {
    let keeper = server(None, None);
    let address = keeper.client_address().unwrap();
    block_on(async {
        let (cluster, mut election) = stand(address, "jm-a").await;
        let leader = granted(&mut election).await;
        let jobs = JobStore::new(cluster.clone());
        let ids: Vec<String> = (0..20).map(|n| format!("j{n}")).collect();
        let mut updates = Vec::new();
        for id in &ids {
            jobs.submit(id, &spec(id)).await.unwrap();
            let details = json!("x".repeat(100_000));
            updates
                .push(JobUpdate::new(id.clone()).assignment(Assignment { details, ..Assignment::default() }));
        }
        leader.update_jobs(&updates).await.unwrap();
        for id in &ids {
            assert_eq!(jobs.get(id).await.unwrap().assignment.unwrap().version, 1);
        }
    });
}

#[test]
fn a_watcher_ends_with_the_last_state_across_a_restart_of_the_server() {
    let directory = tempfile::tempdir().unwrap();
    let keeper = server(None, Some(directory.path()));
    let address = keeper.client_address().unwrap();
    let jobs = JobStore::new(block_on(cluster(address)));
    block_on(jobs.submit("j1", &spec("etl"))).unwrap();
    let mut view = block_on(block_on(cluster(address)).watch_jobs()).unwrap();
    keeper.stop().unwrap();
    let keeper = server(Some(address), Some(directory.path()));
    block_on(async {
        // Through a session of its own, which sees no interruption.
        let late = JobStore::new(cluster(address).await);
        late.cancel("j1").await.unwrap();
        late.submit("j2", &spec("late")).await.unwrap();
        view.wait_for(|view| {
            let canceled = view.job("j1").and_then(|job| job.desired.as_ref());
            canceled.is_some_and(|d| d.value.state == DesiredState::Canceled) && view.job("j2").is_some()
        })
        .await
        .unwrap();
    });
    keeper.stop().unwrap();
}

#[test]
fn what_happens_while_a_watcher_is_away_is_seen_after_it() {
    let keeper = server(None, None);
    let address = keeper.client_address().unwrap();
    let proxy = crate::proxy::Proxy::new(address);
    block_on(async {
        let here = cluster(address).await;
        let jobs = JobStore::new(here.clone());
        jobs.submit("gone", &spec("gone")).await.unwrap();
        jobs.submit("stays", &spec("stays")).await.unwrap();
        let away = cluster(proxy.address).await;
        let mut view = away.watch_jobs().await.unwrap();
        assert_eq!(view.now().live().count(), 2);
        let mut status = away.zookeeper().watch_status();
        proxy.refuse(true);
        proxy.swallow_next_answer();
        // Something that is answered.
        tokio::spawn(async move { while away.sync().await.is_ok() {} });
        status.wait_for(|status| status.state == State::Suspended).await.unwrap();
        for part in JobPart::LIVE {
            let path = here.layout().job_document("gone", part);
            here.zookeeper().delete(&path, None).await.unwrap();
        }
        here.zookeeper().delete(&here.layout().job("gone"), None).await.unwrap();
        jobs.submit("new", &spec("new")).await.unwrap();
        proxy.refuse(false);
        let seen = view.changed().await.unwrap();
        assert_eq!(seen.jobs().map(|(id, _)| id).collect::<Vec<_>>(), ["new", "stays"]);
    });
}

/// While somebody writes as fast as he can, and connections come and go, nothing that was written is missing in the end.
#[test]
fn no_change_is_lost_in_a_storm() {
    let keeper = server(None, None);
    let address = keeper.client_address().unwrap();
    let proxy = crate::proxy::Proxy::new(address);
    let writer = std::thread::spawn(move || {
        let jobs = JobStore::new(block_on(cluster(address)));
        for n in 0..200 {
            block_on(jobs.submit(&format!("j{n}"), &spec("etl"))).unwrap();
            if n % 2 == 0 {
                block_on(jobs.cancel(&format!("j{n}"))).unwrap();
            }
        }
    });
    let mut view = block_on(block_on(cluster(proxy.address)).watch_jobs()).unwrap();
    while !writer.is_finished() {
        proxy.swallow_next_answer();
        std::thread::yield_now();
    }
    writer.join().unwrap();
    block_on(view.wait_for(|view| {
        let canceled = |job: &streamkeeper_coordination::jobs::Job| {
            job.desired.as_ref().is_some_and(|desired| desired.value.state == DesiredState::Canceled)
        };
        view.live().count() == 200 && view.jobs().filter(|(_, job)| canceled(job)).count() == 100
    }))
    .unwrap();
}
