//! Windows by their assigners: which records meet, when they are emitted, and what becomes of late ones. Answers are those of
//! Flink's window operator, worked out by hand.

use std::time::Duration;

use streamkeeper_datastream::window::{
    EventTimeSessionWindows, GlobalWindows, ProcessingTimeSessionWindows, SlidingEventTimeWindows,
    SlidingProcessingTimeWindows, TimeWindow, TumblingEventTimeWindows, TumblingProcessingTimeWindows,
    WindowAssigner,
};
use streamkeeper_datastream::{OperatorHarness, OutputTag, Records};

/// A key and a number.
pub(crate) type Row = (u32, i64);
/// Key, sum, start and end of a window.
pub(crate) type Sum = (u32, i64, i64, i64);
pub(crate) type Sums = OperatorHarness<Records<Row>, Sum>;

pub(crate) fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Sums by key and window.
fn sums<A: WindowAssigner<Row, Window = TimeWindow>>(assigner: A, lateness: u64) -> Sums {
    OperatorHarness::new(|rows| {
        rows.key_by(|(key, _)| *key).window(assigner).allowed_lateness(ms(lateness)).reduce_with(
            |(key, a), (_, b)| (key, a + b),
            |key, window, (_, sum), out| out.collect((*key, *sum, window.start, window.end)),
        )
    })
    .expect("opens")
}

pub(crate) fn push(harness: &mut Sums, rows: &[(u32, i64, i64)]) {
    for (key, n, timestamp) in rows {
        harness.push((*key, *n), *timestamp).expect("takes it");
    }
}

/// What came out, in order of key and window. Its event time must be the window's last millisecond.
pub(crate) fn take(harness: &mut Sums) -> Vec<Sum> {
    let records = harness.take_records();
    let mut sums: Vec<Sum> = records
        .into_iter()
        .map(|(sum, timestamp)| {
            assert_eq!(timestamp, sum.3 - 1);
            sum
        })
        .collect();
    sums.sort_by_key(|(key, _, start, _)| (*key, *start));
    sums
}

pub(crate) fn at(harness: &mut Sums, watermark: i64) -> Vec<Sum> {
    harness.watermark(watermark).expect("advances");
    take(harness)
}

pub(crate) fn at_time(harness: &mut Sums, now_ms: i64) -> Vec<Sum> {
    harness.set_processing_time(now_ms).expect("advances");
    take(harness)
}

#[test]
fn tumbling_windows_of_event_time() {
    let mut harness = sums(TumblingEventTimeWindows::of(ms(10)), 0);
    push(&mut harness, &[(1, 1, 0), (1, 2, 9), (1, 4, 10), (2, 8, 5), (1, 16, -1), (2, 32, 25)]);
    assert_eq!(at(&mut harness, -2), []);
    assert_eq!(at(&mut harness, -1), [(1, 16, -10, 0)]);
    assert_eq!(at(&mut harness, 8), []);
    assert_eq!(at(&mut harness, 9), [(1, 3, 0, 10), (2, 8, 0, 10)]);
    // Late for the window that was emitted, in time for the next.
    push(&mut harness, &[(1, 64, 9), (1, 128, 11)]);
    assert_eq!(take(&mut harness), []);
    assert_eq!(at(&mut harness, i64::MAX), [(1, 4 + 128, 10, 20), (2, 32, 20, 30)]);
}

#[test]
fn windows_with_an_offset() {
    let mut harness = sums(TumblingEventTimeWindows::with_offset(ms(10), ms(3)), 0);
    push(&mut harness, &[(1, 1, 2), (1, 2, 3), (1, 4, 12), (1, 8, 13)]);
    assert_eq!(at(&mut harness, 12), [(1, 1, -7, 3), (1, 6, 3, 13)]);
    assert_eq!(at(&mut harness, 22), [(1, 8, 13, 23)]);
    let mut harness = sums(SlidingEventTimeWindows::with_offset(ms(10), ms(5), ms(2)), 0);
    push(&mut harness, &[(1, 1, 2)]);
    assert_eq!(at(&mut harness, i64::MAX), [(1, 1, -3, 7), (1, 1, 2, 12)]);
}

