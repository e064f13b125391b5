//! The admin server's commands, with the fields that ZooKeeper 3.9 gives.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::core::{Connection, Core};
use crate::four_letter::{self, ServerInfo, VERSION};
use crate::metrics::{self, Number};

/// A command's names, the first one its primary name.
#[rustfmt::skip]
pub const COMMANDS: [&[&str]; 28] = [
    &["connection_stat_reset", "crst"],
    &["configuration", "conf", "config"],
    &["connections", "cons"],
    &["hash"],
    &["dirs"],
    &["dump"],
    &["environment", "env", "envi"],
    &["get_trace_mask", "gtmk"],
    &["initial_configuration", "icfg"],
    &["is_read_only", "isro"],
    &["last_snapshot", "lsnp"],
    &["leader", "lead"],
    &["monitor", "mntr"],
    &["observer_connection_stat_reset", "orst"],
    &["restore", "rest"],
    &["ruok"],
    &["set_trace_mask", "stmk"],
    &["snapshot", "snap"],
    &["server_stats", "srvr"],
    &["stats", "stat"],
    &["stat_reset", "srst"],
    &["observers", "obsr"],
    &["system_properties", "sysp"],
    &["voting_view"],
    &["watches", "wchc"],
    &["watches_by_path", "wchp"],
    &["watch_summary", "wchs"],
    &["zabstate"],
];

/// The primary name of a command that is called by any of its names.
pub fn primary_name(name: &str) -> Option<&'static str> {
    COMMANDS.iter().find(|names| names.contains(&name)).map(|names| names[0])
}

/// The answer to a command that is neither `snapshot` nor `restore`, by its primary name.
pub fn run(
    core: &mut Core,
    info: &ServerInfo,
    command: &str,
    arguments: &BTreeMap<String, String>,
) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut error = Value::Null;
    let mut put = |key: &str, value: Value| drop(fields.insert(key.to_owned(), value));
    match command {
        "connection_stat_reset" => core.reset_connection_counters(),
        "stat_reset" => core.reset_counters(),
        "configuration" => {
            let path =
                |path: &Option<std::path::PathBuf>| path.as_ref().map(|path| path.display().to_string());
            let options = core.options();
            put("client_port", info.client_port.into());
            put("data_dir", json!(path(&info.data_dir)));
            put("data_log_dir", json!(path(&info.data_log_dir)));
            put("tick_time", options.tick_ms.into());
            put("max_client_cnxns", info.max_connections_per_address.into());
            put("min_session_timeout", options.min_session_timeout_ms.into());
            put("max_session_timeout", options.max_session_timeout_ms.into());
            put("server_id", four_letter::SERVER_ID.into());
            put("client_port_listen_backlog", json!(-1));
        }
        "connections" => {
            put("connections", connections(core, false, false));
            put("secure_connections", connections(core, true, false));
        }
        "hash" => {
            let version = crate::digest::VERSION;
            let digest = |(zxid, digest)| json!({"zxid": zxid, "digest": digest, "digestVersion": version});
            put("digests", core.digests().iter().map(digest).collect());
        }
        "dirs" => {
            put("datadir_size", four_letter::directory_bytes(info.data_dir.as_deref()).into());
            put("logdir_size", four_letter::directory_bytes(info.data_log_dir.as_deref()).into());
        }
        "dump" => {
            let deadlines =
                core.sessions().deadlines().map(|(deadline_ms, ids)| (deadline_ms.to_string(), json!(ids)));
            put("expiry_time_to_session_ids", Value::Object(deadlines.collect()));
            let tree = core.tree();
            let owned =
                tree.sessions_with_ephemerals().map(|id| (id.to_string(), json!(tree.ephemerals_of(id))));
            put("session_id_to_ephemeral_paths", Value::Object(owned.collect()));
        }
        "environment" => {
            let text = four_letter::text_of(core, "envi", info);
            for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
                put(key, value.into());
            }
        }
        "get_trace_mask" => put("tracemask", core.trace_mask().into()),
        "set_trace_mask" => match arguments.get("traceMask").map(|mask| mask.parse::<i64>()) {
            // Nothing is traced by it; one is taken, as tools expect, and told again.
            Some(Ok(mask)) => {
                core.set_trace_mask(mask);
                put("tracemask", mask.into());
            }
            Some(Err(_)) => error = "setTraceMask requires long traceMask argument".into(),
            None => error = "setTraceMask requires long traceMask argument".into(),
        },
        "initial_configuration" => put("initial_configuration", json!(info.initial_configuration)),
        "is_read_only" => put("read_only", core.read_only().into()),
        "last_snapshot" => {
            let newest = info.data_dir.as_deref().and_then(newest_snapshot);
            put(
                "zxid",
                newest.as_ref().map_or("ffffffffffffffff".into(), |(zxid, _)| format!("{zxid:x}")).into(),
            );
            put("timestamp", newest.map_or(-1, |(_, seconds)| seconds).into());
        }
        "leader" => error = "server is not initialized".into(),
        "monitor" => {
            put("version", VERSION.into());
            put("server_state", "standalone".into());
            for (name, value) in metrics::lines(&metrics::of(core)) {
                put(&name, number(value));
            }
        }
        "server_stats" | "stats" => {
            put("version", VERSION.into());
            put("read_only", core.read_only().into());
            put("server_stats", server_stats(core, info));
            put("client_response", client_responses(core));
            put("node_count", metrics::node_count(core).into());
            if command == "stats" {
                put("connections", connections(core, false, true));
                put("secure_connections", connections(core, true, true));
            }
        }
        "observers" => {
            put("synced_observers", 0.into());
            put("observers", json!([]));
        }
        "system_properties" => {
            for (key, value) in &info.settings {
                put(key, value.as_str().into());
            }
        }
        "voting_view" => put("current_config", json!({})),
        "watches" => {
            let by_session = four_letter::watches_by_session(core);
            let by_session = by_session.into_iter().map(|(id, paths)| (id.to_string(), json!(paths)));
            put("session_id_to_watched_paths", Value::Object(by_session.collect()));
        }
        "watches_by_path" => {
            let session = |id| core.connection(id).map_or(0, |connection| connection.session_id);
            let by_path = core.watches().data_watchers().into_iter().map(|(path, ids)| {
                (path.to_owned(), json!(ids.into_iter().map(session).collect::<Vec<i64>>()))
            });
            put("path_to_session_ids", Value::Object(by_path.collect()));
        }
        "watch_summary" => {
            let summary = core.watches().summary();
            put("num_connections", summary.connections.into());
            put("num_paths", summary.paths.into());
            put("num_total_watches", summary.watches.into());
        }
        "zabstate" => {
            put("voting", false.into());
            put("zabstate", "".into());
        }
        // `ruok`, and what concerns ensembles only.
        _ => {}
    }
    fields.insert("command".into(), command.into());
    fields.insert("error".into(), error);
    fields
}

