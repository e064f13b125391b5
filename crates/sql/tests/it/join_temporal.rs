use std::sync::Arc;

use streamkeeper_connectors::schema::Field;
use streamkeeper_sql::operators::harness::{Harness, batch};
use streamkeeper_sql::operators::join::TemporalJoin;
use streamkeeper_sql::operators::spec::{JoinKind, JoinSpec, TemporalJoinSpec};

use crate::join_support::{Cluster, Less, Random, at, bigint, lines, sorted, string, timestamp};

fn side(prefix: &str) -> Vec<Field> {
    vec![string(&format!("{prefix}k")), timestamp(&format!("{prefix}t")), bigint(&format!("{prefix}v"))]
}

fn spec(kind: JoinKind, right_changelog: bool) -> TemporalJoinSpec {
    TemporalJoinSpec {
        join: JoinSpec {
            kind,
            left: side("l"),
            right: side("r"),
            left_keys: vec![0],
            right_keys: vec![0],
            condition: None,
            output: [side("l"), side("r")].concat(),
        },
        left_changelog: false,
        right_changelog,
        left_time: 1,
        right_time: 1,
        last_rows: false,
    }
}

fn shown(key: &str, time: i64, value: u64) -> String {
    let time = at(time);
    format!("{key}, {}, {value}", time.strip_suffix(".000").unwrap_or(&time))
}

/// A row as `kind|key|time|value`, or without a kind.
fn row(kind: &str, key: &str, time: i64, value: u64) -> String {
    let kind = if kind.is_empty() { String::new() } else { format!("{kind}|") };
    format!("{kind}{key}|{}|{value}", at(time))
}

fn left(join: &mut Harness, rows: &[(&str, i64, u64)]) {
    let text = rows.iter().map(|(key, time, value)| row("", key, *time, *value)).collect::<Vec<_>>();
    join.push(0, batch(&side("l"), false, &lines(&text)).unwrap()).unwrap();
}

fn right(join: &mut Harness, rows: &[(&str, &str, i64, u64)]) {
    let text = rows.iter().map(|(kind, key, time, value)| row(kind, key, *time, *value)).collect::<Vec<_>>();
    join.push(1, batch(&side("r"), true, &lines(&text)).unwrap()).unwrap();
}

fn joined(l: (&str, i64, u64), r: Option<(&str, i64, u64)>) -> String {
    let r = r.map_or("null, null, null".to_owned(), |r| shown(r.0, r.1, r.2));
    format!("+I[{}, {r}]", shown(l.0, l.1, l.2))
}

#[test]
fn a_row_waits_for_the_watermark_and_meets_the_version_of_its_time() {
    let mut join = Harness::open(TemporalJoin::new(spec(JoinKind::Left, true))).unwrap();
    left(&mut join, &[("a", 15, 1), ("a", 5, 2), ("b", 10, 3), ("null", 10, 4), ("a", 25, 5)]);
    right(&mut join, &[("+I", "a", 10, 100), ("-U", "a", 10, 100), ("+U", "a", 20, 200)]);
    assert!(join.take().is_empty());
    assert_eq!(join.watermark(9).unwrap(), 9);
    assert_eq!(join.take(), [joined(("a", 5, 2), None)]);
    join.watermark(19).unwrap();
    let expected = [
        joined(("a", 15, 1), Some(("a", 10, 100))),
        joined(("b", 10, 3), None),
        joined(("null", 10, 4), None),
    ];
    assert_eq!(sorted(join.take()), sorted(expected.to_vec()));
    join.watermark(30).unwrap();
    assert_eq!(join.take(), [joined(("a", 25, 5), Some(("a", 20, 200)))]);
}

#[test]
fn a_deletion_ends_a_version_and_a_version_of_the_same_time_replaces_it() {
    let mut join = Harness::open(TemporalJoin::new(spec(JoinKind::Inner, true))).unwrap();
    right(&mut join, &[("+I", "a", 10, 1), ("-D", "a", 20, 1), ("+I", "a", 30, 2), ("+U", "a", 30, 3)]);
    left(&mut join, &[("a", 9, 1), ("a", 19, 2), ("a", 20, 3), ("a", 29, 4), ("a", 30, 5)]);
    join.watermark(50).unwrap();
    let expected = [joined(("a", 19, 2), Some(("a", 10, 1))), joined(("a", 30, 5), Some(("a", 30, 3)))];
    assert_eq!(join.take(), expected);
}

#[test]
fn a_late_row_is_joined_at_the_next_watermark_with_what_is_there() {
    let mut join = Harness::open(TemporalJoin::new(spec(JoinKind::Left, true))).unwrap();
    right(&mut join, &[("+I", "a", 10, 1), ("+U", "a", 20, 2)]);
    join.watermark(30).unwrap();
    left(&mut join, &[("a", 12, 7), ("a", 22, 8)]);
    assert!(join.take().is_empty());
    join.watermark(31).unwrap();
    // The version of 10 went when the watermark passed 20.
    assert_eq!(join.take(), [joined(("a", 12, 7), None), joined(("a", 22, 8), Some(("a", 20, 2)))]);
    // A late version is one nevertheless.
    right(&mut join, &[("+U", "a", 25, 3)]);
    left(&mut join, &[("a", 26, 9)]);
    join.watermark(32).unwrap();
    assert_eq!(join.take(), [joined(("a", 26, 9), Some(("a", 25, 3)))]);
}

