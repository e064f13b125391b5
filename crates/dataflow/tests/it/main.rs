//! Whole jobs on the runtime.
mod coordinator;
mod exactly_once;
mod live_config;
mod savepoints;
mod workers;
