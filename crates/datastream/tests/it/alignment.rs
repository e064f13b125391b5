//! Sources that keep pace with each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use streamkeeper_datastream::connector::*;
use streamkeeper_datastream::{StreamExecutionEnvironment, WatermarkStrategy};

/// Numbers from 0, each its own event time. The slow source gives one at a time, and notes how far the fast one is ahead.
#[derive(Clone)]
struct Numbers {
    until: i64,
    at_once: i64,
    slow: bool,
    /// How far the fast source has come.
    fast: Arc<AtomicI64>,
    largest_lead: Arc<AtomicI64>,
}

struct Pending(Vec<Split>);

impl SplitEnumerator for Pending {
    fn next_split(&mut self, _: usize) -> Assignment {
        self.0.pop().map_or(Assignment::NoMoreSplits, Assignment::Split)
    }

    fn add_splits_back(&mut self, splits: Vec<Split>) {
        self.0.extend(splits);
    }

    fn snapshot(&self) -> OperatorResult<Vec<u8>> {
        Ok(vec![self.0.len() as u8])
    }
}

fn split(next: i64) -> Split {
    Split { id: "numbers".into(), payload: next.to_le_bytes().to_vec(), watermark: MIN_WATERMARK }
}

impl Source<Records<i64>> for Numbers {
    fn enumerator(&self, _: usize, restored: Option<&[u8]>) -> OperatorResult<Box<dyn SplitEnumerator>> {
        let pending = restored.is_none_or(|left| left == [1]);
        Ok(Box::new(Pending(pending.then(|| split(0)).into_iter().collect())))
    }

    fn reader(&self, context: &OperatorContext) -> OperatorResult<Box<dyn SourceReader<Records<i64>>>> {
        if self.slow && context.attempt > 0 {
            // Both begin anew.
            self.fast.store(0, SeqCst);
        }
        Ok(Box::new(Reader { source: self.clone(), next: None, rest: 0 }))
    }
}

struct Reader {
    source: Numbers,
    next: Option<i64>,
    rest: i64,
}

impl SourceReader<Records<i64>> for Reader {
    fn add_split(&mut self, split: Split) -> OperatorResult<()> {
        let bytes = split.payload.as_slice().try_into().map_err(OperatorError::fatal)?;
        self.next = Some(i64::from_le_bytes(bytes));
        Ok(())
    }

    fn poll(&mut self, now_ms: Timestamp) -> OperatorResult<Poll<Records<i64>>> {
        let Some(next) = self.next else { return Ok(Poll::NeedSplit) };
        if next == self.source.until {
            self.next = None;
            return Ok(Poll::SplitEnd("numbers".into()));
        }
        if self.source.slow {
            self.rest = 1 - self.rest;
            if self.rest == 1 {
                return Ok(Poll::WaitUntil(now_ms + 1));
            }
            let lead = self.source.fast.load(SeqCst) - next;
            self.source.largest_lead.fetch_max(lead, SeqCst);
        } else {
            self.source.fast.store(next + self.source.at_once, SeqCst);
        }
        let end = self.source.until.min(next + self.source.at_once);
        self.next = Some(end);
        let values: Vec<i64> = (next..end).collect();
        Ok(Poll::Batch { split: "numbers".into(), batch: Records::new(values.clone(), values) })
    }

    fn snapshot(&mut self) -> OperatorResult<Vec<Split>> {
        Ok(self.next.map(split).into_iter().collect())
    }
}

const MAX_DRIFT: i64 = 20;
const AT_ONCE: i64 = 10;

/// Reads both sources to their end; a record fails the job as often as `failures` says. Returns the largest lead.
fn run(aligned: bool, failures: u32) -> i64 {
    let env = StreamExecutionEnvironment::new();
    env.set("restart-strategy.type", "fixed-delay").expect("is known");
    env.set("restart-strategy.fixed-delay.attempts", "10").expect("is known");
    env.set("restart-strategy.fixed-delay.delay", "1 ms").expect("is known");
    env.enable_checkpointing(Duration::from_millis(20)).expect("is valid");
    let largest_lead = Arc::new(AtomicI64::new(0));
    let slow = Numbers {
        until: 150,
        at_once: 1,
        slow: true,
        fast: Arc::default(),
        largest_lead: largest_lead.clone(),
    };
    let fast = Numbers { at_once: AT_ONCE, slow: false, ..slow.clone() };
    let strategy = || {
        let strategy = WatermarkStrategy::for_monotonous_timestamps();
        match aligned {
            true => strategy.with_watermark_alignment(
                "pace",
                Duration::from_millis(MAX_DRIFT as u64),
                Duration::from_millis(1),
            ),
            false => strategy,
        }
    };
    let left = Arc::new(AtomicU32::new(failures));
    let fast = env.from_source_with(fast, strategy(), "fast");
    let both = env.from_source_with(slow, strategy(), "slow").union(fast);
    let seen = both
        .try_map(move |n| {
            let due = n % 40 == 39 && left.load(SeqCst) > 0;
            if due {
                left.fetch_sub(1, SeqCst);
                return Err(format!("{n} fails").into());
            }
            Ok(n)
        })
        .collect();
    env.execute("pace").expect("runs");
    assert!(seen.len() >= 300);
    largest_lead.load(SeqCst)
}

/// The fast source may read on until its watermark is beyond the limit, which lags behind by what was not yet told.
const LARGEST: i64 = MAX_DRIFT + 2 * AT_ONCE;

#[test]
fn a_fast_source_waits_for_a_slow_one() {
    let lead = run(true, 0);
    assert!((1..=LARGEST).contains(&lead), "{lead}");
    let lead = run(false, 0);
    assert!(lead > LARGEST, "without alignment it does not wait: {lead}");
}

#[test]
fn alignment_survives_restarts() {
    let lead = run(true, 3);
    assert!((1..=LARGEST).contains(&lead), "{lead}");
}
