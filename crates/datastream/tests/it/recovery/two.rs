//! Operators with two inputs.

use streamkeeper_datastream::process::TaskInfo;
use streamkeeper_datastream::state::{MapState, ValueState};
use streamkeeper_datastream::{
    BroadcastProcessFunction, BroadcastState, Collector, DataStream, KeyedBroadcastContext,
    KeyedBroadcastProcessFunction, KeyedCoProcessFunction, KeyedContext, MapStateDescriptor, OpenContext,
    ProcessContext, Result, TimeDomain, WatermarkStrategy,
};

use super::case::{Case, Source};
use super::ledger::Row;
use super::numbers::{KEYS, Number, STEP_MS};

fn triangle(n: u64) -> u64 {
    n * (n + 1) / 2
}

#[test]
fn a_map_of_two_streams() {
    fn job(numbers: DataStream<Number>) -> DataStream<Row> {
        let words = numbers.clone().map(|(key, n)| format!("{} {n}", key + KEYS));
        let row = |word: String| {
            let (key, n) = word.split_once(' ').expect("two numbers");
            (key.parse().expect("a number"), n.parse().expect("a number"))
        };
        numbers.filter(|(_, n)| n % 3 == 0).connect(words).map(|number| number, row).shared()
    }
    fn expected(numbers: &[Number]) -> Vec<Row> {
        let first = numbers.iter().copied().filter(|(_, n)| n % 3 == 0);
        first.chain(numbers.iter().map(|(key, n)| (key + KEYS, *n))).collect()
    }
    Case::new(job, expected).run();
}

#[test]
fn two_inputs_at_a_parallelism_of_their_own() {
    fn job(numbers: DataStream<Number>) -> DataStream<Row> {
        let odd = numbers.clone().filter(|(_, n)| n % 2 == 1);
        let even = numbers.filter(|(_, n)| n % 2 == 0);
        odd.connect(even).flat_map(Some, |number| [number; 2]).set_parallelism(3).shared()
    }
    fn expected(numbers: &[Number]) -> Vec<Row> {
        numbers.iter().flat_map(|number| vec![*number; 2 - number.1 as usize % 2]).collect()
    }
    Case::new(job, expected).in_any_order().run();
}

/// Emits a number when it has come from both streams; counts both until the end.
#[derive(Clone)]
struct Both;

impl KeyedCoProcessFunction<u64, Number, (u64, u64, String)> for Both {
    type Out = Row;
    type State = (MapState<u64, ()>, MapState<u64, ()>, ValueState<u64>);

    fn open(&mut self, context: &mut OpenContext<'_, u64>) -> Result<Self::State> {
        Ok((context.map_state("first")?, context.map_state("second")?, context.value_state("count")?))
    }

    fn process_element1(
        &mut self,
        (key, n): Number,
        (first, second, count): &mut Self::State,
        context: &mut KeyedContext<'_, u64>,
        out: &mut Collector<Row>,
    ) -> Result {
        *count.get_or_insert_with(|| 0) += 1;
        context.register_event_time_timer(1 << 40);
        match second.remove(&n) {
            Some(()) => out.collect((key, n)),
            None => first.put(n, ()),
        }
        Ok(())
    }

    fn process_element2(
        &mut self,
        (key, n, _): (u64, u64, String),
        (first, second, count): &mut Self::State,
        _: &mut KeyedContext<'_, u64>,
        out: &mut Collector<Row>,
    ) -> Result {
        *count.get_or_insert_with(|| 0) += 1;
        match first.remove(&n) {
            Some(()) => out.collect((key, n)),
            None => second.put(n, ()),
        }
        Ok(())
    }

    fn on_timer(
        &mut self,
        _: i64,
        _: TimeDomain,
        (first, second, count): &mut Self::State,
        context: &mut KeyedContext<'_, u64>,
        out: &mut Collector<Row>,
    ) -> Result {
        assert!(first.is_empty() && second.is_empty(), "every number has come twice");
        out.collect((*context.current_key(), count.take().unwrap_or(0)));
        Ok(())
    }
}

#[test]
fn keyed_state_and_timers_shared_by_two_inputs() {
    fn job(numbers: DataStream<Number>) -> DataStream<Row> {
        let named = numbers.clone().rebalance().map(|(key, n)| (key, n, key.to_string()));
        // The rebalance lets numbers of a key pass each other: only the first stream is in order.
        numbers.key_by(|(key, _)| *key).connect(named.key_by_ref(|(key, ..)| key)).process(Both).shared()
    }
    fn expected(numbers: &[Number]) -> Vec<Row> {
        let last = numbers.iter().map(|(_, n)| *n).max().unwrap_or(0);
        let counts = (0..KEYS).map(|key| (key, 2 * (last + 1)));
        numbers.iter().copied().chain(counts).collect()
    }
    Case::new(job, expected).in_any_order().emits_at_end().run();
}

/// Sums what is broadcast by key; a subtask emits the sums of the keys that it is responsible for.
#[derive(Clone)]
struct Sums {
    subtask: u64,
    parallelism: u64,
}

const SUMS: Sums = Sums { subtask: 0, parallelism: 0 };

type SumState = (BroadcastState<u64, u64>, BroadcastState<String, u64>);

