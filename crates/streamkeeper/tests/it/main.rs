//! The real binary, used as a user would.
mod bad_input;
mod cli;
mod live_config;
mod oracle;
mod recovery;
mod support;
mod typed_config;
