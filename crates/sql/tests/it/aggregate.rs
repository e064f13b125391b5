//! Unbounded aggregation and its changelog.

use streamkeeper_connectors::schema::{Field, TypeKind};
use streamkeeper_sql::operators::group_aggregate::GroupAggregate;
use streamkeeper_sql::operators::harness::{Harness, batch};
use streamkeeper_sql::operators::spec::{AggregateCall, AggregateFunction, GroupAggregateSpec};

use crate::window::{Random, call, field};

fn input() -> Vec<Field> {
    vec![
        field("k", TypeKind::Int),
        field("v", TypeKind::BigInt),
        field("s", TypeKind::Varchar(i32::MAX as u32)),
        field("keep", TypeKind::Boolean),
        field("p", TypeKind::Decimal { precision: 10, scale: 2 }),
    ]
}

fn spec(keys: &[usize], aggregates: Vec<AggregateCall>, changelog: bool) -> GroupAggregateSpec {
    let input = input();
    let mut output = keys.iter().map(|key| input[*key].clone()).collect::<Vec<_>>();
    output.extend(aggregates.iter().map(|call| Field::new(call.name.clone(), call.data_type.clone())));
    GroupAggregateSpec {
        input,
        keys: keys.to_vec(),
        input_changelog: changelog,
        emit_update_before: true,
        output_changelog: !aggregates.is_empty() || changelog,
        aggregates,
        output,
    }
}

fn run(spec: GroupAggregateSpec, lines: &[&str]) -> Vec<String> {
    let changelog = spec.input_changelog;
    let mut op = Harness::open(GroupAggregate::new(spec)).unwrap();
    op.push(0, batch(&input(), changelog, lines).unwrap()).unwrap();
    op.take()
}

#[test]
fn every_row_changes_its_group() {
    use AggregateFunction::{Avg, Count, Max, Sum};
    let input = input();
    let calls = || {
        let (count, sum) = (call(&input, Count, &[], false), call(&input, Sum, &[1], false));
        vec![count, sum, call(&input, Avg, &[4], false), call(&input, Max, &[2], false)]
    };
    let rows = ["1|5|a|true|0.10", "2|null|null|true|null", "1|7|b|true|0.15", "1|null|a|true|0.05"];
    let expected = [
        "+I[1, 1, 5, 0.100000, a]",
        "+I[2, 1, null, null, null]",
        "-U[1, 1, 5, 0.100000, a]",
        "+U[1, 2, 12, 0.125000, b]",
        "-U[1, 2, 12, 0.125000, b]",
        "+U[1, 3, 12, 0.100000, b]",
    ];
    assert_eq!(run(spec(&[0], calls(), false), &rows), expected);
    let without = GroupAggregateSpec { emit_update_before: false, ..spec(&[0], calls(), false) };
    let after = expected.into_iter().filter(|row| !row.starts_with("-U")).collect::<Vec<_>>();
    assert_eq!(run(without, &rows), after);
}

#[test]
fn a_row_that_changes_no_result_emits_nothing() {
    let input = input();
    let max = || vec![call(&input, AggregateFunction::Max, &[1], false)];
    let rows = ["1|5|a|true|1", "1|4|a|true|1", "1|null|a|true|1", "1|6|a|true|1"];
    assert_eq!(run(spec(&[0], max(), false), &rows), ["+I[1, 5]", "-U[1, 5]", "+U[1, 6]"]);
    let filtered =
        vec![AggregateCall { filter: Some(3), ..call(&input, AggregateFunction::Count, &[], false) }];
    let rows = ["1|5|a|false|1", "1|5|a|true|1", "1|5|a|null|1", "1|5|a|true|1"];
    let expected = ["+I[1, 0]", "-U[1, 0]", "+U[1, 1]", "-U[1, 1]", "+U[1, 2]"];
    assert_eq!(run(spec(&[0], filtered, false), &rows), expected);
}

