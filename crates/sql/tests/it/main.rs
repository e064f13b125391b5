//! The parts of the crate from outside: operators one at a time without a runtime, statements, functions.

mod aggregate;
mod calc;
mod calc_sink_kinds;
mod calc_unnest;
mod catalog;
mod functions;
mod join_interval;
mod join_lookup;
mod join_regular;
mod join_support;
mod join_temporal;
mod join_window;
mod live_config;
mod parser;
mod parser_depth;
mod parser_errors;
mod plan;
mod plan_statements;
mod plan_temporal;
mod rank;
mod session;
mod window;
mod zookeeper;
mod zookeeper_joins;
