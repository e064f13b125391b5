//! A task: the loop in which one subtask takes mail, input and time, one step after the other, on a thread of its own.
//!
//! Invariant: there is one place to wait (`Shared::wait`), and a step is taken only when every output has room.

use std::any::Any;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::batch::Batch;
use crate::chain::{Chain, Link};
use crate::channel::Receiver;
use crate::config::ConfigSnapshot;
use crate::element::{Barrier, CheckpointId, Element};
use crate::error::{Error, OperatorError, OperatorResult};
use crate::exchange::TaskOutput;
use crate::fault;
use crate::gate::{Gate, GateEvent};
use crate::graph::{OperatorNode, VertexId};
use crate::key_group::range_of;
use crate::mailbox::{Mail, Mailbox};
use crate::metrics::TaskMetrics;
use crate::operator::{OperatorContext, Output};
use crate::source::{Assignment, Poll, Source, SourceReader, Split, WatermarkStrategy};
use crate::state::{RestoredState, SnapshotFn, StateSegment};
use crate::time::{Clock, MAX_WATERMARK, MIN_WATERMARK, Timestamp};

/// Name and fingerprint of the list state that holds a source's splits.
pub(crate) const SPLITS: (&str, &str) = ("$splits", "split v1");

/// Which subtask, of which attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId {
    /// The vertex.
    pub vertex: VertexId,
    /// Index within the vertex.
    pub subtask: usize,
    /// How often it had been started before.
    pub attempt: u32,
}

/// What the JobManager is told, mostly by tasks.
pub(crate) enum JobEvent {
    /// A source's reader wants another split.
    RequestSplit(TaskId),
    /// The barrier has passed; here is what to write.
    Snapshot { task: TaskId, checkpoint: CheckpointId, state: Vec<(String, SnapshotFn)> },
    /// Input has ended and all results are emitted.
    Finished(TaskId),
    /// The thread has ended.
    Exited { task: TaskId, failure: Option<OperatorError> },
    /// The writer's thread is done: size in bytes and retained checkpoints, or why not.
    CheckpointWritten { checkpoint: CheckpointId, result: Result<(u64, Vec<CheckpointId>), Error> },
    /// The configuration has changed.
    Reconfigure(Arc<ConfigSnapshot>),
    /// The user wants the job to stop.
    Cancel,
}

/// What a body is made from.
pub(crate) struct TaskSetup {
    pub(crate) id: TaskId,
    pub(crate) parallelism: usize,
    pub(crate) max_parallelism: u16,
    pub(crate) lineage: String,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Arc<TaskMetrics>,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) events: mpsc::Sender<JobEvent>,
    pub(crate) outputs: Vec<Box<dyn Any + Send>>,
    pub(crate) inputs: Vec<Box<dyn Any + Send>>,
    /// The configuration in force.
    pub(crate) config: Arc<ConfigSnapshot>,
    /// State of the restored checkpoint; empty on a fresh start.
    pub(crate) restored: Arc<Vec<StateSegment>>,
    /// The restored checkpoint was taken after this task had finished.
    pub(crate) restored_finished: bool,
}

impl TaskSetup {
    /// What the operator `uid` is told when it is opened.
    fn context(&self, uid: &str, name: &str) -> OperatorResult<OperatorContext> {
        let key_groups = range_of(self.id.subtask, self.parallelism, self.max_parallelism);
        let segments: Vec<StateSegment> = self.restored.iter().filter(|s| s.uid == uid).cloned().collect();
        let restored =
            RestoredState::share(&segments, self.id.subtask, self.parallelism, key_groups.clone())?;
        Ok(OperatorContext {
            uid: uid.to_owned(),
            name: name.to_owned(),
            subtask: self.id.subtask,
            parallelism: self.parallelism,
            max_parallelism: self.max_parallelism,
            key_groups,
            attempt: self.id.attempt,
            lineage: self.lineage.clone(),
            config: self.config.clone(),
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
            waker: self.mailbox.signal().clone(),
            restored,
        })
    }

    fn open_chain<B: Batch>(&self, nodes: &[OperatorNode<B, B>]) -> OperatorResult<Chain<B>> {
        let open = |node: &OperatorNode<B, B>| Link::open(node, &self.context(&node.uid, &node.name)?);
        Ok(Chain(nodes.iter().map(open).collect::<OperatorResult<_>>()?))
    }
}

