//! The typed API, end to end.

mod basics;
mod harness;
mod watermarks;
mod windows;
mod windows_jobs;
mod windows_restore;
mod windows_triggers;
