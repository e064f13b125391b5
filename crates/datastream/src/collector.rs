//! What a function emits.

use streamkeeper_dataflow::OperatorResult;
use streamkeeper_dataflow::time::Timestamp;

use crate::chain::Push;

/// Takes the records that a function emits; they go on when it returns.
#[derive(Debug)]
pub struct Collector<O> {
    records: Vec<(O, Timestamp)>,
    timestamp: Timestamp,
}

impl<O> Default for Collector<O> {
    fn default() -> Self {
        Self { records: Vec::new(), timestamp: Timestamp::MIN }
    }
}

impl<O> Collector<O> {
    /// Emits a record with the event time of the record that came in, or of the timer.
    #[inline]
    pub fn collect(&mut self, value: O) {
        self.records.push((value, self.timestamp));
    }

    /// Emits a record with an event time of its own, in milliseconds.
    #[inline]
    pub fn collect_with_timestamp(&mut self, value: O, timestamp: Timestamp) {
        self.records.push((value, timestamp));
    }

    /// The event time of what is collected from now on.
    #[inline]
    pub(crate) fn at(&mut self, timestamp: Timestamp) {
        self.timestamp = timestamp;
    }

    /// Passes everything on.
    #[inline]
    pub(crate) fn drain<N: Push<O>>(&mut self, next: &mut N) -> OperatorResult<()> {
        self.records.drain(..).try_for_each(|(value, timestamp)| next.push(value, timestamp))
    }
}
