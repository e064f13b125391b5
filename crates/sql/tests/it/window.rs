//! Window aggregation and the window table functions.

use streamkeeper_connectors::schema::{DataType, Field, TypeKind};
use streamkeeper_dataflow::state::StateSegment;
use streamkeeper_dataflow::time::MAX_WATERMARK;
use streamkeeper_sql::operators::harness::{Harness, batch};
use streamkeeper_sql::operators::spec::{
    AggregateCall, AggregateFunction, WindowAggregateSpec, WindowInput, WindowKind, WindowProperty,
    WindowTableFunctionSpec,
};
use streamkeeper_sql::operators::window::{
    GlobalWindowAggregate, LocalWindowAggregate, WindowAggregate, WindowTableFunction,
};

pub(crate) fn field(name: &str, kind: TypeKind) -> Field {
    Field::new(name, kind.into())
}

fn input() -> Vec<Field> {
    vec![
        field("k", TypeKind::BigInt),
        field("v", TypeKind::Int),
        field("d", TypeKind::Double),
        field("ts", TypeKind::Timestamp(3)),
        field("keep", TypeKind::Boolean),
    ]
}

pub(crate) fn call(
    input: &[Field],
    function: AggregateFunction,
    args: &[usize],
    distinct: bool,
) -> AggregateCall {
    let arg_types = args.iter().map(|arg| input[*arg].data_type.clone()).collect::<Vec<_>>();
    let data_type = function.return_type(&arg_types, distinct).unwrap();
    AggregateCall {
        function,
        args: args.to_vec(),
        arg_types,
        distinct,
        filter: None,
        data_type,
        name: function.sql_name().to_lowercase(),
    }
}

fn spec(kind: WindowKind, keys: &[usize], aggregates: Vec<AggregateCall>) -> WindowAggregateSpec {
    let input = input();
    let mut output = keys.iter().map(|key| input[*key].clone()).collect::<Vec<_>>();
    output.extend(aggregates.iter().map(|call| Field::new(call.name.clone(), call.data_type.clone())));
    output.push(field("window_start", TypeKind::Timestamp(3)));
    output.push(field("window_end", TypeKind::Timestamp(3)));
    WindowAggregateSpec {
        input,
        keys: keys.to_vec(),
        aggregates,
        window: WindowInput::TimeColumn { column: 3, time_zone: None, kind },
        properties: vec![WindowProperty::Start, WindowProperty::End],
        output,
    }
}

fn tumble(size_ms: i64) -> WindowKind {
    WindowKind::Tumble { size_ms, offset_ms: 0 }
}

const HOP: WindowKind = WindowKind::Hop { slide_ms: 2000, size_ms: 6000, offset_ms: 0 };
const CUMULATE: WindowKind = WindowKind::Cumulate { step_ms: 2000, max_size_ms: 6000, offset_ms: 0 };
const SESSION: WindowKind = WindowKind::Session { gap_ms: 2000 };

fn many(input: &[Field]) -> Vec<AggregateCall> {
    use AggregateFunction::*;
    let mut calls = vec![call(input, Count, &[], false), call(input, Count, &[1], false)];
    for function in [Sum, Avg, Min, Max, FirstValue, LastValue] {
        calls.push(call(input, function, &[1], false));
    }
    calls.push(call(input, Avg, &[2], false));
    calls.push(call(input, Count, &[1], true));
    calls.push(AggregateCall { filter: Some(4), ..call(input, Count, &[], false) });
    calls
}

