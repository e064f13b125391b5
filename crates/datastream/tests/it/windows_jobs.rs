//! Windows in whole jobs: joins, late records, windows behind windows.

use streamkeeper_datastream::window::{
    CountEvictor, EventTimeSessionWindows, SlidingEventTimeWindows, Tagged, TumblingEventTimeWindows,
};
use streamkeeper_datastream::{
    DataStream, OutputTag, StreamExecutionEnvironment, WatermarkGenerator, WatermarkStrategy,
};

use crate::windows::ms;

/// Key, event time, number.
type Event = (u32, i64, i64);

fn by_event_time()
-> WatermarkStrategy<Event, impl WatermarkGenerator<Event>, impl Fn(&Event, i64) -> i64 + Clone + Send + Sync>
{
    WatermarkStrategy::for_monotonous_timestamps().with_timestamp_assigner(|(_, time, _): &Event, _| *time)
}

fn sorted<T: Ord>(mut values: Vec<T>) -> Vec<T> {
    values.sort_unstable();
    values
}

fn events(env: &StreamExecutionEnvironment, events: &[Event]) -> DataStream<Event> {
    env.from_collection(events.to_vec()).assign_timestamps_and_watermarks(by_event_time()).shared()
}

#[test]
fn joins_and_co_groups_by_window() {
    for parallelism in [1, 3] {
        let env = StreamExecutionEnvironment::new();
        env.set_parallelism(parallelism);
        let first = events(&env, &[(1, 1, 10), (2, 3, 20), (1, 8, 11), (1, 19, 12), (4, 19, 40)]);
        let second = events(&env, &[(1, 2, 100), (1, 9, 101), (1, 10, 102), (2, 13, 200), (3, 30, 300)]);
        let key = |(key, ..): &Event| *key;
        let inner = first
            .clone()
            .join(second.clone())
            .where_(key)
            .equal_to(key)
            .window(TumblingEventTimeWindows::of(ms(10)))
            .apply(|a, b| (a.2, b.2))
            .collect();
        let flat = first
            .clone()
            .join(second.clone())
            .where_(key)
            .equal_to(key)
            .window(SlidingEventTimeWindows::of(ms(10), ms(5)))
            .apply_with(|a, b, out| {
                if a.0 == 2 {
                    out.collect((a.2, b.2));
                }
            })
            .collect();
        let groups = first
            .clone()
            .co_group(second.clone())
            .where_(key)
            .equal_to(key)
            .window(TumblingEventTimeWindows::of(ms(10)))
            .apply(|a, b, out| {
                let numbers = |events: &[Event]| sorted(events.iter().map(|(.., n)| *n).collect::<Vec<_>>());
                out.collect((numbers(a), numbers(b)));
            })
            .collect();
        let sessions = first
            .join(second)
            .where_(key)
            .equal_to(key)
            .window(EventTimeSessionWindows::with_gap(ms(11)))
            .evictor(CountEvictor::of(100))
            .apply(|a, b| (a.2, b.2))
            .collect();
        env.execute("joins").expect("runs");
        assert_eq!(sorted(inner.take()), [(10, 100), (10, 101), (11, 100), (11, 101), (12, 102)]);
        // Windows from -5, 0, 5, 10: the events of key 2, at 3 and 13, share none.
        assert_eq!(flat.take(), []);
        let expected = [
            (vec![], vec![200]),
            (vec![], vec![300]),
            (vec![10, 11], vec![100, 101]),
            (vec![12], vec![102]),
            (vec![20], vec![]),
            (vec![40], vec![]),
        ];
        assert_eq!(sorted(groups.take()), expected);
        let of_key_1 = [10, 11, 12].map(|a| [100, 101, 102].map(|b| (a, b))).concat();
        assert_eq!(sorted(sessions.take()), [of_key_1, vec![(20, 200)]].concat());
    }
}

#[test]
fn late_records_are_counted_or_go_aside() {
    // The watermark goes along with each batch of the source: the last record comes long after its window.
    let mut rows: Vec<Event> = (0..5000).map(|time| (1, time, 1)).collect();
    rows.push((1, 50, 1));
    let late: OutputTag<Event> = OutputTag::new("late");
    for aside in [false, true] {
        let env = StreamExecutionEnvironment::new();
        env.set_parallelism(1);
        let windowed =
            events(&env, &rows).key_by(|(key, ..)| *key).window(TumblingEventTimeWindows::of(ms(1000)));
        let windowed = if aside { windowed.side_output_late_data(&late) } else { windowed };
        let sums = windowed.reduce(|a, b| (a.0, a.1, a.2 + b.2)).shared();
        let late = sums.side_output(&late).map(|row| row).collect();
        let sums = sums.map(|(.., sum)| sum).collect();
        let job = env.execute_async("late").expect("starts");
        while !job.is_done() {
            std::thread::yield_now();
        }
        let dropped: u64 = job
            .vertices()
            .iter()
            .flat_map(|vertex| vertex.subtasks.iter().map(|metrics| metrics.num_late_records_dropped.get()))
            .sum();
        job.wait().expect("runs");
        assert_eq!(sums.take(), [1000; 5]);
        assert_eq!((dropped, late.take()), if aside { (0, vec![(1, 50, 1)]) } else { (1, vec![]) });
    }
}

#[test]
fn windows_can_follow_windows() {
    let env = StreamExecutionEnvironment::new();
    env.set_parallelism(2);
    let rows: Vec<Event> = (0..100).map(|time| ((time % 7) as u32, time, time)).collect();
    let greatest = events(&env, &rows)
        .key_by(|(key, ..)| *key)
        .window(TumblingEventTimeWindows::of(ms(10)))
        .reduce(|a, b| (a.0, a.1, a.2 + b.2))
        .window_all(TumblingEventTimeWindows::of(ms(10)))
        .apply(|_, window, sums, out| {
            out.collect((window.start, sums.iter().map(|(.., sum)| *sum).max().unwrap_or_default()));
        })
        .collect();
    env.execute("greatest").expect("runs");
    let expected: Vec<(i64, i64)> = (0..10)
        .map(|n| {
            let sums = (0..7).map(|key| (n * 10..n * 10 + 10).filter(|time| time % 7 == key).sum::<i64>());
            (n * 10, sums.max().unwrap_or_default())
        })
        .collect();
    assert_eq!(greatest.take(), expected);
}

#[test]
fn what_joins_see_is_tagged() {
    let late = OutputTag::new("late");
    let env = StreamExecutionEnvironment::new();
    let (first, second) = (events(&env, &[(1, 5, 1)]), events(&env, &[(1, 6, 2)]));
    let gap = |event: &Tagged<Event, Event>| match event {
        Tagged::First(_) => ms(1),
        Tagged::Second(_) => ms(10),
    };
    let pairs = first
        .join(second)
        .where_(|(key, ..)| *key)
        .equal_to(|(key, ..)| *key)
        .window(EventTimeSessionWindows::with_dynamic_gap(gap))
        .allowed_lateness(ms(1))
        .side_output_late_data(&late)
        .apply(|a, b| a.2 + b.2)
        .collect();
    env.execute("tagged").expect("runs");
    assert_eq!(pairs.take(), [3]);
}
