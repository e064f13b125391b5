//! What else is to be said of a job: its plan, configuration, failures and result.

use axum::http::StatusCode;
use serde_json::{Value, json};
use streamkeeper_coordination::jobs::JobState;
use streamkeeper_dataflow::restart::RestartStrategy;

use super::api::{Api, Call, Reply, RestError};
use super::configuration::{SECRET, is_secret};
use super::jobs::{duration, end, ms, plan_of};
use crate::jobmanager::view::{Failure, JobView};
use crate::time::now_ms;

/// `GET /jobs/:jobid/plan`.
pub(super) fn plan(api: &Api, call: &Call) -> Result<Reply, RestError> {
    Ok(json!({ "plan": plan_of(&api.job(call)?) }).into())
}

/// `GET /jobs/:jobid/config`.
pub(super) fn config(api: &Api, call: &Call) -> Result<Reply, RestError> {
    let job = api.job(call)?;
    let shown = |(key, value): (&String, &String)| {
        let value = if is_secret(key) { SECRET } else { value.as_str() };
        (key.clone(), Value::from(value))
    };
    Ok(json!({
        "jid": job.id,
        "name": job.name,
        "execution-config": {
            "restart-strategy": restart_strategy(&job),
            "job-parallelism": parallelism(&job),
            "object-reuse-mode": true,
            "user-config": Value::Object(job.configuration.iter().map(shown).collect()),
        },
    })
    .into())
}

fn restart_strategy(job: &JobView) -> String {
    let times = |most: Option<u32>| most.map_or("no limit".into(), |most| format!("{most} times at most"));
    match job.settings.as_ref().map(|settings| &settings.restart) {
        None => "Cluster level default restart strategy".into(),
        Some(RestartStrategy::None) => "Restart deactivated.".into(),
        Some(RestartStrategy::FixedDelay { attempts, delay_ms }) => {
            format!("Restart with fixed delay ({delay_ms} ms). #{attempts} restart attempts.")
        }
        Some(RestartStrategy::FailureRate { max_failures, interval_ms, delay_ms }) => {
            format!("Restart after {delay_ms} ms, {max_failures} times in {interval_ms} ms at most.")
        }
        Some(RestartStrategy::ExponentialDelay { initial_ms, max_ms, multiplier, attempts, .. }) => {
            let delays = format!("{initial_ms} ms to {max_ms} ms, each {multiplier} times the last");
            format!("Restart with exponential delay: {delays}; {}.", times(*attempts))
        }
    }
}

fn parallelism(job: &JobView) -> usize {
    let highest = job.vertices.iter().map(|vertex| vertex.shape.parallelism).max();
    highest.unwrap_or(job.parallelism as usize).max(1)
}

/// `GET /jobs/:jobid/exceptions`, the latest first, at most `maxExceptions`.
pub(super) fn exceptions(api: &Api, call: &Call) -> Result<Reply, RestError> {
    let job = api.job(call)?;
    let most = match call.query("maxExceptions") {
        Some(text) => text.parse().map_err(|_| super::api::unresolved("query", "maxExceptions", text))?,
        None => usize::MAX,
    };
    let mut entries: Vec<Value> = job.failures.entries.iter().rev().map(exception).collect();
    if let Some(error) = job.error.as_ref().filter(|_| job.state == JobState::Failed) {
        let failed =
            Failure { at_ms: ms(job.ended_ms), message: error.clone(), task: None, worker: String::new() };
        entries.insert(0, exception(&failed));
    }
    let truncated = job.failures.truncated || entries.len() > most;
    entries.truncate(most);
    Ok(json!({ "exceptionHistory": { "entries": entries, "truncated": truncated } }).into())
}

fn exception(failure: &Failure) -> Value {
    let task = failure.task.as_ref();
    let name = match task {
        Some(_) => "TaskFailure",
        None if !failure.worker.is_empty() => "TaskManagerLost",
        None => "JobFailure",
    };
    json!({
        "exceptionName": name,
        "stacktrace": failure.message,
        "timestamp": failure.at_ms,
        "failureLabels": {},
        "taskName": task.map(|(name, subtask, attempt)| format!("{name} ({}) - attempt {attempt}", subtask + 1)),
        "endpoint": Some(&failure.worker).filter(|worker| !worker.is_empty()),
        "taskManagerId": Some(&failure.worker).filter(|worker| !worker.is_empty()),
        "concurrentExceptions": [],
    })
}

/// `GET /jobs/:jobid/accumulators`: there are none.
pub(super) fn accumulators(api: &Api, call: &Call) -> Result<Reply, RestError> {
    api.job(call)?;
    Ok(json!({
        "job-accumulators": [],
        "user-task-accumulators": [],
        "serialized-user-task-accumulators": {},
    })
    .into())
}

/// `GET /jobs/:jobid/execution-result`.
pub(super) fn result(api: &Api, call: &Call) -> Result<Reply, RestError> {
    let job = api.job(call)?;
    let status = match job.state {
        JobState::Finished => "SUCCEEDED",
        JobState::Canceled => "CANCELED",
        JobState::Failed => "FAILED",
        _ => return Ok(json!({ "status": { "id": "IN_PROGRESS" } }).into()),
    };
    let mut result = json!({
        "id": job.id,
        "application-status": status,
        "accumulator-results": {},
        "net-runtime": duration(&job, now_ms()),
    });
    if let Some(error) = &job.error {
        result["failure-cause"] =
            json!({ "class": "JobFailure", "stack-trace": error, "serialized-throwable": "" });
    }
    Ok(json!({ "status": { "id": "COMPLETED" }, "job-execution-result": result }).into())
}

/// `GET /applications/overview`: each job is an application of its own.
pub(super) fn applications(api: &Api, _: &Call) -> Result<Reply, RestError> {
    let (view, now) = (api.handle.view()?, now_ms());
    let entry = |job: &JobView| {
        json!({
            "id": job.id,
            "name": format!("SingleJobApplication({})", job.name),
            "start-time": job.submitted_ms,
            "end-time": end(job),
            "duration": duration(job, now),
            "status": job.state,
            "jobs": { job.state.to_string(): 1 },
        })
    };
    Ok(json!({ "applications": view.jobs.iter().map(entry).collect::<Vec<_>>() }).into())
}

/// What Flink can do and this cannot yet.
pub(super) fn unsupported(_: &Api, _: &Call) -> Result<Reply, RestError> {
    let message = "Streamkeeper does not support this operation yet; docs/rest.md lists what it answers.";
    Err(RestError::new(StatusCode::NOT_IMPLEMENTED, message))
}

/// The same, of a job that is there.
pub(super) fn unsupported_of_job(api: &Api, call: &Call) -> Result<Reply, RestError> {
    api.job(call)?;
    unsupported(api, call)
}
