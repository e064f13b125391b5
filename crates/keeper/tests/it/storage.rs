//! The files: what goes in comes out, whatever happens to the disk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use streamkeeper_keeper::acl::{Acl, Id, OPEN_ACL_UNSAFE};
use streamkeeper_keeper::storage::sim::SimDisk;
use streamkeeper_keeper::storage::snapshot::{self, Compression};
use streamkeeper_keeper::storage::*;
use streamkeeper_keeper::tree::Tree;
use streamkeeper_keeper::txn::{CreateKind, CreateTxn, LoggedTxn, Txn, TxnDigest, TxnHeader};

const DIR: &str = "/data/version-2";

/// A server's storage, reduced to what this is about.
struct Store {
    tree: Tree,
    sessions: BTreeMap<i64, i32>,
    log: TxnLog,
    disk: Arc<dyn Disk>,
    dirs: DataDirs,
}

fn options() -> RecoverOptions {
    let log = LogOptions { preallocate_bytes: 16 << 10, ..LogOptions::default() };
    RecoverOptions { log, ..RecoverOptions::default() }
}

/// Data and all else of each znode.
type Contents = BTreeMap<String, (Option<Vec<u8>>, String)>;

/// What a tree holds, for comparing.
fn contents(tree: &Tree) -> Contents {
    let nodes = tree.get("/").into_iter().flat_map(|root| root.subtree());
    nodes
        .map(|node| {
            let rest = format!("{:?} {:?}", node.stat(), node.acls());
            (node.path().to_string(), (node.data().map(Vec::from), rest))
        })
        .collect()
}

impl Store {
    fn open(disk: &SimDisk) -> Result<Store> {
        Store::open_with(disk, &options())
    }

    fn open_with(disk: &SimDisk, options: &RecoverOptions) -> Result<Store> {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let dirs = DataDirs::unlocked(Path::new(DIR), Path::new(DIR));
        let recovered = recover(disk.clone(), &dirs, options)?;
        assert_eq!(recovered.digest_mismatches, 0);
        let Recovered { tree, sessions, log, .. } = recovered;
        Ok(Store { tree, sessions, log, disk, dirs })
    }

    fn append(&mut self, client_id: i64, txn: Txn) {
        let zxid = self.tree.last_zxid() + 1;
        let header = TxnHeader { client_id, cxid: zxid as i32, zxid, time_ms: 1_700_000_000_000 + zxid };
        match &txn {
            Txn::CreateSession { timeout_ms } => drop(self.sessions.insert(client_id, *timeout_ms)),
            Txn::CloseSession { .. } => drop(self.sessions.remove(&client_id)),
            _ => {}
        }
        self.tree.apply(&header, txn.clone(), |_| {});
        let digest = Some(TxnDigest { version: 2, tree_digest: self.tree.digest() });
        let mut bytes = Vec::new();
        LoggedTxn { header, txn, digest }.write(&mut bytes);
        self.log.append(zxid, &bytes).unwrap();
    }

    /// One of many kinds of transactions, always the same for a number. One takes several pages, and is committed with others.
    fn append_some(&mut self) {
        let n = self.tree.last_zxid() + 1;
        let session = 0x100 + n / 10;
        let txn = match n % 10 {
            0 => Txn::CreateSession { timeout_ms: 4000 + n as i32 },
            1 => create(&format!("/n{n}"), &[n as u8; 40], false),
            2 => create(&format!("/n{}/child", n - 1), b"", false),
            3 => Txn::SetData {
                path: format!("/n{}", n - 2).into(),
                data: Some(Box::from(&b"set"[..])),
                version: 1,
            },
            4 => create(&format!("/e{n}"), b"e", true),
            5 => Txn::SetAcl {
                path: format!("/n{}", n - 4).into(),
                acl: Arc::new([Acl { perms: (n % 31) as i32, id: Id::new("digest", "a:b") }]),
                version: 1,
            },
            6 => Txn::Error(-101),
            7 => Txn::Multi(vec![
                create(&format!("/m{n}"), &vec![7; if n == 37 { 9000 } else { 300 }], false),
                create(&format!("/m{n}/x"), b"", false),
            ]),
            8 => Txn::Delete { path: format!("/n{}/child", n - 7).into(), container: false },
            _ if n % 20 == 9 => Txn::CloseSession { paths: Some(vec![format!("/e{}", n - 5).into()]) },
            _ => Txn::SetData { path: "/zookeeper/config".into(), data: None, version: 3 },
        };
        self.append(session, txn);
    }

