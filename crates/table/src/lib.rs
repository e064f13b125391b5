//! Between typed streams and Flink SQL: a stream is a table, and a query's rows are a stream.
//!
//! - [`StreamTableEnvironment`]: views of streams, and streams of queries; [`Table`]: a query
//! - [`bridge`]: the same between ports of a graph
//! - `convert`: records to Arrow batches and back, whole batches at the edge of two worlds
pub mod bridge;
mod convert;
mod environment;
mod error;

pub use environment::{StreamTableEnvironment, Table};
pub use error::Error;
