//! Which path is answered by which function. Flink's paths are there with `/v1` before them as well.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use axum::routing::MethodFilter;

use super::api::{Act, Api, RestError, serve};
use super::{cluster, forward, jobs, own, task_managers};

/// The longest body of a request.
pub(super) const MAX_BODY_BYTES: usize = 4 << 20;

type Routes = &'static [(MethodFilter, &'static str, Act)];

const GET: MethodFilter = MethodFilter::GET;

const FLINK: Routes = &[
    (GET, "/overview", cluster::overview),
    (GET, "/config", cluster::config),
    (GET, "/jobs", jobs::list),
    (GET, "/jobs/overview", jobs::overview),
    (GET, "/jobs/{jobid}", jobs::details),
    (MethodFilter::PATCH, "/jobs/{jobid}", jobs::cancel),
    (GET, "/jobs/{jobid}/status", jobs::status),
    (GET, "/taskmanagers", task_managers::list),
    (GET, "/taskmanagers/{taskmanagerid}", task_managers::details),
];

const OWN: Routes = &[
    (MethodFilter::POST, "/v1/streamkeeper/jobs", own::submit),
    (GET, "/v1/streamkeeper/jobs/{jobid}", own::job),
    (GET, own::LEADER, own::leader),
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