    fn snapshot(&mut self, compression: Compression) -> Result<PathBuf> {
        self.log.roll()?;
        let sessions: Vec<_> = self.sessions.iter().map(|(id, timeout_ms)| (*id, *timeout_ms)).collect();
        snapshot::write(&*self.disk, Path::new(DIR), &self.tree.freeze(), &sessions, compression)
    }
}

fn create(path: &str, data: &[u8], ephemeral: bool) -> Txn {
    Txn::Create(CreateTxn {
        kind: CreateKind::Plain2,
        path: path.into(),
        data: Some(data.into()),
        acl: OPEN_ACL_UNSAFE.clone(),
        ephemeral,
        parent_cversion: -1,
    })
}

/// The tree after so many of the transactions.
fn reference(upto: i64) -> (Contents, BTreeMap<i64, i32>) {
    let mut store = Store::open(&SimDisk::new()).unwrap();
    for _ in 0..upto {
        store.append_some();
    }
    (contents(&store.tree), store.sessions)
}

#[test]
fn an_empty_directory_becomes_a_database() {
    let disk = SimDisk::new();
    let refusing = RecoverOptions { autocreate: false, ..options() };
    assert!(matches!(Store::open_with(&disk, &refusing), Err(StorageError::Empty(_))));
    disk.put(Path::new("/data/initialize"), b"");
    let store = Store::open_with(&disk, &refusing).unwrap();
    assert_eq!(contents(&store.tree), contents(&Tree::new(true)));
    assert!(disk.bytes(Path::new("/data/initialize")).is_none());
    assert!(disk.bytes(Path::new("/data/version-2/snapshot.0")).is_some());
    Store::open_with(&disk, &refusing).unwrap();
}

#[test]
fn what_was_committed_comes_back_from_log_and_snapshot() {
    for compression in [Compression::None, Compression::Gzip, Compression::Snappy] {
        let disk = SimDisk::new();
        let mut store = Store::open(&disk).unwrap();
        for n in 1..=100 {
            store.append_some();
            if n % 7 == 0 {
                store.log.commit().unwrap();
            }
            if n == 60 {
                let path = store.snapshot(compression).unwrap();
                assert_eq!(path, Path::new(DIR).join(format!("snapshot.3c{}", compression.suffix())));
            }
        }
        store.log.commit().unwrap();
        let again = Store::open(&disk).unwrap();
        assert_eq!((contents(&again.tree), again.sessions), reference(100));
        assert_eq!(again.tree.digest(), store.tree.digest());
        assert_eq!(again.tree.last_zxid(), 100);
    }
}

#[test]
fn real_files_are_as_the_simulated_ones() {
    let dir = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let options = RecoverOptions::default();
    let open = || {
        let dirs = DataDirs::open(dir.path(), None, true).unwrap();
        let Recovered { tree, sessions, log, .. } = recover(disk.clone(), &dirs, &options).unwrap();
        Store { tree, sessions, log, disk: disk.clone(), dirs }
    };
    let mut store = open();
    for _ in 0..50 {
        store.append_some();
        store.log.commit().unwrap();
    }
    let log = store.dirs.logs.join("log.1");
    assert_eq!(std::fs::metadata(&log).unwrap().len(), 64 << 20);
    assert!(store.log.free_space().unwrap() > 0);
    drop(store);
    let mut store = open();
    assert_eq!((contents(&store.tree), store.sessions.clone()), reference(50));
    store.append_some();
    store.log.roll().unwrap();
    assert!(std::fs::metadata(store.dirs.logs.join("log.33")).unwrap().len() < 4096);
    drop(store);
    assert_eq!(open().tree.last_zxid(), 51);
}

