//! Joins of two inputs: by window, by an interval of event time, and unbounded over changelogs.
//!
//! - [`interval`]: rows of equal key whose event times are near each other
//! - [`row_store`]: the rows of one side; [`output`]: the columns of both sides next to each other
//! - [`state`]: rows of a side written by key group, the watermark that goes with them, and local window times
pub mod interval;
mod output;
mod row_store;
mod state;

pub use interval::IntervalJoin;
pub(crate) use state::{
    EventTime, Snapshot, fingerprint, millis, read_rows, read_watermark, write_rows, write_watermark,
};
