//! The log's thread, and snapshots beside it.
//!
//! The event loop hands over transactions in order and hears which are durable. While one batch is being synced the next gathers, so
//! that a busy server pays one sync for many transactions. When a batch cannot be written, it and all that were handed over behind it are
//! gone, until the event loop has taken note ([`Durability::resume`]): no transaction is ever logged behind one that is missing.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::Waker;

use super::ServerError;
use crate::core::{Core, Proposals};
use crate::metrics::figures::{self, StorageFigures};
use crate::storage::{
    Compression, DataDirs, Disk, RealDisk, RecoverOptions, Recovered, StorageError, TxnLog, purge, recover,
    snapshot,
};
use crate::tree::Tree;

/// A batch is synced when it has this many bytes, however many more wait.
const BATCH_BYTES: usize = 4 << 20;
/// How often a full disk is looked at again, and with how much room writing goes on.
const ROOM_CHECK_INTERVAL: Duration = Duration::from_secs(1);
const ROOM_BYTES: u64 = 1 << 20;

/// Where and how transactions are kept.
#[derive(Debug, Clone)]
pub struct StorageOptions {
    /// Directory of the snapshots (`dataDir`).
    pub data_dir: std::path::PathBuf,
    /// Directory of the log, if another (`dataLogDir`).
    pub data_log_dir: Option<std::path::PathBuf>,
    /// How to recover, and how to write the log.
    pub recover: RecoverOptions,
    /// Whether directories are made that are not there (`datadir.autocreate`).
    pub create_dirs: bool,
    /// A snapshot is taken after this many transactions (`snapCount`).
    pub snapshot_transactions: u64,
    /// Or after this many bytes of log (`snapSizeLimitInKb`); 0: no limit.
    pub snapshot_log_bytes: u64,
    /// How snapshots are compressed.
    pub compression: Compression,
    /// Snapshots kept, and how often others are removed; `None`: never (`autopurge`).
    pub purge: Option<(usize, Duration)>,
    /// A sync that takes longer is told of (`fsync.warningthresholdms`).
    pub slow_sync: Duration,
    /// Where the files are: the operating system's disk, unless a test takes another. The directories are the operating system's.
    pub disk: AnyDisk,
}

/// A disk of whatever kind.
#[derive(Clone)]
pub struct AnyDisk(pub Arc<dyn Disk>);

impl std::fmt::Debug for AnyDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AnyDisk")
    }
}

impl StorageOptions {
    /// ZooKeeper's defaults, but that old files are removed every hour.
    pub fn new(data_dir: impl Into<std::path::PathBuf>) -> Self {
        StorageOptions {
            data_dir: data_dir.into(),
            data_log_dir: None,
            recover: RecoverOptions::default(),
            create_dirs: true,
            snapshot_transactions: 100_000,
            snapshot_log_bytes: 4 << 30,
            compression: Compression::None,
            purge: Some((3, Duration::from_secs(3600))),
            slow_sync: Duration::from_secs(1),
            disk: AnyDisk(Arc::new(RealDisk)),
        }
    }
}

enum Request {
    Append(Proposals),
    /// What could not be logged is known to the event loop.
    Resume,
    /// The next transaction begins a new file.
    Roll,
    Stop,
}

/// What the event loop hears of.
pub(super) enum Outcome {
    /// All transactions up to this one are durable.
    Committed(i64),
    /// No transaction behind the last one committed is, nor will be.
    Failed(StorageError),
}

/// See the module's page.
pub(super) struct Durability {
    requests: Sender<Request>,
    pub(super) outcomes: Receiver<Outcome>,
    thread: Option<JoinHandle<()>>,
    snapshots: Snapshots,
    disk: Arc<dyn Disk>,
    dirs: Arc<DataDirs>,
    next_room_check: Option<Instant>,
    figures: Arc<Mutex<StorageFigures>>,
}

/// When the next snapshot is due, and the one being written.
struct Snapshots {
    options: StorageOptions,
    transactions: u64,
    log_bytes: u64,
    writing: Option<JoinHandle<()>>,
    next_purge: Option<Instant>,
}

