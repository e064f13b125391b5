//! How the rows of a producer's subtasks are dealt out to the consumer's, and one subtask's end of such an edge.
//!
//! Small pieces are coalesced. Invariant: a channel sees a watermark, barrier, idleness or end only after every row that was
//! emitted before it.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::batch::Batch;
use crate::channel::{Receiver, Sender, Signal, in_memory};
use crate::element::{Control, Element};
use crate::error::{Error, OperatorResult};
use crate::key_group::{KeySelector, key_group, subtask_of};
use crate::network::remote::{RemoteReceiver, RemoteSender};
use crate::network::{ChannelId, EdgeId, Network};

/// Rows at which a channel's pending rows are sent.
const COALESCE_ROWS: usize = 1024;

/// Says to which of a consumer's subtasks each row goes.
pub trait Partitioner<B>: Send + Sync {
    /// Replaces `targets` by one subtask (`< parallelism`) per row of `batch`.
    ///
    /// # Errors
    /// When a row cannot be assigned.
    fn partition(&self, batch: &B, parallelism: usize, targets: &mut Vec<u32>) -> OperatorResult<()>;
}

/// How the rows of a producer's subtasks are dealt out to the consumer's. The names are Flink's.
pub enum Exchange<B> {
    /// Subtask i to subtask i; both have the same parallelism.
    Forward,
    /// Batch by batch to the consumers in turn.
    Rebalance,
    /// As `Rebalance`, but among few: each producer has its own share of the consumers, or the other way round.
    Rescale,
    /// Everything to everyone.
    Broadcast,
    /// Row by row to the owner of the key's key group.
    Hash(Arc<dyn KeySelector<B>>),
    /// Row by row to the subtask that the partitioner names.
    Custom(Arc<dyn Partitioner<B>>),
}

impl<B> Clone for Exchange<B> {
    fn clone(&self) -> Self {
        match self {
            Self::Forward => Self::Forward,
            Self::Rebalance => Self::Rebalance,
            Self::Rescale => Self::Rescale,
            Self::Broadcast => Self::Broadcast,
            Self::Hash(keys) => Self::Hash(keys.clone()),
            Self::Custom(partitioner) => Self::Custom(partitioner.clone()),
        }
    }
}

impl<B> Exchange<B> {
    /// Its name in Flink's job graph.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Forward => "FORWARD",
            Self::Rebalance => "REBALANCE",
            Self::Rescale => "RESCALE",
            Self::Broadcast => "BROADCAST",
            Self::Hash(_) => "HASH",
            Self::Custom(_) => "CUSTOM",
        }
    }

    /// Whether there is a channel from subtask `producer` of `producers` to subtask `consumer` of `consumers`.
    fn connects(&self, (producer, producers): (usize, usize), (consumer, consumers): (usize, usize)) -> bool {
        match self {
            Self::Forward => producer == consumer,
            Self::Rescale if producers <= consumers => consumer * producers / consumers == producer,
            Self::Rescale => producer * consumers / producers == consumer,
            _ => true,
        }
    }
}

/// Where the other end of a channel is.
#[derive(Clone)]
pub(crate) enum Peer {
    /// In this process; what its task waits on.
    Local(Arc<Signal>),
    /// In the process whose exchange listens at this address (`host:port`).
    Remote(Arc<str>),
}

/// What the channels of an edge are made from: where its producers' and consumers' subtasks are.
pub(crate) struct EdgeSetup<'a> {
    pub(crate) producers: &'a [Peer],
    pub(crate) consumers: &'a [Peer],
    pub(crate) max_parallelism: u16,
    pub(crate) capacity_bytes: usize,
    pub(crate) buffer_timeout: Duration,
    pub(crate) edge: EdgeId,
    /// How other processes are reached; needed only where a peer is remote.
    pub(crate) network: Option<&'a dyn Network>,
}

impl EdgeSetup<'_> {
    fn channel(&self, producer: usize, consumer: usize) -> ChannelId {
        let EdgeId { job, generation, index } = self.edge;
        ChannelId { job, generation, edge: index, producer: producer as u32, consumer: consumer as u32 }
    }

    fn network(&self) -> Result<&dyn Network, Error> {
        self.network.ok_or_else(|| {
            Error::InvalidJob("a task is placed in another process, but this one has no network".into())
        })
    }
}

/// An end of an edge, types erased; `None` where the subtask is in another process.
pub(crate) type EdgeEnd = Option<Box<dyn Any + Send>>;

