//! The checkpoint coordinator's core: decides when to trigger, when a checkpoint is complete, and when to give up.
//!
//! Invariants: at most one checkpoint is in flight; ids only grow; `Write` follows the acknowledgement of every task,
//! `Completed` follows `Write`; nothing is triggered while a region restarts; after the final checkpoint there is none. Every
//! barrier carries the newest configuration; one that no completed checkpoint holds yet causes a checkpoint of its own. What a
//! user asks for comes before what is due; of a savepoint neither its failure nor its success says anything of the checkpoints
//! that the job restarts from.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::checkpoint::requests::{Request, RequestId, Requests};
use crate::element::{Barrier, BarrierKind, CheckpointId};
use crate::graph::VertexId;
use crate::live_config::ConfigSnapshot;
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
    /// All regions run on under a new master: it takes a checkpoint soon, if it takes any.
    Adopted,
    /// Every task has finished.
    AllFinished,
    /// The configuration has changed.
    Reconfigured(Arc<ConfigSnapshot>),
    /// A user asks for a checkpoint.
    Requested(Request),
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
    /// The checkpoint that was asked for is complete, or why there is none.
    Answered(RequestId, Result<CheckpointId, String>),
}

#[derive(Debug)]
struct InFlight {
    barrier: Barrier,
    missing: BTreeSet<Subtask>,
    started: Timestamp,
    writing: bool,
    request: Option<RequestId>,
}

impl InFlight {
    /// The job does not restart from it.
    fn is_savepoint(&self) -> bool {
        self.barrier.kind == BarrierKind::Savepoint
    }
}

/// Changes of the configuration within this time after the start of a checkpoint share the next one; a longer `min-pause`
/// does not hold a change back.
pub const CHANGE_PAUSE_MS: i64 = 250;

/// After a checkpoint that failed, a change does not cause another for so long; a periodic one takes it along.
pub const CHANGE_RETRY_MS: i64 = 1_000;

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
    snapshot: Arc<ConfigSnapshot>,
    /// No completed checkpoint holds `snapshot`.
    changed: bool,
    /// A change causes no checkpoint before this time.
    change_not_before: Timestamp,
    requests: Requests,
}

