//! Values by key, with where each stands: what is read from files and options before it is given types.

use std::collections::BTreeMap;
use std::fmt;
use std::num::IntErrorKind;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::properties;
use super::{ConfigError, Result, Warning, WrongValue};

/// What an `int` of Java's has at least.
const MIN_32: i64 = i32::MIN as i64;

/// Where a setting stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A line of a file.
    File(PathBuf, usize),
    /// An option that was given beside the file.
    Option,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Origin::File(path, line) => write!(f, "{}:{line}", path.display()),
            Origin::Option => f.write_str("given as an option"),
        }
    }
}

/// A value as it is written.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub key: String,
    pub value: String,
    pub origin: Origin,
}

impl Setting {
    /// The error that this value makes no sense.
    pub(super) fn wrong(&self, problem: &str, allowed: impl Into<String>) -> ConfigError {
        ConfigError::Value(Box::new(WrongValue {
            origin: self.origin.clone(),
            key: self.key.clone(),
            value: self.value.clone(),
            problem: problem.to_owned(),
            allowed: allowed.into(),
        }))
    }

    fn int(&self, allowed: RangeInclusive<i64>) -> Result<i64> {
        let text = self.value.as_str();
        let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
        let value = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
            Some(hex) => i64::from_str_radix(hex, 16),
            None => digits.parse(),
        };
        let least = |bound| matches!(bound, MIN_32 | i64::MIN);
        let range = || match (*allowed.start(), *allowed.end()) {
            (start, i64::MAX) if least(start) => "a whole number; 0 or less: no limit".to_owned(),
            (start, end) if least(start) => format!("a whole number of at most {end}"),
            (start, i64::MAX) => format!("a whole number of at least {start}"),
            (start, end) => format!("a whole number from {start} to {end}"),
        };
        match value.map(|value| sign * value) {
            Ok(value) if allowed.contains(&value) => Ok(value),
            Ok(_) => Err(self.wrong("out of range", range())),
            Err(error) if matches!(error.kind(), IntErrorKind::PosOverflow) => {
                Err(self.wrong("out of range", range()))
            }
            Err(_) => Err(self.wrong("not a whole number", range())),
        }
    }

    pub(super) fn flag(&self) -> Result<bool> {
        match self.value.to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(self.wrong("neither true nor false", "true, false")),
        }
    }
}

/// Settings that have not been looked at yet.
#[derive(Debug, Default)]
pub(super) struct Settings {
    left: BTreeMap<String, Setting>,
    pub warnings: Vec<Warning>,
}

impl Settings {
    /// Adds a file's entries. A later entry wins over an earlier one of the same key, as in Java.
    pub(super) fn add_file(&mut self, path: &Path, bytes: &[u8]) -> Result<()> {
        let entries = properties::parse(bytes)
            .map_err(|properties::BadEscape(line)| ConfigError::Escape { path: path.to_owned(), line })?;
        for entry in entries {
            let origin = Origin::File(path.to_owned(), entry.line);
            self.add(Setting { key: entry.key, value: entry.value, origin });
        }
        Ok(())
    }

    pub(super) fn add(&mut self, setting: Setting) {
        let name = canonical(&setting.key);
        if let Some(earlier) = self.left.insert(name.to_owned(), setting.clone())
            && earlier.origin != Origin::Option
            && setting.origin != Origin::Option
        {
            self.warn(&setting, format!("set before already ({}): the last one counts", earlier.origin));
        }
    }

    pub(super) fn warn(&mut self, setting: &Setting, text: impl Into<String>) {
        let (origin, key) = (setting.origin.clone(), setting.key.clone());
        self.warnings.push(Warning { origin: Some(origin), key, text: text.into() });
    }

    /// Takes a setting out.
    pub(super) fn take(&mut self, key: &str) -> Option<Setting> {
        self.left.remove(key)
    }

