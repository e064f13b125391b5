//! One state's values, by slot.

use std::cell::{Ref, RefCell, RefMut};
use std::rc::Rc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use streamkeeper_dataflow::state::StateWriter;
use streamkeeper_dataflow::{OperatorError, OperatorResult};

use crate::Data;
use crate::state::backend::{Keys, Slots};

/// A column of values, shared by its handle and the backend.
pub(crate) struct Table<V> {
    values: RefCell<Vec<Option<V>>>,
    slots: Rc<Slots>,
}

impl<V> Table<V> {
    pub(crate) fn new(slots: Rc<Slots>) -> Self {
        Self { values: RefCell::new(Vec::new()), slots }
    }

    /// The value of the current key.
    pub(crate) fn get(&self) -> Option<Ref<'_, V>> {
        let slot = self.slots.current();
        Ref::filter_map(self.values.borrow(), |values| values.get(slot)?.as_ref()).ok()
    }

    /// The value of the current key, to be changed in place.
    pub(crate) fn get_mut(&self) -> Option<RefMut<'_, V>> {
        let slot = self.slots.current();
        RefMut::filter_map(self.values.borrow_mut(), |values| values.get_mut(slot)?.as_mut()).ok()
    }

    /// The value of the current key; `make` gives it when there is none.
    pub(crate) fn get_or_insert_with(&self, make: impl FnOnce() -> V) -> RefMut<'_, V> {
        let slot = self.slots.current();
        RefMut::map(self.values.borrow_mut(), |values| {
            if values.len() <= slot {
                values.resize_with(slot + 1, || None);
            }
            values[slot].get_or_insert_with(|| {
                self.slots.value_added(slot);
                make()
            })
        })
    }

    pub(crate) fn set(&self, value: V) {
        self.put(self.slots.current(), value);
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

    pub(crate) fn take(&self) -> Option<V> {
        let slot = self.slots.current();
        let value = self.values.borrow_mut().get_mut(slot).and_then(Option::take);
        if value.is_some() {
            self.slots.value_removed(slot);
        }
        value
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
}

impl<K, V> AnyTable<K> for Table<V>
where
    K: Clone + Send + Sync + Serialize + DeserializeOwned + 'static,
    V: Data,
{
    fn capture(&self, name: &str, fingerprint: &str) -> WriteTable<K> {
        let values = self.values.borrow().clone();
        let (name, fingerprint) = (name.to_owned(), fingerprint.to_owned());
        Box::new(move |keys, writer| {
            for (key_group, keys) in keys {
                let entries: Vec<(&K, &V)> = keys
                    .iter()
                    .filter_map(|(key, slot)| Some((key, values.get(*slot as usize)?.as_ref()?)))
                    .collect();
                if !entries.is_empty() {
                    let bytes = postcard::to_allocvec(&entries)
                        .map_err(|e| OperatorError::fatal(format!("cannot encode state `{name}`: {e}")))?;
                    writer.keyed(&name, &fingerprint, *key_group, bytes);
                }
            }
            Ok(())
        })
    }

    fn restore(&self, bytes: &[u8], slot_of: &mut dyn FnMut(K) -> usize) -> OperatorResult<()> {
        let entries: Vec<(K, V)> =
            postcard::from_bytes(bytes).map_err(|e| OperatorError::fatal(format!("it is damaged: {e}")))?;
        for (key, value) in entries {
            self.put(slot_of(key), value);
        }
        Ok(())
    }
}
