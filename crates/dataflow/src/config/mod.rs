//! Configuration: Flink's keys, checked when they are set, typed when they are read. Here are the keys of every job; a
//! crate above adds its own ([`Config::with_keys`]).
//!
//! Invariant: a value that is held is valid for its key; so reading never fails.

pub mod file;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::key_group::{DEFAULT_MAX_PARALLELISM, MAX_MAX_PARALLELISM};
use crate::restart::RestartStrategy;

/// What a key's value has to be.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Anything.
    Text,
    /// An integer in this range.
    Integer(i64, i64),
    /// A number of at least 1.
    Number,
    /// See [`parse_duration`].
    Duration,
    /// `true` or `false`.
    Boolean,
    /// A local directory, plain or as a `file:` URI.
    Directory,
    /// One of these, in any case.
    OneOf(&'static [&'static str]),
    /// What this function accepts; it says why not.
    Checked(fn(&str) -> Result<(), String>),
    /// Accepted for Flink's sake; it changes nothing here.
    Ignored,
}

const STRATEGIES: &[&str] = &[
    "none",
    "off",
    "disable",
    "fixed-delay",
    "fixeddelay",
    "failure-rate",
    "failurerate",
    "exponential-delay",
    "exponentialdelay",
];

/// A key, what its value has to be, and its default as text (empty: none).
pub type Key = (&'static str, Kind, &'static str);

const KEYS: &[Key] = &[
    ("parallelism.default", Kind::Integer(1, MAX_MAX_PARALLELISM as i64), "1"),
    ("pipeline.name", Kind::Text, ""),
    ("pipeline.max-parallelism", Kind::Integer(1, MAX_MAX_PARALLELISM as i64), ""),
    ("execution.runtime-mode", Kind::OneOf(&["streaming", "automatic"]), "streaming"),
    ("execution.buffer-timeout.interval", Kind::Duration, "100 ms"),
    ("execution.buffer-timeout", Kind::Duration, ""),
    ("execution.checkpointing.interval", Kind::Duration, ""),
    ("execution.checkpointing.timeout", Kind::Duration, "10 min"),
    ("execution.checkpointing.min-pause", Kind::Duration, "0 ms"),
    ("execution.checkpointing.tolerable-failed-checkpoints", Kind::Integer(0, 1_000_000), "0"),
    ("execution.checkpointing.num-retained", Kind::Integer(1, 1000), "1"),
    ("execution.checkpointing.dir", Kind::Directory, ""),
    ("state.checkpoints.dir", Kind::Directory, ""),
    ("execution.state-recovery.path", Kind::Directory, ""),
    ("execution.state-recovery.ignore-unclaimed-state", Kind::Boolean, "false"),
    ("execution.state-recovery.claim-mode", Kind::OneOf(&["NO_CLAIM", "CLAIM"]), "NO_CLAIM"),
    ("execution.checkpointing.savepoint-dir", Kind::Directory, ""),
    ("state.savepoints.dir", Kind::Directory, ""),
    ("execution.checkpointing.mode", Kind::OneOf(&["EXACTLY_ONCE"]), "EXACTLY_ONCE"),
    ("restart-strategy.type", Kind::OneOf(STRATEGIES), ""),
    ("restart-strategy", Kind::OneOf(STRATEGIES), ""),
    ("restart-strategy.fixed-delay.attempts", Kind::Integer(0, 1 << 31), "1"),
    ("restart-strategy.fixed-delay.delay", Kind::Duration, "1 s"),
    ("restart-strategy.failure-rate.max-failures-per-interval", Kind::Integer(0, 1 << 31), "1"),
    ("restart-strategy.failure-rate.failure-rate-interval", Kind::Duration, "1 min"),
    ("restart-strategy.failure-rate.delay", Kind::Duration, "1 s"),
    ("restart-strategy.exponential-delay.initial-backoff", Kind::Duration, "1 s"),
    ("restart-strategy.exponential-delay.max-backoff", Kind::Duration, "1 min"),
    ("restart-strategy.exponential-delay.backoff-multiplier", Kind::Number, "1.5"),
    ("restart-strategy.exponential-delay.reset-backoff-threshold", Kind::Duration, "1 h"),
    ("restart-strategy.exponential-delay.jitter-factor", Kind::Ignored, ""),
    ("restart-strategy.exponential-delay.attempts-before-reset-backoff", Kind::Integer(0, 1 << 31), ""),
    (ZOOKEEPER_QUORUM, Kind::Text, ""),
    (ZOOKEEPER_ROOT, Kind::Text, "/streamkeeper"),
    (CLUSTER_ID, Kind::Text, "/default"),
    (ZOOKEEPER_SESSION_TIMEOUT, Kind::Duration, "10 s"),
    (ZOOKEEPER_CONNECTION_TIMEOUT, Kind::Duration, "15 s"),
];

