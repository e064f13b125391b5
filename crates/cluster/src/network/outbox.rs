//! All that one connection has to send, and in which order. A pure core.
//!
//! Frames of a channel leave in the order in which they were pushed, when the channel's credit allows; channels take turns. What
//! we tell as a receiver (`Open`, `Grant`, `Close`) goes first. Invariants: a channel without credit holds up no other one; a
//! channel has room while less than its capacity is here or in flight; there is at most one notice of a kind per channel.

use std::collections::{HashMap, VecDeque};

use arrow::buffer::Buffer;
use streamkeeper_dataflow::network::{ChannelId, FrameKind};

use super::credit::{SendWindow, cost};
use super::frame::{Header, Kind, Violation, encode_open};

/// Receivers that wait for their senders, at most.
const MAX_WAITING: usize = 1 << 16;

/// A sender, within its connection. Never used again.
pub(super) type SenderKey = u64;

/// A frame that is to be written.
#[derive(Debug)]
pub(super) struct OutFrame {
    pub(super) header: Header,
    pub(super) parts: Vec<Buffer>,
}

struct Queued {
    kind: FrameKind,
    parts: Vec<Buffer>,
    length: usize,
}

struct Outgoing<W> {
    id: ChannelId,
    capacity: u64,
    waker: W,
    handle: Option<u64>,
    window: SendWindow,
    queue: VecDeque<Queued>,
    queued_cost: u64,
    /// It is in `ready`.
    is_ready: bool,
    /// The sender was dropped.
    finished: bool,
    /// The receiver was dropped.
    closed: bool,
}

impl<W> Outgoing<W> {
    /// Credit comes back in steps that fit the receiver's window: with another one the sender could wait forever.
    fn open(&mut self, handle: u64, window: u64) -> Result<(), Violation> {
        let Self { id, capacity, .. } = self;
        if window != *capacity {
            return Err(Violation(format!("{id} has {window} bytes there and {capacity} here")));
        }
        self.handle = Some(handle);
        self.window.open(window);
        Ok(())
    }

    fn has_room(&self) -> bool {
        !self.closed && self.queued_cost + self.window.in_flight() < self.capacity
    }

    fn may_send(&self) -> bool {
        match self.queue.front() {
            Some(next) => self.window.may_send(next.kind, cost(next.kind, next.length)),
            None => self.finished,
        }
    }
}

/// What a name or handle of the peer's stands for.
enum Opened {
    Sender(SenderKey),
    /// Its sender is not here yet.
    Waiting(ChannelId),
}

enum Notice {
    Open(u64, ChannelId, u64),
    Grant(u64),
    Close(u64),
}

/// What one connection has to send. `W` is woken when there is room again.
pub(super) struct Outbox<W> {
    senders: HashMap<SenderKey, Outgoing<W>>,
    next_key: SenderKey,
    by_id: HashMap<ChannelId, SenderKey>,
    by_handle: HashMap<u64, Opened>,
    /// Handles and windows of receivers whose senders are not here yet.
    waiting: HashMap<ChannelId, (u64, u64)>,
    ready: VecDeque<SenderKey>,
    notices: VecDeque<Notice>,
    grants: HashMap<u64, u64>,
}

impl<W: Clone> Outbox<W> {
    pub(super) fn new() -> Self {
        Self {
            senders: HashMap::new(),
            next_key: 0,
            by_id: HashMap::new(),
            by_handle: HashMap::new(),
            waiting: HashMap::new(),
            ready: VecDeque::new(),
            notices: VecDeque::new(),
            grants: HashMap::new(),
        }
    }

    /// A task wants to send on a channel.
    pub(super) fn register(
        &mut self,
        id: ChannelId,
        capacity: u64,
        waker: W,
    ) -> Result<SenderKey, Violation> {
        let key = self.next_key;
        self.next_key += 1;
        let mut outgoing = Outgoing {
            id,
            capacity,
            waker,
            handle: None,
            window: SendWindow::default(),
            queue: VecDeque::new(),
            queued_cost: 0,
            is_ready: false,
            finished: false,
            closed: false,
        };
        if let Some((handle, window)) = self.waiting.remove(&id) {
            outgoing.open(handle, window)?;
            self.by_handle.insert(handle, Opened::Sender(key));
        } else {
            self.by_id.insert(id, key);
        }
        self.senders.insert(key, outgoing);
        Ok(key)
    }

    /// A task sends. Returns whether there still is room.
    pub(super) fn push(&mut self, key: SenderKey, kind: FrameKind, parts: Vec<Buffer>) -> bool {
        let Some(outgoing) = self.senders.get_mut(&key) else { return false };
        if !outgoing.closed {
            let length = parts.iter().map(Buffer::len).sum();
            outgoing.queued_cost += cost(kind, length);
            outgoing.queue.push_back(Queued { kind, parts, length });
        }
        let has_room = outgoing.has_room();
        self.check_ready(key);
        has_room
    }

    /// A task's sender was dropped. What it sent is still delivered if the receiver is there; if there never was one, nobody
    /// will ask for it.
    pub(super) fn finish(&mut self, key: SenderKey) {
        let Some(outgoing) = self.senders.get_mut(&key) else { return };
        outgoing.finished = true;
        if outgoing.closed || outgoing.handle.is_none() {
            self.remove(key);
        } else {
            self.check_ready(key);
        }
    }

