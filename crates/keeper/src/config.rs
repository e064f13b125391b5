//! The server's configuration: `zoo.cfg` with the keys of the ZooKeeper 3.9 administrator's guide.
//!
//! A key may be written with or without `zookeeper.` before it. Keys that have no effect here, and keys that nobody knows, give a
//! [`Warning`]; a value that makes no sense is a [`ConfigError`], with its file and line.
//!
//! Parts: [`properties`] (the file's syntax), `settings` (values by key), `read` and `security` (keys to types), `known` (keys without effect),
//! [`jaas`] (users of SASL), `listen` (addresses).

pub mod jaas;
mod known;
mod listen;
pub mod properties;
mod read;
mod security;
mod settings;
#[cfg(test)]
mod tests;

pub use listen::{Listen, Server};
pub use security::{ClientAuth, Security, Store, StoreKind, TlsSettings};
pub use settings::Origin;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::access::Access;
use crate::authentication::{Authentication, SaslSettings};
use crate::core::{self, CoreOptions, PrepOptions};
pub use crate::storage::Compression;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read {what} {}: {source}", path.display())]
    Read {
        /// What the file is.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A broken escape sequence.
    #[error("{}:{line}: `\\u` must be followed by four hexadecimal digits", path.display())]
    Escape {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
    },
    /// A value that makes no sense.
    #[error(transparent)]
    Value(Box<WrongValue>),
    /// Something that must be set is not.
    #[error("{key} is not set: {need}")]
    Missing {
        /// The key.
        key: &'static str,
        /// What it is needed for.
        need: &'static str,
    },
    /// Settings that contradict each other, or that this server cannot do.
    #[error("{0}")]
    Refused(String),
    /// A JAAS file cannot be understood.
    #[error("{file}:{line}: {problem}", file = path.display())]
    Jaas {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// What is wrong there.
        problem: String,
    },
}

/// A value that makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("{origin}: {key}={value}: {problem}; allowed: {allowed}")]
pub struct WrongValue {
    /// Where it stands.
    pub origin: Origin,
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
    /// What is wrong with it.
    pub problem: String,
    /// What would be right.
    pub allowed: String,
}

/// The outcome of reading a configuration.
pub type Result<T> = std::result::Result<T, ConfigError>;

/// Something that the user should know, though the server starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Where the setting stands.
    pub origin: Option<Origin>,
    /// The key.
    pub key: String,
    /// What there is to know.
    pub text: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if let Some(origin) = &self.origin {
            write!(f, "{origin}: ")?;
        }
        write!(f, "{}: {}", self.key, self.text)
    }
}

/// Text that no log shows.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("…")
    }
}

/// The configuration of a server. What is not set has ZooKeeper's default unless its description says otherwise.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where snapshots are (`dataDir`).
    pub data_dir: PathBuf,
    /// Where the transaction log is (`dataLogDir`, or `dataDir`).
    pub data_log_dir: PathBuf,
    /// Whether these are made when they are not there (`datadir.autocreate`).
    pub create_dirs: bool,
    /// Whether an empty `dataDir` counts as a new server even without a file `initialize` (`db.autocreate`).
    pub create_database: bool,
    /// The number in the file `myid`.
    pub my_id: Option<i64>,
    /// Where clients connect (`clientPort`, `clientPortAddress`).
    pub client: Option<Listen>,
    /// Where clients connect over TLS (`secureClientPort`, `secureClientPortAddress`).
    pub secure_client: Option<Listen>,
    /// How many connections may wait to be accepted (`clientPortListenBacklog`).
    pub listen_backlog: Option<u32>,
    /// Whether clients' sockets have TCP keep-alive (`clientTcpKeepAlive`).
    pub client_tcp_keep_alive: bool,
    /// The unit of session timeouts (`tickTime`).
    pub tick: Duration,
    /// `minSessionTimeout`, or 2 ticks.
    pub min_session_timeout: Duration,
    /// `maxSessionTimeout`, or 20 ticks.
    pub max_session_timeout: Duration,
    /// What one client or all may take.
    pub limits: Limits,
    /// Containers and TTL nodes.
    pub containers: Containers,
    /// The files.
    pub storage: Storage,
    /// Which four-letter words are answered.
    pub four_letter_words: FourLetterWords,
    /// The AdminServer, if it runs.
    pub admin: Option<Admin>,
    /// The Prometheus endpoint, if it runs.
    pub metrics: Option<Metrics>,
    /// Who may do what, and how clients prove who they are.
    pub security: Security,
    /// Keys and certificates (`ssl.*`).
    pub tls: TlsSettings,
    /// Whether `clientPort` takes TLS as well (`client.portUnification`).
    pub port_unification: bool,
    /// Whether changes are written to the audit log (`audit.enable`).
    pub audit: bool,
    /// Whether `reconfig` is on (`reconfigEnabled`).
    pub reconfig_enabled: bool,
    /// Whether hard quotas refuse writes (`enforceQuota`).
    pub enforce_quota: bool,
    /// The `server.N` lines.
    pub servers: Vec<Server>,
    /// The settings as they are written, for the commands `conf` and `configuration`.
    pub written: BTreeMap<String, String>,
}

