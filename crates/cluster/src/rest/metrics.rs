//! Metrics of subtasks, jobs and processes under Flink's names: without `get` which there are, with it their values.
//!
//! Flink's `Status.JVM.…` stand for the process: its heap is all the memory that it has in use.

use serde_json::{Map, Value, json};
use streamkeeper_coordination::jobs::JobState;

use super::api::{Api, Call, Reply, RestError, unresolved};
use super::checkpoints::path;
use super::statistics::{AGGREGATES, aggregated};
use super::task_managers::find;
use super::vertices::{subtask_of, vertex_of};
use crate::jobmanager::view::{ClusterView, JobView, Outcome, ProcessStatus, SubtaskView};
use crate::time::now_ms;

/// Values under their names.
pub(super) type Metrics = Vec<(String, Value)>;

/// `GET /jobmanager/metrics`.
pub(super) fn of_job_manager(api: &Api, call: &Call) -> Result<Reply, RestError> {
    let mut metrics = process(&api.process());
    metrics.extend(cluster(&api.handle.view()?));
    Ok(asked(call, metrics))
}

/// What the leader counts of the cluster.
pub(super) fn cluster(view: &ClusterView) -> Metrics {
    let total: usize = view.task_managers.iter().map(|t| t.slots).sum();
    let free: usize = view.task_managers.iter().map(|t| t.free_slots).sum();
    let running = view.jobs.iter().filter(|job| !job.state.is_terminal()).count();
    vec![
        ("numRegisteredTaskManagers".into(), view.task_managers.len().into()),
        ("taskSlotsTotal".into(), total.into()),
        ("taskSlotsAvailable".into(), free.into()),
        ("numRunningJobs".into(), running.into()),
    ]
}

/// `GET /taskmanagers/:taskmanagerid/metrics`.
pub(super) fn of_task_manager(api: &Api, call: &Call) -> Result<Reply, RestError> {
    let view = api.handle.view()?;
    Ok(asked(call, process(&find(&view, call)?.process)))
}

/// `GET /taskmanagers/metrics`.
pub(super) fn of_task_managers(api: &Api, call: &Call) -> Result<Reply, RestError> {
    let view = api.handle.view()?;
    let only = call.query_list("taskmanagers");
    let chosen = view.task_managers.iter().filter(|t| only.is_empty() || only.contains(&t.id.as_str()));
    aggregates(call, &chosen.map(|t| process(&t.process)).collect::<Vec<_>>())
}

/// `GET /jobs/:jobid/metrics`.
pub(super) fn of_job(api: &Api, call: &Call) -> Result<Reply, RestError> {
    Ok(asked(call, job(&api.job(call)?)))
}

/// `GET /jobs/metrics`.
pub(super) fn of_jobs(api: &Api, call: &Call) -> Result<Reply, RestError> {
    let view = api.handle.view()?;
    let only = call.query_list("jobs");
    let chosen = view.jobs.iter().filter(|job| !job.state.is_terminal());
    let chosen = chosen.filter(|job| only.is_empty() || only.contains(&job.id.as_str()));
    aggregates(call, &chosen.map(job).collect::<Vec<_>>())
}

/// `GET /jobs/:jobid/vertices/:vertexid/metrics`.
pub(super) fn of_vertex(api: &Api, call: &Call) -> Result<Reply, RestError> {
    let job = api.job(call)?;
    let (_, vertex) = vertex_of(&job, call)?;
    let metrics = vertex.subtasks.iter().enumerate().flat_map(|(s, subtask)| {
        of_task(subtask).into_iter().map(move |(name, value)| (format!("{s}.{name}"), value))
    });
    Ok(asked(call, metrics.collect()))
}

/// `GET …/jm-operator-metrics`: of what runs for a vertex in the JobManager, which measures nothing.
pub(super) fn of_coordinator(api: &Api, call: &Call) -> Result<Reply, RestError> {
    let job = api.job(call)?;
    vertex_of(&job, call)?;
    Ok(asked(call, Vec::new()))
}

/// `GET …/subtasks/:subtaskindex/metrics`.
pub(super) fn of_subtask(api: &Api, call: &Call) -> Result<Reply, RestError> {
    let job = api.job(call)?;
    let (_, vertex) = vertex_of(&job, call)?;
    let (_, subtask) = subtask_of(vertex, call)?;
    Ok(asked(call, of_task(subtask)))
}

/// `GET …/subtasks/metrics`.
pub(super) fn of_subtasks(api: &Api, call: &Call) -> Result<Reply, RestError> {
    let job = api.job(call)?;
    let (_, vertex) = vertex_of(&job, call)?;
    let ranges = ranges(call)?;
    let chosen = |index: usize| ranges.is_empty() || ranges.iter().any(|range| range.contains(&index));
    let subtasks = vertex.subtasks.iter().enumerate().filter(|(index, _)| chosen(*index));
    aggregates(call, &subtasks.map(|(_, subtask)| of_task(subtask)).collect::<Vec<_>>())
}

