//! Frames over a socket: four bytes of length, then the frame.

use std::io::{self, Read, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Error, Result};
use crate::jute::Write;
use crate::proto::ConnectRequest;

/// The longest frame that is read.
const MAX_FRAME_BYTES: usize = 64 << 20;

/// A connection without a session, on which any bytes can be sent.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    writer: Writer,
    /// What has been read and not taken.
    incoming: Vec<u8>,
}

/// The sending half.
#[derive(Debug, Clone)]
pub(super) struct Writer(Arc<Mutex<(TcpStream, Instant)>>);

impl Writer {
    /// Sends bytes.
    pub(super) fn send_bytes(&self, bytes: &[u8]) -> io::Result<()> {
        let mut locked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        locked.1 = Instant::now();
        locked.0.write_all(bytes)
    }

    /// Sends a frame, with its length in front.
    pub(super) fn send_frame(&self, frame: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(frame.len() + 4);
        bytes.buffer(Some(frame));
        self.send_bytes(&bytes)
    }

    /// Time since anything was sent.
    pub(super) fn idle(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1.elapsed()
    }
}

impl Wire {
    /// Connects to `host:port`.
    pub fn connect(server: &str, timeout: Duration) -> io::Result<Wire> {
        let mut failure = None;
        for address in server.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, timeout) {
                Ok(stream) => return Wire::over(stream),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address")))
    }

    fn over(stream: TcpStream) -> io::Result<Wire> {
        stream.set_nodelay(true)?;
        let writer = Writer(Arc::new(Mutex::new((stream.try_clone()?, Instant::now()))));
        Ok(Wire { stream, writer, incoming: Vec::new() })
    }

    /// The server's address.
    pub fn peer(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }

    /// Sends bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.writer.send_bytes(bytes).map_err(closed_or_io)
    }

    /// Sends a frame, with its length in front.
    pub fn send_frame(&mut self, frame: &[u8]) -> Result<()> {
        self.writer.send_frame(frame).map_err(closed_or_io)
    }

    /// Sends the first packet; returns the frame that answers it.
    pub fn greet(&mut self, request: &ConnectRequest, within: Duration) -> Result<Vec<u8>> {
        let mut frame = Vec::new();
        request.write(&mut frame);
        self.send_frame(&frame)?;
        self.read_frame(within)?.ok_or(Error::TimedOut(within))
    }

    /// The next frame, or `None` if none is complete in time. [`Error::Closed`] once the server has closed the connection.
    pub fn read_frame(&mut self, within: Duration) -> Result<Option<Vec<u8>>> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(length) = self.incoming.first_chunk().map(|bytes| i32::from_be_bytes(*bytes)) {
                let length = usize::try_from(length)
                    .ok()
                    .filter(|length| *length <= MAX_FRAME_BYTES)
                    .ok_or(crate::jute::JuteError::Length { at: 0, length })?;
                if self.incoming.len() >= 4 + length {
                    let frame = self.incoming[4..4 + length].to_vec();
                    self.incoming.drain(..4 + length);
                    return Ok(Some(frame));
                }
            }
            if !self.fill(deadline)? {
                return Ok(None);
            }
        }
    }

    /// All bytes that come until the server closes the connection, as of a four-letter word. [`Error::TimedOut`] if it does not in time.
    pub fn read_to_end(&mut self, within: Duration) -> Result<Vec<u8>> {
        let deadline = Instant::now() + within;
        loop {
            match self.fill(deadline) {
                Ok(true) => {}
                Ok(false) => return Err(Error::TimedOut(within)),
                Err(Error::Closed) => return Ok(std::mem::take(&mut self.incoming)),
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether the server closes the connection in time. What it sends before is dropped.
    pub fn is_closed_within(&mut self, within: Duration) -> bool {
        !matches!(self.read_to_end(within), Err(Error::TimedOut(_)))
    }

    /// Closes the connection without a word.
    pub fn shut_down(&self) {
        // It may be closed already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// The socket, once all that has come is taken.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }

    pub(super) fn clone_for_writing(&self) -> Writer {
        self.writer.clone()
    }

    /// Reads what there is; false if nothing comes in time.
    fn fill(&mut self, deadline: Instant) -> Result<bool> {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_micros(1));
        self.stream.set_read_timeout(Some(left))?;
        let mut bytes = [0; 16 << 10];
        match self.stream.read(&mut bytes) {
            Ok(0) => Err(Error::Closed),
            Ok(count) => {
                self.incoming.extend_from_slice(&bytes[..count]);
                Ok(true)
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Ok(false),
                io::ErrorKind::Interrupted => Ok(true),
                _ => Err(closed_or_io(error)),
            },
        }
    }
}

fn closed_or_io(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::NotConnected => {
            Error::Closed
        }
        _ => Error::Io(error),
    }
}
