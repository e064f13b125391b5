//! Jobs: what is to run, what runs where, and what has become of it.
//!
//! A job is a znode below `jobs`, under its id, with a document for each thing that somebody says of it. Clients submit and cancel
//! ([`JobStore`]); the leader assigns, reports, moves the checkpoint pointer and ends jobs, all through its
//! [`crate::election::Leadership`]; everybody can look ([`JobsView`]).
//!
//! When a job ends, one transaction puts its result in the place of all its other documents. Results are bounded: the oldest goes when
//! a new one would be one too many. As long as its result is kept, a job's id is not run again.
//!
//! - `document`: what the documents hold
//! - `store`: what clients do
//! - `lead`: what the leader does
//! - `results`: which results are kept
//! - `view`: all jobs, as they change

mod document;
mod lead;
mod results;
mod store;
mod view;

pub use document::{
    Assignment, CheckpointPointer, Desired, DesiredState, JobKind, JobResult, JobSpec, JobState, JobStatus,
    RegionAssignment,
};
pub(crate) use lead::JobCache;
pub use lead::{JobUpdate, Moved};
pub use results::MAX_RESULTS;
pub(crate) use results::ResultCache;
pub use store::{JobStore, MAX_JOBS, Submitted};
pub use view::{Job, JobsView};
