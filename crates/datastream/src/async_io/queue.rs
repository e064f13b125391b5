//! In which order results leave: the pure core of async I/O.
//!
//! Invariants: no result passes a watermark, in either direction; in ordered mode none passes another. A record is kept until
//! its result has left.

use std::collections::{BTreeMap, VecDeque};

use streamkeeper_dataflow::time::Timestamp;

/// The order of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputMode {
    /// That of their records.
    Ordered,
    /// Any, between two watermarks.
    Unordered,
}

/// Records in flight, results that wait, and the watermarks between them.
pub(super) struct Queue<I, O> {
    mode: OutputMode,
    /// By number, that is by arrival.
    records: BTreeMap<u64, Record<I>>,
    next: u64,
    segments: VecDeque<Segment<O>>,
    /// Number of the first segment.
    first: u64,
}

struct Record<I> {
    value: I,
    timestamp: Timestamp,
    segment: u64,
}

/// Records that may pass each other, and the watermark after them.
struct Segment<O> {
    pending: usize,
    done: VecDeque<(u64, Vec<O>)>,
    watermark: Option<Timestamp>,
}

/// What leaves.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ready<O> {
    /// The results of a record, and its event time.
    Results(Vec<O>, Timestamp),
    Watermark(Timestamp),
}

impl<I, O> Queue<I, O> {
    pub(super) fn new(mode: OutputMode) -> Self {
        Self { mode, records: BTreeMap::new(), next: 0, segments: VecDeque::new(), first: 0 }
    }

    /// Adds a record; returns its number.
    pub(super) fn push(&mut self, value: I, timestamp: Timestamp) -> u64 {
        let open = self.segments.back().is_some_and(|last| last.watermark.is_none());
        if !open || self.mode == OutputMode::Ordered {
            self.segments.push_back(Segment { pending: 0, done: VecDeque::new(), watermark: None });
        }
        if let Some(last) = self.segments.back_mut() {
            last.pending += 1;
        }
        let segment = self.first + self.segments.len() as u64 - 1;
        let number = self.next;
        self.next += 1;
        self.records.insert(number, Record { value, timestamp, segment });
        number
    }

    /// Adds a watermark; false when nothing is before it, and it can go on at once.
    pub(super) fn watermark(&mut self, watermark: Timestamp) -> bool {
        let Some(last) = self.segments.back_mut() else { return false };
        last.watermark = Some(last.watermark.map_or(watermark, |before| before.max(watermark)));
        true
    }

    /// Record `number` has results.
    pub(super) fn complete(&mut self, number: u64, results: Vec<O>) {
        let Some(record) = self.records.get(&number) else { return };
        let segment = &mut self.segments[(record.segment - self.first) as usize];
        segment.pending -= 1;
        segment.done.push_back((number, results));
    }

    /// Takes what can leave next.
    pub(super) fn pop(&mut self) -> Option<Ready<O>> {
        loop {
            let first = self.segments.front_mut()?;
            let ready = match first.done.pop_front() {
                Some((number, results)) => {
                    self.records.remove(&number).map(|record| Ready::Results(results, record.timestamp))
                }
                None if first.pending > 0 => return None,
                None => first.watermark.take().map(Ready::Watermark),
            };
            if first.pending == 0 && first.done.is_empty() && first.watermark.is_none() {
                self.segments.pop_front();
                self.first += 1;
            }
            if ready.is_some() {
                return ready;
            }
        }
    }

    /// Whether something can leave.
    pub(super) fn is_ready(&self) -> bool {
        self.segments.front().is_some_and(|first| first.pending == 0 || !first.done.is_empty())
    }

    /// Number of records whose results have not left.
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// Neither records nor watermarks.
    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// The record with this number.
    pub(super) fn record(&self, number: u64) -> Option<&I> {
        self.records.get(&number).map(|record| &record.value)
    }

    /// All records with their event times, by arrival.
    pub(super) fn records(&self) -> impl Iterator<Item = (&I, Timestamp)> {
        self.records.values().map(|record| (&record.value, record.timestamp))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records 0, 1, watermark 10, record 2; completed in the order 2, 1, 0.
    fn run(mode: OutputMode) -> Vec<String> {
        let mut queue = Queue::<&str, u64>::new(mode);
        assert!(!queue.watermark(5), "nothing is before it");
        queue.push("a", 1);
        queue.push("b", 2);
        assert!(queue.watermark(9) && queue.watermark(10));
        queue.push("c", 11);
        let mut seen = Vec::new();
        for number in [2, 1, 0] {
            queue.complete(number, vec![number]);
            assert_eq!(queue.is_ready(), {
                let before = seen.len();
                while let Some(ready) = queue.pop() {
                    seen.push(match ready {
                        Ready::Results(results, timestamp) => format!("{results:?}@{timestamp}"),
                        Ready::Watermark(watermark) => format!("W{watermark}"),
                    });
                }
                seen.len() > before
            });
            seen.push(format!("{} left", queue.len()));
        }
        assert!(queue.is_empty());
        seen
    }

    #[test]
    fn ordered_results_wait_for_those_before_them() {
        let expected = ["3 left", "3 left", "[0]@1", "[1]@2", "W10", "[2]@11", "0 left"];
        assert_eq!(run(OutputMode::Ordered), expected);
    }

    #[test]
    fn unordered_results_pass_each_other_but_no_watermark() {
        let expected = ["3 left", "[1]@2", "2 left", "[0]@1", "W10", "[2]@11", "0 left"];
        assert_eq!(run(OutputMode::Unordered), expected);
    }
}