/// Where ZooKeeper is, as `host:port,host:port/chroot`.
pub const ZOOKEEPER_QUORUM: &str = "high-availability.zookeeper.quorum";

/// Below which znode all of Streamkeeper's are.
pub const ZOOKEEPER_ROOT: &str = "high-availability.zookeeper.path.root";

/// Below which znode of the root those of one cluster are.
pub const CLUSTER_ID: &str = "high-availability.cluster-id";

/// How long ZooKeeper keeps a session that is silent.
pub const ZOOKEEPER_SESSION_TIMEOUT: &str = "high-availability.zookeeper.client.session-timeout";

/// How long to wait for a connection to ZooKeeper.
pub const ZOOKEEPER_CONNECTION_TIMEOUT: &str = "high-availability.zookeeper.client.connection-timeout";

/// The configuration of a session.
#[derive(Debug, Clone, Default)]
pub struct Config {
    more_keys: Vec<&'static [Key]>,
    entries: BTreeMap<String, String>,
}

impl Config {
    /// A configuration that knows these keys as well.
    pub fn with_keys(more_keys: &'static [Key]) -> Self {
        Self { more_keys: vec![more_keys], ..Self::default() }
    }

    /// As this one, and it knows these keys as well.
    pub fn and_keys(mut self, more_keys: &'static [Key]) -> Self {
        self.more_keys.push(more_keys);
        self
    }

