//! To whom a TaskManager listens: a pure state machine.
//!
//! Invariants: it listens to the leader of the highest epoch that it has heard of, and to nobody of a lower one. While it hears of no
//! leader its tasks go on. Only when it has had neither a leader nor ZooKeeper for the grace period do its sources pause, until it has
//! either again.

use std::time::Duration;

/// Milliseconds of a clock that does not go back.
pub(crate) type Millis = u64;

/// The longest pause between two attempts to reach a leader.
const MAX_PAUSE_MS: u64 = 500;

/// The first.
const FIRST_PAUSE_MS: u64 = 10;

/// What a TaskManager learns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// ZooKeeper says who leads.
    Leader {
        /// Since which epoch.
        epoch: u64,
        /// Where.
        address: String,
    },
    /// The attempt with this number reached a leader of this epoch.
    Connected(u64, u64),
    /// The attempt failed, or the connection that it made has broken.
    Closed(u64),
    /// Whether there is a connection to ZooKeeper.
    ZooKeeper(bool),
    /// Time has passed.
    Tick,
}

/// What it does then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Try to reach the leader.
    Connect {
        /// Number of the attempt.
        attempt: u64,
        /// Where.
        address: String,
    },
    /// Close the connection of the attempt with this number, if there is one.
    Disconnect(u64),
    /// Tell the leader who is here, and what runs here.
    Register,
    /// The leader is gone: nothing waits for it.
    LeaderLost,
    /// Stop reading from the outside, or go on.
    Pause(bool),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing is tried before this time.
    Waiting(Millis),
    Connecting,
    Connected(u64),
}

/// The state machine.
#[derive(Debug)]
pub(crate) struct Link {
    grace: u64,
    epoch: u64,
    address: Option<String>,
    state: State,
    attempt: u64,
    failures: u32,
    zookeeper: bool,
    /// Since when there has been neither leader nor ZooKeeper.
    alone_since: Option<Millis>,
    paused: bool,
}

impl Link {
    /// Knows of no leader yet.
    pub(crate) fn new(grace: Duration, now: Millis) -> Self {
        Self {
            grace: u64::try_from(grace.as_millis()).unwrap_or(u64::MAX),
            epoch: 0,
            address: None,
            state: State::Waiting(0),
            attempt: 0,
            failures: 0,
            zookeeper: false,
            alone_since: Some(now),
            paused: false,
        }
    }

    /// The highest epoch that was heard of.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Number of the last attempt.
    pub(crate) fn attempt(&self) -> u64 {
        self.attempt
    }

    /// Whether what comes by the connection of `attempt` in this epoch is to be done.
    pub(crate) fn obeys(&self, attempt: u64, epoch: u64) -> bool {
        attempt == self.attempt && self.state == State::Connected(epoch) && epoch == self.epoch
    }

    /// Whether there is a leader to report to.
    pub(crate) fn is_connected(&self) -> bool {
        matches!(self.state, State::Connected(_))
    }

    /// When something is due.
    pub(crate) fn next_tick(&self) -> Option<Millis> {
        let connect = match self.state {
            State::Waiting(due) if self.address.is_some() => Some(due),
            _ => None,
        };
        let pause = self.alone_since.filter(|_| !self.paused).map(|since| since.saturating_add(self.grace));
        connect.into_iter().chain(pause).min()
    }

