//! A process's part in the exchange: its port, and its links to other processes.
//!
//! Invariants: there is at most one link that is not lost per other process; of two processes the one with the smaller address
//! connects.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use streamkeeper_dataflow::channel::Signal;
use streamkeeper_dataflow::network::{ChannelId, FrameReceiver, FrameSender, Network};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::handshake::{self, MAX_ADDRESS, wrong};
use super::link::{Link, lock};
use super::tls::{Tls, TlsSettings, server_name};
use super::{Counters, NetworkStats, connection};
use crate::error::Error;

/// Connections that have not said yet who they are, at most.
const MAX_HANDSHAKES: usize = 128;

/// Time between two attempts to connect.
const RETRY: Duration = Duration::from_millis(50);

/// How a process takes part in the exchange.
#[derive(Debug, Clone)]
pub struct NetworkSettings {
    /// The host to listen at: `taskmanager.bind-host`.
    pub bind_host: String,
    /// The port to listen at, 0 for any that is free: `taskmanager.data.port`.
    pub port: u16,
    /// The host by which others reach this process: `taskmanager.host`.
    pub host: String,
    /// How long to try to connect to another process, or to wait for it.
    pub connect_timeout: Duration,
    /// Keys and certificates; `None`: no TLS.
    pub tls: Option<TlsSettings>,
}

/// This process's part in the exchange with others. Dropping it ends its connections.
pub struct NetworkEnvironment {
    shared: Arc<Shared>,
    listener: AbortHandle,
}

struct Shared {
    /// Where others reach this process.
    address: Arc<str>,
    links: Mutex<Links>,
    counters: Arc<Counters>,
    connect_timeout: Duration,
    tls: Option<Tls>,
    runtime: Handle,
}

#[derive(Default)]
struct Links {
    by_peer: HashMap<Arc<str>, Arc<Link>>,
    /// The environment was dropped.
    are_closed: bool,
}

/// Both directions of a connection.
struct Stream {
    input: Box<dyn AsyncRead + Unpin + Send>,
    output: Box<dyn AsyncWrite + Unpin + Send>,
}

impl Stream {
    fn plain(stream: TcpStream) -> Self {
        let (input, output) = stream.into_split();
        Self { input: Box::new(input), output: Box::new(output) }
    }

    fn tls(stream: impl AsyncRead + AsyncWrite + Send + 'static) -> Self {
        let (input, output) = tokio::io::split(stream);
        Self { input: Box::new(input), output: Box::new(output) }
    }
}

impl NetworkEnvironment {
    /// Listens. What reads and writes runs on the runtime of the caller.
    ///
    /// # Errors
    /// When the port is taken, or TLS's files are not right.
    pub async fn start(settings: &NetworkSettings) -> Result<Self, Error> {
        let bind = (settings.bind_host.as_str(), settings.port);
        let listen = |source| Error::Listen { address: format!("{}:{}", bind.0, bind.1), source };
        let listener = TcpListener::bind(bind).await.map_err(listen)?;
        let port = listener.local_addr().map_err(listen)?.port();
        let host = &settings.host;
        let address = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        if address.len() > MAX_ADDRESS {
            return Err(listen(wrong(format!("taskmanager.host is longer than {MAX_ADDRESS} bytes"))));
        }
        let shared = Arc::new(Shared {
            address: address.into(),
            links: Mutex::default(),
            counters: Arc::default(),
            connect_timeout: settings.connect_timeout,
            tls: settings.tls.as_ref().map(Tls::new).transpose()?,
            runtime: Handle::current(),
        });
        let listener = tokio::spawn(accept(Arc::downgrade(&shared), listener)).abort_handle();
        Ok(Self { shared, listener })
    }

    /// Where other processes reach this one: `host:port`.
    pub fn address(&self) -> &str {
        &self.shared.address
    }

    /// What it has done.
    pub fn stats(&self) -> NetworkStats {
        let links = lock(&self.shared.links);
        let connected = |link: &&Arc<Link>| link.is_connected() && !link.is_lost();
        self.shared.counters.stats(links.by_peer.values().filter(connected).count())
    }
}

impl Drop for NetworkEnvironment {
    fn drop(&mut self) {
        self.listener.abort();
        let ended = Links { by_peer: HashMap::new(), are_closed: true };
        let links = std::mem::replace(&mut *lock(&self.shared.links), ended);
        links.by_peer.into_values().for_each(|link| link.lose("this process has closed it"));
    }
}

impl Network for NetworkEnvironment {
    fn sender(
        &self,
        channel: ChannelId,
        to: &str,
        capacity_bytes: usize,
        producer: Arc<Signal>,
    ) -> Box<dyn FrameSender> {
        self.shared.link(to).sender(channel, capacity_bytes, producer)
    }

    fn receiver(
        &self,
        channel: ChannelId,
        from: &str,
        capacity_bytes: usize,
        consumer: Arc<Signal>,
    ) -> Box<dyn FrameReceiver> {
        self.shared.link(from).receiver(channel, capacity_bytes, consumer)
    }
}

