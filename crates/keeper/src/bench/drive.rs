//! Closed loops: each connection keeps `depth` operations under way for as long as the case is measured.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::connections::Connections;
use super::{Failure, Result};
use crate::jute::Reader;
use crate::proto::ReplyHeader;

/// Time before measuring, for caches and compilers to warm up.
const RAMP: Duration = Duration::from_millis(500);
/// How long the last answers may take.
const DRAIN: Duration = Duration::from_secs(20);

/// Requests of a case.
pub(super) trait Load {
    /// Appends the next request of a connection; returns its type.
    fn next(&mut self, connection: usize, out: &mut Vec<u8>) -> i32;

    /// Takes the answer. An operation that needs one more request appends it and returns its type.
    fn answered(&mut self, _connection: usize, _body: &[u8], _out: &mut Vec<u8>) -> Option<i32> {
        None
    }

    /// Whether an operation takes several requests, so that [`Load::answered`] is to be asked.
    fn has_steps(&self) -> bool {
        false
    }
}

/// What was measured of one case.
#[derive(Debug, Clone, Default)]
pub(super) struct Measured {
    /// Operations done.
    pub(super) operations: u64,
    /// Time measured.
    pub(super) elapsed: Duration,
    /// Latency of each operation, in ns.
    pub(super) latencies: Vec<u64>,
    /// Operations that the server refused, and the code of the last.
    pub(super) refused: (u64, i32),
}

/// Keeps the times of a measurement.
pub(super) struct Clock<'a> {
    start: Instant,
    end: Instant,
    started: bool,
    ended: bool,
    /// Called when measuring begins and when it ends.
    mark: &'a mut dyn FnMut(),
    pub(super) measured: Measured,
}

impl<'a> Clock<'a> {
    pub(super) fn new(seconds: f64, mark: &'a mut dyn FnMut()) -> Self {
        let start = Instant::now() + RAMP.min(Duration::from_secs_f64(seconds / 2.0));
        Clock {
            start,
            end: start + Duration::from_secs_f64(seconds),
            started: false,
            ended: false,
            mark,
            measured: Measured::default(),
        }
    }

    /// Whether to go on.
    pub(super) fn is_running(&mut self) -> bool {
        let now = Instant::now();
        if !self.started && now >= self.start {
            self.started = true;
            self.start = now;
            (self.mark)();
        }
        if !self.ended && now >= self.end {
            self.ended = true;
            (self.mark)();
            self.measured.elapsed = now - self.start;
        }
        !self.ended
    }

    /// Counts an operation.
    pub(super) fn done(&mut self, since: Instant, now: Instant) {
        if self.started && !self.ended {
            self.measured.operations += 1;
            let nanoseconds = now.duration_since(since).as_nanos();
            self.measured.latencies.push(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        }
    }

    /// Counts a refusal.
    pub(super) fn refused(&mut self, err: i32) {
        self.measured.refused = (self.measured.refused.0 + 1, err);
    }
}

/// An operation under way.
struct Pending {
    xid: i32,
    since: Instant,
}

/// Runs `load` over `connections`.
pub(super) fn drive(
    connections: &mut Connections,
    depth: usize,
    seconds: f64,
    load: &mut dyn Load,
    mark: &mut dyn FnMut(),
) -> Result<Measured> {
    let mut pending: Vec<VecDeque<Pending>> = (0..connections.len()).map(|_| VecDeque::new()).collect();
    let mut clock = Clock::new(seconds, mark);
    for (index, queue) in pending.iter_mut().enumerate() {
        for _ in 0..depth {
            let since = Instant::now();
            let xid = connections.outbox(index).request(|out| load.next(index, out));
            queue.push_back(Pending { xid, since });
        }
    }
    connections.flush()?;
    let mut under_way = connections.len() * depth;
    let mut disorder = None;
    let mut drained_by = None;
    loop {
        let running = clock.is_running();
        if !running {
            let by = *drained_by.get_or_insert_with(|| Instant::now() + DRAIN);
            if under_way == 0 {
                return Ok(clock.measured);
            }
            if Instant::now() > by {
                return Err(Failure::Silent(under_way));
            }
        }
        connections.turn(Duration::from_millis(20), |index, frame, outbox| {
            let mut reader = Reader::new(frame);
            let Ok(header) = ReplyHeader::read(&mut reader) else {
                disorder = Some((0, 0));
                return;
            };
            if header.xid < 0 {
                return;
            }
            let Some(Pending { xid, since }) = pending[index].pop_front() else { return };
            if xid != header.xid {
                disorder = Some((header.xid, xid));
            }
            if header.err != 0 {
                clock.refused(header.err);
            } else if load.has_steps() {
                let mut body = Vec::new();
                if let Some(op) = load.answered(index, reader.rest(), &mut body) {
                    let xid = outbox.request(|out| {
                        out.extend_from_slice(&body);
                        op
                    });
                    pending[index].push_back(Pending { xid, since });
                    return;
                }
            }
            let now = Instant::now();
            if header.err == 0 {
                clock.done(since, now);
            }
            if running {
                let xid = outbox.request(|out| load.next(index, out));
                pending[index].push_back(Pending { xid, since: now });
            } else {
                under_way -= 1;
            }
        })?;
        if let Some((got, wanted)) = disorder {
            return Err(Failure::Disorder { got, wanted });
        }
    }
}
