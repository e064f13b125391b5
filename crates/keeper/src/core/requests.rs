//! What comes in: the first packet of a connection, and the requests behind it, each answered at once, proposed, or queued behind earlier
//! writes of its session.

use super::answers::frame_into;
use super::*;

impl Core {
    /// The first packet: a new session, or one to go on with.
    pub(super) fn connect(&mut self, id: ConnectionId, frame: &[u8]) {
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

    pub(super) fn answer_connect(&mut self, id: ConnectionId, valid: bool) {
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
    pub(super) fn request(&mut self, id: ConnectionId, frame: &[u8], received_ms: i64) {
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

    pub(super) fn answer_read(
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

    pub(super) fn answer_ping(&mut self, id: ConnectionId) {
        self.answer(id, xid::PING, op::PING, 0, &[], self.now.monotonic_ms);
    }

    pub(super) fn write(
        &mut self,
        id: ConnectionId,
        header: RequestHeader,
        request: &Request,
        received_ms: i64,
    ) {
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
    pub(super) fn write_error(
        &mut self,
        id: ConnectionId,
        header: RequestHeader,
        code: Code,
        received_ms: i64,
    ) {
        if self.read_only {
            return self.refuse(id, header, Code::NotReadOnly);
        }
        let txn_header = self.prep.next_header(self.session_of(id), header.xid, self.now.wall_ms);
        if self.options.audit && header.op == op::MULTI {
            self.auditing = Some(Box::new(Audited::Multi(Vec::new())));
        }
        self.propose_for(txn_header, Txn::Error(code as i32), id, header.op, header.xid, received_ms);
    }

    pub(super) fn authenticate(
        &mut self,
        id: ConnectionId,
        header: RequestHeader,
        scheme: &str,
        auth: &[u8],
    ) {
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
                self.reply_behind_connect(id, header.xid, 0, &[]);
            }
            Err(code) => {
                self.counters.auth_failed += 1;
                self.reply(id, header.xid, 0, code as i32, &[]);
                self.close(id);
            }
        }
    }
}

/// A request's body. A check by itself is no request: it has a meaning within a multi only, as in ZooKeeper 3.9.
pub(super) fn read_request<'a>(
    header: RequestHeader,
    reader: &mut Reader<'a>,
) -> crate::jute::Result<Option<Request<'a>>> {
    if header.op == op::CHECK { Ok(None) } else { Request::read(header.op, reader) }
}

pub(super) fn is_write(request: &Request) -> bool {
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
