//! The source: `(key, n)` with n = 0, 1, 2, … for each of its keys, until the plan has come to its end. A split has keys of its
//! own, so the numbers of a key are in order.

use std::sync::{Arc, Mutex};

use streamkeeper_dataflow::batch::Records;
use streamkeeper_dataflow::operator::OperatorContext;
use streamkeeper_dataflow::source::{Assignment, Poll, Source, SourceReader, Split, SplitEnumerator};
use streamkeeper_dataflow::time::{MIN_WATERMARK, Timestamp};
use streamkeeper_dataflow::{OperatorError, OperatorResult};

use super::plan::Plan;

/// A key and its running number.
pub(super) type Number = (u64, u64);

pub(super) const SPLITS: u64 = 5;
const KEYS_PER_SPLIT: u64 = 8;
pub(super) const KEYS: u64 = SPLITS * KEYS_PER_SPLIT;
const ROUNDS_PER_BATCH: u64 = 2;

/// Milliseconds of event time between two numbers of a key.
pub(super) const STEP_MS: i64 = 10;

/// How many splits wait for each reader. Readers take them all before they begin, so that all splits are read side by side.
type Waiting = Arc<Mutex<Vec<u64>>>;

pub(super) struct Numbers {
    plan: Arc<Plan>,
    waiting: Waiting,
}

impl Numbers {
    pub(super) fn new(plan: Arc<Plan>) -> Self {
        Self { plan, waiting: Waiting::default() }
    }
}

/// Split i goes to reader i % parallelism.
struct Enumerator {
    splits: Vec<Split>,
    parallelism: usize,
    waiting: Waiting,
}

fn reader_of(split: &Split, parallelism: usize) -> usize {
    split.id.parse::<usize>().expect("a number") % parallelism
}

impl Enumerator {
    fn announce(&self) {
        let mut waiting = vec![0; self.parallelism];
        self.splits.iter().for_each(|split| waiting[reader_of(split, self.parallelism)] += 1);
        *self.waiting.lock().expect("no panic while held") = waiting;
    }
}

impl SplitEnumerator for Enumerator {
    fn next_split(&mut self, subtask: usize) -> Assignment {
        let found = self.splits.iter().position(|split| reader_of(split, self.parallelism) == subtask);
        let assignment = found
            .map_or(Assignment::NoMoreSplits, |position| Assignment::Split(self.splits.remove(position)));
        self.announce();
        assignment
    }

    fn add_splits_back(&mut self, splits: Vec<Split>) {
        self.splits.extend(splits);
        self.announce();
    }

    fn snapshot(&self) -> OperatorResult<Vec<u8>> {
        postcard::to_allocvec(&self.splits).map_err(OperatorError::fatal)
    }
}

impl Source<Records<Number>> for Numbers {
    fn enumerator(
        &self,
        parallelism: usize,
        restored: Option<&[u8]>,
    ) -> OperatorResult<Box<dyn SplitEnumerator>> {
        let split = |n: u64| Split { id: n.to_string(), payload: vec![0; 8], watermark: MIN_WATERMARK };
        let splits = match restored {
            Some(bytes) => postcard::from_bytes(bytes).map_err(OperatorError::fatal)?,
            None => (0..SPLITS).map(split).collect(),
        };
        let enumerator = Enumerator { splits, parallelism, waiting: self.waiting.clone() };
        enumerator.announce();
        Ok(Box::new(enumerator))
    }

    fn reader(&self, context: &OperatorContext) -> OperatorResult<Box<dyn SourceReader<Records<Number>>>> {
        Ok(Box::new(Reader {
            subtask: context.subtask,
            splits: Vec::new(),
            next: 0,
            due: 0,
            plan: self.plan.clone(),
            waiting: self.waiting.clone(),
        }))
    }
}

struct Reader {
    subtask: usize,
    /// Splits and their next rounds.
    splits: Vec<(u64, u64)>,
    /// Which of them is read next.
    next: usize,
    /// When the next turn begins.
    due: Timestamp,
    plan: Arc<Plan>,
    waiting: Waiting,
}

impl SourceReader<Records<Number>> for Reader {
    fn add_split(&mut self, split: Split) -> OperatorResult<()> {
        let round = u64::from_le_bytes(split.payload.as_slice().try_into().expect("8 bytes"));
        self.splits.push((split.id.parse().expect("a number"), round));
        Ok(())
    }

    fn poll(&mut self, now_ms: Timestamp) -> OperatorResult<Poll<Records<Number>>> {
        let waiting = self.waiting.lock().expect("no panic while held")[self.subtask];
        if waiting > 0 || self.splits.is_empty() {
            return Ok(Poll::NeedSplit);
        }
        if now_ms < self.due && !self.plan.is_ending() {
            return Ok(Poll::WaitUntil(self.due));
        }
        self.next %= self.splits.len();
        let (split, round) = &mut self.splits[self.next];
        let first = *round;
        while *round < first + ROUNDS_PER_BATCH && !self.plan.is_end(*round) {
            *round += 1;
        }
        let (split, rounds) = (*split, first..*round);
        if rounds.is_empty() {
            self.splits.remove(self.next);
            return Ok(Poll::SplitEnd(split.to_string()));
        }
        self.next += 1;
        if self.next == self.splits.len() {
            self.due = now_ms + 1;
        }
        let keys = split * KEYS_PER_SPLIT..(split + 1) * KEYS_PER_SPLIT;
        let values: Vec<Number> =
            rounds.flat_map(|round| keys.clone().map(move |key| (key, round))).collect();
        let timestamps = values.iter().map(|(_, round)| *round as i64 * STEP_MS).collect();
        Ok(Poll::Batch { split: split.to_string(), batch: Records::new(values, timestamps) })
    }

    fn snapshot(&mut self) -> OperatorResult<Vec<Split>> {
        let split = |(id, round): &(u64, u64)| Split {
            id: id.to_string(),
            payload: round.to_le_bytes().to_vec(),
            watermark: MIN_WATERMARK,
        };
        Ok(self.splits.iter().map(split).collect())
    }
}
