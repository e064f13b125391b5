//! A TaskManager of a simulation: the real [`Link`], and models of its shell, executor and tasks. The tasks of a slot are one: a reader,
//! and the sink behind it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use streamkeeper_dataflow::checkpoint::storage::CheckpointStorage;
use streamkeeper_dataflow::executor::order::{
    Deployment, Inventory, Order, Report, TaskInventory, TaskState, Worker,
};
use streamkeeper_dataflow::job::stepped::{ModelState, write_model_state};
use streamkeeper_dataflow::sink::Committer;
use streamkeeper_dataflow::source::Assignment;
use streamkeeper_dataflow::task::TaskId;

use super::job::{Range, SINK, SOURCE, TheJob, Transaction};
use crate::rpc::message::{Command, FromLeader, FromTaskManager, OpenJob, Registration};
use crate::taskmanager::link::{Effect, Event, Link};

/// What a slot hands in: the name of each state, and the state.
type Snapshot = Vec<(String, ModelState)>;

/// How many slots it has.
pub(super) const SLOTS: usize = 2;

/// What a slot's tasks are told, in order.
enum Mail {
    Trigger(u64),
    Assign(Assignment),
    Completed(u64),
}

/// The tasks of one slot.
#[derive(Default)]
struct Slot {
    attempt: u32,
    cancelled: bool,
    exited: bool,
    wants_split: bool,
    no_more: bool,
    reader: Vec<(String, Range)>,
    /// Ids of splits by the checkpoint whose barrier came before them.
    splits: BTreeMap<u64, Vec<String>>,
    triggered: u64,
    mail: VecDeque<Mail>,
    numbers: Vec<u64>,
    pending: BTreeMap<u64, Transaction>,
}

impl Slot {
    /// As an executor notes it.
    fn assign(&mut self, assignment: Assignment) {
        self.wants_split = false;
        if let Assignment::Split(split) = &assignment {
            self.splits.entry(self.triggered).or_default().push(split.id.clone());
        }
        self.mail.push_back(Mail::Assign(assignment));
    }

    /// What is to be committed once a checkpoint is complete.
    fn due(&mut self, checkpoint: u64) -> Vec<Vec<u8>> {
        let later = self.pending.split_off(&(checkpoint + 1));
        let due = std::mem::replace(&mut self.pending, later);
        due.values().map(|transaction| serde_json::to_vec(transaction).expect("JSON")).collect()
    }
}

/// The job here.
struct Executor {
    open: OpenJob,
    /// The attempt of the connection on which the inventory has been sent.
    reported_on: u64,
    slots: BTreeMap<usize, Slot>,
    /// Slots that have passed the barrier; none once their state is written.
    snapshots: BTreeMap<u64, Option<BTreeMap<usize, Snapshot>>>,
    closed: u64,
    highest: u64,
    completed: u64,
}

/// A TaskManager.
pub(super) struct TaskManager {
    pub(super) me: Worker,
    pub(super) link: Link,
    /// An attempt to reach a leader, and where.
    pub(super) connecting: Option<(u64, String)>,
    /// Connections that it closes, by attempt.
    pub(super) closing: Vec<u64>,
    /// What it sends, by the connection of an attempt.
    pub(super) out: Vec<(u64, FromTaskManager)>,
    executor: Option<Executor>,
    job: TheJob,
    storage: Arc<CheckpointStorage>,
}

fn tasks(slot: usize, attempt: u32) -> [TaskId; 2] {
    [0, 1].map(|vertex| TaskId { vertex, subtask: slot, attempt })
}

impl TaskManager {
    pub(super) fn new(id: String, job: TheJob, storage: Arc<CheckpointStorage>, now: u64) -> Self {
        Self {
            me: Worker { id, exchange_address: String::new() },
            link: Link::new(Duration::from_secs(3600), now),
            connecting: None,
            closing: Vec::new(),
            out: Vec::new(),
            executor: None,
            job,
            storage,
        }
    }

    pub(super) fn step(&mut self, event: Event, now: u64) {
        for effect in self.link.step(event, now) {
            match effect {
                Effect::Connect { attempt, address } => self.connecting = Some((attempt, address)),
                Effect::Disconnect(attempt) => self.closing.push(attempt),
                Effect::Register => self.register(),
                Effect::LeaderLost => {
                    if let Some(executor) = &mut self.executor {
                        executor.closed = executor.closed.max(executor.highest);
                        let closed = executor.closed;
                        executor.snapshots.retain(|id, pending| *id > closed || pending.is_none());
                    }
                }
                Effect::Pause(_) => {}
            }
        }
    }

