//! The configuration keys of a cluster's processes, and what they say. Names and meanings are Flink's where it has them.

use std::path::PathBuf;
use std::time::Duration;

use streamkeeper_coordination::layout::Layout;
use streamkeeper_dataflow::config::{
    CLUSTER_ID, Config, Key, Kind, ZOOKEEPER_CONNECTION_TIMEOUT, ZOOKEEPER_QUORUM, ZOOKEEPER_ROOT,
    ZOOKEEPER_SESSION_TIMEOUT,
};
use streamkeeper_zookeeper::Options;

use crate::error::{Error, Result};
use crate::network::TlsSettings;
use crate::rpc::Heartbeat;

const STABILIZATION: &str = "jobmanager.adaptive-scheduler.executing.resource-stabilization-timeout";

const PORT: Kind = Kind::Integer(0, 65_535);

/// The keys of JobManagers and TaskManagers.
pub const KEYS: &[Key] = &[
    ("high-availability.type", Kind::OneOf(&["zookeeper"]), "zookeeper"),
    ("high-availability", Kind::OneOf(&["zookeeper"]), ""),
    ("high-availability.storageDir", Kind::Directory, ""),
    ("jobmanager.rpc.address", Kind::Text, "localhost"),
    ("jobmanager.rpc.port", PORT, "6123"),
    ("jobmanager.bind-host", Kind::Text, "127.0.0.1"),
    (STABILIZATION, Kind::Duration, "60 s"),
    ("rest.address", Kind::Text, ""),
    ("rest.port", PORT, "8081"),
    ("rest.bind-address", Kind::Text, "127.0.0.1"),
    ("rest.bind-port", PORT, ""),
    ("taskmanager.host", Kind::Text, "localhost"),
    ("taskmanager.bind-host", Kind::Text, "127.0.0.1"),
    ("taskmanager.data.port", PORT, "0"),
    ("taskmanager.numberOfTaskSlots", Kind::Integer(1, 4_096), ""),
    ("taskmanager.resource-id", Kind::Text, ""),
    ("heartbeat.interval", Kind::Duration, "1 s"),
    ("heartbeat.timeout", Kind::Duration, "10 s"),
    ("streamkeeper.data-plane-grace", Kind::Duration, "60 s"),
    ("security.ssl.internal.enabled", Kind::Boolean, "false"),
    ("security.ssl.internal.cert", Kind::Text, ""),
    ("security.ssl.internal.key", Kind::Text, ""),
    ("security.ssl.internal.ca", Kind::Text, ""),
];

/// What the configuration says of a cluster's processes.
#[derive(Debug, Clone)]
pub struct ClusterConfig(Config);

impl ClusterConfig {
    /// Reads it from a configuration that knows [`KEYS`].
    pub fn new(config: Config) -> Self {
        Self(config)
    }

    fn text(&self, key: &str) -> &str {
        self.0.get(key).unwrap_or_default()
    }

    fn port(&self, key: &str) -> u16 {
        u16::try_from(self.0.integer(key)).unwrap_or_default()
    }

    /// The cluster's place in ZooKeeper.
    ///
    /// # Errors
    /// When root or id cannot be znodes' names.
    pub fn layout(&self) -> Result<Layout> {
        Ok(Layout::new(self.text(ZOOKEEPER_ROOT), self.text(CLUSTER_ID))?)
    }

    /// The way to ZooKeeper.
    ///
    /// # Errors
    /// When it names no server.
    pub fn zookeeper(&self) -> Result<Options> {
        let quorum = self.0.get(ZOOKEEPER_QUORUM).ok_or(Error::NoZooKeeper)?;
        let connection_timeout = self.0.duration(ZOOKEEPER_CONNECTION_TIMEOUT);
        Ok(Options {
            session_timeout: self.0.duration(ZOOKEEPER_SESSION_TIMEOUT),
            connection_timeout,
            operation_timeout: connection_timeout,
            ..Options::new(quorum)
        })
    }

    /// `heartbeat.interval` and `heartbeat.timeout`.
    pub fn heartbeat(&self) -> Heartbeat {
        Heartbeat {
            interval: self.0.duration("heartbeat.interval").max(Duration::from_millis(10)),
            timeout: self.0.duration("heartbeat.timeout").max(Duration::from_millis(100)),
        }
    }

    /// Where the JobManager listens for TaskManagers.
    pub fn rpc_bind(&self) -> String {
        format!("{}:{}", self.text("jobmanager.bind-host"), self.port("jobmanager.rpc.port"))
    }

    /// The host at which a JobManager is reached.
    pub fn rpc_host(&self) -> String {
        self.text("jobmanager.rpc.address").to_owned()
    }

    /// How long TaskManagers must have been the same before running jobs are spread over new ones.
    pub fn stabilization(&self) -> Duration {
        self.0.duration(STABILIZATION)
    }

    /// Where the REST API listens.
    pub fn rest_bind(&self) -> String {
        let port = match self.0.get("rest.bind-port") {
            Some(_) => self.port("rest.bind-port"),
            None => self.port("rest.port"),
        };
        format!("{}:{port}", self.text("rest.bind-address"))
    }

    /// The host at which the REST API is reached.
    pub fn rest_host(&self) -> String {
        self.0.get("rest.address").map_or_else(|| self.rpc_host(), str::to_owned)
    }

    /// Where clients find the REST API, when the configuration says so.
    pub fn rest_address(&self) -> Option<String> {
        let host = self.0.get("rest.address")?;
        Some(format!("{host}:{}", self.port("rest.port")))
    }

    /// Host to bind, port, and host to be reached at, of a TaskManager's end of the exchange.
    pub fn exchange(&self) -> (String, u16, String) {
        let host = |key: &str| self.text(key).to_owned();
        (host("taskmanager.bind-host"), self.port("taskmanager.data.port"), host("taskmanager.host"))
    }

    /// `taskmanager.numberOfTaskSlots`; as many as the machine has cores unless it is set.
    pub fn slots(&self) -> usize {
        match usize::try_from(self.0.integer("taskmanager.numberOfTaskSlots")) {
            Ok(slots) if slots > 0 => slots,
            _ => std::thread::available_parallelism().map_or(1, usize::from),
        }
    }

    /// `taskmanager.resource-id`.
    pub fn resource_id(&self) -> Option<String> {
        self.0.get("taskmanager.resource-id").map(str::to_owned)
    }

    /// `streamkeeper.data-plane-grace`.
    pub fn data_plane_grace(&self) -> Duration {
        self.0.duration("streamkeeper.data-plane-grace")
    }

    /// Where the checkpoints of jobs go that do not say.
    pub fn checkpoint_directory(&self) -> Option<PathBuf> {
        let of_jobs = self.0.job().checkpoint_directory;
        of_jobs.or_else(|| {
            let storage = self.0.get("high-availability.storageDir")?;
            Some(PathBuf::from(storage.trim_start_matches("file://").trim_start_matches("file:")))
        })
    }

    /// Keys and certificates of the exchange, when `security.ssl.internal.enabled`.
    ///
    /// # Errors
    /// When one of them is not named.
    pub fn tls(&self) -> Result<Option<TlsSettings>> {
        if !self.text("security.ssl.internal.enabled").eq_ignore_ascii_case("true") {
            return Ok(None);
        }
        let file = |key: &'static str| self.0.get(key).map(PathBuf::from).ok_or(Error::MissingKey(key));
        Ok(Some(TlsSettings {
            certificates: file("security.ssl.internal.cert")?,
            key: file("security.ssl.internal.key")?,
            authorities: file("security.ssl.internal.ca")?,
        }))
    }
}
