//! The connection to one other process, as tasks see it: the ends of its channels.
//!
//! A link exists from the first channel on, before there is a connection. Invariants: it is lost once, with all its channels, and
//! then for good; a channel whose other end has left is not affected. Locks are taken per frame, never while one waits.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::buffer::Buffer;
use streamkeeper_dataflow::channel::Signal;
use streamkeeper_dataflow::network::{ChannelId, FrameKind, FrameReceiver, FrameSender};
use streamkeeper_dataflow::{OperatorError, OperatorResult};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::credit::ReceiveWindow;
use super::frame::{MAX_CONTROL, MAX_DATA, Violation};
use super::outbox::{OutFrame, Outbox, SenderKey};

/// A task's sending end, as the connection sees it.
struct SenderEnd {
    has_room: AtomicBool,
    producer: Arc<Signal>,
}

impl SenderEnd {
    fn wake(&self) {
        self.has_room.store(true, Ordering::Release);
        self.producer.notify();
    }
}

/// A task's receiving end, as the connection sees it.
pub(super) struct ReceiverEnd {
    state: Mutex<Arrived>,
    consumer: Arc<Signal>,
}

struct Arrived {
    frames: VecDeque<(FrameKind, Buffer)>,
    window: ReceiveWindow,
    /// The sender has left.
    finished: bool,
    lost: Option<Arc<str>>,
}

impl ReceiverEnd {
    /// Before a frame is read.
    pub(super) fn admit(&self, kind: FrameKind, length: usize) -> Result<(), Violation> {
        lock(&self.state).window.on_arrival(kind, length)
    }

    /// A frame was read.
    pub(super) fn deliver(&self, kind: FrameKind, frame: Buffer) {
        let was_empty = {
            let mut state = lock(&self.state);
            state.frames.push_back((kind, frame));
            state.frames.len() == 1
        };
        if was_empty {
            self.consumer.notify();
        }
    }
}

struct State {
    outbox: Outbox<Arc<SenderEnd>>,
    receivers: HashMap<u64, Arc<ReceiverEnd>>,
    next_handle: u64,
    is_connected: bool,
    lost: Option<Arc<str>>,
    /// What reads and writes, or tries to connect.
    tasks: Vec<AbortHandle>,
}

/// The connection to one other process.
pub(super) struct Link {
    /// Address of the other process.
    pub(super) peer: Arc<str>,
    state: Mutex<State>,
    /// Somebody has something to send.
    pending: Notify,
}

impl Link {
    pub(super) fn new(peer: Arc<str>) -> Arc<Self> {
        let state = State {
            outbox: Outbox::new(),
            receivers: HashMap::new(),
            next_handle: 0,
            is_connected: false,
            lost: None,
            tasks: Vec::new(),
        };
        Arc::new(Self { peer, state: Mutex::new(state), pending: Notify::new() })
    }

    pub(super) fn sender(
        self: &Arc<Self>,
        channel: ChannelId,
        capacity: usize,
        producer: Arc<Signal>,
    ) -> Box<dyn FrameSender> {
        let end = Arc::new(SenderEnd { has_room: AtomicBool::new(true), producer });
        let registered = lock(&self.state).outbox.register(channel, capacity as u64, end.clone());
        let key = registered.unwrap_or_else(|violation| {
            self.lose(&violation.to_string());
            SenderKey::MAX
        });
        Box::new(LinkSender { link: self.clone(), key, end })
    }

    pub(super) fn receiver(
        self: &Arc<Self>,
        channel: ChannelId,
        capacity: usize,
        consumer: Arc<Signal>,
    ) -> Box<dyn FrameReceiver> {
        let mut state = lock(&self.state);
        let handle = state.next_handle;
        state.next_handle += 1;
        let arrived = Arrived {
            frames: VecDeque::new(),
            window: ReceiveWindow::new(capacity as u64),
            finished: false,
            lost: state.lost.clone(),
        };
        let end = Arc::new(ReceiverEnd { state: Mutex::new(arrived), consumer });
        if state.lost.is_none() {
            state.receivers.insert(handle, end.clone());
            state.outbox.open(handle, channel, capacity as u64);
        }
        drop(state);
        self.pending.notify_one();
        Box::new(LinkReceiver { link: self.clone(), handle, end })
    }

    pub(super) fn is_lost(&self) -> bool {
        lock(&self.state).lost.is_some()
    }

    pub(super) fn is_connected(&self) -> bool {
        lock(&self.state).is_connected
    }

    /// Keeps a task that works for the link; it ends with the link.
    pub(super) fn keep(&self, task: AbortHandle) {
        let mut state = lock(&self.state);
        match state.lost {
            Some(_) => task.abort(),
            None => state.tasks.push(task),
        }
    }

    /// There is a connection. False when there was one already.
    pub(super) fn connect(&self) -> bool {
        let mut state = lock(&self.state);
        !std::mem::replace(&mut state.is_connected, true) && state.lost.is_none()
    }

