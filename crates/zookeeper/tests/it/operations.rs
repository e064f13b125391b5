//! What can be asked, and how failures are told apart.

use streamkeeper_zookeeper::{Access, CreateMode, Error, Multi, Options, Outcome, ZooKeeper, block_on};

use crate::{address, connect, options, server};

#[test]
fn znodes_are_written_and_read() {
    let keeper = server(None, None);
    let zookeeper = connect(&keeper);
    block_on(async {
        let (path, created) = zookeeper.create("/a", "one", CreateMode::Persistent).await.unwrap();
        assert_eq!((path.as_str(), created.version), ("/a", 0));
        let again = zookeeper.create("/a", "", CreateMode::Persistent).await;
        assert_eq!(again.unwrap_err(), Error::NodeExists { path: "/a".into() });
        assert_eq!(zookeeper.set("/a", "two", Some(0)).await.unwrap().version, 1);
        let stale = zookeeper.set("/a", "three", Some(0)).await;
        assert_eq!(stale.unwrap_err(), Error::BadVersion { path: "/a".into() });
        assert_eq!(zookeeper.get("/a").await.unwrap().0, b"two");
        assert_eq!(zookeeper.get("/no").await.unwrap_err(), Error::NoNode { path: "/no".into() });
        let (numbered, _) = zookeeper.create("/a/n-", "", CreateMode::PersistentSequential).await.unwrap();
        assert_eq!(numbered, "/a/n-0000000000");
        assert_eq!(zookeeper.delete("/a", None).await.unwrap_err(), Error::NotEmpty { path: "/a".into() });
        zookeeper.create_all("/x/y/z").await.unwrap();
        zookeeper.create_all("/x/y/z").await.unwrap();
        assert_eq!(zookeeper.children("/x").await.unwrap().0, ["y"]);
        assert!(zookeeper.exists("/x/y/z").await.unwrap().is_some());
        zookeeper.sync("/").await.unwrap();
        zookeeper.delete(&numbered, Some(0)).await.unwrap();
        assert_eq!(zookeeper.exists(&numbered).await.unwrap(), None);
    });
}

#[test]
fn a_multi_happens_whole_or_not_at_all() {
    let keeper = server(None, None);
    let zookeeper = connect(&keeper);
    block_on(async {
        let multi = Multi::new()
            .create("/m", "0", CreateMode::Persistent)
            .set("/m", "1", Some(0))
            .check("/m", 1)
            .create("/m/a", "", CreateMode::Persistent)
            .delete("/m/a", None);
        let outcomes = zookeeper.multi(multi).await.unwrap();
        assert!(matches!(outcomes[0], Outcome::Created(ref path) if path == "/m"), "{outcomes:?}");
        assert!(matches!(outcomes[1], Outcome::Set(stat) if stat.version == 1), "{outcomes:?}");
        assert_eq!((&outcomes[2], &outcomes[4]), (&Outcome::Checked, &Outcome::Deleted));
        let failing = Multi::new().set("/m", "2", None).check("/m", 7);
        let error = zookeeper.multi(failing).await.unwrap_err();
        let source = Box::new(Error::BadVersion { path: "/m".into() });
        assert_eq!(error, Error::Multi { index: 1, source });
        assert_eq!(zookeeper.get("/m").await.unwrap().0, b"1");
    });
}

#[test]
fn what_no_server_takes_is_not_sent() {
    let keeper = server(None, None);
    let zookeeper = connect(&keeper);
    block_on(async {
        let longest = vec![b'x'; zookeeper.options().max_request_bytes - 2 - 128];
        zookeeper.create("/l", longest, CreateMode::Persistent).await.unwrap();
        let error = zookeeper.set("/l", vec![0; 1 << 20], None).await.unwrap_err();
        assert!(matches!(error, Error::TooLarge { limit: 0xf_ffff, .. }), "{error}");
        let half = vec![0; 1 << 19];
        let both = Multi::new().set("/l", half.clone(), None).set("/l", half, None);
        assert!(matches!(zookeeper.multi(both).await.unwrap_err(), Error::TooLarge { .. }));
        // The connection is as it was: a server would have closed it.
        assert_eq!(zookeeper.status().connections, 1);
    });
}

#[test]
fn secrets_are_for_their_creator() {
    let keeper = server(None, None);
    let quorum = address(&keeper).to_string();
    let digest = Some(("ann".to_owned(), "secret".to_owned()));
    let ann = block_on(ZooKeeper::connect(Options { digest, ..Options::new(quorum) })).unwrap();
    let stranger = connect(&keeper);
    block_on(async {
        ann.with_access(Access::Creator).create("/s", "x", CreateMode::Persistent).await.unwrap();
        assert_eq!(stranger.get("/s").await.unwrap_err(), Error::NoAuth { path: "/s".into() });
        assert_eq!(ann.get("/s").await.unwrap().0, b"x");
        assert_eq!(ann.acl("/s").await.unwrap().0[0].scheme(), "digest");
    });
}

#[test]
fn paths_are_below_the_chroot() {
    let keeper = server(None, None);
    block_on(async {
        let root = ZooKeeper::connect(options(address(&keeper))).await.unwrap();
        root.create_all("/tenant").await.unwrap();
        let quorum = format!("{}/tenant", address(&keeper));
        let tenant = ZooKeeper::connect(Options::new(quorum)).await.unwrap();
        tenant.create("/a", "", CreateMode::Persistent).await.unwrap();
        assert!(root.exists("/tenant/a").await.unwrap().is_some());
    });
}
