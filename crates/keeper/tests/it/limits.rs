//! What one client can make the server hold, and what happens at each limit.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use streamkeeper_keeper::acl::{Acl, Acls, Id, OPEN_ACL_UNSAFE};
use streamkeeper_keeper::admin::AdminOptions;
use streamkeeper_keeper::core::{ConnectionThrottle, Core, CoreOptions, Limits, Now, Phase};
use streamkeeper_keeper::jute::{Reader, Write};
use streamkeeper_keeper::proto::{
    Code, ConnectRequest, CreateRequest, ReplyHeader, Request, SetWatches, op, xid,
};
use streamkeeper_keeper::server::{Keeper, ServerOptions};
use streamkeeper_keeper::tree::Tree;
use streamkeeper_keeper::txn::LoggedTxn;
use streamkeeper_keeper::watch::ConnectionId;

struct Server(Core);

/// An answer's request and error.
type Answers = Vec<(i32, i32)>;

fn create<'a>(path: &str, data: &'a [u8], flags: i32) -> Request<'a> {
    create_with(path, data, flags, OPEN_ACL_UNSAFE.clone())
}

fn create_with<'a>(path: &str, data: &'a [u8], flags: i32, acl: Acls) -> Request<'a> {
    let path = path.to_owned().into();
    Request::Create(CreateRequest { op: op::CREATE, path, data: Some(data), acl, flags, ttl_ms: -1 })
}

fn get(path: &str) -> Request<'static> {
    Request::GetData { path: path.to_owned().into(), watch: false }
}

impl Server {
    fn new(options: CoreOptions) -> Server {
        Server(Core::new(Tree::new(true), BTreeMap::new(), options, Now { monotonic_ms: 1, wall_ms: 1 }))
    }

    fn with_limits(limits: Limits) -> Server {
        Server::new(CoreOptions { limits, ..CoreOptions::default() })
    }

    fn connect(&mut self) -> ConnectionId {
        let id = self.0.open([127, 0, 0, 1].into(), 1, false, &[]);
        let mut frame = Vec::new();
        ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: 0,
            timeout_ms: 10_000,
            session_id: 0,
            passwd: &[0; 16],
            read_only: Some(false),
        }
        .write(&mut frame);
        self.0.packet(id, &frame);
        self.commit();
        self.0.output(id).unwrap().clear();
        id
    }

    fn send(&mut self, id: ConnectionId, xid: i32, request: &Request) {
        let mut frame = Vec::new();
        frame.int(xid);
        frame.int(request.op());
        request.write(&mut frame);
        self.0.packet(id, &frame);
    }

    /// Makes durable all that is proposed; the bytes of that.
    fn commit(&mut self) -> Vec<u8> {
        let Some(proposals) = self.0.take_proposals() else { return Vec::new() };
        self.0.committed(i64::MAX);
        proposals.bytes
    }

    /// What has come for a client.
    fn take(&mut self, id: ConnectionId) -> Answers {
        let out = std::mem::take(self.0.output(id).unwrap());
        let mut rest = &out[..];
        let mut answers = Vec::new();
        while let Some((length, more)) = rest.split_first_chunk() {
            let (frame, more) = more.split_at(i32::from_be_bytes(*length) as usize);
            let header = ReplyHeader::read(&mut Reader::new(frame)).unwrap();
            answers.push((header.xid, header.err));
            rest = more;
        }
        answers
    }

    fn ask(&mut self, id: ConnectionId, xid: i32, request: &Request) -> Answers {
        self.send(id, xid, request);
        self.commit();
        self.take(id)
    }

    fn is_open(&self, id: ConnectionId) -> bool {
        self.0.connection(id).unwrap().phase == Phase::Open
    }
}

const BAD_ARGUMENTS: i32 = Code::BadArguments as i32;

