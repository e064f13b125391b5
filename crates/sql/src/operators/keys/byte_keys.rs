//! Byte strings numbered by [`NextId`].
//!
//! Invariant: a string keeps its id until it is removed; ids that are free again are given out first.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

/// Puts a value at the place of its id, filling what is skipped.
pub(super) fn put<T: Clone>(values: &mut Vec<T>, id: u32, value: T, filler: T) {
    let at = id as usize;
    if at < values.len() {
        values[at] = value;
    } else {
        values.resize(at, filler);
        values.push(value);
    }
}

/// Gives out ids, those that are free again first.
pub(super) struct NextId<'a> {
    pub(super) free: &'a mut Vec<u32>,
    pub(super) end: &'a mut u32,
}

impl NextId<'_> {
    pub(super) fn take(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            *self.end += 1;
            *self.end - 1
        })
    }
}

/// Byte strings by id, in one buffer. A removed one leaves a hole; the buffer is rewritten when holes fill half of it.
#[derive(Debug, Default)]
pub(super) struct ByteKeys {
    table: HashTable<(u64, u32)>,
    hasher: RandomState,
    ranges: Vec<(usize, usize)>,
    buffer: Vec<u8>,
    holes: usize,
}

impl ByteKeys {
    pub(super) fn get(&self, id: u32) -> &[u8] {
        let (start, end) = self.ranges[id as usize];
        &self.buffer[start..end]
    }

    pub(super) fn find(&self, key: &[u8]) -> Option<u32> {
        let hash = self.hasher.hash_one(key);
        self.table.find(hash, |(h, id)| *h == hash && self.get(*id) == key).map(|(_, id)| *id)
    }

    pub(super) fn intern(&mut self, key: &[u8], next: &mut NextId<'_>) -> u32 {
        let hash = self.hasher.hash_one(key);
        let (ranges, buffer) = (&self.ranges, &self.buffer);
        let same = |(h, id): &(u64, u32)| {
            let (start, end) = ranges[*id as usize];
            *h == hash && &buffer[start..end] == key
        };
        if let Some((_, id)) = self.table.find(hash, same) {
            return *id;
        }
        let id = next.take();
        self.table.insert_unique(hash, (hash, id), |(h, _)| *h);
        self.set(id, key);
        id
    }

    pub(super) fn set(&mut self, id: u32, key: &[u8]) {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(key);
        put(&mut self.ranges, id, (start, self.buffer.len()), (0, 0));
    }

    pub(super) fn remove(&mut self, id: u32) {
        let hash = self.hasher.hash_one(self.get(id));
        if let Ok(found) = self.table.find_entry(hash, |(_, held)| *held == id) {
            found.remove();
        }
        let (start, end) = std::mem::take(&mut self.ranges[id as usize]);
        self.holes += end - start;
        if self.holes > (1 << 20) && self.holes > self.buffer.len() / 2 {
            let mut buffer = Vec::with_capacity(self.buffer.len() - self.holes);
            for range in &mut self.ranges {
                let start = buffer.len();
                buffer.extend_from_slice(&self.buffer[range.0..range.1]);
                *range = (start, buffer.len());
            }
            self.buffer = buffer;
            self.holes = 0;
        }
    }
}
