//! HTTP around the commands: ZooKeeper's paths, on a thread of its own.
//!
//! Nothing here touches the core but by asking it, so that a slow or hostile HTTP client costs the server's clients nothing.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::ListenerExt;
use futures_util::TryStreamExt;
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;
use tokio_util::io::{ReaderStream, StreamReader, SyncIoBridge};

use super::listener::Limited;
use super::{commands, json};
use crate::acl::{Id, perms};
use crate::four_letter::ServerInfo;
use crate::metrics::{self, figures::StorageFigures};
use crate::server::{CoreHandle, ServerError};
use crate::storage::{self, Compression, RealDisk};

/// Snapshots may come this many times as often as the interval between restores says: ZooKeeper 3.9 reads the one setting in different units.
const SNAPSHOTS_FASTER: u32 = 1000;

/// How to run the admin server.
#[derive(Debug, Clone)]
pub struct AdminOptions {
    /// Where to listen: the first of these that can be.
    pub addresses: Vec<SocketAddr>,
    /// What the commands' paths begin with: `/commands`.
    pub command_url: String,
    /// Whether `snapshot` is answered.
    pub snapshot: bool,
    /// Whether `restore` is answered.
    pub restore: bool,
    /// A restore at most this often, and a snapshot a thousand times as often.
    pub restore_interval: Duration,
    /// The longest snapshot that `restore` takes: all of it is held in memory, beside what is served.
    pub max_restore_bytes: u64,
    /// How snapshots are compressed.
    pub compression: Compression,
}

impl AdminOptions {
    /// What `max_restore_bytes` is unless something else is asked for.
    pub const MAX_RESTORE_BYTES: u64 = 16 << 30;
}

/// How to run the endpoint for Prometheus.
#[derive(Debug, Clone)]
pub struct MetricsOptions {
    /// Where to listen: the first of these that can be.
    pub addresses: Vec<SocketAddr>,
}

/// A running HTTP server. Dropping it stops it.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl HttpServer {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn start(
        name: &str,
        key: &'static str,
        addresses: &[SocketAddr],
        router: Router,
    ) -> Result<HttpServer, ServerError> {
        let listener = std::net::TcpListener::bind(addresses).map_err(|source| {
            let address = addresses.first().copied().unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)));
            ServerError::ListenHttp { key, address, source }
        })?;
        let system = |doing| move |source| ServerError::System { doing, source };
        listener.set_nonblocking(true).map_err(system("listen for HTTP"))?;
        let address = listener.local_addr().map_err(system("listen for HTTP"))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .map_err(system("start an HTTP server"))?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let served = runtime.block_on(async {
                    let listener = tokio::net::TcpListener::from_std(listener)?;
                    let service = router.into_make_service_with_connect_info::<SocketAddr>();
                    tokio::select! {
                        result = axum::serve(Limited::new(listener).tap_io(|_| ()), service).into_future() => result,
                        _ = stopped => Ok(()),
                    }
                });
                if let Err(error) = served {
                    tracing::error!(%error, "the HTTP server has stopped");
                }
                // Requests that still run must not hold up the end of the server.
                runtime.shutdown_background();
            })
            .map_err(system("start an HTTP server's thread"))?;
        Ok(HttpServer { address, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("an HTTP server's thread has panicked");
        }
    }
}

