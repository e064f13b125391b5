//! Unbounded `GROUP BY`: every input row changes the result of its group at once.
//!
//! Invariant: per key, the changes are those of Flink without mini-batch, in its order. A batch is processed as a
//! whole: first all results before and after each row are computed, a column at a time, then the rows to emit are
//! picked out of them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int8Array, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::kernels::cmp::not_distinct;
use arrow::compute::{concat_batches, take};
use arrow::datatypes::{DataType as ArrowType, Field as ArrowField, Int8Type, Int64Type, Schema, SchemaRef};
use streamkeeper_connectors::schema::to_arrow_schema;
use streamkeeper_dataflow::element::CheckpointId;
use streamkeeper_dataflow::operator::{Operator, OperatorContext, Output};
use streamkeeper_dataflow::state::SnapshotFn;
use streamkeeper_dataflow::{OperatorError, OperatorResult};

use super::ROW_KIND;
use super::aggregate::{Aggregates, fingerprint};
use super::keyed_rows::{read_rows, write_rows};
use super::keys::{GroupTable, key_columns};
use super::spec::GroupAggregateSpec;

const STATE: &str = "accState";
const INSERT: i8 = 0;
const UPDATE_BEFORE: i8 = 1;
const UPDATE_AFTER: i8 = 2;
const DELETE: i8 = 3;
const NOT_TOUCHED: u32 = u32::MAX;

/// Aggregates by key without windows, and emits the changes of the results.
pub struct GroupAggregate {
    spec: GroupAggregateSpec,
    output: SchemaRef,
    groups: Option<Groups>,
    max_parallelism: u16,
}

struct Groups {
    table: GroupTable,
    aggregates: Aggregates,
    /// Rows in each group, retracted ones taken off.
    rows: Vec<i64>,
    /// Where a group stands among those of the current batch.
    position: Vec<u32>,
    state: SchemaRef,
    fingerprint: String,
}

/// What happens to a group at a row.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    /// The row is the group's first.
    Created,
    Updated,
    /// The row was the group's last.
    Deleted,
    /// A retraction of a group that is not there.
    Ignored,
}

impl GroupAggregate {
    /// The operator of `spec`.
    pub fn new(spec: GroupAggregateSpec) -> Self {
        let mut fields = to_arrow_schema(&spec.output).fields().to_vec();
        if spec.output_changelog {
            fields.push(Arc::new(ArrowField::new(ROW_KIND, ArrowType::Int8, true)));
        }
        Self { output: Arc::new(Schema::new(fields)), spec, groups: None, max_parallelism: 1 }
    }

    fn emit(
        &self,
        mut columns: Vec<ArrayRef>,
        kinds: Vec<i8>,
        out: &mut dyn Output<RecordBatch>,
    ) -> OperatorResult<()> {
        if kinds.is_empty() {
            return Ok(());
        }
        if self.spec.output_changelog {
            columns.push(Arc::new(Int8Array::from(kinds)));
        } else if kinds.iter().any(|kind| *kind != INSERT) {
            return Err(OperatorError::fatal(
                "an aggregation planned as insert-only would have to update a row",
            ));
        }
        out.emit(RecordBatch::try_new(self.output.clone(), columns)?)
    }

    fn process(
        &self,
        groups: &mut Groups,
        batch: &RecordBatch,
        ids: &[u32],
        retract: Option<&[bool]>,
        out: &mut dyn Output<RecordBatch>,
    ) -> OperatorResult<()> {
        let keys = key_columns(batch, &self.spec.keys)?;
        let changes = groups.count(ids, retract);
        if self.spec.aggregates.is_empty() {
            let picked = |(row, change): (usize, &Change)| match change {
                Change::Created => Some((row as u32, INSERT)),
                Change::Deleted => Some((row as u32, DELETE)),
                Change::Updated | Change::Ignored => None,
            };
            let (rows, kinds): (Vec<u32>, Vec<i8>) = changes.iter().enumerate().filter_map(picked).unzip();
            return self.emit(take_all(&keys, rows)?, kinds, out);
        }
        if changes.contains(&Change::Ignored) {
            let known = (0u32..).zip(&changes).filter(|(_, change)| **change != Change::Ignored);
            let known = known.map(|(row, _)| row).collect::<Vec<_>>();
            let pick = |row: &u32| *row as usize;
            let ids = known.iter().map(|row| ids[pick(row)]).collect::<Vec<_>>();
            let retract =
                retract.map(|retract| known.iter().map(|row| retract[pick(row)]).collect::<Vec<_>>());
            let changes = known.iter().map(|row| changes[pick(row)]).collect::<Vec<_>>();
            let batch = arrow::compute::take_record_batch(batch, &UInt32Array::from(known))?;
            return self.update(groups, &batch, &ids, retract.as_deref(), &changes, out);
        }
        self.update(groups, batch, ids, retract, &changes, out)
    }

