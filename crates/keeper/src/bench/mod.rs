//! A load generator for ZooKeeper servers: ours, and another one beside it in the same run.
//!
//! Both servers are started from a command ([`Options::server`], [`Options::against`]) on empty directories, and take turns case by
//! case, so that both see the same machine. The load is one thread around `poll`, raw frames in and out; what is measured of the
//! server is its own CPU time and memory, as `/proc` tells them of the processes of the command.

mod cases;
mod connect;
mod connections;
mod drive;
mod machine;
mod report;
mod server;

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

pub use cases::Case;
use drive::Measured;
use server::Server;

/// What to measure.
#[derive(Debug, Clone)]
pub struct Options {
    /// Command of the server to measure, with `{port}` and `{data}` in it.
    pub server: String,
    /// Command of the server to compare with.
    pub against: Option<String>,
    /// Port of the first; the other has the next.
    pub port: u16,
    /// Where the servers keep their data; emptied before.
    pub data: PathBuf,
    /// Cases.
    pub cases: Vec<Case>,
    /// Numbers of connections.
    pub connections: Vec<usize>,
    /// Requests under way on each connection.
    pub depths: Vec<usize>,
    /// Seconds per case.
    pub seconds: f64,
    /// Measure the memory of so many znodes as well.
    pub znodes: Option<usize>,
}

/// Why nothing could be measured.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A file or a socket failed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The server's answer is none.
    #[error("{0}")]
    Client(#[from] crate::client::Error),
    /// The server does not start.
    #[error("the server does not start: {reason}\n  command: {command}\n  its output: {}", log.display())]
    Start {
        /// What was run.
        command: String,
        /// Where its output is.
        log: PathBuf,
        /// Why.
        reason: String,
    },
    /// The server has ended.
    #[error("it ended with {0}")]
    Ended(std::process::ExitStatus),
    /// The server closed a connection.
    #[error("the server closed a connection in the middle of a case")]
    Closed,
    /// Requests stayed without an answer.
    #[error("{0} requests had no answer within 20 s")]
    Silent(usize),
    /// An answer to another request than the oldest.
    #[error("the server answered request {got} where {wanted} was due")]
    Disorder {
        /// The answer's number.
        got: i32,
        /// The number that was due.
        wanted: i32,
    },
    /// The server refused what a case needs.
    #[error("{} was refused with error {err}", crate::proto::op::name(*.op))]
    Refused {
        /// The request's type.
        op: i32,
        /// The code.
        err: i32,
    },
}

type Result<T> = std::result::Result<T, Failure>;

/// Starts of which the median of exec to first create is taken.
const STARTS: usize = 3;

/// One case, measured on one server.
#[derive(Debug, Clone)]
struct Row {
    measured: Measured,
    /// CPU time of the server.
    cpu: Duration,
    /// CPU time of the load generator.
    own_cpu: Duration,
    rss_mib: f64,
}

/// Measures, and writes a table to `out`.
pub fn run(options: &Options, out: &mut dyn Write) -> Result<()> {
    std::fs::create_dir_all(&options.data)?;
    let mut servers = vec![start(&options.server, options.port, options, "server-a", out)?];
    if let Some(against) = &options.against {
        servers.push(start(against, options.port + 1, options, "server-b", out)?);
    }
    let versions: Vec<&str> = servers.iter().map(|(server, _)| server.version.as_str()).collect();
    report::heading(out, &machine::describe(&options.data)?, &versions, options)?;
    for (server, started) in &mut servers {
        std::thread::sleep(Duration::from_secs(2));
        started.idle_mib = server.rss_mib();
        cases::prepare(&server.address)?;
    }
    report::columns(out)?;
    for case in &options.cases {
        for connections in &options.connections {
            let depths = if case.has_depth() { options.depths.as_slice() } else { &[1] };
            for depth in depths {
                let mut rows = Vec::new();
                for (server, _) in &servers {
                    rows.push(measure(*case, server, *connections, *depth, options.seconds)?);
                }
                report::row(out, *case, *connections, *depth, &rows)?;
            }
        }
    }
    for (server, started) in &mut servers {
        started.after_mib = server.rss_mib();
    }
    let started: Vec<&Started> = servers.iter().map(|(_, started)| started).collect();
    report::footing(out, &started)?;
    if let Some(znodes) = options.znodes {
        let mut filled = Vec::new();
        // On servers of their own: the heap of one that has run all cases says nothing.
        drop(servers);
        for (index, command) in
            [Some(&options.server), options.against.as_ref()].into_iter().flatten().enumerate()
        {
            let name = ["server-a", "server-b"][index];
            let server = Server::start(command, options.port + index as u16, &options.data.join(name))?;
            let cpu = server.cpu();
            let elapsed = cases::fill(&server.address, znodes)?;
            let cpu = server.cpu().saturating_sub(cpu);
            std::thread::sleep(Duration::from_secs(2));
            filled.push((server.rss_mib(), elapsed, cpu));
        }
        report::znodes(out, znodes, &filled)?;
    }
    Ok(())
}

/// How a server came up, and its memory.
#[derive(Debug, Clone, Default)]
struct Started {
    first_create: Duration,
    idle_mib: f64,
    after_mib: f64,
}

fn start(
    command: &str,
    port: u16,
    options: &Options,
    name: &str,
    out: &mut dyn Write,
) -> Result<(Server, Started)> {
    writeln!(out, "starting {command}")?;
    let data = options.data.join(name);
    let mut times = Vec::new();
    for _ in 1..STARTS {
        times.push(Server::start(command, port, &data)?.first_create);
    }
    let server = Server::start(command, port, &data)?;
    times.push(server.first_create);
    times.sort();
    Ok((server, Started { first_create: times[times.len() / 2], ..Started::default() }))
}

fn measure(case: Case, server: &Server, connections: usize, depth: usize, seconds: f64) -> Result<Row> {
    let mut marks = Vec::new();
    let mut mark = || marks.push((server.cpu(), server::own_cpu(), Instant::now()));
    let mut measured = cases::measure(case, &server.address, connections, depth, seconds, &mut mark)?;
    measured.latencies.sort_unstable();
    let (cpu, own_cpu) = match marks.as_slice() {
        [start, end] => (end.0.saturating_sub(start.0), end.1.saturating_sub(start.1)),
        _ => (Duration::ZERO, Duration::ZERO),
    };
    Ok(Row { measured, cpu, own_cpu, rss_mib: server.rss_mib() })
}
