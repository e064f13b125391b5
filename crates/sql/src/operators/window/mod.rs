//! Windows over event time.
//!
//! - [`assign`]: which slice and which windows a time is in; pure arithmetic
//! - [`pane`]: the groups of one slice or window
//! - [`WindowAggregate`]: `GROUP BY` keys and window, by slices ([`sliced`]) or sessions ([`session`])
//! - [`LocalWindowAggregate`], [`GlobalWindowAggregate`]: the same in two phases
//! - [`WindowTableFunction`]: `TUMBLE`, `HOP`, `CUMULATE`, `SESSION` as table functions

mod aggregate;
mod assign;
mod pane;
mod session;
mod sliced;
mod table_function;
mod two_phase;

pub use aggregate::WindowAggregate;
pub use table_function::WindowTableFunction;
pub use two_phase::{GlobalWindowAggregate, LocalWindowAggregate};