/// The loop of one subtask, its types erased.
pub(crate) trait TaskBody {
    /// Runs until told to exit, or cancelled.
    fn run(&mut self) -> OperatorResult<()>;
}

enum WaitFor {
    Input,
    Room,
}

/// What both kinds of task have in common.
struct Shared<O> {
    id: TaskId,
    mailbox: Arc<Mailbox>,
    events: mpsc::Sender<JobEvent>,
    clock: Arc<dyn Clock>,
    metrics: Arc<TaskMetrics>,
    out: TaskOutput<O>,
    chain: Chain<O>,
    out_watermark: Timestamp,
    busy_since: Instant,
    config: Arc<ConfigSnapshot>,
}

impl<O: Batch> Shared<O> {
    fn new(setup: &mut TaskSetup, chain: Chain<O>) -> OperatorResult<Self> {
        Ok(Self {
            id: setup.id,
            mailbox: setup.mailbox.clone(),
            events: setup.events.clone(),
            clock: setup.clock.clone(),
            metrics: setup.metrics.clone(),
            out: TaskOutput::new(std::mem::take(&mut setup.outputs), setup.metrics.clone())?,
            chain,
            out_watermark: MIN_WATERMARK,
            busy_since: Instant::now(),
            config: setup.config.clone(),
        })
    }

    /// Tells the JobManager. A JobManager that is gone cancels the task through its mailbox.
    fn tell(&self, event: JobEvent) {
        let _ = self.events.send(event);
    }

    /// Waits for mail, input or room, but not beyond a timer's or a buffer's time.
    fn wait(&mut self, reason: WaitFor, processing_time: Option<Timestamp>) -> OperatorResult<()> {
        let start = Instant::now();
        let flush_at = self.out.flush_deadline();
        if matches!(reason, WaitFor::Input) && flush_at.is_some_and(|at| at <= start) {
            return self.out.flush();
        }
        let timer = processing_time.map(|due| {
            let left_ms = due.saturating_sub(self.clock.now_ms()).clamp(0, 3_600_000);
            start + Duration::from_millis(left_ms as u64)
        });
        let deadline = timer.into_iter().chain(flush_at).min();
        self.mailbox.signal().wait(deadline);
        let end = Instant::now();
        self.metrics.busy_ns.add((start - self.busy_since).as_nanos() as u64);
        let waited = (end - start).as_nanos() as u64;
        match reason {
            WaitFor::Input => self.metrics.idle_ns.add(waited),
            WaitFor::Room => self.metrics.back_pressured_ns.add(waited),
        }
        self.busy_since = end;
        Ok(())
    }

    /// Small batches are sent in time also by a task that never waits.
    fn flush_if_due(&mut self) -> OperatorResult<()> {
        if self.out.flush_deadline().is_some_and(|at| at <= Instant::now()) {
            self.out.flush()
        } else {
            Ok(())
        }
    }

    fn forward_watermark(&mut self, watermark: Timestamp) -> OperatorResult<()> {
        if watermark > self.out_watermark {
            self.out_watermark = watermark;
            self.metrics.current_output_watermark.set(watermark);
            self.out.broadcast(&Element::Watermark(watermark))?;
        }
        Ok(())
    }

    fn on_chain_timers(&mut self) -> OperatorResult<()> {
        if let Some(due) = self.chain.next_processing_time() {
            let now = self.clock.now_ms();
            if due <= now {
                self.chain.on_processing_time(now, &mut self.out)?;
            }
        }
        Ok(())
    }

    /// Passes the barrier on, and the configuration that it brings to the chain. Returns it if it is another, for the head.
    fn pass_barrier(
        &mut self,
        barrier: Barrier,
        state: Vec<(String, SnapshotFn)>,
    ) -> OperatorResult<Option<Arc<ConfigSnapshot>>> {
        let (checkpoint, config) = (barrier.checkpoint, barrier.config.clone());
        self.out.broadcast(&Element::Barrier(barrier))?;
        self.tell(JobEvent::Snapshot { task: self.id, checkpoint, state });
        if Arc::ptr_eq(&config, &self.config) || config == self.config {
            return Ok(None);
        }
        self.chain.on_config(&config)?;
        self.config = config.clone();
        Ok(Some(config))
    }
}

