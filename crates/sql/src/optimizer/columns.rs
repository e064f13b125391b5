//! Only the columns that are needed flow.
//!
//! Invariant: `prune(plan, needed)` gives exactly the columns `needed` of `plan`, in that order.

use super::calc_over;
use crate::expr::ScalarExpr;
use crate::operators::spec::{AggregateCall, SortKey};
use crate::plan::{Column, Node, Plan, Schema, WindowSource, all_columns};

pub(super) fn prune(plan: Plan, needed: &[usize]) -> Plan {
    let schema: Schema = needed.iter().map(|i| plan.schema[*i].clone()).collect();
    match plan.node {
        Node::Scan { table, columns } => {
            let columns = needed.iter().map(|i| columns[*i]).collect();
            Plan { node: Node::Scan { table, columns }, schema }
        }
        Node::Values { rows } => {
            let rows = rows.iter().map(|row| needed.iter().map(|i| row[*i].clone()).collect()).collect();
            Plan { node: Node::Values { rows }, schema }
        }
        Node::Union { inputs } => {
            let inputs = inputs.into_iter().map(|input| prune(input, needed)).collect();
            Plan { node: Node::Union { inputs }, schema }
        }
        Node::Calc { input, filter, projection } => {
            let projection: Vec<ScalarExpr> = needed.iter().map(|i| projection[*i].clone()).collect();
            let reads = projection.iter().chain(&filter).flat_map(ScalarExpr::columns);
            let kept = Kept::new(reads, input.schema.len());
            let input = prune(*input, &kept.columns);
            let projection = projection.iter().map(|p| kept.remap(p)).collect();
            let filter = filter.map(|f| kept.remap(&f));
            calc_over(input, filter, projection, schema)
        }
        Node::WindowTvf { input, time, window, keys } => {
            let width = input.schema.len();
            let reads =
                needed.iter().copied().filter(|i| *i < width).chain([time]).chain(keys.iter().copied());
            let kept = Kept::new(reads, width);
            let input = prune(*input, &kept.columns);
            let kept_width = input.schema.len();
            let mut full = input.schema.clone();
            for (to, from) in full.iter_mut().zip(&kept.columns) {
                *to = plan.schema[*from].clone();
            }
            full.extend(plan.schema[width..].iter().cloned());
            let keys = keys.iter().map(|k| kept.at(*k)).collect();
            let node = Node::WindowTvf { input: Box::new(input), time: kept.at(time), window, keys };
            let at = |i: usize| if i < width { kept.at(i) } else { kept_width + i - width };
            select(Plan { node, schema: full }, needed, at, schema)
        }
        Node::Aggregate { input, keys, calls } => {
            let (calls, call_at) = used_calls(calls, keys.len(), needed);
            let kept = Kept::new(keys.iter().copied().chain(reads(&calls)), input.schema.len());
            let mut full: Schema = plan.schema[..keys.len()].to_vec();
            full.extend(call_at.iter().map(|i| plan.schema[*i].clone()));
            let at = |i: usize| position(i, keys.len(), &call_at);
            let node = Node::Aggregate {
                input: Box::new(prune(*input, &kept.columns)),
                keys: keys.iter().map(|k| kept.at(*k)).collect(),
                calls: kept.calls(calls),
            };
            select(Plan { node, schema: full }, needed, at, schema)
        }
        Node::WindowAggregate { input, keys, calls, source, window, properties } => {
            let call_count = calls.len();
            let (calls, call_at) = used_calls(calls, keys.len(), needed);
            let first_property = keys.len() + call_count;
            let property_at: Vec<usize> =
                (first_property..first_property + properties.len()).filter(|i| needed.contains(i)).collect();
            let window_reads = match source {
                WindowSource::Attached { start, end } => vec![start, end],
                WindowSource::Time { column } => vec![column],
            };
            let kept =
                Kept::new(keys.iter().copied().chain(reads(&calls)).chain(window_reads), input.schema.len());
            let others: Vec<usize> = call_at.iter().chain(&property_at).copied().collect();
            let mut full: Schema = plan.schema[..keys.len()].to_vec();
            full.extend(others.iter().map(|i| plan.schema[*i].clone()));
            let at = |i: usize| position(i, keys.len(), &others);
            let node = Node::WindowAggregate {
                input: Box::new(prune(*input, &kept.columns)),
                keys: keys.iter().map(|k| kept.at(*k)).collect(),
                calls: kept.calls(calls),
                source: match source {
                    WindowSource::Attached { start, end } => {
                        WindowSource::Attached { start: kept.at(start), end: kept.at(end) }
                    }
                    WindowSource::Time { column } => WindowSource::Time { column: kept.at(column) },
                },
                window,
                properties: property_at.iter().map(|i| properties[i - first_property]).collect(),
            };
            select(Plan { node, schema: full }, needed, at, schema)
        }
        Node::RowNumber { input, partition, order } => {
            let width = input.schema.len();
            let kept = Kept::new(
                needed.iter().copied().filter(|i| *i < width).chain(rank_reads(&partition, &order)),
                width,
            );
            let input = prune(*input, &kept.columns);
            let mut full = input.schema.clone();
            full.extend(plan.schema[width..].iter().cloned());
            let kept_width = input.schema.len();
            let node = Node::RowNumber {
                input: Box::new(input),
                partition: partition.iter().map(|p| kept.at(*p)).collect(),
                order: kept.order(order),
            };
            let at = |i: usize| if i < width { kept.at(i) } else { kept_width };
            select(Plan { node, schema: full }, needed, at, schema)
        }
        Node::WindowRank { input, partition, start, end, order, rank_start, rank_end, .. } => {
            let width = input.schema.len();
            let output_rank = needed.contains(&width);
            let kept = Kept::new(
                needed
                    .iter()
                    .copied()
                    .filter(|i| *i < width)
                    .chain(rank_reads(&partition, &order))
                    .chain([start, end]),
                width,
            );
            let input = prune(*input, &kept.columns);
            let mut full = input.schema.clone();
            let kept_width = input.schema.len();
            if output_rank {
                full.extend(plan.schema[width..].iter().cloned());
            }
            let node = Node::WindowRank {
                input: Box::new(input),
                partition: partition.iter().map(|p| kept.at(*p)).collect(),
                start: kept.at(start),
                end: kept.at(end),
                order: kept.order(order),
                rank_start,
                rank_end,
                output_rank,
            };
            let at = |i: usize| if i < width { kept.at(i) } else { kept_width };
            select(Plan { node, schema: full }, needed, at, schema)
        }
        Node::Join { left, right, kind, condition } => {
            let (width, right_width) = (left.schema.len(), right.schema.len());
            let (sides, condition) = Sides::new(needed.iter().copied(), &condition, width, right_width);
            let node = Node::Join {
                left: Box::new(prune(*left, &sides.left.columns)),
                right: Box::new(prune(*right, &sides.right.columns)),
                kind,
                condition,
            };
            let full = sides.schema(&plan.schema);
            select(Plan { node, schema: full }, needed, |i| sides.at(i), schema)
        }
        Node::TemporalJoin { left, right, kind, condition, left_time, right_time, key } => {
            let width = left.schema.len();
            let times = [left_time, width + right_time];
            let keys = key.iter().map(|k| width + k);
            let reads = needed.iter().copied().chain(times).chain(keys);
            let (sides, condition) = Sides::new(reads, &condition, width, right.schema.len());
            let node = Node::TemporalJoin {
                left_time: sides.left.at(left_time),
                right_time: sides.right.at(right_time),
                key: key.iter().map(|k| sides.right.at(*k)).collect(),
                left: Box::new(prune(*left, &sides.left.columns)),
                right: Box::new(prune(*right, &sides.right.columns)),
                kind,
                condition,
            };
            let full = sides.schema(&plan.schema);
            select(Plan { node, schema: full }, needed, |i| sides.at(i), schema)
        }
        Node::LookupJoin { input, table, kind, condition } => {
            let (width, table_width) = (input.schema.len(), table.schema.len());
            let (sides, condition) = Sides::new(needed.iter().copied(), &condition, width, table_width);
            let node = Node::LookupJoin {
                input: Box::new(prune(*input, &sides.left.columns)),
                table: Box::new(prune(*table, &sides.right.columns)),
                kind,
                condition,
            };
            let full = sides.schema(&plan.schema);
            select(Plan { node, schema: full }, needed, |i| sides.at(i), schema)
        }
        Node::Deduplicate { input, keys, time } => {
            let width = input.schema.len();
            let kept = Kept::new(needed.iter().chain(&keys).copied().chain([time]), width);
            let full = kept.columns.iter().map(|i| plan.schema[*i].clone()).collect();
            let node = Node::Deduplicate {
                keys: keys.iter().map(|k| kept.at(*k)).collect(),
                time: kept.at(time),
                input: Box::new(prune(*input, &kept.columns)),
            };
            select(Plan { node, schema: full }, needed, |i| kept.at(i), schema)
        }
        Node::Unnest { input, collection, outer, with_ordinality } => {
            let width = input.schema.len();
            let kept =
                Kept::new(needed.iter().copied().filter(|i| *i < width).chain(collection.columns()), width);
            let collection = kept.remap(&collection);
            let input = prune(*input, &kept.columns);
            let mut full = input.schema.clone();
            let kept_width = full.len();
            full.extend(plan.schema[width..].iter().cloned());
            let node = Node::Unnest { input: Box::new(input), collection, outer, with_ordinality };
            let at = |i: usize| if i < width { kept.at(i) } else { kept_width + i - width };
            select(Plan { node, schema: full }, needed, at, schema)
        }
    }
}

