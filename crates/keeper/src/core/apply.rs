//! From a transaction to its answer: proposed, and once it is durable applied, its watchers told and its client answered, with the reads
//! that waited for it.

use super::answers::write_event;
use super::requests::read_request;
use super::*;

impl Core {
    pub(super) fn propose_close(
        &mut self,
        session_id: i64,
        cxid: i32,
        asked_by: Option<(ConnectionId, i64)>,
    ) {
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

    pub(super) fn propose_for(
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

    pub(super) fn propose(
        &mut self,
        header: TxnHeader,
        txn: Txn,
        id: Option<ConnectionId>,
        op: i32,
        xid: i32,
    ) {
        match id {
            Some(id) => self.propose_for(header, txn, id, op, xid, self.now.monotonic_ms),
            None => self.log(header, txn, None),
        }
    }

    pub(super) fn log(&mut self, header: TxnHeader, txn: Txn, connection: Option<ConnectionId>) {
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

    pub(super) fn apply(&mut self, proposed: Proposed) {
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
    pub(super) fn answer_write(&mut self, id: ConnectionId, zxid: i64, applied: &Applied) {
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

    pub(super) fn answer_applied(
        &mut self,
        id: ConnectionId,
        xid: i32,
        op: i32,
        applied: &Applied,
        received_ms: i64,
    ) {
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
    pub(super) fn answer_queued(&mut self, id: ConnectionId, frame: &[u8], received_ms: i64) {
        let mut reader = Reader::new(frame);
        if let Ok(header) = RequestHeader::read(&mut reader) {
            let request = read_request(header, &mut reader);
            self.answer_read(id, header, request, received_ms);
        }
    }

    pub(super) fn remove_containers(&mut self) {
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
}

/// The answer's body to a write of type `op`.
pub(super) fn write_result(applied: &Applied, op: i32, body: &mut Vec<u8>) {
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
