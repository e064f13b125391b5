//! The checkpoint coordinator's core: decides when to trigger, when a checkpoint is complete, and when to give up.
//!
//! Invariants: at most one checkpoint is in flight; ids only grow; `Write` follows the acknowledgement of every task,
//! `Completed` follows `Write`; nothing is triggered while a region restarts; after the final checkpoint there is none.

use std::collections::BTreeSet;

use crate::element::{Barrier, BarrierKind, CheckpointId};
use crate::graph::VertexId;
use crate::time::Timestamp;

/// A subtask, whatever its attempt.
pub type Subtask = (VertexId, usize);

/// When to take checkpoints. Names are those of Flink's `execution.checkpointing.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoordinatorConfig {
    /// `interval`; `None` takes only the final one.
    pub interval_ms: Option<i64>,
    /// `timeout`: an attempt that takes longer is given up.
    pub timeout_ms: i64,
    /// `min-pause`: between the end of one and the start of the next.
    pub min_pause_ms: i64,
    /// `tolerable-failed-checkpoints`: more failures in a row than this fail the job.
    pub tolerable_failures: u32,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Time has passed.
    Tick,
    /// A task has passed the barrier.
    Acknowledged(CheckpointId, Subtask),
    /// State, manifest and pointer are durable.
    Written(CheckpointId),
    /// They could not be written.
    WriteFailed(CheckpointId, String),
    /// A task failed; its region will restart.
    Suspended,
    /// All regions run again.
    Resumed,
    /// Every task has finished.
    AllFinished,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Snapshot the enumerators, then send the barrier to all sources.
    Trigger(Barrier),
    /// Write what the tasks handed in.
    Write(CheckpointId),
    /// Tell all tasks.
    Completed(Barrier),
    /// Forget what the tasks handed in.
    Aborted(CheckpointId, String),
    /// Too many failed in a row.
    FailJob(String),
}

#[derive(Debug)]
struct InFlight {
    barrier: Barrier,
    missing: BTreeSet<Subtask>,
    started: Timestamp,
    writing: bool,
}

/// The state machine.
#[derive(Debug)]
pub struct CheckpointCoordinator {
    config: CoordinatorConfig,
    tasks: BTreeSet<Subtask>,
    next_id: CheckpointId,
    next_trigger: Option<Timestamp>,
    in_flight: Option<InFlight>,
    suspended: bool,
    all_finished: bool,
    done: bool,
    failures_in_a_row: u32,
}

impl CheckpointCoordinator {
    /// A coordinator of `tasks`, whose first checkpoint gets the id `next_id` one interval after `now_ms`.
    pub fn new(
        config: CoordinatorConfig,
        tasks: BTreeSet<Subtask>,
        next_id: CheckpointId,
        now_ms: Timestamp,
    ) -> Self {
        let next_trigger = config.interval_ms.map(|interval| now_ms + interval);
        Self {
            config,
            tasks,
            next_id,
            next_trigger,
            in_flight: None,
            suspended: false,
            all_finished: false,
            done: false,
            failures_in_a_row: 0,
        }
    }

    /// When `Tick` is due.
    pub fn next_tick(&self) -> Option<Timestamp> {
        match &self.in_flight {
            Some(flight) if !flight.writing => Some(flight.started + self.config.timeout_ms),
            Some(_) => None,
            None if self.suspended || self.done => None,
            None => self.next_trigger,
        }
    }

