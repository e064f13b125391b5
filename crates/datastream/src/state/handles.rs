//! The states that a function works with. The names are Flink's.

use std::cell::{Ref, RefMut};
use std::collections::HashMap;
use std::hash::Hash;
use std::rc::Rc;

use foldhash::fast::RandomState;
use streamkeeper_dataflow::OperatorResult;

use crate::Data;
use crate::aggregate::AggregateFunction;
use crate::key::Key;
use crate::state::backend::StateBackend;
use crate::state::table::Table;
use crate::state::ttl::{Elements, Entries, StateDescriptor, StateVisibility, UpdateType};

/// One value per key.
pub struct ValueState<V>(Rc<Table<V>>);

impl<V: Data> ValueState<V> {
    pub(crate) fn register<K: Key + Sync>(
        backend: &mut StateBackend<K>,
        state: impl Into<StateDescriptor>,
    ) -> OperatorResult<Self> {
        Ok(Self(backend.register("value", state)?))
    }

    /// The value of the current key.
    pub fn value(&self) -> Option<V> {
        self.0.get().map(|value| value.clone())
    }

    /// The value of the current key, without a copy.
    pub fn get(&self) -> Option<Ref<'_, V>> {
        self.0.get()
    }

    /// The value of the current key, to be changed in place.
    pub fn get_mut(&self) -> Option<RefMut<'_, V>> {
        self.0.get_mut()
    }

    /// The value of the current key, to be changed in place; `make` gives it when there is none.
    pub fn get_or_insert_with(&self, make: impl FnOnce() -> V) -> RefMut<'_, V> {
        self.0.get_or_insert_with(make)
    }

    /// Sets the value of the current key.
    pub fn update(&self, value: V) {
        self.0.set(value);
    }

    /// Removes and returns the value of the current key.
    pub fn take(&self) -> Option<V> {
        self.0.take()
    }

    /// Removes the value of the current key.
    pub fn clear(&self) {
        self.0.take();
    }
}

/// A list per key.
pub struct ListState<V: Data>(Rc<Table<Vec<V>, Elements>>);

impl<V: Data> ListState<V> {
    pub(crate) fn register<K: Key + Sync>(
        backend: &mut StateBackend<K>,
        state: impl Into<StateDescriptor>,
    ) -> OperatorResult<Self> {
        Ok(Self(backend.register("list", state)?))
    }

    /// The list of the current key; empty when there is none.
    pub fn list(&self) -> Vec<V> {
        self.0.get().map(|list| list.clone()).unwrap_or_default()
    }

    /// The list of the current key, without a copy.
    pub fn get(&self) -> Option<Ref<'_, Vec<V>>> {
        self.0.get()
    }

    /// Adds a value to the list of the current key.
    pub fn add(&self, value: V) {
        let mut value = Some(value);
        let added = self.0.change(|list, stamps| {
            list.extend(value.take());
            if let Some((stamps, expiry, _)) = stamps {
                stamps.push(expiry.now);
            }
        });
        if added.is_none() {
            self.0.set(Vec::from_iter(value));
        }
    }

    /// Replaces the list of the current key.
    pub fn update(&self, list: Vec<V>) {
        if list.is_empty() { self.clear() } else { self.0.set(list) }
    }

    /// Removes and returns the list of the current key.
    pub fn take(&self) -> Vec<V> {
        self.0.take().unwrap_or_default()
    }

    /// Removes the list of the current key.
    pub fn clear(&self) {
        self.0.take();
    }
}

/// A map per key.
pub struct MapState<UK: Data + Eq + Hash, UV: Data>(Rc<Table<HashMap<UK, UV, RandomState>, Entries>>);

impl<UK: Data + Eq + Hash, UV: Data> MapState<UK, UV> {
    pub(crate) fn register<K: Key + Sync>(
        backend: &mut StateBackend<K>,
        state: impl Into<StateDescriptor>,
    ) -> OperatorResult<Self> {
        Ok(Self(backend.register("map", state)?))
    }

    /// The entry of the current key's map.
    pub fn get(&self, key: &UK) -> Option<UV> {
        self.look(key);
        self.0.peek()?.get(key).cloned()
    }

