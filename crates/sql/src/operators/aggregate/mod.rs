//! Aggregate functions on columns: one accumulator per call holds the state of all groups, and takes whole batches.
//!
//! - [`types`]: which type an aggregate has
//! - [`sum`], [`extreme`], [`ordered`], [`counted`], [`variance`]: the functions
//! - [`distinct`]: puts DISTINCT before any of them
//! - [`Aggregates`]: all calls of one operator, with their arguments and filters
//!
//! Invariant: the state of a group is rows of Arrow columns ([`Accumulator::state`]), and merging those into an empty
//! accumulator gives back the group. Checkpoints, two-phase aggregation and the merging of slices all rest on it.

mod counted;
mod distinct;
mod extreme;
mod ordered;
mod rows;
mod sum;
mod types;
mod variance;

use std::fmt::Write as _;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{concat, take};
use arrow::datatypes::{DataType as ArrowType, Field as ArrowField};
use streamkeeper_dataflow::{OperatorError, OperatorResult};

use super::spec::{AggregateCall, AggregateFunction};

/// The state of one aggregate call for all groups of a [`super::keys::GroupTable`].
pub(crate) trait Accumulator: Send {
    /// Makes room for the groups `0..groups`; new ones are empty.
    fn grow(&mut self, groups: usize);

    /// Row `i` of `args` is added to `groups[i]`.
    fn update(&mut self, groups: &[u32], args: &[ArrayRef]) -> OperatorResult<()>;

    /// Row `i` of `args` is taken back from `groups[i]`.
    fn retract(&mut self, groups: &[u32], args: &[ArrayRef]) -> OperatorResult<()>;

    /// Empties a group.
    fn reset(&mut self, group: u32);

    /// The results of some groups.
    fn evaluate(&self, groups: &[u32]) -> OperatorResult<ArrayRef>;

    /// Types of the columns of [`Accumulator::state`].
    fn state_types(&self) -> Vec<ArrowType>;

    /// The state of some groups, a row each.
    fn state(&self, groups: &[u32]) -> OperatorResult<Vec<ArrayRef>>;

    /// Row `i` of another accumulator's `state` is added to `groups[i]`.
    fn merge(&mut self, groups: &[u32], state: &[ArrayRef]) -> OperatorResult<()>;

    /// Adds (or where `retract[i]`, takes back) row after row; the result of `groups[i]` after each.
    fn running(
        &mut self,
        groups: &[u32],
        args: &[ArrayRef],
        retract: Option<&[bool]>,
    ) -> OperatorResult<ArrayRef> {
        let mut results = Vec::with_capacity(groups.len());
        for row in 0..groups.len() {
            let group = &groups[row..=row];
            let one = args.iter().map(|arg| arg.slice(row, 1)).collect::<Vec<_>>();
            if retract.is_some_and(|retract| retract[row]) {
                self.retract(group, &one)?;
            } else {
                self.update(group, &one)?;
            }
            results.push(self.evaluate(group)?);
        }
        if results.is_empty() {
            return self.evaluate(&[]);
        }
        Ok(concat(&results.iter().map(|r| r.as_ref()).collect::<Vec<_>>())?)
    }
}

/// The aggregate calls of an operator.
pub(crate) struct Aggregates {
    calls: Vec<Call>,
}

struct Call {
    accumulator: Box<dyn Accumulator>,
    args: Vec<usize>,
    filter: Option<usize>,
    state_columns: usize,
    counts_every_row: bool,
}

/// The results of one call before and after each row of a batch.
pub(crate) struct Changes {
    /// All results, in no particular order.
    pub(crate) values: ArrayRef,
    /// `before[i]`: where in `values` the result of row `i`'s group before that row is.
    pub(crate) before: Vec<u32>,
    /// `after[i]`: the same after that row.
    pub(crate) after: Vec<u32>,
    /// No row can leave the result as it was.
    pub(crate) counts_every_row: bool,
}

impl Aggregates {
    /// Empty accumulators; `retract` if rows may be taken back.
    pub(crate) fn new(calls: &[AggregateCall], retract: bool) -> OperatorResult<Self> {
        let calls = calls.iter().map(|call| {
            let accumulator = accumulator(call, retract)?;
            let state_columns = accumulator.state_types().len();
            let counts_every_row =
                call.function == AggregateFunction::Count && call.args.is_empty() && call.filter.is_none();
            let args = call.args.clone();
            Ok(Call { accumulator, args, filter: call.filter, state_columns, counts_every_row })
        });
        Ok(Self { calls: calls.collect::<OperatorResult<_>>()? })
    }

