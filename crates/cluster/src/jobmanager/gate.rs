//! The end of a master that is abandoned.
//!
//! Invariant: once [`Gate::close`] has returned, its master sends no order any more; and a checkpoint whose outcome it does not know
//! is not taken for failed, since the master hears of its own end first.

use std::sync::{Condvar, Mutex, PoisonError};

#[derive(Debug, Default)]
pub(super) struct Gate {
    closed: Mutex<bool>,
    waiting: Condvar,
}

impl Gate {
    /// Does something, unless the master was abandoned.
    pub(super) fn pass(&self, send: impl FnOnce()) {
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        if !*closed {
            send();
        }
    }

    /// Lets nothing pass any more. To be called after the master was told that it is abandoned.
    pub(super) fn close(&self) {
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.waiting.notify_all();
    }

    /// Waits until the master was told that it is abandoned.
    pub(super) fn wait(&self) {
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        while !*closed {
            closed = self.waiting.wait(closed).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
