//! What is measured. All data is of [`DATA_BYTES`].

use std::time::{Duration, Instant};

use super::connections::Connections;
use super::drive::{Clock, Load, Measured, drive};
use super::{Failure, Result, connect};
use crate::acl::OPEN_ACL_UNSAFE;
use crate::client::{Client, Create, Options, create_request};
use crate::jute::Reader;
use crate::proto::{ReplyHeader, Request, op, xid};

/// Bytes of a znode's data.
pub(super) const DATA_BYTES: usize = 100;
/// Znodes that are read and set.
const KEYS: u64 = 1000;
/// Children of the znode that is listed.
const CHILDREN: usize = 20;

static DATA: [u8; DATA_BYTES] = [b'x'; DATA_BYTES];

/// A case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// Persistent znodes.
    Create,
    /// `setData` on one of 1000 znodes.
    Set,
    /// `getData` of one of 1000 znodes.
    Get,
    /// `getChildren2` of a znode with 20 children.
    Children,
    /// A `multi` that creates a znode, sets another and deletes the first.
    Multi,
    /// An ephemeral sequential znode is created, then deleted.
    Ephemeral,
    /// One znode is set, and persistent watches on all connections tell of it; an operation is one notification.
    Watch,
    /// A session is opened and closed.
    Connect,
}

impl Case {
    /// All cases.
    pub const ALL: [Case; 8] = [
        Case::Create,
        Case::Set,
        Case::Get,
        Case::Children,
        Case::Multi,
        Case::Ephemeral,
        Case::Watch,
        Case::Connect,
    ];

    /// The case's name.
    pub fn name(self) -> &'static str {
        match self {
            Case::Create => "create",
            Case::Set => "set",
            Case::Get => "get",
            Case::Children => "children",
            Case::Multi => "multi",
            Case::Ephemeral => "ephemeral",
            Case::Watch => "watch",
            Case::Connect => "connect",
        }
    }

    /// The case of this name.
    pub fn from_name(name: &str) -> Option<Case> {
        Case::ALL.into_iter().find(|case| case.name() == name)
    }

    /// Whether several requests can be under way on a connection.
    pub(super) fn has_depth(self) -> bool {
        !matches!(self, Case::Watch | Case::Connect)
    }
}

/// Creates the znodes that the cases need.
pub(super) fn prepare(server: &str) -> Result<()> {
    let mut client = Client::connect_with(server, Options { keep_alive: false, ..Options::default() })?;
    for parent in
        ["/bench/keys", "/bench/list", "/bench/multi", "/bench/ephemeral", "/bench/create", "/bench/watch"]
    {
        client.create_all(parent)?;
    }
    let keys = (0..KEYS).map(key);
    let children = (0..CHILDREN).map(|index| format!("/bench/list/child-{index:010}"));
    for path in keys.chain(children) {
        client.create(&path, Some(&DATA), OPEN_ACL_UNSAFE.clone(), Create::Persistent)?;
    }
    client.close()?;
    Ok(())
}

fn key(index: u64) -> String {
    format!("/bench/keys/key-{index:010}")
}

/// Measures one case; `mark` is called when measuring begins and when it ends.
pub(super) fn measure(
    case: Case,
    server: &str,
    connections: usize,
    depth: usize,
    seconds: f64,
    mark: &mut dyn FnMut(),
) -> Result<Measured> {
    match case {
        Case::Connect => return connect::measure(server, connections, seconds, mark),
        Case::Watch => return watch(server, connections, seconds, mark),
        _ => {}
    }
    let mut load = Cases { case, random: 0x9e37_79b9_7f4a_7c15, created: vec![0; connections] };
    if case == Case::Create {
        let mut client = Client::connect_with(server, Options { keep_alive: false, ..Options::default() })?;
        for connection in 0..connections {
            client.create_all(&format!("/bench/create/{connection}"))?;
        }
        client.close()?;
    }
    let measured = {
        let mut connections = Connections::open(server, connections)?;
        drive(&mut connections, depth, seconds, &mut load, mark)?
    };
    if case == Case::Create {
        clean_up(server, &load.created)?;
    }
    Ok(measured)
}

/// Deletes what the case of creates has left, so that a faster server does not end up with more znodes.
fn clean_up(server: &str, created: &[u64]) -> Result<()> {
    let mut client = Client::connect_with(server, Options { keep_alive: false, ..Options::default() })?;
    let paths = created.iter().enumerate().flat_map(|(connection, count)| {
        (0..*count).map(move |index| format!("/bench/create/{connection}/znode-{index:010}"))
    });
    let paths: Vec<String> = paths.collect();
    for chunk in paths.chunks(500) {
        let delete = |path: &String| Request::Delete { path: path.clone().into(), version: -1 };
        client.send(&Request::Multi(chunk.iter().map(delete).collect()))?;
        if client.unanswered() > 8 {
            client.receive()?.done("")?;
        }
    }
    while client.unanswered() > 0 {
        client.receive()?.done("")?;
    }
    client.close()?;
    Ok(())
}

/// The requests of the cases that are closed loops.
struct Cases {
    case: Case,
    random: u64,
    /// Znodes created, per connection.
    created: Vec<u64>,
}

