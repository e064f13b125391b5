use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::TimestampMillisecondType;
use streamkeeper_connectors::schema::Field;
use streamkeeper_sql::operators::harness::{Harness, batch, rows};
use streamkeeper_sql::operators::join::IntervalJoin;
use streamkeeper_sql::operators::spec::{IntervalJoinSpec, JoinKind, JoinSpec};

use crate::join_support::{Cluster, Less, Random, at, bigint, lines, sorted, string, timestamp};

fn side(prefix: &str) -> Vec<Field> {
    vec![string(&format!("{prefix}k")), timestamp(&format!("{prefix}t")), bigint(&format!("{prefix}v"))]
}

fn spec(kind: JoinKind, lower_ms: i64, upper_ms: i64, condition: bool) -> IntervalJoinSpec {
    IntervalJoinSpec {
        join: JoinSpec {
            kind,
            left: side("l"),
            right: side("r"),
            left_keys: vec![0],
            right_keys: vec![0],
            condition: condition.then(|| Arc::new(Less::new(2, 5)) as _),
            output: [side("l"), side("r")].concat(),
        },
        left_time: 1,
        right_time: 1,
        lower_ms,
        upper_ms,
    }
}

fn row(key: &str, time: i64, value: u64) -> String {
    format!("{key}|{}|{value}", at(time))
}

fn shown(row: Option<&(String, i64, u64)>) -> String {
    match row {
        None => "null, null, null".into(),
        Some((key, time, value)) => {
            let time = at(*time);
            format!("{key}, {}, {value}", time.strip_suffix(".000").unwrap_or(&time))
        }
    }
}

#[test]
fn left_interval_join_waits_until_no_partner_can_come() {
    let spec = spec(JoinKind::Left, -100, 50, false);
    let mut join = Harness::open(IntervalJoin::new(spec.clone())).unwrap();
    let left = [row("a", 1000, 1), row("b", 1000, 2), row("null", 1000, 3)];
    join.push(0, batch(&spec.join.left, false, &lines(&left)).unwrap()).unwrap();
    let null = ("null".to_owned(), 1000, 3);
    assert_eq!(join.take(), [format!("+I[{}, null, null, null]", shown(Some(&null)))]);
    let right =
        [row("a", 950, 4), row("a", 949, 5), row("a", 1100, 6), row("a", 1101, 7), row("null", 1000, 8)];
    join.push(1, batch(&spec.join.right, false, &lines(&right)).unwrap()).unwrap();
    let a = ("a".to_owned(), 1000, 1);
    let partners = [("a".to_owned(), 950, 4), ("a".to_owned(), 1100, 6)];
    let expected = partners.map(|r| format!("+I[{}, {}]", shown(Some(&a)), shown(Some(&r))));
    assert_eq!(sorted(join.take()), sorted(expected.to_vec()));
    assert_eq!(join.watermark(1099).unwrap(), 999);
    assert!(join.take().is_empty());
    assert_eq!(join.watermark(1100).unwrap(), 1000);
    assert_eq!(join.take(), [format!("+I[{}, null, null, null]", shown(Some(&("b".to_owned(), 1000, 2))))]);
    // Late: a partner that is still held is found, and nothing waits for it.
    let late = [row("a", 1055, 9), row("c", 1000, 10)];
    join.push(0, batch(&spec.join.left, false, &lines(&late)).unwrap()).unwrap();
    let found = format!(
        "+I[{}, {}]",
        shown(Some(&("a".to_owned(), 1055, 9))),
        shown(Some(&("a".to_owned(), 1101, 7)))
    );
    let found_too = format!(
        "+I[{}, {}]",
        shown(Some(&("a".to_owned(), 1055, 9))),
        shown(Some(&("a".to_owned(), 1100, 6)))
    );
    let alone = format!("+I[{}, null, null, null]", shown(Some(&("c".to_owned(), 1000, 10))));
    assert_eq!(sorted(join.take()), sorted(vec![found, found_too, alone]));
    assert_eq!(join.watermark(i64::MAX).unwrap(), i64::MAX);
    assert!(join.take().is_empty());
}

#[test]
fn interval_join_equals_nested_loops_whatever_happens_in_between() {
    let kinds = [JoinKind::Inner, JoinKind::Left, JoinKind::Right, JoinKind::Full];
    for seed in 0..32u64 {
        let mut random = Random(seed);
        let (lower, upper) = [(-30, 20), (0, 0), (5, 40), (-50, -10), (10, 5)][random.below(5) as usize];
        let spec = spec(kinds[seed as usize % 4], lower, upper, seed % 8 >= 4);
        let mut cluster = Cluster::new(|| IntervalJoin::new(spec.clone()), &[&[0], &[0]], 1);
        let mut sides: [Vec<(String, i64, u64)>; 2] = [Vec::new(), Vec::new()];
        let (mut emitted, mut value, mut forwarded) = (Vec::new(), 0, i64::MIN);
        for step in 0..30 {
            let input = random.below(2) as usize;
            let mut text = Vec::new();
            for _ in 0..1 + random.below(40) {
                let key = if random.below(20) == 0 { "null".into() } else { format!("k{}", random.below(4)) };
                let time = step * 10 + random.below(60) as i64;
                value += 1;
                let shuffled = value * 7919 % 1009;
                text.push(row(&key, time, shuffled));
                sides[input].push((key, time, shuffled));
            }
            let fields = if input == 0 { &spec.join.left } else { &spec.join.right };
            cluster.push(input, batch(fields, false, &lines(&text)).unwrap());
            let next = cluster.watermark((step + 1) * 10 - 1);
            for batch in cluster.take_batches() {
                for column in [1, 4] {
                    let times = batch.column(column).as_primitive::<TimestampMillisecondType>();
                    assert!(times.iter().flatten().all(|time| time > forwarded), "seed {seed}: late output");
                }
                emitted.extend(rows(&[batch]));
            }
            forwarded = next;
            if random.below(4) == 0 {
                emitted.extend(cluster.rescale(1 + random.below(3) as usize));
            }
        }
        cluster.watermark(i64::MAX);
        emitted.extend(cluster.take());
        let matches = |l: &(String, i64, u64), r: &(String, i64, u64)| {
            l.0 == r.0
                && l.0 != "null"
                && (lower..=upper).contains(&(l.1 - r.1))
                && (spec.join.condition.is_none() || l.2 < r.2)
        };
        let [left, right] = &sides;
        let mut expected = Vec::new();
        for l in left {
            let partners = right.iter().filter(|r| matches(l, r)).collect::<Vec<_>>();
            expected.extend(partners.iter().map(|r| format!("+I[{}, {}]", shown(Some(l)), shown(Some(r)))));
            if partners.is_empty() && matches!(spec.join.kind, JoinKind::Left | JoinKind::Full) {
                expected.push(format!("+I[{}, {}]", shown(Some(l)), shown(None)));
            }
        }
        if matches!(spec.join.kind, JoinKind::Right | JoinKind::Full) {
            let alone = right.iter().filter(|r| !left.iter().any(|l| matches(l, r)));
            expected.extend(alone.map(|r| format!("+I[{}, {}]", shown(None), shown(Some(r)))));
        }
        assert_eq!(sorted(emitted), sorted(expected), "seed {seed}");
    }
}
