//! Connected streams: both inputs in the hands of a test.

use streamkeeper_datastream::state::{ListState, ValueState};
use streamkeeper_datastream::{
    CoProcessFunction, Collector, HarnessOutput, HarnessSnapshot, KeyedCoProcessFunction, KeyedContext,
    OpenContext, OperatorHarness, OutputTag, ProcessContext, Result, StreamExecutionEnvironment, TimeDomain,
};

#[test]
fn both_inputs_keep_their_order_and_event_times() {
    let mut harness = OperatorHarness::two_inputs(|numbers, words| {
        numbers.connect(words).map(|n: u64| n.to_string(), |word: String| word)
    })
    .expect("one task");
    harness.push_first(1, 10).expect("maps");
    harness.push_second("a".to_owned(), 5).expect("maps");
    harness.push_first(2, 7).expect("maps");
    let records = harness.take_records();
    assert_eq!(records, [("1".to_owned(), 10), ("a".to_owned(), 5), ("2".to_owned(), 7)]);
}

/// Tells each record's event time and the watermark at which it came; long words go to a side output.
#[derive(Clone)]
struct Tell(OutputTag<String>);

impl CoProcessFunction<u64, String> for Tell {
    type Out = (u64, Option<i64>, i64);

    fn process_element1(
        &mut self,
        n: u64,
        context: &mut ProcessContext<'_>,
        out: &mut Collector<Self::Out>,
    ) -> Result {
        out.collect((n, context.timestamp(), context.current_watermark()));
        Ok(())
    }

    fn process_element2(
        &mut self,
        word: String,
        context: &mut ProcessContext<'_>,
        _: &mut Collector<Self::Out>,
    ) -> Result {
        if word.is_empty() {
            return Err("an empty word".into());
        }
        context.output(&self.0, word);
        Ok(())
    }
}

#[test]
fn the_watermark_is_the_smaller_of_both() {
    let words = OutputTag::new("words");
    let mut harness =
        OperatorHarness::two_inputs(|numbers: streamkeeper_datastream::DataStream<u64>, words_| {
            numbers.connect(words_).process(Tell(words.clone()))
        })
        .expect("one task");
    harness.watermark_first(20).expect("goes on");
    harness.push_first(1, 5).expect("goes on");
    harness.watermark_second(10).expect("goes on");
    harness.push_first(2, i64::MIN).expect("goes on");
    harness.push_second("late".to_owned(), 3).expect("goes on");
    let expected = [
        HarnessOutput::Record((1, Some(5), i64::MIN), 5),
        HarnessOutput::Watermark(10),
        HarnessOutput::Record((2, None, 10), i64::MIN),
    ];
    assert_eq!(harness.take_output(), expected);
    assert_eq!(harness.take_side_output(&words), [("late".to_owned(), 3)]);
    let error = harness.push_second(String::new(), 3).expect_err("fails").to_string();
    assert!(error.contains("an empty word"), "{error}");
}

/// Gathers what comes for a key from both streams; emits it when event time has passed 100, however it was set.
#[derive(Clone)]
struct Gather;

impl KeyedCoProcessFunction<u64, (u64, u64), (String, String)> for Gather {
    type Out = (u64, Vec<String>);
    type State = (ListState<String>, ValueState<u64>);

    fn open(&mut self, context: &mut OpenContext<'_, u64>) -> Result<Self::State> {
        Ok((context.list_state("all")?, context.value_state("count")?))
    }

    fn process_element1(
        &mut self,
        (_, n): (u64, u64),
        (all, count): &mut Self::State,
        context: &mut KeyedContext<'_, u64>,
        _: &mut Collector<Self::Out>,
    ) -> Result {
        all.add(n.to_string());
        *count.get_or_insert_with(|| 0) += 1;
        context.register_event_time_timer(100);
        Ok(())
    }

    fn process_element2(
        &mut self,
        (_, word): (String, String),
        (all, count): &mut Self::State,
        context: &mut KeyedContext<'_, u64>,
        _: &mut Collector<Self::Out>,
    ) -> Result {
        all.add(word);
        *count.get_or_insert_with(|| 0) += 1;
        context.register_processing_time_timer(50);
        Ok(())
    }

