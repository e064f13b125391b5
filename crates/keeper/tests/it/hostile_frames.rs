//! Frames that no client sends, over real sockets.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use streamkeeper_keeper::acl::OPEN_ACL_UNSAFE;
use streamkeeper_keeper::client::{AddWatchMode, Client, Create, Options, Wire};
use streamkeeper_keeper::core::CoreOptions;
use streamkeeper_keeper::jute::{Reader, Write};
use streamkeeper_keeper::proto::{Code, ConnectRequest, ReplyHeader, op};
use streamkeeper_keeper::server::{Keeper, ServerOptions};

const WAIT: Duration = Duration::from_secs(20);

fn start(options: ServerOptions) -> (Keeper, String) {
    let keeper = Keeper::start(options).unwrap();
    let address = keeper.client_address().unwrap().to_string();
    (keeper, address)
}

fn connect(address: &str) -> Client {
    Client::connect(address, WAIT).unwrap()
}

fn code<T: std::fmt::Debug>(result: streamkeeper_keeper::client::Result<T>) -> Option<Code> {
    result.unwrap_err().code()
}

#[test]
fn an_oversized_frame_is_answered_and_its_connection_lives() {
    let (_keeper, address) = start(ServerOptions { max_packet_bytes: 10_000, ..ServerOptions::default() });
    let mut client = connect(&address);
    let too_long = vec![7; 20_000];
    for _ in 0..3 {
        let refused = client.set_data("/", Some(&too_long), -1);
        assert_eq!(code(refused), Some(Code::BadArguments));
        client.set_data("/", Some(b"x"), -1).unwrap();
    }
    // One that comes slowly, with the next request right behind it.
    let mut bytes = 1_000_000u32.to_be_bytes().to_vec();
    bytes.int(77);
    bytes.int(op::CREATE);
    bytes.resize(1_000_004, 0);
    for piece in bytes.chunks(300_000) {
        client.wire().send_bytes(piece).unwrap();
    }
    let frame = client.wire().read_frame(WAIT).unwrap().unwrap();
    let header = ReplyHeader::read(&mut Reader::new(&frame)).unwrap();
    assert_eq!((header.xid, header.err), (77, Code::BadArguments as i32));
    assert!(client.exists("/", false).unwrap().is_some());
}

#[test]
fn truncated_requests_are_errors_or_the_end_but_of_their_own_connection_only() {
    let (_keeper, address) = start(ServerOptions::default());
    let mut other = connect(&address);
    for op in [op::CREATE, op::SET_DATA, op::GET_DATA, op::MULTI, op::SET_WATCHES2, op::ADD_WATCH] {
        for body in [&b""[..], &[0, 0], &[0xff; 4], &[0x7f, 0xff, 0xff, 0xff, 0], &[0x80, 0, 0, 0]] {
            let mut client = connect(&address);
            let reply = client.request_raw(op, body).unwrap();
            assert_ne!(reply.err, 0, "{op} {body:?}");
            assert!(other.exists("/", false).unwrap().is_some());
        }
    }
    // Not even a header, a length below zero, an unknown session, and a first packet that is none.
    let ends: [&[u8]; 4] = [&[0, 0, 0, 3, 1, 2, 3], &[0xff; 4], &[0x80, 0, 0, 0], &[0x7f, 0xff, 0xff, 0xff]];
    for bytes in ends {
        let mut client = connect(&address);
        client.wire().send_bytes(bytes).unwrap();
        assert!(client.wire().is_closed_within(WAIT), "{bytes:?}");
        let mut wire = Wire::connect(&address, WAIT).unwrap();
        wire.send_bytes(bytes).unwrap();
        assert!(wire.is_closed_within(WAIT), "{bytes:?} first");
    }
    let mut wire = Wire::connect(&address, WAIT).unwrap();
    let passwd = [1; 500];
    let long = ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: 0,
        timeout_ms: -1,
        session_id: -1,
        passwd: &passwd,
        read_only: None,
    };
    let answer = wire.greet(&long, WAIT).unwrap();
    assert_eq!(&answer[4..16], &[0; 12], "no such session");
    assert!(other.exists("/", false).unwrap().is_some());
}