impl CheckpointCoordinator {
    /// A coordinator of `tasks`, which begin under `snapshot`; the first checkpoint gets the id `next_id` one interval
    /// after `now_ms`.
    pub fn new(
        config: CoordinatorConfig,
        tasks: BTreeSet<Subtask>,
        next_id: CheckpointId,
        now_ms: Timestamp,
        snapshot: Arc<ConfigSnapshot>,
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
            snapshot,
            changed: false,
            change_not_before: now_ms,
            requests: Requests::default(),
        }
    }

    /// When `Tick` is due.
    pub fn next_tick(&self) -> Option<Timestamp> {
        match &self.in_flight {
            Some(flight) if !flight.writing => Some(flight.started + self.config.timeout_ms),
            Some(_) => None,
            None if self.suspended || self.done => None,
            None => self.next_trigger.into_iter().chain(self.change_due()).min(),
        }
    }

    /// The newest configuration.
    pub fn snapshot(&self) -> &Arc<ConfigSnapshot> {
        &self.snapshot
    }

    fn change_due(&self) -> Option<Timestamp> {
        self.changed.then_some(self.change_not_before)
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
                    self.pause(&flight, now_ms);
                    if !flight.is_savepoint() {
                        self.failures_in_a_row = 0;
                        self.done = flight.barrier.kind.ends_job();
                        self.change_not_before = self
                            .change_not_before
                            .max(now_ms + self.config.min_pause_ms.min(CHANGE_PAUSE_MS));
                        self.changed = self.changed && flight.barrier.config != self.snapshot;
                    }
                    effects.extend(flight.request.map(|request| Effect::Answered(request, Ok(checkpoint))));
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
                    give_up(&flight, "a task failed", &mut effects);
                }
            }
            Event::Resumed => {
                self.suspended = false;
                self.next_trigger = self.config.interval_ms.map(|interval| now_ms + interval);
            }
            Event::Adopted => {
                self.suspended = false;
                self.next_trigger = self.config.interval_ms.map(|_| now_ms);
            }
            Event::AllFinished => self.all_finished = true,
            Event::Reconfigured(newer) => {
                if let Some(advanced) = self.snapshot.advance(&newer) {
                    self.snapshot = Arc::new(advanced);
                    self.changed = true;
                }
            }
            Event::Requested(request) => effects.extend(self.requests.add(request)),
        }
        let timed_out =
            |f: &InFlight| !f.writing && now_ms.saturating_sub(f.started) >= self.config.timeout_ms;
        if self.in_flight.as_ref().is_some_and(timed_out) {
            self.abort(format!("it took longer than {} ms", self.config.timeout_ms), now_ms, &mut effects);
        }
        if self.in_flight.is_none() && !self.suspended && !self.done {
            if self.all_finished {
                effects.push(self.trigger(BarrierKind::Final, None, now_ms));
            } else if let Some(request) = self.requests.next() {
                effects.push(self.trigger(request.kind, Some(request), now_ms));
            } else if self.next_trigger.is_some_and(|due| due <= now_ms) {
                effects.push(self.trigger(BarrierKind::Checkpoint, None, now_ms));
            } else if self.change_due().is_some_and(|due| due <= now_ms) {
                effects.push(self.trigger(BarrierKind::Reconfigure, None, now_ms));
            }
        }
        if self.done || self.all_finished {
            self.requests.refuse("the job has come to its end", &mut effects);
        }
        effects
    }

    fn trigger(&mut self, kind: BarrierKind, request: Option<Request>, now_ms: Timestamp) -> Effect {
        let (request, savepoint) = request.map(|request| (request.id, request.savepoint)).unzip();
        let (config, savepoint) = (self.snapshot.clone(), savepoint.flatten());
        let barrier = Barrier { checkpoint: self.next_id, kind, config, savepoint };
        self.next_id += 1;
        self.change_not_before = now_ms + CHANGE_PAUSE_MS;
        self.in_flight = Some(InFlight {
            barrier: barrier.clone(),
            missing: self.tasks.clone(),
            started: now_ms,
            writing: false,
            request,
        });
        Effect::Trigger(barrier)
    }

    fn abort(&mut self, reason: String, now_ms: Timestamp, effects: &mut Vec<Effect>) {
        let Some(flight) = self.in_flight.take() else { return };
        self.pause(&flight, now_ms);
        give_up(&flight, &reason, effects);
        if flight.barrier.savepoint.is_some() {
            return;
        }
        self.failures_in_a_row += 1;
        self.change_not_before = now_ms + CHANGE_RETRY_MS;
        if self.failures_in_a_row > self.config.tolerable_failures {
            self.done = true;
            effects.push(Effect::FailJob(format!(
                "checkpoint {} failed: {reason} ({} in a row; execution.checkpointing.tolerable-failed-checkpoints is {})",
                flight.barrier.checkpoint, self.failures_in_a_row, self.config.tolerable_failures
            )));
        }
    }

    /// Says when the next one is due. A savepoint does not put it off.
    fn pause(&mut self, ended: &InFlight, now_ms: Timestamp) {
        let after = now_ms + self.config.min_pause_ms;
        self.next_trigger = match (self.next_trigger, self.config.interval_ms) {
            (Some(due), _) if ended.barrier.savepoint.is_some() => Some(due.max(after)),
            (_, interval) => interval.map(|interval| (ended.started + interval).max(after)),
        };
    }
}

