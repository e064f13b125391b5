//! Runs the subtasks of a job that one process has: starts them as the job's master orders, passes its mail on, writes their
//! state, and reports.
//!
//! Invariants: tasks do not need the master: while it is away they run on, and what it would have been told stays in the
//! [`Inventory`]. A task is started or stopped by an order only. State of a checkpoint is written once all tasks here have
//! passed its barrier, and before the master is told so. A task hears that a checkpoint is complete only if it took part in it.
//!
//! - [`order`]: what master and workers tell each other
//! - `deploy`: starting tasks: channels between them, their threads
//! - `hosted`: what is known of a task that runs here
//! - `snapshots`: from the tasks' snapshots to one object per checkpoint

mod deploy;
mod hosted;
pub mod order;
mod snapshots;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use self::hosted::Hosted;
use self::order::{Inventory, Order, Report, TaskState, Worker};
use self::snapshots::Snapshots;
use crate::checkpoint::coordinator::Subtask;
use crate::checkpoint::manifest::StateEntry;
use crate::checkpoint::storage::CheckpointStorage;
use crate::element::CheckpointId;
use crate::error::Error;
use crate::graph::{JobGraph, VertexId};
use crate::mailbox::Mail;
use crate::metrics::TaskMetrics;
use crate::network::Network;
use crate::task::TaskEvent;
use crate::time::Clock;

/// Metrics of each subtask of each vertex.
pub type GraphMetrics = Vec<Vec<Arc<TaskMetrics>>>;

/// Metrics for all subtasks of `graph`, at their beginning.
pub fn metrics_of(graph: &JobGraph) -> GraphMetrics {
    let subtasks = |parallelism| (0..parallelism).map(|_| Arc::new(TaskMetrics::default())).collect();
    graph.vertices.iter().map(|vertex| subtasks(vertex.parallelism)).collect()
}

/// What an executor works with.
pub struct ExecutorSetup {
    /// The job's graph, as all its processes have planned it.
    pub graph: Arc<JobGraph>,
    /// The job's id.
    pub job: [u8; 16],
    /// Identifies the run and its restores.
    pub lineage: String,
    /// This process.
    pub worker: Worker,
    /// Where state is written to and restored from; the same place for all processes of the job.
    pub storage: Arc<CheckpointStorage>,
    /// Channels to other processes; `None` in a job of one process.
    pub network: Option<Arc<dyn Network>>,
    /// Bound of a channel between two subtasks, bytes.
    pub channel_capacity_bytes: usize,
    /// How long a small batch may wait for others before it is sent.
    pub buffer_timeout: Duration,
    /// Where tasks count.
    pub metrics: GraphMetrics,
    /// The clock of processing time.
    pub clock: Arc<dyn Clock>,
    /// Takes what the master is to be told, in order.
    pub reports: Box<dyn FnMut(Report) + Send>,
}

/// What an executor is told.
enum Event {
    Order(Order),
    Task(TaskEvent),
    Written(CheckpointId, Result<Vec<StateEntry>, String>),
    Inventory(Box<dyn FnOnce(Inventory) + Send>),
    LeaderLost,
    Pause(bool),
    Close,
}

/// The tasks of one job in this process. Dropping it stops them.
pub struct TaskExecutor {
    events: mpsc::Sender<Event>,
    thread: Option<JoinHandle<()>>,
}

impl TaskExecutor {
    /// An executor without tasks.
    ///
    /// # Errors
    /// When its thread cannot be started.
    pub fn start(setup: ExecutorSetup) -> Result<Self, Error> {
        let (events, inbox) = mpsc::channel();
        let runner = Runner {
            setup,
            events: events.clone(),
            tasks: HashMap::new(),
            snapshots: Snapshots::default(),
            highest_checkpoint: 0,
            completed_checkpoint: 0,
            paused: false,
        };
        let thread = std::thread::Builder::new()
            .name("executor".into())
            .spawn(move || runner.run(&inbox))
            .map_err(|e| Error::InvalidJob(format!("cannot start the job's executor: {e}")))?;
        Ok(Self { events, thread: Some(thread) })
    }

