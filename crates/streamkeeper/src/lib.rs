//! Streamkeeper: a stream processor that speaks Flink SQL, in one binary.
//!
//! This crate is the binary and the facade: [`prelude`] gathers what a program that embeds the engine needs.

/// What an embedding program needs: a SQL session, and the runtime that runs its jobs.
pub mod prelude {
    pub use streamkeeper_connectors::zookeeper::{ZNode, ZooKeeperSource};
    pub use streamkeeper_dataflow::job::{JobConfig, JobHandle, JobStatus};
    pub use streamkeeper_sql::session::{Session, StatementResult};
}
