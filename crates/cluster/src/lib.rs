//! JobManagers and TaskManagers.

mod job_id;
mod placement;
mod rpc;

pub use job_id::JobId;
pub use rpc::Heartbeat;
