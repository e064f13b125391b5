//! The declaration of a keyed function's states.
//!
//! Invariant: a state is declared before the first record, under a name and a type that the checkpoint does not contradict.

use serde::de::DeserializeOwned;
use streamkeeper_dataflow::OperatorResult;

use super::{Config, TaskInfo};
use crate::Data;
use crate::aggregate::AggregateFunction;
use crate::error::Result;
use crate::key::Key;
use crate::state::{
    AggregatingState, ListState, MapState, ReducingState, StateBackend, StateDescriptor, ValueState,
};

/// Where a keyed function declares its states, once per subtask.
pub struct OpenContext<'a, K> {
    pub(crate) backend: &'a mut StateBackend<K>,
    pub(crate) info: &'a TaskInfo,
}

impl<K: Key + Sync> OpenContext<'_, K> {
    /// Which subtask this is.
    pub fn task_info(&self) -> &TaskInfo {
        self.info
    }

    /// As [`TaskInfo::config`].
    ///
    /// # Errors
    /// As for [`TaskInfo::config`].
    pub fn config<T: DeserializeOwned + 'static>(&self, document: &str) -> OperatorResult<Option<Config<T>>> {
        self.info.config(document)
    }

    /// One value per key. A state is given by its name, or by a [`StateDescriptor`] that says how long its values live.
    ///
    /// # Errors
    /// When the name is taken, or the checkpoint has the state under another type. So for all states.
    pub fn value_state<V: Data>(&mut self, state: impl Into<StateDescriptor>) -> Result<ValueState<V>> {
        Ok(ValueState::register(self.backend, state)?)
    }

    /// A list per key.
    ///
    /// # Errors
    /// As for [`OpenContext::value_state`].
    pub fn list_state<V: Data>(&mut self, state: impl Into<StateDescriptor>) -> Result<ListState<V>> {
        Ok(ListState::register(self.backend, state)?)
    }

    /// A map per key.
    ///
    /// # Errors
    /// As for [`OpenContext::value_state`].
    pub fn map_state<UK: Data + Eq + std::hash::Hash, UV: Data>(
        &mut self,
        state: impl Into<StateDescriptor>,
    ) -> Result<MapState<UK, UV>> {
        Ok(MapState::register(self.backend, state)?)
    }

    /// One value per key, into which each added value is reduced.
    ///
    /// # Errors
    /// As for [`OpenContext::value_state`].
    pub fn reducing_state<V: Data, F: Fn(V, V) -> V>(
        &mut self,
        state: impl Into<StateDescriptor>,
        reduce: F,
    ) -> Result<ReducingState<V, F>> {
        Ok(ReducingState::register(self.backend, state, reduce)?)
    }

    /// One accumulator per key.
    ///
    /// # Errors
    /// As for [`OpenContext::value_state`].
    pub fn aggregating_state<A: AggregateFunction>(
        &mut self,
        state: impl Into<StateDescriptor>,
        function: A,
    ) -> Result<AggregatingState<A>> {
        Ok(AggregatingState::register(self.backend, state, function)?)
    }
}