#[test]
fn sliding_windows_of_event_time() {
    let mut harness = sums(SlidingEventTimeWindows::of(ms(10), ms(5)), 0);
    push(&mut harness, &[(1, 1, 0), (1, 2, 4), (1, 4, 5), (1, 8, 12)]);
    assert_eq!(at(&mut harness, 4), [(1, 3, -5, 5)]);
    // Late for the window from -5 and only for that one.
    push(&mut harness, &[(1, 16, 3)]);
    assert_eq!(at(&mut harness, 9), [(1, 1 + 2 + 4 + 16, 0, 10)]);
    assert_eq!(at(&mut harness, 14), [(1, 4 + 8, 5, 15)]);
    assert_eq!(at(&mut harness, 19), [(1, 8, 10, 20)]);
    assert_eq!(at(&mut harness, i64::MAX), []);
    // The size is no multiple of the slide: some records are in two windows, some in one.
    let mut harness = sums(SlidingEventTimeWindows::of(ms(10), ms(7)), 0);
    push(&mut harness, &[(1, 1, 8), (1, 2, 11)]);
    assert_eq!(at(&mut harness, i64::MAX), [(1, 1, 0, 10), (1, 3, 7, 17)]);
}

#[test]
fn a_record_between_windows_is_in_none_and_not_late() {
    let late = OutputTag::new("late");
    let mut harness: Sums = OperatorHarness::new(|rows| {
        rows.key_by(|(key, _)| *key)
            .window(SlidingEventTimeWindows::of(ms(5), ms(10)))
            .side_output_late_data(&late)
            .reduce_with(
                |(key, a), (_, b)| (key, a + b),
                |key, window, (_, sum), out| out.collect((*key, *sum, window.start, window.end)),
            )
    })
    .expect("opens");
    push(&mut harness, &[(1, 1, 4), (1, 2, 5), (1, 4, 9), (1, 8, 10)]);
    assert_eq!(at(&mut harness, 6), [(1, 1, 0, 5)]);
    push(&mut harness, &[(1, 16, 5), (1, 32, 7)]);
    assert_eq!(at(&mut harness, i64::MAX), [(1, 8, 10, 15)]);
    assert_eq!(harness.take_side_output(&late), [((1, 16), 5)]);
}

#[test]
fn records_within_the_allowed_lateness_fire_again_and_later_ones_go_aside() {
    let late = OutputTag::new("late");
    let mut harness: Sums = OperatorHarness::new(|rows| {
        rows.key_by(|(key, _)| *key)
            .window(TumblingEventTimeWindows::of(ms(10)))
            .allowed_lateness(ms(5))
            .side_output_late_data(&late)
            .reduce_with(
                |(key, a), (_, b)| (key, a + b),
                |key, window, (_, sum), out| out.collect((*key, *sum, window.start, window.end)),
            )
    })
    .expect("opens");
    push(&mut harness, &[(1, 1, 5), (2, 2, 5)]);
    assert_eq!(at(&mut harness, 9), [(1, 1, 0, 10), (2, 2, 0, 10)]);
    push(&mut harness, &[(1, 4, 3)]);
    assert_eq!(take(&mut harness), [(1, 5, 0, 10)]);
    // A key that had nothing, and a window that nobody had.
    push(&mut harness, &[(3, 8, 9), (3, 16, 9)]);
    assert_eq!(harness.take_records(), [((3, 8, 0, 10), 9), ((3, 24, 0, 10), 9)]);
    assert_eq!(at(&mut harness, 13), []);
    push(&mut harness, &[(1, 32, 0)]);
    assert_eq!(take(&mut harness), [(1, 37, 0, 10)]);
    assert_eq!(at(&mut harness, 14), []);
    push(&mut harness, &[(1, 64, 9), (1, 128, 10)]);
    assert_eq!(at(&mut harness, 30), [(1, 128, 10, 20)]);
    assert_eq!(harness.take_side_output(&late), [((1, 64), 9)]);
}

