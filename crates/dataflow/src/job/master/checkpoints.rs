//! Taking checkpoints: does what the [`CheckpointCoordinator`](crate::checkpoint::coordinator::CheckpointCoordinator) says.
//!
//! Invariant: the tasks' state is durable before they answer; the enumerators' state, the manifest and the pointer are
//! written by one thread, each durable before the next; tasks hear of a checkpoint only after its pointer is, and an old one
//! is deleted only after that.

use std::collections::BTreeMap;

use super::{ENUMERATOR, Flight, Master, MasterEvent, Stop};
use crate::checkpoint::coordinator::{Effect, Event};
use crate::checkpoint::manifest::{Manifest, StateEntry, VERSION};
use crate::checkpoint::savepoint;
use crate::checkpoint::storage::{CheckpointStorage, CheckpointStore, Pointer};
use crate::element::{Barrier, BarrierKind, CheckpointId};
use crate::error::Error;
use crate::executor::order::Order;
use crate::graph::JobGraph;
use crate::state::SnapshotFn;
use crate::task::TaskId;
use crate::time::Timestamp;

/// What was written of a checkpoint: size in bytes, and which ones the job can restart from; `None`: the same as before.
pub(super) type Written = (u64, Option<Vec<CheckpointId>>);

/// The enumerators' object of state.
const MASTER: &str = "master";

impl Master {
    pub(super) fn coordinate(&mut self, event: Event) -> Option<Stop> {
        let now = self.clock.now_ms();
        for effect in self.coordinator.step(event, now) {
            match effect {
                Effect::Trigger(barrier) => self.trigger(barrier, now),
                Effect::Write(_) => self.write(),
                Effect::Aborted(checkpoint, reason) => {
                    tracing::warn!(job = self.config.name, checkpoint, "checkpoint aborted: {reason}");
                    self.metrics.number_of_failed_checkpoints.add(1);
                    if let Some(savepoint) = self.flight.take().and_then(|flight| flight.barrier.savepoint) {
                        savepoint::abandon(&savepoint);
                    }
                    self.broadcast(&Order::Aborted(checkpoint));
                }
                Effect::Completed(barrier) if barrier.kind == BarrierKind::Savepoint => {
                    self.broadcast(&Order::Kept(barrier.checkpoint));
                }
                Effect::Completed(barrier) => {
                    self.broadcast(&Order::Completed(barrier.checkpoint));
                    if barrier.kind.ends_job() {
                        return Some(Stop::Finished);
                    }
                }
                Effect::Answered(request, answer) => self.answer(request, answer),
                Effect::FailJob(reason) => return Some(Stop::Failed(Error::InvalidJob(reason))),
            }
        }
        None
    }

    fn trigger(&mut self, barrier: Barrier, now: Timestamp) {
        let mut snapshots: Vec<(String, SnapshotFn)> = Vec::new();
        for (v, enumerator) in &self.enumerators {
            let captured = enumerator.snapshot();
            let write: SnapshotFn = Box::new(move |writer| {
                writer.list(ENUMERATOR.0, ENUMERATOR.1, captured?);
                Ok(())
            });
            snapshots.push((self.graph.vertices[*v].uid.clone(), write));
        }
        self.flight = Some(Flight {
            barrier: barrier.clone(),
            started: now,
            snapshots,
            states: Vec::new(),
            finished: self.finished_vertices(),
        });
        self.broadcast(&Order::Trigger(barrier));
    }

    /// Uids of the vertices whose subtasks have all finished: their barrier can only come after their end.
    fn finished_vertices(&self) -> Vec<String> {
        let vertices = self.graph.vertices.iter().enumerate();
        vertices
            .filter(|(v, vertex)| {
                (0..vertex.parallelism).all(|s| self.tasks.get(&(*v, s)).is_some_and(|t| t.finished))
            })
            .map(|(_, vertex)| vertex.uid.clone())
            .collect()
    }

    /// The tasks of a worker have passed the barrier.
    pub(super) fn on_snapshot(
        &mut self,
        checkpoint: CheckpointId,
        tasks: &[TaskId],
        states: Vec<StateEntry>,
    ) -> Option<Stop> {
        if !tasks.iter().all(|task| self.is_current(*task)) {
            return None;
        }
        let flight = self.flight.as_mut().filter(|flight| flight.barrier.checkpoint == checkpoint)?;
        flight.states.extend(states);
        for task in tasks {
            let acknowledged = Event::Acknowledged(checkpoint, (task.vertex, task.subtask));
            if let Some(stop) = self.coordinate(acknowledged) {
                return Some(stop);
            }
        }
        None
    }