    fn update(
        &self,
        groups: &mut Groups,
        batch: &RecordBatch,
        ids: &[u32],
        retract: Option<&[bool]>,
        changes: &[Change],
        out: &mut dyn Output<RecordBatch>,
    ) -> OperatorResult<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let touched = groups.touch(ids);
        let capacity = groups.table.capacity();
        let results = groups.aggregates.changes(capacity, ids, batch, retract, &touched, &groups.position)?;
        touched.iter().for_each(|id| groups.position[*id as usize] = NOT_TOUCHED);
        let same = unchanged(&results, ids.len())?;
        // Rows of the batch, for the keys, and for each result a place among its values.
        let most = 2 * ids.len();
        let (mut rows, mut kinds) = (Vec::with_capacity(most), Vec::with_capacity(most));
        for (row, change) in changes.iter().enumerate() {
            match change {
                Change::Created => {
                    rows.push(row as u32);
                    kinds.push(INSERT);
                }
                Change::Updated if same.as_ref().is_some_and(|same| same[row]) => {}
                Change::Updated => {
                    if self.spec.emit_update_before {
                        rows.push(row as u32);
                        kinds.push(UPDATE_BEFORE);
                    }
                    rows.push(row as u32);
                    kinds.push(UPDATE_AFTER);
                }
                Change::Deleted => {
                    rows.push(row as u32);
                    kinds.push(DELETE);
                }
                Change::Ignored => {}
            }
        }
        let mut columns = key_columns(batch, &self.spec.keys)?;
        let places = results.iter().map(|result| {
            let place = |(row, kind): (&u32, &i8)| {
                let before = matches!(*kind, UPDATE_BEFORE | DELETE);
                if before { result.before[*row as usize] } else { result.after[*row as usize] }
            };
            let places = rows.iter().zip(&kinds).map(place).collect::<Vec<_>>();
            Ok(take(&result.values, &UInt32Array::from(places), None)?)
        });
        let values = places.collect::<OperatorResult<Vec<_>>>()?;
        columns = take_all(&columns, rows)?;
        columns.extend(values);
        self.emit(columns, kinds, out)
    }
}

/// Whether each row leaves all results as they were; `None` when no row does.
fn unchanged(results: &[super::aggregate::Changes], rows: usize) -> OperatorResult<Option<Vec<bool>>> {
    let mut same = vec![true; rows];
    for result in results {
        if result.counts_every_row {
            return Ok(None);
        }
        let before = take(&result.values, &UInt32Array::from(result.before.clone()), None)?;
        let after = take(&result.values, &UInt32Array::from(result.after.clone()), None)?;
        if before.data_type().is_nested() {
            for (row, same) in same.iter_mut().enumerate() {
                *same &= before.slice(row, 1) == after.slice(row, 1);
            }
            continue;
        }
        let equal = not_distinct(&before, &after)?;
        for (same, equal) in same.iter_mut().zip(equal.values()) {
            *same &= equal;
        }
    }
    Ok(Some(same))
}

fn take_all(columns: &[ArrayRef], rows: Vec<u32>) -> OperatorResult<Vec<ArrayRef>> {
    let rows = UInt32Array::from(rows);
    columns.iter().map(|column| Ok(take(column, &rows, None)?)).collect()
}

impl Groups {
    fn new(spec: &GroupAggregateSpec) -> OperatorResult<Self> {
        let types = spec.keys.iter().map(|key| spec.input[*key].data_type.to_arrow()).collect::<Vec<_>>();
        let aggregates = Aggregates::new(&spec.aggregates, spec.input_changelog)?;
        let keys = (0..).map(|i| format!("$key{i}")).zip(&types);
        let mut state = keys.map(|(name, t)| ArrowField::new(name, t.clone(), true)).collect::<Vec<_>>();
        state.push(ArrowField::new("$rows", ArrowType::Int64, true));
        state.extend(aggregates.state_fields());
        let changelog = if spec.input_changelog { " of a changelog" } else { "" };
        Ok(Self {
            table: GroupTable::new(&types)?,
            aggregates,
            rows: Vec::new(),
            position: Vec::new(),
            state: Arc::new(Schema::new(state)),
            fingerprint: format!("groups{changelog} by {types:?}:{}", fingerprint(&spec.aggregates)),
        })
    }

    fn restore(&mut self, rows: &RecordBatch) -> OperatorResult<()> {
        let keys = self.state.fields().iter().position(|field| field.name() == "$rows").unwrap_or(0);
        let mut ids = Vec::new();
        self.table.intern(&rows.columns()[..keys], rows.num_rows(), &mut ids)?;
        self.rows.resize(self.table.capacity(), 0);
        for (id, count) in ids.iter().zip(rows.column(keys).as_primitive::<Int64Type>().values()) {
            self.rows[*id as usize] = *count;
        }
        self.aggregates.merge(self.table.capacity(), &ids, &rows.columns()[keys + 1..])
    }

    /// Counts the rows of each group, and tells what happens at each.
    fn count(&mut self, ids: &[u32], retract: Option<&[bool]>) -> Vec<Change> {
        self.rows.resize(self.table.capacity(), 0);
        let mut changes = Vec::with_capacity(ids.len());
        for (row, id) in ids.iter().enumerate() {
            let count = &mut self.rows[*id as usize];
            changes.push(match (retract.is_some_and(|retract| retract[row]), *count) {
                (false, 0) => Change::Created,
                (false, _) => Change::Updated,
                (true, 0) => Change::Ignored,
                (true, 1) => Change::Deleted,
                (true, _) => Change::Updated,
            });
            match changes[row] {
                Change::Ignored => {}
                _ if retract.is_some_and(|retract| retract[row]) => *count -= 1,
                _ => *count += 1,
            }
        }
        changes
    }

