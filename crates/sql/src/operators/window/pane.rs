//! The groups of one slice or window, dropped as a whole.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType as ArrowType, Field as ArrowField, Schema, SchemaRef};
use streamkeeper_connectors::schema::{Field, TypeKind, to_arrow_schema};
use streamkeeper_dataflow::OperatorResult;

use super::assign::LocalClock;
use crate::operators::aggregate::{Aggregates, fingerprint};
use crate::operators::keys::{GroupTable, key_columns, narrow};
use crate::operators::spec::{AggregateCall, WindowAggregateSpec, WindowProperty};

/// Rows of a batch that is emitted.
pub(crate) const OUTPUT_ROWS: usize = 8192;

/// What all panes of an operator have in common. Indices refer to the columns that the operator keeps.
pub(crate) struct PaneKind {
    /// The columns of the input that are needed at all.
    pub(crate) needed: Vec<usize>,
    /// The key columns.
    pub(crate) keys: Vec<usize>,
    key_types: Vec<ArrowType>,
    calls: Vec<AggregateCall>,
    output: SchemaRef,
    output_fields: Vec<Field>,
    properties: Vec<WindowProperty>,
    /// Columns of the state: three numbers that name the pane, the keys, the accumulators.
    pub(crate) state: SchemaRef,
    /// Describes the state.
    pub(crate) fingerprint: String,
}

impl PaneKind {
    /// `time` are the columns that tell the window.
    pub(crate) fn new(spec: &WindowAggregateSpec, time: &[usize]) -> OperatorResult<Self> {
        let mut needed = time.to_vec();
        let mut place = |column: usize| {
            needed.iter().position(|known| *known == column).unwrap_or_else(|| {
                needed.push(column);
                needed.len() - 1
            })
        };
        let keys = spec.keys.iter().map(|key| place(*key)).collect::<Vec<_>>();
        let calls = spec.aggregates.iter().map(|call| AggregateCall {
            args: call.args.iter().map(|arg| place(*arg)).collect(),
            filter: call.filter.map(&mut place),
            ..call.clone()
        });
        let calls = calls.collect::<Vec<_>>();
        let key_types = spec.keys.iter().map(|key| spec.input[*key].data_type.to_arrow()).collect::<Vec<_>>();
        let mut state = ["$kind", "$a", "$b"].map(|n| ArrowField::new(n, ArrowType::Int64, true)).to_vec();
        let names = (0..).map(|i| format!("$key{i}"));
        state.extend(names.zip(&key_types).map(|(name, t)| ArrowField::new(name, t.clone(), true)));
        state.extend(Aggregates::new(&calls, false)?.state_fields());
        let fingerprint = format!("{:?} by {key_types:?}:{}", spec.window, fingerprint(&calls));
        Ok(Self {
            needed,
            keys,
            key_types,
            calls,
            output: to_arrow_schema(&spec.output),
            output_fields: spec.output.clone(),
            properties: spec.properties.clone(),
            state: Arc::new(Schema::new(state)),
            fingerprint,
        })
    }

    /// An empty pane.
    pub(crate) fn pane(&self) -> OperatorResult<Pane> {
        Ok(Pane {
            table: GroupTable::new(&self.key_types)?,
            aggregates: Aggregates::new(&self.calls, false)?,
        })
    }

    /// The accumulators alone.
    pub(crate) fn aggregates(&self) -> OperatorResult<Aggregates> {
        Aggregates::new(&self.calls, false)
    }

    /// A table of the keys alone.
    pub(crate) fn table(&self) -> OperatorResult<GroupTable> {
        GroupTable::new(&self.key_types)
    }

    /// The state columns of a pane that kind, `a` and `b` name.
    pub(crate) fn state_columns(&self) -> std::ops::Range<usize> {
        3 + self.key_types.len()..self.state.fields().len()
    }

