//! Windows that are not of a fixed size: sessions, which grow with each record and merge, and the one that holds everything.

use std::time::Duration;

use streamkeeper_dataflow::time::Timestamp;

use super::assigner::event_time;
use super::time_window::millis;
use super::{
    EventTimeTrigger, GlobalWindow, NeverTrigger, ProcessingTimeTrigger, TimeWindow, WindowAssigner,
    WindowAssignerContext,
};
use crate::error::Result;

/// How long after a record a session lasts.
pub trait SessionGap<T>: Clone + Send + Sync + 'static {
    /// The gap for this record.
    fn gap(&self, element: &T) -> Duration;
}

impl<T> SessionGap<T> for Duration {
    #[inline]
    fn gap(&self, _: &T) -> Duration {
        *self
    }
}

/// A gap that depends on the record.
#[derive(Debug, Clone, Copy)]
pub struct DynamicGap<F>(F);

impl<T, F: Fn(&T) -> Duration + Clone + Send + Sync + 'static> SessionGap<T> for DynamicGap<F> {
    #[inline]
    fn gap(&self, element: &T) -> Duration {
        (self.0)(element)
    }
}

macro_rules! sessions {
    ($(#[$doc:meta])* $name:ident, $trigger:ident, $event_time:expr, |$timestamp:ident, $context:ident| $time:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub struct $name<G = Duration>(G);

        impl $name {
            /// A session ends when nothing has come for `gap`.
            pub fn with_gap(gap: Duration) -> Self {
                Self(gap)
            }
        }

        impl<F> $name<DynamicGap<F>> {
            /// A session ends when nothing has come for as long as its records say.
            pub fn with_dynamic_gap<T>(gap: F) -> Self
            where
                F: Fn(&T) -> Duration + Clone + Send + Sync + 'static,
            {
                Self(DynamicGap(gap))
            }
        }

        impl<T, G: SessionGap<T>> WindowAssigner<T> for $name<G> {
            type Window = TimeWindow;
            type DefaultTrigger = $trigger;

            fn assign_windows(
                &self,
                element: &T,
                $timestamp: Timestamp,
                $context: &WindowAssignerContext<'_>,
                windows: &mut Vec<TimeWindow>,
            ) -> Result {
                let start = $time;
                let gap = millis(self.0.gap(element));
                if gap < 1 {
                    return Err("a session's gap must be at least 1 ms".into());
                }
                windows.push(TimeWindow::new(start, start.saturating_add(gap)));
                Ok(())
            }

            fn default_trigger(&self) -> $trigger {
                $trigger
            }

            fn is_event_time(&self) -> bool {
                $event_time
            }

            fn is_merging(&self) -> bool {
                true
            }

            fn merge(&self, a: &TimeWindow, b: &TimeWindow) -> Option<TimeWindow> {
                a.intersects(b).then(|| a.cover(b))
            }
        }
    };
}

sessions! {
    /// Sessions of event time: the records of a key that follow each other within a gap.
    ///
    /// ```
    /// use std::time::Duration;
    /// use streamkeeper_datastream::window::EventTimeSessionWindows;
    ///
    /// let visits = EventTimeSessionWindows::with_gap(Duration::from_secs(1800));
    /// let by_level = EventTimeSessionWindows::with_dynamic_gap(|(_, minutes): &(String, u64)| Duration::from_secs(minutes * 60));
    /// ```
    EventTimeSessionWindows, EventTimeTrigger, true, |timestamp, _context| event_time(timestamp)?
}

sessions! {
    /// Sessions of processing time: the records of a key that follow each other within a gap.
    ProcessingTimeSessionWindows, ProcessingTimeTrigger, false, |_timestamp, context| context.current_processing_time()
}

/// One window per key, that never ends: useful with a trigger of its own, since by default nothing is ever emitted.
///
/// With [`EventTimeTrigger`] it is emitted at the end of a bounded input.
///
/// ```
/// use streamkeeper_datastream::StreamExecutionEnvironment;
/// use streamkeeper_datastream::window::{EventTimeTrigger, GlobalWindows};
///
/// let env = StreamExecutionEnvironment::new();
/// let sum = env.from_collection(1..=100)
///     .key_by(|_| 0)
///     .window(GlobalWindows)
///     .trigger(EventTimeTrigger)
///     .reduce(|a, b| a + b)
///     .collect();
/// env.execute("sum")?;
/// assert_eq!(sum.take(), [5050]);
/// # Ok::<(), streamkeeper_datastream::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct GlobalWindows;

impl<T> WindowAssigner<T> for GlobalWindows {
    type Window = GlobalWindow;
    type DefaultTrigger = NeverTrigger;

    fn assign_windows(
        &self,
        _: &T,
        _: Timestamp,
        _: &WindowAssignerContext<'_>,
        windows: &mut Vec<GlobalWindow>,
    ) -> Result {
        windows.push(GlobalWindow);
        Ok(())
    }

    fn default_trigger(&self) -> NeverTrigger {
        NeverTrigger
    }

    fn is_event_time(&self) -> bool {
        false
    }
}
