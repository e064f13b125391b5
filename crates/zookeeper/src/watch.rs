//! Watches that say when to read: whoever reads after [`WatchEvent::Watching`], and again what [`WatchEvent::Changed`] names, has seen
//! the last state of everything.
//!
//! A persistent watch loses what happens while there is no connection, and version 0.11 of the client does not even set it again. So
//! it is set anew after each reconnect, and the reader is told to read everything again. The same holds where the reader is slower
//! than the changes: what does not fit into the queue is dropped, and `Watching` follows.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::debug;
use zookeeper_client as zk;

use crate::error::Error;
use crate::one_shot;
use crate::runtime::runtime;
use crate::session::{Inner, ZooKeeper, pause};
use crate::status::State;

/// Events that wait for their reader; more become one [`WatchEvent::Watching`].
const QUEUE: usize = 4096;

/// How long to wait for a connection before looking whether anybody still listens.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a watch is set on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchMode {
    /// One znode, there or not: its creation, its deletion, its data, and which children it has.
    Node,
    /// A znode and all below it: creations, deletions and data. A new child shows by its own creation.
    Recursive,
}

/// What a watch tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchEvent {
    /// The watch is in place, for the first time or again: read everything, after a `sync` if others' writes must be seen.
    Watching,
    /// Something happened to a znode.
    Changed {
        /// Its path.
        path: String,
        /// What happened.
        event: zk::EventType,
    },
}

/// A stream of events; it ends with the handle, or with an error.
#[derive(Debug)]
pub struct Watch {
    receiver: mpsc::Receiver<Result<WatchEvent, Error>>,
}

impl Watch {
    /// The next event; `None` once the handle was closed or all its clones dropped.
    pub async fn next(&mut self) -> Option<Result<WatchEvent, Error>> {
        self.receiver.recv().await
    }

    /// The next event if there is one already.
    pub fn try_next(&mut self) -> Option<Result<WatchEvent, Error>> {
        self.receiver.try_recv().ok()
    }
}

impl ZooKeeper {
    /// Watches `path` until the stream is dropped. Where the server knows no persistent watches, one-shot watches stand in.
    pub fn watch(&self, path: &str, mode: WatchMode) -> Result<Watch, Error> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let follower = Follower { inner: Arc::downgrade(&self.inner), path: path.to_owned(), mode, sender };
        runtime()?.spawn(follower.run());
        Ok(Watch { receiver })
    }
}

/// Why following a watch ended.
pub(crate) enum Ended {
    /// Nobody listens, or the handle is gone.
    Gone,
    /// Set it again.
    Again,
    /// It cannot be set.
    Failed(Error),
}

struct Follower {
    inner: Weak<Inner>,
    path: String,
    mode: WatchMode,
    sender: mpsc::Sender<Result<WatchEvent, Error>>,
}

impl Follower {
    async fn run(self) {
        let mut persistent = true;
        loop {
            let Some(client) = self.client().await else { return };
            let ended = if persistent {
                self.persistent(client).await
            } else {
                drop(client);
                one_shot::follow(&self.inner, &self.path, self.mode, &Events(&self.sender)).await
            };
            match ended {
                Ended::Gone => return,
                Ended::Again => pause(Duration::from_millis(20)).await,
                Ended::Failed(Error::Unimplemented { .. }) if persistent => {
                    debug!("{}: no persistent watches here, taking one-shot ones", self.path);
                    persistent = false;
                }
                Ended::Failed(error) => {
                    let _ = self.sender.send(Err(error)).await;
                    return;
                }
            }
        }
    }

    /// The client, when it is connected; `None` once nobody listens.
    async fn client(&self) -> Option<zk::Client> {
        loop {
            if self.sender.is_closed() {
                return None;
            }
            let inner = self.inner.upgrade()?;
            let asked = inner.client(PATIENCE, "watch");
            match asked.await {
                Ok(client) => return Some(client),
                Err(Error::Suspended { .. }) => {}
                Err(error) => {
                    let closed = inner.status.borrow().state == State::Closed && error == Error::Closed;
                    if !closed {
                        let _ = self.sender.send(Err(error)).await;
                    }
                    return None;
                }
            }
        }
    }

    /// Sets a persistent watch, and follows it until the connection is lost.
    async fn persistent(&self, client: zk::Client) -> Ended {
        let mode = match self.mode {
            WatchMode::Node => zk::AddWatchMode::Persistent,
            WatchMode::Recursive => zk::AddWatchMode::PersistentRecursive,
        };
        let mut watcher = match client.watch(&self.path, mode).await {
            Ok(watcher) => watcher,
            Err(error) => {
                return match Error::of("watch", &self.path, error) {
                    error if error.is_transient() => Ended::Again,
                    error => Ended::Failed(error),
                };
            }
        };
        // Whoever holds the client keeps the session.
        drop(client);
        let events = Events(&self.sender);
        if events.send(WatchEvent::Watching, &mut watcher).await.is_err() {
            return Ended::Gone;
        }
        loop {
            let event = tokio::select! {
                event = watcher.changed() => event,
                () = self.sender.closed() => return Ended::Gone,
            };
            if event.event_type == zk::EventType::Session {
                return Ended::Again;
            }
            let event = WatchEvent::Changed { path: event.path, event: event.event_type };
            match events.send(event, &mut watcher).await {
                Ok(()) => {}
                Err(ended) => return ended,
            }
        }
    }
}

/// The sending half, which never lets events pile up.
pub(crate) struct Events<'a>(pub(crate) &'a mpsc::Sender<Result<WatchEvent, Error>>);

impl Events<'_> {
    /// Queues `event`. If there is no room, drops what comes until there is, and says to read everything again.
    async fn send(&self, event: WatchEvent, watcher: &mut zk::PersistentWatcher) -> Result<(), Ended> {
        match self.0.try_send(Ok(event)) {
            Ok(()) => return Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(Ended::Gone),
            Err(mpsc::error::TrySendError::Full(_)) => {}
        }
        loop {
            tokio::select! {
                permit = self.0.reserve() => {
                    permit.map_err(|_| Ended::Gone)?.send(Ok(WatchEvent::Watching));
                    return Ok(());
                }
                event = watcher.changed() => if event.event_type == zk::EventType::Session {
                    return Err(Ended::Again);
                },
            }
        }
    }

    /// Queues `event`, waiting for room.
    pub(crate) async fn send_all(&self, event: WatchEvent) -> Result<(), Ended> {
        self.0.send(Ok(event)).await.map_err(|_| Ended::Gone)
    }

    /// Until nobody listens.
    pub(crate) async fn closed(&self) {
        self.0.closed().await;
    }
}
