//! What a server's sockets do that is no answer to a request.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use streamkeeper_keeper::admin::{MetricsOptions, serve_metrics};
use streamkeeper_keeper::config::Config;
use streamkeeper_keeper::server::{Keeper, ServerOptions};
use streamkeeper_keeper::tls;

/// A connection, and whether the server keeps it.
fn connect(address: Option<SocketAddr>) -> (TcpStream, bool) {
    let mut stream = TcpStream::connect(address.unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let kept = match stream.read(&mut [0]) {
        Ok(_) => false,
        Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
    };
    (stream, kept)
}

#[test]
fn each_port_has_its_own_count_of_connections() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(path("key.pem"), own.signing_key.serialize_pem() + &own.cert.pem()).unwrap();
    let (config, _) = Config::from_pairs([
        ("dataDir", path("data")),
        ("secureClientPort", "0".to_owned()),
        ("ssl.keyStore.location", path("key.pem")),
        ("ssl.clientAuth", "none".to_owned()),
    ])
    .unwrap();
    let keeper = Keeper::start(ServerOptions {
        secure_client_addresses: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
        tls: Some(tls::server_config(&config.tls).unwrap()),
        max_connections: 1,
        listen_backlog: Some(5),
        tcp_keep_alive: true,
        ..ServerOptions::default()
    })
    .unwrap();
    let (client, secure) = (keeper.client_address(), keeper.secure_client_address());
    let first = connect(client);
    let of_secure = connect(secure);
    assert_eq!((first.1, of_secure.1), (true, true));
    assert_eq!((connect(client).1, connect(secure).1), (false, false));
    drop(first);
    // The server may not have seen the end of the first one at once.
    assert!((0..50).any(|_| connect(client).1));
    keeper.stop().unwrap();
}

#[test]
fn a_port_that_is_taken_is_told_with_its_key() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let keeper = Keeper::start(ServerOptions::default()).unwrap();
    let options = MetricsOptions { addresses: vec![taken.local_addr().unwrap()] };
    let told = serve_metrics(&options, keeper.core().clone()).unwrap_err().to_string();
    assert!(told.contains("(metricsProvider.httpPort)") && told.contains("clients are served"), "{told}");
}
