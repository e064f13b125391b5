//! Plans as text, in the style of Flink's EXPLAIN.

use std::fmt::Write as _;

use crate::expr::ScalarExpr;
use crate::operators::spec::{AggregateCall, JoinKind, SortKey, WindowKind, WindowProperty};
use crate::physical::distribution::distribution;
use crate::physical::join::{Strategy, classify, equalities};
use crate::plan::versions::projected_table;
use crate::plan::{Column, Node, Plan, Window, WindowSource};

/// Writes `plan` and its inputs; with `exchanges`, also how its inputs are distributed.
fn write_tree(plan: &Plan, exchanges: bool, own: &str, below: &str, text: &mut String) {
    let _ = writeln!(text, "{own}{}", describe(plan));
    let inputs = plan.inputs();
    let last = inputs.len().saturating_sub(1);
    let keys = if exchanges { distribution(plan) } else { None };
    for (i, input) in inputs.into_iter().enumerate() {
        let (branch, rest) = if i == last { ("+- ", "   ") } else { (":- ", ":  ") };
        let (own, mut below) = (format!("{below}{branch}"), format!("{below}{rest}"));
        match keys.as_ref().and_then(|keys| keys.get(i)) {
            Some(keys) => {
                let _ = writeln!(text, "{own}{}", exchange(&input.schema, keys));
                let own = format!("{below}+- ");
                below.push_str("   ");
                write_tree(input, exchanges, &own, &below, text);
            }
            None => write_tree(input, exchanges, &own, &below, text),
        }
    }
}

fn exchange(schema: &[Column], keys: &[usize]) -> String {
    if keys.is_empty() {
        return "Exchange(distribution=[single])".to_owned();
    }
    format!("Exchange(distribution=[hash[{}]])", at(schema, keys))
}

/// One node, without its inputs.
pub(crate) fn describe(plan: &Plan) -> String {
    let input = plan.inputs().into_iter().next().map(|p| p.schema.as_slice()).unwrap_or_default();
    match &plan.node {
        Node::Scan { table, .. } => {
            let fields = names(&plan.schema);
            let watermark =
                table.watermark.as_ref().map_or(String::new(), |w| format!(", watermark=[{}]", w.expression));
            format!("TableSourceScan(table=[[{}{watermark}]], fields=[{fields}])", table.display_path())
        }
        Node::Values { rows } => {
            let rows = rows.iter().map(|row| format!("{{ {} }}", list(row.iter()))).collect::<Vec<_>>();
            format!("Values(tuples=[[{}]])", rows.join(", "))
        }
        Node::Calc { filter, projection, .. } => {
            let select = projection
                .iter()
                .zip(&plan.schema)
                .map(|(expr, column)| match expr {
                    ScalarExpr::Column { name, .. } if *name == column.name => name.clone(),
                    expr => format!("{expr} AS {}", column.name),
                })
                .collect::<Vec<_>>()
                .join(", ");
            match filter {
                Some(filter) => format!("Calc(select=[{select}], where=[{filter}])"),
                None => format!("Calc(select=[{select}])"),
            }
        }
        Node::WindowTvf { time, window, .. } => {
            format!(
                "WindowTableFunction(window=[{}])",
                windows(*window, &format!("time_col=[{}]", input[*time].name))
            )
        }
        Node::Aggregate { keys, calls, .. } => {
            let group =
                if keys.is_empty() { String::new() } else { format!("groupBy=[{}], ", at(input, keys)) };
            format!("GroupAggregate({group}select=[{}])", selects(input, keys, calls))
        }
        Node::WindowAggregate { keys, calls, source, window, properties, .. } => {
            let group =
                if keys.is_empty() { String::new() } else { format!("groupBy=[{}], ", at(input, keys)) };
            let source = match source {
                WindowSource::Attached { start, end } => {
                    format!("win_start=[{}], win_end=[{}]", input[*start].name, input[*end].name)
                }
                WindowSource::Time { column } => format!("time_col=[{}]", input[*column].name),
            };
            let mut select = vec![selects(input, keys, calls)];
            select.extend(properties.iter().map(|p| match p {
                WindowProperty::Start => "start('w$) AS window_start".to_owned(),
                WindowProperty::End => "end('w$) AS window_end".to_owned(),
                WindowProperty::Time => "rowtime('w$) AS window_time".to_owned(),
            }));
            select.retain(|s| !s.is_empty());
            format!(
                "WindowAggregate({group}window=[{}], select=[{}])",
                windows(*window, &source),
                select.join(", ")
            )
        }
        Node::RowNumber { partition, order, .. } => format!(
            "OverAggregate(partitionBy=[{}], orderBy=[{}], select=[ROW_NUMBER()])",
            at(input, partition),
            sort(input, order)
        ),
        Node::WindowRank { partition, start, end, order, rank_start, rank_end, .. } => {
            let bounds = format!("win_start=[{}], win_end=[{}]", input[*start].name, input[*end].name);
            let window = input[*start].window.map_or(bounds.clone(), |(_, w)| windows(w, &bounds));
            format!(
                "WindowRank(window=[{window}], rankType=[ROW_NUMBER], rankRange=[rankStart={rank_start}, \
                 rankEnd={rank_end}], partitionBy=[{}], orderBy=[{}], select=[{}])",
                at(input, partition),
                sort(input, order),
                names(&plan.schema)
            )
        }
        Node::Join { left, right, kind, condition } => join(plan, left, right, *kind, condition),
        Node::TemporalJoin { left, right, kind, condition, left_time, right_time, key } => {
            let (equal, residual) = equalities(condition, left.schema.len());
            let (left_keys, right_keys): (Vec<usize>, Vec<usize>) = equal.into_iter().unzip();
            let key_of = |function: &str, schema: &[Column], keys: &[usize]| {
                format!("__TEMPORAL_JOIN_{function}({})", at(schema, keys))
            };
            let times = format!("{}, {}", left.schema[*left_time].name, right.schema[*right_time].name);
            let keys = [
                key_of("CONDITION_PRIMARY_KEY", &right.schema, key),
                key_of("LEFT_KEY", &left.schema, &left_keys),
                key_of("RIGHT_KEY", &right.schema, &right_keys),
            ];
            let mut on: Vec<String> =
                condition.iter().filter(|c| !residual.contains(c)).map(ToString::to_string).collect();
            on.push(format!("__TEMPORAL_JOIN_CONDITION({times}, {})", keys.join(", ")));
            on.extend(residual.iter().map(ToString::to_string));
            format!(
                "TemporalJoin(joinType=[{}], where=[AND({})], select=[{}])",
                join_type(*kind),
                on.join(", "),
                names(&plan.schema)
            )
        }
        Node::LookupJoin { input, table, kind, condition } => lookup(plan, input, table, *kind, condition),
        Node::Deduplicate { keys, time, .. } => format!(
            "Deduplicate(keep=[LastRow], key=[{}], order=[ROWTIME {}])",
            at(input, keys),
            input[*time].name
        ),
        Node::Unnest { collection, outer, .. } => {
            let kind = if *outer { "LEFT" } else { "INNER" };
            format!(
                "Correlate(invocation=[UNNEST({collection})], select=[{}], joinType=[{kind}])",
                names(&plan.schema)
            )
        }
        Node::Union { .. } => format!("Union(all=[true], union=[{}])", names(&plan.schema)),
    }
}

