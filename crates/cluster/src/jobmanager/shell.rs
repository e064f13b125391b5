//! The JobManager's thread.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use streamkeeper_coordination::election::{ElectionEvent, LeaderDocument};
use streamkeeper_coordination::jobs::JobsView;
use streamkeeper_coordination::membership::TaskManagers;
use streamkeeper_dataflow::element::CheckpointId;
use streamkeeper_dataflow::executor::order::WorkerId;
use streamkeeper_dataflow::job::JobStatus;

use super::follow::Following;
use super::job::{ReadJob, Told};
use super::links::Links;
use super::lock;
use super::machine::Machine;
use super::office::Office;
use super::operations::{Asked, Operation};
use super::seen::Seen;
use super::standby::Standby;
use super::start::{Shared, StartedJob};
use super::term::Term;
use super::view::{ClusterView, JobView};
use crate::job_id::JobId;
use crate::planner::Planner;
use crate::rpc::Heartbeat;
use crate::rpc::connection::{self, Connection};
use crate::rpc::message::{Command, FromLeader, FromTaskManager, Hello, Role, Welcome};
use crate::rpc::server::{OnHello, answer};
use crate::rpc::stream::{RpcTls, Stream};
use crate::time::monotonic_ms;

/// Standbys that are connected at most; later ones wait for the session's timeout.
const MAX_STANDBYS: usize = 64;

/// What the thread is told. A number first is the epoch that it belongs to.
pub(super) enum Event {
    /// How this JobManager stands.
    Election(ElectionEvent),
    /// Who leads.
    Leader(LeaderDocument),
    /// The TaskManagers in ZooKeeper.
    Members(Arc<TaskManagers>),
    /// The jobs in ZooKeeper.
    Jobs(Arc<JobsView>),
    /// Somebody has connected.
    Hello(u64, Role, Stream),
    /// From a TaskManager, by the connection with this number.
    Rpc(u64, WorkerId, u64, connection::Event<FromTaskManager>),
    /// A TaskManager's process is dead.
    Dead(u64, WorkerId),
    /// This JobManager watches the leader of the epoch, by this connection.
    Watching(u64, String, Stream),
    /// That has broken.
    WatchBroken(u64, String),
    /// The leader's process is dead.
    LeaderDead(u64),
    /// A job of this name was submitted here.
    Submitted(JobId, String),
    /// The documents of a job.
    Read(u64, JobId, u64, Box<Result<ReadJob, String>>),
    /// Its master.
    Started(u64, JobId, u64, Box<Result<StartedJob, String>>),
    /// What that says.
    Status(u64, JobId, u64, JobStatus),
    /// TaskManagers have been told something.
    Told(u64, JobId, Told),
    /// It cannot go on.
    Broken(u64, JobId, String),
    /// Its result is written.
    Ended(u64, JobId),
    /// Somebody wants to know whether this JobManager leads, and who does.
    Leadership(Sender<(bool, Option<LeaderDocument>)>),
    /// Somebody wants to see everything.
    View(Sender<ClusterView>),
    /// Somebody wants to see a job.
    Job(JobId, Sender<Option<JobView>>),
    /// Somebody asks for something, under this id; the answer: whether it has begun.
    Ask(String, Asked, Sender<bool>),
    /// It has ended.
    Answered(u64, String, Result<CheckpointId, String>),
    /// The checkpoint before a job goes to this parallelism.
    Rescale(u64, JobId, u64, u32, Result<CheckpointId, String>),
    /// Somebody wants to see what has become of it.
    Operation(String, Sender<Option<Operation>>),
    /// Break all connections to TaskManagers, for tests of what comes then.
    BreakConnections,
    /// Leave.
    Stop,
}

/// The epoch in which this JobManager leads, for those who greet.
pub(super) type Leading = Arc<Mutex<Option<u64>>>;

