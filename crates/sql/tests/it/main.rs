//! The operators, run one at a time without a runtime.

mod calc;
mod functions;
mod join_interval;
mod join_support;
mod parser;
mod rank;
