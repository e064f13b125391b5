//! Interval joins: which pairs, at which time, and for how long records are kept.

use streamkeeper_dataflow::batch::{Either, Records};
use streamkeeper_datastream::{
    Collector, DataStream, HarnessSnapshot, IntervalJoin, JoinContext, KeyFn, OperatorHarness, OutputTag,
    ProcessJoinFunction, Result,
};

type Record = (u64, i64);
type Harness<O> = OperatorHarness<Either<Records<Record>, Records<Record>>, O>;
type Key = fn(&Record) -> u64;
type Pairs = IntervalJoin<Record, Record, KeyFn<Key>, KeyFn<Key>>;

fn by_key(lefts: DataStream<Record>, rights: DataStream<Record>) -> Pairs {
    let key: Key = |(key, _)| *key;
    lefts.key_by(key).interval_join(rights.key_by(key))
}

/// Records whose value is their event time.
fn joined(lower: i64, upper: i64, exclusive: (bool, bool)) -> Harness<(u64, i64, i64)> {
    OperatorHarness::two_inputs(move |lefts, rights| {
        let mut join = by_key(lefts, rights).between(lower, upper);
        if exclusive.0 {
            join = join.lower_bound_exclusive();
        }
        if exclusive.1 {
            join = join.upper_bound_exclusive();
        }
        join.apply(|(key, left), (_, right)| (*key, *left, *right))
    })
    .expect("one task")
}

#[test]
fn pairs_are_those_within_the_bounds_whichever_side_comes_first() {
    let cases = [
        ((-2, 3), (false, false), vec![98, 99, 100, 101, 102, 103]),
        ((-2, 3), (true, false), vec![99, 100, 101, 102, 103]),
        ((-2, 3), (false, true), vec![98, 99, 100, 101, 102]),
        ((-2, 3), (true, true), vec![99, 100, 101, 102]),
        ((0, 0), (false, false), vec![100]),
        ((2, 4), (false, false), vec![102, 103, 104]),
        ((-4, -2), (false, false), vec![96, 97, 98]),
        ((i64::MIN, i64::MAX), (false, false), (90..110).collect()),
    ];
    for ((lower, upper), exclusive, expected) in cases {
        let mut right_first = joined(lower, upper, exclusive);
        for at in 90..110 {
            right_first.push_second((1, at), at).expect("goes on");
            right_first.push_second((2, at), at).expect("goes on");
        }
        right_first.push_first((1, 100), 100).expect("goes on");
        let mut left_first = joined(lower, upper, exclusive);
        left_first.push_first((1, 100), 100).expect("goes on");
        for at in 90..110 {
            left_first.push_second((1, at), at).expect("goes on");
            left_first.push_second((2, at), at).expect("goes on");
        }
        let expected: Vec<_> = expected.into_iter().map(|right| ((1, 100, right), right.max(100))).collect();
        assert_eq!(right_first.take_records(), expected, "{lower} {upper} {exclusive:?}");
        assert_eq!(left_first.take_records(), expected, "{lower} {upper} {exclusive:?}");
    }
}

#[test]
fn records_are_kept_until_no_partner_can_come() {
    // A left record at 100 waits for rights up to 105, a right one at 100 for lefts up to 102.
    let kept = |push_left: bool, watermark: i64| {
        let mut harness = joined(-2, 5, (false, false));
        if push_left { harness.push_first((1, 100), 100) } else { harness.push_second((1, 100), 100) }
            .expect("goes on");
        harness.watermark(watermark).expect("goes on");
        !harness.snapshot().expect("a snapshot").is_empty()
    };
    assert!(kept(true, 104) && !kept(true, 105));
    assert!(kept(false, 101) && !kept(false, 102));
    // Each by itself: the timer of one does not clean away the next.
    let mut harness = joined(-2, 5, (false, false));
    for at in [100, 101] {
        harness.push_first((1, at), at).expect("goes on");
    }
    harness.watermark(105).expect("goes on");
    harness.push_second((1, 106), 106).expect("goes on");
    assert_eq!(harness.take_records(), [((1, 101, 106), 106)]);
    // Partners of a record that can only be earlier have all come when event time reaches it.
    let mut harness = joined(-9, -5, (false, false));
    harness.push_first((1, 100), 100).expect("goes on");
    harness.watermark(100).expect("goes on");
    assert!(harness.snapshot().expect("a snapshot").is_empty());
}

