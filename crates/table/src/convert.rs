//! Records to batches and back: the operators at the edge.
//!
//! Invariant: rows keep their order, and watermarks pass through between them as they came.

use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, TimestampMillisecondArray};
use arrow::datatypes::{
    DataType as ArrowType, Field as ArrowField, Schema as ArrowSchema, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType,
};
use streamkeeper_connectors::ConnectorError;
use streamkeeper_connectors::record::{StreamRow, TableRow};
use streamkeeper_connectors::schema::{DataType, Field, TypeKind};
use streamkeeper_dataflow::batch::{Batch, Records};
use streamkeeper_dataflow::operator::{Operator, OperatorContext, Output};
use streamkeeper_dataflow::time::{MIN_WATERMARK, Timestamp};
use streamkeeper_dataflow::{OperatorError, OperatorResult};

fn failed(what: &str, e: &ConnectorError) -> OperatorError {
    OperatorError::fatal(format!("{what}: {e}"))
}

/// A column with the event times of the records: TIMESTAMP_LTZ(3) NOT NULL.
pub(crate) fn rowtime_field(name: &str) -> Field {
    Field::new(name, DataType::from(TypeKind::TimestampLtz(3)).not_null())
}

/// Records become batches.
pub(crate) struct ToTable<T> {
    /// Append a column of this name with the records' event times.
    pub(crate) rowtime: Option<String>,
    pub(crate) records: PhantomData<fn(T)>,
}

impl<T: StreamRow + 'static> Operator<Records<T>, RecordBatch> for ToTable<T>
where
    Records<T>: Batch,
{
    fn open(&mut self, _: &OperatorContext) -> OperatorResult<()> {
        Ok(())
    }

    fn on_batch(
        &mut self,
        _: usize,
        batch: Records<T>,
        out: &mut dyn Output<RecordBatch>,
    ) -> OperatorResult<()> {
        let columns = T::encode(&batch.values).map_err(|e| failed("a record does not fit its table", &e))?;
        match &self.rowtime {
            None => out.emit(columns),
            Some(name) => out.emit(with_rowtime(columns, name, T::CHANGELOG, batch.timestamps)?),
        }
    }
}

/// The event times stand behind the columns, but before the row kind.
fn with_rowtime(
    batch: RecordBatch,
    name: &str,
    changelog: bool,
    timestamps: Vec<Timestamp>,
) -> OperatorResult<RecordBatch> {
    if timestamps.contains(&MIN_WATERMARK) {
        return Err(OperatorError::fatal(format!(
            "a record has no event time, which the column `{name}` is to hold; give the stream timestamps by a watermark \
             strategy first"
        )));
    }
    let times: ArrayRef = Arc::new(TimestampMillisecondArray::from(timestamps).with_timezone("UTC"));
    let at = batch.num_columns() - usize::from(changelog);
    let mut fields: Vec<Arc<ArrowField>> = batch.schema().fields().iter().cloned().collect();
    fields.insert(at, Arc::new(rowtime_field(name).data_type.to_arrow_field(name)));
    let mut columns = batch.columns().to_vec();
    columns.insert(at, times);
    Ok(RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), columns)?)
}

/// Batches become records.
pub(crate) struct FromTable<T> {
    /// Names of the columns, without the row kind.
    pub(crate) names: Arc<[String]>,
    /// The column that is the event time.
    pub(crate) rowtime: Option<usize>,
    pub(crate) records: PhantomData<fn() -> T>,
}

impl<T: TableRow + 'static> Operator<RecordBatch, Records<T>> for FromTable<T>
where
    Records<T>: Batch,
{
    fn open(&mut self, _: &OperatorContext) -> OperatorResult<()> {
        Ok(())
    }

    fn on_batch(
        &mut self,
        _: usize,
        batch: RecordBatch,
        out: &mut dyn Output<Records<T>>,
    ) -> OperatorResult<()> {
        let timestamps = match self.rowtime {
            Some(column) => event_times(batch.column(column), &self.names[column])?,
            None => vec![MIN_WATERMARK; batch.num_rows()],
        };
        let values =
            T::decode(&batch, &self.names).map_err(|e| failed("a row does not fit its record", &e))?;
        out.emit(Records::new(values, timestamps))
    }
}

/// Milliseconds, cut towards the past.
fn event_times(column: &ArrayRef, name: &str) -> OperatorResult<Vec<Timestamp>> {
    if column.null_count() > 0 {
        return Err(OperatorError::fatal(format!(
            "the rowtime attribute `{name}` is NULL in a row; filter such rows with WHERE {name} IS NOT NULL"
        )));
    }
    match column.data_type() {
        ArrowType::Timestamp(TimeUnit::Millisecond, _) => {
            Ok(column.as_primitive::<TimestampMillisecondType>().values().to_vec())
        }
        ArrowType::Timestamp(TimeUnit::Microsecond, _) => {
            let values = column.as_primitive::<TimestampMicrosecondType>().values();
            Ok(values.iter().map(|v| v.div_euclid(1_000)).collect())
        }
        ArrowType::Timestamp(TimeUnit::Nanosecond, _) => {
            let values = column.as_primitive::<TimestampNanosecondType>().values();
            Ok(values.iter().map(|v| v.div_euclid(1_000_000)).collect())
        }
        other => Err(OperatorError::fatal(format!(
            "the rowtime attribute `{name}` must be a timestamp, not {other}"
        ))),
    }
}
