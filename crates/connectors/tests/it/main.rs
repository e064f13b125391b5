//! Connectors from the outside, as the runtime uses them.
mod files;
mod harness;
mod output;
