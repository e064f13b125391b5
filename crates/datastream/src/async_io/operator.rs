//! Async I/O at work in one subtask: starts calls, takes their results, repeats or gives up, and keeps what is in flight in the
//! checkpoint.
//!
//! Invariants: at most `capacity` records are in flight; a batch's surplus waits, and no further input is read until it has
//! been started. Calls are started in the order of their records, so the oldest one in flight has the earliest deadline.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use streamkeeper_dataflow::channel::Signal;
use streamkeeper_dataflow::element::CheckpointId;
use streamkeeper_dataflow::operator::OperatorContext;
use streamkeeper_dataflow::state::SnapshotFn;
use streamkeeper_dataflow::time::{Clock, MIN_WATERMARK, SystemClock, Timestamp};
use streamkeeper_dataflow::{OperatorError, OperatorResult};

use super::function::AsyncFunction;
use super::queue::{OutputMode, Queue, Ready};
use super::retry::AsyncRetryStrategy;
use super::runtime::{Call, runtime};
use crate::Data;
use crate::chain::{Logic, Push, Stage};
use crate::error::{Result, operator_error};
use crate::process::TaskInfo;
use crate::state::fingerprint;

/// The stage of an [`AsyncFunction`].
pub struct AsyncWait<F, O> {
    function: F,
    mode: OutputMode,
    timeout_ms: Option<i64>,
    pub(super) capacity: usize,
    retry: AsyncRetryStrategy<O>,
}

impl<F, O> AsyncWait<F, O> {
    pub(super) fn new(
        function: F,
        mode: OutputMode,
        timeout: Duration,
        capacity: usize,
        retry: AsyncRetryStrategy<O>,
    ) -> Self {
        let timeout_ms = (!timeout.is_zero()).then(|| millis(timeout));
        Self { function, mode, timeout_ms, capacity, retry }
    }
}

/// Rounded up: a short time is not none.
fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX)
}

impl<F: Clone, O> Clone for AsyncWait<F, O> {
    fn clone(&self) -> Self {
        Self { function: self.function.clone(), retry: self.retry.clone(), ..*self }
    }
}

/// What came of a call; the error says what it said when it panicked.
type Outcome<O> = std::result::Result<Result<Vec<O>>, String>;

/// Where calls leave what came of them: record and outcome. A record is not called again before its outcome was taken, so there
/// is at most one of each.
struct Inbox<O> {
    outcomes: Mutex<Vec<(u64, Outcome<O>)>>,
    filled: AtomicBool,
    waker: Arc<Signal>,
}

impl<O> Inbox<O> {
    fn new(waker: Arc<Signal>) -> Arc<Self> {
        Arc::new(Self { outcomes: Mutex::default(), filled: AtomicBool::new(false), waker })
    }

