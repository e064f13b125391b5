//! Streamkeeper: a stream processor that speaks Flink SQL, in one binary.
//!
//! This crate is the binary and the facade: [`prelude`] gathers what a program that embeds the engine needs.

/// What a program that writes jobs needs: the typed DataStream API, its connectors, a SQL session, and the runtime that runs them.
///
/// ```no_run
/// use streamkeeper::prelude::*;
///
/// let env = StreamExecutionEnvironment::from_args()?;
/// env.from_source(FileSource::text_lines("README.md"))
///     .flat_map_with(|line, out| line.split_whitespace().for_each(|word| out.collect((word.to_owned(), 1))))
///     .key_by_ref(|(word, _)| word.as_str())
///     .reduce(|(word, a), (_, b)| (word, a + b))
///     .map(|(word, count)| format!("{word} {count}"))
///     .print();
/// env.execute("word count")?;
/// # Ok::<(), Error>(())
/// ```
pub mod prelude {
    pub use streamkeeper_connectors::FileSource;
    pub use streamkeeper_connectors::record::{Changelog, Decimal, Record, Row, RowKind};
    pub use streamkeeper_connectors::zookeeper::{ZNode, ZooKeeperSource};
    pub use streamkeeper_dataflow::job::{JobConfig, JobHandle, JobStatus};
    pub use streamkeeper_dataflow::{OperatorError, OperatorResult};
    pub use streamkeeper_datastream::chain::Pipeline;
    pub use streamkeeper_datastream::state::{
        AggregatingState, ListState, MapState, ReducingState, ValueState,
    };
    pub use streamkeeper_datastream::*;
    pub use streamkeeper_derive::Record;
    pub use streamkeeper_sql::session::{Session, StatementResult};
    pub use streamkeeper_table::{StreamTableEnvironment, Table};
}

/// Structs as rows of a table: what `#[derive(Record)]` refers to.
pub use streamkeeper_connectors::record;
