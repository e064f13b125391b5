//! A window function whose windows are only grouped by need not multiply its rows: the aggregation slices time itself.

use super::calc_over;
use crate::expr::ScalarExpr;
use crate::operators::spec::WindowKind;
use crate::plan::{Node, Plan, WindowSource, all_columns, column};

/// Fuses window functions into the window aggregations over them.
pub(super) fn fuse(plan: Plan) -> Plan {
    let plan = plan.map_inputs(&mut fuse);
    match plan.node {
        Node::WindowAggregate {
            input,
            keys,
            calls,
            source: WindowSource::Attached { start, end },
            window,
            properties,
        } => {
            let used = keys
                .iter()
                .chain(calls.iter().flat_map(|c| c.args.iter().chain(&c.filter)))
                .copied()
                .collect::<Vec<_>>();
            let (input, source) = match below(&input, start, end, &keys, &used) {
                Some(input) => (input, WindowSource::Time { column: start }),
                None => (*input, WindowSource::Attached { start, end }),
            };
            let node =
                Node::WindowAggregate { input: Box::new(input), keys, calls, source, window, properties };
            Plan { node, schema: plan.schema }
        }
        node => Plan { node, schema: plan.schema },
    }
}

/// The aggregation's input without the window function; its event time stands where the window's start was.
fn below(input: &Plan, start: usize, end: usize, keys: &[usize], used: &[usize]) -> Option<Plan> {
    let (tvf, filter, projection) = match &input.node {
        Node::Calc { input: tvf, filter, projection } => (&**tvf, filter.clone(), projection.clone()),
        _ => (input, None, all_columns(&input.schema)),
    };
    let Node::WindowTvf { input: source, time, window, keys: session_keys } = &tvf.node else { return None };
    let width = source.schema.len();
    let is = |expr: &ScalarExpr, at: usize| matches!(expr, ScalarExpr::Column { index, .. } if *index == at);
    let plain = |expr: &ScalarExpr| expr.columns().into_iter().all(|c| c < width);
    let windows_are_only_grouped_by = is(&projection[start], width)
        && is(&projection[end], width + 1)
        && used.iter().all(|c| plain(&projection[*c]))
        && filter.as_ref().is_none_or(plain);
    if !windows_are_only_grouped_by {
        return None;
    }
    if matches!(window.kind, WindowKind::Session { .. }) {
        let mut grouped: Vec<usize> = Vec::new();
        for key in keys {
            match &projection[*key] {
                ScalarExpr::Column { index, .. } => grouped.push(*index),
                _ => return None,
            }
        }
        let mut session = session_keys.clone();
        session.sort_unstable();
        grouped.sort_unstable();
        if filter.is_some() || session != grouped {
            return None;
        }
    }
    let mut schema = input.schema.clone();
    let projection = projection
        .into_iter()
        .enumerate()
        .map(|(i, expr)| {
            if plain(&expr) {
                return expr;
            }
            schema[i] = source.schema[*time].clone();
            column(&source.schema, *time)
        })
        .collect();
    Some(calc_over((**source).clone(), filter, projection, schema))
}
