//! DISTINCT: lets a value reach the aggregate when it comes to its group for the first time, and takes it back when
//! its last occurrence is taken back.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType as ArrowType, Int64Type};
use streamkeeper_dataflow::{OperatorError, OperatorResult};

use super::rows::{list, list_type, unlist};
use super::{Accumulator, take_all};
use crate::operators::keys::GroupTable;

pub(super) struct Distinct {
    args: Vec<ArrowType>,
    /// Pairs of a group and the values of the arguments.
    pairs: GroupTable,
    /// Occurrences per pair.
    counts: Vec<i64>,
    inner: Box<dyn Accumulator>,
    groups: usize,
}

impl Distinct {
    pub(super) fn new(args: &[ArrowType], inner: Box<dyn Accumulator>) -> OperatorResult<Self> {
        let mut types = vec![ArrowType::Int64];
        types.extend_from_slice(args);
        Ok(Self {
            args: args.to_vec(),
            pairs: GroupTable::new(&types)?,
            counts: Vec::new(),
            inner,
            groups: 0,
        })
    }

    fn add(&mut self, groups: &[u32], args: &[ArrayRef], count: impl Fn(usize) -> i64) -> OperatorResult<()> {
        let mut keys: Vec<ArrayRef> =
            vec![Arc::new(groups.iter().map(|g| i64::from(*g)).collect::<Int64Array>())];
        keys.extend_from_slice(args);
        let mut ids = Vec::new();
        self.pairs.intern(&keys, groups.len(), &mut ids)?;
        self.counts.resize(self.pairs.capacity(), 0);
        let (mut came, mut went) = (Vec::new(), Vec::new());
        for (row, id) in ids.iter().enumerate() {
            let total = &mut self.counts[*id as usize];
            let before = *total;
            *total += count(row);
            if before <= 0 && *total > 0 {
                came.push(row as u32);
            } else if before > 0 && *total <= 0 {
                went.push(row as u32);
            }
        }
        for (rows, retract) in [(came, false), (went, true)] {
            if rows.is_empty() {
                continue;
            }
            let owners = rows.iter().map(|row| groups[*row as usize]).collect::<Vec<_>>();
            let args = take_all(args, rows)?;
            if retract {
                self.inner.retract(&owners, &args)?;
            } else {
                self.inner.update(&owners, &args)?;
            }
        }
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            if self.counts[id as usize] == 0 {
                self.pairs.remove(id);
            }
        }
        Ok(())
    }

    /// Pairs by group, in the order in which they first came.
    fn by_group(&self) -> OperatorResult<Vec<Vec<u32>>> {
        let ids = self.pairs.ids();
        let owners = self.pairs.key_columns(&ids)?;
        let mut by_group = vec![Vec::new(); self.groups];
        for (id, owner) in ids.iter().zip(owners[0].as_primitive::<Int64Type>().values()) {
            by_group[*owner as usize].push(*id);
        }
        Ok(by_group)
    }
}

impl Accumulator for Distinct {
    fn grow(&mut self, groups: usize) {
        self.groups = self.groups.max(groups);
        self.inner.grow(groups);
    }

    fn update(&mut self, groups: &[u32], args: &[ArrayRef]) -> OperatorResult<()> {
        self.add(groups, args, |_| 1)
    }

    fn retract(&mut self, groups: &[u32], args: &[ArrayRef]) -> OperatorResult<()> {
        self.add(groups, args, |_| -1)
    }

    fn reset(&mut self, group: u32) {
        self.inner.reset(group);
        if let Ok(by_group) = self.by_group() {
            for id in &by_group[group as usize] {
                self.counts[*id as usize] = 0;
                self.pairs.remove(*id);
            }
        }
    }

    fn evaluate(&self, groups: &[u32]) -> OperatorResult<ArrayRef> {
        self.inner.evaluate(groups)
    }

    fn state_types(&self) -> Vec<ArrowType> {
        let mut types = self.args.iter().map(list_type).collect::<Vec<_>>();
        types.push(list_type(&ArrowType::Int64));
        types
    }

    fn state(&self, groups: &[u32]) -> OperatorResult<Vec<ArrayRef>> {
        let by_group = self.by_group()?;
        let ids =
            groups.iter().flat_map(|group| by_group[*group as usize].iter().copied()).collect::<Vec<_>>();
        let lengths = || groups.iter().map(|group| by_group[*group as usize].len());
        let mut columns = Vec::new();
        for values in self.pairs.key_columns(&ids)?.into_iter().skip(1) {
            columns.push(list(values, lengths())?);
        }
        let counts = Int64Array::from_iter_values(ids.iter().map(|id| self.counts[*id as usize]));
        columns.push(list(Arc::new(counts), lengths())?);
        Ok(columns)
    }

    fn merge(&mut self, groups: &[u32], state: &[ArrayRef]) -> OperatorResult<()> {
        let Some((counts, args)) = state.split_last() else {
            return Err(OperatorError::fatal("a state of distinct values has no columns"));
        };
        let (counts, owners) = unlist(counts, groups)?;
        let counts = counts.as_primitive::<Int64Type>().values().clone();
        let args = args.iter().map(|arg| Ok(unlist(arg, groups)?.0)).collect::<OperatorResult<Vec<_>>>()?;
        self.add(&owners, &args, |row| counts[row])
    }
}
