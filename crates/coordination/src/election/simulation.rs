//! Candidates at a small model of ZooKeeper, under faults that a seed decides: requests and answers that come late or never, lost
//! connections, sessions that expire whether their client is connected or not, crashes, leaders deposed though they live.
//!
//! What must hold: only the leader that `leader/epoch` names gets a guarded write through; epochs only grow; nobody takes the place of a
//! leader whose latch node is there, unless told to depose it; and when the faults stop, one candidate leads, all know it, and each has
//! one latch node.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::LeaderDocument;
use super::core::{Action, Candidate, Event, Look, Standing};

const CANDIDATES: usize = 3;
const SEEDS: u64 = 5_000;
const STEPS: usize = 600;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

#[derive(Debug, Clone)]
enum Request {
    ReadEpoch,
    ReadLatches {
        document: LeaderDocument,
        version: i32,
    },
    Do(Action),
    /// A guarded write of the leader of this epoch.
    Write {
        leader: String,
        epoch: u64,
        version: i32,
    },
}

#[derive(Debug, Clone)]
enum Answer {
    Epoch(LeaderDocument, i32),
    Latches(Look),
    Done,
    Watch,
}

/// What ZooKeeper holds.
#[derive(Default)]
struct Server {
    document: LeaderDocument,
    version: i32,
    latches: BTreeMap<String, u64>,
    sequence: u64,
    sessions: BTreeSet<u64>,
    last_session: u64,
    deposed: BTreeSet<String>,
    accepted: usize,
}

impl Server {
    fn new_session(&mut self) -> u64 {
        self.last_session += 1;
        self.sessions.insert(self.last_session);
        self.last_session
    }

    /// Does a request of `session`; gives the answer, and the names of the znodes that have changed.
    fn apply(&mut self, session: u64, request: Request) -> (Option<Answer>, Vec<String>) {
        let mut changed = Vec::new();
        if !self.sessions.contains(&session) {
            return (None, changed);
        }
        let answer = match request {
            Request::ReadEpoch => Answer::Epoch(self.document.clone(), self.version),
            Request::ReadLatches { document, version } => {
                let latches = self.latches.keys().cloned().collect();
                Answer::Latches(Look { document: Some(document), version, latches })
            }
            Request::Do(Action::Look) => unreachable!("a look is two requests"),
            Request::Do(Action::Join(prefix)) => {
                let name = format!("{prefix}{:010}", self.sequence);
                self.sequence += 1;
                self.latches.insert(name.clone(), session);
                changed.push(name);
                Answer::Done
            }
            Request::Do(Action::Remove(name)) => {
                self.latches.remove(&name);
                changed.push(name);
                Answer::Done
            }
            Request::Do(Action::Take(take)) => {
                let there = |name: &String| self.latches.contains_key(name);
                let possible = there(&take.document.latch)
                    && take.delete.as_ref().is_none_or(there)
                    && take.version == self.version;
                if possible {
                    assert!(take.document.epoch > self.document.epoch, "the epoch goes back");
                    let old = &self.document;
                    assert!(
                        !self.latches.contains_key(&old.latch)
                            || old.leader == take.document.leader
                            || (self.deposed.contains(&old.leader)
                                && take.delete.as_ref() == Some(&old.latch)),
                        "a leader that is there is put aside"
                    );
                    if let Some(name) = take.delete {
                        self.latches.remove(&name);
                        changed.push(name);
                    }
                    self.document = take.document;
                    self.version += 1;
                    changed.push("epoch".to_owned());
                }
                Answer::Done
            }
            Request::Write { leader, epoch, version } => {
                if version == self.version {
                    let by = (&leader, epoch);
                    assert_eq!(by, (&self.document.leader, self.document.epoch), "two leaders write");
                    self.accepted += 1;
                }
                Answer::Done
            }
        };
        (Some(answer), changed)
    }

    fn expire(&mut self, session: u64) -> Vec<String> {
        self.sessions.remove(&session);
        let gone = self.latches.iter().filter(|(_, owner)| **owner == session).map(|(name, _)| name.clone());
        let gone: Vec<String> = gone.collect();
        self.latches.retain(|_, owner| *owner != session);
        gone
    }
}

