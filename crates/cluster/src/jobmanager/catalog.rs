//! The catalog as a JobManager knows it: what ZooKeeper holds, without what is not valid.
//!
//! Invariant: what the planner finds fault with changes nothing: the last good content stays in force, as long as this process lives.

use std::sync::Arc;
use std::time::Duration;

use streamkeeper_coordination::Cluster;
use streamkeeper_coordination::catalog::{Catalog, CatalogStore, Change};
use streamkeeper_zookeeper::{Spawned, block_on, spawn};
use tokio::sync::watch;

use crate::error::{Error, Result};
use crate::planner::Planner;

/// Pause before the catalog is followed anew.
const RETRY: Duration = Duration::from_millis(100);

/// How long is waited until the catalog is known, or a change is seen.
const PATIENCE: Duration = Duration::from_secs(10);

/// Follows the catalog until the last clone is dropped.
#[derive(Clone)]
pub(super) struct CatalogKeeper {
    store: CatalogStore,
    planner: Arc<dyn Planner>,
    known: watch::Receiver<Option<Known>>,
    _task: Arc<Spawned>,
}

/// What ZooKeeper holds, and what is in force.
#[derive(Clone)]
struct Known {
    raw: Arc<Catalog>,
    good: Arc<Catalog>,
}

impl CatalogKeeper {
    pub(super) fn start(cluster: &Cluster, planner: Arc<dyn Planner>) -> Result<Self> {
        let (sender, known) = watch::channel(None);
        let task = spawn(keep(cluster.clone(), planner.clone(), sender))?;
        Ok(Self { store: CatalogStore::new(cluster.clone()), planner, known, _task: Arc::new(task) })
    }

    /// What is in force.
    ///
    /// # Errors
    /// [`Error::CatalogUnknown`] while ZooKeeper has not told it.
    pub(super) fn now(&self) -> Result<Arc<Catalog>> {
        let mut known = self.known.clone();
        let told = block_on(async {
            let known = tokio::time::timeout(PATIENCE, known.wait_for(Option::is_some)).await;
            known.ok()?.ok()?.as_ref().map(|known| known.good.clone())
        });
        told.ok_or(Error::CatalogUnknown)
    }

    /// Makes changes, all of them or none, if what they make is valid; returns when they are seen here.
    ///
    /// # Errors
    /// [`Error::InvalidObject`]; [`Error::Coordination`] when somebody else came first.
    pub(super) fn apply(&self, changes: &[Change]) -> Result<()> {
        let after = self.now()?.with(changes);
        let mut wrong = self.planner.check_catalog(&after, true);
        for change in changes {
            let Change::Object { database, object, content: Some(_), .. } = change else { continue };
            if let Some(reason) = wrong.remove(&(database.clone(), object.clone())) {
                return Err(Error::InvalidObject { object: format!("{database}.{object}"), reason });
            }
        }
        block_on(async {
            self.store.apply(changes).await?;
            let mut known = self.known.clone();
            // Whoever has changed it again meanwhile is welcome to.
            let seen = known.wait_for(|known| known.as_ref().is_some_and(|known| known.raw.shows(changes)));
            let _ = tokio::time::timeout(PATIENCE, seen).await;
            Ok(())
        })
    }
}

async fn keep(cluster: Cluster, planner: Arc<dyn Planner>, sender: watch::Sender<Option<Known>>) {
    let store = CatalogStore::new(cluster);
    loop {
        match store.watch().await {
            Ok(mut followed) => {
                let mut raw = followed.now();
                loop {
                    let before = sender.borrow().as_ref().map(|known| known.good.clone()).unwrap_or_default();
                    let (held, planner) = (raw.clone(), planner.clone());
                    let good = tokio::task::spawn_blocking(move || {
                        held.without(planner.check_catalog(&held, false), &before)
                    });
                    let Ok(good) = good.await else { return };
                    sender.send_replace(Some(Known { raw, good: Arc::new(good) }));
                    match followed.changed().await {
                        Ok(now) => raw = now,
                        Err(error) => break tracing::debug!("{error}; it is followed anew"),
                    }
                }
            }
            Err(error) => tracing::debug!("{error}"),
        }
        tokio::time::sleep(RETRY).await;
    }
}