/// A copy of a directory that Apache ZooKeeper wrote, on a simulated disk.
fn apache(name: &str) -> SimDisk {
    let disk = SimDisk::new();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name).join("version-2");
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        disk.put(&Path::new(DIR).join(path.file_name().unwrap()), &bytes);
    }
    disk
}

/// What kazoo read from the server before it was killed: a line with the session that was open, then for each znode its path, its data in
/// hexadecimal and its stat.
fn expected(name: &str) -> (String, BTreeMap<String, String>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name).join("expected");
    let text = std::fs::read_to_string(path).unwrap();
    let (session, nodes) = text.split_once('\n').unwrap();
    let nodes = nodes.lines().map(|line| line.split_once('\t').unwrap());
    (session.into(), nodes.map(|(path, rest)| (path.into(), rest.into())).collect())
}

#[test]
fn directories_of_apache_zookeeper_open() {
    for name in ["apache-3.8", "apache-3.9", "apache-3.9-gz", "apache-3.9-snappy"] {
        let disk = apache(name);
        let mut oldest_first = disk.list(Path::new(DIR)).unwrap();
        oldest_first.retain(|file| file.starts_with("snapshot."));
        oldest_first.sort_by_key(|file| file.len());
        // From each of the snapshots, also the fuzzy ones.
        while !oldest_first.is_empty() {
            let Store { tree, sessions, .. } = Store::open(&disk).unwrap();
            let mut found = BTreeMap::new();
            for node in tree.get("/").unwrap().subtree() {
                let data = node.data().map_or("null".to_string(), |data| {
                    data.iter().map(|byte| format!("{byte:02x}")).collect()
                });
                let stat = node.stat();
                let stat = [
                    stat.czxid,
                    stat.mzxid,
                    stat.ctime,
                    stat.mtime,
                    stat.version.into(),
                    stat.cversion.into(),
                    stat.aversion.into(),
                    stat.ephemeral_owner,
                    stat.data_length.into(),
                    stat.num_children.into(),
                    stat.pzxid,
                ]
                .map(|field| field.to_string());
                found.insert(node.path().to_string(), format!("{data}\t{}", stat.join(" ")));
            }
            let (session, nodes) = expected(name);
            assert_eq!(found, nodes, "{name}, from {oldest_first:?}");
            assert!(
                sessions.iter().any(|(id, timeout_ms)| session == format!("session {id:x} {timeout_ms}"))
            );
            assert_eq!(tree.get("/acl").unwrap().acls().len(), 2);
            let newest = oldest_first.pop().unwrap();
            if oldest_first.is_empty() {
                break;
            }
            disk.remove(&Path::new(DIR).join(newest)).unwrap();
        }
    }
}

#[test]
fn a_flipped_byte_in_the_log_costs_at_most_the_tail() {
    let disk = SimDisk::new();
    let mut store = Store::open(&disk).unwrap();
    let mut ends = vec![16];
    for _ in 0..22 {
        store.append_some();
        store.log.commit().unwrap();
        ends.push(store.log.file_bytes());
    }
    let prefixes: Vec<_> = (0..=22).map(reference).collect();
    let path = Path::new(DIR).join("log.1");
    let whole = disk.bytes(&path).unwrap();
    let last = *ends.last().unwrap() as usize;
    let mut refused = 0;
    for at in (0..last + 30).step_by(if cfg!(debug_assertions) { 7 } else { 1 }) {
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] ^= flip;
            disk.put(&path, &bytes);
            match Store::open(&disk) {
                Ok(store) => {
                    let read = store.tree.last_zxid() as usize;
                    assert_eq!((contents(&store.tree), store.sessions), prefixes[read]);
                    // The database id means nothing; the last entry may look torn.
                    assert!((8..16).contains(&at) || read >= 21 && at as u64 >= ends[21], "offset {at}");
                    assert!(read == 22 || disk.bytes(&path).unwrap().len() as u64 == ends[21]);
                }
                Err(StorageError::DamagedLog { path: named, offset, .. }) => {
                    refused += 1;
                    assert_eq!(named, path);
                    let entry = ends.iter().rev().find(|end| **end <= at as u64).copied().unwrap_or(0);
                    assert!(offset == entry || at < 16 && offset <= at as u64, "offset {at}: {offset}");
                }
                Err(error) => panic!("offset {at}: {error}"),
            }
        }
    }
    assert!(refused > 100);
}

