//! ZooKeeper as a source and a sink, against the embedded keeper.

mod lookups;
mod server;
mod sinks;
mod sources;
mod tables;
