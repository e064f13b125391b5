//! The TaskManagers of a leadership: they register, break off, come back, and are lost.
//!
//! Invariant: what a TaskManager says that it has is adopted, or told to stop. One that comes back after its connection broke may have
//! missed orders: its jobs are taken over anew, by the same way in which a new leader does.

use std::collections::BTreeMap;

use streamkeeper_coordination::jobs::JobsView;
use streamkeeper_coordination::membership::TaskManagers;
use streamkeeper_dataflow::executor::order::WorkerId;

use super::job::{Kept, Phase};
use super::lock;
use super::shell::Event;
use super::start::Shared;
use super::term::Term;
use crate::rpc::connection::Connection;
use crate::rpc::message::{Command, Registration};
use crate::rpc::server::refuses;
use crate::time::monotonic_ms;

impl Term {
    /// A TaskManager has connected; what it has is still to come.
    pub(super) fn connected(&mut self, worker: WorkerId, number: u64, connection: Connection) {
        self.shared.links.insert(worker, number, connection);
    }

    /// A TaskManager says who it is, and which jobs it has; the inventories follow.
    pub(super) fn register(&mut self, registration: Registration, jobs: Option<&JobsView>) {
        let Registration { worker, slots, jobs: has } = registration;
        let id = worker.id.clone();
        tracing::info!("TaskManager {id} has registered with {slots} slots, {} jobs run there", has.len());
        let (returned, counted_on) = {
            let mut roster = lock(&self.shared.roster);
            (roster.registered(worker, slots), roster.jobs_on(&id))
        };
        self.dead.remove(&id);
        if returned {
            // Orders may have been lost, also of jobs of which nothing runs there.
            for job in &counted_on {
                self.take_over_anew(*job, Some(&id));
            }
        }
        self.shared.links.ready(&id);
        let mut pending = BTreeMap::new();
        for job in &has {
            let live = jobs.is_none_or(|jobs| jobs.job(&job.to_string()).is_some_and(|job| job.is_live()));
            let adopts = match self.jobs.get(job).map(|job| &job.phase) {
                None => live && !self.ended.contains(job),
                Some(Phase::Reading | Phase::Gathering(..)) => true,
                Some(Phase::Starting | Phase::Running(_) | Phase::Ending) => false,
            };
            if adopts {
                pending.insert(*job, 0);
            } else {
                self.shared.links.send(&id, Command::Close(*job));
            }
        }
        self.workers.insert(id.clone(), pending);
        // Also of one that has come back: while it was away nothing was placed there.
        self.resources_changed();
        if !returned {
            self.rebalance_at = Some(monotonic_ms() + self.shared.stabilization_ms);
        }
    }

    /// A TaskManager's connection has broken: whether it is dead is found out.
    pub(super) fn disconnected(&mut self, worker: &WorkerId, members: Option<&TaskManagers>) {
        self.shared.links.remove(worker);
        let address = {
            let mut roster = lock(&self.shared.roster);
            roster.disconnected(worker, monotonic_ms());
            roster.member(worker).map(|member| member.worker.exchange_address.clone())
        };
        if members.is_some_and(|members| members.get(worker).is_none()) {
            self.died(worker);
        } else if let Some(address) = address {
            probe(&self.shared, worker, &address);
        }
    }

    /// A TaskManager's port refuses connections, or its znode is gone.
    pub(super) fn died(&mut self, worker: &WorkerId) {
        self.dead.insert(worker.clone());
        if lock(&self.shared.roster).died(worker) {
            self.lost(worker);
        }
    }

    /// Takes the TaskManagers as ZooKeeper shows them: who has left there, and has no connection, is dead.
    pub(super) fn see_members(&mut self, members: &TaskManagers) {
        let gone: Vec<_> =
            self.workers.keys().filter(|worker| members.get(worker).is_none()).cloned().collect();
        for worker in gone {
            if lock(&self.shared.roster).died(&worker) {
                self.lost(&worker);
            }
        }
    }

    /// ZooKeeper cannot be reached.
    pub(super) fn suspend(&self) {
        lock(&self.shared.roster).suspend();
    }

    /// It can again.
    pub(super) fn resume(&self) {
        lock(&self.shared.roster).resume(monotonic_ms());
    }

    /// Loses TaskManagers that have not come back in time.
    pub(super) fn tick(&mut self) {
        let lost = lock(&self.shared.roster).lost(monotonic_ms());
        for worker in lost {
            self.lost(&worker);
        }
        if self.rebalance_at.is_some_and(|at| at <= monotonic_ms()) {
            self.rebalance_at = None;
            let roster = lock(&self.shared.roster);
            for (id, job) in &mut self.jobs {
                job.moving = roster.rebalance(*id).is_some();
            }
        }
    }

    fn lost(&mut self, worker: &WorkerId) {
        tracing::warn!("TaskManager {worker} is lost");
        self.workers.remove(worker);
        self.heard.remove(worker);
        self.processes.remove(worker);
        self.rebalance_at = self.rebalance_at.map(|_| monotonic_ms() + self.shared.stabilization_ms);
        for job in self.jobs.values_mut() {
            job.inventories.remove(worker);
            job.observe_loss(worker);
            job.tell(Kept::Lost(worker.clone()));
        }
    }
}

/// Finds out, on a thread of its own, whether a TaskManager's process is dead.
pub(super) fn probe(shared: &Shared, worker: &str, address: &str) {
    if address.is_empty() {
        return;
    }
    let (events, epoch) = (shared.events.clone(), shared.leadership.epoch());
    let (worker, address) = (worker.to_owned(), address.to_owned());
    let probe = move || {
        if refuses(&address) {
            let _ = events.send(Event::Dead(epoch, worker));
        }
    };
    if let Err(error) = std::thread::Builder::new().name("probe".into()).spawn(probe) {
        tracing::warn!("whether a TaskManager is dead is not found out: {error}");
    }
}