    /// Whether the current key's map has the entry.
    pub fn contains(&self, key: &UK) -> bool {
        self.look(key);
        self.0.peek().is_some_and(|map| map.contains_key(key))
    }

    /// Sets an entry of the current key's map.
    pub fn put(&self, key: UK, value: UV) {
        let mut entry = Some((key, value));
        let put = self.0.change(|map, stamps| {
            if let (Some((key, _)), Some((stamps, expiry, _))) = (&entry, stamps) {
                stamps.insert(key.clone(), expiry.now);
            }
            map.extend(entry.take());
        });
        if put.is_none() {
            self.0.set(HashMap::from_iter(entry));
        }
    }

    /// Removes and returns an entry of the current key's map.
    pub fn remove(&self, key: &UK) -> Option<UV> {
        self.look(key);
        let (removed, empty) = self.0.change(|map, stamps| {
            if let Some((stamps, ..)) = stamps {
                stamps.remove(key);
            }
            (map.remove(key), map.is_empty())
        })?;
        if empty {
            self.0.take();
        }
        removed
    }

    /// One entry is looked at: it goes if it has expired, or is renewed by that.
    fn look(&self, key: &UK) {
        if self.0.ttl().is_none() {
            return;
        }
        let empty = self.0.change(|map, stamps| {
            let Some((stamps, expiry, ttl)) = stamps else { return false };
            let Some(stamp) = stamps.get_mut(key) else { return false };
            if !expiry.has_expired(*stamp) {
                if ttl.update_type == UpdateType::OnReadAndWrite {
                    *stamp = expiry.now;
                }
            } else if ttl.visibility == StateVisibility::NeverReturnExpired {
                stamps.remove(key);
                map.remove(key);
            }
            map.is_empty()
        });
        if empty == Some(true) {
            self.0.take();
        }
    }

    /// All entries of the current key's map, in no order.
    pub fn entries(&self) -> Vec<(UK, UV)> {
        let map = self.0.get();
        map.map(|map| map.iter().map(|(k, v)| (k.clone(), v.clone())).collect()).unwrap_or_default()
    }

    /// Whether the current key's map has no entries.
    pub fn is_empty(&self) -> bool {
        self.0.get().is_none()
    }

    /// Removes the current key's map.
    pub fn clear(&self) {
        self.0.take();
    }
}

/// One value per key, into which each added value is reduced.
pub struct ReducingState<V, F> {
    value: Rc<Table<V>>,
    reduce: F,
}

impl<V: Data, F: Fn(V, V) -> V> ReducingState<V, F> {
    pub(crate) fn register<K: Key + Sync>(
        backend: &mut StateBackend<K>,
        state: impl Into<StateDescriptor>,
        reduce: F,
    ) -> OperatorResult<Self> {
        Ok(Self { value: backend.register("reducing", state)?, reduce })
    }

    /// The current key's value.
    pub fn get(&self) -> Option<V> {
        self.value.get().map(|value| value.clone())
    }

    /// Reduces `value` into the current key's value.
    pub fn add(&self, value: V) {
        let value = match self.value.take() {
            Some(so_far) => (self.reduce)(so_far, value),
            None => value,
        };
        self.value.set(value);
    }

    /// Removes the current key's value.
    pub fn clear(&self) {
        self.value.take();
    }
}

/// One accumulator per key.
pub struct AggregatingState<A: AggregateFunction> {
    accumulator: Rc<Table<A::Accumulator>>,
    function: A,
}

impl<A: AggregateFunction> AggregatingState<A> {
    pub(crate) fn register<K: Key + Sync>(
        backend: &mut StateBackend<K>,
        state: impl Into<StateDescriptor>,
        function: A,
    ) -> OperatorResult<Self> {
        Ok(Self { accumulator: backend.register("aggregating", state)?, function })
    }

    /// The current key's result; `None` when nothing was added.
    pub fn get(&self) -> Option<A::Out> {
        self.accumulator.get().map(|accumulator| self.function.result(&accumulator))
    }

    /// Adds a value to the current key's accumulator.
    pub fn add(&self, value: A::In) {
        let mut accumulator = self.accumulator.get_or_insert_with(|| self.function.create_accumulator());
        self.function.add(value, &mut accumulator);
    }

    /// Removes the current key's accumulator.
    pub fn clear(&self) {
        self.accumulator.take();
    }
}
