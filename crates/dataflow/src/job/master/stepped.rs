//! A master without threads or a clock of its own: whoever holds it says when it takes its next event, when time passes, and when a
//! checkpoint is written. For simulations of a cluster.

use std::sync::{Arc, Mutex, mpsc};

use super::{Chore, Master, MasterEvent, Stop, Surroundings, Writing};
use crate::channel::lock;
use crate::checkpoint::manifest::StateEntry;
use crate::checkpoint::storage::CheckpointStorage;
use crate::element::CheckpointId;
use crate::error::Error;
use crate::job::{JobHandle, MasterSetup, start_with};
use crate::sink::COMMITTABLES;
use crate::source::Split;
use crate::state::SnapshotFn;
use crate::task::{SPLITS, encode_split};
use crate::time::{Clock, Timestamp};

/// State of a subtask that a simulation has in place of a task.
#[derive(Debug, Clone)]
pub enum ModelState {
    /// What a reader has begun.
    Split(Split),
    /// What a sink has to commit.
    Committable(Vec<u8>),
}

/// Writes what the models on a worker have of a checkpoint, each under its operator's uid.
///
/// # Errors
/// When the storage fails.
pub fn write_model_state(
    storage: &CheckpointStorage,
    checkpoint: CheckpointId,
    worker: &str,
    states: Vec<(String, ModelState)>,
) -> Result<Vec<StateEntry>, Error> {
    let snapshot = |(uid, state): (String, ModelState)| {
        let write: SnapshotFn = Box::new(move |writer| {
            match state {
                ModelState::Split(split) => writer.list(SPLITS.0, SPLITS.1, encode_split(&split)?),
                ModelState::Committable(bytes) => writer.list(COMMITTABLES.0, COMMITTABLES.1, bytes),
            }
            Ok(())
        });
        (uid, write)
    };
    storage.write_state(checkpoint, worker, states.into_iter().map(snapshot).collect())
}

/// The committables in a checkpoint.
///
/// # Errors
/// When it cannot be read.
pub fn committables(storage: &CheckpointStorage, checkpoint: CheckpointId) -> Result<Vec<Vec<u8>>, Error> {
    let restored = storage.read_where(checkpoint, |entry| entry.name == COMMITTABLES.0)?;
    Ok(restored.segments.iter().flat_map(|s| s.frames.iter().map(|(_, bytes)| bytes.clone())).collect())
}

/// The master. Dropping it ends it as a crash would.
pub struct SteppedMaster {
    master: Master,
    inbox: mpsc::Receiver<MasterEvent>,
    chores: Arc<Mutex<Vec<Chore>>>,
    stop: Option<Stop>,
}

impl SteppedMaster {
    /// A master that is to be stepped, and the handle that tells it things.
    ///
    /// # Errors
    /// As [`start_master`](super::super::start_master).
    pub fn start(setup: MasterSetup, clock: Arc<dyn Clock>) -> Result<(JobHandle, Self), Error> {
        let (events, inbox) = mpsc::channel();
        let chores: Arc<Mutex<Vec<Chore>>> = Arc::default();
        let begin = setup.begin.clone();
        let queue = chores.clone();
        let spawn = Box::new(move |chore| {
            lock(&queue).push(chore);
            Ok(Writing(None))
        });
        let surroundings = Surroundings { clock, spawn };
        let (mut master, handle) = start_with(setup, events, surroundings)?;
        let stop = master.begin(begin);
        Ok((handle, Self { master, inbox, chores, stop }))
    }

    /// Takes the next event; false: there is none.
    pub fn step(&mut self) -> bool {
        let Ok(event) = self.inbox.try_recv() else { return false };
        self.turn(Some(event));
        true
    }

    /// Time has passed.
    pub fn tick(&mut self) {
        self.turn(None);
    }

    fn turn(&mut self, event: Option<MasterEvent>) {
        if self.stop.is_none() {
            self.stop = self.master.turn(event);
        }
    }

    /// When something is due, milliseconds of its clock.
    pub fn next_tick(&self) -> Option<Timestamp> {
        self.master.next_tick().filter(|_| self.stop.is_none())
    }

    /// Whether a checkpoint is to be written.
    pub fn has_chore(&self) -> bool {
        !lock(&self.chores).is_empty()
    }

    /// Writes it; without this it is as if the process had died before.
    pub fn do_chore(&self) {
        let chore = lock(&self.chores).pop();
        if let Some(chore) = chore {
            chore();
        }
    }

    /// Whether it has been told to end, or has found out.
    pub fn is_abandoned(&self) -> bool {
        matches!(self.stop, Some(Stop::Abandoned))
    }

    /// Why it has failed.
    pub fn failure(&self) -> Option<String> {
        match &self.stop {
            Some(Stop::Failed(error)) => Some(error.to_string()),
            _ => None,
        }
    }
}
