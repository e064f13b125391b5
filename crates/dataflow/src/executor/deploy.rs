//! Starting tasks: their state, the channels between them, their threads.
//!
//! Invariant: an order to deploy names whole regions. Each of its tasks that is to run here is started, or reported as exited
//! with the reason why it could not be.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::thread::JoinHandle;

use super::hosted::Hosted;
use super::order::{Deployment, Report};
use super::{Event, Runner};
use crate::checkpoint::coordinator::Subtask;
use crate::error::{Error, OperatorError};
use crate::exchange::{EdgeSetup, Peer};
use crate::graph::VertexId;
use crate::key_group::range_of;
use crate::mailbox::{Mail, Mailbox};
use crate::network::EdgeId;
use crate::state::{StateKind, StateSegment};
use crate::task::{TaskEvent, TaskId, TaskSetup};

/// The ends of a subtask's channels, types erased.
#[derive(Default)]
struct Ends {
    /// Of each port, its edges.
    outputs: Vec<Vec<Box<dyn Any + Send>>>,
    /// By gate.
    inputs: BTreeMap<usize, Box<dyn Any + Send>>,
}

impl Runner {
    pub(super) fn deploy(&mut self, deployment: Deployment) {
        let here: Vec<TaskId> = self.local(&deployment);
        if let Some(complete) = deployment.restore {
            self.complete(complete);
        }
        // Earlier attempts are over, those of subtasks that run elsewhere now as well: the master does not order it otherwise.
        let is_earlier = |task: &Hosted| {
            deployment.vertices.get(&task.id.vertex).is_some_and(|attempt| task.id.attempt < *attempt)
        };
        let mut earlier: Vec<Hosted> =
            self.tasks.extract_if(|_, task| is_earlier(task)).map(|(_, task)| task).collect();
        earlier.iter().for_each(Hosted::cancel);
        earlier.iter_mut().for_each(Hosted::join);
        if let Err(error) = self.try_deploy(&deployment, &here) {
            let failure = OperatorError::fatal(error);
            for task in here {
                if let Some(mut started) = self.tasks.remove(&(task.vertex, task.subtask)) {
                    started.cancel();
                    started.join();
                }
                self.report(Report::Exited(task, Some(failure.clone())));
            }
        }
    }

    /// The tasks of a deployment that run here.
    fn local(&self, deployment: &Deployment) -> Vec<TaskId> {
        let worker = &self.setup.worker.id;
        let mut tasks = Vec::new();
        for (&vertex, &attempt) in &deployment.vertices {
            let slots = deployment.slots.iter().take(self.setup.graph.vertices[vertex].parallelism);
            let here = slots.enumerate().filter(|(_, slot)| slot.id == *worker);
            tasks.extend(here.map(|(subtask, _)| TaskId { vertex, subtask, attempt }));
        }
        tasks
    }

    fn try_deploy(&mut self, deployment: &Deployment, here: &[TaskId]) -> Result<(), Error> {
        let graph = self.setup.graph.clone();
        let (segments, finished) = self.restored(deployment, here)?;
        let segments = Arc::new(segments);
        let mailboxes: HashMap<Subtask, Arc<Mailbox>> =
            here.iter().map(|task| ((task.vertex, task.subtask), Arc::default())).collect();
        let mut ends = self.connect(deployment, &mailboxes)?;
        for &id in here {
            let vertex = &graph.vertices[id.vertex];
            let subtask = (id.vertex, id.subtask);
            let mailbox = mailboxes[&subtask].clone();
            let ends = ends.remove(&subtask).unwrap_or_default();
            let setup = TaskSetup {
                id,
                parallelism: vertex.parallelism,
                max_parallelism: graph.max_parallelism,
                lineage: self.setup.lineage.clone(),
                clock: self.setup.clock.clone(),
                metrics: self.setup.metrics[id.vertex][id.subtask].clone(),
                mailbox: mailbox.clone(),
                events: self.task_events(),
                outputs: ends.outputs,
                ports: vertex.ports.iter().map(|port| port.side.clone()).collect(),
                inputs: ends.inputs.into_values().collect(),
                restored: segments.clone(),
                config: deployment.config.clone(),
                restored_finished: finished.contains(&vertex.uid),
            };
            let mut hosted = Hosted::new(id, mailbox, deployment.restore.unwrap_or(0));
            if self.paused && vertex.is_source() {
                hosted.send(Mail::Pause(true));
            }
            // Readers have all splits that had been begun before they ask for more: their watermark holds for each of them,
            // so that no row of one that waits its turn is late.
            for (_, assignment) in deployment.splits.iter().filter(|(to, _)| *to == subtask) {
                hosted.assign(assignment.clone());
            }
            for (_, limit) in deployment.limits.iter().filter(|(to, _)| *to == subtask) {
                hosted.send(Mail::LimitWatermark(*limit));
            }
            hosted.runs_on(self.spawn(setup)?);
            self.tasks.insert(subtask, hosted);
        }
        Ok(())
    }

