//! What the server counts, under ZooKeeper's names where it has one: for `mntr`, the admin server and Prometheus.
//!
//! - [`summary`]: many measurements in a few words of memory
//! - [`figures`]: what is measured, by the core and by the threads beside it
//! - `absent`: the names that concern what this server does not have

mod absent;
pub mod figures;
pub mod summary;

use crate::core::Core;
use crate::proto::op;
use summary::{Summary, SummaryFigures};

/// A figure as of now.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// ZooKeeper's name or, where it has none, ours; without prefix.
    pub name: &'static str,
    /// The value.
    pub value: Value,
}

/// A figure's kind and value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// What goes up and down.
    Gauge(Number),
    /// What only grows.
    Counter(u64),
    /// Many measurements.
    Summary(SummaryFigures),
    /// Many measurements by a key.
    SummarySet(Vec<(String, SummaryFigures)>),
}

/// A number as ZooKeeper prints it: one that may have a fraction always with one.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs)]
pub enum Number {
    Whole(i64),
    Fraction(f64),
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Number::Whole(value) => write!(f, "{value}"),
            Number::Fraction(value) => write!(f, "{value:?}"),
        }
    }
}

/// All figures of a server.
pub fn of(core: &Core) -> Vec<Metric> {
    let mut metrics = gauges(core);
    metrics.extend(counters(core));
    metrics.extend(summaries(core));
    metrics
}

/// The number of znodes as ZooKeeper counts them: the root twice, as its table has it under two names.
pub fn node_count(core: &Core) -> usize {
    core.tree().len() + 1
}

fn gauges(core: &Core) -> Vec<Metric> {
    let gauge = |name, value| Metric { name, value: Value::Gauge(value) };
    let whole = |name, value: usize| gauge(name, Number::Whole(value as i64));
    let counters = core.counters();
    let tree = core.tree();
    let traffic = &counters.traffic;
    let responses = &counters.figures.client_responses;
    let files = open_files();
    let mut metrics = vec![
        gauge("avg_latency", Number::Fraction(traffic.latency_rounded_ms())),
        whole("max_latency", traffic.latency_max_ms as usize),
        whole("min_latency", traffic.latency_min_ms.unwrap_or(0) as usize),
        whole("packets_received", traffic.received as usize),
        whole("packets_sent", traffic.sent as usize),
        whole("num_alive_connections", core.connections().count()),
        whole("outstanding_requests", core.outstanding_requests()),
        whole("uptime", core.uptime_ms() as usize),
        whole("znode_count", node_count(core)),
        whole("watch_count", core.watches().len()),
        whole("ephemerals_count", tree.ephemerals_count()),
        whole("approximate_data_size", tree.data_bytes() as usize),
        whole("global_sessions", core.sessions().len()),
        whole("local_sessions", 0),
        gauge("open_file_descriptor_count", Number::Whole(files.0)),
        gauge("max_file_descriptor_count", Number::Whole(files.1)),
        gauge("connection_drop_probability", Number::Fraction(core.connection_drop_share())),
        gauge("last_client_response_size", Number::Whole(responses.last)),
        gauge("max_client_response_size", Number::Whole(responses.max)),
        gauge("min_client_response_size", Number::Whole(responses.min)),
        whole("auth_failed_count", counters.auth_failed as usize),
        // Not of ZooKeeper's: whether writes are refused for want of disk.
        whole("readonly_mode", core.read_only().into()),
    ];
    metrics.extend(absent::GAUGES.iter().map(|name| whole(name, 0)));
    metrics
}