#[test]
fn answers_are_not_endless() {
    let mut server = Server::with_limits(Limits { answer_bytes: 10_000, ..Limits::default() });
    let id = server.connect();
    assert_eq!(server.ask(id, 1, &create("/a", &[7; 1000], 0)), [(1, 0)]);
    let many = |count| Request::MultiRead((0..count).map(|_| get("/a")).collect());
    assert_eq!(server.ask(id, 2, &many(9)), [(2, 0)]);
    assert_eq!(server.ask(id, 3, &many(10_000)), [(3, BAD_ARGUMENTS)]);
    for at in 0..11 {
        let path = format!("/a/{at}{}", "x".repeat(1000));
        assert_eq!(server.ask(id, 4, &create(&path, b"", 1)), [(4, 0)]);
    }
    let children = Request::GetChildren { path: "/a".into(), watch: true, with_stat: false };
    assert_eq!(server.ask(id, 5, &children), [(5, BAD_ARGUMENTS)]);
    assert!(server.0.watches().is_empty());
    assert_eq!(server.ask(id, 6, &Request::GetEphemerals { prefix: None }), [(6, BAD_ARGUMENTS)]);
    assert_eq!(server.ask(id, 7, &get("/a")), [(7, 0)]);
}

#[test]
fn a_client_that_reads_no_notifications_is_closed() {
    let mut server = Server::with_limits(Limits { unread_notification_bytes: 2000, ..Limits::default() });
    let (slow, other) = (server.connect(), server.connect());
    assert_eq!(server.ask(slow, 1, &Request::AddWatch { path: "/".into(), mode: 1 }), [(1, 0)]);
    // One that reads gets any number of them.
    for at in 0..100 {
        assert_eq!(server.ask(other, at, &create(&format!("/r{at}"), b"", 0)), [(at, 0)]);
        assert_eq!(server.take(slow), [(xid::NOTIFICATION, 0)]);
    }
    for at in 0..100 {
        assert_eq!(server.ask(other, at, &create(&format!("/s{at}"), b"", 0)), [(at, 0)]);
        assert!(server.0.connection(slow).unwrap().out.len() < 2100);
    }
    assert!(!server.is_open(slow) && server.0.connection(slow).unwrap().out.is_empty());
    assert_eq!(server.0.counters().slow_clients_closed, 1);
    assert!(server.0.watches().is_empty());
    // Its session lives on, for when it comes back.
    assert_eq!(server.0.sessions().len(), 2);
}

#[test]
fn reads_wait_until_their_answers_are_taken_and_nothing_overtakes_them() {
    let mut server = Server::new(CoreOptions { max_queued_bytes: 2000, ..CoreOptions::default() });
    let id = server.connect();
    assert_eq!(server.ask(id, 0, &create("/a", &[7; 1000], 0)), [(0, 0)]);
    for xid in 1..=6 {
        server.send(id, xid, &get("/a"));
    }
    server.send(id, 7, &Request::SetData { path: "/a".into(), data: Some(b"x"), version: -1 });
    server.0.oversized_packet(id, &[0, 0, 0, 8, 0, 0, 0, 1]);
    server.send(id, 9, &get("/a"));
    assert!(server.0.throttled(id));
    server.commit();
    assert!(server.0.connection(id).unwrap().out.len() < 4000);
    let mut answers = server.take(id);
    while server.0.connection(id).unwrap().outstanding() > 0 {
        server.0.resume(id);
        assert!(server.0.connection(id).unwrap().out.len() < 4000);
        answers.extend(server.take(id));
    }
    let expected: Answers = (1..=9).map(|xid| (xid, if xid == 8 { BAD_ARGUMENTS } else { 0 })).collect();
    assert_eq!(answers, expected);
    assert!(!server.0.throttled(id));
}

#[test]
fn an_oversized_packet_is_answered_in_its_turn() {
    let mut server = Server::new(CoreOptions::default());
    let id = server.connect();
    server.send(id, 1, &create("/a", b"", 0));
    server.0.oversized_packet(id, &[0, 0, 0, 2, 0, 0, 0, 5]);
    assert_eq!(server.take(id), []);
    server.commit();
    assert_eq!(server.take(id), [(1, 0), (2, BAD_ARGUMENTS)]);
    // Types that are none are counted as one.
    for op in 1000..2000i32 {
        server.0.oversized_packet(id, &[&[0, 0, 0, 3], &op.to_be_bytes()[..]].concat());
    }
    assert!(server.is_open(id) && server.take(id).len() == 1000);
    assert!(server.0.counters().requests_by_op.len() < 10);
}

