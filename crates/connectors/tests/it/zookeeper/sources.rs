//! The typed source: the last state always arrives.

use streamkeeper_connectors::zookeeper::{ZNode, ZooKeeperSource};
use streamkeeper_dataflow::batch::Records;
use streamkeeper_dataflow::source::{Assignment, Source};
use streamkeeper_zookeeper::{CreateMode, Options, ZooKeeper, block_on};

use super::server::{Following, Other, quorum, server, short};

fn follow(source: &ZooKeeperSource) -> Following<Records<ZNode>> {
    Following::start(source as &dyn Source<Records<ZNode>>, None)
}

#[test]
fn a_thousand_quick_changes_end_on_the_last() {
    let keeper = server(None, None);
    let other = Other::at(&keeper);
    other.create("/flink-demo", "0");
    let mut following = follow(&ZooKeeperSource::node(quorum(&keeper), "/flink-demo"));
    assert_eq!(following.until("/flink-demo=0"), ["/flink-demo=0"]);
    for value in 1..=1000 {
        other.set("/flink-demo", &value.to_string());
    }
    let seen = following.until("/flink-demo=1000");
    let values: Vec<u32> = seen.iter().map(|s| s.rsplit_once('=').unwrap().1.parse().unwrap()).collect();
    assert!(values.is_sorted(), "{values:?}");
}

/// As above, while the server is restarted and the session ended, with a checkpoint restored in between.
#[test]
fn a_thousand_changes_through_a_restart_an_expiry_and_a_restore() {
    let directory = tempfile::tempdir().unwrap();
    let keeper = server(None, Some(directory.path()));
    let address = keeper.client_address();
    let other = Other::at(&keeper);
    other.create("/n", "0");
    let source = short(ZooKeeperSource::node(quorum(&keeper), "/n"));
    let mut following = follow(&source);
    following.until("/n=0");
    let write =
        |values: std::ops::RangeInclusive<u32>| values.for_each(|value| other.set("/n", &value.to_string()));
    write(1..=300);
    keeper.stop().unwrap();
    let keeper = server(address, Some(directory.path()));
    write(301..=600);
    let seen = following.until("/n=600");
    let checkpoint = following.checkpoint();
    let ours = other.0.status().session_id;
    let ended = keeper.core().ask(move |core| {
        let others: Vec<i64> = core.sessions().iter().map(|(id, _)| id).filter(|id| *id != ours).collect();
        others.iter().for_each(|id| core.close_session(*id));
    });
    assert!(ended.is_some());
    write(601..=999);
    let lived_on = following.until("/n=999");
    let mut restored = Following::start(&source as &dyn Source<Records<ZNode>>, Some(checkpoint));
    write(1000..=1000);
    following.until("/n=1000");
    let again = restored.until("/n=1000");
    for values in [seen, lived_on, again] {
        let values: Vec<u32> =
            values.iter().map(|s| s.rsplit_once('=').unwrap().1.parse().unwrap()).collect();
        assert!(values.is_sorted_by(|a, b| a < b), "{values:?}");
    }
}

#[test]
fn an_absent_znode_is_waited_for_and_may_come_and_go() {
    let keeper = server(None, None);
    let other = Other::at(&keeper);
    let mut following = follow(&ZooKeeperSource::node(quorum(&keeper), "/a"));
    other.create("/a", "1");
    assert_eq!(following.until("/a=1"), ["/a=1"]);
    other.delete("/a");
    assert_eq!(following.until("-/a"), ["-/a"]);
    other.create("/a", "2");
    assert_eq!(following.until("/a=2"), ["/a=2"]);
    // At once: it may be seen as one, and is two all the same.
    other.delete("/a");
    other.create("/a", "3");
    assert_eq!(following.until("/a=3"), ["-/a", "/a=3"]);
}

#[test]
fn children_and_trees() {
    let keeper = server(None, None);
    let other = Other::at(&keeper);
    for (path, data) in [("/t", "root"), ("/t/a", "1"), ("/t/a/x", "2"), ("/t/b", "3")] {
        other.create(path, data);
    }
    let mut children = follow(&ZooKeeperSource::children(quorum(&keeper), "/t"));
    let mut tree = follow(&ZooKeeperSource::tree(quorum(&keeper), "/t"));
    assert_eq!(children.until("/t/b=3"), ["/t/a=1", "/t/b=3"]);
    assert_eq!(tree.until("/t/b=3"), ["/t/a=1", "/t/a/x=2", "/t/b=3"]);
    other.set("/t/a/x", "4");
    other.delete("/t/b");
    assert_eq!(children.until("-/t/b"), ["-/t/b"]);
    assert_eq!(tree.until("-/t/b"), ["/t/a/x=4", "-/t/b"]);
    other.create("/t/c", "5");
    assert_eq!(children.until("/t/c=5"), ["/t/c=5"]);
    assert_eq!(tree.until("/t/c=5"), ["/t/c=5"]);
}

