//! Operators without a job: for tests.
//!
//! An [`OperatorHarness`] has one subtask of a chain of operators, and does to it what a task would: it gives it records,
//! watermarks and processing time, one call after the other, on the caller's thread. Nothing happens by itself, so a test is
//! the same each time.
mod input;
mod output;
mod snapshot;

use std::sync::Arc;
use std::time::{Duration, Instant};

use streamkeeper_dataflow::batch::{Records, Rows};
use streamkeeper_dataflow::element::CheckpointId;
use streamkeeper_dataflow::key_group::range_of;
use streamkeeper_dataflow::live_config::ConfigSnapshot;
use streamkeeper_dataflow::operator::{Operator, OperatorContext, OperatorFactory};
use streamkeeper_dataflow::side_output::SideOutputs;
use streamkeeper_dataflow::state::{RestoredState, StateWriter};
use streamkeeper_dataflow::time::{Clock, MAX_WATERMARK, MIN_WATERMARK, ManualClock, Timestamp};

pub use self::output::HarnessOutput;
use self::output::Recorder;
pub use self::snapshot::HarnessSnapshot;
use crate::error::Error;
use crate::side::OutputTag;
use crate::{Data, chain::Feed};

/// One subtask of a chain of operators, in the hands of a test: Flink's `OneInputStreamOperatorTestHarness`,
/// `KeyedOneInputStreamOperatorTestHarness` and `TwoInputStreamOperatorTestHarness` in one.
///
/// ```
/// use streamkeeper_datastream::{Collector, DataStream, KeyedContext, KeyedProcessFunction, OpenContext, OperatorHarness, Result, TimeDomain};
/// use streamkeeper_datastream::state::ValueState;
///
/// /// Emits a word's count when event time has passed 10 ms.
/// #[derive(Clone)]
/// struct Count;
///
/// impl KeyedProcessFunction<String, String> for Count {
///     type Out = (String, u64);
///     type State = ValueState<u64>;
///
///     fn open(&mut self, context: &mut OpenContext<'_, String>) -> Result<ValueState<u64>> {
///         context.value_state("count")
///     }
///     fn process_element(
///         &mut self, _: String, count: &mut ValueState<u64>, context: &mut KeyedContext<'_, String>, _: &mut Collector<(String, u64)>,
///     ) -> Result {
///         *count.get_or_insert_with(|| 0) += 1;
///         context.register_event_time_timer(10);
///         Ok(())
///     }
///     fn on_timer(
///         &mut self, _: i64, _: TimeDomain, count: &mut ValueState<u64>, context: &mut KeyedContext<'_, String>, out: &mut Collector<(String, u64)>,
///     ) -> Result {
///         out.collect((context.current_key().clone(), count.take().unwrap_or_default()));
///         Ok(())
///     }
/// }
///
/// let mut harness = OperatorHarness::new(|words: DataStream<String>| words.key_by(String::clone).process(Count))?;
/// harness.push("to".to_owned(), 1)?;
/// harness.push("to".to_owned(), 2)?;
/// harness.watermark(9)?;
/// assert_eq!(harness.take_records(), []);
///
/// // What it keeps goes on in another subtask, at any parallelism.
/// let snapshot = harness.snapshot()?;
/// let mut counts = Vec::new();
/// for subtask in 0..2 {
///     let mut restored = harness.restore(&snapshot, subtask, 2)?;
///     restored.watermark(10)?;
///     counts.extend(restored.take_records());
/// }
/// assert_eq!(counts, [(("to".to_owned(), 2), 10)]);
/// # Ok::<(), streamkeeper_datastream::Error>(())
/// ```
///
/// All methods that run the operator fail with what it says when it fails.
pub struct OperatorHarness<B, O> {
    factory: OperatorFactory<B, Records<O>>,
    uid: String,
    operator: Box<dyn Operator<B, Records<O>>>,
    context: OperatorContext,
    clock: Arc<ManualClock>,
    recorder: Recorder<O>,
    /// The watermark of each input; of both, the smaller counts.
    inputs: Vec<Timestamp>,
    watermark: Timestamp,
    checkpoint: CheckpointId,
    route: input::Route<B>,
}

