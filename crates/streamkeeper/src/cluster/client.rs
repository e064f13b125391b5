//! Requests to the REST API of a cluster.

use std::time::Duration;

use serde_json::Value;
use streamkeeper_cluster::config::ClusterConfig;
use streamkeeper_coordination::Cluster;
use streamkeeper_dataflow::config::{Config, ZOOKEEPER_QUORUM};
use streamkeeper_zookeeper::{ZooKeeper, block_on};

use super::Target;
use crate::Failure;

/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Answers are no larger, in bytes.
const MAX_ANSWER_BYTES: u64 = 64 << 20;

/// A way to a cluster.
pub(super) struct Client {
    agent: ureq::Agent,
    address: String,
}

impl Client {
    /// The cluster that `target` and the configuration name.
    pub(super) fn new(target: &Target, config: &Config) -> Result<Self, Failure> {
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            .build()
            .into();
        Ok(Self { agent, address: address(target, config)? })
    }

    pub(super) fn get(&self, path: &str) -> Result<Value, Failure> {
        self.answer(self.agent.get(self.url(path)).call())
    }

    pub(super) fn patch(&self, path: &str) -> Result<Value, Failure> {
        self.answer(self.agent.patch(self.url(path)).send_empty())
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let request = self.agent.post(self.url(path)).header("content-type", "application/json");
        self.answer(request.send(body.to_string()))
    }

    pub(super) fn put(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let request = self.agent.put(self.url(path)).header("content-type", "application/json");
        self.answer(request.send(body.to_string()))
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn answer(
        &self,
        answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<Value, Failure> {
        let unreachable = |error: ureq::Error| {
            Failure::job(format!(
                "the JobManager at {} does not answer: {error}; name another with -m HOST:PORT",
                self.address
            ))
        };
        let mut answer = answer.map_err(unreachable)?;
        let text =
            answer.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_string().map_err(unreachable)?;
        let value = if text.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&text).map_err(|_| {
                Failure::job(format!("what answers at {} is not a JobManager's REST API", self.address))
            })?
        };
        if answer.status().is_success() {
            return Ok(value);
        }
        let errors: Vec<&str> = match value.get("errors").and_then(Value::as_array) {
            Some(errors) => errors.iter().filter_map(Value::as_str).collect(),
            None => Vec::new(),
        };
        let reason = if errors.is_empty() { answer.status().to_string() } else { errors.join("\n") };
        Err(if answer.status().is_client_error() { Failure::usage(reason) } else { Failure::job(reason) })
    }
}

/// `-m`, or what the configuration says, or who leads.
fn address(target: &Target, config: &Config) -> Result<String, Failure> {
    if let Some(address) = &target.jobmanager {
        return Ok(address.clone());
    }
    let cluster = ClusterConfig::new(config.clone());
    if let Some(address) = cluster.rest_address() {
        return Ok(address);
    }
    if config.get(ZOOKEEPER_QUORUM).is_none() {
        return Ok("localhost:8081".into());
    }
    let leader = || -> streamkeeper_cluster::Result<_> {
        let zookeeper = block_on(ZooKeeper::connect(cluster.zookeeper()?))?;
        let cluster = Cluster::at(zookeeper.clone(), cluster.layout()?);
        let found = block_on(cluster.watch_leader()).map(|followed| followed.peek().as_ref().clone());
        streamkeeper::live_config::close(&zookeeper);
        Ok(found?)
    };
    match leader().map_err(Failure::job)? {
        Some(leader) if !leader.rest_address.is_empty() => Ok(leader.rest_address),
        _ => Err(Failure::job(
            "ZooKeeper names no leading JobManager with a REST API: start one, or use -m HOST:PORT",
        )),
    }
}
