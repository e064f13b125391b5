//! What the server measures beyond plain counts.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use super::summary::Summary;
use crate::proto::{EventType, op};

/// Namespaces that are told apart. Later ones are not: their names come from clients and must not fill the memory.
const MOST_NAMESPACES: usize = 1000;
/// What a znode's stat counts for in what was read.
const STAT_BYTES: usize = 68;
/// The tree's digest is noted once in so many transactions, and so many of these notes are kept.
const DIGEST_INTERVAL: i64 = 128;
const MOST_DIGESTS: usize = 1024;

/// What the core and the event loop measure. Plain numbers: the core has one thread.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct Figures {
    /// From receipt to answer, in ms.
    pub read_latency: Summary,
    pub update_latency: Summary,
    /// From proposal to application, in ms.
    pub propagation_latency: Summary,
    /// Watchers told at once, by event.
    pub created_watchers: Summary,
    pub deleted_watchers: Summary,
    pub changed_watchers: Summary,
    pub children_watchers: Summary,
    pub bytes_received: u64,
    pub response_bytes: u64,
    pub watch_bytes: u64,
    pub client_responses: ResponseSizes,
    pub connect_requests: u64,
    pub connections_dropped: u64,
    pub failed_handshakes: u64,
    pub ensemble_auth_success: u64,
    pub ensemble_auth_fail: u64,
    pub ensemble_auth_skip: u64,
    /// Transactions proposed.
    pub proposals: u64,
    pub reads: Namespaces,
    pub writes: Namespaces,
    /// What the threads of the storage measure.
    pub storage: Arc<Mutex<StorageFigures>>,
}

impl Default for Figures {
    fn default() -> Self {
        Figures {
            read_latency: Summary::detailed(),
            update_latency: Summary::detailed(),
            propagation_latency: Summary::detailed(),
            created_watchers: Summary::default(),
            deleted_watchers: Summary::default(),
            changed_watchers: Summary::default(),
            children_watchers: Summary::default(),
            bytes_received: 0,
            response_bytes: 0,
            watch_bytes: 0,
            client_responses: ResponseSizes::default(),
            connect_requests: 0,
            connections_dropped: 0,
            failed_handshakes: 0,
            ensemble_auth_success: 0,
            ensemble_auth_fail: 0,
            ensemble_auth_skip: 0,
            proposals: 0,
            reads: Namespaces::default(),
            writes: Namespaces::default(),
            storage: Arc::default(),
        }
    }
}

impl Figures {
    /// A request was answered after this time.
    pub fn answered(&mut self, op: i32, latency_ms: u64) {
        if is_update(op) {
            self.update_latency.add(latency_ms);
        } else {
            self.read_latency.add(latency_ms);
        }
    }

    /// An answer of so many bytes goes out. Its length's own four do not count, as in ZooKeeper.
    pub fn response(&mut self, bytes: usize) {
        self.response_bytes += bytes as u64;
        self.client_responses.add(bytes as i64);
    }

    /// A notification of so many bytes goes out, those of its length among them.
    pub fn notification(&mut self, bytes: usize) {
        let bytes = bytes.saturating_sub(4);
        self.watch_bytes += bytes as u64;
        self.client_responses.add(bytes as i64);
    }

    /// A client has named the ensemble that it looks for. `skipped`: any name would do.
    pub fn ensemble_auth(&mut self, success: bool, skipped: bool) {
        let count = match (success, skipped) {
            (true, true) => &mut self.ensemble_auth_skip,
            (true, false) => &mut self.ensemble_auth_success,
            (false, _) => &mut self.ensemble_auth_fail,
        };
        *count += 1;
    }

    /// Watchers are told of an event.
    pub fn triggered(&mut self, event: EventType, watchers: usize) {
        let summary = match event {
            EventType::NodeCreated => &mut self.created_watchers,
            EventType::NodeDeleted => &mut self.deleted_watchers,
            EventType::NodeDataChanged => &mut self.changed_watchers,
            EventType::NodeChildrenChanged => &mut self.children_watchers,
        };
        summary.add(watchers as u64);
    }

    /// A znode was read, with so many bytes of data or of children's names.
    pub fn read(&mut self, path: &str, bytes: usize) {
        self.reads.add(path, path.len() + bytes + STAT_BYTES);
    }

    /// A znode was written, with so many bytes of data.
    pub fn written(&mut self, path: &str, bytes: usize) {
        self.writes.add(path, path.len() + bytes);
    }

