//! Async calls: a service that answers when the test says so, and a clock that stands still until the test moves it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use streamkeeper_dataflow::batch::Records;
use streamkeeper_datastream::{
    AsyncDataStream, AsyncFn, AsyncFunction, AsyncRetryStrategy, DataStream, HarnessOutput, HarnessSnapshot,
    OperatorHarness, Result, StreamExecutionEnvironment,
};
use tokio::sync::Notify;

use HarnessOutput::{Record, Watermark};

const TIMEOUT: Duration = Duration::from_millis(100);
const NEVER: Duration = Duration::ZERO;
/// Longer than any healthy wait of these tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a call is to result in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// The number, this many times.
    Times(usize),
    Error,
    Panic,
}

#[derive(Default)]
struct Calls {
    /// Each attempt that began, by number.
    begun: BTreeMap<u64, usize>,
    running: BTreeSet<u64>,
    most: usize,
    answers: BTreeMap<u64, Answer>,
}

/// Answers a number when it was told how.
#[derive(Clone, Default)]
struct Service {
    calls: Arc<Mutex<Calls>>,
    changed: Arc<Notify>,
    /// What a number that timed out results in; `None`: the task fails.
    instead: Option<u64>,
}

/// A call; dropped when it is given up.
struct Running(Service, u64);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.calls().running.remove(&self.1);
        self.0.changed.notify_waiters();
    }
}

impl Service {
    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers one call for this number, now or when it comes.
    fn answer(&self, n: u64, answer: Answer) {
        self.calls().answers.insert(n, answer);
        self.changed.notify_waiters();
    }

    fn begun(&self, n: u64) -> usize {
        self.calls().begun.get(&n).copied().unwrap_or(0)
    }

    fn running(&self) -> Vec<u64> {
        self.calls().running.iter().copied().collect()
    }
}

impl AsyncFunction<u64> for Service {
    type Out = u64;

    async fn async_invoke(&self, n: u64) -> Result<Vec<u64>> {
        {
            let mut calls = self.calls();
            *calls.begun.entry(n).or_default() += 1;
            calls.running.insert(n);
            calls.most = calls.most.max(calls.running.len());
        }
        let _running = Running(self.clone(), n);
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let answer = self.calls().answers.remove(&n);
            match answer {
                Some(Answer::Times(times)) => return Ok(vec![n; times]),
                Some(Answer::Error) => return Err(format!("no answer for {n}").into()),
                Some(Answer::Panic) => panic!("cannot answer {n}"),
                None => changed.await,
            }
        }
    }

    fn timeout(&self, n: u64) -> Result<Vec<u64>> {
        match self.instead {
            Some(instead) => Ok(vec![instead + n]),
            None => Err(format!("{n} timed out").into()),
        }
    }
}

type Harness = OperatorHarness<Records<u64>, u64>;

fn ordered(service: &Service, timeout: Duration, capacity: usize) -> Harness {
    OperatorHarness::new(|numbers| AsyncDataStream::ordered_wait(numbers, service.clone(), timeout, capacity))
        .expect("one task")
}

fn unordered(service: &Service, timeout: Duration, capacity: usize) -> Harness {
    OperatorHarness::new(|numbers| {
        AsyncDataStream::unordered_wait(numbers, service.clone(), timeout, capacity)
    })
    .expect("one task")
}

/// Takes results, at the clock's time, until `enough` of what came out.
fn take_until(
    harness: &mut Harness,
    enough: impl Fn(&[HarnessOutput<u64>]) -> bool,
) -> Vec<HarnessOutput<u64>> {
    let mut output = Vec::new();
    let deadline = std::time::Instant::now() + PATIENCE;
    while !enough(&output) {
        assert!(std::time::Instant::now() < deadline, "nothing but {output:?} came out");
        harness.set_processing_time(harness.processing_time()).expect("goes on");
        output.extend(harness.take_output());
        std::thread::yield_now();
    }
    output
}

/// Waits until another thread has done something.
fn until(mut done: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !done() {
        assert!(std::time::Instant::now() < deadline, "it does not come to pass");
        std::thread::yield_now();
    }
}

