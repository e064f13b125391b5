//! A candidate's election as a pure state machine. It goes by levels, not edges: after whatever it has done or heard it looks again,
//! and what it sees decides what is next. So an answer that was lost needs no care of its own.
//!
//! Invariant: a candidate leads while `leader/epoch` holds its own document at the version at which it took office. Office is
//! taken by one transaction that checks the candidate's latch node and replaces the document at the version that was seen.
//!
//! The office is vacant when the latch node that the document names is gone; then the candidate with the lowest latch node takes it. A
//! candidate that knows the leader to be dead does not wait for that: it fences the leader off and deletes its latch node.
//!
//! A candidate's latch node carries a prefix that is its own and its session's, so that it finds the node again when the answer to
//! its creation was lost, and never takes a node of an older session for its own.

use super::LeaderDocument;

/// What a candidate learns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// There is a connection; the number is one higher with each new session.
    Connected(u64),
    /// There is none; the session may go on.
    Suspended,
    /// The session is gone.
    Lost,
    /// What was to be seen.
    Looked(Look),
    /// What was to be done is over, or a look has failed; nothing is known of how it went.
    Acted,
    /// Something may have changed.
    Changed,
    /// The leader with this id is known to be dead.
    Depose(String),
}

/// What a candidate sees. The epoch must have been read before the latch nodes: so a leader that came between them is not taken for
/// one that is gone, since the version is not the one seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Look {
    /// The content of `leader/epoch`; none if it is spoilt.
    pub(super) document: Option<LeaderDocument>,
    /// Its version.
    pub(super) version: i32,
    /// The names of the latch nodes.
    pub(super) latches: Vec<String>,
}

/// What a candidate does. One at a time: the next event of [`Event::Looked`] or [`Event::Acted`] says that it is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// Look.
    Look,
    /// Create a latch node, ephemeral and sequential, whose name begins with this.
    Join(String),
    /// Delete a latch node: one too many.
    Remove(String),
    /// Take office.
    Take(Take),
}

/// The transaction that takes office.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Take {
    /// The document; its latch node must be there.
    pub(super) document: LeaderDocument,
    /// The version of `leader/epoch` that it replaces.
    pub(super) version: i32,
    /// The latch node of the leader that is deposed.
    pub(super) delete: Option<String>,
}

/// Where a candidate stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// Somebody else leads, or nobody.
    Standby,
    /// It leads.
    Leading(Held),
    /// It leads, as far as it knows, and has no connection; nothing is to be written.
    Suspended(Held),
}

/// An office.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) document: LeaderDocument,
    /// The version of `leader/epoch` while it lasts.
    pub(super) version: i32,
}

/// What a candidate is.
#[derive(Debug)]
pub(super) struct Candidate {
    /// Its document, but for epoch and latch.
    about: LeaderDocument,
    /// Beginning of the names of its latch nodes, over all its sessions.
    guid: String,
    /// The session, unless it is lost.
    session: Option<u64>,
    connected: bool,
    /// Whether an action is on its way.
    busy: bool,
    /// Whether that was begun on the connection that there is.
    fresh: bool,
    /// Whether to look again once it is over.
    stale: bool,
    held: Option<Held>,
    /// Whether what is held was seen since the connection was made.
    confirmed: bool,
    /// The highest epoch that it has seen.
    highest: u64,
    depose: Option<String>,
    /// The latch node whose end matters to it.
    watched: Option<String>,
}

impl Candidate {
    /// The candidate that `about` describes. `guid` must be of no other.
    pub(super) fn new(about: LeaderDocument, guid: String) -> Self {
        Self {
            about,
            guid,
            session: None,
            connected: false,
            busy: false,
            fresh: false,
            stale: false,
            held: None,
            confirmed: false,
            highest: 0,
            depose: None,
            watched: None,
        }
    }

    /// Where it stands.
    pub(super) fn standing(&self) -> Standing {
        match &self.held {
            None => Standing::Standby,
            Some(held) if self.connected && self.confirmed => Standing::Leading(held.clone()),
            Some(held) => Standing::Suspended(held.clone()),
        }
    }

    /// The latch node to watch besides `leader/epoch`.
    pub(super) fn watched(&self) -> Option<&str> {
        self.watched.as_deref()
    }

    /// Takes an event; gives what to do.
    pub(super) fn step(&mut self, event: Event) -> Option<Action> {
        match event {
            Event::Connected(session) => {
                if self.session != Some(session) {
                    self.revoke();
                    self.session = Some(session);
                }
                self.connected = true;
                self.confirmed = false;
                self.fresh = false;
                self.stale = true;
            }
            Event::Suspended => self.connected = false,
            Event::Lost => {
                self.connected = false;
                self.revoke();
            }
            Event::Looked(look) => {
                self.busy = false;
                let action = self.looked(&look);
                if action.is_some() && self.connected {
                    self.busy = true;
                    return action;
                }
            }
            Event::Acted => {
                self.busy = false;
                self.stale = true;
            }
            Event::Changed => self.stale = true,
            Event::Depose(leader) => {
                self.depose = Some(leader);
                self.stale = true;
            }
        }
        if self.busy || !self.stale || !self.connected {
            return None;
        }
        self.busy = true;
        self.fresh = true;
        self.stale = false;
        Some(Action::Look)
    }

