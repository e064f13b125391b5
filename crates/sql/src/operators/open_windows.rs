//! The windows of operators that hold rows until a window closes, such as window joins and window ranks.
//!
//! Invariant: a window stays open until the watermark reaches `window_end - 1`, then it is handed out once, in the order of
//! window ends; rows that come for it later are not added, but counted.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use streamkeeper_dataflow::OperatorResult;
use streamkeeper_dataflow::batch::Batch;
use streamkeeper_dataflow::time::{MIN_WATERMARK, Timestamp};

use super::join::{EventTime, millis};

/// Windows that are open, each with what is held for it.
pub(crate) struct OpenWindows<W> {
    event_time: EventTime,
    /// By window end, in the windows' local time.
    windows: BTreeMap<i64, W>,
    watermark: Timestamp,
}

impl<W> Default for OpenWindows<W> {
    fn default() -> Self {
        Self { event_time: EventTime::default(), windows: BTreeMap::new(), watermark: MIN_WATERMARK }
    }
}

impl<W: Default> OpenWindows<W> {
    /// No windows, before any watermark, with ends in this IANA zone or, if `None`, in none.
    pub(crate) fn new(time_zone: Option<&str>) -> OperatorResult<Self> {
        Ok(Self { event_time: EventTime::new(time_zone)?, ..Self::default() })
    }

    /// The greatest watermark so far.
    pub(crate) fn watermark(&self) -> Timestamp {
        self.watermark
    }

    /// What is held for each open window, in the order of window ends.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &W> {
        self.windows.values()
    }

    /// Gives the rows of a batch to `add` by window, whose end is in column `window_end`. The answer is how many rows
    /// came too late.
    pub(crate) fn add(
        &mut self,
        window_end: usize,
        batch: RecordBatch,
        mut add: impl FnMut(&mut W, RecordBatch) -> OperatorResult<()>,
    ) -> OperatorResult<u64> {
        let ends = millis(batch.column(window_end), "window_end")?;
        let Some(first) = ends.first() else { return Ok(0) };
        if ends.iter().all(|end| end == first) {
            return self.add_to(*first, batch, &mut add);
        }
        let mut distinct: Vec<i64> = Vec::new();
        let mut targets = Vec::with_capacity(ends.len());
        for end in &ends {
            let known = distinct.iter().rposition(|d| d == end);
            targets.push(known.unwrap_or(distinct.len()) as u32);
            if known.is_none() {
                distinct.push(*end);
            }
        }
        let mut late = 0;
        for (end, part) in distinct.iter().zip(batch.partition(&targets, distinct.len())) {
            late += part.map_or(Ok(0), |part| self.add_to(*end, part, &mut add))?;
        }
        Ok(late)
    }

    fn add_to(
        &mut self,
        end: i64,
        batch: RecordBatch,
        add: &mut impl FnMut(&mut W, RecordBatch) -> OperatorResult<()>,
    ) -> OperatorResult<u64> {
        if self.is_closed(end) {
            return Ok(batch.num_rows() as u64);
        }
        add(self.windows.entry(end).or_default(), batch)?;
        Ok(0)
    }

    /// Moves the watermark on; [`OpenWindows::next_closed`] has what closes by that.
    pub(crate) fn advance(&mut self, watermark: Timestamp) {
        self.watermark = self.watermark.max(watermark);
    }

    /// Takes out the first window that has closed.
    pub(crate) fn next_closed(&mut self) -> Option<W> {
        let end = *self.windows.first_key_value()?.0;
        if self.is_closed(end) { self.windows.remove(&end) } else { None }
    }

    fn is_closed(&self, end: i64) -> bool {
        self.event_time.instant(end).saturating_sub(1) <= self.watermark
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, TimestampMillisecondArray};

    use super::*;

    fn ends(values: &[i64]) -> RecordBatch {
        let column: ArrayRef = Arc::new(TimestampMillisecondArray::from(values.to_vec()));
        RecordBatch::try_from_iter([("window_end", column)]).unwrap()
    }

    #[test]
    fn a_window_is_handed_out_once_at_its_last_millisecond_and_rows_after_that_are_late() {
        let mut windows = OpenWindows::<usize>::new(None).unwrap();
        let count = |window: &mut usize, rows: RecordBatch| {
            *window += rows.num_rows();
            Ok(())
        };
        assert_eq!(windows.add(0, ends(&[20, 10, 20]), count).unwrap(), 0);
        windows.advance(8);
        assert_eq!(windows.next_closed(), None);
        windows.advance(9);
        windows.advance(5);
        assert_eq!((windows.next_closed(), windows.next_closed()), (Some(1), None));
        assert_eq!(windows.add(0, ends(&[10, 20, 10]), count).unwrap(), 2);
        windows.advance(i64::MAX);
        assert_eq!((windows.next_closed(), windows.next_closed()), (Some(3), None));
    }
}