struct Client {
    id: String,
    core: Candidate,
    session: u64,
    generation: u64,
    connected: bool,
    requests: VecDeque<Request>,
    answers: VecDeque<Answer>,
    watched: Option<String>,
}

impl Client {
    fn new(incarnation: usize, session: u64) -> Self {
        let id = format!("jm-{incarnation}");
        let about = LeaderDocument { leader: id.clone(), ..LeaderDocument::default() };
        Self {
            core: Candidate::new(about, format!("guid{incarnation}")),
            id,
            session,
            generation: 1,
            connected: false,
            requests: VecDeque::new(),
            answers: VecDeque::new(),
            watched: None,
        }
    }

    fn step(&mut self, event: Event) {
        match self.core.step(event) {
            Some(Action::Look) => self.requests.push_back(Request::ReadEpoch),
            Some(action) => self.requests.push_back(Request::Do(action)),
            None => {}
        }
        let watched = self.core.watched().map(str::to_owned);
        if watched != self.watched {
            self.watched = watched;
            // A watch says so when it is set.
            if self.watched.is_some() && self.connected {
                self.answers.push_back(Answer::Watch);
            }
        }
        assert!(
            self.connected || !matches!(self.core.standing(), Standing::Leading(_)),
            "leads without a connection"
        );
    }

    fn disconnect(&mut self) {
        if !self.connected {
            return;
        }
        self.connected = false;
        self.answers.clear();
        self.step(Event::Suspended);
        // Whatever was on its way has an unknown outcome; requests may still arrive.
        self.step(Event::Acted);
    }
}