#[test]
fn late_records_go_to_side_outputs() {
    let (left, right) = (OutputTag::new("left"), OutputTag::new("right"));
    let mut harness: Harness<(i64, i64)> = OperatorHarness::two_inputs(|lefts, rights| {
        by_key(lefts, rights)
            .between(-10, 10)
            .side_output_left_late_data(&left)
            .side_output_right_late_data(&right)
            .apply(|(_, left), (_, right)| (*left, *right))
    })
    .expect("one task");
    harness.push_second((1, 95), 95).expect("goes on");
    harness.watermark(100).expect("goes on");
    harness.push_first((1, 99), 99).expect("late");
    harness.push_first((1, 100), 100).expect("in time");
    harness.push_second((1, 98), 98).expect("late");
    assert_eq!(harness.take_records(), [((100, 95), 100)]);
    assert_eq!(harness.take_side_output(&left), [((1, 99), 99)]);
    assert_eq!(harness.take_side_output(&right), [((1, 98), 98)]);

    let mut dropping = joined(-10, 10, (false, false));
    dropping.watermark(100).expect("goes on");
    dropping.push_first((1, 99), 99).expect("dropped");
    dropping.push_second((1, 100), 100).expect("goes on");
    assert_eq!(dropping.take_records(), []);
}

/// Emits the event times of a pair; far ones to a side output.
#[derive(Clone)]
struct Times(OutputTag<i64>);

impl ProcessJoinFunction<Record, Record> for Times {
    type Out = (i64, i64);

    fn process_element(
        &mut self,
        left: &Record,
        right: &Record,
        context: &mut JoinContext<'_>,
        out: &mut Collector<(i64, i64)>,
    ) -> Result {
        assert_eq!((left.1, right.1), (context.left_timestamp(), context.right_timestamp()));
        let distance = right.1 - left.1;
        if distance.abs() > 5 {
            context.output(&self.0, distance);
        } else {
            out.collect((left.1, right.1));
        }
        if distance == 10 {
            return Err("too far".into());
        }
        Ok(())
    }
}

#[test]
fn a_function_of_pairs_has_times_side_outputs_and_errors() {
    let far = OutputTag::new("far");
    let mut harness: Harness<(i64, i64)> = OperatorHarness::two_inputs(|lefts, rights| {
        by_key(lefts, rights).between(-10, 10).process(Times(far.clone()))
    })
    .expect("one task");
    harness.push_first((1, 100), 100).expect("goes on");
    harness.push_second((1, 103), 103).expect("goes on");
    harness.push_second((1, 93), 93).expect("goes on");
    assert_eq!(harness.take_records(), [((100, 103), 103)]);
    assert_eq!(harness.take_side_output(&far), [(-7, 100)]);
    let error = harness.push_second((1, 110), 110).expect_err("fails").to_string();
    assert!(error.contains("too far"), "{error}");
}

#[test]
fn what_waits_for_a_partner_moves_with_its_key() {
    let mut harness = joined(-5, 5, (false, false));
    for key in 0..30 {
        harness.push_first((key, 100), 100).expect("goes on");
        harness.push_second((key, 200), 200).expect("goes on");
    }
    harness.watermark(99).expect("goes on");
    let snapshot = HarnessSnapshot::merge([harness.snapshot().expect("a snapshot")]);
    let mut pairs = Vec::new();
    for subtask in 0..4 {
        let mut part = harness.restore(&snapshot, subtask, 4).expect("restores");
        for key in 0..30 {
            if !harness_takes(&part, key) {
                continue;
            }
            part.push_second((key, 101), 101).expect("goes on");
            part.push_first((key, 199), 199).expect("goes on");
        }
        pairs.extend(part.take_records());
        part.watermark(205).expect("goes on");
        assert!(part.snapshot().expect("a snapshot").is_empty(), "cleaned by timers of before");
    }
    pairs.sort();
    let expected: Vec<_> = (0..30).flat_map(|key| [((key, 100, 101), 101), ((key, 199, 200), 200)]).collect();
    assert_eq!(pairs, expected);
}

fn harness_takes(harness: &Harness<(u64, i64, i64)>, key: u64) -> bool {
    let (first, second) = (harness.takes_first(&(key, 0)), harness.takes_second(&(key, 0)));
    let takes = first.expect("has a key");
    assert_eq!(takes, second.expect("has a key"), "equal keys meet");
    takes
}

#[test]
fn what_cannot_be_joined_is_refused() {
    let mut harness = joined(-5, 5, (false, false));
    let error = harness.push_first((1, 1), i64::MIN).expect_err("refused").to_string();
    assert!(error.contains("no event time"), "{error}");
    let refused = OperatorHarness::two_inputs(|lefts, rights| {
        let join = by_key(lefts, rights).between(5, 5).upper_bound_exclusive();
        join.apply(|(key, _), _| *key)
    });
    let error = refused.expect_err("refused").to_string();
    assert!(error.contains("lower bound"), "{error}");
}
