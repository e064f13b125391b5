//! UNNEST: a row per element of an array, map or multiset.
//!
//! Invariant: elements come in the order of their collection, right after those of the row before, with the row kind
//! of their row. A multiset gives each element as often as it counts it.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int32Array, OffsetSizeTrait, RecordBatch, StructArray, UInt32Array,
};
use arrow::buffer::NullBuffer;
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType as ArrowType, Int32Type, SchemaRef};
use streamkeeper_connectors::schema::TypeKind;
use streamkeeper_dataflow::operator::{Operator, OperatorContext, Output};
use streamkeeper_dataflow::{OperatorError, OperatorResult};

use super::calc::{changelog_schema, failed, into_array, missing_row_kind};
use super::spec::UnnestSpec;

const OUTPUT_ROWS: usize = 8192;

/// Turns collections into rows.
#[derive(Debug)]
pub struct Unnest {
    spec: UnnestSpec,
    schema: SchemaRef,
}

/// The collections of a batch, one per row.
struct Collections {
    /// Elements of row `i` are `offsets[i]..offsets[i + 1]`.
    offsets: Vec<usize>,
    nulls: Option<NullBuffer>,
    /// The elements' columns.
    columns: Vec<ArrayRef>,
    /// Elements that are NULL as a whole, though made of several columns.
    null_elements: Option<NullBuffer>,
    /// How often each element of a multiset is in it.
    counts: Option<Int32Array>,
}

/// Output rows that were not emitted yet.
#[derive(Default)]
struct Pending {
    rows: Vec<u32>,
    elements: Vec<Option<u32>>,
    positions: Vec<Option<i32>>,
}

impl Unnest {
    /// An UNNEST of one expression.
    pub fn new(spec: UnnestSpec) -> Self {
        let schema = changelog_schema(&spec.output, spec.changelog);
        Self { spec, schema }
    }

    fn collections(&self, batch: &RecordBatch) -> OperatorResult<Collections> {
        let collection = &self.spec.collection;
        let array = into_array(collection.eval(batch).map_err(failed)?, batch.num_rows())?;
        let multiset = matches!(collection.data_type().kind, TypeKind::Multiset(_));
        match array.data_type() {
            ArrowType::List(_) => {
                let list = array.as_list::<i32>();
                Ok(Collections::new(list.value_offsets(), list.nulls(), list.values(), None))
            }
            ArrowType::Map(..) => {
                let map = array.as_map();
                let (offsets, nulls) = (map.value_offsets(), map.nulls());
                if multiset {
                    let counts = map.values().as_primitive::<Int32Type>().clone();
                    return Ok(Collections::new(offsets, nulls, map.keys(), Some(counts)));
                }
                let offsets = offsets.iter().map(|o| *o as usize).collect();
                let columns = vec![Arc::clone(map.keys()), Arc::clone(map.values())];
                Ok(Collections { offsets, nulls: nulls.cloned(), columns, null_elements: None, counts: None })
            }
            other => Err(OperatorError::fatal(format!(
                "UNNEST takes an ARRAY, MAP or MULTISET, but got {} ({other})",
                collection.data_type()
            ))),
        }
    }

    fn emit(
        &self,
        batch: &RecordBatch,
        collections: &Collections,
        pending: &mut Pending,
        out: &mut dyn Output<RecordBatch>,
    ) -> OperatorResult<()> {
        if pending.rows.is_empty() {
            return Ok(());
        }
        let pending = std::mem::take(pending);
        let rows = UInt32Array::from(pending.rows);
        let elements = UInt32Array::from(pending.elements);
        let mut columns = Vec::with_capacity(self.schema.fields().len());
        for column in &batch.columns()[..self.spec.input.len()] {
            columns.push(take(column.as_ref(), &rows, None)?);
        }
        for column in &collections.columns {
            columns.push(take(column.as_ref(), &elements, None)?);
        }
        if self.spec.with_ordinality {
            let positions: ArrayRef = Arc::new(Int32Array::from(pending.positions));
            columns.push(cast(&positions, self.schema.field(columns.len()).data_type())?);
        }
        if self.spec.changelog {
            let kinds =
                batch.columns().get(self.spec.input.len()).ok_or_else(|| missing_row_kind("UNNEST"))?;
            columns.push(take(kinds.as_ref(), &rows, None)?);
        }
        out.emit(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

impl Collections {
    fn new<O: OffsetSizeTrait>(
        offsets: &[O],
        nulls: Option<&NullBuffer>,
        elements: &ArrayRef,
        counts: Option<Int32Array>,
    ) -> Self {
        let offsets = offsets.iter().map(|offset| offset.as_usize()).collect();
        let (columns, null_elements) = match elements.as_any().downcast_ref::<StructArray>() {
            Some(rows) => (rows.columns().to_vec(), rows.nulls().cloned()),
            None => (vec![Arc::clone(elements)], None),
        };
        Self { offsets, nulls: nulls.cloned(), columns, null_elements, counts }
    }

    fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    fn count(&self, element: usize) -> i32 {
        self.counts.as_ref().map_or(1, |counts| counts.value(element).max(0))
    }
}

impl Operator<RecordBatch, RecordBatch> for Unnest {
    fn open(&mut self, _context: &OperatorContext) -> OperatorResult<()> {
        Ok(())
    }

    fn on_batch(
        &mut self,
        _input: usize,
        batch: RecordBatch,
        out: &mut dyn Output<RecordBatch>,
    ) -> OperatorResult<()> {
        let collections = self.collections(&batch)?;
        let mut pending = Pending::default();
        for row in 0..batch.num_rows() {
            let elements = if collections.is_null(row) {
                0..0
            } else {
                collections.offsets[row]..collections.offsets[row + 1]
            };
            let mut position = 0;
            for element in elements {
                let null = collections.null_elements.as_ref().is_some_and(|nulls| nulls.is_null(element));
                for _ in 0..collections.count(element) {
                    position += 1;
                    pending.rows.push(row as u32);
                    pending.elements.push((!null).then_some(element as u32));
                    pending.positions.push(Some(position));
                    if pending.rows.len() == OUTPUT_ROWS {
                        self.emit(&batch, &collections, &mut pending, out)?;
                    }
                }
            }
            if position == 0 && self.spec.outer {
                pending.rows.push(row as u32);
                pending.elements.push(None);
                pending.positions.push(None);
            }
        }
        self.emit(&batch, &collections, &mut pending, out)
    }
}