/// Greets TaskManagers and standbys.
pub(super) fn on_hello(leading: Leading, events: Sender<Event>) -> Arc<OnHello> {
    Arc::new(move |hello: Hello, mut stream: Stream| {
        let epoch = *lock(&leading);
        let refusal = match (&hello.role, epoch) {
            (_, None) => "this JobManager does not lead".to_owned(),
            (Role::TaskManager { epoch: known, .. }, Some(mine)) if *known > mine => {
                format!("this JobManager leads in epoch {mine}, which has ended")
            }
            (_, Some(epoch)) => {
                if answer(&mut stream, &Welcome::Accepted { epoch }).is_ok() {
                    let _ = events.send(Event::Hello(epoch, hello.role, stream));
                }
                return;
            }
        };
        let _ = answer(&mut stream, &Welcome::Refused(refusal));
    })
}

/// What the thread works with.
pub(super) struct Setup {
    pub(super) id: String,
    pub(super) cluster: String,
    pub(super) heartbeat: Heartbeat,
    pub(super) tls: RpcTls,
    pub(super) checkpoint_directory: PathBuf,
    pub(super) stabilization: Duration,
    pub(super) machine: Arc<dyn Machine>,
}

pub(super) struct Shell {
    setup: Setup,
    planner: Arc<dyn Planner>,
    events: Sender<Event>,
    leading: Leading,
    following: Following,
    standby: Standby,
    /// A leadership that waits for the first look at ZooKeeper.
    granted: Option<Arc<dyn Office>>,
    term: Option<Term>,
    /// Leads as far as it knows, and cannot reach ZooKeeper.
    suspended: bool,
    leader: Option<LeaderDocument>,
    members: Option<Arc<TaskManagers>>,
    jobs: Option<Arc<JobsView>>,
    /// Standbys that watch this leader.
    standbys: Vec<Connection>,
    connections: u64,
}

impl Shell {
    pub(super) fn new(
        setup: Setup,
        planner: Arc<dyn Planner>,
        events: Sender<Event>,
        leading: Leading,
        following: Following,
    ) -> Self {
        let standby = Standby::new(
            setup.id.clone(),
            setup.cluster.clone(),
            setup.heartbeat,
            setup.tls.clone(),
            events.clone(),
        );
        Self {
            setup,
            planner,
            events,
            leading,
            following,
            standby,
            granted: None,
            term: None,
            suspended: false,
            leader: None,
            members: None,
            jobs: None,
            standbys: Vec::new(),
            connections: 0,
        }
    }

    pub(super) fn run(mut self, inbox: &Receiver<Event>) {
        loop {
            let due = self.term.as_ref().and_then(Term::next_tick);
            let event = match due {
                None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(due) => inbox.recv_timeout(Duration::from_millis(due.saturating_sub(monotonic_ms()))),
            };
            match event {
                Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(event) => self.turn(Some(event)),
                Err(RecvTimeoutError::Timeout) => self.turn(None),
            }
        }
        self.step_down();
    }

