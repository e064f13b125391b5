//! A chain of operators that is still open at its end.

use std::sync::Arc;

use arrow::array::RecordBatch;
use streamkeeper_dataflow::graph::{Exchange, Input, OperatorNode, Port};
use streamkeeper_dataflow::source::{Source, WatermarkStrategy};

use super::Builder;
use crate::operators::keys::HashKeys;

pub(crate) type BatchNode = OperatorNode<RecordBatch, RecordBatch>;

/// What a chain begins with.
pub(crate) enum Head {
    /// The end of a vertex that is in the graph already.
    Port(Port<RecordBatch>),
    /// A source.
    Source {
        name: String,
        uid: String,
        source: Arc<dyn Source<RecordBatch>>,
        watermarks: Option<Arc<dyn WatermarkStrategy<RecordBatch>>>,
    },
    /// An operator behind an exchange.
    Operator { inputs: Vec<Input<RecordBatch>>, node: BatchNode },
}

/// A chain that operators can be appended to.
pub(crate) struct Stream {
    pub(crate) head: Head,
    pub(crate) rest: Vec<BatchNode>,
    pub(crate) parallelism: usize,
    /// Of the last operator.
    pub(crate) uid: String,
}

/// How the rows of an input find the subtask of an operator.
#[derive(Debug, Clone)]
pub(crate) enum Distribution {
    /// Where they are.
    Any,
    /// By the hash of these columns; of none: all to one subtask.
    Hash(Vec<usize>),
}

impl Builder<'_> {
    /// Appends an operator to the chain.
    pub(crate) fn chain(&mut self, mut stream: Stream, node: BatchNode) -> Stream {
        let uid = node.uid.clone();
        match stream.head {
            Head::Port(from) => {
                let inputs = vec![Input { from, exchange: Exchange::Forward, index: 0 }];
                let head = Head::Operator { inputs, node };
                Stream { head, rest: vec![], parallelism: stream.parallelism, uid }
            }
            _ => {
                stream.rest.push(node);
                Stream { uid, ..stream }
            }
        }
    }

    /// Ends the chain: it becomes a vertex.
    pub(crate) fn close(&mut self, stream: Stream) -> Port<RecordBatch> {
        match stream.head {
            Head::Port(port) => port,
            Head::Source { name, uid, source, watermarks } => {
                self.graph.add_source(name, uid, stream.parallelism, source, watermarks, stream.rest)
            }
            Head::Operator { inputs, node } => {
                self.graph.add_operator(stream.parallelism, inputs, node, stream.rest)
            }
        }
    }

    /// An operator over its inputs, each distributed as it needs.
    pub(crate) fn connect(&mut self, inputs: Vec<(Stream, Distribution)>, node: BatchNode) -> Stream {
        let keyed = inputs.iter().any(|(_, d)| matches!(d, Distribution::Hash(_)));
        let gathered = inputs.iter().any(|(_, d)| matches!(d, Distribution::Hash(keys) if keys.is_empty()));
        let widest = inputs.iter().map(|(s, _)| s.parallelism).max().unwrap_or(1);
        let parallelism = match (gathered, keyed) {
            (true, _) => 1,
            (false, true) => self.config.parallelism,
            (false, false) => widest,
        };
        if inputs.len() == 1 && parallelism == 1 && inputs[0].0.parallelism == 1 {
            // One subtask to one subtask: nothing to exchange.
            if let Some((stream, _)) = inputs.into_iter().next() {
                return self.chain(stream, node);
            }
            unreachable!("there is one input");
        }
        let uid = node.uid.clone();
        let inputs = inputs
            .into_iter()
            .enumerate()
            .map(|(index, (stream, distribution))| {
                let from_parallelism = stream.parallelism;
                let exchange = match distribution {
                    Distribution::Hash(keys) if parallelism > 1 => {
                        Exchange::Hash(Arc::new(HashKeys::new(keys)))
                    }
                    _ if from_parallelism == parallelism => Exchange::Forward,
                    _ => Exchange::Rebalance,
                };
                Input { from: self.close(stream), exchange, index }
            })
            .collect();
        Stream { head: Head::Operator { inputs, node }, rest: vec![], parallelism, uid }
    }

    /// All rows of all inputs, in one operator that takes them as they come.
    pub(crate) fn merge(&mut self, inputs: Vec<Stream>, node: BatchNode) -> Stream {
        let parallelism = self.config.parallelism;
        let uid = node.uid.clone();
        let inputs = inputs
            .into_iter()
            .map(|stream| {
                let exchange =
                    if stream.parallelism == parallelism { Exchange::Forward } else { Exchange::Rebalance };
                Input { from: self.close(stream), exchange, index: 0 }
            })
            .collect();
        Stream { head: Head::Operator { inputs, node }, rest: vec![], parallelism, uid }
    }
}
