//! What can be seen of a cluster.

use streamkeeper_coordination::election::LeaderDocument;
use streamkeeper_coordination::jobs::{Job, JobResult, JobState};
use streamkeeper_dataflow::graph::JobGraph;
use streamkeeper_dataflow::metrics::TaskMetrics;

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
    /// How often it was started again.
    pub restarts: u32,
    /// The error that it failed with.
    pub error: Option<String>,
    /// Ids of its complete and retained checkpoints.
    pub checkpoints: Vec<u64>,
    /// Its checkpoints since this JobManager leads.
    pub counters: CheckpointCounters,
    /// Its vertices; empty when this JobManager does not lead, or the job does not run.
    pub vertices: Vec<VertexView>,
}

/// A job's checkpoints since this JobManager leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CheckpointCounters {
    /// `numberOfCompletedCheckpoints`.
    pub completed: u64,
    /// `numberOfFailedCheckpoints`.
    pub failed: u64,
    /// `lastCheckpointDuration`, milliseconds.
    pub last_duration_ms: i64,
    /// `lastCheckpointSize`, bytes.
    pub last_size_bytes: i64,
    /// `lastCompletedCheckpointId`; 0: none.
    pub last_id: i64,
}

/// A vertex of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct VertexView {
    /// What it is.
    pub shape: VertexShape,
    /// Its subtasks.
    pub subtasks: Vec<SubtaskView>,
}

/// What a vertex is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VertexShape {
    /// Its name.
    pub name: String,
    /// How many subtasks it has.
    pub parallelism: usize,
    /// It reads from the outside.
    pub is_source: bool,
    /// It writes to the outside.
    pub is_sink: bool,
    /// Its inputs: index of the vertex, name of the exchange.
    pub inputs: Vec<(usize, &'static str)>,
}

/// A subtask.
#[derive(Debug, Clone, PartialEq)]
pub struct SubtaskView {
    /// Flink's name of its state.
    pub state: &'static str,
    /// How often it had been started before.
    pub attempt: u32,
    /// The TaskManager that has it, or had it last; empty before.
    pub worker: String,
    /// Its metrics under Flink's names; empty before it has told any.
    pub metrics: Vec<(&'static str, i64)>,
}

/// What the vertices of a graph are.
pub(super) fn shapes(graph: &JobGraph) -> Vec<VertexShape> {
    let shape = |vertex: &streamkeeper_dataflow::graph::Vertex| VertexShape {
        name: vertex.name.clone(),
        parallelism: vertex.parallelism,
        is_source: vertex.is_source(),
        is_sink: vertex.is_sink(),
        inputs: vertex.inputs().iter().map(|edge| (edge.from, edge.exchange)).collect(),
    };
    graph.vertices.iter().map(shape).collect()
}

/// Metrics under their names.
pub(super) fn named(values: &[i64]) -> Vec<(&'static str, i64)> {
    let names = TaskMetrics::default().snapshot();
    names.iter().zip(values).map(|((name, _), value)| (*name, *value)).collect()
}

/// What ZooKeeper says of a job.
pub(super) fn of_documents(id: &str, job: &Job) -> JobView {
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
        restarts: status.map(|s| s.restarts).or(result.map(|r| r.restarts)).unwrap_or(0),
        error: result.and_then(|r| r.error.clone()).or(status.and_then(|s| s.error.clone())),
        checkpoints: pointer
            .or(result.map(|r| &r.checkpoint))
            .map(|p| p.retained.clone())
            .unwrap_or_default(),
        counters: CheckpointCounters::default(),
        vertices: Vec::new(),
    }
}