    /// Takes an event, or that time has passed.
    fn turn(&mut self, event: Option<Event>) {
        if let Some(event) = event {
            self.on_event(event);
        }
        if let Some(term) = &mut self.term {
            term.tick();
            term.start_gathered();
            term.rescale();
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Election(ElectionEvent::Granted(leadership)) => {
                self.granted = Some(Arc::new(leadership));
                self.suspended = false;
                self.take_office();
            }
            Event::Election(ElectionEvent::Suspended) => {
                tracing::warn!("ZooKeeper cannot be reached: nothing is written, everything else goes on");
                self.suspended = true;
                if let Some(term) = &self.term {
                    term.suspend();
                }
            }
            Event::Election(ElectionEvent::Resumed) => {
                tracing::info!("ZooKeeper is back, and this JobManager leads");
                self.suspended = false;
                if let Some(term) = &self.term {
                    term.resume();
                }
            }
            Event::Election(ElectionEvent::Revoked) => self.step_down(),
            Event::Leader(leader) => self.on_leader(leader),
            Event::Members(members) => {
                if let Some(term) = &mut self.term {
                    term.see_members(&members);
                }
                self.members = Some(members);
                self.take_office();
            }
            Event::Jobs(jobs) => {
                if let Some(term) = &mut self.term {
                    term.see(&jobs);
                }
                self.jobs = Some(jobs);
                self.take_office();
            }
            Event::Hello(epoch, role, stream) => self.on_connected(epoch, role, stream),
            Event::Rpc(epoch, worker, number, event) => self.on_rpc(epoch, &worker, number, event),
            Event::Watching(epoch, address, stream) => self.standby.reached(epoch, address, stream),
            Event::WatchBroken(epoch, address) => self.standby.broken(epoch, address),
            Event::LeaderDead(epoch) => {
                if let Some(leader) = self.leader.as_ref().filter(|leader| leader.epoch == epoch) {
                    tracing::warn!("the leader {} is dead", leader.leader);
                    self.following.depose(leader.leader.clone());
                }
            }
            Event::Submitted(job, name) => {
                if let Some(term) = &mut self.term {
                    term.submitted(job, name);
                }
            }
            Event::Dead(epoch, worker) => self.in_term(epoch, |term| term.died(&worker)),
            Event::Read(epoch, job, run, found) => self.in_term(epoch, |term| term.on_read(job, run, *found)),
            Event::Started(epoch, job, run, started) => {
                self.in_term(epoch, |term| term.on_started(job, run, *started));
            }
            Event::Status(epoch, job, run, status) => {
                self.in_term(epoch, |term| term.on_master(job, run, status));
            }
            Event::Told(epoch, job, told) => self.in_term(epoch, |term| term.on_told(job, told)),
            Event::Broken(epoch, job, reason) => self.in_term(epoch, |term| term.on_broken(job, reason)),
            Event::Ended(epoch, job) => self.in_term(epoch, |term| term.on_ended(job)),
            // Who asked may have gone.
            Event::Leadership(reply) => drop(reply.send((self.term.is_some(), self.leader.clone()))),
            Event::View(reply) => drop(reply.send(self.seen().cluster())),
            Event::Job(job, reply) => drop(reply.send(self.seen().job(job))),
            Event::Ask(id, asked, reply) => {
                let _ = reply.send(self.term.as_mut().is_some_and(|term| term.ask(&id, asked)));
            }
            Event::Answered(epoch, id, outcome) => {
                self.in_term(epoch, |term| term.operations.end(&id, outcome));
            }
            Event::Rescale(epoch, job, run, wanted, outcome) => {
                self.in_term(epoch, |term| term.on_rescale(job, run, wanted, outcome));
            }
            Event::Operation(id, reply) => {
                drop(reply.send(self.term.as_ref().and_then(|term| term.operations.get(&id).cloned())));
            }
            Event::BreakConnections => {
                if let Some(term) = &self.term {
                    term.shared.links.break_all();
                }
            }
            // Ends the loop.
            Event::Stop => {}
        }
    }

    fn in_term(&mut self, epoch: u64, act: impl FnOnce(&mut Term)) {
        if let Some(term) = self.term.as_mut().filter(|term| term.epoch == epoch) {
            act(term);
        }
    }

    /// Leads, once it is known what there is.
    fn take_office(&mut self) {
        let (Some(_), Some(jobs)) = (&self.members, self.jobs.clone()) else { return };
        let Some(leadership) = self.granted.take() else { return };
        self.standby.rest();
        let epoch = leadership.epoch();
        let shared = Shared {
            links: Arc::new(Links::new(epoch)),
            roster: Arc::default(),
            machine: self.setup.machine.clone(),
            planner: self.planner.clone(),
            checkpoint_directory: self.setup.checkpoint_directory.clone(),
            stabilization_ms: u64::try_from(self.setup.stabilization.as_millis()).unwrap_or(u64::MAX / 2),
            events: self.events.clone(),
            leadership,
        };
        match Term::begin(shared) {
            Ok(mut term) => {
                term.see(&jobs);
                if self.suspended {
                    term.suspend();
                }
                self.term = Some(term);
                *lock(&self.leading) = Some(epoch);
            }
            Err(error) => tracing::error!("epoch {epoch} is not led: {error}"),
        }
    }

    fn step_down(&mut self) {
        *lock(&self.leading) = None;
        self.granted = None;
        self.standbys.clear();
        if let Some(term) = self.term.take() {
            tracing::warn!("this JobManager leads no more; the tasks run on");
            term.abandon();
        }
        self.watch_leader();
    }

    fn on_leader(&mut self, leader: LeaderDocument) {
        self.leader = Some(leader);
        self.watch_leader();
    }

