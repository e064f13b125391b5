//! When windows are emitted, what is evicted, what functions see, and joins. Answers are those of Flink's window operator, worked
//! out by hand.

use streamkeeper_datastream::window::{
    ContinuousEventTimeTrigger, ContinuousProcessingTimeTrigger, CountEvictor, CountTrigger, DeltaEvictor,
    DeltaTrigger, EventTimeSessionWindows, EventTimeTrigger, Evictor, GlobalWindow, GlobalWindows,
    NeverTrigger, ProcessWindowFunction, PurgingTrigger, TimeEvictor, TimeWindow, TimestampedValue, Trigger,
    TriggerContext, TriggerResult, TumblingEventTimeWindows, TumblingProcessingTimeWindows, Window,
    WindowAssigner, WindowContext,
};
use streamkeeper_datastream::{
    AggregateFunction, Collector, Error, OperatorHarness, OutputTag, Records, Result,
    StreamExecutionEnvironment,
};

use crate::windows::{Row, Sums, at, at_time, ms, push, take};

/// Sums by key and window.
fn sums<A, G>(assigner: A, trigger: G) -> Sums
where
    A: WindowAssigner<Row, Window = TimeWindow>,
    G: Trigger<Row, TimeWindow>,
{
    OperatorHarness::new(|rows| {
        rows.key_by(|(key, _)| *key).window(assigner).trigger(trigger).allowed_lateness(ms(5)).reduce_with(
            |(key, a), (_, b)| (key, a + b),
            |key, window, (_, sum), out| out.collect((*key, *sum, window.start, window.end)),
        )
    })
    .expect("opens")
}

#[test]
fn count_triggers_of_time_windows_fire_by_window_and_only_by_count() {
    let mut harness = sums(TumblingEventTimeWindows::of(ms(10)), CountTrigger::of(2));
    push(&mut harness, &[(1, 1, 0), (1, 2, 10), (2, 4, 1), (1, 8, 1)]);
    assert_eq!(take(&mut harness), [(1, 9, 0, 10)]);
    push(&mut harness, &[(1, 16, 2), (1, 32, 3)]);
    assert_eq!(take(&mut harness), [(1, 57, 0, 10)]);
    assert_eq!(at(&mut harness, 14), []);
    // Cleaned up: it would be the second record of key 2.
    push(&mut harness, &[(2, 64, 2), (1, 128, 11)]);
    assert_eq!(take(&mut harness), [(1, 130, 10, 20)]);
}

#[test]
fn a_purging_trigger_forgets_what_it_has_emitted() {
    let mut harness = sums(TumblingEventTimeWindows::of(ms(10)), PurgingTrigger::of(CountTrigger::of(2)));
    push(&mut harness, &[(1, 1, 0), (1, 2, 1), (1, 4, 2)]);
    assert_eq!(take(&mut harness), [(1, 3, 0, 10)]);
    push(&mut harness, &[(1, 8, 3)]);
    assert_eq!(take(&mut harness), [(1, 12, 0, 10)]);

    let mut harness = sums(TumblingEventTimeWindows::of(ms(10)), PurgingTrigger::of(EventTimeTrigger));
    push(&mut harness, &[(1, 1, 0)]);
    assert_eq!(at(&mut harness, 9), [(1, 1, 0, 10)]);
    // Within the allowed lateness: only what is new.
    push(&mut harness, &[(1, 2, 0)]);
    assert_eq!(take(&mut harness), [(1, 2, 0, 10)]);
}

