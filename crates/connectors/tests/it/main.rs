//! Connectors from the outside, as the runtime uses them.
mod files;
mod generated;
mod harness;
mod output;
mod zookeeper;
