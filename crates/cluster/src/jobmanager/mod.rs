//! A JobManager: a candidate for leadership, and while it leads, the master of all jobs.
//!
//! Every JobManager keeps a warm copy of what ZooKeeper holds, and a port. A standby keeps a connection to the leader: when that breaks
//! and the leader's port refuses connections, its process is dead, and the standby deposes it instead of waiting for its session to
//! end. A new leader reads the jobs, hears from the TaskManagers what they have of them, and starts a master for each, which adopts
//! what runs. When it leads no more it abandons its masters, and all tasks run on.
//!
//! - `shell`: the thread that all of this happens on; `follow`: what it learns from ZooKeeper; `standby`: the watch on the leader
//! - `term`: one leadership; `members`: its TaskManagers, with `links` to them and their `roster` (pure)
//! - `job`: one job of it; `start`: reading, planning and ending it, on a thread of their own; `documents`: its documents (pure)
//! - `workers`: what a job's master works with: placement, orders, the checkpoint pointer; `gate`: the end of a master
//! - `rescale`: from one parallelism to another
//! - `office`: what a leader does in ZooKeeper; `persist`: writes that have to be done; `machine`: its threads and checkpoints
//! - `observed`, `history`, `archive`: what is kept to be looked at, of tasks, checkpoints and failures, and of jobs that have ended (pure)
//! - `operations`: what users have asked for in the background (pure)
//! - `catalog`: tables and views, without what is not valid
//! - `handle`, [`view`], `seen`: what REST and the command line do and see

mod archive;
mod catalog;
mod documents;
mod follow;
mod gate;
mod handle;
mod history;
mod job;
mod links;
mod machine;
mod members;
mod observed;
mod office;
mod operations;
mod persist;
mod rescale;
mod roster;
mod seen;
mod shell;
#[cfg(test)]
mod simulation;
mod standby;
mod start;
mod term;
pub mod view;
mod workers;

use std::path::PathBuf;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use streamkeeper_coordination::Cluster;
use streamkeeper_coordination::election::CandidateInfo;
use streamkeeper_coordination::layout::Layout;
use streamkeeper_zookeeper::{Options, ZooKeeper, block_on};

use self::catalog::CatalogKeeper;
pub(crate) use self::documents::Details as AssignmentDetails;
pub use self::handle::JobManagerHandle;
pub use self::operations::{Asked, Operation};
use self::shell::{Event, Shell};
use crate::error::{Error, Result};
use crate::network::TlsSettings;
use crate::planner::Planner;
use crate::rpc::Heartbeat;
use crate::rpc::server::Server;
use crate::rpc::stream::RpcTls;

/// How a JobManager is run.
#[derive(Clone)]
pub struct JobManagerOptions {
    /// Its name; its incarnation is put behind it.
    pub name: String,
    /// Where the cluster is in ZooKeeper.
    pub layout: Layout,
    /// How to reach that.
    pub zookeeper: Options,
    /// Where to listen for TaskManagers and standbys: `jobmanager.bind-host` and `jobmanager.rpc.port`.
    pub bind: String,
    /// The host at which they reach it: `jobmanager.rpc.address`.
    pub host: String,
    /// `host:port` of its REST API, for others to find; empty for none.
    pub rest_address: String,
    /// Heartbeats with TaskManagers and standbys.
    pub heartbeat: Heartbeat,
    /// TLS with TaskManagers and standbys.
    pub tls: Option<TlsSettings>,
    /// `execution.checkpointing.dir` of jobs that do not say: a directory that all processes of the cluster have.
    pub checkpoint_directory: PathBuf,
    /// `jobmanager.adaptive-scheduler.executing.resource-stabilization-timeout`: how long TaskManagers must have been the same
    /// before running jobs are spread over new ones, each at its next checkpoint.
    pub stabilization: Duration,
}