#[test]
fn sessions_add_up_what_their_triggers_remember() {
    let mut harness = sums(EventTimeSessionWindows::with_gap(ms(10)), CountTrigger::of(4));
    push(&mut harness, &[(1, 1, 0), (1, 2, 20), (1, 4, 21)]);
    assert_eq!(take(&mut harness), []);
    // The fourth record, which brings two sessions together.
    push(&mut harness, &[(1, 8, 10)]);
    assert_eq!(take(&mut harness), [(1, 15, 0, 31)]);
    // A purged session is still there, and grows.
    let trigger = PurgingTrigger::of(CountTrigger::of(2));
    let mut harness = sums(EventTimeSessionWindows::with_gap(ms(10)), trigger);
    push(&mut harness, &[(1, 1, 0), (1, 2, 5)]);
    assert_eq!(take(&mut harness), [(1, 3, 0, 15)]);
    push(&mut harness, &[(1, 4, 10), (1, 8, 20)]);
    assert_eq!(take(&mut harness), [(1, 12, 0, 30)]);
    assert_eq!(at(&mut harness, i64::MAX), []);
}

#[test]
fn a_continuous_trigger_of_event_time() {
    let mut harness = sums(TumblingEventTimeWindows::of(ms(20)), ContinuousEventTimeTrigger::of(ms(6)));
    push(&mut harness, &[(1, 1, 7)]);
    // The multiples of 6 after the record, and the window's end.
    assert_eq!(at(&mut harness, 11), []);
    assert_eq!(at(&mut harness, 12), [(1, 1, 0, 20)]);
    push(&mut harness, &[(1, 2, 8)]);
    assert_eq!(at(&mut harness, 17), []);
    assert_eq!(at(&mut harness, 18), [(1, 3, 0, 20)]);
    assert_eq!(at(&mut harness, 19), [(1, 3, 0, 20)]);
    push(&mut harness, &[(1, 4, 8)]);
    assert_eq!(take(&mut harness), [(1, 7, 0, 20)]);
    assert_eq!(at(&mut harness, i64::MAX), []);
    // Sessions fire at the earliest time of those that merged.
    let mut harness = sums(EventTimeSessionWindows::with_gap(ms(10)), ContinuousEventTimeTrigger::of(ms(6)));
    push(&mut harness, &[(1, 1, 1), (1, 2, 15), (1, 4, 8)]);
    assert_eq!(at(&mut harness, 5), []);
    assert_eq!(at(&mut harness, 6), [(1, 7, 1, 25)]);
    assert_eq!(at(&mut harness, 12), [(1, 7, 1, 25)]);
}

#[test]
fn a_continuous_trigger_of_processing_time() {
    let mut harness =
        sums(TumblingEventTimeWindows::of(ms(20)), ContinuousProcessingTimeTrigger::of(ms(1000)));
    harness.set_processing_time(1500).expect("advances");
    push(&mut harness, &[(1, 1, 7), (1, 2, 8)]);
    assert_eq!(at(&mut harness, 18), []);
    // In a window of event time the next time is not after the window's end: Flink compares the two clocks.
    assert_eq!(at_time(&mut harness, 1500), [(1, 3, 0, 20)]);

    let mut harness =
        sums(TumblingProcessingTimeWindows::of(ms(2500)), ContinuousProcessingTimeTrigger::of(ms(1000)));
    harness.set_processing_time(300).expect("advances");
    push(&mut harness, &[(1, 1, 0)]);
    assert_eq!(at_time(&mut harness, 999), []);
    assert_eq!(at_time(&mut harness, 1000), [(1, 1, 0, 2500)]);
    push(&mut harness, &[(1, 2, 0)]);
    assert_eq!(at_time(&mut harness, 2499), [(1, 3, 0, 2500), (1, 3, 0, 2500)]);
    assert_eq!(at_time(&mut harness, 10_000), []);
}

/// The numbers of each window of key 0, when it is emitted.
type Lists = OperatorHarness<Records<i64>, Vec<i64>>;

fn lists<G, E>(trigger: G, evictor: E) -> Lists
where
    G: Trigger<i64, GlobalWindow>,
    E: Evictor<i64, GlobalWindow>,
{
    OperatorHarness::new(|numbers| {
        numbers.key_by(|_| 0).window(GlobalWindows).trigger(trigger).evictor(evictor).apply(
            |key, _, numbers, out| {
                assert_eq!(*key, 0);
                out.collect(numbers.to_vec());
            },
        )
    })
    .expect("opens")
}

