//! The four-letter commands, in the texts that ZooKeeper's monitoring tools read.
//!
//! A command comes as the first four bytes of a connection, is answered with a text, and the connection closes.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Write};
use std::path::{Path, PathBuf};

use crate::config::FourLetterWords;
use crate::core::{Connection, Core, Traffic};
use crate::metrics;
use crate::proto::op;
use crate::watch::ConnectionId;

/// The version that clients and tools see: the ZooKeeper release whose protocol this is, and ours.
pub const VERSION: &str = concat!("3.9.4-streamkeeper-", env!("CARGO_PKG_VERSION"));

/// The id of a server that belongs to no ensemble. The number that its sessions' ids begin with is another.
pub(crate) const SERVER_ID: i64 = 0;

/// What the commands tell of the server besides the core.
#[derive(Debug, Clone, Default)]
pub struct ServerInfo {
    /// Port for clients, or -1.
    pub client_port: i32,
    /// Port for clients over TLS, or -1.
    pub secure_client_port: i32,
    /// Where snapshots are; `None`: in memory.
    pub data_dir: Option<PathBuf>,
    /// Where the log is.
    pub data_log_dir: Option<PathBuf>,
    /// Connections from one address at most.
    pub max_connections_per_address: usize,
    /// The settings as they are written.
    pub settings: BTreeMap<String, String>,
    /// The configuration file's text.
    pub initial_configuration: String,
}

/// Whether the first bytes of a connection are a command.
pub fn is_command(word: &[u8; 4]) -> bool {
    FourLetterWords::KNOWN.iter().any(|command| command.as_bytes() == word)
}

/// Answers a command on a connection, and closes it. `rest`: what came behind the command.
pub fn answer(
    core: &mut Core,
    id: ConnectionId,
    word: &[u8; 4],
    rest: &[u8],
    allowed: &[String],
    info: &ServerInfo,
) {
    let word = String::from_utf8_lossy(word);
    core.command_received(id);
    let text = match allowed.iter().any(|allowed| *allowed == word || allowed == "*") {
        true => {
            if word == "stmk"
                && let Some(mask) = rest.first_chunk()
            {
                core.set_trace_mask(i64::from_be_bytes(*mask));
            }
            text_for(core, &word, info, Some(id))
        }
        false => format!("{word} is not executed because it is not in the whitelist.\n"),
    };
    if let Some(out) = core.output(id) {
        out.extend_from_slice(text.as_bytes());
    }
    core.close(id);
}

/// The answer to a command.
pub fn text_of(core: &mut Core, word: &str, info: &ServerInfo) -> String {
    text_for(core, word, info, None)
}

fn text_for(core: &mut Core, word: &str, info: &ServerInfo, asker: Option<ConnectionId>) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write_answer(core, word, info, asker, &mut text);
    text
}

