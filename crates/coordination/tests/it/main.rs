//! What is kept in ZooKeeper, against the embedded keeper.

mod budget;
mod catalog;
mod documents;
mod election;
mod guard;
mod jobs;
mod membership;
mod proxy;
mod watching;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use streamkeeper_coordination::Cluster;
use streamkeeper_coordination::config::Scope;
use streamkeeper_coordination::config::edit::{Edit, SchemaEdit};
use streamkeeper_coordination::config::store::ConfigStore;
use streamkeeper_coordination::election::{CandidateInfo, Election, ElectionEvent, Leadership};
use streamkeeper_coordination::layout::Layout;
use streamkeeper_keeper::server::{Keeper, ServerOptions, StorageOptions};
use streamkeeper_zookeeper::{Options, ZooKeeper, block_on};

/// A server at `address`, with its data in `directory`.
fn server(address: Option<SocketAddr>, directory: Option<&Path>) -> Keeper {
    let mut options = ServerOptions::default();
    options.client_addresses = address.map_or(options.client_addresses, |address| vec![address]);
    options.core.tick_ms = 200;
    options.core.min_session_timeout_ms = 400;
    options.storage = directory.map(StorageOptions::new);
    Keeper::start(options).unwrap()
}

async fn connect(address: SocketAddr) -> ZooKeeper {
    let options = Options {
        session_timeout: Duration::from_secs(4),
        connection_timeout: Duration::from_millis(800),
        max_backoff: Duration::from_millis(200),
        ..Options::new(address.to_string())
    };
    ZooKeeper::connect(options).await.unwrap()
}

fn store(address: SocketAddr) -> ConfigStore {
    ConfigStore::new(block_on(connect(address)), Layout::default())
}

/// The cluster, through a session of its own.
async fn cluster(address: SocketAddr) -> Cluster {
    Cluster::open(connect(address).await, Layout::default()).await.unwrap()
}

fn candidate(id: &str) -> CandidateInfo {
    CandidateInfo { id: id.into(), rpc_address: format!("{id}:6123"), rest_address: format!("{id}:8081") }
}

/// A candidate, through a session of its own.
async fn stand(address: SocketAddr, id: &str) -> (Cluster, Election) {
    let cluster = cluster(address).await;
    (cluster.clone(), Election::start(cluster, candidate(id)).unwrap())
}

/// What the candidate is granted next.
async fn granted(election: &mut Election) -> Leadership {
    loop {
        if let ElectionEvent::Granted(leadership) = election.next().await.unwrap() {
            return leadership;
        }
    }
}

fn scope(text: &str) -> Scope {
    Scope::parse(text).unwrap()
}

fn edit(data: Value) -> Edit {
    Edit {
        author: "ada".into(),
        time: "2026-11-24T19:43:44Z".into(),
        comment: "test".into(),
        data,
        schema: SchemaEdit::Keep,
        expected: None,
    }
}
