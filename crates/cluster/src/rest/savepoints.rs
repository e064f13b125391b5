//! Savepoints, checkpoints on demand, and a job's end with a savepoint: all begin at once, and are looked after by the id of the request.
//!
//! What Flink calls cancelling with a savepoint (`cancel-job`) is an end with one here: what the savepoint does not hold is not written.

use std::path::{Path, PathBuf};

use axum::http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use streamkeeper_dataflow::config::parse_directory;
use streamkeeper_dataflow::job::trigger::Trigger;

use super::api::{Api, Call, Reply, RestError};
use crate::job_id::JobId;
use crate::jobmanager::view::JobView;
use crate::jobmanager::{Asked, Operation};

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "kebab-case")]
struct Savepoint {
    target_directory: Option<String>,
    cancel_job: bool,
    #[serde(alias = "triggerId")]
    trigger_id: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Stop {
    target_directory: Option<String>,
    drain: bool,
    trigger_id: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Checkpoint {
    trigger_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Disposal {
    savepoint_path: String,
}

/// `POST /jobs/:jobid/savepoints`.
pub(super) fn trigger(api: &Api, call: &Call) -> Result<Reply, RestError> {
    let job = api.job(call)?;
    let Savepoint { target_directory, cancel_job, trigger_id } = body(call)?;
    let savepoint = target(&job, target_directory, "target-directory")?;
    let trigger =
        if cancel_job { Trigger::Stop { savepoint, drain: false } } else { Trigger::Savepoint(savepoint) };
    begin(api, call, trigger_id, trigger)
}

/// `POST /jobs/:jobid/stop`.
pub(super) fn stop(api: &Api, call: &Call) -> Result<Reply, RestError> {
    let job = api.job(call)?;
    let Stop { target_directory, drain, trigger_id } = body(call)?;
    let savepoint = target(&job, target_directory, "targetDirectory")?;
    begin(api, call, trigger_id, Trigger::Stop { savepoint, drain })
}

/// `POST /jobs/:jobid/checkpoints`.
pub(super) fn checkpoint(api: &Api, call: &Call) -> Result<Reply, RestError> {
    api.job(call)?;
    let Checkpoint { trigger_id } = body(call)?;
    begin(api, call, trigger_id, Trigger::Checkpoint)
}

/// `GET /jobs/:jobid/savepoints/:triggerid`.
pub(super) fn savepoint_status(api: &Api, call: &Call) -> Result<Reply, RestError> {
    let (trigger, outcome) = of_job(api, call, "savepoint")?;
    let Some(path) = trigger.savepoint() else { return Err(unknown(call, "savepoint")) };
    Ok(status(&outcome, |_| json!({ "location": format!("file:{}", path.display()) })))
}

/// `GET /jobs/:jobid/checkpoints/:triggerid`.
pub(super) fn checkpoint_status(api: &Api, call: &Call) -> Result<Reply, RestError> {
    let (trigger, outcome) = of_job(api, call, "checkpoint")?;
    if trigger.savepoint().is_some() {
        return Err(unknown(call, "checkpoint"));
    }
    Ok(status(&outcome, |checkpoint| json!({ "checkpointId": checkpoint })))
}

/// `POST /savepoint-disposal`.
pub(super) fn dispose(api: &Api, call: &Call) -> Result<Reply, RestError> {
    let Disposal { savepoint_path } = serde_json::from_slice(&call.body).map_err(malformed)?;
    let path = absolute(&savepoint_path, "savepoint-path")?;
    let id = fresh();
    if !api.handle.dispose(&id, &path)? {
        return Err(too_much());
    }
    Ok(json!({ "request-id": id }).into())
}

/// `GET /savepoint-disposal/:triggerid`.
pub(super) fn disposal_status(api: &Api, call: &Call) -> Result<Reply, RestError> {
    match api.handle.operation(call.param("triggerid"))? {
        Some(Operation { asked: Asked::Disposal, outcome, .. }) => Ok(status(&outcome, |_| json!({}))),
        _ => Err(unknown(call, "savepoint disposal")),
    }
}

fn begin(api: &Api, call: &Call, id: Option<String>, trigger: Trigger) -> Result<Reply, RestError> {
    let job = call.job()?;
    let id = match id {
        Some(id) => id.parse::<JobId>().map_err(RestError::bad_request)?.to_string(),
        None => fresh(),
    };
    if !api.handle.begin(&id, Asked::Trigger(job, trigger))? {
        // Asking again is no second request.
        let known = api.handle.operation(&id)?;
        let same = known.is_some_and(|known| matches!(known.asked, Asked::Trigger(of, _) if of == job));
        let view = api.job(call)?;
        match same {
            true => {}
            false if view.state.is_terminal() => {
                return Err(RestError::not_found(format!("Job {job} has ended: {}", view.state)));
            }
            false => return Err(too_much()),
        }
    }
    Ok(Reply::Json(StatusCode::ACCEPTED, json!({ "request-id": id })))
}

/// What has become of something: a checkpoint's number, or why there is none; `None`: nothing yet.
type Outcome = Option<Result<u64, String>>;

fn of_job(api: &Api, call: &Call, what: &str) -> Result<(Trigger, Outcome), RestError> {
    api.job(call)?;
    let job = call.job()?;
    match api.handle.operation(call.param("triggerid"))? {
        Some(Operation { asked: Asked::Trigger(of, trigger), outcome, .. }) if of == job => {
            Ok((trigger, outcome))
        }
        _ => Err(unknown(call, what)),
    }
}

/// An operation as Flink shows it.
fn status(outcome: &Outcome, done: impl FnOnce(u64) -> Value) -> Reply {
    let (id, operation) = match outcome {
        None => ("IN_PROGRESS", Value::Null),
        Some(Ok(checkpoint)) => ("COMPLETED", done(*checkpoint)),
        Some(Err(reason)) => {
            let cause = json!({
                "class": "org.apache.flink.runtime.checkpoint.CheckpointException",
                "stack-trace": reason,
                "serialized-throwable": "",
            });
            ("COMPLETED", json!({ "failure-cause": cause }))
        }
    };
    json!({ "status": { "id": id }, "operation": operation }).into()
}

/// The directory of a new savepoint, named as Flink names them.
fn target(job: &JobView, directory: Option<String>, property: &str) -> Result<PathBuf, RestError> {
    let directory = match directory {
        Some(directory) => absolute(&directory, property)?,
        None => {
            let default = job.settings.as_ref().and_then(|settings| settings.savepoint_directory.clone());
            default.ok_or_else(|| {
                RestError::bad_request(format!(
                    "Config key [execution.checkpointing.savepoint-dir] is not set. Property [{property}] must be provided."
                ))
            })?
        }
    };
    let (short, random) = (job.id.get(..6).unwrap_or(&job.id), fresh());
    Ok(directory.join(format!("savepoint-{short}-{}", random.get(..12).unwrap_or(&random))))
}

/// All processes of the cluster have to find it.
fn absolute(text: &str, property: &str) -> Result<PathBuf, RestError> {
    let path =
        parse_directory(text).map_err(|e| RestError::bad_request(format!("{property} `{text}`: {e}")))?;
    if !Path::is_absolute(&path) {
        let message =
            format!("{property} `{text}`: it must be an absolute path, which all TaskManagers have");
        return Err(RestError::bad_request(message));
    }
    Ok(path)
}

/// A body may be left out.
fn body<T: DeserializeOwned + Default>(call: &Call) -> Result<T, RestError> {
    if call.body.is_empty() {
        Ok(T::default())
    } else {
        serde_json::from_slice(&call.body).map_err(malformed)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn malformed(error: serde_json::Error) -> RestError {
    RestError::bad_request(format!("Request did not match expected format: {error}"))
}

fn too_much() -> RestError {
    RestError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "The job is being started, or too many operations go on; try again.",
    )
}

fn unknown(call: &Call, what: &str) -> RestError {
    let id = call.param("triggerid");
    RestError::not_found(format!(
        "There is no {what} operation with triggerId={id} (any more); after a change of leader, ask again."
    ))
}

fn fresh() -> String {
    JobId::random().to_string()
}
