//! Fault points: places at which a test can make the process die, as `kill -9` would.
//!
//! Only debug builds have them. `STREAMKEEPER_FAULT=<point>:<n>` kills the process when it passes the point for the
//! n-th time (from 1).

/// Dies here if the environment says so.
#[inline]
pub fn point(name: &str) {
    #[cfg(debug_assertions)]
    imp::point(name);
    #[cfg(not(debug_assertions))]
    let _ = name;
}

#[cfg(debug_assertions)]
mod imp {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static FAULT: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);

    pub(super) fn point(name: &str) {
        let fault = FAULT.get_or_init(|| {
            let text = std::env::var("STREAMKEEPER_FAULT").ok()?;
            let (point, count) = text.split_once(':')?;
            Some((point.to_owned(), count.parse().ok()?))
        });
        if let Some((point, count)) = fault
            && point == name
            && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == *count
        {
            std::process::abort();
        }
    }
}
