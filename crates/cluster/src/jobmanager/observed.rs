//! What a leader has seen of one task: pure.

use streamkeeper_dataflow::executor::order::WorkerId;

/// Rates are taken over at least this long, in milliseconds.
const WINDOW_MS: i64 = 5_000;

/// A task that says nothing for this long has not changed since, in milliseconds.
const SILENCE_MS: i64 = 2_000;

/// How a task is doing.
#[derive(Debug, Clone)]
pub(super) struct Observed {
    pub(super) worker: WorkerId,
    pub(super) attempt: u32,
    /// Its states, and since when each, in milliseconds since 1970; the last is the current one.
    pub(super) since: Vec<(&'static str, i64)>,
    /// Its metrics.
    pub(super) samples: Samples,
}

impl Observed {
    pub(super) fn new(worker: WorkerId, attempt: u32, created_ms: i64) -> Self {
        Self { worker, attempt, since: vec![("CREATED", created_ms)], samples: Samples::default() }
    }

    pub(super) fn state(&self) -> &'static str {
        self.since.last().map_or("CREATED", |(state, _)| *state)
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.state(), "FINISHED" | "CANCELED" | "FAILED")
    }

    /// It is in this state from now on, or still.
    pub(super) fn enter(&mut self, state: &'static str, now: i64) {
        if self.state() != state {
            self.since.retain(|(earlier, _)| *earlier != state);
            self.since.push((state, now));
        }
    }
}

/// Metrics at two times.
#[derive(Debug, Clone, Default)]
pub(super) struct Samples {
    earlier: Option<(i64, Vec<i64>)>,
    latest: Option<(i64, Vec<i64>)>,
}

impl Samples {
    /// The latest values; empty before there are any.
    pub(super) fn values(&self) -> &[i64] {
        self.latest.as_ref().map_or(&[], |(_, values)| values)
    }

    /// Takes new values.
    pub(super) fn add(&mut self, values: Vec<i64>, now: i64) {
        let old = self.latest.replace((now, values));
        let keep = |(at, _): &(i64, Vec<i64>)| old.as_ref().is_none_or(|(latest, _)| latest - at < WINDOW_MS);
        if !self.earlier.as_ref().is_some_and(keep) {
            self.earlier = old;
        }
    }

    /// How much each value grows in a second.
    pub(super) fn rates(&self, now: i64) -> Vec<f64> {
        let Some((at, latest)) = &self.latest else { return Vec::new() };
        let Some((began, earlier)) = &self.earlier else { return vec![0.0; latest.len()] };
        // What is not told has not changed.
        let end = if now - at > SILENCE_MS { now } else { *at };
        let seconds = (end - began).max(1) as f64 / 1000.0;
        latest.iter().zip(earlier).map(|(new, old)| new.wrapping_sub(*old).max(0) as f64 / seconds).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_last_seconds_and_fall_when_nothing_comes() {
        let mut samples = Samples::default();
        assert!(samples.rates(0).is_empty());
        for second in 0..20 {
            samples.add(vec![second * 100, -second], second * 1000);
        }
        assert_eq!(samples.rates(19_000), [100.0, 0.0], "what falls is no rate");
        samples.add(vec![19 * 100 + 1_000, 0], 20_000);
        assert!(samples.rates(20_000)[0] > 200.0);
        assert!(samples.rates(120_000)[0] < 20.0);
    }

    #[test]
    fn a_state_is_entered_once() {
        let mut task = Observed::new("a".into(), 0, 5);
        task.enter("RUNNING", 7);
        task.enter("RUNNING", 9);
        assert_eq!(
            (task.since.as_slice(), task.is_over()),
            ([("CREATED", 5), ("RUNNING", 7)].as_slice(), false)
        );
        task.enter("FINISHED", 11);
        assert!(task.is_over());
    }
}
