//! From files to a tree: the newest snapshot, and what the log says came after it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::dirs::DataDirs;
use super::disk::Disk;
use super::error::{Result, StorageError};
use super::log::{LogOptions, TxnLog};
use super::log_reader::{LogReader, follows, make_durable};
use super::names;
use super::snapshot::{self, Compression, Snapshot, SnapshotDigest};
use crate::digest;
use crate::tree::Tree;
use crate::txn::{LoggedTxn, Txn};

/// How to recover.
#[derive(Debug, Clone)]
pub struct RecoverOptions {
    /// `zookeeper.extendedTypesEnabled`, see [`Tree::new`].
    pub extended_types: bool,
    /// `zookeeper.snapshot.trust.empty`: logs without a snapshot are taken from an empty tree on.
    pub trust_empty_snapshot: bool,
    /// `zookeeper.db.autocreate`: nothing at all is taken for an empty database.
    pub autocreate: bool,
    /// `zookeeper.digest.enabled`: whether logged digests are compared.
    pub check_digest: bool,
    /// `snapshot.compression.method`, of the first snapshot of an empty database.
    pub compression: Compression,
    /// How the log is written.
    pub log: LogOptions,
}

impl Default for RecoverOptions {
    fn default() -> Self {
        RecoverOptions {
            extended_types: true,
            trust_empty_snapshot: false,
            autocreate: true,
            check_digest: true,
            compression: Compression::None,
            log: LogOptions::default(),
        }
    }
}

/// What the files came to.
#[derive(Debug)]
pub struct Recovered {
    /// The znodes; [`Tree::last_zxid`] is the newest transaction.
    pub tree: Tree,
    /// The sessions that were open, with their timeouts in ms.
    pub sessions: BTreeMap<i64, i32>,
    /// The log, ready for what comes next.
    pub log: TxnLog,
    /// How many transactions came from the log.
    pub replayed: usize,
    /// The snapshot that it began with; none if it began with nothing.
    pub snapshot: Option<PathBuf>,
    /// How long reading the snapshot took, and how long the replay of the log.
    pub took: (Duration, Duration),
    /// How many digests were not as logged. Each is a defect, here or in the server that wrote the log.
    pub digest_mismatches: usize,
}

/// Recovers from the files in `dirs`. Writes only what the next start needs: it cuts off what was never committed, removes unfinished
/// snapshots, and makes the first snapshot of an empty database.
pub fn recover(disk: Arc<dyn Disk>, dirs: &DataDirs, options: &RecoverOptions) -> Result<Recovered> {
    dirs.tidy(&*disk)?;
    let may_be_empty = dirs.take_initialize(&*disk)? || options.autocreate;
    let started = Instant::now();
    let begin = Begin::find(&*disk, dirs, options)?;
    let Some(begin) = begin else {
        if !names::logs(&*disk, &dirs.logs)?.is_empty() {
            return without_snapshot(disk, dirs, options);
        }
        if !may_be_empty {
            return Err(StorageError::Empty(dirs.snapshots.clone()));
        }
        let tree = Tree::new(options.extended_types);
        snapshot::write(&*disk, &dirs.snapshots, &tree.freeze(), &[], options.compression)?;
        return Ok(Recovered {
            log: TxnLog::new(disk, &dirs.logs, 0, options.log.clone()),
            tree,
            sessions: BTreeMap::new(),
            replayed: 0,
            snapshot: None,
            took: Default::default(),
            digest_mismatches: 0,
        });
    };
    let snapshot_took = started.elapsed();
    let mut recovered = replay(disk, dirs, options, begin)?;
    recovered.took = (snapshot_took, started.elapsed().saturating_sub(snapshot_took));
    Ok(recovered)
}

/// Logs, but no snapshot: ZooKeeper 3.4 did not always write one; later it means that it was lost.
fn without_snapshot(disk: Arc<dyn Disk>, dirs: &DataDirs, options: &RecoverOptions) -> Result<Recovered> {
    let tree = Tree::new(options.extended_types);
    let snapshot = Snapshot { tree, sessions: BTreeMap::new(), digest: None, last_zxid: None };
    let begin = Begin { snapshot, path: None, newer_damaged: None };
    if !options.trust_empty_snapshot {
        // A log into which nothing was ever committed is as good as none.
        let mut reader = LogReader::open(disk.clone(), &dirs.logs, 0)?;
        if reader.next()?.is_some() {
            return Err(StorageError::NoSnapshot {
                logs: dirs.logs.clone(),
                snapshots: dirs.snapshots.clone(),
            });
        }
        reader.repair()?;
        snapshot::write(&*disk, &dirs.snapshots, &begin.snapshot.tree.freeze(), &[], options.compression)?;
    } else {
        tracing::warn!("there are transaction logs and no snapshot: snapshot.trust.empty permits it");
    }
    replay(disk, dirs, options, begin)
}

/// What the replay begins with.
struct Begin {
    snapshot: Snapshot,
    path: Option<PathBuf>,
    /// Newer than that, but damaged: what is wrong, and the transaction that the log must reach without a gap.
    newer_damaged: Option<(StorageError, i64)>,
}

impl Begin {
    fn find(disk: &dyn Disk, dirs: &DataDirs, options: &RecoverOptions) -> Result<Option<Begin>> {
        let mut newer_damaged = None;
        for (zxid, path) in names::snapshots(disk, &dirs.snapshots)? {
            match snapshot::read(disk, &path, options.extended_types) {
                Ok(snapshot) => return Ok(Some(Begin { snapshot, path: Some(path), newer_damaged })),
                Err(error @ StorageError::DamagedSnapshot { .. }) => {
                    tracing::error!(%error, "a snapshot cannot be read; an older one is tried");
                    newer_damaged.get_or_insert((error, zxid));
                }
                Err(error) => return Err(error),
            }
        }
        newer_damaged.map_or(Ok(None), |(error, _)| Err(error))
    }
}