fn sums() -> (MapStateDescriptor<u64, u64>, MapStateDescriptor<String, u64>) {
    (MapStateDescriptor::new("sums"), MapStateDescriptor::new("counts"))
}

impl Sums {
    fn begin(&mut self, info: &TaskInfo) {
        *self = Self { subtask: info.subtask as u64, parallelism: info.parallelism as u64 };
    }

    fn add(&self, (key, n): Number, (sums, counts): &mut SumState, out: &mut Collector<Row>) {
        let sum = sums.get(&key).copied().unwrap_or(0) + n;
        sums.put(key, sum);
        let name = key.to_string();
        let count = counts.get(&name).copied().unwrap_or(0) + 1;
        counts.put(name, count);
        if key % self.parallelism == self.subtask {
            out.collect((key + KEYS, sum + count));
        }
    }
}

impl BroadcastProcessFunction<Number, Number> for Sums {
    type Out = Row;
    type Broadcast = SumState;

    fn open(&mut self, info: &TaskInfo) -> Result {
        self.begin(info);
        Ok(())
    }

    fn process_element(
        &mut self,
        number: Number,
        _: &SumState,
        _: &mut ProcessContext<'_>,
        out: &mut Collector<Row>,
    ) -> Result {
        out.collect(number);
        Ok(())
    }

    fn process_broadcast_element(
        &mut self,
        number: Number,
        state: &mut SumState,
        _: &mut ProcessContext<'_>,
        out: &mut Collector<Row>,
    ) -> Result {
        self.add(number, state, out);
        Ok(())
    }
}

impl KeyedBroadcastProcessFunction<u64, Number, Number> for Sums {
    type Out = Row;
    type State = ValueState<u64>;
    type Broadcast = SumState;

    fn open(&mut self, context: &mut OpenContext<'_, u64>) -> Result<ValueState<u64>> {
        self.begin(context.task_info());
        context.value_state("sum")
    }

    fn process_element(
        &mut self,
        (key, n): Number,
        sum: &mut ValueState<u64>,
        _: &SumState,
        _: &mut KeyedContext<'_, u64>,
        out: &mut Collector<Row>,
    ) -> Result {
        let mut sum = sum.get_or_insert_with(|| 0);
        *sum += n;
        out.collect((key, *sum));
        Ok(())
    }

    fn process_broadcast_element(
        &mut self,
        number: Number,
        state: &mut SumState,
        context: &mut KeyedBroadcastContext<'_, u64, ValueState<u64>>,
        out: &mut Collector<Row>,
    ) -> Result {
        context.apply_to_keyed_state(|key, sum| {
            assert!(*key < KEYS && sum.get().is_some());
            Ok(())
        })?;
        self.add(number, state, out);
        Ok(())
    }
}

#[test]
fn broadcast_state_is_whole_in_every_subtask() {
    fn job(numbers: DataStream<Number>) -> DataStream<Row> {
        numbers.clone().connect(numbers.broadcast_state(sums())).process(SUMS).shared()
    }
    fn expected(numbers: &[Number]) -> Vec<Row> {
        let sums = numbers.iter().map(|(key, n)| (key + KEYS, triangle(*n) + n + 1));
        numbers.iter().copied().chain(sums).collect()
    }
    Case::new(job, expected).run();
}

#[test]
fn broadcast_state_beside_keyed_state() {
    fn job(numbers: DataStream<Number>) -> DataStream<Row> {
        let rules = numbers.clone().broadcast_state(sums());
        numbers.key_by(|(key, _)| *key).connect(rules).process(SUMS).shared()
    }
    fn expected(numbers: &[Number]) -> Vec<Row> {
        let keyed = numbers.iter().map(|(key, n)| (*key, triangle(*n)));
        keyed.chain(numbers.iter().map(|(key, n)| (key + KEYS, triangle(*n) + n + 1))).collect()
    }
    Case::new(job, expected).run();
}

/// Each number with the even ones beside it.
fn join(numbers: DataStream<Number>) -> DataStream<Row> {
    let even = numbers.clone().filter(|(_, n)| n % 2 == 0).key_by(|(key, _)| *key);
    numbers
        .key_by(|(key, _)| *key)
        .interval_join(even)
        .between(-STEP_MS, STEP_MS)
        .apply(|(key, left), (_, right)| (*key, 1_000_000 * left + right))
        .shared()
}

fn pairs(numbers: &[Number]) -> Vec<Row> {
    let last = numbers.iter().map(|(_, n)| *n).max().unwrap_or(0);
    let pairs = numbers.iter().flat_map(|(key, n)| {
        let even = (n.saturating_sub(1)..=(n + 1).min(last)).filter(|n| n % 2 == 0);
        even.map(move |even| (*key, 1_000_000 * n + even))
    });
    pairs.collect()
}

#[test]
fn an_interval_join_that_keeps_everything() {
    Case::new(join, pairs).in_any_order().run();
}

#[test]
fn an_interval_join_that_forgets_as_event_time_goes_on() {
    fn job(numbers: Source) -> DataStream<Row> {
        let strategy = WatermarkStrategy::for_monotonous_timestamps();
        join(numbers.assign_timestamps_and_watermarks(strategy).shared())
    }
    Case::at_source(job, pairs).in_any_order().run();
}