/// `subtasks=0-2,5`.
fn ranges(call: &Call) -> Result<Vec<std::ops::RangeInclusive<usize>>, RestError> {
    let range = |text: &str| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    };
    let all = call.query_list("subtasks").into_iter();
    all.map(|text| range(text).ok_or_else(|| unresolved("query", "subtasks", text))).collect()
}

/// Of a subtask.
pub(super) fn of_task(subtask: &SubtaskView) -> Metrics {
    let values = subtask.metrics.iter().map(|(name, value)| ((*name).to_owned(), json!(value)));
    let rates = subtask.rates.iter().map(|(name, rate)| ((*name).to_owned(), json!(rate)));
    values.chain(rates).collect()
}

/// Of a process.
pub(super) fn process(status: &ProcessStatus) -> Metrics {
    // A share of all processors.
    let load = status.load_permille as f64 / 1000.0 / (status.cores as f64).max(1.0);
    let metrics = [
        ("Status.JVM.Memory.Heap.Used", status.resident_bytes),
        ("Status.JVM.Memory.Heap.Committed", status.resident_bytes),
        ("Status.JVM.CPU.Time", status.cpu_ms.saturating_mul(1_000_000)),
        ("Status.JVM.Threads.Count", status.threads),
        ("Status.JVM.FileDescriptor.Open", status.open_files),
    ];
    metrics
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.into()))
        .chain([("Status.JVM.CPU.Load".to_owned(), json!(load))])
        .collect()
}

/// Of a job.
pub(super) fn job(job: &JobView) -> Metrics {
    let now = now_ms();
    let history = &job.history;
    let latest = history.latest_completed();
    let in_progress = history.checkpoints.iter().filter(|c| c.outcome == Outcome::InProgress).count() as u64;
    let running = job.state == JobState::Running;
    let since = i64::try_from(job.since_ms).unwrap_or(0);
    let up = if running && since > 0 { (now - since).max(0) } else { 0 };
    let completed_at = latest.map_or(-1, |checkpoint| match checkpoint.outcome {
        Outcome::Completed(at) => at,
        _ => -1,
    });
    let metrics = [
        ("uptime", json!(up)),
        ("runningTime", json!(up)),
        ("downtime", json!(if running || since == 0 { 0 } else { (now - since).max(0) })),
        ("numRestarts", json!(job.restarts)),
        ("fullRestarts", json!(job.restarts)),
        ("numberOfInProgressCheckpoints", json!(in_progress)),
        ("numberOfCompletedCheckpoints", json!(history.completed)),
        ("numberOfFailedCheckpoints", json!(history.failed)),
        ("totalNumberOfCheckpoints", json!(history.completed + history.failed + in_progress)),
        ("lastCompletedCheckpointId", json!(job.checkpoints.last().map_or(-1, |id| *id as i64))),
        ("lastCheckpointDuration", json!(latest.map_or(-1, |c| c.duration_ms()))),
        ("lastCheckpointSize", json!(latest.map_or(-1, |c| c.bytes() as i64))),
        ("lastCheckpointFullSize", json!(latest.map_or(-1, |c| c.bytes() as i64))),
        ("lastCheckpointCompletedTimestamp", json!(completed_at)),
        ("lastCheckpointExternalPath", json!(latest.map_or_else(|| "n/a".into(), |c| path(job, c.id)))),
        ("lastCheckpointRestoreTimestamp", json!(history.last_restored.as_ref().map_or(-1, |r| r.at_ms))),
    ];
    metrics.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// All names, or the values of those that were asked for, as text. Names that are not known are left out.
fn asked(call: &Call, metrics: Metrics) -> Reply {
    let only = call.query_list("get");
    let entry = |(name, value): (String, Value)| match only.is_empty() {
        true => Some(json!({ "id": name })),
        false => only.contains(&name.as_str()).then(|| {
            // As Java writes a double.
            let text = match value.as_f64().filter(|_| value.is_f64()) {
                Some(number) => format!("{number:?}"),
                None => value.as_str().map_or_else(|| value.to_string(), str::to_owned),
            };
            json!({ "id": name, "value": text })
        }),
    };
    Value::Array(metrics.into_iter().filter_map(entry).collect()).into()
}

/// The same over several things: all names, or aggregates of those that were asked for.
fn aggregates(call: &Call, all: &[Metrics]) -> Result<Reply, RestError> {
    let only = call.query_list("get");
    let functions = call.query_list("agg");
    if let Some(other) = functions.iter().find(|name| !AGGREGATES.contains(name)) {
        return Err(unresolved("query", "agg", other));
    }
    let mut values: Map<String, Value> = Map::new();
    for (name, value) in all.iter().flatten() {
        if only.is_empty() || only.contains(&name.as_str()) {
            let known = values.entry(name.as_str()).or_insert_with(|| json!([]));
            if let Some(known) = known.as_array_mut() {
                known.push(value.clone());
            }
        }
    }
    let entries = values.into_iter().map(|(name, values)| {
        let mut entry = Map::new();
        entry.insert("id".into(), name.into());
        if !only.is_empty() {
            let numbers: Vec<f64> =
                values.as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
            entry.extend(aggregated(&numbers, &functions));
        }
        Value::Object(entry)
    });
    Ok(Value::Array(entries.collect()).into())
}
