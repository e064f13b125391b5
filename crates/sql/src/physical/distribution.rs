//! How the inputs of an operator are distributed among its subtasks.
//!
//! Invariant: rows that must meet have equal values in the columns by which they are distributed. The graph and EXPLAIN
//! both ask here.

use super::join::{Strategy, classify, equalities};
use crate::operators::spec::WindowKind;
use crate::plan::{Node, Plan, WindowSource};

/// The columns by whose hash each input of `plan` is distributed; none of them: all rows go to one subtask. `None`: the
/// operator takes its rows where they are.
pub(crate) fn distribution(plan: &Plan) -> Option<Vec<Vec<usize>>> {
    // Windows spread the rows of what has no key.
    let or_window = |keys: &[usize], window: Option<(usize, usize)>| match window {
        Some((start, end)) if keys.is_empty() => vec![start, end],
        _ => keys.to_vec(),
    };
    match &plan.node {
        Node::WindowTvf { window, keys, .. } => {
            matches!(window.kind, WindowKind::Session { .. }).then(|| vec![keys.clone()])
        }
        Node::Aggregate { keys, .. } => Some(vec![keys.clone()]),
        Node::WindowAggregate { keys, source, .. } => {
            let window = match source {
                WindowSource::Attached { start, end } => Some((*start, *end)),
                WindowSource::Time { .. } => None,
            };
            Some(vec![or_window(keys, window)])
        }
        Node::WindowRank { partition, start, end, .. } => {
            Some(vec![or_window(partition, Some((*start, *end)))])
        }
        Node::Join { .. } => {
            let join = classify(plan)?;
            let (left, right) = match join.strategy {
                Strategy::Window { left, right } => (Some(left), Some(right)),
                _ => (None, None),
            };
            Some(vec![or_window(&join.left_keys, left), or_window(&join.right_keys, right)])
        }
        Node::TemporalJoin { left, condition, .. } => {
            let (equal, _) = equalities(condition, left.schema.len());
            let (left, right) = equal.into_iter().unzip();
            Some(vec![left, right])
        }
        Node::Scan { .. }
        | Node::LookupJoin { .. }
        | Node::Deduplicate { .. }
        | Node::Values { .. }
        | Node::Calc { .. }
        | Node::RowNumber { .. }
        | Node::Unnest { .. }
        | Node::Union { .. } => None,
    }
}
