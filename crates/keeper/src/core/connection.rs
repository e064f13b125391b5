//! A connection as the core sees it: its session, who it is, what it waits for, and what goes out to it.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use crate::access::ip_identity;
use crate::acl::Id;
use crate::proto::Code;
use crate::sasl::SaslServer;

/// A request that has not been answered, in the order of the requests.
#[derive(Debug)]
pub(super) enum Queued {
    /// A write, which is answered when its transaction is applied.
    Write { zxid: i64, xid: i32, op: i32, received_ms: i64 },
    /// A read that came behind a write of its own session, whole.
    Read { frame: Box<[u8]>, received_ms: i64 },
    /// The answer of a write that is done, behind reads that wait until the client takes their answers.
    Answer { frames: Box<[u8]> },
    /// A request that is refused in its turn.
    Refused { xid: i32, op: i32, code: Code, received_ms: i64 },
}

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nothing has come yet.
    New,
    /// It has a session, or one is being created for it.
    Open,
    /// Nothing that it sends counts any more; it closes when what is in `out` has gone.
    Closing,
}

/// Counts of a connection or a server, as `cons` and `srvr` print them. Latencies in ms.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs)]
pub struct Traffic {
    pub received: u64,
    pub sent: u64,
    pub requests: u64,
    pub latency_total_ms: u64,
    pub latency_min_ms: Option<u64>,
    pub latency_max_ms: u64,
}

impl Traffic {
    /// A request was answered after this time.
    pub fn answered(&mut self, latency_ms: u64) {
        self.requests += 1;
        self.latency_total_ms += latency_ms;
        self.latency_min_ms = Some(self.latency_min_ms.map_or(latency_ms, |min| min.min(latency_ms)));
        self.latency_max_ms = self.latency_max_ms.max(latency_ms);
    }

    /// The mean latency as ZooKeeper tells it, to four places.
    pub fn latency_rounded_ms(&self) -> f64 {
        (self.latency_avg_ms() * 10_000.0).round() / 10_000.0
    }

    /// The mean latency.
    pub fn latency_avg_ms(&self) -> f64 {
        if self.requests == 0 { 0.0 } else { self.latency_total_ms as f64 / self.requests as f64 }
    }
}

/// A client's connection.
#[derive(Debug)]
pub struct Connection {
    /// The client's address.
    pub peer: IpAddr,
    /// The client's port.
    pub peer_port: u16,
    /// Whether it came over TLS.
    pub secure: bool,
    /// How far it is.
    pub phase: Phase,
    /// Its session, or 0.
    pub session_id: i64,
    /// Its session's timeout in ms.
    pub timeout_ms: i32,
    /// Whom it has proved to be; `ip:<address>` from the start.
    pub ids: Vec<Id>,
    /// Bytes to be sent.
    pub out: Vec<u8>,
    /// How many of them have been sent.
    pub(super) sent: usize,
    /// Whether the client knows the read-only flag of the connect packets.
    pub(super) knows_read_only: bool,
    /// How far its SASL exchange is, if it has begun one.
    pub(super) sasl: Option<SaslServer>,
    pub(super) queue: VecDeque<Queued>,
    pub(super) queued_bytes: usize,
    /// Bytes of notifications since `out` was empty.
    pub(super) notification_bytes: usize,
    /// Whether the connection is in the core's list of those with something to send.
    pub(super) dirty: bool,
    /// What `cons` prints.
    pub traffic: Traffic,
    /// When it was opened, ms since 1970.
    pub established_ms: i64,
    /// The last request's type, id, zxid and the time of its answer.
    pub last_op: i32,
    #[allow(missing_docs)]
    pub last_cxid: i32,
    #[allow(missing_docs)]
    pub last_zxid: i64,
    #[allow(missing_docs)]
    pub last_response_ms: i64,
    #[allow(missing_docs)]
    pub last_latency_ms: u64,
}

impl Connection {
    /// Where the client is.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.peer, self.peer_port)
    }

    pub(super) fn new(peer: IpAddr, peer_port: u16, secure: bool, now_wall_ms: i64) -> Self {
        Connection {
            peer,
            peer_port,
            secure,
            phase: Phase::New,
            session_id: 0,
            timeout_ms: 0,
            ids: vec![ip_identity(peer)],
            out: Vec::new(),
            sent: 0,
            knows_read_only: true,
            sasl: None,
            queue: VecDeque::new(),
            queued_bytes: 0,
            notification_bytes: 0,
            dirty: false,
            traffic: Traffic::default(),
            established_ms: now_wall_ms,
            last_op: 0,
            last_cxid: -1,
            last_zxid: -1,
            last_response_ms: 0,
            last_latency_ms: 0,
        }
    }

    /// Bytes that the client has not taken.
    pub fn unsent_bytes(&self) -> usize {
        self.out.len().saturating_sub(self.sent)
    }

    /// Number of requests that wait for their answer.
    pub fn outstanding(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn add_id(&mut self, id: Id) {
        if !self.ids.contains(&id) {
            self.ids.push(id);
        }
    }
}
