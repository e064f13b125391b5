//! What a task follows: readings come in, changes go out.
//!
//! Invariant: a change is in the mirror when, and only when, it was handed out.

use std::collections::VecDeque;

use streamkeeper_dataflow::operator::OperatorContext;
use streamkeeper_dataflow::{OperatorError, OperatorResult};
use streamkeeper_zookeeper::{Spawned, ZooKeeper, spawn};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::mpsc::{Receiver, channel};

use crate::zookeeper::follow::{Follower, Handed};
use crate::zookeeper::mirror::{Change, Mirror, Reading};
use crate::zookeeper::source::ZooKeeperSource;
use crate::zookeeper::znode::ZNode;

/// Readings that wait for the task.
const QUEUE: usize = 16;

/// Changes that are handed out at once.
const BATCH: usize = 8192;

/// Follows a place for one task.
pub(crate) struct Following {
    source: ZooKeeperSource,
    readings: Receiver<Handed>,
    _task: Spawned,
    mirror: Mirror,
    /// Found, and not yet handed out nor in the mirror.
    pending: VecDeque<Change>,
    /// All there is was read once.
    complete: bool,
}

impl Following {
    /// Follows `source`, of which `known` was told before.
    pub(crate) fn start(
        source: &ZooKeeperSource,
        context: &OperatorContext,
        known: Vec<ZNode>,
    ) -> OperatorResult<Self> {
        let (sender, readings) = channel(QUEUE);
        let follower = Follower {
            zookeeper: ZooKeeper::open(source.options.clone()).map_err(OperatorError::fatal)?,
            root: source.root.clone(),
            mode: source.mode,
            limits: source.limits,
            readings: sender,
            waker: context.waker.clone(),
        };
        let task = spawn(follower.run()).map_err(OperatorError::recoverable)?;
        Ok(Self {
            source: source.clone(),
            readings,
            _task: task,
            mirror: Mirror::new(known),
            pending: VecDeque::new(),
            complete: false,
        })
    }

    /// The next changes; `None`: no more for now.
    pub(crate) fn changes(&mut self) -> OperatorResult<Option<Vec<Change>>> {
        while self.pending.is_empty() {
            match self.readings.try_recv() {
                Ok(Ok(reading)) => {
                    self.complete |= matches!(reading, Reading::Everything(_));
                    self.pending = self.mirror.step(reading).into();
                }
                Ok(Err(error)) => return Err(failure(&self.source.place(), &error)),
                // The follower wakes the task's thread.
                Err(TryRecvError::Empty) => return Ok(None),
                Err(TryRecvError::Disconnected) => {
                    let place = self.source.place();
                    return Err(OperatorError::recoverable(format!("{place} is followed no more")));
                }
            }
        }
        let changes: Vec<Change> = self.pending.drain(..self.pending.len().min(BATCH)).collect();
        changes.iter().for_each(|change| self.mirror.apply(change));
        if let Some(excess) = self.mirror.excess(&self.source.limits) {
            let place = self.source.place();
            return Err(OperatorError::fatal(format!("{place}: {excess}; follow less, or raise it")));
        }
        Ok(Some(changes))
    }

    /// Whether [`Following::changes`] has something to look at, or an error to tell.
    pub(crate) fn has_changes(&self) -> bool {
        !self.pending.is_empty() || !self.readings.is_empty() || self.readings.is_closed()
    }

    /// Whether all there was at some moment was handed out.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete && self.pending.is_empty()
    }

    /// What was handed out, for a checkpoint.
    pub(crate) fn told(&self) -> Vec<&ZNode> {
        self.mirror.znodes()
    }
}

fn failure(place: &str, error: &streamkeeper_zookeeper::Error) -> OperatorError {
    let message = format!("cannot follow {place}: {error}");
    if error.is_transient() { OperatorError::recoverable(message) } else { OperatorError::fatal(message) }
}
