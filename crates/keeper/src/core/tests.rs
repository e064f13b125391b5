//! The core by its packets: what goes in, when it is durable, what comes out.

use std::sync::{Arc, Mutex};

use super::*;
use crate::acl::OPEN_ACL_UNSAFE;
use crate::client::Answer;
use crate::proto::CreateRequest;

/// A core and its clock; nothing is durable until [`Bench::commit`].
struct Bench {
    core: Core,
    now: Now,
}

impl Bench {
    fn new() -> Self {
        Bench::with(|_| {})
    }

    fn with(set: impl FnOnce(&mut CoreOptions)) -> Self {
        let now = Now { monotonic_ms: 0, wall_ms: 1_000_000 };
        let mut options = CoreOptions {
            tick_ms: 1000,
            min_session_timeout_ms: 1000,
            max_session_timeout_ms: 60_000,
            ..CoreOptions::default()
        };
        set(&mut options);
        Bench { core: Core::new(Tree::new(true), BTreeMap::new(), options, now), now }
    }

    fn pass(&mut self, ms: i64) {
        self.now.monotonic_ms += ms;
        self.now.wall_ms += ms;
        self.core.set_now(self.now);
        self.core.tick();
    }

    /// All that is proposed becomes durable.
    fn commit(&mut self) {
        while let Some(proposals) = self.core.take_proposals() {
            let (zxid, _) = proposals.ends.last().copied().unwrap();
            self.core.committed(zxid);
        }
        // What was foreseen when a transaction was proposed is what came of it.
        assert_eq!(self.core.counters().digest_mismatches, 0);
    }

    /// Opens a connection with a first packet, and returns what it is answered, once that is durable.
    fn connect(
        &mut self,
        session_id: i64,
        passwd: &[u8],
        last_zxid_seen: i64,
    ) -> (ConnectionId, Option<(i64, Vec<u8>)>) {
        let id = self.core.open(IpAddr::from([127, 0, 0, 1]), 1, false, &[]);
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen,
            timeout_ms: 4000,
            session_id,
            passwd,
            read_only: Some(false),
        };
        let mut frame = Vec::new();
        request.write(&mut frame);
        self.core.packet(id, &frame);
        self.commit();
        let answer = self.frames(id).into_iter().next().map(|frame| {
            let response = ConnectResponse::read(&mut Reader::new(&frame)).unwrap();
            (response.session_id, response.passwd.to_vec())
        });
        (id, answer)
    }

    fn client(&mut self) -> ConnectionId {
        let (id, answer) = self.connect(0, &[], 0);
        assert_ne!(answer.unwrap().0, 0);
        id
    }

    fn send(&mut self, id: ConnectionId, xid: i32, request: &Request) {
        let mut frame = Vec::new();
        frame.int(xid);
        frame.int(request.op());
        request.write(&mut frame);
        self.core.packet(id, &frame);
    }

    /// Takes the frames that go out to a connection.
    fn frames(&mut self, id: ConnectionId) -> Vec<Vec<u8>> {
        let out = self.core.output(id).map(std::mem::take).unwrap_or_default();
        let mut reader = Reader::new(&out);
        let mut frames = Vec::new();
        while !reader.is_empty() {
            frames.push(reader.buffer().unwrap().unwrap().to_vec());
        }
        frames
    }

    /// The answers to a connection as `xid:err`, notifications as `event path`.
    fn told(&mut self, id: ConnectionId) -> Vec<String> {
        let describe = |frame: Vec<u8>| {
            let mut reader = Reader::new(&frame);
            let header = ReplyHeader::read(&mut reader).unwrap();
            if header.xid != xid::NOTIFICATION {
                return format!("{}:{}", header.xid, header.err);
            }
            let (event, _) = (reader.int().unwrap(), reader.int().unwrap());
            format!("event {event} {}", reader.string().unwrap())
        };
        self.frames(id).into_iter().map(describe).collect()
    }

    fn is_closing(&self, id: ConnectionId) -> bool {
        self.core.connection(id).is_none_or(|connection| connection.phase == Phase::Closing)
    }
}