#[test]
fn a_flipped_byte_in_a_snapshot_is_noticed() {
    for compression in [Compression::None, Compression::Gzip, Compression::Snappy] {
        let disk = SimDisk::new();
        let mut store = Store::open(&disk).unwrap();
        for _ in 0..15 {
            store.append_some();
        }
        let path = store.snapshot(compression).unwrap();
        let (whole, expected) = (disk.bytes(&path).unwrap(), contents(&store.tree));
        for at in (0..whole.len()).step_by(if cfg!(debug_assertions) { 5 } else { 1 }) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            disk.put(&path, &bytes);
            match snapshot::read(&disk, &path, true) {
                Err(StorageError::DamagedSnapshot { path: named, .. }) => assert_eq!(named, path),
                Err(error) => panic!("{compression:?}, offset {at}: {error}"),
                // Not every bit of a compressed stream means something; nor does the database id.
                Ok(read) => {
                    assert!(compression != Compression::None || (8..16).contains(&at));
                    assert_eq!(contents(&read.tree), expected);
                }
            }
            // The log still has all of it.
            assert_eq!(contents(&Store::open(&disk).unwrap().tree), expected);
        }
        disk.put(&path, b"");
        disk.remove(&Path::new(DIR).join("log.1")).unwrap();
        assert!(matches!(Store::open(&disk), Err(StorageError::NoWayAround { .. })));
        for cut in [whole.len() - 1, whole.len() / 2, 3, 0] {
            disk.put(&path, &whole[..cut]);
            let read = snapshot::read(&disk, &path, true);
            assert!(matches!(read, Err(StorageError::DamagedSnapshot { .. })), "{compression:?} {cut}");
        }
    }
}

/// Some transactions are appended and committed, the log is rolled, snapshots are written, old files purged; hands back how many
/// transactions were acknowledged.
fn scripted(disk: &SimDisk, acknowledged: &mut i64) -> Result<()> {
    let mut store = Store::open(disk)?;
    for n in 1..=60 {
        store.append_some();
        if n % 3 == 0 || n > 50 {
            store.log.commit()?;
            *acknowledged = n;
        }
        match n {
            7 => store.log.roll()?,
            12 | 24 | 34 | 40 | 46 => {
                store.snapshot(if n == 24 { Compression::Gzip } else { Compression::None })?;
                *acknowledged = n;
                drop(purge(&*store.disk, &store.dirs, 3)?);
            }
            _ => {}
        }
    }
    Ok(())
}

#[test]
fn no_acknowledged_transaction_is_lost_when_the_power_goes() {
    let whole = SimDisk::new();
    let mut acknowledged = 0;
    scripted(&whole, &mut acknowledged).unwrap();
    assert_eq!(acknowledged, 60);
    assert!(whole.bytes(&Path::new(DIR).join("snapshot.c")).is_none());
    let references: Vec<_> = (0..=60).map(reference).collect();
    let seeds = if cfg!(debug_assertions) { 12 } else { 200 };
    let mut torn = 0;
    for stop_at in 0..whole.operations() {
        let disk = SimDisk::new();
        disk.stop_at(stop_at);
        let mut acknowledged = 0;
        scripted(&disk, &mut acknowledged).unwrap_err();
        for seed in 0..seeds {
            let left = disk.power_loss(seed * 1000 + stop_at);
            let what = format!("stopped at operation {stop_at}, seed {seed}");
            let store = Store::open(&left).unwrap_or_else(|error| panic!("{what}: {error}"));
            let found = store.tree.last_zxid();
            assert!(found >= acknowledged, "{what}: {acknowledged} were acknowledged, {found} are there");
            assert!((contents(&store.tree), store.sessions.clone()) == references[found as usize], "{what}");
            torn += usize::from(found > acknowledged);
            if seed % 4 == 0 {
                // And again, while the first recovery has not synced more than it must.
                let mut store = store;
                store.append_some();
                store.log.commit().unwrap();
                let again =
                    Store::open(&left.power_loss(seed)).unwrap_or_else(|error| panic!("{what}: {error}"));
                assert!(contents(&again.tree) == contents(&store.tree), "{what}, twice");
            }
        }
    }
    assert!(torn > 0);
}