    fn key(&self, key: &str) -> Option<&'static Key> {
        KEYS.iter().chain(self.more_keys.iter().copied().flatten()).find(|(name, ..)| *name == key)
    }

    /// Sets a key. Returns a warning when the key changes nothing here.
    ///
    /// # Errors
    /// When the value is not of the key's type.
    pub fn set(&mut self, key: &str, value: &str) -> Result<Option<String>, String> {
        let warning = match self.key(key) {
            None => {
                Some(format!("Configuration key '{key}' is not known to Streamkeeper and changes nothing"))
            }
            Some((_, Kind::Ignored, _)) => {
                Some(format!("Configuration key '{key}' changes nothing in Streamkeeper"))
            }
            Some((_, kind, _)) => {
                check(*kind, value)
                    .map_err(|reason| format!("Invalid value '{value}' for '{key}': {reason}"))?;
                None
            }
        };
        self.entries.insert(key.to_owned(), value.to_owned());
        Ok(warning)
    }

    /// Removes one key, or all.
    pub fn reset(&mut self, key: Option<&str>) {
        match key {
            Some(key) => drop(self.entries.remove(key)),
            None => self.entries.clear(),
        }
    }

    /// What was set, by key.
    pub fn entries(&self) -> &BTreeMap<String, String> {
        &self.entries
    }

    /// The value that was set, or the default.
    pub fn get(&self, key: &str) -> Option<&str> {
        let default = || self.key(key).map(|(.., default)| *default);
        self.entries.get(key).map(String::as_str).or_else(default).filter(|value| !value.is_empty())
    }

    fn first(&self, keys: &[&str]) -> Option<&str> {
        keys.iter().find_map(|key| self.entries.get(*key).map(String::as_str)).or_else(|| self.get(keys[0]))
    }

    /// The value of a key whose kind is [`Kind::Duration`]; 0 when there is none.
    pub fn duration(&self, key: &str) -> Duration {
        self.get(key).and_then(|value| parse_duration(value).ok()).unwrap_or_default()
    }

    /// The value of a key whose kind is [`Kind::Integer`]; 0 when there is none.
    pub fn integer(&self, key: &str) -> i64 {
        self.get(key).and_then(|value| value.trim().parse().ok()).unwrap_or_default()
    }

    fn directory(&self, keys: &[&str]) -> Option<PathBuf> {
        self.first(keys).and_then(|value| parse_directory(value).ok())
    }

    /// `parallelism.default`.
    pub fn parallelism(&self) -> usize {
        usize::try_from(self.integer("parallelism.default")).unwrap_or(1).max(1)
    }

    /// `pipeline.max-parallelism`: the number of key groups.
    pub fn max_parallelism(&self) -> u16 {
        match u16::try_from(self.integer("pipeline.max-parallelism")) {
            Ok(max) if max > 0 => max,
            _ => DEFAULT_MAX_PARALLELISM,
        }
    }

    /// How a job is run.
    pub fn job(&self) -> JobSettings {
        let interval = self.duration("execution.checkpointing.interval");
        let is = |key: &str, value: &str| self.get(key).is_some_and(|v| v.trim().eq_ignore_ascii_case(value));
        let buffer_timeout = self.first(&["execution.buffer-timeout.interval", "execution.buffer-timeout"]);
        JobSettings {
            name: self.get("pipeline.name").map(str::to_owned),
            checkpoint_interval: Some(interval).filter(|interval| !interval.is_zero()),
            checkpoint_timeout: self.duration("execution.checkpointing.timeout"),
            min_pause: self.duration("execution.checkpointing.min-pause"),
            tolerable_failures: self.integer("execution.checkpointing.tolerable-failed-checkpoints") as u32,
            num_retained: self.integer("execution.checkpointing.num-retained").max(1) as usize,
            checkpoint_directory: self.directory(&["execution.checkpointing.dir", "state.checkpoints.dir"]),
            savepoint_directory: self
                .directory(&["execution.checkpointing.savepoint-dir", "state.savepoints.dir"]),
            recovery_path: self.directory(&["execution.state-recovery.path"]),
            allow_non_restored_state: is("execution.state-recovery.ignore-unclaimed-state", "true"),
            claim: is("execution.state-recovery.claim-mode", "CLAIM"),
            restart: self.restart_strategy(),
            buffer_timeout: buffer_timeout.and_then(|value| parse_duration(value).ok()).unwrap_or_default(),
        }
    }

    /// As in Flink: exponential delay with checkpoints, none without.
    fn restart_strategy(&self) -> RestartStrategy {
        let ms = |key: &str| i64::try_from(self.duration(key).as_millis()).unwrap_or(i64::MAX);
        let count = |key: &str| u32::try_from(self.integer(key)).unwrap_or(u32::MAX);
        let name = self.first(&["restart-strategy.type", "restart-strategy"]);
        match name.map(|name| name.replace('-', "")).as_deref() {
            None if self.duration("execution.checkpointing.interval").is_zero() => RestartStrategy::None,
            None => RestartStrategy::default_with_checkpoints(),
            Some("fixeddelay") => RestartStrategy::FixedDelay {
                attempts: count("restart-strategy.fixed-delay.attempts"),
                delay_ms: ms("restart-strategy.fixed-delay.delay"),
            },
            Some("failurerate") => RestartStrategy::FailureRate {
                max_failures: count("restart-strategy.failure-rate.max-failures-per-interval"),
                interval_ms: ms("restart-strategy.failure-rate.failure-rate-interval"),
                delay_ms: ms("restart-strategy.failure-rate.delay"),
            },
            Some("exponentialdelay") => {
                let attempts = "restart-strategy.exponential-delay.attempts-before-reset-backoff";
                let multiplier = self.get("restart-strategy.exponential-delay.backoff-multiplier");
                RestartStrategy::ExponentialDelay {
                    initial_ms: ms("restart-strategy.exponential-delay.initial-backoff"),
                    max_ms: ms("restart-strategy.exponential-delay.max-backoff"),
                    multiplier: multiplier.and_then(|m| m.parse().ok()).unwrap_or(1.5),
                    reset_threshold_ms: ms("restart-strategy.exponential-delay.reset-backoff-threshold"),
                    attempts: self.get(attempts).map(|_| count(attempts)),
                }
            }
            Some(_) => RestartStrategy::None,
        }
    }
}

/// How a job is run.
#[derive(Debug, Clone, PartialEq)]
pub struct JobSettings {
    /// `pipeline.name`.
    pub name: Option<String>,
    /// `execution.checkpointing.interval`.
    pub checkpoint_interval: Option<Duration>,
    /// `execution.checkpointing.timeout`.
    pub checkpoint_timeout: Duration,
    /// `execution.checkpointing.min-pause`.
    pub min_pause: Duration,
    /// `execution.checkpointing.tolerable-failed-checkpoints`.
    pub tolerable_failures: u32,
    /// `execution.checkpointing.num-retained`.
    pub num_retained: usize,
    /// `execution.checkpointing.dir`.
    pub checkpoint_directory: Option<PathBuf>,
    /// `execution.checkpointing.savepoint-dir`: where savepoints go when nobody says.
    pub savepoint_directory: Option<PathBuf>,
    /// `execution.state-recovery.path`: the checkpoint or savepoint to start from.
    pub recovery_path: Option<PathBuf>,
    /// `execution.state-recovery.ignore-unclaimed-state`: drop the state of operators that the job does not have.
    pub allow_non_restored_state: bool,
    /// `execution.state-recovery.claim-mode` is `CLAIM`: the savepoint is the job's from then on.
    pub claim: bool,
    /// `restart-strategy.*`.
    pub restart: RestartStrategy,
    /// `execution.buffer-timeout.interval`.
    pub buffer_timeout: Duration,
}