fn select(plan: Plan, needed: &[usize], at: impl Fn(usize) -> usize, schema: Schema) -> Plan {
    let all = all_columns(&plan.schema);
    let projection: Vec<ScalarExpr> = needed.iter().map(|i| all[at(*i)].clone()).collect();
    calc_over(plan, None, projection, schema)
}

/// The aggregates that are needed, and where they are in the old output.
fn used_calls(calls: Vec<AggregateCall>, keys: usize, needed: &[usize]) -> (Vec<AggregateCall>, Vec<usize>) {
    // A batch needs a column to have rows: an aggregation without keys keeps an aggregate.
    let any = keys > 0 || calls.iter().enumerate().any(|(i, _)| needed.contains(&i));
    calls
        .into_iter()
        .enumerate()
        .map(|(i, call)| (call, keys + i))
        .filter(|(_, at)| needed.contains(at) || (!any && *at == 0))
        .unzip()
}

fn position(old: usize, keys: usize, others: &[usize]) -> usize {
    if old < keys {
        return old;
    }
    keys + others.iter().position(|o| *o == old).expect("what is needed is kept")
}

fn reads(calls: &[AggregateCall]) -> impl Iterator<Item = usize> {
    calls.iter().flat_map(|c| c.args.iter().chain(&c.filter)).copied()
}

