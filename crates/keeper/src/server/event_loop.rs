//! The loop that runs the core and all sockets.
//!
//! Each turn: take what has come, let the core work on it, hand its transactions to the log, send its answers. Sockets are
//! edge-triggered: one is read until it has no more, or, for fairness, a few buffers full and then again in the next turn. A client that
//! must wait (see [`Core::throttled`]) is not read from until its answers are out.

use std::collections::{BTreeMap, HashMap};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token, Waker};

use super::deadlines::{ACCEPT_AGAIN, Deadlines};
use super::durability::{Durability, Outcome};
use super::framing::MAX_FIRST_PACKET_BYTES;
use super::sockets::{Input, Item, Socket, Transport};
use super::tls_session::TlsSession;
use super::{Command, ServerError, ServerOptions};
use crate::core::{Connection, Core, Now, Phase};
use crate::four_letter::ServerInfo;
use crate::storage::StorageError;
use crate::tree::Tree;
use crate::watch::ConnectionId;

const LISTENER: Token = Token(0);
const SECURE_LISTENER: Token = Token(1);
const WAKER: Token = Token(2);
/// Sockets' tokens begin here.
const FIRST_SOCKET: usize = 16;
/// Bytes read at once, and how often in a turn.
const READ_BYTES: usize = 64 * 1024;
const READS_A_TURN: usize = 4;
/// An answer's buffer that is larger than this is given back when it has been sent.
const KEPT_OUT_BYTES: usize = 4096;
/// The loop looks at the clock at least this often.
const LONGEST_WAIT_MS: i64 = 60_000;
/// Events taken in a turn.
const EVENTS_A_TURN: usize = 1024;

/// See the module's page.
pub(super) struct EventLoop {
    poll: Poll,
    waker: Arc<Waker>,
    listener: Option<TcpListener>,
    secure_listener: Option<TcpListener>,
    commands: Receiver<Command>,
    sockets: Vec<Option<Socket>>,
    free: Vec<usize>,
    slots: HashMap<ConnectionId, usize>,
    per_address: HashMap<IpAddr, usize>,
    /// Connections of `listener` and of `secure_listener`.
    per_listener: [usize; 2],
    /// Sockets to read in the next turn without an event: more was there.
    again: Vec<usize>,
    deadlines: Deadlines,
    /// When clients are accepted without an event, as the system had refused it.
    accept_again: Option<Instant>,
    core: Core,
    durability: Option<Durability>,
    options: ServerOptions,
    info: ServerInfo,
    started: Instant,
    buffer: Box<[u8]>,
    /// What TLS decrypted.
    plain: Vec<u8>,
    stopping: bool,
}

