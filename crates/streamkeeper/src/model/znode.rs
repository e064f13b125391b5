//! What a znode is: pure.

use streamkeeper_keeper::proto::StatPersisted;

use super::sheet::Line;

/// The largest request that servers take unless `jute.maxbuffer` says otherwise.
const MAX_REQUEST_BYTES: usize = 0xf_ffff;

/// Bytes of a znode in a snapshot: path and data with their lengths, the number of its ACL, and its stat.
pub(super) fn snapshot_bytes(path: usize, data: usize) -> usize {
    4 + path + 4 + data + 8 + StatPersisted::ENCODED_BYTES
}

/// The name of a sequential znode: ten digits, of the number of changes that the parent's children have seen.
pub(super) fn sequential(path: &str, number: u32) -> String {
    format!("{path}{number:010}")
}

pub(super) fn article_lines() -> Vec<Line> {
    let tuple = "<name, data, ACL, ephemeral, sequence>";
    vec![Line::text(
        "ZNode",
        tuple,
        "two of the five are no properties of a znode, and its versions are missing",
    )]
}

pub(super) fn corrected_lines(path: &str, data: usize) -> Vec<Line> {
    let bytes = snapshot_bytes(path.len(), data);
    vec![
        Line::text("ZNode", "<path, data, ACL, stat>", ""),
        Line::text(
            "stat",
            "<czxid, mzxid, pzxid, ctime, mtime, version, cversion, aversion, ephemeralOwner, dataLength, numChildren>",
            "the three versions are what conditional writes compare",
        ),
        Line::text(
            "ephemeral",
            "ephemeralOwner != 0",
            "no flag, but the session that the znode ends with; it has no children",
        ),
        Line::text(
            "sequence",
            sequential(path, 7),
            "a way to create: the name gets ten digits, and the znode knows nothing of it",
        ),
        Line::text("also", "container, TTL", "deleted when empty, or when empty and untouched for so long"),
        Line::number("bytes in a snapshot = 16 + path + data + 60", Some(bytes as f64), "bytes", ""),
        Line::number(
            "data, at most",
            Some((MAX_REQUEST_BYTES - path.len().min(MAX_REQUEST_BYTES)) as f64),
            "bytes",
            "jute.maxbuffer less path and header; for coordination, kilobytes",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_names() {
        assert_eq!(snapshot_bytes(2, 3), 81);
        assert_eq!(sequential("/a/latch-", 7), "/a/latch-0000000007");
    }
}
