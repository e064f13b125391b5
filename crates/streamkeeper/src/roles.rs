//! The processes of a cluster: JobManager, TaskManager, or both with a keeper in one. What the jobs are is told by a planner.

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use streamkeeper_cluster::config::ClusterConfig;
use streamkeeper_cluster::network::{NetworkEnvironment, NetworkSettings};
use streamkeeper_cluster::rest::{RestListener, RestOptions, RestServer};
use streamkeeper_cluster::{
    JobManager, JobManagerHandle, JobManagerOptions, Planner, TaskManager, TaskManagerOptions,
};
use streamkeeper_dataflow::config::{Config, ZOOKEEPER_QUORUM};
use streamkeeper_keeper::server::Keeper;

/// How long a TaskManager tries to reach another.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Threads for the sockets of the exchange.
const EXCHANGE_THREADS: usize = 2;

/// Why a process cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its configuration cannot be.
    #[error("{0}")]
    Configuration(String),
    /// Something that it needs cannot be had.
    #[error("{0}")]
    Failed(String),
}

impl Error {
    fn configuration(reason: impl std::fmt::Display) -> Self {
        Self::Configuration(reason.to_string())
    }

    fn failed(reason: impl std::fmt::Display) -> Self {
        Self::Failed(reason.to_string())
    }
}

/// Makes the planner of a process with this configuration; whether it is a JobManager's.
pub type MakePlanner<'a> = &'a dyn Fn(&Config, bool) -> Arc<dyn Planner>;

/// A process of a cluster. It goes on until it is stopped.
pub struct ClusterProcess {
    announcement: String,
    job_manager: Option<(JobManager, RestServer)>,
    worker: Option<Worker>,
    keeper: Option<Keeper>,
}

impl ClusterProcess {
    /// A JobManager with its REST API.
    ///
    /// # Errors
    /// When the configuration is not complete, or a port cannot be had.
    pub fn job_manager(config: &Config, planner: MakePlanner<'_>) -> Result<Self, Error> {
        let (job_manager, rest) = start_job_manager(config, None, planner)?;
        let announcement =
            format!("jobmanager {}; REST API on http://{}", job_manager.handle().id(), rest.address());
        Ok(Self { announcement, job_manager: Some((job_manager, rest)), worker: None, keeper: None })
    }

    /// A TaskManager.
    ///
    /// # Errors
    /// As [`Self::job_manager`].
    pub fn task_manager(config: &Config, planner: MakePlanner<'_>) -> Result<Self, Error> {
        let worker = start_task_manager(config, planner)?;
        let announcement = format!(
            "taskmanager {}; {} slots; exchange on {}",
            worker.task_manager.id(),
            worker.slots,
            worker.exchange.address()
        );
        Ok(Self { announcement, job_manager: None, worker: Some(worker), keeper: None })
    }

    /// All of a cluster; with a keeper on this port, unless the configuration names a ZooKeeper. All data is in `directory`.
    ///
    /// # Errors
    /// As [`Self::job_manager`].
    pub fn standalone(
        mut config: Config,
        directory: &Path,
        zookeeper_port: u16,
        planner: MakePlanner<'_>,
    ) -> Result<Self, Error> {
        let directory = std::path::absolute(directory)
            .map_err(|e| Error::configuration(format!("--data-dir {}: {e}", directory.display())))?;
        let mut zookeeper = String::new();
        let keeper = match config.get(ZOOKEEPER_QUORUM) {
            Some(_) => None,
            None => {
                let keeper = start_keeper(&directory, zookeeper_port)?;
                let address =
                    keeper.client_address().ok_or_else(|| Error::failed("the keeper has no port"))?;
                config.set(ZOOKEEPER_QUORUM, &address.to_string()).map_err(Error::failed)?;
                zookeeper = format!("; ZooKeeper on {address}");
                Some(keeper)
            }
        };
        let (job_manager, rest) = start_job_manager(&config, Some(&directory), planner)?;
        let worker = start_task_manager(&config, planner)?;
        let announcement = format!(
            "standalone: data in {}; REST API on http://{}{zookeeper}; {} slots",
            directory.display(),
            rest.address(),
            worker.slots
        );
        Ok(Self { announcement, job_manager: Some((job_manager, rest)), worker: Some(worker), keeper })
    }

    /// What it is and where, in a line.
    pub fn announcement(&self) -> &str {
        &self.announcement
    }

    /// Of a JobManager: what clients do with it.
    pub fn handle(&self) -> Option<JobManagerHandle> {
        self.job_manager.as_ref().map(|(job_manager, _)| job_manager.handle())
    }