    fn register(&mut self) {
        let attempt = self.link.attempt();
        let jobs = self.executor.iter().map(|executor| executor.open.job).collect();
        let registration = Registration { worker: self.me.clone(), slots: SLOTS, jobs };
        self.out.push((attempt, FromTaskManager::Register(registration)));
        self.send_inventory(attempt, 0);
    }

    fn send_inventory(&mut self, attempt: u64, request: u64) {
        let fingerprint = self.job.graph().fingerprint();
        let Some(executor) = &mut self.executor else { return };
        executor.reported_on = attempt;
        let inventory = executor.inventory(fingerprint);
        self.out.push((attempt, FromTaskManager::Inventory(executor.open.job, request, Some(inventory))));
    }

    fn report(&mut self, report: Report) {
        if let Some(executor) = &self.executor {
            self.out.push((executor.reported_on, FromTaskManager::Report(executor.open.job, report)));
        }
    }

    /// Something comes by the connection of an attempt.
    pub(super) fn on_message(&mut self, attempt: u64, message: FromLeader) {
        if !self.link.obeys(attempt, message.epoch) {
            return;
        }
        match message.command {
            Command::Heartbeat => {}
            Command::Open(open) => {
                if self.executor.as_ref().is_none_or(|executor| executor.open != *open) {
                    self.executor = Some(Executor::new(*open, attempt));
                }
            }
            Command::Order(job, order) => {
                let is_open = self.executor.as_ref().is_some_and(|executor| executor.open.job == job);
                assert!(is_open || !matches!(order, Order::Deploy(_)), "tasks of a job that is not open");
                if is_open {
                    self.order(order);
                }
            }
            Command::Close(_) => self.executor = None,
            Command::TakeInventory(job, request) if self.executor.is_none() => {
                self.out.push((attempt, FromTaskManager::Inventory(job, request, None)));
            }
            Command::TakeInventory(_, request) => self.send_inventory(attempt, request),
        }
    }

    fn order(&mut self, order: Order) {
        let Some(executor) = &mut self.executor else { return };
        match order {
            Order::Deploy(deployment) => executor.deploy(&self.me, deployment),
            Order::Cancel(attempts) => {
                let last = attempts.get(&0).copied();
                for slot in executor.slots.values_mut().filter(|slot| Some(slot.attempt) <= last) {
                    slot.cancelled = true;
                }
            }
            Order::Trigger(barrier) => {
                executor.highest = executor.highest.max(barrier.checkpoint);
                for slot in executor.slots.values_mut().filter(|slot| !slot.exited) {
                    slot.triggered = slot.triggered.max(barrier.checkpoint);
                    slot.mail.push_back(Mail::Trigger(barrier.checkpoint));
                }
            }
            Order::Assign(task, assignment) => {
                let slot = executor.slots.get_mut(&task.subtask);
                if let Some(slot) = slot.filter(|slot| slot.attempt == task.attempt) {
                    slot.assign(assignment);
                }
            }
            Order::Completed(checkpoint) => {
                for slot in executor.slots.values_mut().filter(|slot| !slot.exited) {
                    slot.splits = slot.splits.split_off(&checkpoint);
                    // As in an executor, only one that took part in it hears of it.
                    if executor.snapshots.contains_key(&checkpoint) {
                        slot.mail.push_back(Mail::Completed(checkpoint));
                    }
                }
                executor.complete(checkpoint);
            }
            Order::Aborted(checkpoint) => {
                executor.highest = executor.highest.max(checkpoint);
                executor.closed = executor.closed.max(checkpoint);
                executor.snapshots.retain(|id, _| *id > checkpoint);
            }
            // Nobody takes savepoints here.
            Order::LimitWatermark(..) | Order::Kept(_) | Order::Exit => {}
        }
    }

