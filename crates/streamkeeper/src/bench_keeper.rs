//! `streamkeeper bench keeper`: the keeper and another ZooKeeper server, measured in one run.

use std::path::PathBuf;

use clap::Args;
use streamkeeper_keeper::bench::{Case, Options};

use crate::Failure;

/// What `streamkeeper bench keeper` is asked to do.
#[derive(Args, Debug)]
#[command(after_help = "\
Each server is a process of its own on an empty directory; they take turns case by case. CPU is that of the server's
process, user and system. COMMAND is run by a shell, with {port} and {data} replaced. Against Apache ZooKeeper:
  streamkeeper bench keeper --against 'crates/keeper/tests/foreign/bench_apache.sh {port} {data}'

Cases:
  create     persistent znodes of 100 bytes
  set, get   one of 1000 znodes
  children   getChildren2 of a znode with 20
  multi      create a znode, set another, delete the first
  ephemeral  create an ephemeral sequential znode, delete it
  watch      set a znode that all connections watch; an operation is one notification
  connect    open a session, close it")]
pub(crate) struct KeeperBenchArgs {
    /// Command of a server to compare with.
    #[arg(long, value_name = "COMMAND")]
    against: Option<String>,
    /// Command of the server to measure [default: this program's keeper].
    #[arg(long, value_name = "COMMAND")]
    server: Option<String>,
    /// Port of the first server; the second has the next.
    #[arg(long, default_value_t = 22181)]
    port: u16,
    /// Where the servers keep their data, in `server-a` and `server-b`, which are deleted first. Not on a tmpfs, where an fsync does
    /// nothing.
    #[arg(long, default_value = "target/bench-keeper")]
    data: PathBuf,
    /// Cases to run.
    #[arg(long, value_delimiter = ',', value_parser = case, default_values = Case::ALL.map(Case::name))]
    cases: Vec<Case>,
    /// Numbers of connections.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 128])]
    connections: Vec<u16>,
    /// Requests under way on each connection.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16])]
    depth: Vec<u16>,
    /// Seconds per case.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Measure the memory of so many znodes of 100 bytes as well.
    #[arg(long, value_name = "N")]
    znodes: Option<usize>,
}

fn case(name: &str) -> Result<Case, String> {
    Case::from_name(name)
        .ok_or_else(|| format!("there is no such case; there are {}", Case::ALL.map(Case::name).join(", ")))
}

pub(crate) fn run(args: &KeeperBenchArgs) -> Result<(), Failure> {
    let positive = |numbers: &[u16]| numbers.iter().all(|number| *number > 0);
    if !positive(&args.connections) || !positive(&args.depth) {
        return Err(Failure::usage("--connections and --depth are at least 1"));
    }
    if !(args.seconds > 0.0 && args.seconds.is_finite()) {
        return Err(Failure::usage("--seconds is above 0"));
    }
    if args.port == 0 || args.port == u16::MAX {
        return Err(Failure::usage("--port is between 1 and 65534"));
    }
    let server = match &args.server {
        Some(command) => command.clone(),
        None => {
            let program = std::env::current_exe().map_err(Failure::job)?;
            let program = program.to_string_lossy().replace('\'', r"'\''");
            format!("'{program}' keeper --data-dir {{data}} --client-port {{port}} --set maxClientCnxns=0")
        }
    };
    // Servers are told where their data is from wherever they run.
    let data = std::path::absolute(&args.data).map_err(Failure::job)?;
    let numbers = |numbers: &[u16]| numbers.iter().copied().map(usize::from).collect();
    let options = Options {
        server,
        against: args.against.clone(),
        port: args.port,
        data,
        cases: args.cases.clone(),
        connections: numbers(&args.connections),
        depths: numbers(&args.depth),
        seconds: args.seconds,
        znodes: args.znodes,
    };
    streamkeeper_keeper::bench::run(&options, &mut std::io::stdout().lock()).map_err(Failure::job)
}
