//! A candidate at a ZooKeeper: runs the core's actions and tells it what happens.

use std::collections::VecDeque;
use std::future::{Future, pending};
use std::pin::Pin;
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use streamkeeper_zookeeper::{
    CreateMode, Error as ZkError, Multi, Spawned, State, Status, Watch, WatchMode, spawn,
};
use tokio::sync::{mpsc, watch};

use super::core::{Action, Candidate, Event, Look, Standing, Take};
use super::{LeaderDocument, Leadership};
use crate::cluster::Cluster;
use crate::document;
use crate::error::{Error, Result};
use crate::layout::checked;

/// Pause after an action that failed.
const RETRY: Duration = Duration::from_millis(50);

/// Leaders to depose that wait to be looked at.
const COMMANDS: usize = 16;

/// Who stands for election, as its latch node holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CandidateInfo {
    /// A name that no other process has, nor an earlier one of the same machine.
    pub id: String,
    /// `host:port` for TaskManagers and other JobManagers.
    pub rpc_address: String,
    /// `host:port` for clients.
    pub rest_address: String,
}

/// Where a candidate stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Office {
    /// Somebody else leads, or nobody.
    Standby,
    /// It leads.
    Leading(Leadership),
    /// It leads as far as is known, but there is no connection: nothing is to be written.
    Suspended(Leadership),
}

/// How a candidate's standing changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ElectionEvent {
    /// It leads from now on.
    Granted(Leadership),
    /// The connection is lost: nothing is to be written, and everything else goes on.
    Suspended,
    /// The connection is back, and it still leads.
    Resumed,
    /// It leads no more.
    Revoked,
}

/// A candidate. It stands for election, and leads, until this is dropped. Its latch node, which keeps others from office, goes with
/// its session, or by [`Election::resign`].
#[derive(Debug)]
pub struct Election {
    office: watch::Receiver<Office>,
    seen: Office,
    events: VecDeque<ElectionEvent>,
    commands: mpsc::Sender<String>,
    cluster: Cluster,
    guid: String,
    task: Spawned,
}

impl Election {
    /// Stands for election.
    ///
    /// # Errors
    /// [`Error::InvalidName`] for an id that cannot be one; [`Error::ZooKeeper`].
    pub fn start(cluster: Cluster, candidate: CandidateInfo) -> Result<Self> {
        checked("JobManager", &candidate.id)?;
        let about = LeaderDocument {
            leader: candidate.id.clone(),
            rpc_address: candidate.rpc_address.clone(),
            rest_address: candidate.rest_address.clone(),
            ..LeaderDocument::default()
        };
        let (commands, commanded) = mpsc::channel(COMMANDS);
        let (office, shown) = watch::channel(Office::Standby);
        let epoch = cluster.zookeeper().watch(&cluster.layout().epoch(), WatchMode::Node)?;
        let guid = guid()?;
        let task = Task {
            core: Candidate::new(about, guid.clone()),
            latch: document::encode(&cluster.layout().latches(), &candidate)?,
            cluster: cluster.clone(),
            epoch,
            watched: None,
            office,
        };
        let task = spawn(task.run(commanded))?;
        let (seen, events) = (Office::Standby, VecDeque::new());
        Ok(Self { office: shown, seen, events, commands, cluster, guid, task })
    }

    /// Where it stands.
    pub fn office(&self) -> Office {
        self.office.borrow().clone()
    }

    /// The next change. What was overtaken by later changes may be left out, but a new leadership is always granted, and an old one
    /// revoked before it. Nothing is lost if the future is dropped.
    ///
    /// # Errors
    /// [`Error::WatchEnded`] when the handle was closed.
    pub async fn next(&mut self) -> Result<ElectionEvent> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            let ended = self.office.changed().await.is_err();
            let now = self.office.borrow_and_update().clone();
            self.events = between(&self.seen, &now).into();
            self.seen = now;
            if ended && self.events.is_empty() {
                return Err(Error::WatchEnded {
                    what: "the election".into(),
                    reason: "the ZooKeeper handle is closed".into(),
                });
            }
        }
    }

    /// Takes the place of the leader with this id, which is known to be dead: its process, not just its connection. Does nothing
    /// when it leads no more. Returns at once; it fences the leader off, so that nothing is lost if it is alive.
    pub fn depose(&self, leader: &str) {
        if self.commands.try_send(leader.to_owned()).is_err() {
            tracing::warn!("{leader} is not deposed: too many are to be");
        }
    }
}