    fn watch_leader(&mut self) {
        match &self.leader {
            Some(leader) if leader.leader != self.setup.id => {
                self.standby.watch(leader.epoch, leader.rpc_address.clone());
            }
            _ => self.standby.rest(),
        }
    }

    fn on_connected(&mut self, epoch: u64, role: Role, stream: Stream) {
        let Some(term) = self.term.as_mut().filter(|term| term.epoch == epoch) else { return };
        let heartbeat = FromLeader { epoch, command: Command::Heartbeat };
        let times = self.setup.heartbeat;
        match role {
            Role::TaskManager { id, .. } => {
                self.connections += 1;
                let (events, worker, number) = (self.events.clone(), id.clone(), self.connections);
                let on_event =
                    move |event| drop(events.send(Event::Rpc(epoch, worker.clone(), number, event)));
                match Connection::open(stream, times, &heartbeat, on_event) {
                    Ok(connection) => term.connected(id, number, connection),
                    Err(error) => tracing::warn!("TaskManager {id} has connected, but {error}"),
                }
            }
            Role::Standby { id } => {
                if self.standbys.len() >= MAX_STANDBYS {
                    self.standbys.remove(0);
                }
                // It says nothing but that it is there.
                match Connection::open(stream, times, &heartbeat, |_: connection::Event<FromTaskManager>| ())
                {
                    Ok(connection) => self.standbys.push(connection),
                    Err(error) => tracing::warn!("standby {id} has connected, but {error}"),
                }
            }
        }
    }

    #[cfg(test)]
    pub(super) fn simulated(&mut self) -> Simulated<'_> {
        Simulated(self)
    }

    fn on_rpc(
        &mut self,
        epoch: u64,
        worker: &WorkerId,
        number: u64,
        event: connection::Event<FromTaskManager>,
    ) {
        let Some(term) = self.term.as_mut().filter(|term| term.epoch == epoch) else { return };
        if !term.shared.links.is_current(worker, number) {
            return;
        }
        match event {
            connection::Event::Message(message) => term.on_message(worker, message, self.jobs.as_deref()),
            connection::Event::Closed(reason) => {
                tracing::warn!("the connection to TaskManager {worker} is gone: {reason}");
                term.disconnected(worker, self.members.as_deref());
            }
        }
    }

    fn seen(&self) -> Seen<'_> {
        let (members, jobs) = (self.members.as_deref(), self.jobs.as_deref());
        Seen { leader: self.leader.as_ref(), members, jobs, term: self.term.as_ref() }
    }
}

/// What a simulation does with a shell in place of sockets and sessions.
#[cfg(test)]
pub(super) struct Simulated<'a>(&'a mut Shell);

#[cfg(test)]
impl Simulated<'_> {
    /// Takes an event, or that time has passed.
    pub(super) fn turn(self, event: Option<Event>) {
        self.0.turn(event);
    }

    pub(super) fn next_tick(&self) -> Option<u64> {
        self.0.term.as_ref().and_then(Term::next_tick)
    }

    /// Where it stands, to be read.
    pub(super) fn describe(self) -> String {
        let Some(term) = &self.0.term else { return "no term".into() };
        let phases: Vec<&str> = term.jobs.values().map(|job| job.phase.name()).collect();
        format!("epoch {}, {phases:?}, {:?}, {:?}", term.epoch, term.workers, lock(&term.shared.roster))
    }

    /// The election has granted this office.
    pub(super) fn grant(self, office: Arc<dyn Office>) {
        self.0.granted = Some(office);
        self.0.suspended = false;
        self.0.take_office();
    }

    /// The epoch in which it would greet, and the connection with this number if it does.
    pub(super) fn greets(&self) -> Option<u64> {
        *lock(&self.0.leading)
    }

    /// A TaskManager was greeted in this epoch. Gives the number of the connection.
    pub(super) fn connected(self, epoch: u64, worker: WorkerId, connection: Connection) -> Option<u64> {
        let term = self.0.term.as_mut().filter(|term| term.epoch == epoch)?;
        self.0.connections += 1;
        term.connected(worker, self.0.connections, connection);
        Some(self.0.connections)
    }
}
