//! Runs one operator without a runtime, for tests: batches in, rows as text out, snapshots and restores between.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int8Array, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::{Field as ArrowField, Int8Type, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use streamkeeper_connectors::schema::{Field, to_arrow_schema};
use streamkeeper_dataflow::key_group::{DEFAULT_MAX_PARALLELISM, range_of};
use streamkeeper_dataflow::metrics::TaskMetrics;
use streamkeeper_dataflow::operator::{Operator, OperatorContext};
use streamkeeper_dataflow::state::{RestoredState, StateSegment, StateWriter};
use streamkeeper_dataflow::time::Timestamp;
use streamkeeper_dataflow::{OperatorError, OperatorResult};

use super::ROW_KIND;

/// An operator that is open, and what it has emitted since it was last asked.
pub struct Harness {
    operator: Box<dyn Operator<RecordBatch, RecordBatch>>,
    output: Vec<RecordBatch>,
    /// The operator's metrics.
    pub metrics: Arc<TaskMetrics>,
    next_checkpoint: u64,
}

impl Harness {
    /// Opens an operator as the only subtask, without state.
    ///
    /// # Errors
    /// Those of the operator.
    pub fn open(operator: impl Operator<RecordBatch, RecordBatch> + 'static) -> OperatorResult<Self> {
        Self::restore(operator, &[], 0, 1)
    }

    /// Opens an operator as `subtask` of `parallelism` with its share of `segments`.
    ///
    /// # Errors
    /// Those of the operator.
    pub fn restore(
        operator: impl Operator<RecordBatch, RecordBatch> + 'static,
        segments: &[StateSegment],
        subtask: usize,
        parallelism: usize,
    ) -> OperatorResult<Self> {
        let mut operator: Box<dyn Operator<RecordBatch, RecordBatch>> = Box::new(operator);
        let key_groups = range_of(subtask, parallelism, DEFAULT_MAX_PARALLELISM);
        let metrics = Arc::new(TaskMetrics::default());
        operator.open(&OperatorContext {
            metrics: metrics.clone(),
            restored: RestoredState::share(segments, subtask, parallelism, key_groups)?,
            ..OperatorContext::detached("operator", subtask, parallelism)
        })?;
        Ok(Self { operator, output: Vec::new(), metrics, next_checkpoint: 1 })
    }

    /// Hands a batch to an input.
    ///
    /// # Errors
    /// Those of the operator.
    pub fn push(&mut self, input: usize, batch: RecordBatch) -> OperatorResult<()> {
        self.operator.on_batch(input, batch, &mut self.output)
    }

    /// Advances event time; the answer is the watermark that is forwarded.
    ///
    /// # Errors
    /// Those of the operator.
    pub fn watermark(&mut self, watermark: Timestamp) -> OperatorResult<Timestamp> {
        self.operator.on_watermark(watermark, &mut self.output)
    }

    /// Whether the operator takes input now.
    pub fn wants_input(&self) -> bool {
        self.operator.wants_input()
    }

    /// When the operator wants to be told of processing time.
    pub fn next_processing_time(&self) -> Option<Timestamp> {
        self.operator.next_processing_time()
    }

    /// Tells the operator of processing time.
    ///
    /// # Errors
    /// Those of the operator.
    pub fn processing_time(&mut self, now_ms: Timestamp) -> OperatorResult<()> {
        self.operator.on_processing_time(now_ms, &mut self.output)
    }

    /// Ends the input.
    ///
    /// # Errors
    /// Those of the operator.
    pub fn finish(&mut self) -> OperatorResult<()> {
        self.operator.finish(&mut self.output)
    }

    /// What was emitted since the last call.
    pub fn take_batches(&mut self) -> Vec<RecordBatch> {
        std::mem::take(&mut self.output)
    }

    /// What was emitted since the last call, a row each, as `+I[1, a]`.
    pub fn take(&mut self) -> Vec<String> {
        rows(&self.take_batches())
    }

    /// Flushes the operator and takes a checkpoint.
    ///
    /// # Errors
    /// Those of the operator.
    pub fn snapshot(&mut self) -> OperatorResult<Vec<StateSegment>> {
        self.operator.flush(&mut self.output)?;
        let captured = self.operator.snapshot(self.next_checkpoint)?;
        self.next_checkpoint += 1;
        let mut writer = StateWriter::new("operator");
        if let Some(write) = captured {
            write(&mut writer)?;
        }
        Ok(writer.into_segments())
    }
}

/// The rows of batches as text: `+I[1, a]`, NULL as `null`.
pub fn rows(batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::new().with_null("null");
    let mut lines = Vec::new();
    for batch in batches {
        let kinds = batch.column_by_name(ROW_KIND).map(|c| c.as_primitive::<Int8Type>());
        let columns = batch.num_columns() - usize::from(kinds.is_some());
        let formatters = batch.columns()[..columns]
            .iter()
            .map(|c| ArrayFormatter::try_new(c, &options).expect("a column of a test can be shown"))
            .collect::<Vec<_>>();
        for row in 0..batch.num_rows() {
            let kind = ["+I", "-U", "+U", "-D"][kinds.map_or(0, |k| k.value(row)) as usize];
            let values = formatters.iter().map(|f| f.value(row).to_string()).collect::<Vec<_>>();
            lines.push(format!("{kind}[{}]", values.join(", ")));
        }
    }
    lines
}

/// A batch of `fields` from text: a row a line, values separated by `|` and cast to their types, `null` as NULL.
/// With `changelog`, each line begins with its row kind and a `|`.
///
/// # Errors
/// When a value cannot be cast.
pub fn batch(fields: &[Field], changelog: bool, lines: &[&str]) -> OperatorResult<RecordBatch> {
    let lines = lines.iter().map(|l| l.split('|').map(str::trim).collect::<Vec<_>>()).collect::<Vec<_>>();
    let skip = usize::from(changelog);
    if let Some(line) = lines.iter().find(|line| line.len() != fields.len() + skip) {
        return Err(OperatorError::fatal(format!("{line:?} has not {} values", fields.len() + skip)));
    }
    let column = |(index, field): (usize, &Field)| -> OperatorResult<ArrayRef> {
        let text = lines.iter().map(|line| Some(line[index + skip]).filter(|v| *v != "null"));
        let options = arrow::compute::CastOptions { safe: false, ..Default::default() };
        let text = text.collect::<StringArray>();
        Ok(arrow::compute::cast_with_options(&text, &field.data_type.to_arrow(), &options)?)
    };
    let columns = fields.iter().enumerate().map(column).collect::<OperatorResult<Vec<_>>>()?;
    let kinds = changelog.then(|| {
        let kind =
            |line: &Vec<&str>| ["+I", "-U", "+U", "-D"].iter().position(|k| *k == line[0]).unwrap_or(0) as i8;
        Int8Array::from_iter_values(lines.iter().map(kind))
    });
    with_row_kind(&to_arrow_schema(fields), columns, kinds, lines.len())
}

fn with_row_kind(
    schema: &Schema,
    mut columns: Vec<ArrayRef>,
    kinds: Option<Int8Array>,
    rows: usize,
) -> OperatorResult<RecordBatch> {
    let mut fields = schema.fields().to_vec();
    if let Some(kinds) = kinds {
        fields.push(Arc::new(ArrowField::new(ROW_KIND, kinds.data_type().clone(), true)));
        columns.push(Arc::new(kinds));
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?)
}
