//! A request, an answer and an error, as the functions that answer see them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::extract::rejection::{BytesRejection, RawPathParamsRejection};
use axum::extract::{RawPathParams, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::RestOptions;
use crate::error::Error;
use crate::job_id::JobId;
use crate::jobmanager::JobManagerHandle;
use crate::jobmanager::view::{JobView, ProcessStatus};
use crate::process::ProcessMeter;

/// `Content-Type` of every answer but the page, as Flink writes it.
pub(super) const JSON: &str = "application/json; charset=UTF-8";

/// Requests at once that write to ZooKeeper.
const MAX_WRITERS: usize = 4;

/// What all requests share.
pub(super) struct Api {
    pub(super) handle: JobManagerHandle,
    pub(super) options: RestOptions,
    pub(super) address: SocketAddr,
    /// Places for those who write to ZooKeeper, which may be away: those who only look must not wait behind them.
    writers: Arc<Semaphore>,
    process: Mutex<ProcessMeter>,
}

impl Api {
    pub(super) fn new(handle: JobManagerHandle, options: RestOptions, address: SocketAddr) -> Arc<Self> {
        let writers = Arc::new(Semaphore::new(MAX_WRITERS));
        Arc::new(Self { handle, options, address, process: Mutex::default(), writers })
    }

    /// How this process is doing.
    pub(super) fn process(&self) -> ProcessStatus {
        self.process.lock().unwrap_or_else(PoisonError::into_inner).read()
    }

    /// The job that a request is about.
    pub(super) fn job(&self, call: &Call) -> Result<JobView, RestError> {
        let id = call.job()?;
        let not_found = || RestError::not_found(format!("Job {id} not found"));
        self.handle.job(id)?.ok_or_else(not_found)
    }
}

/// A request.
pub(super) struct Call {
    params: Vec<(String, String)>,
    query: Vec<(String, String)>,
    pub(super) body: Bytes,
}

impl Call {
    /// A part of the path that is a variable.
    pub(super) fn param(&self, name: &str) -> &str {
        self.params.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// A parameter behind the `?`.
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// One that is a list: its elements stand between commas, or it is there more than once.
    pub(super) fn query_list(&self, name: &str) -> Vec<&str> {
        let values = self.query.iter().filter(|(key, _)| key == name);
        values.flat_map(|(_, value)| value.split(',')).filter(|value| !value.is_empty()).collect()
    }

    /// `:jobid`.
    pub(super) fn job(&self) -> Result<JobId, RestError> {
        self.parse("jobid")
    }

    /// A part of the path that is not any text.
    pub(super) fn parse<T: std::str::FromStr>(&self, name: &str) -> Result<T, RestError> {
        let text = self.param(name);
        text.parse().map_err(|_| unresolved("path", name, text))
    }
}

/// Flink's words for a parameter that is not what it should be.
pub(super) fn unresolved(kind: &str, name: &str, value: &str) -> RestError {
    RestError::bad_request(format!(
        "Bad request, could not parse parameters: Cannot resolve {kind} parameter ({name}) from value \"{value}\"."
    ))
}

/// An answer.
pub(super) enum Reply {
    Json(StatusCode, Value),
    /// A text of this type.
    Text(&'static str, Body),
}

impl From<Value> for Reply {
    fn from(value: Value) -> Self {
        Self::Json(StatusCode::OK, value)
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        match self {
            Self::Json(status, value) => {
                (status, [(header::CONTENT_TYPE, JSON)], value.to_string()).into_response()
            }
            Self::Text(kind, body) => ([(header::CONTENT_TYPE, kind)], body).into_response(),
        }
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct RestError {
    pub(super) status: StatusCode,
    pub(super) message: String,
}

impl RestError {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }
}

impl From<Error> for RestError {
    fn from(error: Error) -> Self {
        use streamkeeper_coordination::Error as Coordination;
        let status = match &error {
            Error::InvalidJob { .. }
            | Error::InvalidObject { .. }
            | Error::Coordination(Coordination::InvalidName { .. })
            | Error::Coordination(Coordination::InvalidDocument { .. }) => StatusCode::BAD_REQUEST,
            Error::Coordination(Coordination::NoJob { .. }) => StatusCode::NOT_FOUND,
            Error::Coordination(
                Coordination::JobExists { .. }
                | Coordination::JobEnded { .. }
                | Coordination::ObjectExists { .. }
                | Coordination::TooMany { .. }
                | Coordination::Changed { .. },
            ) => StatusCode::CONFLICT,
            Error::Coordination(_) | Error::Stopped(_) | Error::CatalogUnknown => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.to_string())
    }
}

impl IntoResponse for RestError {
    fn into_response(self) -> Response {
        Reply::Json(self.status, json!({ "errors": [self.message] })).into_response()
    }
}

/// What answers requests to one path.
pub(super) type Act = fn(&Api, &Call) -> Result<Reply, RestError>;

/// Lets requests of a method be answered by a function, which may block.
pub(super) fn serve(method: MethodFilter, act: Act) -> MethodRouter<Arc<Api>> {
    type Params = Result<RawPathParams, RawPathParamsRejection>;
    type Read = Result<Bytes, BytesRejection>;
    let answer = move |State(api): State<Arc<Api>>, uri: Uri, params: Params, body: Read| async move {
        let call = match read(&uri, params, body) {
            Ok(call) => call,
            Err(error) => return error.into_response(),
        };
        let writer = match method {
            MethodFilter::GET => None,
            _ => match api.writers.clone().try_acquire_owned() {
                Ok(place) => Some(place),
                Err(_) => return busy().into_response(),
            },
        };
        let answered = tokio::task::spawn_blocking(move || act(&api, &call)).await;
        drop(writer);
        match answered {
            Ok(Ok(reply)) => reply.into_response(),
            Ok(Err(error)) => error.into_response(),
            Err(_) => {
                RestError::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error.").into_response()
            }
        }
    };
    on(method, answer)
}

fn busy() -> RestError {
    let message = format!("{MAX_WRITERS} requests wait for ZooKeeper already; try again.");
    RestError::new(StatusCode::SERVICE_UNAVAILABLE, message)
}

fn read(
    uri: &Uri,
    params: Result<RawPathParams, RawPathParamsRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Call, RestError> {
    let body = body.map_err(|e| RestError::new(e.status(), e.body_text()))?;
    let params = match params {
        Ok(params) => params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        Err(RawPathParamsRejection::MissingPathParams(_)) => Vec::new(),
        Err(error) => return Err(RestError::bad_request(error.body_text())),
    };
    let query = uri.query().unwrap_or("").split('&').filter(|pair| !pair.is_empty());
    let query = query.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name), decoded(value))
    });
    Ok(Call { params, query: query.collect(), body })
}

/// Text without its `%xx` and `+`. What is no UTF-8 becomes a mark.
fn decoded(text: &str) -> String {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| (*byte as char).to_digit(16));
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let byte = match bytes[at] {
            b'+' => b' ',
            b'%' => match (digit(bytes.get(at + 1)), digit(bytes.get(at + 2))) {
                (Some(high), Some(low)) => {
                    at += 2;
                    (high * 16 + low) as u8
                }
                _ => b'%',
            },
            other => other,
        };
        plain.push(byte);
        at += 1;
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read_as_forms_write_them() {
        let uri = "/x?get=0.a,b%2Cc&get=d&mode=a+b%zz&flag".parse::<Uri>().expect("a URI");
        let call =
            read(&uri, Err(RawPathParamsRejection::MissingPathParams(Default::default())), Ok(Bytes::new()));
        let Ok(call) = call else { panic!("it is read") };
        assert_eq!(call.query_list("get"), ["0.a", "b", "c", "d"]);
        assert_eq!(
            (call.query("mode"), call.query("flag"), call.query("x")),
            (Some("a b%zz"), Some(""), None)
        );
    }
}
