//! What a leader does for a job that takes its time: reading, planning, starting a master, writing a result. All of it happens on one
//! thread beside the leader's, the *clerk*, in order; ZooKeeper may be away meanwhile.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};

use streamkeeper_coordination::jobs::{JobResult, JobSpec, JobState, JobStatus as StatusDocument};
use streamkeeper_dataflow::checkpoint::location::{Found, find};
use streamkeeper_dataflow::checkpoint::savepoint;
use streamkeeper_dataflow::checkpoint::storage::CheckpointStorage;
use streamkeeper_dataflow::config::JobSettings;
use streamkeeper_dataflow::element::CheckpointId;
use streamkeeper_dataflow::executor::metrics_of;
use streamkeeper_dataflow::executor::order::{Inventory, WorkerId};
use streamkeeper_dataflow::graph::VertexId;
use streamkeeper_dataflow::job::workers::Adoption;
use streamkeeper_dataflow::job::{Begin, JobHandle, JobStatus, MasterSetup, job_config};

use super::documents::Details;
use super::gate::Gate;
use super::job::ReadJob;
use super::links::Links;
use super::lock;
use super::machine::Machine;
use super::office::Office;
use super::persist::Failure;
use super::roster::Roster;
use super::shell::Event;
use super::view::{VertexShape, shapes};
use super::workers::{JobWorkers, PointerInZooKeeper};
use crate::error::{Error, Result};
use crate::job_id::JobId;
use crate::planner::{CheckpointPlace, Planned, Planner};
use crate::rpc::message::{Command, OpenJob};
use crate::time::now_ms;

/// What the clerk does.
pub(super) type Chore = Box<dyn FnOnce() + Send>;

/// The thread beside the leader's; it ends when this is dropped and its chores are done.
pub(super) struct Clerk(Sender<Chore>);

impl Clerk {
    pub(super) fn start() -> Result<Self> {
        let (chores, inbox) = mpsc::channel::<Chore>();
        let run = move || inbox.iter().for_each(|chore| chore());
        std::thread::Builder::new().name("jobmanager-clerk".into()).spawn(run).map_err(Error::Thread)?;
        Ok(Self(chores))
    }

    /// One whose chores somebody else does.
    #[cfg(test)]
    pub(super) fn queue() -> (Self, mpsc::Receiver<Chore>) {
        let (chores, inbox) = mpsc::channel();
        (Self(chores), inbox)
    }

    pub(super) fn give(&self, chore: impl FnOnce() + Send + 'static) {
        // It is there as long as this.
        let _ = self.0.send(Box::new(chore));
    }
}

/// What all jobs of a leader share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) leadership: Arc<dyn Office>,
    pub(super) machine: Arc<dyn Machine>,
    pub(super) links: Arc<Links>,
    pub(super) roster: Arc<Mutex<Roster>>,
    pub(super) planner: Arc<dyn Planner>,
    pub(super) checkpoint_directory: PathBuf,
    /// How long TaskManagers must have been the same before slots move to new ones.
    pub(super) stabilization_ms: u64,
    pub(super) events: Sender<Event>,
}

/// A job's documents as they are now; `None`: it is none of this leader's any more.
pub(super) fn read(shared: &Shared, job: JobId) -> Option<std::result::Result<ReadJob, String>> {
    let found = match shared.leadership.read(&job.to_string()) {
        Ok(found) => found,
        Err(Failure::Deposed) => return None,
        Err(Failure::Refused(error)) => return Some(Err(error.to_string())),
    };
    if found.result.is_some() {
        return None;
    }
    let Some(spec) = found.spec.as_ref().map(|spec| spec.value.clone()) else {
        return Some(Err("its spec is missing or damaged".into()));
    };
    let assignment = found.assignment.as_ref().map(|assignment| assignment.value.clone()).unwrap_or_default();
    Some(Details::of(&assignment).map(|details| ReadJob { spec, job: found, details }))
}

/// A job that has a master, which is abandoned when nobody takes it.
pub(super) struct StartedJob {
    master: Option<JobHandle>,
    pub(super) name: String,
    pub(super) vertices: Vec<Arc<VertexShape>>,
    pub(super) max_parallelism: u16,
    /// At which it runs.
    pub(super) parallelism: u32,
    pub(super) settings: JobSettings,
}

impl StartedJob {
    pub(super) fn take_master(&mut self) -> Option<JobHandle> {
        self.master.take()
    }
}

