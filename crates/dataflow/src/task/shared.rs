//! What both kinds of task have in common: their operators, their output, and the one place to wait.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::batch::{Batch, Rows};
use crate::chain::{Chain, Link};
use crate::element::{Barrier, BarrierKind, Control};
use crate::error::OperatorResult;
use crate::graph::OperatorNode;
use crate::live_config::ConfigSnapshot;
use crate::mailbox::Mailbox;
use crate::metrics::TaskMetrics;
use crate::output::TaskOutput;
use crate::side_output::SideOutputs;
use crate::state::SnapshotFn;
use crate::task::{TaskEvent, TaskEvents, TaskId, TaskSetup};
use crate::time::{Clock, MIN_WATERMARK, Timestamp};

pub(super) enum WaitFor {
    Input,
    Room,
}

/// The operators of a task, and what surrounds them.
pub(super) struct Shared<I, O> {
    pub(super) id: TaskId,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Arc<TaskMetrics>,
    pub(super) finished: bool,
    events: TaskEvents,
    out: TaskOutput<O>,
    head: Link<I, O>,
    chain: Chain<O>,
    out_watermark: Timestamp,
    /// The restored checkpoint was taken after this task had finished.
    restored_finished: bool,
    busy_since: Instant,
    /// The configuration in force.
    config: Arc<ConfigSnapshot>,
}

impl<I: Rows, O: Batch> Shared<I, O> {
    /// Opens the operators; `head` makes the first.
    pub(super) fn open(
        setup: &mut TaskSetup,
        side_outputs: &SideOutputs,
        head: impl FnOnce(&TaskSetup) -> OperatorResult<Link<I, O>>,
        rest: &[OperatorNode<O, O>],
    ) -> OperatorResult<Self> {
        let mut outputs = std::mem::take(&mut setup.outputs).into_iter();
        let edges = outputs.next().unwrap_or_default();
        let sides = setup.ports.iter().skip(1).zip(outputs);
        let sides = sides.filter_map(|(side, edges)| Some(side.as_ref()?(side_outputs, edges)));
        let out = TaskOutput::new(edges, sides.collect::<OperatorResult<_>>()?, setup.metrics.clone())?;
        let open = |node: &OperatorNode<O, O>| {
            Link::open(node, &setup.context(&node.uid, &node.name, side_outputs)?)
        };
        let head = head(setup)?;
        let chain = Chain(rest.iter().map(open).collect::<OperatorResult<_>>()?);
        Ok(Self {
            id: setup.id,
            mailbox: setup.mailbox.clone(),
            clock: setup.clock.clone(),
            metrics: setup.metrics.clone(),
            finished: false,
            events: setup.events.clone(),
            out,
            head,
            chain,
            out_watermark: MIN_WATERMARK,
            restored_finished: setup.restored_finished,
            busy_since: Instant::now(),
            config: setup.config.clone(),
        })
    }

    /// Tells the executor.
    pub(super) fn tell(&self, event: TaskEvent) {
        (self.events)(event);
    }

    pub(super) fn has_room(&self) -> bool {
        self.out.has_room()
    }

    pub(super) fn wants_input(&self) -> bool {
        self.head.operator.wants_input()
    }

    pub(super) fn is_drained(&self) -> bool {
        self.head.operator.is_drained()
    }

