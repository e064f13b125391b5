//! What joins emit: the columns of both sides next to each other, in batches of bounded size.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int8Array, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType as ArrowType, Schema, SchemaRef};
use streamkeeper_connectors::schema::{Field, to_arrow_schema};
use streamkeeper_dataflow::OperatorResult;

use super::row_store::NO_ROW;
use crate::expr::ExprRef;
use crate::operators::calc::{Selection, changelog_schema, select};
use crate::operators::keys::GroupTable;
use crate::operators::spec::JoinSpec;

/// Rows of one emitted batch, at most.
pub(crate) const OUTPUT_ROWS: usize = 8192;

/// Puts output batches together.
#[derive(Debug)]
pub(crate) struct Joined {
    schema: SchemaRef,
    pairs: SchemaRef,
    condition: Option<ExprRef>,
}

impl Joined {
    /// For the output of `spec`, with row kinds if asked.
    pub(crate) fn new(spec: &JoinSpec, changelog: bool) -> Self {
        let mut fields = to_arrow_schema(&spec.left).fields().to_vec();
        fields.extend(to_arrow_schema(&spec.right).fields().iter().cloned());
        Self {
            schema: changelog_schema(&spec.output, changelog),
            pairs: Arc::new(Schema::new(fields)),
            condition: spec.condition.clone(),
        }
    }

    pub(crate) fn has_condition(&self) -> bool {
        self.condition.is_some()
    }

    /// Which of `rows` pairs the condition accepts.
    pub(crate) fn accepted(
        &self,
        left: Vec<ArrayRef>,
        right: Vec<ArrayRef>,
        rows: usize,
    ) -> OperatorResult<BooleanArray> {
        let Some(condition) = &self.condition else {
            return Ok(BooleanArray::from(vec![true; rows]));
        };
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let columns = left.into_iter().chain(right).collect();
        let pairs = RecordBatch::try_new_with_options(Arc::clone(&self.pairs), columns, &options)?;
        Ok(match select(condition, &pairs)? {
            Selection::All => BooleanArray::from(vec![true; rows]),
            Selection::None => BooleanArray::from(vec![false; rows]),
            Selection::Some(mask) => mask,
        })
    }

    /// An output batch. `right` is empty for semi and anti joins.
    pub(crate) fn batch(
        &self,
        left: Vec<ArrayRef>,
        right: Vec<ArrayRef>,
        rows: usize,
        kinds: Option<&[i8]>,
    ) -> OperatorResult<RecordBatch> {
        let mut columns = left;
        columns.extend(right);
        if let Some(kinds) = kinds {
            columns.push(Arc::new(Int8Array::from(kinds.to_vec())));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

/// Pairs of a left and a right row, those of one left row next to each other; [`NO_ROW`] on the right: it has no candidate.
#[derive(Default)]
pub(crate) struct Candidates {
    pub(crate) left: Vec<u32>,
    pub(crate) right: Vec<u32>,
}

impl Candidates {
    pub(crate) fn push(&mut self, left: u32, right: u32) {
        self.left.push(left);
        self.right.push(right);
    }

    pub(crate) fn len(&self) -> usize {
        self.left.len()
    }

    /// Keeps the pairs that the condition of `joined` accepts; a left row without any keeps one with [`NO_ROW`] if `outer`.
    /// `left` and `right` give the columns of rows.
    pub(crate) fn settle(
        self,
        joined: &Joined,
        outer: bool,
        left: &dyn Fn(&[u32]) -> OperatorResult<Vec<ArrayRef>>,
        right: &dyn Fn(&[u32]) -> OperatorResult<Vec<ArrayRef>>,
    ) -> OperatorResult<Self> {
        let accepted = if joined.has_condition() {
            let real = (0..self.len()).filter(|pair| self.right[*pair] != NO_ROW);
            let (lefts, rights): (Vec<u32>, Vec<u32>) =
                real.map(|pair| (self.left[pair], self.right[pair])).unzip();
            let mask = match lefts.len() {
                0 => BooleanArray::from(Vec::<bool>::new()),
                rows => joined.accepted(left(&lefts)?, right(&rights)?, rows)?,
            };
            Some(mask)
        } else {
            None
        };
        let mut answers = accepted.iter().flatten().map(|answer| answer == Some(true));
        let mut kept = Self::default();
        let mut pairs = self.left.iter().zip(&self.right).peekable();
        let mut found = false;
        while let Some((row, candidate)) = pairs.next() {
            let matches = *candidate != NO_ROW && (accepted.is_none() || answers.next().unwrap_or_default());
            if matches {
                kept.push(*row, *candidate);
            }
            found |= matches;
            if pairs.peek().is_none_or(|(next, _)| *next != row) {
                if outer && !found {
                    kept.push(*row, NO_ROW);
                }
                found = false;
            }
        }
        Ok(kept)
    }
}

/// Rows of `columns`; [`NO_ROW`] gives NULLs.
pub(crate) fn take_rows(columns: &[ArrayRef], rows: &[u32]) -> OperatorResult<Vec<ArrayRef>> {
    let in_order = rows.iter().zip(0u32..).all(|(row, index)| *row == index);
    if in_order && columns.first().is_none_or(|c| c.len() == rows.len()) {
        return Ok(columns.to_vec());
    }
    let indices = if rows.contains(&NO_ROW) {
        rows.iter().map(|row| (*row != NO_ROW).then_some(*row)).collect::<UInt32Array>()
    } else {
        UInt32Array::from(rows.to_vec())
    };
    columns.iter().map(|c| Ok(take(c.as_ref(), &indices, None)?)).collect()
}

/// The types of the columns of `fields` at `keys`.
pub(crate) fn key_types(fields: &[Field], keys: &[usize]) -> Vec<ArrowType> {
    keys.iter().map(|key| fields[*key].data_type.to_arrow()).collect()
}

/// What an operator holds until it is opened.
pub(crate) fn no_keys() -> GroupTable {
    GroupTable::new(&[]).expect("a table without key columns needs nothing")
}

/// True for each row with a NULL in one of the columns; `None` when there is no such row.
pub(crate) fn any_null(columns: &[ArrayRef], rows: usize) -> Option<Vec<bool>> {
    let mut any: Option<Vec<bool>> = None;
    for nulls in columns.iter().filter_map(|c| c.logical_nulls()).filter(|n| n.null_count() > 0) {
        let any = any.get_or_insert_with(|| vec![false; rows]);
        for (row, flag) in any.iter_mut().enumerate() {
            *flag |= nulls.is_null(row);
        }
    }
    any
}