/// The ends of an edge: an `EdgeOutput<B>` per producer, a `Vec<Box<dyn Receiver<B>>>` per consumer.
pub(crate) type EdgeEnds = (Vec<EdgeEnd>, Vec<EdgeEnd>);

/// Makes this process's ends of the channels of an edge of batches `B`.
///
/// # Errors
/// When a subtask is in another process and there is no network.
pub(crate) fn connect<B: Batch>(exchange: &Exchange<B>, setup: &EdgeSetup<'_>) -> Result<EdgeEnds, Error> {
    let (producers, consumers) = (setup.producers.len(), setup.consumers.len());
    let owner = |group| subtask_of(group, consumers, setup.max_parallelism) as u32;
    let owners: Arc<[u32]> = (0..setup.max_parallelism).map(owner).collect();
    let mut receivers: Vec<Vec<Box<dyn Receiver<B>>>> = setup.consumers.iter().map(|_| Vec::new()).collect();
    let mut outputs: Vec<EdgeEnd> = Vec::new();
    for (p, producer) in setup.producers.iter().enumerate() {
        let mut channels = Vec::new();
        for (c, consumer) in setup.consumers.iter().enumerate() {
            if !exchange.connects((p, producers), (c, consumers)) {
                continue;
            }
            let (channel, capacity) = (setup.channel(p, c), setup.capacity_bytes);
            let sender: Box<dyn Sender<B>> = match (producer, consumer) {
                (Peer::Local(producer), Peer::Local(consumer)) => {
                    let (sender, receiver) = in_memory(capacity, producer.clone(), consumer.clone());
                    receivers[c].push(receiver);
                    sender
                }
                (Peer::Local(producer), Peer::Remote(to)) => {
                    let frames = setup.network()?.sender(channel, to, capacity, producer.clone());
                    Box::new(RemoteSender::<B>::new(frames))
                }
                (Peer::Remote(from), Peer::Local(consumer)) => {
                    let frames = setup.network()?.receiver(channel, from, capacity, consumer.clone());
                    receivers[c].push(Box::new(RemoteReceiver::<B>::new(frames, from.clone())));
                    continue;
                }
                (Peer::Remote(_), Peer::Remote(_)) => continue,
            };
            channels.push(PendingChannel { sender, pending: Vec::new(), rows: 0 });
        }
        if matches!(producer, Peer::Remote(_)) {
            outputs.push(None);
            continue;
        }
        outputs.push(Some(Box::new(EdgeOutput {
            exchange: exchange.clone(),
            next: p % channels.len().max(1),
            channels,
            owners: owners.clone(),
            buffer_timeout: setup.buffer_timeout,
            pending_since: None,
            hashes: Vec::new(),
            targets: Vec::new(),
        })));
    }
    let end = |(consumer, receivers): (&Peer, Vec<Box<dyn Receiver<B>>>)| -> EdgeEnd {
        matches!(consumer, Peer::Local(_)).then(|| Box::new(receivers) as Box<dyn Any + Send>)
    };
    Ok((outputs, setup.consumers.iter().zip(receivers).map(end).collect()))
}

struct PendingChannel<B> {
    sender: Box<dyn Sender<B>>,
    pending: Vec<B>,
    rows: usize,
}

impl<B: Batch> PendingChannel<B> {
    fn flush(&mut self) -> OperatorResult<()> {
        if !self.pending.is_empty() {
            let batch = B::concat(std::mem::take(&mut self.pending))?;
            self.rows = 0;
            self.sender.send(Element::Batch(batch))?;
        }
        Ok(())
    }

    fn add(&mut self, batch: B) -> OperatorResult<()> {
        let rows = batch.num_rows();
        if self.pending.is_empty() && rows >= COALESCE_ROWS {
            return self.sender.send(Element::Batch(batch));
        }
        self.rows += rows;
        self.pending.push(batch);
        if self.rows >= COALESCE_ROWS { self.flush() } else { Ok(()) }
    }
}

/// One producer's end of an edge.
pub(crate) struct EdgeOutput<B> {
    exchange: Exchange<B>,
    channels: Vec<PendingChannel<B>>,
    next: usize,
    /// The subtask that owns each key group.
    owners: Arc<[u32]>,
    buffer_timeout: Duration,
    pending_since: Option<Instant>,
    hashes: Vec<u64>,
    targets: Vec<u32>,
}

