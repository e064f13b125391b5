//! `WATERMARK FOR ts AS expression` on the batches of a source.

use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::max;
use arrow::datatypes::{
    DataType as ArrowType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType,
};
use streamkeeper_dataflow::source::{WatermarkGenerator, WatermarkStrategy};
use streamkeeper_dataflow::time::Timestamp;
use streamkeeper_dataflow::{OperatorError, OperatorResult};

use crate::expr::{ColumnarValue, ExprRef};

/// The largest value of an expression so far; rows for which it is NULL say nothing about time.
#[derive(Debug, Clone)]
pub(crate) struct ExpressionWatermark {
    pub(crate) expression: ExprRef,
    pub(crate) idle_timeout: Option<Duration>,
}

impl WatermarkStrategy<RecordBatch> for ExpressionWatermark {
    fn generator(&self, _: Timestamp) -> Box<dyn WatermarkGenerator<RecordBatch>> {
        Box::new(self.clone())
    }

    fn idle_timeout(&self) -> Option<Duration> {
        self.idle_timeout
    }
}

impl WatermarkGenerator<RecordBatch> for ExpressionWatermark {
    fn on_batch(&mut self, batch: &mut RecordBatch) -> OperatorResult<Option<Timestamp>> {
        let value = self
            .expression
            .eval(batch)
            .map_err(|e| OperatorError::fatal(format!("the watermark cannot be computed: {e}")))?;
        match value {
            ColumnarValue::Array(array) | ColumnarValue::Scalar(array) => largest(&array),
        }
    }
}

/// The largest timestamp, in milliseconds.
fn largest(array: &ArrayRef) -> OperatorResult<Option<Timestamp>> {
    match array.data_type() {
        ArrowType::Timestamp(TimeUnit::Millisecond, _) => {
            Ok(max(array.as_primitive::<TimestampMillisecondType>()))
        }
        ArrowType::Timestamp(TimeUnit::Microsecond, _) => {
            Ok(max(array.as_primitive::<TimestampMicrosecondType>()).map(|v| v.div_euclid(1_000)))
        }
        ArrowType::Timestamp(TimeUnit::Nanosecond, _) => {
            Ok(max(array.as_primitive::<TimestampNanosecondType>()).map(|v| v.div_euclid(1_000_000)))
        }
        other => Err(OperatorError::fatal(format!("a watermark must be a timestamp, not {other}"))),
    }
}
