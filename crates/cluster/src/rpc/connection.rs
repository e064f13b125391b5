//! One connection, after its handshake: a thread that reads, a thread that writes, and a bounded queue between the writer and
//! whoever sends.
//!
//! Invariant: messages of one direction arrive in the order in which they were sent, or [`Event::Closed`] comes, once, and nothing
//! after it. Who has sent nothing for the timeout, or does not read what is sent to him, is disconnected.

use std::io::{BufReader, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::frame;
use super::stream::Stream;

/// Frames that wait to be written.
const MAX_QUEUED_FRAMES: usize = 16_384;

/// Bytes that wait to be written.
const MAX_QUEUED_BYTES: usize = 64 << 20;

/// How often each side says that it is there, and how long it may say nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    /// `heartbeat.interval`.
    pub interval: Duration,
    /// `heartbeat.timeout`.
    pub timeout: Duration,
}

/// 1 s and 10 s. Flink's are 10 s and 50 s: here a heartbeat is six bytes on a connection that is there anyway.
impl Default for Heartbeat {
    fn default() -> Self {
        Self { interval: Duration::from_secs(1), timeout: Duration::from_secs(10) }
    }
}

/// What comes from the other side.
#[derive(Debug)]
pub(crate) enum Event<T> {
    /// A message; heartbeats are among them.
    Message(T),
    /// Nothing comes any more, and nothing that was sent lately need have arrived.
    Closed(String),
}

/// The sending end; clones share it.
#[derive(Clone)]
pub(crate) struct Connection {
    queue: SyncSender<Vec<u8>>,
    queued_bytes: Arc<AtomicUsize>,
    end: Arc<End>,
}

enum End {
    Stream(Stream),
    /// Of a simulation: whether it is closed.
    #[cfg(test)]
    Simulated(std::sync::atomic::AtomicBool),
}

impl Connection {
    /// Takes a stream over. `heartbeat` is what is sent when there is nothing else to send; `on_event` is called on the reader's
    /// thread.
    ///
    /// # Errors
    /// When the system gives no thread, or the stream is closed already.
    pub(crate) fn open<In: DeserializeOwned>(
        stream: Stream,
        times: Heartbeat,
        heartbeat: &impl Serialize,
        mut on_event: impl FnMut(Event<In>) + Send + 'static,
    ) -> std::io::Result<Self> {
        let heartbeat = frame::encode(heartbeat).map_err(std::io::Error::other)?;
        stream.configure(times.timeout)?;
        let (queue, frames) = sync_channel(MAX_QUEUED_FRAMES);
        let queued_bytes = Arc::new(AtomicUsize::new(0));
        let writer = Writer { stream: stream.try_clone()?, frames, queued_bytes: queued_bytes.clone() };
        let from = stream.try_clone()?;
        std::thread::Builder::new()
            .name("rpc-write".into())
            .spawn(move || writer.run(&heartbeat, times.interval))?;
        let reading = std::thread::Builder::new().name("rpc-read".into()).spawn(move || {
            let mut reader = BufReader::new(from);
            let mut buffer = Vec::new();
            let error = loop {
                match frame::read(&mut reader, &mut buffer) {
                    Ok(message) => on_event(Event::Message(message)),
                    Err(error) => break error,
                }
            };
            reader.get_ref().shutdown();
            on_event(Event::Closed(describe(&error, times.timeout)));
        });
        if let Err(error) = reading {
            stream.shutdown();
            return Err(error);
        }
        Ok(Self { queue, queued_bytes, end: Arc::new(End::Stream(stream)) })
    }

    /// Sends a message, or closes the connection when that cannot be done: the other side does not read. The reader says so.
    pub(crate) fn send(&self, message: &impl Serialize) {
        let sent = frame::encode(message).and_then(|frame| {
            let bytes = frame.len();
            if self.queued_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > MAX_QUEUED_BYTES {
                return Err(format!("{MAX_QUEUED_BYTES} bytes wait to be sent"));
            }
            self.queue.try_send(frame).map_err(|e| e.to_string())
        });
        if let Err(reason) = sent {
            tracing::warn!("a connection is closed, its other side is behind: {reason}");
            self.close();
        }
    }

