//! One leadership: the TaskManagers that have registered in it, and the jobs.
//!
//! Invariants: a job is adopted only when each TaskManager that may have tasks of it has said so, or is dead, or has had its time.
//!

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use streamkeeper_coordination::jobs::{DesiredState, JobState, JobsView};
use streamkeeper_dataflow::executor::order::WorkerId;
use streamkeeper_dataflow::job::trigger::Reply;
use streamkeeper_dataflow::job::{JobHandle, JobStatus};

use super::archive::Archive;
use super::job::{GATHER_MS, Kept, Phase, ReadJob, RunningJob, Told};
use super::lock;
use super::members::probe;
use super::operations::{Asked, Operations};
use super::rescale::Step;
use super::shell::Event;
use super::start::{Clerk, End, Shared, Start, StartedJob, read, start};
use crate::error::Result;
use crate::job_id::JobId;
use crate::process::ProcessStatus;
use crate::rpc::message::{Command, FromTaskManager};
use crate::time::{monotonic_ms, now_ms};

pub(super) struct Term {
    pub(super) shared: Shared,
    pub(super) jobs: BTreeMap<JobId, RunningJob>,
    pub(super) epoch: u64,
    clerk: Clerk,
    /// Of those who have registered: the jobs whose inventories are still to come, in answer to which request.
    pub(super) workers: BTreeMap<WorkerId, BTreeMap<JobId, u64>>,
    /// Had slots before this leadership: whether they are dead is found out.
    probed: BTreeSet<WorkerId>,
    /// Their ports refuse.
    pub(super) dead: BTreeSet<WorkerId>,
    /// Jobs that have ended in this term, while ZooKeeper may still show them.
    pub(super) ended: BTreeSet<JobId>,
    /// When something came from whom last, in milliseconds since 1970.
    pub(super) heard: BTreeMap<WorkerId, i64>,
    /// What each process takes of its machine.
    pub(super) processes: BTreeMap<WorkerId, ProcessStatus>,
    /// What is known of jobs that have ended.
    pub(super) archive: Archive,
    /// What users have asked for in the background.
    pub(super) operations: Operations,
    runs: u64,
    /// When slots are spread anew, unless TaskManagers come or go before.
    pub(super) rebalance_at: Option<u64>,
}

impl Term {
    pub(super) fn begin(shared: Shared) -> Result<Self> {
        let epoch = shared.leadership.epoch();
        Ok(Self {
            epoch,
            clerk: shared.machine.clerk()?,
            shared,
            workers: BTreeMap::new(),
            probed: BTreeSet::new(),
            dead: BTreeSet::new(),
            ended: BTreeSet::new(),
            heard: BTreeMap::new(),
            processes: BTreeMap::new(),
            archive: Archive::default(),
            operations: Operations::default(),
            jobs: BTreeMap::new(),
            runs: 0,
            rebalance_at: None,
        })
    }

    /// Leaves everything as it is: somebody else leads.
    pub(super) fn abandon(mut self) {
        for job in self.jobs.values_mut() {
            drop(job.abandon());
        }
        self.shared.links.close();
    }

    /// Whether a TaskManager has registered and is not lost.
    pub(super) fn is_registered(&self, worker: &WorkerId) -> bool {
        self.workers.contains_key(worker)
    }

    /// When something came from a TaskManager last, in milliseconds since 1970; 0 for never.
    pub(super) fn heard(&self, worker: &WorkerId) -> i64 {
        self.heard.get(worker).copied().unwrap_or(0)
    }

    /// A user asks for something; whether it has begun.
    pub(super) fn ask(&mut self, id: &str, asked: Asked) -> bool {
        let Asked::Trigger(job, trigger) = asked.clone() else { return self.operations.begin(id, asked) };
        let Some(Phase::Running(master)) = self.jobs.get(&job).map(|job| &job.phase) else { return false };
        if !self.operations.begin(id, asked) {
            return false;
        }
        let (events, epoch, id) = (self.shared.events.clone(), self.epoch, id.to_owned());
        // Nobody listens once the JobManager has stopped.
        let reply = Reply::new(move |outcome| drop(events.send(Event::Answered(epoch, id, outcome))));
        master.trigger(trigger, reply);
        true
    }