/// Starts the endpoint for Prometheus: `/metrics`.
///
/// # Errors
/// The address cannot be listened on.
pub fn serve_metrics(options: &MetricsOptions, core: CoreHandle) -> Result<HttpServer, ServerError> {
    let answer = move || async move {
        match ask(move || core.ask(|core| metrics::of(core))).await {
            Some(figures) => (
                [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
                metrics::prometheus(&figures),
            )
                .into_response(),
            None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        }
    };
    HttpServer::start(
        "keeper-metrics",
        "metricsProvider.httpPort",
        &options.addresses,
        Router::new().route("/metrics", get(answer)),
    )
}

/// Starts the admin server.
///
/// # Errors
/// The address cannot be listened on.
pub fn serve_admin(
    options: AdminOptions,
    core: CoreHandle,
    info: ServerInfo,
) -> Result<HttpServer, ServerError> {
    let addresses = options.addresses.clone();
    let root = format!("/{}", options.command_url.trim_matches('/'));
    let one = format!("{root}/{{command}}");
    let state = Arc::new(Admin { options, core, info, limits: Mutex::default() });
    let router = Router::new()
        .route(&root, get(list))
        .route(&format!("{root}/"), get(list))
        .route(&one, get(run_get).post(run_post))
        .with_state(state);
    HttpServer::start("keeper-admin", "admin.serverPort", &addresses, router)
}

struct Admin {
    options: AdminOptions,
    core: CoreHandle,
    info: ServerInfo,
    limits: Mutex<Limits>,
}

/// When the commands that cost much ran last.
#[derive(Default)]
struct Limits {
    snapshot: Option<Instant>,
    restore: Option<Instant>,
}

type Answer = (StatusCode, Map<String, Value>);

async fn list(State(admin): State<Arc<Admin>>) -> Response {
    let root = format!("/{}", admin.options.command_url.trim_matches('/'));
    let mut names: Vec<&str> = commands::COMMANDS.iter().map(|names| names[0]).collect();
    names.sort_unstable();
    let links: String =
        names.iter().map(|name| format!("<a href=\"{root}/{name}\">{name}</a>\n<br/>\n")).collect();
    ([(header::CONTENT_TYPE, "text/html;charset=utf-8")], links).into_response()
}

async fn run_get(
    State(admin): State<Arc<Admin>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path(name): Path<String>,
    Query(arguments): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let Some(command) = commands::primary_name(&name) else {
        // Apache answers 200 here.
        return json_answer((StatusCode::OK, commands::failure(&name, &format!("Unknown command: {name}"))));
    };
    match command {
        "snapshot" => match admin.authorize(command, peer, &headers).await {
            Ok(()) => admin.snapshot(arguments.get("streaming").is_none_or(|value| value == "true")).await,
            Err(answer) => json_answer(answer),
        },
        "restore" => json_answer((
            StatusCode::METHOD_NOT_ALLOWED,
            commands::failure(command, "restore takes a snapshot by POST"),
        )),
        command => {
            let (core, info) = (admin.core.clone(), admin.info.clone());
            let answered =
                ask(move || core.ask(move |core| commands::run(core, &info, command, &arguments))).await;
            json_answer(match answered {
                Some(fields) => (StatusCode::OK, fields),
                None => (
                    StatusCode::OK,
                    commands::failure(command, "This ZooKeeper instance is not currently serving requests"),
                ),
            })
        }
    }
}

async fn run_post(
    State(admin): State<Arc<Admin>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    match commands::primary_name(&name) {
        Some("restore") => match admin.authorize("restore", peer, &headers).await {
            Ok(()) => json_answer(admin.restore(body).await),
            Err(answer) => json_answer(answer),
        },
        Some(command) => json_answer((
            StatusCode::METHOD_NOT_ALLOWED,
            commands::failure(command, &format!("{command} is asked by GET")),
        )),
        None => json_answer((StatusCode::OK, commands::failure(&name, &format!("Unknown command: {name}")))),
    }
}

impl Admin {
    /// Whether whoever sent `Authorization: <scheme> <what proves it>` may do everything at the root.
    async fn authorize(
        &self,
        command: &'static str,
        peer: SocketAddr,
        headers: &HeaderMap,
    ) -> Result<(), Answer> {
        let Some(authorization) = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok())
        else {
            return Err((
                StatusCode::UNAUTHORIZED,
                commands::failure(command, "Auth info is missing for the command"),
            ));
        };
        let mut words = authorization.split(' ').map(str::to_owned);
        let (scheme, proof) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let core = self.core.clone();
        let address = Id::new("ip", &peer.ip().to_canonical().to_string());
        let allowed = ask(move || {
            core.ask(move |core| {
                let options = core.options();
                let ids = options.authentication.authenticate(&scheme, proof.as_bytes(), &[address])?;
                let root = core.tree().get("/").ok_or(crate::proto::Code::NoNode)?;
                let bits = [perms::READ, perms::WRITE, perms::CREATE, perms::DELETE, perms::ADMIN];
                bits.into_iter().try_for_each(|perm| options.access.check(root.acls(), perm, &ids))
            })
        })
        .await;
        match allowed {
            Some(Ok(())) => Ok(()),
            Some(Err(crate::proto::Code::NoAuth)) => {
                Err((StatusCode::FORBIDDEN, commands::failure(command, "Not authorized")))
            }
            _ => Err((StatusCode::UNAUTHORIZED, commands::failure(command, "Not authenticated"))),
        }
    }

    /// Takes a snapshot, and streams it unless told otherwise.
    async fn snapshot(&self, streaming: bool) -> Response {
        if !self.options.snapshot {
            return json_answer((
                StatusCode::SERVICE_UNAVAILABLE,
                commands::failure("snapshot", "snapshot is disabled"),
            ));
        }
        if !self.may_run(|limits| &mut limits.snapshot, self.options.restore_interval / SNAPSHOTS_FASTER) {
            self.count(|figures| figures.snapshots_rate_limited += 1).await;
            return json_answer((
                StatusCode::TOO_MANY_REQUESTS,
                commands::failure("snapshot", "rate limited"),
            ));
        }
        let (core, info, compression) = (self.core.clone(), self.info.clone(), self.options.compression);
        let taken = ask(move || Some(take_snapshot(&core, &info, compression))).await;
        let (zxid, path) = match taken {
            Some(Ok(taken)) => taken,
            Some(Err(error)) => {
                return json_answer((
                    StatusCode::INTERNAL_SERVER_ERROR,
                    commands::failure("snapshot", &error),
                ));
            }
            None => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
        };
        let file = match tokio::fs::File::open(&path).await {
            Ok(file) => file,
            Err(error) => {
                let error = format!("cannot read the snapshot {}: {error}", path.display());
                return json_answer((
                    StatusCode::INTERNAL_SERVER_ERROR,
                    commands::failure("snapshot", &error),
                ));
            }
        };
        let bytes = file.metadata().await.map_or(0, |metadata| metadata.len());
        let mut response = match streaming {
            true => (
                [(header::CONTENT_TYPE, "application/octet-stream")],
                Body::from_stream(ReaderStream::new(file)),
            )
                .into_response(),
            false => json_answer((
                StatusCode::OK,
                Map::from_iter([
                    ("command".to_owned(), "snapshot".into()),
                    ("error".to_owned(), Value::Null),
                ]),
            )),
        };
        for (name, value) in [("last_zxid", format!("0x{zxid:x}")), ("snapshot_size", bytes.to_string())] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(HeaderName::from_static(name), value);
            }
        }
        response
    }

    /// Replaces everything by the snapshot that the client sends.
    async fn restore(&self, body: Body) -> Answer {
        if !self.options.restore {
            return (StatusCode::SERVICE_UNAVAILABLE, commands::failure("restore", "restore is disabled"));
        }
        if !self.may_run(|limits| &mut limits.restore, self.options.restore_interval) {
            self.count(|figures| figures.restores_rate_limited += 1).await;
            return (StatusCode::TOO_MANY_REQUESTS, commands::failure("restore", "rate limited"));
        }
        let stream = StreamReader::new(body.into_data_stream().map_err(std::io::Error::other));
        let mut reader = SyncIoBridge::new(stream).take(self.options.max_restore_bytes);
        let core = self.core.clone();
        let restored = ask(move || {
            let name = std::path::Path::new("sent with the request");
            let (extended_types, figures) =
                core.ask(|core| (core.tree().extended_types(), core.counters().figures.storage.clone()))?;
            let begin = Instant::now();
            let restored = match storage::snapshot_reader::read_from(&mut reader, name, 0, extended_types) {
                Ok(snapshot) => {
                    core.restore(snapshot.tree, snapshot.sessions)?.map_err(|error| error.to_string())
                }
                Err(_) if reader.limit() == 0 => Err("the snapshot is too long".to_owned()),
                Err(error) => Err(error.to_string()),
            };
            let mut figures = metrics::figures::lock(&figures);
            match &restored {
                Ok(_) => figures.restore.add(begin.elapsed().as_millis() as u64),
                Err(_) => figures.restore_errors += 1,
            }
            Some(restored)
        })
        .await;
        match restored {
            Some(Ok(zxid)) => {
                let fields =
                    [("last_zxid", json!(zxid)), ("command", json!("restore")), ("error", Value::Null)];
                (StatusCode::OK, fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
            }
            Some(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, commands::failure("restore", &error)),
            None => (StatusCode::SERVICE_UNAVAILABLE, commands::failure("restore", "the server has stopped")),
        }
    }

    async fn count(&self, count: fn(&mut StorageFigures)) {
        let core = self.core.clone();
        ask(move || core.ask(move |core| count(&mut core.counters().figures.storage()))).await;
    }

    /// Whether a command that ran last at `which` may run again.
    fn may_run(&self, which: impl FnOnce(&mut Limits) -> &mut Option<Instant>, interval: Duration) -> bool {
        let mut limits = self.limits.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let last = which(&mut limits);
        let now = Instant::now();
        let may = last.is_none_or(|last| now.duration_since(last) >= interval);
        if may {
            *last = Some(now);
        }
        may
    }
}

/// Writes a snapshot of now to the directory of snapshots.
fn take_snapshot(
    core: &CoreHandle,
    info: &ServerInfo,
    compression: Compression,
) -> Result<(i64, PathBuf), String> {
    let directory =
        info.data_dir.as_deref().ok_or("this server keeps everything in memory: there is no directory")?;
    let ((frozen, sessions), figures) = core
        .ask(|core| (core.freeze(), core.counters().figures.storage.clone()))
        .ok_or("the server has stopped")?;
    let begin = Instant::now();
    let written = storage::snapshot::write(&RealDisk, directory, &frozen, &sessions, compression);
    let mut figures = metrics::figures::lock(&figures);
    figures.snapshot.add(begin.elapsed().as_millis() as u64);
    figures.snapshot_errors += u64::from(written.is_err());
    Ok((frozen.zxid(), written.map_err(|error| error.to_string())?))
}

/// Runs what blocks beside the HTTP server.
async fn ask<T: Send + 'static>(question: impl FnOnce() -> Option<T> + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(question).await.ok().flatten()
}

fn json_answer((status, fields): Answer) -> Response {
    let text = json::to_text(&Value::Object(fields));
    (status, [(header::CONTENT_TYPE, "application/json")], text).into_response()
}
