use super::*;
use crate::acl::{Acl, Id, perms};
use crate::proto::{Code, EventType};
use crate::txn::{CreateKind, CreateTxn, Txn, TxnHeader};

fn header(zxid: i64) -> TxnHeader {
    TxnHeader { client_id: 7, cxid: 0, zxid, time_ms: 1000 + zxid }
}

fn create(path: &str, data: &[u8], parent_cversion: i32) -> Txn {
    create_as(CreateKind::Plain, path, data, parent_cversion, false)
}

fn create_as(kind: CreateKind, path: &str, data: &[u8], parent_cversion: i32, ephemeral: bool) -> Txn {
    Txn::Create(CreateTxn {
        kind,
        path: path.into(),
        data: Some(data.into()),
        acl: OPEN_ACL_UNSAFE.clone(),
        ephemeral,
        parent_cversion,
    })
}

/// Applies, and returns the error and the changes.
fn apply(tree: &mut Tree, zxid: i64, txn: Txn) -> (i32, Vec<(EventType, String)>) {
    let mut seen = Vec::new();
    let applied = tree.apply(&header(zxid), txn, |change| seen.push((change.event, change.path.to_owned())));
    (applied.err, seen)
}

fn recomputed_digest(tree: &Tree) -> i64 {
    let nodes = tree.get("/").unwrap().subtree();
    nodes.fold(0, |sum: i64, node| {
        let crc = digest::content_crc(node.path(), node.data());
        sum.wrapping_add(digest::node_digest(node.path(), crc, node.stat_persisted()))
    })
}

#[test]
fn changes_are_told_in_order_and_stats_follow() {
    let mut tree = Tree::new(true);
    let (err, seen) = apply(&mut tree, 1, create("/a", b"x", 1));
    assert_eq!(err, 0);
    assert_eq!(seen, [(EventType::NodeCreated, "/a".into()), (EventType::NodeChildrenChanged, "/".into())]);
    apply(&mut tree, 2, create("/a/b", b"", 1));
    let (_, seen) = apply(
        &mut tree,
        3,
        Txn::SetData { path: "/a".into(), data: Some(Box::from(&b"yy"[..])), version: 1 },
    );
    assert_eq!(seen, [(EventType::NodeDataChanged, "/a".into())]);
    let stat = tree.get("/a").unwrap().stat();
    assert_eq!((stat.czxid, stat.mzxid, stat.pzxid, stat.version, stat.cversion), (1, 3, 2, 1, 1));
    assert_eq!((stat.ctime, stat.mtime, stat.data_length, stat.num_children), (1001, 1003, 2, 1));
    let (err, seen) = apply(&mut tree, 4, Txn::Delete { path: "/a/b".into(), container: false });
    assert_eq!(err, 0);
    assert_eq!(
        seen,
        [(EventType::NodeDeleted, "/a/b".into()), (EventType::NodeChildrenChanged, "/a".into())]
    );
    let stat = tree.get("/a").unwrap().stat();
    assert_eq!((stat.pzxid, stat.cversion, stat.num_children), (4, 2, 0));
    assert_eq!(tree.digest(), recomputed_digest(&tree));
}

#[test]
fn a_failed_multi_changes_nothing() {
    let mut tree = Tree::new(true);
    let before = tree.digest();
    let parts = vec![create("/a", b"", 1), Txn::Error(Code::NoNode as i32), create("/b", b"", 2)];
    let applied = tree.apply(&header(1), Txn::Multi(parts), |_| panic!("no change"));
    let errors: Vec<i32> = applied.parts.iter().map(|part| part.err).collect();
    assert_eq!(errors, [0, Code::NoNode as i32, Code::RuntimeInconsistency as i32]);
    assert_eq!((tree.digest(), tree.last_zxid(), tree.len()), (before, 1, 4));
}

#[test]
fn applying_twice_is_applying_once() {
    let log = [
        create("/a", b"1", 1),
        create_as(CreateKind::Plain, "/a/e", b"", 1, true),
        Txn::SetData { path: "/a".into(), data: None, version: 1 },
        create_as(CreateKind::Container, "/c", b"", 2, false),
        Txn::Delete { path: "/c".into(), container: true },
        Txn::CloseSession { paths: Some(vec!["/a/e".into()]) },
    ];
    let (mut once, mut twice) = (Tree::new(true), Tree::new(true));
    for (at, txn) in log.iter().enumerate() {
        apply(&mut once, at as i64 + 1, txn.clone());
        apply(&mut twice, at as i64 + 1, txn.clone());
    }
    for (at, txn) in log.iter().enumerate() {
        apply(&mut twice, at as i64 + 1, txn.clone());
    }
    assert_eq!(once.get("/a").unwrap().stat(), twice.get("/a").unwrap().stat());
    assert_eq!((once.len(), once.digest()), (twice.len(), twice.digest()));
}

#[test]
fn applying_an_old_transaction_takes_nothing_back() {
    let mut tree = Tree::new(true);
    for (at, path) in ["/a", "/b", "/c"].into_iter().enumerate() {
        apply(&mut tree, at as i64 + 1, create(path, b"", at as i32 + 1));
    }
    let before = (tree.get("/").unwrap().stat(), tree.digest());
    apply(&mut tree, 1, create("/a", b"", 1));
    assert_eq!((tree.get("/").unwrap().stat(), tree.digest()), before);
}

