//! A job whose tasks all run in this process: one worker, which cannot be lost.

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};

use super::master::MasterEvent;
use super::workers::{Deposed, Workers};
use super::{Begin, JobConfig, JobHandle, MasterSetup, start_on_thread};
use crate::checkpoint::storage::{CheckpointStorage, Restored};
use crate::error::Error;
use crate::executor::order::{Order, Worker, WorkerId};
use crate::executor::{ExecutorSetup, TaskExecutor, metrics_of};
use crate::graph::{JobGraph, VertexId};
use crate::time::SystemClock;

/// The id of the only worker: part of the names of its state's objects.
const ONLY: &str = "0";

struct Local(TaskExecutor);

impl Workers for Local {
    fn place(
        &mut self,
        slots: usize,
        _: &[Option<Worker>],
        _: &BTreeMap<VertexId, u32>,
    ) -> Result<Option<Vec<Worker>>, Deposed> {
        Ok(Some(vec![this(); slots]))
    }

    fn send(&mut self, _: &WorkerId, order: Order) {
        self.0.order(order);
    }
}

fn this() -> Worker {
    Worker { id: ONLY.into(), exchange_address: String::new() }
}

/// Starts a job in this process, from `restore` if given. The storage must be that of `config.lineage`.
///
/// # Errors
/// When the graph is invalid or the checkpoint does not fit it; nothing was started then.
pub fn start(
    graph: JobGraph,
    config: JobConfig,
    storage: CheckpointStorage,
    restore: Option<Restored>,
) -> Result<JobHandle, Error> {
    graph.validate()?;
    let begin = restore.map_or(Begin::Fresh, |restored| Begin::Restore(restored.manifest.checkpoint));
    let (graph, storage) = (Arc::new(graph), Arc::new(storage));
    let (events, inbox) = mpsc::channel();
    let metrics = metrics_of(&graph);
    let reports = events.clone();
    let executor = TaskExecutor::start(ExecutorSetup {
        graph: graph.clone(),
        job: [0; 16],
        lineage: config.lineage.clone(),
        worker: this(),
        storage: storage.clone(),
        network: None,
        channel_capacity_bytes: config.channel_capacity_bytes,
        buffer_timeout: config.buffer_timeout,
        metrics: metrics.clone(),
        clock: Arc::new(SystemClock),
        reports: Box::new(move |report| {
            // A master that is gone has cancelled the tasks.
            let _ = reports.send(MasterEvent::Report(ONLY.into(), report));
        }),
    })?;
    let setup = MasterSetup {
        graph,
        config,
        pointer: storage.clone(),
        storage,
        begin,
        workers: Box::new(Local(executor)),
        on_status: Box::new(|_| {}),
        metrics,
    };
    start_on_thread(setup, events, inbox)
}
