//! What Flink puts before a sink: enforcement of NOT NULL and of the lengths of character and binary types.
//!
//! Invariant: no row passes whose NOT NULL column is NULL; where lengths are enforced, none passes with another length
//! than its column's type allows. Only the columns themselves are checked, not what is nested in them, as in Flink by
//! default.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, BooleanArray, RecordBatch, StringBuilder};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter_record_batch;
use streamkeeper_connectors::schema::{Field, TypeKind};
use streamkeeper_dataflow::metrics::TaskMetrics;
use streamkeeper_dataflow::operator::{Operator, OperatorContext, Output};
use streamkeeper_dataflow::{OperatorError, OperatorResult};

/// `table.exec.sink.not-null-enforcer`: what becomes of a row with NULL in a NOT NULL column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NotNullEnforcer {
    /// The job fails.
    #[default]
    Error,
    /// The row is dropped and counted (`numRecordsInErrors`).
    Drop,
}

/// `table.exec.sink.type-length-enforcer`: what becomes of a value that does not fit `CHAR(n)`, `VARCHAR(n)`,
/// `BINARY(n)` or `VARBINARY(n)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TypeLengthEnforcer {
    /// It is written as it is.
    #[default]
    Ignore,
    /// A longer value is cut; a shorter one of a type of fixed length is padded with spaces or zero bytes.
    TrimPad,
    /// The job fails.
    Error,
}

/// Enforces the sink's constraints.
#[derive(Debug)]
pub struct ConstraintEnforcer {
    columns: Vec<Field>,
    not_null: NotNullEnforcer,
    type_length: TypeLengthEnforcer,
    metrics: Arc<TaskMetrics>,
}

impl ConstraintEnforcer {
    /// For a sink with these columns.
    pub fn new(columns: Vec<Field>, not_null: NotNullEnforcer, type_length: TypeLengthEnforcer) -> Self {
        Self { columns, not_null, type_length, metrics: Arc::default() }
    }

    /// False when no row of a query with these columns could violate a constraint, so that the operator can be left
    /// out.
    pub fn is_needed(query: &[Field], sink: &[Field], type_length: TypeLengthEnforcer) -> bool {
        let nulls = query.iter().zip(sink).any(|(q, s)| q.data_type.nullable && !s.data_type.nullable);
        nulls || (type_length != TypeLengthEnforcer::Ignore && sink.iter().any(|c| limit(c).is_some()))
    }

    /// The rows without NULL where none may be; `None`: all.
    fn without_nulls(&self, batch: &RecordBatch) -> OperatorResult<Option<BooleanArray>> {
        let mut kept: Option<BooleanBuffer> = None;
        for (field, column) in self.columns.iter().zip(batch.columns()) {
            if field.data_type.nullable {
                continue;
            }
            let Some(nulls) = column.logical_nulls().filter(|nulls| nulls.null_count() > 0) else { continue };
            if self.not_null == NotNullEnforcer::Error {
                return Err(OperatorError::fatal(format!(
                    "Column '{}' is NOT NULL, however, a null value is being written into it. You can set job \
                     configuration 'table.exec.sink.not-null-enforcer'='DROP' to suppress this exception and drop \
                     such records silently.",
                    field.name
                )));
            }
            kept = Some(kept.map_or_else(|| nulls.inner().clone(), |kept| &kept & nulls.inner()));
        }
        Ok(kept.map(|kept| BooleanArray::new(kept, None)))
    }

    fn fit_lengths(&self, batch: RecordBatch) -> OperatorResult<RecordBatch> {
        let mut columns: Option<Vec<ArrayRef>> = None;
        for (index, field) in self.columns.iter().enumerate() {
            let Some(limit) = limit(field) else { continue };
            let Some(length) = limit.violation(batch.column(index)) else { continue };
            if self.type_length == TypeLengthEnforcer::Error {
                return Err(OperatorError::fatal(format!(
                    "Column '{}' is {}, however, a string of length {length} is being written into it. You can set \
                     job configuration 'table.exec.sink.type-length-enforcer' to control this behaviour.",
                    field.name, field.data_type.kind
                )));
            }
            let columns = columns.get_or_insert_with(|| batch.columns().to_vec());
            columns[index] = limit.fitted(&columns[index]);
        }
        Ok(match columns {
            None => batch,
            Some(columns) => RecordBatch::try_new(batch.schema(), columns)?,
        })
    }
}

/// The length that a type allows.
struct Limit {
    length: usize,
    /// No other length is allowed.
    fixed: bool,
    binary: bool,
}

fn limit(field: &Field) -> Option<Limit> {
    let (length, fixed, binary) = match field.data_type.kind {
        TypeKind::Char(n) => (n, true, false),
        TypeKind::Varchar(n) => (n, false, false),
        TypeKind::Binary(n) => (n, true, true),
        TypeKind::Varbinary(n) => (n, false, true),
        _ => return None,
    };
    let bounded = length != streamkeeper_connectors::schema::MAX_LENGTH;
    bounded.then_some(Limit { length: length as usize, fixed, binary })
}

impl Limit {
    /// The length of the first value that does not fit.
    fn violation(&self, column: &ArrayRef) -> Option<usize> {
        let is_wrong = |length: &usize| *length > self.length || (self.fixed && *length < self.length);
        if self.binary {
            return column.as_binary::<i32>().iter().flatten().map(<[u8]>::len).find(is_wrong);
        }
        column.as_string::<i32>().iter().flatten().map(|text| text.chars().count()).find(is_wrong)
    }

    fn fitted(&self, column: &ArrayRef) -> ArrayRef {
        if self.binary {
            let mut fitted = BinaryBuilder::new();
            for value in column.as_binary::<i32>() {
                fitted.append_option(value.map(|value| {
                    let mut value = value[..value.len().min(self.length)].to_vec();
                    if self.fixed {
                        value.resize(self.length, 0);
                    }
                    value
                }));
            }
            return Arc::new(fitted.finish());
        }
        let mut fitted = StringBuilder::new();
        for value in column.as_string::<i32>() {
            fitted.append_option(value.map(|value| {
                let mut text = value.chars().take(self.length).collect::<String>();
                if self.fixed {
                    text.extend(std::iter::repeat_n(' ', self.length - text.chars().count()));
                }
                text
            }));
        }
        Arc::new(fitted.finish())
    }
}

impl Operator<RecordBatch, RecordBatch> for ConstraintEnforcer {
    fn open(&mut self, context: &OperatorContext) -> OperatorResult<()> {
        self.metrics = Arc::clone(&context.metrics);
        Ok(())
    }

    fn on_batch(
        &mut self,
        _input: usize,
        batch: RecordBatch,
        out: &mut dyn Output<RecordBatch>,
    ) -> OperatorResult<()> {
        let batch = match self.without_nulls(&batch)? {
            None => batch,
            Some(kept) => {
                self.metrics.num_records_in_errors.add((kept.len() - kept.true_count()) as u64);
                filter_record_batch(&batch, &kept)?
            }
        };
        if batch.num_rows() == 0 {
            return Ok(());
        }
        if self.type_length == TypeLengthEnforcer::Ignore {
            return out.emit(batch);
        }
        out.emit(self.fit_lengths(batch)?)
    }
}
