//! What is behind the last good entry of a log: padding, a torn write, or damage.
//!
//! Damage is whatever has a valid entry behind it, with one exception. A commit may span several pages of memory, of which the system
//! writes out any before the power goes: a page that never arrived reads as zeros from the end of the good entries, or from a page's
//! begin, to a page's end. Behind such a hole nothing was ever acknowledged, for that takes a sync of all pages.

use std::io::{self, Read};
use std::path::Path;

use super::disk::Disk;
use super::log::{ENTRY_END, ENTRY_HEAD_BYTES, MAX_TXN_BYTES};
use super::log_reader::checksum;
use crate::jute::Reader;
use crate::txn::LoggedTxn;

/// What is behind the last good entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// Nothing but zeros.
    Zeros,
    /// What a write leaves that did not finish.
    Torn,
    /// Something valid, described: what is in front of it was damaged later.
    Middle(String),
}

/// No commit is longer. A tail that is, is no torn write.
const MAX_COMMIT_BYTES: u64 = 64 << 20;
/// Bytes that are checksummed in search of a valid entry before the file is refused. Only a forged file takes more.
const MAX_EFFORT_BYTES: usize = 1 << 30;
/// Pages of memory, as the system writes them out.
const PAGE_BYTES: u64 = 4096;
/// An entry may begin with four zeros, but not with more.
const MIN_HOLE_BYTES: u64 = 8;

/// Looks at a file of `length` bytes from `at` on, behind the entry of transaction `last_zxid`.
pub(super) fn inspect(
    disk: &dyn Disk,
    path: &Path,
    at: u64,
    length: u64,
    last_zxid: i64,
) -> io::Result<Tail> {
    let Some(end) = end_of_data(disk, path, at)? else { return Ok(Tail::Zeros) };
    if end - at > MAX_COMMIT_BYTES {
        return Ok(Tail::Middle(format!("there are {} more bytes behind it", end - at)));
    }
    let mut bytes = Vec::new();
    disk.read(path, at)?.take(end.min(length) - at).read_to_end(&mut bytes)?;
    let Some((offset, zxid)) = find_entry(&bytes, last_zxid) else { return Ok(Tail::Torn) };
    if has_hole(&bytes[..offset], at) {
        return Ok(Tail::Torn);
    }
    let offset = at + offset as u64;
    Ok(Tail::Middle(match zxid {
        Some(zxid) => format!("transaction 0x{zxid:x} is whole behind it, at offset {offset}"),
        None => format!("too much that looks like entries is behind it, up to offset {offset}"),
    }))
}

