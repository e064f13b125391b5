//! What a TaskManager learns from ZooKeeper: who leads, and whether there is a connection. Its own znode is kept up meanwhile.

use std::sync::mpsc::Sender;
use std::time::Duration;

use streamkeeper_coordination::Cluster;
use streamkeeper_coordination::membership::{Registration, TaskManagerDocument};
use streamkeeper_zookeeper::{Spawned, State, spawn};

use super::link;
use super::shell::Event;
use crate::error::Result;

/// Pause before what has ended is followed anew.
const RETRY: Duration = Duration::from_millis(100);

/// Followed until this is dropped.
pub(super) struct Following(#[expect(dead_code, reason = "ends with this")] [Spawned; 2]);

/// Follows both, and registers the TaskManager once the cluster is there.
pub(super) fn follow(
    cluster: &Cluster,
    document: TaskManagerDocument,
    events: Sender<Event>,
) -> Result<Following> {
    let mut status = cluster.zookeeper().watch_status();
    let connected = events.clone();
    let session = spawn(async move {
        loop {
            let is_connected = status.borrow_and_update().state == State::Connected;
            let event = Event::Link(link::Event::ZooKeeper(is_connected));
            if connected.send(event).is_err() || status.changed().await.is_err() {
                return;
            }
        }
    })?;
    let cluster = cluster.clone();
    let leader = spawn(async move {
        let mut registration: Option<Registration> = None;
        loop {
            let opened = Cluster::open(cluster.zookeeper().clone(), cluster.layout().clone()).await;
            if let Err(error) = opened {
                tracing::debug!("the cluster is not there yet: {error}");
                tokio::time::sleep(RETRY).await;
                continue;
            }
            if registration.is_none() {
                match cluster.register_task_manager(&document) {
                    Ok(registered) => registration = Some(registered),
                    Err(error) => tracing::error!("the TaskManager is not registered: {error}"),
                }
            }
            let Ok(mut followed) = cluster.watch_leader().await else {
                tokio::time::sleep(RETRY).await;
                continue;
            };
            let mut shown = followed.now();
            loop {
                if let Some(leader) = shown.as_ref() {
                    let (epoch, address) = (leader.epoch, leader.rpc_address.clone());
                    if events.send(Event::Link(link::Event::Leader { epoch, address })).is_err() {
                        return;
                    }
                }
                match followed.changed().await {
                    Ok(now) => shown = now,
                    Err(error) => {
                        tracing::warn!("{error}; it is followed anew");
                        break;
                    }
                }
            }
            tokio::time::sleep(RETRY).await;
        }
    })?;
    Ok(Following([session, leader]))
}
