//! Which records of a window are dropped when it is emitted.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use streamkeeper_dataflow::time::Timestamp;

use super::Window;
use super::time_window::millis;

/// A record of a window, with its event time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimestampedValue<T> {
    /// The record.
    pub value: T,
    /// Its event time, in milliseconds; `Timestamp::MIN` when it has none.
    pub timestamp: Timestamp,
}

/// Removes records of a window, in the order in which they came, when its trigger has fired: before or after the window's
/// function is applied. What is removed is gone for later firings as well. A window with an evictor keeps all its records.
pub trait Evictor<T, W: Window>: Clone + Send + Sync + 'static {
    /// Removes records before the function sees them.
    fn evict_before(&mut self, elements: &mut Vec<TimestampedValue<T>>, window: &W);

    /// Removes records that the function has seen.
    fn evict_after(&mut self, elements: &mut Vec<TimestampedValue<T>>, window: &W) {
        let _ = (elements, window);
    }
}

macro_rules! before_or_after {
    ([$($generics:tt)*], $name:ty, $($bound:tt)*) => {
        impl<T: 'static, W: Window, $($generics)*> Evictor<T, W> for $name
        where
            $($bound)*
        {
            fn evict_before(&mut self, elements: &mut Vec<TimestampedValue<T>>, _: &W) {
                if !self.after {
                    self.evict(elements);
                }
            }

            fn evict_after(&mut self, elements: &mut Vec<TimestampedValue<T>>, _: &W) {
                if self.after {
                    self.evict(elements);
                }
            }
        }
    };
}

/// Keeps the last records, so many.
#[derive(Debug, Clone, Copy)]
pub struct CountEvictor {
    max_count: usize,
    after: bool,
}

impl CountEvictor {
    /// Keeps `max_count` records.
    pub fn of(max_count: usize) -> Self {
        Self { max_count, after: false }
    }

    /// Evicts after the window's function instead of before it.
    pub fn after(self) -> Self {
        Self { after: true, ..self }
    }

    fn evict<T>(&self, elements: &mut Vec<TimestampedValue<T>>) {
        let surplus = elements.len().saturating_sub(self.max_count);
        elements.drain(..surplus);
    }
}

before_or_after!([], CountEvictor,);

/// Keeps the records that are less than so long before the newest one, in event time.
#[derive(Debug, Clone, Copy)]
pub struct TimeEvictor {
    window_size: i64,
    after: bool,
}

impl TimeEvictor {
    /// Keeps records for `window_size`.
    pub fn of(window_size: Duration) -> Self {
        Self { window_size: millis(window_size), after: false }
    }

    /// Evicts after the window's function instead of before it.
    pub fn after(self) -> Self {
        Self { after: true, ..self }
    }

    fn evict<T>(&self, elements: &mut Vec<TimestampedValue<T>>) {
        let has_time = elements.first().is_some_and(|element| element.timestamp != Timestamp::MIN);
        let newest = elements.iter().map(|element| element.timestamp).max();
        if let Some(newest) = newest.filter(|_| has_time) {
            let cutoff = newest.saturating_sub(self.window_size);
            elements.retain(|element| element.timestamp > cutoff);
        }
    }
}

before_or_after!([], TimeEvictor,);

/// Keeps the records that are nearer than a threshold to the last one.
#[derive(Debug, Clone, Copy)]
pub struct DeltaEvictor<F> {
    threshold: f64,
    delta: F,
    after: bool,
}

impl<F> DeltaEvictor<F> {
    /// Evicts those whose `delta` to the last record is `threshold` or more.
    pub fn of<T>(threshold: f64, delta: F) -> Self
    where
        F: Fn(&T, &T) -> f64 + Clone + Send + Sync + 'static,
    {
        Self { threshold, delta, after: false }
    }

    /// Evicts after the window's function instead of before it.
    pub fn after(self) -> Self {
        Self { after: true, ..self }
    }

    fn evict<T>(&self, elements: &mut Vec<TimestampedValue<T>>)
    where
        F: Fn(&T, &T) -> f64,
    {
        let Some(last) = elements.pop() else { return };
        elements.retain(|element| (self.delta)(&element.value, &last.value) < self.threshold);
        if (self.delta)(&last.value, &last.value) < self.threshold {
            elements.push(last);
        }
    }
}

before_or_after!([F], DeltaEvictor<F>, F: Fn(&T, &T) -> f64 + Clone + Send + Sync + 'static);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::GlobalWindow;

    fn evict(mut evictor: impl Evictor<i64, GlobalWindow>, after: bool) -> Vec<i64> {
        let elements = [(5, 50), (9, 90), (1, 10), (7, 70)];
        let mut elements = elements.map(|(value, timestamp)| TimestampedValue { value, timestamp }).to_vec();
        if after {
            evictor.evict_after(&mut elements, &GlobalWindow);
        } else {
            evictor.evict_before(&mut elements, &GlobalWindow);
        }
        elements.into_iter().map(|element| element.value).collect()
    }

    #[test]
    fn evictors_keep_what_they_say_before_or_after() {
        let all = [5, 9, 1, 7];
        let delta = |a: &i64, b: &i64| (a - b).abs() as f64;
        assert_eq!(evict(CountEvictor::of(3), false), [9, 1, 7]);
        assert_eq!(evict(CountEvictor::of(5), false), all);
        assert_eq!(evict(CountEvictor::of(3), true), all);
        assert_eq!(evict(CountEvictor::of(3).after(), true), [9, 1, 7]);
        assert_eq!(evict(CountEvictor::of(3).after(), false), all);
        // The newest is 90: what is at 50 or before goes.
        assert_eq!(evict(TimeEvictor::of(Duration::from_millis(40)), false), [9, 7]);
        assert_eq!(evict(TimeEvictor::of(Duration::from_millis(40)).after(), true), [9, 7]);
        assert_eq!(evict(DeltaEvictor::of(3.0, delta), false), [5, 9, 7]);
        assert_eq!(evict(DeltaEvictor::of(2.0, delta).after(), true), [7]);
        assert_eq!(evict(DeltaEvictor::of(0.0, delta), false), Vec::<i64>::new());
    }
}