impl<B: Batch> EdgeOutput<B> {
    pub(crate) fn emit(&mut self, batch: B) -> OperatorResult<()> {
        let parallelism = self.channels.len();
        match &self.exchange {
            Exchange::Broadcast => {
                for channel in &mut self.channels {
                    channel.add(batch.clone())?;
                }
            }
            Exchange::Forward => self.channels[0].add(batch)?,
            Exchange::Rebalance | Exchange::Rescale => {
                self.next = (self.next + 1) % parallelism;
                self.channels[self.next].add(batch)?;
            }
            Exchange::Hash(_) | Exchange::Custom(_) if parallelism == 1 => self.channels[0].add(batch)?,
            Exchange::Hash(keys) => {
                keys.hash(&batch, &mut self.hashes)?;
                let owners = &self.owners;
                self.targets.clear();
                let target = |hash: &u64| owners[usize::from(key_group(*hash, owners.len() as u16))];
                self.targets.extend(self.hashes.iter().map(target));
                self.deal(batch)?;
            }
            Exchange::Custom(partitioner) => {
                partitioner.partition(&batch, parallelism, &mut self.targets)?;
                self.deal(batch)?;
            }
        }
        if self.pending_since.is_none() {
            self.pending_since = Some(Instant::now());
        }
        Ok(())
    }

    /// Row i goes to `self.targets[i]`.
    fn deal(&mut self, batch: B) -> OperatorResult<()> {
        let parts = batch.partition(&self.targets, self.channels.len());
        for (channel, part) in self.channels.iter_mut().zip(parts) {
            if let Some(part) = part {
                channel.add(part)?;
            }
        }
        Ok(())
    }

    pub(crate) fn flush(&mut self) -> OperatorResult<()> {
        if self.pending_since.take().is_some() {
            self.channels.iter_mut().try_for_each(PendingChannel::flush)?;
        }
        Ok(())
    }

    /// When rows that wait to be coalesced must be sent at the latest.
    pub(crate) fn flush_deadline(&self) -> Option<Instant> {
        Some(self.pending_since? + self.buffer_timeout)
    }

    pub(crate) fn has_room(&self) -> bool {
        self.channels.iter().all(|channel| channel.sender.has_room())
    }

    /// Sends it to every channel, after all rows.
    pub(crate) fn broadcast(&mut self, control: &Control) -> OperatorResult<()> {
        self.flush()?;
        let control = || Element::Control(control.clone());
        self.channels.iter_mut().try_for_each(|channel| channel.sender.send(control()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Records;

    #[test]
    fn rescale_connects_every_subtask_and_no_more_than_it_must() {
        let rescale = Exchange::<Records<u64>>::Rescale;
        for (producers, consumers) in [(1, 4), (2, 4), (3, 4), (4, 4), (4, 3), (4, 1), (2, 5)] {
            let pairs: Vec<(usize, usize)> = (0..producers)
                .flat_map(|p| (0..consumers).map(move |c| (p, c)))
                .filter(|&(p, c)| rescale.connects((p, producers), (c, consumers)))
                .collect();
            assert_eq!(pairs.len(), producers.max(consumers), "{producers} to {consumers}: {pairs:?}");
            assert!((0..producers).all(|p| pairs.iter().any(|pair| pair.0 == p)));
            assert!((0..consumers).all(|c| pairs.iter().any(|pair| pair.1 == c)));
        }
    }

    #[test]
    fn a_peer_in_another_process_needs_a_network() {
        let peers = [Peer::Local(Arc::default()), Peer::Remote("host:1".into())];
        let ends = |producers: &[Peer], consumers: &[Peer]| {
            let setup = EdgeSetup {
                producers,
                consumers,
                max_parallelism: 128,
                capacity_bytes: 1,
                buffer_timeout: Duration::ZERO,
                edge: EdgeId { job: [0; 16], generation: 0, index: 0 },
                network: None,
            };
            connect(&Exchange::<Records<u64>>::Forward, &setup)
        };
        let is_here = |ends: &[EdgeEnd]| ends.iter().map(Option::is_some).collect::<Vec<_>>();
        let (outputs, inputs) = ends(&peers, &peers).expect("no channel leads elsewhere");
        assert_eq!((is_here(&outputs), is_here(&inputs)), (vec![true, false], vec![true, false]));
        assert!(matches!(ends(&peers[..1], &peers[1..]), Err(Error::InvalidJob(_))));
        assert!(matches!(ends(&peers[1..], &peers[..1]), Err(Error::InvalidJob(_))));
    }
}
