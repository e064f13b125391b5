//! The server's shell: sockets, the log's thread and the clock around the [`Core`].
//!
//! One thread runs the core and all sockets. A second one writes and syncs the log, so that many transactions share one sync while the
//! first goes on reading. Snapshots are written by a third that lives as long as it writes.

mod deadlines;
mod durability;
mod event_loop;
pub mod framing;
mod from_config;
mod sockets;
mod tls_session;

pub use durability::{AnyDisk, StorageOptions};

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender, SyncSender};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::admin::{AdminOptions, HttpServer, MetricsOptions, serve_admin, serve_metrics};
use crate::config::FourLetterWords;
use crate::core::{Core, CoreOptions, audit_server};
use crate::four_letter::ServerInfo;
use crate::storage::StorageError;
use crate::tree::Tree;
use event_loop::EventLoop;

/// Where and how to serve.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Where clients connect: the first of these that can be; port 0 takes a free one.
    pub client_addresses: Vec<SocketAddr>,
    /// Where clients connect over TLS.
    pub secure_client_addresses: Vec<SocketAddr>,
    /// How many connections may wait to be accepted (`clientPortListenBacklog`); `None`: as many as the system's libraries like.
    pub listen_backlog: Option<u32>,
    /// Whether clients' sockets have TCP keep-alive (`clientTcpKeepAlive`).
    pub tcp_keep_alive: bool,
    /// Keys and certificates; needed for `secure_client_addresses` and `port_unification`.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Whether `client_addresses` take TLS as well.
    pub port_unification: bool,
    /// The subject of the client certificate that is above all permissions.
    pub x509_super_user: Option<String>,
    /// Longest packet in bytes (`jute.maxbuffer`).
    pub max_packet_bytes: usize,
    /// Connections from one address at most; 0: no limit (`maxClientCnxns`).
    pub max_connections_per_address: usize,
    /// Connections to each port at most; 0: no limit (`maxCnxns`).
    pub max_connections: usize,
    /// How long a connection may stay without a session (`zookeeper.nio.sessionlessCnxnTimeout`); zero: for ever.
    pub sessionless_timeout: Duration,
    /// Four-letter commands that are answered.
    pub commands: Vec<String>,
    /// Where transactions are kept; `None`: nowhere but in memory.
    pub storage: Option<StorageOptions>,
    /// The admin server, if it runs.
    pub admin: Option<AdminOptions>,
    /// The endpoint for Prometheus, if it runs.
    pub metrics: Option<MetricsOptions>,
    /// The settings as they are written, for the commands that show them.
    pub settings: BTreeMap<String, String>,
    /// The configuration file's text, for the admin server.
    pub initial_configuration: String,
    /// The core's settings.
    pub core: CoreOptions,
}

impl Default for ServerOptions {
    fn default() -> Self {
        ServerOptions {
            client_addresses: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            secure_client_addresses: Vec::new(),
            listen_backlog: None,
            tcp_keep_alive: false,
            tls: None,
            port_unification: false,
            x509_super_user: None,
            max_packet_bytes: 0xf_ffff,
            max_connections_per_address: 60,
            max_connections: 0,
            sessionless_timeout: Duration::from_secs(10),
            commands: FourLetterWords::HARMLESS.iter().map(|command| (*command).to_owned()).collect(),
            storage: None,
            admin: None,
            metrics: None,
            settings: BTreeMap::new(),
            initial_configuration: String::new(),
            core: CoreOptions::default(),
        }
    }
}

/// Why the server does not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// An address cannot be listened on.
    #[error("cannot listen for clients on {address}: {source}; is another server running there?")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// An HTTP server's address cannot be listened on.
    #[error(
        "cannot listen on {address} ({key}): {source}; clients are served without it: set {key} to a port that is free"
    )]
    ListenHttp {
        /// The key that names its port.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// A configured host name has no address.
    #[error("cannot find the address of `{host}`: {source}")]
    Resolve {
        /// The name.
        host: String,
        /// The system's reason.
        source: io::Error,
    },
    /// Keys or certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] crate::tls::TlsError),
    /// What is on the disk cannot be read or written.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A defect of ours.
    #[error("the log's thread has stopped by itself: see its panic above, and please report it")]
    LogStopped,
    /// The operating system refused something that no server can do without.
    #[error("cannot {doing}: {source}")]
    System {
        /// What was being done.
        doing: &'static str,
        /// The system's reason.
        source: io::Error,
    },
}

/// A question to the core, answered between two packets.
type Question = Box<dyn FnOnce(&mut Core) + Send>;

/// What the event loop is told from other threads.
pub(crate) enum Command {
    Ask(Question),
    /// Everything is replaced by this tree and these sessions; the answer is the zxid that it has from then on.
    Restore(Box<Tree>, BTreeMap<i64, i32>, SyncSender<Result<i64, StorageError>>),
    Stop,
}

