//! `streamkeeper keeper`: a ZooKeeper-compatible server.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use streamkeeper_keeper::config::Config;
use streamkeeper_keeper::server::Keeper;

use crate::Failure;

/// What `streamkeeper keeper` is asked to do.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  streamkeeper keeper --data-dir data --client-port 2181
  streamkeeper keeper --config /etc/zookeeper/conf/zoo.cfg
  streamkeeper keeper --config zoo.cfg --set tickTime=500 --set 4lw.commands.whitelist=*

All keys of ZooKeeper's administrator's guide are known, in zoo.cfg and with --set; those that do not apply are warned of once.
A data directory of Apache ZooKeeper 3.5 to 3.9 opens as it is, and goes back. The log goes to standard error; STREAMKEEPER_LOG
sets its level (info). SIGTERM and SIGINT stop the server cleanly.")]
pub(crate) struct KeeperArgs {
    /// A zoo.cfg.
    #[arg(short, long, value_name = "FILE", required_unless_present = "data_dir")]
    config: Option<PathBuf>,
    /// Directory of snapshots and transaction logs: short for --set dataDir=DIR.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Port for clients: short for --set clientPort=PORT. 2181 without --config.
    #[arg(long, value_name = "PORT")]
    client_port: Option<u16>,
    /// Address for clients: short for --set clientPortAddress=HOST. All addresses unless set.
    #[arg(long, value_name = "HOST")]
    listen: Option<String>,
    /// Port of the admin server: short for --set admin.serverPort=PORT. Without --config it does not run unless this is given.
    #[arg(long, value_name = "PORT")]
    admin_port: Option<u16>,
    /// Set a key; may be repeated, and wins over the file.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// Runs the server until it is told to stop.
pub(crate) fn run(args: &KeeperArgs) -> Result<(), Failure> {
    let pairs = settings(args)?;
    let (config, warnings) = Config::from_sources(args.config.as_deref(), pairs).map_err(Failure::usage)?;
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    // It was read a moment ago; only the admin server shows its text.
    let text = args.config.as_ref().and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
    let keeper = Keeper::from_config(&config, &text).map_err(Failure::job)?;
    let core = keeper.core().clone();
    ctrlc::set_handler(move || core.stop())
        .map_err(|error| Failure::job(format!("cannot wait for signals: {error}")))?;
    let mut out = std::io::stdout();
    // Whoever closed standard output does not want to know.
    let _ = writeln!(out, "{}", banner(&keeper, &config));
    let _ = out.flush();
    keeper.wait().map_err(Failure::job)
}

fn banner(keeper: &Keeper, config: &Config) -> String {
    let mut banner = format!("keeper: data in {}", config.data_dir.display());
    if let Some(address) = keeper.client_address() {
        banner += &format!("; clients on {address}");
    }
    if let Some(address) = keeper.secure_client_address() {
        banner += &format!("; clients over TLS on {address}");
    }
    if let Some(address) = keeper.admin_address() {
        banner += &format!("; admin on http://{address}/commands");
    }
    if let Some(address) = keeper.metrics_address() {
        banner += &format!("; figures on http://{address}/metrics");
    }
    banner
}

/// The flags as keys.
fn settings(args: &KeeperArgs) -> Result<Vec<(String, String)>, Failure> {
    let mut pairs = Vec::new();
    let mut set = |key: &str, value: String| pairs.push((key.to_owned(), value));
    if args.config.is_none() {
        set("clientPort", args.client_port.unwrap_or(2181).to_string());
        set("admin.enableServer", args.admin_port.is_some().to_string());
    } else if let Some(port) = args.client_port {
        set("clientPort", port.to_string());
    }
    if let Some(directory) = &args.data_dir {
        set("dataDir", directory.display().to_string());
    }
    if let Some(host) = &args.listen {
        set("clientPortAddress", host.clone());
    }
    if let Some(port) = args.admin_port {
        set("admin.serverPort", port.to_string());
    }
    for pair in &args.set {
        let (key, value) = pair
            .split_once('=')
            .ok_or_else(|| Failure::usage(format!("--set {pair}: write --set KEY=VALUE")))?;
        set(key, value.to_owned());
    }
    Ok(pairs)
}
