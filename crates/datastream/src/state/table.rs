//! One state's values, by slot.
//!
//! Invariant: with a time to live there is a stamp for each value; without, there are none.

use std::cell::{Ref, RefCell, RefMut};
use std::rc::Rc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use streamkeeper_dataflow::state::StateWriter;
use streamkeeper_dataflow::{OperatorError, OperatorResult};

use crate::Data;
use crate::state::backend::{Keys, Slots};
use crate::state::ttl::{Expiry, Lifetimes, StateTtlConfig, StateVisibility, UpdateType, Whole};

/// A column of values, shared by its handle and the backend.
pub(crate) struct Table<V, L: Lifetimes<V> = Whole> {
    values: RefCell<Vec<Option<V>>>,
    slots: Rc<Slots>,
    ttl: Option<StateTtlConfig>,
    stamps: RefCell<Vec<L::Stamps>>,
}

/// The stamps of a value that is changed, the time, and how its parts live; `None`: for ever.
pub(crate) type Stamping<'a, S> = Option<(&'a mut S, Expiry, StateTtlConfig)>;

impl<V, L: Lifetimes<V>> Table<V, L> {
    pub(crate) fn new(slots: Rc<Slots>, ttl: Option<StateTtlConfig>) -> Self {
        Self { values: RefCell::new(Vec::new()), slots, ttl, stamps: RefCell::new(Vec::new()) }
    }

    /// Whether its values live for ever.
    pub(crate) fn ttl(&self) -> Option<&StateTtlConfig> {
        self.ttl.as_ref()
    }

    /// Whether there is a value as it is, whatever its age.
    pub(crate) fn peek(&self) -> Option<Ref<'_, V>> {
        let slot = self.slots.current();
        Ref::filter_map(self.values.borrow(), |values| values.get(slot)?.as_ref()).ok()
    }

    /// The value of the current key.
    #[inline]
    pub(crate) fn get(&self) -> Option<Ref<'_, V>> {
        self.look(false);
        self.peek()
    }

    /// The value of the current key, to be changed in place.
    #[inline]
    pub(crate) fn get_mut(&self) -> Option<RefMut<'_, V>> {
        self.look(true);
        let slot = self.slots.current();
        RefMut::filter_map(self.values.borrow_mut(), |values| values.get_mut(slot)?.as_mut()).ok()
    }

    /// The value of the current key, to be changed in place; `make` gives it when there is none.
    #[inline]
    pub(crate) fn get_or_insert_with(&self, make: impl FnOnce() -> V) -> RefMut<'_, V> {
        self.look(true);
        let slot = self.slots.current();
        RefMut::map(self.values.borrow_mut(), |values| {
            if values.len() <= slot {
                values.resize_with(slot + 1, || None);
            }
            values[slot].get_or_insert_with(|| {
                self.slots.value_added(slot);
                let value = make();
                self.stamp(slot, &value);
                value
            })
        })
    }

    /// Changes the value of the current key, whatever its age, with its stamps.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut V, Stamping<'_, L::Stamps>) -> R) -> Option<R> {
        let slot = self.slots.current();
        let mut values = self.values.borrow_mut();
        let value = values.get_mut(slot)?.as_mut()?;
        let mut stamps = self.stamps.borrow_mut();
        let stamping = self.ttl.and_then(|ttl| {
            let expiry = Expiry::new(&ttl, self.slots.now());
            Some((stamps.get_mut(slot)?, expiry, ttl))
        });
        Some(change(value, stamping))
    }

    pub(crate) fn set(&self, value: V) {
        let slot = self.slots.current();
        self.stamp(slot, &value);
        self.put(slot, value);
    }

    fn put(&self, slot: usize, value: V) {
        let mut values = self.values.borrow_mut();
        if values.len() <= slot {
            values.resize_with(slot + 1, || None);
        }
        if values[slot].replace(value).is_none() {
            self.slots.value_added(slot);
        }
    }

    /// The value at `slot` was written now.
    #[inline]
    fn stamp(&self, slot: usize, value: &V) {
        if self.ttl.is_some() {
            self.put_stamps(slot, L::stamp(value, self.slots.now()));
        }
    }

    fn put_stamps(&self, slot: usize, of: L::Stamps) {
        let mut stamps = self.stamps.borrow_mut();
        if stamps.len() <= slot {
            stamps.resize_with(slot + 1, L::Stamps::default);
        }
        stamps[slot] = of;
    }

    pub(crate) fn take(&self) -> Option<V> {
        self.look(false);
        let slot = self.slots.current();
        let value = self.values.borrow_mut().get_mut(slot).and_then(Option::take);
        if value.is_some() {
            self.slots.value_removed(slot);
        }
        value
    }

    /// The value of the current key is looked at, to be read or `written`: what has expired goes, what has not is renewed.
    #[inline]
    fn look(&self, written: bool) {
        if let Some(ttl) = &self.ttl {
            self.age(ttl, written);
        }
    }

    fn age(&self, ttl: &StateTtlConfig, written: bool) {
        let slot = self.slots.current();
        if ttl.visibility == StateVisibility::NeverReturnExpired {
            self.expire(slot, ttl);
        }
        if !written && ttl.update_type == UpdateType::OnCreateAndWrite {
            return;
        }
        // Where a function holds on to the value, it has been looked at already.
        let Ok(values) = self.values.try_borrow() else { return };
        let Some(Some(value)) = values.get(slot) else { return };
        let now = self.slots.now();
        if written {
            self.stamp(slot, value);
        } else if let Some(stamps) = self.stamps.borrow_mut().get_mut(slot) {
            L::renew(stamps, Expiry::new(ttl, now));
        }
    }

    /// Removes what has expired of the value at `slot`.
    fn expire(&self, slot: usize, ttl: &StateTtlConfig) {
        // Where a function holds on to the value, it has been looked at already.
        let Ok(mut values) = self.values.try_borrow_mut() else { return };
        let Some(place) = values.get_mut(slot) else { return };
        let mut stamps = self.stamps.borrow_mut();
        if let (Some(value), Some(stamps)) = (place.as_mut(), stamps.get_mut(slot))
            && L::expire(value, stamps, Expiry::new(ttl, self.slots.now()))
        {
            *place = None;
            *stamps = L::Stamps::default();
            self.slots.value_removed(slot);
        }
    }
}

