//! Operators over unbounded groups and collections: `GROUP BY` without windows, and `UNNEST`.

use sqlparser::tokenizer::Span;

use super::Builder;
use super::stream::Stream;
use crate::error::SqlError;
use crate::expr::ScalarExpr;
use crate::operators::spec::{AggregateCall, UnnestSpec};
use crate::operators::unnest::Unnest;
use crate::plan::{Plan, changelog, fields};

impl Builder<'_> {
    pub(super) fn aggregate(
        &mut self,
        _plan: &Plan,
        _input: &Plan,
        _keys: &[usize],
        _calls: &[AggregateCall],
        _need_before: bool,
    ) -> Result<Stream, SqlError> {
        Err(SqlError::unsupported("GROUP BY without a window", Span::empty()))
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