    fn tell(&self, event: Event) {
        // It ends only when this handle goes.
        let _ = self.events.send(event);
    }

    /// Carries out an order.
    pub fn order(&self, order: Order) {
        self.tell(Event::Order(order));
    }

    /// Hands over what is here, on the executor's thread, after all orders so far: reports before that are contained in it,
    /// those after it are not.
    pub fn with_inventory(&self, take: impl FnOnce(Inventory) + Send + 'static) {
        self.tell(Event::Inventory(Box::new(take)));
    }

    /// The master is gone, and with it what it had in flight: no task waits for a barrier that may never come.
    pub fn leader_lost(&self) {
        self.tell(Event::LeaderLost);
    }

    /// Stops reading from the outside, or goes on. Rows that are on their way go on.
    pub fn pause_sources(&self, pause: bool) {
        self.tell(Event::Pause(pause));
    }

    /// Stops all tasks, and waits for them.
    pub fn close(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        self.tell(Event::Close);
        if let Some(thread) = self.thread.take() {
            // It has nothing to say at its end.
            let _ = thread.join();
        }
    }
}

impl Drop for TaskExecutor {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Runner {
    setup: ExecutorSetup,
    events: mpsc::Sender<Event>,
    tasks: HashMap<Subtask, Hosted>,
    snapshots: Snapshots,
    highest_checkpoint: CheckpointId,
    completed_checkpoint: CheckpointId,
    paused: bool,
}

impl Runner {
    fn run(mut self, inbox: &mpsc::Receiver<Event>) {
        while let Ok(event) = inbox.recv() {
            match event {
                Event::Order(order) => self.on_order(order),
                Event::Task(event) => self.on_task(event),
                Event::Written(checkpoint, result) => self.on_written(checkpoint, result),
                Event::Inventory(take) => take(self.inventory()),
                Event::LeaderLost => self.interrupt(),
                Event::Pause(pause) => self.pause(pause),
                Event::Close => break,
            }
        }
        self.tasks.values().for_each(Hosted::cancel);
        for task in self.tasks.values_mut() {
            task.join();
        }
        self.snapshots.join();
    }

    fn on_order(&mut self, order: Order) {
        match order {
            Order::Deploy(deployment) => self.deploy(deployment),
            Order::Cancel(vertices) => self.cancel(&vertices),
            Order::Trigger(barrier) => {
                self.highest_checkpoint = self.highest_checkpoint.max(barrier.checkpoint);
                for ((v, _), task) in &mut self.tasks {
                    if self.setup.graph.vertices[*v].is_source() {
                        task.trigger(&barrier);
                    }
                }
            }
            Order::Assign(task, assignment) => {
                if let Some(hosted) = self.current(task) {
                    hosted.assign(assignment);
                }
            }
            Order::LimitWatermark(task, limit) => {
                if let Some(hosted) = self.current(task) {
                    hosted.send(Mail::LimitWatermark(limit));
                }
            }
            Order::Completed(checkpoint) => {
                // One of an attempt that was replaced without anybody here knowing may have taken no part in it: what it holds back
                // for an earlier checkpoint, which was given up, is not in this one.
                for task in self.tasks.values_mut() {
                    task.completed(checkpoint, self.snapshots.has(checkpoint, task.id));
                }
                self.complete(checkpoint);
            }
            Order::Kept(savepoint) => {
                self.highest_checkpoint = self.highest_checkpoint.max(savepoint);
                self.snapshots.forget(savepoint);
            }
            Order::Aborted(checkpoint) => self.abort(checkpoint),
            Order::Exit => self.tasks.values().for_each(|task| task.send(Mail::Exit)),
        }
    }

    fn cancel(&mut self, vertices: &BTreeMap<VertexId, u32>) {
        for ((v, _), task) in &self.tasks {
            if vertices.get(v).is_some_and(|attempt| task.id.attempt <= *attempt) {
                task.cancel();
            }
        }
    }

