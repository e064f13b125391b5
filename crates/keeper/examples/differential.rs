//! Drives two ZooKeeper servers with the same seeded random operations from several sessions, and stops at the first difference in a
//! result, a stat (but for times), an error code, a zxid or an event.
//!
//!     differential --ours 127.0.0.1:2181 --theirs 127.0.0.1:2182 [--seed N] [--steps N] [--version 3.9]
//!
//! Both must be fresh. After each step every session is pinged, so that the step's notifications are all in. Exit code 1: they differ.
//! `tests/foreign/differential.sh` starts the keeper and Apache ZooKeeper and runs this.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use streamkeeper_keeper::acl::{Acl, Acls, Id, OPEN_ACL_UNSAFE, perms};
use streamkeeper_keeper::client::{Answer, Client, Notification, Options, Reply};
use streamkeeper_keeper::jute::Write;
use streamkeeper_keeper::proto::{CreateRequest, Request, SetWatches, Stat, op};

const SESSIONS: usize = 4;
const DATA: [Option<&[u8]>; 4] = [None, Some(b""), Some(b"x"), Some(b"yyyyyyyyyy")];
const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const ODD_PATHS: [&str; 12] = [
    "",
    "a",
    "/",
    "//",
    "/a/",
    "/a//b",
    "/a/./b",
    "/..",
    "/a\u{1}",
    "/\u{e000}",
    "/zookeeper",
    "/zookeeper/quota",
];

/// SplitMix64: small, seeded, the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }
}

/// What is done in one step.
#[derive(Debug, Clone)]
enum Step {
    Ask(Request<'static>),
    /// A type and a body that no client sends.
    Raw(i32, Vec<u8>),
    /// The connection is lost, and the session goes on over a new one.
    Reconnect,
    /// The session is closed, and a new one takes its place.
    Close,
    /// Another connection takes the session over and ends it.
    Expire,
    /// The session's client is silent until it expires.
    Silence,
}

struct Generator {
    random: Random,
    /// Newest zxid that some watch may be set again from.
    zxid: i64,
    version_39: bool,
}

impl Generator {
    fn path(&mut self) -> String {
        if self.random.one_in(40) {
            return self.random.of(&ODD_PATHS).to_owned();
        }
        let depth = 1 + self.random.below(3);
        (0..depth).map(|_| format!("/{}", self.random.of(&NAMES))).collect()
    }

    fn version(&mut self) -> i32 {
        self.random.of(&[-1, -1, -1, 0, 1, 2])
    }

    fn acls(&mut self) -> Acls {
        let list: &[(i32, &str, &str)] = match self.random.below(30) {
            // Before 3.9 `exists` did not ask for the right to read (ZOOKEEPER-2590), so all may.
            0 if !self.version_39 => &[(perms::ALL, "auth", ""), (perms::READ, "world", "anyone")],
            0 => &[(perms::ALL, "auth", "")],
            1 => &[(perms::READ, "world", "anyone"), (perms::ALL, "digest", "u0:aaa=")],
            2 => &[(perms::READ | perms::CREATE, "world", "anyone")],
            3 => &[(perms::ALL, "ip", "127.0.0.0/8")],
            4 => &[(perms::ALL, "ip", "10.0.0.0/8"), (perms::READ, "world", "anyone")],
            5 => &[(perms::ALL, "foo", "bar")],
            6 => &[],
            7 => &[(perms::ALL, "world", "anyone"), (perms::ALL, "world", "anyone")],
            8 => &[(perms::ALL, "digest", "nocolon")],
            9 => &[(perms::ALL, "ip", "300.1.1.1")],
            10 => &[(perms::ALL & !perms::DELETE, "world", "anyone")],
            _ => return OPEN_ACL_UNSAFE.clone(),
        };
        list.iter().map(|(perms, scheme, id)| Acl { perms: *perms, id: Id::new(scheme, id) }).collect()
    }

    fn create(&mut self) -> Request<'static> {
        let (op, flags, ttl_ms) = match self.random.below(16) {
            0 => (op::CREATE_CONTAINER, 4, -1),
            1 => (op::CREATE_TTL, 5, self.random.of(&[1_000_000, 2_000_000, 0, -1, 1 << 41])),
            2 => (op::CREATE_TTL, 6, 1_000_000),
            3..7 => (op::CREATE2, self.random.of(&[0, 1, 2, 3]), -1),
            7 => (self.random.of(&[op::CREATE, op::CREATE2]), self.random.of(&[4, 5, 6, 7, -1]), -1),
            8 | 9 => (op::CREATE, self.random.of(&[1, 3]), -1),
            10 => (op::CREATE, 2, -1),
            _ => (op::CREATE, 0, -1),
        };
        let data = self.random.of(&DATA);
        Request::Create(CreateRequest { op, path: self.path().into(), data, acl: self.acls(), flags, ttl_ms })
    }

