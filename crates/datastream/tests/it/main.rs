//! The typed API, end to end.

mod alignment;
mod async_io;
mod basics;
mod broadcast;
mod connect;
mod harness;
mod interval_join;
mod live_config;
mod operator_state;
mod recovery;
mod restored_splits;
mod ttl;
mod ui;
mod watermarks;
mod windows;
mod windows_jobs;
mod windows_restore;
mod windows_triggers;