    /// Adds each row of `batch` to its group; groups are below `capacity`.
    pub(crate) fn update(
        &mut self,
        capacity: usize,
        groups: &[u32],
        batch: &RecordBatch,
    ) -> OperatorResult<()> {
        for call in &mut self.calls {
            call.accumulator.grow(capacity);
            match call.selected(batch) {
                None => call.accumulator.update(groups, &call.arguments(batch))?,
                Some(rows) => {
                    let chosen = rows.iter().map(|row| groups[*row as usize]).collect::<Vec<_>>();
                    let args = take_all(&call.arguments(batch), rows)?;
                    call.accumulator.update(&chosen, &args)?;
                }
            }
        }
        Ok(())
    }

    /// Adds (or takes back) row after row, and tells each result before and after. `touched` are the groups of the
    /// batch without repetition, `position[group]` is the place of a group in it.
    pub(crate) fn changes(
        &mut self,
        capacity: usize,
        groups: &[u32],
        batch: &RecordBatch,
        retract: Option<&[bool]>,
        touched: &[u32],
        position: &[u32],
    ) -> OperatorResult<Vec<Changes>> {
        let mut changes = Vec::with_capacity(self.calls.len());
        for call in &mut self.calls {
            call.accumulator.grow(capacity);
            let initial = call.accumulator.evaluate(touched)?;
            let args = call.arguments(batch);
            let rows = call.selected(batch);
            let running = match &rows {
                None => call.accumulator.running(groups, &args, retract)?,
                Some(rows) => {
                    let chosen = rows.iter().map(|row| groups[*row as usize]).collect::<Vec<_>>();
                    let retract = retract
                        .map(|retract| rows.iter().map(|row| retract[*row as usize]).collect::<Vec<_>>());
                    let args = take_all(&args, rows.clone())?;
                    call.accumulator.running(&chosen, &args, retract.as_deref())?
                }
            };
            let mut current = (0..touched.len() as u32).collect::<Vec<_>>();
            let mut before = Vec::with_capacity(groups.len());
            let mut after = Vec::with_capacity(groups.len());
            let mut selected = rows.as_deref().map(|rows| rows.iter().copied().peekable());
            let mut next = touched.len() as u32;
            for (row, group) in (0u32..).zip(groups) {
                let current = &mut current[position[*group as usize] as usize];
                before.push(*current);
                if selected.as_mut().is_none_or(|selected| selected.next_if_eq(&row).is_some()) {
                    *current = next;
                    next += 1;
                }
                after.push(*current);
            }
            let values = concat(&[&initial, &running])?;
            changes.push(Changes { values, before, after, counts_every_row: call.counts_every_row });
        }
        Ok(changes)
    }

    /// Makes room for groups below `capacity`.
    pub(crate) fn grow(&mut self, capacity: usize) {
        self.calls.iter_mut().for_each(|call| call.accumulator.grow(capacity));
    }

    /// Empties a group.
    pub(crate) fn reset(&mut self, group: u32) {
        self.calls.iter_mut().for_each(|call| call.accumulator.reset(group));
    }

    /// The results of some groups, a column per call.
    pub(crate) fn evaluate(&self, groups: &[u32]) -> OperatorResult<Vec<ArrayRef>> {
        self.calls.iter().map(|call| call.accumulator.evaluate(groups)).collect()
    }

    /// The state of some groups.
    pub(crate) fn state(&self, groups: &[u32]) -> OperatorResult<Vec<ArrayRef>> {
        let mut columns = Vec::new();
        for call in &self.calls {
            columns.extend(call.accumulator.state(groups)?);
        }
        Ok(columns)
    }

    /// Adds rows of state to groups below `capacity`.
    pub(crate) fn merge(
        &mut self,
        capacity: usize,
        groups: &[u32],
        state: &[ArrayRef],
    ) -> OperatorResult<()> {
        let mut at = 0;
        for call in &mut self.calls {
            let columns = state.get(at..at + call.state_columns);
            let columns =
                columns.ok_or_else(|| OperatorError::fatal("a row of state has too few columns"))?;
            at += call.state_columns;
            call.accumulator.grow(capacity);
            call.accumulator.merge(groups, columns)?;
        }
        Ok(())
    }

