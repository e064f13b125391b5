//! Configuration documents against the embedded keeper.

mod documents;
mod watching;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use streamkeeper_coordination::config::Scope;
use streamkeeper_coordination::config::edit::{Edit, SchemaEdit};
use streamkeeper_coordination::config::store::ConfigStore;
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

fn store(address: SocketAddr) -> ConfigStore {
    let options = Options {
        session_timeout: Duration::from_secs(4),
        connection_timeout: Duration::from_millis(800),
        max_backoff: Duration::from_millis(200),
        ..Options::new(address.to_string())
    };
    ConfigStore::new(block_on(ZooKeeper::connect(options)).unwrap(), Layout::default())
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
