//! What one client, or all of them, may make the server hold.
//!
//! Where a limit is reached, a client that can wait is made to (it is not read from, and its requests stay in its socket), one request that
//! is too much is refused with an error, and a connection that nothing else helps against is closed.

use super::Core;
use super::connection::{Connection, Phase, Queued};
use crate::jute::Reader;
use crate::proto::{Code, RequestHeader, op};
use crate::tree::Applied;
use crate::watch::ConnectionId;

/// Limits of memory.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of all transactions that are proposed and not applied: at more, a client with an unanswered request is not read from.
    pub outstanding_bytes: usize,
    /// The longest answer. A longer one is an error (`BadArguments`).
    pub answer_bytes: usize,
    /// Notifications to a client that does not read: at more, it is closed. It will ask what it has missed when it comes back.
    pub unread_notification_bytes: usize,
    /// Paths that one connection watches, with what a watch costs besides. One more is an error (`ThrottledOp`).
    pub watch_bytes: usize,
    /// Bytes of all large requests at work (`largeRequestMaxBytes`): the connection that sends one more is closed.
    pub large_request_bytes: usize,
    /// From how many bytes on a request is large (`largeRequestThreshold`); `None`: none is.
    pub large_request_threshold: Option<usize>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            outstanding_bytes: 64 << 20,
            answer_bytes: 64 << 20,
            unread_notification_bytes: 8 << 20,
            watch_bytes: 64 << 20,
            large_request_bytes: 100 << 20,
            large_request_threshold: None,
        }
    }
}

/// How many identities a connection may prove, and their bytes: each request is checked against all of them, and an `auth` entry in a list
/// of permissions becomes all of them.
const MAX_IDENTITIES: usize = 64;
const MAX_IDENTITY_BYTES: usize = 16 << 10;

impl Connection {
    /// Whether one more identity of this many bytes is too much.
    pub(super) fn has_too_many_ids(&self, more_bytes: usize) -> bool {
        let bytes = |id: &crate::acl::Id| id.scheme.len() + id.id.len();
        self.ids.len() >= MAX_IDENTITIES
            || self.ids.iter().map(bytes).sum::<usize>() + more_bytes > MAX_IDENTITY_BYTES
    }

    /// Puts a notification on its way, unless the client is closing. Whether too much of them has not been read: then it is closing now,
    /// and gets nothing any more.
    pub(super) fn notify(&mut self, event: &[u8], limit_bytes: usize) -> bool {
        if self.phase == Phase::Closing {
            return false;
        }
        if self.out.is_empty() {
            self.notification_bytes = 0;
        }
        self.notification_bytes += event.len();
        // What is sent goes from the front, answers and notifications alike: the smaller of both is what surely has not been read.
        if self.notification_bytes.min(self.unsent_bytes()) > limit_bytes {
            self.phase = Phase::Closing;
            (self.out, self.sent) = (Vec::new(), 0);
            return true;
        }
        self.out.extend_from_slice(event);
        self.traffic.sent += 1;
        false
    }
}

impl Core {
    /// Whether a client has to wait before more is read from it.
    pub fn throttled(&self, id: ConnectionId) -> bool {
        let options = &self.options;
        let busy = self.proposed.len() >= options.max_outstanding
            || self.proposed_bytes >= options.limits.outstanding_bytes;
        self.connections.get(&id).is_some_and(|connection| {
            connection.outstanding() >= options.max_outstanding
                || connection.queued_bytes + connection.unsent_bytes() >= options.max_queued_bytes
                // A client that waits for nothing gets its turn even so: none is kept out altogether.
                || busy && connection.outstanding() > 0
        })
    }

