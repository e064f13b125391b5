//! Tests of what other crates see of the connectors.

// Derived code looks for the records where the facade has them.
extern crate streamkeeper_connectors as streamkeeper;

mod record;
mod record_refused;
