//! A server's life on a simulated disk, with clients: packets in, transactions to the log, answers out, until the power goes.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use streamkeeper_keeper::acl::OPEN_ACL_UNSAFE;
use streamkeeper_keeper::client::{Answer, Create, Reply, create_request};
use streamkeeper_keeper::core::{Core, CoreOptions, Now, Phase};
use streamkeeper_keeper::jute::{Reader, Write as _};
use streamkeeper_keeper::proto::{ConnectRequest, ConnectResponse, ReplyHeader, Request, op, xid};
use streamkeeper_keeper::storage::{
    Compression, DataDirs, Disk, LogOptions, RecoverOptions, StorageError, TxnLog, purge, recover, snapshot,
};

use super::oracle::{Effect, Oracle};
use crate::driver::model::{Model, Outcome};
use crate::driver::random::Random;

const DIR: &str = "/data/version-2";
pub(crate) const CLIENTS: usize = 4;
const TURN_MS: i64 = 500;

/// Why a life ends.
#[derive(Debug)]
pub(crate) enum End {
    /// The power is gone.
    Power,
    /// Something is not as it must be.
    Wrong(String),
}

impl From<StorageError> for End {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Io { .. } => End::Power,
            error => End::Wrong(error.to_string()),
        }
    }
}

fn wrong<T>(what: String) -> Result<T, End> {
    Err(End::Wrong(what))
}

/// The server, as its event loop and its log's thread have it.
pub(crate) struct Server {
    core: Core,
    log: TxnLog,
    disk: Arc<dyn Disk>,
    dirs: DataDirs,
    /// A defect: transactions count as durable as soon as they are handed over.
    answers_early: bool,
}

struct Sent {
    xid: i32,
    op: i32,
    zxid: i64,
    outcome: Outcome,
}

#[derive(Default)]
struct Client {
    connection: Option<u64>,
    /// Its first packet has no answer yet; the zxid of its new session, if it is one.
    connecting: Option<i64>,
    session: Option<(i64, Vec<u8>)>,
    silent: bool,
    sent: VecDeque<Sent>,
    next_xid: i32,
    last_zxid: i64,
}

/// What has happened, so that a test can tell that it has.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) recoveries: u64,
    /// Transactions that were recovered, though no client was told of them; and those that were lost.
    pub(crate) unanswered: u64,
    pub(crate) lost: u64,
    pub(crate) answers: u64,
    pub(crate) expired: u64,
    /// Sessions found again after a power loss, and ended ones that were looked for.
    pub(crate) survived: u64,
    pub(crate) ended: u64,
    pub(crate) snapshots: u64,
    pub(crate) purged: u64,
}

/// The clients and what they know.
pub(crate) struct Clients {
    clients: Vec<Client>,
    pub(crate) oracle: Oracle,
    random: Random,
    now_ms: i64,
    /// Sessions that are over, with their passwords.
    past: Vec<(i64, Vec<u8>)>,
    pub(crate) counts: Counts,
}

impl Counts {
    fn all(&mut self) -> [&mut u64; 9] {
        let Counts { recoveries, unanswered, lost, answers, expired, survived, ended, snapshots, purged } =
            self;
        [recoveries, unanswered, lost, answers, expired, survived, ended, snapshots, purged]
    }

    pub(crate) fn add(&mut self, mut other: Counts) {
        self.all().into_iter().zip(other.all()).for_each(|(sum, more)| *sum += *more);
    }

    /// Whether all of it has happened.
    pub(crate) fn are_complete(mut self) -> bool {
        self.all().iter().all(|count| **count > 0)
    }
}