    fn write(&mut self) -> Request<'static> {
        match self.random.below(12) {
            0..5 => self.create(),
            5..8 => Request::Delete { path: self.path().into(), version: self.version() },
            8..11 => Request::SetData {
                path: self.path().into(),
                data: self.random.of(&DATA),
                version: self.version(),
            },
            _ => Request::Check { path: self.path().into(), version: self.version() },
        }
    }

    /// A part of a multi. Before 3.9 a multi knew plain creates only.
    fn part(&mut self) -> Request<'static> {
        loop {
            match self.write() {
                Request::Create(create)
                    if !self.version_39 && (create.op != op::CREATE || !(0..=3).contains(&create.flags)) => {}
                write => return write,
            }
        }
    }

    fn paths(&mut self) -> Vec<Cow<'static, str>> {
        (0..self.random.below(3)).map(|_| self.path().into()).collect()
    }

    fn step(&mut self) -> Step {
        let watch = self.random.one_in(3);
        let path: Cow<str> = self.path().into();
        Step::Ask(match self.random.below(100) {
            // By itself a check that succeeds makes Apache drop the connection; no client sends one.
            0..38 => loop {
                match self.write() {
                    Request::Check { .. } => {}
                    write => break write,
                }
            },
            38..46 => Request::Multi((0..self.random.below(5)).map(|_| self.part()).collect()),
            46..49 => Request::SetAcl { path, acl: self.acls(), version: self.version() },
            49..56 => Request::Exists { path, watch },
            56..63 => Request::GetData { path, watch },
            63..70 => Request::GetChildren { path, watch, with_stat: self.random.one_in(2) },
            70..73 => Request::GetAcl { path },
            // Apache counts the root twice when it is called by its empty name.
            73 => Request::GetAllChildrenNumber { path: if path.is_empty() { "/".into() } else { path } },
            74 => Request::GetEphemerals {
                prefix: self.random.of(&[Some("/a"), Some("/"), Some(""), None]).map(Cow::from),
            },
            75..78 => {
                let part = |generator: &mut Self| match generator.random.one_in(2) {
                    true => Request::GetData { path: generator.path().into(), watch: false },
                    false => {
                        Request::GetChildren { path: generator.path().into(), watch: false, with_stat: false }
                    }
                };
                Request::MultiRead((0..self.random.below(4)).map(|_| part(self)).collect())
            }
            78 => Request::Sync { path },
            // Before 3.9 a path could have only one kind of watch of a connection (ZOOKEEPER-4466).
            79..84 if self.version_39 => Request::AddWatch { path, mode: self.random.of(&[0, 1, 1, 0, 2]) },
            // Before 3.9 it was enough that anybody watched the path.
            84..86 if self.version_39 => {
                Request::CheckWatches { path, kind: self.random.of(&[1, 2, 3, 4, 5, 6]) }
            }
            // The kinds 4 and 5 came with 3.9.
            86..89 => Request::RemoveWatches {
                path,
                kind: self.random.of(if self.version_39 { &[1, 2, 3, 4, 5, 0] } else { &[1, 2, 3, 0] }),
            },
            89..91 => Request::SetWatches(SetWatches {
                relative_zxid: self.zxid - self.random.below(40) as i64,
                data: self.paths(),
                exist: self.paths(),
                child: self.paths(),
                persistent: if self.version_39 { self.paths() } else { Vec::new() },
                persistent_recursive: if self.version_39 { self.paths() } else { Vec::new() },
            }),
            91 if self.version_39 => Request::WhoAmI,
            91 | 92 => {
                let auth: &[u8] = self.random.of(&[b"u0:p0", b"u1:p1"]);
                Request::Auth { scheme: "digest".into(), auth }
            }
            93 => Request::Reconfig,
            94 => return self.raw(),
            95 | 96 => return Step::Reconnect,
            97 => return Step::Close,
            98 => return if self.random.one_in(200) { Step::Silence } else { Step::Expire },
            _ => Request::Ping,
        })
    }

    /// Bodies that end too soon, and types that there are not.
    fn raw(&mut self) -> Step {
        let mut body = Vec::new();
        match self.random.below(6) {
            0 => Step::Raw(77, body),
            1 => {
                body.string("/a");
                Step::Raw(op::GET_DATA, body)
            }
            2 => {
                body.int(1000);
                Step::Raw(self.random.of(&[op::EXISTS, op::GET_CHILDREN2, op::GET_ACL, op::SYNC]), body)
            }
            3 => Step::Raw(op::AUTH, {
                body.int(0);
                body.string("nosuchscheme");
                body.buffer(Some(b"x"));
                body
            }),
            4 => Step::Raw(op::CHECK_WATCHES, {
                body.string("/a");
                body
            }),
            _ => Step::Raw(op::SET_WATCHES, {
                body.long(self.zxid);
                for _ in 0..3 {
                    body.int(0);
                }
                body
            }),
        }
    }
}

