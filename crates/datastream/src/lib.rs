//! The typed DataStream API: jobs written in Rust, with Flink's names.
//!
//! A job is written against a [`StreamExecutionEnvironment`]: it makes [`DataStream`]s of sources, streams are transformed into
//! others, end in sinks, and `execute` runs it all.
//!
//! ```
//! use streamkeeper_datastream::StreamExecutionEnvironment;
//!
//! let env = StreamExecutionEnvironment::new();
//! let counts = env
//!     .from_collection(["to be or", "not to be"].map(String::from))
//!     .flat_map_with(|line, out| line.split(' ').for_each(|word| out.collect((word.to_owned(), 1))))
//!     .key_by_ref(|(word, _)| word.as_str())
//!     .reduce(|(word, a), (_, b)| (word, a + b))
//!     .filter(|(word, _)| word == "be")
//!     .collect();
//! env.execute("word count")?;
//! assert_eq!(counts.take(), [("be".to_owned(), 1), ("be".to_owned(), 2)]);
//! # Ok::<(), streamkeeper_datastream::Error>(())
//! ```
//!
//! # What happens to a job
//!
//! Calls on streams only describe. Operators that follow one another are one **task**; the compiler makes one function of
//! them ([`chain`]). A task ends where records are dealt out anew: at a key ([`DataStream::key_by`]), at another way to deal them out
//! ([`DataStream::rebalance`] and the like), at another parallelism, or where several operators read the same stream
//! ([`DataStream::shared`]). `execute` starts each task in as many **subtasks** as its parallelism says, a thread each, and records
//! move between them in batches through bounded channels: a slow consumer slows down its producers, nothing grows.
//!
//! **Keys** decide which subtask a record goes to, so that all records of a key meet in one. What a function remembers for a key is
//! [`state`]; a function sees the state of the key at hand and of no other. **Time** is that of the records: a
//! [`WatermarkStrategy`] says how far event time has come, and windows and timers go by that. A watermark never overtakes
//! records, so results do not depend on how fast the job runs.
//!
//! **Checkpoints** are taken while the job runs: barriers flow with the records, and each subtask captures its state as a barrier
//! passes. When something fails, the tasks that are connected with it start anew from the latest checkpoint, and sources read again from the
//! positions in it: each record counts once in all state. Sinks with a committer show each output once as well
//! ([`connector`]). With a directory for checkpoints a job goes on in another process, at any parallelism
//! ([`StreamExecutionEnvironment::restore_from`]); operators find their state by their uid.
//!
//! An error of user code, or a panic, fails the task, never the process; it names operator, subtask and attempt.
//!
//! # Where to find what
//!
//! - [`StreamExecutionEnvironment`]: sources and execution; [`DataStream`]: transformations and sinks; [`KeyedStream`]: what needs a key
//! - [`process`]: functions with timers, side outputs and state; [`state`]: what they keep
//! - [`ConnectedStreams`]: two streams for one operator; [`broadcast`]: rules that change while a job runs
//! - [`interval_join`]: pairs of records that are close in time
//! - [`async_io`]: calls to the outside, many at a time
//! - [`WatermarkStrategy`]: event time; [`OperatorHarness`]: operators in tests; [`connector`]: sources and sinks of one's own
//! - [`window`]: windows, their triggers and evictors, joins of windows
//! - [`chain`]: how operators become one call tree
mod aggregate;
pub mod async_io;
mod begin;
pub mod broadcast;
pub mod chain;
mod co_process;
mod collector;
mod config_source;
mod connect;
pub mod connector;
mod env;
mod error;
mod executor;
mod harness;
pub mod interval_join;
mod key;
mod keyed;
mod partition;
mod ports;
pub mod process;
mod side;
mod sink;
mod source;
mod stages;
pub mod state;
mod stream;
mod watermark;
pub mod window;

pub use aggregate::AggregateFunction;
pub use async_io::{AsyncDataStream, AsyncFn, AsyncFunction, AsyncRetryStrategy};
pub use begin::{FromPorts, FromSource, FromTwo};
pub use broadcast::{
    BroadcastConnectedStream, BroadcastDescriptor, BroadcastProcessFunction, BroadcastState, BroadcastStream,
    KeyedBroadcastConnectedStream, KeyedBroadcastContext, KeyedBroadcastProcessFunction, MapStateDescriptor,
};
pub use co_process::{CoProcessFunction, KeyedCoProcessFunction};
pub use collector::Collector;
pub use config_source::{ConfigSource, Follow};
pub use connect::{Connect, ConnectedStreams, KeyedConnectedStreams, KeyedTwo, Two};
pub use env::StreamExecutionEnvironment;
pub use error::{Error, Result};
pub use executor::{PipelineExecutor, StreamGraph};
pub use harness::{HarnessOutput, HarnessSnapshot, OperatorHarness};
pub use interval_join::{IntervalJoin, IntervalJoined, JoinContext, ProcessJoinFunction};
pub use key::{Key, KeyFn, KeyHash, KeyRef, KeySelector};
pub use keyed::{Keyed, KeyedStream};
pub use ports::StreamInputs;
pub use process::{
    Config, KeyedContext, KeyedProcessFunction, OpenContext, ProcessContext, ProcessFunction, TimeDomain,
};
pub use side::{OutputTag, Sides};
pub use sink::Collected;
pub use stream::{DataStream, DataStreamSink};
pub use streamkeeper_dataflow::batch::{Either, Records};
pub use watermark::{
    AssignLogic, AssignTimestampsAndWatermarks, BoundedOutOfOrderness, NoWatermarks, RecordTimestamps,
    TimestampAssigner, WatermarkGenerator, WatermarkOutput, WatermarkStrategy,
};

/// A record: it can be copied, sent to another thread, and written to a checkpoint or another process. Derive `Clone`, and
/// serde's `Serialize` and `Deserialize`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a record of a stream",
    label = "not a record",
    note = "a record can be copied, sent and serialised: derive `Clone`, `serde::Serialize` and `serde::Deserialize` for its type"
)]
pub trait Data: Clone + Send + serde::Serialize + serde::de::DeserializeOwned + 'static {}

impl<T: Clone + Send + serde::Serialize + serde::de::DeserializeOwned + 'static> Data for T {}
