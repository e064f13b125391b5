//! What clients do with jobs.
//!
//! Invariant: a job's id is one job for ever, or as long as its result is kept: submitting it again is no second job.

use std::sync::Arc;
use std::time::Instant;

use streamkeeper_zookeeper::{CreateMode, Error as ZkError, Multi};

use super::document::{
    Assignment, CheckpointPointer, Desired, DesiredState, JobResult, JobSpec, JobState, JobStatus,
};
use super::view::{Job, JobsView};
use crate::cluster::{Cluster, now_ms};
use crate::document::{encode, read};
use crate::error::{Error, Result};
use crate::layout::{JobPart, checked};

/// Jobs that are there at most, ended ones included.
pub const MAX_JOBS: usize = 10_000;

/// How often a write is tried anew because somebody else came first.
const ATTEMPTS: usize = 20;

/// What became of a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Submitted {
    /// The job is new.
    New,
    /// The same job is there already.
    AlreadyThere,
}

/// The jobs of a cluster, for its clients.
#[derive(Clone)]
pub struct JobStore {
    cluster: Cluster,
}

impl JobStore {
    /// The jobs of `cluster`.
    pub fn new(cluster: Cluster) -> Self {
        Self { cluster }
    }

    /// Submits a job, in one transaction. Doing it again does no harm.
    ///
    /// # Errors
    /// [`Error::JobExists`] when another job has this id, [`Error::JobEnded`] when it has run already; [`Error::Unresolved`] when
    /// it may have been submitted or not; [`Error::InvalidName`], [`Error::InvalidDocument`], [`Error::TooMany`],
    /// [`Error::ZooKeeper`].
    pub async fn submit(&self, job: &str, spec: &JobSpec) -> Result<Submitted> {
        checked("job id", job)?;
        let mut attempt = Attempt::new(format!("submit job {job}"));
        let ended = self.try_submit(job, spec, &mut attempt.unsure).await;
        attempt.outcome(ended)
    }

    async fn try_submit(&self, job: &str, spec: &JobSpec, unsure: &mut bool) -> Result<Submitted> {
        let layout = self.cluster.layout();
        for _ in 0..ATTEMPTS {
            let found = self.documents(job, &[JobPart::Result, JobPart::Spec]).await?;
            if let Some((text, _)) = &found[0] {
                return Err(ended(job, read(&layout.job_document(job, JobPart::Result), text)?));
            }
            if let Some((text, _)) = &found[1] {
                let known: JobSpec = read(&layout.job_document(job, JobPart::Spec), text)?;
                if !known.is_same_as(spec) {
                    return Err(Error::JobExists { job: job.to_owned() });
                }
                let ours = *unsure && known.submitted_ms == spec.submitted_ms;
                return Ok(if ours { Submitted::New } else { Submitted::AlreadyThere });
            }
            match self.cluster.zookeeper().multi(self.creation(job, spec).await?).await {
                Ok(_) => return Ok(Submitted::New),
                Err(error) if error.is_outcome_unknown() => *unsure = true,
                Err(ZkError::Multi { source, .. }) if is_race(&source) => {}
                Err(error) => return Err(error.into()),
            }
            self.cluster.sync().await?;
        }
        Err(Error::Contended { scope: format!("job {job}"), attempts: ATTEMPTS })
    }

    async fn creation(&self, job: &str, spec: &JobSpec) -> Result<Multi> {
        let (zookeeper, layout) = (self.cluster.zookeeper(), self.cluster.layout());
        let jobs = zookeeper.exists(&layout.jobs()).await?.map_or(0, |stat| stat.num_children);
        if usize::try_from(jobs).unwrap_or(0) >= MAX_JOBS {
            return Err(Error::TooMany { what: "jobs", limit: MAX_JOBS });
        }
        let mut multi = Multi::new();
        let node = layout.job(job);
        if zookeeper.exists(&node).await?.is_none() {
            multi = multi.create(&node, "", CreateMode::Persistent);
        }
        let status = JobStatus { state: JobState::Created, since_ms: now_ms(), ..JobStatus::default() };
        for part in JobPart::LIVE {
            let path = layout.job_document(job, part);
            let text = match part {
                JobPart::Spec => encode(&path, spec)?,
                JobPart::Desired => encode(&path, &Desired::default())?,
                JobPart::Assignment => encode(&path, &Assignment::default())?,
                JobPart::Status => encode(&path, &status)?,
                JobPart::Checkpoint | JobPart::Result => encode(&path, &CheckpointPointer::default())?,
            };
            multi = multi.create(&path, text, CreateMode::Persistent);
        }
        Ok(multi)
    }

    /// Says what is wanted of a job; writes nothing if that is so already.
    ///
    /// # Errors
    /// [`Error::NoJob`], [`Error::JobEnded`], [`Error::Contended`], [`Error::Unresolved`], [`Error::ZooKeeper`].
    pub async fn desire(&self, job: &str, desired: &Desired) -> Result<()> {
        checked("job id", job)?;
        let mut attempt = Attempt::new(format!("write what is wanted of job {job}"));
        let ended = self.try_desire(job, desired, false, &mut attempt.unsure).await;
        attempt.outcome(ended)
    }