/// A way to the core from any thread.
#[derive(Clone)]
pub struct CoreHandle {
    commands: Sender<Command>,
    waker: Arc<mio::Waker>,
}

impl CoreHandle {
    /// Runs `question` on the core's thread and returns its answer; `None` once the server has stopped.
    pub fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Core) -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, answered) = mpsc::sync_channel(1);
        let question: Question = Box::new(move |core| {
            // Nobody listens any more when the asking thread is gone.
            let _ = answer.send(question(core));
        });
        self.tell(Command::Ask(question))?;
        answered.recv().ok()
    }

    /// Replaces all znodes and sessions, durably, and returns the zxid that they count as from then on: one above all before, so that no
    /// client sees time go back. All connections are closed. `None` once the server has stopped.
    ///
    /// # Errors
    /// The new state cannot be written to the disk; nothing has changed then.
    pub fn restore(&self, tree: Tree, sessions: BTreeMap<i64, i32>) -> Option<Result<i64, StorageError>> {
        let (answer, answered) = mpsc::sync_channel(1);
        self.tell(Command::Restore(Box::new(tree), sessions, answer))?;
        answered.recv().ok()
    }

    /// Lets the server stop. [`Keeper::wait`] returns when it has.
    pub fn stop(&self) {
        // A loop that is gone already has nothing to be told.
        let _ = self.tell(Command::Stop);
    }

    fn tell(&self, command: Command) -> Option<()> {
        self.commands.send(command).ok()?;
        self.waker.wake().ok()
    }
}

/// A running server. Dropping it stops it.
pub struct Keeper {
    core: CoreHandle,
    client_address: Option<SocketAddr>,
    secure_client_address: Option<SocketAddr>,
    admin: Option<HttpServer>,
    metrics: Option<HttpServer>,
    thread: Option<JoinHandle<Result<(), ServerError>>>,
}

impl Keeper {
    /// Starts a server, and returns when it takes clients.
    ///
    /// # Errors
    /// An address cannot be listened on, the directories are another server's or damaged, or the system gives no thread.
    pub fn start(options: ServerOptions) -> Result<Keeper, ServerError> {
        let (commands, commands_in) = mpsc::channel();
        let (admin, metrics) = (options.admin.clone(), options.metrics.clone());
        let audit = options.core.audit;
        let event_loop = EventLoop::new(options, commands_in).inspect_err(|_| {
            if audit {
                audit_server("serverStart", "failure");
            }
        })?;
        let core = CoreHandle { commands, waker: event_loop.waker() };
        let client_address = event_loop.client_address();
        let secure_client_address = event_loop.secure_client_address();
        let info: ServerInfo = event_loop.info().clone();
        // As with Apache, clients are served even if these cannot be.
        let told = |result: Result<HttpServer, ServerError>| {
            result.inspect_err(|error| tracing::error!(%error, "an HTTP server does not start")).ok()
        };
        let admin = admin.and_then(|admin| told(serve_admin(admin, core.clone(), info)));
        let metrics = metrics.and_then(|metrics| told(serve_metrics(&metrics, core.clone())));
        let thread = std::thread::Builder::new()
            .name("keeper".into())
            .spawn(move || {
                if audit {
                    audit_server("serverStart", "success");
                }
                let result = event_loop.run();
                if audit {
                    audit_server("serverStop", "invoked");
                }
                result
            })
            .map_err(|source| ServerError::System { doing: "start the server's thread", source })?;
        Ok(Keeper { core, client_address, secure_client_address, admin, metrics, thread: Some(thread) })
    }

    /// Where clients connect.
    pub fn client_address(&self) -> Option<SocketAddr> {
        self.client_address
    }

    /// Where clients connect over TLS.
    pub fn secure_client_address(&self) -> Option<SocketAddr> {
        self.secure_client_address
    }

    /// Where the admin server listens.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(HttpServer::address)
    }

    /// Where Prometheus can ask.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(HttpServer::address)
    }

    /// A way to the core.
    pub fn core(&self) -> &CoreHandle {
        &self.core
    }

    /// Stops the server, and returns once everything that was answered is on disk and all sockets are closed.
    ///
    /// # Errors
    /// Why the server had stopped by itself.
    pub fn stop(mut self) -> Result<(), ServerError> {
        self.stop_and_join()
    }

    /// Waits until the server stops by itself.
    ///
    /// # Errors
    /// Why it stopped.
    pub fn wait(mut self) -> Result<(), ServerError> {
        self.join()
    }

    fn stop_and_join(&mut self) -> Result<(), ServerError> {
        self.core.stop();
        self.join()
    }

    fn join(&mut self) -> Result<(), ServerError> {
        match self.thread.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(result)) => result,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Err(error) = self.stop_and_join() {
            tracing::error!(%error, "the server had stopped");
        }
    }
}
