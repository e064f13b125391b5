//! A TaskManager: runs tasks, of any number of jobs, for whoever leads.
//!
//! It registers an ephemeral znode, learns from `leader/epoch` who leads, and connects to that JobManager: it says what runs here,
//! then carries out orders and reports. It needs neither ZooKeeper nor a leader to go on with what runs. Invariant: tasks start and
//! stop on an order of the leader of the highest epoch that is known here, and never for want of one.
//!
//! - `link`: to whom it listens, pure
//! - `hosted`: one job here
//! - `shell`: the thread that does what `link` says and passes on orders and reports
//! - `follow`: what is learnt from ZooKeeper

mod follow;
mod hosted;
pub(crate) mod link;
mod shell;

use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use streamkeeper_coordination::Cluster;
use streamkeeper_coordination::layout::Layout;
use streamkeeper_coordination::membership::TaskManagerDocument;
use streamkeeper_dataflow::executor::order::Worker;
use streamkeeper_dataflow::network::Network;
use streamkeeper_zookeeper::{Options, ZooKeeper, block_on};

use self::shell::{Event, Shell};
use crate::error::{Error, Result};
use crate::network::TlsSettings;
use crate::planner::Planner;
use crate::rpc::Heartbeat;
use crate::rpc::stream::RpcTls;
use crate::time::now_ms;

/// How a TaskManager is run.
#[derive(Clone)]
pub struct TaskManagerOptions {
    /// `taskmanager.resource-id`; its incarnation is put behind it.
    pub name: String,
    /// Where the cluster is in ZooKeeper.
    pub layout: Layout,
    /// How to reach that.
    pub zookeeper: Options,
    /// `taskmanager.numberOfTaskSlots`.
    pub slots: usize,
    /// Heartbeats with the leader.
    pub heartbeat: Heartbeat,
    /// TLS with the leading JobManager.
    pub tls: Option<TlsSettings>,
    /// `streamkeeper.data-plane-grace`: how long sources read on with neither ZooKeeper nor a leader.
    pub data_plane_grace: Duration,
    /// Channels to other TaskManagers, and where those reach this one; `None`: all of a job is here.
    pub network: Option<(Arc<dyn Network>, String)>,
}

impl TaskManagerOptions {
    /// One slot, and the defaults.
    pub fn new(name: impl Into<String>, layout: Layout, zookeeper: Options) -> Self {
        Self {
            name: name.into(),
            layout,
            zookeeper,
            slots: 1,
            heartbeat: Heartbeat::default(),
            tls: None,
            data_plane_grace: Duration::from_secs(60),
            network: None,
        }
    }
}

/// A TaskManager of this process. Dropping it stops its tasks.
pub struct TaskManager {
    id: String,
    events: mpsc::Sender<Event>,
    thread: Option<JoinHandle<()>>,
    zookeeper: ZooKeeper,
}

impl TaskManager {
    /// Starts one. It need not find ZooKeeper yet.
    ///
    /// # Errors
    /// For options that cannot be, and when there is no thread.
    pub fn start(options: TaskManagerOptions, planner: Arc<dyn Planner>) -> Result<Self> {
        let id = format!("{}-{}", options.name, crate::incarnation());
        let zookeeper = ZooKeeper::open(options.zookeeper.clone())?;
        let cluster = Cluster::at(zookeeper.clone(), options.layout.clone());
        let (network, exchange_address) = match options.network {
            Some((network, address)) => (Some(network), address),
            None => (None, String::new()),
        };
        let worker = Worker { id: id.clone(), exchange_address: exchange_address.clone() };
        let document = TaskManagerDocument {
            id: id.clone(),
            data_address: exchange_address,
            slots: u32::try_from(options.slots).unwrap_or(u32::MAX),
            started_ms: u64::try_from(now_ms()).unwrap_or(0),
            ..TaskManagerDocument::default()
        };
        let (events, inbox) = mpsc::channel();
        let following = follow::follow(&cluster, document, events.clone())?;
        let setup = shell::Setup {
            cluster: options.layout.base().to_owned(),
            worker,
            slots: options.slots,
            network,
            heartbeat: options.heartbeat,
            tls: RpcTls::new(options.tls.as_ref())?,
            grace: options.data_plane_grace,
        };
        let shell = Shell::new(setup, planner, events.clone());
        let thread = std::thread::Builder::new()
            .name("taskmanager".into())
            .spawn(move || {
                shell.run(&inbox);
                drop(following);
            })
            .map_err(Error::Thread)?;
        Ok(Self { id, events, thread: Some(thread), zookeeper })
    }

    /// Its id, with its incarnation.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Stops its tasks and leaves the cluster.
    pub fn stop(mut self) {
        self.end();
        block_on(self.zookeeper.close());
    }

    /// The handle to its session, for tests of what comes when it is lost.
    #[doc(hidden)]
    pub fn zookeeper(&self) -> &ZooKeeper {
        &self.zookeeper
    }

    fn end(&mut self) {
        // It may have ended of itself.
        let _ = self.events.send(Event::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for TaskManager {
    fn drop(&mut self) {
        self.end();
    }
}
