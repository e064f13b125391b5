//! The triggers that come with the crate.

use std::time::Duration;

use streamkeeper_dataflow::time::Timestamp;

use super::time_window::millis;
use super::{Trigger, TriggerContext, TriggerResult, Window};
use crate::Data;
use crate::error::Result;

/// Emits a window when the watermark has passed its end, and again with each record that comes late but within the allowed lateness.
#[derive(Debug, Clone, Copy, Default)]
pub struct EventTimeTrigger;

impl<T, W: Window> Trigger<T, W> for EventTimeTrigger {
    type State = ();

    fn on_element(
        &mut self,
        _: &T,
        _: Timestamp,
        window: &W,
        context: &mut TriggerContext<'_, W, ()>,
    ) -> Result<TriggerResult> {
        if window.max_timestamp() <= context.current_watermark() {
            return Ok(TriggerResult::Fire);
        }
        context.register_event_time_timer(window.max_timestamp());
        Ok(TriggerResult::Continue)
    }

    fn on_event_time(
        &mut self,
        time_ms: Timestamp,
        window: &W,
        _: &mut TriggerContext<'_, W, ()>,
    ) -> Result<TriggerResult> {
        Ok(if time_ms == window.max_timestamp() { TriggerResult::Fire } else { TriggerResult::Continue })
    }

    fn can_merge(&self) -> bool {
        true
    }

    fn on_merge(&mut self, window: &W, _: Vec<()>, context: &mut TriggerContext<'_, W, ()>) -> Result {
        // If the watermark is past the end, the record that made them merge fires the window.
        if window.max_timestamp() > context.current_watermark() {
            context.register_event_time_timer(window.max_timestamp());
        }
        Ok(())
    }

    fn clear(&mut self, window: &W, context: &mut TriggerContext<'_, W, ()>) -> Result {
        context.delete_event_time_timer(window.max_timestamp());
        Ok(())
    }

    fn is_event_time_trigger(&self) -> bool {
        true
    }
}

/// Emits a window when the clock has passed its end.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessingTimeTrigger;

impl<T, W: Window> Trigger<T, W> for ProcessingTimeTrigger {
    type State = ();

    fn on_element(
        &mut self,
        _: &T,
        _: Timestamp,
        window: &W,
        context: &mut TriggerContext<'_, W, ()>,
    ) -> Result<TriggerResult> {
        context.register_processing_time_timer(window.max_timestamp());
        Ok(TriggerResult::Continue)
    }

    fn on_processing_time(
        &mut self,
        _: Timestamp,
        _: &W,
        _: &mut TriggerContext<'_, W, ()>,
    ) -> Result<TriggerResult> {
        Ok(TriggerResult::Fire)
    }

    fn can_merge(&self) -> bool {
        true
    }

    fn on_merge(&mut self, window: &W, _: Vec<()>, context: &mut TriggerContext<'_, W, ()>) -> Result {
        if window.max_timestamp() > context.current_processing_time() {
            context.register_processing_time_timer(window.max_timestamp());
        }
        Ok(())
    }

    fn clear(&mut self, window: &W, context: &mut TriggerContext<'_, W, ()>) -> Result {
        context.delete_processing_time_timer(window.max_timestamp());
        Ok(())
    }
}

/// Emits a window each time that so many records have come to it.
#[derive(Debug, Clone, Copy)]
pub struct CountTrigger(u64);

impl CountTrigger {
    /// Emits with every `max_count`th record.
    pub fn of(max_count: u64) -> Self {
        Self(max_count)
    }
}

impl<T, W: Window> Trigger<T, W> for CountTrigger {
    type State = u64;

    fn on_element(
        &mut self,
        _: &T,
        _: Timestamp,
        _: &W,
        context: &mut TriggerContext<'_, W, u64>,
    ) -> Result<TriggerResult> {
        let count = context.state().take().unwrap_or_default() + 1;
        if count >= self.0 {
            return Ok(TriggerResult::Fire);
        }
        *context.state() = Some(count);
        Ok(TriggerResult::Continue)
    }

    fn can_merge(&self) -> bool {
        true
    }

    fn on_merge(&mut self, _: &W, states: Vec<u64>, context: &mut TriggerContext<'_, W, u64>) -> Result {
        *context.state() = states.into_iter().reduce(|a, b| a + b);
        Ok(())
    }

    fn clear(&mut self, _: &W, _: &mut TriggerContext<'_, W, u64>) -> Result {
        Ok(())
    }
}

