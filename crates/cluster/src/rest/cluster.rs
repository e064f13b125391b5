//! What is to be said of the cluster as a whole.

use serde_json::json;
use streamkeeper_coordination::jobs::JobState;

use super::api::{Api, Call, Reply, RestError};

/// The version of Flink whose API this is: clients choose by it how they talk.
const FLINK_VERSION: &str = "2.3.0";

/// Stands where Flink gives its revision.
const REVISION: &str = concat!("streamkeeper-", env!("CARGO_PKG_VERSION"));

/// `GET /overview`.
pub(super) fn overview(api: &Api, _: &Call) -> Result<Reply, RestError> {
    let view = api.handle.view()?;
    let ended = |state| view.jobs.iter().filter(|job| job.state == state).count();
    let running = view.jobs.iter().filter(|job| !job.state.is_terminal()).count();
    Ok(json!({
        "taskmanagers": view.task_managers.len(),
        "slots-total": view.task_managers.iter().map(|t| t.slots).sum::<usize>(),
        "slots-available": view.task_managers.iter().map(|t| t.free_slots).sum::<usize>(),
        "jobs-running": running,
        "jobs-finished": ended(JobState::Finished),
        "jobs-cancelled": ended(JobState::Canceled),
        "jobs-failed": ended(JobState::Failed),
        "flink-version": FLINK_VERSION,
        "flink-commit": REVISION,
    })
    .into())
}

/// `GET /config`.
pub(super) fn config(_: &Api, _: &Call) -> Result<Reply, RestError> {
    Ok(json!({
        "refresh-interval": 3000,
        "timezone-name": "Coordinated Universal Time",
        "timezone-offset": 0,
        "flink-version": FLINK_VERSION,
        "flink-revision": REVISION,
        "features": {
            "web-submit": false,
            "web-cancel": true,
            "web-rescale": false,
            "web-history": false,
        },
    })
    .into())
}

/// `GET /jars`: nobody can upload any.
pub(super) fn jars(api: &Api, _: &Call) -> Result<Reply, RestError> {
    Ok(json!({ "address": format!("http://{}", api.address), "files": [] }).into())
}

/// `GET /datasets`: there are none.
pub(super) fn datasets(_: &Api, _: &Call) -> Result<Reply, RestError> {
    Ok(json!({ "dataSets": [] }).into())
}
