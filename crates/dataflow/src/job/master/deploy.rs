//! Starting tasks: channels between them, their enumerators and sinks, their threads.
//!
//! Invariant: a region is started as a whole, from the latest checkpoint; its sinks have committed what that holds, and
//! removed what came after it, before any of its tasks runs. Splits that had been begun are with a reader from the start.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::thread::JoinHandle;

use super::{ENUMERATOR, Latest, Master, Task};
use crate::channel::lock;
use crate::checkpoint::coordinator::Subtask;
use crate::error::{Error, OperatorError};
use crate::exchange::{EdgeSetup, Peer};
use crate::graph::VertexId;
use crate::mailbox::{Mail, Mailbox};
use crate::network::EdgeId;
use crate::sink::COMMITTABLES;
use crate::state::StateSegment;
use crate::task::{JobEvent, SPLITS, TaskId, TaskSetup, decode_split};

impl Master {
    /// Starts all subtasks of `vertices`, which are whole regions, from the latest checkpoint.
    pub(super) fn deploy(&mut self, vertices: &[VertexId]) -> Result<(), Error> {
        let graph = self.graph.clone();
        let latest = match &self.latest {
            None => None,
            Some(Latest::Loaded(restored)) => Some(restored.clone()),
            Some(Latest::Stored(checkpoint)) => Some(Arc::new(self.storage.read(*checkpoint)?)),
        };
        if let Some(restored) = &latest {
            self.latest = Some(Latest::Stored(restored.manifest.checkpoint));
        }
        let segments = latest.as_ref().map(|l| l.segments.clone()).unwrap_or_default();
        let config = match &latest {
            Some(restored) => Arc::new(restored.manifest.config.clone()),
            None => self.coordinator.snapshot().clone(),
        };
        let finished = |uid: &String| latest.as_ref().is_some_and(|l| l.manifest.finished.contains(uid));
        let mut begun: Vec<(VertexId, usize)> = Vec::new();
        for &v in vertices {
            begun.push((v, self.prepare(v, &segments)?));
        }
        let mailboxes: HashMap<Subtask, Arc<Mailbox>> = vertices
            .iter()
            .flat_map(|&v| {
                (0..graph.vertices[v].parallelism).map(move |s| ((v, s), Arc::new(Mailbox::default())))
            })
            .collect();
        // Readers have all splits that had been begun before they ask for more: their watermark holds for each of them, so
        // that no row of one that waits its turn is late.
        for (v, splits) in begun {
            let Some(enumerator) = self.enumerators.get_mut(&v) else { continue };
            for i in 0..splits {
                let subtask = i % graph.vertices[v].parallelism;
                mailboxes[&(v, subtask)].send(Mail::Assign(enumerator.next_split(subtask)));
            }
        }
        let peers = |v: VertexId| -> Vec<_> {
            let signal = |s| mailboxes[&(v, s)].signal().clone();
            (0..graph.vertices[v].parallelism).map(|s| Peer::Local(signal(s))).collect()
        };
        let mut outputs: HashMap<Subtask, Vec<Vec<Box<dyn Any + Send>>>> = HashMap::new();
        let mut inputs: HashMap<Subtask, BTreeMap<usize, Box<dyn Any + Send>>> = HashMap::new();
        for &v in vertices {
            let ports = &graph.vertices[v].ports;
            for s in 0..graph.vertices[v].parallelism {
                outputs.insert((v, s), ports.iter().map(|_| Vec::new()).collect());
            }
            let edges = ports.iter().enumerate().flat_map(|(p, port)| port.edges.iter().map(move |e| (p, e)));
            for (port, edge) in edges {
                let (senders, receivers) = (edge.make)(EdgeSetup {
                    producers: &peers(v),
                    consumers: &peers(edge.to),
                    max_parallelism: graph.max_parallelism,
                    capacity_bytes: self.config.channel_capacity_bytes,
                    buffer_timeout: self.config.buffer_timeout,
                    edge: EdgeId { job: [0; 16], generation: 0, index: edge.index },
                    network: None,
                })?;
                for (s, sender) in senders.into_iter().enumerate() {
                    if let (Some(ports), Some(sender)) = (outputs.get_mut(&(v, s)), sender) {
                        ports[port].push(sender);
                    }
                }
                for (s, receiver) in receivers.into_iter().enumerate() {
                    if let Some(receiver) = receiver {
                        inputs.entry((edge.to, s)).or_default().insert(edge.gate, receiver);
                    }
                }
            }
        }
        for &v in vertices {
            let vertex = &graph.vertices[v];
            let attempt = *self.attempts.entry(v).and_modify(|a| *a += 1).or_insert(0);
            lock(&self.observed).vertices[v].finished = 0;
            for s in 0..vertex.parallelism {
                let id = TaskId { vertex: v, subtask: s, attempt };
                let metrics = lock(&self.observed).vertices[v].subtasks[s].clone();
                let mailbox = mailboxes[&(v, s)].clone();
                let setup = TaskSetup {
                    id,
                    parallelism: vertex.parallelism,
                    max_parallelism: graph.max_parallelism,
                    lineage: self.config.lineage.clone(),
                    clock: self.clock.clone(),
                    metrics,
                    mailbox: mailbox.clone(),
                    events: self.events.clone(),
                    outputs: outputs.remove(&(v, s)).unwrap_or_default(),
                    ports: vertex.ports.iter().map(|port| port.side.clone()).collect(),
                    inputs: inputs.remove(&(v, s)).map(|m| m.into_values().collect()).unwrap_or_default(),
                    restored: segments.clone(),
                    config: config.clone(),
                    restored_finished: finished(&vertex.uid),
                };
                let thread = self.spawn(setup)?;
                self.tasks.insert((v, s), Task { mailbox, attempt, thread: Some(thread), finished: false });
                if let Some(alignment) = &vertex.alignment {
                    let limits = self.alignment.join((v, s), alignment);
                    self.limit(limits);
                }
            }
        }
        Ok(())
    }