#[test]
fn a_restart_of_the_server_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let keeper = server(None, Some(directory.path()));
    let address = keeper.client_address();
    let other = Other::at(&keeper);
    other.create("/n", "1");
    let mut following = follow(&short(ZooKeeperSource::node(quorum(&keeper), "/n")));
    following.until("/n=1");
    other.set("/n", "unseen or not");
    keeper.stop().unwrap();
    let keeper = server(address, Some(directory.path()));
    other.set("/n", "after");
    assert_eq!(following.until("/n=after").last().unwrap(), "/n=after");
    keeper.stop().unwrap();
}

#[test]
fn an_expired_session_is_begun_anew_and_loses_nothing() {
    let keeper = server(None, None);
    let other = Other::at(&keeper);
    other.create("/n", "1");
    let mut following = follow(&short(ZooKeeperSource::node(quorum(&keeper), "/n")));
    following.until("/n=1");
    let ours = other.0.status().session_id;
    let ended = keeper.core().ask(move |core| {
        let others: Vec<i64> = core.sessions().iter().map(|(id, _)| id).filter(|id| *id != ours).collect();
        others.iter().for_each(|id| core.close_session(*id));
        others.len()
    });
    assert_eq!(ended, Some(1));
    other.set("/n", "2");
    assert_eq!(following.until("/n=2").last().unwrap(), "/n=2");
}

#[test]
fn a_checkpoint_finds_what_changed_and_was_deleted_meanwhile() {
    let keeper = server(None, None);
    let other = Other::at(&keeper);
    other.create("/c", "");
    for name in ["a", "b", "same"] {
        other.create(&format!("/c/{name}"), "1");
    }
    let source = ZooKeeperSource::children(quorum(&keeper), "/c");
    let mut following = follow(&source);
    following.until("/c/same=1");
    let checkpoint = following.checkpoint();
    drop(following);
    other.delete("/c/a");
    other.set("/c/b", "2");
    other.create("/c/new", "3");
    let mut restored = Following::start(&source as &dyn Source<Records<ZNode>>, Some(checkpoint));
    assert_eq!(restored.until("/c/new=3"), ["-/c/a", "/c/b=2", "/c/new=3"]);
}

#[test]
fn one_subtask_reads_and_the_others_have_nothing_to_do() {
    let source = ZooKeeperSource::node("127.0.0.1:1", "/a");
    let source: &dyn Source<Records<ZNode>> = &source;
    let mut enumerator = source.enumerator(2, None).unwrap();
    assert_eq!(enumerator.next_split(1), Assignment::NoMoreSplits);
    let restored = enumerator.snapshot().unwrap();
    let Assignment::Split(split) = enumerator.next_split(0) else { panic!("the first has it") };
    assert_eq!(enumerator.next_split(0), Assignment::NoMoreSplits);
    let handed_out = enumerator.snapshot().unwrap();
    // In the snapshot or in a reader's, never in both.
    let mut later = source.enumerator(2, Some(&restored)).unwrap();
    assert_eq!(later.next_split(0), Assignment::Split(split.clone()));
    let mut later = source.enumerator(2, Some(&handed_out)).unwrap();
    assert_eq!(later.next_split(0), Assignment::NoMoreSplits);
    later.add_splits_back(vec![split.clone()]);
    assert_eq!(later.next_split(0), Assignment::Split(split));
}

#[test]
fn too_much_is_an_error_that_names_the_option() {
    let keeper = server(None, None);
    let other = Other::at(&keeper);
    other.create("/c", "");
    other.create("/c/a", "");
    other.create("/c/b", "");
    let mut following = follow(&ZooKeeperSource::children(quorum(&keeper), "/c").max_znodes(1));
    let error = following.next().unwrap_err();
    assert!(error.to_string().contains("'scan.max-znodes'") && !error.is_recoverable(), "{error}");
}

#[test]
fn ephemerals_go_with_their_session() {
    let keeper = server(None, None);
    let other = Other::at(&keeper);
    other.create("/e", "");
    let owner = block_on(ZooKeeper::connect(Options::new(quorum(&keeper)))).unwrap();
    block_on(owner.create("/e/x", "here", CreateMode::Ephemeral)).unwrap();
    let mut following = follow(&ZooKeeperSource::children(quorum(&keeper), "/e"));
    let first = following.next().unwrap();
    assert_eq!(first.values[0].ephemeral_owner, owner.status().session_id);
    assert_eq!(first.timestamps[0], first.values[0].mtime_ms);
    block_on(owner.close());
    assert_eq!(following.until("-/e/x"), ["-/e/x"]);
}
