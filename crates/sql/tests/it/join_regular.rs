use std::collections::BTreeMap;
use std::sync::Arc;

use streamkeeper_connectors::schema::Field;
use streamkeeper_sql::operators::harness::{Harness, batch, rows};
use streamkeeper_sql::operators::join::RegularJoin;
use streamkeeper_sql::operators::spec::{JoinKind, JoinSpec, RegularJoinSpec};

use crate::join_support::{Cluster, Less, Random, bigint, lines, sorted, string};

fn side(prefix: &str) -> Vec<Field> {
    vec![bigint(&format!("{prefix}v")), bigint(&format!("{prefix}k")), string(&format!("{prefix}s"))]
}

fn spec(kind: JoinKind, condition: bool, changelog: [bool; 3]) -> RegularJoinSpec {
    let output = if matches!(kind, JoinKind::Semi | JoinKind::Anti) {
        side("l")
    } else {
        [side("l"), side("r")].concat()
    };
    RegularJoinSpec {
        join: JoinSpec {
            kind,
            left: side("l"),
            right: side("r"),
            left_keys: vec![1],
            right_keys: vec![1],
            condition: condition.then(|| Arc::new(Less::new(0, 3)) as _),
            output,
        },
        left_changelog: changelog[0],
        right_changelog: changelog[1],
        output_changelog: changelog[2],
    }
}

/// Hands rows over one after the other: `0 +I|…` to the left, `1 +I|…` to the right.
fn run(spec: &RegularJoinSpec, changes: &[&str]) -> Vec<String> {
    let mut join = Harness::open(RegularJoin::new(spec.clone())).unwrap();
    let mut emitted = Vec::new();
    for change in changes {
        let (input, change) = change.split_once(' ').unwrap();
        let input: usize = input.parse().unwrap();
        let (fields, changelog) =
            [(&spec.join.left, spec.left_changelog), (&spec.join.right, spec.right_changelog)][input];
        join.push(input, batch(fields, changelog, &[change]).unwrap()).unwrap();
        emitted.push(format!("{input} {change}"));
        emitted.extend(join.take().iter().map(|row| format!("  {row}")));
    }
    emitted
}

