//! The TaskManager's thread: does what the [`Link`] says, and passes on orders and reports.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use streamkeeper_dataflow::OperatorError;
use streamkeeper_dataflow::executor::order::{Inventory, Order, Report, Worker};
use streamkeeper_dataflow::network::Network;

use super::hosted::{HostedJob, tasks_of};
use super::link::{self, Effect, Link};
use crate::job_id::JobId;
use crate::planner::Planner;
use crate::process::ProcessMeter;
use crate::rpc::Heartbeat;
use crate::rpc::connection::{self, Connection};
use crate::rpc::message::{
    Command, FromLeader, FromTaskManager, Hello, OpenJob, PROTOCOL, Registration, Role,
};
use crate::rpc::server::connect;
use crate::rpc::stream::{RpcTls, Stream};
use crate::time::monotonic_ms;

/// What the thread is told.
pub(super) enum Event {
    /// Something for the link.
    Link(link::Event),
    /// The attempt with this number has reached a leader, of this epoch, or not.
    Reached(u64, io::Result<(Stream, u64)>),
    /// From the leader, by the connection of this attempt.
    Rpc(u64, connection::Event<FromLeader>),
    /// From an instance of a job here.
    Report(JobId, u64, Report),
    /// What an instance of a job has, for the connection of this attempt, in answer to the request with this number.
    Inventory(JobId, u64, u64, u64, Inventory),
    /// Leave.
    Stop,
}

/// What it works with.
pub(super) struct Setup {
    pub(super) cluster: String,
    pub(super) worker: Worker,
    pub(super) slots: usize,
    pub(super) network: Option<Arc<dyn Network>>,
    pub(super) heartbeat: Heartbeat,
    pub(super) tls: RpcTls,
    pub(super) grace: Duration,
}

pub(super) struct Shell {
    setup: Setup,
    planner: Arc<dyn Planner>,
    events: Sender<Event>,
    link: Link,
    /// What the last attempt reached, until it is taken over.
    reached: Option<Stream>,
    connection: Option<(u64, Connection)>,
    jobs: BTreeMap<JobId, HostedJob>,
    /// Jobs whose tasks are being stopped.
    closing: BTreeMap<JobId, JoinHandle<()>>,
    /// Why jobs cannot be run here.
    failed: BTreeMap<JobId, String>,
    instances: u64,
    next_progress: u64,
    process: ProcessMeter,
}

impl Shell {
    pub(super) fn new(setup: Setup, planner: Arc<dyn Planner>, events: Sender<Event>) -> Self {
        let link = Link::new(setup.grace, monotonic_ms());
        Self {
            setup,
            planner,
            events,
            link,
            reached: None,
            connection: None,
            jobs: BTreeMap::new(),
            closing: BTreeMap::new(),
            failed: BTreeMap::new(),
            instances: 0,
            next_progress: 0,
            process: ProcessMeter::default(),
        }
    }

    pub(super) fn run(mut self, inbox: &Receiver<Event>) {
        loop {
            let now = monotonic_ms();
            let progress = self.connection.as_ref().map(|_| self.next_progress);
            let due = self.link.next_tick().into_iter().chain(progress).min();
            let event = match due {
                None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(due) => inbox.recv_timeout(Duration::from_millis(due.saturating_sub(now))),
            };
            match event {
                Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(event) => self.on_event(event),
                Err(RecvTimeoutError::Timeout) => {
                    self.step(link::Event::Tick);
                    self.tell_progress();
                }
            }
        }
        if let Some((_, connection)) = self.connection.take() {
            connection.close();
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Link(event) => self.step(event),
            Event::Reached(attempt, Ok((stream, epoch))) => {
                self.reached = Some(stream);
                self.step(link::Event::Connected(attempt, epoch));
                self.reached = None;
            }
            Event::Reached(attempt, Err(error)) => {
                tracing::debug!("the leader cannot be reached: {error}");
                self.step(link::Event::Closed(attempt));
            }
            Event::Rpc(attempt, connection::Event::Message(FromLeader { epoch, command })) => {
                if self.link.obeys(attempt, epoch) {
                    self.on_command(attempt, command);
                } else if !matches!(command, Command::Heartbeat) {
                    tracing::warn!(
                        "an order of epoch {epoch} is not carried out: epoch {} is known",
                        self.link.epoch()
                    );
                }
            }
            Event::Rpc(attempt, connection::Event::Closed(reason)) => {
                tracing::info!("the connection to the leader is gone: {reason}");
                self.step(link::Event::Closed(attempt));
            }
            Event::Report(job, instance, report) => {
                let here = self.jobs.get(&job).filter(|here| here.instance == instance);
                // What is not sent is in the next inventory.
                let Some(attempt) = here.and_then(|here| here.reported_on) else { return };
                self.send(attempt, &FromTaskManager::Report(job, report));
            }
            Event::Inventory(job, instance, attempt, request, inventory) => {
                let here = self.jobs.get_mut(&job).filter(|here| here.instance == instance);
                if let Some(here) = here {
                    here.reported_on = Some(attempt);
                    self.send(attempt, &FromTaskManager::Inventory(job, request, Some(inventory)));
                }
            }
            // Ends the loop.
            Event::Stop => {}
        }
    }

    fn step(&mut self, event: link::Event) {
        for effect in self.link.step(event, monotonic_ms()) {
            match effect {
                Effect::Connect { attempt, address } => self.connect(attempt, address),
                Effect::Disconnect(attempt) => {
                    if self.connection.as_ref().is_some_and(|(of, _)| *of == attempt) {
                        self.disconnect();
                    }
                }
                Effect::Register => self.register(),
                Effect::LeaderLost => {
                    self.disconnect();
                    self.jobs.values().for_each(HostedJob::leader_lost);
                }
                Effect::Pause(pause) => {
                    if pause {
                        tracing::warn!("neither ZooKeeper nor a leader can be reached: sources pause");
                    }
                    self.jobs.values().for_each(|job| job.pause_sources(pause));
                }
            }
        }
    }