#[test]
fn a_connection_is_not_everybody() {
    let mut server = Server::new(CoreOptions::default());
    let id = server.connect();
    let mut accepted = 0;
    while server.is_open(id) {
        let auth = format!("user{accepted}:p");
        server.send(id, xid::AUTH, &Request::Auth { scheme: "digest".into(), auth: auth.as_bytes() });
        accepted += 1;
        assert!(accepted < 100);
    }
    assert_eq!(accepted, 64);
    let id = server.connect();
    server.send(id, xid::AUTH, &Request::Auth { scheme: "digest".into(), auth: &[b'u'; 20_000] });
    assert!(!server.is_open(id));
}

#[test]
fn what_auth_stands_for_makes_no_endless_transaction() {
    let mut server = Server::new(CoreOptions::default());
    let id = server.connect();
    for user in 0..15 {
        let auth = format!("{}{user}:p", "u".repeat(1000));
        server.send(id, xid::AUTH, &Request::Auth { scheme: "digest".into(), auth: auth.as_bytes() });
    }
    server.take(id);
    let list =
        |length: i32| -> Acls { (1..=length).map(|perms| Acl { perms, id: Id::new("auth", "") }).collect() };
    assert_eq!(server.ask(id, 1, &create_with("/a", b"", 0, list(50))), [(1, 0)]);
    let too_long = create_with("/b", b"", 0, list(10_000));
    assert_eq!(server.ask(id, 2, &too_long), [(2, Code::InvalidAcl as i32)]);
    // Each part is short enough, but not all of them.
    let part = |at: usize| create_with(&format!("/m{at}"), b"", 0, list(50));
    server.send(id, 3, &Request::Multi((0..300).map(part).collect()));
    assert!(server.commit().len() < 100_000, "the multi has failed");
    assert!(server.0.tree().get("/m0").is_none());
    assert_eq!(server.take(id), [(3, BAD_ARGUMENTS)]);
    assert_eq!(server.0.counters().digest_mismatches, 0);
}

#[test]
fn watches_have_a_limit() {
    let mut server = Server::with_limits(Limits { watch_bytes: 10_000, ..Limits::default() });
    let id = server.connect();
    let exists = |at: i32| Request::Exists { path: format!("/{at}").into(), watch: true };
    let answers: Vec<i32> = (0..100).map(|at| server.ask(id, at, &exists(at))[0].1).collect();
    let refused = answers.iter().filter(|err| **err == Code::ThrottledOp as i32).count();
    assert!((20..=30).contains(&refused), "{refused}");
    assert_eq!(server.0.counters().watches_refused, refused as u64);
    // Those that are there can be set again, and go with the connection.
    assert_eq!(server.ask(id, 1, &exists(1)), [(1, Code::NoNode as i32)]);
    let paths: Vec<_> = (0..100).map(|at| format!("/{at}").into()).collect();
    let many = SetWatches { relative_zxid: 0, exist: paths, ..SetWatches::default() };
    server.send(id, xid::SET_WATCHES, &Request::SetWatches(many));
    assert!(!server.is_open(id) && server.0.watches().is_empty());
    // A removed watch makes room for another.
    let id = server.connect();
    for at in 0..1000 {
        assert_eq!(server.ask(id, at, &exists(at)), [(at, Code::NoNode as i32)]);
        let remove = Request::RemoveWatches { path: format!("/{at}").into(), kind: 3 };
        assert_eq!(server.ask(id, at, &remove), [(at, 0)]);
    }
}

#[test]
fn a_session_with_long_ephemerals_ends_in_a_short_transaction() {
    let mut server = Server::new(CoreOptions::default());
    let (id, other) = (server.connect(), server.connect());
    for at in 0..3 {
        let path = format!("/{at}{}", "x".repeat(500_000));
        assert_eq!(server.ask(id, at, &create(&path, b"", 1)), [(at, 0)]);
    }
    assert_eq!(server.0.tree().ephemerals_count(), 3);
    server.send(id, 9, &Request::CloseSession);
    let logged = server.commit();
    assert!(logged.len() < 100);
    LoggedTxn::read(&logged).unwrap();
    assert_eq!(server.0.tree().ephemerals_count(), 0);
    assert_eq!(server.0.counters().digest_mismatches, 0);
    assert_eq!(server.ask(other, 1, &create("/a", b"", 0)), [(1, 0)]);
}

