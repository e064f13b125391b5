//! `streamkeeper standalone`, `jobmanager` and `taskmanager`: the processes of a cluster.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use clap::Args;
use streamkeeper_cluster::config::ClusterConfig;
use streamkeeper_cluster::network::{NetworkEnvironment, NetworkSettings};
use streamkeeper_cluster::rest::{RestListener, RestOptions, RestServer};
use streamkeeper_cluster::{JobManager, JobManagerOptions, TaskManager, TaskManagerOptions};
use streamkeeper_dataflow::config::{Config, ZOOKEEPER_QUORUM};
use streamkeeper_keeper::server::Keeper;

use super::configuration;
use super::planner::SqlPlanner;
use crate::Failure;

/// How long a TaskManager tries to reach another.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Threads for the sockets of the exchange.
const EXCHANGE_THREADS: usize = 2;

/// What `streamkeeper jobmanager` and `taskmanager` are asked to do.
#[derive(Args, Debug)]
#[command(after_help = "\
Keys are Flink's. Those most often needed:
  high-availability.zookeeper.quorum      ZooKeeper, as host:port,host:port
  high-availability.cluster-id            several clusters in one ZooKeeper (/default)
  execution.checkpointing.dir             where checkpoints are kept: a directory that all processes have
  jobmanager.rpc.address, .rpc.port       where a JobManager is reached (localhost, 6123)
  rest.port                               its REST API (8081); 0 takes a free port
  taskmanager.host, .data.port            where a TaskManager is reached by others (localhost, a free port)
  taskmanager.numberOfTaskSlots           how many subtasks of a job it takes (the machine's cores)
Keys are taken from streamkeeper.yaml (in this directory, or $STREAMKEEPER_CONF), then --set.
The log goes to standard error; STREAMKEEPER_LOG sets its level (info). SIGTERM and SIGINT stop the process cleanly.")]
pub(crate) struct RoleArgs {
    /// Set a configuration key; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// What `streamkeeper standalone` is asked to do.
#[derive(Args, Debug)]
#[command(after_help = "\
A keeper (a ZooKeeper server), a JobManager, a TaskManager and the REST API in one process; all data is in one directory, and
a restart goes on where the jobs were. With high-availability.zookeeper.quorum set, that ZooKeeper is used instead of a keeper.
More TaskManagers can join: streamkeeper taskmanager --set high-availability.zookeeper.quorum=localhost:2181")]
pub(crate) struct StandaloneArgs {
    /// Directory for everything that is kept.
    #[arg(long, value_name = "DIR", default_value = "streamkeeper-data")]
    data_dir: PathBuf,
    /// Port of the keeper; 0 takes a free one.
    #[arg(long, value_name = "PORT", default_value_t = 2181)]
    zookeeper_port: u16,
    #[command(flatten)]
    role: RoleArgs,
}

/// Runs a JobManager until it is told to stop.
pub(crate) fn job_manager(args: &RoleArgs) -> Result<(), Failure> {
    let config = configuration(&args.set)?;
    let stopped = on_signal()?;
    let (job_manager, rest) = start_job_manager(&config, None)?;
    say(&format!("jobmanager {}; REST API on http://{}", job_manager.handle().id(), rest.address()));
    // A closed channel means the same.
    let _ = stopped.recv();
    drop(rest);
    job_manager.stop();
    Ok(())
}

/// Runs a TaskManager until it is told to stop.
pub(crate) fn task_manager(args: &RoleArgs) -> Result<(), Failure> {
    let config = configuration(&args.set)?;
    let stopped = on_signal()?;
    let worker = start_task_manager(&config)?;
    say(&format!(
        "taskmanager {}; {} slots; exchange on {}",
        worker.task_manager.id(),
        worker.slots,
        worker.exchange.address()
    ));
    let _ = stopped.recv();
    worker.task_manager.stop();
    Ok(())
}

/// Runs all of a cluster in this process until it is told to stop.
pub(crate) fn standalone(args: &StandaloneArgs) -> Result<(), Failure> {
    let mut config = configuration(&args.role.set)?;
    let stopped = on_signal()?;
    let directory = std::path::absolute(&args.data_dir)
        .map_err(|e| Failure::usage(format!("--data-dir {}: {e}", args.data_dir.display())))?;
    let keeper = match config.get(ZOOKEEPER_QUORUM) {
        Some(_) => None,
        None => {
            let keeper = start_keeper(&directory, args.zookeeper_port)?;
            let address = keeper.client_address().ok_or_else(|| Failure::job("the keeper has no port"))?;
            config.set(ZOOKEEPER_QUORUM, &address.to_string()).map_err(Failure::job)?;
            Some((keeper, address))
        }
    };
    let (job_manager, rest) = start_job_manager(&config, Some(&directory))?;
    let worker = start_task_manager(&config)?;
    let zookeeper = match &keeper {
        Some((_, address)) => format!("; ZooKeeper on {address}"),
        None => String::new(),
    };
    say(&format!(
        "standalone: data in {}; REST API on http://{}{zookeeper}; {} slots",
        directory.display(),
        rest.address(),
        worker.slots
    ));
    let _ = stopped.recv();
    drop(rest);
    worker.task_manager.stop();
    job_manager.stop();
    if let Some((keeper, _)) = keeper {
        keeper.stop().map_err(Failure::job)?;
    }
    Ok(())
}

fn start_keeper(directory: &Path, port: u16) -> Result<Keeper, Failure> {
    let pairs = [
        ("dataDir", directory.join("zookeeper").display().to_string()),
        ("clientPort", port.to_string()),
        ("clientPortAddress", "127.0.0.1".into()),
        ("admin.enableServer", "false".into()),
        // All processes of a cluster may be on this machine.
        ("maxClientCnxns", "0".into()),
    ];
    let pairs = pairs.map(|(key, value)| (key.to_owned(), value)).to_vec();
    let (config, warnings) =
        streamkeeper_keeper::config::Config::from_sources(None, pairs).map_err(Failure::usage)?;
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    Keeper::from_config(&config, "").map_err(|error| {
        Failure::job(format!("{error}; --zookeeper-port takes another port, or high-availability.zookeeper.quorum another server"))
    })
}

fn start_job_manager(config: &Config, data: Option<&Path>) -> Result<(JobManager, RestServer), Failure> {
    let cluster = ClusterConfig::new(config.clone());
    let checkpoints = cluster.checkpoint_directory().or_else(|| Some(data?.join("checkpoints")));
    let Some(checkpoints) = checkpoints else {
        return Err(Failure::usage(
            "set execution.checkpointing.dir (or high-availability.storageDir) to a directory that all processes of the cluster have",
        ));
    };
    let checkpoints = std::path::absolute(&checkpoints)
        .map_err(|e| Failure::usage(format!("execution.checkpointing.dir {}: {e}", checkpoints.display())))?;
    let rest = RestListener::bind(&cluster.rest_bind()).map_err(Failure::job)?;
    let options = JobManagerOptions {
        bind: cluster.rpc_bind(),
        host: cluster.rpc_host(),
        rest_address: format!("{}:{}", cluster.rest_host(), rest.address().port()),
        heartbeat: cluster.heartbeat(),
        stabilization: cluster.stabilization(),
        ..JobManagerOptions::new(
            "jobmanager",
            cluster.layout().map_err(Failure::usage)?,
            cluster.zookeeper().map_err(Failure::usage)?,
            checkpoints,
        )
    };
    let planner = Arc::new(SqlPlanner::of_job_manager(config.clone()));
    let job_manager = JobManager::start(options, planner).map_err(Failure::job)?;
    let shown = RestOptions { configuration: config.entries().clone(), ..RestOptions::default() };
    let rest = rest.serve(job_manager.handle(), shown).map_err(Failure::job)?;
    Ok((job_manager, rest))
}

/// A TaskManager, and what it needs.
struct Worker {
    task_manager: TaskManager,
    slots: usize,
    exchange: Arc<NetworkEnvironment>,
    _runtime: tokio::runtime::Runtime,
}

fn start_task_manager(config: &Config) -> Result<Worker, Failure> {
    let cluster = ClusterConfig::new(config.clone());
    let (bind_host, port, host) = cluster.exchange();
    let tls = cluster.tls().map_err(Failure::usage)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(EXCHANGE_THREADS)
        .thread_name("exchange")
        .enable_all()
        .build()
        .map_err(|e| Failure::job(format!("the exchange cannot start: {e}")))?;
    let settings = NetworkSettings { bind_host, port, host, connect_timeout: CONNECT_TIMEOUT, tls };
    let exchange = Arc::new(runtime.block_on(NetworkEnvironment::start(&settings)).map_err(Failure::job)?);
    let layout = cluster.layout().map_err(Failure::usage)?;
    let zookeeper = cluster.zookeeper().map_err(Failure::usage)?;
    let name = cluster.resource_id().unwrap_or_else(|| "taskmanager".into());
    let slots = cluster.slots();
    let options = TaskManagerOptions {
        slots,
        heartbeat: cluster.heartbeat(),
        data_plane_grace: cluster.data_plane_grace(),
        network: Some((exchange.clone(), exchange.address().to_owned())),
        ..TaskManagerOptions::new(name, layout, zookeeper)
    };
    let planner = Arc::new(SqlPlanner::of_task_manager(config.clone()));
    let task_manager = TaskManager::start(options, planner).map_err(Failure::job)?;
    Ok(Worker { task_manager, slots, exchange, _runtime: runtime })
}

/// Says something when the process is told to stop.
fn on_signal() -> Result<mpsc::Receiver<()>, Failure> {
    let (stop, stopped) = mpsc::channel();
    ctrlc::set_handler(move || {
        // It is being stopped already.
        let _ = stop.send(());
    })
    .map_err(|error| Failure::job(format!("cannot wait for signals: {error}")))?;
    Ok(stopped)
}

/// Whoever closed standard output does not want to know.
fn say(line: &str) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}
