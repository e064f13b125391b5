//! One job in a TaskManager: its executor, and what is told of it.
//!
//! Invariant: on each connection, what is reported follows the inventory, and what the inventory contains is not reported again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

use streamkeeper_coordination::jobs::JobSpec;
use streamkeeper_dataflow::checkpoint::coordinator::Subtask;
use streamkeeper_dataflow::checkpoint::storage::CheckpointStorage;
use streamkeeper_dataflow::executor::order::{Deployment, Order, Worker};
use streamkeeper_dataflow::executor::{ExecutorSetup, GraphMetrics, TaskExecutor, metrics_of};
use streamkeeper_dataflow::graph::JobGraph;
use streamkeeper_dataflow::job::job_config;
use streamkeeper_dataflow::network::Network;
use streamkeeper_dataflow::task::TaskId;
use streamkeeper_dataflow::time::SystemClock;

use super::shell::Event;
use crate::planner::Planner;
use crate::rpc::message::{OpenJob, TaskProgress};

/// A job here.
pub(super) struct HostedJob {
    /// How it was opened.
    pub(super) open: OpenJob,
    /// Tells it from one of the same id that was closed.
    pub(super) instance: u64,
    /// The attempt of the connection on which the inventory has been sent: reports may follow.
    pub(super) reported_on: Option<u64>,
    executor: TaskExecutor,
    graph: Arc<JobGraph>,
    metrics: GraphMetrics,
    /// Attempts of the tasks that were deployed here.
    deployed: BTreeMap<Subtask, u32>,
    told: Vec<TaskProgress>,
}

impl HostedJob {
    /// Plans the job, and is ready to run its tasks.
    pub(super) fn open(
        open: OpenJob,
        instance: u64,
        worker: Worker,
        network: Option<Arc<dyn Network>>,
        planner: &dyn Planner,
        events: Sender<Event>,
    ) -> Result<Self, String> {
        let spec: JobSpec =
            serde_json::from_str(&open.spec).map_err(|e| format!("its spec is damaged: {e}"))?;
        let planned = planner.plan(&spec)?;
        let graph = Arc::new(planned.graph);
        let fingerprint = graph.fingerprint();
        if fingerprint != open.fingerprint {
            return Err(format!(
                "TaskManager {} plans it differently (fingerprint {fingerprint:016x}, the JobManager's is {:016x}); \
                 run the same version of Streamkeeper everywhere",
                worker.id, open.fingerprint
            ));
        }
        let storage = CheckpointStorage::directory(&open.checkpoint_directory, &open.lineage);
        let storage = storage.map_err(|e| e.to_string())?;
        let metrics = metrics_of(&graph);
        let config = job_config(&planned.name, open.lineage.clone(), &planned.settings, planned.config);
        let job = open.job;
        let setup = ExecutorSetup {
            graph: graph.clone(),
            job: job.0,
            lineage: open.lineage.clone(),
            worker,
            storage: Arc::new(storage),
            network,
            channel_capacity_bytes: config.channel_capacity_bytes,
            buffer_timeout: config.buffer_timeout,
            metrics: metrics.clone(),
            clock: Arc::new(SystemClock),
            // Nobody listens once the TaskManager has stopped.
            reports: Box::new(move |report| drop(events.send(Event::Report(job, instance, report)))),
        };
        let executor = TaskExecutor::start(setup).map_err(|e| e.to_string())?;
        Ok(Self {
            open,
            instance,
            reported_on: None,
            executor,
            graph,
            metrics,
            deployed: BTreeMap::new(),
            told: Vec::new(),
        })
    }

    /// Passes an order on.
    pub(super) fn order(&mut self, me: &Worker, order: Order) {
        if let Order::Deploy(deployment) = &order {
            let tasks = tasks_of(deployment, me);
            let exists = |task: &TaskId| {
                self.graph.vertices.get(task.vertex).is_some_and(|v| task.subtask < v.parallelism)
            };
            for task in tasks.filter(exists) {
                self.deployed.insert((task.vertex, task.subtask), task.attempt);
            }
        }
        self.executor.order(order);
    }

    /// Has the inventory sent to the shell, between the reports that it contains and those that follow it.
    pub(super) fn take_inventory(&self, attempt: u64, request: u64, events: &Sender<Event>) {
        let (job, instance, events) = (self.open.job, self.instance, events.clone());
        self.executor.with_inventory(move |inventory| {
            // As with reports.
            let _ = events.send(Event::Inventory(job, instance, attempt, request, inventory));
        });
    }

    /// As [`TaskExecutor::leader_lost`].
    pub(super) fn leader_lost(&self) {
        self.executor.leader_lost();
    }

    /// As [`TaskExecutor::pause_sources`].
    pub(super) fn pause_sources(&self, pause: bool) {
        self.executor.pause_sources(pause);
    }

    /// How the tasks do, unless that is what was told last.
    pub(super) fn progress(&mut self) -> Option<Vec<TaskProgress>> {
        let progress: Vec<_> = self
            .deployed
            .iter()
            .filter_map(|((vertex, subtask), attempt)| {
                let metrics = self.metrics.get(*vertex)?.get(*subtask)?;
                let task = TaskId { vertex: *vertex, subtask: *subtask, attempt: *attempt };
                Some(TaskProgress { task, metrics: metrics.snapshot().map(|(_, value)| value).to_vec() })
            })
            .collect();
        if progress == self.told {
            return None;
        }
        self.told.clone_from(&progress);
        Some(progress)
    }

    /// A new leader knows nothing yet.
    pub(super) fn forget_told(&mut self) {
        self.told.clear();
    }

    /// Stops its tasks, in the background, since they may take a while. Without a thread it takes the shell's time.
    pub(super) fn close(self) -> Option<JoinHandle<()>> {
        let Self { executor, .. } = self;
        std::thread::Builder::new().name("job-close".into()).spawn(move || executor.close()).ok()
    }
}

/// The tasks of a deployment that are `me`'s, if the vertices have as many subtasks.
pub(super) fn tasks_of(deployment: &Deployment, me: &Worker) -> impl Iterator<Item = TaskId> {
    let mine: Vec<usize> = (0..deployment.slots.len()).filter(|s| deployment.slots[*s].id == me.id).collect();
    let vertices = deployment.vertices.clone();
    vertices.into_iter().flat_map(move |(vertex, attempt)| {
        mine.clone().into_iter().map(move |subtask| TaskId { vertex, subtask, attempt })
    })
}