    /// What comes before the tasks of a vertex: its enumerator, and its sinks' commits. Returns how many splits came back
    /// from readers: the enumerator gives them out first.
    fn prepare(&mut self, v: VertexId, segments: &[StateSegment]) -> Result<usize, Error> {
        let graph = self.graph.clone();
        let vertex = &graph.vertices[v];
        let attempt = self.attempts.get(&v).map_or(0, |a| a + 1);
        let fail = |source: OperatorError| Error::Task {
            operator: vertex.name.clone(),
            subtask: 0,
            attempt,
            source,
        };
        let items = |uid: &str, name: &str| -> Vec<Vec<u8>> {
            let of_name = segments.iter().filter(|s| s.uid == uid && s.name == name);
            of_name.flat_map(|s| s.frames.iter().map(|(_, bytes)| bytes.clone())).collect()
        };
        let mut begun = 0;
        if let Some(make) = &vertex.enumerator {
            let restored = items(&vertex.uid, ENUMERATOR.0);
            let mut enumerator =
                make(vertex.parallelism, restored.first().map(Vec::as_slice)).map_err(fail)?;
            let splits: Result<Vec<_>, _> =
                items(&vertex.uid, SPLITS.0).iter().map(|bytes| decode_split(bytes)).collect();
            let splits = splits.map_err(fail)?;
            begun = splits.len();
            enumerator.add_splits_back(splits);
            self.enumerators.insert(v, enumerator);
        }
        if self.latest.is_some() || attempt > 0 {
            for (uid, committer) in &vertex.committers {
                committer.recover(&self.config.lineage, &items(uid, COMMITTABLES.0)).map_err(fail)?;
            }
        }
        Ok(begun)
    }

    fn spawn(&self, setup: TaskSetup) -> Result<JoinHandle<()>, Error> {
        let (graph, events, task) = (self.graph.clone(), self.events.clone(), setup.id);
        let name = graph.vertices[task.vertex].name.clone();
        // Linux shows the first 15 bytes.
        let thread_name = format!("{}/{}", name.replace('\0', " "), task.subtask);
        let run = move || {
            let body = &graph.vertices[task.vertex].body;
            let outcome =
                std::panic::catch_unwind(AssertUnwindSafe(|| body(setup).and_then(|mut body| body.run())));
            let failure = match outcome {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error),
                Err(panic) => {
                    Some(OperatorError::recoverable(format!("panicked: {}", panic_message(&*panic))))
                }
            };
            // A master that is gone has cancelled this task.
            let _ = events.send(JobEvent::Exited { task, failure });
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
