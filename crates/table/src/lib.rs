//! Between typed streams and Flink SQL: a stream is a table, and a query's rows are a stream.
//!
//! - [`bridge`]: ports as tables and queries as ports
//! - `convert`: records to Arrow batches and back, whole batches at the edge of two worlds
pub mod bridge;
mod convert;
