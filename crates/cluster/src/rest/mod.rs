//! The REST API: Flink's paths and JSON, and under `/v1/streamkeeper` what Flink has no path for.
//!
//! Only the leader answers; every other JobManager forwards to it. Everything is made from a view of the cluster by plain functions
//! on threads that may block, a few at a time, beside one thread for all sockets. Invariant: whatever comes, the answer is JSON (but
//! for the page and Prometheus), and an error is `{"errors": ["…"]}` with the status that Flink gives.
//!
//! - `listener`: how many clients are taken; `forward`: from a standby to the leader
//! - `api`: a request, an answer and an error; `routes`: which path is whose
//! - `cluster`, `configuration`, `task_managers`, `jobs`, `about`, `vertices`, `checkpoints`, `savepoints`, `rescaling`, `metrics`: the answers, by topic, with
//!   `statistics` (pure); `own`: ours, described by `openapi.json`, and the page
//! - `prometheus`, `health`: for those who watch from outside; each JobManager answers for itself

mod about;
mod api;
mod checkpoints;
mod cluster;
mod configuration;
mod forward;
mod health;
mod jobs;
mod listener;
mod metrics;
mod own;
mod prometheus;
mod rescaling;
mod routes;
mod savepoints;
mod statistics;
mod task_managers;
mod vertices;

use std::collections::BTreeMap;
use std::future::IntoFuture;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use self::api::Api;
use self::listener::Limited;
use crate::error::{Error, Result};
use crate::jobmanager::JobManagerHandle;

/// Threads on which requests are worked on.
const MAX_WORKING: usize = 8;

/// How the REST API is served.
#[derive(Debug, Clone)]
pub struct RestOptions {
    /// What the process is configured with, to be shown. Values of keys that look like secrets are not.
    pub configuration: BTreeMap<String, String>,
    /// Where the process writes its logs; `None`: nowhere that can be shown.
    pub log_directory: Option<PathBuf>,
    /// `rest.idleness-timeout`: a connection is closed on which nothing happens for so long, as by Flink after five minutes.
    pub idleness_timeout: Duration,
}

impl Default for RestOptions {
    fn default() -> Self {
        Self {
            configuration: BTreeMap::new(),
            log_directory: None,
            idleness_timeout: Duration::from_secs(300),
        }
    }
}

/// A port for the REST API that is open, but not served yet. A JobManager that is started meanwhile can publish its address.
#[derive(Debug)]
pub struct RestListener {
    listener: TcpListener,
    address: SocketAddr,
}

impl RestListener {
    /// Opens the port: `rest.bind-address` and `rest.bind-port`.
    ///
    /// # Errors
    /// [`Error::Bind`].
    pub fn bind(address: &str) -> Result<Self> {
        let failed = |reason| Error::Bind { key: "rest.bind-port", address: address.to_owned(), reason };
        let listener = TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves a JobManager.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn serve(self, handle: JobManagerHandle, options: RestOptions) -> Result<RestServer> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(MAX_WORKING)
            .thread_name("rest-work")
            .build()
            .map_err(Error::Rest)?;
        let idleness_timeout = options.idleness_timeout;
        let router = routes::router(Api::new(handle, options, self.address));
        let (stop, stopped) = oneshot::channel::<()>();
        let Self { listener, address } = self;
        let serve = move || {
            let served = runtime.block_on(async {
                let listener = Limited::new(tokio::net::TcpListener::from_std(listener)?, idleness_timeout);
                tokio::select! {
                    served = axum::serve(listener, router).into_future() => served,
                    _ = stopped => Ok(()),
                }
            });
            if let Err(error) = served {
                tracing::error!("the REST API is served no more: {error}");
            }
            // Requests that still run must not hold up the end.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("rest".into()).spawn(serve).map_err(Error::Thread)?;
        Ok(RestServer { address, stop: Some(stop), thread: Some(thread) })
    }
}

/// A REST API that is served. Dropping it stops it.
#[derive(Debug)]
pub struct RestServer {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl RestServer {
    /// Opens a port and serves a JobManager there, which need not lead, now or ever.
    ///
    /// # Errors
    /// As [`RestListener::bind`] and [`RestListener::serve`].
    pub fn start(bind: &str, handle: JobManagerHandle, options: RestOptions) -> Result<Self> {
        RestListener::bind(bind)?.serve(handle, options)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for RestServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of the REST API has panicked");
        }
    }
}
