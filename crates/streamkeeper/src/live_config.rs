//! Between ZooKeeper's documents and a job: connects, reads what the job begins with, and passes on what changes.
//!
//! A program has its documents from there by one call; `streamkeeper.yaml` or `--set` says where ZooKeeper is, in
//! `high-availability.zookeeper.quorum`:
//!
//! ```no_run
//! use streamkeeper::prelude::*;
//!
//! let env = StreamExecutionEnvironment::from_args()?;
//! env.config_documents(["rules"]).set_config_source(ZooKeeperConfig);
//! # Ok::<(), Error>(())
//! ```
//!
//! Invariant: a job is given documents by the names under which it addresses them, and nothing when its own have not changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use streamkeeper_coordination::config::Scope;
use streamkeeper_coordination::config::follow::Verdict;
use streamkeeper_coordination::config::store::ConfigStore;
use streamkeeper_coordination::config::watch::Watcher;
use streamkeeper_coordination::layout::Layout;
use streamkeeper_dataflow::config::{
    CLUSTER_ID, Config, ZOOKEEPER_CONNECTION_TIMEOUT, ZOOKEEPER_QUORUM, ZOOKEEPER_ROOT,
    ZOOKEEPER_SESSION_TIMEOUT,
};
use streamkeeper_dataflow::job::Reconfigurer;
use streamkeeper_dataflow::live_config::{ConfigDocument, ConfigSnapshot};
use streamkeeper_datastream::{ConfigSource, Follow};
use streamkeeper_zookeeper::{Options, ZooKeeper, block_on};

