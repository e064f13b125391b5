//! `streamkeeper standalone`, `jobmanager` and `taskmanager`: the processes of a cluster.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use streamkeeper::roles::{ClusterProcess, Error, on_signal, say};
use streamkeeper_cluster::Planner;
use streamkeeper_dataflow::config::Config;

use super::configuration;
use super::planner::SqlPlanner;
use crate::Failure;

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
    run(|| ClusterProcess::job_manager(&config, &planner))
}

/// Runs a TaskManager until it is told to stop.
pub(crate) fn task_manager(args: &RoleArgs) -> Result<(), Failure> {
    let config = configuration(&args.set)?;
    run(|| ClusterProcess::task_manager(&config, &planner))
}

/// Runs all of a cluster in this process until it is told to stop.
pub(crate) fn standalone(args: &StandaloneArgs) -> Result<(), Failure> {
    let config = configuration(&args.role.set)?;
    run(|| ClusterProcess::standalone(config, &args.data_dir, args.zookeeper_port, &planner))
}

fn planner(config: &Config, leads: bool) -> Arc<dyn Planner> {
    Arc::new(if leads {
        SqlPlanner::of_job_manager(config.clone())
    } else {
        SqlPlanner::of_task_manager(config.clone())
    })
}

fn run(start: impl FnOnce() -> Result<ClusterProcess, Error>) -> Result<(), Failure> {
    let failure = |error| match error {
        Error::Configuration(reason) => Failure::usage(reason),
        Error::Failed(reason) => Failure::job(reason),
    };
    let stopped = on_signal().map_err(failure)?;
    let process = start().map_err(failure)?;
    say(process.announcement());
    // A closed channel means the same.
    let _ = stopped.recv();
    process.stop().map_err(failure)
}
