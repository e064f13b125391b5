//! The job's configuration as a subtask's functions see it.
//!
//! Invariant: what is given is of the snapshot in force, and each of its documents is deserialised at most once per type.

use std::any::Any;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use streamkeeper_dataflow::OperatorResult;
use streamkeeper_dataflow::live_config::ConfigSnapshot;

/// A revision of a configuration document, as a `T`: it dereferences to that. A clone is the same value.
#[derive(Debug)]
pub struct Config<T> {
    revision: u64,
    value: Rc<T>,
}

impl<T> Config<T> {
    /// Number of the revision, from 1.
    pub fn revision(&self) -> u64 {
        self.revision
    }
}

impl<T: DeserializeOwned> Config<T> {
    pub(super) fn read(snapshot: &ConfigSnapshot, document: &str) -> OperatorResult<Option<Self>> {
        let read = snapshot.get(document)?;
        Ok(read.map(|(revision, value)| Self { revision, value: Rc::new(value) }))
    }
}

impl<T> Clone for Config<T> {
    fn clone(&self) -> Self {
        Self { revision: self.revision, value: self.value.clone() }
    }
}

impl<T> Deref for Config<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// What is in force in a subtask.
#[derive(Default)]
pub(crate) struct LiveConfig {
    snapshot: Arc<ConfigSnapshot>,
    /// What was asked for since the last change: few, so they are looked through. Each is a [`Config`].
    read: Vec<(String, Box<dyn Any>)>,
}

impl LiveConfig {
    pub(crate) fn new(snapshot: Arc<ConfigSnapshot>) -> Self {
        Self { snapshot, read: Vec::new() }
    }

    /// The records from here on are handled under `snapshot`.
    pub(crate) fn set(&mut self, snapshot: &Arc<ConfigSnapshot>) {
        if !Arc::ptr_eq(&self.snapshot, snapshot) {
            *self = Self::new(snapshot.clone());
        }
    }

    #[inline]
    pub(crate) fn get<T: DeserializeOwned + 'static>(
        &mut self,
        document: &str,
    ) -> OperatorResult<Option<Config<T>>> {
        let of_document = self.read.iter().filter(|(name, _)| name == document);
        match of_document.filter_map(|(_, value)| value.downcast_ref::<Config<T>>()).next() {
            Some(config) => Ok(Some(config.clone())),
            None => self.read(document),
        }
    }

    #[cold]
    fn read<T: DeserializeOwned + 'static>(&mut self, document: &str) -> OperatorResult<Option<Config<T>>> {
        let config = Config::<T>::read(&self.snapshot, document)?;
        if let Some(config) = &config {
            self.read.push((document.to_owned(), Box::new(config.clone())));
        }
        Ok(config)
    }
}
