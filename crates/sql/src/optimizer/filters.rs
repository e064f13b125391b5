//! Filters go as far down as they mean the same there.
//!
//! Invariant: no filter goes below what looks at other rows (a session window, a rank) unless it removes whole groups.

use arrow::array::AsArray;
use arrow::datatypes::{Int32Type, Int64Type};
use streamkeeper_connectors::schema::TypeKind;

use super::calc_over;
use crate::expr::{ScalarExpr, and_all, conjuncts};
use crate::operators::spec::{JoinKind, SortKey, WindowKind, WindowProperty};
use crate::plan::{Node, Plan, all_columns, column};

/// The rows of `plan` for which all of `conditions` are true.
pub(super) fn push_down(plan: Plan, conditions: Vec<ScalarExpr>) -> Plan {
    let schema = plan.schema;
    match plan.node {
        Node::Calc { input, filter, projection } => {
            // What asks for the time alone gives rows of its own to nobody: a filter on other columns may go below it.
            let deterministic = projection.iter().all(|p| p.is_deterministic() || is_proctime(p));
            let reads_proctime = |c: &ScalarExpr| c.columns().iter().any(|i| is_proctime(&projection[*i]));
            let mut below: Vec<ScalarExpr> = filter.iter().flat_map(conjuncts).collect();
            let (down, stay): (Vec<_>, Vec<_>) = conditions
                .into_iter()
                .partition(|c| deterministic && c.is_deterministic() && !reads_proctime(c));
            below.extend(down.iter().map(|c| c.inline_columns(&projection)));
            let input = push_down(*input, below);
            filtered(calc_over(input, None, projection, schema), stay)
        }
        Node::WindowTvf { input, time, window, keys } => {
            let width = input.schema.len();
            let session = matches!(window.kind, WindowKind::Session { .. });
            let (down, stay) = split(conditions, |c| if session { keys.contains(&c) } else { c < width });
            let input = Box::new(push_down(*input, down));
            filtered(Plan { node: Node::WindowTvf { input, time, window, keys }, schema }, stay)
        }
        Node::Aggregate { input, keys, calls } => {
            let (down, stay) = split(conditions, |c| c < keys.len());
            // Without keys there is one row, which exists whether rows come or not.
            let down = down.iter().map(|c| c.remap_columns(&|i| keys[i])).collect();
            let input = Box::new(push_down(*input, down));
            filtered(Plan { node: Node::Aggregate { input, keys, calls }, schema }, stay)
        }
        Node::WindowAggregate { input, keys, calls, source, window, properties } => {
            let (down, stay) = split(conditions, |c| c < keys.len());
            let down = down.iter().map(|c| c.remap_columns(&|i| keys[i])).collect();
            let input = Box::new(push_down(*input, down));
            let node = Node::WindowAggregate { input, keys, calls, source, window, properties };
            filtered(Plan { node, schema }, stay)
        }
        Node::RowNumber { input, partition, order } => {
            let plan = Plan { node: Node::RowNumber { input, partition, order }, schema };
            rank(plan, conditions)
        }
        Node::Join { left, right, kind, condition } => {
            let width = left.schema.len();
            let Split { on, left_down, right_down, stay } = Split::new(kind, condition, conditions, width);
            let left = Box::new(push_down(*left, left_down));
            let right = Box::new(push_down(*right, right_down));
            filtered(Plan { node: Node::Join { left, right, kind, condition: on }, schema }, stay)
        }
        Node::TemporalJoin { left, right, kind, condition, left_time, right_time, key } => {
            let width = left.schema.len();
            // A row of the right that a filter hides would let an older version of it be seen, so none goes there; and what filters
            // the result is no key of the join.
            let (mut left_down, stay) = split(conditions, |c| c < width);
            let (left_on, on) =
                if kind == JoinKind::Inner { split(condition, |c| c < width) } else { (vec![], condition) };
            left_down.extend(left_on);
            let left = Box::new(push_down(*left, left_down));
            let right = Box::new(push_down(*right, Vec::new()));
            let node = Node::TemporalJoin { left, right, kind, condition: on, left_time, right_time, key };
            filtered(Plan { node, schema }, stay)
        }
        Node::LookupJoin { input, table, kind, condition } => {
            let width = input.schema.len();
            let Split { on, left_down, right_down, stay } = Split::new(kind, condition, conditions, width);
            let input = Box::new(push_down(*input, left_down));
            let table = Box::new(push_down(*table, right_down));
            filtered(Plan { node: Node::LookupJoin { input, table, kind, condition: on }, schema }, stay)
        }
        Node::Deduplicate { input, keys, time } => {
            let (down, stay) = split(conditions, |c| keys.contains(&c));
            let input = Box::new(push_down(*input, down));
            filtered(Plan { node: Node::Deduplicate { input, keys, time }, schema }, stay)
        }
        Node::Unnest { input, collection, outer, with_ordinality } => {
            let width = input.schema.len();
            let (down, stay) = split(conditions, |c| c < width);
            let input = Box::new(push_down(*input, down));
            filtered(Plan { node: Node::Unnest { input, collection, outer, with_ordinality }, schema }, stay)
        }
        Node::Union { inputs } => {
            let inputs = inputs.into_iter().map(|input| push_down(input, conditions.clone())).collect();
            Plan { node: Node::Union { inputs }, schema }
        }
        node @ (Node::Scan { .. } | Node::Values { .. }) => filtered(Plan { node, schema }, conditions),
        node @ Node::WindowRank { .. } => {
            let plan = Plan { node, schema }.map_inputs(&mut |input| push_down(input, Vec::new()));
            filtered(plan, conditions)
        }
    }
}