/// A task that reads from channels.
struct OperatorTask<I, O> {
    shared: Shared<O>,
    head: Link<I, O>,
    gate: Gate<I>,
    finished: bool,
    restored_finished: bool,
}

pub(crate) fn operator_body<I: Batch, O: Batch>(
    head: &OperatorNode<I, O>,
    rest: &[OperatorNode<O, O>],
    indices: &[usize],
    mut setup: TaskSetup,
) -> OperatorResult<Box<dyn TaskBody>> {
    let mut receivers: Vec<(usize, Box<dyn Receiver<I>>)> = Vec::new();
    for (index, input) in indices.iter().zip(std::mem::take(&mut setup.inputs)) {
        let channels = input
            .downcast::<Vec<Box<dyn Receiver<I>>>>()
            .map_err(|_| OperatorError::fatal("an edge carries another type than its consumer takes"))?;
        receivers.extend(channels.into_iter().map(|channel| (*index, channel)));
    }
    let head = Link::open(head, &setup.context(&head.uid, &head.name)?)?;
    let chain = setup.open_chain(rest)?;
    let restored_finished = setup.restored_finished;
    let shared = Shared::new(&mut setup, chain)?;
    Ok(Box::new(OperatorTask {
        shared,
        head,
        gate: Gate::new(receivers),
        finished: false,
        restored_finished,
    }))
}

impl<I: Batch, O: Batch> OperatorTask<I, O> {
    /// Handles all mail; true when the task has to leave.
    fn handle_mail(&mut self) -> OperatorResult<bool> {
        while let Some(mail) = self.shared.mailbox.take() {
            match mail {
                Mail::CheckpointComplete(checkpoint) => {
                    self.head.operator.on_checkpoint_complete(checkpoint)?;
                    self.shared.chain.on_checkpoint_complete(checkpoint)?;
                }
                Mail::Exit => return Ok(true),
                Mail::Trigger(_) | Mail::Assign(_) => {
                    return Err(OperatorError::fatal("an order for a source reached a task that is none"));
                }
            }
        }
        Ok(false)
    }

    fn next_processing_time(&self) -> Option<Timestamp> {
        self.head
            .operator
            .next_processing_time()
            .into_iter()
            .chain(self.shared.chain.next_processing_time())
            .min()
    }

    fn on_timers(&mut self) -> OperatorResult<()> {
        if let Some(due) = self.head.operator.next_processing_time() {
            let now = self.shared.clock.now_ms();
            if due <= now {
                let shared = &mut self.shared;
                self.head.operator.on_processing_time(now, &mut shared.chain.tail(&mut shared.out))?;
            }
        }
        self.shared.on_chain_timers()
    }

    fn on_barrier(&mut self, barrier: Barrier) -> OperatorResult<()> {
        let shared = &mut self.shared;
        self.head.operator.flush(&mut shared.chain.tail(&mut shared.out))?;
        shared.chain.flush(&mut shared.out)?;
        let mut state = Vec::new();
        if let Some(snapshot) = self.head.operator.snapshot(barrier.checkpoint)? {
            state.push((self.head.uid.clone(), snapshot));
        }
        shared.chain.snapshot(barrier.checkpoint, &mut state)?;
        match shared.pass_barrier(barrier, state)? {
            Some(config) => self.head.operator.on_config(&config),
            None => Ok(()),
        }
    }

    fn on_end(&mut self) -> OperatorResult<()> {
        let shared = &mut self.shared;
        if !self.restored_finished {
            self.head.operator.finish(&mut shared.chain.tail(&mut shared.out))?;
            shared.chain.finish(&mut shared.out)?;
        }
        shared.out.broadcast(&Element::End)?;
        shared.tell(JobEvent::Finished(shared.id));
        self.finished = true;
        Ok(())
    }
}