impl Cases {
    fn random_key(&mut self) -> String {
        // xorshift64
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        key(self.random % KEYS)
    }

    fn number(&mut self, connection: usize) -> u64 {
        let number = self.created[connection];
        self.created[connection] += 1;
        number
    }
}

impl Load for Cases {
    fn next(&mut self, connection: usize, out: &mut Vec<u8>) -> i32 {
        let acl = || OPEN_ACL_UNSAFE.clone();
        let path;
        let key;
        let request = match self.case {
            Case::Set => Request::SetData { path: self.random_key().into(), data: Some(&DATA), version: -1 },
            Case::Get => Request::GetData { path: self.random_key().into(), watch: false },
            Case::Children => {
                Request::GetChildren { path: "/bench/list".into(), watch: false, with_stat: true }
            }
            Case::Multi => {
                path = format!("/bench/multi/{connection}-{}", self.number(connection));
                key = self.random_key();
                Request::Multi(vec![
                    create_request(&path, Some(&DATA), acl(), Create::Persistent, false),
                    Request::SetData { path: key.into(), data: Some(&DATA), version: -1 },
                    Request::Delete { path: path.as_str().into(), version: -1 },
                ])
            }
            Case::Ephemeral => {
                create_request("/bench/ephemeral/n-", Some(&DATA), acl(), Create::EphemeralSequential, false)
            }
            Case::Create | Case::Watch | Case::Connect => {
                path = format!("/bench/create/{connection}/znode-{:010}", self.number(connection));
                create_request(&path, Some(&DATA), acl(), Create::Persistent, false)
            }
        };
        request.write(out);
        request.op()
    }

    fn has_steps(&self) -> bool {
        self.case == Case::Ephemeral
    }

    fn answered(&mut self, _connection: usize, body: &[u8], out: &mut Vec<u8>) -> Option<i32> {
        // The create is answered with a path, the delete with nothing.
        let path = Reader::new(body).string().ok()?;
        let request = Request::Delete { path, version: -1 };
        request.write(out);
        Some(request.op())
    }
}

/// One znode is set again and again, each time as soon as all connections have been told of the last.
fn watch(server: &str, count: usize, seconds: f64, mark: &mut dyn FnMut()) -> Result<Measured> {
    const PATH: &str = "/bench/watch";
    let mut connections = Connections::open(server, count)?;
    let mut writer = Connections::open(server, 1)?;
    for index in 0..count {
        connections.outbox(index).request(|out| {
            Request::AddWatch { path: PATH.into(), mode: 0 }.write(out);
            op::ADD_WATCH
        });
    }
    connections.flush()?;
    let mut refused = None;
    let mut left = count;
    let deadline = Instant::now() + Duration::from_secs(20);
    while left > 0 {
        if Instant::now() > deadline {
            return Err(Failure::Silent(left));
        }
        connections.turn(Duration::from_millis(20), |_, frame, _| {
            if let Ok(header) = ReplyHeader::read(&mut Reader::new(frame)) {
                left -= 1;
                refused = refused.or((header.err != 0).then_some(header.err));
            }
        })?;
    }
    if let Some(err) = refused {
        return Err(Failure::Refused { op: op::ADD_WATCH, err });
    }
    let mut clock = Clock::new(seconds, mark);
    while clock.is_running() {
        let since = Instant::now();
        writer.outbox(0).request(|out| {
            Request::SetData { path: PATH.into(), data: Some(&DATA), version: -1 }.write(out);
            op::SET_DATA
        });
        writer.flush()?;
        let mut left = count;
        while left > 0 {
            if since.elapsed() > Duration::from_secs(20) {
                return Err(Failure::Silent(left));
            }
            connections.turn(Duration::from_millis(20), |_, frame, _| {
                if frame.first_chunk() == Some(&xid::NOTIFICATION.to_be_bytes()) {
                    left -= 1;
                    clock.done(since, Instant::now());
                }
            })?;
        }
        let mut answered = false;
        while !answered {
            writer.turn(Duration::from_millis(20), |_, _, _| answered = true)?;
            if since.elapsed() > Duration::from_secs(20) {
                return Err(Failure::Silent(1));
            }
        }
    }
    Ok(clock.measured)
}

/// Creates `count` znodes, 1000 below each parent.
pub(super) fn fill(server: &str, count: usize) -> Result<Duration> {
    let mut client = Client::connect_with(server, Options { keep_alive: false, ..Options::default() })?;
    client.create_all("/bench/fill")?;
    let start = Instant::now();
    let mut next = 0;
    while next < count || client.unanswered() > 0 {
        if next < count && client.unanswered() < 1000 {
            let (parent, child) = (next / 1000, next % 1000);
            let acl = || OPEN_ACL_UNSAFE.clone();
            if child == 0 {
                let parent = format!("/bench/fill/dir-{parent:06}");
                client.send(&create_request(&parent, None, acl(), Create::Persistent, false))?;
            }
            let path = format!("/bench/fill/dir-{parent:06}/znode-{child:06}");
            client.send(&create_request(&path, Some(&DATA), acl(), Create::Persistent, false))?;
            next += 1;
        } else {
            client.receive()?.done("/bench/fill")?;
        }
    }
    let elapsed = start.elapsed();
    client.close()?;
    Ok(elapsed)
}