/// Where the last byte ends that is not zero. What was preallocated and never written is not read: that would take longer than all else
/// that a start does.
fn end_of_data(disk: &dyn Disk, path: &Path, at: u64) -> io::Result<Option<u64>> {
    let mut end = None;
    let Some(mut position) = disk.next_data(path, at)? else { return Ok(None) };
    let mut stream = disk.read(path, position)?;
    let mut chunk = vec![0; 128 << 10];
    loop {
        let got = match stream.read(&mut chunk) {
            Ok(0) => return Ok(end),
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let last = chunk[..got].iter().rposition(|byte| *byte != 0);
        let begin = position;
        position += got as u64;
        if let Some(last) = last {
            end = Some(begin + last as u64 + 1);
            continue;
        }
        match disk.next_data(path, position)? {
            None => return Ok(end),
            Some(next) if next > position => {
                position = next;
                stream = disk.read(path, position)?;
            }
            Some(_) => {}
        }
    }
}

/// The first valid entry behind the first byte: its offset and zxid. No zxid: the search took too long.
fn find_entry(bytes: &[u8], last_zxid: i64) -> Option<(usize, Option<i64>)> {
    let mut effort = 0;
    for offset in 1..bytes.len() {
        let mut fields = Reader::new(&bytes[offset..]);
        // The checksum's upper half is zero, the lower is not.
        let Ok(sum @ 1..=0xffff_ffff) = fields.long() else { continue };
        let Ok(length) = fields.int() else { break };
        let Ok(length) = usize::try_from(length) else { continue };
        if length == 0 || length > MAX_TXN_BYTES {
            continue;
        }
        let begin = offset + ENTRY_HEAD_BYTES;
        if bytes.get(begin + length) != Some(&ENTRY_END) {
            continue;
        }
        effort += length;
        if effort > MAX_EFFORT_BYTES {
            return Some((offset, None));
        }
        let txn = &bytes[begin..begin + length];
        if checksum(txn) != sum {
            continue;
        }
        match LoggedTxn::read(txn) {
            Ok(txn) if txn.header.zxid > last_zxid => return Some((offset, Some(txn.header.zxid))),
            _ => {}
        }
    }
    None
}

/// Whether a page is missing in `bytes`, which begin at offset `at` of the file.
fn has_hole(bytes: &[u8], at: u64) -> bool {
    let end = at + bytes.len() as u64;
    let mut begin = at;
    while begin < end {
        let page_end = (begin + 1).next_multiple_of(PAGE_BYTES);
        if page_end > end {
            return false;
        }
        let part = &bytes[(begin - at) as usize..(page_end - at) as usize];
        if page_end - begin >= MIN_HOLE_BYTES && part.iter().all(|byte| *byte == 0) {
            return true;
        }
        begin = page_end;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::log::{LogOptions, TxnLog};
    use crate::storage::sim::SimDisk;
    use crate::txn::{Txn, TxnHeader};
    use std::sync::Arc;

    /// A log of `count` transactions of about 300 bytes, and where each ends.
    fn log(count: i64) -> (SimDisk, Vec<u64>) {
        let disk = SimDisk::new();
        let options = LogOptions { preallocate_bytes: 64 << 10, ..LogOptions::default() };
        let mut log = TxnLog::new(Arc::new(disk.clone()), Path::new("/"), 0, options);
        let mut ends = vec![16];
        for zxid in 1..=count {
            let header = TxnHeader { client_id: 1, cxid: 1, zxid, time_ms: 1 };
            let txn = Txn::SetData { path: "/a".into(), data: Some([b'x'; 256].into()), version: 1 };
            let mut bytes = Vec::new();
            LoggedTxn { header, txn, digest: None }.write(&mut bytes);
            log.append(zxid, &bytes).unwrap();
            log.commit().unwrap();
            ends.push(log.file_bytes());
        }
        (disk, ends)
    }

    fn tail(disk: &SimDisk, bytes: &[u8], at: u64) -> Tail {
        let path = Path::new("/log.1");
        disk.put(path, bytes);
        inspect(disk, path, at, bytes.len() as u64, 0).unwrap()
    }

    #[test]
    fn a_page_that_never_arrived_is_no_damage() {
        let (disk, ends) = log(40);
        let whole = disk.bytes(Path::new("/log.1")).unwrap();
        assert_eq!(tail(&disk, &whole, ends[40]), Tail::Zeros);

        // The second page is lost; in the third there are whole entries.
        let mut lost = whole.clone();
        lost[4096..8192].fill(0);
        let before = ends.iter().rposition(|end| *end <= 4096).unwrap();
        assert_eq!(tail(&disk, &lost, ends[before]), Tail::Torn);

        // The end of the first page is lost from a good entry on.
        let mut lost = whole.clone();
        lost[ends[5] as usize..4096].fill(0);
        assert_eq!(tail(&disk, &lost, ends[5]), Tail::Torn);

        // The same zeros, but not up to the page's end.
        let mut damaged = whole.clone();
        damaged[ends[5] as usize..3000].fill(0);
        assert!(
            matches!(tail(&disk, &damaged, ends[5]), Tail::Middle(what) if what.contains("is whole behind it"))
        );

        // The last entry, in part.
        let cut = &whole[..ends[40] as usize - 100];
        assert_eq!(tail(&disk, cut, ends[39]), Tail::Torn);
    }

    #[test]
    fn what_was_preallocated_is_not_read() {
        let (disk, ends) = log(40);
        let mut whole = disk.bytes(Path::new("/log.1")).unwrap();
        whole.resize(8 << 20, 0);
        assert_eq!(tail(&disk, &whole, ends[40]), Tail::Zeros);
        assert!(disk.bytes_read() < 1 << 20, "{} bytes were read", disk.bytes_read());

        // Whatever is behind the hole is found.
        whole[6 << 20] = 1;
        assert_eq!(tail(&disk, &whole, ends[40]), Tail::Torn);
        let entry = whole[ends[39] as usize..ends[40] as usize].to_vec();
        whole[7 << 20..(7 << 20) + entry.len()].copy_from_slice(&entry);
        whole[6 << 20] = 0;
        whole[ends[38] as usize] = 1;
        assert!(matches!(tail(&disk, &whole, ends[38]), Tail::Middle(_)));
        assert!(disk.bytes_read() < 16 << 20, "{} bytes were read", disk.bytes_read());
    }

    #[test]
    fn a_search_among_forged_entries_comes_to_an_end() {
        let mut forged = vec![b'B'; 3 << 20];
        for at in (0..forged.len() - 16).step_by(13) {
            let length = (forged.len() - at - 14) as u32;
            forged[at..at + 8].copy_from_slice(&7i64.to_be_bytes());
            forged[at + 8..at + 12].copy_from_slice(&length.to_be_bytes());
        }
        assert!(matches!(tail(&SimDisk::new(), &forged, 0), Tail::Middle(what) if what.contains("too much")));
    }
}
