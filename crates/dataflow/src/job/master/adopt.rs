//! Taking over the tasks of a master that is gone.
//!
//! Invariants: a region whose tasks all run as they were assigned, from the same plan, goes on as it is; any other starts from
//! the latest checkpoint. What the former master had in flight above that is given up, and its numbers are not used again. A
//! split is with the reader that has it, or with the enumerator.

use std::collections::{BTreeMap, BTreeSet};

use super::deploy::items;
use super::{ENUMERATOR, Master, Stop, Task};
use crate::channel::lock;
use crate::checkpoint::coordinator::Event;
use crate::checkpoint::storage::Restored;
use crate::error::Error;
use crate::executor::order::{Order, TaskInventory, TaskState, WorkerId};
use crate::graph::VertexId;
use crate::job::JobStatus;
use crate::job::workers::Adoption;
use crate::source::{Assignment, SplitEnumerator};
use crate::state::StateSegment;

impl Master {
    pub(super) fn adopt(&mut self, adoption: Adoption) -> Option<Stop> {
        let highest = adoption.highest_checkpoint();
        let latest = match self.latest {
            None => None,
            Some(checkpoint) => {
                match self.storage.read_where(checkpoint, |entry| entry.name.starts_with('$')) {
                    Ok(latest) => Some(latest),
                    Err(error) => return Some(Stop::Failed(error)),
                }
            }
        };
        self.take_over(&adoption);
        if let Some(checkpoint) = self.latest {
            self.broadcast(&Order::Completed(checkpoint));
        }
        if latest.as_ref().is_some_and(|latest| latest.manifest.kind.ends_job()) {
            return Some(self.commit_last().map_or_else(Stop::Failed, |()| Stop::Finished));
        }
        self.broadcast(&Order::Aborted(highest.max(self.latest.unwrap_or(0))));
        let regions: BTreeSet<VertexId> = self.regions.iter().copied().collect();
        for region in regions {
            let vertices = self.vertices_of(region);
            let goes_on = self.runs_as_assigned(&vertices, &adoption);
            self.stop_strays(&vertices, goes_on, &adoption);
            if !goes_on {
                continue;
            }
            for v in vertices {
                if let Err(error) = self.adopt_vertex(v, latest.as_ref(), &adoption) {
                    return Some(Stop::Failed(error));
                }
            }
            self.restarting.remove(&region);
        }
        tracing::info!(
            job = self.config.name,
            tasks = self.tasks.values().filter(|task| !task.exited).count(),
            restarting = self.restarting.len(),
            "took over the job's tasks"
        );
        if !self.restarting.is_empty() {
            return None;
        }
        self.set_status(JobStatus::Running);
        self.coordinate(Event::Adopted).or_else(|| self.check_all_finished())
    }

    /// Knows of all tasks that run somewhere.
    fn take_over(&mut self, adoption: &Adoption) {
        self.attempts.clone_from(&adoption.attempts);
        for (slot, worker) in self.slots.iter_mut().zip(&adoption.slots) {
            *slot = Some(worker.clone()).filter(|worker| adoption.inventories.contains_key(&worker.id));
        }
        for (worker, inventory) in &adoption.inventories {
            for reported in &inventory.tasks {
                let (v, s) = (reported.task.vertex, reported.task.subtask);
                if self.graph.vertices.get(v).is_none_or(|vertex| s >= vertex.parallelism) {
                    continue;
                }
                let attempt = self.attempts.entry(v).or_insert(reported.task.attempt);
                *attempt = (*attempt).max(reported.task.attempt);
                let newer =
                    self.tasks.get(&(v, s)).is_none_or(|known| known.attempt <= reported.task.attempt);
                if newer {
                    let task = Task {
                        attempt: reported.task.attempt,
                        worker: worker.clone(),
                        finished: reported.state == TaskState::Finished,
                        exited: matches!(reported.state, TaskState::Exited(_)),
                    };
                    self.tasks.insert((v, s), task);
                }
            }
        }
    }

