//! The inputs of a task: which channel is read next, the watermark over all of them, and barrier alignment.
//!
//! Invariants: the watermark is the minimum over the channels that are neither idle nor ended, and never goes back; a
//! channel that has delivered the barrier is not read until every channel has, or the checkpoint is given up: because
//! somebody says so, or because a later one's barrier is here.

use crate::channel::Receiver;
use crate::element::{Barrier, CheckpointId, Control, Element};
use crate::error::OperatorResult;
use crate::time::{MAX_WATERMARK, MIN_WATERMARK, Timestamp};

struct InputChannel<B> {
    receiver: Box<dyn Receiver<B>>,
    /// Which input of the operator its rows are.
    index: usize,
    watermark: Timestamp,
    idle: bool,
    ended: bool,
    aligned: bool,
}

/// What the task has to do next.
#[derive(Debug)]
pub(crate) enum GateEvent<B> {
    Batch {
        input: usize,
        batch: B,
    },
    /// Event time has advanced.
    Watermark(Timestamp),
    /// All channels are idle, or one is active again.
    Idle(bool),
    /// The barrier has arrived on every channel; they are open again.
    Aligned(Barrier),
    /// Every channel has ended.
    End,
    /// An element that changes nothing by itself.
    Nothing,
    /// No channel has anything to read.
    Empty,
}

pub(crate) struct Gate<B> {
    channels: Vec<InputChannel<B>>,
    next: usize,
    watermark: Timestamp,
    idle: bool,
    barrier: Option<Barrier>,
    /// Barriers of this checkpoint and earlier ones that still come are of checkpoints that were given up.
    closed: CheckpointId,
    ended: bool,
}

impl<B> Gate<B> {
    pub(crate) fn new(receivers: impl IntoIterator<Item = (usize, Box<dyn Receiver<B>>)>) -> Self {
        let channels = receivers
            .into_iter()
            .map(|(index, receiver)| InputChannel {
                receiver,
                index,
                watermark: MIN_WATERMARK,
                idle: false,
                ended: false,
                aligned: false,
            })
            .collect();
        Self {
            channels,
            next: 0,
            watermark: MIN_WATERMARK,
            idle: false,
            barrier: None,
            closed: 0,
            ended: false,
        }
    }

    /// The barrier is here on some channels but not on all.
    pub(crate) fn is_aligning(&self) -> bool {
        self.barrier.is_some()
    }

    /// Waits no more for the barriers of this checkpoint and of earlier ones.
    pub(crate) fn abort(&mut self, checkpoint: CheckpointId) {
        if self.barrier.as_ref().is_some_and(|barrier| barrier.checkpoint <= checkpoint) {
            self.open(checkpoint);
        }
        self.closed = self.closed.max(checkpoint);
    }

    fn open(&mut self, checkpoint: CheckpointId) {
        self.channels.iter_mut().for_each(|c| c.aligned = false);
        self.barrier = None;
        self.closed = self.closed.max(checkpoint);
    }

    /// Takes one element from the channels in turn.
    ///
    /// # Errors
    /// When a channel is broken.
    pub(crate) fn next(&mut self) -> OperatorResult<GateEvent<B>> {
        for _ in 0..self.channels.len() {
            let current = self.next;
            self.next = (self.next + 1) % self.channels.len();
            let channel = &mut self.channels[current];
            if channel.aligned {
                continue;
            }
            if let Some(element) = channel.receiver.receive()? {
                return Ok(self.take(current, element));
            }
        }
        Ok(GateEvent::Empty)
    }

    fn take(&mut self, current: usize, element: Element<B>) -> GateEvent<B> {
        let control = match element {
            Element::Batch(batch) => return GateEvent::Batch { input: self.channels[current].index, batch },
            Element::Control(control) => control,
        };
        let channel = &mut self.channels[current];
        match control {
            Control::Watermark(watermark) => {
                channel.watermark = channel.watermark.max(watermark);
                self.advance()
            }
            Control::Idle | Control::Active => {
                channel.idle = matches!(control, Control::Idle);
                let idle = self.channels.iter().all(|c| c.idle || c.ended);
                if idle == self.idle {
                    return self.advance();
                }
                self.idle = idle;
                GateEvent::Idle(idle)
            }
            Control::End => {
                channel.ended = true;
                channel.watermark = MAX_WATERMARK;
                self.ended = self.channels.iter().all(|c| c.ended);
                if self.ended { GateEvent::End } else { self.advance() }
            }
            Control::Barrier(barrier) => {
                if barrier.checkpoint <= self.closed {
                    return GateEvent::Nothing;
                }
                if self.barrier.as_ref().is_some_and(|earlier| earlier.checkpoint < barrier.checkpoint) {
                    // What is before this barrier on this channel was not taken into the earlier checkpoint.
                    self.abort(barrier.checkpoint - 1);
                }
                self.channels[current].aligned = true;
                self.barrier = Some(barrier.clone());
                if self.channels.iter().any(|c| !c.aligned) {
                    return GateEvent::Nothing;
                }
                self.open(barrier.checkpoint);
                GateEvent::Aligned(barrier)
            }
        }
    }

