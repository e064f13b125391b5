//! Compiled programs as jobs of a cluster: Flink's application mode.
//!
//! The program is started on each machine, with the process that it is to be as its first argument: `jobmanager`, `taskmanager` or
//! `standalone`. Everything else is the same everywhere. Its `main` describes the job up to `execute`, which then becomes that
//! process: the JobManagers submit the job, under an id that follows from cluster, program and arguments, and all processes take their
//! tasks from the graph that they have described themselves.
//!
//! Invariant: a process runs no task of a graph that differs from the JobManager's: arguments and fingerprint are compared.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use streamkeeper_cluster::{Error as ClusterError, JobId, JobManagerHandle, Planned, Planner};
use streamkeeper_coordination::Error as CoordinationError;
use streamkeeper_coordination::jobs::{JobKind, JobSpec};
use streamkeeper_dataflow::config::Config;
use streamkeeper_dataflow::graph::JobGraph;
use streamkeeper_dataflow::job::{JobStatus, Reconfigurer};
use streamkeeper_datastream::{Error, PipelineExecutor, StreamExecutionEnvironment, StreamGraph};
use xxhash_rust::xxh3::xxh3_128;

use crate::live_config::LiveConfig;
use crate::roles::{ClusterProcess, on_signal, say};

/// Pause before a job is submitted again because ZooKeeper was away.
const RETRY: Duration = Duration::from_secs(1);

const USAGE: &str = "[jobmanager | taskmanager | standalone [--data-dir DIR] [--zookeeper-port PORT]]";

/// The environment that a program's arguments ask for.
pub trait FromArgs: Sized {
    /// An environment configured by `streamkeeper.yaml` (or the file that `$STREAMKEEPER_CONF` names), then by the program's
    /// arguments: `--parallelism N`, `--set KEY=VALUE`, `--from-checkpoint PATH`. If the first one is `jobmanager`, `taskmanager` or
    /// `standalone`, `execute` makes the program that process of a cluster, until it is told to stop. Others are the program's own:
    /// see [`FromArgs::from_args_and_rest`].
    ///
    /// # Errors
    /// When the file cannot be read, an argument is unknown, or a value is not valid for its key.
    fn from_args() -> Result<Self, Error> {
        let (env, rest) = Self::from_args_and_rest()?;
        match rest.first() {
            None => Ok(env),
            Some(argument) => Err(Error::Configuration(format!(
                "unknown argument `{argument}`; usage: {USAGE} {}",
                StreamExecutionEnvironment::USAGE
            ))),
        }
    }

    /// As [`FromArgs::from_args`], with the arguments that it does not know.
    ///
    /// # Errors
    /// When the file cannot be read, or a value is not valid for its key.
    fn from_args_and_rest() -> Result<(Self, Vec<String>), Error>;
}

impl FromArgs for StreamExecutionEnvironment {
    fn from_args_and_rest() -> Result<(Self, Vec<String>), Error> {
        let mut arguments: Vec<String> = std::env::args().skip(1).collect();
        let Some(role) = Role::take(&mut arguments)? else {
            let env = Self::new();
            let rest = env.configure(arguments)?;
            return Ok((env, rest));
        };
        start_logging();
        let env = Self::with_config(Config::with_keys(streamkeeper_cluster::config::KEYS));
        let rest = env.configure(arguments)?;
        env.set_executor(Application { role, arguments: rest.clone() });
        Ok((env, rest))
    }
}

/// What the process is to be.
#[derive(Debug, PartialEq, Eq)]
enum Role {
    JobManager,
    TaskManager,
    Standalone { data: PathBuf, zookeeper_port: u16 },
}

impl Role {
    /// Takes what says so from the arguments.
    fn take(arguments: &mut Vec<String>) -> Result<Option<Self>, Error> {
        let role = match arguments.first().map(String::as_str) {
            Some("jobmanager") => Self::JobManager,
            Some("taskmanager") => Self::TaskManager,
            Some("standalone") => {
                let data = option(arguments, "--data-dir")?.unwrap_or_else(|| "streamkeeper-data".into());
                let port = option(arguments, "--zookeeper-port")?.unwrap_or_else(|| "2181".into());
                let zookeeper_port = u16::from_str(&port)
                    .map_err(|_| Error::Configuration(format!("--zookeeper-port {port}: no port")))?;
                Self::Standalone { data: data.into(), zookeeper_port }
            }
            _ => return Ok(None),
        };
        arguments.remove(0);
        Ok(Some(role))
    }
}

