//! The typed API, end to end.

mod basics;
mod harness;
mod recovery;
mod ttl;
mod watermarks;
