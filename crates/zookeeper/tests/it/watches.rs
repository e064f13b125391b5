//! Watches: whoever reads when told to ends with the last state.

use streamkeeper_zookeeper::{CreateMode, EventType, Watch, WatchEvent, WatchMode, ZooKeeper, block_on};

use crate::{address, connect, connected, server, wait_for};

fn next(watch: &mut Watch) -> WatchEvent {
    block_on(watch.next()).unwrap().unwrap()
}

fn changed(path: &str, event: EventType) -> WatchEvent {
    WatchEvent::Changed { path: path.to_owned(), event }
}

fn create(zookeeper: &ZooKeeper, path: &str) {
    block_on(zookeeper.create(path, "", CreateMode::Persistent)).unwrap();
}

#[test]
fn one_znode_and_its_children() {
    let keeper = server(None, None);
    let zookeeper = connect(&keeper);
    let mut watch = zookeeper.watch("/a", WatchMode::Node).unwrap();
    assert_eq!(next(&mut watch), WatchEvent::Watching);
    create(&zookeeper, "/a");
    assert_eq!(next(&mut watch), changed("/a", EventType::NodeCreated));
    block_on(zookeeper.set("/a", "x", None)).unwrap();
    assert_eq!(next(&mut watch), changed("/a", EventType::NodeDataChanged));
    create(&zookeeper, "/a/b");
    assert_eq!(next(&mut watch), changed("/a", EventType::NodeChildrenChanged));
    block_on(zookeeper.delete("/a/b", None)).unwrap();
    assert_eq!(next(&mut watch), changed("/a", EventType::NodeChildrenChanged));
    block_on(zookeeper.delete("/a", None)).unwrap();
    assert_eq!(next(&mut watch), changed("/a", EventType::NodeDeleted));
}

#[test]
fn a_subtree() {
    let keeper = server(None, None);
    let zookeeper = connect(&keeper);
    let mut watch = zookeeper.watch("/t", WatchMode::Recursive).unwrap();
    assert_eq!(next(&mut watch), WatchEvent::Watching);
    for path in ["/t", "/t/a", "/t/a/b"] {
        create(&zookeeper, path);
        assert_eq!(next(&mut watch), changed(path, EventType::NodeCreated));
    }
    block_on(zookeeper.delete("/t/a/b", None)).unwrap();
    assert_eq!(next(&mut watch), changed("/t/a/b", EventType::NodeDeleted));
}

/// The client's own watches are gone after a reconnect: a change after `Watching` must be told all the same.
#[test]
fn a_watch_is_set_again_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let keeper = server(None, Some(directory.path()));
    let at = address(&keeper);
    let zookeeper = connect(&keeper);
    let mut node = zookeeper.watch("/n", WatchMode::Node).unwrap();
    let mut tree = zookeeper.watch("/n", WatchMode::Recursive).unwrap();
    assert_eq!((next(&mut node), next(&mut tree)), (WatchEvent::Watching, WatchEvent::Watching));
    keeper.stop().unwrap();
    let _keeper = server(Some(at), Some(directory.path()));
    wait_for(&zookeeper, |status| connected(status) && status.connections > 1);
    assert_eq!((next(&mut node), next(&mut tree)), (WatchEvent::Watching, WatchEvent::Watching));
    create(&zookeeper, "/n");
    let created = changed("/n", EventType::NodeCreated);
    assert_eq!((next(&mut node), next(&mut tree)), (created.clone(), created));
}

#[test]
fn a_watch_is_set_again_in_a_new_session() {
    let keeper = server(None, None);
    let zookeeper = connect(&keeper);
    let mut watch = zookeeper.watch("/n", WatchMode::Node).unwrap();
    assert_eq!(next(&mut watch), WatchEvent::Watching);
    block_on(zookeeper.expire_session()).unwrap();
    assert_eq!(next(&mut watch), WatchEvent::Watching);
    wait_for(&zookeeper, |status| connected(status) && status.generation == 2);
    create(&zookeeper, "/n");
    loop {
        match next(&mut watch) {
            WatchEvent::Watching => {}
            event => break assert_eq!(event, changed("/n", EventType::NodeCreated)),
        }
    }
}

#[test]
fn a_slow_reader_is_told_to_read_everything() {
    let keeper = server(None, None);
    let zookeeper = connect(&keeper);
    let mut watch = zookeeper.watch("/", WatchMode::Recursive).unwrap();
    assert_eq!(next(&mut watch), WatchEvent::Watching);
    create(&zookeeper, "/n");
    block_on(async {
        for _ in 0..60 {
            let writes: Vec<_> = (0..100).map(|_| zookeeper.set("/n", "x", None)).collect();
            for write in writes {
                write.await.unwrap();
            }
        }
    });
    create(&zookeeper, "/last");
    let mut events = 0;
    loop {
        events += 1;
        match next(&mut watch) {
            WatchEvent::Watching => break,
            WatchEvent::Changed { .. } => {
                assert!(events <= 4096, "nothing was dropped, the queue has no bound")
            }
        }
    }
}

#[test]
fn a_watch_ends_with_its_handle() {
    let keeper = server(None, None);
    let zookeeper = connect(&keeper);
    let mut watch = zookeeper.watch("/n", WatchMode::Node).unwrap();
    assert_eq!(next(&mut watch), WatchEvent::Watching);
    block_on(zookeeper.close());
    drop(zookeeper);
    assert_eq!(block_on(watch.next()), None);
}