impl Durability {
    /// Recovers what the directories hold, and starts the log's thread.
    pub(super) fn start(
        options: StorageOptions,
        waker: Arc<Waker>,
    ) -> Result<(Self, Recovered), ServerError> {
        let disk = options.disk.0.clone();
        let dirs = DataDirs::open(&options.data_dir, options.data_log_dir.as_deref(), options.create_dirs)?;
        let started = Instant::now();
        let mut recovered = recover(disk.clone(), &dirs, &options.recover)?;
        tracing::info!(
            zxid = format_args!("0x{:x}", recovered.tree.last_zxid()),
            znodes = recovered.tree.len(),
            sessions = recovered.sessions.len(),
            replayed = recovered.replayed,
            "recovered"
        );
        let log = std::mem::replace(
            &mut recovered.log,
            TxnLog::new(disk.clone(), &dirs.logs, 0, options.recover.log.clone()),
        );
        let figures = Arc::new(Mutex::new(start_figures(&recovered, started.elapsed())));
        let (requests, requests_in) = mpsc::channel();
        let (outcomes_out, outcomes) = mpsc::channel();
        let (slow_sync, figures_of_log) = (options.slow_sync, figures.clone());
        let thread = std::thread::Builder::new()
            .name("keeper-log".into())
            .spawn(move || write_log(log, &requests_in, &outcomes_out, &waker, slow_sync, &figures_of_log))
            .map_err(|source| ServerError::System { doing: "start the log's thread", source })?;
        let snapshots = Snapshots {
            next_purge: options.purge.map(|(_, interval)| Instant::now() + interval),
            // What was replayed counts, so that a server that is restarted often takes snapshots as well.
            transactions: recovered.replayed as u64,
            log_bytes: 0,
            writing: None,
            options,
        };
        let durability = Durability {
            requests,
            outcomes,
            thread: Some(thread),
            snapshots,
            disk,
            dirs: Arc::new(dirs),
            next_room_check: None,
            figures,
        };
        Ok((durability, recovered))
    }

    /// Hands over transactions.
    pub(super) fn log(&mut self, proposals: Proposals) {
        self.snapshots.transactions += proposals.ends.len() as u64;
        self.snapshots.log_bytes += proposals.bytes.len() as u64;
        self.tell(Request::Append(proposals));
    }

    /// The core has undone what could not be logged: later transactions are logged again.
    pub(super) fn resume(&mut self) {
        self.next_room_check = Some(Instant::now() + ROOM_CHECK_INTERVAL);
        self.tell(Request::Resume);
    }

    /// Writes a snapshot that takes the place of everything before it; transactions that are on their way to the log come before it.
    pub(super) fn restore(&mut self, tree: &Tree, sessions: &BTreeMap<i64, i32>) -> Result<(), StorageError> {
        let sessions: Vec<(i64, i32)> = sessions.iter().map(|(id, timeout_ms)| (*id, *timeout_ms)).collect();
        let compression = self.snapshots.options.compression;
        snapshot::write(&*self.disk, &self.dirs.snapshots, &tree.freeze(), &sessions, compression)?;
        self.tell(Request::Roll);
        self.snapshots.transactions = 0;
        self.snapshots.log_bytes = 0;
        Ok(())
    }

    /// What the threads of the storage measure.
    pub(super) fn figures(&self) -> Arc<Mutex<StorageFigures>> {
        self.figures.clone()
    }

    /// Where the files are.
    pub(super) fn dirs(&self) -> &DataDirs {
        &self.dirs
    }

    /// Does what is due: snapshots, removal of old files, a look whether a full disk has room again.
    pub(super) fn tick(&mut self, core: &mut Core) {
        let now = Instant::now();
        if self.next_room_check.is_some_and(|due| due <= now) {
            let room = self.disk.free_space(&self.dirs.logs).unwrap_or(0);
            self.next_room_check = (room < ROOM_BYTES).then_some(now + ROOM_CHECK_INTERVAL);
            if room >= ROOM_BYTES {
                tracing::info!(room_bytes = room, "there is room on the disk again: writes are let in");
                core.set_read_only(false);
            }
        }
        if self.snapshots.is_due() && !core.read_only() {
            self.take_snapshot(core);
        }
        if let Some((keep, interval)) = self.snapshots.options.purge
            && self.snapshots.next_purge.is_some_and(|due| due <= now)
        {
            self.snapshots.next_purge = Some(now + interval);
            let (disk, dirs) = (self.disk.clone(), self.dirs.clone());
            let spawned =
                std::thread::Builder::new().name("keeper-purge".into()).spawn(move || {
                    match purge(&*disk, &dirs, keep) {
                        Ok(removed) if removed.is_empty() => {}
                        Ok(removed) => {
                            tracing::info!(files = removed.len(), "removed old snapshots and logs")
                        }
                        Err(error) => tracing::warn!(%error, "cannot remove old snapshots and logs"),
                    }
                });
            if let Err(error) = spawned {
                tracing::warn!(%error, "cannot start a thread to remove old files");
            }
        }
    }

    /// When [`Durability::tick`] is due next.
    pub(super) fn next_tick(&self) -> Option<Instant> {
        self.next_room_check.into_iter().chain(self.snapshots.next_purge).min()
    }