#[test]
fn a_record_late_for_some_of_its_windows_is_not_late() {
    let late = OutputTag::new("late");
    let mut harness: Sums = OperatorHarness::new(|rows| {
        rows.key_by(|(key, _)| *key)
            .window(SlidingEventTimeWindows::of(ms(10), ms(5)))
            .allowed_lateness(ms(2))
            .side_output_late_data(&late)
            .reduce_with(
                |(key, a), (_, b)| (key, a + b),
                |key, window, (_, sum), out| out.collect((*key, *sum, window.start, window.end)),
            )
    })
    .expect("opens");
    assert_eq!(at(&mut harness, 10), []);
    // [-5, 5) is over, [0, 10) has ended but takes it.
    push(&mut harness, &[(1, 1, 4)]);
    assert_eq!(take(&mut harness), [(1, 1, 0, 10)]);
    assert_eq!(at(&mut harness, 11), []);
    push(&mut harness, &[(1, 2, 4), (1, 4, 5)]);
    assert_eq!(at(&mut harness, i64::MAX), [(1, 4, 5, 15)]);
    assert_eq!(harness.take_side_output(&late), [((1, 2), 4)]);
}

#[test]
fn sessions_of_event_time_merge() {
    let mut harness = sums(EventTimeSessionWindows::with_gap(ms(10)), 0);
    push(&mut harness, &[(1, 1, 0), (1, 2, 5), (2, 4, 5), (1, 8, 30), (1, 16, 25)]);
    assert_eq!(at(&mut harness, 13), []);
    assert_eq!(at(&mut harness, 14), [(1, 3, 0, 15), (2, 4, 5, 15)]);
    // Touches the session from 25 to 40, and what came between brings two together.
    push(&mut harness, &[(1, 32, 60), (1, 64, 40), (1, 128, 50)]);
    assert_eq!(at(&mut harness, 69), [(1, 8 + 16 + 32 + 64 + 128, 25, 70)]);
    assert_eq!(at(&mut harness, i64::MAX), []);
}

#[test]
fn a_late_session_is_dropped_unless_it_merges_with_one_that_is_not() {
    let late = OutputTag::new("late");
    let mut harness: Sums = OperatorHarness::new(|rows| {
        rows.key_by(|(key, _)| *key)
            .window(EventTimeSessionWindows::with_gap(ms(10)))
            .allowed_lateness(ms(10))
            .side_output_late_data(&late)
            .reduce_with(
                |(key, a), (_, b)| (key, a + b),
                |key, window, (_, sum), out| out.collect((*key, *sum, window.start, window.end)),
            )
    })
    .expect("opens");
    push(&mut harness, &[(1, 1, 10), (1, 2, 15)]);
    assert_eq!(at(&mut harness, 24), [(1, 3, 10, 25)]);
    // Late but allowed: the session grows, and is emitted at once if it still ended before the watermark.
    push(&mut harness, &[(1, 4, 12)]);
    assert_eq!(take(&mut harness), [(1, 7, 10, 25)]);
    push(&mut harness, &[(1, 8, 3)]);
    assert_eq!(take(&mut harness), [(1, 15, 3, 25)]);
    push(&mut harness, &[(1, 16, 20)]);
    assert_eq!(take(&mut harness), []);
    assert_eq!(at(&mut harness, 29), [(1, 31, 3, 30)]);
    // Alone it would be late: its end, 19, and the lateness are before the watermark of 38. With the session it is not.
    assert_eq!(at(&mut harness, 38), []);
    push(&mut harness, &[(1, 32, 9), (2, 64, 9)]);
    assert_eq!(take(&mut harness), [(1, 63, 3, 30)]);
    // It is cleaned up at 29 + 10.
    assert_eq!(at(&mut harness, 39), []);
    push(&mut harness, &[(1, 128, 29)]);
    assert_eq!(take(&mut harness), [(1, 128, 29, 39)]);
    assert_eq!(at(&mut harness, i64::MAX), []);
    assert_eq!(harness.take_side_output(&late), [((2, 64), 9)]);
}