#[test]
fn retractions_go_back_and_delete_the_group_with_its_last_row() {
    use AggregateFunction::{Count, FirstValue, LastValue, ListAgg, Max, Min, Sum};
    let input = input();
    let calls = || {
        let of = [Sum, Min, Max, FirstValue, LastValue].map(|f| call(&input, f, &[1], false));
        let mut calls = of.to_vec();
        calls.push(call(&input, Count, &[1], true));
        calls.push(call(&input, ListAgg, &[2], false));
        calls
    };
    let rows = [
        "-D|1|5|a|true|1",
        "+I|1|5|a|true|1",
        "+I|1|7|b|true|1",
        "-U|1|7|b|true|1",
        "+U|1|5|c|true|1",
        "-D|1|5|a|true|1",
        "-D|1|5|c|true|1",
        "+I|1|9|d|true|1",
    ];
    let expected = [
        "+I[1, 5, 5, 5, 5, 5, 1, a]",
        "-U[1, 5, 5, 5, 5, 5, 1, a]",
        "+U[1, 12, 5, 7, 5, 7, 2, a,b]",
        "-U[1, 12, 5, 7, 5, 7, 2, a,b]",
        "+U[1, 5, 5, 5, 5, 5, 1, a]",
        "-U[1, 5, 5, 5, 5, 5, 1, a]",
        "+U[1, 10, 5, 5, 5, 5, 1, a,c]",
        "-U[1, 10, 5, 5, 5, 5, 1, a,c]",
        "+U[1, 5, 5, 5, 5, 5, 1, c]",
        "-D[1, 5, 5, 5, 5, 5, 1, c]",
        "+I[1, 9, 9, 9, 9, 9, 1, d]",
    ];
    assert_eq!(run(spec(&[0], calls(), true), &rows), expected);
    // One row at a time gives the same.
    let mut op = Harness::open(GroupAggregate::new(spec(&[0], calls(), true))).unwrap();
    for row in rows {
        op.push(0, batch(&input, true, &[row]).unwrap()).unwrap();
    }
    assert_eq!(op.take(), expected);
}

#[test]
fn select_distinct_emits_a_key_once() {
    let rows = ["1|5|a|true|1", "2|5|a|true|1", "1|6|a|true|1", "null|6|a|true|1", "null|6|a|true|1"];
    assert_eq!(run(spec(&[0], vec![], false), &rows), ["+I[1]", "+I[2]", "+I[null]"]);
    let rows =
        ["+I|1|5|a|true|1", "+I|1|6|a|true|1", "-D|1|5|a|true|1", "-D|1|6|a|true|1", "-D|1|6|a|true|1"];
    assert_eq!(run(spec(&[0], vec![], true), &rows), ["+I[1]", "-D[1]"]);
}

#[test]
fn an_aggregation_without_keys_has_one_row() {
    let count = vec![call(&input(), AggregateFunction::Count, &[], false)];
    let rows = ["1|5|a|true|1", "2|5|a|true|1"];
    assert_eq!(run(spec(&[], count, false), &rows), ["+I[1]", "-U[1]", "+U[2]"]);
}

#[test]
fn a_decimal_sum_of_too_many_digits_is_an_error() {
    let field = field("p", TypeKind::Decimal { precision: 38, scale: 0 });
    let sum = call(std::slice::from_ref(&field), AggregateFunction::Sum, &[0], false);
    let spec = GroupAggregateSpec {
        input: vec![field.clone()],
        keys: vec![],
        output: vec![Field::new("sum", sum.data_type.clone())],
        aggregates: vec![sum],
        input_changelog: false,
        emit_update_before: true,
        output_changelog: true,
    };
    let mut op = Harness::open(GroupAggregate::new(spec)).unwrap();
    let nines = "9".repeat(38);
    let error = op.push(0, batch(&[field], false, &[&nines, "1"]).unwrap()).unwrap_err();
    assert!(error.to_string().contains("exceeds 38 digits"), "{error}");
}