#[test]
fn a_window_fires_when_the_watermark_reaches_its_last_millisecond() {
    let input = input();
    let mut op = Harness::open(WindowAggregate::new(spec(tumble(1000), &[0], many(&input)))).unwrap();
    let rows = [
        "1 | 5    | 0.5  | 1970-01-01T00:00:00.999 | true",
        "1 | null | 1.5  | 1970-01-01T00:00:00.000 | false",
        "1 | 8    | null | 1970-01-01T00:00:00.500 | null",
        "2 | 8    | -1   | 1970-01-01T00:00:01.000 | true",
        "null | 8 | -1   | 1969-12-31T23:59:59.999 | true",
    ];
    op.push(0, batch(&input, false, &rows).unwrap()).unwrap();
    assert_eq!(op.watermark(-1).unwrap(), -1);
    assert_eq!(
        op.take(),
        ["+I[null, 1, 1, 8, 8, 8, 8, 8, 8, -1.0, 1, 1, 1969-12-31T23:59:59, 1970-01-01T00:00:00]"]
    );
    op.watermark(998).unwrap();
    assert_eq!(op.take(), [""; 0]);
    op.watermark(999).unwrap();
    assert_eq!(
        op.take(),
        ["+I[1, 3, 2, 13, 6, 5, 8, 5, 8, 1.0, 2, 1, 1970-01-01T00:00:00, 1970-01-01T00:00:01]"]
    );
    op.push(0, batch(&input, false, &rows[..4]).unwrap()).unwrap();
    assert_eq!(op.metrics.num_late_records_dropped.get(), 3);
    op.watermark(MAX_WATERMARK).unwrap();
    assert_eq!(
        op.take(),
        ["+I[2, 2, 2, 16, 8, 8, 8, 8, 8, -1.0, 1, 2, 1970-01-01T00:00:01, 1970-01-01T00:00:02]"]
    );
}

#[test]
fn hop_and_cumulate_merge_slices_and_take_rows_that_are_late_for_some_windows_only() {
    let input = input();
    let count = || vec![call(&input, AggregateFunction::Count, &[], false)];
    let rows = |seconds: &[i64]| {
        let lines = seconds.iter().map(|s| format!("1|1|1|1970-01-01T00:00:{s:02}|true")).collect::<Vec<_>>();
        batch(&input, false, &lines.iter().map(String::as_str).collect::<Vec<_>>()).unwrap()
    };
    let show = |rows: Vec<String>| {
        rows.iter()
            .map(|r| r.replace("1970-01-01T00:00:", "").replace("1969-12-31T23:59:", "-"))
            .collect::<Vec<_>>()
    };
    let mut hop = Harness::open(WindowAggregate::new(spec(HOP, &[0], count()))).unwrap();
    hop.push(0, rows(&[0, 1, 2, 9])).unwrap();
    hop.watermark(1999).unwrap();
    assert_eq!(show(hop.take()), ["+I[1, 2, -56, 02]"]);
    hop.push(0, rows(&[1])).unwrap();
    hop.watermark(5999).unwrap();
    assert_eq!(show(hop.take()), ["+I[1, 4, -58, 04]", "+I[1, 4, 00, 06]"]);
    hop.push(0, rows(&[1, 3])).unwrap();
    assert_eq!(hop.metrics.num_late_records_dropped.get(), 1);
    hop.watermark(MAX_WATERMARK).unwrap();
    assert_eq!(
        show(hop.take()),
        ["+I[1, 2, 02, 08]", "+I[1, 1, 04, 10]", "+I[1, 1, 06, 12]", "+I[1, 1, 08, 14]"]
    );

    let mut cumulate = Harness::open(WindowAggregate::new(spec(CUMULATE, &[0], count()))).unwrap();
    cumulate.push(0, rows(&[0, 1, 9])).unwrap();
    cumulate.watermark(3999).unwrap();
    assert_eq!(show(cumulate.take()), ["+I[1, 2, 00, 02]", "+I[1, 2, 00, 04]"]);
    cumulate.push(0, rows(&[1])).unwrap();
    cumulate.watermark(6000).unwrap();
    assert_eq!(show(cumulate.take()), ["+I[1, 3, 00, 06]"]);
    cumulate.push(0, rows(&[5])).unwrap();
    assert_eq!(cumulate.metrics.num_late_records_dropped.get(), 1);
    cumulate.watermark(MAX_WATERMARK).unwrap();
    assert_eq!(show(cumulate.take()), ["+I[1, 1, 06, 10]", "+I[1, 1, 06, 12]"]);
}

