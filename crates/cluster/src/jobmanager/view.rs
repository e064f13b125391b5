//! What can be seen of a cluster.

use std::collections::BTreeMap;
use std::sync::Arc;

use streamkeeper_coordination::election::LeaderDocument;
use streamkeeper_coordination::jobs::{Job, JobResult, JobState};
use streamkeeper_dataflow::config::JobSettings;
use streamkeeper_dataflow::graph::JobGraph;
use streamkeeper_dataflow::metrics::TaskMetrics;

pub use super::history::{
    Acknowledged, CheckpointHistory, CheckpointView, Failure, Failures, MAX_CHECKPOINTS, MAX_FAILURES,
    Outcome, Restored,
};
pub use crate::process::ProcessStatus;

/// A cluster, as a JobManager sees it. Only the leader sees tasks and free slots.
#[derive(Debug, Clone, Default)]
pub struct ClusterView {
    /// Who leads, or led last.
    pub leader: Option<LeaderDocument>,
    /// Whether it is this JobManager.
    pub is_leader: bool,
    /// The TaskManagers.
    pub task_managers: Vec<TaskManagerView>,
    /// All jobs that are kept.
    pub jobs: Vec<JobView>,
}

/// A TaskManager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskManagerView {
    /// Its id.
    pub id: String,
    /// Where others reach its end of the exchange.
    pub exchange_address: String,
    /// Its slots.
    pub slots: usize,
    /// Those that no job has.
    pub free_slots: usize,
    /// When its process began, in milliseconds since 1970.
    pub started_ms: u64,
    /// Whether it has a connection to the leader; always `false` when this JobManager does not lead.
    pub connected: bool,
    /// When something came from it last, in milliseconds since 1970; 0 for never, and when this JobManager does not lead.
    pub last_heartbeat_ms: i64,
    /// What its process takes of its machine; all 0 when this JobManager does not lead.
    pub process: ProcessStatus,
}

/// A job. Times are milliseconds since 1970, 0 for never.
#[derive(Debug, Clone, PartialEq)]
pub struct JobView {
    /// 32 hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: JobState,
    /// When it was submitted.
    pub submitted_ms: u64,
    /// When it first ran.
    pub started_ms: u64,
    /// When it ended.
    pub ended_ms: u64,
    /// Since when it is in its state, as far as that is written down.
    pub since_ms: u64,
    /// How often it was started again.
    pub restarts: u32,
    /// The error that it failed with.
    pub error: Option<String>,
    /// Ids of its complete and retained checkpoints.
    pub checkpoints: Vec<u64>,
    /// Their directory, with the lineage; empty before the first.
    pub checkpoint_directory: String,
    /// Its parallelism; 0: the cluster's, and this JobManager does not lead.
    pub parallelism: u32,
    /// The parallelism that is wanted of it.
    pub wanted_parallelism: u32,
    /// The configuration that it was submitted with; empty when it has ended.
    pub configuration: BTreeMap<String, String>,
    /// How it is run; `None` when this JobManager does not lead, or has not planned it yet.
    pub settings: Option<JobSettings>,
    /// Its checkpoints since this JobManager leads.
    pub history: Arc<CheckpointHistory>,
    /// What has failed since this JobManager leads.
    pub failures: Arc<Failures>,
    /// `pipeline.max-parallelism`; 0 when this JobManager does not lead, or the job does not run.
    pub max_parallelism: u16,
    /// Its vertices; empty when this JobManager does not lead, or the job does not run.
    pub vertices: Vec<VertexView>,
}

/// A vertex of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct VertexView {
    /// What it is.
    pub shape: Arc<VertexShape>,
    /// Its subtasks.
    pub subtasks: Vec<SubtaskView>,
}

/// What a vertex is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VertexShape {
    /// 32 hexadecimal digits: always the same for an operator with the same uid at its head.
    pub id: String,
    /// The same digits for all vertices that share slots.
    pub slot_sharing_group: String,
    /// Its name.
    pub name: String,
    /// How many subtasks it has.
    pub parallelism: usize,
    /// It reads from the outside.
    pub is_source: bool,
    /// It writes to the outside.
    pub is_sink: bool,
    /// Uids of its operators.
    pub operators: Vec<String>,
    /// Its inputs: index of the vertex, name of the exchange.
    pub inputs: Vec<(usize, &'static str)>,
}

