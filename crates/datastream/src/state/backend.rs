//! The keys of one subtask, their slots, and the states kept by slot.

use std::borrow::Borrow;
use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher, Hash};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use streamkeeper_dataflow::operator::OperatorContext;
use streamkeeper_dataflow::state::{RestoredState, SnapshotFn};
use streamkeeper_dataflow::time::{Clock, Timestamp};
use streamkeeper_dataflow::{OperatorError, OperatorResult};

use crate::Data;
use crate::key::Key;
use crate::state::fingerprint;
use crate::state::table::{AnyTable, Table, WriteTable};
use crate::state::ttl::{Lifetimes, StateDescriptor};

/// The keys of each key group, with their slots.
pub(crate) type Keys<K> = Vec<(u16, Vec<(K, u32)>)>;

/// Which slots are in use, and the current one.
#[derive(Default)]
pub(crate) struct Slots {
    current: Cell<usize>,
    /// How many states have a value at each slot.
    values: RefCell<Vec<u32>>,
    free: RefCell<Vec<u32>>,
    /// Processing time, where a state has a time to live.
    now: Cell<Timestamp>,
}

impl Slots {
    #[inline]
    pub(crate) fn now(&self) -> Timestamp {
        self.now.get()
    }

    #[inline]
    pub(crate) fn current(&self) -> usize {
        self.current.get()
    }

    pub(crate) fn value_added(&self, slot: usize) {
        self.values.borrow_mut()[slot] += 1;
    }

    pub(crate) fn value_removed(&self, slot: usize) {
        self.values.borrow_mut()[slot] -= 1;
    }

    fn allocate(&self) -> u32 {
        if let Some(slot) = self.free.borrow_mut().pop() {
            return slot;
        }
        let mut values = self.values.borrow_mut();
        values.push(0);
        values.len() as u32 - 1
    }

    fn is_empty(&self, slot: usize) -> bool {
        self.values.borrow()[slot] == 0
    }
}

/// The keyed state of one operator in one subtask.
pub struct StateBackend<K> {
    first_group: u16,
    groups: Vec<HashTable<(K, u32)>>,
    hasher: RandomState,
    max_parallelism: u16,
    slots: Rc<Slots>,
    states: Vec<(String, String, Rc<dyn AnyTable<K>>)>,
    restored: RestoredState,
    /// Where the current key is: its group, and its hash there.
    current: (usize, u64),
    clock: Arc<dyn Clock>,
    /// Where a state has a time to live.
    cleanup: Option<Cleanup>,
}

/// Where the cleanup is: it looks at the keys in turn.
#[derive(Default)]
struct Cleanup {
    /// How many at once.
    keys: usize,
    group: usize,
    bucket: usize,
}

impl<K: Key + Sync> StateBackend<K> {
    /// A backend for the key groups of `context`, that restores from it.
    pub fn new(context: &OperatorContext) -> Self {
        Self {
            first_group: context.key_groups.start,
            groups: context.key_groups.clone().map(|_| HashTable::new()).collect(),
            hasher: RandomState::default(),
            max_parallelism: context.max_parallelism,
            slots: Rc::default(),
            states: Vec::new(),
            restored: context.restored.clone(),
            current: (0, 0),
            clock: context.clock.clone(),
            cleanup: None,
        }
    }

    /// The key groups of the subtask.
    pub fn key_groups(&self) -> Range<u16> {
        self.first_group..self.first_group + self.groups.len() as u16
    }

    /// Number of keys that have state.
    pub fn num_keys(&self) -> usize {
        self.groups.iter().map(HashTable::len).sum()
    }

    /// Adds a state, with what the checkpoint has of it.
    pub(crate) fn register<V: Data, L: Lifetimes<V>>(
        &mut self,
        kind: &str,
        descriptor: impl Into<StateDescriptor>,
    ) -> OperatorResult<Rc<Table<V, L>>> {
        let StateDescriptor { name, ttl } = descriptor.into();
        if name.starts_with('$') || self.states.iter().any(|(other, ..)| *other == name) {
            return Err(OperatorError::fatal(format!(
                "state `{name}`: each state of an operator needs a name of its own that does not begin with $"
            )));
        }
        if let Some(ttl) = &ttl {
            if ttl.ttl.is_zero() {
                return Err(OperatorError::fatal(format!(
                    "state `{name}`: its time to live must be positive"
                )));
            }
            let cleanup = self.cleanup.get_or_insert_default();
            cleanup.keys = cleanup.keys.max(ttl.cleanup);
            self.slots.now.set(self.clock.now_ms());
        }
        let lives = if ttl.is_some() { " with time to live" } else { "" };
        let shape = format!("{kind}{lives} by {}: {}", fingerprint::<K>(), fingerprint::<V>());
        let table = Rc::new(Table::<V, L>::new(self.slots.clone(), ttl));
        let restored = std::mem::take(&mut self.restored);
        let fail = |reason: OperatorError| {
            OperatorError::fatal(format!("state `{name}` in the checkpoint: {reason}"))
        };
        for (key_group, bytes) in restored.keyed(&name, &shape)? {
            let any: &dyn AnyTable<K> = table.as_ref();
            let index = self.index(*key_group).map_err(fail)?;
            let (group, slots, hasher) = (&mut self.groups[index], &self.slots, &self.hasher);
            any.restore(bytes, &mut |key| {
                entry(group, hasher, slots, &key, hasher.hash_one(&key)).1 as usize
            })
            .map_err(fail)?;
        }
        self.restored = restored;
        self.states.push((name, shape, table.clone()));
        Ok(table)
    }

