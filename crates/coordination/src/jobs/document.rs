//! The documents of a job, as they stand in its znodes. Numbers of milliseconds count from 1970 in UTC.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a job is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobKind {
    /// SQL statements.
    #[default]
    Sql,
    /// A compiled program, of which each process has the binary.
    Program,
}

/// What is to run: `jobs/<job>/spec`. It never changes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct JobSpec {
    /// The job's name, for people.
    pub name: String,
    /// What it is made of.
    pub kind: JobKind,
    /// The SQL statements, with those that make the tables and views they need; of a program its arguments.
    #[serde(default)]
    pub statements: Vec<String>,
    /// Configuration keys and their values, Flink's.
    #[serde(default)]
    pub configuration: BTreeMap<String, String>,
    /// How many subtasks an operator has; 0 leaves it to the cluster.
    #[serde(default)]
    pub parallelism: u32,
    /// When it was submitted. Two specs that differ in nothing else are the same.
    #[serde(default)]
    pub submitted_ms: u64,
    /// What else whoever runs the job must know.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub details: Value,
}

impl JobSpec {
    /// Whether `other` asks for the same job.
    pub fn is_same_as(&self, other: &Self) -> bool {
        Self { submitted_ms: other.submitted_ms, ..self.clone() } == *other
    }
}

/// What the users of a job want of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DesiredState {
    /// That it runs.
    #[default]
    Running,
    /// That it ends.
    Canceled,
}

/// `jobs/<job>/desired`, written by clients.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Desired {
    /// What is wanted.
    pub state: DesiredState,
    /// What else is wanted, such as another parallelism.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub details: Value,
}

/// Which TaskManager has which subtask: `jobs/<job>/assignment`, the ideal state, written by the leader.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Assignment {
    /// The job's pipelined regions.
    #[serde(default)]
    pub regions: Vec<RegionAssignment>,
    /// What else the leader wants to find again.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub details: Value,
}

/// The subtasks of one pipelined region, which start and fail together.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RegionAssignment {
    /// Number of the region in the job's graph.
    pub region: u32,
    /// One higher with each assignment of the region; receivers take data of one generation only.
    pub generation: u64,
    /// How often its tasks were started, from 0.
    pub attempt: u32,
    /// The checkpoint that they were restored from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored: Option<u64>,
    /// By vertex, the TaskManagers of its subtasks, in the order of the subtasks.
    pub subtasks: BTreeMap<String, Vec<String>>,
}

/// A job's state, under Flink's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum JobState {
    /// It waits for its first assignment.
    #[default]
    Created,
    /// Its tasks are being started.
    Initializing,
    /// All tasks run.
    Running,
    /// It is to fail, and its tasks are being stopped.
    Failing,
    /// It has failed.
    Failed,
    /// Its tasks are being stopped since somebody has canceled it.
    Cancelling,
    /// It was canceled.
    Canceled,
    /// It has come to its end.
    Finished,
    /// Some tasks are being started again.
    Restarting,
    /// It was stopped with a savepoint.
    Suspended,
}

impl JobState {
    /// Whether the job has ended, for good.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Failed | Self::Canceled | Self::Finished)
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Created => "CREATED",
            Self::Initializing => "INITIALIZING",
            Self::Running => "RUNNING",
            Self::Failing => "FAILING",
            Self::Failed => "FAILED",
            Self::Cancelling => "CANCELLING",
            Self::Canceled => "CANCELED",
            Self::Finished => "FINISHED",
            Self::Restarting => "RESTARTING",
            Self::Suspended => "SUSPENDED",
        })
    }
}

/// What has become of a job so far: `jobs/<job>/status`, the observed state, written by the leader when the state changes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct JobStatus {
    /// The job's state.
    pub state: JobState,
    /// Since when.
    #[serde(default)]
    pub since_ms: u64,
    /// When it first ran; 0 before.
    #[serde(default)]
    pub started_ms: u64,
    /// How often tasks of it were started again.
    #[serde(default)]
    pub restarts: u32,
    /// The last error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What else is to be seen.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub details: Value,
}

/// Where a job's checkpoints are: `jobs/<job>/checkpoint`, written by the leader, once for each completed checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CheckpointPointer {
    /// Names the sequence of checkpoints that these belong to.
    #[serde(default)]
    pub lineage: String,
    /// Their directory.
    #[serde(default)]
    pub directory: String,
    /// Their ids, ascending; the last is the latest. Empty before the first.
    #[serde(default)]
    pub retained: Vec<u64>,
}

impl CheckpointPointer {
    /// The latest checkpoint.
    pub fn latest(&self) -> Option<u64> {
        self.retained.last().copied()
    }
}

/// How a job ended: `jobs/<job>/result`, which is all that is kept of it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct JobResult {
    /// A terminal state.
    pub state: JobState,
    /// The spec's name.
    pub name: String,
    /// The spec's kind.
    pub kind: JobKind,
    /// The error that it failed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When it was submitted.
    #[serde(default)]
    pub submitted_ms: u64,
    /// When it first ran; 0 for never.
    #[serde(default)]
    pub started_ms: u64,
    /// When it ended.
    #[serde(default)]
    pub ended_ms: u64,
    /// How often tasks of it were started again.
    #[serde(default)]
    pub restarts: u32,
    /// The parallelism it had.
    #[serde(default)]
    pub parallelism: u32,
    /// Its last checkpoints.
    #[serde(default)]
    pub checkpoint: CheckpointPointer,
    /// What else is to be kept.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub details: Value,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::document::{decode, encode};

    #[test]
    fn documents_are_readable_and_come_back() {
        let pointer =
            CheckpointPointer { lineage: "a1".into(), directory: "file:///c".into(), retained: vec![4, 5] };
        let text = encode("/x", &pointer).expect("valid");
        let shown = String::from_utf8(text.clone()).expect("JSON");
        assert_eq!(shown, r#"{"v":1,"lineage":"a1","directory":"file:///c","retained":[4,5]}"#);
        assert_eq!((decode(&text), pointer.latest()), (Ok(pointer.clone()), Some(5)));
        let status = JobStatus { state: JobState::Running, ..JobStatus::default() };
        let text = encode("/x", &status).expect("valid");
        assert!(text.starts_with(br#"{"v":1,"state":"RUNNING","since_ms":0"#));
        assert_eq!(decode(&text), Ok(status));
        let desired: Desired = decode(br#"{"v":1,"state":"canceled"}"#).expect("the rest is optional");
        assert_eq!(desired.state, DesiredState::Canceled);
        assert!(decode::<Desired>(br#"{"v":1,"state":"paused"}"#).is_err());
    }

    #[test]
    fn the_name_of_a_state_is_shown_as_it_is_written() {
        for state in [JobState::Created, JobState::Cancelling, JobState::Restarting, JobState::Suspended] {
            assert_eq!(json!(state), json!(state.to_string()));
        }
        assert!(JobState::Failed.is_terminal() && !JobState::Suspended.is_terminal());
    }

    #[test]
    fn a_spec_is_the_same_whenever_it_was_submitted() {
        let spec = JobSpec { name: "etl".into(), submitted_ms: 1, ..JobSpec::default() };
        assert!(spec.is_same_as(&JobSpec { submitted_ms: 2, ..spec.clone() }));
        assert!(!spec.is_same_as(&JobSpec { parallelism: 2, ..spec.clone() }));
    }
}
