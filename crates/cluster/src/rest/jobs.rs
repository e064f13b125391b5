//! Jobs: which there are, where each stands, what it is made of, and its end.

use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use streamkeeper_coordination::Error as Coordination;
use streamkeeper_coordination::jobs::JobState;

use super::api::{Api, Call, Reply, RestError, unresolved};
use crate::error::Error;
use crate::jobmanager::view::{JobView, SubtaskView, VertexView};
use crate::time::now_ms;

/// States of tasks, in Flink's order.
pub(super) const TASK_STATES: [&str; 10] = [
    "CANCELING",
    "RUNNING",
    "CREATED",
    "DEPLOYING",
    "CANCELED",
    "RECONCILING",
    "INITIALIZING",
    "FAILED",
    "SCHEDULED",
    "FINISHED",
];

/// States of jobs, in Flink's order.
const JOB_STATES: [&str; 11] = [
    "FINISHED",
    "RESTARTING",
    "RUNNING",
    "CANCELED",
    "FAILING",
    "CANCELLING",
    "FAILED",
    "INITIALIZING",
    "CREATED",
    "SUSPENDED",
    "RECONCILING",
];

/// `GET /jobs`.
pub(super) fn list(api: &Api, _: &Call) -> Result<Reply, RestError> {
    let view = api.handle.view()?;
    let jobs: Vec<_> = view.jobs.iter().map(|job| json!({ "id": job.id, "status": job.state })).collect();
    Ok(json!({ "jobs": jobs }).into())
}

/// `GET /jobs/overview`.
pub(super) fn overview(api: &Api, _: &Call) -> Result<Reply, RestError> {
    let (view, now) = (api.handle.view()?, now_ms());
    let entry = |job: &JobView| {
        let subtasks = || job.vertices.iter().flat_map(|vertex| &vertex.subtasks);
        let mut tasks = Map::new();
        tasks.insert("total".into(), subtasks().count().into());
        for (state, count) in counts(subtasks()) {
            tasks.insert(state.to_lowercase(), count);
        }
        json!({
            "jid": job.id,
            "name": job.name,
            "jobType": "STREAMING",
            "schedulerType": "Default",
            "start-time": job.submitted_ms,
            "end-time": end(job),
            "duration": duration(job, now),
            "state": job.state,
            "last-modification": job.since_ms.max(job.ended_ms).max(job.submitted_ms),
            "tasks": tasks,
            "pending-operators": 0,
        })
    };
    Ok(json!({ "jobs": view.jobs.iter().map(entry).collect::<Vec<_>>() }).into())
}

/// `GET /jobs/:jobid/status`.
pub(super) fn status(api: &Api, call: &Call) -> Result<Reply, RestError> {
    Ok(json!({ "status": api.job(call)?.state }).into())
}

/// `PATCH /jobs/:jobid?mode=cancel`.
pub(super) fn cancel(api: &Api, call: &Call) -> Result<Reply, RestError> {
    let id = call.job()?;
    match call.query("mode").unwrap_or("cancel") {
        "cancel" => {}
        "stop" => {
            let message = "The termination mode \"stop\" has been removed. For an ungraceful shutdown, please use \
                           \"cancel\" instead. For a graceful shutdown, please use \"jobs/:jobId/stop\" instead.";
            return Err(RestError::bad_request(message));
        }
        other => return Err(unresolved("query", "mode", other)),
    }
    match api.handle.cancel(id) {
        Ok(()) => {}
        Err(Error::Coordination(Coordination::NoJob { .. })) => {
            return Err(RestError::not_found("Job could not be found."));
        }
        Err(Error::Coordination(Coordination::JobEnded { result, .. }))
            if result.state == JobState::Canceled => {}
        Err(Error::Coordination(Coordination::JobEnded { result, .. })) => {
            let message = format!(
                "Job cancellation failed because the job has already reached another terminal state ({}).",
                result.state
            );
            return Err(RestError::new(StatusCode::CONFLICT, message));
        }
        Err(error) => return Err(error.into()),
    }
    Ok(Reply::Json(StatusCode::ACCEPTED, json!({})))
}

/// `GET /jobs/:jobid`.
pub(super) fn details(api: &Api, call: &Call) -> Result<Reply, RestError> {
    let (job, now) = (api.job(call)?, now_ms());
    let all = job.vertices.iter().flat_map(|vertex| &vertex.subtasks);
    Ok(json!({
        "jid": job.id,
        "application-id": job.id,
        "name": job.name,
        "isStoppable": false,
        "state": job.state,
        "job-type": "STREAMING",
        "schedulerType": "Default",
        "start-time": job.submitted_ms,
        "end-time": end(&job),
        "duration": duration(&job, now),
        "maxParallelism": -1,
        "now": now,
        "timestamps": timestamps(&job),
        "vertices": job.vertices.iter().map(|v| vertex(v, &job, now)).collect::<Vec<_>>(),
        "status-counts": counts(all),
        "plan": plan_of(&job),
        "pending-operators": 0,
    })
    .into())
}

