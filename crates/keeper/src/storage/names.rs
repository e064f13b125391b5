//! Names of files: `log.<zxid>` and `snapshot.<zxid>[.gz|.snappy]`, the zxid in lower-case hexadecimal.

use std::path::{Path, PathBuf};

use super::disk::Disk;
use super::error::{Context, Result};
use super::snapshot::Compression;

/// Where a snapshot is written to before it gets its name. ZooKeeper takes no file for a snapshot whose name does not begin so.
pub(super) const TEMPORARY_PREFIX: &str = ".snapshot.";

/// The name of the log that begins with `zxid`.
pub(super) fn log_name(zxid: i64) -> String {
    format!("log.{zxid:x}")
}

/// The name of the snapshot as of `zxid`.
pub(super) fn snapshot_name(zxid: i64, compression: Compression) -> String {
    format!("snapshot.{zxid:x}{}", compression.suffix())
}

/// The zxid in a log's name; none if it is not a log's name.
pub(super) fn log_zxid(name: &str) -> Option<i64> {
    parse_zxid(name.strip_prefix("log.")?)
}

/// The zxid and compression in a snapshot's name; none if it is not a snapshot's name.
pub(super) fn snapshot_zxid(name: &str) -> Option<(i64, Compression)> {
    let rest = name.strip_prefix("snapshot.")?;
    let (hex, compression) = match rest.split_once('.') {
        None => (rest, Compression::None),
        Some((hex, "gz")) => (hex, Compression::Gzip),
        Some((hex, "snappy")) => (hex, Compression::Snappy),
        Some(_) => return None,
    };
    Some((parse_zxid(hex)?, compression))
}

fn parse_zxid(hex: &str) -> Option<i64> {
    // A sign would be accepted by the standard library.
    let digits = !hex.is_empty() && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    if digits { i64::from_str_radix(hex, 16).ok() } else { None }
}

/// The logs in a directory, in order.
pub(super) fn logs(disk: &dyn Disk, dir: &Path) -> Result<Vec<(i64, PathBuf)>> {
    let names = disk.list(dir).context("list the directory", dir)?;
    let mut logs: Vec<_> = names.iter().filter_map(|name| Some((log_zxid(name)?, dir.join(name)))).collect();
    logs.sort();
    Ok(logs)
}

/// The snapshots in a directory, newest first.
pub(super) fn snapshots(disk: &dyn Disk, dir: &Path) -> Result<Vec<(i64, PathBuf)>> {
    let names = disk.list(dir).context("list the directory", dir)?;
    let mut snapshots: Vec<_> =
        names.iter().filter_map(|name| Some((snapshot_zxid(name)?.0, dir.join(name)))).collect();
    snapshots.sort();
    snapshots.reverse();
    Ok(snapshots)
}

/// The logs that hold what came after `zxid`: the newest that begins at or before it, and all later ones.
pub(super) fn logs_after(logs: Vec<(i64, PathBuf)>, zxid: i64) -> Vec<(i64, PathBuf)> {
    let begin = logs.iter().rposition(|(first, _)| *first <= zxid).unwrap_or(0);
    logs.into_iter().skip(begin).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_zookeepers_names_are_taken() {
        assert_eq!(log_zxid("log.1f"), Some(31));
        assert_eq!(log_zxid("log.100000001"), Some(0x1_0000_0001));
        for name in ["log.", "log.-1", "log.+1", "log.1.gz", "log.xyz", "logs.1", "log.10000000000000000"] {
            assert_eq!(log_zxid(name), None, "{name}");
        }
        assert_eq!(snapshot_zxid("snapshot.a"), Some((10, Compression::None)));
        assert_eq!(snapshot_zxid("snapshot.a.gz"), Some((10, Compression::Gzip)));
        assert_eq!(snapshot_zxid("snapshot.a.snappy"), Some((10, Compression::Snappy)));
        for name in ["snapshot.a.tmp", ".snapshot.a", "snapshot.", "snapshot.a.gz.tmp"] {
            assert_eq!(snapshot_zxid(name), None, "{name}");
        }
    }
}
