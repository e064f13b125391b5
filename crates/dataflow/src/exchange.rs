//! A task's output: partitions batches over the channels of each outgoing edge, and coalesces small ones.
//!
//! Invariant: a channel sees a watermark, barrier, idleness or end only after every row that was emitted before it.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::batch::Batch;
use crate::channel::{Sender, Signal, in_memory};
use crate::element::Element;
use crate::error::{OperatorError, OperatorResult};
use crate::graph::{Exchange, VertexId};
use crate::key_group::{key_group, subtask_of};
use crate::metrics::TaskMetrics;
use crate::operator::Output;

/// Rows at which a channel's pending rows are sent.
const COALESCE_ROWS: usize = 2048;

/// Makes the channels of one edge.
pub(crate) struct EdgeFactory {
    pub(crate) to: VertexId,
    pub(crate) gate: usize,
    #[expect(clippy::type_complexity, reason = "the one place where an edge's types are erased")]
    pub(crate) make:
        Arc<dyn Fn(EdgeSetup<'_>) -> (Vec<Box<dyn Any + Send>>, Vec<Box<dyn Any + Send>>) + Send + Sync>,
}

/// What the channels of an edge are made from: the signals of its producers' and consumers' subtasks.
pub(crate) struct EdgeSetup<'a> {
    pub(crate) producers: &'a [Arc<Signal>],
    pub(crate) consumers: &'a [Arc<Signal>],
    pub(crate) max_parallelism: u16,
    pub(crate) capacity_bytes: usize,
    pub(crate) buffer_timeout: Duration,
}

/// The factory of an edge of batches `B`: gives an `EdgeOutput<B>` per producer, a `Vec<Box<dyn Receiver<B>>>` per
/// consumer.
pub(crate) fn edge_factory<B: Batch>(to: VertexId, gate: usize, exchange: Exchange<B>) -> EdgeFactory {
    let make = move |setup: EdgeSetup<'_>| {
        let mut receivers: Vec<Vec<Box<dyn crate::channel::Receiver<B>>>> =
            setup.consumers.iter().map(|_| Vec::new()).collect();
        let mut outputs: Vec<Box<dyn Any + Send>> = Vec::new();
        for (p, producer) in setup.producers.iter().enumerate() {
            let mut channels = Vec::new();
            for (c, consumer) in setup.consumers.iter().enumerate() {
                if matches!(exchange, Exchange::Forward) && p != c {
                    continue;
                }
                let (sender, receiver) = in_memory(setup.capacity_bytes, producer.clone(), consumer.clone());
                channels.push(PendingChannel { sender, pending: Vec::new(), rows: 0 });
                receivers[c].push(receiver);
            }
            outputs.push(Box::new(EdgeOutput {
                exchange: exchange.clone(),
                next: p % channels.len(),
                channels,
                max_parallelism: setup.max_parallelism,
                buffer_timeout: setup.buffer_timeout,
                pending_since: None,
                hashes: Vec::new(),
                targets: Vec::new(),
            }));
        }
        let receivers = receivers.into_iter().map(|r| Box::new(r) as Box<dyn Any + Send>).collect();
        (outputs, receivers)
    };
    EdgeFactory { to, gate, make: Arc::new(make) }
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
            self.sender.send(Element::Batch(batch));
        }
        Ok(())
    }

    fn add(&mut self, batch: B) -> OperatorResult<()> {
        let rows = batch.num_rows();
        if self.pending.is_empty() && rows >= COALESCE_ROWS {
            self.sender.send(Element::Batch(batch));
            return Ok(());
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
    max_parallelism: u16,
    buffer_timeout: Duration,
    pending_since: Option<Instant>,
    hashes: Vec<u64>,
    targets: Vec<u32>,
}

impl<B: Batch> EdgeOutput<B> {
    fn emit(&mut self, batch: B) -> OperatorResult<()> {
        match &self.exchange {
            Exchange::Forward => self.channels[0].add(batch)?,
            Exchange::Rebalance => {
                self.next = (self.next + 1) % self.channels.len();
                self.channels[self.next].add(batch)?;
            }
            Exchange::Broadcast => {
                for channel in &mut self.channels {
                    channel.add(batch.clone())?;
                }
            }
            Exchange::Hash(_) if self.channels.len() == 1 => self.channels[0].add(batch)?,
            Exchange::Hash(keys) => {
                keys.hash(&batch, &mut self.hashes)?;
                let (parallelism, max) = (self.channels.len(), self.max_parallelism);
                self.targets.clear();
                let target = |hash: &u64| subtask_of(key_group(*hash, max), parallelism, max) as u32;
                self.targets.extend(self.hashes.iter().map(target));
                let parts = batch.partition(&self.targets, parallelism);
                for (channel, part) in self.channels.iter_mut().zip(parts) {
                    if let Some(part) = part {
                        channel.add(part)?;
                    }
                }
            }
        }
        if self.pending_since.is_none() {
            self.pending_since = Some(Instant::now());
        }
        Ok(())
    }

    fn flush(&mut self) -> OperatorResult<()> {
        if self.pending_since.take().is_some() {
            self.channels.iter_mut().try_for_each(PendingChannel::flush)?;
        }
        Ok(())
    }
}

/// All outgoing edges of one subtask.
pub(crate) struct TaskOutput<B> {
    edges: Vec<EdgeOutput<B>>,
    metrics: Arc<TaskMetrics>,
}

impl<B: Batch> TaskOutput<B> {
    /// Takes the edges made by [`edge_factory`] for the same `B`.
    pub(crate) fn new(edges: Vec<Box<dyn Any + Send>>, metrics: Arc<TaskMetrics>) -> OperatorResult<Self> {
        let edges = edges
            .into_iter()
            .map(|edge| edge.downcast::<EdgeOutput<B>>().map(|edge| *edge))
            .collect::<Result<_, _>>()
            .map_err(|_| OperatorError::fatal("an edge carries another type than its producer emits"))?;
        Ok(Self { edges, metrics })
    }

    pub(crate) fn has_room(&self) -> bool {
        self.edges.iter().all(|edge| edge.channels.iter().all(|channel| channel.sender.has_room()))
    }

    /// When rows that wait to be coalesced must be sent at the latest.
    pub(crate) fn flush_deadline(&self) -> Option<Instant> {
        self.edges.iter().filter_map(|edge| Some(edge.pending_since? + edge.buffer_timeout)).min()
    }

    pub(crate) fn flush(&mut self) -> OperatorResult<()> {
        self.edges.iter_mut().try_for_each(EdgeOutput::flush)
    }

    /// Sends a watermark, barrier, idleness or end to every channel, after all rows.
    pub(crate) fn broadcast(&mut self, element: &Element<B>) -> OperatorResult<()> {
        self.flush()?;
        for channel in self.edges.iter_mut().flat_map(|edge| &mut edge.channels) {
            channel.sender.send(element.clone());
        }
        Ok(())
    }
}

impl<B: Batch> Output<B> for TaskOutput<B> {
    fn emit(&mut self, batch: B) -> OperatorResult<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let Some((last, others)) = self.edges.split_last_mut() else { return Ok(()) };
        self.metrics.num_records_out.add(batch.num_rows() as u64);
        self.metrics.num_bytes_out.add(batch.num_bytes() as u64);
        for edge in others {
            edge.emit(batch.clone())?;
        }
        last.emit(batch)
    }
}
