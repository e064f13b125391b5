//! What a JobManager learns from ZooKeeper: its own standing, who leads, the TaskManagers and the jobs. Always in the background, and
//! anew when it has ended.

use std::future::Future;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use streamkeeper_coordination::election::{CandidateInfo, Election};
use streamkeeper_coordination::{Cluster, Followed, Result as Coordinated};
use streamkeeper_zookeeper::{Spawned, spawn};
use tokio::sync::mpsc;

use super::shell::Event;
use crate::error::Result;

/// Pause before what has ended is followed anew.
const RETRY: Duration = Duration::from_millis(100);

/// Leaders to depose that wait to be.
const DEPOSED: usize = 16;

/// Followed until this is dropped; the candidature ends with it, too.
pub(super) struct Following {
    _tasks: Vec<Spawned>,
    depose: mpsc::Sender<String>,
}

impl Following {
    /// Takes the place of this leader, which is dead.
    pub(super) fn depose(&self, leader: String) {
        // Sixteen at a time are more than enough: there is one leader.
        let _ = self.depose.try_send(leader);
    }
}

#[cfg(test)]
impl Following {
    /// Of a simulation, which tells what is to be seen; and the leaders that it is to depose.
    pub(super) fn simulated() -> (Self, mpsc::Receiver<String>) {
        let (depose, deposed) = mpsc::channel(DEPOSED);
        (Self { _tasks: Vec::new(), depose }, deposed)
    }
}

/// Follows everything, and stands for election.
pub(super) fn follow(
    cluster: &Cluster,
    candidate: CandidateInfo,
    events: Sender<Event>,
) -> Result<Following> {
    let (depose, deposed) = mpsc::channel(DEPOSED);
    let tasks = vec![
        spawn(stand(cluster.clone(), candidate, events.clone(), deposed))?,
        spawn(each(
            cluster.clone(),
            events.clone(),
            |c| async move { c.watch_leader().await },
            |leader| leader.as_ref().clone().map(Event::Leader),
        ))?,
        spawn(each(
            cluster.clone(),
            events.clone(),
            |c| async move { c.watch_task_managers().await },
            |members| Some(Event::Members(members)),
        ))?,
        spawn(each(
            cluster.clone(),
            events,
            |c| async move { c.watch_jobs().await },
            |jobs| Some(Event::Jobs(jobs)),
        ))?,
    ];
    Ok(Following { _tasks: tasks, depose })
}

/// Makes the cluster if it is not there.
async fn open(cluster: &Cluster) -> Cluster {
    loop {
        match Cluster::open(cluster.zookeeper().clone(), cluster.layout().clone()).await {
            Ok(cluster) => return cluster,
            Err(error) => tracing::debug!("the cluster is not there yet: {error}"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn stand(
    cluster: Cluster,
    candidate: CandidateInfo,
    events: Sender<Event>,
    mut deposed: mpsc::Receiver<String>,
) {
    let cluster = open(&cluster).await;
    let mut election = match Election::start(cluster, candidate) {
        Ok(election) => election,
        Err(error) => return tracing::error!("the JobManager cannot stand for election: {error}"),
    };
    loop {
        tokio::select! {
            event = election.next() => match event {
                Ok(event) => if events.send(Event::Election(event)).is_err() { return },
                Err(error) => return tracing::debug!("{error}"),
            },
            Some(leader) = deposed.recv() => election.depose(&leader),
        }
    }
}

/// Sends what `watch` shows, whenever it has changed.
async fn each<T, F>(
    cluster: Cluster,
    events: Sender<Event>,
    watch: impl Fn(Cluster) -> F + Send,
    event: impl Fn(Arc<T>) -> Option<Event> + Send,
) where
    T: Send + Sync,
    F: Future<Output = Coordinated<Followed<T>>> + Send,
{
    let cluster = open(&cluster).await;
    loop {
        match watch(cluster.clone()).await {
            Ok(mut followed) => {
                let mut shown = followed.now();
                loop {
                    if event(shown).is_some_and(|event| events.send(event).is_err()) {
                        return;
                    }
                    match followed.changed().await {
                        Ok(now) => shown = now,
                        Err(error) => break tracing::warn!("{error}; it is followed anew"),
                    }
                }
            }
            Err(error) => tracing::debug!("{error}"),
        }
        tokio::time::sleep(RETRY).await;
    }
}
