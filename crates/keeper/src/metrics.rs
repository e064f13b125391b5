//! What the server counts, under ZooKeeper's names where it has one: for `mntr`, the admin server and Prometheus.

use crate::core::Core;
use crate::proto::op;

/// A figure as of now.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// ZooKeeper's name or, where it has none, ours; without prefix.
    pub name: &'static str,
    /// The value.
    pub value: f64,
    /// Whether it only grows.
    pub counter: bool,
}

/// All figures of a server.
pub fn of(core: &Core) -> Vec<Metric> {
    let gauge = |name, value: f64| Metric { name, value, counter: false };
    let counter = |name, value: u64| Metric { name, value: value as f64, counter: true };
    let counters = core.counters();
    let tree = core.tree();
    let traffic = &counters.traffic;
    let count_of = |ops: &[i32]| ops.iter().filter_map(|op| counters.requests_by_op.get(op)).sum::<u64>();
    let files = open_files();
    let mut metrics = vec![
        gauge("avg_latency", traffic.latency_avg_ms()),
        gauge("max_latency", traffic.latency_max_ms as f64),
        gauge("min_latency", traffic.latency_min_ms.unwrap_or(0) as f64),
        gauge("packets_received", traffic.received as f64),
        gauge("packets_sent", traffic.sent as f64),
        gauge("num_alive_connections", core.connections().count() as f64),
        gauge("outstanding_requests", core.outstanding_requests() as f64),
        gauge("uptime", core.uptime_ms() as f64),
        gauge("znode_count", tree.len() as f64),
        gauge("watch_count", core.watches().len() as f64),
        gauge("ephemerals_count", tree.ephemerals_count() as f64),
        gauge("approximate_data_size", tree.data_bytes() as f64),
        gauge("global_sessions", core.sessions().len() as f64),
        gauge("local_sessions", 0.0),
        gauge("open_file_descriptor_count", files.0),
        gauge("max_file_descriptor_count", files.1),
        gauge("connection_drop_probability", core.connection_drop_share()),
        gauge("auth_failed_count", counters.auth_failed as f64),
        gauge("readonly_mode", f64::from(u8::from(core.read_only()))),
        counter("connection_request_count", counters.connections_accepted),
        counter("connection_revalidate_count", counters.connections_revalidated),
        counter("stale_sessions_expired", counters.stale_sessions_expired),
        counter("digest_mismatches_count", counters.digest_mismatches),
        counter("watches_fired", counters.watches_fired),
        counter("commit_count", counters.transactions),
        counter("requests_refused_read_only", counters.refused_read_only),
        counter("connection_rejected", counters.connections_rejected),
        counter("connection_throttled", counters.connections_throttled),
        counter("sessionless_connections_expired", counters.sessionless_expired),
        counter("large_requests_rejected", counters.large_requests_rejected),
        counter("slow_clients_closed", counters.slow_clients_closed),
        counter("watches_refused", counters.watches_refused),
        counter("op_count_total", counters.requests_by_op.values().sum()),
    ];
    let by_op: [(&'static str, &[i32]); 20] = [
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
        ("op_count_set_watches", &[op::SET_WATCHES, op::SET_WATCHES2]),
        ("op_count_add_watch", &[op::ADD_WATCH]),
        ("op_count_remove_watches", &[op::REMOVE_WATCHES]),
    ];
    metrics.extend(by_op.into_iter().map(|(name, ops)| counter(name, count_of(ops))));
    metrics
}

/// The figures in Prometheus' text format.
pub fn prometheus(metrics: &[Metric]) -> String {
    let kind = |metric: &Metric| if metric.counter { "counter" } else { "gauge" };
    let lines = metrics.iter().map(|metric| {
        let Metric { name, value, .. } = metric;
        format!("# HELP {name} {name}\n# TYPE {name} {}\n{name} {value:?}\n", kind(metric))
    });
    lines.collect()
}

/// Open and allowed file descriptors of this process; -1 where the system does not tell.
fn open_files() -> (f64, f64) {
    let open = std::fs::read_dir("/proc/self/fd").map_or(-1.0, |entries| entries.count() as f64);
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let allowed = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next()?.parse().ok())
        .unwrap_or(-1.0);
    (open, allowed)
}