    fn advance(&mut self) -> GateEvent<B> {
        let active = self.channels.iter().filter(|c| !c.idle || c.ended);
        let minimum = active.map(|c| c.watermark).min().unwrap_or(self.watermark);
        if minimum <= self.watermark {
            return GateEvent::Nothing;
        }
        self.watermark = minimum;
        GateEvent::Watermark(minimum)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::element::BarrierKind;

    struct Script(VecDeque<Element<&'static str>>);
    impl Receiver<&'static str> for Script {
        fn receive(&mut self) -> OperatorResult<Option<Element<&'static str>>> {
            Ok(self.0.pop_front())
        }
    }

    fn run(channels: Vec<Vec<Element<&'static str>>>) -> Vec<String> {
        let receivers = channels.into_iter().enumerate();
        let mut gate =
            Gate::new(receivers.map(|(i, c)| (i, Box::new(Script(c.into())) as Box<dyn Receiver<_>>)));
        let mut seen = Vec::new();
        loop {
            match gate.next().expect("no channel is broken") {
                GateEvent::Empty => return seen,
                GateEvent::Nothing => {}
                GateEvent::Batch { input, batch } => seen.push(format!("{input}:{batch}")),
                GateEvent::Aligned(barrier) => seen.push(format!("barrier {}", barrier.checkpoint)),
                other => seen.push(format!("{other:?}")),
            }
        }
    }

    fn barrier(checkpoint: u64) -> Element<&'static str> {
        Element::Control(Control::Barrier(Barrier {
            checkpoint,
            kind: BarrierKind::Checkpoint,
            config: Default::default(),
            savepoint: None,
        }))
    }

    fn watermark(time: Timestamp) -> Element<&'static str> {
        Element::Control(Control::Watermark(time))
    }

    #[test]
    fn a_channel_behind_the_barrier_waits_for_the_others() {
        use Element::Batch;
        let seen = run(vec![
            vec![Batch("a"), barrier(1), Batch("after")],
            vec![Batch("b"), Batch("c"), Batch("d"), barrier(1), Batch("later")],
        ]);
        assert_eq!(seen, ["0:a", "1:b", "1:c", "1:d", "barrier 1", "0:after", "1:later"]);
    }

    #[test]
    fn a_later_barrier_gives_up_the_earlier_one() {
        use Element::Batch;
        let seen = run(vec![
            vec![Batch("a"), barrier(1), Batch("b"), barrier(2), Batch("c")],
            vec![Batch("d"), barrier(2), barrier(1), Batch("e")],
        ]);
        assert_eq!(seen, ["0:a", "1:d", "0:b", "barrier 2", "0:c", "1:e"]);
    }

    #[test]
    fn nobody_waits_for_the_barrier_of_a_checkpoint_that_was_given_up() {
        use Element::Batch;
        let scripts = vec![vec![barrier(1), Batch("a")], vec![Batch("b")]];
        let receivers = scripts.into_iter().enumerate();
        let mut gate =
            Gate::new(receivers.map(|(i, c)| (i, Box::new(Script(c.into())) as Box<dyn Receiver<_>>)));
        let taken = |gate: &mut Gate<&'static str>| match gate.next() {
            Ok(GateEvent::Batch { batch, .. }) => Some(batch),
            _ => None,
        };
        assert_eq!([taken(&mut gate), taken(&mut gate), taken(&mut gate)], [None, Some("b"), None]);
        assert!(gate.is_aligning());
        gate.abort(1);
        assert_eq!(taken(&mut gate), Some("a"));
        assert!(!gate.is_aligning());
    }

    #[test]
    fn the_watermark_is_the_minimum_of_the_channels_that_are_not_idle() {
        let (idle, active) = (|| Element::Control(Control::Idle), || Element::Control(Control::Active));
        let seen = run(vec![
            vec![watermark(5), watermark(7), watermark(8), watermark(9)],
            vec![watermark(3), idle(), active(), watermark(4), idle()],
        ]);
        assert_eq!(seen, ["Watermark(3)", "Watermark(7)", "Watermark(8)", "Watermark(9)"]);
    }

    #[test]
    fn an_ended_channel_holds_nothing_back_and_still_delivers_barriers() {
        let end = || Element::Control(Control::End);
        let seen = run(vec![
            vec![watermark(5), end(), barrier(1), barrier(2)],
            vec![watermark(3), barrier(1), watermark(9), end(), barrier(2)],
        ]);
        assert_eq!(seen, ["Watermark(3)", "barrier 1", "Watermark(9)", "End", "barrier 2"]);
    }
}
