//! Connections that must have come further by some time: those without a session, and those that close but do not take what is on its way
//! to them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::watch::ConnectionId;

/// How long a closing connection may take what is on its way to it.
const CLOSING_TIME: Duration = Duration::from_secs(10);
/// After how long accepting clients is tried again, when the system had refused it.
pub(super) const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// See the module's page.
#[derive(Debug)]
pub(super) struct Deadlines {
    /// How long a connection may stay without a session.
    sessionless_time: Duration,
    sessionless: VecDeque<(Instant, ConnectionId)>,
    closing: VecDeque<(Instant, ConnectionId)>,
}

impl Deadlines {
    pub(super) fn new(sessionless_time: Duration) -> Self {
        Deadlines { sessionless_time, sessionless: VecDeque::new(), closing: VecDeque::new() }
    }

    /// A connection is new. Zero means that it has all the time that it wants.
    pub(super) fn opened(&mut self, id: ConnectionId) {
        if !self.sessionless_time.is_zero() {
            self.sessionless.push_back((Instant::now() + self.sessionless_time, id));
        }
    }

    /// A connection closes when what is on its way to it has gone.
    pub(super) fn closing(&mut self, id: ConnectionId) {
        self.closing.push_back((Instant::now() + CLOSING_TIME, id));
    }

    /// The next connection that should have a session by now.
    pub(super) fn next_sessionless(&mut self, now: Instant) -> Option<ConnectionId> {
        pop_due(&mut self.sessionless, now)
    }

    /// The next connection that should be closed by now.
    pub(super) fn next_closing(&mut self, now: Instant) -> Option<ConnectionId> {
        pop_due(&mut self.closing, now)
    }

    /// When there is something to do.
    pub(super) fn next(&self) -> Option<Instant> {
        let first = |queue: &VecDeque<(Instant, ConnectionId)>| queue.front().map(|(due, _)| *due);
        first(&self.sessionless).into_iter().chain(first(&self.closing)).min()
    }
}

fn pop_due(queue: &mut VecDeque<(Instant, ConnectionId)>, now: Instant) -> Option<ConnectionId> {
    let due = queue.front().is_some_and(|(due, _)| *due <= now);
    due.then(|| queue.pop_front()).flatten().map(|(_, id)| id)
}