    /// Knows that `checkpoint` is complete: what is written of it stays.
    fn complete(&mut self, checkpoint: CheckpointId) {
        self.highest_checkpoint = self.highest_checkpoint.max(checkpoint);
        self.completed_checkpoint = self.completed_checkpoint.max(checkpoint);
        self.snapshots.forget(checkpoint);
    }

    /// Gives up `checkpoint`, and all before it that have not completed.
    fn abort(&mut self, checkpoint: CheckpointId) {
        self.highest_checkpoint = self.highest_checkpoint.max(checkpoint);
        for given_up in self.snapshots.abort(checkpoint) {
            self.setup.storage.delete_state(given_up, &self.setup.worker.id);
        }
        self.tasks.values().for_each(|task| task.send(Mail::Aborted(checkpoint)));
    }

    /// Waits for no barrier any more. What is written stays: the checkpoint may be complete without anybody here knowing. Sources
    /// wait for none; those that have stopped with a savepoint stay so until somebody knows whether the job has.
    fn interrupt(&mut self) {
        self.snapshots.interrupt(self.highest_checkpoint);
        for ((v, _), task) in &self.tasks {
            if !self.setup.graph.vertices[*v].is_source() {
                task.send(Mail::Aborted(self.highest_checkpoint));
            }
        }
    }

    fn pause(&mut self, pause: bool) {
        self.paused = pause;
        for ((v, _), task) in &self.tasks {
            if self.setup.graph.vertices[*v].is_source() {
                task.send(Mail::Pause(pause));
            }
        }
    }

    fn current(&mut self, task: crate::task::TaskId) -> Option<&mut Hosted> {
        self.tasks.get_mut(&(task.vertex, task.subtask)).filter(|hosted| hosted.id == task)
    }

    fn report(&mut self, report: Report) {
        (self.setup.reports)(report);
    }

    fn on_task(&mut self, event: TaskEvent) {
        match event {
            TaskEvent::Running(task) => {
                if self.current(task).is_some() {
                    self.report(Report::Running(task));
                }
            }
            TaskEvent::RequestSplit(task) => {
                let Some(hosted) = self.current(task) else { return };
                hosted.wants_split = true;
                self.report(Report::RequestSplit(task));
            }
            TaskEvent::Progress { task, watermark } => {
                let Some(hosted) = self.current(task) else { return };
                hosted.progress = Some(watermark);
                self.report(Report::Progress(task, watermark));
            }
            TaskEvent::Finished(task) => {
                let Some(hosted) = self.current(task) else { return };
                hosted.state = TaskState::Finished;
                self.report(Report::Finished(task));
            }
            TaskEvent::Snapshot { task, checkpoint, savepoint, state } => {
                if self.current(task).is_none() {
                    return;
                }
                self.highest_checkpoint = self.highest_checkpoint.max(checkpoint);
                self.snapshots.add(checkpoint, task, state, savepoint);
                let missing = |hosted: &Hosted| {
                    !matches!(hosted.state, TaskState::Exited(_))
                        && !self.snapshots.has(checkpoint, hosted.id)
                };
                if !self.tasks.values().any(missing) {
                    self.write(checkpoint);
                }
            }
            TaskEvent::Exited { task, failure } => {
                let Some(hosted) = self.current(task) else { return };
                hosted.join();
                hosted.state = TaskState::Exited(failure.clone());
                self.report(Report::Exited(task, failure));
            }
        }
    }

    fn inventory(&self) -> Inventory {
        let mut tasks: Vec<_> = self.tasks.values().map(Hosted::inventory).collect();
        tasks.sort_by_key(|task| task.task);
        Inventory {
            fingerprint: self.setup.graph.fingerprint(),
            tasks,
            highest_checkpoint: self.highest_checkpoint,
            completed_checkpoint: self.completed_checkpoint,
        }
    }
}