impl Server {
    /// Recovers, and checks what was recovered against what clients know.
    pub(crate) fn start(
        disk: Arc<dyn Disk>,
        clients: &mut Clients,
        answers_early: bool,
    ) -> Result<Server, End> {
        let dirs = DataDirs::unlocked(Path::new(DIR), Path::new(DIR));
        let log = LogOptions { preallocate_bytes: 8 << 10, ..LogOptions::default() };
        let recovered = recover(disk.clone(), &dirs, &RecoverOptions { log, ..RecoverOptions::default() })?;
        let last = recovered.tree.last_zxid();
        let oracle = &mut clients.oracle;
        let (answered, proposed) = (oracle.answered, oracle.proposed());
        if !(answered..=proposed.max(answered)).contains(&last) {
            return wrong(format!(
                "0x{last:x} was recovered, 0x{answered:x} answered, 0x{proposed:x} proposed"
            ));
        }
        clients.counts.recoveries += 1;
        clients.counts.unanswered += (last - answered) as u64;
        clients.counts.lost += (proposed - last).max(0) as u64;
        oracle.cut(last);
        oracle.answered(last);
        if let Err(what) = oracle.ahead.compare(&recovered.tree, &recovered.sessions) {
            return wrong(format!("after transaction 0x{last:x}: {what}"));
        }
        if recovered.digest_mismatches > 0 {
            return wrong(format!("{} digests differ", recovered.digest_mismatches));
        }
        let core = Core::new(recovered.tree, recovered.sessions, CoreOptions::default(), clients.now());
        Ok(Server { core, log: recovered.log, disk, dirs, answers_early })
    }

    /// Hands what was proposed to the log's buffer.
    fn hand_over(&mut self) -> Result<(), End> {
        let Some(proposals) = self.core.take_proposals() else { return Ok(()) };
        proposals.iter().try_for_each(|(zxid, bytes)| self.log.append(zxid, bytes))?;
        if let (true, Some((zxid, _))) = (self.answers_early, proposals.ends.last()) {
            self.core.committed(*zxid);
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), End> {
        self.log.commit()?;
        self.core.committed(self.log.committed_zxid());
        Ok(())
    }

    fn snapshot(&mut self, after_roll: bool) -> Result<(), End> {
        let (frozen, sessions) = self.core.freeze();
        if after_roll {
            self.log.roll()?;
            self.core.committed(self.log.committed_zxid());
        }
        snapshot::write(&*self.disk, &self.dirs.snapshots, &frozen, &sessions, Compression::None)?;
        Ok(())
    }
}

impl Clients {
    pub(crate) fn new(seed: u64) -> Self {
        let models = (0..CLIENTS).map(|client| Model::new(format!("/w/{client}"))).collect();
        Clients {
            clients: (0..CLIENTS).map(|_| Client::default()).collect(),
            oracle: Oracle::new(models),
            random: Random(seed),
            now_ms: 1_000_000,
            past: Vec::new(),
            counts: Counts::default(),
        }
    }

    fn now(&self) -> Now {
        Now { monotonic_ms: self.now_ms, wall_ms: self.now_ms + 1_600_000_000_000 }
    }

    /// So many turns of a server's life.
    pub(crate) fn live(&mut self, server: &mut Server, turns: usize) -> Result<(), End> {
        self.come_back(server)?;
        for turn in 1..=turns {
            self.now_ms += TURN_MS;
            server.core.set_now(self.now());
            for client in 0..CLIENTS {
                self.act(server, client)?;
            }
            self.expire(server)?;
            server.hand_over()?;
            // Transactions gather while the log is busy.
            if !self.random.one_in(3) {
                server.commit()?;
            }
            self.listen(server)?;
            if turn % 7 == 0 {
                let after_roll = self.random.one_in(2);
                server.snapshot(after_roll)?;
                self.counts.snapshots += 1;
            }
            if turn % 11 == 0 {
                self.counts.purged += purge(&*server.disk, &server.dirs, 3)?.len() as u64;
            }
        }
        server.commit()?;
        self.listen(server)
    }

    /// After a power loss: whoever had a session has it still, and nobody has one that was over.
    fn come_back(&mut self, server: &mut Server) -> Result<(), End> {
        server.core.set_now(self.now());
        for client in 0..CLIENTS {
            let at = &mut self.clients[client];
            (at.connection, at.connecting) = (None, None);
            at.sent.clear();
            let Some((id, passwd)) = at.session.clone() else { continue };
            if self.oracle.ahead.sessions.contains_key(&id) {
                self.connect(server, client)?;
                self.counts.survived += 1;
            } else {
                self.clients[client].session = None;
                self.past.push((id, passwd));
            }
        }
        for (id, passwd) in self.past.clone() {
            let connection = open(&mut server.core, Some((id, &passwd)), 0);
            let answer = server.core.output(connection).map(std::mem::take).unwrap_or_default();
            let there = ConnectResponse::read(&mut Reader::new(&answer[4..]))
                .is_ok_and(|answer| answer.timeout_ms > 0);
            server.core.closed(connection);
            self.counts.ended += 1;
            if there != self.oracle.ahead.sessions.contains_key(&id) {
                return wrong(format!("session 0x{id:x}, which was over, is there: {there}"));
            }
        }
        self.listen(server)?;
        self.make_bases(server)
    }

