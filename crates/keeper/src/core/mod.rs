//! The server as a pure state machine: packets and the passing of time in; bytes to send and transactions to log out.
//!
//! The life of a write: a packet comes ([`Core::packet`]), becomes a transaction ([`prep`]) and a proposal ([`Core::take_proposals`]); when
//! the shell has logged it durably ([`Core::committed`]), it is applied, its watchers are told, and its client is answered.
//!
//! Invariants:
//! - nothing is applied, shown or answered before it is durable;
//! - a client is answered in the order of its requests; a read waits for earlier writes of its own session, and for nothing else;
//! - a notification goes out before the answer of any read that could see the change;
//! - each session's end is one transaction, whether the client, silence or a server command ended it.

mod audit;
mod connection;
mod limits;
mod passwd;
mod prep;
mod reads;
mod sasl;
mod throttle;

pub(crate) use audit::server as audit_server;
pub use connection::{Connection, Phase, Traffic};
pub use limits::Limits;
pub use prep::PrepOptions;
pub use throttle::ConnectionThrottle;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;

use crate::access::Access;
use crate::acl::Id;
use crate::jute::{Reader, Write, length_as_int};
use crate::metrics::figures::{DigestLog, Figures};
use crate::proto::{
    Code, ConnectRequest, ConnectResponse, EventType, MultiHeader, ReplyHeader, Request, RequestHeader,
    STATE_SYNC_CONNECTED, op, xid,
};
use crate::session::Sessions;
use crate::tree::{Applied, Frozen, Tree};
use crate::txn::{LoggedTxn, Txn, TxnHeader};
use crate::watch::{ConnectionId, Watches};
use audit::{Audited, Entry};
use connection::Queued;
use prep::{Prep, Requester};
use throttle::Bucket;

/// What ZooKeeper traces unless told otherwise.
const DEFAULT_TRACE_MASK: i64 = 306;

/// What the core needs to know of the configuration.
#[derive(Debug, Clone)]
pub struct CoreOptions {
    /// The server's number, which begins its sessions' ids.
    pub server_id: i64,
    /// The unit of session timeouts, in ms.
    pub tick_ms: i32,
    /// Bounds of session timeouts, in ms.
    pub min_session_timeout_ms: i32,
    /// See `min_session_timeout_ms`.
    pub max_session_timeout_ms: i32,
    /// How often containers and TTL nodes are looked at, in ms.
    pub container_check_interval_ms: i64,
    /// How many of them go a minute at most.
    pub container_max_per_minute: usize,
    /// After how long a container goes that never had a child, in ms; 0: never.
    pub container_max_never_used_ms: i64,
    /// A client with this many unanswered requests is not read from; nor, when all together have so many, is a client that has any.
    pub max_outstanding: usize,
    /// A client with this many bytes of reads behind its own writes, or of answers that it does not take, is not read from.
    pub max_queued_bytes: usize,
    /// Limits of memory.
    pub limits: Limits,
    /// How fast sessions may come.
    pub connection_throttle: ConnectionThrottle,
    /// Whether changes are written to the audit log (`audit.enable`).
    pub audit: bool,
    /// Settings of requests.
    pub prep: PrepOptions,
    /// Settings of permissions.
    pub access: Access,
    /// How clients prove who they are.
    pub authentication: crate::authentication::Authentication,
}

impl Default for CoreOptions {
    /// What a configuration comes to in which nothing is set.
    fn default() -> Self {
        CoreOptions {
            // A standalone server of Apache's begins its sessions' ids with 1 as well.
            server_id: 1,
            tick_ms: 3000,
            min_session_timeout_ms: 6000,
            max_session_timeout_ms: 60_000,
            container_check_interval_ms: 60_000,
            container_max_per_minute: 10_000,
            container_max_never_used_ms: 0,
            max_outstanding: 1000,
            max_queued_bytes: 16 << 20,
            limits: Limits::default(),
            connection_throttle: ConnectionThrottle::default(),
            audit: false,
            prep: PrepOptions { digest: true, close_session_paths: true, ..PrepOptions::default() },
            access: Access::default(),
            authentication: crate::authentication::Authentication::default(),
        }
    }
}

/// What time it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Now {
    /// Of a monotonic clock, in ms.
    pub monotonic_ms: i64,
    /// Since 1970, in ms.
    pub wall_ms: i64,
}

/// A transaction that is proposed but not applied.
#[derive(Debug)]
struct Proposed {
    header: TxnHeader,
    txn: Txn,
    connection: Option<ConnectionId>,
    /// Its length in the log.
    bytes: usize,
    /// The digest that the tree must have behind it.
    digest: Option<i64>,
    /// What the audit log says of it, if there is one.
    audited: Option<Box<Audited>>,
}

/// Transactions for the log: each one's zxid and the end of its bytes in `bytes`.
#[derive(Debug, Default)]
pub struct Proposals {
    /// The encoded transactions, one after the other.
    pub bytes: Vec<u8>,
    /// Zxid and end offset of each.
    pub ends: Vec<(i64, usize)>,
}

