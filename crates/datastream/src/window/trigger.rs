//! When a window is emitted: the trigger's trait, and what it is told.

use std::collections::BTreeSet;

use streamkeeper_dataflow::time::{Clock, Timestamp};

use super::Window;
use crate::Data;
use crate::error::Result;

/// What is to be done with a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TriggerResult {
    /// Nothing.
    Continue,
    /// Emit it, and keep what it holds.
    Fire,
    /// Forget what it holds.
    Purge,
    /// Emit it, then forget what it holds.
    FireAndPurge,
}

impl TriggerResult {
    /// Whether the window is emitted.
    pub fn is_fire(self) -> bool {
        matches!(self, Self::Fire | Self::FireAndPurge)
    }

    /// Whether what it holds is forgotten.
    pub fn is_purge(self) -> bool {
        matches!(self, Self::Purge | Self::FireAndPurge)
    }
}

/// Decides when windows are emitted. One trigger serves all windows of a subtask: what it must remember of a window goes to the
/// window's state, [`TriggerContext::state`].
///
/// ```
/// use streamkeeper_datastream::Result;
/// use streamkeeper_datastream::window::{Trigger, TriggerContext, TriggerResult, Window};
///
/// /// Emits a window with each record that is marked as urgent, and at the window's end.
/// #[derive(Clone)]
/// struct Urgent;
///
/// impl<W: Window> Trigger<(String, bool), W> for Urgent {
///     type State = ();
///
///     fn on_element(
///         &mut self,
///         (_, urgent): &(String, bool),
///         _: i64,
///         window: &W,
///         context: &mut TriggerContext<'_, W, ()>,
///     ) -> Result<TriggerResult> {
///         context.register_event_time_timer(window.max_timestamp());
///         Ok(if *urgent { TriggerResult::Fire } else { TriggerResult::Continue })
///     }
///
///     fn on_event_time(&mut self, time_ms: i64, window: &W, _: &mut TriggerContext<'_, W, ()>) -> Result<TriggerResult> {
///         Ok(if time_ms == window.max_timestamp() { TriggerResult::Fire } else { TriggerResult::Continue })
///     }
///
///     fn clear(&mut self, window: &W, context: &mut TriggerContext<'_, W, ()>) -> Result {
///         context.delete_event_time_timer(window.max_timestamp());
///         Ok(())
///     }
/// }
/// ```
pub trait Trigger<T, W: Window>: Clone + Send + Sync + 'static {
    /// What it remembers of each window; it is in the checkpoint.
    type State: Data;

    /// A record has come to the window.
    ///
    /// # Errors
    /// Any, to fail the task. So for all methods.
    fn on_element(
        &mut self,
        element: &T,
        timestamp: Timestamp,
        window: &W,
        context: &mut TriggerContext<'_, W, Self::State>,
    ) -> Result<TriggerResult>;

    /// The watermark has passed a timer that was set for the window.
    ///
    /// # Errors
    /// Any, to fail the task.
    fn on_event_time(
        &mut self,
        time_ms: Timestamp,
        window: &W,
        context: &mut TriggerContext<'_, W, Self::State>,
    ) -> Result<TriggerResult> {
        let _ = (time_ms, window, context);
        Ok(TriggerResult::Continue)
    }

    /// The clock has reached a timer that was set for the window.
    ///
    /// # Errors
    /// Any, to fail the task.
    fn on_processing_time(
        &mut self,
        time_ms: Timestamp,
        window: &W,
        context: &mut TriggerContext<'_, W, Self::State>,
    ) -> Result<TriggerResult> {
        let _ = (time_ms, window, context);
        Ok(TriggerResult::Continue)
    }

    /// Whether it can serve windows that merge.
    fn can_merge(&self) -> bool {
        false
    }

    /// Other windows have become `window`; `states` are theirs, of those that had one. The context's state is empty, its timers
    /// those of `window`. [`Trigger::clear`] is called for each of the others then.
    ///
    /// # Errors
    /// Any, to fail the task.
    fn on_merge(
        &mut self,
        window: &W,
        states: Vec<Self::State>,
        context: &mut TriggerContext<'_, W, Self::State>,
    ) -> Result {
        let _ = (window, states, context);
        Ok(())
    }

    /// The window is gone: deletes its timers. Its state goes by itself.
    ///
    /// # Errors
    /// Any, to fail the task.
    fn clear(&mut self, window: &W, context: &mut TriggerContext<'_, W, Self::State>) -> Result;

    /// Whether it does what [`EventTimeTrigger`](super::EventTimeTrigger) does, and nothing else: the operator then needs no timers.
    fn is_event_time_trigger(&self) -> bool {
        false
    }
}

