//! Sessions that end: closed ones take their ephemerals with them for good, silent ones when their time is over and not before. Those
//! that live are there again after the server died.
//!
//! One thread ([`close`]) opens and closes sessions as fast as it can, so that the server dies in the middle of that; another
//! ([`fall_silent`]) has clients go away without a word.

use std::time::{Duration, Instant};

use streamkeeper_keeper::acl::OPEN_ACL_UNSAFE;
use streamkeeper_keeper::client::{Client, Create, Session, create_request};
use streamkeeper_keeper::proto::Request;

use super::random::Random;
use super::world::{Stop, World, client_options, wrong};

/// The sessions' ephemerals are below this one; it must be there.
pub(crate) const BASE: &str = "/sessions";
/// Ephemerals of each session.
const EPHEMERALS: usize = 3;
/// Silent sessions at a time.
const SILENT: usize = 3;
/// Of sessions that do not expire in a run.
const LONG: Duration = Duration::from_secs(40);
/// A silent session must have expired so long after its timeout. (Timeouts are rounded up to ticks, and are two of them at least.)
const LATE: Duration = Duration::from_secs(6);

/// What was seen of sessions.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Seen {
    /// Sessions that ended, and were found to be gone after the server died.
    pub(crate) ended: u64,
    /// Sessions whose `closeSession` was not answered, and those of them that went on.
    pub(crate) close_unanswered: u64,
    pub(crate) close_lost: u64,
    /// Silent sessions that were gone when their time was over.
    pub(crate) expired: u64,
    /// Silent sessions that were there again after the server died.
    pub(crate) survived: u64,
    /// Of these, those to which a client came back.
    pub(crate) reattached: u64,
}

/// A session whose client went away without a word.
struct Silent {
    session: Session,
    name: String,
    timeout: Duration,
    /// When the server heard of it last: not before and not after.
    heard: (Instant, Instant),
    /// It may have expired before the server died.
    may_be_gone: bool,
    gone: bool,
    life: usize,
}

/// A session that has ended: its name, and the number of the server that ended it.
struct Ended(Session, String, usize);

struct Sessions<'a> {
    world: &'a World,
    random: Random,
    /// Looks at what is there.
    watcher: Client,
    life: usize,
    /// Begins the names of the ephemerals.
    prefix: &'static str,
    next_name: u64,
    /// The life in which a client came back to a silent session last.
    came_back_in: usize,
    silent: Vec<Silent>,
    ended: Vec<Ended>,
    seen: Seen,
}

/// Opens and closes sessions until the end.
pub(crate) fn close(world: &World) -> Result<Seen, Stop> {
    Sessions::new(world, "c")?.run(|sessions| {
        sessions.open_and_close()?;
        sessions.look_at_ended()
    })
}

/// Opens sessions and lets them fall silent until the end.
pub(crate) fn fall_silent(world: &World) -> Result<Seen, Stop> {
    Sessions::new(world, "s")?.run(|sessions| {
        if sessions.silent.len() < SILENT {
            sessions.open_and_fall_silent()?;
        }
        sessions.look_at_silent()?;
        sessions.look_at_ended()?;
        if sessions.came_back_in < sessions.life {
            sessions.came_back_in = sessions.life;
            sessions.come_back()?;
        }
        sessions.world.pause(Duration::from_millis(10));
        Ok(())
    })
}

impl<'a> Sessions<'a> {
    fn new(world: &'a World, prefix: &'static str) -> Result<Self, Stop> {
        let (watcher, life) = world.connect(None, &client_options(LONG, None, 0))?;
        let random = Random::of_parts(world.seed, 2000);
        let (silent, ended, seen) = Default::default();
        Ok(Sessions {
            world,
            random,
            watcher,
            life,
            prefix,
            next_name: 0,
            came_back_in: 0,
            silent,
            ended,
            seen,
        })
    }

