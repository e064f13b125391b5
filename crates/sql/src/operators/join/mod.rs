//! Joins of two inputs: by window, by an interval of event time, and unbounded over changelogs.
//!
//! - [`interval`]: rows of equal key whose event times are near each other
//! - [`window`]: rows of equal window and key
//! - [`regular`]: all rows of equal key, over changelogs; [`held`]: one side of it
//! - [`row_store`]: the rows of one side; [`output`]: the columns of both sides next to each other
//! - [`state`]: rows of a side written by key group, the watermark that goes with them, and local window times
mod held;
pub mod interval;
mod output;
pub mod regular;
mod row_store;
mod state;
pub mod window;

pub use interval::IntervalJoin;
pub use regular::RegularJoin;
pub(crate) use state::{
    EventTime, Snapshot, fingerprint, millis, read_rows, read_watermark, write_rows, write_watermark,
};
pub use window::WindowJoin;