    fn put(&self, number: u64, outcome: Outcome<O>) {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner).push((number, outcome));
        self.filled.store(true, Ordering::Release);
        self.waker.notify();
    }

    fn take(&self) -> Vec<(u64, Outcome<O>)> {
        self.filled.store(false, Ordering::Release);
        std::mem::take(&mut *self.outcomes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A record whose result has not come.
struct InFlight {
    /// How often it was called, from 1.
    attempt: u32,
    deadline: Option<Timestamp>,
    /// `None` while it waits to be called again.
    call: Option<Call>,
}

/// An [`AsyncFunction`] at work.
pub struct AsyncLogic<I, F: AsyncFunction<I>> {
    stage: AsyncWait<F, F::Out>,
    function: Arc<F>,
    clock: Arc<dyn Clock>,
    subtask: (usize, usize),
    inbox: Arc<Inbox<F::Out>>,
    queue: Queue<I, F::Out>,
    /// Records of the queue for which there was no room yet.
    waiting: VecDeque<u64>,
    in_flight: BTreeMap<u64, InFlight>,
    /// When to call a record again. What is no longer in flight may still be here.
    retries: BTreeSet<(Timestamp, u64)>,
    /// What came before it has left: it can go on.
    due_watermark: Option<Timestamp>,
    /// The last one that went on.
    watermark: Timestamp,
    /// The input is idle; those that follow are told when nothing is in flight that the watermark must not pass.
    held_idle: bool,
}

impl<I: Data, F: AsyncFunction<I>> Stage<I> for AsyncWait<F, F::Out> {
    type Out = F::Out;
    type Logic = AsyncLogic<I, F>;

    fn logic(&self) -> Self::Logic {
        AsyncLogic {
            stage: self.clone(),
            function: Arc::new(self.function.clone()),
            clock: Arc::new(SystemClock),
            subtask: (0, 1),
            inbox: Inbox::new(Arc::default()),
            queue: Queue::new(self.mode),
            waiting: VecDeque::new(),
            in_flight: BTreeMap::new(),
            retries: BTreeSet::new(),
            due_watermark: None,
            watermark: MIN_WATERMARK,
            held_idle: false,
        }
    }
}

const STATE: &str = "$async-wait";

/// The records in flight in subtask `.0` of `.1`, with their event times.
type InFlightState<I> = (u32, u32, Vec<(I, Timestamp)>);

fn shape<I: Data>() -> String {
    format!("in flight: {}", fingerprint::<I>())
}

impl<I: Data, F: AsyncFunction<I>> AsyncLogic<I, F> {
    /// Takes back what was in flight. A subtask continues what it began; when there were more or fewer, neighbours go together, so
    /// that records stay with their key groups where they can.
    fn restore(&mut self, context: &OperatorContext) -> OperatorResult<()> {
        let (subtask, parallelism) = self.subtask;
        let mut mine: Vec<InFlightState<I>> = Vec::new();
        for item in context.restored.union(STATE, &shape::<I>())? {
            let state: InFlightState<I> = postcard::from_bytes(item).map_err(|e| {
                OperatorError::fatal(format!("the records in flight in the checkpoint are damaged: {e}"))
            })?;
            if state.0 as usize * parallelism / (state.1 as usize).max(1) == subtask {
                mine.push(state);
            }
        }
        mine.sort_by_key(|(subtask, ..)| *subtask);
        for (value, timestamp) in mine.into_iter().flat_map(|(.., records)| records) {
            self.waiting.push_back(self.queue.push(value, timestamp));
        }
        self.start_waiting()
    }

    fn start_waiting(&mut self) -> OperatorResult<()> {
        while self.queue.len() - self.waiting.len() < self.stage.capacity
            && let Some(number) = self.waiting.pop_front()
        {
            let deadline = self.stage.timeout_ms.map(|ms| self.clock.now_ms().saturating_add(ms));
            self.in_flight.insert(number, InFlight { attempt: 0, deadline, call: None });
            self.call(number)?;
        }
        Ok(())
    }

    /// Calls the function for a record, once more.
    fn call(&mut self, number: u64) -> OperatorResult<()> {
        let (Some(record), Some(value)) = (self.in_flight.get_mut(&number), self.queue.record(number)) else {
            return Ok(());
        };
        record.attempt += 1;
        let (function, inbox, value) = (self.function.clone(), self.inbox.clone(), value.clone());
        let call = async move { function.async_invoke(value).await };
        record.call = Some(Call::start(call, move |outcome| inbox.put(number, outcome))?);
        Ok(())
    }

    fn settle(&mut self, number: u64, outcome: Outcome<F::Out>) -> OperatorResult<()> {
        // What has timed out meanwhile has its results already.
        let Some(record) = self.in_flight.get_mut(&number) else { return Ok(()) };
        let result = outcome
            .map_err(|panic| OperatorError::recoverable(format!("the async function panicked: {panic}")))?;
        let wants_retry = self.stage.retry.wants(match &result {
            Ok(results) => Ok(results),
            Err(error) => Err(error.as_ref()),
        });
        if wants_retry && let Some(delay) = self.stage.retry.delay(record.attempt) {
            record.call = None;
            self.retries.insert((self.clock.now_ms().saturating_add(millis(delay)), number));
            return Ok(());
        }
        self.in_flight.remove(&number);
        self.queue.complete(number, result.map_err(operator_error)?);
        Ok(())
    }

    /// Gives up the records that have taken too long.
    fn time_out(&mut self, now_ms: Timestamp) -> OperatorResult<()> {
        while let Some(first) = self.in_flight.first_entry()
            && first.get().deadline.is_some_and(|deadline| deadline <= now_ms)
        {
            let number = *first.key();
            first.remove();
            if let Some(value) = self.queue.record(number) {
                let results = self.function.timeout(value.clone()).map_err(operator_error)?;
                self.queue.complete(number, results);
            }
        }
        Ok(())
    }

    /// Passes on what can leave, up to the next watermark.
    fn emit<N: Push<F::Out>>(&mut self, next: &mut N) -> OperatorResult<()> {
        while self.due_watermark.is_none() {
            match self.queue.pop() {
                Some(Ready::Results(results, timestamp)) => {
                    results.into_iter().try_for_each(|result| next.push(result, timestamp))?;
                }
                Some(Ready::Watermark(watermark)) => self.due_watermark = Some(watermark),
                None => break,
            }
        }
        Ok(())
    }
}

impl<I: Data, F: AsyncFunction<I>> Logic<I> for AsyncLogic<I, F> {
    type Out = F::Out;

    fn open(&mut self, context: &OperatorContext) -> OperatorResult<()> {
        self.clock = context.clock.clone();
        self.subtask = (context.subtask, context.parallelism);
        self.inbox = Inbox::new(context.waker.clone());
        let mut function = self.stage.function.clone();
        let _within = runtime()?.enter();
        function.open(&TaskInfo::new(context)).map_err(operator_error)?;
        self.function = Arc::new(function);
        self.restore(context)
    }

    fn element<N: Push<F::Out>>(&mut self, value: I, timestamp: Timestamp, _: &mut N) -> OperatorResult<()> {
        self.waiting.push_back(self.queue.push(value, timestamp));
        self.start_waiting()
    }

    fn watermark<N: Push<F::Out>>(&mut self, watermark: Timestamp, _: &mut N) -> OperatorResult<Timestamp> {
        let held = self.queue.watermark(watermark);
        if !held {
            match &mut self.due_watermark {
                Some(due) => *due = watermark.max(*due),
                None => self.watermark = watermark,
            }
        }
        Ok(self.watermark)
    }

    fn next_processing_time(&self) -> Option<Timestamp> {
        let idle = self.held_idle && self.is_drained();
        if idle || self.queue.is_ready() || self.inbox.filled.load(Ordering::Acquire) {
            return Some(Timestamp::MIN);
        }
        let deadline = self.in_flight.first_key_value().and_then(|(_, record)| record.deadline);
        deadline.into_iter().chain(self.retries.first().map(|(due, _)| *due)).min()
    }

    fn processing_time<N: Push<F::Out>>(&mut self, now_ms: Timestamp, next: &mut N) -> OperatorResult<()> {
        for (number, outcome) in self.inbox.take() {
            self.settle(number, outcome)?;
        }
        self.time_out(now_ms)?;
        while let Some((due, number)) = self.retries.first().copied()
            && due <= now_ms
        {
            self.retries.remove(&(due, number));
            self.call(number)?;
        }
        self.emit(next)?;
        self.start_waiting()
    }

    fn take_watermark(&mut self) -> Option<Timestamp> {
        let due = self.due_watermark.take()?;
        self.watermark = due;
        Some(due)
    }

    fn on_idle(&mut self, idle: bool) -> Option<bool> {
        if idle && !self.is_drained() {
            self.held_idle = true;
            return None;
        }
        // Active again before the others were told: nothing has changed for them.
        let untold = std::mem::take(&mut self.held_idle);
        (!untold).then_some(idle)
    }

    fn take_idle(&mut self) -> Option<bool> {
        let due = self.held_idle && self.is_drained();
        self.held_idle &= !due;
        due.then_some(true)
    }

    fn wants_input(&self) -> bool {
        self.queue.len() < self.stage.capacity
    }

    fn is_drained(&self) -> bool {
        self.queue.is_empty() && self.due_watermark.is_none()
    }

    fn snapshot(&mut self, _: CheckpointId) -> OperatorResult<Option<SnapshotFn>> {
        let records: Vec<(I, Timestamp)> =
            self.queue.records().map(|(value, timestamp)| (value.clone(), timestamp)).collect();
        if records.is_empty() {
            return Ok(None);
        }
        let state: InFlightState<I> = (self.subtask.0 as u32, self.subtask.1 as u32, records);
        Ok(Some(Box::new(move |writer| {
            let bytes = postcard::to_allocvec(&state)
                .map_err(|e| OperatorError::fatal(format!("cannot encode the records in flight: {e}")))?;
            writer.union(STATE, &shape::<I>(), bytes);
            Ok(())
        })))
    }
}
