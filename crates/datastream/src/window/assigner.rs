//! Which windows a record belongs to: the assigner's trait, and windows of a fixed size.

use std::time::Duration;

use streamkeeper_dataflow::time::{Clock, Timestamp};

use super::time_window::millis;
use super::{EventTimeTrigger, ProcessingTimeTrigger, TimeWindow, Trigger, Window};
use crate::error::Result;

/// What an assigner may ask.
pub struct WindowAssignerContext<'a> {
    pub(crate) clock: &'a dyn Clock,
}

impl WindowAssignerContext<'_> {
    /// Processing time now, in milliseconds.
    pub fn current_processing_time(&self) -> Timestamp {
        self.clock.now_ms()
    }
}

/// Windows of one size that begin at `offset` and every `slide` before and after it, all in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aligned {
    /// How long a window is.
    pub size: i64,
    /// From one window's start to the next.
    pub slide: i64,
    /// A time at which a window starts.
    pub offset: i64,
}

impl Aligned {
    /// The start of the last window that `timestamp` is in.
    #[inline]
    pub fn last_start(&self, timestamp: Timestamp) -> Timestamp {
        TimeWindow::start_with_offset(timestamp, self.offset, self.slide)
    }

    /// Adds the windows that `timestamp` is in, the last one first.
    fn assign(&self, timestamp: Timestamp, windows: &mut Vec<TimeWindow>) {
        let mut start = self.last_start(timestamp);
        while start > timestamp.saturating_sub(self.size) {
            windows.push(TimeWindow::new(start, start.saturating_add(self.size)));
            start = start.saturating_sub(self.slide);
        }
    }

    fn check(&self) -> Result {
        if self.size < 1 || self.slide < 1 || self.offset >= self.slide {
            return Err(format!(
                "windows of {} ms every {} ms, offset {} ms: size and slide must be at least 1 ms, the offset less than the slide",
                self.size, self.slide, self.offset
            )
            .into());
        }
        Ok(())
    }
}

/// Aligned windows, and the function that names one.
pub type AlignedAs<W> = (Aligned, fn(TimeWindow) -> W);

/// Says to which windows a record belongs.
pub trait WindowAssigner<T>: Clone + Send + Sync + 'static {
    /// What its windows are.
    type Window: Window;
    /// What decides when they are emitted, unless told otherwise.
    type DefaultTrigger: Trigger<T, Self::Window>;

    /// Adds the windows of a record to `windows`, which is empty. Its time is `Timestamp::MIN` when it has none.
    ///
    /// # Errors
    /// When there are none for it, to fail the task.
    fn assign_windows(
        &self,
        element: &T,
        timestamp: Timestamp,
        context: &WindowAssignerContext<'_>,
        windows: &mut Vec<Self::Window>,
    ) -> Result;

    /// The trigger that fits.
    fn default_trigger(&self) -> Self::DefaultTrigger;

    /// Whether windows are in event time: then they end, and records are late, by the watermark.
    fn is_event_time(&self) -> bool;

    /// Whether windows of one key merge.
    fn is_merging(&self) -> bool {
        false
    }

    /// The window that two windows of one key become; `None` when they stay apart.
    fn merge(&self, a: &Self::Window, b: &Self::Window) -> Option<Self::Window> {
        let _ = (a, b);
        None
    }

    /// Some when [`WindowAssigner::assign_windows`] gives exactly these windows of event time, whatever the record: the operator then keeps
    /// its state by window.
    fn aligned(&self) -> Option<AlignedAs<Self::Window>> {
        None
    }

    /// Called when the operator is opened.
    ///
    /// # Errors
    /// When it was made with arguments that make no sense.
    fn check(&self) -> Result {
        Ok(())
    }
}

/// The event time of a record that must have one.
pub(crate) fn event_time(timestamp: Timestamp) -> Result<Timestamp> {
    if timestamp == Timestamp::MIN {
        return Err("the record has no event time, but the windows are of event time; assign timestamps and watermarks \
                    before them, or use windows of processing time"
            .into());
    }
    Ok(timestamp)
}