    /// The clients' own znodes, so far as they are not there.
    fn make_bases(&mut self, server: &mut Server) -> Result<(), End> {
        let bases = ["/w".to_owned()].into_iter().chain((0..CLIENTS).map(|client| format!("/w/{client}")));
        for path in bases.filter(|path| server.core.tree().get(path).is_none()).collect::<Vec<_>>() {
            if self.clients[0].connection.is_none() {
                self.connect(server, 0)?;
            }
            let request = create_request(&path, None, OPEN_ACL_UNSAFE.clone(), Create::Persistent, false);
            self.send(server, 0, &request, Outcome::Created(path.clone()), Effect::Base(path.clone()))?;
            server.hand_over()?;
            server.commit()?;
            self.listen(server)?;
        }
        Ok(())
    }

    /// What a client does in a turn.
    fn act(&mut self, server: &mut Server, client: usize) -> Result<(), End> {
        let at = &mut self.clients[client];
        // Behind the end of a session nothing is asked.
        if at.connecting.is_some() || at.sent.back().is_some_and(|sent| sent.op == op::CLOSE_SESSION) {
            return Ok(());
        }
        let Some(connection) = at.connection else {
            if !at.silent || self.random.one_in(20) {
                self.connect(server, client)?;
            }
            return Ok(());
        };
        match self.random.below(40) {
            0 => {
                let Some((session, _)) = at.session else { return Ok(()) };
                let effect = Effect::Close { client, session };
                self.send(server, client, &Request::CloseSession, Outcome::Done, effect)?;
            }
            drop @ (1 | 2) => {
                server.core.closed(connection);
                at.connection = None;
                at.sent.clear();
                at.silent = drop == 1;
            }
            _ => {
                let mut ping = Vec::new();
                ping.int(xid::PING);
                ping.int(op::PING);
                server.core.packet(connection, &ping);
                for _ in 0..self.random.below(3) {
                    let unique = self.oracle.proposed() as u64;
                    let write = self.oracle.ahead.models[client].next_write(&mut self.random, unique << 8);
                    let outcome = self.oracle.ahead.models[client].clone().apply(&write, 0);
                    let effect = Effect::Write { client, write: write.clone() };
                    self.send(server, client, &write.request(), outcome, effect)?;
                }
            }
        }
        Ok(())
    }

    fn connect(&mut self, server: &mut Server, client: usize) -> Result<(), End> {
        let at = &mut self.clients[client];
        let before = server.core.last_proposed_zxid();
        let session = at.session.as_ref().map(|(id, passwd)| (*id, passwd.as_slice()));
        let connection = open(&mut server.core, session, at.last_zxid);
        at.connection = Some(connection);
        at.connecting = Some(0);
        at.silent = false;
        if at.session.is_none() {
            let zxid = one_more(server, before)?;
            let session = server.core.connection(connection).map_or(0, |connection| connection.session_id);
            at.connecting = Some(zxid);
            self.oracle.propose(zxid, Effect::Open { client, session });
        }
        Ok(())
    }

    /// Sends a write.
    fn send(
        &mut self,
        server: &mut Server,
        client: usize,
        request: &Request,
        outcome: Outcome,
        effect: Effect,
    ) -> Result<(), End> {
        let at = &mut self.clients[client];
        let Some(connection) = at.connection else {
            return wrong(format!("client {client} is not connected"));
        };
        at.next_xid += 1;
        let mut frame = Vec::new();
        frame.int(at.next_xid);
        frame.int(request.op());
        request.write(&mut frame);
        let before = server.core.last_proposed_zxid();
        server.core.packet(connection, &frame);
        let zxid = one_more(server, before)?;
        at.sent.push_back(Sent { xid: at.next_xid, op: request.op(), zxid, outcome });
        self.oracle.propose(zxid, effect);
        Ok(())
    }