fn create(path: &'static str, flags: i32) -> Request<'static> {
    let acl = OPEN_ACL_UNSAFE.clone();
    Request::Create(CreateRequest { op: op::CREATE, path: path.into(), data: None, acl, flags, ttl_ms: -1 })
}

fn get(path: &'static str, watch: bool) -> Request<'static> {
    Request::GetData { path: path.into(), watch }
}

fn set(path: &'static str) -> Request<'static> {
    Request::SetData { path: path.into(), data: Some(b"x"), version: -1 }
}

const NO_NODE: i32 = Code::NoNode as i32;

#[test]
fn nothing_is_answered_or_shown_before_it_is_durable() {
    let mut bench = Bench::new();
    let (a, b) = (bench.client(), bench.client());
    bench.send(b, 1, &Request::Exists { path: "/a".into(), watch: true });
    assert_eq!(bench.told(b), [format!("1:{NO_NODE}")]);
    bench.send(a, 1, &create("/a", 0));
    bench.send(b, 2, &get("/a", false));
    assert_eq!(bench.told(a), [""; 0]);
    assert_eq!(bench.told(b), [format!("2:{NO_NODE}")], "a read of another session waits for nothing");
    bench.commit();
    assert_eq!(bench.told(a), ["1:0"]);
    assert_eq!(bench.told(b), ["event 1 /a"]);
}

#[test]
fn a_client_is_answered_in_its_order_but_for_pings() {
    let mut bench = Bench::new();
    let a = bench.client();
    bench.send(a, 1, &create("/a", 0));
    bench.send(a, 2, &get("/a", true));
    bench.send(a, 3, &set("/a"));
    bench.send(a, 4, &Request::Exists { path: "/b".into(), watch: false });
    bench.send(a, -2, &Request::Ping);
    assert_eq!(bench.told(a), ["-2:0"], "a ping waits for nothing");
    bench.commit();
    // The watch that the read set fires before the write that came behind it is answered.
    assert_eq!(bench.told(a), ["1:0", "2:0", "event 3 /a", "3:0", &format!("4:{NO_NODE}")]);
}

#[test]
fn who_says_who_he_is_along_with_the_first_packet_is_answered_behind_it() {
    let mut bench = Bench::new();
    let id = bench.core.open(IpAddr::from([127, 0, 0, 1]), 1, false, &[]);
    let mut frame = Vec::new();
    let (timeout_ms, passwd) = (4000, &[][..]);
    ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: 0,
        timeout_ms,
        session_id: 0,
        passwd,
        read_only: None,
    }
    .write(&mut frame);
    bench.core.packet(id, &frame);
    bench.send(id, -4, &Request::Auth { scheme: "digest".into(), auth: b"ann:secret" });
    assert_eq!(bench.frames(id).len(), 0, "the session is not there yet");
    bench.commit();
    let frames = bench.frames(id);
    let response = ConnectResponse::read(&mut Reader::new(&frames[0])).unwrap();
    assert_ne!(response.session_id, 0);
    assert_eq!(ReplyHeader::read(&mut Reader::new(&frames[1])).unwrap().xid, -4);
}

#[test]
fn a_read_behind_a_write_sees_that_write_and_no_later_one() {
    let mut bench = Bench::new();
    let a = bench.client();
    bench.send(a, 1, &create("/a", 0));
    bench.send(a, 2, &get("/a", false));
    bench.send(a, 3, &Request::Delete { path: "/a".into(), version: -1 });
    bench.send(a, 4, &get("/a", false));
    bench.commit();
    assert_eq!(bench.told(a), ["1:0", "2:0", "3:0", &format!("4:{NO_NODE}")]);
}

#[test]
fn requests_are_judged_by_what_is_on_its_way() {
    let mut bench = Bench::new();
    let a = bench.client();
    bench.send(a, 1, &create("/a", 0));
    bench.send(a, 2, &create("/a/s-", 2));
    bench.send(a, 3, &create("/a/s-", 2));
    bench.send(a, 4, &Request::Delete { path: "/a".into(), version: -1 });
    bench.commit();
    assert_eq!(bench.told(a), ["1:0", "2:0", "3:0", &format!("4:{}", Code::NotEmpty as i32)]);
    assert!(bench.core.tree().get("/a/s-0000000001").is_some());
}

#[test]
fn a_failed_transaction_takes_a_zxid() {
    let mut bench = Bench::new();
    let a = bench.client();
    let before = bench.core.tree().last_zxid();
    bench.send(a, 1, &Request::Delete { path: "/nope".into(), version: -1 });
    bench.send(a, 2, &Request::Multi(vec![create("/m", 0), set("/nope")]));
    bench.commit();
    assert_eq!(bench.told(a), [format!("1:{NO_NODE}"), "2:0".into()]);
    assert_eq!(bench.core.tree().last_zxid(), before + 2);
    assert!(bench.core.tree().get("/m").is_none());
}

#[test]
fn a_failed_multi_leaves_nothing_behind_for_those_on_its_heels() {
    let mut bench = Bench::new();
    let a = bench.client();
    bench.send(a, 1, &create("/kept", 0));
    bench.send(a, 2, &Request::Multi(vec![set("/kept"), create("/m", 0), set("/nope")]));
    bench.send(a, 3, &create("/m/x", 0));
    bench.send(a, 4, &Request::SetData { path: "/kept".into(), data: None, version: 0 });
    bench.commit();
    assert_eq!(bench.told(a), ["1:0", "2:0", &format!("3:{NO_NODE}"), "4:0"]);
}

#[test]
fn a_lost_session_is_never_replaced_in_silence() {
    let mut bench = Bench::new();
    let (a, session) = bench.connect(0, &[], 0);
    let (session_id, passwd) = session.unwrap();
    bench.send(a, 1, &create("/e", 1));
    bench.commit();
    bench.core.closed(a);
    // Another password, another session: refused, and told so by the number 0.
    assert_eq!(bench.connect(session_id, &[0; 16], 0).1.unwrap().0, 0);
    assert_eq!(bench.connect(session_id + 1, &passwd, 0).1.unwrap().0, 0);
    let (b, answer) = bench.connect(session_id, &passwd, 0);
    assert_eq!(answer.unwrap(), (session_id, passwd.clone()));
    bench.core.closed(b);
    bench.pass(3999);
    assert!(bench.core.tree().get("/e").is_some());
    bench.pass(1002);
    bench.commit();
    assert!(bench.core.tree().get("/e").is_none(), "its ephemeral goes with it");
    assert_eq!(bench.connect(session_id, &passwd, 0).1.unwrap().0, 0, "and it does not come back");
}

#[test]
fn reads_keep_a_session_alive() {
    let mut bench = Bench::new();
    let a = bench.client();
    for xid in 1..5 {
        bench.pass(3000);
        bench.send(a, xid, &get("/", false));
        bench.commit();
        assert_eq!(bench.told(a), [format!("{xid}:0")]);
    }
    bench.pass(6000);
    bench.commit();
    assert!(bench.is_closing(a));
}

#[test]
fn a_client_that_has_seen_more_is_sent_away() {
    let mut bench = Bench::new();
    let ahead = bench.core.tree().last_zxid() + 1;
    let (id, answer) = bench.connect(0, &[], ahead);
    assert!(answer.is_none() && bench.is_closing(id));
}

#[test]
fn a_session_moves_to_its_newest_connection() {
    let mut bench = Bench::new();
    let (a, session) = bench.connect(0, &[], 0);
    let (session_id, passwd) = session.unwrap();
    bench.send(a, 1, &create("/a", 0));
    let (b, _) = bench.connect(session_id, &passwd, 0);
    assert!(bench.is_closing(a));
    bench.send(a, 2, &create("/late", 0));
    bench.send(b, 1, &get("/a", false));
    bench.commit();
    assert_eq!(bench.told(b), ["1:0"], "what it had asked before is done");
    assert!(bench.core.tree().get("/late").is_none(), "what the old connection sends afterwards is not");
}

#[test]
fn a_sessions_end_is_one_transaction_with_what_is_on_its_way() {
    let mut bench = Bench::new();
    let a = bench.client();
    bench.send(a, 1, &create("/e", 1));
    bench.send(a, 2, &create("/f", 1));
    bench.send(a, 3, &Request::Delete { path: "/e".into(), version: -1 });
    bench.send(a, 4, &Request::CloseSession);
    let before = bench.core.last_proposed_zxid();
    bench.commit();
    assert_eq!(bench.told(a), ["1:0", "2:0", "3:0", "4:0"]);
    assert_eq!(bench.core.tree().last_zxid(), before);
    assert!(bench.core.tree().get("/f").is_none() && bench.is_closing(a) && bench.core.sessions().is_empty());
}

#[test]
fn what_could_not_be_logged_is_refused_and_undone() {
    let mut bench = Bench::new();
    let a = bench.client();
    bench.send(a, 1, &create("/kept", 0));
    bench.commit();
    bench.send(a, 2, &create("/lost", 0));
    bench.send(a, 3, &get("/kept", false));
    let lost = bench.core.take_proposals().unwrap();
    bench.core.log_failed();
    let refused = Code::NotReadOnly as i32;
    assert_eq!(bench.told(a), ["1:0".into(), format!("2:{refused}"), "3:0".into()]);
    bench.send(a, 4, &create("/later", 0));
    bench.pass(100_000);
    assert_eq!(bench.told(a), [format!("4:{refused}")]);
    assert!(bench.core.take_proposals().is_none(), "no session expires while nothing can be logged");
    bench.core.set_read_only(false);
    bench.send(a, 5, &create("/lost", 0));
    let again = bench.core.take_proposals().unwrap();
    assert!(again.ends[0].0 > lost.ends[0].0);
    bench.core.committed(again.ends[0].0);
    assert_eq!(bench.told(a), ["5:0"]);
}

#[test]
fn who_may_not_read_a_znode_is_not_told_of_it() {
    let mut bench = Bench::new();
    let (a, b) = (bench.client(), bench.client());
    bench.send(b, 1, &Request::AddWatch { path: "/".into(), mode: 1 });
    bench.send(a, 1, &Request::Auth { scheme: "digest".into(), auth: b"u:p" });
    let acl = [crate::acl::Acl { perms: 31, id: Id::new("auth", "") }].into();
    let private = Request::Create(CreateRequest {
        op: op::CREATE,
        path: "/p".into(),
        data: None,
        acl,
        flags: 0,
        ttl_ms: -1,
    });
    bench.send(a, 2, &private);
    bench.send(a, 3, &create("/open", 0));
    bench.commit();
    assert_eq!(bench.told(b), ["1:0", "event 1 /open"]);
}

#[test]
fn answers_have_their_requests_form() {
    let mut bench = Bench::new();
    let a = bench.client();
    bench.send(
        a,
        1,
        &Request::Multi(vec![create("/m", 0), set("/m"), Request::Check { path: "/m".into(), version: 1 }]),
    );
    bench.commit();
    let frame = bench.frames(a).remove(0);
    let Answer::Parts(parts) = Answer::read(op::MULTI, &mut Reader::new(&frame[16..])).unwrap() else {
        panic!()
    };
    let ops: Vec<i32> = parts.iter().map(|part| part.op).collect();
    assert_eq!(ops, [op::CREATE, op::SET_DATA, op::CHECK]);
    assert_eq!(parts[0].answer, Answer::Path("/m".into()));
}

/// Keeps what is logged, as `target: fields`.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Lines {
    fn enabled(&self, _: &tracing::Metadata) -> bool {
        true
    }
    fn new_span(&self, _: &tracing::span::Attributes) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event) {
        struct Text(String);
        impl tracing::field::Visit for Text {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0 += &format!(" {}={value:?}", field.name());
            }
        }
        let mut text = Text(format!("{}:", event.metadata().target()));
        event.record(&mut text);
        self.0.lock().unwrap().push(text.0);
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

/// What `run` logs whose line has `wanted` in it.
fn logged(wanted: &str, run: impl FnOnce()) -> Vec<String> {
    let lines = Lines::default();
    tracing::subscriber::with_default(lines.clone(), run);
    let lines = lines.0.lock().unwrap().clone();
    lines.into_iter().filter(|line| line.contains(wanted)).collect()
}

#[test]
fn refused_sessions_are_told_of_once_while_the_disk_is_full() {
    let lines = logged("new session", || {
        let mut bench = Bench::new();
        for _ in 0..2 {
            bench.core.set_read_only(true);
            (0..3).for_each(|_| drop(bench.connect(0, &[], 0)));
            bench.core.set_read_only(false);
            bench.client();
        }
    });
    assert_eq!(lines.len(), 2, "{lines:?}");
}

#[test]
fn the_audit_log_names_operation_and_znode_also_of_what_fails() {
    let create = |path: &'static str, flags| {
        Request::Create(CreateRequest {
            op: op::CREATE,
            path: path.into(),
            data: None,
            acl: OPEN_ACL_UNSAFE.clone(),
            flags,
            ttl_ms: -1,
        })
    };
    let delete = |path: &'static str| Request::Delete { path: path.into(), version: -1 };
    let lines = logged("audit:", || {
        let mut bench = Bench::with(|options| options.audit = true);
        let client = bench.client();
        let acl = OPEN_ACL_UNSAFE.clone();
        for (at, request) in [
            create("/a", 0),
            create("/e", 1),
            create("/a/s", 2),
            create("/a", 0),
            delete("/none"),
            Request::SetAcl { path: "/a".into(), acl, version: -1 },
            Request::Multi(vec![create("/m", 0), delete("/m")]),
            Request::Multi(vec![create("/m", 0), delete("/none")]),
            Request::CloseSession,
        ]
        .iter()
        .enumerate()
        {
            bench.send(client, at as i32, request);
            bench.commit();
        }
    });
    let lines: Vec<&str> = lines.iter().map(|line| &line[line.find("ip=").unwrap()..]).collect();
    let ip = "ip=127.0.0.1 operation=";
    let expected = [
        r#""create" znode="/a" znode_type="persistent" result="success" err=0"#,
        r#""create" znode="/e" znode_type="ephemeral" result="success" err=0"#,
        r#""create" znode="/a/s0000000000" znode_type="persistent_sequential" result="success" err=0"#,
        r#""create" znode="/a" znode_type="persistent" result="failure" err=-110"#,
        r#""delete" znode="/none" result="failure" err=-101"#,
        r#""setAcl" znode="/a" acl="world:anyone:cdrwa" result="success" err=0"#,
        r#""create" znode="/m" znode_type="persistent" result="success" err=0"#,
        r#""delete" znode="/m" result="success" err=0"#,
        r#""multiOperation" result="failure" err=-101"#,
        r#""ephemeralZNodeDeletionOnSessionCloseOrExpire" znode="/e" result="success" err=0"#,
    ];
    assert_eq!(lines, expected.map(|line| format!("{ip}{line}")));
    assert!(
        logged("audit:", || {
            Bench::new().client();
        })
        .is_empty()
    );
}
