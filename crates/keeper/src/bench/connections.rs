//! Many connections in one non-blocking loop, so that the load takes little of the machine that it shares with the server.

use std::io::{self, Read, Write as _};
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::{Failure, Result};
use crate::client::Wire;
use crate::jute::Write;
use crate::proto::ConnectRequest;

/// Session timeout asked for: long enough for a connection that a case leaves idle.
pub(super) const SESSION_TIMEOUT_MS: i32 = 40_000;

/// Frames to send.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
    last_xid: i32,
}

impl Outbox {
    /// Queues a request, whose type `write` returns after appending its body; returns its number.
    pub(super) fn request(&mut self, write: impl FnOnce(&mut Vec<u8>) -> i32) -> i32 {
        self.last_xid += 1;
        let start = self.bytes.len();
        self.bytes.int(0);
        self.bytes.int(self.last_xid);
        self.bytes.int(0);
        let op = write(&mut self.bytes);
        self.bytes[start + 8..start + 12].copy_from_slice(&op.to_be_bytes());
        self.end_frame(start);
        self.last_xid
    }

    /// Queues the first packet of a connection.
    pub(super) fn greet(&mut self) {
        let start = self.bytes.len();
        self.bytes.int(0);
        greeting().write(&mut self.bytes);
        self.end_frame(start);
    }

    fn end_frame(&mut self, start: usize) {
        let length = crate::jute::length_as_int(self.bytes.len() - start - 4);
        self.bytes[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }

    /// Sends as much as the socket takes.
    pub(super) fn flush(&mut self, mut stream: &TcpStream) -> io::Result<()> {
        while self.sent < self.bytes.len() {
            match stream.write(&self.bytes[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.bytes.clear();
        self.sent = 0;
        Ok(())
    }
}

/// Bytes received that are not a whole frame yet.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
    filled: usize,
}

impl Inbox {
    /// Reads what there is and hands on each whole frame; false once the server has closed the connection.
    pub(super) fn read(&mut self, mut stream: &TcpStream, mut frame: impl FnMut(&[u8])) -> io::Result<bool> {
        loop {
            if self.bytes.len() < self.filled + (16 << 10) {
                self.bytes.resize(self.filled + (64 << 10), 0);
            }
            let room = self.bytes.len() - self.filled;
            let count = match stream.read(&mut self.bytes[self.filled..]) {
                Ok(0) => return Ok(false),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.filled += count;
            let mut at = 0;
            while let Some(length) = self.bytes[at..self.filled].first_chunk() {
                let length = usize::try_from(i32::from_be_bytes(*length))
                    .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "negative length of a frame"))?;
                let Some(whole) = self.bytes[at..self.filled].get(4..4 + length) else { break };
                frame(whole);
                at += 4 + length;
            }
            self.bytes.copy_within(at..self.filled, 0);
            self.filled -= at;
            // A read that leaves room has emptied the socket; should more have come since, the next event tells.
            if count < room {
                return Ok(true);
            }
        }
    }
}

/// One connection with a session.
#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    inbox: Inbox,
    outbox: Outbox,
}

/// All connections of a case.
pub(super) struct Connections {
    poll: Poll,
    events: Events,
    connections: Vec<Connection>,
}

impl Connections {
    /// Opens `count` sessions.
    pub(super) fn open(server: &str, count: usize) -> Result<Self> {
        let poll = Poll::new()?;
        let mut connections = Vec::with_capacity(count);
        for index in 0..count {
            let mut wire = Wire::connect(server, Duration::from_secs(10))?;
            wire.greet(&greeting(), Duration::from_secs(10))?;
            let stream = wire.into_stream();
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            poll.registry().register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE)?;
            connections.push(Connection { stream, inbox: Inbox::default(), outbox: Outbox::default() });
        }
        Ok(Connections { poll, events: Events::with_capacity(1024), connections })
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.connections.len()
    }

    /// Where connection `index` queues its requests.
    pub(super) fn outbox(&mut self, index: usize) -> &mut Outbox {
        &mut self.connections[index].outbox
    }

    /// Sends what is queued.
    pub(super) fn flush(&mut self) -> Result<()> {
        for connection in &mut self.connections {
            connection.outbox.flush(&connection.stream)?;
        }
        Ok(())
    }

    /// Waits for answers, hands on each frame with the connection's number and its outbox, and sends what that queues.
    pub(super) fn turn(
        &mut self,
        wait: Duration,
        mut frame: impl FnMut(usize, &[u8], &mut Outbox),
    ) -> Result<()> {
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        for event in &self.events {
            let index = event.token().0;
            let connection = &mut self.connections[index];
            if event.is_readable() {
                let outbox = &mut connection.outbox;
                let open = connection.inbox.read(&connection.stream, |bytes| frame(index, bytes, outbox))?;
                if !open {
                    return Err(Failure::Closed);
                }
            }
            connection.outbox.flush(&connection.stream)?;
        }
        Ok(())
    }
}

/// The first packet: a new session.
pub(super) fn greeting() -> ConnectRequest<'static> {
    ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: 0,
        timeout_ms: SESSION_TIMEOUT_MS,
        session_id: 0,
        passwd: &[0; 16],
        read_only: Some(false),
    }
}
