//! Event times and watermarks: in the middle of a job by a harness, at a source by a job.

use std::time::Duration;

use streamkeeper_datastream::{
    Collector, HarnessOutput, HarnessSnapshot, OperatorHarness, ProcessContext, ProcessFunction, Result,
    StreamExecutionEnvironment, WatermarkGenerator, WatermarkOutput, WatermarkStrategy,
};

use HarnessOutput::{Active, Idle, Record, Watermark};

const MAX: i64 = i64::MAX;

fn seconds()
-> WatermarkStrategy<i64, impl WatermarkGenerator<i64>, impl Fn(&i64, i64) -> i64 + Clone + Send + Sync> {
    WatermarkStrategy::for_bounded_out_of_orderness(Duration::from_secs(2))
        .with_timestamp_assigner(|second: &i64, _| second * 1_000)
}

#[test]
fn an_operator_assigns_event_times_and_ignores_watermarks_but_the_last() {
    let mut harness =
        OperatorHarness::new(|stream| stream.assign_timestamps_and_watermarks(seconds())).expect("opens");
    harness.push(10, 77).expect("runs");
    harness.watermark(9_500).expect("runs");
    harness.idle(true);
    harness.push_all([(9, 0), (12, 0), (11, 0)]).expect("runs");
    harness.push(10, 0).expect("runs");
    harness.finish().expect("runs");
    let expected = [
        Record(10, 10_000),
        Watermark(7_999),
        Record(9, 9_000),
        Record(12, 12_000),
        Record(11, 11_000),
        Watermark(9_999),
        Record(10, 10_000),
        Watermark(MAX),
    ];
    assert_eq!(harness.take_output(), expected);
}

#[test]
fn an_operator_without_records_is_idle_until_it_has_one() {
    let strategy = seconds().with_idleness(Duration::from_secs(5));
    let mut harness =
        OperatorHarness::new(|stream| stream.map(|n: i64| n).assign_timestamps_and_watermarks(strategy))
            .expect("opens");
    harness.set_processing_time(4_999).expect("runs");
    harness.push(10, 0).expect("runs");
    harness.set_processing_time(9_998).expect("runs");
    assert_eq!(harness.take_output(), [Record(10, 10_000), Watermark(7_999)]);
    harness.set_processing_time(9_999).expect("runs");
    harness.set_processing_time(50_000).expect("runs");
    harness.idle(true);
    harness.idle(false);
    assert_eq!(harness.take_output(), [Idle]);
    harness.push(11, 0).expect("runs");
    assert_eq!(harness.take_output(), [Record(11, 11_000), Active, Watermark(8_999)]);
}

#[test]
fn an_operators_watermark_goes_on_from_a_checkpoint_at_any_parallelism() {
    let first =
        OperatorHarness::new(|stream| stream.assign_timestamps_and_watermarks(seconds())).expect("opens");
    let mut subtasks = [first.subtask(0, 2).expect("opens"), first.subtask(1, 2).expect("opens")];
    subtasks[0].push(100, 0).expect("runs");
    subtasks[1].push(50, 0).expect("runs");
    let snapshot =
        HarnessSnapshot::merge(subtasks.iter_mut().map(|subtask| subtask.snapshot().expect("snapshots")));
    let watermark_after = |subtask, parallelism| {
        let mut restored = first.restore(&snapshot, subtask, parallelism).expect("restores");
        restored.push(1, 0).expect("runs");
        restored.output_watermark()
    };
    assert_eq!((watermark_after(0, 2), watermark_after(1, 2)), (97_999, 47_999));
    assert_eq!((watermark_after(0, 1), watermark_after(2, 3)), (47_999, 47_999));
}

/// A record that ends with 9 ends a span of time.
#[derive(Clone)]
struct Nines;

impl WatermarkGenerator<i64> for Nines {
    fn on_event(&mut self, event: &i64, timestamp: i64, output: &mut WatermarkOutput) {
        if event % 10 == 9 {
            output.emit_watermark(timestamp);
        }
    }
}

#[test]
fn the_last_strategy_of_a_chain_counts() {
    let mut harness = OperatorHarness::new(|stream| {
        stream
            .assign_timestamps_and_watermarks(seconds())
            .map(|n| n)
            .assign_timestamps_and_watermarks(WatermarkStrategy::for_generator(Nines))
    })
    .expect("opens");
    harness.push(18, 0).expect("runs");
    harness.push(19, 0).expect("runs");
    harness.push(30, 0).expect("runs");
    let expected = [Record(18, 18_000), Record(19, 19_000), Watermark(19_000), Record(30, 30_000)];
    assert_eq!(harness.take_output(), expected);
    let mut none = OperatorHarness::new(|stream| {
        stream
            .assign_timestamps_and_watermarks(seconds())
            .assign_timestamps_and_watermarks(WatermarkStrategy::<i64>::no_watermarks())
    })
    .expect("opens");
    none.push(18, 0).expect("runs");
    none.finish().expect("runs");
    assert_eq!(none.take_output(), [Record(18, 18_000), Watermark(MAX)]);
}

/// What a function sees of time.
#[derive(Clone)]
struct Times;

impl ProcessFunction<i64> for Times {
    type Out = (i64, Option<i64>, i64);

    fn process_element(
        &mut self,
        value: i64,
        context: &mut ProcessContext<'_>,
        out: &mut Collector<Self::Out>,
    ) -> Result {
        out.collect((value, context.timestamp(), context.current_watermark()));
        Ok(())
    }
}

#[test]
fn a_source_assigns_event_times_and_its_watermarks_come_after_each_batch() {
    // A collection is read in batches of 4096.
    let env = StreamExecutionEnvironment::new();
    let times =
        env.from_collection(0..5_000i64).assign_timestamps_and_watermarks(seconds()).process(Times).collect();
    env.execute("times").expect("runs");
    let times = times.take();
    assert_eq!(times[0], (0, Some(0), i64::MIN));
    assert_eq!(times[4095], (4095, Some(4_095_000), i64::MIN));
    assert_eq!(times[4096], (4096, Some(4_096_000), 4_092_999));
    assert_eq!(times.len(), 5_000);
}

#[test]
fn what_cannot_be_is_refused() {
    let env = StreamExecutionEnvironment::new();
    let strategy = WatermarkStrategy::<i64>::no_watermarks().with_idleness(Duration::ZERO);
    env.from_collection([1i64]).assign_timestamps_and_watermarks(strategy).discard();
    let error = env.execute("idle").expect_err("refused").to_string();
    assert_eq!(error, "with_idleness: the timeout must be greater than zero");
    let env = StreamExecutionEnvironment::new();
    let second = Duration::from_secs(1);
    let strategy = WatermarkStrategy::<i64>::no_watermarks().with_watermark_alignment("g", second, second);
    env.from_collection([1i64]).map(|n| n).assign_timestamps_and_watermarks(strategy).discard();
    let error = env.execute("aligned").expect_err("refused").to_string();
    assert!(error.starts_with("with_watermark_alignment: only sources can wait"), "{error}");
}