impl<I: Batch, O: Batch> TaskBody for OperatorTask<I, O> {
    fn run(&mut self) -> OperatorResult<()> {
        loop {
            if self.shared.mailbox.is_cancelled() || self.handle_mail()? {
                return Ok(());
            }
            if !self.shared.out.has_room() {
                self.shared.wait(WaitFor::Room, None)?;
                continue;
            }
            if !self.finished {
                self.on_timers()?;
            }
            self.shared.flush_if_due()?;
            let shared = &mut self.shared;
            match self.gate.next() {
                GateEvent::Batch { input, batch } => {
                    shared.metrics.num_records_in.add(batch.num_rows() as u64);
                    shared.metrics.num_bytes_in.add(batch.num_bytes() as u64);
                    self.head.operator.on_batch(input, batch, &mut shared.chain.tail(&mut shared.out))?;
                }
                GateEvent::Watermark(watermark) => {
                    shared.metrics.current_input_watermark.set(watermark);
                    let forward = self
                        .head
                        .operator
                        .on_watermark(watermark, &mut shared.chain.tail(&mut shared.out))?;
                    let forward = shared.chain.on_watermark(forward, &mut shared.out)?;
                    shared.forward_watermark(forward)?;
                }
                GateEvent::Idle(idle) => {
                    shared.out.broadcast(&if idle { Element::Idle } else { Element::Active })?;
                }
                GateEvent::Aligned(barrier) => self.on_barrier(barrier)?,
                GateEvent::End => self.on_end()?,
                GateEvent::Nothing => {
                    if self.gate.is_aligning() {
                        fault::point("aligning");
                    }
                }
                GateEvent::Empty => {
                    let timer = if self.finished { None } else { self.next_processing_time() };
                    self.shared.wait(WaitFor::Input, timer)?;
                }
            }
        }
    }
}

/// A task that reads from the outside.
struct SourceTask<B> {
    shared: Shared<B>,
    uid: String,
    reader: Box<dyn SourceReader<B>>,
    watermarks: Option<Arc<dyn WatermarkStrategy<B>>>,
    /// The watermark of each split that has not ended.
    splits: Vec<(String, Timestamp)>,
    watermark: Timestamp,
    requested: bool,
    no_more_splits: bool,
    finished: bool,
    restored_finished: bool,
    idle: bool,
    last_record: Instant,
}

pub(crate) fn source_body<B: Batch>(
    uid: &str,
    name: &str,
    source: &dyn Source<B>,
    watermarks: Option<Arc<dyn WatermarkStrategy<B>>>,
    rest: &[OperatorNode<B, B>],
    mut setup: TaskSetup,
) -> OperatorResult<Box<dyn TaskBody>> {
    let reader = source.reader(&setup.context(uid, name)?)?;
    let chain = setup.open_chain(rest)?;
    let restored_finished = setup.restored_finished;
    let shared = Shared::new(&mut setup, chain)?;
    Ok(Box::new(SourceTask {
        shared,
        uid: uid.to_owned(),
        reader,
        watermarks,
        splits: Vec::new(),
        watermark: MIN_WATERMARK,
        requested: false,
        no_more_splits: false,
        finished: false,
        restored_finished,
        idle: false,
        last_record: Instant::now(),
    }))
}

impl<B: Batch> SourceTask<B> {
    fn handle_mail(&mut self) -> OperatorResult<bool> {
        while let Some(mail) = self.shared.mailbox.take() {
            match mail {
                Mail::Assign(Assignment::Split(split)) => {
                    self.requested = false;
                    self.splits.push((split.id.clone(), split.watermark));
                    self.reader.add_split(split)?;
                }
                Mail::Assign(Assignment::NoMoreSplits) => {
                    self.requested = false;
                    self.no_more_splits = true;
                }
                Mail::Trigger(barrier) => self.on_trigger(barrier)?,
                Mail::CheckpointComplete(checkpoint) => {
                    self.shared.chain.on_checkpoint_complete(checkpoint)?
                }
                Mail::Exit => return Ok(true),
            }
        }
        Ok(false)
    }

    fn on_trigger(&mut self, barrier: Barrier) -> OperatorResult<()> {
        let shared = &mut self.shared;
        shared.chain.flush(&mut shared.out)?;
        let mut splits = self.reader.snapshot()?;
        for split in &mut splits {
            if let Some((_, watermark)) = self.splits.iter().find(|(id, _)| *id == split.id) {
                split.watermark = *watermark;
            }
        }
        let write: SnapshotFn = Box::new(move |writer| {
            for split in &splits {
                writer.list(SPLITS.0, SPLITS.1, encode_split(split)?);
            }
            Ok(())
        });
        let mut state = vec![(self.uid.clone(), write)];
        shared.chain.snapshot(barrier.checkpoint, &mut state)?;
        shared.pass_barrier(barrier, state).map(|_| ())
    }