impl EventLoop {
    pub(super) fn new(options: ServerOptions, commands: Receiver<Command>) -> Result<Self, ServerError> {
        let system = |doing| move |source| ServerError::System { doing, source };
        let poll = Poll::new().map_err(system("create an event queue"))?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER).map_err(system("create a waker"))?);
        let mut listener = listen(&options.client_addresses, options.listen_backlog)?;
        let mut secure_listener = listen(&options.secure_client_addresses, options.listen_backlog)?;
        for (listener, token) in [(&mut listener, LISTENER), (&mut secure_listener, SECURE_LISTENER)] {
            if let Some(bound) = listener {
                poll.registry()
                    .register(bound, token, Interest::READABLE)
                    .map_err(system("wait for clients"))?;
            }
        }
        let port = |listener: &Option<TcpListener>| {
            listener
                .as_ref()
                .and_then(|listener| listener.local_addr().ok())
                .map_or(-1, |address| address.port().into())
        };
        let (durability, tree, sessions, mismatches) = match options.storage.clone() {
            None => (None, Tree::new(true), Default::default(), 0),
            Some(storage) => {
                let (durability, recovered) = Durability::start(storage, waker.clone())?;
                (Some(durability), recovered.tree, recovered.sessions, recovered.digest_mismatches)
            }
        };
        let info = ServerInfo {
            client_port: port(&listener),
            secure_client_port: port(&secure_listener),
            data_dir: durability.as_ref().map(|durability| durability.dirs().snapshots.clone()),
            data_log_dir: durability.as_ref().map(|durability| durability.dirs().logs.clone()),
            max_connections_per_address: options.max_connections_per_address,
            settings: options.settings.clone(),
            initial_configuration: options.initial_configuration.clone(),
        };
        let started = Instant::now();
        let now = now(started);
        let mut core = Core::new(tree, sessions, options.core.clone(), now);
        core.counters_mut().digest_mismatches += mismatches as u64;
        if let Some(durability) = &durability {
            core.counters_mut().figures.storage = durability.figures();
        }
        Ok(EventLoop {
            poll,
            waker,
            listener,
            secure_listener,
            commands,
            sockets: Vec::new(),
            free: Vec::new(),
            slots: HashMap::new(),
            per_address: HashMap::new(),
            per_listener: [0; 2],
            again: Vec::new(),
            deadlines: Deadlines::new(options.sessionless_timeout),
            accept_again: None,
            core,
            durability,
            options,
            info,
            started,
            buffer: vec![0; READ_BYTES].into(),
            plain: Vec::new(),
            stopping: false,
        })
    }

    pub(super) fn waker(&self) -> Arc<Waker> {
        self.waker.clone()
    }

    pub(super) fn client_address(&self) -> Option<SocketAddr> {
        self.listener.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    pub(super) fn secure_client_address(&self) -> Option<SocketAddr> {
        self.secure_listener.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    pub(super) fn info(&self) -> &ServerInfo {
        &self.info
    }

    pub(super) fn run(mut self) -> Result<(), ServerError> {
        let mut events = Events::with_capacity(EVENTS_A_TURN);
        while !self.stopping {
            let timeout = self.timeout();
            match self.poll.poll(&mut events, Some(timeout)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                result => {
                    result.map_err(|source| ServerError::System { doing: "wait for events", source })?
                }
            }
            self.core.set_now(now(self.started));
            for event in &events {
                match event.token() {
                    LISTENER => self.accept(false),
                    SECURE_LISTENER => self.accept(true),
                    WAKER => {
                        self.take_commands();
                        self.take_outcomes()?;
                    }
                    Token(token) => {
                        let slot = token - FIRST_SOCKET;
                        if event.is_readable() {
                            self.read(slot, event.is_read_closed());
                        }
                        if event.is_writable() {
                            self.flush(slot);
                        }
                    }
                }
            }
            for slot in std::mem::take(&mut self.again) {
                if let Some(socket) = self.sockets.get_mut(slot).and_then(Option::as_mut) {
                    socket.read_again = false;
                    self.read(slot, true);
                }
            }
            self.meet_deadlines();
            self.core.tick();
            if let Some(durability) = &mut self.durability {
                durability.tick(&mut self.core);
            }
            self.log();
            self.flush_all();
        }
        Ok(())
    }

    fn timeout(&self) -> Duration {
        if !self.again.is_empty() || self.core.has_dirty() {
            return Duration::ZERO;
        }
        let due_ms = self.core.next_tick_ms() - self.started.elapsed().as_millis() as i64;
        let of_core = Duration::from_millis(due_ms.clamp(0, LONGEST_WAIT_MS) as u64);
        let of_storage = self.durability.as_ref().and_then(Durability::next_tick);
        let others = [of_storage, self.deadlines.next(), self.accept_again];
        let due = others.into_iter().flatten().min();
        due.map_or(of_core, |due| of_core.min(due.saturating_duration_since(Instant::now())))
    }

    /// Closes connections that had their time, and accepts clients where the system had refused it.
    fn meet_deadlines(&mut self) {
        let now = Instant::now();
        while let Some(id) = self.deadlines.next_sessionless(now) {
            if self.core.connection(id).is_some_and(|connection| connection.phase == Phase::New) {
                self.core.count_sessionless();
                self.core.close(id);
            }
        }
        while let Some(id) = self.deadlines.next_closing(now) {
            if let Some(slot) = self.slots.get(&id) {
                self.remove(*slot);
            }
        }
        if self.accept_again.is_some_and(|due| due <= now) {
            self.accept_again = None;
            self.accept(false);
            self.accept(true);
        }
    }

    fn take_commands(&mut self) {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Ask(question) => question(&mut self.core),
                Command::Restore(tree, sessions, answer) => {
                    let restored = self.restore(*tree, sessions);
                    // Nobody listens any more when the asking thread is gone.
                    let _ = answer.send(restored);
                }
                Command::Stop => self.stopping = true,
            }
        }
    }

    fn restore(&mut self, mut tree: Tree, sessions: BTreeMap<i64, i32>) -> Result<i64, StorageError> {
        let zxid = self.core.last_proposed_zxid() + 1;
        tree.set_last_zxid(zxid);
        if let Some(durability) = &mut self.durability {
            durability.restore(&tree, &sessions)?;
        }
        tracing::warn!(
            zxid = format_args!("0x{zxid:x}"),
            znodes = tree.len(),
            "everything was replaced by a snapshot"
        );
        self.core.replace(tree, sessions);
        Ok(zxid)
    }

    fn accept(&mut self, secure: bool) {
        while let Some(listener) = if secure { &self.secure_listener } else { &self.listener } {
            let (stream, peer) = match listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    // Out of file descriptors, or the client is gone already: the others are served on.
                    tracing::warn!(%error, "cannot accept a client");
                    // Those that wait already cause no event.
                    self.accept_again = Some(Instant::now() + ACCEPT_AGAIN);
                    return;
                }
            };
            self.add(stream, peer, secure);
        }
    }

    fn add(&mut self, mut stream: mio::net::TcpStream, peer: SocketAddr, secure: bool) {
        let address = peer.ip().to_canonical();
        let from_there = self.per_address.get(&address).copied().unwrap_or(0);
        for (key, limit, connections) in [
            ("maxClientCnxns", self.options.max_connections_per_address, from_there),
            ("maxCnxns", self.options.max_connections, self.per_listener[usize::from(secure)]),
        ] {
            if limit > 0 && connections >= limit {
                tracing::warn!(%address, connections, "refused a client: too many connections for {key}={limit}");
                return self.core.count_rejected();
            }
        }
        let transport = match &self.options.tls {
            Some(tls) if secure => match TlsSession::new(tls.clone()) {
                Ok(session) => Transport::Tls(Box::new(session)),
                Err(error) => return tracing::error!(%error, "cannot begin TLS with a client"),
            },
            Some(_) if self.options.port_unification => Transport::Undecided(Vec::new()),
            _ => Transport::Plain,
        };
        // Answers are small and waited for.
        let _ = stream.set_nodelay(true);
        if self.options.tcp_keep_alive {
            keep_alive(&stream);
        }
        let slot = self.free.pop().unwrap_or(self.sockets.len());
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().register(&mut stream, Token(FIRST_SOCKET + slot), interest) {
            tracing::warn!(%error, "cannot wait for a client's packets");
            self.free.push(slot);
            return;
        }
        let id = self.core.open(address, peer.port(), secure, &[]);
        if slot == self.sockets.len() {
            self.sockets.push(None);
        }
        self.deadlines.opened(id);
        self.sockets[slot] = Some(Socket::new(stream, id, transport, secure));
        self.slots.insert(id, slot);
        *self.per_address.entry(address).or_default() += 1;
        self.per_listener[usize::from(secure)] += 1;
    }

    /// Reads what a socket has, and lets the core work on it. A read that fills less than the buffer took all there was, and spares the one
    /// that would say so; but where the end of the stream may be next (`to_end`), only that one tells, since no event follows.
    fn read(&mut self, slot: usize, to_end: bool) {
        for _ in 0..READS_A_TURN {
            let Some(socket) = self.sockets.get_mut(slot).and_then(Option::as_mut) else { return };
            let id = socket.id;
            socket.waits = self.core.throttled(id);
            if socket.waits {
                // When something has gone out to it, this is looked at again.
                return;
            }
            let length = match socket.stream.read(&mut self.buffer) {
                Ok(0) => return self.dropped(slot),
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return self.dropped(slot),
            };
            if self.take(slot, length).is_err() {
                return self.remove(slot);
            }
            if length < self.buffer.len() && !to_end {
                return;
            }
        }
        self.read_again(slot);
    }

    /// Has a socket read in the next turn.
    fn read_again(&mut self, slot: usize) {
        if let Some(socket) = self.sockets.get_mut(slot).and_then(Option::as_mut)
            && !std::mem::replace(&mut socket.read_again, true)
        {
            self.again.push(slot);
        }
    }

    /// Takes `length` bytes that came from a socket into the buffer.
    fn take(&mut self, slot: usize, length: usize) -> std::io::Result<()> {
        let Some(socket) = self.sockets.get_mut(slot).and_then(Option::as_mut) else { return Ok(()) };
        let mut bytes = &self.buffer[..length];
        let held;
        if let Transport::Undecided(first) = &mut socket.transport {
            first.extend_from_slice(bytes);
            let (Some(is_tls), Some(tls)) = (crate::tls::is_tls_client_hello(first), &self.options.tls)
            else {
                return Ok(());
            };
            held = std::mem::take(first);
            bytes = &held;
            socket.transport = match is_tls {
                true => {
                    Transport::Tls(Box::new(TlsSession::new(tls.clone()).map_err(std::io::Error::other)?))
                }
                false => Transport::Plain,
            };
        }
        let Transport::Tls(session) = &mut socket.transport else {
            feed(&mut socket.input, bytes, socket.id, &mut self.core, &self.options, &self.info);
            return Ok(());
        };
        self.plain.clear();
        let decrypted = session.decrypt(bytes, &mut self.plain);
        if let Some(certificates) = session.new_certificates() {
            let identities =
                crate::tls::identities(Some(&certificates), self.options.x509_super_user.as_deref());
            self.core.secured(socket.id, identities);
        }
        // The handshake's own answers, or why it failed.
        session.flush(&mut socket.stream)?;
        if let Err(error) = decrypted {
            if session.is_handshaking() {
                self.core.counters_mut().figures.failed_handshakes += 1;
            }
            let client = self.core.connection(socket.id).map(Connection::address);
            tracing::info!(client = client.map(tracing::field::display), %error, "TLS with a client failed");
            return Err(error);
        }
        feed(&mut socket.input, &self.plain, socket.id, &mut self.core, &self.options, &self.info);
        Ok(())
    }

    /// Hands the core's transactions to the log.
    fn log(&mut self) {
        let Some(proposals) = self.core.take_proposals() else { return };
        match (&mut self.durability, proposals.ends.last()) {
            (Some(durability), _) => durability.log(proposals),
            (None, Some((zxid, _))) => self.core.committed(*zxid),
            (None, None) => {}
        }
    }

    /// Hears from the log. Only a full disk can be lived with: after any other failure nobody knows what the disk holds.
    fn take_outcomes(&mut self) -> Result<(), ServerError> {
        let Some(durability) = &mut self.durability else { return Ok(()) };
        loop {
            match durability.outcomes.try_recv() {
                Ok(Outcome::Committed(zxid)) => self.core.committed(zxid),
                Ok(Outcome::Failed(error)) if error.is_disk_full() => {
                    tracing::error!(%error, "the disk is full: writes are refused until there is room");
                    self.core.log_failed();
                    durability.resume();
                }
                Ok(Outcome::Failed(error)) => return Err(error.into()),
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) => return Err(ServerError::LogStopped),
            }
        }
    }

    fn flush_all(&mut self) {
        for id in self.core.take_dirty() {
            if let Some(slot) = self.slots.get(&id) {
                self.flush(*slot);
            }
        }
    }

    /// Sends what the core has for a socket, and closes it if the core has done with it.
    fn flush(&mut self, slot: usize) {
        let Some(socket) = self.sockets.get_mut(slot).and_then(Option::as_mut) else { return };
        let id = socket.id;
        let Some((out, sent)) = self.core.outgoing(id) else { return };
        let all_sent = match &mut socket.transport {
            Transport::Tls(session) => session.send(out, sent, &mut socket.stream),
            Transport::Plain | Transport::Undecided(_) => send(out, sent, &mut socket.stream),
        };
        let Ok(all_sent) = all_sent else { return self.remove(slot) };
        if all_sent {
            *sent = 0;
            if out.capacity() > KEPT_OUT_BYTES { *out = Vec::new() } else { out.clear() }
        } else if *sent > out.len() / 2 {
            // Seldom enough that a client that reads little by little costs little.
            out.drain(..*sent);
            *sent = 0;
        }
        let closing = self.core.connection(id).is_some_and(|connection| connection.phase == Phase::Closing);
        match (closing, all_sent) {
            (true, true) => {
                if let Transport::Tls(session) = &mut socket.transport {
                    session.say_goodbye(&mut socket.stream);
                }
                self.remove(slot);
            }
            (true, false) => {
                if !std::mem::replace(&mut socket.closing, true) {
                    self.deadlines.closing(id);
                }
            }
            (false, _) => {
                self.core.resume(id);
                if socket.waits && !self.core.throttled(id) {
                    self.read_again(slot);
                }
            }
        }
    }

    /// Removes a socket that the client has closed, or its network.
    fn dropped(&mut self, slot: usize) {
        self.core.counters_mut().figures.connections_dropped += 1;
        self.remove(slot);
    }

    fn remove(&mut self, slot: usize) {
        let Some(mut socket) = self.sockets.get_mut(slot).and_then(Option::take) else { return };
        // The socket is closed next, which ends its registration in any case.
        let _ = self.poll.registry().deregister(&mut socket.stream);
        if let Some(connection) = self.core.connection(socket.id)
            && let Some(count) = self.per_address.get_mut(&connection.peer)
        {
            *count -= 1;
            if *count == 0 {
                self.per_address.remove(&connection.peer);
            }
        }
        self.per_listener[usize::from(socket.of_secure_port)] -= 1;
        self.core.closed(socket.id);
        self.slots.remove(&socket.id);
        self.free.push(slot);
    }
}

