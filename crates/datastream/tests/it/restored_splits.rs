//! Splits that had been begun hold back the watermark after a restore, also those that wait their turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use streamkeeper_datastream::{
    Collector, ProcessContext, ProcessFunction, Result, StreamExecutionEnvironment, WatermarkStrategy,
};

const SPLITS: u64 = 4;
const PER_SPLIT: u64 = 40_000;

/// Counts the records that come, and those that come late.
#[derive(Clone)]
struct Late {
    records: Arc<AtomicU64>,
    late: Arc<AtomicU64>,
}

impl ProcessFunction<u64> for Late {
    type Out = u64;

    fn process_element(
        &mut self,
        _: u64,
        context: &mut ProcessContext<'_>,
        _: &mut Collector<u64>,
    ) -> Result {
        self.records.fetch_add(1, Ordering::Relaxed);
        if context.timestamp().is_some_and(|time| time <= context.current_watermark()) {
            self.late.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Each split has the same event times. Behind a shuffle, so that nothing hides what the watermark says.
fn job(env: &StreamExecutionEnvironment, pause: Duration) -> Late {
    let late = Late { records: Arc::default(), late: Arc::default() };
    let times = WatermarkStrategy::for_monotonous_timestamps()
        .with_timestamp_assigner(|n: &u64, _| (n % PER_SPLIT) as i64);
    env.from_sequence(0, SPLITS * PER_SPLIT)
        .assign_timestamps_and_watermarks(times)
        .inspect(move |n| {
            if n % 1000 == 0 {
                std::thread::sleep(pause);
            }
        })
        .rebalance()
        .process(late.clone())
        .discard();
    late
}

/// Runs the job at parallelism 4 until it has checkpoints, and from there on at another.
fn restore_at(parallelism: &str) {
    let checkpoints = tempfile::tempdir().expect("a directory");
    let env = StreamExecutionEnvironment::new();
    env.set("execution.checkpointing.dir", &checkpoints.path().to_string_lossy()).expect("valid");
    env.set("parallelism.default", "4").expect("valid");
    env.enable_checkpointing(Duration::from_millis(20)).expect("valid");
    let late = job(&env, Duration::from_millis(10));
    let running = env.execute_async("before").expect("starts");
    while running.metrics().number_of_completed_checkpoints.get() < 2 {
        std::thread::sleep(Duration::from_millis(1));
    }
    running.cancel();
    running.wait().expect("is cancelled");
    assert_eq!(late.late.load(Ordering::Relaxed), 0);

    let env = StreamExecutionEnvironment::new();
    env.set("parallelism.default", parallelism).expect("valid");
    env.restore_from(checkpoints.path());
    let late = job(&env, Duration::ZERO);
    env.execute("after").expect("runs");
    let records = late.records.load(Ordering::Relaxed);
    assert!(records > 0 && records < SPLITS * PER_SPLIT, "it went on in the middle: {records}");
    assert_eq!(late.late.load(Ordering::Relaxed), 0, "at parallelism {parallelism}");
}

#[test]
fn a_restore_at_another_parallelism_makes_no_record_late() {
    ["1", "3"].into_iter().for_each(restore_at);
}
