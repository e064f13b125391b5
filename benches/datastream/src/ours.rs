//! The jobs in the typed API.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use streamkeeper_dataflow::OperatorResult;
use streamkeeper_dataflow::batch::Records;
use streamkeeper_dataflow::element::CheckpointId;
use streamkeeper_dataflow::operator::OperatorContext;
use streamkeeper_dataflow::sink::{Committable, Sink, SinkWriter};
use streamkeeper_datastream::{AggregateFunction, StreamExecutionEnvironment};

use crate::jobs::{bid, lines};

/// Sums one number of each record, so that nothing is optimised away.
struct Sum<F>(F, Arc<AtomicU64>);

struct SumWriter<F>(F, Arc<AtomicU64>);

impl<T: 'static, F: Fn(&T) -> u64 + Copy + Send + Sync + 'static> Sink<Records<T>> for Sum<F> {
    fn writer(&self, _: &OperatorContext) -> OperatorResult<Box<dyn SinkWriter<Records<T>>>> {
        Ok(Box::new(SumWriter(self.0, self.1.clone())))
    }
}

impl<T, F: Fn(&T) -> u64> SinkWriter<Records<T>> for SumWriter<F> {
    fn write(&mut self, batch: Records<T>) -> OperatorResult<()> {
        let sum = batch.values.iter().fold(0u64, |sum, value| sum.wrapping_add((self.0)(value)));
        self.1.fetch_add(sum, Ordering::Relaxed);
        Ok(())
    }

    fn prepare_commit(&mut self, _: CheckpointId) -> OperatorResult<Vec<Committable>> {
        Ok(Vec::new())
    }
}

/// How many records there were for a key.
#[derive(Clone)]
struct Count;

impl AggregateFunction for Count {
    type In = u64;
    type Accumulator = u64;
    type Out = u64;

    fn create_accumulator(&self) -> u64 {
        0
    }

    fn add(&self, _: u64, count: &mut u64) {
        *count += 1;
    }

    fn result(&self, count: &u64) -> u64 {
        *count
    }

    fn merge(&self, a: u64, b: u64) -> u64 {
        a + b
    }
}

pub fn run(job: &str, parallelism: usize, records: u64) -> u64 {
    let env = StreamExecutionEnvironment::new();
    env.set("parallelism.default", &parallelism.to_string()).expect("a parallelism");
    let checkpoints = std::env::temp_dir().join(format!("datastream-bench-{}", std::process::id()));
    env.set("execution.checkpointing.dir", &checkpoints.to_string_lossy()).expect("a directory");
    env.enable_checkpointing(Duration::from_secs(10)).expect("an interval");
    let sum = Arc::new(AtomicU64::new(0));
    let numbers = env.from_sequence(0, records);
    match job {
        "map-filter" => {
            numbers.map(|n| n * 3 + 1).filter(|n| n & 7 != 0).sink_to(Sum(|n: &u64| *n, sum.clone()));
        }
        "word-count" => {
            let lines = Arc::new(lines());
            numbers
                .map(move |n| lines[n as usize % lines.len()].clone())
                .flat_map_with(|line, out| {
                    line.split(' ').for_each(|word| out.collect((word.to_owned(), 1u64)))
                })
                .key_by_ref(|(word, _)| word.as_str())
                .reduce(|(word, a), (_, b)| (word, a + b))
                .sink_to(Sum(|(_, n): &(String, u64)| *n, sum.clone()));
        }
        "bid-count" => {
            numbers
                .map(bid)
                .map(|bid| bid.auction)
                .key_by(|auction| *auction)
                .aggregate(Count)
                .sink_to(Sum(|(_, n): &(u64, u64)| *n, sum.clone()));
        }
        other => panic!("there is no job {other}"),
    }
    env.execute(job).expect("the job runs");
    // The directory is only there to be written to.
    let _ = std::fs::remove_dir_all(checkpoints);
    sum.load(Ordering::Relaxed)
}
