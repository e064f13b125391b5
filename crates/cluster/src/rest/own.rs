//! What Flink has no path for.

use std::str::FromStr;

use axum::body::Body;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use streamkeeper_coordination::catalog::Change;
use streamkeeper_coordination::jobs::{JobSpec, Submitted};

use super::api::{Api, Call, Reply, RestError};
use crate::job_id::JobId;
use crate::jobmanager::view::{JobView, VertexView};

/// Where a JobManager says who leads, without asking anybody.
pub(super) const LEADER: &str = "/v1/streamkeeper/leader";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Submission {
    #[serde(default)]
    id: Option<String>,
    spec: JobSpec,
}

/// `POST /v1/streamkeeper/jobs`.
pub(super) fn submit(api: &Api, call: &Call) -> Result<Reply, RestError> {
    let Submission { id, spec } = serde_json::from_slice(&call.body)
        .map_err(|e| RestError::bad_request(format!("the body is no submission of a job: {e}")))?;
    let id = match id {
        Some(id) => JobId::from_str(&id).map_err(RestError::bad_request)?,
        None => JobId::random(),
    };
    let already = api.handle.submit(id, spec)? == Submitted::AlreadyThere;
    Ok(Reply::Json(StatusCode::CREATED, json!({ "jobid": id.to_string(), "already": already })))
}

/// `GET /v1/streamkeeper/jobs/:jobid`.
pub(super) fn job(api: &Api, call: &Call) -> Result<Reply, RestError> {
    let view = api.job(call)?;
    let JobView { id, name, state, submitted_ms, started_ms, ended_ms, restarts, error, .. } = &view;
    let history = &view.history;
    let latest = history.latest_completed();
    Ok(json!({
        "jobid": id,
        "name": name,
        "state": state,
        "submitted_ms": submitted_ms,
        "started_ms": started_ms,
        "ended_ms": ended_ms,
        "restarts": restarts,
        "parallelism": view.parallelism,
        "error": error,
        "checkpoints": {
            "retained": view.checkpoints,
            "completed": history.completed,
            "failed": history.failed,
            "last_id": latest.map(|c| c.id),
            "last_duration_ms": latest.map(|c| c.duration_ms()),
            "last_size_bytes": latest.map(|c| c.bytes()),
        },
        "vertices": view.vertices.iter().map(vertex).collect::<Vec<_>>(),
    })
    .into())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CatalogChanges {
    changes: Vec<Change>,
}

/// `GET /v1/streamkeeper/catalog`: the tables and views that are in force.
pub(super) fn catalog(api: &Api, _: &Call) -> Result<Reply, RestError> {
    let catalog = api.handle.catalog()?;
    let databases = catalog.databases().map(|(name, database)| {
        json!({ "database": name, "content": database.value, "version": database.version })
    });
    let objects = catalog.objects().map(|(database, name, object)| {
        json!({ "database": database, "object": name, "content": object.value, "version": object.version })
    });
    let problems = catalog.problems().map(|(name, reason)| (name.to_owned(), json!(reason)));
    Ok(json!({
        "databases": databases.collect::<Vec<_>>(),
        "objects": objects.collect::<Vec<_>>(),
        "problems": problems.collect::<serde_json::Map<_, _>>(),
    })
    .into())
}

/// `POST /v1/streamkeeper/catalog`: changes of tables and views, all or none.
pub(super) fn change_catalog(api: &Api, call: &Call) -> Result<Reply, RestError> {
    let CatalogChanges { changes } = serde_json::from_slice(&call.body)
        .map_err(|e| RestError::bad_request(format!("the body is no change of the catalog: {e}")))?;
    api.handle.change_catalog(&changes)?;
    Ok(json!({}).into())
}

fn vertex(vertex: &VertexView) -> Value {
    let shape = &vertex.shape;
    let inputs: Vec<_> =
        shape.inputs.iter().map(|(from, exchange)| json!({ "vertex": from, "exchange": exchange })).collect();
    let subtasks = vertex.subtasks.iter().enumerate().map(|(index, subtask)| {
        let metrics = subtask.metrics.iter().map(|(name, value)| (name.to_string(), json!(value)));
        json!({
            "subtask": index,
            "state": subtask.state,
            "attempt": subtask.attempt,
            "taskmanager": subtask.worker,
            "metrics": Value::Object(metrics.collect()),
        })
    });
    json!({
        "id": shape.id,
        "name": shape.name,
        "parallelism": shape.parallelism,
        "is_source": shape.is_source,
        "is_sink": shape.is_sink,
        "inputs": inputs,
        "subtasks": subtasks.collect::<Vec<_>>(),
    })
}

/// `GET /v1/streamkeeper/openapi.json`: these paths, described.
pub(super) fn openapi(_: &Api, _: &Call) -> Result<Reply, RestError> {
    Ok(Reply::Text(super::api::JSON, Body::from(include_str!("openapi.json"))))
}

/// `GET /`: a page that shows the rest.
pub(super) fn page(_: &Api, _: &Call) -> Result<Reply, RestError> {
    Ok(Reply::Text("text/html; charset=UTF-8", Body::from(include_str!("index.html"))))
}

/// `GET /v1/streamkeeper/leader`.
pub(super) fn leader(api: &Api, _: &Call) -> Result<Reply, RestError> {
    let (leads, leader) = api.handle.leadership()?;
    let leader = leader.filter(|leader| leader.epoch > 0);
    Ok(json!({
        "jobmanager": api.handle.id(),
        "leads": leads,
        "leader": leader.map(|leader| json!({
            "id": leader.leader,
            "epoch": leader.epoch,
            "rpc_address": leader.rpc_address,
            "rest_address": leader.rest_address,
        })),
    })
    .into())
}