impl Drop for StartedJob {
    fn drop(&mut self) {
        if let Some(master) = &self.master {
            master.abandon();
        }
    }
}

/// What a master is started with.
pub(super) struct Start {
    pub(super) job: JobId,
    pub(super) run: u64,
    pub(super) read: Box<ReadJob>,
    pub(super) inventories: BTreeMap<WorkerId, Inventory>,
    pub(super) gate: Arc<Gate>,
    pub(super) status: Arc<Mutex<StatusDocument>>,
    /// The parallelism that it goes to.
    pub(super) parallelism: Option<u32>,
}

/// Plans a job and starts its master.
///
/// # Errors
/// Why the job cannot be run.
pub(super) fn start(shared: &Shared, start: Start) -> std::result::Result<StartedJob, String> {
    let Start { job, run, read, mut inventories, gate, status, parallelism } = start;
    let mut spec = read.spec;
    let mut scaled = read.details.as_ref().map_or(0, |details| details.parallelism);
    if scaled > 0 {
        spec.parallelism = scaled;
    }
    if let Some(wanted) = parallelism {
        let other = JobSpec { parallelism: wanted, ..spec.clone() };
        match shared.planner.plan(&other) {
            Ok(_) => (spec, scaled) = (other, wanted),
            Err(reason) => tracing::error!("job {job} does not run at parallelism {wanted}: {reason}"),
        }
    }
    let Planned { name, graph, settings, config } = shared.planner.plan(&spec)?;
    let graph = Arc::new(graph);
    let of_another_plan = forget_other_plans(shared, job, graph.fingerprint(), &mut inventories);
    let pointer = read.job.checkpoint.map(|pointer| pointer.value).unwrap_or_default();
    let (place, restored) = match &read.details {
        Some(known) => {
            let place =
                CheckpointPlace { directory: known.directory.clone(), lineage: known.lineage.clone() };
            (place, known.restored)
        }
        None => first_place(shared, job, &settings)?,
    };
    let begin = match read.details {
        Some(known) => Begin::Adopt {
            checkpoint: pointer.latest().or(restored),
            adoption: Adoption {
                slots: known.workers(),
                attempts: match of_another_plan || parallelism.is_some() {
                    true => later_than(&known.attempts, graph.vertices.len()),
                    false => known.attempts,
                },
                inventories,
            },
        },
        None => restored.map_or(Begin::Fresh, Begin::Restore),
    };
    let storage = shared.machine.storage(&place).map_err(|e| e.to_string())?;
    let open = OpenJob {
        job,
        spec: serde_json::to_string(&spec).map_err(|e| e.to_string())?,
        checkpoint_directory: place.directory.clone(),
        lineage: place.lineage.clone(),
        fingerprint: graph.fingerprint(),
    };
    let workers = JobWorkers {
        job,
        leadership: shared.leadership.clone(),
        links: shared.links.clone(),
        roster: shared.roster.clone(),
        gate: gate.clone(),
        graph: graph.clone(),
        open,
        place: place.clone(),
        restored,
        parallelism: scaled,
        status,
        events: shared.events.clone(),
    };
    let pointer =
        PointerInZooKeeper { job, leadership: shared.leadership.clone(), gate, place: place.clone() };
    let (events, epoch) = (shared.events.clone(), shared.leadership.epoch());
    let (vertices, max_parallelism) = (shapes(&graph), graph.max_parallelism);
    let mut master = shared
        .machine
        .start_master(MasterSetup {
            config: job_config(&name, place.lineage, &settings, config),
            storage,
            pointer: Arc::new(pointer),
            begin,
            workers: Box::new(workers),
            // Nobody listens once the JobManager has stopped.
            on_status: Box::new(move |status| drop(events.send(Event::Status(epoch, job, run, status)))),
            metrics: metrics_of(&graph),
            graph,
        })
        .map_err(|e| e.to_string())?;
    if let Some(guard) = shared.planner.follow(&spec, master.reconfigurer()) {
        master.keep(guard);
    }
    let highest = vertices.iter().map(|vertex| vertex.parallelism).max().unwrap_or(0);
    let parallelism = match spec.parallelism {
        0 => u32::try_from(highest).unwrap_or(u32::MAX),
        said => said,
    };
    Ok(StartedJob { master: Some(master), name, vertices, max_parallelism, parallelism, settings })
}

