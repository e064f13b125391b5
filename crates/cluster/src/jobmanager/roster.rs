//! Which TaskManagers a leader can count on, and which slots are taken: a pure state machine.
//!
//! Invariants: a TaskManager is lost once, when its connection has broken and it has not come back within [`RETURN_MS`], or sooner
//! when its process is known to be dead. What is reserved on it is reserved until then; no more slots are given out than there are.
//! A leader that cannot reach ZooKeeper loses nobody for silence: it may be the one that is cut off, and could not place tasks anyway.

use std::collections::{BTreeMap, BTreeSet};

use streamkeeper_dataflow::executor::order::{Worker, WorkerId};

use crate::job_id::JobId;
use crate::placement::{Candidate, place, rebalance};

/// How long a TaskManager whose connection broke may take to come back.
pub(crate) const RETURN_MS: u64 = 500;

/// How long it may take once the leader reaches ZooKeeper again: an attempt to connect that began while the network was cut fails
/// after three seconds, and another one follows.
pub(crate) const RETURN_AFTER_OUTAGE_MS: u64 = 4000;

/// A TaskManager that has registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// Its id and the end of its exchange.
    pub(crate) worker: Worker,
    /// How many slots it has.
    pub(crate) slots: usize,
    /// When it is lost if it does not come back; `None`: it is connected.
    pub(crate) lost_at: Option<u64>,
}

/// The state machine.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    members: BTreeMap<WorkerId, Member>,
    /// By job, who has its slots.
    reserved: BTreeMap<JobId, Vec<WorkerId>>,
    /// The leader cannot reach ZooKeeper.
    suspended: bool,
}

impl Roster {
    /// A TaskManager has registered; whether it had been there before.
    pub(crate) fn registered(&mut self, worker: Worker, slots: usize) -> bool {
        let id = worker.id.clone();
        self.members.insert(id, Member { worker, slots, lost_at: None }).is_some()
    }

    /// Its connection has broken.
    pub(crate) fn disconnected(&mut self, worker: &WorkerId, now: u64) {
        if let Some(member) = self.members.get_mut(worker) {
            member.lost_at.get_or_insert(now + RETURN_MS);
        }
    }

    /// Its process is known to be dead, if its connection is broken, too: whether it is lost by that.
    pub(crate) fn died(&mut self, worker: &WorkerId) -> bool {
        let broken = self.members.get(worker).is_some_and(|member| member.lost_at.is_some());
        broken && self.members.remove(worker).is_some()
    }

    /// Who has not come back in time.
    pub(crate) fn lost(&mut self, now: u64) -> Vec<WorkerId> {
        let late = |member: &Member| !self.suspended && member.lost_at.is_some_and(|at| now >= at);
        let lost: Vec<_> = self.members.values().filter(|m| late(m)).map(|m| m.worker.id.clone()).collect();
        for worker in &lost {
            self.members.remove(worker);
        }
        lost
    }

    /// When somebody will be late.
    pub(crate) fn next_tick(&self) -> Option<u64> {
        self.members.values().filter_map(|member| member.lost_at).min().filter(|_| !self.suspended)
    }

    /// The leader cannot reach ZooKeeper.
    pub(crate) fn suspend(&mut self) {
        self.suspended = true;
    }

    /// It can again: whoever is missing may take his time anew.
    pub(crate) fn resume(&mut self, now: u64) {
        self.suspended = false;
        for member in self.members.values_mut() {
            member.lost_at = member.lost_at.map(|_| now + RETURN_AFTER_OUTAGE_MS);
        }
    }

    /// One who has registered and is not lost.
    pub(crate) fn member(&self, worker: &WorkerId) -> Option<&Member> {
        self.members.get(worker)
    }

    /// How many slots of a TaskManager are taken.
    pub(crate) fn used(&self, worker: &WorkerId) -> usize {
        self.reserved.values().flatten().filter(|w| *w == worker).count()
    }

    /// Places the slots of a job, and reserves them; `None`: there are not enough, and nothing has changed.
    pub(crate) fn place(&mut self, job: JobId, current: &[Option<WorkerId>]) -> Option<Vec<Worker>> {
        let placed = place(current, &self.candidates(job))?;
        let workers = placed.iter().map(|id| self.members.get(id).map(|m| m.worker.clone())).collect();
        self.reserved.insert(job, placed);
        workers
    }

    /// Whether a job could have so many slots.
    pub(crate) fn has_room(&self, job: JobId, slots: usize) -> bool {
        self.candidates(job).iter().map(|candidate| candidate.slots - candidate.used).sum::<usize>() >= slots
    }

