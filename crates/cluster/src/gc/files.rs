//! The files of checkpoint directories: `<directory>/<lineage>/chk-<id>/<file>`. Whatever else is there is nobody's business here.

use std::collections::BTreeSet;
use std::fs::DirEntry;
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use streamkeeper_dataflow::checkpoint::manifest::Manifest;

use super::claims::Place;

/// What is of one checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) place: Place,
    pub(super) checkpoint: u64,
    pub(super) path: PathBuf,
    pub(super) files: Vec<File>,
    /// When the directory was last written to, milliseconds since 1970.
    pub(super) modified_ms: i64,
}

/// One of its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) modified_ms: i64,
}

/// All checkpoints in a directory, complete or not; none when it does not exist.
pub(super) fn list(directory: &Path) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for lineage in entries(directory)? {
        let name = lineage.file_name().to_string_lossy().into_owned();
        let is_lineage = name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_lineage || !lineage.file_type()?.is_dir() {
            continue;
        }
        for entry in entries(&lineage.path())? {
            let checkpoint =
                entry.file_name().to_string_lossy().strip_prefix("chk-").and_then(|n| n.parse().ok());
            if let Some(checkpoint) = checkpoint.filter(|_| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            {
                let place = Place { directory: directory.to_path_buf(), lineage: name.clone() };
                found.push(checkpoint_at(place, checkpoint, &entry)?);
            }
        }
    }
    Ok(found)
}

fn checkpoint_at(place: Place, checkpoint: u64, entry: &DirEntry) -> io::Result<Found> {
    let mut files = Vec::new();
    for file in entries(&entry.path())? {
        // It may have gone meanwhile.
        let Ok(metadata) = file.metadata() else { continue };
        if metadata.is_file() {
            let name = file.file_name().to_string_lossy().into_owned();
            files.push(File { name, bytes: metadata.len(), modified_ms: modified_ms(&metadata) });
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    let modified_ms = entry.metadata().map_or(i64::MAX, |metadata| modified_ms(&metadata));
    Ok(Found { place, checkpoint, path: entry.path(), files, modified_ms })
}

/// What of it cannot be told is as new as can be.
fn modified_ms(metadata: &std::fs::Metadata) -> i64 {
    let since = metadata.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    since.and_then(|since| i64::try_from(since.as_millis()).ok()).unwrap_or(i64::MAX)
}

/// One that does not exist, or not any more, is empty.
fn entries(directory: &Path) -> io::Result<Vec<DirEntry>> {
    match std::fs::read_dir(directory) {
        Ok(entries) => entries.collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// The files that a checkpoint's manifest names, below its lineage; itself included.
///
/// # Errors
/// Why it cannot be told.
pub(super) fn named_by(place: &Place, checkpoint: u64) -> Result<BTreeSet<String>, String> {
    let name = format!("chk-{checkpoint}/_metadata");
    let path = place.directory.join(&place.lineage).join(&name);
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let manifest = Manifest::decode(&text).map_err(|reason| format!("{}: {reason}", path.display()))?;
    Ok(manifest.states.into_iter().map(|state| state.object).chain([name]).collect())
}

/// Removes a file; one that has gone is removed.
pub(super) fn remove(file: &Path) -> io::Result<()> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