fn give_up(flight: &InFlight, reason: &str, effects: &mut Vec<Effect>) {
    effects.push(Effect::Aborted(flight.barrier.checkpoint, reason.to_owned()));
    effects.extend(flight.request.map(|request| Effect::Answered(request, Err(reason.to_owned()))));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live_config::ConfigDocument;

    fn coordinator(tolerable_failures: u32) -> CheckpointCoordinator {
        let config = CoordinatorConfig {
            interval_ms: Some(100),
            timeout_ms: 50,
            min_pause_ms: 10,
            tolerable_failures,
        };
        CheckpointCoordinator::new(config, BTreeSet::from([(0, 0), (1, 0)]), 1, 0, Arc::default())
    }

    fn barrier(checkpoint: CheckpointId, kind: BarrierKind) -> Barrier {
        Barrier { checkpoint, kind, config: Arc::default(), savepoint: None }
    }

    #[test]
    fn a_checkpoint_is_written_when_all_tasks_have_acknowledged_it() {
        let mut c = coordinator(0);
        assert_eq!(c.step(Event::Tick, 99), []);
        let first = barrier(1, BarrierKind::Checkpoint);
        assert_eq!(c.step(Event::Tick, 100), [Effect::Trigger(first.clone())]);
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
            [Effect::Completed(barrier(1, BarrierKind::Checkpoint)), Effect::Trigger(last.clone())]
        );
        c.step(Event::Acknowledged(2, (0, 0)), 104);
        c.step(Event::Acknowledged(2, (1, 0)), 104);
        assert_eq!(c.step(Event::Written(2), 105), [Effect::Completed(last)]);
        assert_eq!((c.step(Event::Tick, 9999), c.next_tick()), (vec![], None));
    }

    fn configured(checkpoint: CheckpointId, kind: BarrierKind, revision: u64) -> Barrier {
        Barrier { checkpoint, kind, config: snapshot(revision), savepoint: None }
    }

    fn snapshot(revision: u64) -> Arc<ConfigSnapshot> {
        let document = ConfigDocument { revision, data: serde_json::json!({}) };
        Arc::new(ConfigSnapshot::from_iter([("rules".to_owned(), document)]))
    }

    fn complete(c: &mut CheckpointCoordinator, checkpoint: CheckpointId, now: Timestamp) -> Vec<Effect> {
        c.step(Event::Acknowledged(checkpoint, (0, 0)), now);
        c.step(Event::Acknowledged(checkpoint, (1, 0)), now);
        c.step(Event::Written(checkpoint), now)
    }

    #[test]
    fn a_change_causes_a_checkpoint_and_those_that_follow_soon_share_the_next() {
        let mut c = coordinator(0);
        c.config.interval_ms = None;
        c.next_trigger = None;
        let first = configured(1, BarrierKind::Reconfigure, 1);
        assert_eq!(c.step(Event::Reconfigured(snapshot(1)), 10), [Effect::Trigger(first.clone())]);
        assert_eq!(c.step(Event::Reconfigured(snapshot(2)), 20), []);
        assert_eq!(complete(&mut c, 1, 30), [Effect::Completed(first)]);
        assert_eq!(c.step(Event::Reconfigured(snapshot(3)), 40), []);
        assert_eq!(c.next_tick(), Some(260));
        let second = configured(2, BarrierKind::Reconfigure, 3);
        assert_eq!(c.step(Event::Tick, 260), [Effect::Trigger(second)]);
        complete(&mut c, 2, 270);
        assert_eq!(c.step(Event::Reconfigured(snapshot(2)), 600), [], "an older one changes nothing");
        assert_eq!(c.next_tick(), None);
    }

    #[test]
    fn a_change_whose_checkpoint_failed_is_taken_up_again() {
        let mut c = coordinator(9);
        c.config.interval_ms = None;
        c.next_trigger = None;
        c.step(Event::Reconfigured(snapshot(1)), 10);
        assert!(matches!(c.step(Event::Tick, 60)[..], [Effect::Aborted(1, _)]));
        assert_eq!(c.next_tick(), Some(60 + CHANGE_RETRY_MS));
        let again = configured(2, BarrierKind::Reconfigure, 1);
        assert_eq!(c.step(Event::Tick, 60 + CHANGE_RETRY_MS), [Effect::Trigger(again)]);
        assert!(matches!(c.step(Event::Suspended, 1070)[..], [Effect::Aborted(2, _)]));
        let third = configured(3, BarrierKind::Reconfigure, 1);
        let mut effects = c.step(Event::Resumed, 2000);
        assert_eq!(effects.pop(), Some(Effect::Trigger(third)));
    }

    #[test]
    fn a_periodic_checkpoint_takes_a_change_along() {
        let mut c = coordinator(0);
        c.step(Event::Tick, 100);
        c.step(Event::Reconfigured(snapshot(1)), 101);
        complete(&mut c, 1, 140);
        let periodic = configured(2, BarrierKind::Checkpoint, 1);
        assert_eq!(c.step(Event::Tick, 200), [Effect::Trigger(periodic)]);
        complete(&mut c, 2, 206);
        assert_eq!(c.next_tick(), Some(300), "the change is done with");
    }
}