fn filtered(plan: Plan, conditions: Vec<ScalarExpr>) -> Plan {
    if conditions.is_empty() {
        return plan;
    }
    let (projection, schema) = (all_columns(&plan.schema), plan.schema.clone());
    calc_over(plan, Some(and_all(conditions)), projection, schema)
}

/// Conditions that read only columns for which `below` holds, and the others.
fn split(conditions: Vec<ScalarExpr>, below: impl Fn(usize) -> bool) -> (Vec<ScalarExpr>, Vec<ScalarExpr>) {
    conditions.into_iter().partition(|c| {
        let columns = c.columns();
        !columns.is_empty() && c.is_deterministic() && columns.into_iter().all(&below)
    })
}

fn is_proctime(expr: &ScalarExpr) -> bool {
    matches!(expr, ScalarExpr::Call { function: "PROCTIME", .. })
}

/// Where the conditions of a join and those over it go.
struct Split {
    /// Stays the join's condition.
    on: Vec<ScalarExpr>,
    /// Filters the left.
    left_down: Vec<ScalarExpr>,
    /// Filters the right, over its own columns.
    right_down: Vec<ScalarExpr>,
    /// Filters the result.
    stay: Vec<ScalarExpr>,
}

impl Split {
    fn new(kind: JoinKind, on: Vec<ScalarExpr>, filter: Vec<ScalarExpr>, width: usize) -> Self {
        // What filters the result may become part of an inner join's condition; then both are treated alike. A filter that is
        // not deterministic is evaluated where it was written.
        let (mut on, mut stay) = if kind == JoinKind::Inner {
            let (condition, stay): (Vec<_>, Vec<_>) =
                filter.into_iter().partition(ScalarExpr::is_deterministic);
            (on.into_iter().chain(condition).collect::<Vec<_>>(), stay)
        } else {
            (on, filter)
        };
        let (mut left_down, mut right_down) = (Vec::new(), Vec::new());
        if matches!(kind, JoinKind::Inner | JoinKind::Right | JoinKind::Semi) {
            (left_down, on) = split(on, |c| c < width);
        }
        if matches!(kind, JoinKind::Inner | JoinKind::Left | JoinKind::Semi | JoinKind::Anti) {
            (right_down, on) = split(on, |c| c >= width);
        }
        if kind == JoinKind::Left {
            let left_filter;
            (left_filter, stay) = split(stay, |c| c < width);
            left_down.extend(left_filter);
        }
        if kind == JoinKind::Right {
            let right_filter;
            (right_filter, stay) = split(stay, |c| c >= width);
            right_down.extend(right_filter);
        }
        let right_down = right_down.iter().map(|c| c.remap_columns(&|i| i - width)).collect();
        Self { on, left_down, right_down, stay }
    }
}

