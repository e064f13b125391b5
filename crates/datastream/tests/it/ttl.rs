//! States whose values go away by themselves.

use std::time::Duration;

use streamkeeper_datastream::state::{
    AggregatingState, ListState, MapState, ReducingState, StateDescriptor, StateTtlConfig, StateVisibility,
    UpdateType, ValueState,
};
use streamkeeper_datastream::{
    AggregateFunction, Collector, DataStream, HarnessSnapshot, KeyedContext, KeyedProcessFunction,
    OpenContext, OperatorHarness, Records, Result,
};

/// What a test does to the states of a key: (key, what, argument).
type Step = (u32, &'static str, i64);

#[derive(Clone)]
struct Sum;

impl AggregateFunction for Sum {
    type In = i64;
    type Accumulator = i64;
    type Out = i64;

    fn create_accumulator(&self) -> i64 {
        0
    }

    fn add(&self, value: i64, sum: &mut i64) {
        *sum += value;
    }

    fn result(&self, sum: &i64) -> i64 {
        *sum
    }

    fn merge(&self, a: i64, b: i64) -> i64 {
        a + b
    }
}

#[derive(Clone)]
struct States(Option<StateTtlConfig>);

impl States {
    fn describe(&self, name: &str) -> StateDescriptor {
        match self.0 {
            Some(ttl) => StateDescriptor::new(name).enable_time_to_live(ttl),
            None => name.into(),
        }
    }
}

type Plus = fn(i64, i64) -> i64;

impl KeyedProcessFunction<u32, (u32, String, i64)> for States {
    type Out = String;
    type State = (
        ValueState<i64>,
        ListState<i64>,
        MapState<i64, i64>,
        ReducingState<i64, Plus>,
        AggregatingState<Sum>,
    );

    fn open(&mut self, context: &mut OpenContext<'_, u32>) -> Result<Self::State> {
        let plus: Plus = |a, b| a + b;
        Ok((
            context.value_state(self.describe("value"))?,
            context.list_state(self.describe("list"))?,
            context.map_state(self.describe("map"))?,
            context.reducing_state(self.describe("reducing"), plus)?,
            context.aggregating_state(self.describe("aggregating"), Sum)?,
        ))
    }

    fn process_element(
        &mut self,
        (_, what, n): (u32, String, i64),
        (value, list, map, reducing, aggregating): &mut Self::State,
        _: &mut KeyedContext<'_, u32>,
        out: &mut Collector<String>,
    ) -> Result {
        match what.as_str() {
            "set" => value.update(n),
            "add" => {
                *value.get_or_insert_with(|| 0) += n;
                list.add(n);
                reducing.add(n);
                aggregating.add(n);
            }
            "change" => {
                if let Some(mut value) = value.get_mut() {
                    *value += n;
                }
            }
            "put" => map.put(n, n * 10),
            "get" => out.collect(format!("{:?}", map.get(&n))),
            "has" => out.collect(map.contains(&n).to_string()),
            "remove" => out.collect(format!("{:?}", map.remove(&n))),
            "value" => out.collect(format!("{:?}", value.value())),
            "list" => out.collect(format!("{:?}", list.list())),
            "all" => {
                let mut entries = map.entries();
                entries.sort();
                out.collect(format!(
                    "{:?} {:?} {entries:?} {:?} {:?}",
                    value.get().map(|value| *value),
                    list.list(),
                    reducing.get(),
                    aggregating.get()
                ));
            }
            other => return Err(format!("no step {other}").into()),
        }
        Ok(())
    }
}

type Harness = OperatorHarness<Records<(u32, String, i64)>, String>;

fn harness(ttl: Option<StateTtlConfig>) -> Harness {
    OperatorHarness::new(|steps: DataStream<(u32, String, i64)>| {
        steps.key_by(|(key, ..): &(u32, String, i64)| *key).process(States(ttl))
    })
    .expect("opens")
}

/// Does the steps, each list at its time, and returns what came out.
fn run(harness: &mut Harness, times: &[(i64, &[Step])]) -> Vec<String> {
    for (time, steps) in times {
        harness.set_processing_time(*time).expect("runs");
        for (key, what, n) in *steps {
            harness.push((*key, (*what).to_owned(), *n), 0).expect("runs");
        }
    }
    harness.take_records().into_iter().map(|(text, _)| text).collect()
}

fn ttl() -> StateTtlConfig {
    StateTtlConfig::new(Duration::from_millis(100))
}

const ALL: [Step; 1] = [(1, "all", 0)];

#[test]
fn all_kinds_expire_after_the_last_write_and_parts_live_by_themselves() {
    let mut harness = harness(Some(ttl()));
    let out = run(
        &mut harness,
        &[
            (0, &[(1, "add", 1), (1, "put", 1)]),
            (60, &[(1, "add", 2), (1, "put", 2)]),
            (99, &ALL),
            (100, &ALL),
            (159, &ALL),
            (160, &ALL),
        ],
    );
    assert_eq!(
        out,
        [
            "Some(3) [1, 2] [(1, 10), (2, 20)] Some(3) Some(3)",
            "Some(3) [2] [(2, 20)] Some(3) Some(3)",
            "Some(3) [2] [(2, 20)] Some(3) Some(3)",
            "None [] [] None None",
        ]
    );
    assert!(harness.snapshot().expect("snapshots").is_empty());
}

#[test]
fn reading_renews_where_it_is_asked_to() {
    let mut harness = harness(Some(ttl().update_type(UpdateType::OnReadAndWrite)));
    let out = run(
        &mut harness,
        &[
            (0, &[(1, "add", 1), (1, "put", 1), (1, "put", 2)]),
            (90, &[(1, "value", 0), (1, "list", 0), (1, "get", 1)]),
            (150, &ALL),
            (249, &[(1, "has", 1)]),
            (250, &ALL),
            (348, &[(1, "get", 1), (1, "get", 2), (1, "remove", 1)]),
        ],
    );
    assert_eq!(out[3], "Some(1) [1] [(1, 10)] None None", "only what was read is still there");
    assert_eq!(out[4..], ["true", "None [] [(1, 10)] None None", "Some(10)", "None", "Some(10)"]);
}

#[test]
fn a_change_in_place_is_a_write_and_what_has_expired_is_not_added_to() {
    let mut harness = harness(Some(ttl()));
    let out = run(
        &mut harness,
        &[
            (0, &[(1, "set", 1)]),
            (50, &[(1, "change", 5)]),
            (149, &[(1, "value", 0)]),
            (150, &[(1, "change", 5), (1, "value", 0), (1, "add", 7), (1, "all", 0)]),
        ],
    );
    assert_eq!(out, ["Some(6)", "None", "Some(7) [7] [] Some(7) Some(7)"]);
}

#[test]
fn expired_values_are_shown_where_asked_for_until_the_cleanup_comes() {
    let shown = ttl().state_visibility(StateVisibility::ReturnExpiredIfNotCleanedUp);
    let times: [(i64, &[Step]); 4] = [
        (0, &[(1, "add", 1), (1, "put", 1)]),
        (500, &[(1, "value", 0), (1, "get", 1)]),
        (500, &ALL),
        (600, &[(1, "add", 2), (1, "all", 0)]),
    ];
    let mut kept = harness(Some(shown.cleanup_incrementally(0)));
    assert_eq!(
        run(&mut kept, &times),
        [
            "Some(1)",
            "Some(10)",
            "Some(1) [1] [(1, 10)] Some(1) Some(1)",
            "Some(3) [1, 2] [(1, 10)] Some(3) Some(3)"
        ]
    );
    let mut cleaned = harness(Some(shown.cleanup_incrementally(1_000)));
    assert_eq!(
        run(&mut cleaned, &times),
        ["None", "None", "None [] [] None None", "Some(2) [2] [] Some(2) Some(2)"]
    );
}

#[test]
fn the_cleanup_removes_keys_that_nobody_asks_for() {
    for (cleanup, left) in [(5, 1), (0, 1_001)] {
        let mut harness = harness(Some(
            ttl()
                .state_visibility(StateVisibility::ReturnExpiredIfNotCleanedUp)
                .cleanup_incrementally(cleanup),
        ));
        harness.push_all((0..1_000).map(|key| ((key, "set".to_owned(), 1), 0))).expect("runs");
        harness.set_processing_time(100).expect("runs");
        harness.push_all((0..1_000).map(|_| ((5_000, "set".to_owned(), 1), 0))).expect("runs");
        harness.push_all((0..1_000).map(|key| ((key, "value".to_owned(), 1), 0))).expect("runs");
        let seen = harness.take_records().into_iter().filter(|(text, _)| text == "Some(1)").count();
        assert_eq!(seen + 1, left);
    }
}

#[test]
fn age_survives_a_checkpoint_which_holds_nothing_that_has_expired() {
    let first = harness(Some(ttl()));
    let mut subtask = first.subtask(0, 1).expect("opens");
    run(&mut subtask, &[(0, &[(1, "add", 1), (1, "put", 1)]), (50, &[(2, "set", 2), (1, "add", 3)])]);
    subtask.set_processing_time(120).expect("runs");
    let snapshot = subtask.snapshot().expect("snapshots");
    let mut restored = first.restore(&snapshot, 0, 1).expect("restores");
    let out =
        run(&mut restored, &[(149, &ALL), (149, &[(2, "value", 0)]), (150, &ALL), (150, &[(2, "value", 0)])]);
    assert_eq!(out, ["Some(4) [3] [] Some(4) Some(4)", "Some(2)", "None [] [] None None", "None"]);
    subtask.set_processing_time(1_000).expect("runs");
    assert!(subtask.snapshot().expect("snapshots").is_empty());
}

#[test]
fn a_state_written_without_a_time_to_live_cannot_be_restored_with_one() {
    let (mut without, with) = (harness(None), harness(Some(ttl())));
    without.push((1, "set".to_owned(), 5), 0).expect("runs");
    let snapshot: HarnessSnapshot = without.snapshot().expect("snapshots");
    let error = with.restore(&snapshot, 0, 1).expect_err("refused").to_string();
    assert!(
        error.starts_with(
            "state `value` was written as `value by u32: i64`, but this job reads `value with time to live by u32: i64`"
        ),
        "{error}"
    );
    let zero = OperatorHarness::new(|steps: DataStream<(u32, String, i64)>| {
        steps
            .key_by(|(key, ..): &(u32, String, i64)| *key)
            .process(States(Some(StateTtlConfig::new(Duration::ZERO))))
    });
    let error = zero.expect_err("refused").to_string();
    assert_eq!(error, "state `value`: its time to live must be positive");
}
