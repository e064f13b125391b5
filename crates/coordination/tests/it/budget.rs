//! How many transactions things cost, by the server's zxid. Sessions' own, one to begin and one to end, are told apart.

use streamkeeper_coordination::Cluster;
use streamkeeper_coordination::jobs::{
    Assignment, CheckpointPointer, JobResult, JobSpec, JobState, JobStatus, JobStore, JobUpdate,
};
use streamkeeper_coordination::membership::TaskManagerDocument;
use streamkeeper_keeper::server::Keeper;
use streamkeeper_zookeeper::block_on;

use crate::{cluster, granted, server, stand};

fn zxid(keeper: &Keeper) -> i64 {
    keeper.core().ask(|core| core.last_proposed_zxid()).unwrap()
}

/// How many transactions `work` costs.
async fn cost<T>(keeper: &Keeper, work: impl Future<Output = T>) -> (T, i64) {
    let before = zxid(keeper);
    let done = work.await;
    (done, zxid(keeper) - before)
}

#[test]
fn the_budget_is_kept() {
    let keeper = server(None, None);
    let address = keeper.client_address().unwrap();
    block_on(async {
        let client = cluster(address).await;
        let (_, opening) = cost(&keeper, cluster(address)).await;
        assert_eq!(opening, 1, "opening a cluster that is there costs its session");

        let leading = cluster(address).await;
        let start = streamkeeper_coordination::election::Election::start;
        let mut election = start(leading.clone(), crate::candidate("jm-a")).unwrap();
        let leader = granted(&mut election).await;
        let standing = zxid(&keeper);
        let (standby, mut next) = stand(address, "jm-b").await;
        while standby.zookeeper().children(&standby.layout().latches()).await.unwrap().0.len() < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(zxid(&keeper) - standing, 2, "a session and a latch node");

        let worker = cluster(address).await;
        let document = TaskManagerDocument { id: "tm-1".into(), ..TaskManagerDocument::default() };
        let (registration, joining) = cost(&keeper, async {
            let mut registration = worker.register_task_manager(&document).unwrap();
            registration.registered().await.unwrap();
            registration
        })
        .await;
        assert_eq!(joining, 1, "a TaskManager");

        let jobs = JobStore::new(client.clone());
        let mut view = leading.watch_jobs().await.unwrap();
        let (_, running) = cost(&keeper, async {
            jobs.submit("j1", &JobSpec::default()).await.unwrap();
            view.wait_for(|view| view.live().count() == 1).await.unwrap();
            let at = |state| JobStatus { state, ..JobStatus::default() };
            let assigned = JobUpdate::new("j1").assignment(Assignment::default());
            leader.update_jobs(&[assigned.status(at(JobState::Initializing))]).await.unwrap();
            leader.update_jobs(&[JobUpdate::new("j1").status(at(JobState::Running))]).await.unwrap();
        })
        .await;
        assert!(running <= 3, "{running} from submission to running");

        let (_, checkpoints) = cost(&keeper, async {
            for n in 1..=10 {
                let pointer = CheckpointPointer { retained: vec![n], ..CheckpointPointer::default() };
                leader.complete_checkpoint("j1", &pointer).await.unwrap();
            }
        })
        .await;
        assert_eq!(checkpoints, 10, "one a checkpoint");

        // Reads by everybody are no writes.
        let (_, idle) = cost(&keeper, async {
            for cluster in [&client, &leading, &standby, &worker] {
                Cluster::open(cluster.zookeeper().clone(), cluster.layout().clone()).await.unwrap();
                cluster.watch_leader().await.unwrap();
                cluster.watch_task_managers().await.unwrap();
                cluster.watch_jobs().await.unwrap();
            }
            jobs.submit("j1", &JobSpec::default()).await.unwrap();
            jobs.get("j1").await.unwrap();
            // Longer than it takes to ping.
            tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        })
        .await;
        assert_eq!(idle, 0, "an idle cluster writes nothing");

        let (new, change) = cost(&keeper, async {
            leading.zookeeper().close().await;
            granted(&mut next).await
        })
        .await;
        assert_eq!(change, 2, "a leader change: the old session's end, and taking office");
        let result = JobResult { state: JobState::Finished, ..JobResult::default() };
        let (_, ending) = cost(&keeper, async { new.end_job("j1", &result).await.unwrap() }).await;
        assert_eq!(ending, 1, "a job's end");
        drop(registration);
    });
}

#[test]
fn deposing_costs_one_transaction() {
    let keeper = server(None, None);
    let address = keeper.client_address().unwrap();
    block_on(async {
        let (_first, mut a) = stand(address, "jm-a").await;
        granted(&mut a).await;
        let (_second, mut b) = stand(address, "jm-b").await;
        while b_latches(&_second).await < 2 {
            tokio::task::yield_now().await;
        }
        let (_, change) = cost(&keeper, async {
            b.depose("jm-a");
            granted(&mut b).await
        })
        .await;
        // The deposed one may have a new latch node by then.
        assert!(change <= 2, "{change}");
    });
}

async fn b_latches(cluster: &Cluster) -> usize {
    cluster.zookeeper().children(&cluster.layout().latches()).await.unwrap().0.len()
}
