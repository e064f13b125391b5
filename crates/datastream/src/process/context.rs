//! What a function may ask and do, and what its operator keeps for that.
//!
//! Invariant: a context lives as long as the record or timer at hand, and has its event time.

use std::sync::Arc;

use streamkeeper_dataflow::operator::OperatorContext;
use streamkeeper_dataflow::time::{Clock, MIN_WATERMARK, Timestamp};

use crate::Data;
use crate::side::{OutputTag, Sides};

/// Which subtask a function runs in.
#[derive(Debug, Clone)]
pub struct TaskInfo {
    /// The operator's name.
    pub name: String,
    /// Index of this subtask, from 0.
    pub subtask: usize,
    /// Number of subtasks.
    pub parallelism: usize,
    /// How often this subtask was started before.
    pub attempt: u32,
}

impl TaskInfo {
    pub(crate) fn new(context: &OperatorContext) -> Self {
        Self {
            name: context.name.clone(),
            subtask: context.subtask,
            parallelism: context.parallelism,
            attempt: context.attempt,
        }
    }
}

/// What a function may ask while it handles a record.
pub struct ProcessContext<'a> {
    pub(crate) timestamp: Timestamp,
    pub(crate) watermark: Timestamp,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) sides: &'a mut Sides,
}

impl ProcessContext<'_> {
    /// The record's event time, in milliseconds; `None` when it has none.
    pub fn timestamp(&self) -> Option<Timestamp> {
        Some(self.timestamp).filter(|timestamp| *timestamp != Timestamp::MIN)
    }

    /// The operator's watermark.
    pub fn current_watermark(&self) -> Timestamp {
        self.watermark
    }

    /// Processing time now, in milliseconds.
    pub fn current_processing_time(&self) -> Timestamp {
        self.clock.now_ms()
    }

    /// Emits a record to a side output, with the event time of the record or timer at hand.
    pub fn output<X: Data>(&mut self, tag: &OutputTag<X>, value: X) {
        self.sides.output(tag, value, self.timestamp);
    }
}

/// What surrounds a function in its subtask.
pub(crate) struct Runtime {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) watermark: Timestamp,
    pub(crate) sides: Sides,
}

impl Default for Runtime {
    fn default() -> Self {
        Self {
            clock: Arc::new(streamkeeper_dataflow::time::SystemClock),
            watermark: MIN_WATERMARK,
            sides: Sides::default(),
        }
    }
}

impl Runtime {
    pub(crate) fn new(context: &OperatorContext) -> Self {
        Self {
            clock: context.clock.clone(),
            watermark: MIN_WATERMARK,
            sides: Sides::new(context.side_outputs.clone()),
        }
    }

    pub(crate) fn context(&mut self, timestamp: Timestamp) -> ProcessContext<'_> {
        ProcessContext {
            timestamp,
            watermark: self.watermark,
            clock: self.clock.as_ref(),
            sides: &mut self.sides,
        }
    }
}
