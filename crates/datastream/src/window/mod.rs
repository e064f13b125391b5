//! Windows: a stream cut into finite pieces, and what is made of each.
//!
//! [`KeyedStream::window`](crate::KeyedStream::window) takes an assigner, which says to which windows a record belongs. A window
//! is emitted when its trigger says so, by default when the watermark (or the clock) has passed its end; an evictor may drop some of
//! its records before. What a window holds is a reduced record, an accumulator, or all its records, as its function needs.
//!
//! ```
//! use std::time::Duration;
//! use streamkeeper_datastream::StreamExecutionEnvironment;
//! use streamkeeper_datastream::window::{CountTrigger, GlobalWindows, PurgingTrigger};
//!
//! let env = StreamExecutionEnvironment::new();
//! let pairs = env
//!     .from_collection(1..=5i64)
//!     .key_by(|_| 0)
//!     .window(GlobalWindows)
//!     .trigger(PurgingTrigger::of(CountTrigger::of(2)))
//!     .reduce(|a, b| a + b)
//!     .collect();
//! env.execute("sums of two")?;
//! assert_eq!(pairs.take(), [3, 7]);
//! # Ok::<(), streamkeeper_datastream::Error>(())
//! ```
//!
//! Results carry the last millisecond of their window as their event time, so that windows can follow windows. A record that comes
//! after its window's end and the allowed lateness is late: it is dropped and counted (`numLateRecordsDropped`), or goes to a side output.
//!
//! - [`WindowAssigner`]s: tumbling and sliding windows and sessions of both clocks, [`GlobalWindows`]
//! - [`Trigger`]s: [`EventTimeTrigger`], [`ProcessingTimeTrigger`], [`CountTrigger`], [`DeltaTrigger`], continuous and purging ones
//! - [`Evictor`]s: [`CountEvictor`], [`TimeEvictor`], [`DeltaEvictor`]
//! - [`WindowedStream`]: settings and functions; [`ProcessWindowFunction`]; [`JoinedStreams`] and [`CoGroupedStreams`]
//!
//! Two operators do the work. Aligned windows of event time with the default trigger and no evictor, the common case, are kept
//! as panes: one map of keys per window, emitted and dropped whole, without timers. All others are kept by key, with timers.
mod aligned;
mod assigner;
mod entry;
mod evictor;
mod fold;
mod function;
mod general;
mod join;
mod merging;
mod operator;
mod panes;
mod session;
mod store;
mod stream;
mod time_window;
mod trigger;
mod triggers;

pub use assigner::{
    Aligned, AlignedAs, SlidingEventTimeWindows, SlidingProcessingTimeWindows, TumblingEventTimeWindows,
    TumblingProcessingTimeWindows, WindowAssigner, WindowAssignerContext,
};
pub use entry::AllKeys;
pub use evictor::{CountEvictor, DeltaEvictor, Evictor, TimeEvictor, TimestampedValue};
pub use fold::{
    Aggregated, Evict, Evicted, Eviction, Folded, Gather, Listed, NoEvictor, Processed, Reduced, WindowFold,
};
pub use function::{Apply, ApplyOne, PassThrough, ProcessWindowFunction, WindowContext};
pub use join::{
    Both, BothFn, CoGroup, CoGroupedStreams, EqualTo, Groups, Join, JoinedStreams, Pairs, PairsWith, Tagged,
    TwoStreams, UnionKey, Where, WithWindow,
};
pub use operator::{WindowLogic, Windows};
pub use session::{
    DynamicGap, EventTimeSessionWindows, GlobalWindows, ProcessingTimeSessionWindows, SessionGap,
};
pub use stream::WindowedStream;
pub use time_window::{GlobalWindow, TimeWindow, Window};
pub use trigger::{Trigger, TriggerContext, TriggerResult};
pub use triggers::{
    ContinuousEventTimeTrigger, ContinuousProcessingTimeTrigger, CountTrigger, DeltaTrigger,
    EventTimeTrigger, NeverTrigger, ProcessingTimeTrigger, PurgingTrigger,
};
