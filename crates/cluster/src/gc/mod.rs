//! Orphaned checkpoints: what leaders that were killed have left behind, found and removed.
//!
//! What is in the checkpoint directories is listed first, and what ZooKeeper says of the jobs is read afterwards: so whatever was
//! completed meanwhile is known to be needed. Pointers never go back, so what no pointer names below the latest checkpoint is never
//! needed again.
//!
//! - `files`: what is in the directories, and its removal
//! - `claims`: what the jobs need, by their documents
//! - `decide`: which checkpoints are orphans (pure)

mod claims;
mod decide;
mod files;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use streamkeeper_coordination::Cluster;
use streamkeeper_coordination::jobs::JobStore;
use streamkeeper_zookeeper::block_on;

pub use self::decide::{Finding, Verdict};
use crate::error::{Error, Result};
use crate::time::now_ms;

/// Where to look, and what may go.
#[derive(Debug, Clone, Default)]
pub struct GcOptions {
    /// Checkpoint directories, beside those that the jobs' documents name.
    pub directories: Vec<PathBuf>,
    /// Lineages of no job of the cluster that may be removed all the same.
    pub lineages: BTreeSet<String>,
}

/// Finds what is left of checkpoints that no job needs, and that of unknown runs. Changes nothing.
///
/// # Errors
/// [`Error::Gc`] when a directory cannot be read; [`Error::Coordination`] when the jobs are not known.
pub fn find(cluster: &Cluster, options: &GcOptions) -> Result<Vec<Finding>> {
    let store = JobStore::new(cluster.clone());
    // Jobs that come after this have checkpoints that are not listed, or in directories that are.
    let mut directories: BTreeSet<PathBuf> = options.directories.iter().map(|path| absolute(path)).collect();
    directories.extend(claims::directories(&*block_on(store.list())?));
    let mut found = Vec::new();
    for directory in &directories {
        found.extend(files::list(directory).map_err(|reason| gc_error(directory, reason))?);
    }
    block_on(cluster.sync())?;
    let mut claims = claims::of(&*block_on(store.list())?);
    for (place, claim) in &mut claims {
        claim.keep_files(|checkpoint| files::named_by(place, checkpoint));
    }
    Ok(decide::decide(&found, &claims, &options.lineages, now_ms()))
}

/// Removes the orphans among what [`find`] has found. Gives the paths that could not be removed, and why.
pub fn remove(findings: &[Finding]) -> BTreeMap<PathBuf, String> {
    let orphans = findings.iter().filter(|finding| finding.verdict == Verdict::Orphan);
    let mut failed = BTreeMap::new();
    for orphan in orphans {
        for file in &orphan.files {
            if let Err(error) = files::remove(file) {
                failed.insert(file.clone(), error.to_string());
            }
        }
        // What still holds something stays.
        let _ = std::fs::remove_dir(&orphan.path);
        let _ = orphan.path.parent().map(std::fs::remove_dir);
    }
    failed
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

fn gc_error(directory: &Path, reason: std::io::Error) -> Error {
    Error::Gc { directory: directory.to_path_buf(), reason }
}