fn write_answer(
    core: &mut Core,
    word: &str,
    info: &ServerInfo,
    asker: Option<ConnectionId>,
    out: &mut String,
) -> fmt::Result {
    match word {
        "ruok" => out.write_str("imok"),
        "isro" => out.write_str(if core.read_only() { "ro" } else { "rw" }),
        // Nothing is traced by the mask.
        "gtmk" | "stmk" => write!(out, "{}", core.trace_mask()),
        "srst" => {
            core.reset_counters();
            out.write_str("Server stats reset.\n")
        }
        "crst" => {
            core.reset_connection_counters();
            out.write_str("Connection stats reset.\n")
        }
        "srvr" => write_server(core, out, None),
        "stat" => write_server(core, out, Some(asker)),
        "cons" => {
            for (id, connection) in sorted_connections(core) {
                write_connection(connection, false, asker == Some(id), out)?;
            }
            out.write_str("\n")
        }
        "conf" => write_configuration(core, info, out),
        "dirs" => {
            writeln!(out, "datadir_size: {}", directory_bytes(info.data_dir.as_deref()))?;
            writeln!(out, "logdir_size: {}", directory_bytes(info.data_log_dir.as_deref()))
        }
        "dump" => write_dump(core, out),
        "envi" => write_environment(out),
        "hash" => core.digests().iter().try_for_each(|(zxid, digest)| writeln!(out, "{zxid:x}: {digest}")),
        "mntr" => {
            writeln!(out, "zk_version\t{VERSION}")?;
            writeln!(out, "zk_server_state\tstandalone")?;
            metrics::lines(&metrics::of(core))
                .into_iter()
                .try_for_each(|(name, value)| writeln!(out, "zk_{name}\t{value}"))
        }
        "wchs" => {
            let summary = core.watches().summary();
            writeln!(out, "{} connections watching {} paths", summary.connections, summary.paths)?;
            writeln!(out, "Total watches:{}", summary.watches)
        }
        "wchp" => {
            for (path, watchers) in core.watches().data_watchers() {
                writeln!(out, "{path}")?;
                watchers.iter().try_for_each(|id| writeln!(out, "\t0x{:x}", session_of(core, *id)))?;
            }
            out.write_str("\n")
        }
        "wchc" => {
            for (session_id, paths) in watches_by_session(core) {
                writeln!(out, "0x{session_id:x}")?;
                paths.iter().try_for_each(|path| writeln!(out, "\t{path}"))?;
            }
            out.write_str("\n")
        }
        _ => Ok(()),
    }
}

/// `clients`: the clients are listed, and who of them asks.
fn write_server(core: &Core, out: &mut String, clients: Option<Option<ConnectionId>>) -> fmt::Result {
    writeln!(out, "Zookeeper version: {VERSION}")?;
    if core.read_only() {
        writeln!(
            out,
            "READ-ONLY mode; the disk is full: reads are served, writes are refused until there is room"
        )?;
    }
    if let Some(asker) = clients {
        writeln!(out, "Clients:")?;
        for (id, connection) in sorted_connections(core) {
            write_connection(connection, true, asker == Some(id), out)?;
        }
        writeln!(out)?;
    }
    let Traffic { received, sent, .. } = core.counters().traffic;
    writeln!(out, "Latency min/avg/max: {}", latencies(&core.counters().traffic))?;
    writeln!(out, "Received: {received}")?;
    writeln!(out, "Sent: {sent}")?;
    writeln!(out, "Connections: {}", core.connections().count())?;
    writeln!(out, "Outstanding: {}", core.outstanding_requests())?;
    writeln!(out, "Zxid: 0x{:x}", core.tree().last_zxid())?;
    writeln!(out, "Mode: standalone")?;
    writeln!(out, "Node count: {}", metrics::node_count(core))
}

fn latencies(traffic: &Traffic) -> String {
    let avg = traffic.latency_rounded_ms();
    format!("{}/{avg:?}/{}", traffic.latency_min_ms.unwrap_or(0), traffic.latency_max_ms)
}

fn sorted_connections(core: &Core) -> Vec<(ConnectionId, &Connection)> {
    let mut connections: Vec<_> = core.connections().collect();
    connections.sort_unstable_by_key(|(id, _)| *id);
    connections
}

fn write_connection(connection: &Connection, brief: bool, asks: bool, out: &mut String) -> fmt::Result {
    let Connection { peer, peer_port, traffic, .. } = connection;
    // 1: the server waits for the client to send, as ZooKeeper's selector does but for the client whose command it answers.
    let interest = u8::from(!asks);
    write!(out, " /{}[{interest}]", std::net::SocketAddr::new(*peer, *peer_port))?;
    write!(out, "(queued={},recved={},sent={}", connection.outstanding(), traffic.received, traffic.sent)?;
    if !brief && connection.session_id != 0 {
        write!(out, ",sid=0x{:x},lop={}", connection.session_id, short_name(connection.last_op))?;
        write!(out, ",est={},to={}", connection.established_ms, connection.timeout_ms)?;
        if connection.last_cxid >= 0 {
            write!(out, ",lcxid=0x{:x}", connection.last_cxid)?;
        }
        write!(out, ",lzxid=0x{:x},lresp={}", connection.last_zxid, connection.last_response_ms)?;
        write!(out, ",llat={},minlat={}", connection.last_latency_ms, traffic.latency_min_ms.unwrap_or(0))?;
        write!(out, ",avglat={:.0},maxlat={}", traffic.latency_avg_ms(), traffic.latency_max_ms)?;
    }
    writeln!(out, ")")
}

