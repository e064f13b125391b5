//! When a call is repeated.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

type IfResult<O> = Arc<dyn Fn(&[O]) -> bool + Send + Sync>;
type IfException = Arc<dyn Fn(&(dyn Error + Send + Sync + 'static)) -> bool + Send + Sync>;

/// How often, when and why a call is repeated. Unless told otherwise, a call that fails is; one that succeeds is not.
///
/// ```
/// use std::time::Duration;
/// use streamkeeper_datastream::AsyncRetryStrategy;
///
/// let retry = AsyncRetryStrategy::exponential_backoff(
///     5,
///     Duration::from_millis(100),
///     Duration::from_secs(5),
///     2.0,
/// )
/// .if_result(|found: &[String]| found.is_empty())
/// .if_exception(|error| error.to_string().contains("busy"));
/// assert_eq!(retry.delay(1), Some(Duration::from_millis(100)));
/// assert_eq!(retry.delay(3), Some(Duration::from_millis(400)));
/// assert_eq!(retry.delay(6), None);
/// ```
pub struct AsyncRetryStrategy<O> {
    /// How often a call is repeated.
    max_attempts: u32,
    initial: Duration,
    max: Duration,
    multiplier: f64,
    if_result: Option<IfResult<O>>,
    if_exception: Option<IfException>,
}

impl<O> Clone for AsyncRetryStrategy<O> {
    fn clone(&self) -> Self {
        Self {
            max_attempts: self.max_attempts,
            initial: self.initial,
            max: self.max,
            multiplier: self.multiplier,
            if_result: self.if_result.clone(),
            if_exception: self.if_exception.clone(),
        }
    }
}

impl<O> AsyncRetryStrategy<O> {
    /// Calls are not repeated.
    pub fn no_retry() -> Self {
        Self::fixed_delay(0, Duration::ZERO)
    }

    /// A call is repeated up to `max_attempts` times, `delay` after the last time.
    pub fn fixed_delay(max_attempts: u32, delay: Duration) -> Self {
        Self::exponential_backoff(max_attempts, delay, delay, 1.0)
    }

    /// A call is repeated up to `max_attempts` times: after `initial_delay`, then after `multiplier` times as long as before, but
    /// no longer than `max_retry_delay`.
    pub fn exponential_backoff(
        max_attempts: u32,
        initial_delay: Duration,
        max_retry_delay: Duration,
        multiplier: f64,
    ) -> Self {
        Self {
            max_attempts,
            initial: initial_delay,
            max: max_retry_delay,
            multiplier,
            if_result: None,
            if_exception: None,
        }
    }

    /// Repeats calls with such results.
    pub fn if_result(mut self, predicate: impl Fn(&[O]) -> bool + Send + Sync + 'static) -> Self {
        self.if_result = Some(Arc::new(predicate));
        self
    }

    /// Repeats calls that fail with such errors, and no others.
    pub fn if_exception(
        mut self,
        predicate: impl Fn(&(dyn Error + Send + Sync + 'static)) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.if_exception = Some(Arc::new(predicate));
        self
    }

    /// How long to wait before repetition `n`, from 1; `None`: there is none.
    pub fn delay(&self, n: u32) -> Option<Duration> {
        if n > self.max_attempts {
            return None;
        }
        let factor = self.multiplier.powf(f64::from(n.saturating_sub(1)));
        let delay = Duration::try_from_secs_f64(self.initial.as_secs_f64() * factor);
        Some(delay.unwrap_or(self.max).min(self.max))
    }

    /// Whether a call with this outcome is one to repeat.
    pub(super) fn wants(&self, outcome: Result<&[O], &(dyn Error + Send + Sync + 'static)>) -> bool {
        match outcome {
            Ok(results) => self.if_result.as_ref().is_some_and(|predicate| predicate(results)),
            Err(error) => self.if_exception.as_ref().is_none_or(|predicate| predicate(error)),
        }
    }
}
