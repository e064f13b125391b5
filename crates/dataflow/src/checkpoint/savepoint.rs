//! Savepoints: checkpoints in a directory of the user's.
//!
//! A savepoint is one directory with a manifest and the state that it names, by names relative to it: it can be moved and copied. It is
//! complete when its manifest is there; a directory without one is of a savepoint that was given up. A job that begins with one writes
//! a checkpoint of its own whose state is in the savepoint ([`import`]): from then on it is restored as any other.

use std::path::{Path, PathBuf};

use super::manifest::{Manifest, Origin};
use super::storage::{CheckpointStorage, MANIFEST, Restored};
use crate::element::{BarrierKind, CheckpointId};
use crate::error::Error;
use crate::sink::COMMITTABLES;

/// Whether `path` is the directory of a complete savepoint.
pub fn is_savepoint(path: &Path) -> bool {
    let of_checkpoint = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("chk-"));
    !of_checkpoint && path.join(MANIFEST).is_file()
}

/// Reads what a savepoint consists of.
///
/// # Errors
/// When there is none, or its manifest is damaged.
pub fn read(path: &Path) -> Result<Manifest, Error> {
    let fail = |reason: String| Error::CheckpointRead { location: path.display().to_string(), reason };
    match std::fs::read_to_string(path.join(MANIFEST)) {
        Ok(text) => Manifest::decode(&text).map_err(fail),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            Err(fail(format!("it is no savepoint: it has no file {MANIFEST}")))
        }
        Err(e) => Err(fail(e.to_string())),
    }
}

/// Reads a savepoint, checking every checksum.
///
/// # Errors
/// When any part of it is missing or damaged.
pub fn read_state(path: &Path) -> Result<Restored, Error> {
    let checkpoint = read(path)?.checkpoint;
    CheckpointStorage::savepoint(path)?.read(checkpoint)
}

/// Lets the lineage of `storage` begin with a savepoint: writes a checkpoint whose state is in the savepoint. Doing it again does no harm.
/// A savepoint that is not claimed is left alone, but has to stay until the job has completed a checkpoint of its own.
///
/// # Errors
/// When there is no such savepoint, or the checkpoint cannot be written.
pub fn import(
    storage: &CheckpointStorage,
    lineage: &str,
    savepoint: &Path,
    claim: bool,
) -> Result<CheckpointId, Error> {
    let savepoint = savepoint.canonicalize().map_err(|e| Error::CheckpointRead {
        location: savepoint.display().to_string(),
        reason: e.to_string(),
    })?;
    let mut manifest = read(&savepoint)?;
    name_absolutely(&mut manifest, &savepoint);
    manifest.lineage = lineage.to_owned();
    manifest.kind = BarrierKind::Checkpoint;
    let checkpoint = manifest.checkpoint;
    manifest.origin = Some(Origin { savepoint, claimed: claim });
    storage.write_manifest(&manifest)?;
    Ok(checkpoint)
}

/// Writes the manifest of a savepoint whose state is durable, and with it makes it complete. Returns the size of both in bytes. When the
/// job ends with it, what it holds is committed before anybody gets to know of it, so it does not ask for that again; the manifest that
/// comes back does, and is the job's last checkpoint.
pub(crate) fn write_manifest(savepoint: &str, manifest: &Manifest) -> Result<(u64, Manifest), Error> {
    let storage = CheckpointStorage::savepoint(Path::new(savepoint))?;
    let mut portable = manifest.clone();
    if portable.kind.ends_job() {
        portable.states.retain(|state| state.name != COMMITTABLES.0);
    }
    let bytes = storage.write_manifest(&portable)?;
    let mut last = manifest.clone();
    name_absolutely(&mut last, Path::new(savepoint));
    Ok((bytes, last))
}

/// Names state by its path instead of relative to the savepoint.
fn name_absolutely(manifest: &mut Manifest, savepoint: &Path) {
    for state in &mut manifest.states {
        // What is absolute already stays so.
        state.object = savepoint.join(&state.object).display().to_string();
    }
}

/// Where the state of a savepoint is written; the directory is created.
pub(crate) fn storage(savepoint: &str) -> Result<CheckpointStorage, Error> {
    CheckpointStorage::savepoint(Path::new(savepoint))
}

/// Removes a savepoint, its manifest first. Other files in its directory stay, and the directory with them.
///
/// # Errors
/// When it is no savepoint, or cannot be removed.
pub fn dispose(path: &Path) -> Result<(), Error> {
    let fail = |reason: String| Error::CheckpointRead { location: path.display().to_string(), reason };
    read(path)?;
    if !is_savepoint(path) {
        return Err(fail("it is no savepoint but a checkpoint, which its job may need".into()));
    }
    std::fs::remove_file(path.join(MANIFEST)).map_err(|e| fail(e.to_string()))?;
    remove_state(path).map_err(|e| fail(e.to_string()))
}

/// Removes what was written of a savepoint that was given up.
pub(crate) fn abandon(path: &str) {
    let path = PathBuf::from(path);
    let removed = match std::fs::remove_file(path.join(MANIFEST)) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e),
        _ => remove_state(&path),
    };
    if let Err(e) = removed {
        tracing::warn!("what was written of the savepoint {} stays there: {e}", path.display());
    }
}

/// Removes what one writer has written of a savepoint that was given up.
pub(crate) fn abandon_state(path: &str, writer: &str) {
    let path = Path::new(path);
    match std::fs::remove_file(path.join(format!("state-{writer}"))) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!("what was written of the savepoint {} stays there: {e}", path.display());
        }
        // Others may have written as well.
        _ => drop(std::fs::remove_dir(path)),
    }
}

fn remove_state(path: &Path) -> std::io::Result<()> {
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("state-") {
            std::fs::remove_file(entry.path())?;
        }
    }
    // What else is in it is not ours.
    let _ = std::fs::remove_dir(path);
    Ok(())
}
