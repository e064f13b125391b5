//! Lists of permissions, each held once: znodes name them by number, as in ZooKeeper's `ReferenceCountedACLCache`.
//!
//! A list that no znode names any more is dropped. `OPEN_ACL_UNSAFE` has no entry: its number in snapshots is -1.

use std::collections::HashMap;

use crate::acl::{Acls, OPEN_ACL_UNSAFE};

/// The number of `OPEN_ACL_UNSAFE` among znodes.
pub(super) const OPEN: u32 = 0;

#[derive(Debug, Clone)]
struct Entry {
    acls: Acls,
    znodes: u64,
}

/// The lists in use.
#[derive(Debug, Default, Clone)]
pub(super) struct AclCache {
    entries: HashMap<u32, Entry>,
    numbers: HashMap<Acls, u32>,
    last: u32,
}

impl AclCache {
    /// The number of a list, for one znode more.
    pub(super) fn add(&mut self, acls: &Acls) -> u32 {
        if *acls == *OPEN_ACL_UNSAFE {
            return OPEN;
        }
        let number = *self.numbers.entry(acls.clone()).or_insert_with(|| {
            self.last += 1;
            self.last
        });
        self.entries.entry(number).or_insert_with(|| Entry { acls: acls.clone(), znodes: 0 }).znodes += 1;
        number
    }

    /// One znode less has this list.
    pub(super) fn remove(&mut self, number: u32) {
        if let Some(entry) = self.entries.get_mut(&number) {
            entry.znodes -= 1;
            if entry.znodes == 0 {
                self.numbers.remove(&entry.acls);
                self.entries.remove(&number);
            }
        }
    }

    pub(super) fn get(&self, number: u32) -> &Acls {
        match self.entries.get(&number) {
            Some(entry) => &entry.acls,
            None => &OPEN_ACL_UNSAFE,
        }
    }

    /// The lists, as snapshots number them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (i64, &Acls)> {
        self.entries.iter().map(|(number, entry)| (i64::from(*number), &entry.acls))
    }
}

/// How snapshots number a list.
pub(super) fn in_snapshot(number: u32) -> i64 {
    if number == OPEN { -1 } else { number.into() }
}
