//! Changelog modes: which relations update rows that they gave before.

use super::{Node, Plan};
use crate::operators::spec::JoinKind;

/// Whether the relation's stream has a row-kind column.
pub(crate) fn is_changelog(plan: &Plan) -> bool {
    match &plan.node {
        Node::Scan { table, .. } => table.is_changelog(),
        Node::Aggregate { input, calls, .. } => !calls.is_empty() || is_changelog(input),
        Node::Join { left, right, kind, .. } => {
            let inner = matches!(kind, JoinKind::Inner | JoinKind::Semi);
            (!inner && !crate::physical::join::is_append_join(plan))
                || is_changelog(left)
                || is_changelog(right)
        }
        Node::Deduplicate { .. } => true,
        // Each row of the left is joined once, and goes as it came.
        Node::TemporalJoin { left, .. } => is_changelog(left),
        _ => plan.inputs().into_iter().any(is_changelog),
    }
}

/// The node that first turns an insert-only stream into a changelog, by its name in Flink's plans.
pub(crate) fn update_producer(plan: &Plan) -> &Plan {
    match plan.inputs().into_iter().find(|input| is_changelog(input)) {
        Some(input)
            if !matches!(
                plan.node,
                Node::Aggregate { .. } | Node::Join { .. } | Node::Deduplicate { .. }
            ) =>
        {
            update_producer(input)
        }
        _ => plan,
    }
}

/// What an [`update_producer`] produces, in Flink's words.
pub(crate) fn changes_of(producer: &Plan) -> &'static str {
    match producer.node {
        Node::Join { .. } | Node::Scan { .. } => "update and delete changes",
        _ => "update changes",
    }
}
