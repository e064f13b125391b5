//! What jobs need of the checkpoint directories, by their documents in ZooKeeper.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use streamkeeper_coordination::jobs::{Job, JobsView};
use streamkeeper_coordination::layout::JobPart;
use streamkeeper_dataflow::checkpoint::location::{Found, find};

use crate::jobmanager::AssignmentDetails;

/// A lineage, and the directory that it is in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) directory: PathBuf,
    pub(super) lineage: String,
}

/// What is needed of a lineage.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Claim {
    /// A job that it is of.
    pub(super) job: String,
    /// Checkpoints that must be kept.
    pub(super) kept: BTreeSet<u64>,
    /// The files that these name, below the lineage.
    pub(super) files: BTreeSet<String>,
    /// Of jobs that have not ended: the checkpoint from which on there may be some in flight.
    pub(super) live_from: Option<u64>,
    /// Why nothing of it is touched.
    pub(super) untouchable: Option<String>,
}

impl Claim {
    /// Learns which files the kept checkpoints are made of.
    pub(super) fn keep_files(&mut self, named_by: impl Fn(u64) -> Result<BTreeSet<String>, String>) {
        for checkpoint in &self.kept {
            match named_by(*checkpoint) {
                Ok(files) => self.files.extend(files),
                // It may name files of others.
                Err(reason) => {
                    self.untouchable = Some(format!("a checkpoint that is needed is damaged: {reason}"))
                }
            }
        }
    }
}

/// The directories that jobs have their checkpoints in.
pub(super) fn directories(jobs: &JobsView) -> BTreeSet<PathBuf> {
    of(jobs).into_keys().map(|place| place.directory).filter(|directory| directory.is_absolute()).collect()
}

/// What all jobs need. Several may share a lineage: one that goes on where another has ended.
pub(super) fn of(jobs: &JobsView) -> BTreeMap<Place, Claim> {
    let mut claims = BTreeMap::new();
    for (id, job) in jobs.jobs() {
        claim(id, job, &mut claims);
    }
    claims
}

fn claim(id: &str, job: &Job, claims: &mut BTreeMap<Place, Claim>) {
    let pointer = match &job.result {
        Some(result) => Some(&result.value.checkpoint),
        None => job.checkpoint.as_ref().map(|pointer| &pointer.value),
    };
    let details = job.assignment.as_ref().map(|assignment| AssignmentDetails::of(&assignment.value));
    let damaged = |part| job.problems.contains_key(&part);
    let mut add = |place: Place, kept: &[u64], live_from: Option<u64>, untouchable: Option<&str>| {
        let claim: &mut Claim = claims.entry(place).or_default();
        claim.job = id.to_owned();
        claim.kept.extend(kept);
        claim.live_from = claim.live_from.into_iter().chain(live_from).min();
        claim.untouchable = claim.untouchable.take().or(untouchable.map(str::to_owned));
    };
    let live = job.result.is_none();
    if let Some(pointer) = pointer.filter(|pointer| !pointer.lineage.is_empty()) {
        let place = Place { directory: directory(&pointer.directory), lineage: pointer.lineage.clone() };
        add(place, &pointer.retained, pointer.latest().filter(|_| live), None);
    }
    if !live {
        return;
    }
    // A job without a complete checkpoint may need whatever is there; so may one of which something cannot be read.
    let begun = pointer.is_some_and(|pointer| pointer.latest().is_some());
    let unclear = [JobPart::Spec, JobPart::Assignment, JobPart::Checkpoint].into_iter().any(damaged);
    let why = match (begun, unclear) {
        (_, true) => Some("its job has documents that cannot be read"),
        (false, false) => Some("its job has not completed a checkpoint yet"),
        (true, false) => None,
    };
    match details {
        Some(Ok(Some(details))) => {
            let place = Place { directory: details.directory, lineage: details.lineage };
            let restored: Vec<u64> = details.restored.into_iter().collect();
            add(place, &restored, why.map(|_| 0), why);
        }
        _ => {
            // Whatever directory it is in.
            let place = Place { directory: PathBuf::new(), lineage: id.to_owned() };
            add(place, &[], Some(0), Some("its job was not placed yet"));
        }
    }
    let configuration = job.spec.as_ref().map(|spec| &spec.value.configuration);
    let recovery = configuration.and_then(|configuration| configuration.get("execution.state-recovery.path"));
    // A savepoint is of no lineage.
    let begins_with = recovery.and_then(|path| find(&directory(path)).ok());
    if let Some(Found::Checkpoint(location)) = begins_with {
        let place = Place { directory: location.directory, lineage: location.lineage };
        add(place, &[location.checkpoint], None, why);
    }
}

fn directory(text: &str) -> PathBuf {
    PathBuf::from(text.strip_prefix("file://").or_else(|| text.strip_prefix("file:")).unwrap_or(text))
}