#[test]
fn a_full_disk_takes_nothing_half() {
    let references: Vec<_> = (0..=40).map(reference).collect();
    for room in (0..4000).step_by(if cfg!(debug_assertions) { 61 } else { 7 }) {
        let disk = SimDisk::new();
        let mut store = Store::open(&disk).unwrap();
        disk.set_room(Some(room));
        for n in 1..=40 {
            store.append_some();
            match store.log.commit() {
                Ok(()) => {}
                Err(error) => {
                    assert!(error.is_disk_full(), "{error}");
                    let again = Store::open(&disk.power_loss(room)).unwrap();
                    assert!(contents(&again.tree) == references[n - 1].0, "room {room}");
                    // The server takes back what was not logged, and has room again.
                    disk.set_room(Some(1 << 20));
                    let dirs = DataDirs::unlocked(Path::new(DIR), Path::new(DIR));
                    let recovered = recover(store.disk.clone(), &dirs, &options()).unwrap();
                    (store.tree, store.sessions) = (recovered.tree, recovered.sessions);
                    assert_eq!(store.log.committed_zxid(), n as i64 - 1);
                    store.append_some();
                    store.log.commit().unwrap();
                }
            }
        }
        let again = Store::open(&disk.power_loss(room)).unwrap();
        assert!(contents(&again.tree) == references[40].0, "room {room}");
    }
}

/// A disk with three logs of 10 transactions each, none purged, and a snapshot after each.
fn three_logs() -> SimDisk {
    let disk = SimDisk::new();
    let mut store = Store::open(&disk).unwrap();
    for n in 1..=30 {
        store.append_some();
        store.log.commit().unwrap();
        if n % 10 == 0 {
            store.snapshot(Compression::None).unwrap();
        }
    }
    disk
}

fn at(name: &str) -> PathBuf {
    Path::new(DIR).join(name)
}

#[test]
fn a_torn_tail_before_the_last_log_is_dropped_only_if_its_number_was_given_out_again() {
    let torn = b"\0\0\0\0\x12\x34\x56\x78\0\0\0\x20partly written";
    let disk = three_logs();
    for name in ["snapshot.a", "snapshot.14", "snapshot.1e"] {
        disk.remove(&at(name)).unwrap();
    }
    let log = disk.bytes(&at("log.1")).unwrap();
    disk.put(&at("log.1"), &[&log, &torn[..], &[0; 5000]].concat());
    assert_eq!(contents(&Store::open(&disk).unwrap().tree), reference(30).0);
    assert_eq!(disk.bytes(&at("log.1")).unwrap(), log);

    // Without its last transaction the next file no longer goes on where this one ends.
    let cut = log.len() - 40;
    disk.put(&at("log.1"), &log[..cut]);
    match Store::open(&disk) {
        Err(StorageError::DamagedLog { path, offset, what }) => {
            assert_eq!(path, at("log.1"));
            assert!((offset as usize) < cut && what.contains("0xb"), "{offset} {what}");
        }
        other => panic!("{:?}", other.map(|store| store.tree.last_zxid())),
    }
}

#[test]
fn a_last_log_without_a_header_is_removed() {
    for header in [&b""[..], b"ZKLG\0\0", &[0; 70_000]] {
        let disk = three_logs();
        disk.put(&at("log.1f"), header);
        assert_eq!(contents(&Store::open(&disk).unwrap().tree), reference(30).0);
        assert!(disk.bytes(&at("log.1f")).is_none());
    }
}