/// Writes a captured state.
pub(crate) type WriteTable<K> = Box<dyn FnOnce(&Keys<K>, &mut StateWriter) -> OperatorResult<()> + Send>;

/// A state as the backend sees it.
pub(crate) trait AnyTable<K> {
    /// Captures the values.
    fn capture(&self, name: &str, fingerprint: &str) -> WriteTable<K>;

    /// Puts back the values of one frame; `slot_of` gives the slot of a key.
    fn restore(&self, bytes: &[u8], slot_of: &mut dyn FnMut(K) -> usize) -> OperatorResult<()>;

    /// Removes what has expired of the value at `slot`.
    fn clean(&self, slot: usize);
}

impl<K, V, L> AnyTable<K> for Table<V, L>
where
    K: Clone + Send + Sync + Serialize + DeserializeOwned + 'static,
    V: Data,
    L: Lifetimes<V>,
{
    fn capture(&self, name: &str, fingerprint: &str) -> WriteTable<K> {
        let mut values = self.values.borrow().clone();
        let (name, fingerprint) = (name.to_owned(), fingerprint.to_owned());
        let aged = self.ttl.map(|ttl| (Expiry::new(&ttl, self.slots.now()), self.stamps.borrow().clone()));
        Box::new(move |keys, writer| {
            let fail = |e| OperatorError::fatal(format!("cannot encode state `{name}`: {e}"));
            let Some((expiry, mut stamps)) = aged else {
                return write(keys, &values, |key_group, entries: Vec<(&K, &V)>| {
                    let bytes = postcard::to_allocvec(&entries).map_err(fail)?;
                    writer.keyed(&name, &fingerprint, key_group, bytes);
                    Ok(())
                });
            };
            for (value, stamps) in values.iter_mut().zip(&mut stamps) {
                if value.as_mut().is_some_and(|value| L::expire(value, stamps, expiry)) {
                    *value = None;
                }
            }
            let values: Vec<_> = values.into_iter().zip(stamps).map(|(v, s)| v.map(|v| (v, s))).collect();
            write(keys, &values, |key_group, entries: Vec<(&K, &(V, L::Stamps))>| {
                let bytes = postcard::to_allocvec(&entries).map_err(fail)?;
                writer.keyed(&name, &fingerprint, key_group, bytes);
                Ok(())
            })
        })
    }

    fn restore(&self, bytes: &[u8], slot_of: &mut dyn FnMut(K) -> usize) -> OperatorResult<()> {
        if self.ttl.is_none() {
            for (key, value) in decode::<(K, V)>(bytes)? {
                self.put(slot_of(key), value);
            }
            return Ok(());
        }
        for (key, (value, stamps)) in decode::<(K, (V, L::Stamps))>(bytes)? {
            let slot = slot_of(key);
            self.put(slot, value);
            self.put_stamps(slot, stamps);
        }
        Ok(())
    }

    fn clean(&self, slot: usize) {
        if let Some(ttl) = &self.ttl {
            self.expire(slot, ttl);
        }
    }
}

/// Calls `frame` with the entries of each key group that has any.
fn write<'a, K, X>(
    keys: &'a Keys<K>,
    values: &'a [Option<X>],
    mut frame: impl FnMut(u16, Vec<(&'a K, &'a X)>) -> OperatorResult<()>,
) -> OperatorResult<()> {
    for (key_group, keys) in keys {
        let entries: Vec<_> = keys
            .iter()
            .filter_map(|(key, slot)| Some((key, values.get(*slot as usize)?.as_ref()?)))
            .collect();
        if !entries.is_empty() {
            frame(*key_group, entries)?;
        }
    }
    Ok(())
}

fn decode<E: DeserializeOwned>(bytes: &[u8]) -> OperatorResult<Vec<E>> {
    postcard::from_bytes(bytes).map_err(|e| OperatorError::fatal(format!("it is damaged: {e}")))
}
