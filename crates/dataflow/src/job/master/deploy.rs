//! Starting regions: who runs them, their enumerators and sinks, the orders to their workers.
//!
//! Invariant: a region is started as a whole, from the latest checkpoint; its sinks have committed what that holds, and
//! removed what came after it, before any of its tasks runs. Splits that had been begun are with a reader from the start. Who
//! runs what is durable before a task is started.

use std::collections::BTreeMap;

use super::{ENUMERATOR, Event, Master, Stop, Task};
use crate::channel::lock;
use crate::checkpoint::coordinator::Subtask;
use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::storage::Restored;
use crate::error::{Error, OperatorError};
use crate::executor::order::{Deployment, Order, Worker, WorkerId};
use crate::graph::VertexId;
use crate::job::JobStatus;
use crate::sink::{COMMITTABLES, Committable, Committer};
use crate::source::Assignment;
use crate::state::StateSegment;
use crate::task::{SPLITS, decode_split};

impl Master {
    /// Starts the regions whose time has come, if they can be.
    pub(super) fn start_due_regions(&mut self) -> Option<Stop> {
        let now = self.clock.now_ms();
        self.looked = now;
        let due: Vec<VertexId> =
            self.restarting.iter().filter(|(_, r)| r.due <= now && !r.starved).map(|(v, _)| *v).collect();
        if self.writing.is_some() {
            // What is being written may become the checkpoint to restart from.
            return None;
        }
        let mut vertices: Vec<VertexId> = Vec::new();
        for region in due {
            let of_region = self.vertices_of(region);
            let lives = |((v, _), task): (&Subtask, &Task)| of_region.contains(v) && !task.exited;
            if !self.tasks.iter().any(lives) {
                vertices.extend(of_region);
            }
        }
        if vertices.is_empty() {
            return None;
        }
        vertices.sort_unstable();
        match self.deploy(&vertices) {
            Err(Failure::Error(error)) => return Some(Stop::Failed(error)),
            Err(Failure::Deposed) => return Some(Stop::Abandoned),
            Ok(false) => {
                for region in vertices.iter().map(|v| self.regions[*v]) {
                    self.restarting.entry(region).and_modify(|r| r.starved = true);
                }
                return None;
            }
            Ok(true) => self.restarting.retain(|region, _| !vertices.contains(region)),
        }
        if self.restarting.is_empty() {
            self.set_status(JobStatus::Running);
            return self.coordinate(Event::Resumed);
        }
        None
    }

    /// Starts all subtasks of `vertices`, which are whole regions, from the latest checkpoint. False: there are not enough slots.
    fn deploy(&mut self, vertices: &[VertexId]) -> Result<bool, Failure> {
        let next = |attempt: Option<&u32>| attempt.map_or(0, |attempt| attempt + 1);
        let starting: BTreeMap<VertexId, u32> =
            vertices.iter().map(|v| (*v, next(self.attempts.get(v)))).collect();
        let mut attempts = self.attempts.clone();
        attempts.extend(starting.clone());
        let placed = self.workers.place(self.slots.len(), &self.slots, &attempts);
        let Some(slots) = placed.map_err(|_| Failure::Deposed)? else { return Ok(false) };
        self.attempts = attempts;
        self.slots = slots.iter().cloned().map(Some).collect();
        let latest = match self.latest {
            None => None,
            // Tasks read the rest where they are.
            Some(checkpoint) => {
                Some(self.storage.read_where(checkpoint, |entry| entry.name.starts_with('$'))?)
            }
        };
        let splits = self.prepare_all(vertices, latest.as_ref())?;
        let mut limits = BTreeMap::new();
        for &v in vertices {
            let Some(alignment) = &self.graph.vertices[v].alignment else { continue };
            for s in 0..self.graph.vertices[v].parallelism {
                limits.extend(self.alignment.join((v, s), alignment));
            }
        }
        let (inside, outside): (Vec<_>, Vec<_>) =
            limits.into_iter().partition(|((v, _), _)| vertices.contains(v));
        let deployment = Deployment {
            vertices: starting.clone(),
            slots: slots.clone(),
            restore: self.latest,
            config: match latest {
                Some(restored) => restored.manifest.config.into(),
                None => self.coordinator.snapshot().clone(),
            },
            splits,
            limits: inside,
        };
        for (v, attempt) in starting {
            lock(&self.observed).vertices[v].finished = 0;
            for (s, slot) in slots.iter().enumerate().take(self.graph.vertices[v].parallelism) {
                let task = Task { attempt, worker: slot.id.clone(), finished: false, exited: false };
                self.tasks.insert((v, s), task);
            }
        }
        for worker in
            workers_of(&slots, deployment.vertices.keys().map(|v| self.graph.vertices[*v].parallelism))
        {
            self.workers.send(&worker, Order::Deploy(deployment.clone()));
        }
        self.limit(outside);
        Ok(true)
    }