    /// Waits for mail, input or room, but not beyond `until` (input only), a timer's or a buffer's time.
    pub(super) fn wait(&mut self, reason: WaitFor, until: Option<Timestamp>) -> OperatorResult<()> {
        let start = Instant::now();
        let flush_at = self.out.flush_deadline();
        if matches!(reason, WaitFor::Input) && flush_at.is_some_and(|at| at <= start) {
            return self.out.flush();
        }
        let timer = match reason {
            WaitFor::Input if !self.finished => until.into_iter().chain(self.next_processing_time()).min(),
            WaitFor::Input | WaitFor::Room => None,
        };
        let timer = timer.map(|due| {
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

    /// What has to happen between two inputs: timers, small batches that have waited long enough, side outputs.
    pub(super) fn before_input(&mut self) -> OperatorResult<()> {
        if !self.finished {
            self.on_timers()?;
        }
        self.out.drain_sides()?;
        // Small batches are sent in time also by a task that never waits.
        if self.out.flush_deadline().is_some_and(|at| at <= Instant::now()) {
            self.out.flush()?;
        }
        Ok(())
    }

    fn next_processing_time(&self) -> Option<Timestamp> {
        let head = self.head.operator.next_processing_time();
        head.into_iter().chain(self.chain.next_processing_time()).min()
    }

    fn on_timers(&mut self) -> OperatorResult<()> {
        let Some(due) = self.next_processing_time() else { return Ok(()) };
        let now = self.clock.now_ms();
        if due > now {
            return Ok(());
        }
        if self.head.operator.next_processing_time().is_some_and(|due| due <= now) {
            self.head.operator.on_processing_time(now, &mut self.chain.tail(&mut self.out))?;
            self.take_watermark()?;
        }
        self.chain.on_processing_time(now, &mut self.out)
    }

    pub(super) fn on_batch(&mut self, input: usize, batch: I) -> OperatorResult<()> {
        self.metrics.num_records_in.add(batch.num_rows() as u64);
        self.metrics.num_bytes_in.add(batch.num_bytes() as u64);
        self.head.operator.on_batch(input, batch, &mut self.chain.tail(&mut self.out))?;
        self.take_watermark()
    }

    fn take_watermark(&mut self) -> OperatorResult<()> {
        if let Some(idle) = self.head.operator.take_idle() {
            self.broadcast_idle(idle)?;
        }
        match self.head.operator.take_watermark(&mut self.chain.tail(&mut self.out))? {
            Some(watermark) => self.forward_watermark(watermark),
            None => Ok(()),
        }
    }

    pub(super) fn on_watermark(&mut self, watermark: Timestamp) -> OperatorResult<()> {
        self.metrics.current_input_watermark.set(watermark);
        let forward = self.head.operator.on_watermark(watermark, &mut self.chain.tail(&mut self.out))?;
        self.forward_watermark(forward)
    }

    /// Passes a watermark of the first operator on.
    fn forward_watermark(&mut self, watermark: Timestamp) -> OperatorResult<()> {
        let watermark = self.chain.on_watermark(watermark, &mut self.out)?;
        if watermark > self.out_watermark {
            self.out_watermark = watermark;
            self.metrics.current_output_watermark.set(watermark);
            self.out.broadcast(&Control::Watermark(watermark))?;
        }
        Ok(())
    }

    pub(super) fn on_idle(&mut self, idle: bool) -> OperatorResult<()> {
        match self.head.operator.on_idle(idle) {
            Some(idle) => self.broadcast_idle(idle),
            None => Ok(()),
        }
    }

    fn broadcast_idle(&mut self, idle: bool) -> OperatorResult<()> {
        self.out.broadcast(if idle { &Control::Idle } else { &Control::Active })
    }

    /// Snapshots the operators, after what they buffer has left (and, when the job ends drained, all that they held back), and passes
    /// the barrier on; then the configuration that it
    /// brings is in force. `state` is what the task itself has to keep.
    pub(super) fn on_barrier(
        &mut self,
        barrier: Barrier,
        mut state: Vec<(String, SnapshotFn)>,
    ) -> OperatorResult<()> {
        if barrier.kind == (BarrierKind::Stop { drain: true }) && !self.finished && !self.restored_finished {
            self.head.operator.finish(&mut self.chain.tail(&mut self.out))?;
            self.chain.finish(&mut self.out)?;
        }
        self.head.operator.flush(&mut self.chain.tail(&mut self.out))?;
        self.chain.flush(&mut self.out)?;
        self.head.operator.snapshot_parts(&self.head.uid, barrier.checkpoint, &mut state)?;
        self.chain.snapshot(barrier.checkpoint, &mut state)?;
        let (checkpoint, config, savepoint) =
            (barrier.checkpoint, barrier.config.clone(), barrier.savepoint.clone());
        self.out.broadcast(&Control::Barrier(barrier))?;
        self.tell(TaskEvent::Snapshot { task: self.id, checkpoint, savepoint, state });
        if !Arc::ptr_eq(&config, &self.config) && config != self.config {
            self.head.operator.on_config(&config)?;
            self.chain.on_config(&config)?;
            self.config = config;
        }
        Ok(())
    }

    pub(super) fn on_checkpoint_complete(&mut self, checkpoint: u64) -> OperatorResult<()> {
        self.head.operator.on_checkpoint_complete(checkpoint)?;
        self.chain.on_checkpoint_complete(checkpoint)
    }

    pub(super) fn on_end(&mut self) -> OperatorResult<()> {
        if !self.restored_finished {
            self.head.operator.finish(&mut self.chain.tail(&mut self.out))?;
            self.chain.finish(&mut self.out)?;
        }
        self.out.broadcast(&Control::End)?;
        self.tell(TaskEvent::Finished(self.id));
        self.finished = true;
        Ok(())
    }
}
