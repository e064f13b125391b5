//! Writing a checkpoint's changes once.
//!
//! A fence, a znode of its own per run, sink and subtask, names the last changes that were written. They are written by one `multi`
//! together with the fence, on condition that the fence is as it was read. So committing again changes nothing, whoever does it, and
//! a connection that is lost leaves nothing unknown: the fence tells.
//!
//! A restore raises the fence's epoch. What an attempt before it still tries to write is refused, and the numbers of its checkpoints
//! may come again.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use streamkeeper_dataflow::{OperatorError, OperatorResult};
use streamkeeper_zookeeper::{CreateMode, Error, Multi, Outcome, ZooKeeper};

/// How often a commit that others get in the way of is tried.
const ATTEMPTS: usize = 20;

/// Znodes whose versions are remembered.
const MAX_KNOWN: usize = 1_000_000;

/// What to do about a znode that somebody else has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnConflict {
    /// Write over it.
    Overwrite,
    /// Fail, if it was written since this sink wrote it last.
    Fail,
}

/// A part of a checkpoint's changes that fits one request: a committable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Chunk {
    /// The path of the fence.
    pub(crate) fence: String,
    /// Of the fence, when the changes were written.
    pub(crate) epoch: u64,
    /// The checkpoint that holds them, and their number in it.
    pub(crate) place: (u64, u32),
    /// By path; `None` deletes.
    pub(crate) changes: Vec<(String, Option<Vec<u8>>)>,
}

/// What a fence's znode holds, as JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fence {
    v: u32,
    /// How often the run was restored.
    pub(crate) epoch: u64,
    /// The last that was written in this epoch: checkpoint and number.
    checkpoint: u64,
    chunk: u32,
}

impl Fence {
    fn new(epoch: u64, (checkpoint, chunk): (u64, u32)) -> Self {
        Self { v: 1, epoch, checkpoint, chunk }
    }

    /// Whether `chunk` is still to be written.
    fn admits(self, chunk: &Chunk) -> bool {
        self.epoch == chunk.epoch && (self.checkpoint, self.chunk) < chunk.place
    }

    fn encode(self) -> OperatorResult<Vec<u8>> {
        serde_json::to_vec(&self).map_err(OperatorError::fatal)
    }
}

/// Of znodes that this process has written: the version that it gave each, or that it deleted it.
pub(crate) type Known = HashMap<String, Option<i32>>;

/// The fence at `path` and its znode's version. Makes it where it is missing.
pub(crate) async fn read_fence(zookeeper: &ZooKeeper, path: &str) -> OperatorResult<(Fence, i32)> {
    for _ in 0..ATTEMPTS {
        match zookeeper.get(path).await {
            Ok((data, stat)) => {
                let fence: Fence = serde_json::from_slice(&data)
                    .map_err(|e| OperatorError::fatal(format!("{path} is not this sink's fence: {e}")))?;
                return Ok((fence, stat.version));
            }
            Err(Error::NoNode { .. }) => {
                let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
                zookeeper.create_all(parent).await.map_err(failure)?;
                match zookeeper.create(path, Fence::new(0, (0, 0)).encode()?, CreateMode::Persistent).await {
                    Ok(_) | Err(Error::NodeExists { .. }) => {}
                    Err(error) => return Err(failure(error)),
                }
            }
            Err(error) => return Err(failure(error)),
        }
    }
    Err(OperatorError::recoverable(format!("{path}: the fence comes and goes")))
}

/// Begins a new epoch of the fence: what was written under the one before, and is not committed, never will be.
pub(crate) async fn raise_fence(zookeeper: &ZooKeeper, path: &str) -> OperatorResult<()> {
    for _ in 0..ATTEMPTS {
        let (fence, version) = read_fence(zookeeper, path).await?;
        let raised = Fence::new(fence.epoch + 1, (0, 0)).encode()?;
        match zookeeper.set(path, raised, Some(version)).await {
            Ok(_) => return Ok(()),
            // Once too often does no harm.
            Err(Error::BadVersion { .. } | Error::ConnectionLost { .. }) => {}
            Err(error) => return Err(failure(error)),
        }
    }
    Err(OperatorError::recoverable(format!("{path}: the fence cannot be raised")))
}

