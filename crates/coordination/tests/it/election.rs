//! Candidates at the keeper.

use streamkeeper_coordination::election::{ElectionEvent, Office};
use streamkeeper_coordination::jobs::{JobSpec, JobStatus, JobStore, JobUpdate};
use streamkeeper_coordination::layout::Layout;
use streamkeeper_coordination::{Cluster, Error};
use streamkeeper_zookeeper::block_on;

use crate::proxy::Proxy;
use crate::{candidate, cluster, connect, granted, server, stand};

/// A job for leaders to write to.
async fn submit(cluster: &Cluster) {
    JobStore::new(cluster.clone()).submit("j1", &JobSpec::default()).await.unwrap();
}

fn status() -> [JobUpdate; 1] {
    [JobUpdate::new("j1").status(JobStatus::default())]
}

#[test]
fn the_next_takes_over_when_a_session_ends_and_everybody_knows() {
    let keeper = server(None, None);
    let address = keeper.client_address().unwrap();
    block_on(async {
        let mut known = cluster(address).await.watch_leader().await.unwrap();
        assert_eq!(*known.now(), None);
        let (first, mut a) = stand(address, "jm-a").await;
        let old = granted(&mut a).await;
        assert_eq!((old.epoch(), old.document().rpc_address.as_str()), (1, "jm-a:6123"));
        let (_second, mut b) = stand(address, "jm-b").await;
        submit(&first).await;
        old.update_jobs(&status()).await.unwrap();
        first.zookeeper().close().await;
        let new = granted(&mut b).await;
        assert_eq!(new.epoch(), 2);
        let shown = known.wait_for(|leader| leader.as_ref().is_some_and(|l| l.epoch == 2)).await.unwrap();
        assert_eq!(shown.as_ref().as_ref().map(|leader| leader.rest_address.as_str()), Some("jm-b:8081"));
        assert_eq!(a.next().await.unwrap(), ElectionEvent::Revoked);
        assert!(matches!(a.next().await, Err(Error::WatchEnded { .. })));
        new.update_jobs(&status()).await.unwrap();
    });
}

/// Waits until so many have a latch node.
async fn all_stand(cluster: &Cluster, candidates: usize) {
    while cluster.zookeeper().children(&cluster.layout().latches()).await.unwrap().0.len() < candidates {
        tokio::task::yield_now().await;
    }
}

#[test]
fn an_expired_session_revokes_and_the_candidate_stands_again() {
    let keeper = server(None, None);
    let address = keeper.client_address().unwrap();
    block_on(async {
        let (first, mut a) = stand(address, "jm-a").await;
        let old = granted(&mut a).await;
        submit(&first).await;
        let (second, mut b) = stand(address, "jm-b").await;
        all_stand(&second, 2).await;
        first.zookeeper().expire_session().await.unwrap();
        let new = granted(&mut b).await;
        old.revoked().await;
        let refused = old.update_jobs(&status()).await.unwrap_err();
        assert!(matches!(refused, Error::Deposed { epoch: 1, .. }), "{refused}");
        new.update_jobs(&status()).await.unwrap();
        // It is the next again.
        all_stand(&second, 2).await;
        second.zookeeper().expire_session().await.unwrap();
        assert_eq!(granted(&mut a).await.epoch(), 3);
    });
}

/// The leader lives, and has not noticed anything: it is fenced off all the same.
#[test]
fn a_deposed_leader_gets_no_write_through() {
    let keeper = server(None, None);
    let address = keeper.client_address().unwrap();
    block_on(async {
        let (first, mut a) = stand(address, "jm-a").await;
        let old = granted(&mut a).await;
        submit(&first).await;
        let (_second, mut b) = stand(address, "jm-b").await;
        all_stand(&first, 2).await;
        let (_third, mut c) = stand(address, "jm-c").await;
        c.depose("somebody else");
        c.depose("jm-a");
        let new = granted(&mut c).await;
        assert_eq!(new.document().leader, "jm-c");
        let refused = old.update_jobs(&status()).await.unwrap_err();
        assert!(matches!(refused, Error::Deposed { epoch: 1, .. }), "{refused}");
        old.revoked().await;
        new.update_jobs(&status()).await.unwrap();
        // The one before it in the latch leaves it in office, and comes next.
        assert_eq!(b.office(), Office::Standby);
        c.resign().await.unwrap();
        assert!(new.is_revoked());
        assert_eq!(granted(&mut b).await.epoch(), 3);
    });
}

#[test]
fn a_restart_of_the_server_suspends_and_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let keeper = server(None, Some(directory.path()));
    let address = keeper.client_address().unwrap();
    let (first, mut a) = block_on(stand(address, "jm-a"));
    let leadership = block_on(granted(&mut a));
    block_on(submit(&first));
    let (_second, b) = block_on(stand(address, "jm-b"));
    keeper.stop().unwrap();
    assert_eq!(block_on(a.next()).unwrap(), ElectionEvent::Suspended);
    assert_eq!(a.office(), Office::Suspended(leadership.clone()));
    let _keeper = server(Some(address), Some(directory.path()));
    // A write waits for the connection.
    block_on(leadership.update_jobs(&status())).unwrap();
    assert_eq!(block_on(a.next()).unwrap(), ElectionEvent::Resumed);
    assert_eq!((a.office(), b.office()), (Office::Leading(leadership), Office::Standby));
}

/// Wherever the connection is cut while it joins and takes office: it leads, with one latch node.
#[test]
fn a_lost_answer_leaves_no_second_latch_node() {
    let keeper = server(None, None);
    let address = keeper.client_address().unwrap();
    let observer = block_on(cluster(address));
    let proxy = Proxy::new(address);
    block_on(async {
        for round in 1..=12 {
            let cluster = Cluster::open(connect(proxy.address).await, Layout::default()).await.unwrap();
            let mut election =
                streamkeeper_coordination::election::Election::start(cluster.clone(), candidate("jm-a"))
                    .unwrap();
            for _ in 0..round % 6 {
                tokio::task::yield_now().await;
            }
            proxy.swallow_next_answer();
            let leadership = granted(&mut election).await;
            while !proxy.has_swallowed() {
                observer.sync().await.unwrap();
                // Something that is answered.
                cluster.sync().await.ok();
            }
            observer.sync().await.unwrap();
            let (latches, _) = observer.zookeeper().children(&observer.layout().latches()).await.unwrap();
            assert_eq!(latches, std::slice::from_ref(&leadership.document().latch), "round {round}");
            cluster.zookeeper().close().await;
        }
    });
}

#[test]
fn a_spoilt_epoch_is_replaced_and_goes_on() {
    let keeper = server(None, None);
    let address = keeper.client_address().unwrap();
    block_on(async {
        let (first, mut a) = stand(address, "jm-a").await;
        let old = granted(&mut a).await;
        submit(&first).await;
        first.zookeeper().set(&first.layout().epoch(), "me", None).await.unwrap();
        let new = granted(&mut a).await;
        assert!(old.is_revoked() && new.epoch() > old.epoch());
        new.update_jobs(&status()).await.unwrap();
    });
}
