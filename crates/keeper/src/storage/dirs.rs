//! The directories `version-2` below `dataDir` and `dataLogDir`, open for one server at a time.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::disk::Disk;
use super::error::{Context, Result, StorageError};
use super::names;

/// Name of the directory in which ZooKeeper's files of format version 2 are.
const VERSION_DIR: &str = "version-2";
/// Is locked, and otherwise empty. Beside `version-2`, where ZooKeeper's tools look at every file.
const LOCK_FILE: &str = ".streamkeeper.lock";
/// Permits an empty database once, as `zookeeper-server-initialize` makes it.
const INITIALIZE_FILE: &str = "initialize";

/// Where the files are. The lock goes with the value.
#[derive(Debug)]
pub struct DataDirs {
    /// Directory of the snapshots.
    pub snapshots: PathBuf,
    /// Directory of the logs; may be the same.
    pub logs: PathBuf,
    initialize: PathBuf,
    _locks: Vec<File>,
}

impl DataDirs {
    /// Opens `dataDir` and, if it is another one, `dataLogDir`. `create`: makes what is missing.
    pub fn open(data_dir: &Path, data_log_dir: Option<&Path>, create: bool) -> Result<Self> {
        let log_dir = data_log_dir.unwrap_or(data_dir);
        let snapshots = version_dir(data_dir, create)?;
        let logs = version_dir(log_dir, create)?;
        let mut locks = vec![lock(data_dir)?];
        let same = fs::canonicalize(&snapshots).ok() == fs::canonicalize(&logs).ok();
        if !same {
            locks.push(lock(log_dir)?);
        }
        let logs = if same { snapshots.clone() } else { logs };
        Ok(DataDirs { snapshots, logs, initialize: log_dir.join(INITIALIZE_FILE), _locks: locks })
    }

    /// Directories of a disk that is not the operating system's.
    pub fn unlocked(snapshots: &Path, logs: &Path) -> Self {
        let initialize = logs.parent().unwrap_or(logs).join(INITIALIZE_FILE);
        DataDirs { snapshots: snapshots.into(), logs: logs.into(), initialize, _locks: Vec::new() }
    }

    /// Refuses directories whose files were swapped, and removes what was left of unfinished snapshots.
    pub(super) fn tidy(&self, disk: &dyn Disk) -> Result<()> {
        let names = disk.list(&self.snapshots).context("list the directory", &self.snapshots)?;
        if self.snapshots != self.logs {
            let logs = disk.list(&self.logs).context("list the directory", &self.logs)?;
            if let Some(name) = logs.iter().find(|name| names::snapshot_zxid(name).is_some()) {
                return Err(StorageError::Misplaced(self.logs.join(name)));
            }
            if let Some(name) = names.iter().find(|name| names::log_zxid(name).is_some()) {
                return Err(StorageError::Misplaced(self.snapshots.join(name)));
            }
        }
        for name in names.iter().filter(|name| name.starts_with(names::TEMPORARY_PREFIX)) {
            let path = self.snapshots.join(name);
            disk.remove(&path).context("remove the unfinished snapshot", &path)?;
        }
        Ok(())
    }

    /// Removes the file `initialize`; whether it was there.
    pub(super) fn take_initialize(&self, disk: &dyn Disk) -> Result<bool> {
        let path = &self.initialize;
        match disk.remove(path) {
            Ok(()) => {
                tracing::info!("the file `initialize` permits an empty database");
                Ok(true)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(StorageError::Io { action: "remove", path: path.clone(), source }),
        }
    }
}

fn version_dir(dir: &Path, create: bool) -> Result<PathBuf> {
    let version = dir.join(VERSION_DIR);
    if version.is_dir() {
        return Ok(version);
    }
    if !create {
        return Err(StorageError::MissingDirectory(version));
    }
    fs::create_dir_all(&version).context("create the directory", &version)?;
    // The names of all directories that may be new must be durable before a file in them is.
    if cfg!(unix) {
        for parent in version.ancestors().skip(1).take_while(|parent| !parent.as_os_str().is_empty()) {
            // Those above may not be ours to open; then they are not new.
            if let Ok(parent) = File::open(parent) {
                let _ = parent.sync_all();
            }
        }
    }
    Ok(version)
}

fn lock(dir: &Path) -> Result<File> {
    let path = dir.join(LOCK_FILE);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .context("open the lock file", &path)?;
    lock_file(file, dir, path)
}

#[cfg(unix)]
fn lock_file(file: File, dir: &Path, path: PathBuf) -> Result<File> {
    use rustix::fs::{FlockOperation, flock};
    use rustix::io::Errno;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => Err(StorageError::InUse(dir.into())),
        Err(Errno::NOTSUP | Errno::NOSYS | Errno::NOLCK) => {
            tracing::warn!(path = %path.display(), "this file system cannot lock files: start one server only");
            Ok(file)
        }
        Err(error) => Err(StorageError::Io { action: "lock", path, source: error.into() }),
    }
}

// `File::try_lock` came with Rust 1.89.
#[cfg(not(unix))]
fn lock_file(file: File, _: &Path, _: PathBuf) -> Result<File> {
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::RealDisk;

    #[test]
    fn one_server_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let (data, logs) = (dir.path().join("data"), dir.path().join("logs"));
        assert!(matches!(DataDirs::open(&data, None, false), Err(StorageError::MissingDirectory(_))));
        let open = DataDirs::open(&data, Some(&logs), true).unwrap();
        assert_eq!(open.logs, logs.join("version-2"));
        assert!(matches!(DataDirs::open(&data, None, true), Err(StorageError::InUse(_))));
        assert!(matches!(DataDirs::open(&logs, None, true), Err(StorageError::InUse(_))));
        drop(open);
        DataDirs::open(&data, None, false).unwrap();
    }

    #[test]
    fn swapped_directories_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (data, logs) = (dir.path().join("data"), dir.path().join("logs"));
        let open = DataDirs::open(&data, Some(&logs), true).unwrap();
        open.tidy(&RealDisk).unwrap();
        fs::write(open.logs.join("snapshot.5"), "").unwrap();
        assert!(matches!(open.tidy(&RealDisk), Err(StorageError::Misplaced(_))));
        fs::rename(open.logs.join("snapshot.5"), open.snapshots.join("log.5")).unwrap();
        assert!(matches!(open.tidy(&RealDisk), Err(StorageError::Misplaced(_))));
        fs::rename(open.snapshots.join("log.5"), data.join("initialize")).unwrap();
        assert!(!open.take_initialize(&RealDisk).unwrap());
        fs::write(logs.join("initialize"), "").unwrap();
        assert!(open.take_initialize(&RealDisk).unwrap());
        assert!(!open.take_initialize(&RealDisk).unwrap());
    }
}
