//! Keyed state: values that a function keeps for each key.
//!
//! Each key that has state has a slot, found once per record; a state is a column of values by slot, so that reading one
//! costs an index. Invariant: a key has a slot only while one of its states has a value, or while the function runs for it.

mod backend;
mod fingerprint;
mod handles;
mod table;
mod ttl;

pub use backend::StateBackend;
pub use fingerprint::fingerprint;
pub use handles::{AggregatingState, ListState, MapState, ReducingState, ValueState};
pub use ttl::{StateDescriptor, StateTtlConfig, StateVisibility, UpdateType};
