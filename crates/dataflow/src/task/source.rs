//! A task that reads from the outside.

use std::sync::Arc;
use std::time::Instant;

use crate::batch::Batch;
use crate::chain::Link;
use crate::element::{Barrier, BarrierKind, CheckpointId};
use crate::error::{OperatorError, OperatorResult};
use crate::graph::{OperatorNode, SourceNode};
use crate::mailbox::Mail;
use crate::operator::{Operator, OperatorContext, Output};
use crate::side_output::SideOutputs;
use crate::source::{Assignment, Poll, SourceReader, Split, WatermarkGenerator, WatermarkStrategy};
use crate::state::SnapshotFn;
use crate::task::aligned::{Aligned, Progress};
use crate::task::shared::{Shared, WaitFor};
use crate::task::splits::SplitWatermarks;
use crate::task::{SPLITS, TaskBody, TaskEvent, TaskSetup};
use crate::time::Timestamp;

struct SourceTask<S, B> {
    shared: Shared<S, B>,
    uid: String,
    reader: Box<dyn SourceReader<S>>,
    watermarks: Option<Arc<dyn WatermarkStrategy<S>>>,
    /// Those of the splits that have not ended.
    generators: Vec<(String, Box<dyn WatermarkGenerator<S>>)>,
    splits: SplitWatermarks,
    aligned: Option<Aligned>,
    requested: bool,
    no_more_splits: bool,
    /// Told to read nothing.
    paused: bool,
    /// The barrier with which the job ends: nothing is read after it, unless it is given up.
    last: Option<Barrier>,
}

/// `head` is `None` only where `S` and `B` are the same type.
pub(crate) fn source_body<S: Batch, B: Batch>(
    source: &SourceNode<S>,
    head: Option<&OperatorNode<S, B>>,
    rest: &[OperatorNode<B, B>],
    mut setup: TaskSetup,
) -> OperatorResult<Box<dyn TaskBody>> {
    let side_outputs = SideOutputs::default();
    let context = setup.context(&source.uid, &source.name, &side_outputs)?;
    let reader = source.source.reader(&context)?;
    let open = |setup: &TaskSetup| match head {
        Some(head) => Link::open(head, &setup.context(&head.uid, &head.name, &side_outputs)?),
        None => pass_through(),
    };
    let shared = Shared::open(&mut setup, &side_outputs, open, rest)?;
    let watermarks = source.watermarks.clone();
    let idle_timeout = watermarks.as_ref().and_then(|strategy| strategy.idle_timeout());
    let alignment = watermarks.as_ref().and_then(|strategy| strategy.alignment());
    Ok(Box::new(SourceTask {
        shared,
        uid: source.uid.clone(),
        reader,
        aligned: alignment.map(|alignment| Aligned::new(&alignment, Instant::now())),
        watermarks,
        generators: Vec::new(),
        splits: SplitWatermarks::new(idle_timeout, Instant::now()),
        requested: false,
        no_more_splits: false,
        paused: false,
        last: None,
    }))
}

/// The first operator of a source without one.
struct PassThrough;

impl<B> Operator<B, B> for PassThrough {
    fn open(&mut self, _: &OperatorContext) -> OperatorResult<()> {
        Ok(())
    }

    fn on_batch(&mut self, _: usize, batch: B, out: &mut dyn Output<B>) -> OperatorResult<()> {
        out.emit(batch)
    }
}

fn pass_through<S: Batch, B: Batch>() -> OperatorResult<Link<S, B>> {
    let link = Link { uid: String::new(), operator: Box::new(PassThrough) as Box<dyn Operator<B, B>> };
    let link: Box<dyn std::any::Any> = Box::new(link);
    let link = link.downcast::<Link<S, B>>();
    link.map(|link| *link).map_err(|_| OperatorError::fatal("a source's batches need an operator"))
}

