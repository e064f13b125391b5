//! An office: the value through which its holder writes.
//!
//! Invariant: whatever is written through it was written while its epoch was the last one.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use streamkeeper_zookeeper::Error as ZkError;
use tokio::sync::watch;

use super::LeaderDocument;
use super::core::Held;
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::guard::{Guard, Write};
use crate::jobs::{JobCache, ResultCache};

/// Pause before a read is tried again.
const RETRY: Duration = Duration::from_millis(50);

/// What the leader of an epoch writes through. Clones are the same office.
#[derive(Clone)]
pub struct Leadership {
    inner: Arc<Inner>,
}

struct Inner {
    cluster: Cluster,
    document: LeaderDocument,
    version: i32,
    revoked: watch::Sender<bool>,
    jobs: Mutex<HashMap<String, Arc<tokio::sync::Mutex<JobCache>>>>,
    results: tokio::sync::Mutex<ResultCache>,
}

impl Leadership {
    pub(super) fn new(cluster: Cluster, held: &Held) -> Self {
        Self {
            inner: Arc::new(Inner {
                cluster,
                document: held.document.clone(),
                version: held.version,
                revoked: watch::Sender::new(false),
                jobs: Mutex::default(),
                results: tokio::sync::Mutex::default(),
            }),
        }
    }

    /// The epoch: what every order of this leader carries.
    pub fn epoch(&self) -> u64 {
        self.inner.document.epoch
    }

    /// What `leader/epoch` holds.
    pub fn document(&self) -> &LeaderDocument {
        &self.inner.document
    }

    /// The cluster that it leads.
    pub fn cluster(&self) -> &Cluster {
        &self.inner.cluster
    }

    /// Whether it is known to be over. Where nothing is known yet, writes find out.
    pub fn is_revoked(&self) -> bool {
        *self.inner.revoked.borrow()
    }

    /// Waits until it is known to be over.
    pub async fn revoked(&self) {
        // The sender lives as long as this.
        let _ = self.inner.revoked.subscribe().wait_for(|revoked| *revoked).await;
    }

    pub(super) fn revoke(&self) {
        self.inner.revoked.send_replace(true);
    }

    pub(super) fn is(&self, held: &Held) -> bool {
        self.inner.version == held.version && self.inner.document == held.document
    }

    /// Does all of `writes` or nothing, if this leads.
    ///
    /// # Errors
    /// [`Error::Deposed`] and [`Error::Changed`]: nothing was written; [`Error::Unresolved`]: nobody knows;
    /// [`Error::ZooKeeper`]: nothing was written, as there is no connection, or it was refused.
    pub(crate) async fn write(&self, operation: &str, writes: &[Write]) -> Result<()> {
        let guard = Guard { epoch: self.epoch(), version: self.inner.version };
        let written =
            guard.write(&self.inner.cluster, operation, writes, self.inner.revoked.subscribe()).await;
        // A version that is gone does not come back.
        if matches!(written, Err(Error::Deposed { .. })) {
            self.revoke();
        }
        written
    }

    /// Reads what a write is made from, once more where the connection is lost: so an error of a lost connection is never one of a read,
    /// which would tell of an unknown outcome where there is none.
    pub(crate) async fn read<T, F: Future<Output = Result<T>>>(
        &self,
        operation: &str,
        read: impl Fn() -> F,
    ) -> Result<T> {
        let options = self.inner.cluster.zookeeper().options();
        let began = Instant::now();
        loop {
            match read().await {
                Err(Error::ZooKeeper(error)) if error.is_transient() => {
                    let waited = began.elapsed();
                    if waited >= options.operation_timeout {
                        let (operation, quorum) = (operation.to_owned(), options.quorum.clone());
                        return Err(ZkError::Suspended { operation, quorum, waited }.into());
                    }
                    tokio::time::sleep(RETRY).await;
                }
                read => return read,
            }
        }
    }

    /// What is known of a job's documents; whoever writes one holds the lock.
    pub(crate) fn job_cache(&self, job: &str) -> Arc<tokio::sync::Mutex<JobCache>> {
        let mut jobs = self.inner.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.entry(job.to_owned()).or_default().clone()
    }

    pub(crate) fn forget_job(&self, job: &str) {
        self.inner.jobs.lock().unwrap_or_else(PoisonError::into_inner).remove(job);
    }

    /// What is known of the results that are kept.
    pub(crate) fn results(&self) -> &tokio::sync::Mutex<ResultCache> {
        &self.inner.results
    }
}

impl PartialEq for Leadership {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }
}

impl Eq for Leadership {}

impl fmt::Debug for Leadership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leadership")
            .field("document", &self.inner.document)
            .field("revoked", &self.is_revoked())
            .finish_non_exhaustive()
    }
}