fn join_type(kind: JoinKind) -> &'static str {
    match kind {
        JoinKind::Inner => "InnerJoin",
        JoinKind::Left => "LeftOuterJoin",
        JoinKind::Right => "RightOuterJoin",
        JoinKind::Full => "FullOuterJoin",
        JoinKind::Semi => "LeftSemiJoin",
        JoinKind::Anti => "LeftAntiJoin",
    }
}

/// A lookup with what is read of the table, which is no input of it.
fn lookup(plan: &Plan, input: &Plan, table: &Plan, kind: JoinKind, condition: &[ScalarExpr]) -> String {
    let (equal, others) = equalities(condition, input.schema.len());
    let by = equal.iter().map(|(l, r)| format!("{}={}", table.schema[*r].name, input.schema[*l].name));
    let mut text = format!(
        "LookupJoin(table=[{}], joinType=[{}], lookup=[{}]",
        projected_table(table).map_or(String::new(), |table| table.name()),
        join_type(kind),
        by.collect::<Vec<_>>().join(", ")
    );
    if let Node::Calc { filter: Some(filter), .. } = &table.node {
        let _ = write!(text, ", where=[{filter}]");
    }
    if !others.is_empty() {
        let _ = write!(text, ", joinCondition=[{}]", and(&others));
    }
    let _ = write!(text, ", select=[{}])", names(&plan.schema));
    text
}

fn and(condition: &[ScalarExpr]) -> String {
    match condition {
        [] => "true".to_owned(),
        [one] => one.to_string(),
        several => format!("AND({})", list(several.iter())),
    }
}

