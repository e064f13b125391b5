//! The typed API, end to end.

mod alignment;
mod basics;
mod harness;
mod recovery;
mod ttl;
mod watermarks;