#[test]
fn of_last_rows_an_older_one_is_no_version() {
    let spec = TemporalJoinSpec { last_rows: true, right_changelog: false, ..spec(JoinKind::Left, false) };
    let mut join = Harness::open(TemporalJoin::new(spec)).unwrap();
    let text = [row("", "a", 20, 1), row("", "a", 10, 2), row("", "a", 20, 3)];
    join.push(1, batch(&side("r"), false, &lines(&text)).unwrap()).unwrap();
    left(&mut join, &[("a", 15, 1), ("a", 25, 2)]);
    join.watermark(30).unwrap();
    assert_eq!(join.take(), [joined(("a", 15, 1), None), joined(("a", 25, 2), Some(("a", 20, 3)))]);
}

#[test]
fn rows_of_the_left_keep_their_kinds() {
    let spec = TemporalJoinSpec { left_changelog: true, ..spec(JoinKind::Left, true) };
    let mut join = Harness::open(TemporalJoin::new(spec)).unwrap();
    right(&mut join, &[("+I", "a", 10, 1)]);
    let text = [row("+I", "a", 11, 1), row("-U", "a", 11, 1), row("+U", "a", 12, 2), row("-D", "b", 12, 3)];
    join.push(0, batch(&side("l"), true, &lines(&text)).unwrap()).unwrap();
    join.watermark(30).unwrap();
    let version = shown("a", 10, 1);
    let expected = [
        format!("+I[{}, {version}]", shown("a", 11, 1)),
        format!("-U[{}, {version}]", shown("a", 11, 1)),
        format!("+U[{}, {version}]", shown("a", 12, 2)),
        format!("-D[{}, null, null, null]", shown("b", 12, 3)),
    ];
    assert_eq!(sorted(join.take()), sorted(expected.to_vec()));
}

#[derive(Clone)]
struct Row(String, i64, u64);

impl Row {
    fn parts(&self) -> (&str, i64, u64) {
        (&self.0, self.1, self.2)
    }
}

#[test]
fn temporal_join_equals_a_search_in_all_versions_whatever_happens_in_between() {
    for seed in 0..32u64 {
        let mut random = Random(seed);
        let kind = [JoinKind::Inner, JoinKind::Left][seed as usize % 2];
        let mut spec = spec(kind, seed % 4 < 2);
        let condition = seed % 8 < 4;
        spec.join.condition = condition.then(|| Arc::new(Less::new(2, 5)) as _);
        let mut cluster = Cluster::new(|| TemporalJoin::new(spec.clone()), &[&[0], &[0]], 1);
        let (mut lefts, mut rights) = (Vec::<Row>::new(), Vec::<(Row, bool)>::new());
        let (mut emitted, mut value) = (Vec::new(), 0);
        for step in 0..30 {
            let is_left = random.below(2) == 0;
            let mut text = Vec::new();
            for _ in 0..1 + random.below(40) {
                let key = format!("k{}", random.below(4));
                let time = step * 10 + random.below(60) as i64;
                value += 1;
                let shuffled = value * 7919 % 1009;
                let deleted = spec.right_changelog && random.below(4) == 0;
                let next = Row(key, time, shuffled);
                let kind = match (is_left || !spec.right_changelog, deleted) {
                    (true, _) => "",
                    (false, true) => "-D",
                    (false, false) => "+U",
                };
                text.push(row(kind, &next.0, time, shuffled));
                if is_left { lefts.push(next) } else { rights.push((next, deleted)) }
            }
            let (input, fields) = if is_left { (0, side("l")) } else { (1, side("r")) };
            let changelog = !is_left && spec.right_changelog;
            cluster.push(input, batch(&fields, changelog, &lines(&text)).unwrap());
            cluster.watermark((step + 1) * 10 - 1);
            emitted.extend(cluster.take());
            if random.below(4) == 0 {
                emitted.extend(cluster.rescale(1 + random.below(3) as usize));
            }
        }
        cluster.watermark(i64::MAX);
        emitted.extend(cluster.take());
        let version = |l: &Row| {
            let of_key = rights.iter().filter(|(r, _)| r.0 == l.0 && r.1 <= l.1);
            // The last of those with the greatest time.
            let newest = of_key.max_by_key(|(r, _)| r.1)?;
            (!newest.1 && (!condition || l.2 < newest.0.2)).then_some(&newest.0)
        };
        let expected = lefts.iter().filter_map(|l| match version(l) {
            Some(r) => Some(joined(l.parts(), Some(r.parts()))),
            None => (kind == JoinKind::Left).then(|| joined(l.parts(), None)),
        });
        assert_eq!(sorted(emitted), sorted(expected.collect()), "seed {seed}");
    }
}

#[test]
fn rows_of_a_key_go_out_in_their_order_of_arrival_also_after_a_restore() {
    let spec = spec(JoinKind::Left, true);
    let mut cluster = Cluster::new(|| TemporalJoin::new(spec.clone()), &[&[0], &[0]], 1);
    let push = |cluster: &mut Cluster<_>, time: i64, value: i64| {
        let text = [row("", "a", time, value as u64)];
        cluster.push(0, batch(&side("l"), false, &lines(&text)).unwrap());
    };
    for round in 0..10i64 {
        // The row that goes leaves room, which the last takes.
        push(&mut cluster, round, 0);
        push(&mut cluster, 1000 - 2 * round, 2 * round);
        cluster.watermark(round);
        push(&mut cluster, 1000 - 2 * round - 1, 2 * round + 1);
    }
    cluster.take();
    cluster.rescale(3);
    cluster.rescale(2);
    cluster.watermark(2000);
    let expected = (0..20i64).map(|round| joined(("a", 1000 - round, round as u64), None));
    assert_eq!(cluster.take(), expected.collect::<Vec<_>>());
}
