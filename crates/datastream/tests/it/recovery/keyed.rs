//! Operators with keyed state, timers and side outputs.

use streamkeeper_datastream::state::{AggregatingState, ListState, MapState, ReducingState, ValueState};
use streamkeeper_datastream::{
    AggregateFunction, Collector, DataStream, KeyedContext, KeyedProcessFunction, OpenContext, OutputTag,
    Result, TimeDomain,
};

use super::case::Case;
use super::ledger::Row;
use super::numbers::{KEYS, Number};

/// The sum of 0 to n.
fn triangle(n: u64) -> u64 {
    n * (n + 1) / 2
}

#[test]
fn reduce() {
    fn job(numbers: DataStream<Number>) -> DataStream<Row> {
        numbers.key_by(|(key, _)| *key).reduce(|(key, a), (_, b)| (key, a + b)).shared()
    }
    fn expected(numbers: &[Number]) -> Vec<Row> {
        numbers.iter().map(|(key, n)| (*key, triangle(*n))).collect()
    }
    Case::new(job, expected).run();
}

/// Counts, and sums.
#[derive(Clone)]
struct Mean;

impl AggregateFunction for Mean {
    type In = Number;
    type Accumulator = (u64, u64);
    type Out = u64;

    fn create_accumulator(&self) -> (u64, u64) {
        (0, 0)
    }
    fn add(&self, (_, n): Number, (count, sum): &mut (u64, u64)) {
        *count += 1;
        *sum += n;
    }
    fn result(&self, (count, sum): &(u64, u64)) -> u64 {
        1000 * sum / count
    }
    fn merge(&self, a: (u64, u64), b: (u64, u64)) -> (u64, u64) {
        (a.0 + b.0, a.1 + b.1)
    }
}

#[test]
fn aggregate_and_reduce_by_other_keys_behind_each_other() {
    fn job(numbers: DataStream<Number>) -> DataStream<Row> {
        numbers
            .key_by_ref(|(key, _)| key)
            .aggregate(Mean)
            .key_by(|(key, _)| (*key % 2, key.to_string()))
            .reduce(|(key, a), (_, b)| (key, a + b))
            .shared()
    }
    fn expected(numbers: &[Number]) -> Vec<Row> {
        let mut sum = 0;
        let rows = numbers.iter().map(|(key, n)| {
            // The mean of 0 to n is n / 2.
            sum = if *n == 0 { 0 } else { sum + 500 * n };
            (*key, sum)
        });
        rows.collect()
    }
    Case::new(job, expected).run();
}

/// One state of each kind, and a row made of all of them for each record.
#[derive(Clone)]
struct EveryState;

type States = (
    ValueState<u64>,
    ListState<u64>,
    MapState<u64, u64>,
    ReducingState<u64, fn(u64, u64) -> u64>,
    AggregatingState<Mean>,
);

impl KeyedProcessFunction<u64, Number> for EveryState {
    type Out = Row;
    type State = States;

    fn open(&mut self, context: &mut OpenContext<'_, u64>) -> Result<States> {
        let add: fn(u64, u64) -> u64 = |a, b| a + b;
        Ok((
            context.value_state("count")?,
            context.list_state("last three")?,
            context.map_state("by remainder")?,
            context.reducing_state("sum", add)?,
            context.aggregating_state("mean", Mean)?,
        ))
    }

    fn process_element(
        &mut self,
        (key, n): Number,
        (count, last, remainders, sum, mean): &mut States,
        _: &mut KeyedContext<'_, u64>,
        out: &mut Collector<Row>,
    ) -> Result {
        count.update(count.value().unwrap_or(0) + 1);
        last.add(n);
        let list = last.list();
        if list.len() > 3 {
            last.update(list[1..].to_vec());
        }
        remainders.put(n % 7, n);
        // Keys come and go.
        if n % 5 == 0 {
            remainders.clear();
        }
        sum.add(n);
        mean.add((key, n));
        let parts = [
            count.value().unwrap_or_default(),
            last.list().iter().sum(),
            remainders.entries().iter().map(|(_, n)| n).sum(),
            sum.get().unwrap_or_default(),
            mean.get().unwrap_or_default(),
        ];
        parts.iter().for_each(|part| out.collect((key, *part)));
        Ok(())
    }
}

#[test]
fn all_kinds_of_state() {
    fn job(numbers: DataStream<Number>) -> DataStream<Row> {
        numbers.key_by(|(key, _)| *key).process(EveryState).shared()
    }
    fn expected(numbers: &[Number]) -> Vec<Row> {
        let rows = numbers.iter().flat_map(|(key, n)| {
            let last: u64 = (n.saturating_sub(2)..=*n).sum();
            let remainders: u64 = (n / 5 * 5 + 1..=*n).sum();
            [n + 1, last, remainders, triangle(*n), 500 * n].map(|part| (*key, part))
        });
        rows.collect()
    }
    Case::new(job, expected).run();
}

