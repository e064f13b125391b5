//! The server as a pure state machine: packets and the passing of time in; bytes to send and transactions to log out.
//!
//! The life of a write: a packet comes ([`Core::packet`]), becomes a transaction ([`prep`]) and a proposal ([`Core::take_proposals`]); when
//! the shell has logged it durably ([`Core::committed`]), it is applied, its watchers are told, and its client is answered.
//!
//! `requests` takes what comes in, `prep` makes transactions of writes, `apply` carries them to their answers, `reads` answers the rest,
//! `answers` sends; `limits` and `throttle` keep all of it bounded.
//!
//! Invariants:
//! - nothing is applied, shown or answered before it is durable;
//! - a client is answered in the order of its requests; a read waits for earlier writes of its own session, and for nothing else;
//! - a notification goes out before the answer of any read that could see the change;
//! - each session's end is one transaction, whether the client, silence or a server command ended it.

mod answers;
mod apply;
mod audit;
mod connection;
mod limits;
mod passwd;
mod prep;
mod reads;
mod requests;
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

    /// A time of the monotonic clock as a date, as Java writes it, in UTC.
    pub fn wall_time_of(&self, monotonic_ms: i64) -> String {
        crate::time::date(self.now.wall_ms + monotonic_ms - self.now.monotonic_ms)
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

    /// Whether [`Core::take_dirty`] has something.
    pub fn has_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// The share of new sessions that is refused by chance.
    pub fn connection_drop_share(&self) -> f64 {
        self.bucket.drop_share()
    }
}

#[cfg(test)]
mod tests;
