//! Operators on Arrow batches, and the specifications that the planner makes them from.
//!
//! Every operator is built as `X::new(spec)` and is an `Operator<RecordBatch, RecordBatch>`. Keyed operators get their
//! input already partitioned by the hash of their key columns, and write their state by key group.
//!
//! A changelog carries its row kinds in a last column named [`ROW_KIND`] (`Int8`: 0 `+I`, 1 `-U`, 2 `+U`, 3 `-D`, as in
//! Flink's `RowKind`); an insert-only stream has no such column. Indices never count it.

pub mod aggregate;
pub mod calc;
pub mod group_aggregate;
#[doc(hidden)]
pub mod harness;
pub mod join;
pub(crate) mod keyed_rows;
pub mod keys;
mod open_windows;
pub(crate) mod project;
pub mod sink_kinds;
pub mod spec;
pub mod unnest;
pub mod window;
pub mod window_rank;

/// Name of the row-kind column.
pub const ROW_KIND: &str = "$row_kind";