    /// Closes the connection; what has not been written is lost.
    pub(crate) fn close(&self) {
        match self.end.as_ref() {
            End::Stream(stream) => stream.shutdown(),
            #[cfg(test)]
            End::Simulated(closed) => closed.store(true, Ordering::Relaxed),
        }
    }

    /// One whose frames go to a simulation.
    #[cfg(test)]
    pub(crate) fn simulated() -> (Self, Receiver<Vec<u8>>) {
        let (queue, frames) = sync_channel(MAX_QUEUED_FRAMES);
        let end = Arc::new(End::Simulated(Default::default()));
        (Self { queue, queued_bytes: Arc::default(), end }, frames)
    }

    /// Whether this side of a simulated one has closed it.
    #[cfg(test)]
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.end.as_ref(), End::Simulated(closed) if closed.load(Ordering::Relaxed))
    }
}

struct Writer {
    stream: Stream,
    frames: Receiver<Vec<u8>>,
    queued_bytes: Arc<AtomicUsize>,
}

impl Writer {
    fn run(mut self, heartbeat: &[u8], interval: Duration) {
        loop {
            let written = match self.frames.recv_timeout(interval) {
                Ok(frame) => self.write(frame),
                Err(RecvTimeoutError::Timeout) => self.stream.write_all(heartbeat),
                // Everybody who could send is gone.
                Err(RecvTimeoutError::Disconnected) => break,
            };
            if written.is_err() {
                break;
            }
        }
        self.stream.shutdown();
    }

    /// Writes a frame, and with it what waits behind it, up to a bound.
    fn write(&mut self, mut frame: Vec<u8>) -> std::io::Result<()> {
        while frame.len() < 64 << 10 {
            let Ok(next) = self.frames.try_recv() else { break };
            frame.extend(next);
        }
        let written = self.stream.write_all(&frame);
        self.queued_bytes.fetch_sub(frame.len(), Ordering::Relaxed);
        written
    }
}

fn describe(error: &std::io::Error, timeout: Duration) -> String {
    match error.kind() {
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => {
            format!("nothing came for {} ms", timeout.as_millis())
        }
        std::io::ErrorKind::UnexpectedEof => "it was closed".into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::sync::mpsc;

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connects");
        (client, listener.accept().expect("accepts").0)
    }

    fn open(stream: TcpStream, times: Heartbeat) -> (Connection, mpsc::Receiver<Event<u64>>) {
        let (events, inbox) = mpsc::channel();
        let connection = Connection::open(stream.into(), times, &0u64, move |event| drop(events.send(event)));
        (connection.expect("threads"), inbox)
    }

    #[test]
    fn messages_arrive_in_order_and_then_the_end() {
        let (a, b) = pair();
        let ((a, _), (_b, inbox)) = (open(a, Heartbeat::default()), open(b, Heartbeat::default()));
        (1..=1000u64).for_each(|n| a.send(&n));
        for n in 1..=1000 {
            assert!(matches!(inbox.recv(), Ok(Event::Message(m)) if m == n));
        }
        a.close();
        assert!(matches!(inbox.recv(), Ok(Event::Closed(_))));
        assert!(inbox.recv().is_err(), "nothing after the end");
    }

    #[test]
    fn heartbeats_keep_a_connection_and_silence_ends_it() {
        let times = Heartbeat { interval: Duration::from_millis(20), timeout: Duration::from_millis(200) };
        let (a, b) = pair();
        let (_silent, (_b, inbox)) = (a.try_clone(), open(b, times));
        let closed = inbox.recv().expect("an end");
        assert!(matches!(&closed, Event::Closed(reason) if reason.contains("200 ms")), "{closed:?}");

        let (a, b) = pair();
        let ((_a, _), (_b, inbox)) = (open(a, times), open(b, times));
        for _ in 0..20 {
            assert!(matches!(inbox.recv(), Ok(Event::Message(0))));
        }
    }

    #[test]
    fn who_does_not_read_is_disconnected() {
        let (a, _unread) = pair();
        // Long enough for the bound alone to end it.
        let hour = Duration::from_secs(3600);
        let (a, inbox) = open(a, Heartbeat { interval: hour, timeout: hour });
        let large = vec![0u8; 8 << 20];
        for _ in 0..12 {
            a.send(&large);
        }
        assert!(matches!(inbox.recv(), Ok(Event::Closed(_))));
    }
}
