//! The configuration keys of SQL, beside those of every job.

use std::time::Duration;

pub use streamkeeper_dataflow::config::{Config, JobSettings, ZOOKEEPER_QUORUM};
use streamkeeper_dataflow::config::{Key, Kind};
use streamkeeper_dataflow::key_group::MAX_MAX_PARALLELISM;

const KEYS: &[Key] = &[
    ("table.local-time-zone", Kind::Checked(check_time_zone), "UTC"),
    ("table.exec.source.idle-timeout", Kind::Duration, "0 ms"),
    ("table.exec.sink.not-null-enforcer", Kind::OneOf(&["ERROR", "DROP"]), "ERROR"),
    ("table.exec.mini-batch.enabled", Kind::OneOf(&["false"]), "false"),
    ("table.dml-sync", Kind::Boolean, ""),
    ("table.exec.resource.default-parallelism", Kind::Integer(-1, MAX_MAX_PARALLELISM as i64), "-1"),
    ("sql-client.execution.result-mode", Kind::Ignored, ""),
    ("table.exec.state.ttl", Kind::OneOf(&["0", "0 ms", "0 s", "0ms", "0s"]), "0 ms"),
];

/// An empty configuration that knows the keys of SQL.
pub fn new() -> Config {
    Config::with_keys(KEYS)
}

fn check_time_zone(value: &str) -> Result<(), String> {
    value.parse::<chrono_tz::Tz>().map(|_| ()).map_err(|_| "it must be a zone such as Europe/Berlin".into())
}

/// `table.local-time-zone`.
pub fn time_zone(config: &Config) -> chrono_tz::Tz {
    config.get("table.local-time-zone").and_then(|zone| zone.parse().ok()).unwrap_or(chrono_tz::Tz::UTC)
}

/// `table.exec.resource.default-parallelism`, or `parallelism.default`.
pub fn parallelism(config: &Config) -> usize {
    match usize::try_from(config.integer("table.exec.resource.default-parallelism")) {
        Ok(of_tables) if of_tables > 0 => of_tables,
        _ => config.parallelism(),
    }
}

/// `table.exec.source.idle-timeout`; `None` when it is 0.
pub fn source_idle_timeout(config: &Config) -> Option<Duration> {
    Some(config.duration("table.exec.source.idle-timeout")).filter(|timeout| !timeout.is_zero())
}

/// `table.exec.sink.not-null-enforcer` is DROP.
pub fn drops_null_for_not_null(config: &Config) -> bool {
    config.get("table.exec.sink.not-null-enforcer") == Some("DROP")
}

#[cfg(test)]
mod tests {
    #[test]
    fn keys_of_sql_are_checked_and_take_part() {
        let mut config = super::new();
        assert!(config.set("table.local-time-zone", "Mars/Phobos").is_err());
        config.set("parallelism.default", "4").expect("valid");
        assert_eq!(super::parallelism(&config), 4);
        config.set("table.exec.resource.default-parallelism", "2").expect("valid");
        assert_eq!(super::parallelism(&config), 2);
    }
}