    fn connect(&mut self, attempt: u64, address: String) {
        let role = Role::TaskManager { id: self.setup.worker.id.clone(), epoch: self.link.epoch() };
        let hello = Hello { protocol: PROTOCOL, cluster: self.setup.cluster.clone(), role };
        let (events, failed) = (self.events.clone(), self.events.clone());
        let tls = self.setup.tls.clone();
        let reach = move || drop(events.send(Event::Reached(attempt, connect(&address, &tls, &hello))));
        if let Err(error) = std::thread::Builder::new().name("rpc-connect".into()).spawn(reach) {
            let _ = failed.send(Event::Reached(attempt, Err(error)));
        }
    }

    fn disconnect(&mut self) {
        if let Some((_, connection)) = self.connection.take() {
            connection.close();
        }
    }

    /// Takes the new connection over: says who is here, and what runs here.
    fn register(&mut self) {
        let Some(stream) = self.reached.take() else { return };
        let attempt = self.link.attempt();
        let events = self.events.clone();
        let on_event = move |event| drop(events.send(Event::Rpc(attempt, event)));
        let heartbeat = FromTaskManager::Heartbeat;
        match Connection::open(stream, self.setup.heartbeat, &heartbeat, on_event) {
            Ok(connection) => self.connection = Some((attempt, connection)),
            Err(error) => {
                tracing::warn!("the leader was reached, but {error}");
                let _ = self.events.send(Event::Link(link::Event::Closed(attempt)));
                return;
            }
        }
        tracing::info!("registered with the leader of epoch {}", self.link.epoch());
        let registration = Registration {
            worker: self.setup.worker.clone(),
            slots: self.setup.slots,
            jobs: self.jobs.keys().copied().collect(),
        };
        self.send(attempt, &FromTaskManager::Register(registration));
        self.next_progress = 0;
        for job in self.jobs.values_mut() {
            job.forget_told();
            job.take_inventory(attempt, 0, &self.events);
        }
    }

    fn send(&self, attempt: u64, message: &FromTaskManager) {
        if let Some((of, connection)) = &self.connection
            && *of == attempt
        {
            connection.send(message);
        }
    }

    fn tell_progress(&mut self) {
        let now = monotonic_ms();
        let Some((attempt, _)) = self.connection else { return };
        if now < self.next_progress {
            return;
        }
        let interval = u64::try_from(self.setup.heartbeat.interval.as_millis()).unwrap_or(1000);
        self.next_progress = now + interval.max(1);
        let process = self.process.read();
        self.send(attempt, &FromTaskManager::Process(process));
        let progress: BTreeMap<_, _> =
            self.jobs.iter_mut().filter_map(|(id, job)| Some((*id, job.progress()?))).collect();
        if !progress.is_empty() {
            self.send(attempt, &FromTaskManager::Tasks(progress));
        }
    }

    fn on_command(&mut self, attempt: u64, command: Command) {
        match command {
            Command::Heartbeat => {}
            Command::Open(open) => self.open(attempt, *open),
            Command::Order(job, order) => match self.jobs.get_mut(&job) {
                Some(here) => here.order(&self.setup.worker, order),
                None => self.refuse(attempt, job, &order),
            },
            Command::Close(job) => {
                self.failed.remove(&job);
                self.close(job);
            }
            Command::TakeInventory(job, request) => match self.jobs.get_mut(&job) {
                Some(here) => {
                    here.reported_on = None;
                    here.take_inventory(attempt, request, &self.events);
                }
                None => self.send(attempt, &FromTaskManager::Inventory(job, request, None)),
            },
        }
    }

    fn open(&mut self, attempt: u64, open: OpenJob) {
        let id = open.job;
        if self.jobs.get(&id).is_some_and(|job| job.open == open) {
            return;
        }
        // Of another plan: nothing of it can be used.
        self.close(id);
        // What the former tasks write, they write under the same names.
        if let Some(closing) = self.closing.remove(&id) {
            // It says nothing at its end.
            let _ = closing.join();
        }
        self.instances += 1;
        let opened = HostedJob::open(
            open,
            self.instances,
            self.setup.worker.clone(),
            self.setup.network.clone(),
            self.planner.as_ref(),
            self.events.clone(),
        );
        match opened {
            Ok(mut job) => {
                // There is nothing yet that an inventory would tell.
                job.reported_on = Some(attempt);
                self.failed.remove(&id);
                self.jobs.insert(id, job);
            }
            Err(reason) => {
                tracing::warn!("job {id} cannot be run here: {reason}");
                self.failed.insert(id, reason);
            }
        }
    }

    fn close(&mut self, job: JobId) {
        self.closing.retain(|_, closing| !closing.is_finished());
        if let Some(here) = self.jobs.remove(&job)
            && let Some(closing) = here.close()
        {
            self.closing.insert(job, closing);
        }
    }

    /// Says of tasks that cannot be started that they have ended, and why.
    fn refuse(&self, attempt: u64, job: JobId, order: &Order) {
        let Order::Deploy(deployment) = order else { return };
        let reason = self.failed.get(&job).map_or("the TaskManager does not know the job", String::as_str);
        for task in tasks_of(deployment, &self.setup.worker) {
            let report = Report::Exited(task, Some(OperatorError::fatal(reason)));
            self.send(attempt, &FromTaskManager::Report(job, report));
        }
    }
}
