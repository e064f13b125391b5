//! A cluster's place in ZooKeeper.
//!
//! Invariant: opening a cluster that is there writes nothing.

use serde::{Deserialize, Serialize};
use streamkeeper_zookeeper::{CreateMode, Error as ZkError, Multi, ZooKeeper};

use crate::document;
use crate::election::LeaderDocument;
use crate::error::{Error, Result};
use crate::layout::Layout;

/// How often opening looks again because others make the same znodes.
const ATTEMPTS: usize = 20;

/// `meta`: who made the cluster, and when. Its `v` is the version of the layout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Meta {
    created_ms: u64,
    created_by: String,
}

/// A session, and where the cluster is. Clones share the session.
#[derive(Clone)]
pub struct Cluster {
    zookeeper: ZooKeeper,
    layout: Layout,
}

impl Cluster {
    /// The cluster below `layout`, whose persistent parents are made if they are missing.
    ///
    /// # Errors
    /// [`Error::UnreadableDocument`] when the cluster was made by a build whose layout this one does not know;
    /// [`Error::ZooKeeper`].
    pub async fn open(zookeeper: ZooKeeper, layout: Layout) -> Result<Self> {
        let cluster = Self { zookeeper, layout };
        cluster.prepare().await?;
        Ok(cluster)
    }

    /// The cluster below `layout`, without a look at whether it is there: for those who only read.
    pub fn at(zookeeper: ZooKeeper, layout: Layout) -> Self {
        Self { zookeeper, layout }
    }

    /// The session.
    pub fn zookeeper(&self) -> &ZooKeeper {
        &self.zookeeper
    }

    /// Where things are.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Waits until all that was written before the call can be read.
    ///
    /// # Errors
    /// [`Error::ZooKeeper`].
    pub async fn sync(&self) -> Result<()> {
        Ok(self.zookeeper.sync(self.layout.base()).await?)
    }

    /// Makes what is missing, all of it in one transaction but for what is above the cluster.
    pub(crate) async fn prepare(&self) -> Result<()> {
        let (meta, epoch) = (self.layout.meta(), self.layout.epoch());
        let mut paths = self.layout.parents().to_vec();
        paths.extend([epoch.clone(), meta.clone()]);
        for _ in 0..ATTEMPTS {
            let found = self.zookeeper.get_many(paths.clone()).await?;
            if let Some(Some((text, _))) = found.last() {
                document::read::<Meta>(&meta, text)?;
            }
            if found.iter().all(Option::is_some) {
                return Ok(());
            }
            let above = self.layout.base().rsplit_once('/').map_or("", |(above, _)| above);
            if !above.is_empty() && self.zookeeper.exists(above).await?.is_none() {
                self.zookeeper.create_all(above).await?;
            }
            let mut multi = Multi::new();
            for path in paths.iter().zip(&found).filter(|(_, found)| found.is_none()).map(|(path, _)| path) {
                let text = if *path == meta {
                    let created_by = format!("streamkeeper {}", env!("CARGO_PKG_VERSION"));
                    document::encode(path, &Meta { created_ms: now_ms(), created_by })?
                } else if *path == epoch {
                    document::encode(path, &LeaderDocument::default())?
                } else {
                    Vec::new()
                };
                multi = multi.create(path, text, CreateMode::Persistent);
            }
            match self.zookeeper.multi(multi).await {
                Ok(_) => return Ok(()),
                Err(error) if error.is_outcome_unknown() => self.sync().await?,
                Err(ZkError::Multi { source, .. }) if matches!(*source, ZkError::NodeExists { .. }) => {
                    self.sync().await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Contended { scope: self.layout.base().to_owned(), attempts: ATTEMPTS })
    }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    u64::try_from(chrono::Utc::now().timestamp_millis()).unwrap_or(0)
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("base", &self.layout.base()).finish_non_exhaustive()
    }
}