    /// The groups of a batch, each once; `position` tells where.
    fn touch(&mut self, ids: &[u32]) -> Vec<u32> {
        self.position.resize(self.table.capacity(), NOT_TOUCHED);
        let mut touched = Vec::new();
        for id in ids {
            let position = &mut self.position[*id as usize];
            if *position == NOT_TOUCHED {
                *position = touched.len() as u32;
                touched.push(*id);
            }
        }
        touched
    }

    /// How many of the next rows can be processed together: up to the row before one that brings back a group that
    /// was deleted, whose accumulators have to be emptied in between.
    fn together(&mut self, ids: &[u32], retract: &[bool]) -> usize {
        self.rows.resize(self.table.capacity(), 0);
        let mut counts: hashbrown::HashMap<u32, (i64, bool), foldhash::fast::RandomState> =
            hashbrown::HashMap::default();
        for (row, (id, retract)) in ids.iter().zip(retract).enumerate() {
            let (count, deleted) = counts.entry(*id).or_insert((self.rows[*id as usize], false));
            if *deleted {
                return row;
            }
            if *retract {
                *deleted = *count == 1;
                *count = (*count - 1).max(0);
            } else {
                *count += 1;
            }
        }
        ids.len()
    }

    /// Forgets the groups without rows.
    fn forget(&mut self, ids: &[u32]) {
        let mut gone = ids.iter().copied().filter(|id| self.rows[*id as usize] == 0).collect::<Vec<_>>();
        gone.sort_unstable();
        gone.dedup();
        for id in gone {
            self.aggregates.reset(id);
            self.table.remove(id);
        }
    }
}

impl Operator<RecordBatch, RecordBatch> for GroupAggregate {
    fn open(&mut self, context: &OperatorContext) -> OperatorResult<()> {
        let mut groups = Groups::new(&self.spec)?;
        for rows in read_rows(&context.restored, STATE, &groups.fingerprint, &groups.state)? {
            groups.restore(&rows)?;
        }
        self.max_parallelism = context.max_parallelism;
        self.groups = Some(groups);
        Ok(())
    }

    fn on_batch(
        &mut self,
        _input: usize,
        batch: RecordBatch,
        out: &mut dyn Output<RecordBatch>,
    ) -> OperatorResult<()> {
        let mut groups =
            self.groups.take().ok_or_else(|| OperatorError::fatal("the operator was not opened"))?;
        let mut ids = Vec::new();
        if !self.spec.input_changelog {
            groups.table.intern(&key_columns(&batch, &self.spec.keys)?, batch.num_rows(), &mut ids)?;
            self.process(&mut groups, &batch, &ids, None, out)?;
            self.groups = Some(groups);
            return Ok(());
        }
        let kinds = batch
            .column_by_name(ROW_KIND)
            .and_then(|kinds| kinds.as_primitive_opt::<Int8Type>())
            .ok_or_else(|| OperatorError::fatal("a changelog came without its row kinds"))?;
        let retract =
            kinds.values().iter().map(|kind| matches!(*kind, UPDATE_BEFORE | DELETE)).collect::<Vec<_>>();
        let mut rest = batch.clone();
        let mut done = 0;
        while done < batch.num_rows() {
            let keys = key_columns(&rest, &self.spec.keys)?;
            groups.table.intern(&keys, rest.num_rows(), &mut ids)?;
            groups.aggregates.grow(groups.table.capacity());
            let count = groups.together(&ids, &retract[done..]);
            let retract = &retract[done..done + count];
            self.process(&mut groups, &rest.slice(0, count), &ids[..count], Some(retract), out)?;
            groups.forget(&ids);
            done += count;
            rest = rest.slice(count, rest.num_rows() - count);
        }
        self.groups = Some(groups);
        Ok(())
    }

    fn snapshot(&mut self, _checkpoint: CheckpointId) -> OperatorResult<Option<SnapshotFn>> {
        let groups =
            self.groups.as_ref().ok_or_else(|| OperatorError::fatal("the operator was not opened"))?;
        let ids = groups.table.ids();
        let mut columns = groups.table.key_columns(&ids)?;
        let keys = (0..columns.len()).collect::<Vec<_>>();
        let rows = ids.iter().map(|id| groups.rows[*id as usize]);
        columns.push(Arc::new(Int64Array::from_iter_values(rows)));
        columns.extend(groups.aggregates.state(&ids)?);
        let rows = RecordBatch::try_new(groups.state.clone(), columns)?;
        let (fingerprint, max_parallelism) = (groups.fingerprint.clone(), self.max_parallelism);
        Ok(Some(Box::new(move |writer| {
            let rows = concat_batches(&rows.schema(), [&rows])?;
            write_rows(writer, STATE, &fingerprint, rows, &keys, max_parallelism)
        })))
    }
}
