//! A small blocking client that speaks the protocol as it is on the wire: for the shell, the load generator and tests.
//!
//! [`Client`] asks and is answered, in order: [`Client::request`] for one request, [`Client::send`] and [`Client::receive`] for many
//! under way. What the server says is handed on as it is: a refusal is a [`Reply`] with its code, or [`Error::Refused`] from the typed
//! helpers (module `operations`). [`Wire`] below it sends and reads any bytes. Nothing reconnects by itself: [`Client::reconnect`] does.

mod address;
mod answer;
mod chroot;
mod error;
mod keep_alive;
mod operations;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

pub use address::{DEFAULT_PORT, Servers};
pub use answer::{Answer, Identity, Notification, Part, Reply};
pub use error::{Error, Result, Unanswered};
pub use operations::{AddWatchMode, Create, check_request, create_request};
pub use wire::Wire;

use crate::jute::{Reader, Write};
use crate::proto::{ConnectRequest, ConnectResponse, ReplyHeader, Request, op, xid};
use chroot::Chroot;
use keep_alive::KeepAlive;

/// A session: what re-attaches to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its number.
    pub id: i64,
    /// Its password.
    pub passwd: Vec<u8>,
}

/// How to connect.
#[derive(Debug, Clone)]
pub struct Options {
    /// Session timeout to ask for.
    pub timeout: Duration,
    /// How long to wait for a connection and the answer to the first packet, each, per server.
    pub connect_timeout: Duration,
    /// How long to wait for an answer.
    pub request_timeout: Duration,
    /// The session to re-attach to; `None` for a new one.
    pub session: Option<Session>,
    /// The newest transaction known.
    pub last_zxid_seen: i64,
    /// Whether a read-only server will do; `None` leaves the field out, as clients before 3.4 do.
    pub read_only: Option<bool>,
    /// Whether a thread pings when nothing is sent for a third of the session timeout.
    pub keep_alive: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(30),
            session: None,
            last_zxid_seen: 0,
            read_only: Some(false),
            keep_alive: true,
        }
    }
}

/// A request that has no answer yet.
#[derive(Debug, Clone, Copy)]
struct Pending {
    xid: i32,
    op: i32,
}

/// One connection, and the session on it.
#[derive(Debug)]
pub struct Client {
    servers: Servers,
    options: Options,
    chroot: Chroot,
    wire: Wire,
    session: Session,
    timeout: Duration,
    read_only: bool,
    last_zxid: i64,
    next_xid: i32,
    pending: VecDeque<Pending>,
    notifications: VecDeque<Notification>,
    pings: Option<KeepAlive>,
}

impl Client {
    /// Connects to one of `servers` (`host:port,host:port/chroot`) and opens a session.
    pub fn connect(servers: &str, timeout: Duration) -> Result<Client> {
        Client::connect_with(servers, Options { timeout, ..Options::default() })
    }

    /// Connects as `options` say.
    pub fn connect_with(servers: &str, options: Options) -> Result<Client> {
        let servers: Servers = servers.parse()?;
        let chroot = Chroot::new(servers.chroot());
        let (wire, granted) = open(&servers, &options)?;
        let mut client = Client {
            chroot,
            wire,
            session: granted.session,
            timeout: granted.timeout,
            read_only: granted.read_only,
            last_zxid: options.last_zxid_seen,
            next_xid: 1,
            pending: VecDeque::new(),
            notifications: VecDeque::new(),
            pings: None,
            servers,
            options,
        };
        client.start_pings()?;
        Ok(client)
    }

    /// Connects again, to the same session. Requests without an answer stay without; the server has forgotten the watches and the
    /// identities of the connection.
    pub fn reconnect(&mut self) -> Result<()> {
        self.pings = None;
        let options = Options {
            session: Some(self.session.clone()),
            last_zxid_seen: self.last_zxid,
            ..self.options.clone()
        };
        self.wire.shut_down();
        let (wire, granted) = open(&self.servers, &options)?;
        self.wire = wire;
        self.session = granted.session;
        self.timeout = granted.timeout;
        self.read_only = granted.read_only;
        self.pending.clear();
        self.start_pings()
    }

