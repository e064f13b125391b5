//! The REST API of clusters in this process, over loopback.

mod bad_input;
mod client;
mod leader;
mod openapi;
mod prometheus;
mod savepoints;
mod shapes;