#[test]
fn deep_and_long_paths() {
    let (_keeper, address) = start(ServerOptions { max_packet_bytes: 2 << 20, ..ServerOptions::default() });
    let mut client = connect(&address);
    let mut watcher = connect(&address);
    watcher.add_watch("/", AddWatchMode::PersistentRecursive).unwrap();
    let deep = "/a".repeat(10_000);
    assert_eq!(
        code(client.create(&deep, None, OPEN_ACL_UNSAFE.clone(), Create::Persistent)),
        Some(Code::NoNode)
    );
    assert_eq!(client.exists(&deep, true).unwrap(), None);
    // As deep as that, in steps.
    let (mut sent, mut answered) = (0, 0);
    while answered < 3000 {
        if sent < 3000 && client.unanswered() < 100 {
            sent += 1;
            let path = &deep[..2 * sent];
            let create = streamkeeper_keeper::client::create_request(
                path,
                None,
                OPEN_ACL_UNSAFE.clone(),
                Create::Persistent,
                false,
            );
            client.send(&create).unwrap();
            continue;
        }
        assert_eq!(client.receive().unwrap().err, 0);
        answered += 1;
    }
    assert_eq!(client.get_all_children_number("/a").unwrap(), 2999);
    for _ in 0..3000 {
        assert!(watcher.notification(WAIT).unwrap().is_some());
    }
    // A name of 1 MiB.
    let long = format!("/{}", "x".repeat(1 << 20));
    client.create(&long, Some(b"y"), OPEN_ACL_UNSAFE.clone(), Create::Persistent).unwrap();
    assert_eq!(client.get_data(&long, true).unwrap().0.as_deref(), Some(&b"y"[..]));
    assert!(client.get_children("/", false).unwrap().contains(&long[1..].to_owned()));
    client.delete(&long, -1).unwrap();
    assert!(client.notification(WAIT).unwrap().is_some());
}

#[test]
fn connections_without_a_session_do_not_stay() {
    let sessionless_timeout = Duration::from_millis(300);
    let (keeper, address) = start(ServerOptions { sessionless_timeout, ..ServerOptions::default() });
    let mut client = connect(&address);
    let begin = Instant::now();
    let mut silent = Wire::connect(&address, WAIT).unwrap();
    let mut half = Wire::connect(&address, WAIT).unwrap();
    half.send_bytes(&[0, 0, 0, 45, 0, 0]).unwrap();
    assert!(silent.is_closed_within(WAIT) && half.is_closed_within(WAIT));
    assert!(begin.elapsed() >= sessionless_timeout);
    assert!(client.exists("/", false).unwrap().is_some());
    assert_eq!(keeper.core().ask(|core| core.counters().sessionless_expired), Some(2));
}

#[test]
fn connections_have_a_limit_by_address_and_in_all() {
    for options in [
        ServerOptions { max_connections_per_address: 3, ..ServerOptions::default() },
        ServerOptions { max_connections: 3, max_connections_per_address: 0, ..ServerOptions::default() },
    ] {
        let (keeper, address) = start(options);
        let clients: Vec<Client> = (0..3).map(|_| connect(&address)).collect();
        let mut fourth = Wire::connect(&address, WAIT).unwrap();
        assert!(fourth.is_closed_within(WAIT));
        assert_eq!(keeper.core().ask(|core| core.counters().connections_rejected), Some(1));
        drop(clients);
        let begin = Instant::now();
        while Client::connect(&address, Duration::from_secs(2)).is_err() {
            assert!(begin.elapsed() < WAIT);
        }
    }
}

