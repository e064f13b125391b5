//! What REST and the command line do with a JobManager. Everything blocks; nothing is to be called on a thread of an async runtime.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};

use streamkeeper_coordination::Cluster;
use streamkeeper_coordination::catalog::{Catalog, Change};
use streamkeeper_coordination::election::LeaderDocument;
use streamkeeper_coordination::jobs::{JobSpec, JobStore, Submitted};
use streamkeeper_dataflow::checkpoint::savepoint;
use streamkeeper_dataflow::job::check_restorable_from;
use streamkeeper_zookeeper::block_on;

use super::catalog::CatalogKeeper;
use super::operations::{Asked, Operation};
use super::rescale;
use super::shell::Event;
use super::view::{ClusterView, JobView};
use crate::error::{Error, Result};
use crate::job_id::JobId;
use crate::planner::{Planned, Planner};
use crate::time::now_ms;

/// A JobManager, for those in its process who use it. Any JobManager can submit and cancel: the leader sees it in ZooKeeper.
#[derive(Clone)]
pub struct JobManagerHandle {
    id: String,
    cluster: Cluster,
    planner: Arc<dyn Planner>,
    events: Sender<Event>,
    catalog: CatalogKeeper,
}

impl JobManagerHandle {
    pub(super) fn new(
        id: String,
        cluster: Cluster,
        planner: Arc<dyn Planner>,
        events: Sender<Event>,
        catalog: CatalogKeeper,
    ) -> Self {
        Self { id, cluster, planner, events, catalog }
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
        let store = JobStore::new(self.cluster.clone());
        let fail = |reason: String| Error::InvalidJob { job: spec.name.clone(), reason };
        let Planned { graph, settings, .. } = self.planner.plan(&spec).map_err(fail)?;
        if let Some(path) = &settings.recovery_path
            && let Err(error) = check_restorable_from(&graph, path, settings.allow_non_restored_state)
            // A job that is there already may have used up its savepoint.
            && block_on(store.get(&job.to_string())).is_err()
        {
            return Err(fail(error.to_string()));
        }
        if spec.submitted_ms == 0 {
            spec.submitted_ms = u64::try_from(now_ms()).unwrap_or(0);
        }
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

    /// Lets a job run at another parallelism. Returns when that is written down; the leader sees to it once there are slots.
    ///
    /// # Errors
    /// [`Error::InvalidJob`] when it cannot run so; [`Error::Coordination`] when there is no such job, or when it has ended.
    pub fn rescale(&self, job: JobId, parallelism: u32) -> Result<()> {
        let (store, id) = (JobStore::new(self.cluster.clone()), job.to_string());
        if let Some(spec) = block_on(store.get(&id))?.spec {
            let spec = JobSpec { parallelism, ..spec.value };
            self.planner.plan(&spec).map_err(|reason| Error::InvalidJob { job: spec.name, reason })?;
        }
        Ok(block_on(store.desire_of_running(&id, &rescale::desired(parallelism)))?)
    }

    /// The tables and views that are in force, and what is wrong with others.
    ///
    /// # Errors
    /// [`Error::CatalogUnknown`].
    pub fn catalog(&self) -> Result<Arc<Catalog>> {
        self.catalog.now()
    }

    /// Changes tables and views, all of them or none. Returns when that is written down.
    ///
    /// # Errors
    /// [`Error::InvalidObject`], and [`Error::Coordination`] when somebody else came first.
    pub fn change_catalog(&self, changes: &[Change]) -> Result<()> {
        self.catalog.apply(changes)
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

    /// Asks the leader, if it is this JobManager, for something that goes on in the background under this id; whether it has begun: it has
    /// not when the job does not run, when there is something of this id, or when too much goes on already.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub fn begin(&self, id: &str, asked: Asked) -> Result<bool> {
        self.ask(|reply| Event::Ask(id.to_owned(), asked, reply))
    }

    /// Removes a savepoint, and keeps under this id what has become of it.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub fn dispose(&self, id: &str, savepoint: &Path) -> Result<bool> {
        if !self.begin(id, Asked::Disposal)? {
            return Ok(false);
        }
        let outcome = savepoint::dispose(savepoint).map(|()| 0).map_err(|e| e.to_string());
        let epoch = self.leader()?.map_or(0, |leader| leader.epoch);
        let _ = self.events.send(Event::Answered(epoch, id.to_owned(), outcome));
        Ok(true)
    }

    /// What has become of something that was asked for; `None`: this JobManager was not.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub fn operation(&self, id: &str) -> Result<Option<Operation>> {
        self.ask(|reply| Event::Operation(id.to_owned(), reply))
    }

    fn ask<T>(&self, question: impl FnOnce(Sender<T>) -> Event) -> Result<T> {
        let stopped = || Error::Stopped("the JobManager");
        let (reply, answer) = mpsc::channel();
        self.events.send(question(reply)).map_err(|_| stopped())?;
        answer.recv().map_err(|_| stopped())
    }
}