impl Election {
    /// Stands no more, and leaves office to the next at once: for a process that is about to close its session.
    ///
    /// # Errors
    /// [`Error::ZooKeeper`] when the latch node cannot be deleted; it goes with the session then.
    pub async fn resign(mut self) -> Result<()> {
        drop(self.task);
        // Until the task is gone, and its office with it.
        while self.office.changed().await.is_ok() {}
        self.cluster.sync().await?;
        let (names, _) = self.cluster.zookeeper().children(&self.cluster.layout().latches()).await?;
        for name in names.iter().filter(|name| name.starts_with(&self.guid)) {
            match self.cluster.zookeeper().delete(&self.cluster.layout().latch(name), None).await {
                Ok(()) | Err(ZkError::NoNode { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// What has happened between two looks.
fn between(before: &Office, now: &Office) -> Vec<ElectionEvent> {
    let of = |office: &Office| match office {
        Office::Standby => None,
        Office::Leading(leadership) => Some((leadership.clone(), true)),
        Office::Suspended(leadership) => Some((leadership.clone(), false)),
    };
    match (of(before), of(now)) {
        (Some((old, before)), Some((new, now))) if old == new => match (before, now) {
            (true, false) => vec![ElectionEvent::Suspended],
            (false, true) => vec![ElectionEvent::Resumed],
            _ => Vec::new(),
        },
        (old, new) => {
            let mut events: Vec<_> = old.map(|_| ElectionEvent::Revoked).into_iter().collect();
            if let Some((new, connected)) = new {
                events.push(ElectionEvent::Granted(new));
                if !connected {
                    events.push(ElectionEvent::Suspended);
                }
            }
            events
        }
    }
}

/// 128 random bits.
fn guid() -> Result<String> {
    let mut bytes = [0; 16];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Error::Secret("the system gives no random bytes".into()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

type Running = Pin<Box<dyn Future<Output = Event> + Send>>;

struct Task {
    core: Candidate,
    cluster: Cluster,
    /// What the latch node holds.
    latch: Vec<u8>,
    epoch: Watch,
    watched: Option<(String, Watch)>,
    office: watch::Sender<Office>,
}

impl Task {
    async fn run(mut self, mut commands: mpsc::Receiver<String>) {
        let mut status = self.cluster.zookeeper().watch_status();
        let mut known = *status.borrow_and_update();
        let mut running: Option<Running> = None;
        let mut event = session_event(None, known);
        loop {
            if let Some(event) = event.take()
                && let Some(action) = self.step(event)
            {
                running = Some(Box::pin(perform(self.cluster.clone(), action, self.latch.clone())));
            }
            event = tokio::select! {
                changed = status.changed() => {
                    let now = *status.borrow_and_update();
                    if changed.is_err() || now.state == State::Closed {
                        break;
                    }
                    let event = session_event(Some(known), now);
                    known = now;
                    event
                }
                done = done(&mut running) => {
                    running = None;
                    Some(done)
                }
                told = self.epoch.next() => match told {
                    Some(Ok(_)) => Some(Event::Changed),
                    _ => break,
                },
                () = told(&mut self.watched) => Some(Event::Changed),
                command = commands.recv() => match command {
                    Some(leader) => Some(Event::Depose(leader)),
                    None => break,
                },
            };
        }
    }

    fn step(&mut self, event: Event) -> Option<Action> {
        tracing::trace!(?event, "election");
        let action = self.core.step(event);
        let watched = self.core.watched();
        if watched != self.watched.as_ref().map(|(name, _)| name.as_str()) {
            self.watched = watched.and_then(|name| {
                let path = self.cluster.layout().latch(name);
                let watch = self.cluster.zookeeper().watch(&path, WatchMode::Node).ok()?;
                Some((name.to_owned(), watch))
            });
        }
        self.show(self.core.standing());
        action
    }

    /// Tells where the candidate stands, if that is new.
    fn show(&self, standing: Standing) {
        self.office.send_if_modified(|office| {
            let old = match office {
                Office::Standby => None,
                Office::Leading(leadership) | Office::Suspended(leadership) => Some(leadership.clone()),
            };
            let (held, connected) = match &standing {
                Standing::Standby => (None, false),
                Standing::Leading(held) => (Some(held), true),
                Standing::Suspended(held) => (Some(held), false),
            };
            let leadership = held.map(|held| match &old {
                Some(old) if old.is(held) => old.clone(),
                _ => Leadership::new(self.cluster.clone(), held),
            });
            if let Some(old) = old.filter(|old| leadership.as_ref() != Some(old)) {
                tracing::info!("epoch {} has ended", old.epoch());
                old.revoke();
            }
            let new = match leadership {
                None => Office::Standby,
                Some(leadership) if connected => Office::Leading(leadership),
                Some(leadership) => Office::Suspended(leadership),
            };
            let modified = new != *office;
            *office = new;
            modified
        });
    }
}

/// Also when the task is aborted: an office without a candidate behind it is none.
impl Drop for Task {
    fn drop(&mut self) {
        self.show(Standing::Standby);
    }
}

/// What a change of the session means to the core.
fn session_event(before: Option<Status>, now: Status) -> Option<Event> {
    match now.state {
        State::Connected if before.is_none_or(|before| before.connections != now.connections) => {
            Some(Event::Connected(now.generation))
        }
        State::Connected => None,
        State::Suspended => Some(Event::Suspended),
        State::Lost | State::Closed => Some(Event::Lost),
    }
}

async fn done(running: &mut Option<Running>) -> Event {
    match running {
        Some(running) => running.await,
        None => pending().await,
    }
}

/// Until something happens to the watched latch node.
async fn told(watched: &mut Option<(String, Watch)>) {
    match watched {
        Some((_, watch)) => match watch.next().await {
            Some(Ok(_)) => {}
            // The watch of `leader/epoch` ends, too.
            _ => pending().await,
        },
        None => pending().await,
    }
}

async fn perform(cluster: Cluster, action: Action, latch: Vec<u8>) -> Event {
    let tried = match &action {
        Action::Look => match look(&cluster).await {
            Ok(look) => return Event::Looked(look),
            Err(Error::ZooKeeper(ZkError::NoNode { path })) => {
                tracing::error!("{path} is gone, though nobody may delete it; it is made again");
                cluster.prepare().await
            }
            Err(error) => Err(error),
        },
        Action::Join(prefix) => {
            let path = cluster.layout().latch(prefix);
            let created = cluster.zookeeper().create(&path, latch, CreateMode::EphemeralSequential).await;
            created.map(drop).map_err(Error::from)
        }
        Action::Remove(name) => {
            cluster.zookeeper().delete(&cluster.layout().latch(name), None).await.map_err(Error::from)
        }
        Action::Take(take) => take_office(&cluster, take).await,
    };
    if let Err(error) = tried {
        tracing::debug!(?action, "election: {error}");
        tokio::time::sleep(RETRY).await;
    }
    Event::Acted
}

async fn look(cluster: &Cluster) -> Result<Look> {
    cluster.sync().await?;
    let path = cluster.layout().epoch();
    let (text, stat) = cluster.zookeeper().get(&path).await?;
    let document = document::decode(&text)
        .inspect_err(|reason| tracing::error!("{path} is ignored: {reason}; the next leader replaces it"));
    let (latches, _) = cluster.zookeeper().children(&cluster.layout().latches()).await?;
    Ok(Look { document: document.ok(), version: stat.version, latches })
}

async fn take_office(cluster: &Cluster, take: &Take) -> Result<()> {
    let layout = cluster.layout();
    let text = document::encode(&layout.epoch(), &take.document)?;
    // Any version of the latch node: that it is there says that the session is.
    let mut multi = Multi::new().check(&layout.latch(&take.document.latch), -1);
    if let Some(deposed) = &take.delete {
        multi = multi.delete(&layout.latch(deposed), None);
    }
    cluster.zookeeper().multi(multi.set(&layout.epoch(), text, Some(take.version))).await?;
    tracing::info!("{} leads in epoch {}", take.document.leader, take.document.epoch);
    Ok(())
}

#[cfg(test)]
mod tests {
    use streamkeeper_keeper::server::{Keeper, ServerOptions};
    use streamkeeper_zookeeper::{Options, ZooKeeper, block_on};

    use super::*;
    use crate::layout::Layout;

    #[test]
    fn office_is_taken_by_who_has_a_latch_node_at_the_version_seen() {
        let keeper = Keeper::start(ServerOptions::default()).expect("starts");
        let address = keeper.client_address().expect("listens");
        block_on(async {
            let zookeeper = ZooKeeper::connect(Options::new(address.to_string())).await.expect("connects");
            let cluster = Cluster::open(zookeeper, Layout::default()).await.expect("opens");
            let about = LeaderDocument { epoch: 1, leader: "me".into(), ..LeaderDocument::default() };
            let take = |latch: &str, version, delete: Option<&str>| Take {
                document: LeaderDocument { latch: latch.into(), ..about.clone() },
                version,
                delete: delete.map(str::to_owned),
            };
            for latch in ["a", "b"] {
                let path = cluster.layout().latch(latch);
                cluster.zookeeper().create(&path, "", CreateMode::Ephemeral).await.expect("created");
            }
            for refused in [take("gone", 0, None), take("a", 1, None), take("a", 0, Some("gone"))] {
                assert!(take_office(&cluster, &refused).await.is_err(), "{refused:?}");
            }
            let seen = look(&cluster).await.expect("looks");
            assert_eq!((seen.document, seen.version), (Some(LeaderDocument::default()), 0));
            take_office(&cluster, &take("a", 0, Some("b"))).await.expect("takes");
            let seen = look(&cluster).await.expect("looks");
            assert_eq!((seen.document, seen.version), (Some(take("a", 0, None).document), 1));
            assert_eq!(seen.latches, ["a"]);
        });
    }

    #[test]
    fn what_was_overtaken_is_left_out_but_no_change_of_office() {
        let zookeeper = ZooKeeper::open(Options::new("127.0.0.1:1")).expect("opens");
        let cluster = Cluster::at(zookeeper, Layout::default());
        let office = |epoch| {
            let document = LeaderDocument { epoch, ..LeaderDocument::default() };
            Leadership::new(cluster.clone(), &super::super::core::Held { document, version: 1 })
        };
        let (old, new) = (office(1), office(2));
        let leading = |leadership: &Leadership| Office::Leading(leadership.clone());
        let suspended = |leadership: &Leadership| Office::Suspended(leadership.clone());
        let granted = |leadership: &Leadership| ElectionEvent::Granted(leadership.clone());
        use ElectionEvent::{Resumed, Revoked, Suspended};
        for (before, now, events) in [
            (Office::Standby, leading(&old), vec![granted(&old)]),
            (Office::Standby, suspended(&old), vec![granted(&old), Suspended]),
            (leading(&old), suspended(&old), vec![Suspended]),
            (suspended(&old), leading(&old), vec![Resumed]),
            (leading(&old), leading(&old), vec![]),
            (suspended(&old), Office::Standby, vec![Revoked]),
            (leading(&old), leading(&new), vec![Revoked, granted(&new)]),
            (suspended(&old), suspended(&new), vec![Revoked, granted(&new), Suspended]),
        ] {
            assert_eq!(between(&before, &now), events, "{before:?} {now:?}");
        }
    }
}