/// Names of operations in `cons`.
pub(crate) fn short_name(op: i32) -> &'static str {
    match op {
        op::PING => "PING",
        op::CREATE_SESSION => "SESS",
        op::MULTI => "MULT",
        op::MULTI_READ => "MLTR",
        op::CREATE | op::CREATE2 | op::CREATE_TTL | op::CREATE_CONTAINER => "CREA",
        op::DELETE | op::DELETE_CONTAINER => "DELE",
        op::SET_DATA => "SETD",
        op::RECONFIG => "RECO",
        op::SET_ACL => "SETA",
        op::CLOSE_SESSION => "CLOS",
        op::SYNC => "SYNC",
        op::CHECK => "CHEC",
        op::EXISTS => "EXIS",
        op::GET_DATA => "GETD",
        op::SET_WATCHES => "SETW",
        op::SET_WATCHES2 => "STW2",
        op::ADD_WATCH => "ADDW",
        op::GET_ACL => "GETA",
        op::GET_CHILDREN | op::GET_CHILDREN2 => "GETC",
        op::GET_ALL_CHILDREN_NUMBER => "GETACN",
        op::CHECK_WATCHES => "CHKW",
        op::REMOVE_WATCHES => "REMW",
        op::WHO_AM_I => "HOMI",
        op::GET_EPHEMERALS => "GETE",
        _ => "NA",
    }
}

fn write_configuration(core: &Core, info: &ServerInfo, out: &mut String) -> fmt::Result {
    let options = core.options();
    let path =
        |path: &Option<PathBuf>| path.as_ref().map_or("memory".into(), |path| path.display().to_string());
    writeln!(out, "clientPort={}", info.client_port)?;
    writeln!(out, "secureClientPort={}", info.secure_client_port)?;
    writeln!(out, "dataDir={}", path(&info.data_dir))?;
    writeln!(out, "dataDirSize={}", directory_bytes(info.data_dir.as_deref()))?;
    writeln!(out, "dataLogDir={}", path(&info.data_log_dir))?;
    writeln!(out, "dataLogSize={}", directory_bytes(info.data_log_dir.as_deref()))?;
    writeln!(out, "tickTime={}", options.tick_ms)?;
    writeln!(out, "maxClientCnxns={}", info.max_connections_per_address)?;
    writeln!(out, "minSessionTimeout={}", options.min_session_timeout_ms)?;
    writeln!(out, "maxSessionTimeout={}", options.max_session_timeout_ms)?;
    writeln!(out, "clientPortListenBacklog=-1")?;
    writeln!(out, "serverId={SERVER_ID}")
}

/// Bytes that a directory's files hold, 0 without a directory.
pub(crate) fn directory_bytes(directory: Option<&Path>) -> u64 {
    let entries = directory.and_then(|directory| std::fs::read_dir(directory).ok());
    let lengths = entries.into_iter().flatten().filter_map(|entry| entry.ok()?.metadata().ok());
    lengths.filter(|metadata| metadata.is_file()).map(|metadata| metadata.len()).sum()
}