    /// One of its slots does something: takes its mail, reads, or ends when it was told to.
    pub(super) fn work(&mut self, n: usize, what: usize) {
        let Some(executor) = &mut self.executor else { return };
        if executor.slots.is_empty() {
            return;
        }
        let n = n % executor.slots.len();
        let Some((s, slot)) = executor.slots.iter_mut().nth(n) else { return };
        let s = *s;
        if slot.exited {
            return;
        }
        let attempt = slot.attempt;
        match what {
            0 if slot.cancelled => {
                slot.exited = true;
                tasks(s, attempt).into_iter().for_each(|task| self.report(Report::Exited(task, None)));
            }
            0 | 1 => match slot.mail.pop_front() {
                Some(Mail::Trigger(checkpoint)) => self.pass(s, checkpoint),
                Some(Mail::Assign(Assignment::Split(split))) => {
                    slot.reader.push((split.id.clone(), Range::of(&split)));
                }
                Some(Mail::Assign(Assignment::NoMoreSplits)) => slot.no_more = true,
                Some(Mail::Completed(checkpoint)) => {
                    let due = slot.due(checkpoint);
                    self.job.commit(&due).expect("committed");
                }
                None => {}
            },
            _ => match slot.reader.last_mut() {
                Some((_, range)) => {
                    slot.numbers.push(range.next);
                    range.next += 1;
                    if range.next == range.end {
                        slot.reader.pop();
                    }
                }
                None if slot.wants_split || slot.no_more || !slot.mail.is_empty() => {}
                None => {
                    slot.wants_split = true;
                    self.report(Report::RequestSplit(tasks(s, attempt)[0]));
                }
            },
        }
    }

    fn pass(&mut self, s: usize, checkpoint: u64) {
        let Some(executor) = &mut self.executor else { return };
        let Some(slot) = executor.slots.get_mut(&s) else { return };
        executor.highest = executor.highest.max(checkpoint);
        let (attempt, numbers) = (slot.attempt, std::mem::take(&mut slot.numbers));
        let id = format!("{checkpoint}-{s}-{attempt}");
        slot.pending.insert(checkpoint, Transaction { id, subtask: s, attempt, numbers });
        let splits =
            slot.reader.iter().map(|(id, range)| (SOURCE.to_owned(), ModelState::Split(range.split(id))));
        let committables = slot.pending.values().map(|transaction| {
            let bytes = serde_json::to_vec(transaction).expect("JSON");
            (SINK.to_owned(), ModelState::Committable(bytes))
        });
        let state = splits.chain(committables).collect();
        if checkpoint <= executor.closed {
            return;
        }
        let pending = executor.snapshots.entry(checkpoint).or_insert_with(|| Some(BTreeMap::new()));
        let Some(passed) = pending else { return };
        passed.insert(s, state);
        if !executor.slots.iter().all(|(s, slot)| slot.exited || passed.contains_key(s)) {
            return;
        }
        let passed = pending.take().unwrap_or_default();
        let tasks = passed.keys().flat_map(|s| tasks(*s, executor.slots[s].attempt)).collect();
        let states = passed.into_values().flatten().collect();
        let states = write_model_state(&self.storage, checkpoint, &self.me.id, states).expect("written");
        self.report(Report::Snapshot { checkpoint, tasks, states });
    }
}

impl Executor {
    fn new(open: OpenJob, reported_on: u64) -> Self {
        Self {
            open,
            reported_on,
            slots: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            closed: 0,
            highest: 0,
            completed: 0,
        }
    }

    fn complete(&mut self, checkpoint: u64) {
        self.highest = self.highest.max(checkpoint);
        self.completed = self.completed.max(checkpoint);
        self.closed = self.closed.max(checkpoint);
        self.snapshots.retain(|id, _| *id > checkpoint);
    }

    fn deploy(&mut self, me: &Worker, deployment: Deployment) {
        if let Some(complete) = deployment.restore {
            self.complete(complete);
        }
        let attempt = deployment.vertices[&0];
        self.slots.retain(|_, slot| slot.attempt >= attempt);
        for (s, _) in deployment.slots.iter().enumerate().filter(|(_, worker)| worker.id == me.id) {
            let triggered = deployment.restore.unwrap_or(0);
            let mut slot = Slot { attempt, triggered, ..Slot::default() };
            for (_, assignment) in deployment.splits.iter().filter(|(to, _)| *to == (0, s)) {
                slot.assign(assignment.clone());
            }
            self.slots.insert(s, slot);
        }
    }

    fn inventory(&self, fingerprint: u64) -> Inventory {
        let of = |(s, slot): (&usize, &Slot)| {
            let task = |task: TaskId| TaskInventory {
                task,
                state: if slot.exited { TaskState::Exited(None) } else { TaskState::Running },
                wants_split: slot.wants_split && task.vertex == 0,
                splits: slot.splits.values().flatten().filter(|_| task.vertex == 0).cloned().collect(),
                progress: None,
            };
            tasks(*s, slot.attempt).map(task)
        };
        Inventory {
            fingerprint,
            tasks: self.slots.iter().flat_map(of).collect(),
            highest_checkpoint: self.highest,
            completed_checkpoint: self.completed,
        }
    }
}
