//! Event time: which time a record has, and how far time has advanced.
//!
//! A [`WatermarkStrategy`] says both. Directly behind a source it is the source's own: each split has a generator, and the
//! watermark of a reader is the smallest of its splits. Elsewhere it is an operator, which ignores the watermarks that come
//! in. Invariant: watermarks are emitted per batch, never by wall clock, and never go back; a checkpoint keeps them.
mod generator;
mod operator;

use std::marker::PhantomData;
use std::time::Duration;

use streamkeeper_dataflow::OperatorResult;
use streamkeeper_dataflow::batch::Records;
use streamkeeper_dataflow::source::{self, WatermarkAlignment};
use streamkeeper_dataflow::time::{MIN_WATERMARK, Timestamp};

pub use generator::{BoundedOutOfOrderness, NoWatermarks, WatermarkGenerator, WatermarkOutput};
pub use operator::{AssignLogic, AssignTimestampsAndWatermarks};

use crate::Data;

/// Gives a record its event time.
pub trait TimestampAssigner<T>: Clone + Send + Sync + 'static {
    /// The event time of `record` in milliseconds; `previous` is the one that it had before ([`Timestamp::MIN`]: none).
    fn extract_timestamp(&self, record: &T, previous: Timestamp) -> Timestamp;
}

impl<T, F: Fn(&T, Timestamp) -> Timestamp + Clone + Send + Sync + 'static> TimestampAssigner<T> for F {
    #[inline]
    fn extract_timestamp(&self, record: &T, previous: Timestamp) -> Timestamp {
        self(record, previous)
    }
}

/// Records keep the event times that they have, those of the source.
#[derive(Debug, Clone, Copy)]
pub struct RecordTimestamps;

impl<T> TimestampAssigner<T> for RecordTimestamps {
    #[inline]
    fn extract_timestamp(&self, _: &T, previous: Timestamp) -> Timestamp {
        previous
    }
}

/// How records get their event times, and how watermarks are found.
///
/// ```
/// use std::time::Duration;
/// use streamkeeper_datastream::{StreamExecutionEnvironment, WatermarkStrategy};
///
/// let env = StreamExecutionEnvironment::new();
/// let strategy = WatermarkStrategy::for_bounded_out_of_orderness(Duration::from_secs(5))
///     .with_timestamp_assigner(|(time_ms, _): &(i64, String), _| *time_ms)
///     .with_idleness(Duration::from_secs(60));
/// let words = env
///     .from_collection([(1_000, "to".to_owned()), (2_000, "be".to_owned())])
///     .assign_timestamps_and_watermarks(strategy)
///     .map(|(_, word)| word)
///     .collect();
/// env.execute("words")?;
/// assert_eq!(words.take(), ["to", "be"]);
/// # Ok::<(), streamkeeper_datastream::Error>(())
/// ```
pub struct WatermarkStrategy<T, G = NoWatermarks, A = RecordTimestamps> {
    generator: G,
    assigner: A,
    idleness: Option<Duration>,
    alignment: Option<WatermarkAlignment>,
    records: PhantomData<fn(T)>,
}

impl<T, G: Clone, A: Clone> Clone for WatermarkStrategy<T, G, A> {
    fn clone(&self) -> Self {
        Self {
            generator: self.generator.clone(),
            assigner: self.assigner.clone(),
            idleness: self.idleness,
            alignment: self.alignment.clone(),
            records: PhantomData,
        }
    }
}

impl<T> WatermarkStrategy<T> {
    /// Event times only grow, within a split at least: the watermark is just below the last one.
    pub fn for_monotonous_timestamps() -> WatermarkStrategy<T, BoundedOutOfOrderness> {
        Self::for_bounded_out_of_orderness(Duration::ZERO)
    }

    /// A record comes at most so long after one with a later event time: the watermark is that far, and one millisecond,
    /// below the largest event time.
    pub fn for_bounded_out_of_orderness(delay: Duration) -> WatermarkStrategy<T, BoundedOutOfOrderness> {
        Self::of(BoundedOutOfOrderness::new(delay))
    }

    /// There are no watermarks before the end of the input.
    pub fn no_watermarks() -> Self {
        Self::of(NoWatermarks)
    }

