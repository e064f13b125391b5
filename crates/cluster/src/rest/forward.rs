//! From a JobManager that does not lead to the one that does.
//!
//! Invariant: a request is forwarded once. Whoever gets one that has been, and does not lead, says that there is no leader.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::api::{Api, RestError};
use super::{health, own, prometheus};

/// Names who has forwarded a request.
const FORWARDED_BY: HeaderName = HeaderName::from_static("x-streamkeeper-forwarded-by");

/// Paths that every JobManager answers for itself.
const LOCAL: [&str; 4] = [own::LEADER, prometheus::PATH, health::LIVENESS, health::READINESS];

/// How long it may take to reach the leader.
const CONNECT: Duration = Duration::from_secs(2);

/// How long the leader may take to begin its answer.
const ANSWER: Duration = Duration::from_secs(30);

/// Answers here if this JobManager leads, and there otherwise.
pub(super) async fn to_leader(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    if LOCAL.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    let handle = api.handle.clone();
    let known = tokio::task::spawn_blocking(move || handle.leadership()).await;
    let (leads, leader) = match known {
        Ok(Ok(known)) => known,
        Ok(Err(error)) => return RestError::from(error).into_response(),
        Err(_) => return no_leader("this JobManager is being stopped").into_response(),
    };
    if leads {
        return next.run(request).await;
    }
    let Some(leader) = leader.filter(|leader| leader.leader != api.handle.id()) else {
        return no_leader("nobody leads yet").into_response();
    };
    if request.headers().contains_key(FORWARDED_BY) {
        return no_leader("it changes just now").into_response();
    }
    if leader.rest_address.is_empty() {
        return no_leader(&format!("{}, which leads, has no REST API", leader.leader)).into_response();
    }
    match forward(request, &leader.rest_address, api.handle.id()).await {
        Ok(response) => response,
        Err(reason) => {
            no_leader(&format!("{} at {}: {reason}", leader.leader, leader.rest_address)).into_response()
        }
    }
}

/// Flink's words while there is no leader, and the reason.
fn no_leader(reason: &str) -> RestError {
    let message = format!(
        "Service temporarily unavailable due to an ongoing leader election. Please refresh. ({reason})"
    );
    RestError::new(StatusCode::SERVICE_UNAVAILABLE, message)
}

async fn forward(mut request: Request, address: &str, me: &str) -> Result<Response, String> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse::<Uri>().map_err(|e| e.to_string())?;
    let headers = request.headers_mut();
    for hop in [header::CONNECTION, header::UPGRADE, header::TE] {
        headers.remove(hop);
    }
    headers.insert(header::HOST, HeaderValue::from_str(address).map_err(|e| e.to_string())?);
    headers.insert(FORWARDED_BY, HeaderValue::from_str(me).map_err(|e| e.to_string())?);
    let connect = timeout(CONNECT, TcpStream::connect(address)).await;
    let stream = connect.map_err(|_| "it cannot be reached".to_owned())?.map_err(|e| e.to_string())?;
    let _ = stream.set_nodelay(true);
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    // Ends with the answer, or when the sender is dropped.
    tokio::spawn(connection);
    let answer = timeout(ANSWER, sender.send_request(request)).await;
    let mut response = answer.map_err(|_| "it does not answer".to_owned())?.map_err(|e| e.to_string())?;
    response.headers_mut().remove(header::CONNECTION);
    Ok(response.map(Body::new))
}