/// Pushes numbers, each with ten times itself as its event time; what came out.
fn pushed(harness: &mut Lists, numbers: &[i64]) -> Vec<Vec<i64>> {
    numbers.iter().for_each(|n| harness.push(*n, n * 10).expect("takes it"));
    harness.take_records().into_iter().map(|(list, _)| list).collect()
}

#[test]
fn evictors_before_and_after_the_function() {
    let mut harness = lists(CountTrigger::of(2), CountEvictor::of(3));
    assert_eq!(pushed(&mut harness, &[1, 2, 3, 4, 5, 6]), [vec![1, 2], vec![2, 3, 4], vec![4, 5, 6]]);
    let mut harness = lists(CountTrigger::of(2), CountEvictor::of(1).after());
    assert_eq!(pushed(&mut harness, &[1, 2, 3, 4, 5, 6]), [vec![1, 2], vec![2, 3, 4], vec![4, 5, 6]]);
    let mut harness = lists(CountTrigger::of(3), TimeEvictor::of(ms(20)));
    assert_eq!(pushed(&mut harness, &[1, 3, 2, 4, 9, 8]), [vec![3, 2], vec![9, 8]]);
    let mut harness =
        lists(CountTrigger::of(2), DeltaEvictor::of(5.0, |a: &i64, b: &i64| (a - b).abs() as f64));
    assert_eq!(pushed(&mut harness, &[1, 5, 9, 10, 1, 2]), [vec![1, 5], vec![9, 10], vec![1, 2]]);
    // A function sees that nothing was left.
    let mut harness = lists(CountTrigger::of(2), CountEvictor::of(0));
    assert_eq!(pushed(&mut harness, &[1, 2, 3, 4]), [vec![], Vec::<i64>::new()]);
}

#[test]
fn a_delta_trigger_fires_when_a_record_is_far_from_the_last_that_fired() {
    let delta = |a: &i64, b: &i64| (b - a) as f64;
    let mut harness = lists(DeltaTrigger::of(10.0, delta), CountEvictor::of(100));
    assert_eq!(
        pushed(&mut harness, &[0, 5, 10, 11, 20, 21, 22]),
        [vec![0, 5, 10, 11], vec![0, 5, 10, 11, 20, 21, 22]]
    );
}

/// Fires with every number that is negative, and purges with 0.
#[derive(Clone)]
struct Signs;

impl<W: Window> Trigger<i64, W> for Signs {
    type State = ();

    fn on_element(
        &mut self,
        element: &i64,
        _: i64,
        _: &W,
        context: &mut TriggerContext<'_, W, ()>,
    ) -> Result<TriggerResult> {
        context.register_event_time_timer(1000);
        Ok(match element.signum() {
            -1 => TriggerResult::Fire,
            0 => TriggerResult::Purge,
            _ => TriggerResult::Continue,
        })
    }

    fn on_event_time(&mut self, _: i64, _: &W, _: &mut TriggerContext<'_, W, ()>) -> Result<TriggerResult> {
        Ok(TriggerResult::FireAndPurge)
    }

    fn clear(&mut self, _: &W, context: &mut TriggerContext<'_, W, ()>) -> Result {
        context.delete_event_time_timer(1000);
        Ok(())
    }
}

/// Drops what is greater than 5, before; afterwards, what is negative.
#[derive(Clone)]
struct Bounds;

impl<W: Window> Evictor<i64, W> for Bounds {
    fn evict_before(&mut self, elements: &mut Vec<TimestampedValue<i64>>, _: &W) {
        elements.retain(|element| element.value <= 5);
    }

    fn evict_after(&mut self, elements: &mut Vec<TimestampedValue<i64>>, _: &W) {
        elements.retain(|element| element.value >= 0);
    }
}

