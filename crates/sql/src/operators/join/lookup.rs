//! Lookup join: each row of the input with the rows of a table as it is when the row comes.
//!
//! Invariants: no row comes in before the whole table was read once, and each meets all changes of the table that had arrived
//! before it. There is no state: after a restore the table is read again. It is to be the first operator of its task, which is what
//! is asked whether it wants input.

use arrow::array::{AsArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::Int8Type;
use streamkeeper_connectors::lookup::LookupTable;
use streamkeeper_dataflow::OperatorResult;
use streamkeeper_dataflow::operator::{Operator, OperatorContext, Output};
use streamkeeper_dataflow::time::{MIN_WATERMARK, Timestamp};

use super::held::Held;
use super::output::{Candidates, Joined, OUTPUT_ROWS, any_null, key_types, no_keys, take_rows};
use super::row_store::NO_ROW;
use crate::operators::calc::{Calc, missing_row_kind};
use crate::operators::keys::{GroupTable, NO_GROUP, key_columns};
use crate::operators::spec::{JoinKind, LookupJoinSpec};

/// Looks rows up.
pub struct LookupJoin {
    spec: LookupJoinSpec,
    joined: Joined,
    keys: GroupTable,
    rows: Held,
    calcs: Vec<Calc>,
    table: Option<Box<dyn LookupTable>>,
    complete: bool,
    /// Keys that may have lost their last row.
    unused: Vec<u32>,
}

impl LookupJoin {
    /// A join with a table that is looked up in.
    pub fn new(spec: LookupJoinSpec) -> Self {
        let join = &spec.join;
        Self {
            joined: Joined::new(join, false),
            keys: no_keys(),
            rows: Held::new("lookup", &join.right, &join.right_keys, false, true, false),
            calcs: spec.calcs.iter().cloned().map(Calc::new).collect(),
            table: None,
            complete: false,
            unused: Vec::new(),
            spec,
        }
    }

    /// Takes in what has changed.
    fn refresh(&mut self) -> OperatorResult<()> {
        let Some(mut table) = self.table.take() else { return Ok(()) };
        while let Some(mut batch) = table.changes()? {
            let mut changed = Vec::new();
            for calc in &mut self.calcs {
                calc.on_batch(0, batch, &mut changed)?;
                match changed.pop() {
                    Some(result) => batch = result,
                    None => batch = RecordBatch::new_empty(calc.schema()),
                }
            }
            if batch.num_rows() > 0 {
                self.change(&batch)?;
            }
        }
        self.complete = table.is_complete();
        self.table = Some(table);
        Ok(())
    }

    /// First what is new, then what is gone: of equal rows it does not matter which one goes.
    fn change(&mut self, batch: &RecordBatch) -> OperatorResult<()> {
        let last = batch.num_columns().saturating_sub(1);
        let kinds = batch.columns().get(last).and_then(|c| c.as_primitive_opt::<Int8Type>());
        let kinds = kinds.ok_or_else(|| missing_row_kind("a lookup join"))?;
        let rows = batch.project(&(0..last).collect::<Vec<_>>())?;
        for is_gone in [false, true] {
            let chosen = (0u32..).zip(kinds.values()).filter(|(_, kind)| (**kind % 2 == 1) == is_gone);
            let chosen = UInt32Array::from_iter_values(chosen.map(|(row, _)| row));
            if chosen.is_empty() {
                continue;
            }
            let rows = take_record_batch(&rows, &chosen)?;
            let columns = key_columns(&rows, &self.spec.join.right_keys)?;
            let mut keys = Vec::new();
            self.keys.intern(&columns, rows.num_rows(), &mut keys)?;
            self.rows.reserve_keys(self.keys.capacity());
            let content = self.rows.content(&rows)?;
            if is_gone {
                for (key, content) in keys.into_iter().zip(content) {
                    self.rows.retract(key, content);
                    if !self.rows.has_rows(key) {
                        self.unused.push(key);
                    }
                }
            } else {
                let slots = self.rows.add(rows)?;
                for ((slot, key), content) in slots.into_iter().zip(keys).zip(content) {
                    self.rows.link(slot, key, Some(content), 0);
                }
            }
        }
        self.unused.sort_unstable();
        self.unused.dedup();
        for key in std::mem::take(&mut self.unused) {
            if !self.rows.has_rows(key) {
                self.keys.remove(key);
            }
        }
        Ok(())
    }

    fn emit(
        &self,
        batch: &RecordBatch,
        pairs: Candidates,
        out: &mut dyn Output<RecordBatch>,
    ) -> OperatorResult<()> {
        let left = |rows: &[u32]| take_rows(batch.columns(), rows);
        let right = |slots: &[u32]| self.rows.rows.gather(slots);
        let outer = self.spec.join.kind == JoinKind::Left;
        let pairs = pairs.settle(&self.joined, outer, &left, &right)?;
        if pairs.len() == 0 {
            return Ok(());
        }
        out.emit(self.joined.batch(left(&pairs.left)?, right(&pairs.right)?, pairs.len(), None)?)
    }
}

impl Operator<RecordBatch, RecordBatch> for LookupJoin {
    fn open(&mut self, context: &OperatorContext) -> OperatorResult<()> {
        let join = &self.spec.join;
        self.keys = GroupTable::new(&key_types(&join.right, &join.right_keys))?;
        self.rows.open()?;
        self.table = Some(self.spec.table.follow(context)?);
        self.refresh()
    }

    fn on_batch(
        &mut self,
        _input: usize,
        batch: RecordBatch,
        out: &mut dyn Output<RecordBatch>,
    ) -> OperatorResult<()> {
        self.refresh()?;
        let columns = key_columns(&batch, &self.spec.join.left_keys)?;
        let mut keys = Vec::new();
        self.keys.lookup(&columns, batch.num_rows(), &mut keys)?;
        let nulls = any_null(&columns, batch.num_rows());
        let mut pairs = Candidates::default();
        for (row, key) in (0u32..).zip(keys) {
            let is_null = nulls.as_ref().is_some_and(|nulls| nulls[row as usize]);
            let before = pairs.len();
            if key != NO_GROUP && !is_null {
                self.rows.of_key(key).for_each(|slot| pairs.push(row, slot));
            }
            if pairs.len() == before {
                pairs.push(row, NO_ROW);
            }
            if pairs.len() >= OUTPUT_ROWS {
                self.emit(&batch, std::mem::take(&mut pairs), out)?;
            }
        }
        self.emit(&batch, pairs, out)
    }

    fn wants_input(&self) -> bool {
        self.complete
    }

    fn next_processing_time(&self) -> Option<Timestamp> {
        self.table.as_ref().filter(|table| table.has_changes()).map(|_| MIN_WATERMARK)
    }

    fn on_processing_time(
        &mut self,
        _now_ms: Timestamp,
        _out: &mut dyn Output<RecordBatch>,
    ) -> OperatorResult<()> {
        self.refresh()
    }
}
