use std::collections::BTreeMap;

use streamkeeper_connectors::schema::Field;
use streamkeeper_sql::operators::harness::{Harness, batch};
use streamkeeper_sql::operators::spec::{SortKey, WindowRankSpec};
use streamkeeper_sql::operators::window_rank::WindowRank;

use crate::join_support::{Cluster, Random, at, bigint, lines, sorted, string, timestamp};

fn spec(rank_start: u64, rank_end: u64) -> WindowRankSpec {
    let input =
        vec![timestamp("window_start"), timestamp("window_end"), string("k"), bigint("v"), bigint("id")];
    let mut output: Vec<Field> = input.clone();
    output.push(bigint("rownum"));
    WindowRankSpec {
        input,
        partition: vec![2],
        window_start: 0,
        window_end: 1,
        order: vec![SortKey { column: 3, descending: true, nulls_first: false }],
        rank_start,
        rank_end,
        output_rank: true,
        output,
    }
}

fn row(window: i64, key: &str, value: &str, id: u64) -> String {
    format!("{}|{}|{key}|{value}|{id}", at(window), at(window + 1000))
}

#[test]
fn window_rank_fires_in_order_of_windows_and_drops_late_rows() {
    let mut rank = Harness::open(WindowRank::new(spec(1, 2))).unwrap();
    let spec = spec(1, 2);
    let rows = [
        row(1000, "a", "5", 1),
        row(0, "a", "1", 2),
        row(0, "a", "null", 3),
        row(0, "a", "1", 4),
        row(0, "a", "9", 5),
        row(0, "b", "null", 6),
    ];
    rank.push(0, batch(&spec.input, false, &lines(&rows)).unwrap()).unwrap();
    assert_eq!(rank.watermark(998).unwrap(), 998);
    assert!(rank.take().is_empty());
    rank.watermark(999).unwrap();
    let time = |ms| at(ms).trim_end_matches(".000").to_owned();
    let (start, end) = (time(0), time(1000));
    let expected = [
        format!("+I[{start}, {end}, a, 9, 5, 1]"),
        format!("+I[{start}, {end}, a, 1, 2, 2]"),
        format!("+I[{start}, {end}, b, null, 6, 1]"),
    ];
    assert_eq!(rank.take(), expected);
    rank.push(0, batch(&spec.input, false, &[&row(0, "a", "99", 7)]).unwrap()).unwrap();
    assert_eq!(rank.metrics.num_late_records_dropped.get(), 1);
    rank.watermark(i64::MAX).unwrap();
    assert_eq!(rank.take(), [format!("+I[{}, {}, a, 5, 1, 1]", time(1000), time(2000))]);
}

#[test]
fn window_rank_can_prefer_the_last_of_equal_rows() {
    let spec = spec(1, 1);
    let mut rank = Harness::open(WindowRank::new(spec.clone()).with_last_of_equals(true)).unwrap();
    let rows = (0..30_000).map(|id| row(0, "a", "1", id)).collect::<Vec<_>>();
    for part in rows.chunks(5000) {
        rank.push(0, batch(&spec.input, false, &lines(part)).unwrap()).unwrap();
    }
    rank.watermark(i64::MAX).unwrap();
    assert!(rank.take()[0].ends_with("a, 1, 29999, 1]"));
}

#[test]
fn window_rank_equals_a_sort_whatever_happens_in_between() {
    for seed in 0..24 {
        let mut random = Random(seed);
        let mut spec = spec(1 + random.below(2), 2 + random.below(3));
        // Without a partition the input is spread by window.
        let partitioned = seed % 3 > 0;
        let keys: &[usize] = if partitioned { &[2] } else { &[0, 1] };
        spec.partition.retain(|_| partitioned);
        let mut cluster = Cluster::new(|| WindowRank::new(spec.clone()), &[keys], 1);
        let mut model: BTreeMap<(i64, String), Vec<(i64, u64)>> = BTreeMap::new();
        let mut emitted = Vec::new();
        let mut id = 0;
        for step in 0..12 {
            let count = 1 + random.below(if seed == 0 { 9000 } else { 60 });
            let mut rows = Vec::new();
            for _ in 0..count {
                // The window before the current one is still open.
                let window = (step / 2 + random.below(2) as i64) * 1000;
                let key = format!("k{}", if partitioned { random.below(5) } else { 0 });
                let value = random.below(10) as i64;
                rows.push(row(window, &key, &value.to_string(), id));
                model.entry((window, key)).or_default().push((value, id));
                id += 1;
            }
            cluster.push(0, batch(&spec.input, false, &lines(&rows)).unwrap());
            if step % 2 == 1 {
                cluster.watermark((step / 2 + 1) * 1000 - 1);
            }
            if random.below(3) == 0 {
                emitted.extend(cluster.rescale(1 + random.below(3) as usize));
            }
        }
        cluster.watermark(i64::MAX);
        emitted.extend(cluster.take());
        let mut expected = Vec::new();
        for ((window, key), mut values) in model {
            values.sort_by_key(|(value, _)| -value);
            for (index, (value, id)) in values.iter().enumerate() {
                let rank = index as u64 + 1;
                if (spec.rank_start..=spec.rank_end).contains(&rank) {
                    let time = |ms: i64| at(ms).trim_end_matches(".000").to_owned();
                    let (start, end) = (time(window), time(window + 1000));
                    expected.push(format!("+I[{start}, {end}, {key}, {value}, {id}, {rank}]"));
                }
            }
        }
        assert_eq!(sorted(emitted), sorted(expected), "seed {seed}");
    }
}