    /// Stops all tasks of a region, or, when it goes on, those of earlier attempts: also those of subtasks that run elsewhere.
    fn stop_strays(&mut self, vertices: &[VertexId], goes_on: bool, adoption: &Adoption) {
        let last = |v: &VertexId| self.attempts.get(v)?.checked_sub(u32::from(goes_on));
        let attempts: BTreeMap<VertexId, u32> =
            vertices.iter().filter_map(|v| Some((*v, last(v)?))).collect();
        for (worker, inventory) in &adoption.inventories {
            let is_stray = |task: &TaskInventory| {
                let last = attempts.get(&task.task.vertex);
                last.is_some_and(|last| task.task.attempt <= *last)
                    && !matches!(task.state, TaskState::Exited(_))
            };
            if inventory.tasks.iter().any(is_stray) {
                self.workers.send(worker, Order::Cancel(attempts.clone()));
            }
        }
    }

    fn runs_as_assigned(&self, vertices: &[VertexId], adoption: &Adoption) -> bool {
        let fingerprint = self.graph.fingerprint();
        let runs = |v: VertexId, s: usize| {
            let (Some(slot), Some(attempt)) = (adoption.slots.get(s), adoption.attempts.get(&v)) else {
                return false;
            };
            let Some(inventory) = adoption.inventories.get(&slot.id) else { return false };
            let task = inventory.tasks.iter().find(|t| (t.task.vertex, t.task.subtask) == (v, s));
            inventory.fingerprint == fingerprint
                && task.is_some_and(|task| {
                    task.task.attempt == *attempt && !matches!(task.state, TaskState::Exited(_))
                })
        };
        vertices.iter().all(|v| (0..self.graph.vertices[*v].parallelism).all(|s| runs(*v, s)))
    }

    /// Goes on where the former master was: the enumerator without what readers have got since the checkpoint, what sources
    /// have told and asked.
    fn adopt_vertex(
        &mut self,
        v: VertexId,
        latest: Option<&Restored>,
        adoption: &Adoption,
    ) -> Result<(), Error> {
        let graph = self.graph.clone();
        let vertex = &graph.vertices[v];
        let reported = reports_of(adoption, v);
        lock(&self.observed).vertices[v].finished =
            reported.iter().filter(|(_, task)| task.state == TaskState::Finished).count();
        if let Some(alignment) = &vertex.alignment {
            for s in 0..vertex.parallelism {
                let limits = self.alignment.join((v, s), alignment);
                self.limit(limits);
            }
            for (_, task) in &reported {
                if let Some(progress) = task.progress {
                    let limits = self.alignment.report((v, task.task.subtask), progress);
                    self.limit(limits);
                }
            }
        }
        let Some(make) = &vertex.enumerator else { return Ok(()) };
        let none = Vec::new();
        let segments: &[StateSegment] = latest.map_or(&none, |latest| &latest.segments);
        let restored = items(segments, &vertex.uid, ENUMERATOR.0);
        let enumerator = make(vertex.parallelism, restored.first().map(Vec::as_slice));
        let mut enumerator = enumerator.map_err(|source| Error::Task {
            operator: vertex.name.clone(),
            subtask: 0,
            attempt: self.attempts.get(&v).copied().unwrap_or(0),
            source,
        })?;
        let given = reported.iter().flat_map(|(_, task)| task.splits.iter().map(String::as_str)).collect();
        take_away(&mut *enumerator, vertex.parallelism, &given);
        self.enumerators.insert(v, enumerator);
        for (_, task) in reported.iter().filter(|(_, task)| task.wants_split) {
            self.give_split(task.task);
        }
        Ok(())
    }
}

/// What is told of the tasks of a vertex.
fn reports_of(adoption: &Adoption, v: VertexId) -> Vec<(&WorkerId, &TaskInventory)> {
    let tasks = adoption.inventories.iter().flat_map(|(worker, i)| i.tasks.iter().map(move |t| (worker, t)));
    let attempt = adoption.attempts.get(&v).copied();
    tasks.filter(|(_, t)| t.task.vertex == v && Some(t.task.attempt) == attempt).collect()
}

/// Takes the splits with these ids out of an enumerator: what is left goes out again in the same order.
fn take_away(enumerator: &mut dyn SplitEnumerator, parallelism: usize, given: &BTreeSet<&str>) {
    if given.is_empty() {
        return;
    }
    let mut left = Vec::new();
    for subtask in 0..parallelism {
        while let Assignment::Split(split) = enumerator.next_split(subtask) {
            if !given.contains(split.id.as_str()) {
                left.push(split);
            }
        }
    }
    enumerator.add_splits_back(left);
}
