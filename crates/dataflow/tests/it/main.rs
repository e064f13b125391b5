//! Whole jobs on the runtime.
mod exactly_once;