    /// Columns of the state.
    pub(crate) fn state_fields(&self) -> Vec<ArrowField> {
        let types = self.calls.iter().flat_map(|call| call.accumulator.state_types());
        types.enumerate().map(|(i, t)| ArrowField::new(format!("$state{i}"), t, true)).collect()
    }
}

impl Call {
    fn arguments(&self, batch: &RecordBatch) -> Vec<ArrayRef> {
        self.args.iter().map(|arg| batch.column(*arg).clone()).collect()
    }

    /// The rows that pass FILTER; `None`: all.
    fn selected(&self, batch: &RecordBatch) -> Option<Vec<u32>> {
        let filter = batch.column(self.filter?).as_boolean();
        let chosen = filter.iter().enumerate().filter(|(_, keep)| *keep == Some(true));
        Some(chosen.map(|(row, _)| row as u32).collect())
    }
}

fn take_all(columns: &[ArrayRef], rows: Vec<u32>) -> OperatorResult<Vec<ArrayRef>> {
    let rows = UInt32Array::from(rows);
    columns.iter().map(|column| Ok(take(column, &rows, None)?)).collect()
}

/// Describes calls: state written under another description is refused.
pub(crate) fn fingerprint(calls: &[AggregateCall]) -> String {
    let mut text = String::new();
    for call in calls {
        let types = call.arg_types.iter().map(|t| t.kind.to_string()).collect::<Vec<_>>().join(",");
        let distinct = if call.distinct { "DISTINCT " } else { "" };
        let filter = if call.filter.is_some() { " FILTER" } else { "" };
        let _ = write!(text, " {:?}({distinct}{types}){filter}", call.function);
    }
    text
}

fn accumulator(call: &AggregateCall, retract: bool) -> OperatorResult<Box<dyn Accumulator>> {
    let args = call.arg_types.iter().map(|t| t.to_arrow()).collect::<Vec<_>>();
    let argument =
        || args.first().ok_or_else(|| OperatorError::fatal(format!("{:?} needs an argument", call.function)));
    let result = call.data_type.to_arrow();
    let inner: Box<dyn Accumulator> = match call.function {
        AggregateFunction::Count => Box::new(sum::Count::default()),
        AggregateFunction::Sum => sum::sum(argument()?, result, false)?,
        AggregateFunction::Sum0 => sum::sum(argument()?, result, true)?,
        AggregateFunction::Avg => sum::avg(argument()?, result)?,
        AggregateFunction::Min if retract => {
            Box::new(counted::Counted::new(argument()?, counted::Give::Min)?)
        }
        AggregateFunction::Max if retract => {
            Box::new(counted::Counted::new(argument()?, counted::Give::Max)?)
        }
        AggregateFunction::Collect => {
            Box::new(counted::Counted::new(argument()?, counted::Give::All(result))?)
        }
        AggregateFunction::Min => extreme::extreme(argument()?, false)?,
        AggregateFunction::Max => extreme::extreme(argument()?, true)?,
        AggregateFunction::FirstValue if retract => {
            Box::new(ordered::Ordered::new(argument()?, ordered::Pick::First)?)
        }
        AggregateFunction::LastValue if retract => {
            Box::new(ordered::Ordered::new(argument()?, ordered::Pick::Last)?)
        }
        AggregateFunction::FirstValue => Box::new(ordered::Kept::new(argument()?, ordered::Pick::First)?),
        AggregateFunction::LastValue => Box::new(ordered::Kept::new(argument()?, ordered::Pick::Last)?),
        AggregateFunction::SingleValue => Box::new(ordered::Ordered::new(argument()?, ordered::Pick::Only)?),
        AggregateFunction::ListAgg => Box::new(ordered::Ordered::new(argument()?, ordered::Pick::Joined)?),
        AggregateFunction::StddevPop
        | AggregateFunction::StddevSamp
        | AggregateFunction::VarPop
        | AggregateFunction::VarSamp => Box::new(variance::Variance::new(call.function, result)),
    };
    if call.distinct { Ok(Box::new(distinct::Distinct::new(&args, inner)?)) } else { Ok(inner) }
}