    fn revoke(&mut self) {
        self.session = None;
        self.held = None;
        self.watched = None;
    }

    fn looked(&mut self, look: &Look) -> Option<Action> {
        let prefix = format!("{}-{}-", self.guid, self.session?);
        let document = look.document.clone().unwrap_or_default();
        self.highest = self.highest.max(document.epoch);
        let is_own = document.leader == self.about.leader && document.latch.starts_with(&prefix);
        self.held = self
            .held
            .take()
            .or_else(|| is_own.then(|| Held { document: document.clone(), version: look.version }));
        self.held.take_if(|held| !is_own || held.version != look.version);
        self.confirmed |= self.connected && self.fresh;

        let mut latches: Vec<&str> = look.latches.iter().map(String::as_str).collect();
        latches.sort_unstable_by_key(|name| (sequence(name), *name));
        let mut own: Vec<&str> = latches.iter().copied().filter(|name| name.starts_with(&prefix)).collect();
        // Of several, the one that leads is kept.
        own.sort_by_key(|name| *name != document.latch);
        let Some(latch) = own.first().copied() else { return Some(Action::Join(prefix)) };
        if let Some(extra) = own.get(1) {
            return Some(Action::Remove((*extra).to_owned()));
        }
        if !self.stale {
            self.depose.take_if(|leader| *leader != document.leader || is_own);
        }
        if self.held.is_some() {
            self.watched = None;
            return None;
        }
        let incumbent = latches.iter().copied().find(|name| *name == document.latch && !is_own);
        let predecessor = latches.iter().copied().take_while(|name| *name != latch).last();
        let deposes = self.depose.as_ref().is_some_and(|leader| *leader == document.leader);
        // Its own document at another version: somebody has edited it, and nobody else will take office.
        if deposes || is_own || (incumbent.is_none() && predecessor.is_none()) {
            // Each office is one more version, so that a spoilt document does not make the epoch go back.
            let seen = self.highest.max(u64::try_from(look.version).unwrap_or(0));
            let about = self.about.clone();
            return Some(Action::Take(Take {
                document: LeaderDocument { epoch: seen + 1, latch: latch.to_owned(), ..about },
                version: look.version,
                delete: incumbent.map(str::to_owned),
            }));
        }
        self.watched = predecessor.or(incumbent).map(str::to_owned);
        None
    }
}

