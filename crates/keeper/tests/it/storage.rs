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

/// What a tree holds, for comparing.
fn contents(tree: &Tree) -> BTreeMap<String, (Option<Vec<u8>>, String)> {
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

    /// One of many kinds of transactions, always the same for a number.
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
                create(&format!("/m{n}"), &vec![7; 3000], false),
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
fn reference(upto: i64) -> (BTreeMap<String, (Option<Vec<u8>>, String)>, BTreeMap<i64, i32>) {
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
