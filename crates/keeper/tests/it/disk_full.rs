//! A server whose disk is full.

use std::sync::Arc;
use std::time::{Duration, Instant};

use streamkeeper_keeper::acl::OPEN_ACL_UNSAFE;
use streamkeeper_keeper::client::{Client, Create, Options};
use streamkeeper_keeper::core::CoreOptions;
use streamkeeper_keeper::proto::Code;
use streamkeeper_keeper::server::{AnyDisk, Keeper, ServerOptions, StorageOptions};
use streamkeeper_keeper::storage::sim::SimDisk;

#[test]
fn writes_are_refused_until_there_is_room_reads_are_served_and_no_session_expires() {
    let dir = tempfile::tempdir().unwrap();
    let disk = SimDisk::new();
    let options = || ServerOptions {
        storage: Some(StorageOptions {
            disk: AnyDisk(Arc::new(disk.clone())),
            ..StorageOptions::new(dir.path())
        }),
        core: CoreOptions {
            tick_ms: 50,
            min_session_timeout_ms: 100,
            max_session_timeout_ms: 10_000,
            ..CoreOptions::default()
        },
        ..ServerOptions::default()
    };
    let keeper = Keeper::start(options()).unwrap();
    let address = keeper.client_address().unwrap().to_string();
    let mut client = Client::connect(&address, Duration::from_secs(10)).unwrap();
    let brief = Options { timeout: Duration::from_millis(300), keep_alive: false, ..Options::default() };
    let mut silent = Client::connect_with(&address, brief).unwrap();
    silent.create("/mine", None, OPEN_ACL_UNSAFE.clone(), Create::Ephemeral).unwrap();
    client.create("/a", Some(b"before"), OPEN_ACL_UNSAFE.clone(), Create::Persistent).unwrap();
    disk.set_room(Some(100));
    let written = (0..).find_map(|at| client.set_data("/a", Some(&[at; 60]), -1).err().map(|err| (at, err)));
    let (count, error) = written.unwrap();
    assert_eq!(error.code(), Some(Code::NotReadOnly));
    // Much longer than the silent client's session could last.
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(1) {
        let refused = client.create("/b", None, OPEN_ACL_UNSAFE.clone(), Create::Persistent);
        assert_eq!(refused.unwrap_err().code(), Some(Code::NotReadOnly));
        let (data, stat) = client.get_data("/a", false).unwrap();
        assert_eq!(stat.version, i32::from(count));
        assert_ne!(data.as_deref(), Some(&[count; 60][..]), "what was refused is not there");
        assert!(client.exists("/mine", false).unwrap().is_some());
    }
    assert_eq!(keeper.core().ask(|core| core.read_only()), Some(true));
    assert!(Client::connect_with(&address, Options { keep_alive: false, ..Options::default() }).is_err());
    disk.set_room(Some(64 << 20));
    let begin = Instant::now();
    while let Err(error) = client.create("/c", None, OPEN_ACL_UNSAFE.clone(), Create::Persistent) {
        assert_eq!(error.code(), Some(Code::NotReadOnly));
        assert!(begin.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(20));
    }
    // From now on sessions expire again.
    let begin = Instant::now();
    while client.exists("/mine", false).unwrap().is_some() {
        assert!(begin.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(20));
    }
    keeper.stop().unwrap();
    // What was acknowledged is there, and nothing else.
    let keeper = Keeper::start(options()).unwrap();
    let found = keeper.core().ask(|core| {
        let version = core.tree().get("/a").map(|node| node.stat().version);
        (version, core.tree().get("/b").is_some(), core.tree().get("/c").is_some())
    });
    assert_eq!(found, Some((Some(count.into()), false, true)));
}
