//! Sources of this crate. Others implement [`Source`]: an enumerator that hands out splits, and readers.

use std::sync::Arc;

use streamkeeper_dataflow::batch::Records;
use streamkeeper_dataflow::operator::OperatorContext;
use streamkeeper_dataflow::source::{Assignment, Poll, Source, SourceReader, Split, SplitEnumerator};
use streamkeeper_dataflow::time::{MIN_WATERMARK, Timestamp};
use streamkeeper_dataflow::{OperatorError, OperatorResult};

use crate::Data;

/// Records that a reader gives at once.
const BATCH: usize = 2048;
const SPLIT: &str = "collection";

/// A list of records, read in order by one subtask.
pub(crate) struct CollectionSource<T>(Arc<Vec<T>>);

impl<T> CollectionSource<T> {
    pub(crate) fn new(records: Vec<T>) -> Self {
        Self(Arc::new(records))
    }
}

/// Splits that were not handed out.
pub(crate) struct Pending(Vec<Split>);

impl SplitEnumerator for Pending {
    fn next_split(&mut self, _: usize) -> Assignment {
        self.0.pop().map_or(Assignment::NoMoreSplits, Assignment::Split)
    }

    fn add_splits_back(&mut self, splits: Vec<Split>) {
        self.0.extend(splits);
    }

    fn snapshot(&self) -> OperatorResult<Vec<u8>> {
        postcard::to_allocvec(&self.0).map_err(OperatorError::fatal)
    }
}

impl Pending {
    /// The splits of a checkpoint, or those that `first` gives; the last one goes out first.
    fn open(
        restored: Option<&[u8]>,
        first: impl FnOnce() -> Vec<Split>,
    ) -> OperatorResult<Box<dyn SplitEnumerator>> {
        let splits = match restored {
            None => first(),
            Some(bytes) => postcard::from_bytes(bytes).map_err(|e| {
                OperatorError::fatal(format!("the source's splits in the checkpoint are damaged: {e}"))
            })?,
        };
        Ok(Box::new(Self(splits)))
    }
}

impl<T: Data + Sync> Source<Records<T>> for CollectionSource<T> {
    fn enumerator(&self, _: usize, restored: Option<&[u8]>) -> OperatorResult<Box<dyn SplitEnumerator>> {
        Pending::open(restored, || {
            vec![Split { id: SPLIT.into(), payload: vec![0; 8], watermark: MIN_WATERMARK }]
        })
    }

    fn reader(&self, _: &OperatorContext) -> OperatorResult<Box<dyn SourceReader<Records<T>>>> {
        Ok(Box::new(CollectionReader { records: self.0.clone(), next: None }))
    }
}

struct CollectionReader<T> {
    records: Arc<Vec<T>>,
    /// The next record; `None`: the split is not here.
    next: Option<usize>,
}

impl<T: Data> SourceReader<Records<T>> for CollectionReader<T> {
    fn add_split(&mut self, split: Split) -> OperatorResult<()> {
        let position = split.payload.as_slice().try_into().map(u64::from_le_bytes);
        let position =
            position.ok().and_then(|p| usize::try_from(p).ok()).filter(|p| *p <= self.records.len());
        let position = position.ok_or_else(|| {
            OperatorError::fatal("the position in the checkpoint is not in this collection; it was changed")
        })?;
        self.next = Some(position);
        Ok(())
    }

    fn poll(&mut self, _: Timestamp) -> OperatorResult<Poll<Records<T>>> {
        let Some(next) = self.next else { return Ok(Poll::NeedSplit) };
        let end = (next + BATCH).min(self.records.len());
        if next == end {
            self.next = None;
            return Ok(Poll::SplitEnd(SPLIT.into()));
        }
        self.next = Some(end);
        let values = self.records[next..end].to_vec();
        let batch = Records::new(values, vec![Timestamp::MIN; end - next]);
        Ok(Poll::Batch { split: SPLIT.into(), batch })
    }

    fn snapshot(&mut self) -> OperatorResult<Vec<Split>> {
        let split = self.next.map(|next| Split {
            id: SPLIT.into(),
            payload: (next as u64).to_le_bytes().to_vec(),
            watermark: MIN_WATERMARK,
        });
        Ok(split.into_iter().collect())
    }
}

/// The numbers from one to another, dealt out to the readers in as many ranges.
pub(crate) struct NumberSequenceSource {
    pub(crate) from: u64,
    /// Exclusive.
    pub(crate) to: u64,
}

/// What is left of a range.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
struct NumberRange {
    next: u64,
    end: u64,
}

impl NumberRange {
    fn split(self, id: String) -> OperatorResult<Split> {
        let payload = postcard::to_allocvec(&self).map_err(OperatorError::fatal)?;
        Ok(Split { id, payload, watermark: MIN_WATERMARK })
    }
}

impl Source<Records<u64>> for NumberSequenceSource {
    fn enumerator(
        &self,
        parallelism: usize,
        restored: Option<&[u8]>,
    ) -> OperatorResult<Box<dyn SplitEnumerator>> {
        let (count, parts) = (u128::from(self.to.saturating_sub(self.from)), parallelism as u128);
        let bound = |part: u128| self.from + (count * part / parts) as u64;
        let splits: Vec<Split> = (0..parts)
            .rev()
            .map(|part| {
                NumberRange { next: bound(part), end: bound(part + 1) }.split(format!("numbers-{part}"))
            })
            .collect::<OperatorResult<_>>()?;
        Pending::open(restored, || splits)
    }

    fn reader(&self, _: &OperatorContext) -> OperatorResult<Box<dyn SourceReader<Records<u64>>>> {
        Ok(Box::new(NumberReader(Vec::new())))
    }
}

/// The ranges of one subtask; the last is being read.
struct NumberReader(Vec<(String, NumberRange)>);

impl SourceReader<Records<u64>> for NumberReader {
    fn add_split(&mut self, split: Split) -> OperatorResult<()> {
        let range = postcard::from_bytes(&split.payload)
            .map_err(|e| OperatorError::fatal(format!("split {} is damaged: {e}", split.id)))?;
        self.0.push((split.id, range));
        Ok(())
    }

    fn poll(&mut self, _: Timestamp) -> OperatorResult<Poll<Records<u64>>> {
        let Some((id, range)) = self.0.last_mut() else { return Ok(Poll::NeedSplit) };
        let end = range.end.min(range.next.saturating_add(BATCH as u64));
        if range.next >= end {
            let split = id.clone();
            self.0.pop();
            return Ok(Poll::SplitEnd(split));
        }
        let values: Vec<u64> = (range.next..end).collect();
        range.next = end;
        let timestamps = vec![Timestamp::MIN; values.len()];
        Ok(Poll::Batch { split: id.clone(), batch: Records::new(values, timestamps) })
    }

    fn snapshot(&mut self) -> OperatorResult<Vec<Split>> {
        self.0.iter().map(|(id, range)| range.split(id.clone())).collect()
    }
}
