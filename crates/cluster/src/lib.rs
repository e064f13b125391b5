//! JobManagers and TaskManagers.

pub mod config;
mod error;
mod job_id;
pub mod jobmanager;
pub mod network;
mod placement;
mod planner;
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
