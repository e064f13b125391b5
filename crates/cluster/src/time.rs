//! Clocks.

use std::sync::OnceLock;
use std::time::Instant;

use streamkeeper_dataflow::time::{Clock, SystemClock};

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    #[cfg(test)]
    if let Some(now) = simulated::NOW.get() {
        return now;
    }
    SystemClock.now_ms()
}

/// Milliseconds of a clock that does not go back.
pub(crate) fn monotonic_ms() -> u64 {
    #[cfg(test)]
    if let Some(now) = simulated::NOW.get() {
        return now.unsigned_abs();
    }
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    u64::try_from(BEGIN.get_or_init(Instant::now).elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// The time of a simulation, on the thread that it runs on.
#[cfg(test)]
pub(crate) mod simulated {
    use std::cell::Cell;

    thread_local! {
        pub(crate) static NOW: Cell<Option<i64>> = const { Cell::new(None) };
    }
}
