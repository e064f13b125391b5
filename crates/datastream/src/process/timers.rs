//! The timers of a keyed operator.
//!
//! Invariant: a timer is of one key and one clock, and is kept in checkpoints until it has fired.

use streamkeeper_dataflow::OperatorResult;
use streamkeeper_dataflow::operator::OperatorContext;
use streamkeeper_dataflow::state::SnapshotFn;
use streamkeeper_dataflow::timers::Timers;

use crate::key::Key;

/// Which clock a timer is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeDomain {
    /// The watermark has passed the timer.
    EventTime,
    /// The wall clock has.
    ProcessingTime,
}

/// The timers of both clocks of one operator.
pub(crate) struct BothTimers<K> {
    pub(crate) event: Timers<K>,
    pub(crate) processing: Timers<K>,
}

impl<K> Default for BothTimers<K> {
    fn default() -> Self {
        Self { event: Timers::default(), processing: Timers::default() }
    }
}

const EVENT_TIMERS: &str = "$event-timers";
const PROCESSING_TIMERS: &str = "$processing-timers";

impl<K: Key> BothTimers<K> {
    pub(crate) fn restore(context: &OperatorContext) -> OperatorResult<Self> {
        Ok(Self {
            event: Timers::read(EVENT_TIMERS, &context.restored)?,
            processing: Timers::read(PROCESSING_TIMERS, &context.restored)?,
        })
    }

    pub(crate) fn snapshot(&self) -> SnapshotFn {
        let (event, processing) = (self.event.clone(), self.processing.clone());
        Box::new(move |writer| {
            event.write(EVENT_TIMERS, writer)?;
            processing.write(PROCESSING_TIMERS, writer)
        })
    }
}
