//! Broadcast state: what is written on one side is read on the other, in every subtask.

use streamkeeper_datastream::state::ValueState;
use streamkeeper_datastream::{
    BroadcastProcessFunction, BroadcastState, Collector, DataStream, HarnessSnapshot, KeyedBroadcastContext,
    KeyedBroadcastProcessFunction, KeyedContext, MapStateDescriptor, OpenContext, OperatorHarness, OutputTag,
    ProcessContext, Result, TimeDomain,
};

/// A name and a limit; `None` removes it.
type Rule = (String, Option<u64>);
type Rules = BroadcastState<String, u64>;

fn rule(name: &str, limit: impl Into<Option<u64>>) -> Rule {
    (name.to_owned(), limit.into())
}

fn names(out: &[(String, i64)]) -> Vec<&str> {
    out.iter().map(|(name, _)| name.as_str()).collect()
}

fn apply((name, limit): Rule, rules: &mut Rules) {
    match limit {
        Some(limit) => rules.put(name, limit),
        None => {
            rules.remove(&name);
        }
    }
}

/// Emits the names of all rules that a number breaks, and changes of rules to a side output.
#[derive(Clone)]
struct Broken(OutputTag<usize>);

impl BroadcastProcessFunction<u64, Rule> for Broken {
    type Out = String;
    type Broadcast = Rules;

    fn process_element(
        &mut self,
        n: u64,
        rules: &Rules,
        _: &mut ProcessContext<'_>,
        out: &mut Collector<String>,
    ) -> Result {
        let mut broken: Vec<&String> =
            rules.iter().filter(|(_, limit)| n > **limit).map(|(k, _)| k).collect();
        broken.sort();
        broken.into_iter().for_each(|name| out.collect(name.clone()));
        Ok(())
    }

    fn process_broadcast_element(
        &mut self,
        rule: Rule,
        rules: &mut Rules,
        context: &mut ProcessContext<'_>,
        _: &mut Collector<String>,
    ) -> Result {
        apply(rule, rules);
        context.output(&self.0, rules.len());
        Ok(())
    }
}

#[test]
fn rules_are_obeyed_changed_and_restored_at_any_parallelism() {
    let changes = OutputTag::new("changes");
    let mut first = OperatorHarness::two_inputs(|numbers: DataStream<u64>, rules: DataStream<Rule>| {
        let rules = rules.broadcast_state(MapStateDescriptor::new("rules"));
        numbers.connect(rules).process(Broken(changes.clone()))
    })
    .expect("one task")
    .subtask(0, 2)
    .expect("opens");
    let mut second = first.subtask(1, 2).expect("opens");
    for harness in [&mut first, &mut second] {
        harness.push_first(100, 1).expect("goes on");
        assert_eq!(harness.take_records(), [], "there are no rules yet");
        for (name, limit) in [("a", 10), ("b", 20), ("c", 30), ("a", 25)] {
            harness.push_second(rule(name, limit), 2).expect("goes on");
        }
        harness.push_second(rule("c", None), 2).expect("goes on");
        harness.push_first(22, 3).expect("goes on");
        assert_eq!(names(&harness.take_records()), ["b"]);
        assert_eq!(harness.take_side_output(&changes), [1, 2, 3, 3, 2].map(|rules| (rules, 2)));
    }
    let snapshots = [first.snapshot().expect("a snapshot"), second.snapshot().expect("a snapshot")];
    assert!(!snapshots[0].is_empty() && snapshots[1].is_empty(), "one subtask writes for all");
    let snapshot = HarnessSnapshot::merge(snapshots);
    for parallelism in 1..4 {
        for subtask in 0..parallelism {
            let mut restored = first.restore(&snapshot, subtask, parallelism).expect("restores");
            restored.push_first(26, 4).expect("goes on");
            assert_eq!(names(&restored.take_records()), ["a", "b"]);
        }
    }
}

/// Counts per key, and compares with the rule of the key's name: at once, and when a timer fires. A change of the rule `reset`
/// forgets all counts.
#[derive(Clone)]
struct Limits;

impl KeyedBroadcastProcessFunction<String, String, Rule> for Limits {
    type Out = String;
    type State = (ValueState<u64>, ValueState<bool>);
    type Broadcast = (Rules, BroadcastState<u32, ()>);

    fn open(&mut self, context: &mut OpenContext<'_, String>) -> Result<Self::State> {
        Ok((context.value_state("count")?, context.value_state("odd")?))
    }

