//! The seam between a job's master and the processes that run its tasks.

use std::collections::BTreeMap;

use crate::element::CheckpointId;
use crate::executor::order::{Inventory, Order, Worker, WorkerId};
use crate::graph::VertexId;

/// Why a master has to leave its job as it is: somebody else leads now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deposed;

/// The processes that run a job's tasks, as its master sees them.
pub trait Workers: Send {
    /// Says who runs slot 0, 1, … of the job, `slots` of them; `current` is who does now, `None` where nobody can any more.
    /// `attempts` is of all vertices once the slots are in use. Both are durable when this returns. `None`: there are not
    /// enough slots; the master is told when that may have changed ([`JobHandle::resources_changed`]).
    ///
    /// # Errors
    /// When this process leads no more.
    ///
    /// [`JobHandle::resources_changed`]: super::JobHandle::resources_changed
    fn place(
        &mut self,
        slots: usize,
        current: &[Option<Worker>],
        attempts: &BTreeMap<VertexId, u32>,
    ) -> Result<Option<Vec<Worker>>, Deposed>;

    /// Sends an order. One to a worker that is lost goes nowhere: the master is told of the loss.
    fn send(&mut self, worker: &WorkerId, order: Order);
}

/// What a master takes over from one that led before.
#[derive(Debug, Clone, Default)]
pub struct Adoption {
    /// Who ran which slot; empty when nothing was ever placed.
    pub slots: Vec<Worker>,
    /// The attempts of the vertices.
    pub attempts: BTreeMap<VertexId, u32>,
    /// What the workers have that have reported.
    pub inventories: BTreeMap<WorkerId, Inventory>,
}

impl Adoption {
    /// The highest number of a checkpoint that a worker has heard of; 0: of none.
    pub fn highest_checkpoint(&self) -> CheckpointId {
        self.inventories.values().map(|inventory| inventory.highest_checkpoint).max().unwrap_or(0)
    }
}