    /// Begins a snapshot of all that is applied.
    fn take_snapshot(&mut self, core: &Core) {
        self.tell(Request::Roll);
        self.snapshots.transactions = 0;
        self.snapshots.log_bytes = 0;
        let (frozen, sessions) = core.freeze();
        let (disk, dirs, compression) =
            (self.disk.clone(), self.dirs.clone(), self.snapshots.options.compression);
        let figures = self.figures.clone();
        let spawned = std::thread::Builder::new().name("keeper-snapshot".into()).spawn(move || {
            let (zxid, begin) = (frozen.zxid(), Instant::now());
            let written = snapshot::write(&*disk, &dirs.snapshots, &frozen, &sessions, compression);
            figures::lock(&figures).snapshot.add(begin.elapsed().as_millis() as u64);
            match written {
                Ok(path) => tracing::info!(path = %path.display(), znodes = frozen.len(), "took a snapshot"),
                // The log since the last one is still there: nothing is lost.
                Err(error) => {
                    tracing::error!(zxid = format_args!("0x{zxid:x}"), %error, "cannot take a snapshot")
                }
            }
        });
        match spawned {
            Ok(thread) => self.snapshots.writing = Some(thread),
            Err(error) => tracing::error!(%error, "cannot start a thread for a snapshot"),
        }
    }

    fn tell(&self, request: Request) {
        if self.requests.send(request).is_err() {
            // The thread has panicked; the event loop learns of it by the closed channel of outcomes.
            tracing::error!("the log's thread has stopped");
        }
    }
}

impl Drop for Durability {
    fn drop(&mut self) {
        self.tell(Request::Stop);
        let snapshot = self.snapshots.writing.take();
        for thread in self.thread.take().into_iter().chain(snapshot) {
            if thread.join().is_err() {
                tracing::error!("a thread of the storage has panicked");
            }
        }
    }
}

impl Snapshots {
    fn is_due(&self) -> bool {
        let limit = self.options.snapshot_log_bytes;
        let enough =
            self.transactions >= self.options.snapshot_transactions || limit > 0 && self.log_bytes >= limit;
        enough && self.writing.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

/// What the start took.
fn start_figures(recovered: &Recovered, took: Duration) -> StorageFigures {
    let mut figures = StorageFigures::default();
    figures.start.add(took.as_millis() as u64);
    figures.start_snapshot.add(recovered.took.0.as_millis() as u64);
    figures.start_replay.add(recovered.took.1.as_millis() as u64);
    figures.start_transactions.add(recovered.replayed as u64);
    figures
}

/// The log's thread.
fn write_log(
    mut log: TxnLog,
    requests: &Receiver<Request>,
    outcomes: &Sender<Outcome>,
    waker: &Waker,
    slow_sync: Duration,
    figures: &Mutex<StorageFigures>,
) {
    let mut failed = false;
    while let Ok(first) = requests.recv() {
        let mut next = Some(first);
        let mut result = Ok(());
        let mut stop = false;
        let mut transactions = 0;
        while let Some(request) = next.take() {
            match request {
                Request::Append(_) if failed => {}
                Request::Append(proposals) => {
                    transactions += proposals.ends.len() as u64;
                    result = proposals.iter().try_for_each(|(zxid, bytes)| log.append(zxid, bytes));
                }
                Request::Resume => failed = false,
                Request::Roll if failed => {}
                Request::Roll => result = log.roll(),
                Request::Stop => stop = true,
            }
            if result.is_ok() && !stop && log.buffered_bytes() < BATCH_BYTES {
                next = requests.try_recv().ok();
            }
        }
        let before = log.committed_zxid();
        let begin = Instant::now();
        let result = result.and_then(|()| log.commit());
        let slow = log.last_sync() > slow_sync;
        if result.is_ok() && transactions > 0 {
            let mut figures = figures::lock(figures);
            figures.batch.add(transactions);
            figures.flush.add(begin.elapsed().as_millis() as u64);
            figures.sync.add(log.last_sync().as_millis() as u64);
            figures.slow_syncs += u64::from(slow);
        }
        if slow {
            tracing::warn!(
                ms = log.last_sync().as_millis() as u64,
                "syncing the log took long: clients wait for it"
            );
        }
        let outcome = match result {
            Ok(()) => Outcome::Committed(log.committed_zxid()),
            Err(error) => {
                failed = true;
                if log.committed_zxid() > before {
                    // A roll had committed what came before.
                    let _ = outcomes.send(Outcome::Committed(log.committed_zxid()));
                }
                Outcome::Failed(error)
            }
        };
        // Nobody listens any more when the server is stopping.
        let _ = outcomes.send(outcome);
        let _ = waker.wake();
        if stop {
            return;
        }
    }
}
