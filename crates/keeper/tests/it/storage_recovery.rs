//! A server that was killed, directories of members of an ensemble, and files for Apache ZooKeeper's own tools.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use streamkeeper_keeper::acl::OPEN_ACL_UNSAFE;
use streamkeeper_keeper::server::{Keeper, ServerOptions, StorageOptions};
use streamkeeper_keeper::storage::sim::SimDisk;
use streamkeeper_keeper::storage::snapshot::{self, Compression};
use streamkeeper_keeper::storage::*;
use streamkeeper_keeper::tree::Tree;
use streamkeeper_keeper::txn::{CreateKind, CreateTxn, LoggedTxn, Txn, TxnDigest, TxnHeader};

const DIR: &str = "/data/version-2";

struct Server {
    tree: Tree,
    log: TxnLog,
    disk: Arc<dyn Disk>,
    dirs: DataDirs,
}

/// Paths and data: transaction n creates `/n`, with data that tells whether all of it is there.
type Znodes = BTreeMap<String, Vec<u8>>;

fn data(n: i64) -> Vec<u8> {
    // Every tenth spans several pages.
    vec![n as u8; if n % 10 == 7 { 9000 } else { 30 + n as usize % 7 }]
}

fn expected(last: i64) -> Znodes {
    (1..=last).map(|n| (format!("/{n}"), data(n))).collect()
}

fn start(disk: &SimDisk) -> Result<Server> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let dirs = DataDirs::unlocked(Path::new(DIR), Path::new(DIR));
    let log = LogOptions { preallocate_bytes: 16 << 10, ..LogOptions::default() };
    let recovered = recover(disk.clone(), &dirs, &RecoverOptions { log, ..RecoverOptions::default() })?;
    assert_eq!(recovered.digest_mismatches, 0);
    Ok(Server { tree: recovered.tree, log: recovered.log, disk, dirs })
}

impl Server {
    fn znodes(&self) -> Znodes {
        let nodes = self.tree.get("/").into_iter().flat_map(|root| root.subtree());
        let created = nodes.filter(|node| node.path() != "/" && !node.path().starts_with("/zookeeper"));
        created.map(|node| (node.path().to_string(), node.data().unwrap_or_default().to_vec())).collect()
    }

    fn append(&mut self) {
        let zxid = self.tree.last_zxid() + 1;
        let txn = Txn::Create(CreateTxn {
            kind: CreateKind::Plain,
            path: format!("/{zxid}").into(),
            data: Some(data(zxid).into()),
            acl: OPEN_ACL_UNSAFE.clone(),
            ephemeral: false,
            parent_cversion: zxid as i32,
        });
        let header = TxnHeader { client_id: 1, cxid: zxid as i32, zxid, time_ms: zxid };
        self.tree.apply(&header, txn.clone(), |_| {});
        let digest = Some(TxnDigest { version: 2, tree_digest: self.tree.digest() });
        let mut bytes = Vec::new();
        LoggedTxn { header, txn, digest }.write(&mut bytes);
        self.log.append(zxid, &bytes).unwrap();
    }

    /// A while in a server's life: groups of transactions, files rolled, snapshots, old files removed. Stops at the first error.
    fn live(&mut self, acknowledged: &mut i64) -> Result<()> {
        for step in 0..14i64 {
            for _ in 0..=(step * 5 % 4) {
                self.append();
            }
            self.log.commit()?;
            *acknowledged = self.log.committed_zxid();
            if step % 3 == 2 {
                self.log.roll()?;
                let compression = if step == 5 { Compression::Gzip } else { Compression::None };
                snapshot::write(&*self.disk, Path::new(DIR), &self.tree.freeze(), &[(7, 1000)], compression)?;
            }
            if step % 5 == 4 {
                purge(&*self.disk, &self.dirs, 3)?;
            }
        }
        Ok(())
    }
}

/// Starts a server on what is left, and checks it against what was acknowledged before.
fn check(disk: &SimDisk, acknowledged: i64, appended: i64, what: &str) -> Server {
    let server = start(disk).unwrap_or_else(|error| panic!("{what}: {error}"));
    let last = server.tree.last_zxid();
    assert!((acknowledged..=appended).contains(&last), "{what}: {last} of {acknowledged}..={appended}");
    assert!(server.znodes() == expected(last), "{what}: the znodes are not those of transaction {last}");
    server
}

/// Changes that a life without a fault makes.
fn changes() -> u64 {
    let disk = SimDisk::new();
    start(&disk).unwrap().live(&mut 0).unwrap();
    disk.operations()
}

