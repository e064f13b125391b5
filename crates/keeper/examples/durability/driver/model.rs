//! What one writer's znodes are by what it wrote, and what each of its writes must be answered.
//!
//! A writer has a znode of its own and nobody else writes below it, so that everything about it is known beforehand: the answers, and,
//! when the server died with some writes unanswered, all states that it may be found in. One session's writes take effect in order; so
//! these are the answered writes and any number of the others, from the first on.

use std::collections::BTreeMap;
use std::sync::Arc;

use streamkeeper_keeper::acl::OPEN_ACL_UNSAFE;
use streamkeeper_keeper::client::{Answer, Create, Reply, create_request};
use streamkeeper_keeper::proto::{Code, Request, op};

use super::random::Random;

/// Names below the writer's znode; those with an `e` are ephemerals.
const NAMES: [&str; 6] = ["a", "b", "e0", "c", "e1", "d"];

/// A write below the writer's own znode.
#[derive(Debug, Clone)]
pub(crate) enum Write {
    Create(String, Arc<[u8]>, Create),
    Set(String, Arc<[u8]>, i32),
    Delete(String, i32),
    Check(String, i32),
    Multi(Vec<Write>),
}

/// The answer to a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Created(String),
    Version(i32),
    Done,
    Refused(i32),
    Parts(Vec<Outcome>),
}

/// A znode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) data: Arc<[u8]>,
    pub(crate) version: i32,
    pub(crate) ephemeral: bool,
    /// The transaction that changed it last; 0: not known.
    pub(crate) mzxid: i64,
}

/// A writer's znodes, by path.
#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    pub(crate) base: String,
    /// How many children were ever created: the next number of a sequential one.
    pub(crate) created: i32,
    pub(crate) nodes: BTreeMap<String, Node>,
}

impl Write {
    /// The request.
    pub(crate) fn request(&self) -> Request<'_> {
        match self {
            Write::Create(path, data, kind) => {
                create_request(path, Some(data), OPEN_ACL_UNSAFE.clone(), *kind, false)
            }
            Write::Set(path, data, version) => {
                Request::SetData { path: path.into(), data: Some(data), version: *version }
            }
            Write::Delete(path, version) => Request::Delete { path: path.into(), version: *version },
            Write::Check(path, version) => Request::Check { path: path.into(), version: *version },
            Write::Multi(parts) => Request::Multi(parts.iter().map(Write::request).collect()),
        }
    }

    /// In few words.
    pub(crate) fn describe(&self) -> String {
        match self {
            Write::Create(path, data, kind) => format!("create {path} {kind:?} ({} bytes)", data.len()),
            Write::Set(path, data, version) => format!("set {path} v{version} ({} bytes)", data.len()),
            Write::Delete(path, version) => format!("delete {path} v{version}"),
            Write::Check(path, version) => format!("check {path} v{version}"),
            Write::Multi(parts) => {
                let parts: Vec<String> = parts.iter().map(Write::describe).collect();
                format!("multi [{}]", parts.join("; "))
            }
        }
    }
}

impl Outcome {
    /// Whether the server's answer is this one.
    pub(crate) fn is(&self, reply: &Reply) -> bool {
        match self {
            Outcome::Refused(code) => reply.err == *code,
            outcome => reply.err == 0 && outcome.is_answer(&reply.answer),
        }
    }

    fn is_answer(&self, answer: &Answer) -> bool {
        match (self, answer) {
            (Outcome::Created(path), Answer::Path(answered) | Answer::Created(answered, _)) => {
                path == answered
            }
            (Outcome::Version(version), Answer::Stat(stat)) => *version == stat.version,
            (Outcome::Done, Answer::None) => true,
            (Outcome::Refused(code), Answer::Error(answered)) => code == answered,
            (Outcome::Parts(parts), Answer::Parts(answered)) => {
                parts.len() == answered.len()
                    && parts.iter().zip(answered).all(|(part, answered)| {
                        matches!(part, Outcome::Refused(_)) == (answered.op == op::ERROR)
                            && part.is_answer(&answered.answer)
                    })
            }
            _ => false,
        }
    }
}

impl Model {
    /// No znodes below `base` yet.
    pub(crate) fn new(base: String) -> Self {
        Model { base, ..Model::default() }
    }