#[test]
fn batches_and_restores_change_nothing() {
    use AggregateFunction::*;
    let input = input();
    let mut calls = [Sum, Avg, Min, Max, FirstValue, LastValue, Count]
        .map(|function| call(&input, function, &[1], false))
        .to_vec();
    calls.push(call(&input, Count, &[2], true));
    calls.push(call(&input, ListAgg, &[2], false));
    calls.push(AggregateCall { filter: Some(3), ..call(&input, Sum, &[1], true) });
    for changelog in [false, true] {
        let make = || GroupAggregate::new(spec(&[0, 2], calls.clone(), changelog));
        for seed in 0..60 {
            let mut random = Random(seed);
            let mut held: Vec<String> = Vec::new();
            let mut lines = Vec::new();
            for _ in 0..120 {
                if changelog && random.below(2) == 0 && !held.is_empty() {
                    let row = held.swap_remove(random.below(held.len() as u64) as usize);
                    lines.push(format!("-D|{row}"));
                    continue;
                }
                let value = if random.below(5) == 0 { "null".into() } else { random.below(4).to_string() };
                let text = ["x", "y", "null"][random.below(3) as usize];
                let row = format!("{}|{value}|{text}|{}|1", random.below(3), random.below(2) == 0);
                held.push(row.clone());
                lines.push(if changelog { format!("+I|{row}") } else { row });
            }
            let lines = lines.iter().map(String::as_str).collect::<Vec<_>>();
            let mut single = Harness::open(make()).unwrap();
            for line in &lines {
                single.push(0, batch(&input, changelog, &[line]).unwrap()).unwrap();
            }
            let expected = single.take();
            let mut op = Harness::open(make()).unwrap();
            let mut rows = Vec::new();
            let mut at = 0;
            while at < lines.len() {
                let count = (1 + random.below(40) as usize).min(lines.len() - at);
                op.push(0, batch(&input, changelog, &lines[at..at + count]).unwrap()).unwrap();
                at += count;
                rows.extend(op.take());
                if random.below(3) == 0 {
                    let state = op.snapshot().unwrap();
                    op = Harness::restore(make(), &state, 0, 1).unwrap();
                }
            }
            assert_eq!(rows, expected, "changelog {changelog}, seed {seed}");
        }
    }
}

/// What Flink 2.3.0 prints for an aggregation over `SELECT v, COUNT(*) AS c … GROUP BY v` of 1, 2, 1, 1, 2.
#[test]
fn an_aggregation_over_an_aggregation_agrees_with_flink() {
    use AggregateFunction::{Count, FirstValue, LastValue, ListAgg, Max};
    let input = input();
    let calls = vec![
        call(&input, Max, &[1], false),
        call(&input, Count, &[], false),
        call(&input, LastValue, &[1], false),
        call(&input, FirstValue, &[1], false),
        call(&input, ListAgg, &[2], false),
    ];
    let change = |kind: &str, c: u32| format!("{kind}|0|{c}|{c}|true|0");
    let changes = [("+I", 1), ("+I", 1), ("-U", 1), ("+U", 2), ("-U", 2), ("+U", 3), ("-U", 1), ("+U", 2)];
    let lines = changes.map(|(kind, c)| change(kind, c));
    let rows = run(spec(&[], calls, true), &lines.each_ref().map(String::as_str));
    let after = rows.iter().filter(|row| !row.starts_with("-U")).map(String::as_str).collect::<Vec<_>>();
    assert_eq!(
        after,
        [
            "+I[1, 1, 1, 1, 1]",
            "+U[1, 2, 1, 1, 1,1]",
            "+U[1, 1, 1, 1, 1]",
            "+U[2, 2, 2, 1, 1,2]",
            "+U[1, 1, 1, 1, 1]",
            "+U[3, 2, 3, 1, 1,3]",
            "+U[3, 1, 3, 3, 3]",
            "+U[3, 2, 2, 3, 3,2]",
        ]
    );
}
