//! Orders from the JobManager to a task, taken between two elements.
//!
//! Invariant: mail is handled in the order in which it was sent. A split assigned after a checkpoint was triggered is
//! therefore in the enumerator's snapshot or in the reader's, never in both.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::channel::{Signal, lock};
use crate::element::{Barrier, CheckpointId};
use crate::source::Assignment;
use crate::time::Timestamp;

/// One order.
#[derive(Debug, Clone)]
pub(crate) enum Mail {
    /// To a source: snapshot and send this barrier.
    Trigger(Barrier),
    /// To a source: its answer.
    Assign(Assignment),
    /// To a source that keeps pace with others: its watermark may go so far.
    LimitWatermark(Timestamp),
    /// The checkpoint is durable.
    CheckpointComplete(CheckpointId),
    /// This checkpoint and all before it are given up: wait for their barriers no more.
    Aborted(CheckpointId),
    /// To a source: read nothing, or go on.
    Pause(bool),
    /// The job is done: leave.
    Exit,
}

/// A task's mailbox.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    mail: Mutex<VecDeque<Mail>>,
    cancelled: AtomicBool,
    signal: Arc<Signal>,
}

impl Mailbox {
    pub(crate) fn signal(&self) -> &Arc<Signal> {
        &self.signal
    }

    pub(crate) fn send(&self, mail: Mail) {
        lock(&self.mail).push_back(mail);
        self.signal.notify();
    }

    /// The next order; none once the task is cancelled: a checkpoint that completes later is another attempt's to commit.
    pub(crate) fn take(&self) -> Option<Mail> {
        let mut mail = lock(&self.mail);
        if self.is_cancelled() { None } else { mail.pop_front() }
    }

    /// Stops the task before its next step, whatever it waits for.
    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
        self.signal.notify();
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }
}
