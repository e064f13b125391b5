//! Whether this JobManager lives, and whether it is of use.

use serde_json::json;
use streamkeeper_zookeeper::State;

use super::api::{Api, Call, Reply, RestError};
use axum::http::StatusCode;

/// Where it says that it lives.
pub(super) const LIVENESS: &str = "/healthz";

/// Where it says that it is of use.
pub(super) const READINESS: &str = "/readyz";

/// `GET /healthz`: 200 as long as the JobManager's thread answers. ZooKeeper may be away: a restart would not bring it back.
pub(super) fn live(api: &Api, _: &Call) -> Result<Reply, RestError> {
    let (leads, _) = api.handle.leadership()?;
    Ok(json!({ "status": "ok", "jobmanager": api.handle.id(), "leads": leads }).into())
}

/// `GET /readyz`: 200 when requests can be answered, here or by forwarding them; 503 with the reasons otherwise.
pub(super) fn ready(api: &Api, _: &Call) -> Result<Reply, RestError> {
    let (leads, leader) = api.handle.leadership()?;
    let leader = leader.map(|leader| leader.leader).unwrap_or_default();
    match missing(&leader, api.handle.cluster().zookeeper().status().state) {
        None => Ok(json!({ "status": "ok", "leads": leads, "leader": leader }).into()),
        Some(reason) => Err(RestError::new(StatusCode::SERVICE_UNAVAILABLE, reason)),
    }
}

/// What is missing to be of use.
fn missing(leader: &str, zookeeper: State) -> Option<&'static str> {
    match (zookeeper, leader.is_empty()) {
        (State::Connected, false) => None,
        (State::Connected, true) => Some("Not ready: nobody leads yet."),
        (State::Suspended, _) => Some("Not ready: there is no connection to ZooKeeper."),
        (State::Lost, _) => Some("Not ready: the session at ZooKeeper has ended."),
        (State::Closed, _) => Some("Not ready: the JobManager is being stopped."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_and_a_connection_are_needed() {
        assert_eq!(missing("jm", State::Connected), None);
        for (leader, state) in [("", State::Connected), ("jm", State::Suspended), ("jm", State::Lost)] {
            assert!(missing(leader, state).is_some(), "{leader} {state:?}");
        }
    }
}
