//! VALUES as a source: one split, which the first reader that asks gets.

use arrow::array::RecordBatch;
use streamkeeper_dataflow::OperatorResult;
use streamkeeper_dataflow::operator::OperatorContext;
use streamkeeper_dataflow::source::{Assignment, Poll, Source, SourceReader, Split, SplitEnumerator};
use streamkeeper_dataflow::time::{MIN_WATERMARK, Timestamp};

/// Constant rows.
#[derive(Debug)]
pub(crate) struct ValuesSource {
    pub(crate) rows: RecordBatch,
}

const SPLIT: &str = "values";

impl Source<RecordBatch> for ValuesSource {
    fn enumerator(
        &self,
        _parallelism: usize,
        restored: Option<&[u8]>,
    ) -> OperatorResult<Box<dyn SplitEnumerator>> {
        let split = Split { id: SPLIT.to_owned(), payload: Vec::new(), watermark: MIN_WATERMARK };
        let splits = if restored.is_some_and(|bytes| bytes == [0]) { vec![] } else { vec![split] };
        Ok(Box::new(Enumerator { splits }))
    }

    fn reader(&self, _context: &OperatorContext) -> OperatorResult<Box<dyn SourceReader<RecordBatch>>> {
        Ok(Box::new(Reader { rows: self.rows.clone(), state: State::Empty }))
    }
}

struct Enumerator {
    splits: Vec<Split>,
}

impl SplitEnumerator for Enumerator {
    fn next_split(&mut self, _subtask: usize) -> Assignment {
        self.splits.pop().map_or(Assignment::NoMoreSplits, Assignment::Split)
    }

    fn add_splits_back(&mut self, splits: Vec<Split>) {
        self.splits.extend(splits);
    }

    fn snapshot(&self) -> OperatorResult<Vec<u8>> {
        Ok(vec![u8::from(!self.splits.is_empty())])
    }
}

enum State {
    Empty,
    /// The split, and whether its rows are out.
    Reading(Split, bool),
}

struct Reader {
    rows: RecordBatch,
    state: State,
}

impl SourceReader<RecordBatch> for Reader {
    fn add_split(&mut self, split: Split) -> OperatorResult<()> {
        let done = !split.payload.is_empty();
        self.state = State::Reading(split, done);
        Ok(())
    }

    fn poll(&mut self, _now_ms: Timestamp) -> OperatorResult<Poll<RecordBatch>> {
        match &mut self.state {
            State::Empty => Ok(Poll::NeedSplit),
            State::Reading(split, done) if !*done => {
                *done = true;
                split.payload = vec![1];
                Ok(Poll::Batch { split: SPLIT.to_owned(), batch: self.rows.clone() })
            }
            State::Reading(..) => {
                self.state = State::Empty;
                Ok(Poll::SplitEnd(SPLIT.to_owned()))
            }
        }
    }

    fn snapshot(&mut self) -> OperatorResult<Vec<Split>> {
        Ok(match &self.state {
            State::Empty => Vec::new(),
            State::Reading(split, _) => vec![split.clone()],
        })
    }
}
