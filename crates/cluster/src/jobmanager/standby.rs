//! A standby's watch on the leader: a connection that breaks when the leader's process dies.
//!
//! Invariant: a leader is called dead only when its host says that nobody listens at its port. One that does not answer at all may be
//! alive, and is left to its session's timeout.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use super::shell::Event;
use crate::rpc::Heartbeat;
use crate::rpc::connection::{self, Connection};
use crate::rpc::message::{FromLeader, FromTaskManager, Hello, PROTOCOL, Role};
use crate::rpc::server::connect;
use crate::rpc::stream::{RpcTls, Stream};

/// Pause before the leader is tried again.
const RETRY: Duration = Duration::from_millis(100);

/// The watch on one leader at a time.
pub(super) struct Standby {
    id: String,
    cluster: String,
    heartbeat: Heartbeat,
    tls: RpcTls,
    events: Sender<Event>,
    /// The epoch whose leader is watched; 0: none is.
    watched: Arc<AtomicU64>,
    connection: Option<Connection>,
}

impl Standby {
    pub(super) fn new(
        id: String,
        cluster: String,
        heartbeat: Heartbeat,
        tls: RpcTls,
        events: Sender<Event>,
    ) -> Self {
        Self { id, cluster, heartbeat, tls, events, watched: Arc::default(), connection: None }
    }

    /// Watches the leader of `epoch`, which has this address, from now on.
    pub(super) fn watch(&mut self, epoch: u64, address: String) {
        if address.is_empty() {
            // It cannot be reached.
            return self.rest();
        }
        if self.watched.swap(epoch, Ordering::AcqRel) != epoch {
            self.connection = None;
            self.reach(epoch, address);
        }
    }

    /// Watches nobody.
    pub(super) fn rest(&mut self) {
        self.watched.store(0, Ordering::Release);
        self.connection = None;
    }

    /// The leader was reached.
    pub(super) fn reached(&mut self, epoch: u64, address: String, stream: Stream) {
        if self.watched.load(Ordering::Acquire) != epoch {
            return;
        }
        let events = self.events.clone();
        let at = address.clone();
        let on_event = move |event: connection::Event<FromLeader>| {
            if matches!(event, connection::Event::Closed(_)) {
                let _ = events.send(Event::WatchBroken(epoch, at.clone()));
            }
        };
        match Connection::open(stream, self.heartbeat, &FromTaskManager::Heartbeat, on_event) {
            Ok(connection) => self.connection = Some(connection),
            Err(_) => self.reach(epoch, address),
        }
    }

    /// The connection has broken: the leader is dead, or is reached again.
    pub(super) fn broken(&mut self, epoch: u64, address: String) {
        if self.watched.load(Ordering::Acquire) == epoch {
            self.connection = None;
            self.reach(epoch, address);
        }
    }

    /// Tries, on a thread of its own, until the leader is reached, or dead, or not to be watched any more.
    fn reach(&self, epoch: u64, address: String) {
        let role = Role::Standby { id: self.id.clone() };
        let hello = Hello { protocol: PROTOCOL, cluster: self.cluster.clone(), role };
        let (events, watched, tls) = (self.events.clone(), self.watched.clone(), self.tls.clone());
        let reach = move || {
            while watched.load(Ordering::Acquire) == epoch {
                match connect(&address, &tls, &hello) {
                    Ok((stream, _)) => {
                        let _ = events.send(Event::Watching(epoch, address, stream));
                        return;
                    }
                    Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                        let _ = events.send(Event::LeaderDead(epoch));
                        return;
                    }
                    Err(error) => tracing::debug!("the leader at {address}: {error}"),
                }
                std::thread::sleep(RETRY);
            }
        };
        if let Err(error) = std::thread::Builder::new().name("standby".into()).spawn(reach) {
            tracing::error!("the leader is not watched: {error}");
        }
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        self.rest();
    }
}
