//! Event time and the clock.

/// Milliseconds since 1970-01-01T00:00:00Z: an event time, a watermark or a processing time.
pub type Timestamp = i64;

/// The watermark before any record was seen.
pub const MIN_WATERMARK: Timestamp = i64::MIN;

/// The watermark after the last record of a bounded input: every window may fire.
pub const MAX_WATERMARK: Timestamp = i64::MAX;

/// Where the runtime reads the wall clock, so that tests and simulations can set it.
pub trait Clock: Send + Sync {
    /// Processing time now.
    fn now_ms(&self) -> Timestamp;
}

/// The wall clock of the machine.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> Timestamp {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since_epoch.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
    }
}

/// A clock that moves only when told to.
#[derive(Debug, Default)]
pub struct ManualClock(std::sync::atomic::AtomicI64);

impl ManualClock {
    /// A clock that stands at `now_ms`.
    pub fn new(now_ms: Timestamp) -> Self {
        Self(std::sync::atomic::AtomicI64::new(now_ms))
    }

    /// Sets the clock.
    pub fn set(&self, now_ms: Timestamp) {
        self.0.store(now_ms, std::sync::atomic::Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> Timestamp {
        self.0.load(std::sync::atomic::Ordering::SeqCst)
    }
}