#[test]
fn triggers_and_evictors_of_ones_own() {
    let mut harness = lists(Signs, Bounds);
    assert_eq!(pushed(&mut harness, &[1, 7, -2, 3, -4]), [vec![1, -2], vec![1, 3, -4]]);
    assert_eq!(pushed(&mut harness, &[0, 4]), Vec::<Vec<i64>>::new());
    harness.watermark(1000).expect("advances");
    assert_eq!(pushed(&mut harness, &[-1]), [vec![4], vec![-1]]);
    // The window holds nothing now: its timer fires without an effect.
    assert_eq!(pushed(&mut harness, &[0]), Vec::<Vec<i64>>::new());
    harness.watermark(2000).expect("advances");
    assert_eq!(pushed(&mut harness, &[]), Vec::<Vec<i64>>::new());
}

#[test]
fn a_trigger_that_cannot_merge_is_refused_for_sessions() {
    let harness: std::result::Result<OperatorHarness<Records<i64>, i64>, Error> =
        OperatorHarness::new(|numbers| {
            let sessions = numbers.key_by(|_| 0).window(EventTimeSessionWindows::with_gap(ms(1)));
            sessions.trigger(Signs).reduce(|a, b| a + b)
        });
    let error = harness.expect_err("refused").to_string();
    assert!(error.contains("cannot be used with a trigger that does not support merging"), "{error}");
    let harness: std::result::Result<OperatorHarness<Records<i64>, i64>, Error> =
        OperatorHarness::new(|numbers| {
            let sessions = numbers.key_by(|_| 0).window(EventTimeSessionWindows::with_gap(ms(1)));
            sessions.trigger(NeverTrigger).reduce(|a, b| a + b)
        });
    harness.expect("can merge");
}

#[derive(Clone)]
struct Mean;

impl AggregateFunction for Mean {
    type In = Row;
    type Accumulator = (i64, i64);
    type Out = f64;

    fn create_accumulator(&self) -> (i64, i64) {
        (0, 0)
    }
    fn add(&self, (_, n): Row, (sum, count): &mut (i64, i64)) {
        *sum += n;
        *count += 1;
    }
    fn result(&self, (sum, count): &(i64, i64)) -> f64 {
        *sum as f64 / (*count).max(1) as f64
    }
    fn merge(&self, a: (i64, i64), b: (i64, i64)) -> (i64, i64) {
        (a.0 + b.0, a.1 + b.1)
    }
}

/// Emits what it sees with all that the context tells; odd keys also to a side output.
#[derive(Clone)]
struct Describe(OutputTag<u32>);

impl<T: std::fmt::Debug + 'static> ProcessWindowFunction<u32, TimeWindow, T> for Describe {
    type Out = String;

    fn process(
        &mut self,
        key: &u32,
        context: &mut WindowContext<'_, TimeWindow>,
        elements: &[T],
        out: &mut Collector<String>,
    ) -> Result {
        let TimeWindow { start, end } = *context.window();
        let (watermark, now) = (context.current_watermark(), context.current_processing_time());
        out.collect(format!("{key}: {elements:?} in {start}..{end} at {watermark}, {now}"));
        if key % 2 == 1 {
            context.output(&self.0, *key);
        }
        Ok(())
    }
}

