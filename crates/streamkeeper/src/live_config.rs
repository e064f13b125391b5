//! Between ZooKeeper's documents and a job: connects, reads what the job begins with, and passes on what changes.
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
use streamkeeper_zookeeper::{Options, ZooKeeper, block_on};

use crate::Failure;

/// How long to wait for the end of a session.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The documents of the cluster that the configuration names.
pub(crate) fn connect(config: &Config) -> Result<ConfigStore, Failure> {
    let quorum = config.get(ZOOKEEPER_QUORUM).ok_or_else(|| {
        Failure::usage(format!(
            "no ZooKeeper is given: say --zookeeper host:port,host:port, or set {ZOOKEEPER_QUORUM} in streamkeeper.yaml"
        ))
    })?;
    let root = config.get(ZOOKEEPER_ROOT).unwrap_or_default();
    let layout = Layout::new(root, config.get(CLUSTER_ID).unwrap_or_default()).map_err(Failure::usage)?;
    let connection_timeout = config.duration(ZOOKEEPER_CONNECTION_TIMEOUT);
    let options = Options {
        session_timeout: config.duration(ZOOKEEPER_SESSION_TIMEOUT),
        connection_timeout,
        operation_timeout: connection_timeout,
        ..Options::new(quorum)
    };
    let zookeeper = block_on(ZooKeeper::connect(options)).map_err(Failure::job)?;
    Ok(ConfigStore::new(zookeeper, layout))
}

/// The documents of one job.
pub(crate) struct LiveConfig {
    zookeeper: ZooKeeper,
    watcher: Watcher,
    names: BTreeMap<Scope, String>,
}

impl LiveConfig {
    /// Reads the documents that the job addresses by `documents`; `None` when there are none.
    pub(crate) fn open(
        config: &Config,
        job: &str,
        documents: &BTreeSet<String>,
    ) -> Result<Option<Self>, Failure> {
        if documents.is_empty() {
            return Ok(None);
        }
        let named = |name: &String| Ok((Scope::of_job(job, name).map_err(Failure::usage)?, name.clone()));
        let names: BTreeMap<Scope, String> = documents.iter().map(named).collect::<Result<_, Failure>>()?;
        let store = connect(config)?;
        let zookeeper = store.zookeeper().clone();
        let watcher =
            block_on(Watcher::start(store, names.keys().cloned().collect())).map_err(Failure::job)?;
        for (scope, problem) in watcher.problems() {
            tracing::warn!("configuration document {scope}: {problem}");
        }
        Ok(Some(Self { zookeeper, watcher, names }))
    }

    /// What is in force now.
    pub(crate) fn snapshot(&self) -> Result<Arc<ConfigSnapshot>, Failure> {
        let snapshot = snapshot(&self.watcher, &self.names);
        snapshot.check_size().map_err(Failure::job)?;
        Ok(Arc::new(snapshot))
    }

    /// Passes changes on, until the result is dropped.
    pub(crate) fn follow(self, job: Reconfigurer) -> Result<Following, Failure> {
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
        std::thread::Builder::new()
            .name("live-config".into())
            .spawn(follow)
            .map_err(|e| Failure::job(format!("cannot start a thread to follow the configuration: {e}")))?;
        Ok(Following(zookeeper))
    }
}

/// Changes are passed on while this lives.
pub(crate) struct Following(ZooKeeper);

impl Drop for Following {
    fn drop(&mut self) {
        close(&self.0);
    }
}

/// Ends the session. A ZooKeeper that does not answer will end it by itself: nobody waits for it here.
pub(crate) fn close(zookeeper: &ZooKeeper) {
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