    fn run(mut self, turn: impl Fn(&mut Self) -> Result<(), Stop>) -> Result<Seen, Stop> {
        while !self.world.is_over() {
            if self.life < self.world.life() {
                self.reconnect()?;
            }
            // The watcher's own session must not fall silent.
            match self.watcher.ping().map_err(Stop::from).and_then(|()| turn(&mut self)) {
                Err(Stop::Lost) => self.reconnect()?,
                result => result?,
            }
        }
        Ok(self.seen)
    }

    /// The watcher's connection is lost: goes on with its session.
    fn reconnect(&mut self) -> Result<(), Stop> {
        let options = client_options(LONG, Some(self.watcher.session().clone()), self.watcher.last_zxid());
        (self.watcher, self.life) = self.world.connect(Some(self.life), &options)?;
        Ok(())
    }

    /// Opens a session with its ephemerals. `None` if the server died meanwhile: such a session is forgotten.
    fn open(&mut self, timeout: Duration) -> Result<Option<(Client, String, usize)>, Stop> {
        let (mut client, life) =
            self.world.connect(None, &client_options(timeout, None, self.watcher.last_zxid()))?;
        self.next_name += 1;
        let name = format!("{}{}-", self.prefix, self.next_name);
        match create_ephemerals(&mut client, &name) {
            Err(Stop::Lost) => Ok(None),
            result => result.map(|()| Some((client, name, life))),
        }
    }

    fn open_and_close(&mut self) -> Result<(), Stop> {
        let Some((mut client, name, life)) = self.open(LONG)? else { return Ok(()) };
        let session = client.session().clone();
        match client.request(&Request::CloseSession).map_err(Stop::from) {
            Ok(_) => {
                self.ended.push(Ended(session, name, life));
                return Ok(());
            }
            Err(Stop::Lost) => {}
            Err(stop) => return Err(stop),
        }
        // It is closed or it is not, with all that belongs to it.
        self.seen.close_unanswered += 1;
        let there =
            self.world.connect_if_there(Some(life), &client_options(LONG, Some(session.clone()), 0))?;
        let count = loop {
            match self.count(&name) {
                Err(Stop::Lost) => self.reconnect()?,
                count => break count?,
            }
        };
        if count != if there.is_some() { EPHEMERALS } else { 0 } {
            return wrong(format!(
                "session 0x{:x} was closed without an answer; that it is there now is {}, with {count} of {EPHEMERALS} ephemerals",
                session.id,
                there.is_some(),
            ));
        }
        if let Some((mut client, _)) = there {
            self.seen.close_lost += 1;
            client.request(&Request::CloseSession)?;
        }
        Ok(())
    }

    fn open_and_fall_silent(&mut self) -> Result<(), Stop> {
        // The shortest timeout that there is.
        let Some((mut client, name, life)) = self.open(Duration::from_millis(1))? else { return Ok(()) };
        let (timeout, before) = (client.session_timeout(), Instant::now());
        client.ping()?;
        let session = client.abandon();
        let heard = (before, Instant::now());
        self.silent.push(Silent { session, name, timeout, heard, may_be_gone: false, gone: false, life });
        Ok(())
    }

    /// How many ephemerals of a session there are.
    fn count(&mut self, name: &str) -> Result<usize, Stop> {
        self.watcher.sync(BASE)?;
        let children = self.watcher.get_children(BASE, false)?;
        Ok(children.iter().filter(|child| child.starts_with(name)).count())
    }

    /// What has ended is looked at once more after the server died. Only the last few before that: there may be thousands.
    fn look_at_ended(&mut self) -> Result<(), Stop> {
        let life = self.life;
        if self.ended.last().is_none_or(|Ended(_, _, ended_in)| *ended_in >= life) {
            let excess = self.ended.len().saturating_sub(5);
            self.ended.drain(..excess);
            return Ok(());
        }
        for Ended(session, name, ended_in) in std::mem::take(&mut self.ended) {
            let options = client_options(LONG, Some(session), 0);
            if self.count(&name)? > 0 || self.world.connect_if_there(None, &options)?.is_some() {
                return wrong(format!("session {name} ended in life {ended_in} and is there in {life}"));
            }
            self.seen.ended += 1;
        }
        Ok(())
    }

