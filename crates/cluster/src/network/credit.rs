//! Credit of one channel, in bytes, at both ends. A pure core.
//!
//! The receiver announces a window when it is there; before, nothing is sent. What was sent and not yet given back is in
//! flight. A batch is sent while what is in flight fits the window with it, or when no more than a quarter of the window is in
//! flight: so a batch larger than the whole window passes. A control is sent in any case, and weighs [`CONTROL_COST`], by
//! which producers that send nothing else are held back too. The receiver gives back what its task has consumed in steps of a
//! quarter of the window, which is as late as it may without anybody waiting forever.
//!
//! Invariant: a channel's receiver holds at most its window, or a quarter of it and one batch, besides controls, whose number
//! is bounded; a peer that sends more breaks the protocol.

use streamkeeper_dataflow::network::FrameKind;

use super::frame::Violation;

/// What a control weighs, and what each batch weighs besides its bytes.
pub(super) const CONTROL_COST: u64 = 64;

/// Controls that a channel's receiver holds besides those that fit its window, at most.
const MAX_CONTROLS: u64 = 4096;

/// All controls that a channel's receiver holds, at most, in bytes.
const MAX_CONTROL_BYTES: u64 = 64 << 20;

/// What a frame weighs.
pub(super) fn cost(kind: FrameKind, length: usize) -> u64 {
    match kind {
        FrameKind::Data => length as u64 + CONTROL_COST,
        FrameKind::Control => CONTROL_COST,
    }
}

/// Whether a batch may join what is out.
fn fits(window: u64, out: u64, cost: u64) -> bool {
    out <= window / 4 || out.saturating_add(cost) <= window
}

/// The sender's side.
#[derive(Debug, Default)]
pub(super) struct SendWindow {
    /// `None`: there is no receiver yet.
    window: Option<u64>,
    in_flight: u64,
}

impl SendWindow {
    pub(super) fn open(&mut self, window: u64) {
        self.window = Some(window);
    }

    pub(super) fn may_send(&self, kind: FrameKind, cost: u64) -> bool {
        self.window.is_some_and(|window| kind == FrameKind::Control || fits(window, self.in_flight, cost))
    }

    pub(super) fn on_sent(&mut self, cost: u64) {
        self.in_flight += cost;
    }

    pub(super) fn on_grant(&mut self, bytes: u64) -> Result<(), Violation> {
        let left = self.in_flight.checked_sub(bytes);
        self.in_flight = left.ok_or_else(|| {
            Violation(format!("{bytes} bytes were given back, but only {} are in flight", self.in_flight))
        })?;
        Ok(())
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.in_flight
    }
}

/// The receiver's side.
#[derive(Debug)]
pub(super) struct ReceiveWindow {
    window: u64,
    /// Arrived and not consumed.
    held: u64,
    controls: u64,
    control_bytes: u64,
    /// Consumed and not given back.
    consumed: u64,
}

impl ReceiveWindow {
    pub(super) fn new(window: u64) -> Self {
        Self { window, held: 0, controls: 0, control_bytes: 0, consumed: 0 }
    }

    /// Before a frame is read.
    pub(super) fn on_arrival(&mut self, kind: FrameKind, length: usize) -> Result<(), Violation> {
        let cost = cost(kind, length);
        match kind {
            FrameKind::Data if !fits(self.window, self.held, cost) => {
                let Self { window, held, .. } = self;
                return Err(Violation(format!("{cost} bytes without credit: {held} of {window} are held")));
            }
            FrameKind::Data => {}
            FrameKind::Control => {
                self.controls += 1;
                self.control_bytes += length as u64;
                let limit = self.window / CONTROL_COST + MAX_CONTROLS;
                if self.controls > limit || self.control_bytes > MAX_CONTROL_BYTES {
                    return Err(Violation(format!(
                        "more than {limit} controls, or {MAX_CONTROL_BYTES} bytes of them"
                    )));
                }
            }
        }
        self.held += cost;
        Ok(())
    }

    /// After the task took a frame: what is to be given back now.
    pub(super) fn on_consumed(&mut self, kind: FrameKind, length: usize) -> Option<u64> {
        let cost = cost(kind, length);
        self.held = self.held.saturating_sub(cost);
        if kind == FrameKind::Control {
            self.controls = self.controls.saturating_sub(1);
            self.control_bytes = self.control_bytes.saturating_sub(length as u64);
        }
        self.consumed += cost;
        (self.consumed > self.window / 4).then(|| std::mem::take(&mut self.consumed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_receiver_nothing_is_sent_and_a_control_passes_a_full_window() {
        let mut window = SendWindow::default();
        assert!(!window.may_send(FrameKind::Control, 64) && !window.may_send(FrameKind::Data, 1));
        window.open(100);
        assert!(
            window.may_send(FrameKind::Data, 1_000_000),
            "larger than the window, but nothing is in flight"
        );
        window.on_sent(70);
        assert!(window.may_send(FrameKind::Data, 30) && !window.may_send(FrameKind::Data, 31));
        assert!(window.may_send(FrameKind::Control, 64));
        assert!(window.on_grant(71).is_err());
        window.on_grant(45).expect("was in flight");
        assert!(window.may_send(FrameKind::Data, 1_000_000), "a quarter of the window is in flight");
    }

    #[test]
    fn who_sends_beyond_the_window_is_found_out_and_controls_are_bounded() {
        let mut window = ReceiveWindow::new(1000);
        window.on_arrival(FrameKind::Data, 5000).expect("nothing else is held");
        assert!(window.on_arrival(FrameKind::Data, 1).is_err());
        for _ in 0..MAX_CONTROLS + 1000 / CONTROL_COST {
            window.on_arrival(FrameKind::Control, 10).expect("no credit needed");
        }
        assert!(window.on_arrival(FrameKind::Control, 10).is_err());
        let mut window = ReceiveWindow::new(1000);
        window.on_arrival(FrameKind::Control, MAX_CONTROL_BYTES as usize).expect("at the limit");
        assert!(window.on_arrival(FrameKind::Control, 1).is_err());
    }

    #[test]
    fn credit_goes_back_in_quarters_of_the_window() {
        let mut window = ReceiveWindow::new(1000);
        for _ in 0..3 {
            window.on_arrival(FrameKind::Data, 100).expect("fits");
        }
        assert_eq!(window.on_consumed(FrameKind::Data, 100), None);
        assert_eq!(window.on_consumed(FrameKind::Data, 100), Some(328));
        assert_eq!(window.on_consumed(FrameKind::Data, 100), None);
    }
}