/// Cuts what came from a client into packets for the core.
fn feed(
    input: &mut Input,
    bytes: &[u8],
    id: ConnectionId,
    core: &mut Core,
    options: &ServerOptions,
    info: &ServerInfo,
) {
    if core.connection(id).is_none_or(|connection| connection.phase == Phase::Closing) {
        return;
    }
    let is_command = |word: &[u8; 4]| crate::four_letter::is_command(word);
    input.feed(bytes, options.max_packet_bytes, is_command, |item| match item {
        Item::Packet(packet) => core.packet(id, packet),
        Item::Oversized(beginning, bytes) => {
            tell_of_oversized(core.connection(id), bytes, options.max_packet_bytes);
            core.oversized_packet(id, beginning);
        }
        Item::Command(word, rest) => {
            crate::four_letter::answer(core, id, &word, rest, &options.commands, info)
        }
        Item::Garbage => core.close(id),
    });
}

/// Says who sent a packet that is too long, and what would let it through.
fn tell_of_oversized(connection: Option<&Connection>, bytes: usize, limit_bytes: usize) {
    match connection {
        Some(connection) if connection.phase == Phase::New => tracing::info!(
            client = %connection.address(),
            bytes,
            limit_bytes = MAX_FIRST_PACKET_BYTES,
            "refused a client: its first packet is too long to ask for a session"
        ),
        Some(connection) => tracing::warn!(
            client = %connection.address(),
            session = format_args!("0x{:x}", connection.session_id),
            bytes,
            limit_bytes,
            "refused a request: it is longer than jute.maxbuffer"
        ),
        None => {}
    }
}