    /// As [`Self::desire`], of a job that nobody has canceled.
    ///
    /// # Errors
    /// As [`Self::desire`], and [`Error::InvalidDocument`] when it is being canceled.
    pub async fn desire_of_running(&self, job: &str, desired: &Desired) -> Result<()> {
        checked("job id", job)?;
        let mut attempt = Attempt::new(format!("write what is wanted of job {job}"));
        let ended = self.try_desire(job, desired, true, &mut attempt.unsure).await;
        attempt.outcome(ended)
    }

    async fn try_desire(
        &self,
        job: &str,
        desired: &Desired,
        of_running: bool,
        unsure: &mut bool,
    ) -> Result<()> {
        let path = self.cluster.layout().job_document(job, JobPart::Desired);
        for _ in 0..ATTEMPTS {
            let found = self.documents(job, &[JobPart::Result, JobPart::Desired]).await?;
            if let Some((text, _)) = &found[0] {
                return Err(ended(
                    job,
                    read(&self.cluster.layout().job_document(job, JobPart::Result), text)?,
                ));
            }
            let Some((text, version)) = &found[1] else { return Err(Error::NoJob { job: job.to_owned() }) };
            // What is spoilt is replaced.
            let known = read::<Desired>(&path, text).ok();
            if known.as_ref() == Some(desired) {
                return Ok(());
            }
            if of_running && known.is_some_and(|known| known.state == DesiredState::Canceled) {
                let reason = "the job is being canceled".into();
                return Err(Error::InvalidDocument { scope: path, reason });
            }
            match self.cluster.zookeeper().set(&path, encode(&path, desired)?, Some(*version)).await {
                Ok(_) => return Ok(()),
                Err(error) if error.is_outcome_unknown() => *unsure = true,
                Err(error) if is_race(&error) => {}
                Err(error) => return Err(error.into()),
            }
            self.cluster.sync().await?;
        }
        Err(Error::Contended { scope: format!("job {job}"), attempts: ATTEMPTS })
    }

    /// Lets a job end. The leader sees to it.
    ///
    /// # Errors
    /// As [`Self::desire`].
    pub async fn cancel(&self, job: &str) -> Result<()> {
        self.desire(job, &Desired { state: DesiredState::Canceled, ..Desired::default() }).await
    }

    /// All documents of a job.
    ///
    /// # Errors
    /// [`Error::NoJob`], [`Error::ZooKeeper`].
    pub async fn get(&self, job: &str) -> Result<Job> {
        checked("job id", job)?;
        let mut parts = JobPart::LIVE.to_vec();
        parts.push(JobPart::Result);
        let mut read = Job::default();
        for (part, found) in parts.iter().zip(self.documents(job, &parts).await?) {
            read.observe(*part, found.as_ref().map(|(text, version)| (text.as_slice(), *version)));
        }
        if read == Job::default() {
            return Err(Error::NoJob { job: job.to_owned() });
        }
        Ok(read)
    }

    /// All jobs, as they are now.
    ///
    /// # Errors
    /// [`Error::ZooKeeper`], [`Error::WatchEnded`].
    pub async fn list(&self) -> Result<Arc<JobsView>> {
        Ok(self.cluster.watch_jobs().await?.peek())
    }

    async fn documents(&self, job: &str, parts: &[JobPart]) -> Result<Vec<Option<(Vec<u8>, i32)>>> {
        documents(&self.cluster, job, parts).await
    }
}

/// A write that is tried until its outcome is known.
struct Attempt {
    operation: String,
    began: Instant,
    /// Whether it was sent and may have happened.
    unsure: bool,
}

impl Attempt {
    fn new(operation: String) -> Self {
        Self { operation, began: Instant::now(), unsure: false }
    }

    /// What its end means: a look that failed leaves it open whether it has happened.
    fn outcome<T>(self, ended: Result<T>) -> Result<T> {
        match ended {
            Err(Error::ZooKeeper(error)) if self.unsure => {
                tracing::debug!("{}: {error}", self.operation);
                Err(Error::Unresolved { operation: self.operation, waited: self.began.elapsed() })
            }
            ended => ended,
        }
    }
}

/// Text and version of some documents of a job.
pub(super) async fn documents(
    cluster: &Cluster,
    job: &str,
    parts: &[JobPart],
) -> Result<Vec<Option<(Vec<u8>, i32)>>> {
    let paths = parts.iter().map(|part| cluster.layout().job_document(job, *part)).collect();
    let found = cluster.zookeeper().get_many(paths).await?;
    Ok(found.into_iter().map(|found| found.map(|(text, stat)| (text, stat.version))).collect())
}

pub(super) fn ended(job: &str, result: JobResult) -> Error {
    Error::JobEnded { job: job.to_owned(), result: Box::new(result) }
}

/// Whether somebody else came first, so that a new look is needed.
fn is_race(error: &ZkError) -> bool {
    matches!(error, ZkError::BadVersion { .. } | ZkError::NodeExists { .. } | ZkError::NoNode { .. })
}