/// Lets the harness run at its clock's time until it fails; says why.
fn failure(harness: &mut Harness) -> String {
    let mut error = None;
    until(|| {
        error = harness.set_processing_time(harness.processing_time()).err();
        error.is_some()
    });
    error.map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn unordered_results_leave_as_they_come_but_pass_no_watermark() {
    let service = Service::default();
    let mut harness = unordered(&service, NEVER, 10);
    harness.watermark(0).expect("goes on");
    harness.push_all([(1, 10), (2, 20)]).expect("goes on");
    harness.watermark(25).expect("goes on");
    harness.push_all([(3, 30)]).expect("goes on");
    harness.watermark(35).expect("goes on");
    service.answer(3, Answer::Times(1));
    service.answer(2, Answer::Times(2));
    let output = take_until(&mut harness, |output| output.len() >= 3);
    assert_eq!(output, [Watermark(0), Record(2, 20), Record(2, 20)]);
    assert!(!harness.snapshot().expect("a snapshot").is_empty());
    service.answer(1, Answer::Times(0));
    harness.drain(PATIENCE).expect("drains");
    assert_eq!(harness.take_output(), [Watermark(25), Record(3, 30), Watermark(35)]);
    harness.watermark(40).expect("goes on");
    assert_eq!(harness.take_output(), [Watermark(40)]);
    assert!(harness.snapshot().expect("a snapshot").is_empty());
}

#[test]
fn ordered_results_wait_for_those_before_them() {
    let service = Service::default();
    let mut harness = ordered(&service, NEVER, 10);
    harness.push_all([(1, 10), (2, 20), (3, 30)]).expect("goes on");
    harness.watermark(30).expect("goes on");
    for n in [3, 2] {
        service.answer(n, Answer::Times(1));
    }
    until(|| service.running() == [1]);
    harness.set_processing_time(1).expect("goes on");
    assert_eq!(harness.take_output(), []);
    service.answer(1, Answer::Times(1));
    harness.drain(PATIENCE).expect("drains");
    assert_eq!(harness.take_output(), [Record(1, 10), Record(2, 20), Record(3, 30), Watermark(30)]);
}

#[test]
fn no_more_calls_run_than_there_is_capacity_for() {
    let service = Service::default();
    let mut harness = unordered(&service, NEVER, 3);
    harness.push_all((0..100).map(|n| (n, n as i64))).expect("a batch larger than the capacity");
    assert!(!harness.wants_input());
    until(|| service.running() == [0, 1, 2]);
    (0..97).for_each(|n| service.answer(n, Answer::Times(1)));
    take_until(&mut harness, |output| output.len() == 97);
    assert!(!harness.wants_input(), "three are still in flight");
    service.answer(97, Answer::Times(1));
    take_until(&mut harness, |output| output.len() == 1);
    assert!(harness.wants_input());
    (98..100).for_each(|n| service.answer(n, Answer::Times(1)));
    harness.drain(PATIENCE).expect("drains");
    assert_eq!((service.calls().most, harness.take_output().len()), (3, 2));
}

#[test]
fn a_call_that_takes_too_long_fails_the_task_or_is_replaced() {
    let service = Service::default();
    let mut harness = ordered(&service, TIMEOUT, 10);
    harness.push(1, 10).expect("goes on");
    until(|| service.running() == [1]);
    harness.set_processing_time(99).expect("still in time");
    let error = harness.set_processing_time(100).expect_err("too late").to_string();
    assert!(error.contains("1 timed out"), "{error}");
    until(|| service.running().is_empty());

    let service = Service { instead: Some(1000), ..Service::default() };
    let mut harness = ordered(&service, TIMEOUT, 1);
    harness.push_all([(1, 10), (2, 20)]).expect("goes on");
    harness.set_processing_time(100).expect("the first is replaced, and the second begins");
    assert_eq!(harness.take_output(), [Record(1001, 10)]);
    harness.set_processing_time(199).expect("still in time");
    service.answer(1, Answer::Times(1));
    service.answer(2, Answer::Times(1));
    harness.drain(PATIENCE).expect("drains");
    assert_eq!(harness.take_output(), [Record(2, 20)], "an answer after the timeout is not used");

    let mut harness = OperatorHarness::new(|numbers: DataStream<u64>| {
        numbers.unordered_wait(|_| std::future::pending::<Result<Vec<u64>>>(), TIMEOUT, 1)
    })
    .expect("one task");
    harness.push(1, 10).expect("goes on");
    let error = harness.set_processing_time(100).expect_err("too late").to_string();
    assert!(error.contains("Async function call has timed out."), "{error}");
}

fn with_retry(service: &Service, timeout: Duration, retry: AsyncRetryStrategy<u64>) -> Harness {
    OperatorHarness::new(|numbers| {
        AsyncDataStream::unordered_wait_with_retry(numbers, service.clone(), timeout, 10, retry)
    })
    .expect("one task")
}

#[test]
fn a_call_is_repeated_after_its_delay_until_it_is_the_last_time() {
    let service = Service::default();
    let seconds = Duration::from_secs;
    let retry = AsyncRetryStrategy::exponential_backoff(3, seconds(10), seconds(25), 2.0);
    let mut harness = with_retry(&service, NEVER, retry.if_result(<[u64]>::is_empty));
    harness.push(1, 10).expect("goes on");
    // The delays are 10, 20 and 25 seconds; each counts from the answer on.
    for (attempt, answer, next) in [(1, Answer::Error, 10), (2, Answer::Times(0), 30), (3, Answer::Error, 55)]
    {
        service.answer(1, answer);
        until(|| service.begun(1) == attempt && service.running().is_empty());
        // The answer is taken at some step; the clock stands still meanwhile.
        until(|| {
            harness.set_processing_time(harness.processing_time()).expect("goes on");
            harness.next_processing_time() == Some(next * 1000)
        });
        harness.set_processing_time(next * 1000 - 1).expect("goes on");
        assert_eq!(service.begun(1), attempt);
        harness.set_processing_time(next * 1000).expect("goes on");
        until(|| service.begun(1) == attempt + 1);
    }
    assert_eq!(harness.take_output(), []);
    service.answer(1, Answer::Error);
    assert!(failure(&mut harness).contains("no answer for 1"));
}

#[test]
fn only_what_the_predicates_name_is_repeated_and_the_timeout_holds_for_all_attempts() {
    let service = Service::default();
    let retry = AsyncRetryStrategy::fixed_delay(9, Duration::from_millis(60))
        .if_exception(|error| error.to_string().contains("for 1"));
    let mut harness = with_retry(&service, TIMEOUT, retry.clone());
    harness.push(2, 10).expect("goes on");
    service.answer(2, Answer::Error);
    assert!(failure(&mut harness).contains("no answer for 2"));

    let mut harness = with_retry(&service, TIMEOUT, retry);
    harness.push(1, 10).expect("goes on");
    service.answer(1, Answer::Error);
    until(|| {
        harness.set_processing_time(harness.processing_time()).expect("goes on");
        harness.next_processing_time() == Some(60)
    });
    harness.set_processing_time(60).expect("the second attempt");
    until(|| service.running() == [1]);
    let error = harness.set_processing_time(100).expect_err("too late").to_string();
    assert!(error.contains("1 timed out"), "{error}");
}

#[test]
fn what_is_in_flight_is_called_again_after_a_restore() {
    let service = Service::default();
    let first = ordered(&service, NEVER, 2);
    let mut parts: Vec<Harness> = (0..2).map(|subtask| first.subtask(subtask, 2).expect("opens")).collect();
    parts[0].push_all([(1, 10), (2, 20), (3, 30)]).expect("goes on");
    parts[1].push_all([(11, 10), (12, 20)]).expect("goes on");
    service.answer(1, Answer::Times(1));
    take_until(&mut parts[0], |output| output == [Record(1, 10)]);
    // Has an answer, but must wait for the one before it.
    service.answer(12, Answer::Times(1));
    until(|| service.running() == [2, 3, 11]);
    let snapshots = parts.iter_mut().rev().map(|part| part.snapshot().expect("a snapshot"));
    let snapshot = HarnessSnapshot::merge(snapshots.collect::<Vec<_>>());
    drop(parts);
    until(|| service.running().is_empty());

    let expected = [vec![Record(2, 20), Record(3, 30)], vec![Record(11, 10), Record(12, 20)]];
    for parallelism in [1, 2, 4] {
        let mut seen = Vec::new();
        for subtask in 0..parallelism {
            let mut restored = first.restore(&snapshot, subtask, parallelism).expect("restores");
            [2, 3, 11, 12].into_iter().for_each(|n| service.answer(n, Answer::Times(1)));
            restored.drain(PATIENCE).expect("drains");
            seen.push(restored.take_output());
            service.calls().answers.clear();
        }
        if parallelism == 2 {
            assert_eq!(seen, expected, "each subtask goes on with its own");
        }
        assert_eq!(seen.concat(), expected.concat(), "at parallelism {parallelism}");
    }
}

#[test]
fn an_error_or_a_panic_of_a_call_fails_the_task() {
    for (answer, text) in
        [(Answer::Error, "no answer for 7"), (Answer::Panic, "the async function panicked: cannot answer 7")]
    {
        let service = Service::default();
        let mut harness = unordered(&service, TIMEOUT, 10);
        harness.push_all([(6, 1), (7, 1)]).expect("goes on");
        service.answer(7, answer);
        let error = failure(&mut harness);
        assert!(error.contains(text), "{error}");
        drop(harness);
        until(|| service.running().is_empty());
    }
}

#[test]
fn idleness_waits_for_what_is_in_flight() {
    let service = Service::default();
    let mut harness = ordered(&service, NEVER, 10);
    harness.push(1, 10).expect("goes on");
    harness.watermark(10).expect("goes on");
    harness.idle(true);
    harness.idle(false);
    harness.idle(true);
    assert_eq!(harness.take_output(), []);
    service.answer(1, Answer::Times(1));
    let output = take_until(&mut harness, |output| output.contains(&HarnessOutput::Idle));
    assert_eq!(output, [Record(1, 10), Watermark(10), HarnessOutput::Idle]);
    harness.idle(false);
    harness.idle(true);
    assert_eq!(harness.take_output(), [HarnessOutput::Active, HarnessOutput::Idle]);
}

#[test]
fn the_end_of_the_input_waits_for_all_calls() {
    for parallelism in [1, 3] {
        let env = StreamExecutionEnvironment::new();
        env.set_parallelism(parallelism);
        let numbers = env.from_collection(0..3000u64).shared();
        let slow = |n: u64| async move {
            if n.is_multiple_of(100) {
                tokio::time::sleep(Duration::from_millis(n % 7)).await;
            } else if n.is_multiple_of(3) {
                tokio::task::yield_now().await;
            }
            Ok(Some(n))
        };
        let in_order = numbers.clone().ordered_wait(slow, PATIENCE, 50).collect();
        let any = AsyncDataStream::unordered_wait(numbers.rebalance(), AsyncFn(slow), PATIENCE, 7).map(|n| n);
        let any = any.name("after").collect();
        env.execute("calls").expect("runs");
        assert_eq!(in_order.take(), (0..3000).collect::<Vec<_>>());
        let mut any = any.take();
        any.sort_unstable();
        assert_eq!(any, (0..3000).collect::<Vec<_>>());
    }
}

#[test]
fn a_panic_names_the_operator() {
    let env = StreamExecutionEnvironment::new();
    let numbers = env.from_collection(0..10u64);
    let divide = |n: u64| async move { Ok([10 / (5 - n.min(5))]) };
    numbers.unordered_wait(divide, PATIENCE, 4).name("divide").discard();
    let error = env.execute("panics").expect_err("fails").to_string();
    assert!(error.starts_with("job panics: divide -> Discard (subtask 0"), "{error}");
    assert!(error.contains("the async function panicked: attempt to divide by zero"), "{error}");
}

#[test]
fn without_capacity_there_is_no_job() {
    let env = StreamExecutionEnvironment::new();
    env.from_collection(0..10u64).ordered_wait(|n| async move { Ok(Some(n)) }, PATIENCE, 0).discard();
    let error = env.execute("none").expect_err("refused").to_string();
    assert_eq!(error, "async calls need a capacity of at least 1, but it is 0");
}