struct World {
    random: Random,
    server: Server,
    clients: Vec<Client>,
    incarnations: usize,
    /// Requests of processes and connections that are gone, which may still arrive.
    stray: Vec<(u64, Request)>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut server = Server::default();
        let clients = (0..CANDIDATES).map(|n| Client::new(n, server.new_session())).collect();
        Self { random: Random(seed), server, clients, incarnations: CANDIDATES, stray: Vec::new() }
    }

    fn notify(&mut self, changed: &[String]) {
        for client in self.clients.iter_mut().filter(|client| client.connected) {
            if changed.iter().any(|name| name == "epoch" || Some(name) == client.watched.as_ref()) {
                client.answers.push_back(Answer::Watch);
            }
        }
    }

    fn arrive(&mut self, n: usize) {
        let client = &mut self.clients[n];
        let Some(request) = client.requests.pop_front() else { return };
        let (answer, changed) = self.server.apply(client.session, request);
        if client.connected {
            client.answers.extend(answer);
        }
        self.notify(&changed);
    }

    fn answer(&mut self, n: usize) {
        let client = &mut self.clients[n];
        let Some(answer) = client.answers.pop_front() else { return };
        match answer {
            Answer::Epoch(document, version) => {
                client.requests.push_back(Request::ReadLatches { document, version });
            }
            Answer::Latches(look) => client.step(Event::Looked(look)),
            Answer::Done => client.step(Event::Acted),
            Answer::Watch => client.step(Event::Changed),
        }
    }

    fn connect(&mut self, n: usize) {
        let client = &mut self.clients[n];
        if client.connected {
            return;
        }
        // What the old connection has sent arrives before the new one is taken up, or never.
        if let Some(request) = client.requests.pop_front() {
            let session = client.session;
            if self.random.below(2) == 0 {
                let (_, changed) = self.server.apply(session, request);
                self.notify(&changed);
            }
            return;
        }
        if !self.server.sessions.contains(&client.session) {
            client.step(Event::Lost);
            client.session = self.server.new_session();
            client.generation += 1;
        }
        client.connected = true;
        client.step(Event::Connected(client.generation));
    }

    fn fault(&mut self, n: usize) {
        match self.random.below(5) {
            0 => self.clients[n].disconnect(),
            1 => {
                self.clients[n].disconnect();
                let gone = self.server.expire(self.clients[n].session);
                self.notify(&gone);
            }
            2 => {
                let old = std::mem::replace(
                    &mut self.clients[n],
                    Client::new(self.incarnations, self.server.new_session()),
                );
                self.incarnations += 1;
                self.stray.extend(old.requests.into_iter().map(|request| (old.session, request)));
                if self.random.below(2) == 0 {
                    let gone = self.server.expire(old.session);
                    self.notify(&gone);
                }
            }
            3 => {
                let leader = self.server.document.leader.clone();
                self.server.deposed.insert(leader.clone());
                self.clients[n].step(Event::Depose(leader));
            }
            _ => {
                if let Some((session, request)) = self.stray.pop() {
                    let (_, changed) = self.server.apply(session, request);
                    self.notify(&changed);
                }
            }
        }
    }

    fn write(&mut self, n: usize) {
        let client = &mut self.clients[n];
        // One that is suspended does not write; that it has not noticed yet is covered by late requests.
        if let Standing::Leading(held) = client.core.standing() {
            let (epoch, version) = (held.document.epoch, held.version);
            let stray = Request::Write { leader: client.id.clone(), epoch, version };
            self.stray.push((client.session, stray));
        }
    }

    fn run(&mut self) {
        for _ in 0..STEPS {
            let n = self.random.below(CANDIDATES);
            match self.random.below(24) {
                0 => self.fault(n),
                1..=4 => self.connect(n),
                5..=12 => self.arrive(n),
                13..=20 => self.answer(n),
                21 | 22 => self.write(n),
                _ => {
                    if !self.stray.is_empty() {
                        let at = self.random.below(self.stray.len());
                        let (session, request) = self.stray.swap_remove(at);
                        let (_, changed) = self.server.apply(session, request);
                        self.notify(&changed);
                    }
                }
            }
        }
    }

    /// Without faults, until nothing happens any more.
    fn settle(&mut self) {
        self.stray.clear();
        let mine: BTreeSet<u64> = self.clients.iter().map(|client| client.session).collect();
        for session in self.server.sessions.clone().difference(&mine) {
            let gone = self.server.expire(*session);
            self.notify(&gone);
        }
        for _ in 0..200 {
            for n in 0..CANDIDATES {
                self.connect(n);
                self.arrive(n);
                self.answer(n);
            }
        }
        let busy = self.clients.iter().filter(|c| !c.requests.is_empty() || !c.answers.is_empty()).count();
        assert_eq!(busy, 0, "the candidates do not come to rest");
    }

    fn check(&self) {
        let leaders: Vec<&Client> =
            self.clients.iter().filter(|c| matches!(c.core.standing(), Standing::Leading(_))).collect();
        let ids: Vec<&str> = leaders.iter().map(|client| client.id.as_str()).collect();
        assert_eq!(ids, [self.server.document.leader.as_str()], "one leads, and that is known");
        if let Standing::Leading(held) = leaders[0].core.standing() {
            assert_eq!((held.version, held.document), (self.server.version, self.server.document.clone()));
        }
        assert_eq!(
            self.server.latches.len(),
            CANDIDATES,
            "each has one latch node: {:?}",
            self.server.latches
        );
    }
}

fn simulate(seed: u64) -> (u64, usize) {
    let mut world = World::new(seed);
    world.run();
    world.settle();
    world.check();
    (world.server.document.epoch, world.server.accepted)
}

#[test]
fn never_two_leaders_and_always_one_in_the_end() {
    let (mut epochs, mut accepted) = (0, 0);
    for seed in 0..SEEDS {
        let outcome = std::panic::catch_unwind(|| simulate(seed));
        let Ok((epoch, writes)) = outcome else { panic!("seed {seed} fails; run `simulate({seed})`") };
        epochs += epoch;
        accepted += writes;
    }
    // The faults do what they are for, and so do the candidates.
    assert!(epochs > 3 * SEEDS, "{epochs} epochs");
    assert!(accepted > SEEDS as usize, "{accepted} writes");
}