/// What a step led to, with sessions by number and without times.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    reply: String,
    events: Vec<Vec<String>>,
}

/// One of the two servers, with its sessions.
struct Server {
    address: String,
    version_39: bool,
    clients: Vec<Client>,
    /// Numbers of all sessions there have been.
    sessions: BTreeMap<i64, usize>,
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const TIMEOUT: Duration = Duration::from_secs(30);

impl Server {
    fn connect(address: &str, version_39: bool) -> Result<Server> {
        let mut server =
            Server { address: address.into(), version_39, clients: Vec::new(), sessions: BTreeMap::new() };
        for _ in 0..SESSIONS {
            let client = server.open()?;
            server.clients.push(client);
        }
        Ok(server)
    }

    fn open(&mut self) -> Result<Client> {
        let client = Client::connect_with(
            &self.address,
            Options { timeout: TIMEOUT, keep_alive: false, ..Options::default() },
        )?;
        let number = self.sessions.len();
        self.sessions.insert(client.session().id, number);
        Ok(client)
    }

    fn run(&mut self, who: usize, step: &Step) -> Result<Outcome> {
        let reply = match step {
            Step::Ask(request) => {
                let reply = self.clients[who].request(request);
                self.describe(who, reply)?
            }
            Step::Raw(op, body) => {
                let reply = self.clients[who].request_raw(*op, body);
                self.describe(who, reply)?
            }
            Step::Reconnect => {
                self.clients[who].reconnect()?;
                "reconnected".into()
            }
            Step::Close => {
                self.clients[who].request(&Request::CloseSession)?;
                self.clients[who] = self.open()?;
                "closed".into()
            }
            Step::Expire => {
                let mut thief = Client::connect_with(
                    &self.address,
                    Options {
                        session: Some(self.clients[who].session().clone()),
                        keep_alive: false,
                        ..Options::default()
                    },
                )?;
                thief.request(&Request::CloseSession)?;
                let robbed = self.clients[who].reconnect().map_err(|error| error.to_string());
                self.clients[who] = self.open()?;
                format!("{robbed:?}")
            }
            Step::Silence => {
                let id = self.clients[who].session().id;
                let short = Client::connect_with(
                    &self.address,
                    Options {
                        timeout: Duration::from_millis(1),
                        session: Some(self.clients[who].session().clone()),
                        keep_alive: false,
                        ..Options::default()
                    },
                )?;
                drop(short);
                std::thread::sleep(Duration::from_millis(2500));
                let expired = self.clients[who].reconnect().map_err(|error| error.to_string());
                let _ = id;
                self.clients[who] = self.open()?;
                format!("{expired:?}")
            }
        };
        let mut events = Vec::new();
        for client in &mut self.clients {
            client.request(&Request::Ping)?;
            events.push(
                client
                    .queued_notifications()
                    .into_iter()
                    .map(|event| describe_event(&event, self.version_39))
                    .collect(),
            );
        }
        Ok(Outcome { reply, events })
    }

    /// A reply as text. A connection that the server closed is opened again.
    fn describe(&mut self, who: usize, reply: streamkeeper_keeper::client::Result<Reply>) -> Result<String> {
        match reply {
            Ok(reply) => {
                let closes = matches!(reply.err, -6 | -115) && matches!(reply.op, 77 | op::AUTH);
                let text = format!("zxid {:x} err {} {}", reply.zxid, reply.err, self.answer(&reply.answer));
                if closes {
                    self.clients[who].reconnect()?;
                }
                Ok(text)
            }
            Err(error) if error.is_connection_loss() => {
                self.clients[who].reconnect()?;
                Ok("connection lost".into())
            }
            Err(error) => Ok(format!("{error}")),
        }
    }