impl<B: Feed, O: Data> OperatorHarness<B, O> {
    fn open(
        operator: input::Harnessed<B, O>,
        snapshot: &HarnessSnapshot,
        subtask: usize,
        parallelism: usize,
        now_ms: Timestamp,
    ) -> Result<Self, Error> {
        let input::Harnessed { uid, factory, inputs, route } = operator;
        if subtask >= parallelism {
            return Err(Error::InvalidJob(format!("there is no subtask {subtask} of {parallelism}")));
        }
        let clock = Arc::new(ManualClock::new(now_ms));
        let detached = OperatorContext::detached(&uid, subtask, parallelism);
        let key_groups = range_of(subtask, parallelism, detached.max_parallelism);
        let restored = RestoredState::share(&snapshot.of(&uid), subtask, parallelism, key_groups.clone())?;
        let context = OperatorContext {
            key_groups,
            config: snapshot.config.clone(),
            clock: clock.clone(),
            restored,
            segments: Arc::new(snapshot.segments.clone()),
            side_outputs: SideOutputs::all(),
            ..detached
        };
        let mut operator = factory();
        operator.open(&context)?;
        operator.on_config(&context.config)?;
        Ok(Self {
            factory,
            uid,
            operator,
            context: context.without_state(),
            clock,
            recorder: Recorder::default(),
            inputs: vec![MIN_WATERMARK; inputs],
            watermark: MIN_WATERMARK,
            checkpoint: snapshot.checkpoint,
            route,
        })
    }

    /// Another subtask of the same operators, which goes on from a snapshot, at the same processing time.
    ///
    /// # Errors
    /// When the state does not fit the operators, or there is no such subtask.
    pub fn restore(
        &self,
        snapshot: &HarnessSnapshot,
        subtask: usize,
        parallelism: usize,
    ) -> Result<Self, Error> {
        let operator = input::Harnessed {
            uid: self.uid.clone(),
            factory: self.factory.clone(),
            inputs: self.inputs.len(),
            route: self.route.clone(),
        };
        Self::open(operator, snapshot, subtask, parallelism, self.clock.now_ms())
    }

    /// Another subtask of the same operators, without any state.
    ///
    /// # Errors
    /// When it cannot be opened, or there is no such subtask.
    pub fn subtask(&self, subtask: usize, parallelism: usize) -> Result<Self, Error> {
        self.restore(&HarnessSnapshot::default(), subtask, parallelism)
    }

    /// Captures the state, as a checkpoint does.
    ///
    /// # Errors
    /// Those of the operators.
    pub fn snapshot(&mut self) -> Result<HarnessSnapshot, Error> {
        self.operator.flush(&mut self.recorder)?;
        self.checkpoint += 1;
        let mut parts = Vec::new();
        self.operator.snapshot_parts(&self.uid, self.checkpoint, &mut parts)?;
        let mut segments = Vec::new();
        for (uid, write) in parts {
            let mut writer = StateWriter::new(uid);
            write(&mut writer)?;
            segments.extend(writer.into_segments());
        }
        Ok(HarnessSnapshot { checkpoint: self.checkpoint, config: self.context.config.clone(), segments })
    }

    /// Puts a configuration into force, as a barrier does that brings one; snapshots from here on hold it.
    ///
    /// # Errors
    /// Those of the operators.
    pub fn set_config(&mut self, config: ConfigSnapshot) -> Result<(), Error> {
        self.context.config = Arc::new(config);
        Ok(self.operator.on_config(&self.context.config)?)
    }

    /// The latest snapshot is durable.
    ///
    /// # Errors
    /// Those of the operators.
    pub fn checkpoint_complete(&mut self) -> Result<(), Error> {
        Ok(self.operator.on_checkpoint_complete(self.checkpoint)?)
    }

    /// Gives a batch to an input.
    fn batch(&mut self, input: usize, batch: B) -> Result<(), Error> {
        self.operator.on_batch(input, batch, &mut self.recorder)?;
        self.take_watermark()
    }

    fn take_watermark(&mut self) -> Result<(), Error> {
        if let Some(idle) = self.operator.take_idle() {
            self.recorder.idle(idle);
        }
        if let Some(watermark) = self.operator.take_watermark(&mut self.recorder)? {
            self.recorder.watermark(watermark);
        }
        Ok(())
    }

