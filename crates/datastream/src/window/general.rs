//! The operator of all windows: any assigner, any trigger, windows that merge.
//!
//! Invariants: a window of event time is cleaned up when the watermark reaches its last millisecond plus the allowed lateness, one of
//! processing time when the clock reaches its last millisecond, and takes no record after that. A timer of a window that was merged
//! into another does nothing.

use std::borrow::Borrow;

use streamkeeper_dataflow::OperatorResult;
use streamkeeper_dataflow::time::Timestamp;

use super::merging::add_window;
use super::operator::Around;
use super::store::{KeyWindows, Live, Store};
use super::trigger::{OwnTimers, TriggerContext, WindowTimers};
use super::{Trigger, TriggerResult, Window, WindowAssigner, WindowAssignerContext, WindowFold};
use crate::Data;
use crate::chain::Push;
use crate::error::operator_error;
use crate::key::{Key, KeySelector};

/// See the module.
pub(crate) struct GeneralWindows<T, K, A, G, C>
where
    A: WindowAssigner<T>,
    G: Trigger<T, A::Window>,
{
    pub(crate) assigner: A,
    pub(crate) trigger: G,
    pub(crate) lateness: i64,
    pub(crate) store: Store<K, A::Window, C, G::State>,
    /// The record's windows.
    pub(crate) windows: Vec<A::Window>,
    /// Which of the key's windows merge.
    pub(crate) merged: Vec<usize>,
    pub(crate) existing: Vec<A::Window>,
}

/// A window's trigger context; a macro, so that only these fields are borrowed.
macro_rules! context {
    ($around:expr, $timers:expr, $of_key:expr, $slot:expr, $live:expr) => {
        TriggerContext {
            watermark: $around.runtime.watermark,
            clock: $around.runtime.clock.as_ref(),
            timers: OwnTimers {
                all: $timers,
                slot: $slot,
                window: &$live.window,
                of_key: $of_key,
                known: &mut $live.timer,
            },
            state: &mut $live.trigger,
        }
    };
}

