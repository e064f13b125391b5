//! A leader's writes when the answer does not come.

use streamkeeper_coordination::election::{Election, ElectionEvent};
use streamkeeper_coordination::jobs::{CheckpointPointer, JobSpec, JobStore, Moved};
use streamkeeper_coordination::layout::Layout;
use streamkeeper_coordination::{Cluster, Error};
use streamkeeper_zookeeper::{Error as ZkError, Options, ZooKeeper, block_on};

use crate::proxy::Proxy;
use crate::{candidate, cluster, connect, granted, server, stand};

fn pointer(ids: std::ops::RangeInclusive<u64>) -> CheckpointPointer {
    CheckpointPointer { lineage: "l".into(), directory: "file:///c".into(), retained: ids.collect() }
}

#[test]
fn a_lost_answer_is_looked_up() {
    let keeper = server(None, None);
    let address = keeper.client_address().unwrap();
    let proxy = Proxy::new(address);
    block_on(async {
        let leading = Cluster::open(connect(proxy.address).await, Layout::default()).await.unwrap();
        let mut election = Election::start(leading.clone(), candidate("jm-a")).unwrap();
        let leadership = granted(&mut election).await;
        let jobs = JobStore::new(cluster(address).await);
        jobs.submit("j1", &JobSpec::default()).await.unwrap();
        for n in 1..=20 {
            proxy.swallow_next_answer();
            let moved = leadership.complete_checkpoint("j1", &pointer(1..=n)).await.unwrap();
            assert_eq!(moved, Moved::Written);
            let stored = jobs.get("j1").await.unwrap().checkpoint.unwrap();
            assert_eq!(stored.value, pointer(1..=n));
            assert_eq!(u64::try_from(stored.version).unwrap(), n, "each was written once");
        }
        assert!(!leadership.is_revoked());
    });
}

/// The leader is cut off with a write on its way, and deposed meanwhile: what it is told of its write is what became of it.
#[test]
fn a_write_that_ends_with_the_office_is_told_rightly() {
    let keeper = server(None, None);
    let address = keeper.client_address().unwrap();
    block_on(async {
        let jobs = JobStore::new(cluster(address).await);
        jobs.submit("j1", &JobSpec::default()).await.unwrap();
        for n in 1..=10 {
            let proxy = Proxy::new(address);
            let leading = Cluster::open(connect(proxy.address).await, Layout::default()).await.unwrap();
            let old_id = format!("old-{n}");
            let mut election = Election::start(leading, candidate(&old_id)).unwrap();
            let old = granted(&mut election).await;
            let (_cluster, mut next) = stand(address, &format!("new-{n}")).await;
            let new_pointer = pointer(1..=n);
            proxy.refuse(true);
            proxy.swallow_next_answer();
            let write = tokio::spawn({
                let (old, pointer) = (old.clone(), new_pointer.clone());
                async move { old.complete_checkpoint("j1", &pointer).await }
            });
            while !proxy.has_swallowed() {
                tokio::task::yield_now().await;
            }
            next.depose(&old_id);
            granted(&mut next).await;
            proxy.refuse(false);
            let told = write.await.unwrap();
            jobs.list().await.unwrap();
            let written = jobs.get("j1").await.unwrap().checkpoint.unwrap().value == new_pointer;
            match told {
                Ok(_) => assert!(written, "round {n}"),
                Err(Error::Deposed { .. }) => assert!(!written, "round {n}"),
                Err(error) => panic!("round {n}: {error}"),
            }
            next.resign().await.unwrap();
            election.resign().await.unwrap();
        }
    });
}

/// The leader is cut off, and another takes its place; its write is sent as soon as it is back, before it can have learned of that.
#[test]
fn who_was_deposed_while_away_gets_no_write_through() {
    let keeper = server(None, None);
    let address = keeper.client_address().unwrap();
    block_on(async {
        let proxy = Proxy::new(address);
        let jobs = JobStore::new(cluster(address).await);
        jobs.submit("j1", &JobSpec::default()).await.unwrap();
        let leading = Cluster::open(connect(proxy.address).await, Layout::default()).await.unwrap();
        let mut election = Election::start(leading.clone(), candidate("jm-a")).unwrap();
        let old = granted(&mut election).await;
        proxy.refuse(true);
        proxy.swallow_next_answer();
        // Something that is answered.
        tokio::spawn(async move { while leading.sync().await.is_ok() {} });
        assert_eq!(election.next().await.unwrap(), ElectionEvent::Suspended);
        let (_cluster, mut next) = stand(address, "jm-b").await;
        next.depose("jm-a");
        let new = granted(&mut next).await;
        assert!(!old.is_revoked(), "it cannot know");
        let write = tokio::spawn({
            let old = old.clone();
            async move { old.complete_checkpoint("j1", &pointer(1..=1)).await }
        });
        proxy.refuse(false);
        let refused = write.await.unwrap().unwrap_err();
        assert!(matches!(refused, Error::Deposed { epoch: 1, .. }), "{refused}");
        assert!(old.is_revoked());
        new.complete_checkpoint("j1", &pointer(1..=2)).await.unwrap();
        assert_eq!(jobs.get("j1").await.unwrap().checkpoint.unwrap().version, 1);
    });
}

