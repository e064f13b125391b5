//! The vertices of a job and their subtasks.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::api::{Api, Call, Reply, RestError, unresolved};
use super::jobs::{IO_METRICS, TASK_STATES, counts, elapsed, io_metrics};
use super::statistics::aggregate;
use crate::jobmanager::view::{JobView, SubtaskView, VertexView};
use crate::time::now_ms;

/// States whose durations Flink tells.
const TIMED: [&str; 5] = ["RUNNING", "CREATED", "DEPLOYING", "INITIALIZING", "SCHEDULED"];

/// The vertex that a request is about, and which of the job's it is.
pub(super) fn vertex_of<'a>(job: &'a JobView, call: &Call) -> Result<(usize, &'a VertexView), RestError> {
    let id = call.param("vertexid");
    if id.len() != 32 || !id.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(unresolved("path", "vertexid", id));
    }
    let missing = || RestError::not_found(format!("JobVertex {id} not found"));
    let mut vertices = job.vertices.iter().enumerate();
    vertices.find(|(_, vertex)| vertex.shape.id.eq_ignore_ascii_case(id)).ok_or_else(missing)
}

/// A subtask of it that a request is about.
pub(super) fn subtask_of<'a>(
    vertex: &'a VertexView,
    call: &Call,
) -> Result<(usize, &'a SubtaskView), RestError> {
    let index: usize = call.parse("subtaskindex")?;
    let missing = || RestError::not_found(format!("Invalid subtask index for vertex {}", vertex.shape.id));
    Ok((index, vertex.subtasks.get(index).ok_or_else(missing)?))
}

/// Where TaskManagers are.
struct Endpoints(BTreeMap<String, String>);

impl Endpoints {
    fn of<'a>(&'a self, worker: &'a str) -> &'a str {
        match self.0.get(worker).map(String::as_str) {
            Some(address) if !address.is_empty() => address,
            _ if worker.is_empty() => "(unassigned)",
            // It is gone, or alone: its name has to do.
            _ => worker,
        }
    }
}

fn look(api: &Api, call: &Call) -> Result<(JobView, Endpoints), RestError> {
    let job = api.job(call)?;
    let view = api.handle.view()?;
    let endpoints = view.task_managers.into_iter().map(|t| (t.id, t.exchange_address)).collect();
    Ok((job, Endpoints(endpoints)))
}

/// `GET /jobs/:jobid/vertices/:vertexid`.
pub(super) fn details(api: &Api, call: &Call) -> Result<Reply, RestError> {
    let (job, endpoints) = look(api, call)?;
    let (_, vertex) = vertex_of(&job, call)?;
    let now = now_ms();
    let subtasks = vertex.subtasks.iter().enumerate().map(|(s, subtask)| shown(s, subtask, &endpoints, now));
    Ok(json!({
        "id": vertex.shape.id,
        "name": vertex.shape.name,
        "parallelism": vertex.shape.parallelism,
        "maxParallelism": job.max_parallelism,
        "now": now,
        "subtasks": subtasks.collect::<Vec<_>>(),
        "aggregated": aggregated(&vertex.subtasks.iter().collect::<Vec<_>>(), now),
    })
    .into())
}

/// `GET …/subtasktimes`.
pub(super) fn times(api: &Api, call: &Call) -> Result<Reply, RestError> {
    let (job, endpoints) = look(api, call)?;
    let (_, vertex) = vertex_of(&job, call)?;
    let now = now_ms();
    let subtasks = vertex.subtasks.iter().enumerate().map(|(s, subtask)| {
        let at = |state: &str| subtask.since.iter().find(|(of, _)| *of == state).map_or(0, |(_, at)| *at);
        let timestamps = TASK_STATES.iter().map(|state| ((*state).to_owned(), at(state).into()));
        json!({
            "subtask": s,
            "endpoint": endpoints.of(&subtask.worker),
            "duration": elapsed(subtask.since.first().map_or(-1, |(_, at)| *at), subtask.end_ms(), now),
            "timestamps": Value::Object(timestamps.collect()),
        })
    });
    Ok(json!({
        "id": vertex.shape.id,
        "name": vertex.shape.name,
        "now": now,
        "subtasks": subtasks.collect::<Vec<_>>(),
    })
    .into())
}

