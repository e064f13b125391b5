//! What Streamkeeper keeps in ZooKeeper. The only crate that names a znode path.
//!
//! Its futures are awaited on a tokio runtime that has a clock, or by `streamkeeper_zookeeper::block_on`.
//!
//! - [`layout`]: where things are; [`Cluster`]: a session, and one cluster's place
//! - [`document`]: the text of a znode
//! - [`election`]: who leads, since which epoch, and the writes that only the leader gets through
//! - [`membership`]: which TaskManagers are there
//! - [`jobs`]: what is to run, what runs where, and what has become of it
//! - [`catalog`]: tables and views
//! - [`config`]: configuration documents, which jobs read while they run
//! - `guard`: how a leader's write is fenced, and how an answer that was lost is looked up
//! - `follow`: how a subtree is followed as it changes

pub mod catalog;
mod cluster;
pub mod config;
pub mod document;
pub mod election;
pub mod error;
mod follow;
mod guard;
pub mod jobs;
pub mod layout;
pub mod membership;

pub use cluster::Cluster;
pub use document::Versioned;
pub use error::{Error, Result};
pub use follow::Followed;

#[cfg(test)]
mod tests {
    use super::*;

    fn is_send(_: impl Send) {}

    fn check(leadership: &election::Leadership, cluster: &Cluster, result: &jobs::JobResult) {
        is_send(leadership.update_jobs(&[]));
        is_send(leadership.complete_checkpoint("", &result.checkpoint));
        is_send(leadership.end_job("", result));
        is_send(cluster.watch_jobs());
        is_send(Cluster::open(cluster.zookeeper().clone(), cluster.layout().clone()));
        is_send(jobs::JobStore::new(cluster.clone()).cancel(""));
    }

    /// They are awaited on any runtime: so it compiles.
    #[test]
    fn futures_can_be_sent_to_another_thread() {
        let _: fn(&election::Leadership, &Cluster, &jobs::JobResult) = check;
    }
}
