//! From what a JobManager knows to what can be seen of it.

use streamkeeper_coordination::election::LeaderDocument;
use streamkeeper_coordination::jobs::{Job, JobsView};
use streamkeeper_coordination::membership::TaskManagers;

use super::job::RunningJob;
use super::lock;
use super::term::Term;
use super::view::{
    ClusterView, JobView, SubtaskView, TaskManagerView, VertexView, named, of_documents, rates,
};
use crate::job_id::JobId;
use crate::time::now_ms;

/// What a JobManager knows.
pub(super) struct Seen<'a> {
    pub(super) leader: Option<&'a LeaderDocument>,
    pub(super) members: Option<&'a TaskManagers>,
    pub(super) jobs: Option<&'a JobsView>,
    pub(super) term: Option<&'a Term>,
}

impl Seen<'_> {
    /// All of it.
    pub(super) fn cluster(&self) -> ClusterView {
        let task_managers = self.members.iter().flat_map(|members| members.iter()).map(|(id, member)| {
            let slots = member.slots as usize;
            let used = self.term.map_or(0, |term| lock(&term.shared.roster).used(&id.to_owned()));
            TaskManagerView {
                id: id.to_owned(),
                exchange_address: member.data_address.clone(),
                slots,
                free_slots: slots.saturating_sub(used),
                started_ms: member.started_ms,
                connected: self.term.is_some_and(|term| term.is_registered(&id.to_owned())),
                process: self.term.and_then(|term| term.processes.get(id)).copied().unwrap_or_default(),
                last_heartbeat_ms: self.term.map_or(0, |term| term.heard(&id.to_owned())),
            }
        });
        let jobs = self.jobs.iter().flat_map(|jobs| jobs.jobs());
        ClusterView {
            leader: self.leader.cloned(),
            is_leader: self.term.is_some(),
            task_managers: task_managers.collect(),
            jobs: jobs.map(|(id, job)| self.with_tasks(of_documents(id, job))).collect(),
        }
    }

    /// One job.
    pub(super) fn job(&self, job: JobId) -> Option<JobView> {
        let id = job.to_string();
        match self.jobs.and_then(|jobs| jobs.job(&id)) {
            Some(known) => Some(self.with_tasks(of_documents(&id, known))),
            // It was submitted here, and ZooKeeper has not told yet.
            None => {
                self.term?.jobs.get(&job)?;
                Some(self.with_tasks(of_documents(&id, &Job::default())))
            }
        }
    }

    /// Adds what only the leader knows.
    fn with_tasks(&self, mut view: JobView) -> JobView {
        let (Some(term), Ok(id)) = (self.term, view.id.parse::<JobId>()) else { return view };
        let running = term.jobs.get(&id).filter(|_| !view.state.is_terminal());
        let Some(job) = running.or_else(|| term.archive.get(id)) else { return view };
        if running.is_some() {
            view.state = job.job_state();
        }
        if view.name.is_empty() {
            view.name.clone_from(&job.name);
        }
        let now = now_ms();
        view.max_parallelism = job.max_parallelism;
        if job.scale.now != 0 {
            view.parallelism = job.scale.now;
        }
        view.wanted_parallelism = if job.scale.wanted == 0 { view.parallelism } else { job.scale.wanted };
        view.settings.clone_from(&job.settings);
        view.history = job.checkpoints.clone();
        view.failures = job.failures.clone();
        view.vertices = job
            .vertices
            .iter()
            .enumerate()
            .map(|(v, shape)| VertexView {
                shape: shape.clone(),
                subtasks: (0..shape.parallelism).map(|s| subtask(job, v, s, now)).collect(),
            })
            .collect();
        view
    }
}

fn subtask(job: &RunningJob, vertex: usize, subtask: usize, now: i64) -> SubtaskView {
    match job.tasks.get(&(vertex, subtask)) {
        Some(known) => SubtaskView {
            state: known.state(),
            since: known.since.clone(),
            attempt: known.attempt,
            worker: known.worker.clone(),
            metrics: named(known.samples.values()),
            rates: rates(&known.samples.rates(now)),
        },
        None => SubtaskView {
            state: "CREATED",
            since: vec![("CREATED", job.created_ms)],
            attempt: 0,
            worker: String::new(),
            metrics: Vec::new(),
            rates: Vec::new(),
        },
    }
}