/// A subtask.
#[derive(Debug, Clone, PartialEq)]
pub struct SubtaskView {
    /// Flink's name of its state.
    pub state: &'static str,
    /// The states of this attempt so far, and since when each, in milliseconds since 1970.
    pub since: Vec<(&'static str, i64)>,
    /// How often it had been started before.
    pub attempt: u32,
    /// The TaskManager that has it, or had it last; empty before.
    pub worker: String,
    /// Its metrics under Flink's names; empty before it has told any.
    pub metrics: Vec<(&'static str, i64)>,
    /// Its rates, each in a second, under Flink's names; empty before there are metrics.
    pub rates: Vec<(&'static str, f64)>,
}

impl VertexView {
    /// When the first of its subtasks was deployed, in milliseconds since 1970; -1: none was.
    pub fn start_ms(&self) -> i64 {
        self.subtasks.iter().map(SubtaskView::start_ms).filter(|start| *start >= 0).min().unwrap_or(-1)
    }

    /// When the last of its subtasks ended; -1: not all have.
    pub fn end_ms(&self) -> i64 {
        let ends = self.subtasks.iter().map(SubtaskView::end_ms);
        ends.fold(0, |all: i64, end| if all < 0 || end < 0 { -1 } else { all.max(end) })
    }

    /// The state that stands for all of its subtasks: what is wrong first, then what is not yet done.
    pub fn state(&self) -> &'static str {
        const ORDER: [&str; 7] =
            ["FAILED", "CANCELING", "CANCELED", "CREATED", "DEPLOYING", "INITIALIZING", "RUNNING"];
        let has = |state: &&&str| self.subtasks.iter().any(|subtask| subtask.state == **state);
        ORDER.iter().find(has).copied().unwrap_or("FINISHED")
    }
}

impl SubtaskView {
    /// When it was deployed, in milliseconds since 1970; -1: never.
    pub fn start_ms(&self) -> i64 {
        let begun = self.since.iter().find(|(state, _)| *state != "CREATED" && *state != "SCHEDULED");
        begun.map_or(-1, |(_, at)| *at)
    }

    /// When it ended; -1: it has not.
    pub fn end_ms(&self) -> i64 {
        match self.since.last() {
            Some(("FINISHED" | "CANCELED" | "FAILED", at)) => *at,
            _ => -1,
        }
    }

    /// One of its rates.
    pub fn rate(&self, name: &str) -> Option<f64> {
        self.rates.iter().find(|(of, _)| *of == name).map(|(_, rate)| *rate)
    }

    /// One of its metrics.
    pub fn metric(&self, name: &str) -> Option<i64> {
        self.metrics.iter().find(|(of, _)| *of == name).map(|(_, value)| *value)
    }
}

/// 32 hexadecimal digits for a text.
fn digits(text: &str) -> String {
    format!("{:032x}", xxhash_rust::xxh3::xxh3_128(text.as_bytes()))
}

/// What the vertices of a graph are.
pub(super) fn shapes(graph: &JobGraph) -> Vec<Arc<VertexShape>> {
    let shape = |vertex: &streamkeeper_dataflow::graph::Vertex| VertexShape {
        id: digits(&vertex.uid),
        slot_sharing_group: digits("default"),
        name: vertex.name.clone(),
        parallelism: vertex.parallelism,
        is_source: vertex.is_source(),
        is_sink: vertex.is_sink(),
        operators: vertex.operators.clone(),
        inputs: vertex.inputs().iter().map(|edge| (edge.from, edge.exchange)).collect(),
    };
    graph.vertices.iter().map(shape).map(Arc::new).collect()
}

/// Metrics under their names.
pub(super) fn named(values: &[i64]) -> Vec<(&'static str, i64)> {
    let names = TaskMetrics::default().snapshot();
    names.iter().zip(values).map(|((name, _), value)| (*name, *value)).collect()
}

/// Which metrics have a rate, and its name.
const RATES: [(&str, &str); 7] = [
    ("numRecordsIn", "numRecordsInPerSecond"),
    ("numBytesIn", "numBytesInPerSecond"),
    ("numRecordsOut", "numRecordsOutPerSecond"),
    ("numBytesOut", "numBytesOutPerSecond"),
    ("accumulateBusyTimeMs", "busyTimeMsPerSecond"),
    ("accumulateIdleTimeMs", "idleTimeMsPerSecond"),
    ("accumulateBackPressuredTimeMs", "backPressuredTimeMsPerSecond"),
];

/// Rates of metrics under their names.
pub(super) fn rates(values: &[f64]) -> Vec<(&'static str, f64)> {
    let names = TaskMetrics::default().snapshot();
    let rate = |((name, _), value): (&(&str, i64), &f64)| {
        let (_, rate) = RATES.iter().find(|(of, _)| of == name)?;
        // A share of time is no more than all of it, whenever the two samples were taken.
        let most = if rate.ends_with("TimeMsPerSecond") { 1000.0 } else { f64::INFINITY };
        Some((*rate, value.min(most)))
    };
    names.iter().zip(values).filter_map(rate).collect()
}

/// What ZooKeeper says of a job.
pub(crate) fn of_documents(id: &str, job: &Job) -> JobView {
    let status = job.status.as_ref().map(|status| &status.value);
    let result: Option<&JobResult> = job.result.as_ref().map(|result| &result.value);
    let spec = job.spec.as_ref().map(|spec| &spec.value);
    let pointer = job.checkpoint.as_ref().map(|pointer| &pointer.value);
    JobView {
        id: id.to_owned(),
        name: spec.map(|s| s.name.clone()).or(result.map(|r| r.name.clone())).unwrap_or_default(),
        state: result.map(|r| r.state).or(status.map(|s| s.state)).unwrap_or_default(),
        submitted_ms: spec.map(|s| s.submitted_ms).or(result.map(|r| r.submitted_ms)).unwrap_or(0),
        started_ms: status.map(|s| s.started_ms).or(result.map(|r| r.started_ms)).unwrap_or(0),
        ended_ms: result.map_or(0, |r| r.ended_ms),
        since_ms: status.map_or(0, |s| s.since_ms),
        restarts: status.map(|s| s.restarts).or(result.map(|r| r.restarts)).unwrap_or(0),
        error: result.and_then(|r| r.error.clone()).or(status.and_then(|s| s.error.clone())),
        checkpoints: pointer
            .or(result.map(|r| &r.checkpoint))
            .map(|p| p.retained.clone())
            .unwrap_or_default(),
        checkpoint_directory: pointer
            .or(result.map(|r| &r.checkpoint))
            .filter(|pointer| !pointer.directory.is_empty())
            .map(|pointer| format!("{}/{}", pointer.directory, pointer.lineage))
            .unwrap_or_default(),
        parallelism: spec.map(|s| s.parallelism).or(result.map(|r| r.parallelism)).unwrap_or(0),
        wanted_parallelism: 0,
        configuration: spec.map(|s| s.configuration.clone()).unwrap_or_default(),
        settings: None,
        history: Arc::default(),
        failures: Arc::default(),
        max_parallelism: 0,
        vertices: Vec::new(),
    }
}