fn join(plan: &Plan, left: &Plan, right: &Plan, kind: JoinKind, condition: &[ScalarExpr]) -> String {
    let kind = join_type(kind);
    let on = and(condition);
    let select = names(&plan.schema);
    match classify(plan).map(|c| c.strategy) {
        Some(Strategy::Window { left: l, right: r }) => {
            let side = |schema: &[Column], (start, end): (usize, usize)| {
                let bounds = format!("win_start=[{}], win_end=[{}]", schema[start].name, schema[end].name);
                schema[start].window.map_or(bounds.clone(), |(_, w)| windows(w, &bounds))
            };
            format!(
                "WindowJoin(leftWindow=[{}], rightWindow=[{}], joinType=[{kind}], where=[{on}], select=[{select}])",
                side(&left.schema, l),
                side(&right.schema, r)
            )
        }
        Some(Strategy::Interval { left_time, right_time, lower_ms, upper_ms }) => format!(
            "IntervalJoin(joinType=[{kind}], windowBounds=[isRowTime=true, leftLowerBound={lower_ms}, \
             leftUpperBound={upper_ms}, leftTimeIndex={left_time}, rightTimeIndex={right_time}], where=[{on}], \
             select=[{select}])"
        ),
        _ => format!("Join(joinType=[{kind}], where=[{on}], select=[{select}])"),
    }
}

fn windows(window: Window, source: &str) -> String {
    let time = |ms: i64| {
        let (unit, size) = match ms {
            ms if ms % 86_400_000 == 0 => ("d", 86_400_000),
            ms if ms % 3_600_000 == 0 => ("h", 3_600_000),
            ms if ms % 60_000 == 0 => ("min", 60_000),
            ms if ms % 1_000 == 0 => ("s", 1_000),
            _ => ("ms", 1),
        };
        format!("{} {unit}", ms / size)
    };
    let shift =
        |offset: i64| if offset == 0 { String::new() } else { format!(", offset=[{}]", time(offset)) };
    match window.kind {
        WindowKind::Tumble { size_ms, offset_ms } => {
            format!("TUMBLE({source}, size=[{}]{})", time(size_ms), shift(offset_ms))
        }
        WindowKind::Hop { slide_ms, size_ms, offset_ms } => {
            format!("HOP({source}, size=[{}], slide=[{}]{})", time(size_ms), time(slide_ms), shift(offset_ms))
        }
        WindowKind::Cumulate { step_ms, max_size_ms, offset_ms } => format!(
            "CUMULATE({source}, max_size=[{}], step=[{}]{})",
            time(max_size_ms),
            time(step_ms),
            shift(offset_ms)
        ),
        WindowKind::Session { gap_ms } => format!("SESSION({source}, gap=[{}])", time(gap_ms)),
    }
}

fn selects(input: &[Column], keys: &[usize], calls: &[AggregateCall]) -> String {
    let mut select: Vec<String> = keys.iter().map(|k| input[*k].name.clone()).collect();
    for call in calls {
        let args = if call.args.is_empty() { "*".to_owned() } else { at(input, &call.args) };
        let distinct = if call.distinct { "DISTINCT " } else { "" };
        let filter = call.filter.map_or(String::new(), |f| format!(" FILTER {}", input[f].name));
        select.push(format!("{}({distinct}{args}){filter} AS {}", call.function.name(), call.name));
    }
    select.join(", ")
}

fn sort(input: &[Column], order: &[SortKey]) -> String {
    let keys = order
        .iter()
        .map(|o| format!("{} {}", input[o.column].name, if o.descending { "DESC" } else { "ASC" }));
    keys.collect::<Vec<_>>().join(", ")
}

fn at(schema: &[Column], indices: &[usize]) -> String {
    indices.iter().map(|i| schema[*i].name.as_str()).collect::<Vec<_>>().join(", ")
}

fn names(schema: &[Column]) -> String {
    schema.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(", ")
}

fn list<'a>(exprs: impl Iterator<Item = &'a ScalarExpr>) -> String {
    exprs.map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The text of EXPLAIN for the plans of one job, each with its sink.
pub(crate) fn explain(plans: &[(Option<std::sync::Arc<crate::plan::Table>>, Plan)]) -> String {
    let mut texts = [String::new(), String::new(), String::new()];
    for (sink, plan) in plans {
        let head = sink
            .as_ref()
            .map(|table| format!("Sink(table=[{}], fields=[{}])\n", table.name(), names(&plan.schema)));
        let optimized = crate::optimizer::optimize(plan.clone());
        let [ast, physical, execution] = &mut texts;
        for (text, plan, exchanges) in
            [(ast, plan, false), (physical, &optimized, false), (execution, &optimized, true)]
        {
            match &head {
                Some(head) => {
                    text.push_str(head);
                    write_tree(plan, exchanges, "+- ", "   ", text);
                }
                None => write_tree(plan, exchanges, "", "", text),
            }
            text.push('\n');
        }
    }
    let [ast, physical, execution] = texts;
    format!(
        "== Abstract Syntax Tree ==\n{ast}== Optimized Physical Plan ==\n{physical}== Optimized Execution Plan ==\n{}",
        execution.trim_end()
    )
}