    /// Prepares all vertices. Returns who goes on with which of the splits that had been begun.
    fn prepare_all(
        &mut self,
        vertices: &[VertexId],
        latest: Option<&Restored>,
    ) -> Result<Vec<(Subtask, Assignment)>, Error> {
        let none = Vec::new();
        let segments: &[StateSegment] = latest.map_or(&none, |latest| &latest.segments);
        let mut splits = Vec::new();
        for &v in vertices {
            let begun = self.prepare(v, segments, latest.map(|latest| &latest.manifest))?;
            let Some(enumerator) = self.enumerators.get_mut(&v) else { continue };
            for i in 0..begun {
                let subtask = i % self.graph.vertices[v].parallelism;
                splits.push(((v, subtask), enumerator.next_split(subtask)));
            }
        }
        Ok(splits)
    }

    /// What comes before the tasks of a vertex: its enumerator, and its sinks' commits. Returns how many splits came back
    /// from readers: the enumerator gives them out first.
    fn prepare(
        &mut self,
        v: VertexId,
        segments: &[StateSegment],
        restored: Option<&Manifest>,
    ) -> Result<usize, Error> {
        let graph = self.graph.clone();
        let vertex = &graph.vertices[v];
        let attempt = self.attempts.get(&v).copied().unwrap_or(0);
        let fail = |source: OperatorError| Error::Task {
            operator: vertex.name.clone(),
            subtask: 0,
            attempt,
            source,
        };
        let mut begun = 0;
        if let Some(make) = &vertex.enumerator {
            let restored = items(segments, &vertex.uid, ENUMERATOR.0);
            let mut enumerator =
                make(vertex.parallelism, restored.first().map(Vec::as_slice)).map_err(fail)?;
            let splits: Result<Vec<_>, _> =
                items(segments, &vertex.uid, SPLITS.0).iter().map(|bytes| decode_split(bytes)).collect();
            let splits = splits.map_err(fail)?;
            begun = splits.len();
            enumerator.add_splits_back(splits);
            self.enumerators.insert(v, enumerator);
        }
        // The first attempt after a start from a checkpoint follows any number of others.
        let before = (attempt > 0).then_some(attempt);
        if restored.is_some() || attempt > 0 {
            for (uid, committer) in &vertex.committers {
                let mut committables = items(segments, uid, COMMITTABLES.0);
                if restored.is_some_and(|manifest| manifest.origin.is_some()) {
                    self.commit_held_back(&**committer, std::mem::take(&mut committables)).map_err(fail)?;
                }
                committer.recover(&self.config.lineage, before, &committables).map_err(fail)?;
            }
        }
        Ok(begun)
    }

    /// Commits what a savepoint holds back. It may be gone: the run of which the savepoint was taken may have failed after it, and
    /// written the same rows anew; or it is on another machine.
    fn commit_held_back(
        &self,
        committer: &dyn Committer,
        committables: Vec<Committable>,
    ) -> Result<(), OperatorError> {
        for committable in committables {
            match committer.commit(&[committable]) {
                Ok(()) => {}
                Err(error) if self.config.allow_non_restored_state => {
                    tracing::warn!(
                        job = self.config.name,
                        "what the savepoint holds back is dropped: {error}"
                    );
                }
                Err(error) => {
                    return Err(OperatorError::fatal(format!(
                        "{error}; the savepoint was taken before these rows were committed. To go on without them, use \
                         --allow-non-restored-state (execution.state-recovery.ignore-unclaimed-state)"
                    )));
                }
            }
        }
        Ok(())
    }
}

/// Why a region could not be started.
enum Failure {
    Error(Error),
    Deposed,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// The items of a list state.
pub(super) fn items(segments: &[StateSegment], uid: &str, name: &str) -> Vec<Vec<u8>> {
    let of_name = segments.iter().filter(|s| s.uid == uid && s.name == name);
    of_name.flat_map(|s| s.frames.iter().map(|(_, bytes)| bytes.clone())).collect()
}

/// The workers that run a vertex of one of these parallelisms.
fn workers_of(slots: &[Worker], parallelisms: impl Iterator<Item = usize>) -> Vec<WorkerId> {
    let highest = parallelisms.max().unwrap_or(0);
    let mut workers: Vec<WorkerId> = slots.iter().take(highest).map(|slot| slot.id.clone()).collect();
    workers.sort();
    workers.dedup();
    workers
}
