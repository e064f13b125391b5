//! A task that reads from channels.

use crate::batch::{Batch, Rows};
use crate::chain::Link;
use crate::channel::Receiver;
use crate::element::{Barrier, BarrierKind};
use crate::error::{OperatorError, OperatorResult};
use crate::fault;
use crate::gate::{Gate, GateEvent};
use crate::graph::{AnyInput, OperatorNode};
use crate::mailbox::Mail;
use crate::side_output::SideOutputs;
use crate::task::shared::{Shared, WaitFor};
use crate::task::{TaskBody, TaskSetup};

struct OperatorTask<I, O> {
    shared: Shared<I, O>,
    gate: Gate<I>,
    /// All channels have ended; what is in flight has not.
    draining: bool,
    /// The barrier with which the job ends, drained; what is in flight here comes before it.
    last: Option<Barrier>,
}

pub(crate) fn operator_body<I: Rows, O: Batch>(
    head: &OperatorNode<I, O>,
    rest: &[OperatorNode<O, O>],
    inputs: &[AnyInput<I>],
    mut setup: TaskSetup,
) -> OperatorResult<Box<dyn TaskBody>> {
    let mut receivers: Vec<(usize, Box<dyn Receiver<I>>)> = Vec::new();
    for (input, end) in inputs.iter().zip(std::mem::take(&mut setup.inputs)) {
        receivers.extend((input.take)(end)?.into_iter().map(|channel| (input.index, channel)));
    }
    let side_outputs = SideOutputs::default();
    let open = |setup: &TaskSetup| Link::open(head, &setup.context(&head.uid, &head.name, &side_outputs)?);
    let shared = Shared::open(&mut setup, &side_outputs, open, rest)?;
    Ok(Box::new(OperatorTask { shared, gate: Gate::new(receivers), draining: false, last: None }))
}

impl<I: Rows, O: Batch> OperatorTask<I, O> {
    /// Handles all mail; true when the task has to leave.
    fn handle_mail(&mut self) -> OperatorResult<bool> {
        while let Some(mail) = self.shared.mailbox.take() {
            match mail {
                Mail::CheckpointComplete(checkpoint) => self.shared.on_checkpoint_complete(checkpoint)?,
                Mail::Aborted(checkpoint) => {
                    self.gate.abort(checkpoint);
                    self.last.take_if(|barrier| barrier.checkpoint <= checkpoint);
                }
                Mail::Exit => return Ok(true),
                Mail::Trigger(_) | Mail::Assign(_) | Mail::LimitWatermark(_) | Mail::Pause(_) => {
                    return Err(OperatorError::fatal("an order for a source reached a task that is none"));
                }
            }
        }
        Ok(false)
    }
}

impl<I: Rows, O: Batch> TaskBody for OperatorTask<I, O> {
    fn run(&mut self) -> OperatorResult<()> {
        loop {
            if self.shared.mailbox.is_cancelled() || self.handle_mail()? {
                return Ok(());
            }
            if !self.shared.has_room() {
                self.shared.wait(WaitFor::Room, None)?;
                continue;
            }
            self.shared.before_input()?;
            if self.draining && self.shared.is_drained() {
                self.draining = false;
                self.shared.on_end()?;
            }
            if let Some(barrier) = self.last.take_if(|_| self.shared.is_drained()) {
                self.shared.on_barrier(barrier, Vec::new())?;
            }
            if self.last.is_some() || !self.shared.wants_input() {
                self.shared.wait(WaitFor::Input, None)?;
                continue;
            }
            match self.gate.next()? {
                GateEvent::Batch { input, batch } => self.shared.on_batch(input, batch)?,
                GateEvent::Watermark(watermark) => self.shared.on_watermark(watermark)?,
                GateEvent::Idle(idle) => self.shared.on_idle(idle)?,
                GateEvent::Aligned(barrier) if barrier.kind == (BarrierKind::Stop { drain: true }) => {
                    self.last = Some(barrier);
                }
                GateEvent::Aligned(barrier) => self.shared.on_barrier(barrier, Vec::new())?,
                GateEvent::End => self.draining = true,
                GateEvent::Nothing => {
                    if self.gate.is_aligning() {
                        fault::point("aligning");
                    }
                }
                GateEvent::Empty => self.shared.wait(WaitFor::Input, None)?,
            }
        }
    }
}
