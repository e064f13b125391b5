//! Process functions: records, timers, state and side outputs, one record at a time.
mod config;
mod context;
mod function;
mod keyed;
mod keyed_context;
mod open;
mod timers;

pub use self::config::Config;
pub(crate) use self::config::LiveConfig;
pub(crate) use self::context::Runtime;
pub use self::context::{ProcessContext, TaskInfo};
pub use self::function::{Process, ProcessFunction, ProcessLogic};
pub use self::keyed::{KeyedProcess, KeyedProcessFunction, KeyedProcessLogic};
pub use self::keyed_context::KeyedContext;
pub use self::open::OpenContext;
pub use self::timers::TimeDomain;