#[test]
fn a_session_grows_by_rows_within_its_gap_and_may_join_two() {
    let input = input();
    let calls = vec![call(&input, AggregateFunction::Sum, &[1], false)];
    let mut op = Harness::open(WindowAggregate::new(spec(SESSION, &[0], calls))).unwrap();
    let rows = [
        "1|1|1|1970-01-01T00:00:00|true",
        "1|2|1|1970-01-01T00:00:04|true",
        "2|7|1|1970-01-01T00:00:01|true",
        "1|4|1|1970-01-01T00:00:02|true",
        "1|8|1|1970-01-01T00:00:08|true",
    ];
    op.push(0, batch(&input, false, &rows).unwrap()).unwrap();
    op.watermark(5998).unwrap();
    assert_eq!(op.take(), ["+I[2, 7, 1970-01-01T00:00:01, 1970-01-01T00:00:03]"]);
    let state = op.snapshot().unwrap();
    let calls = vec![call(&input, AggregateFunction::Sum, &[1], false)];
    let mut op = Harness::restore(WindowAggregate::new(spec(SESSION, &[0], calls)), &state, 0, 1).unwrap();
    op.watermark(5999).unwrap();
    assert_eq!(op.take(), ["+I[1, 7, 1970-01-01T00:00:00, 1970-01-01T00:00:06]"]);
    op.push(0, batch(&input, false, &rows[..2]).unwrap()).unwrap();
    assert_eq!(op.metrics.num_late_records_dropped.get(), 2);
    op.watermark(MAX_WATERMARK).unwrap();
    assert_eq!(op.take(), ["+I[1, 8, 1970-01-01T00:00:08, 1970-01-01T00:00:10]"]);
}

#[test]
fn windows_that_rows_carry_fire_by_their_end() {
    let input = vec![
        field("n", TypeKind::BigInt),
        field("s", TypeKind::Timestamp(3)),
        field("e", TypeKind::Timestamp(3)),
    ];
    let max = call(&input, AggregateFunction::Max, &[0], false);
    let spec = WindowAggregateSpec {
        output: vec![input[0].clone(), input[1].clone(), input[2].clone()],
        input: input.clone(),
        keys: vec![],
        aggregates: vec![max],
        window: WindowInput::Attached { start: 1, end: 2 },
        properties: vec![WindowProperty::Start, WindowProperty::End],
    };
    let mut op = Harness::open(WindowAggregate::new(spec)).unwrap();
    let rows = [
        "3|1970-01-01T00:00:04|1970-01-01T00:00:06",
        "7|1970-01-01T00:00:02|1970-01-01T00:00:04",
        "9|1970-01-01T00:00:02|1970-01-01T00:00:04",
    ];
    op.push(0, batch(&input, false, &rows).unwrap()).unwrap();
    op.watermark(3999).unwrap();
    assert_eq!(op.take(), ["+I[9, 1970-01-01T00:00:02, 1970-01-01T00:00:04]"]);
    op.watermark(MAX_WATERMARK).unwrap();
    assert_eq!(op.take(), ["+I[3, 1970-01-01T00:00:04, 1970-01-01T00:00:06]"]);
}

#[test]
fn a_null_time_fails_the_job_with_its_column() {
    let mut op = Harness::open(WindowAggregate::new(spec(tumble(1000), &[0], vec![]))).unwrap();
    let error = op.push(0, batch(&input(), false, &["1|1|1|null|true"]).unwrap()).unwrap_err();
    assert!(error.to_string().contains("`ts` is NULL") && !error.is_recoverable(), "{error}");
}

#[test]
fn table_functions_append_the_windows() {
    let input = vec![field("k", TypeKind::BigInt), field("ts", TypeKind::Timestamp(3))];
    let run = |kind, lines: &[&str]| {
        let mut output = input.clone();
        output
            .extend(["window_start", "window_end", "window_time"].map(|n| field(n, TypeKind::Timestamp(3))));
        let window = WindowInput::TimeColumn { column: 1, time_zone: None, kind };
        let spec = WindowTableFunctionSpec { input: input.clone(), window, keys: vec![0], output };
        let mut op = Harness::open(WindowTableFunction::new(spec)).unwrap();
        op.push(0, batch(&input, false, lines).unwrap()).unwrap();
        op.watermark(MAX_WATERMARK).unwrap();
        op.take()
            .iter()
            .map(|r| r.replace("1970-01-01T00:00:", "").replace("1969-12-31T23:59:", "-"))
            .collect::<Vec<_>>()
    };
    let one = ["5|1970-01-01T00:00:03"];
    assert_eq!(run(tumble(2000), &one), ["+I[5, 03, 02, 04, 03.999]"]);
    assert_eq!(
        run(HOP, &one),
        ["+I[5, 03, 02, 08, 07.999]", "+I[5, 03, 00, 06, 05.999]", "+I[5, 03, -58, 04, 03.999]"]
    );
    assert_eq!(run(CUMULATE, &one), ["+I[5, 03, 00, 04, 03.999]", "+I[5, 03, 00, 06, 05.999]"]);
    let session =
        run(SESSION, &["5|1970-01-01T00:00:03", "6|1970-01-01T00:00:02", "5|1970-01-01T00:00:04", "5|null"]);
    assert_eq!(
        session,
        ["+I[6, 02, 02, 04, 03.999]", "+I[5, 03, 03, 06, 05.999]", "+I[5, 04, 03, 06, 05.999]"]
    );
}

