//! Taking checkpoints: does what the [`CheckpointCoordinator`](crate::checkpoint::coordinator::CheckpointCoordinator) says.
//!
//! Invariant: state, manifest and pointer are written by one thread, each durable before the next; tasks hear of a checkpoint
//! only after its pointer is, and an old one is deleted only after that.

use super::{ENUMERATOR, Flight, Latest, Master, Stop};
use crate::checkpoint::coordinator::{Effect, Event};
use crate::checkpoint::manifest::{Manifest, VERSION};
use crate::checkpoint::storage::{CheckpointStore, Pointer, WriteRequest};
use crate::element::{Barrier, BarrierKind, CheckpointId};
use crate::error::Error;
use crate::mailbox::Mail;
use crate::state::SnapshotFn;
use crate::task::JobEvent;
use crate::time::Timestamp;

impl Master {
    pub(super) fn coordinate(&mut self, event: Event) -> Option<Stop> {
        let now = self.clock.now_ms();
        for effect in self.coordinator.step(event, now) {
            match effect {
                Effect::Trigger(barrier) => self.trigger(barrier, now),
                Effect::Write(_) => self.write(),
                Effect::Aborted(checkpoint, reason) => {
                    tracing::warn!(checkpoint, "checkpoint aborted: {reason}");
                    self.metrics.number_of_failed_checkpoints.add(1);
                    self.flight = None;
                }
                Effect::Completed(barrier) => {
                    for task in self.tasks.values() {
                        task.mailbox.send(Mail::CheckpointComplete(barrier.checkpoint));
                    }
                    if barrier.kind == BarrierKind::Final {
                        return Some(Stop::Finished);
                    }
                }
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
            finished: self.finished_vertices(),
        });
        for v in self.enumerators.keys() {
            for s in 0..self.graph.vertices[*v].parallelism {
                self.tasks[&(*v, s)].mailbox.send(Mail::Trigger(barrier.clone()));
            }
        }
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

    fn write(&mut self) {
        let Some(flight) = self.flight.as_mut() else { return };
        let checkpoint = flight.barrier.checkpoint;
        let manifest = Manifest {
            v: VERSION,
            lineage: self.config.lineage.clone(),
            job: self.config.name.clone(),
            checkpoint,
            kind: flight.barrier.kind,
            timestamp_ms: flight.started,
            max_parallelism: self.graph.max_parallelism,
            config: (*flight.barrier.config).clone(),
            operators: self.graph.vertices.iter().flat_map(|v| v.operators.clone()).collect(),
            finished: std::mem::take(&mut flight.finished),
            states: Vec::new(),
        };
        let request = WriteRequest { manifest, snapshots: std::mem::take(&mut flight.snapshots) };
        let mut retained = self.retained.clone();
        retained.push(checkpoint);
        let expired = retained.len().saturating_sub(self.config.num_retained.max(1));
        let deleted: Vec<CheckpointId> = retained.drain(..expired).collect();
        let (storage, events) = (self.storage.clone(), self.events.clone());
        let write = move || {
            let written = storage.write(request).and_then(|bytes| {
                let pointer = Pointer { v: VERSION, retained: retained.clone() };
                storage.publish(&pointer).map_err(|reason| Error::CheckpointWrite {
                    checkpoint,
                    location: "pointer".into(),
                    reason,
                })?;
                deleted.into_iter().for_each(|old| storage.delete(old));
                Ok((bytes, retained))
            });
            // A master that is gone does not need to know.
            let _ = events.send(JobEvent::CheckpointWritten { checkpoint, result: written });
        };
        match std::thread::Builder::new().name("checkpoint".into()).spawn(write) {
            Ok(thread) => self.writing = Some(thread),
            Err(e) => {
                let reason = format!("cannot start a thread: {e}");
                let error = Error::CheckpointWrite { checkpoint, location: String::new(), reason };
                // The inbox is this master's own, so it is open.
                let _ = self.events.send(JobEvent::CheckpointWritten { checkpoint, result: Err(error) });
            }
        }
    }

    pub(super) fn on_written(
        &mut self,
        checkpoint: CheckpointId,
        result: Result<(u64, Vec<CheckpointId>), Error>,
    ) -> Option<Stop> {
        if let Some(thread) = self.writing.take() {
            // It has just reported.
            let _ = thread.join();
        }
        let flight = self.flight.take();
        let event = match result {
            Err(error) => Event::WriteFailed(checkpoint, error.to_string()),
            Ok((bytes, retained)) => {
                self.latest = Some(Latest::Stored(checkpoint));
                self.retained = retained;
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