    fn on_timer(
        &mut self,
        time_ms: i64,
        domain: TimeDomain,
        (all, count): &mut Self::State,
        context: &mut KeyedContext<'_, u64>,
        out: &mut Collector<Self::Out>,
    ) -> Result {
        match domain {
            TimeDomain::EventTime => {
                assert_eq!(time_ms, 100);
                assert_eq!(count.take(), Some(all.get().map_or(0, |all| all.len() as u64)));
                out.collect((*context.current_key(), all.take()));
            }
            TimeDomain::ProcessingTime => {
                *count.get_or_insert_with(|| 0) += 1;
                all.add(format!("at {time_ms}"));
            }
        }
        Ok(())
    }
}

#[test]
fn state_and_timers_are_shared_and_move_with_their_keys() {
    let mut harness = OperatorHarness::two_inputs(|numbers, words| {
        let numbers = numbers.key_by(|(key, _): &(u64, u64)| *key);
        numbers.connect(words.key_by(|(key, _): &(String, String)| key.len() as u64)).process(Gather)
    })
    .expect("one task");
    for key in 0..20 {
        harness.push_first((key, 7), 1).expect("goes on");
    }
    harness.push_second(("aaa".to_owned(), "three".to_owned()), 1).expect("goes on");
    harness.set_processing_time(49).expect("goes on");
    let snapshot = harness.snapshot().expect("a snapshot");
    let mut parts: Vec<_> =
        (0..3).map(|subtask| harness.restore(&snapshot, subtask, 3).expect("restores")).collect();
    let mut all = Vec::new();
    for part in &mut parts {
        part.set_processing_time(50).expect("goes on");
        let word = ("aaaaa".to_owned(), "five".to_owned());
        if part.takes_second(&word).expect("has a key") {
            assert!(part.takes_first(&(5, 0)).expect("has a key"), "equal keys meet");
            part.push_second(word, 2).expect("goes on");
            part.set_processing_time(51).expect("goes on");
        }
        part.watermark(99).expect("goes on");
        assert_eq!(part.take_records(), []);
        part.watermark_first(100).expect("goes on");
        assert_eq!(part.take_records(), [], "the second input is behind");
        part.watermark_second(100).expect("goes on");
        all.extend(part.take_records());
        assert!(part.snapshot().expect("a snapshot").is_empty(), "nothing is kept");
    }
    all.sort();
    let seven = |key, more: &[&str]| {
        let words = std::iter::once("7").chain(more.iter().copied());
        ((key, words.map(String::from).collect::<Vec<_>>()), 100)
    };
    let expected: Vec<_> = (0..20)
        .map(|key| match key {
            3 => seven(3, &["three", "at 50"]),
            5 => seven(5, &["five", "at 50"]),
            _ => seven(key, &[]),
        })
        .collect();
    assert_eq!(all, expected);
}

#[test]
fn connected_streams_can_be_keyed_together() {
    let mut harness = OperatorHarness::two_inputs(|numbers, words| {
        let keyed = numbers
            .connect(words)
            .key_by(|(key, _): &(u64, u64)| *key, |(key, _): &(String, String)| key.len() as u64);
        keyed.process(Gather)
    })
    .expect("one task");
    harness.push_first((1, 2), 1).expect("goes on");
    harness.push_second(("a".to_owned(), "b".to_owned()), 1).expect("goes on");
    let snapshot = HarnessSnapshot::merge([harness.snapshot().expect("a snapshot")]);
    let mut restored = harness.restore(&snapshot, 0, 1).expect("restores");
    restored.finish().expect("ends");
    assert_eq!(restored.take_records(), [((1, vec!["2".to_owned(), "b".to_owned()]), 100)]);
}

#[test]
fn an_operator_with_two_inputs_can_have_a_parallelism_of_its_own() {
    let env = StreamExecutionEnvironment::new();
    let (ones, twos) = (env.from_collection([1; 100]), env.from_collection([2; 100]).rebalance());
    let all = ones.connect(twos).map(|n| n, |n| n).set_parallelism(3).collect();
    let job = env.execute_async("three").expect("starts");
    let subtasks: Vec<(String, usize)> =
        job.vertices().iter().map(|vertex| (vertex.name.clone(), vertex.subtasks.len())).collect();
    job.wait().expect("runs");
    assert_eq!(subtasks.last(), Some(&("Co-Map -> Collect".to_owned(), 3)));
    assert_eq!((all.len(), all.take().iter().sum::<i32>()), (200, 300));
}
