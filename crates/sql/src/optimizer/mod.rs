//! Rewrites of the logical plan, each of which keeps its meaning: filters go down ([`filters`]), window functions melt
//! into window aggregations ([`windows`]), and only columns that are needed flow ([`columns`]).

mod columns;
mod filters;
mod windows;

use crate::expr::{ScalarExpr, and_all, conjuncts};
use crate::plan::{Node, Plan, Schema};

/// The optimized plan; it gives the same columns.
pub(crate) fn optimize(plan: Plan) -> Plan {
    let plan = filters::push_down(plan, Vec::new());
    let plan = windows::fuse(plan);
    let all: Vec<usize> = (0..plan.schema.len()).collect();
    columns::prune(plan, &all)
}

/// A projection and filter over `input`, as part of the one below if there is one, and not at all if it does nothing.
pub(crate) fn calc_over(
    input: Plan,
    filter: Option<ScalarExpr>,
    projection: Vec<ScalarExpr>,
    schema: Schema,
) -> Plan {
    if let Node::Calc { projection: below, .. } = &input.node
        && can_inline(below, filter.as_ref(), &projection)
        && let Node::Calc { input: inner, filter: first, projection: below } = input.node
    {
        let mut conditions: Vec<ScalarExpr> = first.iter().flat_map(conjuncts).collect();
        conditions.extend(filter.iter().flat_map(|f| conjuncts(&f.inline_columns(&below))));
        let projection = projection.iter().map(|p| p.inline_columns(&below)).collect();
        let filter = (!conditions.is_empty()).then(|| and_all(conditions));
        return calc_over(*inner, filter, projection, schema);
    }
    let identity = projection.len() == input.schema.len()
        && projection
            .iter()
            .enumerate()
            .all(|(i, p)| matches!(p, ScalarExpr::Column { index, .. } if *index == i));
    if filter.is_none() && identity {
        return Plan { node: input.node, schema };
    }
    Plan { node: Node::Calc { input: Box::new(input), filter, projection }, schema }
}

/// Whether the projection `below` may be computed where it is used: once, and with the same result.
fn can_inline(below: &[ScalarExpr], filter: Option<&ScalarExpr>, above: &[ScalarExpr]) -> bool {
    below.iter().enumerate().all(|(i, expr)| {
        if matches!(expr, ScalarExpr::Column { .. } | ScalarExpr::Literal { .. }) {
            return true;
        }
        let uses: usize = above.iter().chain(filter).map(|e| count_uses(e, i)).sum();
        expr.is_deterministic() && uses <= 1
    })
}

fn count_uses(expr: &ScalarExpr, column: usize) -> usize {
    match expr {
        ScalarExpr::Column { index, .. } => usize::from(*index == column),
        ScalarExpr::Literal { .. } => 0,
        ScalarExpr::Call { args, .. } => args.iter().map(|a| count_uses(a, column)).sum(),
        ScalarExpr::Cast { input, .. } => count_uses(input, column),
    }
}