/// `GET …/taskmanagers`.
pub(super) fn task_managers(api: &Api, call: &Call) -> Result<Reply, RestError> {
    let (job, endpoints) = look(api, call)?;
    let (_, vertex) = vertex_of(&job, call)?;
    let now = now_ms();
    let mut workers: BTreeMap<&str, Vec<SubtaskView>> = BTreeMap::new();
    for subtask in &vertex.subtasks {
        workers.entry(&subtask.worker).or_default().push(subtask.clone());
    }
    let shown = workers.into_iter().map(|(worker, subtasks)| {
        let here = VertexView { shape: vertex.shape.clone(), subtasks };
        let (start, end) = (here.start_ms(), here.end_ms());
        json!({
            "endpoint": endpoints.of(worker),
            "status": here.state(),
            "start-time": start,
            "end-time": end,
            "duration": elapsed(start, end, now),
            "metrics": io_metrics(&here.subtasks),
            "status-counts": counts(&here.subtasks),
            "taskmanager-id": if worker.is_empty() { "(unassigned)" } else { worker },
            "aggregated": aggregated(&here.subtasks.iter().collect::<Vec<_>>(), now),
        })
    });
    Ok(json!({
        "id": vertex.shape.id,
        "name": vertex.shape.name,
        "now": now,
        "taskmanagers": shown.collect::<Vec<_>>(),
    })
    .into())
}

/// `GET …/subtasks/:subtaskindex`, and `GET …/attempts/:attempt` below it.
pub(super) fn subtask(api: &Api, call: &Call) -> Result<Reply, RestError> {
    let (job, endpoints) = look(api, call)?;
    let (_, vertex) = vertex_of(&job, call)?;
    let (index, subtask) = subtask_of(vertex, call)?;
    if !call.param("attempt").is_empty() {
        check_attempt(index, subtask, call)?;
    }
    Ok(shown(index, subtask, &endpoints, now_ms()).into())
}

/// Refuses a request for another attempt than the current one.
fn check_attempt(index: usize, subtask: &SubtaskView, call: &Call) -> Result<(), RestError> {
    let attempt: u32 = call.parse("attempt")?;
    if attempt == subtask.attempt {
        return Ok(());
    }
    let message =
        format!("Could not find attempt {attempt} of subtask {index}: only the current one is kept.");
    Err(RestError::not_found(message))
}

/// `GET …/attempts/:attempt/accumulators`: there are none.
pub(super) fn attempt_accumulators(api: &Api, call: &Call) -> Result<Reply, RestError> {
    let job = api.job(call)?;
    let (_, vertex) = vertex_of(&job, call)?;
    let (index, subtask) = subtask_of(vertex, call)?;
    check_attempt(index, subtask, call)?;
    Ok(json!({
        "subtask": index,
        "attempt": subtask.attempt,
        "id": vertex.shape.id,
        "user-accumulators": [],
    })
    .into())
}

/// `GET …/accumulators`: there are none.
pub(super) fn accumulators(api: &Api, call: &Call) -> Result<Reply, RestError> {
    let job = api.job(call)?;
    let (_, vertex) = vertex_of(&job, call)?;
    Ok(json!({ "id": vertex.shape.id, "user-accumulators": [] }).into())
}

/// `GET …/subtasks/accumulators`: there are none.
pub(super) fn subtask_accumulators(api: &Api, call: &Call) -> Result<Reply, RestError> {
    let (job, endpoints) = look(api, call)?;
    let (_, vertex) = vertex_of(&job, call)?;
    let subtasks = vertex.subtasks.iter().enumerate().map(|(s, subtask)| {
        json!({
            "subtask": s,
            "attempt": subtask.attempt,
            "endpoint": endpoints.of(&subtask.worker),
            "user-accumulators": [],
        })
    });
    Ok(json!({
        "id": vertex.shape.id,
        "parallelism": vertex.shape.parallelism,
        "subtasks": subtasks.collect::<Vec<_>>(),
    })
    .into())
}

