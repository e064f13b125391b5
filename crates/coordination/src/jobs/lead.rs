//! What the leader does with jobs.
//!
//! Invariant: each write is guarded by the epoch and made at the versions that this leader knows; a checkpoint pointer never goes
//! back. The leader is the only writer of what it writes here, but for a hand with a shell: what that has written is replaced.

use std::collections::{BTreeMap, BTreeSet};

use streamkeeper_zookeeper::Multi;

use super::document::{Assignment, CheckpointPointer, Desired, JobResult, JobStatus};
use super::results::{MAX_RESULTS, to_remove};
use super::store::{documents, ended};
use crate::cluster::Cluster;
use crate::document::{Versioned, decode, encode, read};
use crate::election::Leadership;
use crate::error::{Error, Result};
use crate::guard::Write;
use crate::layout::{JobPart, checked};

/// How often a write is made anew because a foreign hand has changed the document.
const ATTEMPTS: usize = 5;

/// What a request has besides its operations.
const REQUEST_OVERHEAD: usize = 1024;

/// Results that are asked for at once.
const BATCH: usize = 256;

/// What is known of a job's znodes.
#[derive(Debug, Default)]
pub(crate) struct JobCache {
    versions: BTreeMap<JobPart, i32>,
    checkpoint: Option<Versioned<CheckpointPointer>>,
}

/// New documents of one job; those left out stay as they are.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JobUpdate {
    /// The job's id.
    pub job: String,
    /// What is wanted of it, in place of what has this version: a client's wish is never overwritten unseen.
    pub desired: Option<Versioned<Desired>>,
    /// What runs where.
    pub assignment: Option<Assignment>,
    /// What has become of it.
    pub status: Option<JobStatus>,
}

impl JobUpdate {
    /// No document of `job` yet.
    pub fn new(job: impl Into<String>) -> Self {
        Self { job: job.into(), ..Self::default() }
    }

    /// With this assignment.
    pub fn assignment(mut self, assignment: Assignment) -> Self {
        self.assignment = Some(assignment);
        self
    }

    /// With this status.
    pub fn status(mut self, status: JobStatus) -> Self {
        self.status = Some(status);
        self
    }

    fn texts(&self, leadership: &Leadership) -> Result<BTreeMap<JobPart, Text>> {
        let mut texts = BTreeMap::new();
        let path = |part| leadership.cluster().layout().job_document(&self.job, part);
        if let Some(desired) = &self.desired {
            let path = path(JobPart::Desired);
            let data = encode(&path, &desired.value)?;
            texts.insert(JobPart::Desired, Text { path, data, version: Some(desired.version) });
        }
        if let Some(assignment) = &self.assignment {
            let path = path(JobPart::Assignment);
            let data = encode(&path, assignment)?;
            texts.insert(JobPart::Assignment, Text { path, data, version: None });
        }
        if let Some(status) = &self.status {
            let path = path(JobPart::Status);
            let data = encode(&path, status)?;
            texts.insert(JobPart::Status, Text { path, data, version: None });
        }
        Ok(texts)
    }
}

/// A document that is to be written.
struct Text {
    path: String,
    data: Vec<u8>,
    /// The version that it replaces; none for the one that this leader knows, or finds.
    version: Option<i32>,
}

/// What became of a checkpoint pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// It was written.
    Written,
    /// It was there already: an earlier attempt, whose outcome was unknown, had written it.
    AlreadyThere,
}

impl Leadership {
    /// Writes new documents of some jobs, in one transaction; in several, one after the other, when one would be too large. A job's
    /// documents are never torn apart.
    ///
    /// # Errors
    /// [`Error::Deposed`]; [`Error::NoJob`] when one of the jobs has no such document; [`Error::Changed`] when what is wanted of a job
    /// is at another version than was seen; [`Error::Unresolved`], [`Error::InvalidDocument`], [`Error::ZooKeeper`]. Of several transactions, those before the one that failed were written.
    pub async fn update_jobs(&self, updates: &[JobUpdate]) -> Result<()> {
        // In the order of ids, so that two callers never wait for each other.
        let mut sorted: BTreeMap<&str, Vec<&JobUpdate>> = BTreeMap::new();
        for update in updates {
            checked("job id", &update.job)?;
            sorted.entry(&update.job).or_default().push(update);
        }
        let limit = self.cluster().zookeeper().options().max_request_bytes.saturating_sub(REQUEST_OVERHEAD);
        let mut batch = Vec::new();
        let mut bytes = 0;
        for (job, updates) in sorted {
            let mut texts = BTreeMap::new();
            for update in updates {
                texts.extend(update.texts(self)?);
            }
            let grows: usize =
                texts.values().map(|text| Multi::operation_bytes(&text.path, text.data.len())).sum();
            if bytes + grows > limit && !batch.is_empty() {
                self.write_jobs(std::mem::take(&mut batch)).await?;
                bytes = 0;
            }
            bytes += grows;
            batch.push((job, texts));
        }
        if batch.is_empty() { Ok(()) } else { self.write_jobs(batch).await }
    }