fn counters(core: &Core) -> Vec<Metric> {
    let counter = |name, value| Metric { name, value: Value::Counter(value) };
    let counters = core.counters();
    let figures = &counters.figures;
    let (changes_queued, changes_removed) = core.outstanding_changes();
    let count_of = |ops: &[i32]| ops.iter().filter_map(|op| counters.requests_by_op.get(op)).sum::<u64>();
    let storage = figures.storage();
    let mut metrics = vec![
        counter("bytes_received_count", figures.bytes_received),
        counter("response_bytes", figures.response_bytes),
        counter("watch_bytes", figures.watch_bytes),
        counter("connection_request_count", figures.connect_requests),
        counter("connection_revalidate_count", counters.connections_revalidated),
        counter("connection_rejected", counters.connections_rejected),
        counter("connection_drop_count", figures.connections_dropped),
        counter("unsuccessful_handshake", figures.failed_handshakes),
        counter("ensemble_auth_success", figures.ensemble_auth_success),
        counter("ensemble_auth_fail", figures.ensemble_auth_fail),
        counter("ensemble_auth_skip", figures.ensemble_auth_skip),
        counter("stale_sessions_expired", counters.stale_sessions_expired),
        counter("digest_mismatches_count", counters.digest_mismatches),
        counter("outstanding_changes_queued", changes_queued),
        counter("outstanding_changes_removed", changes_removed),
        counter("proposal_count", figures.proposals),
        counter("sync_processor_request_queued", figures.proposals),
        counter("commit_count", counters.transactions),
        counter("snapshot_error_count", storage.snapshot_errors),
        counter("snapshot_rate_limited_count", storage.snapshots_rate_limited),
        counter("restore_error_count", storage.restore_errors),
        counter("restore_rate_limited_count", storage.restores_rate_limited),
        counter("sessionless_connections_expired", counters.sessionless_expired),
        counter("large_requests_rejected", counters.large_requests_rejected),
        // Not of ZooKeeper's.
        counter("connection_throttled", counters.connections_throttled),
        counter("slow_clients_closed", counters.slow_clients_closed),
        counter("watches_refused", counters.watches_refused),
        counter("watches_fired", counters.watches_fired),
        counter("requests_refused_read_only", counters.refused_read_only),
        counter("op_count_total", counters.requests_by_op.values().sum()),
    ];
    metrics.extend(absent::COUNTERS.iter().map(|name| counter(name, 0)));
    let by_op: [(&'static str, &[i32]); 23] = [
        ("op_count_ping", &[op::PING]),
        ("op_count_create_session", &[op::CREATE_SESSION]),
        ("op_count_close_session", &[op::CLOSE_SESSION]),
        ("op_count_multi", &[op::MULTI]),
        ("op_count_multi_read", &[op::MULTI_READ]),
        ("op_count_create", &[op::CREATE, op::CREATE2, op::CREATE_TTL, op::CREATE_CONTAINER]),
        ("op_count_delete", &[op::DELETE, op::DELETE_CONTAINER]),
        ("op_count_set_data", &[op::SET_DATA]),
        ("op_count_set_acl", &[op::SET_ACL]),
        ("op_count_sync", &[op::SYNC]),
        ("op_count_check", &[op::CHECK]),
        ("op_count_exists", &[op::EXISTS]),
        ("op_count_get_data", &[op::GET_DATA]),
        ("op_count_get_acl", &[op::GET_ACL]),
        ("op_count_get_children", &[op::GET_CHILDREN, op::GET_CHILDREN2]),
        ("op_count_get_all_children_number", &[op::GET_ALL_CHILDREN_NUMBER]),
        ("op_count_get_ephemerals", &[op::GET_EPHEMERALS]),
        ("op_count_check_watches", &[op::CHECK_WATCHES]),
        ("op_count_reconfig", &[op::RECONFIG]),
        ("op_count_who_am_i", &[op::WHO_AM_I]),
        ("op_count_set_watches", &[op::SET_WATCHES, op::SET_WATCHES2]),
        ("op_count_add_watch", &[op::ADD_WATCH]),
        ("op_count_remove_watches", &[op::REMOVE_WATCHES]),
    ];
    metrics.extend(by_op.into_iter().map(|(name, ops)| counter(name, count_of(ops))));
    metrics
}

fn summaries(core: &Core) -> Vec<Metric> {
    let summary = |name, summary: &Summary| Metric { name, value: Value::Summary(summary.figures()) };
    let figures = &core.counters().figures;
    let storage = figures.storage();
    let mut metrics = vec![
        summary("readlatency", &figures.read_latency),
        summary("updatelatency", &figures.update_latency),
        summary("propagation_latency", &figures.propagation_latency),
        summary("node_created_watch_count", &figures.created_watchers),
        summary("node_deleted_watch_count", &figures.deleted_watchers),
        summary("node_changed_watch_count", &figures.changed_watchers),
        summary("node_children_watch_count", &figures.children_watchers),
        summary("fsynctime", &storage.sync),
        summary("sync_processor_batch_size", &storage.batch),
        summary("sync_processor_queue_flush_time_ms", &storage.flush),
        summary("snapshottime", &storage.snapshot),
        summary("restore_time", &storage.restore),
        summary("dbinittime", &storage.start),
        summary("startup_snap_load_time", &storage.start_snapshot),
        summary("startup_txns_loaded", &storage.start_transactions),
        summary("startup_txns_load_time", &storage.start_replay),
    ];
    drop(storage);
    let (basic, detailed) = (Summary::default(), Summary::detailed());
    metrics.extend(absent::SUMMARIES.iter().map(|name| summary(name, &basic)));
    metrics.extend(absent::DETAILED_SUMMARIES.iter().map(|name| summary(name, &detailed)));
    for (name, set) in [("read_per_namespace", &figures.reads), ("write_per_namespace", &figures.writes)] {
        let mut set: Vec<_> = set.iter().map(|(key, summary)| (key.to_owned(), summary.figures())).collect();
        set.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        metrics.push(Metric { name, value: Value::SummarySet(set) });
    }
    metrics
}

/// The figures one by one, named as in `mntr` and `monitor`.
pub fn lines(metrics: &[Metric]) -> Vec<(String, Number)> {
    let mut lines = Vec::new();
    for Metric { name, value } in metrics {
        match value {
            Value::Gauge(value) => lines.push(((*name).to_owned(), *value)),
            Value::Counter(value) => lines.push(((*name).to_owned(), Number::Whole(*value as i64))),
            Value::Summary(figures) => summary_lines(name, figures, &mut lines),
            Value::SummarySet(set) => set
                .iter()
                .for_each(|(key, figures)| summary_lines(&format!("{key}_{name}"), figures, &mut lines)),
        }
    }
    lines
}

fn summary_lines(name: &str, figures: &SummaryFigures, lines: &mut Vec<(String, Number)>) {
    let mut line = |prefix: &str, value| lines.push((format!("{prefix}_{name}"), value));
    line("avg", Number::Fraction(figures.avg()));
    line("min", Number::Whole(figures.min as i64));
    line("max", Number::Whole(figures.max as i64));
    line("cnt", Number::Whole(figures.count as i64));
    line("sum", Number::Whole(figures.sum as i64));
    if figures.detailed {
        for (prefix, part) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("p999", 0.999)] {
            line(prefix, Number::Whole(figures.quantile(part).unwrap_or(0.0).round() as i64));
        }
    }
}

