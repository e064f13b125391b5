//! Async I/O: what is in flight at a barrier is called again.

use std::time::Duration;

use streamkeeper_datastream::{DataStream, Result};

use super::case::Case;
use super::ledger::Row;
use super::numbers::Number;

/// An answer that takes up to 3 ms, by the number.
async fn answer((key, n): Number) -> Result<[Row; 1]> {
    let delay = Duration::from_millis((key * 31 + n * 17) % 4);
    tokio::time::sleep(delay).await;
    Ok([(key, n * 2)])
}

fn expected(numbers: &[Number]) -> Vec<Row> {
    numbers.iter().map(|(key, n)| (*key, n * 2)).collect()
}

fn ordered(numbers: DataStream<Number>) -> DataStream<Row> {
    numbers.ordered_wait(answer, Duration::from_secs(60), 50).shared()
}

#[test]
fn ordered_async_calls() {
    Case::new(ordered, expected).at_one_parallelism().run();
}

#[test]
fn ordered_async_calls_at_other_parallelisms() {
    // Calls in flight are dealt out anew, and may then be overtaken.
    Case::new(ordered, expected).in_any_order().run();
}

#[test]
fn unordered_async_calls() {
    fn job(numbers: DataStream<Number>) -> DataStream<Row> {
        numbers.unordered_wait(answer, Duration::from_secs(60), 50).shared()
    }
    Case::new(job, expected).in_any_order().run();
}
