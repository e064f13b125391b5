//! Generators: from the event times of records to a watermark.

use std::time::Duration;

use streamkeeper_dataflow::time::{MIN_WATERMARK, Timestamp};

/// Where a generator emits its watermarks to.
#[derive(Debug)]
pub struct WatermarkOutput(Timestamp);

impl Default for WatermarkOutput {
    fn default() -> Self {
        Self(MIN_WATERMARK)
    }
}

impl WatermarkOutput {
    /// No record with an event time at or below `watermark`, in milliseconds, is to come. It goes on behind the batch at
    /// hand; one that is smaller than an earlier one changes nothing.
    #[inline]
    pub fn emit_watermark(&mut self, watermark: Timestamp) {
        self.0 = self.0.max(watermark);
    }

    /// The largest that was emitted.
    pub(crate) fn watermark(&self) -> Timestamp {
        self.0
    }
}

/// Finds watermarks. Each split, or each subtask of an operator, has a copy of its own.
///
/// There is no clock in it: [`WatermarkGenerator::on_periodic_emit`] comes after each batch, so that the same records give the
/// same watermarks.
pub trait WatermarkGenerator<T>: Clone + Send + Sync + 'static {
    /// A record has come, with its event time.
    fn on_event(&mut self, event: &T, timestamp: Timestamp, output: &mut WatermarkOutput);

    /// A batch is complete.
    fn on_periodic_emit(&mut self, output: &mut WatermarkOutput) {
        let _ = output;
    }

    /// A job goes on from a checkpoint in which this was the generator's watermark. It is all that a checkpoint keeps of it.
    fn restore(&mut self, watermark: Timestamp) {
        let _ = watermark;
    }
}

/// The watermark is a fixed delay, and a millisecond, below the largest event time.
#[derive(Debug, Clone)]
pub struct BoundedOutOfOrderness {
    delay_ms: i64,
    largest: Timestamp,
}

impl BoundedOutOfOrderness {
    /// A record comes at most `delay` after one with a later event time.
    pub fn new(delay: Duration) -> Self {
        Self { delay_ms: i64::try_from(delay.as_millis()).unwrap_or(i64::MAX), largest: Timestamp::MIN }
    }
}

impl<T> WatermarkGenerator<T> for BoundedOutOfOrderness {
    #[inline]
    fn on_event(&mut self, _: &T, timestamp: Timestamp, _: &mut WatermarkOutput) {
        self.largest = self.largest.max(timestamp);
    }

    fn on_periodic_emit(&mut self, output: &mut WatermarkOutput) {
        output.emit_watermark(self.largest.saturating_sub(self.delay_ms).saturating_sub(1));
    }

    fn restore(&mut self, watermark: Timestamp) {
        self.largest = watermark.saturating_add(self.delay_ms).saturating_add(1);
    }
}

/// There are no watermarks.
#[derive(Debug, Clone, Copy)]
pub struct NoWatermarks;

impl<T> WatermarkGenerator<T> for NoWatermarks {
    #[inline]
    fn on_event(&mut self, _: &T, _: Timestamp, _: &mut WatermarkOutput) {}
}