    /// Fails all channels. Only the first reason counts.
    pub(super) fn lose(&self, reason: &str) {
        let mut state = lock(&self.state);
        if state.lost.is_some() {
            return;
        }
        let reason: Arc<str> =
            format!("the connection to the process at {} is lost: {reason}", self.peer).into();
        state.lost = Some(reason.clone());
        let outbox = std::mem::replace(&mut state.outbox, Outbox::new());
        let receivers = std::mem::take(&mut state.receivers);
        let tasks = std::mem::take(&mut state.tasks);
        drop(state);
        outbox.wakers().for_each(|end| end.wake());
        for end in receivers.into_values() {
            lock(&end.state).lost = Some(reason.clone());
            end.consumer.notify();
        }
        // The caller may be one of them, and ends when it next waits.
        tasks.iter().for_each(AbortHandle::abort);
    }

    /// Calls `take` with frames to write as long as it wants more, waiting for the first.
    pub(super) async fn take_frames(&self, mut take: impl FnMut(OutFrame) -> bool) {
        loop {
            let mut took = false;
            {
                let mut state = lock(&self.state);
                while let Some(frame) = state.outbox.next() {
                    took = true;
                    if !take(frame) {
                        break;
                    }
                }
            }
            if took {
                return;
            }
            self.pending.notified().await;
        }
    }

    /// The receiver with this handle, unless it has left.
    pub(super) fn receiver_of(&self, handle: u64) -> Option<Arc<ReceiverEnd>> {
        lock(&self.state).receivers.get(&handle).cloned()
    }

    pub(super) fn on_open(&self, handle: u64, id: ChannelId, window: u64) -> Result<(), Violation> {
        lock(&self.state).outbox.on_open(handle, id, window)?;
        self.pending.notify_one();
        Ok(())
    }

    pub(super) fn on_grant(&self, handle: u64, bytes: u64) -> Result<(), Violation> {
        let mut state = lock(&self.state);
        if let Some(end) = state.outbox.on_grant(handle, bytes)? {
            end.wake();
        }
        drop(state);
        self.pending.notify_one();
        Ok(())
    }

    pub(super) fn on_close(&self, handle: u64) {
        let mut state = lock(&self.state);
        if let Some(end) = state.outbox.on_close(handle) {
            end.has_room.store(false, Ordering::Release);
        }
    }

    pub(super) fn on_finish(&self, handle: u64) {
        if let Some(end) = lock(&self.state).receivers.remove(&handle) {
            lock(&end.state).finished = true;
        }
    }
}

struct LinkSender {
    link: Arc<Link>,
    key: SenderKey,
    end: Arc<SenderEnd>,
}

impl FrameSender for LinkSender {
    fn send(&mut self, kind: FrameKind, parts: Vec<Buffer>) -> OperatorResult<()> {
        let length: usize = parts.iter().map(Buffer::len).sum();
        let limit = match kind {
            FrameKind::Data => MAX_DATA,
            FrameKind::Control => MAX_CONTROL,
        };
        if length > limit {
            return Err(OperatorError::fatal(format!(
                "a row of {length} bytes cannot be sent to {}: the limit is {limit}",
                self.link.peer
            )));
        }
        let mut state = lock(&self.link.state);
        if let Some(reason) = &state.lost {
            // Without room the receiver had left before, and nobody waits for this.
            return match self.end.has_room.load(Ordering::Acquire) {
                true => Err(OperatorError::recoverable(reason)),
                false => Ok(()),
            };
        }
        // Under the lock, so that this is not written over what a grant says later.
        self.end.has_room.store(state.outbox.push(self.key, kind, parts), Ordering::Release);
        drop(state);
        self.link.pending.notify_one();
        Ok(())
    }

    fn has_room(&self) -> bool {
        self.end.has_room.load(Ordering::Acquire)
    }
}

impl Drop for LinkSender {
    fn drop(&mut self) {
        lock(&self.link.state).outbox.finish(self.key);
        self.link.pending.notify_one();
    }
}

struct LinkReceiver {
    link: Arc<Link>,
    handle: u64,
    end: Arc<ReceiverEnd>,
}

impl FrameReceiver for LinkReceiver {
    fn receive(&mut self) -> OperatorResult<Option<(FrameKind, Buffer)>> {
        let mut arrived = lock(&self.end.state);
        let Some((kind, frame)) = arrived.frames.pop_front() else {
            return match &arrived.lost {
                Some(reason) => Err(OperatorError::recoverable(reason)),
                None => Ok(None),
            };
        };
        let due = arrived.window.on_consumed(kind, frame.len());
        drop(arrived);
        if let Some(bytes) = due {
            let mut state = lock(&self.link.state);
            if state.receivers.contains_key(&self.handle) {
                state.outbox.grant(self.handle, bytes);
                drop(state);
                self.link.pending.notify_one();
            }
        }
        Ok(Some((kind, frame)))
    }
}

impl Drop for LinkReceiver {
    fn drop(&mut self) {
        let mut state = lock(&self.link.state);
        if state.receivers.remove(&self.handle).is_some() {
            state.outbox.close(self.handle);
            drop(state);
            self.link.pending.notify_one();
        }
    }
}

/// Locks, also after another holder panicked: what these locks guard is consistent between statements.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
