//! The leader's connections to TaskManagers.

use std::collections::BTreeMap;
use std::sync::Mutex;

use streamkeeper_dataflow::executor::order::WorkerId;

use super::lock;
use crate::rpc::connection::Connection;
use crate::rpc::message::{Command, FromLeader};

/// The connections of one epoch.
pub(super) struct Links {
    epoch: u64,
    /// By TaskManager, with the connection's number.
    open: Mutex<BTreeMap<WorkerId, (u64, Connection)>>,
}

impl Links {
    pub(super) fn new(epoch: u64) -> Self {
        Self { epoch, open: Mutex::default() }
    }

    /// A connection, in place of an earlier one.
    pub(super) fn insert(&self, worker: WorkerId, number: u64, connection: Connection) {
        if let Some((_, old)) = lock(&self.open).insert(worker, (number, connection)) {
            old.close();
        }
    }

    /// Whether the connection with this number is the TaskManager's.
    pub(super) fn is_current(&self, worker: &WorkerId, number: u64) -> bool {
        lock(&self.open).get(worker).is_some_and(|(current, _)| *current == number)
    }

    /// Forgets a connection that has ended.
    pub(super) fn remove(&self, worker: &WorkerId) {
        lock(&self.open).remove(worker);
    }

    /// Sends a command; nowhere when there is no connection.
    pub(super) fn send(&self, worker: &WorkerId, command: Command) {
        if let Some((_, connection)) = lock(&self.open).get(worker) {
            connection.send(&FromLeader { epoch: self.epoch, command });
        }
    }

    /// Breaks all of them, as a network might.
    pub(super) fn break_all(&self) {
        lock(&self.open).values().for_each(|(_, connection)| connection.close());
    }

    /// Ends all of them.
    pub(super) fn close(&self) {
        for (_, (_, connection)) in std::mem::take(&mut *lock(&self.open)) {
            connection.close();
        }
    }
}
