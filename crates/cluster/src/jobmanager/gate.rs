//! The end of a master that is abandoned.
//!
//! Invariant: once [`Gate::close`] has returned, its master sends no order any more; and a checkpoint whose outcome it does not know
//! is not taken for failed, since the master hears of its own end first.

use std::sync::{Condvar, Mutex, PoisonError};

/// The gate of one master.
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

    /// Whether the master was abandoned.
    pub(super) fn is_closed(&self) -> bool {
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_passes_once_it_is_closed_and_who_waits_goes_on() {
        let gate = Gate::default();
        let mut passed = 0;
        gate.pass(|| passed += 1);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| gate.wait());
            assert!(!gate.is_closed());
            gate.close();
            waiting.join().unwrap();
        });
        gate.pass(|| passed += 1);
        assert_eq!((passed, gate.is_closed()), (1, true));
    }
}
