//! The digest of a tree (version 2, ZooKeeper's `DigestCalculator`): the wrapping sum over all znodes of CRC32(path, data, stat).
//!
//! Znodes below `/zookeeper/` count 0, since quota statistics change without a transaction. The root's path is the empty string.
//!
//! The CRC of path and data is kept with the znode, so that a change of its stat alone costs 60 bytes of CRC.

use crate::jute::Write;
use crate::proto::StatPersisted;

/// Version of the definition.
pub const VERSION: i32 = 2;

/// CRC32 of a znode's path and data.
pub fn content_crc(path: &str, data: Option<&[u8]>) -> u32 {
    let path = if path == "/" { "" } else { path };
    let mut crc = crc32fast::Hasher::new();
    crc.update(path.as_bytes());
    crc.update(data.unwrap_or_default());
    crc.finalize()
}

/// A znode's part of the digest.
pub fn node_digest(path: &str, content_crc: u32, stat: &StatPersisted) -> i64 {
    if path.starts_with("/zookeeper/") {
        return 0;
    }
    let mut bytes = Vec::with_capacity(StatPersisted::ENCODED_BYTES);
    bytes.long(stat.czxid);
    bytes.long(stat.mzxid);
    bytes.long(stat.pzxid);
    bytes.long(stat.ctime);
    bytes.long(stat.mtime);
    bytes.int(stat.version);
    bytes.int(stat.cversion);
    bytes.int(stat.aversion);
    bytes.long(stat.ephemeral_owner);
    let mut crc = crc32fast::Hasher::new_with_initial(content_crc);
    crc.update(&bytes);
    crc.finalize().into()
}