/// Sends what comes in `out` behind what was `sent`. Whether that is all.
fn send(out: &[u8], sent: &mut usize, stream: &mut mio::net::TcpStream) -> std::io::Result<bool> {
    while *sent < out.len() {
        match stream.write(&out[*sent..]) {
            Ok(length) => *sent += length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Listens on the first of `addresses` that can be; none of them is no error.
fn listen(addresses: &[SocketAddr], backlog: Option<u32>) -> Result<Option<TcpListener>, ServerError> {
    let mut failure = None;
    for &address in addresses {
        match TcpListener::bind(address)
            .and_then(|listener| set_backlog(&listener, backlog).map(|()| listener))
        {
            Ok(listener) => return Ok(Some(listener)),
            Err(source) => failure = Some(ServerError::Listen { address, source }),
        }
    }
    failure.map_or(Ok(None), Err)
}

/// Sets how many connections may wait: a socket that listens already takes another number.
#[cfg(unix)]
fn set_backlog(listener: &TcpListener, backlog: Option<u32>) -> std::io::Result<()> {
    let Some(backlog) = backlog else { return Ok(()) };
    Ok(rustix::net::listen(listener, i32::try_from(backlog).unwrap_or(i32::MAX))?)
}

#[cfg(not(unix))]
fn set_backlog(_: &TcpListener, _: Option<u32>) -> std::io::Result<()> {
    Ok(())
}

/// Has the system find out when a silent client is gone.
fn keep_alive(stream: &mio::net::TcpStream) {
    #[cfg(unix)]
    if let Err(error) = rustix::net::sockopt::set_socket_keepalive(stream, true) {
        tracing::warn!(%error, "cannot set clientTcpKeepAlive on a client's socket");
    }
    #[cfg(not(unix))]
    let _ = stream;
}

fn now(started: Instant) -> Now {
    let wall_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
    Now { monotonic_ms: started.elapsed().as_millis() as i64, wall_ms }
}
