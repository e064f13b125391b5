//! One edge without a job: what tests and benchmarks of a [`Network`] drive instead of tasks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{EdgeId, Network};
use crate::batch::Batch;
use crate::channel::{Receiver, Signal};
use crate::element::{Control, Element};
use crate::error::{Error, OperatorError, OperatorResult};
use crate::exchange::{EdgeOutput, EdgeSetup, Exchange, Peer, connect};

/// An edge, as one of its processes sees it.
pub struct Edge<'a, B> {
    /// Names it; the same in all processes.
    pub id: EdgeId,
    /// How rows are dealt out.
    pub exchange: Exchange<B>,
    /// Where each producing subtask is: the address of its process's network, or `None`: in this one.
    pub producers: &'a [Option<&'a str>],
    /// Where each consuming subtask is.
    pub consumers: &'a [Option<&'a str>],
    /// Bound of each channel.
    pub capacity_bytes: usize,
}

/// A producing subtask's end of an edge.
pub struct Producer<B> {
    output: EdgeOutput<B>,
    signal: Arc<Signal>,
}

/// A consuming subtask's end of an edge.
pub struct Consumer<B> {
    channels: Vec<Box<dyn Receiver<B>>>,
    signal: Arc<Signal>,
}

/// The ends of an edge that are in this process, `None` for the others.
pub type Ends<B> = (Vec<Option<Producer<B>>>, Vec<Option<Consumer<B>>>);

impl<B: Batch> Edge<'_, B> {
    /// Makes this process's ends.
    ///
    /// # Errors
    /// When an end is of another type.
    pub fn connect(&self, network: &dyn Network) -> Result<Ends<B>, Error> {
        let peers = |places: &[Option<&str>]| -> Vec<Peer> {
            let peer = |place: &Option<&str>| match place {
                Some(address) => Peer::Remote(Arc::from(*address)),
                None => Peer::Local(Arc::default()),
            };
            places.iter().map(peer).collect()
        };
        let (producers, consumers) = (peers(self.producers), peers(self.consumers));
        let (outputs, inputs) = connect(
            &self.exchange,
            &EdgeSetup {
                producers: &producers,
                consumers: &consumers,
                max_parallelism: 128,
                capacity_bytes: self.capacity_bytes,
                buffer_timeout: Duration::from_millis(100),
                edge: self.id,
                network: Some(network),
            },
        )?;
        let signals = |peers: Vec<Peer>| {
            peers.into_iter().map(|peer| match peer {
                Peer::Local(signal) => signal,
                Peer::Remote(_) => Arc::default(),
            })
        };
        let wrong = || Error::InvalidJob("an end of an edge is of another type".into());
        let mut ends: Ends<B> = (Vec::new(), Vec::new());
        for (output, signal) in outputs.into_iter().zip(signals(producers)) {
            let output = output.map(|end| end.downcast::<EdgeOutput<B>>().map_err(|_| wrong()));
            ends.0.push(output.transpose()?.map(|output| Producer { output: *output, signal }));
        }
        for (input, signal) in inputs.into_iter().zip(signals(consumers)) {
            let input = input.map(|end| end.downcast::<Vec<Box<dyn Receiver<B>>>>().map_err(|_| wrong()));
            ends.1.push(input.transpose()?.map(|channels| Consumer { channels: *channels, signal }));
        }
        Ok(ends)
    }
}

impl<B: Batch> Producer<B> {
    /// Emits a batch as soon as all channels have room.
    ///
    /// # Errors
    /// As an edge's output.
    pub fn emit(&mut self, batch: B) -> OperatorResult<()> {
        while !self.output.has_room() {
            self.signal.wait(None);
        }
        self.output.emit(batch)
    }

    /// Whether [`Producer::emit`] would not wait.
    pub fn has_room(&self) -> bool {
        self.output.has_room()
    }

    /// Sends a control to all channels, after all rows.
    ///
    /// # Errors
    /// As an edge's output.
    pub fn broadcast(&mut self, control: &Control) -> OperatorResult<()> {
        self.output.broadcast(control)
    }

    /// Sends what waits to be coalesced.
    ///
    /// # Errors
    /// As an edge's output.
    pub fn flush(&mut self) -> OperatorResult<()> {
        self.output.flush()
    }
}

impl<B: Batch> Consumer<B> {
    /// The next element of channel `channel` (the index of its producer, if all are connected), waiting for it at most
    /// `timeout`.
    ///
    /// # Errors
    /// As a channel, and when nothing comes in time.
    pub fn receive(&mut self, channel: usize, timeout: Duration) -> OperatorResult<Element<B>> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(element) = self.channels[channel].receive()? {
                return Ok(element);
            }
            if Instant::now() >= deadline {
                return Err(OperatorError::recoverable(format!("nothing came on channel {channel} in time")));
            }
            self.signal.wait(Some(deadline));
        }
    }
}
