//! What a handle knows of its session, and what follows from what it learns: a pure state machine.
//!
//! Only the server's answer to an attempt to take the session up again ends it. That the client gives up is no such answer.

use std::time::Duration;

use zookeeper_client::SessionState;

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// There is no connection. The session may go on, and its ephemeral znodes with it. Also before the first session.
    Suspended,
    /// A server answers.
    Connected,
    /// The server has said that the session is gone, and its ephemeral znodes with it.
    Lost,
    /// The handle is of no more use: it was closed, or the credentials were refused.
    Closed,
}

/// What a handle knows of its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Where the session stands.
    pub state: State,
    /// How many sessions the handle has had; 0 before the first. A higher one means that the ephemeral znodes of the one before are
    /// gone.
    pub generation: u64,
    /// How often a connection was made, over all sessions.
    pub connections: u64,
    /// The session's id, 0 before the first: `ephemeralOwner` of its ephemeral znodes.
    pub session_id: i64,
}

/// What a session's keeper learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// A server took up the session with this id, new or not.
    Attached(i64),
    /// No server could be reached, or none answered.
    Unreachable,
    /// A server answered that the session is gone.
    Expired,
    /// A server does not take the credentials.
    Refused,
    /// What the client says of its session.
    Client(SessionState),
    /// The handle is being closed.
    Closing,
}

/// What a session's keeper does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Follow the client's states.
    Follow,
    /// Try, after a pause, to take up the session.
    Attach(Duration),
    /// Begin a new session.
    Begin,
    /// Nothing more.
    End,
}

/// The state machine.
#[derive(Debug)]
pub(crate) struct Machine {
    status: Status,
    renew: bool,
    failures: u32,
    max_backoff: Duration,
}

impl Machine {
    pub(crate) fn new(renew: bool, max_backoff: Duration) -> Self {
        let status = Status { state: State::Suspended, generation: 0, connections: 0, session_id: 0 };
        Self { status, renew, failures: 0, max_backoff }
    }

    pub(crate) fn status(&self) -> Status {
        self.status
    }

    /// Attempts in vain since the last connection.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    pub(crate) fn step(&mut self, event: Event) -> Next {
        match event {
            Event::Attached(session_id) => {
                if session_id != self.status.session_id {
                    self.status.session_id = session_id;
                    self.status.generation += 1;
                }
                self.connected()
            }
            Event::Client(SessionState::SyncConnected | SessionState::ConnectedReadOnly) => self.connected(),
            Event::Client(SessionState::Disconnected) => {
                self.status.state = State::Suspended;
                Next::Follow
            }
            // Its own word: the server has to say so.
            Event::Client(SessionState::Expired | SessionState::Closed) => {
                self.status.state = State::Suspended;
                Next::Attach(Duration::ZERO)
            }
            Event::Unreachable => {
                self.failures = self.failures.saturating_add(1);
                Next::Attach(self.pause())
            }
            Event::Expired => {
                self.status.state = State::Lost;
                if self.renew { Next::Begin } else { Next::End }
            }
            Event::Client(SessionState::AuthFailed) | Event::Refused | Event::Closing => {
                self.status.state = State::Closed;
                Next::End
            }
        }
    }

    fn connected(&mut self) -> Next {
        self.failures = 0;
        self.status.state = State::Connected;
        self.status.connections += 1;
        Next::Follow
    }

    /// A twentieth of the longest pause, then twice as long after each failure.
    fn pause(&self) -> Duration {
        let first = self.max_backoff / 20;
        first.saturating_mul(1 << (self.failures.saturating_sub(1)).min(10)).min(self.max_backoff)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine::new(true, Duration::from_secs(2))
    }

    #[test]
    fn only_the_servers_word_ends_a_session() {
        let mut machine = machine();
        assert_eq!(machine.step(Event::Attached(7)), Next::Follow);
        assert_eq!(machine.step(Event::Client(SessionState::Disconnected)), Next::Follow);
        assert_eq!(machine.status().state, State::Suspended);
        assert_eq!(machine.step(Event::Client(SessionState::Expired)), Next::Attach(Duration::ZERO));
        assert_eq!(machine.status().state, State::Suspended);
        assert_eq!(machine.step(Event::Attached(7)), Next::Follow);
        let status = machine.status();
        assert_eq!((status.state, status.generation, status.connections), (State::Connected, 1, 2));
        assert_eq!(machine.step(Event::Expired), Next::Begin);
        assert_eq!(machine.status().state, State::Lost);
        machine.step(Event::Attached(8));
        assert_eq!((machine.status().generation, machine.status().session_id), (2, 8));
    }

    #[test]
    fn without_renewal_a_lost_session_is_the_end() {
        let mut machine = Machine::new(false, Duration::from_secs(1));
        machine.step(Event::Attached(7));
        assert_eq!(machine.step(Event::Expired), Next::End);
        assert_eq!(machine.status().state, State::Lost);
    }

    #[test]
    fn pauses_double_up_to_a_bound_and_begin_anew_after_a_connection() {
        let mut machine = machine();
        let pauses: Vec<_> = (0..7).map(|_| machine.step(Event::Unreachable)).collect();
        let expected = [100, 200, 400, 800, 1600, 2000, 2000];
        assert_eq!(pauses, expected.map(|ms| Next::Attach(Duration::from_millis(ms))));
        machine.step(Event::Attached(1));
        assert_eq!(machine.step(Event::Unreachable), Next::Attach(Duration::from_millis(100)));
    }

    #[test]
    fn refused_credentials_end_it() {
        let mut machine = machine();
        assert_eq!(machine.step(Event::Refused), Next::End);
        assert_eq!(machine.status().state, State::Closed);
    }
}
