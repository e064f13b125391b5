//! What happens next, and to whom.

use std::cell::Cell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use streamkeeper_coordination::election::ElectionEvent;
use streamkeeper_coordination::membership::TaskManagerDocument;
use streamkeeper_dataflow::Error;
use streamkeeper_dataflow::checkpoint::storage::CheckpointStorage;
use streamkeeper_dataflow::job::stepped::SteppedMaster;
use streamkeeper_dataflow::job::{JobHandle, MasterSetup};
use streamkeeper_dataflow::time::{Clock, Timestamp};

use super::super::follow::Following;
use super::super::lock;
use super::super::machine::Machine;
use super::super::shell::{Event, Setup, Shell};
use super::super::start::{Chore, Clerk};
use super::Random;
use super::job::{ALL, Ledger, TheJob};
use super::worker::{SLOTS, TaskManager};
use super::zookeeper::{Blocked, SimulatedOffice, ZooKeeper};
use crate::job_id::JobId;
use crate::planner::CheckpointPlace;
use crate::rpc::Heartbeat;
use crate::rpc::connection::{self, Connection};
use crate::rpc::message::{FromLeader, FromTaskManager};
use crate::taskmanager::link;
use crate::time::simulated::NOW;

const JOB_MANAGERS: usize = 3;
const TASK_MANAGERS: usize = 3;

/// Steps until everything must be committed that can be.
const PATIENCE: usize = 120_000;

/// What a JobManager has in place of threads.
struct Here {
    now: Arc<AtomicI64>,
    skew: i64,
    storage: Arc<CheckpointStorage>,
    masters: Mutex<Vec<SteppedMaster>>,
    chores: Mutex<VecDeque<Receiver<Chore>>>,
}

impl Clock for Here {
    fn now_ms(&self) -> Timestamp {
        self.now.load(Ordering::Relaxed) + self.skew
    }
}

#[derive(Clone)]
struct Simulated(Arc<Here>);

impl Machine for Simulated {
    fn clerk(&self) -> crate::Result<Clerk> {
        let (clerk, chores) = Clerk::queue();
        lock(&self.0.chores).push_back(chores);
        Ok(clerk)
    }

    fn storage(&self, _: &CheckpointPlace) -> Result<Arc<CheckpointStorage>, Error> {
        Ok(self.0.storage.clone())
    }

    fn start_master(&self, setup: MasterSetup) -> Result<JobHandle, Error> {
        let (handle, master) = SteppedMaster::start(setup, self.0.clone())?;
        lock(&self.0.masters).push(master);
        Ok(handle)
    }
}

struct JobManager {
    id: String,
    shell: Shell,
    events: std::sync::mpsc::Sender<Event>,
    inbox: Receiver<Event>,
    here: Arc<Here>,
    /// Its session in ZooKeeper goes on.
    session: bool,
    /// It reaches ZooKeeper, and knows whether it does.
    reachable: bool,
    suspended: bool,
    office: Option<Arc<SimulatedOffice>>,
}

/// A connection, with what is on its way.
struct Wire {
    jm: String,
    tm: String,
    attempt: u64,
    number: u64,
    epoch: u64,
    connection: Connection,
    to_tm: Receiver<Vec<u8>>,
    to_jm: VecDeque<FromTaskManager>,
    /// Each side holds it for open.
    tm_open: bool,
    jm_open: bool,
    /// Nothing gets through any more.
    broken: bool,
}

pub(super) struct World {
    random: Random,
    now: Arc<AtomicI64>,
    zookeeper: Arc<Mutex<ZooKeeper>>,
    storage: Arc<CheckpointStorage>,
    job: TheJob,
    jms: Vec<JobManager>,
    tms: Vec<TaskManager>,
    wires: Vec<Wire>,
    /// Pairs of JobManager and TaskManager between which nothing gets through.
    cuts: Vec<(String, String)>,
    /// TaskManagers that are dead.
    dead: Vec<String>,
    born: usize,
    /// One step in so many is a fault.
    calm: usize,
    /// How fast time passes.
    pace: usize,
    tell: bool,
    steps: Cell<usize>,
}

