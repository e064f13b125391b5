//! Pings on a connection that is otherwise idle.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use super::Result;
use super::wire::Writer;
use crate::jute::Write;
use crate::proto::{op, xid};

/// A thread that pings while nothing else is sent. It ends with the connection.
#[derive(Debug)]
pub(super) struct KeepAlive {
    ended: Arc<AtomicBool>,
    wake: mpsc::Sender<()>,
}

impl KeepAlive {
    pub(super) fn start(wire: Writer, interval: Duration) -> Result<Self> {
        let ended = Arc::new(AtomicBool::new(false));
        let (wake, woken) = mpsc::channel();
        let thread_ended = ended.clone();
        std::thread::Builder::new().name("zk-ping".into()).spawn(move || {
            loop {
                let idle = wire.idle();
                let wait = interval.saturating_sub(idle).max(Duration::from_millis(1));
                if woken.recv_timeout(wait) != Err(mpsc::RecvTimeoutError::Timeout)
                    || thread_ended.load(Ordering::Relaxed)
                {
                    return;
                }
                if wire.idle() >= interval {
                    let mut frame = Vec::new();
                    frame.int(xid::PING);
                    frame.int(op::PING);
                    if wire.send_frame(&frame).is_err() {
                        return;
                    }
                }
            }
        })?;
        Ok(KeepAlive { ended, wake })
    }
}

impl Drop for KeepAlive {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // The thread may have ended before, with the connection.
        let _ = self.wake.send(());
    }
}