#[test]
fn sessions_with_gaps_of_their_own() {
    let gap = |(_, n): &Row| ms(*n as u64);
    let mut harness = sums(EventTimeSessionWindows::with_dynamic_gap(gap), 0);
    push(&mut harness, &[(1, 10, 0), (1, 3, 5), (1, 20, 11), (2, 1, 7)]);
    assert_eq!(at(&mut harness, i64::MAX), [(1, 13, 0, 10), (1, 20, 11, 31), (2, 1, 7, 8)]);
    let mut harness = sums(EventTimeSessionWindows::with_dynamic_gap(gap), 0);
    let error = harness.push((1, 0), 5).expect_err("no gap").to_string();
    assert!(error.contains("a session's gap must be at least 1 ms"), "{error}");
}

#[test]
fn windows_of_processing_time() {
    let mut harness = sums(TumblingProcessingTimeWindows::of(ms(10)), 0);
    harness.set_processing_time(3).expect("advances");
    push(&mut harness, &[(1, 1, 1000), (2, 2, i64::MIN)]);
    assert_eq!(at(&mut harness, i64::MAX), []);
    assert_eq!(at_time(&mut harness, 8), []);
    push(&mut harness, &[(1, 4, 0)]);
    assert_eq!(at_time(&mut harness, 9), [(1, 5, 0, 10), (2, 2, 0, 10)]);
    assert_eq!(at_time(&mut harness, 100), []);

    let mut harness = sums(SlidingProcessingTimeWindows::of(ms(10), ms(5)), 0);
    harness.set_processing_time(3).expect("advances");
    push(&mut harness, &[(1, 1, 0)]);
    assert_eq!(at_time(&mut harness, 4), [(1, 1, -5, 5)]);
    harness.set_processing_time(6).expect("advances");
    push(&mut harness, &[(1, 2, 0)]);
    assert_eq!(at_time(&mut harness, 14), [(1, 3, 0, 10), (1, 2, 5, 15)]);

    let mut harness = sums(ProcessingTimeSessionWindows::with_gap(ms(10)), 0);
    for (now_ms, n) in [(0, 1), (8, 2), (16, 4)] {
        harness.set_processing_time(now_ms).expect("advances");
        push(&mut harness, &[(1, n, 0)]);
    }
    assert_eq!(at_time(&mut harness, 24), []);
    assert_eq!(at_time(&mut harness, 25), [(1, 7, 0, 26)]);
    assert_eq!(at_time(&mut harness, 100), []);
}

#[test]
fn the_global_window_is_never_emitted_by_itself() {
    let mut harness = OperatorHarness::new(|rows| {
        rows.key_by(|(key, _): &Row| *key).window(GlobalWindows).reduce(|a, _| a)
    })
    .expect("opens");
    harness.push((1, 1), 5).expect("takes it");
    harness.set_processing_time(i64::MAX - 1).expect("advances");
    harness.finish().expect("ends");
    assert_eq!(harness.take_records(), []);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let refused = |assigner| {
        let harness: Result<Sums, _> = OperatorHarness::new(|rows| {
            rows.key_by(|(key, _)| *key).window(assigner).reduce_with(
                |a, _| a,
                |key, window: &TimeWindow, (_, sum), out| out.collect((*key, *sum, window.start, window.end)),
            )
        });
        harness.expect_err("refused").to_string()
    };
    for assigner in [
        SlidingEventTimeWindows::of(ms(0), ms(5)),
        SlidingEventTimeWindows::of(ms(10), Duration::from_micros(10)),
        SlidingEventTimeWindows::with_offset(ms(10), ms(5), ms(5)),
    ] {
        let error = refused(assigner);
        assert!(error.contains("size and slide must be at least 1 ms"), "{error}");
    }
    let mut harness = sums(TumblingEventTimeWindows::of(ms(10)), 0);
    let error = harness.push((1, 1), i64::MIN).expect_err("no event time").to_string();
    assert!(error.contains("the record has no event time"), "{error}");
    let mut harness = sums(EventTimeSessionWindows::with_gap(ms(10)), 0);
    let error = harness.push((1, 1), i64::MIN).expect_err("no event time").to_string();
    assert!(error.contains("the record has no event time"), "{error}");
}