/// When a job was in which state; 0 for never.
fn timestamps(job: &JobView) -> Value {
    let at = |state: &str| match state {
        "INITIALIZING" | "CREATED" => job.submitted_ms,
        "RUNNING" => job.started_ms,
        _ if state != job.state.to_string() => 0,
        _ => job.ended_ms.max(job.since_ms),
    };
    Value::Object(JOB_STATES.iter().map(|state| ((*state).to_owned(), at(state).into())).collect())
}

/// A vertex among a job's details.
fn vertex(vertex: &VertexView, job: &JobView, now: i64) -> Value {
    let shape = &vertex.shape;
    let (start, end) = (vertex.start_ms(), vertex.end_ms());
    json!({
        "id": shape.id,
        "slotSharingGroupId": shape.slot_sharing_group,
        "name": shape.name,
        "maxParallelism": job.max_parallelism,
        "parallelism": shape.parallelism,
        "status": vertex.state(),
        "start-time": start,
        "end-time": end,
        "duration": elapsed(start, end, now),
        "tasks": counts(&vertex.subtasks),
        "metrics": io_metrics(&vertex.subtasks),
    })
}

/// The job's graph, as `GET /jobs/:jobid/plan` shows it.
pub(super) fn plan_of(job: &JobView) -> Value {
    let node = |vertex: &VertexView| {
        let shape = &vertex.shape;
        let mut node = json!({
            "id": shape.id,
            "operator": "",
            "parallelism": shape.parallelism,
            "operator_strategy": "",
            "description": description(&shape.name),
            "optimizer_properties": {},
        });
        if !shape.inputs.is_empty() {
            let inputs = shape.inputs.iter().enumerate().map(|(num, (from, exchange))| {
                json!({
                    "id": job.vertices.get(*from).map(|vertex| vertex.shape.id.as_str()),
                    "num": num,
                    "exchange": "pipelined_bounded",
                    "ship_strategy": exchange,
                })
            });
            node["inputs"] = inputs.collect();
        }
        node
    };
    json!({
        "jid": job.id,
        "name": job.name,
        "type": "STREAMING",
        // Flink gives sinks first.
        "nodes": job.vertices.iter().rev().map(node).collect::<Vec<_>>(),
    })
}

/// A chain as Flink draws it: an operator a line.
fn description(name: &str) -> String {
    let mut text = String::new();
    for (depth, operator) in name.split(" -> ").enumerate() {
        if depth > 0 {
            text.push_str(&"   ".repeat(depth - 1));
            text.push_str("+- ");
        }
        text.push_str(&operator.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"));
        text.push_str("<br/>");
    }
    text
}

/// How many of the tasks are in which state.
pub(super) fn counts<'a>(subtasks: impl IntoIterator<Item = &'a SubtaskView>) -> Map<String, Value> {
    let mut counts = [0_u64; TASK_STATES.len()];
    for subtask in subtasks {
        if let Some(state) = TASK_STATES.iter().position(|state| *state == subtask.state) {
            counts[state] += 1;
        }
    }
    TASK_STATES.iter().zip(counts).map(|(state, count)| ((*state).to_owned(), count.into())).collect()
}

/// What tasks have read and written, and how they have spent their time.
pub(super) fn io_metrics<'a>(subtasks: impl IntoIterator<Item = &'a SubtaskView>) -> Value {
    let mut sums = [0_i64; 7];
    let mut complete = true;
    for subtask in subtasks {
        complete &= !subtask.metrics.is_empty();
        for (sum, (_, metric)) in sums.iter_mut().zip(IO_METRICS) {
            *sum += subtask.metric(metric).unwrap_or(0);
        }
    }
    let [read_bytes, write_bytes, read_records, write_records, back_pressured, idle, busy] = sums;
    json!({
        "read-bytes": read_bytes,
        "read-bytes-complete": complete,
        "write-bytes": write_bytes,
        "write-bytes-complete": complete,
        "read-records": read_records,
        "read-records-complete": complete,
        "write-records": write_records,
        "write-records-complete": complete,
        "accumulated-backpressured-time": back_pressured,
        "accumulated-idle-time": idle,
        "accumulated-busy-time": busy as f64,
    })
}

/// Names of a task's sums in Flink's answers, and of the metrics behind them.
pub(super) const IO_METRICS: [(&str, &str); 7] = [
    ("read-bytes", "numBytesIn"),
    ("write-bytes", "numBytesOut"),
    ("read-records", "numRecordsIn"),
    ("write-records", "numRecordsOut"),
    ("accumulated-backpressured-time", "accumulateBackPressuredTimeMs"),
    ("accumulated-idle-time", "accumulateIdleTimeMs"),
    ("accumulated-busy-time", "accumulateBusyTimeMs"),
];

/// When a job ended; -1: not yet.
pub(super) fn end(job: &JobView) -> i64 {
    if job.ended_ms == 0 { -1 } else { ms(job.ended_ms) }
}

/// How long a job has been there.
pub(super) fn duration(job: &JobView, now: i64) -> i64 {
    elapsed(ms(job.submitted_ms), end(job), now)
}

/// From the beginning to the end, or to now; -1 before the beginning.
pub(super) fn elapsed(start: i64, end: i64, now: i64) -> i64 {
    match (start, end) {
        (..=0, _) => -1,
        (start, ..=0) => (now - start).max(0),
        (start, end) => (end - start).max(0),
    }
}

pub(super) fn ms(time: u64) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}
