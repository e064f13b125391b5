//! Bytes of one connection: what reads and what writes them.
//!
//! A payload is read straight into the buffer that becomes the batch, and written straight from the batch's own buffers; only what
//! is small is gathered. Invariants: each frame is admitted before memory is taken for it, and memory grows with what has
//! arrived; any violation ends the connection.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::buffer::Buffer;
use bytes::{BufMut, Bytes, BytesMut};
use streamkeeper_dataflow::network::FrameKind;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::Counters;
use super::frame::{HEADER, Header, Kind, Violation, decode_grant, decode_open};
use super::link::Link;
use super::outbox::OutFrame;

/// What is read at once when no payload is due: most frames without rows fit.
const SCRATCH: usize = 16 << 10;

/// What is taken for a payload before any of it has arrived, at most.
const FIRST_ALLOCATION: usize = 4 << 20;

/// Frames are gathered up to this size before they are written.
const GATHER_BYTES: usize = 1 << 20;

/// Parts of a frame that are no longer are copied, since each part has a cost too.
const SMALL_PART: usize = 2048;

/// Parts that are written at once.
const PARTS_PER_WRITE: usize = 64;

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it does not keep to the protocol: {0}")]
    Violation(#[from] Violation),
    #[error("it has closed the connection")]
    Closed,
}

/// Reads frames until the connection ends.
pub(super) async fn read(
    link: &Link,
    mut input: impl AsyncRead + Unpin,
    counters: &Counters,
) -> Result<(), Ended> {
    let mut input = Input { stream: &mut input, scratch: BytesMut::with_capacity(SCRATCH) };
    loop {
        let header = Header::decode(input.header().await?)?;
        let (handle, length) = (header.handle, header.length as usize);
        counters.bytes_in.fetch_add((HEADER + length) as u64, Ordering::Relaxed);
        let kind = match header.kind {
            Kind::Data => FrameKind::Data,
            Kind::Control => FrameKind::Control,
            Kind::Open => {
                let (id, window) = decode_open(&input.payload(length).await?)?;
                link.on_open(handle, id, window)?;
                continue;
            }
            Kind::Grant => {
                link.on_grant(handle, decode_grant(&input.payload(length).await?)?)?;
                continue;
            }
            Kind::Close => {
                link.on_close(handle);
                continue;
            }
            Kind::Finish => {
                link.on_finish(handle);
                continue;
            }
        };
        match link.receiver_of(handle) {
            Some(end) => {
                end.admit(kind, length)?;
                let frame = input.payload(length).await?;
                end.deliver(kind, Buffer::from(frame));
            }
            // Its receiver has left, with its generation.
            None => {
                counters.frames_dropped.fetch_add(1, Ordering::Relaxed);
                input.skip(length).await?;
            }
        }
    }
}

struct Input<'a, R> {
    stream: &'a mut R,
    scratch: BytesMut,
}

impl<R: AsyncRead + Unpin> Input<'_, R> {
    async fn fill(&mut self) -> Result<(), Ended> {
        self.scratch.reserve(SCRATCH);
        match self.stream.read_buf(&mut (&mut self.scratch).limit(SCRATCH)).await? {
            0 => Err(Ended::Closed),
            _ => Ok(()),
        }
    }

    async fn header(&mut self) -> Result<[u8; HEADER], Ended> {
        loop {
            if let Some((header, _)) = self.scratch.split_first_chunk::<HEADER>() {
                let header = *header;
                let _ = self.scratch.split_to(HEADER);
                return Ok(header);
            }
            self.fill().await?;
        }
    }

    /// A payload in memory of its own. Allocators align that for any type; Arrow copies columns where one does not.
    async fn payload(&mut self, length: usize) -> Result<Bytes, Ended> {
        let here = self.scratch.len().min(length);
        let mut payload = BytesMut::with_capacity(length.min(FIRST_ALLOCATION));
        payload.extend_from_slice(&self.scratch.split_to(here));
        while payload.len() < length {
            let missing = length - payload.len();
            if payload.len() == payload.capacity() {
                payload.reserve(missing.min(payload.len()));
            }
            if self.stream.read_buf(&mut (&mut payload).limit(missing)).await? == 0 {
                return Err(Ended::Closed);
            }
        }
        Ok(payload.freeze())
    }

    async fn skip(&mut self, mut length: usize) -> Result<(), Ended> {
        loop {
            let here = self.scratch.len().min(length);
            let _ = self.scratch.split_to(here);
            length -= here;
            if length == 0 {
                return Ok(());
            }
            self.fill().await?;
        }
    }
}

