//! The logical plan: a tree of relational operators whose expressions are bound to the positions of their input.
//!
//! Invariant: a column that is a copy of an input column keeps its time attribute and its window role; whatever is
//! computed from it loses both. So windows and event time are recognised through any number of renaming projections.

pub(crate) mod changelog;
pub(crate) mod table;
pub(crate) mod versions;

use std::sync::Arc;

use streamkeeper_connectors::schema::{DataType, Field};

pub(crate) use self::table::Table;
use crate::expr::{ScalarExpr, and_all, call};
use crate::operators::spec::{AggregateCall, JoinKind, SortKey, WindowKind, WindowProperty};

/// A column of a relation.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) data_type: DataType,
    /// An event-time attribute: the watermark speaks of it.
    pub(crate) rowtime: bool,
    /// A processing-time attribute: the time at which its row was projected.
    pub(crate) proctime: bool,
    /// The bound of a window, or its time.
    pub(crate) window: Option<(WindowProperty, Window)>,
}

/// How the windows of a window column came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) kind: WindowKind,
    /// The event time is a TIMESTAMP_LTZ.
    pub(crate) ltz: bool,
}

impl Column {
    pub(crate) fn new(name: impl Into<String>, data_type: DataType) -> Self {
        Self { name: name.into(), data_type, rowtime: false, proctime: false, window: None }
    }

    /// The same column as a value that no clock speaks of any more.
    pub(crate) fn materialized(self) -> Self {
        Self { rowtime: false, proctime: false, ..self }
    }

    pub(crate) fn has_role(&self, role: WindowProperty) -> bool {
        self.window.is_some_and(|(r, _)| r == role)
    }
}

/// The columns of a relation, in order.
pub(crate) type Schema = Vec<Column>;

/// Columns as operators know them.
pub(crate) fn fields(schema: &[Column]) -> Vec<Field> {
    schema.iter().map(|c| Field::new(c.name.clone(), c.data_type.clone())).collect()
}

/// A reference to column `index` of `schema`.
pub(crate) fn column(schema: &[Column], index: usize) -> ScalarExpr {
    let c = &schema[index];
    ScalarExpr::Column { index, name: c.name.clone(), data_type: c.data_type.clone() }
}

/// References to all columns of `schema`.
pub(crate) fn all_columns(schema: &[Column]) -> Vec<ScalarExpr> {
    (0..schema.len()).map(|i| column(schema, i)).collect()
}

/// A relational operator and its inputs.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) node: Node,
    pub(crate) schema: Schema,
}

/// What an operator does.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    /// Reads the physical columns `columns` of a table.
    Scan { table: Arc<Table>, columns: Vec<usize> },
    /// Constant rows.
    Values { rows: Vec<Vec<ScalarExpr>> },
    /// Projects rows that pass the filter.
    Calc { input: Box<Plan>, filter: Option<ScalarExpr>, projection: Vec<ScalarExpr> },
    /// Appends the windows of each row. `time` is the event-time column.
    WindowTvf { input: Box<Plan>, time: usize, window: Window, keys: Vec<usize> },
    /// Unbounded aggregation. Output: keys, aggregates.
    Aggregate { input: Box<Plan>, keys: Vec<usize>, calls: Vec<AggregateCall> },
    /// Aggregation by window. Output: keys, aggregates, properties.
    WindowAggregate {
        input: Box<Plan>,
        keys: Vec<usize>,
        calls: Vec<AggregateCall>,
        source: WindowSource,
        window: Window,
        properties: Vec<WindowProperty>,
    },
    /// Appends `ROW_NUMBER()`; only a filter on it makes it executable.
    RowNumber { input: Box<Plan>, partition: Vec<usize>, order: Vec<SortKey> },
    /// Rows by rank within their window. `partition` has no window columns.
    WindowRank {
        input: Box<Plan>,
        partition: Vec<usize>,
        start: usize,
        end: usize,
        order: Vec<SortKey>,
        rank_start: u64,
        rank_end: u64,
        output_rank: bool,
    },
    /// Any join; the physical planner finds out which.
    Join { left: Box<Plan>, right: Box<Plan>, kind: JoinKind, condition: Vec<ScalarExpr> },
    /// Rows of the left with the version of the right that was the newest at their event time.
    TemporalJoin {
        left: Box<Plan>,
        right: Box<Plan>,
        kind: JoinKind,
        condition: Vec<ScalarExpr>,
        /// The event time of the left.
        left_time: usize,
        /// When a version of the right began.
        right_time: usize,
        /// The columns of the right that tell what a row is a version of.
        key: Vec<usize>,
    },
    /// Rows with those of a table as it is at the moment. The table is a scan below projections and filters; it is no input.
    LookupJoin { input: Box<Plan>, table: Box<Plan>, kind: JoinKind, condition: Vec<ScalarExpr> },
    /// The last row by event time of each key; to be executed only as the versions of a temporal join.
    Deduplicate { input: Box<Plan>, keys: Vec<usize>, time: usize },
    /// Appends the elements of a collection.
    Unnest { input: Box<Plan>, collection: ScalarExpr, outer: bool, with_ordinality: bool },
    /// All rows of all inputs.
    Union { inputs: Vec<Plan> },
}

/// Where a window aggregation takes its windows from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WindowSource {
    /// Columns with the bounds.
    Attached { start: usize, end: usize },
    /// An event-time column.
    Time { column: usize },
}