    /// Takes out all whose key begins with `prefix`, with the rest of their keys.
    pub(super) fn take_all(&mut self, prefix: &str) -> Vec<(String, Setting)> {
        let keys: Vec<String> = self
            .left
            .range(prefix.to_owned()..)
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, _)| key.clone())
            .collect();
        keys.into_iter()
            .filter_map(|key| self.left.remove(&key).map(|setting| (key[prefix.len()..].to_owned(), setting)))
            .collect()
    }

    /// All that is left.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Setting> {
        self.left.values()
    }

    /// What nobody took.
    pub(super) fn rest(&mut self) -> BTreeMap<String, Setting> {
        std::mem::take(&mut self.left)
    }

    /// Whether a key is set.
    pub(super) fn has(&self, key: &str) -> bool {
        self.left.contains_key(key)
    }

    /// A value that is not empty.
    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        self.take(key).map(|setting| setting.value).filter(|value| !value.is_empty())
    }

    pub(super) fn path(&mut self, key: &str) -> Option<PathBuf> {
        self.text(key).map(PathBuf::from)
    }

    pub(super) fn flag(&mut self, key: &str, default: bool) -> Result<bool> {
        self.take(key).map_or(Ok(default), |setting| setting.flag())
    }

    pub(super) fn int(&mut self, key: &str, default: i64, allowed: RangeInclusive<i64>) -> Result<i64> {
        self.take(key).map_or(Ok(default), |setting| setting.int(allowed))
    }

    pub(super) fn u32(&mut self, key: &str, default: u32) -> Result<u32> {
        self.int(key, default.into(), 0..=i32::MAX.into()).map(|value| value as u32)
    }

    /// A number that means "no limit" when it is not positive.
    pub(super) fn limit(&mut self, key: &str, default: i64) -> Result<Option<u64>> {
        let value = self.int(key, default, i64::MIN..=i64::MAX)?;
        Ok(u64::try_from(value).ok().filter(|value| *value > 0))
    }

    pub(super) fn millis(&mut self, key: &str, default: u64) -> Result<Duration> {
        self.int(key, default as i64, 0..=i64::MAX).map(|value| Duration::from_millis(value as u64))
    }

    pub(super) fn port(&mut self, key: &str) -> Result<Option<u16>> {
        self.take(key).map(|setting| setting.int(0..=65_535).map(|port| port as u16)).transpose()
    }

    pub(super) fn float(&mut self, key: &str, default: f64) -> Result<f64> {
        let Some(setting) = self.take(key) else { return Ok(default) };
        match setting.value.parse() {
            Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
            _ => Err(setting.wrong("not a share", "a number from 0 to 1")),
        }
    }

    /// Values between commas.
    pub(super) fn list(&mut self, key: &str) -> Option<Vec<String>> {
        let text = self.text(key)?;
        Some(text.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect())
    }
}

/// The name under which a key is looked up: without `zookeeper.`, and with the administrator's guide's name for what it calls otherwise
/// than Apache's source does.
fn canonical(key: &str) -> &str {
    let key = key.strip_prefix("zookeeper.").unwrap_or(key);
    match key {
        "connection_throttle_tokens" => "connectionMaxTokens",
        "connection_throttle_fill_time" => "connectionTokenFillTime",
        "connection_throttle_fill_count" => "connectionTokenFillCount",
        "connection_throttle_freeze_time" => "connectionFreezeTime",
        "connection_throttle_drop_increase" => "connectionDropIncrease",
        "connection_throttle_drop_decrease" => "connectionDropDecrease",
        "connection_throttle_decrease_ratio" => "connectionDecreaseRatio",
        "request_throttle_max_requests" => "requestThrottleLimit",
        "request_throttle_stall_time" => "requestThrottleStallTime",
        "request_throttle_drop_stale" => "requestThrottleDropStale",
        "request_stale_latency_check" => "requestStaleLatencyCheck",
        "request_stale_connection_check" => "requestStaleConnectionCheck",
        "throttled_op_wait_time" => "throttledOpWaitTime",
        "netty.server.outstandingHandshake.limit" => "outstandingHandshake.limit",
        "netty.advancedFlowControl.enabled" => "advancedFlowControlEnabled",
        "observer.syncEnabled" => "syncEnabled",
        "leader.maxConcurrentSnapSyncs" => "maxConcurrentSnapSyncs",
        "leader.maxConcurrentDiffSyncs" => "maxConcurrentDiffSyncs",
        "leader.maxTimeToWaitForEpoch" => "maxTimeToWaitForEpoch",
        "readOnlyMode.enabled" => "readonlymode.enabled",
        key => key,
    }
}
