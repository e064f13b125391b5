//! From a path that a user names to the checkpoint or savepoint that is meant.

use super::savepoint::is_savepoint;
use super::storage::{CheckpointStorage, CheckpointStore, MANIFEST, POINTER};
use crate::element::CheckpointId;
use crate::error::Error;

/// What the user named to restore from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A checkpoint of a run, which goes on from it.
    Checkpoint(Location),
    /// A savepoint, with which a new run begins.
    Savepoint(std::path::PathBuf),
}

/// Finds the checkpoint or savepoint that `path` names: the directory of a savepoint, its `_metadata`, or what [`locate`] finds.
///
/// # Errors
/// When there is none, or more than one could be meant.
pub fn find(path: &std::path::Path) -> Result<Found, Error> {
    let directory = match path.file_name() {
        Some(name) if name == MANIFEST => path.parent().unwrap_or(path),
        _ => path,
    };
    match is_savepoint(directory) {
        true => Ok(Found::Savepoint(directory.to_path_buf())),
        false => locate(path).map(Found::Checkpoint),
    }
}

/// A checkpoint: directory, lineage and number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The checkpoint directory (`execution.checkpointing.dir`).
    pub directory: std::path::PathBuf,
    /// The lineage within it.
    pub lineage: String,
    /// The checkpoint.
    pub checkpoint: CheckpointId,
}

/// Finds the checkpoint that `path` names: a `chk-<n>` directory, its `_metadata`, the directory of a lineage (its
/// latest), or a checkpoint directory with one lineage in it.
///
/// # Errors
/// When there is none, or more than one could be meant.
pub fn locate(path: &std::path::Path) -> Result<Location, Error> {
    let fail = |reason: String| Error::CheckpointRead { location: path.display().to_string(), reason };
    let path = if path.file_name().is_some_and(|name| name == MANIFEST) {
        path.parent().unwrap_or(path)
    } else {
        path
    };
    if !path.is_dir() {
        return Err(fail("there is no such directory".into()));
    }
    let path = path.canonicalize().map_err(|e| fail(e.to_string()))?;
    let name =
        |p: &std::path::Path| p.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let parent = |p: &std::path::Path| p.parent().map(std::path::Path::to_path_buf).unwrap_or_default();
    if let Some(id) = name(&path).strip_prefix("chk-") {
        let checkpoint = id.parse().map_err(|_| fail(format!("`{id}` is not a checkpoint's number")))?;
        let lineage = parent(&path);
        return Ok(Location { directory: parent(&lineage), lineage: name(&lineage), checkpoint });
    }
    let lineage_directory = if path.join(POINTER).is_file() {
        path
    } else {
        let entries = std::fs::read_dir(&path).map_err(|e| fail(e.to_string()))?;
        let lineages: Vec<_> =
            entries.filter_map(|e| Some(e.ok()?.path())).filter(|p| p.join(POINTER).is_file()).collect();
        match lineages.as_slice() {
            [] => return Err(fail("no completed checkpoint is in it".into())),
            [only] => only.clone(),
            many => {
                return Err(fail(format!(
                    "it holds checkpoints of {} runs; name one of its directories",
                    many.len()
                )));
            }
        }
    };
    let (directory, lineage) = (parent(&lineage_directory), name(&lineage_directory));
    let pointer = CheckpointStorage::directory(&directory, &lineage)?.load().map_err(fail)?;
    let checkpoint = pointer
        .and_then(|p| p.retained.last().copied())
        .ok_or_else(|| fail("no completed checkpoint is in it".into()))?;
    Ok(Location { directory, lineage, checkpoint })
}
