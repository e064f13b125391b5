//! What is to fail, and when: drawn from a seed.
//!
//! Invariant: between two failures a checkpoint completes, so that each restart goes on from another one.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use streamkeeper_dataflow::OperatorError;
use streamkeeper_datastream::Result;

/// Numbers that look random (splitmix64).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (x ^ (x >> 31)) % n
    }

    pub(super) fn chance(&mut self) -> bool {
        self.below(2) == 0
    }
}

/// Which of the two maps fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Before,
    After,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Error,
    Panic,
    /// The job is not restarted.
    Fatal,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Failure {
    pub(super) place: Place,
    /// At the n-th record after the last failure.
    pub(super) records: u64,
    /// Not before a checkpoint has completed.
    pub(super) after_checkpoint: bool,
    pub(super) how: How,
}

#[derive(Debug, Default)]
struct State {
    failures: VecDeque<Failure>,
    records: u64,
    completed: u64,
    completed_at_failure: u64,
    happened: u64,
    rounds: u64,
    end: Option<u64>,
}

/// Shared by the source, the failing maps and who drives the job.
#[derive(Debug, Default)]
pub(super) struct Plan(Mutex<State>);

impl Plan {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next run of the job begins.
    pub(super) fn begin(&self, failures: impl IntoIterator<Item = Failure>) {
        let mut state = self.state();
        let (rounds, end) = (state.rounds, state.end);
        *state = State { failures: failures.into_iter().collect(), rounds, end, ..State::default() };
    }

    pub(super) fn add(&self, failure: Failure) {
        self.state().failures.push_back(failure);
    }

    /// What is planned has happened, and a checkpoint has completed since.
    pub(super) fn is_through(&self, completed: u64) -> bool {
        let mut state = self.state();
        state.completed = completed;
        state.failures.is_empty() && completed > state.completed_at_failure
    }

    pub(super) fn happened(&self) -> u64 {
        self.state().happened
    }

    /// A record passes.
    pub(super) fn pass(&self, place: Place) -> Result {
        let mut state = self.state();
        let Some(next) = state.failures.front().copied().filter(|next| next.place == place) else {
            return Ok(());
        };
        state.records += 1;
        let progress = state.completed > state.completed_at_failure || !next.after_checkpoint;
        if state.records < next.records || !progress {
            return Ok(());
        }
        state.failures.pop_front();
        state.records = 0;
        state.completed_at_failure = state.completed;
        state.happened += 1;
        drop(state);
        match next.how {
            How::Error => Err(format!("planned, at {place:?}").into()),
            How::Panic => panic!("planned, at {place:?}"),
            How::Fatal => Err(Box::new(OperatorError::fatal(format!("the end, planned, at {place:?}")))),
        }
    }

    /// Whether a split at this round is at its end.
    pub(super) fn is_end(&self, round: u64) -> bool {
        let mut state = self.state();
        if state.end.is_some_and(|end| round >= end) {
            return true;
        }
        state.rounds = state.rounds.max(round + 1);
        false
    }

    /// No need to slow the source down any more.
    pub(super) fn is_ending(&self) -> bool {
        self.state().end.is_some()
    }

    /// Lets all splits end, at the same round.
    pub(super) fn finish(&self) {
        let mut state = self.state();
        state.end = Some(state.rounds + 10);
    }

    /// How many rounds there were.
    pub(super) fn rounds(&self) -> u64 {
        self.state().end.expect("the plan has come to its end")
    }
}