#[test]
fn what_a_killed_server_left_is_durable_once_it_was_read() {
    // The kill leaves in the system's memory what was written and not synced. The next server reads it, answers reads from it, and then the
    // power goes.
    let seeds = if cfg!(debug_assertions) { 3 } else { 60 };
    for stop in 0..changes() {
        for seed in 0..seeds {
            let what = format!("change {stop}, seed {seed}");
            let disk = SimDisk::new();
            disk.stop_at(stop);
            let (mut acknowledged, mut appended) = (0, 0);
            if let Ok(mut server) = start(&disk) {
                let _ = server.live(&mut acknowledged);
                appended = server.tree.last_zxid();
            }
            disk.stop_at(u64::MAX);
            let mut server = check(&disk, acknowledged, appended, &what);
            let read = server.tree.last_zxid();
            check(&disk.power_loss(seed), read, read, &format!("{what}, after a read"));
            server.append();
            server.log.commit().unwrap();
            check(&disk.power_loss(seed), read + 1, read + 1, &format!("{what}, after a write"));
        }
    }
}

#[test]
fn a_log_that_ends_anywhere_is_cut_behind_its_last_whole_entry() {
    let disk = SimDisk::new();
    let mut server = start(&disk).unwrap();
    for _ in 1..=4 {
        server.append();
    }
    server.log.roll().unwrap();
    let path = Path::new(DIR).join("log.1");
    let whole = disk.bytes(&path).unwrap();
    let mut last = 0;
    // Also within the header.
    for length in 0..=whole.len() {
        for padding in [0, 7, 600] {
            let copy = disk.power_loss(0);
            let mut bytes = whole[..length].to_vec();
            bytes.resize(length + padding, 0);
            copy.put(&path, &bytes);
            let mut server = check(&copy, last, 4, &format!("length {length}, padding {padding}"));
            last = server.tree.last_zxid();
            server.append();
            server.log.commit().unwrap();
            check(&copy, last + 1, last + 1, "after it");
        }
    }
    assert_eq!(last, 4);
}

const EPOCH: i64 = 1 << 32;

/// A log file's bytes with the transactions of these numbers.
fn log_of(zxids: impl Iterator<Item = i64>) -> Vec<u8> {
    let disk = SimDisk::new();
    let options = LogOptions { preallocate_bytes: 0, ..LogOptions::default() };
    let mut log = TxnLog::new(Arc::new(disk.clone()), Path::new(DIR), 0, options);
    for zxid in zxids {
        let header = TxnHeader { client_id: 1, cxid: 1, zxid, time_ms: 1 };
        let mut bytes = Vec::new();
        LoggedTxn { header, txn: Txn::Error(-101), digest: None }.write(&mut bytes);
        log.append(zxid, &bytes).unwrap();
    }
    log.commit().unwrap();
    let name = disk.list(Path::new(DIR)).unwrap().remove(0);
    disk.bytes(&Path::new(DIR).join(name)).unwrap()
}

/// A snapshot's bytes as of a transaction that changed nothing.
fn snapshot_of(zxid: i64) -> Vec<u8> {
    let disk = SimDisk::new();
    let mut tree = Tree::new(true);
    tree.apply(&TxnHeader { client_id: 1, cxid: 1, zxid, time_ms: 1 }, Txn::Error(-101), |_| {});
    let path = snapshot::write(&disk, Path::new(DIR), &tree.freeze(), &[], Compression::None).unwrap();
    disk.bytes(&path).unwrap()
}

fn directory(files: &[(&str, &[u8])]) -> SimDisk {
    let disk = SimDisk::new();
    for (name, bytes) in files {
        disk.put(&Path::new(DIR).join(name), bytes);
    }
    disk
}

#[test]
fn a_snapshot_from_a_leader_makes_up_for_the_torn_end_of_the_log_before_it() {
    for leaders in [0x50, EPOCH + 0x50] {
        let torn = log_of(1..=5);
        let disk = directory(&[
            ("snapshot.0", &snapshot_of(0)),
            ("log.1", &torn[..torn.len() - 3]),
            (&format!("snapshot.{leaders:x}"), &snapshot_of(leaders)),
            (&format!("log.{:x}", leaders + 1), &log_of(leaders + 1..leaders + 4)),
        ]);
        assert_eq!(start(&disk).unwrap().tree.last_zxid(), leaders + 3);
    }
}