    /// What the threads of the storage measure.
    pub fn storage(&self) -> MutexGuard<'_, StorageFigures> {
        lock(&self.storage)
    }

    /// As if nothing had happened yet; namespaces stay known.
    pub fn reset(&mut self) {
        let (mut reads, mut writes) = (std::mem::take(&mut self.reads), std::mem::take(&mut self.writes));
        reads.reset();
        writes.reset();
        *self.storage() = StorageFigures::default();
        *self = Figures { reads, writes, storage: self.storage.clone(), ..Figures::default() };
    }
}

fn is_update(op: i32) -> bool {
    matches!(
        op,
        op::CREATE
            | op::CREATE2
            | op::CREATE_TTL
            | op::CREATE_CONTAINER
            | op::DELETE
            | op::DELETE_CONTAINER
            | op::SET_DATA
            | op::SET_ACL
            | op::MULTI
            | op::RECONFIG
            | op::CREATE_SESSION
            | op::CLOSE_SESSION
    )
}

/// What the threads beside the core measure, once in a batch of transactions at most. Times in ms.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct StorageFigures {
    pub sync: Summary,
    /// Syncs that took longer than `fsync.warningthresholdms`.
    pub slow_syncs: u64,
    /// Writing and syncing of a batch.
    pub flush: Summary,
    /// Transactions in a batch.
    pub batch: Summary,
    pub snapshot: Summary,
    pub snapshot_errors: u64,
    pub snapshots_rate_limited: u64,
    pub restore: Summary,
    pub restore_errors: u64,
    pub restores_rate_limited: u64,
    /// The start: all of it, reading the snapshot, the transactions since and the time they took.
    pub start: Summary,
    pub start_snapshot: Summary,
    pub start_transactions: Summary,
    pub start_replay: Summary,
}

impl Default for StorageFigures {
    fn default() -> Self {
        StorageFigures {
            sync: Summary::default(),
            slow_syncs: 0,
            flush: Summary::detailed(),
            batch: Summary::default(),
            snapshot: Summary::default(),
            snapshot_errors: 0,
            snapshots_rate_limited: 0,
            restore: Summary::default(),
            restore_errors: 0,
            restores_rate_limited: 0,
            start: Summary::default(),
            start_snapshot: Summary::default(),
            start_transactions: Summary::default(),
            start_replay: Summary::default(),
        }
    }
}

/// Takes the storage's figures. A thread that panicked with them leaves numbers that are right enough.
pub fn lock(figures: &Mutex<StorageFigures>) -> MutexGuard<'_, StorageFigures> {
    figures.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Bytes of the last, the shortest and the longest answer to a client; -1 before the first one.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)]
pub struct ResponseSizes {
    pub last: i64,
    pub min: i64,
    pub max: i64,
}

impl Default for ResponseSizes {
    fn default() -> Self {
        ResponseSizes { last: -1, min: -1, max: -1 }
    }
}

impl ResponseSizes {
    fn add(&mut self, bytes: i64) {
        self.last = bytes;
        self.min = if self.min < 0 { bytes } else { self.min.min(bytes) };
        self.max = self.max.max(bytes);
    }
}

/// Bytes read or written under each of the root's children.
#[derive(Debug, Clone, Default)]
pub struct Namespaces(HashMap<Box<str>, Summary>);

impl Namespaces {
    fn add(&mut self, path: &str, bytes: usize) {
        let Some(name) = path.split('/').nth(1).filter(|name| !name.is_empty()) else { return };
        if let Some(summary) = self.0.get_mut(name) {
            summary.add(bytes as u64);
        } else if self.0.len() < MOST_NAMESPACES {
            self.0.entry(name.into()).or_default().add(bytes as u64);
        }
    }

    fn reset(&mut self) {
        self.0.values_mut().for_each(Summary::reset);
    }

    /// Each namespace's figures, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Summary)> {
        self.0.iter().map(|(name, summary)| (&**name, summary))
    }
}

/// The tree's digests of some transactions, which `hash` lists so that servers can be compared.
#[derive(Debug, Clone, Default)]
pub struct DigestLog(VecDeque<(i64, i64)>);

impl DigestLog {
    /// The tree's digest behind a transaction; `digest` is asked for where one is noted.
    pub fn note(&mut self, zxid: i64, digest: impl FnOnce() -> i64) {
        if zxid % DIGEST_INTERVAL == 0 {
            if self.0.len() >= MOST_DIGESTS {
                self.0.pop_front();
            }
            self.0.push_back((zxid, digest()));
        }
    }

    /// Zxid and digest of each, in order.
    pub fn iter(&self) -> impl Iterator<Item = (i64, i64)> {
        self.0.iter().copied()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}
