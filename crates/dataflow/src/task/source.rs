//! A task that reads from the outside.

use std::sync::Arc;
use std::time::Instant;

use crate::batch::Batch;
use crate::chain::Link;
use crate::element::Barrier;
use crate::error::{OperatorError, OperatorResult};
use crate::graph::{OperatorNode, SourceNode};
use crate::mailbox::Mail;
use crate::operator::{Operator, OperatorContext, Output};
use crate::side_output::SideOutputs;
use crate::source::{Assignment, Poll, SourceReader, Split, WatermarkStrategy};
use crate::state::SnapshotFn;
use crate::task::shared::{Shared, WaitFor};
use crate::task::{JobEvent, SPLITS, TaskBody, TaskSetup};
use crate::time::{MAX_WATERMARK, MIN_WATERMARK, Timestamp};

struct SourceTask<S, B> {
    shared: Shared<S, B>,
    uid: String,
    reader: Box<dyn SourceReader<S>>,
    watermarks: Option<Arc<dyn WatermarkStrategy<S>>>,
    /// The watermark of each split that has not ended.
    splits: Vec<(String, Timestamp)>,
    watermark: Timestamp,
    requested: bool,
    no_more_splits: bool,
    idle: bool,
    last_record: Instant,
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
    Ok(Box::new(SourceTask {
        shared,
        uid: source.uid.clone(),
        reader,
        watermarks: source.watermarks.clone(),
        splits: Vec::new(),
        watermark: MIN_WATERMARK,
        requested: false,
        no_more_splits: false,
        idle: false,
        last_record: Instant::now(),
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
                    self.splits.push((split.id.clone(), split.watermark));
                    self.reader.add_split(split)?;
                }
                Mail::Assign(Assignment::NoMoreSplits) => {
                    self.requested = false;
                    self.no_more_splits = true;
                }
                Mail::Trigger(barrier) => self.on_trigger(barrier)?,
                Mail::CheckpointComplete(checkpoint) => self.shared.on_checkpoint_complete(checkpoint)?,
                Mail::Exit => return Ok(true),
            }
        }
        Ok(false)
    }

    fn on_trigger(&mut self, barrier: Barrier) -> OperatorResult<()> {
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
        self.shared.on_barrier(barrier, vec![(self.uid.clone(), write)])
    }

    fn on_batch(&mut self, split: &str, batch: S) -> OperatorResult<()> {
        if self.watermarks.as_ref().is_some_and(|w| w.idle_timeout().is_some()) {
            self.last_record = Instant::now();
            if std::mem::take(&mut self.idle) {
                self.shared.on_idle(false)?;
            }
        }
        let seen = self.watermarks.as_ref().map(|w| w.watermark(&batch)).transpose()?.flatten();
        if batch.num_rows() > 0 {
            self.shared.on_batch(0, batch)?;
        }
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
            self.shared.on_watermark(watermark)?;
        }
        Ok(())
    }

    /// When the reader becomes idle if nothing comes.
    fn idle_at(&self) -> Option<Instant> {
        let timeout = self.watermarks.as_ref()?.idle_timeout()?;
        (!self.idle && !self.shared.finished).then(|| self.last_record + timeout)
    }

    fn wait(&mut self, mut until: Option<Timestamp>) -> OperatorResult<()> {
        if let Some(idle_at) = self.idle_at() {
            let left = idle_at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.idle = true;
                self.shared.on_idle(true)?;
            } else {
                let due = self.shared.clock.now_ms() + left.as_millis() as i64 + 1;
                until = Some(until.map_or(due, |t| t.min(due)));
            }
        }
        self.shared.wait(WaitFor::Input, until)
    }
}

impl<S: Batch, B: Batch> TaskBody for SourceTask<S, B> {
    fn run(&mut self) -> OperatorResult<()> {
        loop {
            if self.shared.mailbox.is_cancelled() || self.handle_mail()? {
                return Ok(());
            }
            if !self.shared.has_room() {
                self.shared.wait(WaitFor::Room, None)?;
                continue;
            }
            if self.shared.finished {
                self.shared.wait(WaitFor::Input, None)?;
                continue;
            }
            self.shared.before_input()?;
            if !self.shared.wants_input() {
                self.shared.wait(WaitFor::Input, None)?;
                continue;
            }
            match self.reader.poll(self.shared.clock.now_ms())? {
                Poll::Batch { split, batch } => self.on_batch(&split, batch)?,
                Poll::SplitEnd(split) => self.splits.retain(|(id, _)| *id != split),
                Poll::WaitUntil(due) => self.wait(Some(due))?,
                Poll::NeedSplit if self.no_more_splits => {
                    self.advance(MAX_WATERMARK)?;
                    if self.shared.is_drained() {
                        self.shared.on_end()?;
                    } else {
                        self.shared.wait(WaitFor::Input, None)?;
                    }
                }
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
