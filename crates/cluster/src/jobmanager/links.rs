//! The leader's connections to TaskManagers.
//!
//! Invariant: nothing is sent by a connection before its TaskManager has registered and the masters that may have sent orders by an
//! earlier one are abandoned: an order never arrives after one before it was lost.

use std::collections::BTreeMap;
use std::sync::Mutex;

use streamkeeper_dataflow::executor::order::WorkerId;

use super::lock;
use crate::rpc::connection::Connection;
use crate::rpc::message::{Command, FromLeader};

/// The connections of one epoch.
pub(super) struct Links {
    epoch: u64,
    open: Mutex<BTreeMap<WorkerId, Link>>,
}

struct Link {
    /// The connection's number.
    number: u64,
    connection: Connection,
    /// Whether its TaskManager has registered.
    ready: bool,
}

impl Links {
    pub(super) fn new(epoch: u64) -> Self {
        Self { epoch, open: Mutex::default() }
    }

    /// A connection, in place of an earlier one. Nothing is sent by it yet.
    pub(super) fn insert(&self, worker: WorkerId, number: u64, connection: Connection) {
        if let Some(old) = lock(&self.open).insert(worker, Link { number, connection, ready: false }) {
            old.connection.close();
        }
    }

    /// Lets orders through.
    pub(super) fn ready(&self, worker: &WorkerId) {
        if let Some(link) = lock(&self.open).get_mut(worker) {
            link.ready = true;
        }
    }

    /// Whether the connection with this number is the TaskManager's.
    pub(super) fn is_current(&self, worker: &WorkerId, number: u64) -> bool {
        lock(&self.open).get(worker).is_some_and(|link| link.number == number)
    }

    /// Forgets a connection that has ended.
    pub(super) fn remove(&self, worker: &WorkerId) {
        lock(&self.open).remove(worker);
    }

    /// Sends a command; nowhere when there is no connection.
    pub(super) fn send(&self, worker: &WorkerId, command: Command) {
        if let Some(link) = lock(&self.open).get(worker).filter(|link| link.ready) {
            link.connection.send(&FromLeader { epoch: self.epoch, command });
        }
    }

    /// Breaks all of them, as a network might.
    pub(super) fn break_all(&self) {
        lock(&self.open).values().for_each(|link| link.connection.close());
    }

    /// Ends all of them.
    pub(super) fn close(&self) {
        for link in std::mem::take(&mut *lock(&self.open)).into_values() {
            link.connection.close();
        }
    }
}
