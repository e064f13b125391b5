//! A chain of operators that is still open at its end.

use std::sync::Arc;

use arrow::array::RecordBatch;
use streamkeeper_dataflow::graph::{Exchange, Input, OperatorNode, Port};
use streamkeeper_dataflow::source::{Source, WatermarkStrategy};

use super::Builder;
use super::distribution::distribution;
use crate::operators::keys::HashKeys;
use crate::plan::Plan;

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

/// Rows find their subtask by the hash of these columns; of none: all go to one subtask.
#[derive(Debug, Clone)]
pub(crate) struct Hash(pub(crate) Vec<usize>);

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

    /// The operator of `plan` over its inputs, each distributed as it needs.
    pub(crate) fn distribute(&mut self, plan: &Plan, inputs: Vec<Stream>, node: BatchNode) -> Stream {
        match distribution(plan) {
            Some(keys) => self.connect(inputs.into_iter().zip(keys.into_iter().map(Hash)).collect(), node),
            None => self.merge(inputs, node),
        }
    }

    /// An operator over its inputs, each distributed by its keys.
    pub(crate) fn connect(&mut self, inputs: Vec<(Stream, Hash)>, node: BatchNode) -> Stream {
        let gathered = inputs.iter().any(|(_, Hash(keys))| keys.is_empty());
        let parallelism = if gathered { 1 } else { self.config.parallelism };
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
            .map(|(index, (stream, Hash(keys)))| {
                let from_parallelism = stream.parallelism;
                let exchange = if parallelism > 1 {
                    Exchange::Hash(Arc::new(HashKeys::new(keys)))
                } else if from_parallelism == parallelism {
                    Exchange::Forward
                } else {
                    Exchange::Rebalance
                };
                Input { from: self.close(stream), exchange, index }
            })
            .collect();
        Stream { head: Head::Operator { inputs, node }, rest: vec![], parallelism, uid }
    }

    /// All rows of all inputs, in one operator that takes them as they come.
    pub(crate) fn merge(&mut self, mut inputs: Vec<Stream>, node: BatchNode) -> Stream {
        if inputs.len() == 1
            && let Some(only) = inputs.pop()
        {
            return self.chain(only, node);
        }
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