/// What one client or all may take.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections from one address (`maxClientCnxns`); `None`: any number.
    pub max_client_cnxns: Option<u32>,
    /// Connections to each port (`maxCnxns`); `None`: any number.
    pub max_cnxns: Option<u32>,
    /// The longest packet in bytes (`jute.maxbuffer`).
    pub max_packet_bytes: u32,
    /// Unanswered requests of each connection (`globalOutstandingLimit`; Apache counts all connections').
    pub global_outstanding: u32,
    /// Bytes of all large requests at work (`largeRequestMaxBytes`).
    pub large_request_max_bytes: u64,
    /// From how many bytes a request is large (`largeRequestThreshold`); `None`: none is.
    pub large_request_threshold: Option<u64>,
    /// How long a connection may stay without a session (`nio.sessionlessCnxnTimeout`).
    pub sessionless_timeout: Duration,
    /// New connections.
    pub connections: ConnectionThrottle,
    /// Requests at work (`requestThrottleLimit`); `None`: any number.
    pub request_throttle: Option<u32>,
}

/// Tokens that new sessions need: Apache's "BLUE" throttle.
#[derive(Debug, Clone)]
pub struct ConnectionThrottle {
    /// `connectionMaxTokens`; `None`: no throttling.
    pub max_tokens: Option<u32>,
    /// `connectionTokenFillTime`.
    pub fill_time: Duration,
    /// `connectionTokenFillCount`.
    pub fill_count: u32,
    /// `connectionFreezeTime`; `None`: none is dropped by chance.
    pub freeze_time: Option<Duration>,
    /// `connectionDropIncrease`.
    pub drop_increase: f64,
    /// `connectionDropDecrease`.
    pub drop_decrease: f64,
    /// `connectionDecreaseRatio`.
    pub decrease_ratio: f64,
    /// What a new session and a renewed one cost (`connection_throttle_…_session_weight`).
    pub weights: Option<(u32, u32)>,
}

/// Containers and TTL nodes.
#[derive(Debug, Clone)]
pub struct Containers {
    /// Whether TTL nodes can be created (`extendedTypesEnabled`). On, where Apache has it off.
    pub extended_types: bool,
    /// How often they are looked at (`znode.container.checkIntervalMs`).
    pub check_interval: Duration,
    /// How many go a minute at most (`znode.container.maxPerMinute`).
    pub max_per_minute: u32,
    /// When a container goes that never had a child (`znode.container.maxNeverUsedIntervalMs`); `None`: never. 3.9 has never.
    pub max_never_used: Option<Duration>,
}

/// The files.
#[derive(Debug, Clone)]
pub struct Storage {
    /// By how much a log file is extended ahead (`preAllocSize`).
    pub pre_alloc_bytes: u64,
    /// Transactions between snapshots (`snapCount`).
    pub snap_count: u32,
    /// Bytes of transactions between snapshots (`snapSizeLimitInKb`).
    pub snap_size_limit_bytes: Option<u64>,
    /// The longest log file (`txnLogSizeLimitInKb`).
    pub txn_log_size_limit_bytes: Option<u64>,
    /// How often old files are removed (`autopurge.purgeInterval`). Every hour, where Apache never does; `None`: never.
    pub purge_interval: Option<Duration>,
    /// How many snapshots stay (`autopurge.snapRetainCount`).
    pub snap_retain_count: u32,
    /// Whether a write waits for the disk (`forceSync`).
    pub force_sync: bool,
    /// After how long a slow disk is worth a warning (`fsync.warningthresholdms`).
    pub fsync_warning: Duration,
    /// How snapshots are compressed (`snapshot.compression.method`).
    pub compression: Compression,
    /// Whether a log without a snapshot is trusted (`snapshot.trust.empty`).
    pub trust_empty: bool,
    /// Whether transactions and snapshots carry the tree's digest (`digest.enabled`).
    pub digest: bool,
    /// Whether `closeSession` names the ephemerals that go (`closeSessionTxn.enabled`).
    pub close_session_paths: bool,
}

/// Which four-letter words are answered (`4lw.commands.whitelist`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FourLetterWords {
    /// All.
    All,
    /// These.
    These(BTreeSet<String>),
}

impl FourLetterWords {
    /// All that Apache ZooKeeper knows.
    pub const KNOWN: &[&str] = &[
        "conf", "cons", "crst", "dirs", "dump", "envi", "gtmk", "hash", "isro", "mntr", "ruok", "srst",
        "srvr", "stat", "stmk", "wchc", "wchp", "wchs",
    ];
    /// Those that change nothing, and do not list all sessions, watches or connections in detail. Apache's default is `srvr` alone.
    pub const HARMLESS: &[&str] =
        &["conf", "dirs", "envi", "hash", "isro", "mntr", "ruok", "srvr", "stat", "wchs"];

    /// Whether a word is answered.
    pub fn allows(&self, word: &str) -> bool {
        match self {
            FourLetterWords::All => Self::KNOWN.contains(&word),
            FourLetterWords::These(words) => words.contains(word),
        }
    }
}