impl Proposals {
    /// Each transaction's zxid and bytes.
    pub fn iter(&self) -> impl Iterator<Item = (i64, &[u8])> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|(_, end)| *end));
        self.ends.iter().zip(starts).map(|((zxid, end), start)| (*zxid, &self.bytes[start..*end]))
    }
}

/// Counts for monitoring. Everything only grows but for what the trees and tables themselves hold.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs)]
pub struct Counters {
    pub traffic: Traffic,
    pub requests_by_op: BTreeMap<i32, u64>,
    pub stale_sessions_expired: u64,
    pub connections_revalidated: u64,
    pub auth_failed: u64,
    pub digest_mismatches: u64,
    pub watches_fired: u64,
    pub transactions: u64,
    pub refused_read_only: u64,
    pub connections_rejected: u64,
    pub connections_throttled: u64,
    pub sessionless_expired: u64,
    pub large_requests_rejected: u64,
    pub slow_clients_closed: u64,
    pub watches_refused: u64,
    /// What takes more than a number.
    pub figures: Figures,
}

/// The server. See the module's page.
#[derive(Debug)]
pub struct Core {
    tree: Tree,
    prep: Prep,
    sessions: Sessions,
    /// Sessions as of the applied transactions, for snapshots.
    durable_sessions: BTreeMap<i64, i32>,
    watches: Watches,
    access: Access,
    options: CoreOptions,
    connections: HashMap<ConnectionId, Connection>,
    next_connection: ConnectionId,
    proposed: VecDeque<Proposed>,
    proposed_bytes: usize,
    proposed_large_bytes: usize,
    proposals: Proposals,
    bucket: Bucket,
    dirty: Vec<ConnectionId>,
    now: Now,
    started: Now,
    next_container_check_ms: i64,
    read_only: bool,
    /// Whether it has been told that sessions are refused, since writes are.
    told_of_refused_sessions: bool,
    counters: Counters,
    digests: DigestLog,
    trace_mask: i64,
    /// What the audit log says of the request that is being proposed.
    auditing: Option<Box<Audited>>,
    body: Vec<u8>,
    events: Vec<u8>,
}

impl Core {
    /// A server over a tree and the sessions that were there with it. Their clients have a whole timeout to come back.
    pub fn new(tree: Tree, sessions: BTreeMap<i64, i32>, options: CoreOptions, now: Now) -> Self {
        let mut tracked = Sessions::new(options.tick_ms.into(), options.server_id, now.wall_ms);
        for (id, timeout_ms) in &sessions {
            tracked.track(*id, *timeout_ms, now.monotonic_ms);
        }
        let seed = options
            .authentication
            .nonce(0)
            .bytes()
            .fold(1, |seed, byte| u64::wrapping_mul(seed, 31).wrapping_add(byte.into()));
        Core {
            bucket: Bucket::new(options.connection_throttle.clone(), now.monotonic_ms, seed.max(1)),
            proposed_bytes: 0,
            proposed_large_bytes: 0,
            prep: Prep::new(&tree, options.prep.clone()),
            tree,
            sessions: tracked,
            durable_sessions: sessions,
            watches: Watches::default(),
            access: options.access.clone(),
            connections: HashMap::new(),
            next_connection: 1,
            proposed: VecDeque::new(),
            proposals: Proposals::default(),
            dirty: Vec::new(),
            now,
            started: now,
            next_container_check_ms: now.monotonic_ms + options.container_check_interval_ms,
            read_only: false,
            told_of_refused_sessions: false,
            counters: Counters::default(),
            digests: DigestLog::default(),
            trace_mask: DEFAULT_TRACE_MASK,
            auditing: None,
            body: Vec::new(),
            events: Vec::new(),
            options,
        }
    }

    /// Sets the clock. Comes before each batch of other calls.
    pub fn set_now(&mut self, now: Now) {
        self.now = now;
    }

    /// A client has connected. `certificate`: the identities of a verified client certificate.
    pub fn open(&mut self, peer: IpAddr, peer_port: u16, secure: bool, certificate: &[Id]) -> ConnectionId {
        let id = self.next_connection;
        self.next_connection += 1;
        let mut connection = Connection::new(peer, peer_port, secure, self.now.wall_ms);
        connection.ids.extend_from_slice(certificate);
        self.connections.insert(id, connection);
        id
    }

    /// A connection is gone. Its session lives on, for its timeout.
    pub fn closed(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.remove(&id) {
            self.sessions.detach(connection.session_id, id);
            self.watches.remove_connection(id);
        }
    }