#[test]
fn throttled_requests_are_not_lost() {
    let core = CoreOptions { max_outstanding: 2, ..CoreOptions::default() };
    let dir = tempfile::tempdir().unwrap();
    let storage = Some(streamkeeper_keeper::server::StorageOptions::new(dir.path()));
    let (_keeper, address) = start(ServerOptions { core, storage, ..ServerOptions::default() });
    let mut clients: Vec<Client> = (0..4).map(|_| connect(&address)).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        for at in 0..200 {
            let path = format!("/{number}-{at}");
            let create = Create::Persistent;
            let request = streamkeeper_keeper::client::create_request(
                &path,
                None,
                OPEN_ACL_UNSAFE.clone(),
                create,
                false,
            );
            client.send(&request).unwrap();
        }
    }
    for client in &mut clients {
        for _ in 0..200 {
            assert_eq!(client.receive().unwrap().err, 0);
        }
    }
    assert_eq!(clients[0].get_children("/", false).unwrap().len(), 801);
}

#[test]
fn a_client_that_never_reads_is_held_up_or_closed_and_others_are_served() {
    let (keeper, address) = start(ServerOptions::default());
    let mut other = connect(&address);
    let data = vec![7; 500_000];
    other.create("/a", Some(&data), OPEN_ACL_UNSAFE.clone(), Create::Persistent).unwrap();
    // Answers: it asks for 10 GB.
    let options = Options { keep_alive: false, ..Options::default() };
    let mut asker = Client::connect_with(&address, options.clone()).unwrap();
    let mut body = Vec::new();
    body.string("/a");
    body.boolean(false);
    let mut stream = TcpStream::connect(&address).unwrap();
    drop(stream.write(&[]));
    for _ in 0..20_000 {
        asker.send_raw(op::GET_DATA, &body).unwrap();
    }
    // Notifications: of changes below a path of half a megabyte.
    let mut watcher = Client::connect_with(&address, options).unwrap();
    let long = format!("/{}", "x".repeat(500_000));
    other.create(&long, None, OPEN_ACL_UNSAFE.clone(), Create::Persistent).unwrap();
    watcher.add_watch(&long, AddWatchMode::Persistent).unwrap();
    let held = |keeper: &Keeper| {
        let held = keeper.core().ask(|core| {
            core.connections().map(|(_, connection)| connection.unsent_bytes()).max().unwrap_or_default()
        });
        held.unwrap()
    };
    let mut most = 0;
    for _ in 0..60 {
        other.set_data(&long, Some(b"x"), -1).unwrap();
        most = most.max(held(&keeper));
    }
    assert!(most < 20 << 20, "{most} bytes are held for one client");
    assert!(most > 8 << 20, "the test does not come to the limits: {most}");
    assert_eq!(keeper.core().ask(|core| core.counters().slow_clients_closed), Some(1));
    // The one that asked gets everything once it reads.
    for _ in 0..100 {
        assert_eq!(asker.receive().unwrap().err, 0);
    }
}

#[test]
fn a_held_up_client_costs_no_processor() {
    let (keeper, address) = start(ServerOptions::default());
    let mut other = connect(&address);
    other.create("/a", Some(&[7; 900_000]), OPEN_ACL_UNSAFE.clone(), Create::Persistent).unwrap();
    let options = Options { keep_alive: false, ..Options::default() };
    let mut asker = Client::connect_with(&address, options).unwrap();
    let mut body = Vec::new();
    body.string("/a");
    body.boolean(false);
    for _ in 0..5_000 {
        asker.send_raw(op::GET_DATA, &body).unwrap();
    }
    std::thread::sleep(Duration::from_millis(300));
    let used = || keeper.core().ask(|_| thread_cpu_ticks()).unwrap();
    let before = used();
    std::thread::sleep(Duration::from_secs(1));
    // In hundredths of a second.
    assert!(used() - before < 20, "the server spins");
}

/// What this thread has used of a processor, in hundredths of a second.
fn thread_cpu_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}