/// Writes what the link has to send until the connection ends.
pub(super) async fn write(
    link: &Link,
    mut output: impl AsyncWrite + Unpin,
    counters: &Counters,
) -> Result<(), Ended> {
    let mut gathered = Gathered::default();
    loop {
        link.take_frames(|frame| gathered.add(frame)).await;
        counters.bytes_out.fetch_add(gathered.bytes as u64, Ordering::Relaxed);
        gathered.write(&mut output).await?;
        output.flush().await?;
        gathered.clear();
    }
}

enum Segment {
    Copied(Range<usize>),
    Shared(Buffer),
}

/// Frames that are written together.
#[derive(Default)]
struct Gathered {
    copied: Vec<u8>,
    segments: Vec<Segment>,
    bytes: usize,
}

impl Gathered {
    /// Adds a frame. Returns whether another one is welcome.
    fn add(&mut self, frame: OutFrame) -> bool {
        self.copy(&frame.header.encode());
        self.bytes += HEADER + frame.header.length as usize;
        for part in frame.parts {
            match part.len() {
                0..=SMALL_PART => self.copy(&part),
                _ => self.segments.push(Segment::Shared(part)),
            }
        }
        self.bytes < GATHER_BYTES && self.segments.len() < PARTS_PER_WRITE
    }

    fn copy(&mut self, bytes: &[u8]) {
        let start = self.copied.len();
        self.copied.extend_from_slice(bytes);
        let end = self.copied.len();
        match self.segments.last_mut() {
            Some(Segment::Copied(range)) => range.end = end,
            _ => self.segments.push(Segment::Copied(start..end)),
        }
    }

    async fn write(&self, output: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        for segments in self.segments.chunks(PARTS_PER_WRITE) {
            let mut slices = [IoSlice::new(&[]); PARTS_PER_WRITE];
            for (slice, segment) in slices.iter_mut().zip(segments) {
                *slice = IoSlice::new(match segment {
                    Segment::Copied(range) => &self.copied[range.clone()],
                    Segment::Shared(buffer) => buffer,
                });
            }
            let mut slices = &mut slices[..segments.len()];
            IoSlice::advance_slices(&mut slices, 0);
            while !slices.is_empty() {
                match output.write_vectored(slices).await? {
                    0 => return Err(io::ErrorKind::WriteZero.into()),
                    written => IoSlice::advance_slices(&mut slices, written),
                }
            }
        }
        Ok(())
    }

    fn clear(&mut self) {
        self.copied.clear();
        self.segments.clear();
        self.bytes = 0;
    }
}

/// Runs a link's connection until it ends, and fails the link's channels then.
pub(super) fn run(
    link: &Arc<Link>,
    input: impl AsyncRead + Unpin + Send + 'static,
    output: impl AsyncWrite + Unpin + Send + 'static,
    counters: &Arc<Counters>,
    at_end: impl Fn() + Clone + Send + Sync + 'static,
) {
    let ended = move |link: &Link, result: Result<(), Ended>| {
        if let Err(reason) = result {
            link.lose(&reason.to_string());
        }
        at_end();
    };
    let reader = {
        let (link, counters, ended) = (link.clone(), counters.clone(), ended.clone());
        tokio::spawn(async move { ended(&link, read(&link, input, &counters).await) })
    };
    let writer = {
        let (link, counters) = (link.clone(), counters.clone());
        tokio::spawn(async move { ended(&link, write(&link, output, &counters).await) })
    };
    link.keep(reader.abort_handle());
    link.keep(writer.abort_handle());
}