#[test]
fn aggregates_and_functions_of_windows() {
    let tag = OutputTag::new("odd");
    let records = [((1, 4), 3), ((2, 5), 4), ((1, 7), 8)];
    let tumbling = || TumblingEventTimeWindows::of(ms(10));

    let mut harness =
        OperatorHarness::new(|rows| rows.key_by(|(key, _): &Row| *key).window(tumbling()).aggregate(Mean))
            .expect("opens");
    harness.push_all(records).expect("takes them");
    harness.watermark(100).expect("advances");
    assert_eq!(harness.take_records(), [(5.5, 9), (5.0, 9)]);

    let mut harness = OperatorHarness::new(|rows| {
        rows.key_by(|(key, _): &Row| *key).window(tumbling()).aggregate_process(Mean, Describe(tag.clone()))
    })
    .expect("opens");
    harness.push_all(records).expect("takes them");
    harness.watermark(12).expect("advances");
    let described = ["1: [5.5] in 0..10 at 12, 0", "2: [5.0] in 0..10 at 12, 0"];
    assert_eq!(harness.take_records(), described.map(|text| (text.to_owned(), 9)));
    assert_eq!(harness.take_side_output(&tag), [(1, 9)]);

    let mut harness = OperatorHarness::new(|rows| {
        rows.key_by(|(key, _): &Row| *key).window(tumbling()).process(Describe(tag.clone()))
    })
    .expect("opens");
    harness.push_all(records).expect("takes them");
    harness.watermark(12).expect("advances");
    let described = ["1: [(1, 4), (1, 7)] in 0..10 at 12, 0", "2: [(2, 5)] in 0..10 at 12, 0"];
    assert_eq!(harness.take_records(), described.map(|text| (text.to_owned(), 9)));

    // An aggregate of which all was evicted is that of nothing.
    let mut harness = OperatorHarness::new(|rows| {
        let windowed = rows.key_by(|(key, _): &Row| *key).window(tumbling()).evictor(CountEvictor::of(0));
        windowed.aggregate(Mean)
    })
    .expect("opens");
    harness.push_all(records).expect("takes them");
    harness.watermark(12).expect("advances");
    assert_eq!(harness.take_records(), [(0.0, 9), (0.0, 9)]);
}

#[test]
fn evictors_of_time_windows_and_reduces() {
    let mut harness: Sums = OperatorHarness::new(|rows| {
        let windowed = rows.key_by(|(key, _): &Row| *key).window(TumblingEventTimeWindows::of(ms(10)));
        windowed.allowed_lateness(ms(5)).evictor(CountEvictor::of(2)).reduce_with(
            |(key, a), (_, b)| (key, a + b),
            |key, window, (_, sum), out| out.collect((*key, *sum, window.start, window.end)),
        )
    })
    .expect("opens");
    push(&mut harness, &[(1, 1, 0), (1, 2, 1), (1, 4, 2), (2, 8, 2)]);
    assert_eq!(at(&mut harness, 9), [(1, 6, 0, 10), (2, 8, 0, 10)]);
    push(&mut harness, &[(1, 16, 0)]);
    assert_eq!(take(&mut harness), [(1, 20, 0, 10)]);
    assert_eq!(at(&mut harness, i64::MAX), []);
}

#[test]
fn windows_of_all_records() {
    let mut harness = OperatorHarness::new(|numbers| {
        numbers.window_all(TumblingEventTimeWindows::of(ms(10))).reduce(|a: i64, b| a + b)
    })
    .expect("opens");
    harness.push_all([(1, 0), (2, 9), (4, 10)]).expect("takes them");
    harness.watermark(100).expect("advances");
    assert_eq!(harness.take_records(), [(3, 9), (4, 19)]);
    let env = StreamExecutionEnvironment::new();
    env.set_parallelism(3);
    let numbers = env.from_collection(1..=100i64).rebalance().map(|n| n);
    let sums =
        numbers.window_all(GlobalWindows).trigger(CountTrigger::of(100)).reduce(|a, b| a + b).collect();
    env.execute("all").expect("runs");
    assert_eq!(sums.take(), [5050]);
}

#[test]
fn joins_pair_what_has_the_same_key_and_window() {
    for parallelism in [1, 3] {
        let env = StreamExecutionEnvironment::new();
        env.set_parallelism(parallelism);
        let first = env.from_collection([(1, 10), (1, 11), (2, 20), (3, 30)]);
        let second = env.from_collection([(1, 100), (2, 200), (2, 201), (4, 400)]);
        let pairs = first
            .join(second)
            .where_(|(key, _)| *key)
            .equal_to(|(key, _)| *key)
            .window(GlobalWindows)
            .trigger(CountTrigger::of(3))
            .apply(|a, b| (a.1, b.1))
            .collect();
        env.execute("join").expect("runs");
        let mut pairs = pairs.take();
        pairs.sort_unstable();
        assert_eq!(pairs, [(10, 100), (11, 100), (20, 200), (20, 201)]);
    }
}