#[test]
fn owners_are_filed() {
    let mut tree = Tree::new(true);
    apply(&mut tree, 1, create_as(CreateKind::Plain2, "/e", b"", 1, true));
    apply(&mut tree, 2, create_as(CreateKind::Container, "/c", b"", 2, false));
    apply(&mut tree, 3, create_as(CreateKind::Ttl(50), "/t", b"", 3, false));
    assert_eq!(tree.ephemerals_of(7), ["/e"]);
    assert_eq!(tree.removable(1003 + 50, 0), [""; 0]);
    assert_eq!(tree.removable(1003 + 51, 0), ["/t"]);
    assert_eq!(tree.removable(1003 + 51, 20), ["/c", "/t"]);
    apply(&mut tree, 4, create("/c/x", b"", 1));
    apply(&mut tree, 5, Txn::Delete { path: "/c/x".into(), container: false });
    assert_eq!(tree.removable(1003, 0), ["/c"]);
    apply(&mut tree, 6, Txn::CloseSession { paths: None });
    assert!(tree.get("/e").is_none() && tree.ephemerals_of(7).is_empty());
}

#[test]
fn a_frozen_tree_stays_as_it_was_and_loads_as_it_was() {
    let mut tree = Tree::new(true);
    let private: Acls = [Acl { perms: perms::READ, id: Id::new("digest", "u:x") }].into();
    for at in 0..200 {
        apply(&mut tree, at + 1, create(&format!("/n{at:03}"), b"data", at as i32 + 1));
    }
    apply(&mut tree, 201, Txn::SetAcl { path: "/n005".into(), acl: private.clone(), version: 1 });
    let (frozen, digest) = (tree.freeze(), tree.digest());
    for at in 0..200 {
        apply(&mut tree, at + 300, Txn::Delete { path: format!("/n{at:03}").into(), container: false });
    }
    let mut loader = Loader::new(true);
    for (number, acls) in frozen.acls() {
        loader.acl(number, acls.clone());
    }
    for (path, data, acl, stat) in frozen.nodes() {
        loader.node(path, data, acl, *stat).unwrap();
    }
    let loaded = loader.finish(frozen.zxid()).unwrap();
    assert_eq!((loaded.len(), loaded.digest(), loaded.last_zxid()), (204, digest, 201));
    assert_eq!(loaded.get("/n005").unwrap().acls(), &private);
    assert_eq!(loaded.get("/").unwrap().stat().num_children, 201);
    assert_eq!(tree.len(), 4);
    assert_eq!(tree.digest(), recomputed_digest(&tree));
}

#[test]
fn a_snapshot_that_is_no_tree_is_refused() {
    let stat = StatPersisted::default();
    let mut loader = Loader::new(true);
    assert_eq!(loader.node("/a", None, -1, stat), Err(LoadError::NoParent("/a".into())));
    loader.node("", None, -1, stat).unwrap();
    assert_eq!(loader.node("", None, -1, stat), Err(LoadError::Twice(String::new())));
    assert_eq!(loader.node("/a", None, 9, stat), Err(LoadError::NoAcl("/a".into(), 9)));
    assert_eq!(Loader::new(true).finish(1).unwrap_err(), LoadError::NoRoot);
}

#[test]
fn quotas_count_and_refuse() {
    let mut tree = Tree::new(true);
    let quota = "/zookeeper/quota/q";
    apply(&mut tree, 1, create("/q", b"12", 1));
    apply(&mut tree, 2, create(quota, b"", 1));
    apply(
        &mut tree,
        3,
        create(
            &format!("{quota}/zookeeper_limits"),
            b"count=9,bytes=-1=;byteHardLimit=5;countHardLimit=2",
            1,
        ),
    );
    apply(&mut tree, 4, create(&format!("{quota}/zookeeper_stats"), b"count=0,bytes=0", 2));
    let stats = |tree: &Tree| {
        String::from_utf8(tree.get(&format!("{quota}/zookeeper_stats")).unwrap().data().unwrap().into())
    };
    assert_eq!(stats(&tree).unwrap(), "count=1,bytes=2");
    assert_eq!(tree.check_quota("/q/a", 3, 1), Ok(()));
    assert_eq!(tree.check_quota("/q/a", 4, 1), Err(Code::QuotaExceeded));
    assert_eq!(tree.check_quota("/qq", 4, 1), Ok(()));
    apply(&mut tree, 5, create("/q/a", b"3", 1));
    assert_eq!(stats(&tree).unwrap(), "count=2,bytes=3");
    assert_eq!(tree.check_quota("/q/b", 0, 1), Err(Code::QuotaExceeded));
    apply(&mut tree, 6, Txn::Delete { path: "/q/a".into(), container: false });
    apply(&mut tree, 7, Txn::Delete { path: format!("{quota}/zookeeper_limits").into(), container: false });
    assert_eq!(tree.check_quota("/q/b", 99, 99), Ok(()));
    assert_eq!(tree.digest(), recomputed_digest(&tree));
}

#[test]
fn statistics_keep_zookeepers_text() {
    let text = "count=1,bytes=-1=;byteHardLimit=7;countHardLimit=4";
    assert_eq!(StatsTrack::parse(text.as_bytes()).to_string(), text);
    assert_eq!(StatsTrack::parse(b"count=,x,=3,bytes=q").to_string(), "count=-1,bytes=-1");
}