    /// A connection is over TLS, with the identities of the client's certificate, if it has one.
    pub fn secured(&mut self, id: ConnectionId, identities: Vec<Id>) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.secure = true;
            identities.into_iter().for_each(|identity| connection.add_id(identity));
        }
    }

    /// A packet has come, without its length.
    pub fn packet(&mut self, id: ConnectionId, frame: &[u8]) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.traffic.received += 1;
        self.counters.traffic.received += 1;
        self.counters.figures.bytes_received += frame.len() as u64 + 4;
        match connection.phase {
            Phase::New => self.connect(id, frame),
            Phase::Open => {
                let session_id = connection.session_id;
                self.sessions.touch(session_id, self.now.monotonic_ms);
                if !self.refuses_large_request(id, frame.len()) {
                    self.request(id, frame, self.now.monotonic_ms);
                }
            }
            Phase::Closing => {}
        }
    }

    /// A four-letter command has come.
    pub fn command_received(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.traffic.received += 1;
            self.counters.traffic.received += 1;
            self.counters.figures.bytes_received += 4;
        }
    }

    /// The transactions that wait to be logged, in order.
    pub fn take_proposals(&mut self) -> Option<Proposals> {
        (!self.proposals.ends.is_empty()).then(|| std::mem::take(&mut self.proposals))
    }

    /// All transactions up to `zxid` are durable: applies them and answers.
    pub fn committed(&mut self, zxid: i64) {
        while self.proposed.front().is_some_and(|proposed| proposed.header.zxid <= zxid) {
            if let Some(proposed) = self.proposed.pop_front() {
                self.apply(proposed);
            }
        }
        self.prep.applied(zxid);
    }

    /// Nothing that waits to be logged could be: all of it is undone and refused, and so is every write from now on, until
    /// [`Core::set_read_only`] is called with `false`.
    pub fn log_failed(&mut self) {
        self.read_only = true;
        self.proposals = Proposals::default();
        self.proposed.clear();
        self.count_nothing_proposed();
        let (last_zxid, counts) = (self.prep.last_zxid(), self.prep.counts);
        self.prep = Prep::new(&self.tree, self.options.prep.clone());
        self.prep.counts = counts;
        self.prep.skip_to(last_zxid);
        let ids: Vec<ConnectionId> = self.connections.keys().copied().collect();
        for id in ids {
            self.refuse_queued_writes(id);
        }
        let lost: Vec<i64> = self
            .sessions
            .iter()
            .map(|(id, _)| id)
            .filter(|id| !self.durable_sessions.contains_key(id))
            .collect();
        for id in lost {
            self.sessions.remove(id);
        }
        // Ends of sessions that could not be logged come again.
        self.sessions.reopen_all(self.now.monotonic_ms);
    }

    /// Takes another tree and other sessions in place of all that was; every connection closes.
    pub fn replace(&mut self, tree: Tree, sessions: BTreeMap<i64, i32>) {
        self.tree = tree;
        self.digests.clear();
        let counts = self.prep.counts;
        self.prep = Prep::new(&self.tree, self.options.prep.clone());
        self.prep.counts = counts;
        self.sessions = Sessions::new(self.options.tick_ms.into(), self.options.server_id, self.now.wall_ms);
        for (id, timeout_ms) in &sessions {
            self.sessions.track(*id, *timeout_ms, self.now.monotonic_ms);
        }
        self.durable_sessions = sessions;
        self.proposed.clear();
        self.count_nothing_proposed();
        self.proposals = Proposals::default();
        let ids: Vec<ConnectionId> = self.connections.keys().copied().collect();
        ids.into_iter().for_each(|id| self.close(id));
    }

    /// Whether writes are refused, because the disk is full.
    pub fn read_only(&self) -> bool {
        self.read_only
    }

    /// Lets writes in again, or keeps them out. No session expires while they are kept out.
    pub fn set_read_only(&mut self, read_only: bool) {
        self.read_only = read_only;
        self.told_of_refused_sessions &= read_only;
        self.sessions.reopen_all(self.now.monotonic_ms);
    }

    /// Time has passed: sessions expire, containers and TTL nodes go.
    pub fn tick(&mut self) {
        if self.read_only {
            return;
        }
        for session_id in self.sessions.expire(self.now.monotonic_ms) {
            self.counters.stale_sessions_expired += 1;
            self.propose_close(session_id, 0, None);
        }
        if self.now.monotonic_ms >= self.next_container_check_ms {
            self.remove_containers();
        }
    }

    /// When [`Core::tick`] is due, on the monotonic clock in ms.
    pub fn next_tick_ms(&self) -> i64 {
        let sessions = self.sessions.next_deadline_ms().unwrap_or(i64::MAX);
        sessions.min(self.next_container_check_ms)
    }

    /// The connections that have something to send or are to be closed, since the last call.
    pub fn take_dirty(&mut self) -> Vec<ConnectionId> {
        let dirty = std::mem::take(&mut self.dirty);
        for id in &dirty {
            if let Some(connection) = self.connections.get_mut(id) {
                connection.dirty = false;
            }
        }
        dirty
    }

    /// A connection.
    pub fn connection(&self, id: ConnectionId) -> Option<&Connection> {
        self.connections.get(&id)
    }

    /// The bytes that go out to a connection, and how many of them have gone: for the shell to send, and to take from the front.
    pub fn outgoing(&mut self, id: ConnectionId) -> Option<(&mut Vec<u8>, &mut usize)> {
        self.connections.get_mut(&id).map(|connection| (&mut connection.out, &mut connection.sent))
    }

    /// The bytes that go out to a connection.
    pub fn output(&mut self, id: ConnectionId) -> Option<&mut Vec<u8>> {
        self.connections.get_mut(&id).map(|connection| &mut connection.out)
    }

    /// The tree.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The watches.
    pub fn watches(&self) -> &Watches {
        &self.watches
    }

    /// The sessions.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// All connections.
    pub fn connections(&self) -> impl Iterator<Item = (ConnectionId, &Connection)> {
        self.connections.iter().map(|(id, connection)| (*id, connection))
    }

    /// The settings.
    pub fn options(&self) -> &CoreOptions {
        &self.options
    }

    /// Counts for monitoring.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The shell has refused a connection, since there are too many.
    pub fn count_rejected(&mut self) {
        self.counters.connections_rejected += 1;
    }

    /// The shell closes a connection that has asked for no session in time.
    pub fn count_sessionless(&mut self) {
        self.counters.sessionless_expired += 1;
    }

    /// The same, for the shell to count on.
    pub fn counters_mut(&mut self) -> &mut Counters {
        &mut self.counters
    }

    /// Sets all that is counted to zero (`srst`), but for failed logins, as ZooKeeper does.
    pub fn reset_counters(&mut self) {
        let mut figures = std::mem::take(&mut self.counters.figures);
        figures.reset();
        self.prep.counts = (0, 0);
        let auth_failed = self.counters.auth_failed;
        self.counters = Counters { figures, auth_failed, ..Counters::default() };
    }

    /// How many changes of znodes were outstanding so far, and how many of them are not any more.
    pub fn outstanding_changes(&self) -> (u64, u64) {
        self.prep.counts
    }

    /// Digests of the tree behind some of the transactions.
    pub fn digests(&self) -> &DigestLog {
        &self.digests
    }

    /// The trace mask, which has no effect but to be told.
    pub fn trace_mask(&self) -> i64 {
        self.trace_mask
    }

    /// Sets the trace mask.
    pub fn set_trace_mask(&mut self, mask: i64) {
        self.trace_mask = mask;
    }

    /// Forgets every connection's latencies, packet counts and last request (`crst`).
    pub fn reset_connection_counters(&mut self) {
        for connection in self.connections.values_mut() {
            connection.traffic = Traffic::default();
            connection.last_op = 0;
            (connection.last_cxid, connection.last_zxid) = (-1, -1);
            (connection.last_response_ms, connection.last_latency_ms) = (0, 0);
        }
    }

    /// How long the server has been up, in ms.
    pub fn uptime_ms(&self) -> i64 {
        self.now.monotonic_ms - self.started.monotonic_ms
    }

    /// A time of the monotonic clock as a date, in ISO 8601 and UTC.
    pub fn wall_time_of(&self, monotonic_ms: i64) -> String {
        crate::time::iso8601(self.now.wall_ms + monotonic_ms - self.now.monotonic_ms)
    }

    /// Number of requests that wait for their answer.
    pub fn outstanding_requests(&self) -> usize {
        self.proposed.len()
    }

    /// The zxid given out last.
    pub fn last_proposed_zxid(&self) -> i64 {
        self.prep.last_zxid()
    }

    /// Everything that is applied, for a snapshot: the tree and the sessions.
    pub fn freeze(&self) -> (Frozen, Vec<(i64, i32)>) {
        (
            self.tree.freeze(),
            self.durable_sessions.iter().map(|(id, timeout_ms)| (*id, *timeout_ms)).collect(),
        )
    }

    /// Ends a session as if its client had asked for it.
    pub fn close_session(&mut self, session_id: i64) {
        if self.sessions.get(session_id).is_some_and(|session| !session.closing) && !self.read_only {
            self.propose_close(session_id, 0, None);
        }
    }

    /// Closes a connection once what is on its way to it has gone. Its session lives on.
    pub fn close(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.phase = Phase::Closing;
            connection.queue.clear();
            connection.queued_bytes = 0;
            self.sessions.detach(connection.session_id, id);
            self.watches.remove_connection(id);
        }
        self.mark_dirty(id);
    }

    fn session_of(&self, id: ConnectionId) -> i64 {
        self.connections.get(&id).map_or(0, |connection| connection.session_id)
    }

    fn ids_of(&self, id: ConnectionId) -> &[Id] {
        self.connections.get(&id).map_or(&[], |connection| &connection.ids)
    }

    /// The first packet: a new session, or one to go on with.
    fn connect(&mut self, id: ConnectionId, frame: &[u8]) {
        self.counters.figures.connect_requests += 1;
        let Ok(request) = ConnectRequest::read(&mut Reader::new(frame)) else { return self.close(id) };
        // The client has seen what this server does not have: it must find a server that does.
        if request.last_zxid_seen > self.tree.last_zxid() {
            tracing::info!(
                last_zxid_seen = format_args!("0x{:x}", request.last_zxid_seen),
                last_zxid = format_args!("0x{:x}", self.tree.last_zxid()),
                "refused a client that has seen a newer transaction"
            );
            return self.close(id);
        }
        let bounds = (self.options.min_session_timeout_ms, self.options.max_session_timeout_ms);
        let timeout_ms = request.timeout_ms.max(bounds.0).min(bounds.1);
        let new = request.session_id == 0;
        if new && self.read_only {
            if !std::mem::replace(&mut self.told_of_refused_sessions, true) {
                tracing::warn!(
                    "a client that asks for a new session was refused, as all will be: the disk is full"
                );
            }
            return self.close(id);
        }
        if !self.bucket.take(new, self.now.monotonic_ms) {
            self.counters.connections_throttled += 1;
            return self.close(id);
        }
        let session_id = if new { self.sessions.next_id() } else { request.session_id };
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.phase = Phase::Open;
        connection.knows_read_only = request.read_only.is_some();
        connection.timeout_ms = timeout_ms;
        connection.session_id = session_id;
        if new {
            self.sessions.track(session_id, timeout_ms, self.now.monotonic_ms);
            self.sessions.attach(session_id, Some(id), timeout_ms);
            let header = self.prep.next_header(session_id, 0, self.now.wall_ms);
            self.propose(header, Txn::CreateSession { timeout_ms }, Some(id), op::CREATE_SESSION, 0);
            return;
        }
        self.counters.connections_revalidated += 1;
        let known = request.passwd == passwd::of_session(session_id)
            && self.sessions.get(session_id).is_some_and(|session| !session.closing);
        if known {
            // The session moves here; what the old connection still sends does not count.
            if let Some(old) = self.sessions.attach(session_id, Some(id), timeout_ms).filter(|old| *old != id)
            {
                self.close(old);
            }
            self.sessions.touch(session_id, self.now.monotonic_ms);
        }
        self.answer_connect(id, known);
    }

    fn answer_connect(&mut self, id: ConnectionId, valid: bool) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let passwd = if valid { passwd::of_session(connection.session_id) } else { [0; 16] };
        let response = ConnectResponse {
            protocol_version: 0,
            timeout_ms: if valid { connection.timeout_ms } else { 0 },
            session_id: if valid { connection.session_id } else { 0 },
            passwd: &passwd,
            read_only: connection.knows_read_only.then_some(false),
        };
        frame_into(&mut connection.out, |out| response.write(out));
        connection.traffic.sent += 1;
        self.counters.traffic.sent += 1;
        if valid {
            self.mark_dirty(id);
        } else {
            connection.session_id = 0;
            self.close(id);
        }
    }

    /// A request: answered at once, proposed, or queued behind earlier writes of its session.
    fn request(&mut self, id: ConnectionId, frame: &[u8], received_ms: i64) {
        let mut reader = Reader::new(frame);
        let Ok(header) = RequestHeader::read(&mut reader) else { return self.close(id) };
        let request = read_request(header, &mut reader);
        match request {
            // Who proves who it is must not wait, nor must a ping.
            Ok(Some(Request::Auth { scheme, auth })) => return self.authenticate(id, header, &scheme, auth),
            Ok(Some(Request::Sasl { token })) => return self.sasl(id, header, token),
            _ => {}
        }
        if let Err(code) = self.options.authentication.enforce(self.ids_of(id)) {
            self.reply(id, header.xid, 0, code as i32, &[]);
            return self.close(id);
        }
        match request {
            Ok(Some(Request::Ping)) => self.answer_ping(id),
            Err(_) if matches!(header.op, op::AUTH | op::SASL) => self.close(id),
            Ok(Some(request)) if is_write(&request) => self.write(id, header, &request, received_ms),
            Err(_) if header.op == op::MULTI => {
                self.write_error(id, header, Code::MarshallingError, received_ms)
            }
            request => {
                let Some(connection) = self.connections.get_mut(&id) else { return };
                if !connection.queue.is_empty() || connection.unsent_bytes() >= self.options.max_queued_bytes
                {
                    connection.queued_bytes += frame.len();
                    connection.queue.push_back(Queued::Read { frame: frame.into(), received_ms });
                    return;
                }
                self.answer_read(id, header, request, received_ms);
            }
        }
    }

    fn answer_read(
        &mut self,
        id: ConnectionId,
        header: RequestHeader,
        request: crate::jute::Result<Option<Request>>,
        received_ms: i64,
    ) {
        let mut body = std::mem::take(&mut self.body);
        body.clear();
        let session_id = self.session_of(id);
        let known = self.sessions.check(session_id, id);
        let answered = match request {
            _ if known == Err(Code::SessionMoved) => return self.close(id),
            _ if known.is_err() => known,
            Ok(Some(request)) => self.read(id, &request, &mut body),
            Ok(None) => {
                // As Apache does: there is no telling what such a client means.
                self.reply(id, header.xid, -1, Code::Unimplemented as i32, &[]);
                return self.close(id);
            }
            Err(error) => {
                tracing::info!(op = op::name(header.op), %error, "cannot read a request");
                Err(Code::MarshallingError)
            }
        };
        let err = match answered {
            Ok(()) => 0,
            Err(code) => {
                body.clear();
                code as i32
            }
        };
        self.answer(id, header.xid, header.op, err, &body, received_ms);
        self.body = body;
    }

    fn answer_ping(&mut self, id: ConnectionId) {
        self.answer(id, xid::PING, op::PING, 0, &[], self.now.monotonic_ms);
    }

    fn write(&mut self, id: ConnectionId, header: RequestHeader, request: &Request, received_ms: i64) {
        if self.read_only {
            self.counters.refused_read_only += 1;
            return self.refuse(id, header, Code::NotReadOnly);
        }
        let session_id = self.session_of(id);
        if let Request::CloseSession = request {
            return self.propose_close(session_id, header.xid, Some((id, received_ms)));
        }
        let known = self.sessions.check(session_id, id);
        if known == Err(Code::SessionMoved) {
            return self.close(id);
        }
        let txn_header = self.prep.next_header(session_id, header.xid, self.now.wall_ms);
        let ids = self.connections.get(&id).map_or(&[][..], |connection| &connection.ids);
        let who = Requester { session_id, ids };
        let txn = known
            .and_then(|()| self.prep.prepare(&self.tree, &self.access, who, &txn_header, request))
            .unwrap_or_else(|code| Txn::Error(code as i32));
        if self.options.audit {
            self.auditing = Audited::of(request).map(Box::new);
        }
        self.propose_for(txn_header, txn, id, header.op, header.xid, received_ms);
    }

    /// A write that fails takes its place in the order, and a zxid.
    fn write_error(&mut self, id: ConnectionId, header: RequestHeader, code: Code, received_ms: i64) {
        if self.read_only {
            return self.refuse(id, header, Code::NotReadOnly);
        }
        let txn_header = self.prep.next_header(self.session_of(id), header.xid, self.now.wall_ms);
        if self.options.audit && header.op == op::MULTI {
            self.auditing = Some(Box::new(Audited::Multi(Vec::new())));
        }
        self.propose_for(txn_header, Txn::Error(code as i32), id, header.op, header.xid, received_ms);
    }

    fn propose_close(&mut self, session_id: i64, cxid: i32, asked_by: Option<(ConnectionId, i64)>) {
        self.sessions.set_closing(session_id);
        let header = self.prep.next_header(session_id, cxid, self.now.wall_ms);
        let txn = self.prep.close_session(&self.tree, &header, session_id);
        match asked_by {
            Some((id, received_ms)) => {
                self.propose_for(header, txn, id, op::CLOSE_SESSION, cxid, received_ms)
            }
            None => self.propose(header, txn, None, op::CLOSE_SESSION, 0),
        }
    }

    fn propose_for(
        &mut self,
        header: TxnHeader,
        txn: Txn,
        id: ConnectionId,
        op: i32,
        xid: i32,
        received_ms: i64,
    ) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.queue.push_back(Queued::Write { zxid: header.zxid, xid, op, received_ms });
        }
        self.log(header, txn, Some(id));
    }

    fn propose(&mut self, header: TxnHeader, txn: Txn, id: Option<ConnectionId>, op: i32, xid: i32) {
        match id {
            Some(id) => self.propose_for(header, txn, id, op, xid, self.now.monotonic_ms),
            None => self.log(header, txn, None),
        }
    }

    fn log(&mut self, header: TxnHeader, txn: Txn, connection: Option<ConnectionId>) {
        let digest = self.prep.digest();
        let logged = LoggedTxn { header, txn, digest };
        logged.write(&mut self.proposals.bytes);
        let end = self.proposals.bytes.len();
        let bytes = end - self.proposals.ends.last().map_or(0, |(_, before)| *before);
        self.proposals.ends.push((header.zxid, end));
        self.count_proposed(bytes);
        self.counters.figures.proposals += 1;
        let digest = digest.map(|digest| digest.tree_digest);
        let mut audited = self.auditing.take();
        if self.options.audit && connection.is_none() {
            audited = Audited::of_server(&logged.txn).map(Box::new);
        }
        self.proposed.push_back(Proposed { header, txn: logged.txn, connection, bytes, digest, audited });
    }

    fn apply(&mut self, proposed: Proposed) {
        let Proposed { header, txn, connection, bytes, digest, audited } = proposed;
        self.count_applied(bytes);
        self.counters.transactions += 1;
        // The clock may have been set back.
        if let Ok(latency_ms) = u64::try_from(self.now.wall_ms - header.time_ms) {
            self.counters.figures.propagation_latency.add(latency_ms);
        }
        match txn {
            Txn::CreateSession { timeout_ms } => {
                self.durable_sessions.insert(header.client_id, timeout_ms);
            }
            Txn::CloseSession { .. } => {
                self.durable_sessions.remove(&header.client_id);
            }
            _ => {}
        }
        let closes = matches!(txn, Txn::CloseSession { .. });
        let ephemerals: Vec<Entry> = match closes && self.options.audit {
            true => self.tree.ephemerals_of(header.client_id).into_iter().map(Entry::of_ephemeral).collect(),
            false => Vec::new(),
        };
        let (watches, connections, access, events) =
            (&mut self.watches, &mut self.connections, &self.access, &mut self.events);
        let (dirty, counters) = (&mut self.dirty, &mut self.counters);
        let (limit_bytes, mut slow) = (self.options.limits.unread_notification_bytes, Vec::new());
        let applied = self.tree.apply(&header, txn, |change| {
            if change.event != EventType::NodeChildrenChanged {
                counters.figures.written(change.path, change.data_bytes);
            }
            let told = watches.trigger(change.event, change.path);
            if told.is_empty() {
                return;
            }
            counters.figures.triggered(change.event, told.len());
            events.clear();
            write_event(events, change.event, change.path, header.zxid);
            for id in told {
                let Some(connection) = connections.get_mut(&id) else { continue };
                // Who may not read a znode is not told of it either (CVE-2024-23944).
                if access.check(change.acls, crate::acl::perms::READ, &connection.ids).is_err() {
                    continue;
                }
                if connection.notify(events, limit_bytes) {
                    slow.push(id);
                }
                counters.traffic.sent += 1;
                counters.watches_fired += 1;
                counters.figures.notification(events.len());
                if !std::mem::replace(&mut connection.dirty, true) {
                    dirty.push(id);
                }
            }
        });
        slow.into_iter().for_each(|id| self.drop_slow(id));
        if digest.is_some() {
            self.digests.note(header.zxid, || self.tree.digest());
        }
        if digest.is_some_and(|digest| digest != self.tree.digest()) {
            self.counters.digest_mismatches += 1;
            tracing::error!(
                zxid = format_args!("0x{:x}", header.zxid),
                "the tree's digest is not what was computed when the transaction was proposed: please report this"
            );
        }
        if let Some(audited) = audited {
            audited.write(header.client_id, connection.and_then(|id| self.connections.get(&id)), &applied);
        }
        for entry in ephemerals {
            let connection = connection.and_then(|id| self.connections.get(&id));
            entry.write(header.client_id, connection, None, applied.err);
        }
        if let Some(id) = connection {
            self.answer_write(id, header.zxid, &applied);
        }
        if closes {
            let owner = self.sessions.remove(header.client_id).and_then(|session| session.owner);
            for id in owner.into_iter().chain(connection) {
                self.close(id);
            }
        }
    }

    /// Answers the write whose transaction was applied, and the reads that waited for it.
    fn answer_write(&mut self, id: ConnectionId, zxid: i64, applied: &Applied) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if connection.phase == Phase::Closing {
            return;
        }
        match connection.queue.front() {
            Some(Queued::Write { zxid: front, .. }) if *front == zxid => {}
            _ => return self.answer_write_later(id, zxid, applied),
        }
        if let Some(Queued::Write { xid, op, received_ms, .. }) = connection.queue.pop_front() {
            self.answer_applied(id, xid, op, applied, received_ms);
        }
        self.resume(id);
    }

    fn answer_applied(&mut self, id: ConnectionId, xid: i32, op: i32, applied: &Applied, received_ms: i64) {
        if op == op::CREATE_SESSION {
            self.count_answer(id, xid, op, received_ms);
            return self.answer_connect(id, true);
        }
        let mut body = std::mem::take(&mut self.body);
        body.clear();
        let multi = op == op::MULTI && applied.op == op::MULTI;
        if applied.err == 0 || multi {
            write_result(applied, op, &mut body);
        }
        let err = if multi { 0 } else { applied.err };
        self.answer(id, xid, op, err, &body, received_ms);
        self.body = body;
    }

    /// Answers a read that had to wait.
    fn answer_queued(&mut self, id: ConnectionId, frame: &[u8], received_ms: i64) {
        let mut reader = Reader::new(frame);
        if let Ok(header) = RequestHeader::read(&mut reader) {
            let request = read_request(header, &mut reader);
            self.answer_read(id, header, request, received_ms);
        }
    }

    fn authenticate(&mut self, id: ConnectionId, header: RequestHeader, scheme: &str, auth: &[u8]) {
        let bytes = scheme.len() + auth.len();
        let proved = match self.connections.get(&id) {
            Some(connection) if connection.has_too_many_ids(bytes) => Err(Code::AuthFailed),
            _ => self.options.authentication.authenticate(scheme, auth, self.ids_of(id)),
        };
        if scheme == "ensemble" {
            let all = self.options.authentication.ensemble_names.as_ref().is_some_and(Vec::is_empty);
            self.counters.figures.ensemble_auth(proved.is_ok(), all || auth.is_empty());
        }
        match proved {
            Ok(proved) => {
                if let Some(connection) = self.connections.get_mut(&id) {
                    proved.into_iter().for_each(|identity| connection.add_id(identity));
                }
                self.reply(id, header.xid, 0, 0, &[]);
            }
            Err(code) => {
                self.counters.auth_failed += 1;
                self.reply(id, header.xid, 0, code as i32, &[]);
                self.close(id);
            }
        }
    }

    fn remove_containers(&mut self) {
        let options = &self.options;
        let interval_ms = options.container_check_interval_ms.max(1);
        self.next_container_check_ms = self.now.monotonic_ms + interval_ms;
        let at_most = (options.container_max_per_minute as i64).saturating_mul(interval_ms) / 60_000;
        let paths: Vec<String> = self
            .tree
            .removable(self.now.wall_ms, options.container_max_never_used_ms)
            .into_iter()
            .take(at_most.max(1) as usize)
            .map(str::to_owned)
            .collect();
        let server = [Id::new("super", "")];
        for path in paths {
            let header = self.prep.next_header(0, 0, self.now.wall_ms);
            let request = Request::DeleteContainer { path: path.into() };
            let who = Requester { session_id: 0, ids: &server };
            let txn = self.prep.prepare(&self.tree, &self.access, who, &header, &request);
            // A container that got a child meanwhile stays.
            self.propose(
                header,
                txn.unwrap_or_else(|code| Txn::Error(code as i32)),
                None,
                op::DELETE_CONTAINER,
                0,
            );
        }
    }

    fn notify(&mut self, id: ConnectionId, event: EventType, path: &str, zxid: i64) {
        let limit_bytes = self.options.limits.unread_notification_bytes;
        if let Some(connection) = self.connections.get_mut(&id) {
            self.events.clear();
            write_event(&mut self.events, event, path, zxid);
            if connection.notify(&self.events, limit_bytes) {
                return self.drop_slow(id);
            }
            self.counters.traffic.sent += 1;
            self.counters.watches_fired += 1;
            self.counters.figures.notification(self.events.len());
        }
        self.mark_dirty(id);
    }

    fn fail(&mut self, id: ConnectionId, header: RequestHeader, code: Code) {
        self.answer(id, header.xid, header.op, code as i32, &[], self.now.monotonic_ms);
    }

    /// Answers a request, and counts it.
    fn answer(&mut self, id: ConnectionId, xid: i32, op: i32, err: i32, body: &[u8], received_ms: i64) {
        self.count_answer(id, xid, op, received_ms);
        self.reply(id, xid, self.tree.last_zxid(), err, body);
    }

    fn count_answer(&mut self, id: ConnectionId, xid: i32, op: i32, received_ms: i64) {
        let zxid = self.tree.last_zxid();
        let latency_ms = (self.now.monotonic_ms - received_ms).max(0) as u64;
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.traffic.answered(latency_ms);
            connection.last_op = op;
            // A ping's number is no client's: what `cons` tells is the last real one.
            if xid >= 0 {
                connection.last_cxid = xid;
            }
            connection.last_zxid = zxid;
            connection.last_latency_ms = latency_ms;
            connection.last_response_ms = self.now.wall_ms;
        }
        self.counters.traffic.answered(latency_ms);
        self.counters.figures.answered(op, latency_ms);
        *self.counters.requests_by_op.entry(Self::counted_op(op)).or_default() += 1;
    }

    fn reply(&mut self, id: ConnectionId, xid: i32, zxid: i64, err: i32, body: &[u8]) {
        if let Some(connection) = self.connections.get_mut(&id) {
            let out = &mut connection.out;
            out.reserve(20 + body.len());
            out.int(length_as_int(16 + body.len()));
            ReplyHeader { xid, zxid, err }.write(out);
            out.extend_from_slice(body);
            self.counters.figures.response(16 + body.len());
            connection.traffic.sent += 1;
            self.counters.traffic.sent += 1;
        }
        self.mark_dirty(id);
    }

    /// Whether [`Core::take_dirty`] has something.
    pub fn has_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// The share of new sessions that is refused by chance.
    pub fn connection_drop_share(&self) -> f64 {
        self.bucket.drop_share()
    }

    fn mark_dirty(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id)
            && !std::mem::replace(&mut connection.dirty, true)
        {
            self.dirty.push(id);
        }
    }
}

