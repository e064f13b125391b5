//! All jobs, as they change.
//!
//! Invariant: of a document that cannot be read, the last good content stays, and the problem is shown.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use streamkeeper_zookeeper::{Stat, WatchMode};

use super::document::{Assignment, CheckpointPointer, Desired, JobResult, JobSpec, JobStatus};
use crate::cluster::Cluster;
use crate::document::{Versioned, decode};
use crate::error::Result;
use crate::follow::{Fold, Followed, follow};
use crate::layout::JobPart;

/// A job's documents, as far as they are there: all but the result before it has ended, the result alone afterwards.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Job {
    /// What is to run.
    pub spec: Option<Versioned<JobSpec>>,
    /// What its users want of it.
    pub desired: Option<Versioned<Desired>>,
    /// What runs where.
    pub assignment: Option<Versioned<Assignment>>,
    /// What has become of it so far.
    pub status: Option<Versioned<JobStatus>>,
    /// Its checkpoints.
    pub checkpoint: Option<Versioned<CheckpointPointer>>,
    /// How it ended.
    pub result: Option<Versioned<JobResult>>,
    /// What is wrong with documents whose content is ignored.
    pub problems: BTreeMap<JobPart, String>,
}

impl Job {
    /// Whether it is to run or runs.
    pub fn is_live(&self) -> bool {
        self.spec.is_some() && self.result.is_none()
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Takes what the znode of `part` holds.
    pub(super) fn observe(&mut self, part: JobPart, found: Option<(&[u8], i32)>) {
        let read = match part {
            JobPart::Spec => take(&mut self.spec, found),
            JobPart::Desired => take(&mut self.desired, found),
            JobPart::Assignment => take(&mut self.assignment, found),
            JobPart::Status => take(&mut self.status, found),
            JobPart::Checkpoint => take(&mut self.checkpoint, found),
            JobPart::Result => take(&mut self.result, found),
        };
        match read {
            Ok(()) => {
                self.problems.remove(&part);
            }
            Err(reason) => {
                tracing::warn!("a job's {part} is ignored, what it held before stays in force: {reason}");
                self.problems.insert(part, reason);
            }
        }
    }
}

fn take<T: DeserializeOwned>(
    place: &mut Option<Versioned<T>>,
    found: Option<(&[u8], i32)>,
) -> std::result::Result<(), String> {
    *place = match found {
        None => None,
        Some((text, version)) => Some(Versioned { value: decode(text)?, version }),
    };
    Ok(())
}

/// All jobs, by id. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct JobsView {
    jobs: BTreeMap<String, Arc<Job>>,
}

impl JobsView {
    /// All jobs that are kept, ended ones too.
    pub fn jobs(&self) -> impl Iterator<Item = (&str, &Arc<Job>)> {
        self.jobs.iter().map(|(id, job)| (id.as_str(), job))
    }

    /// Those that have not ended.
    pub fn live(&self) -> impl Iterator<Item = (&str, &Arc<Job>)> {
        self.jobs().filter(|(_, job)| job.is_live())
    }

    /// One of them.
    pub fn job(&self, id: &str) -> Option<&Arc<Job>> {
        self.jobs.get(id)
    }
}

impl FromIterator<(String, Arc<Job>)> for JobsView {
    fn from_iter<T: IntoIterator<Item = (String, Arc<Job>)>>(jobs: T) -> Self {
        Self { jobs: jobs.into_iter().collect() }
    }
}

impl Fold for JobsView {
    fn observe(&mut self, path: &str, found: Option<(&[u8], &Stat)>) {
        let Some((id, part)) = path.split_once('/') else {
            return;
        };
        let Some(part) = JobPart::of(part) else { return };
        if found.is_none() && !self.jobs.contains_key(id) {
            return;
        }
        let job = self.jobs.entry(id.to_owned()).or_default();
        Arc::make_mut(job).observe(part, found.map(|(text, stat)| (text, stat.version)));
        if job.is_empty() {
            self.jobs.remove(id);
        }
    }
}

impl Cluster {
    /// Follows all jobs.
    ///
    /// # Errors
    /// [`crate::Error::ZooKeeper`], [`crate::Error::WatchEnded`].
    pub async fn watch_jobs(&self) -> Result<Followed<JobsView>> {
        follow(self.zookeeper(), self.layout().jobs(), WatchMode::Recursive, JobsView::default()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn see(view: &mut JobsView, path: &str, text: Option<&str>) {
        let stat = Stat { version: 3, ..NO_STAT };
        view.observe(path, text.map(|text| (text.as_bytes(), &stat)));
    }

    const NO_STAT: Stat = Stat {
        czxid: 0,
        mzxid: 0,
        ctime: 0,
        mtime: 0,
        version: 0,
        cversion: 0,
        aversion: 0,
        ephemeral_owner: 0,
        data_length: 0,
        num_children: 0,
        pzxid: 0,
    };

    #[test]
    fn a_job_is_there_while_one_of_its_documents_is() {
        let mut view = JobsView::default();
        see(&mut view, "", Some(""));
        see(&mut view, "j1", Some(""));
        see(&mut view, "j1/spec", Some(r#"{"v":1,"name":"etl","kind":"sql"}"#));
        see(&mut view, "j1/other", Some("whatever"));
        assert_eq!(view.live().map(|(id, _)| id).collect::<Vec<_>>(), ["j1"]);
        see(&mut view, "j1/result", Some(r#"{"v":1,"state":"FINISHED","name":"etl","kind":"sql"}"#));
        see(&mut view, "j1/spec", None);
        assert_eq!((view.live().count(), view.jobs().count()), (0, 1));
        see(&mut view, "j1/result", None);
        assert_eq!(view.jobs().count(), 0);
        see(&mut view, "j2/spec", None);
        assert_eq!(view.jobs().count(), 0);
    }

    #[test]
    fn a_spoilt_document_is_ignored_and_named() {
        let mut view = JobsView::default();
        see(&mut view, "j1/desired", Some(r#"{"v":1,"state":"canceled"}"#));
        see(&mut view, "j1/desired", Some("running please"));
        let job = view.job("j1").expect("there");
        assert_eq!(job.desired.as_ref().map(|desired| desired.version), Some(3));
        assert!(job.problems[&JobPart::Desired].contains("no JSON"));
        see(&mut view, "j1/desired", Some(r#"{"v":1,"state":"running"}"#));
        assert_eq!(view.job("j1").expect("there").problems.len(), 0);
    }
}