impl World {
    pub(super) fn new(seed: u64, tell: bool) -> Self {
        let mut random = Random(seed);
        let calm = 25 << random.below(5);
        let pace = [12, 50, 200][random.below(3)];
        let job = TheJob {
            ledger: Arc::new(Mutex::new(Ledger { tells: tell, ..Ledger::default() })),
            parallelism: 2 + random.below(3),
        };
        let id = JobId([7; 16]);
        let storage = CheckpointStorage::in_memory(&id.to_string()).expect("memory");
        let mut world = Self {
            random,
            now: Arc::new(AtomicI64::new(1_000_000)),
            zookeeper: Arc::new(Mutex::new(ZooKeeper::new(id))),
            storage: Arc::new(storage),
            job,
            jms: Vec::new(),
            tms: Vec::new(),
            wires: Vec::new(),
            cuts: Vec::new(),
            dead: Vec::new(),
            born: 0,
            calm,
            pace,
            tell,
            steps: Cell::new(0),
        };
        for _ in 0..JOB_MANAGERS {
            let jm = world.job_manager();
            world.jms.push(jm);
        }
        for _ in 0..TASK_MANAGERS {
            let tm = world.task_manager();
            world.tms.push(tm);
        }
        world
    }

    fn say(&self, what: impl FnOnce() -> String) {
        if self.tell {
            println!("{:5} {}", self.steps.get(), what());
        }
    }

    fn now(&self) -> i64 {
        self.now.load(Ordering::Relaxed)
    }

    fn job_manager(&mut self) -> JobManager {
        self.born += 1;
        let id = format!("jm-{}", self.born);
        let skew = self.random.below(200_000) as i64 - 100_000;
        let here = Arc::new(Here {
            now: self.now.clone(),
            skew,
            storage: self.storage.clone(),
            masters: Mutex::default(),
            chores: Mutex::default(),
        });
        let setup = Setup {
            id: id.clone(),
            cluster: "/c".into(),
            heartbeat: Heartbeat::default(),
            tls: Default::default(),
            checkpoint_directory: "/checkpoints".into(),
            stabilization: Duration::from_millis(300),
            machine: Arc::new(Simulated(here.clone())),
        };
        let (events, inbox) = channel();
        let (following, _) = Following::simulated();
        let shell = Shell::new(setup, Arc::new(self.job.clone()), events.clone(), Arc::default(), following);
        let (session, reachable, suspended, office) = (true, true, false, None);
        JobManager { id, shell, events, inbox, here, session, reachable, suspended, office }
    }

    fn task_manager(&mut self) -> TaskManager {
        self.born += 1;
        let id = format!("tm-{}", self.born);
        TaskManager::new(id, self.job.clone(), self.storage.clone(), self.now().unsigned_abs())
    }

    fn at(&self, jm: usize) {
        NOW.set(Some(self.jms[jm].here.now_ms()));
    }

    /// One thing happens.
    pub(super) fn step(&mut self, faults: bool) {
        self.steps.set(self.steps.get() + 1);
        let j = self.random.below(self.jms.len());
        let t = self.random.below(self.tms.len());
        self.at(j);
        if faults && self.random.below(self.calm) == 0 {
            return self.fault(j, t);
        }
        match self.random.below(100) {
            0..=7 => drop(self.now.fetch_add(self.random.below(self.pace) as i64, Ordering::Relaxed)),
            8..=21 => self.step_job_manager(j),
            22..=39 => self.step_masters(j),
            40..=42 => self.do_chore(j),
            43..=47 => self.see(j),
            48..=60 => self.deliver_to_task_manager(),
            61..=73 => self.deliver_to_job_manager(),
            74..=87 => self.work(t),
            88..=93 => self.step_link(t),
            94..=97 => self.bury(),
            _ => self.elect(false),
        }
    }

    fn step_job_manager(&mut self, j: usize) {
        let jm = &mut self.jms[j];
        let event = jm.inbox.try_recv().ok();
        let due = jm.shell.simulated().next_tick().is_some_and(|due| due <= crate::time::monotonic_ms());
        if event.is_some() || due {
            jm.shell.simulated().turn(event);
        }
    }

    /// One of the masters here takes its next event, or hears that time has passed, or writes a checkpoint. One that has to write
    /// waits for ZooKeeper.
    fn step_masters(&mut self, j: usize) {
        let jm = &self.jms[j];
        let mut masters = lock(&jm.here.masters);
        if !jm.reachable || masters.is_empty() {
            return;
        }
        let (n, what) = (self.random.below(masters.len()), self.random.below(4));
        let master = &mut masters[n];
        if what == 0 && master.has_chore() {
            write(master);
        } else if !master.step() && master.next_tick().is_some_and(|due| due <= jm.here.now_ms()) {
            master.tick();
        }
        if let Some(failure) = master.failure() {
            panic!("the job has failed: {failure}");
        }
        masters.retain(|master| !master.is_abandoned() || master.has_chore());
    }

