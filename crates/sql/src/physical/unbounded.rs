//! Operators over unbounded groups and collections: `GROUP BY` without windows, and `UNNEST`.

use super::Builder;
use super::stream::Stream;
use crate::error::SqlError;
use crate::expr::ScalarExpr;
use crate::operators::group_aggregate::GroupAggregate;
use crate::operators::spec::{AggregateCall, GroupAggregateSpec, UnnestSpec};
use crate::operators::unnest::Unnest;
use crate::plan::{Plan, changelog, fields};

impl Builder<'_> {
    pub(super) fn aggregate(
        &mut self,
        plan: &Plan,
        input: &Plan,
        keys: &[usize],
        calls: &[AggregateCall],
        need_before: bool,
    ) -> Result<Stream, SqlError> {
        let stream = self.build(input, true)?;
        let spec = GroupAggregateSpec {
            input: fields(&input.schema),
            keys: keys.to_vec(),
            aggregates: calls.to_vec(),
            input_changelog: changelog::is_changelog(input),
            emit_update_before: need_before,
            output: fields(&plan.schema),
            output_changelog: changelog::is_changelog(plan),
        };
        let node = self.node(plan, "GroupAggregate", move || Box::new(GroupAggregate::new(spec.clone())));
        Ok(self.distribute(plan, vec![stream], node))
    }

    pub(super) fn unnest(
        &mut self,
        plan: &Plan,
        input: &Plan,
        collection: &ScalarExpr,
        outer: bool,
        with_ordinality: bool,
        need_before: bool,
    ) -> Result<Stream, SqlError> {
        let stream = self.build(input, need_before)?;
        let spec = UnnestSpec {
            input: fields(&input.schema),
            collection: self.compile(collection)?,
            outer,
            with_ordinality,
            output: fields(&plan.schema),
            changelog: changelog::is_changelog(input),
        };
        let node = self.node(plan, "Correlate", move || Box::new(Unnest::new(spec.clone())));
        Ok(self.chain(stream, node))
    }
}