    /// Watermarks by a generator of one's own; each split has a copy.
    ///
    /// ```
    /// use streamkeeper_datastream::{WatermarkGenerator, WatermarkOutput, WatermarkStrategy};
    ///
    /// /// A record that says so ends its minute.
    /// #[derive(Clone)]
    /// struct Punctuated;
    ///
    /// impl WatermarkGenerator<(i64, bool)> for Punctuated {
    ///     fn on_event(&mut self, (_, last): &(i64, bool), time_ms: i64, output: &mut WatermarkOutput) {
    ///         if *last {
    ///             output.emit_watermark(time_ms);
    ///         }
    ///     }
    /// }
    ///
    /// let strategy = WatermarkStrategy::for_generator(Punctuated).with_timestamp_assigner(|(time_ms, _), _| *time_ms);
    /// # let _ = strategy;
    /// ```
    pub fn for_generator<G: WatermarkGenerator<T>>(generator: G) -> WatermarkStrategy<T, G> {
        Self::of(generator)
    }

    fn of<G>(generator: G) -> WatermarkStrategy<T, G> {
        WatermarkStrategy {
            generator,
            assigner: RecordTimestamps,
            idleness: None,
            alignment: None,
            records: PhantomData,
        }
    }
}

impl<T, G, A> WatermarkStrategy<T, G, A> {
    /// Takes a record's event time, in milliseconds, from the record. `assigner` also gets the event time that the record has
    /// so far: the source's, or [`Timestamp::MIN`] when there is none.
    pub fn with_timestamp_assigner<F>(self, assigner: F) -> WatermarkStrategy<T, G, F>
    where
        F: Fn(&T, Timestamp) -> Timestamp + Clone + Send + Sync + 'static,
    {
        WatermarkStrategy {
            generator: self.generator,
            assigner,
            idleness: self.idleness,
            alignment: self.alignment.clone(),
            records: PhantomData,
        }
    }

    /// A split, or an input of the operator, that has had no record for so long holds nobody's watermark back until it has one
    /// again. What it then has may be late.
    pub fn with_idleness(mut self, timeout: Duration) -> Self {
        self.idleness = Some(timeout);
        self
    }

    /// The source keeps pace with the others of `group`: a reader whose watermark is ahead of the smallest in the group by more
    /// than `max_drift` waits until they have come closer. `update_interval` is how often a reader tells its watermark at
    /// most. All readers of a group count from the start; those that have nothing to read hold the others back unless
    /// they are idle ([`WatermarkStrategy::with_idleness`]) or at their end.
    pub fn with_watermark_alignment(
        mut self,
        group: &str,
        max_drift: Duration,
        update_interval: Duration,
    ) -> Self {
        self.alignment = Some(WatermarkAlignment { group: group.to_owned(), max_drift, update_interval });
        self
    }

    /// What is wrong with it; `at_source`: it is for a source.
    pub(crate) fn check(&self, at_source: bool) -> Result<(), String> {
        if self.idleness == Some(Duration::ZERO) {
            return Err("with_idleness: the timeout must be greater than zero".into());
        }
        if self.alignment.is_some() && !at_source {
            return Err("with_watermark_alignment: only sources can wait for others; assign the strategy directly behind \
                        the source"
                .into());
        }
        Ok(())
    }
}

impl<T: Data, G: WatermarkGenerator<T>, A: TimestampAssigner<T>> source::WatermarkStrategy<Records<T>>
    for WatermarkStrategy<T, G, A>
{
    fn generator(&self, restored: Timestamp) -> Box<dyn source::WatermarkGenerator<Records<T>>> {
        let mut generator = self.generator.clone();
        if restored > MIN_WATERMARK {
            generator.restore(restored);
        }
        let output = WatermarkOutput::default();
        Box::new(SplitGenerator { generator, assigner: self.assigner.clone(), output })
    }

    fn idle_timeout(&self) -> Option<Duration> {
        self.idleness
    }

    fn alignment(&self) -> Option<WatermarkAlignment> {
        self.alignment.clone()
    }
}

/// The generator of one split, a batch at a time.
struct SplitGenerator<G, A> {
    generator: G,
    assigner: A,
    output: WatermarkOutput,
}

impl<T: Data, G: WatermarkGenerator<T>, A: TimestampAssigner<T>> source::WatermarkGenerator<Records<T>>
    for SplitGenerator<G, A>
{
    fn on_batch(&mut self, batch: &mut Records<T>) -> OperatorResult<Option<Timestamp>> {
        for (value, timestamp) in batch.values.iter().zip(&mut batch.timestamps) {
            *timestamp = self.assigner.extract_timestamp(value, *timestamp);
            self.generator.on_event(value, *timestamp, &mut self.output);
        }
        self.generator.on_periodic_emit(&mut self.output);
        Ok(Some(self.output.watermark()).filter(|watermark| *watermark > MIN_WATERMARK))
    }
}