fn write_dump(core: &Core, out: &mut String) -> fmt::Result {
    let sessions = core.sessions();
    let deadlines: Vec<_> = sessions.deadlines().collect();
    writeln!(out, "SessionTracker dump:")?;
    writeln!(out, "Session Sets ({})/({}):", deadlines.len(), sessions.len())?;
    for (deadline_ms, ids) in deadlines {
        writeln!(out, "{} expire at {}:", ids.len(), core.wall_time_of(deadline_ms))?;
        ids.iter().try_for_each(|id| writeln!(out, "\t0x{id:x}"))?;
    }
    writeln!(out, "ephemeral nodes dump:")?;
    let mut owners: Vec<i64> = core.tree().sessions_with_ephemerals().collect();
    owners.sort_unstable();
    writeln!(out, "Sessions with Ephemerals ({}):", owners.len())?;
    for owner in owners {
        writeln!(out, "0x{owner:x}:")?;
        core.tree().ephemerals_of(owner).iter().try_for_each(|path| writeln!(out, "\t{path}"))?;
    }
    writeln!(out, "Connections dump:")?;
    write_connection_deadlines(core, out)
}

/// Connections by when they end if nothing comes, which is when their session does.
fn write_connection_deadlines(core: &Core, out: &mut String) -> fmt::Result {
    let of_session: HashMap<i64, &Connection> = core
        .connections()
        .filter(|(_, connection)| connection.session_id != 0)
        .map(|(_, connection)| (connection.session_id, connection))
        .collect();
    let sets: Vec<(i64, Vec<&Connection>)> = core
        .sessions()
        .deadlines()
        .map(|(deadline_ms, ids)| {
            (deadline_ms, ids.iter().filter_map(|id| of_session.get(id).copied()).collect())
        })
        .filter(|(_, connections): &(i64, Vec<_>)| !connections.is_empty())
        .collect();
    writeln!(out, "Connections Sets ({})/({}):", sets.len(), core.connections().count())?;
    let write = |connection: &Connection, out: &mut String| {
        let address = std::net::SocketAddr::new(connection.peer, connection.peer_port);
        writeln!(out, "\tip: /{address} sessionId: 0x{:x}", connection.session_id)
    };
    for (deadline_ms, connections) in sets {
        writeln!(out, "{} expire at {}:", connections.len(), core.wall_time_of(deadline_ms))?;
        connections.into_iter().try_for_each(|connection| write(connection, out))?;
    }
    // Whoever has no session yet, such as who asks for this.
    sorted_connections(core)
        .into_iter()
        .filter(|(_, connection)| connection.session_id == 0)
        .try_for_each(|(_, connection)| write(connection, out))
}

fn write_environment(out: &mut String) -> fmt::Result {
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| "<NA>".into());
    let text =
        |path: &str| std::fs::read_to_string(path).map_or("<NA>".into(), |text| text.trim().to_owned());
    writeln!(out, "Environment:")?;
    writeln!(out, "zookeeper.version={VERSION}")?;
    writeln!(out, "host.name={}", text("/proc/sys/kernel/hostname"))?;
    writeln!(out, "os.name={}", std::env::consts::OS)?;
    writeln!(out, "os.arch={}", std::env::consts::ARCH)?;
    writeln!(out, "os.version={}", text("/proc/sys/kernel/osrelease"))?;
    writeln!(out, "user.name={}", variable("USER"))?;
    writeln!(out, "user.home={}", variable("HOME"))?;
    let directory =
        std::env::current_dir().map_or("<NA>".into(), |directory| directory.display().to_string());
    writeln!(out, "user.dir={directory}")
}

fn session_of(core: &Core, id: ConnectionId) -> i64 {
    core.connection(id).map_or(0, |connection| connection.session_id)
}

/// Paths with watches of the data side, by session.
pub(crate) fn watches_by_session(core: &Core) -> BTreeMap<i64, Vec<&str>> {
    let mut by_session: BTreeMap<i64, Vec<&str>> = BTreeMap::new();
    for (path, watchers) in core.watches().data_watchers() {
        for id in watchers {
            by_session.entry(session_of(core, id)).or_default().push(path);
        }
    }
    by_session
}
