//! The operator of `GROUP BY` keys and window.

use arrow::array::RecordBatch;
use streamkeeper_dataflow::element::CheckpointId;
use streamkeeper_dataflow::operator::{Operator, OperatorContext, Output};
use streamkeeper_dataflow::state::SnapshotFn;
use streamkeeper_dataflow::time::Timestamp;
use streamkeeper_dataflow::{OperatorError, OperatorResult};

use super::session::Sessions;
use super::sliced::Sliced;
use crate::operators::spec::{WindowAggregateSpec, WindowInput, WindowKind};

/// Aggregates rows by key and window, and emits a window's groups when the watermark has passed it.
pub struct WindowAggregate {
    spec: WindowAggregateSpec,
    running: Option<(OperatorContext, Windows)>,
}

enum Windows {
    Sliced(Sliced),
    Sessions(Sessions),
}

impl WindowAggregate {
    /// The operator of `spec`.
    pub fn new(spec: WindowAggregateSpec) -> Self {
        Self { spec, running: None }
    }

    fn running(&mut self) -> OperatorResult<(&OperatorContext, &mut Windows)> {
        let (context, windows) =
            self.running.as_mut().ok_or_else(|| OperatorError::fatal("the operator was not opened"))?;
        Ok((context, windows))
    }
}

impl Operator<RecordBatch, RecordBatch> for WindowAggregate {
    fn open(&mut self, context: &OperatorContext) -> OperatorResult<()> {
        let windows = match &self.spec.window {
            WindowInput::TimeColumn { column, time_zone, kind: WindowKind::Session { gap_ms } } => {
                let mut sessions = Sessions::new(&self.spec, *column, time_zone.as_deref(), *gap_ms)?;
                sessions.open(context)?;
                Windows::Sessions(sessions)
            }
            _ => {
                let mut sliced = Sliced::new(&self.spec)?;
                sliced.open(context)?;
                Windows::Sliced(sliced)
            }
        };
        // What was restored now lives in the windows.
        let context = context.without_state();
        self.running = Some((context, windows));
        Ok(())
    }

    fn on_batch(
        &mut self,
        _input: usize,
        batch: RecordBatch,
        _out: &mut dyn Output<RecordBatch>,
    ) -> OperatorResult<()> {
        match self.running()? {
            (context, Windows::Sliced(sliced)) => sliced.on_batch(&batch, Some(context)),
            (context, Windows::Sessions(sessions)) => sessions.on_batch(&batch, context),
        }
    }

    fn on_watermark(
        &mut self,
        watermark: Timestamp,
        out: &mut dyn Output<RecordBatch>,
    ) -> OperatorResult<Timestamp> {
        match self.running()?.1 {
            Windows::Sliced(sliced) => sliced.on_watermark(watermark, out)?,
            Windows::Sessions(sessions) => sessions.on_watermark(watermark, out)?,
        }
        Ok(watermark)
    }

    fn snapshot(&mut self, _checkpoint: CheckpointId) -> OperatorResult<Option<SnapshotFn>> {
        Ok(Some(match self.running()? {
            (context, Windows::Sliced(sliced)) => sliced.snapshot(context)?,
            (context, Windows::Sessions(sessions)) => sessions.snapshot(context)?,
        }))
    }
}