/// Sets a timer for each number and deletes every third; each that fires emits its time, and how many were before it.
#[derive(Clone)]
struct EventTimers;

impl KeyedProcessFunction<u64, Number> for EventTimers {
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
        let time_ms = 1_000_000_000 + n as i64;
        context.register_event_time_timer(time_ms);
        context.register_event_time_timer(time_ms);
        if n % 3 == 2 {
            context.delete_event_time_timer(time_ms - 1);
        }
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
        let before = fired.value().unwrap_or(0);
        fired.update(before + 1);
        out.collect((*context.current_key(), time_ms as u64 - 1_000_000_000));
        out.collect((*context.current_key(), before));
        Ok(())
    }
}

#[test]
fn event_time_timers_that_wait_for_the_end() {
    fn job(numbers: DataStream<Number>) -> DataStream<Row> {
        numbers.key_by(|(key, _)| *key).process(EventTimers).shared()
    }
    fn expected(numbers: &[Number]) -> Vec<Row> {
        let rounds = numbers.len() as u64 / KEYS;
        // Number 3k + 2 deletes the timer of 3k + 1.
        let kept = |n: u64| n % 3 != 1 || n + 1 == rounds;
        let times: Vec<u64> = (0..rounds).filter(|n| kept(*n)).collect();
        let of_key =
            |key| (0..).zip(times.iter()).flat_map(move |(before, time)| [(key, *time), (key, before)]);
        (0..KEYS).flat_map(of_key).collect()
    }
    Case::new(job, expected).emits_at_end().run();
}

/// Holds numbers back until a timer of the clock lets them go; that sets the next one. The last numbers go when the input ends. A
/// timer that is lost holds everything back, so that no map behind can fail any more.
#[derive(Clone)]
struct Hold;

impl KeyedProcessFunction<u64, Number> for Hold {
    type Out = Row;
    type State = (ListState<u64>, ValueState<()>);

    fn open(&mut self, context: &mut OpenContext<'_, u64>) -> Result<Self::State> {
        Ok((context.list_state("held")?, context.value_state("has begun")?))
    }

    fn process_element(
        &mut self,
        (_, n): Number,
        (held, begun): &mut Self::State,
        context: &mut KeyedContext<'_, u64>,
        _: &mut Collector<Row>,
    ) -> Result {
        held.add(n);
        if begun.value().is_none() {
            begun.update(());
            let now_ms = context.current_processing_time();
            context.register_processing_time_timer(now_ms + 1);
            context.register_event_time_timer(i64::MAX - 1);
        }
        Ok(())
    }

    fn on_timer(
        &mut self,
        _: i64,
        domain: TimeDomain,
        (held, _): &mut Self::State,
        context: &mut KeyedContext<'_, u64>,
        out: &mut Collector<Row>,
    ) -> Result {
        let key = *context.current_key();
        held.take().into_iter().for_each(|n| out.collect((key, n)));
        if domain == TimeDomain::ProcessingTime {
            let now_ms = context.current_processing_time();
            context.register_processing_time_timer(now_ms + 1);
        }
        Ok(())
    }
}

#[test]
fn processing_time_timers() {
    fn job(numbers: DataStream<Number>) -> DataStream<Row> {
        numbers.key_by(|(key, _)| *key).process(Hold).shared()
    }
    Case::new(job, |numbers| numbers.to_vec()).run();
}

/// Even numbers go on, odd ones to a side output.
#[derive(Clone)]
struct Divide(OutputTag<String>);

impl KeyedProcessFunction<u64, Number> for Divide {
    type Out = Row;
    type State = ();

    fn open(&mut self, _: &mut OpenContext<'_, u64>) -> Result {
        Ok(())
    }

    fn process_element(
        &mut self,
        (key, n): Number,
        (): &mut (),
        context: &mut KeyedContext<'_, u64>,
        out: &mut Collector<Row>,
    ) -> Result {
        if n % 2 == 0 {
            out.collect((key, n));
        } else {
            context.output(&self.0, format!("{key} {n}"));
        }
        Ok(())
    }
}

#[test]
fn side_outputs() {
    fn job(numbers: DataStream<Number>) -> DataStream<Row> {
        let odd = OutputTag::new("odd");
        let even = numbers.key_by(|(key, _)| *key).process(Divide(odd.clone())).shared();
        let odd = even.side_output(&odd).try_map(|text| {
            let (key, n) = text.split_once(' ').ok_or("no space")?;
            Ok((key.parse::<u64>()? + KEYS, n.parse()?))
        });
        even.union(odd).map(|row| row).shared()
    }
    fn expected(numbers: &[Number]) -> Vec<Row> {
        numbers.iter().map(|(key, n)| (key + (n % 2) * KEYS, *n)).collect()
    }
    Case::new(job, expected).run();
}
