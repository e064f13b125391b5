//! What REST and the command line do with a JobManager. Everything blocks; nothing is to be called on a thread of an async runtime.

use std::sync::Arc;
use std::sync::mpsc::{self, Sender};

use streamkeeper_coordination::Cluster;
use streamkeeper_coordination::election::LeaderDocument;
use streamkeeper_coordination::jobs::{JobSpec, JobStore, Submitted};
use streamkeeper_zookeeper::block_on;

use super::shell::Event;
use super::view::{ClusterView, JobView};
use crate::error::{Error, Result};
use crate::job_id::JobId;
use crate::planner::Planner;
use crate::time::now_ms;

/// A JobManager, for those in its process who use it. Any JobManager can submit and cancel: the leader sees it in ZooKeeper.
#[derive(Clone)]
pub struct JobManagerHandle {
    id: String,
    cluster: Cluster,
    planner: Arc<dyn Planner>,
    events: Sender<Event>,
}

impl JobManagerHandle {
    pub(super) fn new(
        id: String,
        cluster: Cluster,
        planner: Arc<dyn Planner>,
        events: Sender<Event>,
    ) -> Self {
        Self { id, cluster, planner, events }
    }

    /// The JobManager's id, with its incarnation.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The cluster, for what else is kept there.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Submits a job: plans it, so that what cannot run is refused here, and writes it down. Doing it again with the same id does no
    /// harm, and says so.
    ///
    /// # Errors
    /// [`Error::InvalidJob`] when it cannot be planned; [`Error::Coordination`] when another job has the id, or when it has ended.
    pub fn submit(&self, job: JobId, spec: JobSpec) -> Result<Submitted> {
        let mut spec = self.planner.resolve(spec);
        if let Err(reason) = self.planner.plan(&spec) {
            return Err(Error::InvalidJob { job: spec.name, reason });
        }
        if spec.submitted_ms == 0 {
            spec.submitted_ms = u64::try_from(now_ms()).unwrap_or(0);
        }
        let store = JobStore::new(self.cluster.clone());
        let submitted = block_on(store.submit(&job.to_string(), &spec))?;
        // The leader, if it is this one, need not wait for ZooKeeper to tell it.
        let _ = self.events.send(Event::Submitted(job, spec.name));
        Ok(submitted)
    }

    /// Lets a job end. Returns when that is written down.
    ///
    /// # Errors
    /// [`Error::Coordination`] when there is no such job, or when it has ended.
    pub fn cancel(&self, job: JobId) -> Result<()> {
        Ok(block_on(JobStore::new(self.cluster.clone()).cancel(&job.to_string()))?)
    }

    /// What can be seen of the cluster.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub fn view(&self) -> Result<ClusterView> {
        self.ask(Event::View)
    }

    /// What can be seen of a job; `None`: there is none of this id.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub fn job(&self, job: JobId) -> Result<Option<JobView>> {
        self.ask(|reply| Event::Job(job, reply))
    }

    /// Whether this JobManager leads, and who leads, or led last.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub fn leadership(&self) -> Result<(bool, Option<LeaderDocument>)> {
        self.ask(Event::Leadership)
    }

    /// Who leads, or led last.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub fn leader(&self) -> Result<Option<LeaderDocument>> {
        Ok(self.leadership()?.1)
    }

    fn ask<T>(&self, question: impl FnOnce(Sender<T>) -> Event) -> Result<T> {
        let stopped = || Error::Stopped("the JobManager");
        let (reply, answer) = mpsc::channel();
        self.events.send(question(reply)).map_err(|_| stopped())?;
        answer.recv().map_err(|_| stopped())
    }
}