    /// Lets a write take effect, as transaction `zxid` (0: not known yet).
    pub(crate) fn apply(&mut self, write: &Write, zxid: i64) -> Outcome {
        match write {
            Write::Multi(parts) => self.apply_multi(parts, zxid),
            write => self.apply_one(write, zxid).unwrap_or_else(|code| Outcome::Refused(code as i32)),
        }
    }

    fn apply_multi(&mut self, parts: &[Write], zxid: i64) -> Outcome {
        let mut after = self.clone();
        let mut outcomes: Vec<Outcome> = Vec::new();
        for (at, part) in parts.iter().enumerate() {
            match after.apply_one(part, zxid) {
                Ok(outcome) => outcomes.push(outcome),
                Err(code) => {
                    let refused = |other: usize| match other.cmp(&at) {
                        std::cmp::Ordering::Less => Outcome::Refused(0),
                        std::cmp::Ordering::Equal => Outcome::Refused(code as i32),
                        std::cmp::Ordering::Greater => Outcome::Refused(Code::RuntimeInconsistency as i32),
                    };
                    return Outcome::Parts((0..parts.len()).map(refused).collect());
                }
            }
        }
        *self = after;
        Outcome::Parts(outcomes)
    }

    fn apply_one(&mut self, write: &Write, mzxid: i64) -> Result<Outcome, Code> {
        match write {
            Write::Create(path, data, kind) => {
                let path = match kind {
                    Create::PersistentSequential => format!("{path}{:010}", self.created),
                    _ => path.clone(),
                };
                if self.nodes.contains_key(&path) {
                    return Err(Code::NodeExists);
                }
                let ephemeral = *kind == Create::Ephemeral;
                self.nodes.insert(path.clone(), Node { data: data.clone(), version: 0, ephemeral, mzxid });
                self.created += 1;
                Ok(Outcome::Created(path))
            }
            Write::Set(path, data, version) => {
                let node = self.find(path, *version)?;
                *node = Node { data: data.clone(), version: node.version + 1, mzxid, ..*node };
                Ok(Outcome::Version(node.version))
            }
            Write::Delete(path, version) => {
                self.find(path, *version)?;
                self.nodes.remove(path);
                Ok(Outcome::Done)
            }
            Write::Check(path, version) => self.find(path, *version).map(|_| Outcome::Done),
            Write::Multi(_) => Err(Code::MarshallingError),
        }
    }

    fn find(&mut self, path: &str, version: i32) -> Result<&mut Node, Code> {
        let node = self.nodes.get_mut(path).ok_or(Code::NoNode)?;
        if version == -1 || version == node.version { Ok(node) } else { Err(Code::BadVersion) }
    }

    /// A write that mostly succeeds; `unique` makes its data unlike all other.
    pub(crate) fn next_write(&self, random: &mut Random, unique: u64) -> Write {
        if !random.one_in(4) {
            loop {
                // By itself a check is asked by no client.
                match self.next_single(random, unique) {
                    Write::Check(..) => {}
                    write => return write,
                }
            }
        }
        let mut after = self.clone();
        let parts = (0..2 + random.below(4)).map(|part| {
            let write = after.next_single(random, unique + part as u64);
            after.apply(&write, 0);
            write
        });
        Write::Multi(parts.collect())
    }

    fn next_single(&self, random: &mut Random, unique: u64) -> Write {
        let named = |name: &&str| format!("{}/{name}", self.base);
        let free = NAMES.iter().map(named).find(|path| !self.nodes.contains_key(path));
        // Mostly one that is there, or to create one that is not there.
        let any = random.one_in(8).then(|| named(&random.of(&NAMES)));
        let there = self.nodes.keys().nth(random.below(self.nodes.len())).cloned();
        let path = any.clone().or(there).unwrap_or_else(|| named(&NAMES[0]));
        let known = self.nodes.get(&path).map_or(0, |node| node.version);
        let version = if random.one_in(15) { known + 1 } else { random.of(&[-1, known]) };
        match random.below(20) {
            0..10 => Write::Set(path, payload(random, unique), version),
            10..13 => Write::Delete(path, version),
            13 => Write::Check(path, version),
            14 | 15 if self.nodes.len() < 12 => {
                let path = format!("{}/s", self.base);
                Write::Create(path, payload(random, unique), Create::PersistentSequential)
            }
            14 | 15 => Write::Delete(path, -1),
            _ => {
                let path = any.or(free).unwrap_or_else(|| named(&random.of(&NAMES)));
                let ephemeral = path.contains("/e");
                let kind = if ephemeral { Create::Ephemeral } else { Create::Persistent };
                Write::Create(path, payload(random, unique), kind)
            }
        }
    }

