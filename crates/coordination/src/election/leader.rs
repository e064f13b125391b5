//! Who leads: the document in `leader/epoch`, for whoever wants to know.

use serde::{Deserialize, Serialize};
use streamkeeper_zookeeper::{Stat, WatchMode};

use crate::cluster::Cluster;
use crate::document;
use crate::error::Result;
use crate::follow::{Fold, Followed, follow};

/// `leader/epoch`. It stays when its leader goes: then it says who led last.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LeaderDocument {
    /// The epoch, from 1; 0 before anybody has led. No two leaderships have the same, and later ones have higher ones.
    pub epoch: u64,
    /// The leader's id, with its incarnation.
    #[serde(default)]
    pub leader: String,
    /// `host:port` for TaskManagers and other JobManagers.
    #[serde(default)]
    pub rpc_address: String,
    /// `host:port` for clients.
    #[serde(default)]
    pub rest_address: String,
    /// The name of its latch node: while that is there, the leader's session is.
    #[serde(default)]
    pub latch: String,
}

impl Fold for Option<LeaderDocument> {
    fn observe(&mut self, _: &str, found: Option<(&[u8], &Stat)>) {
        let Some((text, _)) = found else { return };
        match document::decode::<LeaderDocument>(text) {
            Ok(new) => {
                if new.epoch > 0 && self.as_ref().is_none_or(|known| known.epoch <= new.epoch) {
                    *self = Some(new);
                }
            }
            Err(reason) => tracing::warn!("leader/epoch is ignored: {reason}"),
        }
    }
}

impl Cluster {
    /// Follows who leads, or led last; `None` before anybody has. The epoch that is shown never goes back. For candidates, TaskManagers
    /// and clients alike.
    ///
    /// # Errors
    /// [`crate::Error::ZooKeeper`], [`crate::Error::WatchEnded`].
    pub async fn watch_leader(&self) -> Result<Followed<Option<LeaderDocument>>> {
        follow(self.zookeeper(), self.layout().epoch(), WatchMode::Node, None).await
    }
}
