//! Operators without state, and the ways to deal records out.

use streamkeeper_datastream::process::TaskInfo;
use streamkeeper_datastream::{Collector, DataStream, OutputTag, ProcessContext, ProcessFunction, Result};

use super::case::{Case, Source};
use super::ledger::Row;
use super::numbers::{KEYS, Number};

/// Everything that came in.
fn all(numbers: &[Number]) -> Vec<Row> {
    numbers.to_vec()
}

#[test]
fn map_filter_and_flat_map_in_one_chain() {
    fn job(numbers: DataStream<Number>) -> DataStream<Row> {
        numbers
            .map(|(key, n)| (key, n * 3))
            .filter(|(_, n)| n % 2 == 0)
            .flat_map(|(key, n)| [(key, n), (key, n + 1)])
            .inspect(|(key, _)| assert!(*key < KEYS))
            .flat_map_with(|(key, n), out| out.collect((key, n * 10)))
            .shared()
    }
    fn expected(numbers: &[Number]) -> Vec<Row> {
        let even = numbers.iter().map(|(key, n)| (*key, n * 3)).filter(|(_, n)| n % 2 == 0);
        even.flat_map(|(key, n)| [(key, n * 10), (key, n * 10 + 10)]).collect()
    }
    Case::new(job, expected).run();
}

#[test]
fn rebalance_rescale_and_shuffle() {
    fn job(numbers: DataStream<Number>) -> DataStream<Row> {
        numbers.rebalance().map(|n| n).rescale().map(|n| n).shuffle().map(|n| n).shared()
    }
    Case::new(job, all).in_any_order().run();
}

#[test]
fn all_to_one_and_back_by_number() {
    fn job(numbers: DataStream<Number>) -> DataStream<Row> {
        let one = numbers.global().map(|n| n);
        one.partition_custom(|(key, _), parallelism| *key as usize % parallelism).map(|n| n).shared()
    }
    Case::new(job, all).run();
}

/// Keeps what this subtask is responsible for: the rest is the others'.
#[derive(Clone)]
struct Own(u64, u64);

impl ProcessFunction<Number> for Own {
    type Out = Row;

    fn open(&mut self, info: &TaskInfo) -> Result {
        *self = Self(info.subtask as u64, info.parallelism as u64);
        Ok(())
    }

    fn process_element(
        &mut self,
        (key, n): Number,
        _: &mut ProcessContext<'_>,
        out: &mut Collector<Row>,
    ) -> Result {
        if key % self.1 == self.0 {
            out.collect((key, n));
        }
        Ok(())
    }
}

#[test]
fn broadcast_reaches_every_subtask() {
    fn job(numbers: DataStream<Number>) -> DataStream<Row> {
        numbers.broadcast().process(Own(0, 0)).shared()
    }
    Case::new(job, all).run();
}

#[test]
fn a_union_of_streams_with_other_ways() {
    fn job(numbers: DataStream<Number>) -> DataStream<Row> {
        let direct = numbers.clone().map(|(key, n)| (key + KEYS, n));
        let detour = numbers.rebalance().map(|(key, n)| (key + 2 * KEYS, n));
        let by_key = detour.partition_custom(|(key, _), parallelism| *key as usize % parallelism);
        direct.union(by_key.filter(|(_, n)| n % 2 == 0)).map(|row| row).shared()
    }
    fn expected(numbers: &[Number]) -> Vec<Row> {
        let direct = numbers.iter().map(|(key, n)| (key + KEYS, *n));
        let detour = numbers.iter().map(|(key, n)| (key + 2 * KEYS, *n));
        direct.chain(detour.filter(|(_, n)| n % 2 == 0)).collect()
    }
    Case::new(job, expected).in_any_order().run();
}

#[test]
fn a_task_of_another_parallelism() {
    fn job(numbers: DataStream<Number>) -> DataStream<Row> {
        numbers.map(|n| n).map(|n| n).set_parallelism(3).uid("three").map(|n| n).set_parallelism(2).shared()
    }
    Case::new(job, all).in_any_order().run();
}

/// Even numbers go on, odd ones to a side output.
#[derive(Clone)]
struct Divide(OutputTag<(u64, u64)>);

impl ProcessFunction<Number> for Divide {
    type Out = Row;

    fn process_element(
        &mut self,
        (key, n): Number,
        context: &mut ProcessContext<'_>,
        out: &mut Collector<Row>,
    ) -> Result {
        if n % 2 == 0 {
            out.collect((key, n));
        } else {
            context.output(&self.0, (key + KEYS, n));
        }
        Ok(())
    }
}

#[test]
fn a_side_output_of_the_sources_task() {
    fn job(numbers: Source) -> DataStream<Row> {
        let odd = OutputTag::new("odd");
        let even = numbers.map(|n| n).process(Divide(odd.clone())).shared();
        let odd = even.side_output(&odd);
        even.union(odd).partition_custom(|(key, _), parallelism| *key as usize % parallelism)
    }
    fn expected(numbers: &[Number]) -> Vec<Row> {
        numbers.iter().map(|(key, n)| (key + (n % 2) * KEYS, *n)).collect()
    }
    Case::at_source(job, expected).run();
}

#[test]
fn a_region_that_restarts_leaves_the_other_alone() {
    fn job(numbers: DataStream<Number>) -> DataStream<Row> {
        numbers.map(|n| n).shared()
    }
    Case::new(job, all).with_a_neighbour().run();
}
