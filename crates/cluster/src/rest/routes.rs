//! Which path is answered by which function. Flink's paths are there with `/v1` before them as well.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use axum::routing::MethodFilter;

use super::api::{Act, Api, RestError, serve};
use super::{
    about, checkpoints, cluster, configuration, forward, health, jobs, metrics, own, prometheus, rescaling,
    savepoints, task_managers, vertices,
};

/// The longest body of a request.
pub(super) const MAX_BODY_BYTES: usize = 4 << 20;

type Routes = &'static [(MethodFilter, &'static str, Act)];

const GET: MethodFilter = MethodFilter::GET;
const POST: MethodFilter = MethodFilter::POST;
const DELETE: MethodFilter = MethodFilter::DELETE;

const FLINK: Routes = &[
    (GET, "/overview", cluster::overview),
    (GET, "/config", cluster::config),
    (GET, "/jobs", jobs::list),
    (GET, "/jobs/overview", jobs::overview),
    (GET, "/jobs/{jobid}", jobs::details),
    (MethodFilter::PATCH, "/jobs/{jobid}", jobs::cancel),
    (GET, "/jobs/{jobid}/status", jobs::status),
    (GET, "/jobs/metrics", metrics::of_jobs),
    (GET, "/jobs/{jobid}/plan", about::plan),
    (GET, "/jobs/{jobid}/config", about::config),
    (GET, "/jobs/{jobid}/jobmanager/config", configuration::config_of_job),
    (GET, "/jobs/{jobid}/jobmanager/environment", configuration::environment_of_job),
    (GET, "/jobs/{jobid}/exceptions", about::exceptions),
    (GET, "/jobs/{jobid}/accumulators", about::accumulators),
    (GET, "/jobs/{jobid}/execution-result", about::result),
    (GET, "/jobs/{jobid}/metrics", metrics::of_job),
    (GET, "/jobs/{jobid}/checkpoints", checkpoints::statistics),
    (GET, "/jobs/{jobid}/checkpoints/config", checkpoints::config),
    (GET, "/jobs/{jobid}/checkpoints/details/{checkpointid}", checkpoints::details),
    (GET, "/jobs/{jobid}/checkpoints/details/{checkpointid}/subtasks/{vertexid}", checkpoints::subtasks),
    (GET, "/jobs/{jobid}/vertices/{vertexid}", vertices::details),
    (GET, "/jobs/{jobid}/vertices/{vertexid}/subtasktimes", vertices::times),
    (GET, "/jobs/{jobid}/vertices/{vertexid}/taskmanagers", vertices::task_managers),
    (GET, "/jobs/{jobid}/vertices/{vertexid}/accumulators", vertices::accumulators),
    (GET, "/jobs/{jobid}/vertices/{vertexid}/backpressure", vertices::back_pressure),
    (GET, "/jobs/{jobid}/vertices/{vertexid}/watermarks", vertices::watermarks),
    (GET, "/jobs/{jobid}/vertices/{vertexid}/metrics", metrics::of_vertex),
    (GET, "/jobs/{jobid}/vertices/{vertexid}/jm-operator-metrics", metrics::of_coordinator),
    (GET, "/jobs/{jobid}/vertices/{vertexid}/subtasks/metrics", metrics::of_subtasks),
    (GET, "/jobs/{jobid}/vertices/{vertexid}/subtasks/accumulators", vertices::subtask_accumulators),
    (GET, "/jobs/{jobid}/vertices/{vertexid}/subtasks/{subtaskindex}", vertices::subtask),
    (GET, "/jobs/{jobid}/vertices/{vertexid}/subtasks/{subtaskindex}/attempts/{attempt}", vertices::subtask),
    (GET, "/jobs/{jobid}/vertices/{vertexid}/subtasks/{subtaskindex}/metrics", metrics::of_subtask),
    (
        GET,
        "/jobs/{jobid}/vertices/{vertexid}/subtasks/{subtaskindex}/attempts/{attempt}/accumulators",
        vertices::attempt_accumulators,
    ),
    (GET, "/taskmanagers", task_managers::list),
    (GET, "/taskmanagers/metrics", metrics::of_task_managers),
    (GET, "/taskmanagers/{taskmanagerid}", task_managers::details),
    (GET, "/taskmanagers/{taskmanagerid}/metrics", metrics::of_task_manager),
    (GET, "/taskmanagers/{taskmanagerid}/logs", configuration::task_manager_logs),
    (GET, "/jobmanager/config", configuration::config),
    (GET, "/jobmanager/environment", configuration::environment),
    (GET, "/jobmanager/metrics", metrics::of_job_manager),
    (GET, "/jobmanager/logs", configuration::logs),
    (GET, "/jobmanager/logs/{filename}", configuration::log),
    (GET, "/applications/overview", about::applications),
    (GET, "/jars", cluster::jars),
    (GET, "/datasets", cluster::datasets),
    // What is not supported yet says so.
    (POST, "/jars/upload", about::unsupported),
    (DELETE, "/cluster", about::unsupported),
    (GET, "/jobmanager/thread-dump", about::unsupported),
    (GET, "/taskmanagers/{taskmanagerid}/thread-dump", about::unsupported),
    (GET, "/jobs/{jobid}/vertices/{vertexid}/flamegraph", about::unsupported_of_job),
    (GET, "/jobs/{jobid}/resource-requirements", rescaling::requirements),
    (MethodFilter::PUT, "/jobs/{jobid}/resource-requirements", rescaling::change),
    (POST, "/jobs/{jobid}/checkpoints", savepoints::checkpoint),
    (GET, "/jobs/{jobid}/checkpoints/{triggerid}", savepoints::checkpoint_status),
    (POST, "/jobs/{jobid}/savepoints", savepoints::trigger),
    (GET, "/jobs/{jobid}/savepoints/{triggerid}", savepoints::savepoint_status),
    (POST, "/jobs/{jobid}/stop", savepoints::stop),
    (POST, "/savepoint-disposal", savepoints::dispose),
    (GET, "/savepoint-disposal/{triggerid}", savepoints::disposal_status),
];

const OWN: Routes = &[
    (MethodFilter::POST, "/v1/streamkeeper/jobs", own::submit),
    (GET, "/v1/streamkeeper/jobs/{jobid}", own::job),
    (GET, "/v1/streamkeeper/catalog", own::catalog),
    (POST, "/v1/streamkeeper/catalog", own::change_catalog),
    (GET, own::LEADER, own::leader),
    (GET, "/v1/streamkeeper/openapi.json", own::openapi),
    (GET, prometheus::PATH, prometheus::metrics),
    (GET, health::LIVENESS, health::live),
    (GET, health::READINESS, health::ready),
    (GET, "/", own::page),
];

/// All paths.
pub(super) fn router(api: Arc<Api>) -> Router {
    let mut router = Router::new();
    for (method, path, act) in FLINK {
        router = router.route(path, serve(*method, *act));
        router = router.route(&format!("/v1{path}"), serve(*method, *act));
    }
    for (method, path, act) in OWN {
        router = router.route(path, serve(*method, *act));
    }
    router
        .fallback(async |uri: Uri| {
            RestError::not_found(format!("Unable to load requested file {}.", uri.path()))
        })
        .method_not_allowed_fallback(async |method: Method, uri: Uri| {
            let message = format!("Method {method} is not allowed for {}.", uri.path());
            RestError::new(StatusCode::METHOD_NOT_ALLOWED, message)
        })
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn_with_state(api.clone(), forward::to_leader))
        .with_state(api)
}