    fn look_at_silent(&mut self) -> Result<(), Stop> {
        for at in 0..self.silent.len() {
            let survived = self.silent[at].go_on(self.life, self.world);
            let name = self.silent[at].name.clone();
            let before = Instant::now();
            let count = self.count(&name)?;
            let seen = self.silent[at].judge(count, before, Instant::now())?;
            self.seen.survived += u64::from(survived && count > 0);
            if seen {
                let session = Some(self.silent[at].session.clone());
                let options = client_options(LONG, session, 0);
                if self.world.connect_if_there(None, &options)?.is_some() {
                    return wrong(format!("session {name} is there, and its ephemerals have gone"));
                }
                self.seen.expired += 1;
                self.world.expired();
            }
        }
        let life = self.life;
        let gone = self.silent.iter().filter(|silent| silent.gone);
        self.ended.extend(gone.map(|silent| Ended(silent.session.clone(), silent.name.clone(), life)));
        self.silent.retain(|silent| !silent.gone);
        Ok(())
    }

    /// A client comes back to a silent session.
    fn come_back(&mut self) -> Result<(), Stop> {
        if self.silent.is_empty() {
            return Ok(());
        }
        let at = self.random.below(self.silent.len());
        let options = client_options(Duration::from_millis(1), Some(self.silent[at].session.clone()), 0);
        let before = Instant::now();
        let there = self.world.connect_if_there(None, &options)?;
        let silent = &mut self.silent[at];
        match there {
            Some((client, life)) => {
                silent.go_on(life, self.world);
                silent.heard = (before.max(silent.heard.0), Instant::now());
                silent.may_be_gone = false;
                client.abandon();
                self.seen.reattached += 1;
            }
            None => {
                silent.go_on(self.world.life(), self.world);
                silent.judge(0, before, Instant::now())?;
                silent.gone = false;
                silent.may_be_gone = true;
            }
        }
        Ok(())
    }
}

impl Silent {
    /// Whether other servers than before may have heard of it, up to number `life`.
    fn go_on(&mut self, life: usize, world: &World) -> bool {
        let survived = self.life < life;
        while self.life < life {
            let Some(died) = world.death_of(self.life) else { break };
            self.may_be_gone |= died.saturating_duration_since(self.heard.0) >= self.timeout;
            // The next server gives it a whole timeout, from its start on.
            self.heard = (died, Instant::now());
            self.life += 1;
        }
        survived
    }

    /// Judges what was seen between two moments. Whether it was gone.
    fn judge(&mut self, count: usize, before: Instant, after: Instant) -> Result<bool, Stop> {
        let Silent { session: Session { id, .. }, timeout, heard, .. } = self;
        match count {
            EPHEMERALS if before > heard.1 + *timeout * 2 + LATE => {
                wrong(format!("session 0x{id:x} with timeout {timeout:?} does not expire"))
            }
            EPHEMERALS => {
                self.may_be_gone = false;
                Ok(false)
            }
            0 if self.may_be_gone || after >= heard.0 + *timeout => {
                self.gone = true;
                Ok(true)
            }
            0 => wrong(format!(
                "session 0x{id:x} with timeout {timeout:?} is gone {:?} after it was heard of",
                after - heard.0
            )),
            count => wrong(format!("of session 0x{id:x} there are {count} of {EPHEMERALS} ephemerals")),
        }
    }
}

fn create_ephemerals(client: &mut Client, name: &str) -> Result<(), Stop> {
    for at in 0..EPHEMERALS {
        let path = format!("{BASE}/{name}{at}");
        client.send(&create_request(&path, None, OPEN_ACL_UNSAFE.clone(), Create::Ephemeral, false))?;
    }
    for at in 0..EPHEMERALS {
        let reply = client.receive()?;
        if reply.err != 0 {
            return wrong(format!("{BASE}/{name}{at} cannot be created: error {}", reply.err));
        }
    }
    Ok(())
}