    /// Where the slots of a job would be better; `None`: they are well where they are.
    pub(crate) fn rebalance(&self, job: JobId) -> Option<Vec<Worker>> {
        let moved = rebalance(self.reserved.get(&job)?, &self.candidates(job))?;
        moved.iter().map(|id| self.members.get(id).map(|m| m.worker.clone())).collect()
    }

    /// Those that slots of a job can be placed on.
    fn candidates(&self, job: JobId) -> Vec<Candidate> {
        let mut used: BTreeMap<&WorkerId, usize> = BTreeMap::new();
        for worker in self.reserved.iter().filter(|(j, _)| **j != job).flat_map(|(_, workers)| workers) {
            *used.entry(worker).or_default() += 1;
        }
        let reachable = self.members.values().filter(|member| member.lost_at.is_none());
        reachable
            .map(|member| Candidate {
                worker: member.worker.id.clone(),
                slots: member.slots,
                used: used.get(&member.worker.id).copied().unwrap_or(0).min(member.slots),
            })
            .collect()
    }

    /// What a job has had before this leader.
    pub(crate) fn reserve(&mut self, job: JobId, slots: Vec<WorkerId>) {
        self.reserved.insert(job, slots);
    }

    /// A job has ended.
    pub(crate) fn release(&mut self, job: JobId) {
        self.reserved.remove(&job);
    }

    /// The jobs that have slots on a TaskManager.
    pub(crate) fn jobs_on(&self, worker: &WorkerId) -> BTreeSet<JobId> {
        self.reserved.iter().filter(|(_, workers)| workers.contains(worker)).map(|(job, _)| *job).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(id: &str) -> Worker {
        Worker { id: id.into(), exchange_address: String::new() }
    }

    fn job(n: u8) -> JobId {
        JobId([n; 16])
    }

    fn ids(placed: Option<Vec<Worker>>) -> Option<Vec<String>> {
        placed.map(|workers| workers.into_iter().map(|worker| worker.id).collect())
    }

    #[test]
    fn who_comes_back_in_time_was_not_lost() {
        let mut roster = Roster::default();
        assert!(!roster.registered(worker("a"), 2));
        roster.disconnected(&"a".into(), 100);
        assert_eq!((roster.next_tick(), roster.lost(599)), (Some(600), vec![]));
        assert!(roster.registered(worker("a"), 2), "it had been there");
        assert_eq!((roster.next_tick(), roster.lost(10_000)), (None, vec![]));
        roster.disconnected(&"a".into(), 700);
        roster.disconnected(&"a".into(), 900);
        assert_eq!((roster.lost(1200), roster.lost(1300)), (vec!["a".into()], vec![]), "once");
    }

    #[test]
    fn a_leader_that_is_cut_off_loses_nobody_but_the_dead() {
        let mut roster = Roster::default();
        for id in ["a", "b", "c"] {
            roster.registered(worker(id), 1);
            roster.disconnected(&id.into(), 100);
        }
        roster.suspend();
        assert_eq!((roster.next_tick(), roster.lost(10_000)), (None, vec![]));
        assert!(roster.died(&"c".into()), "its host says so");
        roster.resume(20_000);
        assert!(roster.registered(worker("a"), 1), "it had been there");
        assert_eq!((roster.next_tick(), roster.lost(23_999)), (Some(24_000), vec![]));
        assert_eq!(roster.lost(24_000), vec!["b".to_owned()]);
    }

    #[test]
    fn a_dead_process_is_lost_at_once_but_not_while_it_is_connected() {
        let mut roster = Roster::default();
        roster.registered(worker("a"), 2);
        assert!(!roster.died(&"a".into()));
        roster.disconnected(&"a".into(), 100);
        assert!(roster.died(&"a".into()) && !roster.died(&"a".into()));
    }

    #[test]
    fn jobs_share_slots_and_wait_for_those_that_are_missing() {
        let mut roster = Roster::default();
        roster.registered(worker("a"), 2);
        roster.registered(worker("b"), 1);
        let placed = ids(roster.place(job(1), &[None, None]));
        assert_eq!(placed, Some(vec!["a".into(), "b".into()]));
        assert_eq!((roster.used(&"a".into()), roster.used(&"b".into())), (1, 1));
        assert_eq!(ids(roster.place(job(2), &[None, None])), None);
        assert_eq!(ids(roster.place(job(2), &[None])), Some(vec!["a".into()]));
        roster.disconnected(&"a".into(), 0);
        assert_eq!(ids(roster.place(job(1), &[None, Some("b".into())])), None, "a is not counted on");
        assert_eq!(roster.jobs_on(&"a".into()), BTreeSet::from([job(1), job(2)]));
        roster.release(job(1));
        assert_eq!(ids(roster.place(job(3), &[None])), Some(vec!["b".into()]));
    }
}