#[test]
fn without_a_connection_nothing_is_sent_and_the_error_says_so() {
    let keeper = server(None, None);
    let address = keeper.client_address().unwrap();
    let proxy = Proxy::new(address);
    block_on(async {
        let options = Options {
            operation_timeout: std::time::Duration::from_millis(300),
            ..connect(address).await.options().clone()
        };
        let options = Options { quorum: proxy.address.to_string(), ..options };
        let zookeeper = ZooKeeper::connect(options).await.unwrap();
        let leading = Cluster::open(zookeeper, Layout::default()).await.unwrap();
        let mut election = Election::start(leading.clone(), candidate("jm-a")).unwrap();
        let leadership = granted(&mut election).await;
        let jobs = JobStore::new(cluster(address).await);
        jobs.submit("j1", &JobSpec::default()).await.unwrap();
        leadership.complete_checkpoint("j1", &pointer(1..=1)).await.unwrap();
        proxy.refuse(true);
        proxy.swallow_next_answer();
        // The answer is swallowed, and then there is no way to look.
        let unknown = leadership.complete_checkpoint("j1", &pointer(1..=2)).await.unwrap_err();
        assert!(matches!(unknown, Error::Unresolved { .. }), "{unknown}");
        let suspended = leadership.complete_checkpoint("j1", &pointer(1..=2)).await.unwrap_err();
        assert!(matches!(suspended, Error::ZooKeeper(ZkError::Suspended { .. })), "{suspended}");
        proxy.refuse(false);
        leading.zookeeper().connected(std::time::Duration::from_secs(30)).await.unwrap();
        // It had been written.
        let again = leadership.complete_checkpoint("j1", &pointer(1..=2)).await.unwrap();
        assert_eq!(again, Moved::AlreadyThere);
        leadership.complete_checkpoint("j1", &pointer(1..=3)).await.unwrap();
    });
}

#[test]
fn a_pointer_never_goes_back() {
    let keeper = server(None, None);
    let address = keeper.client_address().unwrap();
    block_on(async {
        let (cluster, mut election) = stand(address, "jm-a").await;
        let leadership = granted(&mut election).await;
        let jobs = JobStore::new(cluster.clone());
        jobs.submit("j1", &JobSpec::default()).await.unwrap();
        leadership.complete_checkpoint("j1", &pointer(4..=7)).await.unwrap();
        assert_eq!(leadership.complete_checkpoint("j1", &pointer(4..=7)).await.unwrap(), Moved::AlreadyThere);
        for lower in [pointer(4..=6), pointer(6..=7)] {
            let refused = leadership.complete_checkpoint("j1", &lower).await.unwrap_err();
            assert!(matches!(refused, Error::CheckpointGoesBack { latest: 7, .. }), "{refused}");
        }
        let mut unordered = pointer(4..=8);
        unordered.retained.swap(0, 1);
        for invalid in [unordered, CheckpointPointer::default()] {
            let refused = leadership.complete_checkpoint("j1", &invalid).await.unwrap_err();
            assert!(matches!(refused, Error::InvalidDocument { .. }), "{refused}");
        }
        let missing = leadership.complete_checkpoint("j2", &pointer(1..=1)).await.unwrap_err();
        assert!(matches!(missing, Error::NoJob { .. }), "{missing}");
        // A foreign hand has moved it on: so it stays.
        let path = "/streamkeeper/default/jobs/j1/checkpoint";
        cluster.zookeeper().set(path, r#"{"v":1,"retained":[20]}"#, None).await.unwrap();
        let refused = leadership.complete_checkpoint("j1", &pointer(4..=8)).await.unwrap_err();
        assert!(matches!(refused, Error::CheckpointGoesBack { latest: 20, new: 8, .. }), "{refused}");
        // Another leader knows no more than what is written.
        let (_other, mut next) = stand(address, "jm-b").await;
        next.depose("jm-a");
        let next = granted(&mut next).await;
        let refused = next.complete_checkpoint("j1", &pointer(4..=8)).await.unwrap_err();
        assert!(matches!(refused, Error::CheckpointGoesBack { latest: 20, .. }), "{refused}");
        let refused = leadership.complete_checkpoint("j1", &pointer(4..=21)).await.unwrap_err();
        assert!(matches!(refused, Error::Deposed { .. }), "{refused}");
    });
}