    /// The clerk of a leadership does what is next, once masters that it waits for have written their last word.
    fn do_chore(&mut self, j: usize) {
        let jm = &self.jms[j];
        if !jm.reachable {
            return;
        }
        let chores = lock(&jm.here.chores);
        let Some(chore) = chores.iter().find_map(|chores| chores.try_recv().ok()) else { return };
        drop(chores);
        let mut masters = std::mem::take(&mut *lock(&jm.here.masters));
        for master in &mut masters {
            while master.step() {}
            if master.is_abandoned() && master.has_chore() {
                write(master);
            }
        }
        masters.retain(|master| !master.is_abandoned());
        lock(&jm.here.masters).extend(masters);
        chore();
    }

    /// A JobManager sees what ZooKeeper holds, and what has become of its office.
    fn see(&mut self, j: usize) {
        let jm = &mut self.jms[j];
        if !jm.reachable {
            if jm.office.is_some() && !std::mem::replace(&mut jm.suspended, true) {
                jm.shell.simulated().turn(Some(Event::Election(ElectionEvent::Suspended)));
            }
            return;
        }
        let (leader, version, members, jobs) = {
            let zookeeper = lock(&self.zookeeper);
            (zookeeper.leader.clone(), zookeeper.version, zookeeper.task_managers(), zookeeper.jobs())
        };
        if let Some(office) = &jm.office
            && (office.version != version || !jm.session)
        {
            office.revoked.store(true, Ordering::Relaxed);
            jm.office = None;
            jm.shell.simulated().turn(Some(Event::Election(ElectionEvent::Revoked)));
        } else if jm.office.is_some() && jm.suspended {
            jm.shell.simulated().turn(Some(Event::Election(ElectionEvent::Resumed)));
        }
        jm.suspended = false;
        for event in [Event::Members(members), Event::Jobs(jobs), Event::Leader(leader.clone())] {
            jm.shell.simulated().turn(Some(event));
        }
        let is_new = jm.office.is_none() && jm.session && leader.leader == jm.id;
        jm.session = true;
        if is_new {
            let office = Arc::new(SimulatedOffice {
                zookeeper: self.zookeeper.clone(),
                storage: self.storage.clone(),
                job: self.job.clone(),
                epoch: leader.epoch,
                version,
                revoked: false.into(),
            });
            jm.office = Some(office.clone());
            jm.shell.simulated().grant(office);
        }
    }

    /// Somebody takes office, when there is nobody in it or the one who is has to go.
    fn elect(&mut self, depose: bool) {
        let mut zookeeper = lock(&self.zookeeper);
        let holder = &zookeeper.leader.leader;
        if !depose && self.jms.iter().any(|jm| jm.id == *holder && jm.session) {
            return;
        }
        let willing: Vec<&JobManager> =
            self.jms.iter().filter(|jm| jm.session && jm.reachable && jm.office.is_none()).collect();
        if willing.is_empty() {
            return;
        }
        let id = willing[self.random.below(willing.len())].id.clone();
        zookeeper.version += 1;
        zookeeper.leader.epoch += 1;
        zookeeper.leader.leader.clone_from(&id);
        let epoch = zookeeper.leader.epoch;
        drop(zookeeper);
        self.say(|| format!("{id} takes office in epoch {epoch}"));
    }

    fn is_cut(&self, jm: &str, tm: &str) -> bool {
        self.cuts.iter().any(|(a, b)| a == jm && b == tm)
    }

    fn wire(&mut self) -> Option<usize> {
        let open: Vec<usize> = (0..self.wires.len()).collect();
        (!open.is_empty()).then(|| open[self.random.below(open.len())])
    }

