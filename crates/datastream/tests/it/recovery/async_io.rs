//! Calls to the outside.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use streamkeeper_datastream::{AsyncDataStream, AsyncFunction, AsyncRetryStrategy, DataStream, Result};

use super::case::Case;
use super::ledger::Row;
use super::numbers::Number;

const TIMEOUT: Duration = Duration::from_secs(60);

/// Doubles numbers, some later than others; every seventh call fails.
#[derive(Clone)]
struct Service {
    calls: Arc<AtomicU64>,
}

impl AsyncFunction<Number> for Service {
    type Out = Row;

    async fn async_invoke(&self, (key, n): Number) -> Result<Vec<Row>> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_micros(300 * (call % 4))).await;
        if call % 7 == 6 {
            return Err("the service is busy".into());
        }
        Ok(vec![(key, n), (key, n)])
    }
}

fn service() -> Service {
    Service { calls: Arc::default() }
}

fn retry() -> AsyncRetryStrategy<Row> {
    AsyncRetryStrategy::fixed_delay(20, Duration::from_millis(1)).if_exception(|error| {
        assert_eq!(error.to_string(), "the service is busy");
        true
    })
}

fn twice(numbers: &[Number]) -> Vec<Row> {
    numbers.iter().flat_map(|number| [*number; 2]).collect()
}

#[test]
fn calls_whose_results_leave_as_they_come() {
    fn job(numbers: DataStream<Number>) -> DataStream<Row> {
        AsyncDataStream::unordered_wait_with_retry(numbers, service(), TIMEOUT, 8, retry()).shared()
    }
    Case::new(job, twice).in_any_order().run();
}

#[test]
fn calls_whose_results_leave_in_order() {
    fn job(numbers: DataStream<Number>) -> DataStream<Row> {
        let results = AsyncDataStream::ordered_wait_with_retry(numbers, service(), TIMEOUT, 30, retry());
        // Between subtasks there is no order when the parallelism changes.
        results.set_parallelism(1).shared()
    }
    Case::new(job, twice).run();
}

#[test]
fn calls_whose_results_leave_in_order_of_each_subtask() {
    fn job(numbers: DataStream<Number>) -> DataStream<Row> {
        AsyncDataStream::ordered_wait_with_retry(numbers, service(), TIMEOUT, 30, retry()).shared()
    }
    Case::new(job, twice).at_one_parallelism().run();
}

#[test]
fn calls_behind_each_other() {
    fn job(numbers: DataStream<Number>) -> DataStream<Row> {
        numbers
            .unordered_wait(|number| async move { Ok(Some(number)) }, TIMEOUT, 1)
            .map(|(key, n)| (key, n + 1))
            .ordered_wait(|(key, n)| async move { Ok([(key, n - 1); 2]) }, TIMEOUT, 100)
            .shared()
    }
    Case::new(job, twice).in_any_order().run();
}
