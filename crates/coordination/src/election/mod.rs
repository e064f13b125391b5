//! Who leads. JobManagers are candidates; each has a latch node, and the one that takes office writes itself into `leader/epoch`, by which
//! its writes are guarded from then on.
//!
//! A lost connection suspends a leadership, and no more: writes wait, and it resumes when ZooKeeper is back and nobody has taken its
//! place. Only a session that the server has ended, or another leader, revokes it.
//!
//! - `core`: what a candidate does, a pure state machine
//! - `task`: the candidate at a ZooKeeper
//! - `leader`: who leads, for everybody
//! - `leadership`: an office, through which its holder writes

mod core;
mod leader;
mod leadership;
#[cfg(test)]
mod simulation;
mod task;

pub use leader::LeaderDocument;
pub use leadership::Leadership;
pub use task::{CandidateInfo, Election, ElectionEvent, Office};
