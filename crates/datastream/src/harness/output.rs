//! What came out of a harness's operators.

use streamkeeper_dataflow::OperatorResult;
use streamkeeper_dataflow::batch::Records;
use streamkeeper_dataflow::operator::Output;
use streamkeeper_dataflow::time::{MIN_WATERMARK, Timestamp};

/// Something that came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HarnessOutput<O> {
    /// A record with its event time.
    Record(O, Timestamp),
    /// Event time has advanced.
    Watermark(Timestamp),
    /// The operators hold nobody's watermark back.
    Idle,
    /// They do again.
    Active,
}

impl<O> HarnessOutput<O> {
    /// The record with its event time, if it is one.
    pub fn into_record(self) -> Option<(O, Timestamp)> {
        match self {
            Self::Record(value, timestamp) => Some((value, timestamp)),
            _ => None,
        }
    }
}

/// Keeps what comes out, in order.
pub(super) struct Recorder<O> {
    output: Vec<HarnessOutput<O>>,
    watermark: Timestamp,
}

impl<O> Default for Recorder<O> {
    fn default() -> Self {
        Self { output: Vec::new(), watermark: MIN_WATERMARK }
    }
}

impl<O> Recorder<O> {
    /// A watermark goes on only if it is larger than the last, as a task does it.
    pub(super) fn watermark(&mut self, watermark: Timestamp) {
        if watermark > self.watermark {
            self.watermark = watermark;
            self.output.push(HarnessOutput::Watermark(watermark));
        }
    }

    pub(super) fn idle(&mut self, idle: bool) {
        self.output.push(if idle { HarnessOutput::Idle } else { HarnessOutput::Active });
    }

    pub(super) fn take(&mut self) -> Vec<HarnessOutput<O>> {
        std::mem::take(&mut self.output)
    }

    pub(super) fn last_watermark(&self) -> Timestamp {
        self.watermark
    }
}

impl<O> Output<Records<O>> for Recorder<O> {
    fn emit(&mut self, batch: Records<O>) -> OperatorResult<()> {
        let records = batch.values.into_iter().zip(batch.timestamps);
        self.output.extend(records.map(|(value, timestamp)| HarnessOutput::Record(value, timestamp)));
        Ok(())
    }
}