/// Takes an option and its value from the arguments.
fn option(arguments: &mut Vec<String>, name: &str) -> Result<Option<String>, Error> {
    let Some(at) = arguments.iter().position(|argument| argument == name) else { return Ok(None) };
    if at + 1 == arguments.len() {
        return Err(Error::Configuration(format!("`{name}` needs a value; usage: {USAGE}")));
    }
    arguments.remove(at);
    Ok(Some(arguments.remove(at)))
}

/// As a server of `streamkeeper` logs, unless the program has set up something else.
fn start_logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("STREAMKEEPER_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    // The program's own goes before.
    let _ = log.try_init();
}

/// Makes a process of a cluster of a program that has come to `execute`.
struct Application {
    role: Role,
    arguments: Vec<String>,
}

impl PipelineExecutor for Application {
    /// Returns [`JobStatus::Suspended`] when the process was told to stop: the job goes on elsewhere, or when it is started again.
    fn execute(&self, job: StreamGraph) -> Result<JobStatus, Error> {
        let config = job.config.clone();
        let spec = spec(&job, &self.arguments);
        let id = job_id(&spec, &config);
        let described = Arc::new(Described {
            graph: job.graph,
            arguments: self.arguments.clone(),
            documents: job.documents,
        });
        let planner = |config: &Config, leads| -> Arc<dyn Planner> {
            Arc::new(ProgramPlanner { described: described.clone(), config: config.clone(), leads })
        };
        let failed = |error: crate::roles::Error| Error::Configuration(error.to_string());
        let stopped = on_signal().map_err(failed)?;
        let process = match &self.role {
            Role::JobManager => ClusterProcess::job_manager(&config, &planner),
            Role::TaskManager => ClusterProcess::task_manager(&config, &planner),
            Role::Standalone { data, zookeeper_port } => {
                ClusterProcess::standalone(config, data, *zookeeper_port, &planner)
            }
        };
        let process = process.map_err(failed)?;
        say(process.announcement());
        let submitted = process.handle().map_or(Ok(true), |handle| submit(&handle, id, &spec, &stopped));
        if matches!(submitted, Ok(true)) {
            // A closed channel means the same.
            let _ = stopped.recv();
        }
        process.stop().map_err(failed)?;
        submitted.map(|_| JobStatus::Suspended)
    }
}

/// What all processes must have in common. What one process is configured with, such as its ports, is not of the job.
fn spec(job: &StreamGraph, arguments: &[String]) -> JobSpec {
    let of_process = |key: &String| streamkeeper_cluster::config::KEYS.iter().any(|(known, ..)| known == key);
    let entries = job.config.entries().iter().filter(|(key, _)| !of_process(key));
    JobSpec {
        name: job.name.clone(),
        kind: JobKind::Program,
        statements: arguments.to_vec(),
        configuration: entries.map(|(key, value)| (key.clone(), value.clone())).collect(),
        ..JobSpec::default()
    }
}

/// The same in all processes of a cluster, and whenever they are started again.
fn job_id(spec: &JobSpec, config: &Config) -> JobId {
    let cluster = config.get(streamkeeper_dataflow::config::CLUSTER_ID).unwrap_or_default();
    let text = [&[cluster.to_owned(), spec.name.clone()], spec.statements.as_slice()].concat().join("\0");
    JobId(xxh3_128(text.as_bytes()).to_be_bytes())
}

/// Submits the job, as every JobManager of the cluster does; false when the process is to stop.
fn submit(
    handle: &JobManagerHandle,
    id: JobId,
    spec: &JobSpec,
    stopped: &mpsc::Receiver<()>,
) -> Result<bool, Error> {
    loop {
        match handle.submit(id, spec.clone()) {
            Ok(_) => tracing::info!("job {id} ({}) is submitted", spec.name),
            Err(ClusterError::Coordination(error @ CoordinationError::JobEnded { .. })) => {
                tracing::info!("{error}; it is not run again");
            }
            Err(ClusterError::Coordination(CoordinationError::JobExists { .. })) => tracing::warn!(
                "job {id} ({}) is there with another configuration, with which it goes on; cancel it first to change that",
                spec.name
            ),
            Err(error @ ClusterError::InvalidJob { .. }) => return Err(Error::InvalidJob(error.to_string())),
            Err(error) => {
                tracing::warn!("job {id} ({}) cannot be submitted yet: {error}", spec.name);
                match stopped.recv_timeout(RETRY) {
                    Err(mpsc::RecvTimeoutError::Timeout) => continue,
                    Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(false),
                }
            }
        }
        return Ok(true);
    }
}