#[test]
fn left_join_deletes_the_null_row_before_the_first_match_and_brings_it_back_after_the_last() {
    let spec = spec(JoinKind::Left, false, [true, true, true]);
    let emitted = run(
        &spec,
        &[
            "0 +I|1|7|a",
            "1 +I|5|7|x",
            "1 +I|6|7|y",
            "1 -U|5|7|x",
            "1 -D|6|7|y",
            "1 +U|8|7|z",
            "0 -U|1|7|a",
            "0 +U|2|7|b",
            "0 +I|3|null|c",
            "0 -D|3|null|c",
        ],
    );
    expect_test::expect![[r#"
        0 +I|1|7|a
          +I[1, 7, a, null, null, null]
        1 +I|5|7|x
          -D[1, 7, a, null, null, null]
          +I[1, 7, a, 5, 7, x]
        1 +I|6|7|y
          +I[1, 7, a, 6, 7, y]
        1 -U|5|7|x
          -U[1, 7, a, 5, 7, x]
        1 -D|6|7|y
          -D[1, 7, a, 6, 7, y]
          +I[1, 7, a, null, null, null]
        1 +U|8|7|z
          -D[1, 7, a, null, null, null]
          +I[1, 7, a, 8, 7, z]
        0 -U|1|7|a
          -D[1, 7, a, 8, 7, z]
        0 +U|2|7|b
          +I[2, 7, b, 8, 7, z]
        0 +I|3|null|c
          +I[3, null, c, null, null, null]
        0 -D|3|null|c
          -D[3, null, c, null, null, null]"#]]
    .assert_eq(&emitted.join("\n"));
}

#[test]
fn inner_join_passes_the_kind_of_the_change_on() {
    let spec = spec(JoinKind::Inner, false, [true, false, true]);
    let emitted = run(&spec, &["1 5|7|x", "0 +I|1|7|a", "0 -U|1|7|a", "0 +U|2|7|b", "0 -D|2|7|b"]);
    expect_test::expect![[r#"
        1 5|7|x
        0 +I|1|7|a
          +I[1, 7, a, 5, 7, x]
        0 -U|1|7|a
          -U[1, 7, a, 5, 7, x]
        0 +U|2|7|b
          +U[2, 7, b, 5, 7, x]
        0 -D|2|7|b
          -D[2, 7, b, 5, 7, x]"#]]
    .assert_eq(&emitted.join("\n"));
}

#[test]
fn semi_and_anti_join_follow_the_first_and_the_last_partner() {
    let changes = ["0 +I|1|7|a", "1 +I|5|7|x", "1 +I|5|7|x", "1 -D|5|7|x", "1 -U|5|7|x", "0 -D|1|7|a"];
    let semi = run(&spec(JoinKind::Semi, false, [true, true, true]), &changes);
    expect_test::expect![[r#"
        0 +I|1|7|a
        1 +I|5|7|x
          +I[1, 7, a]
        1 +I|5|7|x
        1 -D|5|7|x
        1 -U|5|7|x
          -U[1, 7, a]
        0 -D|1|7|a"#]]
    .assert_eq(&semi.join("\n"));
    let anti = run(&spec(JoinKind::Anti, false, [true, true, true]), &changes);
    expect_test::expect![[r#"
        0 +I|1|7|a
          +I[1, 7, a]
        1 +I|5|7|x
          -D[1, 7, a]
        1 +I|5|7|x
        1 -D|5|7|x
        1 -U|5|7|x
          +I[1, 7, a]
        0 -D|1|7|a
          -D[1, 7, a]"#]]
    .assert_eq(&anti.join("\n"));
}

type Row = (u64, Option<u64>, u64);

fn show(row: Option<&Row>, separator: &str) -> String {
    let null = || "null".to_owned();
    let row = row.map(|(v, k, s)| [v.to_string(), k.map_or_else(null, |k| k.to_string()), format!("s{s}")]);
    row.unwrap_or_else(|| [null(), null(), null()]).join(separator)
}

/// What an upsert sink would hold: rows with their multiplicities.
fn materialise(emitted: &[String]) -> BTreeMap<String, i64> {
    let mut state = BTreeMap::new();
    for row in emitted {
        let (kind, row) = row.split_at(2);
        let count = state.entry(row.to_owned()).or_insert(0);
        *count += if matches!(kind, "+I" | "+U") { 1 } else { -1 };
        assert!(*count >= 0, "{row} was retracted before it was inserted");
    }
    state.retain(|_, count| *count > 0);
    state
}

fn batch_join(spec: &RegularJoinSpec, [left, right]: &[Vec<Row>; 2]) -> Vec<String> {
    let kind = spec.join.kind;
    let matches =
        |l: &Row, r: &Row| l.1.is_some() && l.1 == r.1 && (spec.join.condition.is_none() || l.0 < r.0);
    let mut expected = Vec::new();
    for l in left {
        let partners = right.iter().filter(|r| matches(l, r)).collect::<Vec<_>>();
        let text = show(Some(l), ", ");
        match kind {
            JoinKind::Semi if !partners.is_empty() => expected.push(format!("[{text}]")),
            JoinKind::Anti if partners.is_empty() => expected.push(format!("[{text}]")),
            JoinKind::Semi | JoinKind::Anti => {}
            JoinKind::Left | JoinKind::Full if partners.is_empty() => {
                expected.push(format!("[{text}, {}]", show(None, ", ")));
            }
            _ => expected.extend(partners.iter().map(|r| format!("[{text}, {}]", show(Some(r), ", ")))),
        }
    }
    if matches!(kind, JoinKind::Right | JoinKind::Full) {
        let alone = right.iter().filter(|r| !left.iter().any(|l| matches(l, r)));
        expected.extend(alone.map(|r| format!("[{}, {}]", show(None, ", "), show(Some(r), ", "))));
    }
    expected
}

#[test]
fn regular_join_adds_up_to_the_batch_join_whatever_happens_in_between() {
    let kinds =
        [JoinKind::Inner, JoinKind::Left, JoinKind::Right, JoinKind::Full, JoinKind::Semi, JoinKind::Anti];
    for seed in 0..60u64 {
        let mut random = Random(seed);
        let changelog = [random.below(3) > 0, random.below(3) > 0, true];
        let spec = spec(kinds[seed as usize % 6], seed % 12 >= 6, changelog);
        let mut cluster = Cluster::new(|| RegularJoin::new(spec.clone()), &[&[1], &[1]], 1);
        let mut held: [Vec<Row>; 2] = [Vec::new(), Vec::new()];
        let mut emitted = Vec::new();
        let keys = 1 + random.below(8);
        for step in 0..25 {
            let input = random.below(2) as usize;
            let mut text = Vec::new();
            for _ in 0..1 + random.below(40) {
                let retract = changelog[input] && !held[input].is_empty() && random.below(5) < 2;
                let kind = ["+I", "+U", "-U", "-D"][2 * usize::from(retract) + random.below(2) as usize];
                let row = if retract {
                    let index = random.below(held[input].len() as u64) as usize;
                    held[input].swap_remove(index)
                } else {
                    // Few distinct rows, so that equal ones are held more than once.
                    let key = (random.below(10) > 0).then(|| random.below(keys) + step as u64 / 8);
                    let row = (random.below(4), key, random.below(2));
                    held[input].push(row);
                    row
                };
                let row = show(Some(&row), "|");
                text.push(if changelog[input] { format!("{kind}|{row}") } else { row });
            }
            let fields = if input == 0 { &spec.join.left } else { &spec.join.right };
            cluster.push(input, batch(fields, changelog[input], &lines(&text)).unwrap());
            for batch in cluster.take_batches() {
                assert!(batch.num_rows() <= 8192);
                emitted.extend(rows(&[batch]));
            }
            if random.below(4) == 0 {
                emitted.extend(cluster.rescale(1 + random.below(3) as usize));
            }
        }
        let state = materialise(&emitted);
        let state = state.into_iter().flat_map(|(row, count)| vec![row; count as usize]).collect();
        assert_eq!(sorted(state), sorted(batch_join(&spec, &held)), "seed {seed}");
    }
}

#[test]
fn insert_only_join_of_hot_keys_comes_in_bounded_batches() {
    let spec = spec(JoinKind::Inner, false, [false, false, false]);
    let mut join = Harness::open(RegularJoin::new(spec.clone())).unwrap();
    let text = (0..300).map(|v| format!("{v}|1|a")).collect::<Vec<_>>();
    join.push(0, batch(&spec.join.left, false, &lines(&text)).unwrap()).unwrap();
    join.push(1, batch(&spec.join.right, false, &lines(&text)).unwrap()).unwrap();
    let batches = join.take_batches();
    assert!(batches.iter().all(|b| b.num_rows() <= 8192 && b.num_columns() == 6));
    assert_eq!(rows(&batches).len(), 90_000);
}

/// The changes of a step by partner, in order for each; the partners' order is that of a hash map in Flink.
fn by_partner<'a>(input: usize, emitted: &[&'a str]) -> BTreeMap<Vec<&'a str>, Vec<&'a str>> {
    let mut partners: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for row in emitted {
        let values = row[3..row.len() - 1].split(", ").collect::<Vec<_>>();
        let partner = if values.len() == 3 || input == 1 { &values[..3] } else { &values[3..] };
        partners.entry(partner.to_vec()).or_default().push(*row);
    }
    partners
}

/// `data/regular_join.txt` is what Flink 2.3.0 printed at parallelism 1 for eight joins of the same two changelogs: a
/// line per change that went in, below it those that came out.
#[test]
fn regular_join_emits_what_flink_emits() {
    let joins = [
        (JoinKind::Inner, false),
        (JoinKind::Left, false),
        (JoinKind::Right, true),
        (JoinKind::Full, false),
        (JoinKind::Full, true),
        (JoinKind::Semi, false),
        (JoinKind::Anti, false),
        (JoinKind::Anti, true),
    ];
    let text = include_str!("../data/regular_join.txt");
    let sections = text.split("# ").skip(1).collect::<Vec<_>>();
    assert_eq!(sections.len(), joins.len());
    for ((kind, condition), section) in joins.into_iter().zip(sections) {
        let (query, section) = section.split_once('\n').unwrap();
        let spec = spec(kind, condition, [true, true, true]);
        let mut join = Harness::open(RegularJoin::new(spec.clone())).unwrap();
        let lines = section.lines().collect::<Vec<_>>();
        let mut next = 0;
        while next < lines.len() {
            let (input, change) = lines[next].split_once(' ').unwrap();
            let input: usize = input.parse().unwrap();
            let end = lines[next + 1..].iter().position(|line| !line.starts_with(' '));
            let end = end.map_or(lines.len(), |end| next + 1 + end);
            let expected = lines[next + 1..end].iter().map(|line| line.trim()).collect::<Vec<_>>();
            let fields = if input == 0 { &spec.join.left } else { &spec.join.right };
            join.push(input, batch(fields, true, &[change]).unwrap()).unwrap();
            let emitted = join.take();
            let emitted = emitted.iter().map(String::as_str).collect::<Vec<_>>();
            let (emitted, expected) = (by_partner(input, &emitted), by_partner(input, &expected));
            assert_eq!(emitted, expected, "{query}: after change {next}, {}", lines[next]);
            next = end;
        }
    }
}