impl Shared {
    /// The link to the process at `peer`, which is made if there is none.
    fn link(self: &Arc<Self>, peer: &str) -> Arc<Link> {
        let mut links = lock(&self.links);
        if let Some(link) = links.by_peer.get(peer).filter(|link| !link.is_lost()) {
            return link.clone();
        }
        let link = Link::new(peer.into());
        links.by_peer.insert(link.peer.clone(), link.clone());
        drop(links);
        let (shared, new) = (self.clone(), link.clone());
        let connecting = self.runtime.spawn(async move {
            if let Err(reason) = shared.connect(&new).await {
                new.lose(&reason.to_string());
                shared.forget(&new);
            }
        });
        link.keep(connecting.abort_handle());
        link
    }

    async fn connect(self: &Arc<Self>, link: &Arc<Link>) -> io::Result<()> {
        let deadline = Instant::now() + self.connect_timeout;
        if *self.address == *link.peer {
            return Err(wrong("it is this process itself"));
        }
        if self.address > link.peer {
            sleep(self.connect_timeout).await;
            return match link.is_connected() {
                true => Ok(()),
                false => Err(wrong(format!("it has not connected within {:?}", self.connect_timeout))),
            };
        }
        loop {
            let last = match timeout_at(deadline, self.dial(&link.peer)).await {
                Ok(Ok(stream)) => {
                    self.attach(link, stream);
                    return Ok(());
                }
                // What is not going to change is not tried again.
                Ok(Err(e)) if e.kind() == io::ErrorKind::InvalidData => return Err(e),
                Ok(Err(e)) => e,
                Err(_) => wrong(format!("no answer within {:?}", self.connect_timeout)),
            };
            if Instant::now() + RETRY >= deadline {
                return Err(last);
            }
            sleep(RETRY).await;
        }
    }

    async fn dial(&self, peer: &str) -> io::Result<Stream> {
        let stream = TcpStream::connect(peer).await?;
        stream.set_nodelay(true)?;
        let mut stream = match &self.tls {
            None => Stream::plain(stream),
            Some(tls) => Stream::tls(tls.connector.connect(server_name(peer)?, stream).await?),
        };
        handshake::say(&mut stream.output, &self.address, peer).await?;
        let hello = handshake::hear(&mut stream.input).await?;
        match hello.from == peer {
            true => Ok(stream),
            false => Err(wrong(format!("{} answered in its place", hello.from))),
        }
    }

    /// A process has connected.
    async fn answer(self: &Arc<Self>, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut stream = match &self.tls {
            None => Stream::plain(stream),
            Some(tls) => Stream::tls(tls.acceptor.accept(stream).await?),
        };
        let hello = handshake::hear(&mut stream.input).await?;
        if *hello.to != *self.address {
            return Err(wrong(format!("{} means {}, but this is {}", hello.from, hello.to, self.address)));
        }
        if *hello.from >= *self.address {
            return Err(wrong(format!("{} should have waited to be connected to", hello.from)));
        }
        handshake::say(&mut stream.output, &self.address, &hello.from).await?;
        let mut links = lock(&self.links);
        if links.are_closed {
            return Ok(());
        }
        let known = links.by_peer.get(hello.from.as_str()).cloned();
        let waiting = known.clone().filter(|link| !link.is_lost() && !link.is_connected());
        let link = waiting.unwrap_or_else(|| Link::new(hello.from.into()));
        links.by_peer.insert(link.peer.clone(), link.clone());
        drop(links);
        if let Some(old) = known.filter(|known| !Arc::ptr_eq(known, &link)) {
            old.lose("it has connected anew");
        }
        self.attach(&link, stream);
        Ok(())
    }

    fn attach(self: &Arc<Self>, link: &Arc<Link>, stream: Stream) {
        if !link.connect() {
            return;
        }
        let (shared, ended) = (Arc::downgrade(self), Arc::downgrade(link));
        connection::run(link, stream.input, stream.output, &self.counters, move || {
            if let (Some(shared), Some(link)) = (shared.upgrade(), ended.upgrade()) {
                shared.forget(&link);
            }
        });
    }

    /// A link that is lost makes room for the next one.
    fn forget(&self, link: &Arc<Link>) {
        let mut links = lock(&self.links);
        if links.by_peer.get(&link.peer).is_some_and(|known| Arc::ptr_eq(known, link)) {
            links.by_peer.remove(&link.peer);
        }
    }
}

async fn accept(shared: Weak<Shared>, listener: TcpListener) {
    let handshakes = Arc::new(Semaphore::new(MAX_HANDSHAKES));
    loop {
        let Ok(permit) = handshakes.clone().acquire_owned().await else { return };
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection of another TaskManager");
                sleep(RETRY).await;
                continue;
            }
        };
        let Some(shared) = shared.upgrade() else { return };
        tokio::spawn(async move {
            let answered = timeout(shared.connect_timeout, shared.answer(stream)).await;
            let answered = answered.unwrap_or_else(|_| Err(wrong("it has not said in time who it is")));
            if let Err(error) = answered {
                if error.kind() == io::ErrorKind::UnexpectedEof {
                    // Somebody who only wanted to know whether anybody listens.
                    tracing::debug!(%from, "a connection to the exchange was closed before it said anything");
                    return;
                }
                tracing::warn!(%from, %error, "refused a connection to the exchange");
            }
            drop(permit);
        });
    }
}