/// A small generator of its own, so that a seed names a run for ever.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

enum Step {
    Rows(Vec<String>),
    Watermark(i64),
}

fn steps(random: &mut Random) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut now = -8000i64;
    for _ in 0..30 {
        let lines = (0..random.below(12)).map(|_| {
            let time = now + random.below(6000) as i64 - 1500;
            let seconds = chrono_text(time);
            let value = if random.below(6) == 0 { "null".into() } else { random.below(5).to_string() };
            let keep = ["true", "false", "null"][random.below(3) as usize];
            format!("{}|{value}|{}|{seconds}|{keep}", random.below(6), random.below(9))
        });
        steps.push(Step::Rows(lines.collect()));
        now += random.below(1500) as i64;
        steps.push(Step::Watermark(now - 2000));
    }
    steps.push(Step::Watermark(MAX_WATERMARK));
    steps
}

fn chrono_text(millis: i64) -> String {
    let (day, time) = if millis < 0 { ("1969-12-31", millis + 86_400_000) } else { ("1970-01-01", millis) };
    let (seconds, rest) = (time / 1000, time % 1000);
    format!("{day}T{:02}:{:02}:{:02}.{rest:03}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// One stage of a run at some parallelism: each subtask sees the rows of its key groups.
fn run_stage(
    make: &dyn Fn() -> WindowAggregate,
    state: &[StateSegment],
    parallelism: usize,
    steps: &[Step],
    rows: &mut Vec<String>,
) -> Vec<StateSegment> {
    use streamkeeper_dataflow::batch::Batch;
    use streamkeeper_dataflow::key_group::{DEFAULT_MAX_PARALLELISM, KeySelector, key_group, subtask_of};
    use streamkeeper_sql::operators::keys::HashKeys;

    let mut subtasks = (0..parallelism)
        .map(|subtask| Harness::restore(make(), state, subtask, parallelism).unwrap())
        .collect::<Vec<_>>();
    for step in steps {
        match step {
            Step::Watermark(watermark) => {
                for subtask in &mut subtasks {
                    subtask.watermark(*watermark).unwrap();
                }
            }
            Step::Rows(lines) => {
                let lines = lines.iter().map(String::as_str).collect::<Vec<_>>();
                let batch = batch(&input(), false, &lines).unwrap();
                let mut hashes = Vec::new();
                HashKeys::new([0]).hash(&batch, &mut hashes).unwrap();
                let max = DEFAULT_MAX_PARALLELISM;
                let targets = hashes
                    .iter()
                    .map(|hash| subtask_of(key_group(*hash, max), parallelism, max) as u32)
                    .collect::<Vec<_>>();
                for (subtask, part) in batch.partition(&targets, parallelism).into_iter().enumerate() {
                    if let Some(part) = part {
                        subtasks[subtask].push(0, part).unwrap();
                    }
                }
            }
        }
    }
    let mut state = Vec::new();
    for subtask in &mut subtasks {
        state.extend(subtask.snapshot().unwrap());
        rows.extend(subtask.take());
    }
    state
}

#[test]
fn a_restore_at_another_parallelism_changes_no_row() {
    let input = input();
    for (number, kind) in [tumble(2000), HOP, CUMULATE, SESSION].into_iter().enumerate() {
        let calls = if kind == SESSION {
            vec![
                call(&input, AggregateFunction::Sum, &[1], false),
                call(&input, AggregateFunction::Count, &[1], true),
            ]
        } else {
            many(&input)
        };
        let make = || WindowAggregate::new(spec(kind, &[0], calls.clone()));
        for seed in 0..40 {
            let mut random = Random(seed * 4 + number as u64);
            let steps = steps(&mut random);
            let mut expected = Vec::new();
            run_stage(&make, &[], 1, &steps, &mut expected);
            let first = random.below(steps.len() as u64) as usize;
            let second = first + random.below((steps.len() - first) as u64) as usize;
            let mut rows = Vec::new();
            let state = run_stage(&make, &[], 1, &steps[..first], &mut rows);
            let state = run_stage(&make, &state, 3, &steps[first..second], &mut rows);
            run_stage(&make, &state, 2, &steps[second..], &mut rows);
            expected.sort();
            rows.sort();
            assert!(!rows.is_empty());
            assert_eq!(rows, expected, "{kind:?}, seed {seed}");
        }
    }
}

#[test]
fn state_of_another_aggregation_is_refused() {
    let input = input();
    let count = vec![call(&input, AggregateFunction::Count, &[], false)];
    let mut op = Harness::open(WindowAggregate::new(spec(tumble(1000), &[0], count))).unwrap();
    op.push(0, batch(&input, false, &["1|1|1|1970-01-01T00:00:03|true"]).unwrap()).unwrap();
    let state = op.snapshot().unwrap();
    let sum = vec![call(&input, AggregateFunction::Sum, &[1], false)];
    let error = Harness::restore(WindowAggregate::new(spec(tumble(1000), &[0], sum)), &state, 0, 1);
    assert!(error.err().is_some_and(|e| e.to_string().contains("window-aggs")));
}

#[test]
fn result_types_are_those_of_flink() {
    let decimal = |precision, scale| DataType::from(TypeKind::Decimal { precision, scale });
    let of =
        |function: AggregateFunction, arg: DataType| function.return_type(&[arg], false).unwrap().to_string();
    assert_eq!(of(AggregateFunction::Sum, TypeKind::Int.into()), "INT");
    assert_eq!(of(AggregateFunction::Sum, decimal(10, 2)), "DECIMAL(38, 2)");
    assert_eq!(of(AggregateFunction::Avg, decimal(10, 2)), "DECIMAL(38, 6)");
    assert_eq!(of(AggregateFunction::Avg, TypeKind::BigInt.into()), "BIGINT");
    assert_eq!(of(AggregateFunction::Count, TypeKind::BigInt.into()), "BIGINT NOT NULL");
    let refused = AggregateFunction::Sum.return_type(&[DataType::string()], false).unwrap_err();
    assert!(refused.contains("SUM") && refused.contains("STRING"));
}

#[test]
fn two_phases_give_the_rows_of_one() {
    let input = input();
    for (number, kind) in [tumble(2000), HOP, CUMULATE].into_iter().enumerate() {
        use AggregateFunction::*;
        let mut calls =
            [Count, Sum, Avg, Min, Max].map(|function| call(&input, function, &[1], false)).to_vec();
        calls.push(call(&input, Sum, &[1], true));
        let spec = || spec(kind, &[0], calls.clone());
        for seed in 0..20 {
            let mut random = Random(seed * 3 + number as u64);
            let mut one = Harness::open(WindowAggregate::new(spec())).unwrap();
            let mut locals = [0, 1].map(|_| Harness::open(LocalWindowAggregate::new(spec())).unwrap());
            let mut global = Harness::open(GlobalWindowAggregate::new(spec())).unwrap();
            for step in steps(&mut random) {
                let mut partials = Vec::new();
                match step {
                    Step::Rows(lines) => {
                        let lines = lines.iter().map(String::as_str).collect::<Vec<_>>();
                        one.push(0, batch(&input, false, &lines).unwrap()).unwrap();
                        let (left, right) = lines.split_at(lines.len() / 2);
                        for (local, lines) in locals.iter_mut().zip([left, right]) {
                            local.push(0, batch(&input, false, lines).unwrap()).unwrap();
                            if random.below(4) == 0 {
                                assert!(local.snapshot().unwrap().is_empty());
                            }
                            partials.extend(local.take_batches());
                        }
                        partials.into_iter().for_each(|rows| global.push(0, rows).unwrap());
                    }
                    Step::Watermark(watermark) => {
                        one.watermark(watermark).unwrap();
                        for local in &mut locals {
                            local.watermark(watermark).unwrap();
                            partials.extend(local.take_batches());
                        }
                        partials.into_iter().for_each(|rows| global.push(0, rows).unwrap());
                        global.watermark(watermark).unwrap();
                    }
                }
            }
            let (mut expected, mut rows) = (one.take(), global.take());
            expected.sort();
            rows.sort();
            assert!(!rows.is_empty());
            assert_eq!(rows, expected, "{kind:?}, seed {seed}");
        }
    }
}