fn rank_reads(partition: &[usize], order: &[SortKey]) -> impl Iterator<Item = usize> {
    partition.iter().copied().chain(order.iter().map(|o| o.column))
}

/// The columns of an input that stay.
struct Kept {
    columns: Vec<usize>,
}

impl Kept {
    /// `reads`, each once, ascending. Batches without columns would lose their rows: one column stays.
    fn new(reads: impl IntoIterator<Item = usize>, width: usize) -> Self {
        let mut columns: Vec<usize> = reads.into_iter().collect();
        columns.sort_unstable();
        columns.dedup();
        if columns.is_empty() && width > 0 {
            columns.push(0);
        }
        Self { columns }
    }

    fn at(&self, old: usize) -> usize {
        self.columns.binary_search(&old).expect("what is read is kept")
    }

    fn remap(&self, expr: &ScalarExpr) -> ScalarExpr {
        expr.remap_columns(&|i| self.at(i))
    }

    fn order(&self, order: Vec<SortKey>) -> Vec<SortKey> {
        order.into_iter().map(|o| SortKey { column: self.at(o.column), ..o }).collect()
    }

    fn calls(&self, mut calls: Vec<AggregateCall>) -> Vec<AggregateCall> {
        for call in &mut calls {
            for column in call.args.iter_mut().chain(&mut call.filter) {
                *column = self.at(*column);
            }
        }
        calls
    }
}

/// The columns of both inputs of a join that stay.
struct Sides {
    left: Kept,
    right: Kept,
    /// Columns of the left before.
    width: usize,
}

impl Sides {
    /// Those of `reads` and of the conditions, over left ++ right; and the conditions over what stays.
    fn new(
        reads: impl Iterator<Item = usize>,
        conditions: &[ScalarExpr],
        width: usize,
        right_width: usize,
    ) -> (Self, Vec<ScalarExpr>) {
        let reads: Vec<usize> = reads.chain(conditions.iter().flat_map(ScalarExpr::columns)).collect();
        let left = Kept::new(reads.iter().copied().filter(|i| *i < width), width);
        let right = Kept::new(reads.iter().filter(|i| **i >= width).map(|i| i - width), right_width);
        let sides = Self { left, right, width };
        let conditions = conditions.iter().map(|c| c.remap_columns(&|i| sides.at(i))).collect();
        (sides, conditions)
    }

    fn at(&self, old: usize) -> usize {
        match old.checked_sub(self.width) {
            None => self.left.at(old),
            Some(right) => self.left.columns.len() + self.right.at(right),
        }
    }

    /// The output that is left of `full`; a semi join has none of the right.
    fn schema(&self, full: &[Column]) -> Schema {
        let right = self.right.columns.iter().map(|i| self.width + i);
        self.left.columns.iter().copied().chain(right).filter_map(|i| full.get(i).cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relation_keeps_one_column_when_none_is_read() {
        assert_eq!(Kept::new([], 3).columns, [0]);
        assert_eq!(Kept::new([2, 1, 2], 3).columns, [1, 2]);
    }
}