/// Tasks of another plan, of before the parallelism was changed, cannot go on: they are stopped, and whoever had them has none. Whether there
/// were any.
fn forget_other_plans(
    shared: &Shared,
    job: JobId,
    fingerprint: u64,
    inventories: &mut BTreeMap<WorkerId, Inventory>,
) -> bool {
    let mut any = false;
    for (worker, inventory) in inventories.iter_mut().filter(|(_, i)| i.fingerprint != fingerprint) {
        shared.links.send(worker, Command::Close(job));
        inventory.fingerprint = fingerprint;
        inventory.tasks.clear();
        any = true;
    }
    any
}

/// Attempts for the vertices of a new plan: none of them was there before.
fn later_than(attempts: &BTreeMap<VertexId, u32>, vertices: usize) -> BTreeMap<VertexId, u32> {
    let latest = attempts.values().copied().max().unwrap_or(0);
    (0..vertices).map(|vertex| (vertex, latest)).collect()
}

/// Where the checkpoints of a job will be that was never placed, and which it begins with.
fn first_place(
    shared: &Shared,
    job: JobId,
    settings: &JobSettings,
) -> std::result::Result<(CheckpointPlace, Option<CheckpointId>), String> {
    let found = settings.recovery_path.as_deref().map(find).transpose().map_err(|e| e.to_string())?;
    if let Some(Found::Checkpoint(location)) = found {
        let place = CheckpointPlace { directory: location.directory, lineage: location.lineage };
        return Ok((place, Some(location.checkpoint)));
    }
    let directory = settings.checkpoint_directory.as_ref().unwrap_or(&shared.checkpoint_directory);
    let directory = std::path::absolute(directory).map_err(|e| format!("{}: {e}", directory.display()))?;
    let place = CheckpointPlace { directory, lineage: job.to_string() };
    let Some(Found::Savepoint(path)) = found else { return Ok((place, None)) };
    let begun = CheckpointStorage::directory(&place.directory, &place.lineage)
        .and_then(|storage| savepoint::import(&storage, &place.lineage, &path, settings.claim));
    Ok((place, Some(begun.map_err(|e| e.to_string())?)))
}

/// How a job has ended.
pub(super) struct End {
    pub(super) job: JobId,
    pub(super) state: JobState,
    pub(super) error: Option<String>,
}

impl End {
    /// What a master that has ended says; `None`: it has been abandoned.
    pub(super) fn of(job: JobId, master: JobHandle, broken: Option<String>) -> Option<Self> {
        let (state, error) = match (broken, master.wait()) {
            (_, Ok(JobStatus::Suspended)) => return None,
            (Some(reason), _) => (JobState::Failed, Some(reason)),
            (None, Ok(JobStatus::Finished)) => (JobState::Finished, None),
            (None, Ok(JobStatus::Canceled)) => (JobState::Canceled, None),
            (None, Ok(other)) => (JobState::Failed, Some(format!("its master has left it {other:?}"))),
            (None, Err(error)) => (JobState::Failed, Some(error.to_string())),
        };
        Some(Self { job, state, error })
    }

    /// Writes the job's result.
    pub(super) fn write(self, shared: &Shared, status: &Mutex<StatusDocument>) {
        let id = self.job.to_string();
        let known = match shared.leadership.read(&id) {
            Ok(known) => known,
            Err(Failure::Deposed) => return,
            Err(Failure::Refused(error)) => return tracing::error!("job {id}: {error}"),
        };
        let spec = known.spec.map(|spec| spec.value).unwrap_or_default();
        let status = lock(status).clone();
        match &self.error {
            Some(error) => tracing::error!("job {id} ({}) has failed: {error}", spec.name),
            None => tracing::info!("job {id} ({}): {}", spec.name, self.state),
        }
        let result = JobResult {
            state: self.state,
            name: spec.name,
            kind: spec.kind,
            error: self.error,
            submitted_ms: spec.submitted_ms,
            started_ms: status.started_ms,
            ended_ms: u64::try_from(now_ms()).unwrap_or(0),
            restarts: status.restarts,
            parallelism: spec.parallelism,
            checkpoint: known.checkpoint.map(|pointer| pointer.value).unwrap_or_default(),
            ..JobResult::default()
        };
        match shared.leadership.end(&id, &result) {
            Ok(()) | Err(Failure::Deposed) => {}
            Err(Failure::Refused(error)) => tracing::error!("the result of job {id} is not kept: {error}"),
        }
    }
}
