//! The typed API, end to end.

mod basics;
mod harness;
mod ttl;
mod watermarks;
