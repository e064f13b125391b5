//! Sources: an enumerator, one per job, that hands out splits, and readers, one per subtask, that read them.
//!
//! Invariant: a split is in the enumerator's snapshot or in exactly one reader's, never in both and never in none.

use std::time::Duration;

use crate::error::OperatorResult;
use crate::operator::OperatorContext;
use crate::time::Timestamp;

/// A part of the input: which, and how far it has been read. Its payload is the source's own encoding.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Split {
    /// Unique within the source.
    pub id: String,
    /// Which part of the input, and the position in it.
    pub payload: Vec<u8>,
    /// The watermark of what was read of it.
    pub watermark: Timestamp,
}

/// The enumerator's answer to a reader that asks for work.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Assignment {
    /// Read this.
    Split(Split),
    /// There will never be more for this reader.
    NoMoreSplits,
}

/// Hands out splits. A pure state machine: it reads nothing while it runs.
pub trait SplitEnumerator: Send {
    /// The next split for the reader `subtask`.
    fn next_split(&mut self, subtask: usize) -> Assignment;

    /// Takes back splits that a restore found in readers; they go out before new ones.
    fn add_splits_back(&mut self, splits: Vec<Split>);

    /// What [`Source::enumerator`] needs to continue: the splits that were not handed out.
    ///
    /// # Errors
    /// When it cannot be encoded.
    fn snapshot(&self) -> OperatorResult<Vec<u8>>;
}

/// What a reader has to give right now.
#[derive(Debug)]
pub enum Poll<B> {
    /// Records of the split with this id (one that was added and has not ended).
    Batch {
        /// The split's id.
        split: String,
        /// Its records.
        batch: B,
    },
    /// This split has been read to its end.
    SplitEnd(String),
    /// Nothing before this processing time.
    WaitUntil(Timestamp),
    /// Every split was read to its end.
    NeedSplit,
}

/// Reads splits on the thread of its subtask. A call to `poll` returns soon: a batch's worth of work.
pub trait SourceReader<B> {
    /// Opens a split at its position.
    ///
    /// # Errors
    /// When it is not there, or is not what it was when the position was taken.
    fn add_split(&mut self, split: Split) -> OperatorResult<()>;

    /// Reads on.
    ///
    /// # Errors
    /// When the input cannot be read or is malformed; the message says where.
    fn poll(&mut self, now_ms: Timestamp) -> OperatorResult<Poll<B>>;

    /// The splits that have not ended, at their positions: all rows returned by `poll` are before them. Their
    /// watermarks are set by the runtime.
    ///
    /// # Errors
    /// When a position cannot be encoded.
    fn snapshot(&mut self) -> OperatorResult<Vec<Split>>;
}

/// A source of batches.
pub trait Source<B>: Send + Sync {
    /// The enumerator, from nothing or from its snapshot. May list files: called once, before tasks run.
    ///
    /// # Errors
    /// When the input is not there, or the snapshot is not of this source.
    fn enumerator(
        &self,
        parallelism: usize,
        restored: Option<&[u8]>,
    ) -> OperatorResult<Box<dyn SplitEnumerator>>;

    /// The reader of one subtask.
    ///
    /// # Errors
    /// When a resource cannot be had.
    fn reader(&self, context: &OperatorContext) -> OperatorResult<Box<dyn SourceReader<B>>>;
}

/// Finds the watermarks of a source: how a split's is found, and when it holds nobody back.
pub trait WatermarkStrategy<B>: Send + Sync {
    /// The generator of one split. `restored` is the watermark of what was read of it before; [`MIN_WATERMARK`] of a
    /// fresh one.
    ///
    /// [`MIN_WATERMARK`]: crate::time::MIN_WATERMARK
    fn generator(&self, restored: Timestamp) -> Box<dyn WatermarkGenerator<B>>;

    /// After this long without a record a split is idle: it holds back nobody's watermark. `None`: never.
    fn idle_timeout(&self) -> Option<Duration> {
        None
    }

    /// With which sources its readers keep pace. `None`: with none.
    fn alignment(&self) -> Option<WatermarkAlignment> {
        None
    }
}

/// A group of sources that keep pace: a reader whose watermark is ahead of the group's smallest by more than `max_drift` reads
/// nothing until the others have come closer. Idle readers, and those at their end, hold nobody back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatermarkAlignment {
    /// Names the group, within the job.
    pub group: String,
    /// How far ahead a reader may be.
    pub max_drift: Duration,
    /// How often a reader tells its watermark at most.
    pub update_interval: Duration,
}

/// Finds the watermark in the batches of one split.
pub trait WatermarkGenerator<B> {
    /// The watermark after this batch, had it been all there is; `None` when it says nothing about time. May give the
    /// records their event times.
    ///
    /// # Errors
    /// When the watermark cannot be computed from a row.
    fn on_batch(&mut self, batch: &mut B) -> OperatorResult<Option<Timestamp>>;
}