    /// Lets sessions expire.
    fn expire(&mut self, server: &mut Server) -> Result<(), End> {
        let mut zxid = server.core.last_proposed_zxid();
        server.core.tick();
        for (session, client) in self.oracle.ahead.sessions.clone() {
            if server.core.sessions().get(session).is_none_or(|session| session.closing) {
                zxid += 1;
                self.counts.expired += 1;
                self.oracle.propose(zxid, Effect::Close { client, session });
            }
        }
        if zxid != server.core.last_proposed_zxid() {
            return wrong("something other than sessions has ended".to_owned());
        }
        for at in &mut self.clients {
            let over = |(id, _): &mut (i64, Vec<u8>)| !self.oracle.ahead.sessions.contains_key(id);
            if at.connection.is_none() {
                self.past.extend(at.session.take_if(over));
            }
        }
        Ok(())
    }

    /// Takes what the server sends.
    fn listen(&mut self, server: &mut Server) -> Result<(), End> {
        for connection in server.core.take_dirty() {
            let out = server.core.output(connection).map(std::mem::take).unwrap_or_default();
            let at = self.clients.iter().position(|client| client.connection == Some(connection));
            let mut left = &out[..];
            while let (Some(client), Some((length, rest))) = (at, left.split_first_chunk()) {
                let (frame, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
                left = rest;
                self.take(client, frame)?;
            }
            let closing = |phase| phase == Phase::Closing;
            if server.core.connection(connection).is_some_and(|connection| closing(connection.phase)) {
                server.core.closed(connection);
                if let Some(client) = at {
                    let at = &mut self.clients[client];
                    at.connection = None;
                    at.sent.clear();
                    self.past.extend(at.session.take());
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, client: usize, frame: &[u8]) -> Result<(), End> {
        let unreadable = |error| End::Wrong(format!("cannot read an answer: {error}"));
        let at = &mut self.clients[client];
        let reader = &mut Reader::new(frame);
        if let Some(zxid) = at.connecting.take() {
            let answer = ConnectResponse::read(reader).map_err(unreadable)?;
            let known = at.session.as_ref().map(|(id, _)| *id);
            if answer.timeout_ms == 0 || known.is_some_and(|id| id != answer.session_id) {
                return wrong(format!("session {known:x?} came back as {answer:x?}"));
            }
            at.session = Some((answer.session_id, answer.passwd.to_vec()));
            self.oracle.answered(zxid);
            return Ok(());
        }
        let header = ReplyHeader::read(reader).map_err(unreadable)?;
        at.last_zxid = at.last_zxid.max(header.zxid);
        self.oracle.answered(header.zxid);
        if header.xid == xid::PING {
            return Ok(());
        }
        let Some(Sent { xid, op, zxid, outcome }) = at.sent.pop_front() else {
            return wrong(format!("an answer to nothing: {header:?}"));
        };
        let answer = Answer::read(op, reader).map_err(unreadable)?;
        let reply =
            Reply { xid: header.xid, op, zxid: header.zxid, err: header.err, answer, body: Vec::new() };
        if (header.xid, header.zxid) != (xid, zxid) || !outcome.is(&reply) {
            return wrong(format!("{outcome:?} was due as 0x{zxid:x}, and came {reply:?}"));
        }
        self.counts.answers += 1;
        Ok(())
    }
}

/// A connection with its first packet.
fn open(core: &mut Core, session: Option<(i64, &[u8])>, last_zxid_seen: i64) -> u64 {
    let connection = core.open(IpAddr::V4(Ipv4Addr::LOCALHOST), 1, false, &[]);
    let (session_id, passwd) = session.unwrap_or((0, &[0; 16]));
    let mut frame = Vec::new();
    ConnectRequest {
        protocol_version: 0,
        last_zxid_seen,
        timeout_ms: 6000,
        session_id,
        passwd,
        read_only: Some(false),
    }
    .write(&mut frame);
    core.packet(connection, &frame);
    connection
}

/// Every write takes one zxid, whatever comes of it.
fn one_more(server: &Server, before: i64) -> Result<i64, End> {
    match server.core.last_proposed_zxid() {
        zxid if zxid == before + 1 => Ok(zxid),
        zxid => wrong(format!("after a write the zxid is 0x{zxid:x}, and was 0x{before:x}")),
    }
}
