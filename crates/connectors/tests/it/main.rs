//! Connectors from the outside, as the runtime and other crates use them.

// Derived code looks for the records where the facade has them.
extern crate streamkeeper_connectors as streamkeeper;

mod files;
mod generated;
mod harness;
mod output;
mod record;
mod record_refused;
mod zookeeper;
