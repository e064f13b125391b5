//! The admin server: ZooKeeper's commands over HTTP, with its names and fields, and the figures for Prometheus.
//!
//! - [`commands`]: what each command answers, as JSON; pure
//! - `http`: the server around them, `snapshot` and `restore` included; `listener`: how many clients it takes

pub mod commands;
mod http;
mod json;
mod listener;

pub use http::{AdminOptions, HttpServer, MetricsOptions, serve_admin, serve_metrics};