fn replay(disk: Arc<dyn Disk>, dirs: &DataDirs, options: &RecoverOptions, begin: Begin) -> Result<Recovered> {
    let Begin { snapshot, path, newer_damaged } = begin;
    let Snapshot { mut tree, mut sessions, digest, .. } = snapshot;
    let mut check = DigestCheck::new(options.check_digest, digest, path.is_none());
    check.snapshot(&tree);
    let mut reader = LogReader::open(disk.clone(), &dirs.logs, tree.last_zxid())?;
    let mut replayed = 0;
    let mut complete = true;
    while let Some(LoggedTxn { header, txn, digest: logged }) = reader.next()? {
        let last = tree.last_zxid();
        complete &= match &newer_damaged {
            // A later epoch may have begun after transactions that only the damaged snapshot holds, got from a leader.
            Some((_, zxid)) if last < *zxid => header.zxid == last + 1,
            _ => follows(last, header.zxid),
        };
        match txn {
            Txn::CreateSession { timeout_ms } => drop(sessions.insert(header.client_id, timeout_ms)),
            Txn::CloseSession { .. } => drop(sessions.remove(&header.client_id)),
            _ => {}
        }
        // That it fails is expected over a fuzzy snapshot, and is the result of it otherwise.
        tree.apply(&header, txn, |_| {});
        replayed += 1;
        check.snapshot(&tree);
        if let Some(logged) = logged {
            check.logged(&tree, logged.version, logged.tree_digest);
        }
    }
    check.end(&tree);
    if let Some((damaged, zxid)) = newer_damaged {
        let what = match complete {
            false => Some("leave something out".to_string()),
            true if tree.last_zxid() < zxid => Some(format!("end with 0x{:x}", tree.last_zxid())),
            true => None,
        };
        let older = path.clone().unwrap_or_default();
        if let Some(what) = what {
            return Err(StorageError::NoWayAround { damaged: Box::new(damaged), older, what });
        }
        tracing::error!(older = %older.display(), "a damaged snapshot was replaced by an older one and the logs since");
    }
    reader.repair()?;
    // Apache ZooKeeper does not sync its snapshots, and both may die before the name is durable.
    if let Some(path) = &path {
        make_durable(&*disk, path)?;
    }
    let log = TxnLog::new(disk, &dirs.logs, tree.last_zxid(), options.log.clone());
    Ok(Recovered {
        tree,
        sessions,
        log,
        replayed,
        snapshot: path,
        took: Default::default(),
        digest_mismatches: check.mismatches,
    })
}

/// Compares the tree with the digests in snapshot and log, once it can be equal: a fuzzy snapshot has parts of what came up to its
/// digest's transaction.
struct DigestCheck {
    enabled: bool,
    snapshot: Option<SnapshotDigest>,
    /// Nothing is known of how fuzzy the snapshot is.
    fuzzy: bool,
    /// The snapshot's digest differs: the transaction, what was found and what was written. ZooKeeper may write a part of the next
    /// transaction into a snapshot and the digest from before it; then the digest in the log is right after that transaction.
    doubt: Option<(i64, i64, i64)>,
    mismatches: usize,
}

impl DigestCheck {
    fn new(enabled: bool, snapshot: Option<SnapshotDigest>, from_nothing: bool) -> Self {
        DigestCheck {
            enabled,
            snapshot,
            fuzzy: !from_nothing && snapshot.is_none(),
            doubt: None,
            mismatches: 0,
        }
    }

    fn snapshot(&mut self, tree: &Tree) {
        let Some(SnapshotDigest { zxid, version, digest }) = self.snapshot else { return };
        if tree.last_zxid() < zxid {
            return;
        }
        self.snapshot = None;
        // As of an earlier one than the snapshot, or of 0, it is not the snapshot's.
        if tree.last_zxid() == zxid && zxid > 0 && self.differs(tree, version, digest) {
            self.doubt = Some((zxid, tree.digest(), digest));
        }
    }

    fn logged(&mut self, tree: &Tree, version: i32, digest: i64) {
        if self.snapshot.is_some() || self.fuzzy || version != digest::VERSION {
            return;
        }
        let doubt = self.doubt.take();
        if self.differs(tree, version, digest) {
            let (zxid, found, written) = doubt.unwrap_or((tree.last_zxid(), tree.digest(), digest));
            self.mismatch(zxid, found, written);
        }
    }

    fn differs(&self, tree: &Tree, version: i32, digest: i64) -> bool {
        self.enabled && version == digest::VERSION && tree.digest() != digest
    }

    fn mismatch(&mut self, zxid: i64, found: i64, written: i64) {
        self.mismatches += 1;
        if self.mismatches == 1 {
            tracing::error!(
                "the first digest that differs is that of transaction 0x{zxid:x}: {written} was logged, {found} was found"
            );
        }
    }

    fn end(&mut self, tree: &Tree) {
        if let Some((zxid, found, written)) = self.doubt.take() {
            self.mismatch(zxid, found, written);
        }
        if self.mismatches > 0 {
            tracing::error!(
                mismatches = self.mismatches,
                "the znodes are not what the server that wrote the log had: keep a copy of dataDir and dataLogDir, compare the \
                 znodes with a backup or with what their users expect, and report it; digests are of the znodes as they are \
                 now from the next snapshot on"
            );
        }
        if let Some(SnapshotDigest { zxid, .. }) = self.snapshot {
            let last = tree.last_zxid();
            tracing::warn!(
                "the snapshot may hold parts of transactions up to 0x{zxid:x}, and the log ends with 0x{last:x}"
            );
        }
    }
}
