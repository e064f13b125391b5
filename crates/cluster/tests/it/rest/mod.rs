//! The REST API of clusters in this process, over loopback.

mod client;
mod leader;