    /// The key columns in the state.
    pub(crate) fn state_keys(&self) -> Vec<usize> {
        (3..3 + self.key_types.len()).collect()
    }

    /// Output rows: keys and results, each with its window.
    pub(crate) fn rows(
        &self,
        keys: Vec<ArrayRef>,
        results: Vec<ArrayRef>,
        starts: &[i64],
        ends: &[i64],
        clock: LocalClock,
    ) -> OperatorResult<RecordBatch> {
        let mut columns = keys;
        columns.extend(results);
        for property in &self.properties {
            let field = &self.output_fields[columns.len()];
            columns.push(property_column(*property, starts, ends, clock, field));
        }
        Ok(RecordBatch::try_new(self.output.clone(), columns)?)
    }
}

/// A column of window starts, ends or times.
pub(crate) fn property_column(
    property: WindowProperty,
    starts: &[i64],
    ends: &[i64],
    clock: LocalClock,
    field: &Field,
) -> ArrayRef {
    let instant = matches!(field.data_type.kind, TypeKind::TimestampLtz(_));
    let values = match property {
        WindowProperty::Start => starts.to_vec(),
        WindowProperty::End => ends.to_vec(),
        WindowProperty::Time if instant => ends.iter().map(|end| clock.to_instant(end - 1, false)).collect(),
        WindowProperty::Time => ends.iter().map(|end| end - 1).collect(),
    };
    narrow(values, None, &field.data_type.to_arrow())
}

/// The groups of one slice or window.
pub(crate) struct Pane {
    table: GroupTable,
    aggregates: Aggregates,
}

impl Pane {
    /// Adds rows of the needed columns.
    pub(crate) fn add(
        &mut self,
        kind: &PaneKind,
        batch: &RecordBatch,
        ids: &mut Vec<u32>,
    ) -> OperatorResult<()> {
        self.table.intern(&key_columns(batch, &kind.keys)?, batch.num_rows(), ids)?;
        self.aggregates.update(self.table.capacity(), ids, batch)
    }

    /// Adds the groups of another pane.
    pub(crate) fn merge(&mut self, other: &Self) -> OperatorResult<()> {
        let theirs = other.table.ids();
        self.merge_rows(&other.table.key_columns(&theirs)?, &other.aggregates.state(&theirs)?, theirs.len())
    }

    /// Adds groups by keys and state.
    pub(crate) fn merge_rows(
        &mut self,
        keys: &[ArrayRef],
        state: &[ArrayRef],
        rows: usize,
    ) -> OperatorResult<()> {
        let mut ids = Vec::new();
        self.table.intern(keys, rows, &mut ids)?;
        self.aggregates.merge(self.table.capacity(), &ids, state)
    }

    /// The output rows of the window `[start, end)`.
    pub(crate) fn results(
        &self,
        kind: &PaneKind,
        (start, end): (i64, i64),
        clock: LocalClock,
        mut emit: impl FnMut(RecordBatch) -> OperatorResult<()>,
    ) -> OperatorResult<()> {
        for ids in self.table.ids().chunks(OUTPUT_ROWS) {
            let (starts, ends) = (vec![start; ids.len()], vec![end; ids.len()]);
            let keys = self.table.key_columns(ids)?;
            emit(kind.rows(keys, self.aggregates.evaluate(ids)?, &starts, &ends, clock)?)?;
        }
        Ok(())
    }

    /// The pane as rows of state, named by three numbers.
    pub(crate) fn state(&self, kind: &PaneKind, name: [i64; 3]) -> OperatorResult<RecordBatch> {
        let ids = self.table.ids();
        let mut columns = name.map(|n| Arc::new(Int64Array::from(vec![n; ids.len()])) as ArrayRef).to_vec();
        columns.extend(self.table.key_columns(&ids)?);
        columns.extend(self.aggregates.state(&ids)?);
        Ok(RecordBatch::try_new(kind.state.clone(), columns)?)
    }
}
