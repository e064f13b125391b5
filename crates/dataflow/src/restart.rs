//! Restart strategies under Flink's names: whether, and after which delay, a failed region starts again.

use crate::time::Timestamp;

/// `restart-strategy.type` and its options.
#[derive(Debug, Clone, PartialEq)]
pub enum RestartStrategy {
    /// `none`: the first failure fails the job.
    None,
    /// `fixed-delay`.
    FixedDelay {
        /// `attempts`: restarts at most.
        attempts: u32,
        /// `delay`.
        delay_ms: i64,
    },
    /// `failure-rate`.
    FailureRate {
        /// `max-failures-per-interval`.
        max_failures: u32,
        /// `failure-rate-interval`.
        interval_ms: i64,
        /// `delay`.
        delay_ms: i64,
    },
    /// `exponential-delay`.
    ExponentialDelay {
        /// `initial-backoff`.
        initial_ms: i64,
        /// `max-backoff`.
        max_ms: i64,
        /// `backoff-multiplier`.
        multiplier: f64,
        /// `reset-backoff-threshold`: after so long without a failure the delay starts anew.
        reset_threshold_ms: i64,
        /// `attempts-before-reset-backoff`: restarts at most within one backoff; `None` for no limit.
        attempts: Option<u32>,
    },
}

impl RestartStrategy {
    /// Flink's default for a job with checkpoints: exponential delay from 1 s to 1 min by 1.5, reset after 1 h.
    pub fn default_with_checkpoints() -> Self {
        Self::ExponentialDelay {
            initial_ms: 1_000,
            max_ms: 60_000,
            multiplier: 1.5,
            reset_threshold_ms: 3_600_000,
            attempts: None,
        }
    }
}

/// The strategy with what it remembers.
#[derive(Debug)]
pub struct Restarts {
    strategy: RestartStrategy,
    failures: Vec<Timestamp>,
    count: u32,
    delay_ms: i64,
}

impl Restarts {
    /// No failure yet.
    pub fn new(strategy: RestartStrategy) -> Self {
        Self { strategy, failures: Vec::new(), count: 0, delay_ms: 0 }
    }

    /// The delay before the restart after a failure at `now_ms`; `None` to fail the job.
    pub fn on_failure(&mut self, now_ms: Timestamp) -> Option<i64> {
        match self.strategy {
            RestartStrategy::None => None,
            RestartStrategy::FixedDelay { attempts, delay_ms } => {
                self.count += 1;
                (self.count <= attempts).then_some(delay_ms)
            }
            RestartStrategy::FailureRate { max_failures, interval_ms, delay_ms } => {
                self.failures.retain(|at| now_ms - at < interval_ms);
                self.failures.push(now_ms);
                (self.failures.len() <= max_failures as usize).then_some(delay_ms)
            }
            RestartStrategy::ExponentialDelay {
                initial_ms,
                max_ms,
                multiplier,
                reset_threshold_ms,
                attempts,
            } => {
                let last = self.failures.last().copied();
                if last.is_none_or(|last| now_ms - last >= reset_threshold_ms + self.delay_ms) {
                    self.delay_ms = initial_ms;
                    self.count = 0;
                } else {
                    self.delay_ms = ((self.delay_ms as f64 * multiplier) as i64).min(max_ms);
                }
                self.failures = vec![now_ms];
                self.count += 1;
                attempts.is_none_or(|attempts| self.count <= attempts).then_some(self.delay_ms)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delays(strategy: RestartStrategy, failures: &[i64]) -> Vec<Option<i64>> {
        let mut restarts = Restarts::new(strategy);
        failures.iter().map(|at| restarts.on_failure(*at)).collect()
    }

    #[test]
    fn strategies_do_what_flink_documents() {
        assert_eq!(delays(RestartStrategy::None, &[0]), [None]);
        let fixed = RestartStrategy::FixedDelay { attempts: 2, delay_ms: 7 };
        assert_eq!(delays(fixed, &[0, 1, 2]), [Some(7), Some(7), None]);
        let rate = RestartStrategy::FailureRate { max_failures: 1, interval_ms: 100, delay_ms: 3 };
        assert_eq!(delays(rate, &[0, 100, 150]), [Some(3), Some(3), None]);
        let exponential = RestartStrategy::ExponentialDelay {
            initial_ms: 100,
            max_ms: 300,
            multiplier: 2.0,
            reset_threshold_ms: 1000,
            attempts: None,
        };
        let seen = delays(exponential, &[0, 10, 20, 30, 5000]);
        assert_eq!(seen, [Some(100), Some(200), Some(300), Some(300), Some(100)]);
    }
}
