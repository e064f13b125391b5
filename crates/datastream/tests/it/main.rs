//! The typed API, end to end.

mod basics;
mod recovery;
