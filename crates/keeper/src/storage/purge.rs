//! Removing old files: all but the newest snapshots, and the logs that none of those needs.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::dirs::DataDirs;
use super::disk::Disk;
use super::error::{Context, Result};
use super::names;
use super::snapshot::Compression;

/// ZooKeeper keeps at least so many snapshots.
pub const MIN_KEPT: usize = 3;

/// Keeps the newest `keep` snapshots (at least [`MIN_KEPT`]) and the logs since the oldest of them, with the log that begins before it.
/// Hands back what was removed.
pub fn purge(disk: &dyn Disk, dirs: &DataDirs, keep: usize) -> Result<Vec<PathBuf>> {
    let snapshots = names::snapshots(disk, &dirs.snapshots)?;
    let mut valid = Vec::new();
    for (zxid, path) in &snapshots {
        // One that was cut short must not count.
        if valid.len() < keep.max(MIN_KEPT) && looks_whole(disk, path).context("read the snapshot", path)? {
            valid.push(*zxid);
        }
    }
    let Some(&oldest) = valid.last() else { return Ok(Vec::new()) };
    let old_snapshots = snapshots.into_iter().rev().filter(|(zxid, _)| *zxid < oldest).map(|(_, path)| path);
    let mut removed = remove_all(disk, &dirs.snapshots, old_snapshots.collect())?;

    let logs = names::logs(disk, &dirs.logs)?;
    let kept = names::logs_after(logs.clone(), oldest);
    let old_logs = logs.into_iter().filter(|log| log.0 < oldest && !kept.contains(log)).map(|(_, path)| path);
    removed.extend(remove_all(disk, &dirs.logs, old_logs.collect())?);
    Ok(removed)
}

/// Removes files, oldest first, durably: the logs must not go before the snapshots that need them.
fn remove_all(disk: &dyn Disk, dir: &Path, paths: Vec<PathBuf>) -> Result<Vec<PathBuf>> {
    for path in &paths {
        tracing::info!(path = %path.display(), "removing an old file");
        disk.remove(path).context("remove the old file", path)?;
    }
    if !paths.is_empty() {
        disk.sync_dir(dir).context("sync the directory", dir)?;
    }
    Ok(paths)
}

/// Whether a snapshot begins as it should and, if that can be seen, ends so.
fn looks_whole(disk: &dyn Disk, path: &Path) -> io::Result<bool> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some((_, compression)) = names::snapshot_zxid(name) else { return Ok(false) };
    let length = disk.len(path)?;
    let part = |offset, length| -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        disk.read(path, offset)?.take(length).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let magic = compression.magic();
    Ok(length >= 10
        && part(0, magic.len() as u64)? == magic
        && (compression != Compression::None || part(length - 5, 5)? == b"\0\0\0\x01/"))
}
