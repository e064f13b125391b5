//! Sessions opened and closed: each slot connects, greets, closes its session, and begins anew.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::connections::{Inbox, Outbox};
use super::drive::{Clock, Measured};
use super::{Failure, Result};
use crate::proto::op;

struct Slot {
    stream: TcpStream,
    inbox: Inbox,
    outbox: Outbox,
    since: Instant,
    /// Frames received: the answer to the first packet, then that to `closeSession`.
    frames: u32,
}

impl Slot {
    fn open(address: SocketAddr, poll: &Poll, index: usize) -> Result<Slot> {
        let since = Instant::now();
        let mut stream = TcpStream::connect(address)?;
        poll.registry().register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE)?;
        stream.set_nodelay(true)?;
        let mut outbox = Outbox::default();
        outbox.greet();
        Ok(Slot { stream, inbox: Inbox::default(), outbox, since, frames: 0 })
    }

    /// Goes on with what can be done; true once the session is closed.
    fn step(&mut self, readable: bool) -> Result<bool> {
        let mut open = true;
        if readable {
            let (frames, outbox) = (&mut self.frames, &mut self.outbox);
            open = self.inbox.read(&self.stream, |_| {
                *frames += 1;
                if *frames == 1 {
                    outbox.request(|_| op::CLOSE_SESSION);
                }
            })?;
        }
        if self.frames >= 2 {
            return Ok(true);
        }
        if !open {
            return Err(Failure::Closed);
        }
        self.outbox.flush(&self.stream)?;
        Ok(false)
    }
}

pub(super) fn measure(server: &str, count: usize, seconds: f64, mark: &mut dyn FnMut()) -> Result<Measured> {
    let address = server.to_socket_addrs()?.next().ok_or(Failure::Closed)?;
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let mut slots = Vec::with_capacity(count);
    for index in 0..count {
        slots.push(Slot::open(address, &poll, index)?);
    }
    let mut clock = Clock::new(seconds, mark);
    let mut last = Instant::now();
    while clock.is_running() {
        match poll.poll(&mut events, Some(Duration::from_millis(20))) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            result => result?,
        }
        for event in &events {
            let index = event.token().0;
            let slot = &mut slots[index];
            if let Some(error) = slot.stream.take_error()? {
                return Err(error.into());
            }
            // Writable before it is connected: the event tells again once it is.
            if slot.stream.peer_addr().is_err() {
                continue;
            }
            if slot.step(event.is_readable())? {
                last = Instant::now();
                clock.done(slot.since, last);
                *slot = Slot::open(address, &poll, index)?;
            }
        }
        if last.elapsed() > Duration::from_secs(20) {
            return Err(Failure::Silent(count));
        }
    }
    Ok(clock.measured)
}