    /// Takes a step.
    pub(crate) fn step(&mut self, event: Event, now: Millis) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Leader { epoch, address } => {
                let new = epoch > self.epoch || self.address.is_none() && epoch == self.epoch;
                if new {
                    self.epoch = epoch;
                    self.address = Some(address);
                    // One that has reached the new leader already, through an address that it had before.
                    if self.state != State::Connected(epoch) {
                        self.disconnect(&mut effects);
                        self.failures = 0;
                        self.state = State::Waiting(now);
                    }
                }
            }
            Event::Connected(attempt, epoch)
                if attempt == self.attempt && self.state == State::Connecting =>
            {
                if epoch < self.epoch {
                    effects.push(Effect::Disconnect(attempt));
                    self.wait(now);
                } else {
                    self.epoch = epoch;
                    self.failures = 0;
                    self.state = State::Connected(epoch);
                    effects.push(Effect::Register);
                }
            }
            Event::Closed(attempt) if attempt == self.attempt => {
                if self.is_connected() {
                    effects.push(Effect::LeaderLost);
                }
                self.wait(now);
            }
            Event::Connected(attempt, _) => effects.push(Effect::Disconnect(attempt)),
            Event::ZooKeeper(connected) => self.zookeeper = connected,
            Event::Closed(_) | Event::Tick => {}
        }
        if let (State::Waiting(due), Some(address)) = (self.state, &self.address)
            && due <= now
        {
            self.attempt += 1;
            self.state = State::Connecting;
            effects.push(Effect::Connect { attempt: self.attempt, address: address.clone() });
        }
        self.pause(now, &mut effects);
        effects
    }

    fn disconnect(&mut self, effects: &mut Vec<Effect>) {
        match self.state {
            State::Waiting(_) => return,
            State::Connecting => {}
            State::Connected(_) => effects.push(Effect::LeaderLost),
        }
        effects.push(Effect::Disconnect(self.attempt));
    }

    /// The first attempt is made at once, then pauses double.
    fn wait(&mut self, now: Millis) {
        let pause = match self.failures {
            0 => 0,
            failures => (FIRST_PAUSE_MS << failures.min(10)).min(MAX_PAUSE_MS),
        };
        self.failures += 1;
        self.state = State::Waiting(now + pause);
    }

    fn pause(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        if self.zookeeper || self.is_connected() {
            self.alone_since = None;
        } else {
            self.alone_since.get_or_insert(now);
        }
        let pause = self.alone_since.is_some_and(|since| now >= since.saturating_add(self.grace));
        if std::mem::replace(&mut self.paused, pause) != pause {
            effects.push(Effect::Pause(pause));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> Link {
        Link::new(Duration::from_secs(60), 0)
    }

    fn leader(epoch: u64, address: &str) -> Event {
        Event::Leader { epoch, address: address.into() }
    }

    fn connect(attempt: u64, address: &str) -> Effect {
        Effect::Connect { attempt, address: address.into() }
    }

    #[test]
    fn it_registers_with_the_leader_and_comes_back_at_once() {
        let mut link = link();
        assert_eq!(link.step(leader(1, "a"), 0), [connect(1, "a")]);
        assert_eq!(link.step(Event::Connected(1, 1), 5), [Effect::Register]);
        assert!(link.obeys(1, 1) && !link.obeys(1, 0) && !link.obeys(0, 1));
        assert_eq!(link.step(Event::Closed(1), 10), [Effect::LeaderLost, connect(2, "a")]);
        assert!(!link.obeys(1, 1));
        assert_eq!(link.step(Event::Closed(2), 11), [], "then it waits");
        assert_eq!(link.next_tick(), Some(31));
        assert_eq!(link.step(Event::Tick, 31), [connect(3, "a")]);
        assert_eq!(link.step(Event::Closed(1), 32), [], "that one is long gone");
    }

    #[test]
    fn a_higher_epoch_replaces_the_leader_and_a_lower_one_is_refused() {
        let mut link = link();
        link.step(leader(2, "a"), 0);
        link.step(Event::Connected(1, 2), 0);
        assert_eq!(link.step(leader(1, "z"), 1), []);
        let replaced = link.step(leader(3, "b"), 2);
        assert_eq!(replaced, [Effect::LeaderLost, Effect::Disconnect(1), connect(2, "b")]);
        assert_eq!(link.step(Event::Closed(1), 3), [], "the old connection is nobody's loss");
        // Who answers there has not heard that it leads no more.
        assert_eq!(link.step(Event::Connected(2, 2), 4), [Effect::Disconnect(2), connect(3, "b")]);
        assert!(!link.obeys(2, 2));
        assert_eq!(link.step(Event::Connected(3, 3), 5), [Effect::Register]);
        assert_eq!(link.step(leader(3, "b"), 6), []);
    }

    #[test]
    fn sources_pause_when_it_has_been_alone_for_the_grace_period() {
        let mut link = link();
        assert_eq!(link.next_tick(), Some(60_000));
        link.step(Event::ZooKeeper(true), 10);
        assert_eq!((link.next_tick(), link.step(Event::Tick, 100_000)), (None, vec![]));
        link.step(leader(1, "a"), 100_000);
        link.step(Event::Connected(1, 1), 100_000);
        assert_eq!(link.step(Event::ZooKeeper(false), 100_001), [], "the leader is enough");
        link.step(Event::Closed(1), 200_000);
        link.step(Event::Closed(2), 200_000);
        assert_eq!(link.step(Event::Tick, 259_999).last(), Some(&connect(3, "a")));
        assert_eq!(link.step(Event::Tick, 260_000), [Effect::Pause(true)]);
        assert_eq!(link.step(Event::Tick, 270_000), []);
        assert_eq!(link.step(Event::ZooKeeper(true), 270_001), [Effect::Pause(false)]);
    }
}