impl<S: Batch, B: Batch> SourceTask<S, B> {
    fn handle_mail(&mut self) -> OperatorResult<bool> {
        while let Some(mail) = self.shared.mailbox.take() {
            match mail {
                Mail::Assign(Assignment::Split(split)) => {
                    self.requested = false;
                    self.add_split(split)?;
                }
                Mail::Assign(Assignment::NoMoreSplits) => {
                    self.requested = false;
                    self.no_more_splits = true;
                }
                Mail::Trigger(barrier) => self.on_trigger(barrier)?,
                Mail::LimitWatermark(limit) => {
                    if let Some(aligned) = &mut self.aligned {
                        aligned.set_limit(limit);
                    }
                }
                Mail::CheckpointComplete(checkpoint) => self.shared.on_checkpoint_complete(checkpoint)?,
                Mail::Aborted(checkpoint) => self.on_aborted(checkpoint)?,
                Mail::Pause(pause) => self.paused = pause,
                Mail::Exit => return Ok(true),
            }
        }
        Ok(false)
    }

    /// A source waits for no barrier, but for whether the job ends with one.
    fn on_aborted(&mut self, checkpoint: CheckpointId) -> OperatorResult<()> {
        match self.last.take_if(|barrier| barrier.checkpoint <= checkpoint) {
            Some(Barrier { kind: BarrierKind::Stop { drain: true }, .. }) if !self.shared.finished => {
                Err(OperatorError::recoverable(
                    "the job was being drained and its savepoint was given up: event time cannot go back from its end",
                ))
            }
            _ => Ok(()),
        }
    }

    fn on_trigger(&mut self, barrier: Barrier) -> OperatorResult<()> {
        let mut splits = self.reader.snapshot()?;
        for split in &mut splits {
            split.watermark = self.splits.of(&split.id).unwrap_or(split.watermark);
        }
        let write: SnapshotFn = Box::new(move |writer| {
            for split in &splits {
                writer.list(SPLITS.0, SPLITS.1, encode_split(split)?);
            }
            Ok(())
        });
        if let BarrierKind::Stop { drain } = barrier.kind {
            self.last = Some(barrier.clone());
            if drain && let Some(last) = self.splits.finish() {
                self.shared.on_watermark(last)?;
            }
        }
        self.shared.on_barrier(barrier, vec![(self.uid.clone(), write)])
    }

    fn add_split(&mut self, split: Split) -> OperatorResult<()> {
        self.splits.add(&split.id, split.watermark, Instant::now());
        if let Some(strategy) = &self.watermarks {
            self.generators.push((split.id.clone(), strategy.generator(split.watermark)));
        }
        self.reader.add_split(split)
    }

    fn end_split(&mut self, split: &str) {
        self.splits.end(split, Instant::now());
        self.generators.retain(|(id, _)| id != split);
    }

    fn on_batch(&mut self, split: &str, mut batch: S) -> OperatorResult<()> {
        if self.splits.has_timeout() {
            let now = Instant::now();
            self.splits.records(split, now);
            self.check_idle(now)?;
        }
        let generator = self.generators.iter_mut().find(|(id, _)| id == split);
        let seen = match generator {
            Some((_, generator)) => generator.on_batch(&mut batch)?,
            None => None,
        };
        if batch.num_rows() > 0 {
            self.shared.on_batch(0, batch)?;
        }
        if let Some(seen) = seen {
            self.splits.seen(split, seen);
        }
        self.advance()
    }

    fn advance(&mut self) -> OperatorResult<()> {
        match self.splits.advance() {
            Some(watermark) => self.shared.on_watermark(watermark),
            None => Ok(()),
        }
    }

    fn check_idle(&mut self, now: Instant) -> OperatorResult<()> {
        match self.splits.check_idle(now) {
            Some(idle) => self.shared.on_idle(idle),
            None => Ok(()),
        }
    }

    fn progress(&self) -> Progress {
        (!self.splits.is_idle()).then(|| self.splits.watermark())
    }

