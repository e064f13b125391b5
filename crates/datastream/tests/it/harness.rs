//! The harness itself.

use streamkeeper_datastream::state::ValueState;
use streamkeeper_datastream::{
    Collector, HarnessOutput, HarnessSnapshot, KeyedContext, KeyedProcessFunction, OpenContext,
    OperatorHarness, OutputTag, Result, TimeDomain,
};

/// Sums per key; every multiple of 10 goes to a side output, and a processing-time timer emits the sum.
#[derive(Clone)]
struct Sum(OutputTag<u64>);

impl KeyedProcessFunction<u64, u64> for Sum {
    type Out = (u64, u64);
    type State = ValueState<u64>;

    fn open(&mut self, context: &mut OpenContext<'_, u64>) -> Result<Self::State> {
        context.value_state("sum")
    }

    fn process_element(
        &mut self,
        value: u64,
        sum: &mut Self::State,
        context: &mut KeyedContext<'_, u64>,
        _: &mut Collector<(u64, u64)>,
    ) -> Result {
        *sum.get_or_insert_with(|| 0) += value;
        context.register_processing_time_timer(context.current_processing_time() + 100);
        if value.is_multiple_of(10) {
            context.output(&self.0, value);
        }
        if value == 13 {
            return Err("13 is not welcome".into());
        }
        Ok(())
    }

    fn on_timer(
        &mut self,
        _: i64,
        domain: TimeDomain,
        sum: &mut Self::State,
        context: &mut KeyedContext<'_, u64>,
        out: &mut Collector<(u64, u64)>,
    ) -> Result {
        assert_eq!(domain, TimeDomain::ProcessingTime);
        out.collect((*context.current_key(), sum.take().unwrap_or_default()));
        Ok(())
    }
}

fn sums(tag: &OutputTag<u64>) -> OperatorHarness<streamkeeper_datastream::Records<u64>, (u64, u64)> {
    OperatorHarness::new(|numbers| numbers.key_by(|n| n % 7).process(Sum(tag.clone())).map(|sum| sum))
        .expect("opens")
}

#[test]
fn processing_time_side_outputs_and_errors() {
    let tens = OutputTag::new("tens");
    let mut harness = sums(&tens);
    harness.push(20, 5).expect("runs");
    harness.push(6, 7).expect("runs");
    assert_eq!(harness.take_side_output(&tens), [(20, 5)]);
    harness.set_processing_time(99).expect("runs");
    assert_eq!(harness.take_output(), []);
    harness.set_processing_time(100).expect("runs");
    assert_eq!(harness.take_output(), [HarnessOutput::Record((6, 26), i64::MIN)]);
    assert_eq!(harness.push(13, 0).expect_err("fails").to_string(), "13 is not welcome");
}

#[test]
fn keys_move_with_their_state_and_timers_to_any_parallelism() {
    let tag = OutputTag::new("tens");
    let first = sums(&tag);
    let mut snapshot = HarnessSnapshot::default();
    for (round, parallelism) in [1, 3, 2, 5].into_iter().enumerate() {
        let mut subtasks: Vec<_> =
            (0..parallelism).map(|s| first.restore(&snapshot, s, parallelism).expect("restores")).collect();
        for n in 1..=7 {
            let mut takers = subtasks.iter_mut().filter(|subtask| subtask.takes(&n).expect("has a key"));
            takers.next().expect("some subtask takes it").push(n, 0).expect("runs");
            assert!(takers.next().is_none());
        }
        snapshot = HarnessSnapshot::merge(subtasks.iter_mut().map(|s| s.snapshot().expect("snapshots")));
        if round == 3 {
            let mut all = Vec::new();
            for subtask in &mut subtasks {
                subtask.set_processing_time(1_000).expect("runs");
                all.extend(subtask.take_records().into_iter().map(|(sum, _)| sum));
            }
            all.sort();
            assert_eq!(all, (0..7).map(|key| (key, if key == 0 { 28 } else { key * 4 })).collect::<Vec<_>>());
        }
    }
    assert!(!snapshot.is_empty());
}

#[test]
fn what_is_no_single_task_is_refused() {
    let two = OperatorHarness::new(|numbers| {
        numbers.map(|n: u64| n).key_by(|n| *n).process(Sum(OutputTag::new("tens")))
    });
    let error = two.expect_err("refused").to_string();
    assert!(error.contains("one task"), "{error}");
    assert!(sums(&OutputTag::new("tens")).subtask(2, 2).is_err());
}