    fn write(&mut self) {
        let Some(flight) = self.flight.as_mut() else { return };
        let checkpoint = flight.barrier.checkpoint;
        let mut manifest = Manifest {
            v: VERSION,
            lineage: self.config.lineage.clone(),
            job: self.config.name.clone(),
            checkpoint,
            kind: flight.barrier.kind,
            timestamp_ms: flight.started,
            max_parallelism: self.graph.max_parallelism,
            config: (*flight.barrier.config).clone(),
            origin: None,
            operators: self.graph.vertices.iter().flat_map(|v| v.operators.clone()).collect(),
            names: names(&self.graph),
            finished: std::mem::take(&mut flight.finished),
            states: std::mem::take(&mut flight.states),
        };
        let snapshots = std::mem::take(&mut flight.snapshots);
        let savepoint = flight.barrier.savepoint.clone();
        let (retained, num_retained) = (self.retained.clone(), self.config.num_retained.max(1));
        let (storage, pointer, events) = (self.storage.clone(), self.pointer.clone(), self.events.clone());
        let write = move || {
            let write_all = || {
                let states = match &savepoint {
                    None => storage.write_state(checkpoint, MASTER, snapshots),
                    Some(path) => savepoint::storage(path)?.write_state(checkpoint, MASTER, snapshots),
                };
                manifest.states.extend(states?);
                let bytes = match &savepoint {
                    None => storage.write_manifest(&manifest)?,
                    Some(path) => {
                        let (bytes, last) = savepoint::write_manifest(path, &manifest)?;
                        if !last.kind.ends_job() {
                            return Ok((bytes, None));
                        }
                        storage.write_manifest(&last)?;
                        bytes
                    }
                };
                let retained = publish(&storage, &*pointer, retained, checkpoint, num_retained)?;
                Ok((bytes, Some(retained)))
            };
            let written = write_all();
            // A master that is gone does not need to know.
            let _ = events.send(MasterEvent::Written(checkpoint, written));
        };
        match (self.spawn)(Box::new(write)) {
            Ok(writing) => self.writing = Some(writing),
            Err(e) => {
                let reason = format!("cannot start a thread: {e}");
                let error = Error::CheckpointWrite { checkpoint, location: String::new(), reason };
                // The inbox is this master's own, so it is open.
                let _ = self.events.send(MasterEvent::Written(checkpoint, Err(error)));
            }
        }
    }

    pub(super) fn on_written(
        &mut self,
        checkpoint: CheckpointId,
        result: Result<Written, Error>,
    ) -> Option<Stop> {
        if let Some(writing) = self.writing.take() {
            writing.join();
        }
        let flight = self.flight.take_if(|_| result.is_ok());
        let event = match result {
            Err(error) => Event::WriteFailed(checkpoint, error.to_string()),
            Ok((bytes, retained)) => {
                if let Some(retained) = retained {
                    self.latest = Some(checkpoint);
                    self.retained = retained;
                }
                let started = flight.map_or(0, |f| f.started);
                self.metrics.last_checkpoint_duration.set(self.clock.now_ms() - started);
                self.metrics.last_checkpoint_size.set(bytes as i64);
                self.metrics.last_checkpoint_id.set(checkpoint as i64);
                self.metrics.number_of_completed_checkpoints.add(1);
                Event::Written(checkpoint)
            }
        };
        self.coordinate(event)
    }
}

/// Makes a checkpoint count, and deletes those that are too many then. Returns the others.
fn publish(
    storage: &CheckpointStorage,
    pointer: &dyn CheckpointStore,
    mut retained: Vec<CheckpointId>,
    checkpoint: CheckpointId,
    num_retained: usize,
) -> Result<Vec<CheckpointId>, Error> {
    retained.push(checkpoint);
    let expired = retained.len().saturating_sub(num_retained);
    let deleted: Vec<CheckpointId> = retained.drain(..expired).collect();
    let latest = Pointer { v: VERSION, retained: retained.clone() };
    pointer.publish(&latest).map_err(|reason| Error::CheckpointWrite {
        checkpoint,
        location: "pointer".into(),
        reason,
    })?;
    deleted.into_iter().for_each(|old| storage.delete(old));
    Ok(retained)
}

fn names(graph: &JobGraph) -> BTreeMap<String, String> {
    let of_vertex = |vertex: &crate::graph::Vertex| {
        let name = vertex.name.clone();
        vertex.operators.clone().into_iter().map(move |uid| (uid, name.clone()))
    };
    graph.vertices.iter().flat_map(of_vertex).collect()
}
