//! Each node of a plan as an operator.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::concat;
use sqlparser::tokenizer::Span;
use streamkeeper_connectors::schema::to_arrow_schema;
use streamkeeper_dataflow::graph::OperatorNode;
use streamkeeper_dataflow::operator::Operator;

use super::Builder;
use super::digest::digest;
use super::join::{Strategy, classify};
use super::stream::{BatchNode, Hash, Head, Stream};
use super::values::ValuesSource;
use crate::error::{ErrorKind, SqlError};
use crate::explain;
use crate::expr::live::documents;
use crate::expr::{ColumnarValue, ScalarExpr};
use crate::operators::calc::Calc;
use crate::operators::join::{IntervalJoin, RegularJoin, WindowJoin};
use crate::operators::spec::{
    CalcSpec, IntervalJoinSpec, JoinKind, LiveCalc, RegularJoinSpec, WindowAggregateSpec, WindowInput,
    WindowJoinSpec, WindowKind, WindowRankSpec, WindowTableFunctionSpec,
};
use crate::operators::window::{
    GlobalWindowAggregate, LocalWindowAggregate, WindowAggregate, WindowTableFunction,
};
use crate::operators::window_rank::WindowRank;
use crate::plan::{Node, Plan, Window, WindowSource, all_columns, changelog, fields};

type BoxedOperator = Box<dyn Operator<RecordBatch, RecordBatch>>;