    /// A packet came that is longer than the limit; only its beginning is here. Answers an error where its header can be read.
    pub fn oversized_packet(&mut self, id: ConnectionId, beginning: &[u8]) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        match (connection.phase, RequestHeader::read(&mut Reader::new(beginning))) {
            (Phase::Closing, _) => {}
            (Phase::New, _) | (_, Err(_)) => self.close(id),
            (Phase::Open, Ok(header)) => self.refuse(id, header, Code::BadArguments),
        }
    }

    /// Answers a request with an error, in its turn.
    pub(super) fn refuse(&mut self, id: ConnectionId, header: RequestHeader, code: Code) {
        let RequestHeader { xid, op } = header;
        match self.connections.get_mut(&id) {
            Some(connection) if !connection.queue.is_empty() => {
                let received_ms = self.now.monotonic_ms;
                connection.queue.push_back(Queued::Refused { xid, op, code, received_ms });
            }
            _ => self.fail(id, header, code),
        }
    }

    /// The writes that a connection waits for could not be logged.
    pub(super) fn refuse_queued_writes(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        for queued in &mut connection.queue {
            match *queued {
                Queued::Write { op: op::CREATE_SESSION, .. } => return self.close(id),
                Queued::Write { xid, op, received_ms, .. } => {
                    *queued = Queued::Refused { xid, op, code: Code::NotReadOnly, received_ms };
                }
                _ => {}
            }
        }
        self.resume(id);
    }

    /// A write is done, but reads before it wait until the client takes their answers: keeps its answer behind them.
    pub(super) fn answer_write_later(&mut self, id: ConnectionId, zxid: i64, applied: &Applied) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let is_it = |queued: &Queued| matches!(queued, Queued::Write { zxid: of, .. } if *of == zxid);
        // The connection was closed and its queue with it.
        let Some(at) = connection.queue.iter().position(is_it) else { return };
        let Queued::Write { xid, op, received_ms, .. } = connection.queue[at] else { return };
        // What has gone of it is counted beside it, and stays so.
        let out = std::mem::take(&mut connection.out);
        self.answer_applied(id, xid, op, applied, received_ms);
        if let Some(connection) = self.connections.get_mut(&id) {
            let frames = std::mem::replace(&mut connection.out, out).into_boxed_slice();
            connection.queued_bytes += frames.len();
            connection.queue[at] = Queued::Answer { frames };
        }
    }

    /// Whether a request of this many bytes is large, and one too many. Its connection is closed then, as with Apache.
    pub(super) fn refuses_large_request(&mut self, id: ConnectionId, bytes: usize) -> bool {
        let limits = &self.options.limits;
        let refused = limits.large_request_threshold.is_some_and(|threshold| bytes > threshold)
            && self.proposed_large_bytes + bytes > limits.large_request_bytes;
        if refused {
            tracing::warn!(bytes, "closed a client: too many large requests are at work");
            self.counters.large_requests_rejected += 1;
            self.close(id);
        }
        refused
    }

    /// A transaction of this many bytes was proposed.
    pub(super) fn count_proposed(&mut self, bytes: usize) {
        self.proposed_bytes += bytes;
        if self.is_large(bytes) {
            self.proposed_large_bytes += bytes;
        }
    }

    /// A transaction of this many bytes is no longer proposed.
    pub(super) fn count_applied(&mut self, bytes: usize) {
        self.proposed_bytes -= bytes;
        if self.is_large(bytes) {
            self.proposed_large_bytes -= bytes;
        }
    }

    /// Nothing is proposed.
    pub(super) fn count_nothing_proposed(&mut self) {
        (self.proposed_bytes, self.proposed_large_bytes) = (0, 0);
    }

    fn is_large(&self, bytes: usize) -> bool {
        self.options.limits.large_request_threshold.is_some_and(|threshold| bytes > threshold)
    }

    /// Whether an answer has become too long.
    pub(super) fn check_answer(&self, body: &[u8]) -> Result<(), Code> {
        match body.len() > self.options.limits.answer_bytes {
            true => Err(Code::BadArguments),
            false => Ok(()),
        }
    }

    /// Sets a watch, if the connection may have one more.
    pub(super) fn watch(&mut self, id: ConnectionId, path: &str, bits: u8) -> Result<(), Code> {
        match self.watches.add_within(path, id, bits, self.options.limits.watch_bytes) {
            true => Ok(()),
            false => {
                self.counters.watches_refused += 1;
                Err(Code::ThrottledOp)
            }
        }
    }

    /// A client that did not read its notifications is closing: lets go of all that is held for it.
    pub(super) fn drop_slow(&mut self, id: ConnectionId) {
        self.counters.slow_clients_closed += 1;
        if let Some(connection) = self.connections.get(&id) {
            tracing::warn!(peer = %connection.peer, "closed a client that does not read its notifications");
        }
        self.close(id);
    }

    /// Answers reads that had to wait, as far as the client takes their answers. Must be called when bytes have gone out to a client.
    pub fn resume(&mut self, id: ConnectionId) {
        while let Some(connection) = self.connections.get_mut(&id) {
            if connection.unsent_bytes() >= self.options.max_queued_bytes {
                return;
            }
            match connection.queue.front() {
                None | Some(Queued::Write { .. }) => return,
                Some(_) => {}
            }
            match connection.queue.pop_front() {
                Some(Queued::Read { frame, received_ms }) => {
                    connection.queued_bytes -= frame.len();
                    self.answer_queued(id, &frame, received_ms);
                }
                Some(Queued::Refused { xid, op, code, received_ms }) => {
                    self.answer(id, xid, op, code as i32, &[], received_ms);
                }
                Some(Queued::Answer { frames }) => {
                    connection.queued_bytes -= frames.len();
                    connection.out.extend_from_slice(&frames);
                    self.mark_dirty(id);
                }
                None | Some(Queued::Write { .. }) => return,
            }
        }
    }

    /// The type under which a request is counted: types that ZooKeeper does not know count as one.
    pub(super) fn counted_op(op: i32) -> i32 {
        if op::name(op) == "unknown" { op::ERROR } else { op }
    }
}