#[test]
fn numbers_that_go_back_are_refused() {
    let disk = three_logs();
    let (first, second) = (disk.bytes(&at("log.1")).unwrap(), disk.bytes(&at("log.b")).unwrap());
    disk.put(&at("log.15"), &[&second, &first[16..]].concat());
    let read = Store::open(&disk);
    assert!(matches!(read, Err(StorageError::DamagedLog { offset, .. }) if offset == second.len() as u64));
}

#[test]
fn a_damaged_snapshot_is_replaced_by_an_older_one_only_if_the_logs_are_all_there() {
    let disk = three_logs();
    disk.put(&at("snapshot.1e"), b"ZKSN");
    assert_eq!(contents(&Store::open(&disk).unwrap().tree), reference(30).0);
    disk.put(&at("snapshot.14"), b"");
    assert_eq!(contents(&Store::open(&disk).unwrap().tree), reference(30).0);

    // In the middle, and at the end.
    for missing in ["log.b", "log.15"] {
        let disk = disk.power_loss(0);
        disk.remove(&at(missing)).unwrap();
        let refused = Store::open(&disk).err().unwrap().to_string();
        assert!(
            refused.contains("snapshot.1e is damaged") && refused.contains("snapshot.a does not"),
            "{refused}"
        );
    }
}

#[test]
fn logs_without_a_snapshot_need_a_word_from_the_administrator() {
    let disk = three_logs();
    for name in ["snapshot.0", "snapshot.a", "snapshot.14", "snapshot.1e"] {
        disk.remove(&at(name)).unwrap();
    }
    assert!(matches!(Store::open(&disk), Err(StorageError::NoSnapshot { .. })));
    let trusting = RecoverOptions { trust_empty_snapshot: true, ..options() };
    assert_eq!(contents(&Store::open_with(&disk, &trusting).unwrap().tree), reference(30).0);
}

#[test]
fn old_files_go_and_what_the_kept_snapshots_need_stays() {
    let disk = three_logs();
    let dirs = DataDirs::unlocked(Path::new(DIR), Path::new(DIR));
    disk.put(&at("snapshot.1f"), b"");
    disk.put(&at("myid"), b"1");
    assert_eq!(purge(&disk, &dirs, 1).unwrap(), [at("snapshot.0")]);
    disk.remove(&at("snapshot.1f")).unwrap();
    let mut store = Store::open(&disk).unwrap();
    for n in 31..=50 {
        store.append_some();
        if n == 45 {
            store.log.commit().unwrap();
            // ZooKeeper's followers take snapshots without beginning a new log.
            snapshot::write(&disk, Path::new(DIR), &store.tree.freeze(), &[], Compression::Snappy).unwrap();
        }
    }
    store.snapshot(Compression::Gzip).unwrap();
    assert_eq!(
        purge(&disk, &dirs, 3).unwrap(),
        [at("snapshot.a"), at("snapshot.14"), at("log.1"), at("log.b")]
    );
    let mut left = disk.list(Path::new(DIR)).unwrap();
    left.sort();
    assert_eq!(left, ["log.15", "log.1f", "myid", "snapshot.1e", "snapshot.2d.snappy", "snapshot.32.gz"]);
    disk.remove(&at("snapshot.2d.snappy")).unwrap();
    disk.remove(&at("snapshot.32.gz")).unwrap();
    assert_eq!(contents(&Store::open(&disk).unwrap().tree), reference(50).0);
}

#[test]
fn a_log_that_has_grown_beyond_its_limit_is_followed_by_another() {
    let disk = SimDisk::new();
    let log = LogOptions { size_limit_bytes: Some(1000), preallocate_bytes: 4096, force_sync: false };
    let options = RecoverOptions { log, ..options() };
    let mut store = Store::open_with(&disk, &options).unwrap();
    for _ in 0..20 {
        store.append_some();
        store.log.commit().unwrap();
    }
    assert!(store.log.append(20, b"x").is_err());
    assert!(store.log.append(21, b"").is_err());
    let logs = disk.list(Path::new(DIR)).unwrap().iter().filter(|name| name.starts_with("log.")).count();
    assert!((3..15).contains(&logs), "{logs}");
    assert_eq!(contents(&Store::open(&disk).unwrap().tree), reference(20).0);
}