/// `GET …/backpressure`.
pub(super) fn back_pressure(api: &Api, call: &Call) -> Result<Reply, RestError> {
    let job = api.job(call)?;
    let (_, vertex) = vertex_of(&job, call)?;
    let ratio = |subtask: &SubtaskView, name| subtask.rate(name).unwrap_or(0.0) / 1000.0;
    let mut worst: f64 = 0.0;
    let mut subtasks = Vec::new();
    for (index, subtask) in vertex.subtasks.iter().enumerate() {
        let blocked = ratio(subtask, "backPressuredTimeMsPerSecond");
        worst = worst.max(blocked);
        subtasks.push(json!({
            "subtask": index,
            "backpressureLevel": level(blocked),
            "ratio": blocked,
            "idleRatio": ratio(subtask, "idleTimeMsPerSecond"),
            "busyRatio": ratio(subtask, "busyTimeMsPerSecond"),
            "backpressure-level": level(blocked),
        }));
    }
    Ok(json!({
        "status": "ok",
        "backpressureLevel": level(worst),
        "end-timestamp": now_ms(),
        "subtasks": subtasks,
        "backpressure-level": level(worst),
    })
    .into())
}

/// Flink's words for a share of time: up to a tenth, up to a half, more.
fn level(ratio: f64) -> &'static str {
    match ratio {
        ..=0.1 => "ok",
        ..=0.5 => "low",
        _ => "high",
    }
}

/// `GET …/watermarks`.
pub(super) fn watermarks(api: &Api, call: &Call) -> Result<Reply, RestError> {
    let job = api.job(call)?;
    let (_, vertex) = vertex_of(&job, call)?;
    let watermarks = vertex.subtasks.iter().enumerate().filter_map(|(s, subtask)| {
        let watermark = subtask.metric("currentInputWatermark")?;
        Some(json!({ "id": format!("{s}.currentInputWatermark"), "value": watermark.to_string() }))
    });
    Ok(Value::Array(watermarks.collect()).into())
}

fn shown(index: usize, subtask: &SubtaskView, endpoints: &Endpoints, now: i64) -> Value {
    let (start, end) = (subtask.start_ms(), subtask.end_ms());
    let durations = TIMED.iter().map(|state| ((*state).to_owned(), time_in(subtask, state, now).into()));
    json!({
        "subtask": index,
        "status": subtask.state,
        "attempt": subtask.attempt,
        "endpoint": endpoints.of(&subtask.worker),
        "start-time": start,
        "end-time": end,
        "duration": elapsed(start, end, now),
        "metrics": io_metrics([subtask]),
        "taskmanager-id": if subtask.worker.is_empty() { "(unassigned)" } else { subtask.worker.as_str() },
        "status-duration": Value::Object(durations.collect()),
        "start_time": start,
    })
}

/// How long a subtask was in a state, or has been.
fn time_in(subtask: &SubtaskView, state: &str, now: i64) -> i64 {
    let Some(at) = subtask.since.iter().position(|(of, _)| *of == state) else { return 0 };
    let end = subtask.since.get(at + 1).map_or(now, |(_, next)| *next);
    (end - subtask.since[at].1).max(0)
}

fn aggregated(subtasks: &[&SubtaskView], now: i64) -> Value {
    let metrics: Map<String, Value> = IO_METRICS
        .iter()
        .map(|(name, metric)| {
            let values = subtasks.iter().map(|subtask| subtask.metric(metric).unwrap_or(0));
            ((*name).to_owned(), aggregate(values))
        })
        .collect();
    let durations: Map<String, Value> = TIMED
        .iter()
        .map(|state| {
            let times = subtasks.iter().map(|subtask| time_in(subtask, state, now));
            ((*state).to_owned(), aggregate(times))
        })
        .collect();
    json!({ "metrics": metrics, "status-duration": durations })
}