    fn process_element(
        &mut self,
        name: String,
        (count, odd): &mut Self::State,
        (rules, _): &Self::Broadcast,
        context: &mut KeyedContext<'_, String>,
        out: &mut Collector<String>,
    ) -> Result {
        let now = count.value().unwrap_or(0) + 1;
        count.update(now);
        if now % 2 == 1 {
            odd.update(true)
        } else {
            odd.clear()
        }
        context.register_event_time_timer(100);
        if rules.get(&name).is_some_and(|limit| now > *limit) {
            out.collect(format!("{name}: {now}"));
        }
        Ok(())
    }

    fn process_broadcast_element(
        &mut self,
        (name, limit): Rule,
        (rules, times): &mut Self::Broadcast,
        context: &mut KeyedBroadcastContext<'_, String, Self::State>,
        out: &mut Collector<String>,
    ) -> Result {
        times.put(times.len() as u32, ());
        if name == "reset" {
            let mut visited = Vec::new();
            context.apply_to_keyed_state(|key, (count, odd)| {
                visited.push(format!("{key}={} {}", count.take().unwrap_or(0), odd.take().is_some()));
                Ok(())
            })?;
            visited.sort();
            out.collect(format!("{} at {}", visited.join(", "), context.current_watermark()));
        }
        if name == "bad" {
            context.apply_to_keyed_state(|key, _| Err(format!("{key} is bad").into()))?;
        }
        apply((name, limit), rules);
        Ok(())
    }

    fn on_timer(
        &mut self,
        _: i64,
        _: TimeDomain,
        (count, _): &mut Self::State,
        (rules, times): &Self::Broadcast,
        context: &mut KeyedContext<'_, String>,
        out: &mut Collector<String>,
    ) -> Result {
        let limit = rules.get(context.current_key()).copied();
        let count = count.value().unwrap_or(0);
        out.collect(format!("{}: {count} of {limit:?} after {}", context.current_key(), times.len()));
        Ok(())
    }
}

type Descriptors = (MapStateDescriptor<String, u64>, MapStateDescriptor<u32, ()>);

fn descriptors(first: &str, second: &str) -> Descriptors {
    (MapStateDescriptor::new(first), MapStateDescriptor::new(second))
}

#[test]
fn keyed_state_timers_and_broadcast_state_together() {
    let mut harness = OperatorHarness::two_inputs(|words: DataStream<String>, rules: DataStream<Rule>| {
        let rules = rules.broadcast_state(descriptors("rules", "times"));
        words.key_by_ref(|word| word.as_str()).connect(rules).process(Limits)
    })
    .expect("one task");
    harness.push_second(rule("a", 1), 0).expect("goes on");
    for word in ["a", "b", "a", "a", "b"] {
        harness.push_first(word.to_owned(), 1).expect("goes on");
    }
    assert_eq!(names(&harness.take_records()), ["a: 2", "a: 3"]);
    let snapshot = harness.snapshot().expect("a snapshot");

    let mut fired = Vec::new();
    for subtask in 0..2 {
        let mut part = harness.restore(&snapshot, subtask, 2).expect("restores");
        part.watermark(100).expect("goes on");
        fired.extend(part.take_records().into_iter().map(|(text, _)| text));
    }
    fired.sort();
    assert_eq!(fired, ["a: 3 of Some(1) after 1", "b: 2 of None after 1"]);

    harness.watermark(50).expect("goes on");
    harness.push_second(rule("reset", None), 2).expect("goes on");
    assert_eq!(names(&harness.take_records()), ["a=3 true, b=2 false at 50"]);
    harness.push_second(rule("reset", None), 2).expect("goes on");
    assert_eq!(names(&harness.take_records()), [" at 50"], "a key without state is not visited");
    harness.push_first("c".to_owned(), 3).expect("goes on");
    let error = harness.push_second(rule("bad", None), 3).expect_err("fails").to_string();
    assert!(error.contains("c is bad"), "{error}");
}

#[test]
fn broadcast_states_need_names_of_their_own_and_keep_their_types() {
    let with = |first: &str, second: &str| {
        let (first, second) = (first.to_owned(), second.to_owned());
        OperatorHarness::two_inputs(move |words: DataStream<String>, rules: DataStream<Rule>| {
            let rules = rules.broadcast_state(descriptors(&first, &second));
            words.key_by(String::clone).connect(rules).process(Limits).uid("limits")
        })
    };
    let error = with("rules", "rules").expect_err("refused").to_string();
    assert!(error.contains("broadcast state `rules`") && error.contains("a name of its own"), "{error}");

    let mut harness = with("rules", "times").expect("one task");
    harness.push_second(rule("a", 1), 0).expect("goes on");
    let snapshot = harness.snapshot().expect("a snapshot");
    let swapped = with("times", "rules").expect("one task");
    let error = swapped.restore(&snapshot, 0, 1).expect_err("refused").to_string();
    assert!(error.contains("broadcast String to u64"), "{error}");
}
