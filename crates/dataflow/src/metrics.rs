//! Counters and gauges of tasks and jobs, under Flink's names.
//!
//! Writers touch relaxed atomics once per batch, never per record; readers take [`TaskMetrics::snapshot`].

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::time::MIN_WATERMARK;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that is set.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// A gauge that stands at `value`.
    pub fn new(value: i64) -> Self {
        Self(AtomicI64::new(value))
    }

    /// Sets the gauge.
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The value last set.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one subtask counts. Field names are Flink's metric names in snake case.
#[derive(Debug)]
pub struct TaskMetrics {
    /// `numRecordsIn`: records taken from channels, or from the outside by a source.
    pub num_records_in: Counter,
    /// `numBytesIn`.
    pub num_bytes_in: Counter,
    /// `numRecordsOut`: records emitted to channels, or to the outside by a sink.
    pub num_records_out: Counter,
    /// `numBytesOut`.
    pub num_bytes_out: Counter,
    /// `numRecordsInErrors`: malformed records that were skipped, as asked.
    pub num_records_in_errors: Counter,
    /// When a sink got its first row, epoch milliseconds; 0 before, and elsewhere.
    pub first_row_at: Gauge,
    /// `numLateRecordsDropped`: records behind the watermark that a window dropped.
    pub num_late_records_dropped: Counter,
    /// `currentInputWatermark`, epoch milliseconds.
    pub current_input_watermark: Gauge,
    /// `currentOutputWatermark`, epoch milliseconds.
    pub current_output_watermark: Gauge,
    /// Nanoseconds spent processing; its rate is `busyTimeMsPerSecond`.
    pub busy_ns: Counter,
    /// Nanoseconds spent waiting for input; its rate is `idleTimeMsPerSecond`.
    pub idle_ns: Counter,
    /// Nanoseconds spent waiting for room in an output; its rate is `backPressuredTimeMsPerSecond`.
    pub back_pressured_ns: Counter,
}

impl Default for TaskMetrics {
    fn default() -> Self {
        Self {
            num_records_in: Counter::default(),
            num_bytes_in: Counter::default(),
            num_records_out: Counter::default(),
            num_bytes_out: Counter::default(),
            num_records_in_errors: Counter::default(),
            num_late_records_dropped: Counter::default(),
            first_row_at: Gauge::default(),
            current_input_watermark: Gauge::new(MIN_WATERMARK),
            current_output_watermark: Gauge::new(MIN_WATERMARK),
            busy_ns: Counter::default(),
            idle_ns: Counter::default(),
            back_pressured_ns: Counter::default(),
        }
    }
}

/// What one job counts. Field names are Flink's metric names in snake case.
#[derive(Debug, Default)]
pub struct JobMetrics {
    /// `numberOfCompletedCheckpoints`.
    pub number_of_completed_checkpoints: Counter,
    /// `numberOfFailedCheckpoints`.
    pub number_of_failed_checkpoints: Counter,
    /// `lastCheckpointDuration`, milliseconds.
    pub last_checkpoint_duration: Gauge,
    /// `lastCheckpointSize`, bytes.
    pub last_checkpoint_size: Gauge,
    /// `lastCompletedCheckpointId`.
    pub last_checkpoint_id: Gauge,
    /// `numRestarts`.
    pub num_restarts: Counter,
}

impl TaskMetrics {
    /// Each metric under Flink's name. The times are totals in milliseconds; a reader that keeps the previous totals
    /// gets Flink's `…TimeMsPerSecond` from the difference.
    pub fn snapshot(&self) -> [(&'static str, i64); 11] {
        let total = |counter: &Counter| i64::try_from(counter.get()).unwrap_or(i64::MAX);
        [
            ("numRecordsIn", total(&self.num_records_in)),
            ("numBytesIn", total(&self.num_bytes_in)),
            ("numRecordsOut", total(&self.num_records_out)),
            ("numBytesOut", total(&self.num_bytes_out)),
            ("numRecordsInErrors", total(&self.num_records_in_errors)),
            ("numLateRecordsDropped", total(&self.num_late_records_dropped)),
            ("currentInputWatermark", self.current_input_watermark.get()),
            ("currentOutputWatermark", self.current_output_watermark.get()),
            ("accumulateBusyTimeMs", total(&self.busy_ns) / 1_000_000),
            ("accumulateIdleTimeMs", total(&self.idle_ns) / 1_000_000),
            ("accumulateBackPressuredTimeMs", total(&self.back_pressured_ns) / 1_000_000),
        ]
    }
}
