//! Streamkeeper: a stream processor that speaks Flink SQL, in one binary.
//!
//! This crate is the binary and the facade: [`prelude`] gathers what a program that embeds the engine needs.
//!
//! Streams and SQL are parts of one job:
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use streamkeeper::prelude::*;
//!
//! #[derive(Debug, Clone, Serialize, Deserialize, Record)]
//! struct Word {
//!     word: String,
//!     #[record(rename = "n")]
//!     count: i64,
//! }
//!
//! let env = StreamExecutionEnvironment::new();
//! let env = StreamTableEnvironment::create(&env);
//! let words = env
//!     .from_collection(["to be or", "not to be"].map(String::from))
//!     .flat_map_with(|line, out| line.split(' ').for_each(|word| out.collect(Word { word: word.into(), count: 1 })));
//! env.create_temporary_view("words", words)?;
//! let counts = env.sql::<Changelog<Word>>("SELECT word, SUM(n) AS n FROM words WHERE word <> 'or' GROUP BY word")?;
//! let counts = counts.filter(|change| change.kind.is_add()).map(|change| change.value).collect();
//! env.execute("word count")?;
//! let counts: Vec<_> = counts.take().into_iter().map(|w| (w.word, w.count)).collect();
//! let expected = [("to", 1), ("be", 1), ("not", 1), ("to", 2), ("be", 2)];
//! assert_eq!(counts, expected.map(|(word, n)| (word.to_owned(), n)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

/// Structs as rows of tables: the derived [`Record`](derive@record::Record), and rows whose columns are known only at run time.
pub mod record {
    pub use streamkeeper_connectors::record::*;
    pub use streamkeeper_derive::Record;
}

pub mod application;
pub mod live_config;
pub mod roles;

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
    pub use crate::application::FromArgs;
    pub use crate::live_config::ZooKeeperConfig;
    pub use crate::record::{Changelog, Decimal, Record, Row, RowKind};
    pub use streamkeeper_connectors::FileSource;
    pub use streamkeeper_connectors::zookeeper::{ZNode, ZooKeeperSource};
    pub use streamkeeper_dataflow::job::{JobConfig, JobHandle, JobStatus};
    pub use streamkeeper_dataflow::{OperatorError, OperatorResult};
    pub use streamkeeper_datastream::chain::Pipeline;
    pub use streamkeeper_datastream::state::{
        AggregatingState, ListState, MapState, ReducingState, StateDescriptor, StateTtlConfig, ValueState,
    };
    pub use streamkeeper_datastream::window::{
        CountTrigger, EventTimeSessionWindows, GlobalWindows, ProcessWindowFunction,
        ProcessingTimeSessionWindows, PurgingTrigger, SlidingEventTimeWindows, SlidingProcessingTimeWindows,
        TimeWindow, TumblingEventTimeWindows, TumblingProcessingTimeWindows, WindowContext,
    };
    pub use streamkeeper_datastream::*;
    pub use streamkeeper_sql::session::{Session, StatementResult};
    pub use streamkeeper_table::{StreamTableEnvironment, Table};
}