    fn start_pings(&mut self) -> Result<()> {
        if self.options.keep_alive {
            self.pings = Some(KeepAlive::start(self.wire.clone_for_writing(), self.timeout / 3)?);
        }
        Ok(())
    }

    /// The session.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The session timeout that the server granted.
    pub fn session_timeout(&self) -> Duration {
        self.timeout
    }

    /// Whether the server is read-only.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// The newest transaction that an answer has told of.
    pub fn last_zxid(&self) -> i64 {
        self.last_zxid
    }

    /// The servers asked for.
    pub fn servers(&self) -> &Servers {
        &self.servers
    }

    /// The server connected to.
    pub fn peer(&self) -> Result<std::net::SocketAddr> {
        Ok(self.wire.peer()?)
    }

    /// The connection itself, to send what no client would. Answers read there are lost for [`Client::receive`].
    pub fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }

    /// How many requests have no answer yet.
    pub fn unanswered(&self) -> usize {
        self.pending.len()
    }

    /// Asks, and waits for the answer. The server's refusal is no error here, but [`Reply::err`].
    pub fn request(&mut self, request: &Request) -> Result<Reply> {
        let sent = self.send(request)?;
        self.receive_until(sent)
    }

    /// As [`Client::request`], with any type and any bytes for a body.
    pub fn request_raw(&mut self, op: i32, body: &[u8]) -> Result<Reply> {
        let sent = self.send_raw(op, body)?;
        self.receive_until(sent)
    }

    fn receive_until(&mut self, sent: i32) -> Result<Reply> {
        loop {
            let reply = self.receive()?;
            if reply.xid == sent {
                return Ok(reply);
            }
        }
    }

    /// Asks without waiting; returns the request's number.
    pub fn send(&mut self, request: &Request) -> Result<i32> {
        let mut body = Vec::with_capacity(128);
        match self.chroot.is_empty() {
            true => request.write(&mut body),
            false => self.chroot.enter(request).write(&mut body),
        }
        self.send_raw(request.op(), &body)
    }

    /// As [`Client::send`], with any type and any bytes for a body.
    pub fn send_raw(&mut self, op: i32, body: &[u8]) -> Result<i32> {
        let xid = match op {
            op::PING => xid::PING,
            op::AUTH => xid::AUTH,
            op::SET_WATCHES | op::SET_WATCHES2 => xid::SET_WATCHES,
            _ => {
                let xid = self.next_xid;
                self.next_xid = if xid == i32::MAX { 1 } else { xid + 1 };
                xid
            }
        };
        self.send_with_xid(xid, op, body)?;
        Ok(xid)
    }

    /// As [`Client::send_raw`], with any number.
    pub fn send_with_xid(&mut self, xid: i32, op: i32, body: &[u8]) -> Result<()> {
        let mut frame = Vec::with_capacity(body.len() + 8);
        frame.int(xid);
        frame.int(op);
        frame.extend_from_slice(body);
        self.wire.send_frame(&frame)?;
        self.pending.push_back(Pending { xid, op });
        Ok(())
    }

    /// The answer to the oldest request without one. Notifications that arrive before it are queued.
    pub fn receive(&mut self) -> Result<Reply> {
        let within = self.options.request_timeout;
        self.receive_within(within)?.ok_or(Error::TimedOut(within))
    }

    /// As [`Client::receive`], and `None` if no answer comes in time.
    pub fn receive_within(&mut self, within: Duration) -> Result<Option<Reply>> {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(frame) = self.wire.read_frame(left)? else { return Ok(None) };
            if let Some(reply) = self.take(&frame)? {
                return Ok(Some(reply));
            }
        }
    }

    /// The oldest notification not yet taken, or the next that comes in time.
    pub fn notification(&mut self, within: Duration) -> Result<Option<Notification>> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(first) = self.notifications.pop_front() {
                return Ok(Some(first));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(frame) = self.wire.read_frame(left)? else { return Ok(None) };
            self.take(&frame)?;
        }
    }

    /// The notifications that came before the last answer and have not been taken.
    pub fn queued_notifications(&mut self) -> Vec<Notification> {
        self.notifications.drain(..).collect()
    }

    /// Takes a frame: a notification is queued, an answer returned.
    fn take(&mut self, frame: &[u8]) -> Result<Option<Reply>> {
        let mut reader = Reader::new(frame);
        let header = ReplyHeader::read(&mut reader)?;
        if header.xid == xid::NOTIFICATION {
            let mut notification = Notification::read(header.zxid, &mut reader)?;
            self.chroot.leave(&mut notification.path);
            self.notifications.push_back(notification);
            return Ok(None);
        }
        if header.zxid > 0 {
            self.last_zxid = header.zxid;
        }
        // The server answers these as they come in, ahead of writes that are under way.
        let ahead = |pending: &Pending| matches!(pending.op, op::AUTH | op::PING | op::SASL);
        let found = self.pending.iter().position(|pending| pending.xid == header.xid);
        let pending = match found {
            Some(at) if at == 0 || ahead(&self.pending[at]) => self.pending.remove(at),
            None if header.xid == xid::PING => return Ok(None),
            _ => None,
        };
        let Some(pending) = pending else {
            let wanted = Unanswered(self.pending.front().map(|pending| pending.xid));
            return Err(Error::OutOfOrder { got: header.xid, wanted });
        };
        let mut answer = Answer::read(pending.op, &mut reader)?;
        if !self.chroot.is_empty() {
            answer.for_each_path(&mut |path| self.chroot.leave(path));
        }
        Ok(Some(Reply {
            xid: header.xid,
            op: pending.op,
            zxid: header.zxid,
            err: header.err,
            answer,
            body: frame[frame.len().min(16)..].to_vec(),
        }))
    }

    /// Ends the session and waits for the server's word on it.
    pub fn close(mut self) -> Result<()> {
        self.request(&Request::CloseSession)?;
        Ok(())
    }

    /// Drops the connection and leaves the session as it is, to be re-attached or to expire.
    pub fn abandon(mut self) -> Session {
        self.pings = None;
        self.wire.shut_down();
        self.session.clone()
    }
}