    /// All states are registered: what was restored can be dropped.
    pub fn opened(&mut self) {
        self.restored = RestoredState::default();
    }

    fn index(&self, key_group: u16) -> OperatorResult<usize> {
        let index = key_group.checked_sub(self.first_group).map(usize::from);
        index.filter(|i| *i < self.groups.len()).ok_or_else(|| {
            OperatorError::fatal(format!(
                "key group {key_group} is not owned by this subtask; the exchange is wrong"
            ))
        })
    }

    /// The key group of a key with this hash.
    #[inline]
    pub fn key_group(&self, hash: u64) -> u16 {
        streamkeeper_dataflow::key_group::key_group(hash, self.max_parallelism)
    }

    /// Makes `key` the current key: states give its values from now on. Returns the key as it is kept.
    ///
    /// # Errors
    /// When this subtask does not own the key group.
    #[inline]
    pub fn set_current_key<Q>(&mut self, key_group: u16, key: &Q) -> OperatorResult<&K>
    where
        K: Borrow<Q>,
        Q: ?Sized + Eq + Hash + ToOwned<Owned = K>,
    {
        let index = self.index(key_group)?;
        if self.cleanup.is_some() {
            self.clean_up();
        }
        let hash = self.hasher.hash_one(key);
        self.current = (index, hash);
        let (key, slot) = entry(&mut self.groups[index], &self.hasher, &self.slots, key, hash);
        self.slots.current.set(*slot as usize);
        Ok(key)
    }

    /// Takes the time, and looks at the next few keys for what has expired.
    fn clean_up(&mut self) {
        let Some(cleanup) = &mut self.cleanup else { return };
        self.slots.now.set(self.clock.now_ms());
        // A group's buckets are no more than twice as many as its keys once were, and most groups have none.
        let mut looked = 0;
        for _ in 0..cleanup.keys * 16 {
            let Some(group) = self.groups.get_mut(cleanup.group) else {
                cleanup.group = 0;
                break;
            };
            if group.is_empty() || cleanup.bucket >= group.num_buckets() {
                (cleanup.group, cleanup.bucket) = (cleanup.group + 1, 0);
                continue;
            }
            let bucket = cleanup.bucket;
            cleanup.bucket += 1;
            let Ok(entry) = group.get_bucket_entry(bucket) else { continue };
            let slot = entry.get().1 as usize;
            self.states.iter().for_each(|(_, _, table)| table.clean(slot));
            if self.slots.is_empty(slot) {
                entry.remove();
                self.slots.free.borrow_mut().push(slot as u32);
            }
            looked += 1;
            if looked == cleanup.keys {
                break;
            }
        }
    }

    /// The function has run for the current key: forgets it if no state has a value for it.
    #[inline]
    pub fn release(&mut self) {
        let slot = self.slots.current();
        if self.slots.is_empty(slot) {
            let (index, hash) = self.current;
            if let Ok(entry) = self.groups[index].find_entry(hash, |(_, kept)| *kept as usize == slot) {
                entry.remove();
                self.slots.free.borrow_mut().push(slot as u32);
            }
        }
    }

    /// All keys, with their key groups: to visit each.
    pub fn keys(&self) -> Vec<(u16, K)> {
        let groups = (self.first_group..).zip(&self.groups);
        groups.flat_map(|(group, keys)| keys.iter().map(move |(key, _)| (group, key.clone()))).collect()
    }

    /// Captures all states.
    pub fn snapshot(&self) -> SnapshotFn {
        if self.cleanup.is_some() {
            self.slots.now.set(self.clock.now_ms());
        }
        let groups = (self.first_group..).zip(&self.groups).filter(|(_, keys)| !keys.is_empty());
        let keys: Keys<K> = groups.map(|(group, keys)| (group, keys.iter().cloned().collect())).collect();
        let states: Vec<WriteTable<K>> =
            self.states.iter().map(|(name, shape, table)| table.capture(name, shape)).collect();
        Box::new(move |writer| states.into_iter().try_for_each(|write| write(&keys, writer)))
    }
}

/// The entry of `key`, made with a slot if it is not there.
#[inline]
fn entry<'a, K, Q>(
    group: &'a mut HashTable<(K, u32)>,
    hasher: &RandomState,
    slots: &Slots,
    key: &Q,
    hash: u64,
) -> &'a (K, u32)
where
    K: Hash + Borrow<Q>,
    Q: ?Sized + Eq + Hash + ToOwned<Owned = K>,
{
    let found =
        group.entry(hash, |(kept, _)| kept.borrow() == key, |(kept, _)| hasher.hash_one(kept.borrow()));
    found.or_insert_with(|| (key.to_owned(), slots.allocate())).into_mut()
}
