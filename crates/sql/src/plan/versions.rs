//! What a relation tells of versions: which columns identify a row, and how the versions of a temporal join come.

use std::sync::Arc;

use super::{Node, Plan, Table, changelog};
use crate::expr::ScalarExpr;

/// The columns by which a row replaces an earlier one: a primary key, or what is deduplicated or grouped by.
pub(crate) fn unique_key(plan: &Plan) -> Option<Vec<usize>> {
    match &plan.node {
        Node::Scan { table, columns } if !table.primary_key.is_empty() => {
            let scanned = |key: &usize| match &table.columns[*key].value {
                ScalarExpr::Column { index, .. } => columns.iter().position(|c| c == index),
                _ => None,
            };
            table.primary_key.iter().map(scanned).collect()
        }
        Node::Calc { input, projection, .. } => {
            let copy = |key: usize| projection.iter().position(|p| is_column(p, key));
            unique_key(input)?.into_iter().map(copy).collect()
        }
        Node::Deduplicate { keys, .. } => Some(keys.clone()),
        Node::Aggregate { keys, .. } if !keys.is_empty() => Some((0..keys.len()).collect()),
        _ => None,
    }
}

/// Whether a filter hides versions from who looks at them, while it shows older ones.
pub(crate) fn hides_versions(plan: &Plan) -> bool {
    match &plan.node {
        Node::Calc { input, filter, .. } => {
            (filter.is_some() && changelog::is_changelog(input)) || hides_versions(input)
        }
        _ => false,
    }
}

/// The rows that the versions of `plan` are made from; and, if only those count that are not older than the version before,
/// the column of their time.
pub(crate) fn rows_of_versions(plan: &Plan) -> (Plan, Option<usize>) {
    match &plan.node {
        Node::Deduplicate { input, time, .. } => ((**input).clone(), Some(*time)),
        Node::Calc { input, filter, projection } => {
            let (rows, time) = rows_of_versions(input);
            let time = time.and_then(|time| projection.iter().position(|p| is_column(p, time)));
            let (filter, projection) = (filter.clone(), projection.clone());
            let node = Node::Calc { input: Box::new(rows), filter, projection };
            (Plan { node, schema: plan.schema.clone() }, time)
        }
        _ => (plan.clone(), None),
    }
}

/// The table of which `plan` is a projection and selection.
pub(crate) fn projected_table(plan: &Plan) -> Option<&Arc<Table>> {
    match &plan.node {
        Node::Scan { table, .. } => Some(table),
        Node::Calc { input, .. } => projected_table(input),
        _ => None,
    }
}

fn is_column(expr: &ScalarExpr, at: usize) -> bool {
    matches!(expr, ScalarExpr::Column { index, .. } if *index == at)
}
