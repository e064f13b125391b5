//! What a session survives, and what ends it.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use streamkeeper_zookeeper::{CreateMode, Error, Options, State, ZooKeeper, block_on};

use crate::{address, connect, connected, options, server, wait_for};

#[test]
fn a_restarted_server_has_the_same_session() {
    let directory = tempfile::tempdir().unwrap();
    let keeper = server(None, Some(directory.path()));
    let at = address(&keeper);
    let zookeeper = connect(&keeper);
    block_on(zookeeper.create("/e", "", CreateMode::Ephemeral)).unwrap();
    let before = zookeeper.status();
    keeper.stop().unwrap();
    wait_for(&zookeeper, |status| status.state == State::Suspended);
    let keeper = server(Some(at), Some(directory.path()));
    let after = wait_for(&zookeeper, connected);
    assert_eq!((after.session_id, after.generation), (before.session_id, 1));
    assert!(after.connections > before.connections);
    let stat = block_on(zookeeper.exists("/e")).unwrap().unwrap();
    assert_eq!(stat.ephemeral_owner, before.session_id);
    keeper.stop().unwrap();
}

#[test]
fn being_away_for_longer_than_the_timeout_is_no_expiry() {
    let directory = tempfile::tempdir().unwrap();
    let keeper = server(None, Some(directory.path()));
    let at = address(&keeper);
    let zookeeper = connect(&keeper);
    block_on(zookeeper.create("/e", "", CreateMode::Ephemeral)).unwrap();
    let before = zookeeper.status();
    keeper.stop().unwrap();
    // The client declares the session expired after 7/5 of its 2 s. Nothing shows from outside that it has: so wait.
    std::thread::sleep(Duration::from_millis(4_000));
    assert_eq!(zookeeper.status().state, State::Suspended);
    let _keeper = server(Some(at), Some(directory.path()));
    let after = wait_for(&zookeeper, connected);
    assert_eq!((after.session_id, after.generation), (before.session_id, 1));
    assert!(block_on(zookeeper.exists("/e")).unwrap().is_some());
}

#[test]
fn a_session_that_the_server_ended_is_lost_and_a_new_one_begins() {
    let keeper = server(None, None);
    let zookeeper = connect(&keeper);
    block_on(zookeeper.create("/e", "", CreateMode::Ephemeral)).unwrap();
    let before = zookeeper.status();
    block_on(zookeeper.expire_session()).unwrap();
    let after = wait_for(&zookeeper, |status| connected(status) && status.generation == 2);
    assert_ne!(after.session_id, before.session_id);
    assert_eq!(block_on(zookeeper.exists("/e")).unwrap(), None);
}

#[test]
fn without_renewal_a_lost_session_stays_lost() {
    let keeper = server(None, None);
    let zookeeper =
        block_on(ZooKeeper::connect(Options { renew: false, ..options(address(&keeper)) })).unwrap();
    block_on(zookeeper.expire_session()).unwrap();
    wait_for(&zookeeper, |status| status.state == State::Lost);
    assert_eq!(block_on(zookeeper.exists("/")).unwrap_err(), Error::SessionExpired);
}

#[test]
fn closing_and_dropping_take_the_ephemerals_along() {
    let keeper = server(None, None);
    let observer = connect(&keeper);
    let closed = connect(&keeper);
    block_on(closed.create("/closed", "", CreateMode::Ephemeral)).unwrap();
    block_on(closed.close());
    assert_eq!(block_on(observer.exists("/closed")).unwrap(), None);
    assert_eq!(block_on(closed.exists("/")).unwrap_err(), Error::Closed);

    let dropped = connect(&keeper);
    block_on(dropped.create("/dropped", "", CreateMode::Ephemeral)).unwrap();
    drop(dropped);
    while block_on(observer.exists("/dropped")).unwrap().is_some() {
        std::thread::yield_now();
    }
}

#[test]
fn without_a_server_nothing_is_sent_and_the_error_says_so() {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let at = free.local_addr().unwrap();
    drop(free);
    let short = Options { operation_timeout: Duration::from_millis(300), ..options(at) };
    let refused = block_on(ZooKeeper::connect(short.clone())).err().unwrap();
    assert!(matches!(refused, Error::NoServer { .. }), "{refused}");
    let zookeeper = ZooKeeper::open(short).unwrap();
    let suspended = block_on(zookeeper.get("/a")).unwrap_err();
    assert!(matches!(suspended, Error::Suspended { .. }) && suspended.is_transient(), "{suspended}");
    // It comes up later.
    let _keeper = server(Some(at), None);
    wait_for(&zookeeper, connected);
}
