//! The real binary, used as a user would.
mod application;
mod bad_input;
mod catalog;
mod cli;
mod gc;
mod live_config;
mod operate;
mod oracle;
mod recovery;
mod standalone;
mod support;
mod typed_config;