#[test]
fn a_damaged_snapshot_from_a_leader_is_not_made_up_for_by_a_change_of_the_epoch() {
    // What the epochs held after 4 and before 0x100000006, only the damaged snapshot knew.
    for leaders in [EPOCH + 5, EPOCH] {
        let logs = log_of(leaders + 1..leaders + 4);
        let disk = directory(&[
            ("snapshot.0", &snapshot_of(0)),
            ("log.1", &log_of(1..=4)),
            (&format!("snapshot.{leaders:x}"), b"ZKSN"),
            (&format!("log.{:x}", leaders + 1), &logs),
        ]);
        let error = start(&disk).map(|server| server.tree.last_zxid()).unwrap_err();
        assert!(matches!(error, StorageError::NoWayAround { .. }), "{error}");
    }
}

#[test]
fn an_epoch_begins_with_its_first_transaction() {
    let disk = |second: i64| {
        directory(&[
            ("snapshot.0", &snapshot_of(0)),
            ("log.1", &log_of(1..=4)),
            (&format!("log.{second:x}"), &log_of(second..second + 2)),
        ])
    };
    assert_eq!(start(&disk(EPOCH + 1)).unwrap().tree.last_zxid(), EPOCH + 2);
    let mut reader = LogReader::open(Arc::new(disk(EPOCH + 3)), Path::new(DIR), 0).unwrap();
    while reader.next().unwrap().is_some() {}
    assert_eq!(reader.gaps(), 1);
}

#[test]
fn a_digest_from_before_the_last_transaction_in_a_fuzzy_snapshot_is_no_mismatch() {
    // ZooKeeper 3.8 wrote a part of transaction 0x2e into snapshot.2d, and the digest of 0x2d behind it.
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/apache-3.8-fuzzy/version-2");
    let disk = SimDisk::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        disk.put(&Path::new(DIR).join(path.file_name().unwrap()), &std::fs::read(&path).unwrap());
    }
    // `start` asserts that no digest differs.
    let server = start(&disk).unwrap();
    assert_eq!(server.tree.last_zxid(), 0x4d);
    assert_eq!(server.tree.get("/a/b").unwrap().data(), Some(&b"last"[..]));

    // Without the log there is nothing that would explain the difference.
    let disk = directory(&[("snapshot.2d", &disk.bytes(&Path::new(DIR).join("snapshot.2d")).unwrap())]);
    let dirs = DataDirs::unlocked(Path::new(DIR), Path::new(DIR));
    let recovered = recover(Arc::new(disk), &dirs, &RecoverOptions::default()).unwrap();
    assert_eq!(recovered.digest_mismatches, 1);
}

#[test]
fn digests_that_differ_at_the_start_are_in_the_figures() {
    let from =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/apache-3.8-fuzzy/version-2/snapshot.2d");
    let data = tempfile::tempdir().unwrap();
    std::fs::create_dir(data.path().join("version-2")).unwrap();
    std::fs::copy(from, data.path().join("version-2/snapshot.2d")).unwrap();
    let storage = Some(StorageOptions::new(data.path()));
    let keeper = Keeper::start(ServerOptions { storage, ..ServerOptions::default() }).unwrap();
    assert_eq!(keeper.core().ask(|core| core.counters().digest_mismatches), Some(1));
    keeper.stop().unwrap();
}

/// Leaves the directory behind for `tests/foreign/files.py` if `KEEPER_FILES_DIR` names one.
#[test]
fn a_real_directory_with_snapshots_of_every_compression_opens_again() {
    let temporary = tempfile::tempdir().unwrap();
    let data = std::env::var_os("KEEPER_FILES_DIR").map_or(temporary.path().into(), std::path::PathBuf::from);
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let open = || {
        let dirs = DataDirs::open(&data, None, true).unwrap();
        let recovered = recover(disk.clone(), &dirs, &RecoverOptions::default()).unwrap();
        Server { tree: recovered.tree, log: recovered.log, disk: disk.clone(), dirs }
    };
    let mut server = open();
    for compression in [Compression::Gzip, Compression::Snappy, Compression::None] {
        for _ in 0..20 {
            server.append();
        }
        server.log.roll().unwrap();
        let sessions = [(0x1_0000_0000_0001, 30_000)];
        snapshot::write(&*disk, &server.dirs.snapshots, &server.tree.freeze(), &sessions, compression)
            .unwrap();
    }
    for _ in 0..20 {
        server.append();
        server.log.commit().unwrap();
    }
    drop(server);
    let server = open();
    assert_eq!(server.tree.last_zxid(), 80);
    assert!(server.znodes() == expected(80));
}
