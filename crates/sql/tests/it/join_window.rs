use std::sync::Arc;

use streamkeeper_connectors::schema::Field;
use streamkeeper_sql::operators::harness::{Harness, batch};
use streamkeeper_sql::operators::join::WindowJoin;
use streamkeeper_sql::operators::spec::{JoinKind, JoinSpec, WindowJoinSpec};

use crate::join_support::{Cluster, Less, Random, at, bigint, lines, sorted, string, timestamp};

fn side(prefix: &str) -> Vec<Field> {
    let name = |suffix: &str| format!("{prefix}{suffix}");
    vec![
        bigint(&name("v")),
        bigint(&name("k")),
        string(&name("k2")),
        timestamp(&name("s")),
        timestamp(&name("e")),
    ]
}

fn spec(kind: JoinKind, condition: bool) -> WindowJoinSpec {
    let output = if matches!(kind, JoinKind::Semi | JoinKind::Anti) {
        side("l")
    } else {
        [side("l"), side("r")].concat()
    };
    WindowJoinSpec {
        join: JoinSpec {
            kind,
            left: side("l"),
            right: side("r"),
            left_keys: vec![1, 2],
            right_keys: vec![1, 2],
            condition: condition.then(|| Arc::new(Less::new(0, 5)) as _),
            output,
        },
        left_window: (3, 4),
        right_window: (3, 4),
    }
}

#[derive(Clone)]
struct Row {
    value: u64,
    key: Option<(u64, u64)>,
    window: i64,
}

impl Row {
    fn text(&self, separator: &str) -> String {
        let (key, key2) =
            self.key.map_or(("null".into(), "x".into()), |(a, b)| (a.to_string(), format!("s{b}")));
        let time = |ms| at(ms).trim_end_matches(".000").to_owned();
        [self.value.to_string(), key, key2, time(self.window), time(self.window + 1000)].join(separator)
    }
}

const NULLS: &str = "null, null, null, null, null";

#[test]
fn window_join_equals_nested_loops_whatever_happens_in_between() {
    let kinds =
        [JoinKind::Inner, JoinKind::Left, JoinKind::Right, JoinKind::Full, JoinKind::Semi, JoinKind::Anti];
    for seed in 0..36u64 {
        let mut random = Random(seed);
        let kind = kinds[seed as usize % 6];
        let mut spec = spec(kind, seed % 12 >= 6);
        // Without keys the inputs are spread by window.
        let keyed = !(12..18).contains(&seed);
        if !keyed {
            spec.join.left_keys.clear();
            spec.join.right_keys.clear();
        }
        let columns: &[usize] = if keyed { &[1, 2] } else { &[3, 4] };
        let mut cluster = Cluster::new(|| WindowJoin::new(spec.clone()), &[columns, columns], 1);
        let mut sides: [Vec<Row>; 2] = [Vec::new(), Vec::new()];
        let mut emitted = Vec::new();
        // The last seeds have windows with more matches than a batch holds.
        let (keys, most) = if seed >= 30 { (1, 400) } else { (4, 30) };
        for step in 0..16i64 {
            let input = random.below(2) as usize;
            let mut rows = Vec::new();
            for _ in 0..1 + random.below(most) {
                let key = (random.below(12) > 0).then(|| (random.below(keys), random.below(2)));
                let window = (step / 4 + random.below(2) as i64) * 1000;
                rows.push(Row { value: random.below(1000), key, window });
            }
            let text = rows.iter().map(|row| row.text("|")).collect::<Vec<_>>();
            sides[input].extend(rows);
            let fields = if input == 0 { &spec.join.left } else { &spec.join.right };
            cluster.push(input, batch(fields, false, &lines(&text)).unwrap());
            if step % 4 == 3 {
                cluster.watermark((step / 4 + 1) * 1000 - 1);
            }
            if random.below(3) == 0 {
                emitted.extend(cluster.rescale(1 + random.below(3) as usize));
            }
        }
        cluster.watermark(i64::MAX);
        for batch in cluster.take_batches() {
            assert!(batch.num_rows() <= 8192);
            emitted.extend(streamkeeper_sql::operators::harness::rows(&[batch]));
        }
        assert_eq!(sorted(emitted), sorted(nested_loops(&spec, &sides)), "seed {seed}");
    }
}

fn nested_loops(spec: &WindowJoinSpec, [left, right]: &[Vec<Row>; 2]) -> Vec<String> {
    let matches = |l: &Row, r: &Row| {
        l.window == r.window
            && (spec.join.left_keys.is_empty() || (l.key.is_some() && l.key == r.key))
            && (spec.join.condition.is_none() || l.value < r.value)
    };
    let kind = spec.join.kind;
    let mut expected = Vec::new();
    for l in left {
        let partners = right.iter().filter(|r| matches(l, r)).collect::<Vec<_>>();
        let l = l.text(", ");
        match kind {
            JoinKind::Semi if !partners.is_empty() => expected.push(format!("+I[{l}]")),
            JoinKind::Anti if partners.is_empty() => expected.push(format!("+I[{l}]")),
            JoinKind::Left | JoinKind::Full if partners.is_empty() => {
                expected.push(format!("+I[{l}, {NULLS}]"))
            }
            JoinKind::Semi | JoinKind::Anti => {}
            _ => expected.extend(partners.iter().map(|r| format!("+I[{l}, {}]", r.text(", ")))),
        }
    }
    if matches!(kind, JoinKind::Right | JoinKind::Full) {
        let alone = right.iter().filter(|r| !left.iter().any(|l| matches(l, r)));
        expected.extend(alone.map(|r| format!("+I[{NULLS}, {}]", r.text(", "))));
    }
    expected
}

#[test]
fn window_join_drops_and_counts_rows_of_closed_windows() {
    let spec = spec(JoinKind::Left, false);
    let row = |window| Row { value: 1, key: Some((1, 1)), window }.text("|");
    let mut join = Harness::open(WindowJoin::new(spec.clone())).unwrap();
    join.watermark(999).unwrap();
    join.push(0, batch(&spec.join.left, false, &[&row(0), &row(1000)]).unwrap()).unwrap();
    join.push(1, batch(&spec.join.right, false, &[&row(0)]).unwrap()).unwrap();
    assert_eq!(join.metrics.num_late_records_dropped.get(), 2);
    join.watermark(1998).unwrap();
    assert!(join.take().is_empty());
    join.watermark(1999).unwrap();
    assert_eq!(join.take().len(), 1);
}

#[test]
fn window_join_closes_windows_of_local_time_at_their_instant() {
    let spec = spec(JoinKind::Left, false);
    let berlin = WindowJoin::new(spec.clone()).with_time_zone(Some("Europe/Berlin".into()));
    let mut join = Harness::open(berlin).unwrap();
    let row = Row { value: 1, key: Some((1, 1)), window: 3_600_000 }.text("|");
    join.push(0, batch(&spec.join.left, false, &[&row]).unwrap()).unwrap();
    join.watermark(998).unwrap();
    assert!(join.take().is_empty());
    join.watermark(999).unwrap();
    assert_eq!(join.take().len(), 1);
}