    /// Whether the znodes found are these. A zxid that is not known fits any.
    pub(crate) fn is_found(&self, found: &Model) -> bool {
        self.created == found.created
            && self.nodes.len() == found.nodes.len()
            && self.nodes.iter().zip(&found.nodes).all(|((path, node), (found_path, found))| {
                path == found_path
                    && node.data == found.data
                    && node.version == found.version
                    && node.ephemeral == found.ephemeral
                    && (node.mzxid == 0 || node.mzxid == found.mzxid)
            })
    }

    /// The znodes in a few lines.
    pub(crate) fn describe(&self) -> String {
        let nodes = self.nodes.iter().map(|(path, node)| {
            let begin = String::from_utf8_lossy(&node.data[..node.data.len().min(20)]);
            let Node { version, mzxid, data, .. } = node;
            format!("  {path} v{version} zxid 0x{mzxid:x} {} bytes {begin:?}\n", data.len())
        });
        format!("  {} created\n{}", self.created, nodes.collect::<String>())
    }
}

/// Data that no other write has; some of it spans pages.
fn payload(random: &mut Random, unique: u64) -> Arc<[u8]> {
    let length = if random.one_in(12) { 3000 + random.below(15_000) } else { 20 + random.below(100) };
    format!("{unique:016x}.").into_bytes().into_iter().cycle().take(length).collect()
}

/// How many of the unanswered writes took effect, if any number explains what was found.
pub(crate) fn explain(answered: &Model, unanswered: &[Write], found: &Model) -> Option<usize> {
    let mut state = answered.clone();
    for (at, write) in unanswered.iter().enumerate() {
        if state.is_found(found) {
            return Some(at);
        }
        state.apply(write, 0);
    }
    state.is_found(found).then_some(unanswered.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, data: &str) -> Write {
        Write::Set(format!("/w/{name}"), data.as_bytes().into(), -1)
    }

    fn create(name: &str) -> Write {
        Write::Create(format!("/w/{name}"), b"0".as_slice().into(), Create::Persistent)
    }

    fn after(writes: &[Write]) -> Model {
        let mut model = Model::new("/w".into());
        writes.iter().for_each(|write| drop(model.apply(write, 0)));
        model
    }

    #[test]
    fn only_whole_writes_in_order_explain_what_is_found() {
        let answered = after(&[create("a"), create("b")]);
        let multi = Write::Multi(vec![set("a", "1"), set("b", "1")]);
        let unanswered = [set("a", "x"), multi, set("b", "y")];
        for count in 0..=3 {
            let mut found = answered.clone();
            unanswered[..count].iter().for_each(|write| drop(found.apply(write, 9)));
            assert_eq!(explain(&answered, &unanswered, &found), Some(count));
        }
        let wrong: [&[Write]; 5] = [
            // An answered one is lost, or all are.
            &[create("a")],
            &[],
            // Half of the multi; the first is left out; one happened twice.
            &[create("a"), create("b"), set("a", "x"), set("a", "1")],
            &[create("a"), create("b"), set("a", "1"), set("b", "1")],
            &[create("a"), create("b"), set("a", "x"), set("a", "x")],
        ];
        for found in wrong {
            assert_eq!(explain(&answered, &unanswered, &after(found)), None, "{found:?}");
        }
    }

    #[test]
    fn a_multi_does_all_or_nothing() {
        let mut model = after(&[create("a")]);
        let before = model.clone();
        let missing = set("c", "1");
        let outcome = model.apply(&Write::Multi(vec![set("a", "1"), missing, set("a", "2")]), 0);
        let refused = |code: Code| Outcome::Refused(code as i32);
        let parts = [Code::Ok, Code::NoNode, Code::RuntimeInconsistency].map(refused);
        assert_eq!(outcome, Outcome::Parts(parts.into()));
        assert!(model.is_found(&before));
        let outcome = model.apply(&Write::Multi(vec![set("a", "1"), create("b"), set("b", "2")]), 0);
        let created = Outcome::Created("/w/b".into());
        assert_eq!(outcome, Outcome::Parts(vec![Outcome::Version(1), created, Outcome::Version(1)]));
    }
}