    /// Leaves the cluster.
    ///
    /// # Errors
    /// When the keeper cannot put away its data.
    pub fn stop(self) -> Result<(), Error> {
        let job_manager = self.job_manager.map(|(job_manager, rest)| {
            drop(rest);
            job_manager
        });
        if let Some(worker) = self.worker {
            worker.task_manager.stop();
        }
        if let Some(job_manager) = job_manager {
            job_manager.stop();
        }
        self.keeper.map_or(Ok(()), |keeper| keeper.stop().map_err(Error::failed))
    }
}

fn start_keeper(directory: &Path, port: u16) -> Result<Keeper, Error> {
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
        streamkeeper_keeper::config::Config::from_sources(None, pairs).map_err(Error::configuration)?;
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    Keeper::from_config(&config, "").map_err(|error| {
        Error::failed(format!("{error}; --zookeeper-port takes another port, or high-availability.zookeeper.quorum another server"))
    })
}

fn start_job_manager(
    config: &Config,
    data: Option<&Path>,
    planner: MakePlanner<'_>,
) -> Result<(JobManager, RestServer), Error> {
    let cluster = ClusterConfig::new(config.clone());
    let checkpoints = cluster.checkpoint_directory().or_else(|| Some(data?.join("checkpoints")));
    let Some(checkpoints) = checkpoints else {
        return Err(Error::configuration(
            "set execution.checkpointing.dir (or high-availability.storageDir) to a directory that all processes of the cluster have",
        ));
    };
    let checkpoints = std::path::absolute(&checkpoints).map_err(|e| {
        Error::configuration(format!("execution.checkpointing.dir {}: {e}", checkpoints.display()))
    })?;
    let rest = RestListener::bind(&cluster.rest_bind()).map_err(Error::failed)?;
    let options = JobManagerOptions {
        bind: cluster.rpc_bind(),
        host: cluster.rpc_host(),
        rest_address: format!("{}:{}", cluster.rest_host(), rest.address().port()),
        heartbeat: cluster.heartbeat(),
        tls: cluster.tls().map_err(Error::configuration)?,
        stabilization: cluster.stabilization(),
        ..JobManagerOptions::new(
            "jobmanager",
            cluster.layout().map_err(Error::configuration)?,
            cluster.zookeeper().map_err(Error::configuration)?,
            checkpoints,
        )
    };
    let job_manager = JobManager::start(options, planner(config, true)).map_err(Error::failed)?;
    let shown = RestOptions { configuration: config.entries().clone(), ..RestOptions::default() };
    let rest = rest.serve(job_manager.handle(), shown).map_err(Error::failed)?;
    Ok((job_manager, rest))
}

/// A TaskManager, and what it needs.
struct Worker {
    task_manager: TaskManager,
    slots: usize,
    exchange: Arc<NetworkEnvironment>,
    _runtime: tokio::runtime::Runtime,
}

fn start_task_manager(config: &Config, planner: MakePlanner<'_>) -> Result<Worker, Error> {
    let cluster = ClusterConfig::new(config.clone());
    let (bind_host, port, host) = cluster.exchange();
    let tls = cluster.tls().map_err(Error::configuration)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(EXCHANGE_THREADS)
        .thread_name("exchange")
        .enable_all()
        .build()
        .map_err(|e| Error::failed(format!("the exchange cannot start: {e}")))?;
    let settings =
        NetworkSettings { bind_host, port, host, connect_timeout: CONNECT_TIMEOUT, tls: tls.clone() };
    let exchange = Arc::new(runtime.block_on(NetworkEnvironment::start(&settings)).map_err(Error::failed)?);
    let layout = cluster.layout().map_err(Error::configuration)?;
    let zookeeper = cluster.zookeeper().map_err(Error::configuration)?;
    let name = cluster.resource_id().unwrap_or_else(|| "taskmanager".into());
    let slots = cluster.slots();
    let options = TaskManagerOptions {
        slots,
        heartbeat: cluster.heartbeat(),
        tls,
        data_plane_grace: cluster.data_plane_grace(),
        network: Some((exchange.clone(), exchange.address().to_owned())),
        ..TaskManagerOptions::new(name, layout, zookeeper)
    };
    let task_manager = TaskManager::start(options, planner(config, false)).map_err(Error::failed)?;
    Ok(Worker { task_manager, slots, exchange, _runtime: runtime })
}

/// Says something when the process is told to stop.
///
/// # Errors
/// When the system does not allow that.
pub fn on_signal() -> Result<mpsc::Receiver<()>, Error> {
    let (stop, stopped) = mpsc::channel();
    ctrlc::set_handler(move || {
        // It is being stopped already.
        let _ = stop.send(());
    })
    .map_err(|error| Error::failed(format!("cannot wait for signals: {error}")))?;
    Ok(stopped)
}

/// Says a line on standard output. Whoever has closed that does not want to know.
pub fn say(line: &str) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}