    /// TaskManagers have been told something of a job.
    pub(super) fn on_told(&mut self, id: JobId, told: Told) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.observe_told(told);
        }
    }

    /// Takes the jobs as ZooKeeper shows them.
    pub(super) fn see(&mut self, jobs: &JobsView) {
        self.ended.retain(|job| jobs.job(&job.to_string()).is_some());
        for (id, job) in jobs.live() {
            let Ok(id) = id.parse::<JobId>() else {
                tracing::warn!("job `{id}` is ignored: its id is not 32 hexadecimal digits");
                continue;
            };
            self.submitted(id, String::new());
            if let Some(desired) = job.desired.as_ref().map(|desired| &desired.value) {
                self.want(id, desired);
                if desired.state == DesiredState::Canceled {
                    self.cancel(id);
                }
            }
            let pointer = job.checkpoint.as_ref().map(|checkpoint| checkpoint.version);
            if self.jobs.get_mut(&id).is_some_and(|job| job.is_to_move(pointer)) {
                self.take_over_anew(id, None);
            }
        }
    }

    /// There is a job; it may be known already.
    pub(super) fn submitted(&mut self, job: JobId, name: String) {
        if !self.jobs.contains_key(&job) && !self.ended.contains(&job) {
            self.runs += 1;
            self.jobs.insert(job, RunningJob { name, ..RunningJob::new(self.runs) });
            self.read(job, self.runs, None);
        }
    }

    fn read(&self, job: JobId, run: u64, after: Option<JobHandle>) {
        let shared = self.shared.clone();
        self.clerk.give(move || {
            if let Some(master) = after {
                // What it was writing is written then, or not.
                let _ = master.wait();
            }
            if let Some(found) = read(&shared, job).or_else(|| gone(&shared)) {
                let _ = shared.events.send(Event::Read(shared.leadership.epoch(), job, run, Box::new(found)));
            }
        });
    }

    fn cancel(&mut self, id: JobId) {
        if let Some(job) = self.jobs.get_mut(&id)
            && !job.cancelled
        {
            job.cancelled = true;
            if let Phase::Running(master) = &job.phase {
                master.cancel();
            }
        }
    }

    /// A job's documents are here.
    pub(super) fn on_read(&mut self, id: JobId, run: u64, found: std::result::Result<ReadJob, String>) {
        let Some(job) = self.jobs.get_mut(&id).filter(|job| job.run == run) else { return };
        let read = match found {
            Ok(read) => read,
            Err(reason) if reason.is_empty() => {
                self.forget(id);
                return;
            }
            Err(reason) => return self.end(id, JobState::Failed, Some(reason)),
        };
        job.name.clone_from(&read.spec.name);
        *lock(&job.status) = read.job.status.as_ref().map(|status| status.value.clone()).unwrap_or_default();
        let desired = read.job.desired.as_ref().map(|desired| desired.value.state);
        if desired == Some(DesiredState::Canceled) {
            return self.end(id, JobState::Canceled, None);
        }
        if let Some(details) = &read.details {
            lock(&self.shared.roster).reserve(id, details.slots.clone());
            // One that is not in ZooKeeper may have lost its session, and nothing else.
            for worker in details.workers() {
                if !self.workers.contains_key(&worker.id) && self.probed.insert(worker.id.clone()) {
                    probe(&self.shared, &worker.id, &worker.exchange_address);
                }
            }
        }
        job.phase = Phase::Gathering(Box::new(read), monotonic_ms() + GATHER_MS);
    }

    /// Starts the masters of jobs that need not wait any more.
    pub(super) fn start_gathered(&mut self) {
        let now = monotonic_ms();
        let mut ready = Vec::new();
        for (id, job) in &self.jobs {
            let Phase::Gathering(_, deadline) = &job.phase else { continue };
            let settled = |worker: &WorkerId| match self.workers.get(worker) {
                Some(pending) => !pending.contains_key(id),
                None => self.dead.contains(worker),
            };
            if now >= *deadline || job.wants().iter().all(settled) {
                ready.push(*id);
            }
        }
        for id in ready {
            let Some(job) = self.jobs.get_mut(&id) else { continue };
            let Phase::Gathering(mut read, _) = std::mem::replace(&mut job.phase, Phase::Starting) else {
                continue;
            };
            if let Some(details) = &mut read.details
                && std::mem::take(&mut job.moving)
                && let Some(better) = lock(&self.shared.roster).rebalance(id)
            {
                tracing::info!("job {id} ({}) is spread over its TaskManagers anew", job.name);
                details.move_to(&better);
            }
            let details = Start {
                job: id,
                run: job.run,
                read,
                inventories: std::mem::take(&mut job.inventories),
                gate: job.gate.clone(),
                parallelism: match job.scale.step {
                    Step::Planned(wanted) => Some(wanted),
                    _ => None,
                },
                status: job.status.clone(),
            };
            let (shared, run) = (self.shared.clone(), job.run);
            self.clerk.give(move || {
                let started = Box::new(start(&shared, details));
                let _ = shared.events.send(Event::Started(shared.leadership.epoch(), id, run, started));
            });
        }
    }

    /// A job's master has started, or cannot be.
    pub(super) fn on_started(
        &mut self,
        id: JobId,
        run: u64,
        started: std::result::Result<StartedJob, String>,
    ) {
        let job = self.jobs.get_mut(&id).filter(|job| job.run == run);
        match (job, started) {
            (Some(job), Ok(mut started)) => {
                let Some(master) = started.take_master() else { return };
                job.name = std::mem::take(&mut started.name);
                job.vertices = std::mem::take(&mut started.vertices);
                job.max_parallelism = started.max_parallelism;
                job.settings = Some(started.settings.clone());
                if job.scale.now != started.parallelism {
                    job.tasks.clear();
                }
                job.scale.started(started.parallelism);
                if job.cancelled || job.broken.is_some() {
                    master.cancel();
                }
                job.started(master);
                self.on_status(id, run);
            }
            (Some(_), Err(reason)) => self.end(id, JobState::Failed, Some(reason)),
            // Of a master that nobody wants any more.
            (None, _) => {}
        }
    }

    /// A master says where its job stands; `status` is what it says, or said before it was here.
    pub(super) fn on_master(&mut self, id: JobId, run: u64, status: JobStatus) {
        if let Some(job) = self.jobs.get_mut(&id).filter(|job| job.run == run) {
            job.state = status;
            self.on_status(id, run);
        }
    }

    fn on_status(&mut self, id: JobId, run: u64) {
        let Some(job) = self.jobs.get_mut(&id).filter(|job| job.run == run) else { return };
        if !matches!(job.state, JobStatus::Finished | JobStatus::Canceled | JobStatus::Failed) {
            return;
        }
        let Phase::Running(master) = std::mem::replace(&mut job.phase, Phase::Ending) else {
            // It is looked at again once the master is here.
            job.phase = Phase::Starting;
            return;
        };
        let (shared, status, broken) = (self.shared.clone(), job.status.clone(), job.broken.take());
        self.clerk.give(move || {
            if let Some(end) = End::of(id, master, broken) {
                end.write(&shared, &status);
                let _ = shared.events.send(Event::Ended(shared.leadership.epoch(), id));
            }
        });
    }

    /// A job's master cannot go on.
    pub(super) fn on_broken(&mut self, id: JobId, reason: String) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.broken = Some(reason);
            if let Phase::Running(master) = &job.phase {
                master.cancel();
            }
        }
    }

    /// Ends a job that has no master. Its tasks, if there are any, stop.
    fn end(&mut self, id: JobId, state: JobState, error: Option<String>) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.phase = Phase::Ending;
        job.state = if state == JobState::Canceled { JobStatus::Canceled } else { JobStatus::Failed };
        self.close_everywhere(id);
        let (shared, status) = (self.shared.clone(), self.status_of(id));
        self.clerk.give(move || {
            End { job: id, state, error }.write(&shared, &status);
            let _ = shared.events.send(Event::Ended(shared.leadership.epoch(), id));
        });
    }

    fn status_of(&self, id: JobId) -> Arc<Mutex<streamkeeper_coordination::jobs::JobStatus>> {
        self.jobs.get(&id).map(|job| job.status.clone()).unwrap_or_default()
    }

    /// A job's result is written.
    pub(super) fn on_ended(&mut self, id: JobId) {
        self.close_everywhere(id);
        self.ended.insert(id);
        if let Some(mut job) = self.jobs.remove(&id) {
            job.observe_end();
            self.archive.keep(id, job);
        }
        self.forget(id);
    }

    fn forget(&mut self, id: JobId) {
        self.jobs.remove(&id);
        lock(&self.shared.roster).release(id);
        self.resources_changed();
    }

    fn close_everywhere(&self, id: JobId) {
        for worker in self.workers.keys() {
            self.shared.links.send(worker, Command::Close(id));
        }
    }

    pub(super) fn resources_changed(&self) {
        for job in self.jobs.values() {
            if let Phase::Running(master) = &job.phase {
                master.resources_changed();
            }
        }
    }

    /// Something comes from a TaskManager.
    pub(super) fn on_message(
        &mut self,
        worker: &WorkerId,
        message: FromTaskManager,
        jobs: Option<&JobsView>,
    ) {
        self.heard.insert(worker.clone(), now_ms());
        match message {
            FromTaskManager::Heartbeat => {}
            FromTaskManager::Process(status) => {
                self.processes.insert(worker.clone(), status);
            }
            FromTaskManager::Register(registration) => self.register(registration, jobs),
            FromTaskManager::Inventory(id, request, inventory) => {
                // One that was not waited for is of tasks that have been told to stop, or older than what was sent since.
                let Some(pending) = self.workers.get_mut(worker) else { return };
                if pending.get(&id) != Some(&request) {
                    return;
                }
                pending.remove(&id);
                let Some(job) = self.jobs.get_mut(&id) else { return };
                match (&job.phase, inventory) {
                    (Phase::Reading | Phase::Gathering(..), Some(inventory)) => {
                        job.take_inventory(worker, inventory);
                    }
                    // Its time was over, and its tasks are nobody's.
                    (Phase::Starting | Phase::Running(_), Some(_)) => self.take_over_anew(id, None),
                    (_, None) | (Phase::Ending, _) => {}
                }
            }
            FromTaskManager::Report(id, report) => {
                let Some(job) = self.jobs.get_mut(&id) else { return };
                job.observe_report(worker, &report);
                if !job.tell(Kept::Report(worker.clone(), report)) {
                    self.take_over_anew(id, None);
                }
            }
            FromTaskManager::Tasks(progress) => {
                for (id, tasks) in progress {
                    if let Some(job) = self.jobs.get_mut(&id) {
                        tasks.into_iter().for_each(|progress| job.observe_progress(worker, progress));
                    }
                }
            }
        }
    }

    /// Replaces the master of a job by one that asks all TaskManagers what they have, but `told`, who says so unasked.
    pub(super) fn take_over_anew(&mut self, id: JobId, told: Option<&WorkerId>) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if !matches!(job.phase, Phase::Starting | Phase::Running(_)) {
            return;
        }
        tracing::info!("job {id} ({}) is taken over anew", job.name);
        let old = job.abandon();
        self.runs += 1;
        job.run = self.runs;
        job.gate = Arc::default();
        job.inventories.clear();
        job.kept.clear();
        let run = job.run;
        for (worker, pending) in self.workers.iter_mut().filter(|(worker, _)| Some(*worker) != told) {
            pending.insert(id, run);
            self.shared.links.send(worker, Command::TakeInventory(id, run));
        }
        self.read(id, run, old);
    }

    /// When something is due.
    pub(super) fn next_tick(&self) -> Option<u64> {
        let deadlines = self.jobs.values().filter_map(|job| match &job.phase {
            Phase::Gathering(_, deadline) => Some(*deadline),
            _ => None,
        });
        deadlines
            .chain(lock(&self.shared.roster).next_tick())
            .chain(self.rebalance_at)
            .chain(self.next_rescale())
            .min()
    }
}

/// The job is not there any more, unless somebody else leads.
fn gone(shared: &Shared) -> Option<std::result::Result<ReadJob, String>> {
    (!shared.leadership.is_revoked()).then(|| Err(String::new()))
}
