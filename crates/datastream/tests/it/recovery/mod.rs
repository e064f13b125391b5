//! Every operator between a source of known numbers and a sink that verifies them, with failures, restarts and restores at another
//! parallelism at times that a seed gives: no record is lost, doubled, or out of order for its key.
//!
//! source → by key → a map that fails → the operator → by key → another map that fails → sink
//!
//! A test here is a [`Case`](case::Case): a job, and the rows that must come out of it.

mod case;
mod ledger;
mod numbers;
mod plan;

mod async_io;
mod keyed;
mod stateless;
mod two;
mod windows;
