//! A job's assignment and status, as they stand in ZooKeeper and as a master knows them: pure.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use streamkeeper_coordination::jobs::{Assignment, JobState, JobStatus, RegionAssignment};
use streamkeeper_dataflow::element::CheckpointId;
use streamkeeper_dataflow::executor::order::{Worker, WorkerId};
use streamkeeper_dataflow::graph::{JobGraph, VertexId};

use crate::planner::CheckpointPlace;

/// What a leader finds again in the details of an assignment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Details {
    /// Who has slot 0, 1, ….
    pub(crate) slots: Vec<WorkerId>,
    /// Where their ends of the exchange are.
    pub(crate) exchange: BTreeMap<WorkerId, String>,
    /// Attempts of the vertices.
    pub(crate) attempts: BTreeMap<VertexId, u32>,
    /// Where the job's checkpoints are.
    pub(crate) directory: PathBuf,
    /// Below that.
    pub(crate) lineage: String,
    /// The checkpoint that the job began with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) restored: Option<CheckpointId>,
    /// What all processes plan, when it is not what the spec says; 0: it is.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) parallelism: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(parallelism: &u32) -> bool {
    *parallelism == 0
}

impl Details {
    /// What an assignment tells; `None`: nothing was ever placed.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn of(assignment: &Assignment) -> Result<Option<Self>, String> {
        if assignment.regions.is_empty() {
            return Ok(None);
        }
        let details = serde_json::from_value(assignment.details.clone());
        details.map(Some).map_err(|e| format!("its assignment is damaged: {e}"))
    }

    /// Puts the slots elsewhere: whoever takes the job over then starts anew what does not run there.
    pub(crate) fn move_to(&mut self, workers: &[Worker]) {
        self.slots = workers.iter().map(|worker| worker.id.clone()).collect();
        self.exchange = workers.iter().map(|w| (w.id.clone(), w.exchange_address.clone())).collect();
    }

    /// The slots' TaskManagers.
    pub(crate) fn workers(&self) -> Vec<Worker> {
        let address = |id| self.exchange.get(id).cloned().unwrap_or_default();
        self.slots.iter().map(|id| Worker { id: id.clone(), exchange_address: address(id) }).collect()
    }
}

/// The assignment of a job.
pub(super) fn assignment(
    graph: &JobGraph,
    slots: &[Worker],
    attempts: &BTreeMap<VertexId, u32>,
    place: &CheckpointPlace,
    restored: Option<CheckpointId>,
    parallelism: u32,
) -> Assignment {
    let attempt = |vertex: &VertexId| attempts.get(vertex).copied().unwrap_or(0);
    let mut regions: BTreeMap<VertexId, RegionAssignment> = BTreeMap::new();
    for (vertex, region) in graph.regions().into_iter().enumerate() {
        let of = regions.entry(region).or_insert_with(|| RegionAssignment {
            region: u32::try_from(region).unwrap_or(u32::MAX),
            ..RegionAssignment::default()
        });
        of.attempt = of.attempt.max(attempt(&vertex));
        of.generation = u64::from(of.attempt) + 1;
        let workers = slots.iter().take(graph.vertices[vertex].parallelism).map(|worker| worker.id.clone());
        of.subtasks.insert(vertex.to_string(), workers.collect());
    }
    let details = Details {
        slots: slots.iter().map(|worker| worker.id.clone()).collect(),
        exchange: slots.iter().map(|w| (w.id.clone(), w.exchange_address.clone())).collect(),
        attempts: attempts.clone(),
        directory: place.directory.clone(),
        lineage: place.lineage.clone(),
        restored,
        parallelism,
    };
    let details = serde_json::to_value(details).unwrap_or_default();
    Assignment { regions: regions.into_values().collect(), details }
}

/// The status once slots have been placed. As in Flink the job runs from then on, though its tasks may still be starting: so a
/// status costs no write of its own.
pub(super) fn placed(before: &JobStatus, now_ms: u64) -> JobStatus {
    let began = before.started_ms != 0;
    JobStatus {
        state: JobState::Running,
        since_ms: if before.state == JobState::Running { before.since_ms } else { now_ms },
        started_ms: if began { before.started_ms } else { now_ms },
        restarts: before.restarts + u32::from(began),
        ..before.clone()
    }
}

/// The status when there are not enough slots; `None`: as it was.
pub(super) fn starved(before: &JobStatus, now_ms: u64) -> Option<JobStatus> {
    (before.state == JobState::Running).then(|| JobStatus {
        state: JobState::Restarting,
        since_ms: now_ms,
        ..before.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_runs_once_it_was_placed_and_each_later_time_is_a_restart() {
        let created = JobStatus { state: JobState::Created, since_ms: 1, ..JobStatus::default() };
        assert_eq!(starved(&created, 2), None, "it still waits for the first time");
        let first = placed(&created, 5);
        assert_eq!(
            (first.state, first.since_ms, first.started_ms, first.restarts),
            (JobState::Running, 5, 5, 0)
        );
        let waits = starved(&first, 7).expect("it ran");
        assert_eq!((waits.state, waits.since_ms, starved(&waits, 8)), (JobState::Restarting, 7, None));
        let again = placed(&waits, 9);
        assert_eq!(
            (again.state, again.since_ms, again.started_ms, again.restarts),
            (JobState::Running, 9, 5, 1)
        );
    }

    #[test]
    fn what_a_leader_has_written_the_next_one_reads() {
        let worker = |id: &str| Worker { id: id.into(), exchange_address: format!("{id}:1") };
        let slots = [worker("a"), worker("b"), worker("a")];
        let attempts = BTreeMap::from([(0, 2), (1, 2)]);
        let place = CheckpointPlace { directory: "/c".into(), lineage: "l".into() };
        let mut written = assignment(&JobGraph::new(8), &slots, &attempts, &place, Some(7), 3);
        assert_eq!(Details::of(&written), Ok(None), "no regions: never placed");
        written.regions.push(RegionAssignment::default());
        let details = Details::of(&written).expect("readable").expect("placed");
        assert_eq!(
            (details.workers(), details.attempts, details.restored, details.parallelism),
            (slots.to_vec(), attempts, Some(7), 3)
        );
        written.details = serde_json::json!({"slots": 3});
        assert!(Details::of(&written).is_err());
    }
}
