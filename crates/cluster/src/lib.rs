//! Streamkeeper on many processes.
//!
//! A [`JobManager`] stands for election, and while it leads it has a master for each job; a [`TaskManager`] runs tasks for whoever
//! leads. They find each other in ZooKeeper, through `coordination`, and talk by `rpc`; batches go from TaskManager to TaskManager by
//! [`network`]. No death of one process stops the others: a new leader adopts what runs, and tasks of a dead TaskManager go on elsewhere
//! from the latest checkpoint. What a spec means is told by a [`Planner`].
//!
//! - [`jobmanager`], [`taskmanager`]: the two kinds of processes; any number of either may be in one
//! - [`config`]: configuration keys of the cluster
//! - [`gc`]: what killed leaders have left of checkpoints
//! - `placement`: who runs which slot
//! - `rpc`: orders, reports, heartbeats
//! - [`network`]: the exchange of batches, watermarks and barriers

pub mod config;
mod error;
pub mod gc;
mod job_id;
pub mod jobmanager;
pub mod network;
mod placement;
mod planner;
mod process;
pub mod rest;
mod rpc;
pub mod taskmanager;
mod time;

pub use error::{Error, Result};
pub use job_id::JobId;
pub use jobmanager::{JobManager, JobManagerHandle, JobManagerOptions};
pub use planner::{Planned, Planner};
pub use rest::{RestListener, RestOptions, RestServer};
pub use rpc::{Heartbeat, TaskProgress};
pub use taskmanager::{TaskManager, TaskManagerOptions};

/// Eight hexadecimal digits that no other process of a name has.
fn incarnation() -> String {
    streamkeeper_dataflow::job::new_lineage().split_off(24)
}
