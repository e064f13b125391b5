//! What the server must hold after each of its transactions.

use std::collections::{BTreeMap, BTreeSet};

use streamkeeper_keeper::tree::Tree;

use crate::driver::model::{Model, Write};

/// What a transaction does.
#[derive(Debug, Clone)]
pub(crate) enum Effect {
    /// A znode for clients' own ones.
    Base(String),
    Open {
        client: usize,
        session: i64,
    },
    /// Takes the session's ephemerals with it.
    Close {
        client: usize,
        session: i64,
    },
    Write {
        client: usize,
        write: Write,
    },
}

/// All that the server holds, as far as clients can tell.
#[derive(Debug, Clone, Default)]
pub(crate) struct Expected {
    /// Each session's client.
    pub(crate) sessions: BTreeMap<i64, usize>,
    /// Each client's znodes.
    pub(crate) models: Vec<Model>,
    bases: BTreeSet<String>,
}

/// All transactions that were proposed, with their zxids.
#[derive(Debug, Clone, Default)]
pub(crate) struct Oracle {
    transactions: Vec<(i64, Effect)>,
    /// As it will be when all of them are applied.
    pub(crate) ahead: Expected,
    /// The newest transaction that a client was told of.
    pub(crate) answered: i64,
}

impl Oracle {
    pub(crate) fn new(models: Vec<Model>) -> Self {
        Oracle { ahead: Expected { models, ..Expected::default() }, ..Oracle::default() }
    }

    pub(crate) fn propose(&mut self, zxid: i64, effect: Effect) {
        self.ahead.apply(zxid, &effect);
        self.transactions.push((zxid, effect));
    }

    /// A client was told of this transaction.
    pub(crate) fn answered(&mut self, zxid: i64) {
        self.answered = self.answered.max(zxid);
    }

    pub(crate) fn proposed(&self) -> i64 {
        self.transactions.last().map_or(0, |(zxid, _)| *zxid)
    }

    /// The transactions after this one have never been.
    pub(crate) fn cut(&mut self, zxid: i64) {
        self.transactions.retain(|(proposed, _)| *proposed <= zxid);
        let bases = self.ahead.models.iter().map(|model| Model::new(model.base.clone()));
        self.ahead = Expected { models: bases.collect(), ..Expected::default() };
        for (zxid, effect) in &self.transactions {
            self.ahead.apply(*zxid, effect);
        }
    }
}

impl Expected {
    fn apply(&mut self, zxid: i64, effect: &Effect) {
        match effect {
            Effect::Base(path) => drop(self.bases.insert(path.clone())),
            Effect::Open { client, session } => drop(self.sessions.insert(*session, *client)),
            Effect::Close { client, session } => {
                self.sessions.remove(session);
                self.models[*client].nodes.retain(|_, node| !node.ephemeral);
            }
            Effect::Write { client, write } => drop(self.models[*client].apply(write, zxid)),
        }
    }

    /// Whether this is what was recovered.
    pub(crate) fn compare(&self, tree: &Tree, sessions: &BTreeMap<i64, i32>) -> Result<(), String> {
        if !self.sessions.keys().eq(sessions.keys()) {
            return Err(format!("there are the sessions {sessions:?} and not {:?}", self.sessions));
        }
        let mut due: BTreeSet<&str> = self.bases.iter().map(String::as_str).collect();
        for (client, model) in self.models.iter().enumerate() {
            let created = tree.get(&model.base).map_or(0, |base| base.stat_persisted().cversion);
            if created != model.created {
                return Err(format!("{}: {created} were created and not {}", model.base, model.created));
            }
            for (path, node) in &model.nodes {
                due.insert(path);
                let Some(found) = tree.get(path) else { return Err(format!("{path} is not there")) };
                let stat = found.stat();
                let owner = self.sessions.get(&stat.ephemeral_owner).copied();
                let same = found.data() == Some(&*node.data)
                    && stat.version == node.version
                    && stat.mzxid == node.mzxid
                    && if node.ephemeral { owner == Some(client) } else { stat.ephemeral_owner == 0 };
                if !same {
                    return Err(format!("{path} is {stat:?}, and should be {node:?}"));
                }
            }
        }
        let nodes = tree.get("/").into_iter().flat_map(|root| root.subtree()).map(|node| node.path());
        let more = |path: &&str| !due.contains(path) && *path != "/" && !path.starts_with("/zookeeper");
        nodes.into_iter().find(more).map_or(Ok(()), |path| Err(format!("{path} should not be there")))
    }
}
