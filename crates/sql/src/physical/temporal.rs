//! Temporal and lookup joins.

use streamkeeper_connectors::table::{ScanRequest, create_lookup};

use super::join::equalities;
use super::stream::{Head, Stream};
use super::{Builder, descriptor};
use crate::error::{ErrorKind, SqlError};
use crate::explain;
use crate::expr::{ScalarExpr, and_all};
use crate::operators::join::{LookupJoin, TemporalJoin};
use crate::operators::spec::{CalcSpec, JoinKind, JoinSpec, LookupJoinSpec, TemporalJoinSpec};
use crate::plan::versions::rows_of_versions;
use crate::plan::{Node, Plan, changelog, fields};

impl Builder<'_> {
    pub(super) fn temporal_join(&mut self, plan: &Plan, need_before: bool) -> Result<Stream, SqlError> {
        let Node::TemporalJoin { left, right, kind, condition, left_time, right_time, key } = &plan.node
        else {
            return Err(SqlError::new(ErrorKind::Validation, "this node is not a temporal join"));
        };
        let (equal, residual) = equalities(condition, left.schema.len());
        let (rows, last_by) = rows_of_versions(right);
        // Which row is the last of its key must be known where the row is.
        let is_of_key = |time| time == *right_time && equal.iter().all(|(_, right)| key.contains(right));
        if last_by.is_some_and(|time| !is_of_key(time)) {
            return Err(SqlError::new(
                ErrorKind::Unsupported,
                format!(
                    "A temporal join with the last rows of a key by their event time, by more than an equality with that key, is \
                     not supported yet (put the rest into WHERE): {}",
                    explain::describe(plan)
                ),
            ));
        }
        let join = self.join_spec(plan, (left, right), *kind, equal.into_iter().unzip(), residual)?;
        let spec = TemporalJoinSpec {
            join,
            left_changelog: changelog::is_changelog(left),
            right_changelog: changelog::is_changelog(&rows),
            left_time: *left_time,
            right_time: *right_time,
            last_rows: last_by.is_some(),
        };
        let streams = vec![self.build(left, need_before)?, self.build(&rows, false)?];
        let node = self.node(plan, "TemporalJoin", move || Box::new(TemporalJoin::new(spec.clone())));
        Ok(self.distribute(plan, streams, node))
    }

    pub(super) fn lookup_join(&mut self, plan: &Plan) -> Result<Stream, SqlError> {
        let Node::LookupJoin { input, table, kind, condition } = &plan.node else {
            return Err(SqlError::new(ErrorKind::Validation, "this node is not a lookup join"));
        };
        super::operators::refuse_changes(input, plan)?;
        let (equal, residual) = equalities(condition, input.schema.len());
        let join = self.join_spec(plan, (input, table), *kind, equal.into_iter().unzip(), residual)?;
        let mut calcs = Vec::new();
        let source = self.looked_up(table, &mut calcs)?;
        let spec = LookupJoinSpec { join, table: source, calcs };
        let stream = self.build(input, false)?;
        let node = self.node(plan, "LookupJoin", move || Box::new(LookupJoin::new(spec.clone())));
        // A task of its own: the operator says when it wants input.
        let (parallelism, uid) = (stream.parallelism, stream.uid.clone());
        let port = self.close(stream);
        Ok(self.chain(Stream { head: Head::Port(port), rest: vec![], parallelism, uid }, node))
    }

    /// The source below the projections and filters of `plan`, which go to `calcs`, the lowest first.
    fn looked_up(
        &mut self,
        plan: &Plan,
        calcs: &mut Vec<CalcSpec>,
    ) -> Result<std::sync::Arc<dyn streamkeeper_connectors::lookup::LookupSource>, SqlError> {
        match &plan.node {
            Node::Calc { input, filter, projection } => {
                let source = self.looked_up(input, calcs)?;
                calcs.push(CalcSpec {
                    live: None,
                    filter: filter.as_ref().map(|f| self.compile(f)).transpose()?,
                    projection: Some(projection.iter().map(|p| self.compile(p)).collect::<Result<_, _>>()?),
                    output: fields(&plan.schema),
                    changelog: true,
                });
                Ok(source)
            }
            Node::Scan { table, columns } => {
                let request = ScanRequest { projection: columns.clone(), limit: None };
                create_lookup(&descriptor(table, &self.config.base_dir), &request)
                    .map_err(|e| SqlError::new(ErrorKind::Configuration, e.to_string()))
            }
            _ => Err(SqlError::new(
                ErrorKind::Unsupported,
                format!("{} cannot be looked up in", explain::describe(plan)),
            )),
        }
    }

    pub(super) fn join_spec(
        &self,
        plan: &Plan,
        (left, right): (&Plan, &Plan),
        kind: JoinKind,
        (left_keys, right_keys): (Vec<usize>, Vec<usize>),
        residual: Vec<ScalarExpr>,
    ) -> Result<JoinSpec, SqlError> {
        let condition = if residual.is_empty() { None } else { Some(self.compile(&and_all(residual))?) };
        Ok(JoinSpec {
            kind,
            left: fields(&left.schema),
            right: fields(&right.schema),
            left_keys,
            right_keys,
            condition,
            output: fields(&plan.schema),
        })
    }
}
