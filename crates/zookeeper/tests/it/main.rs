//! Sessions and watches against the embedded keeper.

mod operations;
mod sessions;
mod watches;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use streamkeeper_keeper::server::StorageOptions;
use streamkeeper_keeper::server::{Keeper, ServerOptions};
use streamkeeper_zookeeper::{Options, State, Status, ZooKeeper, block_on};

/// A server at `address`, with its data in `directory`.
fn server(address: Option<SocketAddr>, directory: Option<&Path>) -> Keeper {
    let mut options = ServerOptions::default();
    options.client_addresses = address.map_or(options.client_addresses, |address| vec![address]);
    options.core.tick_ms = 200;
    options.core.min_session_timeout_ms = 400;
    options.storage = directory.map(StorageOptions::new);
    Keeper::start(options).unwrap()
}

fn address(keeper: &Keeper) -> SocketAddr {
    keeper.client_address().unwrap()
}

/// Options with a short session, so that what takes several timeouts takes no minutes.
fn options(address: SocketAddr) -> Options {
    Options {
        session_timeout: Duration::from_secs(2),
        connection_timeout: Duration::from_millis(800),
        operation_timeout: Duration::from_secs(30),
        max_backoff: Duration::from_millis(500),
        ..Options::new(address.to_string())
    }
}

fn connect(keeper: &Keeper) -> ZooKeeper {
    block_on(ZooKeeper::connect(options(address(keeper)))).unwrap()
}

/// Waits for a status; a test that hangs here fails by the time limit.
fn wait_for(zookeeper: &ZooKeeper, wanted: impl FnMut(&Status) -> bool) -> Status {
    let mut status = zookeeper.watch_status();
    block_on(async { *status.wait_for(wanted).await.unwrap() })
}

fn connected(status: &Status) -> bool {
    status.state == State::Connected
}