/// The AdminServer.
#[derive(Debug, Clone)]
pub struct Admin {
    /// `admin.serverAddress`, `admin.serverPort`.
    pub listen: Listen,
    /// Where the commands are (`admin.commandURL`).
    pub command_url: String,
    /// `admin.snapshot.enabled`.
    pub snapshot: bool,
    /// `admin.restore.enabled`.
    pub restore: bool,
    /// How often each of these two may run (`admin.rateLimiterIntervalInMS`).
    pub rate_limit_interval: Duration,
}

/// The Prometheus endpoint (`metricsProvider.*`).
#[derive(Debug, Clone)]
pub struct Metrics {
    /// `metricsProvider.httpHost`, `metricsProvider.httpPort` (7000).
    pub listen: Listen,
}

impl Config {
    /// Reads a `zoo.cfg`, and the files that it names.
    pub fn from_file(path: &Path) -> Result<(Config, Vec<Warning>)> {
        Config::from_sources(Some(path), std::iter::empty::<(&str, &str)>())
    }

    /// A configuration of keys and values alone.
    pub fn from_pairs<K: AsRef<str>, V: AsRef<str>>(
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Result<(Config, Vec<Warning>)> {
        Config::from_sources(None, pairs)
    }

    /// Reads a `zoo.cfg`, with options that win over what stands in it.
    pub fn from_sources<K: AsRef<str>, V: AsRef<str>>(
        path: Option<&Path>,
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Result<(Config, Vec<Warning>)> {
        let mut settings = settings::Settings::default();
        if let Some(path) = path {
            settings.add_file(path, &read_file("the configuration", path)?)?;
        }
        for (key, value) in pairs {
            settings.add(settings::Setting {
                key: key.as_ref().trim().to_owned(),
                value: value.as_ref().trim().to_owned(),
                origin: Origin::Option,
            });
        }
        read::config(settings)
    }

    /// The core's part of it. The shell adds `authentication.nonce_seed`.
    pub fn core_options(&self) -> CoreOptions {
        let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let millis_i32 = |time| i32::try_from(millis(time)).unwrap_or(i32::MAX);
        let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let (security, limits, throttle) = (&self.security, &self.limits, &self.limits.connections);
        let disabled = [("digest", security.digest), ("x509", security.x509), ("sasl", security.sasl_acls)];
        let disabled_schemes: Vec<String> =
            disabled.iter().filter(|(_, on)| !on).map(|(scheme, _)| (*scheme).to_owned()).collect();
        CoreOptions {
            // A standalone server of Apache's begins its sessions' ids with 1 as well.
            server_id: self.my_id.unwrap_or(1),
            tick_ms: millis_i32(self.tick),
            min_session_timeout_ms: millis_i32(self.min_session_timeout),
            max_session_timeout_ms: millis_i32(self.max_session_timeout),
            container_check_interval_ms: millis(self.containers.check_interval),
            container_max_per_minute: self.containers.max_per_minute as usize,
            container_max_never_used_ms: self.containers.max_never_used.map_or(0, millis),
            max_outstanding: limits.request_throttle.unwrap_or(u32::MAX).min(limits.global_outstanding)
                as usize,
            limits: core::Limits {
                large_request_bytes: bytes(limits.large_request_max_bytes),
                large_request_threshold: limits.large_request_threshold.map(bytes),
                ..core::Limits::default()
            },
            connection_throttle: core::ConnectionThrottle {
                max_tokens: throttle.max_tokens.unwrap_or(0),
                fill_time_ms: millis(throttle.fill_time),
                fill_count: throttle.fill_count,
                freeze_time_ms: throttle.freeze_time.map(millis),
                drop_increase: throttle.drop_increase,
                drop_decrease: throttle.drop_decrease,
                decrease_ratio: throttle.decrease_ratio,
                weights: throttle.weights.unwrap_or((1, 1)),
            },
            audit: self.audit,
            prep: PrepOptions {
                enforce_quota: self.enforce_quota,
                reconfig_enabled: self.reconfig_enabled,
                digest: self.storage.digest,
                close_session_paths: self.storage.close_session_paths,
            },
            access: Access {
                skip_acl: security.skip_acl,
                disabled_schemes: disabled_schemes.clone(),
                x509_super_user: security.x509_super_user.clone(),
                any_sasl_user: security.any_sasl_user.clone(),
            },
            authentication: Authentication {
                super_digest: security.super_digest.clone(),
                digest_algorithm: security.digest_algorithm,
                disabled_schemes,
                enforced_schemes: security.enforced_schemes.clone(),
                ensemble_names: security.ensemble_names.clone(),
                sasl: security.sasl_users.clone().map(|users| SaslSettings {
                    users,
                    super_users: security.sasl_super_users.clone(),
                    allow_failed: security.allow_sasl_failed_clients,
                }),
                ..Authentication::default()
            },
            ..CoreOptions::default()
        }
    }
}

fn read_file(what: &'static str, path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|source| ConfigError::Read { what, path: path.to_owned(), source })
}
