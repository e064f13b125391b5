//! Calc: projection and filter in one, on whole batches.
//!
//! Invariant: a row that passes keeps its row kind and its place among the others; what need not be copied is shared
//! with the input. The configuration is constant from one barrier to the next.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{filter_record_batch, take};
use arrow::datatypes::{DataType as ArrowType, Field as ArrowField, Schema, SchemaRef};
use streamkeeper_connectors::schema::{Field, to_arrow_schema};
use streamkeeper_dataflow::live_config::ConfigSnapshot;
use streamkeeper_dataflow::operator::{Operator, OperatorContext, Output};
use streamkeeper_dataflow::{OperatorError, OperatorResult};

use super::ROW_KIND;
use super::spec::CalcSpec;
use crate::expr::live::bind_config;
use crate::expr::{ColumnarValue, EvalError, ExprRef, ScalarExpr, compile, fold};

/// Projects and filters.
#[derive(Debug)]
pub struct Calc {
    spec: CalcSpec,
    schema: SchemaRef,
}

impl Calc {
    /// A projection, a filter, or both.
    pub fn new(spec: CalcSpec) -> Self {
        let schema = changelog_schema(&spec.output, spec.changelog);
        Self { spec, schema }
    }

    /// What its batches look like.
    pub(crate) fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Makes filter and projection anew, with what `config` says as constants.
    fn bind_config(&mut self, config: &ConfigSnapshot) -> OperatorResult<()> {
        let Some(live) = &self.spec.live else { return Ok(()) };
        let bind = |expr: &ScalarExpr| {
            let bound = fold(&bind_config(expr, config), &live.context);
            compile(&bound, &live.context).map_err(OperatorError::fatal)
        };
        self.spec.filter = live.filter.as_ref().map(bind).transpose()?;
        self.spec.projection =
            live.projection.as_ref().map(|exprs| exprs.iter().map(bind).collect()).transpose()?;
        Ok(())
    }

    fn project(&self, batch: &RecordBatch) -> OperatorResult<RecordBatch> {
        let rows = batch.num_rows();
        let mut columns = Vec::with_capacity(self.schema.fields().len());
        match &self.spec.projection {
            None => columns.extend_from_slice(batch.columns()),
            Some(projection) => {
                for expr in projection {
                    columns.push(into_array(expr.eval(batch).map_err(failed)?, rows)?);
                }
                if self.spec.changelog {
                    let kinds = batch.columns().last().ok_or_else(|| missing_row_kind("calc"))?;
                    columns.push(Arc::clone(kinds));
                }
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

impl Operator<RecordBatch, RecordBatch> for Calc {
    fn open(&mut self, context: &OperatorContext) -> OperatorResult<()> {
        self.bind_config(&context.config)
    }

    fn on_config(&mut self, config: &Arc<ConfigSnapshot>) -> OperatorResult<()> {
        self.bind_config(config)
    }

    fn on_batch(
        &mut self,
        _input: usize,
        batch: RecordBatch,
        out: &mut dyn Output<RecordBatch>,
    ) -> OperatorResult<()> {
        let batch = match &self.spec.filter {
            None => batch,
            Some(filter) => match select(filter, &batch)? {
                Selection::All => batch,
                Selection::None => return Ok(()),
                Selection::Some(mask) => filter_record_batch(&batch, &mask)?,
            },
        };
        if batch.num_rows() == 0 { Ok(()) } else { out.emit(self.project(&batch)?) }
    }
}

/// Which rows of a batch a condition keeps.
pub(crate) enum Selection {
    All,
    None,
    Some(BooleanArray),
}

/// The rows for which `condition` is true (neither false nor NULL).
pub(crate) fn select(condition: &ExprRef, batch: &RecordBatch) -> OperatorResult<Selection> {
    let value = condition.eval(batch).map_err(failed)?;
    let (ColumnarValue::Array(array) | ColumnarValue::Scalar(array)) = &value;
    let mask = array.as_any().downcast_ref::<BooleanArray>().ok_or_else(|| {
        OperatorError::fatal(format!("a condition must be BOOLEAN, but it is {}", condition.data_type()))
    })?;
    let kept = mask.true_count();
    Ok(match value {
        _ if kept == 0 => Selection::None,
        ColumnarValue::Scalar(_) => Selection::All,
        ColumnarValue::Array(_) if kept == batch.num_rows() => Selection::All,
        ColumnarValue::Array(_) => Selection::Some(mask.clone()),
    })
}

/// One value per row.
pub(crate) fn into_array(value: ColumnarValue, rows: usize) -> OperatorResult<ArrayRef> {
    match value {
        ColumnarValue::Array(array) => Ok(array),
        ColumnarValue::Scalar(array) if rows == 1 => Ok(array),
        ColumnarValue::Scalar(array) => Ok(take(array.as_ref(), &UInt32Array::from_value(0, rows), None)?),
    }
}

/// The Arrow schema of `fields`, with the row-kind column at the end if asked.
pub(crate) fn changelog_schema(fields: &[Field], changelog: bool) -> SchemaRef {
    let schema = to_arrow_schema(fields);
    if !changelog {
        return schema;
    }
    let mut fields = schema.fields().to_vec();
    fields.push(Arc::new(ArrowField::new(ROW_KIND, ArrowType::Int8, true)));
    Arc::new(Schema::new(fields))
}

pub(crate) fn missing_row_kind(operator: &str) -> OperatorError {
    OperatorError::fatal(format!("the input of {operator} should have a column `{ROW_KIND}`, but has none"))
}

pub(crate) fn failed(error: EvalError) -> OperatorError {
    OperatorError::fatal(error)
}
