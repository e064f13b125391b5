//! Joins of two inputs: by window, by an interval of event time, with versions, unbounded over changelogs; and with a table that is
//! looked up in.
//!
//! - [`interval`]: rows of equal key whose event times are near each other
//! - [`window`]: rows of equal window and key
//! - [`regular`]: all rows of equal key, over changelogs; [`held`]: one side of it
//! - [`temporal`]: rows with the version of the other side that was the newest at their event time; [`versions`]: that side
//! - [`lookup`]: rows with those of a table as it is at the moment
//! - [`row_store`]: the rows of one side; [`output`]: the columns of both sides next to each other
//! - [`state`]: rows of a side written by key group, the watermark that goes with them, and local window times

mod held;
pub mod interval;
pub mod lookup;
mod output;
pub mod regular;
mod row_store;
mod state;
pub mod temporal;
mod versions;
pub mod window;

pub use interval::IntervalJoin;
pub use lookup::LookupJoin;
pub use regular::RegularJoin;
pub(crate) use state::{
    EventTime, Snapshot, fingerprint, millis, read_rows, read_watermark, write_rows, write_watermark,
};
pub use temporal::TemporalJoin;
pub use window::WindowJoin;