/// An error as the commands answer it.
pub fn failure(command: &str, error: &str) -> Map<String, Value> {
    Map::from_iter([("command".to_owned(), command.into()), ("error".to_owned(), error.into())])
}

fn server_stats(core: &Core, info: &ServerInfo) -> Value {
    let counters = core.counters();
    let traffic = &counters.traffic;
    json!({
        "packets_sent": traffic.sent,
        "packets_received": traffic.received,
        "fsync_threshold_exceed_count": counters.figures.storage().slow_syncs,
        "client_response_stats": client_responses(core),
        "uptime": core.uptime_ms(),
        "provider_null": false,
        "server_state": "standalone",
        "outstanding_requests": core.outstanding_requests(),
        "min_latency": traffic.latency_min_ms.unwrap_or(0),
        "avg_latency": traffic.latency_rounded_ms(),
        "max_latency": traffic.latency_max_ms,
        "data_dir_size": four_letter::directory_bytes(info.data_dir.as_deref()),
        "log_dir_size": four_letter::directory_bytes(info.data_log_dir.as_deref()),
        "last_processed_zxid": core.tree().last_zxid(),
        "num_alive_client_connections": core.connections().count(),
        "auth_failed_count": counters.auth_failed,
        "non_mtlsremote_conn_count": 0,
        "non_mtlslocal_conn_count": 0,
    })
}

fn connections(core: &Core, secure: bool, brief: bool) -> Value {
    let mut all: Vec<_> = core.connections().filter(|(_, connection)| connection.secure == secure).collect();
    all.sort_unstable_by_key(|(id, _)| *id);
    all.into_iter().map(|(_, connection)| describe(connection, brief)).collect()
}

fn describe(connection: &Connection, brief: bool) -> Value {
    let traffic = &connection.traffic;
    let mut info = json!({
        "remote_socket_address": std::net::SocketAddr::new(connection.peer, connection.peer_port).to_string(),
        "interest_ops": 1,
        "outstanding_requests": connection.outstanding(),
        "packets_received": traffic.received,
        "packets_sent": traffic.sent,
    });
    if !brief && let Value::Object(fields) = &mut info {
        let more = json!({
            "session_id": connection.session_id,
            "last_operation": four_letter::short_name(connection.last_op),
            "established": connection.established_ms,
            "session_timeout": connection.timeout_ms,
            "last_cxid": connection.last_cxid,
            "last_zxid": connection.last_zxid,
            "last_response_time": connection.last_response_ms,
            "last_latency": connection.last_latency_ms,
            "min_latency": traffic.latency_min_ms.unwrap_or(0),
            "avg_latency": traffic.latency_avg_ms() as i64,
            "max_latency": traffic.latency_max_ms,
        });
        if let Value::Object(more) = more {
            fields.extend(more);
        }
    }
    info
}

/// Zxid and time (in seconds since 1970) of the newest snapshot in a directory.
fn newest_snapshot(directory: &std::path::Path) -> Option<(i64, i64)> {
    let entries = std::fs::read_dir(directory).ok()?.filter_map(|entry| entry.ok());
    let snapshots = entries.filter_map(|entry| {
        let name = entry.file_name();
        let zxid = name.to_str()?.strip_prefix("snapshot.")?.split('.').next()?;
        let modified = entry.metadata().ok()?.modified().ok()?;
        let seconds = modified.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs();
        Some((i64::from_str_radix(zxid, 16).ok()?, seconds as i64))
    });
    snapshots.max()
}

fn client_responses(core: &Core) -> Value {
    let sizes = core.counters().figures.client_responses;
    json!({"last_buffer_size": sizes.last, "min_buffer_size": sizes.min, "max_buffer_size": sizes.max})
}

fn number(value: Number) -> Value {
    match value {
        Number::Whole(value) => value.into(),
        Number::Fraction(value) => value.into(),
    }
}
