//! What a keyed function may ask and do.
//!
//! Invariant: timers are set and forgotten for the key at hand only.

use streamkeeper_dataflow::time::Timestamp;

use super::ProcessContext;
use super::timers::BothTimers;
use crate::key::Key;

/// What a keyed function may ask and do while it handles a record or a timer.
pub struct KeyedContext<'a, K> {
    pub(crate) key: &'a K,
    pub(crate) key_group: u16,
    pub(crate) timers: &'a mut BothTimers<K>,
    pub(crate) process: ProcessContext<'a>,
}

impl<'a, K: Key> KeyedContext<'a, K> {
    /// The key of the record or timer at hand.
    pub fn current_key(&self) -> &K {
        self.key
    }

    /// Calls `on_timer` for this key when the watermark has passed `time_ms`. A timer that is set twice fires once.
    pub fn register_event_time_timer(&mut self, time_ms: Timestamp) {
        self.timers.event.register(time_ms, self.key_group, self.key.clone());
    }

    /// Calls `on_timer` for this key when the clock has reached `time_ms`.
    pub fn register_processing_time_timer(&mut self, time_ms: Timestamp) {
        self.timers.processing.register(time_ms, self.key_group, self.key.clone());
    }

    /// Forgets a timer of this key.
    pub fn delete_event_time_timer(&mut self, time_ms: Timestamp) {
        self.timers.event.delete(time_ms, self.key_group, self.key);
    }

    /// Forgets a timer of this key.
    pub fn delete_processing_time_timer(&mut self, time_ms: Timestamp) {
        self.timers.processing.delete(time_ms, self.key_group, self.key);
    }
}

impl<'a, K> std::ops::Deref for KeyedContext<'a, K> {
    type Target = ProcessContext<'a>;

    fn deref(&self) -> &Self::Target {
        &self.process
    }
}

impl<K> std::ops::DerefMut for KeyedContext<'_, K> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.process
    }
}
