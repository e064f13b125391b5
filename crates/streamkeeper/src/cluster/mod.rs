//! The cluster's commands: its processes, and what is asked of them.
//!
//! - `planner`: from a job's spec to its graph, the same in every process
//! - `roles`: `standalone`, `jobmanager`, `taskmanager`
//! - `catalog`: the cluster's tables and views in a session
//! - `client`: requests to the REST API; `submit`: `run`; `verbs`: `list`, `info`, `cancel`
//! - `gc`: checkpoints that no job needs
//! - `savepoint`: `savepoint`, `stop`, `checkpoint`; `rescale`; `inspect`: what a savepoint consists of

mod catalog;
mod client;
mod gc;
mod inspect;
mod planner;
mod rescale;
mod roles;
mod savepoint;
mod submit;
mod verbs;

use clap::Args;

pub(crate) use self::gc::{GcArgs, gc};
pub(crate) use self::rescale::{RescaleArgs, rescale};
pub(crate) use self::roles::{RoleArgs, StandaloneArgs, job_manager, standalone, task_manager};
pub(crate) use self::savepoint::{CheckpointArgs, SavepointArgs, StopArgs, checkpoint, savepoint, stop};
pub(crate) use self::submit::{RunArgs, run};
pub(crate) use self::verbs::{JobArgs, ListArgs, cancel, info, list};
use crate::Failure;
use streamkeeper_dataflow::config::Config;

/// How a client finds the cluster.
#[derive(Args, Debug)]
pub(crate) struct Target {
    /// The JobManager's REST API as host:port; otherwise `rest.address` and `rest.port`, or the leader that ZooKeeper names
    /// (`high-availability.zookeeper.quorum`), or localhost:8081.
    #[arg(short = 'm', long = "jobmanager", value_name = "HOST:PORT")]
    jobmanager: Option<String>,
    /// Set a configuration key; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// The file's keys, then those of `--set`; those of a cluster's processes are known.
fn configuration(set: &[String]) -> Result<Config, Failure> {
    crate::run::load_configuration_into(
        streamkeeper_sql::config::new().and_keys(streamkeeper_cluster::config::KEYS),
        set,
    )
}
