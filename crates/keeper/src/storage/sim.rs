//! A disk in memory, for tests. It remembers what was synced, and forgets the rest when the power goes.
//!
//! After [`SimDisk::stop_at`] or [`SimDisk::power_loss`], what was not synced is there or not, as a seed decides: contents up to any
//! byte, or any pages of them; names one by one.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::{Disk, DiskFile};

const PAGE_BYTES: usize = 4096;

/// See the module's page. Clones are the same disk.
#[derive(Clone, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    files: HashMap<u64, Contents>,
    next_file: u64,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    /// Changes of names that are not durable, in order.
    renames: Vec<NameChange>,
    operations: u64,
    bytes_read: u64,
    stop_at: Option<u64>,
    room: Option<u64>,
}

#[derive(Clone)]
struct NameChange {
    removed: Option<PathBuf>,
    added: Option<(PathBuf, u64)>,
}

impl NameChange {
    fn is_in(&self, dir: &Path) -> bool {
        let within = |path: &PathBuf| path.parent() == Some(dir);
        self.removed.as_ref().is_some_and(within) || self.added.as_ref().is_some_and(|(path, _)| within(path))
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        let source = self.removed.as_ref().map(|path| names.remove(path).is_some());
        // A rename of a file whose creation was lost is lost as well.
        if let (Some((path, file)), Some(true) | None) = (&self.added, source) {
            names.insert(path.clone(), *file);
        }
    }
}

#[derive(Default, Clone)]
struct Contents {
    current: Vec<u8>,
    durable: Vec<u8>,
    /// What was done since the last sync.
    pending: Vec<Pending>,
}

#[derive(Clone)]
enum Pending {
    Write(usize, Vec<u8>),
    SetLen(usize),
}

impl Pending {
    fn apply(&self, bytes: &mut Vec<u8>, at_most: usize) {
        match self {
            Pending::Write(offset, written) => {
                let written = &written[..written.len().min(at_most)];
                let end = offset + written.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*offset..end].copy_from_slice(written);
            }
            Pending::SetLen(length) => bytes.resize(*length, 0),
        }
    }
}

/// A small generator of random numbers (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

impl std::fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimDisk").field("names", &self.lock().names.keys()).finish_non_exhaustive()
    }
}

impl SimDisk {
    /// An empty disk.
    pub fn new() -> Self {
        SimDisk::default()
    }

    /// Number of changes so far: writes, syncs, creations, renames, removals.
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// Number of bytes read so far.
    pub fn bytes_read(&self) -> u64 {
        self.lock().bytes_read
    }

    /// The power goes instead of change number `operation`: it and all after it fail.
    pub fn stop_at(&self, operation: u64) {
        self.lock().stop_at = Some(operation);
    }

    /// How many bytes can be written before the disk is full; none: any number.
    pub fn set_room(&self, room: Option<u64>) {
        self.lock().room = room;
    }

    /// What is on the disk after the power went.
    pub fn power_loss(&self, seed: u64) -> SimDisk {
        let state = self.lock();
        let random = &mut Random(seed);
        let mut names = state.durable_names.clone();
        let in_order = random.below(2) == 0;
        let first_lost = random.below(state.renames.len() + 1);
        for (at, change) in state.renames.iter().enumerate() {
            if if in_order { at < first_lost } else { random.below(2) == 0 } {
                change.apply(&mut names);
            }
        }
        let mut files: Vec<_> = state.files.iter().collect();
        files.sort_by_key(|(file, _)| **file);
        let files = files
            .into_iter()
            .map(|(file, contents)| {
                let left = contents.after_power_loss(random);
                (*file, Contents { current: left.clone(), durable: left, pending: Vec::new() })
            })
            .collect();
        let state = State {
            files,
            next_file: state.next_file,
            durable_names: names.clone(),
            names,
            ..State::default()
        };
        SimDisk { state: Arc::new(Mutex::new(state)) }
    }

    /// A file's bytes.
    pub fn bytes(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.lock();
        state.files.get(state.names.get(path)?).map(|file| file.current.clone())
    }