    fn deliver_to_task_manager(&mut self) {
        let Some(w) = self.wire() else { return };
        let now = self.now().unsigned_abs();
        let (jm_lives, cut) = {
            let wire = &self.wires[w];
            (self.jms.iter().any(|jm| jm.id == wire.jm), self.is_cut(&wire.jm, &wire.tm))
        };
        let wire = &mut self.wires[w];
        let Some(tm) = self.tms.iter_mut().find(|tm| tm.me.id == wire.tm).filter(|_| wire.tm_open) else {
            return;
        };
        let frame = if wire.broken || cut { None } else { wire.to_tm.try_recv().ok() };
        match frame {
            Some(frame) => {
                let message: FromLeader = crate::rpc::read_frame(&frame);
                if self.tell && !matches!(message.command, crate::rpc::message::Command::Open(_)) {
                    println!("{:5} {} -> {}: {message:?}", self.steps.get(), wire.jm, wire.tm);
                }
                tm.on_message(wire.attempt, message);
            }
            None if wire.broken || !jm_lives || (!cut && (!wire.jm_open || wire.connection.is_closed())) => {
                wire.tm_open = false;
                tm.step(link::Event::Closed(wire.attempt), now);
            }
            None => {}
        }
        self.post();
    }

    fn deliver_to_job_manager(&mut self) {
        let Some(w) = self.wire() else { return };
        let (tm_lives, cut) = {
            let wire = &self.wires[w];
            (self.tms.iter().any(|tm| tm.me.id == wire.tm), self.is_cut(&wire.jm, &wire.tm))
        };
        let wire = &mut self.wires[w];
        let jm = self.jms.iter().find(|jm| jm.id == wire.jm).filter(|_| wire.jm_open);
        let Some(jm) = jm else {
            self.wires.retain(|wire| wire.tm_open || wire.jm_open);
            return;
        };
        let message = if wire.broken || cut { None } else { wire.to_jm.pop_front() };
        if let Some(message) = message.as_ref().filter(|_| self.tell) {
            println!("{:5} {} -> {}: {message:?}", self.steps.get(), wire.tm, wire.jm);
        }
        let event = match message {
            Some(message) => connection::Event::Message(message),
            None if wire.broken || !tm_lives || wire.connection.is_closed() || (!cut && !wire.tm_open) => {
                wire.jm_open = false;
                connection::Event::Closed("simulated".into())
            }
            None => return,
        };
        jm.events.send(Event::Rpc(wire.epoch, wire.tm.clone(), wire.number, event)).expect("it lives");
        self.wires.retain(|wire| wire.tm_open || wire.jm_open);
    }

    /// Takes what TaskManagers have sent and closed.
    fn post(&mut self) {
        for tm in &mut self.tms {
            let mut out = std::mem::take(&mut tm.out);
            let closing = std::mem::take(&mut tm.closing);
            for wire in self.wires.iter_mut().filter(|wire| wire.tm == tm.me.id && wire.tm_open) {
                for (_, message) in out.extract_if(.., |(attempt, _)| *attempt == wire.attempt) {
                    wire.to_jm.push_back(message);
                }
                wire.tm_open &= !closing.contains(&wire.attempt);
            }
        }
    }

    fn work(&mut self, t: usize) {
        let (n, what) = (self.random.below(SLOTS), self.random.below(4));
        self.tms[t].work(n, what);
        self.post();
    }

    /// A TaskManager hears who leads, or connects, or time passes for it.
    fn step_link(&mut self, t: usize) {
        let now = self.now().unsigned_abs();
        let leader = lock(&self.zookeeper).leader.clone();
        let what = self.random.below(3);
        if what == 0 && leader.epoch > 0 {
            let (epoch, address) = (leader.epoch, leader.leader);
            self.tms[t].step(link::Event::Leader { epoch, address }, now);
            let document = TaskManagerDocument {
                id: self.tms[t].me.id.clone(),
                rpc_address: String::new(),
                data_address: String::new(),
                slots: SLOTS as u32,
                started_ms: 0,
                details: serde_json::Value::Null,
            };
            lock(&self.zookeeper).members.insert(document.id.clone(), document);
        } else if what == 1 {
            self.tms[t].step(link::Event::Tick, now);
        } else if let Some((attempt, address)) = self.tms[t].connecting.take() {
            let event = match self.connect(t, attempt, &address) {
                Some(epoch) => link::Event::Connected(attempt, epoch),
                None => link::Event::Closed(attempt),
            };
            self.tms[t].step(event, now);
        }
        self.post();
    }

