//! The runtime of one process: it executes a [`graph::JobGraph`] of tasks that exchange batches, watermarks
//! and checkpoint barriers. It knows nothing of SQL, ZooKeeper, HTTP or a cluster.
//!
//! - [`batch`]: what flows, typed [`batch::Records`] or Arrow's `RecordBatch`; [`element`]: what travels on a channel
//! - [`operator`], [`source`], [`sink`]: the three things a user of the runtime writes
//! - [`key_group`]: how a key finds its subtask, today and after a rescale
//! - [`config`]: Flink's configuration keys
//! - [`graph`]: tasks; [`exchange`]: how rows are dealt out; [`network`]: channels to other processes; [`side_output`]: rows beside an operator's output; [`job`] runs them, [`checkpoint`] keeps their state, [`restart`] says when to try again
//! - [`live_config`]: what may change under a running job, at a barrier
//! - [`keyed_state`], [`timers`]: the heap backend, by key group; [`state`]: what an operator hands to a checkpoint and gets back from one
mod arrow_batch;
pub mod arrow_codec;
pub mod batch;
mod chain;
pub mod channel;
pub mod checkpoint;
pub mod config;
pub mod element;
pub mod error;
pub mod exchange;
pub mod executor;
pub mod fault;
mod gate;
pub mod graph;
pub mod job;
pub mod key_group;
pub mod keyed_state;
pub mod live_config;
mod mailbox;
pub mod metrics;
pub mod network;
pub mod operator;
mod output;
pub mod restart;
pub mod side_output;
pub mod sink;
pub mod source;
pub mod state;
pub mod task;
pub mod time;
pub mod timers;

pub use error::{Error, OperatorError, OperatorResult};
