//! What goes out: answers and notifications, framed, and counted.

use super::*;

impl Core {
    pub(super) fn notify(&mut self, id: ConnectionId, event: EventType, path: &str, zxid: i64) {
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

    pub(super) fn fail(&mut self, id: ConnectionId, header: RequestHeader, code: Code) {
        self.answer(id, header.xid, header.op, code as i32, &[], self.now.monotonic_ms);
    }

    /// Answers a request, and counts it.
    pub(super) fn answer(
        &mut self,
        id: ConnectionId,
        xid: i32,
        op: i32,
        err: i32,
        body: &[u8],
        received_ms: i64,
    ) {
        self.count_answer(id, xid, op, received_ms);
        self.reply(id, xid, self.tree.last_zxid(), err, body);
    }

    pub(super) fn count_answer(&mut self, id: ConnectionId, xid: i32, op: i32, received_ms: i64) {
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

    pub(super) fn reply(&mut self, id: ConnectionId, xid: i32, zxid: i64, err: i32, body: &[u8]) {
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

    /// Answers who the client is. It may say so along with its first packet, and that one is answered first.
    pub(super) fn reply_behind_connect(&mut self, id: ConnectionId, xid: i32, err: i32, body: &[u8]) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let connecting =
            matches!(connection.queue.front(), Some(Queued::Write { op: op::CREATE_SESSION, .. }));
        if !connecting {
            return self.reply(id, xid, 0, err, body);
        }
        let out = std::mem::take(&mut connection.out);
        self.reply(id, xid, 0, err, body);
        if let Some(connection) = self.connections.get_mut(&id) {
            let frames = std::mem::replace(&mut connection.out, out).into_boxed_slice();
            connection.queued_bytes += frames.len();
            connection.queue.push_back(Queued::Answer { frames });
        }
    }

    pub(super) fn mark_dirty(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id)
            && !std::mem::replace(&mut connection.dirty, true)
        {
            self.dirty.push(id);
        }
    }
}

/// Appends what `write` writes, with its length before it.
pub(super) fn frame_into(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.int(0);
    write(out);
    let length = length_as_int(out.len() - start - 4);
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

pub(super) fn write_event(out: &mut Vec<u8>, event: EventType, path: &str, zxid: i64) {
    frame_into(out, |out| {
        ReplyHeader { xid: xid::NOTIFICATION, zxid, err: 0 }.write(out);
        out.int(event as i32);
        out.int(STATE_SYNC_CONNECTED);
        out.string(path);
    });
}
