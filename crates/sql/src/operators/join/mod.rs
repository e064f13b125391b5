//! Joins of two inputs: by window, by an interval of event time, and unbounded over changelogs.
//!
//! - [`state`]: rows of a side written by key group, the watermark that goes with them, and local window times
mod state;

pub(crate) use state::{
    EventTime, Snapshot, fingerprint, millis, read_rows, read_watermark, write_rows, write_watermark,
};
