//! The typed API, end to end.

mod basics;
mod harness;
mod watermarks;
