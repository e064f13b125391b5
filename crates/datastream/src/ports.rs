//! The seam to whoever builds a part of the same job in another way, as SQL does: streams as inputs of its operators, and
//! its outputs as streams.
//!
//! Invariant: a stream's ports are of the graph of the environment that it was made in.

use std::rc::Rc;

use streamkeeper_dataflow::batch::Records;
use streamkeeper_dataflow::config::Config;
use streamkeeper_dataflow::graph::{Exchange, Input, JobGraph, Port};

use crate::begin::{FromPorts, Upstream};
use crate::chain::Pipeline;
use crate::{Data, DataStream, Error, StreamExecutionEnvironment};

/// What an operator connects to that takes a stream's records.
pub struct StreamInputs<T> {
    /// The inputs, all of index 0.
    pub inputs: Vec<Input<Records<T>>>,
    /// How many subtasks the operator has to have.
    pub parallelism: usize,
    /// Uids of the operators that the records come from, joined by `,`.
    pub uid: String,
}

impl StreamExecutionEnvironment {
    /// Completes the task that produces the stream, for an operator that is added by [`Self::with_graph`].
    ///
    /// # Errors
    /// When the stream is of another environment.
    pub fn inputs_of<T: Data, P: Pipeline<Out = T>>(
        &self,
        stream: DataStream<T, P>,
    ) -> Result<StreamInputs<T>, Error> {
        let (topology, ports) = stream.close();
        if !Rc::ptr_eq(&topology, &self.topology) {
            return Err(Error::InvalidJob("the stream was made in another environment".into()));
        }
        let uids: Vec<&str> = ports.upstreams.iter().map(|upstream| upstream.uid.as_str()).collect();
        let uid = uids.join(",");
        Ok(StreamInputs { inputs: ports.inputs(), parallelism: ports.parallelism, uid })
    }

    /// Lets `change` add to the graph of the job.
    pub fn with_graph<R>(&self, change: impl FnOnce(&mut JobGraph) -> R) -> R {
        change(&mut self.topology.graph.borrow_mut())
    }

    /// The stream of what an operator of this job's graph emits, whose uid is `uid`.
    pub fn from_port<T: Data>(&self, port: Port<Records<T>>, uid: impl Into<String>) -> DataStream<T> {
        let parallelism = self.with_graph(|graph| graph.vertices[port.vertex()].parallelism);
        let upstreams = vec![Upstream { port, exchange: Exchange::Forward, parallelism, uid: uid.into() }];
        DataStream::new(self.topology.clone(), FromPorts { upstreams, parallelism })
    }

    /// The configuration, with the parallelism that operators have by default.
    pub fn config(&self) -> Config {
        let mut config = self.config.borrow().clone();
        // A number is a valid parallelism.
        let _ = config.set("parallelism.default", &self.topology.parallelism.get().to_string());
        config
    }
}