/// Makes each firing of another trigger forget what the window held.
#[derive(Debug, Clone, Copy)]
pub struct PurgingTrigger<G>(G);

impl<G> PurgingTrigger<G> {
    /// Purges when `trigger` fires.
    pub fn of(trigger: G) -> Self {
        Self(trigger)
    }
}

fn purging(result: TriggerResult) -> TriggerResult {
    if result.is_fire() { TriggerResult::FireAndPurge } else { result }
}

impl<T, W: Window, G: Trigger<T, W>> Trigger<T, W> for PurgingTrigger<G> {
    type State = G::State;

    fn on_element(
        &mut self,
        element: &T,
        timestamp: Timestamp,
        window: &W,
        context: &mut TriggerContext<'_, W, G::State>,
    ) -> Result<TriggerResult> {
        self.0.on_element(element, timestamp, window, context).map(purging)
    }

    fn on_event_time(
        &mut self,
        time_ms: Timestamp,
        window: &W,
        context: &mut TriggerContext<'_, W, G::State>,
    ) -> Result<TriggerResult> {
        self.0.on_event_time(time_ms, window, context).map(purging)
    }

    fn on_processing_time(
        &mut self,
        time_ms: Timestamp,
        window: &W,
        context: &mut TriggerContext<'_, W, G::State>,
    ) -> Result<TriggerResult> {
        self.0.on_processing_time(time_ms, window, context).map(purging)
    }

    fn can_merge(&self) -> bool {
        self.0.can_merge()
    }

    fn on_merge(
        &mut self,
        window: &W,
        states: Vec<G::State>,
        context: &mut TriggerContext<'_, W, G::State>,
    ) -> Result {
        self.0.on_merge(window, states, context)
    }

    fn clear(&mut self, window: &W, context: &mut TriggerContext<'_, W, G::State>) -> Result {
        self.0.clear(window, context)
    }
}

/// The next time at which a continuous trigger fires, after `time`: not after the window's end.
fn next_fire<W: Window>(time: Timestamp, interval: i64, window: &W) -> Timestamp {
    time.saturating_add(interval).min(window.max_timestamp())
}

/// Emits a window every so often in event time, and at its end.
#[derive(Debug, Clone, Copy)]
pub struct ContinuousEventTimeTrigger(i64);

impl ContinuousEventTimeTrigger {
    /// Emits whenever the watermark has passed a multiple of `interval`, which is at least 1 ms.
    pub fn of(interval: Duration) -> Self {
        Self(millis(interval).max(1))
    }
}

impl<T, W: Window> Trigger<T, W> for ContinuousEventTimeTrigger {
    /// When it fires next.
    type State = Timestamp;

    fn on_element(
        &mut self,
        _: &T,
        timestamp: Timestamp,
        window: &W,
        context: &mut TriggerContext<'_, W, Timestamp>,
    ) -> Result<TriggerResult> {
        if window.max_timestamp() <= context.current_watermark() {
            return Ok(TriggerResult::Fire);
        }
        context.register_event_time_timer(window.max_timestamp());
        if context.state().is_none() {
            let next = next_fire(timestamp - timestamp % self.0, self.0, window);
            *context.state() = Some(next);
            context.register_event_time_timer(next);
        }
        Ok(TriggerResult::Continue)
    }

    fn on_event_time(
        &mut self,
        time_ms: Timestamp,
        window: &W,
        context: &mut TriggerContext<'_, W, Timestamp>,
    ) -> Result<TriggerResult> {
        if time_ms == window.max_timestamp() {
            return Ok(TriggerResult::Fire);
        }
        if *context.state() != Some(time_ms) {
            return Ok(TriggerResult::Continue);
        }
        let next = next_fire(time_ms, self.0, window);
        *context.state() = Some(next);
        context.register_event_time_timer(next);
        Ok(TriggerResult::Fire)
    }

    fn can_merge(&self) -> bool {
        true
    }

    fn on_merge(
        &mut self,
        _: &W,
        states: Vec<Timestamp>,
        context: &mut TriggerContext<'_, W, Timestamp>,
    ) -> Result {
        if let Some(next) = states.into_iter().min() {
            *context.state() = Some(next);
            context.register_event_time_timer(next);
        }
        Ok(())
    }

    fn clear(&mut self, _: &W, context: &mut TriggerContext<'_, W, Timestamp>) -> Result {
        if let Some(next) = context.state().take() {
            context.delete_event_time_timer(next);
        }
        Ok(())
    }
}