/// What the server granted.
struct Granted {
    session: Session,
    timeout: Duration,
    read_only: bool,
}

fn open(servers: &Servers, options: &Options) -> Result<(Wire, Granted)> {
    let mut failure = None;
    for server in servers.hosts() {
        match Wire::connect(server, options.connect_timeout) {
            Ok(mut wire) => match greet(&mut wire, options) {
                Ok(granted) => return Ok((wire, granted)),
                Err(error @ Error::SessionExpired) => return Err(error),
                Err(error) => failure = Some(error),
            },
            Err(source) => failure = Some(Error::Connect { server: server.clone(), source }),
        }
    }
    Err(failure.unwrap_or_else(|| Error::Address(String::new())))
}

fn greet(wire: &mut Wire, options: &Options) -> Result<Granted> {
    let (session_id, passwd) = match &options.session {
        Some(session) => (session.id, session.passwd.as_slice()),
        None => (0, &[0; 16][..]),
    };
    let frame = wire.greet(
        &ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: options.last_zxid_seen,
            timeout_ms: i32::try_from(options.timeout.as_millis()).unwrap_or(i32::MAX),
            session_id,
            passwd,
            read_only: options.read_only,
        },
        options.connect_timeout,
    )?;
    let response = ConnectResponse::read(&mut Reader::new(&frame))?;
    match u64::try_from(response.timeout_ms) {
        Ok(timeout_ms @ 1..) => Ok(Granted {
            session: Session { id: response.session_id, passwd: response.passwd.to_vec() },
            timeout: Duration::from_millis(timeout_ms),
            read_only: response.read_only.unwrap_or(false),
        }),
        _ => Err(Error::SessionExpired),
    }
}
