//! Operators with two inputs.

use streamkeeper_datastream::process::TaskInfo;
use streamkeeper_datastream::state::{ListState, MapState};
use streamkeeper_datastream::{
    BroadcastProcessFunction, BroadcastState, Collector, DataStream, KeyedBroadcastContext,
    KeyedBroadcastProcessFunction, KeyedCoProcessFunction, KeyedContext, MapStateDescriptor, OpenContext,
    ProcessContext, Result,
};

use super::case::Case;
use super::ledger::Row;
use super::numbers::{KEYS, Number, STEP_MS};

#[test]
fn connected_streams_of_two_types() {
    fn job(numbers: DataStream<Number>) -> DataStream<Row> {
        let texts = numbers.clone().map(|(key, n)| format!("{key} {n}"));
        let parse = |text: String| {
            let (key, n) = text.split_once(' ')?;
            Some((key.parse::<u64>().ok()? + KEYS, n.parse().ok()?))
        };
        numbers.connect(texts).flat_map(Some, parse).shared()
    }
    fn expected(numbers: &[Number]) -> Vec<Row> {
        numbers.iter().flat_map(|(key, n)| [(*key, *n), (key + KEYS, *n)]).collect()
    }
    Case::new(job, expected).run();
}

/// Emits a number when it has come from both sides.
#[derive(Clone)]
struct Both;

impl KeyedCoProcessFunction<u64, Number, (String, u64)> for Both {
    type Out = Row;
    type State = (MapState<u64, ()>, MapState<u64, ()>);

    fn open(&mut self, context: &mut OpenContext<'_, u64>) -> Result<Self::State> {
        Ok((context.map_state("left")?, context.map_state("right")?))
    }

    fn process_element1(
        &mut self,
        (key, n): Number,
        (left, right): &mut Self::State,
        _: &mut KeyedContext<'_, u64>,
        out: &mut Collector<Row>,
    ) -> Result {
        match right.remove(&n) {
            Some(()) => out.collect((key, n)),
            None => left.put(n, ()),
        }
        Ok(())
    }

    fn process_element2(
        &mut self,
        (_, n): (String, u64),
        (left, right): &mut Self::State,
        context: &mut KeyedContext<'_, u64>,
        out: &mut Collector<Row>,
    ) -> Result {
        match left.remove(&n) {
            Some(()) => out.collect((*context.current_key(), n)),
            None => right.put(n, ()),
        }
        Ok(())
    }
}

#[test]
fn keyed_co_process_with_state_of_both_inputs() {
    fn job(numbers: DataStream<Number>) -> DataStream<Row> {
        let right = numbers.clone().map(|(key, n)| (key.to_string(), n));
        let right = right.key_by(|(key, _)| key.parse::<u64>().unwrap_or(u64::MAX));
        numbers.key_by(|(key, _)| *key).connect(right).process(Both).shared()
    }
    Case::new(job, |numbers| numbers.to_vec()).run();
}

/// Knows how many rules it has; the first subtask emits each.
#[derive(Clone)]
struct CountRules {
    subtask: usize,
}

impl BroadcastProcessFunction<Number, u64> for CountRules {
    type Out = Row;
    type Broadcast = BroadcastState<String, u64>;

    fn open(&mut self, info: &TaskInfo) -> Result {
        self.subtask = info.subtask;
        Ok(())
    }

    fn process_element(
        &mut self,
        number: Number,
        _: &Self::Broadcast,
        _: &mut ProcessContext<'_>,
        out: &mut Collector<Row>,
    ) -> Result {
        out.collect(number);
        Ok(())
    }

    fn process_broadcast_element(
        &mut self,
        rule: u64,
        rules: &mut Self::Broadcast,
        _: &mut ProcessContext<'_>,
        out: &mut Collector<Row>,
    ) -> Result {
        let count = rules.get(&"count".to_owned()).copied().unwrap_or(0);
        if count != rule {
            return Err(format!("subtask {} has {count} rules when {rule} comes", self.subtask).into());
        }
        rules.put("count".to_owned(), count + 1);
        if self.subtask == 0 {
            out.collect((KEYS, rule));
        }
        Ok(())
    }
}