    /// The peer has a receiver.
    pub(super) fn on_open(&mut self, handle: u64, id: ChannelId, window: u64) -> Result<(), Violation> {
        if self.by_handle.contains_key(&handle) || self.waiting.contains_key(&id) {
            return Err(Violation(format!("{id} was opened twice")));
        }
        let Some(key) = self.by_id.remove(&id) else {
            if self.waiting.len() >= MAX_WAITING {
                return Err(Violation(format!("more than {MAX_WAITING} receivers wait for their senders")));
            }
            self.waiting.insert(id, (handle, window));
            self.by_handle.insert(handle, Opened::Waiting(id));
            return Ok(());
        };
        self.by_handle.insert(handle, Opened::Sender(key));
        if let Some(outgoing) = self.senders.get_mut(&key) {
            outgoing.open(handle, window)?;
        }
        self.check_ready(key);
        Ok(())
    }

    /// The peer's receiver has consumed. Returns whom to wake: there is room again.
    pub(super) fn on_grant(&mut self, handle: u64, bytes: u64) -> Result<Option<W>, Violation> {
        let Some(Opened::Sender(key)) = self.by_handle.get(&handle) else { return Ok(None) };
        let key = *key;
        let Some(outgoing) = self.senders.get_mut(&key) else { return Ok(None) };
        let had_room = outgoing.has_room();
        outgoing.window.on_grant(bytes)?;
        let woken = (!had_room && outgoing.has_room()).then(|| outgoing.waker.clone());
        self.check_ready(key);
        Ok(woken)
    }

    /// The peer's receiver is gone. Its sender has no room from now on. Returns the sender.
    pub(super) fn on_close(&mut self, handle: u64) -> Option<W> {
        match self.by_handle.remove(&handle)? {
            Opened::Waiting(id) => {
                self.waiting.remove(&id);
                None
            }
            Opened::Sender(key) => {
                let outgoing = self.senders.get_mut(&key)?;
                outgoing.closed = true;
                outgoing.queue.clear();
                outgoing.queued_cost = 0;
                let waker = outgoing.waker.clone();
                if outgoing.finished {
                    self.remove(key);
                }
                Some(waker)
            }
        }
    }

    /// Tells the peer of a receiver.
    pub(super) fn open(&mut self, handle: u64, id: ChannelId, window: u64) {
        self.notices.push_back(Notice::Open(handle, id, window));
    }

    /// Tells the peer what a receiver has consumed.
    pub(super) fn grant(&mut self, handle: u64, bytes: u64) {
        let due = self.grants.entry(handle).or_insert_with(|| {
            self.notices.push_back(Notice::Grant(handle));
            0
        });
        *due += bytes;
    }

    /// Tells the peer that a receiver is gone.
    pub(super) fn close(&mut self, handle: u64) {
        self.grants.remove(&handle);
        self.notices.push_back(Notice::Close(handle));
    }

    /// The next frame to write.
    pub(super) fn next(&mut self) -> Option<OutFrame> {
        while let Some(notice) = self.notices.pop_front() {
            let (kind, handle, payload) = match notice {
                Notice::Open(handle, id, window) => (Kind::Open, handle, encode_open(&id, window).to_vec()),
                Notice::Grant(handle) => match self.grants.remove(&handle) {
                    Some(bytes) => (Kind::Grant, handle, bytes.to_le_bytes().to_vec()),
                    None => continue,
                },
                Notice::Close(handle) => (Kind::Close, handle, Vec::new()),
            };
            let header = Header { kind, length: payload.len() as u32, handle };
            return Some(OutFrame { header, parts: vec![Buffer::from_vec(payload)] });
        }
        while let Some(key) = self.ready.pop_front() {
            let Some(outgoing) = self.senders.get_mut(&key) else { continue };
            outgoing.is_ready = false;
            let Some(handle) = outgoing.handle.filter(|_| outgoing.may_send()) else { continue };
            let Some(Queued { kind, parts, length }) = outgoing.queue.pop_front() else {
                self.remove(key);
                let header = Header { kind: Kind::Finish, length: 0, handle };
                return Some(OutFrame { header, parts: Vec::new() });
            };
            let cost = cost(kind, length);
            outgoing.queued_cost -= cost;
            outgoing.window.on_sent(cost);
            self.check_ready(key);
            let kind = match kind {
                FrameKind::Data => Kind::Data,
                FrameKind::Control => Kind::Control,
            };
            return Some(OutFrame { header: Header { kind, length: length as u32, handle }, parts });
        }
        None
    }

    /// Everyone who sends, and whose receiver has not left: to be told that the connection is lost.
    pub(super) fn wakers(&self) -> impl Iterator<Item = &W> {
        self.senders.values().filter(|outgoing| !outgoing.closed).map(|outgoing| &outgoing.waker)
    }

    fn check_ready(&mut self, key: SenderKey) {
        let Some(outgoing) = self.senders.get_mut(&key) else { return };
        if !outgoing.is_ready && outgoing.handle.is_some() && !outgoing.closed && outgoing.may_send() {
            outgoing.is_ready = true;
            self.ready.push_back(key);
        }
    }

    fn remove(&mut self, key: SenderKey) {
        let Some(outgoing) = self.senders.remove(&key) else { return };
        match outgoing.handle {
            Some(handle) => drop(self.by_handle.remove(&handle)),
            None if self.by_id.get(&outgoing.id) == Some(&key) => drop(self.by_id.remove(&outgoing.id)),
            None => {}
        }
    }
}