fn check(kind: Kind, value: &str) -> Result<(), String> {
    match kind {
        Kind::Text | Kind::Ignored => Ok(()),
        Kind::Integer(low, high) => match value.trim().parse::<i64>() {
            Ok(number) if (low..=high).contains(&number) => Ok(()),
            _ => Err(format!("it must be an integer from {low} to {high}")),
        },
        Kind::Number => match value.trim().parse::<f64>() {
            Ok(number) if number >= 1.0 && number.is_finite() => Ok(()),
            _ => Err("it must be a number of at least 1".into()),
        },
        Kind::Duration => parse_duration(value).map(|_| ()),
        Kind::Boolean if matches!(value.to_ascii_lowercase().as_str(), "true" | "false") => Ok(()),
        Kind::Boolean => Err("it must be true or false".into()),
        Kind::Checked(check) => check(value),
        Kind::Directory => parse_directory(value).map(|_| ()),
        Kind::OneOf(values) if values.iter().any(|v| v.eq_ignore_ascii_case(value.trim())) => Ok(()),
        Kind::OneOf(values) => Err(format!("supported are: {}", values.join(", "))),
    }
}

/// Flink's text form of a duration: `10 s`, `1min`, `500` (milliseconds).
///
/// # Errors
/// Says what is accepted.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let invalid = || "it must be a duration such as `10 s`, `500 ms` or `1 min`".to_owned();
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| invalid())?;
    let nanos_per_unit: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "d" | "day" | "days" => 86_400_000_000_000,
        "h" | "hour" | "hours" => 3_600_000_000_000,
        "m" | "min" | "minute" | "minutes" => 60_000_000_000,
        "s" | "sec" | "secs" | "second" | "seconds" => 1_000_000_000,
        "" | "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => 1_000_000,
        "us" | "µs" | "micro" | "micros" | "microsecond" | "microseconds" => 1_000,
        "ns" | "nano" | "nanos" | "nanosecond" | "nanoseconds" => 1,
        _ => return Err(invalid()),
    };
    number.checked_mul(nanos_per_unit).map(Duration::from_nanos).ok_or_else(invalid)
}

/// A local directory: `file:///path`, `file:/path` or a plain path.
///
/// # Errors
/// Says what is accepted.
pub fn parse_directory(text: &str) -> Result<PathBuf, String> {
    let text = text.trim();
    let path = text.strip_prefix("file://").or_else(|| text.strip_prefix("file:")).unwrap_or(text);
    if path.contains("://") {
        return Err("only local directories are supported (`file:///path` or a plain path)".into());
    }
    if path.is_empty() { Err("it must name a directory".into()) } else { Ok(PathBuf::from(path)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_checked_when_they_are_set() {
        let mut config = Config::default();
        for (key, value) in [
            ("parallelism.default", "0"),
            ("execution.checkpointing.interval", "soon"),
            ("execution.runtime-mode", "batch"),
            ("execution.checkpointing.dir", "s3://bucket/x"),
            ("restart-strategy.type", "sometimes"),
        ] {
            let error = config.set(key, value).expect_err(key);
            assert!(error.contains(key) && error.contains(value), "{error}");
        }
        assert!(config.entries().is_empty());
        assert!(config.set("some.key", "x").expect("kept").is_some());
        assert_eq!(config.set("parallelism.default", "4"), Ok(None));
        assert_eq!(config.parallelism(), 4);
    }

    #[test]
    fn durations_are_read_as_flink_does() {
        let parsed = |text| parse_duration(text).ok().map(|d| d.as_millis());
        assert_eq!(
            ["10 s", "1min", "500", "2 h"].map(parsed),
            [Some(10_000), Some(60_000), Some(500), Some(7_200_000)]
        );
        assert_eq!(["", "s", "1 fortnight", "-1 s", "99999999999999999999 d"].map(parsed), [None; 5]);
    }

    #[test]
    fn the_default_restart_strategy_depends_on_checkpoints() {
        let mut config = Config::default();
        assert_eq!(config.job().restart, RestartStrategy::None);
        config.set("execution.checkpointing.interval", "1s").expect("valid");
        assert_eq!(config.job().restart, RestartStrategy::default_with_checkpoints());
        config.set("restart-strategy.type", "fixed-delay").expect("valid");
        config.set("restart-strategy.fixed-delay.attempts", "3").expect("valid");
        assert_eq!(config.job().restart, RestartStrategy::FixedDelay { attempts: 3, delay_ms: 1000 });
    }
}