/// A timer: its time, its key's slot, its window.
pub(crate) type WindowTimer<W> = (Timestamp, u32, W);

/// The timers of both clocks, of all windows.
#[derive(Debug)]
pub(crate) struct WindowTimers<W> {
    pub(crate) event: BTreeSet<WindowTimer<W>>,
    pub(crate) processing: BTreeSet<WindowTimer<W>>,
}

impl<W> Default for WindowTimers<W> {
    fn default() -> Self {
        Self { event: BTreeSet::new(), processing: BTreeSet::new() }
    }
}

/// A timer of a window of which it is known that it is set: setting it again costs nothing.
pub(crate) type KnownTimer = Option<(bool, Timestamp)>;

/// The timers that belong to one window, and how many its key has.
pub(crate) struct OwnTimers<'a, W> {
    pub(crate) all: &'a mut WindowTimers<W>,
    pub(crate) slot: u32,
    pub(crate) window: &'a W,
    pub(crate) of_key: &'a mut u32,
    pub(crate) known: &'a mut KnownTimer,
}

impl<W: Window> OwnTimers<'_, W> {
    pub(crate) fn register(&mut self, event_time: bool, time_ms: Timestamp) {
        if *self.known == Some((event_time, time_ms)) {
            return;
        }
        *self.known = Some((event_time, time_ms));
        let timers = if event_time { &mut self.all.event } else { &mut self.all.processing };
        *self.of_key += u32::from(timers.insert((time_ms, self.slot, self.window.clone())));
    }

    pub(crate) fn delete(&mut self, event_time: bool, time_ms: Timestamp) {
        self.known.take_if(|known| *known == (event_time, time_ms));
        let timers = if event_time { &mut self.all.event } else { &mut self.all.processing };
        *self.of_key -= u32::from(timers.remove(&(time_ms, self.slot, self.window.clone())));
    }
}

/// What a trigger may ask and do about a window.
pub struct TriggerContext<'a, W, S> {
    pub(crate) watermark: Timestamp,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) timers: OwnTimers<'a, W>,
    pub(crate) state: &'a mut Option<S>,
}

impl<W: Window, S> TriggerContext<'_, W, S> {
    /// The operator's watermark.
    pub fn current_watermark(&self) -> Timestamp {
        self.watermark
    }

    /// Processing time now, in milliseconds.
    pub fn current_processing_time(&self) -> Timestamp {
        self.clock.now_ms()
    }

    /// Calls [`Trigger::on_event_time`] for this window when the watermark has passed `time_ms`. A timer that is set twice fires once.
    pub fn register_event_time_timer(&mut self, time_ms: Timestamp) {
        self.timers.register(true, time_ms);
    }

    /// Calls [`Trigger::on_processing_time`] for this window when the clock has reached `time_ms`.
    pub fn register_processing_time_timer(&mut self, time_ms: Timestamp) {
        self.timers.register(false, time_ms);
    }

    /// Forgets a timer of this window.
    pub fn delete_event_time_timer(&mut self, time_ms: Timestamp) {
        self.timers.delete(true, time_ms);
    }

    /// Forgets a timer of this window.
    pub fn delete_processing_time_timer(&mut self, time_ms: Timestamp) {
        self.timers.delete(false, time_ms);
    }

    /// What the trigger remembers of this window.
    pub fn state(&mut self) -> &mut Option<S> {
        self.state
    }

    /// The same window for a trigger inside a trigger, whose state is a part of this one's.
    pub fn with_state<'b, X>(&'b mut self, state: &'b mut Option<X>) -> TriggerContext<'b, W, X> {
        let OwnTimers { all, slot, window, of_key, known } = &mut self.timers;
        TriggerContext {
            watermark: self.watermark,
            clock: self.clock,
            timers: OwnTimers { all, slot: *slot, window, of_key, known },
            state,
        }
    }
}
