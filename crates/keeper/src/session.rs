//! Sessions: who has one, and which have been silent for too long.
//!
//! Sessions expire by ticks, as in ZooKeeper's `ExpiryQueue`: a session's deadline is rounded up to the next tick, so that a touch moves
//! it between buckets at most once a tick, and one look at the clock finds all that are due. A session that is closing can do nothing
//! any more; it is removed when its `closeSession` is applied.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::proto::Code;
use crate::watch::ConnectionId;

/// A session.
#[derive(Debug, Clone)]
pub struct Session {
    /// The timeout granted, in ms.
    pub timeout_ms: i32,
    /// The connection that speaks for it.
    pub owner: Option<ConnectionId>,
    /// Whether its `closeSession` is on the way.
    pub closing: bool,
    deadline_ms: i64,
}

/// All sessions. Times are of a monotonic clock, in ms.
#[derive(Debug)]
pub struct Sessions {
    sessions: HashMap<i64, Session>,
    buckets: BTreeMap<i64, HashSet<i64>>,
    tick_ms: i64,
    next_id: i64,
}

impl Sessions {
    /// No sessions yet. `now_wall_ms` (since 1970) and the server's id make the ids of sessions unique over servers and restarts.
    pub fn new(tick_ms: i64, server_id: i64, now_wall_ms: i64) -> Self {
        let next_id = (((now_wall_ms as u64) << 24) >> 8) as i64 | (server_id << 56);
        Sessions { sessions: HashMap::new(), buckets: BTreeMap::new(), tick_ms: tick_ms.max(1), next_id }
    }

    /// A new session's id.
    pub fn next_id(&mut self) -> i64 {
        loop {
            let id = self.next_id;
            self.next_id = self.next_id.wrapping_add(1);
            // 0 and the container's mark are no sessions.
            if !matches!(id, 0 | i64::MIN) && !self.sessions.contains_key(&id) {
                return id;
            }
        }
    }

    /// Follows a session from now on: a new one, or one that a snapshot or log holds.
    pub fn track(&mut self, id: i64, timeout_ms: i32, now_ms: i64) {
        self.sessions.entry(id).or_insert(Session {
            timeout_ms,
            owner: None,
            closing: false,
            deadline_ms: i64::MIN,
        });
        self.touch(id, now_ms);
    }

    /// The session was heard of. Whether it is there and not closing.
    pub fn touch(&mut self, id: i64, now_ms: i64) -> bool {
        let Some(session) = self.sessions.get_mut(&id).filter(|session| !session.closing) else {
            return false;
        };
        let deadline_ms = ((now_ms + i64::from(session.timeout_ms)) / self.tick_ms + 1) * self.tick_ms;
        if deadline_ms != session.deadline_ms {
            remove_from(&mut self.buckets, session.deadline_ms, id);
            session.deadline_ms = deadline_ms;
            self.buckets.entry(deadline_ms).or_default().insert(id);
        }
        true
    }

    /// Whether `connection` may act for the session.
    pub fn check(&mut self, id: i64, connection: ConnectionId) -> Result<(), Code> {
        match self.sessions.get(&id) {
            None => Err(Code::SessionExpired),
            Some(session) if session.closing => Err(Code::SessionExpired),
            Some(session) if session.owner.is_some_and(|owner| owner != connection) => {
                Err(Code::SessionMoved)
            }
            Some(_) => Ok(()),
        }
    }

    /// The session, if there is one.
    pub fn get(&self, id: i64) -> Option<&Session> {
        self.sessions.get(&id)
    }

    /// Attaches the session to a connection (or none), with a timeout that may be new. Returns the connection that it had.
    pub fn attach(
        &mut self,
        id: i64,
        connection: Option<ConnectionId>,
        timeout_ms: i32,
    ) -> Option<ConnectionId> {
        let session = self.sessions.get_mut(&id)?;
        session.timeout_ms = timeout_ms;
        std::mem::replace(&mut session.owner, connection)
    }