/// `ROW_NUMBER()` with a bound on it, per window, becomes a window rank.
fn rank(plan: Plan, conditions: Vec<ScalarExpr>) -> Plan {
    let Plan { node: Node::RowNumber { input, partition, order }, schema } = plan else { return plan };
    let number = schema.len() - 1;
    let (mut first, mut last) = (1, u64::MAX);
    let mut rest = Vec::new();
    for condition in conditions {
        match bound(&condition, number) {
            Some((from, to)) => {
                first = first.max(from);
                last = last.min(to);
            }
            None => rest.push(condition),
        }
    }
    let (below, stay) = split(rest, |c| partition.contains(&c));
    let input = push_down(*input, below);
    let window = partition.iter().find_map(|p| {
        input.schema[*p].window.filter(|(r, _)| *r == WindowProperty::Start).map(|w| (*p, w.1))
    });
    let bounds = window.and_then(|(start, window)| {
        let end = partition
            .iter()
            .copied()
            .find(|p| input.schema[*p].window == Some((WindowProperty::End, window)))?;
        Some((start, end))
    });
    let Some((start, end)) = bounds.filter(|_| last < u64::MAX) else {
        let is_latest = |o: &SortKey| o.descending && input.schema[o.column].rowtime;
        if let ([latest], 1, 1, false) = (order.as_slice(), first, last, partition.is_empty())
            && is_latest(latest)
        {
            let (time, input_schema) = (latest.column, input.schema.clone());
            let mut projection = all_columns(&input_schema);
            projection.push(crate::expr::literal_bigint(1));
            let node = Node::Deduplicate { input: Box::new(input), keys: partition, time };
            let latest = Plan { node, schema: input_schema };
            return filtered(calc_over(latest, None, projection, schema), stay);
        }
        let node = Node::RowNumber { input: Box::new(input), partition, order };
        let mut conditions = stay;
        let number = column(&schema, number);
        let limit = |op, value: u64| {
            let value = crate::expr::literal_bigint(i64::try_from(value).unwrap_or(i64::MAX));
            crate::expr::call(op, vec![number.clone(), value]).ok()
        };
        conditions.extend((first > 1).then(|| limit(">=", first)).flatten());
        conditions.extend((last < u64::MAX).then(|| limit("<=", last)).flatten());
        return filtered(Plan { node, schema }, conditions);
    };
    let partition = partition.into_iter().filter(|p| *p != start && *p != end).collect();
    let node = Node::WindowRank {
        input: Box::new(input),
        partition,
        start,
        end,
        order,
        rank_start: first,
        rank_end: last,
        output_rank: true,
    };
    filtered(Plan { node, schema }, stay)
}

/// The first and the last number that `condition` lets pass.
fn bound(condition: &ScalarExpr, number: usize) -> Option<(u64, u64)> {
    let ScalarExpr::Call { function, args, .. } = condition else { return None };
    let [a, b] = args.as_slice() else { return None };
    let is_number = |e: &ScalarExpr| matches!(e, ScalarExpr::Column { index, .. } if *index == number);
    let (value, operator) = if is_number(a) {
        (integer(b)?, *function)
    } else if is_number(b) {
        let flipped = match *function {
            "<" => ">",
            "<=" => ">=",
            ">" => "<",
            ">=" => "<=",
            other => other,
        };
        (integer(a)?, flipped)
    } else {
        return None;
    };
    let at_least = |v: i64| u64::try_from(v).unwrap_or(0).max(1);
    match operator {
        "=" => Some((at_least(value), u64::try_from(value).unwrap_or(0))),
        "<=" => Some((1, u64::try_from(value).unwrap_or(0))),
        "<" => Some((1, u64::try_from(value.saturating_sub(1)).unwrap_or(0))),
        ">=" => Some((at_least(value), u64::MAX)),
        ">" => Some((at_least(value.saturating_add(1)), u64::MAX)),
        _ => None,
    }
}

fn integer(expr: &ScalarExpr) -> Option<i64> {
    let ScalarExpr::Literal { value, data_type } = expr else { return None };
    if value.is_null(0) {
        return None;
    }
    match data_type.kind {
        TypeKind::Int => Some(value.as_primitive::<Int32Type>().value(0).into()),
        TypeKind::BigInt => Some(value.as_primitive::<Int64Type>().value(0)),
        _ => None,
    }
}