    /// Puts a file there, durably.
    pub fn put(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.lock();
        let file = state.next_file;
        state.next_file += 1;
        let contents = Contents { current: bytes.into(), durable: bytes.into(), pending: Vec::new() };
        state.files.insert(file, contents);
        state.names.insert(path.into(), file);
        state.durable_names.insert(path.into(), file);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a change.
    fn change(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.lock();
        if state.stop_at.is_some_and(|stop_at| state.operations >= stop_at) {
            return Err(io::Error::other("the power is gone"));
        }
        state.operations += 1;
        Ok(state)
    }
}

impl Contents {
    fn after_power_loss(&self, random: &mut Random) -> Vec<u8> {
        let mut left = self.durable.clone();
        match random.below(4) {
            0 => {}
            1 => left.clone_from(&self.current),
            2 => {
                let whole = random.below(self.pending.len() + 1);
                for pending in &self.pending[..whole] {
                    pending.apply(&mut left, usize::MAX);
                }
                if let Some(torn @ Pending::Write(_, bytes)) = self.pending.get(whole) {
                    torn.apply(&mut left, random.below(bytes.len()));
                }
            }
            _ => {
                let length = if random.below(2) == 0 { self.durable.len() } else { self.current.len() };
                left.resize(length, 0);
                for begin in (0..length).step_by(PAGE_BYTES) {
                    let end = length.min(begin + PAGE_BYTES).min(self.current.len());
                    if begin < end && random.below(2) == 0 {
                        left[begin..end].copy_from_slice(&self.current[begin..end]);
                    }
                }
            }
        }
        left
    }
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Disk for SimDisk {
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.lock();
        let names = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(names.filter_map(|path| Some(path.file_name()?.to_str()?.into())).collect())
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        self.bytes(path).map(|bytes| bytes.len() as u64).ok_or_else(not_found)
    }

    fn read(&self, path: &Path, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        let mut bytes = Cursor::new(self.bytes(path).ok_or_else(not_found)?);
        bytes.set_position(offset);
        Ok(Box::new(Counted { bytes, disk: self.clone() }))
    }

    fn next_data(&self, path: &Path, offset: u64) -> io::Result<Option<u64>> {
        let bytes = self.bytes(path).ok_or_else(not_found)?;
        // A page of zeros counts as never written.
        let page = offset as usize / PAGE_BYTES * PAGE_BYTES;
        let pages = bytes.get(page..).unwrap_or_default().chunks(PAGE_BYTES);
        let written = pages.into_iter().position(|page| page.iter().any(|byte| *byte != 0));
        Ok(written.map(|at| offset.max((page + at * PAGE_BYTES) as u64)))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.change()?;
        let file = match state.names.get(path) {
            Some(file) => *file,
            None => {
                let file = state.next_file;
                state.next_file += 1;
                state.names.insert(path.into(), file);
                state.renames.push(NameChange { removed: None, added: Some((path.into(), file)) });
                file
            }
        };
        let contents = state.files.entry(file).or_default();
        if !contents.current.is_empty() {
            contents.current.clear();
            contents.pending.push(Pending::SetLen(0));
        }
        Ok(Box::new(SimFile { disk: self.clone(), file }))
    }

    fn modify(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = *self.lock().names.get(path).ok_or_else(not_found)?;
        Ok(Box::new(SimFile { disk: self.clone(), file }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.change()?;
        let file = state.names.remove(from).ok_or_else(not_found)?;
        state.names.insert(to.into(), file);
        state.renames.push(NameChange { removed: Some(from.into()), added: Some((to.into(), file)) });
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if !self.lock().names.contains_key(path) {
            return Err(not_found());
        }
        let mut state = self.change()?;
        state.names.remove(path).ok_or_else(not_found)?;
        state.renames.push(NameChange { removed: Some(path.into()), added: None });
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.change()?;
        let State { renames, durable_names, .. } = &mut *state;
        renames.retain(|change| {
            let now = change.is_in(dir);
            if now {
                change.apply(durable_names);
            }
            !now
        });
        Ok(())
    }

    fn free_space(&self, _: &Path) -> io::Result<u64> {
        Ok(self.lock().room.unwrap_or(u64::MAX))
    }
}

/// Counts what is read.
struct Counted {
    bytes: Cursor<Vec<u8>>,
    disk: SimDisk,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.bytes.read(buffer)?;
        self.disk.lock().bytes_read += got as u64;
        Ok(got)
    }
}

struct SimFile {
    disk: SimDisk,
    file: u64,
}

impl SimFile {
    fn pending(&self, state: &mut State, pending: Pending) {
        let contents = state.files.entry(self.file).or_default();
        pending.apply(&mut contents.current, usize::MAX);
        contents.pending.push(pending);
    }
}

impl DiskFile for SimFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.change()?;
        let room = state.room.unwrap_or(u64::MAX);
        let fits = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        if state.room.is_some() {
            state.room = Some(room - fits as u64);
        }
        self.pending(&mut state, Pending::Write(offset as usize, bytes[..fits].into()));
        if fits < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync_data(&mut self) -> io::Result<()> {
        let mut state = self.disk.change()?;
        let contents = state.files.entry(self.file).or_default();
        contents.durable.clone_from(&contents.current);
        contents.pending.clear();
        Ok(())
    }

    fn set_len(&mut self, length: u64) -> io::Result<()> {
        let mut state = self.disk.change()?;
        self.pending(&mut state, Pending::SetLen(length as usize));
        Ok(())
    }
}