    /// As a JobManager's port greets.
    fn connect(&mut self, t: usize, attempt: u64, address: &str) -> Option<u64> {
        let tm = &self.tms[t];
        let cut = self.is_cut(address, &tm.me.id);
        let jm = self.jms.iter_mut().find(|jm| jm.id == address).filter(|_| !cut)?;
        let epoch = jm.shell.simulated().greets().filter(|epoch| *epoch >= tm.link.epoch())?;
        NOW.set(Some(jm.here.now_ms()));
        let (connection, to_tm) = Connection::simulated();
        let number = jm.shell.simulated().connected(epoch, tm.me.id.clone(), connection.clone())?;
        self.wires.push(Wire {
            jm: jm.id.clone(),
            tm: tm.me.id.clone(),
            attempt,
            number,
            epoch,
            connection,
            to_tm,
            to_jm: VecDeque::new(),
            tm_open: true,
            jm_open: true,
            broken: false,
        });
        Some(epoch)
    }

    /// What is dead is found to be so: by ZooKeeper, or by a leader.
    fn bury(&mut self) {
        if self.dead.is_empty() {
            return;
        }
        let dead = self.dead[self.random.below(self.dead.len())].clone();
        if self.random.below(2) == 0 {
            lock(&self.zookeeper).members.remove(&dead);
            return;
        }
        for jm in &self.jms {
            if let Some(office) = &jm.office {
                jm.events.send(Event::Dead(office.epoch, dead.clone())).expect("it lives");
            }
        }
    }

    fn fault(&mut self, j: usize, t: usize) {
        match self.random.below(9) {
            0 => {
                let new = self.job_manager();
                self.say(|| format!("{} is dead, {} comes", self.jms[j].id, new.id));
                self.jms[j] = new;
            }
            1 => {
                let new = self.task_manager();
                let old = std::mem::replace(&mut self.tms[t], new);
                self.say(|| format!("{} is dead, {} comes", old.me.id, self.tms[t].me.id));
                self.dead.push(old.me.id);
            }
            2 | 3 => {
                if let Some(w) = self.wire() {
                    let wire = &mut self.wires[w];
                    wire.broken = true;
                    let what = format!("the connection of {} and {} breaks", wire.jm, wire.tm);
                    self.say(|| what);
                }
            }
            4 | 5 => {
                let pair = (self.jms[j].id.clone(), self.tms[t].me.id.clone());
                if self.random.below(2) == 0 {
                    self.say(|| format!("{} and {} are cut off", pair.0, pair.1));
                    self.cuts.push(pair);
                } else {
                    self.cuts.clear();
                }
            }
            6 => {
                let jm = &mut self.jms[j];
                jm.reachable = !jm.reachable;
                let what = format!("{} reaches ZooKeeper: {}", jm.id, jm.reachable);
                self.say(|| what);
            }
            7 => {
                self.jms[j].session = false;
                self.say(|| format!("the session of {} expires", self.jms[j].id));
                self.elect(false);
            }
            _ if self.random.below(2) == 0 => self.elect(true),
            _ => {
                lock(&self.zookeeper).members.remove(&self.tms[t].me.id);
            }
        }
    }

    /// Goes on without faults until all is committed.
    pub(super) fn settle(&mut self) {
        self.say(|| "the faults stop".into());
        self.cuts.clear();
        self.jms.iter_mut().for_each(|jm| jm.reachable = true);
        for _ in 0..PATIENCE {
            self.step(false);
            if lock(&self.job.ledger).numbers.len() as u64 == ALL {
                return;
            }
        }
        let committed = lock(&self.job.ledger).numbers.len();
        for jm in &mut self.jms {
            println!(
                "{}: {}; {} masters",
                jm.id,
                jm.shell.simulated().describe(),
                lock(&jm.here.masters).len()
            );
        }
        panic!("{committed} of {ALL} numbers are committed, and no more: {:?}", self.outcome());
    }

    /// Epochs, the latest checkpoint, and attempts.
    pub(super) fn outcome(&self) -> [u64; 3] {
        let zookeeper = lock(&self.zookeeper);
        let attempts = zookeeper.job.assignment.as_ref().map_or(0, |assignment| {
            let regions = assignment.value.regions.iter();
            regions.map(|region| u64::from(region.attempt) + 1).max().unwrap_or(0)
        });
        [zookeeper.leader.epoch, zookeeper.pointer(), attempts]
    }
}

/// Writes a checkpoint, unless that waits for the end of the process or of the master.
fn write(master: &SteppedMaster) {
    if let Err(reason) = catch_unwind(AssertUnwindSafe(|| master.do_chore()))
        && !reason.is::<Blocked>()
    {
        resume_unwind(reason);
    }
}
