//! The seam between the storage and the operating system's files, so that a test can take the power away.
//!
//! Nothing is durable before it is synced: contents by [`DiskFile::sync_data`], names by [`Disk::sync_dir`]. Neither implies the
//! other; whoever creates, renames or removes a file syncs its directory before it counts on that.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// Files and directories.
pub trait Disk: Send + Sync {
    /// Names of the files in a directory, in no particular order.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// A file's length in bytes.
    fn len(&self, path: &Path) -> io::Result<u64>;
    /// Reads a file from `offset` on.
    fn read(&self, path: &Path, offset: u64) -> io::Result<Box<dyn Read + Send>>;
    /// Offset of the first byte at or after `offset` that was ever written, if the system knows; `offset` otherwise.
    /// None if there is nothing but a hole.
    fn next_data(&self, path: &Path, offset: u64) -> io::Result<Option<u64>>;
    /// A new file, or an old one emptied.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// An existing file, to be changed.
    fn modify(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Gives a file another name; a file of that name is replaced, at once.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes durable which names are in a directory.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Bytes that can still be written below a directory.
    fn free_space(&self, dir: &Path) -> io::Result<u64>;
}

/// A file that is written to.
pub trait DiskFile: Send {
    /// Writes all of `bytes` at `offset`. After an error any part of them may be there.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes contents and length durable.
    fn sync_data(&mut self) -> io::Result<()>;
    /// Cuts the file, or extends it with zeros.
    fn set_len(&mut self, length: u64) -> io::Result<()>;
}

/// The operating system's files.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

struct RealFile {
    file: File,
    at: u64,
}

impl Disk for RealDisk {
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        // A name that is not UTF-8 is not ours.
        fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        fs::metadata(path).map(|metadata| metadata.len())
    }

    fn read(&self, path: &Path, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        let mut file = File::open(path)?;
        if offset > 0 {
            file.seek(SeekFrom::Start(offset))?;
        }
        Ok(Box::new(file))
    }

    fn next_data(&self, path: &Path, offset: u64) -> io::Result<Option<u64>> {
        next_data(path, offset)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(RealFile { file: File::create(path)?, at: 0 }))
    }

    fn modify(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(RealFile { file: OpenOptions::new().write(true).open(path)?, at: 0 }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        // Elsewhere directories cannot be opened, and names are the file system's own concern.
        if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
    }

    fn free_space(&self, dir: &Path) -> io::Result<u64> {
        free_space(dir)
    }
}

#[cfg(target_os = "linux")]
fn next_data(path: &Path, offset: u64) -> io::Result<Option<u64>> {
    match rustix::fs::seek(File::open(path)?, rustix::fs::SeekFrom::Data(offset)) {
        Ok(found) => Ok(Some(found)),
        Err(rustix::io::Errno::NXIO) => Ok(None),
        Err(_) => Ok(Some(offset)),
    }
}

#[cfg(not(target_os = "linux"))]
fn next_data(_: &Path, offset: u64) -> io::Result<Option<u64>> {
    Ok(Some(offset))
}

#[cfg(unix)]
fn free_space(dir: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(dir)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(not(unix))]
fn free_space(_: &Path) -> io::Result<u64> {
    Err(io::ErrorKind::Unsupported.into())
}

impl DiskFile for RealFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if self.at != offset {
            self.file.seek(SeekFrom::Start(offset))?;
        }
        // Where a failed write leaves the file's position is not known.
        self.at = u64::MAX;
        self.file.write_all(bytes)?;
        self.at = offset + bytes.len() as u64;
        Ok(())
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn set_len(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }
}
