//! Network environments, and the ends of a channel with what their tasks would wait on.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use arrow::buffer::Buffer;
use streamkeeper_cluster::network::{NetworkEnvironment, NetworkSettings, TlsSettings};
use streamkeeper_dataflow::channel::Signal;
use streamkeeper_dataflow::network::{ChannelId, FrameKind, FrameReceiver, FrameSender, Network};
use streamkeeper_dataflow::{OperatorError, OperatorResult};
use tokio::runtime::Runtime;

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
});

pub(crate) fn settings(port: u16, tls: Option<TlsSettings>) -> NetworkSettings {
    let host = "127.0.0.1".to_owned();
    NetworkSettings { bind_host: host.clone(), port, host, connect_timeout: PATIENCE, tls }
}

pub(crate) fn exchange() -> NetworkEnvironment {
    RUNTIME.block_on(NetworkEnvironment::start(&settings(0, None))).expect("started")
}

pub(crate) fn channel(generation: u64, number: u32) -> ChannelId {
    ChannelId { job: [3; 16], generation, edge: number, producer: 0, consumer: 0 }
}

pub(crate) struct Sender {
    frames: Box<dyn FrameSender>,
    signal: Arc<Signal>,
}

pub(crate) struct Receiver {
    frames: Box<dyn FrameReceiver>,
    signal: Arc<Signal>,
}

pub(crate) fn sender(from: &NetworkEnvironment, to: &str, channel: ChannelId, capacity: usize) -> Sender {
    let signal = Arc::new(Signal::default());
    Sender { frames: from.sender(channel, to, capacity, signal.clone()), signal }
}

pub(crate) fn receiver(to: &NetworkEnvironment, from: &str, channel: ChannelId, capacity: usize) -> Receiver {
    let signal = Arc::new(Signal::default());
    Receiver { frames: to.receiver(channel, from, capacity, signal.clone()), signal }
}

/// Both ends of a channel.
pub(crate) fn pair(
    from: &NetworkEnvironment,
    to: &NetworkEnvironment,
    channel: ChannelId,
    capacity: usize,
) -> (Sender, Receiver) {
    (sender(from, to.address(), channel, capacity), receiver(to, from.address(), channel, capacity))
}

/// A payload in two parts, one of which is written without being copied.
pub(crate) fn parts(bytes: &[u8]) -> Vec<Buffer> {
    let (head, tail) = bytes.split_at(bytes.len().min(10));
    vec![Buffer::from(head), Buffer::from(tail)]
}

impl Sender {
    pub(crate) fn try_send(&mut self, kind: FrameKind, bytes: &[u8]) -> OperatorResult<bool> {
        if !self.frames.has_room() {
            return Ok(false);
        }
        self.frames.send(kind, parts(bytes))?;
        Ok(true)
    }

    /// Sends as soon as there is room.
    pub(crate) fn send(&mut self, kind: FrameKind, bytes: &[u8]) {
        let deadline = Instant::now() + PATIENCE;
        while !self.try_send(kind, bytes).expect("not lost") {
            assert!(Instant::now() < deadline, "no room in time");
            self.signal.wait(Some(deadline));
        }
    }

    /// Sends within a step that began when there was room.
    pub(crate) fn push(&mut self, kind: FrameKind, bytes: &[u8]) {
        self.frames.send(kind, parts(bytes)).expect("not lost");
    }

    pub(crate) fn data(&mut self, bytes: &[u8]) {
        self.send(FrameKind::Data, bytes);
    }

    pub(crate) fn has_room(&self) -> bool {
        self.frames.has_room()
    }

    /// The error when the connection is lost.
    pub(crate) fn lost(&mut self) -> OperatorError {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.try_send(FrameKind::Control, b"?") {
                Err(error) => return error,
                Ok(_) => assert!(Instant::now() < deadline, "not lost in time"),
            }
            self.signal.wait(Some(Instant::now() + Duration::from_millis(1)));
        }
    }
}

impl Receiver {
    pub(crate) fn now(&mut self) -> OperatorResult<Option<(FrameKind, Buffer)>> {
        self.frames.receive()
    }

    pub(crate) fn try_receive(&mut self) -> OperatorResult<(FrameKind, Buffer)> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(frame) = self.frames.receive()? {
                return Ok(frame);
            }
            assert!(Instant::now() < deadline, "nothing came in time");
            self.signal.wait(Some(deadline));
        }
    }

    pub(crate) fn receive(&mut self) -> (FrameKind, Vec<u8>) {
        let (kind, frame) = self.try_receive().expect("not lost");
        (kind, frame.to_vec())
    }

    pub(crate) fn expect(&mut self, kind: FrameKind, bytes: &[u8]) {
        let received = self.receive();
        assert!(received == (kind, bytes.to_vec()), "{:?} of {} bytes", received.0, received.1.len());
    }
}

/// Waits until `holds`.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "in time: {what}");
        std::thread::yield_now();
    }
}
