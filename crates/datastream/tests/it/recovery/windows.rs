//! Windows and joins of windows, and timers that fire as event time goes on. The watermarks come from the source's splits.

use std::time::Duration;

use streamkeeper_datastream::state::ValueState;
use streamkeeper_datastream::window::{
    EventTimeSessionWindows, SlidingEventTimeWindows, TimeWindow, TumblingEventTimeWindows,
};
use streamkeeper_datastream::{
    AggregateFunction, Collector, DataStream, KeyedContext, KeyedProcessFunction, OpenContext, OutputTag,
    Result, TimeDomain, WatermarkStrategy,
};

use super::case::{Case, Source};
use super::ledger::Row;
use super::numbers::{KEYS, Number, STEP_MS};

const TEN_NUMBERS: Duration = Duration::from_millis(10 * STEP_MS as u64);

/// The numbers with the watermarks of their splits.
fn timed(numbers: Source) -> DataStream<Number> {
    numbers
        .assign_timestamps_and_watermarks(WatermarkStrategy::for_monotonous_timestamps())
        .map(|number| number)
        .shared()
}

/// A row for each window of ten numbers, or fewer at the end, that begins at one of `starts`.
fn windows(numbers: &[Number], starts: impl Fn(i64) -> Vec<i64>, result: impl Fn(&[u64]) -> u64) -> Vec<Row> {
    let rounds = numbers.len() as i64 / KEYS as i64;
    let of_key = |key| {
        let result = &result;
        starts(rounds).into_iter().map(move |start| {
            let numbers: Vec<u64> = (start.max(0)..(start + 10).min(rounds)).map(|n| n as u64).collect();
            (key, result(&numbers))
        })
    };
    (0..KEYS).flat_map(of_key).collect()
}

#[test]
fn tumbling_windows_reduce() {
    fn job(numbers: Source) -> DataStream<Row> {
        timed(numbers)
            .key_by(|(key, _)| *key)
            .window(TumblingEventTimeWindows::of(TEN_NUMBERS))
            .reduce(|(key, a), (_, b)| (key, a + b))
            .shared()
    }
    fn expected(numbers: &[Number]) -> Vec<Row> {
        windows(numbers, |rounds| (0..rounds).step_by(10).collect(), |numbers| numbers.iter().sum())
    }
    Case::at_source(job, expected).run();
}

/// Key and largest number; counts in the thousands.
#[derive(Clone)]
struct Largest;

impl AggregateFunction for Largest {
    type In = Number;
    type Accumulator = (u64, u64, u64);
    type Out = Row;

    fn create_accumulator(&self) -> (u64, u64, u64) {
        (0, 0, 0)
    }
    fn add(&self, (key, n): Number, (of, count, largest): &mut (u64, u64, u64)) {
        (*of, *count, *largest) = (key, *count + 1, n.max(*largest));
    }
    fn result(&self, (key, count, largest): &(u64, u64, u64)) -> Row {
        (*key, largest * 1_000 + count)
    }
    fn merge(&self, a: (u64, u64, u64), b: (u64, u64, u64)) -> (u64, u64, u64) {
        (a.0, a.1 + b.1, a.2.max(b.2))
    }
}

fn count_and_largest(numbers: &[u64]) -> u64 {
    numbers.iter().max().map_or(0, |n| n * 1_000) + numbers.len() as u64
}

#[test]
fn sliding_windows_aggregate() {
    fn job(numbers: Source) -> DataStream<Row> {
        timed(numbers)
            .key_by(|(key, _)| *key)
            .window(SlidingEventTimeWindows::of(TEN_NUMBERS, TEN_NUMBERS / 2))
            .aggregate(Largest)
            .shared()
    }
    fn expected(numbers: &[Number]) -> Vec<Row> {
        windows(numbers, |rounds| (-5..rounds).step_by(5).collect(), count_and_largest)
    }
    Case::at_source(job, expected).run();
}

#[test]
fn session_windows_merge() {
    fn job(numbers: Source) -> DataStream<Row> {
        // A pause after every seventh number.
        let times = |(_, n): &Number, _| *n as i64 * STEP_MS + (*n / 7) as i64 * 1_000;
        numbers
            .assign_timestamps_and_watermarks(
                WatermarkStrategy::for_monotonous_timestamps().with_timestamp_assigner(times),
            )
            .key_by(|(key, _)| *key)
            .window(EventTimeSessionWindows::with_gap(Duration::from_millis(500)))
            .aggregate(Largest)
            .shared()
    }
    fn expected(numbers: &[Number]) -> Vec<Row> {
        let rounds = numbers.len() as u64 / KEYS;
        let of_key = |key| {
            (0..rounds).step_by(7).map(move |start| {
                let numbers: Vec<u64> = (start..(start + 7).min(rounds)).collect();
                (key, count_and_largest(&numbers))
            })
        };
        (0..KEYS).flat_map(of_key).collect()
    }
    Case::at_source(job, expected).run();
}

