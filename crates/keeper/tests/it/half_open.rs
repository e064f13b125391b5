//! Thousands of connections that have begun and do not go on.

use std::io::{BufRead, BufReader, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use streamkeeper_keeper::acl::OPEN_ACL_UNSAFE;
use streamkeeper_keeper::client::{Client, Create, Wire};
use streamkeeper_keeper::proto::ConnectRequest;
use streamkeeper_keeper::server::{Keeper, ServerOptions};

const SERVES: &str = "KEEPER_TEST_SERVES";
const WAIT: Duration = Duration::from_secs(60);

/// Takes as many file descriptors as the system lets it; how many these are.
fn raise_open_files() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limits = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limits.maximum, ..limits }).unwrap();
    limits.maximum.unwrap_or(u64::MAX)
}

/// The server of the test below, in a process of its own. By itself this is no test.
#[test]
fn serves_for_another_process() {
    if std::env::var_os(SERVES).is_none() {
        return;
    }
    raise_open_files();
    let keeper = Keeper::start(ServerOptions {
        max_connections_per_address: 0,
        sessionless_timeout: Duration::from_secs(120),
        ..ServerOptions::default()
    })
    .unwrap();
    println!("\nserving {}", keeper.client_address().unwrap());
    // Until the other process is gone.
    let _ = std::io::stdin().read_line(&mut String::new());
}

struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start() -> Server {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "half_open::serves_for_another_process", "--nocapture"])
            .env(SERVES, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let address =
            lines.map(Result::unwrap).find_map(|line| line.strip_prefix("serving ").map(str::to_owned));
        Server { process, address: address.unwrap() }
    }

    fn memory_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn ten_thousand_half_open_connections_cost_little_and_others_are_served() {
    let count = raise_open_files().saturating_sub(500).min(10_000);
    assert!(count > 1000, "the system allows too few open files");
    let server = Server::start();
    let mut client = Client::connect(&server.address, WAIT).unwrap();
    client.create("/a", None, OPEN_ACL_UNSAFE.clone(), Create::Persistent).unwrap();
    let before = server.memory_bytes();
    let mut connections = Vec::new();
    let first_packets: [&[u8]; 4] = [b"", b"\0\0", b"\0\0\0\x2d\0\0\0\0\0\0", b"srv"];
    for at in 0..count {
        let mut stream = TcpStream::connect(&server.address).unwrap();
        match at % 5 {
            // Half of a first packet that is as long as can be, and more than that.
            4 => {
                stream.write_all(&[0, 0, 4, 0]).unwrap();
                stream.write_all(&[0; 1000]).unwrap();
            }
            kind => stream.write_all(first_packets[kind as usize]).unwrap(),
        }
        connections.push(stream);
        if at % 100 == 0 {
            client.set_data("/a", Some(b"x"), -1).unwrap();
        }
    }
    // All have been taken note of.
    let mut wire = Wire::connect(&server.address, WAIT).unwrap();
    wire.send_bytes(b"mntr").unwrap();
    let text = String::from_utf8(wire.read_to_end(WAIT).unwrap()).unwrap();
    let alive = text.lines().find_map(|line| line.strip_prefix("zk_num_alive_connections\t")).unwrap();
    assert_eq!(alive.parse::<u64>().unwrap(), count + 2);
    let each = server.memory_bytes().saturating_sub(before) / count;
    assert!(each < 3000, "{each} bytes for each connection");

    // Clients with a session may hold half a packet, but no more than one.
    drop(connections);
    let mut clients = Vec::new();
    let before = server.memory_bytes();
    for _ in 0..50 {
        let mut wire = Wire::connect(&server.address, WAIT).unwrap();
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: 0,
            timeout_ms: 30_000,
            session_id: 0,
            passwd: &[0; 16],
            read_only: Some(false),
        };
        wire.greet(&request, WAIT).unwrap();
        wire.send_bytes(&1_000_000u32.to_be_bytes()).unwrap();
        wire.send_bytes(&[0; 200_000]).unwrap();
        clients.push(wire);
    }
    client.set_data("/a", Some(b"y"), -1).unwrap();
    let each = server.memory_bytes().saturating_sub(before) / 50;
    assert!(each < 600_000, "{each} bytes for half a packet of 200 kB");
    clients.iter().for_each(Wire::shut_down);
    assert_eq!(client.get_data("/a", false).unwrap().0.as_deref(), Some(&b"y"[..]));
}