    fn on_batch(&mut self, split: &str, batch: B) -> OperatorResult<()> {
        let shared = &mut self.shared;
        shared.metrics.num_records_in.add(batch.num_rows() as u64);
        shared.metrics.num_bytes_in.add(batch.num_bytes() as u64);
        if self.watermarks.as_ref().is_some_and(|w| w.idle_timeout().is_some()) {
            self.last_record = Instant::now();
            if std::mem::take(&mut self.idle) {
                shared.out.broadcast(&Element::Active)?;
            }
        }
        let seen = self.watermarks.as_ref().map(|w| w.watermark(&batch)).transpose()?.flatten();
        shared.chain.tail(&mut shared.out).emit(batch)?;
        let Some(seen) = seen else { return Ok(()) };
        if let Some((_, watermark)) = self.splits.iter_mut().find(|(id, _)| id == split) {
            *watermark = seen.max(*watermark);
        }
        let minimum = self.splits.iter().map(|(_, watermark)| *watermark).min().unwrap_or(MIN_WATERMARK);
        self.advance(minimum)
    }

    fn advance(&mut self, watermark: Timestamp) -> OperatorResult<()> {
        if watermark > self.watermark {
            self.watermark = watermark;
            let shared = &mut self.shared;
            shared.metrics.current_input_watermark.set(watermark);
            let forward = shared.chain.on_watermark(watermark, &mut shared.out)?;
            shared.forward_watermark(forward)?;
        }
        Ok(())
    }

    /// When the reader becomes idle if nothing comes.
    fn idle_at(&self) -> Option<Instant> {
        let timeout = self.watermarks.as_ref()?.idle_timeout()?;
        (!self.idle && !self.finished).then(|| self.last_record + timeout)
    }

    fn wait(&mut self, until: Option<Timestamp>) -> OperatorResult<()> {
        let mut timer = until.into_iter().chain(self.shared.chain.next_processing_time()).min();
        if let Some(idle_at) = self.idle_at() {
            let left = idle_at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.idle = true;
                self.shared.out.broadcast(&Element::Idle)?;
            } else {
                let due = self.shared.clock.now_ms() + left.as_millis() as i64 + 1;
                timer = Some(timer.map_or(due, |t| t.min(due)));
            }
        }
        self.shared.wait(WaitFor::Input, timer)
    }

    fn finish(&mut self) -> OperatorResult<()> {
        self.advance(MAX_WATERMARK)?;
        let shared = &mut self.shared;
        if !self.restored_finished {
            shared.chain.finish(&mut shared.out)?;
        }
        shared.out.broadcast(&Element::End)?;
        shared.tell(JobEvent::Finished(shared.id));
        self.finished = true;
        Ok(())
    }
}

impl<B: Batch> TaskBody for SourceTask<B> {
    fn run(&mut self) -> OperatorResult<()> {
        loop {
            if self.shared.mailbox.is_cancelled() || self.handle_mail()? {
                return Ok(());
            }
            if !self.shared.out.has_room() {
                self.shared.wait(WaitFor::Room, None)?;
                continue;
            }
            if self.finished {
                self.shared.wait(WaitFor::Input, None)?;
                continue;
            }
            self.shared.on_chain_timers()?;
            self.shared.flush_if_due()?;
            match self.reader.poll(self.shared.clock.now_ms())? {
                Poll::Batch { split, batch } => self.on_batch(&split, batch)?,
                Poll::SplitEnd(split) => self.splits.retain(|(id, _)| *id != split),
                Poll::WaitUntil(due) => self.wait(Some(due))?,
                Poll::NeedSplit if self.no_more_splits => self.finish()?,
                Poll::NeedSplit => {
                    if !self.requested {
                        self.requested = true;
                        self.shared.tell(JobEvent::RequestSplit(self.shared.id));
                    }
                    self.wait(None)?;
                }
            }
        }
    }
}

fn encode_split(split: &Split) -> OperatorResult<Vec<u8>> {
    postcard::to_allocvec(split)
        .map_err(|e| OperatorError::fatal(format!("cannot encode split {}: {e}", split.id)))
}

/// Reads what a source wrote under [`SPLITS`].
pub(crate) fn decode_split(bytes: &[u8]) -> OperatorResult<Split> {
    postcard::from_bytes(bytes)
        .map_err(|e| OperatorError::fatal(format!("a split in the checkpoint is damaged: {e}")))
}
