//! Typed streams through SQL and back, on the runtime.

// Derived code looks for the records where the facade has them.
extern crate streamkeeper_connectors as streamkeeper;

mod bridge;
mod environment;
mod support;