/// The number that ZooKeeper has put at the end of a latch node's name; names without one come last.
fn sequence(name: &str) -> u64 {
    name.rsplit_once('-').and_then(|(_, number)| number.parse().ok()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "own-1-0000000002";

    fn about(leader: &str) -> LeaderDocument {
        LeaderDocument { leader: leader.into(), rpc_address: "a:1".into(), ..LeaderDocument::default() }
    }

    fn office(leader: &str, epoch: u64, latch: &str) -> LeaderDocument {
        LeaderDocument { epoch, latch: latch.into(), ..about(leader) }
    }

    fn looked(document: LeaderDocument, version: i32, latches: &[&str]) -> Event {
        let latches = latches.iter().map(|name| (*name).to_owned()).collect();
        Event::Looked(Look { document: Some(document), version, latches })
    }

    /// One that is connected, has a latch node, and is looking.
    fn candidate() -> Candidate {
        let mut candidate = Candidate::new(about("me"), "own".into());
        assert_eq!(candidate.step(Event::Connected(1)), Some(Action::Look));
        candidate
    }

    /// One that leads in epoch 8, since version 8.
    fn leader() -> Candidate {
        let mut candidate = candidate();
        assert_eq!(candidate.step(looked(office("me", 8, OWN), 8, &[OWN])), None);
        assert_eq!(candidate.standing(), leading(8));
        candidate
    }

    fn leading(version: i32) -> Standing {
        Standing::Leading(Held { document: office("me", 8, OWN), version })
    }

    #[test]
    fn it_joins_and_takes_a_vacant_office() {
        let mut candidate = candidate();
        let vacant = LeaderDocument::default();
        assert_eq!(candidate.step(looked(vacant.clone(), 0, &[])), Some(Action::Join("own-1-".into())));
        assert_eq!(candidate.step(Event::Changed), None, "one thing at a time");
        assert_eq!(candidate.step(Event::Acted), Some(Action::Look));
        let take = Take { document: office("me", 1, OWN), version: 0, delete: None };
        assert_eq!(candidate.step(looked(vacant, 0, &[OWN])), Some(Action::Take(take)));
        assert_eq!(candidate.step(Event::Acted), Some(Action::Look));
        assert_eq!(candidate.step(looked(office("me", 1, OWN), 1, &[OWN])), None);
        let held = Held { document: office("me", 1, OWN), version: 1 };
        assert_eq!(candidate.standing(), Standing::Leading(held));
    }

    #[test]
    fn a_latch_node_too_many_is_removed() {
        let mut candidate = candidate();
        let late = "own-1-0000000009";
        let seen = looked(office("a", 7, "a-1-0000000001"), 7, &[late, "a-1-0000000001", OWN]);
        assert_eq!(candidate.step(seen), Some(Action::Remove(late.into())));
    }

    #[test]
    fn the_last_before_it_is_watched_and_one_in_office_behind_it_as_well() {
        let (a, b) = ("a-1-0000000001", "b-1-0000000003");
        let mut behind = candidate();
        assert_eq!(behind.step(looked(office("a", 7, a), 7, &[b, OWN, a])), None);
        assert_eq!(behind.watched(), Some(a));
        let mut before = candidate();
        assert_eq!(before.step(looked(office("b", 7, b), 7, &[b, OWN])), None, "b has deposed somebody");
        assert_eq!(before.watched(), Some(b));
        assert_eq!(before.step(Event::Changed), Some(Action::Look));
        assert!(matches!(before.step(looked(office("b", 7, b), 7, &[OWN])), Some(Action::Take(_))));
    }

    #[test]
    fn suspended_is_not_lost() {
        let mut leader = leader();
        leader.step(Event::Suspended);
        let Standing::Suspended(held) = leader.standing() else { panic!("{:?}", leader.standing()) };
        assert_eq!(Standing::Leading(held), leading(8));
        assert_eq!(leader.step(Event::Connected(1)), Some(Action::Look));
        assert!(matches!(leader.standing(), Standing::Suspended(_)), "not before it has looked");
        leader.step(looked(office("me", 8, OWN), 8, &[OWN]));
        assert_eq!(leader.standing(), leading(8));
    }

    #[test]
    fn a_look_of_before_the_connection_does_not_resume() {
        let mut leader = leader();
        assert_eq!(leader.step(Event::Changed), Some(Action::Look));
        leader.step(Event::Suspended);
        assert_eq!(leader.step(Event::Connected(1)), None, "it looks already");
        assert_eq!(leader.step(looked(office("me", 8, OWN), 8, &[OWN])), Some(Action::Look));
        assert!(matches!(leader.standing(), Standing::Suspended(_)));
        leader.step(looked(office("me", 8, OWN), 8, &[OWN]));
        assert_eq!(leader.standing(), leading(8));
    }

    #[test]
    fn a_lost_session_revokes_and_it_rejoins_under_another_name() {
        let mut leader = leader();
        leader.step(Event::Lost);
        assert_eq!(leader.standing(), Standing::Standby);
        assert_eq!(leader.step(Event::Connected(2)), Some(Action::Look));
        let join = Some(Action::Join("own-2-".into()));
        assert_eq!(leader.step(looked(office("me", 8, OWN), 8, &[OWN])), join);
        assert_eq!(leader.standing(), Standing::Standby);
    }

    #[test]
    fn a_look_of_the_lost_session_grants_nothing() {
        let mut candidate = candidate();
        candidate.step(Event::Lost);
        assert_eq!(candidate.step(looked(office("me", 8, OWN), 8, &[OWN])), None);
        assert_eq!(candidate.standing(), Standing::Standby);
    }

    #[test]
    fn another_leader_revokes() {
        let mut leader = leader();
        leader.step(Event::Changed);
        let join = Some(Action::Join("own-1-".into()));
        assert_eq!(leader.step(looked(office("b", 9, "b-1-0000000003"), 9, &["b-1-0000000003"])), join);
        assert_eq!(leader.standing(), Standing::Standby);
    }

    #[test]
    fn a_dead_leader_is_deposed_and_only_that_one() {
        let (a, b) = ("a-1-0000000001", "b-1-0000000003");
        let mut candidate = candidate();
        candidate.step(looked(office("a", 7, a), 7, &[a, OWN]));
        assert_eq!(candidate.step(Event::Depose("a".into())), Some(Action::Look));
        let take = Take { document: office("me", 8, OWN), version: 7, delete: Some(a.into()) };
        assert_eq!(candidate.step(looked(office("a", 7, a), 7, &[a, OWN])), Some(Action::Take(take)));
        candidate.step(Event::Acted);
        assert_eq!(candidate.step(looked(office("b", 8, b), 8, &[b, OWN])), None, "another was faster");
        candidate.step(Event::Changed);
        assert_eq!(candidate.step(looked(office("a", 9, a), 9, &[a, OWN])), None, "and that is over");
    }

    #[test]
    fn a_spoilt_document_is_replaced_and_the_epoch_goes_on() {
        let mut leader = leader();
        leader.step(Event::Changed);
        let spoilt = Look { document: None, version: 9, latches: vec![OWN.into()] };
        let Some(Action::Take(take)) = leader.step(Event::Looked(spoilt)) else { panic!("takes office") };
        assert_eq!((take.document.epoch, take.version), (10, 9));
        assert_eq!(leader.standing(), Standing::Standby, "its writes would not get through");
    }

    #[test]
    fn its_own_document_at_another_version_is_no_office() {
        let mut leader = leader();
        leader.step(Event::Changed);
        let action = leader.step(looked(office("me", 8, OWN), 9, &["a-1-0000000001", OWN]));
        assert!(matches!(action, Some(Action::Take(take)) if take.version == 9 && take.document.epoch == 10));
    }
}