impl<T, K, A, G, C> GeneralWindows<T, K, A, G, C>
where
    T: Data,
    K: Key + Sync,
    A: WindowAssigner<T>,
    G: Trigger<T, A::Window>,
    C: Data,
{
    /// When a window is cleaned up; `None`: never.
    fn cleanup_time(&self, window: &A::Window) -> Option<Timestamp> {
        let lateness = if self.assigner.is_event_time() { self.lateness } else { 0 };
        let time = window.max_timestamp().saturating_add(lateness);
        Some(time).filter(|time| *time != Timestamp::MAX)
    }

    fn is_late(&self, window: &A::Window, watermark: Timestamp) -> bool {
        self.assigner.is_event_time() && self.cleanup_time(window).is_some_and(|time| time <= watermark)
    }

    #[inline]
    pub(crate) fn element<S, F, N>(
        &mut self,
        value: T,
        timestamp: Timestamp,
        selector: &S,
        fold: &mut F,
        around: &mut Around<T, F::Out>,
        next: &mut N,
    ) -> OperatorResult<()>
    where
        S: KeySelector<T, Key = K>,
        K: Borrow<S::Borrowed>,
        F: WindowFold<K, A::Window, T, Contents = C>,
        N: Push<F::Out>,
    {
        let mut windows = std::mem::take(&mut self.windows);
        windows.clear();
        let context = WindowAssignerContext { clock: around.runtime.clock.as_ref() };
        self.assigner.assign_windows(&value, timestamp, &context, &mut windows).map_err(operator_error)?;
        let watermark = around.runtime.watermark;
        let merging = self.assigner.is_merging();
        if !merging {
            windows.retain(|window| !self.is_late(window, watermark));
        }
        let slot = selector.with(&value, |key| self.store.slot::<S::Borrowed>(key));
        let mut value = Some(value);
        let (count, mut skipped) = (windows.len(), true);
        for (n, window) in windows.drain(..).enumerate() {
            let at = if merging {
                let at = self.merge(slot, window, fold, around)?;
                if self.is_late_at(slot, at, watermark) {
                    self.retire(slot, at, around)?;
                    continue;
                }
                at
            } else {
                self.find_or_make(slot, window)
            };
            let record = if n + 1 == count { value.take() } else { value.clone() };
            let Some(record) = record else { break };
            skipped = false;
            self.add(slot, at, record, timestamp, fold, around)?;
            around.out.drain(next)?;
        }
        self.windows = windows;
        self.store.release(slot);
        match value {
            Some(value) if skipped => {
                around.skipped(value, timestamp, self.assigner.is_event_time(), self.lateness)
            }
            _ => Ok(()),
        }
    }

    /// Adds a record to a window that is not late, and does what the trigger says.
    fn add<F>(
        &mut self,
        slot: u32,
        at: usize,
        record: T,
        timestamp: Timestamp,
        fold: &mut F,
        around: &mut Around<T, F::Out>,
    ) -> OperatorResult<()>
    where
        F: WindowFold<K, A::Window, T, Contents = C>,
    {
        let event_time = self.assigner.is_event_time();
        let Some((key, live, of_key, timers)) = parts(&mut self.store, slot, at) else { return Ok(()) };
        let mut context = context!(around, timers, of_key, slot, live);
        let result = self
            .trigger
            .on_element(&record, timestamp, &live.window, &mut context)
            .map_err(operator_error)?;
        fold.add(&mut live.contents, record, timestamp);
        act(result, false, key, live, fold, around)?;
        let window = live.window.clone();
        if let Some(time) = self.cleanup_time(&window)
            && let Some((_, live, of_key, all)) = parts(&mut self.store, slot, at)
        {
            OwnTimers { all, slot, window: &live.window, of_key, known: &mut live.timer }
                .register(event_time, time);
        }
        if !self.assigner.is_merging() {
            self.drop_empty(slot, at);
        }
        Ok(())
    }

    fn is_late_at(&self, slot: u32, at: usize, watermark: Timestamp) -> bool {
        let of_key = self.store.slots[slot as usize].as_ref();
        let live = of_key.and_then(|of_key| of_key.windows.get(at));
        live.is_some_and(|live| self.is_late(&live.window, watermark))
    }

    /// The index of a window of a key, made if there is none.
    fn find_or_make(&mut self, slot: u32, window: A::Window) -> usize {
        let Some(of_key) = &mut self.store.slots[slot as usize] else { return 0 };
        let found = of_key.windows.iter().position(|live| live.window == window);
        found.unwrap_or_else(|| {
            of_key.windows.push(Live::new(window));
            of_key.windows.len() - 1
        })
    }

    /// Adds a window to those of a key that merge; returns the index of what it became.
    fn merge<F>(
        &mut self,
        slot: u32,
        window: A::Window,
        fold: &mut F,
        around: &mut Around<T, F::Out>,
    ) -> OperatorResult<usize>
    where
        F: WindowFold<K, A::Window, T, Contents = C>,
    {
        let event_time = self.assigner.is_event_time();
        let Some(of_key) = &mut self.store.slots[slot as usize] else { return Ok(0) };
        self.existing.clear();
        self.existing.extend(of_key.windows.iter().map(|live| live.window.clone()));
        let merge = |a: &A::Window, b: &A::Window| self.assigner.merge(a, b);
        let result = add_window(&self.existing, window, merge, &mut self.merged);
        if let [one] = self.merged[..] {
            return self.grow(slot, one, result, around).map(|()| one);
        }
        self.merged.sort_unstable();
        let mut others: Vec<Live<A::Window, C, G::State>> =
            self.merged.iter().rev().map(|index| of_key.windows.swap_remove(*index)).collect();
        others.sort_by(|a, b| a.window.cmp(&b.window));
        let at = of_key.windows.len();
        let mut live = Live::new(result);
        if !others.is_empty() {
            let contents = others.iter_mut().filter_map(|other| other.contents.take());
            live.contents = contents.reduce(|a, b| fold.merge(a, b));
            let states = others.iter_mut().filter_map(|other| other.trigger.take()).collect();
            let (timers, count) = (&mut self.store.timers, &mut of_key.timers);
            let mut context = context!(around, timers, count, slot, live);
            self.trigger.on_merge(&live.window, states, &mut context).map_err(operator_error)?;
        }
        of_key.windows.push(live);
        for other in others {
            self.clear(slot, other, event_time, around)?;
        }
        Ok(at)
    }

    /// Makes a window of a key a larger one.
    fn grow<O: Data>(
        &mut self,
        slot: u32,
        at: usize,
        larger: A::Window,
        around: &mut Around<T, O>,
    ) -> OperatorResult<()> {
        let Some((_, live, of_key, timers)) = parts(&mut self.store, slot, at) else { return Ok(()) };
        if live.window == larger {
            return Ok(());
        }
        let before = Live::new(std::mem::replace(&mut live.window, larger));
        live.timer = None;
        let states = live.trigger.take().into_iter().collect();
        let mut context = context!(around, timers, of_key, slot, live);
        self.trigger.on_merge(&live.window, states, &mut context).map_err(operator_error)?;
        self.clear(slot, before, self.assigner.is_event_time(), around)
    }

    /// Forgets a window of a key.
    fn retire<O: Data>(&mut self, slot: u32, at: usize, around: &mut Around<T, O>) -> OperatorResult<()> {
        let Some(of_key) = &mut self.store.slots[slot as usize] else { return Ok(()) };
        let live = of_key.windows.swap_remove(at);
        self.clear(slot, live, self.assigner.is_event_time(), around)
    }

    /// Deletes the timers of a window that is gone.
    fn clear<O: Data>(
        &mut self,
        slot: u32,
        mut gone: Live<A::Window, C, G::State>,
        event_time: bool,
        around: &mut Around<T, O>,
    ) -> OperatorResult<()> {
        let cleanup = self.cleanup_time(&gone.window);
        let Some(of_key) = &mut self.store.slots[slot as usize] else { return Ok(()) };
        let (timers, count) = (&mut self.store.timers, &mut of_key.timers);
        let mut context = context!(around, timers, count, slot, gone);
        self.trigger.clear(&gone.window, &mut context).map_err(operator_error)?;
        if let Some(time) = cleanup {
            context.timers.delete(event_time, time);
        }
        Ok(())
    }

    /// Forgets a window that holds nothing: it is as if it had never been, since windows that do not merge are made anew.
    fn drop_empty(&mut self, slot: u32, at: usize) {
        if let Some(of_key) = &mut self.store.slots[slot as usize]
            && of_key.windows.get(at).is_some_and(|live| live.contents.is_none() && live.trigger.is_none())
        {
            of_key.windows.swap_remove(at);
        }
    }

    /// Calls the trigger for all timers of a clock that are due.
    pub(crate) fn advance<F, N>(
        &mut self,
        event_time: bool,
        now: Timestamp,
        fold: &mut F,
        around: &mut Around<T, F::Out>,
        next: &mut N,
    ) -> OperatorResult<()>
    where
        F: WindowFold<K, A::Window, T, Contents = C>,
        N: Push<F::Out>,
    {
        while let Some((time, slot, window)) = self.store.pop_due(event_time, now) {
            let merging = self.assigner.is_merging();
            let is_cleanup = self.assigner.is_event_time() == event_time
                && self.cleanup_time(&window).is_some_and(|cleanup| cleanup == time);
            let of_key = self.store.slots[slot as usize].as_ref();
            let exists = of_key.is_some_and(|of_key| of_key.windows.iter().any(|live| live.window == window));
            if exists || !merging {
                let at = self.find_or_make(slot, window);
                let Some((key, live, of_key, timers)) = parts(&mut self.store, slot, at) else { continue };
                live.timer.take_if(|known| *known == (event_time, time));
                let mut context = context!(around, timers, of_key, slot, live);
                let result = if event_time {
                    self.trigger.on_event_time(time, &live.window, &mut context)
                } else {
                    self.trigger.on_processing_time(time, &live.window, &mut context)
                };
                act(result.map_err(operator_error)?, is_cleanup, key, live, fold, around)?;
                if is_cleanup {
                    self.retire(slot, at, around)?;
                } else if !merging {
                    self.drop_empty(slot, at);
                }
                around.out.drain(next)?;
            }
            self.store.release(slot);
        }
        Ok(())
    }
}

/// A key, one of its windows, how many timers the key has, and all timers.
type Parts<'a, K, W, C, S> = (&'a K, &'a mut Live<W, C, S>, &'a mut u32, &'a mut WindowTimers<W>);

fn parts<K, W, C, S>(store: &mut Store<K, W, C, S>, slot: u32, at: usize) -> Option<Parts<'_, K, W, C, S>> {
    let KeyWindows { key, windows, timers } = store.slots[slot as usize].as_mut()?;
    Some((key, windows.get_mut(at)?, timers, &mut store.timers))
}

/// Does what a trigger says.
fn act<T: Data, K, W: Window, C, S, F>(
    result: TriggerResult,
    is_last: bool,
    key: &K,
    live: &mut Live<W, C, S>,
    fold: &mut F,
    around: &mut Around<T, F::Out>,
) -> OperatorResult<()>
where
    F: WindowFold<K, W, T, Contents = C>,
{
    if result.is_fire() {
        let keep = !(is_last || result.is_purge());
        around.fire(fold, key, &live.window, &mut live.contents, keep)?;
    }
    if result.is_purge() {
        live.contents = None;
    }
    Ok(())
}