/// The job that this process has described.
struct Described {
    graph: JobGraph,
    arguments: Vec<String>,
    documents: BTreeSet<String>,
}

/// Plans the program's job.
struct ProgramPlanner {
    described: Arc<Described>,
    config: Config,
    /// Whether the job's configuration documents are read here.
    leads: bool,
}

impl ProgramPlanner {
    fn documents(&self, spec: &JobSpec) -> Result<LiveConfig, crate::live_config::Error> {
        LiveConfig::open(&self.config, &spec.name, &self.described.documents)
    }
}

impl Planner for ProgramPlanner {
    fn plan(&self, spec: &JobSpec) -> Result<Planned, String> {
        if spec.kind != JobKind::Program {
            return Err(
                "it is SQL, and the cluster's processes are a compiled program: run it with `streamkeeper`'s"
                    .into(),
            );
        }
        if spec.statements != self.described.arguments {
            return Err(format!(
                "the job has the arguments {:?}, and this process was started with {:?}: start all processes with the same",
                spec.statements, self.described.arguments
            ));
        }
        let mut config = Config::with_keys(streamkeeper_cluster::config::KEYS);
        for (key, value) in &spec.configuration {
            config.set(key, value)?;
        }
        let first = if self.leads && !self.described.documents.is_empty() {
            self.documents(spec).and_then(|live| live.snapshot()).map_err(|error| error.to_string())?
        } else {
            Arc::default()
        };
        let graph = self.described.graph.clone();
        Ok(Planned { name: spec.name.clone(), graph, settings: config.job(), config: first })
    }

    fn follow(&self, spec: &JobSpec, reconfigurer: Reconfigurer) -> Option<Box<dyn Send + Sync>> {
        if self.described.documents.is_empty() {
            return None;
        }
        match self.documents(spec).and_then(|live| live.follow(reconfigurer)) {
            Ok(following) => Some(Box::new(following)),
            Err(error) => {
                tracing::error!(
                    job = spec.name,
                    "the job's configuration documents are not followed: {error}"
                );
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_argument_says_what_the_process_is() {
        let take = |words: &[&str]| {
            let mut arguments: Vec<String> = words.iter().map(|&word| word.into()).collect();
            Role::take(&mut arguments).map(|role| (role, arguments.join(" ")))
        };
        let cases = [
            (vec!["taskmanager", "file", "--set", "a=b"], Some(Role::TaskManager), "file --set a=b"),
            (vec!["file", "jobmanager"], None, "file jobmanager"),
            (
                vec!["standalone", "file", "--data-dir", "d", "--zookeeper-port", "0"],
                Some(Role::Standalone { data: "d".into(), zookeeper_port: 0 }),
                "file",
            ),
        ];
        for (words, role, rest) in cases {
            assert_eq!(take(&words).ok(), Some((role, rest.to_owned())), "{words:?}");
        }
        assert!(take(&["standalone", "--data-dir"]).is_err());
        assert!(take(&["standalone", "--zookeeper-port", "x"]).is_err());
    }

    #[test]
    fn what_belongs_to_a_process_is_not_of_the_job() {
        let job = |port: &str, parallelism: &str| {
            let mut config = Config::with_keys(streamkeeper_cluster::config::KEYS);
            config.set("rest.port", port).unwrap();
            config.set("parallelism.default", parallelism).unwrap();
            let (graph, documents) = (JobGraph::new(128), BTreeSet::new());
            StreamGraph { name: "j".into(), graph, config, documents }
        };
        let arguments = ["a".to_owned()];
        let (one, two) = (spec(&job("1", "2"), &arguments), spec(&job("7", "2"), &arguments));
        assert_eq!(one, two);
        assert_ne!(one, spec(&job("1", "3"), &arguments));
        let id = |spec: &JobSpec| job_id(spec, &Config::default());
        assert_eq!(id(&one), id(&spec(&job("1", "3"), &arguments)), "configured anew, it is the same job");
        assert_ne!(id(&one), id(&spec(&job("1", "2"), &[])));
    }
}