    /// The connection of the session is gone.
    pub fn detach(&mut self, id: i64, connection: ConnectionId) {
        if let Some(session) = self.sessions.get_mut(&id).filter(|session| session.owner == Some(connection))
        {
            session.owner = None;
        }
    }

    /// The session's end is on the way.
    pub fn set_closing(&mut self, id: i64) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.closing = true;
        }
    }

    /// No session is closing any more, and each has a whole timeout from now on.
    pub fn reopen_all(&mut self, now_ms: i64) {
        let ids: Vec<i64> = self.sessions.keys().copied().collect();
        for id in ids {
            if let Some(session) = self.sessions.get_mut(&id) {
                session.closing = false;
            }
            self.touch(id, now_ms);
        }
    }

    /// The session is no more.
    pub fn remove(&mut self, id: i64) -> Option<Session> {
        let session = self.sessions.remove(&id)?;
        remove_from(&mut self.buckets, session.deadline_ms, id);
        Some(session)
    }

    /// The sessions whose time is over, now closing; sorted.
    pub fn expire(&mut self, now_ms: i64) -> Vec<i64> {
        let mut expired = Vec::new();
        while let Some(bucket) = self.buckets.first_entry().filter(|bucket| *bucket.key() <= now_ms) {
            for id in bucket.remove() {
                if let Some(session) = self.sessions.get_mut(&id).filter(|session| !session.closing) {
                    session.closing = true;
                    expired.push(id);
                }
            }
        }
        expired.sort_unstable();
        expired
    }

    /// When the next session may expire.
    pub fn next_deadline_ms(&self) -> Option<i64> {
        self.buckets.keys().next().copied()
    }

    /// Number of sessions.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// All sessions' ids, unsorted.
    pub fn iter(&self) -> impl Iterator<Item = (i64, &Session)> {
        self.sessions.iter().map(|(id, session)| (*id, session))
    }

    /// Deadlines and the sessions that have them, as `dump` shows them.
    pub fn deadlines(&self) -> impl Iterator<Item = (i64, Vec<i64>)> {
        self.buckets.iter().map(|(deadline_ms, ids)| {
            let mut ids: Vec<i64> = ids.iter().copied().collect();
            ids.sort_unstable();
            (*deadline_ms, ids)
        })
    }
}

fn remove_from(buckets: &mut BTreeMap<i64, HashSet<i64>>, deadline_ms: i64, id: i64) {
    if let Some(bucket) = buckets.get_mut(&deadline_ms) {
        bucket.remove(&id);
        if bucket.is_empty() {
            buckets.remove(&deadline_ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_expires_a_session_at_a_tick() {
        let mut sessions = Sessions::new(1000, 0, 5);
        let (a, b) = (sessions.next_id(), sessions.next_id());
        sessions.track(a, 4000, 0);
        sessions.track(b, 4000, 0);
        assert!(sessions.touch(b, 1500));
        assert_eq!(sessions.next_deadline_ms(), Some(5000));
        assert_eq!(sessions.expire(4999), [0; 0]);
        assert_eq!(sessions.expire(5000), [a]);
        assert!(!sessions.touch(a, 5000), "a closing session is not revived");
        assert_eq!(sessions.check(a, 1), Err(Code::SessionExpired));
        sessions.remove(a);
        assert_eq!(sessions.expire(6000), [b]);
    }

    #[test]
    fn only_the_owning_connection_acts_for_a_session() {
        let mut sessions = Sessions::new(1000, 3, 5);
        let id = sessions.next_id();
        assert_eq!(id >> 56, 3);
        sessions.track(id, 4000, 0);
        assert_eq!(sessions.attach(id, Some(1), 4000), None);
        assert_eq!(sessions.check(id, 2), Err(Code::SessionMoved));
        assert_eq!(sessions.attach(id, Some(2), 4000), Some(1));
        sessions.detach(id, 1);
        assert_eq!((sessions.check(id, 2), sessions.check(id, 1)), (Ok(()), Err(Code::SessionMoved)));
    }
}