#[test]
fn large_requests_at_work_have_a_limit() {
    let limits =
        Limits { large_request_threshold: Some(1000), large_request_bytes: 5000, ..Limits::default() };
    let mut server = Server::with_limits(limits);
    let (id, other) = (server.connect(), server.connect());
    for xid in 0..4 {
        server.send(id, xid, &create(&format!("/{xid}"), &[0; 1100], 0));
    }
    server.send(id, 4, &create("/small", &[0; 100], 0));
    assert!(server.is_open(id));
    server.send(other, 5, &create("/other", &[0; 1100], 0));
    assert!(!server.is_open(other));
    assert_eq!(server.0.counters().large_requests_rejected, 1);
    server.commit();
    assert_eq!(server.take(id).len(), 5);
    assert_eq!(server.ask(id, 6, &create("/again", &[0; 1100], 0)), [(6, 0)]);
}

#[test]
fn clients_with_unanswered_requests_wait_while_too_much_is_at_work() {
    let limits = Limits { outstanding_bytes: 10_000, ..Limits::default() };
    for (options, data) in [
        (CoreOptions { limits, ..CoreOptions::default() }, &[0; 5000][..]),
        (CoreOptions { max_outstanding: 2, ..CoreOptions::default() }, b""),
    ] {
        let mut server = Server::new(options);
        let (first, second, idle) = (server.connect(), server.connect(), server.connect());
        server.send(first, 1, &create("/a", data, 0));
        assert!(!server.0.throttled(first) && !server.0.throttled(second));
        server.send(second, 2, &create("/b", data, 0));
        assert!(server.0.throttled(first) && server.0.throttled(second) && !server.0.throttled(idle));
        server.commit();
        assert!(!server.0.throttled(first) && !server.0.throttled(second));
        assert_eq!((server.take(first), server.take(second)), (vec![(1, 0)], vec![(2, 0)]));
    }
}

#[test]
fn sessions_come_as_fast_as_there_are_tokens() {
    let connection_throttle =
        ConnectionThrottle { max_tokens: 3, fill_time_ms: 1000, fill_count: 1, ..Default::default() };
    let mut server = Server::new(CoreOptions { connection_throttle, ..CoreOptions::default() });
    let ids: Vec<_> = (0..5).map(|_| server.connect()).collect();
    assert_eq!(ids.iter().filter(|id| server.is_open(**id)).count(), 3);
    assert_eq!(server.0.counters().connections_throttled, 2);
    server.0.set_now(Now { monotonic_ms: 1500, wall_ms: 1500 });
    let (one, none) = (server.connect(), server.connect());
    assert!(server.is_open(one) && !server.is_open(none));
}

#[test]
fn restores_and_http_connections_have_a_limit() {
    let admin = AdminOptions {
        addresses: vec![([127, 0, 0, 1], 0).into()],
        command_url: "/commands".into(),
        snapshot: true,
        restore: true,
        restore_interval: Duration::ZERO,
        max_restore_bytes: 100_000,
        compression: Default::default(),
    };
    let keeper = Keeper::start(ServerOptions { admin: Some(admin), ..ServerOptions::default() }).unwrap();
    let address = keeper.admin_address().unwrap();
    // A snapshot with a list of permissions of 1 MB.
    let mut snapshot = b"ZKSN\0\0\0\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01".to_vec();
    snapshot.int(1);
    snapshot.int(1);
    snapshot.buffer(Some(&[b'x'; 1_000_000]));
    let head = format!(
        "POST /commands/restore HTTP/1.1\r\nHost: a\r\nAuthorization: digest a:b\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        snapshot.len()
    );
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&snapshot[..150_000]).unwrap();
    let mut told = [0; 4096];
    let length = stream.read(&mut told).unwrap();
    let answer = String::from_utf8_lossy(&told[..length]);
    assert!(answer.contains("the snapshot is too long"), "{answer}");
    drop(stream);
    // So many silent clients that no more are taken, until some are gone.
    let silent: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(address).unwrap()).collect();
    let mut late = TcpStream::connect(address).unwrap();
    late.write_all(b"GET /commands/ruok HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    late.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(late.read(&mut told).is_err(), "it is not accepted");
    drop(silent);
    late.set_read_timeout(None).unwrap();
    assert!(late.read(&mut told).unwrap() > 0);
}
