//! The operators, run one at a time without a runtime.

mod calc;
mod join_interval;
mod join_support;
mod rank;
mod parser;