/// Writes a chunk, unless it was written or its attempt is over.
pub(crate) async fn commit(
    zookeeper: &ZooKeeper,
    chunk: &Chunk,
    on_conflict: OnConflict,
    known: &mut Known,
) -> OperatorResult<()> {
    let mut last = None;
    for _ in 0..ATTEMPTS {
        zookeeper.sync(&chunk.fence).await.map_err(failure)?;
        let (fence, version) = read_fence(zookeeper, &chunk.fence).await?;
        if !fence.admits(chunk) {
            // Written, but by whom, and with which versions?
            for (path, _) in &chunk.changes {
                known.remove(path);
            }
            return Ok(());
        }
        let paths = chunk.changes.iter().map(|(path, _)| path.clone()).collect();
        let exist: Vec<bool> =
            zookeeper.get_many(paths).await.map_err(failure)?.iter().map(Option::is_some).collect();
        let fence = Fence::new(chunk.epoch, chunk.place).encode()?;
        let multi = plan(chunk, fence, version, &exist, known);
        let expected = |path: &str| known.contains_key(path) && on_conflict == OnConflict::Fail;
        match zookeeper.multi(multi).await {
            Ok(outcomes) => {
                if on_conflict == OnConflict::Fail {
                    remember(chunk, &exist, &outcomes, known);
                }
                return Ok(());
            }
            // The fence tells whether it happened.
            Err(error @ (Error::ConnectionLost { .. } | Error::Suspended { .. })) => last = Some(error),
            Err(Error::Multi { index, source }) => {
                match *source {
                    Error::BadVersion { ref path } if index > 0 => return Err(conflict(path)),
                    Error::NodeExists { ref path } | Error::NoNode { ref path } if expected(path) => {
                        return Err(conflict(path));
                    }
                    // Its parent is missing, or it is gone meanwhile.
                    Error::NoNode { ref path } => {
                        if let Some((parent, _)) =
                            path.rsplit_once('/').filter(|(parent, _)| !parent.is_empty())
                        {
                            zookeeper.create_all(parent).await.map_err(failure)?;
                        }
                    }
                    Error::NodeExists { .. } | Error::BadVersion { .. } => {}
                    Error::NotEmpty { ref path } => {
                        return Err(OperatorError::fatal(format!(
                            "{path} is to be deleted, but has children; delete their rows first"
                        )));
                    }
                    error => return Err(failure(error)),
                }
                last = Some(*source);
            }
            Err(error) => return Err(failure(error)),
        }
    }
    let last = last.map_or_else(String::new, |error| error.to_string());
    Err(OperatorError::recoverable(format!("{}: others get in the way of a commit: {last}", chunk.fence)))
}

/// The request: the fence first, then each change as what there is demands it.
fn plan(chunk: &Chunk, fence: Vec<u8>, version: i32, exist: &[bool], known: &Known) -> Multi {
    let mut multi = Multi::new().set(&chunk.fence, fence, Some(version));
    for ((path, data), exists) in chunk.changes.iter().zip(exist) {
        let expected = known.get(path).copied();
        multi = match (data, exists, expected) {
            (Some(data), _, Some(Some(version))) => multi.set(path, data.clone(), Some(version)),
            (Some(data), _, Some(None)) | (Some(data), false, None) => {
                multi.create(path, data.clone(), CreateMode::Persistent)
            }
            (Some(data), true, None) => multi.set(path, data.clone(), None),
            (None, _, Some(Some(version))) => multi.delete(path, Some(version)),
            (None, true, None) => multi.delete(path, None),
            (None, ..) => multi,
        };
    }
    multi
}

fn remember(chunk: &Chunk, exist: &[bool], outcomes: &[Outcome], known: &mut Known) {
    if known.len() > MAX_KNOWN {
        known.clear();
    }
    // The fence is the first; a deletion of nothing has no outcome.
    let mut outcomes = outcomes.iter().skip(1);
    for ((path, data), exists) in chunk.changes.iter().zip(exist) {
        let nothing = data.is_none() && !exists && !matches!(known.get(path), Some(Some(_)));
        let version = match (nothing, data) {
            (true, _) => None,
            (false, _) => match outcomes.next() {
                Some(Outcome::Set(stat)) => Some(stat.version),
                Some(Outcome::Created(_)) => Some(0),
                _ => None,
            },
        };
        known.insert(path.clone(), version);
    }
}

fn conflict(path: &str) -> OperatorError {
    OperatorError::fatal(format!(
        "{path} was changed by somebody else since this sink wrote it ('sink.on-conflict' = 'fail'); see what it is, and start \
         again to write over it"
    ))
}

/// What an error of ZooKeeper's means for the task.
pub(crate) fn failure(error: Error) -> OperatorError {
    if error.is_transient() { OperatorError::recoverable(error) } else { OperatorError::fatal(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_admits_what_comes_next_in_its_epoch() {
        let chunk = |epoch, place| Chunk { fence: "/f".into(), epoch, place, changes: Vec::new() };
        let fence = Fence::new(2, (7, 1));
        for (epoch, place, admitted) in
            [(2, (7, 0), false), (2, (7, 1), false), (2, (7, 2), true), (2, (8, 0), true), (1, (9, 0), false)]
        {
            assert_eq!(fence.admits(&chunk(epoch, place)), admitted, "{epoch} {place:?}");
        }
    }
}