impl Builder<'_> {
    pub(super) fn operator(&mut self, plan: &Plan, need_before: bool) -> Result<Stream, SqlError> {
        let changes = changelog::is_changelog(plan);
        match &plan.node {
            Node::Scan { table, columns } => self.source(plan, table, columns),
            Node::Values { rows } => self.values(plan, rows),
            Node::Calc { input, filter, projection } => {
                // A filter may hide one half of an update: then the other half must come as a row of its own.
                let need_before = need_before || (filter.is_some() && changes);
                let stream = self.build(input, need_before)?;
                let as_is = *projection == all_columns(&input.schema);
                let projection = (!as_is).then_some(projection);
                let mut spec = CalcSpec {
                    live: None,
                    filter: None,
                    projection: None,
                    output: fields(&plan.schema),
                    changelog: changes,
                };
                let reads: BTreeSet<String> =
                    projection.into_iter().flatten().chain(filter).flat_map(documents).collect();
                if reads.is_empty() {
                    spec.filter = filter.as_ref().map(|f| self.compile(f)).transpose()?;
                    let compiled = projection.map(|p| p.iter().map(|p| self.compile(p)).collect());
                    spec.projection = compiled.transpose()?;
                } else {
                    if changes {
                        return Err(SqlError::new(
                            ErrorKind::Validation,
                            format!(
                                "CONFIG of rows that are updated, in {}: the old and the new row of an update could see \
                                 different revisions; use it before the aggregation or join",
                                explain::describe(plan)
                            ),
                        ));
                    }
                    self.config_documents.extend(reads);
                    spec.live = Some(Arc::new(LiveCalc {
                        filter: filter.clone(),
                        projection: projection.cloned(),
                        context: self.ctx.clone(),
                    }));
                }
                let node = self.node(plan, "Calc", move || Box::new(Calc::new(spec.clone())));
                Ok(self.chain(stream, node))
            }
            Node::WindowTvf { input, time, window, keys } => {
                refuse_changes(input, plan)?;
                let stream = self.build(input, false)?;
                let spec = WindowTableFunctionSpec {
                    input: fields(&input.schema),
                    window: self.time_windows(*time, *window),
                    keys: keys.clone(),
                    output: fields(&plan.schema),
                };
                let node = self.node(plan, "WindowTableFunction", move || {
                    Box::new(WindowTableFunction::new(spec.clone()))
                });
                Ok(self.distribute(plan, vec![stream], node))
            }
            Node::WindowAggregate { input, keys, calls, source, window, properties } => {
                refuse_changes(input, plan)?;
                let stream = self.build(input, false)?;
                let window = match source {
                    WindowSource::Attached { .. }
                        if window.ltz && self.ctx.time_zone != chrono_tz::Tz::UTC =>
                    {
                        return Err(SqlError::new(
                            ErrorKind::Unsupported,
                            "aggregating windows of a TIMESTAMP_LTZ again is not supported yet in a \
                             table.local-time-zone other than UTC",
                        ));
                    }
                    WindowSource::Attached { start, end } => {
                        WindowInput::Attached { start: *start, end: *end }
                    }
                    WindowSource::Time { column } => self.time_windows(*column, *window),
                };
                let spec = WindowAggregateSpec {
                    input: fields(&input.schema),
                    keys: keys.clone(),
                    aggregates: calls.clone(),
                    window,
                    properties: properties.clone(),
                    output: fields(&plan.schema),
                };
                self.window_aggregate(plan, stream, spec)
            }
            Node::WindowRank { input, partition, start, end, order, rank_start, rank_end, output_rank } => {
                refuse_changes(input, plan)?;
                let stream = self.build(input, false)?;
                let spec = WindowRankSpec {
                    input: fields(&input.schema),
                    partition: partition.clone(),
                    window_start: *start,
                    window_end: *end,
                    order: order.clone(),
                    rank_start: *rank_start,
                    rank_end: *rank_end,
                    output_rank: *output_rank,
                    output: fields(&plan.schema),
                };
                let zone = self.window_zone(input.schema[*start].window.map(|(_, w)| w));
                let node = self.node(plan, "WindowRank", move || {
                    Box::new(WindowRank::new(spec.clone()).with_time_zone(zone.clone()))
                });
                Ok(self.distribute(plan, vec![stream], node))
            }
            Node::Join { left, right, kind, .. } => self.join(plan, left, right, *kind, need_before),
            Node::TemporalJoin { .. } => self.temporal_join(plan, need_before),
            Node::LookupJoin { .. } => self.lookup_join(plan),
            Node::Deduplicate { .. } => Err(SqlError::unsupported(
                "Deduplication, ROW_NUMBER() OVER (PARTITION BY … ORDER BY rowtime DESC) = 1, but as the right side of a temporal \
                 join (FOR SYSTEM_TIME AS OF left.rowtime)",
                Span::empty(),
            )),
            Node::Aggregate { input, keys, calls } => self.aggregate(plan, input, keys, calls, need_before),
            Node::Unnest { input, collection, outer, with_ordinality } => {
                self.unnest(plan, input, collection, *outer, *with_ordinality, need_before)
            }
            Node::Union { inputs } => self.union(plan, inputs, changes, need_before),
            Node::RowNumber { .. } => Err(SqlError::unsupported(
                "ROW_NUMBER() OVER (…) without both bounds of a window in PARTITION BY and an upper bound on its \
                 result (WHERE rn <= n)",
                Span::empty(),
            )),
        }
    }

    pub(super) fn node(
        &mut self,
        plan: &Plan,
        kind: &str,
        make: impl Fn() -> BoxedOperator + Send + Sync + 'static,
    ) -> BatchNode {
        let uid = self.uid(kind, &digest(plan), &[]);
        OperatorNode::new(uid, kind, Arc::new(make))
    }

    fn window_zone(&self, window: Option<Window>) -> Option<String> {
        window.filter(|w| w.ltz).map(|_| self.ctx.time_zone.name().to_owned())
    }

    fn time_windows(&self, column: usize, window: Window) -> WindowInput {
        WindowInput::TimeColumn { column, time_zone: self.window_zone(Some(window)), kind: window.kind }
    }

    fn window_aggregate(
        &mut self,
        plan: &Plan,
        stream: Stream,
        spec: WindowAggregateSpec,
    ) -> Result<Stream, SqlError> {
        let slices = matches!(
            spec.window,
            WindowInput::TimeColumn { kind, .. } if !matches!(kind, WindowKind::Session { .. })
        );
        if slices && self.config.parallelism > 1 {
            return Ok(self.two_phases(plan, stream, &spec));
        }
        let node = self.node(plan, "WindowAggregate", move || Box::new(WindowAggregate::new(spec.clone())));
        Ok(self.distribute(plan, vec![stream], node))
    }

    /// Partial results before the exchange. The global side has the uid of the aggregation in one phase, whose state
    /// it shares: so a checkpoint can be restored at any parallelism.
    fn two_phases(&mut self, plan: &Plan, stream: Stream, spec: &WindowAggregateSpec) -> Stream {
        let keys = LocalWindowAggregate::output_keys(spec);
        let local_spec = spec.clone();
        let local = self.node(plan, "LocalWindowAggregate", move || {
            Box::new(LocalWindowAggregate::new(local_spec.clone()))
        });
        let spec = spec.clone();
        let mut global =
            self.node(plan, "WindowAggregate", move || Box::new(GlobalWindowAggregate::new(spec.clone())));
        global.name = "GlobalWindowAggregate".to_owned();
        let stream = self.chain(stream, local);
        self.connect(vec![(stream, Hash(keys))], global)
    }

    fn join(
        &mut self,
        plan: &Plan,
        left: &Plan,
        right: &Plan,
        kind: JoinKind,
        _need_before: bool,
    ) -> Result<Stream, SqlError> {
        let Some(join) = classify(plan) else {
            return Err(SqlError::new(ErrorKind::Validation, "this node is not a join"));
        };
        if join.strategy == Strategy::Regular && left.schema.iter().chain(&right.schema).any(|c| c.rowtime) {
            return Err(SqlError::validation(
                "Rowtime attributes must not be in the input rows of a regular join. As a workaround you can cast \
                 the time attributes of input tables to TIMESTAMP before.",
                Span::empty(),
            ));
        }
        let keys = (join.left_keys, join.right_keys);
        let spec = self.join_spec(plan, (left, right), kind, keys, join.residual)?;
        let (left_stream, right_stream) = (self.build(left, true)?, self.build(right, true)?);
        let node = match join.strategy {
            Strategy::Window { left: left_window, right: right_window } => {
                let zone = self.window_zone(left.schema[left_window.0].window.map(|(_, w)| w));
                let spec = WindowJoinSpec { join: spec, left_window, right_window };
                self.node(plan, "WindowJoin", move || {
                    Box::new(WindowJoin::new(spec.clone()).with_time_zone(zone.clone()))
                })
            }
            Strategy::Interval { left_time, right_time, lower_ms, upper_ms } => {
                let spec = IntervalJoinSpec { join: spec, left_time, right_time, lower_ms, upper_ms };
                self.node(plan, "IntervalJoin", move || Box::new(IntervalJoin::new(spec.clone())))
            }
            Strategy::Regular => {
                let spec = RegularJoinSpec {
                    join: spec,
                    left_changelog: changelog::is_changelog(left),
                    right_changelog: changelog::is_changelog(right),
                    output_changelog: changelog::is_changelog(plan),
                };
                self.node(plan, "Join", move || Box::new(RegularJoin::new(spec.clone())))
            }
        };
        Ok(self.distribute(plan, vec![left_stream, right_stream], node))
    }

    fn union(
        &mut self,
        plan: &Plan,
        inputs: &[Plan],
        changes: bool,
        need_before: bool,
    ) -> Result<Stream, SqlError> {
        let mut streams = Vec::new();
        for input in inputs {
            if changelog::is_changelog(input) != changes {
                return Err(SqlError::unsupported(
                    "UNION ALL of an insert-only stream and one that is updated",
                    Span::empty(),
                ));
            }
            streams.push(self.build(input, need_before)?);
        }
        let spec = CalcSpec {
            live: None,
            filter: None,
            projection: None,
            output: fields(&plan.schema),
            changelog: changes,
        };
        let node = self.node(plan, "Union", move || Box::new(Calc::new(spec.clone())));
        Ok(self.merge(streams, node))
    }

    fn values(&mut self, plan: &Plan, rows: &[Vec<ScalarExpr>]) -> Result<Stream, SqlError> {
        let one = RecordBatch::try_new_with_options(
            Arc::new(arrow::datatypes::Schema::empty()),
            vec![],
            &RecordBatchOptions::new().with_row_count(Some(1)),
        );
        let wrong = |e: &dyn std::fmt::Display| SqlError::new(ErrorKind::Validation, e.to_string());
        let one = one.map_err(|e| wrong(&e))?;
        let mut columns: Vec<ArrayRef> = Vec::new();
        for i in 0..plan.schema.len() {
            let mut values: Vec<ArrayRef> = Vec::new();
            for row in rows {
                match self.compile(&row[i])?.eval(&one).map_err(|e| wrong(&e))? {
                    ColumnarValue::Array(value) | ColumnarValue::Scalar(value) => values.push(value),
                }
            }
            let parts: Vec<&dyn arrow::array::Array> = values.iter().map(|v| &**v).collect();
            columns.push(concat(&parts).map_err(|e| wrong(&e))?);
        }
        let rows = RecordBatch::try_new_with_options(
            to_arrow_schema(&fields(&plan.schema)),
            columns,
            &RecordBatchOptions::new().with_row_count(Some(rows.len())),
        )
        .map_err(|e| wrong(&e))?;
        let uid = self.uid("Values", &digest(plan), &[]);
        let head = Head::Source {
            name: "Values".to_owned(),
            uid: uid.clone(),
            source: Arc::new(ValuesSource { rows }),
            watermarks: None,
        };
        Ok(Stream { head, rest: vec![], parallelism: 1, uid })
    }
}

pub(super) fn refuse_changes(input: &Plan, plan: &Plan) -> Result<(), SqlError> {
    if !changelog::is_changelog(input) {
        return Ok(());
    }
    let producer = changelog::update_producer(input);
    Err(SqlError::validation(
        format!(
            "{} doesn't support consuming {} which is produced by node {}",
            explain::describe(plan),
            changelog::changes_of(producer),
            explain::describe(producer)
        ),
        Span::empty(),
    ))
}