    fn answer(&self, answer: &Answer) -> String {
        let sorted = |list: &[String]| {
            let mut list = list.to_vec();
            list.sort_unstable();
            list
        };
        match answer {
            Answer::Stat(stat) => self.stat(stat),
            Answer::Created(path, stat) => format!("{path} {}", self.stat(stat)),
            Answer::Data(data, stat) => format!("{data:?} {}", self.stat(stat)),
            Answer::Acl(acls, stat) => format!("{acls:?} {}", self.stat(stat)),
            Answer::Children(names) => format!("{:?}", sorted(names)),
            Answer::ChildrenAndStat(names, stat) => format!("{:?} {}", sorted(names), self.stat(stat)),
            Answer::Paths(paths) => format!("{:?}", sorted(paths)),
            Answer::Parts(parts) => {
                let parts: Vec<String> = parts
                    .iter()
                    .map(|part| format!("({} {} {})", part.op, part.err, self.answer(&part.answer)))
                    .collect();
                parts.join(" ")
            }
            Answer::Identities(identities) => {
                let identities: Vec<String> =
                    identities.iter().map(|id| format!("{}:{}", id.scheme, id.user)).collect();
                format!("{:?}", sorted(&identities))
            }
            other => format!("{other:?}"),
        }
    }

    fn stat(&self, stat: &Stat) -> String {
        let owner = match self.sessions.get(&stat.ephemeral_owner) {
            Some(number) => format!("session {number}"),
            None => format!("{:x}", stat.ephemeral_owner),
        };
        let timed = stat.ctime > 0;
        let Stat { czxid, mzxid, pzxid, version, cversion, aversion, data_length, num_children, .. } = stat;
        format!(
            "c{czxid:x} m{mzxid:x} p{pzxid:x} v{version} cv{cversion} av{aversion} {owner} {data_length} {num_children} {timed}"
        )
    }
}

fn describe_event(event: &Notification, with_zxid: bool) -> String {
    let zxid = if with_zxid { event.zxid } else { 0 };
    format!("{:?} {} {zxid:x}", event.kind, event.path)
}

fn argument(name: &str) -> Option<String> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.next()?;
    arguments.next()
}

fn run() -> Result<bool> {
    let seed: u64 = argument("--seed").map_or(Ok(1), |text| text.parse())?;
    let steps: usize = argument("--steps").map_or(Ok(100_000), |text| text.parse())?;
    let version_39 = argument("--version").is_none_or(|version| version.starts_with("3.9"));
    let address = |name| argument(name).ok_or(format!("{name} HOST:PORT is missing"));
    let mut ours = Server::connect(&address("--ours")?, version_39)?;
    let mut theirs = Server::connect(&address("--theirs")?, version_39)?;
    let mut generator = Generator { random: Random(seed), zxid: 0, version_39 };
    let mut recent: Vec<String> = Vec::new();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for at in 0..steps {
        let who = generator.random.below(SESSIONS);
        let step = generator.step();
        let failed = |whose: &str, error| format!("{whose}: step {at} of session {who}, {step:?}: {error}");
        let mut our = ours.run(who, &step).map_err(|error| failed("ours", error))?;
        let mut their = theirs.run(who, &step).map_err(|error| failed("theirs", error))?;
        generator.zxid = ours.clients[who].last_zxid();
        if matches!(step, Step::Close | Step::Expire | Step::Silence) {
            // A session's ephemerals go in no particular order.
            our.events.iter_mut().chain(&mut their.events).for_each(|events| events.sort_unstable());
        }
        let name = match &step {
            Step::Ask(request) => op::name(request.op()).to_owned(),
            other => format!("{other:?}").split('(').next().unwrap_or_default().to_owned(),
        };
        *counts.entry(name).or_default() += 1;
        recent.push(format!("{at}: session {who}: {step:?}"));
        if recent.len() > 12 {
            recent.remove(0);
        }
        if our != their {
            println!("{}\n\nours:   {our:#?}\ntheirs: {their:#?}", recent.join("\n"));
            println!("\nseed {seed}, step {at}: they differ");
            return Ok(false);
        }
    }
    let counts: Vec<String> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
    println!("seed {seed}: {steps} steps, no difference ({})", counts.join(", "));
    Ok(true)
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}