/// Why documents cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration names no ZooKeeper.
    #[error(
        "no ZooKeeper is given: set {ZOOKEEPER_QUORUM} to host:port,host:port, in streamkeeper.yaml or by --set"
    )]
    NoZooKeeper,
    /// They cannot be read, or a name is none of a document.
    #[error(transparent)]
    Coordination(#[from] streamkeeper_coordination::Error),
    /// They do not fit into a checkpoint.
    #[error("{0}")]
    TooLarge(String),
    /// The system has no thread for it.
    #[error("cannot start a thread to follow the configuration: {0}")]
    Thread(#[source] std::io::Error),
}

/// Documents in the ZooKeeper that the environment's configuration names, written by `streamkeeper config`. Of a job,
/// the document `job` is its own, `cluster` the cluster's, any other is a shared one.
#[derive(Debug, Clone, Copy, Default)]
pub struct ZooKeeperConfig;

impl ConfigSource for ZooKeeperConfig {
    fn open(
        &self,
        job: &str,
        documents: &BTreeSet<String>,
        config: &Config,
    ) -> streamkeeper_datastream::Result<(Arc<ConfigSnapshot>, Follow)> {
        let live = LiveConfig::open(config, job, documents)?;
        let first = live.snapshot()?;
        Ok((first, Box::new(|job| Ok(Box::new(live.follow(job)?)))))
    }
}

/// How long to wait for the end of a session.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The documents of the cluster that the configuration names.
///
/// # Errors
/// When it names no ZooKeeper, or that does not answer.
pub fn connect(config: &Config) -> Result<ConfigStore, Error> {
    let quorum = config.get(ZOOKEEPER_QUORUM).ok_or(Error::NoZooKeeper)?;
    let root = config.get(ZOOKEEPER_ROOT).unwrap_or_default();
    let layout = Layout::new(root, config.get(CLUSTER_ID).unwrap_or_default())?;
    let connection_timeout = config.duration(ZOOKEEPER_CONNECTION_TIMEOUT);
    let options = Options {
        session_timeout: config.duration(ZOOKEEPER_SESSION_TIMEOUT),
        connection_timeout,
        operation_timeout: connection_timeout,
        ..Options::new(quorum)
    };
    let zookeeper = block_on(ZooKeeper::connect(options)).map_err(streamkeeper_coordination::Error::from)?;
    Ok(ConfigStore::new(zookeeper, layout))
}

/// The documents of one job.
pub struct LiveConfig {
    zookeeper: ZooKeeper,
    watcher: Watcher,
    names: BTreeMap<Scope, String>,
}

impl LiveConfig {
    /// Reads the documents that the job addresses by `documents`.
    ///
    /// # Errors
    /// When ZooKeeper does not answer, or a name is none of a document.
    pub fn open(config: &Config, job: &str, documents: &BTreeSet<String>) -> Result<Self, Error> {
        let named = |name: &String| Ok((Scope::of_job(job, name)?, name.clone()));
        let names: BTreeMap<Scope, String> = documents.iter().map(named).collect::<Result<_, Error>>()?;
        let store = connect(config)?;
        let zookeeper = store.zookeeper().clone();
        let watcher = block_on(Watcher::start(store, names.keys().cloned().collect()))?;
        for (scope, problem) in watcher.problems() {
            tracing::warn!("configuration document {scope}: {problem}");
        }
        Ok(Self { zookeeper, watcher, names })
    }

    /// What is in force now.
    ///
    /// # Errors
    /// When it does not fit into a checkpoint.
    pub fn snapshot(&self) -> Result<Arc<ConfigSnapshot>, Error> {
        let snapshot = snapshot(&self.watcher, &self.names);
        snapshot.check_size().map_err(Error::TooLarge)?;
        Ok(Arc::new(snapshot))
    }

    /// Passes changes on, until the result is dropped.
    ///
    /// # Errors
    /// When there is no thread for it.
    pub fn follow(self, job: Reconfigurer) -> Result<Following, Error> {
        let Self { zookeeper, mut watcher, names } = self;
        let follow = move || {
            loop {
                let verdicts = match block_on(watcher.changed()) {
                    Ok(verdicts) => verdicts,
                    Err(streamkeeper_coordination::Error::ZooKeeper(
                        streamkeeper_zookeeper::Error::Closed,
                    )) => return,
                    Err(error) => {
                        tracing::error!(
                            "the configuration is not followed any more, and stays as it is: {error}"
                        );
                        return;
                    }
                };
                for (scope, verdict) in &verdicts {
                    if let Verdict::Ignored(reason) = verdict {
                        tracing::warn!("configuration document {scope}: {reason}");
                    }
                }
                if verdicts.iter().any(|(_, verdict)| *verdict == Verdict::Changed)
                    && let Err(error) = job.reconfigure(Arc::new(snapshot(&watcher, &names)))
                {
                    tracing::warn!("a change of the configuration is ignored: {error}");
                }
            }
        };
        // It ends when the handle is closed.
        std::thread::Builder::new().name("live-config".into()).spawn(follow).map_err(Error::Thread)?;
        Ok(Following(zookeeper))
    }
}

/// Changes are passed on while this lives.
pub struct Following(ZooKeeper);

impl Drop for Following {
    fn drop(&mut self) {
        close(&self.0);
    }
}

/// Ends the session. A ZooKeeper that does not answer will end it by itself: nobody waits for it here.
pub fn close(zookeeper: &ZooKeeper) {
    let (done, closed) = mpsc::channel();
    let zookeeper = zookeeper.clone();
    let close = move || {
        block_on(zookeeper.close());
        // Whoever waited too long has gone.
        let _ = done.send(());
    };
    if std::thread::Builder::new().name("zookeeper-close".into()).spawn(close).is_ok() {
        let _ = closed.recv_timeout(CLOSE_TIMEOUT);
    }
}

fn snapshot(watcher: &Watcher, names: &BTreeMap<Scope, String>) -> ConfigSnapshot {
    let of_job = watcher.in_force().filter_map(|(scope, document)| {
        let document = ConfigDocument { revision: document.revision, data: document.data.clone() };
        Some((names.get(scope)?.clone(), document))
    });
    of_job.collect()
}