    /// Tells the sources to keep pace with how far this one is. Returns whether it is too far itself.
    fn align(&mut self) -> bool {
        let progress = self.progress();
        let Some(aligned) = &mut self.aligned else { return false };
        if let Some(watermark) = aligned.report(progress, Instant::now()) {
            self.shared.tell(TaskEvent::Progress { task: self.shared.id, watermark });
        }
        aligned.is_ahead(self.splits.watermark())
    }

    /// When there is something to tell if nothing comes.
    fn report_at(&self) -> Option<Instant> {
        self.aligned.as_ref()?.report_at(self.progress())
    }

    /// Waits until there may be something to read, a split is idle, or there is something to tell.
    fn wait(&mut self, until: Option<Timestamp>) -> OperatorResult<()> {
        let mut idle_at = None;
        if self.splits.has_timeout() {
            self.check_idle(Instant::now())?;
            self.advance()?;
            idle_at = self.splits.idle_at();
        }
        let own = idle_at.into_iter().chain(self.report_at()).min().map(|at| self.clock_at(at));
        self.shared.wait(WaitFor::Input, until.into_iter().chain(own).min())
    }

    /// The clock's time at an instant to come.
    fn clock_at(&self, instant: Instant) -> Timestamp {
        let left = instant.saturating_duration_since(Instant::now());
        self.shared.clock.now_ms() + left.as_millis() as i64 + 1
    }

    /// Waits for what the task itself needs, which makes no split idle.
    fn pause(&mut self, reason: WaitFor) -> OperatorResult<()> {
        let start = Instant::now();
        let until = self.report_at().map(|at| self.clock_at(at));
        self.shared.wait(reason, until)?;
        self.splits.paused(start.elapsed());
        Ok(())
    }
}

impl<S: Batch, B: Batch> TaskBody for SourceTask<S, B> {
    fn run(&mut self) -> OperatorResult<()> {
        loop {
            if self.shared.mailbox.is_cancelled() || self.handle_mail()? {
                return Ok(());
            }
            if !self.shared.has_room() {
                self.pause(WaitFor::Room)?;
                continue;
            }
            if self.shared.finished {
                self.shared.wait(WaitFor::Input, None)?;
                continue;
            }
            self.shared.before_input()?;
            let ahead = self.align();
            if ahead || self.paused || self.last.is_some() || !self.shared.wants_input() {
                self.pause(WaitFor::Input)?;
                continue;
            }
            match self.reader.poll(self.shared.clock.now_ms())? {
                Poll::Batch { split, batch } => self.on_batch(&split, batch)?,
                Poll::SplitEnd(split) => self.end_split(&split),
                Poll::WaitUntil(due) => self.wait(Some(due))?,
                Poll::NeedSplit if self.no_more_splits => {
                    if let Some(last) = self.splits.finish() {
                        self.shared.on_watermark(last)?;
                    }
                    if self.shared.is_drained() {
                        self.shared.on_end()?;
                    } else {
                        self.shared.wait(WaitFor::Input, None)?;
                    }
                }
                Poll::NeedSplit => {
                    if !self.requested {
                        self.requested = true;
                        self.shared.tell(TaskEvent::RequestSplit(self.shared.id));
                    }
                    self.wait(None)?;
                }
            }
        }
    }
}

pub(crate) fn encode_split(split: &Split) -> OperatorResult<Vec<u8>> {
    postcard::to_allocvec(split)
        .map_err(|e| OperatorError::fatal(format!("cannot encode split {}: {e}", split.id)))
}

/// Reads what a source wrote under [`SPLITS`].
pub(crate) fn decode_split(bytes: &[u8]) -> OperatorResult<Split> {
    postcard::from_bytes(bytes)
        .map_err(|e| OperatorError::fatal(format!("a split in the checkpoint is damaged: {e}")))
}