/// The numbers of one key.
fn rules(numbers: &DataStream<Number>) -> DataStream<u64> {
    numbers.clone().filter(|(key, _)| *key == 7).map(|(_, n)| n).shared()
}

#[test]
fn broadcast_state_is_the_same_in_every_subtask() {
    fn job(numbers: DataStream<Number>) -> DataStream<Row> {
        let rules = rules(&numbers).broadcast_state(MapStateDescriptor::new("rules"));
        numbers.connect(rules).process(CountRules { subtask: 0 }).shared()
    }
    fn expected(numbers: &[Number]) -> Vec<Row> {
        let rules = numbers.iter().filter(|(key, _)| *key == 7).map(|(_, n)| (KEYS, *n));
        numbers.iter().copied().chain(rules).collect()
    }
    Case::new(job, expected).run();
}

/// Number n waits for rule n, which says what becomes of it.
#[derive(Clone)]
struct ByRule;

impl KeyedBroadcastProcessFunction<u64, Number, u64> for ByRule {
    type Out = Row;
    type State = ListState<u64>;
    type Broadcast = BroadcastState<u64, u64>;

    fn open(&mut self, context: &mut OpenContext<'_, u64>) -> Result<Self::State> {
        context.list_state("waiting")
    }

    fn process_element(
        &mut self,
        (key, n): Number,
        waiting: &mut Self::State,
        rules: &Self::Broadcast,
        _: &mut KeyedContext<'_, u64>,
        out: &mut Collector<Row>,
    ) -> Result {
        match rules.get(&n) {
            Some(rule) => out.collect((key, n + rule)),
            None => waiting.add(n),
        }
        Ok(())
    }

    fn process_broadcast_element(
        &mut self,
        rule: u64,
        rules: &mut Self::Broadcast,
        context: &mut KeyedBroadcastContext<'_, u64, Self::State>,
        out: &mut Collector<Row>,
    ) -> Result {
        rules.put(rule, rule * 7);
        context.apply_to_keyed_state(|key, waiting| {
            let (due, rest) = waiting.take().into_iter().partition(|n| *n == rule);
            let due: Vec<u64> = due;
            due.into_iter().for_each(|n| out.collect((*key, n + rule * 7)));
            waiting.update(rest);
            Ok(())
        })
    }
}

#[test]
fn keyed_state_and_broadcast_state() {
    fn job(numbers: DataStream<Number>) -> DataStream<Row> {
        let rules = rules(&numbers).broadcast_state(MapStateDescriptor::new("rules"));
        numbers.key_by(|(key, _)| *key).connect(rules).process(ByRule).shared()
    }
    fn expected(numbers: &[Number]) -> Vec<Row> {
        numbers.iter().map(|(key, n)| (*key, n * 8)).collect()
    }
    Case::new(job, expected).run();
}

#[test]
fn interval_join() {
    fn job(numbers: DataStream<Number>) -> DataStream<Row> {
        let right = numbers.clone().filter(|(_, n)| n % 3 == 0).key_by(|(key, _)| *key);
        numbers
            .key_by(|(key, _)| *key)
            .interval_join(right)
            .between(-STEP_MS, STEP_MS)
            .apply(|(key, n), (_, m)| (*key, n * 1_000_000 + m))
            .shared()
    }
    fn expected(numbers: &[Number]) -> Vec<Row> {
        let rounds = numbers.len() as u64 / KEYS;
        let partner = |n: u64| (n.saturating_sub(1)..=n + 1).find(|m| m % 3 == 0 && *m < rounds);
        numbers.iter().filter_map(|(key, n)| Some((*key, n * 1_000_000 + partner(*n)?))).collect()
    }
    Case::new(job, expected).in_any_order().run();
}