impl JobManagerOptions {
    /// A JobManager on this machine, with the defaults.
    pub fn new(
        name: impl Into<String>,
        layout: Layout,
        zookeeper: Options,
        checkpoint_directory: impl Into<PathBuf>,
    ) -> Self {
        Self {
            name: name.into(),
            layout,
            zookeeper,
            bind: "127.0.0.1:0".into(),
            host: "127.0.0.1".into(),
            rest_address: String::new(),
            heartbeat: Heartbeat::default(),
            tls: None,
            checkpoint_directory: checkpoint_directory.into(),
            stabilization: Duration::from_secs(60),
        }
    }
}

/// A JobManager of this process. Dropping it ends it; its session is closed when nobody else has a handle to it.
pub struct JobManager {
    handle: JobManagerHandle,
    events: mpsc::Sender<Event>,
    thread: Option<JoinHandle<()>>,
    server: Option<Server>,
    zookeeper: ZooKeeper,
}

impl JobManager {
    /// Starts one. It need not find ZooKeeper yet.
    ///
    /// # Errors
    /// When its port cannot be opened, for options that cannot be, and when there is no thread.
    pub fn start(options: JobManagerOptions, planner: Arc<dyn Planner>) -> Result<Self> {
        let id = format!("{}-{}", options.name, crate::incarnation());
        let (events, inbox) = mpsc::channel();
        let tls = RpcTls::new(options.tls.as_ref())?;
        let leading = Arc::new(Mutex::new(None));
        let on_hello = shell::on_hello(leading.clone(), events.clone());
        let server =
            Server::start(&options.bind, options.layout.base(), tls.clone(), on_hello).map_err(|reason| {
                Error::Bind { key: "jobmanager.rpc.port", address: options.bind.clone(), reason }
            })?;
        let rpc_address = format!("{}:{}", options.host, server.address().port());
        let zookeeper = ZooKeeper::open(options.zookeeper.clone())?;
        let cluster = Cluster::at(zookeeper.clone(), options.layout.clone());
        let candidate =
            CandidateInfo { id: id.clone(), rpc_address, rest_address: options.rest_address.clone() };
        let following = follow::follow(&cluster, candidate, events.clone())?;
        let catalog = CatalogKeeper::start(&cluster, planner.clone())?;
        let handle = JobManagerHandle::new(id.clone(), cluster, planner.clone(), events.clone(), catalog);
        let setup = shell::Setup {
            id,
            cluster: options.layout.base().to_owned(),
            heartbeat: options.heartbeat,
            tls,
            checkpoint_directory: options.checkpoint_directory,
            stabilization: options.stabilization,
            machine: Arc::new(machine::Threads),
        };
        let shell = Shell::new(setup, planner, events.clone(), leading, following);
        let thread = std::thread::Builder::new()
            .name("jobmanager".into())
            .spawn(move || shell.run(&inbox))
            .map_err(Error::Thread)?;
        Ok(Self { handle, events, thread: Some(thread), server: Some(server), zookeeper })
    }

    /// What REST and the command line work with.
    pub fn handle(&self) -> JobManagerHandle {
        self.handle.clone()
    }

    /// Leaves the cluster; another JobManager takes over at once, if there is one. Tasks run on.
    pub fn stop(mut self) {
        self.end();
        block_on(self.zookeeper.close());
    }

    /// The handle to its session, for tests of what comes when it is lost.
    #[doc(hidden)]
    pub fn zookeeper(&self) -> &ZooKeeper {
        &self.zookeeper
    }

    /// Breaks all connections to TaskManagers, for tests of what comes then.
    #[doc(hidden)]
    pub fn break_connections(&self) {
        // Of one that has ended there are none.
        let _ = self.events.send(Event::BreakConnections);
    }

    fn end(&mut self) {
        self.server = None;
        // It may have ended of itself.
        let _ = self.events.send(Event::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for JobManager {
    fn drop(&mut self) {
        self.end();
    }
}

/// What a panic has left is as good as before: nothing is changed by halves under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