    async fn write_jobs(&self, batch: Vec<(&str, BTreeMap<JobPart, Text>)>) -> Result<()> {
        let caches: Vec<_> = batch.iter().map(|(job, _)| self.job_cache(job)).collect();
        let mut locked = Vec::with_capacity(caches.len());
        for cache in &caches {
            locked.push(cache.lock().await);
        }
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let mut writes = Vec::new();
            for ((job, texts), cache) in batch.iter().zip(&mut locked) {
                self.learn_versions(job, texts, cache).await?;
                for (part, text) in texts {
                    // Taken out until it is known what it is now.
                    let known = cache.versions.remove(part).unwrap_or_default();
                    let version = text.version.unwrap_or(known);
                    writes.push(Write::Set { path: text.path.clone(), data: text.data.clone(), version });
                }
            }
            match self.write("write job documents", &writes).await {
                Ok(()) => {
                    let mut writes = writes.iter();
                    for ((_, texts), cache) in batch.iter().zip(&mut locked) {
                        for (part, write) in texts.keys().zip(&mut writes) {
                            if let Write::Set { version, .. } = write {
                                cache.versions.insert(*part, version + 1);
                            }
                        }
                    }
                    return Ok(());
                }
                Err(Error::Changed { path }) => {
                    let wished = |text: &Text| text.path == path && text.version.is_some();
                    if batch.iter().any(|(_, texts)| texts.values().any(wished)) {
                        return Err(Error::Changed { path });
                    }
                    tracing::warn!("{path} was changed by a foreign hand, and is replaced");
                    last = Some(path);
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::Contended { scope: last.unwrap_or_default(), attempts: ATTEMPTS })
    }

    /// Reads the versions that are not known yet.
    async fn learn_versions(
        &self,
        job: &str,
        texts: &BTreeMap<JobPart, Text>,
        cache: &mut JobCache,
    ) -> Result<()> {
        let unknown: Vec<JobPart> =
            texts.keys().filter(|part| !cache.versions.contains_key(part)).copied().collect();
        if unknown.is_empty() {
            return Ok(());
        }
        for (part, found) in unknown.iter().zip(self.documents(job, &unknown).await?) {
            let Some((_, version)) = found else {
                self.forget_job(job);
                return Err(Error::NoJob { job: job.to_owned() });
            };
            cache.versions.insert(*part, version);
        }
        Ok(())
    }

    /// Moves a job's checkpoint pointer to a checkpoint that has just completed, in one transaction. Doing it again, after
    /// [`Error::Unresolved`], does no harm. Only after this may anything be committed, or older checkpoints be deleted.
    ///
    /// # Errors
    /// [`Error::CheckpointGoesBack`] when the pointer names this or a later checkpoint already, with something else beside it;
    /// [`Error::Deposed`], [`Error::NoJob`], [`Error::Unresolved`], [`Error::InvalidDocument`], [`Error::ZooKeeper`].
    pub async fn complete_checkpoint(&self, job: &str, pointer: &CheckpointPointer) -> Result<Moved> {
        checked("job id", job)?;
        let path = self.cluster().layout().job_document(job, JobPart::Checkpoint);
        let invalid = |reason: &str| Error::InvalidDocument { scope: path.clone(), reason: reason.into() };
        let Some(new) = pointer.latest() else { return Err(invalid("it names no checkpoint")) };
        if !pointer.retained.is_sorted_by(|a, b| a < b) {
            return Err(invalid("the ids of the retained checkpoints are not in order"));
        }
        let data = encode(&path, pointer)?;
        let cache = self.job_cache(job);
        let mut cache = cache.lock().await;
        for _ in 0..ATTEMPTS {
            // Taken out until it is known what it is now.
            let known = match cache.checkpoint.take() {
                Some(known) => known,
                None => {
                    let found = self.documents(job, &[JobPart::Checkpoint]).await?;
                    let Some(Some((text, version))) = found.into_iter().next() else {
                        self.forget_job(job);
                        return Err(Error::NoJob { job: job.to_owned() });
                    };
                    Versioned { value: read::<CheckpointPointer>(&path, &text)?, version }
                }
            };
            if known.value == *pointer {
                cache.checkpoint = Some(known);
                return Ok(Moved::AlreadyThere);
            }
            if let Some(latest) = known.value.latest().filter(|latest| *latest >= new) {
                cache.checkpoint = Some(known);
                return Err(Error::CheckpointGoesBack { job: job.to_owned(), latest, new });
            }
            let write = Write::Set { path: path.clone(), data: data.clone(), version: known.version };
            match self.write("move the checkpoint pointer", &[write]).await {
                Ok(()) => {
                    let version = known.version + 1;
                    cache.checkpoint = Some(Versioned { value: pointer.clone(), version });
                    return Ok(Moved::Written);
                }
                Err(Error::Changed { path }) => tracing::warn!("{path} was changed by a foreign hand"),
                Err(error) => return Err(error),
            }
        }
        Err(Error::Contended { scope: path.clone(), attempts: ATTEMPTS })
    }

    /// Ends a job, for good: its result takes the place of its other documents, and the oldest results go if there are more than
    /// [`MAX_RESULTS`], all in one transaction. Doing it again does no harm.
    ///
    /// # Errors
    /// [`Error::JobEnded`] when it has ended in another state already; [`Error::InvalidDocument`] for a state that is not terminal;
    /// [`Error::Deposed`], [`Error::NoJob`], [`Error::Unresolved`], [`Error::ZooKeeper`].
    pub async fn end_job(&self, job: &str, result: &JobResult) -> Result<()> {
        self.end_job_keeping(job, result, MAX_RESULTS).await
    }

    /// As [`Self::end_job`], with another number of results to keep: for tests.
    #[doc(hidden)]
    pub async fn end_job_keeping(&self, job: &str, result: &JobResult, limit: usize) -> Result<()> {
        checked("job id", job)?;
        let layout = self.cluster().layout();
        let path = layout.job_document(job, JobPart::Result);
        if !result.state.is_terminal() {
            let reason = format!("{} is no state in which a job ends", result.state);
            return Err(Error::InvalidDocument { scope: path, reason });
        }
        let data = encode(&path, result)?;
        let cache = self.job_cache(job);
        let _locked = cache.lock().await;
        let mut results = self.results().lock().await;
        let mut prune = true;
        for _ in 0..ATTEMPTS {
            let mut parts = vec![JobPart::Result];
            parts.extend(JobPart::LIVE);
            let found = self.documents(job, &parts).await?;
            if let Some(Some((text, _))) = found.first() {
                let known: JobResult = read(&path, text)?;
                self.forget_job(job);
                return if known.state == result.state { Ok(()) } else { Err(ended(job, known)) };
            }
            let live: Vec<JobPart> = parts
                .iter()
                .zip(&found)
                .filter(|(_, found)| found.is_some())
                .map(|(part, _)| *part)
                .collect();
            if live.is_empty() {
                self.forget_job(job);
                return Err(Error::NoJob { job: job.to_owned() });
            }
            let mut kept = match results.take() {
                Some(kept) => kept,
                None => self.read("read results", || read_results(self.cluster())).await?,
            };
            let removed = if prune { to_remove(&kept, limit) } else { Vec::new() };
            let mut writes = vec![Write::Create { path: path.clone(), data: data.clone() }];
            writes.extend(live.iter().map(|part| Write::Delete { path: layout.job_document(job, *part) }));
            for (_, old) in &removed {
                writes.push(Write::Delete { path: layout.job_document(old, JobPart::Result) });
                writes.push(Write::Delete { path: layout.job(old) });
            }
            match self.write("end a job", &writes).await {
                Ok(()) => {
                    removed.iter().for_each(|old| {
                        kept.remove(old);
                    });
                    kept.insert((result.ended_ms, job.to_owned()));
                    *results = Some(kept);
                    self.forget_job(job);
                    return Ok(());
                }
                Err(Error::Changed { path }) => {
                    tracing::warn!("{path} was changed by a foreign hand");
                    // An old result that cannot be removed keeps no job from ending.
                    prune = path.starts_with(&format!("{}/", layout.job(job))) && prune;
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::Contended { scope: path, attempts: ATTEMPTS })
    }

    /// Text and version of some documents of a job, as they are now.
    async fn documents(&self, job: &str, parts: &[JobPart]) -> Result<Vec<Option<(Vec<u8>, i32)>>> {
        let read = || async {
            self.cluster().sync().await?;
            documents(self.cluster(), job, parts).await
        };
        self.read("read job documents", read).await
    }
}

/// All results, by the time at which their jobs ended.
async fn read_results(cluster: &Cluster) -> Result<BTreeSet<(u64, String)>> {
    cluster.sync().await?;
    let layout = cluster.layout();
    let (jobs, _) = cluster.zookeeper().children(&layout.jobs()).await?;
    let mut results = BTreeSet::new();
    for jobs in jobs.chunks(BATCH) {
        let paths = jobs.iter().map(|job| layout.job_document(job, JobPart::Result)).collect();
        for (job, found) in jobs.iter().zip(cluster.zookeeper().get_many(paths).await?) {
            let Some((text, stat)) = found else { continue };
            // Of a spoilt one, the time at which it was written.
            let written = u64::try_from(stat.ctime).unwrap_or(0);
            let ended_ms = decode::<JobResult>(&text).map_or(written, |result| result.ended_ms);
            results.insert((ended_ms, job.clone()));
        }
    }
    Ok(results)
}