/// A request's body. A check by itself is no request: it has a meaning within a multi only, as in ZooKeeper 3.9.
fn read_request<'a>(
    header: RequestHeader,
    reader: &mut Reader<'a>,
) -> crate::jute::Result<Option<Request<'a>>> {
    if header.op == op::CHECK { Ok(None) } else { Request::read(header.op, reader) }
}

fn is_write(request: &Request) -> bool {
    matches!(
        request,
        Request::Create(_)
            | Request::Delete { .. }
            | Request::DeleteContainer { .. }
            | Request::SetData { .. }
            | Request::SetAcl { .. }
            | Request::Multi(_)
            | Request::Reconfig
            | Request::CloseSession
    )
}

/// Appends what `write` writes, with its length before it.
fn frame_into(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.int(0);
    write(out);
    let length = length_as_int(out.len() - start - 4);
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

fn write_event(out: &mut Vec<u8>, event: EventType, path: &str, zxid: i64) {
    frame_into(out, |out| {
        ReplyHeader { xid: xid::NOTIFICATION, zxid, err: 0 }.write(out);
        out.int(event as i32);
        out.int(STATE_SYNC_CONNECTED);
        out.string(path);
    });
}

/// The answer's body to a write of type `op`.
fn write_result(applied: &Applied, op: i32, body: &mut Vec<u8>) {
    let path = applied.path.as_deref().unwrap_or_default();
    let stat = applied.stat.unwrap_or_default();
    match op {
        op::CREATE => body.string(path),
        op::CREATE2 | op::CREATE_TTL | op::CREATE_CONTAINER => {
            body.string(path);
            stat.write(body);
        }
        op::SET_DATA | op::SET_ACL => stat.write(body),
        op::MULTI => {
            for part in &applied.parts {
                let (op, err) = match part.op {
                    op::ERROR => (op::ERROR, part.err),
                    op::CREATE_TTL | op::CREATE_CONTAINER => (op::CREATE2, 0),
                    op::DELETE_CONTAINER => (op::DELETE, 0),
                    op => (op, 0),
                };
                MultiHeader { op, done: false, err }.write(body);
                match op {
                    op::ERROR => body.int(err),
                    op::CHECK => {}
                    op => write_result(part, op, body),
                }
            }
            MultiHeader::END.write(body);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