/// Emits a window every so often in processing time, as long as it exists.
#[derive(Debug, Clone, Copy)]
pub struct ContinuousProcessingTimeTrigger(i64);

impl ContinuousProcessingTimeTrigger {
    /// Emits whenever the clock has reached a multiple of `interval`, which is at least 1 ms.
    pub fn of(interval: Duration) -> Self {
        Self(millis(interval).max(1))
    }
}

impl<T, W: Window> Trigger<T, W> for ContinuousProcessingTimeTrigger {
    /// When it fires next.
    type State = Timestamp;

    fn on_element(
        &mut self,
        _: &T,
        _: Timestamp,
        window: &W,
        context: &mut TriggerContext<'_, W, Timestamp>,
    ) -> Result<TriggerResult> {
        if context.state().is_none() {
            let now = context.current_processing_time();
            let next = next_fire(now - now % self.0, self.0, window);
            *context.state() = Some(next);
            context.register_processing_time_timer(next);
        }
        Ok(TriggerResult::Continue)
    }

    fn on_processing_time(
        &mut self,
        time_ms: Timestamp,
        window: &W,
        context: &mut TriggerContext<'_, W, Timestamp>,
    ) -> Result<TriggerResult> {
        if *context.state() != Some(time_ms) {
            return Ok(TriggerResult::Continue);
        }
        let next = next_fire(time_ms, self.0, window);
        // At the window's end there is no next time: the timer would be due again at once, for ever.
        *context.state() = Some(next).filter(|next| *next > time_ms);
        if next > time_ms {
            context.register_processing_time_timer(next);
        }
        Ok(TriggerResult::Fire)
    }

    fn can_merge(&self) -> bool {
        true
    }

    fn on_merge(
        &mut self,
        _: &W,
        states: Vec<Timestamp>,
        context: &mut TriggerContext<'_, W, Timestamp>,
    ) -> Result {
        if let Some(next) = states.into_iter().min() {
            *context.state() = Some(next);
            context.register_processing_time_timer(next);
        }
        Ok(())
    }

    fn clear(&mut self, _: &W, context: &mut TriggerContext<'_, W, Timestamp>) -> Result {
        if let Some(next) = context.state().take() {
            context.delete_processing_time_timer(next);
        }
        Ok(())
    }
}

/// Emits a window when a record is further than a threshold from the record with which it was emitted last.
#[derive(Debug, Clone, Copy)]
pub struct DeltaTrigger<F> {
    threshold: f64,
    delta: F,
}

impl<F> DeltaTrigger<F> {
    /// Emits when `delta` of the last record that fired (the first one, before that) and the new one is greater than `threshold`.
    pub fn of<T>(threshold: f64, delta: F) -> Self
    where
        F: Fn(&T, &T) -> f64 + Clone + Send + Sync + 'static,
    {
        Self { threshold, delta }
    }
}

impl<T: Data, W: Window, F> Trigger<T, W> for DeltaTrigger<F>
where
    F: Fn(&T, &T) -> f64 + Clone + Send + Sync + 'static,
{
    /// The record from which the distance is measured.
    type State = T;

    fn on_element(
        &mut self,
        element: &T,
        _: Timestamp,
        _: &W,
        context: &mut TriggerContext<'_, W, T>,
    ) -> Result<TriggerResult> {
        let fires = context.state().as_ref().map(|last| (self.delta)(last, element) > self.threshold);
        if fires != Some(false) {
            *context.state() = Some(element.clone());
        }
        Ok(if fires == Some(true) { TriggerResult::Fire } else { TriggerResult::Continue })
    }

    fn clear(&mut self, _: &W, _: &mut TriggerContext<'_, W, T>) -> Result {
        Ok(())
    }
}

/// Never emits: what [`GlobalWindows`](super::GlobalWindows) do by default.
#[derive(Debug, Clone, Copy, Default)]
pub struct NeverTrigger;

impl<T, W: Window> Trigger<T, W> for NeverTrigger {
    type State = ();

    fn on_element(
        &mut self,
        _: &T,
        _: Timestamp,
        _: &W,
        _: &mut TriggerContext<'_, W, ()>,
    ) -> Result<TriggerResult> {
        Ok(TriggerResult::Continue)
    }

    fn can_merge(&self) -> bool {
        true
    }

    fn clear(&mut self, _: &W, _: &mut TriggerContext<'_, W, ()>) -> Result {
        Ok(())
    }
}