    /// The state of the tasks that run here, and the uids of the vertices that had finished.
    fn restored(
        &self,
        deployment: &Deployment,
        here: &[TaskId],
    ) -> Result<(Vec<StateSegment>, Vec<String>), Error> {
        let Some(checkpoint) = deployment.restore else { return Ok((Vec::new(), Vec::new())) };
        let graph = &self.setup.graph;
        let restored = self.setup.storage.read_where(checkpoint, |entry| {
            let with_state = |task: &&TaskId| graph.vertices[task.vertex].operators.contains(&entry.uid);
            here.iter().filter(with_state).any(|task| {
                let groups =
                    range_of(task.subtask, graph.vertices[task.vertex].parallelism, graph.max_parallelism);
                let (first, last) = entry.key_groups;
                entry.kind != StateKind::Keyed || (first < groups.end && groups.start <= last)
            })
        })?;
        let finished = restored.manifest.finished;
        Ok((Arc::unwrap_or_clone(restored.segments), finished))
    }

    /// Makes the channels of all edges of the deployment's vertices, as far as one of their ends is here.
    fn connect(
        &self,
        deployment: &Deployment,
        mailboxes: &HashMap<Subtask, Arc<Mailbox>>,
    ) -> Result<HashMap<Subtask, Ends>, Error> {
        let graph = &self.setup.graph;
        let peers = |v: VertexId| -> Vec<Peer> {
            let subtasks = (0..graph.vertices[v].parallelism).zip(&deployment.slots);
            subtasks
                .map(|(s, slot)| match mailboxes.get(&(v, s)) {
                    Some(mailbox) => Peer::Local(mailbox.signal().clone()),
                    None => Peer::Remote(slot.exchange_address.as_str().into()),
                })
                .collect()
        };
        let mut ends: HashMap<Subtask, Ends> = HashMap::new();
        for (v, vertex) in graph.vertices.iter().enumerate() {
            let attempt = deployment.vertices.get(&v);
            for s in (0..vertex.parallelism).filter(|s| mailboxes.contains_key(&(v, *s))) {
                ends.entry((v, s)).or_default().outputs = vertex.ports.iter().map(|_| Vec::new()).collect();
            }
            for (port, edge) in
                vertex.ports.iter().enumerate().flat_map(|(p, port)| port.edges.iter().map(move |e| (p, e)))
            {
                let Some(attempt) = attempt else { continue };
                let (senders, receivers) = (edge.make)(EdgeSetup {
                    producers: &peers(v),
                    consumers: &peers(edge.to),
                    max_parallelism: graph.max_parallelism,
                    capacity_bytes: self.setup.channel_capacity_bytes,
                    buffer_timeout: self.setup.buffer_timeout,
                    edge: EdgeId { job: self.setup.job, generation: u64::from(*attempt), index: edge.index },
                    network: self.setup.network.as_deref(),
                })?;
                for (s, sender) in senders.into_iter().enumerate() {
                    if let (Some(sender), Some(ends)) = (sender, ends.get_mut(&(v, s))) {
                        ends.outputs[port].push(sender);
                    }
                }
                for (s, receiver) in receivers.into_iter().enumerate() {
                    if let Some(receiver) = receiver {
                        ends.entry((edge.to, s)).or_default().inputs.insert(edge.gate, receiver);
                    }
                }
            }
        }
        Ok(ends)
    }

    fn task_events(&self) -> Arc<dyn Fn(TaskEvent) + Send + Sync> {
        let events = self.events.clone();
        Arc::new(move |event| {
            // An executor that is gone has cancelled the task.
            let _ = events.send(Event::Task(event));
        })
    }

    fn spawn(&self, setup: TaskSetup) -> Result<JoinHandle<()>, Error> {
        let (graph, tell, task) = (self.setup.graph.clone(), self.task_events(), setup.id);
        let name = graph.vertices[task.vertex].name.clone();
        // Linux shows the first 15 bytes.
        let thread_name = format!("{}/{}", name.replace('\0', " "), task.subtask);
        let run = move || {
            let body = &graph.vertices[task.vertex].body;
            let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| {
                let mut body = body(setup)?;
                tell(TaskEvent::Running(task));
                body.run()
            }));
            let failure = match outcome {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error),
                Err(panic) => {
                    Some(OperatorError::recoverable(format!("panicked: {}", panic_message(&*panic))))
                }
            };
            tell(TaskEvent::Exited { task, failure });
        };
        std::thread::Builder::new()
            .name(thread_name)
            .spawn(run)
            .map_err(|e| Error::InvalidJob(format!("cannot start a thread for `{name}`: {e}")))
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}