macro_rules! fixed_windows {
    ($(#[$doc:meta])* $name:ident, $trigger:ident, $event_time:expr, |$timestamp:ident, $context:ident| $time:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub struct $name(Aligned);

        impl<T> WindowAssigner<T> for $name {
            type Window = TimeWindow;
            type DefaultTrigger = $trigger;

            fn assign_windows(
                &self,
                _: &T,
                $timestamp: Timestamp,
                $context: &WindowAssignerContext<'_>,
                windows: &mut Vec<TimeWindow>,
            ) -> Result {
                self.0.assign($time, windows);
                Ok(())
            }

            fn default_trigger(&self) -> $trigger {
                $trigger
            }

            fn is_event_time(&self) -> bool {
                $event_time
            }

            fn aligned(&self) -> Option<AlignedAs<TimeWindow>> {
                $event_time.then_some((self.0, |window| window))
            }

            fn check(&self) -> Result {
                self.0.check()
            }
        }
    };
}

macro_rules! tumbling_windows {
    ($name:ident) => {
        impl $name {
            /// Windows of this size.
            pub fn of(size: Duration) -> Self {
                Self::with_offset(size, Duration::ZERO)
            }

            /// Windows of this size, one of which begins `offset` after midnight of 1970-01-01 UTC: days of a time zone 8
            /// hours ahead of UTC begin at an offset of 16 hours.
            pub fn with_offset(size: Duration, offset: Duration) -> Self {
                Self(Aligned { size: millis(size), slide: millis(size), offset: millis(offset) })
            }
        }
    };
}

macro_rules! sliding_windows {
    ($name:ident) => {
        impl $name {
            /// Windows of this size, one every `slide`.
            pub fn of(size: Duration, slide: Duration) -> Self {
                Self::with_offset(size, slide, Duration::ZERO)
            }

            /// Windows of this size, one every `slide`, one of which begins `offset` after midnight of 1970-01-01 UTC.
            pub fn with_offset(size: Duration, slide: Duration, offset: Duration) -> Self {
                Self(Aligned { size: millis(size), slide: millis(slide), offset: millis(offset) })
            }
        }
    };
}

fixed_windows! {
    /// Windows of event time, one after the other: each record is in one.
    ///
    /// ```
    /// use std::time::Duration;
    /// use streamkeeper_datastream::window::TumblingEventTimeWindows;
    ///
    /// let hours = TumblingEventTimeWindows::of(Duration::from_secs(3600));
    /// ```
    TumblingEventTimeWindows, EventTimeTrigger, true, |timestamp, _context| event_time(timestamp)?
}
tumbling_windows!(TumblingEventTimeWindows);

fixed_windows! {
    /// Windows of processing time, one after the other: each record is in one.
    TumblingProcessingTimeWindows, ProcessingTimeTrigger, false, |_timestamp, context| context.current_processing_time()
}
tumbling_windows!(TumblingProcessingTimeWindows);

fixed_windows! {
    /// Windows of event time that overlap: each record is in `size / slide` of them.
    ///
    /// ```
    /// use std::time::Duration;
    /// use streamkeeper_datastream::window::SlidingEventTimeWindows;
    ///
    /// let last_hour_every_minute = SlidingEventTimeWindows::of(Duration::from_secs(3600), Duration::from_secs(60));
    /// ```
    SlidingEventTimeWindows, EventTimeTrigger, true, |timestamp, _context| event_time(timestamp)?
}
sliding_windows!(SlidingEventTimeWindows);

fixed_windows! {
    /// Windows of processing time that overlap: each record is in `size / slide` of them.
    SlidingProcessingTimeWindows, ProcessingTimeTrigger, false, |_timestamp, context| context.current_processing_time()
}
sliding_windows!(SlidingProcessingTimeWindows);
