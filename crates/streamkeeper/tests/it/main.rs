//! The real binary, used as a user would.
mod bad_input;
mod catalog;
mod cli;
mod live_config;
mod oracle;
mod recovery;
mod standalone;
mod support;
mod typed_config;