/// The figures in Prometheus' text format, named as ZooKeeper's provider for Prometheus names them.
pub fn prometheus(metrics: &[Metric]) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    for Metric { name, value } in metrics {
        let kind = match value {
            Value::Gauge(_) => "gauge",
            Value::Counter(_) => "counter",
            Value::Summary(_) | Value::SummarySet(_) => "summary",
        };
        // Writing to a string does not fail.
        let _ = writeln!(text, "# HELP {name} {name}\n# TYPE {name} {kind}");
        let _ = match value {
            Value::Gauge(Number::Whole(value)) => writeln!(text, "{name} {:?}", *value as f64),
            Value::Gauge(Number::Fraction(value)) => writeln!(text, "{name} {value:?}"),
            Value::Counter(value) => writeln!(text, "{name} {:?}", *value as f64),
            Value::Summary(figures) => write_summary(&mut text, name, "", figures),
            Value::SummarySet(set) => set.iter().try_for_each(|(key, figures)| {
                let key = key.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
                write_summary(&mut text, name, &format!("key=\"{key}\""), figures)
            }),
        };
    }
    text
}

/// A summary's quantiles (without a number before the first measurement), count and sum.
fn write_summary(text: &mut String, name: &str, label: &str, figures: &SummaryFigures) -> std::fmt::Result {
    use std::fmt::Write;
    let quantiles: &[f64] = if figures.detailed { &[0.5, 0.9, 0.99] } else { &[0.5] };
    let comma = if label.is_empty() { "" } else { "," };
    for part in quantiles {
        let value = figures.quantile(*part).unwrap_or(f64::NAN);
        writeln!(text, "{name}{{{label}{comma}quantile=\"{part}\"}} {value:?}")?;
    }
    let label = if label.is_empty() { String::new() } else { format!("{{{label}}}") };
    writeln!(text, "{name}_count{label} {:?}", figures.count as f64)?;
    writeln!(text, "{name}_sum{label} {:?}", figures.sum as f64)
}

/// Open and allowed file descriptors of this process; -1 where the system does not tell.
fn open_files() -> (i64, i64) {
    let open = std::fs::read_dir("/proc/self/fd").map_or(-1, |entries| entries.count() as i64);
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let allowed = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next()?.parse().ok())
        .unwrap_or(-1);
    (open, allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prometheus_names_and_kinds() {
        let mut summary = Summary::default();
        summary.add(7);
        let metrics = [
            Metric { name: "up", value: Value::Gauge(Number::Whole(3)) },
            Metric { name: "seen", value: Value::Counter(4) },
            Metric { name: "took", value: Value::Summary(Summary::detailed().figures()) },
            Metric { name: "each", value: Value::SummarySet(vec![("a\"b".into(), summary.figures())]) },
        ];
        let expected = r#"# HELP up up
# TYPE up gauge
up 3.0
# HELP seen seen
# TYPE seen counter
seen 4.0
# HELP took took
# TYPE took summary
took{quantile="0.5"} NaN
took{quantile="0.9"} NaN
took{quantile="0.99"} NaN
took_count 0.0
took_sum 0.0
# HELP each each
# TYPE each summary
each{key="a\"b",quantile="0.5"} 7.0
each_count{key="a\"b"} 1.0
each_sum{key="a\"b"} 7.0
"#;
        assert_eq!(prometheus(&metrics), expected);
    }

    #[test]
    fn lines_are_named_as_in_mntr() {
        let metrics = [Metric {
            name: "took",
            value: Value::SummarySet(vec![("a".into(), Summary::default().figures())]),
        }];
        let lines: Vec<String> =
            lines(&metrics).iter().map(|(name, value)| format!("{name} {value}")).collect();
        let expected = ["avg_a_took 0.0", "min_a_took 0", "max_a_took 0", "cnt_a_took 0", "sum_a_took 0"];
        assert_eq!(lines, expected);
    }
}