impl Plan {
    /// Projection and filter; `names` are those of the output.
    pub(crate) fn calc(
        self,
        filter: Option<ScalarExpr>,
        projection: Vec<ScalarExpr>,
        names: Vec<String>,
    ) -> Self {
        // A processing-time attribute has no value before somebody looks, so a copy of it looks again.
        let copy = |expr: ScalarExpr| match &expr {
            ScalarExpr::Column { index, .. } if self.schema[*index].proctime => {
                call("PROCTIME", vec![]).unwrap_or(expr)
            }
            _ => expr,
        };
        let projection: Vec<ScalarExpr> = projection.into_iter().map(copy).collect();
        let schema = projection
            .iter()
            .zip(names)
            .map(|(expr, name)| match expr {
                ScalarExpr::Column { index, .. } => Column { name, ..self.schema[*index].clone() },
                other => Column {
                    proctime: matches!(other, ScalarExpr::Call { function: "PROCTIME", .. }),
                    ..Column::new(name, other.data_type().clone())
                },
            })
            .collect();
        Self { node: Node::Calc { input: Box::new(self), filter, projection }, schema }
    }

    /// The rows for which all of `conditions` are true.
    pub(crate) fn filter(self, conditions: Vec<ScalarExpr>) -> Self {
        if conditions.is_empty() {
            return self;
        }
        let projection = all_columns(&self.schema);
        let schema = self.schema.clone();
        let node = Node::Calc { input: Box::new(self), filter: Some(and_all(conditions)), projection };
        Self { node, schema }
    }

    /// Appends columns; those that exist are found instead. Returns their positions.
    pub(crate) fn with_columns(self, exprs: &[ScalarExpr]) -> (Self, Vec<usize>) {
        let mut projection = all_columns(&self.schema);
        let mut positions = Vec::with_capacity(exprs.len());
        for expr in exprs {
            let found = projection.iter().position(|p| same(p, expr));
            positions.push(found.unwrap_or_else(|| {
                projection.push(expr.clone());
                projection.len() - 1
            }));
        }
        if projection.len() == self.schema.len() {
            return (self, positions);
        }
        let mut names: Vec<String> = self.schema.iter().map(|c| c.name.clone()).collect();
        for i in names.len()..projection.len() {
            names.push(format!("$f{i}"));
        }
        (self.calc(None, projection, names), positions)
    }

    /// The inputs, in order.
    pub(crate) fn inputs(&self) -> Vec<&Plan> {
        match &self.node {
            Node::Scan { .. } | Node::Values { .. } => vec![],
            Node::Calc { input, .. }
            | Node::WindowTvf { input, .. }
            | Node::Aggregate { input, .. }
            | Node::WindowAggregate { input, .. }
            | Node::RowNumber { input, .. }
            | Node::WindowRank { input, .. }
            | Node::LookupJoin { input, .. }
            | Node::Deduplicate { input, .. }
            | Node::Unnest { input, .. } => vec![input],
            Node::Join { left, right, .. } | Node::TemporalJoin { left, right, .. } => vec![left, right],
            Node::Union { inputs } => inputs.iter().collect(),
        }
    }

    /// The same node over other inputs.
    #[must_use]
    pub(crate) fn map_inputs(self, change: &mut dyn FnMut(Plan) -> Plan) -> Self {
        let mut boxed = |input: Box<Plan>| Box::new(change(*input));
        let node = match self.node {
            node @ (Node::Scan { .. } | Node::Values { .. }) => node,
            Node::Calc { input, filter, projection } => {
                Node::Calc { input: boxed(input), filter, projection }
            }
            Node::WindowTvf { input, time, window, keys } => {
                Node::WindowTvf { input: boxed(input), time, window, keys }
            }
            Node::Aggregate { input, keys, calls } => Node::Aggregate { input: boxed(input), keys, calls },
            Node::WindowAggregate { input, keys, calls, source, window, properties } => {
                Node::WindowAggregate { input: boxed(input), keys, calls, source, window, properties }
            }
            Node::RowNumber { input, partition, order } => {
                Node::RowNumber { input: boxed(input), partition, order }
            }
            Node::WindowRank { input, partition, start, end, order, rank_start, rank_end, output_rank } => {
                Node::WindowRank {
                    input: boxed(input),
                    partition,
                    start,
                    end,
                    order,
                    rank_start,
                    rank_end,
                    output_rank,
                }
            }
            Node::Join { left, right, kind, condition } => {
                Node::Join { left: boxed(left), right: boxed(right), kind, condition }
            }
            Node::TemporalJoin { left, right, kind, condition, left_time, right_time, key } => {
                let (left, right) = (boxed(left), boxed(right));
                Node::TemporalJoin { left, right, kind, condition, left_time, right_time, key }
            }
            Node::LookupJoin { input, table, kind, condition } => {
                Node::LookupJoin { input: boxed(input), table, kind, condition }
            }
            Node::Deduplicate { input, keys, time } => Node::Deduplicate { input: boxed(input), keys, time },
            Node::Unnest { input, collection, outer, with_ordinality } => {
                Node::Unnest { input: boxed(input), collection, outer, with_ordinality }
            }
            Node::Union { inputs } => Node::Union { inputs: inputs.into_iter().map(change).collect() },
        };
        Self { node, schema: self.schema }
    }
}

/// Whether two expressions are the same, whatever the columns are called.
pub(crate) fn same(a: &ScalarExpr, b: &ScalarExpr) -> bool {
    let nameless = |e: &ScalarExpr| {
        e.rewrite(&|node| match node {
            ScalarExpr::Column { index, data_type, .. } => {
                ScalarExpr::Column { index, name: String::new(), data_type }
            }
            other => other,
        })
    };
    match (a, b) {
        (ScalarExpr::Column { index: a, .. }, ScalarExpr::Column { index: b, .. }) => a == b,
        _ => nameless(a) == nameless(b),
    }
}
