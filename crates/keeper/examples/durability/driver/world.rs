//! What all threads share: where the server is, when it died, and what was seen of its zxids.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use streamkeeper_keeper::client::{Client, Error, Options, Session};

/// Why a thread's work is interrupted.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The connection is lost.
    Lost,
    /// Something is not as it must be.
    Wrong(String),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        match error {
            Error::Closed | Error::Io(_) => Stop::Lost,
            error => Stop::Wrong(error.to_string()),
        }
    }
}

/// A finding that ends the run.
pub(crate) fn wrong<T>(what: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Wrong(what.into()))
}

#[derive(Debug, Default)]
struct State {
    /// When each server so far was dead.
    deaths: Vec<Instant>,
    over: bool,
    /// How many sessions expired as they should.
    expired: u64,
    /// Zxids of answered writes.
    zxids: HashSet<i64>,
    newest_zxid: i64,
}

/// See the module's page.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) address: String,
    pub(crate) seed: u64,
    pub(crate) began: Instant,
    /// A server must be back in this time.
    back_within: Duration,
    state: Mutex<State>,
    changed: Condvar,
}

impl World {
    pub(crate) fn new(address: String, seed: u64, back_within: Duration) -> Self {
        let (state, changed) = Default::default();
        World { address, seed, began: Instant::now(), back_within, state, changed }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server is dead, and the next one is not started yet.
    pub(crate) fn died(&self) {
        self.lock().deaths.push(Instant::now());
        self.changed.notify_all();
    }

    /// The number of the server that runs, from 0 on.
    pub(crate) fn life(&self) -> usize {
        self.lock().deaths.len()
    }

    /// When server number `life` was dead.
    pub(crate) fn death_of(&self, life: usize) -> Option<Instant> {
        self.lock().deaths.get(life).copied()
    }

    /// All threads come to their end.
    pub(crate) fn end(&self) {
        self.lock().over = true;
        self.changed.notify_all();
    }

    pub(crate) fn is_over(&self) -> bool {
        self.lock().over
    }

    /// Waits so long, or until the end.
    pub(crate) fn pause(&self, at_most: Duration) {
        let until = Instant::now() + at_most;
        let mut state = self.lock();
        while !state.over {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Connects, for a new session or one that must be there, to whatever server runs; hands back the server's number. `lost`: the number
    /// of the server to which there was a connection that is lost, which must be because it died.
    pub(crate) fn connect(&self, lost: Option<usize>, options: &Options) -> Result<(Client, usize), Stop> {
        let id = options.session.as_ref().map_or(0, |session| session.id);
        match self.connect_if_there(lost, options)? {
            Some(connected) => Ok(connected),
            None => wrong(format!("the server does not know session 0x{id:x}")),
        }
    }

    /// As [`World::connect`], and `None` if the server does not know the session.
    pub(crate) fn connect_if_there(
        &self,
        lost: Option<usize>,
        options: &Options,
    ) -> Result<Option<(Client, usize)>, Stop> {
        let deadline = Instant::now() + self.back_within;
        while let Some(lost) = lost {
            if self.death_of(lost).is_some() {
                break;
            }
            if Instant::now() > deadline {
                return wrong("the server closed a connection, and was not killed");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        loop {
            let before = self.life();
            let failure = match Client::connect_with(&self.address, options.clone()) {
                Ok(client) => {
                    if let Some(Session { id, passwd }) = &options.session
                        && (client.session().id != *id || client.session().passwd != *passwd)
                    {
                        return wrong(format!("session 0x{id:x} came back as another"));
                    }
                    if self.life() == before {
                        return Ok(Some((client, before)));
                    }
                    continue;
                }
                Err(Error::SessionExpired) => return Ok(None),
                Err(error) => error,
            };
            if Instant::now() > deadline {
                return wrong(format!("cannot connect for {:?}: {failure}", self.back_within));
            }
            std::thread::sleep(Duration::from_millis(3));
        }
    }

    /// A session that fell silent has expired.
    pub(crate) fn expired(&self) {
        self.lock().expired += 1;
    }

    /// How many did so far.
    pub(crate) fn expired_so_far(&self) -> u64 {
        self.lock().expired
    }

    /// The newest zxid seen anywhere: every write that is asked from now on must get a newer one.
    pub(crate) fn newest_zxid(&self) -> i64 {
        self.lock().newest_zxid
    }

    /// A zxid was seen.
    pub(crate) fn saw_zxid(&self, zxid: i64) {
        let mut state = self.lock();
        state.newest_zxid = state.newest_zxid.max(zxid);
    }

    /// A write was answered. `newest_before`: the newest zxid that had been seen when it was asked.
    pub(crate) fn wrote(&self, zxid: i64, newest_before: i64) -> Result<(), Stop> {
        if zxid <= newest_before {
            return wrong(format!("a write got zxid 0x{zxid:x}, and 0x{newest_before:x} was seen before it"));
        }
        let mut state = self.lock();
        state.newest_zxid = state.newest_zxid.max(zxid);
        match state.zxids.insert(zxid) {
            true => Ok(()),
            false => wrong(format!("two writes got zxid 0x{zxid:x}")),
        }
    }
}

/// Options of a client that sends its own pings.
pub(crate) fn client_options(timeout: Duration, session: Option<Session>, last_zxid_seen: i64) -> Options {
    Options { timeout, session, last_zxid_seen, keep_alive: false, ..Options::default() }
}