    /// Takes an event at processing time `now_ms`.
    pub fn step(&mut self, event: Event, now_ms: Timestamp) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Tick => {}
            Event::Acknowledged(checkpoint, subtask) => {
                if let Some(flight) = &mut self.in_flight
                    && flight.barrier.checkpoint == checkpoint
                    && flight.missing.remove(&subtask)
                    && flight.missing.is_empty()
                {
                    flight.writing = true;
                    effects.push(Effect::Write(checkpoint));
                }
            }
            Event::Written(checkpoint) => {
                if let Some(flight) = self.in_flight.take_if(|f| f.barrier.checkpoint == checkpoint) {
                    self.failures_in_a_row = 0;
                    self.done = flight.barrier.kind == BarrierKind::Final;
                    self.pause(flight.started, now_ms);
                    effects.push(Effect::Completed(flight.barrier));
                }
            }
            Event::WriteFailed(checkpoint, reason) => {
                if self.in_flight.as_ref().is_some_and(|f| f.barrier.checkpoint == checkpoint) {
                    self.abort(reason, now_ms, &mut effects);
                }
            }
            Event::Suspended => {
                self.suspended = true;
                self.all_finished = false;
                // What is being written is complete: it becomes the checkpoint to restart from.
                if let Some(flight) = self.in_flight.take_if(|f| !f.writing) {
                    effects.push(Effect::Aborted(flight.barrier.checkpoint, "a task failed".into()));
                }
            }
            Event::Resumed => {
                self.suspended = false;
                self.next_trigger = self.config.interval_ms.map(|interval| now_ms + interval);
            }
            Event::AllFinished => self.all_finished = true,
        }
        let timed_out =
            |f: &InFlight| !f.writing && now_ms.saturating_sub(f.started) >= self.config.timeout_ms;
        if self.in_flight.as_ref().is_some_and(timed_out) {
            self.abort(format!("it took longer than {} ms", self.config.timeout_ms), now_ms, &mut effects);
        }
        if self.in_flight.is_none() && !self.suspended && !self.done {
            if self.all_finished {
                effects.push(self.trigger(BarrierKind::Final, now_ms));
            } else if self.next_trigger.is_some_and(|due| due <= now_ms) {
                effects.push(self.trigger(BarrierKind::Checkpoint, now_ms));
            }
        }
        effects
    }

    fn trigger(&mut self, kind: BarrierKind, now_ms: Timestamp) -> Effect {
        let barrier = Barrier { checkpoint: self.next_id, kind };
        self.next_id += 1;
        self.in_flight =
            Some(InFlight { barrier, missing: self.tasks.clone(), started: now_ms, writing: false });
        Effect::Trigger(barrier)
    }

    fn abort(&mut self, reason: String, now_ms: Timestamp, effects: &mut Vec<Effect>) {
        let Some(flight) = self.in_flight.take() else { return };
        self.failures_in_a_row += 1;
        self.pause(flight.started, now_ms);
        effects.push(Effect::Aborted(flight.barrier.checkpoint, reason.clone()));
        if self.failures_in_a_row > self.config.tolerable_failures {
            self.done = true;
            effects.push(Effect::FailJob(format!(
                "checkpoint {} failed: {reason} ({} in a row; execution.checkpointing.tolerable-failed-checkpoints is {})",
                flight.barrier.checkpoint, self.failures_in_a_row, self.config.tolerable_failures
            )));
        }
    }

    fn pause(&mut self, started: Timestamp, now_ms: Timestamp) {
        let after = now_ms + self.config.min_pause_ms;
        self.next_trigger = self.config.interval_ms.map(|interval| (started + interval).max(after));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coordinator(tolerable_failures: u32) -> CheckpointCoordinator {
        let config = CoordinatorConfig {
            interval_ms: Some(100),
            timeout_ms: 50,
            min_pause_ms: 10,
            tolerable_failures,
        };
        CheckpointCoordinator::new(config, BTreeSet::from([(0, 0), (1, 0)]), 1, 0)
    }

    fn barrier(checkpoint: CheckpointId, kind: BarrierKind) -> Barrier {
        Barrier { checkpoint, kind }
    }

    #[test]
    fn a_checkpoint_is_written_when_all_tasks_have_acknowledged_it() {
        let mut c = coordinator(0);
        assert_eq!(c.step(Event::Tick, 99), []);
        let first = barrier(1, BarrierKind::Checkpoint);
        assert_eq!(c.step(Event::Tick, 100), [Effect::Trigger(first)]);
        assert_eq!(c.step(Event::Tick, 110), [], "one at a time");
        assert_eq!(c.step(Event::Acknowledged(1, (0, 0)), 111), []);
        assert_eq!(c.step(Event::Acknowledged(1, (0, 0)), 112), [], "the same task again");
        assert_eq!(c.step(Event::Acknowledged(1, (1, 0)), 113), [Effect::Write(1)]);
        assert_eq!(c.step(Event::Tick, 1000), [], "a write in progress does not time out here");
        assert_eq!(c.step(Event::Written(1), 1001), [Effect::Completed(first)]);
        assert_eq!(c.next_tick(), Some(1011), "min-pause after the end");
    }

    #[test]
    fn failures_are_tolerated_up_to_the_limit() {
        let mut c = coordinator(1);
        c.step(Event::Tick, 100);
        assert!(matches!(c.step(Event::Tick, 150)[..], [Effect::Aborted(1, _)]));
        assert!(matches!(c.step(Event::Tick, 200)[..], [Effect::Trigger(_)]));
        assert!(matches!(c.step(Event::Tick, 260)[..], [Effect::Aborted(2, _), Effect::FailJob(_)]));
        assert_eq!(c.step(Event::Acknowledged(2, (0, 0)), 261), [], "late acknowledgements are ignored");
    }

    #[test]
    fn nothing_is_triggered_while_a_region_restarts() {
        let mut c = coordinator(0);
        c.step(Event::Tick, 100);
        assert!(matches!(c.step(Event::Suspended, 101)[..], [Effect::Aborted(1, _)]));
        assert_eq!(c.step(Event::Tick, 500), []);
        assert_eq!(c.step(Event::Resumed, 600), []);
        assert_eq!(c.step(Event::Tick, 700), [Effect::Trigger(barrier(2, BarrierKind::Checkpoint))]);
    }

    #[test]
    fn the_final_checkpoint_waits_for_the_one_in_flight_and_is_the_last() {
        let mut c = coordinator(0);
        c.step(Event::Tick, 100);
        assert_eq!(c.step(Event::AllFinished, 101), []);
        c.step(Event::Acknowledged(1, (0, 0)), 102);
        c.step(Event::Acknowledged(1, (1, 0)), 102);
        let last = barrier(2, BarrierKind::Final);
        assert_eq!(
            c.step(Event::Written(1), 103),
            [Effect::Completed(barrier(1, BarrierKind::Checkpoint)), Effect::Trigger(last)]
        );
        c.step(Event::Acknowledged(2, (0, 0)), 104);
        c.step(Event::Acknowledged(2, (1, 0)), 104);
        assert_eq!(c.step(Event::Written(2), 105), [Effect::Completed(last)]);
        assert_eq!((c.step(Event::Tick, 9999), c.next_tick()), (vec![], None));
    }
}