#[test]
fn count_windows() {
    fn job(numbers: DataStream<Number>) -> DataStream<Row> {
        numbers.key_by(|(key, _)| *key).count_window(3).reduce(|(key, a), (_, b)| (key, a + b)).shared()
    }
    fn expected(numbers: &[Number]) -> Vec<Row> {
        numbers.iter().filter(|(_, n)| n % 3 == 2).map(|(key, n)| (*key, 3 * n - 3)).collect()
    }
    Case::new(job, expected).run();
}

#[test]
fn late_records_and_windows_together_are_all_records() {
    fn job(numbers: Source) -> DataStream<Row> {
        // Every tenth number is an hour old.
        let times = |(_, n): &Number, _| *n as i64 * STEP_MS - if n % 10 == 9 { 3_600_000 } else { 0 };
        let late = OutputTag::new("late");
        let strategy = WatermarkStrategy::for_bounded_out_of_orderness(Duration::from_millis(20));
        let windows = numbers
            .assign_timestamps_and_watermarks(strategy.with_timestamp_assigner(times))
            .key_by(|(key, _)| *key)
            .window(TumblingEventTimeWindows::of(TEN_NUMBERS))
            .side_output_late_data(&late)
            .apply(|_: &u64, _: &TimeWindow, numbers: &[Number], out: &mut Collector<Row>| {
                numbers.iter().for_each(|number| out.collect(*number));
            })
            .shared();
        let late = windows.side_output(&late);
        windows.union(late).map(|row| row).shared()
    }
    Case::at_source(job, |numbers| numbers.to_vec()).in_any_order().run();
}

#[test]
fn a_join_and_a_co_group_of_windows() {
    fn job(numbers: Source) -> DataStream<Row> {
        let numbers = timed(numbers);
        let thirds = numbers.clone().filter(|(_, n)| n % 10 == 3).map(|(key, n)| (key, n * 1_000_000));
        let pairs = numbers
            .clone()
            .join(thirds.shared())
            .where_(|(key, _): &Number| *key)
            .equal_to(|(key, _)| *key)
            .window(TumblingEventTimeWindows::of(TEN_NUMBERS))
            .apply(|(key, n), (_, third)| (*key, n + third));
        let even = numbers.clone().filter(|(_, n)| n % 2 == 0);
        let groups = numbers
            .co_group(even)
            .where_(|(key, _): &Number| *key)
            .equal_to(|(key, _)| *key)
            .window(TumblingEventTimeWindows::of(TEN_NUMBERS))
            .apply(|all: &[Number], even: &[Number], out: &mut Collector<Row>| {
                let sum = |numbers: &[Number]| numbers.iter().map(|(_, n)| n).sum::<u64>();
                out.collect((KEYS + all[0].0, sum(all) * 1_000_000 + sum(even)));
            });
        pairs.union(groups).map(|row| row).shared()
    }
    fn expected(numbers: &[Number]) -> Vec<Row> {
        let rounds = numbers.len() as u64 / KEYS;
        let pairs = numbers.iter().filter_map(|(key, n)| {
            let third = n / 10 * 10 + 3;
            (third < rounds).then_some((*key, n + third * 1_000_000))
        });
        let groups = windows(
            numbers,
            |rounds| (0..rounds).step_by(10).collect(),
            |numbers| {
                let even: u64 = numbers.iter().filter(|n| **n % 2 == 0).sum();
                numbers.iter().sum::<u64>() * 1_000_000 + even
            },
        );
        pairs.chain(groups.into_iter().map(|(key, sum)| (KEYS + key, sum))).collect()
    }
    Case::at_source(job, expected).in_any_order().run();
}

/// Emits each number when event time is five numbers further.
#[derive(Clone)]
struct Delay;

impl KeyedProcessFunction<u64, Number> for Delay {
    type Out = Row;
    type State = ValueState<u64>;

    fn open(&mut self, context: &mut OpenContext<'_, u64>) -> Result<ValueState<u64>> {
        context.value_state("fired")
    }

    fn process_element(
        &mut self,
        (_, n): Number,
        _: &mut ValueState<u64>,
        context: &mut KeyedContext<'_, u64>,
        _: &mut Collector<Row>,
    ) -> Result {
        context.register_event_time_timer((n as i64 + 5) * STEP_MS);
        Ok(())
    }

    fn on_timer(
        &mut self,
        time_ms: i64,
        _: TimeDomain,
        fired: &mut ValueState<u64>,
        context: &mut KeyedContext<'_, u64>,
        out: &mut Collector<Row>,
    ) -> Result {
        let n = fired.value().unwrap_or(0);
        fired.update(n + 1);
        if time_ms != (n as i64 + 5) * STEP_MS {
            return Err(format!("timer {time_ms} fired as number {n}").into());
        }
        out.collect((*context.current_key(), n));
        Ok(())
    }
}

#[test]
fn event_time_timers_behind_the_watermarks_of_splits() {
    fn job(numbers: Source) -> DataStream<Row> {
        timed(numbers).key_by(|(key, _)| *key).process(Delay).shared()
    }
    Case::at_source(job, |numbers| numbers.to_vec()).run();
}