    fn input_watermark(&mut self, input: usize, watermark: Timestamp) -> Result<(), Error> {
        self.inputs[input] = self.inputs[input].max(watermark);
        let smallest = self.inputs.iter().copied().min().unwrap_or(MIN_WATERMARK);
        if smallest > self.watermark {
            self.watermark = smallest;
            let forward = self.operator.on_watermark(smallest, &mut self.recorder)?;
            self.recorder.watermark(forward);
        }
        Ok(())
    }

    /// Advances event time on all inputs.
    ///
    /// # Errors
    /// Those of the operators.
    pub fn watermark(&mut self, watermark: Timestamp) -> Result<(), Error> {
        (0..self.inputs.len()).try_for_each(|input| self.input_watermark(input, watermark))
    }

    /// Tells the operators that all inputs are idle, or one is active again.
    pub fn idle(&mut self, idle: bool) {
        if let Some(idle) = self.operator.on_idle(idle) {
            self.recorder.idle(idle);
        }
    }

    /// Sets the clock, and lets happen what is due.
    ///
    /// # Errors
    /// Those of the operators.
    pub fn set_processing_time(&mut self, now_ms: Timestamp) -> Result<(), Error> {
        self.clock.set(now_ms);
        self.run_due()
    }

    fn run_due(&mut self) -> Result<(), Error> {
        let now_ms = self.clock.now_ms();
        while self.operator.next_processing_time().is_some_and(|due| due <= now_ms) {
            self.operator.on_processing_time(now_ms, &mut self.recorder)?;
            self.take_watermark()?;
        }
        Ok(())
    }

    /// The earliest processing time at which something is due.
    pub fn next_processing_time(&self) -> Option<Timestamp> {
        self.operator.next_processing_time()
    }

    /// The clock's time.
    pub fn processing_time(&self) -> Timestamp {
        self.clock.now_ms()
    }

    /// Whether the operators take more input now: false while they have as much in flight as they may.
    pub fn wants_input(&self) -> bool {
        self.operator.wants_input()
    }

    /// Waits until nothing is in flight, for operators that wait for other threads. The clock stands still meanwhile.
    ///
    /// # Errors
    /// Those of the operators; [`Error::InvalidJob`] when something is in flight after `timeout`.
    pub fn drain(&mut self, timeout: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + timeout;
        loop {
            self.run_due()?;
            if self.operator.is_drained() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let message = format!("there are records in flight after {} ms", timeout.as_millis());
                return Err(Error::InvalidJob(message));
            }
            self.context.waker.wait(Some(deadline));
        }
    }

    /// Ends the input: the last watermark, and what the operators do at the end.
    ///
    /// # Errors
    /// Those of the operators.
    pub fn finish(&mut self) -> Result<(), Error> {
        self.watermark(MAX_WATERMARK)?;
        Ok(self.operator.finish(&mut self.recorder)?)
    }

    /// Takes what came out so far: records, watermarks and idleness, in order.
    pub fn take_output(&mut self) -> Vec<HarnessOutput<O>> {
        self.recorder.take()
    }

    /// Takes the records that came out so far, with their event times, and drops the rest.
    pub fn take_records(&mut self) -> Vec<(O, Timestamp)> {
        self.take_output().into_iter().filter_map(HarnessOutput::into_record).collect()
    }

    /// Takes what came out at a side output so far, with the event times.
    pub fn take_side_output<X: Data>(&mut self, tag: &OutputTag<X>) -> Vec<(X, Timestamp)> {
        let Some(output) = self.context.side_outputs.get::<Records<X>>(tag.id()) else { return Vec::new() };
        output.take().into_iter().flat_map(|batch| batch.values.into_iter().zip(batch.timestamps)).collect()
    }

    /// The watermark that went out last; [`MIN_WATERMARK`] before the first.
    pub fn output_watermark(&self) -> Timestamp {
        self.recorder.last_watermark()
    }

    /// Whether a record goes to this subtask: not when its key belongs to another.
    fn routes(&self, batch: &B) -> Result<bool, Error> {
        let Some(hash) = (self.route)(batch)? else { return Ok(true) };
        let key_group = streamkeeper_dataflow::key_group::key_group(hash, self.context.max_parallelism);
        Ok(self.context.key_groups.contains(&key_group))
    }
}

impl<B: Rows, O> std::fmt::Debug for OperatorHarness<B, O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (subtask, parallelism) = (self.context.subtask, self.context.parallelism);
        write!(f, "OperatorHarness({} of {parallelism}, watermark {})", subtask, self.watermark)
    }
}
